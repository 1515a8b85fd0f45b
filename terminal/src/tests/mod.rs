//! Tables on the whole model; properties are in the files beside.

use crate::*;

#[path = "../../testkit/bombs.rs"]
mod bombs;
mod cost;
#[allow(dead_code)]
#[path = "../../testkit/generate.rs"]
pub(crate) mod generate;
mod hostile;
mod hub;
mod images;
mod property;
mod queries;
mod rarities;

const ALL: SnapshotOptions = SnapshotOptions {
    scrollback_lines: usize::MAX,
    erase_scrollback: true,
    without_images: false,
    unscroll: 0,
};

fn term(bytes: &[u8]) -> Terminal {
    let mut t = Terminal::new(Size { cols: 20, rows: 5 }, 100);
    t.feed(bytes);
    t
}

fn again(t: &Terminal) -> Terminal {
    let mut out = Vec::new();
    t.snapshot(ALL, &mut out);
    let mut r = Terminal::new(t.size(), 100);
    r.feed(&out);
    r
}

/// What is written, what is shown, where the cursor is then (column, row).
const SCREENS: [(&str, &str, (u16, u16)); 66] = [
    ("", "", (0, 0)),
    ("abc", "abc\n", (3, 0)),
    ("abc\r\ndef", "abc\ndef\n", (3, 1)),
    ("a\nb", "a\n b\n", (2, 1)),
    ("\x1b[20ha\nb", "a\nb\n", (1, 1)),
    ("a\tb\tc", "a       b       c\n", (17, 0)),
    ("a\t\t\t\tb", "a                  b\n", (19, 0)),
    ("\t\x1b[Zx", "x\n", (1, 0)),
    ("\x1b[2Ix", "                x\n", (17, 0)),
    ("\x1b[3g\x1b[5G\x1bH\r\tx", "    x\n", (5, 0)),
    ("abc\x08\x08X", "aXc\n", (2, 0)),
    ("01234567890123456789", "01234567890123456789\n", (19, 0)),
    ("01234567890123456789a", "01234567890123456789\na\n", (1, 1)),
    ("01234567890123456789\ra", "a1234567890123456789\n", (1, 0)),
    ("01234567890123456789\x08a", "012345678901234567a9\n", (19, 0)),
    ("\x1b[?7l01234567890123456789abc", "0123456789012345678c\n", (19, 0)),
    ("\x1b[?45h01234567890123456789a\x08\x08b", "0123456789012345678b\na\n", (19, 0)),
    ("\x1b[3;4Hx", "\n\n   x\n", (4, 2)),
    ("\x1b[99;99Hx", "\n\n\n\n                   x\n", (19, 4)),
    ("\x1b[3;4H\x1b[Ax\x1b[2By\x1b[3Dz\x1b[Cw", "\n   x\n\n  z w\n", (5, 3)),
    ("\x1b[2Ea\x1b[Fb", "\nb\na\n", (1, 1)),
    ("\x1b[5Ga\x1b[3db\x1b[2ac\x1b[ed", "    a\n\n     b  c\n         d\n", (10, 3)),
    ("abcdef\x1b[3G\x1b[2@X", "abX cdef\n", (3, 0)),
    ("abcdef\x1b[3G\x1b[2P", "abef\n", (2, 0)),
    ("abcdef\x1b[3G\x1b[2X", "ab  ef\n", (2, 0)),
    ("abcdef\x1b[3G\x1b[K", "ab\n", (2, 0)),
    ("abcdef\x1b[3G\x1b[1K", "   def\n", (2, 0)),
    ("abcdef\x1b[3G\x1b[2K", "", (2, 0)),
    ("a\r\nb\r\nc\x1b[2;1H\x1b[J", "a\n", (0, 1)),
    ("a\r\nb\r\nc\x1b[2;1H\x1b[1J", "\n\nc\n", (0, 1)),
    ("a\r\nb\r\nc\x1b[2J", "", (1, 2)),
    ("a\r\nb\r\nc\x1b[2;1H\x1b[L", "a\n\nb\nc\n", (0, 1)),
    ("a\r\nb\r\nc\x1b[2;1H\x1b[M", "a\nc\n", (0, 1)),
    ("a\r\nb\x1b[S", "b\n", (1, 1)),
    ("a\r\nb\x1b[T", "\na\nb\n", (1, 1)),
    ("a\x1b[5b", "aaaaaa\n", (6, 0)),
    ("漢\x1b[2b", "漢漢漢\n", (6, 0)),
    ("a\x1b[m\x1b[5b", "a\n", (1, 0)),
    ("a\r\n\x1bMb", "b\n", (1, 0)),
    ("\x1b[2;2Ha\x1bMb", "  b\n a\n", (3, 0)),
    ("a\x1bEb\x1bDc", "a\nb\n c\n", (2, 2)),
    ("abc\x1b7\x1b[3;3Hx\x1b8d", "abcd\n\n  x\n", (4, 0)),
    ("abc\x1b[s\x1b[3;3Hx\x1b[ud", "abcd\n\n  x\n", (4, 0)),
    ("\x1b[2;4r\x1b[4;1Ha\nb\nc", "\na\n b\n  c\n", (3, 3)),
    ("\x1b[2;4r\x1b[?6h\x1b[1;1Ha\x1b[9;1Hb", "\na\n\nb\n", (1, 3)),
    ("\x1b[?69h\x1b[3;6s\x1b[1;3Habcdef", "  abcd\n  ef\n", (4, 1)),
    ("abcdefgh\x1b[?69h\x1b[3;6s\x1b[1;3H\x1b[P", "abdef gh\n", (2, 0)),
    ("\x1b[4habc\x1b[1Gx", "xabc\n", (1, 0)),
    ("\x1b(0lqk\x1b(Bq", "┌─┐q\n", (4, 0)),
    ("\x1b)0\x0eq\x0fq", "─q\n", (2, 0)),
    ("\x1b*0\x1bNqq", "─q\n", (2, 0)),
    ("\x1b+0\x1bOqq\x1boq", "─q─\n", (3, 0)),
    ("\x1b(A#", "£\n", (1, 0)),
    ("漢字x", "漢字x\n", (5, 0)),
    ("漢字\x1b[2Gx", " x字\n", (2, 0)),
    ("漢字\x1b[3Gx", "漢x\n", (3, 0)),
    ("0123456789012345678漢", "0123456789012345678\n漢\n", (2, 1)),
    ("e\u{301}x", "e\u{301}x\n", (2, 0)),
    ("\u{301}x", "x\n", (1, 0)),
    ("👍🏽x", "👍🏽x\n", (5, 0)),
    ("a\u{feff}\u{200b}b", "a\u{feff}\u{200b}b\n", (2, 0)),
    ("a\x1b_Gx\x1b\\b\x1b^x\x1b\\c\x1bXx\x1b\\d\x1bPx\x1b\\e\x1b]9;x\x07f", "abcdef\n", (6, 0)),
    ("a\x1b[1\x18b\x1b[1\x1ac", "abc\n", (3, 0)),
    ("a\x1b[1\n;1Hb", "b\n", (1, 0)),
    ("\x1b[1\"qa\x1b[0\"qb\x1b[?2J", "a\n", (2, 0)),
    ("abc\r\x1b6d", "dabc\n", (1, 0)),
];

