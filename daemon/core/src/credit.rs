//! What a holder may send on a stream. Credit is enforced by who granted it: what comes beyond it, what nobody asked for,
//! and offsets that no job reaches are a fault of that stream, and end it and nothing else.

/// Offsets from here on are no job's: at 1 GB/s it would have written for 146 years.
pub const OFFSET_END: u64 = 1 << 62;

/// Bytes a snapshot may have: a large scrollback and a screen of the largest size, in escape sequences.
pub const SNAPSHOT_MAX: u64 = 48 << 20;

/// What a holder did that none does. The words complete "the job's holder …".
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Output, a screen or old output where none was asked for.
    #[error("sends what nobody asked for")]
    Unasked,
    /// More bytes than were granted.
    #[error("sends more than it was allowed")]
    Beyond,
    /// A snapshot longer than any.
    #[error("sends a screen without end")]
    Endless,
    /// An offset that no job reaches.
    #[error("counts its output beyond all bounds")]
    Offset,
    /// Output that does not go on where the last ended.
    #[error("leaves out some of its output")]
    Gap,
}

/// The account of one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ledger {
    /// Output is wanted on it.
    open: bool,
    received: u64,
    granted: u64,
    /// Bytes that may be on their way.
    window: u64,
    /// Bytes of the snapshot that is coming.
    snapshot: Option<u64>,
    /// Bytes of old output that were asked for and may still come.
    range: u64,
}

impl Ledger {
    /// A stream that is to carry no output: nobody looks.
    pub fn closed() -> Self {
        Self::default()
    }

    /// A stream that begins with `window` bytes of credit.
    pub fn open(window: u64) -> Self {
        Self { open: true, granted: window, window, ..Self::default() }
    }

    /// So many bytes may be on their way from now on. What was granted before stays granted.
    pub fn set_window(&mut self, window: u64) {
        self.window = window;
    }

    /// Is output wanted on it?
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// Bytes that came on it.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Bytes allowed so far.
    pub fn granted(&self) -> u64 {
        self.granted
    }

    /// The credit to grant now, if enough was used that it is worth a frame.
    pub fn grant(&mut self) -> Option<u64> {
        let total = self.received.saturating_add(self.window);
        (self.open && total.saturating_sub(self.granted) >= self.window / 4).then(|| {
            self.granted = total;
            total
        })
    }

    /// Output of `len` bytes from `offset` on, where `head` is what we have.
    ///
    /// # Errors
    /// When it may not come.
    pub fn output(&mut self, offset: u64, len: u64, head: Option<u64>) -> Result<(), Fault> {
        // A holder never begins with bytes where it was asked for a screen.
        let Some(head) = head.filter(|_| self.open && len > 0 && self.snapshot.is_none()) else {
            return Err(Fault::Unasked);
        };
        in_bounds(offset, len)?;
        if offset > head {
            return Err(Fault::Gap);
        }
        self.received = self.received.saturating_add(len);
        if self.received > self.granted { Err(Fault::Beyond) } else { Ok(()) }
    }

    /// A part of a snapshot that stands at `at`, where `head` is what we have; none: a snapshot is what was asked for. It
    /// may begin while there is credit, and is then sent whole.
    ///
    /// # Errors
    /// When it may not come.
    pub fn snapshot(&mut self, at: u64, len: u64, more: bool, head: Option<u64>) -> Result<(), Fault> {
        let so_far = match self.snapshot {
            Some(so_far) => so_far,
            // A holder sends one by itself only where we have fallen behind.
            None if !self.open || head.is_some_and(|head| at <= head) => return Err(Fault::Unasked),
            None if self.received >= self.granted => return Err(Fault::Beyond),
            None => 0,
        };
        in_bounds(at, 0)?;
        let total = so_far.saturating_add(len);
        if total > SNAPSHOT_MAX {
            return Err(Fault::Endless);
        }
        self.received = self.received.saturating_add(len);
        self.snapshot = more.then_some(total);
        Ok(())
    }

    /// Old output `from..to` is asked for.
    pub fn ask_range(&mut self, from: u64, to: u64) {
        self.range = to.saturating_sub(from);
    }

    /// A part of old output.
    ///
    /// # Errors
    /// When it may not come.
    pub fn range(&mut self, offset: u64, len: u64) -> Result<(), Fault> {
        in_bounds(offset, len)?;
        match self.range.checked_sub(len) {
            Some(left) => self.range = left,
            None => return Err(if self.range == 0 { Fault::Unasked } else { Fault::Beyond }),
        }
        Ok(())
    }
}

