//! One live connection to an agent: requests and their answers, a stream per open job, heartbeats. It is never used again:
//! a new connection is a new link.
//!
//! ```text
//!            greeting                      nothing heard          silence, an end, what no agent does
//!  greeting ─────────▶ live ◀───────────────────────────▶ stalled ─────────────────────────────────▶ ended
//!                        what comes is heard
//! ```
//!
//! A stream has a name that no other ever has, and a number on the wire that is given again. A frame is for the stream that
//! has its number on this link; once the link has ended there is none, whatever still comes out of its connection.
//!
//! A stream may have a connection of its own to its holder's socket, past the agent. Whoever holds its name need not know.

mod late;
mod pages;
mod reply;
#[cfg(test)]
mod tests;

use crate::stream::StreamId;
use crate::untrusted;
use late::{Check, Late};
use pages::Pages;
use sessd_proto::frame::{IGNORABLE, kind};
use sessd_proto::limits::{GIVE_UP_MS, HEARTBEAT_MS, STALLED_MS};
use sessd_proto::messages::{
    Close, CloseReason, LinkAct, LinkAnswer, LinkReply, LinkRequest, Open, Refused, Unsupported,
};
use sessd_proto::{Frame, RawFrame, hello};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// Bytes of one job that may wait for whoever takes them: far above what credit allows, and a snapshot is taken in as fast
/// as it comes. Beyond it the stream is ended, and no other.
pub const QUEUED_MAX: usize = 16 << 20;
/// Bytes of all jobs of one link that may wait: the stream that goes beyond it is ended.
pub const HELD_MAX: usize = 64 << 20;
/// Bytes that may wait to be written: input of all views within their windows, and small frames.
pub const OUT_MAX: usize = 32 << 20;

const STALLED: Duration = Duration::from_millis(STALLED_MS);
const GIVE_UP: Duration = Duration::from_millis(GIVE_UP_MS);
const HEARTBEAT: Duration = Duration::from_millis(HEARTBEAT_MS);
/// The same while somebody waits for an answer: a view is open, or something typed is not acknowledged.
const WATCHED_HEARTBEAT: Duration = Duration::from_secs(1);
/// A heartbeat was not answered within two seconds: views say so, before the link is given up.
const QUIET: Duration = Duration::from_millis(HEARTBEAT_MS + 2_000);
/// An answer to a heartbeat may take this long without a silence being noticed a heartbeat later for it.
const BEAT_SLACK: Duration = Duration::from_secs(1);
/// That a stream's frame is on its way is told no more often than that.
const ARRIVING: Duration = Duration::from_millis(250);
/// How long a link may be silent once it is doubted.
const DOUBTED: Duration = Duration::from_secs(4);
/// Connections past the agent that may fail before the first that is made: a host that does not allow them would write a
/// line into its log for each job.
const BYPASS_TRIES: u32 = 1;
/// The same, in all, on a link on which one was made: it is allowed, and this or that socket is gone.
const BYPASS_FAILURES: u32 = 32;

/// What the ping on a connection of a stream's own carries: the answer means nothing.
const BEAT: u64 = u64::MAX;

/// What is said of a holder that sends more than may wait.
const TOO_MUCH: &str = "the job's holder sends more than it was allowed";

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

/// A frame that owns its bytes.
pub trait Owned {
    /// The frame as it lies in memory.
    fn raw(&self) -> RawFrame<'_>;
}

/// What waits, outside of the machine.
pub trait Load {
    /// Bytes of a stream's frames that were delivered and not gone through yet.
    fn of_stream(&self, stream: StreamId) -> usize;
    /// Bytes of all frames that came over the link and are kept anywhere.
    fn of_link(&self) -> usize;
    /// Bytes that wait to be sent to the agent.
    fn to_send(&self) -> usize;
}

