//! The job's output on its way from the PTY into the hub.
//!
//! A few bytes can be much work (`CSI 65535 b` writes a whole screen), so a turn is bounded in bytes and in what they cost.
//! What the hub has not taken when the turn is over waits here, the connections get theirs, and the PTY is not read before it
//! is gone: a job that is costly to follow waits for that itself, and nobody else does.

use super::{HolderMachine, Now};
use crate::machine::end::DRAIN_MS;
use crate::machine::links::ManagerLink;
use sessd_terminal::Hub;

/// What the output of one turn may cost, as the model counts it: a millisecond or two.
const TURN_COST: u64 = 1_000_000;
/// Bytes read at a time.
const BUFFER: usize = 16 * 1024;
/// How far a lossless view may be behind before the PTY is not read.
pub(super) const LOSSLESS_LAG: u64 = 256 * 1024;

/// What was read of the PTY and the hub has not taken yet.
#[derive(Debug)]
pub(super) struct Unfed {
    buffer: Box<[u8]>,
    from: usize,
    to: usize,
    /// The model's cost at which this turn is over.
    turn_ends: u64,
}

impl Default for Unfed {
    fn default() -> Self {
        Self { buffer: vec![0; BUFFER].into(), from: 0, to: 0, turn_ends: TURN_COST }
    }
}

impl Unfed {
    fn is_empty(&self) -> bool {
        self.from == self.to
    }

    pub(super) fn begin_turn(&mut self, hub: &Hub) {
        self.turn_ends = hub.terminal().cost().saturating_add(TURN_COST);
    }
}

impl HolderMachine {
    /// Where the program's output goes; empty while none is taken.
    pub fn room(&mut self) -> &mut [u8] {
        if self.takes_output() { &mut self.unfed.buffer } else { &mut [] }
    }

    /// Is the PTY to be read?
    pub fn takes_output(&self) -> bool {
        self.pty_open && self.unfed.is_empty() && !self.held_back()
    }

    /// There is something that the hub can take without more of the PTY.
    pub fn may_feed(&self) -> bool {
        !self.unfed.is_empty() && !self.held_back()
    }

    /// A lossless view is so far behind that the job has to wait for it.
    pub(super) fn held_back(&self) -> bool {
        self.plain.waits || self.links.iter().any(|link| link.holds_back(self.hub.head()))
    }

    pub(super) fn output(&mut self, n: usize, now: Now) {
        if n > 0 {
            (self.unfed.from, self.unfed.to) = (0, n.min(self.unfed.buffer.len()));
        }
        if !self.may_feed() {
            return;
        }
        let (mut replies, mut fed) = (Vec::new(), false);
        while !self.unfed.is_empty() {
            let room = self.unfed.turn_ends.saturating_sub(self.hub.terminal().cost());
            if room == 0 {
                break;
            }
            self.feed(room, &mut replies, now);
            fed = true;
        }
        if fed {
            self.idle.traffic(now.ms);
            self.active_at_ms = now.steady_ms;
            self.activity.output(now.ms);
            self.hear_signals(now);
            self.look_at_readers(now);
            self.status_soon(now);
            if let Some(until) = &mut self.drain_until_ms {
                *until = now.ms + DRAIN_MS;
            }
        }
        self.input.answer(&replies);
        self.tell_size();
    }

    /// The hub takes what it can for so much.
    fn feed(&mut self, budget: u64, replies: &mut Vec<u8>, now: Now) {
        let bytes = &self.unfed.buffer[self.unfed.from..self.unfed.to];
        let plain = self.job.spec.plain;
        let alone = !plain && !self.links.iter().any(ManagerLink::is_interactive);
        let n = if plain {
            // Bytes that no terminal gets: nothing in them is a question.
            self.hub.feed_within(bytes, budget)
        } else if alone {
            self.hub.feed_answering_within(bytes, budget, replies)
        } else {
            let n = self.hub.feed_within(bytes, budget);
            for query in self.asked.output(&bytes[..n], now.ms) {
                self.hub.answer(&query, replies);
            }
            n
        };
        self.clipboard.output(&bytes[..n], alone);
        self.unfed.from += n;
    }

    /// The job has ended, and nothing more is waited for: all that was read counts.
    pub(super) fn feed_the_rest(&mut self, now: Now) {
        let mut replies = Vec::new();
        while !self.unfed.is_empty() {
            self.feed(u64::MAX, &mut replies, now);
        }
    }
}
