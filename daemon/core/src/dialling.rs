//! When a host is dialled, who waits for it, and what each of them is told.
//!
//! ```text
//!              wanted                                            greeted
//!  dormant ─────────────▶ dialling ──────────────────────────────────────▶ up
//!    ▲                    │      ▲                                          │
//!    │ nobody needs it    │      ├── its time, a person, a wake-up ── waiting ◀── lost
//!    └────────────────────┤      │                                     ▲
//!                         │      └── a person, or what was missing ── parked
//!                         └──────────── the attempt failed ────────────┘
//! ```
//!
//! It holds, whatever comes in which order: at most one attempt is on its way; whoever asks while it is joins it; what is
//! told to one of them is told to all who asked from the same place; the network and the configuration are tried again by
//! themselves, ever more slowly; what only a person can give is asked for once for each time that a person asks.
//!
//! An attempt is made from the environment of whoever asks for it: keys and programs are found there. A failure that may
//! be that environment's doing says nothing to who asked from another one, and nothing of the one that worked before.

use crate::backoff::Backoff;
use std::collections::VecDeque;

/// An environment that somebody asked from, by a number of the caller's choice.
pub type Origin = u32;

/// How long a link that nobody needs is kept, in milliseconds.
pub const UNUSED_MS: u64 = 60_000;
/// What a person does in passing, such as a key that is typed, brings the next attempt nearer, but not to less than this
/// after the last one began, in milliseconds.
pub const HASTEN_MS: u64 = 1_000;

/// The time between two attempts at a port that refuses, while somebody looks at a session there, in milliseconds: its sshd
/// is being started, and a refusal costs neither side anything.
pub const REFUSED_MS: u64 = 250;
/// The longest time between two attempts while somebody looks at a session there, in milliseconds.
pub const WATCHED_MS: u64 = 10_000;

/// A link that held as long as this was one: the next is dialled as soon as if nothing had failed before. One that comes up
/// and breaks at once is dialled again ever more slowly, in milliseconds.
pub const HELD_MS: u64 = 10_000;

/// Why an attempt failed, by what has to change before another one is of use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// Nothing was reached that could refuse a login: the port is closed, or there is no way to it now. Time.
    Refused,
    /// The network or the host: time.
    Network,
    /// The user's configuration, or a program that it names: a file, or time.
    Config,
    /// The ssh-agent that has the keys is away, or there is none yet: it answers.
    Agent,
    /// A key, a password, a touch, a fingerprint: only a person.
    Person,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event<W> {
    /// Sessions live there (again), or none does any more.
    Members(bool),
    /// Somebody wants the link and waits for what comes of one attempt.
    Want(W, Origin),
    /// A person wants the link. Nobody waits.
    Person(Origin),
    /// A person is there, and does something else.
    Hasten,
    /// Somebody looks at a session there, or nobody does; counts for the waits that begin after it.
    Watched(bool),
    /// This machine slept, or its network changed.
    Woke,
    /// A person wants no link, until one does.
    Disconnect,
    /// A configuration file has changed, or an ssh-agent answers.
    News,
    /// The attempt succeeded: the agent greeted, and what the host has is known.
    Up,
    /// The attempt failed.
    Failed {
        /// What has to change.
        why: Why,
        /// It may be the doing of the environment the attempt was made from.
        by_environment: bool,
        /// How long it took, in milliseconds.
        took_ms: u64,
    },
    /// The link that was up has ended.
    Lost,
    /// The same, and an attempt from this environment is on its way already.
    Replaced(Origin),
    /// Time has passed.
    Tick,
}

/// What is to be done, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect<W> {
    /// Begin an attempt.
    Dial {
        /// Origin this environment.
        from: Origin,
        /// Somebody asked for it; else it is made unasked, for sessions that are there.
        asked: bool,
    },
    /// The attempt on its way is of no use to anybody: drop it.
    Abandon,
    /// Tell whoever waits that the link is up, or why the last attempt failed.
    Tell(W, bool),
    /// End the link, which nobody needs, or wants.
    HangUp,
}

