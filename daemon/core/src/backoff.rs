//! When to dial again: soon, then ever more slowly, never less often than once a minute, and never all at the same moment.

/// The delays between attempts. Chance comes from a seed, so that a test can repeat it.
#[derive(Debug, Clone)]
pub struct Backoff {
    failures: u32,
    seed: u64,
}

/// Longest time between two attempts, in milliseconds.
pub const MAX_MS: u64 = 60_000;
/// Time before the second attempt, in milliseconds. The first comes at once.
const FIRST_MS: u64 = 250;

impl Backoff {
    /// No attempt failed yet.
    pub fn new(seed: u64) -> Self {
        Self { failures: 0, seed: seed | 1 }
    }

    /// An attempt failed: how long to wait before the next, in milliseconds.
    pub fn failed(&mut self) -> u64 {
        let base = FIRST_MS.saturating_mul(1 << self.failures.min(16)).min(MAX_MS);
        self.failures = self.failures.saturating_add(1);
        // xorshift64 (Marsaglia 2003): chance enough to spread attempts.
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        (base / 2 + self.seed % (base / 2 + 1)).min(MAX_MS)
    }

    /// An attempt succeeded, the machine woke, the network changed, or a person asks: begin anew.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_a_minute_and_a_dead_host_sees_few_attempts_in_its_first_minute() {
        for seed in 0..200 {
            let mut backoff = Backoff::new(seed);
            let delays: Vec<u64> = (0..20).map(|_| backoff.failed()).collect();
            assert!(delays.iter().all(|ms| (FIRST_MS / 2..=MAX_MS).contains(ms)));
            assert!(delays[12..].iter().all(|ms| *ms >= MAX_MS / 2));
            backoff.reset();
            assert!(backoff.failed() <= FIRST_MS);
        }
    }
}
