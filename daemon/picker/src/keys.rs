//! What a terminal sends, as keys. Pure.
//!
//! Keys come in several spellings: plain bytes, `CSI` and `SS3` sequences, `CSI u` and modifyOtherKeys where somebody before us
//! left those on. What a terminal sends that is no key (an answer to a question, a report) means nothing here.

/// How long an ESC may be the beginning of a sequence before it is the Escape key, in milliseconds.
pub const ESCAPE_MS: u64 = 60;
/// Bytes of one sequence; what is longer is none.
const SEQUENCE_MAX: usize = 64;
/// Bytes of one paste that are kept.
const PASTE_MAX: usize = 4096;
const PASTE_ENDS: &[u8] = b"\x1b[201~";

/// A key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// A character, as it is typed.
    Char(char),
    /// With Control, by its lower-case letter.
    Ctrl(char),
    /// Return.
    Enter,
    /// Tab.
    Tab,
    /// Shift and Tab.
    BackTab,
    /// Escape.
    Escape,
    /// Backspace.
    Backspace,
    /// Delete.
    Delete,
    /// Cursor up.
    Up,
    /// Cursor down.
    Down,
    /// Cursor left.
    Left,
    /// Cursor right.
    Right,
    /// Home.
    Home,
    /// End.
    End,
    /// Page up.
    PageUp,
    /// Page down.
    PageDown,
}

/// What a person does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A key.
    Key(Key),
    /// Text that was pasted: its first line, without what acts.
    Paste(String),
    /// The mouse's first button, at this column and row from 0.
    Click(u16, u16),
    /// The wheel, up or down, at this column and row.
    Wheel(bool, u16, u16),
}

/// Takes bytes apart.
#[derive(Debug, Default)]
pub struct Keys {
    held: Vec<u8>,
    /// When the ESC came that is held.
    escape_at: Option<u64>,
    /// What was pasted so far.
    paste: Option<Vec<u8>>,
}

impl Keys {
    /// Takes what was read, at `now` in milliseconds.
    pub fn feed(&mut self, bytes: &[u8], now: u64, out: &mut Vec<Input>) {
        self.held.extend_from_slice(bytes);
        self.escape_at = None;
        loop {
            if self.paste.is_some() && !self.take_paste(out) {
                return;
            }
            let Some((length, input)) = next(&self.held) else { break };
            let start = self.held.starts_with(b"\x1b[200~");
            self.held.drain(..length);
            if start {
                self.paste = Some(Vec::new());
            }
            out.extend(input);
        }
        if self.held.first() == Some(&0x1b) {
            self.escape_at = Some(now);
        }
    }

    /// When [`Self::expire`] must be asked.
    pub fn deadline_ms(&self) -> Option<u64> {
        self.escape_at.map(|at| at + ESCAPE_MS)
    }

    /// An ESC that nothing followed is the Escape key.
    pub fn expire(&mut self, now: u64, out: &mut Vec<Input>) {
        if self.deadline_ms().is_some_and(|at| now >= at) {
            self.escape_at = None;
            if std::mem::take(&mut self.held) == [0x1b] {
                out.push(Input::Key(Key::Escape));
            }
        }
    }

    /// Takes what is held into the paste. True: that has ended.
    fn take_paste(&mut self, out: &mut Vec<Input>) -> bool {
        let Some(paste) = &mut self.paste else { return true };
        let end = self.held.windows(PASTE_ENDS.len()).position(|bytes| bytes == PASTE_ENDS);
        // The beginning of the end may be here.
        let taken = end.unwrap_or(self.held.len().saturating_sub(PASTE_ENDS.len() - 1));
        paste.extend_from_slice(&self.held[..taken]);
        paste.truncate(PASTE_MAX);
        self.held.drain(..taken + if end.is_some() { PASTE_ENDS.len() } else { 0 });
        if end.is_none() {
            return false;
        }
        let text = String::from_utf8_lossy(paste).into_owned();
        let line = text.trim_start().split(['\r', '\n']).next().unwrap_or_default();
        out.push(Input::Paste(sessd_proto::docs::text::stripped(line.trim_end().to_owned(), false)));
        self.paste = None;
        true
    }
}