/// Where the host's link stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Nobody needs it.
    Dormant,
    /// An attempt is on its way.
    Dialling,
    /// Live.
    Up,
    /// Dialled again by itself at this time, in milliseconds by the caller's clock.
    Waiting(u64),
    /// Not dialled again by itself. True: but as soon as an ssh-agent answers.
    Parked(bool),
    /// Not dialled again until somebody wants it: a person said so.
    Disconnected,
}

/// What came while an attempt is on its way.
#[derive(Debug, Clone, Copy)]
struct Attempt {
    from: Origin,
    /// A person asked from another environment.
    other: Option<Origin>,
    /// The machine slept in the middle of it.
    woke: bool,
}

/// One host's dialling. `W`: whoever waits.
#[derive(Debug)]
pub struct Dialling<W> {
    stage: Stage,
    attempt: Attempt,
    /// When the last attempt began.
    began: u64,
    members: bool,
    watched: bool,
    waiting: Vec<(W, Origin)>,
    backoff: Backoff,
    /// The environment of the next attempt nobody asks for.
    next: Origin,
    /// The one that worked last.
    good: Option<Origin>,
    /// When the link that is up, or was last, came up.
    up_since: u64,
    /// When the link was last needed.
    needed: u64,
    /// News of an agent is no news before this: the last attempt it led to failed.
    news_after: u64,
    effects: VecDeque<Effect<W>>,
}

impl<W> Dialling<W> {
    /// A host nobody needs yet. `from`: the environment that counts until somebody asks from another.
    pub fn new(seed: u64, from: Origin) -> Self {
        Self {
            stage: Stage::Dormant,
            attempt: Attempt { from, other: None, woke: false },
            began: 0,
            members: false,
            watched: false,
            waiting: Vec::new(),
            backoff: Backoff::new(seed),
            next: from,
            good: None,
            up_since: 0,
            needed: 0,
            news_after: 0,
            effects: VecDeque::new(),
        }
    }

    /// Where it stands.
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// The next thing to do, until there is none.
    pub fn poll(&mut self) -> Option<Effect<W>> {
        self.effects.pop_front()
    }

    /// When to send a [`Event::Tick`], in milliseconds by the caller's clock.
    pub fn deadline(&self) -> Option<u64> {
        match self.stage {
            Stage::Waiting(until) => Some(until),
            Stage::Up if !self.members => Some(self.needed + UNUSED_MS),
            _ => None,
        }
    }

    /// Takes in what happened at `now`, in milliseconds by a clock of the caller's that never goes back.
    pub fn handle(&mut self, now: u64, event: Event<W>) {
        match (self.stage, event) {
            (_, Event::Members(some)) => self.members(now, some),
            (_, Event::Watched(watched)) => self.watched = watched,
            (Stage::Up, Event::Want(who, _)) => {
                self.needed = now;
                self.effects.push_back(Effect::Tell(who, true));
            }
            (Stage::Dialling, Event::Want(who, from)) => {
                self.next = from;
                self.waiting.push((who, from));
            }
            (_, Event::Want(who, from)) => {
                self.waiting.push((who, from));
                self.dial_for(now, from);
            }
            (Stage::Dialling, Event::Person(from)) => {
                self.next = from;
                self.attempt.other = Some(from).filter(|from| *from != self.attempt.from);
            }
            (Stage::Up, Event::Person(_)) => self.needed = now,
            (_, Event::Person(from)) => self.dial_for(now, from),
            (Stage::Waiting(until), Event::Hasten) => {
                let soon = now.max(self.began + HASTEN_MS);
                self.stage = Stage::Waiting(until.min(soon));
                self.tick(now);
            }
            (Stage::Waiting(until), Event::Woke) => {
                // A network that comes up changes many times.
                let soon = now.max(self.began + HASTEN_MS);
                if soon == now {
                    self.backoff.reset();
                }
                self.stage = Stage::Waiting(until.min(soon));
                self.tick(now);
            }
            (Stage::Waiting(_), Event::News) => {
                self.backoff.reset();
                self.dial(now, self.next, false);
            }
            (Stage::Dialling, Event::Woke) => self.attempt.woke = true,
            (Stage::Parked(true), Event::News) if now >= self.news_after => self.dial(now, self.next, false),
            (_, Event::Disconnect) => self.disconnect(),
            (Stage::Dialling, Event::Up) => self.up(now),
            (Stage::Dialling, Event::Failed { why, by_environment, took_ms }) => {
                self.failed(now, why, by_environment, took_ms);
            }
            (Stage::Up, Event::Lost) => {
                self.held(now);
                if self.members {
                    // A link that was up and broke is not a host that was silent. Whoever looks does not wait, once.
                    let at_once = self.watched && self.backoff.is_fresh();
                    let delay = self.delay(Why::Network, 0);
                    self.stage = Stage::Waiting(now + if at_once { 0 } else { delay });
                    self.tick(now);
                } else {
                    self.stage = Stage::Dormant;
                }
            }
            (Stage::Up, Event::Replaced(from)) => {
                self.held(now);
                self.stage = Stage::Dialling;
                self.attempt = Attempt { from, other: None, woke: false };
                self.began = now;
            }
            (_, Event::Tick) => self.tick(now),
            _ => {}
        }
    }

