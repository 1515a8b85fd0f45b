//! Taking over what another manager made: a host's jobs that we have no record of get one. Both managers may hold them.

use crate::clock;
use crate::error::Result;
use crate::faults::point;
use crate::manager::doc::{self, SessionDoc};
use crate::manager::session::{Session, ToSession};
use crate::manager::{Manager, dial};
use serde::{Deserialize, Serialize};
use sessd_core::adopt;
use sessd_core::reconcile::place;
use sessd_core::text::clean;
use sessd_proto::messages::{JobReport, JobSpec, Liveness};
use std::collections::HashSet;
use std::rc::Rc;
use std::time::Duration;

/// How long the host may take to tell more of a job than that it is there.
const SETTLED: Duration = Duration::from_secs(5);

/// What came of an adoption.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AdoptDoc {
    /// Where.
    pub host: String,
    /// The sessions that have a record now and had none.
    pub adopted: Vec<SessionDoc>,
    /// What is not as it was there, one sentence each.
    pub notes: Vec<String>,
}

impl Manager {
    /// Makes records of the jobs on `host` that have none here; of those that have ended only where `all` is wanted.
    ///
    /// # Errors
    /// When the host cannot be asked, or the database does not take a record.
    pub async fn adopt(self: &Rc<Self>, host: &str, all: bool) -> Result<AdoptDoc> {
        dial::check_host(host)?;
        let seen = self.host(host).look().await?;
        let mut known: HashSet<String> = self.store.done_jobs(host).await?.into_keys().collect();
        known.extend(self.sessions.borrow().values().map(|s| s.live.borrow().record.job_id.to_string()));
        let mut notes = Vec::new();
        let mut adopted = Vec::new();
        let mut ended = 0;
        for report in &seen.inventory().jobs {
            let Some(spec) = &report.spec else { continue };
            if !known.insert(spec.job_id.clone()) {
                continue;
            }
            if !all && [Liveness::Exited as i32, Liveness::Gone as i32].contains(&report.liveness) {
                ended += 1;
                continue;
            }
            if let Some(session) =
                self.adopt_one(host, spec, report, place(seen.inventory()), &mut notes).await?
            {
                adopted.push(session);
            }
        }
        if !seen.inventory().complete {
            notes.push("the host could not list all of its jobs".into());
        }
        if ended > 0 {
            let s = if ended == 1 { "" } else { "s" };
            notes.push(format!(
                "{ended} session{s} there ended before: `sessd host adopt {host} --all` takes those, too"
            ));
        }
        // Each is running or done as soon as its holder, or what is left of it, was heard.
        let mut waiting = Vec::new();
        for session in &adopted {
            let (sender, answer) = tokio::sync::oneshot::channel();
            session.mailbox.send(ToSession::WhenRunning(sender));
            waiting.push(answer);
        }
        let _ = tokio::time::timeout(SETTLED, async {
            for answer in waiting {
                let _ = answer.await;
            }
        })
        .await;
        let adopted = adopted.iter().map(|session| doc::of_session(session)).collect();
        Ok(AdoptDoc { host: host.to_owned(), adopted, notes })
    }

    async fn adopt_one(
        self: &Rc<Self>,
        host: &str,
        spec: &JobSpec,
        report: &JobReport,
        place: String,
        notes: &mut Vec<String>,
    ) -> Result<Option<Rc<Session>>> {
        let shown = clean(&spec.name, 64);
        let name = adopt::free_name(&spec.name, |name| self.check_free(name, None).is_err());
        let Some(record) = adopt::record(spec, host, place, name, clock::wall_ms()) else {
            let what =
                if report.detail.is_empty() { "its record there is not readable" } else { &report.detail };
            notes.push(format!("the job {} is left alone: {what}", clean(&spec.job_id, 40)));
            return Ok(None);
        };
        if self.sessions.borrow().contains_key(&record.id) {
            notes.push(format!(
                "the job {} of `{shown}` is left alone: the session has another job here",
                spec.job_id
            ));
            return Ok(None);
        }
        match &record.name {
            Some(name) if *name != spec.name => {
                notes.push(format!("`{shown}` is `{name}` here: the name is taken"))
            }
            None if !spec.name.is_empty() => {
                notes.push(format!("`{shown}` has no name here: it is taken, or cannot be one"))
            }
            _ => {}
        }
        point("adopt-before-save");
        self.store.save(&record).await?;
        point("adopt-after-save");
        self.events.session("adopted", &record);
        Ok(Some(self.start_session(record, None)))
    }
}
