//! One task per session: the only owner of its record, its replica and its views. Everybody else sends it messages.
//!
//! It decides little: what to do about its job is `sessd_core::reconcile`, which view leads is `sessd_core::leader`, what a
//! subscriber gets next is `sessd_terminal::Cursor`. It carries that out, in this order: the database first, then the host,
//! then the views.

mod audience;
mod job;
mod output;

use crate::error::{Error, Result};
use crate::manager::Manager;
use crate::manager::doc::ViewDoc;
use crate::manager::host::{Host, ToHost};
use crate::manager::link::{Link, NoAnswer};
use crate::manager::replica::Replica;
use crate::manager::views::{Needs, View, Views};
use crate::store::Screen;
use crate::turn::{Turn, rest_after, timed};
use crate::wire::OwnedFrame;
use sessd_core::reconcile::Seen;
use sessd_core::record::{End, Record, State};
use sessd_proto::Uuid;
use sessd_proto::messages::{self as m, EndReason, LinkAnswer};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};

/// How soon what could not be written down is tried again, and how often at the least.
const AGAIN_FIRST: Duration = Duration::from_millis(500);
const AGAIN_LAST: Duration = Duration::from_secs(15);
/// How long a session that was asked for on this machine, just before the manager died, waits for whoever asked to ask
/// again: its environment was in no record.
const ASKED_AGAIN: Duration = Duration::from_secs(2);

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
        stream: u16,
        /// It.
        frame: OwnedFrame,
    },
    /// A stream of the job's own is there.
    ShortCut {
        /// Beside this link's stream.
        link: Rc<Link>,
        /// That stream.
        from: u16,
        /// The new one.
        number: u16,
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
        /// How many that were.
        done: oneshot::Sender<Result<usize>>,
    },
    /// Name, rename, tag.
    Tag(m::Tag, oneshot::Sender<Result<()>>),
    /// End the job, forget the record.
    Delete {
        /// Kill at once.
        force: bool,
        /// Told when it is gone, or will be.
        done: oneshot::Sender<Result<()>>,
    },
    /// End the job for a new one under the same session.
    EndForRestart(oneshot::Sender<Result<()>>),
    /// Tell when the job runs, or why it does not.
    WhenRunning(oneshot::Sender<Result<()>>),
    /// Whoever asked for the session asks again, after the manager died, with the environment for its job.
    AskedAgain(HashMap<String, String>),
    /// Try to write down what could not be.
    TryAgain,
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

/// Where a session's messages are put. What may wait in it is bounded by what its senders were allowed: credit for a
/// holder, the input window for a view; what waits of each is counted, and that is how they are held to it.
#[derive(Debug, Clone)]
pub struct Mailbox {
    sender: mpsc::UnboundedSender<ToSession>,
    of_holder: Rc<Cell<usize>>,
    of_views: Rc<Cell<usize>>,
}

impl Mailbox {
    /// A mailbox and its other end.
    pub fn new() -> (Self, mpsc::UnboundedReceiver<ToSession>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self { sender, of_holder: Rc::default(), of_views: Rc::default() }, receiver)
    }

    /// Puts a message in. A session that has ended takes no more, and nobody minds.
    pub fn send(&self, message: ToSession) {
        if let Some((count, weight)) = self.counted(&message) {
            count.set(count.get() + weight);
        }
        let _ = self.sender.send(message);
    }

    /// Bytes that the job's holder sent and that wait.
    pub fn queued_of_holder(&self) -> usize {
        self.of_holder.get()
    }

    /// Bytes that views sent and that wait.
    pub fn queued_of_views(&self) -> usize {
        self.of_views.get()
    }

    fn took(&self, message: &ToSession) {
        if let Some((count, weight)) = self.counted(message) {
            count.set(count.get().saturating_sub(weight));
        }
    }

    /// Where a message is counted, and the memory that it keeps.
    fn counted(&self, message: &ToSession) -> Option<(&Cell<usize>, usize)> {
        match message {
            ToSession::Frame { frame, .. } => Some((&self.of_holder, frame.weight())),
            ToSession::ViewFrame(_, frame) => Some((&self.of_views, frame.weight())),
            _ => None,
        }
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
    pub mailbox: Mailbox,
    /// What is known of it.
    pub live: RefCell<Live>,
    /// Its host.
    pub host: Rc<Host>,
}

impl Session {
    /// Starts the task of a session whose record is in the database already. `environment`: of whoever asks for it now;
    /// `None` when the record is all there is, so that the host may have been told of the job before.
    pub fn start(
        record: Record,
        environment: Option<HashMap<String, String>>,
        host: Rc<Host>,
        manager: &Rc<Manager>,
    ) -> Rc<Self> {
        let (mailbox, receiver) = Mailbox::new();
        let live =
            Live { record: record.clone(), status: None, views: Vec::new(), notes: Vec::new(), gone: false };
        let session = Rc::new(Self {
            id: record.id,
            mailbox: mailbox.clone(),
            live: RefCell::new(live),
            host: host.clone(),
        });
        host.tell(ToHost::Enlist(record.id, mailbox));
        let task = Task {
            handle: session.clone(),
            manager: manager.clone(),
            record,
            spawn_asked: environment.is_none(),
            asked_again_until: environment.is_none().then(|| Instant::now() + ASKED_AGAIN),
            environment: environment.unwrap_or_default(),
            stream: None,
            replica: Replica::new(),
            warm: false,
            views: Views::new(),
            needs: Needs::default(),
            fetched: None,
            epoch: 0,
            missing_since: None,
            there: m::JobSpec::default(),
            told: 0,
            ending: None,
            unsaved: false,
            forgetting: false,
            again: false,
            again_after: AGAIN_FIRST,
            when_running: Vec::new(),
            when_gone: Vec::new(),
            restarting: Vec::new(),
            ended: None,
            finished: false,
        };
        tokio::task::spawn_local(task.run(receiver));
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
        let (sender, answer) = oneshot::channel();
        self.mailbox.send(message(sender));
        answer.await.unwrap_or_else(|_| Err(Error::no_such_session(&self.live.borrow().record.label())))
    }
}

