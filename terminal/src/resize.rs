//! A new size: the primary screen's soft-wrapped lines are wrapped anew, the alternate screen is cut or grown.

use crate::Size;
use crate::cell::Cell;
use crate::notes::Notes;
use crate::row::{Row, double};
use crate::screen::{Cursor, Screen};
use crate::scrollback::{self, Runs};
use crate::style::Style;
use crate::terminal::{Model, Terminal, default_tabs};

/// Cells of a line broken into rows of `cols`; a wide character is never cut. `at` follows a cell to its row and column.
pub(crate) fn rewrap(
    cells: &[Cell],
    cols: usize,
    mut at: Option<&mut (usize, usize)>,
    mut emit: impl FnMut(&[Cell], bool),
) {
    let mut start = 0;
    let mut y = 0;
    let target = at.as_deref().copied();
    loop {
        let mut end = (start + cols).min(cells.len());
        if end < cells.len() && end > start + 1 && cells[end].is_spacer() {
            end -= 1;
        }
        let more = end < cells.len();
        if let (Some(at), Some((x, _))) = (at.as_deref_mut(), target)
            && x >= start
            && (x < end || !more)
        {
            *at = (x - start, y);
        }
        emit(&cells[start..end], more);
        if !more {
            return;
        }
        start = end;
        y += 1;
    }
}

impl Terminal {
    /// Takes on a new size, brought into its bounds. Soft-wrapped lines of the primary screen flow anew, rows come back
    /// from the scrollback or go to it; the alternate screen is only cut or grown, its program draws it again.
    pub fn resize(&mut self, size: Size) {
        let size = size.clamped();
        if size != self.state.size {
            self.state.resize(size);
        }
    }
}

/// A place that goes with the text around it.
#[derive(Clone, Copy)]
struct Anchor {
    x: usize,
    y: usize,
    /// Past its column: the last one was written, and the next character goes behind it.
    past: bool,
}

impl Anchor {
    fn of(c: &Cursor) -> Self {
        Self { x: c.x.into(), y: c.y.into(), past: c.pending }
    }

    /// Puts the cursor there, on a screen of this size.
    fn put(self, c: &mut Cursor, size: Size) {
        let cols = usize::from(size.cols);
        c.pending = self.past && self.x >= cols;
        c.x = self.x.min(cols - 1) as u16;
        c.y = self.y.min(usize::from(size.rows) - 1) as u16;
    }
}

/// A cursor of a screen whose rows are only cut or grown: behind what was written last there is room, or there is none.
fn keep_cursor(c: &mut Cursor, size: Size) {
    if c.pending && c.x + 1 < size.cols {
        (c.x, c.pending) = (c.x + 1, false);
    }
    c.x = c.x.min(size.cols - 1);
    c.y = c.y.min(size.rows - 1);
}

impl Model {
    fn resize(&mut self, size: Size) {
        self.last = None;
        // The old cells and the new ones, each looked at a few times.
        self.spend(4 * (self.cells() + usize::from(size.cols) * usize::from(size.rows)));
        let saved = Anchor::of(&self.primary.saved.cursor);
        // The cursor that belongs to the primary screen comes first.
        let mut places = match self.alternate {
            Some(_) => [saved, saved],
            None => [Anchor::of(&self.cursor), saved],
        };
        let (_, out) = self.scrollback.returned();
        let (left, came) = self.reflow(size, &mut places);
        self.scrollback.resized(left, came, out);
        let saved = &mut self.primary.saved.cursor;
        places[1].put(saved, size);
        let columns = self.primary.rows[usize::from(saved.y)].columns();
        if saved.x >= columns || columns < size.cols {
            (saved.x, saved.pending) = (saved.x.min(columns - 1), false);
        }
        self.primary.cols = size.cols;
        self.primary.reset_margins();
        match self.alternate.as_deref_mut() {
            Some(alt) => {
                let gone = crop(alt, size, self.cursor.y);
                self.cursor.y -= gone;
                keep_cursor(&mut self.cursor, size);
            }
            None => places[0].put(&mut self.cursor, size),
        }
        let under = &self.screen_ref().rows[usize::from(self.cursor.y)].cells[usize::from(self.cursor.x)];
        // What it was behind may have been cut off.
        self.cursor.pending &= !under.is_blank();
        if let Some(hidden) = self.hidden.as_deref_mut() {
            crop(hidden, size, 0);
        }
        let old = self.tabs.len();
        self.tabs.resize(usize::from(size.cols), false);
        for (x, stop) in default_tabs(size.cols).into_iter().enumerate().skip(old) {
            self.tabs[x] = stop;
        }
        self.size = size;
        self.keep_on_row();
        let screens = [Some(&self.primary), self.alternate.as_deref(), self.hidden.as_deref()];
        let cells = screens.into_iter().flatten().flat_map(|s| &s.rows).flat_map(Row::special);
        self.clusters.fit(size, cells);
        self.sweep();
    }

