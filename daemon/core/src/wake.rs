//! Has this machine slept? A regular tick compares the wall clock and the monotonic one, which may or may not stand still
//! meanwhile: whichever went on much further than the tick tells.

/// Further than a tick is ever late on a loaded machine, in milliseconds.
pub const GAP_MS: i64 = 10_000;

/// The last tick.
#[derive(Debug, Clone, Copy)]
pub struct Wake {
    wall_ms: i64,
    monotonic_ms: i64,
}

impl Wake {
    /// Begins to watch.
    pub fn new(wall_ms: i64, monotonic_ms: i64) -> Self {
        Self { wall_ms, monotonic_ms }
    }

    /// A tick, due `every_ms` after the last. True when the machine slept, or was stopped, in between. A wall clock that
    /// was set back says nothing; one set forward looks like sleep, and looking after the links once more harms nobody.
    pub fn tick(&mut self, wall_ms: i64, monotonic_ms: i64, every_ms: i64) -> bool {
        let slept =
            (wall_ms.saturating_sub(self.wall_ms)).max(monotonic_ms.saturating_sub(self.monotonic_ms));
        *self = Self { wall_ms, monotonic_ms };
        slept > every_ms.saturating_add(GAP_MS)
    }
}

/// Has this machine slept between two looks at how long it slept in all since it was started, in milliseconds?
pub fn has_slept(before_ms: i64, now_ms: i64) -> bool {
    // Two clocks are not read in one moment.
    now_ms.saturating_sub(before_ms) >= 500
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_set_is_no_sleep() {
        assert!(!has_slept(70_000, 70_020));
        assert!(has_slept(70_000, 71_000));
    }

    #[test]
    fn sleep_is_noticed_by_either_clock_and_lateness_is_not_sleep() {
        let mut wake = Wake::new(1_000_000, 0);
        assert!(!wake.tick(1_005_000, 5_000, 5_000));
        assert!(!wake.tick(1_018_000, 18_000, 5_000), "a late tick");
        assert!(wake.tick(9_000_000, 23_000, 5_000), "the monotonic clock stood still");
        assert!(!wake.tick(9_005_000, 28_000, 5_000), "once");
        assert!(wake.tick(9_105_000, 128_000, 5_000), "it ran on, as for a stopped process");
        assert!(!wake.tick(1_000, 133_000, 5_000), "the clock was set back");
        assert!(!wake.tick(6_000, 138_000, 5_000));
    }
}
