//! What the kernel killed because memory ran out, as its cgroups count it.

use std::path::{Path, PathBuf};

/// Where the kernel counts what it kills in a process's cgroup: its own scope's, or that of the login it shares.
#[derive(Debug)]
pub struct MemoryCount(PathBuf);

/// The count for this process. `None` where nothing is counted: before version 2 of cgroups, and in one without a memory
/// controller.
pub fn memory() -> Option<MemoryCount> {
    let cgroup = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = cgroup.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let count = MemoryCount(Path::new("/sys/fs/cgroup").join(path).join("memory.events"));
    count.read().map(|_| count)
}

impl MemoryCount {
    /// How many processes the kernel has killed for memory; `None`: that cannot be seen now.
    pub fn read(&self) -> Option<u64> {
        killed(&std::fs::read_to_string(&self.0).ok()?)
    }
}

/// By a cgroup's `memory.events`.
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
}
