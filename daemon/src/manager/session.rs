//! One task per session: the only owner of its record, its replica and its views. Everybody else sends it messages.
//!
//! It decides little: what to do about its job is `sessd_core::reconcile`, which view leads is `sessd_core::leader`, what a
//! subscriber gets next is `sessd_terminal::Cursor`. It carries that out, in this order: the database first, then the host,
//! then the views.

use crate::clock;
use crate::error::{Error, Result};
use crate::faults::point;
use crate::manager::Manager;
use crate::manager::dial::LOCAL;
use crate::manager::doc::ViewDoc;
use crate::manager::host::{Host, ToHost};
use crate::manager::link::{Link, NoAnswer};
use crate::manager::replica::{Replica, Stored};
use crate::manager::views::{View, Views};
use crate::store::Screen;
use crate::wire::OwnedFrame;
use sessd_core::reconcile::{Decision, Seen, place};
use sessd_core::record::{End, Record, State};
use sessd_proto::messages::{self as m, CloseReason, EndReason, LinkAct, LinkAnswer};
use sessd_proto::{Frame, Uuid};
use sessd_terminal::{Size, SnapshotOptions, Terminal};
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
/// Bytes a last screen with the end of its scrollback may have.
const SCREEN_MAX: usize = 512 << 10;
/// Lines of scrollback to keep with it, the most first, until it is short enough.
const SCREEN_LINES: [usize; 5] = [10_000, 2_000, 500, 100, 0];

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
    /// The agent's answer to a request of ours.
    Answered(Asked, std::result::Result<LinkAnswer, NoAnswer>),
    /// A view comes.
    Attach(Box<View>, oneshot::Sender<Result<m::Attached>>),
    /// A frame of a view.
    ViewFrame(Uuid, OwnedFrame),
    /// A view left; on purpose, or its connection broke.
    ViewGone {
        /// Which.
        view: Uuid,
        /// Its user left.
        on_purpose: bool,
    },
    /// Too many sessions are warm, and this one was looked at longest ago.
    Cool,
    /// Send views away: all, or the one whose id begins so.
    SendAway(String, oneshot::Sender<Result<usize>>),
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
/// holder, the input window for a view; [`Mailbox::queued`] is how they are held to it.
#[derive(Debug, Clone)]
pub struct Mailbox {
    sender: mpsc::UnboundedSender<ToSession>,
    queued: Rc<Cell<usize>>,
}

impl Mailbox {
    /// A mailbox and its other end.
    pub fn new() -> (Self, mpsc::UnboundedReceiver<ToSession>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self { sender, queued: Rc::default() }, receiver)
    }

    /// Puts a message in. A session that has ended takes no more, and nobody minds.
    pub fn send(&self, message: ToSession) {
        self.queued.set(self.queued.get() + weight(&message));
        let _ = self.sender.send(message);
    }

    /// Bytes of frames that wait.
    pub fn queued(&self) -> usize {
        self.queued.get()
    }

    fn took(&self, message: &ToSession) {
        self.queued.set(self.queued.get().saturating_sub(weight(message)));
    }
}

