//! The terminal: state, printing, cursor movement. What sequences do is in `csi.rs` and `osc.rs`.

use std::collections::VecDeque;

use crate::Size;
use crate::asks::KnownColors;
use crate::cell::{Cell, Clusters};
use crate::charset::Charset;
use crate::images::Images;
use crate::measure::Traits;
use crate::modes::{Modes, bit};
use crate::notes::Notes;
use crate::numbered::Numbered;
use crate::parser::{Csi, Parser, Sink};
use crate::row::{Row, double};
use crate::saved_modes::{Colors, PushedLook, SavedModes};
use crate::screen::{Charsets, Cursor, Saved, Screen};
use crate::scrollback::Scrollback;
use crate::signals::{Signal, Signals};
use crate::style::{Color, Ext, ExtTable, Style};

/// What a sequence costs beside what it does to cells.
const SEQUENCE: usize = 16;

/// Entries of the title stack (CSI 22 t), as xterm.
pub(crate) const TITLE_STACK: usize = 10;

/// A title that was set, or None: then a view's terminal keeps its own.
pub(crate) type Title = Option<String>;

/// Where the shell stands, from the last OSC 133 mark.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ShellState {
    /// `A`: it draws its prompt.
    Prompt,
    /// `B`: a command line is typed.
    Input,
    /// `C`: a command runs.
    Running,
    /// `D`: a command ended.
    Done,
}

/// The model of a terminal: feed it what a program writes, ask it what a screen would show.
///
/// It never panics, whatever it is fed, and its memory is bounded at any moment: by the screen's size, by
/// [`MAX_SCROLLBACK_BYTES`](crate::MAX_SCROLLBACK_BYTES), by 2 MB each for links and clusters, and by 4 MB each for
/// images that are shown, that were sent ahead, and that are not whole yet.
#[derive(Clone, Debug)]
pub struct Terminal {
    pub(crate) state: Model,
    pub(crate) parser: Parser,
}

/// Everything but the parser.
#[derive(Clone, Debug)]
pub(crate) struct Model {
    pub(crate) size: Size,
    pub(crate) primary: Screen,
    /// Exists while it is shown.
    pub(crate) alternate: Option<Box<Screen>>,
    /// The alternate screen while it is not shown. Most modes that leave it, or enter it, wipe it; mode 47 does not.
    pub(crate) hidden: Option<Box<Screen>>,
    /// The mode that switched to it: 47, 1047 or 1049.
    pub(crate) alternate_mode: u16,
    pub(crate) scrollback: Scrollback,
    pub(crate) cursor: Cursor,
    pub(crate) modes: Modes,
    /// One per column.
    pub(crate) tabs: Vec<bool>,
    pub(crate) clusters: Clusters,
    pub(crate) ext: ExtTable,
    /// The character printed last, if nothing but printing came since: its cell is the one before the cursor (or under
    /// it, past the last column). For REP, and because some terminals join marks only to what came right before.
    pub(crate) last: Option<char>,
    pub(crate) title: Title,
    pub(crate) icon: Title,
    /// Title and icon name, each if it was pushed.
    pub(crate) titles: Vec<(Option<Title>, Option<Title>)>,
    pub(crate) palette: Numbered<[u8; 3]>,
    /// OSC 10–19.
    pub(crate) colors: [Option<[u8; 3]>; 10],
    pub(crate) color_stack: Vec<Colors>,
    pub(crate) look_stack: Vec<PushedLook>,
    pub(crate) saved_modes: SavedModes,
    /// DECSCUSR, 0–6. Whether the cursor blinks is one state with mode 12: the last word holds.
    pub(crate) cursor_style: u8,
    /// DECSACE: attributes are changed in rectangles, not in streams of positions.
    pub(crate) rectangle_extent: bool,
    /// XTMODKEYS by resource.
    pub(crate) modify_keys: [Option<u8>; 8],
    pub(crate) cwd: Option<String>,
    pub(crate) cwd_path: Option<String>,
    pub(crate) shell: Option<ShellState>,
    pub(crate) bells: u64,
    /// What a terminal that shows it said of itself.
    pub(crate) heard: KnownColors,
    pub(crate) images: Images,
    /// What the terminal is like whose user leads.
    pub(crate) traits: Traits,
    /// How often mode 2048 was set.
    pub(crate) size_asks: u64,
    /// What the program says to people, until it is taken.
    pub(crate) signals: Signals,
    /// Spent since the start; see [`Terminal::cost`].
    pub(crate) cost: u64,
    /// Where `cost` ends this turn.
    pub(crate) limit: u64,
}

