//! The durable facts of one session.
//!
//! ```text
//!   init ──▶ running ⇄ disconnected ──▶ done
//!     └──────────────────────────────────▲
//! ```
//!
//! `init`: the intent to run the job is written, the host has not said yet that it runs. `disconnected` speaks of our
//! knowledge, not of the job, which may well live. Only evidence or the user makes `done`; a restart makes `init` again,
//! with a new job under the same session.

use sessd_proto::Uuid;
pub use sessd_proto::docs::State;
use sessd_proto::docs::time::rfc3339;
use sessd_proto::docs::{EndDoc, Reason, SizePolicy};
use sessd_proto::messages::{Describe, EndReason, ExitRecord, JobSpec};
use std::collections::BTreeMap;

/// How a session ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// Why.
    pub reason: EndReason,
    /// Exit code, if it exited.
    pub code: Option<i32>,
    /// Signal, if one ended it.
    pub signal: Option<i32>,
    /// When, milliseconds since the epoch.
    pub at_ms: i64,
    /// One sentence, or empty.
    pub detail: String,
}

impl From<&ExitRecord> for End {
    fn from(exit: &ExitRecord) -> Self {
        Self {
            reason: EndReason::try_from(exit.reason).unwrap_or(EndReason::Unspecified),
            code: exit.code,
            signal: exit.signal,
            at_ms: i64::try_from(exit.at_ms).unwrap_or(i64::MAX),
            detail: exit.detail.clone(),
        }
    }
}

impl From<&End> for EndDoc {
    fn from(end: &End) -> Self {
        Self {
            reason: Reason::from(end.reason).into(),
            code: end.code,
            signal: end.signal,
            at: rfc3339(end.at_ms),
            detail: (!end.detail.is_empty()).then(|| end.detail.clone()),
        }
    }
}

/// What the user changed here and the host may not have heard of. The host's own copy is for whoever adopts the job, and
/// another manager may have the job, too: nothing is written there but what a user asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Untold {
    /// The name.
    pub name: bool,
    /// The tags.
    pub tags: bool,
}

impl Untold {
    /// Is there anything?
    pub fn any(self) -> bool {
        self.name || self.tags
    }
}

/// The durable facts of one session. Times are milliseconds since the epoch.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Never changes.
    pub id: Uuid,
    /// None: anonymous.
    pub name: Option<String>,
    /// As the user gave it.
    pub host: String,
    /// The session's own tags.
    pub tags: BTreeMap<String, String>,
    /// Empty: the login shell.
    pub command: Vec<String>,
    /// Empty: the home folder.
    pub cwd: String,
    /// Variables the user asked for.
    pub env: BTreeMap<String, String>,
    /// Size to start a job with.
    pub size: (u16, u16),
    /// None: never.
    pub idle_timeout_ms: Option<i64>,
    /// The strict rule.
    pub reap_unattended: bool,
    /// When the session was made.
    pub created_at_ms: i64,
    /// The present job; a restart makes another.
    pub job_id: Uuid,
    /// Where it stands.
    pub state: State,
    /// The user wants it gone; the host may not know yet.
    pub delete_requested: bool,
    /// When it last wrote or was typed into, by our clock.
    pub last_active_ms: Option<i64>,
    /// Which machine, and which folder on it, holds the job; empty until it ran.
    pub place: String,
    /// Once done. While a restart is on its way, the end of the job before: what is fallen back to.
    pub end: Option<End>,
    /// What the host is still to be told.
    pub untold: Untold,
    /// Its input and output are pipes: `sessd run`.
    pub plain: bool,
    /// Its job is ended after so long.
    pub run_for_ms: Option<i64>,
    /// The job that is to take the present one's place, once that has ended.
    pub restart: Option<Uuid>,
    /// Who sizes it; with `fixed` its size is `size`.
    pub size_policy: SizePolicy,
    /// It is there for one view alone.
    pub owned: bool,
}

