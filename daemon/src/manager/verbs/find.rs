//! Which session a person means.

use crate::manager::Manager;
use crate::manager::session::Session;
use sessd_core::Record;
use sessd_proto::docs::names::{Fit, candidates, fit, meant};
use sessd_proto::docs::{EndDoc, Error, Kind, Result};
use std::rc::Rc;

/// What a selector fits.
#[derive(Debug)]
pub enum Found {
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
    pub async fn find(&self, selector: &str) -> Result<Found> {
        let mut live = self.fitting(selector);
        let mut done: Vec<(Fit, Record)> = Vec::new();
        if live.iter().all(|(fit, _)| *fit <= Fit::Prefix) {
            for record in self.store.done_like(selector).await? {
                let how = fit(selector, &record.id.to_string(), record.name.as_deref());
                done.extend(how.map(|fit| (fit, record)));
            }
            // What was done when the records were asked may have a task by now, and the other way round.
            live = self.fitting(selector);
            done.retain(|(_, record)| live.iter().all(|(_, session)| session.id != record.id));
        }
        // A live session goes before a done one of the same name; a whole id before a name before a beginning.
        let leaving = |session: &Rc<Session>| session.live.borrow().record.delete_requested;
        let found = |session: &Rc<Session>| match leaving(session) {
            true => Found::Leaving(session.clone()),
            false => Found::Live(session.clone()),
        };
        if let Some((_, session)) = live
            .iter()
            .filter(|(fit, _)| *fit > Fit::Prefix)
            .max_by_key(|(fit, session)| (*fit, !leaving(session)))
        {
            return Ok(found(session));
        }
        // The store gives the one that ended last first, and `max_by_key` the last of equals.
        if let Some((_, record)) =
            done.iter().rev().max_by_key(|(fit, _)| *fit).filter(|(fit, _)| *fit > Fit::Prefix)
        {
            return Ok(Found::Done(Box::new(record.clone())));
        }
        // A beginning goes before an end.
        let fits = live.iter().map(|(fit, _)| *fit).chain(done.iter().map(|(fit, _)| *fit));
        if fits.into_iter().any(|fit| fit == Fit::Prefix) {
            live.retain(|(fit, _)| *fit == Fit::Prefix);
            done.retain(|(fit, _)| *fit == Fit::Prefix);
        }
        match (live.as_slice(), done.as_slice()) {
            ([], []) => Err(self.no_such_session(selector).await),
            ([(_, session)], []) => Ok(found(session)),
            ([], [(_, record)]) => Ok(Found::Done(Box::new(record.clone()))),
            _ => {
                let live = live.iter().map(|(_, s)| (s.live.borrow().record.name.clone(), s.id.to_string()));
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

    fn fitting(&self, selector: &str) -> Vec<(Fit, Rc<Session>)> {
        let fits = |session: Rc<Session>| {
            let how = fit(selector, &session.id.to_string(), session.live.borrow().record.name.as_deref());
            how.map(|fit| (fit, session))
        };
        self.registry.all().into_iter().filter_map(fits).collect()
    }

    /// The live session a person means.
    ///
    /// # Errors
    /// As [`Self::find`], and for one that is done.
    pub async fn find_live(&self, selector: &str) -> Result<Rc<Session>> {
        match self.find(selector).await? {
            Found::Live(session) => Ok(session),
            Found::Leaving(session) => Err(leaving(&session)),
            Found::Done(record) => {
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
