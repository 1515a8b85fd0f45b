//! One task per session: the only owner of its record, its replica and its views. Everybody else sends it messages.
//!
//! It decides little: what to do about its job is `sessd_core::reconcile`, which view leads is `sessd_core::leader`, what a
//! subscriber gets next is `sessd_terminal::Cursor`. It carries that out, in this order: the database first, then the host,
//! then the views. It never waits for the database: a write is on its way, what follows from it is done when it is over, and
//! meanwhile keys, output and sizes pass.

mod audience;
mod ending;
mod job;
mod output;
mod removal;
mod scripts;
mod writes;

use crate::manager::Manager;
use crate::manager::host::{Host, HostMember, HostNews, ToHost};
use crate::manager::link::{FrameSink, Link, NoAnswer};
use crate::manager::mailbox::{Mailbox, Sender, Weigh};
use crate::manager::replica::Replica;
use crate::manager::views::{Needs, View, Views};
use crate::store::Screen;
use crate::turn::{Turn, rest_after};
use crate::wire::{OutQueue, OwnedFrame};
use sessd_core::pace::Paced;
use sessd_core::reconcile::{Seen, folder_of};
use sessd_core::record::{End, Record, State};
use sessd_core::stream::StreamId;
use sessd_proto::Uuid;
use sessd_proto::docs::{Error, Result, ViewDoc};
use sessd_proto::messages::{self as m, LinkAnswer};
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use writes::Then;

/// The holder is told of another size no more often than that: a window that is being dragged, or a storm.
const SIZE_GAP_MS: u64 = 20;
/// How soon what could not be written down is tried again, and how often at the least.
const AGAIN_FIRST: Duration = Duration::from_millis(500);
const AGAIN_LAST: Duration = Duration::from_secs(15);
/// How long after a session's task came to a bad end the next begins: the first time, and at the most.
const PANIC_FIRST: Duration = Duration::from_millis(20);
const PANIC_LAST: Duration = Duration::from_secs(60);
/// How long a session that was asked for on this machine, just before the manager died, waits for whoever asked to ask
/// again: its environment was in no record.
const ASKED_AGAIN: Duration = Duration::from_secs(2);

/// What a session on this machine has from whoever asks for it. It is in no record.
#[derive(Debug, Clone, Default)]
pub struct Caller {
    /// Its environment.
    pub environment: HashMap<String, String>,
    /// Umask, priority and limits.
    pub inherited: Option<m::Inherited>,
}

/// A message for a session.
pub enum ToSession {
    /// The host's link is up; this is what the host knows.
    LinkUp {
        /// It.
        link: Rc<Link>,
        /// The host's inventory.
        seen: Rc<Seen>,
    },
    /// A later look of the same link.
    Looked {
        /// The host's inventory.
        seen: Rc<Seen>,
    },
    /// The host's status changed.
    LinkChanged,
    /// A frame of the job's holder.
    Frame {
        /// On this stream of the link.
        stream: StreamId,
        /// It.
        frame: OwnedFrame,
    },
    /// A stream of the job's own is there.
    ShortCut {
        /// Beside this link's stream.
        link: Rc<Link>,
        /// That stream.
        from: StreamId,
        /// The new one.
        id: StreamId,
    },
    /// The agent's answer to a request of ours.
    Answered(Asked, std::result::Result<LinkAnswer, NoAnswer>),
    /// A view comes.
    Attach(Box<View>, oneshot::Sender<Result<m::Attached>>),
    /// A frame of a view.
    ViewFrame(Uuid, OwnedFrame),
    /// A view has read what was there for it.
    Drained,
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
        /// How many that were.
        done: oneshot::Sender<Result<usize>>,
    },
    /// Name, rename, tag.
    Tag(m::Tag, oneshot::Sender<Result<()>>),
    /// End the job, forget the record.
    Delete {
        /// Kill at once.
        force: bool,
        /// Told when it is gone, or why not yet.
        done: oneshot::Sender<Result<Removed>>,
    },
    /// End the job for a new one under the same session.
    Restart(Restart),
    /// The session's host has another name from now on.
    MoveTo(String, oneshot::Sender<Result<Rc<Session>>>),
    /// The database took what was to be written, or did not.
    Written(Result<()>),
    /// Type something into the job, by no view.
    Type(m::Send, oneshot::Sender<Result<m::Sent>>),
    /// Tell when the job runs, or why it does not.
    WhenRunning(oneshot::Sender<Result<()>>),
    /// Whoever asked for the session asks again, after the manager died, with the environment for its job.
    AskedAgain(Caller),
    /// Try to write down what could not be.
    TryAgain,
}

