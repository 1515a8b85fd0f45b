//! Where the cursor goes, and what scrolls when it leaves the margins.

use crate::modes::bit;
use crate::screen::Saved;
use crate::terminal::Model;

impl Model {
    /// Down one row, scrolling at the bottom margin.
    pub(crate) fn index(&mut self) {
        self.cursor.pending = false;
        let y = self.cursor.y;
        let (top, bottom, height) = {
            let s = self.screen_ref();
            (s.top, s.bottom, s.height())
        };
        if y == bottom {
            let x = self.cursor.x;
            let s = self.screen_ref();
            if s.full_width() || (s.left..=s.right).contains(&x) {
                self.scroll_up(top, bottom, 1);
            }
        } else if y + 1 < height {
            self.cursor.y += 1;
        }
    }

    pub(crate) fn reverse_index(&mut self) {
        self.cursor.pending = false;
        let (x, y) = (self.cursor.x, self.cursor.y);
        let s = self.screen_ref();
        if y == s.top {
            if s.full_width() || (s.left..=s.right).contains(&x) {
                self.scroll_down(s.top, s.bottom, 1);
            }
        } else if y > 0 {
            self.cursor.y -= 1;
        }
    }

    /// Scrolls up; rows that leave the primary screen at its top go to the scrollback.
    pub(crate) fn scroll_up(&mut self, top: u16, bottom: u16, n: u16) {
        let style = self.erased();
        let n = n.min(bottom + 1 - top);
        self.spend_scroll(top, bottom, n);
        let keep = self.alternate.is_none() && top == 0 && self.primary.full_width();
        if keep {
            self.spend(2 * usize::from(n) * usize::from(self.size.cols));
            for row in &self.primary.rows[..usize::from(n)] {
                self.scrollback.push(row, &self.clusters, &self.ext);
            }
        }
        if keep && n == bottom + 1 {
            // What was below the region does not follow.
            self.scrollback.set_last_wrapped(false);
        }
        self.screen().scroll_up(top, bottom, n, style);
    }

    /// Scrolling writes the rows that come in, encodes those that leave, and moves the others: as a whole, or between
    /// margins cell by cell.
    pub(crate) fn spend_scroll(&mut self, top: u16, bottom: u16, n: u16) {
        let (rows, n) = (usize::from(bottom + 1 - top), usize::from(n.min(bottom + 1 - top)));
        let s = self.screen_ref();
        let width = usize::from(s.right + 1 - s.left);
        self.spend(if s.full_width() { n * width + rows / 8 } else { rows * (16 + width / 2) });
    }

    pub(crate) fn scroll_down(&mut self, top: u16, bottom: u16, n: u16) {
        let style = self.erased();
        self.spend_scroll(top, bottom, n);
        self.cursor.pending = false;
        if top == 0 && self.alternate.is_none() {
            self.scrollback.set_last_wrapped(false);
        }
        self.screen().scroll_down(top, bottom, n, style);
    }

    /// Moves to column and row of the whole screen.
    pub(crate) fn go(&mut self, x: u16, y: u16) {
        self.cursor.y = y.min(self.size.rows - 1);
        let columns = self.screen_ref().rows[usize::from(self.cursor.y)].columns();
        self.cursor.x = x.min(columns - 1);
        self.cursor.pending = false;
    }

    /// Moves as CUP does: relative to the margins in origin mode.
    pub(crate) fn go_addressed(&mut self, x: u16, y: u16) {
        if self.modes.has(bit::ORIGIN) {
            let s = self.screen_ref();
            let (x, y) = (x.saturating_add(s.left).min(s.right), y.saturating_add(s.top).min(s.bottom));
            self.go(x, y);
        } else {
            self.go(x, y);
        }
    }

    pub(crate) fn up(&mut self, n: u16) {
        let y = self.cursor.y;
        let top = if y >= self.screen_ref().top { self.screen_ref().top } else { 0 };
        self.go(self.cursor.x, y.saturating_sub(n).max(top));
    }

    pub(crate) fn down(&mut self, n: u16) {
        let y = self.cursor.y;
        let bottom =
            if y <= self.screen_ref().bottom { self.screen_ref().bottom } else { self.size.rows - 1 };
        self.go(self.cursor.x, y.saturating_add(n).min(bottom));
    }

