//! What is seen of a cell, in what a view's terminal can show.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use super::abilities::{Abilities, Colours};
use crate::cell::{Cell, Clusters};
use crate::query::default_palette;
use crate::style::{Color, ColorKind, Ext, ExtTable, attr};
use crate::width;

/// Flags of [`Glyph::text`], in its low byte; what they are about is above.
const WIDE: u64 = 1;
const SPACER: u64 = 2;
const UNSURE: u64 = 4;
const HALF_A_FLAG: u64 = 8;
const CLUSTER: u64 = 16;
const SHIFT: u32 = 8;
const SPACE: u64 = (b' ' as u64) << SHIFT;

/// How a cell looks. The parts that nobody sees are left out, so that equal looks are equal.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct Look {
    pub(super) fg: Color,
    pub(super) bg: Color,
    /// Bits of [`attr`].
    pub(super) attrs: u16,
    /// A hash of the underline's colour and the link; 0: neither.
    pub(super) ext: u32,
}

/// What is seen of a cell. It belongs to no table of a model, so it can be kept while the model goes on.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct Glyph {
    /// A code point, or a hash of several, and flags; 0: nothing.
    text: u64,
    pub(super) look: Look,
}

impl Glyph {
    pub(super) fn blank(bg: Color) -> Self {
        Self { text: 0, look: Look { bg, ..Look::default() } }
    }
    pub(super) fn is_blank(self) -> bool {
        self.text == 0
    }
    pub(super) fn is_wide(self) -> bool {
        self.text & WIDE != 0
    }
    pub(super) fn is_spacer(self) -> bool {
        self.text & SPACER != 0
    }
    /// Terminals disagree on how many columns it takes.
    pub(super) fn is_unsure(self) -> bool {
        self.text & UNSURE != 0
    }
    /// A regional indicator; two of them are a flag.
    pub(super) fn is_half_a_flag(self) -> bool {
        self.text & HALF_A_FLAG != 0
    }
    /// The only code point, if it is no more than one.
    pub(super) fn char(self) -> Option<char> {
        if self.text == 0 || self.text & (CLUSTER | SPACER) != 0 {
            return None;
        }
        char::from_u32((self.text >> SHIFT) as u32)
    }
    /// The only byte.
    pub(super) fn ascii(self) -> Option<u8> {
        self.char().filter(char::is_ascii).map(|c| c as u8)
    }
}

fn hash(what: impl Fn(&mut DefaultHasher)) -> u64 {
    let mut hasher = DefaultHasher::new();
    what(&mut hasher);
    hasher.finish()
}

/// Attributes that are seen where there is no text.
const SEEN_ON_BLANKS: u16 = attr::UNDERLINE | attr::INVERSE | attr::STRIKE | attr::OVERLINE;

/// Makes glyphs of cells.
pub(super) struct Eye<'a> {
    pub(super) clusters: &'a Clusters,
    pub(super) ext: &'a ExtTable,
    pub(super) abilities: Abilities,
}

impl Eye<'_> {
    pub(super) fn see(&self, cell: Cell) -> Glyph {
        if cell == Cell::default() {
            return Glyph::default();
        }
        let (look, text) = (self.look(cell), self.text(cell));
        if text == SPACE && look.attrs & SEEN_ON_BLANKS == 0 && look.ext == 0 {
            return Glyph::blank(look.bg);
        }
        Glyph { text, look }
    }

    fn text(&self, cell: Cell) -> u64 {
        if self.abilities.ascii_only && (cell.is_spacer() || cell.is_wide()) {
            return u64::from(b'?') << SHIFT;
        }
        if cell.is_spacer() {
            return SPACER;
        }
        if cell.is_blank() {
            return SPACE;
        }
        let wide = if cell.is_wide() { WIDE } else { 0 };
        if let Some(c) = cell.char() {
            let c = if self.abilities.ascii_only { plain(c) } else { c };
            let flag = if matches!(c, '\u{1f1e6}'..='\u{1f1ff}') { HALF_A_FLAG } else { 0 };
            let sure = if width::is_sure(Some(c)) { 0 } else { UNSURE };
            return u64::from(c as u32) << SHIFT | wide | flag | sure;
        }
        if self.abilities.ascii_only {
            return u64::from(b'?') << SHIFT;
        }
        let chars = cell.cluster().map_or(&[][..], |i| self.clusters.get(i));
        hash(|h| chars.hash(h)) << SHIFT | CLUSTER | UNSURE | wide
    }

    fn look(&self, cell: Cell) -> Look {
        let style = cell.style;
        let can = self.abilities;
        let mut attrs = style.attrs & !attr::PROTECTED;
        let mut ext = 0;
        if can.colours <= Colours::Sixteen && attrs & attr::UNDERLINE != 0 {
            // No such terminal knows of another kind.
            attrs = attrs & !attr::UNDERLINE | 1 << attr::UNDERLINE_SHIFT;
        }
        if !can.italics {
            attrs &= !attr::ITALIC;
        }
        if style.ext != 0 {
            let of = self.ext(style.ext);
            if of != Ext::default() {
                // Never 0, which means neither.
                ext = hash(|h| of.hash(h)) as u32 | 1;
            }
        }
        Look { fg: can.colours.reduce(style.fg), bg: can.colours.reduce(style.bg), attrs, ext }
    }

    /// The underline's colour and the link, as far as the terminal is told of them.
    pub(super) fn ext(&self, index: u16) -> Ext {
        let mut ext = if index == 0 { Ext::default() } else { self.ext.get(index).clone() };
        if self.abilities.colours <= Colours::Sixteen {
            ext.underline = Color::DEFAULT;
        }
        ext
    }
}

