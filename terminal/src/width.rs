//! How many columns a code point takes.
//!
//! As wcwidth in most terminals and in xterm.js: by code point, from Unicode's East Asian Width (ambiguous is narrow);
//! combining marks, variation selectors, ZWJ and other default-ignorables take none and join the cell before. A cluster
//! is never wider than its first code point (so VS16 does not widen, and each part of a ZWJ sequence has its own cells).

use unicode_width::UnicodeWidthChar as _;

/// 0, 1 or 2.
pub(crate) fn of(c: char) -> usize {
    match c as u32 {
        // The common scripts without a look into the table; the test compares.
        0..0x300 | 0x391..0x483 | 0x2500..0x25a0 => 1,
        0x3041..0x3097 | 0x30a1..0x30fb | 0x4e00..0x9fff | 0xac00..0xd7a4 => 2,
        _ => c.width().unwrap_or(0).min(2),
    }
}

#[cfg(test)]
#[test]
fn the_short_cuts_agree_with_the_table() {
    for c in (0xa0..0x11_0000).filter_map(char::from_u32).filter(|c| *c != '\u{ad}') {
        assert_eq!(of(c), c.width().unwrap_or(0).min(2), "{c:?}");
    }
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
