//! How long a key takes to the job and back.

use std::collections::VecDeque;

/// Keys on their way that are timed at a time.
const TIMED_MAX: usize = 32;
/// The shortest of so many counts: a job that is slow to answer says nothing of the way there.
const SAMPLES: usize = 8;
/// Fewer say nothing.
const SAMPLES_MIN: usize = 3;

/// Times keys, in milliseconds.
#[derive(Debug, Default)]
pub(super) struct Trip {
    timed: VecDeque<(u64, u64)>,
    samples: VecDeque<u64>,
}

impl Trip {
    /// What was typed up to `seq` goes on its way.
    pub(super) fn typed(&mut self, seq: u64, now_ms: u64) {
        if self.timed.len() < TIMED_MAX {
            self.timed.push_back((seq, now_ms));
        }
    }

    /// The word came back that what was typed up to `seq` is written.
    pub(super) fn written(&mut self, seq: u64, now_ms: u64) {
        let mut sample = None;
        while let Some((_, at)) = self.timed.pop_front_if(|(typed, _)| *typed <= seq) {
            // Of those that are told together, the last one waited least.
            sample = Some(now_ms.saturating_sub(at));
        }
        if let Some(sample) = sample {
            if self.samples.len() == SAMPLES {
                self.samples.pop_front();
            }
            self.samples.push_back(sample);
        }
    }

    /// The way is another, or was broken: what is on it says nothing.
    pub(super) fn broken(&mut self) {
        self.timed.clear();
    }

    /// How long it takes, in milliseconds; none: not known yet.
    pub(super) fn ms(&self) -> Option<u64> {
        self.samples.iter().min().copied().filter(|_| self.samples.len() >= SAMPLES_MIN)
    }
}

/// On above one bound, off below another.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hysteresis {
    on: u64,
    off: u64,
    is_on: bool,
}

impl Hysteresis {
    pub(super) const fn new(on: u64, off: u64) -> Self {
        Self { on, off, is_on: false }
    }

    /// `may_end`: now is no bad time for it.
    pub(super) fn update(&mut self, ms: Option<u64>, may_end: bool) {
        let Some(ms) = ms else { return };
        self.is_on = ms > self.on || (self.is_on && !(ms <= self.off && may_end));
    }

    pub(super) fn is_on(self) -> bool {
        self.is_on
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_is_as_long_as_the_fastest_of_the_last_keys_found_it() {
        let mut trip = Trip::default();
        for (seq, back) in [(1, 80), (2, 51), (3, 300)] {
            assert_eq!(trip.ms(), None);
            trip.typed(seq, 1_000);
            trip.written(seq, 1_000 + back);
        }
        assert_eq!(trip.ms(), Some(51));
        for seq in 4..12 {
            trip.typed(seq, 2_000);
            trip.written(seq, 2_020);
        }
        assert_eq!(trip.ms(), Some(20), "it is another network by now");
        trip.typed(12, 3_000);
        trip.broken();
        trip.written(12, 3_001);
        assert_eq!(trip.ms(), Some(20), "what was sent again was not timed");
    }

    #[test]
    fn what_is_on_goes_on_until_it_is_clearly_not_needed() {
        let mut shown = Hysteresis::new(30, 20);
        for (ms, may_end, want) in [
            (30, true, false),
            (31, true, true),
            (25, true, true),
            (20, false, true),
            (20, true, false),
            (30, true, false),
        ] {
            shown.update(Some(ms), may_end);
            assert_eq!(shown.is_on(), want, "{ms}");
        }
    }
}
