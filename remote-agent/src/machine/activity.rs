//! What a job is doing, from what it says itself and from facts, never from the text on its screen. Pure: the holder hands in
//! what it hears and sees and the time, in milliseconds of its monotonic clock.
//!
//! Strongest first:
//!
//! 1. *secret*: its terminal does not echo and takes whole lines, as at a question for a password. A fact while it is so.
//! 2. What it said last: `sessd report`, a progress bar (OSC 9;4), where its shell stands (OSC 133). The newest word of these
//!    holds until the next, however long that takes: its age is told with it.
//! 3. A notice (OSC 9, 99, 777) or the bell of a program that says nothing else of itself: somebody is to look, so it
//!    *waits*, until something is typed or it writes on by itself. A report is better informed than a bell, and a shell at its
//!    prompt rings for other reasons: they stay what they are.
//! 4. Nothing was said: it *works* while it writes or uses the processor, and is *quiet* when it did neither for a while.

use sessd_terminal::{Reported, ShellState, Signal};

/// Silence without any use of the processor after which a job is quiet, in milliseconds.
pub const QUIET_MS: u64 = 5_000;
/// What is written so soon after a notice belongs to it, in milliseconds.
const WITH_NOTICE_MS: u64 = 2_000;
/// Longest time between two looks at what a silent job uses of the processor, in milliseconds.
const LOOK_MAX_MS: u64 = 60_000;

/// What a job is doing. The numbers are the wire's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It works.
    Working = 1,
    /// It waits for a person.
    Waiting = 2,
    /// It has done what it was to do.
    Done = 3,
    /// It waits for a secret: what is typed is not shown.
    Secret = 4,
    /// Nothing is known but that nothing happens.
    Quiet = 5,
}

/// How that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// `sessd report`.
    Report,
    /// OSC 9;4.
    Progress,
    /// OSC 133.
    Shell,
    /// OSC 9, 99 or 777.
    Notice,
    /// BEL.
    Bell,
    /// Whether its terminal echoes.
    Echo,
    /// That it writes, or works silently.
    Output,
    /// That it does neither.
    Silence,
}

impl Source {
    /// The word of the command line's contract.
    pub fn word(self) -> &'static str {
        match self {
            Self::Report => "report",
            Self::Progress => "progress",
            Self::Shell => "shell",
            Self::Notice => "notice",
            Self::Bell => "bell",
            Self::Echo => "echo",
            Self::Output => "output",
            Self::Silence => "silence",
        }
    }
}

/// A state, how it is known, and since when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateReport {
    /// What it is doing.
    pub state: State,
    /// How that is known.
    pub source: Source,
    /// Since when.
    pub since_ms: u64,
    /// What was said with it, or empty.
    pub note: String,
}

/// What is known of one job.
#[derive(Debug, Clone)]
pub struct Activity {
    /// The newest word of the job itself.
    said: Option<StateReport>,
    /// Somebody is to look.
    attention: Option<StateReport>,
    /// Since when its terminal hides what is typed.
    hidden_since_ms: Option<u64>,
    /// When it began to work and when it last did, as far as can be seen.
    busy_since_ms: u64,
    busy_ms: u64,
    cpu: Option<u64>,
    looked_ms: u64,
    look_after_ms: u64,
}

impl Activity {
    /// A job that begins now.
    pub fn new(now_ms: u64) -> Self {
        Self {
            said: None,
            attention: None,
            hidden_since_ms: None,
            busy_since_ms: now_ms,
            busy_ms: now_ms,
            cpu: None,
            looked_ms: now_ms,
            look_after_ms: QUIET_MS / 2,
        }
    }

    fn say(&mut self, state: State, source: Source, note: &str, now_ms: u64) {
        self.attention = None;
        // Said again, it has been so since it was said first.
        let same = |said: &&StateReport| said.state == state && said.source == source;
        let since_ms = self.said.as_ref().filter(same).map_or(now_ms, |said| said.since_ms);
        self.said = Some(StateReport { state, source, since_ms, note: note.to_owned() });
    }

