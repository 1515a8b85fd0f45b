//! Carrying out what the holder keeps on disk, beside its loop: everything here may wait for a disk for as long as it likes.

use super::hold::{AGENT_SOCKET, SOCKET, bind};
use crate::io::detach;
use crate::io::folder::{HolderMark, JobFolder, fault};
use crate::io::upkeep::{self, Id, Parts};
use crate::machine::keep::{Keeping, Wanted};
use std::fs::File;
use std::io;
use std::os::unix::net::UnixListener;

/// A copy of everything that is needed.
pub struct Task {
    /// What is wanted, and what it is written from.
    pub keeping: Keeping,
    /// Where.
    pub folder: JobFolder,
    /// Who holds the job.
    pub mark: HolderMark,
    /// The lock file that we hold the lock of.
    pub lock: Id,
    /// One that we held before: to let go of it is said to the disk, too.
    pub old_lock: Option<File>,
    /// The socket that we listen on.
    pub socket: Option<Id>,
    /// The one at which the job's programs find their ssh-agent. `None`: they have none.
    pub agent: Option<Option<Id>>,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Done {
    /// The lock, where it was taken anew.
    pub lock: Option<(File, Id)>,
    /// The socket, where it was made anew.
    pub socket: Option<(UnixListener, Option<Id>)>,
    /// The same of the job's ssh-agent.
    pub agent: Option<(UnixListener, Option<Id>)>,
    /// The exit record, and the last screen, are on disk. `None`: they were not asked for.
    pub exit: Option<(bool, bool)>,
    /// What could not be done: the disk may be full, or away.
    pub failed: Wanted,
}

impl Task {
    /// Does all of it.
    pub fn run(self) -> Done {
        let (mut done, wanted) = (Done::default(), self.keeping.wanted);
        if wanted.parts {
            // In a minute it is looked at again.
            let _ = self.make_again(&mut done);
        }
        if wanted.touch {
            self.folder.touch();
        }
        if wanted.spec {
            done.failed.spec = self.folder.write_spec(&self.keeping.spec).is_err();
        }
        if wanted.managers {
            done.failed.managers = self.folder.write_managers(&self.keeping.managers).is_err();
        }
        if wanted.exit {
            done.exit = Some(self.keep_exit());
        }
        done
    }

    /// Writes the last words to disk; whether the record, and whether the screen, is there now.
    fn keep_exit(&self) -> (bool, bool) {
        let Some(exit) = &self.keeping.exit else { return (false, false) };
        // The folder, if a cleaner took it just before the end.
        let record = self.folder.make().and_then(|()| {
            if self.folder.spec()?.is_none() {
                self.folder.write_spec(&self.keeping.spec)?;
                self.folder.write_mark(&self.mark)?;
                self.folder.write_managers(&self.keeping.managers)?;
            }
            self.folder.write_exit(exit)
        });
        let screen =
            self.keeping.screen.as_ref().is_none_or(|screen| self.folder.write_screen(screen).is_ok());
        (record.is_ok(), screen)
    }

    fn make_again(&self, done: &mut Done) -> io::Result<()> {
        let path = self.folder.path();
        let at = |name: &str| upkeep::at(&path.join(name));
        let there = Parts {
            folder: upkeep::at(path)? == Some(Id::from(&std::fs::metadata(".")?)),
            lock: at("lock")? == Some(self.lock),
            spec: at("spec")?.is_some(),
            mark: at("holder")?.is_some(),
            managers: at("managers")?.is_some(),
            socket: self.socket.is_some() && at(SOCKET)? == self.socket,
            agent: match self.agent {
                Some(id) => id.is_some() && at(AGENT_SOCKET)? == id,
                None => true,
            },
        };
        let missing = upkeep::missing(there);
        if missing.folder {
            self.folder.make()?;
            // The whole process's: a socket is bound in it by its name alone.
            std::env::set_current_dir(path)?;
        }
        if missing.lock {
            // Nobody else may have it: the agent starts no job whose folder says that it was started.
            let lock = self.folder.try_lock()?.ok_or_else(|| fault(detach::HELD))?;
            let id = Id::from(&lock.metadata()?);
            done.lock = Some((lock, id));
        }
        if missing.spec {
            self.folder.write_spec(&self.keeping.spec)?;
        }
        if missing.mark {
            self.folder.write_mark(&self.mark)?;
        }
        if missing.managers {
            self.folder.write_managers(&self.keeping.managers)?;
        }
        if missing.socket {
            done.socket = Some(bind(SOCKET)?);
        }
        if missing.agent && self.agent.is_some() {
            done.agent = Some(bind(AGENT_SOCKET)?);
        }
        Ok(())
    }
}
