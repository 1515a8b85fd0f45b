//! What the holder keeps on disk. A disk may not answer, and a job does not wait for one: everything that touches the job's
//! folder is done beside the loop, one task at a time. What is wanted meanwhile is noted and not queued, so that nothing
//! can pile up, and the next task does all of it as it is by then.

use super::{Holder, SOCKET, bind};
use crate::detach;
use crate::disk::Disk;
use crate::folder::{HolderMark, JobFolder, fault};
use crate::upkeep::{self, Id, Parts};
use sessd_proto::messages::{ExitRecord, JobSpec, Screen};
use std::fs::File;
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixListener;

/// How long a disk may take before it is said that it does.
const LATE_MS: u64 = 5_000;
/// How long the end of a job waits for its record to be on disk before it is told.
const TOLD_MS: u64 = 1_000;
/// What is said while it does not answer.
const LATE: &str = "the disk that the job's folder is on does not answer; the job runs on";

/// What is to be done.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Make again what a cleaner took.
    pub(super) parts: bool,
    /// Make what is there look used.
    pub(super) touch: bool,
    /// Write what the job is called now.
    pub(super) spec: bool,
    /// Write which managers have held it.
    pub(super) managers: bool,
    /// Write its last words.
    pub(super) exit: bool,
}

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Kept {
    lock: Option<File>,
    socket: Option<(UnixListener, Option<Id>)>,
    /// The exit record, and the last screen, are on disk. `None`: they were not asked for.
    exit: Option<(bool, bool)>,
}

/// The one task, and what is to be done after it.
pub(super) struct Keep {
    disk: Disk<Kept>,
    wanted: Wanted,
    /// Since when something is on its way.
    since_ms: Option<u64>,
    /// It was said that the disk does not answer.
    said: bool,
    /// Until when the end of the job is not told unless it is on disk.
    hold_exit_until_ms: u64,
}

/// A copy of everything that a task needs.
struct Task {
    wanted: Wanted,
    folder: JobFolder,
    spec: JobSpec,
    mark: HolderMark,
    managers: Vec<String>,
    exit: Option<ExitRecord>,
    screen: Option<Screen>,
    lock: Option<Id>,
    socket: Option<Id>,
}

impl Keep {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            disk: Disk::new(1)?,
            wanted: Wanted::default(),
            since_ms: None,
            said: false,
            hold_exit_until_ms: 0,
        })
    }

    /// To be watched for reading, while something is on its way.
    pub(super) fn watched(&self) -> Option<BorrowedFd<'_>> {
        self.since_ms.is_some().then(|| self.disk.watched())
    }

    /// When it is time to say that the disk does not answer, or to tell of the end all the same.
    pub(super) fn due_ms(&self, now: u64) -> Option<u64> {
        let late = self.since_ms.filter(|_| !self.said).map(|since| since + LATE_MS);
        let exit = Some(self.hold_exit_until_ms).filter(|until| now < *until);
        late.into_iter().chain(exit).min()
    }

    /// The end may be told: it is on disk, or the disk takes too long.
    pub(super) fn may_tell_exit(&self, now: u64) -> bool {
        now >= self.hold_exit_until_ms
    }

    /// What there is to warn of.
    pub(super) fn warning(&self) -> Option<String> {
        self.said.then(|| LATE.to_owned())
    }
}

impl Holder {
    /// Wants something to be on disk.
    pub(super) fn keep(&mut self, want: impl FnOnce(&mut Wanted)) {
        want(&mut self.keep.wanted);
    }

    /// Wants the last words to be on disk before they are told.
    pub(super) fn keep_exit(&mut self, now: u64) {
        self.keep.hold_exit_until_ms = now + TOLD_MS;
        self.keep.wanted.exit = true;
    }