impl Record {
    /// Of a session that is to be made on `host`, with the shell of whoever logs in there, and nothing that was asked for.
    pub fn new(id: Uuid, job_id: Uuid, host: impl Into<String>, created_at_ms: i64) -> Self {
        Self {
            id,
            name: None,
            host: host.into(),
            tags: BTreeMap::new(),
            command: Vec::new(),
            cwd: String::new(),
            env: BTreeMap::new(),
            size: (80, 24),
            idle_timeout_ms: None,
            reap_unattended: false,
            created_at_ms,
            job_id,
            state: State::Init,
            delete_requested: false,
            last_active_ms: None,
            place: String::new(),
            end: None,
            untold: Untold::default(),
            plain: false,
            run_for_ms: None,
            restart: None,
            size_policy: SizePolicy::Latest,
            owned: false,
        }
    }

    /// What the host is asked to run.
    pub fn spec(&self, manager_id: &str) -> JobSpec {
        JobSpec {
            job_id: self.job_id.to_string(),
            session_id: self.id.to_string(),
            name: self.name.clone().unwrap_or_default(),
            tags: self.tags.clone().into_iter().collect(),
            command: self.command.clone(),
            cwd: self.cwd.clone(),
            env: self.env.clone().into_iter().collect(),
            cols: self.size.0.into(),
            rows: self.size.1.into(),
            idle_timeout_ms: self.idle_timeout_ms.map(|ms| ms as u64),
            reap_unattended: self.reap_unattended,
            created_at_ms: self.created_at_ms as u64,
            host: self.host.clone(),
            manager_id: manager_id.to_owned(),
            plain: self.plain,
            run_for_ms: self.run_for_ms.map(|ms| ms as u64),
            agent: false,
        }
    }

    /// What the host is to be told of the session, of which it has `there`; `None` when it knows all that the user changed.
    /// What another manager's user changed stays, and so does the name of a session that is called otherwise here.
    pub fn describe(&self, there: &JobSpec) -> Option<Describe> {
        let (name, tags) = (self.name.clone().unwrap_or_default(), self.tags.clone().into_iter().collect());
        self.untold.any().then(|| Describe {
            name: if self.untold.name { name } else { there.name.clone() },
            tags: if self.untold.tags { tags } else { there.tags.clone() },
            idle_timeout_ms: self.idle_timeout_ms.map(|ms| ms as u64),
            reap_unattended: self.reap_unattended,
            keep_name: !self.untold.name,
            keep_tags: !self.untold.tags,
        })
    }

    /// The session as people call it: its name, else the beginning of its id.
    pub fn label(&self) -> String {
        self.name.clone().unwrap_or_else(|| self.id.to_string()[..13].to_owned())
    }

    /// The state a record has when the manager starts: no claim without evidence.
    pub fn without_evidence(mut self) -> Self {
        if self.state == State::Running {
            self.state = State::Disconnected;
        }
        self
    }

    /// The job has ended. `now_ms` is our clock: a host whose clock is wrong must neither make a record look older than
    /// its session, so that it is forgotten at once, nor newer than now, so that it never is.
    pub fn finish(&mut self, mut end: End, now_ms: i64) {
        end.at_ms = end.at_ms.clamp(self.created_at_ms.min(now_ms), now_ms);
        self.state = State::Done;
        self.end = Some(end);
    }

    /// A new job under the same session. What is known of the job before stays until the new one runs.
    pub fn begin_again(&mut self, job_id: Uuid) {
        (self.job_id, self.state, self.restart) = (job_id, State::Init, None);
        (self.last_active_ms, self.place) = (None, String::new());
        // The new job is asked for with all of it.
        self.untold = Untold::default();
    }

    /// The host said that the job runs.
    pub fn runs(&mut self, place: Option<String>) {
        (self.state, self.end) = (State::Running, None);
        if self.place.is_empty() {
            self.place = place.unwrap_or_default();
        }
    }

