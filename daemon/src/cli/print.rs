//! How answers look. No fetching here.

use crate::manager::doc::{EndDoc, InfoDoc, LinkDoc, SessionDoc, StatusDoc};
use std::borrow::Cow;
use std::io::Write;
use std::time::Duration;
use unicode_width::UnicodeWidthStr;

/// Prints text. A reader that went away is no failure of ours.
pub fn out(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Prints a line.
pub fn line(text: &str) {
    out(&format!("{text}\n"));
}

/// Rows under a header, one line each, every column as wide as its widest cell. There may be many thousands.
fn columns<const N: usize>(header: [&str; N], rows: &[[Cow<'_, str>; N]]) -> String {
    let width = |text: &str| if text.is_ascii() { text.len() } else { text.width() };
    let mut widths = header.map(width);
    for row in rows {
        for (widest, cell) in widths.iter_mut().zip(row) {
            *widest = width(cell).max(*widest);
        }
    }
    let mut text = String::with_capacity((widths.iter().sum::<usize>() + 2 * N) * (rows.len() + 1));
    let mut line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut missing = 0;
        for (cell, widest) in cells.zip(widths) {
            if !cell.is_empty() {
                text.extend(std::iter::repeat_n(' ', missing));
                missing = 0;
                // A row is a line, whatever is in it.
                if cell.contains(char::is_control) {
                    text.extend(cell.chars().map(|c| if c.is_control() { ' ' } else { c }));
                } else {
                    text.push_str(cell);
                }
            }
            missing += widest.saturating_sub(width(cell)) + 2;
        }
        text.push('\n');
    };
    line(&mut header.into_iter());
    for row in rows {
        line(&mut row.iter().map(AsRef::as_ref));
    }
    text
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

fn short(text: Cow<'_, str>, max: usize) -> Cow<'_, str> {
    if text.len() <= max || text.chars().count() <= max {
        text
    } else {
        text.chars().take(max - 1).chain(['…']).collect()
    }
}

fn tags(session: &SessionDoc) -> String {
    let words: Vec<String> =
        session.tags.iter().map(|(k, v)| if v.is_empty() { k.clone() } else { format!("{k}={v}") }).collect();
    words.join(" ")
}

fn session_row(session: &SessionDoc) -> [Cow<'_, str>; 8] {
    let runs = session.foreground.as_deref().map_or_else(|| command(&session.command).into(), Cow::from);
    [
        session.name.as_deref().unwrap_or(&session.id).into(),
        session.host.as_str().into(),
        session
            .end
            .as_ref()
            .map_or_else(|| session.state.as_str().into(), |e| format!("done, {}", end(e)).into()),
        if session.end.is_some() { "".into() } else { session.link.as_str().into() },
        if session.views.is_empty() { "".into() } else { session.views.len().to_string().into() },
        session.idle_seconds.map(duration).unwrap_or_default().into(),
        short(runs, 40),
        tags(session).into(),
    ]
}

/// The list as a table.
pub fn table(sessions: &[SessionDoc]) -> String {
    if sessions.is_empty() {
        return "no sessions\n".to_owned();
    }
    let rows: Vec<_> = sessions.iter().map(session_row).collect();
    columns(["NAME", "HOST", "STATE", "LINK", "VIEWS", "IDLE", "RUNS", "TAGS"], &rows)
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
        short(command(&session.command).into(), 60)
    )
}

fn text_of(value: &serde_json::Value) -> Cow<'_, str> {
    match value {
        serde_json::Value::String(text) => text.into(),
        serde_json::Value::Number(number) => number.to_string().into(),
        _ => "".into(),
    }
}

/// The hosts.
pub fn hosts(hosts: &[serde_json::Value]) -> String {
    if hosts.is_empty() {
        return "no hosts\n".to_owned();
    }
    let keys = ["host", "link", "sessions", "done", "next_try_at", "detail"];
    let rows: Vec<_> = hosts.iter().map(|host| keys.map(|key| text_of(&host[key]))).collect();
    columns(["HOST", "LINK", "SESSIONS", "DONE", "NEXT TRY", "WHY"], &rows)
}

fn link_row(link: &LinkDoc) -> [Cow<'_, str>; 5] {
    [
        link.host.as_str().into(),
        link.link.as_str().into(),
        link.rtt_ms.map(|ms| format!("{ms:.1} ms")).unwrap_or_default().into(),
        link.next_try_at.as_deref().unwrap_or_default().into(),
        link.detail.as_deref().unwrap_or_default().into(),
    ]
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
        let rows: Vec<_> = status.links.iter().map(link_row).collect();
        text += &columns(["HOST", "LINK", "RTT", "NEXT TRY", "WHY"], &rows);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_they_must_be_and_a_row_is_a_line() {
        let rows =
            [["a", "", "x"], ["名前", "two\nlines\u{1b}", ""], ["", "", "end"]].map(|row| row.map(Cow::from));
        assert_eq!(
            columns(["ONE", "TWO", "THREE"], &rows),
            "ONE   TWO         THREE\na                 x\n名前  two lines \n                  end\n"
        );
        assert_eq!(columns(["A", "B"], &[]), "A  B\n");
    }
}
