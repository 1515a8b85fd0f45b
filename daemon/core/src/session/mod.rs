//! One session, as a machine without I/O: the only owner of its record, its replica and its views.
//!
//! [`Session::handle`] takes what happened and the time; [`Session::poll`] gives what is to be done, in order; at
//! [`Session::deadline`] it wants to hear [`Event::Tick`]. Whoever drives it carries effects out before it tells the next
//! event, and answers [`Effect::Open`] and [`Effect::Claim`] at once. The same events give the same effects.
//!
//! It decides little by itself: what to do about its job is [`crate::reconcile`], how it goes is [`crate::removal`], which
//! view leads is [`crate::leader`], what a subscriber gets next is `sessd_terminal::Cursor`. It puts that in order: the
//! database first, then the host, then the views. What a user wants is written before the host is told of it and before they
//! are answered; nothing but that waits for the database, so that keys, output and sizes pass meanwhile. What the host says
//! is so whether or not it can be written: that a job runs is told once the write of it has come to its end, be that a
//! failure, since its record is there from before the host was asked, and the next manager asks the host again.

mod audience;
mod effect;
mod ending;
mod host;
mod output;
mod phase;
mod removal;
mod scripts;
mod silence;
mod stream;
#[cfg(test)]
mod tests;
mod writes;

pub use effect::{
    AgentRequest, Answer, Asker, Caller, Effect, Effects, Event, HostStage, HostState, Now, Packet, Shown,
    Write, WriteId,
};
pub use phase::{Ending, Forgetting, Phase, Removal, Removed, Restart, Wish};

use crate::pace::Paced;
use crate::record::{Record, State};
use crate::replica::Replica;
use crate::stream::StreamId;
use crate::views::{Needs, Views};
use sessd_proto::Frame;
use sessd_proto::docs::{Error, Result};
use sessd_proto::hello::feature;
use sessd_proto::messages as m;
use std::collections::VecDeque;
use stream::{Opening, Stream};
use writes::Writing;

/// The holder is told of another size no more often than that: a window that is being dragged, or a storm.
const SIZE_GAP_MS: u64 = 20;
/// How soon what could not be written down is tried again, and how often at the least.
const AGAIN_FIRST_MS: u64 = 500;
const AGAIN_LAST_MS: u64 = 15_000;
/// How long a session that was asked for on this machine, just before the manager died, waits for whoever asked to ask
/// again: its environment was in no record.
const ASKED_AGAIN_MS: u64 = 2_000;

/// The manager, as hosts know it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Manager {
    /// Its id.
    pub id: String,
    /// What people call it: user and machine.
    pub name: String,
}

/// A session's machine.
#[derive(Debug)]
pub struct Session {
    manager: Manager,
    record: Record,
    phase: Phase,
    wish: Wish,
    now: Now,
    out: Effects,
    shown: Shown,
    caller: Caller,
    /// Whoever asked for the session may still ask again, with the environment for its job: until then.
    asked_again_until_ms: Option<u64>,
    host: HostState,
    /// The machine of the host, and the folder that it prefers, by the last inventory.
    preferred: Option<(String, String)>,
    /// The stream to the job's holder.
    stream: Option<Stream>,
    /// What the job's holder can do, once it has said so on any stream.
    holder: Option<u64>,
    /// Whether it answers.
    silence: silence::Silence,
    /// One that is being opened.
    opening: Opening,
    /// Rises with each new path to the holder.
    epoch: u64,
    /// Since when the job is missing from inventories.
    missing_since_ms: Option<u64>,
    /// What the host has of the session, as far as is known.
    there: m::JobSpec,
    /// How often the host was told of changes.
    told: u64,
    /// What is typed by no view, until the holder has answered.
    sends: scripts::Sends,
    replica: Replica,
    /// Somebody looks at it, or did not long ago: the replica follows the job.
    warm: bool,
    /// When a fresh screen was asked for because following was too much, and when one may be asked for again.
    fetched_ms: Option<u64>,
    fetch_due_ms: Option<u64>,
    views: Views,
    /// What they need and have not got.
    needs: Needs,
    /// The size that the holder was told, and when it is told the next.
    size_told: Paced<(u16, u16)>,
    size_due_ms: Option<u64>,
    /// It was there for one view alone, which has gone: then it ends.
    alone_until_ms: Option<u64>,
    /// A view's terminal had sizes that the holder was not told.
    sizes_passed_over: bool,
    /// What is being written, and what waits for that.
    writing: Option<Writing>,
    writes: u64,
    deferred: VecDeque<Event<'static>>,
    /// What the host told us is not in the record yet.
    unsaved: bool,
    /// What could not be written is tried again then, and how long after a failure.
    again_at_ms: Option<u64>,
    again_after_ms: u64,
    /// Who waits for the job to run.
    when_running: Vec<Asker>,
    /// Another task has taken this one's place: the session goes on there.
    goes_on: bool,
}

