//! Work is bounded in cost, and gives the same whatever turns it is done in.

use proptest::prelude::*;

use super::bombs::{bombs, stream};
use super::generate::piece;
use crate::*;

const SIZES: [Size; 3] =
    [Size { cols: 80, rows: 24 }, Size { cols: 200, rows: 60 }, Size { cols: 1000, rows: 160 }];

#[test]
fn no_bomb_keeps_the_thread_past_one_screen() {
    const BUDGET: u64 = 100_000;
    for size in SIZES {
        let cells = u64::from(size.cols) * u64::from(size.rows);
        for (name, start, again) in bombs() {
            let bytes = stream(&start, &again, 8 << 10);
            let mut t = Terminal::new(size, 1000);
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let before = t.cost();
                let n = t.feed_within(rest, BUDGET);
                assert!(n > 0, "{name}");
                // One sequence may be a whole screen of cells printed one by one, and the rows that leave at the top.
                let scrolls = if name.contains("margins") { u64::from(size.rows) * cells } else { 0 };
                let most = BUDGET + 80 * cells + scrolls + 8 * n as u64 + 40_000;
                let spent = t.cost() - before;
                assert!(spent <= most, "{name} at {size:?}: {spent} in a turn, {most} at most");
                rest = &rest[n..];
                if t.cost() > 200 * BUDGET {
                    break;
                }
            }
        }
    }
}

fn small() -> impl Strategy<Value = Size> {
    (1u16..30, 1u16..9).prop_map(|(cols, rows)| Size { cols, rows })
}

fn generated(size: Size, seeds: &[u64]) -> Vec<u8> {
    seeds.iter().flat_map(|s| piece(*s, size.cols, size.rows)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn turns_make_no_difference(
        size in small(),
        seeds in prop::collection::vec(any::<u64>(), 0..50),
        budgets in prop::collection::vec(1u64..400, 1..20),
    ) {
        let bytes = generated(size, &seeds);
        let mut whole = Terminal::new(size, 50);
        whole.feed(&bytes);
        let mut parts = Terminal::new(size, 50);
        let (mut rest, mut turn) = (&bytes[..], 0);
        while !rest.is_empty() {
            let n = parts.feed_within(rest, budgets[turn % budgets.len()]);
            prop_assert!(n > 0);
            rest = &rest[n..];
            turn += 1;
        }
        prop_assert_eq!(whole.dump(), parts.dump());
    }

    /// A repetition is what its character printed so often is.
    #[test]
    fn a_repetition_is_as_if_printed(
        size in small(),
        before in prop::collection::vec(any::<u64>(), 0..20),
        what in prop::sample::select(&["x", "漢", "e\u{301}", "漢\u{301}\u{302}", "│", "~"][..]),
        insert in any::<bool>(),
        n in 1u16..200,
    ) {
        let mut start = generated(size, &before);
        start.extend_from_slice(b"\x18\x1b\\\x1b(B\x0f");
        start.extend_from_slice(if insert { b"\x1b[4h" } else { b"\x1b[4l" });
        // Between margins less is enough to fill all there is.
        let margins = start.windows(5).any(|w| w == b"[?69h");
        let n = n.min(if margins { size.cols } else { size.cols * size.rows });
        let mut repeated = Terminal::new(size, 50);
        repeated.feed(&start);
        let mut printed = repeated.clone();
        repeated.feed(format!("{what}\x1b[{n}b").as_bytes());
        printed.feed(what.as_bytes());
        // Where there was no room for it nothing is repeated.
        let again = if repeats(&printed) { usize::from(n) } else { 0 };
        printed.feed(what.repeat(again).as_bytes());
        prop_assert_eq!(repeated.dump(), printed.dump());
    }

    #[test]
    fn answers_are_the_same_in_turns(
        size in small(),
        seeds in prop::collection::vec(any::<u64>(), 0..60),
        budget in 1u64..500,
    ) {
        let mut bytes = generated(size, &seeds);
        bytes.extend_from_slice(b"\x18\x1b[6n");
        let (mut one, mut two) = (Hub::new(size, 50, 1 << 16), Hub::new(size, 50, 1 << 16));
        let (mut first, mut second) = (Vec::new(), Vec::new());
        one.feed_answering(&bytes, &mut first);
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let n = two.feed_answering_within(rest, budget, &mut second);
            rest = &rest[n..];
        }
        prop_assert_eq!(first, second);
        let mut three = Hub::new(size, 50, 1 << 16);
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let n = three.feed_within(rest, budget);
            prop_assert_eq!(three.head(), (bytes.len() - rest.len() + n) as u64);
            rest = &rest[n..];
        }
        prop_assert_eq!(one.head(), two.head());
        prop_assert_eq!(one.terminal().dump(), two.terminal().dump());
    }
}

/// Whether REP has something to repeat.
fn repeats(t: &Terminal) -> bool {
    !t.dump().contains("last None")
}

#[test]
fn a_resize_looks_at_no_more_than_a_few_screens() {
    // One line over all of a scrollback of wide rows: joined it would be 160 MB of cells.
    let mut t = Terminal::new(Size { cols: 1000, rows: 24 }, 10_000);
    t.feed(b"\x1b[41m");
    for _ in 0..12_000 {
        t.feed(b" \x1b[998C  ");
    }
    for cols in [80, 200, 999, 3, 1000] {
        let before = t.cost();
        t.resize(Size { cols, rows: 24 });
        assert!(t.cost() - before < 3_000_000, "{} for {cols} columns", t.cost() - before);
    }
}

#[test]
fn offsets_never_pass_their_end() {
    let mut hub = Hub::from_snapshot(Size { cols: 80, rows: 24 }, 0, 100, u64::MAX - 3, b"x");
    for _ in 0..10 {
        hub.feed(b"abcdef");
        let mut cursor = Cursor::at(u64::MAX - 2);
        cursor.grant(u64::MAX);
        for _ in 0..20 {
            cursor.charge(u64::MAX / 2);
            let _ = cursor.next(&hub, 10);
        }
    }
    assert_eq!(hub.head(), u64::MAX);
}
