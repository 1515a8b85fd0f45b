//! What few programs say and some terminals know: what it does is as xterm has it, and a snapshot carries it.

use super::{again, term};
use crate::*;

fn same_again(t: &Terminal, what: &str) {
    assert_eq!(again(t).dump(), t.dump(), "{what}");
}

const LETTERS: &str = "\x1b[1;1Haaaaaaaa\x1b[2;1Hbbbbbbbb\x1b[3;1Hcccccccc\x1b[4;1Hdddddddd\x1b[4;9H";

/// What follows [`LETTERS`], and the lines with their looks.
const RECTANGLES: [(&str, &str); 21] = [
    ("\x1b[42;2;3;3;4$x", "aaaaaaaa\nbb**bbbb\ncc**cccc\ndddddddd\n"),
    ("\x1b[31m\x1b[88;2;3;2;4$x", "aaaaaaaa\nbb\x1b[0;31mXX\x1b[mbbbb\ncccccccc\ndddddddd\n"),
    (
        "\x1b[233;1;8$x",
        "aaaaaaaééééééééééééé\nbbbbbbbééééééééééééé\ncccccccééééééééééééé\ndddddddééééééééééééé\n       ééééééééééééé\n",
    ),
    ("\x1b[7;1;1;2;2$x", "aaaaaaaa\nbbbbbbbb\ncccccccc\ndddddddd\n"),
    ("\x1b[42;3;3;2;2$x", "aaaaaaaa\nbbbbbbbb\ncccccccc\ndddddddd\n"),
    ("\x1b(0\x1b[113;1;1;1;2$x", "qqaaaaaa\nbbbbbbbb\ncccccccc\ndddddddd\n"),
    ("\x1b[2;3;3;4$z", "aaaaaaaa\nbb  bbbb\ncc  cccc\ndddddddd\n"),
    ("\x1b[44m\x1b[2;7;2;8$z", "aaaaaaaa\nbbbbbb\x1b[0;44m  \x1b[m\ncccccccc\ndddddddd\n"),
    ("\x1b[$z", ""),
    (
        "\x1b[1\"q\x1b[2;1HX\x1b[0\"q\x1b[44m\x1b[2;1;3;2${",
        "aaaaaaaa\n\x1b[mX\x1b[m bbbbbb\n  cccccc\ndddddddd\n",
    ),
    ("\x1b[1;1;2;3;1;3;7;1$v", "aaaaaaaa\nbbbbbbbb\nccccccaaa\nddddddbbb\n"),
    // Onto itself, both ways.
    ("\x1b[1;1;3;8;1;2;2;1$v", "aaaaaaaa\nbaaaaaaaa\ncbbbbbbbb\ndcccccccc\n"),
    ("\x1b[2;2;4;8;1;1;1;1$v", "bbbbbbba\ncccccccb\ndddddddc\ndddddddd\n"),
    ("\x1b[1;1;1;9;1;5;18;1$v", "aaaaaaaa\nbbbbbbbb\ncccccccc\ndddddddd\n                 aaa\n"),
    (
        "\x1b[2*x\x1b[2;3;3;4;1;4$r",
        "aaaaaaaa\nbb\x1b[0;1;4mbb\x1b[mbbbb\ncc\x1b[0;1;4mcc\x1b[mcccc\ndddddddd\n",
    ),
    ("\x1b[2*x\x1b[2;3;2;4;1;31$r\x1b[2;4;2;4$r", "aaaaaaaa\nbb\x1b[0;1mb\x1b[mbbbbb\ncccccccc\ndddddddd\n"),
    (
        "\x1b[2*x\x1b[2;3;2;5;7;4$t\x1b[2;4;2;4;7$t",
        "aaaaaaaa\nbb\x1b[0;7;4mb\x1b[0;4mb\x1b[0;7;4mb\x1b[mbbb\ncccccccc\ndddddddd\n",
    ),
    // As a stream of positions, to the end of lines.
    (
        "\x1b[3;2;4;7;7$r",
        "aaaaaaaa\nbbbbbbbb\nc\x1b[0;7mccccccc            \x1b[m\n\x1b[0;7mddddddd\x1b[md\n",
    ),
    // From the margins, in origin mode, and not beyond them.
    ("\x1b[2;3r\x1b[?6h\x1b[42;1;1;99;3$x", "aaaaaaaa\n***bbbbb\n***ccccc\ndddddddd\n"),
    ("\x1b[?69h\x1b[3;5s\x1b[2;3r\x1b[?6h\x1b[42;2;2$x", "aaaaaaaa\nbbbbbbbb\nccc**ccc\ndddddddd\n"),
    // Halves of wide characters do not stay.
    ("\x1b[1;1H漢字漢\x1b[42;1;2;1;3$x", " ** 漢aa\nbbbbbbbb\ncccccccc\ndddddddd\n"),
];