    fn members(&mut self, now: u64, some: bool) {
        if self.members && !some {
            self.needed = now;
        }
        self.members = some;
        match (self.stage, some) {
            (Stage::Dormant, true) => self.dial(now, self.next, false),
            (Stage::Dialling, false) if self.waiting.is_empty() => {
                self.effects.push_back(Effect::Abandon);
                self.stage = Stage::Dormant;
            }
            // Nobody is left whom it could be of use to, and its name may have been a slip.
            (Stage::Waiting(_) | Stage::Parked(_) | Stage::Disconnected, false) => {
                self.stage = Stage::Dormant
            }
            _ => {}
        }
    }

    fn disconnect(&mut self) {
        match self.stage {
            Stage::Dialling => self.effects.push_back(Effect::Abandon),
            Stage::Up => self.effects.push_back(Effect::HangUp),
            _ => {}
        }
        for (who, _) in self.waiting.drain(..) {
            self.effects.push_back(Effect::Tell(who, false));
        }
        self.backoff.reset();
        self.stage = if self.members { Stage::Disconnected } else { Stage::Dormant };
    }

    fn tick(&mut self, now: u64) {
        match self.stage {
            Stage::Waiting(until) if now >= until => self.dial(now, self.next, false),
            Stage::Up if !self.members && now >= self.needed + UNUSED_MS => {
                self.effects.push_back(Effect::HangUp);
                self.stage = Stage::Dormant;
            }
            _ => {}
        }
    }

    fn dial_for(&mut self, now: u64, from: Origin) {
        self.backoff.reset();
        self.news_after = 0;
        self.next = from;
        self.dial(now, from, true);
    }

    fn dial(&mut self, now: u64, from: Origin, asked: bool) {
        self.stage = Stage::Dialling;
        self.attempt = Attempt { from, other: None, woke: false };
        self.began = now;
        self.effects.push_back(Effect::Dial { from, asked });
    }

    fn up(&mut self, now: u64) {
        self.stage = Stage::Up;
        (self.good, self.next) = (Some(self.attempt.from), self.attempt.from);
        (self.up_since, self.needed, self.news_after) = (now, now, 0);
        for (who, _) in self.waiting.drain(..) {
            self.effects.push_back(Effect::Tell(who, true));
        }
    }

    /// A link has ended: one that held was one.
    fn held(&mut self, now: u64) {
        if now.saturating_sub(self.up_since) >= HELD_MS {
            self.backoff.reset();
        }
    }

    /// How long to wait after an attempt that took so long.
    fn delay(&mut self, why: Why, took_ms: u64) -> u64 {
        if self.watched && why == Why::Refused {
            return REFUSED_MS.saturating_sub(took_ms);
        }
        let most = if self.watched { WATCHED_MS } else { u64::MAX };
        self.backoff.failed(took_ms).min(most)
    }