impl Session {
    /// The machine of a session whose record is in the database already. `caller`: what whoever asks for it now has; `None`
    /// when the record is all there is, so that the host may have been told of the job before.
    pub fn new(record: Record, caller: Option<Caller>, manager: Manager, now: Now) -> Self {
        let told = caller.is_none();
        let shown = Shown {
            record: record.clone(),
            status: None,
            views: Vec::new(),
            doing: None,
            notes: Vec::new(),
            holder_silent_since_ms: None,
        };
        let wish = match record.restart {
            _ if record.delete_requested => Wish::Remove(Removal::default()),
            Some(job_id) => Wish::Restart(Restart { job_id, caller: Caller::default(), waiting: Vec::new() }),
            None => Wish::Keep,
        };
        // Whose it is comes again by itself, if it is there.
        let has_run = !matches!(record.state, State::Init | State::Done);
        let alone_until_ms = (record.owned && has_run).then_some(now.steady_ms + audience::ALONE_MS);
        Self {
            manager,
            phase: Phase::of(&record, told),
            wish,
            record,
            now,
            out: Effects::default(),
            shown,
            caller: caller.unwrap_or_default(),
            asked_again_until_ms: told.then_some(now.steady_ms + ASKED_AGAIN_MS),
            host: HostState::default(),
            preferred: None,
            stream: None,
            holder: None,
            silence: silence::Silence::default(),
            opening: Opening::None,
            epoch: 0,
            missing_since_ms: None,
            there: m::JobSpec::default(),
            told: 0,
            sends: scripts::Sends::new(),
            replica: Replica::new(),
            warm: false,
            fetched_ms: None,
            fetch_due_ms: None,
            views: Views::new(),
            needs: Needs::default(),
            size_told: Paced::new(SIZE_GAP_MS),
            size_due_ms: None,
            alone_until_ms,
            sizes_passed_over: false,
            writing: None,
            writes: 0,
            deferred: VecDeque::new(),
            unsaved: false,
            again_at_ms: None,
            again_after_ms: AGAIN_FIRST_MS,
            when_running: Vec::new(),
            goes_on: false,
        }
    }

    /// What everybody may look at, as long as nothing else was shown.
    pub fn shown(&self) -> &Shown {
        &self.shown
    }

    /// How much output the job wrote as far as the replica has it; none: there is no replica.
    pub fn head(&self) -> Option<u64> {
        self.replica.ring().map(sessd_terminal::Ring::head)
    }

    /// Where the job stands.
    pub fn phase(&self) -> &Phase {
        &self.phase
    }

    /// What the user wants with the session.
    pub fn wish(&self) -> &Wish {
        &self.wish
    }

    /// The stream to the job's holder, once it is known what that can do, and whether it knows channels.
    pub fn path(&self) -> Option<(StreamId, bool)> {
        let (stream, features) = (self.stream.as_ref()?, self.holder?);
        Some((stream.id, features & feature::CHANNELS != 0))
    }

    /// Has it nothing left to do, so that its task may end?
    pub fn is_over(&self) -> bool {
        self.phase.is_done() && self.views.is_empty()
    }

