//! What escape and control sequences do (ECMA-48, xterm ctlseqs, DEC STD 070, the kitty keyboard page).

use crate::charset::Charset;
use crate::modes::{self, bit};
use crate::parser::Csi;
use crate::print::MOVED;
use crate::row::{Row, double};
use crate::style::{Color, Style, attr};
use crate::terminal::{Model, TITLE_STACK, default_tabs};

impl Model {
    pub(crate) fn do_esc(&mut self, intermediates: &[u8], last: u8) {
        match (intermediates, last) {
            ([], b'7') => self.save_cursor(),
            ([], b'8') => self.restore_cursor(),
            ([], b'=') => self.modes.set(bit::APP_KEYPAD, true),
            ([], b'>') => self.modes.set(bit::APP_KEYPAD, false),
            ([], b'D') => self.index(),
            ([], b'E') => {
                self.index();
                self.carriage_return();
            }
            ([], b'H') => {
                let x = usize::from(self.cursor.x);
                self.tabs[x] = true;
            }
            ([], b'M') => self.reverse_index(),
            ([], b'N') => self.cursor.charsets.single = Some(2),
            ([], b'O') => self.cursor.charsets.single = Some(3),
            ([], b'c') => self.reset(),
            ([], b'n') => self.cursor.charsets.gl = 2,
            ([], b'o') => self.cursor.charsets.gl = 3,
            ([], b'6') => self.column_back(),
            ([], b'9') => self.column_forward(),
            ([b'#'], b'8') => self.alignment(),
            ([g @ b'('..=b'+'], set) => self.designate(g - b'(', Charset::named(set, false, false)),
            ([g @ b'('..=b'+', b'%'], set) => self.designate(g - b'(', Charset::named(set, true, false)),
            ([g @ b'('..=b'+', _], _) => self.designate(g - b'(', Charset::Ascii),
            ([g @ b'-'..=b'/'], set) => self.designate(g - b',', Charset::named(set, false, true)),
            ([b'#'], b'3') => self.double_line(double::TOP),
            ([b'#'], b'4') => self.double_line(double::BOTTOM),
            ([b'#'], b'5') => self.double_line(double::SINGLE),
            ([b'#'], b'6') => self.double_line(double::WIDE),
            _ => {}
        }
    }

    fn designate(&mut self, g: u8, set: Charset) {
        self.cursor.charsets.g[usize::from(g)] = set;
    }

    /// DECSWL, DECDWL, DECDHL. Between left and right margins all rows are single.
    fn double_line(&mut self, how: u8) {
        if self.modes.has(bit::MARGINS) {
            return;
        }
        let row = self.cursor_row();
        row.double = how;
        if how != double::SINGLE {
            row.unwrap();
        }
        let (x, y, pending) = (self.cursor.x, self.cursor.y, self.cursor.pending);
        self.go(x, y);
        let edge = self.cursor_row().columns() - 1;
        self.cursor.pending = pending && self.cursor.x == x && x == edge;
        if how != double::SINGLE {
            self.unwrap_above(y);
        }
    }

