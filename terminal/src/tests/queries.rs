//! Queries are answered once and never replayed; answers are filtered and keys are not.

use proptest::prelude::*;

use crate::*;

const SIZE: Size = Size { cols: 80, rows: 24 };

/// What is asked, and what a fresh terminal with the cursor at row 3, column 5 answers.
const QUERIES: [(&str, &str); 42] = [
    ("\x1b[c", "\x1b[?62;22c"),
    ("\x1b[0c", "\x1b[?62;22c"),
    ("\x1bZ", "\x1b[?62;22c"),
    ("\x1b[>c", "\x1b[>1;0;0c"),
    ("\x1b[=c", "\x1bP!|00000000\x1b\\"),
    ("\x1b[5n", "\x1b[0n"),
    ("\x1b[6n", "\x1b[3;5R"),
    ("\x1b[?6n", "\x1b[?3;5;1R"),
    ("\x1b[?15n", "\x1b[?13n"),
    ("\x1b[?996n", "\x1b[?997;1n"),
    ("\x1b[4$p", "\x1b[4;2$y"),
    ("\x1b[?7$p", "\x1b[?7;1$y"),
    ("\x1b[?2026$p", "\x1b[?2026;2$y"),
    ("\x1b[?1006$p", "\x1b[?1006;2$y"),
    ("\x1b[?31337$p", "\x1b[?31337;0$y"),
    ("\x1bP$qm\x1b\\", "\x1bP1$r0m\x1b\\"),
    ("\x1bP$qr\x1b\\", "\x1bP1$r1;24r\x1b\\"),
    ("\x1bP$q q\x1b\\", "\x1bP1$r0 q\x1b\\"),
    ("\x1bP$qzz\x1b\\", "\x1bP0$r\x1b\\"),
    ("\x1b[>q", concat!("\x1bP>|sessd(", env!("CARGO_PKG_VERSION"), ")\x1b\\")),
    ("\x1b[>0q", concat!("\x1bP>|sessd(", env!("CARGO_PKG_VERSION"), ")\x1b\\")),
    ("\x1b]4;1;?\x07", "\x1b]4;1;rgb:cdcd/0000/0000\x1b\\"),
    ("\x1b]4;1;?;2;?\x1b\\", "\x1b]4;1;rgb:cdcd/0000/0000\x1b\\\x1b]4;2;rgb:0000/cdcd/0000\x1b\\"),
    ("\x1b]5;0;?\x1b\\", "\x1b]5;0;rgb:ffff/ffff/ffff\x1b\\"),
    ("\x1b]10;?\x1b\\", "\x1b]10;rgb:ffff/ffff/ffff\x1b\\"),
    ("\x1b]11;?\x07", "\x1b]11;rgb:0000/0000/0000\x1b\\"),
    ("\x1b]10;?;?\x07", "\x1b]10;rgb:ffff/ffff/ffff\x1b\\\x1b]11;rgb:0000/0000/0000\x1b\\"),
    ("\x1b]12;?\x1b\\", "\x1b]12;rgb:ffff/ffff/ffff\x1b\\"),
    ("\x1b]52;c;?\x07", "\x1b]52;c;\x1b\\"),
    ("\x1b[?u", "\x1b[?0u"),
    ("\x1b[?4m", "\x1b[>4;0m"),
    ("\x1b[11t", "\x1b[1t"),
    ("\x1b[13t", "\x1b[3;0;0t"),
    ("\x1b[14t", "\x1b[4;480;800t"),
    ("\x1b[16t", "\x1b[6;20;10t"),
    ("\x1b[18t", "\x1b[8;24;80t"),
    ("\x1b[19t", "\x1b[9;24;80t"),
    ("\x1b[20t", "\x1b]L\x1b\\"),
    ("\x1b[21t", "\x1b]l\x1b\\"),
    ("\x1bP+q544e;524742\x1b\\", "\x1bP0+r544e;524742\x1b\\"),
    ("\x1b[x", "\x1b[2;1;1;128;128;1;0x"),
    ("\x1b[1x", "\x1b[3;1;1;128;128;1;0x"),
];

