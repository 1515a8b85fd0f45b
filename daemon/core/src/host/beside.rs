//! A second link beside the first, for as long as it is not known which of them carries on.
//!
//! ```text
//!              late                dialled               an inventory, and the first is still late
//!  no spare ──────────▶ attempt ───────────▶ greeting ─────────────────────────────────────────────▶ it is the link
//!     ▲                    │                    │  ▲
//!     │ the first is heard │                    │  │ late, or the first ended
//!     └────────────────────┴────────────────────┘  └── standing by ◀── an inventory, where one is to stand by
//! ```
//!
//! A guess that was wrong costs the host a login. So there is one spare at a time; one that came as far as a login is
//! followed by another ten seconds later at the soonest, and ever more slowly while none of them was of use; and none is
//! dialled where the login asks a person. What never reached the host costs nothing, and is tried again at once.
//!
//! One that carried on was no wrong guess, and an answer that is late for seconds is more than a guess: those do not wait
//! for their time, so many in a row as `IN_A_ROW` says, and one more in ten seconds. So a line that is cut again and again
//! is healed each time as it was the first.

use super::{Attempt, Effect, Established, GREETING_MS, Host, LinkNumber, Probe, Way, is_same_machine};
use crate::budget::Budget;
use crate::dialling::{self, HASTEN_MS, Why};
use crate::reconcile::Seen;
use sessd_proto::messages::LinkAnswer;
use std::rc::Rc;

/// The time between two spares that logged in, in milliseconds, and what it grows to while they are of no use.
pub const SPARE_MS: u64 = 10_000;
const SPARE_LAST_MS: u64 = 10 * 60 * 1_000;
/// The time between two that reached nothing, in milliseconds.
const AGAIN_MS: u64 = 250;
/// Spares that may follow one another without that time between them.
pub(super) const IN_A_ROW: u64 = 5;
/// An answer that is late for so long is no guess any more, whatever guesses came to before, in milliseconds.
pub(super) const OVERDUE_MS: u64 = 1_500;

/// What may be dialled beside a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Beside {
    /// Nothing: the login asks a person, or the host is this machine.
    #[default]
    Never,
    /// A second link when an answer is late.
    WhenLate,
    /// One that stands by from the beginning.
    Always,
}

/// What there is of a second way.
#[derive(Debug)]
enum SpareWay<L> {
    Nothing,
    Attempt(Attempt),
    Link(Established<L>),
}

/// The second link.
#[derive(Debug)]
pub(super) struct Spare<L> {
    may: Beside,
    way: SpareWay<L>,
    /// When the next may be dialled as a guess.
    not_before: u64,
    /// And as more than that.
    again: u64,
    /// Those that need not wait for their time.
    at_once: Budget,
    /// Spares that logged in and were not needed, in a row.
    useless: u32,
}

impl<L> Default for Spare<L> {
    fn default() -> Self {
        Self {
            may: Beside::Never,
            way: SpareWay::Nothing,
            not_before: 0,
            again: 0,
            at_once: Budget::new(IN_A_ROW, SPARE_MS),
            useless: 0,
        }
    }
}

impl<L> Spare<L> {
    pub(super) fn is_attempt(&self, number: LinkNumber) -> bool {
        matches!(&self.way, SpareWay::Attempt(attempt) if attempt.number == number)
    }

    pub(super) fn is_link(&self, number: LinkNumber) -> bool {
        matches!(&self.way, SpareWay::Link(live) if live.number == number)
    }

    /// One has logged in.
    fn logged_in(&mut self, now: u64) {
        let pause = SPARE_MS.saturating_mul(1 << self.useless.min(16)).min(SPARE_LAST_MS);
        self.not_before = now + pause;
        self.useless = self.useless.saturating_add(1);
    }

    /// It carries on: the next is no worse a guess.
    fn was_of_use(&mut self, now: u64) {
        self.useless = 0;
        self.not_before = self.not_before.min(now + SPARE_MS);
        if now < self.not_before && self.at_once.take(now) {
            self.not_before = now;
        }
    }
}

impl<W, L, E: Clone> Host<W, L, E> {
    /// What is known of the login has changed.
    pub(super) fn may(&mut self, now: u64, may: Beside) {
        self.spare.may = may;
        if may == Beside::Never {
            self.let_spare_go();
        }
        self.stand_by(now);
    }

    pub(super) fn spare_deadline(&self) -> Option<u64> {
        match &self.spare.way {
            SpareWay::Nothing => self.spare_due(),
            SpareWay::Link(Established { probe: Some(probe), .. }) => Some(probe.until),
            _ => None,
        }
    }

    /// Would a second link be of use now?
    fn wants_spare(&self) -> bool {
        let Way::Link(live) = &self.way else { return false };
        let wanted = match self.spare.may {
            Beside::Never => false,
            Beside::WhenLate => live.late.is_some(),
            Beside::Always => true,
        };
        wanted && live.seen.is_some() && !self.members.is_empty()
    }

    /// When one may be dialled, where one would be of use.
    fn spare_due(&self) -> Option<u64> {
        let Way::Link(live) = &self.way else { return None };
        let overdue = live.late.map(|since| {
            let at = (since + OVERDUE_MS).max(self.spare.again);
            self.spare.at_once.ready_at(at)
        });
        let guess = self.spare.not_before;
        self.wants_spare().then(|| overdue.map_or(guess, |overdue| overdue.min(guess)))
    }

    /// An answer is late on that link, or that is over.
    pub(super) fn late(&mut self, now: u64, number: LinkNumber, late: bool) {
        let Way::Link(live) = &mut self.way else { return };
        if live.number != number || live.late.is_some() == late {
            return;
        }
        live.late = late.then_some(now);
        if !late {
            if self.spare.may != Beside::Always {
                self.let_spare_go();
            }
            return;
        }
        match &mut self.spare.way {
            SpareWay::Link(live) if live.seen.is_some() => self.ask_spare(now),
            _ => self.stand_by(now),
        }
    }