    pub(crate) fn right(&mut self, n: u16) {
        let x = self.cursor.x;
        let right = if x <= self.screen_ref().right { self.screen_ref().right } else { self.size.cols - 1 };
        self.go(x.saturating_add(n).min(right), self.cursor.y);
    }

    pub(crate) fn left(&mut self, n: u16) {
        let wraps = self.modes.has(bit::REVERSE_WRAP) && self.modes.has(bit::AUTOWRAP);
        let x = self.cursor.x;
        let (left, right) = (self.screen_ref().left, self.screen_ref().right);
        let edge = if x >= left { left } else { 0 };
        if wraps {
            let mut n = n.min(u16::MAX - 1);
            if self.cursor.pending {
                // The pending column counts as one.
                n = n.saturating_sub(1);
            }
            let (mut x, mut y) = (x, self.cursor.y);
            let top = if self.modes.has(bit::ORIGIN) { self.screen_ref().top } else { 0 };
            while n > 0 {
                let step = n.min(x - edge.min(x));
                x -= step;
                n -= step;
                if n > 0 {
                    if y <= top || x != edge || !self.screen_ref().rows[usize::from(y) - 1].wrapped {
                        break;
                    }
                    y -= 1;
                    x = right;
                    n -= 1;
                }
            }
            self.go(x, y);
        } else {
            self.go(x.saturating_sub(n).max(edge), self.cursor.y);
        }
    }

    pub(crate) fn carriage_return(&mut self) {
        let left = self.screen_ref().left;
        self.cursor.x = if self.cursor.x < left { 0 } else { left };
        self.cursor.pending = false;
    }

    pub(crate) fn tab(&mut self, n: u16) {
        let from = self.cursor.x;
        for _ in 0..n.min(self.size.cols) {
            let limit = self.limit() - 1;
            let mut x = self.cursor.x;
            if x >= limit {
                break;
            }
            x += 1;
            while x < limit && !self.tabs[usize::from(x)] {
                x += 1;
            }
            self.go(x, self.cursor.y);
        }
        self.spend(usize::from(self.cursor.x - from));
    }

    pub(crate) fn back_tab(&mut self, n: u16) {
        let edge = if self.modes.has(bit::ORIGIN) { self.screen_ref().left } else { 0 };
        self.spend(usize::from(self.cursor.x));
        for _ in 0..n.min(self.size.cols) {
            let mut x = self.cursor.x;
            while x > edge {
                x -= 1;
                if self.tabs[usize::from(x)] {
                    break;
                }
            }
            self.go(x, self.cursor.y);
        }
    }

    pub(crate) fn save_cursor(&mut self) {
        let mut cursor = self.cursor;
        cursor.charsets.single = None;
        // Pending at a right margin is not kept: the margin may be elsewhere when the cursor comes back.
        cursor.pending &= cursor.x == self.size.cols - 1;
        self.screen().saved = Saved { cursor, origin: self.modes.has(bit::ORIGIN) };
    }

    pub(crate) fn restore_cursor(&mut self) {
        let saved = self.screen_ref().saved;
        self.cursor = saved.cursor;
        // What was written there may be gone since.
        let written = {
            let row = &self.screen_ref().rows[usize::from(self.cursor.y)];
            !row.cells[usize::from(self.cursor.x)].is_blank()
        };
        self.cursor.pending &= self.modes.has(bit::AUTOWRAP) && written;
        self.modes.set(bit::ORIGIN, saved.origin);
        self.keep_in_origin();
    }

    /// On a row of double width the cursor is in the half that is shown.
    pub(crate) fn keep_on_row(&mut self) {
        let columns = self.screen_ref().rows[usize::from(self.cursor.y)].columns();
        if self.cursor.x >= columns {
            (self.cursor.x, self.cursor.pending) = (columns - 1, false);
        }
    }

    /// In origin mode the cursor is never outside the margins.
    pub(crate) fn keep_in_origin(&mut self) {
        if self.modes.has(bit::ORIGIN) {
            let s = self.screen_ref();
            let (x, y) = (self.cursor.x.clamp(s.left, s.right), self.cursor.y.clamp(s.top, s.bottom));
            if (x, y) != (self.cursor.x, self.cursor.y) {
                self.go(x, y);
            }
        }
    }
}
