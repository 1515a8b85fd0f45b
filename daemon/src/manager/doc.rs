//! The documents of the command line's contract, as JSON. The table on the terminal and the web view read the same.

use crate::clock;
use crate::manager::host::Status;
use crate::manager::session::Session;
use serde::{Deserialize, Serialize};
use sessd_core::record::reason_word;
use sessd_core::{End, Record, State, times};
use sessd_proto::messages::{self as m, JobStatus};
use std::collections::BTreeMap;
use std::time::Instant;

/// A view of a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ViewDoc {
    /// Its id.
    pub id: String,
    /// "cli", "web", …
    pub kind: String,
    /// It may not type.
    pub read_only: bool,
    /// RFC 3339.
    pub attached_at: String,
}

/// Columns and rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SizeDoc {
    /// Columns.
    pub cols: u32,
    /// Rows.
    pub rows: u32,
}

/// How a session ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndDoc {
    /// `exited`, `signaled`, `deleted`, `reaped`, `lost`, `failed`.
    pub reason: String,
    /// Exit code.
    pub code: Option<i32>,
    /// Signal number.
    pub signal: Option<i32>,
    /// RFC 3339.
    pub at: String,
    /// One sentence, or null.
    pub detail: Option<String>,
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

impl From<&m::ViewDoing> for ActivityDoc {
    fn from(doing: &m::ViewDoing) -> Self {
        Self {
            state: doing.state.clone(),
            source: doing.source.clone(),
            since: clock::rfc3339(i64::try_from(doing.since_ms).unwrap_or(i64::MAX)),
            note: said(&doing.note),
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
    pub state: String,
    pub end: Option<EndDoc>,
    pub tags: BTreeMap<String, String>,
    pub command: Vec<String>,
    pub cwd: Option<String>,
    pub foreground: Option<String>,
    pub title: Option<String>,
    pub size: Option<SizeDoc>,
    pub views: Vec<ViewDoc>,
    pub created_at: String,
    pub last_active_at: Option<String>,
    pub idle_seconds: Option<u64>,
    pub idle_timeout_seconds: Option<u64>,
    pub reap_at: Option<String>,
    /// What its job is doing; null where that is not known, or no longer.
    #[serde(default)]
    pub activity: Option<ActivityDoc>,
    pub link: String,
    pub job_id: String,
    pub agent_version: Option<String>,
    /// It is to go, and its host was not told yet.
    #[serde(default)]
    pub delete_requested: bool,
}

impl SessionDoc {
    /// Where a session stands that is not done, for people.
    pub fn standing(&self) -> String {
        if self.delete_requested { format!("{}, delete pending", self.state) } else { self.state.clone() }
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
    pub reap: String,
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
}

fn said(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

pub(crate) fn end_doc(end: &End) -> EndDoc {
    EndDoc {
        reason: reason_word(end.reason).to_owned(),
        code: end.code,
        signal: end.signal,
        at: clock::rfc3339(end.at_ms),
        detail: said(&end.detail),
    }
}

fn base(record: &Record, link: &str) -> SessionDoc {
    SessionDoc {
        id: record.id.to_string(),
        name: record.name.clone(),
        host: record.host.clone(),
        state: record.state.word().to_owned(),
        end: record.ended().map(end_doc),
        tags: record.tags.clone(),
        command: record.command.clone(),
        cwd: said(&record.cwd),
        foreground: None,
        title: None,
        size: Some(SizeDoc { cols: record.size.0.into(), rows: record.size.1.into() }),
        views: Vec::new(),
        created_at: clock::rfc3339(record.created_at_ms),
        last_active_at: record.last_active_ms.map(clock::rfc3339),
        idle_seconds: None,
        idle_timeout_seconds: record.idle_timeout_ms.map(|ms| (ms / 1000) as u64),
        reap_at: None,
        activity: None,
        link: link.to_owned(),
        job_id: record.job_id.to_string(),
        agent_version: None,
        delete_requested: record.delete_requested,
    }
}

/// A session that is done. Its link's state says nothing about it any more, so that of its host is given.
pub fn of_done(record: &Record, link: &str) -> SessionDoc {
    base(record, link)
}

fn add_status(doc: &mut SessionDoc, status: &JobStatus, came: Instant, live: bool) {
    doc.cwd = said(&status.cwd).or(doc.cwd.take());
    doc.title = said(&status.title);
    doc.size = Some(SizeDoc { cols: status.cols, rows: status.rows });
    doc.agent_version = said(&status.agent_version);
    if live {
        // What runs and how long it has been idle is only known while the holder can tell us.
        doc.foreground = said(&status.foreground);
        doc.idle_seconds = Some(times::idle_seconds(status.idle_ms, came.elapsed().as_millis() as u64));
        doc.reap_at = status.reap_at_ms.map(|ms| clock::rfc3339(ms as i64));
    }
}

/// A session that is not done.
pub fn of_session(session: &Session) -> SessionDoc {
    let live = session.live.borrow();
    let status = session.host.status();
    let mut doc = base(&live.record, status.word(&session.host.name));
    // Later than the link's word: nothing that runs is on a link that is silent.
    let state = session.state();
    state.word().clone_into(&mut doc.state);
    doc.views.clone_from(&live.views);
    if let Some((status, came)) = &live.status {
        add_status(&mut doc, status, *came, state == State::Running);
        doc.activity = live.doing.as_ref().filter(|_| state == State::Running).map(ActivityDoc::from);
    }
    doc
}

/// Who else holds a job: all that the holder names but one that is called as we are. Another manager may have our name,
/// when both are the same user's on one machine.
fn held_by(managers: &[String], us: &str) -> Vec<String> {
    let mut others = managers.to_vec();
    if let Some(at) = others.iter().position(|name| name == us) {
        others.remove(at);
    }
    others
}

/// The same with what `info` adds. `us`: what this manager is called.
pub fn info_of_session(session: &Session, us: &str) -> InfoDoc {
    let live = session.live.borrow();
    let status = session.host.status();
    let mut more = more_of(&live.record, &status);
    more.notes.clone_from(&live.notes);
    if let Some((job, _)) = &live.status {
        (more.job_pid, more.output_bytes) = (Some(job.pid), Some(job.head));
        more.queued = job.activity.as_ref().map(|_| job.queued);
        more.notes.extend(job.warnings.iter().cloned());
        if session.state() == State::Running {
            more.held_by = held_by(&job.managers, us);
        }
    }
    InfoDoc { session: of_session(session), more }
}

/// What `info` adds, without what only a live session has.
pub fn more_of(record: &Record, status: &Status) -> MoreDoc {
    MoreDoc {
        env: record.env.clone(),
        reap: if record.reap_unattended { "unattended" } else { "idle" }.to_owned(),
        job_pid: None,
        output_bytes: None,
        link_detail: status.why().map(|e| e.message.clone()),
        next_try_at: status.next_try_ms().map(clock::rfc3339),
        notes: Vec::new(),
        held_by: Vec::new(),
        queued: None,
    }
}

/// The manager itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct StatusDoc {
    pub pid: u32,
    pub version: String,
    pub since: String,
    pub sessions: usize,
    pub links: Vec<LinkDoc>,
    /// How often a task of the manager came to a bad end and was begun again.
    #[serde(default)]
    pub panics: u32,
    /// Where everything is; null in what a manager says that is older than this.
    #[serde(default)]
    pub config: Option<String>,
    #[serde(default)]
    pub database: Option<String>,
    #[serde(default)]
    pub log: Option<String>,
    #[serde(default)]
    pub socket: Option<String>,
    #[serde(default)]
    pub program: Option<String>,
    /// The file of that name is not what runs: it was upgraded, or is gone.
    #[serde(default)]
    pub program_replaced: bool,
    /// What is wrong with the configuration file, or has no effect in it, one sentence each.
    #[serde(default)]
    pub config_errors: Vec<String>,
}

/// One host's link.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct LinkDoc {
    pub host: String,
    pub link: String,
    pub rtt_ms: Option<f64>,
    pub next_try_at: Option<String>,
    pub detail: Option<String>,
}
