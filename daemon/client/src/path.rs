//! The path from a view to its job: does it carry what is typed, since when not, what is amiss, and what became of what was
//! typed meanwhile. Pure: time is an argument, in milliseconds of the view's clock.
//!
//! ```text
//!            lost()                     found()                  state() says so
//!   carries ────────▶ no manager ──────────────────▶ broken ─────────────────────▶ settling ──▶ carries
//!      │                                               ▲                               │
//!      └── state() says so, or the manager is silent ──┘                               └─▶ broken
//! ```
//!
//! While it is broken what is typed is kept, and grows old. Once it is back the holder says what became of what was withdrawn;
//! then the person is told, and typing goes on.

use crate::silence::{Ask, Silence};
use crate::typed::{Lost, Outgoing};
use sessd_proto::docs::{LinkState, Vocabulary};
use sessd_proto::messages as m;

/// How long the path to the job may be broken before it is worth a word: most breaks are over by then.
pub const SAY_AFTER_MS: u64 = 1_500;
/// How long after the path is back the holder may take to say what became of what was withdrawn.
pub const SETTLE_MS: u64 = 2_000;
/// How often a key that is typed has the link tried at once.
const TRY_NOW_MS: u64 = 1_000;
/// A number that no path of a manager has: those begin anew with each manager.
const NO_PATH: u64 = u64::MAX;

/// What is amiss.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// There is no manager, and this is why none can be started, if that is known.
    NoManager(String),
    /// The manager is there, and has said nothing for so long, in milliseconds.
    ManagerSilent(u64),
    /// The host answers, and the job's holder has said nothing for so long, in milliseconds.
    HolderSilent(u64),
    /// The link to the session's host is broken or silent.
    Link {
        /// Where it stands: up (and silent), stalled, …; none: elsewhere, as a newer manager says.
        state: Option<LinkState>,
        /// When anything was heard of the host last, in milliseconds before now.
        silent_ms: u64,
        /// Why the link is not up, one sentence.
        why: String,
        /// When it is dialled next, in milliseconds of the manager's wall clock.
        next_try_at_ms: Option<u64>,
    },
}

/// The path to the job of one view.
#[derive(Debug)]
pub struct JobPath {
    /// A manager is there and has attached the view.
    attached: bool,
    state: m::ViewState,
    outgoing: Outgoing,
    silence: Silence,
    broken_since: Option<u64>,
    /// When anything was heard of the host last, as far as the manager has said so or we saw it.
    heard_at: u64,
    /// When the path was back, and what is lost was not told yet.
    settling_since: Option<u64>,
    /// When the link was last wanted at once because of a key.
    wanted_at: Option<u64>,
    /// Since when the holder owes an answer that its host does not, as the manager says.
    holder_silent_since: Option<u64>,
}

impl JobPath {
    /// Nothing is there at `now_ms`.
    pub fn new(now_ms: u64) -> Self {
        Self {
            attached: false,
            state: m::ViewState::default(),
            outgoing: Outgoing::new(),
            silence: Silence::new(now_ms),
            broken_since: None,
            heard_at: now_ms,
            settling_since: None,
            wanted_at: None,
            holder_silent_since: None,
        }
    }

    /// How the session stood when that was told last; without a manager, that its link is down.
    pub fn state(&self) -> &m::ViewState {
        &self.state
    }

    /// What was typed.
    pub fn outgoing(&self) -> &Outgoing {
        &self.outgoing
    }

    /// The same, to be sent or added to.
    pub fn outgoing_mut(&mut self) -> &mut Outgoing {
        &mut self.outgoing
    }

    /// Is a manager there that has attached the view?
    pub fn is_attached(&self) -> bool {
        self.attached
    }

    fn link(&self) -> Option<LinkState> {
        LinkState::from_word(&self.state.link)
    }

    fn link_is_up(&self) -> bool {
        self.link().is_some_and(LinkState::carries)
    }

    /// Can what is typed be given to something that carries it on?
    pub fn carries(&self, now_ms: u64) -> bool {
        self.link_is_up() && self.attached && self.silence.of_manager(now_ms).is_none()
    }

    /// Since when something that was typed and given to the path is unanswered.
    fn unanswered_since(&self) -> Option<u64> {
        if self.link_is_up() { self.outgoing.unanswered_since() } else { None }
    }

    /// The manager said something.
    pub fn manager_spoke(&mut self, now_ms: u64) {
        self.silence.manager_spoke(now_ms);
    }

