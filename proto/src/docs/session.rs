//! One session, as JSON. The table on the terminal and the web view read the same.

use super::end::EndDoc;
use super::word::{LinkState, Reap, SizePolicy, State, Word};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A view of a session.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ViewDoc {
    /// Its id.
    pub id: String,
    /// "cli", "web", …
    pub kind: String,
    /// It may not type.
    pub read_only: bool,
    /// RFC 3339.
    pub attached_at: String,
    /// Its terminal answers the job's queries.
    #[serde(default)]
    pub leads: bool,
    /// Its size counts in the session's, by the session's policy.
    #[serde(default)]
    pub sizes: bool,
    /// Its own size; null: it was not measured.
    #[serde(default)]
    pub size: Option<SizeDoc>,
    /// Where its person sits; null: not known.
    #[serde(default)]
    pub from: Option<String>,
}

/// Columns and rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SizeDoc {
    /// Columns.
    pub cols: u32,
    /// Rows.
    pub rows: u32,
}

/// What a job is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActivityDoc {
    /// `working`, `waiting`, `done`, `secret`, `quiet`.
    pub state: String,
    /// How it is known: `report`, `progress`, `shell`, `notice`, `bell`, `echo`, `output`, `silence`.
    pub source: String,
    /// RFC 3339.
    pub since: String,
    /// What was said with it.
    pub note: Option<String>,
}

#[cfg(feature = "views")]
impl From<&crate::messages::ViewDoing> for ActivityDoc {
    fn from(doing: &crate::messages::ViewDoing) -> Self {
        Self {
            state: doing.state.clone(),
            source: doing.source.clone(),
            since: super::time::rfc3339(i64::try_from(doing.since_ms).unwrap_or(i64::MAX)),
            note: (!doing.note.is_empty()).then(|| doing.note.clone()),
        }
    }
}

/// One session. Unknown is null, never a made-up value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)] // the contract describes each field
pub struct SessionDoc {
    pub id: String,
    pub name: Option<String>,
    pub host: String,
    pub state: Word<State>,
    pub end: Option<EndDoc>,
    pub tags: BTreeMap<String, String>,
    pub command: Vec<String>,
    pub cwd: Option<String>,
    pub foreground: Option<String>,
    pub title: Option<String>,
    pub size: Option<SizeDoc>,
    pub views: Vec<ViewDoc>,
    /// The id of the view that leads; null: none does.
    #[serde(default)]
    pub leader: Option<String>,
    pub created_at: String,
    pub last_active_at: Option<String>,
    pub idle_seconds: Option<u64>,
    pub idle_timeout_seconds: Option<u64>,
    pub reap_at: Option<String>,
    /// What its job is doing; null where that is not known, or no longer.
    #[serde(default)]
    pub activity: Option<ActivityDoc>,
    pub link: Word<LinkState>,
    pub job_id: String,
    pub agent_version: Option<String>,
    /// It is to go, and its host was not told yet.
    #[serde(default)]
    pub delete_requested: bool,
    /// How long its holder owes an answer while its host answers; null: it answers, or nobody can say.
    #[serde(default)]
    pub holder_silent_seconds: Option<u64>,
}

impl SessionDoc {
    /// Where a session stands that is not done, for people.
    pub fn standing(&self) -> String {
        let mut words = self.state.to_string();
        for (is, word) in [
            (self.holder_silent_seconds.is_some(), "holder silent"),
            (self.delete_requested, "delete pending"),
        ] {
            if is {
                words = format!("{words}, {word}");
            }
        }
        words
    }
}

/// One session with everything known: the contract's object with more in it, not beside it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct InfoDoc {
    #[serde(flatten)]
    pub session: SessionDoc,
    #[serde(flatten)]
    pub more: MoreDoc,
}

/// What `info` adds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct MoreDoc {
    pub env: BTreeMap<String, String>,
    pub reap: Word<Reap>,
    pub job_pid: Option<u32>,
    pub output_bytes: Option<u64>,
    pub link_detail: Option<String>,
    pub next_try_at: Option<String>,
    pub notes: Vec<String>,
    /// Other managers that hold the job now.
    #[serde(default)]
    pub held_by: Vec<String>,
    /// How many `sessd send --when` wait on the host.
    #[serde(default)]
    pub queued: Option<u32>,
    /// Who sizes it; null in what a manager says that is older than this.
    #[serde(default)]
    pub size_policy: Option<Word<SizePolicy>>,
    /// What is forwarded for it.
    #[serde(default)]
    pub forwards: Vec<ForwardDoc>,
}

/// Something that is forwarded for a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForwardDoc {
    /// By which `sessd forward --remove` names it; null for a port of the job that `--auto` found.
    pub number: Option<u64>,
    /// `local`, `remote`, `dynamic`, `auto`, `agent`, or `port`: one that `auto` found.
    pub kind: String,
    /// As ssh has it; empty for `auto` and `agent`.
    pub spec: String,
    /// `open`, `waiting` for the host, or `failed`.
    pub state: String,
    /// The port it has, where that is not the one of `spec`.
    pub port: Option<u16>,
    /// Why it failed; of a port of the job, the program.
    pub detail: Option<String>,
}
