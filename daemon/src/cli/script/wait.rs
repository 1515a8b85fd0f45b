//! `sessd wait`: until a session's job has ended, is idle, works, waits, or shows a text.

use super::{Looker, Told, Wants, model, out_of_reach};
use crate::cli::args::WaitArgs;
use sessd_base::config::duration_or_never;
use sessd_base::out;
use sessd_base::paths::Paths;
use sessd_client::core::Output;
use sessd_client::wait::{Observed, Outcome, Until, Wait};
use sessd_proto::docs::{EndDoc, Error, Kind, Reason, Result};
use sessd_proto::limits::SCROLLBACK_LINES;
use sessd_proto::messages::ViewState;
use sessd_terminal::Terminal;
use std::time::Instant;

/// What the program ends with when its session does not become what was waited for.
const NOT_SO: u8 = 1;

/// Carries it out. The code: 0, or the job's own when that has ended.
///
/// # Errors
/// When what was waited for never comes, or has not come in time.
pub fn wait(paths: &Paths, args: &WaitArgs, json: bool) -> Result<u8> {
    let until = Until::named(args.until.as_deref(), args.regex, args.changed)
        .map_err(|e| Error::usage(e.to_string()))?;
    let timeout = args.timeout.as_deref().map(duration_or_never).transpose()?.flatten();
    let deadline = timeout.map(|timeout| Instant::now() + timeout);
    let output = if until.needs_output() { Output::Stream } else { Output::None };
    let wants = Wants::looker(output, 0);
    let mut waiting = Waiting {
        looker: Looker::at(paths, &args.session, wants, None)?,
        wait: Wait::new(until, args.changed),
        screen: None,
        state: ViewState::default(),
        said: String::new(),
        holder_was_silent: false,
        quiet: json,
        end: None,
    };
    let code = loop {
        let told = waiting.looker.next(deadline, None)?;
        if let Some(told) = told
            && let Some(code) = waiting.see(told)?
        {
            break code;
        }
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Err(waiting.too_late(args.timeout.as_deref().unwrap_or_default()));
        }
    };
    if json {
        let (session, end) = (waiting.looker.session(), &waiting.end);
        // Of a job that left neither, what this program ends with is no code of it.
        let known = end.as_ref().is_none_or(|end| end.code.or(end.signal).is_some());
        let document = serde_json::json!({
            "id": session.session_id, "name": session.name, "code": known.then_some(code), "end": end,
        });
        out::json(&document.to_string())?;
    }
    Ok(code)
}

struct Waiting {
    looker: Looker,
    wait: Wait,
    screen: Option<Terminal>,
    state: ViewState,
    /// What was last said of the host, and that it was the holder's silence.
    said: String,
    holder_was_silent: bool,
    quiet: bool,
    /// How the job ended, if it did.
    end: Option<EndDoc>,
}

impl Waiting {
    /// The code to end with, once there is one.
    fn see(&mut self, told: Told<'_>) -> Result<Option<u8>> {
        let outcome = match told {
            Told::Screen { size, snapshot, skipped, .. } => {
                // Where output was skipped, or the size changed, it stands for what came meanwhile.
                let new = self.screen.is_some() && skipped > 0;
                let model = self.screen.insert(model(size, &snapshot, SCROLLBACK_LINES));
                self.wait.look(Observed::Screen { model, new })
            }
            Told::Output(bytes) => match &mut self.screen {
                Some(model) => {
                    model.feed(&bytes);
                    self.wait.look(Observed::Screen { model, new: true })
                }
                None => None,
            },
            Told::State(state) => {
                self.say_how_the_host_is(&state);
                self.state = state;
                let doing = self.state.doing.as_ref();
                doing.and_then(|doing| {
                    self.wait.look(Observed::Doing(
                        &doing.state,
                        i64::try_from(doing.since_ms).unwrap_or(i64::MAX),
                    ))
                })
            }
            Told::Ended(end) => {
                let outcome = self.wait.look(Observed::Ended(&end));
                self.end = Some(end.clone());
                if matches!(outcome, Some(Outcome::Met)) {
                    return Ok(Some(self.has_ended(&end)));
                }
                outcome
            }
            Told::Gone(_) => self.wait.look(Observed::Gone),
            Told::SentAway(why) => return Err(Error::failed(why, "wait again when it is back")),
            _ => None,
        };
        match outcome {
            None => Ok(None),
            Some(Outcome::Met) => Ok(Some(0)),
            Some(Outcome::Gone) => Err(self.deleted()),
            // The job was ended for that.
            Some(Outcome::Ended(end))
                if end.reason.known() == Some(Reason::Deleted) && restarted(&end).is_none() =>
            {
                Err(self.deleted())
            }
            Some(Outcome::Ended(end)) => Ok(Some(self.ended(&end))),
        }
    }

