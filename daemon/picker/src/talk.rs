//! Connections to the manager that nobody waits for.

use crate::machine::{Event, Wish};
use crate::{Now, Requests};
use sessd_base::asking::Asking;
use sessd_base::paths::Paths;
use sessd_client::connect::Client;
use sessd_client::core::{Output, Told, ViewCore, Wants};
use sessd_client::question;
use sessd_proto::docs::{self, Error, InfoDoc, Kind, Result};
use sessd_proto::messages::{self as m, Act, Answer, Reply, Request};
use sessd_proto::{Frame, Uuid, hello};
use std::collections::HashMap;
use std::io::{self, Read, Write};
use zeroize::Zeroizing;

/// Bytes read at a time.
const READ_MAX: usize = 64 * 1024;
/// How many managers are asked for one thing: one that dies over it is not to be started for ever.
const ATTEMPTS: usize = 4;

/// What a manager says.
enum FromManager {
    Event(String),
    Reply(Reply),
    Question(m::Question),
    QuestionOver(u64),
    Nothing,
}

/// A connection, and what is to be sent on it.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) client: Client,
    out: Vec<u8>,
    pub(crate) gone: bool,
}

impl Line {
    /// On a connection that was just made.
    pub(crate) fn new(client: Client) -> Result<Self> {
        client.for_a_loop().map_err(|e| {
            Error::failed(format!("the manager cannot be heard ({e})"), "try again: it starts by itself")
        })?;
        Ok(Self { client, out: Vec::new(), gone: false })
    }

    /// To a manager that runs; none: there is none.
    pub(crate) fn open(paths: &Paths) -> Result<Option<Self>> {
        Client::connect_running(paths)?.map(Self::new).transpose()
    }

    pub(crate) fn send(&mut self, frame: &Frame<'_>) {
        // What is longer than a frame may be is none of ours.
        let _ = frame.try_put(0, &mut self.out);
    }

    pub(crate) fn ask(&mut self, id: u64, act: Act) {
        self.send(&Frame::Request(Request { id, act: Some(act) }));
    }

    /// The next frame that was read, if there is a whole one and it is any of ours.
    fn hear(&mut self) -> Result<Option<FromManager>> {
        let Some(raw) = self.client.decoder.next_frame().map_err(broken)? else { return Ok(None) };
        Ok(Some(match raw.parse().map_err(broken)? {
            Frame::Hello(theirs) => {
                greeted(&theirs)?;
                FromManager::Nothing
            }
            Frame::Close(close) => return Err(Error::failed(close.detail, "try again")),
            Frame::Event(event) => FromManager::Event(event.json),
            Frame::Reply(reply) => FromManager::Reply(reply),
            Frame::Question(asked) => FromManager::Question(asked),
            Frame::QuestionOver(over) => FromManager::QuestionOver(over.id),
            _ => FromManager::Nothing,
        }))
    }

    pub(crate) fn put(&mut self, bytes: &mut Vec<u8>) {
        self.out.append(bytes);
    }

    pub(crate) fn has_to_send(&self) -> bool {
        !self.out.is_empty()
    }

