//! One host: whether there is a link to it, what was seen there, and what each who lives there or waits is told.
//!
//! ```text
//!           dialled           an inventory
//!  attempt ────────▶ greeting ────────────▶ up ──┐ looks again while somebody is in doubt
//!     ▲                 │                   │ ▲──┘
//!     │                 │ silence, the link's end, what no agent does
//!     └── no link ◀─────┴───────────────────┘
//! ```
//!
//! An answer that is late while somebody waits for it has a second link dialled beside the first, which is not given up:
//! whichever can resume first carries on ([`beside`]).
//!
//! When there is an attempt is [`crate::dialling`]'s to say. Whatever comes is taken in in every phase, in one place: an
//! answer that nobody waits for any more, a link's end after the next began, a doubt in the middle of a probe. Links and
//! members are known by numbers, none of which is ever given again; an attempt has the number of the link that it may come to.

mod beside;
#[cfg(test)]
mod tests;

pub use beside::{Beside, SPARE_MS};

use crate::dialling::{self, Dialling, Origin, Stage, Why};
use crate::link::LinkEnd;
use crate::reconcile::Seen;
use beside::Spare;
use sessd_proto::messages::{Inventory, LinkAnswer};
use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;

/// How long the agent may take for its first words and for each inventory, in milliseconds.
pub const GREETING_MS: u64 = 15_000;
/// How long a link that takes no more questions may take to say why, in milliseconds.
const LAST_WORDS_MS: u64 = 2_000;
/// How soon to probe again at jobs about which nothing firm is known, and how often at the least, in milliseconds.
pub const PROBE_AGAIN_FIRST_MS: u64 = 250;
/// See [`PROBE_AGAIN_FIRST_MS`].
pub const PROBE_AGAIN_LAST_MS: u64 = 30_000;

/// A member of a host.
pub type Member = u64;
/// A link to it.
pub type LinkNumber = u64;

/// Why there is no link. `E`: why an attempt failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause<E> {
    /// It was not dialled yet.
    NotDialled,
    /// The attempt failed.
    Attempt(E),
    /// The link ended.
    Link(LinkEnd),
    /// The agent does not say what is there.
    Refused(String),
    /// A person wanted none.
    Disconnected,
}

/// What happened. `W`: who waits for a link; `L`: who waits for an inventory.
#[derive(Debug)]
pub enum Event<W, L, E> {
    /// A session lives there from now on.
    Enlisted(Member),
    /// It does no more.
    Dismissed(Member),
    /// Somebody waits for what comes of one attempt.
    Want(W, Origin),
    /// A person looks at a session there.
    Person(Origin),
    /// A person is there, and does something else.
    Hasten,
    /// Somebody wants to know what is there now.
    Probe(L),
    /// A member waits for firm news: another probe, soon.
    ProbeAgain,
    /// A member waits to hear that the host answers: another probe, now.
    ProbeNow,
    /// Somebody looks at a session there, or nobody does; counts for the waits that begin after it.
    Watched(bool),
    /// A person wants no link, until one does.
    Disconnect,
    /// This machine slept, or its network changed.
    Woke,
    /// What may be dialled beside a link, by what is known of the host's login.
    May(Beside),
    /// What may mend the last failure has come.
    News,
    /// The attempt of this number came to a byte stream: the link of the same number.
    Dialled(LinkNumber),
    /// An attempt failed.
    NotDialled {
        /// Its number.
        number: LinkNumber,
        /// What has to change.
        why: Why,
        /// It may be the doing of the environment the attempt was made from.
        by_environment: bool,
        /// What people are told.
        error: E,
    },
    /// What an agent said when it was asked what is there; `None`: the link takes no questions.
    Answered(LinkNumber, Option<LinkAnswer>),
    /// A link has ended.
    Ended(LinkNumber, LinkEnd),
    /// A link has nothing heard for longer than a heartbeat allows, or that is over; it is stalled.
    Changed(LinkNumber, bool),
    /// An answer that somebody waits for is late on a link, or that is over.
    Late(LinkNumber, bool),
    /// Time has passed.
    Tick,
}

