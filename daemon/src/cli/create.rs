//! `create` and `attach`: a session made, and shown.

use super::args::{AttachArgs, CreateArgs};
use super::verbs::{again, ask, known, known_on, pairs, read};
use super::{done, pick, print, usage};
use crate::view::attach::{self, Outcome, Request};
use crate::view::terminal;
use serde_json::json;
use sessd_base::config::{Config, duration_or_never};
use sessd_base::out;
use sessd_base::paths::Paths;
use sessd_base::process;
use sessd_client::connect::Client;
use sessd_proto::docs::host::Destination;
use sessd_proto::docs::host::LOCAL;
use sessd_proto::docs::names::BadName;
use sessd_proto::docs::names::{HANDLE, handle};
use sessd_proto::docs::{
    EndDoc, Error, InfoDoc, Kind, Reap, Reason, Result, SessionDoc, SizePolicy, State, Vocabulary,
};
use sessd_proto::messages::{self as m, Act};
use sessd_proto::{Uuid, bounds};
use std::collections::HashMap;

/// Sessions that are named where one has to be chosen.
const CHOICES: usize = 8;
/// The byte of Ctrl-\\, which on many keyboards is reached as Ctrl-4.
const QUIT: u8 = 0x1c;

pub(super) fn size(text: &str) -> Result<(u32, u32)> {
    let wrong = || {
        Error::usage(format!(
            "`{text}` is not a size such as 120x40, at most {0}x{0}",
            sessd_proto::limits::SIDE_MAX
        ))
    };
    let (cols, rows) = text.split_once(['x', 'X']).ok_or_else(wrong)?;
    let side =
        |text: &str| text.parse().ok().filter(|n| (1..=u32::from(sessd_proto::limits::SIDE_MAX)).contains(n));
    Ok((side(cols).ok_or_else(wrong)?, side(rows).ok_or_else(wrong)?))
}

/// The caller's environment and folder belong to a session on the caller's own machine, as with any other program.
pub(super) fn environment_for(host: &str) -> HashMap<String, String> {
    if host == LOCAL { process::environment() } else { HashMap::new() }
}

pub(super) fn create_message(args: &CreateArgs) -> Result<m::Create> {
    let (cols, rows) = match &args.size {
        Some(text) => size(text)?,
        None => terminal::size().map_or((0, 0), |(cols, rows)| (cols.into(), rows.into())),
    };
    let here = || std::env::current_dir().ok().and_then(|d| d.into_os_string().into_string().ok());
    let cwd = match (&args.cwd, args.host == LOCAL) {
        (None, true) => here().unwrap_or_default(),
        // A relative folder is relative to where the caller is; on another host, to the home there.
        (Some(dir), true) if !dir.starts_with(['/', '~']) => here().map_or_else(
            || dir.clone(),
            |here| std::path::Path::new(&here).join(dir).to_string_lossy().into_owned(),
        ),
        (Some(dir), _) => dir.clone(),
        (None, false) => String::new(),
    };
    let idle_timeout = match &args.idle_timeout {
        None => None,
        Some(text) => Some(m::IdleTimeout { ms: duration_or_never(text)?.map(|d| d.as_millis() as u64) }),
    };
    if args.name.as_deref() == Some("") {
        return Err(BadName::Name(String::new()).into());
    }
    if args.host.is_empty() {
        return Err(Error::usage("the host is empty"));
    }
    if args.command.first().is_some_and(String::is_empty) {
        return Err(Error::usage("the command is empty"));
    }
    let create = m::Create {
        name: args.name.clone().unwrap_or_default(),
        host: args.host.clone(),
        tags: pairs(&args.tags, "a tag such as KEY or KEY=VALUE", false)?,
        cwd,
        env: pairs(&args.env, "a variable such as KEY=VALUE", true)?,
        idle_timeout,
        reap_unattended: Reap::from_word(&args.reap) == Some(Reap::Unattended),
        cols,
        rows,
        command: args.command.clone(),
        environment: environment_for(&args.host),
        inherited: (args.host == LOCAL).then(process::inherited),
        // Chosen here, so that the next manager can be asked for the same session when this one dies over it.
        session_id: Uuid::now_v7().to_string(),
        job_id: Uuid::now_v7().to_string(),
        plain: false,
        run_for_ms: None,
        owned: false,
        size_policy: args.size_policy.clone(),
        forwards: {
            let agent = m::ForwardSpec { kind: "agent".to_owned(), spec: String::new() };
            args.forwards.specs().into_iter().chain(args.forward_agent.then_some(agent)).collect()
        },
    };
    // Here, where it is said; the manager is not even asked.
    bounds::check_create(&create).map_err(Error::too_long)?;
    Ok(create)
}

