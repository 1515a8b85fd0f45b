//! A link's shell: what carries out what [`sessd_core::link`] decides, over any byte stream. It reads, writes and watches
//! the clock, and decides nothing.

use crate::traffic::Traffic;
use crate::wire::{Came, FrameReader, Held, OutQueue, OwnedFrame};
use sessd_core::link::{Effect, Event, Load, Owned, Route};
use sessd_core::stream::{StreamId, StreamIds};
use sessd_proto::frame::kind;
use sessd_proto::messages::{LinkAct, LinkAnswer};
use sessd_proto::{Frame, RawFrame};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::pin::Pin;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinSet;

pub use sessd_core::link::LinkEnd;

/// How long what waits may take to be written once a link is ended on purpose.
const LAST_WRITES: Duration = Duration::from_secs(2);

/// A request that got no answer, because the link ended first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoAnswer;

/// Whoever takes the frames of a stream.
pub trait FrameSink: std::fmt::Debug {
    /// Takes one.
    fn deliver(&self, stream: StreamId, frame: OwnedFrame);
    /// Hears that one is on its way.
    fn arriving(&self, _: StreamId) {}
    /// Bytes of frames that it was given and has not gone through.
    fn backlog(&self) -> usize;
}

/// The two directions of a byte stream.
pub type Pipe = (Box<dyn AsyncRead + Unpin>, Box<dyn AsyncWrite + Unpin>);

/// How one connects to a unix socket on the host.
pub trait Sockets: std::fmt::Debug {
    /// Connects. An error says why not, and nothing about who listens there.
    fn open<'a>(&'a self, path: &'a str) -> Pin<Box<dyn Future<Output = Result<Pipe, String>> + 'a>>;
}

impl Owned for OwnedFrame {
    fn raw(&self) -> RawFrame<'_> {
        Self::raw(self)
    }
}

/// What there is of a stream on this side.
#[derive(Debug)]
struct StreamEnd {
    sink: Rc<dyn FrameSink>,
    /// What goes out over its own connection, if it has one.
    own: Option<OutQueue>,
}

/// A live link.
#[derive(Debug)]
pub struct Link {
    machine: RefCell<sessd_core::link::Link<OwnedFrame>>,
    /// Where its clock begins.
    began: Instant,
    /// Its deadline may be nearer than it was.
    hurry: Notify,
    out: OutQueue,
    streams: RefCell<HashMap<StreamId, StreamEnd>>,
    ids: Rc<StreamIds>,
    /// The way to holders' sockets; gone with the link.
    sockets: RefCell<Option<Rc<dyn Sockets>>>,
    /// Readers and writers of streams' own connections.
    own: RefCell<JoinSet<()>>,
    /// An answer may be late on the way.
    is_far: bool,
    requests: RefCell<HashMap<u64, oneshot::Sender<LinkAnswer>>>,
    asked: Cell<u64>,
    /// Memory that frames of the link hold.
    held: Held,
    /// What goes over it, and over its streams' own connections.
    traffic: Traffic,
    changed: Notify,
    /// Why it ended; whoever runs it takes that.
    end: RefCell<Option<LinkEnd>>,
    ended: Notify,
    hung_up: Cell<bool>,
}

impl Load for Link {
    fn of_stream(&self, stream: StreamId) -> usize {
        self.streams.borrow().get(&stream).map_or(0, |stream| stream.sink.backlog())
    }

    fn of_link(&self) -> usize {
        self.held.bytes()
    }

    fn to_send(&self) -> usize {
        self.out.len()
    }
}

impl Link {
    /// A link about to run. What it sends waits until then. `is_far`: an answer may be late on the way. `traffic`: where its
    /// bytes are counted.
    pub fn new(sockets: Rc<dyn Sockets>, ids: Rc<StreamIds>, is_far: bool, traffic: Traffic) -> Rc<Self> {
        let link = Rc::new(Self {
            machine: RefCell::new(sessd_core::link::Link::new(Duration::ZERO, env!("CARGO_PKG_VERSION"))),
            began: Instant::now(),
            hurry: Notify::new(),
            out: OutQueue::new(),
            streams: RefCell::default(),
            ids,
            sockets: RefCell::new(Some(sockets)),
            own: RefCell::default(),
            is_far,
            requests: RefCell::default(),
            asked: Cell::new(0),
            held: Held::default(),
            traffic,
            changed: Notify::new(),
            end: RefCell::default(),
            ended: Notify::new(),
            hung_up: Cell::new(false),
        });
        link.carry_out();
        link
    }

