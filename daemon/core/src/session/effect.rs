//! What a session's machine is told, and what it wants done: the whole of what it has to do with the world.

use super::phase::Removed;
use crate::last_screen::Screen;
use crate::reconcile::Seen;
use crate::record::Record;
use crate::stream::StreamId;
use crate::views::{Connections, View};
use sessd_proto::docs::{Error, Result, SizePolicy, ViewDoc};
use sessd_proto::frame::IGNORABLE;
use sessd_proto::header::Header;
use sessd_proto::messages::{self as m, LinkAct, LinkAnswer};
use sessd_proto::{Frame, RawFrame, Uuid};
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

/// The time, by two clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Now {
    /// Milliseconds by a clock that nobody sets, since whatever moment; the same for all that the machine is told.
    pub steady_ms: u64,
    /// Milliseconds since the epoch, by this machine's wall clock.
    pub wall_ms: i64,
}

/// Whoever asked and waits, by a number that the machine's driver gave them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Asker(pub u64);

impl Asker {
    /// Nobody waits for the answer.
    pub const NOBODY: Self = Self(u64::MAX);
}

/// One write, by a number of the machine's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WriteId(pub u64);

/// What a session on this machine has from whoever asks for it. It is in no record.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Caller {
    /// Its environment.
    pub environment: HashMap<String, String>,
    /// Umask, priority and limits.
    pub inherited: Option<m::Inherited>,
}

/// Where the link to a session's host stands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HostState {
    /// As far as dialling goes.
    pub stage: HostStage,
    /// When anything was heard of it last, by the steady clock; none: no longer ago than a link that is well may be silent.
    pub silent_since_ms: Option<u64>,
}

/// Where dialling a host stands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum HostStage {
    /// Nobody needs it.
    #[default]
    Dormant,
    /// Being dialled.
    Connecting,
    /// Live, or stalled.
    Up {
        /// It is silent for longer than a link may be, or the machine has slept since it was heard.
        stalled: bool,
    },
    /// Dialled again at that time, milliseconds since the epoch.
    Down {
        /// When.
        next_try_ms: i64,
        /// Why.
        why: Error,
    },
    /// Not dialled again without a person.
    NeedsPerson(Error),
    /// Not dialled again until somebody wants it: a person said so.
    Disconnected(Error),
}

impl HostState {
    /// Why the link is not up, if that is known.
    pub fn why(&self) -> Option<&Error> {
        match &self.stage {
            HostStage::Down { why, .. } | HostStage::NeedsPerson(why) | HostStage::Disconnected(why) => {
                Some(why)
            }
            HostStage::Dormant | HostStage::Connecting | HostStage::Up { .. } => None,
        }
    }

    /// Is there a link, be it silent?
    pub fn is_up(&self) -> bool {
        matches!(self.stage, HostStage::Up { .. })
    }
}

/// What was asked of the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AgentRequest {
    /// To start the job.
    Spawn,
    /// To end the job.
    End,
    /// To remove what is left of the job.
    Forget,
    /// For the last screen of the job.
    Screen,
}

/// What happened.
#[derive(Debug)]
pub enum Event<'a> {
    /// Where the link to the host stands is another.
    Host(HostState),
    /// A link is up; this is what the host knows. Whatever stream there was is none of this link's.
    LinkUp(Rc<Seen>),
    /// A later look of the same link.
    Probed(Rc<Seen>),
    /// The answer to [`Effect::Open`]; none: the link has no room or is gone.
    Opened(Option<StreamId>),
    /// A stream of the job's own is there, beside that one.
    Bypass {
        /// It was asked for beside this one.
        from: StreamId,
        /// The new one.
        to: StreamId,
    },
    /// A frame of the job's holder.
    Holder {
        /// On this stream.
        stream: StreamId,
        /// As it came.
        frame: RawFrame<'a>,
    },
    /// The agent's answer; none: the link ended first.
    Answered(AgentRequest, Option<LinkAnswer>),
    /// A view comes.
    Attach(Box<View>, Asker),
    /// A frame of a view.
    View {
        /// Which.
        view: Uuid,
        /// As it came.
        frame: RawFrame<'a>,
    },
    /// What waited for a view was read; so much waits now. Asked for by [`Effect::WhenDrained`].
    Drained {
        /// Which.
        view: Uuid,
        /// Bytes.
        waiting: usize,
    },
    /// A frame of the holder is on its way on this stream of the link: not whole yet, and a word of it all the same.
    Arriving(StreamId),
    /// A view left; on purpose, or its connection broke.
    ViewGone {
        /// Which.
        view: Uuid,
        /// Its user left.
        on_purpose: bool,
    },
    /// Too many sessions are warm, and this one was looked at longest ago.
    Cool,
    /// Send views away.
    SendAway {
        /// Those whose id begins so; empty: all.
        which: String,
        /// One sentence for them.
        why: String,
        /// Scripts, too.
        scripts: bool,
        /// Told how many that were.
        asker: Asker,
    },
    /// Name, rename, tag.
    Tag(m::Tag, Asker),
    /// Type something into the job, by no view.
    Type(m::Send, Asker),
    /// The answer to [`Effect::Claim`].
    Claimed(Result<()>),
    /// Who sizes the session from now on; with `fixed` and a size, that.
    SetSize(SizePolicy, Option<(u16, u16)>, Asker),
    /// End the job, forget the record.
    Delete {
        /// Kill at once.
        force: bool,
        /// Told when it is gone, or why not yet.
        asker: Asker,
    },
    /// End the job for a new one under the same session.
    Restart {
        /// The new job's id.
        job_id: Uuid,
        /// Whoever asks, for its job.
        caller: Caller,
        /// Told of the session as it goes on.
        asker: Asker,
    },
    /// The session's host has another name from now on.
    MoveTo(String, Asker),
    /// Tell when the job runs, or why it does not.
    WhenRunning(Asker),
    /// Whoever asked for the session asks again, after the manager died, with the environment for its job.
    AskedAgain(Caller),
    /// The database took what was to be written, or did not.
    Written(WriteId, Result<()>),
    /// Time has passed.
    Tick,
}

