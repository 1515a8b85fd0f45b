//! How answers look. No fetching here.

use super::table::{column, table};
use super::when::{Wall, milliseconds};
use sessd_proto::docs::names::{HANDLE, handle, handle_length};
use sessd_proto::docs::words;
use sessd_proto::docs::{
    EndDoc, HostDoc, InfoDoc, LinkDoc, LinkState, Reap, Reason, SessionDoc, StatusDoc, ViewDoc,
};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// A host that does not tell ends this much later than it would, in seconds.
const SLACK: u64 = 60;

/// What people call a session: its name, else the end of its id.
pub fn label(session: &SessionDoc) -> String {
    session.name.clone().unwrap_or_else(|| handle(&session.id, HANDLE))
}

/// How long it was idle when it was ended for that, in seconds: its limit, or what was seen where that is less, as for
/// one without a name that was left on purpose.
fn was_idle(session: &SessionDoc, end: &EndDoc) -> Option<u64> {
    let limit = session.idle_timeout_seconds;
    let seen = milliseconds(&end.at).zip(session.last_active_at.as_deref().and_then(milliseconds));
    let seen = seen.and_then(|(end, active)| u64::try_from((end - active) / 1000).ok());
    match (limit, seen) {
        (Some(limit), Some(seen)) if seen + SLACK < limit => Some(seen),
        _ => limit,
    }
}

/// How a session ended, in words; `unattended`: by which rule it was idle.
pub fn how_it_ended(session: &SessionDoc, unattended: bool) -> String {
    match &session.end {
        None => session.state.to_string(),
        Some(end) if end.reason == Reason::Reaped => words::reaped(was_idle(session, end), unattended),
        Some(end) => end.phrase(),
    }
}

/// The same with when and why.
pub fn ended(InfoDoc { session, more }: &InfoDoc, wall: &Wall) -> String {
    let how = how_it_ended(session, more.reap == Reap::Unattended);
    let Some(end) = &session.end else { return how };
    let why = end.detail.as_ref().map(|why| format!(" ({why})")).unwrap_or_default();
    format!("{how}{why}, {}", wall.full(&end.at))
}

fn command(command: &[String]) -> String {
    if command.is_empty() { "(login shell)".to_owned() } else { words::command(command) }
}

/// Tags as they are typed.
pub fn tags(session: &SessionDoc) -> String {
    tag_words(session).join(" ")
}

/// The same, one by one.
pub fn tag_words(session: &SessionDoc) -> Vec<String> {
    typed_tags(&session.tags)
}

/// The same of any tags.
pub fn typed_tags(tags: &BTreeMap<String, String>) -> Vec<String> {
    tags.iter().map(|(k, v)| if v.is_empty() { k.clone() } else { format!("{k}={v}") }).collect()
}

/// A state in few words; what is about to end says so.
fn state(session: &SessionDoc, wall: &Wall) -> String {
    match (&session.end, &session.reap_at) {
        (Some(end), _) => match (end.reason.known(), end.signal) {
            (Some(Reason::Reaped), _) => "done, was idle".to_owned(),
            (Some(Reason::Signaled), Some(signal)) => format!("done, signal {signal}"),
            _ => format!("done, {}", end.phrase()),
        },
        (None, Some(at)) => format!("{}, ends {}", session.standing(), wall.relative(at)),
        (None, None) => session.standing(),
    }
}

const LIST: [super::table::Column; 10] = [
    column("NAME", 100, 8),
    column("HOST", 80, 5),
    column("STATE", 90, 14),
    column("LINK", 50, 5),
    column("VIEWS", 40, 5),
    column("ACTIVE", 60, 7),
    column("CREATED", 30, 7),
    column("TAGS", 20, 6),
    column("RUNS", 70, 8),
    column("ID", 10, 36),
];