    fn failed(&mut self, now: u64, why: Why, by_environment: bool, took_ms: u64) {
        let Attempt { from, other, woke } = self.attempt;
        let mut others = Vec::new();
        for (who, theirs) in self.waiting.drain(..) {
            if by_environment && theirs != from {
                others.push((who, theirs));
            } else {
                self.effects.push_back(Effect::Tell(who, false));
            }
        }
        self.waiting = others;
        // Who asked from elsewhere has an attempt of their own coming.
        if let Some((_, theirs)) = self.waiting.first() {
            let theirs = *theirs;
            return self.dial_for(now, theirs);
        }
        if !self.members {
            self.stage = Stage::Dormant;
            return;
        }
        if let Some(theirs) = other.filter(|_| by_environment) {
            return self.dial_for(now, theirs);
        }
        let delay = self.delay(why, took_ms);
        if let Some(good) = self.good.filter(|good| by_environment && *good != from) {
            // It reached the host before, and this failure says nothing of it.
            self.next = good;
            self.stage = Stage::Waiting(now + delay);
            return;
        }
        self.stage = match why {
            Why::Refused | Why::Network | Why::Config if woke => {
                self.backoff.reset();
                return self.dial(now, self.next, false);
            }
            Why::Refused | Why::Network | Why::Config => Stage::Waiting(now + delay),
            Why::Agent => {
                self.news_after = now + delay;
                Stage::Parked(true)
            }
            Why::Person => Stage::Parked(false),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backoff::MAX_MS;

    type Machine = Dialling<&'static str>;

    fn host() -> Machine {
        Dialling::new(7, 0)
    }

    fn effects(machine: &mut Machine) -> Vec<Effect<&'static str>> {
        std::iter::from_fn(|| machine.poll()).collect()
    }

    fn after(machine: &mut Machine, now: u64, event: Event<&'static str>) -> Vec<Effect<&'static str>> {
        machine.handle(now, event);
        effects(machine)
    }

    fn failed(why: Why) -> Event<&'static str> {
        Event::Failed { why, by_environment: !matches!(why, Why::Network), took_ms: 5 }
    }

    const UNASKED: Effect<&str> = Effect::Dial { from: 0, asked: false };

    fn asked(from: Origin) -> Effect<&'static str> {
        Effect::Dial { from, asked: true }
    }

    /// Runs on to the next attempt and says when it was.
    fn next_attempt(machine: &mut Machine) -> u64 {
        let at = machine.deadline().expect("it is tried again by itself");
        assert_eq!(after(machine, at, Event::Tick).len(), 1);
        assert_eq!(machine.stage(), Stage::Dialling);
        at
    }

    #[test]
    fn ten_creates_at_once_dial_once_and_hear_the_same() {
        for (event, up) in [(Event::Up, true), (failed(Why::Network), false), (failed(Why::Person), false)] {
            let mut host = host();
            assert_eq!(after(&mut host, 0, Event::Want("0", 3)), [asked(3)]);
            assert_eq!(after(&mut host, 0, Event::Members(true)), []);
            let names = ["1", "2", "3", "4", "5", "6", "7", "8", "9"];
            for name in names {
                assert_eq!(after(&mut host, 1, Event::Want(name, 3)), []);
            }
            let told = after(&mut host, 900, event);
            let expected: Vec<_> = ["0"].iter().chain(&names).map(|who| Effect::Tell(*who, up)).collect();
            assert_eq!(told, expected);
            assert_ne!(host.stage(), Stage::Dialling);
        }
    }

    #[test]
    fn what_a_person_disconnects_stays_so_until_somebody_wants_it() {
        for stage in ["up", "dialling", "waiting", "parked"] {
            let mut host = host();
            after(&mut host, 0, Event::Members(true));
            let effect = match stage {
                "up" => {
                    after(&mut host, 1, Event::Up);
                    vec![Effect::HangUp]
                }
                "waiting" => {
                    after(&mut host, 1, failed(Why::Network));
                    vec![]
                }
                "parked" => {
                    after(&mut host, 1, failed(Why::Agent));
                    vec![]
                }
                _ => {
                    after(&mut host, 1, Event::Want("me", 0));
                    vec![Effect::Abandon, Effect::Tell("me", false)]
                }
            };
            assert_eq!(after(&mut host, 2, Event::Disconnect), effect, "{stage}");
            assert_eq!((host.stage(), host.deadline()), (Stage::Disconnected, None), "{stage}");
            for event in
                [Event::Woke, Event::News, Event::Hasten, Event::Tick, Event::Members(true), Event::Lost]
            {
                assert_eq!(after(&mut host, 1_000_000, event), [], "{stage} {event:?}");
            }
            assert_eq!(after(&mut host, 2_000_000, Event::Person(0)), [asked(0)], "{stage}");
        }
        // With nobody there it is as if it had never been.
        let mut host = host();
        after(&mut host, 0, Event::Want("me", 0));
        after(&mut host, 1, Event::Up);
        assert_eq!(after(&mut host, 2, Event::Disconnect), [Effect::HangUp]);
        assert_eq!(host.stage(), Stage::Dormant);
    }