    fn deleted(&self) -> Error {
        Error::new(Kind::NoSuchSession, self.before("was deleted"), "`sessd list` shows what there is")
    }

    fn before(&self, what: &str) -> String {
        let label = self.looker.label();
        match self.wait.until() {
            Until::Exit => format!("{label} {what}"),
            until => format!("{label} {what} before {}", until.words()),
        }
    }

    /// The end was waited for. What is no plain exit is said: its code may be any job's.
    fn has_ended(&self, end: &EndDoc) -> u8 {
        if !self.quiet && end.reason.known() != Some(Reason::Exited) {
            out::note(&format!("{}: {}", self.before(&how(end)), self.next(end)));
        }
        end.exit_code()
    }

    /// What to do next about a job that ended.
    fn next(&self, end: &EndDoc) -> String {
        let label = self.looker.label();
        match end.reason.known() {
            Some(Reason::Deleted) if restarted(end).is_some() => {
                format!("`sessd wait {label}` waits for the one that runs now")
            }
            Some(Reason::Deleted) => "`sessd list` shows what there is".to_owned(),
            Some(Reason::Exited) => format!("`sessd capture {label}` shows what it left on its screen"),
            _ => format!("`sessd restart {label}` runs it again"),
        }
    }

    /// The job ended before: its own code, and never success.
    fn ended(&self, end: &EndDoc) -> u8 {
        out::note(&format!("{}: {}", self.before(&how(end)), self.next(end)));
        match end.exit_code() {
            0 => NOT_SO,
            code => code,
        }
    }

    /// A host that is out of reach may come back: that is waited for, and said.
    fn say_how_the_host_is(&mut self, state: &ViewState) {
        let host = &self.looker.session().host;
        let now = out_of_reach(self.looker.session(), state).map(|error| error.message).unwrap_or_default();
        if now != self.said {
            let label = self.looker.label();
            if !self.quiet {
                match now.is_empty() {
                    true if self.holder_was_silent => {
                        out::note(&format!("the holder of {label} answers again, and it is waited for"));
                    }
                    true => out::note(&format!("{host} is back, and {label} is waited for")),
                    false => out::note(&format!("{now}; {label} is waited for until it is back")),
                }
            }
            self.holder_was_silent = state.holder_silent_ms.is_some();
            self.said = now;
        }
    }

    fn too_late(&self, timeout: &str) -> Error {
        let label = self.looker.label();
        let why = match out_of_reach(self.looker.session(), &self.state) {
            Some(error) => format!(" ({})", error.message),
            None if self.wait.until().is_activity()
                && self.state.doing.is_none()
                && !self.state.link.is_empty() =>
            {
                " (its holder on the host is older than this sessd and does not tell)".to_owned()
            }
            None => String::new(),
        };
        let what = match self.wait.until() {
            Until::Exit => format!("{label} has not ended in {timeout}{why}"),
            until => format!("{label}: {timeout} were over before {}{why}", until.words()),
        };
        Error::new(Kind::TimedOut, what, format!("`sessd capture {label}` shows where it stands"))
    }
}

/// By whom the session was restarted, where its job ended for that: the session goes on.
fn restarted(end: &EndDoc) -> Option<&str> {
    end.detail
        .as_deref()
        .filter(|why| end.reason.known() == Some(Reason::Deleted) && why.starts_with("restarted"))
}

/// How a job ended, said behind its session's name.
fn how(end: &EndDoc) -> String {
    match (restarted(end), &end.detail) {
        (Some(by), _) => format!("was {by}"),
        (None, Some(why)) => format!("ended ({}; {why})", end.phrase()),
        (None, None) => format!("ended ({})", end.phrase()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restart_is_no_deletion() {
        let end = |reason: Reason, detail: Option<&str>| EndDoc {
            reason: reason.into(),
            code: None,
            signal: Some(1),
            at: String::new(),
            detail: detail.map(str::to_owned),
        };
        assert_eq!(how(&end(Reason::Deleted, Some("restarted by me@here"))), "was restarted by me@here");
        assert_eq!(
            how(&end(Reason::Deleted, Some("deleted by me@here"))),
            "ended (deleted; deleted by me@here)"
        );
        assert_eq!(how(&end(Reason::Signaled, None)), "ended (killed by signal 1, SIGHUP)");
        assert!(restarted(&end(Reason::Signaled, Some("restarted its server"))).is_none());
    }
}