/// What happened.
pub enum Event<'a, F> {
    /// The agent sent a frame.
    Frame(F, &'a dyn Load),
    /// A frame came over a stream's own connection.
    OwnFrame(StreamId, F, &'a dyn Load),
    /// Bytes of a frame came that is not whole yet: under this number, or 0.
    Part(u16),
    /// The same over a stream's own connection.
    OwnPart(StreamId),
    /// A stream's own connection ended, and why.
    OwnEnded(StreamId, String),
    /// Somebody asks the agent, under a number that was not used on this link.
    Request(u64, Box<LinkAct>),
    /// A stream is opened to the holder of this job.
    Open(StreamId, String),
    /// A stream has a connection of its own to its holder's socket.
    Joined(StreamId),
    /// Such a connection could not be made.
    NotJoined,
    /// A stream is closed on our side.
    Close(StreamId),
    /// A view is open on a session of it, or none is.
    Watched(bool),
    /// Something was sent on a stream that its holder answers.
    Typed,
    /// The connection may be dead, after this machine slept or because somebody waits: what is not heard soon is not there.
    Doubt,
    /// It is ended on purpose.
    HangUp,
    /// The connection ended.
    Ended(LinkEnd),
    /// Time has passed.
    Tick,
}

/// What is to be done, in this order.
#[derive(Debug, PartialEq)]
pub enum Effect<F> {
    /// Send these bytes to the agent.
    Send(Vec<u8>),
    /// Send these bytes over a stream's own connection.
    SendOwn(StreamId, Vec<u8>),
    /// Send these bytes over a stream's own connection if nothing else waits there.
    Beat(StreamId, Vec<u8>),
    /// A frame of a stream's holder.
    Deliver(StreamId, F),
    /// A frame of a stream's holder is on its way. A slow line takes seconds for one: told now and then.
    Arriving(StreamId),
    /// The stream was ended here, as if its holder had.
    Closed(StreamId, Close),
    /// The agent's answer to a request.
    Answer(u64, LinkAnswer),
    /// The request will have no answer: the link has ended.
    Unanswered(u64),
    /// A stream's own connection is not needed any more: write what waits, and close it.
    Disconnect(StreamId),
    /// It is later than it should be, or that is over.
    Changed,
    /// The link has ended: write what waits, unless the connection is gone, and close it.
    End(LinkEnd),
}

/// Where what is sent on a stream goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// To the agent, under this number.
    Agent(u16),
    /// Over the stream's own connection.
    Own,
}

/// One link. Times are by a clock that never goes back, from any moment on.
#[derive(Debug)]
pub struct Link<F> {
    version: &'static str,
    streams: BTreeMap<StreamId, Route>,
    numbers: BTreeMap<u16, StreamId>,
    /// When it was told last that a frame of a stream is on its way.
    arriving: BTreeMap<StreamId, Duration>,
    next_number: u16,
    requests: BTreeSet<u64>,
    pages: Pages,
    /// The agent's version, once it greeted.
    agent_version: Option<String>,
    heard: Duration,
    stalled: bool,
    /// Whoever listens was told that it is late.
    quiet: bool,
    /// Something happened after which silence is soon the end, and nothing was heard since.
    doubted: Option<Duration>,
    beat_at: Duration,
    /// When the holders behind connections of their own hear the next heartbeat.
    own_beat_at: Duration,
    watched: bool,
    late: Late,
    rtt: Option<Duration>,
    /// Connections past the agent that were made, and that were not.
    joined: u32,
    not_joined: u32,
    ended: bool,
    effects: VecDeque<Effect<F>>,
}

impl<F: Owned> Link<F> {
    /// A link whose connection is there. `version`: what we call ourselves.
    pub fn new(now: Duration, version: &'static str) -> Self {
        let mut link = Self {
            version,
            streams: BTreeMap::new(),
            numbers: BTreeMap::new(),
            arriving: BTreeMap::new(),
            next_number: 1,
            requests: BTreeSet::new(),
            pages: Pages::default(),
            agent_version: None,
            heard: now,
            stalled: false,
            quiet: false,
            doubted: None,
            beat_at: now,
            own_beat_at: now,
            watched: false,
            late: Late::default(),
            rtt: None,
            joined: 0,
            not_joined: 0,
            ended: false,
            effects: VecDeque::new(),
        };
        link.send(0, &Frame::Hello(hello::hello(version, "")));
        link
    }

    /// The next thing to do, until there is none.
    pub fn poll(&mut self) -> Option<Effect<F>> {
        self.effects.pop_front()
    }

    /// When to send a [`Event::Tick`]. What comes meanwhile may make it later, but for a [`Event::Doubt`].
    pub fn deadline(&self) -> Option<Duration> {
        if self.ended {
            return None;
        }
        let given_up = (self.heard + GIVE_UP).saturating_sub(BEAT_SLACK);
        let stalls = (!self.stalled).then(|| (self.heard + STALLED).saturating_sub(BEAT_SLACK));
        let quiet = (!self.quiet).then_some(self.heard + QUIET);
        let doubted = self.doubted.map(|since| since + DOUBTED);
        let late = self.late.deadline(self.heard);
        [Some(given_up), stalls, quiet, doubted, late, Some(self.beat_at)].into_iter().flatten().min()
    }

