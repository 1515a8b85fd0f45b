//! How answers look. No fetching here.

use crate::manager::doc::{EndDoc, InfoDoc, SessionDoc, StatusDoc};
use comfy_table::{Table, presets};
use std::io::Write;
use std::time::Duration;

/// Prints text. A reader that went away is no failure of ours.
pub fn out(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Prints a line.
pub fn line(text: &str) {
    out(&format!("{text}\n"));
}

fn table_of(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(header.to_vec());
    table
}

fn text_of(mut table: Table) -> String {
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n") + "\n"
}

fn duration(seconds: u64) -> String {
    let rounded = match seconds {
        0..=119 => seconds,
        120..=7199 => seconds / 60 * 60,
        7200..=172_799 => seconds / 3600 * 3600,
        _ => seconds / 86_400 * 86_400,
    };
    humantime::format_duration(Duration::from_secs(rounded)).to_string()
}

fn end(end: &EndDoc) -> String {
    match (end.reason.as_str(), end.code, end.signal) {
        ("exited", Some(code), _) => format!("exited {code}"),
        ("signaled", _, Some(signal)) => format!("signal {signal}"),
        (reason, ..) => reason.to_owned(),
    }
}

/// How a session ended, in a few words.
pub fn ended(session: &SessionDoc) -> String {
    session.end.as_ref().map_or_else(
        || session.state.clone(),
        |e| {
            let why = e.detail.as_ref().map(|why| format!(" ({why})")).unwrap_or_default();
            format!("{} at {}{why}", end(e), e.at)
        },
    )
}

fn command(words: &[String]) -> String {
    if words.is_empty() { "(login shell)".to_owned() } else { words.join(" ") }
}

fn short(text: &str, max: usize) -> String {
    if text.chars().count() <= max {
        text.to_owned()
    } else {
        text.chars().take(max - 1).chain(['…']).collect()
    }
}

fn tags(session: &SessionDoc) -> String {
    let words: Vec<String> =
        session.tags.iter().map(|(k, v)| if v.is_empty() { k.clone() } else { format!("{k}={v}") }).collect();
    words.join(" ")
}

/// The list as a table.
pub fn table(sessions: &[SessionDoc]) -> String {
    if sessions.is_empty() {
        return "no sessions\n".to_owned();
    }
    let mut table = table_of(&["NAME", "HOST", "STATE", "LINK", "VIEWS", "IDLE", "RUNS", "TAGS"]);
    for session in sessions {
        let state =
            session.end.as_ref().map_or_else(|| session.state.clone(), |e| format!("done, {}", end(e)));
        let done = session.end.is_some();
        let runs = session.foreground.clone().unwrap_or_else(|| command(&session.command));
        table.add_row([
            session.name.clone().unwrap_or_else(|| session.id.clone()),
            session.host.clone(),
            state,
            if done { String::new() } else { session.link.clone() },
            if session.views.is_empty() { String::new() } else { session.views.len().to_string() },
            session.idle_seconds.map(duration).unwrap_or_default(),
            short(&runs, 40),
            tags(session),
        ]);
    }
    text_of(table)
}

/// Everything about one session.
pub fn info(InfoDoc { session, more }: &InfoDoc) -> String {
    let mut rows: Vec<(&str, String)> = vec![
        ("name", session.name.clone().unwrap_or_else(|| "(anonymous)".to_owned())),
        ("id", session.id.clone()),
        ("host", session.host.clone()),
        (
            "state",
            session
                .end
                .as_ref()
                .map_or_else(|| session.state.clone(), |e| format!("done, {} at {}", end(e), e.at)),
        ),
    ];
    rows.extend(session.end.as_ref().and_then(|e| e.detail.clone()).map(|d| ("why", d)));
    if session.end.is_none() {
        rows.push(("link", session.link.clone()));
    }
    rows.push(("command", command(&session.command)));
    rows.extend(session.foreground.clone().map(|f| ("runs", f)));
    rows.extend(session.title.clone().map(|t| ("title", t)));
    rows.extend(session.cwd.clone().map(|c| ("folder", c)));
    rows.extend(session.size.map(|s| ("size", format!("{}x{}", s.cols, s.rows))));
    if !session.tags.is_empty() {
        rows.push(("tags", tags(session)));
    }
    rows.push(("created", session.created_at.clone()));
    rows.extend(session.last_active_at.clone().map(|a| ("last active", a)));
    rows.extend(session.idle_seconds.map(|s| ("idle", duration(s))));
    rows.push(("idle timeout", session.idle_timeout_seconds.map_or_else(|| "never".to_owned(), duration)));
    rows.extend(session.reap_at.clone().map(|r| ("ends at", r)));
    rows.push(("job", session.job_id.clone()));
    rows.extend(session.agent_version.clone().map(|v| ("agent", v)));
    rows.extend(more.job_pid.map(|pid| ("pid", pid.to_string())));
    rows.extend(more.link_detail.clone().map(|d| ("link says", d)));
    rows.extend(more.next_try_at.clone().map(|t| ("next try", t)));
    if !more.held_by.is_empty() {
        rows.push(("held also by", more.held_by.join(", ")));
    }
    rows.extend(more.notes.iter().map(|n| ("note", n.clone())));
    for view in &session.views {
        let only = if view.read_only { ", read only" } else { "" };
        rows.push(("view", format!("{} ({}{only}, since {})", view.id, view.kind, view.attached_at)));
    }
    rows.iter().map(|(key, value)| format!("{key:<13} {value}\n")).collect()
}

/// One session that was taken over.
pub fn adopted(session: &SessionDoc) -> String {
    let name = session.name.as_deref().unwrap_or(&session.id);
    let state = session.end.as_ref().map_or_else(|| session.state.clone(), |e| format!("done, {}", end(e)));
    format!(
        "adopted {name} ({state}, made {}, {})",
        session.created_at,
        short(&command(&session.command), 60)
    )
}

/// The hosts.
pub fn hosts(hosts: &[serde_json::Value]) -> String {
    if hosts.is_empty() {
        return "no hosts\n".to_owned();
    }
    let mut table = table_of(&["HOST", "LINK", "SESSIONS", "DONE", "NEXT TRY", "WHY"]);
    for host in hosts {
        let text = |key: &str| {
            host[key]
                .as_str()
                .map_or_else(|| host[key].as_u64().map(|n| n.to_string()).unwrap_or_default(), str::to_owned)
        };
        table.add_row(["host", "link", "sessions", "done", "next_try_at", "detail"].map(text));
    }
    text_of(table)
}

/// The manager.
pub fn status(status: &StatusDoc) -> String {
    let mut text = format!(
        "manager {} (pid {}) since {}, {} session{}\n",
        status.version,
        status.pid,
        status.since,
        status.sessions,
        if status.sessions == 1 { "" } else { "s" }
    );
    if !status.links.is_empty() {
        let mut table = table_of(&["HOST", "LINK", "RTT", "NEXT TRY", "WHY"]);
        for link in &status.links {
            table.add_row([
                link.host.clone(),
                link.link.clone(),
                link.rtt_ms.map(|ms| format!("{ms:.1} ms")).unwrap_or_default(),
                link.next_try_at.clone().unwrap_or_default(),
                link.detail.clone().unwrap_or_default(),
            ]);
        }
        text += &text_of(table);
    }
    text
}
