//! The files of one job: `ROOT/jobs/MACHINE/JOB/`, private to the user; [`super::places`] says which roots there are.
//!
//! * `spec`: what was asked for, with the session's present name and tags
//! * `lock`: locked by the holder for as long as it lives; the kernel lets go of it whatever happens
//! * `holder`: the holder's pid, start time and boot id
//! * `s`: the holder's socket. Bound and connected to from inside the folder, so its path is one byte long and never meets
//!   the 104 bytes a socket address may have
//! * `exit`: the exit record, once there is one
//! * `screen`: the last screen once the job has ended: its size in one line, then escape sequences
//! * `managers`: the ids of the managers that have held the job and not yet forgotten it, one in each line
//!
//! Every file but `lock` is written beside itself and renamed, so a reader finds all of it or nothing.

use crate::machine::process::Ident;
use prost::Message;
use sessd_proto::messages::{ExitRecord, JobSpec, Screen};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Longest file of a job that is read back. A folder another program filled must not fill our memory.
const FILE_MAX: u64 = 4 << 20;

/// Adds what was being done to an error, for the one line a person reads.
pub fn context(what: impl std::fmt::Display) -> impl FnOnce(io::Error) -> io::Error {
    move |error| io::Error::new(error.kind(), format!("{what}: {error}"))
}

/// An error of our own.
pub fn fault(what: impl Into<String>) -> io::Error {
    io::Error::other(what.into())
}

/// Removes from `bin` other versions of the agent that no process runs and nobody installed lately. `programs`: those that
/// run.
pub fn remove_unused_agents(bin: &Path, programs: &[PathBuf]) {
    const LATELY: std::time::Duration = std::time::Duration::from_secs(24 * 60 * 60);
    let Ok(own) = std::env::current_exe() else { return };
    let Ok(entries) = fs::read_dir(bin) else { return };
    for path in entries.flatten().map(|e| e.path()) {
        let is_agent = path.file_name().is_some_and(|n| n.to_string_lossy().starts_with("sessd-agent-"));
        let old = fs::metadata(&path)
            .and_then(|m| m.modified())
            .is_ok_and(|at| at.elapsed().is_ok_and(|age| age > LATELY));
        if is_agent && old && path != own && !programs.contains(&path) {
            // It is tried again at the next start.
            let _ = fs::remove_file(&path);
        }
    }
}

/// Names this machine among those that may share one home: the first digits of its machine id, else its host name. Read
/// once, at the start: later nobody waits for the disk that has it.
pub fn machine() -> String {
    static NAME: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    NAME.get_or_init(read_machine).clone()
}

fn read_machine() -> String {
    let id: String = crate::platform::machine_id().chars().filter(char::is_ascii_hexdigit).take(12).collect();
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let host: String =
        host.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(24).collect();
    // Images cloned without a new machine id are common; the host name tells those apart.
    format!("{host}-{id}")
}

/// Makes `path` and what is above it, 0700 where made, and checks that the last one is ours alone.
pub(crate) fn make_private(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(context(path.display()))?;
    let meta = fs::symlink_metadata(path).map_err(context(path.display()))?;
    if !meta.is_dir() || meta.uid() != rustix::process::getuid().as_raw() {
        return Err(fault(format!("{} is not a folder of this user", path.display())));
    }
    Ok(())
}

/// A process, told apart from a later one with the same number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HolderMark {
    /// Process id.
    pub pid: u32,
    /// Start time in the kernel's ticks since boot.
    pub start: u64,
    /// The boot those are of.
    pub boot_id: String,
}

/// One job's folder.
#[derive(Debug, Clone)]
pub struct JobFolder {
    path: PathBuf,
}

impl JobFolder {
    /// The folder of the job `job_id` below `jobs`.
    ///
    /// # Errors
    /// When the id is not a UUID: it came over the wire and becomes part of a path.
    pub fn of(jobs: &Path, job_id: &str) -> io::Result<Self> {
        let id = sessd_proto::Uuid::parse_str(job_id).map_err(|_| fault("a job id that is not a UUID"))?;
        Ok(Self { path: jobs.join(id.hyphenated().to_string()) })
    }

    /// A folder by its path.
    pub fn at(path: PathBuf) -> Self {
        Self { path }
    }

