//! The messages. Fields are only added, numbers never used again; a number out of an enum's range is kept as it came.
//!
//! Times are milliseconds since the Unix epoch by the clock of whoever sends them, which may be wrong; lengths of time are
//! milliseconds.

#![allow(missing_docs)] // the derives add items without docs; every message and every field that needs it has its own

use prost::{Enumeration, Message, Oneof};
use std::collections::HashMap;

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

/// Why a stream or talk ended.
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

/// Ends a stream; on stream 0 the talk.
#[derive(Clone, PartialEq, Message)]
pub struct Close {
    #[prost(enumeration = "CloseReason", tag = "1")]
    pub reason: i32,
    /// One sentence for people.
    #[prost(string, tag = "2")]
    pub detail: String,
}

/// Everything that makes a job, chosen by the manager; kept on the host beside the job.
#[derive(Clone, PartialEq, Message)]
pub struct JobSpec {
    /// UUID of this job; asking for the same job twice starts it once.
    #[prost(string, tag = "1")]
    pub job_id: String,
    /// UUID of the session, which outlives the job.
    #[prost(string, tag = "2")]
    pub session_id: String,
    /// Empty for an anonymous session.
    #[prost(string, tag = "3")]
    pub name: String,
    #[prost(map = "string, string", tag = "4")]
    pub tags: HashMap<String, String>,
    /// Empty: the login shell.
    #[prost(string, repeated, tag = "5")]
    pub command: Vec<String>,
    /// Empty: the home folder.
    #[prost(string, tag = "6")]
    pub cwd: String,
    #[prost(map = "string, string", tag = "7")]
    pub env: HashMap<String, String>,
    #[prost(uint32, tag = "8")]
    pub cols: u32,
    #[prost(uint32, tag = "9")]
    pub rows: u32,
    /// None: never reaped.
    #[prost(uint64, optional, tag = "10")]
    pub idle_timeout_ms: Option<u64>,
    /// The strict rule: no view for that long, whatever runs.
    #[prost(bool, tag = "11")]
    pub reap_unattended: bool,
    #[prost(uint64, tag = "12")]
    pub created_at_ms: u64,
    /// The host by the name the user gave it, for `SESSD_HOST`.
    #[prost(string, tag = "13")]
    pub host: String,
    /// UUID of the manager that made the job.
    #[prost(string, tag = "14")]
    pub manager_id: String,
    /// Its input and output are pipes and not a terminal: what it writes are its bytes as they are, its input has an end
    /// (`InputEnd`), and it waits for whoever reads it rather than lose output.
    #[prost(bool, tag = "30")]
    pub plain: bool,
    /// It is ended after so long.
    #[prost(uint64, optional, tag = "31")]
    pub run_for_ms: Option<u64>,
}

/// How a job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum EndReason {
    /// Not known.
    Unspecified = 0,
    /// It exited by itself, with a code.
    Exited = 1,
    /// A signal that we did not send ended it.
    Signaled = 2,
    /// The user deleted the session.
    Deleted = 3,
    /// It was idle past its limit.
    Reaped = 4,
    /// The host lost it: a reboot, or its holder was killed.
    Lost = 5,
    /// It never ran.
    Failed = 6,
    /// The user asked for a new job under the same session.
    Restarted = 7,
}

/// The last word about a job, kept on the host until a manager has it.
#[derive(Clone, PartialEq, Message)]
pub struct ExitRecord {
    #[prost(enumeration = "EndReason", tag = "1")]
    pub reason: i32,
    #[prost(int32, optional, tag = "2")]
    pub code: Option<i32>,
    #[prost(int32, optional, tag = "3")]
    pub signal: Option<i32>,
    #[prost(uint64, tag = "4")]
    pub at_ms: u64,
    /// How many bytes the job wrote in all.
    #[prost(uint64, tag = "5")]
    pub final_offset: u64,
    /// One sentence for people, or empty.
    #[prost(string, tag = "6")]
    pub detail: String,
    /// The kernel killed it because memory ran out.
    #[prost(bool, tag = "7")]
    pub out_of_memory: bool,
    /// The last screen, only where the host's disk did not take it.
    #[prost(message, optional, tag = "8")]
    pub screen: Option<Screen>,
    /// How long ago that was, by a clock of the host that nobody sets; only in what a holder says, never in what it writes.
    #[prost(uint64, optional, tag = "20")]
    pub age_ms: Option<u64>,
}