/// The first of what is held: how long it is, and what it is, if it is anything to us. `None`: its end is not here.
fn next(held: &[u8]) -> Option<(usize, Option<Input>)> {
    let key = |key| Some(Input::Key(key));
    let (first, second) = (*held.first()?, held.get(1).copied());
    Some(match (first, second) {
        (0x1b, None) => return None,
        (0x1b, Some(b'[')) => return sequence(held),
        (0x1b, Some(b'O')) => (3, arrow(*held.get(2)?).and_then(key)),
        // A string of the terminal's: its answer to somebody's question.
        (0x1b, Some(b']' | b'P' | b'_' | b'^' | b'X')) => {
            let end = held.iter().skip(2).position(|b| matches!(b, 0x07 | 0x9c));
            let st = held.windows(2).skip(2).position(|b| b == b"\x1b\\");
            match (end, st) {
                (Some(end), None) => (end + 3, None),
                (Some(end), Some(st)) if end < st => (end + 3, None),
                (_, Some(st)) => (st + 4, None),
                (None, None) => return (held.len() > 4096).then_some((held.len(), None)),
            }
        }
        // Escape twice, or a key behind it: the first is Escape's.
        (0x1b, Some(0x1b)) => (1, key(Key::Escape)),
        // With Alt: no key of ours.
        (0x1b, Some(_)) => (1 + character(&held[1..])?.0, None),
        (b'\r' | b'\n', _) => (1, key(Key::Enter)),
        (b'\t', _) => (1, key(Key::Tab)),
        (0x08 | 0x7f, _) => (1, key(Key::Backspace)),
        (0x00..0x20, _) => (1, key(Key::Ctrl(char::from(first | 0x60)))),
        _ => {
            let (length, c) = character(held)?;
            (length, c.map(|c| Input::Key(Key::Char(c))))
        }
    })
}

/// The first character; none for bytes that are none.
fn character(bytes: &[u8]) -> Option<(usize, Option<char>)> {
    let length = match *bytes.first()? {
        0..0xc0 => 1,
        0xc0..0xe0 => 2,
        0xe0..0xf0 => 3,
        _ => 4,
    };
    let piece = &bytes[..length.min(bytes.len())];
    match std::str::from_utf8(piece) {
        Ok(text) => Some((length, text.chars().next())),
        Err(error) if error.error_len().is_none() && bytes.len() < length => None,
        Err(_) => Some((1, None)),
    }
}

fn arrow(last: u8) -> Option<Key> {
    Some(match last {
        b'A' => Key::Up,
        b'B' => Key::Down,
        b'C' => Key::Right,
        b'D' => Key::Left,
        b'H' => Key::Home,
        b'F' => Key::End,
        b'M' => Key::Enter,
        _ => return None,
    })
}

/// A `CSI` sequence.
fn sequence(held: &[u8]) -> Option<(usize, Option<Input>)> {
    let end = held.iter().skip(2).position(|b| !(0x20..0x40).contains(b));
    let Some(end) = end.map(|end| end + 2) else {
        return (held.len() > SEQUENCE_MAX).then_some((held.len(), None));
    };
    let (body, last) = (&held[2..end], held[end]);
    if last == 0x1b {
        // Cut off by the next.
        return Some((end, None));
    }
    let length = end + 1;
    if body.first() == Some(&b'<') {
        return Some((length, mouse(&body[1..], last)));
    }
    let numbers: Vec<u32> = std::str::from_utf8(body)
        .unwrap_or_default()
        .split(';')
        .map(|part| part.split(':').next().and_then(|n| n.parse().ok()).unwrap_or(0))
        .collect();
    let number = |at: usize| numbers.get(at).copied().unwrap_or(0);
    let key = match (last, number(0)) {
        (b'A' | b'B' | b'C' | b'D' | b'H' | b'F', _) => arrow(last),
        (b'Z', _) => Some(Key::BackTab),
        (b'~', 1 | 7) => Some(Key::Home),
        (b'~', 4 | 8) => Some(Key::End),
        (b'~', 3) => Some(Key::Delete),
        (b'~', 5) => Some(Key::PageUp),
        (b'~', 6) => Some(Key::PageDown),
        (b'~', 27) => by_number(number(2), number(1)),
        // A key that is let go of is told, too, where somebody asked for that.
        (b'u', _) if !body.ends_with(b":3") => by_number(number(0), number(1)),
        _ => None,
    };
    Some((length, key.map(Input::Key)))
}

/// A key by the number of its character, and its modifiers as terminals count them.
fn by_number(number: u32, modifiers: u32) -> Option<Key> {
    let modifiers = modifiers.saturating_sub(1);
    let c = char::from_u32(number)?;
    if modifiers & 2 != 0 {
        return None;
    }
    Some(match (number, modifiers & 4 != 0) {
        (13, _) => Key::Enter,
        (27, _) => Key::Escape,
        (9, _) if modifiers & 1 != 0 => Key::BackTab,
        (9, _) => Key::Tab,
        (8 | 127, _) => Key::Backspace,
        (_, true) => Key::Ctrl(c.to_ascii_lowercase()),
        (_, false) if c.is_control() => return None,
        (_, false) if modifiers & 1 != 0 => Key::Char(c.to_uppercase().next()?),
        (_, false) => Key::Char(c),
    })
}

