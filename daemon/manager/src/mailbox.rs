//! Where a task's messages are put by whoever is not that task. What may wait in it is bounded by what its senders were
//! allowed; what waits of each is counted, and that is how they are held to it.

use std::cell::Cell;
use std::rc::Rc;
use tokio::sync::mpsc;

/// Whose bytes a message keeps in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    /// The job's holder: within its credit.
    Holder,
    /// Views: within their windows.
    Views,
}

/// A message that is counted for as long as it waits.
pub trait Weigh {
    /// Who is held to account for it, and the bytes of memory that it keeps; `None`: for the number of such messages there is
    /// a bound elsewhere.
    fn weight(&self) -> Option<(Sender, usize)>;
}

/// A mailbox: its senders' end. The other end is a channel of tokio's.
pub struct Mailbox<T> {
    sender: mpsc::UnboundedSender<T>,
    of_holder: Rc<Cell<usize>>,
    of_views: Rc<Cell<usize>>,
}

impl<T> std::fmt::Debug for Mailbox<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (of_holder, of_views) = (self.of_holder.get(), self.of_views.get());
        f.debug_struct("Mailbox")
            .field("of_holder", &of_holder)
            .field("of_views", &of_views)
            .finish_non_exhaustive()
    }
}

impl<T> Clone for Mailbox<T> {
    fn clone(&self) -> Self {
        let Self { sender, of_holder, of_views } = self;
        Self { sender: sender.clone(), of_holder: of_holder.clone(), of_views: of_views.clone() }
    }
}

impl<T: Weigh> Mailbox<T> {
    /// A mailbox and its other end.
    pub fn new() -> (Self, mpsc::UnboundedReceiver<T>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self { sender, of_holder: Rc::default(), of_views: Rc::default() }, receiver)
    }

    /// Puts a message in. A task that has ended takes no more, and nobody minds.
    pub fn send(&self, message: T) {
        if let Some((sender, weight)) = message.weight() {
            let count = self.count(sender);
            count.set(count.get() + weight);
        }
        let _ = self.sender.send(message);
    }

    /// Bytes that this sender's messages keep and that wait.
    pub fn queued_of(&self, sender: Sender) -> usize {
        self.count(sender).get()
    }

    /// The task has taken a message out.
    pub fn took(&self, message: &T) {
        if let Some((sender, weight)) = message.weight() {
            let count = self.count(sender);
            count.set(count.get().saturating_sub(weight));
        }
    }

    fn count(&self, sender: Sender) -> &Cell<usize> {
        match sender {
            Sender::Holder => &self.of_holder,
            Sender::Views => &self.of_views,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Weigh for (Option<Sender>, usize) {
        fn weight(&self) -> Option<(Sender, usize)> {
            self.0.map(|sender| (sender, self.1))
        }
    }

    #[test]
    fn what_waits_is_counted_for_its_sender_until_it_is_taken() {
        let (mailbox, mut receiver) = Mailbox::new();
        for message in
            [(Some(Sender::Holder), 100), (None, 7), (Some(Sender::Views), 5), (Some(Sender::Holder), 1)]
        {
            mailbox.clone().send(message);
        }
        assert_eq!((mailbox.queued_of(Sender::Holder), mailbox.queued_of(Sender::Views)), (101, 5));
        while let Ok(message) = receiver.try_recv() {
            mailbox.took(&message);
        }
        assert_eq!((mailbox.queued_of(Sender::Holder), mailbox.queued_of(Sender::Views)), (0, 0));
    }
}