/// The list as a table. `room`: the terminal's width; `long`: with every column.
pub fn sessions(sessions: &[SessionDoc], wall: &Wall, room: Option<usize>, long: bool) -> String {
    let length = handle_length(sessions.iter().map(|session| session.id.as_str()));
    let row = |session: &SessionDoc| -> [Cow<'_, str>; 10] {
        let runs = session
            .foreground
            .as_deref()
            .filter(|_| session.end.is_none())
            .map_or_else(|| command(&session.command), str::to_owned);
        let active = match &session.end {
            Some(end) => wall.relative(&end.at),
            None => session.last_active_at.as_deref().map(|at| wall.relative(at)).unwrap_or_default(),
        };
        [
            session.name.clone().unwrap_or_else(|| handle(&session.id, length)).into(),
            session.host.clone().into(),
            state(session, wall).into(),
            // On this machine there is no link to speak of.
            if session.end.is_some() || session.link == LinkState::Local {
                "".into()
            } else {
                session.link.to_string().into()
            },
            if session.views.is_empty() { "".into() } else { session.views.len().to_string().into() },
            active.into(),
            wall.relative(&session.created_at).into(),
            tags(session).into(),
            runs.into(),
            if long { session.id.clone().into() } else { "".into() },
        ]
    };
    let rows: Vec<_> = sessions.iter().map(row).collect();
    table(LIST, &rows, room)
}

/// What `list` says when there is nothing to show, or more than it shows. `hidden`: anonymous sessions that run; `filtered`: not
/// all were asked for.
pub fn about_anonymous(shown: usize, hidden: usize, filtered: bool) -> Option<String> {
    match (shown, hidden) {
        (0, 0) if filtered => Some("no such sessions: `sessd list --all` shows all there are".to_owned()),
        (0, 0) => Some("no sessions".to_owned()),
        (0, hidden) => Some(format!("no named sessions; {hidden} anonymous: sessd list --all")),
        (_, 0) => None,
        (_, hidden) => Some(format!("and {hidden} anonymous: sessd list --all")),
    }
}

/// Everything about one session.
pub fn info(doc: &InfoDoc, wall: &Wall) -> String {
    let InfoDoc { session, more } = doc;
    let mut rows: Vec<(&str, String)> = vec![
        ("name", session.name.clone().unwrap_or_else(|| "(anonymous)".to_owned())),
        ("id", session.id.clone()),
        ("host", session.host.clone()),
    ];
    match &session.end {
        None => rows.push(("state", session.standing())),
        Some(end) => {
            rows.push(("state", format!("done, {}", how_it_ended(session, more.reap == Reap::Unattended))));
            rows.push(("ended", wall.full(&end.at)));
            rows.extend(end.detail.clone().map(|why| ("why", why)));
        }
    }
    if session.end.is_none() {
        rows.push(("link", session.link.to_string()));
    }
    rows.push(("command", command(&session.command)));
    rows.extend(session.foreground.clone().map(|f| ("runs", f)));
    rows.extend(session.title.clone().map(|t| ("title", t)));
    rows.extend(session.cwd.clone().map(|c| ("folder", c)));
    rows.extend(session.size.map(|s| ("size", format!("{}x{}", s.cols, s.rows))));
    if !session.tags.is_empty() {
        rows.push(("tags", tags(session)));
    }
    rows.push(("created", wall.full(&session.created_at)));
    rows.extend(session.last_active_at.as_deref().map(|at| ("last active", wall.full(at))));
    rows.extend(session.idle_seconds.map(|s| ("idle", words::rough(s))));
    let limit = session.idle_timeout_seconds.map_or_else(|| "never".to_owned(), words::exact);
    let rule = if more.reap == Reap::Unattended { " without a view (--reap unattended)" } else { "" };
    rows.push(("idle timeout", format!("{limit}{rule}")));
    rows.extend(session.reap_at.as_deref().map(|at| ("ends", wall.full(at))));
    rows.push(("job", session.job_id.clone()));
    rows.extend(session.agent_version.clone().map(|v| ("agent", v)));
    rows.extend(more.job_pid.map(|pid| ("pid", pid.to_string())));
    rows.extend(more.link_detail.clone().map(|d| ("link says", d)));
    rows.extend(more.next_try_at.as_deref().map(|at| ("next try", wall.relative(at))));
    if !more.held_by.is_empty() {
        rows.push(("held also by", more.held_by.join(", ")));
    }
    rows.extend(more.forwards.iter().map(|forward| ("forward", super::forward::words(forward))));
    rows.extend(more.notes.iter().map(|n| ("note", n.clone())));
    for view in &session.views {
        rows.push(("view", format!("{} ({})", view.id, about_view(view, wall))));
    }
    // A value is a line, whatever is in it.
    rows.iter().map(|(key, value)| format!("{key:<13} {}\n", sessd_proto::docs::text::shown(value))).collect()
}

