//! How many columns a code point takes.
//!
//! As wcwidth in most terminals and in xterm.js: by code point, from Unicode's East Asian Width (ambiguous is narrow);
//! combining marks, variation selectors, ZWJ and other default-ignorables take none and join the cell before. A cluster
//! is never wider than its first code point (so VS16 does not widen, and each part of a ZWJ sequence has its own cells).

use unicode_width::UnicodeWidthChar as _;

/// 0, 1 or 2.
pub(crate) fn of(c: char) -> usize {
    if (c as u32) < 0x300 { 1 } else { c.width().unwrap_or(0).min(2) }
}

/// Whether terminals agree on the width of a cell that holds this one code point; of clusters (None) they do not.
pub(crate) fn is_sure(c: Option<char>) -> bool {
    let Some(c) = c else { return false };
    match c as u32 {
        0..0x300 => true,
        // Box drawing is narrow wherever anyone draws boxes.
        0x2500..0x25a0 => true,
        // Kana, unified ideographs, Hangul syllables.
        0x3041..0x3097 | 0x30a0..0x3100 | 0x3400..0x4dc0 | 0x4e00..0xa000 | 0xac00..0xd7a4 => true,
        _ => false,
    }
}