    pub(crate) fn do_csi(&mut self, csi: &Csi<'_>) {
        match (csi.marker, csi.intermediates) {
            (0, []) => self.plain_csi(csi),
            (b'?', []) => match csi.last {
                b'h' => (0..csi.len()).for_each(|i| self.private_mode(csi.raw(i), true)),
                b'l' => (0..csi.len()).for_each(|i| self.private_mode(csi.raw(i), false)),
                b'J' => self.erase_display(csi.raw(0), true),
                b'K' => self.erase_line(csi.raw(0), true),
                b's' => self.save_modes(csi),
                b'r' => self.restore_modes(csi),
                // DECST8C.
                b'W' if csi.raw(0) == 5 => self.tabs = default_tabs(self.size.cols),
                _ => {}
            },
            (b'>', []) => match csi.last {
                b'm' => self.modify_keys(csi),
                b'u' => self.screen().keyboard.push(csi.raw(0) as u8),
                b'n' => {
                    if let Some(v) = self.modify_keys.get_mut(usize::from(csi.get(0, 0))) {
                        *v = None;
                    }
                }
                _ => {}
            },
            (b'<', []) if csi.last == b'u' => self.screen().keyboard.pop(csi.get(0, 1)),
            (b'=', []) if csi.last == b'u' => self.screen().keyboard.set(csi.raw(0) as u8, csi.get(1, 1)),
            (0, [b'!']) if csi.last == b'p' => self.soft_reset(),
            (0, [b' ']) => match csi.last {
                b'q' if csi.raw(0) <= 6 => self.cursor_shape(csi.raw(0) as u8),
                b'@' => self.shift_columns(csi.get(0, 1), true),
                b'A' => self.shift_columns(csi.get(0, 1), false),
                _ => {}
            },
            (0, [b'"']) if csi.last == b'q' => {
                self.cursor.pen.attrs &= !attr::PROTECTED;
                if csi.raw(0) == 1 {
                    self.cursor.pen.attrs |= attr::PROTECTED;
                }
            }
            (0, [b'$']) => match csi.last {
                b'x' => self.fill_rectangle(csi),
                b'z' => self.erase_rectangle(csi, false),
                b'{' => self.erase_rectangle(csi, true),
                b'v' => self.copy_rectangle(csi),
                b'r' => self.change_rectangle(csi, false),
                b't' => self.change_rectangle(csi, true),
                _ => {}
            },
            (0, [b'*']) if csi.last == b'x' && csi.raw(0) <= 2 => self.rectangle_extent = csi.raw(0) == 2,
            (0, [b'#']) => match csi.last {
                b'P' => self.push_colors(csi.raw(0)),
                b'Q' => self.pop_colors(csi.raw(0)),
                b'p' | b'{' => self.push_look(csi),
                b'q' | b'}' => self.pop_look(),
                _ => {}
            },
            (0, [b'\'']) => match csi.last {
                b'}' => self.columns(csi.get(0, 1), true),
                b'~' => self.columns(csi.get(0, 1), false),
                _ => {}
            },
            _ => {}
        }
    }

    fn plain_csi(&mut self, csi: &Csi<'_>) {
        let n = csi.get(0, 1);
        let (x, y) = (self.cursor.x, self.cursor.y);
        let style = self.erased();
        match csi.last {
            b'@' => {
                self.cursor.pending = false;
                self.insert_cells(n);
            }
            b'A' => self.up(n),
            b'B' | b'e' => self.down(n),
            b'C' | b'a' => self.right(n),
            b'D' => self.left(n),
            b'E' => {
                self.down(n);
                self.carriage_return();
            }
            b'F' => {
                self.up(n);
                self.carriage_return();
            }
            b'G' | b'`' => {
                let origin = if self.modes.has(bit::ORIGIN) { self.screen_ref().top } else { 0 };
                self.go_addressed(n - 1, y.saturating_sub(origin));
            }
            b'H' | b'f' => self.go_addressed(csi.get(1, 1) - 1, n - 1),
            b'I' => self.tab(n),
            b'J' => self.erase_display(csi.raw(0), false),
            b'K' => self.erase_line(csi.raw(0), false),
            b'L' | b'M' => {
                let s = self.screen_ref();
                let bottom = s.bottom;
                if (s.top..=bottom).contains(&y) && (s.left..=s.right).contains(&x) {
                    if csi.last == b'L' {
                        self.scroll_down(y, bottom, n);
                    } else {
                        self.spend_scroll(y, bottom, n);
                        // Deleted rows do not go to the scrollback.
                        self.screen().scroll_up(y, bottom, n, style);
                        if y == 0 && self.alternate.is_none() {
                            self.scrollback.set_last_wrapped(false);
                        }
                    }
                    self.carriage_return();
                }
            }
            b'P' => {
                self.cursor.pending = false;
                self.delete_cells(n);
            }
            b'S' => {
                let (t, b) = (self.screen_ref().top, self.screen_ref().bottom);
                self.cursor.pending = false;
                self.scroll_up(t, b, n);
            }
            b'T' if csi.len() <= 1 => {
                let (t, b) = (self.screen_ref().top, self.screen_ref().bottom);
                self.scroll_down(t, b, n);
            }
            b'X' => {
                self.cursor.pending = false;
                let x = usize::from(x);
                self.cursor_row().erase(x, x + usize::from(n), style);
                self.spend(usize::from(n.min(self.size.cols)));
            }
            b'Z' => self.back_tab(n),
            b'd' => {
                let origin = if self.modes.has(bit::ORIGIN) { self.screen_ref().left } else { 0 };
                self.go_addressed(x.saturating_sub(origin), n - 1);
            }
            b'g' => match csi.raw(0) {
                0 => self.tabs[usize::from(x)] = false,
                3 => self.tabs.fill(false),
                _ => {}
            },
            b'h' | b'l' => {
                let on = csi.last == b'h';
                for i in 0..csi.len() {
                    match csi.raw(i) {
                        4 => self.modes.set(bit::INSERT, on),
                        20 => self.modes.set(bit::NEWLINE, on),
                        _ => {}
                    }
                }
            }
            b'm' => self.sgr(csi),
            b'r' => {
                let height = self.size.rows;
                let (top, bottom) = (csi.get(0, 1), csi.get(1, height).min(height));
                if top < bottom {
                    let s = self.screen();
                    s.top = top - 1;
                    s.bottom = bottom - 1;
                    self.go_addressed(0, 0);
                }
            }
            b's' if self.modes.has(bit::MARGINS) => {
                let cols = self.size.cols;
                let (left, right) = (csi.get(0, 1), csi.get(1, cols).min(cols));
                if left < right {
                    let s = self.screen();
                    s.left = left - 1;
                    s.right = right - 1;
                    self.go_addressed(0, 0);
                }
            }
            b's' => self.save_cursor(),
            b't' => self.titles(csi),
            b'u' => self.restore_cursor(),
            _ => {}
        }
    }

