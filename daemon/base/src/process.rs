//! What a process inherits from whoever started it. The manager lives longer than its caller's terminal, login and files, so
//! it lets go of all of them; a session on this machine gets what its own caller has. One of the rooms where unsafe code is
//! allowed.
#![allow(unsafe_code)]

use crate::{files, paths};
use nix::libc;
use rustix::fs::{Mode, OFlags};
use rustix::process::{Resource, getrlimit, setrlimit};
use sessd_proto::docs::{Error, Result};
use sessd_proto::messages::{Inherited, Limit};
use std::collections::HashMap;
use std::os::fd::RawFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

/// Was there no standard output when this program began? Before its `main` Rust opens `/dev/null` in the place of a standard descriptor
/// that is closed, and what is written there is lost without an error.
pub fn stdout_was_closed() -> bool {
    STDOUT_CLOSED.load(Ordering::Relaxed)
}

/// The same of standard input: what is read there is an end that nobody meant.
pub fn stdin_was_closed() -> bool {
    STDIN_CLOSED.load(Ordering::Relaxed)
}

static STDIN_CLOSED: AtomicBool = AtomicBool::new(false);
static STDOUT_CLOSED: AtomicBool = AtomicBool::new(false);

extern "C" fn look_at_the_standard_descriptors() {
    let closed = |fd| rustix::io::fcntl_getfd(fd) == Err(rustix::io::Errno::BADF);
    STDIN_CLOSED.store(closed(rustix::stdio::stdin()), Ordering::Relaxed);
    STDOUT_CLOSED.store(closed(rustix::stdio::stdout()), Ordering::Relaxed);
}

// SAFETY: what stands in this section is called by the C library before `main`, and nothing else stands in it than the address of a
// function that takes what it is given, asks the kernel for two flags, and cannot panic.
#[cfg(target_os = "linux")]
#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = look_at_the_standard_descriptors;

/// First act of the manager's process, before it has opened anything or has a second thread. `own_session`: nobody waits for
/// it in the foreground.
pub fn leave_the_caller(own_session: bool) {
    if own_session {
        // Whoever starts us forks, so that we lead no group. One that leads a session already has no terminal to lose.
        let _ = rustix::process::setsid();
    } else {
        give_up_terminal();
    }
    close_inherited();
    reset_signals();
    // What is made here is nobody else's. Where it is to be, its permissions are set.
    let _ = rustix::process::umask(Mode::from_raw_mode(0o077));
    raise_descriptor_limit();
}

/// In the foreground, too, a child that asks on the terminal must not stop us: without a controlling terminal it finds none.
/// Ctrl-C still comes, for it is sent to the group. The leader of a session would end it with that.
fn give_up_terminal() {
    // nix's, because rustix takes a session for a process that can be seen. In a container entered from outside (`docker exec`)
    // its leader cannot be, and the number is 0.
    if nix::unistd::getsid(None).is_ok_and(|session| session == nix::unistd::getpid()) {
        return;
    }
    if let Ok(terminal) =
        rustix::fs::open("/dev/tty", OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOCTTY, Mode::empty())
    {
        // SAFETY: TIOCNOTTY takes no argument and touches no memory.
        let _ = unsafe {
            rustix::ioctl::ioctl(
                &terminal,
                rustix::ioctl::NoArg::<{ libc::TIOCNOTTY as rustix::ioctl::Opcode }>::new(),
            )
        };
    }
}

/// Closes every descriptor above stderr: a lock, a pipe that somebody reads to its end.
fn close_inherited() {
    let Ok(open) = std::fs::read_dir("/proc/self/fd") else { return };
    let open: Vec<RawFd> = open
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|fd| *fd > 2)
        .collect();
    // The one the list was read with is in it, and closed by now.
    for fd in open.into_iter().filter(|fd| std::fs::symlink_metadata(format!("/proc/self/fd/{fd}")).is_ok()) {
        // SAFETY: nothing in this process owns a descriptor above stderr yet, and this one is open.
        unsafe { rustix::io::close(fd) };
    }
}

/// Signals that our caller ignored or held back are what they are by default, here and in our children: `sh -c 'x &'` and
/// `nohup` ignore some, and Ctrl-C would be dead in every job. The agent has the same lines: the two programs share the wire and
/// no code that needs a system, and a crate for these would be one more between them.
fn reset_signals() {
    for signal in 1..=libc::SIGRTMAX() {
        // SAFETY: an action that was read is one that can be looked at, and the default one has no handler. Only signals that
        // are ignored are changed; SIGPIPE is ignored on purpose, by Rust itself, and reset for children by it.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            if signal != libc::SIGPIPE
                && libc::sigaction(signal, std::ptr::null(), &raw mut action) == 0
                && action.sa_sigaction == libc::SIG_IGN
            {
                libc::signal(signal, libc::SIG_DFL);
            }
        }
    }
    let _ = nix::sys::signal::SigSet::empty().thread_set_mask();
}