    /// Where what is sent on a stream goes; `None`: it is over.
    pub fn route(&self, stream: StreamId) -> Option<Route> {
        self.streams.get(&stream).copied()
    }

    /// Has it ended?
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// Is a connection past the agent worth a try?
    pub fn may_bypass(&self) -> bool {
        let most = if self.joined == 0 { BYPASS_TRIES } else { BYPASS_FAILURES };
        !self.ended && self.not_joined < most
    }

    /// Has nothing come for longer than a heartbeat allows? By the clock and not by the last tick.
    pub fn is_stalled(&self, now: Duration) -> bool {
        self.stalled || now.saturating_sub(self.heard) >= STALLED
    }

    /// Is an answer late that somebody waits for?
    pub fn is_late(&self) -> bool {
        self.late.is_late()
    }

    /// How long it has been silent, once that is longer than an answer to a heartbeat takes.
    pub fn quiet(&self, now: Duration) -> Option<Duration> {
        let silent = now.saturating_sub(self.heard);
        (self.stalled || silent >= QUIET).then_some(silent)
    }

    /// When anything was heard of it last.
    pub fn heard(&self) -> Duration {
        self.heard
    }

    /// Round trip by the last heartbeat.
    pub fn rtt(&self) -> Option<Duration> {
        self.rtt
    }

    /// The agent's version, once it greeted.
    pub fn agent_version(&self) -> &str {
        self.agent_version.as_deref().unwrap_or_default()
    }

    /// Takes in what happened at `now`.
    pub fn handle(&mut self, now: Duration, event: Event<'_, F>) {
        if self.ended {
            if let Event::Request(number, _) = event {
                self.effects.push_back(Effect::Unanswered(number));
            }
            return;
        }
        match event {
            Event::Frame(frame, load) => {
                self.hear(now);
                if let Err(end) = self.frame(now, frame, load) {
                    self.end(end);
                }
            }
            Event::Part(number) => {
                self.hear(now);
                if let Some(stream) = self.numbers.get(&number).copied() {
                    self.arriving(now, stream);
                }
            }
            Event::OwnPart(stream) => {
                self.hear_own(now);
                if self.route(stream) == Some(Route::Own) {
                    self.arriving(now, stream);
                }
            }
            Event::OwnFrame(stream, frame, load) => {
                self.hear_own(now);
                if self.route(stream) != Some(Route::Own) {
                    return;
                }
                if load.of_stream(stream) > QUEUED_MAX {
                    return self.end_stream(stream, CloseReason::HolderUnreachable, TOO_MUCH.to_owned());
                }
                self.effects.push_back(Effect::Deliver(stream, frame));
            }
            Event::OwnEnded(stream, why) => self.end_stream(stream, CloseReason::HolderUnreachable, why),
            Event::Request(number, act) => self.request(number, *act),
            Event::Open(stream, job_id) => self.open(stream, job_id),
            Event::Joined(stream) => {
                self.joined = self.joined.saturating_add(1);
                self.streams.insert(stream, Route::Own);
                let greeting = Frame::Hello(hello::hello(self.version, ""));
                self.effects.push_back(Effect::SendOwn(stream, greeting.to_bytes(0)));
            }
            Event::NotJoined => self.not_joined = self.not_joined.saturating_add(1),
            Event::Close(stream) => self.close(stream),
            Event::Watched(watched) => {
                if watched && !self.watched {
                    self.beat_at = self.beat_at.min(now + WATCHED_HEARTBEAT);
                }
                self.watched = watched;
            }
            Event::Typed => {
                self.late.sent(now, false);
                self.beat_at = self.beat_at.min(now + WATCHED_HEARTBEAT);
            }
            Event::Doubt => {
                self.stalled = true;
                self.doubted = Some(now);
                self.own_beat_at = now;
                self.beat(now);
                self.late.sent(now, true);
            }
            Event::HangUp => self.end(LinkEnd::Lost("it was hung up".into())),
            Event::Ended(end) => self.end(end),
            Event::Tick => self.tick(now),
        }
    }

    fn send(&mut self, number: u16, frame: &Frame<'_>) {
        self.effects.push_back(Effect::Send(frame.to_bytes(number)));
    }

    fn end(&mut self, end: LinkEnd) {
        self.ended = true;
        for stream in std::mem::take(&mut self.streams) {
            if stream.1 == Route::Own {
                self.effects.push_back(Effect::Disconnect(stream.0));
            }
        }
        self.numbers.clear();
        self.arriving.clear();
        for number in std::mem::take(&mut self.requests) {
            self.effects.push_back(Effect::Unanswered(number));
        }
        self.effects.push_back(Effect::End(end));
    }

