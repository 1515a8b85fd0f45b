//! One live talk with an agent over any byte stream: requests and their answers, a stream per open job, heartbeats. It
//! knows nothing of ssh, sessions or records, and is never reused: a new connection is a new link.
//!
//! A job that is looked at may get a short cut: a connection of its own to its holder's socket, past the agent. To
//! whoever holds a stream's number it is a stream like any other. Where there is none, nothing is missing but speed.

use crate::manager::dial::Sockets;
use crate::manager::session::{Mailbox, ToSession};
use crate::wire::{FrameReader, OutQueue, OwnedFrame};
use sessd_core::untrusted;
use sessd_proto::frame::kind;
use sessd_proto::limits::{GIVE_UP_MS, HEARTBEAT_MS, STALLED_MS};
use sessd_proto::messages::{Close, CloseReason, LinkAct, LinkAnswer, LinkRequest, Open};
use sessd_proto::{Frame, hello};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

/// Bytes of one job that may wait for its session. Far above what credit allows; an agent that goes beyond it does not
/// keep to the protocol.
const QUEUED_MAX: usize = 64 << 20;

/// Bytes that may wait to be written: input of all views within their windows, and small frames.
const OUT_MAX: usize = 32 << 20;

/// An answer to a heartbeat may take this long without a silence being noticed a heartbeat later for it.
const BEAT_SLACK_MS: u64 = 1_000;

/// What the ping of a short cut carries: the answer means nothing.
const HEARTBEAT: u64 = u64::MAX;

/// How long a link may be silent after the machine slept.
const DOUBTED: Duration = Duration::from_secs(4);

/// Why a link ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkEnd {
    /// The connection closed or went silent: evidence of nothing.
    Lost(String),
    /// The agent cannot or will not speak with us.
    Unusable(String),
    /// They are of different major versions; the sentence names the older.
    Skew(String),
}

/// A request that got no answer, because the link ended first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoAnswer;

/// One job's talk.
#[derive(Debug)]
struct Stream {
    mailbox: Mailbox,
    /// Where what is sent goes: its own connection, or the link's.
    own: Option<OutQueue>,
}

/// A live link.
#[derive(Debug)]
pub struct Link {
    out: OutQueue,
    streams: RefCell<HashMap<u16, Stream>>,
    /// The way to holders' sockets; gone with the link, or once the host refused it.
    sockets: RefCell<Option<Rc<Sockets>>>,
    /// Readers and writers of short cuts.
    short_cuts: RefCell<JoinSet<()>>,
    requests: RefCell<HashMap<u64, oneshot::Sender<LinkAnswer>>>,
    next_request: Cell<u64>,
    next_stream: Cell<u16>,
    heard: Cell<Instant>,
    stalled: Cell<bool>,
    /// Something happened after which silence is soon the end, and nothing was heard since.
    doubted: Cell<Option<Instant>>,
    rtt_ms: Cell<Option<f64>>,
    agent_version: RefCell<String>,
    began: Instant,
}

impl Link {
    /// A link about to run.
    pub fn new(sockets: Sockets) -> Rc<Self> {
        let out = OutQueue::new();
        out.put(0, &Frame::Hello(hello::hello(env!("CARGO_PKG_VERSION"), "")));
        let now = Instant::now();
        Rc::new(Self {
            out,
            streams: RefCell::default(),
            sockets: RefCell::new(Some(Rc::new(sockets))),
            short_cuts: RefCell::default(),
            requests: RefCell::default(),
            next_request: Cell::new(1),
            next_stream: Cell::new(1),
            heard: Cell::new(now),
            stalled: Cell::new(false),
            doubted: Cell::new(None),
            rtt_ms: Cell::new(None),
            agent_version: RefCell::default(),
            began: now,
        })
    }

    /// Asks the agent. The answer comes, or the link ends.
    pub async fn request(&self, act: LinkAct) -> Result<LinkAnswer, NoAnswer> {
        let id = self.next_request.get();
        self.next_request.set(id + 1);
        let (sender, answer) = oneshot::channel();
        if self.out.is_closed() {
            return Err(NoAnswer);
        }
        self.requests.borrow_mut().insert(id, sender);
        self.out.put(0, &Frame::LinkRequest(LinkRequest { id, act: Some(act) }));
        answer.await.map_err(|_| NoAnswer)
    }

    /// Opens a stream to a job's holder; its frames go to `mailbox`. `None` when the link has no number left or has ended.
    pub fn open(&self, job_id: String, mailbox: Mailbox) -> Option<u16> {
        let number = self.add(Stream { mailbox, own: None })?;
        self.out.put(number, &Frame::Open(Open { job_id }));
        self.out.put(number, &Frame::Hello(hello::hello(env!("CARGO_PKG_VERSION"), "")));
        Some(number)
    }

    fn add(&self, stream: Stream) -> Option<u16> {
        if self.out.is_closed() {
            return None;
        }
        let mut streams = self.streams.borrow_mut();
        let first = self.next_stream.get();
        let free =
            (0..u16::MAX).map(|n| first.wrapping_add(n)).find(|n| *n != 0 && !streams.contains_key(n))?;
        self.next_stream.set(free.wrapping_add(1));
        streams.insert(free, stream);
        Some(free)
    }

