//! What is written of a session, one thing at a time, and what follows once the database has it. Nothing waits for the
//! disk but what must: the host is told, and people are answered, of what is written and of nothing else.

use super::{AGAIN_FIRST, Removed, Session, Task, ToSession, answer_all};
use crate::faults::point;
use crate::manager::registry::NameClaim;
use crate::store::Screen;
use sessd_core::record::{Record, State};
use sessd_proto::docs::{Error, Result};
use std::rc::Rc;
use tokio::sync::oneshot;

/// What follows a write.
pub(super) enum Then {
    /// What the host told us is kept. It is so whether or not the database takes it now.
    Kept {
        /// That the job runs is in it.
        runs: bool,
    },
    /// The session has a new name, or other tags.
    Tagged { tagged: Box<Record>, claim: Option<NameClaim>, done: oneshot::Sender<Result<()>> },
    /// The session is to go: its job is ended.
    ToGo { force: bool },
    /// The job's end is on record.
    Ended(Box<Record>),
    /// The job's end is on record, and that another is wanted.
    Restarted(Box<Record>),
    /// There never was the job that was asked for; the session is what it was before.
    FellBack { before: Box<Record>, why: Error },
    /// The session is on a host of another name.
    Moved { moved: Box<Record>, done: oneshot::Sender<Result<Rc<Session>>> },
    /// The row is gone.
    Forgotten { why: Option<Error>, told: Removed },
}

/// What is written.
pub(super) enum What {
    Save(Box<Record>),
    Done(Box<Record>, Option<Screen>),
    Forget,
}

impl Task {
    /// Writes; one thing at a time.
    pub(super) fn write(&mut self, what: What, then: Then) {
        debug_assert!(self.writing.is_none(), "two writes at once");
        self.writing = Some(then);
        let (store, mailbox, id) = (self.manager.store.clone(), self.handle.mailbox.clone(), self.record.id);
        tokio::task::spawn_local(async move {
            let result = match what {
                What::Save(record) => store.save(&record).await,
                What::Done(record, screen) => store.save_done(&record, screen.as_ref()).await,
                What::Forget => store.forget(id).await,
            };
            mailbox.send(ToSession::Written(result));
        });
    }

    /// Keeps what the host told us, now or as soon as what is being written is there.
    pub(super) fn keep(&mut self) {
        self.unsaved = true;
        if self.writing.is_none() {
            self.write_what_waits();
        }
    }

    /// What could not be written, or was not yet.
    pub(super) fn write_what_waits(&mut self) {
        if self.finished || self.writing.is_some() {
            return;
        }
        if let Some(told) = self.forgetting.take() {
            self.forget(None, told);
        } else if self.ending.as_ref().is_some_and(|ending| ending.screen.is_some()) {
            self.write_ending();
        } else if std::mem::take(&mut self.unsaved) {
            let runs = self.record.state == State::Running;
            if runs {
                point("running-before-save");
            }
            self.write(What::Save(Box::new(self.record.clone())), Then::Kept { runs });
        }
    }

    pub(super) fn written(&mut self, result: Result<()>) {
        let Some(then) = self.writing.take() else { return };
        match result {
            Ok(()) => {
                self.again_after = AGAIN_FIRST;
                self.follow(then);
            }
            Err(error) => self.not_written(then, error),
        }
        // The job may have ended meanwhile, or its host said more.
        if !self.again {
            self.write_what_waits();
        }
    }

    fn follow(&mut self, then: Then) {
        match then {
            Then::Kept { runs } => {
                if runs {
                    point("running-after-save");
                }
                self.who_waits_hears_that_it_runs();
            }
            Then::Tagged { tagged, claim, done } => {
                point("tag-after-save");
                let Record { name, tags, untold, .. } = *tagged;
                (self.record.name, self.record.tags, self.record.untold) = (name, tags, untold);
                self.publish();
                drop(claim);
                self.describe();
                // Who asked may have gone.
                let _ = done.send(Ok(()));
            }
            Then::ToGo { force } => {
                self.record.delete_requested = true;
                point("delete-after-save");
                self.publish();
                self.remove(force);
            }
            Then::Ended(done) => self.end_is_kept(*done),
            Then::Restarted(again) => self.hand_on(*again),
            Then::FellBack { before, why } => self.fell_back(*before, why),
            Then::Moved { moved, done } => self.moved(*moved, done),
            Then::Forgotten { why, told } => self.forgotten(why, told),
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
            Then::Tagged { done, .. } => {
                let _ = done.send(Err(error));
                return;
            }
            Then::Moved { done, .. } => {
                let _ = done.send(Err(error));
                return;
            }
            Then::ToGo { .. } => {
                answer_all(&mut self.when_gone, &Err(error));
                return;
            }
            // The job has ended, and that is tried again until it is written.
            Then::Ended(_) | Then::Restarted(_) => {}
            Then::FellBack { why, .. } => answer_all(&mut self.when_running, &Err(why)),
            Then::Forgotten { why, .. } => {
                // That it is to go is in the record already, and it will.
                let told: Result<Removed> = Err(error.clone());
                answer_all(&mut self.when_gone, &told);
                if let Some(why) = why {
                    answer_all(&mut self.when_running, &Err(why));
                }
            }
        }
        self.step_failed(&error);
    }

    /// Whoever waits for the job to run hears so, once that is written.
    pub(super) fn who_waits_hears_that_it_runs(&mut self) {
        if self.record.state == State::Running && self.writing.is_none() {
            answer_all(&mut self.when_running, &Ok(()));
        }
    }
}
