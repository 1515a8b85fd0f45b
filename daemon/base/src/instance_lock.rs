//! The right to be the manager: a lock on the state folder, which the kernel lets go of whatever happens, and a socket. The
//! lock's file says who has it and where the socket is, so that callers with other environments find the same manager.

use crate::files;
use crate::paths::{self, Paths};
use sessd_proto::docs::{Error, Result};
use std::cell::RefCell;
use std::fs::{File, TryLockError};
use std::io::{self, Seek, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::net::UnixListener;
use tokio::sync::Notify;

/// A lock's file is no longer than this, in bytes.
const LOCK_TEXT_MAX: u64 = 8192;
/// How long a lock that nobody known holds is tried for: whoever only looks at it has it for a moment.
const LOOKERS: Duration = Duration::from_millis(500);

/// What the lock's file says.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Named {
    pid: i32,
    /// The machine's name: a home may be shared by several.
    machine: String,
    socket: PathBuf,
}

impl Named {
    fn parse(text: &str) -> Option<Self> {
        let line = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
        let socket = PathBuf::from(line("socket")?);
        Some(Self {
            pid: line("pid")?.parse().ok().filter(|pid| *pid > 0)?,
            machine: line("machine")?.to_owned(),
            socket: Some(socket).filter(|path| path.is_absolute())?,
        })
    }

    fn text(&self) -> String {
        format!("pid {}\nmachine {}\nsocket {}\n", self.pid, self.machine, self.socket.display())
    }

    /// By the file at `lock`, for what it is worth: the manager it speaks of may be long gone.
    fn read(lock: &Path) -> Option<Self> {
        Self::parse(&files::read_text(lock, LOCK_TEXT_MAX).ok()?)
    }
}

fn this_machine() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Who has the lock of the state folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// No manager runs.
    Nobody,
    /// This process, by the kernel's word: it has the lock's file open.
    Process(i32),
    /// Somebody who cannot be seen from here, on that machine.
    Elsewhere(String),
}

/// Looks who the manager is, without asking it.
pub fn owner(paths: &Paths) -> Owner {
    let lock = match files::open(&paths.lock, File::options().read(true)) {
        Ok(lock) => lock,
        // Its file may have been taken from under it; it makes it again.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return bereft(&paths.lock).map_or(Owner::Nobody, Owner::Process);
        }
        Err(_) => return Owner::Nobody,
    };
    match lock.try_lock_shared() {
        Ok(()) => Owner::Nobody,
        Err(_) => locked_by(&lock, Named::read(&paths.lock)),
    }
}

fn locked_by(lock: &File, named: Option<Named>) -> Owner {
    if let Some(named) = &named
        && named.machine != this_machine()
    {
        return Owner::Elsewhere(named.machine.clone());
    }
    let Ok(meta) = lock.metadata() else { return Owner::Elsewhere(String::new()) };
    let has_it = |pid: &i32| has_open(*pid, files::identity(&meta));
    match named.map(|named| named.pid).filter(has_it).or_else(|| managers().into_iter().find(has_it)) {
        Some(pid) => Owner::Process(pid),
        None => Owner::Elsewhere(String::new()),
    }
}

/// Does this process have that file open? Only of processes of our own can this be seen.
fn has_open(pid: i32, file: (u64, u64)) -> bool {
    let Ok(open) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    open.flatten()
        .any(|entry| std::fs::metadata(entry.path()).is_ok_and(|meta| files::identity(&meta) == file))
}

/// The manager whose lock was at `lock` until somebody removed the file.
fn bereft(lock: &Path) -> Option<i32> {
    let mut gone = lock.as_os_str().to_owned();
    gone.push(" (deleted)");
    managers().into_iter().find(|pid| {
        let Ok(open) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
        open.flatten()
            .any(|entry| std::fs::read_link(entry.path()).is_ok_and(|path| path.as_os_str() == gone))
    })
}

fn processes() -> impl Iterator<Item = i32> {
    let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    all.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Processes that call themselves a manager: one of an older version does not write down who it is.
fn managers() -> Vec<i32> {
    let own = std::process::id() as i32;
    processes()
        .filter(|pid| *pid != own)
        .filter(|pid| {
            std::fs::read(format!("/proc/{pid}/cmdline"))
                .is_ok_and(|line| line.split(|byte| *byte == 0).any(|word| word == b"--foreground"))
        })
        .collect()
}

/// Was this process stopped, by a signal or a debugger?
pub fn is_stopped(pid: i32) -> bool {
    matches!(state_of(pid), Some('T' | 't'))
}

/// Does this process run? One that ended and was not looked after does not.
pub fn is_there(pid: i32) -> bool {
    state_of(pid).is_some_and(|state| !matches!(state, 'Z' | 'X'))
}

/// The kernel's letter for what a process does.
fn state_of(pid: i32) -> Option<char> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may hold anything; what follows its last parenthesis is regular.
    status.rsplit_once(')')?.1.trim_start().chars().next()
}

