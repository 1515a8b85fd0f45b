//! What views typed: each byte written to the PTY once, in order, acknowledged when it was written.
//!
//! Pure: the holder hands in frames and takes out bytes to write. A view numbers its bytes by absolute offset; what this
//! room has accepted of a view (`accepted`) it never takes again, and what the PTY has taken (`written`) it reports.

use sessd_proto::Uuid;
use sessd_proto::limits::{INPUT_VIEWS, INPUT_WINDOW};
use std::collections::{HashMap, VecDeque};

#[derive(Debug, Default)]
struct Position {
    accepted: u64,
    written: u64,
    /// When it was last heard of, in frames; the smallest is forgotten first.
    used: u64,
}

#[derive(Debug)]
struct Piece {
    /// `None`: our own answer to a terminal query.
    view: Option<Uuid>,
    bytes: Vec<u8>,
    written: usize,
}

/// What became of an input frame.
#[derive(Debug, PartialEq, Eq)]
pub enum Accept {
    /// Some of it is new and will be written.
    New,
    /// All of it was seen before: the view may be told again how far it got.
    Seen(u64),
    /// Bytes before it are missing: the view must send again from here.
    Missing(u64),
    /// More than the window: this view does not keep to the protocol.
    TooMuch,
}

/// The input of all views of one job.
#[derive(Debug, Default)]
pub struct Input {
    positions: HashMap<Uuid, Position>,
    queue: VecDeque<Piece>,
    frames: u64,
}

impl Input {
    /// Nothing typed yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes one frame. `withdrawn`: what is missing before `seq` will never come.
    pub fn accept(&mut self, view: Uuid, seq: u64, withdrawn: bool, bytes: &[u8]) -> Accept {
        self.frames += 1;
        self.make_room_for(view);
        let position = self.positions.entry(view).or_default();
        position.used = self.frames;
        if seq > position.accepted {
            if !withdrawn {
                return Accept::Missing(position.accepted);
            }
            // What was withdrawn counts as written once all before it is; see `wrote`.
            if position.written == position.accepted {
                position.written = seq;
            }
            position.accepted = seq;
        }
        let fresh = match bytes.get((position.accepted - seq) as usize..) {
            Some(fresh) if !fresh.is_empty() => fresh,
            _ => return Accept::Seen(position.written),
        };
        if position.accepted - position.written.min(position.accepted) + fresh.len() as u64 > INPUT_WINDOW {
            return Accept::TooMuch;
        }
        position.accepted += fresh.len() as u64;
        self.queue.push_back(Piece { view: Some(view), bytes: fresh.to_vec(), written: 0 });
        Accept::New
    }

    /// Queues an answer of ours. Answers are short, and a program that asks without reading gets no more of them.
    pub fn answer(&mut self, bytes: &[u8]) {
        let waiting: usize = self.queue.iter().filter(|p| p.view.is_none()).map(|p| p.bytes.len()).sum();
        if !bytes.is_empty() && waiting + bytes.len() <= 4096 {
            self.queue.push_back(Piece { view: None, bytes: bytes.to_vec(), written: 0 });
        }
    }

    /// The next bytes to write, or `None` when there is nothing.
    pub fn next(&self) -> Option<&[u8]> {
        self.queue.front().map(|p| &p.bytes[p.written..])
    }

    /// `n` of the bytes [`Self::next`] gave were written. Returns whom to tell what, when a piece is done.
    pub fn wrote(&mut self, n: usize) -> Option<(Uuid, u64)> {
        let front = self.queue.front_mut()?;
        front.written += n;
        let (view, done) = (front.view, front.written >= front.bytes.len());
        if done {
            self.queue.pop_front();
        }
        let view = view?;
        let more = self.queue.iter().any(|p| p.view == Some(view));
        let position = self.positions.get_mut(&view)?;
        position.written += n as u64;
        if done && !more {
            // Nothing of this view is left to write, so what was withdrawn in between counts as well.
            position.written = position.accepted;
        }
        done.then_some((view, position.written))
    }

    /// How far a view's input got; `None` for a view never heard of.
    pub fn written(&self, view: Uuid) -> Option<u64> {
        self.positions.get(&view).map(|p| p.written)
    }

    /// Drops what is queued: the job is gone.
    pub fn clear(&mut self) {
        self.queue.clear();
    }

    fn make_room_for(&mut self, view: Uuid) {
        if self.positions.len() < INPUT_VIEWS || self.positions.contains_key(&view) {
            return;
        }
        if let Some(oldest) = self.positions.iter().min_by_key(|(_, p)| p.used).map(|(id, _)| *id) {
            self.positions.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u8) -> Uuid {
        Uuid::from_bytes([n; 16])
    }

    fn drain(input: &mut Input) -> Vec<u8> {
        let mut all = Vec::new();
        while let Some(bytes) = input.next() {
            let first = bytes[..1].to_vec();
            all.extend_from_slice(&first);
            input.wrote(1);
        }
        all
    }

    #[test]
    fn sent_again_after_a_cut_a_byte_is_written_once() {
        let mut input = Input::new();
        assert_eq!(input.accept(id(1), 0, false, b"abc"), Accept::New);
        assert_eq!(input.accept(id(1), 0, false, b"abcde"), Accept::New);
        assert_eq!(input.accept(id(1), 2, false, b"cd"), Accept::Seen(0));
        assert_eq!(drain(&mut input), b"abcde");
        assert_eq!(input.accept(id(1), 0, false, b"abcde"), Accept::Seen(5));
        assert_eq!(input.written(id(1)), Some(5));
    }

    #[test]
    fn a_gap_is_asked_for_again_unless_it_was_withdrawn() {
        let mut input = Input::new();
        assert_eq!(input.accept(id(1), 0, false, b"a"), Accept::New);
        assert_eq!(input.accept(id(1), 2, false, b"c"), Accept::Missing(1));
        assert_eq!(input.accept(id(1), 2, true, b"c"), Accept::New);
        assert_eq!(drain(&mut input), b"ac");
        assert_eq!(input.written(id(1)), Some(3));
    }

    #[test]
    fn a_view_that_ignores_the_window_is_told() {
        let mut input = Input::new();
        let much = vec![b'x'; INPUT_WINDOW as usize];
        assert_eq!(input.accept(id(1), 0, false, &much), Accept::New);
        assert_eq!(input.accept(id(1), INPUT_WINDOW, false, b"y"), Accept::TooMuch);
        assert_eq!(input.accept(id(2), 0, false, b"z"), Accept::New, "another view has a window of its own");
    }

    #[test]
    fn views_beyond_the_bound_push_out_the_one_unused_longest() {
        let mut input = Input::new();
        for n in 0..=INPUT_VIEWS {
            let view = Uuid::from_u128(n as u128 + 1);
            assert_eq!(input.accept(view, 0, false, b"x"), Accept::New);
            drain(&mut input);
        }
        assert_eq!(input.written(Uuid::from_u128(1)), None);
        assert_eq!(input.written(Uuid::from_u128(2)), Some(1));
    }

    proptest::proptest! {
        #[test]
        fn any_order_of_resends_writes_each_byte_once_and_in_order(
            sends in proptest::collection::vec((0usize..40, 1usize..20), 1..60)
        ) {
            let text: Vec<u8> = (0..60).collect();
            let mut input = Input::new();
            let mut written = Vec::new();
            for (from, len) in sends {
                input.accept(id(1), from as u64, false, &text[from..from + len]);
                written.extend(drain(&mut input));
            }
            proptest::prop_assert_eq!(&written[..], &text[..written.len()]);
        }
    }
}
