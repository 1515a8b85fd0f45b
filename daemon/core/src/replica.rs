//! The manager's copy of a warm session: what the holder's hub is, fed by the link. Views are its subscribers, so one stream
//! crosses the network however many there are.
//!
//! It is lazy. The ring takes every byte at once, and views that follow need nothing else; the model is behind, by a bound,
//! and catches up in turns of the thread: when somebody needs a screen, or when there is time. What a byte costs the model is
//! its sender's choice, so a session that is costly to follow is followed more slowly, and nobody else is.

use crate::credit::{Fault, Ledger};
use crate::flow::{Flow, Skip};
use sessd_proto::limits::{REPLICA_RING, SCROLLBACK_LINES, SIDE_MAX};
use sessd_proto::messages::Subscribe;
use sessd_terminal::{Ring, Size, Terminal};
use std::collections::VecDeque;

/// Bytes that the model may be behind: what the ring holds less what may be in flight beyond it.
const LAG_MAX: u64 = REPLICA_RING as u64 / 2;

/// The same while somebody waits for a screen: so that the model gets there.
const LAG_WAITED_FOR: u64 = 64 * 1024;

/// What one step of work costs at the most, as the model counts it: some 50 µs. Whoever has a clock looks at it in between.
pub const PIECE: u64 = 50_000;

/// What a change of size is taken to cost: it is not counted by the model, and may be long where the scrollback is.
const RESIZE_COST: u64 = 1_000_000;

/// Changes of size that the model may be behind. Each costs as much as the scrollback is long.
const SIZES_MAX: usize = 32;

/// What became of a part of a snapshot.
#[derive(Debug, PartialEq, Eq)]
pub enum Stored {
    /// More must come.
    More,
    /// The replica stands at the snapshot.
    Whole,
}

/// What a word of the PTY's size means.
#[derive(Debug, PartialEq, Eq)]
pub enum Resized {
    /// It is what we have.
    Same,
    /// It is another from here on.
    Changed,
}

/// A replica and the account of its stream.
#[derive(Debug, Default)]
pub struct Replica {
    ledger: Ledger,
    flow: Flow,
    partial: Vec<u8>,
    warm: Option<Warm>,
}

#[derive(Debug)]
struct Warm {
    ring: Ring,
    /// The size at the head.
    size: Size,
    /// It was sent without all of its scrollback, on a way that carries little.
    short: bool,
    /// None: it was let go, because the ring or the sizes have overtaken it; only a fresh screen helps.
    model: Option<Model>,
}

/// The model, which has been fed everything before `at`.
#[derive(Debug)]
struct Model {
    /// Made when it is first worked on.
    terminal: Option<Terminal>,
    /// The size that it is made with.
    first_size: Size,
    /// The snapshot that it is made from, and how much of that it was fed.
    base: Vec<u8>,
    base_at: usize,
    at: u64,
    /// Changes of size that it has not made yet: the offset at which, and the size.
    sizes: VecDeque<(u64, Size)>,
}

impl Model {
    fn is_at(&self, head: u64) -> bool {
        self.terminal.is_some() && self.base.is_empty() && self.sizes.is_empty() && self.at == head
    }

    /// One small step towards the head of `ring`, if there is one to go. What it cost.
    fn step(&mut self, ring: &Ring) -> u64 {
        let Some(terminal) = &mut self.terminal else {
            self.terminal = Some(Terminal::new(self.first_size, SCROLLBACK_LINES));
            return PIECE;
        };
        let before = terminal.cost();
        if self.base_at < self.base.len() {
            self.base_at += terminal.feed_within(&self.base[self.base_at..], PIECE);
            if self.base_at == self.base.len() {
                (self.base, self.base_at) = (Vec::new(), 0);
            }
            return terminal.cost() - before;
        }
        let mut room = usize::MAX;
        if let Some((at, size)) = self.sizes.front().copied() {
            if at <= self.at {
                self.sizes.pop_front();
                terminal.resize(size);
                return RESIZE_COST;
            }
            room = usize::try_from(at - self.at).unwrap_or(usize::MAX);
        }
        if let Ok(bytes) = ring.read(self.at, room) {
            self.at += terminal.feed_within(bytes, PIECE) as u64;
        }
        terminal.cost() - before
    }
}

