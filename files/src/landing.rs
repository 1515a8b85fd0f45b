//! A stream of files, written. A file gets its name when it is whole; one that did not become so leaves nothing.

use crate::reason;
use crate::wire::{Part, Reader};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
#[cfg(target_os = "linux")]
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// What was written.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Landed {
    /// The files and folders that were named, by their full paths.
    pub paths: Vec<PathBuf>,
    /// Bytes of all files.
    pub bytes: u64,
}

/// A file on its way to its name.
#[derive(Debug)]
struct Writing {
    file: File,
    until: Until,
    path: PathBuf,
    mode: u32,
}

/// What a file has for a name until it is whole.
#[derive(Debug)]
enum Until {
    /// None: should we be killed, nothing of it is left.
    Nameless,
    /// Another in the same folder, where its file system knows no files without one.
    Named(PathBuf),
    /// Its own: what has that name already is no file (a pipe, a device), or it is whole.
    Itself,
}

impl Drop for Writing {
    fn drop(&mut self) {
        if let Until::Named(part) = &self.until {
            // It did not become whole.
            let _ = fs::remove_file(part);
        }
    }
}

/// Where a stream is written to.
#[derive(Debug)]
pub struct Landing {
    reader: Reader,
    dest: PathBuf,
    /// Names that the first level has, whatever the stream says; none: as the stream says.
    names: Option<std::vec::IntoIter<OsString>>,
    /// It is a folder, and everything goes into it.
    into: bool,
    /// Folders that are open, with the mode that each gets when it is complete.
    folders: Vec<(PathBuf, u32)>,
    file: Option<Writing>,
    landed: Landed,
    total: u64,
    ended: bool,
    /// It was the sender that failed.
    senders: bool,
}

fn failed(path: &Path) -> impl Fn(io::Error) -> String + '_ {
    move |error| format!("{}: {}", path.display(), reason(&error))
}

impl Landing {
    /// To `dest`: into it, if it is a folder or is written as one (`x/`), else under that name. `several`: it has to be one.
    /// `names`: those that the first level gets.
    ///
    /// # Errors
    /// When it cannot be.
    pub fn new(dest: &Path, several: bool, names: Option<Vec<OsString>>) -> Result<Self, String> {
        let is_folder = fs::metadata(dest).is_ok_and(|meta| meta.is_dir());
        let meant = dest.as_os_str().as_bytes().ends_with(b"/");
        if !is_folder && (several || meant) {
            return Err(format!("{} is no folder", dest.display()));
        }
        let dest = if dest.as_os_str().is_empty() { PathBuf::from(".") } else { dest.to_owned() };
        Ok(Self {
            reader: Reader::default(),
            dest,
            names: names.map(Vec::into_iter),
            into: is_folder,
            folders: Vec::new(),
            file: None,
            landed: Landed::default(),
            total: 0,
            ended: false,
            senders: false,
        })
    }

    /// Did what went wrong go wrong at the sender's?
    pub fn is_senders_failure(&self) -> bool {
        self.senders
    }

    /// Bytes so far, and in all as far as known.
    pub fn progress(&self) -> (u64, u64) {
        (self.landed.bytes, self.total)
    }

