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
//! and neither a job nor a key may wait for that. Three floors:
//!
//! * [`machine`]: what a holder decides, without PTY, file, socket or clock
//! * [`platform`]: what differs from one operating system to the next, behind plain functions
//! * [`io`]: what touches the world. In the order data flows:
//!   [`io::serve`]: the link's loop; [`io::relay`]: a stream and its holder; [`io::inventory`]: what jobs there are, and is each
//!   alive; [`io::listing`]: an inventory being taken, step by step; [`io::places`]: where jobs may lie; [`io::disk`]: work that
//!   may have to wait for a disk, and what came of it; [`io::detach`]: starts a holder that leaves the login behind;
//!   [`io::hold`]: the holder's loop; [`io::keep`]: its files; [`io::upkeep`]: what of the job's folder a cleaner took;
//!   [`io::conn`]: one framed connection; [`io::readiness`]: one poll over many; [`io::pty`]: opening a PTY and starting a
//!   program on it; [`io::inherit`]: with which umask, priority and limits; [`io::folder`]: the files of one job, and where
//!   they are; [`io::report`]: what a program of a job says to its holder;
//!   [`io::channels`]: sockets of what is forwarded; [`io::copy`]: the agent as
//!   the program of a job, which carries a byte stream or files
//!
//! Absent on purpose: an async runtime, user look-ups, and any state that outlives its process
//! but for the files of a job.

pub mod io;
#[deny(clippy::disallowed_types)]
pub mod machine;
pub mod platform;

/// This agent's version, for people.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Milliseconds since the Unix epoch by this host's wall clock. Only ever shown and recorded, never counted with.
pub fn wall_ms() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64)
}
