//! What the user's terminal had before the session changed it: asked for when that is about to happen, and not before. Pure.
//!
//! The question goes before the sequence that changes the setting, so what is answered is what was there. Where a terminal does
//! not answer it gets its own default back. Answers come among what is typed; only those that were asked for are taken out.

use sessd_client::keys::ESCAPE_MS;
use sessd_terminal::Traits;
use std::collections::{BTreeMap, BTreeSet};

/// Longest answer, in bytes.
const ANSWER_MAX: usize = 64;
/// How long the rest of an answer is waited for before its beginning is taken as typed, in milliseconds.
const REST_MS: u64 = 100;
/// How long after the start of a view answers about its terminal's measures are waited for as it leaves, in milliseconds.
const MEASURE_MS: u64 = 1_000;
/// How long an answer may take, in milliseconds; what comes later is taken as one to the session.
const ANSWER_MS: u64 = 10_000;

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Question {
    /// DECRQSS of DECSCUSR.
    Shape,
    /// OSC 4.
    Palette(u8),
    /// OSC 10 to 19.
    Dynamic(u8),
    /// The column that the cursor is in after a probe.
    Column(u8),
}

/// Settings that the session has changed, and what they were.
#[derive(Debug, Default)]
pub(super) struct Before {
    changed: BTreeSet<Question>,
    /// Not answered yet.
    open: BTreeSet<Question>,
    asked_at: u64,
    /// DECSCUSR.
    shape: Option<u8>,
    /// Colours, in the terminal's own words.
    colors: BTreeMap<Question, Vec<u8>>,
    /// What may be the beginning of an answer, and when its last byte came.
    held: Vec<u8>,
    held_at: u64,
    /// The columns that were said so far, from 0, and the row that the probes are in, from 1.
    columns: Vec<u16>,
    row: u16,
}

enum Recognized {
    Answer(usize, Question, Vec<u8>),
    /// It may become one.
    Beginning,
    None,
}

impl Before {
    fn changes(&mut self, question: Question, out: &mut Vec<u8>) {
        if !self.changed.insert(question) {
            return;
        }
        self.open.insert(question);
        // The time is not known here: it counts from when what is typed is looked at next.
        self.asked_at = u64::MAX;
        match question {
            Question::Shape => out.extend_from_slice(b"\x1bP$q q\x1b\\"),
            Question::Palette(i) => out.extend_from_slice(format!("\x1b]4;{i};?\x1b\\").as_bytes()),
            Question::Dynamic(n) => out.extend_from_slice(format!("\x1b]{n};?\x1b\\").as_bytes()),
            // Not in the words that programs use: what passes of theirs can be told apart.
            Question::Column(_) => out.extend_from_slice(b"\x1b[06n"),
        }
    }

    /// The cursor's shape, or whether it blinks, is about to be changed.
    pub(super) fn shape_changes(&mut self, out: &mut Vec<u8>) {
        self.changes(Question::Shape, out);
    }

    /// The cursor is to look as it does without the session.
    pub(super) fn default_shape(&self, out: &mut Vec<u8>) {
        if !self.changed.contains(&Question::Shape) {
            return;
        }
        match self.shape {
            // A blinking block is also what terminals say that are left to their settings.
            None | Some(0 | 1) => out.extend_from_slice(b"\x1b[0 q"),
            Some(shape) => out.extend_from_slice(format!("\x1b[{shape} q").as_bytes()),
        }
    }

    /// Whether the shape is back with that, and with it the blinking.
    pub(super) fn knows_shape(&self) -> bool {
        self.shape.is_some()
    }

