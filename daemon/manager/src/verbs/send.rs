//! Something is typed into a job by no view.

use crate::manager::Manager;
use crate::session::ToSession;
use crate::verbs::create::runs;
use crate::verbs::{LOOKS, never_still};
use sessd_base::asking::Asking;
use sessd_proto::docs::{Error, Kind, Result, SentDoc};
use sessd_proto::limits::SEND_MAX;
use sessd_proto::messages::{self as m, SendWhat, SentOutcome};
use std::rc::Rc;
use std::time::Duration;

/// How long a holder that is there may take to answer.
const PATIENCE: Duration = Duration::from_secs(20);

impl Manager {
    /// Types into a job, or has its host do so when it is time. Asked again under the same id it is typed once.
    ///
    /// # Errors
    /// Why nothing was typed, or why that is not known.
    pub async fn type_in(&self, asked: m::Type, asking: Option<&Rc<Asking>>) -> Result<SentDoc> {
        let send = asked.send.ok_or_else(|| Error::usage("nothing is to be typed"))?;
        let long: usize = send.parts.iter().filter_map(|part| part.what.as_ref()).map(length).sum();
        if send.id.len() != 16 || long > SEND_MAX {
            return Err(Error::usage(format!("at once at most {SEND_MAX} bytes can be typed")));
        }
        for _ in 0..LOOKS {
            let session = self.find_live(&asked.session).await?;
            let up = session.host.want(asking);
            runs(&session, up, asking).await?;
            let question = session.ask_if_there(|done| ToSession::Type(send.clone(), done));
            let Ok(answer) = tokio::time::timeout(PATIENCE, question).await else {
                let (label, host) = (session.live.borrow().record.label(), &session.host.name);
                return Err(Error::new(
                    Kind::Unreachable,
                    format!("{label}: {host} has not answered, and what was sent may have been typed or not"),
                    "look with `sessd capture`",
                ));
            };
            if let Some(answer) = answer {
                let m::Sent { outcome, queued, .. } = answer?;
                let outcome = match SentOutcome::try_from(outcome) {
                    Ok(SentOutcome::Queued) => "queued",
                    Ok(SentOutcome::Busy) => "busy",
                    _ => "typed",
                };
                return Ok(SentDoc { id: session.id.to_string(), outcome: outcome.to_owned(), queued });
            }
        }
        Err(never_still(&asked.session))
    }
}

fn length(what: &SendWhat) -> usize {
    match what {
        SendWhat::Text(bytes) | SendWhat::Paste(bytes) | SendWhat::Lines(bytes) => bytes.len(),
        SendWhat::Key(name) => name.len(),
    }
}
