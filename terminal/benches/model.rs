//! Speed and size of the model. Plain times; run on a quiet machine: `cargo bench -p sessd-terminal`.

use std::fmt::Write as _;
use std::time::Instant;

#[path = "../testkit/bombs.rs"]
mod bombs;

use sessd_terminal::{Size, SnapshotOptions, Terminal};

const SIZE: Size = Size { cols: 80, rows: 24 };
const LINES: usize = 10_000;
/// What one read of a pty gives.
const CHUNK: usize = 4096;

struct Rng(u64);

impl Rng {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

/// Log lines of 40 to 110 columns.
fn plain(bytes: usize) -> Vec<u8> {
    let mut r = Rng(1);
    let mut s = String::new();
    let mut n = 0;
    while s.len() < bytes {
        let _ = write!(
            s,
            "2026-11-21T10:{:02}:{:02}.{:03} INFO  request id={n} path=/api/v1/item",
            n / 60 % 60,
            n % 60,
            n % 1000
        );
        for _ in 0..r.below(8) {
            s.push_str(" field=");
            let _ = write!(s, "{}", r.below(1000));
        }
        s.push_str("\r\n");
        n += 1;
    }
    s.into_bytes()
}

/// A full-screen program that draws everything again, in 256 and true colours, with a region and cursor jumps.
fn redraw(bytes: usize) -> Vec<u8> {
    let mut r = Rng(2);
    let mut s = String::from("\x1b[?1049h");
    while s.len() < bytes {
        s.push_str("\x1b[?25l\x1b[H");
        for y in 1..=24 {
            let _ = write!(s, "\x1b[{y};1H");
            let mut x = 0;
            while x < 80 {
                if r.below(2) == 0 {
                    let _ = write!(s, "\x1b[38;5;{};48;5;{}m", r.below(256), r.below(256));
                } else {
                    let _ = write!(s, "\x1b[38;2;{};{};{}m", r.below(256), r.below(256), r.below(256));
                }
                let n = 4 + r.below(16);
                for i in 0..n.min(80 - x) {
                    s.push(char::from(b'a' + ((x + i) % 26) as u8));
                }
                x += n;
            }
        }
        s.push_str("\x1b[0m\x1b[5;20r\x1b[20;1H\n\n\x1b[r\x1b[24;1H\x1b[K\x1b[7mstatus\x1b[27m\x1b[?25h");
    }
    s.into_bytes()
}

fn unicode(bytes: usize) -> Vec<u8> {
    let words = [
        "日本語テキスト",
        "カタカナ",
        "漢字",
        "é",
        "e\u{301}",
        "👍",
        "👨\u{200d}👩\u{200d}👧",
        "слово",
        "λόγος",
        "한글",
        "naïve ",
        "│ ─ ",
    ];
    let mut r = Rng(3);
    let mut s = String::new();
    while s.len() < bytes {
        for _ in 0..6 + r.below(6) {
            s.push_str(words[r.below(words.len() as u64) as usize]);
            s.push(' ');
        }
        s.push_str("\r\n");
    }
    s.into_bytes()
}

/// As `git log -p --color`.
fn log(bytes: usize) -> Vec<u8> {
    let mut r = Rng(4);
    let mut s = String::new();
    while s.len() < bytes {
        match r.below(8) {
            0 => s.push_str(
                "\x1b[33mcommit 4f2a9c1b7d8e0f\x1b[m\x1b[33m (\x1b[m\x1b[1;36mHEAD\x1b[m\x1b[33m)\x1b[m",
            ),
            1 => s.push_str("\x1b[36m@@ -10,7 +10,9 @@\x1b[m fn main() {"),
            2 | 3 => s.push_str("\x1b[31m-    let old = something(with, some, arguments);\x1b[m"),
            4 | 5 => s.push_str(
                "\x1b[32m+\x1b[m\x1b[32m    let new = something_else(with, other, arguments)?;\x1b[m",
            ),
            _ => s.push_str("     unchanged line of source code, indented as usual"),
        }
        s.push_str("\r\n");
    }
    s.into_bytes()
}

/// Lines of 80 columns in about five colours.
fn coloured(lines: usize) -> Vec<u8> {
    let mut r = Rng(5);
    let mut s = String::new();
    for n in 0..lines {
        let mut x = 0;
        while x < 79 {
            let _ = write!(s, "\x1b[{}m", [31, 32, 33, 34, 35, 36, 91, 92][r.below(8) as usize]);
            let len = (12 + r.below(10)).min(79 - x);
            for i in 0..len {
                s.push(char::from(b'a' + ((n as u64 + x + i) % 26) as u8));
            }
            x += len;
        }
        s.push_str("\x1b[m\r\n");
    }
    s.into_bytes()
}

fn feed(name: &str, bytes: &[u8]) {
    let mut best = f64::MAX;
    for _ in 0..5 {
        let mut t = Terminal::new(SIZE, LINES);
        let start = Instant::now();
        for chunk in bytes.chunks(CHUNK) {
            t.feed(chunk);
        }
        best = best.min(start.elapsed().as_secs_f64());
        std::hint::black_box(&t);
    }
    println!("{name:10} {:7.0} MB/s", bytes.len() as f64 / 1e6 / best);
}

/// How long a turn of a bomb takes at the worst, and what a unit of its cost is in time.
fn bomb(name: &str, start: &[u8], again: &[u8]) {
    const BUDGET: u64 = 100_000;
    let bytes = bombs::stream(start, again, 64 << 10);
    let (mut unit, mut worst) = (f64::MAX, f64::MAX);
    for _ in 0..4 {
        let mut t = Terminal::new(Size { cols: 200, rows: 60 }, LINES);
        let (mut rest, mut longest, began) = (&bytes[..], 0.0f64, Instant::now());
        while !rest.is_empty() && t.cost() < 20_000_000 {
            let turn = Instant::now();
            let n = t.feed_within(rest, BUDGET);
            longest = longest.max(turn.elapsed().as_secs_f64());
            rest = &rest[n..];
        }
        unit = unit.min(began.elapsed().as_secs_f64() * 1e9 / t.cost() as f64);
        worst = worst.min(longest);
    }
    println!("{name:36} {unit:6.2} ns a unit, a turn {:6.2} ms", worst * 1e3);
}

fn snapshot(name: &str, bytes: &[u8]) {
    let mut t = Terminal::new(SIZE, LINES);
    t.feed(bytes);
    let mut best = f64::MAX;
    let mut out = Vec::new();
    for _ in 0..7 {
        out = Vec::new();
        let start = Instant::now();
        t.snapshot(
            SnapshotOptions {
                scrollback_lines: usize::MAX,
                erase_scrollback: true,
                without_images: false,
                unscroll: 0,
            },
            &mut out,
        );
        best = best.min(start.elapsed().as_secs_f64());
    }
    println!(
        "{name:10} {:7.2} ms for {} lines, {:.2} MB; model holds {:.2} MB",
        best * 1e3,
        t.scrollback_len(),
        out.len() as f64 / 1e6,
        t.heap_bytes() as f64 / 1e6
    );
}

fn main() {
    feed("plain", &plain(8 << 20));
    feed("redraw", &redraw(8 << 20));
    feed("unicode", &unicode(8 << 20));
    feed("log", &log(8 << 20));
    snapshot("plain", &plain(1_500_000));
    snapshot("coloured", &coloured(LINES + 24));
    let mut t = Terminal::new(SIZE, LINES);
    t.feed(b"$ ls\r\na  b  c\r\n$ ");
    println!("idle       {:7.1} kB", t.heap_bytes() as f64 / 1e3);
    for (name, start, again) in bombs::bombs() {
        bomb(name, &start, &again);
    }
}