fn mouse(body: &[u8], last: u8) -> Option<Input> {
    let text = std::str::from_utf8(body).ok()?;
    let mut parts = text.split(';').map(|part| part.parse::<u16>().ok());
    let (button, x, y) = (parts.next()??, parts.next()??, parts.next()??);
    let (x, y) = (x.saturating_sub(1), y.saturating_sub(1));
    match (button & !0b1_1100, last) {
        (0, b'M') => Some(Input::Click(x, y)),
        (64, b'M') => Some(Input::Wheel(true, x, y)),
        (65, b'M') => Some(Input::Wheel(false, x, y)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(bytes: &[u8]) -> Vec<Input> {
        let (mut keys, mut out) = (Keys::default(), Vec::new());
        keys.feed(bytes, 0, &mut out);
        keys.expire(ESCAPE_MS, &mut out);
        out
    }

    #[test]
    fn every_spelling_of_a_key_is_that_key() {
        use Key::*;
        for (bytes, want) in [
            (&b"a"[..], vec![Char('a')]),
            ("é漢".as_bytes(), vec![Char('é'), Char('漢')]),
            (b"\r\n", vec![Enter, Enter]),
            (b"\x03\x0e\x7f\x08", vec![Ctrl('c'), Ctrl('n'), Backspace, Backspace]),
            (b"\x1b[A\x1bOA\x1b[1;5A", vec![Up, Up, Up]),
            (b"\x1b[H\x1b[1~\x1b[7~\x1bOH", vec![Home, Home, Home, Home]),
            (b"\x1b[5~\x1b[6~\x1b[3~\x1b[F", vec![PageUp, PageDown, Delete, End]),
            (b"\t\x1b[Z", vec![Tab, BackTab]),
            (
                b"\x1b[13u\x1b[27u\x1b[113u\x1b[99;5u\x1b[9;2u\x1b[114;2u",
                vec![Enter, Escape, Char('q'), Ctrl('c'), BackTab, Char('R')],
            ),
            (b"\x1b[27;5;99~", vec![Ctrl('c')]),
            (b"\x1b[113;1:3u", vec![]),
            (b"\x1b\x1b", vec![Escape, Escape]),
            (b"\x1bq", vec![]),
            (b"\x1b", vec![Escape]),
            // What a terminal answers is no key.
            (
                b"\x1b[?62;22c\x1b]11;rgb:00/00/00\x1b\\\x1bP1$r0m\x1b\\\x1b]4;1;x\x07\x1b[3;4Rq",
                vec![Char('q')],
            ),
            (b"\xff\xc3q", vec![Char('q')]),
        ] {
            let want: Vec<Input> = want.into_iter().map(Input::Key).collect();
            assert_eq!(all(bytes), want, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn the_mouse_clicks_and_turns() {
        assert_eq!(
            all(b"\x1b[<0;5;3M\x1b[<0;5;3m\x1b[<64;1;1M\x1b[<65;2;1M\x1b[<2;1;1M"),
            [Input::Click(4, 2), Input::Wheel(true, 0, 0), Input::Wheel(false, 1, 0)]
        );
    }

    #[test]
    fn a_paste_is_text_and_no_keys() {
        assert_eq!(
            all(b"\x1b[200~x\x1b[Aq\ry\x1b[201~d"),
            [Input::Paste("x[Aq".into()), Input::Key(Key::Char('d'))]
        );
        let long = [b"\x1b[200~", &b"x".repeat(100_000)[..], b"\x1b[201~"].concat();
        assert_eq!(all(&long), [Input::Paste("x".repeat(PASTE_MAX))]);
    }

    #[test]
    fn an_escape_waits_for_what_follows_and_not_for_ever() {
        let (mut keys, mut out) = (Keys::default(), Vec::new());
        keys.feed(b"\x1b", 10, &mut out);
        assert_eq!((out.len(), keys.deadline_ms()), (0, Some(10 + ESCAPE_MS)));
        keys.feed(b"[A", 20, &mut out);
        assert_eq!((std::mem::take(&mut out), keys.deadline_ms()), (vec![Input::Key(Key::Up)], None));
        keys.feed(b"\x1b", 30, &mut out);
        keys.expire(30 + ESCAPE_MS, &mut out);
        assert_eq!(out, [Input::Key(Key::Escape)]);
    }

    proptest! {
        #[test]
        fn however_it_is_cut_it_means_the_same(pieces in prop::collection::vec(prop::sample::select(vec![
            &b"a"[..], "é".as_bytes(), b"\x1b[A", b"\x1bOB", b"\x1b[<0;5;3M", b"\x1b[200~p\x1b[201~", b"\x1b]0;x\x07", b"\r", b"\x1b[113u",
        ]), 0..8)) {
            let whole = pieces.concat();
            let (mut keys, mut out) = (Keys::default(), Vec::new());
            for byte in whole.chunks(1) {
                keys.feed(byte, 0, &mut out);
            }
            prop_assert_eq!(out, all(&whole));
        }

        #[test]
        fn no_bytes_make_it_stumble_or_keep_without_end(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let (mut keys, mut out) = (Keys::default(), Vec::new());
            keys.feed(&bytes, 0, &mut out);
            prop_assert!(keys.held.len() <= 4100);
        }
    }
}
