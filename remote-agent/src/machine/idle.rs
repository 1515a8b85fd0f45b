//! The idle clock of one job. Pure: the holder hands in what it sees and the time, in milliseconds of its monotonic clock,
//! which stands still while the host sleeps and never jumps.
//!
//! *Idle* means: no view, no input, no output, no CPU time used by the job's processes, and nothing but a shell that waits
//! at its prompt. Under the strict rule (`unattended`) only views count. Anything that cannot be seen counts as activity: an
//! error never ends a job.
//!
//! ```text
//!                  ┌───────────── anything happens ──────────────┐
//!                  ▼                                             │
//!  active ──▶ idle, counted ── 80 % of the limit ──▶ warned ── the limit ──▶ due: the holder ends the job
//! ```
//!
//! The limit is the session's; for an anonymous session whose last view left on purpose it is an hour at the most. A view
//! that was lost with its link is expected back, so it does not start that hour.

/// Limit of an anonymous session that its last view left on purpose, in milliseconds.
pub const LEFT_LIMIT_MS: u64 = 3_600_000;
/// How often every process of the host is read for one job that seems idle, in milliseconds. In between only the shell
/// itself is looked at, so that a thousand holders cost the host nothing.
const THOROUGH_MS: u64 = 3_600_000;
/// Longest time between two looks, in milliseconds.
const LOOK_MS: u64 = 60_000;

/// What the holder saw of the job's processes at one look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Processes {
    /// CPU time used so far by the job's first process and the children it waited for, in ticks.
    pub cpu: u64,
    /// Only one process, a shell that reads commands from its terminal.
    pub bare_prompt: bool,
}

/// How closely to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// At the shell and its own children.
    Shell,
    /// At every process of the job, also those whose parent is gone.
    Session,
}

/// What the clock has to know of the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rules {
    /// `None`: never reaped.
    pub limit_ms: Option<u64>,
    /// The strict rule: only views count.
    pub unattended: bool,
    /// The session has no name.
    pub anonymous: bool,
}

/// Since when nothing has happened, and what follows from it.
#[derive(Debug, Clone)]
pub struct IdleClock {
    rules: Rules,
    /// Since when nothing at all has happened.
    idle_since_ms: u64,
    /// Since when there has been no view.
    unattended_since_ms: u64,
    views: bool,
    left_on_purpose: bool,
    cpu: Option<u64>,
    /// The last look saw nothing but a shell at its prompt.
    at_prompt: bool,
    looked_ms: Option<u64>,
    thorough_ms: Option<u64>,
}

impl IdleClock {
    /// Starts at `now_ms`.
    pub fn new(rules: Rules, now_ms: u64) -> Self {
        Self {
            rules,
            idle_since_ms: now_ms,
            unattended_since_ms: now_ms,
            views: false,
            left_on_purpose: false,
            cpu: None,
            at_prompt: false,
            looked_ms: None,
            thorough_ms: Some(now_ms),
        }
    }

    /// New rules; what has been idle so far counts.
    pub fn set_rules(&mut self, rules: Rules) {
        self.rules = rules;
    }

    /// Views came or went. `on_purpose`: the last one left because its user wanted to.
    pub fn views(&mut self, attached: bool, on_purpose: bool, now_ms: u64) {
        if attached || self.views {
            (self.idle_since_ms, self.unattended_since_ms) = (now_ms, now_ms);
            self.left_on_purpose = false;
        }
        // Said once it stays said: a manager that comes back without views does not take it back.
        self.left_on_purpose |= on_purpose && !attached;
        self.views = attached;
    }

    /// The job wrote, or a view typed.
    pub fn traffic(&mut self, now_ms: u64) {
        self.idle_since_ms = now_ms;
    }

    /// How closely the next look has to be made. Nothing is warned of, and nothing ended, on a glance alone.
    pub fn depth(&self, now_ms: u64) -> Depth {
        let long_ago = self.thorough_ms.is_none_or(|at| now_ms.saturating_sub(at) >= THOROUGH_MS);
        let unproved = self.counted().is_some_and(|(since, limit)| {
            let warn_at = since.saturating_add(warn_after(limit));
            now_ms >= warn_at && self.thorough_ms.is_none_or(|at| at < warn_at)
        });
        if long_ago || unproved || self.is_due(now_ms) { Depth::Session } else { Depth::Shell }
    }