#[test]
fn rectangles_are_filled_erased_copied_and_changed() {
    for (bytes, lines) in RECTANGLES {
        let t = term(format!("{LETTERS}{bytes}").as_bytes());
        assert_eq!(String::from_utf8_lossy(&t.ansi(0)), lines, "{bytes:?}");
        same_again(&t, bytes);
    }
}

#[test]
fn no_wrap_is_pending_behind_what_a_rectangle_left_blank() {
    // Erased, copied from where there is nothing, and half of a wide character of which the other half is written over.
    for bytes in [
        "0123456789012345678901\x1b[1;20;1;20$z",
        "\x1b[2;20H|\x1b[3;20;3;20;1;2;20;1$v",
        "012345678901234567漢\x1b[42;1;1;1;19$x",
    ] {
        let mut t = term(bytes.as_bytes());
        same_again(&t, bytes);
        let mut r = again(&t);
        for t in [&mut t, &mut r] {
            t.feed(b"x");
        }
        assert_eq!(t.text(0), r.text(0), "{bytes:?}");
    }
}

#[test]
fn a_copy_has_marks_of_its_own() {
    let mut t = term("e\u{301}x\x1b[1;1;1;2;1;2;3;1$v".as_bytes());
    assert_eq!(t.text(0), "e\u{301}x\n  e\u{301}x\n");
    t.feed("\x1b[2;4H\u{302}".as_bytes());
    assert_eq!(t.text(0), "e\u{301}x\n  e\u{301}\u{302}x\n");
    same_again(&t, "copied");
}

#[test]
fn text_that_was_encoded_twice_swallows_nothing() {
    for c in '\u{80}'..='\u{9f}' {
        let t = term(format!("a{c}bcd{c}31mef").as_bytes());
        assert_eq!(t.text(0), "abcd31mef\n", "{c:?}");
    }
}

/// Streams, and what DECSCUSR is then.
#[test]
fn the_cursors_shape_and_its_blinking_are_one_state() {
    for (bytes, said) in [
        ("\x1b[6 q\x1b[?12h", "\x1b[5 q"),
        ("\x1b[5 q\x1b[?12l", "\x1b[6 q"),
        ("\x1b[?12h\x1b[2 q", "\x1b[2 q"),
        ("\x1b[3 q\x1b[?12h", "\x1b[3 q"),
        ("\x1b[?12h", "\x1b[?12h"),
        ("\x1b[?12l", "\x1b[?12l"),
        ("\x1b[?12h\x1b[0 q", ""),
        ("\x1b[4 q\x1b[!p", ""),
    ] {
        let t = term(bytes.as_bytes());
        let mut out = Vec::new();
        t.snapshot(SnapshotOptions::default(), &mut out);
        let text = String::from_utf8_lossy(&out).replace("\x1b[0 q", "");
        let words = text.split('\x1b').filter(|w| w.ends_with(" q") || w.starts_with("[?12"));
        assert_eq!(words.map(|w| format!("\x1b{w}")).collect::<String>(), said, "{bytes:?}");
        same_again(&t, bytes);
    }
}

