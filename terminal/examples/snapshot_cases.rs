//! Prints cases for the oracles, as JSON: what a program wrote, the snapshot of the model that was fed with it, and a
//! continuation for both sides. `cargo run --example snapshot_cases [RECORDING...] > cases.json`
//!
//! A recording is a file of raw terminal output for 80x24; it is cut at several places.

#[allow(dead_code)]
#[path = "../testkit/generate.rs"]
mod generate;

use std::io::Write as _;

use sessd_terminal::{Size, SnapshotOptions, Terminal, Traits};

/// Shows what is hidden in most states: text where the cursor is, wrapping, scrolling, tabs, the saved cursor, the other
/// screen.
const PROBE: &[u8] = b"Z\tT0123456789012345678901234567890\r\n\n\x1b7\x1b[2;2HC\x1b8D\n\n\n\n\n\nE\x1b8F";
const LEAVE: &[u8] = b"a\x1b[?1049lP\x1b[mQ\r\nR\x1b8S";

/// What brings back what was put aside, and shows what is out of sight.
const FURTHER: &[u8] = b"x\x1b[#}y\x1b[#}z\x1b[?7;2004;1000r\x1b[2;3;2;9;1$r\x1b[?47hA\x1b[?47lB\r\nC";

fn hand_made() -> Vec<(&'static str, Vec<u8>, &'static [u8])> {
    let mut v: Vec<(&'static str, Vec<u8>, &'static [u8])> = Vec::new();
    let mut add = |name, bytes: &[u8], more: &'static [u8]| v.push((name, bytes.to_vec(), more));
    add("empty", b"", PROBE);
    add("text", b"hello\r\nworld", PROBE);
    add("soft-wrap", b"abcdefghijklmnopqrstuvwxyz0123456789abcdefghij", PROBE);
    add("soft-wrap-many-rows", "0123456789".repeat(14).as_bytes(), PROBE);
    add("pending-wrap", b"01234567890123456789", b"X");
    add("pending-wrap-coloured", b"\x1b[31;44m01234567890123456789", b"X");
    add("pending-wrap-then-cr", b"01234567890123456789", b"\rX");
    add("pending-wrap-wide", "012345678901234567漢".as_bytes(), b"X");
    add("hard-full-line", b"01234567890123456789\r\nnext", PROBE);
    add("scrollback", b"1\r\n2\r\n3\r\n4\r\n5\r\n6\r\n7\r\n8\r\n9\r\n10\r\n11", PROBE);
    add("scrollback-wrapped", "some words that wrap around the edge ".repeat(9).as_bytes(), PROBE);
    add("scrollback-wrapped-into-screen", "0123456789".repeat(20).as_bytes(), PROBE);
    add("scrollback-coloured", "\x1b[32mgreen \x1b[1;31mbold red\x1b[m\r\n".repeat(12).as_bytes(), PROBE);
    add("scrollback-blank-lines", b"a\r\n\r\n\r\nb\r\n\r\n\r\nc\r\n\r\n\r\nd\r\n\r\n", PROBE);
    add("bce-line", b"\x1b[44m\x1b[2Kblue\x1b[m", PROBE);
    add("bce-scroll", b"\x1b[41m\n\n\n\n\n\n\n\nred\x1b[m", PROBE);
    add("bce-to-the-end", b"ab\x1b[45m\x1b[K\x1b[m\r\nc", PROBE);
    add("spaces-styled", b"\x1b[7m      \x1b[m\r\n\x1b[4m   \x1b[m", PROBE);
    add(
        "sgr-simple",
        b"\x1b[1mb\x1b[2md\x1b[22;3mi\x1b[4mu\x1b[5mk\x1b[7mr\x1b[8mh\x1b[28;9ms\x1b[53mo\x1b[m.",
        b"x",
    );
    add("sgr-16", b"\x1b[30;107m0\x1b[31;106m1\x1b[32m2\x1b[93m3\x1b[94;40m4\x1b[m.", b"x");
    add("sgr-256", b"\x1b[38;5;1m1\x1b[48;5;200m2\x1b[38;5;255;48;5;16m3\x1b[m.", b"x");
    add("sgr-rgb", b"\x1b[38;2;1;2;3m1\x1b[48:2::4:5:6m2\x1b[m.", b"x");
    add("sgr-rgb-short-colons", b"\x1b[38:2:7:8:9m3\x1b[m.", b"x");
    add("sgr-underlines", b"\x1b[4:1m1\x1b[4:2m2\x1b[4:3m3\x1b[4:4m4\x1b[4:5m5\x1b[21m6\x1b[24m7", b"x");
    add("sgr-underline-colour", b"\x1b[4;58:2::1:2:3m1\x1b[58:5:9m2\x1b[59m3\x1b[m", b"x");
    add("pen-left-on", b"\x1b[1;3;38;5;99;48;2;9;9;9mtext", b"more\x1b[K");
    add("pen-overline-left-on", b"\x1b[53;4:3;58:5:4mtext", b"more");
    add("link", b"\x1b]8;;http://example.com/\x1b\\link\x1b]8;;\x1b\\ plain", b"x");
    add(
        "link-with-id",
        b"\x1b]8;id=1;http://a/\x1b\\one\x1b]8;;\x1b\\ \x1b]8;id=1;http://a/\x1b\\two\x1b]8;;\x1b\\",
        b"x",
    );
    add("link-left-open", b"\x1b]8;;http://example.com/\x1b\\link", b" goes on\x1b]8;;\x1b\\ not");
    add("wide", "漢字 日本語\r\n한글".as_bytes(), PROBE);
    add("wide-wrapped", "0123456789012345678漢字が続く行はどこで折れるか".as_bytes(), PROBE);
    add("wide-cut-left", "漢字漢字\x1b[1;2Hx".as_bytes(), b"y");
    add("wide-cut-right", "漢字漢字\x1b[1;3Hx".as_bytes(), b"y");
    add("combining", "e\u{301}a\u{308}o\u{302}\u{323} end".as_bytes(), PROBE);
    add("combining-at-the-edge", "0123456789012345678e\u{301}".as_bytes(), "\u{302}X".as_bytes());
    add("combining-follows", "abce".as_bytes(), "\u{301}x".as_bytes());
    add("cursor-style", b"\x1b[5 qbar", b"x");
    add("cursor-hidden", b"\x1b[?25lx", b"y");
    add("cursor-blink", b"\x1b[?12hx", b"y");
    add("cursor-place", b"a\r\nb\x1b[3;7H", PROBE);
    add("saved-cursor", b"\x1b[3;5H\x1b[1;32m\x1b7\x1b[m\x1b[Hx", b"\x1b8restored");
    add("saved-cursor-charset", b"\x1b(0\x1b7\x1b(Bx", b"\x1b8qqq");
    add("saved-cursor-pending", b"01234567890123456789\x1b7\x1b[Hx", b"\x1b8X");
    add("region", b"1\r\n2\r\n3\r\n4\r\n5\r\n6\x1b[2;4r\x1b[4;1H", b"x\r\ny\r\nz\x1bM\x1bM\x1bM\x1bM");
    add(
        "region-origin",
        b"1\r\n2\r\n3\r\n4\r\n5\r\n6\x1b[2;5r\x1b[?6h\x1b[2;3H",
        b"x\x1b[1;1Hy\n\n\n\n\n\nz",
    );
    add(
        "margins",
        b"aaaaaaaaaaaaaaaaaaaa\r\nbbbbbbbbbbbbbbbbbbbb\x1b[?69h\x1b[5;10s\x1b[2;7H",
        b"xyzxyzxyz\r\n\x1b[L",
    );
    add("insert-mode", b"abcdef\x1b[1;3H\x1b[4h", b"XY");
    add("no-autowrap", b"\x1b[?7l0123456789012345678901234", b"XY");
    add("reverse-wrap", b"\x1b[?45h0123456789012345678901", b"\x08\x08\x08\x08x");
    add("newline-mode", b"\x1b[20hab\ncd", b"\nef");
    add("tabs", b"\x1b[3g\x1b[1;5H\x1bH\x1b[1;11H\x1bH\r", b"\ta\tb\tc");
    add("tab-cleared", b"\x1b[1;9H\x1b[g\r", b"\ta");
    add("charset-g0-graphics", b"\x1b(0lqqk", b"x\x1b(Bx");
    add("charset-g1-shifted", b"\x1b)0\x0eqq", b"q\x0fq");
    add("charset-g2-locked", b"\x1b*0\x1bnqq", b"q\x0fq");
    add("charset-uk", b"\x1b(A#", b"#\x1b(B#");
    add("single-shift", b"\x1b*0\x1bN", b"qq");
    add("keypad", b"\x1b=\x1b[?1hx", b"y");
    add("paste-focus", b"\x1b[?2004h\x1b[?1004hx", b"y");
    add("mouse-1000-1006", b"\x1b[?1000h\x1b[?1006hx", b"y");
    add("mouse-1002", b"\x1b[?1002hx", b"y");
    add("mouse-1003-1016", b"\x1b[?1003h\x1b[?1016hx", b"y");
    add("mouse-9", b"\x1b[?9hx", b"y");
    add("reverse-screen", b"\x1b[?5hx", b"y");
    add("sync-open", b"\x1b[?2026hx", b"y");
    add("keyboard-stack", b"\x1b[>1u\x1b[>3ux", b"\x1b[<uy");
    add("modify-other-keys", b"\x1b[>4;2mx", b"y");
    add("title", b"\x1b]2;window\x07\x1b]1;icon\x07x", b"y");
    add("title-stack", b"\x1b]2;one\x07\x1b[22;2t\x1b]2;two\x07x", b"\x1b[23;2ty");
    add(
        "palette",
        b"\x1b]4;1;rgb:12/34/56\x07\x1b]10;#abcdef\x07\x1b]11;#001122\x07\x1b]12;#ff0000\x07x",
        b"y",
    );
    add(
        "cwd-and-marks",
        b"\x1b]7;file://h/tmp\x07\x1b]133;A\x07$ \x1b]133;B\x07ls\r\n\x1b]133;C\x07",
        b"out\r\n",
    );
    add("alternate-1049", b"shell\r\n$ vi\x1b[?1049h\x1b[2J\x1b[Hfile\r\n~\r\n~", LEAVE);
    add("alternate-1047", b"shell\x1b[?1047h\x1b[Halt", b"x\x1b[?1047ly");
    add("alternate-47", b"shell\x1b[?47h\x1b[Halt", b"x\x1b[?47ly");
    add("alternate-pen", b"\x1b[32mshell\x1b[?1049h\x1b[31malt", LEAVE);
    add("alternate-over-scrollback", b"1\r\n2\r\n3\r\n4\r\n5\r\n6\r\n7\r\n8\x1b[?1049h\x1b[Halt", LEAVE);
    add("alternate-saved-cursor", b"sh\x1b[?1049h\x1b[2;3H\x1b[7m\x1b7\x1b[m\x1b[Hx", b"\x1b8y\x1b[?1049lz");
    add("alternate-region", b"sh\x1b[?1049h\x1b[2;4r\x1b[4;1Hx", b"\r\ny\r\nz\x1b[r");
    add("alternate-wrapped", b"sh\x1b[?1049h\x1b[H0123456789012345678901234", LEAVE);
    add("alignment", b"\x1b#8", PROBE);
    add("unfinished-csi", b"abc\x1b[3", b"1mred");
    add("unfinished-esc", b"abc\x1b", b"[31mred");
    add("unfinished-osc", b"abc\x1b]2;ti", b"tle\x07x");
    add("unfinished-utf8", b"abc\xe6\xbc", b"\xa2x");
    add("unfinished-utf8-4", b"abc\xf0\x9f\x91", b"\x8dx");
    add("unfinished-dcs", b"abc\x1bPq#0;2", b";0;0;0~\x1b\\x");
    add("apc-ignored", b"a\x1b_Gf=24;AAAA\x1b\\b\x1b^pm\x1b\\c\x1bXsos\x1b\\d", b"x");
    add("rep", b"ab", b"\x1b[5bx");
    add("rep-coloured", b"\x1b[31mab", b"\x1b[3bx");
    add("erase-middle", b"0123456789\x1b[1;4H\x1b[3X", PROBE);
    add("editing", b"abcdefghij\x1b[1;3H\x1b[2@\x1b[1;9H\x1b[P\r\nx\x1b[L\x1b[2M", PROBE);
    add("progress-bar", b"\r10% [#    ]\r50% [##   ]\r\x1b[K\x1b[32m100% [#####]\x1b[m\r\ndone\r\n", PROBE);
    add("invalid-utf8", b"a\xff\xfeb\xe2\x28c", b"x");
    add("keypad-by-number", b"\x1b[?66hx", b"y");
    add("xterm-encoded-twice", "Ã\u{85}x\u{9d}y\u{9b}31mz".as_bytes(), b"w");
    add("xterm-cut-off-title", b"\x1b]2;one\x07\x1b]2;two\x1b[31mred", b"x");
    add("rep-in-graphics", b"\x1b(0lq", b"\x1b[5bx");
    // As many widths as terminals: of those that cluster, each is told what it measures.
    for (name, text) in [
        ("clusters-joined", "🧑\u{200d}🌾b👩\u{200d}👧c"),
        ("clusters-tones", "👩🏽a👍🏿b"),
        ("clusters-flags", "🇩🇪🇫🇷x🇬y🇩\x1b[C🇪z"),
        ("clusters-selector", "\u{2764}\u{fe0f}a1\u{fe0f}\u{20e3}b☺\u{fe0f}c"),
        ("clusters-at-the-edge", "012345678901234567🇩🇪x\r\n0123456789012345678👩🏽y"),
        ("clusters-overwritten", "👩🏽🇩🇪ab\x1b[1;2Hx\x1b[1;4Hy"),
        ("clusters-scrolled", "🇩🇪a👩🏽b\u{2764}\u{fe0f}c\r\n\n\n\n\n\n\n\nz"),
        ("clusters-coloured", "\x1b[31m🇩🇪\x1b[44m👩🏽\x1b[m\u{2764}\u{fe0f}"),
        ("clusters-go-on", "a👩"),
    ] {
        add(name, text.as_bytes(), "🏽\u{200d}🌾🇩🇪\r\nb".as_bytes());
    }
    add("shell-marks", b"\x1b]133;D;1\x07\x1b]133;A;cl=m\x07$ \x1b]133;B\x07ls\r\n\x1b]133;C\x07", PROBE);
    add("spacing-marks", "कि|ক\u{9be}|க\u{bbe}|\u{3164}|\u{ffa0}|".as_bytes(), b"x");
    // Images, each for the one that shows it; xterm's cells are 6x13 here, kitty's 10x20.
    for (name, before, width, height) in [
        ("xterm-sixel", "\x1b[2;3H", 40, 30),
        ("xterm-sixel-scrolls", "a\r\nb\x1b[5;3H", 40, 48),
        ("xterm-sixel-behind", "\x1b[?8452h\x1b[2;3H", 40, 30),
        ("xterm-sixel-fixed", "\x1b[?80h\x1b[2;3H", 40, 30),
    ] {
        let image = format!("\x1bP0;1q\"1;1;{width};{height}#0;2;100;0;0#0!{width}~-!{width}~\x1b\\");
        add(name, format!("\x1b]9998;traits=0,6,13\x1b\\{before}{image}behind").as_bytes(), PROBE);
    }
    for (name, keys) in [
        ("kitty-image", "a=T,f=24,s=3,v=41"),
        ("kitty-image-cells", "a=T,f=24,s=3,v=2,c=4,r=3"),
        ("kitty-image-stays", "a=T,f=24,s=3,v=41,C=1"),
        ("kitty-image-later", "a=t,f=24,s=3,v=41,i=4"),
    ] {
        let pixels = base64(&vec![0; if keys.contains("v=2") { 18 } else { 369 }]);
        let image = format!("a\r\nb\x1b[4;3H\x1b_G{keys},q=2;{pixels}\x1b\\\x1b_Ga=p,i=4,q=2\x1b\\behind");
        add(name, image.as_bytes(), PROBE);
    }
    // Of these xterm is the only judge: few others know them.
    const LETTERS: &str = "\x1b[1;1Haaaaaaaa\x1b[2;1Hbbbbbbbb\x1b[3;1Hcccccccc\x1b[4;1Hdddddddd\x1b[4;9H";
    for (name, bytes) in [
        ("xterm-fill", "\x1b[31m\x1b[88;2;3;3;5$x"),
        ("xterm-fill-latin1", "\x1b[233;1;8$x"),
        ("xterm-fill-in-origin", "\x1b[2;3r\x1b[?6h\x1b[42;1;1;99;3$x"),
        ("xterm-erase", "\x1b[2;3;3;5$z"),
        ("xterm-erase-selectively", "\x1b[1\"q\x1b[2;1HX\x1b[0\"q\x1b[2;1;3;2${"),
        ("xterm-copy", "\x1b[1;1;2;3;1;3;7;1$v"),
        ("xterm-copy-down", "\x1b[1;1;3;8;1;2;2;1$v"),
        ("xterm-copy-up", "\x1b[2;2;4;8;1;1;1;1$v"),
        ("xterm-change", "\x1b[2*x\x1b[2;3;3;5;1;4$r"),
        ("xterm-change-stream", "\x1b[2;3;3;5;7$r"),
        ("xterm-reverse", "\x1b[2*x\x1b[2;3;3;5;7;4$t\x1b[2;4;2;4;7$t"),
        ("xterm-wide-lines", "\x1b[2;1H\x1b#6\x1b[3;1H\x1b#3\x1b[4;1H\x1b#4"),
        ("xterm-cursor-one-state", "\x1b[5 q\x1b[?12l"),
        ("xterm-cursor-blinks", "\x1b[4 q\x1b[?12h"),
        ("xterm-47-again", "\x1b[?47h\x1b[2;2Halt\x1b[?47l"),
        ("xterm-1049-again", "\x1b[?1049h\x1b[2;5Hcd\x1b[?1049hef"),
        ("xterm-mouse-encoding", "\x1b[?1006h\x1b[?1005l\x1b[?1002h"),
        ("xterm-margin-pending", "\x1b[?69h\x1b[5;10s\x1b[2;5H123456\x1b[?69l"),
        ("xterm-technical", "\x1b(>abc\x1b)<\x0eABC"),
        ("xterm-saved-modes", "\x1b[?7l\x1b[?7;2004;1000s\x1b[?7h\x1b[?2004h"),
        ("xterm-pushed-looks", "\x1b[1;31m\x1b[#{\x1b[m\x1b[4;1#{"),
    ] {
        add(name, format!("{LETTERS}{bytes}").as_bytes(), FURTHER);
    }
    v
}

