//! Sessions end, and are forgotten.

use crate::manager::Manager;
use crate::session::{Removed, Session, ToSession};
use crate::verbs::find::Selected;
use crate::verbs::{LOOKS, never_still};
use sessd_base::asking::Asking;
use sessd_core::Record;
use sessd_proto::Uuid;
use sessd_proto::docs::event::What;
use sessd_proto::docs::{DeleteDoc, Error, PendingDoc, Result};
use sessd_proto::messages as m;
use std::rc::Rc;
use std::time::Duration;

/// How long a removal is waited for while its host is being reached, or its job takes its time to end.
const PATIENCE: Duration = Duration::from_secs(25);

/// So many are waited for one by one.
const FEW: usize = 8;

fn pending(session: &Session, detail: String) -> PendingDoc {
    let record = &session.live.borrow().record;
    PendingDoc { id: session.id.to_string(), name: record.name.clone(), host: record.host.clone(), detail }
}

impl Manager {
    /// Ends jobs and forgets records. Every one that can be deleted is; the first failure is told.
    ///
    /// # Errors
    /// The first failure.
    pub async fn delete(
        self: &Rc<Self>,
        delete: m::Delete,
        asking: Option<&Rc<Asking>>,
    ) -> Result<DeleteDoc> {
        let mut found = Vec::new();
        if delete.all {
            found.extend(self.registry.all().into_iter().map(Selected::Live));
            found.extend(self.store.done().await?.into_iter().map(|r| Selected::Done(Box::new(r))));
        }
        let mut failure = None;
        for selector in &delete.sessions {
            match self.find(selector).await {
                Ok(one) => found.push(one),
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        let many = (found.len() > FEW).then(|| self.store.many());
        let mut doc = DeleteDoc::default();
        let (mut waiting, mut done) = (Vec::new(), Vec::new());
        for one in found {
            match one {
                Selected::Done(record) => done.push(*record),
                Selected::Live(session) | Selected::Leaving(session) => {
                    // All are being ended at once; each has the same time to end in.
                    let (manager, force, asking) = (self.clone(), delete.force, asking.cloned());
                    let ending =
                        async move { (session.id, manager.end(session, force, asking.as_ref()).await) };
                    waiting.push(tokio::task::spawn_local(ending));
                }
            }
        }
        let (gone, begun, error) = self.forget_those(done).await;
        doc.deleted.extend(gone.iter().map(Uuid::to_string));
        failure = failure.or(error);
        for session in begun {
            let (manager, force, asking) = (self.clone(), delete.force, asking.cloned());
            let ending = async move { (session.id, manager.end(session, force, asking.as_ref()).await) };
            waiting.push(tokio::task::spawn_local(ending));
        }
        for ended in waiting {
            // It fails only where it panicked: nothing is claimed then.
            let Ok((id, ended)) = ended.await else { continue };
            match ended {
                Ok(Ended::Gone) => doc.deleted.push(id.to_string()),
                Ok(Ended::Later(pending)) => doc.pending.push(pending),
                Ok(Ended::GivenUp(pending)) => doc.given_up.push(pending),
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        if let Some(many) = many {
            many.end().await;
        }
        failure.map_or(Ok(doc), Err)
    }

    /// Ends one session that is not done; or forgets it, when it is by now.
    async fn end(
        self: &Rc<Self>,
        mut session: Rc<Session>,
        force: bool,
        asking: Option<&Rc<Asking>>,
    ) -> Result<Ended> {
        for _ in 0..LOOKS {
            let asked = session.ask_if_there(|done| ToSession::Delete { force, done });
            match tokio::time::timeout(PATIENCE, asked).await {
                Ok(Some(Ok(Removed::Gone))) => return Ok(Ended::Gone),
                Ok(Some(Ok(Removed::Later(why)))) => {
                    // Somebody is here: the host is tried now, and the answer does not wait for that.
                    session.host.person_is_here(asking);
                    return Ok(Ended::Later(pending(&session, why)));
                }
                Ok(Some(Ok(Removed::GivenUp(what)))) => {
                    return Ok(Ended::GivenUp(pending(&session, what)));
                }
                Ok(Some(Err(error))) => return Err(error),
                Ok(None) => {}
                Err(_) => {
                    let (label, host) = (session.live.borrow().record.label(), &session.host.name);
                    let why =
                        format!("{label}: {host} has not said yet that it is ended, and is asked again");
                    return Ok(Ended::Later(pending(&session, why)));
                }
            }
            match self.registry.get(session.id) {
                Some(next) => session = next,
                None => {
                    let Some(record) = self.store.get_done(session.id).await? else { return Ok(Ended::Gone) };
                    let (_, begun, error) = self.forget_those(vec![record]).await;
                    match (error, begun.into_iter().next()) {
                        (Some(error), _) => return Err(error),
                        (None, None) => return Ok(Ended::Gone),
                        (None, Some(next)) => session = next,
                    }
                }
            }
        }
        Err(never_still(&session.id.to_string()))
    }

    /// Forgets records of sessions that are done: the ids of those that were, and the sessions that began again meanwhile.
    pub(super) async fn forget_those(
        self: &Rc<Self>,
        mut records: Vec<Record>,
    ) -> (Vec<Uuid>, Vec<Rc<Session>>, Option<Error>) {
        // In one order for all, and each once: two who wait for each other would do so for ever.
        records.sort_by_key(|record| record.id);
        records.dedup_by_key(|record| record.id);
        let mut alone = Vec::new();
        for record in &records {
            alone.push(self.registry.alone(record.id).await);
        }
        let begun: Vec<_> = records.iter().filter_map(|record| self.registry.get(record.id)).collect();
        records.retain(|record| self.registry.get(record.id).is_none());
        let gone: Vec<Uuid> = records.iter().map(|record| record.id).collect();
        if gone.is_empty() {
            return (gone, begun, None);
        }
        // In one go: each write of its own waits for the disk, and there may be thousands.
        match self.store.forget_all(&gone.iter().copied().collect()).await {
            Ok(()) => {
                records.iter().for_each(|record| self.events.session(What::Deleted, record));
                (gone, begun, None)
            }
            Err(error) => (Vec::new(), begun, Some(error)),
        }
    }
}

enum Ended {
    Gone,
    Later(PendingDoc),
    GivenUp(PendingDoc),
}
