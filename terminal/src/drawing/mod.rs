//! The screen for a view of another size: the part around the cursor, whole at first and then what changes of it.
//!
//! Bytes that were written for one size make no sense at another. So such a view is told, from the model, what of its own
//! screen is to be another: [`Drawing`] keeps what its terminal shows, cell by cell, looks at what it shall show, and writes the
//! difference in as few bytes as it finds: lines that only moved are moved, what is erased is erased at once, and the cursor
//! takes the shortest way (`paint`, `shift`). What the terminal cannot do is not asked of it (`abilities`), and colours
//! that it has not are the nearest it has (`glyph`).
//!
//! Modes that change what keys and mouse send are the session's (`settings`); scrollback, margins, tab stops and whatever else only
//! matters to a program's output are not, since none may be passed on to such a view. The unfinished tail is left out.

mod abilities;
mod glyph;
mod paint;
mod settings;
mod shift;
#[cfg(test)]
mod tests;

pub use abilities::{Abilities, Colours};

use crate::Size;
use crate::row::Row;
use crate::screen::Screen;
use crate::snapshot::Writer;
use crate::style::Style;
use crate::terminal::Terminal;
use glyph::{Eye, Glyph};
use paint::{Line, Paint};
use settings::Settings;
use shift::find_shift;

/// Cells of a view above which what it shows is not kept, and all is drawn each time: some 2.4 MB.
const KEPT_CELLS: usize = 100_000;
/// A drawing of so many bytes is shown at once, where the terminal knows how, and not line by line.
const SYNC_FROM: usize = 512;
/// Begins and ends that.
const SYNC: (&[u8], &[u8]) = (b"\x1b[?2026h", b"\x1b[?2026l");

/// A view of a session of another size: what its terminal can do, and what it shows.
#[derive(Debug, Default)]
pub struct Drawing {
    abilities: Abilities,
    /// Column and row of the session's screen at the view's top left.
    corner: (u16, u16),
    shown: Option<Shown>,
}

#[derive(Debug)]
struct Shown {
    view: Size,
    lines: Vec<Line>,
    /// As in [`Drawing::corner`].
    corner: (u16, u16),
    /// It is the alternate screen's.
    alternate: bool,
    settings: Settings,
    cursor: Option<(u16, u16)>,
    bells: u64,
}

impl Drawing {
    /// Of a terminal of which nothing is known but what it can do.
    pub fn new(abilities: Abilities) -> Self {
        Self { abilities, ..Self::default() }
    }

    /// The terminal shows something else by now: all is drawn anew.
    pub fn forget(&mut self) {
        self.shown = None;
    }

    /// Is the next drawing a whole one?
    pub fn is_whole_next(&self, terminal: &Terminal, view: Size) -> bool {
        let settings = Settings::of(&terminal.state);
        !self
            .shown
            .as_ref()
            .is_some_and(|shown| shown.view == view.clamped() && shown.settings.can_become(&settings))
    }

    /// Column and row of the session's screen at the view's top left, as it was drawn last.
    pub fn corner(&self) -> (u16, u16) {
        self.corner
    }

    /// About how many bytes it keeps.
    pub fn heap_bytes(&self) -> usize {
        let cells = |shown: &Shown| shown.lines.iter().map(|line| line.glyphs.len()).sum::<usize>();
        self.shown.as_ref().map_or(0, cells) * size_of::<Glyph>()
    }

