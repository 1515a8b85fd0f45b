//! One live talk with an agent over any byte stream: requests and their answers, a stream per open job, heartbeats. It
//! knows nothing of ssh, sessions or records, and is never reused: a new connection is a new link.
//!
//! A job that is looked at may get a short cut: a connection of its own to its holder's socket, past the agent. To
//! whoever holds a stream's number it is a stream like any other. Where there is none, nothing is missing but speed.

use crate::manager::dial::Sockets;
use crate::manager::pages::Pages;
use crate::manager::session::{Mailbox, ToSession};
use crate::wire::{FrameReader, OutQueue, OwnedFrame};
use sessd_core::untrusted;
use sessd_proto::frame::kind;
use sessd_proto::limits::{GIVE_UP_MS, HEARTBEAT_MS, STALLED_MS};
use sessd_proto::messages::{Close, CloseReason, LinkAct, LinkAnswer, LinkRequest, Open, Refused};
use sessd_proto::{Frame, hello};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

/// Bytes of one job that may wait for its session: far above what credit allows, and a snapshot is taken in as fast as it
/// comes. Beyond it the stream is ended, and no other.
const QUEUED_MAX: usize = 16 << 20;

/// Bytes of all jobs of one link that may wait: the stream that goes beyond it is ended.
const HELD_MAX: usize = 64 << 20;

/// What is said of a holder that sends more.
const TOO_MUCH: &str = "the job's holder sends more than it was allowed";

/// Bytes that may wait to be written: input of all views within their windows, and small frames.
const OUT_MAX: usize = 32 << 20;

