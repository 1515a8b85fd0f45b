//! Properties of ring, hub and cursors.

use proptest::prelude::*;

use crate::*;

const SIZE: Size = Size { cols: 20, rows: 5 };

fn byte_at(offset: u64) -> u8 {
    b"abcdefghijklmnopqrstuvwxyz\r\n"[(offset % 28) as usize]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn a_ring_holds_the_newest_bytes(
        capacity in 1usize..300,
        start in any::<u32>(),
        appends in prop::collection::vec(0usize..500, 0..40),
    ) {
        let start = u64::from(start);
        let mut ring = Ring::new(capacity, start);
        for n in appends {
            let bytes: Vec<u8> = (0..n as u64).map(|i| byte_at(ring.head() + i)).collect();
            ring.append(&bytes);
            prop_assert_eq!(ring.oldest(), start.max(ring.head().saturating_sub(capacity as u64)));
            let mut at = ring.oldest();
            while at < ring.head() {
                let got = ring.read(at, 70).unwrap();
                prop_assert!(!got.is_empty() && got.len() <= 70);
                for b in got {
                    prop_assert_eq!(*b, byte_at(at));
                    at += 1;
                }
            }
            prop_assert_eq!(ring.read(ring.head(), 9), Ok(&[][..]));
            if ring.oldest() > 0 {
                prop_assert_eq!(ring.read(ring.oldest() - 1, 9), Err(Expired { oldest: ring.oldest() }));
            }
        }
    }

    /// Whatever the order of feeding, granting and reading: every byte once and in order, or a snapshot at the head and
    /// the count of what was missed; and no more than was granted, but for one snapshot.
    #[test]
    fn a_cursor_misses_nothing_in_silence(
        ring in 1usize..2000,
        max_lag in prop_oneof![Just(u64::MAX), 1u64..2000],
        joins_with_snapshot in any::<bool>(),
        steps in prop::collection::vec((0usize..3, 0u64..900), 1..120),
    ) {
        let mut hub = Hub::new(SIZE, 100, ring);
        let mut cursor = if joins_with_snapshot { Cursor::needing_snapshot() } else { Cursor::at(0) }.with_max_lag(max_lag);
        let mut view: Option<Terminal> = (!joins_with_snapshot).then(|| Terminal::new(SIZE, 100));
        let (mut have, mut granted, mut got, mut overdrawn) = (0u64, 0u64, 0u64, 0u64);
        for (what, n) in steps {
            match what {
                0 => {
                    let bytes: Vec<u8> = (0..n).map(|i| byte_at(hub.head() + i)).collect();
                    hub.feed(&bytes);
                }
                1 => {
                    granted += n;
                    cursor.grant(granted);
                    cursor.grant(granted / 2);
                }
                _ => match cursor.next(&hub, 1 + n as usize) {
                    Next::Bytes { offset, bytes } => {
                        prop_assert_eq!(offset, have);
                        prop_assert!(!bytes.is_empty() && bytes.len() as u64 <= 1 + n);
                        for (i, b) in bytes.iter().enumerate() {
                            prop_assert_eq!(*b, byte_at(offset + i as u64));
                        }
                        have += bytes.len() as u64;
                        got += bytes.len() as u64;
                        prop_assert!(got <= granted);
                        view.as_mut().unwrap().feed(bytes);
                    }
                    Next::Snapshot { at, skipped } => {
                        prop_assert_eq!(at, hub.head());
                        prop_assert_eq!(skipped, if view.is_some() { at - have } else { 0 });
                        prop_assert!(got < granted);
                        let mut out = Vec::new();
                        hub.terminal().snapshot(
                            SnapshotOptions { scrollback_lines: 100, erase_scrollback: true, without_images: false, unscroll: 0 },
                            &mut out,
                        );
                        cursor.charge(out.len() as u64);
                        got += out.len() as u64;
                        overdrawn = got.saturating_sub(granted);
                        let mut fresh = Terminal::new(SIZE, 100);
                        fresh.feed(&out);
                        view = Some(fresh);
                        have = at;
                    }
                    Next::NoCredit => prop_assert!(got >= granted || overdrawn > 0),
                    Next::Idle => prop_assert_eq!(have, hub.head()),
                },
            }
            if let Some(view) = &view && have == hub.head() {
                prop_assert_eq!(view.dump(), hub.terminal().dump());
            }
        }
    }
}

#[test]
fn an_offset_of_the_future_gets_a_snapshot() {
    let mut hub = Hub::from_snapshot(SIZE, 0, 100, 1000, b"x");
    hub.feed(b"yz");
    let mut c = Cursor::at(5000);
    c.grant(100);
    assert_eq!(c.next(&hub, 10), Next::Snapshot { at: 1002, skipped: 0 });
    let mut c = Cursor::at(999);
    c.grant(100);
    assert_eq!(c.next(&hub, 10), Next::Snapshot { at: 1002, skipped: 3 });
    let mut c = Cursor::at(1000);
    assert_eq!(c.next(&hub, 10), Next::NoCredit);
    c.grant(1);
    assert_eq!(c.next(&hub, 10), Next::Bytes { offset: 1000, bytes: b"y" });
    c.grant(100);
    assert_eq!(c.next(&hub, 10), Next::Bytes { offset: 1001, bytes: b"z" });
    assert_eq!(c.next(&hub, 10), Next::Idle);
}

/// What is shown in another way than as bytes is not skipped; what there were too many of to be given is.
#[test]
fn who_is_shown_what_it_was_due_has_missed_only_what_it_was_too_far_behind_for() {
    let mut ring = Ring::new(64, 0);
    ring.append(&[b'x'; 50]);
    let cursor = |max| Cursor::at(10).with_max_lag(max);
    assert_eq!(cursor(u64::MAX).forgo(&ring), 0);
    assert_eq!(cursor(40).forgo(&ring), 0);
    assert_eq!(cursor(39).forgo(&ring), 40);
    ring.append(&[b'x'; 50]);
    assert_eq!(cursor(u64::MAX).forgo(&ring), 90);
    assert_eq!(Cursor::needing_snapshot().forgo(&ring), 0);
}
