//! Verbs for scripts. None of them is a view that anybody notices: they take neither the lead nor the size nor the job's
//! questions to its terminal ([`Wants::looker`]).
//!
//! [`run`]: a command as if it ran here. [`report`]: what is said inside a job. [`send`]: what is typed by no view.
//! [`capture`], [`wait`]: what is on the screen, and until when it is waited for.

pub mod capture;
pub mod report;
pub mod run;
pub mod send;
pub mod wait;

use sessd_client::core::{Told, Wants};
use sessd_client::looker::{Looker, silent_holder};
use sessd_proto::docs::{Error, Kind, LinkState, Vocabulary};
use sessd_proto::messages as m;
use sessd_terminal::{Size, Terminal};

/// A screen that was told, with so many lines of scrollback.
fn model(size: (u16, u16), snapshot: &[u8], lines: usize) -> Terminal {
    let mut terminal = Terminal::new(Size { cols: size.0, rows: size.1 }.clamped(), lines);
    terminal.feed(snapshot);
    terminal
}

/// Why a session cannot be looked at, if its link or its holder says so and nothing will change that soon.
pub fn out_of_reach(session: &m::Attached, state: &m::ViewState) -> Option<Error> {
    if let Some(silent) = silent_holder(session, state) {
        return Some(silent);
    }
    let host = &session.host;
    let why =
        |what: &str| if state.detail.is_empty() { format!("{host} {what}") } else { state.detail.clone() };
    match LinkState::from_word(&state.link) {
        Some(LinkState::Down) => {
            Some(Error::new(Kind::Unreachable, why("is out of reach"), "try again when it is back"))
        }
        Some(LinkState::NeedsLogin) => {
            let hint = format!("log in once: `sessd attach` to a session on {host}");
            Some(Error::new(Kind::NeedsLogin, why("wants a login"), hint))
        }
        _ => None,
    }
}
