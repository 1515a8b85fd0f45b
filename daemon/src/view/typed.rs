//! What was typed, until the holder says it was written to the PTY. Pure: time is an argument, in milliseconds.
//!
//! Bytes are numbered from 0 over the view's whole life. After every break in the path to the holder what is not
//! acknowledged is sent again; the holder drops what it has seen. What has become too old meanwhile is *withdrawn*: its
//! numbers stay used, its bytes are never sent again. A control key is old after moments: a Ctrl-C that stops something
//! minutes later is worse than none.

use sessd_proto::limits::INPUT_WINDOW;
use std::collections::VecDeque;

/// Typed bytes that are held while nothing can be sent.
pub const HELD_MAX: usize = 64 * 1024;
/// Bytes read from the terminal ahead of what the holder takes, while it takes them: a paste waits in the terminal.
pub const AHEAD_MAX: usize = 256 * 1024;
/// Age at which held text is withdrawn.
pub const TEXT_MS: u64 = 30_000;
/// Age at which a held Ctrl-C, Ctrl-D, Ctrl-Z or Ctrl-\ is withdrawn, and what a terminal answered: who asked has given
/// up by then, and the answer would be taken for keys.
pub const CONTROL_MS: u64 = 1_000;

#[derive(Debug)]
struct Piece {
    seq: u64,
    bytes: Vec<u8>,
    typed_at: u64,
    /// Worth nothing after moments.
    perishable: bool,
}

/// Input on its way.
#[derive(Debug, Default)]
pub struct Outgoing {
    /// What is neither acknowledged nor withdrawn, in order, with gaps where something was withdrawn.
    pieces: VecDeque<Piece>,
    /// The number the next typed byte gets.
    next: u64,
    /// The holder has written everything before this number.
    acknowledged: u64,
    /// Everything before this number was sent over the present path, or needs not be.
    sent: u64,
    /// Bytes typed since nothing can be sent.
    held: usize,
    /// Bytes refused or withdrawn since last asked.
    dropped: usize,
}

/// A frame to send.
#[derive(Debug, PartialEq, Eq)]
pub struct ToSend<'a> {
    /// Number of its first byte.
    pub seq: u64,
    /// What was before it and not sent never will be.
    pub withdrawn: bool,
    /// The bytes.
    pub bytes: &'a [u8],
}

fn is_control(byte: u8) -> bool {
    matches!(byte, 0x03 | 0x04 | 0x1a | 0x1c)
}

impl Outgoing {
    /// Nothing typed yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes typed and neither acknowledged nor withdrawn.
    pub fn waiting(&self) -> usize {
        self.pieces.iter().map(|p| p.bytes.len()).sum()
    }

    /// Bytes that may still be typed before they are refused, while nothing can be sent.
    pub fn room(&self) -> usize {
        HELD_MAX - self.held
    }

    /// Bytes that were lost since this was last asked, because too much was held or it was held too long.
    pub fn take_dropped(&mut self) -> usize {
        std::mem::take(&mut self.dropped)
    }

    /// Keys were typed. `held`: nothing can be sent now, so what is beyond [`HELD_MAX`] is refused.
    pub fn typed(&mut self, bytes: &[u8], held: bool, now_ms: u64) {
        // What was on its way when the path broke does not count: most of it has arrived, and only the word of it has not.
        let room = if held { HELD_MAX - self.held } else { usize::MAX };
        let (keep, refused) = bytes.split_at(bytes.len().min(room));
        self.held = if held { self.held + keep.len() } else { 0 };
        self.dropped += refused.len();
        // Control keys are pieces of their own, so that they can be withdrawn alone.
        for bytes in keep.chunk_by(|a, b| !is_control(*a) && !is_control(*b)) {
            let perishable = bytes.first().copied().is_some_and(is_control);
            self.add(bytes, perishable, now_ms);
        }
    }

    /// Our terminal answered a question of the job. Never held, so never refused.
    pub fn answered(&mut self, bytes: &[u8], now_ms: u64) {
        self.add(bytes, true, now_ms);
    }

    fn add(&mut self, bytes: &[u8], perishable: bool, now_ms: u64) {
        if !bytes.is_empty() {
            self.pieces.push_back(Piece {
                seq: self.next,
                bytes: bytes.to_vec(),
                typed_at: now_ms,
                perishable,
            });
            self.next += bytes.len() as u64;
        }
    }

    /// Everything before `seq` was written to the PTY.
    pub fn acknowledged(&mut self, seq: u64) {
        // A holder that says more than was typed speaks of nothing we know.
        let seq = seq.min(self.next);
        self.acknowledged = self.acknowledged.max(seq);
        self.sent = self.sent.max(self.acknowledged);
        while let Some(first) = self.pieces.front_mut() {
            let Some(done) = self.acknowledged.checked_sub(first.seq).filter(|n| *n > 0) else { break };
            if (done as usize) < first.bytes.len() {
                first.bytes.drain(..done as usize);
                first.seq += done;
                break;
            }
            self.pieces.pop_front();
        }
    }

    /// The path to the holder is a new one: what is not acknowledged is sent again, but for what is too old.
    pub fn path_is_new(&mut self, now_ms: u64) {
        self.withdraw_old(now_ms);
        self.held = 0;
        self.sent = self.acknowledged;
    }

