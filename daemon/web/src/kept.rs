//! The keyring's file in the state folder: ours alone, locked while it is changed, so that `sessd web tokens` and any number of
//! servers mean the same browsers.

use crate::keyring::{Keyring, Secret};
use sessd_base::files;
use sessd_base::paths::Paths;
use sessd_proto::docs::{Error, Result};
use std::fs::File;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::SystemTime;

/// Longest file that is read, in bytes.
const MAX: u64 = 1 << 20;

/// Which file was read: one that took its place within a tick of the clock is another.
type Which = ((u64, u64), Option<SystemTime>);

/// Where it is.
#[derive(Debug)]
pub(crate) struct Kept {
    path: PathBuf,
    /// As it was read last.
    read: Mutex<Option<(Which, Keyring)>>,
}

fn cannot(path: &std::path::Path, why: &io::Error) -> Error {
    Error::failed(
        format!("{} cannot be used ({why})", path.display()),
        "make it yours alone, or remove it: every browser then needs a new address",
    )
}

/// Seconds since the epoch.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

impl Kept {
    /// The one of this state folder, which is made.
    ///
    /// # Errors
    /// When the folder cannot be used.
    pub(crate) fn of(paths: &Paths) -> Result<Self> {
        paths.make()?;
        Ok(Self { path: paths.state().join("web.json"), read: Mutex::new(None) })
    }

    fn load(&self) -> io::Result<Keyring> {
        match files::read_text(&self.path, MAX) {
            // One that cannot be understood lets nobody in.
            Ok(text) => Ok(serde_json::from_str(&text).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Keyring::default()),
            Err(error) => Err(error),
        }
    }

    /// The keyring as it is now.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&Keyring) -> T) -> T {
        let mut read = self.read.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let which =
            std::fs::metadata(&self.path).map(|meta| (files::identity(&meta), meta.modified().ok())).ok();
        match (&*read, which) {
            (Some((known, _)), Some(which)) if *known == which => {}
            (_, Some(which)) => *read = self.load().ok().map(|ring| (which, ring)),
            // What is taken away lets nobody in.
            (_, None) => *read = None,
        }
        match &*read {
            Some((_, ring)) => look(ring),
            None => look(&Keyring::default()),
        }
    }

    /// A token was printed at `now`.
    ///
    /// # Errors
    /// As [`Self::change`].
    pub(crate) fn issue(&self, token: &Secret, read_only: bool, now: u64) -> Result<()> {
        let issue = |ring: &mut Keyring| {
            ring.issue(token, read_only, now);
            Some(())
        };
        self.change(issue).map(|_| ())
    }

    /// Changes it; nothing is written where `change` says so by `None`.
    ///
    /// # Errors
    /// When it cannot be read or written.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Keyring) -> Option<T>) -> Result<Option<T>> {
        let wrap = |error: io::Error| cannot(&self.path, &error);
        let lock = self.path.with_extension("lock");
        let guard = files::open_private(&lock, File::options().write(true).create(true).truncate(false))
            .map_err(wrap)?;
        guard.lock().map_err(wrap)?;
        let mut ring = self.load().map_err(wrap)?;
        let Some(result) = change(&mut ring) else { return Ok(None) };
        let next = self.path.with_extension("new");
        let written = || -> io::Result<()> {
            let mut file =
                files::open_private(&next, File::options().write(true).create(true).truncate(true))?;
            file.write_all(&serde_json::to_vec(&ring)?)?;
            file.sync_all()?;
            std::fs::rename(&next, &self.path)
        };
        written().map_err(wrap)?;
        *self.read.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = None;
        Ok(Some(result))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn two_that_look_at_one_file_know_the_same_and_it_is_nobody_elses() {
        let folder = tempfile::tempdir().unwrap();
        let kept = || Kept { path: folder.path().join("web.json"), read: Mutex::new(None) };
        let (one, other) = (kept(), kept());
        let (token, cookie) = (Secret::new().unwrap(), Secret::new().unwrap());
        assert_eq!(other.look(|ring| ring.browsers(0).len()), 0);
        one.issue(&token, false, 0).unwrap();
        let admitted = other.change(|ring| ring.admit(token.shown(), &cookie, "", 0).then_some(())).unwrap();
        assert_eq!(admitted, Some(()));
        assert!(one.look(|ring| ring.who(cookie.shown(), 0).is_some()));
        let mode = std::fs::metadata(folder.path().join("web.json")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        one.change(|ring| Some(ring.revoke(None))).unwrap();
        assert!(other.look(|ring| ring.who(cookie.shown(), 0).is_none()));
        std::fs::write(folder.path().join("web.json"), "{").unwrap();
        assert!(one.look(|ring| ring.who(cookie.shown(), 0).is_none()));
    }
}
