//! The task that drives a session's machine: it decides nothing.
//!
//! One message is taken at a time, and all that the machine wants for it is carried out before the next: a key goes from its
//! connection's task through this one to the link's queue, and no further task. What takes time (the database, the agent) is
//! begun, and comes back as a message.

use super::{Answer, Session, SessionContext, ToSession};
use crate::failpoints::failpoint;
use crate::forward::{Forwards, is_ours};
use crate::host::{Status, ToHost};
use crate::link::Link;
use crate::wire::OutQueue;
use sessd_base::clock;
use sessd_base::turn::{TURN, Turn, rest_after};
use sessd_core::record::Record;
use sessd_core::session::{
    self as core, Asker, Caller, Effect, Event, HostStage, HostState, Now, Removed, Shown, Write, WriteId,
};
use sessd_core::stream::StreamId;
use sessd_proto::Uuid;
use sessd_proto::docs::event::What;
use sessd_proto::docs::{Error, Result};
use sessd_proto::messages::{self as m, LinkAct};
use std::any::Any;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Whoever waits for what the machine says.
enum Waiting {
    /// For its end.
    Done(Answer<()>),
    /// To be let in as a view.
    View(Uuid, OutQueue, Answer<m::Attached>),
    /// For how many views were sent away.
    Count(Answer<usize>),
    /// For the session to be gone.
    Removed(Answer<Removed>),
    /// For what became of what was to be typed.
    Sent(Answer<m::Sent>),
    /// For the session as it goes on.
    Session(Answer<Rc<Session>>),
}

pub(super) struct Task {
    handle: Rc<Session>,
    context: Rc<dyn SessionContext>,
    machine: core::Session,
    /// Where the machine's steady clock begins.
    began: Instant,
    /// What it was told last of the host.
    host: HostState,
    job_id: String,
    /// The stream whose queue the handle shows.
    stream: Option<StreamId>,
    views: Views,
    askers: BTreeMap<Asker, Waiting>,
    asked: u64,
    claim: Option<Box<dyn Any>>,
    forwards: Rc<Forwards>,
    /// What that was told of the stream to the holder.
    path: Option<(StreamId, bool)>,
}

/// What goes to the views. Whatever ends the task that had them, they do not wait for what never comes.
#[derive(Default)]
struct Views(BTreeMap<Uuid, OutQueue>);

impl Drop for Views {
    fn drop(&mut self) {
        self.0.values().for_each(OutQueue::close);
    }
}

impl Task {
    pub(super) fn new(
        handle: Rc<Session>,
        context: Rc<dyn SessionContext>,
        record: Record,
        caller: Option<Caller>,
    ) -> Self {
        let (began, us) = (context.began(), context.manager());
        let job_id = record.job_id.to_string();
        Self {
            handle,
            forwards: context.clone().forwards_of(record.id),
            path: None,
            machine: core::Session::new(record, caller, us, now(began)),
            context,
            began,
            host: HostState::default(),
            job_id,
            stream: None,
            views: Views::default(),
            askers: BTreeMap::new(),
            asked: 0,
            claim: None,
        }
    }

    pub(super) async fn run(mut self, mut receiver: mpsc::UnboundedReceiver<ToSession>) {
        let mailbox = self.handle.mailbox.clone();
        let mut turn = Turn::default();
        while let Some(message) = self.next(&mut receiver, &mut turn).await {
            mailbox.took(&message);
            let began = Instant::now();
            self.take(message);
            rest(began.elapsed(), &mut turn).await;
        }
        // Who wrote to us while we left means the session, not us.
        receiver.close();
        while let Ok(message) = receiver.try_recv() {
            self.take(message);
        }
    }