/// What is to be done, in this order.
#[derive(Debug)]
pub enum Effect<W, L, E> {
    /// Begin an attempt.
    Dial {
        /// Its number, and that of the link that it may come to.
        number: LinkNumber,
        /// From this environment.
        from: Origin,
        /// Somebody asked for it.
        asked: bool,
        /// It is made beside a link that is there: nobody is asked anything for it.
        beside: bool,
    },
    /// The attempt of this number is of no use: drop it.
    Abandon(LinkNumber),
    /// End this link, or let go of what is left of it.
    HangUp(LinkNumber),
    /// Silence on this link is soon its end.
    Doubt(LinkNumber),
    /// Ask this link's agent what is there.
    Ask(LinkNumber),
    /// Tell whoever waits: the link is up, or why it is not.
    Tell(W, Result<(), Cause<E>>),
    /// Tell what is there, or that the link was lost.
    Probed(L, Option<Rc<Seen>>),
    /// This is what is there now; members are told next.
    Seen(Rc<Seen>),
    /// The link is up: this member is told so and what is there.
    Up(Member, LinkNumber, Rc<Seen>),
    /// This member is told of a later probe.
    News(Member, Rc<Seen>),
    /// What [`Host::phase`] says is otherwise than it was: everybody is told.
    Publish,
    /// The link is up, its members know; what nobody needs may be swept.
    Sweep(LinkNumber, Rc<Seen>),
    /// Wait for what may mend the last failure, of an attempt from this environment.
    Watch(Origin),
    /// Wait for that no more.
    Unwatch,
}

/// Where the host's link stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Nobody needs it.
    Dormant,
    /// An attempt is on its way, or a link has not said yet what is there.
    Connecting,
    /// The link of this number is there and greeted.
    Up(LinkNumber),
    /// Dialled again by itself at this time.
    Waiting(u64),
    /// Not dialled again without a person, or what was missing.
    Parked,
    /// Not dialled again until somebody wants it: a person said so.
    Disconnected,
}

/// A probe on its way.
#[derive(Debug)]
struct Probe<L> {
    who: Vec<L>,
    until: u64,
    /// The link takes no questions, and will say why.
    refused: bool,
}

/// A link from its byte stream on.
#[derive(Debug)]
struct Established<L> {
    number: LinkNumber,
    since: u64,
    stalled: bool,
    /// Since when an answer is late that somebody waits for.
    late: Option<u64>,
    /// What was there at the last probe; none: it has not said yet.
    seen: Option<Rc<Seen>>,
    probe: Option<Probe<L>>,
    /// Who wants a probe that begins later than the one on its way.
    next: Vec<L>,
    /// When to probe again: soon after the first doubt, then ever more slowly while it lasts.
    again_at: Option<u64>,
    delay: u64,
    doubted: u64,
}

/// An attempt on its way.
#[derive(Debug, Clone, Copy)]
struct Attempt {
    number: LinkNumber,
    since: u64,
}

/// What there is of a way to the host.
#[derive(Debug)]
enum Way<L> {
    Nothing,
    Attempt(Attempt),
    Link(Established<L>),
}

/// One host's machine. Times are milliseconds by a clock that never goes back.
#[derive(Debug)]
pub struct Host<W, L, E> {
    members: BTreeSet<Member>,
    dialling: Dialling<W>,
    way: Way<L>,
    spare: Spare<L>,
    /// Attempts so far.
    attempts: LinkNumber,
    cause: Cause<E>,
    /// What may mend it without a person.
    why: Why,
    /// The environment of the last attempt.
    from: Origin,
    /// The stage that everybody knows of.
    published: Stage,
    effects: VecDeque<Effect<W, L, E>>,
    told: Vec<Effect<W, L, E>>,
}

impl<W, L, E: Clone> Host<W, L, E> {
    /// A host nobody needs yet. `from`: the environment that counts until somebody asks from another.
    pub fn new(seed: u64, from: Origin) -> Self {
        Self {
            members: BTreeSet::new(),
            dialling: Dialling::new(seed, from),
            way: Way::Nothing,
            spare: Spare::default(),
            attempts: 0,
            cause: Cause::NotDialled,
            why: Why::Network,
            from,
            published: Stage::Dormant,
            effects: VecDeque::new(),
            told: Vec::new(),
        }
    }

    /// The next thing to do, until there is none.
    pub fn poll(&mut self) -> Option<Effect<W, L, E>> {
        self.effects.pop_front()
    }