    /// The job reports.
    pub fn report(&mut self, reported: Reported, note: &str, now_ms: u64) {
        let state = match reported {
            Reported::Working => State::Working,
            Reported::Waiting => State::Waiting,
            Reported::Done => State::Done,
        };
        self.say(state, Source::Report, note, now_ms);
    }

    /// The job says something through its terminal.
    pub fn signal(&mut self, signal: &Signal, now_ms: u64) {
        match signal {
            Signal::Report(reported, note) => self.report(*reported, note, now_ms),
            Signal::Progress(percent) => {
                let note = percent.map_or(String::new(), |percent| format!("{percent}%"));
                self.say(State::Working, Source::Progress, &note, now_ms);
            }
            Signal::Stuck => self.say(State::Waiting, Source::Progress, "", now_ms),
            Signal::NoProgress => {
                // Whoever never had a bar takes one away on leaving.
                if self.said.as_ref().is_some_and(|said| said.source == Source::Progress) {
                    self.say(State::Done, Source::Progress, "", now_ms);
                }
            }
            Signal::Shell(ShellState::Running) => self.say(State::Working, Source::Shell, "", now_ms),
            Signal::Shell(ShellState::Prompt | ShellState::Input | ShellState::Done) => {
                // A prompt that is drawn again says nothing new, and not that what was reported at it is over.
                let ran =
                    |said: &StateReport| said.state == State::Working || said.source == Source::Progress;
                if self.said.as_ref().is_none_or(|said| said.source == Source::Shell || ran(said))
                    || *signal == Signal::Shell(ShellState::Done)
                {
                    self.say(State::Done, Source::Shell, "", now_ms);
                }
            }
            Signal::Notice { title, body } => {
                let note = if title.is_empty() || body.is_empty() {
                    title.clone() + body
                } else {
                    format!("{title}: {body}")
                };
                self.attend(Source::Notice, note, now_ms);
            }
            Signal::Bell => self.attend(Source::Bell, String::new(), now_ms),
        }
    }

    fn attend(&mut self, source: Source, note: String, now_ms: u64) {
        let knows_better = self
            .said
            .as_ref()
            .is_some_and(|said| said.source != Source::Shell || said.state != State::Working);
        // A bell beside a notice says no more than that.
        let is_notice = self.attention.as_ref().is_some_and(|told| told.source == Source::Notice);
        if !(knows_better || (source == Source::Bell && is_notice)) {
            self.attention = Some(StateReport { state: State::Waiting, source, since_ms: now_ms, note });
        }
    }

    fn busy(&mut self, now_ms: u64) {
        if now_ms >= self.busy_ms + QUIET_MS {
            self.busy_since_ms = now_ms;
        }
        self.busy_ms = now_ms;
        self.look_after_ms = QUIET_MS / 2;
    }

    /// It writes.
    pub fn output(&mut self, now_ms: u64) {
        self.busy(now_ms);
        if self.attention.as_ref().is_some_and(|told| now_ms >= told.since_ms + WITH_NOTICE_MS) {
            self.attention = None;
        }
    }

    /// It was typed into: whoever was to look has.
    pub fn typed(&mut self) {
        self.attention = None;
    }

    /// Its terminal hides what is typed, or does not.
    pub fn hides(&mut self, hidden: bool, now_ms: u64) {
        self.hidden_since_ms = if hidden { Some(self.hidden_since_ms.unwrap_or(now_ms)) } else { None };
    }

    /// What all its processes have used of the processor so far, where that can be seen, in any unit.
    pub fn processor(&mut self, used: Option<u64>, now_ms: u64) {
        let before = std::mem::replace(&mut self.cpu, used);
        self.looked_ms = now_ms;
        if before.is_some() && used > before {
            let after = (self.look_after_ms * 2).min(LOOK_MAX_MS);
            self.busy(now_ms);
            // A silent job that works on is looked at ever less often.
            self.look_after_ms = after;
        }
    }

