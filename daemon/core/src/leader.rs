//! Which view leads, and what size the PTY has.
//!
//! The leader's terminal answers the job's terminal queries: it is the view that came or was typed in last. A read-only view
//! and a script never lead. When the leader leaves, whoever led before it leads again.
//!
//! By the policy `latest` the size is that of the view typed in last, or of the first that may type; one that comes where
//! somebody else may type changes nothing for them. When it leaves, whoever had the size before it has it again, and of those
//! that never did the one that came last. By the others all that may lead count. One that was not measured never sets a size.
//!
//! Views that come again, after the manager's end or a restart, come in any order and say what they were: one that led leads,
//! one that had the size has it, and one that had neither takes neither because it was the quickest.

use sessd_proto::Uuid;
use sessd_proto::docs::SizePolicy;
use sessd_proto::messages::Standing;

/// A view, as far as leading goes.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Member {
    id: Uuid,
    size: Option<(u16, u16)>,
    may_lead: bool,
    /// The later it took the size, the more; 0: it never did.
    sized: u64,
    /// It came again without the size, which is somebody's who is about to come.
    leaves_it: bool,
}

/// The views of a session in the order they led, last leader last.
#[derive(Debug, Clone, Default)]
pub struct Leaders {
    order: Vec<Member>,
    /// How often the size was taken.
    taken: u64,
}

impl Leaders {
    /// A view came. A terminal a person just opened leads from its first moment. `standing`: what it was, if it comes again.
    pub fn join(&mut self, id: Uuid, size: Option<(u16, u16)>, may_lead: bool, standing: Option<Standing>) {
        self.order.retain(|m| m.id != id);
        let is_first = may_lead && self.leader().is_none();
        let takes = standing.map_or(is_first, |standing| may_lead && standing.sizes);
        let sized = if takes { self.take() } else { 0 };
        let leaves_it = standing.is_some_and(|standing| !standing.sizes);
        // The leader is the last in this order.
        let at = if standing.is_some_and(|standing| !standing.leads) { 0 } else { self.order.len() };
        self.order.insert(at, Member { id, size, may_lead, sized, leaves_it });
    }

    fn take(&mut self) -> u64 {
        self.taken += 1;
        self.taken
    }

    /// A view left.
    pub fn leave(&mut self, id: Uuid) {
        if self.sizes() == Some(id) {
            // It came, and is gone: the size is handed back to whoever is here.
            self.order.iter_mut().for_each(|m| m.leaves_it = false);
        }
        self.order.retain(|m| m.id != id);
    }

    /// A view was typed in. True if it leads, or has the size, only now.
    pub fn typed(&mut self, id: Uuid) -> bool {
        if self.leader() == Some(id) && self.sizes() == Some(id) {
            return false;
        }
        let Some(at) = self.order.iter().position(|m| m.id == id && m.may_lead) else { return false };
        let member = self.order.remove(at);
        let sized = self.take();
        self.order.push(Member { sized, leaves_it: false, ..member });
        true
    }

    /// A view's terminal has another size.
    pub fn resized(&mut self, id: Uuid, size: (u16, u16)) {
        if let Some(member) = self.order.iter_mut().find(|m| m.id == id) {
            member.size = Some(size);
        }
    }

    /// Who leads.
    pub fn leader(&self) -> Option<Uuid> {
        self.order.iter().rev().find(|m| m.may_lead).map(|m| m.id)
    }

    fn may_lead(&self) -> impl Iterator<Item = &Member> {
        self.order.iter().filter(|m| m.may_lead)
    }

    /// Who took the size last, measured or not. The last of equals came last.
    fn latest(&self) -> Option<&Member> {
        self.may_lead().max_by_key(|m| m.sized).filter(|m| !m.leaves_it)
    }

    /// Whose size is the PTY's by the policy `latest`, measured or not.
    pub fn sizes(&self) -> Option<Uuid> {
        self.latest().map(|m| m.id)
    }

    /// The size the PTY should have; `None`: leave it as it is.
    pub fn size(&self, policy: SizePolicy) -> Option<(u16, u16)> {
        let measured = || self.may_lead().filter_map(|m| Some((m, m.size?)));
        let sizes = measured().map(|(_, size)| size);
        match policy {
            SizePolicy::Latest => {
                measured().max_by_key(|(m, _)| m.sized).filter(|(m, _)| !m.leaves_it).map(|(_, size)| size)
            }
            SizePolicy::Largest => sizes.reduce(|a, b| (a.0.max(b.0), a.1.max(b.1))),
            SizePolicy::Smallest => sizes.reduce(|a, b| (a.0.min(b.0), a.1.min(b.1))),
            SizePolicy::Fixed => None,
        }
    }