impl Replica {
    /// Cold: nothing is known.
    pub fn new() -> Self {
        Self::default()
    }

    /// The newest bytes, once warm.
    pub fn ring(&self) -> Option<&Ring> {
        self.warm.as_ref().map(|warm| &warm.ring)
    }

    /// The model, if it stands at the head.
    pub fn screen(&self) -> Option<&Terminal> {
        let Warm { ring, model, .. } = self.warm.as_ref()?;
        let model = model.as_ref().filter(|model| model.is_at(ring.head()))?;
        model.terminal.as_ref()
    }

    /// The size of the PTY as far as it is known.
    pub fn size(&self) -> Option<Size> {
        self.warm.as_ref().map(|warm| warm.size)
    }

    fn head(&self) -> Option<u64> {
        self.ring().map(Ring::head)
    }

    /// Bytes that the model is behind.
    pub fn lag(&self) -> u64 {
        let Some(Warm { ring, model: Some(model), .. }) = &self.warm else { return 0 };
        (model.base.len() - model.base_at) as u64 + (ring.head() - model.at)
    }

    /// Is the model behind, and can it catch up?
    pub fn is_behind(&self) -> bool {
        match &self.warm {
            Some(Warm { ring, model: Some(model), .. }) => !model.is_at(ring.head()),
            Some(Warm { model: None, .. }) | None => false,
        }
    }

    /// Is it so far behind that nothing more should come before it has caught up?
    pub fn is_far_behind(&self) -> bool {
        self.lag() > LAG_MAX
    }

    /// Was the model let go, so that only a fresh screen helps?
    pub fn lost_track(&self) -> bool {
        self.warm.as_ref().is_some_and(|warm| warm.model.is_none())
    }

    /// Feeds the model until about `budget` units are spent ([`Terminal::cost`]), one step at the least, or until it is at the
    /// head. Whether it is there.
    pub fn work(&mut self, budget: u64) -> bool {
        let mut spent = 0;
        while let Some(Warm { ring, model: Some(model), .. }) = &mut self.warm {
            if model.is_at(ring.head()) {
                return true;
            }
            // A step that costs nothing is one all the same: a step towards the head.
            spent += model.step(ring).max(1);
            if spent >= budget {
                break;
            }
        }
        self.screen().is_some()
    }

    /// What to ask a holder for on a new stream: all from where we are, or everything.
    pub fn subscribe(&mut self) -> Subscribe {
        if self.lost_track() {
            self.warm = None;
        }
        self.flow.begin();
        self.ledger = Ledger::open(self.flow.window());
        self.partial = Vec::new();
        Subscribe {
            from: self.head(),
            credit: self.ledger.granted(),
            scrollback_lines: SCROLLBACK_LINES as u32,
            status_only: false,
        }
    }

    /// The token of a ping that measures the way, where one is due.
    pub fn ask(&mut self, now_ms: u64) -> Option<u64> {
        self.ledger.is_open().then(|| self.flow.ask(now_ms, self.ledger.received())).flatten()
    }

    /// A ping was answered. Whether what may be skipped is another now.
    pub fn answered(&mut self, token: u64, now_ms: u64) -> bool {
        let changed = self.flow.answered(token, now_ms, self.ledger.received());
        self.ledger.set_window(self.flow.window());
        changed
    }

    /// What the holder may skip.
    pub fn skip(&self) -> Option<Skip> {
        self.flow.skip()
    }

    /// With how many lines of scrollback a screen comes in place of what was skipped; none: all.
    pub fn skip_lines(&self) -> Option<u32> {
        self.flow.lines()
    }

    /// Does it lack scrollback that the holder has?
    pub fn is_short(&self) -> bool {
        self.warm.as_ref().is_some_and(|warm| warm.short)
    }

    /// A new stream on which nothing is wanted but how the job is.
    pub fn subscribe_to_nothing(&mut self) {
        self.flow.begin();
        self.ledger = Ledger::closed();
    }

    /// Lets go of everything but what is known of the way: nobody looks at the session.
    pub fn cool(&mut self) {
        self.flow.begin();
        *self = Self { flow: self.flow, ..Self::new() };
    }

    /// The host is away: what is known of the way there may not hold for the next.
    pub fn way_is_gone(&mut self) {
        self.flow.broke();
    }

