//! The idle clock of one job. Pure: the holder hands in what it sees and the time, in milliseconds of its monotonic clock,
//! which stands still while the host sleeps and never jumps.
//!
//! *Idle* means: no view, no input, no output, no CPU time used by the job's processes, and nothing but a shell that waits
//! at its prompt. Under the strict rule (`unattended`) only views count. Anything that cannot be seen counts as activity: an
//! error never ends a job.

/// What the holder saw of the job's processes at one look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Processes {
    /// CPU time used by all of them so far, in ticks.
    pub cpu: u64,
    /// Only one process, a shell that reads commands from its terminal.
    pub bare_prompt: bool,
}

/// Since when nothing has happened, and what follows from it.
#[derive(Debug, Clone)]
pub struct IdleClock {
    limit_ms: Option<u64>,
    unattended: bool,
    since_ms: u64,
    views: bool,
    cpu: Option<u64>,
}

impl IdleClock {
    /// Starts at `now_ms`. `limit_ms` of `None`: never reaped.
    pub fn new(limit_ms: Option<u64>, unattended: bool, now_ms: u64) -> Self {
        Self { limit_ms, unattended, since_ms: now_ms, views: false, cpu: None }
    }

    /// New limits; what has been idle so far counts.
    pub fn set_limit(&mut self, limit_ms: Option<u64>, unattended: bool) {
        (self.limit_ms, self.unattended) = (limit_ms, unattended);
    }

    /// Views came or went.
    pub fn views(&mut self, attached: bool, now_ms: u64) {
        if attached || self.views {
            self.since_ms = now_ms;
        }
        self.views = attached;
    }

    /// The job wrote, or a view typed.
    pub fn traffic(&mut self, now_ms: u64) {
        if !self.unattended {
            self.since_ms = now_ms;
        }
    }

    /// A look at the processes; `None` when they could not be seen.
    pub fn look(&mut self, seen: Option<Processes>, now_ms: u64) {
        let worked = match seen {
            None => true,
            Some(seen) => {
                let used = self.cpu.is_none_or(|before| before != seen.cpu);
                self.cpu = Some(seen.cpu);
                used || !seen.bare_prompt
            }
        };
        if self.views || (worked && !self.unattended) {
            self.since_ms = now_ms;
        }
    }

    /// How long the job has been idle.
    pub fn idle_ms(&self, now_ms: u64) -> u64 {
        if self.views { 0 } else { now_ms.saturating_sub(self.since_ms) }
    }

    /// May the job be ended now?
    pub fn is_due(&self, now_ms: u64) -> bool {
        !self.views && self.limit_ms.is_some_and(|limit| self.idle_ms(now_ms) >= limit)
    }

    /// In how long it will be due if nothing happens; told once 80 % of the limit have passed.
    pub fn warning_ms(&self, now_ms: u64) -> Option<u64> {
        let (limit, idle) = (self.limit_ms?, self.idle_ms(now_ms));
        (!self.views && idle >= limit / 10 * 8).then(|| limit.saturating_sub(idle))
    }

    /// In how long to look next: often enough for a short limit, once a minute for a long one, never where there is none.
    pub fn next_look_ms(&self) -> Option<u64> {
        Some((self.limit_ms? / 8).clamp(100, 60_000))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000;
    const DAY: u64 = 24 * HOUR;
    const PROMPT: Processes = Processes { cpu: 5, bare_prompt: true };

    /// Two days and an hour of looks, once a minute, at a job that stays as `seen`.
    fn after_two_days(unattended: bool, mut seen: impl FnMut(u64) -> Option<Processes>) -> bool {
        let mut clock = IdleClock::new(Some(2 * DAY), unattended, 0);
        (0..(2 * DAY + HOUR) / 60_000).any(|minute| {
            clock.look(seen(minute), minute * 60_000);
            clock.is_due(minute * 60_000)
        })
    }

    #[test]
    fn a_bare_prompt_goes_after_two_days_and_work_stays() {
        assert!(after_two_days(false, |_| Some(PROMPT)));
        assert!(!after_two_days(false, |_| Some(Processes { bare_prompt: false, ..PROMPT })), "sleep 3d");
        assert!(
            !after_two_days(false, |m| Some(Processes { cpu: m / 60, ..PROMPT })),
            "a little CPU each hour"
        );
        assert!(!after_two_days(false, |_| None), "what cannot be seen is not idle");
    }

    #[test]
    fn the_strict_rule_looks_at_views_only() {
        assert!(after_two_days(true, |_| Some(Processes { bare_prompt: false, ..PROMPT })));
        let mut clock = IdleClock::new(Some(2 * DAY), true, 0);
        clock.views(true, DAY);
        assert!(!clock.is_due(9 * DAY));
        clock.views(false, 9 * DAY);
        clock.traffic(10 * DAY);
        assert!(!clock.is_due(10 * DAY + 23 * HOUR));
        assert!(clock.is_due(11 * DAY));
    }

    #[test]
    fn the_warning_comes_at_four_fifths() {
        let mut clock = IdleClock::new(Some(10 * HOUR), false, 0);
        clock.look(Some(PROMPT), 0);
        assert_eq!(clock.warning_ms(7 * HOUR), None);
        assert_eq!(clock.warning_ms(8 * HOUR), Some(2 * HOUR));
        clock.traffic(8 * HOUR);
        assert_eq!(clock.warning_ms(8 * HOUR), None);
    }

    #[test]
    fn without_a_limit_nothing_is_ever_due() {
        let mut clock = IdleClock::new(None, false, 0);
        clock.look(Some(PROMPT), 0);
        assert!(!clock.is_due(u64::MAX));
        assert_eq!(clock.next_look_ms(), None);
    }
}