/// A view in a few words: what it is, where, what it may, since when.
fn about_view(view: &ViewDoc, wall: &Wall) -> String {
    let mut about = vec![match &view.from {
        Some(from) => format!("{} on {from}", view.kind),
        None => view.kind.clone(),
    }];
    about.extend(view.size.map(|size| format!("{}x{}", size.cols, size.rows)));
    for (is, word) in
        [(view.read_only, "read only"), (view.leads, "leads"), (view.sizes, "sizes the session")]
    {
        about.extend(is.then(|| word.to_owned()));
    }
    about.push(format!("since {}", wall.relative(&view.attached_at)));
    about.join(", ")
}

/// One session that was taken over.
pub fn adopted(session: &SessionDoc, wall: &Wall) -> String {
    let made = wall.relative(&session.created_at);
    let command = command(&session.command);
    let command = super::table::cut(&command, 60).into_owned();
    format!("adopted {} ({}, made {made}, {command})", label(session), state(session, wall))
}

fn host_row<'a>(host: &'a HostDoc, wall: &Wall) -> [Cow<'a, str>; 6] {
    [
        host.host.as_str().into(),
        host.link.as_str().into(),
        host.sessions.to_string().into(),
        host.done.to_string().into(),
        host.next_try_at.as_deref().map(|at| wall.relative(at)).unwrap_or_default().into(),
        host.detail.as_deref().unwrap_or_default().into(),
    ]
}

/// The hosts.
pub fn hosts(hosts: &[HostDoc], wall: &Wall, room: Option<usize>) -> String {
    if hosts.is_empty() {
        return "no hosts\n".to_owned();
    }
    let rows: Vec<_> = hosts.iter().map(|host| host_row(host, wall)).collect();
    let columns = [
        column("HOST", 100, 8),
        column("LINK", 90, 11),
        column("SESSIONS", 60, 8),
        column("DONE", 50, 4),
        column("NEXT TRY", 70, 8),
        column("WHY", 80, 12),
    ];
    table(columns, &rows, room)
}

/// Bytes, in a unit that leaves few digits; nothing where they are not known.
fn amount(bytes: Option<u64>) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    let Some(bytes) = bytes else { return String::new() };
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let mut amount = bytes as f64 / 1000.0;
    let mut unit = 0;
    // What would be shown as 1000.0 is one of the next.
    while amount >= 999.95 && unit + 1 < UNITS.len() {
        amount /= 1000.0;
        unit += 1;
    }
    format!("{amount:.1} {}", UNITS[unit])
}

fn link_row<'a>(link: &'a LinkDoc, wall: &Wall) -> [Cow<'a, str>; 8] {
    [
        link.host.as_str().into(),
        link.link.as_str().into(),
        link.rtt_ms.map(|ms| format!("{ms:.1} ms")).unwrap_or_default().into(),
        amount(link.bytes_in).into(),
        amount(link.bytes_out).into(),
        link.retries.map(|n| n.to_string()).unwrap_or_default().into(),
        link.next_try_at.as_deref().map(|at| wall.relative(at)).unwrap_or_default().into(),
        link.detail.as_deref().unwrap_or_default().into(),
    ]
}

