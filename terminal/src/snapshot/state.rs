//! What is one for the whole terminal: colours, looks and titles, modes, and where it all ends.

use crate::modes::{self, bit};
use crate::numbered::Numbered;
use crate::osc::STATE_ONLY;
use crate::saved_modes::LOOK_NUMBERS;
use crate::screen::{Charsets, Saved};
use crate::style::{Color, Ext, Style};
use crate::terminal::{Model, ShellState};

use super::{Pen, Writer};

impl Writer<'_> {
    pub(super) fn palette(&mut self, palette: &Numbered<[u8; 3]>, dynamic: &[Option<[u8; 3]>; 10]) {
        for (i, [r, g, b]) in palette.iter() {
            self.fmt(format_args!("\x1b]4;{i};rgb:{r:02x}/{g:02x}/{b:02x}\x1b\\"));
        }
        for (i, c) in dynamic.iter().enumerate() {
            if let Some([r, g, b]) = c {
                self.fmt(format_args!("\x1b]{};rgb:{r:02x}/{g:02x}/{b:02x}\x1b\\", 10 + i));
            }
        }
    }

    /// Colours and looks that were pushed, in a terminal that has none set.
    pub(super) fn stacks(&mut self, m: &Model) {
        for pushed in &m.color_stack {
            self.palette(&pushed.palette, &pushed.dynamic);
            self.put(b"\x1b[#P");
            if !pushed.palette.is_empty() {
                self.put(b"\x1b]104\x1b\\");
            }
            for (i, _) in pushed.dynamic.iter().enumerate().filter(|(_, c)| c.is_some()) {
                self.fmt(format_args!("\x1b]{}\x1b\\", 110 + i));
            }
        }
        for pushed in &m.look_stack {
            let mut style = pushed.style;
            // No number of the table's: the look alone is compared.
            style.ext = if pushed.underline == Color::DEFAULT { 0 } else { u16::MAX };
            self.pen_to(style, Ext { underline: pushed.underline, link: None });
            self.put(b"\x1b[");
            let numbers =
                LOOK_NUMBERS.iter().enumerate().filter(|(i, _)| pushed.of.is_some_and(|of| of & 1 << i != 0));
            for (n, (_, number)) in numbers.enumerate() {
                self.fmt(format_args!("{}{number}", if n > 0 { ";" } else { "" }));
            }
            if pushed.of == Some(0) {
                self.put(b"0");
            }
            self.put(b"#{");
        }
        self.style(Style::default());
    }

    pub(super) fn enter(&mut self, m: &Model) {
        let saved = &m.primary.saved;
        if m.alternate_mode == 1049 && *saved != Saved::default() {
            // This mode saves the cursor once more.
            self.put(b"\x1b8");
            self.pen = Pen { style: saved.cursor.pen, ext: self.ext.get(saved.cursor.pen.ext).clone() };
        } else if m.alternate_mode == 1049 {
            self.put(b"\x1b[H");
        }
        self.fmt(format_args!("\x1b[?{}h", m.alternate_mode));
        // Back to what drawing needs; margins and keyboard flags are one for both screens in some terminals.
        self.style(Style::default());
        if saved.cursor.charsets != Charsets::default() {
            self.no_charsets();
        }
        self.put(b"\x1b[?6l\x1b[r");
        if m.modes.has(bit::MARGINS) && !m.primary.full_width() {
            self.put(b"\x1b[s");
        }
        self.put(b"\x1b[<99u\x1b[=0u\x1b[2J");
    }

    pub(crate) fn globals(&mut self, m: &Model) {
        self.palette(&m.palette, &m.colors);
        for (title, icon) in &m.titles {
            let which = match (title, icon) {
                (Some(_), Some(_)) => 0,
                (None, _) => 1,
                (_, None) => 2,
            };
            // What was never set is the target's own, and pushed as such.
            if let Some(Some(t)) = title {
                self.fmt(format_args!("\x1b]2;{t}\x1b\\"));
            }
            if let Some(Some(i)) = icon {
                self.fmt(format_args!("\x1b]1;{i}\x1b\\"));
            }
            self.fmt(format_args!("\x1b[22;{which}t"));
        }
        if let Some(i) = &m.icon {
            self.fmt(format_args!("\x1b]1;{i}\x1b\\"));
        }
        if let Some(t) = &m.title {
            self.fmt(format_args!("\x1b]2;{t}\x1b\\"));
        }
        self.fmt(format_args!("\x1b]7;{}\x1b\\", m.cwd.as_deref().unwrap_or("")));
        if m.cursor_style != 0 {
            self.fmt(format_args!("\x1b[{} q", m.cursor_style));
        }
        for (i, v) in m.modify_keys.iter().enumerate() {
            if let Some(v) = v {
                self.fmt(format_args!("\x1b[>{i};{v}m"));
            }
        }
    }

    /// Modes that do not change how the rest of the snapshot is taken.
    pub(crate) fn modes(&mut self, m: &Model) {
        let late = bit::ORIGIN | bit::AUTOWRAP | bit::MARGINS | bit::SYNC;
        for (number, b) in modes::PRIVATE {
            let said = if modes::PREFERENCES & b != 0 {
                m.modes.said & b != 0
            } else {
                m.modes.has(b) != (modes::DEFAULT & b != 0)
            };
            if b == bit::APP_KEYPAD && said {
                // As more terminals know it than by its number.
                self.put(b"\x1b=");
            } else if b & late == 0 && said {
                let how = if m.modes.has(b) { 'h' } else { 'l' };
                self.fmt(format_args!("\x1b[?{number}{how}"));
            }
        }
        if m.modes.has(bit::NEWLINE) {
            self.put(b"\x1b[20h");
        }
        if m.rectangle_extent {
            self.put(b"\x1b[2*x");
        }
        if m.modes.mouse != 0 {
            self.fmt(format_args!("\x1b[?{}h", m.modes.mouse));
        }
        if m.modes.mouse_encoding != 0 {
            self.fmt(format_args!("\x1b[?{}h", m.modes.mouse_encoding));
        }
    }

    pub(super) fn finish(&mut self, m: &Model) {
        let s = m.screen_ref();
        let c = &m.cursor;
        if m.modes.has(bit::MARGINS) && s.full_width() {
            self.put(b"\x1b[?69h");
        }
        let mut at = (c.x, c.y);
        if m.modes.has(bit::ORIGIN) {
            self.put(b"\x1b[?6h");
            // Now the cursor is addressed from the margins.
            at = (c.x.saturating_sub(s.left), c.y.saturating_sub(s.top));
        }
        self.place(s, c, at, m.modes.has(bit::MARGINS));
        // Also parts what was printed just now from what comes: nothing is left for REP to repeat.
        self.put(b"\x1b[?2026l");
        if let Some(state) = m.shell.filter(|s| Some(*s) != self.shell) {
            self.state_only(state);
        }
        if !m.modes.has(bit::AUTOWRAP) {
            self.put(b"\x1b[?7l");
        }
        if m.modes.has(bit::INSERT) {
            self.put(b"\x1b[4h");
        }
        self.style(c.pen);
        self.charsets(c.charsets);
        match c.charsets.single {
            Some(2) => self.put(b"\x1bN"),
            Some(_) => self.put(b"\x1bO"),
            None => {}
        }
        if let Some(last) = m.last {
            self.last_printed(m, last, at);
        }
    }

    /// What was printed last is printed again, as the last thing, for REP and for marks that join it. Nothing came
    /// since, so pen and modes are as they were.
    pub(super) fn last_printed(&mut self, m: &Model, last: char, at: (u16, u16)) {
        let row = &m.screen_ref().rows[usize::from(m.cursor.y)];
        let end = usize::from(m.cursor.x) + usize::from(m.cursor.pending);
        let w = if end > 1 && row.cells[end - 1].is_spacer() { 2 } else { 1 };
        let back = if m.cursor.pending { w - 1 } else { w };
        self.fmt(format_args!("\x1b[{};{}H", at.1 + 1, at.0 + 1 - back));
        if m.modes.has(bit::INSERT) {
            self.fmt(format_args!("\x1b[{w}P"));
        }
        let cell = row.cells[usize::from(m.cursor.x - back)];
        let sets = m.cursor.charsets;
        let set = sets.g[usize::from(sets.single.unwrap_or(sets.gl) & 3)];
        match set.byte_of(last) {
            // Said as it was: some terminals have no character outside of a set while that is in use.
            Some(byte) => {
                self.out.push(byte);
                let marks = cell.cluster().map_or(&[][..], |i| &self.clusters.get(i)[1..]);
                for mark in marks {
                    self.out.extend_from_slice(mark.encode_utf8(&mut [0; 4]).as_bytes());
                }
            }
            None => cell.push_utf8(self.clusters, self.out),
        }
    }

    pub(super) fn state_only(&mut self, state: ShellState) {
        let letter = match state {
            ShellState::Prompt => b'A',
            ShellState::Input => b'B',
            ShellState::Running => b'C',
            ShellState::Done => b'D',
        };
        self.put(b"\x1b]133;");
        self.put(&[letter]);
        self.put(STATE_ONLY);
        self.put(b"\x1b\\");
    }
}