    /// Does that view's size count in [`Self::size`]?
    pub fn counts_in_size(&self, id: Uuid, policy: SizePolicy) -> bool {
        let Some((cols, rows)) = self.size(policy) else { return false };
        let mut measured = self.may_lead().filter(|m| m.size.is_some());
        match policy {
            SizePolicy::Latest => measured.max_by_key(|m| m.sized).is_some_and(|m| m.id == id),
            _ => measured.any(|m| m.id == id && m.size.is_some_and(|(c, r)| c == cols || r == rows)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Uuid = Uuid::from_u128(1);
    const B: Uuid = Uuid::from_u128(2);
    const C: Uuid = Uuid::from_u128(3);
    const WATCHER: Uuid = Uuid::from_u128(4);

    /// What happens, and then who leads and the size by each policy: latest, largest, smallest.
    #[derive(Clone, Copy)]
    enum Step {
        Joins(Uuid, Option<(u16, u16)>),
        Watches(Uuid, (u16, u16)),
        Types(Uuid),
        Leaves(Uuid),
        Resizes(Uuid, (u16, u16)),
    }

    #[test]
    fn the_table() {
        use Step::{Joins, Leaves, Resizes, Types, Watches};
        type Size = Option<(u16, u16)>;
        let table: &[(Step, Option<Uuid>, Size, Size, Size)] = &[
            (Watches(WATCHER, (10, 5)), None, None, None, None),
            // One that was not measured leads and sizes nothing.
            (Joins(C, None), Some(C), None, None, None),
            (Leaves(C), None, None, None, None),
            (Joins(A, Some((100, 30))), Some(A), Some((100, 30)), Some((100, 30)), Some((100, 30))),
            // Coming changes nothing for those who are there, but where all count.
            (Joins(B, Some((90, 40))), Some(B), Some((100, 30)), Some((100, 40)), Some((90, 30))),
            (Joins(C, Some((80, 24))), Some(C), Some((100, 30)), Some((100, 40)), Some((80, 24))),
            (Types(WATCHER), Some(C), Some((100, 30)), Some((100, 40)), Some((80, 24))),
            (Types(B), Some(B), Some((90, 40)), Some((100, 40)), Some((80, 24))),
            (Resizes(B, (120, 50)), Some(B), Some((120, 50)), Some((120, 50)), Some((80, 24))),
            // The one that had it before, and not the one that came last.
            (Leaves(B), Some(C), Some((100, 30)), Some((100, 30)), Some((80, 24))),
            // Of those that never had it the one that came last.
            (Joins(B, Some((90, 40))), Some(B), Some((100, 30)), Some((100, 40)), Some((80, 24))),
            (Leaves(A), Some(B), Some((90, 40)), Some((90, 40)), Some((80, 24))),
            (Leaves(B), Some(C), Some((80, 24)), Some((80, 24)), Some((80, 24))),
            (Leaves(C), None, None, None, None),
        ];
        let mut leaders = Leaders::default();
        for (n, (step, leader, latest, largest, smallest)) in table.iter().enumerate() {
            match *step {
                Joins(id, size) => leaders.join(id, size, true, None),
                Watches(id, size) => leaders.join(id, Some(size), false, None),
                Types(id) => drop(leaders.typed(id)),
                Leaves(id) => leaders.leave(id),
                Resizes(id, size) => leaders.resized(id, size),
            }
            assert_eq!(leaders.leader(), *leader, "step {n}");
            assert_eq!(leaders.size(SizePolicy::Latest), *latest, "step {n}");
            assert_eq!(leaders.size(SizePolicy::Largest), *largest, "step {n}");
            assert_eq!(leaders.size(SizePolicy::Smallest), *smallest, "step {n}");
            assert_eq!(leaders.size(SizePolicy::Fixed), None, "step {n}");
            // Whose size it is can be said: one's by the first policy, one's or two's by the others, and nobody's that watches.
            for (policy, size) in
                [(SizePolicy::Latest, latest), (SizePolicy::Largest, largest), (SizePolicy::Fixed, &None)]
            {
                let count = [A, B, C].iter().filter(|id| leaders.counts_in_size(**id, policy)).count();
                assert_eq!(count > 0, size.is_some(), "step {n}");
                assert!(policy != SizePolicy::Latest || count <= 1, "step {n}");
                assert!(!leaders.counts_in_size(WATCHER, policy), "step {n}");
            }
        }
    }

    #[test]
    fn views_that_come_again_are_what_they_were_whoever_is_the_quickest() {
        let (big, small) = (Some((100, 30)), Some((60, 15)));
        let was = |leads, sizes| Some(Standing { leads, sizes });
        for a_first in [false, true] {
            let mut leaders = Leaders::default();
            let come = |leaders: &mut Leaders, id| match id {
                A => leaders.join(A, big, true, was(true, true)),
                _ => leaders.join(B, small, true, was(false, false)),
            };
            let (one, other) = if a_first { (A, B) } else { (B, A) };
            come(&mut leaders, one);
            assert_eq!(
                leaders.size(SizePolicy::Latest),
                Some((100, 30)).filter(|_| a_first),
                "left as it is"
            );
            come(&mut leaders, other);
            assert_eq!((leaders.leader(), leaders.size(SizePolicy::Latest)), (Some(A), big), "{a_first}");
            assert!(!leaders.typed(A));
        }
        // It came and left.
        let mut leaders = Leaders::default();
        leaders.join(B, small, true, was(false, false));
        leaders.join(A, big, true, was(true, true));
        leaders.leave(A);
        assert_eq!((leaders.leader(), leaders.size(SizePolicy::Latest)), (Some(B), small));
        // The one that had it does not come: the size is whose that is typed in, or that comes for the first time.
        let mut leaders = Leaders::default();
        leaders.join(B, small, true, was(false, false));
        assert!(leaders.typed(B));
        assert_eq!((leaders.leader(), leaders.size(SizePolicy::Latest)), (Some(B), small));
        let mut leaders = Leaders::default();
        leaders.join(B, small, true, was(false, false));
        leaders.join(C, big, true, None);
        assert_eq!(leaders.size(SizePolicy::Latest), big);
    }

    #[test]
    fn a_view_that_types_leads_once() {
        let mut leaders = Leaders::default();
        leaders.join(A, Some((80, 24)), true, None);
        leaders.join(B, None, true, None);
        assert!(leaders.typed(B));
        assert!(!leaders.typed(B), "once");
        assert_eq!((leaders.leader(), leaders.size(SizePolicy::Latest)), (Some(B), Some((80, 24))));
    }
}