    /// How many rows of the new size left the scrollback for the screen, and how many came to it.
    fn reflow(&mut self, size: Size, places: &mut [Anchor; 2]) -> (u64, u64) {
        let cols = usize::from(size.cols);
        let height = usize::from(size.rows);
        let mut old = std::mem::take(&mut self.primary.rows);
        // Blank rows at the end, below the cursor, are not content.
        while old.len() > places[0].y + 1
            && old.last().is_some_and(|r| r.content().is_empty() && r.notes.is_empty())
        {
            old.pop();
        }
        // How far below all content a place is.
        let below = places.map(|place| (place.y + 1).saturating_sub(old.len()));
        // Cells, notes and size of each line, and the places as line and cell.
        let mut lines: Vec<(Vec<Cell>, Notes, u8)> = Vec::new();
        let mut cells_at = [(0, 0); 2];
        let mut joined = false;
        let mut left = 0;
        // A line longer than this is taken in parts: what is further up than the screens show keeps its rows as they are.
        let most = (cols * height).max(4096);
        if self.scrollback.last_is_wrapped() {
            let (cells, notes) = self.pop_line(most);
            rewrap(&cells, cols, None, |_, _| left += 1);
            lines.push((cells, notes, double::SINGLE));
            joined = true;
        }
        let end = old.len() - 1;
        for (y, row) in old.into_iter().enumerate() {
            if !joined {
                lines.push((Vec::new(), Notes::default(), row.double));
            }
            let i = lines.len() - 1;
            let (cells, notes, _) = &mut lines[i];
            for (place, at) in places.iter().zip(&mut cells_at) {
                if y == place.y.min(end) {
                    *at = (i, cells.len() + place.x + usize::from(place.past));
                }
            }
            let content = match row.cells.split_last() {
                Some((last, rest)) if row.wrapped && last.is_leftover() => rest,
                _ if row.wrapped => &row.cells[..],
                _ => row.content(),
            };
            cells.extend_from_slice(content);
            notes.join(row.notes.bytes());
            joined = row.wrapped;
        }
        // How many rows that makes, and where the places are; no more of them than the screen has are made at a time.
        let mut made = 0;
        for (i, (cells, ..)) in lines.iter().enumerate() {
            let first = made;
            rewrap(cells, cols, None, |_, _| made += 1);
            for (place, (line, x)) in places.iter_mut().zip(cells_at) {
                if i == line {
                    let mut at = (x, 0);
                    rewrap(cells, cols, Some(&mut at), |_, _| {});
                    (place.x, place.y) = (at.0, first + at.1);
                }
            }
        }
        for (place, below) in places.iter_mut().zip(below) {
            place.y += below;
        }
        // The cursor's row stays; what is above goes to the scrollback first, then what is below is cut.
        let mut excess = made.saturating_sub(height).min(places[0].y);
        let came = excess as u64;
        for place in places.iter_mut() {
            place.y = place.y.saturating_sub(excess);
        }
        let mut rows: Vec<Row> = Vec::new();
        let (scrollback, clusters, ext) = (&mut self.scrollback, &self.clusters, &self.ext);
        for (cells, notes, double) in lines {
            let mut notes = Some(notes);
            rewrap(&cells, cols, None, |part, more| {
                let mut row = row_of(part, size.cols, more && double == double::SINGLE);
                row.notes = notes.take().unwrap_or_default();
                row.double = double;
                if excess > 0 {
                    excess -= 1;
                    scrollback.push(&row, clusters, ext);
                } else if rows.len() < height {
                    rows.push(row);
                }
            });
        }
        while rows.len() < height && self.scrollback.len() > 0 {
            let (cells, notes) = self.pop_line(most);
            let mut more_rows = Vec::new();
            rewrap(&cells, cols, None, |part, more| more_rows.push(row_of(part, size.cols, more)));
            more_rows[0].notes = notes;
            let surplus = (rows.len() + more_rows.len()).saturating_sub(height);
            for row in more_rows.drain(..surplus) {
                self.scrollback.push(&row, &self.clusters, &self.ext);
            }
            for place in places.iter_mut() {
                place.y += more_rows.len();
            }
            left += more_rows.len() as u64;
            rows.splice(0..0, more_rows);
        }
        rows.resize_with(height, || Row::new(size.cols));
        rows[height - 1].unwrap();
        rows.shrink_to_fit();
        self.primary.rows = rows;
        (left, came)
    }

