//! Who owes this view an answer, and since when. Pure: time is an argument, in milliseconds of the view's clock.
//!
//! Two are asked. The manager, with a heartbeat. And the holder, whenever something typed is not acknowledged: an input
//! frame without bytes is answered at once, even by one whose job takes no input; so what is silent is the way there, and
//! not a job that does not read. Silence is counted from a question that was asked, so that a view which was stopped itself,
//! or a machine that slept, blames nobody.

/// How often the manager is asked while nothing is typed.
const BEAT_MS: u64 = 5_000;
/// How soon after what was typed both are asked, and how often again.
const PROBE_MS: u64 = 1_000;
/// A manager on this machine that owes an answer for so long is not well.
const MANAGER_MS: u64 = 3_000;
/// What was typed and is unanswered for so long is said to be.
pub const UNANSWERED_MS: u64 = 3_000;

/// What to ask now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ask {
    /// The manager, with a heartbeat.
    pub manager: bool,
    /// The holder, with an empty input frame.
    pub holder: bool,
}

/// The questions that are open.
#[derive(Debug, Default)]
pub struct Silence {
    /// The oldest heartbeat since the manager's last word.
    manager_asked: Option<u64>,
    /// The manager's last word, or heartbeat to it.
    manager_at: u64,
    manager_heard: u64,
    holder_heard: u64,
    holder_asked: u64,
}

impl Silence {
    /// Nothing is owed at `now_ms`.
    pub fn new(now_ms: u64) -> Self {
        Self {
            manager_asked: None,
            manager_at: now_ms,
            manager_heard: now_ms,
            holder_heard: now_ms,
            holder_asked: now_ms,
        }
    }

    /// The manager said something.
    pub fn manager_spoke(&mut self, now_ms: u64) {
        (self.manager_asked, self.manager_at, self.manager_heard) = (None, now_ms, now_ms);
    }

    /// The holder said something.
    pub fn holder_spoke(&mut self, now_ms: u64) {
        self.holder_heard = now_ms;
    }

    /// Since when the holder owes an answer. `unanswered_since`: when the oldest typed byte that was sent and is not
    /// acknowledged was typed.
    fn owed_since(&self, unanswered_since: Option<u64>) -> Option<u64> {
        unanswered_since.map(|at| at.max(self.holder_heard))
    }

    /// When to look next: somebody is to be asked, or has been silent for too long.
    pub fn due_ms(&self, unanswered_since: Option<u64>, now_ms: u64) -> u64 {
        if let Some(asked) = self.manager_asked {
            let too_long = asked + MANAGER_MS;
            return if now_ms < too_long { too_long } else { u64::MAX };
        }
        let probe = self.owed_since(unanswered_since).map(|at| at.max(self.holder_asked) + PROBE_MS);
        probe.unwrap_or(u64::MAX).min(self.manager_at + BEAT_MS)
    }

    /// Whom to ask now, if anybody. One question is open at a time: what waits for a manager that is stopped must not grow.
    pub fn ask(&mut self, unanswered_since: Option<u64>, now_ms: u64) -> Ask {
        if self.manager_asked.is_some() {
            return Ask::default();
        }
        let owed = self.owed_since(unanswered_since);
        let holder = owed.is_some_and(|at| now_ms >= at.max(self.holder_asked) + PROBE_MS);
        if holder {
            self.holder_asked = now_ms;
        }
        let manager = holder || now_ms >= self.manager_at + BEAT_MS;
        if manager {
            self.manager_asked.get_or_insert(now_ms);
            self.manager_at = now_ms;
        }
        Ask { manager, holder }
    }

    /// How long the manager has been silent, once that is too long.
    pub fn of_manager(&self, now_ms: u64) -> Option<u64> {
        let silent = now_ms.saturating_sub(self.manager_asked?);
        (silent >= MANAGER_MS).then_some(silent)
    }

