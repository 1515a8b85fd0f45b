//! What each verb does: a request to the manager, and its answer printed.

use super::args::{DetachArgs, InfoArgs, ListArgs, RestartArgs, SizeArgs, TagArgs, Verb};
use super::when::Wall;
use super::{ask, complete, create, daemon, delete, doctor, events, host, pick, print, script, web};
use crate::view::terminal;
use serde::de::DeserializeOwned;
use serde_json::json;
use sessd_base::out;
use sessd_base::paths::Paths;
use sessd_base::process;
use sessd_client::connect::Client;
use sessd_proto::Uuid;
use sessd_proto::docs::host::LOCAL;
use sessd_proto::docs::names::check_tags;
use sessd_proto::docs::{Error, InfoDoc, Kind, LinkState, Result, SessionDoc, SizePolicy, Vocabulary};
use sessd_proto::messages::{self as m, Act};
use std::collections::HashMap;

/// Carries a verb out. The code is what the program ends with. `json`: documents are wanted, and no words.
///
/// # Errors
/// What a person is told, in one line.
pub fn run(verb: Option<Verb>, json: bool) -> Result<u8> {
    let verb = verb.unwrap_or(Verb::Pick);
    if let Verb::Completion { shell } = verb {
        return complete::script(shell).map(|()| 0);
    }
    match &verb {
        Verb::Man(args) => return super::man::man(args),
        // Inside a job there may be no manager, and no home.
        Verb::Report(args) => return script::report::report(args),
        Verb::Hooks(args) => return script::report::print_hooks(args, json),
        _ => {}
    }
    let paths = Paths::from_environment()?;
    if !json {
        paths.notes.iter().for_each(|note| out::note(note));
    }
    match verb {
        Verb::Create(args) => create::create(&paths, &args, json),
        Verb::Attach(args) => create::attach(&paths, args, json),
        Verb::Detach(args) => detach(&paths, args, json),
        Verb::List(args) => list(&paths, args, json),
        Verb::Info(args) => info(&paths, args, json),
        Verb::Tag(args) => tag(&paths, args, json),
        Verb::Size(args) => size(&paths, args, json),
        Verb::Delete(args) => delete::delete(&paths, &args, json),
        Verb::Restart(args) => restart(&paths, args, json),
        Verb::Send(args) => script::send::send(&paths, &args, json),
        Verb::Run(args) => script::run::run(&paths, &args, json),
        Verb::Capture(args) => script::capture::capture(&paths, &args, json),
        Verb::Wait(args) => script::wait::wait(&paths, &args, json),
        Verb::Events(args) => ask::events(&paths, args.since.as_deref().map(moment).transpose()?, |event| {
            if json { out::json(event) } else { out::line(&events::line(event, &Wall::here())) }
        })
        .map(|()| 0),
        Verb::Web(args) => web::web(&paths, args, json),
        Verb::Forward(args) => super::forward::forward(&paths, &args, json),
        Verb::Pipe(args) => super::copy::pipe(&paths, &args),
        Verb::Put(args) => super::copy::put(&paths, &args, json),
        Verb::Get(args) => super::copy::get(&paths, &args, json),
        Verb::Pick => pick::pick(&paths, json),
        Verb::Host(args) => host::host(&paths, args, json),
        Verb::Doctor(args) => doctor::doctor(&paths, args, json),
        Verb::Daemon(args) => daemon::run(paths, args, json),
        Verb::Completion { .. } | Verb::Man(_) | Verb::Report(_) | Verb::Hooks(_) => Ok(0),
    }
}

/// A moment, or how long ago it was, in milliseconds since the epoch.
fn moment(text: &str) -> Result<u64> {
    let wrong = || {
        Error::usage(format!(
            "`{text}` is neither a time such as 2026-11-27T03:40:00Z nor a duration such as 10m"
        ))
    };
    let at = match humantime::parse_rfc3339_weak(text) {
        Ok(at) => at,
        Err(_) => {
            let ago = humantime::parse_duration(text.trim_end_matches("ago").trim()).map_err(|_| wrong())?;
            std::time::SystemTime::now().checked_sub(ago).unwrap_or(std::time::UNIX_EPOCH)
        }
    };
    Ok(at.duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64))
}

pub(super) fn read<T: DeserializeOwned>(json: &str) -> Result<T> {
    serde_json::from_str(json).map_err(|_| {
        Error::new(
            Kind::VersionSkew,
            "the manager's answer is of another version",
            "`sessd daemon restart` starts this one",
        )
    })
}

pub(super) fn ask(paths: &Paths, act: Act) -> Result<String> {
    ask::ask(paths, &act)
}

/// One session with everything known, as the manager says it and as it is read.
pub(super) fn known(paths: &Paths, session: &str) -> Result<(String, InfoDoc)> {
    let (text, doc, _) = known_on(paths, session)?;
    Ok((text, doc))
}

