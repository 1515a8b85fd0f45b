//! The job's output on its way from the PTY into the hub.
//!
//! A few bytes can be much work (`CSI 65535 b` writes a whole screen), so a turn is bounded in bytes and in what they cost.
//! What the hub has not taken when the turn is over waits here, the connections get theirs, and the PTY is not read before it
//! is gone: a job that is costly to follow waits for that itself, and nobody else does.

use super::Holder;
use super::end::DRAIN_MS;
use crate::{pty, steady_ms};

/// Bytes taken from the PTY before the connections get their turn.
const TURN: usize = 64 * 1024;
/// What they may cost, as the model counts it: a millisecond or two.
const TURN_COST: u64 = 1_000_000;
/// So few bytes are all there was, as a rule: they are passed on before we look for more. Where there is more, the poll tells.
const SHORT: usize = 256;

/// What was read of the PTY and the hub has not taken yet.
pub(super) struct Unfed {
    buffer: Box<[u8]>,
    from: usize,
    to: usize,
}

impl Default for Unfed {
    fn default() -> Self {
        Self { buffer: vec![0; 16 * 1024].into(), from: 0, to: 0 }
    }
}

impl Unfed {
    pub(super) fn is_empty(&self) -> bool {
        self.from == self.to
    }
}

impl Holder {
    /// There is something that the hub can take without more of the PTY.
    pub(super) fn may_feed(&self) -> bool {
        !self.unfed.is_empty() && !self.held_back()
    }

    pub(super) fn read_pty(&mut self) {
        let (mut replies, mut taken, mut fed) = (Vec::new(), 0, false);
        let end = self.hub.terminal().cost().saturating_add(TURN_COST);
        loop {
            if self.unfed.is_empty() {
                if taken >= TURN {
                    break;
                }
                match pty::read(&self.pty.master, &mut self.unfed.buffer) {
                    Ok(None) => break,
                    Ok(Some(0)) | Err(_) => {
                        self.pty_open = false;
                        self.input.clear();
                        break;
                    }
                    Ok(Some(n)) => {
                        taken = if n < SHORT { TURN } else { taken + n };
                        (self.unfed.from, self.unfed.to) = (0, n);
                    }
                }
            }
            let room = end.saturating_sub(self.hub.terminal().cost());
            if room == 0 {
                break;
            }
            self.feed(room, &mut replies);
            fed = true;
        }
        if fed {
            let now = self.now();
            self.idle.traffic(now);
            self.active_at_ms = steady_ms();
            self.status_soon(now);
            if let Some(until) = &mut self.drain_until_ms {
                *until = now + DRAIN_MS;
            }
        }
        self.input.answer(&replies);
    }

    /// The hub takes what it can for so much.
    fn feed(&mut self, budget: u64, replies: &mut Vec<u8>) {
        let bytes = &self.unfed.buffer[self.unfed.from..self.unfed.to];
        self.unfed.from += if self.links.iter().any(|link| link.watch.presence.interactive) {
            let n = self.hub.feed_within(bytes, budget);
            self.asked.output(&bytes[..n], self.began.elapsed().as_millis() as u64);
            n
        } else {
            self.hub.feed_answering_within(bytes, budget, replies)
        };
    }

    /// The job has ended, and nothing more is waited for: all that was read counts.
    pub(super) fn feed_the_rest(&mut self) {
        let mut replies = Vec::new();
        while !self.unfed.is_empty() {
            self.feed(u64::MAX, &mut replies);
        }
    }
}
