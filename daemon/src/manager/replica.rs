//! The manager's copy of a warm session: the same hub as the holder's, fed by the link. Views are its subscribers, so one
//! stream crosses the network however many there are.

use sessd_proto::limits::{LINK_WINDOW, REPLICA_RING, SCROLLBACK_LINES, SIDE_MAX};
use sessd_proto::messages::Subscribe;
use sessd_terminal::{Hub, Size};

/// Bytes a snapshot may have: a large scrollback and a screen of the largest size, in escape sequences.
const SNAPSHOT_MAX: usize = 48 << 20;

/// What became of a part of a snapshot.
#[derive(Debug, PartialEq, Eq)]
pub enum Stored {
    /// More must come.
    More,
    /// The replica stands at the snapshot.
    Whole,
    /// Longer than any may be.
    TooLong,
}

/// A replica and the credit of its stream.
#[derive(Debug, Default)]
pub struct Replica {
    hub: Option<Hub>,
    partial: Vec<u8>,
    received: u64,
    granted: u64,
}

impl Replica {
    /// Cold: nothing is known.
    pub fn new() -> Self {
        Self::default()
    }

    /// The hub, once warm.
    pub fn hub(&self) -> Option<&Hub> {
        self.hub.as_ref()
    }

    /// The size of the PTY as far as it is known.
    pub fn size(&self) -> Option<Size> {
        self.hub.as_ref().map(|hub| hub.terminal().size())
    }

    /// What to ask a holder for on a new stream: all from where we are, or everything.
    pub fn subscribe(&mut self) -> Subscribe {
        (self.received, self.granted) = (0, LINK_WINDOW);
        self.partial = Vec::new();
        Subscribe {
            from: self.hub.as_ref().map(Hub::head),
            credit: self.granted,
            scrollback_lines: SCROLLBACK_LINES as u32,
            status_only: false,
        }
    }

    /// Lets go of everything: nobody looks at the session.
    pub fn cool(&mut self) {
        *self = Self::new();
    }

    /// The stream broke: half a snapshot is worth nothing.
    pub fn interrupted(&mut self) {
        self.partial = Vec::new();
    }

    /// Output bytes; what is held already is trimmed.
    pub fn output(&mut self, offset: u64, bytes: &[u8]) {
        self.received += bytes.len() as u64;
        let Some(hub) = &mut self.hub else { return };
        let Some(held) = hub.head().checked_sub(offset) else { return };
        if let Some(fresh) = usize::try_from(held).ok().and_then(|held| bytes.get(held..)) {
            hub.feed(fresh);
        }
    }

    /// A part of a snapshot.
    pub fn snapshot(
        &mut self,
        at: u64,
        _skipped: u64,
        (cols, rows): (u16, u16),
        more: bool,
        bytes: &[u8],
    ) -> Stored {
        self.received += bytes.len() as u64;
        if self.partial.len() + bytes.len() > SNAPSHOT_MAX {
            return Stored::TooLong;
        }
        self.partial.extend_from_slice(bytes);
        if more {
            return Stored::More;
        }
        let snapshot = std::mem::take(&mut self.partial);
        let size = size_of(cols, rows);
        self.hub = Some(Hub::from_snapshot(size, SCROLLBACK_LINES, REPLICA_RING, at, &snapshot));
        Stored::Whole
    }

    /// The PTY has another size from here on. False if it is the one we have.
    pub fn resize(&mut self, cols: u32, rows: u32) -> bool {
        let side = |n: u32| u16::try_from(n).unwrap_or(SIDE_MAX);
        let size = size_of(side(cols), side(rows));
        match &mut self.hub {
            Some(hub) if hub.terminal().size() != size => {
                hub.resize(size);
                true
            }
            _ => false,
        }
    }

    /// The credit to grant now, when enough was used that it is worth a frame.
    pub fn grant(&mut self) -> Option<u64> {
        let total = self.received + LINK_WINDOW;
        (total - self.granted >= LINK_WINDOW / 4).then(|| {
            self.granted = total;
            total
        })
    }
}

fn size_of(cols: u16, rows: u16) -> Size {
    Size { cols: cols.clamp(1, SIDE_MAX), rows: rows.clamp(1, SIDE_MAX) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warm() -> Replica {
        let mut replica = Replica::new();
        assert_eq!(replica.subscribe().from, None);
        assert_eq!(replica.snapshot(100, 0, (80, 24), true, b"he"), Stored::More);
        assert_eq!(replica.snapshot(100, 0, (80, 24), false, b"llo"), Stored::Whole);
        replica
    }

    #[test]
    fn after_a_cut_it_goes_on_where_it_was_and_trims_what_comes_twice() {
        let mut replica = warm();
        replica.output(100, b"abc");
        replica.interrupted();
        assert_eq!(replica.subscribe().from, Some(103));
        replica.output(101, b"bcde");
        let hub = replica.hub().unwrap();
        assert_eq!((hub.head(), hub.read(100, 10).unwrap()), (105, &b"abcde"[..]));
        assert!(hub.terminal().text(0).starts_with("helloabcde"));
    }

    #[test]
    fn half_a_snapshot_before_a_cut_is_forgotten() {
        let mut replica = Replica::new();
        replica.subscribe();
        replica.snapshot(5, 0, (80, 24), true, b"half");
        replica.interrupted();
        replica.subscribe();
        replica.snapshot(9, 0, (80, 24), false, b"whole");
        assert!(replica.hub().unwrap().terminal().text(0).starts_with("whole"));
    }

    #[test]
    fn credit_is_granted_in_steps_and_counts_what_came() {
        let mut replica = warm();
        assert_eq!(replica.grant(), None);
        let chunk = vec![b'x'; (LINK_WINDOW / 4) as usize];
        replica.output(100, &chunk);
        assert_eq!(replica.grant(), Some(5 + LINK_WINDOW / 4 + LINK_WINDOW));
        assert_eq!(replica.grant(), None);
    }
}
