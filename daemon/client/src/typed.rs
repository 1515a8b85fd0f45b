//! What was typed, until the holder says it was written to the PTY. Pure: time is an argument, in milliseconds.
//!
//! Bytes are numbered from 0 over the view's whole life. After every break in the path to the holder what is not
//! acknowledged is sent again; the holder drops what it has seen. What has become too old meanwhile is *withdrawn*: its
//! numbers stay used, its bytes are never sent again. A control key is old after moments: a Ctrl-C that stops something
//! minutes later is worse than none.
//!
//! What is typed is one thing, and a job that gets the end of it without the middle may do what nobody meant: from the
//! first byte that is dropped, everything is, until the path is back and the person was told. So what reaches the job of
//! what was typed over a break is always its beginning.
//!
//! A byte that was given to no path is *dropped*, and never arrives. One that was given to a path and withdrawn before the
//! holder's word came is *doubtful*: it may have arrived. The holder says which did when the path is back, and takes none
//! of the others from then on, whatever path they come by.

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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Text,
    /// Worth nothing after moments.
    Control,
    /// Not typed, but said by our terminal; worth nothing after moments, and nothing hangs on it.
    Answer,
}

#[derive(Debug)]
struct Piece {
    seq: u64,
    bytes: Vec<u8>,
    typed_at: u64,
    what: What,
}

impl Piece {
    /// When it is too old to be sent.
    fn old_at(&self) -> u64 {
        self.typed_at + if self.what == What::Text { TEXT_MS } else { CONTROL_MS }
    }
}

/// Withdrawn bytes of which it is not known whether they arrived.
#[derive(Debug)]
struct Doubt {
    /// Everything before this was withdrawn with them.
    to: u64,
    /// Each with the number of its first byte.
    pieces: Vec<(u64, Vec<u8>)>,
}

/// Keys that were typed and not delivered, since last told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lost {
    /// These never arrive.
    pub dropped: usize,
    /// These may have arrived.
    pub doubtful: usize,
}