    /// Appends what makes a terminal of the size `view` show the screen of `terminal`, or the part of it around the cursor: the
    /// differences where that is possible, else the whole. Says whether it is the whole.
    ///
    /// Above a whole one `history` rows of the scrollback may be put, broken anew for the view's width.
    pub fn draw(&mut self, terminal: &Terminal, view: Size, history: usize, out: &mut Vec<u8>) -> bool {
        let view = view.clamped();
        self.move_corner(terminal, view);
        let m = &terminal.state;
        let s = m.screen_ref();
        let part = cut(s, view, self.corner);
        let eye = Eye { clusters: &m.clusters, ext: &m.ext, abilities: self.abilities };
        let lines: Vec<Line> = part
            .rows
            .iter()
            .map(|row| Line {
                glyphs: row.cells.iter().map(|cell| eye.see(*cell)).collect(),
                double: row.double,
            })
            .collect();
        let settings = Settings::of(m);
        let keep = usize::from(view.cols) * usize::from(view.rows) <= KEPT_CELLS;
        let whole = history > 0 || self.is_whole_next(terminal, view);
        let begin = out.len();
        let cursor = self.cursor(terminal, view);
        let mut shown = match self.shown.take().filter(|_| !whole) {
            Some(shown) => shown,
            None => {
                let mut w = Writer::new(m, usize::from(view.cols), out);
                if history > 0 {
                    w.prologue(false, view.rows, 0);
                    w.history(m, history, view.rows);
                }
                w.drawing(view.rows);
                Shown {
                    view,
                    lines: (0..view.rows).map(|_| Line::blank(view.cols)).collect(),
                    corner: self.corner,
                    alternate: m.alternate.is_some(),
                    settings: Settings::default(),
                    cursor: Some((0, 0)),
                    bells: m.bells,
                }
            }
        };
        let newline = shown.settings.newline();
        let mut paint = Paint::new(out, &eye, &part, shown.cursor, newline);
        if !whole {
            self.shift_lines(&mut shown, &lines, m.alternate.is_some(), &mut paint);
        }
        clear_below(&mut shown.lines, &lines, &mut paint);
        for (y, (old, new)) in shown.lines.iter_mut().zip(&lines).enumerate() {
            paint.row(y as u16, old, new);
        }
        // Modes do not move it.
        paint.step(cursor.0.into(), cursor.1, &lines[usize::from(cursor.1)]);
        shown.cursor = paint.end().or(Some(cursor));
        if whole {
            let mut w = Writer::new(m, usize::from(view.cols), out);
            w.keyboard(s);
            w.globals(m);
            w.modes(m);
            w.drawn();
        } else {
            shown.settings.change_to(&settings, out);
            if m.bells > shown.bells {
                out.push(7);
            }
            if out.len() - begin >= SYNC_FROM {
                out.splice(begin..begin, SYNC.0.iter().copied());
                out.extend_from_slice(SYNC.1);
            }
        }
        (shown.settings, shown.bells) = (settings, m.bells);
        (shown.corner, shown.alternate) = (self.corner, m.alternate.is_some());
        self.shown = keep.then_some(shown);
        whole
    }

    /// Where the cursor is in the view; one that is hidden may be outside.
    fn cursor(&self, terminal: &Terminal, view: Size) -> (u16, u16) {
        let (x, y) = terminal.cursor();
        let (left, top) = self.corner;
        (x.saturating_sub(left).min(view.cols - 1), y.saturating_sub(top).min(view.rows - 1))
    }

    /// The window stays where it is as long as the cursor is seen in it, and as long as that is hidden.
    fn move_corner(&mut self, terminal: &Terminal, view: Size) {
        let (x, y) = terminal.cursor();
        let whole = terminal.size();
        let before = self.shown.as_ref().filter(|shown| shown.view == view).map(|shown| shown.corner);
        let hidden = !terminal.cursor_visible();
        let side = |before: Option<u16>, at: u16, whole: u16, view: u16| {
            let most = whole.saturating_sub(view);
            match before {
                Some(from) if from <= most && (hidden || (from..from + view).contains(&at)) => from,
                // It left by the lower edge, as text does: the window goes with it.
                Some(from) if at >= from && at - from < view + view / 2 => {
                    (at + 1).saturating_sub(view).min(most)
                }
                Some(from) if at < from && from - at <= view / 2 => at.min(most),
                _ => window(at, whole, view),
            }
        };
        // Lines are read from their beginning: the window leaves it only for a cursor that is not in it there.
        let left = match before.map(|(left, _)| left) {
            _ if x < view.cols && !hidden => 0,
            None if x < view.cols => 0,
            // To the side there is nothing that flows: half a window at once.
            Some(left)
                if left <= whole.cols.saturating_sub(view.cols)
                    && (hidden || (left..left + view.cols).contains(&x)) =>
            {
                left
            }
            _ => window(x, whole.cols, view.cols),
        };
        let top = side(before.map(|(_, top)| top), y, whole.rows, view.rows);
        self.corner = (left, top);
    }

