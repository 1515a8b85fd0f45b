//! Which sessions there are, and who may change that: the only place where a session gets a task, loses it or hands it on.
//!
//! Two rules keep one session at one task and one name at one owner. A verb that may start or remove a session is *alone*
//! with it first and looks again when it is; between its last look and its act nobody else acts on that session. A verb
//! that gives a name *claims* it before it waits for anything.

use crate::session::Session;
use sessd_core::registry::{ClaimId, Names, Taken, TurnId, Turns};
use sessd_proto::Uuid;
use sessd_proto::docs::{Error, Kind, Result};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use tokio::sync::Notify;

/// The right to start or remove one session, or the place in the queue for it. It ends when dropped.
#[derive(Debug)]
pub struct Alone {
    turns: Rc<SharedTurns>,
    session: Uuid,
    turn: TurnId,
}

#[derive(Debug, Default)]
struct SharedTurns {
    turns: RefCell<Turns>,
    /// A turn has ended.
    ended: Notify,
}

impl Drop for Alone {
    fn drop(&mut self) {
        self.turns.turns.borrow_mut().end(self.session, self.turn);
        self.turns.ended.notify_waiters();
    }
}

/// The sessions that are not done, names on their way, and who is alone with which session.
#[derive(Debug, Default)]
pub struct Registry {
    sessions: RefCell<HashMap<Uuid, Rc<Session>>>,
    names: Rc<RefCell<Names>>,
    turns: Rc<SharedTurns>,
    /// How many tasks came to a bad end.
    panics: Cell<u32>,
    changed: Notify,
}

/// A name that is being given. Until this is dropped nobody else gets it; by then whoever was to have it has it.
#[derive(Debug)]
pub struct NameClaim {
    names: Rc<RefCell<Names>>,
    id: ClaimId,
}

impl Drop for NameClaim {
    fn drop(&mut self) {
        self.names.borrow_mut().release(self.id);
    }
}

impl Registry {
    /// Waits until nobody else starts or removes the session `id`, which need not exist. Whoever asks first is alone first: the
    /// turn is taken at once, not when this is first polled.
    pub fn alone(&self, id: Uuid) -> impl Future<Output = Alone> + use<> {
        let turn = self.turns.turns.borrow_mut().take(id);
        let alone = Alone { turns: self.turns.clone(), session: id, turn };
        async move {
            loop {
                let ended = alone.turns.ended.notified();
                tokio::pin!(ended);
                ended.as_mut().enable();
                if alone.turns.turns.borrow().has(id, turn) {
                    break;
                }
                ended.await;
            }
            alone
        }
    }

    /// The session of this id, if it is not done.
    pub fn get(&self, id: Uuid) -> Option<Rc<Session>> {
        self.sessions.borrow().get(&id).cloned()
    }

    /// A session's task begins, or takes over from the one before.
    pub fn put(&self, session: Rc<Session>) {
        self.sessions.borrow_mut().insert(session.id, session);
        self.changed.notify_waiters();
    }

    /// This task of a session is over. One that took its place stays.
    pub fn remove(&self, session: &Session) {
        let mut sessions = self.sessions.borrow_mut();
        if sessions.get(&session.id).is_some_and(|known| std::ptr::eq(Rc::as_ptr(known), session)) {
            sessions.remove(&session.id);
        }
        drop(sessions);
        self.changed.notify_waiters();
    }

    /// All, the oldest first, those on their way out included.
    pub fn all(&self) -> Vec<Rc<Session>> {
        let mut all: Vec<_> = self.sessions.borrow().values().cloned().collect();
        all.sort_by_key(|s| (s.live.borrow().record.created_at_ms, s.id));
        all
    }

    /// Is there a session with this job?
    pub fn with_job(&self, job_id: &str) -> Option<Rc<Session>> {
        let has = |s: &&Rc<Session>| s.live.borrow().record.job_id.to_string() == job_id;
        self.sessions.borrow().values().find(has).cloned()
    }

    /// Claims `name` for the session `id`. One that is on its way out has no name to keep from others.
    ///
    /// # Errors
    /// Who has it.
    pub fn claim(&self, name: &str, id: Uuid) -> Result<NameClaim> {
        let sessions = self.sessions.borrow();
        let live: Vec<_> = sessions.values().map(|session| session.live.borrow()).collect();
        let claimed = self.names.borrow_mut().claim(name, id, live.iter().map(|live| &live.record));
        let who = match claimed {
            Ok(id) => return Ok(NameClaim { names: self.names.clone(), id }),
            Err(Taken::By(session, host)) => format!("taken by session {session} on {host}"),
            Err(Taken::BeingGiven) => "just being given to another session".to_owned(),
        };
        Err(Error::new(
            Kind::NameTaken,
            format!("the name `{name}` is {who}"),
            format!("choose another, or `sessd attach {name}`"),
        ))
    }

    /// A task came to a bad end.
    pub fn panicked(&self) {
        self.panics.set(self.panics.get() + 1);
    }

    /// How many tasks came to a bad end.
    pub fn panics(&self) -> u32 {
        self.panics.get()
    }

    /// Something that is shown of a session or a host changed.
    pub fn tell_changed(&self) {
        self.changed.notify_waiters();
    }

    /// Waits until `fact` holds, looking at it whenever something that is shown of a session or a host changes.
    pub async fn until(&self, fact: impl Fn() -> bool) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if fact() {
                return;
            }
            changed.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_verb_at_a_time_is_alone_with_a_session() {
        let registry = Rc::new(Registry::default());
        let (one, two) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let alone = registry.alone(one).await;
        let _other = registry.alone(two).await;
        let mut waiting = Box::pin(registry.alone(one));
        assert!(futures_now(waiting.as_mut()).await.is_none());
        // One that gives up waiting is in nobody's way.
        drop(registry.alone(one));
        let last = registry.alone(one);
        drop(alone);
        drop(futures_now(waiting).await.expect("it is its turn"));
        assert!(futures_now(last).await.is_some());
        assert!(!registry.turns.turns.borrow().is_taken(one));
    }

    async fn futures_now<F: Future>(future: F) -> Option<F::Output> {
        tokio::select! {
            biased;
            output = future => Some(output),
            () = tokio::task::yield_now() => None,
        }
    }
}
