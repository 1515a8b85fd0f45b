//! From bytes to controls, after the state machine of ECMA-48 and DEC STD 070 as xterm runs it, for UTF-8 streams.
//!
//! It is our own and not a crate's because a snapshot must end with the unfinished tail: the parser keeps the bytes of
//! the sequence in progress *as its state*, so what it remembers and what a snapshot says cannot differ. Every sequence
//! is bounded: a longer one is swallowed to its end and has no effect.
//!
//! - A control character inside a sequence acts at once and is not part of it. CAN and SUB end a sequence without effect.
//! - ESC ends whatever is open and starts anew. A string has an effect only if it ends with `ESC \` (an OSC also with BEL): what
//!   any other sequence cut off may be half of what was meant (as xterm; xterm.js and alacritty take it as complete).
//! - U+0080–U+009F as UTF-8 are nothing: no controls, and nothing is printed (as xterm; VTE and xterm.js take them as the
//!   controls they stand for). Text that was encoded twice is full of them.
//! - SOS and PM strings have no effect and print nothing; of APC kitty's graphics alone have one.
//! - A string may be long only where it is an image by how it begins.
//! - Of a string that is too long only that it is one is kept: a snapshot then says one without effect.
//! - Each maximal ill-formed part of UTF-8 prints one U+FFFD.

use crate::images::MAX_IMAGE_BYTES;

/// Longest CSI or plain escape sequence that has an effect, in bytes after ESC.
const MAX_SEQUENCE: usize = 256;
/// Longest string (OSC, DCS) that has an effect, in bytes.
pub(crate) const MAX_STRING: usize = 8192;
/// Bytes that are looked over for the end of a run of text at a time.
const MAX_RUN: usize = 16 << 10;
/// Bytes of text that is not all ASCII that are taken at a time.
const WINDOW: usize = 64;
/// Parameters of a CSI that are kept in place; further ones take memory of their own.
const FEW_PARAMS: usize = 32;
/// What a string that is too long has become: the beginning of one that no terminal does anything with. BEL ends an OSC and
/// nothing else, so it goes on as one, with a number that nobody has given a meaning.
const LOST_OSC: &[u8] = b"\x1b]9999;";
const LOST_STRING: &[u8] = b"\x1b^";

/// What the parser calls.
pub(crate) trait Sink {
    /// Printable ASCII, 0x20–0x7e, at least one. Says how many it took, at least one: all, unless it is spent.
    fn ascii(&mut self, run: &[u8]) -> usize;
    fn char(&mut self, c: char);
    /// C0 but ESC, CAN, SUB.
    fn control(&mut self, b: u8);
    fn esc(&mut self, intermediates: &[u8], last: u8);
    fn csi(&mut self, csi: &Csi<'_>);
    fn osc(&mut self, body: &[u8]);
    fn dcs(&mut self, body: &[u8]);
    fn apc(&mut self, body: &[u8]);
    /// No more is to be done in this turn.
    fn is_spent(&self) -> bool;
}

/// A control sequence.
#[derive(Debug)]
pub(crate) struct Csi<'a> {
    /// `<`, `=`, `>`, `?`, or 0.
    pub(crate) marker: u8,
    pub(crate) intermediates: &'a [u8],
    pub(crate) last: u8,
    values: [u16; FEW_PARAMS],
    count: u16,
    /// Bit i: parameter i follows a colon, so it belongs to the one before.
    sub: u32,
    /// Those from [`FEW_PARAMS`] on, and whether each follows a colon.
    more: Vec<(u16, bool)>,
}

