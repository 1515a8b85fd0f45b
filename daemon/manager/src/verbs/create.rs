//! A session begins.

use crate::failpoints::failpoint;
use crate::forward::rows_of;
use crate::manager::Manager;
use crate::session::{Caller, Event, Session, ToSession};
use crate::verbs::chosen;
use sessd_base::asking::Asking;
use sessd_base::clock;
use sessd_core::Record;
use sessd_proto::docs::event::What;
use sessd_proto::docs::host::LOCAL;
use sessd_proto::docs::host::spelled;
use sessd_proto::docs::names::{check_name, check_tags};
use sessd_proto::docs::{Error, InfoDoc, Kind, Result};
use sessd_proto::messages as m;
use sessd_proto::{Uuid, bounds};
use std::collections::BTreeMap;
use std::rc::Rc;

/// Size of a PTY that nobody measured.
const SIZE: (u16, u16) = (80, 24);

impl Manager {
    /// Starts a session and waits until its job runs. Asked again under the same ids, the same session is meant: a
    /// manager may have died over the first time. `gone` is ready when whoever asked is there no more: what was begun is
    /// then taken back. `asking`: the environment of whoever asks.
    ///
    /// # Errors
    /// Why it does not; nothing is left behind then.
    pub async fn create(
        self: &Rc<Self>,
        create: m::Create,
        asking: Option<&Rc<Asking>>,
        gone: impl Future<Output = ()>,
    ) -> Result<InfoDoc> {
        let id = chosen(&create.session_id)?;
        self.config.look(&self.paths).await;
        if let Some((session, up)) = self.begin(id, create, asking).await? {
            self.until_it_runs(&session, up, asking, gone).await?;
            failpoint("create-before-reply");
        }
        self.info(&id.to_string()).await
    }

    /// The session of this id, begun unless it is there, and its host on the way; `None` when it is done already.
    async fn begin(
        self: &Rc<Self>,
        id: Uuid,
        create: m::Create,
        asking: Option<&Rc<Asking>>,
    ) -> Result<Option<(Rc<Session>, impl Future<Output = Result<()>> + use<>)>> {
        let _alone = self.registry.alone(id).await;
        if let Some(session) = self.registry.get(id) {
            let caller = Caller { environment: create.environment, inherited: create.inherited };
            session.mailbox.send(ToSession::Tell(Event::AskedAgain(caller)));
            let up = session.host.want(asking);
            return Ok(Some((session, up)));
        }
        if !create.session_id.is_empty() && self.store.has(id).await? {
            return Ok(None);
        }
        bounds::check_create(&create).map_err(Error::too_long)?;
        let name = (!create.name.is_empty()).then_some(create.name);
        let _claim = match &name {
            Some(name) => {
                check_name(name)?;
                Some(self.registry.claim(name, id)?)
            }
            None => None,
        };
        let tags: BTreeMap<_, _> = create.tags.into_iter().collect();
        check_tags(&tags)?;
        let host = if create.host.is_empty() { LOCAL.to_owned() } else { spelled(&create.host)? };
        let side = |n: u32, default: u16| u16::try_from(n).ok().filter(|n| *n > 0).unwrap_or(default);
        let forwards = rows_of(&create.forwards, 1)?;
        let idle_timeout_ms = match create.idle_timeout {
            Some(timeout) => timeout.ms.map(|ms| i64::try_from(ms).unwrap_or(i64::MAX)),
            None => self.config.now().idle_timeout.map(|d| d.as_millis() as i64),
        };
        let record = Record {
            name,
            tags,
            command: create.command,
            cwd: create.cwd,
            env: create.env.into_iter().collect(),
            size: (side(create.cols, SIZE.0), side(create.rows, SIZE.1)),
            idle_timeout_ms,
            reap_unattended: create.reap_unattended,
            plain: create.plain,
            run_for_ms: create.run_for_ms.map(|ms| i64::try_from(ms).unwrap_or(i64::MAX)),
            size_policy: super::size::policy(&create.size_policy)?,
            owned: create.owned,
            ..Record::new(id, chosen(&create.job_id)?, host, clock::wall_ms())
        };
        failpoint("create-before-save");
        self.put_forwards(id, &forwards);
        let saved = match self.forwards(id).may_listen() {
            Ok(()) => self.store.save_with(&record, &forwards).await,
            Err(error) => Err(error),
        };
        if saved.is_err() {
            self.forget_forwards(id);
        }
        saved?;
        failpoint("create-after-save");
        self.events.session(What::Created, &record);
        // Asked before the session is there: it joins this attempt instead of making one of its own.
        let up = self.host(&record.host).want(asking);
        let caller = Caller { environment: create.environment, inherited: create.inherited };
        Ok(Some((self.start_session(record, Some(caller)), up)))
    }

    async fn until_it_runs(
        &self,
        session: &Rc<Session>,
        up: impl Future<Output = Result<()>>,
        asking: Option<&Rc<Asking>>,
        gone: impl Future<Output = ()>,
    ) -> Result<()> {
        session.askers.set(session.askers.get() + 1);
        let result = tokio::select! {
            biased;
            result = runs(session, up, asking) => result,
            () = gone => Err(Error::failed("whoever asked for the session left", "ask again")),
        };
        session.askers.set(session.askers.get() - 1);
        // A manager that is stopped takes nothing back: the next one is asked the same.
        if result.is_err() && session.askers.get() == 0 && !*self.stopping.borrow() {
            // Nothing must be left of it. A host that cannot be told now is told when it is back.
            let _ = session.ask(|done| ToSession::Delete { force: true, done }).await;
        }
        result
    }
}

/// Waits until the job runs. A link that is lost over it is dialled once more for it.
pub(super) async fn runs(
    session: &Rc<Session>,
    up: impl Future<Output = Result<()>>,
    asking: Option<&Rc<Asking>>,
) -> Result<()> {
    up.await?;
    match session.ask(ToSession::WhenRunning).await {
        Err(error) if error.kind == Kind::Unreachable => {
            session.host.want(asking).await?;
            session.ask(ToSession::WhenRunning).await
        }
        result => result,
    }
}
