//! What is shown of sessions.

use crate::doc;
use crate::host::Status;
use crate::manager::Manager;
use crate::verbs::find::Selected;
use sessd_core::Record;
use sessd_proto::docs::host::spelled;
use sessd_proto::docs::names::tag_matches;
use sessd_proto::docs::{Error, InfoDoc, Result, SessionDoc, State, Vocabulary};
use sessd_proto::messages as m;
use std::collections::BTreeMap;

impl Manager {
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
        let asked = if list.host.is_empty() { String::new() } else { spelled(&list.host)? };
        let fits = |name: bool, host: &str, tags: &BTreeMap<String, String>, state: &str| {
            (list.all || name)
                && (asked.is_empty() || asked == host)
                && (list.state.is_empty() || list.state == state)
                && list.tags.iter().all(|filter| tag_matches(tags, filter))
        };
        if !list.at_once {
            self.first_words(|record| asked.is_empty() || asked == record.host).await;
        }
        let mut docs = Vec::new();
        for session in self.registry.all() {
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
                docs.extend(done.iter().filter(wanted).map(|r| doc::of_done(r, self.link_state(&r.host))));
            };
            self.store.with_done(add).await?;
        }
        Ok(docs)
    }

    /// One session, with everything known.
    pub async fn info(&self, selector: &str) -> Result<InfoDoc> {
        if let Selected::Live(session) = self.find(selector).await? {
            self.first_words(|record| record.id == session.id).await;
        }
        match self.find(selector).await? {
            Selected::Live(session) | Selected::Leaving(session) => {
                Ok(doc::info_of_session(&session, &self.name))
            }
            Selected::Done(record) => {
                let status = self.hosts.borrow().get(&record.host).map_or(Status::Dormant, |h| h.status());
                let session = doc::of_done(&record, self.link_state(&record.host));
                Ok(InfoDoc { session, more: doc::more_of(&record, &status) })
            }
        }
    }
}
