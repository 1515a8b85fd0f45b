//! What people ask of the manager, a room for each: a verb looks, is alone with a session that it starts or removes, asks
//! the session's own task, and tells what came of it.

mod check;
pub(crate) mod connect;
mod create;
pub mod delete;
pub mod find;
pub mod forward;
mod list;
pub mod rename;
mod restart;
pub mod send;
mod size;
mod tag;

use sessd_proto::Uuid;
use sessd_proto::docs::{Error, Result};

/// How often a verb looks again for a session that was just ended, or began, under its hands.
const LOOKS: usize = 16;

/// An id that whoever asks chose, or a new one.
fn chosen(id: &str) -> Result<Uuid> {
    if id.is_empty() {
        Ok(Uuid::now_v7())
    } else {
        Uuid::parse_str(id).map_err(|_| Error::usage(format!("`{id}` is not an id")))
    }
}

/// The session changed each time it was looked at.
fn never_still(selector: &str) -> Error {
    Error::failed(format!("`{selector}` begins and ends all the time"), "try again")
}