/// `sessd create`.
///
/// # Errors
/// Why there is no session, or no view of it.
pub(super) fn create(paths: &Paths, args: &CreateArgs, json: bool) -> Result<u8> {
    if args.attach {
        // Before anything is made that a view without a terminal would leave behind.
        terminal::needed()?;
    }
    let answer = ask(paths, Act::Create(create_message(args)?))
        .map_err(|error| usage::shell_line("create", &args.command, error))?;
    let InfoDoc { session, more } = read(&answer)?;
    if json {
        out::json(&answer)?;
    } else if !args.attach {
        out::line(session.name.as_deref().unwrap_or(&session.id))?;
    }
    more.notes.iter().for_each(|note| out::note(note));
    if !args.attach {
        return Ok(0);
    }
    view(paths, None, request(session.id.clone()), &session, json)
}

/// A login shell, as it is when nothing else is said.
pub(super) fn shell(name: Option<String>, host: String) -> CreateArgs {
    CreateArgs {
        name,
        host,
        tags: Vec::new(),
        cwd: None,
        env: Vec::new(),
        idle_timeout: None,
        reap: Reap::Idle.word().to_owned(),
        size: None,
        size_policy: SizePolicy::Latest.word().to_owned(),
        forwards: super::forward::ForwardFlags::default(),
        forward_agent: false,
        attach: true,
        detached: false,
        command: Vec::new(),
    }
}

pub(super) fn request(session: String) -> Request {
    Request { session, read_only: false, take: false, lossless: false, no_detach_key: false, predict: None }
}

/// Are these two spellings of one host?
fn same_host(one: &str, other: &str) -> bool {
    let parsed = (Destination::parse(one), Destination::parse(other));
    one == other || matches!(parsed, (Ok(one), Ok(other)) if one == other)
}

/// `sessd attach`.
///
/// # Errors
/// Why there is no view.
pub(super) fn attach(paths: &Paths, args: AttachArgs, json: bool) -> Result<u8> {
    let session = match args.session.clone() {
        Some(session) => session,
        None => match (the_only_one(paths, args.host.as_deref()), json) {
            (Ok(session), _) => session,
            // A person chooses.
            (Err(error), false) if is_a_choice(&error) && pick::needed().is_ok() => {
                return pick::choose(paths, &|session| Request {
                    read_only: args.read_only,
                    take: args.take,
                    lossless: args.lossless,
                    no_detach_key: args.no_detach_key,
                    predict: args.predict.map(Into::into),
                    ..request(session)
                });
            }
            (Err(error), _) => return Err(error),
        },
    };
    if args.create {
        // Before anything is made that a view without a terminal would leave behind.
        terminal::needed()?;
        let create = shell(Some(session.clone()), args.host.clone().unwrap_or_else(|| LOCAL.to_owned()));
        match ask(paths, Act::Create(create_message(&create)?)) {
            Ok(_) => {}
            // It is there already, which is just as well.
            Err(error) if error.kind == Kind::NameTaken => {}
            Err(error) => return Err(error),
        }
    }
    let (_, shown, mut client) = known_on(paths, &session)?;
    if let Some(host) = args.host.as_deref().filter(|host| !same_host(host, &shown.session.host)) {
        return Err(Error::new(
            Kind::NameTaken,
            format!("`{session}` is on {}, not on {host}", shown.session.host),
            format!("`sessd attach {session}` shows that one; choose another name for {host}"),
        ));
    }
    let id = shown.session.id.clone();
    if shown.session.end.is_some() {
        // A person may think about it.
        client = None;
        // Whoever wants a document wants no screen before it, and is asked nothing.
        let restart = !json && done::show(paths, &shown)?;
        if !restart {
            if json {
                out::json(&outcome_document("ended", &id, &shown.session, json!(shown.session.end)))?;
            }
            return Ok(shown.session.end.as_ref().map_or(1, EndDoc::exit_code));
        }
        ask(paths, Act::Restart(again(id.clone())))?;
    }
    let request = Request {
        session: id,
        read_only: args.read_only,
        take: args.take,
        lossless: args.lossless,
        no_detach_key: args.no_detach_key,
        predict: args.predict.map(Into::into),
    };
    view(paths, client, request, &shown.session, json)
}

/// None runs, or several do.
fn is_a_choice(error: &Error) -> bool {
    matches!(error.kind, Kind::NoSuchSession | Kind::Usage)
}

fn the_only_one(paths: &Paths, host: Option<&str>) -> Result<String> {
    let host = host.unwrap_or_default().to_owned();
    let list = m::List { all: true, host, state: State::Running.word().into(), ..m::List::default() };
    let running: Vec<SessionDoc> = read(&ask(paths, Act::List(list))?)?;
    match running.as_slice() {
        [] => Err(Error::new(
            Kind::NoSuchSession,
            "no session is running",
            "`sessd create --attach` starts one",
        )),
        [one] => Ok(one.id.clone()),
        more => {
            let mut names: Vec<String> = more.iter().take(CHOICES).map(print::label).collect();
            if more.len() > CHOICES {
                names.push(format!("{} more", more.len() - CHOICES));
            }
            Err(Error::new(
                Kind::Usage,
                format!("{} sessions are running", more.len()),
                format!("name one: {}", names.join(", ")),
            ))
        }
    }
}

