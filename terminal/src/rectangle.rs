//! Operations on rectangles (DEC STD 070, xterm ctlseqs): fill, erase, copy, change attributes.
//!
//! A rectangle is cut to the screen, in origin mode to the margins, so that none costs more than the screen has cells.

use crate::cell::Cell;
use crate::modes::bit;
use crate::parser::Csi;
use crate::style::{Style, attr};
use crate::terminal::Model;

/// Columns and rows, from 0, all of them inside.
#[derive(Clone, Copy, Debug)]
struct Rectangle {
    left: usize,
    top: usize,
    right: usize,
    bottom: usize,
}

impl Rectangle {
    fn area(self) -> usize {
        (self.right + 1 - self.left) * (self.bottom + 1 - self.top)
    }
}

/// What DECCARA or DECRARA does to attributes.
#[derive(Clone, Copy, Default)]
struct Change {
    clear: u16,
    set: u16,
    flip: u16,
}

impl Change {
    /// Of the parameters from `first` on; without any it is 0.
    fn of(csi: &Csi<'_>, first: usize, reverse: bool) -> Self {
        let mut all = Self::default();
        for i in first..csi.len().max(first + 1) {
            let underline = 1 << attr::UNDERLINE_SHIFT;
            let (bits, on) = match csi.raw(i) {
                0 if !reverse => {
                    (attr::BOLD | attr::UNDERLINE | attr::BLINK | attr::INVERSE | attr::HIDDEN, 0)
                }
                1 => (attr::BOLD, attr::BOLD),
                4 => (attr::UNDERLINE, underline),
                5 => (attr::BLINK, attr::BLINK),
                7 => (attr::INVERSE, attr::INVERSE),
                8 => (attr::HIDDEN, attr::HIDDEN),
                22 if !reverse => (attr::BOLD, 0),
                24 if !reverse => (attr::UNDERLINE, 0),
                25 if !reverse => (attr::BLINK, 0),
                27 if !reverse => (attr::INVERSE, 0),
                28 if !reverse => (attr::HIDDEN, 0),
                _ => continue,
            };
            if reverse {
                all.flip ^= on;
            } else {
                all.clear |= bits;
                all.set = all.set & !bits | on;
            }
        }
        all
    }

    fn apply(self, attrs: u16) -> u16 {
        let under = attr::UNDERLINE;
        let mut new = attrs ^ self.flip & !under;
        if self.flip & under != 0 {
            new = if new & under != 0 { new & !under } else { new | self.flip & under };
        }
        new & !self.clear | self.set
    }
}

impl Model {
    /// What rectangles are cut to.
    fn bounds(&self) -> Rectangle {
        let s = self.screen_ref();
        if self.modes.has(bit::ORIGIN) {
            Rectangle {
                left: s.left.into(),
                top: s.top.into(),
                right: s.right.into(),
                bottom: s.bottom.into(),
            }
        } else {
            let (right, bottom) = (usize::from(s.cols) - 1, usize::from(s.height()) - 1);
            Rectangle { left: 0, top: 0, right, bottom }
        }
    }

    /// The rectangle that four parameters from `at` on name: top, left, bottom, right. None if there is nothing in it.
    fn rectangle(&self, csi: &Csi<'_>, at: usize) -> Option<Rectangle> {
        let within = self.bounds();
        let from = |i: usize, start: usize| usize::from(csi.get(i, 1)) - 1 + start;
        let to = |i: usize, start: usize, end: usize| match csi.raw(i) {
            0 => end,
            n => (usize::from(n) - 1 + start).min(end),
        };
        let r = Rectangle {
            top: from(at, within.top),
            left: from(at + 1, within.left),
            bottom: to(at + 2, within.top, within.bottom),
            right: to(at + 3, within.left, within.right),
        };
        (r.top <= r.bottom && r.left <= r.right).then_some(r)
    }

    /// What was written over is no part of a line any more that goes on beyond.
    fn part_lines(&mut self, r: Rectangle) {
        let cols = usize::from(self.size.cols);
        if r.left == 0 {
            self.unwrap_above(r.top as u16);
        }
        for (y, row) in self.screen().rows.iter_mut().enumerate().take(r.bottom + 1).skip(r.top) {
            if r.right + 1 == cols || r.left == 0 && y < r.bottom {
                row.unwrap();
            }
        }
    }

    /// DECFRA.
    pub(crate) fn fill_rectangle(&mut self, csi: &Csi<'_>) {
        let code = csi.raw(0);
        let Some(r) = self.rectangle(csi, 1).filter(|_| matches!(code, 0x20..=0x7e | 0xa0..=0xff)) else {
            return;
        };
        let style = self.cursor.pen;
        let cell = Cell::new(char::from(code as u8), false, style);
        let plain = style == Style::default() && code < 0x80;
        self.spend(r.area());
        self.part_lines(r);
        for row in &mut self.screen().rows[r.top..=r.bottom] {
            row.split_wide(r.left, r.right + 1);
            row.cells[r.left..=r.right].fill(cell);
            row.touch(r.right + 1, plain);
        }
        self.wrap_behind_text_only();
    }

    /// Nothing is behind a cell that was erased, or lost its other half. (In xterm what comes next would wrap; no other terminal
    /// could be told.)
    fn wrap_behind_text_only(&mut self) {
        let (x, y) = (usize::from(self.cursor.x), usize::from(self.cursor.y));
        self.cursor.pending &= !self.screen_ref().rows[y].cells[x].is_blank();
    }

