//! The manager: what there is, and who owns it.
//!
//! Everything runs on one thread. [`Manager`] is the registry, the only place where sessions and hosts come and go; each
//! [`session`] and each [`host`] is a task of its own that nobody else changes. A [`link`] is one live talk with an agent;
//! [`dial`] makes its byte stream. [`events`] tells whoever listens what changes, [`adopt`] takes over what another manager
//! made. A session's [`replica`] and [`views`] belong to its task; [`doc`] is what people see.

pub mod adopt;
pub mod dial;
pub mod doc;
pub mod events;
pub mod host;
pub mod link;
pub mod replica;
pub mod session;
pub mod views;

use crate::clock;
use crate::config::Config;
use crate::error::{Error, Kind, Result};
use crate::faults::point;
use crate::paths::Paths;
use crate::store::Store;
use doc::{InfoDoc, LinkDoc, SessionDoc, StatusDoc};
use events::Events;
use host::{Host, Status, ToHost};
use link::Link;
use sessd_core::names::{Fit, candidates, check_name, check_tags, fit, meant, tag_matches};
use sessd_core::reconcile::Seen;
use sessd_core::record::Untold;
use sessd_core::wake::Wake;
use sessd_core::{Record, State};
use sessd_proto::messages as m;
use sessd_proto::{Frame, Uuid};
use session::{Mailbox, Session, ToSession};
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// How often the manager looks at its clocks.
const TICK: Duration = Duration::from_secs(5);
/// An end that is as young as this, in milliseconds, may not have been heard of by its host.
const RECENT_MS: i64 = 60 * 60 * 1000;
/// How long a holder that is told that it may go may take to answer.
const HOLDER_ANSWERS: Duration = Duration::from_secs(2);
/// Ticks between two looks for records that have been kept long enough: an hour.
const FORGET_TICKS: u32 = 720;

/// Size of a PTY that nobody measured.
const SIZE: (u16, u16) = (80, 24);

/// Sessions whose replica follows the job though nobody may look: those looked at last. Each may take a few megabytes.
const WARM_MAX: usize = 32;

/// The manager.
#[derive(Debug)]
pub struct Manager {
    /// Where everything is.
    pub paths: Paths,
    /// The configuration.
    pub config: Config,
    /// The records.
    pub store: Store,
    /// This manager's own id, for the hosts.
    pub id: String,
    /// What people call it: user and machine.
    pub name: String,
    /// Who listens.
    pub events: Events,
    started_at_ms: i64,
    sessions: RefCell<HashMap<Uuid, Rc<Session>>>,
    hosts: RefCell<HashMap<String, Rc<Host>>>,
    /// Warm sessions, the one looked at last at the end.
    warm: RefCell<Vec<Uuid>>,
    stopping: watch::Sender<bool>,
}

/// What a selector fits.
#[derive(Debug)]
pub enum Found {
    /// One that is not done.
    Live(Rc<Session>),
    /// One that is.
    Done(Box<Record>),
}

impl Manager {
    /// Loads the records and starts a task for each session that is not done.
    ///
    /// # Errors
    /// When the records cannot be read.
    pub async fn start(paths: Paths, config: Config, store: Store) -> Result<Rc<Self>> {
        let id = store.fact("manager_id", || Uuid::now_v7().to_string()).await?;
        let records = store.live().await?;
        let user = std::env::var("USER").ok().filter(|user| !user.is_empty());
        let user = user.unwrap_or_else(|| "somebody".to_owned());
        let manager = Rc::new(Self {
            name: format!("{user}@{}", rustix::system::uname().nodename().to_string_lossy()),
            paths,
            config,
            store,
            id,
            events: Events::default(),
            started_at_ms: clock::wall_ms(),
            sessions: RefCell::default(),
            hosts: RefCell::default(),
            warm: RefCell::default(),
            stopping: watch::Sender::new(false),
        });
        for record in records {
            manager.start_session(record.without_evidence(), None);
        }
        // The last manager may have died between the record of an end and the word to this machine that it may forget the
        // job. Other hosts are told when there is a link to them again.
        if manager.store.ended_since(dial::LOCAL, manager.started_at_ms - RECENT_MS).await? {
            manager.host(dial::LOCAL).person_is_here();
        }
        tokio::task::spawn_local(keep_house(Rc::downgrade(&manager)));
        Ok(manager)
    }