/// The same, and the connection, for a view of it.
pub(super) fn known_on(paths: &Paths, session: &str) -> Result<(String, InfoDoc, Option<Client>)> {
    let select = m::Select { session: session.to_owned(), ..m::Select::default() };
    let (text, client) = ask::ask_on(paths, &Act::Info(select))?;
    let doc = read(&text)?;
    Ok((text, doc, client))
}

/// The terminal's width, where a table is to fit into it.
pub(super) fn room() -> Option<usize> {
    if out::is_terminal() { terminal::size().map(|(cols, _)| cols.into()) } else { None }
}

pub(super) fn pairs(items: &[String], what: &str, value_needed: bool) -> Result<HashMap<String, String>> {
    items
        .iter()
        .map(|item| match item.split_once('=') {
            Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
            None if !value_needed && !item.is_empty() => Ok((item.clone(), String::new())),
            _ => Err(Error::usage(format!("`{item}` is not {what}"))),
        })
        .collect()
}

/// A restart that can be asked for twice.
pub(super) fn again(session: String) -> m::Select {
    m::Select {
        session,
        job_id: Uuid::now_v7().to_string(),
        // For one on this machine, which is not known here.
        environment: create::environment_for(LOCAL),
        inherited: Some(process::inherited()),
    }
}

fn detach(paths: &Paths, args: DetachArgs, json: bool) -> Result<u8> {
    let view = args.view.unwrap_or_default();
    let answer = ask(paths, Act::DetachViews(m::DetachViews { session: args.session.clone(), view }))?;
    // How many that were; a manager of before that was told may say nothing of it.
    let views: Option<u64> = serde_json::from_str(&answer).ok();
    if json {
        out::json(&json!({"views": views}).to_string())?;
    } else {
        match views {
            Some(0) => out::line(&format!("nobody looks at {}", args.session))?,
            Some(1) | None => out::line(&format!("{}: one view sent away, the job runs on", args.session))?,
            Some(n) => out::line(&format!("{}: {n} views sent away, the job runs on", args.session))?,
        };
    }
    Ok(0)
}

/// Folders of jobs that are looked at for a hint.
const LOOKED_AT: usize = 256;

/// Whether a job of this home began and has not ended, as its folder says: a state folder that was moved away leaves its
/// jobs running. A hint and no more, since the job may be gone without a word.
fn jobs_of_another_manager(home: &std::path::Path) -> bool {
    let within = |folder: std::path::PathBuf| std::fs::read_dir(folder).into_iter().flatten().flatten();
    within(home.join(".local/state/sessd-agent/jobs"))
        .flat_map(|machine| within(machine.path()))
        .take(LOOKED_AT)
        .any(|job| job.path().join("holder").exists() && !job.path().join("exit").exists())
}

fn list(paths: &Paths, args: ListArgs, json: bool) -> Result<u8> {
    // People are told of what they are not shown.
    let all = args.all || !(json || args.quiet);
    let filtered = args.filter.host.is_some() || !args.filter.tags.is_empty() || args.filter.state.is_some();
    let list = m::List {
        all,
        host: args.filter.host.unwrap_or_default(),
        tags: args.filter.tags,
        state: args.filter.state.clone().unwrap_or_default(),
        ..m::List::default()
    };
    let answer = ask(paths, Act::List(list))?;
    if json {
        out::json(&answer)?;
        return Ok(0);
    }
    let mut sessions: Vec<SessionDoc> = read(&answer)?;
    if args.quiet {
        let ids: String = sessions.iter().map(|session| format!("{}\n", session.id)).collect();
        out::lines(&ids)?;
        return Ok(0);
    }
    let mut hidden = 0;
    if !args.all {
        let counts = |s: &SessionDoc| s.end.is_none() || args.filter.state.is_some();
        hidden = sessions.iter().filter(|s| s.name.is_none() && counts(s)).count();
        sessions.retain(|session| session.name.is_some());
    }
    if !sessions.is_empty() {
        let room = if args.long { None } else { room() };
        out::lines(&print::sessions(&sessions, &Wall::here(), room, args.long))?;
    }
    match print::about_anonymous(sessions.len(), hidden, filtered) {
        Some(text) if sessions.is_empty() => {
            out::line(&text)?;
            if hidden == 0 && !filtered && out::is_terminal() && jobs_of_another_manager(&paths.home) {
                out::note(
                    "a job that this manager knows nothing of may run here: `sessd host adopt local` looks for it",
                );
            }
            Ok(0)
        }
        // Behind a table it is for eyes only.
        Some(text) if out::is_terminal() => {
            out::say(&text);
            Ok(0)
        }
        _ => Ok(0),
    }
}

fn info(paths: &Paths, args: InfoArgs, json: bool) -> Result<u8> {
    let (text, doc) = known(paths, &args.session)?;
    if json {
        out::json(&text)?;
    } else {
        out::lines(&print::info(&doc, &Wall::here()))?;
    }
    Ok(0)
}

