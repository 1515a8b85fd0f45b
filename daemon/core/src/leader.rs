//! Which view leads: its terminal sets the PTY's size (policy `latest`) and answers the job's terminal queries.
//!
//! The view that was typed in last leads. A read-only view never does; one that was not measured never sets a size. When
//! the leader leaves, whoever led before it leads again.

use sessd_proto::Uuid;

/// A view, as far as leading goes.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Member {
    id: Uuid,
    size: Option<(u16, u16)>,
    may_lead: bool,
}

/// The views of a session in the order they led, last leader last.
#[derive(Debug, Clone, Default)]
pub struct Leaders {
    order: Vec<Member>,
}

impl Leaders {
    /// A view came. A terminal a person just opened leads from its first moment.
    pub fn join(&mut self, id: Uuid, size: Option<(u16, u16)>, may_lead: bool) {
        self.order.retain(|m| m.id != id);
        self.order.push(Member { id, size, may_lead });
    }

    /// A view left.
    pub fn leave(&mut self, id: Uuid) {
        self.order.retain(|m| m.id != id);
    }

    /// A view was typed in. True if it leads only now.
    pub fn typed(&mut self, id: Uuid) -> bool {
        if self.leader() == Some(id) {
            return false;
        }
        let Some(at) = self.order.iter().position(|m| m.id == id && m.may_lead) else { return false };
        let member = self.order.remove(at);
        self.order.push(member);
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

    /// The size the PTY should have; `None`: leave it as it is.
    pub fn size(&self) -> Option<(u16, u16)> {
        self.order.iter().rev().filter(|m| m.may_lead).find_map(|m| m.size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_view_typed_in_last_leads_and_gives_it_back_when_it_leaves() {
        let (a, b, watcher) = (Uuid::from_u128(1), Uuid::from_u128(2), Uuid::from_u128(3));
        let mut leaders = Leaders::default();
        leaders.join(a, Some((200, 50)), true);
        leaders.join(b, Some((80, 24)), true);
        leaders.join(watcher, Some((10, 5)), false);
        assert_eq!((leaders.leader(), leaders.size()), (Some(b), Some((80, 24))));
        assert!(leaders.typed(a));
        assert!(!leaders.typed(a), "once");
        assert!(!leaders.typed(watcher), "a read-only view never leads");
        assert_eq!(leaders.size(), Some((200, 50)));
        leaders.leave(a);
        assert_eq!((leaders.leader(), leaders.size()), (Some(b), Some((80, 24))));
        leaders.leave(b);
        assert_eq!((leaders.leader(), leaders.size()), (None, None));
    }

    #[test]
    fn a_view_that_was_not_measured_sets_no_size() {
        let (a, b) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let mut leaders = Leaders::default();
        leaders.join(a, Some((80, 24)), true);
        leaders.join(b, None, true);
        assert_eq!((leaders.leader(), leaders.size()), (Some(b), Some((80, 24))));
    }
}
