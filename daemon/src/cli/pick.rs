//! The picker, and the sessions that are shown from it: `sessd` alone, `sessd pick`, `attach` without a name.

use super::create::{self, Left, ViewOutcome};
use super::verbs::{again, known};
use super::{complete, print};
use crate::view::attach::Request;
use crate::view::plain::is_plain;
use crate::view::{terminal, words};
use sessd_base::config::Config;
use sessd_base::out;
use sessd_base::paths::Paths;
use sessd_picker::{Look, Picked, Picker, Requests};
use sessd_proto::docs::{Error, Result};
use sessd_proto::messages as m;

/// What the picker asks for, as the command line would.
struct FromHere {
    paths: Paths,
}

impl Requests for FromHere {
    fn create(&self, name: &str, host: &str) -> Result<m::Create> {
        let name = (!name.is_empty()).then(|| name.to_owned());
        create::create_message(&create::shell(name, host.to_owned()))
    }

    fn restart(&self, id: &str) -> m::Select {
        again(id.to_owned())
    }

    fn hosts(&self) -> Vec<String> {
        complete::configured(&self.paths).into_iter().collect()
    }
}

/// Can there be a picker?
///
/// # Errors
/// What to use instead, where the terminal is none, or can only be written to.
pub(super) fn needed() -> Result<()> {
    let instead = "`sessd list` shows the sessions, `sessd attach NAME` one of them";
    if terminal::needed().is_err() {
        return Err(Error::failed("the picker needs a terminal", instead));
    }
    if is_plain(std::env::var("TERM").ok().as_deref()) {
        let what =
            "the picker needs a terminal with places and this one has only lines (TERM is `dumb` or not set)";
        return Err(Error::failed(what, instead));
    }
    Ok(())
}

/// `sessd`, `sessd pick`.
///
/// # Errors
/// Why there is no picker.
pub(super) fn pick(paths: &Paths, json: bool) -> Result<u8> {
    if json {
        return Err(Error::usage("the picker is for a person: `sessd list --json` has the sessions"));
    }
    needed()?;
    choose(paths, &create::request)
}

/// Lets a person choose, shows what was chosen, and comes back here. `request`: how a session is shown.
///
/// # Errors
/// Why there is no picker.
pub(super) fn choose(paths: &Paths, request: &dyn Fn(String) -> Request) -> Result<u8> {
    let look = Look {
        // https://no-color.org: set to anything.
        colour: std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
        wide: words::locale_is_wide(|name| std::env::var(name).ok()),
        back: Config::load(paths)?.detach_key.filter(|_| !request(String::new()).no_detach_key),
    };
    let here = std::env::var("SESSD_SESSION").ok().filter(|id| !id.is_empty());
    let mut picker = Picker::new(paths, look, here, Box::new(FromHere { paths: paths.clone() }))?;
    let mut chosen = picker.only_one().map(|session| session.id.clone());
    loop {
        let id = match chosen.take() {
            Some(id) => id,
            None => match picker.run()? {
                Picked::Attach(session) => session.id,
                Picked::Left => return Ok(0),
                Picked::Signal(signal) => return Ok((128 + signal) as u8),
            },
        };
        let seen = show(paths, id, request);
        picker.refresh()?;
        match seen {
            Ok(seen) => match seen.left {
                Left::Signal => return Ok(seen.code),
                // It was all there was.
                Left::Ended if !picker.has_any() => {
                    if let Some(said) = seen.said {
                        out::say(&said);
                    }
                    return Ok(seen.code);
                }
                Left::Ended | Left::Detached => picker.say(&seen.said.unwrap_or_default(), false),
            },
            Err(error) => picker.say(error.line().trim_start_matches("sessd: "), true),
        }
    }
}

/// Shows a session.
///
/// # Errors
/// Why it cannot be shown: it has ended meanwhile, say.
fn show(paths: &Paths, id: String, request: &dyn Fn(String) -> Request) -> Result<ViewOutcome> {
    let (_, shown) = known(paths, &id)?;
    if let Some(end) = &shown.session.end {
        // The picker asks what is to be done about that.
        let ended = format!("{} has ended ({})", print::label(&shown.session), end.phrase());
        return Err(Error::failed(ended, "enter on it begins it anew"));
    }
    create::look(paths, None, request(id), &shown.session, false)
}
