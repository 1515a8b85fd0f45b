//! Pieces of terminal streams from seeds, weighted towards what is easy to get wrong. The same seed gives the same piece.

/// A small generator of numbers (splitmix64).
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    /// The next number.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    /// A number below `n`.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
    /// One of these.
    pub(crate) fn pick<'a, T: ?Sized>(&mut self, all: &[&'a T]) -> &'a T {
        all[self.below(all.len() as u64) as usize]
    }
}

const WORDS: [&str; 22] = [
    "a",
    "hello ",
    "x",
    "  ",
    "wörld",
    "漢字",
    "日本語テキスト",
    "e\u{301}",
    "👍",
    "👨\u{200d}👩\u{200d}👧",
    "☺\u{fe0f}",
    "\u{301}",
    "\u{200d}",
    "─│┌┘",
    "qwertyuiop",
    "0123456789abcdefghijklmnopqrstuvwxyz",
    "lqqqk",
    "£#~`",
    "\u{a0}",
    "ﾊﾝ",
    "한글",
    "the quick brown fox jumps over the lazy dog ",
];

const MODES: [u16; 28] = [
    1, 5, 6, 7, 12, 25, 45, 47, 66, 69, 9, 1000, 1002, 1003, 1004, 1005, 1006, 1007, 1015, 1016, 1047, 1048,
    1049, 2004, 2026, 2027, 2031, 67,
];

const SGR: [&str; 34] = [
    "",
    "0",
    "1",
    "2",
    "3",
    "4",
    "4:0",
    "4:2",
    "4:3",
    "4:4",
    "4:5",
    "5",
    "6",
    "7",
    "8",
    "9",
    "21",
    "22",
    "24",
    "27",
    "31",
    "42",
    "93",
    "104",
    "39",
    "49",
    "53",
    "55",
    "59",
    "38;5;200",
    "48;5;17",
    "38;2;1;2;3",
    "48:2::10:20:30",
    "58:2::9:8:7",
];

