//! When to dial again: soon, then ever more slowly, never less often than once a minute, and never all at the same moment.

/// The delays between attempts. Chance comes from a seed, so that a test can repeat it.
#[derive(Debug, Clone)]
pub struct Backoff {
    failures: u32,
    seed: u64,
}

/// Longest time between two attempts, in milliseconds.
pub const MAX_MS: u64 = 60_000;
/// Times before the second attempt and the next ones, in milliseconds, at the most and a quarter less at the least. The first
/// attempt comes at once: a host that refuses is found soon or is away for long, and sees four in its first minute.
const REFUSED_MS: [u64; 4] = [1_000, 8_000, 24_000, MAX_MS];
/// The same for a host that does not answer at all: each attempt is a wait of its own, and nothing says that it is back.
const FIRST_SILENT_MS: u64 = 8_000;
/// An attempt that took as long as this met silence. A host that refuses (its sshd is restarting) does so within a round
/// trip.
const SILENT_MS: u64 = 1_000;

impl Backoff {
    /// No attempt failed yet.
    pub fn new(seed: u64) -> Self {
        Self { failures: 0, seed: seed | 1 }
    }

    /// An attempt failed after `took_ms`: how long to wait before the next, in milliseconds.
    pub fn failed(&mut self, took_ms: u64) -> u64 {
        let failures = self.failures as usize;
        let base = if took_ms < SILENT_MS {
            REFUSED_MS.get(failures).copied().unwrap_or(MAX_MS)
        } else {
            FIRST_SILENT_MS.saturating_mul(1 << failures.min(16)).min(MAX_MS)
        };
        self.failures = self.failures.saturating_add(1);
        self.about(base)
    }

    /// How long to wait after what is no failure, in milliseconds: as after the first, which this is not.
    pub fn first(&mut self) -> u64 {
        self.about(REFUSED_MS[0])
    }

    fn about(&mut self, base: u64) -> u64 {
        // xorshift64 (Marsaglia 2003): chance enough to spread attempts.
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        (base - base / 4 + self.seed % (base / 4 + 1)).min(MAX_MS)
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
    fn delays_grow_to_a_minute_and_begin_anew_after_a_reset() {
        for seed in 0..200 {
            let mut backoff = Backoff::new(seed);
            let delays: Vec<u64> = (0..20).map(|_| backoff.failed(1)).collect();
            assert!(delays.iter().all(|ms| (REFUSED_MS[0] / 2..=MAX_MS).contains(ms)));
            assert!(delays[12..].iter().all(|ms| *ms >= MAX_MS / 2));
            backoff.reset();
            assert!(backoff.failed(1) <= REFUSED_MS[0]);
        }
    }

    /// Attempts that begin within the first minute when each takes `took_ms`.
    fn attempts(seed: u64, took_ms: u64) -> usize {
        let (mut backoff, mut at, mut count) = (Backoff::new(seed), 0, 0);
        while at < 60_000 {
            count += 1;
            at += took_ms + backoff.failed(took_ms);
        }
        count
    }

    #[test]
    fn a_host_sees_four_attempts_in_its_first_minute_whether_it_refuses_or_is_silent() {
        for seed in 0..200 {
            for took_ms in [1, 500, 1_000, 5_000, 10_000, 30_000, 120_000] {
                assert!(attempts(seed, took_ms) <= 4, "{took_ms}");
            }
            let mut backoff = Backoff::new(seed);
            let first: u64 = (0..2).map(|_| backoff.failed(5)).sum();
            assert!(first <= 9_000, "a restarted sshd is found within seconds: {first}");
        }
    }
}
