//! One task per session: the only owner of its record, its replica and its views. Everybody else sends it messages.
//!
//! It decides little: what to do about its job is `sessd_core::reconcile`, which view leads is `sessd_core::leader`, what a
//! subscriber gets next is `sessd_terminal::Cursor`. It carries that out, in this order: the database first, then the host,
//! then the views.

use crate::clock;
use crate::error::{Error, Result};
use crate::manager::Manager;
use crate::manager::doc::ViewDoc;
use crate::manager::host::{Host, ToHost};
use crate::manager::link::{Link, NoAnswer};
use crate::manager::replica::{Replica, Stored};
use crate::manager::views::{View, Views};
use crate::wire::OwnedFrame;
use sessd_core::reconcile::{Decision, Seen, place};
use sessd_core::record::{End, Record, State};
use sessd_proto::messages::{self as m, CloseReason, EndReason, LinkAct, LinkAnswer};
use sessd_proto::{Frame, Uuid};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::time::Instant;
use tokio::sync::{mpsc, oneshot};

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
    /// Starts the task of a session whose record is in the database already.
    pub fn start(
        record: Record,
        environment: HashMap<String, String>,
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
            environment,
            stream: None,
            replica: Replica::new(),
            warm: false,
            views: Views::new(),
            epoch: 0,
            missing_since: None,
            spawn_asked: false,
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
    spawn_asked: bool,
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
                // What failed is asked for again by the next look; nothing was claimed that is not so.
                tracing::warn!(session = %self.record.id, error = error.line(), "a step of a session failed");
                self.note(error.message);
            }
        }
        self.leave_stream();
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
            ToSession::LinkChanged => self.link_changed().await?,
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
                self.restarting.push(done);
                self.end_job(EndReason::Restarted, false);
            }
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
            Decision::Finish(exit) => {
                self.finish(End::from(&exit), exit).await?;
                self.ask_agent(link, LinkAct::Forget(self.job_name()), Asked::Forget);
            }
            Decision::Lost(end) => {
                let exit = m::ExitRecord {
                    reason: end.reason as i32,
                    at_ms: end.at_ms as u64,
                    detail: end.detail.clone(),
                    ..m::ExitRecord::default()
                };
                self.finish(end, exit).await?;
            }
            Decision::Spawn => self.spawn(link),
            Decision::EndIt => self.open_stream(link),
            Decision::Forget => {
                self.ask_agent(link, LinkAct::Forget(self.job_name()), Asked::Forget);
                self.forget().await?;
            }
            Decision::Wait(why) => {
                self.note(why);
                self.handle.host.tell(ToHost::LookAgain);
            }
        }
        self.publish();
        Ok(())
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
            // The link ended: the next one asks again, under the same id.
            (_, Err(NoAnswer)) => {}
            (Asked::Spawn, Ok(LinkAnswer::Spawned(spawned))) => {
                self.handle.live.borrow_mut().notes = spawned.warnings;
                if let Some(link) = self.link() {
                    self.open_stream(&link);
                }
            }
            (Asked::Spawn, Ok(LinkAnswer::Refused(refused))) => {
                let why = crate::ssh::clean(&refused.detail, 300);
                if refused.final_answer {
                    let error = Error::failed(why, "nothing was started");
                    answer_all(&mut self.when_running, &Err(error));
                    self.forget().await?;
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

    async fn link_changed(&mut self) -> Result<()> {
        if self.link().is_none() {
            self.stream = None;
            self.replica.interrupted();
            if self.record.state == State::Running {
                self.record.state = State::Disconnected;
                self.save().await?;
            }
        }
        self.publish();
        self.tell_views();
        Ok(())
    }

    async fn save(&mut self) -> Result<()> {
        self.manager.store.save(&self.record).await?;
        self.publish();
        Ok(())
    }

    fn publish(&self) {
        let mut live = self.handle.live.borrow_mut();
        live.record.clone_from(&self.record);
        live.views = self.views.docs();
    }

    /// The holder's word on a new stream is the evidence that the job runs.
    async fn runs(&mut self) -> Result<()> {
        if matches!(self.record.state, State::Init | State::Disconnected) && self.ended.is_none() {
            self.record.state = State::Running;
            if self.record.place.is_empty()
                && let Some(place) = self.handle.host.place()
            {
                self.record.place = place;
            }
            self.note(String::new());
            self.save().await?;
        }
        answer_all(&mut self.when_running, &Ok(()));
        Ok(())
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
                self.record.last_active_ms = Some(status.last_active_ms as i64);
                if self.record.command.is_empty() && !status.command.is_empty() {
                    // The login shell by its name: a restart runs the same.
                    self.record.command =
                        status.command.iter().map(|word| crate::ssh::clean(word, 256)).collect();
                    self.save().await?;
                }
                self.handle.live.borrow_mut().status = Some((clean_status(status), Instant::now()));
                self.runs().await?;
                self.tell_views();
                self.publish();
            }
            Frame::Exited(exit) => {
                self.send(&Frame::ExitAck(m::Empty {}));
                self.job_exited(exit).await?;
            }
            Frame::Close(close) => {
                self.stream = None;
                self.replica.interrupted();
                let reason = CloseReason::try_from(close.reason).unwrap_or(CloseReason::Unspecified);
                self.note(crate::ssh::clean(&close.detail, 300));
                tracing::info!(session = %self.record.id, ?reason, "the job's stream closed");
                if self.record.state == State::Running {
                    self.record.state = State::Disconnected;
                    self.save().await?;
                }
                // A closed stream is evidence of nothing; the next inventory tells.
                self.handle.host.tell(ToHost::LookAgain);
                self.tell_views();
            }
            _ => {}
        }
        Ok(())
    }

    async fn job_exited(&mut self, exit: m::ExitRecord) -> Result<()> {
        if let Some(link) = self.link() {
            self.ask_agent(&link, LinkAct::Forget(self.job_name()), Asked::Forget);
        }
        if self.record.delete_requested {
            self.ended = Some(exit);
            self.forget().await?;
        } else {
            self.finish(End::from(&exit), exit).await?;
        }
        Ok(())
    }

    /// The job has ended: the record says so before anybody is told.
    async fn finish(&mut self, end: End, exit: m::ExitRecord) -> Result<()> {
        if self.record.delete_requested {
            self.ended = Some(exit);
            return self.forget().await;
        }
        let failed = Error::failed(format!("the job ended at once ({})", describe_end(&end)), "");
        self.record.finish(end);
        self.save().await?;
        self.ended = Some(exit);
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

    /// The record is removed: the user wanted that, or there never was a job.
    async fn forget(&mut self) -> Result<()> {
        self.manager.store.forget(self.record.id).await?;
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
        self.manager.store.save(&new).await?;
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
            if let Err(error) = self.save().await {
                self.record.delete_requested = false;
                answer_all(&mut self.when_gone, &Err(error.clone()));
                return Err(error);
            }
        }
        if self.stream.is_some() {
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

/// One phrase for people.
pub fn describe_end(end: &End) -> String {
    match (end.reason, end.code, end.signal) {
        (EndReason::Exited, Some(code), _) => format!("exited {code}"),
        (EndReason::Signaled, _, Some(signal)) => format!("killed by signal {signal}"),
        (reason, ..) => sessd_core::record::reason_word(reason).to_owned(),
    }
}

/// Tags on the wire and in a record are the same words in another container.
pub fn sorted(tags: HashMap<String, String>) -> BTreeMap<String, String> {
    tags.into_iter().collect()
}
