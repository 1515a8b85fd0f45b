//! # What it takes to be a view or a script
//!
//! * [`core`]: one view, pure: what it asks for, what it makes of what it hears, what it owes
//! * [`connect`]: a connection to the manager, which is started if it does not run · [`looker`]: a view driven by `poll(2)` · `driver`: one
//!   driven by tokio
//! * [`question`]: what a login wants of the person here
//! * [`predict`]: what a key will show before the job shows it, pure · `wait`: what a script waits for, and whether it is so, pure
//! * [`keys`]: the detach key, pure · [`path`]: does the path to the job carry, and what is amiss, pure · [`typed`]: input until it is
//!   acknowledged, pure · [`silence`]: who owes an answer, pure
//!
//! No async runtime here: a view is one loop around `poll(2)`, so that a key goes from the terminal to the manager without a
//! thread in between.

#![cfg_attr(not(test), warn(clippy::print_stdout, clippy::print_stderr))]

pub mod connect;
#[deny(clippy::disallowed_types)]
pub mod core;
#[cfg(feature = "tokio")]
pub mod driver;
#[deny(clippy::disallowed_types)]
pub mod keys;
pub mod looker;
#[deny(clippy::disallowed_types)]
pub mod path;
#[deny(clippy::disallowed_types)]
pub mod predict;
pub mod question;
#[deny(clippy::disallowed_types)]
pub mod silence;
#[deny(clippy::disallowed_types)]
pub mod typed;
#[cfg(feature = "terminal")]
#[deny(clippy::disallowed_types)]
pub mod wait;
