//! The end of a session's job: its last screen, its record, and who takes over.

use super::phase::Ending;
use super::writes::Then;
use super::{
    AgentRequest, Answer, Asker, Caller, Effect, Phase, Removed, Restart, Session, Wish, Write, failed,
};
use crate::last_screen::{self, Screen};
use crate::record::{End, Record, State};
use crate::times;
use sessd_proto::docs::{EndDoc, Error, Kind};
use sessd_proto::messages::{self as m, EndReason, LinkAct};
use sessd_proto::{Frame, Uuid};
use sessd_terminal::Size;

/// What drawing the last screen of a job here may cost, as the model counts it, rather than ask its host for it: some 20 ms.
const LAST_SCREEN_COST: u64 = 20_000_000;

impl Session {
    /// The job has ended. Its last screen is looked for first: in the replica, if that has all of the output, else on the
    /// host, which keeps both until the record has them. `their_now_ms`: the host's clock when the record was read there; 0:
    /// the holder said it.
    pub(super) fn job_ended(&mut self, mut exit: m::ExitRecord, their_now_ms: u64) {
        if matches!(self.phase, Phase::Over(_)) {
            // The link was lost before the host heard that it may forget the job: it says its last word again.
            self.send(&Frame::ExitAck(m::Empty {}));
            return self.forget_on_host();
        }
        if !self.phase.is_before_the_end() {
            return;
        }
        // Told with the end where the host has no room to keep it.
        let told = exit.screen.take();
        let exit = times::of_exit(exit, their_now_ms, self.now.wall_ms);
        let end = End::from(&exit);
        let mut screen = if self.record.delete_requested {
            Some(None)
        } else {
            self.last_screen(&end, &exit).or_else(|| self.screen_of(told?)).map(Some)
        };
        if screen.is_none() && self.host.is_up() {
            self.ask_agent(AgentRequest::Screen, LinkAct::ReadScreen(self.job_name()));
        } else {
            screen.get_or_insert(None);
        }
        self.phase = Phase::Ending(Ending { end, exit, screen });
        self.write_ending();
    }

    /// The model as the job left it, if it is here, and soon.
    fn last_screen(&mut self, end: &End, exit: &m::ExitRecord) -> Option<Screen> {
        self.replica.work(LAST_SCREEN_COST);
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
        let Phase::Ending(Ending { end, exit, screen: Some(screen) }) = &self.phase else { return };
        if self.writing.is_some() {
            return;
        }
        if self.record.delete_requested {
            let exit = exit.clone();
            self.failpoint("delete-after-end");
            self.phase = Phase::Over(exit);
            self.send(&Frame::ExitAck(m::Empty {}));
            if self.host.is_up() {
                self.forget_on_host();
            }
            return;
        }
        let mut done = Box::new(self.record.clone());
        done.finish(end.clone(), self.now.wall_ms);
        let screen = screen.clone();
        self.unsaved = false;
        self.failpoint("exit-before-save");
        let then = match done.restart {
            Some(job_id) => {
                self.failpoint("restart-after-end");
                done.begin_again(job_id);
                Then::Restarted(done.clone())
            }
            None => Then::Ended(done.clone()),
        };
        self.write(Write::Done(done, screen), then);
    }

    /// The host may forget the job. How it ended.
    fn let_go(&mut self) -> Option<m::ExitRecord> {
        self.failpoint("exit-after-save");
        self.send(&Frame::ExitAck(m::Empty {}));
        self.failpoint("exit-after-ack");
        if self.host.is_up() {
            self.ask_agent(AgentRequest::Forget, LinkAct::Forget(self.job_name()));
        }
        match &self.phase {
            Phase::Ending(ending) => Some(ending.exit.clone()),
            _ => None,
        }
    }

    pub(super) fn end_is_kept(&mut self, done: Record) {
        let exit = self.let_go();
        self.record = done;
        self.phase = Phase::Done(exit);
        // A job that ends within moments did run: whoever waits for that learns it, and finds the end in the record.
        let end = self.record.end.as_ref();
        let ran = end.is_some_and(|e| e.reason != EndReason::Failed && e.reason != EndReason::Lost);
        let how = end.map(|end| EndDoc::from(end).phrase()).unwrap_or_default();
        let answer =
            if ran { Ok(Answer::Done) } else { Err(failed(format!("the job ended at once ({how})"), "")) };
        self.who_waits_for_running_hears(&answer);
        self.leave();
    }

    /// The old job's end and the wish for a new one are written: a task for the new job takes this one's place.
    pub(super) fn hand_on(&mut self, again: Record) {
        self.failpoint("restart-after-save");
        let exit = self.let_go();
        let (caller, told) = match std::mem::take(&mut self.wish) {
            Wish::Restart(restart) => (restart.caller, restart.waiting),
            Wish::Keep | Wish::Remove(_) => Default::default(),
        };
        self.take_over(again, exit, Some(caller), told);
    }