    #[test]
    fn sessions_on_record_are_dialled_for_unasked_and_a_person_joins_that_attempt() {
        let mut host = host();
        assert_eq!(after(&mut host, 0, Event::Members(true)), [UNASKED]);
        assert_eq!(after(&mut host, 1, Event::Want("me", 0)), []);
        assert_eq!(after(&mut host, 2, failed(Why::Network)), [Effect::Tell("me", false)]);
        assert!(matches!(host.stage(), Stage::Waiting(_)));
    }

    #[test]
    fn the_network_and_the_configuration_are_tried_again_ever_more_slowly() {
        for why in [Why::Refused, Why::Network, Why::Config] {
            let mut host = host();
            after(&mut host, 0, Event::Members(true));
            let (mut now, mut gaps) = (0, Vec::new());
            for _ in 0..20 {
                after(&mut host, now + 5, failed(why));
                let at = next_attempt(&mut host);
                gaps.push(at - now);
                now = at;
            }
            assert!(gaps[0] <= 1_005 && gaps.iter().all(|gap| *gap <= MAX_MS + 5), "{gaps:?}");
            assert!(gaps[12..].iter().all(|gap| *gap >= MAX_MS / 2), "{gaps:?}");
        }
    }

    #[test]
    fn a_person_a_wake_up_and_a_changed_file_do_not_wait_for_their_time() {
        for event in [Event::Person(0), Event::Woke, Event::News] {
            let mut host = host();
            after(&mut host, 0, Event::Members(true));
            after(&mut host, 9_000, failed(Why::Network));
            let effects = after(&mut host, 9_001, event);
            assert!(matches!(effects[..], [Effect::Dial { from: 0, .. }]), "{effects:?}");
        }
    }

    #[test]
    fn keys_that_are_typed_bring_an_attempt_nearer_but_to_no_more_than_one_a_second() {
        let mut host = host();
        after(&mut host, 0, Event::Members(true));
        let mut attempts = 0;
        for now in (0..10_000).step_by(10) {
            let effects = [after(&mut host, now, Event::Hasten), after(&mut host, now, Event::Tick)].concat();
            if !effects.is_empty() {
                attempts += 1;
            }
            if host.stage() == Stage::Dialling {
                after(&mut host, now, failed(Why::Network));
            }
        }
        assert!((9..=11).contains(&attempts), "{attempts}");
    }

    #[test]
    fn what_a_person_has_to_give_is_asked_for_once_for_each_time_a_person_asks() {
        let mut host = host();
        after(&mut host, 0, Event::Members(true));
        assert_eq!(after(&mut host, 10, failed(Why::Person)), []);
        assert_eq!((host.stage(), host.deadline()), (Stage::Parked(false), None));
        for event in [Event::Tick, Event::Woke, Event::News, Event::Hasten, Event::Members(true)] {
            assert_eq!(after(&mut host, 1 << 40, event), [], "{event:?}");
        }
        assert_eq!(after(&mut host, 1 << 40, Event::Person(0)), [asked(0)]);
        after(&mut host, 1 << 40, failed(Why::Person));
        assert_eq!(after(&mut host, 1 << 40, Event::Want("me", 0)), [asked(0)]);
        assert_eq!(after(&mut host, 1 << 40, failed(Why::Person)), [Effect::Tell("me", false)]);
    }

    #[test]
    fn while_somebody_looks_at_a_session_of_it_a_host_is_tried_every_ten_seconds_at_least() {
        let mut host = host();
        after(&mut host, 0, Event::Members(true));
        let mut now = 0;
        for watched in [true, false, true] {
            for _ in 0..12 {
                after(&mut host, now, Event::Watched(watched));
                after(
                    &mut host,
                    now,
                    Event::Failed { why: Why::Network, by_environment: false, took_ms: 10_000 },
                );
                let Stage::Waiting(until) = host.stage() else { panic!("{:?}", host.stage()) };
                assert!(!watched || until - now <= WATCHED_MS, "{}", until - now);
                now = until;
                after(&mut host, now, Event::Tick);
            }
            let last = host.delay(Why::Network, 10_000);
            assert!(watched || last >= MAX_MS / 2, "nobody looks: {last}");
        }
    }