    /// The stream broke: half a snapshot is worth nothing.
    pub fn interrupted(&mut self) {
        self.partial = Vec::new();
        self.flow.begin();
        self.ledger = Ledger::closed();
    }

    /// Output bytes; what is held already is trimmed.
    ///
    /// # Errors
    /// When they may not come.
    pub fn output(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Fault> {
        self.ledger.output(offset, bytes.len() as u64, self.head())?;
        let Some(warm) = &mut self.warm else { return Ok(()) };
        let held = usize::try_from(warm.ring.head().saturating_sub(offset)).unwrap_or(usize::MAX);
        if let Some(fresh) = bytes.get(held..) {
            warm.ring.append(fresh);
            let oldest = warm.ring.oldest();
            warm.model.take_if(|model| model.at < oldest);
        }
        Ok(())
    }

    /// A part of a snapshot.
    ///
    /// # Errors
    /// When it may not come.
    pub fn snapshot(
        &mut self,
        at: u64,
        (cols, rows): (u16, u16),
        more: bool,
        bytes: &[u8],
    ) -> Result<Stored, Fault> {
        self.ledger.snapshot(at, bytes.len() as u64, more, self.head())?;
        self.partial.extend_from_slice(bytes);
        if more {
            return Ok(Stored::More);
        }
        let (base, size) = (std::mem::take(&mut self.partial), size_of(cols, rows));
        let model =
            Some(Model { terminal: None, first_size: size, base, base_at: 0, at, sizes: VecDeque::new() });
        // One that was asked for comes whole.
        let short = self.warm.is_some() && self.flow.lines().is_some();
        self.warm = Some(Warm { ring: Ring::new(REPLICA_RING, at), size, short, model });
        Ok(Stored::Whole)
    }

    /// Old output is asked for.
    pub fn ask_range(&mut self, from: u64, to: u64) {
        self.ledger.ask_range(from, to);
    }

    /// A part of it comes.
    ///
    /// # Errors
    /// When it may not.
    pub fn range(&mut self, offset: u64, len: usize) -> Result<(), Fault> {
        self.ledger.range(offset, len as u64)
    }

    /// The PTY has another size from here on.
    pub fn resize(&mut self, cols: u32, rows: u32) -> Resized {
        let side = |n: u32| u16::try_from(n).unwrap_or(SIDE_MAX);
        let size = size_of(side(cols), side(rows));
        let Some(warm) = self.warm.as_mut().filter(|warm| warm.size != size) else { return Resized::Same };
        warm.size = size;
        // It changes faster than the model follows: a fresh screen is the shorter way.
        warm.model.take_if(|model| model.sizes.len() >= SIZES_MAX);
        if let Some(model) = &mut warm.model {
            model.sizes.push_back((warm.ring.head(), size));
        }
        Resized::Changed
    }

    /// The credit to grant now, when enough was used that it is worth a frame, and the model is not too far behind.
    /// `waited_for`: somebody waits for a screen.
    pub fn grant(&mut self, waited_for: bool) -> Option<u64> {
        let may = self.lag() <= if waited_for { LAG_WAITED_FOR } else { LAG_MAX };
        // What is asked for first is a snapshot, and of any length.
        if may { self.ledger.grant() } else { None }
    }
}

fn size_of(cols: u16, rows: u16) -> Size {
    Size { cols, rows }.clamped()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::WINDOW_FIRST;
    use sessd_proto::limits::LINK_WINDOW;

    const LONG: u64 = u64::MAX;

    fn warm() -> Replica {
        let mut replica = Replica::new();
        assert_eq!(replica.subscribe().from, None);
        assert_eq!(replica.snapshot(100, (80, 24), true, b"he"), Ok(Stored::More));
        assert_eq!(replica.snapshot(100, (80, 24), false, b"llo"), Ok(Stored::Whole));
        replica
    }

    fn text(replica: &mut Replica) -> String {
        assert!(replica.work(LONG));
        replica.screen().unwrap().text(0)
    }

    #[test]
    fn after_a_cut_it_goes_on_where_it_was_and_trims_what_comes_twice() {
        let mut replica = warm();
        replica.output(100, b"abc").unwrap();
        replica.interrupted();
        assert_eq!(replica.subscribe().from, Some(103));
        replica.output(101, b"bcde").unwrap();
        let ring = replica.ring().unwrap();
        assert_eq!((ring.head(), ring.read(100, 10).unwrap()), (105, &b"abcde"[..]));
        assert!(text(&mut replica).starts_with("helloabcde"));
    }

    #[test]
    fn half_a_snapshot_before_a_cut_is_forgotten() {
        let mut replica = Replica::new();
        replica.subscribe();
        replica.snapshot(5, (80, 24), true, b"half").unwrap();
        replica.interrupted();
        replica.subscribe();
        replica.snapshot(9, (80, 24), false, b"whole").unwrap();
        assert!(text(&mut replica).starts_with("whole"));
    }

    #[test]
    fn credit_is_granted_in_steps_and_counts_what_came() {
        let mut replica = warm();
        assert_eq!(replica.grant(false), None);
        let chunk = vec![b'x'; WINDOW_FIRST as usize / 2];
        for n in 1..=2 * LAG_WAITED_FOR / WINDOW_FIRST {
            replica.output(100 + (n - 1) * chunk.len() as u64, &chunk).unwrap();
            if n * chunk.len() as u64 == LAG_WAITED_FOR {
                assert_eq!(replica.grant(true), None, "whoever waits for a screen waits for the model");
            }
            assert_eq!(replica.grant(false), Some(5 + n * WINDOW_FIRST / 2 + WINDOW_FIRST));
            assert_eq!(replica.grant(false), None);
        }
    }

    #[test]
    fn no_credit_is_given_beyond_what_the_model_can_catch_up_with() {
        let mut replica = warm();
        let chunk = vec![b'x'; WINDOW_FIRST as usize / 4];
        let mut at = 100;
        while replica.output(at, &chunk).is_ok() {
            at += chunk.len() as u64;
            replica.grant(false);
        }
        assert!(replica.is_far_behind() && replica.lag() <= LAG_MAX + LINK_WINDOW);
        assert!(replica.work(LONG), "nothing of it has left the ring");
        assert!(replica.grant(false).is_some());
    }

    #[test]
    fn the_model_changes_its_size_at_the_same_byte_as_the_holders() {
        let mut replica = warm();
        replica.output(100, b"\r\n0123456789").unwrap();
        assert_eq!(replica.resize(5, 24), Resized::Changed);
        replica.output(112, b"abc").unwrap();
        assert_eq!((replica.size().unwrap().cols, replica.resize(5, 24)), (5, Resized::Same));
        let mut whole = Terminal::new(size_of(80, 24), SCROLLBACK_LINES);
        whole.feed(b"hello\r\n0123456789");
        whole.resize(size_of(5, 24));
        whole.feed(b"abc");
        assert!(replica.work(LONG));
        let screen = replica.screen().unwrap();
        assert_eq!(
            (0..5).map(|y| screen.text(y)).collect::<Vec<_>>(),
            (0..5).map(|y| whole.text(y)).collect::<Vec<_>>()
        );
    }

    #[test]
    fn a_storm_of_sizes_has_an_end() {
        let mut replica = warm();
        for n in 0..SIZES_MAX as u32 {
            assert_eq!(replica.resize(10 + n, 24), Resized::Changed);
        }
        assert!(!replica.lost_track());
        assert_eq!(replica.resize(90, 24), Resized::Changed);
        assert!(replica.lost_track() && !replica.is_behind(), "nothing is worked on in vain");
        replica.output(100, b"abc").unwrap();
        assert_eq!((replica.work(LONG), replica.size().unwrap().cols), (false, 90));
        assert_eq!(replica.subscribe().from, None, "a fresh screen is asked for");
    }

    #[test]
    fn what_costs_much_is_worked_on_in_turns() {
        let mut replica = Replica::new();
        replica.subscribe();
        let mut bomb = b"\x1b[41mx".to_vec();
        bomb.extend(b"\x1b[2J\x1b[H\x1b[65535b".repeat(20_000));
        replica.snapshot(0, (200, 60), false, &bomb).unwrap();
        let turn = 5 * PIECE;
        let mut turns = 0;
        while !replica.work(turn) && turns < 50 {
            assert!(replica.screen().is_none(), "half a screen is none");
            turns += 1;
        }
        assert!(turns > 5, "{turns} turns");
    }
}
