//! What the job is told by its terminal, as far as that is the session's and not that of a terminal that shows it: terminals
//! come and go, and a program must be told nothing that holds for one of them only.
//!
//! * Its size in its input (mode 2048): when it asks for it, and at each change. What a view's terminal says of its own
//!   size is taken out of what is typed, and so are its answers to what the holder has answered.
//! * Whether somebody looks (mode 1004): the focus comes with the first view and goes with the last.
//! * How wide clusters are, as the terminal of whoever leads has them: told to the model, in the stream.
//! * A clipboard that it filled while nobody was there, to whoever comes next: see [`Clipboard`].

use crate::machine::{HolderMachine, Now};
use sessd_proto::messages as m;
use sessd_terminal::{Size, Traits};
use std::ops::Range;

/// Longest content of a clipboard that is kept, in bytes as it is written; a longer one is not offered.
pub const CLIPBOARD_MAX: usize = 256 << 10;
/// How long after a view came a clipboard is offered, in milliseconds: it is part of the output, and a view gets a screen
/// first.
const OFFER_MS: u64 = 1_000;
/// When to look again while the job is in the middle of a sequence.
const OFFER_AGAIN_MS: u64 = 200;

/// How a clipboard is written: `OSC 52 ; names ; content ST`.
const WRITES: &[u8] = b"\x1b]52;";

/// The last whole clipboard that the job wrote while no view was there. Pure: it sees the output, cut anywhere.
#[derive(Debug, Default)]
pub struct Clipboard {
    /// One that is being written, from its ESC on.
    open: Vec<u8>,
    /// It is too long, and nothing of it is kept.
    lost: bool,
    whole: Option<Vec<u8>>,
}

impl Clipboard {
    /// Takes output. `alone`: no view gets it, so one that begins in it is kept.
    pub fn output(&mut self, mut bytes: &[u8], alone: bool) {
        loop {
            if self.open.is_empty() {
                if !alone {
                    return;
                }
                let Some(esc) = bytes.iter().position(|b| *b == 0x1b) else { return };
                self.open.push(0x1b);
                bytes = &bytes[esc + 1..];
            }
            let Some((first, rest)) = bytes.split_first() else { return };
            if self.open.len() < WRITES.len() {
                if *first == WRITES[self.open.len()] {
                    self.open.push(*first);
                    bytes = rest;
                } else {
                    // Not one, and what ended it may begin one.
                    self.open.clear();
                }
                continue;
            }
            if self.open.ends_with(b"\x1b") {
                self.end(*first == b'\\');
                // An ESC and something other than its end begin something of their own.
                if *first != b'\\' {
                    if alone {
                        self.open.push(0x1b);
                    }
                    continue;
                }
                bytes = rest;
                continue;
            }
            let end = bytes.iter().position(|b| matches!(b, 7 | 0x18 | 0x1a | 0x1b));
            let text = &bytes[..end.unwrap_or(bytes.len())];
            if self.open.len() + text.len() > CLIPBOARD_MAX {
                self.lost = true;
                self.open.truncate(WRITES.len());
            } else if !self.lost {
                self.open.extend_from_slice(text);
            }
            let Some(end) = end else { return };
            match bytes[end] {
                0x1b => self.open.push(0x1b),
                byte => self.end(byte == 7),
            }
            bytes = &bytes[end + 1..];
        }
    }

    /// What is open has ended, whole or cancelled.
    fn end(&mut self, whole: bool) {
        let mut open = std::mem::take(&mut self.open);
        let lost = std::mem::take(&mut self.lost);
        if open.ends_with(b"\x1b") {
            open.pop();
        }
        let mut parts = open[WRITES.len()..].splitn(2, |b| *b == b';');
        let (names, content) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let is_content = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=');
        let right = names.iter().all(u8::is_ascii_alphanumeric) && content.iter().all(is_content);
        if whole && !lost && right && !content.is_empty() {
            open.extend_from_slice(b"\x1b\\");
            self.whole = Some(open);
        } else if whole && lost {
            // What was there before it is not what the job wanted last.
            self.whole = None;
        }
    }

