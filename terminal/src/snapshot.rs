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

use std::collections::BTreeMap;
use std::io::Write as _;

use crate::cell::{Cell, Clusters};
use crate::charset::Charset;
use crate::modes::{self, bit};
use crate::osc::STATE_ONLY;
use crate::resize::rewrap;
use crate::row::{Row, double, mark};
use crate::saved_modes::LOOK_NUMBERS;
use crate::screen::{Charsets, Cursor, Keyboard, Saved, Screen};
use crate::scrollback::{self, Runs};
use crate::sgr::push_sgr;
use crate::style::{Color, Ext, ExtTable, Style, attr};
use crate::terminal::{Model, ShellState, Terminal};

/// What a snapshot shall hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SnapshotOptions {
    /// The newest rows of scrollback to write first; 0 for none, `usize::MAX` for all there are.
    pub scrollback_lines: usize,
    /// Erase the target's own scrollback first (`CSI 3 J`).
    pub erase_scrollback: bool,
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
\x1b[m\x1b[0\"q\x1b[r\x1b[?69l\
\x1b[?6l\x1b[?5l\x1b[?1l\x1b[?40l\x1b[?45l\x1b[?66l\x1b[?1004l\x1b[?2004l\
\x1b[?2027l\x1b[?2031l\x1b[?2048l\x1b[4l\x1b[20l\
\x1b[?9l\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1005l\x1b[?1006l\x1b[?1015l\x1b[?1016l\x1b[?7h\x1b[?25h\x1b>\
\x1b(B\x1b)B\x1b*B\x1b+B\x0f\x1b[*x\
\x1b[>m\x1b[>4;0m\x1b[<99u\x1b[=0u\x1b[0 q\
\x1b]104\x1b\\\x1b]110\x1b\\\x1b]111\x1b\\\x1b]112\x1b\\\x1b]113\x1b\\\x1b]114\x1b\\\
\x1b]115\x1b\\\x1b]116\x1b\\\x1b]117\x1b\\\x1b]118\x1b\\\x1b]119\x1b\\";

/// A regional indicator; two of them are a flag.
fn is_half_a_flag(cell: Cell) -> bool {
    matches!(cell.char(), Some('\u{1f1e6}'..='\u{1f1ff}'))
}

impl Terminal {
    /// Appends escape sequences that bring a terminal of this size, whatever its state, into the state of this one.
    ///
    /// Fed to a [`Terminal`], the result is equal in all that can be observed by any continuation of the stream; the
    /// scrollback is that which was asked for, up to [`MAX_SNAPSHOT_SCROLLBACK`] bytes. What it may have beside that, and what
    /// taking it costs, is bounded by the size: some 100 bytes a cell where each looks different, and 1 MB of links.
    pub fn snapshot(&self, what: SnapshotOptions, out: &mut Vec<u8>) {
        let m = &self.state;
        let mut w = Writer::new(m, usize::from(m.size.cols), out);
        w.prologue(what.erase_scrollback, m.size.rows);
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

/// Cells of one line of the scrollback that are put together before it is written; a longer one is written in parts.
const MAX_LINE: usize = 1 << 16;

/// How a row that goes on in the next one ends.
#[derive(Clone)]
enum Edge {
    /// The cursor is past its last column.
    Past,
    /// Its last cell must be printed once more: column, look and text.
    Again(usize, Pen, Vec<u8>),
    /// Its last cell is blank.
    Blank(Style),
    /// Its last cell was left over for a wide character.
    Leftover(Style),
}

pub(crate) struct Writer<'a> {
    out: &'a mut Vec<u8>,
    clusters: &'a Clusters,
    ext: &'a ExtTable,
    cols: usize,
    pen: Pen,
    shell: Option<ShellState>,
    /// Bytes of links that may be written still.
    links: usize,
}

impl<'a> Writer<'a> {
    pub(crate) fn new(m: &'a Model, cols: usize, out: &'a mut Vec<u8>) -> Self {
        Self {
            out,
            clusters: &m.clusters,
            ext: &m.ext,
            cols,
            pen: Pen::default(),
            shell: None,
            links: MAX_SCREEN_LINKS,
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

    fn marks(&mut self, marks: u8) {
        // In the order in which a shell says them around a prompt.
        for (m, letter, state) in [
            (mark::DONE, b'D', ShellState::Done),
            (mark::PROMPT, b'A', ShellState::Prompt),
            (mark::INPUT, b'B', ShellState::Input),
            (mark::OUTPUT, b'C', ShellState::Running),
        ] {
            if marks & m != 0 {
                self.put(&[b"\x1b]133;".as_slice(), &[letter], b"\x1b\\"].concat());
                self.shell = Some(state);
            }
        }
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

    pub(crate) fn prologue(&mut self, erase_scrollback: bool, rows: u16) {
        self.put(PROLOGUE);
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

    fn primary(&mut self, m: &Model, lines: usize) {
        let skip = m.scrollback.len() - m.scrollback.newest_within(lines, MAX_SNAPSHOT_SCROLLBACK);
        let mut joined = false;
        if m.scrollback.len() > skip {
            let mut open = None;
            // Within the bound of the rows.
            let links = std::mem::replace(&mut self.links, usize::MAX);
            let written = self.scrollback(m, skip, &mut open);
            self.links = links;
            // On to the screen's first row, and then everything above it off the top.
            let first = m.primary.rows[0].cells[0];
            joined = open.is_some();
            if let Some(edge) = open {
                self.overflow(edge, first);
            }
            self.style(Style::default());
            self.fmt(format_args!("\x1b[{}H", m.size.rows));
            for _ in 0..written.min(usize::from(m.size.rows) - 1) {
                self.put(b"\n");
            }
        }
        self.saved(&m.primary.saved);
        self.rows(&m.primary, joined);
    }

    /// Writes the newest `lines` rows of scrollback and puts them off the top of a terminal of so many rows.
    pub(crate) fn history(&mut self, m: &Model, lines: usize, rows: u16) {
        let skip = m.scrollback.len() - m.scrollback.newest_within(lines, MAX_SNAPSHOT_SCROLLBACK);
        if m.scrollback.len() == skip {
            return;
        }
        let mut open = None;
        let written = self.scrollback(m, skip, &mut open);
        if open.is_some() {
            self.put(b"\r\n");
        }
        self.style(Style::default());
        self.fmt(format_args!("\x1b[{rows}H"));
        for _ in 0..written.min(usize::from(rows) - 1) {
            self.put(b"\n");
        }
    }

    /// Writes rows from the top left on; says how many there were. `open` is the end of the last one if it goes on.
    fn scrollback(&mut self, m: &Model, skip: usize, open: &mut Option<Edge>) -> usize {
        let mut written = 0;
        let mut line: Vec<Cell> = Vec::new();
        let mut ends = Vec::new();
        let mut marks = Vec::new();
        let mut clusters = Clusters::default();
        let mut ext = ExtTable::default();
        let mut rows = m.scrollback.iter_from(skip);
        while let Some(row) = rows.next() {
            if open.is_none()
                && let Some(text) = scrollback::as_plain(row)
                && text.len() <= self.cols
            {
                self.style(Style::default());
                self.put(text);
                self.put(b"\r\n");
                written += 1;
                continue;
            }
            // Anything else goes through cells, the whole line at once. It keeps its rows if they are of this width.
            line.clear();
            ends.clear();
            let cols = self.cols;
            let mut fits = true;
            marks.clear();
            marks.push(Runs::new(row).marks);
            scrollback::decode(row, &mut clusters, &mut ext, &mut line);
            let mut goes_on = scrollback::is_wrapped(row);
            ends.push(line.len());
            while goes_on
                && line.len() < MAX_LINE
                && let Some(next) = rows.next()
            {
                marks.push(Runs::new(next).marks);
                scrollback::decode(next, &mut clusters, &mut ext, &mut line);
                goes_on = scrollback::is_wrapped(next);
                ends.push(line.len());
            }
            let mut start = 0;
            for (i, end) in ends.iter().enumerate() {
                let n = end - start;
                let wrapped = goes_on || i + 1 < ends.len();
                // A column may have been left over for a wide character.
                fits &= if wrapped { n == cols || n + 1 == cols && cols > 1 } else { n <= cols };
                start = *end;
            }
            let mut inner = Writer {
                out: &mut *self.out,
                clusters: &clusters,
                ext: &ext,
                cols: self.cols,
                pen: std::mem::take(&mut self.pen),
                shell: self.shell,
                links: self.links,
            };
            // Broken anew, all marks of a line are its first row's.
            let all = marks.iter().fold(0, |all, m| all | m);
            let of_first = [all];
            let mut marks = if fits { marks.iter() } else { of_first.iter() }.copied();
            let mut emit = |part: &[Cell], more: bool| {
                let from = match open.take() {
                    Some(edge) => inner.overflow(edge, part.first().copied().unwrap_or_default()),
                    None => 0,
                };
                inner.marks(marks.next().unwrap_or(0));
                let pending = inner.cells(part, from);
                if more || goes_on {
                    *open = Some(inner.edge(part, pending));
                }
                written += 1;
            };
            if fits {
                let mut start = 0;
                for (i, end) in ends.iter().enumerate() {
                    emit(&line[start..*end], i + 1 < ends.len());
                    start = *end;
                }
            } else {
                rewrap(&line, cols, None, &mut emit);
            }
            // Blanks that scroll in shall be default ones, and the tables are about to change.
            inner.style(Style::default());
            self.pen = std::mem::take(&mut inner.pen);
            self.shell = inner.shell;
            if open.is_none() {
                self.put(b"\r\n");
            }
            clusters = Clusters::default();
            if ext.wants_sweep() {
                ext = ExtTable::default();
            }
        }
        written
    }

    /// Writes cells into the cursor's row, where the cursor is at column `from`: blanks are skipped or erased, never
    /// printed. Says whether the cursor is surely past the last column in the end.
    fn cells(&mut self, cells: &[Cell], from: usize) -> bool {
        let mut x = from;
        // Where the target's cursor is, if it is known.
        let mut at = Some(from);
        while x < cells.len() {
            let c = cells[x];
            if c.is_leftover() {
                x += 1;
                continue;
            }
            if c.is_blank() {
                let n = cells[x..].iter().position(|d| *d != c).unwrap_or(cells.len() - x);
                if c.style != Style::default() {
                    if at != Some(x) {
                        self.fmt(format_args!("\x1b[{}G", x + 1));
                        at = Some(x);
                    }
                    self.style(c.style);
                    self.fmt(format_args!("\x1b[{n}X"));
                }
                x += n;
                continue;
            }
            if at != Some(x) {
                self.fmt(format_args!("\x1b[{}G", x + 1));
            }
            self.style(c.style);
            let mut sure = true;
            while sure && x < cells.len() && cells[x].style == c.style && !cells[x].is_blank() {
                let cell = cells[x];
                x += 1;
                if let Some(b) = cell.as_ascii() {
                    self.out.push(b);
                } else if !cell.is_spacer() {
                    cell.push_utf8(self.clusters, self.out);
                    // Where terminals disagree on the width, say where the next one goes. Two halves of a flag are told
                    // apart by some only if nothing comes between them.
                    sure = crate::width::is_sure(cell.char());
                    x += usize::from(cell.is_wide()).min(cells.len() - x);
                    if is_half_a_flag(cell)
                        && let Some(other) =
                            cells.get(x).filter(|c| c.style == cell.style && is_half_a_flag(**c))
                    {
                        other.push_utf8(self.clusters, self.out);
                        x += 1;
                    }
                }
            }
            at = if sure { Some(x) } else { None };
        }
        from < self.cols && at == Some(self.cols)
    }

    /// What [`Self::overflow`] needs to know of a row that is written up to `part`'s end.
    fn edge(&self, part: &[Cell], pending: bool) -> Edge {
        let cols = self.cols;
        let cell = |x: usize| part.get(x).copied().unwrap_or_default();
        let last = cell(cols - 1);
        if pending {
            Edge::Past
        } else if last.is_leftover() {
            Edge::Leftover(last.style)
        } else if part.len() + 1 == cols {
            // Broken before a wide character by `rewrap`.
            Edge::Leftover(Style::default())
        } else if last.is_blank() {
            Edge::Blank(last.style)
        } else {
            let x = cols - 1 - usize::from(last.is_spacer() && cols > 1);
            let mut text = Vec::new();
            cell(x).push_utf8(self.clusters, &mut text);
            let style = cell(x).style;
            Edge::Again(x, Pen { style, ext: self.ext.get(style.ext).clone() }, text)
        }
    }

    /// Makes the target break the row it is in softly, by printing on past its last column. `next` is what the next row
    /// starts with; says how many columns of it are printed now, with the cursor behind them.
    fn overflow(&mut self, edge: Edge, next: Cell) -> usize {
        let cols = self.cols;
        match edge {
            Edge::Past => {}
            Edge::Again(x, mut pen, text) => {
                self.fmt(format_args!("\x1b[{}G", x + 1));
                if pen.style.ext != 0 {
                    // The number may be of another table.
                    pen.style.ext = u16::MAX;
                }
                self.pen_to(pen.style, pen.ext);
                self.put(&text);
            }
            Edge::Leftover(style) => {
                self.fmt(format_args!("\x1b[{cols}G"));
                if !next.is_wide() || next.style.erased() != style {
                    // Any wide character makes the target leave the column over.
                    self.style(style);
                    self.put("\u{3000}".as_bytes());
                    return self.clean_row();
                }
            }
            Edge::Blank(style) => {
                // The column takes a space for as long as it is needed to get past it.
                self.fmt(format_args!("\x1b[{cols}G"));
                self.style(style);
                self.put(b"  \x1b[A");
                self.fmt(format_args!("\x1b[{cols}G\x1b[X\x1b[B"));
                return self.clean_row();
            }
        }
        if next.is_blank() {
            self.style(Style::default());
            self.put(b" ");
            return self.clean_row();
        }
        self.print(next);
        if next.style.bg != Color::DEFAULT {
            return self.clean_row();
        }
        if next.is_wide() || !crate::width::is_sure(next.char()) {
            self.put(b"\r");
            return 0;
        }
        1
    }

    /// The row a break led to may be new, in the colour the break was printed in, and has a filler at its start: blanks
    /// all of it. Not by EL, which ends the break in some terminals.
    fn clean_row(&mut self) -> usize {
        self.style(Style::default());
        let cols = self.cols;
        self.fmt(format_args!("\r\x1b[{cols}X"));
        0
    }

    /// Prints one cell that is not blank.
    fn print(&mut self, cell: Cell) {
        self.style(cell.style);
        cell.push_utf8(self.clusters, self.out);
    }

    /// The rows of a screen, each placed by its number; `open` if the row above the first goes on in it and the target
    /// knows. Rows that are blank are not written.
    pub(crate) fn rows(&mut self, s: &Screen, open: bool) {
        let mut open = open;
        let mut edge: Option<Edge> = None;
        for (y, row) in s.rows.iter().enumerate() {
            let content = row.content();
            let mut from = 0;
            if let Some(edge) = edge.take() {
                from = self.overflow(edge, row.cells[0]);
                self.marks(row.marks);
            } else if !content.is_empty() || row.wrapped || row.marks != 0 || row.double != 0 || open {
                self.fmt(format_args!("\x1b[{}H", y + 1));
                self.marks(row.marks);
                if open && row.cells[0].is_blank() {
                    self.style(Style::default());
                    self.put(b"\x1b[X");
                }
            }
            open = false;
            let pending = self.cells(content, from);
            if row.wrapped && y + 1 < s.rows.len() {
                edge = Some(self.edge(&row.cells, pending));
            }
            if row.double != double::SINGLE {
                self.put(&[0x1b, b'#', b'0' + row.double]);
            }
        }
        self.style(Style::default());
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
        let blank = |row: &Row| row.content().is_empty() && row.marks == 0 && row.double == double::SINGLE;
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

    fn palette(&mut self, palette: &BTreeMap<u8, [u8; 3]>, dynamic: &[Option<[u8; 3]>; 10]) {
        for (i, [r, g, b]) in palette {
            self.fmt(format_args!("\x1b]4;{i};rgb:{r:02x}/{g:02x}/{b:02x}\x1b\\"));
        }
        for (i, c) in dynamic.iter().enumerate() {
            if let Some([r, g, b]) = c {
                self.fmt(format_args!("\x1b]{};rgb:{r:02x}/{g:02x}/{b:02x}\x1b\\", 10 + i));
            }
        }
    }

    /// Colours and looks that were pushed, in a terminal that has none set.
    fn stacks(&mut self, m: &Model) {
        for pushed in &m.color_stack {
            self.palette(&pushed.palette, &pushed.dynamic);
            self.put(b"\x1b[#P");
            if !pushed.palette.is_empty() {
                self.put(b"\x1b]104\x1b\\");
            }
            for (i, _) in pushed.dynamic.iter().enumerate().filter(|(_, c)| c.is_some()) {
                self.fmt(format_args!("\x1b]{}\x1b\\", 110 + i));
            }
        }
        for pushed in &m.look_stack {
            let mut style = pushed.style;
            // No number of the table's: the look alone is compared.
            style.ext = if pushed.underline == Color::DEFAULT { 0 } else { u16::MAX };
            self.pen_to(style, Ext { underline: pushed.underline, link: None });
            self.put(b"\x1b[");
            let numbers =
                LOOK_NUMBERS.iter().enumerate().filter(|(i, _)| pushed.of.is_some_and(|of| of & 1 << i != 0));
            for (n, (_, number)) in numbers.enumerate() {
                self.fmt(format_args!("{}{number}", if n > 0 { ";" } else { "" }));
            }
            if pushed.of == Some(0) {
                self.put(b"0");
            }
            self.put(b"#{");
        }
        self.style(Style::default());
    }

    fn enter(&mut self, m: &Model) {
        let saved = &m.primary.saved;
        if m.alternate_mode == 1049 && *saved != Saved::default() {
            // This mode saves the cursor once more.
            self.put(b"\x1b8");
            self.pen = Pen { style: saved.cursor.pen, ext: self.ext.get(saved.cursor.pen.ext).clone() };
        } else if m.alternate_mode == 1049 {
            self.put(b"\x1b[H");
        }
        self.fmt(format_args!("\x1b[?{}h", m.alternate_mode));
        // Back to what drawing needs; margins and keyboard flags are one for both screens in some terminals.
        self.style(Style::default());
        if saved.cursor.charsets != Charsets::default() {
            self.no_charsets();
        }
        self.put(b"\x1b[?6l\x1b[r");
        if m.modes.has(bit::MARGINS) && !m.primary.full_width() {
            self.put(b"\x1b[s");
        }
        self.put(b"\x1b[<99u\x1b[=0u\x1b[2J");
    }

    pub(crate) fn globals(&mut self, m: &Model) {
        self.palette(&m.palette, &m.colors);
        for (title, icon) in &m.titles {
            let which = match (title, icon) {
                (Some(_), Some(_)) => 0,
                (None, _) => 1,
                (_, None) => 2,
            };
            // What was never set is the target's own, and pushed as such.
            if let Some(Some(t)) = title {
                self.fmt(format_args!("\x1b]2;{t}\x1b\\"));
            }
            if let Some(Some(i)) = icon {
                self.fmt(format_args!("\x1b]1;{i}\x1b\\"));
            }
            self.fmt(format_args!("\x1b[22;{which}t"));
        }
        if let Some(i) = &m.icon {
            self.fmt(format_args!("\x1b]1;{i}\x1b\\"));
        }
        if let Some(t) = &m.title {
            self.fmt(format_args!("\x1b]2;{t}\x1b\\"));
        }
        self.fmt(format_args!("\x1b]7;{}\x1b\\", m.cwd.as_deref().unwrap_or("")));
        if m.cursor_style != 0 {
            self.fmt(format_args!("\x1b[{} q", m.cursor_style));
        }
        for (i, v) in m.modify_keys.iter().enumerate() {
            if let Some(v) = v {
                self.fmt(format_args!("\x1b[>{i};{v}m"));
            }
        }
    }

    /// Modes that do not change how the rest of the snapshot is taken.
    pub(crate) fn modes(&mut self, m: &Model) {
        let late = bit::ORIGIN | bit::AUTOWRAP | bit::MARGINS | bit::SYNC;
        for (number, b) in modes::PRIVATE {
            let said = if modes::PREFERENCES & b != 0 {
                m.modes.said & b != 0
            } else {
                m.modes.has(b) != (modes::DEFAULT & b != 0)
            };
            if b == bit::APP_KEYPAD && said {
                // As more terminals know it than by its number.
                self.put(b"\x1b=");
            } else if b & late == 0 && said {
                let how = if m.modes.has(b) { 'h' } else { 'l' };
                self.fmt(format_args!("\x1b[?{number}{how}"));
            }
        }
        if m.modes.has(bit::NEWLINE) {
            self.put(b"\x1b[20h");
        }
        if m.rectangle_extent {
            self.put(b"\x1b[2*x");
        }
        if m.modes.mouse != 0 {
            self.fmt(format_args!("\x1b[?{}h", m.modes.mouse));
        }
        if m.modes.mouse_encoding != 0 {
            self.fmt(format_args!("\x1b[?{}h", m.modes.mouse_encoding));
        }
    }

    fn finish(&mut self, m: &Model) {
        let s = m.screen_ref();
        let c = &m.cursor;
        if m.modes.has(bit::MARGINS) && s.full_width() {
            self.put(b"\x1b[?69h");
        }
        let mut at = (c.x, c.y);
        if m.modes.has(bit::ORIGIN) {
            self.put(b"\x1b[?6h");
            // Now the cursor is addressed from the margins.
            at = (c.x.saturating_sub(s.left), c.y.saturating_sub(s.top));
        }
        self.place(s, c, at, m.modes.has(bit::MARGINS));
        // Also parts what was printed just now from what comes: nothing is left for REP to repeat.
        self.put(b"\x1b[?2026l");
        if let Some(state) = m.shell.filter(|s| Some(*s) != self.shell) {
            self.state_only(state);
        }
        if !m.modes.has(bit::AUTOWRAP) {
            self.put(b"\x1b[?7l");
        }
        if m.modes.has(bit::INSERT) {
            self.put(b"\x1b[4h");
        }
        self.style(c.pen);
        self.charsets(c.charsets);
        match c.charsets.single {
            Some(2) => self.put(b"\x1bN"),
            Some(_) => self.put(b"\x1bO"),
            None => {}
        }
        if let Some(last) = m.last {
            self.last_printed(m, last, at);
        }
    }

    /// What was printed last is printed again, as the last thing, for REP and for marks that join it. Nothing came
    /// since, so pen and modes are as they were.
    fn last_printed(&mut self, m: &Model, last: char, at: (u16, u16)) {
        let w = crate::width::of(last) as u16;
        let back = if m.cursor.pending { w - 1 } else { w };
        self.fmt(format_args!("\x1b[{};{}H", at.1 + 1, at.0 + 1 - back));
        if m.modes.has(bit::INSERT) {
            self.fmt(format_args!("\x1b[{w}P"));
        }
        let cell = m.screen_ref().rows[usize::from(m.cursor.y)].cells[usize::from(m.cursor.x - back)];
        let sets = m.cursor.charsets;
        let set = sets.g[usize::from(sets.single.unwrap_or(sets.gl) & 3)];
        match set.byte_of(last) {
            // Said as it was: some terminals have no character outside of a set while that is in use.
            Some(byte) => {
                self.out.push(byte);
                let marks = cell.cluster().map_or(&[][..], |i| &self.clusters.get(i)[1..]);
                for mark in marks {
                    self.out.extend_from_slice(mark.encode_utf8(&mut [0; 4]).as_bytes());
                }
            }
            None => cell.push_utf8(self.clusters, self.out),
        }
    }

    fn state_only(&mut self, state: ShellState) {
        let letter = match state {
            ShellState::Prompt => b'A',
            ShellState::Input => b'B',
            ShellState::Running => b'C',
            ShellState::Done => b'D',
        };
        self.put(b"\x1b]133;");
        self.put(&[letter]);
        self.put(STATE_ONLY);
        self.put(b"\x1b\\");
    }
}