impl Model {
    fn new(size: Size, scrollback_lines: usize) -> Self {
        let size = size.clamped();
        Self {
            size,
            primary: Screen::new(size.cols, size.rows),
            alternate: None,
            hidden: None,
            alternate_mode: 0,
            scrollback: Scrollback::new(scrollback_lines),
            cursor: Cursor::default(),
            modes: Modes::default(),
            tabs: default_tabs(size.cols),
            clusters: Clusters::of(size),
            ext: ExtTable::default(),
            last: None,
            title: None,
            icon: None,
            titles: Vec::new(),
            palette: Numbered::default(),
            colors: [None; 10],
            color_stack: Vec::new(),
            look_stack: Vec::new(),
            saved_modes: SavedModes::default(),
            cursor_style: 0,
            rectangle_extent: false,
            modify_keys: [None; 8],
            cwd: None,
            cwd_path: None,
            shell: None,
            bells: 0,
            heard: KnownColors::default(),
            images: Images::default(),
            traits: Traits::default(),
            size_asks: 0,
            signals: Signals::default(),
            cost: 0,
            limit: u64::MAX,
        }
    }
}

pub(crate) fn default_tabs(cols: u16) -> Vec<bool> {
    (0..cols).map(|x| x % 8 == 0).collect()
}

impl Terminal {
    /// A blank terminal. `size` is brought into its bounds; `scrollback_lines` bounds what is kept of rows that left the
    /// primary screen at its top.
    pub fn new(size: Size, scrollback_lines: usize) -> Self {
        Self { state: Model::new(size, scrollback_lines), parser: Parser::default() }
    }

