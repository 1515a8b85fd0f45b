//! A value that somebody else is told: only when it changed, the newest, and no more often than it can be of use.

/// What to do about a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tell {
    /// Tell it.
    Now,
    /// Ask again then: it was told another a moment ago.
    At(u64),
    /// It was told.
    Not,
}

/// The value that was told last, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Paced<T> {
    told: Option<T>,
    last_ms: Option<u64>,
    gap_ms: u64,
}

impl<T: Copy + PartialEq> Paced<T> {
    /// Nothing was told yet; from one to the next at least `gap_ms`.
    pub fn new(gap_ms: u64) -> Self {
        Self { told: None, last_ms: None, gap_ms }
    }

    /// It is to be `value` from now on: is that to be told? After [`Tell::Now`] it counts as told.
    pub fn tell(&mut self, value: T, now_ms: u64) -> Tell {
        if self.told == Some(value) {
            return Tell::Not;
        }
        if let Some(at) = self.last_ms.map(|last| last.saturating_add(self.gap_ms)).filter(|at| *at > now_ms)
        {
            return Tell::At(at);
        }
        (self.told, self.last_ms) = (Some(value), Some(now_ms));
        Tell::Now
    }

    /// The next one is told at once, however soon it comes.
    pub fn hurry(&mut self) {
        self.last_ms = None;
    }

    /// Whoever was told may have another value now.
    pub fn forget(&mut self) {
        self.told = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storm_is_told_as_its_last_value() {
        let mut size = Paced::new(20);
        assert_eq!(size.tell(1, 100), Tell::Now);
        assert_eq!(size.tell(1, 101), Tell::Not);
        let mut told = 0;
        for n in 2..1000 {
            match size.tell(n, 100 + n / 10) {
                Tell::Now => told += 1,
                Tell::At(at) => assert!(at > 100 + n / 10),
                Tell::Not => panic!("{n} is another"),
            }
        }
        assert!(told <= 5, "{told} in 100 ms");
        assert_eq!(size.tell(999, 1000), Tell::Now, "the last is told in the end");
        assert_eq!(size.tell(7, 1001), Tell::At(1020));
        size.hurry();
        assert_eq!(size.tell(7, 1001), Tell::Now);
        assert_eq!(size.tell(999, 1500), Tell::Now);
        size.forget();
        assert_eq!(size.tell(999, 2000), Tell::Now, "it may have changed there");
    }
}
