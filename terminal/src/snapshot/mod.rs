//! From the model to the escape sequences that make any terminal of the same size show and do the same.
//!
//! The order matters; each step relies on what the ones before it left:
//! 1. prologue: whatever the target was doing, it is on its primary screen with every mode at its default;
//! 2. modes that were saved, tab stops;
//! 3. scrollback, scrolled off the top, the primary screen's saved cursor, its rows one by one, what was left on an alternate screen that is not shown, the primary screen's keyboard flags and margins;
//! 4. if it is shown, the alternate screen with the same things, entered by the same mode;
//! 5. colours, looks and titles that were put aside, then those of now, working directory, cursor style, modes;
//! 6. pen, link, cursor, and last the unfinished tail.
//!
//! It holds no query, and never leaves a synchronized update open.

mod rows;
mod state;

use std::io::Write as _;

use crate::Size;
use crate::cell::{Cell, Clusters};
use crate::charset::Charset;
use crate::images::{Image, Images};
use crate::measure::Traits;
use crate::modes::{self, bit};
use crate::notes::{self, Notes};
use crate::row::{Row, double};
use crate::screen::{Charsets, Cursor, Keyboard, Saved, Screen};
use crate::sgr::push_sgr;
use crate::style::{Ext, ExtTable, Style, attr};
use crate::terminal::{Model, ShellState, Terminal};

/// What a snapshot shall hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SnapshotOptions {
    /// The newest rows of scrollback to write first; 0 for none, `usize::MAX` for all there are.
    pub scrollback_lines: usize,
    /// Erase the target's own scrollback first (`CSI 3 J`).
    pub erase_scrollback: bool,
    /// Leave images out.
    pub without_images: bool,
    /// So many rows of the target's scrollback are on the screen as well, because a terminal that grows takes none back from
    /// there: where it knows how (kitty's `CSI n + T`, which others pass over), it is to do so. At most the rows there are.
    pub unscroll: u64,
}

/// Bytes of scrollback in a snapshot; of more, the newest rows are written.
pub const MAX_SNAPSHOT_SCROLLBACK: usize = 8 << 20;
/// Bytes of links on the screens in a snapshot or a drawing; what is linked past that is written without its link. Cells in turn
/// linked to two long addresses would else be kilobytes each.
const MAX_SCREEN_LINKS: usize = 1 << 20;

/// Leaves the alternate screen first (some terminals restore cursor, charsets and origin there), then undoes all. One mode
/// at a time: some terminals take the first of a list only. Not here: titles, and the modes that are preferences of a
/// person ([`modes::PREFERENCES`]), which are left alone until a program says something about them.
const PROLOGUE: &[u8] = b"\x18\x1b\\\x1b[?2026l\x1b[?1049l\x1b[?47l\x1b]8;;\x1b\\\
\x1b[m\x1b[0\"q\x1b[r\x1b[?69l\x1b[?80l\x1b[?8452l\
\x1b[?6l\x1b[?5l\x1b[?1l\x1b[?40l\x1b[?45l\x1b[?66l\x1b[?1004l\x1b[?2004l\
\x1b[?2027l\x1b[?2031l\x1b[?2048l\x1b[4l\x1b[20l\
\x1b[?9l\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1005l\x1b[?1006l\x1b[?1015l\x1b[?1016l\x1b[?7h\x1b[?25h\x1b>\
\x1b(B\x1b)B\x1b*B\x1b+B\x0f\x1b[*x\
\x1b[>m\x1b[>4;0m\x1b[<99u\x1b[=0u\x1b[0 q\
\x1b]104\x1b\\\x1b]110\x1b\\\x1b]111\x1b\\\x1b]112\x1b\\\x1b]113\x1b\\\x1b]114\x1b\\\
\x1b]115\x1b\\\x1b]116\x1b\\\x1b]117\x1b\\\x1b]118\x1b\\\x1b]119\x1b\\";

