//! A small store of what may be done at once: so many times in a row, and again as time goes by.

/// A bucket of turns: what is not used is kept up to a bound.
#[derive(Debug, Clone)]
pub struct Budget {
    /// Turns that it holds at the most.
    most: u64,
    /// A turn comes back after so many milliseconds.
    each_ms: u64,
    /// What has been used, as the time it takes to come back, in milliseconds, at `at`.
    used: u64,
    at: u64,
}

impl Budget {
    /// A full one of `most` turns, each of which comes back after `each_ms` milliseconds.
    pub const fn new(most: u64, each_ms: u64) -> Self {
        Self { most, each_ms, used: 0, at: 0 }
    }

    /// Takes a turn at `now`, in milliseconds by a clock that never goes back, if one is left.
    pub fn take(&mut self, now: u64) -> bool {
        if self.ready_at(now) > now {
            return false;
        }
        self.used = self.used.saturating_sub(now.saturating_sub(self.at)) + self.each_ms;
        self.at = now;
        true
    }

    /// When a turn is there: `now`, if one is left.
    pub fn ready_at(&self, now: u64) -> u64 {
        let used = self.used.saturating_sub(now.saturating_sub(self.at));
        now + (used + self.each_ms).saturating_sub(self.most * self.each_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_in_a_row_and_then_one_after_the_other() {
        let mut budget = Budget::new(3, 100);
        assert_eq!([0; 4].map(|now| budget.take(now)), [true, true, true, false]);
        assert_eq!(budget.ready_at(0), 100);
        assert_eq!([99, 100, 101, 199, 200].map(|now| budget.take(now)), [false, true, false, false, true]);
        let taken = (300..1_300).filter(|now| budget.take(*now)).count();
        assert_eq!(taken, 10);
        assert_eq!(
            [9_000; 4].map(|now| budget.take(now)),
            [true, true, true, false],
            "no more than it holds"
        );
    }
}