    fn shift_lines(&self, shown: &mut Shown, new: &[Line], alternate: bool, paint: &mut Paint<'_>) {
        let Some(mut shift) = find_shift(&shown.lines, new) else { return };
        if shift.up && shown.lines[usize::from(shift.bottom) + 1..].iter().all(Line::is_blank) {
            // Blank lines may move as well: the screen's end is where it costs least.
            shift.bottom = new.len() as u16 - 1;
        }
        let whole = shift.top == 0 && usize::from(shift.bottom) + 1 == new.len();
        // What flows off the top of the first screen is what one scrolls back to.
        let off = whole && shift.up && !alternate && !shown.alternate && shown.corner.1 <= self.corner.1;
        if !off && !self.abilities.shifts_lines {
            return;
        }
        paint.shift_lines((shift.top, shift.bottom), shift.n, shift.up, off);
        let region = &mut shown.lines[usize::from(shift.top)..=usize::from(shift.bottom)];
        let n = usize::from(shift.n);
        let fresh = if shift.up {
            region.rotate_left(n);
            let end = region.len() - n;
            &mut region[end..]
        } else {
            region.rotate_right(n);
            &mut region[..n]
        };
        let cols = shown.view.cols;
        fresh.fill_with(|| Line::blank(cols));
    }
}

impl Terminal {
    /// How many rows from the top of a terminal of the size `view` there are until all below are without text, when the
    /// session is left: of the first screen where it is followed byte by byte (`drawn` is none), of what was drawn where it is not.
    pub fn rows_of_text(&self, view: Size, drawn: Option<&Drawing>) -> u16 {
        let m = &self.state;
        let (s, top) = match drawn {
            None => (&m.primary, 0),
            Some(drawing) => (m.screen_ref(), drawing.corner.1),
        };
        let seen = s.rows.iter().skip(top.into()).take(view.rows.into());
        let text = |row: &Row| row.content().iter().any(|c| !(c.is_blank() || c.as_ascii() == Some(b' ')));
        let rows = seen.enumerate().filter(|(_, row)| text(row)).map(|(at, _)| at + 1).max().unwrap_or(0);
        u16::try_from(rows).unwrap_or(view.rows)
    }
}

/// Erases at once the rows at the end that shall be blank, where that is worth it.
fn clear_below(old: &mut [Line], new: &[Line], paint: &mut Paint<'_>) {
    let first = new.iter().rposition(|line| !line.is_blank()).map_or(1, |y| y + 1).max(1);
    let Some(first) = (first..new.len()).find(|y| !old[*y].is_blank()) else { return };
    if old[first..].iter().filter(|line| !line.is_blank()).count() < 2 {
        return;
    }
    if old[first..].iter().chain(&new[first..]).any(|line| line.double != crate::row::double::SINGLE) {
        return;
    }
    paint.erase_below(first as u16);
    old[first..].clone_from_slice(&new[first..]);
}

/// Where a window of `view` begins that shows `cursor` of `whole`: in the middle, if it cannot show all.
fn window(cursor: u16, whole: u16, view: u16) -> u16 {
    if whole <= view { 0 } else { cursor.saturating_sub(view / 2).min(whole - view) }
}

/// The part of a screen as a screen of its own.
fn cut(s: &Screen, view: Size, (left, top): (u16, u16)) -> Screen {
    let mut part = Screen::new(view.cols, view.rows);
    let from = usize::from(left);
    for (to, row) in part.rows.iter_mut().zip(&s.rows[usize::from(top)..]) {
        let n = to.cells.len().min(row.cells.len() - from);
        let mut whole = Row { wrapped: false, ..row.clone() };
        whole.drop_leftover();
        whole.split_wide(from, from + n);
        to.cells[..n].copy_from_slice(&whole.cells[from..from + n]);
        let plain = to.cells.iter().all(|c| c.style == Style::default() && c.as_ascii().is_some());
        to.touch(n, plain);
        if left == 0 && n == row.cells.len() {
            to.double = row.double;
        }
    }
    part
}