/// What looks like a query and is none.
const OTHERS: [&str; 16] = [
    "\x1b[1n",
    "\x1b[31m",
    "\x1b[2J",
    "\x1b]0;what?\x07",
    "\x1b]10;#fff\x07",
    "\x1b]52;c;QUJD\x07",
    "\x1b[22;0t",
    "\x1b[8;24;80t",
    "\x1b[!p",
    "\x1b[?25h",
    "\x1b(0",
    "\x1b7",
    "text?",
    "\x1bP1$q\x1b\\",
    "\x1b]8;;http://x/?\x1b\\",
    "\x1b[>4;2m",
];

fn answers(chunks: &[&[u8]]) -> (Hub, Vec<u8>) {
    let mut hub = Hub::new(SIZE, 100, 1 << 16);
    let mut replies = Vec::new();
    for c in chunks {
        hub.feed_answering(c, &mut replies);
    }
    (hub, replies)
}

fn stream(hub: &Hub) -> Vec<u8> {
    hub.read(0, usize::MAX).unwrap().to_vec()
}

#[test]
fn each_query_is_answered_and_left_out() {
    for (query, want) in QUERIES {
        let (hub, replies) = answers(&[b"a\x1b[3;5H", query.as_bytes(), b"b"]);
        assert_eq!(
            replies.escape_ascii().to_string(),
            want.as_bytes().escape_ascii().to_string(),
            "{query:?}"
        );
        assert_eq!(stream(&hub), b"a\x1b[3;5Hb", "{query:?}");
        assert_eq!(hub.head(), 8);
    }
}

#[test]
fn what_is_no_query_passes() {
    for other in OTHERS {
        let (mut hub, replies) = answers(&[other.as_bytes()]);
        hub.flush_held();
        assert_eq!(replies, b"", "{other:?}");
        assert_eq!(stream(&hub), other.as_bytes(), "{other:?}");
    }
}

#[test]
fn the_answer_is_of_that_point_of_the_stream() {
    let (_, replies) = answers(&[b"ab\x1b[6ncd\x1b[6n\r\n\x1b[6n"]);
    assert_eq!(replies, b"\x1b[1;3R\x1b[1;5R\x1b[2;1R");
    let (_, replies) = answers(&[b"\x1b]11;#123456\x07\x1b]11;?\x07"]);
    assert_eq!(replies, b"\x1b]11;rgb:1212/3434/5656\x1b\\");
}

#[test]
fn a_sequence_that_sets_and_asks_does_both() {
    let (hub, replies) = answers(&[b"\x1b]4;1;#112233;2;?\x07\x1b]4;1;?\x07"]);
    assert_eq!(replies, b"\x1b]4;2;rgb:0000/cdcd/0000\x1b\\\x1b]4;1;rgb:1111/2222/3333\x1b\\");
    assert_eq!(stream(&hub), b"\x1b]4;1;#112233\x1b\\");
}

#[test]
fn a_query_cut_by_the_last_view_leaving_is_answered_once() {
    let mut hub = Hub::new(SIZE, 0, 1000);
    let mut replies = Vec::new();
    hub.feed(b"x\x1b[6");
    hub.feed_answering(b"ny", &mut replies);
    assert_eq!(replies, b"\x1b[1;2R");
    // Whoever replays it has its start, and then a CAN.
    assert_eq!(stream(&hub), b"x\x1b[6\x18y");
    assert_eq!(QueryScanner::default().sees_query(&stream(&hub)), None);
    assert_eq!(hub.terminal().text(0), "xy\n");
}

#[test]
fn a_query_that_ends_an_open_string_leaves_its_end() {
    let (hub, replies) = answers(&[b"\x1b]2;title\x1b[5n;?\x07"]);
    assert_eq!(replies, b"\x1b[0n");
    assert_eq!(stream(&hub), b"\x1b]2;title\x1b\\;?\x07");
    assert_eq!(hub.terminal().title(), "title");
}

