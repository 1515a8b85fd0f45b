//! The text of a session's screen as a page without a script: for readers of screens, for slow lines, for printing.

use crate::server::{Failure, Server, Visitor};
use axum::extract::{Path, Query, State};
use axum::http::header;
use axum::response::{Html, IntoResponse, Response};
use serde::Deserialize;
use sessd_base::paths::Paths;
use sessd_client::core::{Output, Told, Wants};
use sessd_client::looker::{Looker, silent_holder};
use sessd_proto::docs::{Error, Kind, Result};
use sessd_proto::limits::SCROLLBACK_LINES;
use sessd_terminal::{Size, Terminal};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a host may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Deserialize)]
pub(crate) struct Wanted {
    /// Lines of what has scrolled away.
    #[serde(default)]
    lines: usize,
    /// Seconds until it is fetched again; 0: never.
    #[serde(default)]
    every: u32,
}

struct PlainScreen {
    label: String,
    host: String,
    text: String,
    note: Option<String>,
}

fn look(paths: &Paths, session: &str, lines: usize) -> Result<PlainScreen> {
    let wants = Wants::looker(Output::Stream, u32::try_from(lines).unwrap_or(u32::MAX));
    let mut looker = Looker::at(paths, session, wants, None)?;
    let until = Instant::now() + PATIENCE;
    let (label, host) = (looker.label(), looker.session().host.clone());
    loop {
        match looker.next(Some(until), None)? {
            Some(Told::Screen { size: (cols, rows), snapshot, .. }) => {
                let mut terminal = Terminal::new(Size { cols, rows }, lines);
                terminal.feed(&snapshot);
                let note = Some(looker.core().state().detail.clone()).filter(|detail| !detail.is_empty());
                return Ok(PlainScreen { label, host, text: terminal.screen_text(lines, true), note });
            }
            Some(Told::Ended(end) | Told::Gone(end)) => {
                let note = Some(format!("{}; its last screen was not kept", end.phrase()));
                return Ok(PlainScreen { label, host, text: String::new(), note });
            }
            Some(Told::SentAway(why)) => return Err(Error::failed(why, "try again")),
            Some(Told::State(state)) => {
                if let Some(silent) = silent_holder(looker.session(), &state) {
                    return Err(silent);
                }
            }
            None if Instant::now() >= until => {
                let message = format!("{host} does not answer");
                return Err(Error::new(Kind::Unreachable, message, "try again later"));
            }
            _ => {}
        }
    }
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c => out.push(c),
        }
    }
    out
}

/// The page.
pub(crate) async fn page(
    State(server): State<Arc<Server>>,
    _: Visitor,
    Path(session): Path<String>,
    Query(Wanted { lines, every }): Query<Wanted>,
) -> Result<Response, Failure> {
    let lines = lines.min(SCROLLBACK_LINES);
    let wanted = session.clone();
    let screen = server.manager.on_a_thread(move |paths| look(paths, &wanted, lines)).await?;
    let (session, label) = (escaped(&session), escaped(&screen.label));
    let again =
        if every > 0 { format!("<meta http-equiv=\"refresh\" content=\"{every}\">") } else { String::new() };
    let note = screen.note.map_or(String::new(), |note| format!("<p role=\"status\">{}</p>", escaped(&note)));
    let html = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">{again}\
         <title>{label}: screen</title><style>:root{{color-scheme:light dark}}body{{font:1rem system-ui;margin:1rem}}\
         pre{{font:1rem ui-monospace,monospace;white-space:pre-wrap;overflow-wrap:anywhere}}</style>\
         <main><h1>{label} on {}</h1><nav><a href=\"/plain/{session}\">Read again</a> · \
         <a href=\"/plain/{session}?lines=1000\">With what has scrolled away</a> · <a href=\"/plain/{session}?every=5\">Every 5 \
         seconds</a> · <a href=\"/s/{session}\">Terminal</a></nav>{note}<pre tabindex=\"0\" aria-label=\"Screen of {label}\">{}</pre></main>",
        escaped(&screen.host),
        escaped(screen.text.trim_end()),
    );
    Ok(([(header::CACHE_CONTROL, "no-store")], Html(html)).into_response())
}
