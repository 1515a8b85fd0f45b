//! Modes that are on or off, and the few that choose one of several.

/// Bits of the modes; each is a DEC private mode unless its name says otherwise (xterm ctlseqs, DECSET).
pub(crate) mod bit {
    pub(crate) const APP_CURSOR: u32 = 1; // 1, DECCKM
    pub(crate) const REVERSE_SCREEN: u32 = 1 << 1; // 5, DECSCNM
    pub(crate) const ORIGIN: u32 = 1 << 2; // 6, DECOM
    pub(crate) const AUTOWRAP: u32 = 1 << 3; // 7, DECAWM
    pub(crate) const BLINK_CURSOR: u32 = 1 << 4; // 12, att610
    pub(crate) const SHOW_CURSOR: u32 = 1 << 5; // 25, DECTCEM
    pub(crate) const REVERSE_WRAP: u32 = 1 << 6; // 45
    pub(crate) const APP_KEYPAD: u32 = 1 << 7; // 66, DECNKM; ESC = and ESC >
    pub(crate) const MARGINS: u32 = 1 << 8; // 69, DECLRMM
    pub(crate) const FOCUS: u32 = 1 << 9; // 1004
    pub(crate) const ALT_SCROLL: u32 = 1 << 10; // 1007
    pub(crate) const PASTE: u32 = 1 << 11; // 2004
    pub(crate) const SYNC: u32 = 1 << 12; // 2026
    pub(crate) const GRAPHEMES: u32 = 1 << 13; // 2027
    pub(crate) const THEME: u32 = 1 << 14; // 2031
    pub(crate) const INSERT: u32 = 1 << 15; // ANSI 4, IRM
    pub(crate) const NEWLINE: u32 = 1 << 16; // ANSI 20, LNM
    pub(crate) const META_ESC: u32 = 1 << 17; // 1036
    pub(crate) const RESIZE_REPORTS: u32 = 1 << 18; // 2048
    pub(crate) const BACKARROW: u32 = 1 << 19; // 67, DECBKM
    pub(crate) const COLUMNS_ALLOWED: u32 = 1 << 20; // 40: DECCOLM may change the width
    pub(crate) const SIXEL_FIXED: u32 = 1 << 21; // 80, DECSDM: sixels do not scroll
    pub(crate) const SIXEL_RIGHT: u32 = 1 << 22; // 8452: the cursor is behind a sixel image, not below it
}

/// What a fresh terminal has on.
pub(crate) const DEFAULT: u32 = bit::AUTOWRAP | bit::SHOW_CURSOR;

/// The private modes with their numbers, in the order a snapshot sets them (those that move the cursor are not here).
pub(crate) const PRIVATE: [(u16, u32); 21] = [
    (1, bit::APP_CURSOR),
    (5, bit::REVERSE_SCREEN),
    (6, bit::ORIGIN),
    (7, bit::AUTOWRAP),
    (12, bit::BLINK_CURSOR),
    (25, bit::SHOW_CURSOR),
    (40, bit::COLUMNS_ALLOWED),
    (45, bit::REVERSE_WRAP),
    (66, bit::APP_KEYPAD),
    (67, bit::BACKARROW),
    (69, bit::MARGINS),
    (80, bit::SIXEL_FIXED),
    (1004, bit::FOCUS),
    (1007, bit::ALT_SCROLL),
    (1036, bit::META_ESC),
    (2004, bit::PASTE),
    (2026, bit::SYNC),
    (2027, bit::GRAPHEMES),
    (2031, bit::THEME),
    (2048, bit::RESIZE_REPORTS),
    (8452, bit::SIXEL_RIGHT),
];

/// Modes whose default is the person's choice in the terminal's settings: how the cursor blinks, what Backspace and Alt
/// send, what the wheel does. A snapshot says them only if the program ever did.
pub(crate) const PREFERENCES: u32 = bit::BLINK_CURSOR | bit::BACKARROW | bit::META_ESC | bit::ALT_SCROLL;

pub(crate) fn private_bit(number: u16) -> Option<u32> {
    PRIVATE.iter().find(|(n, _)| *n == number).map(|(_, b)| *b)
}

/// The modes of one terminal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Modes {
    pub(crate) bits: u32,
    /// Those of [`PREFERENCES`] that the program ever set or reset.
    pub(crate) said: u32,
    /// 9, 1000, 1002, 1003 or 0: the last one set holds, resetting any turns reports off.
    pub(crate) mouse: u16,
    /// 1005, 1006, 1015, 1016 or 0.
    pub(crate) mouse_encoding: u16,
}

impl Default for Modes {
    fn default() -> Self {
        Self { bits: DEFAULT, said: 0, mouse: 0, mouse_encoding: 0 }
    }
}

impl Modes {
    pub(crate) fn has(self, bit: u32) -> bool {
        self.bits & bit != 0
    }
    pub(crate) fn set(&mut self, bit: u32, on: bool) {
        if on {
            self.bits |= bit;
        } else {
            self.bits &= !bit;
        }
    }
}