/// The tags that are set, and the keys of those that are removed.
fn tag_changes(changes: &[String]) -> Result<(HashMap<String, String>, Vec<String>)> {
    let (remove, set): (Vec<&String>, Vec<&String>) =
        changes.iter().partition(|change| change.ends_with('-') && !change.contains('='));
    let remove: Vec<String> =
        remove.into_iter().filter_map(|key| key.strip_suffix('-')).map(str::to_owned).collect();
    let set: Vec<String> = set.into_iter().cloned().collect();
    let set = pairs(&set, "a tag such as KEY, KEY=VALUE or KEY-", false)?;
    // What no tag is called is a slip, and not a tag that is not there.
    check_tags(&remove.iter().map(|key| (key.clone(), String::new())).collect())?;
    match remove.iter().find(|key| set.contains_key(*key)) {
        Some(both) => Err(Error::usage(format!("`{both}` is both set and removed"))),
        None => Ok((set, remove)),
    }
}

fn tag(paths: &Paths, args: TagArgs, json: bool) -> Result<u8> {
    let changes = tag_changes(&args.changes)?;
    // By its id from here on: asked again when the manager died, it may have its new name already.
    let (text, InfoDoc { session, .. }) = known(paths, &args.session)?;
    if args.name.is_none() && args.changes.is_empty() {
        if json {
            out::json(&text)?;
        } else {
            let lines: String = print::tag_words(&session)
                .iter()
                .map(|tag| sessd_proto::docs::text::shown(tag).into_owned() + "\n")
                .collect();
            out::lines(&lines)?;
        }
        return Ok(0);
    }
    let (set, remove) = changes;
    let answer = ask(paths, Act::Tag(m::Tag { session: session.id, name: args.name, set, remove }))?;
    if json {
        out::json(&answer)?;
    } else if let Some(who) = who_is_silent(&read::<InfoDoc>(&answer)?.session) {
        out::note(&format!("it is so here, and there when {who} answers"));
    }
    Ok(0)
}

fn size(paths: &Paths, args: SizeArgs, json: bool) -> Result<u8> {
    let (policy, (cols, rows)) = match SizePolicy::from_word(&args.size) {
        Some(policy) => (policy, (0, 0)),
        None if args.size.starts_with(|c: char| c.is_ascii_digit()) => {
            (SizePolicy::Fixed, super::create::size(&args.size)?)
        }
        None => {
            let what = format!(
                "`{}` is none of latest, largest, smallest, fixed, and no size such as 120x40",
                args.size
            );
            return Err(Error::usage(what));
        }
    };
    let policy = policy.word().to_owned();
    let answer = ask(paths, Act::SetSize(m::SetSize { session: args.session, policy, cols, rows }))?;
    if json {
        out::json(&answer)?;
        return Ok(0);
    }
    let InfoDoc { session, .. } = read(&answer)?;
    let label = print::label(&session);
    let is = session.size.map(|size| (size.cols, size.rows));
    let now = is.map_or_else(|| "as it was".to_owned(), |(cols, rows)| format!("{cols}x{rows}"));
    match who_is_silent(&session) {
        Some(who) => out::note(&format!("{label} is {now} until {who} answers")),
        None if cols != 0 && is.is_some_and(|is| is != (cols, rows)) => {
            out::note(&format!("{label} is still {now}: its holder has not said that it has the new size"));
        }
        None => {}
    }
    Ok(0)
}

/// Who would have to be told something of a session and does not answer.
fn who_is_silent(session: &SessionDoc) -> Option<String> {
    if session.end.is_some() {
        None
    } else if session.holder_silent_seconds.is_some() {
        Some(format!("the holder of {}", print::label(session)))
    } else if session.link == LinkState::Up || session.link == LinkState::Local {
        None
    } else {
        Some(session.host.clone())
    }
}

fn restart(paths: &Paths, args: RestartArgs, json: bool) -> Result<u8> {
    let answer = ask(paths, Act::Restart(again(args.session)))?;
    let InfoDoc { session, more } = read(&answer)?;
    if json {
        out::json(&answer)?;
    } else {
        out::line(&format!("restarted {}", print::label(&session)))?;
        more.notes.iter().for_each(|note| out::note(note));
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_of_tags_that_cannot_be_meant_is_refused() {
        let read = |line: &str| {
            let changes: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            tag_changes(&changes).map_err(|error| error.kind)
        };
        let (set, remove) = read("gpu team=ml old- a=b- c=-").expect("meant");
        let mut set: Vec<_> = set.into_iter().collect();
        set.sort();
        let is = [("a", "b-"), ("c", "-"), ("gpu", ""), ("team", "ml")];
        assert_eq!(set, is.map(|(key, value)| (key.to_owned(), value.to_owned())));
        assert_eq!(remove, ["old"]);
        // Which of the two comes last is no answer: kubectl refuses it, too.
        for wrong in ["a a-", "a- a=b", "-", "a--", "=b", "a- -"] {
            assert_eq!(read(wrong), Err(Kind::Usage), "{wrong}");
        }
    }
}