    fn handle(&self, event: Event<'_, OwnedFrame>) {
        self.machine.borrow_mut().handle(self.began.elapsed(), event);
        self.carry_out();
    }

    fn carry_out(&self) {
        loop {
            // Whoever is told may ask something at once.
            let Some(effect) = self.machine.borrow_mut().poll() else { return };
            match effect {
                Effect::Send(bytes) => self.out.with(|out| out.extend_from_slice(&bytes)),
                Effect::SendOwn(stream, bytes) => {
                    if let Some(own) = self.own_queue(stream) {
                        own.with(|out| out.extend_from_slice(&bytes));
                    }
                }
                Effect::Beat(stream, bytes) => {
                    if let Some(own) = self.own_queue(stream).filter(OutQueue::is_empty) {
                        own.with(|out| out.extend_from_slice(&bytes));
                    }
                }
                Effect::Deliver(stream, frame) => {
                    if let Some(sink) = self.sink(stream) {
                        sink.deliver(stream, frame);
                    }
                    self.let_go_of(stream);
                }
                Effect::Arriving(stream) => {
                    if let Some(sink) = self.sink(stream) {
                        sink.arriving(stream);
                    }
                }
                Effect::Closed(stream, close) => {
                    if let Some(sink) = self.sink(stream) {
                        sink.deliver(stream, OwnedFrame::own(0, &Frame::Close(close)));
                    }
                    self.let_go_of(stream);
                }
                Effect::Answer(number, answer) => {
                    if let Some(asker) = self.requests.borrow_mut().remove(&number) {
                        // Whoever asked may have gone.
                        let _ = asker.send(answer);
                    }
                }
                Effect::Unanswered(number) => drop(self.requests.borrow_mut().remove(&number)),
                Effect::Disconnect(stream) => {
                    if let Some(own) = self.own_queue(stream) {
                        own.close();
                    }
                }
                Effect::Changed => self.changed.notify_one(),
                Effect::End(end) => {
                    self.out.close();
                    *self.end.borrow_mut() = Some(end);
                    self.ended.notify_one();
                }
            }
        }
    }

    fn own_queue(&self, stream: StreamId) -> Option<OutQueue> {
        self.streams.borrow().get(&stream).and_then(|stream| stream.own.clone())
    }

    fn sink(&self, stream: StreamId) -> Option<Rc<dyn FrameSink>> {
        self.streams.borrow().get(&stream).map(|stream| stream.sink.clone())
    }

    fn route(&self, stream: StreamId) -> Option<Route> {
        self.machine.borrow().route(stream)
    }

    /// Streams that are over have no part here any more.
    fn let_go_of(&self, stream: StreamId) {
        if self.route(stream).is_none() {
            self.streams.borrow_mut().remove(&stream);
        }
    }

    /// Asks the agent. The answer comes, or the link ends.
    pub async fn request(&self, act: LinkAct) -> Result<LinkAnswer, NoAnswer> {
        let number = self.asked.get() + 1;
        self.asked.set(number);
        let (sender, answer) = oneshot::channel();
        self.requests.borrow_mut().insert(number, sender);
        self.handle(Event::Request(number, Box::new(act)));
        answer.await.map_err(|_| NoAnswer)
    }

    /// Opens a stream to a job's holder; its frames go to `sink`. `None` when the link has no room for it or has ended.
    pub fn open(&self, job_id: String, sink: Rc<dyn FrameSink>) -> Option<StreamId> {
        let id = self.ids.next();
        self.streams.borrow_mut().insert(id, StreamEnd { sink, own: None });
        self.handle(Event::Open(id, job_id));
        self.let_go_of(id);
        self.route(id).map(|_| id)
    }