#[test]
fn screens() {
    for (bytes, text, cursor) in SCREENS {
        let t = term(bytes.as_bytes());
        assert_eq!(t.text(0), text, "{bytes:?}");
        assert_eq!(t.cursor(), cursor, "{bytes:?}");
    }
}

#[test]
fn text_wraps_and_scrolls() {
    let t = term(b"hello\r\nworld\r\n0123456789012345678901234\r\na\r\nb\r\nc");
    assert_eq!(t.scrollback_len(), 2);
    assert_eq!(t.text(10), "hello\nworld\n01234567890123456789\n01234\na\nb\nc\n");
    assert_eq!(t.text(1), "world\n01234567890123456789\n01234\na\nb\nc\n");
    let r = again(&t);
    assert_eq!(r.dump(), t.dump());
    let mut none = Vec::new();
    t.snapshot(SnapshotOptions::default(), &mut none);
    let mut r = Terminal::new(t.size(), 100);
    r.feed(&none);
    assert_eq!((r.scrollback_len(), r.text(10)), (0, t.text(0)));
    r.feed(b"\x1b[3J");
}

#[test]
fn an_editor_leaves_to_the_right_primary_screen() {
    let t = term(b"shell\x1b[31m\x1b[?1049h\x1b[2J\x1b[H~\r\n~");
    let mut r = again(&t);
    assert!(r.is_alternate());
    assert_eq!(r.text(0), "~\n~\n");
    r.feed(b"\x1b[?1049lx");
    assert_eq!(r.text(0), "shellx\n");
    assert_eq!(r.ansi(0), b"shell\x1b[0;31mx\x1b[m\n");
}