    pub(crate) fn private_mode(&mut self, number: u16, on: bool) {
        match number {
            6 => {
                self.modes.set(bit::ORIGIN, on);
                self.go_addressed(0, 0);
            }
            7 => {
                self.modes.set(bit::AUTOWRAP, on);
                self.cursor.pending &= on;
            }
            9 | 1000 | 1002 | 1003 => self.modes.mouse = if on { number } else { 0 },
            1005 | 1006 | 1015 | 1016 if on => self.modes.mouse_encoding = number,
            // Only the one that is set is reset.
            1005 | 1006 | 1015 | 1016 if self.modes.mouse_encoding == number => self.modes.mouse_encoding = 0,
            1005 | 1006 | 1015 | 1016 => {}
            12 => self.cursor_blinks(on),
            3 => self.columns_mode(),
            47 | 1047 | 1049 if on => self.enter_alternate(number),
            47 | 1047 | 1049 => self.leave_alternate(number),
            1048 if on => self.save_cursor(),
            1048 => self.restore_cursor(),
            69 => {
                self.modes.set(bit::MARGINS, on);
                self.cursor.pending &= !on || self.cursor_row().double == double::SINGLE;
                let screens =
                    [Some(&mut self.primary), self.alternate.as_deref_mut(), self.hidden.as_deref_mut()];
                for s in screens.into_iter().flatten() {
                    if on {
                        s.rows.iter_mut().for_each(|row| row.double = double::SINGLE);
                    } else {
                        s.left = 0;
                        s.right = s.cols - 1;
                    }
                }
            }
            _ => {
                if let Some(b) = modes::private_bit(number) {
                    self.modes.said |= b & modes::PREFERENCES;
                    self.size_asks += u64::from(on && b == bit::RESIZE_REPORTS);
                    self.modes.set(b, on);
                }
            }
        }
    }

    /// DECCOLM, where mode 40 allows it: whatever becomes of the width, which is the terminal's to say, the screen is wiped.
    fn columns_mode(&mut self) {
        if !self.modes.has(bit::COLUMNS_ALLOWED) {
            return;
        }
        self.private_mode(69, false);
        self.screen().reset_margins();
        self.go_addressed(0, 0);
        self.erase_display(2, false);
    }

    fn modify_keys(&mut self, csi: &Csi<'_>) {
        if csi.len() == 0 {
            self.modify_keys = [None; 8];
        } else if let Some(v) = self.modify_keys.get_mut(usize::from(csi.raw(0))) {
            // 0 is where modifyOtherKeys starts.
            let set = csi.len() > 1 && !(csi.raw(0) == 4 && csi.raw(1) == 0);
            *v = if set { u8::try_from(csi.raw(1)).ok() } else { None };
        }
    }

    fn titles(&mut self, csi: &Csi<'_>) {
        let (title, icon) = match csi.raw(1) {
            0 => (true, true),
            1 => (false, true),
            2 => (true, false),
            _ => return,
        };
        match csi.raw(0) {
            22 => {
                if self.titles.len() == TITLE_STACK {
                    self.titles.remove(0);
                }
                self.titles.push((title.then(|| self.title.clone()), icon.then(|| self.icon.clone())));
            }
            23 => {
                let Some((t, i)) = self.titles.pop() else { return };
                if let Some(t) = t.filter(|_| title) {
                    self.title = t;
                }
                if let Some(i) = i.filter(|_| icon) {
                    self.icon = i;
                }
            }
            _ => {}
        }
    }

