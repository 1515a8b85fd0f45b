//! The detach key, as every terminal may send it. Pure.
//!
//! It is recognised in three encodings: the plain control byte; `CSI code ; 5 u` (the kitty keyboard protocol, and
//! xterm's `formatOtherKeys=1`); and `CSI 27 ; 5 ; code ~` (xterm's modifyOtherKeys). Pressed twice within
//! [`TWICE_MS`] it goes through to the job once, in the encoding it came in.

/// How long after the first press a second one counts as "twice", in milliseconds. The view leaves when it has passed.
pub const TWICE_MS: u64 = 500;

/// Longest encoding, in bytes; a beginning of one is held back no longer than the next read.
const ENCODING_MAX: usize = 24;

/// What the keys typed so far mean.
#[derive(Debug, PartialEq, Eq)]
pub enum Typed {
    /// Bytes for the job, none of them the detach key.
    Bytes(Vec<u8>),
    /// Pressed once, and something other came after it, or its time has passed: leave. The bytes before it are the job's.
    Leave(Vec<u8>),
}

/// Finds the detach key in what is typed.
#[derive(Debug)]
pub struct Keys {
    key: Option<u8>,
    /// When it was pressed once, in the view's milliseconds, and not again yet.
    pressed_at: Option<u64>,
    pasting: bool,
    /// How much of a mark of pasting there is at the end of what was typed so far, which may be cut anywhere.
    mark: usize,
}

/// How the marks of pasting begin; then comes a 0 where it begins or a 1 where it ends, and a `~`.
const MARK: &[u8; 4] = b"\x1b[20";
/// All but the `~` is here, of the one that begins a paste and of the one that ends it.
const BEGINS: usize = 5;
const ENDS: usize = 6;

impl Keys {
    /// `key`: the control byte, or `None` to let everything through.
    pub fn new(key: Option<u8>) -> Self {
        Self { key, pressed_at: None, pasting: false, mark: 0 }
    }

    /// When [`Self::timeout`] must be asked, if nothing is typed until then.
    pub fn deadline_ms(&self) -> Option<u64> {
        self.pressed_at.map(|at| at + TWICE_MS)
    }

    /// Time has passed: was it pressed once, and is that over?
    pub fn timeout(&self, now_ms: u64) -> bool {
        self.deadline_ms().is_some_and(|at| now_ms >= at)
    }

    /// Keys were typed.
    pub fn typed(&mut self, bytes: &[u8], now_ms: u64) -> Typed {
        let Some(key) = self.key else { return Typed::Bytes(bytes.to_vec()) };
        if self.timeout(now_ms) {
            return Typed::Leave(Vec::new());
        }
        let mut out = Vec::with_capacity(bytes.len());
        let mut at = 0;
        while at < bytes.len() {
            let rest = &bytes[at..];
            // With Alt held it is another key.
            let alt = rest[0] == key && at > 0 && bytes[at - 1] == 0x1b;
            match (self.pasting || alt, press(rest, key)) {
                (false, Some(length)) => {
                    if self.pressed_at.take().is_some() {
                        out.extend_from_slice(&rest[..length]);
                    } else {
                        self.pressed_at = Some(now_ms);
                    }
                    at += length;
                }
                (false, None) if self.pressed_at.is_some() && !is_release(rest, key) => {
                    return Typed::Leave(out);
                }
                _ => {
                    let length = if is_release(rest, key) { sequence_length(rest) } else { 1 };
                    out.extend_from_slice(&rest[..length]);
                    for byte in &rest[..length] {
                        self.passed(*byte);
                    }
                    at += length;
                }
            }
        }
        Typed::Bytes(out)
    }
}

impl Keys {
    /// A byte goes to the job. What is pasted is text, whatever bytes it has, and however its marks are cut.
    fn passed(&mut self, byte: u8) {
        self.mark = match (self.mark, byte) {
            (4, b'0') => BEGINS,
            (4, b'1') => ENDS,
            (BEGINS | ENDS, b'~') => {
                self.pasting = self.mark == BEGINS;
                0
            }
            (at @ 0..4, byte) if byte == MARK[at] => at + 1,
            (_, 0x1b) => 1,
            _ => 0,
        };
    }
}

/// The length of the detach key's encoding at the start of `bytes`, if it is there.
fn press(bytes: &[u8], key: u8) -> Option<usize> {
    if bytes.first() == Some(&key) {
        return Some(1);
    }
    event(bytes, key).filter(|(_, kind)| *kind != 3).map(|(length, _)| length)
}

/// The key being let go, which the kitty protocol can report.
fn is_release(bytes: &[u8], key: u8) -> bool {
    event(bytes, key).is_some_and(|(_, kind)| kind == 3)
}

fn sequence_length(bytes: &[u8]) -> usize {
    bytes.iter().skip(2).position(|b| (0x40..0x7f).contains(b)).map_or(1, |n| n + 3)
}