/// A piece of a stream for a screen of this size.
pub(crate) fn piece(seed: u64, cols: u16, rows: u16) -> Vec<u8> {
    let r = &mut Rng(seed);
    let x = r.below(u64::from(cols) + 2);
    let y = r.below(u64::from(rows) + 2);
    let n = match r.below(8) {
        0 => 0,
        1 => r.below(1200),
        2 => 65535,
        _ => r.below(6),
    };
    let s = match r.below(72) {
        0..=13 => {
            let mut s = String::new();
            for _ in 0..=r.below(4) {
                s.push_str(r.pick(&WORDS));
            }
            s
        }
        14..=15 => "x".repeat(usize::from(cols).saturating_sub(r.below(3) as usize)),
        16..=19 => "\r\n".into(),
        20 => "\n".into(),
        21 => "\r".into(),
        22 => "\x08".into(),
        23 => "\t".into(),
        24..=27 => format!("\x1b[{y};{x}H"),
        28..=32 => format!("\x1b[{}m", r.pick(&SGR)),
        33 => format!("\x1b[{};{}m", r.pick(&SGR), r.pick(&SGR)),
        34..=36 => {
            let on = if r.below(2) == 0 { 'h' } else { 'l' };
            format!("\x1b[?{}{on}", MODES[r.below(MODES.len() as u64) as usize])
        }
        37 => {
            (*r.pick(&["\x1b[?1049h", "\x1b[?1049l", "\x1b[?47h", "\x1b[?1047l", "\x1b[?1047h", "\x1b[?47l"]))
                .into()
        }
        38..=40 => {
            let last = b"@ABCDEFGIJKLMPSTXZ`abdeg"[r.below(24) as usize];
            format!("\x1b[{n}{}", char::from(last))
        }
        41 => format!("\x1b[{}{}{}", r.pick(&["", "", "?"]), r.below(4), r.pick(&["J", "K"])),
        42 => format!("\x1b[{};{}r", y, r.below(u64::from(rows) + 2)),
        43 => format!("\x1b[?69h\x1b[{};{}s", x, r.below(u64::from(cols) + 2)),
        44 => (*r.pick(&["\x1b7", "\x1b8", "\x1b[s", "\x1b[u"])).into(),
        45 => (*r.pick(&["\x1bD", "\x1bM", "\x1bE", "\x1bH", "\x1b6", "\x1b9", "\x1b#8", "\x1b=", "\x1b>"]))
            .into(),
        46 => (*r.pick(&[
            "\x1b(0", "\x1b(B", "\x1b)0", "\x1b(A", "\x1b*0", "\x1b+A", "\x0e", "\x0f", "\x1bN", "\x1bO",
            "\x1bn", "\x1bo", "\x1b}", "\x1b|", "\x1b~",
        ]))
        .into(),
        47 => (*r.pick(&["\x1b[4h", "\x1b[4l", "\x1b[20h", "\x1b[20l"])).into(),
        48 => (*r.pick(&["\x1b]8;;http://a/\x1b\\", "\x1b]8;id=k;http://b/\x07", "\x1b]8;;\x1b\\"])).into(),
        49 => (*r.pick(&[
            "\x1b]0;both\x07",
            "\x1b]1;icon\x07",
            "\x1b]2;ti;tle\x1b\\",
            "\x1b[22;0t",
            "\x1b[22;1t",
            "\x1b[23;0t",
            "\x1b[22;2t",
            "\x1b[23;2t",
        ]))
        .into(),
        50 => (*r.pick(&[
            "\x1b]4;1;rgb:12/34/56\x07",
            "\x1b]4;2;#abcdef;3;red\x07",
            "\x1b]104;1\x07",
            "\x1b]104\x07",
            "\x1b]10;#fff\x07",
            "\x1b]11;rgb:0000/8000/ffff;#123456\x1b\\",
            "\x1b]112\x07",
            "\x1b]111\x07",
        ]))
        .into(),
        51 => format!("\x1b[{} q", r.below(8)),
        52 => (*r.pick(&[
            "\x1b[>1u",
            "\x1b[>5u",
            "\x1b[<u",
            "\x1b[=3u",
            "\x1b[=8;2u",
            "\x1b[<9u",
            "\x1b[>4;2m",
            "\x1b[>4m",
            "\x1b[>4;0m",
            "\x1b[>1;3m",
            "\x1b[>m",
        ]))
        .into(),
        53 => (*r.pick(&[
            "\x1b]133;A\x07",
            "\x1b]133;B\x07",
            "\x1b]133;C\x07",
            "\x1b]133;D;1\x07",
            "\x1b]133;A;k=s\x07",
        ]))
        .into(),
        54 => (*r.pick(&["\x1b]7;file://h/a%20b\x07", "\x1b]7;\x07", "\x1b]7;x\x07"])).into(),
        55 => format!("{}\x1b[{n}b", r.pick(&WORDS)),
        56 => (*r.pick(&["\x1b[!p", "\x1bc", "\x1b[1\"q", "\x1b[0\"q", "\x1b[3J"])).into(),
        57 => format!("\x1b[{n}{}", r.pick(&[" @", " A", "'}", "'~"])),
        58 => (*r.pick(&[
            "\x1bPq#0;2;0;0;0~~\x1b\\",
            "\x1b_Ga=T;AAAA\x1b\\",
            "\x1b^pm\x1b\\",
            "\x1bXsos\x07still\x1b\\",
            "\x1b]52;c;QUJD\x07",
        ]))
        .into(),
        59 => (*r.pick(&[
            "\x1b[",
            "\x1b]0;cut",
            "\x1b",
            "\x1b[38;2;1",
            "\x1b[1\n2",
            "\x1b]8;;http://c",
            "\x1bP1$q",
            "\x1b(",
            "\x18",
            "\x1a",
            "\x1b[?",
            "\x1b_x",
        ]))
        .into(),
        60 => {
            return r
                .pick(&[
                    b"\xe2\x94".as_slice(),
                    b"\xf0\x9f",
                    b"\xff\xfe",
                    b"\xc3",
                    b"\xe2\x28\xa1",
                    b"\xc2\x9b31m",
                ])
                .to_vec();
        }
        64 => {
            let (b, rr) = (r.below(u64::from(rows) + 2), r.below(u64::from(cols) + 2));
            match r.below(7) {
                0 => format!("\x1b[{};{y};{x};{b};{rr}$x", r.pick(&["42", "32", "233", "7"])),
                1 => format!("\x1b[{y};{x};{b};{rr}$z"),
                2 => format!("\x1b[{y};{x};{b};{rr}${{"),
                3 => {
                    let (ty, tx) = (r.below(u64::from(rows) + 2), r.below(u64::from(cols) + 2));
                    format!("\x1b[{y};{x};{b};{rr};1;{ty};{tx};1$v")
                }
                4 => format!("\x1b[{y};{x};{b};{rr};{}$r", r.pick(&["0", "1;4", "5;7;24", "27"])),
                5 => format!("\x1b[{y};{x};{b};{rr};{}$t", r.pick(&["1", "4;7", "5"])),
                _ => format!("\x1b[{}*x", r.below(4)),
            }
        }
        65 => format!("\x1b[?{}{}", MODES[r.below(MODES.len() as u64) as usize], r.pick(&["s", "r"])),
        66 => (*r.pick(&["\x1b[#P", "\x1b[#Q", "\x1b[2#P", "\x1b[1#Q", "\x1b[#{", "\x1b[1;30#{", "\x1b[#}", "\x1b[31#p", "\x1b[#q"]))
            .into(),
        67 => (*r.pick(&["\x1b#3", "\x1b#4", "\x1b#5", "\x1b#6"])).into(),
        68 => (*r.pick(&[
            "\x1b(>", "\x1b)%5", "\x1b*<", "\x1b-A", "\x1b.A", "\x1b(\"?", "\x1b[?40h", "\x1b[?3h", "\x1b[?3l", "\x1b[?5W",
            "\x1b]4;5;CadetBlue3\x07",
        ]))
        .into(),
        69 => (*r.pick(&["\x1b[?47h", "\x1b[?47l", "\x1b[?1049h", "\x1b[?1049l"])).into(),
        70 => (*r.pick(&["\u{85}x\u{9b}31m", "🇩🇪🇫🇷", "🇩x", "\u{3164}a", "a\u{301}\u{302}\u{303}\u{304}\u{305}\u{306}\u{307}\u{308}\u{309}\u{30a}\u{30b}\u{30c}\u{30d}\u{30e}\u{30f}\u{310}\u{311}"]))
            .into(),
        71 => (*r.pick(&["\x1b]2;cut\x1b[31m", "\x1b]2;whole\x1b\x1b\\", "\x1b]52;c;QQ\x1bM", "\x1bP1$q\x1b", "\x1b[1;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;4m"]))
            .into(),
        61 => "line of a log, 42 ms\r\n".repeat(1 + r.below(4) as usize),
        62 => format!("\x1b[{}m{}\x1b[m\x1b[K\r\n", r.pick(&SGR), r.pick(&WORDS)),
        _ => {
            let mut raw = Vec::new();
            for _ in 0..r.below(8) {
                raw.push(r.below(256) as u8);
            }
            return raw;
        }
    };
    s.into_bytes()
}

