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
use crate::budget::Budget;
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
/// The same where something took the connection and hung up before it said that it is ssh: for so many attempts in a row,
/// and then this, in milliseconds. On the way there may be a proxy's process, or a login at a jump host.
pub const HUNG_UP_MS: u64 = 1_500;
const HUNG_UP_TRIES: u32 = 20;
const HUNG_UP_LAST_MS: u64 = 5_000;
/// The longest time between two attempts while somebody looks at a session there, in milliseconds.
pub const WATCHED_MS: u64 = 10_000;

/// A link that held as long as this was one: the next is dialled as soon as if nothing had failed before. One that comes up
/// and breaks at once is dialled again ever more slowly, in milliseconds.
pub const HELD_MS: u64 = 10_000;

/// Links that may break one soon after the other and are dialled again at once, each of them a login: a line that is cut, and cut
/// again, is not a host that breaks every link.
pub const CUTS: u64 = 5;
/// For so long a time that links were up, one more may, in milliseconds.
pub const CUT_MS: u64 = 5_000;

/// Why an attempt failed, by what has to change before another one is of use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// Nothing was reached that could refuse a login: the port is closed, or there is no way to it now. Time.
    Refused,
    /// What was reached hung up before it said that it is ssh: time.
    HungUp,
    /// The network or the host: time.
    Network,
    /// It hung up on a login that it had taken, or ran something else than it was asked to. Once, that is the network; again, a
    /// person's business.
    Shut,
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
    /// How long links were up, all together.
    up_ms: u64,
    /// What breaks and is dialled again at once, by the time that links were up.
    cuts: Budget,
    /// When the link was last needed.
    needed: u64,
    /// Attempts in a row that were hung up on before a word.
    hung_up: u32,
    /// The last attempt that came to anything was of no use after the login.
    shut: bool,
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
            up_ms: 0,
            cuts: Budget::new(CUTS, CUT_MS),
            needed: 0,
            hung_up: 0,
            shut: false,
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
                    // A link that was up and broke is not a host that was silent. Whoever looks does not wait; where nobody
                    // does, the laptops of a whole office do not come at the same moment.
                    let delay = match self.cuts.take(self.up_ms) {
                        true if self.watched => 0,
                        true => self.backoff.first(),
                        false => self.delay(Why::Network, 0),
                    };
                    self.stage = Stage::Waiting(now + delay);
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
        (self.news_after, self.hung_up) = (0, 0);
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
        (self.hung_up, self.shut) = (0, false);
        for (who, _) in self.waiting.drain(..) {
            self.effects.push_back(Effect::Tell(who, true));
        }
    }

    /// A link has ended: one that held was one.
    fn held(&mut self, now: u64) {
        let held = now.saturating_sub(self.up_since);
        self.up_ms += held;
        if held >= HELD_MS {
            self.backoff.reset();
        }
    }

    /// How long to wait after an attempt that took so long.
    fn delay(&mut self, why: Why, took_ms: u64) -> u64 {
        if self.watched && why == Why::Refused {
            return REFUSED_MS.saturating_sub(took_ms);
        }
        if self.watched && why == Why::HungUp {
            self.hung_up = self.hung_up.saturating_add(1);
            let every = if self.hung_up <= HUNG_UP_TRIES { HUNG_UP_MS } else { HUNG_UP_LAST_MS };
            return every.saturating_sub(took_ms).max(REFUSED_MS);
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
        // A network that is away meanwhile says nothing of the account.
        let again = why == Why::Shut && std::mem::replace(&mut self.shut, why == Why::Shut);
        let why = if again { Why::Person } else { why };
        let delay = self.delay(why, took_ms);
        if let Some(good) = self.good.filter(|good| by_environment && *good != from) {
            // It reached the host before, and this failure says nothing of it.
            self.next = good;
            self.stage = Stage::Waiting(now + delay);
            return;
        }
        self.stage = match why {
            Why::Refused | Why::HungUp | Why::Network | Why::Shut | Why::Config if woke => {
                self.backoff.reset();
                return self.dial(now, self.next, false);
            }
            Why::Refused | Why::HungUp | Why::Network | Why::Shut | Why::Config => {
                Stage::Waiting(now + delay)
            }
            Why::Agent => {
                self.news_after = now + delay;
                Stage::Parked(true)
            }
            Why::Person => Stage::Parked(false),
        };
    }
}

#[cfg(test)]
mod tests;
