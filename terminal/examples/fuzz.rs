//! Mutates the corpus and feeds it: `cargo run --release --example fuzz -- SECONDS [SEED]`. Checks that nothing panics,
//! that the snapshot is the state, that chunks and turns make no difference, that queries leave the stream, that an answer holds
//! nothing of its question, that memory and the cost of a turn stay within their bounds, and that a cursor keeps to its credit
//! whatever it is granted. Prints its seed, and the input that failed.

#[path = "../testkit/bombs.rs"]
mod bombs;
#[allow(dead_code)]
#[path = "../testkit/generate.rs"]
mod generate;

use std::time::{Duration, Instant, SystemTime};

use generate::Rng;
use sessd_terminal::{
    Cursor, Hub, MAX_SCROLLBACK_BYTES, Next, Outstanding, QueryScanner, ReplyFilter, Size, SnapshotOptions,
    Terminal,
};

const LINES: usize = 200;

const CORPUS: [&[u8]; 7] = [
    include_bytes!("../corpus/shell.raw"),
    include_bytes!("../corpus/editor.raw"),
    include_bytes!("../corpus/unicode.raw"),
    include_bytes!("../corpus/modes.raw"),
    include_bytes!("../corpus/queries.raw"),
    include_bytes!("../corpus/osc.raw"),
    include_bytes!("../corpus/progress.raw"),
];

/// Prints what was fed last if the thread panics.
struct Last {
    size: Size,
    bytes: Vec<u8>,
}

impl Drop for Last {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("failed with {:?} and\n{}", self.size, self.bytes.escape_ascii());
        }
    }
}

fn input(r: &mut Rng, size: Size) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..1 + r.below(4) {
        if r.below(8) == 0 {
            let all = bombs::bombs();
            let (_, start, again) = &all[r.below(all.len() as u64) as usize];
            bytes.extend(bombs::stream(start, &again[..again.len().min(300)], 400));
        } else if r.below(8) == 0 {
            bytes.extend(question(r));
        } else if r.below(3) == 0 {
            for _ in 0..r.below(30) {
                bytes.extend(generate::piece(r.next(), size.cols, size.rows));
            }
        } else {
            let whole = CORPUS[r.below(CORPUS.len() as u64) as usize];
            let from = r.below(whole.len() as u64) as usize;
            let len = r.below((whole.len() - from) as u64 + 1) as usize;
            bytes.extend_from_slice(&whole[from..from + len]);
        }
    }
    for _ in 0..r.below(12) {
        if bytes.is_empty() {
            break;
        }
        let at = r.below(bytes.len() as u64) as usize;
        match r.below(6) {
            0 => bytes[at] = r.below(256) as u8,
            1 => bytes[at] ^= 1 << r.below(8),
            2 => {
                bytes.remove(at);
            }
            3 => bytes
                .insert(at, *r.pick(&[&0x1b, &b'[', &b']', &b';', &b':', &b'9', &b'?', &0x9b, &0x18, &0xe6])),
            4 => {
                let end = (at + r.below(40) as usize).min(bytes.len());
                let part = bytes[at..end].to_vec();
                bytes.splice(at..at, part);
            }
            _ => bytes.truncate(at),
        }
    }
    bytes
}

/// A question with bytes of its own in it.
fn question(r: &mut Rng) -> Vec<u8> {
    let (before, after): (&[u8], &[u8]) = *r.pick(&[
        &(&b"\x1b]52;"[..], &b";?\x07"[..]),
        &(b"\x1b]52;c", b";?\x1b\\"),
        &(b"\x1b]4;", b";?\x07"),
        &(b"\x1b]11;?;", b"\x07"),
        &(b"\x1bP$q", b"\x1b\\"),
        &(b"\x1bP+q", b"\x1b\\"),
        &(b"\x1b[?", b"$p"),
        &(b"\x1b[", b"t"),
    ]);
    let inside: Vec<u8> = (0..r.below(30))
        .map(|_| match r.below(3) {
            0 => r.below(256) as u8,
            1 => *r.pick(&[&b'\n', &b'\r', &3, &4, &21, &b';', &b'?', &0x9c]),
            _ => b'0' + r.below(10) as u8,
        })
        .collect();
    [before, &inside, after].concat()
}

/// The same in turns, none of which costs more than its budget and one sequence.
fn in_turns(r: &mut Rng, size: Size, bytes: &[u8]) -> Terminal {
    let mut t = Terminal::new(size, LINES);
    let cells = u64::from(size.cols) * u64::from(size.rows);
    let mut rest = bytes;
    while !rest.is_empty() {
        let (before, budget) = (t.cost(), 1 + r.below(5000));
        let n = t.feed_within(rest, budget);
        // One sequence: a screen of characters printed one by one, and as often as it has rows, scrolled between margins.
        let most = budget + 100_000 + 10 * n as u64 + cells * (150 + u64::from(size.rows));
        assert!(t.cost() - before <= most, "a turn of {} for {budget}", t.cost() - before);
        rest = &rest[n..];
    }
    t
}

