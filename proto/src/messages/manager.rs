//! What a command line asks the manager, and what it answers.

use super::{Empty, Inherited, Send};
use prost::{Message, Oneof};
use std::collections::HashMap;

/// A request to the manager.
#[derive(Clone, PartialEq, Message)]
pub struct Request {
    /// Comes back in the reply.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    #[prost(oneof = "Act", tags = "2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 20, 21, 30, 40, 41, 60, 61, 62, 50")]
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
    /// End a host's link; it is not dialled again until somebody wants it.
    #[prost(message, tag = "60")]
    Disconnect(HostName),
    /// Forget a host that no session lives on, and the records of those that ended there.
    #[prost(message, tag = "61")]
    ForgetHost(HostName),
    /// Walk the way to a host step by step; `all`: a job is run there, too.
    #[prost(message, tag = "62")]
    Check(HostName),
    /// What is forwarded for a session.
    #[prost(message, tag = "50")]
    Forward(Forward),
}

/// Changes what is forwarded for a session; nothing to change: only shows it.
#[derive(Clone, PartialEq, Message)]
pub struct Forward {
    #[prost(string, tag = "1")]
    pub session: String,
    #[prost(message, repeated, tag = "2")]
    pub add: Vec<ForwardSpec>,
    /// By their numbers.
    #[prost(uint32, repeated, tag = "3")]
    pub remove: Vec<u32>,
}

/// Something that is to be forwarded.
#[derive(Clone, PartialEq, Message)]
pub struct ForwardSpec {
    /// `local`, `remote`, `dynamic`, `auto` or `agent`.
    #[prost(string, tag = "1")]
    pub kind: String,
    /// As ssh has it; empty for the last two.
    #[prost(string, tag = "2")]
    pub spec: String,
}

/// Which events are wanted.
#[derive(Clone, PartialEq, Message)]
pub struct EventsFrom {
    /// Those since then too, by the manager's clock, as far as it has them; none: only what happens from now on.
    #[prost(uint64, optional, tag = "1")]
    pub since_ms: Option<u64>,
    /// Also a session's whole document whenever something of it is another that no other event tells.
    #[prost(bool, tag = "2")]
    pub documents: bool,
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
    /// What is forwarded for it from the first moment.
    #[prost(message, repeated, tag = "50")]
    pub forwards: Vec<ForwardSpec>,
    /// It is there for one view alone, which attaches with `owns`: where that does not come, or not again, it is ended.
    #[prost(bool, tag = "60")]
    pub owned: bool,
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
    /// As it is known now: hosts that have not been heard since the manager began are not waited for.
    #[prost(bool, tag = "40")]
    pub at_once: bool,
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