/// The name of a process's program, for a person.
pub fn program_of(pid: i32) -> String {
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    let clean: String = name.trim_end().chars().filter(|c| !c.is_control()).take(32).collect();
    if clean.is_empty() { "process".to_owned() } else { clean }
}

/// Another process of ours that has this file open, and its program's name.
pub fn who_has_open(path: &Path) -> Option<(i32, String)> {
    let file = files::identity(&std::fs::metadata(path).ok()?);
    let own = std::process::id() as i32;
    let pid = processes().find(|pid| *pid != own && has_open(*pid, file))?;
    Some((pid, program_of(pid)))
}

/// Is `pid` the manager of these records?
pub fn is_manager(paths: &Paths, pid: i32) -> bool {
    owner(paths) == Owner::Process(pid)
}

/// Where a manager may be listening: where the one that runs says, and where one would be started from here.
pub fn sockets(paths: &Paths) -> Vec<PathBuf> {
    let mut sockets: Vec<PathBuf> = Named::read(&paths.lock)
        .filter(|named| named.machine == this_machine())
        .map(|n| n.socket)
        .into_iter()
        .collect();
    if !sockets.contains(&paths.socket) {
        sockets.push(paths.socket.clone());
    }
    sockets
}

/// A socket that is listened on, and which file it was made as.
#[derive(Debug)]
struct Listening {
    listener: Rc<UnixListener>,
    path: PathBuf,
    file: (u64, u64),
}

impl Listening {
    fn bind(path: &Path) -> Result<Self> {
        let trouble = |error: io::Error| {
            Error::failed(
                format!("{} cannot be used ({error})", path.display()),
                "check its folder's permissions",
            )
        };
        if !paths::fits_a_socket(path) {
            return Err(paths::too_long_for_a_socket(path));
        }
        if let Some(folder) = path.parent() {
            files::private_folder(folder).map_err(trouble)?;
        }
        // With the lock in hand, a socket that is here belongs to nobody who may have it.
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(trouble(error)),
            _ => {}
        }
        let listener = UnixListener::bind(path).map_err(trouble)?;
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o600)).map_err(trouble)?;
        let file = files::identity(&std::fs::symlink_metadata(path).map_err(trouble)?);
        Ok(Self { listener: Rc::new(listener), path: path.to_owned(), file })
    }

    fn is_in_place(&self) -> bool {
        std::fs::symlink_metadata(&self.path).is_ok_and(|meta| files::identity(&meta) == self.file)
    }
}

/// How the lock and its socket are found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// All is as it was.
    Fine,
    /// The socket was gone and was made again.
    Remade,
    /// The state folder, or the lock in it, is gone: nobody can know of this manager by its records.
    StateGone,
    /// The same, and another manager has taken the place.
    Replaced,
    /// The socket is gone and cannot be made again, and why.
    Unreachable(String),
}

/// The lock and the socket beside it, for as long as they are kept.
#[derive(Debug)]
pub struct InstanceLock {
    listening: RefCell<Listening>,
    lock: RefCell<File>,
    _socket_lock: File,
    paths: Paths,
    moved: Rc<Notify>,
}

/// Whose it is.
#[derive(Debug)]
pub enum Taken {
    /// We do.
    Ours(Rc<InstanceLock>),
    /// Another manager has it.
    Theirs(Owner),
}

/// Takes the lock.
///
/// # Errors
/// What is wrong with the folder.
pub fn take(paths: &Paths) -> Result<Taken> {
    let lock = match lock(&paths.lock)? {
        Ok(lock) => lock,
        Err(holder) => return Ok(Taken::Theirs(holder)),
    };
    let socket_lock = match self::lock(&paths.socket_lock)? {
        Ok(lock) => lock,
        Err(holder) => return Ok(Taken::Theirs(holder)),
    };
    let ours = InstanceLock {
        listening: RefCell::new(Listening::bind(&paths.socket)?),
        lock: RefCell::new(lock),
        _socket_lock: socket_lock,
        paths: paths.clone(),
        moved: Rc::default(),
    };
    ours.name_socket()?;
    Ok(Taken::Ours(Rc::new(ours)))
}