    /// Opens a stream to the holder that listens on `path`, past the agent. `None` where that cannot be.
    pub async fn open_short_cut(self: &Rc<Self>, path: &str, mailbox: Mailbox) -> Option<u16> {
        let sockets = self.sockets.borrow().clone()?;
        let (reader, writer) = match sockets.open(path).await {
            Ok(pipe) => pipe,
            Err(error) => {
                // Asked again for each job, a host that does not allow it would write as many lines into its log.
                tracing::debug!(%error, "no short cuts on this link");
                *self.sockets.borrow_mut() = None;
                return None;
            }
        };
        let own = OutQueue::new();
        own.put(0, &Frame::Hello(hello::hello(env!("CARGO_PKG_VERSION"), "")));
        let number = self.add(Stream { mailbox, own: Some(own.clone()) })?;
        let link = self.clone();
        let mut short_cuts = self.short_cuts.borrow_mut();
        // Those that have ended.
        while short_cuts.try_join_next().is_some() {}
        short_cuts.spawn_local(async move { link.read_short_cut(number, FrameReader::new(reader)).await });
        // A holder that takes no more closes; the reader tells.
        short_cuts.spawn_local(async move { drop(own.drive(writer).await) });
        Some(number)
    }

    async fn read_short_cut(&self, number: u16, mut reader: FrameReader<impl AsyncRead + Unpin>) {
        let detail = loop {
            let mut frame = match reader.next().await {
                Ok(Some(frame)) => frame,
                Ok(None) => break "the job's holder closed the talk".to_owned(),
                Err(error) => break error.to_string(),
            };
            self.heard.set(Instant::now());
            frame.stream = number;
            let Some(mailbox) = self.mailbox(number) else { return };
            if mailbox.queued() > QUEUED_MAX {
                break "it sends more than it was allowed".to_owned();
            }
            mailbox.send(ToSession::Frame { stream: number, frame });
        };
        let Some(stream) = self.streams.borrow_mut().remove(&number) else { return };
        if let Some(own) = stream.own {
            own.close();
        }
        let close = Close { reason: CloseReason::HolderUnreachable as i32, detail };
        let frame = OwnedFrame::own(number, &Frame::Close(close));
        stream.mailbox.send(ToSession::Frame { stream: number, frame });
    }

    fn mailbox(&self, stream: u16) -> Option<Mailbox> {
        self.streams.borrow().get(&stream).map(|stream| stream.mailbox.clone())
    }

    /// Sends a frame on a stream.
    pub fn send(&self, stream: u16, frame: &Frame<'_>) {
        match self.streams.borrow().get(&stream) {
            Some(Stream { own: Some(own), .. }) => own.put(0, frame),
            _ => self.out.put(stream, frame),
        }
    }

    /// Closes a stream.
    pub fn close_stream(&self, stream: u16) {
        match self.streams.borrow_mut().remove(&stream) {
            Some(Stream { own: Some(own), .. }) => own.close(),
            Some(Stream { own: None, .. }) => {
                let close = Close { reason: CloseReason::Leaving as i32, detail: String::new() };
                self.out.put(stream, &Frame::Close(close));
            }
            None => {}
        }
    }

    /// Ends the link on purpose.
    pub fn hang_up(&self) {
        self.out.close();
    }

    /// Round trip by the last heartbeat, in milliseconds.
    pub fn rtt_ms(&self) -> Option<f64> {
        self.rtt_ms.get()
    }

    /// The agent's version, once it greeted.
    pub fn agent_version(&self) -> String {
        self.agent_version.borrow().clone()
    }

    /// Has nothing come for longer than a heartbeat allows? By the clock and not by the last look at it: whoever asks now
    /// gets what is so now.
    pub fn is_stalled(&self) -> bool {
        self.stalled.get() || self.heard.get().elapsed().as_millis() as u64 >= STALLED_MS
    }

    /// The machine slept: the connection may be long dead. Until something is heard it is stalled, and what is not heard
    /// soon is not there.
    pub fn doubt(&self) {
        self.stalled.set(true);
        self.doubted.set(Some(Instant::now()));
        self.ping();
    }

    fn ping(&self) {
        self.out.put(0, &Frame::Ping(self.began.elapsed().as_micros() as u64));
        // The holders behind short cuts hear only this of us while nothing is typed.
        for own in self.streams.borrow().values().filter_map(|stream| stream.own.as_ref()) {
            // What waits for a holder that takes nothing says the same, and must not grow for as long as it stands still.
            if own.is_empty() {
                own.put(0, &Frame::Ping(HEARTBEAT));
            }
        }
    }