/// What a holder knows of its job now.
#[derive(Clone, PartialEq, Message)]
pub struct JobStatus {
    #[prost(uint64, tag = "1")]
    pub head: u64,
    #[prost(uint64, tag = "2")]
    pub oldest: u64,
    #[prost(uint32, tag = "3")]
    pub cols: u32,
    #[prost(uint32, tag = "4")]
    pub rows: u32,
    #[prost(string, tag = "5")]
    pub title: String,
    #[prost(string, tag = "6")]
    pub cwd: String,
    /// Name of the program in the foreground of the PTY, or empty if unknown.
    #[prost(string, tag = "7")]
    pub foreground: String,
    /// Process id of the job's first process.
    #[prost(uint32, tag = "8")]
    pub pid: u32,
    #[prost(uint64, tag = "9")]
    pub last_active_ms: u64,
    /// How long the job has been idle by the holder's monotonic clock. 0: it is not idle, and will not be before another
    /// status says so.
    #[prost(uint64, tag = "10")]
    pub idle_ms: u64,
    /// When it will be reaped if nothing happens; set once most of the limit has passed.
    #[prost(uint64, optional, tag = "11")]
    pub reap_at_ms: Option<u64>,
    #[prost(string, tag = "12")]
    pub agent_version: String,
    /// What was started: the command asked for, or the login shell by its path.
    #[prost(string, repeated, tag = "13")]
    pub command: Vec<String>,
    /// Names of all managers that hold the job now.
    #[prost(string, repeated, tag = "14")]
    pub managers: Vec<String>,
    /// What is not protected on this host, one sentence each.
    #[prost(string, repeated, tag = "15")]
    pub warnings: Vec<String>,
    /// Where a process of the same user on the host can connect to the holder without an agent in between: a path that
    /// fits into a socket's address. Empty: not known.
    #[prost(string, tag = "16")]
    pub socket: String,
    /// The host's wall clock when this was said: the times above mean something only beside it. 0: not told.
    #[prost(uint64, tag = "17")]
    pub now_ms: u64,
    /// What the job is doing; none: the holder is older than this.
    #[prost(message, optional, tag = "30")]
    pub activity: Option<Activity>,
    /// How many `Send` wait for their time.
    #[prost(uint32, tag = "31")]
    pub queued: u32,
}

/// What a job is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum Doing {
    /// Not known.
    Unspecified = 0,
    /// It works.
    Working = 1,
    /// It waits for a person.
    Waiting = 2,
    /// It has done what it was to do.
    Done = 3,
    /// It waits for a secret: its terminal does not show what is typed.
    Secret = 4,
    /// Nothing is known but that nothing happens.
    Quiet = 5,
}

/// What a job is doing, how that is known, and since when.
#[derive(Clone, PartialEq, Message)]
pub struct Activity {
    #[prost(enumeration = "Doing", tag = "1")]
    pub state: i32,
    /// How it is known: `report`, `progress`, `shell`, `notice`, `bell`, `echo`, `output` or `silence`.
    #[prost(string, tag = "2")]
    pub source: String,
    /// For how long, by a clock that nobody sets.
    #[prost(uint64, tag = "3")]
    pub age_ms: u64,
    /// What was said with it, or empty.
    #[prost(string, tag = "4")]
    pub note: String,
}

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