    /// An OSC that sets, resets or asks for colours: what of it the terminal is told. Resets go to what was there.
    pub(super) fn colors(&mut self, whole: &[u8], number: u16, body: &[u8], out: &mut Vec<u8>) {
        let list = || body.split(|b| *b == b';').filter(|part| !part.is_empty());
        let index = |part: &[u8]| std::str::from_utf8(part).ok().and_then(|n| n.parse::<u8>().ok());
        match number {
            4 => {
                let mut parts = body.split(|b| *b == b';');
                while let (Some(i), Some(spec)) = (parts.next(), parts.next()) {
                    if let Some(i) = index(i).filter(|_| spec != b"?") {
                        self.changes(Question::Palette(i), out);
                    }
                }
                out.extend_from_slice(whole);
            }
            10..=19 => {
                for (n, spec) in (number..=19).zip(body.split(|b| *b == b';')) {
                    if spec != b"?" {
                        self.changes(Question::Dynamic(n as u8), out);
                    }
                }
                out.extend_from_slice(whole);
            }
            104 if list().next().is_none() => self.default_palette(out),
            104 => {
                for i in list().filter_map(index) {
                    self.default_color(Question::Palette(i), out);
                }
            }
            _ => self.default_color(Question::Dynamic((number - 100) as u8), out),
        }
    }

    fn default_color(&self, which: Question, out: &mut Vec<u8>) {
        if !self.changed.contains(&which) {
            return;
        }
        let known = self.colors.get(&which).map_or("", |spec| std::str::from_utf8(spec).unwrap_or(""));
        let said = match (which, known) {
            (Question::Palette(i), "") => format!("\x1b]104;{i}\x1b\\"),
            (Question::Palette(i), spec) => format!("\x1b]4;{i};{spec}\x1b\\"),
            (Question::Dynamic(n), "") => format!("\x1b]{}\x1b\\", 100 + u16::from(n)),
            (Question::Dynamic(n), spec) => format!("\x1b]{n};{spec}\x1b\\"),
            (Question::Shape | Question::Column(_), _) => return,
        };
        out.extend_from_slice(said.as_bytes());
    }

    fn default_palette(&self, out: &mut Vec<u8>) {
        for which in self.changed.iter().filter(|which| matches!(which, Question::Palette(_))) {
            self.default_color(*which, out);
        }
    }

    /// Everything that was changed becomes what it was.
    pub(super) fn give_back(&self, out: &mut Vec<u8>) {
        for which in &self.changed {
            self.default_color(*which, out);
        }
        self.default_shape(out);
    }

    /// Asks for the column after each probe, on a blank line, which is blank again then: it is this row.
    pub(super) fn measure(&mut self, row: u16) -> Vec<u8> {
        self.row = row;
        let mut out = Vec::new();
        for (n, probe) in Traits::PROBES.iter().enumerate() {
            out.push(b'\r');
            out.extend_from_slice(probe.as_bytes());
            self.changes(Question::Column(n as u8), &mut out);
        }
        out.extend_from_slice(b"\r\x1b[K");
        out
    }

    /// The columns, when all were said.
    pub(super) fn measured(&self) -> Option<[u16; 4]> {
        self.columns.as_slice().try_into().ok()
    }

    /// Whether an answer may come still.
    pub(super) fn is_open(&self, now_ms: u64) -> bool {
        self.open.iter().any(|q| !matches!(q, Question::Column(_)) || now_ms < MEASURE_MS)
    }

    /// When [`Self::expire`] must be asked, if nothing is typed until then.
    pub(super) fn deadline_ms(&self) -> Option<u64> {
        match self.held.len() {
            0 => None,
            1 => Some(self.held_at + ESCAPE_MS),
            _ => Some(self.held_at + REST_MS),
        }
    }

    /// Time has passed: what was held back was typed.
    pub(super) fn expire(&mut self, now_ms: u64) -> Vec<u8> {
        if self.deadline_ms().is_some_and(|at| now_ms >= at) {
            std::mem::take(&mut self.held)
        } else {
            Vec::new()
        }
    }