/// Locks the file at `path`, or says who has.
fn lock(path: &Path) -> Result<std::result::Result<File, Owner>> {
    let trouble = |error: io::Error| {
        Error::failed(
            format!("{} cannot be used ({error})", path.display()),
            "check its folder for space and permissions",
        )
    };
    let begun = Instant::now();
    loop {
        let file =
            files::open_private(path, File::options().read(true).write(true).create(true).truncate(false))
                .map_err(trouble)?;
        match file.try_lock() {
            Ok(()) => return Ok(Ok(file)),
            Err(TryLockError::Error(error)) => return Err(trouble(error)),
            Err(TryLockError::WouldBlock) => match locked_by(&file, Named::read(path)) {
                Owner::Elsewhere(_) if begun.elapsed() < LOOKERS => {
                    std::thread::sleep(Duration::from_millis(10));
                }
                holder => return Ok(Err(holder)),
            },
        }
    }
}

impl InstanceLock {
    /// Where people come in.
    pub fn listener(&self) -> Rc<UnixListener> {
        self.listening.borrow().listener.clone()
    }

    /// Waits until people come in elsewhere.
    pub fn moved(&self) -> impl Future<Output = ()> + use<> {
        let moved = self.moved.clone();
        async move { moved.notified().await }
    }

    /// The socket's path.
    pub fn socket(&self) -> PathBuf {
        self.listening.borrow().path.clone()
    }

    /// Writes down who we are, for whoever looks for us.
    fn name_socket(&self) -> Result<()> {
        let named = Named { pid: std::process::id() as i32, machine: this_machine(), socket: self.socket() };
        let mut file = self.lock.borrow_mut();
        let written = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| file.write_all(named.text().as_bytes()));
        written.map_err(|error| {
            Error::failed(
                format!("{} cannot be written ({error})", self.paths.lock.display()),
                "check its folder for space and permissions",
            )
        })
    }

    /// Nobody comes in any more: who looks for a manager must find the next one, not wait at our door.
    pub fn close_door(&self) {
        let listening = self.listening.borrow();
        if listening.is_in_place() {
            let _ = std::fs::remove_file(&listening.path);
        }
    }

    /// Sees that whoever looks for us can find us, and makes the socket again where it is gone: a cleaner, a logout that
    /// takes the runtime folder, a person.
    pub fn health(&self) -> Health {
        let lock = files::identity(&match self.lock.borrow().metadata() {
            Ok(meta) => meta,
            Err(_) => return Health::Fine,
        });
        match std::fs::metadata(&self.paths.lock) {
            Ok(meta) if files::identity(&meta) == lock => {}
            Ok(_) => {
                return match files::open(&self.paths.lock, File::options().read(true))
                    .map(|file| file.try_lock_shared())
                {
                    Ok(Err(TryLockError::WouldBlock)) => Health::Replaced,
                    _ => Health::StateGone,
                };
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Health::StateGone,
            // A disk that does not answer says nothing.
            Err(_) => return Health::Fine,
        }
        if self.listening.borrow().is_in_place() {
            return Health::Fine;
        }
        self.make_again()
    }

    fn make_again(&self) -> Health {
        let beside_the_records = self.paths.state().join("sessd.sock");
        let mut why = String::new();
        for path in [self.paths.socket.clone(), beside_the_records] {
            match Listening::bind(&path) {
                Ok(listening) => {
                    *self.listening.borrow_mut() = listening;
                    self.moved.notify_waiters();
                    return self
                        .name_socket()
                        .map_or_else(|e| Health::Unreachable(e.message), |()| Health::Remade);
                }
                Err(error) => why = error.message,
            }
        }
        Health::Unreachable(why)
    }

    /// The state folder was taken away under us, and is there again: locks it as before.
    ///
    /// # Errors
    /// When it cannot be made, or another manager was quicker.
    pub fn lock_again(&self) -> Result<()> {
        self.paths.make()?;
        match lock(&self.paths.lock)? {
            Ok(file) => *self.lock.borrow_mut() = file,
            Err(_) => {
                return Err(Error::failed(
                    "another manager has taken the place",
                    "`sessd daemon status` shows it",
                ));
            }
        }
        self.name_socket()
    }
}
