//! A session that is to go: its job is ended on the host, then both sides forget it. Until then the record stays, and whoever
//! asked is told what it waits for.

use super::writes::Then;
use super::{AgentRequest, Answer, Asker, Effect, HostStage, Phase, Removed, Session, Wish, Write, failed};
use crate::removal::{Job, Reach, Step, step};
use sessd_proto::Frame;
use sessd_proto::messages::{self as m, EndReason, LinkAct};

impl Session {
    pub(super) fn delete(&mut self, force: bool, asker: Asker) {
        if let Wish::Remove(removal) = &mut self.wish {
            removal.waiting.push(asker);
            // Asked again, by force: a host that is gone for good is given up.
            removal.given_up |= force;
            removal.by_force |= force;
            return self.remove(force);
        }
        self.failpoint("delete-before-save");
        let mut to_go = Box::new(self.record.clone());
        (to_go.delete_requested, to_go.restart) = (true, None);
        self.write(Write::Save(to_go), Then::ToGo { force, asker });
    }

    fn reach(&self) -> Reach {
        match self.host.stage {
            _ if self.is_stalled() => Reach::Out,
            HostStage::Up { .. } => Reach::Up,
            HostStage::Dormant | HostStage::Connecting => Reach::Coming,
            HostStage::Down { .. } | HostStage::NeedsPerson(_) | HostStage::Disconnected(_) => Reach::Out,
        }
    }

    fn is_given_up(&self) -> bool {
        matches!(&self.wish, Wish::Remove(removal) if removal.given_up)
    }

    /// The next step of a removal.
    pub(super) fn remove(&mut self, force: bool) {
        if matches!(self.phase, Phase::Forgetting(_)) {
            return self.write_what_waits();
        }
        let job = Job {
            ended: matches!(self.phase, Phase::Over(_)),
            stream: self.stream.is_some(),
            told: !matches!(self.phase, Phase::Starting { told: false }) || !self.record.place.is_empty(),
        };
        match step(job, self.reach(), self.is_given_up()) {
            Step::Forget => self.forget(None, Removed::Gone),
            Step::AskHolder => {
                self.end_job(EndReason::Deleted, force);
                self.ask_holder();
                self.removal_waits_for_holder();
            }
            Step::AskHost => {
                let end = self.end_of(EndReason::Deleted, force);
                let end =
                    m::EndJob { job_id: self.record.job_id.to_string(), end: Some(end), kill_holder: false };
                self.ask_agent(AgentRequest::End, LinkAct::End(end));
                self.out.push(Effect::ProbeAgain);
            }
            Step::ForgetThere => self.forget_on_host(),
            Step::GiveUp => self.give_up(),
            Step::WhenBack => {
                // A link that is only silent may still carry it.
                self.end_job(EndReason::Deleted, force);
                self.removal_waits();
            }
            // The link's coming or going is told.
            Step::Await => {}
        }
    }

    /// The host cannot be reached: whoever wants the session gone hears what that waits for.
    pub(super) fn removal_waits(&mut self) {
        if self.reach() != Reach::Out || matches!(self.phase, Phase::Done(_) | Phase::Forgetting(_)) {
            return;
        }
        let (label, host) = (self.record.label(), self.record.host.clone());
        let Wish::Remove(removal) = &mut self.wish else { return };
        if removal.given_up {
            return self.give_up();
        }
        let waiting = std::mem::take(&mut removal.waiting);
        let why = format!("{label}: {host} is out of reach, it is ended when {host} is back");
        self.reply_all(waiting, &Ok(Answer::Removed(Removed::Later(why))));
    }

    fn give_up(&mut self) {
        let (label, host) = (self.record.label(), &self.record.host);
        let what = format!(
            "{label}: forgotten here; {host} was not told, and its job may still run there (`sessd host adopt {host}` finds it)"
        );
        self.forget(None, Removed::GivenUp(what));
    }

    /// How the holder is asked to end the job, and in whose name.
    pub(super) fn end_of(&self, reason: EndReason, force: bool) -> m::End {
        m::End { reason: reason as i32, force, by: self.manager.name.clone() }
    }

    pub(super) fn end_job(&mut self, reason: EndReason, force: bool) {
        let end = self.end_of(reason, force);
        self.send(&Frame::End(end));
    }

    /// The record of a session that is to go stays until the host has forgotten the job: else nobody would know of what
    /// is left there.
    pub(super) fn forget_on_host(&mut self) {
        self.failpoint("forget-before-request");
        self.ask_agent(AgentRequest::Forget, LinkAct::Forget(self.job_name()));
    }

    /// The row is gone.
    pub(super) fn forgotten(&mut self) {
        let Phase::Forgetting(forgetting) = std::mem::replace(&mut self.phase, Phase::Done(None)) else {
            return;
        };
        self.failpoint("forget-after-save");
        self.out.push(Effect::Deleted);
        let exit = forgetting.exit.unwrap_or_else(|| m::ExitRecord {
            reason: EndReason::Deleted as i32,
            ..m::ExitRecord::default()
        });
        self.phase = Phase::Done(Some(exit));
        let running = std::mem::take(&mut self.when_running);
        let removing = match std::mem::take(&mut self.wish) {
            Wish::Remove(removal) => removal.waiting,
            Wish::Restart(restart) => restart.waiting,
            Wish::Keep => Vec::new(),
        };
        self.leave();
        self.reply_all(
            running,
            &Err(forgetting.why.unwrap_or_else(|| failed("the session was deleted", ""))),
        );
        self.reply_all(removing, &Ok(Answer::Removed(forgetting.told)));
    }
}
