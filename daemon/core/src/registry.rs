//! Which session is meant, who is alone with one, who has a name, and whose replica is let go: what is decided about all sessions
//! at once.

use crate::record::Record;
use sessd_proto::Uuid;
use sessd_proto::docs::names::{Fit, fit};
use std::collections::{BTreeMap, VecDeque};

/// The claim of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClaimId(u64);

/// Why a name cannot be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// This session on that host has it.
    By(Uuid, String),
    /// It is just being given to another.
    BeingGiven,
}

/// Names that are being given. Whoever gives one claims it before anything is waited for, and releases it when whoever was
/// to have it has it, or does not get it: until then nobody else gets it.
#[derive(Debug, Default)]
pub struct Names {
    claimed: BTreeMap<String, ClaimId>,
    claims: u64,
}

impl Names {
    /// Claims `name` for the session `id`, where `records` are those of all sessions that are not done. One that is on its way
    /// out has no name to keep from others.
    ///
    /// # Errors
    /// Who has it.
    pub fn claim<'a>(
        &mut self,
        name: &str,
        id: Uuid,
        records: impl IntoIterator<Item = &'a Record>,
    ) -> Result<ClaimId, Taken> {
        let has = |r: &&Record| r.id != id && !r.delete_requested && r.name.as_deref() == Some(name);
        if let Some(record) = records.into_iter().find(has) {
            return Err(Taken::By(record.id, record.host.clone()));
        }
        if self.claimed.contains_key(name) {
            return Err(Taken::BeingGiven);
        }
        self.claims += 1;
        let claim = ClaimId(self.claims);
        self.claimed.insert(name.to_owned(), claim);
        Ok(claim)
    }

    /// The claim is over.
    pub fn release(&mut self, claim: ClaimId) {
        self.claimed.retain(|_, known| *known != claim);
    }
}

/// A verb's turn with one session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TurnId(u64);

/// Verbs that may start or remove a session: one at a time is alone with it, in the order in which they came. A turn is taken
/// before anything is waited for.
#[derive(Debug, Default)]
pub struct Turns {
    waiting: BTreeMap<Uuid, VecDeque<TurnId>>,
    turns: u64,
}

impl Turns {
    /// A verb comes for session `id`, which need not exist. Its turn begins when [`Self::has`] says so.
    pub fn take(&mut self, id: Uuid) -> TurnId {
        self.turns += 1;
        let turn = TurnId(self.turns);
        self.waiting.entry(id).or_default().push_back(turn);
        turn
    }

    /// Is this verb alone with the session?
    pub fn has(&self, id: Uuid, turn: TurnId) -> bool {
        self.waiting.get(&id).and_then(VecDeque::front) == Some(&turn)
    }

    /// Is any verb?
    pub fn is_taken(&self, id: Uuid) -> bool {
        self.waiting.contains_key(&id)
    }

    /// The turn is over, or is not waited for any more.
    pub fn end(&mut self, id: Uuid, turn: TurnId) {
        if let Some(waiting) = self.waiting.get_mut(&id) {
            waiting.retain(|known| *known != turn);
            if waiting.is_empty() {
                self.waiting.remove(&id);
            }
        }
    }
}

/// What a selector is held against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Its id.
    pub id: Uuid,
    /// Its name.
    pub name: Option<String>,
    /// It is to go.
    pub leaving: bool,
}

impl From<&Record> for Candidate {
    fn from(record: &Record) -> Self {
        Self { id: record.id, name: record.name.clone(), leaving: record.delete_requested }
    }
}

impl Candidate {
    fn fit(&self, selector: &str) -> Option<Fit> {
        fit(selector, &self.id.to_string(), self.name.as_deref())
    }
}

/// What a selector selects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// This one, which is not done.
    Live(Uuid),
    /// This one, which is done.
    Done(Uuid),
    /// Nothing.
    None,
    /// All of these, by name and id.
    Many(Vec<(Option<String>, String)>),
}

/// Do records of sessions that are done matter, or is one of `live` meant in any case?
pub fn is_about_done(selector: &str, live: &[Candidate]) -> bool {
    live.iter().filter_map(|one| one.fit(selector)).all(|fit| fit <= Fit::Prefix)
}

