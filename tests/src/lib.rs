//! Fixtures for tests of whole programs: the real `sessd`, the real agent, a real OpenSSH `sshd`, a real PTY.
//!
//! A test builds a [`World`] (its own home, manager and runtime folder), puts hosts beside it ([`Sshd`], reached
//! through a [`Proxy`] where the link has to misbehave), and looks through a [`View`], a PTY whose output goes
//! through a terminal emulator that is not ours. Every wait is a wait for a named fact and has a deadline.

pub mod first_agent;
pub mod jobs;
pub mod procs;
pub mod proxy;
pub mod pty;
pub mod ssh_config;
pub mod sshd;
pub mod user;
pub mod view;
pub mod wait;
pub mod world;

pub use jobs::{Numbers, check_numbers, numbers_in, quote};
pub use proxy::{Faults, Proxy};
pub use pty::Pty;
pub use ssh_config::SshConfig;
pub use sshd::Sshd;
pub use user::User;
pub use view::View;
pub use wait::{until, until_or};
pub use world::{Output, World};

use std::time::Duration;

/// Long enough for a loaded two-core machine; nothing that works takes this long.
pub const SOON: Duration = Duration::from_secs(15);

/// For what has to dial a host, or to be dialled again after the backoff of a lost link.
pub const LATER: Duration = Duration::from_secs(40);
