//! One row of a screen.

use crate::cell::Cell;
use crate::notes::Notes;
use crate::style::Style;

/// How large a row's characters are (DECDWL, DECDHL). Where they are not single, the row holds half as many.
pub(crate) mod double {
    /// DECSWL.
    pub(crate) const SINGLE: u8 = 0;
    /// DECDHL, the upper half of characters of double height.
    pub(crate) const TOP: u8 = 3;
    /// The lower half.
    pub(crate) const BOTTOM: u8 = 4;
    /// DECDWL.
    pub(crate) const WIDE: u8 = 6;
}

/// Cells with what is known about them, so that the usual row costs little:
/// cells from `used` on are default blanks; while `plain`, all cells are ASCII or blank in the default style.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) cells: Box<[Cell]>,
    pub(crate) used: u16,
    pub(crate) plain: bool,
    /// The text goes on in the next row: it was broken by the right margin, not by the program.
    pub(crate) wrapped: bool,
    pub(crate) notes: Notes,
    /// One of [`double`].
    pub(crate) double: u8,
}

impl Row {
    pub(crate) fn new(cols: u16) -> Self {
        Self {
            cells: vec![Cell::default(); usize::from(cols)].into_boxed_slice(),
            used: 0,
            plain: true,
            wrapped: false,
            notes: Notes::default(),
            double: double::SINGLE,
        }
    }

    /// Columns that text can be in.
    pub(crate) fn columns(&self) -> u16 {
        let cols = self.cells.len() as u16;
        if self.double == double::SINGLE { cols } else { (cols / 2).max(1) }
    }

    /// Makes the row blank, wholly in `style`.
    pub(crate) fn reset(&mut self, style: Style) {
        if style == Style::default() {
            self.cells[..usize::from(self.used)].fill(Cell::default());
            self.used = 0;
            self.plain = true;
        } else {
            self.cells.fill(Cell::blank(style));
            self.used = self.cells.len() as u16;
            self.plain = false;
        }
        self.wrapped = false;
        self.notes = Notes::default();
        self.double = double::SINGLE;
    }

    /// A wide character must not lose one half: blanks the other half of what the range `from..to` would cut.
    pub(crate) fn split_wide(&mut self, from: usize, to: usize) {
        if self.plain {
            return;
        }
        let n = self.cells.len();
        if from > 0 && from < n && self.cells[from].is_spacer() {
            let style = self.cells[from - 1].style.erased();
            self.cells[from - 1] = Cell::blank(style);
            self.cells[from] = Cell::blank(style);
        }
        if to > 0 && to < n && self.cells[to].is_spacer() {
            let style = self.cells[to].style.erased();
            self.cells[to] = Cell::blank(style);
            self.cells[to - 1] = Cell::blank(style);
        }
    }

    /// Erases `from..to` with `style`.
    pub(crate) fn erase(&mut self, from: usize, to: usize, style: Style) {
        let to = to.min(self.cells.len());
        if from >= to {
            return;
        }
        self.split_wide(from, to);
        self.cells[from..to].fill(Cell::blank(style));
        if style == Style::default() {
            if to >= usize::from(self.used) && from < usize::from(self.used) {
                self.used = from as u16;
            }
        } else {
            self.used = self.used.max(to as u16);
            self.plain = false;
        }
    }

    /// Erases what is not protected.
    pub(crate) fn erase_unprotected(&mut self, from: usize, to: usize, style: Style) {
        for x in from..to.min(self.cells.len()) {
            if self.cells[x].style.attrs & crate::style::attr::PROTECTED == 0 {
                self.erase(x, x + 1, style);
            }
        }
    }

    /// Notes that `from..to` was written with something that is not plain.
    pub(crate) fn touch(&mut self, to: usize, plain: bool) {
        self.used = self.used.max(to as u16);
        self.plain &= plain;
    }

    /// The text no longer goes on in the next row.
    pub(crate) fn unwrap(&mut self) {
        self.wrapped = false;
        self.drop_leftover();
    }

    /// What was left over for a wide character is blank like any other.
    pub(crate) fn drop_leftover(&mut self) {
        if let Some(last) = self.cells.last_mut()
            && last.is_leftover()
        {
            *last = Cell::blank(last.style);
        }
    }

    /// Cells up to the last one that is not a default blank.
    pub(crate) fn content(&self) -> &[Cell] {
        let mut n = usize::from(self.used);
        while n > 0 && self.cells[n - 1] == Cell::default() {
            n -= 1;
        }
        &self.cells[..n]
    }

    /// The cells that may be more than ASCII in the default style.
    pub(crate) fn special(&self) -> &[Cell] {
        if self.plain { &[] } else { &self.cells[..usize::from(self.used)] }
    }

    /// As [`Self::special`], to change them.
    pub(crate) fn special_mut(&mut self) -> &mut [Cell] {
        if self.plain { &mut [] } else { &mut self.cells[..usize::from(self.used)] }
    }

    /// Shifts `at..right` to the right by `n`, blanks in front.
    pub(crate) fn insert(&mut self, at: usize, right: usize, n: usize, style: Style) {
        let n = n.min(right - at);
        if n == 0 {
            return;
        }
        self.drop_leftover();
        self.split_wide(at, at);
        self.split_wide(right - n, right);
        self.split_wide(right, right);
        self.cells.copy_within(at..right - n, at + n);
        self.cells[at..at + n].fill(Cell::blank(style));
        let used = usize::from(self.used);
        if style != Style::default() {
            self.plain = false;
            self.used = used.max((at + n).max((used + n).min(right))) as u16;
        } else if used > at {
            self.used = used.max((used + n).min(right)) as u16;
        }
    }

    /// Shifts `at+n..right` to the left by `n`, blanks behind.
    pub(crate) fn delete(&mut self, at: usize, right: usize, n: usize, style: Style) {
        let n = n.min(right - at);
        if n == 0 {
            return;
        }
        self.drop_leftover();
        self.split_wide(at, at + n);
        self.split_wide(right, right);
        self.cells.copy_within(at + n..right, at);
        self.cells[right - n..right].fill(Cell::blank(style));
        if style != Style::default() {
            self.plain = false;
            self.used = self.used.max(right as u16);
        }
    }

    pub(crate) fn resize(&mut self, cols: u16) {
        let cols_us = usize::from(cols);
        if cols_us < self.cells.len() {
            self.split_wide(cols_us, cols_us);
        }
        self.drop_leftover();
        let mut v = std::mem::take(&mut self.cells).into_vec();
        v.resize(cols_us, Cell::default());
        self.cells = v.into_boxed_slice();
        self.used = self.used.min(cols);
    }
}
