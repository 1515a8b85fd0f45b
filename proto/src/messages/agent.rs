//! What a manager asks an agent, and what it answers.

use super::{Empty, End, ExitRecord, Inherited, JobSpec};
use prost::{Enumeration, Message, Oneof};
use std::collections::HashMap;

/// A request to the agent.
#[derive(Clone, PartialEq, Message)]
pub struct LinkRequest {
    /// Comes back in the reply.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    #[prost(oneof = "LinkAct", tags = "2, 3, 4, 5, 6")]
    pub act: Option<LinkAct>,
}

/// What the agent is asked for.
#[allow(clippy::large_enum_variant)] // one at a time, and prost's oneofs do not box
#[derive(Clone, PartialEq, Oneof)]
pub enum LinkAct {
    /// All jobs of this user on this host.
    #[prost(message, tag = "2")]
    Inventory(InventoryRequest),
    /// Start a job, once per job id.
    #[prost(message, tag = "3")]
    Spawn(Spawn),
    /// Remove what is left of an ended job.
    #[prost(message, tag = "4")]
    Forget(JobName),
    /// End a job without opening a stream to it.
    #[prost(message, tag = "5")]
    End(EndJob),
    /// The last screen of a job that has ended.
    #[prost(message, tag = "6")]
    ReadScreen(JobName),
}

/// Which jobs are asked for: all, wherever they lie.
#[derive(Clone, PartialEq, Message)]
pub struct InventoryRequest {
    /// Folders of jobs that the manager's records name, in addition to those that the agent knows by itself.
    #[prost(string, repeated, tag = "1")]
    pub places: Vec<String>,
    /// UUID of the manager that asks.
    #[prost(string, tag = "2")]
    pub manager_id: String,
}

/// Start a job.
#[derive(Clone, PartialEq, Message)]
pub struct Spawn {
    #[prost(message, optional, tag = "1")]
    pub spec: Option<JobSpec>,
    /// The environment the job starts from, instead of the agent's own: for the host `local`, where it is that of the
    /// terminal the user sits at. Never written to disk.
    #[prost(map = "string, string", tag = "2")]
    pub environment: HashMap<String, String>,
    /// The rest of what a program inherits, in the same way.
    #[prost(message, optional, tag = "3")]
    pub inherited: Option<Inherited>,
}

/// Names a job.
#[derive(Clone, PartialEq, Message)]
pub struct JobName {
    #[prost(string, tag = "1")]
    pub job_id: String,
    /// UUID of the manager that asks.
    #[prost(string, tag = "2")]
    pub manager_id: String,
}

/// The last screen of a job.
#[derive(Clone, PartialEq, Message)]
pub struct Screen {
    /// Escape sequences that draw it on a fresh terminal, with the end of its scrollback; empty: none was kept.
    #[prost(bytes = "vec", tag = "1")]
    pub snapshot: Vec<u8>,
    #[prost(uint32, tag = "2")]
    pub cols: u32,
    #[prost(uint32, tag = "3")]
    pub rows: u32,
}

/// Ends a job by name.
#[derive(Clone, PartialEq, Message)]
pub struct EndJob {
    #[prost(string, tag = "1")]
    pub job_id: String,
    #[prost(message, optional, tag = "2")]
    pub end: Option<End>,
    /// Its holder does not answer and the user wants the job gone by force: the holder is killed, and what is left of the job
    /// is ended when the job is forgotten.
    #[prost(bool, tag = "3")]
    pub kill_holder: bool,
}

/// The agent's answer.
#[derive(Clone, PartialEq, Message)]
pub struct LinkReply {
    #[prost(uint64, tag = "1")]
    pub id: u64,
    #[prost(oneof = "LinkAnswer", tags = "2, 3, 4, 5, 6")]
    pub answer: Option<LinkAnswer>,
    /// An inventory goes on in the next reply of the same id: no frame is longer than any may be.
    #[prost(bool, tag = "15")]
    pub more: bool,
}

