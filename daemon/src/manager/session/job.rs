//! A session and its job: what the host says, what is asked of it, and how it ends.

use super::{Asked, Removed, ShortCut, Stream, Task, ToSession, answer_all};
use crate::clock;
use crate::faults::point;
use crate::manager::host::ToHost;
use crate::manager::link::{Link, NoAnswer};
use crate::wire::OwnedFrame;
use sessd_core::reconcile::{Decision, Seen};
use sessd_core::record::State;
use sessd_core::stream::StreamId;
use sessd_core::{times, untrusted};
use sessd_proto::docs::Error;
use sessd_proto::docs::host::LOCAL;
use sessd_proto::messages::{self as m, CloseReason, EndReason, LinkAct, LinkAnswer};
use sessd_proto::{Frame, RawFrame};
use std::rc::Rc;
use std::time::Instant;

/// The longest path of a holder's socket: no address has room for more.
const SOCKET_PATH_MAX: usize = 107;

impl Task {
    /// The host said what it knows: decide, and do it.
    pub(super) fn look(&mut self, link: &Rc<Link>, seen: &Rc<Seen>) {
        if self.finished {
            return;
        }
        point("reconcile-before");
        let now = clock::wall_ms();
        if seen.has(&self.record) {
            self.missing_since = None;
        } else if seen.has_read(&self.record) {
            self.missing_since.get_or_insert(now);
        }
        if let Some(spec) = seen.spec(&self.record) {
            self.there.clone_from(spec);
        }
        let missing_for = self.missing_since.map_or(0, |since| now - since);
        let decision = seen.decide(&self.record, missing_for);
        tracing::debug!(session = %self.record.id, ?decision, "reconciled");
        match decision {
            Decision::Resume | Decision::TakeLast => {
                if let Some(place) = seen.place(&self.record) {
                    self.record.place = place;
                }
                self.open_stream(link);
            }
            Decision::Finish(exit) => self.job_ended(exit, seen.inventory().now_ms),
            Decision::Lost(end) => {
                let exit = m::ExitRecord {
                    reason: end.reason as i32,
                    at_ms: end.at_ms as u64,
                    detail: end.detail.clone(),
                    ..m::ExitRecord::default()
                };
                self.job_ended(exit, seen.inventory().now_ms);
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
    }

    pub(super) fn job_name(&self) -> m::JobName {
        m::JobName { job_id: self.record.job_id.to_string(), manager_id: self.manager.id.clone() }
    }

    pub(super) fn note(&self, note: String) {
        self.handle.live.borrow_mut().notes = if note.is_empty() { Vec::new() } else { vec![note] };
    }

    pub(super) fn ask_agent(&self, link: &Rc<Link>, act: LinkAct, asked: Asked) {
        let (link, mailbox) = (link.clone(), self.handle.mailbox.clone());
        tokio::task::spawn_local(async move {
            let answer = link.request(act).await;
            mailbox.send(ToSession::Answered(asked, answer));
        });
    }

    pub(super) fn spawn(&mut self, link: &Rc<Link>) {
        point("spawn-before-request");
        self.spawn_asked = true;
        let spec = self.record.spec(&self.manager.id);
        self.there.clone_from(&spec);
        let spawn = m::Spawn {
            spec: Some(spec),
            environment: self.caller.environment.clone(),
            inherited: self.caller.inherited.clone().or_else(|| {
                // What the agent here has is the manager's.
                (self.record.host == LOCAL)
                    .then(|| m::Inherited { umask: Some(0o022), ..m::Inherited::default() })
            }),
        };
        self.ask_agent(link, LinkAct::Spawn(spawn), Asked::Spawn);
    }

    pub(super) fn answered(&mut self, asked: Asked, answer: std::result::Result<LinkAnswer, NoAnswer>) {
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
                self.write_ending();
            }
            (Asked::Forget, Ok(LinkAnswer::Done(_))) if self.record.delete_requested => {
                self.forget(None, Removed::Gone);
            }
            (Asked::Forget, Ok(_)) if self.record.delete_requested => {
                // It says that it still runs, or cannot say: the next inventory decides.
                self.handle.host.tell(ToHost::LookAgain);
            }
            (Asked::Spawn, Ok(LinkAnswer::Spawned(spawned))) => {
                point("spawn-after-answer");
                self.handle.live.borrow_mut().notes = spawned.warnings;
                if self.record.place.is_empty() {
                    self.record.place = self.handle.host.place_in(&spawned.folder).unwrap_or_default();
                }
                if let Some(link) = self.link() {
                    self.open_stream(&link);
                }
            }
            (Asked::Spawn, Ok(LinkAnswer::Refused(refused))) => {
                let why = refused.detail;
                if refused.final_answer {
                    self.never_began(Error::failed(why, "nothing was started"));
                } else {
                    self.note(why);
                    self.handle.host.tell(ToHost::LookAgain);
                }
            }
            (_, Ok(LinkAnswer::Refused(refused))) => self.note(refused.detail),
            (_, Ok(_)) => {}
        }
    }

