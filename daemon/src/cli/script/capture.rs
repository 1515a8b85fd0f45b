//! `sessd capture`: the screen of a session, without attaching to it.

use super::{Looker, Told, Wants, model, out_of_reach};
use crate::cli::args::CaptureArgs;
use serde_json::{Value, json};
use sessd_base::out;
use sessd_base::paths::Paths;
use sessd_client::core::Output;
use sessd_proto::docs::{Error, Kind, Result};
use sessd_proto::limits::{HOLDER_RING, SCROLLBACK_LINES};
use sessd_terminal::{CellView, Colour, Size, Terminal};
use std::time::{Duration, Instant};

/// How long a host may take to answer.
const PATIENCE: Duration = Duration::from_secs(20);
/// How much of what is held may be gone until it is asked for.
const MARGIN: u64 = 256 * 1024;

/// Carries it out.
///
/// # Errors
/// Why there is no screen.
pub fn capture(paths: &Paths, args: &CaptureArgs, json: bool) -> Result<u8> {
    let format = match args.format.as_deref() {
        _ if json => "json",
        Some(format) => format,
        None => "text",
    };
    let lines = match args.scrollback.as_deref() {
        None => 0,
        Some("all") => SCROLLBACK_LINES,
        Some(n) => {
            n.parse().map_err(|_| Error::usage(format!("`{n}` is not a number of lines, nor `all`")))?
        }
    };
    if let Some(since) = args.since {
        return output_since(paths, args, since, format);
    }
    let wants = Wants::looker(Output::Stream, u32::try_from(lines).unwrap_or(u32::MAX));
    let mut looker = Looker::at(paths, &args.session, wants, None)?;
    let (at, screen) = screen(&mut looker, lines)?;
    match format {
        "json" => out::json(&document(&looker, at, &screen, lines).to_string())?,
        "ansi" => out::own(&screen.screen_ansi(lines, args.join))?,
        _ => out::own(screen.screen_text(lines, args.join).as_bytes())?,
    };
    Ok(0)
}

/// The first screen of a session.
fn screen(looker: &mut Looker, lines: usize) -> Result<(u64, Terminal)> {
    let until = Instant::now() + PATIENCE;
    loop {
        match looker.next(Some(until), None)? {
            Some(Told::Screen { at, size, snapshot, .. }) => return Ok((at, model(size, &snapshot, lines))),
            Some(Told::State(state)) => {
                if let Some(error) = out_of_reach(looker.session(), &state) {
                    return Err(error);
                }
            }
            Some(Told::Ended(_)) => {
                let message = format!("{} has ended, and its last screen was not kept", looker.label());
                return Err(Error::failed(message, "`sessd info` shows how"));
            }
            Some(Told::Gone(_)) => return Err(Error::no_such_session(&looker.label())),
            Some(Told::SentAway(why)) => return Err(Error::failed(why, "try again")),
            None if Instant::now() >= until => {
                let host = &looker.session().host;
                return Err(Error::new(
                    Kind::Unreachable,
                    format!("{host} does not answer"),
                    "try again later",
                ));
            }
            _ => {}
        }
    }
}

/// The output from an offset on, to where it stands now.
fn output_since(paths: &Paths, args: &CaptureArgs, since: u64, format: &str) -> Result<u8> {
    let wants = Wants::looker(Output::Stream, 0);
    let mut looker = Looker::at(paths, &args.session, wants, None)?;
    let (head, screen) = screen(&mut looker, 0)?;
    let (session, label) = (looker.session().clone(), looker.label());
    if head == 0 && since > 0 {
        return Err(Error::failed(
            format!("{label} has ended: of its output only the last screen is kept"),
            "leave out --since",
        ));
    }
    if since > head {
        return Err(Error::usage(format!("{label} has written {head} bytes, fewer than {since}")));
    }
    drop(looker);
    let (mut from, mut bytes) = (since, Vec::new());
    if since < head {
        let read = |from| output_between(paths, &session.session_id, &session.job_id, from, head);
        (from, bytes) = match read(since)? {
            Some(bytes) => (since, bytes),
            // The beginning is not held any more: what is, begins about here.
            None => {
                let held = head.saturating_sub(HOLDER_RING as u64 - MARGIN).max(since);
                read(held)?.map_or((head, Vec::new()), |bytes| (held, bytes))
            }
        };
    }
    let skipped = from - since;
    if skipped > 0 && format != "json" {
        out::note(&format!("{skipped} bytes of {label} are not held any more"));
    }
    match (format, args.format.is_some()) {
        ("json", _) => {
            let output = String::from_utf8_lossy(&bytes);
            let document = json!({
                "id": session.session_id, "name": name(&session.name), "host": session.host, "job_id": session.job_id,
                "since": since, "skipped": skipped, "offset": head, "output": output,
            });
            out::json(&document.to_string())?;
        }
        // Asked for as text, or on its way to a terminal: without what acts on one.
        ("text", asked) if asked || out::is_terminal() => {
            let mut terminal = Terminal::new(Size { rows: 1, ..screen.size() }, SCROLLBACK_LINES);
            terminal.feed(&bytes);
            let text = terminal.screen_text(SCROLLBACK_LINES, true);
            out::own(text.trim_end_matches('\n').as_bytes())?;
            if !bytes.is_empty() {
                out::own(b"\n")?;
            }
        }
        _ => {
            out::own(&bytes)?;
        }
    }
    Ok(0)
}