    /// Takes what was done, and begins what is wanted.
    pub(super) fn go_on_keeping(&mut self, now: u64) {
        if self.keep.since_ms.is_some() {
            let done = self.keep.disk.done();
            for (_, kept) in done {
                self.keep.since_ms = None;
                self.was_kept(kept, now);
            }
        }
        let late = self.keep.since_ms.is_some_and(|since| now >= since + LATE_MS);
        if late != self.keep.said {
            self.keep.said = late;
            self.status_soon(now);
        }
        if self.keep.since_ms.is_some() || self.keep.wanted == Wanted::default() {
            return;
        }
        let wanted = std::mem::take(&mut self.keep.wanted);
        let task = Task {
            wanted,
            folder: self.folder.clone(),
            spec: self.spec.clone(),
            mark: self.mark.clone(),
            managers: self.managers.clone(),
            exit: self.exit.clone(),
            screen: if wanted.exit { self.last_screen() } else { None },
            lock: self.lock.metadata().ok().map(|meta| Id::from(&meta)),
            socket: self.socket,
        };
        match self.keep.disk.put(move || task.run()) {
            Some(_) => self.keep.since_ms = Some(now),
            // There is one task at the most, and room for it.
            None => self.keep.wanted = wanted,
        }
    }

    fn was_kept(&mut self, kept: Kept, now: u64) {
        if let Some(lock) = kept.lock {
            self.lock = lock;
        }
        if let Some((listener, id)) = kept.socket {
            (self.listener, self.socket) = (listener, id);
        }
        if let Some((exit, screen)) = kept.exit {
            (self.exit_kept, self.screen_kept) = (exit, screen);
            self.keep.hold_exit_until_ms = now;
        }
    }
}

impl Task {
    /// What fails is tried again in a minute: the disk may be full, or away.
    fn run(self) -> Kept {
        let mut kept = Kept::default();
        if self.wanted.parts {
            let _ = self.make_again(&mut kept);
        }
        if self.wanted.touch {
            self.folder.touch();
        }
        if self.wanted.spec {
            // The manager keeps what its user said. Ours is for whoever adopts the job.
            let _ = self.folder.write_spec(&self.spec);
        }
        if self.wanted.managers && self.folder.write_managers(&self.managers).is_err() && self.exit.is_none()
        {
            // Made again within a minute.
            let _ = std::fs::remove_file(self.folder.path().join("managers"));
        }
        if self.wanted.exit {
            kept.exit = Some(self.keep_exit());
        }
        kept
    }

    /// Writes the last words to disk; whether the record, and whether the screen, is there now.
    fn keep_exit(&self) -> (bool, bool) {
        let Some(exit) = &self.exit else { return (false, false) };
        // The folder, if a cleaner took it just before the end.
        let record = self.folder.make().and_then(|()| {
            if self.folder.spec()?.is_none() {
                self.folder.write_spec(&self.spec)?;
                self.folder.write_mark(&self.mark)?;
                self.folder.write_managers(&self.managers)?;
            }
            self.folder.write_exit(exit)
        });
        let screen = self.screen.as_ref().is_none_or(|screen| self.folder.write_screen(screen).is_ok());
        (record.is_ok(), screen)
    }

    fn make_again(&self, kept: &mut Kept) -> io::Result<()> {
        let path = self.folder.path();
        let at = |name: &str| upkeep::at(&path.join(name));
        let there = Parts {
            folder: upkeep::at(path)? == Some(Id::from(&std::fs::metadata(".")?)),
            lock: at("lock")? == self.lock,
            spec: at("spec")?.is_some(),
            mark: at("holder")?.is_some(),
            managers: at("managers")?.is_some(),
            socket: self.socket.is_some() && at(SOCKET)? == self.socket,
        };
        let missing = upkeep::missing(there);
        if missing.folder {
            self.folder.make()?;
            // The whole process's: a socket is bound in it by its name alone.
            std::env::set_current_dir(path)?;
        }
        if missing.lock {
            // Nobody else may have it: the agent starts no job whose folder says that it was started.
            kept.lock = Some(self.folder.try_lock()?.ok_or_else(|| fault(detach::HELD))?);
        }
        if missing.spec {
            self.folder.write_spec(&self.spec)?;
        }
        if missing.mark {
            self.folder.write_mark(&self.mark)?;
        }
        if missing.managers {
            self.folder.write_managers(&self.managers)?;
        }
        if missing.socket {
            kept.socket = Some(bind()?);
        }
        Ok(())
    }
}