impl<'a> Event<'a> {
    /// Does it wait while something is being written? What a user types, output and sizes never do.
    pub(super) fn waits_for_the_record(&self) -> bool {
        matches!(
            self,
            Self::LinkUp(_)
                | Self::Probed(_)
                | Self::Answered(..)
                | Self::Tag(..)
                | Self::SetSize(..)
                | Self::Delete { .. }
                | Self::Restart { .. }
                | Self::MoveTo(..)
                | Self::AskedAgain(_)
        )
    }

    /// Was it asked by somebody who means the session, whatever task it has by now?
    pub(super) fn means_the_session(&self) -> bool {
        matches!(
            self,
            Self::Tag(..)
                | Self::SetSize(..)
                | Self::Delete { .. }
                | Self::Restart { .. }
                | Self::MoveTo(..)
                | Self::AskedAgain(_)
                | Self::WhenRunning(_)
                | Self::Type(..)
                | Self::SendAway { .. }
        )
    }

    /// One that can be kept. Frames cannot: nothing ever waits with one.
    pub(super) fn kept(self) -> Option<Event<'static>> {
        Some(match self {
            Self::Holder { .. } | Self::View { .. } => return None,
            Self::Host(state) => Event::Host(state),
            Self::Arriving(stream) => Event::Arriving(stream),
            Self::LinkUp(seen) => Event::LinkUp(seen),
            Self::Probed(seen) => Event::Probed(seen),
            Self::Opened(stream) => Event::Opened(stream),
            Self::Bypass { from, to } => Event::Bypass { from, to },
            Self::Answered(asked, answer) => Event::Answered(asked, answer),
            Self::Attach(view, asker) => Event::Attach(view, asker),
            Self::Drained { view, waiting } => Event::Drained { view, waiting },
            Self::ViewGone { view, on_purpose } => Event::ViewGone { view, on_purpose },
            Self::Cool => Event::Cool,
            Self::SendAway { which, why, scripts, asker } => Event::SendAway { which, why, scripts, asker },
            Self::Tag(tag, asker) => Event::Tag(tag, asker),
            Self::Type(send, asker) => Event::Type(send, asker),
            Self::SetSize(policy, size, asker) => Event::SetSize(policy, size, asker),
            Self::Claimed(result) => Event::Claimed(result),
            Self::Delete { force, asker } => Event::Delete { force, asker },
            Self::Restart { job_id, caller, asker } => Event::Restart { job_id, caller, asker },
            Self::MoveTo(host, asker) => Event::MoveTo(host, asker),
            Self::WhenRunning(asker) => Event::WhenRunning(asker),
            Self::AskedAgain(caller) => Event::AskedAgain(caller),
            Self::Written(id, result) => Event::Written(id, result),
            Self::Tick => Event::Tick,
        })
    }
}

/// What is written.
#[derive(Debug, Clone, PartialEq)]
pub enum Write {
    /// The record, as it is from now on.
    Save(Box<Record>),
    /// A record whose job has ended, and the job's last screen: both or neither.
    Done(Box<Record>, Option<Screen>),
    /// The record goes.
    Forget,
}

/// What an asker is told.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// It is done; the job runs.
    Done,
    /// The view is attached.
    Attached(m::Attached),
    /// So many views were sent away.
    SentAway(usize),
    /// What became of a session that was to go.
    Removed(Removed),
    /// What the holder did with what was to be typed.
    Sent(m::Sent),
    /// This session is what was asked for.
    Here,
}

/// What everybody may look at.
#[derive(Debug, Clone, PartialEq)]
pub struct Shown {
    /// The record.
    pub record: Record,
    /// The holder's last status, and when it came by the steady clock.
    pub status: Option<(m::JobStatus, u64)>,
    /// The views.
    pub views: Vec<ViewDoc>,
    /// What the job is doing, as its holder said last.
    pub doing: Option<m::ViewDoing>,
    /// Why the state is not known better, or what is not protected.
    pub notes: Vec<String>,
    /// Since when the job's holder owes an answer while its host answers, by the steady clock.
    pub holder_silent_since_ms: Option<u64>,
}

