//! Streams of few bytes that are much work, or would have a model keep much.

/// A name, what comes once, and what is repeated after it.
pub(crate) type Bomb = (&'static str, Vec<u8>, Vec<u8>);

/// All of them.
pub(crate) fn bombs() -> Vec<Bomb> {
    let some = |start: &str, again: &str| (start.as_bytes().to_vec(), again.as_bytes().to_vec());
    type Parts = (Vec<u8>, Vec<u8>);
    let links = |n: usize| -> Vec<u8> {
        (0..n)
            .flat_map(|i| format!("\x1b]8;id={i};http://{}/{i}\x1b\\x", "long".repeat(500)).into_bytes())
            .collect()
    };
    let two_links = {
        let long = |c: &str| format!("\x1b]8;;http://{}\x1b\\", c.repeat(2000));
        format!("{}x{}y\x1b[100b", long("a"), long("b"))
    };
    let styles = |n: u32| -> Vec<u8> {
        (0..n)
            .flat_map(|i| {
                format!(
                    "\x1b[38;2;{};{};7;48;2;9;{};1;58:2::{}:{}:{}mx",
                    i % 256,
                    i / 256 % 256,
                    i % 251,
                    i & 255,
                    i >> 8 & 255,
                    i % 7
                )
                .into_bytes()
            })
            .collect()
    };
    let mut all: Vec<(&'static str, Parts)> = vec![
        ("repeat", some("x", "\x1b[65535b")),
        ("repeat a mark", some("x\u{301}", "\x1b[65535b")),
        (
            "repeat many marks",
            some("x\u{301}\u{302}\u{303}\u{304}\u{305}\u{306}\u{307}\u{308}", "\x1b[65535b"),
        ),
        ("repeat a wide one", some("漢", "\x1b[65535b")),
        ("repeat inserting", some("\x1b[4hx", "\x1b[65535b")),
        ("repeat inserting a mark", some("\x1b[4hx\u{301}", "\x1b[65535b")),
        ("repeat in colour", some("\x1b[38;2;1;2;3;48;2;4;5;6mx", "\x1b[65535b")),
        ("repeat between margins", some("\x1b[?69h\x1b[2;30sx", "\x1b[65535b")),
        ("repeat without wrapping", some("\x1b[?7lx", "\x1b[65535b")),
        ("alignment", some("", "\x1b#8")),
        ("erase in colour", some("\x1b[48;2;1;2;3m", "\x1b[2J")),
        ("erase in two colours", some("", "\x1b[41m\x1b[2J\x1b[42m\x1b[2J")),
        ("erase selectively", some("\x1b#8", "\x1b[?2J")),
        ("erase the line", some("\x1b[41m", "\x1b[2K")),
        ("alternate screen", some("", "\x1b[?1049h\x1b[?1049l")),
        ("alternate screen, drawn", some("\x1b[41m", "\x1b[?1049h\x1b#8\x1b[?1049l")),
        ("alternate screen, mark", some("", "\x1b[?1049hx\u{301}\x1b[65535b\x1b[?1049lx\u{302}\x1b[65535b")),
        ("reset", some("", "\x1bc")),
        ("reset, drawn", some("", "\x1b#8\x1bc")),
        ("scroll up", some("\x1b[41m", "\x1b[65535S")),
        ("scroll down", some("\x1b[41m", "\x1b[65535T")),
        ("scroll between margins", some("\x1b[?69h\x1b[2;60s\x1b[41m", "\x1b[S\x1b[T")),
        ("insert and delete lines", some("\x1b[41m", "\x1b[L\x1b[M")),
        ("insert and delete characters", some("\x1b[H", "\x1b[@\x1b[P")),
        ("insert and delete columns", some("\x1b[H", "\x1b['}\x1b['~")),
        ("shift columns", some("", "\x1b[ @\x1b[ A")),
        ("insert text", some("\x1b[4h\x1b[H", "abc\r")),
        ("line feeds", some("", "\n")),
        ("reverse line feeds", some("", "\x1bM")),
        ("tabs", some("\x1b[3g", "\t\r")),
        ("tabs back", some("\x1b[3g\x1b[999C", "\x1b[999C\x1b[65535Z")),
        ("titles", some("", &format!("\x1b]0;{}\x07\x1b[22;0t", "t".repeat(1024)))),
        ("title stack", some(&format!("\x1b]0;{}\x07", "t".repeat(1024)), "\x1b[22;0t")),
        (
            "a long link and the pen",
            some(&format!("\x1b]8;;http://{}\x1b\\", "l".repeat(2000)), "\x1b[m\x1b[58:5:1m"),
        ),
        ("two links in turn", (Vec::new(), two_links.into_bytes())),
        ("palette", some("", &(0..256).map(|i| format!("\x1b]4;{i};#123456\x07")).collect::<String>())),
        ("directory", some("", &format!("\x1b]7;file://h/{}\x07", "%41".repeat(1300)))),
        ("keyboard flags", some("", "\x1b[>1u")),
        ("tab stops", some("", "\x1bH\x1b[C")),
        ("a mark for each cell", some("", "e\u{301}\u{302}")),
        ("a mark for each cell, overwritten", some("", "e\u{301}\re\u{302}\r")),
        ("ill-formed", (Vec::new(), vec![0xff, 0xc3, 0x28])),
        ("a string without end", some("\x1b]52;c;", "AAAA")),
        ("a sequence without end", some("\x1b[", "1;:2")),
        ("blank lines", some("", "\x1b[41m\x1b[K\r\n")),
        ("one endless line", some("\x1b[41m", "          ")),
        ("questions", some("", "\x1b[6n\x1b[c\x1b]4;1;?;2;?\x07")),
        ("prompts", some("", "\x1b]133;A\x07\x1b]133;B\x07\x1b]133;C\x07\x1b]133;D\x07\r\n")),
    ];
    all.push(("a link for each cell", (Vec::new(), links(600))));
    all.push(("a style for each cell", (Vec::new(), styles(20_000))));
    all.into_iter().map(|(name, (start, again))| (name, start, again)).collect()
}

/// One bomb of about so many bytes.
pub(crate) fn stream(start: &[u8], again: &[u8], bytes: usize) -> Vec<u8> {
    let mut all = start.to_vec();
    while all.len() < bytes {
        all.extend_from_slice(&again[..again.len().min(bytes)]);
    }
    all
}