/// The signals that end a program which does not care for them, and that can be heard of, by number. Not those of a fault of our own:
/// where one of them is only noted, the fault is there again at once, for ever.
pub fn ending_signals() -> impl Iterator<Item = i32> {
    const OTHERS: [i32; 14] = [
        libc::SIGKILL,
        libc::SIGSTOP,
        libc::SIGTSTP,
        libc::SIGTTIN,
        libc::SIGTTOU,
        libc::SIGCONT,
        libc::SIGCHLD,
        libc::SIGURG,
        libc::SIGWINCH,
        libc::SIGILL,
        libc::SIGFPE,
        libc::SIGSEGV,
        libc::SIGBUS,
        // Rust ignores it: writing says that nobody reads.
        libc::SIGPIPE,
    ];
    // Those between are the C library's own.
    let real_time = libc::SIGRTMIN()..=libc::SIGRTMAX();
    (1..32).filter(|signal| !OTHERS.contains(signal)).chain(real_time)
}

/// Views, links and files: the usual soft limit of 1024 is for programs that use select(2). A job gets its caller's, so
/// [`inherited`] comes before it. Gives how many files this process may open now.
pub fn raise_descriptor_limit() -> u64 {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Then there is room for fewer people.
    let _ = setrlimit(Resource::Nofile, limit);
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// A manager's own files (database, log, lock, sockets, the agent here) are some thirty, and each session and view needs more; with fewer it begins and then fails at
/// whatever it is asked first.
const OPEN_FILES_LEAST: u64 = 48;

/// May this process open as many files as a manager cannot do without?
///
/// # Errors
/// When it may not, and how many it may.
pub fn check_descriptor_limit() -> Result<()> {
    match getrlimit(Resource::Nofile).maximum {
        Some(most) if most < OPEN_FILES_LEAST => Err(Error::failed(
            format!("the manager may have no more than {most} open files, and needs {OPEN_FILES_LEAST}"),
            "raise the hard limit where it is set (`ulimit -Hn`, LimitNOFILE= of a service, limits.conf)",
        )),
        _ => Ok(()),
    }
}

/// The file of the program that runs, and whether what is there now is another, or nothing. None: it cannot be told.
pub fn program() -> (Option<PathBuf>, bool) {
    let Ok(link) = std::fs::read_link("/proc/self/exe") else { return (None, false) };
    let path = link
        .to_str()
        .and_then(|path| path.strip_suffix(" (deleted)"))
        .map_or_else(|| link.clone(), PathBuf::from);
    let same = match (std::fs::metadata("/proc/self/exe"), std::fs::metadata(&path)) {
        (Ok(running), Ok(there)) => files::identity(&running) == files::identity(&there),
        (Ok(_), Err(_)) => false,
        (Err(_), _) => true,
    };
    (Some(path), !same)
}

/// Every limit there is, by its number on Linux.
const RESOURCES: [(u32, Resource); 16] = [
    (0, Resource::Cpu),
    (1, Resource::Fsize),
    (2, Resource::Data),
    (3, Resource::Stack),
    (4, Resource::Core),
    (5, Resource::Rss),
    (6, Resource::Nproc),
    (7, Resource::Nofile),
    (8, Resource::Memlock),
    (9, Resource::As),
    (10, Resource::Locks),
    (11, Resource::Sigpending),
    (12, Resource::Msgqueue),
    (13, Resource::Nice),
    (14, Resource::Rtprio),
    (15, Resource::Rttime),
];

/// The environment of a program that this process starts; paths in it as they are meant here: it may go to another folder.
pub fn environment() -> HashMap<String, String> {
    std::env::vars_os()
        .chain(paths::absolute_variables().map(|(name, path)| (name.into(), path.into())))
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// What a program that this process starts has from it, beside the environment. Called before there is a second thread.
pub fn inherited() -> Inherited {
    // It can only be read by setting it.
    let umask = rustix::process::umask(Mode::from_raw_mode(0o077));
    rustix::process::umask(umask);
    let limits = RESOURCES.into_iter().map(|(number, resource)| {
        let limit = getrlimit(resource);
        Limit { resource: number, soft: limit.current, hard: limit.maximum }
    });
    Inherited {
        umask: Some(umask.bits()),
        nice: rustix::process::getpriority_process(None).ok(),
        limits: limits.collect(),
    }
}