    fn erase_rows(&mut self, from: u16, to: u16, selective: bool) {
        let style = self.erased();
        let cols = usize::from(self.size.cols);
        self.spend(usize::from(to - from) * cols * if selective { 4 } else { 1 });
        self.unwrap_above(from);
        for row in &mut self.screen().rows[usize::from(from)..usize::from(to)] {
            if selective {
                row.erase_unprotected(0, cols, style);
            } else {
                row.reset(style);
            }
        }
    }

    /// What is above row `y` goes on in it no more.
    pub(crate) fn unwrap_above(&mut self, y: u16) {
        match y.checked_sub(1) {
            Some(above) => self.screen().row(above).unwrap(),
            None if self.alternate.is_none() => self.scrollback.set_last_wrapped(false),
            None => {}
        }
    }

    fn erase_display(&mut self, what: u16, selective: bool) {
        let y = self.cursor.y;
        match what {
            0 => {
                self.erase_line(0, selective);
                self.erase_rows(y + 1, self.size.rows, selective);
            }
            1 => {
                self.erase_rows(0, y, selective);
                self.erase_line(1, selective);
            }
            2 => self.erase_rows(0, self.size.rows, selective),
            3 if !selective => self.scrollback.clear(),
            _ => {}
        }
        self.cursor.pending = false;
    }

    fn erase_line(&mut self, what: u16, selective: bool) {
        let style = self.erased();
        let x = usize::from(self.cursor.x);
        let cols = usize::from(self.size.cols);
        self.cursor.pending = false;
        let row = self.cursor_row();
        let (from, to) = match what {
            0 => (x, cols),
            1 => (0, x + 1),
            2 => (0, cols),
            _ => return,
        };
        if selective {
            row.erase_unprotected(from, to, style);
            self.spend((to - from) * 4);
            return;
        }
        row.erase(from, to, style);
        if to == cols {
            row.unwrap();
        }
        self.spend(to - from);
        if to == cols && from == 0 {
            self.unwrap_above(self.cursor.y);
        }
    }

    /// DECIC and DECDC.
    fn columns(&mut self, n: u16, insert: bool) {
        let x = self.cursor.x;
        let y = self.cursor.y;
        self.at_columns(x, y, n, insert);
    }

    fn at_columns(&mut self, x: u16, y: u16, n: u16, insert: bool) {
        let style = self.erased();
        self.cursor.pending = false;
        let s = self.screen();
        if !(s.top..=s.bottom).contains(&y) || !(s.left..=s.right).contains(&x) {
            return;
        }
        let (at, right, n) = (usize::from(x), usize::from(s.right) + 1, usize::from(n));
        let cells = usize::from(s.bottom + 1 - s.top) * (right - at);
        let change = |row: &mut Row| {
            if insert {
                row.insert(at, right, n, style)
            } else {
                row.delete(at, right, n, style)
            }
            row.unwrap();
        };
        s.rows[usize::from(s.top)..=usize::from(s.bottom)].iter_mut().for_each(change);
        self.spend(cells / MOVED);
    }

    /// SL and SR.
    fn shift_columns(&mut self, n: u16, left: bool) {
        let s = self.screen_ref();
        let (x, y) = (s.left, s.top);
        self.at_columns(x, y, n, !left);
    }

    fn column_back(&mut self) {
        let (x, y) = (self.cursor.x, self.cursor.y);
        if x == self.screen_ref().left {
            self.at_columns(x, y, 1, true);
        } else {
            self.go(x.saturating_sub(1), y);
        }
    }

    fn column_forward(&mut self) {
        let (x, y) = (self.cursor.x, self.cursor.y);
        if x == self.screen_ref().right {
            let left = self.screen_ref().left;
            self.at_columns(left, y, 1, false);
        } else {
            self.go(x + 1, y);
        }
    }

