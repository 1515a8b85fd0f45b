//! A view in a few lines: shows what a session writes, and ends as its job does. Nobody notices it: it takes neither the
//! lead nor the size, and the questions that the job asks its terminal are answered by whoever answered them before.
//!
//! ```text
//! cargo run -p sessd-client --example look -- SESSION
//! ```

use sessd_base::out;
use sessd_base::paths::Paths;
use sessd_client::core::{Output, Told, Wants};
use sessd_client::looker::Looker;
use sessd_proto::docs::{Error, Result};
use std::process::ExitCode;

/// Lines of scrollback that are shown first.
const SCROLLBACK: u32 = 1_000;

fn look(session: &str) -> Result<u8> {
    let paths = Paths::from_environment()?;
    // It starts the manager if there is none, as every verb does.
    let mut looker = Looker::at(&paths, session, Wants::looker(Output::Stream, SCROLLBACK), None)?;
    out::say(&format!("[{} on {}]", looker.label(), looker.session().host));
    loop {
        // Neither a time nor another descriptor is waited for. A manager that ends is followed by the next one, and what comes
        // then follows on what was shown.
        match looker.next(None, None)? {
            // The whole screen, as escape sequences for a fresh terminal: first, and where output was skipped.
            Some(Told::Screen { snapshot, .. }) => {
                out::own(b"\x1b[H\x1b[2J")?;
                out::own(&snapshot)?;
            }
            // What follows on it, every byte once.
            Some(Told::Output(bytes)) => {
                out::own(&bytes)?;
            }
            // Where the link to the host stands; what the job is doing.
            Some(Told::State(state)) if !state.detail.is_empty() => out::say(&format!("[{}]", state.detail)),
            Some(Told::Ended(end)) => {
                out::say(&format!("[{}]", end.phrase()));
                return Ok(end.exit_code());
            }
            Some(Told::Gone(_)) => return Err(Error::no_such_session(session)),
            Some(Told::SentAway(why)) => return Err(Error::failed(why, "")),
            _ => {}
        }
    }
}

fn main() -> ExitCode {
    let Some(session) = std::env::args().nth(1) else {
        out::say("usage: look SESSION");
        return ExitCode::from(2);
    };
    match look(&session) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            out::say(&error.line());
            ExitCode::from(error.kind.exit_code())
        }
    }
}
