//! What came of a verb, as JSON.

use super::session::SessionDoc;
use serde::{Deserialize, Serialize};

/// What came of an adoption.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AdoptDoc {
    /// Where.
    pub host: String,
    /// The sessions that have a record now and had none.
    pub adopted: Vec<SessionDoc>,
    /// What is not as it was there, one sentence each.
    pub notes: Vec<String>,
}

/// What came of renaming a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RenameDoc {
    /// The old name.
    pub from: String,
    /// The new one.
    pub to: String,
    /// How many sessions that are not done went with it.
    pub sessions: usize,
    /// And how many records of ended ones.
    pub done: usize,
    /// What could not be made sure of, one sentence each.
    pub notes: Vec<String>,
}

/// What came of a delete.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteDoc {
    /// Ids of the sessions that are gone, here and on their hosts.
    pub deleted: Vec<String>,
    /// Those that go as soon as their hosts can be told.
    pub pending: Vec<PendingDoc>,
    /// Those that are forgotten here though their hosts were not told: their jobs may run on.
    pub given_up: Vec<PendingDoc>,
}

/// A session that is not gone everywhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingDoc {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: Option<String>,
    /// Its host.
    pub host: String,
    /// What it waits for, one sentence.
    pub detail: String,
}

/// What came of a `send`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SentDoc {
    /// The session's id.
    pub id: String,
    /// `typed`, `queued`, `busy`.
    pub outcome: String,
    /// How many wait on the host for their time; of a cancellation, how many were dropped.
    pub queued: u32,
}
