//! The files of one job: `ROOT/jobs/MACHINE/JOB/`, private to the user.
//!
//! * `spec`: what was asked for, with the session's present name and tags
//! * `lock`: locked by the holder for as long as it lives; the kernel lets go of it whatever happens
//! * `holder`: the holder's pid, start time and boot id
//! * `s`: the holder's socket. Bound and connected to from inside the folder, so its path is one byte long and never meets
//!   the 104 bytes a socket address may have
//! * `exit`: the exit record, once there is one
//! * `screen`: the last screen as escape sequences, once the job has ended
//!
//! Every file but `lock` is written beside itself and renamed, so a reader finds all of it or nothing.

use prost::Message;
use sessd_proto::messages::{ExitRecord, JobSpec};
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

/// Where everything of the agent lies: where the manager says it put the agent (perhaps not in the home, because that is
/// unwritable), else two above its binary, else the default under the home.
pub fn root() -> io::Result<PathBuf> {
    if let Some(root) = std::env::var_os("SESSD_AGENT_DIR").map(PathBuf::from).filter(|p| p.is_absolute()) {
        return Ok(root);
    }
    if let Ok(exe) = std::env::current_exe()
        && let Some(bin) = exe.parent()
        && bin.file_name().is_some_and(|n| n == "bin")
        && let Some(root) = bin.parent()
        && root.file_name().is_some_and(|n| n.to_string_lossy().starts_with("sessd-agent"))
    {
        return Ok(root.to_owned());
    }
    let home = std::env::var_os("HOME").ok_or_else(|| fault("HOME is not set"))?;
    Ok(Path::new(&home).join(".local/state/sessd-agent"))
}

/// Names this machine among those that may share one home: the first digits of its machine id, else its host name.
pub fn machine() -> String {
    let id = fs::read_to_string("/etc/machine-id").unwrap_or_default();
    let id: String = id.trim().chars().filter(char::is_ascii_hexdigit).take(12).collect();
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let host: String =
        host.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(24).collect();
    // Images cloned without a new machine id are common; the host name tells those apart.
    format!("{host}-{id}")
}

/// Changes at each boot; empty where the system does not tell.
pub fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|s| s.trim().to_owned()).unwrap_or_default()
}

/// The folder of this machine's jobs, made if missing.
///
/// # Errors
/// When it cannot be made, is a link, or belongs to somebody else.
pub fn jobs() -> io::Result<PathBuf> {
    let path = root()?.join("jobs").join(machine());
    make_private(&path)?;
    Ok(path)
}

/// Makes `path` and what is above it, 0700 where made, and checks that the last one is ours alone.
fn make_private(path: &Path) -> io::Result<()> {
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

    /// Makes it. Making it twice is fine.
    pub fn make(&self) -> io::Result<()> {
        make_private(&self.path)
    }

    /// Takes all of it away.
    pub fn remove(&self) -> io::Result<()> {
        match fs::remove_dir_all(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let (new, path) = (self.path.join(format!(".{name}.new")), self.path.join(name));
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&new)
            .map_err(context(new.display()))?;
        file.write_all(bytes).map_err(context(new.display()))?;
        file.sync_all().map_err(context(new.display()))?;
        fs::rename(&new, &path).map_err(context(path.display()))
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

    fn read_message<M: Message + Default>(&self, name: &str) -> io::Result<Option<M>> {
        let Some(bytes) = self.read(name)? else { return Ok(None) };
        M::decode(bytes.as_slice())
            .map(Some)
            .map_err(|_| fault(format!("{} is damaged", self.path.join(name).display())))
    }

    /// Keeps what was asked for.
    pub fn write_spec(&self, spec: &JobSpec) -> io::Result<()> {
        self.write("spec", &spec.encode_to_vec())
    }

    /// What was asked for, if it is there.
    pub fn spec(&self) -> io::Result<Option<JobSpec>> {
        self.read_message("spec")
    }

    /// Keeps the last word about the job.
    pub fn write_exit(&self, exit: &ExitRecord) -> io::Result<()> {
        self.write("exit", &exit.encode_to_vec())
    }

    /// The last word about the job, if there is one.
    pub fn exit(&self) -> io::Result<Option<ExitRecord>> {
        self.read_message("exit")
    }

    /// Keeps the last screen.
    pub fn write_screen(&self, snapshot: &[u8]) -> io::Result<()> {
        self.write("screen", snapshot)
    }

    /// The last screen, if there is one.
    pub fn screen(&self) -> io::Result<Option<Vec<u8>>> {
        self.read("screen")
    }

    /// Keeps who holds the job.
    pub fn write_mark(&self, mark: &HolderMark) -> io::Result<()> {
        self.write("holder", format!("{} {} {}\n", mark.pid, mark.start, mark.boot_id).as_bytes())
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
