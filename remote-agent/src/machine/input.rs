//! What views typed: each byte written to the PTY once, in order, acknowledged when it was written.
//!
//! Pure: the holder hands in frames and takes out bytes to write. A view numbers its bytes by absolute offset; what this
//! room has accepted of a view (`accepted`) it never takes again, and what the PTY has taken (`written`) it reports. What a
//! view has withdrawn counts as accepted: bytes of it that come later, over an older path, are dropped.

use sessd_proto::Uuid;
use sessd_proto::limits::INPUT_VIEWS;
use std::cmp::Ordering;
use std::collections::{HashMap, VecDeque};
use std::ops::Range;

#[derive(Debug, Default)]
struct Position {
    accepted: u64,
    written: u64,
    /// The last bytes that were withdrawn and had not come, to be told again if the answer was lost.
    hole: (u64, u64),
    /// When it was last heard of, in frames.
    used: u64,
}

#[derive(Debug)]
struct Piece {
    /// `None`: our own answer to a terminal query, or what a script types.
    view: Option<Uuid>,
    script: bool,
    bytes: Vec<u8>,
    written: usize,
    /// Bytes of the view behind these that are not written and count as if they were.
    passed_over: u64,
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
#[derive(Debug)]
pub struct Input {
    positions: HashMap<Uuid, Position>,
    queue: VecDeque<Piece>,
    frames: u64,
    /// Bytes of one view that may wait to be written.
    window: u64,
}

impl Input {
    /// Nothing typed yet. `window`: how many bytes of one view may wait to be written.
    pub fn new(window: u64) -> Self {
        Self { positions: HashMap::new(), queue: VecDeque::new(), frames: 0, window }
    }

    /// Takes one frame. `withdrawn`: what is missing before `seq` will never come. `is_here`: which views are there now; they
    /// are not forgotten for one that is new.
    pub fn accept(
        &mut self,
        view: Uuid,
        seq: u64,
        withdrawn: bool,
        bytes: &[u8],
        is_here: impl Fn(Uuid) -> bool,
    ) -> Accept {
        self.accept_without(view, seq, withdrawn, bytes, &[], is_here)
    }

    /// The same, without some parts of `bytes`, in order: they are taken and never written.
    pub fn accept_without(
        &mut self,
        view: Uuid,
        seq: u64,
        withdrawn: bool,
        bytes: &[u8],
        passed_over: &[Range<usize>],
        is_here: impl Fn(Uuid) -> bool,
    ) -> Accept {
        self.frames += 1;
        self.make_room_for(view, is_here);
        let position = self.positions.entry(view).or_default();
        position.used = self.frames;
        if seq > position.accepted {
            if !withdrawn {
                return Accept::Missing(position.accepted);
            }
            // Withdrawn further before anything came in between: it is one hole.
            let joins = position.hole.1 == position.accepted && position.hole.0 < position.hole.1;
            position.hole = (if joins { position.hole.0 } else { position.accepted }, seq);
            // What was withdrawn counts as written once all before it is; see `wrote`.
            if position.written == position.accepted {
                position.written = seq;
            }
            position.accepted = seq;
        }
        let seen = (position.accepted - seq) as usize;
        let fresh = match bytes.get(seen..) {
            Some(fresh) if !fresh.is_empty() => fresh,
            _ => return Accept::Seen(position.written),
        };
        let window = position.accepted - position.written.min(position.accepted) + fresh.len() as u64;
        // Nobody has typed 2^64 bytes.
        let Some(accepted) =
            position.accepted.checked_add(fresh.len() as u64).filter(|_| window <= self.window)
        else {
            return Accept::TooMuch;
        };
        position.accepted = accepted;
        let passed_over = passed_over.iter().filter(|part| part.end > seen);
        let passed_over: Vec<_> =
            passed_over.map(|part| part.start.max(seen) - seen..part.end - seen).collect();
        let kept = without(fresh, &passed_over);
        let over = (fresh.len() - kept.len()) as u64;
        if !kept.is_empty() {
            self.queue.push_back(Piece {
                view: Some(view),
                script: false,
                bytes: kept,
                written: 0,
                passed_over: over,
            });
        } else if let Some(piece) = self.queue.iter_mut().rev().find(|piece| piece.view == Some(view)) {
            piece.passed_over += over;
        } else {
            position.written = position.accepted;
            return Accept::Seen(position.written);
        }
        Accept::New
    }

