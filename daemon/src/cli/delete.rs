//! `delete`: which sessions are meant, whether that is meant, and what came of it.

use super::args::DeleteArgs;
use super::print::label;
use super::verbs::{ask, known, read};
use serde_json::json;
use sessd_base::out;
use sessd_base::paths::Paths;
use sessd_proto::docs::{DeleteDoc, Result, SessionDoc, State, Vocabulary};
use sessd_proto::messages::{self as m, Act};
use std::collections::HashMap;
use std::io::BufRead;

/// Sessions named in one request: an id takes 40 bytes, and a frame a megabyte.
const PER_REQUEST: usize = 4_000;
/// Sessions that are told one by one.
const TOLD: usize = 20;

fn everything(paths: &Paths, list: m::List) -> Result<Vec<SessionDoc>> {
    read(&ask(paths, Act::List(m::List { all: true, ..list }))?)
}

/// Are only some sessions meant, by what they are?
fn filtered(args: &DeleteArgs) -> bool {
    args.done || args.host.is_some() || !args.tags.is_empty() || args.state.is_some()
}

/// Is every session meant? By what was asked for, and never by what was found: a filter that fits nothing means none.
fn all_are_meant(args: &DeleteArgs) -> bool {
    args.all && !filtered(args)
}

/// What is to be deleted, as far as it can be told before; and what the manager is asked for.
fn meant(paths: &Paths, args: &DeleteArgs) -> Result<(Vec<SessionDoc>, Vec<String>)> {
    let filtered = filtered(args);
    if filtered || args.all {
        let state = if args.done { Some(State::Done.word().to_owned()) } else { args.state.clone() };
        let list = m::List {
            host: args.host.clone().unwrap_or_default(),
            tags: args.tags.clone(),
            state: state.unwrap_or_default(),
            ..m::List::default()
        };
        let docs = everything(paths, list)?;
        let ids = if filtered { docs.iter().map(|doc| doc.id.clone()).collect() } else { Vec::new() };
        return Ok((docs, ids));
    }
    // One that is not there is said by the manager, when all others are gone.
    let docs = args.sessions.iter().filter_map(|one| Some(known(paths, one).ok()?.1.session)).collect();
    Ok((docs, args.sessions.clone()))
}

/// The question before everything goes.
fn question(docs: &[SessionDoc]) -> String {
    let live = docs.iter().filter(|doc| doc.end.is_none()).count();
    let plural = |n: usize| if n == 1 { "" } else { "s" };
    format!("delete all {} session{}, {live} of them not ended? [y/N] ", docs.len(), plural(docs.len()),)
}

fn sure(docs: &[SessionDoc]) -> bool {
    out::question(&question(docs));
    let mut line = String::new();
    // What cannot be read is no yes.
    let _ = std::io::stdin().lock().read_line(&mut line);
    if !line.ends_with('\n') {
        out::new_line();
    }
    matches!(line.trim(), "y" | "Y" | "yes")
}

/// What came of it: those that are gone, and those that are still there to be ended.
fn outcome(before: Vec<SessionDoc>, after: &[SessionDoc]) -> (Vec<SessionDoc>, Vec<SessionDoc>) {
    let there: HashMap<&str, &SessionDoc> = after.iter().map(|doc| (doc.id.as_str(), doc)).collect();
    before.into_iter().partition(|doc| !there.contains_key(doc.id.as_str()))
}

fn lines(gone: &[SessionDoc], pending: &[SessionDoc], force: bool) -> String {
    let mut text = String::new();
    if gone.len() > TOLD {
        text += &format!("deleted {} sessions\n", gone.len());
    } else {
        gone.iter().for_each(|doc| text += &format!("deleted {}\n", label(doc)));
    }
    for doc in pending {
        let host = &doc.host;
        text += &match doc.link.known() {
            Some(_) if let Some(silent) = doc.holder_silent_seconds => {
                let label = label(doc);
                let more = if force {
                    String::new()
                } else {
                    format!(", `sessd delete --force {label}` kills both")
                };
                format!(
                    "{label}: its holder on {host} does not answer, for {silent} s now; it is ended when that does{more}\n"
                )
            }
            // What was done already is no advice.
            Some(link) if link.carries() && force => {
                format!(
                    "{}: still ending; it is gone when `sessd list --all` does not show it any more\n",
                    label(doc)
                )
            }
            Some(link) if link.carries() => {
                let label = label(doc);
                format!("{label}: still ending; `sessd delete --force {label}` gives it no more time\n")
            }
            _ => format!("{}: {host} is out of reach; it is ended when {host} is back\n", label(doc)),
        };
    }
    text
}

