//! A session that is to go: its job is ended on the host, then both sides forget it. Until then the record stays, and whoever
//! asked is told what it waits for.

use super::writes::{Then, What};
use super::{Asked, Removed, Task, answer_all};
use crate::faults::point;
use crate::manager::host::{Status, ToHost};
use crate::manager::link::Link;
use sessd_core::removal::{Job, Reach, Step, step};
use sessd_proto::Frame;
use sessd_proto::docs::{Error, Result};
use sessd_proto::messages::{self as m, EndReason, LinkAct};
use std::rc::Rc;
use tokio::sync::oneshot;

impl Task {
    pub(super) fn delete(&mut self, force: bool, done: oneshot::Sender<Result<Removed>>) {
        self.when_gone.push(done);
        if self.record.delete_requested {
            // Asked again, by force: a host that is gone for good is given up.
            self.given_up |= force;
            self.remove(force);
            return;
        }
        point("delete-before-save");
        let mut to_go = Box::new(self.record.clone());
        to_go.delete_requested = true;
        self.write(What::Save(to_go), Then::ToGo { force });
    }

    fn reach(&self) -> Reach {
        match self.handle.host.status() {
            status if status.is_stalled() => Reach::Out,
            Status::Up(_) => Reach::Up,
            Status::Dormant | Status::Connecting => Reach::Coming,
            Status::Down { .. } | Status::NeedsPerson(_) => Reach::Out,
        }
    }

    /// The next step of a removal.
    pub(super) fn remove(&mut self, force: bool) {
        // A restart that was on its way is overtaken.
        self.restart = None;
        let job = Job {
            ended: self.ended.is_some(),
            stream: self.stream.is_some(),
            told: self.spawn_asked || !self.record.place.is_empty(),
        };
        match (step(job, self.reach(), self.given_up), self.link()) {
            (Step::Forget, _) => self.forget(None, Removed::Gone),
            (Step::AskHolder, _) => self.end_job(EndReason::Deleted, force),
            (Step::AskHost, Some(link)) => {
                let end = self.end_of(EndReason::Deleted, force);
                let end = m::EndJob { job_id: self.record.job_id.to_string(), end: Some(end) };
                self.ask_agent(&link, LinkAct::End(end), Asked::End);
                self.handle.host.tell(ToHost::LookAgain);
            }
            (Step::ForgetThere, Some(link)) => self.forget_on_host(&link),
            (Step::GiveUp, _) => self.give_up(),
            (Step::WhenBack, _) => {
                // A link that is only silent may still carry it.
                self.end_job(EndReason::Deleted, force);
                self.removal_waits();
            }
            // The link's coming or going is told.
            (Step::Await | Step::AskHost | Step::ForgetThere, _) => {}
        }
    }

    /// The host cannot be reached: whoever wants the session gone hears what that waits for.
    pub(super) fn removal_waits(&mut self) {
        if self.record.delete_requested && self.reach() == Reach::Out {
            if self.given_up {
                return self.give_up();
            }
            let (label, host) = (self.record.label(), &self.record.host);
            let why = format!("{label}: {host} is out of reach, it is ended when {host} is back");
            answer_all(&mut self.when_gone, &Ok(Removed::Later(why)));
        }
    }

    fn give_up(&mut self) {
        let (label, host) = (self.record.label(), &self.record.host);
        let what = format!(
            "{label}: forgotten here; {host} was not told, and its job may still run there (`sessd host adopt {host}` finds it)"
        );
        self.forget(None, Removed::GivenUp(what));
    }

    /// How the holder is asked to end the job, and in whose name.
    fn end_of(&self, reason: EndReason, force: bool) -> m::End {
        m::End { reason: reason as i32, force, by: self.manager.name.clone() }
    }

    pub(super) fn end_job(&self, reason: EndReason, force: bool) {
        self.send(&Frame::End(self.end_of(reason, force)));
    }

    /// The record of a session that is to go stays until the host has forgotten the job: else nobody would know of what
    /// is left there.
    pub(super) fn forget_on_host(&mut self, link: &Rc<Link>) {
        point("forget-before-request");
        self.ask_agent(link, LinkAct::Forget(self.job_name()), Asked::Forget);
    }

    /// The record is removed: the user wanted that, or there never was a job, and `why` says why not.
    pub(super) fn forget(&mut self, why: Option<Error>, told: Removed) {
        self.forgetting = Some(told.clone());
        if self.writing.is_some() {
            return;
        }
        point("forget-before-save");
        self.write(What::Forget, Then::Forgotten { why, told });
    }

    pub(super) fn forgotten(&mut self, why: Option<Error>, told: Removed) {
        point("forget-after-save");
        self.forgetting = None;
        self.manager.events.session(sessd_proto::docs::event::What::Deleted, &self.record);
        self.ended.get_or_insert_with(|| m::ExitRecord {
            reason: EndReason::Deleted as i32,
            ..m::ExitRecord::default()
        });
        let mut waiting = std::mem::take(&mut self.when_running);
        self.leave();
        answer_all(&mut waiting, &Err(why.unwrap_or_else(|| Error::failed("the session was deleted", ""))));
        answer_all(&mut self.when_gone, &Ok(told));
    }
}