    /// How long the manager has been silent, once that is too long.
    pub fn manager_silent_ms(&self, now_ms: u64) -> Option<u64> {
        self.silence.of_manager(now_ms).filter(|_| self.attached)
    }

    /// The holder said something.
    pub fn holder_spoke(&mut self, now_ms: u64) {
        self.heard_at = now_ms;
        self.silence.holder_spoke(now_ms);
    }

    /// A manager has attached the view; `restarted`: to another job than before.
    pub fn found(&mut self, restarted: bool, now_ms: u64) {
        self.attached = true;
        self.silence = Silence::new(now_ms);
        self.state.detail.clear();
        self.state.epoch = NO_PATH;
        if restarted {
            // Nothing old is of use to the new job.
            self.outgoing.job_is_new();
        }
    }

    /// The manager is gone.
    pub fn lost(&mut self, now_ms: u64) {
        self.attached = false;
        self.state.link = LinkState::Down.word().into();
        self.state.detail.clear();
        self.state.silent_ms = None;
        self.holder_silent_since = None;
        self.broken_since.get_or_insert(now_ms);
        self.settling_since = None;
    }

    /// No manager can be started, and why.
    pub fn not_found(&mut self, why: String) {
        self.state.detail = why;
    }

    /// The manager says how the session stands.
    pub fn told(&mut self, mut state: m::ViewState, now_ms: u64) {
        let (new_path, was_up) = (state.epoch != self.state.epoch, self.broken_since.is_none());
        let link = LinkState::from_word(&state.link);
        let dials = matches!(link, Some(LinkState::Connecting | LinkState::Stalled));
        if state.detail.is_empty() && dials && !was_up {
            // While it is tried again, what was wrong is still what is known.
            state.detail = std::mem::take(&mut self.state.detail);
        }
        match state.silent_ms {
            Some(silent) => self.heard_at = self.heard_at.max(now_ms.saturating_sub(silent)),
            // Up and not late: it was heard within a heartbeat. Of a break that just began no more is known.
            None if was_up || link.is_some_and(LinkState::carries) => self.heard_at = now_ms,
            None => {}
        }
        self.holder_silent_since = state.holder_silent_ms.map(|silent| now_ms.saturating_sub(silent));
        self.state = state;
        if self.carries(now_ms) {
            self.carries_again(new_path, was_up, now_ms);
        } else {
            self.broken_since.get_or_insert(now_ms);
        }
    }

    fn carries_again(&mut self, new_path: bool, was_up: bool, now_ms: u64) {
        if new_path {
            self.outgoing.path_is_new(now_ms);
            self.silence.holder_spoke(now_ms);
        } else if !was_up {
            self.outgoing.path_is_back(now_ms);
        }
        self.broken_since = None;
        if self.outgoing.refuses() || self.outgoing.lost().any() {
            self.settling_since.get_or_insert(now_ms);
        }
    }

    /// Does what is due, and says whom to ask now.
    pub fn tick(&mut self, now_ms: u64) -> Ask {
        let carries = self.carries(now_ms);
        match (carries, self.broken_since) {
            // The manager was silent, and is not any more.
            (true, Some(_)) => self.carries_again(false, false, now_ms),
            (false, None) if self.attached => self.broken_since = Some(now_ms),
            _ => {}
        }
        if !carries {
            self.settling_since = None;
            self.outgoing.withdraw_old(now_ms);
        } else if self.is_settled(now_ms) && !self.outgoing.lost().any() {
            self.undelivered_told();
        }
        if !self.attached {
            return Ask::default();
        }
        self.silence.ask(self.unanswered_since(), now_ms)
    }

    /// When something is due; nothing before that changes what is amiss.
    pub fn deadline(&self, now_ms: u64) -> Option<u64> {
        let owed = self.silence.due_ms(self.unanswered_since(), now_ms);
        let settled = self.settling_since.map(|at| at + SETTLE_MS);
        let old = if self.carries(now_ms) { None } else { self.outgoing.old_at() };
        let broken = self.broken_since.map(|at| at + SAY_AFTER_MS);
        let unanswered = self.silence.unanswered_at(self.unanswered_since());
        // These change what is amiss or is told; what has come to pass is not due any more.
        let words = [settled, broken, unanswered].into_iter().flatten().filter(|at| *at > now_ms).min();
        let owed = Some(owed).filter(|at| self.attached && *at < u64::MAX);
        [owed, old, words].into_iter().flatten().min()
    }

    /// The path is back for so long, or it is known what became of everything.
    fn is_settled(&self, now_ms: u64) -> bool {
        self.settling_since.is_some_and(|since| !self.outgoing.is_in_doubt() || now_ms >= since + SETTLE_MS)
    }

