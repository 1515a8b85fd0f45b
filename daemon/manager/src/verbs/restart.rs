//! A new job under the same session.

use crate::failpoints::failpoint;
use crate::manager::Manager;
use crate::session::{Caller, Event, Session, ToSession};
use crate::verbs::find::{Selected, leaving};
use crate::verbs::{LOOKS, chosen, create, never_still};
use sessd_base::asking::Asking;
use sessd_proto::Uuid;
use sessd_proto::docs::host::LOCAL;
use sessd_proto::docs::{Error, InfoDoc, Result};
use sessd_proto::messages as m;
use std::rc::Rc;

/// On this machine the job is as if whoever asks had started it; elsewhere a login makes what there is.
fn caller_of(select: &m::Select, host: &str) -> Caller {
    if host != LOCAL {
        return Caller::default();
    }
    Caller { environment: select.environment.clone(), inherited: select.inherited.clone() }
}

impl Manager {
    /// A new job under the same session. The host is reached before anything is changed. When the new job never begins,
    /// the record falls back to what it was, whatever died meanwhile: it carries its last end until then.
    ///
    /// # Errors
    /// Why there is none; the session is then as it was, or done.
    pub async fn restart(
        self: &Rc<Self>,
        select: &m::Select,
        asking: Option<&Rc<Asking>>,
    ) -> Result<InfoDoc> {
        let job_id = chosen(&select.job_id)?;
        for _ in 0..LOOKS {
            let next = match self.find(&select.session).await? {
                // Asked again: a manager died over the first time.
                Selected::Done(record) if record.job_id == job_id => {
                    return self.info(&record.id.to_string()).await;
                }
                Selected::Live(session) if session.live.borrow().record.job_id == job_id => {
                    session
                        .mailbox
                        .send(ToSession::Tell(Event::AskedAgain(caller_of(select, &session.host.name))));
                    Some(session)
                }
                Selected::Done(record) => {
                    self.host(&record.host).want(asking).await?;
                    self.begin_again(record.id, job_id, caller_of(select, &record.host)).await?
                }
                Selected::Live(session) => {
                    session.host.want(asking).await?;
                    failpoint("restart-before-end");
                    let caller = caller_of(select, &session.host.name);
                    match session.ask_if_there(|done| ToSession::Restart { job_id, caller, done }).await {
                        Some(next) => Some(next?),
                        None => None,
                    }
                }
                Selected::Leaving(session) => return Err(leaving(&session)),
            };
            // Who was not there any more when it was asked is looked for again.
            if let Some(session) = next {
                create::runs(&session, session.host.want(asking), asking).await?;
                return self.info(&session.id.to_string()).await;
            }
        }
        Err(never_still(&select.session))
    }

    /// Begins a session again that is done; `None` when it is not, by now.
    async fn begin_again(
        self: &Rc<Self>,
        id: Uuid,
        job_id: Uuid,
        caller: Caller,
    ) -> Result<Option<Rc<Session>>> {
        let _alone = self.registry.alone(id).await;
        if self.registry.get(id).is_some() {
            return Ok(None);
        }
        let Some(mut record) = self.store.get_done(id).await? else {
            return Err(Error::no_such_session(&id.to_string()));
        };
        let _claim = match &record.name {
            Some(name) => Some(self.registry.claim(name, id)?),
            None => None,
        };
        record.begin_again(job_id);
        self.store.save(&record).await?;
        failpoint("again-after-save");
        Ok(Some(self.start_session(record, Some(caller))))
    }
}
