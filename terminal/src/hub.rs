//! The hub: model, ring and head offset under one owner, and the cursors of those who follow it.
//!
//! What a stream costs is not in its bytes: five of them can write a whole screen. Whoever has other things to do on the same
//! thread feeds within a budget, keeps what was not taken, and reads no more of the stream until that is gone.

use crate::Size;
use crate::query::{self, Lexeme, Query, QueryScanner};
use crate::ring::{Expired, Ring};
use crate::signals::Signal;
use crate::terminal::Terminal;
use std::collections::VecDeque;

/// One stream: its model, its newest bytes and its head, moved in step.
///
/// Invariant: the model has been fed every byte before the head and none after it, so a snapshot taken now stands at the
/// head. Bytes held back by [`Hub::feed_answering`] are in none of the three.
#[derive(Clone, Debug)]
pub struct Hub {
    terminal: Terminal,
    ring: Ring,
    scanner: QueryScanner,
}

/// Bytes that are looked through for queries at a time, and when they prove to be costly.
const PIECE: usize = 1024;
const SMALL_PIECE: usize = 64;

impl Hub {
    /// A stream that starts now, at offset 0.
    pub fn new(size: Size, scrollback_lines: usize, ring_bytes: usize) -> Self {
        Self {
            terminal: Terminal::new(size, scrollback_lines),
            ring: Ring::new(ring_bytes, 0),
            scanner: QueryScanner::default(),
        }
    }

    /// What the model is told before the stream begins, and is no part of it: modes that a terminal has from elsewhere.
    pub fn prepare(&mut self, bytes: &[u8]) {
        self.terminal.feed(bytes);
    }

    /// A replica: the model comes from a snapshot that stood at offset `at`; the ring is empty there.
    pub fn from_snapshot(
        size: Size,
        scrollback_lines: usize,
        ring_bytes: usize,
        at: u64,
        snapshot: &[u8],
    ) -> Self {
        let mut terminal = Terminal::new(size, scrollback_lines);
        terminal.feed(snapshot);
        Self { terminal, ring: Ring::new(ring_bytes, at), scanner: QueryScanner::default() }
    }

    fn take(&mut self, bytes: &[u8]) {
        self.take_within(bytes, u64::MAX);
    }

    fn take_within(&mut self, bytes: &[u8], budget: u64) -> usize {
        let n = self.terminal.feed_within(bytes, budget);
        self.ring.append(&bytes[..n]);
        n
    }