/// The line that says the way out, before the view takes the terminal.
fn way_out(label: &str, detach_key: Option<u8>) -> String {
    let Some(key) = detach_key else {
        return format!(
            "[{label}: no key leaves; `sessd detach {label}` elsewhere does, or closing the window: the job runs on]"
        );
    };
    let name = char::from(key | 0x40).to_ascii_lowercase();
    let else_key = if key == QUIT { " (or Ctrl-4)" } else { "" };
    format!("[{label}: Ctrl-{name}{else_key} leaves, the job runs on]")
}

/// What a person calls the session that a view calls `label`.
fn short(label: &str) -> String {
    if Uuid::parse_str(label).is_ok() { handle(label, HANDLE) } else { label.to_owned() }
}

fn outcome_document(outcome: &str, id: &str, session: &SessionDoc, end: serde_json::Value) -> String {
    json!({"outcome": outcome, "id": id, "name": session.name, "host": session.host, "end": end}).to_string()
}

/// How a session ended that was shown until then.
fn how_it_ended(paths: &Paths, id: &str, end: &EndDoc) -> String {
    if end.reason == Reason::Reaped
        && let Ok((_, doc)) = known(paths, id)
    {
        return print::how_it_ended(&doc.session, doc.more.reap == Reap::Unattended);
    }
    end.phrase()
}

/// What came of a view.
pub(super) struct ViewOutcome {
    /// What the program ends with.
    pub(super) code: u8,
    /// In one line, in brackets.
    pub(super) said: Option<String>,
    /// The same as a document.
    document: String,
    /// How it was left.
    pub(super) left: Left,
}

/// How a view was left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Left {
    /// Its user left, or it was sent away.
    Detached,
    /// The job ended.
    Ended,
    /// A signal told it to go.
    Signal,
}

fn view(
    paths: &Paths,
    client: Option<Client>,
    request: Request,
    session: &SessionDoc,
    json: bool,
) -> Result<u8> {
    let seen = look(paths, client, request, session, json)?;
    if json {
        out::json(&seen.document)?;
    } else if let Some(said) = seen.said {
        out::say(&said);
    }
    Ok(seen.code)
}

/// Shows a session until it is left. `client`: a connection that is there already.
///
/// # Errors
/// Why it cannot be shown.
pub(super) fn look(
    paths: &Paths,
    client: Option<Client>,
    request: Request,
    session: &SessionDoc,
    json: bool,
) -> Result<ViewOutcome> {
    let config = Config::load(paths)?;
    let id = request.session.clone();
    let key = config.detach_key.filter(|_| !request.no_detach_key);
    if !json && terminal::needed().is_ok() {
        out::say(&way_out(&print::label(session), key));
    }
    Ok(match attach::run(paths, client, &config, request)? {
        Outcome::Detached { label, why } => {
            let why = sessd_proto::docs::text::clean(&why, 200);
            let outcome = if why.is_empty() { "detached" } else { "sent-away" };
            let document = outcome_document(outcome, &id, session, json!(null));
            let label = short(&label);
            let said = match why {
                why if why.is_empty() => format!("[detached from {label}]"),
                why => format!("[detached from {label}: {why}]"),
            };
            ViewOutcome { code: 0, said: Some(said), document, left: Left::Detached }
        }
        Outcome::Ended(label, end) => {
            let said = format!("[{}: {}]", short(&label), how_it_ended(paths, &id, &end));
            let document = outcome_document("ended", &id, session, json!(end));
            ViewOutcome { code: end.exit_code(), said: Some(said), document, left: Left::Ended }
        }
        Outcome::Signal(signal) => {
            let document = outcome_document("signal", &id, session, json!(null));
            ViewOutcome { code: (128 + signal) as u8, said: None, document, left: Left::Signal }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_out_is_said_by_the_key_that_is_set() {
        assert_eq!(way_out("dev", Some(QUIT)), "[dev: Ctrl-\\ (or Ctrl-4) leaves, the job runs on]");
        assert_eq!(way_out("dev", Some(0x1d)), "[dev: Ctrl-] leaves, the job runs on]");
        assert_eq!(way_out("dev", Some(0x01)), "[dev: Ctrl-a leaves, the job runs on]");
        assert!(way_out("dev", None).contains("`sessd detach dev` elsewhere does"));
    }

    #[test]
    fn one_host_has_many_spellings() {
        for (one, other, same) in [
            ("box", "box", true),
            ("ssh://box", "box", true),
            ("me@box:22", "ssh://me@box:22", true),
            ("local", "local", true),
            ("box", "local", false),
            ("box", "me@box", false),
        ] {
            assert_eq!(same_host(one, other), same, "{one} {other}");
        }
    }

    #[test]
    fn a_session_without_a_name_is_called_by_its_end() {
        assert_eq!(short("0193abcd-0000-7000-8000-00000012abef"), "12abef");
        assert_eq!(short("dev"), "dev");
    }
}
