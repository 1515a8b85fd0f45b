//! Ending a job: HUP, then TERM, then KILL of all its processes. Pure: time is an argument, signals are values.
//!
//! The job's first process is often the first to go (a shell ends at HUP); what it leaves behind is ended by the same
//! steps, and the job counts as ended when nothing of it is alive.

use crate::machine::process::{Ident, Process};
use sessd_proto::messages::EndReason;

/// How long a job has after HUP, and again after TERM, in milliseconds.
pub const GRACE_MS: u64 = 2_000;
/// Time between two rounds of KILL, in milliseconds.
const KILL_MS: u64 = 200;
/// Rounds of KILL before a process that does not go (it waits in the kernel for a dead disk) is left to the kernel, which
/// ends it as soon as it can.
const KILLS_MAX: u32 = 25;

/// The steps, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// SIGHUP and SIGCONT: the terminal is gone.
    Hangup,
    /// SIGTERM and SIGCONT.
    Terminate,
    /// SIGKILL.
    Kill,
}

/// An ending under way.
#[derive(Debug, Clone)]
pub struct Ending {
    /// Who wanted it, for the exit record.
    pub reason: EndReason,
    next: Step,
    due_ms: u64,
    kills: u32,
    /// Every process that was found to belong to the job, by number and start time.
    known: Vec<Ident>,
}

impl Ending {
    /// Begins at `now_ms`; `force` goes straight to KILL.
    pub fn new(reason: EndReason, force: bool, now_ms: u64) -> Self {
        let next = if force { Step::Kill } else { Step::Hangup };
        Self { reason, next, due_ms: now_ms, kills: 0, known: Vec::new() }
    }

    /// Asked again: a `force` makes it quicker, nothing makes it slower, and the first reason stays.
    pub fn hurry(&mut self, force: bool, now_ms: u64) {
        if force && self.next != Step::Kill {
            (self.next, self.due_ms) = (Step::Kill, now_ms);
        }
    }

    /// The step that is due, once.
    pub fn step(&mut self, now_ms: u64) -> Option<Step> {
        if now_ms < self.due_ms || self.kills >= KILLS_MAX {
            return None;
        }
        let step = self.next;
        self.due_ms = now_ms + if step == Step::Kill { KILL_MS } else { GRACE_MS };
        self.next = match step {
            Step::Hangup => Step::Terminate,
            Step::Terminate => Step::Kill,
            // A process that is born while we kill: once more, until the job is gone.
            Step::Kill => {
                self.kills += 1;
                Step::Kill
            }
        };
        Some(step)
    }

    /// When the next step is due.
    pub fn due_ms(&self) -> u64 {
        self.due_ms
    }

    /// Nothing more will be tried.
    pub fn given_up(&self) -> bool {
        self.kills >= KILLS_MAX
    }

    /// What was found to belong to the job, by number and start time.
    pub fn known(&self) -> &[Ident] {
        &self.known
    }

    /// Which of `all` belong to the job and live: the POSIX session of `leader`, what was found before, and whatever
    /// descends from those. What was found once is followed even after it lost its parent or made a session of its own.
    /// Numbers are given again, so start times count, too: when the leader's is another process's, the session is as well.
    pub fn victims(&mut self, all: &[Process], leader: Ident) -> Vec<u32> {
        let known = &self.known;
        let session_is_ours = !all.iter().any(|p| p.pid == leader.0 && p.start != leader.1);
        let ours = |p: &Process| (session_is_ours && p.session == leader.0) || known.contains(&p.ident());
        let mut found: Vec<&Process> = all.iter().filter(|p| ours(p)).collect();
        let mut looked_at = 0;
        while let Some(parent) = found.get(looked_at).map(|p| p.pid) {
            looked_at += 1;
            for child in all.iter().filter(|p| p.parent == parent) {
                if !found.iter().any(|p| p.pid == child.pid) {
                    found.push(child);
                }
            }
        }
        // One that is dead and only waits for its parent to notice has no harm in it.
        found.retain(|p| !p.dead);
        self.known = found.iter().map(|p| p.ident()).collect();
        found.iter().map(|p| p.pid).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hangup_then_term_then_kill_each_after_its_grace() {
        let mut ending = Ending::new(EndReason::Deleted, false, 100);
        assert_eq!(ending.step(100), Some(Step::Hangup));
        assert_eq!(ending.step(100), None);
        assert_eq!(ending.step(100 + GRACE_MS), Some(Step::Terminate));
        assert_eq!(ending.step(100 + 2 * GRACE_MS), Some(Step::Kill));
        assert_eq!(ending.step(100 + 2 * GRACE_MS + KILL_MS), Some(Step::Kill));
        let mut now = 100 + 2 * GRACE_MS + KILL_MS;
        while !ending.given_up() {
            now += KILL_MS;
            assert_eq!(ending.step(now), Some(Step::Kill));
        }
        assert_eq!(ending.step(now + 60_000), None, "what the kernel cannot end is not waited for forever");
    }

    #[test]
    fn force_goes_straight_to_kill_and_the_first_reason_stays() {
        let mut ending = Ending::new(EndReason::Reaped, false, 0);
        assert_eq!(ending.step(0), Some(Step::Hangup));
        ending.hurry(true, 1);
        assert_eq!((ending.step(1), ending.reason), (Some(Step::Kill), EndReason::Reaped));
    }

    fn process(pid: u32, parent: u32, session: u32, state: char) -> Process {
        let (waits, dead, start) = (state == 'S', state == 'Z', u64::from(pid) * 10);
        Process { pid, name: String::new(), waits, dead, parent, session, cpu: 0, start }
    }

    #[test]
    fn all_of_the_session_is_found_and_followed_and_nothing_else() {
        let mut ending = Ending::new(EndReason::Deleted, false, 0);
        let all = [
            process(1, 0, 1, 'S'),
            process(10, 5, 10, 'S'),  // the shell
            process(11, 10, 10, 'T'), // a stopped job
            process(12, 1, 10, 'S'),  // a background child whose parent is gone
            process(13, 11, 13, 'S'), // a grandchild with a session of its own
            process(14, 10, 10, 'Z'),
            process(20, 5, 20, 'S'),
        ];
        assert_eq!(ending.victims(&all, (10, 100)), [10, 11, 12, 13]);
        // The shell and the stopped job are gone; their number may be anybody's, so only start times count.
        let all = [
            process(1, 0, 1, 'S'),
            process(13, 1, 13, 'S'),
            process(30, 13, 13, 'S'),
            Process { start: 999, ..process(12, 1, 12, 'S') },
        ];
        assert_eq!(
            ending.victims(&all, (10, 100)),
            [13, 30],
            "followed without its parent, and what it starts"
        );
        let reused = [
            process(1, 0, 1, 'S'),
            Process { start: 999, ..process(10, 5, 10, 'S') },
            process(40, 10, 10, 'S'),
        ];
        assert_eq!(
            ending.victims(&reused, (10, 100)),
            [] as [u32; 0],
            "the leader's number is another's now"
        );
        assert_eq!(ending.victims(&[process(1, 0, 1, 'S')], (10, 100)), [] as [u32; 0]);
    }
}
