//! What comes round: is the job idle, and has a cleaner taken something.

use super::{Holder, LOOK_MS, own_cgroup_text, warnings};
use crate::ending::Ending;
use crate::idle::{Depth, Processes};
use crate::procfs;
use sessd_proto::messages::EndReason;

/// How often our files are made to look used, for cleaners that go by age.
pub(super) const TOUCH_MS: u64 = 12 * 3_600_000;

impl Holder {
    pub(super) fn take_steps(&mut self, now: u64) {
        self.sweep(now);
        if now < self.look_due_ms {
            return;
        }
        if self.exit.is_none() {
            let worked = self.look(now);
            let (idle, said) = (self.idle.idle_ms(now) > 0, self.last_status.idle_ms > 0);
            if idle != said || (worked && idle) {
                // Now, and not in a moment: we are awake. Whoever was told that it is idle goes on counting.
                self.status_due_ms = Some(now);
            }
            if self.idle.is_due(now) {
                self.end(EndReason::Reaped, false, "", now);
            }
            if self.idle.warning_ms(now).is_some() != self.last_status.reap_at_ms.is_some() {
                self.status_soon(now);
            }
        }
        // Together with a look, so that an idle holder wakes once a minute and not twice.
        if now + LOOK_MS / 2 >= self.upkeep_due_ms {
            self.upkeep_due_ms = now + LOOK_MS;
            self.keep_up(now);
        }
        let look = self.idle.next_look_ms(now).filter(|_| self.ending.is_none() && self.exit.is_none());
        self.look_due_ms = look.map_or(self.upkeep_due_ms, |at| at.max(now + 1).min(self.upkeep_due_ms));
    }

    /// Looks at the job's processes; whether they have worked since the last look.
    pub(super) fn look(&mut self, now: u64) -> bool {
        let depth = self.idle.depth(now);
        self.idle.look(self.look_at_processes(depth), depth, now)
    }

    /// Something changed that may bring the next look forward.
    pub(super) fn look_no_later(&mut self, now: u64) {
        if let Some(at) = self.idle.next_look_ms(now).filter(|_| self.ending.is_none() && self.exit.is_none())
        {
            self.look_due_ms = self.look_due_ms.min(at);
        }
    }

    fn look_at_processes(&self, depth: Depth) -> Option<Processes> {
        let leader = procfs::stat(self.pid)?;
        let at_prompt = leader.state == 'S' && procfs::arguments(self.pid).is_some_and(|a| is_prompt(&a));
        let alone = || match depth {
            // Where the kernel does not list children, the thorough look decides.
            Depth::Shell => procfs::childless(self.pid) != Some(false),
            Depth::Session => {
                let all = procfs::family(self.leader, &[]);
                let family = Ending::new(EndReason::Reaped, false, 0).victims(&all, self.leader);
                family == [self.pid]
            }
        };
        Some(Processes { cpu: leader.cpu, bare_prompt: at_prompt && alone() })
    }

    /// Makes again what a cleaner took, and keeps what is there from looking old.
    pub(super) fn keep_up(&mut self, now: u64) {
        if self.exit.is_some() {
            // Whoever removes the folder of a job that has ended means it. A disk that was full may have room now.
            if !(self.exit_kept && self.screen_kept) {
                self.keep(|wanted| wanted.exit = true);
            }
            return;
        }
        self.keep(|wanted| wanted.parts = true);
        // The user may have done what they say; and what protected the job may be gone.
        self.warnings = warnings(&own_cgroup_text());
        if self.warnings_now() != self.last_status.warnings {
            self.status_soon(now);
        }
        if let Some(kills) = &mut self.memory_kills {
            kills.look(now);
        }
        if now >= self.touch_due_ms {
            self.touch_due_ms = now + TOUCH_MS;
            self.keep(|wanted| wanted.touch = true);
        }
    }
}

/// Is this a shell that reads its commands from the terminal? One that runs a script or `-c` is somebody's work.
fn is_prompt(arguments: &[String]) -> bool {
    const SHELLS: &[&str] = &[
        "sh", "bash", "zsh", "fish", "dash", "ksh", "mksh", "ash", "csh", "tcsh", "nu", "elvish", "xonsh",
        "pwsh", "busybox",
    ];
    let Some((program, rest)) = arguments.split_first() else { return false };
    let name = program.rsplit('/').next().unwrap_or(program).trim_start_matches('-');
    const HARMLESS: &[&str] =
        &["--login", "--interactive", "--norc", "--noprofile", "--posix", "--no-config"];
    let harmless = |a: &String| {
        HARMLESS.contains(&a.as_str()) || (a.starts_with('-') && !a.starts_with("--") && !a.contains('c'))
    };
    SHELLS.contains(&name) && rest.iter().all(harmless)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_is_a_shell_without_a_script() {
        let prompt = |words: &[&str]| is_prompt(&words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>());
        assert!(prompt(&["-bash"]));
        assert!(prompt(&["/usr/bin/zsh", "-i", "--login"]));
        assert!(!prompt(&["bash", "-c", "make"]));
        assert!(!prompt(&["bash", "-lc", "make"]));
        assert!(!prompt(&["nu", "--commands=make"]));
        assert!(!prompt(&["sh", "build.sh"]));
        assert!(!prompt(&["vim"]));
        assert!(!prompt(&[]));
    }
}
