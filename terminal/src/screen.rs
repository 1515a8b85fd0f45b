//! One screen buffer, and what belongs to it alone: margins, saved cursor, keyboard flags.

use crate::cell::Cell;
use crate::charset::Charset;
use crate::row::Row;
use crate::style::Style;

/// G0–G3 and which of them GL holds. What GR holds (LS1R–LS3R) means nothing to UTF-8 text.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Charsets {
    pub(crate) g: [Charset; 4],
    /// Which one GL holds (SI, SO, LS2, LS3).
    pub(crate) gl: u8,
    /// SS2 or SS3: for the next character only.
    pub(crate) single: Option<u8>,
}

/// Where text goes, and how it looks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Cursor {
    pub(crate) x: u16,
    pub(crate) y: u16,
    /// The last column was written and the next character goes to the next row.
    pub(crate) pending: bool,
    pub(crate) pen: Style,
    pub(crate) charsets: Charsets,
}

/// What DECSC keeps.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Saved {
    pub(crate) cursor: Cursor,
    pub(crate) origin: bool,
}

/// Entries of a keyboard stack (kitty keyboard protocol); the oldest goes when a further one is pushed.
pub(crate) const KEYBOARD_STACK: usize = 16;

/// Kitty keyboard flags of one screen.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Keyboard {
    pub(crate) flags: u8,
    /// What was in force below, oldest first.
    pub(crate) stack: Vec<u8>,
}

impl Keyboard {
    pub(crate) fn push(&mut self, flags: u8) {
        if self.stack.len() == KEYBOARD_STACK {
            self.stack.remove(0);
        }
        self.stack.push(self.flags);
        self.flags = flags & 31;
    }
    pub(crate) fn pop(&mut self, n: u16) {
        for _ in 0..n.min(KEYBOARD_STACK as u16 + 1) {
            self.flags = self.stack.pop().unwrap_or(0);
        }
    }
    pub(crate) fn set(&mut self, flags: u8, how: u16) {
        self.flags = 31
            & match how {
                2 => self.flags | flags,
                3 => self.flags & !flags,
                _ => flags,
            };
    }
}

/// See the head of this file. All coordinates count from 0; margins are inclusive.
#[derive(Clone, Debug)]
pub(crate) struct Screen {
    pub(crate) rows: Vec<Row>,
    pub(crate) cols: u16,
    pub(crate) top: u16,
    pub(crate) bottom: u16,
    pub(crate) left: u16,
    pub(crate) right: u16,
    pub(crate) saved: Saved,
    pub(crate) keyboard: Keyboard,
}

impl Screen {
    pub(crate) fn new(cols: u16, rows: u16) -> Self {
        Self {
            rows: (0..rows).map(|_| Row::new(cols)).collect(),
            cols,
            top: 0,
            bottom: rows - 1,
            left: 0,
            right: cols - 1,
            saved: Saved::default(),
            keyboard: Keyboard::default(),
        }
    }

    pub(crate) fn height(&self) -> u16 {
        self.rows.len() as u16
    }

    pub(crate) fn row(&mut self, y: u16) -> &mut Row {
        &mut self.rows[usize::from(y)]
    }

    pub(crate) fn reset_margins(&mut self) {
        self.top = 0;
        self.bottom = self.height() - 1;
        self.left = 0;
        self.right = self.cols - 1;
    }

    pub(crate) fn full_width(&self) -> bool {
        self.left == 0 && self.right == self.cols - 1
    }

    /// Scrolls rows `top..=bottom` (within the left and right margins) up by `n`; what leaves is lost.
    pub(crate) fn scroll_up(&mut self, top: u16, bottom: u16, n: u16, style: Style) {
        let (t, b) = (usize::from(top), usize::from(bottom));
        let n = usize::from(n).min(b + 1 - t);
        if n == 0 {
            return;
        }
        if self.full_width() {
            self.rows[t..=b].rotate_left(n);
            for row in &mut self.rows[b + 1 - n..=b] {
                row.reset(style);
            }
        } else {
            for y in t..=b {
                self.move_part(y + n, y, b, style);
            }
        }
        self.cut(t, b, n, true);
    }

    pub(crate) fn scroll_down(&mut self, top: u16, bottom: u16, n: u16, style: Style) {
        let (t, b) = (usize::from(top), usize::from(bottom));
        let n = usize::from(n).min(b + 1 - t);
        if n == 0 {
            return;
        }
        if self.full_width() {
            self.rows[t..=b].rotate_right(n);
            for row in &mut self.rows[t..t + n] {
                row.reset(style);
            }
        } else {
            for y in (t..=b).rev() {
                match y.checked_sub(n).filter(|from| *from >= t) {
                    Some(from) => self.move_part(from, y, b, style),
                    None => self.move_part(b + 1, y, b, style),
                }
            }
        }
        self.cut(t, b, n, false);
    }

    /// Rows that are no longer neighbours are not one line any more.
    fn cut(&mut self, t: usize, b: usize, n: usize, up: bool) {
        if t > 0 {
            self.rows[t - 1].unwrap();
        }
        self.rows[b].unwrap();
        if up && b >= n + t {
            self.rows[b - n].unwrap();
        }
    }

    /// Copies the part between the margins of row `from` to row `to`; blanks if `from` is past `last`.
    fn move_part(&mut self, from: usize, to: usize, last: usize, style: Style) {
        let (l, r) = (usize::from(self.left), usize::from(self.right) + 1);
        self.rows[to].split_wide(l, r);
        self.rows[to].unwrap();
        if from > last {
            self.rows[to].erase(l, r, style);
            return;
        }
        self.rows[from].split_wide(l, r);
        self.rows[from].unwrap();
        let (plain, used) = (self.rows[from].plain, self.rows[from].used);
        let Ok([from, to]) = self.rows.get_disjoint_mut([from, to]) else { return };
        to.cells[l..r].copy_from_slice(&from.cells[l..r]);
        // Cells are moved: a cluster belongs to one cell only.
        from.cells[l..r].fill(Cell::default());
        to.touch(usize::from(used).min(r), plain);
    }
}
