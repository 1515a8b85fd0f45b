//! Is an answer late? What somebody waits for (a key that is not acknowledged, a heartbeat while a view is open) comes within
//! a few round trips, or the connection is dead long before it is given up.
//!
//! What is heard is what counts, and not the very answer: a job that does not read its input acknowledges nothing, and a
//! host that sends a flood answers behind it. So the agent is asked, soon after what was typed, for a word of its own.

use std::time::Duration;

/// An answer that takes longer than this many round trips is late.
const ROUND_TRIPS: u32 = 3;
/// The least that it may take: a host may be busy.
const AT_LEAST: Duration = Duration::from_millis(250);
/// What it may take while no round trip is known.
const UNKNOWN: Duration = Duration::from_secs(1);
/// The clock was looked at so much later than was due: this machine was busy, or slept, and what came meanwhile was not read.
const OURSELVES: Duration = Duration::from_millis(100);

/// The watch over answers. Times are the link's.
#[derive(Debug, Default)]
pub(super) struct Late {
    /// Since when something is not answered.
    since: Option<Duration>,
    /// Since then the agent was asked for a word.
    asked: bool,
    late: bool,
    /// The smoothed round trip, how much it varies, and the shortest seen.
    rtt: Option<Duration>,
    varies: Duration,
    shortest: Duration,
}

/// What a check of the clock comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Check {
    Nothing,
    /// Ask the agent for a word.
    Ask,
    /// An answer is late from now on.
    Late,
}

impl Late {
    pub(super) fn is_late(&self) -> bool {
        self.late
    }

    /// Is an answer waited for?
    pub(super) fn waits(&self) -> bool {
        self.since.is_some()
    }

    /// How long an answer may take.
    fn limit(&self) -> Duration {
        // Where it varies much, as that of a host that is busy, TCP would wait that much longer, too.
        self.rtt.map_or(UNKNOWN, |rtt| (rtt * ROUND_TRIPS).max(rtt + self.varies * 4).max(AT_LEAST))
    }

    /// Something was sent that is answered. `asked`: by the agent itself.
    pub(super) fn sent(&mut self, now: Duration, asked: bool) {
        self.since.get_or_insert(now);
        self.asked |= asked;
    }

    /// The agent answered what it was asked `rtt` ago: whatever was sent until then is waited for no more, however quick it is.
    pub(super) fn answered(&mut self, now: Duration, rtt: Duration) {
        self.measured(rtt);
        // Asked when is known to the microsecond.
        if self.since.is_some_and(|since| since.as_micros() <= now.saturating_sub(rtt).as_micros()) {
            (self.since, self.asked) = (None, false);
        }
    }

    fn measured(&mut self, rtt: Duration) {
        self.shortest = if self.rtt.is_some() { self.shortest.min(rtt) } else { rtt };
        // As TCP smooths its own (RFC 6298).
        self.varies = self.rtt.map_or(rtt / 2, |old| (self.varies * 3 + old.abs_diff(rtt)) / 4);
        self.rtt = Some(self.rtt.map_or(rtt, |old| (old * 7 + rtt) / 8));
    }

    /// Something was heard. True: an answer is late no more.
    pub(super) fn heard(&mut self, now: Duration) -> bool {
        // What comes sooner than any answer could was on its way before.
        let soonest = self.shortest * 7 / 8;
        if self.since.is_some_and(|since| now.saturating_sub(since) >= soonest) {
            (self.since, self.asked) = (None, false);
        }
        std::mem::take(&mut self.late)
    }

    /// When to look at the clock. `heard`: when anything was heard last.
    pub(super) fn deadline(&self, heard: Duration) -> Option<Duration> {
        let since = self.since.filter(|_| !self.late)?;
        let late = since.max(heard) + self.limit();
        Some(if self.asked { late } else { late.min(since + self.limit() / 2) })
    }