    fn request(&mut self, number: u64, act: LinkAct) {
        let mut bytes = Vec::new();
        if Frame::LinkRequest(LinkRequest { id: number, act: Some(act) }).try_put(0, &mut bytes) {
            self.requests.insert(number);
            self.effects.push_back(Effect::Send(bytes));
        } else {
            // Of a record that was made before there was a bound: nothing was sent, and nothing else suffers for it.
            let detail = "what makes the job is longer than a host takes (1 MiB)".to_owned();
            let refused = LinkAnswer::Refused(Refused { detail, final_answer: true, exit_code: None });
            self.effects.push_back(Effect::Answer(number, refused));
        }
    }

    fn open(&mut self, stream: StreamId, job_id: String) {
        let free = (0..=u16::MAX)
            .map(|n| self.next_number.wrapping_add(n))
            .find(|n| *n != 0 && !self.numbers.contains_key(n));
        let Some(number) = free else {
            let detail = "the link has no room for another job".to_owned();
            return self.effects.push_back(Effect::Closed(stream, closed(CloseReason::Unspecified, detail)));
        };
        self.next_number = number.wrapping_add(1);
        self.numbers.insert(number, stream);
        self.streams.insert(stream, Route::Agent(number));
        let mut bytes = Frame::Open(Open { job_id }).to_bytes(number);
        Frame::Hello(hello::hello(self.version, "")).put(number, &mut bytes);
        self.effects.push_back(Effect::Send(bytes));
    }

    /// A stream is over: whatever comes under its number is not its own any more.
    fn forget(&mut self, stream: StreamId) -> Option<Route> {
        let route = self.streams.remove(&stream)?;
        self.arriving.remove(&stream);
        if let Route::Agent(number) = route {
            self.numbers.remove(&number);
        }
        Some(route)
    }

    fn close(&mut self, stream: StreamId) {
        match self.forget(stream) {
            Some(Route::Agent(number)) => {
                self.send(number, &Frame::Close(closed(CloseReason::Leaving, String::new())));
            }
            Some(Route::Own) => self.effects.push_back(Effect::Disconnect(stream)),
            None => {}
        }
    }

    fn end_stream(&mut self, stream: StreamId, reason: CloseReason, detail: String) {
        if self.route(stream).is_some() {
            self.close(stream);
            self.effects.push_back(Effect::Closed(stream, closed(reason, detail)));
        }
    }

    fn hear(&mut self, now: Duration) {
        self.heard = now;
        self.doubted = None;
        let late = self.late.heard(now);
        if std::mem::take(&mut self.stalled) | std::mem::take(&mut self.quiet) | late {
            self.effects.push_back(Effect::Changed);
        }
    }

    /// The host is there, though it may be that its agent is not.
    fn hear_own(&mut self, now: Duration) {
        self.heard = now;
        if self.late.heard(now) {
            self.effects.push_back(Effect::Changed);
        }
    }

    fn arriving(&mut self, now: Duration, stream: StreamId) {
        if self.arriving.get(&stream).is_none_or(|at| now >= *at + ARRIVING) {
            self.arriving.insert(stream, now);
            self.effects.push_back(Effect::Arriving(stream));
        }
    }

    fn beat(&mut self, now: Duration) {
        self.send(0, &Frame::Ping(now.as_micros() as u64));
        if now < self.own_beat_at {
            return;
        }
        self.own_beat_at = now + HEARTBEAT;
        // The holders behind connections of their own hear only this of us while nothing is typed. What waits for one that
        // takes nothing says the same, and must not grow for as long as it stands still.
        let own: Vec<_> =
            self.streams.iter().filter(|(_, route)| **route == Route::Own).map(|(s, _)| *s).collect();
        for stream in own {
            self.effects.push_back(Effect::Beat(stream, Frame::Ping(BEAT).to_bytes(0)));
        }
    }

    fn tick(&mut self, now: Duration) {
        // What was heard came just after a beat, so that a silence looks a little short at a later one.
        let silent = now.saturating_sub(self.heard) + BEAT_SLACK;
        if silent >= GIVE_UP || self.doubted.is_some_and(|since| now.saturating_sub(since) >= DOUBTED) {
            return self.end(LinkEnd::Lost("nothing was heard from it".into()));
        }
        let stalls = silent >= STALLED && !std::mem::replace(&mut self.stalled, true);
        let quiet = self.quiet(now).is_some() && !std::mem::replace(&mut self.quiet, true);
        if stalls || quiet {
            self.effects.push_back(Effect::Changed);
        }
        match self.late.check(now, self.heard) {
            Check::Ask => self.send(0, &Frame::Ping(now.as_micros() as u64)),
            Check::Late => self.effects.push_back(Effect::Changed),
            Check::Nothing => {}
        }
        if now >= self.beat_at {
            let waited_for = self.watched || self.late.waits();
            self.beat_at = now + if waited_for { WATCHED_HEARTBEAT } else { HEARTBEAT };
            self.beat(now);
            if waited_for {
                self.late.sent(now, true);
            }
        }
    }