    /// Takes output of the program, cut anywhere.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.feed_within(bytes, u64::MAX);
    }

    /// As [`Self::feed`], until about `budget` units of cost are spent: says how many bytes it took, at least one. Give it
    /// the rest in another turn. What it overspends is one sequence: one screen's worth of cells.
    pub fn feed_within(&mut self, bytes: &[u8], budget: u64) -> usize {
        self.state.limit = self.state.cost.saturating_add(budget);
        let mut taken = 0;
        while taken < bytes.len() && (taken == 0 || !self.state.is_spent()) {
            taken += self.parser.advance(&mut self.state, &bytes[taken..]);
        }
        self.state.limit = u64::MAX;
        self.state.spend(taken);
        self.state.sweep_if_due();
        taken
    }

    /// What all it was fed has cost since the start, in units of about a nanosecond: one a byte, one a cell that was
    /// written or erased, more for what is more work. Bytes alone say little: five of them can write a whole screen.
    pub fn cost(&self) -> u64 {
        self.state.cost
    }

    /// Columns and rows.
    pub fn size(&self) -> Size {
        self.state.size
    }

    /// The window title (OSC 0 and 2); empty if none was set.
    pub fn title(&self) -> &str {
        self.state.title.as_deref().unwrap_or_default()
    }

    /// The icon name (OSC 0 and 1); empty if none was set.
    pub fn icon_name(&self) -> &str {
        self.state.icon.as_deref().unwrap_or_default()
    }

    /// The path of the last OSC 7, percent-decoded.
    pub fn cwd(&self) -> Option<&str> {
        self.state.cwd_path.as_deref()
    }

    /// Column and row of the cursor, from 0.
    pub fn cursor(&self) -> (u16, u16) {
        (self.state.cursor.x, self.state.cursor.y)
    }

    /// Whether the cursor is shown (DECTCEM).
    pub fn cursor_visible(&self) -> bool {
        self.state.modes.has(bit::SHOW_CURSOR)
    }

    /// Whether the alternate screen is shown.
    pub fn is_alternate(&self) -> bool {
        self.state.alternate.is_some()
    }

    /// Rows held that left the screen.
    pub fn scrollback_len(&self) -> usize {
        self.state.scrollback.len()
    }

    /// How many rows have left the screen since the start, without those that came back to it as it grew.
    pub fn rows_scrolled_off(&self) -> u64 {
        self.state.scrollback.total()
    }

    /// How many rows went back from the scrollback to a screen that grew: in all since the start, and how many of the last of
    /// those have not scrolled off again. Not every terminal does so: see [`SnapshotOptions::unscroll`](crate::SnapshotOptions).
    pub fn rows_returned(&self) -> (u64, u64) {
        self.state.scrollback.returned()
    }

    /// Whether the shell waits at its prompt; None if it never said (OSC 133).
    pub fn at_prompt(&self) -> Option<bool> {
        self.state.shell.map(|s| s != ShellState::Running)
    }

    /// The last OSC 133 mark.
    pub fn shell_state(&self) -> Option<ShellState> {
        self.state.shell
    }

    /// Whether a synchronized update is open (DEC mode 2026).
    pub fn sync_active(&self) -> bool {
        self.state.modes.has(bit::SYNC)
    }

    /// Bells since the start.
    pub fn bells(&self) -> u64 {
        self.state.bells
    }

    /// What the terminal is like that it does as.
    pub fn traits(&self) -> Traits {
        self.state.traits
    }

    /// What the program said to people since this was asked last, the oldest first; the last few of a flood.
    pub fn take_signals(&mut self) -> VecDeque<Signal> {
        self.state.signals.take()
    }

    /// Whether there is any.
    pub fn has_signals(&self) -> bool {
        !self.state.signals.is_empty()
    }

    /// The bytes of the sequence or character that is not finished yet.
    pub fn unfinished(&self) -> &[u8] {
        self.parser.tail()
    }

    /// About how many bytes of heap the model holds.
    pub fn heap_bytes(&self) -> usize {
        let screen = |s: &Screen| {
            let notes: usize = s.rows.iter().map(|r| r.notes.heap_bytes()).sum();
            notes
                + s.rows.capacity() * size_of::<Row>()
                + s.rows.len() * usize::from(s.cols) * size_of::<Cell>()
        };
        let m = &self.state;
        screen(&m.primary)
            + m.alternate.as_deref().map_or(0, screen)
            + m.hidden.as_deref().map_or(0, screen)
            + m.scrollback.heap_bytes()
            + m.clusters.heap_bytes()
            + m.ext.heap_bytes()
            + m.images.heap_bytes()
            + self.parser.tail().len()
    }
}

impl Model {
    pub(crate) fn screen(&mut self) -> &mut Screen {
        match &mut self.alternate {
            Some(s) => s,
            None => &mut self.primary,
        }
    }

    pub(crate) fn screen_ref(&self) -> &Screen {
        self.alternate.as_deref().unwrap_or(&self.primary)
    }

    pub(crate) fn cursor_row(&mut self) -> &mut Row {
        let y = self.cursor.y;
        self.screen().row(y)
    }

    /// The style erased cells get.
    pub(crate) fn erased(&self) -> Style {
        self.cursor.pen.erased()
    }

    /// Frees what no cell refers to any more.
    fn sweep_if_due(&mut self) {
        if self.clusters.wants_sweep() || self.ext.wants_sweep() {
            self.sweep();
        }
    }

    pub(crate) fn spend(&mut self, units: usize) {
        self.cost = self.cost.saturating_add(units as u64);
    }

    /// This turn is over.
    pub(crate) fn is_spent(&self) -> bool {
        self.cost >= self.limit
    }

    pub(crate) fn cells(&self) -> usize {
        usize::from(self.size.cols) * usize::from(self.size.rows)
    }

    pub(crate) fn sweep(&mut self) {
        let mut exts = vec![false; self.ext.len()];
        exts[usize::from(self.cursor.pen.ext)] = true;
        let mut kept = self.clusters.keep_none();
        let mut looked_at = exts.len();
        let screens = [Some(&self.primary), self.alternate.as_deref(), self.hidden.as_deref()];
        for screen in screens.into_iter().flatten() {
            exts[usize::from(screen.saved.cursor.pen.ext)] = true;
            for cell in screen.rows.iter().flat_map(Row::special) {
                exts[usize::from(cell.style.ext)] = true;
                self.clusters.keep(*cell, &mut kept);
                looked_at += 1;
            }
        }
        self.ext.sweep(&exts);
        let screens = [Some(&mut self.primary), self.alternate.as_deref_mut(), self.hidden.as_deref_mut()];
        let cells = screens.into_iter().flatten().flat_map(|s| &mut s.rows).flat_map(Row::special_mut);
        self.clusters.sweep(kept, cells, usize::from(self.size.cols) * usize::from(self.size.rows) / 16);
        self.spend(2 * looked_at);
    }

