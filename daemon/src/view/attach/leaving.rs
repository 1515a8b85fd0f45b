//! How a view ends: what is left to show is shown, who must know is told, and nothing that was meant for the session reaches
//! the user's shell: late answers of the terminal, the rest of a paste.

use super::{ANSWER_MS, Outcome, View};
use crate::view::{signals, terminal};
use rustix::event::{PollFd, PollFlags, Timespec};
use sessd_proto::docs::error::Result;
use std::time::{Duration, Instant};

/// When the view leaves: how long the manager may take to hear that and to say where the text ends.
const FAREWELL: Duration = Duration::from_millis(1_000);
/// The same for one that is silent already.
const BRIEFLY: Duration = Duration::from_millis(50);
/// When the view leaves: how long at the least, by what earlier answers took, and at the most to wait for answers that are on
/// their way, so that they do not go to the user's shell.
const LATE_ANSWER: std::ops::Range<Duration> = Duration::from_millis(500)..Duration::from_millis(3_000);
/// Asked last (DSR 5, which all terminals answer), behind whatever is half said.
const LAST_QUESTION: &[u8] = b"\x18\x1b\\\x1b[5n";
/// Its answers, with 7-bit and with 8-bit controls.
const LAST_ANSWERS: [&[u8]; 4] = [b"\x1b[0n", b"\x9b0n", b"\xc2\x9b0n", b"\x1b[3n"];

/// When the view leaves: how long what is pasted between marks may pause, and what comes in one go without them, so that the
/// rest of it is not taken for typed into the user's shell; and how long all of it may take, unless a signal told us to go.
const PASTE_PAUSES: Duration = Duration::from_millis(1_000);
const BURST_PAUSES: Duration = Duration::from_millis(100);
const PASTE_MAX: Duration = Duration::from_secs(10);
const PASTE_MAX_TOLD: Duration = Duration::from_millis(500);
/// Bytes in one go that nobody types.
const PASTED: usize = 256;

/// How much is typed in one go. Times are the view's, in milliseconds.
#[derive(Debug, Default)]
pub(super) struct Burst {
    bytes: usize,
    at: u64,
}

impl Burst {
    /// So many bytes were read.
    pub(super) fn read(&mut self, bytes: usize, now: u64) {
        if !self.is_now(now) {
            self.bytes = 0;
        }
        self.bytes = self.bytes.saturating_add(bytes);
        self.at = now;
    }

    fn is_now(&self, now: u64) -> bool {
        now < self.at + BURST_PAUSES.as_millis() as u64
    }

    /// More of what nobody types may be on its way.
    fn goes_on(&self, now: u64) -> bool {
        self.bytes >= PASTED && self.is_now(now)
    }
}

