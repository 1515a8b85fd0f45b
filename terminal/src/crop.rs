//! The screen for a view of another size: the part around the cursor.

use crate::Size;
use crate::row::Row;
use crate::screen::Screen;
use crate::snapshot::Writer;
use crate::style::Style;
use crate::terminal::Terminal;

impl Terminal {
    /// Appends sequences that draw the screen shown into a terminal of the size `view`: all of it where it fits, else
    /// the part around the cursor. Returns the column and row of the screen at the view's top left.
    ///
    /// Modes that change what keys and mouse send are set as by [`Terminal::snapshot`]; scrollback, margins, tab stops
    /// and whatever else only matters to a program's output are not, since none may be passed on to such a view: draw
    /// again after each change. The unfinished tail is left out.
    ///
    /// As the first of them, `history` rows of the scrollback may be put above it, broken anew for the view's width.
    pub fn draw(&self, view: Size, history: usize, out: &mut Vec<u8>) -> (u16, u16) {
        let view = view.clamped();
        let m = &self.state;
        let s = m.screen_ref();
        // Lines are read from their beginning: the window leaves it only for a cursor that is not in it there.
        let left = if m.cursor.x < view.cols { 0 } else { window(m.cursor.x, m.size.cols, view.cols) };
        let top = window(m.cursor.y, m.size.rows, view.rows);
        let part = cut(s, view, left, top);
        let mut w = Writer::new(m, usize::from(view.cols), out);
        if history > 0 {
            w.prologue(false, view.rows);
            w.history(m, history, view.rows);
        }
        w.drawing(view.rows);
        w.rows(&part, false);
        w.keyboard(s);
        w.globals(m);
        w.modes(m);
        w.cursor_at(m.cursor.x - left, m.cursor.y - top);
        w.drawn();
        (left, top)
    }
}

impl Terminal {
    /// How many rows from the top of a terminal of the size `view` there are until all below are without text, when the
    /// session is left: of the first screen where it is followed byte by byte, of what [`Self::draw`] drew where it is not.
    pub fn rows_of_text(&self, view: Size) -> u16 {
        let m = &self.state;
        let (s, top) = if view == m.size {
            (&m.primary, 0)
        } else {
            (m.screen_ref(), window(m.cursor.y, m.size.rows, view.rows))
        };
        let seen = s.rows.iter().skip(top.into()).take(view.rows.into());
        let text = |row: &Row| row.content().iter().any(|c| !(c.is_blank() || c.as_ascii() == Some(b' ')));
        let rows = seen.enumerate().filter(|(_, row)| text(row)).map(|(at, _)| at + 1).max().unwrap_or(0);
        u16::try_from(rows).unwrap_or(view.rows)
    }
}

/// Where a window of `view` begins that shows `cursor` of `whole`: in the middle, if it cannot show all.
fn window(cursor: u16, whole: u16, view: u16) -> u16 {
    if whole <= view { 0 } else { cursor.saturating_sub(view / 2).min(whole - view) }
}

/// The part of a screen as a screen of its own.
fn cut(s: &Screen, view: Size, left: u16, top: u16) -> Screen {
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
