//! What is done with the views' connections: by whoever owns those, a session.

use sessd_proto::Uuid;

/// Takes what is to be done, in order.
pub trait Connections {
    /// What `write` appends goes to a view, in one piece with what went there just before. How many bytes that were.
    fn append_to_view(&mut self, view: Uuid, write: impl FnOnce(&mut Vec<u8>)) -> usize;

    /// A view's connection is closed once it has what it was sent.
    fn close_view(&mut self, view: Uuid);

    /// It is to be heard of when what a view was sent has gone out.
    fn when_drained(&mut self, view: Uuid);
}
