//! # Every session on every host, to look at and to choose from
//!
//! What is decided is a machine: events in with the time, effects out, a deadline; what is seen is drawn from it into a buffer of
//! cells. The shell around them has the terminal and the connections to the manager, and waits for nobody: what takes time is
//! asked for on a connection of its own and comes back as an event.
//!
//! * [`keys`]: what a terminal sends, as keys, pure · `edit`: a line that is edited in place, pure
//! * `list`: what is known, and its order, pure · `dialog`: what is asked before something is done, pure · `preview`: the screen of
//!   the session selected, pure · [`machine`]: what all that does, pure · `draw`: how it looks, pure
//! * `talk`: connections to the manager · `screen`: the user's terminal, given back as it was · [`shell`]: the loop
//!
//! Showing a session in full is not done here: whoever calls is told which, shows it, and comes back.

#![cfg_attr(not(test), warn(clippy::print_stdout, clippy::print_stderr))]

mod dialog;
mod draw;
mod edit;
pub mod keys;
mod list;
pub mod machine;
mod preview;
mod screen;
pub mod shell;
mod talk;
#[cfg(test)]
mod tests;

pub use machine::Look;
pub use shell::{Picked, Picker};

use sessd_proto::docs::Result;
use sessd_proto::messages as m;

/// The time: milliseconds of a clock that nobody sets, and of the wall's since the epoch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Now {
    /// Steady.
    pub ms: u64,
    /// By the wall.
    pub wall_ms: i64,
}

/// What the command line knows how to ask for, with its caller's environment and folder.
pub trait Requests {
    /// A new session; an empty name is none.
    ///
    /// # Errors
    /// When there can be none such.
    fn create(&self, name: &str, host: &str) -> Result<m::Create>;
    /// A new job in a session.
    fn restart(&self, id: &str) -> m::Select;
    /// The hosts that the ssh configuration names.
    fn hosts(&self) -> Vec<String>;
}
