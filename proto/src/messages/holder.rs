//! A stream to a job's holder.

use super::EndReason;
use prost::Message;
use std::collections::HashMap;

/// Joins this stream to a job's holder.
#[derive(Clone, PartialEq, Message)]
pub struct Open {
    #[prost(string, tag = "1")]
    pub job_id: String,
}

/// Send output from here on.
#[derive(Clone, PartialEq, Message)]
pub struct Subscribe {
    /// First byte wanted; none: begin with a snapshot.
    #[prost(uint64, optional, tag = "1")]
    pub from: Option<u64>,
    /// First cumulative credit.
    #[prost(uint64, tag = "2")]
    pub credit: u64,
    /// Lines of scrollback in a snapshot.
    #[prost(uint32, tag = "3")]
    pub scrollback_lines: u32,
    /// No output at all, only status and the end: nobody looks at the job now.
    #[prost(bool, tag = "4")]
    pub status_only: bool,
}

/// Ask for the output bytes `from..to`.
#[derive(Clone, PartialEq, Message)]
pub struct ReadRange {
    #[prost(uint64, tag = "1")]
    pub from: u64,
    #[prost(uint64, tag = "2")]
    pub to: u64,
}

/// A size in character cells.
#[derive(Clone, PartialEq, Message)]
pub struct Resize {
    #[prost(uint32, tag = "1")]
    pub cols: u32,
    #[prost(uint32, tag = "2")]
    pub rows: u32,
}

/// End the job: HUP, TERM, then KILL of its whole session.
#[derive(Clone, PartialEq, Message)]
pub struct End {
    #[prost(enumeration = "EndReason", tag = "1")]
    pub reason: i32,
    /// KILL at once.
    #[prost(bool, tag = "2")]
    pub force: bool,
    /// What people call whoever wants that: user and machine. Empty: not told.
    #[prost(string, tag = "3")]
    pub by: String,
}

/// Who watches the job through this stream.
#[derive(Clone, PartialEq, Message)]
pub struct Presence {
    #[prost(uint32, tag = "1")]
    pub views: u32,
    /// One of them is a terminal that answers queries.
    #[prost(bool, tag = "2")]
    pub interactive: bool,
    /// The job is to be held back rather than output be skipped.
    #[prost(bool, tag = "3")]
    pub lossless: bool,
    /// The last view left because its user wanted to, not because its link broke.
    #[prost(bool, tag = "4")]
    pub left_on_purpose: bool,
    /// The views' ids, so that the holder can say how far each one's input got.
    #[prost(bytes = "vec", repeated, tag = "5")]
    pub view_ids: Vec<Vec<u8>>,
    /// UUID of the manager, and what its user calls that machine.
    #[prost(string, tag = "6")]
    pub manager_id: String,
    #[prost(string, tag = "7")]
    pub manager_name: String,
    /// The manager is heard on this connection at least so often, in milliseconds, or it is gone without anybody having
    /// said so; 0: it promises nothing.
    #[prost(uint64, tag = "8")]
    pub silence_ms: u64,
    /// Those of the views that are told of the echo of what they type.
    #[prost(bytes = "vec", repeated, tag = "40")]
    pub predicting: Vec<Vec<u8>>,
    /// Bytes that the job may be ahead of what was sent on this stream; beyond that its screen is sent instead. None: as many as
    /// the holder keeps.
    #[prost(uint64, optional, tag = "41")]
    pub lag_max: Option<u64>,
    /// Lines of scrollback that a screen comes with in place of output that is skipped. None: as many as were subscribed to.
    #[prost(uint32, optional, tag = "42")]
    pub lag_lines: Option<u32>,
    /// What the terminal of the view that leads is like; none: there is none, or it is not known.
    #[prost(message, optional, tag = "9")]
    pub traits: Option<Traits>,
}

/// What a terminal is like.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Message)]
pub struct Traits {
    /// What it makes of clusters of code points, by bits; see `sessd_terminal::Traits`.
    #[prost(uint32, tag = "1")]
    pub clusters: u32,
    /// Pixels of a cell; 0: not known.
    #[prost(uint32, tag = "2")]
    pub cell_width: u32,
    #[prost(uint32, tag = "3")]
    pub cell_height: u32,
}

impl Presence {
    /// Is this view among those that watch?
    pub fn has(&self, view: uuid::Uuid) -> bool {
        self.view_ids.iter().any(|id| id.as_slice() == view.as_bytes())
    }
}

/// New facts of the job's session. Several managers may hold the job: each tells what its user changed, and leaves the rest
/// as it is on the host.
#[derive(Clone, PartialEq, Message)]
pub struct Describe {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(map = "string, string", tag = "2")]
    pub tags: HashMap<String, String>,
    #[prost(uint64, optional, tag = "3")]
    pub idle_timeout_ms: Option<u64>,
    #[prost(bool, tag = "4")]
    pub reap_unattended: bool,
    /// The name stays as it is; `name` repeats it, for holders that do not know this field.
    #[prost(bool, tag = "5")]
    pub keep_name: bool,
    /// The same of the tags.
    #[prost(bool, tag = "6")]
    pub keep_tags: bool,
}