/// As [`piece`], of sequences that all terminals take alike.
pub(crate) fn plain_piece(seed: u64, cols: u16, rows: u16) -> Vec<u8> {
    let r = &mut Rng(seed);
    let x = 1 + r.below(u64::from(cols));
    let y = 1 + r.below(u64::from(rows));
    let n = 1 + r.below(4);
    let words = ["a", "hello ", "wörld", "漢字", "the quick brown fox jumps over ", "0123456789", "e\u{301}"];
    let sgr =
        ["", "1", "3", "4", "7", "31", "42", "94", "39", "49", "38;5;200", "48;2;1;2;3", "22", "24", "27"];
    match r.below(22) {
        0..=7 => (*r.pick(&words)).to_owned(),
        8..=10 => "\r\n".to_owned(),
        11..=12 => format!("\x1b[{y};{x}H"),
        13..=15 => format!("\x1b[{}m", r.pick(&sgr)),
        16 => format!("\x1b[{n}{}", r.pick(&["A", "B", "C", "D", "G", "d"])),
        17 => format!("\x1b[{y};{x}H\x1b[{n}{}", r.pick(&["@", "P", "X", "L", "M"])),
        18 => format!("\x1b[{y};{x}H\x1b[{}", r.pick(&["K", "J", "1K", "2J", "2K"])),
        19 => (*r.pick(&["\x1bM", "\t", "\r", "\x08"])).to_owned(),
        20 => format!("\x1b[{};{}r", 1 + r.below(3), 5 + r.below(4)),
        _ => {
            // Entered again, the screen is wiped by some and not by others.
            (*r.pick(&[
                "\x1b[?1049l\x1b[?1049h",
                "\x1b[?1049l",
                "\x1b[?25l",
                "\x1b[?7h",
                "\x1b[?2004h",
                "\x1b[?1000h",
            ]))
            .to_owned()
        }
    }
    .into_bytes()
}

/// As [`plain_piece`], of what even small terminals know: narrow text, no lines inserted, no margins, one screen.
pub(crate) fn tame_piece(seed: u64, cols: u16, rows: u16) -> Vec<u8> {
    let r = &mut Rng(seed);
    let x = 1 + r.below(u64::from(cols));
    let y = 1 + r.below(u64::from(rows));
    let n = 1 + r.below(4);
    let words = ["a", "hello ", "wörld", "the quick brown fox jumps over ", "0123456789"];
    let sgr = ["", "1", "3", "4", "7", "31", "42", "94", "38;5;200", "48;2;1;2;3", "24", "27"];
    match r.below(20) {
        0..=7 => (*r.pick(&words)).to_owned(),
        8..=10 => "\r\n".to_owned(),
        11..=12 => format!("\x1b[{y};{x}H"),
        13..=15 => format!("\x1b[{}m", r.pick(&sgr)),
        16 => format!("\x1b[{n}{}", r.pick(&["A", "B", "C", "D", "G", "d"])),
        17 => format!("\x1b[{y};{x}H\x1b[{n}{}", r.pick(&["@", "P", "X"])),
        18 => format!("\x1b[{y};{x}H\x1b[{}", r.pick(&["K", "J", "1K", "2J", "2K"])),
        _ => (*r.pick(&["\x1bM", "\t", "\r", "\x08"])).to_owned(),
    }
    .into_bytes()
}
