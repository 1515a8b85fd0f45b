//! What scripts and programs say to a job and hear of it, in no view's place.

use super::Doing;
use prost::{Enumeration, Message, Oneof};

/// Something is to be typed into the job, by no view. Sent again under the same id it is typed once.
#[derive(Clone, PartialEq, Message)]
pub struct Send {
    /// 16 bytes, chosen by whoever sends.
    #[prost(bytes = "vec", tag = "1")]
    pub id: Vec<u8>,
    #[prost(message, repeated, tag = "2")]
    pub parts: Vec<SendPart>,
    #[prost(enumeration = "SendWhen", tag = "3")]
    pub when: i32,
    /// Nothing is typed: what waits for its time is dropped.
    #[prost(bool, tag = "4")]
    pub cancel: bool,
}

/// A part of what is typed.
#[derive(Clone, PartialEq, Message)]
pub struct SendPart {
    #[prost(oneof = "SendWhat", tags = "1, 2, 3, 4")]
    pub what: Option<SendWhat>,
}

/// What a part is.
#[derive(Clone, PartialEq, Oneof)]
pub enum SendWhat {
    /// Bytes as they are.
    #[prost(bytes, tag = "1")]
    Text(Vec<u8>),
    /// A key by its name.
    #[prost(string, tag = "2")]
    Key(String),
    /// As a terminal pastes it: with marks where the program asked for them.
    #[prost(bytes, tag = "3")]
    Paste(Vec<u8>),
    /// Lines: as a paste where the program asked for its marks, with Enter for what ends the last line; else as they are.
    #[prost(bytes, tag = "4")]
    Lines(Vec<u8>),
}

/// When it is typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum SendWhen {
    /// At once.
    Now = 0,
    /// When the job is done or quiet, one after the other.
    Idle = 1,
    /// When it waits for a person, one after the other.
    Waiting = 2,
}

/// What became of a `Send`, or of a `Report`.
#[derive(Clone, PartialEq, Message)]
pub struct Sent {
    #[prost(bytes = "vec", tag = "1")]
    pub id: Vec<u8>,
    #[prost(enumeration = "SentOutcome", tag = "2")]
    pub outcome: i32,
    /// Why not, one sentence.
    #[prost(string, tag = "3")]
    pub detail: String,
    /// How many wait for their time now; of a cancellation, how many were dropped.
    #[prost(uint32, tag = "4")]
    pub queued: u32,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum SentOutcome {
    /// Not known.
    Unspecified = 0,
    /// It is typed, or heard.
    Done = 1,
    /// It waits for its time, on the host.
    Queued = 2,
    /// Not now: the job has not read what was typed before. It may be sent again.
    Busy = 3,
    /// It is not typed.
    Refused = 4,
}

/// A program inside the job says what the job is doing.
#[derive(Clone, PartialEq, Message)]
pub struct Report {
    #[prost(enumeration = "Doing", tag = "1")]
    pub state: i32,
    #[prost(string, tag = "2")]
    pub note: String,
}

/// A notice of the job for people.
#[derive(Clone, PartialEq, Message)]
pub struct Notice {
    /// `notice` or `bell`.
    #[prost(string, tag = "1")]
    pub kind: String,
    #[prost(string, tag = "2")]
    pub title: String,
    #[prost(string, tag = "3")]
    pub body: String,
    /// How long ago, by a clock that nobody sets.
    #[prost(uint64, tag = "4")]
    pub age_ms: u64,
}

/// The input of a view ends here: what reads it is told so once all before is written.
#[derive(Clone, PartialEq, Message)]
pub struct InputEnd {
    /// The view's id, 16 bytes.
    #[prost(bytes = "vec", tag = "1")]
    pub view: Vec<u8>,
    /// How many bytes it has in all.
    #[prost(uint64, tag = "2")]
    pub seq: u64,
}