    pub(crate) fn flush(&mut self) {
        while !self.out.is_empty() && !self.gone {
            match self.client.stream.write(&self.out) {
                Ok(n) => drop(self.out.drain(..n)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // It takes no more, and may have said why: that is read before it is gone.
                Err(_) => self.out.clear(),
            }
        }
    }

    /// Reads once. How much came.
    pub(crate) fn read(&mut self) -> usize {
        let mut buffer = [0; READ_MAX];
        match self.client.stream.read(&mut buffer) {
            Ok(0) => self.gone = true,
            Ok(n) => {
                self.client.decoder.push(&buffer[..n]);
                return n;
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(_) => self.gone = true,
        }
        0
    }
}

fn broken(why: impl std::fmt::Display) -> Error {
    Error::failed(why.to_string(), "`sessd daemon restart` starts this version; sessions run on")
}

fn read_as<T: serde::de::DeserializeOwned>(json: &str) -> Result<T> {
    serde_json::from_str(json).map_err(|_| {
        Error::new(
            Kind::VersionSkew,
            "the manager's answer is of another version",
            "`sessd daemon restart` starts this one",
        )
    })
}

/// The connection on which everything is told.
#[derive(Debug)]
pub(crate) struct News {
    pub(crate) line: Line,
    /// Documents of which not all parts are here, by what was asked.
    parts: HashMap<u64, String>,
    asked: [bool; 2],
    again: [bool; 2],
    /// The manager is about to stop.
    pub(crate) stopping: bool,
}

const EVENTS: u64 = 1;
const STATUS: u64 = 2;
const LIST: u64 = 3;
const INFO: u64 = 4;

impl News {
    /// Asks for all there is, and for what changes from now on: that first, so that nothing falls in between.
    pub(crate) fn begin(line: Line) -> Self {
        let mut news =
            Self { line, parts: HashMap::new(), asked: [false; 2], again: [false; 2], stopping: false };
        news.line.ask(EVENTS, Act::Events(m::EventsFrom { since_ms: None, documents: true }));
        news.want_status();
        news.want_list();
        news
    }

    pub(crate) fn want_status(&mut self) {
        self.want(0);
    }

    pub(crate) fn want_list(&mut self) {
        self.want(1);
    }

    /// One is under way at a time; what is wanted meanwhile is asked for once, behind it.
    fn want(&mut self, which: usize) {
        if std::mem::replace(&mut self.asked[which], true) {
            self.again[which] = true;
            return;
        }
        match which {
            0 => self.line.ask(STATUS, Act::DaemonStatus(m::Empty {})),
            _ => self.line.ask(LIST, Act::List(m::List { all: true, at_once: true, ..m::List::default() })),
        }
    }

    pub(crate) fn want_session(&mut self, id: String) {
        self.line.ask(INFO, Act::Info(m::Select { session: id, ..m::Select::default() }));
    }

    fn answered(&mut self, which: usize) {
        self.asked[which] = false;
        if std::mem::take(&mut self.again[which]) {
            self.want(which);
        }
    }

    /// What is told next.
    pub(crate) fn next(&mut self) -> Result<Option<Event<'static>>> {
        while let Some(heard) = self.line.hear()? {
            let event = match heard {
                // What cannot be read is of a newer manager: the list has what it was about.
                FromManager::Event(json) => serde_json::from_str::<docs::Event>(&json).ok().map(|event| {
                    self.stopping |= matches!(event.what, docs::event::What::Manager { .. });
                    Event::Told(event)
                }),
                FromManager::Reply(reply) => self.reply(reply)?,
                _ => None,
            };
            if event.is_some() {
                return Ok(event);
            }
        }
        Ok(None)
    }

    fn reply(&mut self, reply: Reply) -> Result<Option<Event<'static>>> {
        let id = reply.id;
        let json = match reply.answer {
            Some(Answer::Json(part)) => {
                let whole = self.parts.entry(id).or_default();
                whole.push_str(&part);
                if reply.more {
                    return Ok(None);
                }
                self.parts.remove(&id).unwrap_or_default()
            }
            // A session that is gone by now: that is told.
            Some(Answer::Error(_)) if id == INFO => return Ok(None),
            Some(Answer::Error(error)) => return Err(error.into()),
            None => return Ok(None),
        };
        Ok(match id {
            STATUS => {
                self.answered(0);
                Some(Event::Status(read_as(&json)?))
            }
            LIST => {
                self.answered(1);
                Some(Event::Sessions(read_as(&json)?))
            }
            INFO => {
                let info: InfoDoc = read_as(&json)?;
                Some(Event::Session(Box::new(info.session)))
            }
            _ => None,
        })
    }
}

fn greeted(theirs: &m::Hello) -> Result<()> {
    hello::negotiate(theirs).map_err(|skew| {
        Error::new(Kind::VersionSkew, skew.to_string(), "`sessd daemon restart` starts this version")
    })?;
    Ok(())
}

/// A wish under way, on a connection of its own: nothing else waits for it.
#[derive(Debug)]
pub(crate) struct Errand {
    pub(crate) number: u64,
    act: Act,
    /// Not there: the manager is gone, and the next one is asked the same.
    pub(crate) line: Option<Line>,
    document: String,
    attempts: usize,
}

impl Errand {
    /// Makes of a wish what the manager is asked, under ids chosen here: it may be asked twice.
    ///
    /// # Errors
    /// When it is nothing that could be asked.
    pub(crate) fn new(number: u64, wish: Wish, requests: &dyn Requests) -> Result<Self> {
        let act = match wish {
            Wish::Create { name, host } => Act::Create(requests.create(&name, &host)?),
            Wish::Rename { id, name } => {
                Act::Tag(m::Tag { session: id, name: Some(name), set: HashMap::new(), remove: Vec::new() })
            }
            Wish::Tags { id, set, remove } => {
                Act::Tag(m::Tag { session: id, name: None, set: set.into_iter().collect(), remove })
            }
            Wish::Delete(sessions) => Act::Delete(m::Delete { sessions, all: false, force: false }),
            Wish::Restart(id) => Act::Restart(requests.restart(&id)),
        };
        Ok(Self { number, act, line: None, document: String::new(), attempts: 0 })
    }

    /// Asks a manager that runs. False: there is none.
    ///
    /// # Errors
    /// When there is one that cannot be asked, or enough were.
    pub(crate) fn go(&mut self, paths: &Paths) -> Result<bool> {
        if self.attempts == ATTEMPTS {
            return Err(Error::failed(
                "the manager ends before it answers",
                format!("see {}", paths.log.display()),
            ));
        }
        let Some(mut line) = Line::open(paths)? else { return Ok(false) };
        self.attempts += 1;
        self.document.clear();
        line.send(&Frame::Environment(Asking::here(paths, true).of_person(true)));
        line.ask(1, self.act.clone());
        line.flush();
        self.line = Some(line);
        Ok(true)
    }