    /// When to send a [`Event::Tick`].
    pub fn deadline(&self) -> Option<u64> {
        let probes = match &self.way {
            Way::Link(Established { probe: Some(probe), .. }) => Some(probe.until),
            Way::Link(live) => live.again_at,
            _ => None,
        };
        self.dialling.deadline().into_iter().chain(probes).chain(self.spare_deadline()).min()
    }

    /// Where its link stands, as everybody knows.
    pub fn phase(&self) -> Phase {
        match (self.published, &self.way) {
            (Stage::Dormant, _) => Phase::Dormant,
            (Stage::Up, Way::Link(live)) => Phase::Up(live.number),
            (Stage::Dialling | Stage::Up, _) => Phase::Connecting,
            (Stage::Waiting(at), _) => Phase::Waiting(at),
            (Stage::Parked(_), _) => Phase::Parked,
            (Stage::Disconnected, _) => Phase::Disconnected,
        }
    }

    /// Why there was no link the last time there was none.
    pub fn cause(&self) -> &Cause<E> {
        &self.cause
    }

    /// Takes in what happened at `now`.
    pub fn handle(&mut self, now: u64, event: Event<W, L, E>) {
        self.take(now, event);
        // Whoever waits is told when everybody who lives there was.
        self.effects.extend(self.told.drain(..));
    }

    fn take(&mut self, now: u64, event: Event<W, L, E>) {
        match event {
            Event::Enlisted(member) => {
                if let Way::Link(Established { number, seen: Some(seen), .. }) = &self.way {
                    self.effects.push_back(Effect::Up(member, *number, seen.clone()));
                }
                self.members.insert(member);
                self.decide(now, dialling::Event::Members(true));
            }
            Event::Dismissed(member) => {
                if self.members.remove(&member) && self.members.is_empty() {
                    self.decide(now, dialling::Event::Members(false));
                }
            }
            Event::Want(who, from) => {
                if let Way::Link(Established { number, stalled: true, .. }) = &self.way {
                    // Somebody waits for a link that is silent: it answers soon, or it is dialled anew.
                    self.effects.push_back(Effect::Doubt(*number));
                }
                self.decide(now, dialling::Event::Want(who, from));
            }
            Event::Person(from) => self.decide(now, dialling::Event::Person(from)),
            Event::Hasten => self.decide(now, dialling::Event::Hasten),
            Event::Disconnect => {
                (self.cause, self.why) = (Cause::Disconnected, Why::Person);
                self.decide(now, dialling::Event::Disconnect);
            }
            Event::Watched(watched) => self.decide(now, dialling::Event::Watched(watched)),
            Event::Probe(who) => match &mut self.way {
                Way::Link(live) if live.seen.is_some() => {
                    live.next.push(who);
                    self.probe(now);
                }
                _ => self.effects.push_back(Effect::Probed(who, None)),
            },
            Event::ProbeAgain => {
                if let Way::Link(live) = &mut self.way {
                    live.doubt(now);
                }
            }
            Event::ProbeNow => {
                if matches!(&self.way, Way::Link(live) if live.seen.is_some()) {
                    self.probe(now);
                }
            }
            Event::Woke => {
                if let Way::Link(live) = &mut self.way {
                    live.stalled = true;
                    self.effects.extend([Effect::Doubt(live.number), Effect::Publish]);
                }
                self.spare_woke(now);
                self.decide(now, dialling::Event::Woke);
            }
            Event::News => {
                self.decide(now, dialling::Event::News);
                if self.dialling.stage() == self.published {
                    // Too soon after the last news.
                    self.watch();
                }
            }
            Event::Dialled(number) => self.dialled(now, number),
            Event::May(beside) => self.may(now, beside),
            Event::NotDialled { number, why, by_environment, error } => {
                if self.spare.is_attempt(number) {
                    self.spare_failed(now, why);
                } else if let Way::Attempt(Attempt { since, .. }) = self.way
                    && self.is_attempt(number)
                {
                    self.way = Way::Nothing;
                    (self.cause, self.why) = (Cause::Attempt(error), why);
                    let took_ms = now.saturating_sub(since);
                    self.decide(now, dialling::Event::Failed { why, by_environment, took_ms });
                }
            }
            Event::Answered(number, answer) => {
                if self.is_live(number) {
                    self.answered(now, answer);
                } else if self.spare.is_link(number) {
                    self.spare_answered(now, answer);
                }
            }
            Event::Ended(number, end) => {
                if self.is_live(number) {
                    self.failed(now, Cause::Link(end));
                } else if self.spare.is_link(number) {
                    self.let_spare_go();
                }
            }
            Event::Late(number, late) => self.late(now, number, late),
            Event::Changed(number, stalled) => {
                if let Way::Link(live) = &mut self.way
                    && live.number == number
                {
                    live.stalled = stalled;
                    self.effects.push_back(Effect::Publish);
                }
            }
            Event::Tick => self.tick(now),
        }
    }