    /// Is it this job's?
    pub fn is_of(&self, job_id: &str) -> bool {
        let id = sessd_proto::Uuid::parse_str(job_id).map(|id| id.hyphenated().to_string());
        id.is_ok_and(|id| self.path.file_name().is_some_and(|name| name == id.as_str()))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Is it there?
    ///
    /// # Errors
    /// When that cannot be told.
    pub fn exists(&self) -> io::Result<bool> {
        self.path.try_exists()
    }

    /// Is there a file of this name? What cannot be told counts as no.
    pub fn has(&self, name: &str) -> bool {
        self.path.join(name).exists()
    }

    /// Makes it. Making it twice is fine.
    pub fn make(&self) -> io::Result<()> {
        make_private(&self.path)
    }

    /// Is there room for what its holder is going to write? A disk that only just takes the spec takes no exit record.
    ///
    /// # Errors
    /// When there is none.
    pub fn check_room(&self) -> io::Result<()> {
        const ROOM: u64 = 64 << 10;
        let path = self.path.join(".room");
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path);
        let taken =
            file.and_then(|file| crate::platform::allocate(&file, ROOM)).map_err(context(path.display()));
        // What cannot be removed is removed with the folder.
        let _ = fs::remove_file(&path);
        taken
    }

    /// Takes all of it away. A holder that is about to leave may write one more file meanwhile.
    pub fn remove(&self) -> io::Result<()> {
        let mut left = 3;
        loop {
            left -= 1;
            match fs::remove_dir_all(&self.path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty && left > 0 => {}
                other => return other,
            }
        }
    }

    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let (new, path) = (self.path.join(format!(".{name}.new")), self.path.join(name));
        let written = (|| {
            let mut file =
                OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&new, &path)
        })();
        written.map_err(|error| {
            // What was half written takes room on a disk that has none; the reason is what counts.
            let _ = fs::remove_file(&new);
            context(path.display())(error)
        })
    }

    /// A message with its length before it: one that was cut short cannot be taken for a whole one.
    fn write_message(&self, name: &str, message: &impl Message) -> io::Result<()> {
        self.write(name, &message.encode_length_delimited_to_vec())
    }

    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        let path = self.path.join(name);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(context(path.display())(error)),
        };
        let mut bytes = Vec::new();
        file.take(FILE_MAX).read_to_end(&mut bytes).map_err(context(path.display()))?;
        Ok(Some(bytes))
    }

    /// Reads a message with its length before it, or what the first holders wrote: the bare message, which begins with the
    /// byte `bare` (as no length does) and has what `is_whole` asks for.
    fn read_message<M: Message + Default>(
        &self,
        name: &str,
        bare: u8,
        is_whole: impl FnOnce(&M) -> bool,
    ) -> io::Result<Option<M>> {
        let Some(bytes) = self.read(name)? else { return Ok(None) };
        let mut rest = bytes.as_slice();
        let delimited = M::decode_length_delimited(&mut rest).ok().filter(|_| rest.is_empty());
        let first = || M::decode(bytes.as_slice()).ok().filter(is_whole);
        delimited
            .or_else(|| if bytes.first() == Some(&bare) { first() } else { None })
            .map(Some)
            .ok_or_else(|| fault(format!("{} is damaged", self.path.join(name).display())))
    }

    /// Keeps what was asked for.
    pub fn write_spec(&self, spec: &JobSpec) -> io::Result<()> {
        self.write_message("spec", spec)
    }

    /// What was asked for, if it is there.
    pub fn spec(&self) -> io::Result<Option<JobSpec>> {
        // Field 1, the job's id, is longer than ten bytes alone; the last of the fields is whose the job is.
        self.read_message("spec", 0x0a, |spec: &JobSpec| !spec.manager_id.is_empty())
    }

    /// Keeps the last word about the job.
    pub fn write_exit(&self, exit: &ExitRecord) -> io::Result<()> {
        self.write_message("exit", exit)
    }

    /// The last word about the job, if there is one.
    pub fn exit(&self) -> io::Result<Option<ExitRecord>> {
        // Field 1, the reason; together with the time it is longer than eight bytes.
        self.read_message("exit", 0x08, |exit: &ExitRecord| exit.reason != 0 && exit.at_ms != 0)
    }

    /// Keeps the last screen.
    pub fn write_screen(&self, screen: &Screen) -> io::Result<()> {
        let mut bytes = format!("{}x{}\n", screen.cols, screen.rows).into_bytes();
        bytes.extend_from_slice(&screen.snapshot);
        self.write("screen", &bytes)
    }

    /// The last screen, if there is one.
    pub fn screen(&self) -> io::Result<Option<Screen>> {
        let Some(mut bytes) = self.read("screen")? else { return Ok(None) };
        let screen = (|| {
            let end = bytes.iter().position(|b| *b == b'\n')?;
            let (cols, rows) = std::str::from_utf8(&bytes[..end]).ok()?.split_once('x')?;
            let (cols, rows) = (cols.parse().ok()?, rows.parse().ok()?);
            Some(Screen { cols, rows, snapshot: bytes.split_off(end + 1) })
        })();
        // The first holders wrote no size; a snapshot begins with a control character.
        let bare = || {
            let is_snapshot = bytes.first().is_some_and(u8::is_ascii_control);
            is_snapshot.then_some(Screen { cols: 0, rows: 0, snapshot: bytes })
        };
        screen
            .or_else(bare)
            .map(Some)
            .ok_or_else(|| fault(format!("{} is damaged", self.path.join("screen").display())))
    }

    /// Keeps which managers have held the job.
    pub fn write_managers(&self, ids: &[String]) -> io::Result<()> {
        self.write("managers", ids.join("\n").as_bytes())
    }

    /// Which managers have held the job and not forgotten it; `None` when that was never written.
    pub fn managers(&self) -> io::Result<Option<Vec<String>>> {
        let Some(bytes) = self.read("managers")? else { return Ok(None) };
        let text = String::from_utf8_lossy(&bytes);
        Ok(Some(
            text.lines().filter(|id| sessd_proto::Uuid::parse_str(id).is_ok()).map(str::to_owned).collect(),
        ))
    }

    /// For how long nobody has written `name`, in milliseconds by the wall clock; `None` when it is not there, or comes
    /// from the future of a clock that was put back.
    pub fn age_ms(&self, name: &str) -> Option<u64> {
        let modified = fs::metadata(self.path.join(name)).ok()?.modified().ok()?;
        modified.elapsed().ok().map(|age| age.as_millis() as u64)
    }

    /// Keeps who holds the job.
    pub fn write_mark(&self, mark: &HolderMark) -> io::Result<()> {
        self.write("holder", format!("{} {} {}\n", mark.pid, mark.start, mark.boot_id).as_bytes())
    }

    /// Takes back that somebody holds the job.
    pub fn remove_mark(&self) {
        // What stays behind says that a holder died, which is as true.
        let _ = fs::remove_file(self.path.join("holder"));
    }

    /// Who holds the job, if that was ever written.
    pub fn mark(&self) -> io::Result<Option<HolderMark>> {
        let Some(bytes) = self.read("holder")? else { return Ok(None) };
        let text = String::from_utf8_lossy(&bytes);
        let mut words = text.split_whitespace();
        let mark = (|| {
            let (pid, start) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
            Some(HolderMark { pid, start, boot_id: words.next().unwrap_or_default().to_owned() })
        })();
        mark.map(Some).ok_or_else(|| fault(format!("{} is damaged", self.path.join("holder").display())))
    }

    /// Keeps the number and the start time of the job's first process, for whoever finds it without its holder. Not forced to the
    /// disk: after the machine's end there is no such process.
    pub fn write_leader(&self, (pid, start): Ident) {
        // Without it what is left of the job is not found, as ever.
        let _ = fs::write(self.path.join("leader"), format!("{pid} {start}\n"));
    }

    /// The job's first process, if that was ever written.
    pub fn leader(&self) -> Option<Ident> {
        let bytes = self.read("leader").ok()??;
        let text = String::from_utf8_lossy(&bytes);
        let (pid, start) = text.trim().split_once(' ')?;
        Some((pid.parse().ok()?, start.parse().ok()?))
    }

    /// Makes the folder, what is in it and what it is in look used, for cleaners that go by age.
    pub fn touch(&self) {
        use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_NOW, utimensat};
        let now = || Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
        let files = fs::read_dir(&self.path).into_iter().flatten().flatten().map(|entry| entry.path());
        // The folder, the machine's, that of all jobs, and the agent's own.
        for path in files.chain(self.path.ancestors().take(4).map(Path::to_owned)) {
            // What is gone meanwhile, or not ours, cannot be touched and need not be.
            let _ = utimensat(
                CWD,
                &path,
                &Timestamps { last_access: now(), last_modification: now() },
                AtFlags::SYMLINK_NOFOLLOW,
            );
        }
    }

    /// Takes the holder's lock, or `None` when another process has it.
    ///
    /// # Errors
    /// When the file cannot be opened or locked at all, which is evidence of nothing.
    pub fn try_lock(&self) -> io::Result<Option<File>> {
        let path = self.path.join("lock");
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(context(path.display()))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(error)) => Err(context(path.display())(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> (tempfile::TempDir, JobFolder) {
        let root = tempfile::tempdir().unwrap();
        let folder = JobFolder::at(root.path().join("job"));
        folder.make().unwrap();
        (root, folder)
    }

    #[test]
    fn a_file_that_was_cut_short_anywhere_is_damaged_and_never_another_record() {
        let (_root, folder) = folder();
        let exit = ExitRecord {
            reason: 1,
            code: Some(7),
            at_ms: 5,
            final_offset: 9,
            detail: "d".into(),
            ..ExitRecord::default()
        };
        folder.write_exit(&exit).unwrap();
        assert_eq!(folder.exit().unwrap(), Some(exit));
        let path = folder.path().join("exit");
        let whole = fs::read(&path).unwrap();
        for length in 0..whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            assert!(folder.exit().is_err(), "{length} of {} bytes", whole.len());
        }
        fs::remove_file(&path).unwrap();
        assert_eq!(folder.exit().unwrap(), None);
    }

    #[test]
    fn what_the_first_holders_wrote_is_read_as_far_as_it_says_how_the_job_ended() {
        let (_root, folder) = folder();
        let exit = ExitRecord { reason: 1, code: Some(7), at_ms: 1_795_000_000_000, ..ExitRecord::default() };
        let bare = exit.encode_to_vec();
        for length in 1..bare.len() {
            fs::write(folder.path().join("exit"), &bare[..length]).unwrap();
            assert!(folder.exit().is_err(), "{length} of {} bytes", bare.len());
        }
        fs::write(folder.path().join("exit"), &bare).unwrap();
        assert_eq!(folder.exit().unwrap(), Some(exit));
        let id = "00000000-0000-0000-0000-000000000001".to_owned();
        let spec = JobSpec { job_id: id.clone(), name: "dev".into(), manager_id: id, ..JobSpec::default() };
        fs::write(folder.path().join("spec"), spec.encode_to_vec()).unwrap();
        assert_eq!(folder.spec().unwrap(), Some(spec));
    }

    #[test]
    fn a_full_disk_is_an_error_and_leaves_the_old_file_and_nothing_half_made() {
        let (_root, folder) = folder();
        let spec = JobSpec { name: "old".into(), ..JobSpec::default() };
        folder.write_spec(&spec).unwrap();
        std::os::unix::fs::symlink("/dev/full", folder.path().join(".spec.new")).unwrap();
        let error = folder.write_spec(&JobSpec { name: "new".into(), ..JobSpec::default() }).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull, "{error}");
        assert_eq!(folder.spec().unwrap(), Some(spec));
        assert!(!folder.path().join(".spec.new").exists());
    }

    #[test]
    fn a_last_screen_has_its_size() {
        let (_root, folder) = folder();
        assert_eq!(folder.screen().unwrap(), None);
        folder.write_screen(&Screen { snapshot: b"\x1b[Hx\ny".to_vec(), cols: 120, rows: 40 }).unwrap();
        assert_eq!(
            folder.screen().unwrap(),
            Some(Screen { cols: 120, rows: 40, snapshot: b"\x1b[Hx\ny".to_vec() })
        );
        fs::write(folder.path().join("screen"), b"\x18\x1b[Hfirst\n80x24\n").unwrap();
        assert_eq!(
            folder.screen().unwrap(),
            Some(Screen { cols: 0, rows: 0, snapshot: b"\x18\x1b[Hfirst\n80x24\n".to_vec() }),
            "of a holder that wrote no size"
        );
        fs::write(folder.path().join("screen"), b"rubbish").unwrap();
        assert!(folder.screen().is_err());
    }

    #[test]
    fn managers_are_ids_and_nothing_else() {
        let (_root, folder) = folder();
        assert_eq!(folder.managers().unwrap(), None);
        let id = "00000000-0000-0000-0000-000000000001".to_owned();
        folder.write_managers(std::slice::from_ref(&id)).unwrap();
        assert_eq!(folder.managers().unwrap(), Some(vec![id]));
        fs::write(folder.path().join("managers"), b"x\n\0").unwrap();
        assert_eq!(folder.managers().unwrap(), Some(vec![]));
    }
}