    /// Which bytes before `seq`, where a view withdrew what had not come, that were: from the first to `seq`. Empty when all
    /// had come; `None` when that is not known any more.
    pub fn withdrawn(&self, view: Uuid, seq: u64) -> Option<(u64, u64)> {
        let hole = self.positions.get(&view)?.hole;
        match hole.1.cmp(&seq) {
            Ordering::Equal => Some(hole),
            Ordering::Less => Some((seq, seq)),
            Ordering::Greater => None,
        }
    }

    /// Queues an answer of ours. Answers are short, and a program that asks without reading gets no more of them.
    pub fn answer(&mut self, bytes: &[u8]) {
        let answers = self.queue.iter().filter(|p| p.view.is_none() && !p.script);
        let waiting: usize = answers.map(|p| p.bytes.len()).sum();
        if !bytes.is_empty() && waiting + bytes.len() <= 4096 {
            self.queue.push_back(Piece {
                view: None,
                script: false,
                bytes: bytes.to_vec(),
                written: 0,
                passed_over: 0,
            });
        }
    }

    /// Queues what is typed by no view. Whoever does that bounds it by [`Self::unread_of_scripts`].
    pub fn script(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.queue.push_back(Piece {
                view: None,
                script: true,
                bytes: bytes.to_vec(),
                written: 0,
                passed_over: 0,
            });
        }
    }