#[test]
fn colours_of_lines() {
    let t = term(b"\x1b[1;31mred\x1b[m plain \x1b[4:3;58:5:3mcurl\x1b[m\x1b[44m\x1b[K\r\n\x1b[mnext   ");
    assert_eq!(
        t.ansi(0).escape_ascii().to_string(),
        b"\x1b[0;1;31mred\x1b[m plain \x1b[0;4:3;58:5:3mcurl\x1b[0;44m      \x1b[m\nnext\n"
            .escape_ascii()
            .to_string()
    );
}

#[test]
fn titles_and_their_stack() {
    let mut t = term(b"\x1b]0;both\x07\x1b[22;0t\x1b]2;window\x07\x1b]1;icon\x1b\\");
    assert_eq!((t.title(), t.icon_name()), ("window", "icon"));
    t.feed(b"\x1b[23;0t");
    assert_eq!((t.title(), t.icon_name()), ("both", "both"));
    t.feed("\x1b]2;a\tb;ü\x07".as_bytes());
    assert_eq!(t.title(), "ab;ü");
}

#[test]
fn directory_and_prompt() {
    let mut t = term(b"");
    assert_eq!((t.cwd(), t.at_prompt()), (None, None));
    t.feed(b"\x1b]7;file://host/home/a%20b\x07\x1b]133;A\x07$ \x1b]133;B\x07");
    assert_eq!((t.cwd(), t.at_prompt()), (Some("/home/a b"), Some(true)));
    t.feed(b"\x1b]133;C\x07");
    assert_eq!((t.at_prompt(), t.shell_state()), (Some(false), Some(ShellState::Running)));
    t.feed(b"\x1b]133;D;0\x07");
    assert_eq!(again(&t).shell_state(), Some(ShellState::Done));
}

#[test]
fn a_wider_terminal_joins_what_a_narrow_one_broke() {
    let mut t = term("漢字 one two three four five six seven\r\nlast".as_bytes());
    t.resize(Size { cols: 10, rows: 5 });
    assert_eq!(t.text(10), "漢字 one t\nwo three f\nour five s\nix seven\nlast\n");
    t.resize(Size { cols: 60, rows: 5 });
    assert_eq!(t.text(10), "漢字 one two three four five six seven\nlast\n");
    assert_eq!(t.cursor(), (4, 1));
    t.resize(Size { cols: 9, rows: 2 });
    assert_eq!((t.text(0), t.cursor()), ("en\nlast\n".into(), (4, 1)));
    t.resize(Size { cols: 9, rows: 6 });
    assert_eq!(
        t.text(0),
        "漢字 one \ntwo three\n four fiv\ne six sev\nen\nlast\n".replace("one \n", "one\n")
    );
}

fn draw(t: &Terminal, view: Size, history: usize, out: &mut Vec<u8>) -> Drawing {
    let mut drawing = Drawing::new(Abilities::default());
    assert!(drawing.draw(t, view, history, out));
    drawing
}

#[test]
fn a_small_view_sees_what_is_around_the_cursor() {
    let t = term("0123456789abcdefghij\r\n漢字漢字漢字漢字漢字\r\n\x1b[?2004hx\x1b[31my\x1b[2;8H".as_bytes());
    let mut out = Vec::new();
    let corner = draw(&t, Size { cols: 7, rows: 2 }, 0, &mut out).corner();
    let mut view = Terminal::new(Size { cols: 7, rows: 2 }, 10);
    view.feed(&out);
    assert_eq!((corner, view.text(9), view.cursor()), ((4, 0), "456789a\n漢字漢\n".into(), (3, 1)));
    let mut out = Vec::new();
    assert_eq!(draw(&t, Size { cols: 40, rows: 30 }, 0, &mut out).corner(), (0, 0));
    let mut view = Terminal::new(Size { cols: 40, rows: 30 }, 10);
    view.feed(&out);
    assert_eq!((view.text(0), view.ansi(0)), (t.text(0), t.ansi(0)));
    assert!(view.dump().contains("modes 828 "), "{}", view.dump());
}