impl ToSession {
    /// Does it wait while something is being written? What a user types, output and sizes never do.
    fn waits_for_the_record(&self) -> bool {
        matches!(
            self,
            Self::LinkUp { .. }
                | Self::Looked { .. }
                | Self::Answered(..)
                | Self::Tag(..)
                | Self::Delete { .. }
                | Self::Restart(_)
                | Self::MoveTo(..)
                | Self::AskedAgain(_)
        )
    }

    /// Was it asked by somebody who means the session, whatever task it has by now?
    fn means_the_session(&self) -> bool {
        matches!(
            self,
            Self::Tag(..)
                | Self::Delete { .. }
                | Self::Restart(_)
                | Self::MoveTo(..)
                | Self::AskedAgain(_)
                | Self::WhenRunning(_)
                | Self::Type(..)
                | Self::SendAway { .. }
        )
    }
}

/// A new job that is asked for under the same session.
pub struct Restart {
    /// Its id.
    pub job_id: Uuid,
    /// Whoever asks, for its job.
    pub caller: Caller,
    /// Gets the session as it goes on.
    pub done: oneshot::Sender<Result<Rc<Session>>>,
}

/// What became of a session that was to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removed {
    /// It is gone, here and on its host.
    Gone,
    /// Not yet; the sentence says what it waits for.
    Later(String),
    /// It is gone here, and its job may live; the sentence says so.
    GivenUp(String),
}

