//! The messages. Fields are only added, numbers never used again; a number out of an enum's range is kept as it came.
//!
//! Times are milliseconds since the Unix epoch by the clock of whoever sends them, which may be wrong; lengths of time are
//! milliseconds.

#![allow(missing_docs)] // the derives add items without docs; every message and every field that needs it has its own

mod agent;
mod channel;
mod holder;
mod job;
mod manager;
mod script;
mod view;

pub use agent::*;
pub use channel::*;
pub use holder::*;
pub use job::*;
pub use manager::*;
pub use script::*;
pub use view::*;

use prost::{Enumeration, Message};

/// A message that says all by its kind.
#[derive(Clone, PartialEq, Message)]
pub struct Empty {}

/// First frame each way.
#[derive(Clone, PartialEq, Message)]
pub struct Hello {
    #[prost(uint32, tag = "1")]
    pub proto_min: u32,
    #[prost(uint32, tag = "2")]
    pub proto_max: u32,
    /// Bits of `hello::feature`.
    #[prost(uint64, tag = "3")]
    pub features: u64,
    /// For people: "0.1.0".
    #[prost(string, tag = "4")]
    pub version: String,
    /// Hash of the binary, where it is known.
    #[prost(string, tag = "5")]
    pub build: String,
}

/// A frame of this kind was skipped.
#[derive(Clone, PartialEq, Message)]
pub struct Unsupported {
    #[prost(uint32, tag = "1")]
    pub kind: u32,
}

/// Why a stream or connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum CloseReason {
    /// No reason given.
    Unspecified = 0,
    /// There is no such job on this host: its folder does not exist.
    NoSuchJob = 1,
    /// The job's holder could not be reached now; that says nothing about the job.
    HolderUnreachable = 2,
    /// The other end broke the protocol.
    Protocol = 3,
    /// The other end leaves on purpose.
    Leaving = 4,
    /// The job's holder is gone for good, with evidence, and left no exit record.
    HolderGone = 5,
    /// A bound was reached.
    TooMany = 6,
}

/// Ends a stream; on stream 0 the connection.
#[derive(Clone, PartialEq, Message)]
pub struct Close {
    #[prost(enumeration = "CloseReason", tag = "1")]
    pub reason: i32,
    /// One sentence for people.
    #[prost(string, tag = "2")]
    pub detail: String,
}
