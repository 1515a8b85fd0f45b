//! One task per session: the only one that drives its machine. Everybody else sends it messages.
//!
//! All that is decided about a session is `sessd_core::session`. The [`task`] tells it what happened, and carries out what it
//! wants: writes, questions to the agent, frames to the holder and to views, answers to whoever asked.

mod task;

pub use sessd_core::session::{Caller, Event, Removed};

use crate::events::Events;
use crate::forward::Forwards;
use crate::host::{Coming, Host, HostMember, HostNews};
use crate::link::FrameSink;
use crate::mailbox::{Mailbox, Sender, Weigh};
use crate::store::Store;
use crate::wire::{OutQueue, OwnedFrame};
use sessd_core::reconcile::folder_of;
use sessd_core::record::{Record, State};
use sessd_core::stream::StreamId;
use sessd_core::views::View;
use sessd_proto::Uuid;
use sessd_proto::docs::{Error, Result, SizePolicy, ViewDoc};
use sessd_proto::messages as m;
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// How long after a session's task came to a bad end the next begins: the first time, and at the most.
const PANIC_FIRST: Duration = Duration::from_millis(20);
const PANIC_LAST: Duration = Duration::from_secs(60);

/// What a session needs of the manager that it belongs to, and all that it knows of it.
pub trait SessionContext {
    /// Who the manager is, for hosts.
    fn manager(&self) -> sessd_core::session::Manager;
    /// Where the clock of its machines begins.
    fn began(&self) -> Instant;
    /// The records.
    fn store(&self) -> &Store;
    /// Who is told what happens.
    fn events(&self) -> &Events;
    /// What is forwarded for a session.
    fn forwards_of(self: Rc<Self>, session: Uuid) -> Rc<Forwards>;
    /// Something that is shown of a session is another: whoever waits for that, or listens, hears of it.
    fn session_changed(&self, session: &Rc<Session>);
    /// Takes a name for a session, until the claim is dropped.
    ///
    /// # Errors
    /// When another has it.
    fn claim(&self, name: &str, session: Uuid) -> Result<Box<dyn Any>>;
    /// A session is looked at.
    fn warmed(&self, session: &Session);
    /// Its job is over: nobody finds it any more.
    fn session_gone(&self, session: &Session);
    /// It is forgotten, and all that belongs to it.
    fn session_forgotten(&self, session: Uuid);
    /// A task for a session that has none, or that takes the place of the one before.
    fn start_task(self: Rc<Self>, record: Record, caller: Option<Caller>) -> Rc<Session>;
    /// The task that a session has by now.
    fn session_now(&self, session: Uuid) -> Option<Rc<Session>>;
    /// A session's task came to a bad end: another goes on from what is recorded, `after` that long.
    fn session_panicked(self: Rc<Self>, session: Rc<Session>, after: Duration) -> Coming<()>;
}

/// Whoever waits for an answer.
pub type Answer<T> = oneshot::Sender<Result<T>>;

/// A message for a session.
pub enum ToSession {
    /// Its machine is told this as it is. What has an asker or a frame has a message of its own here, which brings whom to answer
    /// and keeps the bytes.
    Tell(Event<'static>),
    /// The host's status changed.
    LinkChanged,
    /// A frame of the job's holder.
    Frame {
        /// On this stream of the link.
        stream: StreamId,
        /// It.
        frame: OwnedFrame,
    },
    /// A view comes, and what goes to it.
    Attach(Box<View>, OutQueue, Answer<m::Attached>),
    /// A frame of a view.
    ViewFrame(Uuid, OwnedFrame),
    /// A view has read what was there for it.
    Drained(Uuid),
    /// Send views away.
    SendAway {
        /// Those whose id begins so; empty: all.
        which: String,
        /// One sentence for them.
        why: String,
        /// Scripts, too.
        scripts: bool,
        /// How many that were.
        done: Answer<usize>,
    },
    /// Name, rename, tag.
    Tag(m::Tag, Answer<()>),
    /// Who sizes it from now on; with `fixed` and a size, that.
    SetSize(SizePolicy, Option<(u16, u16)>, Answer<()>),
    /// End the job, forget the record.
    Delete {
        /// Kill at once.
        force: bool,
        /// Told when it is gone, or why not yet.
        done: Answer<Removed>,
    },
    /// End the job for a new one under the same session.
    Restart {
        /// The new job's id.
        job_id: Uuid,
        /// Whoever asks, for its job.
        caller: Caller,
        /// Gets the session as it goes on.
        done: Answer<Rc<Session>>,
    },
    /// The session's host has another name from now on.
    MoveTo(String, Answer<Rc<Session>>),
    /// Type something into the job, by no view.
    Type(m::Send, Answer<m::Sent>),
    /// Tell when the job runs, or why it does not.
    WhenRunning(Answer<()>),
}

/// Where a session's messages are put.
pub type SessionMailbox = Mailbox<ToSession>;

impl Weigh for ToSession {
    fn weight(&self) -> Option<(Sender, usize)> {
        match self {
            Self::Frame { frame, .. } => Some((Sender::Holder, frame.weight())),
            Self::ViewFrame(_, frame) => Some((Sender::Views, frame.weight())),
            _ => None,
        }
    }
}

impl FrameSink for SessionMailbox {
    fn deliver(&self, stream: StreamId, frame: OwnedFrame) {
        self.send(ToSession::Frame { stream, frame });
    }

    fn arriving(&self, stream: StreamId) {
        self.send(ToSession::Tell(Event::Arriving(stream)));
    }