impl<'a> Csi<'a> {
    /// How many parameters were written; 0 if none.
    pub(crate) fn len(&self) -> usize {
        usize::from(self.count)
    }
    /// Parameter `i` as written; 0 if missing.
    pub(crate) fn raw(&self, i: usize) -> u16 {
        match self.values.get(i) {
            Some(value) if i < self.len() => *value,
            Some(_) => 0,
            None => self.more.get(i - FEW_PARAMS).map_or(0, |(value, _)| *value),
        }
    }
    /// Parameter `i`, where missing and 0 mean `default`.
    pub(crate) fn get(&self, i: usize, default: u16) -> u16 {
        match self.raw(i) {
            0 => default,
            v => v,
        }
    }
    pub(crate) fn is_sub(&self, i: usize) -> bool {
        if i < FEW_PARAMS {
            self.sub & 1 << i != 0
        } else {
            self.more.get(i - FEW_PARAMS).is_some_and(|(_, sub)| *sub)
        }
    }

    fn new() -> Self {
        Csi {
            marker: 0,
            intermediates: &[],
            last: 0,
            values: [0; FEW_PARAMS],
            count: 0,
            sub: 0,
            more: Vec::new(),
        }
    }
    /// `body` is what stands between the introducer and `last`. None if it is not well formed.
    pub(crate) fn parse(body: &'a [u8], last: u8) -> Option<Self> {
        let mut csi = Csi { last, ..Csi::new() };
        if csi.read(body) == (body.len(), true) { Some(csi) } else { None }
    }

    /// Reads what follows the introducer up to its last byte, in place: a sequence is some ten bytes, and what takes one in is
    /// in the way of every colour. Says how many bytes those were without the last, and whether they are well formed; the last
    /// one is not looked at, and may not be there.
    fn read(&mut self, bytes: &'a [u8]) -> (usize, bool) {
        let mut i = 0;
        if let Some(&b @ b'<'..=b'?') = bytes.first() {
            self.marker = b;
            i = 1;
        }
        let start = i;
        let mut value = 0;
        let mut sub = false;
        while let Some(&b) = bytes.get(i) {
            let digit = u32::from(b.wrapping_sub(b'0'));
            if digit < 10 {
                value = (value * 10 + digit).min(u16::MAX.into());
            } else if matches!(b, b';' | b':') {
                self.push(value as u16, sub);
                value = 0;
                sub = b == b':';
            } else {
                break;
            }
            i += 1;
        }
        if i > start {
            self.push(value as u16, sub);
        }
        let params = i;
        let mut well_formed = true;
        while let Some(b @ 0x20..=0x3f) = bytes.get(i) {
            well_formed &= *b < 0x30;
            i += 1;
        }
        self.intermediates = &bytes[params..i];
        (i, well_formed)
    }

    #[inline(always)]
    fn push(&mut self, value: u16, sub: bool) {
        let i = usize::from(self.count);
        if let Some(slot) = self.values.get_mut(i) {
            *slot = value;
            self.sub |= u32::from(sub) << i;
        } else {
            self.more.push((value, sub));
        }
        self.count += 1;
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum State {
    #[default]
    Ground,
    Escape,
    Csi,
    Osc,
    Dcs,
    Apc,
    /// SOS, PM, and what has become too long.
    Ignored,
}

/// See the head of this file.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Parser {
    state: State,
    /// The sequence in progress from its ESC on, without the controls that acted inside it; a CSI saturates one byte past its
    /// bound, a string becomes another. In the ground state: the head of a UTF-8 character.
    tail: Vec<u8>,
}

/// Length of the run of 0x20–0x7e at the start, eight bytes at a time whatever the compiler makes of loops.
fn ascii_run(bytes: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let mut n = 0;
    while let Some(word) = bytes[n..].first_chunk() {
        let word = u64::from_le_bytes(*word);
        // The highest bit of a byte is set by 0x80 and above, by 0x7f and one, and by what 0x20 cannot be taken from. What
        // carries over from such a byte only changes those after it.
        let other = (word | word.wrapping_add(ONES) | word.wrapping_sub(0x20 * ONES)) & (0x80 * ONES);
        if other != 0 {
            return n + other.trailing_zeros() as usize / 8;
        }
        n += size_of::<u64>();
    }
    n + bytes[n..].iter().take_while(|b| matches!(b, 0x20..=0x7e)).count()
}

impl Parser {
    /// What must follow a snapshot so that the next byte means the same.
    pub(crate) fn tail(&self) -> &[u8] {
        &self.tail
    }