    /// Takes output: model, ring and head move. What was held back goes first.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.flush_held();
        self.take(bytes);
    }

    /// As [`Self::feed`] until about `budget` units are spent ([`Terminal::cost`]): says how many of `bytes` it took, at
    /// least one. All three have moved that far and no further.
    pub fn feed_within(&mut self, bytes: &[u8], budget: u64) -> usize {
        self.flush_held();
        self.take_within(bytes, budget)
    }

    /// As [`Self::feed_answering`] until about `budget` units are spent: says how many of `bytes` it took, at least one.
    pub fn feed_answering_within(&mut self, bytes: &[u8], budget: u64, replies: &mut Vec<u8>) -> usize {
        let end = self.terminal.cost().saturating_add(budget);
        let (mut taken, mut piece) = (0, PIECE);
        while taken < bytes.len() && (taken == 0 || self.terminal.cost() < end) {
            let before = self.terminal.cost();
            let n = piece.min(bytes.len() - taken);
            self.feed_answering(&bytes[taken..taken + n], replies);
            taken += n;
            let dear = self.terminal.cost() - before > 64 * n as u64;
            piece = if dear { SMALL_PIECE } else { PIECE };
        }
        taken
    }

    /// Takes output while no view can answer: each terminal query is answered from the model as it is at that point of
    /// the stream, into `replies`, and is left out of ring and offsets. The start of what may be a query is held back
    /// (at most [`QueryScanner::MAX_HELD`] bytes) until it is decided.
    ///
    /// If the start of a query was fed before by [`Hub::feed`] (the last view left in the middle of it), the query is
    /// answered and its start is cancelled in the stream by a CAN, so that nobody who replays it answers it again.
    pub fn feed_answering(&mut self, bytes: &[u8], replies: &mut Vec<u8>) {
        if self.scanner.held().is_empty() && !self.terminal.unfinished().is_empty() {
            let head = self.terminal.unfinished().to_vec();
            self.scanner.start_with(&head);
        }
        let mut scanner = std::mem::take(&mut self.scanner);
        scanner.scan(bytes, |found| match found {
            Lexeme::Text(text) => self.take(text),
            Lexeme::Query { query, rest, started } => {
                if started {
                    self.take(b"\x18");
                } else if !self.terminal.unfinished().is_empty() {
                    // The query's ESC also ended what was open before it.
                    self.take(b"\x1b\\");
                }
                query::answer(&self.terminal, &query, replies);
                if !rest.is_empty() {
                    self.take(&rest);
                }
            }
        });
        self.scanner = scanner;
    }

    /// A view attached: what was held back is output like any other, and the view will answer.
    pub fn flush_held(&mut self) {
        let mut scanner = std::mem::take(&mut self.scanner);
        let held = scanner.give_up();
        if !held.is_empty() {
            self.take(&held);
        }
    }

    /// Answers a query from the model as it is now: for one that was passed on to a view that left without answering.
    pub fn answer(&self, query: &Query, replies: &mut Vec<u8>) {
        query::answer(&self.terminal, query, replies);
    }

    /// Bytes held back.
    pub fn held(&self) -> usize {
        self.scanner.held().len()
    }

    /// Offset of the next byte.
    pub fn head(&self) -> u64 {
        self.ring.head()
    }

    /// Offset of the oldest byte that can be read.
    pub fn oldest(&self) -> u64 {
        self.ring.oldest()
    }

    /// As [`Ring::read`].
    pub fn read(&self, from: u64, max: usize) -> Result<&[u8], Expired> {
        self.ring.read(from, max)
    }

    /// The model.
    pub fn terminal(&self) -> &Terminal {
        &self.terminal
    }

    /// As [`Terminal::hear`].
    pub fn hear(&mut self, bytes: &[u8]) {
        self.terminal.hear(bytes);
    }

    /// As [`Terminal::take_signals`].
    pub fn take_signals(&mut self) -> VecDeque<Signal> {
        self.terminal.take_signals()
    }

    /// The ring.
    pub fn ring(&self) -> &Ring {
        &self.ring
    }

    /// As [`Terminal::resize`]; the stream does not move.
    pub fn resize(&mut self, size: Size) {
        self.terminal.resize(size);
    }
}

impl AsRef<Ring> for Hub {
    fn as_ref(&self) -> &Ring {
        &self.ring
    }
}

/// What a subscriber gets next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Next<'a> {
    /// Bytes of the stream from `offset` on; the cursor has moved past them and their number is charged.
    Bytes {
        /// Of the first byte.
        offset: u64,
        /// At least one.
        bytes: &'a [u8],
    },
    /// The cursor has moved to `at`, the head. Encode a snapshot of the model now, before the stream moves, and
    /// [`Cursor::charge`] its length.
    Snapshot {
        /// The offset the snapshot stands at.
        at: u64,
        /// Bytes of the stream the subscriber will never get; 0 if it had asked for a snapshot.
        skipped: u64,
    },
    /// There is something, but no credit for it.
    NoCredit,
    /// The subscriber has all there is.
    Idle,
}

/// A subscriber: a place in the stream and a credit. It holds no bytes, and hubs do not know it.
///
/// Invariants: from one call of [`Cursor::next`] to the next, the subscriber gets every byte from its offset on, once
/// and in order, or a snapshot at the head with the number of bytes it missed; and never more bytes than were granted,
/// but for one snapshot, which may overdraw (what is overdrawn must be granted before anything more comes).
#[derive(Clone, Debug)]
pub struct Cursor {
    offset: u64,
    wants_snapshot: bool,
    /// Whether bytes from `offset` were promised, so that missing them counts.
    promised: bool,
    granted: u64,
    used: u64,
    max_lag: u64,
}

