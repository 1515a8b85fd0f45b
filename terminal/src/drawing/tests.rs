//! A drawn view's terminal shows the part of the session's screen that it shall, whatever went before, and in few bytes.

use proptest::prelude::*;

use super::*;
use crate::tests::generate::piece;

/// What is seen of the part at `corner` of a terminal's screen.
fn seen(t: &Terminal, view: Size, corner: (u16, u16), abilities: Abilities) -> Vec<Line> {
    let m = &t.state;
    let eye = Eye { clusters: &m.clusters, ext: &m.ext, abilities };
    let line = |row: &Row| Line {
        glyphs: row.cells.iter().map(|cell| eye.see(*cell)).collect(),
        double: row.double,
    };
    cut(m.screen_ref(), view, corner).rows.iter().map(line).collect()
}

/// Follows a session and checks after each step what the view's terminal shows.
struct Follows {
    drawing: Drawing,
    view: Terminal,
    abilities: Abilities,
    bytes: usize,
    whole: usize,
}

impl Follows {
    fn new(size: Size, abilities: Abilities) -> Self {
        let view = Terminal::new(size, 100);
        Self { drawing: Drawing::new(abilities), view, abilities, bytes: 0, whole: 0 }
    }

    #[track_caller]
    fn look(&mut self, t: &Terminal) -> Vec<u8> {
        let size = self.view.size();
        let mut out = Vec::new();
        let whole = self.drawing.draw(t, size, 0, &mut out);
        self.view.feed(&out);
        let said = out.escape_ascii().to_string();
        let corner = self.drawing.corner();
        let (want, have) =
            (seen(t, size, corner, self.abilities), seen(&self.view, size, (0, 0), Abilities::default()));
        for (y, (want, have)) in want.iter().zip(&have).enumerate() {
            let columns = if want.double == 0 { want.glyphs.len() } else { (want.glyphs.len() / 2).max(1) };
            assert_eq!(want.double, have.double, "row {y} by {said}");
            for x in 0..columns {
                if want.double != 0 && x + 1 == columns && want.glyphs[x].is_wide() {
                    // It has no room, and is left out.
                    continue;
                }
                assert_eq!(want.glyphs[x], have.glyphs[x], "{size:?} {corner:?} {x},{y} by {said}");
            }
        }
        let at = self.view.cursor();
        // A row of double width has half as many columns: nothing can be further to the right in it.
        let is_double = |y: u16| self.view.state.screen_ref().rows[usize::from(y)].double != 0;
        if is_double(at.1) {
            assert_eq!(at.1, self.drawing.cursor(t, size).1, "cursor by {said}");
        } else {
            assert_eq!(at, self.drawing.cursor(t, size), "cursor by {said}");
        }
        if t.cursor_visible() && !is_double(at.1) {
            assert_eq!((at.0 + corner.0, at.1 + corner.1), t.cursor(), "it is seen");
        }
        let (ours, theirs) = (Settings::of(&self.view.state), Settings::of(&t.state));
        let bits = |s: &Settings| format!("{s:?}");
        let ignored = |t: &Terminal| t.state.modes.bits & !(bit_late());
        assert_eq!(
            ignored(&self.view) & !crate::modes::PREFERENCES,
            ignored(t) & !crate::modes::PREFERENCES,
            "{said}"
        );
        assert_eq!(
            (self.view.state.modes.mouse, self.view.state.modes.mouse_encoding, self.view.state.cursor_style),
            (t.state.modes.mouse, t.state.modes.mouse_encoding, t.state.cursor_style),
            "{} {} {said}",
            bits(&ours),
            bits(&theirs)
        );
        if t.state.title.is_some() {
            assert_eq!(self.view.title(), t.title());
        }
        if !whole {
            self.bytes += out.len();
            let mut all = Vec::new();
            let mut fresh = Drawing::new(self.abilities);
            fresh.corner = corner;
            fresh.draw(t, size, 0, &mut all);
            self.whole += all.len();
            assert!(out.len() <= all.len(), "{} > {}: {said}", out.len(), all.len());
        }
        out
    }
}

fn bit_late() -> u32 {
    use crate::modes::bit;
    bit::ORIGIN | bit::AUTOWRAP | bit::MARGINS | bit::SYNC | bit::INSERT
}

fn size() -> impl Strategy<Value = Size> {
    prop_oneof![
        3 => Just(Size { cols: 20, rows: 6 }),
        2 => (2u16..12, 1u16..8).prop_map(|(cols, rows)| Size { cols, rows }),
        1 => (2u16..100, 1u16..40).prop_map(|(cols, rows)| Size { cols, rows }),
    ]
}

fn abilities() -> impl Strategy<Value = Abilities> {
    let all = Abilities::default();
    let none = Abilities {
        colours: Colours::None,
        erases_in_colour: false,
        erases_characters: false,
        shifts_characters: false,
        shifts_lines: false,
        italics: false,
        ascii_only: false,
    };
    prop_oneof![
        3 => Just(all),
        1 => Just(Abilities { colours: Colours::Palette, erases_in_colour: false, ..all }),
        1 => Just(Abilities { colours: Colours::Eight, ..none }),
        1 => Just(Abilities { ascii_only: true, ..all }),
        1 => Just(none),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..Default::default() })]

    /// Streams, cut where drawings are made, on a session of one size and a view of another; and its size may change.
    #[test]
    fn the_differences_give_the_part_of_the_screen_around_the_cursor(
        session in size(),
        view in size(),
        abilities in abilities(),
        steps in prop::collection::vec(
            (prop::collection::vec(any::<u64>(), 0..6), prop::option::weighted(0.1, size())), 1..16),
    ) {
        let mut t = Terminal::new(session, 60);
        let mut follows = Follows::new(view, abilities);
        for (seeds, resized) in steps {
            if let Some(size) = resized {
                t.resize(Size { rows: size.rows.max(2), ..size });
            }
            for seed in seeds {
                t.feed(&piece(seed, t.size().cols, t.size().rows));
            }
            // What is not finished is no part of the screen.
            t.feed(b"\x18\x1b\\");
            follows.look(&t);
        }
    }
}