#[test]
fn what_was_held_goes_out_when_a_view_comes() {
    let mut hub = Hub::new(SIZE, 0, 1000);
    let mut replies = Vec::new();
    hub.feed_answering(b"x\x1b[", &mut replies);
    assert_eq!((hub.head(), hub.held()), (1, 2));
    hub.flush_held();
    assert_eq!((hub.head(), hub.held()), (3, 0));
    hub.feed(b"6n");
    assert_eq!(replies, b"");
    assert_eq!(stream(&hub), b"x\x1b[6n");
}

#[test]
fn what_is_held_is_bounded() {
    let mut hub = Hub::new(SIZE, 0, 1000);
    let mut replies = Vec::new();
    for start in ["\x1b[", "\x1b]52;", "\x1bP+q", "\x1b]4;"] {
        hub.feed_answering(start.as_bytes(), &mut replies);
        for _ in 0..5000 {
            hub.feed_answering(b"1", &mut replies);
            assert!(hub.held() <= QueryScanner::MAX_HELD);
        }
        hub.feed_answering(b"\x18", &mut replies);
        assert_eq!(hub.held(), 0);
    }
    assert_eq!(replies, b"");
}

fn split(bytes: &[u8], cuts: &[usize]) -> Vec<Vec<u8>> {
    let mut rest = bytes;
    let mut parts = Vec::new();
    for cut in cuts.iter().cycle() {
        let (now, later) = rest.split_at((*cut).min(rest.len()));
        parts.push(now.to_vec());
        rest = later;
        if rest.is_empty() {
            break;
        }
    }
    parts
}

/// Answers of terminals.
const ANSWERS: [&str; 30] = [
    "\x1b[12;40R",
    "\x1b[?12;40;1R",
    "\x1b[?62;22c",
    "\x1b[>41;354;0c",
    "\x1bP!|00000000\x1b\\",
    "\x1b[0n",
    "\x1b[?13n",
    "\x1b[?997;1n",
    "\x1b[?2026;2$y",
    "\x1b[4;2$y",
    "\x1bP1$r0m\x1b\\",
    "\x1bP0$r\x1b\\",
    "\x1bP>|XTerm(370)\x1b\\",
    "\x1bP1+r544e=787465726d\x1b\\",
    "\x1bP0+r544e\x1b\\",
    "\x1b]10;rgb:ffff/ffff/ffff\x1b\\",
    "\x1b]11;rgb:0/0/0\x07",
    "\x1b]4;1;rgb:cd/00/00\x1b\\",
    "\x1b]52;c;QUJD\x07",
    "\x1b[?0u",
    "\x1b[?31u",
    "\x1b[4;480;800t",
    "\x1b[6;20;10t",
    "\x1b[8;24;80t",
    "\x1b[9;24;80t",
    "\x1b]Licon\x1b\\",
    "\x1b]ltitle\x1b\\",
    "\x1b[2;1;1;128;128;1;0x",
    "\x1b[>4;2m",
    "\x1b[3;0;0t",
];

/// Keys, mouse, paste, focus: what a person sends.
const KEYS: [&str; 41] = [
    "a",
    "hello",
    "\r",
    "\t",
    "\x03",
    "\x1b[A",
    "\x1b[1;5C",
    "\x1bOP",
    "\x1b[1;2R",
    "\x1b[1;8R",
    "\x1b[R",
    "\x1bOR",
    "\x1b[13;2u",
    "\x1b[97;5u",
    "\x1b[3~",
    "\x1b[15;5~",
    "\x1b[200~",
    "\x1b[201~",
    "\x1b[I",
    "\x1b[O",
    "\x1b[<0;10;20M",
    "\x1b[<0;10;20m",
    "\x1b[M !!",
    "\x1b[Z",
    "\x1ba",
    "\x1b]",
    "\x1bP",
    "\x1b[27;5;97~",
    "ü",
    "漢",
    "\x1b\x1b[A",
    "\x1bO5P",
    "\x1b[1;2P",
    "\x1b[H",
    "\x1b[24;5~",
    "\x1b[57414;1u",
    "\x1b[97;1:3u",
    "\x1b[1;1:3A",
    "\x1b[5;5~",
    "\x7f",
    "\x1b\x7f",
];

