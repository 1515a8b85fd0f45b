//! Printing: runs of ASCII as slices, other characters one by one, wrapping at the margin.

use crate::cell::Cell;
use crate::modes::bit;
use crate::row::double;
use crate::style::Style;
use crate::terminal::Model;

/// What a character costs that is printed by itself.
const PRINTED: usize = 8;
/// Cells that cost one when a row is shifted.
pub(crate) const MOVED: usize = 4;

impl Model {
    /// First column past where the cursor's text may go.
    pub(crate) fn limit(&self) -> u16 {
        let (x, s) = (self.cursor.x, self.screen_ref());
        let limit = if x <= s.right { s.right + 1 } else { s.cols };
        let columns = s.rows[usize::from(self.cursor.y)].columns();
        if x < columns { limit.min(columns) } else { limit }
    }

    /// Whether what wraps from the cursor's row is one line with it: a row between margins is none, nor is one of double
    /// width, which ends before its last cell. (It wraps at the end, or where a margin was.)
    fn goes_on(&self) -> bool {
        let (s, y) = (self.screen_ref(), usize::from(self.cursor.y));
        let single = |y: usize| s.rows.get(y).is_none_or(|row| row.double == double::SINGLE);
        let at_the_end = self.cursor.x + 1 == s.cols;
        at_the_end && s.full_width() && single(y) && (y == usize::from(s.bottom) || single(y + 1))
    }

    /// To the start of the next row. Says whether the row above is now known to go on.
    pub(crate) fn wrap(&mut self) -> bool {
        let y = self.cursor.y;
        let full = self.goes_on();
        let s = self.screen();
        let (left, scrolls) = (s.left, y == s.bottom);
        let mut marked = full && !scrolls && y + 1 < s.height();
        if marked {
            s.row(y).wrapped = true;
        }
        let x = if self.cursor.x < left { 0 } else { left };
        self.index();
        if full && scrolls {
            // Said after scrolling, which parts the bottom row from what was below it.
            match y.checked_sub(1) {
                Some(above) => {
                    self.screen().row(above).wrapped = true;
                    marked = true;
                }
                None if self.alternate.is_none() => self.scrollback.set_last_wrapped(true),
                None => {}
            }
        }
        self.cursor.x = x;
        self.cursor.pending = false;
        marked
    }

    /// Prints until the run is over or the turn is spent; says how many it took, at least one.
    pub(crate) fn print_run(&mut self, whole: &[u8]) -> usize {
        let mut run = whole;
        let style = self.cursor.pen;
        let plain = style == Style::default();
        let autowrap = self.modes.has(bit::AUTOWRAP);
        while !run.is_empty() {
            if run.len() < whole.len() && self.is_spent() {
                break;
            }
            if self.cursor.pending {
                self.wrap();
            }
            let limit = usize::from(self.limit());
            let x = usize::from(self.cursor.x);
            let n = run.len().min(limit - x);
            let row = self.cursor_row();
            row.split_wide(x, x + n);
            for (cell, &b) in row.cells[x..x + n].iter_mut().zip(run) {
                *cell = Cell::ascii(b, style);
            }
            row.touch(x + n, plain);
            self.last = Some(char::from(run[n - 1]));
            run = &run[n..];
            self.spend(n);
            if x + n == limit {
                self.cursor.x = limit as u16 - 1;
                self.cursor.pending = autowrap;
                if !autowrap {
                    self.last = None;
                }
                if !autowrap && let Some(&b) = run.last() {
                    run = &[];
                    self.cursor_row().cells[limit - 1] = Cell::ascii(b, style);
                }
            } else {
                self.cursor.x = (x + n) as u16;
            }
        }
        whole.len() - run.len()
    }

    pub(crate) fn print_one(&mut self, c: char) {
        self.spend(PRINTED);
        if c >= '\u{200d}' && self.traits.clusters != 0 && self.join(c) {
            return;
        }
        let w = self.traits.width(c);
        if w == 0 {
            self.combine(&[c]);
            return;
        }
        if self.cursor.pending {
            self.wrap();
        }
        let style = self.cursor.pen;
        let autowrap = self.modes.has(bit::AUTOWRAP);
        let mut limit = usize::from(self.limit());
        if w == 2 && usize::from(self.cursor.x) + 2 > limit {
            if autowrap && usize::from(self.screen_ref().cols) >= 2 {
                self.leave_over(limit);
                if self.wrap() {
                    self.note_leftover(style.erased());
                }
                self.cursor_row().drop_leftover();
                limit = usize::from(self.limit());
            }
            if usize::from(self.cursor.x) + 2 > limit {
                // No room for it.
                self.last = None;
                return;
            }
        }
        let x = usize::from(self.cursor.x);
        if self.modes.has(bit::INSERT) {
            self.insert_cells(w as u16);
        }
        let row = self.cursor_row();
        row.split_wide(x, x + w);
        row.cells[x] = Cell::new(c, w == 2, style);
        if w == 2 {
            row.cells[x + 1] = Cell::spacer(style);
        }
        row.touch(x + w, false);
        if x + w >= limit {
            self.cursor.x = limit as u16 - 1;
            self.cursor.pending = autowrap;
            self.last = Some(c).filter(|_| autowrap);
        } else {
            self.cursor.x = (x + w) as u16;
            self.last = Some(c);
        }
    }