    pub(crate) fn set_ext(&mut self, change: impl FnOnce(&mut Ext)) {
        let old = self.ext.get(self.cursor.pen.ext);
        let mut e = old.clone();
        change(&mut e);
        if e == *old {
            return;
        }
        if self.ext.wants_sweep() {
            self.sweep_if_due();
        }
        self.cursor.pen.ext = self.ext.intern(e);
    }

    /// Mode 1049 saves the cursor and wipes the screen, whether or not that is shown already.
    pub(crate) fn enter_alternate(&mut self, mode: u16) {
        if mode == 1049 {
            self.save_cursor();
        }
        if self.alternate.is_none() {
            let screen = self.hidden.take();
            self.alternate =
                Some(screen.unwrap_or_else(|| Box::new(Screen::new(self.size.cols, self.size.rows))));
            self.alternate_mode = mode;
            self.cursor.pending = false;
            self.keep_in_origin();
        }
        if mode == 1049 {
            self.wipe_alternate();
            self.cursor.pending = false;
        }
    }

    /// Mode 47 leaves what is on it.
    pub(crate) fn leave_alternate(&mut self, mode: u16) {
        if self.alternate.is_some() {
            if mode != 47 {
                let style = std::mem::take(&mut self.cursor.pen);
                self.wipe_alternate();
                self.cursor.pen = style;
            }
            self.hidden = self.alternate.take();
            if let Some(hidden) = &mut self.hidden {
                hidden.reset_margins();
            }
            self.alternate_mode = 0;
            self.cursor.pending = false;
            self.keep_in_origin();
        }
        if mode == 1049 {
            self.restore_cursor();
        }
    }

    fn wipe_alternate(&mut self) {
        let style = self.erased();
        let Some(screen) = &mut self.alternate else { return };
        let written: usize = screen.rows.iter().map(|r| usize::from(r.used) + 4).sum();
        screen.rows.iter_mut().for_each(|r| r.reset(style));
        self.spend(if style == Style::default() { written } else { self.cells() });
    }

    pub(crate) fn charset(&self) -> Charset {
        let c = &self.cursor.charsets;
        c.g[usize::from(c.single.unwrap_or(c.gl) & 3)]
    }

    /// DECSTR.
    pub(crate) fn soft_reset(&mut self) {
        self.modes.set(bit::INSERT | bit::ORIGIN | bit::REVERSE_WRAP, false);
        self.private_mode(69, false);
        self.modes.set(bit::APP_CURSOR | bit::APP_KEYPAD, false);
        self.modes.set(bit::SHOW_CURSOR | bit::AUTOWRAP, true);
        self.cursor.pen = Style::default();
        self.cursor.charsets = Charsets::default();
        self.cursor.pending = false;
        self.cursor_shape(0);
        self.rectangle_extent = false;
        let s = self.screen();
        s.reset_margins();
        s.saved = Saved::default();
        s.keyboard = Default::default();
    }

    /// RIS. What left the screen stays, and the titles (as in xterm).
    pub(crate) fn reset(&mut self) {
        let mut fresh = Self::new(self.size, 0);
        (fresh.cost, fresh.limit) = (self.cost, self.limit);
        fresh.spend(2 * fresh.cells());
        std::mem::swap(&mut fresh.scrollback, &mut self.scrollback);
        fresh.scrollback.set_last_wrapped(false);
        fresh.bells = self.bells;
        std::mem::swap(&mut fresh.signals, &mut self.signals);
        fresh.shell = self.shell;
        fresh.modes.said = self.modes.said & !bit::BLINK_CURSOR;
        std::mem::swap(&mut fresh.title, &mut self.title);
        std::mem::swap(&mut fresh.icon, &mut self.icon);
        std::mem::swap(&mut fresh.titles, &mut self.titles);
        std::mem::swap(&mut fresh.heard, &mut self.heard);
        fresh.traits = self.traits;
        // Those of the scrollback stay, and no other is ever taken for them.
        fresh.images = std::mem::take(&mut self.images).shown();
        fresh.size_asks = self.size_asks;
        *self = fresh;
    }