    /// Opens a stream to the holder that listens on `path`, past the agent. `None` where that cannot be.
    pub async fn open_bypass(self: &Rc<Self>, path: &str, sink: Rc<dyn FrameSink>) -> Option<StreamId> {
        let sockets = self.sockets.borrow().clone().filter(|_| self.machine.borrow().may_bypass())?;
        let (reader, writer) = match sockets.open(path).await {
            Ok(pipe) => pipe,
            Err(error) => {
                tracing::debug!(error, "a job has no connection of its own");
                self.handle(Event::NotJoined);
                return None;
            }
        };
        let (id, own) = (self.ids.next(), OutQueue::new());
        self.streams.borrow_mut().insert(id, StreamEnd { sink, own: Some(own.clone()) });
        self.handle(Event::Joined(id));
        self.let_go_of(id);
        self.route(id)?;
        let (reader, writer) = (self.traffic.counts(reader), self.traffic.counts(writer));
        let link = self.clone();
        let mut tasks = self.own.borrow_mut();
        // Those that have ended.
        while tasks.try_join_next().is_some() {}
        tasks.spawn_local(async move { link.read_own(id, FrameReader::new(reader)).await });
        // A holder that takes no more closes; the reader tells.
        tasks.spawn_local(async move { drop(own.drive(writer).await) });
        Some(id)
    }

    async fn read_own(&self, id: StreamId, mut reader: FrameReader<impl AsyncRead + Unpin>) {
        let why = loop {
            match reader.came().await {
                Ok(Came::Frame(frame)) => self.handle(Event::OwnFrame(id, frame, self)),
                Ok(Came::Part(_)) => self.handle(Event::OwnPart(id)),
                Ok(Came::End) => break "the job's holder closed the connection".to_owned(),
                Err(error) => break error.to_string(),
            }
            if self.route(id).is_none() {
                break String::new();
            }
        };
        self.handle(Event::OwnEnded(id, why));
        self.let_go_of(id);
    }

    /// Sends a frame on a stream; on one that is over, nothing.
    pub fn send(&self, stream: StreamId, frame: &Frame<'_>) {
        match self.route(stream) {
            Some(Route::Agent(number)) => self.out.put(number, frame),
            Some(Route::Own) => {
                if let Some(own) = self.own_queue(stream) {
                    own.put(0, frame);
                }
            }
            None => {}
        }
    }

    /// Passes a frame on as it is, but for the number of its stream.
    pub fn relay(&self, stream: StreamId, frame: RawFrame<'_>) {
        match self.route(stream) {
            Some(Route::Agent(number)) => self.out.with(|out| frame.relay(number, out)),
            Some(Route::Own) => {
                if let Some(own) = self.own_queue(stream) {
                    own.with(|out| frame.relay(0, out));
                }
            }
            None => {}
        }
        // Its answer is waited for once it is on its way.
        if self.is_far && frame.kind == kind::INPUT {
            self.hastens(Event::Typed);
        }
    }

    /// Where what is sent on a stream waits.
    pub fn queue_of(&self, stream: StreamId) -> OutQueue {
        self.own_queue(stream).unwrap_or_else(|| self.out.clone())
    }

    /// Closes a stream.
    pub fn close_stream(&self, stream: StreamId) {
        self.handle(Event::Close(stream));
        self.let_go_of(stream);
    }

    /// Ends the link on purpose.
    pub fn hang_up(&self) {
        self.hung_up.set(true);
        self.handle(Event::HangUp);
    }

    /// Round trip by the last heartbeat, in milliseconds.
    pub fn rtt_ms(&self) -> Option<f64> {
        self.machine.borrow().rtt().map(|rtt| rtt.as_micros() as f64 / 1000.0)
    }

    /// Has nothing come for longer than a heartbeat allows? By the clock and not by the last look at it: whoever asks now
    /// gets what is so now.
    pub fn is_stalled(&self) -> bool {
        self.machine.borrow().is_stalled(self.began.elapsed())
    }

    /// When anything was heard of it last.
    pub fn heard(&self) -> Instant {
        self.began + self.machine.borrow().heard()
    }

    /// How long it has been silent, once that is longer than an answer to a heartbeat takes.
    pub fn quiet_ms(&self) -> Option<u64> {
        self.machine.borrow().quiet(self.began.elapsed()).map(|silent| silent.as_millis() as u64)
    }

