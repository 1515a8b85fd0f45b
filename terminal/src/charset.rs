//! Character sets that G0–G3 can hold (ECMA-35, DEC STD 070, xterm ctlseqs).
//!
//! What text is in is kept as Unicode; a set matters to what is printed next. National sets need a mode (DECNRCM) that few
//! terminals know and are taken as ASCII, but for the British one, which all but xterm take without it.

/// A set, by what it is designated with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Charset {
    #[default]
    Ascii,
    /// DEC Special Graphics.
    Graphics,
    /// As ASCII with £ for #.
    Uk,
    /// DEC Technical.
    Technical,
    /// DEC Supplemental Graphics.
    Supplemental,
    /// The supplemental set that the user prefers, which is DEC's.
    Preferred,
    /// The right half of ISO 8859-1, of 96 characters.
    Latin1,
}

/// From 0x60 on; lines are drawn with it, so it is looked up at once.
const GRAPHICS: [char; 31] = [
    '◆', '▒', '␉', '␌', '␍', '␊', '°', '±', '␤', '␋', '┘', '┐', '┌', '└', '┼', '⎺', '⎻', '─', '⎼', '⎽', '├',
    '┤', '┴', '┬', '│', '≤', '≥', 'π', '≠', '£', '·',
];
/// From 0x21 on. `⸮` is where there is none, as xterm has it.
const TECHNICAL: &str =
    "⎷┌─⌠⌡│⎡⎣⎤⎦⎧⎩⎫⎭⎨⎬⸮⸮⸮⸮⸮⸮⸮⸮⸮⸮⸮≤≠≥∫∴∝∞÷Δ∇ΦΓ∼≃Θ×Λ⇔⇒≡ΠΨ⸮Σ⸮⸮√ΩΞΥ⊂⊃∩∪∧∨¬αβχδεφγηιθκλ⸮ν∂πψρστ⸮ƒωξυζ←↑→↓";
/// From 0x21 on.
const SUPPLEMENTAL: &str =
    "¡¢£⸮¥⸮§¤©ª«⸮⸮⸮⸮°±²³⸮µ¶·⸮¹º»¼½⸮¿ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏ⸮ÑÒÓÔÕÖŒØÙÚÛÜŸ⸮ßàáâãäåæçèéêëìíîï⸮ñòóôõöœøùúûüÿ⸮";

impl Charset {
    /// What a designating sequence names: its last byte, whether a `%` stands before it, and whether it is a set of 96.
    /// An unknown set reads best as ASCII.
    pub(crate) fn named(last: u8, percent: bool, of_96: bool) -> Self {
        match (last, percent, of_96) {
            (b'0', false, false) => Self::Graphics,
            (b'A', false, false) => Self::Uk,
            (b'>', false, false) => Self::Technical,
            (b'5', true, false) => Self::Supplemental,
            (b'<', false, false) => Self::Preferred,
            (b'A', false, true) => Self::Latin1,
            _ => Self::Ascii,
        }
    }

    /// The sequence that designates it into the G set of this number. Sets of 96 cannot be in G0.
    pub(crate) fn designate(self, g: usize, out: &mut Vec<u8>) {
        let last: &[u8] = match self {
            Self::Ascii => b"B",
            Self::Graphics => b"0",
            Self::Uk | Self::Latin1 => b"A",
            Self::Technical => b">",
            Self::Supplemental => b"%5",
            Self::Preferred => b"<",
        };
        let into = if self == Self::Latin1 { b",-./" } else { b"()*+" };
        out.extend_from_slice(&[0x1b, into[g & 3]]);
        out.extend_from_slice(last);
    }

    /// The character that a byte of printable ASCII stands for.
    pub(crate) fn map(self, b: u8) -> char {
        let of = |table: &str, from: u8| b.checked_sub(from).and_then(|n| table.chars().nth(n.into()));
        let mapped = match self {
            Self::Ascii => None,
            Self::Graphics if b == 0x5f => Some('\u{a0}'),
            Self::Graphics => b.checked_sub(0x60).and_then(|n| GRAPHICS.get(usize::from(n)).copied()),
            Self::Uk => (b == b'#').then_some('£'),
            Self::Technical => of(TECHNICAL, 0x21),
            Self::Supplemental | Self::Preferred => of(SUPPLEMENTAL, 0x21),
            Self::Latin1 => Some(char::from(b | 0x80)),
        };
        mapped.unwrap_or(char::from(b))
    }

    /// The byte that stands for a character, if one does.
    pub(crate) fn byte_of(self, c: char) -> Option<u8> {
        if self == Self::Ascii {
            return None;
        }
        (0x20..0x7f).find(|b| self.map(*b) == c)
    }
}

#[cfg(test)]
#[test]
fn tables_are_as_long_as_what_is_mapped() {
    assert_eq!(TECHNICAL.chars().count(), 0x7f - 0x21);
    assert_eq!(SUPPLEMENTAL.chars().count(), 0x7f - 0x21);
    for (set, byte, c) in [
        (Charset::Graphics, b'q', '─'),
        (Charset::Technical, b'a', 'α'),
        (Charset::Supplemental, b'A', 'Á'),
        (Charset::Preferred, b'~', '⸮'),
        (Charset::Latin1, b'i', 'é'),
        (Charset::Uk, b'#', '£'),
    ] {
        assert_eq!((set.map(byte), set.map(b' ').len_utf8() <= 2), (c, true), "{set:?}");
        let mut said = Vec::new();
        set.designate(1, &mut said);
        let (last, percent, of_96) = (said[said.len() - 1], said.contains(&b'%'), said[1] == b'-');
        assert_eq!(Charset::named(last, percent, of_96), set);
    }
    assert_eq!(Charset::Graphics.byte_of('─'), Some(b'q'));
}