    /// DECALN.
    pub(crate) fn alignment(&mut self) {
        self.spend(self.cells());
        let s = self.screen();
        s.reset_margins();
        for row in &mut s.rows {
            row.cells.fill(Cell::ascii(b'E', Style::default()));
            (row.used, row.plain) = (row.cells.len() as u16, true);
            (row.wrapped, row.notes, row.double) = (false, Notes::default(), double::SINGLE);
        }
        self.modes.set(bit::ORIGIN, false);
        self.go(0, 0);
    }

    /// DECSCUSR.
    pub(crate) fn cursor_shape(&mut self, style: u8) {
        self.cursor_style = style;
        self.modes.said &= !bit::BLINK_CURSOR;
        self.modes.set(bit::BLINK_CURSOR, matches!(style, 1 | 3 | 5));
    }

    /// Mode 12: the same state, of which the shape stays.
    pub(crate) fn cursor_blinks(&mut self, on: bool) {
        if self.cursor_style == 0 {
            self.modes.said |= bit::BLINK_CURSOR;
            self.modes.set(bit::BLINK_CURSOR, on);
        } else {
            self.cursor_shape(self.cursor_style.div_ceil(2) * 2 - u8::from(on));
        }
    }

    pub(crate) fn color(&mut self, underline: Color) {
        self.set_ext(|e| e.underline = underline);
    }
}

impl Sink for Model {
    fn ascii(&mut self, run: &[u8]) -> usize {
        let sets = &self.cursor.charsets;
        if sets.single.is_none()
            && sets.g[usize::from(sets.gl & 3)] == Charset::Ascii
            && !self.modes.has(bit::INSERT)
        {
            return self.print_run(run);
        }
        for (i, &b) in run.iter().enumerate() {
            if i > 0 && self.is_spent() {
                return i;
            }
            let c = self.charset().map(b);
            let single = self.cursor.charsets.single.take().is_some();
            self.print_one(c);
            if single {
                self.last = None;
            }
        }
        run.len()
    }

    fn char(&mut self, c: char) {
        let single = self.cursor.charsets.single.take().is_some();
        self.print_one(c);
        if single {
            self.last = None;
        }
    }

    fn control(&mut self, b: u8) {
        self.last = None;
        self.spend(SEQUENCE / 4);
        match b {
            0x07 => {
                self.bells += 1;
                self.signals.put(Signal::Bell);
            }
            0x08 => self.left(1),
            0x09 => self.tab(1),
            0x0a..=0x0c => {
                // The program itself starts a new line here, whatever was written before.
                if self.cursor.y != self.screen_ref().bottom {
                    self.cursor_row().unwrap();
                }
                self.index();
                if self.modes.has(bit::NEWLINE) {
                    self.carriage_return();
                }
            }
            0x0d => self.carriage_return(),
            0x0e => self.cursor.charsets.gl = 1,
            0x0f => self.cursor.charsets.gl = 0,
            _ => {}
        }
        self.keep_on_row();
    }

    fn esc(&mut self, intermediates: &[u8], last: u8) {
        self.last = None;
        self.spend(SEQUENCE);
        self.do_esc(intermediates, last);
        self.keep_on_row();
    }

    fn csi(&mut self, csi: &Csi<'_>) {
        self.spend(SEQUENCE);
        if csi.last == b'b' && csi.marker == 0 && csi.intermediates.is_empty() {
            self.repeat(csi.get(0, 1));
            return;
        }
        self.last = None;
        self.do_csi(csi);
        self.keep_on_row();
    }

    fn osc(&mut self, body: &[u8]) {
        self.last = None;
        self.spend(4 * SEQUENCE + body.len() * 4);
        self.do_osc(body);
    }

    fn dcs(&mut self, body: &[u8]) {
        self.last = None;
        self.sixel(body);
    }

    fn apc(&mut self, body: &[u8]) {
        self.last = None;
        self.kitty_graphics(body);
    }

    fn is_spent(&self) -> bool {
        Model::is_spent(self)
    }
}
