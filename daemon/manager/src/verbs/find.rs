//! Which session a person means.

use crate::manager::Manager;
use crate::session::Session;
use sessd_core::Record;
use sessd_core::registry::{Candidate, Selection, is_about_done, select};
use sessd_proto::docs::names::{self, meant};
use sessd_proto::docs::{EndDoc, Error, Kind, Result};
use std::rc::Rc;

/// What a selector fits.
#[derive(Debug)]
pub enum Selected {
    /// One that is not done.
    Live(Rc<Session>),
    /// One that is to go and is still here: its host cannot be told yet.
    Leaving(Rc<Session>),
    /// One that is done.
    Done(Box<Record>),
}

impl Manager {
    /// The session a person means.
    ///
    /// # Errors
    /// When none fits, or more than one.
    pub async fn find(&self, selector: &str) -> Result<Selected> {
        let live = || -> Vec<Candidate> {
            self.registry.all().iter().map(|session| Candidate::from(&session.live.borrow().record)).collect()
        };
        let done = match is_about_done(selector, &live()) {
            true => self.store.done_like(selector).await?,
            false => Vec::new(),
        };
        // What was done when the records were asked may have a task by now, and the other way round.
        let candidates: Vec<Candidate> = done.iter().map(Candidate::from).collect();
        let found = match select(selector, &live(), &candidates) {
            Selection::Live(id) => self.registry.get(id).map(|session| {
                let leaving = session.live.borrow().record.delete_requested;
                if leaving { Selected::Leaving(session) } else { Selected::Live(session) }
            }),
            Selection::Done(id) => {
                done.into_iter().find(|record| record.id == id).map(|record| Selected::Done(Box::new(record)))
            }
            Selection::None => None,
            Selection::Many(fitting) => {
                return Err(Error::new(
                    Kind::Ambiguous,
                    format!("`{selector}` fits {} sessions: {}", fitting.len(), names::candidates(&fitting)),
                    "give more of it",
                ));
            }
        };
        match found {
            Some(found) => Ok(found),
            None => Err(self.no_such_session(selector).await),
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
            Selected::Live(session) => Ok(session),
            Selected::Leaving(session) => Err(leaving(&session)),
            Selected::Done(record) => {
                let how = record.end.as_ref().map(|end| EndDoc::from(end).phrase()).unwrap_or_default();
                Err(Error::new(
                    Kind::NoSuchSession,
                    format!("the session `{}` is done ({how})", record.label()),
                    format!("`sessd restart {}` runs it again", record.label()),
                ))
            }
        }
    }
}

/// What is told of a session that is to go, to whoever wants something else of it.
pub fn leaving(session: &Session) -> Error {
    let live = session.live.borrow();
    let (label, host) = (live.record.label(), &live.record.host);
    Error::new(
        Kind::NoSuchSession,
        format!("`{label}` is deleted, and ended as soon as {host} can be told"),
        "`sessd list` shows it until then",
    )
}
