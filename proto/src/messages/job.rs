//! A job: what makes it, how it is, how it ended.

use super::Screen;
use prost::{Enumeration, Message};
use std::collections::HashMap;

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
    /// Its programs find an ssh-agent's socket in `SSH_AUTH_SOCK`, for the life of the job: whoever asks there is joined to
    /// the ssh-agent of a manager that is connected and says so.
    #[prost(bool, tag = "50")]
    pub agent: bool,
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
    /// Input bytes of one view that may be on their way, where that is more than `limits::INPUT_WINDOW`. 0: it is not.
    #[prost(uint64, tag = "32")]
    pub input_window: u64,
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