/// What is to be done, in this order.
#[derive(Debug)]
pub enum Effect {
    /// Write, and say what became of it: [`Event::Written`]. One at a time.
    Write(WriteId, Write),
    /// This is what everybody may look at from now on; whoever listens for events hears of the difference.
    Show(Box<Shown>),
    /// Tell whoever asked.
    Reply(Asker, Result<Answer>),
    /// Whoever asked has to look for the session again: it ended, or has another task.
    LookForAnother(Asker),
    /// Ask the agent, and say what it answered: [`Event::Answered`].
    Ask(AgentRequest, Box<LinkAct>),
    /// Open a stream to the job's holder, and say which: [`Event::Opened`], before anything else.
    Open,
    /// Close a stream.
    Close(StreamId),
    /// Open a stream of the job's own to the holder that listens on `path`, beside that one, and say so where it can be:
    /// [`Event::Bypass`].
    OpenBypass {
        /// Beside this one.
        from: StreamId,
        /// As the host names it.
        path: String,
    },
    /// Send the holder a frame.
    ToHolder(StreamId, Packet),
    /// Send a view whole frames.
    ToView(Uuid, Vec<u8>),
    /// End a view's connection once what waits is written.
    CloseView(Uuid),
    /// Say when more may go to that view: [`Event::Drained`].
    WhenDrained(Uuid),
    /// Have the host looked at again, soon.
    ProbeAgain,
    /// Have the host looked at now.
    ProbeNow,
    /// A person is there, and does not ask for the host by that.
    Hasten,
    /// Somebody looks at the session.
    Warmed,
    /// Claim a name for the session, and say whether it may have it: [`Event::Claimed`], before anything else.
    Claim(String),
    /// The claim is of no use any more.
    Unclaim,
    /// The job says something to people: whoever listens for events hears it.
    Notice(m::Notice),
    /// The row is gone: whoever listens for events hears it.
    Deleted,
    /// Another task takes this one's place, and nobody finds the session without one in between.
    HandOn {
        /// What it goes on from.
        record: Box<Record>,
        /// What its new job has of whoever asks; none: the record is all there is.
        caller: Option<Caller>,
        /// Who waits for it to run: they are the next task's.
        running: Vec<Asker>,
        /// Who is told of the session as it goes on.
        told: Vec<Asker>,
    },
    /// The session has no task from now on.
    Leave,
    /// It means the session, which has another task by now, or none.
    PassOn(Event<'static>),
    /// Here a test may have everything end.
    Failpoint(&'static str),
}

/// One frame for a holder, encoded. Whoever sends it sets the stream's number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet(Vec<u8>);

impl Packet {
    /// Encodes a frame.
    pub fn of(frame: &Frame<'_>) -> Self {
        Self(frame.to_bytes(0))
    }

    /// A frame that is passed on as it came.
    pub fn relayed(frame: RawFrame<'_>) -> Self {
        let mut bytes = Vec::with_capacity(Header::BYTES + frame.body.len());
        frame.relay(0, &mut bytes);
        Self(bytes)
    }

    /// As it lies in memory.
    pub fn raw(&self) -> RawFrame<'_> {
        match Header::parse(&self.0, usize::MAX) {
            Ok(Some(header)) => RawFrame::new(header, &self.0[Header::BYTES..]),
            // One that was too long to be a frame is none.
            _ => RawFrame { kind: IGNORABLE, flags: 0, stream: 0, body: &[] },
        }
    }
}

/// What is still to be done.
#[derive(Debug, Default)]
pub struct Effects(VecDeque<Effect>);

impl Effects {
    pub(crate) fn push(&mut self, effect: Effect) {
        self.0.push_back(effect);
    }

    pub(crate) fn extend(&mut self, effects: impl IntoIterator<Item = Effect>) {
        self.0.extend(effects);
    }

    /// The next.
    pub fn poll(&mut self) -> Option<Effect> {
        self.0.pop_front()
    }
}

impl Connections for Effects {
    fn append_to_view(&mut self, view: Uuid, write: impl FnOnce(&mut Vec<u8>)) -> usize {
        if let Some(Effect::ToView(last, bytes)) = self.0.back_mut()
            && *last == view
        {
            let before = bytes.len();
            write(bytes);
            return bytes.len() - before;
        }
        let mut bytes = Vec::new();
        write(&mut bytes);
        let len = bytes.len();
        self.push(Effect::ToView(view, bytes));
        len
    }

    fn close_view(&mut self, view: Uuid) {
        self.push(Effect::CloseView(view));
    }

    fn when_drained(&mut self, view: Uuid) {
        self.push(Effect::WhenDrained(view));
    }
}