impl View<'_> {
    /// What is left to show is shown first: the last words of a job belong to its end.
    pub(super) fn leave(&mut self, outcome: Outcome) -> Result<Outcome> {
        self.settle(matches!(outcome, Outcome::Signal(_)));
        if matches!(outcome, Outcome::Detached { .. } | Outcome::Signal(_)) {
            self.say_farewell(matches!(outcome, Outcome::Detached { .. }));
        }
        terminal::leave_below(self.text_rows.and_then(|rows| u16::try_from(rows).ok()));
        Ok(outcome)
    }

    /// Nothing of ours is on the terminal, all that is to be shown is, and no answer of it is on its way.
    fn settle(&mut self, told_to_go: bool) {
        if told_to_go && self.written < self.to_terminal.len() {
            // A terminal that does not take what it is given must not keep us from going.
            self.to_terminal.clear();
            self.written = 0;
        } else {
            self.take_back();
            self.unsay();
        }
        while self.written < self.to_terminal.len() {
            let before = self.written;
            self.write_terminal(true);
            if self.written == before && !self.to_terminal.is_empty() {
                break;
            }
        }
        self.await_answers(told_to_go);
    }

    /// We are told to stop: the terminal is the shell's until we go on. False: nobody could let us go on, so we did not.
    pub(super) fn stop(&mut self) -> Result<bool> {
        if !signals::somebody_lets_us_go_on() {
            return Ok(false);
        }
        self.settle(true);
        terminal::lend(self.plain, self.wide, signals::stop)?;
        Ok(true)
    }

    /// Tells the manager that we leave on purpose, and hears where the text on our terminal ends. If the manager is gone
    /// there is nobody to tell; one that does not listen is not waited for long.
    fn say_farewell(&mut self, listen: bool) {
        if self.lost.is_some() {
            return;
        }
        self.core.leave();
        let silent = self.core.manager_silent_ms().is_some();
        let _ = self.client.stream.set_nonblocking(false);
        let _ = self.client.stream.set_write_timeout(Some(if silent { BRIEFLY } else { FAREWELL }));
        self.flush_manager();
        let until = Instant::now() + if silent { BRIEFLY } else { FAREWELL };
        while listen && self.text_rows.is_none() && self.lost.is_none() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || self.client.stream.set_read_timeout(Some(left)).is_err() {
                return;
            }
            // What is still shown to us is not shown any more; the sentence at the end counts.
            match self.read_manager() {
                Ok(None) => {}
                Ok(Some(_)) | Err(_) => return,
            }
        }
    }

    /// What our terminal still answers is not for the user's shell. Terminals answer in order: a question of our own is asked
    /// last, and when that is answered there is nothing more to come. One that never answers is not waited for long.
    fn await_answers(&mut self, told_to_go: bool) {
        let now = self.now();
        let fresh = |at: u64| now < at + ANSWER_MS;
        let asked = self.unanswered > 0 && fresh(self.asked_at);
        let asked = asked || self.maybe_asked_at.is_some_and(fresh);
        // What was there before the session is worth a moment, so that it can be given back.
        if self.plain || !(asked || terminal::awaits_answers(now)) {
            return;
        }
        self.to_terminal.extend_from_slice(LAST_QUESTION);
        self.write_terminal(true);
        let most = match self.slowest_answer {
            _ if told_to_go => LATE_ANSWER.end / 8,
            0 if !asked => LATE_ANSWER.start,
            0 => LATE_ANSWER.end / 2,
            slowest => Duration::from_millis(4 * slowest).clamp(LATE_ANSWER.start, LATE_ANSWER.end),
        };
        let until = Instant::now() + most;
        let mut answers = Vec::new();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let mut buffer = [0; 4096];
            match read_within(left, &mut buffer) {
                Some(n) if !left.is_zero() => {
                    self.keys.swallow(&terminal::typed(&buffer[..n], self.now()));
                    answers.extend_from_slice(&buffer[..n]);
                }
                _ => return,
            }
            let is_last = |end: &[u8]| answers.windows(end.len()).any(|bytes| bytes == end);
            if LAST_ANSWERS.iter().any(|answer| is_last(answer)) {
                return;
            }
            // The end of it may be cut; nothing before that is needed.
            answers.drain(..answers.len().saturating_sub(8));
        }
    }

    /// What is still coming of a paste was meant for the session: the user's shell would run it.
    pub(super) fn swallow_paste(&mut self, told_to_go: bool) {
        let most = if told_to_go { PASTE_MAX_TOLD } else { PASTE_MAX };
        let until = Instant::now() + most;
        while self.stdin_open {
            let pause = match (self.keys.is_pasting(), self.burst.goes_on(self.now())) {
                (true, _) => PASTE_PAUSES,
                (false, true) => BURST_PAUSES,
                (false, false) => Duration::ZERO,
            };
            let left = until.saturating_duration_since(Instant::now());
            let mut buffer = [0; 16 * 1024];
            match read_within(pause.min(left), &mut buffer) {
                Some(n) if !left.is_zero() => {
                    self.burst.read(n, self.now());
                    self.keys.swallow(&buffer[..n]);
                }
                _ => return,
            }
        }
    }
}

/// Reads what is typed, if anything comes in time.
fn read_within(time: Duration, buffer: &mut [u8]) -> Option<usize> {
    let timeout = Timespec { tv_sec: time.as_secs() as i64, tv_nsec: time.subsec_nanos().into() };
    let mut fds = [PollFd::from_borrowed_fd(rustix::stdio::stdin(), PollFlags::IN)];
    if !matches!(rustix::event::poll(&mut fds, Some(&timeout)), Ok(1..)) {
        return None;
    }
    rustix::io::read(rustix::stdio::stdin(), buffer).ok().filter(|n| *n > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_in_one_go_is_no_typing() {
        let mut burst = Burst::default();
        for at in 0..1_000 {
            burst.read(3, at * 120);
            assert!(!burst.goes_on(at * 120), "typed");
        }
        for at in 0..10 {
            burst.read(100, 200_000 + at * 50);
        }
        assert!(burst.goes_on(200_500) && !burst.goes_on(200_600));
    }
}
