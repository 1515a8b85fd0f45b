//! What is forwarded for a job: what a manager wants of a holder, and the channels between them.

use prost::{Enumeration, Message};

/// What a manager wants of a holder beside its job's terminal. What is not in the last one is not wanted any more.
#[derive(Clone, PartialEq, Message)]
pub struct Forwards {
    #[prost(message, repeated, tag = "1")]
    pub listeners: Vec<Listener>,
    /// This manager joins the job's programs to an ssh-agent.
    #[prost(bool, tag = "2")]
    pub agent: bool,
    /// It wants to hear of the ports that the job listens on.
    #[prost(bool, tag = "3")]
    pub ports: bool,
}

/// Something that the holder is to listen on.
#[derive(Clone, PartialEq, Message)]
pub struct Listener {
    /// Chosen by the manager, never 0.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// Address to bind; empty: this host alone; `*`: all.
    #[prost(string, tag = "2")]
    pub address: String,
    /// 0: any that is free.
    #[prost(uint32, tag = "3")]
    pub port: u32,
    /// Not empty: a unix socket at that path instead.
    #[prost(string, tag = "4")]
    pub path: String,
}

/// What became of [`Forwards`].
#[derive(Clone, PartialEq, Message)]
pub struct Forwarded {
    #[prost(message, repeated, tag = "1")]
    pub listeners: Vec<Listening>,
    #[prost(message, repeated, tag = "2")]
    pub ports: Vec<JobPort>,
}

/// What became of a listener.
#[derive(Clone, PartialEq, Message)]
pub struct Listening {
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// The port it has.
    #[prost(uint32, tag = "2")]
    pub port: u32,
    /// Why it is none, one sentence; empty: it listens.
    #[prost(string, tag = "3")]
    pub error: String,
}

/// A port that a process of the job listens on.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct JobPort {
    #[prost(uint32, tag = "1")]
    pub port: u32,
    /// The address it is bound to.
    #[prost(string, tag = "2")]
    pub address: String,
    /// Name of the program, or empty.
    #[prost(string, tag = "3")]
    pub program: String,
}

/// The channels of an end. A channel that only one end has is over.
#[derive(Clone, PartialEq, Message)]
pub struct ChannelSync {
    /// UUID of the manager; empty in the answer.
    #[prost(string, tag = "1")]
    pub manager_id: String,
    /// Differs for each run of a manager: channels do not outlive it.
    #[prost(uint64, tag = "2")]
    pub instance: u64,
    #[prost(message, repeated, tag = "3")]
    pub channels: Vec<ChannelAt>,
}

/// How far a channel got.
#[derive(Clone, PartialEq, Message)]
pub struct ChannelAt {
    #[prost(uint64, tag = "1")]
    pub channel: u64,
    /// What this end has of it; the end of what comes counts one.
    #[prost(uint64, tag = "2")]
    pub received: u64,
}

/// A channel begins. From a manager: the holder is to connect to something. From a holder: somebody connected to what the
/// manager had it listen on.
#[derive(Clone, PartialEq, Message)]
pub struct ChannelOpen {
    /// Even: chosen by the manager; odd: by the holder. Never used again by the same two.
    #[prost(uint64, tag = "1")]
    pub channel: u64,
    /// Name or address to connect to, as the host understands it.
    #[prost(string, tag = "2")]
    pub host: String,
    #[prost(uint32, tag = "3")]
    pub port: u32,
    /// Not empty: a unix socket at that path instead.
    #[prost(string, tag = "4")]
    pub path: String,
    /// The listener that somebody connected to; 0: none.
    #[prost(uint64, tag = "5")]
    pub listener: u64,
    /// A program of the job wants its ssh-agent.
    #[prost(bool, tag = "6")]
    pub agent: bool,
}

/// Names a channel.
#[derive(Clone, PartialEq, Message)]
pub struct ChannelName {
    #[prost(uint64, tag = "1")]
    pub channel: u64,
}

/// Why a channel is over.
#[derive(Clone, PartialEq, Message)]
pub struct ChannelClose {
    #[prost(uint64, tag = "1")]
    pub channel: u64,
    #[prost(enumeration = "ChannelFailure", tag = "2")]
    pub reason: i32,
    /// One sentence for people.
    #[prost(string, tag = "3")]
    pub detail: String,
}

/// Why a channel is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum ChannelFailure {
    /// Not known.
    Unspecified = 0,
    /// Nobody listens there.
    Refused = 1,
    /// There is no such name or path.
    NotFound = 2,
    /// No way leads there, or nothing answers.
    Unreachable = 3,
    /// It was not asked for.
    Prohibited = 4,
    /// A bound was reached.
    TooMany = 5,
    /// Whoever was joined to it is gone without an end.
    Reset = 6,
}