    pub(crate) fn answer(&mut self, id: u64, given: Option<Zeroizing<String>>) {
        if let Some(line) = &mut self.line {
            line.put(&mut question::answer_frame(id, given));
            line.flush();
        }
    }

    /// What comes of it next; the last is [`Event::Done`].
    pub(crate) fn next(&mut self) -> Option<Event<'static>> {
        match self.hear() {
            Ok(event) => event,
            Err(error) => Some(Event::Done(self.number, Err(error))),
        }
    }

    fn hear(&mut self) -> Result<Option<Event<'static>>> {
        let Some(line) = &mut self.line else { return Ok(None) };
        while let Some(heard) = line.hear()? {
            match heard {
                FromManager::Question(asked) => {
                    return Ok(Some(Event::Asked(self.number, asked.id, question::from_message(&asked))));
                }
                FromManager::QuestionOver(id) => return Ok(Some(Event::AskedNoMore(self.number, id))),
                FromManager::Reply(Reply { answer: Some(Answer::Error(error)), .. }) => {
                    let error = Error::from(error);
                    // The first manager did it before it died.
                    let done = self.attempts > 1 && error.kind == Kind::NoSuchSession;
                    if done && matches!(self.act, Act::Delete(_)) {
                        return Ok(Some(Event::Done(self.number, Ok(None))));
                    }
                    return Err(error);
                }
                FromManager::Reply(Reply { answer: Some(Answer::Json(part)), more, .. }) => {
                    self.document.push_str(&part);
                    if !more {
                        let session = match &self.act {
                            Act::Create(_) | Act::Restart(_) => {
                                let info: InfoDoc = read_as(&self.document)?;
                                Some(Box::new(info.session))
                            }
                            _ => None,
                        };
                        return Ok(Some(Event::Done(self.number, Ok(session))));
                    }
                }
                _ => {}
            }
        }
        Ok(None)
    }
}

/// The view by which the selected session is looked at: nobody notices it, and no host is dialled for it.
#[derive(Debug)]
pub(crate) struct Peek {
    pub(crate) line: Line,
    core: ViewCore,
    /// Bytes read, and since when, so that a flood does not keep the picker from anything else.
    read: usize,
    since: u64,
    over: bool,
}

/// Bytes that are looked at in [`PACE_MS`]; what comes faster is skipped by the manager.
const PACE: usize = 512 * 1024;
const PACE_MS: u64 = 100;

impl Peek {
    /// At this session; none: there is no manager.
    pub(crate) fn at(paths: &Paths, session: &str) -> Result<Option<Self>> {
        let Some(mut line) = Line::open(paths)? else { return Ok(None) };
        let wants = Wants { unasked: true, ..Wants::looker(Output::Stream, 0) };
        let core = ViewCore::new(Uuid::now_v7(), session, wants, None);
        line.send(&Frame::Attach(core.attach()));
        line.flush();
        Ok(Some(Self { line, core, read: 0, since: 0, over: false }))
    }

    /// When it may be read; later than now where enough was.
    pub(crate) fn readable_at(&self) -> u64 {
        if self.over {
            u64::MAX
        } else if self.read >= PACE {
            self.since + PACE_MS
        } else {
            0
        }
    }

    pub(crate) fn read(&mut self, now: Now) {
        if now.ms >= self.since + PACE_MS {
            (self.read, self.since) = (0, now.ms);
        }
        self.read += self.line.read();
        self.over |= self.line.gone;
    }

    /// Gives what came to `take`.
    pub(crate) fn drain(&mut self, mut take: impl FnMut(Event<'_>)) {
        loop {
            match self.core.decode(&mut self.line.client.decoder) {
                Ok(None) => break,
                Ok(Some(None)) => {}
                Ok(Some(Some(told))) => match told {
                    Told::Screen { size, snapshot, .. } => take(Event::Screen(size, &snapshot)),
                    Told::Output(bytes) => take(Event::Output(&bytes)),
                    Told::Ping(token) => self.core.pong(token),
                    Told::State(state) if !state.detail.is_empty() => take(Event::NoScreen(state.detail)),
                    Told::Ended(end) => {
                        take(Event::NoScreen(format!("{}: no screen of it was kept", end.phrase())))
                    }
                    Told::Gone(_) => take(Event::NoScreen("it is deleted".to_owned())),
                    _ => {}
                },
                Err(error) => {
                    take(Event::NoScreen(error.message));
                    self.over = true;
                    break;
                }
            }
        }
        self.line.put(self.core.poll());
        self.line.flush();
    }
}
