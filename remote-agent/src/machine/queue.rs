//! What is typed by no view: each piece once, now or when it is time. Pure: the holder hands in what it is sent, what the job
//! is doing and the time, in milliseconds of its monotonic clock, and takes out what is to be typed.
//!
//! ```text
//!  sent ──▶ now ─────────────────────────────────────────▶ typed
//!     └───▶ queued ── the job is idle (or waits), and has ──▶ typed
//!                     settled since the one before it
//! ```
//!
//! One that was typed sets the job to work, as a rule, and that is seen a moment later: the next one waits until the job has
//! done something else in between, or has not for so long that nothing came of it.

use crate::machine::activity::{State, StateReport};
use sessd_proto::limits::{QUEUED_BYTES, QUEUED_MAX, SEND_MAX};
use sessd_proto::messages::{Send, SendPart, SendWhat, SendWhen, SentOutcome};
use sessd_terminal::{Key, Terminal};
use std::collections::VecDeque;

/// How long after one piece the next is typed though nothing came of the first, in milliseconds.
pub const SETTLE_MS: u64 = 5_000;
/// Ids of what was taken before that are remembered: whoever asks again does so within seconds.
const REMEMBERED: usize = 1024;
/// Bytes typed by no view that the job has not read, beyond which it is sent nothing more.
const UNREAD_MAX: usize = 64 * 1024;

#[derive(Debug)]
struct Piece {
    parts: Vec<SendPart>,
    when: SendWhen,
    bytes: usize,
}

/// What became of a piece.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    /// What.
    pub outcome: SentOutcome,
    /// Why it is refused.
    pub detail: &'static str,
    /// How many wait; of a cancellation, how many were dropped.
    pub queued: u32,
}

/// What is typed by no view.
#[derive(Debug, Default)]
pub struct Queue {
    taken: VecDeque<Vec<u8>>,
    waiting: VecDeque<Piece>,
    bytes: usize,
    /// When the last of those that waited was typed, while the job has done nothing else since.
    typed_ms: Option<u64>,
}

impl Queue {
    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether none does.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Takes a piece. What is to be typed at once goes to `typed`, as `model` makes bytes of it; `unread`: bytes typed by no
    /// view that the job has not read.
    pub fn take(&mut self, send: Send, unread: usize, model: &Terminal, typed: &mut Vec<u8>) -> Answer {
        let answer = |outcome, detail, queued: usize| Answer { outcome, detail, queued: queued as u32 };
        if send.cancel {
            let dropped = self.waiting.len();
            (self.waiting, self.bytes) = (VecDeque::new(), 0);
            return answer(SentOutcome::Done, "", dropped);
        }
        let when = SendWhen::try_from(send.when).unwrap_or(SendWhen::Now);
        if send.id.len() == 16 && self.taken.contains(&send.id) {
            let outcome = if when == SendWhen::Now { SentOutcome::Done } else { SentOutcome::Queued };
            return answer(outcome, "", self.waiting.len());
        }
        let bytes = send.parts.iter().map(length).sum();
        if bytes > SEND_MAX {
            return answer(
                SentOutcome::Refused,
                "it is longer than may be typed at once",
                self.waiting.len(),
            );
        }
        if !send.parts.iter().all(is_known) {
            return answer(
                SentOutcome::Refused,
                "the holder on the host does not know such a key",
                self.waiting.len(),
            );
        }
        if when == SendWhen::Now {
            if unread > 0 && unread + bytes > UNREAD_MAX {
                return answer(SentOutcome::Busy, "", self.waiting.len());
            }
            type_parts(&send.parts, model, typed);
        } else {
            if self.waiting.len() >= QUEUED_MAX || self.bytes + bytes > QUEUED_BYTES {
                let why = "as much as may waits on the host already: `sessd send --cancel` drops it";
                return answer(SentOutcome::Refused, why, self.waiting.len());
            }
            self.bytes += bytes;
            self.waiting.push_back(Piece { parts: send.parts, when, bytes });
        }
        if self.taken.len() == REMEMBERED {
            self.taken.pop_front();
        }
        self.taken.push_back(send.id);
        let outcome = if when == SendWhen::Now { SentOutcome::Done } else { SentOutcome::Queued };
        answer(outcome, "", self.waiting.len())
    }

    /// Whether the first that waits may be due, as far as the job's doing tells.
    pub fn may_be_due(&mut self, told: &StateReport, now_ms: u64) -> bool {
        // Another state, or the same that began later: it went on from what was typed.
        if self.typed_ms.is_some_and(|at| told.since_ms > at || now_ms >= at + SETTLE_MS) {
            self.typed_ms = None;
        }
        self.typed_ms.is_none() && self.waiting.front().is_some_and(|piece| is_time(piece.when, told.state))
    }

    /// What is to be typed now that the job is doing this, or nothing.
    pub fn due(&mut self, told: &StateReport, now_ms: u64, model: &Terminal) -> Option<Vec<u8>> {
        if !self.may_be_due(told, now_ms) {
            return None;
        }
        let piece = self.waiting.pop_front()?;
        self.bytes -= piece.bytes;
        self.typed_ms = Some(now_ms);
        let mut typed = Vec::new();
        type_parts(&piece.parts, model, &mut typed);
        Some(typed)
    }

    /// When the next may be due though nothing happens.
    pub fn due_ms(&self) -> Option<u64> {
        self.typed_ms.filter(|_| !self.waiting.is_empty()).map(|at| at + SETTLE_MS)
    }
}

fn is_time(when: SendWhen, state: State) -> bool {
    match when {
        SendWhen::Now => true,
        SendWhen::Idle => matches!(state, State::Done | State::Quiet),
        SendWhen::Waiting => state == State::Waiting,
    }
}

