//! # The agent on a host
//!
//! `sessd-agent serve` lives as long as one link: it joins the link's byte stream (its own stdio) to any number of
//! holders, and can start, list, end and forget jobs. It keeps nothing.
//!
//! `sessd-agent hold` lives as long as one job: it owns the job's PTY, its terminal model, the ring of its last output,
//! its idle clock and its exit record. It depends on no other process.
//!
//! Both are one thread around `poll(2)`; no wait blocks anything else. Only files are worked on beside it, by threads that
//! end when nothing is left to do: a disk that does not answer (a network home whose server is away) stops whoever asks it,
//! and neither a job nor a key may wait for that. The rooms, in the order data flows:
//!
//! * [`serve`]: the link's loop; [`relay`]: a stream and its holder; [`inventory`]: what jobs there are, and is each alive;
//!   [`listing`]: an inventory being taken, step by step
//! * [`places`]: where jobs may lie; [`disk`]: work that may have to wait for a disk, and what came of it
//! * [`detach`]: starts a holder that leaves the login behind; [`leaving`]: whether a logout would end it, pure but for
//!   reading the facts
//! * [`hold`]: the holder's loop; [`conn`]: one framed connection; [`input`]: what views typed, once each;
//!   [`idle`]: the idle clock, pure; [`ending`]: HUP, TERM, KILL, pure;
//!   [`activity`]: what the job is doing, [`queue`]: what is typed by no view, both pure;
//!   [`asked`]: questions of the job that a view left unanswered;
//!   [`memory`]: what the kernel killed because memory ran out;
//!   [`sizes`]: which size the PTY had at which byte; [`upkeep`]: what of the job's folder a cleaner took
//! * [`pty`]: opening a PTY and starting a program on it; [`inherit`]: with which umask, priority and limits; [`procfs`]: what the kernel tells about processes
//! * [`folder`]: the files of one job, and where they are
//!
//! Absent on purpose: an async runtime, name resolution, user look-ups, and any state that outlives its process
//! but for the files of a job.

pub mod activity;
pub mod asked;
pub mod conn;
pub mod detach;
pub mod disk;
pub mod ending;
pub mod folder;
pub mod hold;
pub mod idle;
pub mod inherit;
pub mod input;
pub mod inventory;
pub mod leaving;
pub mod listing;
pub mod memory;
pub mod places;
pub mod procfs;
pub mod pty;
pub mod queue;
pub mod relay;
pub mod serve;
pub mod sizes;
pub mod upkeep;

/// This agent's version, for people.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Milliseconds by a clock of this host that nobody sets and that goes on while it sleeps: how long ago something was.
pub fn steady_ms() -> u64 {
    let at = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    at.tv_sec as u64 * 1000 + at.tv_nsec as u64 / 1_000_000
}

/// Milliseconds since the Unix epoch by this host's wall clock. Only ever shown and recorded, never counted with.
pub fn wall_ms() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64)
}