    /// More of the stream.
    ///
    /// # Errors
    /// What went wrong, here or there; nothing more is to come.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), String> {
        let mut reader = std::mem::take(&mut self.reader);
        reader.push(bytes);
        let result = loop {
            match reader.next_part() {
                Ok(None) => break Ok(()),
                Ok(Some(part)) => {
                    if let Err(why) = self.take(part) {
                        break Err(why);
                    }
                }
                Err(_) => break Err("what comes is no stream of files".to_owned()),
            }
        };
        self.reader = reader;
        result
    }

    fn path_for(&mut self, name: &[u8]) -> Result<PathBuf, String> {
        if let Some((folder, _)) = self.folders.last() {
            return Ok(folder.join(OsStr::from_bytes(name)));
        }
        let name = match &mut self.names {
            Some(names) => names.next().ok_or("more came than was asked for")?,
            None => OsStr::from_bytes(name).to_owned(),
        };
        let path = if self.into { self.dest.join(name) } else { self.dest.clone() };
        if !self.into && !self.landed.paths.is_empty() {
            return Err(format!("{} is no folder", self.dest.display()));
        }
        let path = std::env::current_dir().map_or_else(|_| path.clone(), |here| here.join(&path));
        // Without the dots on the way.
        let path: PathBuf = path.components().collect();
        self.landed.paths.push(path.clone());
        Ok(path)
    }

    fn take(&mut self, part: Part<'_>) -> Result<(), String> {
        if self.ended {
            return Err("something follows behind the end".to_owned());
        }
        match part {
            Part::Total(bytes) => self.total = bytes,
            Part::Folder(mode, name) => {
                let path = self.path_for(name)?;
                match fs::create_dir(&path) {
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
                    made => made.map_err(failed(&path))?,
                }
                // Until it is complete it has to be written to.
                fs::set_permissions(&path, Permissions::from_mode(mode | 0o700)).map_err(failed(&path))?;
                self.folders.push((path, mode));
            }
            Part::Up => {
                let (path, mode) = self.folders.pop().ok_or("more folders end than began")?;
                fs::set_permissions(&path, Permissions::from_mode(mode & 0o777)).map_err(failed(&path))?;
            }
            Part::File(mode, _, name) => {
                let path = self.path_for(name)?;
                self.file = Some(Writing::begin(path, mode & 0o777)?);
            }
            Part::Bytes([]) => {
                if let Some(writing) = self.file.take() {
                    writing.finish()?;
                }
            }
            Part::Bytes(bytes) => {
                if let Some(writing) = &mut self.file {
                    writing.file.write_all(bytes).map_err(failed(&writing.path))?;
                    self.landed.bytes += bytes.len() as u64;
                }
            }
            Part::Cut => self.file = None,
            Part::Failed(why) => {
                self.senders = true;
                return Err(String::from_utf8_lossy(why).into_owned());
            }
            Part::End if self.folders.is_empty() && self.file.is_none() => self.ended = true,
            Part::End => return Err("it ends within a folder".to_owned()),
        }
        Ok(())
    }

    /// Nothing more comes.
    ///
    /// # Errors
    /// When that is not all.
    pub fn finish(self) -> Result<Landed, String> {
        if self.ended { Ok(self.landed) } else { Err("it broke off".to_owned()) }
    }
}

impl Writing {
    fn begin(path: PathBuf, mode: u32) -> Result<Self, String> {
        // What a link of that name leads to is meant, and keeps its place.
        let path = fs::canonicalize(&path).unwrap_or(path);
        match fs::metadata(&path) {
            Ok(meta) if meta.is_dir() => return Err(format!("{}: a folder has that name", path.display())),
            Ok(meta) if !meta.is_file() => {
                let file = OpenOptions::new().write(true).open(&path).map_err(failed(&path))?;
                return Ok(Self { file, until: Until::Itself, path, mode });
            }
            _ => {}
        }
        if let Some(file) = path.parent().and_then(nameless) {
            return Ok(Self { file, until: Until::Nameless, path, mode });
        }
        // Nobody else reads it before its mode says so.
        let create = |part: &Path| OpenOptions::new().write(true).create_new(true).mode(0o600).open(part);
        let (file, part) = beside(&path, create)?;
        Ok(Self { file, until: Until::Named(part), path, mode })
    }

    fn finish(mut self) -> Result<(), String> {
        if matches!(self.until, Until::Itself) {
            return Ok(());
        }
        self.file.set_permissions(Permissions::from_mode(self.mode)).map_err(failed(&self.path))?;
        // A disk on a network may say only now that it is full.
        self.file.sync_all().map_err(failed(&self.path))?;
        if matches!(self.until, Until::Nameless) {
            // A name that is there cannot be given to it, only be taken over by another.
            let ((), part) = beside(&self.path, |part| name(&self.file, part))?;
            self.until = Until::Named(part);
        }
        if let Until::Named(part) = &self.until {
            fs::rename(part, &self.path).map_err(failed(&self.path))?;
        }
        self.until = Until::Itself;
        Ok(())
    }
}