    fn is_live(&self, number: LinkNumber) -> bool {
        matches!(&self.way, Way::Link(live) if live.number == number)
    }

    fn is_attempt(&self, number: LinkNumber) -> bool {
        matches!(&self.way, Way::Attempt(attempt) if attempt.number == number)
    }

    /// The attempt that begins now.
    fn next_attempt(&mut self, now: u64) -> Attempt {
        self.attempts += 1;
        Attempt { number: self.attempts, since: now }
    }

    /// Says a thing to whoever says when the host is dialled, and does what that says.
    fn decide(&mut self, now: u64, event: dialling::Event<W>) {
        self.dialling.handle(now, event);
        while let Some(effect) = self.dialling.poll() {
            match effect {
                dialling::Effect::Dial { from, asked } => {
                    self.from = from;
                    let attempt = self.next_attempt(now);
                    self.way = Way::Attempt(attempt);
                    let number = attempt.number;
                    self.effects.push_back(Effect::Dial { number, from, asked, beside: false });
                }
                dialling::Effect::Abandon | dialling::Effect::HangUp => self.let_go(),
                dialling::Effect::Tell(who, true) => self.told.push(Effect::Tell(who, Ok(()))),
                dialling::Effect::Tell(who, false) => {
                    self.told.push(Effect::Tell(who, Err(self.cause.clone())));
                }
            }
        }
        if self.published != self.dialling.stage() {
            self.published = self.dialling.stage();
            self.effects.push_back(Effect::Publish);
            self.watch();
        }
    }

    /// What may mend the last failure is waited for, or not any more.
    fn watch(&mut self) {
        let mends = match self.published {
            Stage::Waiting(_) => self.why == Why::Config,
            Stage::Parked(by_itself) => by_itself,
            _ => false,
        };
        self.effects.push_back(if mends { Effect::Watch(self.from) } else { Effect::Unwatch });
    }

    /// What there is of an attempt or a link is let go of.
    fn let_go(&mut self) {
        match std::mem::replace(&mut self.way, Way::Nothing) {
            Way::Nothing => {}
            Way::Attempt(attempt) => self.effects.push_back(Effect::Abandon(attempt.number)),
            Way::Link(live) => self.hang_up(live),
        }
        self.let_spare_go();
    }

    fn hang_up(&mut self, live: Established<L>) {
        self.effects.push_back(Effect::HangUp(live.number));
        let probe = live.probe.into_iter().flat_map(|probe| probe.who);
        self.effects.extend(probe.chain(live.next).map(|who| Effect::Probed(who, None)));
    }

    /// A link begins: its first words are a greeting and the inventory.
    fn dialled(&mut self, now: u64, number: LinkNumber) {
        if self.spare.is_attempt(number) {
            return self.spare_dialled(now, number);
        }
        if !self.is_attempt(number) {
            // Nobody waits for it any more.
            return self.effects.push_back(Effect::HangUp(number));
        }
        self.way = Way::Link(Established::new(now, number));
        self.probe(now);
    }

    /// Begins a probe, where none is on its way.
    fn probe(&mut self, now: u64) {
        if let Way::Link(live) = &mut self.way
            && live.probe.is_none()
        {
            let (who, until) = (std::mem::take(&mut live.next), now + GREETING_MS);
            live.probe = Some(Probe { who, until, refused: false });
            live.again_at = None;
            self.effects.push_back(Effect::Ask(live.number));
        }
    }

