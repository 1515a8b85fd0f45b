//! Files and folders, read into a stream piece by piece.

use crate::reason;
use crate::wire::{PIECE, Part};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Folders in one another.
const DEPTH_MAX: usize = 200;

/// What is sent.
#[derive(Debug)]
pub enum Source {
    /// A file, or a folder with all that is in it. Links are followed, as `scp -r` does.
    Path(PathBuf),
    /// What an open file has from where it stands, under this name: stdin.
    Open(File, OsString),
}

#[derive(Debug)]
enum Step {
    Enter(PathBuf, OsString, usize),
    Up,
    Open(File, OsString),
}

/// Everything that is sent.
#[derive(Debug)]
pub struct Tree {
    /// What is to be done, the next last.
    steps: Vec<Step>,
    file: Option<(File, PathBuf)>,
    total: u64,
    begun: bool,
    ended: bool,
    /// Devices and numbers of the folders that are open: a link back to one would have no end.
    open: Vec<(u64, u64)>,
}

/// The name under which a path arrives.
///
/// # Errors
/// One that has none, such as `/`.
pub fn name_of(path: &Path) -> Result<OsString, String> {
    if let Some(name) = path.file_name() {
        return Ok(name.to_owned());
    }
    // `.` and `..` are called what they are.
    let real = fs::canonicalize(path).map_err(|error| format!("{}: {}", path.display(), reason(&error)))?;
    real.file_name().map(OsStr::to_owned).ok_or_else(|| format!("{}: it has no name", path.display()))
}

/// Bytes of the files in it, as far as they can be told.
fn size_of(path: &Path, depth: usize) -> u64 {
    let Ok(meta) = fs::metadata(path) else { return 0 };
    if !meta.is_dir() {
        return meta.len();
    }
    let entries = if depth < DEPTH_MAX { fs::read_dir(path).ok() } else { None };
    let real = |entry: &fs::DirEntry| entry.file_type().is_ok_and(|kind| !kind.is_symlink());
    entries.into_iter().flatten().flatten().filter(real).map(|entry| size_of(&entry.path(), depth + 1)).sum()
}

impl Tree {
    /// Of these. Each is looked at now, so that what is not there is said before anything begins.
    ///
    /// # Errors
    /// What cannot be read, and why.
    pub fn new(sources: Vec<Source>) -> Result<Self, String> {
        let (mut steps, mut total) = (Vec::new(), 0);
        for source in sources.into_iter().rev() {
            match source {
                Source::Open(file, name) => steps.push(Step::Open(file, name)),
                Source::Path(path) => {
                    let meta =
                        fs::metadata(&path).map_err(|e| format!("{}: {}", path.display(), reason(&e)))?;
                    // A pipe is opened once: whoever writes into it would find nobody there the second time.
                    if meta.is_file() {
                        File::open(&path).map_err(|e| format!("{}: {}", path.display(), reason(&e)))?;
                    }
                    total += size_of(&path, 0);
                    let name = name_of(&path)?;
                    steps.push(Step::Enter(path, name, 0));
                }
            }
        }
        Ok(Self { steps, file: None, total, begun: false, ended: false, open: Vec::new() })
    }

    /// Bytes of all files, as far as they could be told at the beginning.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Has everything been given?
    pub fn is_ended(&self) -> bool {
        self.ended
    }

    /// An open file that is read next, where reading may have to wait: stdin.
    pub fn waits_for(&self) -> Option<&File> {
        self.file.as_ref().filter(|(_, path)| path.as_os_str().is_empty()).map(|(file, _)| file)
    }

    /// Appends the next piece of the stream. What goes wrong is part of the stream, and its end.
    pub fn fill(&mut self, out: &mut Vec<u8>) {
        if let Err(why) = self.step(out) {
            if self.file.take().is_some() {
                Part::Cut.put(out);
            }
            Part::Failed(&why.as_bytes()[..why.len().min(1000)]).put(out);
            self.ended = true;
        }
    }

    fn step(&mut self, out: &mut Vec<u8>) -> Result<(), String> {
        if self.ended {
            return Ok(());
        }
        if !std::mem::replace(&mut self.begun, true) {
            Part::Total(self.total).put(out);
        }
        if let Some((file, path)) = &mut self.file {
            let mut piece = [0; PIECE];
            match file.read(&mut piece) {
                Ok(n) => {
                    Part::Bytes(&piece[..n]).put(out);
                    if n == 0 {
                        self.file = None;
                    }
                }
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock) => {}
                Err(error) => return Err(format!("{}: {}", path.display(), reason(&error))),
            }
            return Ok(());
        }
        match self.steps.pop() {
            None => {
                Part::End.put(out);
                self.ended = true;
            }
            Some(Step::Up) => {
                self.open.pop();
                Part::Up.put(out);
            }
            Some(Step::Open(file, name)) => {
                Part::File(0o666, 0, name.as_bytes()).put(out);
                self.file = Some((file, PathBuf::new()));
            }
            Some(Step::Enter(path, name, depth)) => {
                let failed = |error: io::Error| format!("{}: {}", path.display(), reason(&error));
                let meta = fs::metadata(&path).map_err(failed)?;
                let mode = meta.permissions().mode() & 0o777;
                if meta.is_dir() {
                    let id = (meta.dev(), meta.ino());
                    if depth >= DEPTH_MAX || self.open.contains(&id) {
                        return Err(format!("{}: it leads back into itself", path.display()));
                    }
                    self.open.push(id);
                    Part::Folder(mode, name.as_bytes()).put(out);
                    let inside = fs::read_dir(&path).map_err(failed)?;
                    self.steps.push(Step::Up);
                    for name in inside.flatten().map(|entry| entry.file_name()) {
                        self.steps.push(Step::Enter(path.join(&name), name, depth + 1));
                    }
                } else if meta.is_file() || depth == 0 {
                    let file = File::open(&path).map_err(failed)?;
                    Part::File(mode, meta.len(), name.as_bytes()).put(out);
                    self.file = Some((file, path));
                }
                // A socket or a device inside of a folder has no bytes of its own.
            }
        }
        Ok(())
    }
}
