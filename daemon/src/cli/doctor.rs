//! `sessd doctor`: what would not work, and the one thing to do about it.

use super::args::DoctorArgs;
use super::ask::ask_running;
use super::verbs::{ask, read};
use crate::view::terminal;
use sessd_base::config::Config;
use sessd_base::out;
use sessd_base::paths::Paths;
use sessd_proto::docs::host::LOCAL;
use sessd_proto::docs::{CheckDoc, Error, HostDoc, Kind, LinkState, Result, StatusDoc, StepDoc};
use sessd_proto::messages::{self as m, Act};
use std::time::Duration;

/// How long a manager that runs may take to say how it is.
const STATUS: Duration = Duration::from_secs(5);
/// Less room than this on the disk of the state folder is worth a word, in bytes.
const ROOM: u64 = 64 << 20;

/// `sessd doctor`.
///
/// # Errors
/// When nothing could be found out.
pub(super) fn doctor(paths: &Paths, args: DoctorArgs, json: bool) -> Result<u8> {
    let host = args.host.unwrap_or_else(|| LOCAL.to_owned());
    let mut steps = if host == LOCAL { here(paths) } else { Vec::new() };
    let check =
        ask(paths, Act::Check(m::HostName { host, all: true })).and_then(|answer| read::<CheckDoc>(&answer));
    let mut doc = match check {
        Ok(doc) => doc,
        // Without a manager there is what was found out without one.
        Err(error) if !steps.is_empty() => {
            let steps = vec![step("manager", Some(false), error.message, Some(error.hint))];
            CheckDoc { host: LOCAL.to_owned(), ok: false, steps, kind: Some(error.kind.word().to_owned()) }
        }
        Err(error) => return Err(error),
    };
    if doc.host == LOCAL && doc.ok {
        doc.steps.extend(hosts(paths));
    }
    doc.ok &= steps.iter().all(|step| step.ok != Some(false));
    steps.append(&mut doc.steps);
    doc.steps = steps;
    let text = if json { Some(serde_json::to_string(&doc).unwrap_or_default()) } else { None };
    checked(&doc, text.as_ref())
}

/// Prints the steps. `json`: the document, where that is wanted.
///
/// # Errors
/// The first step that failed, and when they could not be printed.
pub(super) fn checked(doc: &CheckDoc, json: Option<&String>) -> Result<u8> {
    let failure = failure(doc);
    match (json, failure) {
        (Some(json), None) => out::json(json).map(|_| 0),
        // One document, with the error as any other command has it.
        (Some(json), Some(error)) => {
            let mut all: serde_json::Map<String, serde_json::Value> = read(json)?;
            all.extend(read::<serde_json::Map<_, _>>(&error.json())?);
            out::json(&serde_json::Value::from(all).to_string())?;
            Ok(error.kind.exit_code())
        }
        (None, failure) => {
            out::lines(&lines(doc))?;
            failure.map_or(Ok(0), Err)
        }
    }
}

/// What ended the steps, as an error like any other.
fn failure(doc: &CheckDoc) -> Option<Error> {
    if doc.ok {
        return None;
    }
    let kind = doc.kind.as_deref().map_or(Kind::Failed, Kind::from_word);
    let failed = doc.steps.iter().find(|step| step.ok == Some(false));
    let (what, hint) = failed.map_or(("a step failed", None), |step| (&*step.detail, step.hint.as_deref()));
    let hint = hint.filter(|hint| !hint.is_empty()).unwrap_or("do what is said beside what failed");
    Some(Error::new(kind, what, hint))
}