/// A name beside `path` that nobody has, and what was made of it.
fn beside<T>(path: &Path, make: impl Fn(&Path) -> io::Result<T>) -> Result<(T, PathBuf), String> {
    let name = path.file_name().ok_or_else(|| format!("{}: it has no name", path.display()))?;
    for n in 0..100 {
        let mut part = OsString::from(".");
        // A name may be as long as any already.
        part.push(OsStr::from_bytes(&name.as_bytes()[..name.len().min(200)]));
        part.push(format!(".{}-{n}.part", std::process::id()));
        let part = path.with_file_name(part);
        match make(&part) {
            Ok(made) => return Ok((made, part)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(failed(path)(error)),
        }
    }
    Err(format!("{}: it is being written by others", path.display()))
}

/// A new file in the folder without a name (`O_TMPFILE`, open(2)), where its file system knows such, and where it can be given one
/// later.
#[cfg(target_os = "linux")]
fn nameless(folder: &Path) -> Option<File> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(folder, flags, Mode::RUSR | Mode::WUSR).ok()?);
    fs::metadata(seen(&file)).is_ok().then_some(file)
}

#[cfg(target_os = "linux")]
fn seen(file: &File) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}

/// Gives a file that has none a name.
#[cfg(target_os = "linux")]
fn name(file: &File, name: &Path) -> io::Result<()> {
    use rustix::fs::{AtFlags, CWD};
    Ok(rustix::fs::linkat(CWD, seen(file), CWD, name, AtFlags::SYMLINK_FOLLOW)?)
}

#[cfg(not(target_os = "linux"))]
fn nameless(_: &Path) -> Option<File> {
    None
}

