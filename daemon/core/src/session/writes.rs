//! What is written of a session, one thing at a time, and what follows once the database has it. Nothing waits for the
//! disk but what must.

use super::{
    AGAIN_FIRST_MS, AGAIN_LAST_MS, Answer, Asker, Effect, Phase, Removal, Removed, Restart, Session, Wish,
    Write, WriteId,
};
use crate::record::{Record, State};
use sessd_proto::docs::{Error, Kind, Result, SizePolicy};

/// A write on its way, or the claim of a name that goes before it.
#[derive(Debug)]
pub(super) struct Writing {
    /// None: the name is being claimed.
    pub(super) id: Option<WriteId>,
    pub(super) then: Then,
}

/// What follows a write.
#[derive(Debug)]
pub(super) enum Then {
    /// What the host told us is kept. It is so whether or not the database takes it now.
    Kept {
        /// That the job runs is in it.
        runs: bool,
    },
    /// The session has a new name, or other tags.
    Tagged { tagged: Box<Record>, claimed: bool, asker: Asker },
    /// Another sizes the session.
    Sized { sized: Box<Record>, asker: Asker },
    /// The session is to go: its job is ended.
    ToGo { force: bool, asker: Asker },
    /// The job is to end for a new one.
    ToRestart(Restart),
    /// The job's end is on record.
    Ended(Box<Record>),
    /// The job's end is on record, and that another is wanted.
    Restarted(Box<Record>),
    /// There never was the job that was asked for; the session is what it was before.
    FellBack { before: Box<Record>, why: Error },
    /// The session is on a host of another name.
    Moved { moved: Box<Record>, asker: Asker },
    /// The row is gone.
    Forgotten,
}

impl Session {
    /// Writes; one thing at a time.
    pub(super) fn write(&mut self, what: Write, then: Then) {
        debug_assert!(self.writing.is_none(), "two writes at once");
        self.writes += 1;
        let id = WriteId(self.writes);
        self.writing = Some(Writing { id: Some(id), then });
        self.out.push(Effect::Write(id, what));
    }

    /// Keeps what the host told us, now or as soon as what is being written is there.
    pub(super) fn keep(&mut self) {
        self.unsaved = true;
        self.write_what_waits();
    }

    /// What could not be written, or was not yet.
    pub(super) fn write_what_waits(&mut self) {
        if self.writing.is_some() {
            return;
        }
        match &self.phase {
            Phase::Done(_) => {}
            Phase::Forgetting(_) => {
                self.failpoint("forget-before-save");
                self.write(Write::Forget, Then::Forgotten);
            }
            Phase::Ending(ending) if ending.screen.is_some() => self.write_ending(),
            _ if std::mem::take(&mut self.unsaved) => {
                let runs = self.record.state == State::Running;
                if runs {
                    self.failpoint("running-before-save");
                }
                self.write(Write::Save(Box::new(self.record.clone())), Then::Kept { runs });
            }
            _ => {}
        }
    }

    pub(super) fn written(&mut self, id: WriteId, result: Result<()>) {
        let Some(Writing { then, .. }) = self.writing.take_if(|writing| writing.id == Some(id)) else {
            return;
        };
        match result {
            Ok(()) => {
                self.again_after_ms = AGAIN_FIRST_MS;
                self.follow(then);
            }
            Err(error) => self.not_written(then, error),
        }
        // The job may have ended meanwhile, or its host said more.
        if self.again_at_ms.is_none() {
            self.write_what_waits();
        }
    }