    pub(super) fn open_stream(&mut self, link: &Rc<Link>) {
        self.leave_stream();
        let sink = Rc::new(self.handle.mailbox.clone());
        let Some(id) = link.open(self.record.job_id.to_string(), sink) else {
            return;
        };
        self.talk(Stream {
            link: link.clone(),
            id,
            short_cut: ShortCut::Untried,
            before: None,
            features: None,
        });
    }

    /// Begins anew with the holder, over a new stream.
    fn talk(&mut self, stream: Stream) {
        self.epoch += 1;
        *self.handle.to_holder.borrow_mut() = Some(stream.link.queue_of(stream.id));
        self.size_told.forget();
        self.stream = Some(stream);
        if self.record.delete_requested {
            self.end_job(EndReason::Deleted, false);
        } else if self.restart.is_some() {
            self.end_job(EndReason::Restarted, false);
        }
        self.describe();
        self.send_presence(false);
        self.subscribe();
        self.send_size();
        self.tell_views();
        // What a view waited for on the stream before.
        self.pump();
    }

    /// A session that is looked at is worth a connection of its own to its holder.
    fn look_for_short_cut(&mut self, path: &str) {
        // What the host says; it is used on the host.
        let fits = path.starts_with('/') && path.len() <= SOCKET_PATH_MAX;
        let Some(stream) = self.stream.as_mut().filter(|_| self.warm && fits) else { return };
        if stream.short_cut != ShortCut::Untried {
            return;
        }
        stream.short_cut = ShortCut::Tried;
        let (link, from, path) = (stream.link.clone(), stream.id, path.to_owned());
        let mailbox = self.handle.mailbox.clone();
        tokio::task::spawn_local(async move {
            if let Some(id) = link.open_short_cut(&path, Rc::new(mailbox.clone())).await {
                mailbox.send(ToSession::ShortCut { link, from, id });
            }
        });
    }

    /// The connection is there: the talk moves over to it, unless it has moved elsewhere meanwhile. The old stream is
    /// closed once the holder has answered on the new one: in between it must not think that nobody looks.
    pub(super) fn take_short_cut(&mut self, link: &Rc<Link>, from: StreamId, id: StreamId) {
        let still = |s: &&Stream| s.id == from && Rc::ptr_eq(&s.link, link);
        if self.stream.as_ref().filter(still).is_none() || !self.warm || self.finished {
            link.close_stream(id);
            return;
        }
        self.interrupted();
        self.talk(Stream {
            link: link.clone(),
            id,
            short_cut: ShortCut::Taken,
            before: Some(from),
            features: None,
        });
    }

    pub(super) fn leave_stream(&mut self) {
        if let Some(stream) = self.stream.take() {
            stream.link.close_stream(stream.id);
            if let Some(before) = stream.before {
                stream.link.close_stream(before);
            }
        }
        self.interrupted();
    }

    /// What the old stream began and did not end is begun again on the next.
    fn interrupted(&mut self) {
        self.replica.interrupted();
        self.views.interrupted();
    }

    pub(super) fn send(&self, frame: &Frame<'_>) {
        if let Some(stream) = &self.stream {
            stream.link.send(stream.id, frame);
        }
    }

    /// Passes a view's frame on as it is.
    pub(super) fn relay(&self, frame: RawFrame<'_>) {
        if let Some(stream) = &self.stream {
            stream.link.relay(stream.id, frame);
        }
    }

