//! Connections between managers and hosts: frames that arrive later, in order on each stream and in any order between
//! streams, until one is cut.

use sessd_core::link::Owned;
use sessd_proto::{Decoder, RawFrame};
use std::collections::BTreeMap;

/// One connection. None is ever used again.
pub type ConnId = u64;

/// A frame on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet(pub Vec<u8>);

impl Owned for Packet {
    fn raw(&self) -> RawFrame<'_> {
        crate::host::raw(&self.0)
    }
}

/// The frames that these bytes are.
pub fn decoded(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut decoder = Decoder::new();
    decoder.push(bytes);
    let mut all = Vec::new();
    while let Ok(Some(frame)) = decoder.next_frame() {
        let mut out = Vec::new();
        frame.relay(frame.stream, &mut out);
        all.push(out);
    }
    all
}

/// A connection.
#[derive(Debug)]
pub struct Conn {
    pub manager: usize,
    /// The process of the manager that made it.
    pub life: u64,
    pub host: usize,
    /// Each end knows that it is over by then; none: it is not over.
    pub cut: bool,
    /// It was closed by its manager: what is on its way there still arrives.
    pub drains: bool,
    /// Nothing arrives before that.
    pub stalled_until: u64,
    /// When the last frame of a stream arrives, to the host and to the manager.
    last: BTreeMap<(bool, u16), u64>,
}

impl Conn {
    pub fn new(manager: usize, life: u64, host: usize) -> Self {
        Self { manager, life, host, cut: false, drains: false, stalled_until: 0, last: BTreeMap::new() }
    }

    /// When a frame of that stream arrives that is sent now and takes so long.
    pub fn arrival(&mut self, to_host: bool, stream: u16, now: u64, takes: u64) -> u64 {
        let last = self.last.entry((to_host, stream)).or_default();
        *last = (*last).max(now + takes).max(self.stalled_until);
        *last
    }
}