/// The session a person means. A whole id goes before a name before the beginning of an id before its end; a session that is
/// not done before one that is, one that stays before one that is to go, and of those that are done the one that ended last,
/// which `done` begins with.
pub fn select(selector: &str, live: &[Candidate], done: &[Candidate]) -> Selection {
    let fitting = |all: &[Candidate]| -> Vec<(Fit, Candidate)> {
        all.iter().filter_map(|one| Some((one.fit(selector)?, one.clone()))).collect()
    };
    let mut live = fitting(live);
    let mut done = fitting(done);
    // What was done when the records were asked may have begun again by now.
    done.retain(|(_, one)| live.iter().all(|(_, other)| other.id != one.id));
    let best =
        live.iter().filter(|(fit, _)| *fit > Fit::Prefix).max_by_key(|(fit, one)| (*fit, !one.leaving));
    if let Some((_, one)) = best {
        return Selection::Live(one.id);
    }
    // `max_by_key` gives the last of equals.
    let best = done.iter().rev().filter(|(fit, _)| *fit > Fit::Prefix).max_by_key(|(fit, _)| *fit);
    if let Some((_, one)) = best {
        return Selection::Done(one.id);
    }
    if live.iter().chain(&done).any(|(fit, _)| *fit == Fit::Prefix) {
        live.retain(|(fit, _)| *fit == Fit::Prefix);
        done.retain(|(fit, _)| *fit == Fit::Prefix);
    }
    match (live.as_slice(), done.as_slice()) {
        ([], []) => Selection::None,
        ([(_, one)], []) => Selection::Live(one.id),
        ([], [(_, one)]) => Selection::Done(one.id),
        _ => {
            let all = live.into_iter().chain(done);
            Selection::Many(all.map(|(_, one)| (one.name, one.id.to_string())).collect())
        }
    }
}

/// Sessions whose replica follows the job though nobody may look: those looked at last.
#[derive(Debug, Default)]
pub struct Warm {
    /// The one looked at last at the end.
    order: Vec<Uuid>,
}

impl Warm {
    /// How many there are at the most, beyond those that somebody looks at. Each may take a few megabytes.
    pub const MAX: usize = 32;

