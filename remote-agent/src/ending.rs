//! Ending a job: HUP, then TERM, then KILL of all its processes. Pure: time is an argument, signals are values.

use sessd_proto::messages::EndReason;

/// How long a job has after HUP, and again after TERM, in milliseconds.
pub const GRACE_MS: u64 = 2_000;

/// The steps, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// SIGHUP and SIGCONT: the terminal is gone.
    Hangup,
    /// SIGTERM.
    Terminate,
    /// SIGKILL.
    Kill,
}

/// An ending under way.
#[derive(Debug, Clone)]
pub struct Ending {
    /// Who wanted it, for the exit record.
    pub reason: EndReason,
    next: Option<Step>,
    due_ms: u64,
}

impl Ending {
    /// Begins at `now_ms`; `force` goes straight to KILL.
    pub fn new(reason: EndReason, force: bool, now_ms: u64) -> Self {
        Self { reason, next: Some(if force { Step::Kill } else { Step::Hangup }), due_ms: now_ms }
    }

    /// Asked again: a `force` makes it quicker, nothing makes it slower, and the first reason stays.
    pub fn hurry(&mut self, force: bool, now_ms: u64) {
        if force && self.next.is_some() {
            (self.next, self.due_ms) = (Some(Step::Kill), now_ms);
        }
    }

    /// The step that is due, once.
    pub fn step(&mut self, now_ms: u64) -> Option<Step> {
        if now_ms < self.due_ms {
            return None;
        }
        let step = self.next?;
        self.next = match step {
            Step::Hangup => Some(Step::Terminate),
            Step::Terminate => Some(Step::Kill),
            // A process that is born while we kill: once more, until the job is gone.
            Step::Kill => Some(Step::Kill),
        };
        self.due_ms = now_ms + if step == Step::Kill { 200 } else { GRACE_MS };
        Some(step)
    }

    /// When the next step is due.
    pub fn due_ms(&self) -> u64 {
        self.due_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hangup_then_term_then_kill_each_after_its_grace() {
        let mut ending = Ending::new(EndReason::Deleted, false, 100);
        assert_eq!(ending.step(100), Some(Step::Hangup));
        assert_eq!(ending.step(100), None);
        assert_eq!(ending.step(100 + GRACE_MS), Some(Step::Terminate));
        assert_eq!(ending.step(100 + 2 * GRACE_MS), Some(Step::Kill));
        assert_eq!(ending.step(100 + 2 * GRACE_MS + 200), Some(Step::Kill));
    }

    #[test]
    fn force_goes_straight_to_kill_and_the_first_reason_stays() {
        let mut ending = Ending::new(EndReason::Reaped, false, 0);
        assert_eq!(ending.step(0), Some(Step::Hangup));
        ending.hurry(true, 1);
        assert_eq!((ending.step(1), ending.reason), (Some(Step::Kill), EndReason::Reaped));
    }
}
