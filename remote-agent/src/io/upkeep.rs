//! What of a job's folder is still there, and what has to be made again: cleaners of temporary or old files take a socket,
//! a file or the whole folder from under a job that lives. The decision is pure; the holder carries it out once a minute.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// One file, told apart from another one under the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Id {
    device: u64,
    inode: u64,
}

impl From<&Metadata> for Id {
    fn from(meta: &Metadata) -> Self {
        Self { device: meta.dev(), inode: meta.ino() }
    }
}

/// What is at a path: `None` is nothing.
///
/// # Errors
/// When that cannot be told, which is evidence of nothing.
pub fn at(path: &Path) -> io::Result<Option<Id>> {
    match std::fs::symlink_metadata(path) {
        Ok(meta) => Ok(Some(Id::from(&meta))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The parts of a job's folder that the holder keeps up. In `Seen`: is it there, and is it ours?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Parts {
    /// The folder itself.
    pub folder: bool,
    /// The lock file that we hold the lock of.
    pub lock: bool,
    /// What was asked for.
    pub spec: bool,
    /// Who holds the job.
    pub mark: bool,
    /// Who has held the job.
    pub managers: bool,
    /// The socket we listen on.
    pub socket: bool,
    /// The one at which the job's programs find their ssh-agent, where they have one.
    pub agent: bool,
}

/// Which parts have to be made again, given which are there.
pub fn missing(there: Parts) -> Parts {
    // In another folder nothing is ours, whatever it is called: somebody made it after ours was taken.
    let gone = |part: bool| !there.folder || !part;
    Parts {
        folder: !there.folder,
        lock: gone(there.lock),
        spec: gone(there.spec),
        mark: gone(there.mark),
        managers: gone(there.managers),
        socket: gone(there.socket),
        agent: gone(there.agent),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Parts =
        Parts { folder: true, lock: true, spec: true, mark: true, managers: true, socket: true, agent: true };
    const NONE: Parts = Parts {
        folder: false,
        lock: false,
        spec: false,
        mark: false,
        managers: false,
        socket: false,
        agent: false,
    };

    #[test]
    fn what_is_missing_is_made_again_and_with_the_folder_everything() {
        assert_eq!(missing(ALL), NONE);
        assert_eq!(missing(NONE), ALL);
        assert_eq!(missing(Parts { folder: false, ..ALL }), ALL);
        assert_eq!(missing(Parts { socket: false, ..ALL }), Parts { socket: true, ..NONE });
        assert_eq!(missing(Parts { agent: false, ..ALL }), Parts { agent: true, ..NONE });
        assert_eq!(
            missing(Parts { lock: false, mark: false, ..ALL }),
            Parts { lock: true, mark: true, ..NONE }
        );
    }

    #[test]
    fn a_file_made_again_under_the_same_name_is_another() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        assert_eq!(at(&path).unwrap(), None);
        std::fs::write(&path, "").unwrap();
        let kept = std::fs::File::open(&path).unwrap();
        let id = at(&path).unwrap().unwrap();
        assert_eq!(id, Id::from(&kept.metadata().unwrap()));
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "").unwrap();
        assert_ne!(at(&path).unwrap(), Some(id));
    }
}
