//! Who is let into the manager's socket while it is full. Whoever came and says nothing makes room for whoever comes; those
//! who stay (views, listeners) can never have all places, so that the command line always has one.

use std::collections::HashMap;

/// Places of those who stay, out of [`PLACES`]: the rest is for commands.
pub const STAYING_MAX: usize = 480;
/// Connections at a time. Each view, script and waiting command is one.
pub const PLACES: usize = 512;

/// A connection's number.
pub type GuestId = u64;

/// What a guest does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doing {
    /// Nothing, since then: it was answered, or never asked.
    Idles { since_ms: u64 },
    /// It waits for an answer.
    Waits,
    /// It is a view, or listens to events.
    Stays,
}

/// How one who comes is received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Welcome {
    /// There is room.
    Come(GuestId),
    /// There is room once that one is sent away: it has idled longest.
    InPlaceOf(GuestId, GuestId),
    /// Nobody idles.
    Full,
}

/// All places.
#[derive(Debug, Default)]
pub struct Guests {
    inside: HashMap<GuestId, Doing>,
    next: GuestId,
}

impl Guests {
    /// Somebody comes. Who is sent away has lost its place from now on.
    pub fn arrive(&mut self, now_ms: u64) -> Welcome {
        let mut gone = None;
        if self.inside.len() >= PLACES {
            let idle = self.inside.iter().filter_map(|(id, doing)| match doing {
                Doing::Idles { since_ms } => Some((*since_ms, *id)),
                Doing::Waits | Doing::Stays => None,
            });
            let Some((_, longest)) = idle.min() else { return Welcome::Full };
            self.inside.remove(&longest);
            gone = Some(longest);
        }
        let id = self.next;
        self.next += 1;
        self.inside.insert(id, Doing::Idles { since_ms: now_ms });
        match gone {
            Some(gone) => Welcome::InPlaceOf(id, gone),
            None => Welcome::Come(id),
        }
    }

    /// It asked something and waits.
    pub fn asks(&mut self, id: GuestId) {
        self.set(id, Doing::Waits);
    }

    /// It was answered.
    pub fn answered(&mut self, id: GuestId, now_ms: u64) {
        self.set(id, Doing::Idles { since_ms: now_ms });
    }

    /// It wants to stay. False: there are so many of those that it may not.
    pub fn stay(&mut self, id: GuestId) -> bool {
        let staying = self.inside.values().filter(|doing| **doing == Doing::Stays).count();
        let may = staying < STAYING_MAX || self.inside.get(&id) == Some(&Doing::Stays);
        if may {
            self.set(id, Doing::Stays);
        }
        may
    }

    /// It left.
    pub fn leave(&mut self, id: GuestId) {
        self.inside.remove(&id);
    }

    fn set(&mut self, id: GuestId, new: Doing) {
        // One that was sent away has no place any more; one that stays does so until it leaves.
        if let Some(doing) = self.inside.get_mut(&id)
            && *doing != Doing::Stays
        {
            *doing = new;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn come(guests: &mut Guests, now: u64) -> GuestId {
        match guests.arrive(now) {
            Welcome::Come(id) => id,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_thousand_who_say_nothing_keep_nobody_out() {
        let mut guests = Guests::default();
        let first: Vec<GuestId> = (0..PLACES as u64).map(|n| come(&mut guests, n)).collect();
        guests.asks(first[0]);
        assert_eq!(guests.arrive(1000), Welcome::InPlaceOf(PLACES as u64, first[1]), "the longest idle");
        guests.answered(first[0], 1001);
        for n in 2..PLACES as u64 {
            assert!(matches!(guests.arrive(2000 + n), Welcome::InPlaceOf(_, gone) if gone == n));
        }
    }

    #[test]
    fn those_who_stay_leave_places_for_commands() {
        let mut guests = Guests::default();
        let all: Vec<GuestId> = (0..PLACES as u64).map(|n| come(&mut guests, n)).collect();
        let stayed = all.iter().filter(|id| guests.stay(**id)).count();
        assert_eq!(stayed, STAYING_MAX);
        assert!(guests.stay(all[0]), "who stays already may");
        guests.answered(all[0], 5);
        assert!(matches!(guests.arrive(9), Welcome::InPlaceOf(_, gone) if gone == STAYING_MAX as u64));
    }

    #[test]
    fn whoever_waits_for_an_answer_is_not_sent_away() {
        let mut guests = Guests::default();
        let all: Vec<GuestId> = (0..PLACES as u64).map(|n| come(&mut guests, n)).collect();
        all.iter().for_each(|id| guests.asks(*id));
        assert_eq!(guests.arrive(9), Welcome::Full);
        guests.leave(all[3]);
        assert!(matches!(guests.arrive(9), Welcome::Come(_)));
    }
}