/// An open stream to the job's holder.
struct Stream {
    link: Rc<Link>,
    number: u16,
    short_cut: ShortCut,
    /// The stream this one takes the place of, to be closed when the holder answers here.
    before: Option<u16>,
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

struct Task {
    handle: Rc<Session>,
    manager: Rc<Manager>,
    record: Record,
    environment: HashMap<String, String>,
    stream: Option<Stream>,
    replica: Replica,
    /// Somebody looks at it, or did not long ago: the replica follows the job.
    warm: bool,
    views: Views,
    /// What they need and have not got.
    needs: Needs,
    /// When a fresh screen was asked for because following was too much.
    fetched: Option<Instant>,
    /// Rises with each new path to the holder.
    epoch: u64,
    missing_since: Option<i64>,
    /// What the host has of the session, as far as is known.
    there: m::JobSpec,
    /// How often the host was told of changes.
    told: u64,
    /// The host may have been told of the job.
    spawn_asked: bool,
    asked_again_until: Option<Instant>,
    ending: Option<Ending>,
    /// The record says more than the database.
    unsaved: bool,
    /// The row is to go and is still there.
    forgetting: bool,
    /// A [`ToSession::TryAgain`] is on its way.
    again: bool,
    again_after: Duration,
    when_running: Vec<oneshot::Sender<Result<()>>>,
    when_gone: Vec<oneshot::Sender<Result<()>>>,
    restarting: Vec<oneshot::Sender<Result<()>>>,
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
            let (handled, busy) = timed(self.handle(message)).await;
            if let Err(error) = handled {
                // Nothing was claimed that is not so; what failed is tried again.
                tracing::warn!(session = %self.record.id, error = error.line(), "a step of a session failed");
                self.note(error.message);
                self.try_again_later();
            }
            self.let_go_unwatched();
            rest(busy, &mut turn).await;
        }
        self.leave_stream();
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
            let Some(at) = self.needs.redraw_at else { return receiver.recv().await };
            tokio::select! {
                message = receiver.recv() => return message,
                () = tokio::time::sleep_until(at.into()) => self.pump(),
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

    async fn try_again(&mut self) -> Result<()> {
        self.again = false;
        if self.finished {
            return Ok(());
        }
        if self.forgetting {
            self.forget().await?;
        } else if self.ending.as_ref().is_some_and(|e| e.screen.is_some()) {
            self.write_ending().await?;
        } else if self.unsaved {
            self.save().await?;
        }
        self.again_after = AGAIN_FIRST;
        self.handle.host.tell(ToHost::LookAgain);
        Ok(())
    }

    async fn handle(&mut self, message: ToSession) -> Result<()> {
        match message {
            ToSession::LinkUp { link, seen } => {
                self.leave_stream();
                self.look(&link, &seen).await?;
            }
            ToSession::Looked { seen } => {
                if let Some(link) = self.link()
                    && self.stream.is_none()
                {
                    self.look(&link, &seen).await?;
                }
            }
            ToSession::LinkChanged => self.link_changed(),
            ToSession::Frame { stream, frame } => {
                if self.stream.as_ref().is_some_and(|s| s.number == stream) {
                    self.holder_frame(&frame).await?;
                }
            }
            ToSession::ShortCut { link, from, number } => self.take_short_cut(&link, from, number),
            ToSession::Answered(asked, answer) => self.answered(asked, answer).await?,
            ToSession::Attach(view, done) => self.attach(*view, done),
            ToSession::ViewFrame(view, frame) => self.view_frame(view, &frame),
            ToSession::ViewGone { view, on_purpose } => self.view_gone(view, on_purpose),
            ToSession::Drained => {
                self.pump();
                self.tell_views();
            }
            ToSession::Cool => self.cool(),
            ToSession::SendAway { which, why, done } => {
                let sent = self.views.send_away(&which, &why);
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
            ToSession::Tag(tag, done) => {
                let answer = self.tag(tag).await;
                let _ = done.send(answer);
            }
            ToSession::Delete { force, done } => {
                self.when_gone.push(done);
                self.delete(force).await?;
            }
            ToSession::EndForRestart(done) => {
                if self.stream.is_none() {
                    let why = format!("the job of `{}` cannot be reached now", self.record.label());
                    let _ = done.send(Err(Error::failed(why, "`sessd info` says more; try again")));
                    return Ok(());
                }
                self.restarting.push(done);
                self.end_job(EndReason::Restarted, false);
            }
            ToSession::AskedAgain(environment) => {
                (self.environment, self.asked_again_until) = (environment, None);
                self.handle.host.tell(ToHost::LookAgain);
            }
            ToSession::TryAgain => self.try_again().await?,
            ToSession::WhenRunning(done) => match self.record.state {
                State::Running => {
                    let _ = done.send(Ok(()));
                }
                _ => self.when_running.push(done),
            },
        }
        Ok(())
    }

    fn link(&self) -> Option<Rc<Link>> {
        match self.handle.host.status() {
            crate::manager::host::Status::Up(link) => Some(link),
            _ => None,
        }
    }
}

/// One phrase for people.
pub fn describe_end(end: &End) -> String {
    sessd_core::words::end(sessd_core::record::reason_word(end.reason), end.code, end.signal)
}
