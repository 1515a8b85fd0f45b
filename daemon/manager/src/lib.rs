//! # The manager
//!
//! The tasks, files and sockets around the decisions of `sessd-core`, which can reach none. One process per user; everything
//! runs on one thread.
//!
//! In the order data flows, from a view to a host:
//! * [`server`]: the process, from its lock to its end · [`log`]: what it writes down · [`failpoints`]: where tests kill it
//! * [`api`]: the socket · [`wire`]: frames over tokio's streams · [`unix`]: a unix socket's two halves
//! * [`manager`]: what there is · [`registry`]: the sessions, the only place where they come and go · [`verbs`]: what people ask for
//! * [`session`], [`session_context`]: the task of one session · [`mailbox`]: what it is told
//! * [`host`], [`host_context`]: the task of one host · [`link`]: one live connection with an agent · [`traffic`]: what goes over it · [`dial`]: its byte stream · [`origins`]: from where
//!   people asked · [`news`]: what is worth another attempt · [`network`]: what
//!   makes every link doubtful
//! * [`desk`]: who may be asked for a host · [`forward`]: what is forwarded for a session, and the sockets of that
//! * [`store`]: the records in SQLite · [`upkeep`]: what is done now and then
//! * [`doc`], [`events`]: what people see · [`event_command`]: their own command with an event · [`adopt`]: taking over what another manager made

#![cfg_attr(not(test), warn(clippy::print_stdout, clippy::print_stderr))]
// Every module is private but for what is named below: `pub` in one is for the others.
#![allow(unreachable_pub)]

mod adopt;
mod api;
mod desk;
mod dial;
mod doc;
mod event_command;
mod events;
mod failpoints;
mod forward;
mod host;
mod host_context;
mod link;
mod log;
mod mailbox;
mod manager;
mod network;
mod news;
mod origins;
mod registry;
mod server;
mod session;
mod session_context;
#[cfg(not(feature = "records"))]
mod store;
#[cfg(feature = "records")]
pub mod store;
mod traffic;
mod unix;
mod upkeep;
mod verbs;
mod wire;

pub use server::run;