fn length(part: &SendPart) -> usize {
    match &part.what {
        Some(SendWhat::Text(bytes) | SendWhat::Paste(bytes) | SendWhat::Lines(bytes)) => bytes.len(),
        Some(SendWhat::Key(name)) => name.len(),
        None => 0,
    }
}

fn is_known(part: &SendPart) -> bool {
    match &part.what {
        Some(SendWhat::Key(name)) => Key::named(name).is_some(),
        Some(_) => true,
        // Of a later version.
        None => false,
    }
}

fn type_parts(parts: &[SendPart], model: &Terminal, typed: &mut Vec<u8>) {
    for part in parts {
        match &part.what {
            Some(SendWhat::Text(bytes)) => typed.extend_from_slice(bytes),
            Some(SendWhat::Paste(bytes)) => model.paste(bytes, typed),
            Some(SendWhat::Lines(bytes)) => model.type_lines(bytes, typed),
            Some(SendWhat::Key(name)) => {
                if let Some(key) = Key::named(name) {
                    model.press(key, typed);
                }
            }
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::activity::Source;
    use sessd_terminal::Size;

    fn model() -> Terminal {
        let mut model = Terminal::new(Size { cols: 80, rows: 24 }, 0);
        model.feed(b"\x1b[?1h");
        model
    }

    fn send(id: u8, when: SendWhen, what: SendWhat) -> Send {
        Send {
            id: vec![id; 16],
            when: when as i32,
            parts: vec![SendPart { what: Some(what) }],
            cancel: false,
        }
    }

    fn text(id: u8, when: SendWhen) -> Send {
        send(id, when, SendWhat::Text(vec![id]))
    }

    fn told(state: State, since_ms: u64) -> StateReport {
        StateReport { state, source: Source::Report, since_ms, note: String::new() }
    }

    fn take(queue: &mut Queue, send: Send) -> (SentOutcome, Vec<u8>) {
        let mut typed = Vec::new();
        let answer = queue.take(send, 0, &model(), &mut typed);
        (answer.outcome, typed)
    }

    #[test]
    fn a_piece_is_typed_once_however_often_it_is_sent_and_keys_are_those_of_the_moment() {
        let mut queue = Queue::default();
        let up = || send(7, SendWhen::Now, SendWhat::Key("Up".into()));
        assert_eq!(take(&mut queue, up()), (SentOutcome::Done, b"\x1bOA".to_vec()));
        assert_eq!(take(&mut queue, up()), (SentOutcome::Done, Vec::new()));
        assert_eq!(take(&mut queue, text(b'q', SendWhen::Idle)).0, SentOutcome::Queued);
        assert_eq!(take(&mut queue, text(b'q', SendWhen::Idle)).0, SentOutcome::Queued);
        assert_eq!(queue.len(), 1);
        let odd = send(8, SendWhen::Now, SendWhat::Key("Nokey".into()));
        assert_eq!(take(&mut queue, odd).0, SentOutcome::Refused);
    }

    #[test]
    fn what_waits_is_typed_one_by_one_each_when_the_job_is_so_again() {
        let (mut queue, model) = (Queue::default(), model());
        for id in [b'1', b'2', b'3'] {
            take(&mut queue, text(id, SendWhen::Idle));
        }
        take(&mut queue, text(b'w', SendWhen::Waiting));
        let mut due = |state, since, now| queue.due(&told(state, since), now, &model);
        assert_eq!(due(State::Working, 0, 1), None);
        assert_eq!(due(State::Waiting, 5, 6), None, "the first is for an idle one");
        assert_eq!(due(State::Done, 10, 20), Some(vec![b'1']));
        assert_eq!(due(State::Done, 10, 21), None, "it was so before");
        assert_eq!(due(State::Working, 30, 31), None);
        assert_eq!(due(State::Done, 40, 41), Some(vec![b'2']));
        assert_eq!(due(State::Done, 40, 41 + SETTLE_MS - 1), None);
        assert_eq!(due(State::Done, 40, 41 + SETTLE_MS), Some(vec![b'3']), "nothing came of the one before");
        assert_eq!(due(State::Quiet, 9_000, 9_001), None, "the last is for one that waits");
        assert_eq!(due(State::Waiting, 9_500, 9_501), Some(vec![b'w']));
        assert!(queue.is_empty() && queue.due_ms().is_none());
    }

    #[test]
    fn what_waits_is_bounded_and_can_be_dropped() {
        let mut queue = Queue::default();
        for n in 0..QUEUED_MAX as u32 {
            let mut one = text(1, SendWhen::Idle);
            one.id = [n.to_le_bytes(); 4].concat();
            assert_eq!(take(&mut queue, one).0, SentOutcome::Queued);
        }
        assert_eq!(take(&mut queue, text(200, SendWhen::Idle)).0, SentOutcome::Refused);
        let cancel = Send { cancel: true, ..Send::default() };
        let mut none = Vec::new();
        let answer = queue.take(cancel, 0, &model(), &mut none);
        assert_eq!((answer.outcome, answer.queued, queue.len()), (SentOutcome::Done, QUEUED_MAX as u32, 0));
        let long = send(9, SendWhen::Now, SendWhat::Text(vec![b'x'; 40_000]));
        assert_eq!(queue.take(long.clone(), 0, &model(), &mut none).outcome, SentOutcome::Done);
        let next = Send { id: vec![10; 16], ..long };
        assert_eq!(queue.take(next, 40_000, &model(), &mut none).outcome, SentOutcome::Busy);
    }
}
