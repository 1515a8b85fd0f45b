//! What the manager's sessions, and what is forwarded for them, have of it.

use crate::doc;
use crate::events::Events;
use crate::forward::{ForwardContext, Forwards};
use crate::host::Coming;
use crate::manager::Manager;
use crate::session::{Caller, Session, SessionContext};
use crate::store::Store;
use sessd_core::forward::mux::Mux;
use sessd_core::record::Record;
use sessd_core::session as core;
use sessd_proto::Uuid;
use sessd_proto::docs::Result;
use sessd_proto::docs::host::LOCAL;
use sessd_proto::messages as m;
use std::any::Any;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

impl SessionContext for Manager {
    fn manager(&self) -> core::Manager {
        core::Manager { id: self.id.clone(), name: self.name.clone() }
    }

    fn began(&self) -> Instant {
        Self::began(self)
    }

    fn store(&self) -> &Store {
        &self.store
    }

    fn events(&self) -> &Events {
        &self.events
    }

    fn forwards_of(self: Rc<Self>, session: Uuid) -> Rc<Forwards> {
        self.forwards(session)
    }

    fn session_changed(&self, session: &Rc<Session>) {
        self.events.document(|| doc::of_session(session));
        self.registry.tell_changed();
    }

    fn claim(&self, name: &str, session: Uuid) -> Result<Box<dyn Any>> {
        Ok(Box::new(self.registry.claim(name, session)?))
    }

    fn warmed(&self, session: &Session) {
        Self::warmed(self, session);
    }

    fn session_gone(&self, session: &Session) {
        Self::session_gone(self, session);
    }

    fn session_forgotten(&self, session: Uuid) {
        self.forget_forwards(session);
    }

    fn start_task(self: Rc<Self>, record: Record, caller: Option<Caller>) -> Rc<Session> {
        Self::start_session(&self, record, caller)
    }

    fn session_now(&self, session: Uuid) -> Option<Rc<Session>> {
        self.registry.get(session)
    }

    fn session_panicked(self: Rc<Self>, session: Rc<Session>, after: Duration) -> Coming<()> {
        Box::pin(async move { Self::go_on_after(&self, &session, after).await })
    }
}

impl ForwardContext for Manager {
    fn mux(&self) -> Mux {
        Mux::new(self.id.clone(), self.instance)
    }

    fn store(&self) -> &Store {
        &self.store
    }

    fn ssh_agents(&self) -> Vec<PathBuf> {
        self.agents()
    }

    fn is_here(&self, session: Uuid) -> bool {
        self.registry.get(session).is_some_and(|session| session.host.name == LOCAL)
    }

    fn label(&self, session: Uuid) -> String {
        self.registry.get(session).map(|session| session.live.borrow().record.label()).unwrap_or_default()
    }

    fn notice(&self, session: Uuid, notice: &m::Notice) {
        if let Some(session) = self.registry.get(session) {
            self.events.notice(&session.live.borrow().record, notice);
        }
    }
}