/// What the agent answers.
#[derive(Clone, PartialEq, Oneof)]
pub enum LinkAnswer {
    #[prost(message, tag = "2")]
    Inventory(Inventory),
    #[prost(message, tag = "3")]
    Spawned(Spawned),
    #[prost(message, tag = "4")]
    Done(Empty),
    #[prost(message, tag = "5")]
    Refused(Refused),
    #[prost(message, tag = "6")]
    Screen(Screen),
}

/// The job runs.
#[derive(Clone, PartialEq, Message)]
pub struct Spawned {
    #[prost(uint32, tag = "1")]
    pub pid: u32,
    /// What is not protected on this host, one sentence each, such as a logout that ends everything.
    #[prost(string, repeated, tag = "2")]
    pub warnings: Vec<String>,
    /// The folder of jobs that it was put into; empty: that of the inventory.
    #[prost(string, tag = "3")]
    pub folder: String,
}

/// Why the agent did not do it.
#[derive(Clone, PartialEq, Message)]
pub struct Refused {
    /// One sentence for people: the real reason.
    #[prost(string, tag = "1")]
    pub detail: String,
    /// The request itself is at fault (no such command, no such folder): asking again is pointless.
    #[prost(bool, tag = "2")]
    pub final_answer: bool,
    /// Of a job whose command is not there, or cannot be executed: what a shell would end with.
    #[prost(uint32, optional, tag = "3")]
    pub exit_code: Option<u32>,
}

/// All jobs of this user on this host.
#[derive(Clone, PartialEq, Message)]
pub struct Inventory {
    /// Changes when the host boots; empty where it cannot be read.
    #[prost(string, tag = "1")]
    pub boot_id: String,
    #[prost(string, tag = "2")]
    pub machine_id: String,
    #[prost(string, tag = "3")]
    pub agent_version: String,
    /// The host's wall clock.
    #[prost(uint64, tag = "4")]
    pub now_ms: u64,
    #[prost(message, repeated, tag = "5")]
    pub jobs: Vec<JobReport>,
    /// Every folder of jobs was read to its end: a job that is not listed is in none of them.
    #[prost(bool, tag = "6")]
    pub complete: bool,
    /// The folder of jobs that is preferred here; of an agent that knows no others, the only one.
    #[prost(string, tag = "7")]
    pub folder: String,
    /// The folders of jobs that were read to their end. Empty: `folder` alone, if the inventory is complete.
    #[prost(string, repeated, tag = "8")]
    pub places: Vec<String>,
}

/// Is the job's holder there?
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum Liveness {
    /// No firm evidence either way.
    Unknown = 0,
    /// It answered.
    Alive = 1,
    /// The job ended and its exit record is here.
    Exited = 2,
    /// Firm evidence that the holder is gone, and no exit record.
    Gone = 3,
}

/// One job of an inventory.
#[derive(Clone, PartialEq, Message)]
pub struct JobReport {
    #[prost(message, optional, tag = "1")]
    pub spec: Option<JobSpec>,
    #[prost(enumeration = "Liveness", tag = "2")]
    pub liveness: i32,
    #[prost(message, optional, tag = "3")]
    pub exit: Option<ExitRecord>,
    #[prost(uint32, tag = "4")]
    pub pid: u32,
    /// Boot id under which the holder started.
    #[prost(string, tag = "5")]
    pub boot_id: String,
    /// Why the answer is what it is, one sentence.
    #[prost(string, tag = "6")]
    pub detail: String,
    /// The holder still answers, so the last bytes of an exited job can be taken from it.
    #[prost(bool, tag = "7")]
    pub holder_answers: bool,
    /// UUIDs of the managers that have held the job and not yet forgotten it.
    #[prost(string, repeated, tag = "8")]
    pub managers: Vec<String>,
    /// The folder of jobs that it lies in; empty: that of the inventory.
    #[prost(string, tag = "9")]
    pub folder: String,
    /// The spec is longer than one frame, and told in part.
    #[prost(bool, tag = "10")]
    pub abridged: bool,
}
