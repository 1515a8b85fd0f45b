//! Images: what follows one stands where the terminal puts it, and a snapshot shows it again.

use super::again;
use crate::*;

const SIZE: Size = Size { cols: 80, rows: 24 };

fn sixel(width: usize, height: usize) -> String {
    let bands = vec![format!("#0!{width}~"); height.div_ceil(6)].join("-");
    format!("\x1bPq\"1;1;{width};{height}{bands}\x1b\\")
}

fn kitty(keys: &str) -> String {
    format!("\x1b_G{keys};AAAA\x1b\\")
}

fn after(before: &str, image: &str, cell: (u16, u16)) -> (u16, u16) {
    let mut t = Terminal::new(SIZE, 100);
    t.feed(&Traits { clusters: 0, cell }.said());
    t.feed(before.as_bytes());
    t.feed(image.as_bytes());
    assert_eq!(again(&t).dump(), t.dump(), "{image:?}");
    let mut cut = Terminal::new(SIZE, 100);
    cut.feed(&Traits { clusters: 0, cell }.said());
    format!("{before}{image}").as_bytes().chunks(3).for_each(|part| cut.feed(part));
    assert_eq!(cut.dump(), t.dump(), "cut: {image:?}");
    let (x, y) = t.cursor();
    (x + 1, y + 1)
}

/// What was there before stands one below the other down to the last row, and the image moves down with it: where showing it again
/// would scroll the screen (a sixel image wants a row for a band that it begins, one that ends its row leaves the cursor in the next)
/// it is left out.
#[test]
fn an_image_that_moved_to_the_last_row_does_not_scroll_the_screen_that_is_restored() {
    let images = [
        ("sixel", sixel(10, 6)),
        ("a band begun", "\x1bPq#0!10~-\x1b\\".into()),
        ("three rows and a band begun", format!("\x1bPq{}\x1b\\", "#0!10~-".repeat(10))),
        ("kitty", kitty("a=T,f=24,s=10,v=20,c=2,r=2")),
        ("kitty, the whole width", kitty("a=T,f=24,s=10,v=20,c=80,r=2")),
        ("kitty, and nothing moves", kitty("a=T,f=24,s=10,v=20,c=80,r=2,C=1")),
        ("inline", "\x1b]1337;File=inline=1;width=3;height=2:AAAA\x07".into()),
        ("inline, the whole width", "\x1b]1337;File=inline=1;width=80;height=2:AAAA\x07".into()),
    ];
    for (name, image) in &images {
        for column in [1, 78] {
            let mut t = Terminal::new(SIZE, 100);
            t.feed(format!("text\r\n\x1b[1;{column}H{image}\x1b[H").as_bytes());
            for down in 0..SIZE.rows {
                assert_eq!(again(&t).dump(), t.dump(), "{name} in column {column}, {down} down");
                t.feed(b"\x1bM");
            }
        }
    }
}