/// A subscriber gets each byte once and in order or a snapshot, and no more than it allowed, whatever it allows.
fn credit(r: &mut Rng, hub: &Hub) {
    let wild = |r: &mut Rng| match r.below(4) {
        0 => u64::MAX - r.below(3),
        1 => r.next(),
        _ => r.below(hub.head() + 10),
    };
    let mut cursor = if r.below(3) == 0 { Cursor::needing_snapshot() } else { Cursor::at(wild(r)) };
    if r.below(2) == 0 {
        cursor.set_max_lag(wild(r));
    }
    let (mut granted, mut got) = (0u64, 0u64);
    for _ in 0..20 {
        let more = wild(r);
        granted = granted.max(more);
        cursor.grant(more);
        let at = cursor.offset();
        match cursor.next(hub, 1 + r.below(100) as usize) {
            Next::Bytes { offset, bytes } => {
                assert_eq!(offset, at);
                got = got.saturating_add(bytes.len() as u64);
                assert!(got <= granted, "{got} of {granted}");
            }
            Next::Snapshot { at, .. } => {
                assert_eq!((at, cursor.offset()), (hub.head(), hub.head()));
                let size = wild(r);
                cursor.charge(size);
                got = got.saturating_add(size);
            }
            Next::NoCredit => assert!(got >= granted),
            Next::Idle => assert_eq!(cursor.offset(), hub.head()),
        }
    }
}

fn same(a: &Terminal, b: &Terminal, what: &str) {
    let (a, b) = (a.dump(), b.dump());
    let differ: Vec<_> = a.lines().zip(b.lines()).filter(|(a, b)| a != b).take(5).collect();
    assert!(a == b, "{what}: {differ:#?}");
}

fn snapshot(t: &Terminal) -> Vec<u8> {
    let mut out = Vec::new();
    t.snapshot(
        SnapshotOptions {
            scrollback_lines: usize::MAX,
            erase_scrollback: true,
            without_images: false,
            unscroll: 0,
        },
        &mut out,
    );
    out
}

fn round(r: &mut Rng) {
    let size = match r.below(6) {
        0 => Size { cols: 1 + r.below(5) as u16, rows: 1 + r.below(4) as u16 },
        1 => Size { cols: 1 + r.below(300) as u16, rows: 1 + r.below(100) as u16 },
        _ => Size { cols: 80, rows: 24 },
    };
    let last = Last { size, bytes: input(r, size) };
    let bytes = &last.bytes[..];

    let mut whole = Terminal::new(size, LINES);
    whole.feed(bytes);
    let mut parts = Terminal::new(size, LINES);
    let mut rest = bytes;
    while !rest.is_empty() {
        let (now, later) = rest.split_at(rest.len().min(1 + r.below(50) as usize));
        parts.feed(now);
        rest = later;
    }
    same(&whole, &parts, "chunks");
    same(&whole, &in_turns(r, size, bytes), "turns");

    let mut copy = Terminal::new(size, LINES);
    copy.feed(&snapshot(&whole));
    same(&whole, &copy, "snapshot");
    let more = input(r, size);
    whole.feed(&more);
    copy.feed(&more);
    same(&whole, &copy, &format!("continuation {}", more.escape_ascii()));
    assert!(whole.heap_bytes() < MAX_SCROLLBACK_BYTES + (8 << 20), "{} bytes", whole.heap_bytes());

    let mut hub = Hub::new(size, LINES, 1 << 20);
    let mut replies = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let (now, later) = rest.split_at(rest.len().min(1 + r.below(50) as usize));
        hub.feed_answering(now, &mut replies);
        rest = later;
    }
    hub.flush_held();
    let stream = hub.read(0, usize::MAX).unwrap_or(&[]);
    assert_eq!(QueryScanner::default().sees_query(stream), None, "a query in the ring");
    let mut out = Vec::new();
    let control = replies.iter().find(|b| !matches!(b, 0x1b | 0x20..=0x7e));
    assert_eq!(control, None, "a control in {}", replies.escape_ascii());
    for word in replies.split(|b| *b == 0x1b) {
        assert!(!word.contains(&b'\'') && !word.contains(&b'&'), "of a question: {}", replies.escape_ascii());
    }
    credit(r, &hub);
    ReplyFilter::default().filter(&replies, &mut Outstanding { cursor_reports: 1000 }, &mut out);
    assert_eq!(out.escape_ascii().to_string(), "", "an answer that is taken for a key");

    for _ in 0..r.below(3) {
        whole.resize(Size { cols: 1 + r.below(200) as u16, rows: 1 + r.below(60) as u16 });
        whole.feed(&input(r, size));
        let _ = whole.dump();
    }
}

fn main() {
    let mut args = std::env::args().skip(1);
    let seconds = args.next().and_then(|s| s.parse().ok()).unwrap_or(10);
    let now = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_nanos() as u64);
    let seed = args.next().and_then(|s| s.parse().ok()).unwrap_or_else(now);
    println!("seed {seed}");
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut rounds = 0u64;
    while Instant::now() < end {
        round(&mut Rng(seed.wrapping_add(rounds.wrapping_mul(0x1000_0001))));
        rounds += 1;
    }
    println!("{rounds} rounds");
}