    /// Bytes typed by no view that were not written yet.
    pub fn unread_of_scripts(&self) -> usize {
        self.queue.iter().filter(|p| p.script).map(|p| p.bytes.len() - p.written).sum()
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
        let passed_over = if done { front.passed_over } else { 0 };
        if done {
            self.queue.pop_front();
        }
        let view = view?;
        let more = self.queue.iter().any(|p| p.view == Some(view));
        let position = self.positions.get_mut(&view)?;
        position.written += n as u64 + passed_over;
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

    fn make_room_for(&mut self, view: Uuid, is_here: impl Fn(Uuid) -> bool) {
        if self.positions.len() < INPUT_VIEWS || self.positions.contains_key(&view) {
            return;
        }
        // Should all of them be here, one is forgotten that is: it hears that its bytes are missing, and begins again where
        // it stands.
        let oldest = self.positions.iter().min_by_key(|(id, p)| (is_here(**id), p.used));
        if let Some(oldest) = oldest.map(|(id, _)| *id) {
            self.positions.remove(&oldest);
        }
    }
}

/// `bytes` without some parts of it, which are in order.
pub fn without(bytes: &[u8], parts: &[Range<usize>]) -> Vec<u8> {
    let (mut kept, mut at) = (Vec::with_capacity(bytes.len()), 0);
    for part in parts {
        kept.extend_from_slice(&bytes[at..part.start]);
        at = part.end;
    }
    kept.extend_from_slice(&bytes[at..]);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use sessd_proto::limits::{INPUT_WINDOW, PLAIN_INPUT_WINDOW};

    fn id(n: u8) -> Uuid {
        Uuid::from_bytes([n; 16])
    }

    fn accept(input: &mut Input, view: Uuid, seq: u64, withdrawn: bool, bytes: &[u8]) -> Accept {
        input.accept(view, seq, withdrawn, bytes, |_| false)
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
        let mut input = Input::new(INPUT_WINDOW);
        assert_eq!(accept(&mut input, id(1), 0, false, b"abc"), Accept::New);
        assert_eq!(accept(&mut input, id(1), 0, false, b"abcde"), Accept::New);
        assert_eq!(accept(&mut input, id(1), 2, false, b"cd"), Accept::Seen(0));
        assert_eq!(drain(&mut input), b"abcde");
        assert_eq!(accept(&mut input, id(1), 0, false, b"abcde"), Accept::Seen(5));
        assert_eq!(input.written(id(1)), Some(5));
    }

    #[test]
    fn a_gap_is_asked_for_again_unless_it_was_withdrawn() {
        let mut input = Input::new(INPUT_WINDOW);
        assert_eq!(accept(&mut input, id(1), 0, false, b"a"), Accept::New);
        assert_eq!(accept(&mut input, id(1), 2, false, b"c"), Accept::Missing(1));
        assert_eq!(accept(&mut input, id(1), 2, true, b"c"), Accept::New);
        assert_eq!(drain(&mut input), b"ac");
        assert_eq!(input.written(id(1)), Some(3));
    }

    #[test]
    fn what_was_withdrawn_is_named_and_dropped_when_it_comes_late_over_an_older_path() {
        let mut input = Input::new(INPUT_WINDOW);
        accept(&mut input, id(1), 0, false, b"ab");
        assert_eq!(accept(&mut input, id(1), 5, true, b""), Accept::Seen(0));
        assert_eq!(input.withdrawn(id(1), 5), Some((2, 5)));
        assert_eq!(accept(&mut input, id(1), 2, false, b"cde"), Accept::Seen(0), "the older path thawed");
        // The answer was lost: it is the same when it is asked for again, and when more was withdrawn meanwhile.
        assert_eq!(accept(&mut input, id(1), 5, true, b""), Accept::Seen(0));
        assert_eq!(input.withdrawn(id(1), 5), Some((2, 5)));
        assert_eq!(accept(&mut input, id(1), 9, true, b"x"), Accept::New);
        assert_eq!(input.withdrawn(id(1), 9), Some((2, 9)));
        assert_eq!(drain(&mut input), b"abx");
        assert_eq!(input.written(id(1)), Some(10));
        // Of what had come nothing was lost by withdrawing it.
        assert_eq!(accept(&mut input, id(1), 10, true, b""), Accept::Seen(10));
        assert_eq!(input.withdrawn(id(1), 10), Some((10, 10)));
        assert_eq!(input.withdrawn(id(1), 5), None, "one hole is remembered");
    }

    #[test]
    #[allow(clippy::single_range_in_vec_init)] // a list of parts, of which there is one
    fn what_is_passed_over_is_acknowledged_and_never_written() {
        let mut input = Input::new(INPUT_WINDOW);
        let take = |input: &mut Input, seq, bytes: &[u8], parts: &[Range<usize>]| {
            input.accept_without(id(1), seq, false, bytes, parts, |_| false)
        };
        assert_eq!(
            take(&mut input, 0, b"<48t>", &[0..5]),
            Accept::Seen(5),
            "nothing else: it counts at once"
        );
        assert_eq!(take(&mut input, 5, b"a<48t>b", &[1..6]), Accept::New);
        assert_eq!(take(&mut input, 12, b"<48t>", &[0..5]), Accept::New);
        assert_eq!(take(&mut input, 17, b"c", &[]), Accept::New);
        assert_eq!(input.wrote(1), None);
        assert_eq!(input.wrote(1), Some((id(1), 17)), "and what follows the last that was written");
        // Sent again, with a part of it in what was seen.
        assert_eq!(take(&mut input, 8, b"8t>b<48t>cd", &[0..3, 4..9]), Accept::New);
        assert_eq!(drain(&mut input), b"cd");
        assert_eq!(input.written(id(1)), Some(19));
    }

    #[test]
    fn a_number_past_the_end_of_numbers_ends_no_holder() {
        let mut input = Input::new(INPUT_WINDOW);
        assert_eq!(input.accept(id(1), u64::MAX - 1, true, b"abc", |_| true), Accept::TooMuch);
        assert_eq!(input.accept(id(2), 0, false, b"z", |_| true), Accept::New);
        assert_eq!(drain(&mut input), b"z");
    }

    #[test]
    fn a_view_that_ignores_the_window_is_told() {
        let mut input = Input::new(INPUT_WINDOW);
        let much = vec![b'x'; INPUT_WINDOW as usize];
        assert_eq!(accept(&mut input, id(1), 0, false, &much), Accept::New);
        assert_eq!(accept(&mut input, id(1), INPUT_WINDOW, false, b"y"), Accept::TooMuch);
        assert_eq!(
            accept(&mut input, id(2), 0, false, b"z"),
            Accept::New,
            "another view has a window of its own"
        );
        let mut input = Input::new(PLAIN_INPUT_WINDOW);
        assert_eq!(
            accept(&mut input, id(1), 0, false, &vec![b'x'; PLAIN_INPUT_WINDOW as usize]),
            Accept::New
        );
        assert_eq!(accept(&mut input, id(1), PLAIN_INPUT_WINDOW, false, b"y"), Accept::TooMuch);
    }

    #[test]
    fn views_beyond_the_bound_push_out_the_one_unused_longest() {
        let mut input = Input::new(INPUT_WINDOW);
        for n in 0..=INPUT_VIEWS {
            let view = Uuid::from_u128(n as u128 + 1);
            assert_eq!(accept(&mut input, view, 0, false, b"x"), Accept::New);
            drain(&mut input);
        }
        assert_eq!(input.written(Uuid::from_u128(1)), None);
        assert_eq!(input.written(Uuid::from_u128(2)), Some(1));
    }

    #[test]
    fn a_view_that_is_there_keeps_its_keyboard_however_many_others_typed() {
        let mut input = Input::new(INPUT_WINDOW);
        let here = |id: Uuid| id == Uuid::from_u128(1);
        assert_eq!(input.accept(Uuid::from_u128(1), 0, false, b"a", here), Accept::New);
        for n in 0..3 * INPUT_VIEWS as u128 {
            assert_eq!(input.accept(Uuid::from_u128(n + 2), 0, false, b"x", here), Accept::New);
            drain(&mut input);
        }
        assert_eq!(input.accept(Uuid::from_u128(1), 1, false, b"b", here), Accept::New);
        assert_eq!(drain(&mut input), b"b");
    }

    #[test]
    fn what_scripts_type_takes_no_views_place_however_often() {
        let mut input = Input::new(INPUT_WINDOW);
        assert_eq!(input.accept(id(1), 0, false, b"a", |_| false), Accept::New);
        drain(&mut input);
        for _ in 0..4 * INPUT_VIEWS {
            input.script(b"x");
        }
        assert_eq!(input.unread_of_scripts(), 4 * INPUT_VIEWS);
        input.answer(b"\x1b[0n");
        assert_eq!(drain(&mut input).len(), 4 * INPUT_VIEWS + 4);
        assert_eq!(input.accept(id(1), 1, false, b"b", |_| false), Accept::New, "it still has its place");
    }

    #[test]
    fn if_all_views_are_there_the_memory_is_bounded_still() {
        let mut input = Input::new(INPUT_WINDOW);
        for n in 0..2 * INPUT_VIEWS as u128 {
            assert_eq!(input.accept(Uuid::from_u128(n), 0, false, b"x", |_| true), Accept::New);
            drain(&mut input);
        }
        assert_eq!(input.positions.len(), INPUT_VIEWS);
    }

    proptest::proptest! {
        #[test]
        fn any_order_of_resends_writes_each_byte_once_and_in_order(
            sends in proptest::collection::vec((0usize..40, 1usize..20), 1..60)
        ) {
            let text: Vec<u8> = (0..60).collect();
            let mut input = Input::new(INPUT_WINDOW);
            let mut written = Vec::new();
            for (from, len) in sends {
                accept(&mut input, id(1), from as u64, false, &text[from..from + len]);
                written.extend(drain(&mut input));
            }
            proptest::prop_assert_eq!(&written[..], &text[..written.len()]);
        }
    }
}
