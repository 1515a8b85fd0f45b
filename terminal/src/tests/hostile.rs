//! Bad input: nothing panics, nothing grows without bound, the session goes on.

use crate::*;

const LINES: usize = 10_000;
/// The scrollback's bound, the screens, links and clusters.
const BOUND: usize = MAX_SCROLLBACK_BYTES + (4 << 20);

#[track_caller]
fn goes_on(mut t: Terminal) {
    let size = t.size();
    let cells = usize::from(size.cols) * usize::from(size.rows);
    assert!(t.heap_bytes() < BOUND + cells * 32, "{} bytes", t.heap_bytes());
    t.feed(b"\x18\x1b\\\x1bc\x1b[2J\x1b[Hok");
    assert_eq!(t.text(0), "ok\n", "{size:?}");
}

fn flood(start: &[u8], chunk: &[u8], bytes: usize) {
    let mut t = Terminal::new(Size { cols: 80, rows: 24 }, LINES);
    t.feed(start);
    for _ in 0..bytes / chunk.len() {
        t.feed(chunk);
        assert!(t.unfinished().len() < 10_000);
    }
    let mut out = Vec::new();
    t.snapshot(SnapshotOptions { scrollback_lines: usize::MAX, ..Default::default() }, &mut out);
    let mut r = Terminal::new(t.size(), LINES);
    r.feed(&out);
    assert_eq!(r.dump(), t.dump(), "{}", start.escape_ascii());
    goes_on(t);
}

#[test]
fn endless_strings_and_sequences() {
    let chunk = [b'7'; 4096];
    for start in [
        "\x1b]",
        "\x1b]52;c;",
        "\x1b]8;;http://",
        "\x1b]2;",
        "\x1bP",
        "\x1bP$q",
        "\x1b_",
        "\x1b^",
        "\x1bX",
        "\x1b[",
        "\x1b[38;2;",
        "\x1b[?",
    ] {
        flood(start.as_bytes(), &chunk, 16 << 20);
    }
    flood(b"\x1b[", &b"1;:2".repeat(1024), 4 << 20);
    flood(b"\x1b[", &b" !\"#".repeat(1024), 4 << 20);
    flood(b"\x1b", &b" !\"#".repeat(1024), 4 << 20);
    flood(b"", &b"\x1b".repeat(4096), 4 << 20);
    flood(b"\x1b[", &b"\n\r\x08\t".repeat(1024), 1 << 20);
}

#[test]
fn a_gigabyte_in_one_osc() {
    flood(b"\x1b]0;", &[b'x'; 1 << 20], 1 << 30);
}

#[test]
fn marks_without_end_and_links_without_number() {
    flood(b"e", "\u{301}".repeat(1000).as_bytes(), 4 << 20);
    let mut t = Terminal::new(Size { cols: 80, rows: 24 }, LINES);
    for i in 0..200_000 {
        t.feed(
            format!(
                "\x1b]8;id={i};http://{}/{i}\x1b\\x\x1b[58:2::{}:{}:{}m",
                "long".repeat(40),
                i % 256,
                i / 256 % 256,
                i % 7
            )
            .as_bytes(),
        );
        t.feed("e\u{301}\u{302}".as_bytes());
    }
    goes_on(t);
}

/// Every cell of two large screens has marks, again and again: which are kept does not depend on what was there before, so a
/// restored screen goes on as the one it was made from.
#[test]
fn marks_are_kept_or_dropped_by_their_cell_and_not_by_the_past() {
    let size = Size { cols: 300, rows: 70 };
    let screen = |mark: char, n: usize| {
        let marks = String::from(mark).repeat(n);
        format!("\x1b[?1049hx{marks}\x1b[65535b\x1b[?1049lx{marks}\x1b[65535b").into_bytes()
    };
    for n in [1, 3, 11, 63] {
        let mut t = Terminal::new(size, 10);
        for mark in ['\u{301}', '\u{302}', '\u{303}'] {
            t.feed(&screen(mark, n));
        }
        let mut copy = Terminal::new(size, 10);
        let mut out = Vec::new();
        let all = SnapshotOptions {
            scrollback_lines: usize::MAX,
            erase_scrollback: true,
            without_images: false,
            unscroll: 0,
        };
        t.snapshot(all, &mut out);
        copy.feed(&out);
        assert!(t.dump() == copy.dump(), "the snapshot, {n}");
        for t in [&mut t, &mut copy] {
            t.feed(&screen('\u{304}', n));
            t.feed("\x1b[He\u{301}\u{302}".as_bytes());
        }
        assert!(t.dump() == copy.dump(), "what comes then, {n}");
        assert!(t.heap_bytes() < BOUND, "{n}: {}", t.heap_bytes());
        // What the cells of another size have no room for is cut in both.
        for t in [&mut t, &mut copy] {
            t.resize(Size { cols: 100, rows: 210 });
            t.feed(&screen('\u{305}', n));
        }
        assert!(t.dump() == copy.dump(), "in another size, {n}");
    }
}