fn session(bytes: &str) -> (Terminal, Follows) {
    let mut t = Terminal::new(Size { cols: 100, rows: 30 }, 100);
    t.feed(bytes.as_bytes());
    let mut follows = Follows::new(Size { cols: 80, rows: 24 }, Abilities::default());
    follows.look(&t);
    (t, follows)
}

/// Its second half has no room in a row of double width, and would be in the next one.
#[test]
fn half_a_flag_in_the_last_column_of_a_row_of_double_width_is_drawn_by_itself() {
    for (cols, before) in [(20, "123456789"), (20, "12345678"), (7, "12"), (2, "")] {
        let size = Size { cols, rows: 3 };
        let mut t = Terminal::new(size, 10);
        let mut follows = Follows::new(size, Abilities::default());
        t.feed(format!("{before}🇩🇪").as_bytes());
        follows.look(&t);
        t.feed(b"\x1b[H\x1b#6");
        follows.look(&t);
    }
}

/// What is shown, what is written then, and all that the view's terminal is told.
#[test]
fn each_change_is_told_in_the_fewest_bytes_there_are() {
    let page: String = (0..24).map(|n| format!("{n:02} {}\r\n", "word ".repeat(10))).collect();
    let full = |tail: &str| format!("{page}{tail}");
    for (before, then, told) in [
        ("$ ".to_owned(), "l", "l"),
        ("$ ".into(), "ls\r\nfile\r\n$ ", "ls\r\nfile\r\n$ "),
        ("$ abc".into(), "\x08 \x08", "\x08 \x08"),
        ("$ ".into(), "\x1b[1mb\x1b[m c", "\x1b[1mb \x1b[mc"),
        ("$ ".into(), "\x1b[31ma\x1b[32mb\x1b[m", "\x1b[31ma\x1b[32mb\x1b[m"),
        ("$ ".into(), "\x1b[?25l", "\x1b[?25l"),
        ("$ ".into(), "\x1b]2;title\x07", "\x1b]2;title\x1b\\"),
        ("$ ".into(), "\x07", "\x07"),
        ("$ ".into(), "", ""),
        ("abcdefghijklmnopqrstuvwxyz\r".into(), "\x1b[@X", "\x1b[@X"),
        ("abcdefghijklmnopqrstuvwxyz\r".into(), "\x1b[3P", "\x1b[3P"),
        (full(""), "\x1b[H\x1b[J", "\x1b[2H\x1b[J\x1bM\x1b[K"),
        (full(""), "\x1b[10;1H\x1b[M", "\x1b[4H\x1b[M"),
        (full(""), "\x1b[10;1H\x1b[2L", "\x1b[4H\x1b[2L"),
    ] {
        let (mut t, mut follows) = session(&before);
        t.feed(then.as_bytes());
        let said = follows.look(&t);
        assert_eq!(said.escape_ascii().to_string(), told.as_bytes().escape_ascii().to_string(), "{then:?}");
    }
}

#[test]
fn what_flows_off_the_top_can_be_scrolled_back_to_and_what_an_editor_scrolls_is_not_kept() {
    let (mut t, mut follows) = session("");
    for n in 0..60 {
        t.feed(format!("line {n}\r\n").as_bytes());
        follows.look(&t);
    }
    let text = follows.view.text(100);
    for n in 0..60 {
        assert_eq!(text.matches(&format!("line {n}\n")).count(), 1, "{n}: {text}");
    }
    let kept = follows.view.scrollback_len();
    t.feed(b"\x1b[?1049h");
    for n in 0..60 {
        t.feed(format!("text {n}\r\n").as_bytes());
        follows.look(&t);
    }
    assert_eq!(follows.view.scrollback_len(), kept);
    t.feed(b"\x1b[?1049l");
    follows.look(&t);
    assert_eq!((follows.view.scrollback_len(), follows.view.text(100)), (kept, text));
}

#[test]
fn the_window_stays_as_long_as_the_cursor_is_in_it() {
    let (mut t, mut follows) = session("");
    for (to, corner) in [
        ("\x1b[20;10H", (0, 0)),
        ("\x1b[25;10H", (0, 1)),
        ("\x1b[30;10H", (0, 6)),
        ("\x1b[10;10H", (0, 6)),
        ("\x1b[2;10H", (0, 1)),
        ("\x1b[2;90H", (20, 1)),
        ("\x1b[2;81H", (20, 1)),
        ("\x1b[2;80H", (0, 1)),
        ("\x1b[?25l\x1b[30;100H", (0, 1)),
        ("\x1b[?25h", (20, 6)),
    ] {
        t.feed(to.as_bytes());
        follows.look(&t);
        assert_eq!(follows.drawing.corner(), corner, "{to:?}");
    }
}

#[test]
fn a_huge_view_is_drawn_and_nothing_of_it_kept() {
    let t = Terminal::new(Size { cols: 80, rows: 24 }, 0);
    for (cols, rows) in [(400, 250), (1000, 160)] {
        let mut drawing = Drawing::new(Abilities::default());
        drawing.draw(&t, Size { cols, rows }, 0, &mut Vec::new());
        assert!(drawing.heap_bytes() <= 3 << 20, "{}", drawing.heap_bytes());
    }
}