/// All output from `from` to `to`; `None`: it is not all held any more.
fn output_between(paths: &Paths, session: &str, job: &str, from: u64, to: u64) -> Result<Option<Vec<u8>>> {
    let wants = Wants::looker(Output::Stream, 0);
    let mut looker = Looker::at(paths, session, wants, Some((from, job)))?;
    let until = Instant::now() + PATIENCE;
    let mut bytes = Vec::new();
    while looker.offset().is_some_and(|at| at < to) {
        match looker.next(Some(until), None)? {
            Some(Told::Output(more)) => bytes.extend_from_slice(&more),
            Some(Told::Screen { .. }) => return Ok(None),
            Some(Told::State(state)) => {
                if let Some(error) = out_of_reach(looker.session(), &state) {
                    return Err(error);
                }
            }
            Some(Told::Ended(_) | Told::Gone(_)) => break,
            Some(Told::SentAway(why)) => return Err(Error::failed(why, "try again")),
            None if Instant::now() >= until => {
                let host = &looker.session().host;
                return Err(Error::new(
                    Kind::Unreachable,
                    format!("{host} does not answer"),
                    "try again later",
                ));
            }
            _ => {}
        }
    }
    if looker.offset().is_none() {
        // Another job began meanwhile.
        return Ok(None);
    }
    bytes.truncate(usize::try_from(to - from).unwrap_or(usize::MAX));
    Ok(Some(bytes))
}

fn name(name: &str) -> Value {
    if name.is_empty() { Value::Null } else { name.into() }
}

fn document(looker: &Looker, at: u64, screen: &Terminal, lines: usize) -> Value {
    let session = looker.session();
    let rows = screen.screen_rows(lines);
    let (x, y) = screen.cursor();
    let size = screen.size();
    let text = screen.screen_text(lines, false);
    let lines: Vec<Value> = text
        .split('\n')
        .zip(&rows)
        .map(|(text, row)| json!({"text": text, "wrapped": row.wrapped, "cells": row.cells.iter().map(cell).collect::<Vec<_>>()}))
        .collect();
    json!({
        "id": session.session_id,
        "name": name(&session.name),
        "host": session.host,
        "job_id": session.job_id,
        "offset": at,
        "size": {"cols": size.cols, "rows": size.rows},
        "cursor": {"x": x, "y": y, "visible": screen.cursor_visible()},
        "alternate": screen.is_alternate(),
        "title": screen.title(),
        "scrollback": rows.len().saturating_sub(size.rows.into()),
        "lines": lines,
    })
}

/// A cell; what is as usual is left out.
fn cell(cell: &CellView) -> Value {
    let mut json = json!({"x": cell.x, "text": cell.text});
    if cell.width != 1 {
        json["width"] = cell.width.into();
    }
    for (key, colour) in [("fg", cell.fg), ("bg", cell.bg)] {
        match colour {
            None => {}
            Some(Colour::Palette(index)) => json[key] = index.into(),
            Some(Colour::Rgb(r, g, b)) => json[key] = format!("#{r:02x}{g:02x}{b:02x}").into(),
        }
    }
    for word in &cell.attributes {
        json[*word] = true.into();
    }
    if let Some(link) = &cell.link {
        json["link"] = link.as_str().into();
    }
    json
}