    /// A look at the processes; `None` when they could not be seen. Whether they have worked since the last one.
    pub fn look(&mut self, seen: Option<Processes>, depth: Depth, now_ms: u64) -> bool {
        self.looked_ms = Some(now_ms);
        if depth == Depth::Session {
            self.thorough_ms = Some(now_ms);
        }
        let worked = match seen {
            None => true,
            Some(seen) => {
                let used = self.cpu.is_none_or(|before| before != seen.cpu);
                self.cpu = Some(seen.cpu);
                used || !seen.bare_prompt
            }
        };
        self.at_prompt = seen.is_some_and(|seen| seen.bare_prompt);
        if worked {
            self.idle_since_ms = now_ms;
        }
        worked
    }

    /// A view is attached: nothing has to be looked at.
    pub fn is_watched(&self) -> bool {
        self.views
    }

    /// How long the job has been idle; 0 when it is not and the next look would say the same. Under the strict rule that is
    /// since when nobody has looked, whatever runs: it is what the limit is counted from.
    pub fn idle_ms(&self, now_ms: u64) -> u64 {
        let since = match (self.rules.unattended, self.at_prompt) {
            _ if self.views => return 0,
            (true, _) => self.unattended_since_ms,
            (false, true) => self.idle_since_ms,
            (false, false) => return 0,
        };
        now_ms.saturating_sub(since).max(1)
    }

    /// The limit that holds now.
    fn limit_ms(&self) -> Option<u64> {
        let hour = self.rules.anonymous && self.left_on_purpose;
        self.rules.limit_ms.map(|limit| if hour { limit.min(LEFT_LIMIT_MS) } else { limit })
    }

    /// Since when the limit is counted, and the limit; `None` while nothing is counted.
    fn counted(&self) -> Option<(u64, u64)> {
        let since = if self.rules.unattended { self.unattended_since_ms } else { self.idle_since_ms };
        self.limit_ms().filter(|_| !self.views).map(|limit| (since, limit))
    }

    /// May the job be ended now?
    pub fn is_due(&self, now_ms: u64) -> bool {
        self.counted().is_some_and(|(since, limit)| now_ms.saturating_sub(since) >= limit)
    }

    /// In how long it will be due if nothing happens; told once 80 % of the limit have passed.
    pub fn warning_ms(&self, now_ms: u64) -> Option<u64> {
        let (since, limit) = self.counted()?;
        let passed = now_ms.saturating_sub(since);
        (passed >= warn_after(limit)).then(|| limit.saturating_sub(passed))
    }

    /// When to look next, by the clock of `now_ms`: often enough for a short limit, once a minute for a long one, and at
    /// the moments that count. Never while nothing is counted.
    pub fn next_look_ms(&self, now_ms: u64) -> Option<u64> {
        let (since, limit) = self.counted()?;
        let step = self.looked_ms.map_or(now_ms, |at| at + (limit / 8).clamp(100, LOOK_MS));
        let moments = [since + warn_after(limit), since.saturating_add(limit)];
        Some(
            moments
                .into_iter()
                .filter(|at| self.looked_ms.is_none_or(|looked| *at > looked))
                .fold(step, u64::min),
        )
    }
}