#[test]
fn below_the_text_there_is_room_for_the_shell_that_comes_next() {
    let size = Size { cols: 20, rows: 5 };
    let rows = |bytes: &[u8], view: Size| {
        let mut t = Terminal::new(size, 10);
        t.feed(bytes);
        let drawing = draw(&t, view, 0, &mut Vec::new());
        t.rows_of_text(view, Some(&drawing).filter(|_| view != size))
    };
    assert_eq!(rows(b"", size), 0);
    assert_eq!(rows(b"one\r\n$ exit\r\n", size), 2);
    assert_eq!(rows(b"one\r\n\x1b[44m \x1b[m\r\n", size), 1, "colour is no text");
    assert_eq!(rows(b"$ vi\r\n\x1b[?1049h\x1b[5;1Hthe end", size), 1, "the first screen is what stays");
    assert_eq!(rows(b"1\r\n2\r\n3\r\n4\r\n5", size), 5);
    // Drawn, it is the part around the cursor that stays.
    let small = Size { cols: 9, rows: 3 };
    assert_eq!(rows(b"1\r\n2\r\n3\r\n4\r\n5", small), 3);
    assert_eq!(rows(b"1\r\n2", small), 2);
    assert_eq!(rows(b"1\x1b[?1049h\x1b[5;1Hthe end", small), 3);
}

#[test]
fn a_line_is_read_from_its_beginning_as_long_as_the_cursor_is_in_it() {
    let mut t = term(b"$ a prompt and more text than fits into the view");
    t.feed(b"\x1b[1;5H");
    let size = Size { cols: 9, rows: 2 };
    let mut out = Vec::new();
    assert_eq!(draw(&t, size, 0, &mut out).corner(), (0, 0));
    let mut view = Terminal::new(size, 10);
    view.feed(&out);
    assert_eq!((view.text(9), view.cursor()), ("$ a promp\ntext than\n".into(), (4, 0)));
}

#[test]
fn above_a_drawn_view_is_the_history_once_in_rows_of_its_width() {
    let mut t = term(b"");
    for n in 1..=9 {
        t.feed(format!("{n} {}\r\n", "x".repeat(12)).as_bytes());
    }
    for (cols, rows) in [(30, 5), (30, 8), (20, 3), (9, 3)] {
        let size = Size { cols, rows };
        let mut out = Vec::new();
        draw(&t, size, 100, &mut out);
        let mut view = Terminal::new(size, 100);
        view.feed(&out);
        let text = view.text(100);
        // What has left the screen.
        for n in 1..=5 {
            assert_eq!(text.matches(&format!("{n} x")).count(), 1, "{cols}x{rows}: {text}");
        }
        assert!(!text.starts_with('\n') && !text.contains("\n\n"), "{cols}x{rows}: {text}");
    }
}

#[test]
fn a_link_of_controls_only_is_none() {
    let mut t = term(b"\x1b]8;;\t\x07x");
    assert_eq!(again(&t).dump(), t.dump());
    t.feed(b"y");
    assert!(!t.dump().contains("Link"));
}

#[test]
fn back_tab_stays_within_the_margins_in_origin_mode() {
    let t = term(b"\x1b[?6h\x1b[?69h\x1b[5;10s\x1b[9Z");
    assert_eq!(t.cursor(), (4, 0));
    assert_eq!(again(&t).dump(), t.dump());
}

#[test]
fn preferences_are_left_alone_until_the_program_speaks() {
    let mut out = Vec::new();
    term(b"x").snapshot(ALL, &mut out);
    let said = out.escape_ascii().to_string();
    for mode in ["?12", "?67", "?1007", "?1036", "]0;", "]1;", "]2;"] {
        assert!(!said.contains(mode), "{mode} in {said}");
    }
    let mut out = Vec::new();
    term(b"\x1b[?1007h\x1b[?1007l\x1b]2;t\x07").snapshot(ALL, &mut out);
    let said = out.escape_ascii().to_string();
    assert!(said.contains("?1007l") && said.contains("]2;t"), "{said}");
}

#[test]
fn models_go_to_other_threads() {
    fn sendable<T: Send + Sync>() {}
    sendable::<(Terminal, Hub, Cursor, QueryScanner, ReplyFilter)>();
}
