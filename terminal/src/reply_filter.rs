//! Takes a terminal's answers out of what a view types.

use crate::osc;
use crate::parser::Csi;

/// What the view's terminal was asked and has not answered yet, as far as it changes what its bytes mean.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Outstanding {
    /// Cursor position reports (`CSI 6 n`) that may still come. While any is, `CSI 1 ; m R` is taken as a report and not
    /// as F3 with a modifier; each report taken lowers it.
    pub cursor_reports: u32,
}

/// Removes terminal answers from a view's input, which may be cut anywhere. Everything else passes unchanged.
///
/// What is removed: CPR and DECXCPR, DA1–DA3, DSR, DECRPM, DECRPSS, DECRQCRA and DECCKSR checksums, DECTABSR and DECCIR,
/// XTVERSION, XTGETTCAP, XTSMGRAPHICS, colour, selection, pointer, notice and iTerm2 answers (OSC 4, 5, 10–19, 21, 22, 52, 99,
/// 1337), kitty's answers to images (APC G), window reports and titles (OSC L and l), sizes (`CSI 48 … t`), kitty keyboard
/// flags, DECREPTPARM, the colour-scheme answer (`CSI ? 997 n`).
///
/// Keys are never removed. The one clash is `CSI 1 ; m R`, F3 with modifiers 2–16 (xterm ctlseqs, PC-style function
/// keys) and a cursor report for row 1: it is a report only while one is outstanding. With other rows, or columns past 16, `CSI r ; c R` is no key and is always
/// removed. `CSI ? ... u` and `$y` are no keys.
///
/// Held back: an unfinished ESC sequence that may still become an answer, at most [`ReplyFilter::MAX_HELD`] bytes. A
/// lone ESC is held too; call [`ReplyFilter::flush`] when nothing followed for a moment (the Escape key).
#[derive(Clone, Debug, Default)]
pub struct ReplyFilter {
    held: Vec<u8>,
    /// Inside an answer too long to hold: it is thrown away up to its end.
    swallowing: bool,
}

enum Classified {
    Answer(usize),
    Keys(usize),
    Unfinished,
    /// Certainly an answer, but its end is not here.
    Endless,
}

impl ReplyFilter {
    /// Most bytes held back.
    pub const MAX_HELD: usize = 256;

    /// Passes input on to `out`, without answers.
    pub fn filter(&mut self, bytes: &[u8], outstanding: &mut Outstanding, out: &mut Vec<u8>) {
        self.divide(bytes, outstanding, |answer, bytes| {
            if !answer {
                out.extend_from_slice(bytes);
            }
        });
    }

    /// Hands input on in its order, and says of each piece whether it is (part of) an answer.
    pub fn divide(&mut self, bytes: &[u8], outstanding: &mut Outstanding, mut sink: impl FnMut(bool, &[u8])) {
        let joined;
        let mut rest = if self.held.is_empty() {
            bytes
        } else {
            let mut all = std::mem::take(&mut self.held);
            all.extend_from_slice(bytes);
            joined = all;
            &joined[..]
        };
        while !rest.is_empty() {
            if self.swallowing {
                let Some(end) = rest.iter().position(|b| matches!(b, 7 | 0x18 | 0x1a | 0x1b)) else {
                    sink(true, rest);
                    return;
                };
                if rest[end] == 0x1b && end + 1 == rest.len() {
                    sink(true, &rest[..end]);
                    self.held = vec![0x1b];
                    return;
                }
                self.swallowing = false;
                let end =
                    end + if rest[end] == 0x1b { if rest[end + 1] == b'\\' { 2 } else { 0 } } else { 1 };
                sink(true, &rest[..end]);
                rest = &rest[end..];
                continue;
            }
            let esc = rest.iter().position(|&b| b == 0x1b).unwrap_or(rest.len());
            if esc > 0 {
                sink(false, &rest[..esc]);
            }
            rest = &rest[esc..];
            if rest.is_empty() {
                return;
            }
            match classify(rest, outstanding) {
                Classified::Answer(n) => {
                    sink(true, &rest[..n]);
                    rest = &rest[n..];
                }
                Classified::Keys(n) => {
                    sink(false, &rest[..n]);
                    rest = &rest[n..];
                }
                Classified::Unfinished => {
                    self.held = rest.to_vec();
                    return;
                }
                Classified::Endless => self.swallowing = true,
            }
            if self.swallowing {
                sink(true, &rest[..2]);
                rest = &rest[2..];
            }
        }
    }

    /// Whether something is held back, so that a timeout is due.
    pub fn is_holding(&self) -> bool {
        !self.held.is_empty()
    }

    /// Whether what is held back may be what a terminal says of itself where the session speaks for it, its size (`CSI 48`) or
    /// its modes (`CSI ? 20..`), and not the beginning of a key alone.
    pub fn may_hold_terminals_own(&self) -> bool {
        let starts = |own: &[u8]| self.held.starts_with(own) || own.starts_with(&self.held);
        self.held.len() > 2 && (starts(b"\x1b[48;") || starts(b"\x1b[?20"))
    }

    /// Nothing followed: what is held back was typed.
    pub fn flush(&mut self, out: &mut Vec<u8>) {
        if self.swallowing {
            // The ESC was the end of an answer that was cut.
            self.swallowing = false;
            self.held.clear();
            return;
        }
        out.append(&mut self.held);
    }
}

