//! What a program puts aside to have it back: modes (XTSAVE, XTRESTORE), colours (XTPUSHCOLORS), looks (XTPUSHSGR). As xterm.

use crate::modes::{self, PREFERENCES, bit};
use crate::numbered::Numbered;
use crate::parser::Csi;
use crate::style::{Color, Style, attr};
use crate::terminal::Model;

/// Entries of each stack, as xterm; with a full one nothing is pushed.
const STACK: usize = 10;

/// The key under which the mouse's mode is saved, whichever it is: the modes are one setting.
const MOUSE: u16 = 1000;
/// The same for the screen shown.
const ALTERNATE: u16 = 47;

/// The modes that were saved, by number; for the mouse the mode, else 0 or 1. There are no more than there are modes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct SavedModes(pub(crate) Numbered<u16>);

impl SavedModes {
    /// Whether the alternate screen was shown when that was saved.
    pub(crate) fn alternate(&self) -> Option<bool> {
        self.0.get(ALTERNATE.into()).map(|on| *on != 0)
    }

    pub(crate) fn mouse(&self) -> Option<u16> {
        self.0.get(MOUSE.into()).copied()
    }

    /// The private modes that are on or off.
    pub(crate) fn switches(&self) -> impl Iterator<Item = (u16, bool)> {
        let switches = self.0.iter().map(|(number, on)| (*number as u16, *on != 0));
        switches.filter(|(number, _)| !matches!(*number, MOUSE | ALTERNATE))
    }
}

/// All colours that a program can set.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Colors {
    pub(crate) palette: Numbered<[u8; 3]>,
    /// OSC 10–19.
    pub(crate) dynamic: [Option<[u8; 3]>; 10],
}

/// A look that was pushed: what of it counts, and all of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct PushedLook {
    /// By the numbers of XTPUSHSGR; none: everything.
    pub(crate) of: Option<u32>,
    pub(crate) style: Style,
    pub(crate) underline: Color,
}

/// What XTPUSHSGR's numbers mean: an attribute each, but for the colours.
const LOOKS: [(u16, u16); 10] = [
    (1, attr::BOLD),
    (2, attr::DIM),
    (3, attr::ITALIC),
    (4, attr::UNDERLINE),
    (5, attr::BLINK | attr::RAPID),
    (7, attr::INVERSE),
    (8, attr::HIDDEN),
    (9, attr::STRIKE),
    (21, attr::UNDERLINE),
    (53, attr::OVERLINE),
];
const FOREGROUND: u16 = 30;
const BACKGROUND: u16 = 31;

/// The numbers of XTPUSHSGR and a bit for each.
pub(crate) const LOOK_NUMBERS: [u16; 12] = [1, 2, 3, 4, 5, 7, 8, 9, 21, 53, FOREGROUND, BACKGROUND];

impl Model {
    /// XTSAVE.
    pub(crate) fn save_modes(&mut self, csi: &Csi<'_>) {
        for number in (0..csi.len()).map(|i| csi.raw(i)) {
            let (key, value) = match number {
                9 | 1000 | 1002 | 1003 => (MOUSE, self.modes.mouse),
                47 | 1047 | 1049 => (ALTERNATE, u16::from(self.alternate.is_some())),
                _ => match modes::private_bit(number) {
                    Some(b) if PREFERENCES & b & !self.modes.said != 0 && !self.is_in_shape(number) => {
                        // The person's: there is nothing to say of it.
                        self.saved_modes.0.remove(number.into());
                        continue;
                    }
                    Some(b) if b != bit::SYNC => (number, u16::from(self.modes.has(b))),
                    _ => continue,
                },
            };
            self.saved_modes.0.insert(key.into(), value);
        }
    }

    /// Whether the cursor blinks was said with its shape.
    fn is_in_shape(&self, mode: u16) -> bool {
        mode == 12 && self.cursor_style != 0
    }

    /// XTRESTORE. What was never saved is off.
    pub(crate) fn restore_modes(&mut self, csi: &Csi<'_>) {
        for number in (0..csi.len()).map(|i| csi.raw(i)) {
            let saved = |key: u16| self.saved_modes.0.get(key.into()).copied().unwrap_or(0);
            let never_saved = self.saved_modes.0.get(number.into()).is_none();
            match number {
                9 | 1000 | 1002 | 1003 => self.modes.mouse = saved(MOUSE),
                47 | 1047 | 1049 if saved(ALTERNATE) != 0 => self.enter_alternate(ALTERNATE),
                47 | 1047 | 1049 => self.leave_alternate(ALTERNATE),
                _ => match modes::private_bit(number) {
                    Some(_) if never_saved && self.is_in_shape(number) => {}
                    Some(b) if never_saved && PREFERENCES & b != 0 => {
                        self.modes.said &= !b;
                        self.modes.set(b, false);
                    }
                    Some(b) if b != bit::SYNC => {
                        let on = saved(number) != 0;
                        self.private_mode(number, on);
                    }
                    _ => {}
                },
            }
        }
    }

    /// XTPUSHCOLORS, into a place of the stack or on its top.
    pub(crate) fn push_colors(&mut self, place: u16) {
        let at = if place == 0 { self.color_stack.len() } else { usize::from(place) - 1 };
        if at >= STACK {
            return;
        }
        self.spend(64 * (self.palette.len() + 1));
        self.color_stack.resize_with(at + 1, Colors::default);
        self.color_stack[at] = Colors { palette: self.palette.clone(), dynamic: self.colors };
    }

    /// XTPOPCOLORS.
    pub(crate) fn pop_colors(&mut self, place: u16) {
        let at =
            if place == 0 { self.color_stack.len().checked_sub(1) } else { Some(usize::from(place) - 1) };
        if let Some(at) = at.filter(|at| *at < self.color_stack.len()) {
            let Colors { palette, dynamic } = std::mem::take(&mut self.color_stack[at]);
            (self.palette, self.colors) = (palette, dynamic);
            self.color_stack.truncate(at);
        }
    }

    /// XTPUSHSGR.
    pub(crate) fn push_look(&mut self, csi: &Csi<'_>) {
        if self.look_stack.len() >= STACK {
            return;
        }
        let bit = |number: u16| LOOK_NUMBERS.iter().position(|n| *n == number).map_or(0, |at| 1 << at);
        let of = (csi.len() > 0).then(|| (0..csi.len()).fold(0, |of, i| of | bit(csi.raw(i))));
        let pen = self.cursor.pen;
        let underline = self.ext.get(pen.ext).underline;
        self.look_stack.push(PushedLook {
            of,
            style: Style { ext: 0, attrs: pen.attrs & !attr::PROTECTED, ..pen },
            underline,
        });
    }

    /// XTPOPSGR.
    pub(crate) fn pop_look(&mut self) {
        let Some(PushedLook { of, style, underline }) = self.look_stack.pop() else { return };
        let has = |number: u16| {
            of.is_none_or(|of| {
                LOOK_NUMBERS.iter().position(|n| *n == number).is_some_and(|at| of & 1 << at != 0)
            })
        };
        let mut attrs = 0;
        for (number, bits) in LOOKS {
            if has(number) {
                attrs |= bits;
            }
        }
        let pen = &mut self.cursor.pen;
        pen.attrs = pen.attrs & !attrs | style.attrs & attrs;
        if has(FOREGROUND) {
            pen.fg = style.fg;
        }
        if has(BACKGROUND) {
            pen.bg = style.bg;
        }
        if of.is_none() {
            self.color(underline);
        }
    }
}
