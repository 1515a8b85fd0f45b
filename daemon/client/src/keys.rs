//! The detach key, as every terminal may send it, however what is typed is cut into reads. Pure.
//!
//! It is recognised in three encodings: the plain control byte; `CSI code ; 5 u` (the kitty keyboard protocol, and
//! xterm's `formatOtherKeys=1`); and `CSI 27 ; 5 ; code ~` (xterm's modifyOtherKeys). Where it is Ctrl-\\, it is Ctrl-4 as well:
//! that sends the same byte, and is how keyboards without a `\\` of its own have it. Pressed twice within
//! [`TWICE_MS`] it goes through to the job once, in the encoding it came in.
//!
//! What may be the beginning of an encoding is held back until it is known, a lone ESC for [`ESCAPE_MS`]: then it is the
//! Escape key. ESC and the control byte are one key, the same with Alt held, and the job's. Between the marks of a paste
//! (`CSI 200 ~`, `CSI 201 ~`) is text, whatever bytes it has; nothing of it is held back.

/// How long after the first press a second one counts as "twice", in milliseconds. The view leaves when it has passed.
pub const TWICE_MS: u64 = 500;

/// How long an ESC, or an ESC and a `[`, waits for what may follow it: both are keys that a person types (Escape, Alt-`[`).
pub const ESCAPE_MS: u64 = 30;

/// How long more than that of an encoding waits for its end. No person types it, and a slow path may cut it.
const REST_MS: u64 = 300;

/// Longest encoding, in bytes.
const ENCODING_MAX: usize = 32;

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
    /// What may be the beginning of its encoding, from its ESC on, and when the last byte of that came.
    held: Vec<u8>,
    held_at: u64,
    paste: Paste,
}

/// Where a paste begins and ends in what is passed on.
#[derive(Debug, Default)]
struct Paste {
    inside: bool,
    /// How much of a mark there is at the end of what was passed so far, which may be cut anywhere and at any time.
    mark: usize,
}

/// How the marks of pasting begin; then comes a 0 where it begins or a 1 where it ends, and a `~`.
const MARK: &[u8; 4] = b"\x1b[20";
/// All but the `~` is here, of the one that begins a paste and of the one that ends it.
const BEGINS: usize = 5;
const ENDS: usize = 6;

/// What comes next of what is typed.
#[derive(Debug, PartialEq, Eq)]
enum NextKey {
    /// So many bytes are the detach key.
    Press(usize),
    /// It is held down.
    Repeat(usize),
    /// It is let go.
    Release(usize),
    /// So many bytes are none of it.
    Other(usize),
    /// It may be the key, and its end is not here.
    Unfinished,
}

impl Keys {
    /// `key`: the control byte, or `None` to let everything through.
    pub fn new(key: Option<u8>) -> Self {
        Self { key, pressed_at: None, held: Vec::new(), held_at: 0, paste: Paste::default() }
    }

    /// When [`Self::expire`] must be asked, if nothing is typed until then.
    pub fn deadline_ms(&self) -> Option<u64> {
        let pressed = self.pressed_at.map(|at| at + TWICE_MS);
        pressed.into_iter().chain(self.held_until()).min()
    }

    fn held_until(&self) -> Option<u64> {
        match self.held.len() {
            0 => None,
            1 | 2 => Some(self.held_at + ESCAPE_MS),
            _ => Some(self.held_at + REST_MS),
        }
    }

    /// Is a paste under way: did its beginning come, and not its end?
    pub fn is_pasting(&self) -> bool {
        self.paste.inside
    }

    /// Time has passed: what was held back was a key of its own, or the detach key was pressed once.
    pub fn expire(&mut self, now_ms: u64) -> Typed {
        let mut out = Vec::new();
        if self.pressed_at.is_some_and(|at| now_ms >= at + TWICE_MS) {
            return Typed::Leave(out);
        }
        if self.held_until().is_some_and(|at| now_ms >= at) {
            let held = std::mem::take(&mut self.held);
            let next = match self.key {
                Some(key) if held == [key] => NextKey::Press(1),
                _ => NextKey::Other(held.len()),
            };
            if self.take(&next, &held, now_ms, &mut out) {
                return Typed::Leave(out);
            }
        }
        Typed::Bytes(out)
    }