impl Lost {
    /// Is there anything to tell?
    pub fn any(self) -> bool {
        self.dropped + self.doubtful > 0
    }
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
    /// Everything before this number was given to some path.
    given: u64,
    /// What the holder has not seen before this number is withdrawn, and it is to be told so.
    withdrawn: u64,
    /// Up to here some path was told of it.
    withdrawal_given: u64,
    /// Bytes typed since nothing can be sent.
    held: usize,
    /// Something was dropped, so all that is typed is.
    refuses: bool,
    doubt: Option<Doubt>,
    /// The holder was asked over the present path what became of it.
    asked: bool,
    /// Keys that were dropped for certain, or stay doubtful, and were not told yet.
    lost: Lost,
    /// The holder speaks of less than it has written: it has forgotten us.
    forgotten: bool,
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

/// How many keys a person pressed for these bytes, as far as bytes tell: an escape sequence is one, and so is a character.
pub fn keys(bytes: &[u8]) -> usize {
    let (mut count, mut at) = (0, 0);
    while at < bytes.len() {
        at += match &bytes[at..] {
            [0x1b, b'[' | b'O', rest @ ..] => {
                2 + rest.iter().position(|b| (0x40..0x7f).contains(b)).map_or(rest.len(), |n| n + 1)
            }
            [0x1b, 0x20..=0xff, ..] => 2,
            // The rest of a character.
            [0x80..=0xbf, ..] => {
                at += 1;
                continue;
            }
            _ => 1,
        };
        count += 1;
    }
    count
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

    /// The same in keys, without what our terminal said.
    pub fn waiting_keys(&self) -> usize {
        self.pieces.iter().filter(|p| p.what != What::Answer).map(|p| keys(&p.bytes)).sum()
    }

    /// When the oldest typed byte was typed that was sent over the present path and not acknowledged.
    pub fn unanswered_since(&self) -> Option<u64> {
        self.pieces.iter().find(|p| p.what != What::Answer && p.seq < self.sent).map(|p| p.typed_at)
    }

    /// Everything before this number was sent over the present path, or needs not be.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// The number that the next typed byte gets.
    pub fn typed_so_far(&self) -> u64 {
        self.next
    }

    /// Bytes that may still be typed before they are refused, while nothing can be sent.
    pub fn room(&self) -> usize {
        HELD_MAX - self.held
    }

    /// Is what is typed refused, because something before it was dropped?
    pub fn refuses(&self) -> bool {
        self.refuses
    }

    /// What was lost so far and not told, with what is doubtful now.
    pub fn lost(&self) -> Lost {
        let doubtful = self.doubt.iter().flat_map(|d| &d.pieces).map(|(_, bytes)| keys(bytes)).sum::<usize>();
        Lost { doubtful: self.lost.doubtful + doubtful, ..self.lost }
    }

    /// Does the holder still have to say what became of something?
    pub fn is_in_doubt(&self) -> bool {
        self.doubt.is_some()
    }

    /// The person is told, or there is nothing to tell: what is typed from now on is sent.
    pub fn told(&mut self) -> Lost {
        let lost = self.lost();
        (self.refuses, self.doubt, self.lost) = (false, None, Lost::default());
        lost
    }

    /// Keys were typed. `held`: nothing can be sent now, so what is beyond [`HELD_MAX`] is refused. False when some of it was
    /// refused.
    pub fn typed(&mut self, bytes: &[u8], held: bool, now_ms: u64) -> bool {
        if held {
            // A byte that comes after one that is too old must not be kept without it.
            self.withdraw_old(now_ms);
        }
        // What was on its way when the path broke does not count: most of it has arrived, and only the word of it has not.
        let room = match (self.refuses, held) {
            (true, _) => 0,
            (false, true) => HELD_MAX - self.held,
            (false, false) => usize::MAX,
        };
        let (keep, refused) = bytes.split_at(bytes.len().min(room));
        self.held = if held { self.held + keep.len() } else { 0 };
        // Control keys are pieces of their own, so that they can be withdrawn alone.
        for bytes in keep.chunk_by(|a, b| !is_control(*a) && !is_control(*b)) {
            let control = bytes.first().copied().is_some_and(is_control);
            self.add(bytes, if control { What::Control } else { What::Text }, now_ms);
        }
        if !refused.is_empty() {
            self.refuses = true;
            self.lost.dropped += keys(refused);
        }
        refused.is_empty()
    }

    /// Our terminal answered a question of the job. Never held, so never refused.
    pub fn answered(&mut self, bytes: &[u8], now_ms: u64) {
        self.add(bytes, What::Answer, now_ms);
    }

    fn add(&mut self, bytes: &[u8], what: What, now_ms: u64) {
        if !bytes.is_empty() {
            self.pieces.push_back(Piece { seq: self.next, bytes: bytes.to_vec(), typed_at: now_ms, what });
            self.next += bytes.len() as u64;
        }
    }

    /// Everything before `seq` was written to the PTY.
    pub fn acknowledged(&mut self, seq: u64) {
        // A holder that says more than was typed speaks of nothing we know.
        let seq = seq.min(self.next);
        if seq < self.acknowledged {
            // One that remembers us never says less than before. What it has forgotten it must not wait for.
            self.forgotten = true;
            self.sent = self.acknowledged;
            return;
        }
        self.acknowledged = seq;
        self.sent = self.sent.max(seq);
        while let Some(first) = self.pieces.front_mut() {
            let Some(done) = seq.checked_sub(first.seq).filter(|n| *n > 0) else { break };
            if (done as usize) < first.bytes.len() {
                first.bytes.drain(..done as usize);
                first.seq += done;
                break;
            }
            self.pieces.pop_front();
        }
        if let Some(doubt) = &mut self.doubt
            && (seq < doubt.to || self.withdrawal_given < doubt.to)
        {
            // They had arrived before the holder could know that they were withdrawn.
            doubt.arrived(seq);
            self.doubt.take_if(|doubt| doubt.pieces.is_empty());
        }
    }

    /// The holder says: of what was withdrawn before `to`, the bytes from `from` on had not arrived, and never will.
    pub fn withdrawn(&mut self, from: u64, to: u64) {
        let Some(doubt) = self.doubt.as_mut().filter(|doubt| from <= doubt.to && doubt.to <= to) else {
            return;
        };
        doubt.arrived(from);
        self.lost.dropped += doubt.pieces.iter().map(|(_, bytes)| keys(bytes)).sum::<usize>();
        self.doubt = None;
    }

    /// The path to the holder is a new one: what is not acknowledged is sent again, but for what is too old.
    pub fn path_is_new(&mut self, now_ms: u64) {
        self.path_is_back(now_ms);
        self.sent = self.acknowledged;
        self.asked = false;
    }

    /// The path to the holder carries again what it is given.
    pub fn path_is_back(&mut self, now_ms: u64) {
        self.withdraw_old(now_ms);
        self.held = 0;
    }

    /// The job it was typed for has ended, and another is there, which nothing of it is for. Numbers begin anew.
    pub fn job_is_new(&mut self) {
        let mut lost = self.lost();
        for piece in self.pieces.iter().filter(|piece| piece.what != What::Answer) {
            let given = self.given.saturating_sub(piece.seq).min(piece.bytes.len() as u64) as usize;
            let (given, never_given) = piece.bytes.split_at(given);
            (lost.doubtful, lost.dropped) = (lost.doubtful + keys(given), lost.dropped + keys(never_given));
        }
        *self = Self { lost, ..Self::default() };
    }

    /// When something that is kept is too old to be sent.
    pub fn old_at(&self) -> Option<u64> {
        self.pieces.iter().map(Piece::old_at).min()
    }

    /// Withdraws what is too old to be sent, while nothing can be sent, and all that was typed after it.
    pub fn withdraw_old(&mut self, now_ms: u64) {
        let too_old = |piece: &Piece| now_ms >= piece.old_at();
        self.pieces.retain(|piece| piece.what != What::Answer || !too_old(piece));
        let Some(first) = self.pieces.iter().position(too_old) else { return };
        self.refuses = true;
        self.withdrawn = self.next;
        // What was sent of it over the present path is followed by the word that it was withdrawn, too: the answer says what
        // became of it.
        self.sent = self.sent.min(self.pieces[first].seq);
        let mut doubtful = Vec::new();
        for mut piece in self.pieces.drain(first..) {
            if piece.what == What::Answer {
                continue;
            }
            let given = self.given.saturating_sub(piece.seq).min(piece.bytes.len() as u64) as usize;
            let never_given = piece.bytes.split_off(given);
            self.lost.dropped += keys(&never_given);
            self.held = self.held.saturating_sub(piece.bytes.len() + never_given.len());
            if !piece.bytes.is_empty() {
                doubtful.push((piece.seq, piece.bytes));
            }
        }
        if !doubtful.is_empty() || self.doubt.is_some() {
            let doubt = self.doubt.get_or_insert(Doubt { to: 0, pieces: Vec::new() });
            doubt.to = self.withdrawn;
            self.asked = false;
            doubt.pieces.append(&mut doubtful);
        }
    }

    /// The next frame to send, while the window has room; it counts as sent.
    pub fn next_to_send(&mut self) -> Option<ToSend<'_>> {
        if std::mem::take(&mut self.forgotten) {
            return Some(self.withdrawal(self.acknowledged));
        }
        let sent = self.sent;
        // The answer may have been lost with the path before.
        if let Some(to) = self.doubt.as_ref().map(|doubt| doubt.to)
            && sent >= to
            && !std::mem::replace(&mut self.asked, true)
        {
            return Some(self.withdrawal(to));
        }
        let Some(at) = self.pieces.iter().position(|p| p.seq + p.bytes.len() as u64 > sent) else {
            // Nothing comes after what was withdrawn: that it was is told all the same, before it can come late.
            return (self.withdrawn > sent).then(|| self.withdrawal(self.withdrawn));
        };
        let seq = self.pieces[at].seq.max(sent);
        let Some(room) = (self.acknowledged + INPUT_WINDOW).checked_sub(seq).filter(|n| *n > 0) else {
            if seq == sent {
                return None;
            }
            // So much was withdrawn that the window is full of nothing: the holder is told, and its answer opens it.
            return Some(self.withdrawal(seq));
        };
        let piece = &self.pieces[at];
        let from = (seq - piece.seq) as usize;
        let until = piece.bytes.len().min(from + usize::try_from(room).unwrap_or(usize::MAX));
        self.sent = piece.seq + until as u64;
        self.given = self.given.max(self.sent);
        if seq > sent {
            self.withdrawal_given = self.withdrawal_given.max(seq);
            self.asked = true;
        }
        Some(ToSend { seq, withdrawn: seq > sent, bytes: &piece.bytes[from..until] })
    }