/// What a program inherits from whoever starts it, beside its environment. Both ends are on the same machine.
#[derive(Clone, PartialEq, Message)]
pub struct Inherited {
    /// Permissions that new files do not get.
    #[prost(uint32, optional, tag = "1")]
    pub umask: Option<u32>,
    /// -20 to 19; the more, the more it lets others go first.
    #[prost(sint32, optional, tag = "2")]
    pub nice: Option<i32>,
    #[prost(message, repeated, tag = "3")]
    pub limits: Vec<Limit>,
}

/// A limit on what a program may use, as setrlimit(2) has it.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct Limit {
    /// Number of what is limited, as Linux counts.
    #[prost(uint32, tag = "1")]
    pub resource: u32,
    /// None: no limit.
    #[prost(uint64, optional, tag = "2")]
    pub soft: Option<u64>,
    #[prost(uint64, optional, tag = "3")]
    pub hard: Option<u64>,
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

/// A request to the manager.
#[derive(Clone, PartialEq, Message)]
pub struct Request {
    /// Comes back in the reply.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    #[prost(oneof = "Act", tags = "2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 20, 21, 30, 40, 41")]
    pub act: Option<Act>,
}

/// What the manager is asked for.
#[allow(clippy::large_enum_variant)] // one at a time, and prost's oneofs do not box
#[derive(Clone, PartialEq, Oneof)]
pub enum Act {
    #[prost(message, tag = "2")]
    Create(Create),
    #[prost(message, tag = "3")]
    List(List),
    #[prost(message, tag = "4")]
    Info(Select),
    #[prost(message, tag = "5")]
    Tag(Tag),
    #[prost(message, tag = "6")]
    Delete(Delete),
    #[prost(message, tag = "7")]
    DetachViews(DetachViews),
    #[prost(message, tag = "8")]
    Restart(Select),
    #[prost(message, tag = "9")]
    DaemonStatus(Empty),
    #[prost(message, tag = "10")]
    DaemonStop(Stop),
    /// Take over the sessions that are found on a host.
    #[prost(message, tag = "11")]
    Adopt(HostName),
    /// Send an `Event` frame for every change of state from now on.
    #[prost(message, tag = "12")]
    Events(EventsFrom),
    /// Sessions on a host are on one of another name from now on.
    #[prost(message, tag = "20")]
    RenameHost(RenameHost),
    /// Every host that has a session or a link.
    #[prost(message, tag = "21")]
    Hosts(Empty),
    /// Type something into a job.
    #[prost(message, tag = "30")]
    Type(Type),
    /// Dial a host now, asking whoever asks for this what only a person knows. The answer comes with the link.
    #[prost(message, tag = "40")]
    Connect(HostName),
    /// Who sizes a session.
    #[prost(message, tag = "41")]
    SetSize(SetSize),
}

/// Which events are wanted.
#[derive(Clone, PartialEq, Message)]
pub struct EventsFrom {
    /// Those since then too, by the manager's clock, as far as it has them; none: only what happens from now on.
    #[prost(uint64, optional, tag = "1")]
    pub since_ms: Option<u64>,
}

/// Type something into a job.
#[derive(Clone, PartialEq, Message)]
pub struct Type {
    #[prost(string, tag = "1")]
    pub session: String,
    #[prost(message, optional, tag = "2")]
    pub send: Option<Send>,
}

/// Stop the manager. Jobs run on.
#[derive(Clone, PartialEq, Message)]
pub struct Stop {
    /// Another one comes at once: views wait for it instead of leaving.
    #[prost(bool, tag = "1")]
    pub restart: bool,
}

/// Names a host as the user does.
#[derive(Clone, PartialEq, Message)]
pub struct HostName {
    #[prost(string, tag = "1")]
    pub host: String,
    /// Of an adoption: jobs that have ended, too.
    #[prost(bool, tag = "2")]
    pub all: bool,
}

/// A host is called otherwise.
#[derive(Clone, PartialEq, Message)]
pub struct RenameHost {
    #[prost(string, tag = "1")]
    pub from: String,
    #[prost(string, tag = "2")]
    pub to: String,
}

