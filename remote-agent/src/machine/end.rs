//! The job's end: on request or by itself, its processes, and its last words.

use super::{Effect, Exit, HolderMachine, Now, snapshot_options};
use crate::machine::ending::Ending;
use crate::machine::process::Process;
use sessd_proto::messages::{EndReason, ExitRecord, Screen};

/// How long to wait for more output of a program that has ended, when its terminal is still open elsewhere.
pub(super) const DRAIN_MS: u64 = 100;
/// How long an ended job's holder waits for a manager that wants its last bytes.
const LINGER_MS: u64 = 3_600_000;
/// How long the others have to take their last bytes once one manager has the exit record.
const LEAVE_MS: u64 = 2_000;
/// How often to look whether what is left is gone, once the job's first process is.
const FAMILY_MS: u64 = 50;
/// Characters of the name of whoever ends the job.
const BY_MAX: usize = 96;
/// Lines of scrollback kept with the last screen: as many of these as fit into [`LAST_SCREEN_MAX`].
const LAST_SCREEN_LINES: [usize; 5] = [1_000, 500, 200, 50, 0];
/// Most bytes of a last screen.
const LAST_SCREEN_MAX: usize = 512 * 1024;
/// SIGKILL, as POSIX numbers it.
const KILL: i32 = 9;

impl HolderMachine {
    /// `by`: who wants it, as people call them; empty: not known.
    pub(super) fn end(&mut self, reason: EndReason, force: bool, by: &str, now: Now) {
        if self.ended.is_some() {
            return;
        }
        match &mut self.ending {
            Some(ending) => ending.hurry(force, now.ms),
            None => {
                let what = if reason == EndReason::Restarted { "restarted" } else { "deleted" };
                let by: String = by.chars().filter(|c| !c.is_control()).take(BY_MAX).collect();
                self.ended_by = if by.is_empty() { by } else { format!("{what} by {by}") };
                self.ending = Some(Ending::new(reason, force, now.ms));
            }
        }
    }

    pub(super) fn program_ended(&mut self, exit: Exit, now: Now) {
        if self.ended.is_none() {
            self.ended = Some(exit);
            self.drain_until_ms = Some(now.ms + DRAIN_MS);
        }
    }

    /// Ends what is to be ended: the program, and what it leaves behind.
    pub(super) fn sweep(&mut self, now: Now) {
        let gone = self.ended.is_some();
        let Some(ending) = self.ending.as_mut().filter(|_| !(self.swept || self.family_asked)) else {
            return;
        };
        if let Some(step) = ending.step(now.ms) {
            self.step = Some(step);
        }
        if self.step.is_some() || (gone && now.ms >= self.family_due_ms) {
            self.family_due_ms = now.ms + FAMILY_MS;
            self.family_asked = true;
            self.effects.push_back(Effect::Family(ending.known().to_vec()));
        }
    }

    /// Whoever belongs to the job gets the signal whose time it is. With nobody left the job is swept; where processes cannot
    /// be seen, nothing says that nobody is.
    pub(super) fn found_family(&mut self, family: Option<Vec<Process>>) {
        self.family_asked = false;
        let leader = self.job.leader;
        let Some(ending) = &mut self.ending else { return };
        let victims = family.map(|family| ending.victims(&family, leader));
        if let Some(step) = self.step.take() {
            let mut pids = victims.clone().unwrap_or_default();
            // Before it was waited for its number is nobody else's.
            if self.ended.is_none() && !pids.contains(&leader.0) {
                pids.push(leader.0);
            }
            self.effects.extend(pids.into_iter().map(|pid| Effect::Signal(pid, step)));
        }
        if self.ended.is_some() {
            self.unseen = victims.is_none();
            self.swept = ending.given_up() || victims.is_some_and(|victims| victims.is_empty());
        }
    }

    /// Nothing is left to be ended.
    pub(super) fn is_swept(&self) -> bool {
        self.swept || self.ending.is_none()
    }

    /// Once the program has ended and its last bytes are read: what is left of it is kept.
    pub(super) fn finish_exit(&mut self, now: Now) {
        let Some(ended) = self.ended.filter(|_| self.exit.is_none()) else { return };
        if !self.is_swept() || (self.pty_open && self.drain_until_ms.is_some_and(|until| now.ms < until)) {
            return;
        }
        if self.job.spec.plain && self.pty_open && self.held_back() {
            // What it wrote last waits for whoever reads it.
            self.drain_until_ms = Some(now.ms + DRAIN_MS);
            return;
        }
        if self.may_feed() {
            return;
        }
        self.feed_the_rest(now);
        self.hub.flush_held();
        let reason = match &self.ending {
            Some(ending) => ending.reason,
            None if ended.signal.is_some() => EndReason::Signaled,
            None => EndReason::Exited,
        };
        let out_of_memory = self.ending.is_none()
            && (ended.signal == Some(KILL) || ended.code == Some(128 + KILL))
            && self.memory.lately(now.ms);
        let trouble = match &self.ending {
            _ if out_of_memory => "killed: out of memory",
            Some(ending) if ending.given_up() && self.unseen => {
                "whether all of its processes ended could not be seen"
            }
            Some(ending) if ending.given_up() => "some of its processes could not be ended",
            _ => "",
        };
        let detail = match (self.ended_by.as_str(), trouble) {
            ("", one) | (one, "") => one.to_owned(),
            (by, trouble) => format!("{by}; {trouble}"),
        };
        self.exit = Some(ExitRecord {
            reason: reason as i32,
            code: ended.code,
            signal: ended.signal,
            at_ms: now.wall_ms,
            final_offset: self.hub.head(),
            detail,
            out_of_memory,
            screen: None,
            age_ms: None,
        });
        self.ended_at_ms = now.steady_ms;
        // A full disk, or one that does not answer, must not keep them from a manager that is connected: it is told in any
        // case, the screen included, and they are written as soon as there is room.
        self.keep.exit_is_wanted(now.ms);
        self.leave_at_ms = Some(now.ms + LINGER_MS);
        self.status_due_ms = None;
    }

    /// The screen with as much of its scrollback as fits.
    pub(super) fn last_screen(&self) -> Option<Screen> {
        let (terminal, mut snapshot) = (self.hub.terminal(), Vec::new());
        for lines in LAST_SCREEN_LINES {
            snapshot.clear();
            terminal.snapshot(snapshot_options(lines), &mut snapshot);
            if snapshot.len() <= LAST_SCREEN_MAX {
                let size = terminal.size();
                return Some(Screen { snapshot, cols: size.cols.into(), rows: size.rows.into() });
            }
        }
        None
    }

    /// The last word as it is told: with the screen where the disk did not take it.
    pub(super) fn told_exit(&self) -> Option<ExitRecord> {
        let exit = self.exit.clone()?;
        let screen = if self.screen_kept { None } else { self.last_screen() };
        Some(ExitRecord { screen, ..exit })
    }

    /// A manager has the exit record. One that is not on disk is kept for the others as long as we can.
    pub(super) fn exit_acked(&mut self, now: Now) {
        if self.exit.is_some() && (self.exit_kept || self.job.managers.len() <= 1) {
            self.leave_at_ms = Some(self.leave_at_ms.unwrap_or(u64::MAX).min(now.ms + LEAVE_MS));
        }
    }

    pub(super) fn may_leave(&self, now: Now) -> bool {
        self.leave_at_ms.is_some_and(|at| now.ms >= at || (at - now.ms <= LEAVE_MS && self.links.is_empty()))
    }
}
