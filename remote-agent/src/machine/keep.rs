//! What is kept on disk. A disk may not answer, and a job does not wait for one: there is one task at a time, what is wanted
//! meanwhile is noted and not queued, so that nothing can pile up, and the next task does all of it as it is by then.

use super::{Effect, HolderMachine, Now};
use sessd_proto::messages::{ExitRecord, JobSpec, Screen};

/// How long a disk may take before it is said that it does.
pub const LATE_MS: u64 = 5_000;
/// How long the end of a job waits for its record to be on disk before it is told.
const TOLD_MS: u64 = 1_000;
/// What is said while it does not answer.
const LATE: &str = "the disk that the job's folder is on does not answer; the job runs on";

/// What is to be done.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// Make again what a cleaner took.
    pub parts: bool,
    /// Make what is there look used.
    pub touch: bool,
    /// Write what the job is called now.
    pub spec: bool,
    /// Write which managers have held it.
    pub managers: bool,
    /// Write its last words.
    pub exit: bool,
}

impl Wanted {
    /// This as well.
    pub(super) fn and(&mut self, more: Self) {
        self.parts |= more.parts;
        self.touch |= more.touch;
        self.spec |= more.spec;
        self.managers |= more.managers;
        self.exit |= more.exit;
    }
}

/// A copy of everything that a task needs of the job.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Keeping {
    /// What is to be done.
    pub wanted: Wanted,
    /// What was asked for, with its present name and tags.
    pub spec: JobSpec,
    /// Who has held it.
    pub managers: Vec<String>,
    /// The exit record, once there is one.
    pub exit: Option<ExitRecord>,
    /// The last screen, where it is wanted.
    pub screen: Option<Screen>,
}

/// What came of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Kept {
    /// The exit record, and the last screen, are on disk. `None`: they were not asked for.
    pub exit: Option<(bool, bool)>,
    /// What could not be done, and is tried again in a minute.
    pub failed: Wanted,
}

/// The one task, and what is to be done after it.
#[derive(Debug, Default)]
pub struct Keep {
    pub(super) wanted: Wanted,
    /// What failed: for the next round.
    pub(super) again: Wanted,
    /// Since when something is on its way.
    since_ms: Option<u64>,
    /// It was said that the disk does not answer.
    said: bool,
    /// Until when the end of the job is not told unless it is on disk.
    hold_exit_until_ms: Option<u64>,
}

impl Keep {
    /// When it is time to say that the disk does not answer, or to tell of the end all the same.
    pub fn due_ms(&self) -> Option<u64> {
        let late = self.since_ms.filter(|_| !self.said).map(|since| since + LATE_MS);
        late.into_iter().chain(self.hold_exit_until_ms).min()
    }

    /// The end may be told: it is on disk, or the disk takes too long.
    pub fn may_tell_exit(&self, now_ms: u64) -> bool {
        self.hold_exit_until_ms.is_none_or(|until| now_ms >= until)
    }

    /// What there is to warn of.
    pub fn warning(&self) -> Option<String> {
        self.said.then(|| LATE.to_owned())
    }

    /// Wants the last words to be on disk before they are told.
    pub(super) fn exit_is_wanted(&mut self, now_ms: u64) {
        self.hold_exit_until_ms = Some(now_ms + TOLD_MS);
        self.wanted.exit = true;
    }
}

impl HolderMachine {
    /// Begins what is wanted, and says that a disk does not answer.
    pub(super) fn go_on_keeping(&mut self, now: Now) {
        if self.keep.may_tell_exit(now.ms) {
            self.keep.hold_exit_until_ms = None;
        }
        let late = self.keep.since_ms.is_some_and(|since| now.ms >= since + LATE_MS);
        if late != self.keep.said {
            self.keep.said = late;
            self.status_soon(now);
        }
        if self.keep.since_ms.is_some() || self.keep.wanted == Wanted::default() {
            return;
        }
        let wanted = std::mem::take(&mut self.keep.wanted);
        self.keep.since_ms = Some(now.ms);
        self.effects.push_back(Effect::Keep(Box::new(Keeping {
            wanted,
            spec: self.job.spec.clone(),
            managers: self.job.managers.clone(),
            exit: self.exit.clone(),
            screen: if wanted.exit { self.last_screen() } else { None },
        })));
    }

    pub(super) fn was_kept(&mut self, kept: &Kept, now: Now) {
        self.keep.since_ms = None;
        self.keep.again.and(kept.failed);
        if let Some((exit, screen)) = kept.exit {
            (self.exit_kept, self.screen_kept) = (exit, screen);
            self.keep.hold_exit_until_ms = None;
        }
        self.go_on_keeping(now);
    }
}