impl Terminal {
    /// Appends escape sequences that bring a terminal of this size, whatever its state, into the state of this one.
    ///
    /// Fed to a [`Terminal`], the result is equal in all that can be observed by any continuation of the stream; the
    /// scrollback is that which was asked for, up to [`MAX_SNAPSHOT_SCROLLBACK`] bytes. What it may have beside that, and what
    /// taking it costs, is bounded by the size: some 100 bytes a cell where each looks different, and 1 MB of links.
    pub fn snapshot(&self, what: SnapshotOptions, out: &mut Vec<u8>) {
        let m = &self.state;
        let mut w = Writer::new(m, usize::from(m.size.cols), out);
        w.prologue(what.erase_scrollback, m.size.rows, what.unscroll);
        if m.traits != Traits::default() {
            w.put(&m.traits.said());
        }
        w.with_images = !what.without_images;
        for said in m.images.said_ahead().filter(|_| !what.without_images) {
            w.put(said);
        }
        w.saved_modes(m);
        // Before there are rows of double width, in which only half the columns can be gone to.
        w.tabs(m);
        w.primary(m, what.scrollback_lines);
        w.hidden(m);
        w.owned(&m.primary, m);
        if let Some(alt) = m.alternate.as_deref() {
            w.enter(m);
            if m.saved_modes.alternate() == Some(true) {
                w.put(b"\x1b[?47s");
            }
            w.saved(&alt.saved);
            w.rows(alt, false);
            w.owned(alt, m);
        }
        w.stacks(m);
        w.globals(m);
        w.modes(m);
        // Before what was printed last: nothing may come between that and what repeats it or joins it.
        if !what.without_images {
            w.put(&m.images.said_open());
        }
        w.finish(m);
        out.extend_from_slice(self.parser.tail());
    }
}

/// The style last said, in terms that survive the writer's change of tables.
#[derive(Clone, PartialEq, Eq, Default)]
struct Pen {
    style: Style,
    ext: Ext,
}

pub(crate) struct Writer<'a> {
    out: &'a mut Vec<u8>,
    clusters: &'a Clusters,
    ext: &'a ExtTable,
    cols: usize,
    traits: Traits,
    images: &'a Images,
    with_images: bool,
    /// Rows of the target.
    height: u16,
    /// The row that the cursor is in, and whether that is known from the top of the screen or only by what was written.
    row: u16,
    row_is_sure: bool,
    /// Columns that were printed of that row.
    printed: usize,
    pen: Pen,
    shell: Option<ShellState>,
    /// Bytes of links that may be written still.
    links: usize,
    /// A cursor was saved for an image.
    saved_cursor: bool,
}

impl<'a> Writer<'a> {
    pub(crate) fn new(m: &'a Model, cols: usize, out: &'a mut Vec<u8>) -> Self {
        Self {
            out,
            clusters: &m.clusters,
            ext: &m.ext,
            cols,
            traits: m.traits,
            images: &m.images,
            with_images: true,
            height: m.size.rows,
            row: 0,
            row_is_sure: false,
            printed: 0,
            pen: Pen::default(),
            shell: None,
            links: MAX_SCREEN_LINKS,
            saved_cursor: false,
        }
    }