fn in_bounds(offset: u64, len: u64) -> Result<(), Fault> {
    if offset < OFFSET_END && len < OFFSET_END { Ok(()) } else { Err(Fault::Offset) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use sessd_proto::limits::LINK_WINDOW;

    const AT: Option<u64> = Some(1000);

    #[test]
    fn a_session_nobody_looks_at_takes_nothing() {
        let mut cold = Ledger::closed();
        assert_eq!(cold.output(1000, 1, AT), Err(Fault::Unasked));
        assert_eq!(cold.output(1000, 1, None), Err(Fault::Unasked));
        assert_eq!(cold.snapshot(5, 100, true, None), Err(Fault::Unasked));
        assert_eq!(cold.range(5, 1), Err(Fault::Unasked));
        assert_eq!(cold.grant(), None);
    }

    #[test]
    fn what_goes_beyond_the_credit_is_a_fault_and_one_snapshot_may() {
        let mut ledger = Ledger::open(LINK_WINDOW);
        assert_eq!(ledger.output(1000, LINK_WINDOW - 1, AT), Ok(()));
        assert_eq!(ledger.snapshot(2000, SNAPSHOT_MAX - 1, true, AT), Ok(()), "begun with credit left");
        assert_eq!(
            ledger.output(1000, 1, AT),
            Err(Fault::Unasked),
            "nothing comes in the middle of a screen"
        );
        assert_eq!(ledger.snapshot(2000, 1, false, AT), Ok(()));
        assert_eq!(ledger.output(2000, 1, Some(2000)), Err(Fault::Beyond));
        assert_eq!(ledger.snapshot(3000, 0, false, Some(2000)), Err(Fault::Beyond));
        let total = ledger.grant().unwrap();
        assert_eq!(total, LINK_WINDOW - 1 + SNAPSHOT_MAX + 1 + LINK_WINDOW, "as the holder counts it");
        assert_eq!(Ledger::open(LINK_WINDOW).snapshot(1, SNAPSHOT_MAX + 1, true, None), Err(Fault::Endless));
    }

    #[test]
    fn a_screen_that_was_not_asked_for_and_skips_nothing_is_a_fault() {
        let mut ledger = Ledger::open(LINK_WINDOW);
        assert_eq!(ledger.snapshot(1000, 10, false, AT), Err(Fault::Unasked));
        assert_eq!(ledger.snapshot(999, 10, false, AT), Err(Fault::Unasked));
        assert_eq!(ledger.snapshot(1001, 10, false, AT), Ok(()));
    }

    #[test]
    fn offsets_that_no_job_reaches_are_a_fault() {
        let mut ledger = Ledger::open(LINK_WINDOW);
        for offset in [OFFSET_END, u64::MAX - 1, u64::MAX] {
            assert_eq!(ledger.output(offset, 1, Some(u64::MAX)), Err(Fault::Offset), "{offset}");
            assert_eq!(ledger.snapshot(offset, 1, false, None), Err(Fault::Offset), "{offset}");
            assert_eq!(ledger.range(offset, 0), Err(Fault::Offset), "{offset}");
        }
        assert_eq!(ledger.output(1001, 1, AT), Err(Fault::Gap));
    }

    #[test]
    fn old_output_comes_as_far_as_it_was_asked_for() {
        let mut ledger = Ledger::open(LINK_WINDOW);
        ledger.ask_range(100, 200);
        assert_eq!(ledger.range(100, 60), Ok(()));
        assert_eq!(ledger.range(160, 40), Ok(()));
        assert_eq!(ledger.range(200, 0), Ok(()), "the end of the answer");
        assert_eq!(ledger.range(200, 1), Err(Fault::Unasked));
    }

    proptest! {
        /// A holder of ours, with its cursor, never does what is a fault, whatever it has to send and when it is granted.
        #[test]
        fn what_our_own_holder_sends_is_never_a_fault(
            steps in proptest::collection::vec((0usize..200_000, 0usize..40_000, any::<bool>()), 1..200),
        ) {
            let mut ledger = Ledger::open(LINK_WINDOW);
            let (mut used, mut granted) = (0u64, LINK_WINDOW);
            let mut head = Some(0u64);
            for (len, snapshot, grants) in steps {
                let credit = granted.saturating_sub(used);
                if credit > 0 && snapshot % 7 == 0 {
                    let at = head.unwrap_or(0) + 1;
                    prop_assert_eq!(ledger.snapshot(at, snapshot as u64, false, head), Ok(()));
                    used += snapshot as u64;
                    head = Some(at);
                } else if credit > 0 && len > 0 {
                    let len = credit.min(len as u64);
                    prop_assert_eq!(ledger.output(head.unwrap_or(0), len, head), Ok(()));
                    used += len;
                    head = head.map(|at| at + len);
                }
                if grants && let Some(total) = ledger.grant() {
                    granted = total;
                }
            }
        }

        /// Whatever is sent, what was let through is within one window and one snapshot of what was granted.
        #[test]
        fn nothing_gets_through_beyond_what_was_granted(
            frames in proptest::collection::vec((any::<bool>(), 0u64..2_000_000, any::<bool>()), 1..100),
        ) {
            let mut ledger = Ledger::open(LINK_WINDOW);
            let (mut through, mut snapshots) = (0u64, 0u64);
            let mut head = 10u64;
            for (is_output, len, more) in frames {
                let before = through;
                let passed = if is_output {
                    ledger.output(head, len, Some(head))
                } else {
                    ledger.snapshot(head + 1, len, more, Some(head))
                };
                if passed.is_err() {
                    // The stream ends here.
                    break;
                }
                through += len;
                if is_output {
                    prop_assert!(through - snapshots <= ledger.granted());
                    head += len;
                } else {
                    prop_assert!(before <= ledger.granted() + SNAPSHOT_MAX);
                    snapshots += len;
                }
            }
        }
    }
}
