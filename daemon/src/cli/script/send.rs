//! `sessd send`: text and keys typed into a session, by no view.

use crate::cli::args::SendArgs;
use crate::cli::ask;
use crate::cli::verbs::read;
use rustix::event::{PollFd, PollFlags, Timespec};
use sessd_base::out;
use sessd_base::paths::Paths;
use sessd_base::process;
use sessd_proto::Uuid;
use sessd_proto::docs::{Error, Kind, Result, SentDoc};
use sessd_proto::limits::SEND_MAX;
use sessd_proto::messages::{self as m, Act, SendWhat, SendWhen};
use sessd_terminal::Key;
use std::io::{ErrorKind, Read};
use std::time::{Duration, Instant};

/// Bytes of stdin that are typed at a time.
const PIECE: usize = 32 * 1024;
/// How long a job may take to read what was typed before.
const BUSY: Duration = Duration::from_secs(10);
/// How often it is tried meanwhile.
const AGAIN: Duration = Duration::from_millis(50);
/// What of stdin comes so soon after the rest is there at once.
const AT_ONCE: Duration = Duration::from_millis(50);

/// Carries it out.
///
/// # Errors
/// Why not all of it was typed.
pub fn send(paths: &Paths, args: &SendArgs, json: bool) -> Result<u8> {
    let when = match args.when.as_deref() {
        Some("idle") => SendWhen::Idle,
        Some("waiting") => SendWhen::Waiting,
        _ => SendWhen::Now,
    };
    let mut keys = Vec::new();
    for name in &args.keys {
        if Key::named(name).is_none() {
            return Err(Error::usage(format!(
                "there is no key `{name}`: C-c, Enter, Up, F5 and M-x are such"
            )));
        }
        keys.push(SendWhat::Key(name.clone()));
    }
    if args.enter {
        keys.push(SendWhat::Key("Enter".to_owned()));
    }
    let how = match (args.paste, args.raw) {
        (true, _) => How::Paste,
        (_, true) => How::Raw,
        _ => How::Lines,
    };
    let sender = Sender { paths, session: &args.session, when };
    let sent = match args.text.as_deref() {
        _ if args.cancel => sender.put(Vec::new(), true)?,
        Some("-") => sender.stdin(how, keys)?,
        Some(text) => sender.put(how.part(text.as_bytes()).into_iter().chain(keys).collect(), false)?,
        None if keys.is_empty() => {
            return Err(Error::usage("nothing is to be typed: TEXT, --key, --enter or `-`"));
        }
        None => sender.put(keys, false)?,
    };
    if json {
        out::json(&serde_json::to_string(&sent).unwrap_or_default())?;
    } else if args.cancel {
        let s = if sent.queued == 1 { "" } else { "s" };
        out::line(&format!(
            "{}: {} that waited on the host dropped",
            args.session,
            format_args!("{} send{s}", sent.queued)
        ))?;
    } else if sent.outcome == "queued" && out::is_terminal() {
        out::note(&format!(
            "it waits on the host until {} is {}",
            args.session,
            args.when.as_deref().unwrap_or_default()
        ));
    }
    Ok(0)
}

/// How text is typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    /// As it is; several lines as a paste, where the program asked to be told of one.
    Lines,
    Paste,
    Raw,
}

impl How {
    fn part(self, text: &[u8]) -> Vec<SendWhat> {
        match self {
            _ if text.is_empty() => Vec::new(),
            Self::Lines => vec![SendWhat::Lines(text.to_vec())],
            Self::Paste => vec![SendWhat::Paste(text.to_vec())],
            Self::Raw => vec![SendWhat::Text(text.to_vec())],
        }
    }
}

struct Sender<'a> {
    paths: &'a Paths,
    session: &'a str,
    when: SendWhen,
}

impl Sender<'_> {
    /// Types it, as soon as the job has read what was typed before.
    fn put(&self, parts: Vec<SendWhat>, cancel: bool) -> Result<SentDoc> {
        let until = Instant::now() + BUSY;
        loop {
            let send = m::Send {
                id: Uuid::now_v7().as_bytes().to_vec(),
                parts: parts.iter().map(|what| m::SendPart { what: Some(what.clone()) }).collect(),
                when: self.when as i32,
                cancel,
            };
            let act = Act::Type(m::Type { session: self.session.to_owned(), send: Some(send) });
            let sent: SentDoc = read(&ask::ask(self.paths, &act)?)?;
            if sent.outcome != "busy" {
                return Ok(sent);
            }
            if Instant::now() >= until {
                let why = format!("{} does not read what is typed", self.session);
                return Err(Error::new(
                    Kind::Failed,
                    why,
                    "nothing more was typed; `sessd capture` shows what it does",
                ));
            }
            std::thread::sleep(AGAIN);
        }
    }

    /// Types stdin to its end, and then `keys`. What is there at once is one piece; what comes later is typed as it comes, but
    /// for a paste, or what waits for its time.
    fn stdin(&self, how: How, keys: Vec<SendWhat>) -> Result<SentDoc> {
        let unread = |e: std::io::Error| {
            Error::failed(format!("stdin cannot be read ({e})"), "what was typed before stays typed")
        };
        if process::stdin_was_closed() {
            let why = "stdin was closed, and there is nothing to type";
            return Err(Error::failed(
                why,
                "nothing was typed; `sessd send SESSION TEXT` takes it from the command line",
            ));
        }
        let (mut stdin, mut bytes) = (std::io::stdin().lock(), Vec::new());
        let whole = how == How::Paste || self.when != SendWhen::Now;
        let mut buffer = vec![0; PIECE];
        let mut streams = false;
        loop {
            let n = match stdin.read(&mut buffer) {
                Ok(n) => n,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(unread(error)),
            };
            bytes.extend_from_slice(&buffer[..n]);
            if n == 0 {
                let how = if streams { How::Raw } else { how };
                return self.put(how.part(&bytes).into_iter().chain(keys).collect(), false);
            }
            let more = bytes.len() < SEND_MAX - PIECE;
            if whole && !more {
                return Err(Error::usage(format!(
                    "at most {} bytes are pasted or queued at once",
                    SEND_MAX - PIECE
                )));
            }
            if !whole && (streams || !more || !is_there(&stdin)) {
                streams = true;
                self.put(How::Raw.part(&std::mem::take(&mut bytes)), false)?;
            }
        }
    }
}

/// Is there more to read at once, or the end?
fn is_there(stdin: &std::io::StdinLock<'_>) -> bool {
    let moment = Timespec { tv_sec: 0, tv_nsec: AT_ONCE.as_nanos() as i64 };
    rustix::event::poll(&mut [PollFd::new(stdin, PollFlags::IN)], Some(&moment)).is_ok_and(|n| n > 0)
}