/// Length of the whole answer at the start of `bytes`, if there is one.
pub(crate) fn answer(bytes: &[u8]) -> Option<usize> {
    if bytes.first() != Some(&0x1b) {
        return None;
    }
    match classify(bytes, &mut Outstanding::default()) {
        Classified::Answer(n) => Some(n),
        Classified::Keys(_) | Classified::Unfinished | Classified::Endless => None,
    }
}

/// At an ESC.
fn classify(bytes: &[u8], outstanding: &mut Outstanding) -> Classified {
    match bytes.get(1) {
        None => Classified::Unfinished,
        Some(b'[') => {
            let body = &bytes[2..];
            let Some(n) = body.iter().position(|b| !(0x20..=0x3f).contains(b)) else {
                return if bytes.len() >= ReplyFilter::MAX_HELD {
                    Classified::Keys(bytes.len())
                } else {
                    Classified::Unfinished
                };
            };
            let last = body[n];
            if !(0x40..=0x7e).contains(&last) {
                return Classified::Keys(2 + n);
            }
            match Csi::parse(&body[..n], last) {
                Some(csi) if is_answer(&csi, outstanding) => Classified::Answer(3 + n),
                _ => Classified::Keys(3 + n),
            }
        }
        Some(kind @ (b']' | b'P' | b'_')) => string(bytes, *kind),
        Some(_) => Classified::Keys(1),
    }
}

fn is_answer(csi: &Csi<'_>, outstanding: &mut Outstanding) -> bool {
    let (a, b) = (csi.raw(0), csi.raw(1));
    match (csi.marker, csi.intermediates, csi.last) {
        (0, [], b'R') if csi.len() == 2 => {
            let key = a == 1 && (2..=16).contains(&b);
            if key && outstanding.cursor_reports == 0 {
                return false;
            }
            outstanding.cursor_reports = outstanding.cursor_reports.saturating_sub(1);
            true
        }
        (b'?', [], b'R') => true,
        (b'?' | b'>', [], b'c') => true,
        (0, [], b'n') => csi.len() == 1 && matches!(a, 0 | 3),
        (b'?', [], b'n') => true,
        (0 | b'?', [b'$'], b'y') => true,
        (b'?', [], b'u') => true,
        (b'>', [], b'm') => true,
        (0, [], b't') => matches!((a, csi.len()), (1 | 2, 1) | (3..=6 | 8 | 9, 3) | (48, 3..)),
        (b'?', [], b'S') => csi.len() >= 2,
        (0, [], b'x') => matches!(a, 2 | 3) && csi.len() > 2,
        (0, [b'*'], b'{') => true,
        _ => false,
    }
}

/// An OSC, DCS or APC at the start of `bytes`.
fn string(bytes: &[u8], kind: u8) -> Classified {
    let body = &bytes[2..];
    let end = body.iter().position(|b| matches!(b, 7 | 0x18 | 0x1a | 0x1b));
    let head = &body[..end.unwrap_or(body.len())];
    let Some(sure) = starts_answer(kind, head, end.is_some()) else {
        // Alt-], Alt-P or Alt-_, and then other keys.
        return Classified::Keys(2);
    };
    match end {
        None if bytes.len() < ReplyFilter::MAX_HELD => Classified::Unfinished,
        None if sure => Classified::Endless,
        None => Classified::Keys(2),
        Some(n) => match (body[n], body.get(n + 1)) {
            (7, _) if sure => Classified::Answer(3 + n),
            (0x1b, Some(b'\\')) if sure => Classified::Answer(4 + n),
            (0x1b, None) => Classified::Unfinished,
            _ => Classified::Keys(2),
        },
    }
}

/// Whether a string that starts so is an answer (`Some(true)`), may become one (`Some(false)`), or is none.
fn starts_answer(kind: u8, head: &[u8], complete: bool) -> Option<bool> {
    if kind == b'P' || kind == b'_' {
        // A checksum has the number of who asked before it.
        let digits = head.iter().take(5).take_while(|b| b.is_ascii_digit()).count();
        if kind == b'P' && digits > 0 && head[digits..].starts_with(b"!~") {
            return Some(true);
        }
        let open = kind == b'P' && (1..6).contains(&digits) && b"!~".starts_with(&head[digits..]);
        const OF_DCS: [&[u8]; 8] = [b"0$r", b"1$r", b">|", b"!|", b"0+r", b"1+r", b"1$u", b"2$u"];
        const OF_APC: [&[u8]; 3] = [b"Gi=", b"GI=", b"Gp="];
        let starts = if kind == b'P' { &OF_DCS[..] } else { &OF_APC[..] };
        if open && !complete {
            return Some(false);
        }
        if starts.iter().any(|s| head.starts_with(s)) {
            return Some(true);
        }
        return if !complete && starts.iter().any(|s| s.starts_with(head)) { Some(false) } else { None };
    }
    if matches!(head.first(), Some(b'L' | b'l')) {
        // Titles come as `OSC L text ST`; without an end they are Alt-] and letters.
        return Some(complete);
    }
    if let Some((number, _)) = osc::split(head).filter(|_| head.contains(&b';')) {
        return if matches!(number, 4 | 5 | 10..=19 | 21 | 22 | 52 | 99 | 1337) { Some(true) } else { None };
    }
    let digits = head.iter().all(u8::is_ascii_digit) && head.len() <= 4;
    if digits && !complete { Some(false) } else { None }
}