#[test]
fn what_follows_an_image_stands_where_the_terminal_puts_it() {
    // As xterm 379 with cells of 6x13 pixels answered.
    for (before, width, height, cursor) in [
        ("\x1b[3;5H", 30, 6, (5, 3)),
        ("\x1b[3;5H", 30, 12, (5, 3)),
        ("\x1b[3;5H", 30, 18, (5, 4)),
        ("\x1b[3;5H", 60, 60, (5, 7)),
        ("\x1b[3;5H", 100, 126, (5, 12)),
        ("\x1b[22;5H", 30, 18, (5, 23)),
        ("\x1b[22;5H", 60, 60, (5, 23)),
        ("\x1b[22;5H", 7, 66, (5, 24)),
        ("\x1b[22;5H", 100, 120, (5, 24)),
        ("\x1b[22;5H", 100, 126, (5, 23)),
        ("\x1b[?8452h\x1b[3;5H", 60, 60, (15, 7)),
        ("\x1b[?80h\x1b[3;5H", 60, 60, (5, 3)),
    ] {
        assert_eq!(after(before, &sixel(width, height), (6, 13)), cursor, "{before:?} {width}x{height}");
    }
    // It scrolls with each band that begins, and for what is declared and not drawn when it ends.
    for (height, bands, end, row) in [
        (24, 1, "", 23),
        (36, 2, "", 24),
        (36, 6, "", 23),
        (36, 6, "-", 23),
        (48, 1, "-", 24),
        (60, 2, "", 24),
        (60, 10, "-", 23),
        (66, 11, "", 24),
        (66, 11, "-", 23),
    ] {
        let drawn = vec!["#0!40~"; bands].join("-") + end;
        let image = format!("\x1bP0;1q\"1;1;40;{height}#0;2;100;0;0{drawn}\x1b\\");
        assert_eq!(after("\x1b[22;3H", &image, (6, 13)), (3, row), "{height}, {bands} bands and {end:?}");
    }
    // As kitty 0.26 with cells of 10x20.
    for (before, keys, cursor) in [
        ("\x1b[3;5H", "a=T,f=24,s=30,v=20", (8, 3)),
        ("\x1b[3;5H", "a=T,f=24,s=35,v=61", (9, 6)),
        ("\x1b[3;5H", "a=T,f=24,s=30,v=60,C=1", (5, 3)),
        ("\x1b[3;5H", "a=T,f=24,s=30,v=60,c=8,r=4", (13, 6)),
        ("\x1b[3;5H", "a=T,f=24,s=30,v=60,c=8", (13, 5)),
        ("\x1b[3;5H", "a=T,f=24,s=30,v=60,r=6", (8, 8)),
        ("\x1b[23;5H", "a=T,f=24,s=30,v=60", (8, 24)),
        ("\x1b[3;5H", "a=T,f=24,s=800,v=60", (1, 6)),
        ("\x1b[3;5H", "a=T,f=24,s=30,v=60,X=5,Y=5", (9, 6)),
        ("\x1b[3;5H", "a=T,f=24,s=30,v=60,w=10,h=20", (6, 3)),
        ("\x1b[3;5H", "a=t,f=24,s=30,v=60,i=1", (5, 3)),
        ("\x1b[3;5H", "a=T,f=24,s=30,v=60,U=1,i=3", (5, 3)),
        ("\x1b[3;5H", "a=q,f=24,s=30,v=60,i=3", (5, 3)),
    ] {
        assert_eq!(after(before, &kitty(keys), (10, 20)), cursor, "{before:?} {keys}");
    }
    // A PNG of 300x100, in cells of the usual size where none is known.
    const PNG: &str = "iVBORw0KGgoAAAANSUhEUgAAASwAAABkCAYAAAA8";
    for (arguments, cursor) in [
        ("inline=1", (35, 7)),
        ("inline=1;width=10", (15, 4)),
        ("inline=1;width=10;height=3", (15, 5)),
        ("inline=1;height=50px;width=50%", (45, 5)),
        ("inline=1;doNotMoveCursor=1", (5, 3)),
        ("inline=0", (5, 3)),
        ("name=eA==", (5, 3)),
    ] {
        let file = format!("\x1b]1337;File={arguments}:{PNG}\x07");
        assert_eq!(after("\x1b[3;5H", &file, (0, 0)), cursor, "{arguments}");
    }
    let sent = kitty("a=t,f=24,s=30,v=60,i=7");
    let shown = "\x1b_Ga=p,i=7\x1b\\";
    assert_eq!(after("\x1b[3;5H", &(sent + shown), (10, 20)), (8, 5));
    let parts = "\x1b_Ga=T,f=24,s=30,v=60,i=9,m=1;AAAA\x1b\\\x1b_Gm=1;AAAA\x1b\\";
    assert_eq!(after("\x1b[3;5H", parts, (10, 20)), (5, 3), "not whole");
    assert_eq!(after("\x1b[3;5H", &format!("{parts}\x1b_Gm=0;AAAA\x1b\\"), (10, 20)), (8, 5));
}

/// What asks, and what is answered, has the same last letter.
#[test]
fn a_question_is_no_image() {
    let fresh = Terminal::new(SIZE, 100);
    for string in ["$q q", "$q~~~", "$qm", "+q544e", "=1q~~~", "1$r~q~~~", "1;q", "", "0;1;0"] {
        let mut t = Terminal::new(SIZE, 100);
        t.feed(format!("\x1bP{string}\x1b\\").as_bytes());
        assert_eq!(t.dump(), fresh.dump(), "{string}");
    }
}

fn snapshot(t: &Terminal, scrollback_lines: usize) -> String {
    let mut said = Vec::new();
    t.snapshot(SnapshotOptions { scrollback_lines, ..SnapshotOptions::default() }, &mut said);
    String::from_utf8(said).unwrap()
}