    /// Looks at the clock.
    pub(super) fn check(&mut self, now: Duration, heard: Duration) -> Check {
        let Some(due) = self.deadline(heard).filter(|due| now >= *due) else { return Check::Nothing };
        if now > due + OURSELVES {
            (self.since, self.asked) = (Some(now), true);
            return Check::Ask;
        }
        if !self.asked {
            self.asked = true;
            return Check::Ask;
        }
        self.late = true;
        Check::Late
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// After something was sent at 1 s: when the agent is asked and when the answer is late. `rtt`: of the link.
    fn run(rtt: Option<u64>) -> (u64, u64) {
        let mut late = Late::default();
        rtt.into_iter().for_each(|rtt| late.measured(ms(rtt)));
        late.sent(ms(1_000), false);
        let asked = late.deadline(ms(900)).unwrap();
        assert_eq!(late.check(asked - ms(1), ms(900)), Check::Nothing);
        assert_eq!(late.check(asked, ms(900)), Check::Ask);
        let at = late.deadline(ms(900)).unwrap();
        assert_eq!(late.check(at, ms(900)), Check::Late);
        assert_eq!((late.is_late(), late.deadline(ms(900))), (true, None));
        let after = |at: Duration| at.as_millis() as u64 - 1_000;
        (after(asked), after(at))
    }

    #[test]
    fn an_answer_is_late_after_three_round_trips_and_never_before_a_quarter_of_a_second() {
        for (rtt, expected) in [
            (Some(0), (125, 250)),
            (Some(20), (125, 250)),
            (Some(83), (125, 250)),
            (Some(100), (150, 300)),
            (Some(300), (450, 900)),
            (None, (500, 1_000)),
        ] {
            assert_eq!(run(rtt), expected, "{rtt:?}");
        }
    }

    #[test]
    fn a_round_trip_that_varies_is_waited_for_longer() {
        let mut late = Late::default();
        for rtt in [10, 300, 10, 300, 10, 300] {
            late.measured(ms(rtt));
        }
        let varied = late.limit();
        assert!(varied > ms(500) && varied < ms(1_500), "{varied:?}");
        for _ in 0..40 {
            late.measured(ms(10));
        }
        assert_eq!(late.limit(), AT_LEAST);
    }

    #[test]
    fn what_was_on_its_way_before_is_no_answer_and_what_comes_later_is() {
        let mut late = Late::default();
        late.measured(ms(100));
        late.sent(ms(1_000), false);
        assert!(!late.heard(ms(1_040)));
        assert!(late.waits(), "an answer takes a hundred");
        // The silence begins with the last that was heard.
        assert_eq!(late.check(ms(1_150), ms(1_040)), Check::Ask);
        assert_eq!(late.deadline(ms(1_040)), Some(ms(1_340)));
        assert!(!late.heard(ms(1_250)));
        assert!(!late.waits());
    }

    #[test]
    fn a_flood_that_the_answer_waits_behind_is_no_silence() {
        let mut late = Late::default();
        late.measured(ms(200));
        late.sent(ms(0), true);
        for now in (10..170).step_by(10) {
            assert!(!late.heard(ms(now)));
            assert_eq!(late.check(ms(now), ms(now)), Check::Nothing);
        }
    }

    #[test]
    fn an_answer_that_is_quicker_than_any_before_is_one() {
        let mut late = Late::default();
        late.measured(ms(40));
        late.sent(ms(1_000), true);
        assert!(!late.heard(ms(1_003)));
        assert!(late.waits(), "by its time alone it may have been on its way");
        late.answered(ms(1_003), ms(3));
        assert!(!late.waits());
        // One to what was asked before says nothing of what was sent since.
        late.sent(ms(2_000), false);
        late.answered(ms(2_010), ms(20));
        assert!(late.waits());
    }

    #[test]
    fn it_is_late_once_and_over_with_the_first_word() {
        let mut late = Late::default();
        late.measured(ms(10));
        late.sent(ms(0), true);
        assert_eq!(late.check(ms(250), ms(0)), Check::Late);
        late.sent(ms(300), true);
        assert_eq!(late.check(ms(900), ms(0)), Check::Nothing, "it is known");
        assert!(late.heard(ms(1_000)), "it is over");
        assert!(!late.heard(ms(1_001)));
        assert!(!late.waits());
    }

    #[test]
    fn a_machine_that_was_busy_or_slept_asks_first() {
        let mut late = Late::default();
        late.measured(ms(10));
        late.sent(ms(0), true);
        assert_eq!(late.check(ms(60_000), ms(0)), Check::Ask);
        assert_eq!(late.deadline(ms(0)), Some(ms(60_250)));
        assert_eq!(late.check(ms(60_250), ms(0)), Check::Late);
    }
}