    /// Another task takes this one's place, and nobody finds the session without one in between. What remains here is to let
    /// the views have their last bytes.
    pub(super) fn take_over(
        &mut self,
        record: Record,
        exit: Option<m::ExitRecord>,
        caller: Option<Caller>,
        told: Vec<Asker>,
    ) {
        (self.phase, self.goes_on) = (Phase::Done(exit), true);
        self.publish();
        let running = std::mem::take(&mut self.when_running);
        self.out.push(Effect::HandOn { record: Box::new(record), caller, running, told });
        self.whoever_waits_looks_for_another();
        self.pump();
        // Those that were let go are here no more, before they are seen there.
        self.publish();
    }

    /// The host says, firmly, that the job never began: the session is what it was before it was asked for.
    pub(super) fn never_began(&mut self, why: Error) {
        let mut before = Box::new(self.record.clone());
        if self.record.delete_requested || !before.fall_back() {
            return self.forget(Some(why), Removed::Gone);
        }
        self.write(Write::Save(before.clone()), Then::FellBack { before, why });
    }

    pub(super) fn fell_back(&mut self, before: Record, why: Error) {
        self.record = before;
        let exit = m::ExitRecord { reason: EndReason::Failed as i32, ..m::ExitRecord::default() };
        self.phase = Phase::Done(Some(exit));
        // Who is told finds the record as it will stay.
        let waiting = std::mem::take(&mut self.when_running);
        self.leave();
        self.reply_all(waiting, &Err(why));
    }

    /// Last act: out of the registry; what remains is to let the views have their last bytes.
    pub(super) fn leave(&mut self) {
        self.publish();
        self.out.push(Effect::Leave);
        // Whoever wanted it to end for another job finds the record.
        self.whoever_waits_looks_for_another();
        self.pump();
    }

    /// A restart ends the job first; that it is wanted is written before. One that comes while the session begins, or is
    /// being restarted, wants what is under way.
    pub(super) fn begin_restart(&mut self, job_id: Uuid, caller: Caller, asker: Asker) {
        let label = self.record.label();
        let (is_silent, silent) = (self.is_holder_silent(), self.silent_error("nothing was changed"));
        let refused = match (&mut self.wish, &self.phase) {
            (Wish::Restart(restart), _) => {
                restart.waiting.push(asker);
                if restart.caller == Caller::default() {
                    // The manager died over the first time, and what its asker had is in no record.
                    restart.caller = caller;
                }
                return;
            }
            (Wish::Remove(_), _) => Error::new(
                Kind::NoSuchSession,
                format!("`{label}` is being deleted"),
                "`sessd list` shows it until then",
            ),
            (Wish::Keep, Phase::Starting { .. }) => return self.reply(asker, Ok(Answer::Here)),
            (Wish::Keep, Phase::Ending(_)) => {
                // It is written with the end.
                self.restart_is_kept(Restart { job_id, caller, waiting: vec![asker] });
                return self.keep();
            }
            (Wish::Keep, Phase::Running | Phase::Disconnected) if is_silent => silent,
            (Wish::Keep, phase) if phase.is_before_the_end() && self.stream.is_some() => {
                let mut to_restart = Box::new(self.record.clone());
                to_restart.restart = Some(job_id);
                let restart = Restart { job_id, caller, waiting: vec![asker] };
                return self.write(Write::Save(to_restart), Then::ToRestart(restart));
            }
            (Wish::Keep, _) => failed(
                format!("the job of `{label}` cannot be reached now"),
                "`sessd info` says more; try again",
            ),
        };
        self.reply(asker, Err(refused));
    }

    /// The job is ended for another.
    pub(super) fn restart_is_kept(&mut self, restart: Restart) {
        self.failpoint("restart-after-intent");
        self.record.restart = Some(restart.job_id);
        self.wish = Wish::Restart(restart);
        self.end_job(EndReason::Restarted, false);
        self.ask_holder();
    }

    /// The host's link is gone while a restart waits for the job's end: nobody is kept waiting for it.
    pub(super) fn restart_waits(&mut self, why: &Error) {
        let Wish::Restart(restart) = &mut self.wish else { return };
        let waiting = std::mem::take(&mut restart.waiting);
        let told = Error::new(why.kind, why.message.clone(), "it is restarted when the host is back");
        self.reply_all(waiting, &Err(told));
    }

    /// Does the record say that the job runs, and the phase that it is there?
    pub(super) fn may_run(&self) -> bool {
        matches!(self.record.state, State::Init | State::Disconnected) && self.phase.is_before_the_end()
    }

    /// Whoever waits for the session is not ours to answer any more.
    pub(super) fn whoever_waits_looks_for_another(&mut self) {
        let waiting = match std::mem::take(&mut self.wish) {
            Wish::Keep => Vec::new(),
            Wish::Restart(restart) => restart.waiting,
            Wish::Remove(removal) => removal.waiting,
        };
        let running = std::mem::take(&mut self.when_running);
        let typing = std::mem::take(&mut self.sends).into_values().map(|(_, asker)| asker);
        for asker in waiting.into_iter().chain(running).chain(typing) {
            self.out.push(Effect::LookForAnother(asker));
        }
    }
}
