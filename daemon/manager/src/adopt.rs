//! Taking over what another manager made: a host's jobs that we have no record of get one. Both managers may hold them. A
//! record that is there is never touched, but for one: of a job on this very machine, under a name by which the machine is
//! not reached any more.

use crate::doc;
use crate::failpoints::failpoint;
use crate::host::Status;
use crate::manager::Manager;
use crate::session::{Session, ToSession};
use sessd_base::asking::Asking;
use sessd_base::clock;
use sessd_core::Record;
use sessd_core::adopt::{self, Known, Verdict};
use sessd_core::reconcile::{Seen, place_of};
use sessd_proto::Uuid;
use sessd_proto::docs::event::What;
use sessd_proto::docs::host::spelled;
use sessd_proto::docs::text::clean;
use sessd_proto::docs::{AdoptDoc, Result};
use sessd_proto::messages::{HostName, JobReport, JobSpec, Liveness};
use std::rc::Rc;
use std::time::Duration;

/// How long the host may take to tell more of a job than that it is there.
const SETTLED: Duration = Duration::from_secs(5);

impl Manager {
    /// Makes records of the jobs on a host that have none here: of those that run, or of all.
    ///
    /// # Errors
    /// When the host cannot be asked, or the database does not take a record.
    pub async fn adopt(self: &Rc<Self>, asked: &HostName, asking: Option<&Rc<Asking>>) -> Result<AdoptDoc> {
        let host = spelled(&asked.host)?;
        let seen = self.host(&host).probe(asking).await?;
        let mut adoption =
            Adoption { manager: self, host: &host, seen: &seen, notes: Vec::new(), numbered: 0 };
        let (mut adopted, mut ended) = (Vec::new(), 0);
        for report in &seen.inventory().jobs {
            let Some(spec) = &report.spec else { continue };
            let over = [Liveness::Exited as i32, Liveness::Gone as i32].contains(&report.liveness);
            let (known, session) = adoption.known(spec, report).await?;
            match adopt::decide(over, known, asked.all) {
                Verdict::Known => {}
                Verdict::Ended => ended += 1,
                Verdict::Collides => {
                    let where_ = adoption.where_it_is(spec).await?;
                    adoption.leave_alone(spec, &format!("a session with its id is on {where_} here"));
                }
                Verdict::Move => adopted.extend(adoption.take_along(session).await),
                Verdict::Adopt => adopted.extend(adoption.one(spec, report, over).await?),
            }
        }
        let mut notes = adoption.finish();
        if ended > 0 {
            let s = if ended == 1 { "" } else { "s" };
            notes.push(format!(
                "{ended} session{s} there ended before: `sessd host adopt {host} --all` takes those, too"
            ));
        }
        if !seen.inventory().complete {
            notes.push("the host could not list all of its jobs".into());
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
        Ok(AdoptDoc { host, adopted, notes })
    }
}

/// One adoption on its way.
struct Adoption<'a> {
    manager: &'a Rc<Manager>,
    host: &'a str,
    seen: &'a Seen,
    notes: Vec<String>,
    /// How many that have ended got a number behind their name, or none.
    numbered: usize,
}