    /// Is there one?
    pub fn is_whole(&self) -> bool {
        self.whole.is_some()
    }

    /// The sequence that writes it, once.
    pub fn take(&mut self) -> Option<Vec<u8>> {
        self.whole.take()
    }
}

/// What the job was told last.
#[derive(Debug, Default)]
pub struct Told {
    /// For which of its wishes the size was told.
    size_asks: u64,
    size: Option<Size>,
    /// A view is there.
    focus: bool,
    /// What the terminal is like of whoever leads, as it is said.
    pub(super) traits: Option<m::Traits>,
    /// When a clipboard is offered to the views that are there.
    offer_at_ms: Option<u64>,
}

impl Told {
    /// Somebody types: a view is drawn.
    pub(super) fn typed(&mut self, now_ms: u64) {
        self.offer_at_ms = self.offer_at_ms.map(|at| at.min(now_ms));
    }

    /// When there is something to do.
    pub(super) fn due_ms(&self) -> Option<u64> {
        self.offer_at_ms
    }
}

impl HolderMachine {
    /// Tells the job its size where it asked for that and was not told this one.
    pub(super) fn tell_size(&mut self) {
        // A job without a terminal is told nothing by one.
        let Some(asks) = self.hub.terminal().wants_sizes().filter(|_| !self.job.spec.plain) else {
            self.told.size = None;
            return;
        };
        let size = self.hub.terminal().size();
        if self.told.size_asks == asks && self.told.size == Some(size) {
            return;
        }
        (self.told.size_asks, self.told.size) = (asks, Some(size));
        // Of pixels nothing is known that holds for every terminal; 0 is how that is said.
        self.input.answer(format!("\x1b[48;{};{};0;0t", size.rows, size.cols).as_bytes());
    }

    /// A view came where none was, or the last one went.
    pub(super) fn tell_focus(&mut self, now: Now) {
        let focus = self.interactive();
        if std::mem::replace(&mut self.told.focus, focus) == focus {
            return;
        }
        if self.hub.terminal().wants_focus() && !self.job.spec.plain {
            self.input.answer(if focus { b"\x1b[I" } else { b"\x1b[O" });
        }
        self.told.offer_at_ms = (focus && self.clipboard.is_whole()).then_some(now.ms + OFFER_MS);
    }

    /// What is written lands where that terminal puts it: the model, and every copy of it, does as that does from here on.
    pub(super) fn follow_terminal(&mut self) {
        let Some(traits) = self.told.traits.filter(|_| !self.job.spec.plain) else { return };
        let pixels = |n: u32| u16::try_from(n).unwrap_or(0).min(256);
        let traits = Traits {
            clusters: traits.clusters as u8,
            cell: (pixels(traits.cell_width), pixels(traits.cell_height)),
        };
        if self.hub.terminal().traits() != traits && self.hub.terminal().unfinished().is_empty() {
            self.hub.feed(&traits.said());
        }
    }

    /// A clipboard that was written with no view there becomes output of now.
    pub(super) fn offer_clipboard(&mut self, now: Now) {
        if self.told.offer_at_ms.is_none_or(|at| now.ms < at) {
            return;
        }
        if !self.hub.terminal().unfinished().is_empty() {
            self.told.offer_at_ms = Some(now.ms + OFFER_AGAIN_MS);
            return;
        }
        self.told.offer_at_ms = None;
        if let Some(bytes) = self.clipboard.take() {
            self.hub.feed(&bytes);
        }
    }
}