/// A character on a terminal that shows ASCII alone.
fn plain(c: char) -> char {
    match c {
        '\0'..='\u{7e}' => c,
        '\u{a0}' => ' ',
        '─' | '━' | '╌' | '╴' | '╶' | '═' | '–' | '—' => '-',
        '│' | '┃' | '║' | '╎' | '╵' | '╷' => '|',
        '┌'..='╋' | '╒'..='╬' | '╭'..='╰' => '+',
        '▀'..='▟' => '#',
        '‘' | '’' => '\'',
        '“' | '”' => '"',
        '•' | '·' => '*',
        _ => '?',
    }
}

/// The levels of a colour of the cube in the palette of 256.
const LEVELS: [u8; 6] = [0, 95, 135, 175, 215, 255];

fn distance(a: [u8; 3], b: [u8; 3]) -> u32 {
    a.iter().zip(b).map(|(a, b)| u32::from(a.abs_diff(b)).pow(2)).sum()
}

/// The nearest of the fixed part of the palette of 256: the cube or the greys.
fn nearest_256(rgb: [u8; 3]) -> u8 {
    let step = |v: u8| (0..6u8).min_by_key(|i| LEVELS[usize::from(*i)].abs_diff(v)).unwrap_or(0);
    let [r, g, b] = rgb.map(step);
    let cube = [r, g, b].map(|i| LEVELS[usize::from(i)]);
    let mean = (rgb.iter().map(|v| u32::from(*v)).sum::<u32>() / 3) as u8;
    let grey = (mean.saturating_sub(3) / 10).min(23);
    if distance([8 + 10 * grey; 3], rgb) < distance(cube, rgb) { 232 + grey } else { 16 + 36 * r + 6 * g + b }
}

fn nearest(rgb: [u8; 3], of: usize) -> u8 {
    (0..of as u8).min_by_key(|i| distance(default_palette(*i), rgb)).unwrap_or(0)
}

impl Colours {
    /// The nearest of the colours that there are.
    pub(super) fn reduce(self, colour: Color) -> Color {
        let of = match self {
            Self::True => return colour,
            Self::None => return Color::DEFAULT,
            Self::Palette => {
                return match colour.kind() {
                    ColorKind::Rgb(r, g, b) => Color::indexed(nearest_256([r, g, b])),
                    _ => colour,
                };
            }
            Self::Sixteen => 16,
            Self::Eight => 8,
        };
        match colour.kind() {
            ColorKind::Default => colour,
            ColorKind::Ansi(i) | ColorKind::Indexed(i) if usize::from(i) < 16 => Color::ansi(i % of as u8),
            ColorKind::Ansi(i) | ColorKind::Indexed(i) => Color::ansi(nearest(default_palette(i), of)),
            ColorKind::Rgb(r, g, b) => Color::ansi(nearest([r, g, b], of)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_colour_that_there_is_not_is_shown_as_the_nearest() {
        let orange = Color::rgb(255, 135, 0);
        let table = [
            (Colours::True, orange, orange),
            (Colours::Palette, orange, Color::indexed(208)),
            (Colours::Palette, Color::rgb(3, 3, 3), Color::indexed(16)),
            (Colours::Palette, Color::rgb(9, 9, 9), Color::indexed(232)),
            (Colours::Palette, Color::rgb(250, 250, 250), Color::indexed(231)),
            (Colours::Palette, Color::rgb(118, 118, 118), Color::indexed(243)),
            (Colours::Palette, Color::ansi(9), Color::ansi(9)),
            (Colours::Sixteen, Color::rgb(250, 5, 5), Color::ansi(9)),
            (Colours::Sixteen, Color::indexed(196), Color::ansi(9)),
            (Colours::Sixteen, Color::indexed(4), Color::ansi(4)),
            (Colours::Eight, Color::ansi(12), Color::ansi(4)),
            (Colours::Eight, Color::indexed(231), Color::ansi(7)),
            (Colours::Eight, Color::DEFAULT, Color::DEFAULT),
            (Colours::None, orange, Color::DEFAULT),
        ];
        for (colours, from, to) in table {
            assert_eq!(colours.reduce(from), to, "{colours:?} {from:?}");
        }
        for i in 16..=255 {
            let [r, g, b] = default_palette(i);
            let back = match Colours::Palette.reduce(Color::rgb(r, g, b)).kind() {
                ColorKind::Indexed(i) => default_palette(i),
                other => panic!("{other:?}"),
            };
            assert_eq!(back, [r, g, b], "{i}");
        }
    }
}