fn lines(doc: &CheckDoc) -> String {
    let width = doc.steps.iter().map(|step| step.step.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for StepDoc { step, ok, detail, hint } in &doc.steps {
        let mark = match ok {
            Some(true) => "\u{2713}",
            None => "!",
            Some(false) => "\u{2717}",
        };
        text.push_str(&format!("{mark} {step:width$}  {detail}\n"));
        if let Some(hint) = hint.as_deref().filter(|hint| !hint.is_empty()) {
            text.push_str(&format!("  {:width$}  do: {hint}\n", ""));
        }
    }
    text
}

fn step(step: &str, ok: Option<bool>, detail: impl Into<String>, hint: Option<String>) -> StepDoc {
    let detail = sessd_proto::docs::text::without_numbers(&detail.into()).into_owned();
    StepDoc { step: step.to_owned(), ok, detail, hint }
}

/// What can be said of this machine before anybody is asked.
fn here(paths: &Paths) -> Vec<StepDoc> {
    let mut steps = vec![config(paths)];
    steps.extend(state(paths));
    steps.extend(manager(paths));
    steps.push(ssh());
    steps.push(agent());
    if let Err(error) = terminal::needed() {
        steps.push(step(
            "terminal",
            None,
            format!("{}: here is none to show a session in", error.message),
            None,
        ));
    } else if std::env::var("TERM").is_ok_and(|term| term == "dumb") {
        steps.push(step("terminal", None, "TERM is dumb: what draws on the screen will look odd", None));
    }
    steps
}

fn config(paths: &Paths) -> StepDoc {
    let shown = paths.config.display();
    match Config::load(paths) {
        Ok(_) if paths.config.exists() => step("config", Some(true), shown.to_string(), None),
        Ok(_) => step("config", Some(true), format!("there is no {shown}: everything is as it comes"), None),
        Err(Error { message, hint, .. }) => step("config", Some(false), message, Some(hint)),
    }
}

fn state(paths: &Paths) -> Option<StepDoc> {
    let folder = paths.database.parent()?;
    let Ok(disk) = rustix::fs::statvfs(folder) else {
        // It is made with the first session.
        return None;
    };
    let room = disk.f_bavail.saturating_mul(disk.f_frsize);
    let shown = folder.display();
    if let Err(error) = rustix::fs::access(folder, rustix::fs::Access::WRITE_OK) {
        let hint = "make it writable for you, or set SESSD_HOME to another folder".to_owned();
        return Some(step("state", Some(false), format!("{shown} cannot be written ({error})"), Some(hint)));
    }
    if room < ROOM {
        let hint = Some(format!("make room on the disk of {shown}"));
        return Some(step("state", None, format!("{shown} has {} MB left", room >> 20), hint));
    }
    Some(step("state", Some(true), shown.to_string(), None))
}

fn manager(paths: &Paths) -> Vec<StepDoc> {
    let answer = ask_running(paths, &Act::DaemonStatus(m::Empty {}), STATUS);
    let Some(status) = answer.and_then(|answer| read::<StatusDoc>(&answer).ok()) else {
        // It is started by what is asked next, which says why if it cannot be.
        return Vec::new();
    };
    let restart = || Some("sessd daemon restart".to_owned());
    let mut steps = Vec::new();
    let what = format!("version {}, pid {}, {} sessions", status.version, status.pid, status.sessions);
    if status.version != env!("CARGO_PKG_VERSION") || status.program_replaced {
        steps.push(step(
            "manager",
            None,
            format!("{what}: it is not the program that you have by now"),
            restart(),
        ));
    } else {
        steps.push(step("manager", Some(true), what, None));
    }
    if status.panics > 0 {
        let hint = status.log.map(|log| format!("see {log}"));
        steps.push(step("manager", None, format!("{} of its tasks came to a bad end", status.panics), hint));
    }
    for error in status.config_errors {
        steps.push(step("config", None, error, None));
    }
    steps
}

fn ssh() -> StepDoc {
    let said = std::process::Command::new("ssh").arg("-V").output();
    match said {
        Ok(output) => {
            let version = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            step("ssh", Some(true), sessd_proto::docs::text::clean(&version, 80), None)
        }
        Err(_) => step(
            "ssh",
            None,
            "there is no ssh here: your ssh config is read by sessd's own reader, without Match exec",
            Some("install your system's ssh client".to_owned()),
        ),
    }
}

fn agent() -> StepDoc {
    let socket = std::env::var_os("SSH_AUTH_SOCK").filter(|path| !path.is_empty());
    let hint = || Some("eval \"$(ssh-agent)\"; ssh-add".to_owned());
    match socket {
        None => step("ssh-agent", None, "there is none: keys are read from their files", hint()),
        Some(path) => match std::os::unix::net::UnixStream::connect(&path) {
            Ok(_) => step("ssh-agent", Some(true), path.to_string_lossy(), None),
            Err(error) => step(
                "ssh-agent",
                None,
                format!("{} does not answer ({error})", path.to_string_lossy()),
                hint(),
            ),
        },
    }
}

/// The links of the hosts that have sessions, as they are.
fn hosts(paths: &Paths) -> Vec<StepDoc> {
    let Ok(hosts) = ask(paths, Act::Hosts(m::Empty {})).and_then(|answer| read::<Vec<HostDoc>>(&answer))
    else {
        return Vec::new();
    };
    let one = |host: HostDoc| {
        let why = host.detail.unwrap_or_default();
        let (ok, hint) = match host.link.known() {
            Some(LinkState::Up | LinkState::Local) => (Some(true), None),
            Some(LinkState::NeedsLogin) => (Some(false), Some(format!("sessd host connect {}", host.host))),
            _ => (None, Some(format!("sessd doctor {}", host.host))),
        };
        let colon = if why.is_empty() { "" } else { ": " };
        step(&host.host, ok, format!("{} sessions, {}{colon}{why}", host.sessions, host.link), hint)
    };
    hosts.into_iter().filter(|host| host.host != LOCAL && host.sessions > 0).map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_is_a_line_and_has_its_remedy_below() {
        let doc = CheckDoc {
            host: "box".into(),
            ok: false,
            steps: vec![
                step("config", Some(true), "me@box port 22", None),
                step("clock", None, "its clock is 90 s behind this one's", None),
                step("login", Some(false), "box refuses the connection", Some("start sshd there".into())),
            ],
            kind: Some("unreachable".into()),
        };
        let error = failure(&doc).expect("it failed");
        assert_eq!(error.line(), "sessd: box refuses the connection: start sshd there");
        assert_eq!(error.kind.exit_code(), 5);
        assert_eq!(
            lines(&doc),
            "\u{2713} config  me@box port 22\n! clock   its clock is 90 s behind this one's\n\
             \u{2717} login   box refuses the connection\n          do: start sshd there\n"
        );
    }
}