/// Length and event type (1 press, 2 repeat, 3 release) of an escape sequence that says "control and `key`'s letter".
fn event(bytes: &[u8], key: u8) -> Option<(usize, u32)> {
    let rest = bytes.strip_prefix(b"\x1b[")?;
    let end = rest.iter().take(ENCODING_MAX).position(|b| (0x40..0x7f).contains(b))?;
    let text = std::str::from_utf8(&rest[..end]).ok()?;
    let mut fields = text.split(';').map(|field| field.split(':').map(|n| n.parse::<u32>().ok()));
    let mut number = |i: usize| -> Option<(Option<u32>, Option<u32>)> {
        let _ = i;
        let mut parts = fields.next()?;
        Some((parts.next()?, parts.next().flatten()))
    };
    let (code, modifiers, kind) = match rest[end] {
        b'u' => {
            let (code, _) = number(0)?;
            let (modifiers, kind) = number(1)?;
            (code?, modifiers?, kind.unwrap_or(1))
        }
        b'~' => {
            if number(0)?.0 != Some(27) {
                return None;
            }
            let (modifiers, _) = number(1)?;
            (number(2)?.0?, modifiers?, 1)
        }
        _ => return None,
    };
    // Modifiers are sent as 1 + bits: shift 1, alt 2, control 4, super 8; locks (64, 128) do not count.
    let held = modifiers.checked_sub(1)? & 0x3f;
    let letter = u32::from(key | 0x40);
    (held == 4 && (code == letter || code == letter + 0x20)).then_some((2 + end + 1, kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: u8 = 0x1c;

    fn keys() -> Keys {
        Keys::new(Some(KEY))
    }

    fn bytes(b: &[u8]) -> Typed {
        Typed::Bytes(b.to_vec())
    }

    #[test]
    fn each_encoding_leaves_when_its_time_has_passed() {
        for encoding in [&b"\x1c"[..], b"\x1b[92;5u", b"\x1b[92;5:1u", b"\x1b[27;5;92~", b"\x1b[92;69u"] {
            let mut keys = keys();
            assert_eq!(keys.typed(encoding, 1000), bytes(b""), "{encoding:?}");
            assert!(!keys.timeout(1000 + TWICE_MS - 1));
            assert!(keys.timeout(1000 + TWICE_MS), "{encoding:?}");
        }
    }

    #[test]
    fn twice_goes_through_once_in_its_own_encoding() {
        for encoding in [&b"\x1c"[..], b"\x1b[92;5u", b"\x1b[27;5;92~"] {
            let mut keys = keys();
            assert_eq!(keys.typed(&[encoding, encoding].concat(), 0), bytes(encoding));
            assert!(!keys.timeout(u64::MAX));
            assert_eq!(keys.typed(encoding, 0), bytes(b""));
            assert_eq!(keys.typed(encoding, TWICE_MS - 1), bytes(encoding));
        }
    }

    #[test]
    fn another_key_after_it_leaves_at_once() {
        let mut keys = keys();
        assert_eq!(keys.typed(b"ab\x1cc", 0), Typed::Leave(b"ab".to_vec()));
    }

    #[test]
    fn letting_the_key_go_is_no_other_key() {
        let mut keys = keys();
        assert_eq!(keys.typed(b"\x1b[92;5:1u\x1b[92;5:3u", 0), bytes(b"\x1b[92;5:3u"));
        assert!(keys.timeout(TWICE_MS));
    }

    #[test]
    fn other_keys_and_pasted_text_pass() {
        let mut keys = keys();
        for other in [
            &b"\x1b[92;1u"[..],
            b"\x1b[92;6u",
            b"\x1b[27;2;92~",
            b"\x1b[1;5A",
            b"\x03",
            b"\x1b",
            "é".as_bytes(),
        ] {
            assert_eq!(keys.typed(other, 0), bytes(other));
        }
        let paste = b"\x1b[200~a\x1cb\x1b[201~";
        assert_eq!(keys.typed(paste, 0), bytes(paste));
        let mut off = Keys::new(None);
        assert_eq!(off.typed(b"\x1c", 0), bytes(b"\x1c"));
    }

    #[test]
    fn a_paste_is_text_however_its_marks_are_cut() {
        let paste = b"x\x1b[200~a\x1cb\x1b[20\x1c\x1b\x1b[201~y";
        for cut in 1..paste.len() {
            let mut keys = keys();
            assert_eq!(keys.typed(&paste[..cut], 0), bytes(&paste[..cut]), "{cut}");
            assert_eq!(keys.typed(&paste[cut..], 0), bytes(&paste[cut..]), "{cut}");
            assert_eq!(keys.typed(b"\x1c", 0), bytes(b""), "{cut}: and after it the key is the key");
            assert!(keys.timeout(TWICE_MS));
        }
    }

    #[test]
    fn with_alt_it_is_another_key() {
        let mut keys = keys();
        assert_eq!(keys.typed(b"\x1b\x1c", 0), bytes(b"\x1b\x1c"));
        assert!(!keys.timeout(u64::MAX));
    }
}