    fn frame(&mut self, now: Duration, frame: F, load: &dyn Load) -> Result<(), LinkEnd> {
        let raw = frame.raw();
        if raw.stream == 0 {
            return self.frame_of_the_link(now, raw, load);
        }
        let (number, is_close) = (raw.stream, raw.kind == kind::CLOSE);
        let Some(stream) = self.numbers.get(&number).copied() else { return Ok(()) };
        if is_close {
            self.forget(stream);
        } else if load.of_stream(stream) > QUEUED_MAX || load.of_link() > HELD_MAX {
            self.end_stream(stream, CloseReason::Protocol, TOO_MUCH.to_owned());
            return Ok(());
        }
        self.effects.push_back(Effect::Deliver(stream, frame));
        Ok(())
    }

    /// What is for the link itself.
    fn frame_of_the_link(
        &mut self,
        now: Duration,
        raw: RawFrame<'_>,
        load: &dyn Load,
    ) -> Result<(), LinkEnd> {
        let unusable = |what: String| Err(LinkEnd::Unusable(what));
        if self.agent_version.is_none() && raw.kind != kind::HELLO {
            return unusable("it does not speak our protocol: its first words are no greeting".into());
        }
        if load.to_send() > OUT_MAX {
            return unusable("it asks and does not listen".into());
        }
        if raw.kind == kind::LINK_REPLY {
            // An answer that nobody waits for is not worth being read, and it may be a large one.
            if reply::reply_id(raw.body).is_none_or(|id| !self.requests.contains(&id)) {
                return Ok(());
            }
            if reply::is_swollen(raw.body) {
                return unusable("it lists jobs of which it says nothing".into());
            }
        }
        match raw.parse().map(untrusted::frame) {
            Ok(Frame::Hello(theirs)) => {
                if let Err(skew) = hello::negotiate(&theirs) {
                    return Err(LinkEnd::Skew(skew.to_string()));
                }
                let version = if theirs.version.is_empty() { "unknown".to_owned() } else { theirs.version };
                self.agent_version = Some(version);
            }
            Ok(Frame::Ping(token)) => self.send(0, &Frame::Pong(token)),
            Ok(Frame::Pong(token)) => {
                let rtt = now.saturating_sub(Duration::from_micros(token));
                self.late.answered(now, rtt);
                self.rtt = Some(rtt);
            }
            Ok(Frame::LinkReply(reply)) => return self.reply(reply, raw.body.len()),
            Ok(Frame::Close(close)) => return unusable(close.detail),
            Ok(Frame::Unsupported(what)) if what.kind == u32::from(kind::LINK_REQUEST) => {
                // Which one it means it does not say: whoever waits is answered.
                let detail = "the agent on the host does not know this request".to_owned();
                let refused = LinkAnswer::Refused(Refused { detail, final_answer: true, exit_code: None });
                for number in std::mem::take(&mut self.requests) {
                    self.effects.push_back(Effect::Answer(number, refused.clone()));
                }
            }
            Ok(Frame::Unknown(kind)) if kind & IGNORABLE == 0 => {
                self.send(0, &Frame::Unsupported(Unsupported { kind: kind.into() }));
            }
            Ok(_) => {}
            Err(invalid) => return unusable(format!("it does not speak our protocol: {invalid}")),
        }
        Ok(())
    }

    fn reply(&mut self, mut reply: LinkReply, bytes: usize) -> Result<(), LinkEnd> {
        if !self.requests.contains(&reply.id) {
            return Ok(());
        }
        if !self.pages.put(&mut reply, bytes) {
            return Err(LinkEnd::Unusable("its list of jobs has no end".into()));
        }
        if !reply.more
            && let Some(answer) = reply.answer
        {
            self.requests.remove(&reply.id);
            let whole = self.pages.whole(reply.id, answer);
            self.effects.push_back(Effect::Answer(reply.id, whole));
        }
        Ok(())
    }
}

fn closed(reason: CloseReason, detail: String) -> Close {
    Close { reason: reason as i32, detail }
}