fn warn_after(limit_ms: u64) -> u64 {
    limit_ms / 10 * 8
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HOUR: u64 = 3_600_000;
    const DAY: u64 = 24 * HOUR;
    const PROMPT: Processes = Processes { cpu: 5, bare_prompt: true };
    const WORK: Processes = Processes { bare_prompt: false, ..PROMPT };
    const TWO_DAYS: Rules = Rules { limit_ms: Some(2 * DAY), unattended: false, anonymous: false };
    const STRICT: Rules = Rules { unattended: true, ..TWO_DAYS };

    #[test]
    fn under_the_strict_rule_what_is_told_is_since_when_nobody_has_looked() {
        let mut clock = IdleClock::new(STRICT, 0);
        clock.traffic(HOUR);
        clock.look(Some(WORK), Depth::Session, HOUR);
        assert_eq!(clock.idle_ms(2 * HOUR), 2 * HOUR, "whatever runs");
        clock.views(true, false, 3 * HOUR);
        assert_eq!(clock.idle_ms(4 * HOUR), 0);
        clock.views(false, true, 5 * HOUR);
        assert_eq!(clock.idle_ms(5 * HOUR + 7), 7);
        let mut clock = IdleClock::new(TWO_DAYS, 0);
        clock.look(Some(WORK), Depth::Session, HOUR);
        assert_eq!(clock.idle_ms(2 * HOUR), 0);
    }

    /// Looks when the clock wants to, as the holder does, until the job is due or `until_ms`; when it was due.
    fn run(
        clock: &mut IdleClock,
        from_ms: u64,
        until_ms: u64,
        mut seen: impl FnMut(u64, Depth) -> Option<Processes>,
    ) -> Option<u64> {
        let mut now = from_ms;
        while now <= until_ms {
            let depth = clock.depth(now);
            clock.look(seen(now, depth), depth, now);
            if clock.is_due(now) {
                return Some(now);
            }
            now = clock.next_look_ms(now).unwrap_or(now + LOOK_MS).max(now + 1);
        }
        None
    }

    fn after_two_days(rules: Rules, seen: impl FnMut(u64, Depth) -> Option<Processes>) -> Option<u64> {
        run(&mut IdleClock::new(rules, 0), 0, 2 * DAY + HOUR, seen)
    }

    #[test]
    fn a_bare_prompt_goes_after_two_days_and_work_stays() {
        assert_eq!(after_two_days(TWO_DAYS, |_, _| Some(PROMPT)), Some(2 * DAY));
        assert_eq!(after_two_days(TWO_DAYS, |_, _| Some(WORK)), None, "sleep 3d, or a stopped job");
        assert_eq!(
            after_two_days(TWO_DAYS, |_, depth| Some(if depth == Depth::Session { WORK } else { PROMPT })),
            None,
            "a background child whose parent is gone, seen by a thorough look only"
        );
        assert_eq!(
            after_two_days(TWO_DAYS, |ms, _| Some(Processes { cpu: ms / HOUR, ..PROMPT })),
            None,
            "a silent build"
        );
        assert_eq!(after_two_days(TWO_DAYS, |_, _| None), None, "what cannot be seen is not idle");
        assert_eq!(after_two_days(Rules { limit_ms: None, ..TWO_DAYS }, |_, _| Some(PROMPT)), None, "never");
    }

    #[test]
    fn the_strict_rule_looks_at_views_only() {
        assert_eq!(after_two_days(STRICT, |_, _| Some(WORK)), Some(2 * DAY));
        assert_eq!(after_two_days(STRICT, |_, _| None), Some(2 * DAY));
        let mut clock = IdleClock::new(STRICT, 0);
        clock.look(Some(PROMPT), Depth::Session, 0);
        clock.views(true, false, DAY);
        assert!(!clock.is_due(9 * DAY));
        clock.views(false, true, 9 * DAY);
        clock.traffic(10 * DAY);
        assert_eq!(clock.idle_ms(10 * DAY + HOUR), DAY + HOUR, "what is shown is what is counted");
        assert!(!clock.is_due(10 * DAY + 23 * HOUR));
        assert!(clock.is_due(11 * DAY));
    }

    #[test]
    fn an_anonymous_session_left_on_purpose_has_an_hour() {
        let anonymous = Rules { anonymous: true, ..TWO_DAYS };
        let left = |rules, on_purpose| {
            let mut clock = IdleClock::new(rules, 0);
            clock.look(Some(PROMPT), Depth::Session, 0);
            clock.views(true, false, 0);
            clock.views(false, on_purpose, DAY);
            clock
        };
        let prompt = |_, _| Some(PROMPT);
        assert_eq!(run(&mut left(anonymous, true), DAY, 9 * DAY, prompt), Some(DAY + HOUR));
        assert_eq!(
            run(&mut left(anonymous, false), DAY, 9 * DAY, prompt),
            Some(3 * DAY),
            "lost with its link: it comes back"
        );
        assert_eq!(run(&mut left(TWO_DAYS, true), DAY, 9 * DAY, prompt), Some(3 * DAY), "it has a name");
        assert_eq!(
            run(&mut left(anonymous, true), DAY, 9 * DAY, |_, _| Some(WORK)),
            None,
            "work stays here too"
        );
        let never = Rules { limit_ms: None, ..anonymous };
        assert_eq!(run(&mut left(never, true), DAY, 9 * DAY, prompt), None);

        let mut clock = left(anonymous, true);
        // The manager's link was cut and came back, without views: the hour runs on.
        clock.views(false, false, DAY + HOUR / 2);
        assert!(clock.is_due(DAY + HOUR));
        // Somebody came back and was lost with the link: two days.
        clock.views(true, false, DAY + HOUR / 2);
        clock.views(false, false, DAY + HOUR);
        assert!(!clock.is_due(2 * DAY));
        // It got a name.
        let mut clock = left(anonymous, true);
        clock.set_rules(TWO_DAYS);
        assert!(!clock.is_due(2 * DAY));
    }

    #[test]
    fn only_what_the_last_look_found_at_a_prompt_is_idle() {
        let table = [
            (None, 0),
            (Some(WORK), 0),
            (Some(Processes { cpu: 6, ..WORK }), 0),
            (Some(PROMPT), HOUR),
            (Some(Processes { cpu: 6, ..PROMPT }), 1),
        ];
        for (seen, idle) in table {
            let mut clock = IdleClock::new(TWO_DAYS, 0);
            assert_eq!(clock.idle_ms(HOUR), 0, "nobody has looked");
            clock.look(Some(PROMPT), Depth::Session, 0);
            let worked = clock.look(seen, Depth::Shell, HOUR);
            assert_eq!((clock.idle_ms(HOUR), worked), (idle, idle <= 1), "{seen:?}");
            clock.views(true, false, HOUR);
            assert_eq!(clock.idle_ms(2 * HOUR), 0, "{seen:?} and a view");
        }
        let mut clock = IdleClock::new(TWO_DAYS, 0);
        clock.look(Some(PROMPT), Depth::Session, 0);
        clock.traffic(HOUR);
        assert_eq!(clock.idle_ms(HOUR), 1, "it wrote just now and will be idle if that was all");
    }

    #[test]
    fn the_warning_comes_at_four_fifths_and_goes_with_activity() {
        let mut clock = IdleClock::new(Rules { limit_ms: Some(10 * HOUR), ..TWO_DAYS }, 0);
        clock.look(Some(PROMPT), Depth::Session, 0);
        assert_eq!(clock.warning_ms(7 * HOUR), None);
        assert_eq!(clock.warning_ms(8 * HOUR), Some(2 * HOUR));
        clock.traffic(8 * HOUR);
        assert_eq!(clock.warning_ms(8 * HOUR), None);
    }

    #[test]
    fn the_looks_are_a_minute_apart_and_fall_on_the_moments_that_count() {
        let mut clock = IdleClock::new(Rules { limit_ms: Some(10 * HOUR + 1_000), ..TWO_DAYS }, 500);
        let mut looks = Vec::new();
        let due = run(&mut clock, 500, DAY, |ms, depth| {
            looks.push((ms, depth));
            Some(PROMPT)
        });
        assert_eq!(due, Some(10 * HOUR + 1_500));
        assert!(looks.len() <= 10 * 60 + 3, "{} looks in ten hours", looks.len());
        assert!(looks.iter().any(|(ms, _)| *ms == 500 + (10 * HOUR + 1_000) / 10 * 8), "at the warning");
        assert_eq!(IdleClock::new(Rules { limit_ms: None, ..TWO_DAYS }, 0).next_look_ms(0), None);
    }

    proptest! {
        /// Whatever happens, a job is due only if nothing happened for the whole limit before.
        #[test]
        fn nothing_is_due_before_its_limit(events in proptest::collection::vec((0u8..5, 1u64..90_000), 1..200), strict: bool) {
            let limit = 300_000;
            let mut clock = IdleClock::new(Rules { limit_ms: Some(limit), unattended: strict, anonymous: false }, 0);
            let (mut now, mut last, mut views) = (0, 0, false);
            for (event, wait) in events {
                now += wait;
                let due = clock.is_due(now);
                prop_assert!(!due || (!views && now - last >= limit));
                match event {
                    0 => { clock.views(true, false, now); views = true; last = now; }
                    1 => { clock.views(false, true, now); if views { last = now; } views = false; }
                    2 => { clock.traffic(now); if !strict { last = now; } }
                    3 => { clock.look(Some(WORK), Depth::Shell, now); if !strict { last = now; } }
                    _ => { clock.look(Some(Processes { cpu: 5, bare_prompt: true }), Depth::Shell, now); }
                }
            }
        }
    }
}