    /// Keys were typed.
    pub fn typed(&mut self, bytes: &[u8], now_ms: u64) -> Typed {
        let mut out = match self.expire(now_ms) {
            Typed::Bytes(out) => out,
            leave => {
                self.swallow(bytes);
                return leave;
            }
        };
        let mut all = std::mem::take(&mut self.held);
        all.extend_from_slice(bytes);
        out.reserve(all.len());
        let mut rest = &all[..];
        while !rest.is_empty() {
            if self.paste.inside {
                let n = self.paste.passed(rest);
                out.extend_from_slice(&rest[..n]);
                rest = &rest[n..];
                continue;
            }
            let next = match self.key {
                Some(key) => look(rest, key),
                // Where the paste begins is known all the same.
                None => NextKey::Other(rest.iter().position(|b| *b == b'~').map_or(rest.len(), |n| n + 1)),
            };
            if next == NextKey::Unfinished {
                (self.held, self.held_at) = (rest.to_vec(), now_ms);
                break;
            }
            if self.take(&next, rest, now_ms, &mut out) {
                self.swallow(rest);
                return Typed::Leave(out);
            }
            let (NextKey::Press(n) | NextKey::Repeat(n) | NextKey::Release(n) | NextKey::Other(n)) = next
            else {
                break;
            };
            rest = &rest[n..];
        }
        Typed::Bytes(out)
    }

    /// What was typed goes nowhere; whether a paste goes on is known.
    pub fn swallow(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            rest = &rest[self.paste.passed(rest)..];
        }
    }

    /// Acts on what `bytes` begin with. Says whether to leave.
    fn take(&mut self, next: &NextKey, bytes: &[u8], now_ms: u64, out: &mut Vec<u8>) -> bool {
        let length = match *next {
            NextKey::Press(_) if self.pressed_at.is_none() => {
                self.pressed_at = Some(now_ms);
                return false;
            }
            // A finger that stays on it has not pressed it twice.
            NextKey::Repeat(_) if self.pressed_at.is_some() => return false,
            NextKey::Other(_) if self.pressed_at.is_some() => return true,
            NextKey::Press(n) => {
                self.pressed_at = None;
                n
            }
            NextKey::Repeat(n) | NextKey::Release(n) | NextKey::Other(n) => n,
            NextKey::Unfinished => return false,
        };
        let passed = &bytes[..length];
        self.paste.passed(passed);
        out.extend_from_slice(passed);
        false
    }
}

impl Paste {
    /// Bytes go to the job. Says how many there are until a paste begins or ends.
    fn passed(&mut self, bytes: &[u8]) -> usize {
        for (at, byte) in bytes.iter().enumerate() {
            let whole = self.mark;
            self.mark = match (self.mark, *byte) {
                (4, b'0') => BEGINS,
                (4, b'1') => ENDS,
                (BEGINS | ENDS, b'~') => 0,
                (at @ 0..4, byte) if byte == MARK[at] => at + 1,
                (_, 0x1b) => 1,
                _ => 0,
            };
            let changes = if self.inside { ENDS } else { BEGINS };
            if whole == changes && *byte == b'~' {
                self.inside = !self.inside;
                return at + 1;
            }
        }
        bytes.len()
    }
}

/// What `bytes`, of which there is at least one, begin with. Decided by the bytes and not by where they end.
fn look(bytes: &[u8], key: u8) -> NextKey {
    match bytes {
        [0x1b] => NextKey::Unfinished,
        // Escape, as the detach key: what follows tells it from a longer key.
        [0x1b, 0x1b, ..] if key == 0x1b => NextKey::Press(1),
        [0x1b, 0x1b, ..] => NextKey::Other(1),
        // With Alt held it is another key.
        [0x1b, second, ..] if *second == key => NextKey::Other(2),
        [0x1b, b'[', body @ ..] => {
            let numbers = body.iter().take(ENCODING_MAX).take_while(|b| matches!(b, b'0'..=b';')).count();
            match body.get(numbers) {
                _ if numbers == ENCODING_MAX => NextKey::Other(2 + numbers),
                None => NextKey::Unfinished,
                Some(last @ (b'u' | b'~')) => {
                    let length = 3 + numbers;
                    match event(&body[..numbers], *last, key) {
                        Some(3) => NextKey::Release(length),
                        Some(2) => NextKey::Repeat(length),
                        Some(_) => NextKey::Press(length),
                        None => NextKey::Other(length),
                    }
                }
                Some(_) => NextKey::Other(2 + numbers),
            }
        }
        [0x1b, ..] => NextKey::Other(2),
        [first, ..] if *first == key => NextKey::Press(1),
        _ => NextKey::Other(bytes.iter().position(|b| *b == key || *b == 0x1b).unwrap_or(bytes.len())),
    }
}

