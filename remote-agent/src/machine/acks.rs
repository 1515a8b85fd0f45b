//! Acknowledgements on their way. They wait a moment for the output that the input brings, so that the echo of a key does
//! not have to share its way with them.

use crate::machine::outbox::Outbox;
use sessd_proto::{Frame, Uuid};

/// What was written to the PTY and is not acknowledged yet.
#[derive(Debug, Default)]
pub struct Acks {
    waiting: Vec<Waiting>,
    bytes: usize,
    due_ms: Option<u64>,
}

/// A view, up to where its input was written, and whether that is to be told now.
#[derive(Debug)]
struct Waiting {
    view: Uuid,
    seq: u64,
    due: bool,
}

impl Waiting {
    fn is_of(&self, views: &[Vec<u8>]) -> bool {
        views.iter().any(|id| id.as_slice() == self.view.as_bytes())
    }
}

impl Acks {
    /// How long one waits at the most.
    pub const WAIT_MS: u64 = 20;
    /// After so many bytes it does not wait: the view's window is to stay open.
    const BYTES: usize = 4096;

    /// `n` bytes of a view were written, and with them all before `seq`.
    pub fn wrote(&mut self, view: Uuid, seq: u64, n: usize, now_ms: u64) {
        match self.waiting.iter_mut().find(|waiting| waiting.view == view) {
            Some(waiting) => waiting.seq = seq,
            None => self.waiting.push(Waiting { view, seq, due: false }),
        }
        self.bytes += n;
        let due = if self.bytes >= Self::BYTES { now_ms } else { now_ms + Self::WAIT_MS };
        self.due_ms = Some(self.due_ms.map_or(due, |at| at.min(due)));
    }

    /// When they are sent at the latest.
    pub fn due_ms(&self) -> Option<u64> {
        self.due_ms
    }

    /// What is acknowledged of these views is acknowledged with the next [`Acks::put`].
    pub fn are_due(&mut self, views: &[Vec<u8>]) {
        for waiting in self.waiting.iter_mut().filter(|waiting| waiting.is_of(views)) {
            waiting.due = true;
        }
    }

    /// Tells a link about its own views. A view may be behind two, of which one is dead and nobody knows yet: each is told.
    pub fn put(&self, views: &[Vec<u8>], out: &mut Outbox) {
        for Waiting { view, seq, .. } in
            self.waiting.iter().filter(|waiting| waiting.due && waiting.is_of(views))
        {
            out.put(0, &Frame::InputAck { view: *view, seq: *seq });
        }
    }

    /// Every link was told what was due.
    pub fn told(&mut self) {
        self.waiting.retain(|waiting| !waiting.due);
        if self.waiting.is_empty() {
            self.forget();
        }
    }

    /// What waits still is of views that are gone; they ask when they come back.
    pub fn forget(&mut self) {
        self.waiting.clear();
        (self.bytes, self.due_ms) = (0, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_manager_hears_of_its_own_views_once() {
        let (one, two) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let mut acks = Acks::default();
        acks.wrote(one, 5, 5, 100);
        acks.wrote(two, 3, 3, 110);
        acks.wrote(one, 7, 2, 115);
        assert_eq!(acks.due_ms(), Some(100 + Acks::WAIT_MS), "the first one waits longest");
        let mut out = Outbox::default();
        acks.are_due(&[one.as_bytes().to_vec()]);
        acks.put(&[one.as_bytes().to_vec()], &mut out);
        acks.told();
        let mut expected = Outbox::default();
        expected.put(0, &Frame::InputAck { view: one, seq: 7 });
        assert_eq!(out.unsent(), expected.unsent());
        assert!(acks.due_ms().is_some(), "the other manager's");
        acks.are_due(&[two.as_bytes().to_vec()]);
        acks.put(&[two.as_bytes().to_vec()], &mut out);
        acks.told();
        assert_eq!(acks.due_ms(), None);
    }

    #[test]
    fn much_that_was_typed_is_acknowledged_at_once() {
        let mut acks = Acks::default();
        acks.wrote(Uuid::from_u128(1), 4096, Acks::BYTES, 100);
        assert_eq!(acks.due_ms(), Some(100));
    }

    #[test]
    fn a_view_behind_a_link_that_is_dead_and_a_new_one_hears_over_the_new_one() {
        let view = Uuid::from_u128(1);
        let views = [view.as_bytes().to_vec()];
        let mut acks = Acks::default();
        acks.wrote(view, 5, 5, 100);
        let (mut dead, mut new) = (Outbox::default(), Outbox::default());
        // The output went to the dead one first.
        acks.are_due(&views);
        acks.put(&views, &mut dead);
        acks.put(&views, &mut new);
        acks.told();
        assert!(!new.unsent().is_empty() && new.unsent() == dead.unsent());
        assert_eq!(acks.due_ms(), None);
    }
}
