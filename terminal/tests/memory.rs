//! Memory is bounded by the size, whatever is fed: measured at the allocator.

#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use sessd_terminal::{Hub, Size, SnapshotOptions};

#[path = "../testkit/bombs.rs"]
mod bombs;

/// What a session may take, in bytes: at the sizes that people have, and at the largest that there may be.
const SESSION: usize = 16 << 20;
const LARGEST_SESSION: usize = 24 << 20;
/// What a snapshot may take beside it: 8 MB of scrollback, and screens of cells that all look different.
const SNAPSHOT: usize = 16 << 20;
/// Lines of scrollback, and bytes of the ring, of a holder and of a replica.
const LINES: usize = 10_000;
const RING: usize = 4 << 20;

/// Counts what is allocated now, and the most that was.
struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

fn grown(by: usize) {
    let now = NOW.fetch_add(by, Relaxed) + by;
    PEAK.fetch_max(now, Relaxed);
}

// SAFETY: all is passed on to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grown(layout.size());
        // SAFETY: as our caller promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as our caller promised.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        grown(size);
        NOW.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as our caller promised.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The most that was allocated while `act` ran, beyond what was before.
fn peak_of<T>(act: impl FnOnce() -> T) -> (usize, T) {
    let before = NOW.load(Relaxed);
    PEAK.store(before, Relaxed);
    let out = act();
    (PEAK.load(Relaxed) - before, out)
}

/// One test, or others would be counted with it.
#[test]
fn a_session_of_bombs_takes_16_mb_at_the_most() {
    let plain = "2026-11-21T10:00:00.000 INFO  a line of a log, of about eighty columns and no more\r\n"
        .repeat(60_000);
    let sizes = [(80, 24), (200, 60), (300, 80), (1000, 160), (160, 1000)];
    let (mut most, mut most_said) = ((0, ""), (0, ""));
    for (cols, rows) in sizes {
        let size = Size { cols, rows };
        let mut full = Hub::new(size, LINES, RING);
        full.feed(plain.as_bytes());
        for (name, start, again) in bombs::bombs() {
            let bytes = bombs::stream(&start, &again, 256 << 10);
            let (peak, hub) = peak_of(|| {
                let mut hub = full.clone();
                let end = hub.terminal().cost() + 12_000_000;
                let mut rest = &bytes[..];
                while !rest.is_empty() && hub.terminal().cost() < end {
                    let n = hub.feed_within(rest, 1_000_000);
                    rest = &rest[n..];
                }
                hub.resize(Size { cols: cols / 2, rows });
                hub.resize(size);
                hub
            });
            most = most.max((peak, name));
            let largest = u32::from(cols) * u32::from(rows) == Size::MAX_CELLS;
            let bound = if largest { LARGEST_SESSION } else { SESSION };
            assert!(peak <= bound, "{name} at {size:?}: {peak} bytes");
            let (said, _) = peak_of(|| {
                let mut out = Vec::new();
                let all = SnapshotOptions { scrollback_lines: LINES, ..SnapshotOptions::default() };
                hub.terminal().snapshot(all, &mut out);
            });
            most_said = most_said.max((said, name));
            assert!(said <= SNAPSHOT, "a snapshot of {name} at {size:?}: {said} bytes");
        }
    }
    println!("at most {most:?} bytes, and a snapshot {most_said:?}");
}