    /// Takes bytes until there are none, or until the sink is spent; at least one. Says how many.
    pub(crate) fn advance(&mut self, sink: &mut impl Sink, bytes: &[u8]) -> usize {
        let mut i = 0;
        while i < bytes.len() {
            if i > 0 && sink.is_spent() {
                break;
            }
            if self.state != State::Ground {
                i += self.in_sequence(sink, &bytes[i..]);
                continue;
            }
            if !self.tail.is_empty() {
                i += self.in_character(sink, bytes[i]);
                continue;
            }
            match bytes[i] {
                0x20..=0x7e => {
                    let n = ascii_run(&bytes[i..bytes.len().min(i + MAX_RUN)]);
                    i += sink.ascii(&bytes[i..i + n]);
                }
                0x1b => i += self.escape(sink, &bytes[i..]),
                0x18 | 0x1a | 0x7f => i += 1,
                b @ 0..=0x1f => {
                    sink.control(b);
                    i += 1;
                }
                0x80.. => i += self.utf8(sink, &bytes[i..]),
            }
        }
        i
    }

    /// At an ESC in the ground state: takes a whole CSI at once, else changes state.
    fn escape(&mut self, sink: &mut impl Sink, bytes: &[u8]) -> usize {
        if bytes.get(1) == Some(&b'[') {
            let mut csi = Csi::new();
            let (n, well_formed) = csi.read(&bytes[2..bytes.len().min(MAX_SEQUENCE)]);
            if let Some(&last @ 0x40..=0x7e) = bytes.get(2 + n)
                && 2 + n < MAX_SEQUENCE
            {
                if well_formed {
                    csi.last = last;
                    sink.csi(&csi);
                }
                return 2 + n + 1;
            }
        }
        self.state = State::Escape;
        self.tail.push(0x1b);
        1
    }

    fn ground(&mut self) {
        self.state = State::Ground;
        self.tail.clear();
        if self.tail.capacity() > 1024 {
            self.tail = Vec::new();
        }
    }

    /// Takes at least one byte in a state other than ground.
    fn in_sequence(&mut self, sink: &mut impl Sink, bytes: &[u8]) -> usize {
        let b = bytes[0];
        match self.state {
            State::Osc | State::Dcs | State::Apc | State::Ignored => return self.in_string(sink, bytes),
            _ => {}
        }
        match b {
            0x18 | 0x1a => self.ground(),
            0x1b => {
                self.ground();
                self.state = State::Escape;
                self.tail.push(b);
            }
            0..=0x1f => sink.control(b),
            0x7f => {}
            0x80.. => {
                // Not a sequence any more; the character is printed as text.
                self.ground();
                return 0;
            }
            _ if self.state == State::Escape => self.in_escape(sink, b),
            0x20..=0x3f => self.push(b),
            _ => {
                let tail = std::mem::take(&mut self.tail);
                self.state = State::Ground;
                if tail.len() <= MAX_SEQUENCE
                    && let Some(csi) = Csi::parse(&tail[2..], b)
                {
                    sink.csi(&csi);
                }
            }
        }
        1
    }

    /// Takes at least one byte of a string.
    fn in_string(&mut self, sink: &mut impl Sink, bytes: &[u8]) -> usize {
        let b = bytes[0];
        if self.string_may_end() {
            match b {
                b'\\' => {
                    self.tail.pop();
                    self.end_string(sink);
                    self.ground();
                    return 1;
                }
                // Still.
                0x1b => return 1,
                _ => {
                    self.ground();
                    self.state = State::Escape;
                    self.tail.push(0x1b);
                    return 0;
                }
            }
        }
        let osc = self.tail.get(1) == Some(&b']');
        let end = bytes.iter().position(|&b| matches!(b, 0x07 | 0x18 | 0x1a | 0x1b));
        let n = end.unwrap_or(bytes.len());
        self.keep(&bytes[..n]);
        if n > 0 || end.is_none() {
            return n;
        }
        match b {
            0x07 if osc => {
                self.end_string(sink);
                self.ground();
            }
            0x07 => self.keep(&[b]),
            0x1b => self.tail.push(b),
            _ => self.ground(),
        }
        1
    }