/// Which parts of what a view sends its terminal said of itself where the session speaks for it: its size, and what it can of
/// what the holder answers. Whole sequences only: a view sends what its terminal says in one piece.
pub fn of_a_terminal_only(bytes: &[u8]) -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = Vec::new();
    let mut at = 0;
    while let Some(esc) = bytes[at..].iter().position(|b| *b == 0x1b) {
        let start = at + esc;
        at = start + 1;
        let Some(body) = bytes[at..].strip_prefix(b"[") else { continue };
        let Some(n) = body.iter().position(|b| !(0x20..=0x3f).contains(b)) else { continue };
        let numbers: Vec<&[u8]> = body[..n].split(|b| *b == b';').collect();
        let is = match body[n] {
            b't' => numbers.len() >= 3 && numbers[0] == b"48",
            b'y' => matches!(numbers[..], [b"?2027" | b"?2031" | b"?2048", [.., b'$']]),
            _ => false,
        };
        if is {
            at += n + 2;
            found.push(start..at);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(pieces: &[(&[u8], bool)]) -> Option<String> {
        let mut clipboard = Clipboard::default();
        for (bytes, alone) in pieces {
            clipboard.output(bytes, *alone);
        }
        clipboard.take().map(|bytes| bytes.escape_ascii().to_string())
    }

    #[test]
    fn a_clipboard_that_was_written_whole_with_nobody_there_is_kept() {
        let hello = Some(r"\x1b]52;c;aGVsbG8=\x1b\\".to_owned());
        for pieces in [
            &[(&b"text\x1b]52;c;aGVsbG8=\x07text"[..], true)][..],
            &[(b"\x1b]52;c;aGVsbG8=\x1b\\", true)],
            &[(b"\x1b]52;x;\x18\x1b]52;c;aGVs", true), (b"bG8=", false), (b"\x07", false)],
            &[(b"\x1b", true), (b"]5", true), (b"2;c;aGVsbG8=\x1b", true), (b"\\", true)],
            &[(b"\x1b]52;c;Zmlyc3Q=\x07\x1b]52;c;aGVsbG8=\x07\x1b]52;c;?\x07\x1b]52;c;\x07", true)],
            &[(b"\x1b\x1b]52;c;aGVsbG8=\x07\x1b]52;c;cut\x18", true)],
        ] {
            assert_eq!(kept(pieces), hello, "{pieces:?}");
        }
        for pieces in [
            &[(&b"\x1b]52;c;aGVsbG8=\x07"[..], false)][..],
            &[(b"\x1b]52;c;aGVsbG8=", true)],
            &[(b"\x1b]52;c;aGVs\x1b[mbG8=\x07", true)],
            &[(b"\x1b]52;c;not base 64!\x07", true)],
            &[(b"\x1b]52;\necho;aGVsbG8=\x07", true)],
            &[(b"\x1b]2;52;c;aGVsbG8=\x07", true)],
        ] {
            assert_eq!(kept(pieces), None, "{pieces:?}");
        }
    }

    #[test]
    fn one_that_is_too_long_is_not_kept_nor_one_before_it() {
        let long = vec![b'A'; CLIPBOARD_MAX];
        assert_eq!(
            kept(&[(b"\x1b]52;c;aGVsbG8=\x07\x1b]52;c;", true), (&long, true), (b"\x07", true)]),
            None
        );
        let mut clipboard = Clipboard::default();
        clipboard.output(b"\x1b]52;c;", true);
        (0..100).for_each(|_| clipboard.output(&long, true));
        assert!(clipboard.open.capacity() <= 2 * CLIPBOARD_MAX);
    }

    #[test]
    #[allow(clippy::single_range_in_vec_init)] // a list of parts, of which there is one
    fn what_a_terminal_says_of_itself_where_the_session_speaks_is_found_whole() {
        for (bytes, found) in [
            (&b"a\x1b[48;24;80;480;800tb"[..], &[1..20][..]),
            (b"\x1b[?2048;2$y\x1b[?2031;1$y", &[0..11, 11..22]),
            (b"\x1b[?2027;0$y\x1b[?2004;1$y", &[0..11]),
            (b"\x1b[8;24;80t\x1b[48;24", &[]),
            (b"\x1b[?997;1n\x1b[A", &[]),
        ] {
            assert_eq!(of_a_terminal_only(bytes), found, "{}", bytes.escape_ascii());
        }
    }
}