    /// The next message; while there is none, the model is worked on. None: it is over, or nobody can send one any more.
    async fn next(
        &mut self,
        receiver: &mut mpsc::UnboundedReceiver<ToSession>,
        turn: &mut Turn,
    ) -> Option<ToSession> {
        while !self.machine.is_over() {
            turn.pass().await;
            match receiver.try_recv() {
                Ok(message) => return Some(message),
                Err(mpsc::error::TryRecvError::Disconnected) => return None,
                Err(mpsc::error::TryRecvError::Empty) => {}
            }
            if self.machine.has_work() {
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
            let Some(at) = self.machine.deadline() else { return receiver.recv().await };
            tokio::select! {
                message = receiver.recv() => return message,
                () = tokio::time::sleep_until((self.began + Duration::from_millis(at)).into()) => {
                    self.tell(Event::Tick);
                }
            }
        }
        None
    }

    /// A turn's work on the model. How much of the thread it took.
    fn work(&mut self) -> Duration {
        let began = Instant::now();
        while self.machine.has_work() && began.elapsed() < TURN {
            self.machine.work(now(self.began));
            self.carry_out();
        }
        began.elapsed()
    }

    fn tell(&mut self, event: Event<'_>) {
        self.machine.handle(now(self.began), event);
        self.carry_out();
    }

    fn take(&mut self, message: ToSession) {
        if !matches!(message, ToSession::Frame { .. } | ToSession::ViewFrame(..)) {
            self.look_at_host();
        }
        match message {
            ToSession::Tell(event) => self.tell(event),
            // It was told.
            ToSession::LinkChanged => {}
            ToSession::Frame { stream, frame } if is_ours(frame.raw().kind) => {
                self.forwards.hear(stream, &frame)
            }
            ToSession::Frame { stream, frame } => self.tell(Event::Holder { stream, frame: frame.raw() }),
            ToSession::Attach(view, out, answer) => {
                if self.views.0.get(&view.id).is_some_and(OutQueue::is_closed) {
                    // Its old connection is gone, and that is still on its way to us.
                    self.tell(Event::ViewGone { view: view.id, on_purpose: false });
                }
                let asker = self.asker(Waiting::View(view.id, out, answer));
                self.tell(Event::Attach(view, asker));
            }
            ToSession::ViewFrame(view, frame) => self.tell(Event::View { view, frame: frame.raw() }),
            ToSession::Drained(view) => self.drained(view),
            ToSession::SendAway { which, why, scripts, done } => {
                let asker = self.asker(Waiting::Count(done));
                self.tell(Event::SendAway { which, why, scripts, asker });
            }
            ToSession::Type(send, done) => {
                let asker = self.asker(Waiting::Sent(done));
                self.tell(Event::Type(send, asker));
            }
            ToSession::Tag(tag, done) => {
                let asker = self.asker(Waiting::Done(done));
                self.tell(Event::Tag(tag, asker));
            }
            ToSession::SetSize(policy, size, done) => {
                let asker = self.asker(Waiting::Done(done));
                self.tell(Event::SetSize(policy, size, asker));
            }
            ToSession::Delete { force, done } => {
                let asker = self.asker(Waiting::Removed(done));
                self.tell(Event::Delete { force, asker });
            }
            ToSession::Restart { job_id, caller, done } => {
                let asker = self.asker(Waiting::Session(done));
                self.tell(Event::Restart { job_id, caller, asker });
            }
            ToSession::MoveTo(host, done) => {
                let asker = self.asker(Waiting::Session(done));
                self.tell(Event::MoveTo(host, asker));
            }
            ToSession::WhenRunning(done) => {
                let asker = self.asker(Waiting::Done(done));
                self.tell(Event::WhenRunning(asker));
            }
        }
    }

    fn asker(&mut self, waiting: Waiting) -> Asker {
        self.asked += 1;
        self.askers.insert(Asker(self.asked), waiting);
        Asker(self.asked)
    }

    fn link(&self) -> Option<Rc<Link>> {
        match self.handle.host.status() {
            Status::Up(link) => Some(link),
            _ => None,
        }
    }

    /// Tells the machine where the link stands, if that is another than it knows.
    fn look_at_host(&mut self) {
        let stage = match self.handle.host.status() {
            Status::Dormant => HostStage::Dormant,
            Status::Connecting => HostStage::Connecting,
            Status::Up(link) => HostStage::Up { stalled: link.is_stalled() },
            Status::Down { next_try_ms, why } => HostStage::Down { next_try_ms, why },
            Status::NeedsPerson(why) => HostStage::NeedsPerson(why),
            Status::Disconnected(why) => HostStage::Disconnected(why),
        };
        let silent_since = self.handle.host.silent_since();
        let silent_since_ms =
            silent_since.map(|at| at.into_std().saturating_duration_since(self.began).as_millis() as u64);
        let host = HostState { stage, silent_since_ms };
        if self.host != host {
            self.host.clone_from(&host);
            self.tell(Event::Host(host));
        }
    }

    fn drained(&mut self, view: Uuid) {
        // Of one whose connection is gone, that is still on its way to us: what waits for it will never be read.
        if let Some(out) = self.views.0.get(&view).filter(|out| !out.is_closed()) {
            let waiting = out.len();
            self.tell(Event::Drained { view, waiting });
        }
    }

    fn carry_out(&mut self) {
        self.carry_out_effects();
        if let Some(head) = self.machine.head() {
            self.handle.head.set(head);
        }
        let path = self.machine.path();
        if path != self.path {
            self.path = path;
            let link = self.link();
            if link.is_some() {
                self.forwards.config_says(self.handle.host.forwards_agent());
            }
            let (stream, knows) = path.unzip();
            self.forwards.path(link.zip(stream), knows.unwrap_or_default());
        }
    }

    fn carry_out_effects(&mut self) {
        while let Some(effect) = self.machine.poll() {
            match effect {
                Effect::Write(id, what) => self.write(id, what),
                Effect::Show(shown) => self.show(*shown),
                Effect::Reply(asker, answer) => self.reply(asker, answer),
                // Their answer never comes, and the session is gone.
                Effect::LookForAnother(asker) => drop(self.askers.remove(&asker)),
                Effect::Ask(asked, act) => self.ask(asked, *act),
                Effect::Open => {
                    let sink = Rc::new(self.handle.mailbox.clone());
                    let stream = self.link().and_then(|link| link.open(self.job_id.clone(), sink));
                    self.machine.handle(now(self.began), Event::Opened(stream));
                }
                Effect::Close(stream) => {
                    if let Some(link) = self.link() {
                        link.close_stream(stream);
                    }
                }
                Effect::OpenBypass { from, path } => self.open_bypass(from, path),
                Effect::ToHolder(stream, packet) => {
                    // The streams of a link that is gone are gone with it.
                    let Some(link) = self.link() else { continue };
                    if self.stream.replace(stream) != Some(stream) {
                        *self.handle.to_holder.borrow_mut() = Some(link.queue_of(stream));
                    }
                    link.relay(stream, packet.raw());
                }
                Effect::ToView(view, bytes) => {
                    if let Some(out) = self.views.0.get(&view) {
                        out.append(bytes);
                    }
                }
                Effect::CloseView(view) => {
                    if let Some(out) = self.views.0.remove(&view) {
                        out.close();
                    }
                }
                Effect::WhenDrained(view) => self.when_drained(view),
                Effect::ProbeAgain => self.handle.host.tell(ToHost::ProbeAgain),
                Effect::ProbeNow => self.handle.host.tell(ToHost::ProbeNow),
                Effect::Hasten => self.handle.host.hasten(),
                Effect::Warmed => self.context.warmed(&self.handle),
                Effect::Claim(name) => {
                    let claimed = self.context.claim(&name, self.handle.id);
                    let claimed = claimed.map(|claim| self.claim = Some(claim));
                    self.machine.handle(now(self.began), Event::Claimed(claimed));
                }
                Effect::Unclaim => self.claim = None,
                Effect::Notice(notice) => {
                    self.context.events().notice(&self.handle.live.borrow().record, &notice);
                }
                Effect::Deleted => {
                    self.context.session_forgotten(self.handle.id);
                    self.context.events().session(What::Deleted, &self.handle.live.borrow().record);
                }
                Effect::HandOn { record, caller, running, told } => {
                    self.hand_on(*record, caller, running, told);
                }
                Effect::Leave => {
                    self.handle.live.borrow_mut().gone = true;
                    self.handle.host.dismiss(self.handle.id);
                    self.context.session_gone(&self.handle);
                }
                Effect::PassOn(event) => self.pass_on(event),
                Effect::Failpoint(name) => failpoint(name),
            }
        }
    }

    /// What everybody may look at is what is; whoever listens for events hears of the difference.
    fn show(&self, shown: Shown) {
        let mut live = self.handle.live.borrow_mut();
        let reap = |status: &m::JobStatus| status.reap_at_ms;
        let was = live.status.as_ref().and_then(|(status, _)| reap(status));
        let is = shown.status.as_ref().and_then(|(status, _)| reap(status));
        self.context.events().changed(&live.record, &shown.record);
        self.context.events().views(&shown.record, &live.views, &shown.views);
        self.context.events().reaping(&shown.record, was, is);
        if live.doing != shown.doing {
            self.context.events().activity(&shown.record, live.doing.as_ref(), shown.doing.as_ref());
        }
        if live.views.is_empty() != shown.views.is_empty() {
            self.handle.host.tell(ToHost::Watched);
        }
        live.doing = shown.doing;
        (live.record, live.views, live.notes) = (shown.record, shown.views, shown.notes);
        live.holder_silent_since =
            shown.holder_silent_since_ms.map(|at| self.began + Duration::from_millis(at));
        live.status = shown.status.map(|(status, at)| (status, self.began + Duration::from_millis(at)));
        drop(live);
        self.context.session_changed(&self.handle);
    }

    fn write(&self, id: WriteId, what: Write) {
        let (store, mailbox, session) =
            (self.context.store().clone(), self.handle.mailbox.clone(), self.handle.id);
        tokio::task::spawn_local(async move {
            let result = match what {
                Write::Save(record) => store.save(&record).await,
                Write::Done(record, screen) => store.save_done(&record, screen.as_ref()).await,
                Write::Forget => store.forget(session).await,
            };
            if let Err(error) = &result {
                tracing::warn!(%session, error = error.line(), "a step of a session failed");
            }
            mailbox.send(ToSession::Tell(Event::Written(id, result)));
        });
    }

    fn ask(&self, asked: core::AgentRequest, mut act: LinkAct) {
        if let LinkAct::Spawn(m::Spawn { spec: Some(spec), .. }) = &mut act {
            self.forwards.config_says(self.handle.host.forwards_agent());
            spec.agent = self.forwards.forwards_agent();
        }
        let (link, mailbox) = (self.link(), self.handle.mailbox.clone());
        tokio::task::spawn_local(async move {
            let answer = match link {
                Some(link) => link.request(act).await.ok(),
                None => None,
            };
            mailbox.send(ToSession::Tell(Event::Answered(asked, answer)));
        });
    }

    fn open_bypass(&self, from: StreamId, path: String) {
        let (Some(link), mailbox) = (self.link(), self.handle.mailbox.clone()) else { return };
        tokio::task::spawn_local(async move {
            if let Some(to) = link.open_bypass(&path, Rc::new(mailbox.clone())).await {
                mailbox.send(ToSession::Tell(Event::Bypass { from, to }));
            }
        });
    }

    fn when_drained(&mut self, view: Uuid) {
        // One that was closed is not asked: it would be as full as it is for as long as we asked.
        let Some(out) = self.views.0.get(&view).filter(|out| !out.is_closed()) else { return };
        if out.is_full() {
            let mailbox = self.handle.mailbox.clone();
            out.when_drained(move || mailbox.send(ToSession::Drained(view)));
        } else {
            let waiting = out.len();
            self.machine.handle(now(self.began), Event::Drained { view, waiting });
        }
    }

    /// Who asked may have gone.
    fn reply(&mut self, asker: Asker, answer: Result<core::Answer>) {
        let Some(waiting) = self.askers.remove(&asker) else { return };
        match (waiting, answer) {
            (Waiting::Done(done), answer) => drop(done.send(answer.map(drop))),
            (Waiting::View(id, out, done), Ok(core::Answer::Attached(attached))) => {
                self.views.0.insert(id, out);
                drop(done.send(Ok(attached)));
            }
            (Waiting::View(.., done), answer) => drop(done.send(Err(error_of(answer)))),
            (Waiting::Count(done), Ok(core::Answer::SentAway(count))) => drop(done.send(Ok(count))),
            (Waiting::Count(done), answer) => drop(done.send(Err(error_of(answer)))),
            (Waiting::Removed(done), Ok(core::Answer::Removed(removed))) => drop(done.send(Ok(removed))),
            (Waiting::Removed(done), answer) => drop(done.send(Err(error_of(answer)))),
            (Waiting::Sent(done), Ok(core::Answer::Sent(sent))) => drop(done.send(Ok(sent))),
            (Waiting::Sent(done), answer) => drop(done.send(Err(error_of(answer)))),
            (Waiting::Session(done), Ok(core::Answer::Here)) => drop(done.send(Ok(self.handle.clone()))),
            (Waiting::Session(done), answer) => drop(done.send(Err(error_of(answer)))),
        }
    }

    fn hand_on(&mut self, record: Record, caller: Option<Caller>, running: Vec<Asker>, told: Vec<Asker>) {
        {
            let mut live = self.handle.live.borrow_mut();
            self.context.events().changed(&live.record, &record);
            live.gone = true;
        }
        if record.host != self.handle.host.name {
            self.handle.host.dismiss(self.handle.id);
        }
        let next = self.context.clone().start_task(record, caller);
        for asker in running {
            if let Some(Waiting::Done(done)) = self.askers.remove(&asker) {
                next.mailbox.send(ToSession::WhenRunning(done));
            }
        }
        for asker in told {
            if let Some(Waiting::Session(done)) = self.askers.remove(&asker) {
                // Who asked may have gone.
                let _ = done.send(Ok(next.clone()));
            }
        }
    }

    /// To the task that the session has by now. Without one whoever asked finds the record.
    fn pass_on(&mut self, event: Event<'static>) {
        let next = self.context.session_now(self.handle.id);
        let message = match event {
            Event::AskedAgain(_) => Some(ToSession::Tell(event)),
            Event::Tag(tag, asker) => match self.askers.remove(&asker) {
                Some(Waiting::Done(done)) => Some(ToSession::Tag(tag, done)),
                _ => None,
            },
            Event::SetSize(policy, size, asker) => match self.askers.remove(&asker) {
                Some(Waiting::Done(done)) => Some(ToSession::SetSize(policy, size, done)),
                _ => None,
            },
            Event::WhenRunning(asker) => match self.askers.remove(&asker) {
                Some(Waiting::Done(done)) => Some(ToSession::WhenRunning(done)),
                _ => None,
            },
            Event::Delete { force, asker } => match self.askers.remove(&asker) {
                Some(Waiting::Removed(done)) => Some(ToSession::Delete { force, done }),
                _ => None,
            },
            Event::Restart { job_id, caller, asker } => match self.askers.remove(&asker) {
                Some(Waiting::Session(done)) => Some(ToSession::Restart { job_id, caller, done }),
                _ => None,
            },
            Event::MoveTo(host, asker) => match self.askers.remove(&asker) {
                Some(Waiting::Session(done)) => Some(ToSession::MoveTo(host, done)),
                _ => None,
            },
            Event::SendAway { which, why, scripts, asker } => match self.askers.remove(&asker) {
                Some(Waiting::Count(done)) => Some(ToSession::SendAway { which, why, scripts, done }),
                _ => None,
            },
            Event::Type(send, asker) => match self.askers.remove(&asker) {
                Some(Waiting::Sent(done)) => Some(ToSession::Type(send, done)),
                _ => None,
            },
            _ => None,
        };
        if let (Some(next), Some(message)) = (next, message) {
            next.mailbox.send(message);
        }
    }
}

fn now(began: Instant) -> Now {
    Now { steady_ms: began.elapsed().as_millis() as u64, wall_ms: clock::wall_ms() }
}

/// An answer to another question than was asked would be a mistake of ours.
fn error_of(answer: Result<core::Answer>) -> Error {
    answer.err().unwrap_or_else(|| Error::failed("the manager answered what was not asked", "try again"))
}

/// Work that could not be cut into turns is paid for.
async fn rest(busy: Duration, turn: &mut Turn) {
    if let Some(rest) = rest_after(busy) {
        tokio::time::sleep(rest).await;
        turn.renew();
    }
}