#[cfg(not(target_os = "linux"))]
fn name(_: &File, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{Source, Tree};

    fn stream(sources: &[&Path]) -> Vec<u8> {
        let mut tree =
            Tree::new(sources.iter().map(|path| Source::Path(path.to_path_buf())).collect()).unwrap();
        let mut out = Vec::new();
        while !tree.is_ended() {
            tree.fill(&mut out);
        }
        out
    }

    fn land(dest: &Path, several: bool, stream: &[u8]) -> Result<Landed, String> {
        let mut landing = Landing::new(dest, several, None)?;
        for piece in stream.chunks(1000) {
            landing.push(piece)?;
        }
        landing.finish()
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    /// Whoever writes into a named pipe writes once.
    #[test]
    fn a_named_pipe_is_read_once_and_to_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let writer = {
            let pipe = pipe.clone();
            std::thread::spawn(move || fs::write(pipe, "words"))
        };
        let to = folder.path().join("to");
        let landed = land(&to, false, &stream(&[&pipe])).unwrap();
        writer.join().unwrap().unwrap();
        assert_eq!((landed.bytes, fs::read_to_string(to).unwrap()), (5, "words".to_owned()));
    }

    #[test]
    fn whose_failure_it_was_is_known() {
        let folder = tempfile::tempdir().unwrap();
        let mut sent = Vec::new();
        crate::wire::Part::Failed(b"it is locked").put(&mut sent);
        let mut landing = Landing::new(folder.path(), false, None).unwrap();
        assert_eq!(landing.push(&sent), Err("it is locked".to_owned()));
        assert!(landing.is_senders_failure());
        let mut landing = Landing::new(&folder.path().join("no/such"), false, None).unwrap();
        fs::write(folder.path().join("file"), "x").unwrap();
        landing.push(&stream(&[&folder.path().join("file")])).unwrap_err();
        assert!(!landing.is_senders_failure());
    }

    #[test]
    fn a_tree_arrives_as_it_was_with_its_modes() {
        let folder = tempfile::tempdir().unwrap();
        let from = folder.path().join("from");
        fs::create_dir_all(from.join("deep/empty")).unwrap();
        let big: Vec<u8> = (0..100_000u32).map(|n| (n % 251) as u8).collect();
        fs::write(from.join("deep/big"), &big).unwrap();
        fs::write(from.join("run.sh"), "#!/bin/sh\n").unwrap();
        fs::set_permissions(from.join("run.sh"), Permissions::from_mode(0o755)).unwrap();
        fs::set_permissions(from.join("deep/big"), Permissions::from_mode(0o440)).unwrap();
        fs::set_permissions(from.join("deep/empty"), Permissions::from_mode(0o500)).unwrap();
        std::os::unix::fs::symlink("run.sh", from.join("link")).unwrap();
        let sent = stream(&[&from]);
        let to = folder.path().join("to");
        // A name that is free is the folder's own; a folder that is there gets it inside.
        let landed = land(&to, false, &sent).unwrap();
        assert_eq!((landed.paths, landed.bytes), (vec![to.clone()], 100_000 + 20));
        land(&to, false, &sent).unwrap();
        for to in [to.clone(), to.join("from")] {
            assert_eq!(fs::read(to.join("deep/big")).unwrap(), big);
            assert_eq!((mode(&to.join("deep/big")), mode(&to.join("run.sh"))), (0o440, 0o755));
            assert_eq!(mode(&to.join("deep/empty")), 0o500);
            assert_eq!(fs::read(to.join("link")).unwrap(), b"#!/bin/sh\n");
        }
    }

    #[test]
    fn what_is_cut_off_leaves_nothing_and_what_was_there_stays() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        fs::write(&from, vec![b'x'; 90_000]).unwrap();
        fs::write(&to, "before").unwrap();
        let sent = stream(&[&from]);
        for cut in [0, 5, 30, 50_000, sent.len() - 1] {
            assert!(land(&to, false, &sent[..cut]).is_err(), "{cut}");
            if cut < 90_000 {
                assert_eq!(fs::read(&to).unwrap(), b"before", "{cut}");
            }
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "{cut}");
        }
        land(&to, false, &sent).unwrap();
        assert_eq!(fs::read(&to).unwrap().len(), 90_000);
    }

    /// Whoever is killed cannot take anything away. Where there are files without a name nothing has to be.
    #[test]
    #[cfg(target_os = "linux")]
    fn a_file_on_its_way_has_no_name_that_a_kill_would_leave_behind() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        fs::write(&from, vec![b'x'; 90_000]).unwrap();
        fs::create_dir(&to).unwrap();
        let sent = stream(&[&from]);
        let mut landing = Landing::new(&to, false, None).unwrap();
        landing.push(&sent[..50_000]).unwrap();
        let names = fs::read_dir(&to).unwrap().count();
        assert_eq!(names, usize::from(nameless(&to).is_none()));
        landing.push(&sent[50_000..]).unwrap();
        landing.finish().unwrap();
        assert_eq!(fs::read(to.join("from")).unwrap().len(), 90_000);
        assert_eq!(fs::read_dir(&to).unwrap().count(), 1);
    }

    #[test]
    fn several_files_want_a_folder_and_what_is_not_there_is_said_first() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (folder.path().join("a"), folder.path().join("b"));
        fs::write(&a, "a").unwrap();
        fs::write(&b, "b").unwrap();
        let sent = stream(&[&a, &b]);
        assert!(land(&folder.path().join("no"), true, &sent).unwrap_err().ends_with("is no folder"));
        assert!(land(&folder.path().join("no/"), false, &sent).unwrap_err().ends_with("is no folder"));
        let to = folder.path().join("to");
        fs::create_dir(&to).unwrap();
        assert_eq!(land(&to, true, &sent).unwrap().paths, [to.join("a"), to.join("b")]);
        let missing = Tree::new(vec![Source::Path(folder.path().join("c"))]).unwrap_err();
        assert!(missing.ends_with("there is no such file or folder"), "{missing}");
        let names = Some(vec![OsString::from("mine")]);
        let mut landing = Landing::new(&to, false, names).unwrap();
        assert_eq!(
            landing.push(&sent).unwrap_err(),
            "more came than was asked for",
            "and not under a name of theirs"
        );
        assert_eq!(fs::read(to.join("mine")).unwrap(), b"a");
    }

    #[test]
    fn a_link_keeps_its_place_and_a_folder_that_leads_into_itself_has_an_end() {
        let folder = tempfile::tempdir().unwrap();
        let (from, real, link) =
            (folder.path().join("from"), folder.path().join("real"), folder.path().join("link"));
        fs::write(&from, "new").unwrap();
        fs::write(&real, "old").unwrap();
        std::os::unix::fs::symlink("real", &link).unwrap();
        land(&link, false, &stream(&[&from])).unwrap();
        assert_eq!(fs::read(&real).unwrap(), b"new");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        let looped = folder.path().join("loop");
        fs::create_dir(&looped).unwrap();
        std::os::unix::fs::symlink("..", looped.join("up")).unwrap();
        let to = folder.path().join("to");
        let why = land(&to, false, &stream(&[&looped])).unwrap_err();
        assert!(why.ends_with("it leads back into itself"), "{why}");
    }
}