    #[test]
    fn a_port_that_refuses_is_tried_four_times_a_second_while_somebody_looks_and_four_times_a_minute_else() {
        for (watched, least, most) in [(true, 230, 241), (false, 3, 4)] {
            for seed in 0..50 {
                let mut host: Machine = Dialling::new(seed, 0);
                after(&mut host, 0, Event::Watched(watched));
                after(&mut host, 0, Event::Members(true));
                let (mut now, mut attempts) = (0, 0);
                while now < 60_000 {
                    attempts += 1;
                    let refused = Event::Failed { why: Why::Refused, by_environment: false, took_ms: 1 };
                    after(&mut host, now + 1, refused);
                    now = next_attempt(&mut host);
                }
                assert!((least..=most).contains(&attempts), "{watched}: {attempts}");
            }
        }
    }

    #[test]
    fn a_link_that_somebody_looks_at_is_dialled_again_at_once_when_it_breaks_and_not_over_and_over() {
        let mut host = host();
        after(&mut host, 0, Event::Watched(true));
        after(&mut host, 0, Event::Members(true));
        let mut now = 0;
        for (held, at_once) in [(10, true), (10, false), (10, false), (HELD_MS, true), (HELD_MS, true)] {
            after(&mut host, now, Event::Up);
            now += held;
            let effects = after(&mut host, now, Event::Lost);
            assert_eq!(!effects.is_empty(), at_once);
            if !at_once {
                now = next_attempt(&mut host);
            }
        }
        after(&mut host, now, Event::Up);
        after(&mut host, now, Event::Watched(false));
        assert_eq!(after(&mut host, now + HELD_MS, Event::Lost), [], "all laptops at the same moment");
    }

    #[test]
    fn a_network_that_changes_all_the_time_is_no_more_than_two_attempts_in_two_seconds() {
        let mut host = host();
        after(&mut host, 0, Event::Members(true));
        let mut attempts = 0;
        for now in (0..10_000).step_by(10) {
            let effects = [after(&mut host, now, Event::Woke), after(&mut host, now, Event::Tick)].concat();
            attempts += usize::from(!effects.is_empty());
            if host.stage() == Stage::Dialling {
                host.attempt.woke = false;
                after(&mut host, now, failed(Why::Network));
            }
        }
        assert!((8..=11).contains(&attempts), "{attempts}");
    }

    #[test]
    fn a_second_link_that_carries_on_is_an_attempt_that_was_not_begun() {
        let mut host = host();
        after(&mut host, 0, Event::Members(true));
        after(&mut host, 5, Event::Up);
        assert_eq!(after(&mut host, 90, Event::Replaced(0)), []);
        assert_eq!(host.stage(), Stage::Dialling);
        assert_eq!(after(&mut host, 91, Event::Want("me", 0)), []);
        assert_eq!(after(&mut host, 99, Event::Up), [Effect::Tell("me", true)]);
    }

    #[test]
    fn an_agent_that_was_away_is_no_reason_to_wait_for_a_person() {
        let mut host = host();
        after(&mut host, 0, Event::Members(true));
        after(&mut host, 10, failed(Why::Agent));
        assert_eq!((host.stage(), host.deadline()), (Stage::Parked(true), None));
        assert_eq!(after(&mut host, 5_000, Event::News), [UNASKED]);
        // One that answers and then is of no use again is not a reason to knock every time.
        let mut attempts = 0;
        after(&mut host, 5_010, failed(Why::Agent));
        for now in (6_000..126_000).step_by(1_000) {
            if after(&mut host, now, Event::News) == [UNASKED] {
                attempts += 1;
                after(&mut host, now + 5, failed(Why::Agent));
            }
        }
        assert!((3..=10).contains(&attempts), "{attempts}");
    }

