//! What was typed, as keys: those whose effect can be foretold, and all others.

/// A key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    /// A character that is one column wide wherever it is shown.
    Char(char),
    /// Backspace: DEL or BS.
    Erase,
    /// Cursor left, in its CSI and SS3 forms.
    Left,
    /// Cursor right.
    Right,
    /// Return, or a line feed.
    Enter,
    /// What nobody can foretell: other controls and sequences, wide and combining characters, what is pasted.
    Other,
}

/// The end of a bracketed paste.
const PASTE_ENDS: &[u8] = b"\x1b[201~";
/// Longest sequence that is put together; what is longer is none of a keyboard's.
const SEQUENCE_MAX: usize = 64;

/// Puts keys together that come in pieces.
#[derive(Debug, Default)]
pub(super) struct Keyboard {
    held: Vec<u8>,
    pasting: bool,
}

impl Keyboard {
    /// One more byte was typed: the key that it ends, if it ends one.
    pub(super) fn byte(&mut self, byte: u8) -> Option<Key> {
        self.held.push(byte);
        if self.pasting {
            if self.held.ends_with(PASTE_ENDS) {
                self.pasting = false;
                self.held.clear();
                return Some(Key::Other);
            }
            let over = self.held.len().saturating_sub(PASTE_ENDS.len());
            self.held.drain(..over);
            return None;
        }
        let key = whole(&self.held)?;
        self.pasting = self.held == b"\x1b[200~";
        self.held.clear();
        Some(key)
    }

    /// Nothing more belongs to what was held: an Escape key by itself, as a rule.
    pub(super) fn ends(&mut self) {
        if !self.pasting {
            self.held.clear();
        }
    }

    /// Is that a sequence, or a paste?
    pub(super) fn holds_sequence(&self) -> bool {
        self.pasting || self.held.first() == Some(&0x1b)
    }

    /// Is there something of which the end has not come?
    pub(super) fn holds(&self) -> bool {
        self.pasting || !self.held.is_empty()
    }
}

/// The key that these bytes are, if they are a whole one.
fn whole(bytes: &[u8]) -> Option<Key> {
    let last = *bytes.last()?;
    match bytes {
        [b'\r' | b'\n'] => Some(Key::Enter),
        [0x7f | 0x08] => Some(Key::Erase),
        [0x1b] => None,
        [0..=0x1f] => Some(Key::Other),
        [0x1b, b'[' | b'O'] => None,
        [0x1b, b'[', parameters @ .., _] => match (parameters, last) {
            // The X10 mouse: three bytes more.
            ([b'M'] | [b'M', _], _) | ([], b'M') => None,
            ([b'M', ..], _) => Some(Key::Other),
            ([], b'D') => Some(Key::Left),
            ([], b'C') => Some(Key::Right),
            (_, 0x40..=0x7e) => Some(Key::Other),
            _ if bytes.len() >= SEQUENCE_MAX => Some(Key::Other),
            _ => None,
        },
        [0x1b, b'O', b'D'] => Some(Key::Left),
        [0x1b, b'O', b'C'] => Some(Key::Right),
        [0x1b, ..] => Some(Key::Other),
        [0x20..=0x7e] => Some(Key::Char(char::from(last))),
        _ => match std::str::from_utf8(bytes) {
            Ok(text) => Some(text.chars().next().filter(|c| is_narrow(*c)).map_or(Key::Other, Key::Char)),
            Err(error) if error.error_len().is_none() => None,
            Err(_) => Some(Key::Other),
        },
    }
}

/// Is this one column wide, with nothing to join and without any terminal's doubt? Latin, Greek and Cyrillic letters.
fn is_narrow(c: char) -> bool {
    let code = c as u32;
    let mark = matches!(code, 0xad | 0x300..=0x36f | 0x483..=0x489);
    matches!(code, 0x20..=0x7e | 0xa0..=0x52f) && !mark
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(bytes: &[u8]) -> Vec<Key> {
        let mut keyboard = Keyboard::default();
        bytes.iter().filter_map(|byte| keyboard.byte(*byte)).collect()
    }

    #[test]
    fn only_what_can_be_foretold_is_told_apart() {
        use Key::{Char, Enter, Erase, Left, Other, Right};
        for (bytes, want) in [
            (&b"a \r\n\x7f\x08"[..], &[Char('a'), Char(' '), Enter, Enter, Erase, Erase][..]),
            (b"\x1b[D\x1b[C\x1bOD\x1bOC", &[Left, Right, Left, Right]),
            (b"\x1b[A\x1b[1;5D\x1b[3~\x1bOHx", &[Other, Other, Other, Other, Char('x')]),
            (b"\x1bfx\x01\t\x03", &[Other, Char('x'), Other, Other, Other]),
            ("üжφ".as_bytes(), &[Char('ü'), Char('ж'), Char('φ')]),
            ("漢e\u{301}👍".as_bytes(), &[Other, Char('e'), Other, Other]),
            (b"\x1b[<35;10;5Mx\x1b[M !!x", &[Other, Char('x'), Other, Char('x')]),
            (b"\x1b[200~rm -rf\r\x1b[201~x", &[Other, Other, Char('x')]),
            (b"\xff\xc3\x28", &[Other, Other]),
        ] {
            assert_eq!(keys(bytes), want, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn a_character_may_come_in_pieces() {
        let mut keyboard = Keyboard::default();
        assert_eq!(keyboard.byte(0xc3), None);
        assert!(keyboard.holds());
        assert_eq!(keyboard.byte(0xbc), Some(Key::Char('ü')));
        assert_eq!(keyboard.byte(0x1b), None);
        keyboard.ends();
        assert_eq!(keyboard.byte(b'D'), Some(Key::Char('D')));
    }
}