    /// Runs the link over `reader` and `writer` until it ends. `changed` is told when it stalls or recovers.
    ///
    /// Reading, writing and watching are tasks of their own: a key that goes out does not look whether something came in.
    pub async fn run(
        self: Rc<Self>,
        reader: impl AsyncRead + Unpin + 'static,
        writer: impl AsyncWrite + Unpin + 'static,
        changed: impl Fn() + Clone + 'static,
    ) -> LinkEnd {
        let mut parts = JoinSet::new();
        let (link, told) = (self.clone(), changed.clone());
        parts.spawn_local(async move { link.read(FrameReader::new(reader), &told).await });
        let out = self.out.clone();
        parts.spawn_local(async move {
            match out.drive(writer).await {
                Ok(()) => LinkEnd::Lost("it was hung up".into()),
                Err(error) => LinkEnd::Lost(error.to_string()),
            }
        });
        let link = self.clone();
        parts.spawn_local(async move {
            link.watch(&changed).await;
            LinkEnd::Lost("nothing was heard from it".into())
        });
        let end = match parts.join_next().await {
            Some(Ok(end)) => end,
            // A bug of ours, and the end of this link only.
            Some(Err(error)) => LinkEnd::Lost(format!("its task came to a bad end ({error})")),
            None => LinkEnd::Lost("it was hung up".into()),
        };
        // Whoever looks from here on sees that it is over: none of its parts hears or sends any more.
        parts.shutdown().await;
        self.out.close();
        self.requests.borrow_mut().clear();
        self.streams.borrow_mut().clear();
        self.short_cuts.borrow_mut().abort_all();
        *self.sockets.borrow_mut() = None;
        end
    }

    async fn watch(&self, changed: &impl Fn()) {
        let mut beat = tokio::time::interval(Duration::from_millis(HEARTBEAT_MS));
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            beat.tick().await;
            // What was heard came just after a beat, so that a silence looks a little short at a later one.
            let silent = self.heard.get().elapsed().as_millis() as u64 + BEAT_SLACK_MS;
            let doubted = self.doubted.get().is_some_and(|since| since.elapsed() >= DOUBTED);
            if silent >= GIVE_UP_MS || doubted {
                return;
            }
            if silent >= STALLED_MS && !self.stalled.replace(true) {
                changed();
            }
            self.ping();
        }
    }

    fn hear(&self, changed: &impl Fn()) {
        self.heard.set(Instant::now());
        self.doubted.set(None);
        if self.stalled.replace(false) {
            changed();
        }
    }

    async fn read(&self, mut reader: FrameReader<impl AsyncRead + Unpin>, changed: &impl Fn()) -> LinkEnd {
        loop {
            let frame = match reader.next().await {
                Ok(Some(frame)) => frame,
                Ok(None) => return LinkEnd::Lost("the agent's end closed".into()),
                Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                    return LinkEnd::Unusable(format!("it does not speak our protocol: {error}"));
                }
                Err(error) => return LinkEnd::Lost(error.to_string()),
            };
            self.hear(changed);
            if frame.stream != 0 {
                let stream = frame.stream;
                let closes = frame.raw().kind == kind::CLOSE;
                let Some(mailbox) = self.mailbox(stream) else { continue };
                if closes {
                    self.streams.borrow_mut().remove(&stream);
                } else if mailbox.queued() > QUEUED_MAX {
                    return LinkEnd::Unusable("it sends more than it was allowed".into());
                }
                mailbox.send(ToSession::Frame { stream, frame });
                continue;
            }
            if self.agent_version.borrow().is_empty() && frame.raw().kind != kind::HELLO {
                return LinkEnd::Unusable(
                    "it does not speak our protocol: its first words are no greeting".into(),
                );
            }
            if self.out.len() > OUT_MAX {
                return LinkEnd::Unusable("it asks and does not listen".into());
            }
            match frame.parse().map(untrusted::frame) {
                Ok(Frame::Hello(theirs)) => {
                    if let Err(skew) = hello::negotiate(&theirs) {
                        return LinkEnd::Skew(skew.to_string());
                    }
                    *self.agent_version.borrow_mut() =
                        if theirs.version.is_empty() { "unknown".to_owned() } else { theirs.version };
                }
                Ok(Frame::Ping(token)) => self.out.put(0, &Frame::Pong(token)),
                Ok(Frame::Pong(token)) => {
                    let micros = (self.began.elapsed().as_micros() as u64).saturating_sub(token);
                    self.rtt_ms.set(Some(micros as f64 / 1000.0));
                }
                Ok(Frame::LinkReply(reply)) => {
                    if let (Some(asker), Some(answer)) =
                        (self.requests.borrow_mut().remove(&reply.id), reply.answer)
                    {
                        // Whoever asked may have gone.
                        let _ = asker.send(answer);
                    }
                }
                Ok(Frame::Close(close)) => return LinkEnd::Unusable(close.detail),
                Ok(Frame::Unknown(kind)) if kind & sessd_proto::frame::IGNORABLE == 0 => {
                    self.out.put(
                        0,
                        &Frame::Unsupported(sessd_proto::messages::Unsupported { kind: kind.into() }),
                    );
                }
                Ok(_) => {}
                Err(invalid) => {
                    return LinkEnd::Unusable(format!("it does not speak our protocol: {invalid}"));
                }
            }
        }
    }
}