    fn backlog(&self) -> usize {
        self.queued_of(Sender::Holder)
    }
}

/// A session as its host knows it: the task that is, and what is shown of it.
#[derive(Debug)]
struct Member(Weak<Session>);

impl HostMember for Member {
    fn hear(&self, news: HostNews) {
        let Some(session) = self.0.upgrade() else { return };
        session.mailbox.send(match news {
            HostNews::Up { seen } => ToSession::Tell(Event::LinkUp(seen)),
            HostNews::Probed { seen } => ToSession::Tell(Event::Probed(seen)),
            HostNews::Changed => ToSession::LinkChanged,
        });
    }

    fn is_watched(&self) -> bool {
        self.0.upgrade().is_some_and(|session| {
            let live = session.live.borrow();
            // Who has a connection through it waits for it as who looks at it does.
            !live.record.delete_requested && (!live.views.is_empty() || session.forwards.carries())
        })
    }

    fn folder(&self) -> Option<String> {
        let session = self.0.upgrade()?;
        let live = session.live.borrow();
        folder_of(&live.record.place).map(str::to_owned)
    }
}

/// What everybody may look at without asking the task.
#[derive(Debug)]
pub struct Published {
    /// The record as last shown.
    pub record: Record,
    /// The holder's last status and when it came.
    pub status: Option<(m::JobStatus, Instant)>,
    /// The views.
    pub views: Vec<ViewDoc>,
    /// What the job is doing, as its holder said last.
    pub doing: Option<m::ViewDoing>,
    /// Why the state is not known better, or what is not protected.
    pub notes: Vec<String>,
    /// Since when the job's holder owes an answer while its host answers.
    pub holder_silent_since: Option<Instant>,
    /// The task has ended; the database has what is left.
    pub gone: bool,
}

/// A handle to a session.
#[derive(Debug)]
pub struct Session {
    /// The session's id.
    pub id: Uuid,
    /// Its messages.
    pub mailbox: SessionMailbox,
    /// What goes to its holder; whoever speaks for a view waits while that is full.
    pub to_holder: RefCell<Option<OutQueue>>,
    /// What is known of it.
    pub live: RefCell<Published>,
    /// How much output of its job came here; the last status may be older.
    pub head: Cell<u64>,
    /// Its host.
    pub host: Rc<Host>,
    /// What is forwarded for it.
    pub forwards: Rc<Forwards>,
    /// How many wait for its job to begin.
    pub askers: Cell<usize>,
}

impl Session {
    /// Starts the task of a session whose record is in the database already. `caller`: what whoever asks for it now has;
    /// `None` when the record is all there is, so that the host may have been told of the job before. `after`: it begins so
    /// much later; what is sent to it waits.
    pub fn start(
        record: Record,
        caller: Option<Caller>,
        host: Rc<Host>,
        context: &Rc<dyn SessionContext>,
        after: Duration,
    ) -> Rc<Self> {
        let (mailbox, receiver) = SessionMailbox::new();
        let live = Published {
            record: record.clone(),
            status: None,
            views: Vec::new(),
            doing: None,
            notes: Vec::new(),
            holder_silent_since: None,
            gone: false,
        };
        let session = Rc::new(Self {
            id: record.id,
            mailbox,
            to_holder: RefCell::default(),
            live: RefCell::new(live),
            head: Cell::new(0),
            host: host.clone(),
            forwards: context.clone().forwards_of(record.id),
            askers: Cell::new(0),
        });
        host.enlist(record.id, Rc::new(Member(Rc::downgrade(&session))));
        let task = task::Task::new(session.clone(), context.clone(), record, caller);
        let running = tokio::task::spawn_local(async move {
            if !after.is_zero() {
                tokio::time::sleep(after).await;
            }
            task.run(receiver).await;
        });
        supervise(running, &session, context, after);
        session
    }

    /// The state as far as there is evidence for it: of a session whose link is silent it is not known that it runs.
    pub fn state(&self) -> State {
        match self.live.borrow().record.state {
            State::Running if self.host.status().is_stalled() => State::Disconnected,
            state => state,
        }
    }

    /// Sends a message that is answered.
    ///
    /// # Errors
    /// What the task answers; a task that ended in between is no such session.
    pub async fn ask<T>(&self, message: impl FnOnce(Answer<T>) -> ToSession) -> Result<T> {
        let answer = self.ask_if_there(message).await;
        answer.unwrap_or_else(|| Err(Error::no_such_session(&self.live.borrow().record.label())))
    }

    /// Sends a message that is answered; `None` when the task had ended its session before it got there: whoever asks looks
    /// again.
    pub async fn ask_if_there<T>(&self, message: impl FnOnce(Answer<T>) -> ToSession) -> Option<Result<T>> {
        let (sender, answer) = oneshot::channel();
        self.mailbox.send(message(sender));
        match answer.await {
            Ok(answer) => Some(answer),
            Err(_) if self.live.borrow().gone => None,
            Err(_) => Some(Err(Error::failed(
                format!("the manager made a mistake about `{}`", self.live.borrow().record.label()),
                "it goes on from what is recorded: try again",
            ))),
        }
    }
}

/// A task that comes to a bad end costs its session that task and nothing else: its views are let go, so that they come
/// again, and the session goes on from its record. One that fails again and again does so ever more slowly.
fn supervise(
    running: JoinHandle<()>,
    session: &Rc<Session>,
    context: &Rc<dyn SessionContext>,
    after: Duration,
) {
    let (session, context) = (session.clone(), Rc::downgrade(context));
    tokio::task::spawn_local(async move {
        let Err(end) = running.await else { return };
        let Some(context) = context.upgrade().filter(|_| end.is_panic()) else { return };
        tracing::error!(session = %session.id, %end, "a session's task came to a bad end: it begins again");
        context.session_panicked(session, (after * 2).clamp(PANIC_FIRST, PANIC_LAST)).await;
    });
}