    /// Dials a second link, where one is wanted and may be.
    pub(super) fn stand_by(&mut self, now: u64) {
        let due = self.spare_due().is_some_and(|due| now >= due);
        if !due || !matches!(self.spare.way, SpareWay::Nothing) {
            return;
        }
        if now < self.spare.not_before {
            self.spare.at_once.take(now);
        }
        let attempt = self.next_attempt(now);
        self.spare.way = SpareWay::Attempt(attempt);
        self.effects.push_back(Effect::Dial {
            number: attempt.number,
            from: self.from,
            asked: false,
            beside: true,
        });
    }

    /// This machine slept, or its network changed: what was begun before may go nowhere.
    pub(super) fn spare_woke(&mut self, now: u64) {
        let since = match &self.spare.way {
            SpareWay::Nothing => return,
            SpareWay::Attempt(attempt) => attempt.since,
            SpareWay::Link(live) => live.since,
        };
        if now >= since + HASTEN_MS {
            self.let_spare_go();
            self.stand_by(now);
        }
    }

    pub(super) fn let_spare_go(&mut self) {
        match std::mem::replace(&mut self.spare.way, SpareWay::Nothing) {
            SpareWay::Nothing => {}
            SpareWay::Attempt(attempt) => self.effects.push_back(Effect::Abandon(attempt.number)),
            SpareWay::Link(live) => self.effects.push_back(Effect::HangUp(live.number)),
        }
    }

    pub(super) fn spare_failed(&mut self, now: u64, why: Why) {
        let SpareWay::Attempt(attempt) = self.spare.way else { return };
        self.spare.way = SpareWay::Nothing;
        self.spare.again = now.max(attempt.since + AGAIN_MS);
        match why {
            Why::Refused => self.spare.not_before = now.max(attempt.since + AGAIN_MS),
            Why::HungUp => self.spare.not_before = now.max(attempt.since + dialling::HUNG_UP_MS),
            Why::Network | Why::Shut => self.spare.logged_in(now),
            // It is not asked for again: whoever is there must be asked, by the first way.
            Why::Config | Why::Agent | Why::Person => self.spare.may = Beside::Never,
        }
    }

    /// The second link is there: it says what it sees.
    pub(super) fn spare_dialled(&mut self, now: u64, number: LinkNumber) {
        self.spare.logged_in(now);
        self.spare.way = SpareWay::Link(Established::new(now, number));
        if self.wants_spare() {
            self.ask_spare(now);
        } else {
            self.let_spare_go();
        }
    }

    fn ask_spare(&mut self, now: u64) {
        if let SpareWay::Link(live) = &mut self.spare.way
            && live.probe.is_none()
        {
            live.probe = Some(Probe { who: Vec::new(), until: now + GREETING_MS, refused: false });
            self.effects.push_back(Effect::Ask(live.number));
        }
    }

    pub(super) fn spare_answered(&mut self, now: u64, answer: Option<LinkAnswer>) {
        let SpareWay::Link(spare) = &mut self.spare.way else { return };
        let Some(LinkAnswer::Inventory(inventory)) = answer else { return self.let_spare_go() };
        let Way::Link(first) = &self.way else { return };
        // A name may lead to several machines: the jobs are on the first.
        if first.seen.as_ref().is_none_or(|seen| !is_same_machine(seen.inventory(), &inventory)) {
            return self.let_spare_go();
        }
        let seen = Rc::new(Seen::new(inventory));
        (spare.probe, spare.seen) = (None, Some(seen.clone()));
        if first.late.is_some() {
            self.take_over(now, seen);
        } else if self.spare.may == Beside::Always {
            self.spare.useless = 0;
        } else {
            self.let_spare_go();
        }
    }

    /// The second link carries on.
    fn take_over(&mut self, now: u64, seen: Rc<Seen>) {
        let SpareWay::Link(spare) = std::mem::replace(&mut self.spare.way, SpareWay::Nothing) else { return };
        let number = spare.number;
        if let Way::Link(first) = std::mem::replace(&mut self.way, Way::Link(spare)) {
            self.hang_up(first);
        }
        self.spare.was_of_use(now);
        self.effects.extend([Effect::Seen(seen.clone()), Effect::Publish]);
        for member in &self.members {
            self.effects.push_back(Effect::Up(*member, number, seen.clone()));
        }
        self.effects.push_back(Effect::Sweep(number, seen));
        self.stand_by(now);
    }

    /// The first link is of no use any more. True: a second one is on its way, and goes on as the first.
    pub(super) fn carries_on(&mut self, now: u64) -> bool {
        if self.members.is_empty() {
            return false;
        }
        let next = match std::mem::replace(&mut self.spare.way, SpareWay::Nothing) {
            SpareWay::Nothing => return false,
            SpareWay::Attempt(attempt) => {
                // It is a login as any other: a host that breaks every link at once does not see one after the other.
                self.spare.logged_in(now);
                Way::Attempt(attempt)
            }
            // What it saw was then.
            SpareWay::Link(live) => Way::Link(Established { seen: None, ..live }),
        };
        if let Way::Link(first) = std::mem::replace(&mut self.way, next) {
            self.hang_up(first);
        }
        self.spare.was_of_use(now);
        self.decide(now, dialling::Event::Replaced(self.from));
        self.probe(now);
        true
    }

    pub(super) fn spare_tick(&mut self, now: u64) {
        if let SpareWay::Link(Established { probe: Some(probe), .. }) = &self.spare.way
            && now >= probe.until
        {
            self.let_spare_go();
        }
        self.stand_by(now);
    }
}