    /// When to look at the processor next: while it is silent and not known to be quiet. None: there is no need to.
    pub fn look_at_ms(&self) -> Option<u64> {
        let inferred = self.said.is_none() && self.attention.is_none() && self.hidden_since_ms.is_none();
        // A first look to have something to compare with, and one when it should be quiet.
        let due = (self.busy_ms + QUIET_MS / 2).max(self.looked_ms + self.look_after_ms);
        // Quiet is what was looked at in the silence.
        (inferred && self.looked_ms < self.busy_ms + QUIET_MS).then_some(due)
    }

    fn is_quiet(&self, now_ms: u64) -> bool {
        now_ms >= self.busy_ms + QUIET_MS && self.looked_ms >= self.busy_ms + QUIET_MS
    }

    /// What it is doing now.
    pub fn told(&self, now_ms: u64) -> StateReport {
        let plain = |state, source, since_ms| StateReport { state, source, since_ms, note: String::new() };
        if let Some(since_ms) = self.hidden_since_ms {
            return plain(State::Secret, Source::Echo, since_ms);
        }
        if let Some(told) = self.attention.as_ref().or(self.said.as_ref()) {
            return told.clone();
        }
        if self.is_quiet(now_ms) {
            plain(State::Quiet, Source::Silence, self.busy_ms)
        } else {
            plain(State::Working, Source::Output, self.busy_since_ms)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: u64 = 1_000;

    fn is(activity: &Activity, now_ms: u64) -> (State, Source, u64) {
        let told = activity.told(now_ms);
        (told.state, told.source, told.since_ms)
    }

    fn shell(state: ShellState) -> Signal {
        Signal::Shell(state)
    }

    #[test]
    fn the_newest_word_of_the_job_holds_until_the_next() {
        use Source::{Progress, Report, Shell};
        use State::{Done, Waiting, Working};
        let steps: [(Signal, (State, Source)); 11] = [
            (shell(ShellState::Prompt), (Done, Shell)),
            (shell(ShellState::Running), (Working, Shell)),
            (Signal::Report(Reported::Waiting, "which?".into()), (Waiting, Report)),
            (Signal::Report(Reported::Working, String::new()), (Working, Report)),
            (Signal::Progress(Some(40)), (Working, Progress)),
            (Signal::Stuck, (Waiting, Progress)),
            (Signal::NoProgress, (Done, Progress)),
            (Signal::Report(Reported::Working, String::new()), (Working, Report)),
            (Signal::NoProgress, (Working, Report)),
            (Signal::Bell, (Working, Report)),
            (shell(ShellState::Done), (Done, Shell)),
        ];
        let mut activity = Activity::new(0);
        for (n, (signal, want)) in steps.into_iter().enumerate() {
            let now = n as u64 * SECOND;
            activity.signal(&signal, now);
            let told = activity.told(now + 500);
            assert_eq!((told.state, told.source), want, "step {n}");
        }
        activity.signal(&Signal::Report(Reported::Waiting, "which?".into()), 20 * SECOND);
        // The prompt that is drawn behind it does not end what was reported at it.
        activity.signal(&shell(ShellState::Prompt), 21 * SECOND);
        activity.output(30 * SECOND);
        let told = activity.told(3_600 * SECOND);
        assert_eq!((told.state, told.since_ms, told.note.as_str()), (Waiting, 20 * SECOND, "which?"));
    }

    #[test]
    fn a_secret_is_a_fact_that_goes_before_everything_said() {
        let mut activity = Activity::new(0);
        activity.report(Reported::Working, "", 0);
        activity.hides(true, 5);
        activity.hides(true, 9);
        assert_eq!(is(&activity, 10), (State::Secret, Source::Echo, 5));
        activity.hides(false, 11);
        assert_eq!(is(&activity, 12), (State::Working, Source::Report, 0));
    }

    #[test]
    fn a_notice_waits_for_a_person_until_one_types_or_the_job_goes_on() {
        let notice = Signal::Notice { title: "Build".into(), body: "failed".into() };
        let mut activity = Activity::new(0);
        activity.signal(&shell(ShellState::Running), 0);
        activity.signal(&notice, 10);
        activity.signal(&Signal::Bell, 11);
        activity.output(12);
        assert_eq!(
            activity.told(20),
            StateReport {
                state: State::Waiting,
                source: Source::Notice,
                since_ms: 10,
                note: "Build: failed".into()
            }
        );
        activity.typed();
        assert_eq!(is(&activity, 30), (State::Working, Source::Shell, 0));
        activity.signal(&Signal::Bell, 40);
        assert_eq!(is(&activity, 50).1, Source::Bell);
        activity.output(40 + WITH_NOTICE_MS);
        assert_eq!(is(&activity, 3_000).0, State::Working, "it went on by itself");
        activity.signal(&shell(ShellState::Done), 4_000);
        activity.signal(&Signal::Bell, 4_001);
        assert_eq!(is(&activity, 4_002), (State::Done, Source::Shell, 4_000), "a completion that rings");
    }

    /// Looks whenever it should, and says when it first was quiet.
    fn quiet_at(activity: &mut Activity, until_ms: u64, used: impl Fn(u64) -> Option<u64>) -> Option<u64> {
        let mut looks = 0;
        let mut now = 0;
        while let Some(at) = activity.look_at_ms() {
            if at > until_ms {
                return None;
            }
            now = at.max(now);
            activity.processor(used(now), now);
            looks += 1;
            assert!(looks < 200, "too many looks");
            if activity.told(now).state == State::Quiet {
                return Some(now);
            }
            now += 1;
        }
        None
    }

    #[test]
    fn silence_without_the_processor_is_quiet_and_a_silent_build_works() {
        let mut activity = Activity::new(0);
        activity.output(0);
        let at = quiet_at(&mut activity, 3_600 * SECOND, |_| Some(7)).unwrap();
        assert!((QUIET_MS..2 * QUIET_MS).contains(&at), "{at}");
        assert_eq!(is(&activity, at), (State::Quiet, Source::Silence, 0));
        assert_eq!(activity.look_at_ms(), None, "nothing is looked at while nothing happens");
        activity.output(100 * SECOND);
        assert_eq!(is(&activity, 100 * SECOND), (State::Working, Source::Output, 100 * SECOND));
        let mut build = Activity::new(0);
        assert_eq!(quiet_at(&mut build, 3_600 * SECOND, Some), None, "and not too often: counted above");
        let mut blind = Activity::new(0);
        assert!(quiet_at(&mut blind, 3_600 * SECOND, |_| None).is_some(), "what cannot be seen is silence");
    }

    proptest! {
        /// Whatever happens, a job that said something is never taken for quiet, and one that is hidden is a secret.
        #[test]
        fn what_was_said_is_never_overruled_by_silence(events in proptest::collection::vec((0u8..9, 1u64..20_000), 1..100)) {
            let mut activity = Activity::new(0);
            let (mut now, mut said, mut hidden) = (0, false, false);
            for (event, wait) in events {
                now += wait;
                match event {
                    0 => { activity.report(Reported::Waiting, "x", now); said = true; }
                    1 => { activity.signal(&Signal::Progress(None), now); said = true; }
                    2 => { activity.signal(&Signal::Bell, now); }
                    3 => activity.output(now),
                    4 => activity.typed(),
                    5 => { hidden = !hidden; activity.hides(hidden, now); }
                    6 => activity.processor(Some(now), now),
                    7 => activity.processor(Some(0), now),
                    _ => { activity.signal(&shell(ShellState::Running), now); said = true; }
                }
                let told = activity.told(now);
                prop_assert_eq!(told.state == State::Secret, hidden);
                prop_assert!(!(said && told.state == State::Quiet));
                prop_assert!(told.since_ms <= now);
            }
        }
    }
}