    #[test]
    fn who_asks_from_another_environment_is_not_told_what_was_the_fault_of_the_first() {
        let mut host = host();
        after(&mut host, 0, Event::Members(true));
        assert_eq!(after(&mut host, 1, Event::Want("cron", 0)), []);
        assert_eq!(after(&mut host, 1, Event::Want("login", 4)), []);
        assert_eq!(after(&mut host, 1, Event::Want("login too", 4)), []);
        assert_eq!(after(&mut host, 9, failed(Why::Agent)), [Effect::Tell("cron", false), asked(4)]);
        assert_eq!(
            after(&mut host, 20, Event::Up),
            [Effect::Tell("login", true), Effect::Tell("login too", true)]
        );
        // A silent network is the same for everybody.
        let mut host = self::host();
        after(&mut host, 0, Event::Members(true));
        after(&mut host, 1, Event::Want("login", 4));
        assert_eq!(after(&mut host, 9, failed(Why::Network)), [Effect::Tell("login", false)]);
    }

    #[test]
    fn a_person_who_looks_from_another_environment_has_an_attempt_of_their_own() {
        let mut host = host();
        after(&mut host, 0, Event::Members(true));
        assert_eq!(after(&mut host, 1, Event::Person(4)), []);
        assert_eq!(after(&mut host, 2, failed(Why::Person)), [asked(4)]);
        assert_eq!(after(&mut host, 3, failed(Why::Person)), []);
        assert_eq!(host.stage(), Stage::Parked(false));
    }

    #[test]
    fn what_worked_last_is_what_a_lost_link_is_dialled_again_with() {
        let mut host = host();
        after(&mut host, 0, Event::Members(true));
        after(&mut host, 1, failed(Why::Agent));
        after(&mut host, 2, Event::Person(4));
        after(&mut host, 3, Event::Up);
        after(&mut host, 50, Event::Lost);
        let at = host.deadline().unwrap();
        assert_eq!(after(&mut host, at, Event::Tick), [Effect::Dial { from: 4, asked: false }]);
        // Somebody without a key looks: that fails, and is no reason to wait for a person.
        after(&mut host, at + 1, failed(Why::Network));
        assert_eq!(after(&mut host, at + 2, Event::Want("cron", 5)), [asked(5)]);
        assert_eq!(after(&mut host, at + 3, failed(Why::Person)), [Effect::Tell("cron", false)]);
        let at = host.deadline().unwrap();
        assert_eq!(after(&mut host, at, Event::Tick), [Effect::Dial { from: 4, asked: false }]);
        after(&mut host, at + 1, failed(Why::Person));
        assert_eq!(host.stage(), Stage::Parked(false), "the one that worked is refused too");
    }

    #[test]
    fn a_link_that_breaks_as_soon_as_it_is_up_is_dialled_ever_more_slowly_and_one_that_held_at_once() {
        let mut host = host();
        after(&mut host, 0, Event::Members(true));
        let (mut now, mut gaps) = (0, Vec::new());
        for held in [&[10; 12][..], &[HELD_MS - 1, HELD_MS, HELD_MS]].concat() {
            after(&mut host, now + 5, Event::Up);
            after(&mut host, now + 5 + held, Event::Lost);
            let lost = now + 5 + held;
            now = next_attempt(&mut host);
            gaps.push(now - lost);
        }
        assert!(gaps[0] < 1_000, "{gaps:?}");
        assert!(gaps[9..13].iter().all(|gap| *gap >= MAX_MS / 2), "{gaps:?}");
        assert!(gaps[13..].iter().all(|gap| *gap < 1_000), "{gaps:?}");
    }

    #[test]
    fn a_host_that_nobody_needs_any_more_is_let_go() {
        for why in [Why::Refused, Why::Network, Why::Config, Why::Agent, Why::Person] {
            let mut host = host();
            after(&mut host, 0, Event::Want("me", 0));
            after(&mut host, 0, Event::Members(true));
            after(&mut host, 9, failed(why));
            assert_ne!(host.stage(), Stage::Dormant);
            assert_eq!(after(&mut host, 10, Event::Members(false)), []);
            assert_eq!((host.stage(), host.deadline()), (Stage::Dormant, None), "{why:?}");
        }
        let mut host = host();
        after(&mut host, 0, Event::Members(true));
        assert_eq!(after(&mut host, 5, Event::Members(false)), [Effect::Abandon]);
        assert_eq!(host.stage(), Stage::Dormant);
        // What the attempt came to all the same is heard by nobody.
        assert_eq!(after(&mut host, 6, Event::Up), []);
        assert_eq!(host.stage(), Stage::Dormant);
    }

