//! What is typed, against everything a network can do: a view's input and a holder's, and links between them that freeze,
//! die, thaw and deliver late. No program runs; the seed chooses.
//!
//! Of what is typed between one return of the link and the next the job gets the beginning, each key once; and what the
//! view said of its keys is so: as many as it said never arrive never do, however late an old path thaws.

use sessd_agent::machine::input::{Accept, Input};
use sessd_client::typed::{Lost, Outgoing};
use sessd_proto::Uuid;
use std::collections::VecDeque;

const VIEW: Uuid = Uuid::from_bytes([7; 16]);
/// How long what was withdrawn may stay in doubt before the person is told that it is.
const PATIENCE_MS: u64 = 20_000;

/// xorshift64 (Marsaglia 2003).
struct Chance(u64);

impl Chance {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % below as u64) as usize
    }
}

struct ToHolder {
    seq: u64,
    withdrawn: bool,
    bytes: Vec<u8>,
}

enum ToView {
    Ack(u64),
    Withdrawn(u64, u64),
}

/// One connection. What it was given comes out in order, or from some byte on never.
#[derive(Default)]
struct Path {
    there: VecDeque<ToHolder>,
    back: VecDeque<ToView>,
    frozen: bool,
}

struct World {
    seed: u64,
    chance: Chance,
    now: u64,
    out: Outgoing,
    holder: Input,
    /// The holder says what of the withdrawn had not come; those of the first kind do not.
    tells: bool,
    paths: Vec<Path>,
    /// The path that the view is told to use, the last one; none while the link is dialled.
    linked: bool,
    /// The view knows that it carries nothing.
    broken: bool,
    back_at: u64,
    /// Each key that was typed: its byte, its period, and its number if it was kept.
    typed: Vec<(u8, usize, Option<u64>)>,
    kept: u64,
    period: usize,
    /// What reached the PTY, by number.
    pty: Vec<u64>,
    /// The numbers of what the holder took and has not written yet.
    queued: VecDeque<u64>,
    accepted: u64,
    said: Lost,
}