#[test]
fn a_mouse_encoding_is_reset_by_its_own_number_only() {
    let encoding = |bytes: &str| {
        let dump = term(bytes.as_bytes()).dump();
        let modes = dump.lines().find(|l| l.starts_with("modes ")).unwrap().to_owned();
        modes.split(' ').nth(4).unwrap().to_owned()
    };
    assert_eq!(encoding("\x1b[?1006h\x1b[?1005l"), "1006");
    assert_eq!(encoding("\x1b[?1006h\x1b[?1015h\x1b[?1006l"), "1015");
    assert_eq!(encoding("\x1b[?1006h\x1b[?1006l"), "0");
}

#[test]
fn modes_are_saved_and_come_back() {
    for (bytes, mode) in [
        ("\x1b[?7l\x1b[?7s\x1b[?7h\x1b[?7r", "\x1b[?7l"),
        ("\x1b[?2004h\x1b[?2004s\x1b[?2004l\x1b[?2004r", "\x1b[?2004h"),
        ("\x1b[?1002h\x1b[?1000s\x1b[?1000l\x1b[?1000r", "\x1b[?1002h"),
        ("\x1b[?2004h\x1b[?2004r", ""),
    ] {
        let t = term(bytes.as_bytes());
        let mut plain = Vec::new();
        term(b"").snapshot(SnapshotOptions::default(), &mut plain);
        let mut out = Vec::new();
        t.snapshot(SnapshotOptions::default(), &mut out);
        let count = |all: &[u8]| String::from_utf8_lossy(all).matches(mode).count();
        assert!(mode.is_empty() || count(&out) > count(&plain), "{bytes:?} {}", out.escape_ascii());
        same_again(&t, bytes);
    }
    // And after a snapshot they come back too.
    let t = term(b"\x1b[?2004h\x1b[?2004;47s\x1b[?2004l");
    let (mut t, mut r) = (t.clone(), again(&t));
    for t in [&mut t, &mut r] {
        t.feed(b"\x1b[?1049hx\x1b[?2004;47r");
    }
    assert!(!t.is_alternate());
    assert_eq!(t.dump(), r.dump());
}

#[test]
fn colours_and_looks_are_put_aside_and_taken_back() {
    let mut t =
        term(b"\x1b]4;1;rgb:11/22/33\x07\x1b[#P\x1b]4;1;red\x07\x1b]11;CadetBlue3\x07\x1b[#P\x1b]104\x07");
    t.feed(b"\x1b[1;31m\x1b[#{\x1b[0;4;44m\x1b[1;30#{\x1b[m");
    let mut r = again(&t);
    assert_eq!(r.dump(), t.dump());
    for t in [&mut t, &mut r] {
        t.feed(b"\x1b[#}a\x1b[#}b\x1b[#}c\x1b[#Q");
    }
    assert_eq!(r.dump(), t.dump());
    assert_eq!(t.ansi(0).escape_ascii().to_string(), b"a\x1b[0;1;31mbc\x1b[m\n".escape_ascii().to_string());
    assert!(
        t.dump().contains("palette {1: [255, 0, 0]} colors [None, Some([122, 197, 205])"),
        "{}",
        t.dump()
    );
    t.feed(b"\x1b[1#Q");
    assert!(t.dump().contains("palette {1: [17, 34, 51]} colors [None, None,"), "{}", t.dump());
    for _ in 0..100 {
        t.feed(b"\x1b[#P\x1b[#{");
    }
    same_again(&t, "full stacks");
}