    /// The task of a host, started when first asked for.
    fn host(self: &Rc<Self>, name: &str) -> Rc<Host> {
        let mut hosts = self.hosts.borrow_mut();
        hosts
            .entry(name.to_owned())
            .or_insert_with(|| Host::start(name.to_owned(), Rc::downgrade(self)))
            .clone()
    }

    fn start_session(
        self: &Rc<Self>,
        record: Record,
        environment: Option<HashMap<String, String>>,
    ) -> Rc<Session> {
        let host = self.host(&record.host);
        let session = Session::start(record, environment, host, self);
        self.sessions.borrow_mut().insert(session.id, session.clone());
        session
    }

    /// A session's task has nothing left to do with its job.
    pub(crate) fn session_gone(&self, id: Uuid, record: &Record) {
        tracing::info!(session = %id, state = record.state.word(), "the session's job is over");
        self.sessions.borrow_mut().remove(&id);
    }

    /// A session is looked at. Beyond the bound the one looked at longest ago is let go cold; a view keeps one warm.
    pub(crate) fn warmed(&self, session: &Session) {
        let mut warm = self.warm.borrow_mut();
        let sessions = self.sessions.borrow();
        warm.retain(|id| *id != session.id && sessions.contains_key(id));
        warm.push(session.id);
        let over = warm.len().saturating_sub(WARM_MAX);
        let watched = |id: &Uuid| sessions.get(id).is_some_and(|s| !s.live.borrow().views.is_empty());
        let coldest: Vec<Uuid> = warm.iter().filter(|id| !watched(id)).take(over).copied().collect();
        warm.retain(|id| !coldest.contains(id));
        for session in coldest.iter().filter_map(|id| sessions.get(id)) {
            session.mailbox.send(ToSession::Cool);
        }
    }

    /// Sessions that are not done and not on their way out.
    pub fn live(&self) -> Vec<Rc<Session>> {
        let mut live: Vec<_> = self
            .sessions
            .borrow()
            .values()
            .filter(|s| !s.live.borrow().record.delete_requested)
            .cloned()
            .collect();
        live.sort_by_key(|s| (s.live.borrow().record.created_at_ms, s.id));
        live
    }

    /// Is a name free for a session other than `but`?
    ///
    /// # Errors
    /// Who has it.
    pub fn check_free(&self, name: &str, but: Option<Uuid>) -> Result<()> {
        let holder = self
            .live()
            .into_iter()
            .find(|s| Some(s.id) != but && s.live.borrow().record.name.as_deref() == Some(name));
        match holder {
            None => Ok(()),
            Some(session) => Err(Error::new(
                Kind::NameTaken,
                format!("the name `{name}` is taken by session {} on {}", session.id, session.host.name),
                format!("choose another, or `sessd attach {name}`"),
            )),
        }
    }