    /// A session is looked at. Those that are let go for it: beyond the bound the ones looked at longest ago, but none that
    /// `is_watched`. `is_there`: is there such a session still?
    pub fn looked_at(
        &mut self,
        id: Uuid,
        is_there: impl Fn(Uuid) -> bool,
        is_watched: impl Fn(Uuid) -> bool,
    ) -> Vec<Uuid> {
        self.order.retain(|known| *known != id && is_there(*known));
        self.order.push(id);
        let over = self.order.len().saturating_sub(Self::MAX);
        let unwatched = self.order.iter().filter(|known| **known != id && !is_watched(**known));
        let coldest: Vec<Uuid> = unwatched.take(over).copied().collect();
        self.order.retain(|known| !coldest.contains(known));
        coldest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::State;

    fn id(n: u128) -> Uuid {
        Uuid::from_u128((n << 64) | n)
    }

    fn record(n: u128, name: &str) -> Record {
        Record {
            name: Some(name.to_owned()),
            state: State::Running,
            ..Record::new(id(n), id(100 + n), "box", 0)
        }
    }

    #[test]
    fn a_name_has_one_owner_from_the_claim_on() {
        let mut names = Names::default();
        let mut dev = record(1, "dev");
        assert_eq!(names.claim("dev", id(2), [&dev]), Err(Taken::By(id(1), "box".into())));
        let own = names.claim("dev", id(1), [&dev]).expect("its own");
        assert_eq!(names.claim("dev", id(1), [&dev]), Err(Taken::BeingGiven), "one verb at a time");
        names.release(own);
        let other = names.claim("other", id(1), [&dev]).expect("free");
        assert_eq!(names.claim("other", id(2), [&dev]), Err(Taken::BeingGiven));
        // A claim that is over frees no later one of the same name.
        names.release(other);
        let next = names.claim("other", id(2), [&dev]).expect("free again");
        names.release(other);
        assert_eq!(names.claim("other", id(3), [&dev]), Err(Taken::BeingGiven));
        names.release(next);
        // One that is to go keeps its name from nobody.
        dev.delete_requested = true;
        assert!(names.claim("dev", id(2), [&dev]).is_ok());
    }

    #[test]
    fn one_verb_at_a_time_is_alone_with_a_session_in_the_order_they_came() {
        let mut turns = Turns::default();
        let [a, b, c] = [(); 3].map(|()| turns.take(id(1)));
        let other = turns.take(id(2));
        let alone = |turns: &Turns| [a, b, c].map(|turn| turns.has(id(1), turn));
        assert_eq!(alone(&turns), [true, false, false]);
        assert!(turns.has(id(2), other) && !turns.has(id(2), a), "another session's");
        turns.end(id(1), b);
        assert_eq!(alone(&turns), [true, false, false], "one that waited no longer");
        turns.end(id(1), a);
        assert_eq!(alone(&turns), [false, false, true]);
        turns.end(id(1), a);
        assert_eq!(alone(&turns), [false, false, true], "a turn that is over ends no other");
        turns.end(id(1), c);
        assert!(!turns.is_taken(id(1)) && turns.is_taken(id(2)) && turns.waiting.len() == 1);
    }

    #[test]
    fn the_session_that_is_meant() {
        let of = |n: u128, name: &str, leaving: bool| Candidate {
            id: Uuid::from_u128((0xabcd << 112) | n),
            name: (!name.is_empty()).then(|| name.to_owned()),
            leaving,
        };
        let whole = |one: &Candidate| one.id.to_string();
        let (a, b, old, older) =
            (of(1, "dev", false), of(2, "", false), of(3, "dev", false), of(4, "dev", false));
        let leaving = of(5, "dev", true);
        let anew = of(3, "", false);
        let many = |all: &[&Candidate]| {
            Selection::Many(all.iter().map(|one| (one.name.clone(), one.id.to_string())).collect())
        };
        let table = [
            (whole(&a), vec![&a, &b], vec![], Selection::Live(a.id), "a whole id"),
            (whole(&old), vec![&a], vec![&old], Selection::Done(old.id), "of one that is done"),
            ("dev".into(), vec![&a], vec![&old], Selection::Live(a.id), "one that is not done goes first"),
            ("dev".into(), vec![&leaving, &a], vec![], Selection::Live(a.id), "one that stays goes first"),
            ("dev".into(), vec![&leaving], vec![&old], Selection::Live(leaving.id), "it is there still"),
            ("dev".into(), vec![&b], vec![&old, &older], Selection::Done(old.id), "the one that ended last"),
            ("abcd".into(), vec![&a], vec![], Selection::Live(a.id), "a beginning"),
            ("abcd".into(), vec![&a, &b], vec![&old], many(&[&a, &b, &old]), "of several"),
            ("0001".into(), vec![&a, &b], vec![], Selection::Live(a.id), "an end"),
            ("0003".into(), vec![], vec![&old], Selection::Done(old.id), "of one that is done"),
            ("abcd".into(), vec![&a], vec![&old], many(&[&a, &old]), "of two"),
            ("abc".into(), vec![&a, &b], vec![], Selection::None, "too little"),
            ("dev".into(), vec![], vec![], Selection::None, "nothing"),
            ("0003".into(), vec![&anew], vec![&old], Selection::Live(old.id), "it began again meanwhile"),
        ];
        for (selector, live, done, want, why) in table {
            let owned = |all: Vec<&Candidate>| all.into_iter().cloned().collect::<Vec<_>>();
            let (live, done) = (owned(live), owned(done));
            assert_eq!(select(&selector, &live, &done), want, "{why}: {selector}");
            if matches!(want, Selection::Done(_) | Selection::Many(_)) {
                assert!(is_about_done(&selector, &live), "{why}: {selector}");
            }
        }
        assert!(!is_about_done("dev", &[a]), "the records of those that are done need not be read");
    }

    #[test]
    fn those_looked_at_longest_ago_go_cold_and_none_that_somebody_looks_at() {
        const NOBODY: [Uuid; 0] = [];
        let mut warm = Warm::default();
        let there = |_| true;
        for n in 0..Warm::MAX as u128 {
            assert_eq!(warm.looked_at(id(n), there, |_| false), NOBODY);
        }
        assert_eq!(warm.looked_at(id(0), there, |_| false), NOBODY, "looked at again");
        assert_eq!(warm.looked_at(id(100), there, |_| false), [id(1)]);
        assert_eq!(
            warm.looked_at(id(101), there, |known| known == id(2)),
            [id(3)],
            "somebody looks at the other"
        );
        assert_eq!(warm.looked_at(id(102), there, |_| true), NOBODY, "nobody is sent away");
        assert_eq!(warm.looked_at(id(103), there, |_| false), [id(2), id(4)]);
        assert_eq!(
            warm.looked_at(id(104), |known| known != id(5), |_| false),
            NOBODY,
            "one is gone by itself"
        );
    }
}
