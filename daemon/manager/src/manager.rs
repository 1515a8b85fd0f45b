//! The manager: what there is, and who owns it.
//!
//! Everything runs on one thread. [`Manager`] holds what there is: the [`Registry`] of sessions, the only place where they come
//! and go, and the hosts; each session and each host is a task of its own that nobody else changes.

use crate::event_command;
use crate::events::Events;
use crate::forward::{ForwardContext, Forwards};
use crate::host::{Host, HostContext, Status};
use crate::origins::Agents;
use crate::registry::Registry;
use crate::session::{Caller, Event, Session, SessionContext, ToSession};
use crate::store::Store;
use crate::upkeep::maintain;
use sessd_base::asking::Asking;
use sessd_base::clock;
use sessd_base::config::WatchedConfig;
use sessd_base::instance_lock::InstanceLock;
use sessd_base::paths::Paths;
use sessd_core::Record;
use sessd_core::registry::Warm;
use sessd_core::stream::StreamIds;
use sessd_proto::Uuid;
use sessd_proto::docs;
use sessd_proto::docs::host::LOCAL;
use sessd_proto::docs::time::rfc3339;
use sessd_proto::docs::{HostDoc, LinkDoc, LinkState, Result, State, StatusDoc};
use sessd_ssh::AgentImage;
use std::cell::RefCell;
use std::collections::HashMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::watch;

/// An end that is as young as this, in milliseconds, may not have been heard of by its host.
const RECENT_MS: i64 = 60 * 60 * 1000;

/// How long after its start the manager may keep people waiting for what it does not know yet.
const FIRST_WORDS: Duration = Duration::from_secs(3);

/// The manager.
#[derive(Debug)]
pub struct Manager {
    /// The agents there are to be installed on hosts.
    pub images: &'static [AgentImage],
    /// Where everything is.
    pub paths: Paths,
    /// The configuration.
    pub config: WatchedConfig,
    /// The records.
    pub store: Store,
    /// Where people come in.
    lock: Rc<InstanceLock>,
    /// This manager's own id, for the hosts.
    pub id: String,
    /// What people call it: user and machine.
    pub name: String,
    /// Who listens.
    pub events: Events,
    /// Differs for each run of a manager.
    pub(crate) instance: u64,
    /// What is forwarded, by session.
    forwards: RefCell<HashMap<Uuid, Rc<Forwards>>>,
    started_at_ms: i64,
    started: tokio::time::Instant,
    /// The sessions that are not done.
    pub registry: Registry,
    pub(crate) hosts: RefCell<HashMap<String, Rc<Host>>>,
    pub(crate) stream_ids: Rc<StreamIds>,
    /// The ssh-agents of whoever asked for anything.
    agents: RefCell<Agents>,
    /// Sessions whose replica follows the job.
    warm: RefCell<Warm>,
    pub(crate) stopping: watch::Sender<bool>,
}

impl Manager {
    /// Loads the records and starts a task for each session that is not done.
    ///
    /// # Errors
    /// When the records cannot be read.
    pub async fn start(
        images: &'static [AgentImage],
        paths: Paths,
        config: WatchedConfig,
        store: Store,
        lock: Rc<InstanceLock>,
    ) -> Result<Rc<Self>> {
        let id = store.fact("manager_id", || Uuid::now_v7().to_string()).await?;
        let records = store.live().await?;
        let user = std::env::var("USER").ok().filter(|user| !user.is_empty());
        let user = user.unwrap_or_else(|| "somebody".to_owned());
        let manager = Rc::new(Self {
            name: format!("{user}@{}", rustix::system::uname().nodename().to_string_lossy()),
            images,
            paths,
            config,
            store,
            lock,
            id,
            events: Events::default(),
            instance: Uuid::now_v7().as_u128() as u64,
            forwards: RefCell::default(),
            started_at_ms: clock::wall_ms(),
            started: tokio::time::Instant::now(),
            registry: Registry::default(),
            hosts: RefCell::default(),
            stream_ids: Rc::default(),
            agents: RefCell::default(),
            warm: RefCell::default(),
            stopping: watch::Sender::new(false),
        });
        for (session, rows) in manager.store.forwards().await? {
            let forwards = Forwards::new(session, &(manager.clone() as Rc<dyn ForwardContext>), &rows);
            manager.forwards.borrow_mut().insert(session, forwards);
        }
        for record in records {
            manager.start_session(record.without_evidence(), None);
        }
        // The last manager may have died between the record of an end and the word to this machine that it may forget the
        // job. Other hosts are told when there is a link to them again.
        if manager.store.ended_since(LOCAL, manager.started_at_ms - RECENT_MS).await? {
            manager.host(LOCAL).person_is_here(None);
        }
        let weak = Rc::downgrade(&manager);
        manager.events.also_for(event_command::begin(async move || {
            let manager = weak.upgrade().ok_or(())?;
            manager.config.look(&manager.paths).await;
            Ok(manager.config.now().event_command.clone())
        }));
        tokio::task::spawn_local(maintain(Rc::downgrade(&manager)));
        Ok(manager)
    }