    /// The host said, firmly, that the job never began. A session that had a job before is done as it was; one that
    /// had none is nothing: false.
    pub fn fall_back(&mut self) -> bool {
        if self.end.is_some() {
            self.state = State::Done;
        }
        self.end.is_some()
    }

    /// How the job ended, if it has.
    pub fn ended(&self) -> Option<&End> {
        self.end.as_ref().filter(|_| self.state == State::Done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(created_at_ms: i64) -> Record {
        Record {
            state: State::Running,
            place: "m:/f".into(),
            ..Record::new(Uuid::from_u128(1), Uuid::from_u128(2), "box", created_at_ms)
        }
    }

    #[test]
    fn the_host_is_told_what_the_user_changed_and_nothing_else() {
        let tags = |key: &str| [(key.to_owned(), String::new())];
        let there = JobSpec { name: "dev".into(), tags: tags("theirs").into(), ..JobSpec::default() };
        let mut adopted = record(0);
        (adopted.name, adopted.tags) = (Some("dev-2".into()), tags("ours").into());
        assert_eq!(adopted.describe(&there), None);
        adopted.untold.tags = true;
        let described = adopted.describe(&there).unwrap();
        assert_eq!((described.name.as_str(), described.keep_name, described.keep_tags), ("dev", true, false));
        assert_eq!(described.tags, tags("ours").into());
        adopted.untold = Untold { name: true, tags: false };
        let described = adopted.describe(&there).unwrap();
        assert_eq!(
            (described.name.as_str(), described.keep_name, described.keep_tags),
            ("dev-2", false, true)
        );
        assert_eq!(described.tags, tags("theirs").into());
        adopted.begin_again(Uuid::from_u128(3));
        assert_eq!(adopted.describe(&there), None);
    }

    #[test]
    fn a_host_with_a_wrong_clock_makes_no_end_before_the_beginning_or_after_now() {
        for (theirs, at) in [(0, 1_000), (500, 1_000), (1_500, 1_500), (i64::MAX, 2_000), (i64::MIN, 1_000)] {
            let mut record = record(1_000);
            record.finish(
                End {
                    reason: EndReason::Exited,
                    code: Some(0),
                    signal: None,
                    at_ms: theirs,
                    detail: String::new(),
                },
                2_000,
            );
            assert_eq!(record.end.map(|e| e.at_ms), Some(at));
        }
        // Our own clock was set back since: nothing to be had but now.
        let mut ours = record(5_000);
        ours.finish(
            End { reason: EndReason::Exited, code: Some(0), signal: None, at_ms: 9, detail: String::new() },
            2_000,
        );
        assert_eq!(ours.end.map(|e| e.at_ms), Some(2_000));
    }

    #[test]
    fn a_restart_that_never_began_leaves_the_session_as_it_was() {
        let mut first = record(0);
        first.state = State::Init;
        assert!(!first.clone().fall_back(), "a session that never ran is nothing");
        first.runs(Some("m:/f".into()));
        let end =
            End { reason: EndReason::Exited, code: Some(3), signal: None, at_ms: 7, detail: String::new() };
        first.finish(end.clone(), 9);
        first.begin_again(Uuid::from_u128(3));
        assert_eq!((first.state, first.ended()), (State::Init, None));
        let mut failed = first.clone();
        assert!(failed.fall_back());
        assert_eq!(failed.ended(), Some(&end));
        first.runs(None);
        assert_eq!((first.state, first.end), (State::Running, None));
    }

    #[test]
    fn an_end_reads_as_its_document() {
        let end = |code, signal, detail: &str| {
            EndDoc::from(&End { reason: EndReason::Signaled, code, signal, at_ms: 7, detail: detail.into() })
        };
        let killed = end(None, Some(9), "");
        assert_eq!((killed.exit_code(), killed.detail.as_deref()), (137, None));
        assert_eq!(killed.phrase(), "killed by signal 9, SIGKILL");
        assert_eq!(end(Some(7), None, "why").detail.as_deref(), Some("why"));
    }
}