fn filter(parts: &[Vec<u8>], outstanding: u32) -> Vec<u8> {
    let mut f = ReplyFilter::default();
    for (beginning, own) in [
        (&b"\x1b"[..], false),
        (b"\x1b[", false),
        (b"\x1b[4", true),
        (b"\x1b[48;24;8", true),
        (b"\x1b[47", false),
        (b"\x1b[?", true),
        (b"\x1b[?2048;2$", true),
        (b"\x1b[?1;2", false),
    ] {
        let mut f = ReplyFilter::default();
        f.filter(beginning, &mut Outstanding::default(), &mut Vec::new());
        assert_eq!(f.may_hold_terminals_own(), own, "{}", beginning.escape_ascii());
    }
    let mut o = Outstanding { cursor_reports: outstanding };
    let mut out = Vec::new();
    for p in parts {
        f.filter(p, &mut o, &mut out);
    }
    f.flush(&mut out);
    out
}

#[test]
fn keys_pass_and_answers_do_not() {
    for a in ANSWERS {
        assert_eq!(filter(&[a.as_bytes().to_vec()], 0), b"", "{a:?}");
    }
    for k in KEYS {
        assert_eq!(filter(&[k.as_bytes().to_vec()], 0), k.as_bytes(), "{k:?}");
    }
    // F3 with Shift, or the cursor in row 1, column 2.
    assert_eq!(filter(&[b"\x1b[1;2R".to_vec()], 1), b"");
    assert_eq!(filter(&[b"\x1b[1;2R\x1b[1;2R".to_vec()], 1), b"\x1b[1;2R");
    assert_eq!(filter(&[b"\x1b[1;17R".to_vec()], 0), b"");
}

#[test]
fn a_long_answer_is_swallowed_to_its_end() {
    let long = format!("a\x1b]52;c;{}\x1b\\b", "QUJD".repeat(5000));
    for n in [1, 7, 255, 256, 257, 9999] {
        assert_eq!(filter(&split(long.as_bytes(), &[n]), 0), b"ab", "{n}");
    }
    let mut f = ReplyFilter::default();
    let mut out = Vec::new();
    for _ in 0..1000 {
        f.filter(b"\x1b[1111111111", &mut Outstanding::default(), &mut out);
        f.filter(&[b'1'; 600], &mut Outstanding::default(), &mut out);
    }
    assert!(out.len() > 600_000);
}