    /// The session a person means.
    ///
    /// # Errors
    /// When none fits, or more than one.
    pub async fn find(&self, selector: &str) -> Result<Found> {
        let mut best: Vec<(Fit, Rc<Session>)> = Vec::new();
        for session in self.live() {
            let how = fit(selector, &session.id.to_string(), session.live.borrow().record.name.as_deref());
            best.extend(how.map(|fit| (fit, session)));
        }
        // A live session goes before a done one of the same name; a whole id before a name before a beginning.
        if let Some((_, session)) =
            best.iter().max_by_key(|(fit, _)| *fit).filter(|(fit, _)| *fit > Fit::Prefix)
        {
            return Ok(Found::Live(session.clone()));
        }
        let mut done: Vec<(Fit, Record)> = Vec::new();
        for record in self.store.done_like(selector).await? {
            let how = fit(selector, &record.id.to_string(), record.name.as_deref());
            done.extend(how.map(|fit| (fit, record)));
        }
        // The store gives the one that ended last first, and `max_by_key` the last of equals.
        if let Some((_, record)) =
            done.iter().rev().max_by_key(|(fit, _)| *fit).filter(|(fit, _)| *fit > Fit::Prefix)
        {
            return Ok(Found::Done(Box::new(record.clone())));
        }
        // A beginning goes before an end.
        if best
            .iter()
            .map(|(fit, _)| fit)
            .chain(done.iter().map(|(fit, _)| fit))
            .any(|fit| *fit == Fit::Prefix)
        {
            best.retain(|(fit, _)| *fit == Fit::Prefix);
            done.retain(|(fit, _)| *fit == Fit::Prefix);
        }
        match (best.as_slice(), done.as_slice()) {
            ([], []) => Err(self.no_such_session(selector).await),
            ([(_, session)], []) => Ok(Found::Live(session.clone())),
            ([], [(_, record)]) => Ok(Found::Done(Box::new(record.clone()))),
            _ => {
                let live = best.iter().map(|(_, s)| (s.live.borrow().record.name.clone(), s.id.to_string()));
                let done = done.iter().map(|(_, r)| (r.name.clone(), r.id.to_string()));
                let fitting: Vec<_> = live.chain(done).collect();
                Err(Error::new(
                    Kind::Ambiguous,
                    format!("`{selector}` fits {} sessions: {}", fitting.len(), candidates(&fitting)),
                    "give more of it",
                ))
            }
        }
    }

    /// Nothing fits; something may nearly do.
    async fn no_such_session(&self, selector: &str) -> Error {
        let mut names: Vec<String> =
            self.live().iter().filter_map(|s| s.live.borrow().record.name.clone()).collect();
        // What cannot be read now is not suggested.
        let add = |done: &[Record]| names.extend(done.iter().filter_map(|r| r.name.clone()));
        let _ = self.store.with_done(add).await;
        Error::no_such_session_but(selector, meant(selector, names.iter().map(String::as_str)))
    }

    /// The live session a person means.
    ///
    /// # Errors
    /// As [`Self::find`], and for one that is done.
    pub async fn find_live(&self, selector: &str) -> Result<Rc<Session>> {
        match self.find(selector).await? {
            Found::Live(session) => Ok(session),
            Found::Done(record) => {
                let how = record.end.as_ref().map(session::describe_end).unwrap_or_default();
                Err(Error::new(
                    Kind::NoSuchSession,
                    format!("the session `{}` is done ({how})", record.label()),
                    format!("`sessd restart {}` runs it again", record.label()),
                ))
            }
        }
    }

    /// Starts a session and waits until its job runs. Asked again under the same ids, the same session is meant: a
    /// manager may have died over the first time.
    ///
    /// # Errors
    /// Why it does not; nothing is left behind then.
    pub async fn create(self: &Rc<Self>, create: m::Create) -> Result<InfoDoc> {
        let id = chosen(&create.session_id)?;
        let known = self.sessions.borrow().get(&id).cloned();
        if let Some(session) = known {
            session.mailbox.send(ToSession::AskedAgain(create.environment));
            self.wait_until_running(&session, session.host.want()).await?;
            return self.info(&id.to_string()).await;
        }
        if !create.session_id.is_empty()
            && self.store.done_like(&id.to_string()).await?.iter().any(|r| r.id == id)
        {
            return self.info(&id.to_string()).await;
        }
        let name = (!create.name.is_empty()).then_some(create.name);
        if let Some(name) = &name {
            check_name(name)?;
            self.check_free(name, None)?;
        }
        let tags: BTreeMap<_, _> = create.tags.into_iter().collect();
        check_tags(&tags)?;
        let host = if create.host.is_empty() { dial::LOCAL.to_owned() } else { create.host };
        dial::check_host(&host)?;
        let side = |n: u32, default: u16| u16::try_from(n).ok().filter(|n| *n > 0).unwrap_or(default);
        let idle_timeout_ms = match create.idle_timeout {
            Some(timeout) => timeout.ms.map(|ms| i64::try_from(ms).unwrap_or(i64::MAX)),
            None => self.config.idle_timeout.map(|d| d.as_millis() as i64),
        };
        let record = Record {
            id,
            name,
            host,
            tags,
            command: create.command,
            cwd: create.cwd,
            env: create.env.into_iter().collect(),
            size: (side(create.cols, SIZE.0), side(create.rows, SIZE.1)),
            idle_timeout_ms,
            reap_unattended: create.reap_unattended,
            created_at_ms: clock::wall_ms(),
            job_id: chosen(&create.job_id)?,
            state: State::Init,
            delete_requested: false,
            last_active_ms: None,
            place: String::new(),
            end: None,
            untold: Untold::default(),
        };
        point("create-before-save");
        self.store.save(&record).await?;
        point("create-after-save");
        self.events.session("created", &record);
        // Asked before the session is there: it joins this attempt instead of making one of its own.
        let up = self.host(&record.host).want();
        let session = self.start_session(record, Some(create.environment));
        self.wait_until_running(&session, up).await?;
        point("create-before-reply");
        self.info(&session.id.to_string()).await
    }

