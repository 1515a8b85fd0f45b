//! Everything that differs from one operating system to the next, behind plain functions. This is the one place that
//! chooses by `cfg`: another system is one more module beside [`linux`] with the same functions.
//!
//! | function | what it tells |
//! |---|---|
//! | `process`, `family`, `childless`, `processor`, `arguments`, `cwd`, `home_of`, `programs`, `ports` | processes |
//! | `exit_watch` | a descriptor that tells of a child's end |
//! | `memory` | what the system killed for want of memory |
//! | `login` | whether a logout would end a job, and what would protect it |
//! | `boot_id`, `machine_id`, `steady_ms`, `own_program` | this machine, this boot, this program |
//! | `peer_uid`, `path_of`, `path_into_cwd_of` | who is at the other end of a socket, and short paths to one |
//! | `addresses` | the addresses of a name |
//! | `open_descriptors`, `open_pty`, `allocate`, `resource` | what POSIX leaves open |
//!
//! An answer that may be missing is an `Option`, and `None` means *cannot be seen*, never *there is none*: the idle clock
//! counts it as activity, an ending does not count it as its end.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
pub use linux::*;
