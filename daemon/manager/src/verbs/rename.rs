//! A host is called otherwise.

use crate::manager::Manager;
use crate::session::{Session, ToSession};
use sessd_base::asking::Asking;
use sessd_proto::docs::host::LOCAL;
use sessd_proto::docs::host::spelled;
use sessd_proto::docs::{Error, Kind, RenameDoc, Result};
use std::rc::Rc;

impl Manager {
    /// The sessions on the host called `old` are on `new` from now on: an alias of the ssh config was renamed. Their jobs do
    /// not notice.
    ///
    /// # Errors
    /// When a name is none, when nothing is on `old`, when `new` is found to be another machine, or when the database does
    /// not take it.
    pub async fn rename_host(
        self: &Rc<Self>,
        old: &str,
        new: &str,
        asking: Option<&Rc<Asking>>,
    ) -> Result<RenameDoc> {
        let (from, to) = (spelled(old)?, spelled(new)?);
        if from == to || [&from, &to].contains(&&LOCAL.to_owned()) {
            return Err(Error::usage(format!("{from} cannot be called {to}")));
        }
        let mut notes = Vec::new();
        let live = || self.registry.all().into_iter().filter(|s| s.live.borrow().record.host == from);
        if live().next().is_some() {
            match self.host(&to).probe(asking).await {
                Ok(seen) => {
                    let began = |s: &Rc<Session>| !s.live.borrow().record.place.is_empty();
                    let there = |s: &Rc<Session>| seen.spec(&s.live.borrow().record).is_some();
                    let mut begun = live().filter(began).peekable();
                    if let Some(session) = begun.peek().cloned()
                        && !begun.any(|session| there(&session))
                    {
                        let label = session.live.borrow().record.label();
                        return Err(Error::failed(
                            format!(
                                "{to} is another machine than {from}, or another user there: it has no job of `{label}`"
                            ),
                            "look at the HostName and User of both in your ssh config",
                        ));
                    }
                }
                Err(why) => {
                    notes.push(format!("{to} was not looked at ({}): it is taken at your word", why.message))
                }
            }
        }
        let mut sessions = 0;
        for session in live() {
            // One that has ended meanwhile goes with the other records.
            if let Some(moved) = session.ask_if_there(|done| ToSession::MoveTo(to.clone(), done)).await {
                moved?;
                sessions += 1;
            }
        }
        let done = self.store.rename_host(&from, &to).await?;
        if sessions + done == 0 {
            return Err(Error::new(
                Kind::NoSuchSession,
                format!("there is no session on {from}"),
                "`sessd host list` shows the hosts",
            ));
        }
        Ok(RenameDoc { from, to, sessions, done, notes })
    }
}