    /// Withdraws what is too old to be sent, while nothing can be sent.
    pub fn withdraw_old(&mut self, now_ms: u64) {
        self.pieces.retain(|piece| {
            let keep =
                now_ms.saturating_sub(piece.typed_at) < if piece.perishable { CONTROL_MS } else { TEXT_MS };
            if !keep {
                self.dropped += piece.bytes.len();
                self.held = self.held.saturating_sub(piece.bytes.len());
            }
            keep
        });
    }

    /// The next frame to send, while the window has room; it counts as sent.
    pub fn next_to_send(&mut self) -> Option<ToSend<'_>> {
        let sent = self.sent;
        let piece = self.pieces.iter().find(|p| p.seq + p.bytes.len() as u64 > sent)?;
        let seq = piece.seq.max(sent);
        let Some(room) = (self.acknowledged + INPUT_WINDOW).checked_sub(seq).filter(|n| *n > 0) else {
            if seq == sent {
                return None;
            }
            // So much was withdrawn that the window is full of nothing: the holder is told, and its answer opens it.
            self.sent = seq;
            return Some(ToSend { seq, withdrawn: true, bytes: &[] });
        };
        let from = (seq - piece.seq) as usize;
        let until = piece.bytes.len().min(from + usize::try_from(room).unwrap_or(usize::MAX));
        self.sent = piece.seq + until as u64;
        Some(ToSend { seq, withdrawn: seq > sent, bytes: &piece.bytes[from..until] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(outgoing: &mut Outgoing) -> Vec<(u64, bool, Vec<u8>)> {
        let mut all = Vec::new();
        while let Some(frame) = outgoing.next_to_send() {
            all.push((frame.seq, frame.withdrawn, frame.bytes.to_vec()));
        }
        all
    }

    #[test]
    fn what_is_not_acknowledged_is_sent_again_on_a_new_path() {
        let mut out = Outgoing::new();
        out.typed(b"abc", false, 0);
        assert_eq!(sent(&mut out), [(0, false, b"abc".to_vec())]);
        assert_eq!(sent(&mut out), []);
        out.acknowledged(1);
        out.path_is_new(10);
        assert_eq!(sent(&mut out), [(1, false, b"bc".to_vec())]);
        out.acknowledged(3);
        out.path_is_new(20);
        assert_eq!((sent(&mut out), out.waiting()), (vec![], 0));
    }

    #[test]
    fn a_control_key_is_never_sent_stale_and_the_text_around_it_is() {
        let mut out = Outgoing::new();
        out.typed(b"ls\x03vi", true, 0);
        out.path_is_new(CONTROL_MS);
        assert_eq!(sent(&mut out), [(0, false, b"ls".to_vec()), (3, true, b"vi".to_vec())]);
        assert_eq!((out.take_dropped(), out.take_dropped()), (1, 0));
        let mut out = Outgoing::new();
        out.typed(b"\x03", true, 0);
        out.path_is_new(CONTROL_MS - 1);
        assert_eq!(sent(&mut out), [(0, false, b"\x03".to_vec())], "a moment ago is not stale");
    }

    #[test]
    fn an_answer_is_as_stale_as_a_control_key() {
        let mut out = Outgoing::new();
        out.typed(b"a", false, 0);
        out.answered(b"\x1b[1;1R", 0);
        out.typed(b"b", false, 0);
        assert_eq!(sent(&mut out).len(), 3);
        out.path_is_new(CONTROL_MS);
        assert_eq!(sent(&mut out), [(0, false, b"a".to_vec()), (7, true, b"b".to_vec())]);
    }

    #[test]
    fn text_is_held_for_its_time_and_no_more_than_its_bound() {
        let mut out = Outgoing::new();
        out.typed(&vec![b'x'; HELD_MAX + 5], true, 0);
        assert_eq!((out.waiting(), out.take_dropped()), (HELD_MAX, 5));
        out.withdraw_old(TEXT_MS - 1);
        assert_eq!(out.waiting(), HELD_MAX);
        out.withdraw_old(TEXT_MS);
        assert_eq!((out.waiting(), out.take_dropped()), (0, HELD_MAX));
        out.typed(b"y", true, TEXT_MS);
        // More was withdrawn than the window is wide: that is said first, and the answer to it opens the window.
        assert_eq!(sent(&mut out), [(HELD_MAX as u64, true, b"".to_vec())]);
        out.acknowledged(HELD_MAX as u64);
        assert_eq!(sent(&mut out), [(HELD_MAX as u64, false, b"y".to_vec())]);
    }

    #[test]
    fn no_more_than_the_window_is_on_its_way() {
        let mut out = Outgoing::new();
        out.typed(&vec![b'x'; 3 * INPUT_WINDOW as usize], false, 0);
        let first: usize = sent(&mut out).iter().map(|(.., b)| b.len()).sum();
        assert_eq!(first as u64, INPUT_WINDOW);
        out.acknowledged(INPUT_WINDOW);
        let second: usize = sent(&mut out).iter().map(|(.., b)| b.len()).sum();
        assert_eq!(second as u64, INPUT_WINDOW);
    }
}