    /// Where the clock of its machines begins.
    pub(crate) fn began(&self) -> std::time::Instant {
        self.started.into_std()
    }

    /// The task of a host, started when first asked for.
    pub(crate) fn host(self: &Rc<Self>, name: &str) -> Rc<Host> {
        let this: Rc<dyn HostContext> = self.clone();
        let context = Rc::downgrade(&this);
        let mut hosts = self.hosts.borrow_mut();
        hosts.entry(name.to_owned()).or_insert_with(|| Host::start(name.to_owned(), context)).clone()
    }

    /// What is waited for at a host that is being dialled, one sentence.
    pub(crate) fn doing_at(&self, host: &str) -> Option<String> {
        self.hosts.borrow().get(host)?.doing()
    }

    /// Hosts that no session is on and nobody dials are forgotten: a name may have been a slip.
    pub(crate) fn let_hosts_go(&self) {
        let mut hosts = self.hosts.borrow_mut();
        hosts.retain(|_, host| Rc::strong_count(host) > 1 || !matches!(host.status(), Status::Dormant));
    }

    /// Somebody asks, from this environment.
    pub fn heard_from(&self, asking: &Asking) {
        if let Some(agent) = asking.agent() {
            self.agents.borrow_mut().heard(agent);
        }
    }

    /// The ssh-agents that people had when they asked for anything, the latest first.
    pub(crate) fn agents(&self) -> Vec<PathBuf> {
        self.agents.borrow().all()
    }

    /// Starts a task for a session that has none, or takes the place of the one before.
    pub(crate) fn start_session(self: &Rc<Self>, record: Record, caller: Option<Caller>) -> Rc<Session> {
        self.start_session_after(record, caller, Duration::ZERO)
    }

    fn start_session_after(
        self: &Rc<Self>,
        record: Record,
        caller: Option<Caller>,
        after: Duration,
    ) -> Rc<Session> {
        let host = self.host(&record.host);
        let session = Session::start(record, caller, host, &(self.clone() as Rc<dyn SessionContext>), after);
        self.registry.put(session.clone());
        self.forwards(session.id).run();
        session
    }

    /// What is forwarded for a session.
    pub(crate) fn forwards(self: &Rc<Self>, session: Uuid) -> Rc<Forwards> {
        let mut all = self.forwards.borrow_mut();
        all.entry(session)
            .or_insert_with(|| Forwards::new(session, &(self.clone() as Rc<dyn ForwardContext>), &[]))
            .clone()
    }

    /// The same, if anything is or was.
    pub(crate) fn forwards_if_any(&self, session: Uuid) -> Option<Rc<Forwards>> {
        self.forwards.borrow().get(&session).cloned()
    }

    /// What a new session begins with.
    pub(crate) fn put_forwards(self: &Rc<Self>, session: Uuid, rows: &[crate::store::ForwardRow]) {
        let forwards = Forwards::new(session, &(self.clone() as Rc<dyn ForwardContext>), rows);
        self.forwards.borrow_mut().insert(session, forwards);
    }

    /// A session is forgotten, and all that belongs to it.
    pub(crate) fn forget_forwards(&self, session: Uuid) {
        if let Some(forwards) = self.forwards.borrow_mut().remove(&session) {
            forwards.stop();
        }
    }

    /// Right after a start little is known: waits for the first word about the sessions that `asked` names, or until that
    /// is known not to come, and no longer than a moment after the start.
    pub(super) async fn first_words(&self, asked: impl Fn(&Record) -> bool) {
        let unknown = |session: &Rc<Session>| {
            let live = session.live.borrow();
            live.record.state == State::Disconnected
                && !live.record.delete_requested
                && live.notes.is_empty()
                && session.host.status().why().is_none()
                && asked(&live.record)
        };
        let known = self.registry.until(|| !self.registry.all().iter().any(unknown));
        let _ = tokio::time::timeout_at(self.started + FIRST_WORDS, known).await;
    }