/// `sessd delete`.
///
/// # Errors
/// The first of what could not be deleted.
pub(super) fn delete(paths: &Paths, args: &DeleteArgs, json: bool) -> Result<u8> {
    let (before, selectors) = meant(paths, args)?;
    let all = all_are_meant(args);
    let person =
        rustix::termios::isatty(rustix::stdio::stdin()) && rustix::termios::isatty(rustix::stdio::stderr());
    if all && !args.yes && !json && person && !before.is_empty() && !sure(&before) {
        out::say("nothing was deleted");
        return Ok(1);
    }
    let mut result = Ok(());
    let mut given_up = Vec::new();
    let everything_at_once = all.then(|| m::Delete { all: true, force: args.force, ..m::Delete::default() });
    let some_at_once = selectors.chunks(PER_REQUEST).map(|sessions| m::Delete {
        sessions: sessions.to_vec(),
        all: false,
        force: args.force,
    });
    for delete in everything_at_once.into_iter().chain(some_at_once) {
        match ask(paths, Act::Delete(delete)).and_then(|answer| read::<Option<DeleteDoc>>(&answer)) {
            // A manager that died over it left no answer, and the next one found nothing to do.
            Ok(answer) => given_up.extend(answer.unwrap_or_default().given_up),
            Err(error) => result = result.and(Err(error)),
        }
    }
    let some = !before.is_empty() && result.is_ok();
    let after = if some { everything(paths, m::List::default())? } else { Vec::new() };
    // Named twice, deleted once.
    let mut seen = std::collections::HashSet::new();
    let (gone, pending) =
        outcome(before.into_iter().filter(|doc| seen.insert(doc.id.clone())).collect(), &after);
    // An error is a line for itself: what went well is seen in the list.
    result?;
    given_up.iter().for_each(|one| out::note(&one.detail));
    if json {
        let short = |docs: &[SessionDoc]| -> Vec<_> {
            docs.iter().map(|doc| json!({"id": doc.id, "name": doc.name, "host": doc.host})).collect()
        };
        out::json(&json!({"deleted": short(&gone), "pending": short(&pending)}).to_string())?;
    } else if some {
        out::lines(&lines(&gone, &pending, args.force))?;
    } else {
        out::line("no session to delete")?;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn doc(id: &str, name: Option<&str>, host: &str, link: &str) -> SessionDoc {
        serde_json::from_value(json!({
            "id": id, "name": name, "host": host, "state": "running", "end": null, "tags": {}, "command": [], "cwd": null,
            "foreground": null, "title": null, "size": null, "views": [], "created_at": "", "last_active_at": null,
            "idle_seconds": null, "idle_timeout_seconds": null, "reap_at": null, "link": link, "job_id": "", "agent_version": null
        }))
        .unwrap()
    }

    #[test]
    fn a_filter_that_fits_nothing_does_not_mean_every_session() {
        let all = || DeleteArgs {
            sessions: Vec::new(),
            all: true,
            done: false,
            host: None,
            tags: Vec::new(),
            state: None,
            force: false,
            yes: false,
        };
        assert!(all_are_meant(&all()));
        for some in [
            DeleteArgs { done: true, ..all() },
            DeleteArgs { host: Some("box".to_owned()), ..all() },
            DeleteArgs { tags: vec!["nosuch".to_owned()], ..all() },
            DeleteArgs { state: Some("init".to_owned()), ..all() },
            DeleteArgs { all: false, ..all() },
        ] {
            assert!(!all_are_meant(&some), "{some:?}");
        }
    }

    #[test]
    fn what_is_gone_and_what_is_pending_is_said() {
        let all = vec![
            doc("1", Some("dev"), "local", "local"),
            doc("0-0-12abef", None, "local", "local"),
            doc("3", Some("far"), "box", "down"),
        ];
        let (gone, pending) = outcome(all.clone(), &all[2..]);
        assert_eq!(
            lines(&gone, &pending, false),
            "deleted dev\ndeleted 12abef\nfar: box is out of reach; it is ended when box is back\n"
        );
        let many: Vec<_> = (0..30).map(|n| doc(&n.to_string(), None, "local", "local")).collect();
        assert_eq!(lines(&many, &[], false), "deleted 30 sessions\n");
        // Nobody is told to do what they just did.
        let silent =
            SessionDoc { holder_silent_seconds: Some(9), ..doc("4", Some("mute"), "local", "local") };
        for slow in [doc("5", Some("slow"), "local", "local"), silent] {
            assert!(lines(&[], std::slice::from_ref(&slow), false).contains("delete --force"));
            let said = lines(&[], &[slow], true);
            assert!(!said.contains("--force") && said.lines().count() == 1, "{said}");
        }
        assert_eq!(question(&all), "delete all 3 sessions, 3 of them not ended? [y/N] ");
    }
}