    /// A wide character does not fit in the last column: it goes to the next row.
    fn leave_over(&mut self, limit: usize) {
        let style = self.erased();
        let goes_on = self.goes_on();
        let row = self.cursor_row();
        row.split_wide(limit - 1, limit);
        row.cells[limit - 1] = if goes_on { Cell::leftover(style) } else { Cell::blank(style) };
        row.touch(limit, false);
    }

    /// After the wrap: the row above keeps what was left over.
    fn note_leftover(&mut self, style: Style) {
        let Some(above) = self.cursor.y.checked_sub(1) else { return };
        let row = self.screen().row(above);
        if let Some(last) = row.cells.last_mut() {
            *last = Cell::leftover(style);
            let n = row.cells.len();
            row.touch(n, false);
        }
    }

    /// Marks without width join the cell before the cursor.
    pub(crate) fn combine(&mut self, marks: &[char]) {
        self.spend(PRINTED * (1 + marks.len()));
        // At once and not when the turn is over: a repetition makes as many as the screen has cells, each time.
        if self.clusters.wants_sweep() {
            self.sweep();
        }
        let mut x = usize::from(self.cursor.x);
        if !self.cursor.pending {
            if x == 0 {
                return;
            }
            x -= 1;
        }
        let y = usize::from(self.cursor.y);
        let clusters = &mut self.clusters;
        let screen = match &mut self.alternate {
            Some(s) => s,
            None => &mut self.primary,
        };
        let row = &mut screen.rows[y];
        if row.cells[x].is_spacer() && x > 0 {
            x -= 1;
        }
        if row.cells[x].is_blank() {
            return;
        }
        clusters.add(&mut row.cells[x], marks);
        row.plain = false;
    }

    pub(crate) fn insert_cells(&mut self, n: u16) {
        let style = self.erased();
        let x = self.cursor.x;
        let (left, right) = (self.screen_ref().left, self.screen_ref().right);
        if (left..=right).contains(&x) {
            self.cursor_row().insert(usize::from(x), usize::from(right) + 1, usize::from(n), style);
            self.spend(usize::from(right + 1 - x) / MOVED);
        }
    }

    pub(crate) fn delete_cells(&mut self, n: u16) {
        let style = self.erased();
        let x = self.cursor.x;
        let (left, right) = (self.screen_ref().left, self.screen_ref().right);
        if (left..=right).contains(&x) {
            self.cursor_row().delete(usize::from(x), usize::from(right) + 1, usize::from(n), style);
            self.spend(usize::from(right + 1 - x) / MOVED);
        }
    }

    pub(crate) fn repeat(&mut self, n: u16) {
        let Some(c) = self.last else { return };
        let (x, w) = (usize::from(self.cursor.x), self.traits.width(c));
        let x = if self.cursor.pending { x + 1 } else { x };
        let cell = self.screen_ref().rows[usize::from(self.cursor.y)].cells[x.saturating_sub(w)];
        if cell.is_spacer() || cell.is_wide() != (w == 2) {
            // A cluster of another width than its first code point: nobody repeats those.
            return;
        }
        let marks = cell.cluster().map(|i| self.clusters.get(i)[1..].to_vec()).unwrap_or_default();
        // More than the screen holds, or what of it lies between the margins, shows nothing new.
        let s = self.screen_ref();
        let width = usize::from(s.right + 1 - s.left);
        let most = if s.full_width() { self.cells() } else { width * s.rows.len() + usize::from(s.cols) };
        let mut left = usize::from(n).min(most);
        let insert = self.modes.has(bit::INSERT);
        if let Ok(b @ 0x20..=0x7e) = u8::try_from(c)
            && marks.is_empty()
            && !insert
        {
            let run = [b; 128];
            while left > 0 {
                left -= self.print_run(&run[..left.min(run.len())]);
            }
            return;
        }
        while left > 0 {
            self.print_one(c);
            self.combine_if_any(&marks);
            left -= 1;
            let s = self.screen_ref();
            let shifts = (s.left..=s.right).contains(&self.cursor.x);
            if insert && shifts && !self.cursor.pending && w > 0 {
                // What goes into this row beside it: room is made once.
                let room = usize::from(self.limit() - self.cursor.x) / w;
                let now = left.min(room);
                self.insert_cells((now * w) as u16);
                self.modes.set(bit::INSERT, false);
                for _ in 0..now {
                    self.print_one(c);
                    self.combine_if_any(&marks);
                }
                self.modes.set(bit::INSERT, true);
                left -= now;
            }
        }
    }

    fn combine_if_any(&mut self, marks: &[char]) {
        if !marks.is_empty() {
            self.combine(marks);
        }
    }
}
