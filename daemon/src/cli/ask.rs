//! Asking the manager. It may die at any moment, by whatever hand: every request can be asked again, because ids are chosen
//! here and acts are done once per id; so the next manager is asked the same.

use sessd_base::asking::Asking;
use sessd_base::out::Printed;
use sessd_base::paths::Paths;
use sessd_client::connect::{Client, Heard};
use sessd_client::question;
use sessd_proto::Frame;
use sessd_proto::docs::{Error, Kind, Result};
use sessd_proto::messages::{Act, Answer, EventsFrom, Reply, Request};
use std::time::{Duration, Instant};

/// How many managers are asked. One that dies over every request is not to be started for ever.
const ATTEMPTS: usize = 4;
/// How long `events` looks for another manager when its own is gone. It starts none: it only listens.
const LISTEN_AGAIN: Duration = Duration::from_secs(10);

/// Asks for `act` and gives the answer, a JSON document.
///
/// # Errors
/// What the manager answers, or that there is none that does.
pub fn ask(paths: &Paths, act: &Act) -> Result<String> {
    ask_on(paths, act).map(|(answer, _)| answer)
}

/// The same, and the connection, on which something else may be asked.
///
/// # Errors
/// As [`ask`].
pub fn ask_on(paths: &Paths, act: &Act) -> Result<(String, Option<Client>)> {
    for attempt in 0..ATTEMPTS {
        let mut client = Client::connect(paths)?;
        // One that is gone already is noticed by the request.
        let whole = dials(act);
        let asked = whole && question::is_answered();
        let _ = client.send(&Frame::Environment(Asking::here(paths, whole).of_person(asked)));
        match client.request(act.clone()) {
            // The first manager did it before it died.
            Err(error)
                if attempt > 0 && error.kind == Kind::NoSuchSession && matches!(act, Act::Delete(_)) =>
            {
                return Ok(("null".to_owned(), None));
            }
            Ok(Some(answer)) => return Ok((answer, Some(client))),
            Err(error) => return Err(error),
            Ok(None) => {}
        }
    }
    Err(Error::failed("the manager ends before it answers", format!("see {}", paths.log.display())))
}

/// Asks a manager that runs already, for so long. `None`: there is none, or no answer.
pub fn ask_running(paths: &Paths, act: &Act, limit: Duration) -> Option<String> {
    let mut client = Client::connect_running(paths).ok()??;
    client.stream.set_read_timeout(Some(limit)).ok()?;
    client.stream.set_write_timeout(Some(limit)).ok()?;
    client.request(act.clone()).ok()?
}

/// Whether a host may have to be dialled for it.
fn dials(act: &Act) -> bool {
    matches!(
        act,
        Act::Create(_)
            | Act::Restart(_)
            | Act::Adopt(_)
            | Act::Delete(_)
            | Act::Type(_)
            | Act::Connect(_)
            | Act::Check(_)
    )
}

/// Gives every event to `tell`, until the manager is gone for good, or nobody reads any more.
///
/// # Errors
/// When that is so, or it cannot be heard at all.
pub fn events(paths: &Paths, since_ms: Option<u64>, tell: impl Fn(&str) -> Result<Printed>) -> Result<()> {
    let mut client = Client::connect(paths)?;
    // The next manager knows of nothing before it.
    let mut from = EventsFrom { since_ms, ..EventsFrom::default() };
    loop {
        if client
            .tell(&Frame::Request(Request { id: 1, act: Some(Act::Events(std::mem::take(&mut from))) }))?
        {
            loop {
                match client.hear()? {
                    Heard::Event(json) => {
                        if tell(&json)? == Printed::NobodyReads {
                            return Ok(());
                        }
                    }
                    Heard::Reply(Reply { answer: Some(Answer::Error(error)), .. }) => {
                        return Err(error.into());
                    }
                    // From here on nothing may happen for days.
                    Heard::Reply(_) => client.listens(),
                    Heard::Attached(_) => {}
                    Heard::Gone => break,
                }
            }
        }
        sessd_base::out::note("the manager has ended: what happens is told again when the next one runs");
        let until = Instant::now() + LISTEN_AGAIN;
        client = loop {
            match Client::connect_running(paths)? {
                Some(client) => break client,
                None if Instant::now() > until => {
                    return Err(Error::failed(
                        "the manager has ended",
                        "it starts by itself when a verb needs it",
                    ));
                }
                None => std::thread::sleep(Duration::from_millis(50)),
            }
        };
    }
}
