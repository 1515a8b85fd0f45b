//! Was it the system that killed the job, because memory ran out? A job that is killed cannot tell that from any other KILL.

/// How long before a job's end a kill counts as its end: a shell may outlive for a moment what it was started for. What
/// shares the job's count may have been killed at any time.
const LATELY_MS: u64 = 5_000;

/// The system's count of what it killed for memory where the job is.
#[derive(Debug, Default)]
pub struct MemoryKills {
    /// `None`: it was never seen.
    count: Option<u64>,
    /// When the count was last seen to have risen, by the holder's clock.
    risen_ms: Option<u64>,
}

impl MemoryKills {
    /// Takes in the count as it is now; `None`: it cannot be seen. What was counted before the first look is not the job's.
    pub fn counted(&mut self, count: Option<u64>, now_ms: u64) {
        let Some(count) = count else { return };
        if self.count.is_some_and(|before| count > before) {
            self.risen_ms = Some(now_ms);
        }
        self.count = Some(count);
    }

    /// As of the last look: was something killed just now?
    pub fn lately(&self, now_ms: u64) -> bool {
        self.risen_ms.is_some_and(|at| now_ms.saturating_sub(at) <= LATELY_MS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_killed_for_memory_is_not_the_reason_of_a_kill_ten_seconds_later() {
        let mut kills = MemoryKills::default();
        kills.counted(Some(3), 0);
        assert!(!kills.lately(1_000), "what was counted before the job is not its own");
        kills.counted(Some(4), 2_000);
        assert!(kills.lately(2_000) && kills.lately(4_000));
        kills.counted(None, 3_000);
        kills.counted(Some(4), 12_000);
        assert!(!kills.lately(12_000));
        kills.counted(Some(5), 13_000);
        assert!(kills.lately(13_000));
    }
}
