//! A session and its job: what the host says, what is asked of it, and how it ends.

use super::{Asked, Ending, ShortCut, Stream, Task, ToSession, answer_all, describe_end};
use crate::clock;
use crate::error::{Error, Result};
use crate::faults::point;
use crate::manager::dial::LOCAL;
use crate::manager::host::ToHost;
use crate::manager::link::{Link, NoAnswer};
use crate::store::Screen;
use crate::wire::OwnedFrame;
use sessd_core::reconcile::{Decision, Seen, place};
use sessd_core::record::{End, State};
use sessd_core::{times, untrusted};
use sessd_proto::Frame;
use sessd_proto::messages::{self as m, CloseReason, EndReason, LinkAct, LinkAnswer};
use sessd_terminal::{Size, SnapshotOptions, Terminal};
use std::rc::Rc;
use std::time::Instant;

/// The longest path of a holder's socket: no address has room for more.
const SOCKET_PATH_MAX: usize = 107;
/// Bytes a last screen with the end of its scrollback may have.
const SCREEN_MAX: usize = 512 << 10;
/// Lines of scrollback to keep with it, the most first, until it is short enough.
const SCREEN_LINES: [usize; 5] = [10_000, 2_000, 500, 100, 0];

impl Task {
    /// The host said what it knows: decide, and do it.
    pub(super) async fn look(&mut self, link: &Rc<Link>, seen: &Rc<Seen>) -> Result<()> {
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
        if let Some(spec) = seen.spec(&self.record) {
            self.there.clone_from(spec);
        }
        let missing_for = self.missing_since.map_or(0, |since| now - since);
        let decision = seen.decide(&self.record, missing_for);
        tracing::debug!(session = %self.record.id, ?decision, "reconciled");
        match decision {
            Decision::Resume | Decision::TakeLast => {
                self.record.place = place(seen.inventory());
                self.open_stream(link);
            }
            Decision::Finish(exit) => self.job_ended(exit, seen.inventory().now_ms).await?,
            Decision::Lost(end) => {
                let exit = m::ExitRecord {
                    reason: end.reason as i32,
                    at_ms: end.at_ms as u64,
                    detail: end.detail.clone(),
                    ..m::ExitRecord::default()
                };
                self.job_ended(exit, seen.inventory().now_ms).await?;
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
    pub(super) fn forget_on_host(&mut self, link: &Rc<Link>) {
        point("forget-before-request");
        self.ask_agent(link, LinkAct::Forget(self.job_name()), Asked::Forget);
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
        let spawn = m::Spawn { spec: Some(spec), environment: self.environment.clone() };
        self.ask_agent(link, LinkAct::Spawn(spawn), Asked::Spawn);
    }

    pub(super) async fn answered(
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
                let why = refused.detail;
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
            (_, Ok(LinkAnswer::Refused(refused))) => self.note(refused.detail),
            (_, Ok(_)) => {}
        }
        Ok(())
    }

    pub(super) fn open_stream(&mut self, link: &Rc<Link>) {
        self.leave_stream();
        let Some(number) = link.open(self.record.job_id.to_string(), self.handle.mailbox.clone()) else {
            return;
        };
        self.talk(Stream {
            link: link.clone(),
            number,
            short_cut: ShortCut::Untried,
            before: None,
            features: None,
        });
    }

    /// Begins anew with the holder, over a new stream.
    fn talk(&mut self, stream: Stream) {
        self.epoch += 1;
        self.stream = Some(stream);
        if self.record.delete_requested {
            self.end_job(EndReason::Deleted, false);
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
        let (link, from, path) = (stream.link.clone(), stream.number, path.to_owned());
        let mailbox = self.handle.mailbox.clone();
        tokio::task::spawn_local(async move {
            if let Some(number) = link.open_short_cut(&path, mailbox.clone()).await {
                mailbox.send(ToSession::ShortCut { link, from, number });
            }
        });
    }

    /// The connection is there: the talk moves over to it, unless it has moved elsewhere meanwhile. The old stream is
    /// closed once the holder has answered on the new one: in between it must not think that nobody looks.
    pub(super) fn take_short_cut(&mut self, link: &Rc<Link>, from: u16, number: u16) {
        let still = |s: &&Stream| s.number == from && Rc::ptr_eq(&s.link, link);
        if self.stream.as_ref().filter(still).is_none() || !self.warm || self.finished {
            link.close_stream(number);
            return;
        }
        self.interrupted();
        self.talk(Stream {
            link: link.clone(),
            number,
            short_cut: ShortCut::Taken,
            before: Some(from),
            features: None,
        });
    }

    pub(super) fn leave_stream(&mut self) {
        if let Some(stream) = self.stream.take() {
            stream.link.close_stream(stream.number);
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
            stream.link.send(stream.number, frame);
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
            if self.record.delete_requested {
                // Kept in the record; carried out when the host is back.
                answer_all(&mut self.when_gone, &Ok(()));
            }
        }
        self.publish();
        self.tell_views();
    }

    pub(super) async fn save(&mut self) -> Result<()> {
        self.unsaved = true;
        self.manager.store.save(&self.record).await?;
        self.unsaved = false;
        self.publish();
        Ok(())
    }

    /// Saves what the host told us. It is so whether or not the database takes it now: the session goes on, and what
    /// could not be saved is tried again.
    pub(super) async fn save_or_try_again(&mut self) {
        if let Err(error) = self.save().await {
            tracing::warn!(session = %self.record.id, error = error.line(), "a record is not saved yet");
            self.note(error.message);
            self.try_again_later();
            self.publish();
        }
    }

    /// What everybody may look at is what is; whoever listens for events hears of the difference.
    pub(super) fn publish(&self) {
        let mut live = self.handle.live.borrow_mut();
        let views = self.views.docs();
        self.manager.events.changed(&live.record, &self.record);
        self.manager.events.views(&self.record, &live.views, &views);
        live.record.clone_from(&self.record);
        live.views = views;
    }

    /// The holder's word on a new stream is the evidence that the job runs.
    pub(super) async fn runs(&mut self) {
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

    pub(super) async fn holder_frame(&mut self, frame: &OwnedFrame) -> Result<()> {
        let parsed = match frame.parse().map(untrusted::frame) {
            Ok(parsed) => parsed,
            Err(invalid) => {
                self.fault(format!("does not speak our protocol: {invalid}"));
                return Ok(());
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
            Frame::Pong(told) => self.heard(told).await,
            Frame::InputAck { view, seq } => self.views.acknowledge(view, seq),
            Frame::Withdrawn { view, from, to } => self.views.withdrawn(view, from, to),
            Frame::Resize(size) => self.resized(&size),
            Frame::Status(status) => {
                let (active, status) = times::of_status(status, clock::wall_ms());
                self.record.last_active_ms = Some(active);
                if self.record.command.is_empty() && !status.command.is_empty() {
                    // The login shell by its name: a restart runs the same.
                    self.record.command.clone_from(&status.command);
                    self.save_or_try_again().await;
                }
                if let Some(stream) = &mut self.stream
                    && let Some(before) = stream.before.take()
                {
                    stream.link.close_stream(before);
                }
                self.look_for_short_cut(&status.socket);
                let soon = status.reap_at_ms;
                let before = self.handle.live.borrow_mut().status.replace((status, Instant::now()));
                let before = before.and_then(|(status, _)| status.reap_at_ms);
                self.manager.events.reaping(&self.record, before, soon);
                self.runs().await;
                self.tell_views();
                self.publish();
            }
            Frame::Exited(exit) => self.job_ended(exit, 0).await?,
            Frame::Close(close) => {
                if let Some(Stream { link, before: Some(number), .. }) = self.stream.take() {
                    // The short cut led nowhere; the way round is still open.
                    self.interrupted();
                    self.talk(Stream {
                        link,
                        number,
                        short_cut: ShortCut::Tried,
                        before: None,
                        features: None,
                    });
                    return Ok(());
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
        Ok(())
    }

    /// The job has ended. Its last screen is looked for first: in the replica, if that has all of the output, else on the
    /// host, which keeps both until the record has them. `their_now_ms`: the host's clock when the record was read there; 0:
    /// the holder said it.
    pub(super) async fn job_ended(&mut self, mut exit: m::ExitRecord, their_now_ms: u64) -> Result<()> {
        if self.finished || self.ending.is_some() {
            return Ok(());
        }
        // Told with the end where the host has no room to keep it.
        let told = exit.screen.take();
        let exit = times::of_exit(exit, their_now_ms, clock::wall_ms());
        let end = End::from(&exit);
        let screen = if self.record.delete_requested {
            Some(None)
        } else {
            self.last_screen(&end, &exit).or_else(|| self.screen_of(told?)).map(Some)
        };
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

    pub(super) fn last_screen(&mut self, end: &End, exit: &m::ExitRecord) -> Option<Screen> {
        self.draw_last_screen();
        let head = self.replica.ring()?.head();
        // Of a job that left no last word, what we saw last is all there is.
        let is_last = end.reason == EndReason::Lost || head >= exit.final_offset;
        self.replica.screen().filter(|_| is_last).map(bounded_screen)
    }

    /// A screen that the host kept. It is not trusted: what is stored is drawn by our own model.
    pub(super) fn screen_of(&self, screen: m::Screen) -> Option<Screen> {
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
    pub(super) async fn write_ending(&mut self) -> Result<()> {
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
    pub(super) async fn never_began(&mut self) -> Result<()> {
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
    pub(super) async fn forget(&mut self) -> Result<()> {
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
    pub(super) fn leave(&mut self) {
        self.finished = true;
        self.publish();
        self.handle.live.borrow_mut().gone = true;
        self.handle.host.tell(ToHost::Dismiss(self.record.id));
        self.manager.session_gone(self.record.id, &self.record);
        answer_all(&mut self.when_gone, &Ok(()));
        answer_all(&mut self.restarting, &Ok(()));
        self.pump();
    }

    pub(super) fn end_job(&self, reason: EndReason, force: bool) {
        self.send(&Frame::End(m::End { reason: reason as i32, force }));
    }

    pub(super) async fn delete(&mut self, force: bool) -> Result<()> {
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