impl Cursor {
    /// One that has everything before `offset`.
    pub fn at(offset: u64) -> Self {
        Self { offset, wants_snapshot: false, promised: true, granted: 0, used: 0, max_lag: u64::MAX }
    }

    /// One that has nothing.
    pub fn needing_snapshot() -> Self {
        Self { wants_snapshot: true, promised: false, ..Self::at(0) }
    }

    /// The bytes it may lag behind the head before it is given a snapshot instead; without bound at first.
    #[must_use]
    pub fn with_max_lag(mut self, bytes: u64) -> Self {
        self.max_lag = bytes;
        self
    }

    /// Changes the bound of [`Self::with_max_lag`].
    pub fn set_max_lag(&mut self, bytes: u64) {
        self.max_lag = bytes;
    }

    /// Allows `total_bytes` since the start; less than was allowed before changes nothing.
    pub fn grant(&mut self, total_bytes: u64) {
        self.granted = self.granted.max(total_bytes);
    }

    /// Bytes that went to the subscriber outside the stream (a snapshot).
    pub fn charge(&mut self, bytes: u64) {
        self.used = self.used.saturating_add(bytes);
    }

    /// Bytes that may still go; 0 if overdrawn.
    pub fn credit(&self) -> u64 {
        self.granted.saturating_sub(self.used)
    }

    /// Bytes charged since the start.
    pub fn used(&self) -> u64 {
        self.used
    }

    /// The offset it stands at: everything before it went out, or was skipped and counted.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Asks for a snapshot next, whatever it has; bytes passed over by it are counted as skipped only if they left
    /// unseen, that is, from its offset to the head.
    pub fn want_snapshot(&mut self) {
        self.wants_snapshot = true;
    }

    /// It is not due the bytes from its offset on any more, because it is shown what they make: they do not count as
    /// skipped. How many it had missed before: none, unless it was too far behind to be given them.
    pub fn forgo(&mut self, stream: &impl AsRef<Ring>) -> u64 {
        let promised = std::mem::take(&mut self.promised);
        if promised && self.is_lost(stream.as_ref()) { self.lag(stream) } else { 0 }
    }

    /// What it is due next is not to be had, or it is further behind than it may be.
    fn is_lost(&self, ring: &Ring) -> bool {
        // An offset past the head is of another stream's time: only a snapshot can be right.
        self.offset > ring.head() || self.offset < ring.oldest() || ring.head() - self.offset > self.max_lag
    }

    /// Bytes it is behind the head.
    pub fn lag(&self, stream: &impl AsRef<Ring>) -> u64 {
        stream.as_ref().head().saturating_sub(self.offset)
    }

    /// What to send next, at most `max` bytes (at least 1), and moves past it.
    pub fn next<'a>(&mut self, stream: &'a impl AsRef<Ring>, max: usize) -> Next<'a> {
        let ring = stream.as_ref();
        let head = ring.head();
        let snapshot = self.wants_snapshot || self.is_lost(ring);
        if !snapshot && self.offset == head {
            return Next::Idle;
        }
        let credit = self.credit();
        if credit == 0 {
            return Next::NoCredit;
        }
        if !snapshot {
            let room = usize::try_from(credit).unwrap_or(usize::MAX).min(max.max(1));
            if let Ok(bytes) = ring.read(self.offset, room) {
                let offset = self.offset;
                self.offset += bytes.len() as u64;
                self.used += bytes.len() as u64;
                return Next::Bytes { offset, bytes };
            }
        }
        let skipped = if self.promised { head.saturating_sub(self.offset) } else { 0 };
        self.wants_snapshot = false;
        self.promised = true;
        self.offset = head;
        Next::Snapshot { at: head, skipped }
    }
}