    fn follow(&mut self, then: Then) {
        match then {
            Then::Kept { runs } => {
                if runs {
                    self.failpoint("running-after-save");
                    self.waits_for_its_owner();
                }
                self.who_waits_hears_that_it_runs();
            }
            Then::Tagged { tagged, claimed, asker } => {
                self.failpoint("tag-after-save");
                let Record { name, tags, untold, .. } = *tagged;
                (self.record.name, self.record.tags, self.record.untold) = (name, tags, untold);
                self.publish();
                if claimed {
                    self.out.push(Effect::Unclaim);
                }
                self.describe();
                self.reply(asker, Ok(Answer::Done));
            }
            Then::Sized { sized, asker } => {
                self.record.size_policy = sized.size_policy;
                if sized.size_policy == SizePolicy::Fixed {
                    self.record.size = sized.size;
                }
                self.size_told.hurry();
                self.send_size();
                self.pump();
                // Whoever asked wants to hear whether it is so.
                self.ask_holder();
                self.reply(asker, Ok(Answer::Done));
            }
            Then::ToGo { force, asker } => {
                // A restart that was on its way is overtaken.
                let before = std::mem::replace(
                    &mut self.wish,
                    Wish::Remove(Removal { given_up: false, by_force: force, waiting: vec![asker] }),
                );
                (self.record.delete_requested, self.record.restart) = (true, None);
                self.failpoint("delete-after-save");
                self.publish();
                if let Wish::Restart(restart) = before {
                    let deleted = Error::new(
                        Kind::NoSuchSession,
                        format!("`{}` is being deleted", self.record.label()),
                        "`sessd list` shows it until then",
                    );
                    self.reply_all(restart.waiting, &Err(deleted));
                }
                self.remove(force);
            }
            Then::ToRestart(restart) => self.restart_is_kept(restart),
            Then::Ended(done) => self.end_is_kept(*done),
            Then::Restarted(again) => self.hand_on(*again),
            Then::FellBack { before, why } => self.fell_back(*before, why),
            Then::Moved { moved, asker } => self.moved(moved.host, asker),
            Then::Forgotten => self.forgotten(),
        }
        self.publish();
    }

    fn not_written(&mut self, then: Then, error: Error) {
        match then {
            Then::Kept { .. } => {
                // It is so all the same.
                self.unsaved = true;
                self.who_waits_hears_that_it_runs();
                self.publish();
            }
            Then::Tagged { claimed, asker, .. } => {
                if claimed {
                    self.out.push(Effect::Unclaim);
                }
                return self.reply(asker, Err(error));
            }
            Then::Moved { asker, .. } | Then::Sized { asker, .. } | Then::ToGo { asker, .. } => {
                return self.reply(asker, Err(error));
            }
            Then::ToRestart(restart) => return self.reply_all(restart.waiting, &Err(error)),
            // The job has ended, and that is tried again until it is written.
            Then::Ended(_) | Then::Restarted(_) => {}
            Then::FellBack { why, .. } => self.who_waits_for_running_hears(&Err(why)),
            Then::Forgotten => {
                // That it is to go is in the record already, and it will.
                if let Wish::Remove(removal) = &mut self.wish {
                    let waiting = std::mem::take(&mut removal.waiting);
                    self.reply_all(waiting, &Err(error.clone()));
                }
                if let Phase::Forgetting(forgetting) = &mut self.phase
                    && let Some(why) = forgetting.why.clone()
                {
                    self.who_waits_for_running_hears(&Err(why));
                }
            }
        }
        self.step_failed(&error);
    }

    /// Whoever waits for the job to run hears so, once the write of that has come to its end. Where it failed the record says
    /// `init` still, is tried again, and is enough: a manager that begins from it finds the job by its id.
    pub(super) fn who_waits_hears_that_it_runs(&mut self) {
        if matches!(self.phase, Phase::Running) && self.writing.is_none() {
            self.who_waits_for_running_hears(&Ok(Answer::Done));
        }
    }

    /// The record is removed: the user wanted that, or there never was a job, and `why` says why not.
    pub(super) fn forget(&mut self, why: Option<Error>, told: Removed) {
        let exit = self.phase.exit().cloned();
        self.phase = Phase::Forgetting(super::Forgetting { exit, told, why });
        self.write_what_waits();
    }

    /// A step of ours did not come about. Nothing was claimed that is not so; it is tried again.
    pub(super) fn step_failed(&mut self, error: &Error) {
        self.note(error.message.clone());
        if self.again_at_ms.is_none() {
            self.again_at_ms = Some(self.now.steady_ms + self.again_after_ms);
            self.again_after_ms = (self.again_after_ms * 2).min(AGAIN_LAST_MS);
        }
    }

    pub(super) fn try_again(&mut self) {
        self.again_at_ms = None;
        if !self.phase.is_done() {
            self.write_what_waits();
            self.out.push(Effect::ProbeAgain);
        }
    }
}