    async fn wait_until_running(
        &self,
        session: &Rc<Session>,
        up: impl Future<Output = Result<()>>,
    ) -> Result<()> {
        let result = match up.await {
            Ok(()) => session.ask(ToSession::WhenRunning).await,
            Err(error) => Err(error),
        };
        if result.is_err() {
            // Nothing must be left of it. A host that cannot be told now is told when it is back.
            let _ = session.ask(|done| ToSession::Delete { force: true, done }).await;
        }
        result
    }

    /// A new job under the same session. The host is reached before anything is changed. When the new job never begins,
    /// the record falls back to what it was, whatever died meanwhile: it carries its last end until then.
    ///
    /// # Errors
    /// Why there is none; the session is then as it was, or done.
    pub async fn restart(self: &Rc<Self>, select: &m::Select) -> Result<InfoDoc> {
        let job_id = chosen(&select.job_id)?;
        let mut record = match self.find(&select.session).await? {
            // Asked again: a manager died over the first time.
            Found::Done(record) if record.job_id == job_id => return self.info(&record.id.to_string()).await,
            Found::Live(session) if session.live.borrow().record.job_id == job_id => {
                session.host.want().await?;
                session.ask(ToSession::WhenRunning).await?;
                return self.info(&session.id.to_string()).await;
            }
            Found::Done(record) => {
                self.host(&record.host).want().await?;
                *record
            }
            Found::Live(session) => {
                session.host.want().await?;
                point("restart-before-end");
                session.ask(ToSession::EndForRestart).await?;
                point("restart-after-end");
                session.live.borrow().record.clone()
            }
        };
        if let Some(name) = &record.name {
            self.check_free(name, Some(record.id))?;
        }
        record.begin_again(job_id);
        self.store.save(&record).await?;
        point("restart-after-save");
        let session = self.start_session(record, Some(HashMap::new()));
        session.ask(ToSession::WhenRunning).await?;
        self.info(&session.id.to_string()).await
    }

    /// Tells a host to forget jobs of which we have all we wanted, where a manager or a link died before it was told.
    pub(crate) fn sweep(self: &Rc<Self>, host: &str, link: &Rc<Link>, seen: &Rc<Seen>) {
        if seen.leftovers(&self.id, |_, _| true).is_empty() {
            return;
        }
        let (manager, host, link, seen) = (self.clone(), host.to_owned(), link.clone(), seen.clone());
        tokio::task::spawn_local(async move {
            let done = match manager.store.done_jobs(&host).await {
                Ok(done) => done,
                Err(error) => {
                    return tracing::warn!(
                        error = error.line(),
                        "what is left on a host stays there for now"
                    );
                }
            };
            let went_on = |job: &str, session: &str| {
                let id = Uuid::parse_str(session).ok();
                let sessions = manager.sessions.borrow();
                let live = id.and_then(|id| sessions.get(&id));
                live.map_or_else(
                    || done.contains_key(job) || done.values().any(|id| id == session),
                    |s| s.live.borrow().record.job_id.to_string() != job,
                )
            };
            for job_id in seen.leftovers(&manager.id, went_on) {
                // A holder that still waits for its last word to be taken may go. It reads only after its own first words.
                let (mailbox, mut answer) = Mailbox::new();
                if let Some(stream) = link.open(job_id.clone(), mailbox) {
                    link.send(stream, &Frame::ExitAck(m::Empty {}));
                    let _ = tokio::time::timeout(HOLDER_ANSWERS, answer.recv()).await;
                    link.close_stream(stream);
                }
                let job = m::JobName { job_id, manager_id: manager.id.clone() };
                if link.request(m::LinkAct::Forget(job)).await.is_err() {
                    return;
                }
            }
        });
    }