/// The type of the event (1 press, 2 repeat, 3 release) of an escape sequence that says "control and `key`'s letter":
/// what stands before its `last` byte.
fn event(numbers: &[u8], last: u8, key: u8) -> Option<u32> {
    let text = std::str::from_utf8(numbers).ok()?;
    let mut fields =
        text.split(';').map(|field| field.split(':').map(|n| n.parse::<u32>().ok()).collect::<Vec<_>>());
    let first = fields.next()?;
    let (codes, modifiers, kind) = if last == b'u' {
        let held = fields.next()?;
        (first, (*held.first()?)?, held.get(1).copied().flatten().unwrap_or(1))
    } else {
        if first != [Some(27)] {
            return None;
        }
        let held = fields.next()?;
        (fields.next()?, (*held.first()?)?, 1)
    };
    // Modifiers are sent as 1 + bits: shift 1, alt 2, control 4, super 8; locks (64, 128) do not count.
    let held = modifiers.checked_sub(1)? & 0x3f;
    let (letter, alphabetic) = (u32::from(key | 0x40), (key | 0x40).is_ascii_alphabetic());
    let code = |at: usize| codes.get(at).copied().flatten();
    let other = if letter == u32::from(b'\\') { Some(u32::from(b'4')) } else { None };
    let is = |code: Option<u32>| {
        code.is_some() && (code == Some(letter) || code == other || alphabetic && code == Some(letter + 0x20))
    };
    let pressed = match held {
        // Under another alphabet the third is the key's place.
        4 => is(code(0)) || is(code(2)),
        // It may take Shift to get at `^` or `_`: one form sends that character, the other has it as its second.
        5 if !alphabetic => code(usize::from(last == b'u')) == Some(letter),
        _ => false,
    };
    pressed.then_some(kind)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KEY: u8 = 0x1c;

    fn keys() -> Keys {
        Keys::new(Some(KEY))
    }

    fn bytes(b: &[u8]) -> Typed {
        Typed::Bytes(b.to_vec())
    }

    fn leave(b: &[u8]) -> Typed {
        Typed::Leave(b.to_vec())
    }

    #[test]
    fn each_encoding_leaves_when_its_time_has_passed() {
        for encoding in [
            &b"\x1c"[..],
            b"\x1b[92;5u",
            b"\x1b[92;5:1u",
            b"\x1b[27;5;92~",
            b"\x1b[92;69u",
            // Ctrl-4, which the help names for keyboards without the other.
            b"\x1b[52;5u",
            b"\x1b[52:36;5:1u",
            b"\x1b[27;5;52~",
        ] {
            let mut keys = keys();
            assert_eq!(keys.typed(encoding, 1000), bytes(b""), "{encoding:?}");
            assert_eq!(keys.expire(1000 + TWICE_MS - 1), bytes(b""));
            assert_eq!(keys.expire(1000 + TWICE_MS), leave(b""), "{encoding:?}");
        }
    }

    #[test]
    fn twice_goes_through_once_in_its_own_encoding() {
        for encoding in [&b"\x1c"[..], b"\x1b[92;5u", b"\x1b[27;5;92~"] {
            let mut keys = keys();
            assert_eq!(keys.typed(&[encoding, encoding].concat(), 0), bytes(encoding));
            assert_eq!(keys.expire(u64::MAX), bytes(b""));
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
        assert_eq!(keys.expire(TWICE_MS), leave(b""));
    }

    #[test]
    fn a_finger_that_stays_on_the_key_has_not_pressed_it_twice() {
        let mut keys = keys();
        assert_eq!(keys.typed(b"\x1b[92;5u\x1b[92;5:2u\x1b[92;5:2u", 0), bytes(b""));
        assert_eq!(keys.expire(TWICE_MS), leave(b""));
    }

    #[test]
    fn other_keys_and_pasted_text_pass() {
        let mut keys = keys();
        for other in [
            &b"\x1b[92;1u"[..],
            b"\x1b[52;1u",
            b"\x1b[52;7u",
            b"\x1b[54;5u",
            b"\x1b[92;6u",
            b"\x1b[27;2;92~",
            b"\x1b[1;5A",
            b"\x03",
            b"\x1b[27;6;124~",
            b"\x1bOA",
            b"\x1bx",
            b"\x1b[<0;3;4M",
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
            let mut passed = Vec::new();
            for part in [&paste[..cut], &paste[cut..]] {
                let Typed::Bytes(more) = keys.typed(part, 0) else { panic!("{cut}: left") };
                passed.extend(more);
            }
            assert_eq!(passed.escape_ascii().to_string(), paste.escape_ascii().to_string(), "{cut}");
            assert_eq!(keys.typed(b"\x1c", 0), bytes(b""), "{cut}: and after it the key is the key");
            assert_eq!(keys.expire(TWICE_MS), leave(b""));
        }
    }

    #[test]
    fn with_alt_it_is_another_key() {
        let mut keys = keys();
        assert_eq!(keys.typed(b"\x1b\x1c", 0), bytes(b"\x1b\x1c"));
        assert_eq!(keys.typed(b"\x1b", 0), bytes(b""));
        assert_eq!(keys.typed(b"\x1c", ESCAPE_MS - 1), bytes(b"\x1b\x1c"), "cut between the two");
        assert_eq!(keys.expire(u64::MAX), bytes(b""));
    }

    #[test]
    fn escape_is_a_key_when_nothing_follows_it() {
        let mut keys = keys();
        assert_eq!(keys.typed(b"x\x1b", 0), bytes(b"x"));
        assert_eq!((keys.deadline_ms(), keys.expire(ESCAPE_MS - 1)), (Some(ESCAPE_MS), bytes(b"")));
        assert_eq!(keys.expire(ESCAPE_MS), bytes(b"\x1b"));
        assert_eq!(
            (keys.deadline_ms(), keys.typed(b"\x1c", ESCAPE_MS)),
            (None, bytes(b"")),
            "and then the key is"
        );
        assert_eq!(keys.typed(b"\x1b", 99), bytes(b""));
        assert_eq!(keys.expire(99 + ESCAPE_MS), leave(b""), "another key after it leaves");
    }

    #[test]
    fn a_slow_path_may_cut_an_encoding_and_a_mark() {
        for encoding in [&b"\x1b[92;5u"[..], b"\x1b[27;5;92~"] {
            for cut in 3..encoding.len() {
                let mut keys = keys();
                assert_eq!(keys.typed(&encoding[..cut], 0), bytes(b""));
                assert_eq!(keys.expire(REST_MS - 1), bytes(b""));
                assert_eq!(keys.typed(&encoding[cut..], REST_MS - 1), bytes(b""), "{cut}");
                assert!(keys.pressed_at.is_some(), "{cut}");
            }
        }
        for cut in 1..6 {
            let (mut keys, mark) = (keys(), b"\x1b[200~");
            let (mut at, mut out) = (0, Vec::new());
            for part in [&mark[..cut], &mark[cut..], b"\x1c", b"\x1b[201~"] {
                for typed in [keys.expire(at), keys.typed(part, at)] {
                    let Typed::Bytes(more) = typed else { panic!("{cut}: left") };
                    out.extend(more);
                }
                at += 10_000;
            }
            assert_eq!(
                out.escape_ascii().to_string(),
                "\\x1b[200~\\x1c\\x1b[201~",
                "{cut}: however long it takes"
            );
        }
    }

    #[test]
    fn keys_of_other_alphabets_and_behind_shift() {
        let of = |key: u8, typed: &[u8]| {
            let mut keys = Keys::new(Some(key));
            (keys.typed(typed, 0), keys.pressed_at.is_some())
        };
        for (key, encoding) in [
            (0x01, &b"\x1b[97;5u"[..]),
            (0x01, b"\x1b[1092::97;5u"),
            (0x1e, b"\x1b[54:94;6u"),
            (0x1e, b"\x1b[27;6;94~"),
            (0x1f, b"\x1b[45:95;6:1u"),
        ] {
            assert_eq!(of(key, encoding), (bytes(b""), true), "{}", encoding.escape_ascii());
        }
        for (key, encoding) in [(0x01, &b"\x1b[97:65;6u"[..]), (0x1e, b"\x1b[54;5u"), (0x1c, b"\x1b[124;5u")]
        {
            assert_eq!(of(key, encoding), (bytes(encoding), false), "{}", encoding.escape_ascii());
        }
    }

    #[test]
    fn escape_itself_may_be_the_key() {
        let mut keys = Keys::new(Some(0x1b));
        assert_eq!(
            keys.typed(b"\x1b[A\x1bx\x1b[200~\x1b\x1b[201~", 0),
            bytes(b"\x1b[A\x1bx\x1b[200~\x1b\x1b[201~")
        );
        assert_eq!(keys.typed(b"\x1b", 0), bytes(b""));
        assert_eq!(keys.expire(ESCAPE_MS), bytes(b""));
        assert_eq!(keys.expire(ESCAPE_MS + TWICE_MS), leave(b""));
    }

    #[test]
    fn a_paste_is_known_without_a_key_too() {
        for key in [None, Some(KEY)] {
            let mut keys = Keys::new(key);
            for (typed, pasting) in
                [("a\x1b[2", false), ("00~x~\x1b[20", true), ("0~1~\x1b[201", true), ("~z", false)]
            {
                keys.typed(typed.as_bytes(), 0);
                assert_eq!(keys.is_pasting(), pasting, "{key:?} {typed:?}");
            }
        }
    }

    fn piece() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            prop::sample::select(vec![
                &b"\x1c"[..],
                b"\x1b",
                b"\x1b[",
                b"\x1b[200~",
                b"\x1b[201~",
                b"\x1b[92;5u",
                b"\x1b[92;5:2u",
                b"\x1b[92;5:3u",
                b"\x1b[27;5;92~",
                b"\x1b[20",
                b"\x1b[1;5A",
                b"[92;5u",
                b"\x1b[<0;1;1M",
                b"0~",
                b"\x1bP1$r",
                b"11111111111111111111111111111111111111",
            ])
            .prop_map(<[u8]>::to_vec),
            prop::collection::vec(any::<u8>(), 0..4),
            "[a-z]{0,9}".prop_map(String::into_bytes),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..Default::default() })]

        #[test]
        fn where_what_is_typed_is_cut_makes_no_difference(
            pieces in prop::collection::vec(piece(), 0..12),
            cuts in prop::collection::vec(1_usize..9, 1..20),
            key in prop::sample::select(vec![None, Some(KEY), Some(0x1b), Some(1)]),
        ) {
            let all = pieces.concat();
            let play = |parts: &mut dyn Iterator<Item = &[u8]>| {
                let mut keys = Keys::new(key);
                let mut out = Vec::new();
                for part in parts {
                    match keys.typed(part, 0) {
                        Typed::Bytes(bytes) => out.extend(bytes),
                        Typed::Leave(bytes) => return ([out, bytes].concat(), true, false),
                    }
                }
                for at in [ESCAPE_MS, REST_MS, REST_MS + TWICE_MS] {
                    match keys.expire(at) {
                        Typed::Bytes(bytes) => out.extend(bytes),
                        Typed::Leave(bytes) => return ([out, bytes].concat(), true, false),
                    }
                }
                (out, false, keys.is_pasting())
            };
            let whole = play(&mut std::iter::once(&all[..]));
            let (mut rest, mut sizes, mut parts) = (&all[..], cuts.iter().cycle(), Vec::new());
            while !rest.is_empty() {
                let (part, more) = rest.split_at(rest.len().min(*sizes.next().unwrap()));
                parts.push(part);
                rest = more;
            }
            prop_assert_eq!(play(&mut parts.into_iter()), whole.clone());
            prop_assert!(key.is_some() || whole.0 == all, "nothing is lost");
        }
    }
}