#[test]
fn every_cell_different_on_the_largest_screen() {
    let mut t = Terminal::new(Size { cols: 1000, rows: 1000 }, 100);
    for i in 0u32..Size::MAX_CELLS {
        t.feed(format!("\x1b[58:2::{}:{}:{}me\u{301}", i & 255, i >> 8 & 255, i >> 16).as_bytes());
    }
    assert_eq!(t.size(), Size { cols: 1000, rows: 160 });
    assert!(t.heap_bytes() < 12 << 20, "{}", t.heap_bytes());
    let mut out = Vec::new();
    t.snapshot(SnapshotOptions::default(), &mut out);
    t.resize(Size { cols: 2, rows: 1 });
    goes_on(t);
}

#[test]
fn a_week_of_repainting_stays_within_the_bound() {
    let mut t = Terminal::new(Size { cols: 200, rows: 50 }, LINES);
    for n in 0..40_000u32 {
        let line: String =
            (0..50).map(|i| format!("\x1b[38;2;{};{};{}m│漢", n % 256, i * 5, n / 256)).collect();
        t.feed(line.as_bytes());
        t.feed(b"\r\n");
        assert!(t.heap_bytes() < BOUND);
    }
    assert!(t.scrollback_len() > 1000);
    goes_on(t);
}

#[test]
fn ten_thousand_resizes() {
    let mut t = Terminal::new(Size { cols: 80, rows: 24 }, 1000);
    let text = "some words of a line that wraps, 漢字, and goes on for a while\r\n".repeat(200);
    t.feed(text.as_bytes());
    for i in 0u32..10_000 {
        let wild = i.wrapping_mul(2_654_435_761) >> 16;
        let (cols, rows) = match i % 100 {
            0 => (1, 1),
            50 => (1000, 1000),
            _ => (1 + (wild % 200) as u16, 1 + (wild / 200 % 60) as u16),
        };
        t.resize(Size { cols, rows });
        if i % 7 == 0 {
            t.feed(b"more text \x1b[31mred\x1b[m and \x1b[5;10Hthere\r\n");
        }
        if i % 1000 == 0 {
            t.feed(b"\x1b[?1049hfull\x1b[H");
        }
        if i % 1000 == 500 {
            t.feed(b"\x1b[?1049l");
        }
    }
    let _ = t.dump();
    t.resize(Size { cols: 0, rows: 0 });
    assert_eq!(t.size(), Size { cols: 1, rows: 1 });
    t.resize(Size { cols: u16::MAX, rows: u16::MAX });
    assert_eq!(t.size(), Size { cols: 1000, rows: 160 });
    t.resize(Size { cols: 160, rows: u16::MAX });
    assert_eq!(t.size(), Size { cols: 160, rows: 1000 });
    goes_on(t);
}

#[test]
fn large_numbers_everywhere() {
    let mut t = Terminal::new(Size { cols: 80, rows: 24 }, 100);
    for last in 0x40..=0x7eu8 {
        for marker in ["", "?", ">", "<", "="] {
            for middle in ["", " ", "!", "\"", "$", "'", "*"] {
                for n in
                    ["0", "1", "65535", "99999999999", "65535;65535", "0;0;0;0", "1;2;65535;3", ":::", ";;;;"]
                {
                    t.feed(format!("x\x1b[{marker}{n}{middle}{}", char::from(last)).as_bytes());
                }
            }
        }
        let _ = t.dump();
    }
    goes_on(t);
}
