//! Was it the kernel that killed the job, because memory ran out? A job that is killed cannot tell that from any other KILL.

use std::path::{Path, PathBuf};

/// How long before a job's end a kill counts as its end: a shell may outlive for a moment what it was started for. What
/// shares the job's cgroup may have been killed at any time.
const LATELY_MS: u64 = 5_000;

/// The kernel's count of what it killed in the job's cgroup: its own scope's, or that of the login it shares with others.
#[derive(Debug)]
pub struct MemoryKills {
    events: PathBuf,
    count: u64,
    /// When the count was last seen to have risen, by the holder's clock.
    risen_ms: Option<u64>,
}

impl MemoryKills {
    /// For a process whose `/proc/PID/cgroup` is `cgroup`. `None` where nothing is counted: before version 2 of cgroups,
    /// and in one without a memory controller.
    pub fn of(cgroup: &str) -> Option<Self> {
        let path = cgroup.lines().find_map(|line| line.strip_prefix("0::/"))?;
        let events = Path::new("/sys/fs/cgroup").join(path).join("memory.events");
        let count = killed(&std::fs::read_to_string(&events).ok()?)?;
        Some(Self { events, count, risen_ms: None })
    }

    /// Takes in what the kernel says now.
    pub fn look(&mut self, now_ms: u64) {
        if let Some(count) = std::fs::read_to_string(&self.events).ok().and_then(|events| killed(&events)) {
            self.counted(count, now_ms);
        }
    }

    fn counted(&mut self, count: u64, now_ms: u64) {
        if count > self.count {
            self.risen_ms = Some(now_ms);
        }
        self.count = count;
    }

    /// As of the last look: was something killed just now?
    pub fn lately(&self, now_ms: u64) -> bool {
        self.risen_ms.is_some_and(|at| now_ms.saturating_sub(at) <= LATELY_MS)
    }
}

/// How many processes the kernel has killed for memory, by a cgroup's `memory.events`.
fn killed(events: &str) -> Option<u64> {
    events.lines().find_map(|line| line.strip_prefix("oom_kill "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_read() {
        assert_eq!(killed("low 0\noom 3\noom_kill 2\noom_group_kill 0\n"), Some(2));
        assert_eq!(killed("low 0\n"), None);
    }

    #[test]
    fn a_child_killed_for_memory_is_not_the_reason_of_a_kill_ten_seconds_later() {
        let mut kills = MemoryKills { events: PathBuf::new(), count: 3, risen_ms: None };
        assert!(!kills.lately(1_000), "what was counted before the job is not its own");
        kills.counted(4, 2_000);
        assert!(kills.lately(2_000) && kills.lately(4_000));
        kills.counted(4, 12_000);
        assert!(!kills.lately(12_000));
        kills.counted(5, 13_000);
        assert!(kills.lately(13_000));
    }
}