impl Adoption<'_> {
    /// What is known here of a job or its session, and the session if it is not done.
    async fn known(
        &self,
        spec: &JobSpec,
        report: &JobReport,
    ) -> Result<(Option<Known>, Option<Rc<Session>>)> {
        let id = Uuid::parse_str(&spec.session_id).ok();
        let registry = &self.manager.registry;
        let live = registry.with_job(&spec.job_id).or_else(|| registry.get(id?));
        if let Some(session) = live {
            let record = session.live.borrow().record.clone();
            let reached = matches!(session.host.status(), Status::Up(_) | Status::Connecting);
            return Ok((Some(self.compare(&record, spec, report, reached)), Some(session)));
        }
        let done = match id {
            Some(id) => self.manager.store.get_done(id).await?,
            None => None,
        };
        Ok((done.map(|record| self.compare(&record, spec, report, false)), None))
    }

    fn compare(&self, record: &Record, spec: &JobSpec, report: &JobReport, reached: bool) -> Known {
        Known {
            done: record.ended().is_some(),
            same_job: record.job_id.to_string() == spec.job_id
                && (spec.session_id.is_empty() || record.id.to_string() == spec.session_id),
            same_host: record.host == self.host,
            same_place: record.place == self.place(report),
            reached,
        }
    }

    fn place(&self, report: &JobReport) -> String {
        place_of(self.seen.inventory(), &report.folder)
    }

    async fn where_it_is(&self, spec: &JobSpec) -> Result<String> {
        let Ok(id) = Uuid::parse_str(&spec.session_id) else { return Ok("another host".into()) };
        if let Some(session) = self.manager.registry.get(id) {
            return Ok(session.host.name.clone());
        }
        Ok(self.manager.store.get_done(id).await?.map_or_else(|| "another host".into(), |record| record.host))
    }

    fn leave_alone(&mut self, spec: &JobSpec, why: &str) {
        let job = clean(&spec.job_id, 36);
        self.notes.push(format!("the job {job} of `{}` is left alone: {why}", clean(&spec.name, 64)));
    }

    /// The machine has another name now: its session goes with it.
    async fn take_along(&mut self, session: Option<Rc<Session>>) -> Option<Rc<Session>> {
        let session = session?;
        let (label, was) = (session.live.borrow().record.label(), session.host.name.clone());
        let moved = session.ask(|done| ToSession::MoveTo(self.host.to_owned(), done)).await;
        match moved {
            Ok(moved) => {
                self.notes.push(format!("`{label}` was on {was}: it is the same machine"));
                Some(moved)
            }
            Err(error) => {
                self.notes.push(format!("`{label}` stays on {was}: {}", error.message));
                None
            }
        }
    }

    async fn one(&mut self, spec: &JobSpec, report: &JobReport, over: bool) -> Result<Option<Rc<Session>>> {
        if report.abridged {
            // A restart would run another command than the job's.
            self.leave_alone(spec, "its command and variables are too long to be taken over");
            return Ok(None);
        }
        let Some(mut record) = adopt::record(spec, self.host, self.place(report), None, clock::wall_ms())
        else {
            let what =
                if report.detail.is_empty() { "its record there is not readable" } else { &report.detail };
            self.leave_alone(spec, &clean(what, 200));
            return Ok(None);
        };
        let _alone = self.manager.registry.alone(record.id).await;
        // Another adoption may have been quicker.
        if self.manager.store.has(record.id).await? {
            return Ok(None);
        }
        let registry = &self.manager.registry;
        let name = adopt::free_name(&spec.name, |name| registry.claim(name, record.id).is_err());
        let _claim = name.as_deref().map(|name| registry.claim(name, record.id)).transpose()?;
        if name.as_deref().unwrap_or_default() != spec.name {
            let shown = clean(&spec.name, 64);
            match &name {
                _ if over => self.numbered += 1,
                Some(name) => self.notes.push(format!("`{shown}` is `{name}` here: the name is taken")),
                None => self.notes.push(format!("`{shown}` has no name here: it is taken, or cannot be one")),
            }
        }
        record.name = name;
        failpoint("adopt-before-save");
        self.manager.store.save(&record).await?;
        failpoint("adopt-after-save");
        self.manager.events.session(What::Adopted, &record);
        Ok(Some(self.manager.start_session(record, None)))
    }

    fn finish(self) -> Vec<String> {
        let mut notes = self.notes;
        match self.numbered {
            0 => {}
            1 => notes.push("one that has ended is called otherwise here: its name is taken".into()),
            n => notes.push(format!("{n} that have ended are called otherwise here: their names are taken")),
        }
        notes
    }
}