/// What is written, and the screen shown then.
#[test]
fn the_alternate_screen_is_entered_again_and_left_as_xterm_has_it() {
    for (bytes, text, cursor) in [
        ("ab\x1b[?1049h\x1b[2;5Hcd\x1b[?1049hef", "\n      ef\n", (8, 1)),
        ("ab\x1b[?1049h\x1b[2;5Hcd\x1b[?1049hef\x1b[?1049l!", "ab!\n", (3, 0)),
        ("ab\x1b[?47hcd\x1b[?47l\x1b[?47h", "  cd\n", (4, 0)),
        ("ab\x1b[?47hcd\x1b[?47h", "  cd\n", (4, 0)),
        ("ab\x1b[?47hcd\x1b[?1047h", "  cd\n", (4, 0)),
        ("ab\x1b[?1047hcd\x1b[?1047l\x1b[?47h", "", (4, 0)),
        ("ab\x1b[?47h\x1b[2;2H\x1b7\x1b[?47l\x1b[?47h\x1b[H\x1b8x", "\n x\n", (2, 1)),
        ("ab\x1b[?47hcd\x1b[?47l\x1b[?1049hx", "    x\n", (5, 0)),
    ] {
        let t = term(bytes.as_bytes());
        assert_eq!((t.text(0).as_str(), t.cursor()), (text, cursor), "{bytes:?}");
        same_again(&t, bytes);
    }
    let mut t = term(b"ab\x1b[?47hcd\x1b[?47l");
    let mut r = again(&t);
    for t in [&mut t, &mut r] {
        t.feed(b"\x1b[?47h");
        assert_eq!(t.text(0), "  cd\n", "what was left there while it was not shown");
    }
}

#[test]
fn a_wrap_that_is_pending_survives_a_resize_and_the_end_of_margins() {
    let full = "01234567890123456789";
    for (cols, text) in [
        (30, "01234567890123456789x\n"),
        (20, "01234567890123456789\nx\n"),
        (10, "0123456789\n0123456789\nx\n"),
    ] {
        for alternate in ["", "\x1b[?1049h\x1b[H"] {
            let mut t = term(format!("{alternate}{full}").as_bytes());
            t.resize(Size { cols, rows: 5 });
            same_again(&t, "resized");
            t.feed(b"x");
            let cut = !alternate.is_empty() && cols == 10;
            assert_eq!(t.text(0), if cut { "0123456789\nx\n" } else { text }, "{cols} {alternate:?}");
        }
    }
    let mut t = term(b"\x1b[?69h\x1b[5;10s\x1b[2;5H123456\x1b[?69l");
    let mut r = again(&t);
    for t in [&mut t, &mut r] {
        t.feed(b"X");
        assert_eq!(t.text(0), "\n    123456\nX\n");
    }
}

#[test]
fn a_saved_cursor_goes_with_its_text() {
    // The text before it is broken into more rows.
    let mut t = term(b"one two three four\r\nfive \x1b7six\r\nseven");
    t.resize(Size { cols: 9, rows: 8 });
    same_again(&t, "resized");
    t.feed(b"\x1b8X");
    assert_eq!(t.text(0), "one two t\nhree four\nfive Xix\nseven\n");
    t.resize(Size { cols: 20, rows: 5 });
    t.feed(b"\x1b8Y");
    assert_eq!(t.text(0), "one two three four\nfive Yix\nseven\n");
}

#[test]
fn of_a_string_whose_middle_is_lost_nothing_is_done() {
    // Images are kept up to a bound of their own.
    for (start, end, length) in [
        ("\x1b]52;c;", "\x07", 50_000),
        ("\x1b]52;c;", "\x1b\\", 50_000),
        ("\x1b]1337;File=:", "\x07", MAX_IMAGE_BYTES),
        ("\x1bPq", "\x1b\\", MAX_IMAGE_BYTES),
        ("\x1b_Gf=24,a=T;", "\x1b\\", MAX_IMAGE_BYTES),
    ] {
        let long = "QUJD".repeat(length / 4 + 1);
        let mut t = term(format!("a{start}{long}").as_bytes());
        let mut out = Vec::new();
        t.snapshot(SnapshotOptions::default(), &mut out);
        assert!(!out.windows(start.len()).any(|w| w == start.as_bytes()), "{start:?} is not begun again");
        same_again(&t, start);
        let mut r = again(&t);
        for t in [&mut t, &mut r] {
            t.feed(format!("{long}{end}b").as_bytes());
            assert_eq!(t.text(0), "ab\n", "{start:?}");
        }
        // A short one goes on.
        let t = term(format!("a{start}QUJD").as_bytes());
        let mut out = Vec::new();
        t.snapshot(SnapshotOptions::default(), &mut out);
        assert!(out.ends_with(format!("{start}QUJD").as_bytes()), "{start:?}");
    }
}