    pub(super) fn link_changed(&mut self) {
        if self.link().is_none() {
            self.stream = None;
            self.interrupted();
            // Not written down: a manager that starts claims nothing in any case.
            if self.record.state == State::Running {
                self.record.state = State::Disconnected;
            }
        }
        if let Some(why) = self.out_of_reach() {
            self.answer_sends(&why);
            self.restart_waits(&why);
            if self.record.state == State::Init {
                answer_all(&mut self.when_running, &Err(why));
            }
        }
        self.removal_waits();
        self.publish();
        self.tell_views();
    }

    /// What everybody may look at is what is; whoever listens for events hears of the difference.
    pub(super) fn publish(&self) {
        let mut live = self.handle.live.borrow_mut();
        let views = self.views.docs();
        self.manager.events.changed(&live.record, &self.record);
        self.manager.events.views(&self.record, &live.views, &views);
        live.record.clone_from(&self.record);
        live.views = views;
        live.doing.clone_from(&self.doing);
        drop(live);
        self.manager.registry.tell_changed();
    }

    /// The holder's word on a new stream is the evidence that the job runs.
    pub(super) fn runs(&mut self) {
        if matches!(self.record.state, State::Init | State::Disconnected)
            && self.ended.is_none()
            && self.ending.is_none()
        {
            // That it runs is not worth a write: only what a manager that starts has to know.
            let news = self.record.state == State::Init || self.record.place.is_empty();
            self.record.runs(self.handle.host.place_in(""));
            self.note(String::new());
            if news {
                self.keep();
            }
            self.publish();
        }
        self.who_waits_hears_that_it_runs();
    }

    pub(super) fn holder_frame(&mut self, frame: &OwnedFrame) {
        let parsed = match frame.parse().map(untrusted::frame) {
            Ok(parsed) => parsed,
            Err(invalid) => {
                self.fault(format!("does not speak our protocol: {invalid}"));
                return;
            }
        };
        match parsed {
            Frame::Hello(theirs) => {
                if let Err(skew) = sessd_proto::negotiate(&theirs) {
                    self.note(skew.to_string());
                    self.leave_stream();
                } else {
                    self.greeted(&theirs);
                }
            }
            Frame::Output { offset, bytes } => self.output(offset, bytes),
            Frame::Snapshot { at, cols, rows, more, bytes, .. } => {
                self.snapshot(at, (cols, rows), more, bytes)
            }
            Frame::Range { offset, more, expired, bytes } => self.range(offset, more, expired, bytes),
            Frame::Unsupported(what) => self.unsupported(what.kind),
            Frame::Pong(told) => self.heard(told),
            Frame::InputAck { view, seq } => self.views.acknowledge(view, seq),
            Frame::Withdrawn { view, from, to } => self.views.withdrawn(view, from, to),
            Frame::Sent(sent) => self.sent(sent),
            Frame::Notice(notice) => self.manager.events.notice(&self.record, &notice),
            Frame::Resize(size) => self.resized(&size),
            Frame::Status(status) => {
                let (active, status) = times::of_status(status, clock::wall_ms());
                self.record.last_active_ms = Some(active);
                if self.record.command.is_empty() && !status.command.is_empty() {
                    // The login shell by its name: a restart runs the same.
                    self.record.command.clone_from(&status.command);
                    self.keep();
                }
                if let Some(stream) = &mut self.stream
                    && let Some(before) = stream.before.take()
                {
                    stream.link.close_stream(before);
                }
                self.look_for_short_cut(&status.socket);
                self.heard_doing(&status);
                let soon = status.reap_at_ms;
                let before = self.handle.live.borrow_mut().status.replace((status, Instant::now()));
                let before = before.and_then(|(status, _)| status.reap_at_ms);
                self.manager.events.reaping(&self.record, before, soon);
                self.runs();
                self.tell_views();
                self.publish();
            }
            Frame::Exited(exit) => self.job_ended(exit, 0),
            Frame::Close(close) => {
                if let Some(Stream { link, before: Some(id), .. }) = self.stream.take() {
                    // The short cut led nowhere; the way round is still open.
                    self.interrupted();
                    self.talk(Stream { link, id, short_cut: ShortCut::Tried, before: None, features: None });
                    return;
                }
                self.interrupted();
                let reason = CloseReason::try_from(close.reason).unwrap_or(CloseReason::Unspecified);
                self.note(close.detail);
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
    }
}