    /// A session's task has nothing left to do with its job.
    pub(crate) fn session_gone(&self, session: &Session) {
        let state = session.live.borrow().record.state;
        tracing::info!(session = %session.id, %state, "the session's job is over");
        if let Some(forwards) = self.forwards_if_any(session.id) {
            forwards.stop();
        }
        self.registry.remove(session);
    }

    /// A session's task came to a bad end: another goes on from what is recorded, `after` that long.
    pub(crate) async fn go_on_after(self: &Rc<Self>, session: &Rc<Session>, after: Duration) {
        self.registry.panicked();
        let _alone = self.registry.alone(session.id).await;
        if session.live.borrow().gone {
            // It had handed the session on, or ended it.
            return;
        }
        let record = match self.store.get(session.id).await {
            Ok(record) => record,
            // What was shown last is what was written last.
            Err(_) => Some(session.live.borrow().record.clone()),
        };
        session.live.borrow_mut().gone = true;
        match record.filter(|record| record.ended().is_none()) {
            Some(record) => {
                let was = session.live.borrow().record.clone();
                let record = record.without_evidence();
                self.events.changed(&was, &record);
                self.start_session_after(record, None, after);
            }
            None => {
                session.host.dismiss(session.id);
                self.registry.remove(session);
            }
        }
    }

    /// A session is looked at. Beyond the bound the one looked at longest ago is let go cold; a view keeps one warm.
    pub(crate) fn warmed(&self, session: &Session) {
        let watched = |id| self.registry.get(id).is_some_and(|s| !s.live.borrow().views.is_empty());
        let there = |id| self.registry.get(id).is_some();
        let coldest = self.warm.borrow_mut().looked_at(session.id, there, watched);
        for session in coldest.into_iter().filter_map(|id| self.registry.get(id)) {
            session.mailbox.send(ToSession::Tell(Event::Cool));
        }
    }

    /// Sessions that are not done and not on their way out.
    pub fn live(&self) -> Vec<Rc<Session>> {
        let mut live = self.registry.all();
        live.retain(|s| !s.live.borrow().record.delete_requested);
        live
    }

    pub(crate) fn link_state(&self, host: &str) -> LinkState {
        match self.hosts.borrow().get(host) {
            Some(host) => host.status().link_state(&host.name),
            None if host == LOCAL => LinkState::Local,
            None => LinkState::Down,
        }
    }

    /// Every link that is there, or is to be, in the order of the hosts.
    fn links(&self) -> Vec<LinkDoc> {
        let mut links: Vec<LinkDoc> = self
            .hosts
            .borrow()
            .values()
            .filter(|host| !matches!(host.status(), Status::Dormant))
            .map(|host| host.doc())
            .collect();
        links.sort_by(|a, b| a.host.cmp(&b.host));
        links
    }

    /// Every host that has a session or a link.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn hosts(&self) -> Result<Vec<HostDoc>> {
        self.first_words(|_| true).await;
        let mut sessions: Vec<(String, bool)> = Vec::new();
        for session in self.registry.all() {
            let record = &session.live.borrow().record;
            sessions.push((record.host.clone(), record.ended().is_some()));
        }
        self.store.with_done(|done| sessions.extend(done.iter().map(|r| (r.host.clone(), true)))).await?;
        Ok(docs::status::hosts(sessions.iter().map(|(host, ended)| (host.as_str(), *ended)), &self.links()))
    }

    /// The manager itself.
    pub async fn status(&self) -> StatusDoc {
        self.config.look(&self.paths).await;
        let links = self.links();
        let path = |path: &std::path::Path| Some(path.display().to_string());
        let (program, program_replaced) = sessd_base::process::program();
        StatusDoc {
            config: path(&self.paths.config),
            database: path(&self.paths.database),
            log: path(&self.paths.log),
            socket: path(&self.lock.socket()),
            program: program.as_deref().and_then(path),
            program_replaced,
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            since: rfc3339(self.started_at_ms),
            sessions: self.live().len(),
            links,
            panics: self.registry.panics(),
            config_errors: self.config.wrong(),
        }
    }

    /// Asks the manager to stop. Jobs run on.
    pub fn stop(&self) {
        // Before anybody is sent out: who comes back must find the next manager, not wait at our door.
        self.lock.close_door();
        self.events.manager_stops();
        self.stopping.send_replace(true);
    }

    /// It was asked to stop.
    pub fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }

    /// Waits until it is asked to stop.
    pub async fn stopped(&self) {
        // Fails only without a sender, which we hold.
        let _ = self.stopping.subscribe().wait_for(|stopping| *stopping).await;
    }
}
