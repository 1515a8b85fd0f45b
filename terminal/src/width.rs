//! How many columns a code point takes.
//!
//! As wcwidth in most terminals and in xterm.js: by code point, from Unicode's East Asian Width (ambiguous is narrow);
//! combining marks, variation selectors, ZWJ and other default-ignorables take none and join the cell before, but spacing
//! marks ([`SPACING`]) have a cell of their own. A cluster
//! is never wider than its first code point (so VS16 does not widen, and each part of a ZWJ sequence has its own cells).

use unicode_width::UnicodeWidthChar as _;

/// What Unicode joins to the character before and terminals and the C library give a cell of its own: signs of vowels and ends
/// of syllables of the general category Mc, letters that stand before others, and fillers of Hangul. First and last.
#[rustfmt::skip]
const SPACING: [(u32, u32); 48] = [
    (0x605, 0x605), (0x890, 0x891), (0x8e2, 0x8e2), (0x9be, 0x9be), (0x9d7, 0x9d7), (0xb3e, 0xb3e), (0xb57, 0xb57),
    (0xbbe, 0xbbe), (0xbd7, 0xbd7), (0xcc0, 0xcc0), (0xcc2, 0xcc2), (0xcc7, 0xcc8), (0xcca, 0xccb), (0xcd5, 0xcd6),
    (0xd3e, 0xd3e), (0xd4e, 0xd4e), (0xd57, 0xd57), (0xdcf, 0xdcf), (0xddf, 0xddf), (0x1715, 0x1715),
    (0x1b35, 0x1b35), (0x1b3b, 0x1b3b), (0x1b3d, 0x1b3d), (0x1b43, 0x1b44), (0x1baa, 0x1baa), (0x1bf2, 0x1bf3),
    (0xa8fa, 0xa8fa), (0xa953, 0xa953), (0xa9c0, 0xa9c0), (0xffa0, 0xffa0), (0x111c0, 0x111c0), (0x111c2, 0x111c3),
    (0x11235, 0x11235), (0x1133e, 0x1133e), (0x1134d, 0x1134d), (0x11357, 0x11357), (0x114b0, 0x114b0),
    (0x114bd, 0x114bd), (0x115af, 0x115af), (0x116b6, 0x116b6), (0x11930, 0x11930), (0x1193d, 0x1193d),
    (0x1193f, 0x1193f), (0x11941, 0x11941), (0x11a84, 0x11a89), (0x11d46, 0x11d46), (0x1d165, 0x1d166),
    (0x1d16d, 0x1d172),
];

/// 0, 1 or 2.
pub(crate) fn of(c: char) -> usize {
    match c as u32 {
        // The common scripts without a look into the table; the test compares.
        0..0x300 | 0x391..0x483 | 0x2500..0x25a0 => 1,
        0x3041..0x3097 | 0x30a1..0x30fb | 0x4e00..0x9fff | 0xac00..0xd7a4 => 2,
        // A filler as wide as what it stands for; two vowels of Khmer that are drawn like any.
        0x3164 => 2,
        0x17a4 | 0x17d8 => 1,
        _ => match c.width().unwrap_or(0).min(2) {
            0 => usize::from(is_spacing(c)),
            width => width,
        },
    }
}

fn is_spacing(c: char) -> bool {
    let at = SPACING.partition_point(|(_, last)| *last < c as u32);
    SPACING.get(at).is_some_and(|(first, _)| *first <= c as u32)
}

#[cfg(test)]
#[test]
fn the_short_cuts_agree_with_the_table() {
    let other = |c: &char| is_spacing(*c) || "\u{ad}\u{3164}\u{17a4}\u{17d8}".contains(*c);
    for c in (0xa0..0x11_0000).filter_map(char::from_u32).filter(|c| !other(c)) {
        assert_eq!(of(c), c.width().unwrap_or(0).min(2), "{c:?}");
    }
}

#[cfg(test)]
#[test]
fn what_has_a_cell_of_its_own_in_terminals_has_one_here() {
    for (c, width) in [
        ('\u{9be}', 1),
        ('\u{bbe}', 1),
        ('\u{d4e}', 1),
        ('\u{1b44}', 1),
        ('\u{1d172}', 1),
        ('\u{ffa0}', 1),
        ('\u{3164}', 2),
        ('\u{115f}', 2),
        ('\u{17a4}', 1),
        ('\u{9bd}', 1),
        ('\u{9c1}', 0),
        ('\u{1160}', 0),
        ('\u{200d}', 0),
        ('\u{fe0f}', 0),
    ] {
        assert_eq!(of(c), width, "{c:?}");
    }
    assert!(SPACING.windows(2).all(|w| w[0].1 < w[1].0) && SPACING.iter().all(|(a, b)| a <= b));
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