/// How often it is looked at how long a link is silent.
const LOOK_MS: u64 = 1_000;
/// A heartbeat was not answered within two seconds: views say so, before the link is given up.
const QUIET_MS: u64 = HEARTBEAT_MS + 2_000;

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
    pages: RefCell<Pages>,
    next_request: Cell<u64>,
    next_stream: Cell<u16>,
    heard: Cell<Instant>,
    stalled: Cell<bool>,
    /// Whoever listens was told that it is late.
    quiet: Cell<bool>,
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
            pages: RefCell::default(),
            next_request: Cell::new(1),
            next_stream: Cell::new(1),
            heard: Cell::new(now),
            stalled: Cell::new(false),
            quiet: Cell::new(false),
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
        if !self.out.try_put(0, &Frame::LinkRequest(LinkRequest { id, act: Some(act) })) {
            // Of a record that was made before there was a bound: nothing was sent, and nothing else suffers for it.
            let detail = "what makes the job is longer than a host takes (1 MiB)".to_owned();
            return Ok(LinkAnswer::Refused(Refused { detail, final_answer: true }));
        }
        self.requests.borrow_mut().insert(id, sender);
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
            if mailbox.queued_of_holder() > QUEUED_MAX {
                break TOO_MUCH.to_owned();
            }
            mailbox.send(ToSession::Frame { stream: number, frame });
        };
        self.end_stream(number, CloseReason::HolderUnreachable, detail);
    }

    /// Ends a stream as if its holder had, with a sentence. The others of the link go on.
    fn end_stream(&self, number: u16, reason: CloseReason, detail: String) {
        let Some(mailbox) = self.mailbox(number) else { return };
        self.close_stream(number);
        let frame = OwnedFrame::own(number, &Frame::Close(Close { reason: reason as i32, detail }));
        mailbox.send(ToSession::Frame { stream: number, frame });
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

    /// Where what is sent on a stream waits.
    pub fn queue_of(&self, stream: u16) -> OutQueue {
        let own = self.streams.borrow().get(&stream).and_then(|stream| stream.own.clone());
        own.unwrap_or_else(|| self.out.clone())
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

    /// When anything was heard of it last.
    pub fn heard(&self) -> Instant {
        self.heard.get()
    }

    /// How long it has been silent, once that is longer than an answer to a heartbeat takes.
    pub fn quiet_ms(&self) -> Option<u64> {
        let silent = self.heard.get().elapsed().as_millis() as u64;
        (self.stalled.get() || silent >= QUIET_MS).then_some(silent)
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
        let mut look = tokio::time::interval(Duration::from_millis(LOOK_MS));
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut beat_at = Instant::now();
        loop {
            look.tick().await;
            // What was heard came just after a beat, so that a silence looks a little short at a later one.
            let silent = self.heard.get().elapsed().as_millis() as u64 + BEAT_SLACK_MS;
            let doubted = self.doubted.get().is_some_and(|since| since.elapsed() >= DOUBTED);
            if silent >= GIVE_UP_MS || doubted {
                return;
            }
            let stalls = silent >= STALLED_MS && !self.stalled.replace(true);
            if stalls || (self.quiet_ms().is_some() && !self.quiet.replace(true)) {
                changed();
            }
            if Instant::now() >= beat_at {
                beat_at = Instant::now() + Duration::from_millis(HEARTBEAT_MS);
                self.ping();
            }
        }
    }

    fn hear(&self, changed: &impl Fn()) {
        self.heard.set(Instant::now());
        self.doubted.set(None);
        if self.stalled.replace(false) | self.quiet.replace(false) {
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
                } else if mailbox.queued_of_holder() > QUEUED_MAX || reader.held().bytes() > HELD_MAX {
                    self.end_stream(stream, CloseReason::Protocol, TOO_MUCH.to_owned());
                    continue;
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
            if frame.raw().kind == kind::LINK_REPLY {
                // An answer that nobody waits for is not worth being read, and it may be a large one.
                let asked =
                    reply_id(frame.raw().body).is_some_and(|id| self.requests.borrow().contains_key(&id));
                if !asked {
                    continue;
                }
                if is_swollen(frame.raw().body) {
                    return LinkEnd::Unusable("it lists jobs of which it says nothing".into());
                }
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
                Ok(Frame::LinkReply(reply)) if !self.requests.borrow().contains_key(&reply.id) => {}
                Ok(Frame::LinkReply(mut reply)) => {
                    if !self.pages.borrow_mut().put(&mut reply, frame.raw().body.len()) {
                        return LinkEnd::Unusable("its list of jobs has no end".into());
                    }
                    if !reply.more
                        && let (Some(asker), Some(answer)) =
                            (self.requests.borrow_mut().remove(&reply.id), reply.answer)
                    {
                        // Whoever asked may have gone.
                        let _ = asker.send(self.pages.borrow_mut().whole(reply.id, answer));
                    }
                }
                Ok(Frame::Close(close)) => return LinkEnd::Unusable(close.detail),
                Ok(Frame::Unsupported(what)) if what.kind == u32::from(kind::LINK_REQUEST) => {
                    // Which one it means it does not say: whoever waits is answered.
                    let refused = LinkAnswer::Refused(Refused {
                        detail: "the agent on the host does not know this request".into(),
                        final_answer: true,
                    });
                    for asker in std::mem::take(&mut *self.requests.borrow_mut()).into_values() {
                        // Whoever asked may have gone.
                        let _ = asker.send(refused.clone());
                    }
                }
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

/// The number of the request that a reply answers, without reading the rest: an agent writes it first.
fn reply_id(body: &[u8]) -> Option<u64> {
    match Fields(body).next()? {
        (1, Value::Number(id)) => Some(id),
        _ => None,
    }
}

/// Would a reply take far more memory read than unread? A job that is told of has ids: one of fewer bytes than that is
/// none, and a frame has room for half a million of them, each worth hundreds of bytes.
fn is_swollen(body: &[u8]) -> bool {
    const REPORT_MIN: usize = 36;
    let inventories = Fields(body).filter_map(|field| match field {
        (2, Value::Bytes(inventory)) => Some(inventory),
        _ => None,
    });
    let reports = inventories.flat_map(Fields).filter(|(number, _)| *number == 5).count();
    reports > 64 + body.len() / REPORT_MIN
}

/// The fields of a protobuf message, as far as it is one.
struct Fields<'a>(&'a [u8]);

enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

impl<'a> Fields<'a> {
    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn take(&mut self, n: u64) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(usize::try_from(n).ok()?)?;
        self.0 = rest;
        Some(taken)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = (u64, Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let key = self.varint()?;
        let value = match key & 7 {
            0 => Value::Number(self.varint()?),
            1 => Value::Bytes(self.take(8)?),
            2 => {
                let n = self.varint()?;
                Value::Bytes(self.take(n)?)
            }
            5 => Value::Bytes(self.take(4)?),
            _ => return None,
        };
        Some((key >> 3, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sessd_proto::messages::{Inventory, JobReport, JobSpec, LinkReply};

    fn body(reply: &LinkReply) -> Vec<u8> {
        prost::Message::encode_to_vec(reply)
    }

    #[allow(clippy::needless_update)] // fields are added
    fn inventory(jobs: Vec<JobReport>) -> LinkReply {
        let inventory = Inventory { boot_id: "b".into(), jobs, ..Inventory::default() };
        LinkReply { id: 300, answer: Some(LinkAnswer::Inventory(inventory)), ..LinkReply::default() }
    }

    #[test]
    fn a_reply_names_its_request_before_it_is_read() {
        assert_eq!(reply_id(&body(&inventory(Vec::new()))), Some(300));
        for broken in [&b""[..], b"\x08", b"\x12\x00", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"] {
            assert_eq!(reply_id(broken), None, "{broken:?}");
        }
    }

    #[test]
    fn an_inventory_that_would_fill_the_memory_is_known_before_it_is_read() {
        let id = || "0198c5a0-0000-7000-8000-000000000000".to_owned();
        let spec = JobSpec { job_id: id(), session_id: id(), ..JobSpec::default() };
        let honest = JobReport { spec: Some(spec), ..JobReport::default() };
        assert!(!is_swollen(&body(&inventory(vec![honest; 5_000]))));
        assert!(is_swollen(&body(&inventory(vec![JobReport::default(); 500_000]))));
    }

    #[tokio::test(flavor = "current_thread")]
    async fn what_a_host_answers_is_cleaned_before_anybody_has_it() {
        const BAD: &str = "careful\u{1b}]0;owned\u{7}\u{202e}\u{9b}";
        let tasks = tokio::task::LocalSet::new();
        let answer = tasks.run_until(async {
            let (ours, theirs) = tokio::io::duplex(1 << 16);
            let (reader, writer) = tokio::io::split(ours);
            let link = Link::new(Sockets::Here);
            tokio::task::spawn_local(link.clone().run(reader, writer, || {}));
            let (from_us, mut to_us) = tokio::io::split(theirs);
            let mut asked = FrameReader::new(from_us);
            tokio::task::spawn_local(async move {
                let mut hello = hello::hello(BAD, "");
                hello.build = BAD.into();
                let mut bytes = Frame::Hello(hello).to_bytes(0);
                while let Ok(Some(frame)) = asked.next().await {
                    let Ok(Frame::LinkRequest(request)) = frame.parse() else { continue };
                    let spawned =
                        sessd_proto::messages::Spawned { warnings: vec![BAD.into()], ..Default::default() };
                    let answer = Some(LinkAnswer::Spawned(spawned));
                    #[allow(clippy::needless_update)] // fields are added
                    let reply = LinkReply { id: request.id, answer, ..LinkReply::default() };
                    bytes.extend(Frame::LinkReply(reply).to_bytes(0));
                    tokio::io::AsyncWriteExt::write_all(&mut to_us, &bytes).await.unwrap();
                    bytes.clear();
                }
            });
            let answer = link.request(LinkAct::Inventory(Default::default())).await;
            (answer.ok(), link.agent_version())
        });
        let (answer, version) = answer.await;
        let Some(LinkAnswer::Spawned(spawned)) = answer else { panic!("an answer") };
        assert_eq!(spawned.warnings, ["careful]0;owned"]);
        assert_eq!(version, "careful]0;owned");
    }

    proptest::proptest! {
        #[test]
        fn whatever_comes_is_gone_through(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            let _ = (reply_id(&bytes), is_swollen(&bytes));
        }
    }
}
