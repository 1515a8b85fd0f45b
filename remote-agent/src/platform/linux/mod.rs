//! Linux: `/proc`, `/sys`, pidfd, cgroups, systemd.

mod login;
mod memory;
mod names;
mod ports;
mod process;

pub use login::{Facts as Login, SCOPE, login};
pub use memory::{MemoryCount, memory};
pub use names::addresses;
pub use ports::ports;
pub use process::{arguments, childless, cwd, family, home_of, process, processor, programs};

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use rustix::process::Resource;
use rustix::pty::OpenptFlags;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::PathBuf;
use std::process::Child;

/// Changes at each boot; empty where the system does not tell.
pub fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|s| s.trim().to_owned())
        .unwrap_or_default()
}

/// The machine's own id, hexadecimal; empty where there is none.
pub fn machine_id() -> String {
    std::fs::read_to_string("/etc/machine-id").map(|s| s.trim().to_owned()).unwrap_or_default()
}

/// Milliseconds by a clock of this host that nobody sets and that goes on while it sleeps: how long ago something was.
pub fn steady_ms() -> u64 {
    let at = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    at.tv_sec as u64 * 1000 + at.tv_nsec as u64 / 1_000_000
}

/// Our own binary. A cleaner may have taken its file; the kernel keeps it as long as we run. It lies on a disk: this waits
/// for one that does not answer.
///
/// # Errors
/// When the system does not tell.
pub fn own_program() -> io::Result<PathBuf> {
    let path = std::env::current_exe()?;
    Ok(if path.exists() { path } else { format!("/proc/{}/exe", std::process::id()).into() })
}

/// A descriptor that becomes readable when the process ends; `None` on a kernel that has no such thing (before 5.3).
pub fn exit_watch(child: &Child) -> Option<OwnedFd> {
    let pid = rustix::process::Pid::from_child(child);
    rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).ok()
}

/// Whose process is at the other end of a socket.
///
/// # Errors
/// When the system does not tell.
pub fn peer_uid(socket: BorrowedFd<'_>) -> io::Result<u32> {
    // Of a process outside of this container the number is 0, which is none to rustix.
    Ok(getsockopt(&socket, PeerCredentials)?.uid())
}

/// A short path to what an open folder is, for as long as it is open; `None`: there is none.
pub fn path_of(folder: BorrowedFd<'_>) -> Option<PathBuf> {
    Some(format!("/proc/self/fd/{}", folder.as_raw_fd()).into())
}

/// A short path, for every process of this user, to the current folder of process `pid`; `None`: there is none.
pub fn path_into_cwd_of(pid: u32) -> Option<PathBuf> {
    Some(format!("/proc/{pid}/cwd").into())
}

/// The open descriptors of this process above stderr. Empty where the system does not tell.
pub fn open_descriptors() -> Vec<RawFd> {
    const LISTS: [&str; 2] = ["/proc/self/fd", "/dev/fd"];
    let Some((list, entries)) = LISTS.iter().find_map(|list| Some((list, std::fs::read_dir(list).ok()?)))
    else {
        return Vec::new();
    };
    let listed: Vec<RawFd> =
        entries.flatten().filter_map(|e| e.file_name().to_str()?.parse().ok()).filter(|fd| *fd > 2).collect();
    // The one the list was read with is in it, and closed by now.
    listed.into_iter().filter(|fd| std::fs::symlink_metadata(format!("{list}/{fd}")).is_ok()).collect()
}

/// Opens a new PTY, our side of it, not to be inherited.
///
/// # Errors
/// When there is none left.
pub fn open_pty() -> io::Result<OwnedFd> {
    Ok(rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?)
}

/// Takes room for `bytes` of a file.
///
/// # Errors
/// When there is none. A file system that cannot say it beforehand says it when it is written to.
pub fn allocate(file: &File, bytes: u64) -> io::Result<()> {
    use rustix::io::Errno;
    match rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), 0, bytes) {
        Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// The number of the limit on open descriptors, for [`resource`].
pub const NOFILE: u32 = 7;

/// A limit by its number on Linux, which is what the wire carries; `None` where this system has no such limit.
pub fn resource(number: u32) -> Option<Resource> {
    const RESOURCES: [Resource; 16] = [
        Resource::Cpu,
        Resource::Fsize,
        Resource::Data,
        Resource::Stack,
        Resource::Core,
        Resource::Rss,
        Resource::Nproc,
        Resource::Nofile,
        Resource::Memlock,
        Resource::As,
        Resource::Locks,
        Resource::Sigpending,
        Resource::Msgqueue,
        Resource::Nice,
        Resource::Rtprio,
        Resource::Rttime,
    ];
    RESOURCES.get(number as usize).copied()
}