#[test]
fn a_string_that_something_else_cut_off_has_no_effect() {
    for (bytes, title, text) in [
        ("\x1b]2;one\x07\x1b]2;two\x1b[31mred", "one", "red\n"),
        ("\x1b]2;one\x07\x1b]2;two\x1bx\\zed", "one", "\\zed\n"),
        ("\x1b]2;one\x07\x1b]2;two\x18zed", "one", "zed\n"),
        ("\x1b]2;one\x07\x1b]2;two\x1b\x1b\\zed", "two", "zed\n"),
        ("\x1b]2;one\x07\x1b]2;two\x1b]2;three\x07zed", "three", "zed\n"),
    ] {
        let t = term(bytes.as_bytes());
        assert_eq!((t.title(), t.text(0).as_str()), (title, text), "{bytes:?}");
        for cut in 0..bytes.len() {
            let mut t = term(&bytes.as_bytes()[..cut]);
            same_again(&t, bytes);
            t = again(&t);
            t.feed(&bytes.as_bytes()[cut..]);
            assert_eq!((t.title(), t.text(0).as_str()), (title, text), "{bytes:?} cut at {cut}");
        }
    }
}

#[test]
fn the_last_character_is_repeated_in_the_set_it_was_printed_in() {
    for (bytes, tail) in
        [("\x1b(0lq", "q"), ("\x1b)0\x0eq", "q"), ("\x1b(0lqé", "é"), ("ab", "b"), ("\x1b(>a", "a")]
    {
        let mut t = term(bytes.as_bytes());
        let mut out = Vec::new();
        t.snapshot(SnapshotOptions::default(), &mut out);
        assert!(out.ends_with(tail.as_bytes()), "{bytes:?} {}", out.escape_ascii());
        let mut r = again(&t);
        t.feed(b"\x1b[3bx");
        r.feed(b"\x1b[3bx");
        assert_eq!(t.dump(), r.dump(), "{bytes:?}");
    }
}

#[test]
fn many_marks_and_many_parameters_count() {
    let marks: String = (0..40).map(|n| char::from_u32(0x300 + n).unwrap()).collect();
    let t = term(format!("a{marks}b").as_bytes());
    assert_eq!(t.text(0), format!("a{marks}b\n"));
    same_again(&t, "marks");
    let t = term(format!("\x1b[{}31;4:3;58:2::1:2:3mx", "1;".repeat(60)).as_bytes());
    assert_eq!(t.ansi(0), b"\x1b[0;1;4:3;31;58:2::1:2:3mx\x1b[m\n");
}

#[test]
fn both_halves_of_a_flag_are_said_in_one_go() {
    let t = term("🇩🇪🇫🇷x🇺".as_bytes());
    let mut out = Vec::new();
    t.snapshot(SnapshotOptions::default(), &mut out);
    let said = String::from_utf8_lossy(&out);
    assert!(said.contains("🇩🇪\x1b[3G🇫🇷\x1b[5Gx🇺"), "{}", out.escape_ascii());
    same_again(&t, "flags");
}

#[test]
fn the_keypads_mode_is_said_as_all_terminals_know_it() {
    for bytes in ["\x1b=", "\x1b[?66h"] {
        let mut out = Vec::new();
        term(bytes.as_bytes()).snapshot(SnapshotOptions::default(), &mut out);
        assert!(out.windows(2).any(|w| w == b"\x1b="), "{}", out.escape_ascii());
        same_again(&term(bytes.as_bytes()), bytes);
    }
}