    /// Says that what was not sent before `seq` never will be.
    fn withdrawal(&mut self, seq: u64) -> ToSend<'static> {
        self.sent = self.sent.max(seq);
        self.withdrawal_given = self.withdrawal_given.max(seq);
        self.asked |= self.doubt.as_ref().is_none_or(|doubt| doubt.to <= seq);
        ToSend { seq, withdrawn: true, bytes: &[] }
    }
}

impl Doubt {
    /// Bytes before `seq` have arrived.
    fn arrived(&mut self, seq: u64) {
        self.pieces.retain_mut(|(at, bytes)| {
            let here = (seq.saturating_sub(*at) as usize).min(bytes.len());
            bytes.drain(..here);
            *at += here as u64;
            !bytes.is_empty()
        });
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

    fn lost(dropped: usize, doubtful: usize) -> Lost {
        Lost { dropped, doubtful }
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
    fn a_command_is_never_run_without_its_middle() {
        // `rm -rf /data` stands at the prompt; the rest of the name is typed into a dead link, and later Enter.
        let mut out = Outgoing::new();
        assert!(out.typed(b"/tmp/old", true, 0));
        out.withdraw_old(TEXT_MS);
        assert_eq!(out.lost(), lost(8, 0));
        assert!(!out.typed(b"\r", true, TEXT_MS + 1_000), "Enter is refused, and the person hears it");
        out.path_is_new(TEXT_MS + 5_000);
        assert!(!out.typed(b"\r", false, TEXT_MS + 5_001), "until the person was told");
        assert_eq!(sent(&mut out), [(8, true, vec![])], "and the holder");
        assert_eq!(out.told(), lost(10, 0));
        assert!(out.typed(b"ls", false, TEXT_MS + 6_000));
        assert_eq!(sent(&mut out), [(8, false, b"ls".to_vec())]);
    }

    #[test]
    fn an_enter_typed_in_the_moment_the_rest_grows_too_old_is_refused() {
        let mut out = Outgoing::new();
        out.typed(b"/tmp/old", true, 0);
        assert!(!out.typed(b"\r", true, TEXT_MS));
        assert_eq!((out.waiting(), out.lost()), (0, lost(9, 0)));
    }

    #[test]
    fn a_control_key_is_never_sent_stale_and_takes_with_it_what_was_typed_after() {
        let mut out = Outgoing::new();
        out.typed(b"ls\x03vi", true, 0);
        out.path_is_new(CONTROL_MS);
        assert_eq!(sent(&mut out), [(0, false, b"ls".to_vec()), (5, true, vec![])]);
        assert_eq!((out.told(), out.told()), (lost(3, 0), lost(0, 0)));
        let mut out = Outgoing::new();
        out.typed(b"\x03", true, 0);
        out.path_is_new(CONTROL_MS - 1);
        assert_eq!(sent(&mut out), [(0, false, b"\x03".to_vec())], "a moment ago is not stale");
    }

    #[test]
    fn an_answer_is_as_stale_as_a_control_key_and_nothing_hangs_on_it() {
        let mut out = Outgoing::new();
        out.typed(b"a", false, 0);
        out.answered(b"\x1b[1;1R", 0);
        out.typed(b"b", false, 0);
        assert_eq!(sent(&mut out).len(), 3);
        out.path_is_new(CONTROL_MS);
        assert_eq!(sent(&mut out), [(0, false, b"a".to_vec()), (7, true, b"b".to_vec())]);
        assert_eq!((out.lost(), out.refuses()), (lost(0, 0), false));
    }

    /// Three keys in the network, two held, all grown too old; the path is new and the holder was told.
    fn in_doubt() -> Outgoing {
        let mut out = Outgoing::new();
        out.typed(b"abc", false, 0);
        sent(&mut out);
        out.typed(b"de", true, 100);
        assert_eq!(out.lost(), lost(0, 0));
        out.withdraw_old(TEXT_MS);
        assert_eq!((out.lost(), out.is_in_doubt()), (lost(2, 3), true));
        out.path_is_new(TEXT_MS + 1);
        assert_eq!(sent(&mut out), [(5, true, vec![])]);
        out
    }

    #[test]
    fn what_was_in_the_network_is_doubtful_until_the_holder_says_what_came() {
        let mut out = in_doubt();
        out.withdrawn(1, 5);
        assert_eq!((out.is_in_doubt(), out.told()), (false, lost(4, 0)));
        // It came after all, before the withdrawal did.
        let mut out = in_doubt();
        out.withdrawn(3, 5);
        assert_eq!(out.told(), lost(2, 0));
        // The answer was lost with its path, and is given again on the next.
        let mut out = in_doubt();
        out.path_is_new(TEXT_MS + 9);
        assert_eq!(sent(&mut out), [(5, true, vec![])]);
        out.withdrawn(0, 5);
        assert_eq!(out.told(), lost(5, 0));
    }

    #[test]
    fn a_holder_that_does_not_say_leaves_it_doubtful() {
        let mut out = in_doubt();
        out.acknowledged(5);
        assert_eq!((sent(&mut out), out.is_in_doubt()), (vec![], true));
        // An answer that was lost with its path is asked for once more on the next.
        out.path_is_new(TEXT_MS + 9);
        assert_eq!(sent(&mut out), [(5, true, vec![])]);
        assert_eq!(out.told(), lost(2, 3), "at some time the person is told");
        assert_eq!((sent(&mut out), out.is_in_doubt()), (vec![], false));
    }

    #[test]
    fn a_path_that_thaws_brings_what_it_was_given() {
        let mut out = Outgoing::new();
        out.typed(b"a\x03", false, 0);
        sent(&mut out);
        out.withdraw_old(CONTROL_MS);
        assert_eq!((out.lost(), out.refuses()), (lost(0, 1), true));
        out.path_is_back(CONTROL_MS + 1);
        // The same path carries the word of it behind the key, and the answer says that the key had come.
        assert_eq!(sent(&mut out), [(2, true, vec![])]);
        out.acknowledged(1);
        out.withdrawn(2, 2);
        assert_eq!((out.is_in_doubt(), out.told()), (false, lost(0, 0)));
        // Or its acknowledgement comes first.
        let mut out = Outgoing::new();
        out.typed(b"\x03", false, 0);
        sent(&mut out);
        out.withdraw_old(CONTROL_MS);
        out.acknowledged(1);
        assert_eq!((out.is_in_doubt(), out.told()), (false, lost(0, 0)));
    }

    #[test]
    fn a_holder_that_has_forgotten_the_view_is_told_where_it_stands() {
        let mut out = Outgoing::new();
        out.typed(b"abc", false, 0);
        sent(&mut out);
        out.acknowledged(3);
        out.typed(b"d", false, 1);
        assert_eq!(sent(&mut out), [(3, false, b"d".to_vec())]);
        out.acknowledged(0);
        assert_eq!(sent(&mut out), [(3, true, vec![]), (3, false, b"d".to_vec())]);
        out.acknowledged(4);
        assert_eq!(out.waiting(), 0);
    }

    #[test]
    fn text_is_held_for_its_time_and_no_more_than_its_bound() {
        let mut out = Outgoing::new();
        assert!(!out.typed(&vec![b'x'; HELD_MAX + 5], true, 0));
        assert_eq!((out.waiting(), out.lost()), (HELD_MAX, lost(5, 0)));
        assert!(!out.typed(b"y", true, 1), "nothing comes after a hole");
        out.withdraw_old(TEXT_MS - 1);
        assert_eq!(out.waiting(), HELD_MAX);
        out.withdraw_old(TEXT_MS);
        assert_eq!((out.waiting(), out.told()), (0, lost(HELD_MAX + 6, 0)));
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

    #[test]
    fn what_was_typed_for_a_job_that_is_over_is_told_and_not_typed_into_the_next() {
        let mut out = Outgoing::new();
        out.typed(b"done", false, 0);
        sent(&mut out);
        out.acknowledged(4);
        out.typed(b"on its way", false, 0);
        sent(&mut out);
        out.typed(b"kept", true, 1);
        out.answered(b"\x1b[1;1R", 1);
        out.job_is_new();
        assert_eq!(out.lost(), Lost { dropped: 4, doubtful: 10 });
        assert_eq!((out.waiting(), out.refuses(), out.next_to_send()), (0, false, None));
        out.typed(b"new", false, 2);
        assert_eq!(sent(&mut out), [(0, false, b"new".to_vec())]);
        assert_eq!(out.told(), Lost { dropped: 4, doubtful: 10 });
    }

    #[test]
    fn keys_are_counted_as_a_person_does() {
        for (bytes, count) in [
            (&b""[..], 0),
            (b"ls -l\r", 6),
            ("\u{e9}\u{65e5}".as_bytes(), 2),
            (b"\x1b[A\x1bOP\x1b[1;5C\x1b[92;5u", 4),
            (b"\x1b", 1),
            (b"\x1bx\x03", 2),
        ] {
            assert_eq!(keys(bytes), count, "{bytes:?}");
        }
    }
}