fn weight(message: &ToSession) -> usize {
    match message {
        ToSession::Frame { frame, .. } | ToSession::ViewFrame(_, frame) => frame.raw().body.len() + 64,
        _ => 0,
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
            epoch: 0,
            missing_since: None,
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
    /// Rises with each new path to the holder.
    epoch: u64,
    missing_since: Option<i64>,
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

fn answer_all<T: Clone>(waiting: &mut Vec<oneshot::Sender<Result<T>>>, answer: &Result<T>) {
    for sender in waiting.drain(..) {
        // Who asked may have gone.
        let _ = sender.send(answer.clone());
    }
}

impl Task {
    async fn run(mut self, mut receiver: mpsc::UnboundedReceiver<ToSession>) {
        let mailbox = self.handle.mailbox.clone();
        while !(self.finished && self.views.is_empty()) {
            let Some(message) = receiver.recv().await else { break };
            mailbox.took(&message);
            if let Err(error) = self.handle(message).await {
                // Nothing was claimed that is not so; what failed is tried again.
                tracing::warn!(session = %self.record.id, error = error.line(), "a step of a session failed");
                self.note(error.message);
                self.try_again_later();
            }
        }
        self.leave_stream();
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
            ToSession::Answered(asked, answer) => self.answered(asked, answer).await?,
            ToSession::Attach(view, done) => self.attach(*view, done),
            ToSession::ViewFrame(view, frame) => self.view_frame(view, &frame),
            ToSession::ViewGone { view, on_purpose } => self.view_gone(view, on_purpose),
            ToSession::Cool => self.cool(),
            ToSession::SendAway(which, done) => {
                let sent = self.views.send_away(&which);
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

    /// The host said what it knows: decide, and do it.
    async fn look(&mut self, link: &Rc<Link>, seen: &Rc<Seen>) -> Result<()> {
        if self.finished {
            return Ok(());
        }
        point("reconcile-before");
        let now = clock::wall_ms();
        if seen.has(&self.record) {
            self.missing_since = None;
        } else if !self.record.place.is_empty() {
            self.missing_since.get_or_insert(now);
        }
        let missing_for = self.missing_since.map_or(0, |since| now - since);
        let decision = seen.decide(&self.record, missing_for);
        tracing::debug!(session = %self.record.id, ?decision, "reconciled");
        match decision {
            Decision::Resume | Decision::TakeLast => {
                self.record.place = place(seen.inventory());
                self.open_stream(link);
            }
            Decision::Finish(exit) => self.job_ended(End::from(&exit), exit).await?,
            Decision::Lost(end) => {
                let exit = m::ExitRecord {
                    reason: end.reason as i32,
                    at_ms: end.at_ms as u64,
                    detail: end.detail.clone(),
                    ..m::ExitRecord::default()
                };
                self.job_ended(end, exit).await?;
            }
            Decision::Spawn
                if self.asked_again_until.is_some_and(|until| Instant::now() < until)
                    && self.record.host == LOCAL =>
            {
                self.handle.host.tell(ToHost::LookAgain);
            }
            Decision::Spawn => self.spawn(link),
            Decision::EndIt => self.open_stream(link),
            Decision::Forget => self.forget_on_host(link),
            Decision::Wait(why) => {
                self.note(why);
                self.handle.host.tell(ToHost::LookAgain);
            }
        }
        point("reconcile-after");
        self.publish();
        Ok(())
    }

    /// The record of a session that is to go stays until the host has forgotten the job: else nobody would know of what
    /// is left there.
    fn forget_on_host(&mut self, link: &Rc<Link>) {
        point("forget-before-request");
        self.ask_agent(link, LinkAct::Forget(self.job_name()), Asked::Forget);
    }

    fn job_name(&self) -> m::JobName {
        m::JobName { job_id: self.record.job_id.to_string(), manager_id: self.manager.id.clone() }
    }

    fn note(&self, note: String) {
        self.handle.live.borrow_mut().notes = if note.is_empty() { Vec::new() } else { vec![note] };
    }

    fn ask_agent(&self, link: &Rc<Link>, act: LinkAct, asked: Asked) {
        let (link, mailbox) = (link.clone(), self.handle.mailbox.clone());
        tokio::task::spawn_local(async move {
            let answer = link.request(act).await;
            mailbox.send(ToSession::Answered(asked, answer));
        });
    }

    fn spawn(&mut self, link: &Rc<Link>) {
        point("spawn-before-request");
        self.spawn_asked = true;
        let spec = self.record.spec(&self.manager.id);
        let spawn = m::Spawn { spec: Some(spec), environment: self.environment.clone() };
        self.ask_agent(link, LinkAct::Spawn(spawn), Asked::Spawn);
    }

    async fn answered(
        &mut self,
        asked: Asked,
        answer: std::result::Result<LinkAnswer, NoAnswer>,
    ) -> Result<()> {
        match (asked, answer) {
            _ if self.finished => {}
            // The link ended: the next one asks again, under the same id.
            (asked, Err(NoAnswer)) => {
                if asked == Asked::Screen {
                    self.ending = None;
                    self.handle.host.tell(ToHost::LookAgain);
                }
            }
            (Asked::Screen, answer) => {
                let screen = match answer {
                    Ok(LinkAnswer::Screen(screen)) => self.screen_of(screen),
                    _ => None,
                };
                if let Some(ending) = &mut self.ending {
                    ending.screen = Some(screen);
                }
                self.write_ending().await?;
            }
            (Asked::Forget, Ok(LinkAnswer::Done(_))) if self.record.delete_requested => self.forget().await?,
            (Asked::Forget, Ok(_)) if self.record.delete_requested => {
                // It says that it still runs, or cannot say: the next inventory decides.
                self.handle.host.tell(ToHost::LookAgain);
            }
            (Asked::Spawn, Ok(LinkAnswer::Spawned(spawned))) => {
                point("spawn-after-answer");
                self.handle.live.borrow_mut().notes = spawned.warnings;
                if let Some(link) = self.link() {
                    self.open_stream(&link);
                }
            }
            (Asked::Spawn, Ok(LinkAnswer::Refused(refused))) => {
                let why = crate::ssh::clean(&refused.detail, 300);
                if refused.final_answer {
                    let error = Error::failed(why, "nothing was started");
                    let mut waiting = std::mem::take(&mut self.when_running);
                    // Who is told finds the record as it will stay.
                    let done = self.never_began().await;
                    answer_all(&mut waiting, &Err(error));
                    done?;
                } else {
                    self.note(why);
                    self.handle.host.tell(ToHost::LookAgain);
                }
            }
            (_, Ok(LinkAnswer::Refused(refused))) => self.note(crate::ssh::clean(&refused.detail, 300)),
            (_, Ok(_)) => {}
        }
        Ok(())
    }

    fn open_stream(&mut self, link: &Rc<Link>) {
        self.leave_stream();
        let Some(number) = link.open(self.record.job_id.to_string(), self.handle.mailbox.clone()) else {
            return;
        };
        self.epoch += 1;
        self.stream = Some(Stream { link: link.clone(), number });
        if self.record.delete_requested {
            self.end_job(EndReason::Deleted, false);
        }
        self.send(&Frame::Describe(m::Describe {
            name: self.record.name.clone().unwrap_or_default(),
            tags: self.record.tags.clone().into_iter().collect(),
            idle_timeout_ms: self.record.idle_timeout_ms.map(|ms| ms as u64),
            reap_unattended: self.record.reap_unattended,
        }));
        self.send_presence(false);
        self.subscribe();
        self.send_size();
        self.tell_views();
    }

    fn subscribe(&mut self) {
        let subscribe = if self.warm {
            self.replica.subscribe()
        } else {
            m::Subscribe { status_only: true, ..m::Subscribe::default() }
        };
        self.send(&Frame::Subscribe(subscribe));
    }

    fn cool(&mut self) {
        if self.warm && self.views.is_empty() {
            self.warm = false;
            self.replica.cool();
            self.subscribe();
        }
    }

    fn leave_stream(&mut self) {
        if let Some(stream) = self.stream.take() {
            stream.link.close_stream(stream.number);
        }
        self.replica.interrupted();
    }

    fn send(&self, frame: &Frame<'_>) {
        if let Some(stream) = &self.stream {
            stream.link.send(stream.number, frame);
        }
    }

    fn link_changed(&mut self) {
        if self.link().is_none() {
            self.stream = None;
            self.replica.interrupted();
            // Not written down: a manager that starts claims nothing in any case.
            if self.record.state == State::Running {
                self.record.state = State::Disconnected;
            }
            if self.record.delete_requested {
                // Kept in the record; carried out when the host is back.
                answer_all(&mut self.when_gone, &Ok(()));
            }
        }
        self.publish();
        self.tell_views();
    }

    async fn save(&mut self) -> Result<()> {
        self.unsaved = true;
        self.manager.store.save(&self.record).await?;
        self.unsaved = false;
        self.publish();
        Ok(())
    }

    /// Saves what the host told us. It is so whether or not the database takes it now: the session goes on, and what
    /// could not be saved is tried again.
    async fn save_or_try_again(&mut self) {
        if let Err(error) = self.save().await {
            tracing::warn!(session = %self.record.id, error = error.line(), "a record is not saved yet");
            self.note(error.message);
            self.try_again_later();
            self.publish();
        }
    }

    /// What everybody may look at is what is; whoever listens for events hears of the difference.
    fn publish(&self) {
        let mut live = self.handle.live.borrow_mut();
        let views = self.views.docs();
        self.manager.events.changed(&live.record, &self.record);
        self.manager.events.views(&self.record, &live.views, &views);
        live.record.clone_from(&self.record);
        live.views = views;
    }

    /// The holder's word on a new stream is the evidence that the job runs.
    async fn runs(&mut self) {
        if matches!(self.record.state, State::Init | State::Disconnected)
            && self.ended.is_none()
            && self.ending.is_none()
        {
            // That it runs is not worth a write: only what a manager that starts has to know.
            let news = self.record.state == State::Init || self.record.place.is_empty();
            self.record.runs(self.handle.host.place());
            self.note(String::new());
            if news {
                point("running-before-save");
                self.save_or_try_again().await;
                point("running-after-save");
            }
            self.publish();
        }
        answer_all(&mut self.when_running, &Ok(()));
    }

    async fn holder_frame(&mut self, frame: &OwnedFrame) -> Result<()> {
        let parsed = match frame.parse() {
            Ok(parsed) => parsed,
            Err(invalid) => {
                self.note(format!("the job's holder does not speak our protocol: {invalid}"));
                self.leave_stream();
                return Ok(());
            }
        };
        match parsed {
            Frame::Hello(theirs) => {
                if let Err(skew) = sessd_proto::negotiate(&theirs) {
                    self.note(skew.to_string());
                    self.leave_stream();
                }
            }
            Frame::Output { offset, bytes } => {
                self.replica.output(offset, bytes);
                self.grant();
                self.pump();
            }
            Frame::Snapshot { at, skipped, cols, rows, more, bytes } => {
                let stored = self.replica.snapshot(at, skipped, (cols, rows), more, bytes);
                self.grant();
                match stored {
                    Stored::More => {}
                    Stored::Whole => self.pump(),
                    Stored::TooLong => {
                        self.note("the job's holder sends a screen without end".into());
                        self.leave_stream();
                    }
                }
            }
            Frame::Range { offset, more, expired, bytes } => {
                self.views.range(offset, more, expired, bytes);
                if !more {
                    self.pump();
                }
            }
            Frame::InputAck { view, seq } => self.views.acknowledge(view, seq),
            Frame::Resize(size) => {
                if self.replica.resize(size.cols, size.rows) {
                    self.views.redraw_all();
                    self.pump();
                }
                self.tell_views();
            }
            Frame::Status(status) => {
                self.record.last_active_ms =
                    Some(i64::try_from(status.last_active_ms).unwrap_or(i64::MAX).min(clock::wall_ms()));
                if self.record.command.is_empty() && !status.command.is_empty() {
                    // The login shell by its name: a restart runs the same.
                    self.record.command =
                        status.command.iter().map(|word| crate::ssh::clean(word, 256)).collect();
                    self.save_or_try_again().await;
                }
                self.handle.live.borrow_mut().status = Some((clean_status(status), Instant::now()));
                self.runs().await;
                self.tell_views();
                self.publish();
            }
            Frame::Exited(exit) => self.job_ended(End::from(&exit), exit).await?,
            Frame::Close(close) => {
                self.stream = None;
                self.replica.interrupted();
                let reason = CloseReason::try_from(close.reason).unwrap_or(CloseReason::Unspecified);
                self.note(crate::ssh::clean(&close.detail, 300));
                tracing::info!(session = %self.record.id, ?reason, "the job's stream closed");
                if self.record.state == State::Running {
                    self.record.state = State::Disconnected;
                    self.publish();
                }
                // A closed stream is evidence of nothing; the next inventory tells.
                self.handle.host.tell(ToHost::LookAgain);
                self.tell_views();
            }
            _ => {}
        }
        Ok(())
    }

    /// The job has ended. Its last screen is looked for first: in the replica, if that has all of the output, else on the
    /// host, which keeps both until the record has them.
    async fn job_ended(&mut self, end: End, exit: m::ExitRecord) -> Result<()> {
        if self.finished || self.ending.is_some() {
            return Ok(());
        }
        let screen =
            if self.record.delete_requested { Some(None) } else { self.last_screen(&end, &exit).map(Some) };
        let known = screen.is_some();
        self.ending = Some(Ending { end, exit, screen });
        match self.link() {
            Some(link) if !known => {
                self.ask_agent(&link, LinkAct::ReadScreen(self.job_name()), Asked::Screen);
                Ok(())
            }
            _ => {
                if let Some(ending) = &mut self.ending {
                    ending.screen.get_or_insert(None);
                }
                self.write_ending().await
            }
        }
    }

    fn last_screen(&self, end: &End, exit: &m::ExitRecord) -> Option<Screen> {
        let hub = self.replica.hub()?;
        // Of a job that left no last word, what we saw last is all there is.
        (end.reason == EndReason::Lost || hub.head() >= exit.final_offset)
            .then(|| bounded_screen(hub.terminal()))
    }

    /// A screen that the host kept. It is not trusted: what is stored is drawn by our own model.
    fn screen_of(&self, screen: m::Screen) -> Option<Screen> {
        if screen.snapshot.is_empty() {
            return None;
        }
        let side = |n: u32, default: u16| u16::try_from(n).ok().filter(|n| *n > 0).unwrap_or(default);
        let size =
            Size { cols: side(screen.cols, self.record.size.0), rows: side(screen.rows, self.record.size.1) };
        let mut terminal = Terminal::new(size.clamped(), SCREEN_LINES[0]);
        terminal.feed(&screen.snapshot);
        Some(bounded_screen(&terminal))
    }

    /// The record says how the job ended before the host may forget it, and before anybody is told.
    async fn write_ending(&mut self) -> Result<()> {
        let Some(Ending { end, exit, screen: Some(screen) }) = &self.ending else { return Ok(()) };
        if self.record.delete_requested {
            point("delete-after-end");
            self.ended = Some(exit.clone());
            self.send(&Frame::ExitAck(m::Empty {}));
            self.ending = None;
            if let Some(link) = self.link() {
                self.forget_on_host(&link);
            }
            return Ok(());
        }
        let failed = Error::failed(format!("the job ended at once ({})", describe_end(end)), "");
        let mut done = self.record.clone();
        done.finish(end.clone(), clock::wall_ms());
        point("exit-before-save");
        self.manager.store.save_done(&done, screen.as_ref()).await?;
        point("exit-after-save");
        self.record = done;
        self.ended = self.ending.take().map(|ending| ending.exit);
        self.send(&Frame::ExitAck(m::Empty {}));
        point("exit-after-ack");
        if let Some(link) = self.link() {
            self.ask_agent(&link, LinkAct::Forget(self.job_name()), Asked::Forget);
        }
        // A job that ends within moments did run: whoever waits for that learns it, and finds the end in the record.
        let ran = self
            .record
            .end
            .as_ref()
            .is_some_and(|e| e.reason != EndReason::Failed && e.reason != EndReason::Lost);
        answer_all(&mut self.when_running, &if ran { Ok(()) } else { Err(failed) });
        self.leave();
        Ok(())
    }

    /// The host says, firmly, that the job never began: the session is what it was before it was asked for.
    async fn never_began(&mut self) -> Result<()> {
        let mut before = self.record.clone();
        if self.record.delete_requested || !before.fall_back() {
            return self.forget().await;
        }
        self.manager.store.save(&before).await?;
        self.record = before;
        let exit = m::ExitRecord { reason: EndReason::Failed as i32, ..m::ExitRecord::default() };
        self.ended = Some(exit);
        self.leave();
        Ok(())
    }

    /// The record is removed: the user wanted that, or there never was a job.
    async fn forget(&mut self) -> Result<()> {
        self.forgetting = true;
        point("forget-before-save");
        if let Err(error) = self.manager.store.forget(self.record.id).await {
            // That it is to go is in the record already, and it will.
            answer_all(&mut self.when_gone, &Err(error.clone()));
            return Err(error);
        }
        point("forget-after-save");
        self.forgetting = false;
        self.manager.events.session("deleted", &self.record);
        self.ended.get_or_insert_with(|| m::ExitRecord {
            reason: EndReason::Deleted as i32,
            ..m::ExitRecord::default()
        });
        answer_all(&mut self.when_running, &Err(Error::failed("the session was deleted", "")));
        self.leave();
        Ok(())
    }

    /// Last act: out of the registry; what remains is to let the views have their last bytes.
    fn leave(&mut self) {
        self.finished = true;
        self.publish();
        self.handle.live.borrow_mut().gone = true;
        self.handle.host.tell(ToHost::Dismiss(self.record.id));
        self.manager.session_gone(self.record.id, &self.record);
        answer_all(&mut self.when_gone, &Ok(()));
        answer_all(&mut self.restarting, &Ok(()));
        self.pump();
    }

    fn attach(&mut self, view: View, done: oneshot::Sender<Result<m::Attached>>) {
        if self.finished {
            let _ = done.send(Err(Error::no_such_session(&self.record.label())));
            return;
        }
        let attached = m::Attached {
            session_id: self.record.id.to_string(),
            name: self.record.name.clone().unwrap_or_default(),
            host: self.record.host.clone(),
            job_id: self.record.job_id.to_string(),
        };
        if view.take {
            self.views.send_away("");
        }
        view.out.put(0, &Frame::Attached(attached.clone()));
        let _ = done.send(Ok(attached));
        self.views.join(view, &self.record.job_id.to_string());
        self.manager.warmed(&self.handle);
        if !std::mem::replace(&mut self.warm, true) {
            self.subscribe();
        }
        self.views_changed(false);
        self.pump();
    }

    fn view_gone(&mut self, view: Uuid, on_purpose: bool) {
        if self.views.leave(view) {
            self.views_changed(on_purpose);
            self.grant();
        }
    }

    fn view_frame(&mut self, id: Uuid, frame: &OwnedFrame) {
        let parsed = match frame.parse() {
            Ok(parsed) => parsed,
            Err(invalid) => {
                self.views.close(id, &format!("the view does not speak our protocol: {invalid}"));
                return self.view_gone(id, false);
            }
        };
        match parsed {
            Frame::Input { view, seq, withdrawn, bytes } => {
                if view != id || self.views.is_read_only(id) {
                    return;
                }
                if !bytes.is_empty() && self.views.leaders.typed(id) {
                    self.send_size();
                    self.tell_views();
                }
                self.send(&Frame::Input { view, seq, withdrawn, bytes });
            }
            Frame::Credit(total) => {
                self.views.grant(id, total);
                self.pump();
                self.grant();
            }
            Frame::Resize(resize) => {
                let side = |n: u32| u16::try_from(n).ok().filter(|n| *n > 0);
                if let (Some(cols), Some(rows)) = (side(resize.cols), side(resize.rows)) {
                    self.views.leaders.resized(id, (cols, rows));
                    self.send_size();
                }
            }
            // The view's screen is not what it should be: it asks for all of it again.
            Frame::Subscribe(_) => {
                self.views.redraw(id);
                self.pump();
            }
            Frame::Detach(_) => {
                self.views.close(id, "");
                self.view_gone(id, true);
            }
            _ => {}
        }
    }

    fn views_changed(&mut self, on_purpose: bool) {
        self.send_presence(on_purpose);
        self.send_size();
        self.tell_views();
        self.publish();
    }

    fn send_presence(&self, left_on_purpose: bool) {
        let mut presence = self.views.presence();
        presence.left_on_purpose = left_on_purpose;
        (presence.manager_id, presence.manager_name) = (self.manager.id.clone(), self.manager.name.clone());
        self.send(&Frame::Presence(presence));
    }

    /// The PTY gets the leader's size. It is the holder that knows whether that is another.
    fn send_size(&mut self) {
        if let Some((cols, rows)) = self.views.leaders.size() {
            self.record.size = (cols, rows);
            self.send(&Frame::Resize(m::Resize { cols: cols.into(), rows: rows.into() }));
        }
    }

    /// Tells every view where its session stands; only what changed is sent.
    fn tell_views(&mut self) {
        let status = self.handle.host.status();
        let word = match (&self.stream, status.word(&self.record.host)) {
            // The link is up and the holder does not answer: that is no "up" for this session.
            (None, "up" | "local") => "connecting",
            (_, word) => word,
        };
        let state = m::ViewState {
            link: word.to_owned(),
            epoch: self.epoch,
            next_try_ms: status.next_try_ms().map(|ms| ms as u64),
            detail: status.why().map(|e| e.message.clone()).unwrap_or_default(),
            leader: false,
            cols: self.replica.size().map_or(0, |s| s.cols.into()),
            rows: self.replica.size().map_or(0, |s| s.rows.into()),
        };
        self.views.tell(&state);
    }

    fn grant(&mut self) {
        if !self.views.holds_back(self.replica.hub())
            && let Some(total) = self.replica.grant()
        {
            self.send(&Frame::Credit(total));
        }
    }

    /// Gives every view what it is due.
    fn pump(&mut self) {
        let Some(hub) = self.replica.hub() else {
            if let Some(exit) = &self.ended {
                self.views.end(None, exit);
            }
            return;
        };
        if let Some((from, to)) = self.views.wanted_range(hub) {
            if self.stream.is_some() {
                self.send(&Frame::ReadRange(m::ReadRange { from, to }));
            } else {
                self.views.no_range();
            }
        }
        let Some(hub) = self.replica.hub() else { return };
        self.views.pump(hub);
        if let Some(exit) = &self.ended {
            self.views.end(Some(hub), exit);
        }
    }

    async fn tag(&mut self, tag: m::Tag) -> Result<()> {
        let mut new = self.record.clone();
        if let Some(name) = tag.name {
            sessd_core::names::check_name(&name).map_err(|e| Error::usage(e.to_string()))?;
            self.manager.check_free(&name, Some(self.record.id))?;
            new.name = Some(name);
        }
        for key in tag.remove {
            new.tags.remove(&key);
        }
        new.tags.extend(tag.set);
        sessd_core::names::check_tags(&new.tags).map_err(|e| Error::usage(e.to_string()))?;
        point("tag-before-save");
        self.manager.store.save(&new).await?;
        point("tag-after-save");
        self.record = new;
        self.publish();
        self.send(&Frame::Describe(m::Describe {
            name: self.record.name.clone().unwrap_or_default(),
            tags: self.record.tags.clone().into_iter().collect(),
            idle_timeout_ms: self.record.idle_timeout_ms.map(|ms| ms as u64),
            reap_unattended: self.record.reap_unattended,
        }));
        Ok(())
    }

    fn end_job(&self, reason: EndReason, force: bool) {
        self.send(&Frame::End(m::End { reason: reason as i32, force }));
    }

    async fn delete(&mut self, force: bool) -> Result<()> {
        if self.finished {
            answer_all(&mut self.when_gone, &Ok(()));
            return Ok(());
        }
        if !self.record.delete_requested {
            self.record.delete_requested = true;
            point("delete-before-save");
            if let Err(error) = self.save().await {
                self.record.delete_requested = false;
                self.unsaved = false;
                answer_all(&mut self.when_gone, &Err(error.clone()));
                return Err(error);
            }
            point("delete-after-save");
        }
        if self.ended.is_some()
            && let Some(link) = self.link()
        {
            self.forget_on_host(&link);
        } else if self.stream.is_some() {
            self.end_job(EndReason::Deleted, force);
        } else if self.record.place.is_empty() && !self.spawn_asked {
            // The host was never told of it.
            self.forget().await?;
        } else if let Some(link) = self.link() {
            let end = m::End { reason: EndReason::Deleted as i32, force };
            let end = m::EndJob { job_id: self.record.job_id.to_string(), end: Some(end) };
            self.ask_agent(&link, LinkAct::End(end), Asked::End);
            self.handle.host.tell(ToHost::LookAgain);
            answer_all(&mut self.when_gone, &Ok(()));
        } else {
            // Kept in the record; carried out when the host is back.
            answer_all(&mut self.when_gone, &Ok(()));
        }
        Ok(())
    }
}

/// A holder's words are shown to people: no control characters, bounded.
fn clean_status(mut status: m::JobStatus) -> m::JobStatus {
    status.title = crate::ssh::clean(&status.title, 256);
    status.cwd = crate::ssh::clean(&status.cwd, 1024);
    status.foreground = crate::ssh::clean(&status.foreground, 64);
    status.agent_version = crate::ssh::clean(&status.agent_version, 32);
    status
}

/// A terminal's screen with as much of its scrollback as is kept.
fn bounded_screen(terminal: &Terminal) -> Screen {
    let size = terminal.size();
    let mut snapshot = Vec::new();
    for scrollback_lines in SCREEN_LINES {
        snapshot.clear();
        terminal.snapshot(SnapshotOptions { scrollback_lines, ..SnapshotOptions::default() }, &mut snapshot);
        if snapshot.len() <= SCREEN_MAX {
            break;
        }
    }
    Screen { snapshot, size: (size.cols, size.rows) }
}

/// One phrase for people.
pub fn describe_end(end: &End) -> String {
    match (end.reason, end.code, end.signal) {
        (EndReason::Exited, Some(code), _) => format!("exited {code}"),
        (EndReason::Signaled, _, Some(signal)) => format!("killed by signal {signal}"),
        (reason, ..) => sessd_core::record::reason_word(reason).to_owned(),
    }
}