#[test]
fn a_lone_escape_waits_for_the_flush() {
    let mut f = ReplyFilter::default();
    let mut out = Vec::new();
    f.filter(b"a\x1b", &mut Outstanding::default(), &mut out);
    assert_eq!((out.as_slice(), f.is_holding()), (b"a".as_slice(), true));
    f.flush(&mut out);
    assert_eq!((out.as_slice(), f.is_holding()), (b"a\x1b".as_slice(), false));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn queries_are_found_however_they_are_cut(
        picks in prop::collection::vec((any::<bool>(), any::<prop::sample::Index>()), 0..20),
        cuts in prop::collection::vec(1usize..9, 1..30),
    ) {
        let mut bytes = String::from("\x1b[3;5H");
        let mut asked = 0;
        for (query, i) in &picks {
            if *query {
                bytes.push_str(i.get(&QUERIES).0);
                asked += 1;
            } else {
                bytes.push_str(i.get::<&str>(&OTHERS));
            }
        }
        let (mut whole, one) = answers(&[bytes.as_bytes()]);
        let parts = split(bytes.as_bytes(), &cuts);
        let (mut cut, two) = answers(&parts.iter().map(Vec::as_slice).collect::<Vec<_>>());
        whole.flush_held();
        cut.flush_held();
        prop_assert_eq!(one.escape_ascii().to_string(), two.escape_ascii().to_string());
        prop_assert_eq!(stream(&whole), stream(&cut));
        prop_assert_eq!(whole.terminal().dump(), cut.terminal().dump());
        prop_assert_eq!(QueryScanner::default().sees_query(&stream(&whole)), None);
        prop_assert!(asked == 0 || !one.is_empty());
    }

    #[test]
    fn answers_are_filtered_however_they_are_cut(
        picks in prop::collection::vec((any::<bool>(), any::<prop::sample::Index>()), 0..20),
        cuts in prop::collection::vec(1usize..9, 1..30),
    ) {
        let (mut bytes, mut keys) = (String::new(), String::new());
        for (answer, i) in &picks {
            if *answer {
                bytes.push_str(i.get::<&str>(&ANSWERS));
            } else if !matches!(*i.get::<&str>(&KEYS), "\x1b]" | "\x1bP") {
                // Those may look like the start of what follows.
                bytes.push_str(i.get::<&str>(&KEYS));
                keys.push_str(i.get::<&str>(&KEYS));
            }
        }
        let out = filter(&split(bytes.as_bytes(), &cuts), 0);
        prop_assert_eq!(out.escape_ascii().to_string(), keys.as_bytes().escape_ascii().to_string());
    }

    #[test]
    fn what_is_typed_is_not_lost(bytes in prop::collection::vec(any::<u8>(), 0..200), cuts in prop::collection::vec(1usize..9, 1..30)) {
        // Without an ESC nothing is an answer.
        let bytes: Vec<u8> = bytes.into_iter().filter(|b| *b != 0x1b).collect();
        prop_assert_eq!(filter(&split(&bytes, &cuts), 3), bytes);
    }
}

/// Every way in which a question can hold bytes of its own, as what comes before and after them.
const HOLDERS: [(&str, &str); 27] = [
    ("\x1b]52;", ";?\x07"),
    ("\x1b]52;", ";?\x1b\\"),
    ("\x1b]52;c", ";?\x1b[5n"),
    ("\x1b]52;c;", "?\x07"),
    ("\x1b]4;", ";?\x07"),
    ("\x1b]4;1;?;", ";?\x1b\\"),
    ("\x1b]4;1;", ";2;?\x1b\\"),
    ("\x1b]5;", ";?\x07"),
    ("\x1b]10;", ";?\x07"),
    ("\x1b]11;?;", "\x07"),
    ("\x1b]19;?", "\x1b\\"),
    ("\x1b]1", ";?\x07"),
    ("\x1bP$q", "\x1b\\"),
    ("\x1bP$q", "m\x1b\\"),
    ("\x1bP+q", "\x1b\\"),
    ("\x1bP+q544e;", "\x1b[5n"),
    ("\x1b[", "c"),
    ("\x1b[?", "n"),
    ("\x1b[", "$p"),
    ("\x1b[?", "$p"),
    ("\x1b[>", "q"),
    ("\x1b[?", "u"),
    ("\x1b[?", "m"),
    ("\x1b[", "t"),
    ("\x1b[", "x"),
    // What a job may set, so that it is read back by what follows.
    ("\x1b]2;", "\x07\x1b]1;icon\x07\x1b[20t\x1b[21t\x1b[22t\x1b[23t\x1b[21t"),
    ("\x1b]7;file://", "\x07\x1b]11;#123\x07\x1b]11;?\x07\x1b[1;3m\x1bP$qm\x1b\\\x1b[6n"),
];

/// What all answers are made of, their ESC apart. Nothing in it ends a line, and nothing quotes.
const ALPHABET: &[u8] = b"0123456789abcdefABCDEFpqsrgbtunxycRmL l[]\\P?>=;:/!|$*{~+\"().ose";

