//! # sessd: shells that live on the host, not in your window
//!
//! One binary: the command line and views, and the manager they talk to.
//!
//! In the order data flows, from a key to the host:
//! * [`cli`]: flags, verbs, how answers look · [`out`]: the one way to print · [`view`]: one terminal that shows a session
//! * [`api`]: the manager's socket · [`manager`]: sessions, hosts, links; every task
//! * [`ssh`]: from a host's name to an agent's byte stream · [`agents`]: the agents we carry
//! * [`store`]: the records in SQLite · [`wire`]: frames over tokio's streams · [`unix`]: a unix socket's two halves
//! * [`server`]: the manager's process · [`process`]: what a process inherits, and leaves behind · [`seat`]: who is the manager,
//!   and where it listens · [`log`]: what it writes down · [`faults`]: where tests kill it
//! * [`config`], [`paths`], [`files`], [`clock`]: what all of them share
//! * [`turn`]: how long one task may have the thread that all of them share
//!
//! Decisions are not here but in `sessd-core`, which can reach no I/O.

#![cfg_attr(not(test), warn(clippy::print_stdout, clippy::print_stderr))]

pub mod agents;
pub mod api;
pub mod asking;
pub mod cli;
pub mod clock;
pub mod config;
pub mod faults;
pub mod files;
pub mod log;
pub mod manager;
pub mod out;
pub mod paths;
pub mod process;
pub mod seat;
pub mod server;
pub mod ssh;
pub mod store;
pub mod turn;
pub mod unix;
pub mod view;
pub mod wire;