    fn put(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    fn fmt(&mut self, args: std::fmt::Arguments<'_>) {
        let _ = self.out.write_fmt(args);
    }

    /// Goes on writing on a terminal that shows `m`.
    pub(crate) fn at(m: &'a Model, out: &'a mut Vec<u8>) -> Self {
        let style = m.cursor.pen;
        let pen = Pen { style, ext: m.ext.get(style.ext).clone() };
        Self { pen, ..Self::new(m, usize::from(m.size.cols), out) }
    }

    /// Moves the cursor.
    pub(crate) fn go(&mut self, x: u16, y: u16) {
        self.fmt(format_args!("\x1b[{};{}H", y + 1, x + 1));
    }

    /// Prints a character that is one column wide.
    pub(crate) fn character(&mut self, c: char, style: Style) {
        self.style(style);
        self.put(c.encode_utf8(&mut [0; 4]).as_bytes());
    }

    /// Writes a cell as it is where the cursor is; false: the cursor has not moved, for it is blank.
    pub(crate) fn as_it_is(&mut self, cell: Cell) -> bool {
        if cell.is_blank() {
            self.style(cell.style);
            self.put(b"\x1b[X");
            return false;
        }
        self.print(cell);
        true
    }

    /// The pen is as it is in `m`.
    pub(crate) fn pen_of(&mut self, m: &Model) {
        self.style(m.cursor.pen);
    }

    /// Brings cursor and pen to where they are in `m`, behind what was printed last.
    pub(crate) fn end_at_cursor(&mut self, m: &Model) {
        self.style(m.cursor.pen);
        let at = (m.cursor.x, m.cursor.y);
        self.go(at.0, at.1);
        if let Some(last) = m.last {
            self.last_printed(m, last, at);
        }
    }

    /// Says a style if it is not the one said last.
    pub(crate) fn style(&mut self, style: Style) {
        if style == self.pen.style {
            return;
        }
        let ext = if style.ext == 0 { Ext::default() } else { self.ext.get(style.ext).clone() };
        self.pen_to(style, ext);
    }

    fn pen_to(&mut self, style: Style, mut ext: Ext) {
        let old = &self.pen;
        if let Some(link) = ext.link.as_ref().filter(|l| old.ext.link.as_ref() != Some(l)) {
            match self.links.checked_sub(link.len()) {
                Some(room) => self.links = room,
                None => ext.link = None,
            }
        }
        let looks = |s: Style| Style { ext: 0, ..s };
        if looks(old.style) != looks(style) || old.ext.underline != ext.underline {
            push_sgr(self.out, style, ext.underline);
            if (old.style.attrs ^ style.attrs) & attr::PROTECTED != 0 {
                let on = style.attrs & attr::PROTECTED != 0;
                self.out.extend_from_slice(if on { b"\x1b[1\"q" } else { b"\x1b[0\"q" });
            }
        }
        if old.ext.link != ext.link {
            match &ext.link {
                None => self.out.extend_from_slice(b"\x1b]8;;\x1b\\"),
                Some(l) => {
                    self.out.extend_from_slice(b"\x1b]8;");
                    if !l.id.is_empty() {
                        self.out.extend_from_slice(b"id=");
                        self.out.extend_from_slice(l.id.as_bytes());
                    }
                    self.out.push(b';');
                    self.out.extend_from_slice(l.uri.as_bytes());
                    self.out.extend_from_slice(b"\x1b\\");
                }
            }
        }
        self.pen = Pen { style, ext };
    }

    fn notes(&mut self, notes: &Notes) {
        for mark in notes.marks() {
            if let Some((x, id)) = Notes::is_image(mark) {
                self.image(x, id);
                continue;
            }
            self.put(b"\x1b]133;");
            self.put(mark);
            self.put(b"\x1b\\");
            self.shell = notes::state_of(mark[0]);
        }
    }

    /// An image that begins in a column of the row that the cursor is in. It does not move, whatever the image makes of it.
    fn image(&mut self, x: u16, id: u32) {
        let y = self.row_is_sure.then_some(usize::from(self.row));
        let x = x.min(self.cols as u16 - 1);
        let screen = Size { cols: self.cols as u16, rows: self.height };
        let is_said = |image: &&Image| self.with_images && image.is_said(x, y, screen);
        let Some(image) = self.images.get(id).filter(is_said) else { return };
        let (rows, bytes) = (image.rows, std::sync::Arc::clone(&image.bytes));
        self.style(Style::default());
        if self.row_is_sure {
            self.fmt(format_args!("\x1b[{};{}H", self.row + 1, x + 1));
            self.put(&bytes);
            self.fmt(format_args!("\x1b[{};{}H", self.row + 1, self.printed + 1));
            return;
        }
        // Room is made below before it; a sixel image may want a row more than it has.
        for _ in 0..rows {
            self.put(b"\n");
        }
        self.fmt(format_args!("\x1b[{rows}A\x1b7\x1b[{}G", x + 1));
        self.put(&bytes);
        self.put(b"\x1b8");
        self.saved_cursor = true;
        self.row = self.row.min(self.height - 1 - rows);
    }

    /// Begins a drawing that is shown at once, where the terminal knows how, and not line by line.
    pub(crate) fn drawing(&mut self, rows: u16) {
        self.put(PROLOGUE);
        self.put(b"\x1b[?2026h");
        self.blank(rows);
    }

    /// Ends it.
    pub(crate) fn drawn(&mut self) {
        self.put(b"\x1b[?2026l");
    }

    pub(crate) fn prologue(&mut self, erase_scrollback: bool, rows: u16, unscroll: u64) {
        self.put(PROLOGUE);
        if unscroll > 0 {
            self.fmt(format_args!("\x1b[{}+T", unscroll.min(rows.into())));
        }
        self.blank(rows);
        if erase_scrollback {
            self.put(b"\x1b[3J");
        }
    }

    fn blank(&mut self, rows: u16) {
        // Blank lines push all there is off the lower edge. Not ED 2, nor ED from the first cell: several terminals take
        // that as "put the screen into the scrollback", and a screen that is drawn again would leave a copy of itself there
        // each time. The ED is for a target with more rows than this.
        self.fmt(format_args!("\x1b[H\x1b7\x1b[{rows}L\x1b[{};1H\x1b[J\x1b[H", rows.saturating_add(1)));
    }

    fn tabs(&mut self, m: &Model) {
        self.put(b"\x1b[3g");
        for (x, _) in m.tabs.iter().enumerate().filter(|(_, t)| **t) {
            self.fmt(format_args!("\x1b[{}G\x1bH", x + 1));
        }
        self.put(b"\x1b[G");
    }

    fn charsets(&mut self, c: Charsets) {
        for (i, set) in c.g.iter().enumerate() {
            if *set != Charset::Ascii {
                set.designate(i, self.out);
            }
        }
        match c.gl {
            1 => self.put(b"\x0e"),
            2 => self.put(b"\x1bn"),
            3 => self.put(b"\x1bo"),
            _ => {}
        }
    }

    fn no_charsets(&mut self) {
        self.put(b"\x1b(B\x1b)B\x1b*B\x1b+B\x0f");
    }

    /// Puts the cursor there, which is `at` for CUP; past the last column by printing that column's cell once more.
    /// `margins`: there are some, as wide as the screen.
    fn place(&mut self, s: &Screen, c: &Cursor, at: (u16, u16), margins: bool) {
        let row = &s.rows[usize::from(c.y)];
        let x = usize::from(c.x);
        let wide = c.pending && x > 0 && row.cells[x].is_spacer();
        // It was at a margin that is none any more.
        let margin = c.pending && c.x + 1 < row.columns() && c.x != s.right;
        let left = c.x - u16::from(wide);
        if margin && left > 0 {
            self.fmt(format_args!("\x1b[?69h\x1b[1;{}s", c.x + 1));
        }
        self.fmt(format_args!("\x1b[{};{}H", at.1 + 1, at.0 + 1 - u16::from(wide)));
        if c.pending {
            let cell = row.cells[x - usize::from(wide)];
            if cell.is_blank() {
                self.style(cell.style);
                self.put(b" ");
            } else {
                self.print(cell);
            }
        }
        if margin && left > 0 {
            self.put(if margins { b"\x1b[?69l\x1b[?69h" } else { b"\x1b[?69l" });
        }
    }

    pub(crate) fn keyboard(&mut self, s: &Screen) {
        let k = &s.keyboard;
        if let Some((base, above)) = k.stack.split_first() {
            if *base != 0 {
                self.fmt(format_args!("\x1b[={base}u"));
            }
            for f in above {
                self.fmt(format_args!("\x1b[>{f}u"));
            }
            self.fmt(format_args!("\x1b[>{}u", k.flags));
        } else if k.flags != 0 {
            self.fmt(format_args!("\x1b[={}u", k.flags));
        }
    }

    /// What a screen owns beside its rows and its saved cursor: keyboard flags, margins. The cursor ends anywhere.
    fn owned(&mut self, s: &Screen, m: &Model) {
        self.keyboard(s);
        if !s.full_width() && m.modes.has(bit::MARGINS) {
            self.fmt(format_args!("\x1b[?69h\x1b[{};{}s", s.left + 1, s.right + 1));
        }
        if s.top != 0 || s.bottom != s.height() - 1 {
            self.fmt(format_args!("\x1b[{};{}r", s.top + 1, s.bottom + 1));
        }
    }

    /// Saves a cursor, on the blank screen and before there are margins. What it brought with it is undone.
    fn saved(&mut self, saved: &Saved) {
        if *saved == Saved::default() {
            return;
        }
        let c = &saved.cursor;
        if saved.origin {
            self.put(b"\x1b[?6h");
        }
        self.fmt(format_args!("\x1b[{};{}H", c.y + 1, c.x + 1));
        if c.pending {
            self.put(b" ");
        }
        self.style(saved.cursor.pen);
        self.charsets(saved.cursor.charsets);
        self.put(b"\x1b7");
        self.style(Style::default());
        if saved.cursor.charsets != Charsets::default() {
            self.no_charsets();
        }
        if saved.origin {
            self.put(b"\x1b[?6l");
        }
        if c.pending {
            self.fmt(format_args!("\x1b[{};{}H\x1b[X", c.y + 1, c.x + 1));
        }
    }

    /// What is on an alternate screen that is not shown. It is not looked at where there is nothing.
    fn hidden(&mut self, m: &Model) {
        let was_saved = m.alternate.is_none() && m.saved_modes.alternate() == Some(true);
        let blank =
            |row: &Row| row.content().is_empty() && row.notes.is_empty() && row.double == double::SINGLE;
        let screen = m.hidden.as_deref().filter(|s| {
            !s.rows.iter().all(blank) || s.saved != Saved::default() || s.keyboard != Keyboard::default()
        });
        if screen.is_none() && !was_saved {
            return;
        }
        self.put(b"\x1b[?47h\x1b[<99u\x1b[=0u\x1b[2J");
        if was_saved {
            self.put(b"\x1b[?47s");
        }
        if let Some(s) = screen {
            self.saved(&s.saved);
            self.rows(s, false);
            self.keyboard(s);
        }
        self.put(b"\x1b[?47l");
    }

    /// The modes that were saved. All are at their defaults now, and again when this is over.
    fn saved_modes(&mut self, m: &Model) {
        for (number, on) in m.saved_modes.switches() {
            let Some(b) = modes::private_bit(number) else { continue };
            let default = modes::DEFAULT & b != 0 && modes::PREFERENCES & b == 0;
            let say = |on: bool| if on { 'h' } else { 'l' };
            let changes = on != default || modes::PREFERENCES & b != 0;
            if changes {
                self.fmt(format_args!("\x1b[?{number}{}", say(on)));
            }
            self.fmt(format_args!("\x1b[?{number}s"));
            if changes {
                self.fmt(format_args!("\x1b[?{number}{}", say(default)));
            }
            if number == 12 && m.modes.said & b == 0 {
                self.put(b"\x1b[0 q");
            }
        }
        match m.saved_modes.mouse() {
            Some(0) => self.put(b"\x1b[?1000s"),
            Some(mode) => self.fmt(format_args!("\x1b[?{mode}h\x1b[?{mode}s\x1b[?{mode}l")),
            None => {}
        }
        if m.saved_modes.alternate() == Some(false) {
            self.put(b"\x1b[?47s");
        }
    }
}