    /// What is typed, without the answers to what was asked here.
    pub(super) fn typed(&mut self, bytes: &[u8], now_ms: u64) -> Vec<u8> {
        if self.asked_at == u64::MAX {
            self.asked_at = now_ms;
        } else if now_ms >= self.asked_at.saturating_add(ANSWER_MS) {
            self.open.clear();
        }
        let mut all = std::mem::take(&mut self.held);
        all.extend_from_slice(bytes);
        if self.open.is_empty() {
            return all;
        }
        let mut out = Vec::with_capacity(all.len());
        let mut rest = &all[..];
        while let Some(esc) = rest.iter().position(|b| *b == 0x1b) {
            out.extend_from_slice(&rest[..esc]);
            rest = &rest[esc..];
            let column = Question::Column(self.columns.len() as u8);
            match answer(rest, self.open.contains(&column).then_some((column, self.row))) {
                Recognized::Answer(length, question, value) if self.open.remove(&question) => {
                    match question {
                        Question::Column(_) => {
                            let column = std::str::from_utf8(&value).ok().and_then(|n| n.parse::<u16>().ok());
                            self.columns.push(column.unwrap_or(0).saturating_sub(1));
                        }
                        Question::Shape => self.shape = value.first().copied(),
                        _ => drop(self.colors.insert(question, value)),
                    }
                    rest = &rest[length..];
                }
                Recognized::Beginning => {
                    (self.held, self.held_at) = (rest.to_vec(), now_ms);
                    return out;
                }
                _ => {
                    out.push(0x1b);
                    rest = &rest[1..];
                }
            }
        }
        out.extend_from_slice(rest);
        out
    }
}

/// At an ESC: an answer, with what it says in the words to say it again.
/// `column`: what a cursor report of that row would answer.
fn answer(bytes: &[u8], column: Option<(Question, u16)>) -> Recognized {
    let kind = match bytes.get(1) {
        None => return Recognized::Beginning,
        Some(b'[') => return column.map_or(Recognized::None, |(column, row)| report(bytes, column, row)),
        Some(kind @ (b'P' | b']')) => *kind,
        Some(_) => return Recognized::None,
    };
    let body = &bytes[2..bytes.len().min(ANSWER_MAX)];
    let end = body.iter().position(|b| matches!(b, ..0x20 | 0x7f..));
    let text = &body[..end.unwrap_or(body.len())];
    let may_be = match kind {
        b'P' => [&b"1$r"[..], b"0$r"].iter().any(|head| head.starts_with(&text[..text.len().min(3)])),
        _ => text.first().is_none_or(|b| matches!(b, b'4' | b'1')),
    };
    if !may_be {
        return Recognized::None;
    }
    let length = match end.map(|n| (n, body[n], body.get(n + 1))) {
        None if body.len() + 2 < ANSWER_MAX => return Recognized::Beginning,
        Some((_, 0x1b, None)) => return Recognized::Beginning,
        Some((n, 0x07, _)) if kind == b']' => n + 3,
        Some((n, 0x1b, Some(b'\\'))) => n + 4,
        _ => return Recognized::None,
    };
    let text = std::str::from_utf8(text).unwrap_or("");
    let color = |spec: &str| {
        let plain = spec.bytes().all(|b| b.is_ascii_hexdigit() || b":/rgba#".contains(&b));
        (plain && !spec.is_empty()).then(|| spec.as_bytes().to_vec())
    };
    let found = match kind {
        b'P' => {
            let shape =
                text.strip_prefix("1$r").and_then(|t| t.strip_suffix(" q")).and_then(|n| n.parse().ok());
            // That it is not known is an answer as well.
            (text.starts_with("0$r") || shape.is_some_and(|n: u8| n <= 6))
                .then(|| (Question::Shape, shape.into_iter().collect()))
        }
        _ => match text.split_once(';') {
            Some(("4", rest)) => rest
                .split_once(';')
                .and_then(|(i, spec)| Some((Question::Palette(i.parse().ok()?), color(spec)?))),
            Some((n, spec)) => {
                let number = n.parse().ok().filter(|n| (10..=19).contains(n));
                number.and_then(|n| Some((Question::Dynamic(n), color(spec)?)))
            }
            None => None,
        },
    };
    found.map_or(Recognized::None, |(question, value)| Recognized::Answer(length, question, value))
}