/// The manager.
pub fn status(status: &StatusDoc, wall: &Wall, room: Option<usize>) -> String {
    let mut text = format!(
        "manager {} (pid {}), runs since {}, {} session{}\n",
        status.version,
        status.pid,
        wall.full(&status.since),
        status.sessions,
        if status.sessions == 1 { "" } else { "s" }
    );
    let replaced =
        if status.program_replaced { " (the file is another by now: `sessd daemon restart`)" } else { "" };
    for (what, path) in [
        ("program", &status.program),
        ("config", &status.config),
        ("database", &status.database),
        ("log", &status.log),
        ("socket", &status.socket),
    ] {
        if let Some(path) = path {
            let note = if what == "program" { replaced } else { "" };
            text += &format!("{what:<9} {}{note}\n", sessd_proto::docs::text::shown(path));
        }
    }
    if !status.links.is_empty() {
        let rows: Vec<_> = status.links.iter().map(|link| link_row(link, wall)).collect();
        let columns = [
            column("HOST", 100, 8),
            column("LINK", 90, 11),
            column("RTT", 60, 7),
            column("IN", 55, 6),
            column("OUT", 54, 6),
            column("RETRIES", 53, 7),
            column("NEXT TRY", 70, 8),
            column("WHY", 80, 12),
        ];
        text += &table(columns, &rows, room);
    }
    for error in &status.config_errors {
        text += &format!("configuration: {}\n", sessd_proto::docs::text::shown(error));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use sessd_proto::docs::MoreDoc;
    use unicode_width::UnicodeWidthStr;

    const NOW: i64 = 1_800_000_000_000;

    fn wall() -> Wall {
        Wall::at(NOW, jiff::tz::TimeZone::UTC)
    }

    fn before(seconds: i64) -> String {
        sessd_proto::docs::time::rfc3339(NOW - seconds * 1000)
    }

    fn session(name: Option<&str>) -> SessionDoc {
        serde_json::from_value(serde_json::json!({
            "id": "0193abcd-0000-7000-8000-00000012abef", "name": name, "host": "box", "state": "running", "end": null,
            "tags": {"gpu": "", "team": "ml"}, "command": ["sh", "-c", "kill -9 $$"], "cwd": "/home/me",
            "foreground": null, "title": null, "size": {"cols": 80, "rows": 24}, "views": [],
            "created_at": before(7_300), "last_active_at": before(65), "idle_seconds": 0,
            "idle_timeout_seconds": 172_800, "reap_at": null, "link": "up", "job_id": "j", "agent_version": null
        }))
        .unwrap()
    }

    fn done(reason: &str, code: Option<i32>, signal: Option<i32>) -> SessionDoc {
        let end = EndDoc { reason: reason.into(), code, signal, at: before(180), detail: None };
        SessionDoc { state: "done".into(), end: Some(end), ..session(Some("old")) }
    }

    #[test]
    fn the_list_says_when_it_began_and_ended_and_what_would_be_typed() {
        let text = sessions(&[session(Some("dev")), done("exited", Some(1), None)], &wall(), None, false);
        assert_eq!(
            text,
            "NAME  HOST  STATE           LINK  ACTIVE  CREATED  TAGS         RUNS\n\
             dev   box   running         up    1m ago  2h ago   gpu team=ml  sh -c 'kill -9 $$'\n\
             old   box   done, exited 1        3m ago  2h ago   gpu team=ml  sh -c 'kill -9 $$'\n"
        );
    }

    #[test]
    fn the_list_fits_every_terminal() {
        let long = SessionDoc {
            name: Some("x".repeat(64)),
            tags: [("t".repeat(80), String::new())].into(),
            foreground: Some("名".repeat(40)),
            ..session(None)
        };
        let mut all = [session(Some("dev")), long, session(None), done("signaled", None, Some(9))];
        for (at, session) in all.iter_mut().enumerate().filter(|(at, _)| *at != 2) {
            session.id = format!("0193abcd-0000-7000-8000-00000000000{at}");
        }
        for room in [10, 20, 40, 80, 100, 120, 200] {
            let text = sessions(&all, &wall(), Some(room), false);
            assert_eq!(text.lines().count(), 5, "{text}");
            assert!(text.lines().all(|line| line.width() <= room), "{room}: {text}");
            assert!(room < 20 || text.contains("12abef"), "one without a name has a handle: {text}");
        }
        assert!(sessions(&all, &wall(), None, true).contains("0193abcd-0000-7000-8000-00000012abef"));
    }

    #[test]
    fn ends_and_warnings_are_in_plain_words() {
        let soon = SessionDoc { reap_at: Some(before(-7_300)), ..session(Some("dev")) };
        assert_eq!(state(&soon, &wall()), "running, ends in 2h");
        assert_eq!(state(&done("reaped", None, Some(1)), &wall()), "done, was idle");
        let idle = |active: i64| SessionDoc {
            last_active_at: Some(before(active)),
            ..done("reaped", None, Some(1))
        };
        let says = |active| how_it_ended(&idle(active), false);
        assert_eq!(says(172_990), "ended after 2 days without activity (--idle-timeout never keeps it)");
        assert_eq!(
            says(3_780),
            "ended after 1 hour without activity (--idle-timeout never keeps it)",
            "left on purpose"
        );
        assert!(how_it_ended(&idle(172_990), true).contains("without a view"));
        assert_eq!(how_it_ended(&done("signaled", None, Some(9)), false), "killed by signal 9, SIGKILL");
    }

    #[test]
    fn nobody_says_no_sessions_while_one_runs() {
        for (shown, hidden, filtered, want) in [
            (0, 0, false, Some("no sessions")),
            (0, 0, true, Some("no such sessions: `sessd list --all` shows all there are")),
            (0, 1, false, Some("no named sessions; 1 anonymous: sessd list --all")),
            (2, 0, false, None),
            (2, 0, true, None),
            (2, 3, false, Some("and 3 anonymous: sessd list --all")),
        ] {
            assert_eq!(about_anonymous(shown, hidden, filtered).as_deref(), want);
        }
    }

    #[test]
    fn every_value_of_info_is_one_line_and_acts_on_nothing() {
        let bad = "a\u{1b}]0;x\u{7}\nb\u{202e}".to_owned();
        let session = SessionDoc {
            title: Some(bad.clone()),
            cwd: Some(bad.clone()),
            command: vec![bad.clone()],
            views: vec![ViewDoc {
                id: "v".into(),
                kind: "cli".into(),
                attached_at: before(65),
                leads: true,
                sizes: true,
                size: Some(sessd_proto::docs::SizeDoc { cols: 80, rows: 24 }),
                from: Some("pts/3\n".into()),
                ..ViewDoc::default()
            }],
            ..session(Some("dev"))
        };
        let more = MoreDoc { notes: vec![bad], reap: Reap::Unattended.into(), ..MoreDoc::default() };
        let text = info(&InfoDoc { session, more }, &wall());
        assert!(!text.contains(|c| sessd_proto::docs::text::is_hidden(c) && c != '\n'), "{text:?}");
        assert!(text.lines().all(|line| line.len() > 14), "{text}");
        assert!(text.contains("created       2027-01-15 05:58:20 (2h ago)"), "{text}");
        assert!(text.contains("idle timeout  2d without a view"), "{text}");
        let view = text.lines().find(|line| line.starts_with("view")).expect("the view");
        assert!(
            view.contains("v (cli on pts/3") && view.contains(", 80x24, leads, sizes the session, "),
            "{view}"
        );
    }
}