    fn answered(&mut self, now: u64, answer: Option<LinkAnswer>) {
        let Way::Link(live) = &mut self.way else { return };
        let Some(probe) = &mut live.probe else { return };
        let inventory = match answer {
            Some(LinkAnswer::Inventory(inventory)) => inventory,
            Some(LinkAnswer::Refused(refused)) => return self.failed(now, Cause::Refused(refused.detail)),
            Some(_) => return self.lost(now, "the agent answers what was not asked"),
            None => {
                // The link's own end says why, and comes by itself.
                (probe.refused, probe.until) = (true, probe.until.min(now + LAST_WORDS_MS));
                return;
            }
        };
        if live.seen.as_ref().is_some_and(|seen| !is_same_machine(seen.inventory(), &inventory)) {
            return self.lost(now, "it speaks for another machine than before");
        }
        let (number, seen) = (live.number, Rc::new(Seen::new(inventory)));
        let is_first = live.seen.replace(seen.clone()).is_none();
        let who = live.probe.take().map(|probe| probe.who).unwrap_or_default();
        self.effects.push_back(Effect::Seen(seen.clone()));
        if is_first {
            self.decide(now, dialling::Event::Up);
        }
        self.effects.extend(who.into_iter().map(|who| Effect::Probed(who, Some(seen.clone()))));
        for member in &self.members {
            self.effects.push_back(match is_first {
                true => Effect::Up(*member, number, seen.clone()),
                false => Effect::News(*member, seen.clone()),
            });
        }
        if is_first {
            self.effects.push_back(Effect::Sweep(number, seen));
            self.stand_by(now);
        }
        if matches!(&self.way, Way::Link(live) if !live.next.is_empty()) {
            self.probe(now);
        }
    }

    fn lost(&mut self, now: u64, why: &str) {
        self.failed(now, Cause::Link(LinkEnd::Lost(why.to_owned())));
    }

    /// The link is of no use any more.
    fn failed(&mut self, now: u64, cause: Cause<E>) {
        let Way::Link(live) = &self.way else { return };
        let took = now.saturating_sub(live.since);
        (self.cause, self.why) = (cause, Why::Network);
        if self.dialling.stage() == Stage::Up && self.carries_on(now) {
            return;
        }
        self.let_go();
        if self.dialling.stage() == Stage::Up {
            self.decide(now, dialling::Event::Lost);
        } else {
            // An agent that says nothing is as silent as a host that does.
            let took_ms = if took < GREETING_MS { 0 } else { took };
            self.decide(now, dialling::Event::Failed { why: Why::Network, by_environment: false, took_ms });
        }
    }

    fn tick(&mut self, now: u64) {
        self.decide(now, dialling::Event::Tick);
        self.spare_tick(now);
        let Way::Link(live) = &self.way else { return };
        match &live.probe {
            Some(Probe { until, refused: true, .. }) if now >= *until => self.lost(now, "it ended at once"),
            Some(Probe { until, .. }) if now >= *until => {
                self.lost(
                    now,
                    &format!("the agent there runs and says nothing for {} s", GREETING_MS / 1000),
                );
            }
            None if live.again_at.is_some_and(|at| now >= at) => self.probe(now),
            _ => {}
        }
    }
}

impl<L> Established<L> {
    fn new(now: u64, number: LinkNumber) -> Self {
        Self {
            number,
            since: now,
            stalled: false,
            late: None,
            seen: None,
            probe: None,
            next: Vec::new(),
            again_at: None,
            delay: PROBE_AGAIN_FIRST_MS,
            doubted: now,
        }
    }

    /// Somebody waits for firm news.
    fn doubt(&mut self, now: u64) {
        if now.saturating_sub(self.doubted) > 2 * PROBE_AGAIN_LAST_MS {
            self.delay = PROBE_AGAIN_FIRST_MS;
        }
        self.doubted = now;
        if self.again_at.is_none() {
            self.again_at = Some(now + self.delay);
            self.delay = (self.delay * 2).min(PROBE_AGAIN_LAST_MS);
        }
    }
}

/// May both be of one machine since one boot? What an agent does not say is no contradiction.
fn is_same_machine(one: &Inventory, other: &Inventory) -> bool {
    let same = |one: &str, other: &str| one.is_empty() || other.is_empty() || one == other;
    same(&one.machine_id, &other.machine_id) && same(&one.boot_id, &other.boot_id)
}