/// A cursor report of the row that was asked in; of the first row it would be a key.
fn report(bytes: &[u8], column: Question, asked_in: u16) -> Recognized {
    let body = &bytes[2..bytes.len().min(ANSWER_MAX)];
    match body.iter().position(|b| !(b.is_ascii_digit() || *b == b';')) {
        None if body.len() + 2 < ANSWER_MAX => Recognized::Beginning,
        Some(n) if body[n] == b'R' => match body[..n].split(|b| *b == b';').collect::<Vec<_>>()[..] {
            [row, columns]
                if asked_in > 1 && row == asked_in.to_string().as_bytes() && !columns.is_empty() =>
            {
                Recognized::Answer(n + 3, column, columns.to_vec())
            }
            _ => Recognized::None,
        },
        _ => Recognized::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_is_answered_once_and_all_else_is_typed() {
        let typed = b"a\x1b[A\x1b]11;rgb:0000/1111/2222\x07b\x1bP1$r5 q\x1b\\c\x1b]11;rgb:ffff/ffff/ffff\x1b\\\x1b]4;300;rgb:1/2/3\x07d\x1b";
        for cut in 0..typed.len() {
            let (mut before, mut asked) = (Before::default(), Vec::new());
            before.colors(b"\x1b]11;red\x07", 11, b"red", &mut asked);
            before.shape_changes(&mut asked);
            assert_eq!(asked, b"\x1b]11;?\x1b\\\x1b]11;red\x07\x1bP$q q\x1b\\");
            let out =
                [before.typed(&typed[..cut], 5), before.typed(&typed[cut..], 6), before.expire(6 + REST_MS)]
                    .concat();
            assert_eq!(
                out.escape_ascii().to_string(),
                b"a\x1b[Abc\x1b]11;rgb:ffff/ffff/ffff\x1b\\\x1b]4;300;rgb:1/2/3\x07d\x1b"
                    .escape_ascii()
                    .to_string(),
                "{cut}"
            );
            let mut back = Vec::new();
            before.give_back(&mut back);
            assert_eq!(
                back.escape_ascii().to_string(),
                "\\x1b]11;rgb:0000/1111/2222\\x1b\\\\\\x1b[5 q",
                "{cut}"
            );
        }
    }

    #[test]
    fn what_was_not_changed_is_not_reset() {
        let (mut before, mut out) = (Before::default(), Vec::new());
        before.colors(b"", 104, b"", &mut out);
        before.colors(b"", 104, b"1;2", &mut out);
        before.colors(b"", 110, b"", &mut out);
        before.default_shape(&mut out);
        before.give_back(&mut out);
        assert_eq!(out, b"");
        before.colors(b"SET", 4, b"1;red;7;blue", &mut out);
        before.typed(b"\x1b]4;1;rgb:11/22/33\x1b\\", 1);
        out.clear();
        before.colors(b"", 104, b"", &mut out);
        assert_eq!(out.escape_ascii().to_string(), "\\x1b]4;1;rgb:11/22/33\\x1b\\\\\\x1b]104;7\\x1b\\\\");
    }

    #[test]
    fn a_beginning_that_does_not_become_an_answer_was_typed() {
        let (mut before, mut out) = (Before::default(), Vec::new());
        before.shape_changes(&mut out);
        assert_eq!(before.typed(b"x\x1bP", 1), b"x");
        assert_eq!((before.deadline_ms(), before.expire(REST_MS)), (Some(1 + REST_MS), Vec::new()));
        assert_eq!(before.expire(1 + REST_MS), b"\x1bP");
        assert_eq!(before.typed(b"\x1bPq\x1bP0$r\x1b\\", 2), b"\x1bPq", "not known");
        assert!(!before.is_open(u64::MAX) && !before.knows_shape());
    }

    #[test]
    fn a_terminal_says_once_how_it_measures_and_every_other_report_is_the_jobs() {
        let mut before = Before::default();
        let asked = String::from_utf8(before.measure(24)).unwrap();
        assert_eq!(asked.matches("\x1b[06n").count(), 4);
        assert!(asked.ends_with("\r\x1b[K"), "the line is blank again");
        let answers = b"a\x1b[24;3R\x1b[A\x1b[24;3Rb\x1b[1;2R\x1b[24;5R\x1b[24;5R\x1b[7;7Rc";
        for cut in 0..answers.len() {
            let mut before = Before::default();
            before.measure(24);
            assert!(before.is_open(0) && !before.is_open(MEASURE_MS));
            let out = [before.typed(&answers[..cut], 5), before.typed(&answers[cut..], 6)].concat();
            assert_eq!(out.escape_ascii().to_string(), r"a\x1b[Ab\x1b[1;2R\x1b[7;7Rc", "{cut}");
            assert_eq!(before.measured(), Some([2, 2, 4, 4]), "{cut}");
        }
    }
}
