//! # The manager's decisions
//!
//! Values in, values out: time is an argument, chance is a seed, and nothing here can reach a socket, a file or the
//! database. The crate's dependencies are the guard.
//!
//! * [`record`]: the durable facts of one session, and its states
//! * [`reconcile`]: a record and what a host says → what to do
//! * [`backoff`]: how long until the next attempt
//! * [`budget`]: what may be done at once, so many times in a row
//! * [`dialling`]: when a host is dialled, who waits for it, what each is told
//! * [`stream`]: what a stream is called, whatever number its link gives it
//! * [`host`]: one host: its link, what was seen there, what each who lives there is told
//! * [`link`]: one live connection to an agent: requests, streams, heartbeats
//! * [`wake`]: whether this machine has slept · [`network`]: whether its network changed
//! * [`adopt`]: a job another manager made → a record of ours
//! * [`removal`]: a session that is to go → the next step
//! * [`times`]: what a host's clock says → what ours says
//! * [`session`]: one session, as a machine: all that is decided about it, and in which order
//! * [`replica`]: the manager's copy of what a job wrote · [`views`]: who watches, and what each is due · [`last_screen`]: what is
//!   kept of it in the end
//! * [`registry`]: which session is meant, who has a name, whose replica is let go
//! * [`leader`]: which view sets the size and answers the terminal's queries
//! * [`untrusted`]: every text in a frame of a host, made fit for people
//! * [`credit`]: what a holder may send · [`flow`]: how much of that may be on its way
//! * [`typing`]: how far ahead a view may type · [`guests`]: who is let in when it is full
//! * [`doing`]: what a job is doing, by our clock
//! * [`forward`]: ports, sockets and ssh-agents that are forwarded for a session
//! * [`pace`]: a value that somebody else is told, as often as it is of use

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod adopt;
pub mod backoff;
pub mod budget;
pub mod credit;
pub mod dialling;
pub mod doing;
pub mod flow;
pub mod forward;
pub mod guests;
pub mod host;
pub mod last_screen;
pub mod leader;
pub mod link;
pub mod network;
pub mod pace;
pub mod reconcile;
pub mod record;
pub mod registry;
pub mod removal;
pub mod replica;
pub mod session;
pub mod stream;
pub mod times;
pub mod typing;
pub mod untrusted;
pub mod views;
pub mod wake;

pub use record::{End, Record, State};