#[test]
fn sets_of_characters_that_few_programs_use() {
    for (bytes, text) in [
        ("\x1b(>ab\x1b(Bab", "αβab\n"),
        ("\x1b)%5\x0eAi\x0fi", "Áéi\n"),
        ("\x1b*<\x1bNAA", "ÁA\n"),
        ("\x1b-A\x0ei", "é\n"),
        ("\x1b(\"?ab", "ab\n"),
    ] {
        let t = term(bytes.as_bytes());
        assert_eq!(t.text(0), text, "{bytes:?}");
        same_again(&t, bytes);
    }
}

#[test]
fn rows_of_double_width_hold_half_as_much() {
    let t = term(b"\x1b#6123456789012\x1b#5");
    assert_eq!((t.text(0).as_str(), t.cursor()), ("1234567890\n12\n", (2, 1)));
    same_again(&t, "wide");
    let t = term(b"\x1b#3big\r\n\x1b#4big\r\nsmall\x1b[1;99Hx");
    assert_eq!((t.text(0).as_str(), t.cursor()), ("big      x\nbig\nsmall\n", (9, 0)));
    same_again(&t, "tall");
    let mut t = term(b"\x1b#6wide\r\nx");
    t.resize(Size { cols: 30, rows: 5 });
    same_again(&t, "resized");
    t.feed(b"\x1b[1;99Hy");
    assert_eq!(t.cursor().0, 14, "it is still wide");
    t.feed(b"\x1b[2J\x1b[1;99H");
    assert_eq!(t.cursor().0, 29, "until it is erased");
}

#[test]
fn columns_are_only_changed_where_that_is_allowed() {
    assert_eq!(term(b"abc\x1b[?3hx").text(0), "abcx\n");
    let t = term(b"abc\x1b[2;4r\x1b[?40h\x1b[?3hx");
    assert_eq!((t.text(0).as_str(), t.cursor()), ("x\n", (1, 0)));
    same_again(&t, "allowed");
    assert_eq!(term(b"\x1b[3g\x1b[?5W\tx").text(0), "        x\n");
}

#[test]
fn marks_of_shell_integration_come_back_with_what_they_say_in_their_order() {
    let mut t = Terminal::new(Size { cols: 20, rows: 4 }, 100);
    t.feed(b"\x1b]133;D;1\x07\x1b]133;A;cl=m;redraw=0\x1b\\$ \x1b]133;B\x07false\r\n\x1b]133;C;cmdline=false\x07");
    t.feed(b"\r\n1\r\n2\r\n3\r\n\x1b]133;D;130;aid=7\x07\x1b]133;P;k=s\x07> \x1b]133;I\x07");
    let mut said = Vec::new();
    t.snapshot(SnapshotOptions { scrollback_lines: usize::MAX, ..SnapshotOptions::default() }, &mut said);
    let said = String::from_utf8(said).unwrap().replace('\x1b', "^");
    let marks: Vec<&str> = said.split("^]133;").skip(1).map(|rest| rest.split('^').next().unwrap()).collect();
    assert_eq!(
        marks,
        ["D;1", "A;cl=m;redraw=0", "B", "C;cmdline=false", "D;130;aid=7", "P;k=s", "I"],
        "{said}"
    );
    let mut again = Terminal::new(Size { cols: 20, rows: 4 }, 100);
    again.feed(said.replace('^', "\x1b").as_bytes());
    assert_eq!(again.dump(), t.dump());
    // However wide the screen is then.
    for cols in [1, 3, 40] {
        t.resize(Size { cols, rows: 4 });
        let mut said = Vec::new();
        t.snapshot(SnapshotOptions { scrollback_lines: usize::MAX, ..SnapshotOptions::default() }, &mut said);
        assert!(String::from_utf8(said).unwrap().contains("\x1b]133;D;130;aid=7\x1b\\"), "{cols}");
    }
}