/// A change of state.
#[derive(Clone, PartialEq, Message)]
pub struct Event {
    /// A document of the command line's contract.
    #[prost(string, tag = "1")]
    pub json: String,
}

/// Names a session: a name, a full id, or the beginning of one.
#[derive(Clone, PartialEq, Message)]
pub struct Select {
    #[prost(string, tag = "1")]
    pub session: String,
    /// For a restart: UUID of the new job, chosen by whoever asks, so that it can be asked again.
    #[prost(string, tag = "2")]
    pub job_id: String,
    /// For a restart: as in `Create`.
    #[prost(map = "string, string", tag = "3")]
    pub environment: HashMap<String, String>,
    #[prost(message, optional, tag = "4")]
    pub inherited: Option<Inherited>,
}

/// Start a session.
#[derive(Clone, PartialEq, Message)]
pub struct Create {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, tag = "2")]
    pub host: String,
    #[prost(map = "string, string", tag = "3")]
    pub tags: HashMap<String, String>,
    #[prost(string, tag = "4")]
    pub cwd: String,
    #[prost(map = "string, string", tag = "5")]
    pub env: HashMap<String, String>,
    /// None: the default of the manager's configuration.
    #[prost(message, optional, tag = "6")]
    pub idle_timeout: Option<IdleTimeout>,
    #[prost(bool, tag = "7")]
    pub reap_unattended: bool,
    /// 0: nobody measured a terminal.
    #[prost(uint32, tag = "8")]
    pub cols: u32,
    #[prost(uint32, tag = "9")]
    pub rows: u32,
    #[prost(string, repeated, tag = "10")]
    pub command: Vec<String>,
    /// The caller's environment, for the host `local`; not kept.
    #[prost(map = "string, string", tag = "11")]
    pub environment: HashMap<String, String>,
    /// UUIDs chosen by whoever asks: asked again after the manager died, the same session is meant. Empty: the manager
    /// chooses.
    #[prost(string, tag = "12")]
    pub session_id: String,
    #[prost(string, tag = "13")]
    pub job_id: String,
    /// What else the caller's programs have from it, for the host `local`; not kept.
    #[prost(message, optional, tag = "14")]
    pub inherited: Option<Inherited>,
    /// As in `JobSpec`.
    #[prost(bool, tag = "30")]
    pub plain: bool,
    #[prost(uint64, optional, tag = "31")]
    pub run_for_ms: Option<u64>,
    /// Who sizes it, by the contract's word; empty: the view typed in last.
    #[prost(string, tag = "40")]
    pub size_policy: String,
}

/// Who sizes a session.
#[derive(Clone, PartialEq, Message)]
pub struct SetSize {
    #[prost(string, tag = "1")]
    pub session: String,
    /// By the contract's word.
    #[prost(string, tag = "2")]
    pub policy: String,
    /// With `fixed`: its size; 0: the one it has.
    #[prost(uint32, tag = "3")]
    pub cols: u32,
    #[prost(uint32, tag = "4")]
    pub rows: u32,
}

/// A limit that may be off.
#[derive(Clone, PartialEq, Message)]
pub struct IdleTimeout {
    /// None: never.
    #[prost(uint64, optional, tag = "1")]
    pub ms: Option<u64>,
}

/// List sessions.
#[derive(Clone, PartialEq, Message)]
pub struct List {
    /// Anonymous ones too.
    #[prost(bool, tag = "1")]
    pub all: bool,
    #[prost(string, tag = "2")]
    pub host: String,
    /// Each `KEY` or `KEY=VALUE`; all must hold.
    #[prost(string, repeated, tag = "3")]
    pub tags: Vec<String>,
    #[prost(string, tag = "4")]
    pub state: String,
}

/// Name, rename, tag.
#[derive(Clone, PartialEq, Message)]
pub struct Tag {
    #[prost(string, tag = "1")]
    pub session: String,
    /// None: unchanged.
    #[prost(string, optional, tag = "2")]
    pub name: Option<String>,
    #[prost(map = "string, string", tag = "3")]
    pub set: HashMap<String, String>,
    #[prost(string, repeated, tag = "4")]
    pub remove: Vec<String>,
}