    /// Forgets what has been kept long enough, here and on hosts that are in reach.
    ///
    /// # Errors
    /// When the database does not take it.
    pub async fn forget_old(&self) -> Result<()> {
        let keep = i64::try_from(self.config.keep_done.as_millis()).unwrap_or(i64::MAX);
        for record in self.store.forget_done(clock::wall_ms().saturating_sub(keep)).await? {
            self.events.session("forgotten", &record);
            let status = self.hosts.borrow().get(&record.host).map(|host| host.status());
            if let Some(Status::Up(link)) = status {
                let job = m::JobName { job_id: record.job_id.to_string(), manager_id: self.id.clone() };
                // Nothing is left there as a rule; a link that ends now leaves it to the host's own keeping.
                tokio::task::spawn_local(
                    async move { link.request(m::LinkAct::Forget(job)).await.map(drop) },
                );
            }
        }
        Ok(())
    }

    fn link_word(&self, host: &str) -> &'static str {
        match self.hosts.borrow().get(host) {
            Some(host) => host.status().word(&host.name),
            None if host == dial::LOCAL => "local",
            None => "down",
        }
    }

    /// The list, filtered.
    ///
    /// # Errors
    /// For a filter that cannot be.
    pub async fn list(&self, list: &m::List) -> Result<Vec<SessionDoc>> {
        if !list.state.is_empty() && State::from_word(&list.state).is_none() {
            return Err(Error::usage(format!(
                "`{}` is not a state: init, running, disconnected or done",
                list.state
            )));
        }
        let fits = |name: bool, host: &str, tags: &BTreeMap<String, String>, state: &str| {
            (list.all || name)
                && (list.host.is_empty() || list.host == host)
                && (list.state.is_empty() || list.state == state)
                && list.tags.iter().all(|filter| tag_matches(tags, filter))
        };
        let mut docs = Vec::new();
        for session in self.live() {
            let wanted = {
                let record = &session.live.borrow().record;
                fits(record.name.is_some(), &record.host, &record.tags, session.state().word())
            };
            if wanted {
                docs.push(doc::of_session(&session));
            }
        }
        if list.state.is_empty() || list.state == State::Done.word() {
            let add = |done: &[Record]| {
                let wanted = |r: &&Record| fits(r.name.is_some(), &r.host, &r.tags, r.state.word());
                docs.extend(done.iter().filter(wanted).map(|r| doc::of_done(r, self.link_word(&r.host))));
            };
            self.store.with_done(add).await?;
        }
        Ok(docs)
    }

    /// One session, with everything known.
    pub async fn info(&self, selector: &str) -> Result<InfoDoc> {
        match self.find(selector).await? {
            Found::Live(session) => Ok(doc::info_of_session(&session, &self.name)),
            Found::Done(record) => {
                let status = self.hosts.borrow().get(&record.host).map_or(Status::Dormant, |h| h.status());
                let session = doc::of_done(&record, self.link_word(&record.host));
                Ok(InfoDoc { session, more: doc::more_of(&record, &status) })
            }
        }
    }

    /// Names, renames, tags.
    pub async fn tag(&self, tag: m::Tag) -> Result<InfoDoc> {
        match self.find(&tag.session).await? {
            Found::Live(session) => {
                session.ask(|done| ToSession::Tag(tag, done)).await?;
                Ok(doc::info_of_session(&session, &self.name))
            }
            Found::Done(record) => {
                let before = *record;
                let mut record = before.clone();
                if let Some(name) = tag.name {
                    check_name(&name)?;
                    record.name = Some(name);
                }
                for key in tag.remove {
                    record.tags.remove(&key);
                }
                record.tags.extend(tag.set);
                check_tags(&record.tags)?;
                self.store.save(&record).await?;
                self.events.changed(&before, &record);
                self.info(&record.id.to_string()).await
            }
        }
    }

    /// Ends jobs and forgets records. Every one that can be deleted is; the first failure is told.
    pub async fn delete(&self, delete: m::Delete) -> Result<()> {
        let mut found = Vec::new();
        if delete.all {
            found.extend(self.live().into_iter().map(Found::Live));
            found.extend(self.store.done().await?.into_iter().map(|r| Found::Done(Box::new(r))));
        }
        let mut failure = None;
        for selector in &delete.sessions {
            match self.find(selector).await {
                Ok(one) => found.push(one),
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        let (mut waiting, mut done) = (Vec::new(), Vec::new());
        for one in found {
            match one {
                Found::Done(record) => done.push(record),
                Found::Live(session) => {
                    let (sender, answer) = tokio::sync::oneshot::channel();
                    session.mailbox.send(ToSession::Delete { force: delete.force, done: sender });
                    waiting.push(answer);
                }
            }
        }
        if !done.is_empty() {
            // In one go: each write of its own waits for the disk, and there may be thousands.
            match self.store.forget_all(&done.iter().map(|record| record.id).collect()).await {
                Ok(()) => done.iter().for_each(|record| self.events.session("deleted", record)),
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        // All are being ended by now; each has the same time to end in.
        for answer in waiting {
            // A task that ended in between has done what was asked.
            if let Ok(Err(error)) = answer.await {
                failure = failure.or(Some(error));
            }
        }
        failure.map_or(Ok(()), Err)
    }

    /// The manager itself.
    pub fn status(&self) -> StatusDoc {
        let mut links: Vec<LinkDoc> = self
            .hosts
            .borrow()
            .values()
            .filter(|host| !matches!(host.status(), Status::Dormant))
            .map(|host| {
                let status = host.status();
                LinkDoc {
                    host: host.name.clone(),
                    link: status.word(&host.name).to_owned(),
                    rtt_ms: match &status {
                        Status::Up(link) => link.rtt_ms(),
                        _ => None,
                    },
                    next_try_at: status.next_try_ms().map(clock::rfc3339),
                    detail: status.why().map(|e| e.message.clone()),
                }
            })
            .collect();
        links.sort_by(|a, b| a.host.cmp(&b.host));
        StatusDoc {
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            since: clock::rfc3339(self.started_at_ms),
            sessions: self.live().len(),
            links,
        }
    }

    /// Asks the manager to stop. Jobs run on.
    pub fn stop(&self) {
        // Before anybody is sent out: who comes back must find the next manager, not wait at our door.
        let _ = std::fs::remove_file(&self.paths.socket);
        self.stopping.send_replace(true);
    }

    /// Waits until it is asked to stop.
    pub async fn stopped(&self) {
        // Fails only without a sender, which we hold.
        let _ = self.stopping.subscribe().wait_for(|stopping| *stopping).await;
    }
}

/// An id that whoever asks chose, or a new one.
fn chosen(id: &str) -> Result<Uuid> {
    if id.is_empty() {
        Ok(Uuid::now_v7())
    } else {
        Uuid::parse_str(id).map_err(|_| Error::usage(format!("`{id}` is not an id")))
    }
}

/// What has to be done from time to time: forget old records, notice that the machine slept, and let slow listeners catch up.
async fn keep_house(manager: Weak<Manager>) {
    let began = Instant::now();
    let monotonic_ms = || began.elapsed().as_millis() as i64;
    let mut wake = Wake::new(clock::wall_ms(), monotonic_ms());
    for tick in 0u32.. {
        let Some(manager) = manager.upgrade() else { return };
        if tick % FORGET_TICKS == 0
            && let Err(error) = manager.forget_old().await
        {
            tracing::warn!(error = error.line(), "old records are not forgotten yet");
        }
        if tick == 0 {
            // While the database can be read: a list is to be had as long as the manager lives. It is read again when wanted.
            let _ = manager.store.with_done(|_| ()).await;
        }
        manager.events.tick();
        if wake.tick(clock::wall_ms(), monotonic_ms(), TICK.as_millis() as i64) {
            tracing::info!("this machine slept: every link is looked after");
            for host in manager.hosts.borrow().values() {
                host.tell(ToHost::Woke);
            }
        }
        drop(manager);
        tokio::time::sleep(TICK).await;
    }
}