    /// When what was typed will have been unanswered for too long.
    pub fn unanswered_at(&self, unanswered_since: Option<u64>) -> Option<u64> {
        self.owed_since(unanswered_since).map(|at| at + UNANSWERED_MS)
    }

    /// How long what was typed has been unanswered, once that is too long. Of a manager that has said nothing since it was asked
    /// about that, it is not known who is silent.
    pub fn of_link(&self, unanswered_since: Option<u64>, now_ms: u64) -> Option<u64> {
        let owed = self.owed_since(unanswered_since)?;
        let silent = now_ms.saturating_sub(owed);
        (silent >= UNANSWERED_MS && self.manager_heard >= owed + PROBE_MS).then_some(silent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOBODY: Ask = Ask { manager: false, holder: false };
    const MANAGER: Ask = Ask { manager: true, holder: false };
    const BOTH: Ask = Ask { manager: true, holder: true };

    #[test]
    fn a_manager_that_is_stopped_is_noticed_within_nine_seconds_and_one_that_answers_never() {
        let mut silence = Silence::new(0);
        let mut noticed = None;
        for now in 0..60_000 {
            if silence.ask(None, now) != NOBODY && now < 20_000 {
                silence.manager_spoke(now + 1);
            }
            if silence.of_manager(now).is_some() {
                noticed.get_or_insert(now);
            }
        }
        assert!(noticed.is_some_and(|at| (23_000..29_000).contains(&at)), "{noticed:?}");
        silence.manager_spoke(60_000);
        assert_eq!(silence.of_manager(60_000), None);
    }

    #[test]
    fn unanswered_keys_are_said_after_three_seconds_and_asked_about_each_second() {
        let mut silence = Silence::new(0);
        assert_eq!(silence.ask(Some(10_000), 10_000), MANAGER);
        silence.manager_spoke(10_001);
        let mut asked = Vec::new();
        for now in 10_000..13_000 {
            if silence.ask(Some(10_000), now).holder {
                asked.push(now);
                silence.manager_spoke(now);
            }
            assert_eq!(silence.of_link(Some(10_000), now), None);
        }
        assert_eq!(asked, [11_000, 12_000]);
        assert_eq!(silence.of_link(Some(10_000), 13_000), Some(3_000));
        assert_eq!(silence.of_link(None, 13_000), None);
        assert_eq!(silence.of_manager(13_000), None, "it is not the manager");
    }

    #[test]
    fn of_a_manager_that_is_stopped_the_host_is_not_blamed() {
        let mut silence = Silence::new(0);
        silence.manager_spoke(10_000);
        let mut blamed = None;
        for now in (10_000..20_000).step_by(10) {
            silence.ask(Some(10_000), now);
            assert_eq!(silence.of_link(Some(10_000), now), None, "at {now}");
            blamed = blamed.or(silence.of_manager(now).map(|_| now));
        }
        assert_eq!(blamed, Some(11_000 + MANAGER_MS));
        // It goes on, and still nothing is heard of the job.
        silence.manager_spoke(20_000);
        assert_eq!(silence.of_link(Some(10_000), 20_000), Some(10_000));
    }

    #[test]
    fn a_job_that_takes_no_input_is_no_silence() {
        let mut silence = Silence::new(0);
        for now in 1_000..60_000 {
            if silence.ask(Some(1_000), now) == BOTH {
                silence.manager_spoke(now);
                silence.holder_spoke(now + 1);
            }
            assert_eq!((silence.of_link(Some(1_000), now), silence.of_manager(now)), (None, None));
        }
    }

    #[test]
    fn a_view_that_was_stopped_blames_nobody() {
        let mut silence = Silence::new(0);
        assert_eq!(silence.due_ms(None, 0), BEAT_MS);
        assert_eq!(silence.of_manager(3_600_000), None);
        assert_eq!(silence.ask(None, 3_600_000), MANAGER);
        assert_eq!(silence.of_manager(3_600_000), None);
    }
}
