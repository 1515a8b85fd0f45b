//! The end of a session's job: its last screen, its record, and who takes over.

use super::writes::{Then, What};
use super::{Asked, Ending, Removed, Restart, Restarting, Session, Task, answer_all};
use crate::clock;
use crate::faults::point;
use crate::manager::last_screen;
use crate::store::Screen;
use sessd_core::record::{End, Record, State};
use sessd_core::times;
use sessd_proto::Frame;
use sessd_proto::docs::{EndDoc, Error, Kind, Result};
use sessd_proto::messages::{self as m, EndReason, LinkAct};
use sessd_terminal::Size;
use std::rc::Rc;
use tokio::sync::oneshot;

impl Task {
    /// The job has ended. Its last screen is looked for first: in the replica, if that has all of the output, else on the
    /// host, which keeps both until the record has them. `their_now_ms`: the host's clock when the record was read there; 0:
    /// the holder said it.
    pub(super) fn job_ended(&mut self, mut exit: m::ExitRecord, their_now_ms: u64) {
        if self.finished || self.ending.is_some() {
            return;
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
            }
            _ => {
                if let Some(ending) = &mut self.ending {
                    ending.screen.get_or_insert(None);
                }
                self.write_ending();
            }
        }
    }

    fn last_screen(&mut self, end: &End, exit: &m::ExitRecord) -> Option<Screen> {
        self.draw_last_screen();
        let head = self.replica.ring()?.head();
        // Of a job that left no last word, what we saw last is all there is.
        let is_last = end.reason == EndReason::Lost || head >= exit.final_offset;
        self.replica.screen().filter(|_| is_last).map(last_screen::of)
    }

    /// A screen that the host kept. It is not trusted: what is stored is drawn by our own model.
    pub(super) fn screen_of(&self, screen: m::Screen) -> Option<Screen> {
        if screen.snapshot.is_empty() {
            return None;
        }
        let side = |n: u32, default: u16| u16::try_from(n).ok().filter(|n| *n > 0).unwrap_or(default);
        let size =
            Size { cols: side(screen.cols, self.record.size.0), rows: side(screen.rows, self.record.size.1) };
        last_screen::drawn(&screen.snapshot, size)
    }

    /// The record says how the job ended before the host may forget it, and before anybody is told.
    pub(super) fn write_ending(&mut self) {
        let Some(Ending { end, exit, screen: Some(screen) }) = &self.ending else { return };
        if self.writing.is_some() {
            return;
        }
        if self.record.delete_requested {
            point("delete-after-end");
            self.ended = Some(exit.clone());
            self.send(&Frame::ExitAck(m::Empty {}));
            self.ending = None;
            if let Some(link) = self.link() {
                self.forget_on_host(&link);
            }
            return;
        }
        let mut done = Box::new(self.record.clone());
        done.finish(end.clone(), clock::wall_ms());
        let screen = screen.clone();
        self.unsaved = false;
        point("exit-before-save");
        let then = match &self.restart {
            Some(restart) => {
                point("restart-after-end");
                done.begin_again(restart.job_id);
                Then::Restarted(done.clone())
            }
            None => Then::Ended(done.clone()),
        };
        self.write(What::Done(done, screen), then);
    }

    /// The host may forget the job.
    fn let_go(&mut self) -> Option<End> {
        point("exit-after-save");
        let ending = self.ending.take();
        self.send(&Frame::ExitAck(m::Empty {}));
        point("exit-after-ack");
        if let Some(link) = self.link() {
            self.ask_agent(&link, LinkAct::Forget(self.job_name()), Asked::Forget);
        }
        let (end, exit) = ending.map(|ending| (ending.end, ending.exit)).unzip();
        self.ended = exit;
        end
    }

    pub(super) fn end_is_kept(&mut self, done: Record) {
        self.let_go();
        self.record = done;
        // A job that ends within moments did run: whoever waits for that learns it, and finds the end in the record.
        let end = self.record.end.as_ref();
        let ran = end.is_some_and(|e| e.reason != EndReason::Failed && e.reason != EndReason::Lost);
        let how = end.map(|end| EndDoc::from(end).phrase()).unwrap_or_default();
        let failed = Error::failed(format!("the job ended at once ({how})"), "");
        answer_all(&mut self.when_running, &if ran { Ok(()) } else { Err(failed) });
        self.leave();
    }

    /// The old job's end and the wish for a new one are written: a task for the new job takes this one's place.
    pub(super) fn hand_on(&mut self, again: Record) {
        point("restart-after-save");
        self.let_go();
        let restart = self.restart.take();
        let caller = restart.as_ref().map(|r| r.caller.clone()).unwrap_or_default();
        let next = self.take_over(again, Some(caller));
        for waiting in restart.map(|r| r.waiting).unwrap_or_default() {
            // Who asked may have gone.
            let _ = waiting.send(Ok(next.clone()));
        }
    }

    /// Another task takes this one's place, and nobody finds the session without one in between. What remains here is to let
    /// the views have their last bytes.
    pub(super) fn take_over(&mut self, record: Record, caller: Option<super::Caller>) -> Rc<Session> {
        self.finished = true;
        self.publish();
        self.manager.events.changed(&self.record, &record);
        {
            let mut live = self.handle.live.borrow_mut();
            live.gone = true;
        }
        if record.host != self.record.host {
            self.handle.host.dismiss(self.record.id);
        }
        let next = self.manager.start_session(record, caller);
        for waiting in self.when_running.drain(..) {
            next.mailbox.send(super::ToSession::WhenRunning(waiting));
        }
        self.pump();
        next
    }

    /// The host says, firmly, that the job never began: the session is what it was before it was asked for.
    pub(super) fn never_began(&mut self, why: Error) {
        let mut before = Box::new(self.record.clone());
        if self.record.delete_requested || !before.fall_back() {
            return self.forget(Some(why), Removed::Gone);
        }
        self.write(What::Save(before.clone()), Then::FellBack { before, why });
    }

    pub(super) fn fell_back(&mut self, before: Record, why: Error) {
        self.record = before;
        let exit = m::ExitRecord { reason: EndReason::Failed as i32, ..m::ExitRecord::default() };
        self.ended = Some(exit);
        // Who is told finds the record as it will stay.
        let mut waiting = std::mem::take(&mut self.when_running);
        self.leave();
        answer_all(&mut waiting, &Err(why));
    }

    /// Last act: out of the registry; what remains is to let the views have their last bytes.
    pub(super) fn leave(&mut self) {
        self.finished = true;
        self.publish();
        self.handle.live.borrow_mut().gone = true;
        self.handle.host.dismiss(self.record.id);
        self.manager.session_gone(&self.handle, &self.record);
        // Whoever wanted it to end for another job finds the record.
        self.restart = None;
        self.pump();
    }

    /// A restart ends the job first. One that comes while the session begins, or is being restarted, wants what is under
    /// way.
    pub(super) fn begin_restart(&mut self, restart: Restart) {
        let Restart { job_id, caller, done } = restart;
        let refuse = |kind, what: String, hint: &str| Err(Error::new(kind, what, hint));
        let label = self.record.label();
        if let Some(restarting) = &mut self.restart {
            restarting.waiting.push(done);
        } else if self.record.delete_requested {
            let _ = done.send(refuse(Kind::NoSuchSession, format!("`{label}` is being deleted"), ""));
        } else if self.record.state == State::Init {
            let _ = done.send(Ok(self.handle.clone()));
        } else if self.stream.is_none() && self.ending.is_none() {
            let why = format!("the job of `{label}` cannot be reached now");
            let _ = done.send(refuse(Kind::Failed, why, "`sessd info` says more; try again"));
        } else {
            self.restart = Some(Restarting { job_id, caller, waiting: vec![done] });
            self.end_job(EndReason::Restarted, false);
        }
    }

    /// The host's link is gone while a restart waits for the job's end: nobody is kept waiting for it.
    pub(super) fn restart_waits(&mut self, why: &Error) {
        let Some(restart) = &mut self.restart else { return };
        for waiting in restart.waiting.drain(..) {
            let told = Error::new(why.kind, why.message.clone(), "it is restarted when the host is back");
            let _ = waiting.send(Err(told));
        }
    }

    /// The session's host is called otherwise: a task on the host of that name goes on, and views come again to it.
    pub(super) fn move_to(&mut self, host: String, done: oneshot::Sender<Result<Rc<Session>>>) {
        if host == self.record.host {
            let _ = done.send(Ok(self.handle.clone()));
            return;
        }
        let moved = Box::new(Record { host, ..self.record.clone() });
        self.write(What::Save(moved.clone()), Then::Moved { moved, done });
    }

    pub(super) fn moved(&mut self, moved: Record, done: oneshot::Sender<Result<Rc<Session>>>) {
        self.leave_stream();
        let caller = (!self.spawn_asked).then(|| std::mem::take(&mut self.caller));
        self.views.let_go();
        let next =
            self.take_over(Record { host: moved.host, ..self.record.clone() }.without_evidence(), caller);
        // Who asked may have gone.
        let _ = done.send(Ok(next));
    }
}
