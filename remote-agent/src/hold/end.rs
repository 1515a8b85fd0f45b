//! The job's end: on request or by itself, its processes, and its last words on disk.

use super::{Holder, snapshot_options};
use crate::ending::{Ending, Step};
use crate::{procfs, steady_ms, wall_ms};
use rustix::process::{Pid, Signal};
use sessd_proto::messages::{EndReason, ExitRecord, Screen};
use std::os::unix::process::ExitStatusExt;

/// How long to wait for more output of a program that has ended, when its terminal is still open elsewhere.
pub(super) const DRAIN_MS: u64 = 100;
/// How long an ended job's holder waits for a manager that wants its last bytes.
const LINGER_MS: u64 = 3_600_000;
/// How long the others have to take their last bytes once one manager has the exit record.
const LEAVE_MS: u64 = 2_000;
/// Characters of the name of whoever ends the job.
const BY_MAX: usize = 96;
/// Lines of scrollback kept with the last screen: as many of these as fit into [`LAST_SCREEN_MAX`].
const LAST_SCREEN_LINES: [usize; 5] = [1_000, 500, 200, 50, 0];
/// Most bytes of a last screen.
const LAST_SCREEN_MAX: usize = 512 * 1024;

impl Holder {
    /// `by`: who wants it, as people call them; empty: not known.
    pub(super) fn end(&mut self, reason: EndReason, force: bool, by: &str, now: u64) {
        if self.status.is_some() {
            return;
        }
        match &mut self.ending {
            Some(ending) => ending.hurry(force, now),
            None => {
                let what = if reason == EndReason::Restarted { "restarted" } else { "deleted" };
                let by: String = by.chars().filter(|c| !c.is_control()).take(BY_MAX).collect();
                self.ended_by = if by.is_empty() { by } else { format!("{what} by {by}") };
                self.ending = Some(Ending::new(reason, force, now));
            }
        }
    }

    /// The program's end is noticed here and nowhere else. `told`: the descriptor that tells of the program's end has something to say.
    pub(super) fn reap_child(&mut self, told: bool, now: u64) {
        // Asked only when there is a reason to: it would be a system call more for every key.
        let reason = told || self.exit_watch.is_none() || !self.pty_open;
        if self.status.is_none()
            && reason
            && let Ok(Some(status)) = self.pty.child.try_wait()
        {
            self.status = Some(status);
            self.drain_until_ms = Some(now + DRAIN_MS);
        }
    }

    /// Ends what is to be ended: the program, and what it leaves behind.
    pub(super) fn sweep(&mut self, now: u64) {
        let Some(ending) = self.ending.as_mut().filter(|_| !self.swept) else { return };
        if let Some(step) = ending.step(now) {
            let family = procfs::family(self.leader, ending.known());
            for pid in ending.victims(&family, self.leader) {
                signal(pid, step);
            }
            if self.status.is_none() {
                // Where there is no /proc: at least the program itself.
                signal(self.pid, step);
            }
        }
        if self.status.is_some() {
            self.swept = ending.given_up() || {
                let family = procfs::family(self.leader, ending.known());
                ending.victims(&family, self.leader).is_empty()
            };
        }
    }

    /// Nothing is left to be ended.
    pub(super) fn is_swept(&self) -> bool {
        self.swept || self.ending.is_none()
    }

    /// Once the program has ended and its last bytes are read: what is left of it goes to disk.
    pub(super) fn finish_exit(&mut self, now: u64) {
        let Some(status) = self.status.filter(|_| self.exit.is_none()) else { return };
        if !self.is_swept() || (self.pty_open && self.drain_until_ms.is_some_and(|until| now < until)) {
            return;
        }
        if self.may_feed() {
            return;
        }
        self.feed_the_rest();
        self.hub.flush_held();
        let (code, killed_by) = (status.code(), status.signal());
        let reason = match &self.ending {
            Some(ending) => ending.reason,
            None if killed_by.is_some() => EndReason::Signaled,
            None => EndReason::Exited,
        };
        let out_of_memory = self.ending.is_none()
            && (killed_by == Some(Signal::KILL.as_raw()) || code == Some(128 + Signal::KILL.as_raw()))
            && self.memory_kills.as_mut().is_some_and(|kills| {
                kills.look(now);
                kills.lately(now)
            });
        let trouble = match &self.ending {
            _ if out_of_memory => "killed: out of memory",
            Some(ending) if ending.given_up() => "some of its processes could not be ended",
            _ => "",
        };
        let detail = match (self.ended_by.as_str(), trouble) {
            ("", one) | (one, "") => one.to_owned(),
            (by, trouble) => format!("{by}; {trouble}"),
        };
        let exit = ExitRecord {
            reason: reason as i32,
            code,
            signal: killed_by,
            at_ms: wall_ms(),
            final_offset: self.hub.head(),
            detail,
            out_of_memory,
            screen: None,
            age_ms: None,
        };
        self.exit = Some(exit);
        self.ended_at_ms = steady_ms();
        // A full disk, or one that does not answer, must not keep them from a manager that is connected: it is told in any
        // case, the screen included, and they are written as soon as there is room.
        self.keep_exit(now);
        self.leave_at_ms = Some(now + LINGER_MS);
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
    pub(super) fn exit_acked(&mut self, now: u64) {
        if self.exit.is_some() && (self.exit_kept || self.managers.len() <= 1) {
            self.leave_at_ms = Some(self.leave_at_ms.unwrap_or(u64::MAX).min(now + LEAVE_MS));
        }
    }

    pub(super) fn may_leave(&self, now: u64) -> bool {
        self.leave_at_ms.is_some_and(|at| now >= at || (at - now <= LEAVE_MS && self.links.is_empty()))
    }
}

fn signal(pid: u32, step: Step) {
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return };
    // A process that is gone already is what we want.
    let _ = match step {
        Step::Hangup => {
            let _ = rustix::process::kill_process(pid, Signal::HUP);
            // A stopped job must run to take its signal.
            rustix::process::kill_process(pid, Signal::CONT)
        }
        Step::Terminate => {
            let _ = rustix::process::kill_process(pid, Signal::TERM);
            rustix::process::kill_process(pid, Signal::CONT)
        }
        Step::Kill => rustix::process::kill_process(pid, Signal::KILL),
    };
}