impl World {
    fn new(seed: u64, tells: bool) -> Self {
        Self {
            seed,
            chance: Chance(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
            now: 0,
            out: Outgoing::new(),
            holder: Input::new(sessd_proto::limits::INPUT_WINDOW),
            tells,
            paths: vec![Path::default()],
            linked: true,
            broken: false,
            back_at: 0,
            typed: Vec::new(),
            kept: 0,
            period: 0,
            pty: Vec::new(),
            queued: VecDeque::new(),
            accepted: 0,
            said: Lost::default(),
        }
    }

    fn types(&mut self) {
        let byte = if self.chance.next(15) == 0 { 0x03 } else { b'a' + self.chance.next(26) as u8 };
        let number = self.out.typed(&[byte], self.broken, self.now).then(|| {
            self.kept += 1;
            self.kept - 1
        });
        self.typed.push((byte, self.period, number));
    }

    fn sends(&mut self) {
        if self.broken || !self.linked {
            return;
        }
        let path = self.paths.last_mut().expect("there is one");
        while let Some(frame) = self.out.next_to_send() {
            let bytes = frame.bytes.to_vec();
            path.there.push_back(ToHolder { seq: frame.seq, withdrawn: frame.withdrawn, bytes });
        }
    }

    /// One frame each way comes out of a path, if that flows.
    fn delivers(&mut self, at: usize) {
        if self.paths[at].frozen {
            return;
        }
        if let Some(frame) = self.paths[at].there.pop_front() {
            self.arrives(at, &frame);
        }
        if let Some(answer) = self.paths[at].back.pop_front()
            // A manager listens to a session's newest path and to no other.
            && self.linked
            && at + 1 == self.paths.len()
        {
            match answer {
                ToView::Ack(seq) => self.out.acknowledged(seq),
                ToView::Withdrawn(from, to) => self.out.withdrawn(from, to),
            }
        }
    }

    fn arrives(&mut self, at: usize, frame: &ToHolder) {
        let accepted = self.holder.accept(VIEW, frame.seq, frame.withdrawn, &frame.bytes, |_| true);
        if frame.withdrawn {
            self.accepted = self.accepted.max(frame.seq);
            if let Some((from, to)) = self.holder.withdrawn(VIEW, frame.seq).filter(|_| self.tells) {
                self.paths[at].back.push_back(ToView::Withdrawn(from, to));
            }
        }
        match accepted {
            Accept::New => {
                let end = frame.seq + frame.bytes.len() as u64;
                self.queued.extend(self.accepted..end);
                self.accepted = end;
            }
            Accept::Seen(seq) | Accept::Missing(seq) => self.paths[at].back.push_back(ToView::Ack(seq)),
            Accept::TooMuch => panic!("seed {}: the window is kept", self.seed),
        }
    }

    /// The program reads a little.
    fn reads(&mut self, most: usize) {
        for _ in 0..most {
            let Some(byte) = self.holder.next().map(|bytes| bytes[0]) else { break };
            let number = self.queued.pop_front().expect("a number for each byte");
            let typed = self.typed.iter().find(|(.., kept)| *kept == Some(number)).expect("it was typed");
            assert_eq!(typed.0, byte, "seed {}: byte {number}", self.seed);
            self.pty.push(number);
            if let Some((_, seq)) = self.holder.wrote(1)
                && let Some(path) = self.paths.last_mut()
            {
                path.back.push_back(ToView::Ack(seq));
            }
        }
    }

    /// A new path; the one before dies, or lives on to deliver late.
    fn links_again(&mut self) {
        let old = self.paths.last_mut().expect("there is one");
        match self.chance.next(3) {
            0 => {
                // Some of it comes through before the end.
                let some = self.chance.next(old.there.len() + 1);
                old.there.truncate(some);
            }
            1 => old.frozen = true,
            _ => {}
        }
        let mut path = Path::default();
        // The holder says how far each view got when it hears who watches.
        path.back.push_back(ToView::Ack(self.holder.written(VIEW).unwrap_or(0)));
        self.paths.push(path);
        (self.linked, self.broken, self.back_at) = (true, false, self.now);
        self.out.path_is_new(self.now);
        self.goes_on();
    }

    /// As a view does after the path is back: it waits for what the holder says, tells the person, and lets them type.
    fn goes_on(&mut self) {
        if self.broken || (self.out.is_in_doubt() && self.now < self.back_at + PATIENCE_MS) {
            return;
        }
        if self.out.refuses() || self.out.lost().any() {
            let lost = self.out.told();
            self.said.dropped += lost.dropped;
            self.said.doubtful += lost.doubtful;
            self.period += 1;
        }
    }

    fn step(&mut self) {
        self.now += if self.chance.next(40) == 0 { 9_000 } else { [0, 3, 10, 40, 100][self.chance.next(5)] };
        match self.chance.next(16) {
            0..6 => self.types(),
            6 if self.chance.next(2) == 0 => self.paths.last_mut().expect("there is one").frozen = true,
            7 if self.paths.last().is_some_and(|path| path.frozen) => self.broken = true,
            8 if self.linked => {
                let path = self.paths.last_mut().expect("there is one");
                path.frozen = false;
                if std::mem::take(&mut self.broken) {
                    self.back_at = self.now;
                    self.out.path_is_back(self.now);
                    self.goes_on();
                }
            }
            9 if self.chance.next(4) == 0 => (self.linked, self.broken) = (false, true),
            10 if self.chance.next(4) == 0 => self.links_again(),
            11 => {
                // An old path thaws.
                let at = self.chance.next(self.paths.len());
                if at + 1 < self.paths.len() {
                    self.paths[at].frozen = false;
                }
            }
            12 => {
                let most = self.chance.next(9);
                self.reads(most);
            }
            _ => {
                for _ in 0..self.chance.next(6) {
                    let at = self.chance.next(self.paths.len());
                    self.delivers(at);
                }
            }
        }
        if self.broken {
            self.out.withdraw_old(self.now);
            if self.chance.next(6) == 0 {
                self.links_again();
            }
        }
        self.goes_on();
        self.sends();
    }

    /// The link is back for good, and what is under way arrives, the oldest last.
    fn ends(&mut self) {
        self.links_again();
        self.sends();
        for at in (0..self.paths.len()).rev() {
            self.paths[at].frozen = false;
        }
        for _ in 0..500 {
            for at in (0..self.paths.len()).rev() {
                self.delivers(at);
            }
            self.reads(100);
            self.goes_on();
            self.sends();
        }
        self.now += PATIENCE_MS;
        self.goes_on();
        self.judge();
    }

    fn judge(&self) {
        let seed = self.seed;
        assert!(self.pty.is_sorted_by(|a, b| a < b), "seed {seed}: each once and in order: {:?}", self.pty);
        let came = |kept: Option<u64>| kept.is_some_and(|number| self.pty.binary_search(&number).is_ok());
        for period in 0..=self.period {
            let keys: Vec<bool> =
                self.typed.iter().filter(|key| key.1 == period).map(|key| came(key.2)).collect();
            let missing = keys.iter().position(|came| !came).unwrap_or(keys.len());
            assert!(
                keys[missing..].iter().all(|came| !came),
                "seed {seed}, period {period}: a hole: {keys:?}"
            );
        }
        assert_eq!(self.out.waiting(), 0, "seed {seed}: nothing waits");
        let lost = self.typed.len() - self.pty.len();
        let Lost { dropped, doubtful } = self.said;
        assert!(
            (dropped..=dropped + doubtful).contains(&lost),
            "seed {seed}: {lost} lost, {dropped} said to be and {doubtful} to be doubtful"
        );
    }
}

fn run(tells: bool) -> (usize, Lost, usize) {
    let (mut typed, mut said, mut came) = (0, Lost::default(), 0);
    for seed in 1..400 {
        let mut world = World::new(seed, tells);
        for _ in 0..300 {
            world.step();
        }
        world.ends();
        typed += world.typed.len();
        came += world.pty.len();
        said.dropped += world.said.dropped;
        said.doubtful += world.said.doubtful;
    }
    (typed, said, came)
}

#[test]
fn what_reaches_the_job_is_a_beginning_of_what_was_typed_and_what_is_said_of_it_is_so() {
    let (typed, said, came) = run(true);
    // The faults happened, and are rarely left in doubt.
    assert!(came > typed / 8 && said.dropped > typed / 8, "{typed} {said:?} {came}");
    assert!(said.doubtful * 5 < said.dropped, "{said:?}");
}

#[test]
fn a_holder_that_does_not_say_what_had_come_leaves_doubt_and_no_untruth() {
    let (typed, said, came) = run(false);
    assert!(came > typed / 8 && said.doubtful > 0, "{typed} {said:?} {came}");
}