/// Each answer begins with ESC and is one of the forms that an answer may have; no control stands in it.
fn well_formed(replies: &[u8]) -> Result<(), String> {
    let mut rest = replies;
    while !rest.is_empty() {
        let end = match rest {
            [0x1b, b'[', body @ ..] => body.iter().position(|b| (0x40..=0x7e).contains(b)).map(|n| n + 3),
            [0x1b, b']' | b'P', body @ ..] => body.windows(2).position(|w| w == b"\x1b\\").map(|n| n + 4),
            _ => None,
        };
        let (answer, later) = rest.split_at(end.ok_or_else(|| format!("at {}", rest.escape_ascii()))?);
        let inside = answer[1..].strip_suffix(b"\x1b\\").unwrap_or(&answer[1..]);
        if let Some(bad) = inside.iter().find(|b| !ALPHABET.contains(b)) {
            return Err(format!("{} in {}", bad.escape_ascii(), answer.escape_ascii()));
        }
        rest = later;
    }
    Ok(())
}

#[test]
fn text_that_is_shown_types_no_command() {
    let evil = b"\x1b]52;\necho PWNED > /tmp/pwned\n;?\x07";
    let (hub, replies) = answers(&[evil]);
    // Of all that text, what names selections: `c` and `p`, each once.
    assert_eq!(replies, b"\x1b]52;cp;\x1b\\");
    assert_eq!(stream(&hub), b"", "no terminal is asked it later");
    // The same for a question that a view left behind.
    let asked = QueryScanner::default().sees_query(evil).unwrap();
    let mut replies = Vec::new();
    asked.iter().for_each(|q| hub.answer(q, &mut replies));
    well_formed(&replies).unwrap();
}

#[test]
fn every_answer_of_the_table_is_well_formed() {
    for (query, want) in QUERIES {
        well_formed(want.as_bytes()).unwrap_or_else(|e| panic!("{query:?}: {e}"));
    }
}

fn hostile() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        3 => prop::collection::vec(any::<u8>(), 0..40),
        2 => prop::collection::vec(prop::sample::select(&b"\n\r\x03\x04\x08\x15;?0123456789mrs$|\" q"[..]), 0..40),
        1 => Just(b"\necho PWNED > /tmp/pwned\n".to_vec()),
        1 => Just(b"`reboot`$(reboot);reboot&&'reboot'\x85\xc2\x85\xe2\x80\xae".to_vec()),
        1 => (0u32..100_000).prop_map(|n| n.to_string().into_bytes()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..Default::default() })]

    /// Answered at once, cut anywhere, or left behind by a view: an answer holds no control but its own ESCs, and no byte
    /// of the question but digits and letters that we have a list of.
    #[test]
    fn no_answer_holds_what_the_question_brought(
        questions in prop::collection::vec((any::<prop::sample::Index>(), hostile()), 1..6),
        cuts in prop::collection::vec(1usize..30, 1..30),
        passed_on in any::<prop::sample::Index>(),
    ) {
        let mut bytes = Vec::new();
        for (holder, inside) in &questions {
            let (before, after) = holder.get(&HOLDERS);
            bytes.extend_from_slice(before.as_bytes());
            bytes.extend_from_slice(inside);
            bytes.extend_from_slice(after.as_bytes());
        }
        let parts = split(&bytes, &cuts);
        let (hub, replies) = answers(&parts.iter().map(Vec::as_slice).collect::<Vec<_>>());
        prop_assert_eq!(well_formed(&replies), Ok(()), "{}", bytes.escape_ascii());

        // A view was there for the first of it, and left.
        let (seen, rest) = bytes.split_at(passed_on.index(bytes.len() + 1));
        let mut left = Hub::new(SIZE, 100, 1 << 16);
        left.feed(seen);
        let mut replies = Vec::new();
        for query in QueryScanner::default().sees_query(seen).into_iter().flatten() {
            left.answer(&query, &mut replies);
            hub.answer(&query, &mut replies);
        }
        left.feed_answering(rest, &mut replies);
        prop_assert_eq!(well_formed(&replies), Ok(()), "{}", bytes.escape_ascii());
    }
}