    /// Keys that were not delivered over a break that has ended, once it is known what became of them or the holder took too
    /// long to say. Until [`Self::undelivered_told`] what is typed is refused.
    pub fn undelivered(&self, now_ms: u64) -> Option<Lost> {
        Some(self.outgoing.lost()).filter(|lost| lost.any() && self.is_settled(now_ms))
    }

    /// The person is told of what was not delivered, or there is nothing to tell: what is typed from now on is sent.
    pub fn undelivered_told(&mut self) -> Lost {
        self.settling_since = None;
        self.outgoing.told()
    }

    /// Keys were typed. False: some of them were refused.
    pub fn typed(&mut self, keys: &[u8], now_ms: u64) -> bool {
        let held = !self.carries(now_ms);
        self.outgoing.typed(keys, held, now_ms)
    }

    /// Somebody types into a broken path, and waits for it. True: it is to be tried at once, which is so once a second.
    pub fn wants_a_try(&mut self, now_ms: u64) -> bool {
        if self.carries(now_ms) || self.wanted_at.is_some_and(|at| now_ms < at + TRY_NOW_MS) {
            return false;
        }
        self.wanted_at = Some(now_ms);
        true
    }

    /// What is amiss now, if it is worth a word.
    pub fn trouble(&self, now_ms: u64) -> Option<Trouble> {
        let late = self.broken_since.is_some_and(|since| now_ms >= since + SAY_AFTER_MS);
        if !self.attached {
            return late.then(|| Trouble::NoManager(self.state.detail.clone()));
        }
        if let Some(silent_ms) = self.silence.of_manager(now_ms) {
            return Some(Trouble::ManagerSilent(silent_ms));
        }
        let link = |silent_ms| Trouble::Link {
            state: self.link(),
            silent_ms,
            why: self.state.detail.clone(),
            next_try_at_ms: self.state.next_try_ms,
        };
        let silent = now_ms.saturating_sub(self.heard_at);
        match self.broken_since {
            Some(_) => late.then(|| link(silent)),
            None if let Some(since) = self.holder_silent_since => {
                Some(Trouble::HolderSilent(now_ms.saturating_sub(since)))
            }
            // The manager has noticed that the host is late, or something that was typed is unanswered.
            None if self.state.silent_ms.is_some() => Some(link(silent)),
            None => self.silence.of_link(self.unanswered_since(), now_ms).map(link),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn state(link: &str, epoch: u64) -> m::ViewState {
        m::ViewState { link: link.into(), epoch, ..Default::default() }
    }

    /// A path that carries, at 1 s.
    fn path() -> JobPath {
        let mut path = JobPath::new(0);
        path.found(false, 1_000);
        path.told(state("up", 1), 1_000);
        assert!(path.carries(1_000) && path.trouble(1_000).is_none());
        path
    }

    fn sent(path: &mut JobPath) -> Vec<u8> {
        let mut bytes = Vec::new();
        while let Some(next) = path.outgoing_mut().next_to_send() {
            bytes.extend_from_slice(next.bytes);
        }
        bytes
    }

    #[test]
    fn what_is_typed_over_a_short_break_is_sent_when_it_is_over_and_nothing_is_said() {
        let mut path = path();
        path.told(state("connecting", 1), 2_000);
        assert!(path.typed(b"ls\r", 2_100) && path.wants_a_try(2_100));
        assert!(!path.wants_a_try(2_900) && path.wants_a_try(3_100), "once a second");
        assert_eq!((path.trouble(3_499), path.deadline(2_100)), (None, Some(3_500)));
        path.told(state("up", 2), 3_400);
        path.tick(3_400);
        assert_eq!((sent(&mut path), path.undelivered(3_400)), (b"ls\r".to_vec(), None));
        assert!(!path.wants_a_try(9_000), "it carries");
    }

    #[test]
    fn a_long_break_is_said_and_what_grew_old_is_told_before_typing_goes_on() {
        let mut path = path();
        path.told(state("down", 1), 2_000);
        assert!(path.typed(b"rm x", 2_000));
        assert!(matches!(
            path.trouble(3_500),
            Some(Trouble::Link { state: Some(LinkState::Down), silent_ms: 1_500, .. })
        ));
        assert_eq!(path.deadline(3_500), Some(6_000), "the manager is asked whether it is there");
        path.tick(32_000);
        assert!(!path.typed(b"\r", 32_100), "what follows on what was dropped is refused");
        path.told(state("up", 2), 33_000);
        path.tick(33_000);
        assert_eq!(path.undelivered(33_000), Some(Lost { dropped: 5, doubtful: 0 }));
        assert!(!path.typed(b"x", 33_100), "and is until the person knows");
        assert_eq!(path.undelivered_told().dropped, 6);
        assert!(path.typed(b"y", 33_200) && path.undelivered(33_200).is_none());
        assert_eq!(sent(&mut path), b"y");
    }

    #[test]
    fn the_holder_is_waited_for_that_long_to_say_what_became_of_what_was_withdrawn() {
        let mut path = path();
        path.typed(b"\x03", 1_000);
        assert_eq!(sent(&mut path), b"\x03");
        path.told(state("down", 1), 1_500);
        path.tick(2_500);
        path.told(state("up", 2), 3_000);
        path.tick(3_000);
        assert_eq!((path.undelivered(4_999), path.deadline(4_000)), (None, Some(5_000)));
        assert_eq!(path.undelivered(5_000), Some(Lost { dropped: 0, doubtful: 1 }));
        path.outgoing_mut().withdrawn(0, 1);
        assert_eq!(path.undelivered(4_000), Some(Lost { dropped: 1, doubtful: 0 }), "it said so in time");
    }

    #[test]
    fn a_manager_that_is_silent_is_a_broken_path_until_it_speaks() {
        let mut path = path();
        assert!(path.tick(6_000).manager);
        assert_eq!((path.deadline(6_000), path.trouble(8_999)), (Some(9_000), None));
        path.tick(9_000);
        assert_eq!((path.trouble(9_000), path.carries(9_000)), (Some(Trouble::ManagerSilent(3_000)), false));
        assert!(path.typed(b"x", 9_500));
        path.manager_spoke(10_000);
        path.tick(10_000);
        assert!(path.carries(10_000) && path.trouble(10_000).is_none());
        assert_eq!(sent(&mut path), b"x");
    }

    #[test]
    fn without_a_manager_that_is_said_with_why_and_the_next_one_begins_anew() {
        let mut path = path();
        path.typed(b"x", 1_500);
        assert_eq!(sent(&mut path), b"x");
        path.lost(2_000);
        path.not_found("the disk is full".into());
        assert_eq!(path.trouble(3_499), None);
        assert_eq!(path.trouble(3_500), Some(Trouble::NoManager("the disk is full".into())));
        assert_eq!(path.tick(9_000), Ask::default(), "there is nobody to ask");
        path.found(false, 10_000);
        // The first path of a manager may have the number that the last of the one before had.
        path.told(state("up", 1), 10_000);
        assert_eq!(sent(&mut path), b"x", "not acknowledged, so it goes again");
        path.lost(11_000);
        path.found(true, 12_000);
        path.told(state("up", 1), 12_000);
        path.tick(12_000);
        assert_eq!(
            (sent(&mut path), path.undelivered(12_000)),
            (vec![], Some(Lost { dropped: 0, doubtful: 1 }))
        );
    }

    proptest! {
        /// Whoever sleeps until the deadline misses nothing, and is not woken for nothing.
        #[test]
        fn nothing_is_due_before_the_deadline_and_nothing_stays_due_after_it(
            events in proptest::collection::vec((0u8..10, 0u64..4_000), 1..60),
        ) {
            let (mut path, mut now, mut epoch) = (path(), 1_000, 1);
            for (what, later) in events {
                // Time passes up to the deadline, and what is amiss is the same up to it but for how long.
                let due = path.deadline(now).unwrap_or(u64::MAX);
                let kind = |trouble: Option<Trouble>| trouble.map(|trouble| std::mem::discriminant(&trouble));
                let then = (now + later).min(due.saturating_sub(1)).max(now);
                prop_assert_eq!(kind(path.trouble(now)), kind(path.trouble(then)));
                prop_assert_eq!(path.carries(now), path.carries(then));
                now += later;
                match what {
                    0 => path.lost(now),
                    1 => path.found(false, now),
                    2 => path.told(state("down", epoch), now),
                    3 | 4 => {
                        epoch += u64::from(what == 3);
                        path.told(state("up", epoch), now);
                    }
                    5 => {
                        path.typed(b"ab\x03c", now);
                    }
                    6 => path.manager_spoke(now),
                    7 => path.holder_spoke(now),
                    8 => {
                        sent(&mut path);
                    }
                    _ => {
                        path.undelivered(now).map(|_| path.undelivered_told());
                    }
                }
                path.tick(now);
                prop_assert!(path.deadline(now).is_none_or(|at| at > now), "{:?} at {now}", path.deadline(now));
            }
        }
    }
}
