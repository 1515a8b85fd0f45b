//! What comes round by the clock: is the job idle, what is its status, has a cleaner taken something.

use super::{Effect, HolderMachine, Now, Observed};
use crate::VERSION;
use crate::machine::idle::{Depth, Processes};
use sessd_proto::Frame;
use sessd_proto::limits::{PLAIN_INPUT_WINDOW, TEXT_SHOWN_MAX};
use sessd_proto::messages::{EndReason, JobStatus};

/// Shortest time between two status messages.
pub(super) const STATUS_MS: u64 = 500;
/// How often to look whether somebody cleaned our socket or folder away.
pub(super) const LOOK_MS: u64 = 60_000;
/// How often our files are made to look used, for cleaners that go by age.
pub(super) const TOUCH_MS: u64 = 12 * 3_600_000;

impl HolderMachine {
    pub(super) fn take_rounds(&mut self, now: Now) {
        if now.ms < self.look_due_ms {
            return;
        }
        // Together with a look, so that an idle holder wakes once a minute and not twice.
        if now.ms + LOOK_MS / 2 >= self.upkeep_due_ms {
            self.upkeep_due_ms = now.ms + LOOK_MS;
            self.keep_up(now);
        }
        // Until the look says better.
        self.look_due_ms = self.upkeep_due_ms;
        if self.exit.is_none() {
            self.effects.push_back(Effect::Inspect { depth: self.idle.depth(now.ms), round: true });
        }
    }

    pub(super) fn inspected(&mut self, seen: Option<Processes>, depth: Depth, round: bool, now: Now) {
        let worked = self.idle.look(seen, depth, now.ms);
        if !round || self.exit.is_some() {
            return;
        }
        let (idle, said) = (self.idle.idle_ms(now.ms) > 0, self.last_status.idle_ms > 0);
        if idle != said || (worked && idle) {
            // Now, and not in a moment: we are awake. Whoever was told that it is idle goes on counting.
            self.status_due_ms = Some(now.ms);
        }
        if self.idle.is_due(now.ms) {
            self.end(EndReason::Reaped, false, "", now);
        }
        if self.idle.warning_ms(now.ms).is_some() != self.last_status.reap_at_ms.is_some() {
            self.status_soon(now);
        }
        let look = self.idle.next_look_ms(now.ms).filter(|_| self.ending.is_none());
        self.look_due_ms = look.map_or(self.upkeep_due_ms, |at| at.max(now.ms + 1).min(self.upkeep_due_ms));
    }

    /// Something changed that may bring the next look forward.
    pub(super) fn look_no_later(&mut self, now: Now) {
        if let Some(at) =
            self.idle.next_look_ms(now.ms).filter(|_| self.ending.is_none() && self.exit.is_none())
        {
            self.look_due_ms = self.look_due_ms.min(at);
        }
    }

    /// Makes again what a cleaner took, and keeps what is there from looking old.
    fn keep_up(&mut self, now: Now) {
        if self.exit.is_some() {
            // Whoever removes the folder of a job that has ended means it. A disk that was full may have room now.
            self.keep.wanted.exit |= !(self.exit_kept && self.screen_kept);
            return;
        }
        let again = std::mem::take(&mut self.keep.again);
        self.keep.wanted.and(again);
        self.keep.wanted.parts = true;
        // The user may have done what they say; and what protected the job may be gone.
        self.effects.push_back(Effect::Warn);
        if now.ms >= self.touch_due_ms {
            self.touch_due_ms = now.ms + TOUCH_MS;
            self.keep.wanted.touch = true;
        }
    }

    /// A status is put together where one is due: to all links in its time, and to one that has just said what it wants. Of a
    /// job that has ended there is nothing to say but how, after its last bytes.
    pub(super) fn ask_for_status(&mut self, now: Now) {
        let to_all = self.status_due_ms.is_some_and(|at| now.ms >= at);
        let first = self.links.iter().any(|link| link.watch.status_due);
        if self.exit.is_some() && self.may_tell_plain_end(now) {
            self.status_due_ms = None;
            self.links.iter_mut().for_each(|link| link.watch.status_due = false);
        } else if let Some(for_all) = &mut self.observing {
            if to_all {
                (*for_all, self.status_due_ms) = (true, None);
            }
        } else if to_all || first {
            self.observing = Some(to_all);
            if to_all {
                self.status_due_ms = None;
            }
            if !self.idle.is_watched() {
                // What was typed or written since the last look may have begun something, or been its end.
                self.effects.push_back(Effect::Inspect { depth: self.idle.depth(now.ms), round: false });
            }
            self.effects.push_back(Effect::Observe);
        }
    }

    pub(super) fn observed(&mut self, seen: Observed, now: Now) {
        self.memory.counted(seen.memory_kills, now.ms);
        self.activity.hides(seen.hides, now.ms);
        // While the end of a plain job waits for its reader, that it ran is all that can be told.
        let untold = self.exit.is_none() || !self.may_tell_plain_end(now);
        let Some(to_all) = self.observing.take().filter(|_| untold) else { return };
        let status = self.status(seen, now);
        for link in &mut self.links {
            if std::mem::take(&mut link.watch.status_due) || to_all {
                link.out.put(0, &Frame::Status(status.clone()));
            }
        }
        self.last_status = status;
    }

    fn status(&self, seen: Observed, now: Now) -> JobStatus {
        let terminal = self.hub.terminal();
        let size = terminal.size();
        JobStatus {
            head: self.hub.head(),
            oldest: self.hub.oldest(),
            cols: size.cols.into(),
            rows: size.rows.into(),
            title: shown(terminal.title()),
            cwd: terminal.cwd().map(shown).or(seen.cwd).unwrap_or_default(),
            foreground: seen.foreground.unwrap_or_default(),
            pid: self.job.leader.0,
            last_active_ms: now.wall_ms.saturating_sub(now.steady_ms.saturating_sub(self.active_at_ms)),
            idle_ms: self.idle.idle_ms(now.ms),
            reap_at_ms: self.idle.warning_ms(now.ms).map(|ms| now.wall_ms + ms),
            agent_version: VERSION.to_owned(),
            command: self.job.command.clone(),
            managers: self.managers_now(),
            warnings: self.warnings_now(),
            socket: self.job.socket.clone(),
            now_ms: now.wall_ms,
            activity: Some(self.doing(now)),
            queued: self.queue.len() as u32,
            input_window: if self.job.spec.plain { PLAIN_INPUT_WINDOW } else { 0 },
        }
    }
}

/// As much of a text as a status carries.
fn shown(text: &str) -> String {
    text[..text.floor_char_boundary(TEXT_SHOWN_MAX)].to_owned()
}
