//! Which stream of which link a frame belongs to.

/// One stream, for as long as the manager lives: no later stream of any link is ever called so. The number that a stream
/// has on the wire is given again and is its link's affair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(u64);

impl std::fmt::Display for StreamId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "stream {}", self.0)
    }
}

/// Gives streams their names. One for all links of a manager.
#[derive(Debug, Default)]
pub struct StreamIds {
    given: std::cell::Cell<u64>,
}

impl StreamIds {
    /// One that nobody has had.
    pub fn next(&self) -> StreamId {
        // At one a nanosecond this lasts for centuries.
        self.given.set(self.given.get() + 1);
        StreamId(self.given.get())
    }
}