/// End jobs and forget records.
#[derive(Clone, PartialEq, Message)]
pub struct Delete {
    #[prost(string, repeated, tag = "1")]
    pub sessions: Vec<String>,
    #[prost(bool, tag = "2")]
    pub all: bool,
    #[prost(bool, tag = "3")]
    pub force: bool,
}

/// Send views away.
#[derive(Clone, PartialEq, Message)]
pub struct DetachViews {
    #[prost(string, tag = "1")]
    pub session: String,
    /// Empty: all of them.
    #[prost(string, tag = "2")]
    pub view: String,
}

/// The manager's answer.
#[derive(Clone, PartialEq, Message)]
pub struct Reply {
    #[prost(uint64, tag = "1")]
    pub id: u64,
    #[prost(oneof = "Answer", tags = "2, 3")]
    pub answer: Option<Answer>,
    /// The document goes on in the next reply of the same id: no frame is longer than any may be.
    #[prost(bool, tag = "4")]
    pub more: bool,
}

/// What the manager answers.
#[derive(Clone, PartialEq, Oneof)]
pub enum Answer {
    /// A document of the command line's contract.
    #[prost(string, tag = "2")]
    Json(String),
    #[prost(message, tag = "3")]
    Error(Error),
}

/// What went wrong, and what to do.
#[derive(Clone, PartialEq, Message)]
pub struct Error {
    /// A word of the command line's contract, such as `no-such-session`.
    #[prost(string, tag = "1")]
    pub kind: String,
    #[prost(string, tag = "2")]
    pub message: String,
    #[prost(string, tag = "3")]
    pub hint: String,
}

/// What of the caller's environment counts for reaching a host; kept in memory only.
#[derive(Clone, PartialEq, Message)]
pub struct Environment {
    #[prost(map = "string, string", tag = "1")]
    pub variables: HashMap<String, String>,
    /// Variables that would count and are not set there; also as patterns of `*` and `?`.
    #[prost(string, repeated, tag = "2")]
    pub unset: Vec<String>,
    /// A person is there, who may be asked: `Question` is understood.
    #[prost(bool, tag = "3")]
    pub answers: bool,
}

/// Something that only a person knows: a password, a passphrase, whether a host's key is right.
#[derive(Clone, PartialEq, Message)]
pub struct Question {
    /// Of this connection.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    #[prost(string, tag = "2")]
    pub host: String,
    /// To be read before; may be empty, may have several lines.
    #[prost(string, tag = "3")]
    pub text: String,
    /// One line.
    #[prost(string, tag = "4")]
    pub prompt: String,
    /// What is typed may be seen.
    #[prost(bool, tag = "5")]
    pub echo: bool,
}

/// The answer. Neither kept nor logged, hence no `Debug` of its own.
#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub struct QuestionAnswer {
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// None: the person would not answer.
    #[prost(string, optional, tag = "2")]
    pub given: Option<String>,
}

impl std::fmt::Debug for QuestionAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("QuestionAnswer").field("id", &self.id).finish_non_exhaustive()
    }
}

/// A question that is not wanted any more: it was answered elsewhere, or the host has hung up.
#[derive(Clone, PartialEq, Message)]
pub struct QuestionOver {
    #[prost(uint64, tag = "1")]
    pub id: u64,
}

