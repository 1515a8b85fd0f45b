//! Properties over generated streams.

use proptest::prelude::*;

use super::generate::piece;
use crate::*;

const ALL: SnapshotOptions = SnapshotOptions {
    scrollback_lines: usize::MAX,
    erase_scrollback: true,
    without_images: false,
    unscroll: 0,
};
const LINES: usize = 60;

fn size() -> impl Strategy<Value = Size> {
    prop_oneof![
        3 => Just(Size { cols: 20, rows: 6 }),
        2 => (1u16..12, 1u16..8).prop_map(|(cols, rows)| Size { cols, rows }),
        1 => (1u16..100, 1u16..40).prop_map(|(cols, rows)| Size { cols, rows }),
    ]
}

fn stream(size: Size, seeds: &[u64]) -> Vec<u8> {
    seeds.iter().flat_map(|s| piece(*s, size.cols, size.rows)).collect()
}

fn again(t: &Terminal, lines: usize) -> Terminal {
    let mut out = Vec::new();
    t.snapshot(ALL, &mut out);
    let mut r = Terminal::new(t.size(), lines);
    r.feed(&out);
    r
}

#[track_caller]
fn same(a: &Terminal, b: &Terminal, what: &str) {
    let (a, b) = (a.dump(), b.dump());
    if a != b {
        let diff: Vec<String> = a
            .lines()
            .zip(b.lines())
            .filter(|(a, b)| a != b)
            .take(6)
            .map(|(a, b)| format!("  was {a}\n  got {b}"))
            .collect();
        panic!("{what}: {} and {} lines\n{}", a.lines().count(), b.lines().count(), diff.join("\n"));
    }
}

/// The snapshot is the state, and goes on like it.
fn check_snapshot(size: Size, seeds: &[u64], more: &[u64]) {
    let mut t = Terminal::new(size, LINES);
    let (bytes, more) = (stream(size, seeds), stream(size, more));
    t.feed(&bytes);
    let mut r = again(&t, LINES);
    let what = format!("{size:?} {}", bytes.escape_ascii());
    same(&t, &r, &what);
    t.feed(&more);
    r.feed(&more);
    same(&t, &r, &format!("{what} and then {}", more.escape_ascii()));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn a_snapshot_is_the_state(
        size in size(),
        seeds in prop::collection::vec(any::<u64>(), 0..60),
        more in prop::collection::vec(any::<u64>(), 0..20),
    ) {
        check_snapshot(size, &seeds, &more);
    }

    #[test]
    fn a_snapshot_cleans_up_any_target(
        size in size(),
        seeds in prop::collection::vec(any::<u64>(), 0..30),
        before in prop::collection::vec(any::<u64>(), 0..30),
    ) {
        let mut t = Terminal::new(size, LINES);
        t.feed(&stream(size, &seeds));
        let mut out = Vec::new();
        t.snapshot(ALL, &mut out);
        let mut target = Terminal::new(size, LINES);
        target.feed(&stream(size, &before));
        target.feed(&out);
        // Titles and preferences that were there before are the person's, or the view's to care for, and so is what was put on
        // stacks. A cursor saved on the alternate screen is not wiped: some terminals keep one for both screens. What is on an alternate screen that is not shown would have to be shown to be wiped.
        target.feed(b"\x18");
        t.feed(b"\x18");
        let ours = ["title ", "said ", "stacks ", "hidden ", "alternate saved "];
        let mut left_alone = vec![];
        if t.shell_state().is_none() {
            left_alone.push("cwd ");
        }
        let rest = |t: &Terminal| {
            let kept = |l: &&str| !ours.iter().chain(&left_alone).any(|p| l.starts_with(p));
            t.dump().lines().filter(kept).map(String::from).collect::<Vec<_>>()
        };
        prop_assert_eq!(rest(&t), rest(&target), "{}", stream(size, &seeds).escape_ascii());
    }

    #[test]
    fn chunks_make_no_difference(
        size in size(),
        seeds in prop::collection::vec(any::<u64>(), 0..60),
        cuts in prop::collection::vec(1usize..40, 1..40),
    ) {
        let bytes = stream(size, &seeds);
        let mut whole = Terminal::new(size, LINES);
        whole.feed(&bytes);
        let mut parts = Terminal::new(size, LINES);
        let mut rest = &bytes[..];
        for cut in cuts.iter().cycle() {
            let (now, later) = rest.split_at((*cut).min(rest.len()));
            parts.feed(now);
            rest = later;
            if rest.is_empty() { break; }
        }
        same(&whole, &parts, "chunks");
    }

    #[test]
    fn resizes_keep_the_model_whole(
        first in size(),
        steps in prop::collection::vec((prop::collection::vec(any::<u64>(), 0..20), size()), 1..8),
    ) {
        let mut t = Terminal::new(first, LINES);
        let mut what = format!("{first:?}");
        for (seeds, size) in steps {
            let bytes = stream(t.size(), &seeds);
            t.feed(&bytes);
            what.push_str(&format!(" {} and then {size:?}", bytes.escape_ascii()));
            // On one row no break can be led past a blank last column.
            // In one column no wide character can be shown.
            t.resize(Size { rows: size.rows.max(2), cols: size.cols.max(2) });
            let _ = t.dump();
            // Rows of another width are broken anew in the snapshot, which may take more of them.
            same(&t, &again(&t, LINES * 200), &what);
        }
    }

    #[test]
    fn snapshots_ask_nothing_and_leave_no_update_open(
        size in size(),
        seeds in prop::collection::vec(any::<u64>(), 0..40),
    ) {
        let mut t = Terminal::new(size, LINES);
        t.feed(&stream(size, &seeds));
        t.feed(b"\x18\x1b\\");
        let mut out = Vec::new();
        t.snapshot(ALL, &mut out);
        prop_assert_eq!(QueryScanner::default().sees_query(&out), None);
        let mut r = Terminal::new(size, LINES);
        r.feed(&out);
        prop_assert!(!r.sync_active());
    }
}