#[test]
fn images_come_back_where_they_were_and_no_terminal_answers_them() {
    let mut t = Terminal::new(Size { cols: 40, rows: 12 }, 100);
    t.feed(b"$ show\r\n");
    t.feed(sixel(50, 60).as_bytes());
    t.feed(b"\r\n$ icat\r\n");
    t.feed(kitty("a=T,f=24,s=30,v=60,i=5,q=1").as_bytes());
    t.feed(b"\r\n$ ");
    let said = snapshot(&t, 0);
    assert!(said.contains(&format!("\x1b[2;1H{}\x1b[2;1H", sixel(50, 60))), "{said:?}");
    assert!(said.contains("\x1b_Gq=2,a=T,f=24,s=30,v=60,i=5;AAAA\x1b\\"), "{said:?}");
    assert_eq!(again(&t).dump(), t.dump());
    // They go away with their rows, and come back with these.
    for n in 0..30 {
        t.feed(format!("\r\n{n}").as_bytes());
        assert_eq!(again(&t).dump(), t.dump(), "{n}");
    }
    let said = snapshot(&t, 100);
    assert!(said.contains("\x1bPq") && said.contains("\x1b_Gq=2"), "{said:?}");
    let mut without = Vec::new();
    let what = SnapshotOptions { scrollback_lines: 100, without_images: true, ..SnapshotOptions::default() };
    t.snapshot(what, &mut without);
    assert!(!without.windows(2).any(|w| w == b"\x1bP" || w == b"\x1b_"));
    t.resize(Size { cols: 30, rows: 20 });
    assert_eq!(again(&t).dump(), t.dump());
    // What is deleted or wiped is not shown.
    t.feed(b"\x1b[H\x1b[2J");
    t.feed(kitty("a=T,f=24,s=30,v=60,i=6").as_bytes());
    t.feed(sixel(10, 6).as_bytes());
    t.feed(b"\x1b_Ga=d,d=i,i=6\x1b\\");
    let said = snapshot(&t, 0);
    assert!(!said.contains("i=6;") && said.contains("\x1bPq"), "{said:?}");
    t.feed(b"\x1b[2J");
    assert!(!snapshot(&t, 0).contains("\x1bPq"));
    // On the alternate screen, and left with it.
    t.feed(b"\x1b[?1049h\x1b[3;3H");
    t.feed(sixel(10, 6).as_bytes());
    assert!(snapshot(&t, 0).contains("\x1bPq"));
    assert_eq!(again(&t).dump(), t.dump());
    t.feed(b"\x1b[?1049l");
    assert!(!snapshot(&t, 0).contains("\x1bPq"));
}

/// A program may print while it is in the midst of sending one: what comes next may repeat what it printed, or join it.
#[test]
fn what_was_printed_last_is_so_after_half_an_image_too() {
    for keys in ["m=1", "a=T,f=24,s=1,v=2,m=1"] {
        for printed in ["1", "e\u{301}", "\u{6f22}", &"x".repeat(40), "\x1b(0q", "\x1b[4hab\x1b[D\x1b[31mc"] {
            let mut t = Terminal::new(SIZE, 100);
            t.feed(format!("{}{printed}", kitty(keys)).as_bytes());
            let mut copy = again(&t);
            assert_eq!(copy.dump(), t.dump(), "{keys} {printed}");
            for t in [&mut t, &mut copy] {
                t.feed(format!("\u{302}\x1b[3b{}", kitty("m=0")).as_bytes());
            }
            assert_eq!(copy.dump(), t.dump(), "{keys} {printed}");
        }
    }
}

/// A terminal that is reset keeps its scrollback, and what is shown afterwards is not taken for what is in it.
#[test]
fn an_image_of_before_a_reset_stays_in_the_scrollback_and_is_no_other() {
    let mut t = Terminal::new(Size { cols: 20, rows: 4 }, 100);
    t.feed(format!("{}\r\n\n\n\n\n\x1bc", sixel(10, 6)).as_bytes());
    let mut copy = again(&t);
    assert_eq!(copy.dump(), t.dump());
    for t in [&mut t, &mut copy] {
        t.feed(sixel(20, 6).as_bytes());
    }
    assert_eq!(copy.dump(), t.dump());
    let said = snapshot(&t, 100);
    assert_eq!((said.matches("1;1;10;6").count(), said.matches("1;1;20;6").count()), (1, 1), "{said:?}");
}

#[test]
fn images_are_kept_within_a_bound_and_their_place_is_known_beyond_it() {
    let mut t = Terminal::new(SIZE, 1000);
    let pixels = "~".repeat(1000);
    let large = format!("\x1bPq\"1;1;1000;20#0{}\x1b\\", format!("{pixels}$").repeat(1000));
    for _ in 0..10 {
        t.feed(b"\x1b[H");
        t.feed(large.as_bytes());
        t.feed(b"\x1b[5;1H");
        t.feed(format!("\x1b_Ga=t,f=24,s=1,v=1,i=1;{}\x1b\\", "A".repeat(1_000_000)).as_bytes());
    }
    assert!(t.heap_bytes() < 12 << 20, "{}", t.heap_bytes());
    let said = snapshot(&t, 1000);
    assert!(said.len() < 10 << 20, "{}", said.len());
    // In parts that are too many.
    t.feed(b"\x1b[3;5H\x1b_Ga=T,f=24,s=30,v=60,m=1;AAAA\x1b\\");
    for _ in 0..1200 {
        t.feed(format!("\x1b_Gm=1;{}\x1b\\", "A".repeat(4096)).as_bytes());
    }
    assert!(t.heap_bytes() < 12 << 20, "{}", t.heap_bytes());
    assert_eq!(again(&t).dump(), t.dump());
    t.feed(b"\x1b_Gm=0;AAAA\x1b\\");
    assert_eq!(t.cursor(), (7, 4));
    // One that is no image is as short as ever.
    t.feed(b"\x1bP1$r");
    t.feed("x".repeat(100_000).as_bytes());
    assert!(t.unfinished().len() < 100);
}