fn base64(bytes: &[u8]) -> String {
    const SET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut s = String::new();
    for c in bytes.chunks(3) {
        let n = u32::from(c[0]) << 16
            | u32::from(*c.get(1).unwrap_or(&0)) << 8
            | u32::from(*c.get(2).unwrap_or(&0));
        for i in 0..4 {
            let sextet = (n >> (18 - 6 * i)) & 63;
            s.push(if i <= c.len() { char::from(SET[sextet as usize]) } else { '=' });
        }
    }
    s
}

fn main() -> std::io::Result<()> {
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let mut first = true;
    let mut case = |name: &str, size: Size, original: &[u8], more: &[u8]| {
        let snapshot = |clusters| {
            let mut t = Terminal::new(size, 1000);
            t.feed(&Traits { clusters, ..Traits::default() }.said());
            t.feed(original);
            let mut snapshot = Vec::new();
            let all = SnapshotOptions {
                scrollback_lines: usize::MAX,
                erase_scrollback: true,
                ..SnapshotOptions::default()
            };
            t.snapshot(all, &mut snapshot);
            base64(&snapshot)
        };
        // Of a model that measures as kitty 0.26 does, and as Ghostty.
        let of = |columns| Traits::default().measured(columns).clusters;
        let (kitty, ghostty) = (snapshot(of([2, 2, 4, 4])), snapshot(of([2, 2, 2, 4])));
        let comma = if first { "[\n" } else { ",\n" };
        first = false;
        write!(
            out,
            "{comma}{{\"name\":\"{name}\",\"cols\":{},\"rows\":{},\"original\":\"{}\",\"snapshot\":\"{}\",\"kitty\":\"{kitty}\",\"ghostty\":\"{ghostty}\",\"continuation\":\"{}\"}}",
            size.cols,
            size.rows,
            base64(original),
            snapshot(0),
            base64(more)
        )
    };
    for (name, bytes, more) in hand_made() {
        case(name, Size { cols: 20, rows: 6 }, &bytes, more)?;
    }
    // What every terminal agrees on, in random order.
    for seed in 0..200 {
        let mut r = generate::Rng(seed);
        let bytes: Vec<u8> = (0..40).flat_map(|_| generate::plain_piece(r.next(), 30, 8)).collect();
        let more: Vec<u8> = (0..10).flat_map(|_| generate::plain_piece(r.next(), 30, 8)).collect();
        case(&format!("random-{seed}"), Size { cols: 30, rows: 8 }, &bytes, &more)?;
    }
    for seed in 1000..1200 {
        let mut r = generate::Rng(seed);
        let bytes: Vec<u8> = (0..40).flat_map(|_| generate::tame_piece(r.next(), 30, 8)).collect();
        let more: Vec<u8> = (0..10).flat_map(|_| generate::tame_piece(r.next(), 30, 8)).collect();
        case(&format!("tame-{seed}"), Size { cols: 30, rows: 8 }, &bytes, &more)?;
    }
    for path in std::env::args().skip(1) {
        let bytes = std::fs::read(&path)?;
        let name = std::path::Path::new(&path)
            .file_stem()
            .and_then(|s| s.to_str())
            .unwrap_or("recording")
            .to_owned();
        for tenth in 1..=10 {
            let mut cut = bytes.len() * tenth / 10;
            // Not inside a character: that is a case of its own (`unfinished-utf8`), and where a recording of another
            // day would be cut so is chance.
            while bytes.get(cut).is_some_and(|b| b & 0xc0 == 0x80) {
                cut -= 1;
            }
            case(&format!("{name}-{tenth}"), Size { cols: 80, rows: 24 }, &bytes[..cut], &bytes[cut..])?;
        }
    }
    writeln!(out, "\n]")
}