    /// Takes what happened.
    pub fn handle(&mut self, now: Now, event: Event<'_>) {
        self.now = now;
        self.take(event);
        self.let_go_unwatched();
        if self.is_over() && self.stream.is_some() {
            self.leave_stream();
        }
        debug_assert_eq!(self.contradiction(), None, "{:?} {:?}", self.phase, self.record);
    }

    /// What is to be done next.
    pub fn poll(&mut self) -> Option<Effect> {
        self.out.poll()
    }

    /// When it wants to hear that time has passed, by the steady clock.
    pub fn deadline(&self) -> Option<u64> {
        let silence = self.silence_due_ms();
        [
            self.needs.again_at,
            self.alone_until_ms,
            self.size_due_ms,
            self.fetch_due_ms,
            self.again_at_ms,
            silence,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// What cannot be so, if anything is.
    pub fn contradiction(&self) -> Option<&'static str> {
        let state = self.record.state;
        match &self.phase {
            Phase::Starting { .. } if state != State::Init => Some("a session that begins is not `init`"),
            Phase::Running if state != State::Running => Some("a session that runs is not `running`"),
            Phase::Running if self.stream.is_none() && self.opening != Opening::Wanted => {
                Some("nobody says that it runs")
            }
            Phase::Disconnected if state != State::Disconnected => Some("it is not `disconnected`"),
            Phase::Done(_) => None,
            _ if state == State::Done => Some("it is done before it ended"),
            _ if self.record.delete_requested != matches!(self.wish, Wish::Remove(_)) => {
                Some("the record and the machine disagree whether it is to go")
            }
            _ if self.record.restart.is_some() != matches!(self.wish, Wish::Restart(_)) => {
                Some("the record and the machine disagree whether it is to be restarted")
            }
            _ => None,
        }
    }

    fn take(&mut self, event: Event<'_>) {
        if self.phase.is_done() && event.means_the_session() {
            // Without a task in our place whoever asks finds the record. A view that comes again has what is shown here.
            if let Some(event) = event.kept() {
                self.out.push(Effect::PassOn(event));
            }
            return;
        }
        if self.writing.is_some() && event.waits_for_the_record() {
            if matches!(event, Event::Probed(_)) {
                // The newest is as good as all before it.
                self.deferred.retain(|waiting| !matches!(waiting, Event::Probed(_)));
            }
            self.deferred.extend(event.kept());
            return;
        }
        self.act(event);
        while self.writing.is_none()
            && let Some(event) = self.deferred.pop_front()
        {
            if self.phase.is_done() && event.means_the_session() {
                self.out.push(Effect::PassOn(event));
            } else {
                self.act(event);
            }
        }
    }

    fn act(&mut self, event: Event<'_>) {
        match event {
            Event::Host(state) => self.host_changed(state),
            Event::LinkUp(seen) => {
                self.leave_stream();
                self.disconnected();
                self.look(&seen);
            }
            Event::Probed(seen) => {
                self.host_answered(seen.holder(&self.record));
                if self.host.is_up() && self.stream.is_none() {
                    self.look(&seen);
                } else if self.host.is_up() && matches!(self.phase, Phase::Over(_)) {
                    // Its holder is still there, and the host would not forget the job when it was asked.
                    self.forget_on_host();
                }
            }
            Event::Opened(stream) => self.opened(stream),
            Event::Bypass { from, to } => self.take_bypass(from, to),
            Event::Holder { stream, frame } => {
                if self.stream.as_ref().is_some_and(|s| s.id == stream) {
                    self.holder_frame(frame);
                }
            }
            Event::Arriving(stream) => {
                if self.stream.as_ref().is_some_and(|s| s.id == stream) {
                    self.holder_speaks();
                }
            }
            Event::Answered(asked, answer) => self.answered(asked, answer),
            Event::Attach(view, asker) => self.attach(*view, asker),
            Event::View { view, frame } => self.view_frame(view, frame),
            Event::Drained { view, waiting } => {
                self.views.drained(view, waiting);
                self.pump();
                self.tell_views();
            }
            Event::ViewGone { view, on_purpose } => self.view_gone(view, on_purpose),
            Event::Cool => self.cool(),
            Event::SendAway { which, why, scripts, asker } => self.send_away(&which, &why, scripts, asker),
            Event::Tag(tag, asker) => self.tag(tag, asker),
            Event::Type(send, asker) => self.type_in(send, asker),
            Event::SetSize(policy, size, asker) => self.set_size(policy, size, asker),
            Event::Claimed(result) => self.claimed(result),
            Event::Delete { force, asker } => self.delete(force, asker),
            Event::Restart { job_id, caller, asker } => self.begin_restart(job_id, caller, asker),
            Event::MoveTo(host, asker) => self.move_to(host, asker),
            Event::WhenRunning(asker) => self.when_running(asker),
            Event::AskedAgain(caller) => {
                (self.caller, self.asked_again_until_ms) = (caller, None);
                self.out.push(Effect::ProbeAgain);
            }
            Event::Written(id, result) => self.written(id, result),
            Event::Tick => self.tick(),
        }
    }

    /// Its time has come.
    fn tick(&mut self) {
        let due = |at: Option<u64>| at.is_some_and(|at| at <= self.now.steady_ms);
        let (size, fetch, again) = (due(self.size_due_ms), due(self.fetch_due_ms), due(self.again_at_ms));
        let alone = due(self.alone_until_ms);
        if again {
            self.try_again();
        }
        if alone {
            self.alone_until_ms = None;
            if !self.phase.is_done() {
                self.delete(false, Asker::NOBODY);
            }
        }
        if size {
            self.send_size();
        }
        if fetch {
            self.fetch_screen();
        }
        self.look_for_silence();
        self.pump();
    }

    fn when_running(&mut self, asker: Asker) {
        match (&self.phase, self.host.why()) {
            (Phase::Running, _) => self.reply(asker, Ok(Answer::Done)),
            (Phase::Starting { .. }, Some(why)) => {
                let why = why.clone();
                self.reply(asker, Err(why));
            }
            _ if self.is_holder_silent() => {
                let why = self.silent_error("");
                self.reply(asker, Err(why));
            }
            _ => self.when_running.push(asker),
        }
    }

    /// Nobody says any more that the job runs.
    fn disconnected(&mut self) {
        self.replica.way_is_gone();
        // Not written down: a manager that starts claims nothing in any case.
        if self.record.state == State::Running {
            self.record.state = State::Disconnected;
        }
        if matches!(self.phase, Phase::Running) {
            self.phase = Phase::Disconnected;
        }
    }

    fn note(&mut self, note: String) {
        self.notes(if note.is_empty() { Vec::new() } else { vec![note] });
    }

    fn notes(&mut self, notes: Vec<String>) {
        if self.shown.notes != notes {
            self.shown.notes = notes;
            self.show();
        }
    }

    fn show(&mut self) {
        self.out.push(Effect::Show(Box::new(self.shown.clone())));
    }

    /// What everybody may look at is what is.
    fn publish(&mut self) {
        let views = self.views.docs(self.record.size_policy);
        if self.shown.record != self.record || self.shown.views != views {
            self.shown.record.clone_from(&self.record);
            self.shown.views = views;
            self.show();
        }
    }

    /// Who is told finds what is shown as it is.
    fn reply(&mut self, asker: Asker, answer: Result<Answer>) {
        self.publish();
        self.out.push(Effect::Reply(asker, answer));
    }

    fn reply_all(&mut self, askers: Vec<Asker>, answer: &Result<Answer>) {
        for asker in askers {
            self.reply(asker, answer.clone());
        }
    }

    fn who_waits_for_running_hears(&mut self, answer: &Result<Answer>) {
        let waiting = std::mem::take(&mut self.when_running);
        self.reply_all(waiting, answer);
    }

    fn failpoint(&mut self, name: &'static str) {
        self.out.push(Effect::Failpoint(name));
    }

    fn send(&mut self, frame: &Frame<'_>) {
        if let Some(stream) = &self.stream {
            self.out.push(Effect::ToHolder(stream.id, Packet::of(frame)));
        }
    }
}

fn failed(what: impl Into<String>, hint: &str) -> Error {
    Error::failed(what, hint)
}