    /// DECERA, and DECSERA, which leaves colours and what is protected as they are.
    pub(crate) fn erase_rectangle(&mut self, csi: &Csi<'_>, selective: bool) {
        let Some(r) = self.rectangle(csi, 0) else { return };
        let style = self.erased();
        self.spend(r.area() * if selective { 4 } else { 1 });
        if !selective {
            self.part_lines(r);
        }
        for row in &mut self.screen().rows[r.top..=r.bottom] {
            if !selective {
                row.erase(r.left, r.right + 1, style);
                continue;
            }
            for x in r.left..=r.right {
                let style = row.cells[x].style;
                if style.attrs & attr::PROTECTED == 0 {
                    row.erase(x, x + 1, style.erased());
                }
            }
        }
        self.wrap_behind_text_only();
    }

    /// DECCRA. There is one page.
    pub(crate) fn copy_rectangle(&mut self, csi: &Csi<'_>) {
        let Some(r) = self.rectangle(csi, 0) else { return };
        let within = self.bounds();
        let top = usize::from(csi.get(5, 1)) - 1 + within.top;
        let left = usize::from(csi.get(6, 1)) - 1 + within.left;
        if top > within.bottom || left > within.right {
            return;
        }
        let width = (r.right + 1 - r.left).min(within.right + 1 - left);
        let height = (r.bottom + 1 - r.top).min(within.bottom + 1 - top);
        let to = Rectangle { left, top, right: left + width - 1, bottom: top + height - 1 };
        self.spend(2 * to.area() + 16 * height);
        let mut cells = Vec::with_capacity(width);
        for n in 0..height {
            // Rows that are still to be read are not written yet.
            let n = if top > r.top { height - 1 - n } else { n };
            let from = &self.screen_ref().rows[r.top + n].cells[r.left..r.left + width];
            cells.clear();
            cells.extend_from_slice(from);
            // Halves of wide characters do not go alone.
            if let Some(first) = cells.first_mut().filter(|c| c.is_spacer()) {
                *first = Cell::blank(first.style.erased());
            }
            if let Some(last) = cells.last_mut().filter(|c| c.is_wide() || c.is_leftover()) {
                *last = Cell::blank(last.style.erased());
            }
            self.put_cells(&cells, left, top + n);
        }
        self.part_lines(to);
        self.wrap_behind_text_only();
    }

    /// Puts copies of cells into a row. A cluster belongs to one cell only: copies get their own.
    fn put_cells(&mut self, cells: &[Cell], x: usize, y: usize) {
        let marked: Vec<(usize, Vec<char>)> = cells
            .iter()
            .enumerate()
            .filter_map(|(i, cell)| Some((i, self.clusters.get(cell.cluster()?).to_vec())))
            .collect();
        let row = &mut self.screen().rows[y];
        row.drop_leftover();
        row.split_wide(x, x + cells.len());
        row.cells[x..x + cells.len()].copy_from_slice(cells);
        for (i, chars) in &marked {
            let cell = cells[*i];
            row.cells[x + i] = Cell::new(chars.first().copied().unwrap_or(' '), cell.is_wide(), cell.style);
        }
        let plain = cells.iter().all(|c| c.style == Style::default() && c.as_ascii().is_some());
        row.touch(x + cells.len(), plain);
        for (i, chars) in marked {
            self.spend(8 * chars.len());
            if self.clusters.wants_sweep() {
                self.sweep();
            }
            let (clusters, screen) = match &mut self.alternate {
                Some(s) => (&mut self.clusters, &mut **s),
                None => (&mut self.clusters, &mut self.primary),
            };
            clusters.add(&mut screen.rows[y].cells[x + i], chars.get(1..).unwrap_or_default());
        }
    }

    /// DECCARA, and DECRARA, which turns attributes round. DECSACE says whether the positions are a rectangle or a stream.
    pub(crate) fn change_rectangle(&mut self, csi: &Csi<'_>, reverse: bool) {
        let Some(r) = self.rectangle(csi, 0) else { return };
        let change = Change::of(csi, 4, reverse);
        let within = self.bounds();
        let stream = !self.rectangle_extent;
        self.spend(4 * r.area() + if stream { 2 * self.cells() } else { 0 });
        for y in r.top..=r.bottom {
            let left = if stream && y > r.top { within.left } else { r.left };
            let right = if stream && y < r.bottom { within.right } else { r.right };
            let row = &mut self.screen().rows[y];
            for x in left..=right {
                let cell = row.cells[x];
                let attrs = change.apply(cell.style.attrs);
                // The right half of a wide character goes with the left one.
                if attrs == cell.style.attrs || cell.is_spacer() {
                    continue;
                }
                let style = Style { attrs, ..cell.style };
                if cell.is_blank() {
                    // What shows an attribute is there.
                    row.cells[x] = Cell::ascii(b' ', style);
                    continue;
                }
                row.cells[x].style = style;
                if cell.is_wide()
                    && let Some(half) = row.cells.get_mut(x + 1)
                {
                    half.style = style;
                }
            }
            let end = (right + 2).min(row.cells.len());
            row.touch(end, false);
            if right + 1 == row.cells.len() && !row.cells[right].is_leftover() {
                row.drop_leftover();
            }
        }
    }
}