    fn sgr(&mut self, csi: &Csi<'_>) {
        if csi.len() == 0 {
            self.reset_pen();
            return;
        }
        let mut i = 0;
        while i < csi.len() {
            let p = csi.raw(i);
            // Sub-parameters belong to the parameter before them.
            let mut end = i + 1;
            while end < csi.len() && csi.is_sub(end) {
                end += 1;
            }
            if matches!(p, 38 | 48 | 58) {
                let (color, next) = if end > i + 1 {
                    (colon_color(csi, i + 1, end), end)
                } else {
                    semicolon_color(csi, i + 1)
                };
                if let Some(color) = color {
                    match p {
                        38 => self.cursor.pen.fg = color,
                        48 => self.cursor.pen.bg = color,
                        _ => self.color(color),
                    }
                }
                i = next;
                continue;
            }
            let sub = if end > i + 1 { Some(csi.raw(i + 1)) } else { None };
            self.sgr_one(p, sub);
            i = end;
        }
    }

    fn reset_pen(&mut self) {
        // SGR 0 ends neither a link nor protection.
        let protected = self.cursor.pen.attrs & attr::PROTECTED;
        let ext = self.cursor.pen.ext;
        self.cursor.pen = Style { attrs: protected, ext, ..Style::default() };
        if ext != 0 {
            self.color(Color::DEFAULT);
        }
    }

    fn sgr_one(&mut self, p: u16, sub: Option<u16>) {
        let pen = &mut self.cursor.pen;
        let underline = |pen: &mut Style, kind: u16| {
            pen.attrs = pen.attrs & !attr::UNDERLINE | kind << attr::UNDERLINE_SHIFT;
        };
        match p {
            0 => self.reset_pen(),
            1 => pen.attrs |= attr::BOLD,
            2 => pen.attrs |= attr::DIM,
            3 => pen.attrs |= attr::ITALIC,
            4 => match sub {
                Some(k @ 0..=5) => underline(pen, k),
                Some(_) => {}
                None => underline(pen, 1),
            },
            5 => pen.attrs |= attr::BLINK,
            6 => pen.attrs |= attr::RAPID,
            7 => pen.attrs |= attr::INVERSE,
            8 => pen.attrs |= attr::HIDDEN,
            9 => pen.attrs |= attr::STRIKE,
            21 => underline(pen, 2),
            22 => pen.attrs &= !(attr::BOLD | attr::DIM),
            23 => pen.attrs &= !attr::ITALIC,
            24 => underline(pen, 0),
            25 => pen.attrs &= !(attr::BLINK | attr::RAPID),
            27 => pen.attrs &= !attr::INVERSE,
            28 => pen.attrs &= !attr::HIDDEN,
            29 => pen.attrs &= !attr::STRIKE,
            30..=37 => pen.fg = Color::ansi((p - 30) as u8),
            39 => pen.fg = Color::DEFAULT,
            40..=47 => pen.bg = Color::ansi((p - 40) as u8),
            49 => pen.bg = Color::DEFAULT,
            53 => pen.attrs |= attr::OVERLINE,
            55 => pen.attrs &= !attr::OVERLINE,
            59 => self.color(Color::DEFAULT),
            90..=97 => pen.fg = Color::ansi((p - 82) as u8),
            100..=107 => pen.bg = Color::ansi((p - 92) as u8),
            _ => {}
        }
    }
}

/// `38:5:n`, `38:2:r:g:b` and `38:2:space:r:g:b`.
fn colon_color(csi: &Csi<'_>, from: usize, end: usize) -> Option<Color> {
    let byte = |i: usize| u8::try_from(csi.raw(i)).ok();
    match (csi.raw(from), end - from) {
        (5, 2..) => Some(Color::indexed(byte(from + 1)?)),
        (2, 4) => Some(Color::rgb(byte(from + 1)?, byte(from + 2)?, byte(from + 3)?)),
        (2, 5..) => Some(Color::rgb(byte(from + 2)?, byte(from + 3)?, byte(from + 4)?)),
        _ => None,
    }
}

/// `38;5;n` and `38;2;r;g;b`; also says where the next parameter is.
fn semicolon_color(csi: &Csi<'_>, from: usize) -> (Option<Color>, usize) {
    let byte = |i: usize| if i < csi.len() { u8::try_from(csi.raw(i)).ok() } else { None };
    match csi.raw(from) {
        5 => (byte(from + 1).map(Color::indexed), from + 2),
        2 => {
            let rgb = (byte(from + 1), byte(from + 2), byte(from + 3));
            let color = match rgb {
                (Some(r), Some(g), Some(b)) => Some(Color::rgb(r, g, b)),
                _ => None,
            };
            (color, from + 4)
        }
        _ => (None, from + 1),
    }
}
