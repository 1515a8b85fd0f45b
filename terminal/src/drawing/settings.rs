//! What a drawn view's terminal is set to, beside its cells: what keys and mouse send, how the cursor looks, titles.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::Write as _;

use crate::modes::{self, Modes, bit};
use crate::screen::Keyboard;
use crate::terminal::{Model, Title};

/// Modes that are never passed on: they are about output, and all of that is ours.
const NOT_OURS: u32 = bit::ORIGIN | bit::AUTOWRAP | bit::MARGINS | bit::SYNC;

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Settings {
    modes: Modes,
    keyboard: Keyboard,
    title: Title,
    icon: Title,
    cwd: Option<String>,
    cursor_style: u8,
    /// A hash of what changes rarely: with any of it all is drawn anew.
    rest: u64,
}

impl Settings {
    pub(super) fn of(m: &Model) -> Self {
        let mut hasher = DefaultHasher::new();
        (&m.titles, &m.palette, m.colors, m.modify_keys, m.rectangle_extent).hash(&mut hasher);
        Self {
            modes: m.modes,
            keyboard: m.screen_ref().keyboard.clone(),
            title: m.title.clone(),
            icon: m.icon.clone(),
            cwd: m.cwd.clone(),
            cursor_style: m.cursor_style,
            rest: hasher.finish(),
        }
    }

    /// LNM: LF goes to the first column as well.
    pub(super) fn newline(&self) -> bool {
        self.modes.has(bit::NEWLINE)
    }

    /// Is there a way from these to those, but to draw all anew?
    pub(super) fn can_become(&self, other: &Self) -> bool {
        let kept = |before: &Title, after: &Title| before.is_none() || after.is_some();
        self.rest == other.rest
            && self.keyboard.stack == other.keyboard.stack
            && kept(&self.title, &other.title)
            && kept(&self.icon, &other.icon)
            // A preference is the person's again: only the view knows what that was.
            && self.modes.said & !other.modes.said == 0
    }

    pub(super) fn change_to(&self, new: &Self, out: &mut Vec<u8>) {
        // Writing to a Vec does not fail.
        macro_rules! say { ($($arg:tt)*) => { drop(write!(out, $($arg)*)) } }
        if self.keyboard.flags != new.keyboard.flags {
            say!("\x1b[={}u", new.keyboard.flags);
        }
        if let Some(icon) = new.icon.as_ref().filter(|_| self.icon != new.icon) {
            say!("\x1b]1;{icon}\x1b\\");
        }
        if let Some(title) = new.title.as_ref().filter(|_| self.title != new.title) {
            say!("\x1b]2;{title}\x1b\\");
        }
        if self.cwd != new.cwd {
            say!("\x1b]7;{}\x1b\\", new.cwd.as_deref().unwrap_or(""));
        }
        if self.cursor_style != new.cursor_style {
            say!("\x1b[{} q", new.cursor_style);
        }
        let said_first = new.modes.said & !self.modes.said;
        for (number, b) in modes::PRIVATE {
            let changed = (self.modes.bits ^ new.modes.bits | said_first) & b & !NOT_OURS != 0;
            if !changed || modes::PREFERENCES & b != 0 && new.modes.said & b == 0 {
                continue;
            }
            let on = new.modes.has(b);
            if b == bit::APP_KEYPAD {
                // As more terminals know it than by its number.
                say!("\x1b{}", if on { '=' } else { '>' });
            } else {
                say!("\x1b[?{number}{}", if on { 'h' } else { 'l' });
            }
        }
        if self.newline() != new.newline() {
            say!("\x1b[20{}", if new.newline() { 'h' } else { 'l' });
        }
        for (old, new) in
            [(self.modes.mouse, new.modes.mouse), (self.modes.mouse_encoding, new.modes.mouse_encoding)]
        {
            if old != new && old != 0 {
                say!("\x1b[?{old}l");
            }
            if old != new && new != 0 {
                say!("\x1b[?{new}h");
            }
        }
    }
}