    /// The newest line leaves the scrollback: all rows it was broken into, or as many of the last ones as have `most` cells.
    fn pop_line(&mut self, most: usize) -> (Vec<Cell>, Notes) {
        let mut parts = Vec::new();
        let mut cells = 0;
        while let Some(row) = self.scrollback.pop() {
            cells += scrollback::columns(&row);
            parts.push(row);
            if !self.scrollback.last_is_wrapped() || cells >= most {
                break;
            }
        }
        self.spend(8 * cells);
        let mut line = Vec::with_capacity(cells);
        let mut notes = Notes::default();
        for row in parts.iter().rev() {
            notes.join(Runs::new(row).notes);
            scrollback::decode(row, &mut self.clusters, &mut self.ext, &mut line);
        }
        (line, notes)
    }
}

fn row_of(part: &[Cell], cols: u16, wrapped: bool) -> Row {
    let mut row = Row::new(cols);
    row.cells[..part.len()].copy_from_slice(part);
    // On a screen of one column a wide character has no room.
    for x in 0..part.len() {
        let spacer_next = part.get(x + 1).is_some_and(|c| c.is_spacer());
        if part[x].is_wide() && !spacer_next || part[x].is_spacer() && x == 0 {
            row.cells[x] = Cell::blank(part[x].style.erased());
        }
    }
    let plain = part.iter().all(|c| c.style == Style::default() && c.as_ascii().is_some());
    row.touch(part.len(), plain);
    row.wrapped = wrapped;
    if wrapped && part.len() < usize::from(cols) {
        row.cells[part.len()] = Cell::leftover(Style::default());
        row.touch(part.len() + 1, false);
    }
    row
}

/// Cuts or grows the alternate screen; rows go at the bottom, but at the top where the cursor would fall off. Says how
/// many went at the top.
fn crop(s: &mut Screen, size: Size, cursor: u16) -> u16 {
    let gone = (cursor + 1).saturating_sub(size.rows);
    s.rows.drain(..usize::from(gone));
    s.rows.truncate(usize::from(size.rows));
    for row in &mut s.rows {
        if size.cols != s.cols {
            row.unwrap();
        }
        row.resize(size.cols);
    }
    s.rows.resize_with(usize::from(size.rows), || Row::new(size.cols));
    if let Some(last) = s.rows.last_mut() {
        last.unwrap();
    }
    s.cols = size.cols;
    s.reset_margins();
    let saved = &mut s.saved.cursor;
    saved.y = saved.y.saturating_sub(gone);
    keep_cursor(saved, size);
    gone
}