    #[test]
    fn a_link_is_kept_for_a_minute_after_the_last_who_needed_it() {
        let mut host = host();
        after(&mut host, 0, Event::Want("me", 0));
        assert_eq!(after(&mut host, 1_000, Event::Up), [Effect::Tell("me", true)]);
        assert_eq!(host.deadline(), Some(1_000 + UNUSED_MS));
        after(&mut host, 30_000, Event::Members(true));
        assert_eq!(host.deadline(), None);
        after(&mut host, 500_000, Event::Members(false));
        assert_eq!(after(&mut host, 530_000, Event::Want("you", 9)), [Effect::Tell("you", true)]);
        assert_eq!(after(&mut host, 530_000 + UNUSED_MS - 1, Event::Tick), []);
        assert_eq!(after(&mut host, 530_000 + UNUSED_MS, Event::Tick), [Effect::HangUp]);
        assert_eq!(host.stage(), Stage::Dormant);
    }

    #[test]
    fn a_machine_that_slept_in_the_middle_of_an_attempt_dials_again_at_once() {
        let mut host = host();
        after(&mut host, 0, Event::Members(true));
        after(&mut host, 1, Event::Woke);
        assert_eq!(after(&mut host, 2, failed(Why::Network)), [UNASKED]);
        assert_eq!(after(&mut host, 3, failed(Why::Network)), []);
        assert!(matches!(host.stage(), Stage::Waiting(_)));
    }

    fn any_event() -> impl proptest::strategy::Strategy<Value = Event<&'static str>> {
        use proptest::prelude::*;
        let why = prop_oneof![
            Just(Why::Refused),
            Just(Why::Network),
            Just(Why::Config),
            Just(Why::Agent),
            Just(Why::Person)
        ];
        prop_oneof![
            any::<bool>().prop_map(Event::Members),
            (0u32..3).prop_map(|origin| Event::Want("who", origin)),
            (0u32..3).prop_map(Event::Person),
            Just(Event::Hasten),
            any::<bool>().prop_map(Event::Watched),
            Just(Event::Woke),
            Just(Event::News),
            Just(Event::Up),
            (why, any::<bool>(), 0u64..20_000).prop_map(|(why, by_environment, took_ms)| Event::Failed {
                why,
                by_environment,
                took_ms
            }),
            Just(Event::Lost),
            Just(Event::Replaced(0)),
            Just(Event::Tick),
        ]
    }

    proptest::proptest! {
        /// Whatever comes in which order: one attempt at a time, everybody who waits is told once and only of an attempt,
        /// and nobody waits while there is none.
        #[test]
        fn one_attempt_at_a_time_and_nobody_is_forgotten(
            events in proptest::collection::vec((any_event(), 0u64..90_000), 1..200),
        ) {
            let (mut host, mut now) = (host(), 0);
            let (mut on_its_way, mut waiting) = (false, 0i64);
            for (event, later) in events {
                now += later;
                if matches!(event, Event::Want(..)) {
                    waiting += 1;
                }
                let ends = on_its_way && matches!(event, Event::Up | Event::Failed { .. });
                let parked = host.stage() == Stage::Parked(false);
                host.handle(now, event);
                on_its_way &= !ends;
                for effect in effects(&mut host) {
                    match effect {
                        Effect::Dial { .. } => {
                            proptest::prop_assert!(!on_its_way, "two attempts at once");
                            proptest::prop_assert!(
                                !parked || matches!(event, Event::Want(..) | Event::Person(_)),
                                "without a person: {event:?}"
                            );
                            on_its_way = true;
                        }
                        Effect::Abandon => on_its_way = false,
                        Effect::Tell(..) => waiting -= 1,
                        Effect::HangUp => {}
                    }
                }
                on_its_way |= matches!(event, Event::Replaced(_)) && host.stage() == Stage::Dialling;
                proptest::prop_assert_eq!(on_its_way, host.stage() == Stage::Dialling);
                proptest::prop_assert!(waiting == 0 || (waiting > 0 && on_its_way), "{} wait", waiting);
            }
        }
    }
}