/// What was asked of the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// To start the job.
    Spawn,
    /// To end the job.
    End,
    /// To remove what is left of the job.
    Forget,
    /// For the last screen of the job.
    Screen,
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
            HostNews::Up { link, seen } => ToSession::LinkUp { link, seen },
            HostNews::Looked { seen } => ToSession::Looked { seen },
            HostNews::Changed => ToSession::LinkChanged,
        });
    }

    fn is_watched(&self) -> bool {
        self.0.upgrade().is_some_and(|session| {
            let live = session.live.borrow();
            !live.record.delete_requested && !live.views.is_empty()
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
pub struct Live {
    /// The record as last saved.
    pub record: Record,
    /// The holder's last status and when it came.
    pub status: Option<(m::JobStatus, Instant)>,
    /// The views.
    pub views: Vec<ViewDoc>,
    /// What the job is doing, as its holder said last.
    pub doing: Option<m::ViewDoing>,
    /// Why the state is not known better, or what is not protected.
    pub notes: Vec<String>,
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
    pub live: RefCell<Live>,
    /// Its host.
    pub host: Rc<Host>,
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
        manager: &Rc<Manager>,
        after: Duration,
    ) -> Rc<Self> {
        let (mailbox, receiver) = SessionMailbox::new();
        let live = Live {
            record: record.clone(),
            status: None,
            views: Vec::new(),
            doing: None,
            notes: Vec::new(),
            gone: false,
        };
        let session = Rc::new(Self {
            id: record.id,
            mailbox,
            to_holder: RefCell::default(),
            live: RefCell::new(live),
            host: host.clone(),
            askers: Cell::new(0),
        });
        host.enlist(record.id, Rc::new(Member(Rc::downgrade(&session))));
        let task = Task {
            handle: session.clone(),
            manager: manager.clone(),
            record,
            spawn_asked: caller.is_none(),
            asked_again_until: caller.is_none().then(|| Instant::now() + ASKED_AGAIN),
            caller: caller.unwrap_or_default(),
            stream: None,
            replica: Replica::new(),
            warm: false,
            views: Views::new(),
            needs: Needs::default(),
            size_told: Paced::new(SIZE_GAP_MS),
            size_due: None,
            sizes_passed_over: false,
            began: Instant::now(),
            fetched: None,
            fetch_due: None,
            epoch: 0,
            missing_since: None,
            there: m::JobSpec::default(),
            told: 0,
            doing: None,
            sends: scripts::Sends::default(),
            ending: None,
            writing: None,
            deferred: VecDeque::new(),
            unsaved: false,
            forgetting: None,
            again: false,
            again_after: AGAIN_FIRST,
            when_running: Vec::new(),
            when_gone: Vec::new(),
            given_up: false,
            restart: None,
            ended: None,
            finished: false,
        };
        let running = tokio::task::spawn_local(async move {
            if !after.is_zero() {
                tokio::time::sleep(after).await;
            }
            task.run(receiver).await;
        });
        supervise(running, &session, manager, after);
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
    pub async fn ask<T>(&self, message: impl FnOnce(oneshot::Sender<Result<T>>) -> ToSession) -> Result<T> {
        let answer = self.ask_if_there(message).await;
        answer.unwrap_or_else(|| Err(Error::no_such_session(&self.live.borrow().record.label())))
    }

    /// Sends a message that is answered; `None` when the task had ended its session before it got there: whoever asks looks
    /// again.
    pub async fn ask_if_there<T>(
        &self,
        message: impl FnOnce(oneshot::Sender<Result<T>>) -> ToSession,
    ) -> Option<Result<T>> {
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
fn supervise(running: JoinHandle<()>, session: &Rc<Session>, manager: &Rc<Manager>, after: Duration) {
    let (session, manager) = (session.clone(), Rc::downgrade(manager));
    tokio::task::spawn_local(async move {
        let Err(end) = running.await else { return };
        let Some(manager) = manager.upgrade().filter(|_| end.is_panic()) else { return };
        tracing::error!(session = %session.id, %end, "a session's task came to a bad end: it begins again");
        manager.session_panicked(&session, (after * 2).clamp(PANIC_FIRST, PANIC_LAST)).await;
    });
}

/// An open stream to the job's holder.
struct Stream {
    link: Rc<Link>,
    id: StreamId,
    short_cut: ShortCut,
    /// The stream this one takes the place of, to be closed when the holder answers here.
    before: Option<StreamId>,
    /// What the holder can do, once it has greeted.
    features: Option<u64>,
}

/// Has the stream a connection of its own?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ShortCut {
    Untried,
    /// It was asked for: once for a stream.
    Tried,
    Taken,
}

/// An end on its way into the record.
struct Ending {
    end: End,
    exit: m::ExitRecord,
    /// Once it is known: the last screen, or that there is none.
    screen: Option<Option<Screen>>,
}

/// A restart on its way.
struct Restarting {
    job_id: Uuid,
    caller: Caller,
    waiting: Vec<oneshot::Sender<Result<Rc<Session>>>>,
}

struct Task {
    handle: Rc<Session>,
    manager: Rc<Manager>,
    record: Record,
    caller: Caller,
    stream: Option<Stream>,
    replica: Replica,
    /// Somebody looks at it, or did not long ago: the replica follows the job.
    warm: bool,
    views: Views,
    /// What they need and have not got.
    needs: Needs,
    /// The size that the holder was told, and when it is told the next.
    size_told: Paced<(u16, u16)>,
    size_due: Option<Instant>,
    /// A view's terminal had sizes that the holder was not told.
    sizes_passed_over: bool,
    began: Instant,
    /// When a fresh screen was asked for because following was too much.
    fetched: Option<Instant>,
    /// When one may be asked for again.
    fetch_due: Option<Instant>,
    /// Rises with each new path to the holder.
    epoch: u64,
    missing_since: Option<i64>,
    /// What the host has of the session, as far as is known.
    there: m::JobSpec,
    /// How often the host was told of changes.
    told: u64,
    /// What the job is doing, as its holder said last.
    doing: Option<m::ViewDoing>,
    /// What is typed by no view, until the holder has answered.
    sends: scripts::Sends,
    /// The host may have been told of the job.
    spawn_asked: bool,
    asked_again_until: Option<Instant>,
    ending: Option<Ending>,
    /// What is being written, and what follows from it.
    writing: Option<Then>,
    /// What came meanwhile and waits for that.
    deferred: VecDeque<ToSession>,
    /// The record says more than the database.
    unsaved: bool,
    /// The row is to go and is still there.
    forgetting: Option<Removed>,
    /// A [`ToSession::TryAgain`] is on its way.
    again: bool,
    again_after: Duration,
    when_running: Vec<oneshot::Sender<Result<()>>>,
    when_gone: Vec<oneshot::Sender<Result<Removed>>>,
    /// The user does not want to wait for the host with that.
    given_up: bool,
    /// The job ends for a new one.
    restart: Option<Restarting>,
    /// The job's end, once known; views get it when they have all output.
    ended: Option<m::ExitRecord>,
    /// Nothing is left to do but to let views take what they are due.
    finished: bool,
}

/// Work that could not be cut into turns is paid for.
async fn rest(busy: Duration, turn: &mut Turn) {
    if let Some(rest) = rest_after(busy) {
        tokio::time::sleep(rest).await;
        turn.renew();
    }
}

fn answer_all<T: Clone>(waiting: &mut Vec<oneshot::Sender<Result<T>>>, answer: &Result<T>) {
    for sender in waiting.drain(..) {
        // Who asked may have gone.
        let _ = sender.send(answer.clone());
    }
}

impl Task {
    async fn run(mut self, mut receiver: mpsc::UnboundedReceiver<ToSession>) {
        let mailbox = self.handle.mailbox.clone();
        let mut turn = Turn::default();
        while !(self.finished && self.views.is_empty()) {
            let Some(message) = self.next(&mut receiver, &mut turn).await else { break };
            mailbox.took(&message);
            let began = Instant::now();
            self.take(message);
            let busy = began.elapsed();
            self.let_go_unwatched();
            rest(busy, &mut turn).await;
        }
        self.leave_stream();
        // Who wrote to us while we left means the session, not us.
        receiver.close();
        while let Ok(message) = receiver.try_recv() {
            self.take(message);
        }
    }

    fn take(&mut self, message: ToSession) {
        if self.finished && message.means_the_session() {
            // Without a task in our place whoever asks finds the record. A view that comes again has what is shown here.
            if let Some(next) = self.manager.registry.get(self.record.id) {
                next.mailbox.send(message);
            }
            return;
        }
        if self.writing.is_some() && message.waits_for_the_record() {
            if matches!(message, ToSession::Looked { .. }) {
                // The newest is as good as all before it.
                self.deferred.retain(|waiting| !matches!(waiting, ToSession::Looked { .. }));
            }
            self.deferred.push_back(message);
            return;
        }
        self.handle(message);
        while self.writing.is_none()
            && let Some(message) = self.deferred.pop_front()
        {
            if self.finished && message.means_the_session() {
                self.take(message);
            } else {
                self.handle(message);
            }
        }
    }

    /// Nothing was claimed that is not so; what failed is tried again.
    fn step_failed(&mut self, error: &Error) {
        tracing::warn!(session = %self.record.id, error = error.line(), "a step of a session failed");
        self.note(error.message.clone());
        self.try_again_later();
    }

    /// The next message; while there is none, the model is worked on. None: nobody can send one any more.
    async fn next(
        &mut self,
        receiver: &mut mpsc::UnboundedReceiver<ToSession>,
        turn: &mut Turn,
    ) -> Option<ToSession> {
        loop {
            turn.pass().await;
            match receiver.try_recv() {
                Ok(message) => return Some(message),
                Err(mpsc::error::TryRecvError::Disconnected) => return None,
                Err(mpsc::error::TryRecvError::Empty) => {}
            }
            if self.has_work() {
                // What was just sent goes out first.
                tokio::task::yield_now().await;
                turn.renew();
                if receiver.is_empty() {
                    let busy = self.work();
                    rest(busy, turn).await;
                }
                continue;
            }
            turn.renew();
            let Some(at) = self.due() else { return receiver.recv().await };
            tokio::select! {
                message = receiver.recv() => return message,
                () = tokio::time::sleep_until(at.into()) => self.do_due(),
            }
        }
    }

    fn try_again_later(&mut self) {
        if std::mem::replace(&mut self.again, true) {
            return;
        }
        let (after, mailbox) = (self.again_after, self.handle.mailbox.clone());
        self.again_after = (after * 2).min(AGAIN_LAST);
        tokio::task::spawn_local(async move {
            tokio::time::sleep(after).await;
            mailbox.send(ToSession::TryAgain);
        });
    }

    fn try_again(&mut self) {
        self.again = false;
        if self.finished {
            return;
        }
        self.write_what_waits();
        self.handle.host.tell(ToHost::LookAgain);
    }

    fn handle(&mut self, message: ToSession) {
        match message {
            ToSession::LinkUp { link, seen } => {
                self.leave_stream();
                self.look(&link, &seen);
            }
            ToSession::Looked { seen } => {
                if let Some(link) = self.link()
                    && self.stream.is_none()
                {
                    self.look(&link, &seen);
                }
            }
            ToSession::LinkChanged => self.link_changed(),
            ToSession::Frame { stream, frame } => {
                if self.stream.as_ref().is_some_and(|s| s.id == stream) {
                    self.holder_frame(&frame);
                }
            }
            ToSession::ShortCut { link, from, id } => self.take_short_cut(&link, from, id),
            ToSession::Answered(asked, answer) => self.answered(asked, answer),
            ToSession::Attach(view, done) => self.attach(*view, done),
            ToSession::ViewFrame(view, frame) => self.view_frame(view, &frame),
            ToSession::ViewGone { view, on_purpose } => self.view_gone(view, on_purpose),
            ToSession::Drained => {
                self.pump();
                self.tell_views();
            }
            ToSession::Cool => self.cool(),
            ToSession::SendAway { which, why, scripts, done } => {
                let sent = self.views.send_away(&which, &why, scripts, self.replica.screen());
                let answer = if sent == 0 && !which.is_empty() {
                    Err(Error::failed(
                        format!("`{}` has no view `{which}`", self.record.label()),
                        "`sessd info` shows its views",
                    ))
                } else {
                    Ok(sent)
                };
                let _ = done.send(answer);
                self.views_changed(true);
            }
            ToSession::Tag(tag, done) => self.tag(tag, done),
            ToSession::Type(send, done) => self.type_in(send, done),
            ToSession::Delete { force, done } => self.delete(force, done),
            ToSession::Restart(restart) => self.begin_restart(restart),
            ToSession::MoveTo(host, done) => self.move_to(host, done),
            ToSession::Written(result) => self.written(result),
            ToSession::AskedAgain(caller) => {
                (self.caller, self.asked_again_until) = (caller, None);
                self.handle.host.tell(ToHost::LookAgain);
            }
            ToSession::TryAgain => self.try_again(),
            ToSession::WhenRunning(done) => match (self.record.state, self.out_of_reach()) {
                (State::Running, _) => {
                    let _ = done.send(Ok(()));
                }
                (State::Init, Some(why)) => {
                    let _ = done.send(Err(why));
                }
                _ => self.when_running.push(done),
            },
        }
    }

    /// Why the host cannot be reached now, as far as that is known.
    fn out_of_reach(&self) -> Option<Error> {
        self.handle.host.status().why().cloned()
    }

    fn link(&self) -> Option<Rc<Link>> {
        match self.handle.host.status() {
            crate::manager::host::Status::Up(link) => Some(link),
            _ => None,
        }
    }
}
