//! `sessd host`: hosts and their links.

use super::args::{HostArgs, HostVerb};
use super::doctor;
use super::print;
use super::verbs::{ask, read, room};
use super::when::Wall;
use sessd_base::out;
use sessd_base::paths::Paths;
use sessd_proto::docs::{AdoptDoc, CheckDoc, ForgetDoc, HostDoc, LinkDoc, RenameDoc, Result};
use sessd_proto::messages::{self as m, Act};

/// `sessd host`.
///
/// # Errors
/// What the manager answers.
pub(super) fn host(paths: &Paths, args: HostArgs, json: bool) -> Result<u8> {
    let wall = Wall::here();
    match args.act {
        HostVerb::List => {
            let answer = ask(paths, Act::Hosts(m::Empty {}))?;
            if json {
                out::json(&answer)?;
            } else {
                let hosts: Vec<HostDoc> = read(&answer)?;
                out::lines(&print::hosts(&hosts, &wall, room()))?;
            }
        }
        HostVerb::Rename { old, new } => {
            let answer = ask(paths, Act::RenameHost(m::RenameHost { from: old, to: new }))?;
            let renamed: RenameDoc = read(&answer)?;
            if json {
                out::json(&answer)?;
                return Ok(0);
            }
            let RenameDoc { from, to, sessions, done, notes } = renamed;
            let s = |n: usize| if n == 1 { "" } else { "s" };
            out::line(&format!(
                "{from} is {to}: {sessions} session{}, and {done} that ended before",
                s(sessions)
            ))?;
            notes.iter().for_each(|note| out::note(note));
        }
        HostVerb::Connect { host } => {
            let answer = ask(paths, Act::Connect(m::HostName { host, all: false }))?;
            let link: LinkDoc = read(&answer)?;
            if json {
                out::json(&answer)?;
                return Ok(0);
            }
            out::line(&format!("{} is {}", link.host, link.link))?;
        }
        HostVerb::Disconnect { host } => {
            let answer = ask(paths, Act::Disconnect(m::HostName { host, all: false }))?;
            let link: LinkDoc = read(&answer)?;
            if json {
                out::json(&answer)?;
                return Ok(0);
            }
            out::line(&format!("{} is disconnected; what runs there runs on", link.host))?;
        }
        HostVerb::Forget { host } => {
            let answer = ask(paths, Act::ForgetHost(m::HostName { host, all: false }))?;
            let forgotten: ForgetDoc = read(&answer)?;
            if json {
                out::json(&answer)?;
                return Ok(0);
            }
            let s = if forgotten.done == 1 { "" } else { "s" };
            out::line(&format!(
                "{} is forgotten, and {} session{s} that ended there",
                forgotten.host, forgotten.done
            ))?;
        }
        HostVerb::Check { host } => {
            let answer = ask(paths, Act::Check(m::HostName { host, all: false }))?;
            return doctor::checked(&read::<CheckDoc>(&answer)?, json.then_some(&answer));
        }
        HostVerb::Adopt { host, all } => {
            let answer = ask(paths, Act::Adopt(m::HostName { host, all }))?;
            let adopted: AdoptDoc = read(&answer)?;
            if json {
                out::json(&answer)?;
                return Ok(0);
            }
            for session in &adopted.adopted {
                out::line(&print::adopted(session, &wall))?;
            }
            if adopted.adopted.is_empty() {
                out::line(&format!("nothing new on {}", adopted.host))?;
            }
            adopted.notes.iter().for_each(|note| out::note(note));
        }
    }
    Ok(0)
}
