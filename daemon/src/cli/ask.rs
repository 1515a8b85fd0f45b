//! Asking the manager. It may die at any moment, by whatever hand: every request can be asked again, because ids are chosen
//! here and acts are done once per id; so the next manager is asked the same.

use crate::error::{Error, Kind, Result};
use crate::out::Printed;
use crate::paths::Paths;
use crate::view::client::Client;
use sessd_proto::messages::{Act, Answer, Empty, Request};
use sessd_proto::{Frame, hello};
use std::io::Read;
use std::time::{Duration, Instant};

/// How many managers are asked. One that dies over every request is not to be started for ever.
const ATTEMPTS: usize = 4;
/// How long `events` looks for another manager when its own is gone. It starts none: it only listens.
const LISTEN_AGAIN: Duration = Duration::from_secs(10);

/// What a talk came to.
enum Talk {
    Answer(Result<String>),
    /// The manager is gone without an answer.
    Gone,
}

/// Asks for `act` and gives the answer, a JSON document.
///
/// # Errors
/// What the manager answers, or that there is none that does.
pub fn ask(paths: &Paths, act: &Act) -> Result<String> {
    for attempt in 0..ATTEMPTS {
        let mut client = Client::connect(paths)?;
        match talk(&mut client, act) {
            // The first manager did it before it died.
            Talk::Answer(Err(error))
                if attempt > 0 && error.kind == Kind::NoSuchSession && matches!(act, Act::Delete(_)) =>
            {
                return Ok("null".to_owned());
            }
            Talk::Answer(answer) => return answer,
            Talk::Gone => {}
        }
    }
    Err(Error::failed("the manager ends before it answers", format!("see {}", paths.log.display())))
}

/// Asks a manager that runs already, for so long. `None`: there is none, or no answer.
pub fn ask_running(paths: &Paths, act: &Act, limit: Duration) -> Option<String> {
    let mut client = Client::connect_running(paths).ok()??;
    client.stream.set_read_timeout(Some(limit)).ok()?;
    client.stream.set_write_timeout(Some(limit)).ok()?;
    match talk(&mut client, act) {
        Talk::Answer(answer) => answer.ok(),
        Talk::Gone => None,
    }
}

fn talk(client: &mut Client, act: &Act) -> Talk {
    let request = Frame::Request(Request { id: 1, act: Some(act.clone()) });
    if client.send(&request).is_err() {
        return Talk::Gone;
    }
    let mut document = String::new();
    loop {
        match next(client) {
            Next::Reply(Some(Answer::Json(part)), more) => {
                document.push_str(&part);
                if !more {
                    return Talk::Answer(Ok(document));
                }
            }
            Next::Reply(Some(Answer::Error(error)), _) => return Talk::Answer(Err(error.into())),
            Next::Reply(None, _) => {
                return Talk::Answer(Err(Error::new(
                    Kind::VersionSkew,
                    "the manager's answer is from a newer version",
                    "`sessd daemon restart`",
                )));
            }
            Next::Event(_) => {}
            Next::Failed(error) => return Talk::Answer(Err(error)),
            Next::Gone => return Talk::Gone,
        }
    }
}

enum Next {
    Reply(Option<Answer>, bool),
    Event(String),
    Failed(Error),
    Gone,
}

fn next(client: &mut Client) -> Next {
    let mut buffer = [0; 64 * 1024];
    loop {
        loop {
            let frame = match client.decoder.next_frame() {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(invalid) => {
                    return Next::Failed(Error::failed(invalid.to_string(), "`sessd daemon restart`"));
                }
            };
            match frame.parse() {
                Ok(Frame::Hello(theirs)) => {
                    if let Err(skew) = hello::negotiate(&theirs) {
                        return Next::Failed(Error::new(
                            Kind::VersionSkew,
                            skew.to_string(),
                            "`sessd daemon restart` starts this version",
                        ));
                    }
                }
                Ok(Frame::Reply(reply)) => return Next::Reply(reply.answer, reply.more),
                Ok(Frame::Event(event)) => return Next::Event(event.json),
                Ok(Frame::Close(close)) => return Next::Failed(Error::failed(close.detail, "")),
                _ => {}
            }
        }
        match client.stream.read(&mut buffer) {
            Ok(0) => return Next::Gone,
            Ok(n) => client.decoder.push(&buffer[..n]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => return Next::Gone,
        }
    }
}

/// Gives every event to `tell`, until the manager is gone for good, or nobody reads any more.
///
/// # Errors
/// When that is so, or it cannot be heard at all.
pub fn events(paths: &Paths, tell: impl Fn(&str) -> Result<Printed>) -> Result<()> {
    let mut client = Client::connect(paths)?;
    loop {
        if client.send(&Frame::Request(Request { id: 1, act: Some(Act::Events(Empty {})) })).is_ok() {
            loop {
                match next(&mut client) {
                    Next::Event(json) => {
                        if tell(&json)? == Printed::NobodyReads {
                            return Ok(());
                        }
                    }
                    Next::Reply(Some(Answer::Error(error)), _) => return Err(error.into()),
                    Next::Reply(..) => {}
                    Next::Failed(error) => return Err(error),
                    Next::Gone => break,
                }
            }
        }
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