    /// The string's last byte is an ESC.
    fn string_may_end(&self) -> bool {
        self.tail.len() > 2 && self.tail.last() == Some(&0x1b)
    }

    /// Keeps bytes of the string in progress.
    fn keep(&mut self, bytes: &[u8]) {
        let most = if self.tail.len() + bytes.len() > MAX_STRING && self.is_image() {
            MAX_IMAGE_BYTES
        } else {
            MAX_STRING
        };
        let room = (most + 2).saturating_sub(self.tail.len());
        match self.state {
            State::Ignored => {}
            State::Osc if bytes.len() > room => self.tail = LOST_OSC.to_vec(),
            State::Osc => {
                self.tail.extend_from_slice(bytes);
                if self.tail.starts_with(LOST_OSC) {
                    self.tail.truncate(LOST_OSC.len());
                }
            }
            _ if bytes.len() > room => {
                self.tail = LOST_STRING.to_vec();
                self.state = State::Ignored;
            }
            _ => self.tail.extend_from_slice(bytes),
        }
    }

    /// The string in progress is an image, by how it begins.
    fn is_image(&self) -> bool {
        let starts = |head: &[u8]| self.tail.starts_with(head);
        match self.state {
            State::Dcs => {
                let after = self.tail[2..].iter().find(|b| !(b.is_ascii_digit() || **b == b';'));
                after == Some(&b'q')
            }
            State::Apc => starts(b"\x1b_G"),
            State::Osc => starts(b"\x1b]1337;File="),
            _ => false,
        }
    }

    fn push(&mut self, b: u8) {
        if self.tail.len() < MAX_SEQUENCE + 1 {
            self.tail.push(b);
        }
    }

    fn in_escape(&mut self, sink: &mut impl Sink, b: u8) {
        if b < 0x30 {
            self.push(b);
            return;
        }
        if self.tail.len() == 1 {
            let next = match b {
                b'[' => Some(State::Csi),
                b']' => Some(State::Osc),
                b'P' => Some(State::Dcs),
                b'_' => Some(State::Apc),
                b'X' | b'^' => Some(State::Ignored),
                _ => None,
            };
            if let Some(next) = next {
                self.tail.push(b);
                self.state = next;
                return;
            }
        }
        let tail = std::mem::take(&mut self.tail);
        self.state = State::Ground;
        if tail.len() <= MAX_SEQUENCE {
            sink.esc(&tail[1..], b);
        }
    }

    fn end_string(&mut self, sink: &mut impl Sink) {
        match self.state {
            State::Osc => sink.osc(&self.tail[2..]),
            State::Dcs => sink.dcs(&self.tail[2..]),
            State::Apc => sink.apc(&self.tail[2..]),
            _ => {}
        }
    }

    /// Goes on with a character whose head came earlier.
    fn in_character(&mut self, sink: &mut impl Sink, b: u8) -> usize {
        self.tail.push(b);
        match std::str::from_utf8(&self.tail) {
            Ok(s) => {
                let c = s.chars().next().unwrap_or(char::REPLACEMENT_CHARACTER);
                self.tail.clear();
                self.character(sink, c);
                1
            }
            Err(e) if e.error_len().is_none() => 1,
            Err(_) => {
                // The head was ill-formed without `b`, which starts anew.
                self.tail.clear();
                sink.char(char::REPLACEMENT_CHARACTER);
                0
            }
        }
    }

    fn character(&self, sink: &mut impl Sink, c: char) {
        if !('\u{80}'..='\u{9f}').contains(&c) {
            sink.char(c);
        }
    }