    /// Is an answer late that somebody waits for?
    pub fn is_late(&self) -> bool {
        self.machine.borrow().is_late()
    }

    /// Somebody looks at a session of it, or nobody does.
    pub fn watched(&self, watched: bool) {
        if self.is_far {
            self.hastens(Event::Watched(watched));
        }
    }

    /// What makes the deadline nearer.
    fn hastens(&self, event: Event<'_, OwnedFrame>) {
        let before = self.machine.borrow().deadline();
        self.handle(event);
        if self.machine.borrow().deadline() < before {
            self.hurry.notify_one();
        }
    }

    /// The machine slept, or somebody waits: the connection may be long dead. Until something is heard it is stalled, and
    /// what is not heard soon is not there.
    pub fn doubt(&self) {
        self.handle(Event::Doubt);
        self.hurry.notify_one();
    }

    /// Runs the link over `reader` and `writer` until it ends. `changed` is told when it stalls or recovers.
    ///
    /// Reading, writing and watching are tasks of their own: a key that goes out does not look whether something came in.
    pub async fn run(
        self: Rc<Self>,
        reader: impl AsyncRead + Unpin + 'static,
        writer: impl AsyncWrite + Unpin + 'static,
        changed: impl Fn() + 'static,
    ) -> LinkEnd {
        let (reader, writer) = (self.traffic.counts(reader), self.traffic.counts(writer));
        let mut parts = JoinSet::new();
        let link = self.clone();
        parts.spawn_local(async move { link.read(FrameReader::counted(reader, link.held.clone())).await });
        let link = self.clone();
        parts.spawn_local(async move {
            loop {
                link.changed.notified().await;
                changed();
            }
        });
        let link = self.clone();
        parts.spawn_local(async move { link.watch().await });
        let out = self.out.clone();
        let mut writing = JoinSet::new();
        writing.spawn_local(async move { out.drive(writer).await });
        tokio::select! {
            () = self.ended.notified() => {}
            Some(part) = parts.join_next() => {
                // A bug of ours, and the end of this link only.
                let end = part.err().map_or_else(String::new, |error| format!(" ({error})"));
                self.handle(Event::Ended(LinkEnd::Lost(format!("its task came to a bad end{end}"))));
            }
            written = writing.join_next() => {
                let end = match written {
                    Some(Ok(Err(error))) => error.to_string(),
                    Some(Err(error)) => format!("its task came to a bad end ({error})"),
                    _ => "it was hung up".to_owned(),
                };
                self.handle(Event::Ended(LinkEnd::Lost(end)));
            }
        }
        if self.hung_up.get() {
            // What comes meanwhile is for nobody.
            let _ = tokio::time::timeout(LAST_WRITES, writing.join_next()).await;
        }
        // Whoever looks from here on sees that it is over: none of its parts hears or sends any more.
        parts.shutdown().await;
        self.requests.borrow_mut().clear();
        self.streams.borrow_mut().clear();
        self.own.borrow_mut().abort_all();
        *self.sockets.borrow_mut() = None;
        self.end.borrow_mut().take().unwrap_or_else(|| LinkEnd::Lost("it was hung up".into()))
    }

    async fn watch(&self) {
        loop {
            let deadline = self.machine.borrow().deadline();
            let Some(deadline) = deadline else { return std::future::pending().await };
            tokio::select! {
                () = tokio::time::sleep_until((self.began + deadline).into()) => self.handle(Event::Tick),
                () = self.hurry.notified() => {}
            }
        }
    }

    async fn read(&self, mut reader: FrameReader<impl AsyncRead + Unpin>) {
        let end = loop {
            match reader.came().await {
                Ok(Came::Frame(frame)) => self.handle(Event::Frame(frame, self)),
                Ok(Came::Part(number)) => self.handle(Event::Part(number)),
                Ok(Came::End) => break LinkEnd::Lost("the agent's end closed".into()),
                Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                    break LinkEnd::Unusable(format!("it does not speak our protocol: {error}"));
                }
                Err(error) => break LinkEnd::Lost(error.to_string()),
            }
        };
        self.handle(Event::Ended(end));
        std::future::pending().await
    }
}