/// Turn this connection into a view.
#[derive(Clone, PartialEq, Message)]
pub struct Attach {
    #[prost(string, tag = "1")]
    pub session: String,
    /// 16 bytes, chosen by the view; the same over its whole life, whatever manager it talks to.
    #[prost(bytes = "vec", tag = "2")]
    pub view_id: Vec<u8>,
    /// 0: the view was not measured and never resizes.
    #[prost(uint32, tag = "3")]
    pub cols: u32,
    #[prost(uint32, tag = "4")]
    pub rows: u32,
    #[prost(bool, tag = "5")]
    pub read_only: bool,
    /// Send the other views away.
    #[prost(bool, tag = "6")]
    pub take: bool,
    #[prost(bool, tag = "7")]
    pub lossless: bool,
    /// "cli", "web", …
    #[prost(string, tag = "8")]
    pub kind: String,
    /// The next output byte the view needs; none: it has nothing yet.
    #[prost(uint64, optional, tag = "9")]
    pub resume: Option<u64>,
    /// First cumulative credit.
    #[prost(uint64, tag = "10")]
    pub credit: u64,
    /// Lines of scrollback the view wants with its first snapshot.
    #[prost(uint32, tag = "11")]
    pub scrollback_lines: u32,
    /// With `resume`: the job it speaks of. A view never resumes another job's bytes.
    #[prost(string, tag = "12")]
    pub job_id: String,
    /// It is no terminal: it never leads, sets no size and answers no queries.
    #[prost(bool, tag = "30")]
    pub passive: bool,
    /// It only looks and goes: nobody counts or lists it.
    #[prost(bool, tag = "31")]
    pub uncounted: bool,
    /// It wants no output, only how the session is and how its job ends.
    #[prost(bool, tag = "32")]
    pub no_output: bool,
}

/// The view is attached.
#[derive(Clone, PartialEq, Message)]
pub struct Attached {
    #[prost(string, tag = "1")]
    pub session_id: String,
    #[prost(string, tag = "2")]
    pub name: String,
    #[prost(string, tag = "3")]
    pub host: String,
    #[prost(string, tag = "4")]
    pub job_id: String,
}

/// What a view should know that is not in the stream.
#[derive(Clone, PartialEq, Message)]
pub struct ViewState {
    /// A word of the contract: `up`, `local`, `connecting`, `stalled`, `down`, `needs-login`.
    #[prost(string, tag = "1")]
    pub link: String,
    /// Rises with every new path to the holder: the view sends its unacknowledged input again when it changes.
    #[prost(uint64, tag = "2")]
    pub epoch: u64,
    /// When the link is dialled next.
    #[prost(uint64, optional, tag = "3")]
    pub next_try_ms: Option<u64>,
    /// Why the link is not up, one sentence.
    #[prost(string, tag = "4")]
    pub detail: String,
    /// This view is the one whose terminal answers queries.
    #[prost(bool, tag = "5")]
    pub leader: bool,
    /// The PTY's size now.
    #[prost(uint32, tag = "6")]
    pub cols: u32,
    #[prost(uint32, tag = "7")]
    pub rows: u32,
    /// How long ago anything was heard of the host, in milliseconds; none: no longer than it may be silent.
    #[prost(uint64, optional, tag = "8")]
    pub silent_ms: Option<u64>,
    /// Told when the view is about to leave: rows of its terminal from the top, below which there is no text.
    #[prost(uint32, optional, tag = "9")]
    pub text_rows: Option<u32>,
    /// What the job is doing; none: not known, or no longer.
    #[prost(message, optional, tag = "30")]
    pub doing: Option<ViewDoing>,
}

/// What a job is doing, as a view is told.
#[derive(Clone, PartialEq, Message)]
pub struct ViewDoing {
    /// A word of the contract: `working`, `waiting`, `done`, `secret`, `quiet`.
    #[prost(string, tag = "1")]
    pub state: String,
    /// As in `Activity`.
    #[prost(string, tag = "2")]
    pub source: String,
    /// Since when, by the manager's clock.
    #[prost(uint64, tag = "3")]
    pub since_ms: u64,
    #[prost(string, tag = "4")]
    pub note: String,
}

/// The view leaves (sent by it) or is sent away (sent to it).
#[derive(Clone, PartialEq, Message)]
pub struct Detach {
    /// One sentence, or empty.
    #[prost(string, tag = "1")]
    pub detail: String,
}