    /// At a byte ≥ 0x80 in the ground state.
    fn utf8(&mut self, sink: &mut impl Sink, bytes: &[u8]) -> usize {
        if let Err(e) = std::str::from_utf8(&bytes[..bytes.len().min(4)])
            && let (0, Some(bad)) = (e.valid_up_to(), e.error_len())
        {
            // Nothing is looked for behind each byte of what is no text at all.
            sink.char(char::REPLACEMENT_CHARACTER);
            return bad;
        }
        // Text up to the next control, in parts so that little is looked at twice.
        let window = bytes.len().min(WINDOW);
        let n = bytes[..window].iter().position(|&b| b < 0x20 || b == 0x7f).unwrap_or(window);
        let (valid, error) = match std::str::from_utf8(&bytes[..n]) {
            Ok(s) => (s, None),
            Err(e) => {
                let (good, _) = bytes[..n].split_at(e.valid_up_to());
                (std::str::from_utf8(good).unwrap_or(""), Some(e))
            }
        };
        let mut rest = valid;
        while let Some(c) = rest.chars().next() {
            if rest.len() < valid.len() && sink.is_spent() {
                return valid.len() - rest.len();
            }
            if c.is_ascii() {
                let run = ascii_run(rest.as_bytes());
                let taken = sink.ascii(&rest.as_bytes()[..run]);
                rest = &rest[taken..];
                continue;
            }
            rest = &rest[c.len_utf8()..];
            self.character(sink, c);
        }
        let Some(e) = error else { return n };
        match e.error_len() {
            Some(bad) => {
                sink.char(char::REPLACEMENT_CHARACTER);
                valid.len() + bad
            }
            None if n == bytes.len() => {
                self.tail.extend_from_slice(&bytes[valid.len()..n]);
                n
            }
            None if n == WINDOW && !valid.is_empty() => valid.len(),
            None => {
                sink.char(char::REPLACEMENT_CHARACTER);
                n
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_control_sequence_is_read_or_is_not_well_formed() {
        type Read = Option<(u8, Vec<u16>, &'static str)>;
        let table: &[(&str, Read)] = &[
            ("", Some((0, vec![], ""))),
            ("1", Some((0, vec![1], ""))),
            (";", Some((0, vec![0, 0], ""))),
            ("1;;3", Some((0, vec![1, 0, 3], ""))),
            ("38:2::1:2:3", Some((0, vec![38, 2, 0, 1, 2, 3], ""))),
            ("65535;65536;99999999999999999999", Some((0, vec![65535, 65535, 65535], ""))),
            ("?", Some((b'?', vec![], ""))),
            ("?2026$", Some((b'?', vec![2026], "$"))),
            (">4;2", Some((b'>', vec![4, 2], ""))),
            (" ", Some((0, vec![], " "))),
            ("0 !", Some((0, vec![0], " !"))),
            ("1?", None),
            ("??1", None),
            ("1 2", None),
            (" ;", None),
            ("1$=", None),
            ("1a", None),
        ];
        for (body, read) in table {
            let csi = Csi::parse(body.as_bytes(), b'm');
            let found = csi.as_ref().map(|c| {
                (
                    c.marker,
                    (0..c.len()).map(|i| c.raw(i)).collect(),
                    std::str::from_utf8(c.intermediates).unwrap(),
                )
            });
            assert_eq!(&found, read, "{body:?}");
        }
        let many = vec!["7"; 100].join(";");
        let csi = Csi::parse(many.as_bytes(), b'm').unwrap();
        assert_eq!((csi.len(), csi.raw(99), csi.raw(100)), (100, 7, 0));
    }

    #[test]
    fn a_run_of_ascii_ends_before_the_first_byte_that_is_none() {
        for length in 0..20 {
            for at in 0..length {
                for byte in 0..=u8::MAX {
                    // What follows is of every sort too: it must not be taken for what comes first.
                    for after in [b'~', b' ', 0x00, 0x1f, 0x7f, 0x80, 0xff] {
                        let mut text = vec![b' '; length];
                        text[..at].fill(b'~');
                        text[at..].fill(after);
                        text[at] = byte;
                        let run = text.iter().take_while(|b| (0x20..0x7f).contains(*b)).count();
                        assert_eq!(ascii_run(&text), run, "{text:x?}");
                    }
                }
            }
        }
    }
}
