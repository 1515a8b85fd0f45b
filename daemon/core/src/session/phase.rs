//! Where a session's job stands, and what its user wants with it. The two are apart because each goes its own way: a job
//! that is to go may be running, out of reach or ended, and one that is to be restarted as well.

use super::effect::{Asker, Caller};
use crate::last_screen::Screen;
use crate::record::{End, Record, State};
use sessd_proto::Uuid;
use sessd_proto::docs::Error;
use sessd_proto::messages::ExitRecord;

/// Where the job stands.
///
/// ```text
///  Starting ──▶ Running ⇄ Disconnected          Ending: its last screen, then its end on record
///      └───────────┴───────────┴──▶ Ending ──▶ Done
///                  └───────────┴──▶ Over ──▶ Forgetting ──▶ Done      where it is to go
/// ```
#[derive(Debug)]
pub enum Phase {
    /// The intent to run it is written; its host has not said that it does.
    Starting {
        /// The host may have been told of it.
        told: bool,
    },
    /// Its holder answers.
    Running,
    /// No holder answers now; nothing is known.
    Disconnected,
    /// It has ended, and that is on its way into the record.
    Ending(Ending),
    /// It has ended and is to go: its host is asked to forget what is left of it.
    Over(ExitRecord),
    /// Its host has nothing of it, or is not asked: the record goes as soon as the database lets it.
    Forgetting(Forgetting),
    /// Nothing is left to do but to let views take what they are due: the end of the job, if it has one.
    Done(Option<ExitRecord>),
}

/// An end on its way into the record.
#[derive(Debug)]
pub struct Ending {
    /// As it will be in the record.
    pub end: End,
    /// As it was told.
    pub exit: ExitRecord,
    /// Once it is known: the last screen, or that there is none.
    pub screen: Option<Option<Screen>>,
}

/// A record on its way out.
#[derive(Debug)]
pub struct Forgetting {
    /// The job's end, if it had one.
    pub exit: Option<ExitRecord>,
    /// What whoever wanted it gone is told.
    pub told: Removed,
    /// Why there never was a job.
    pub why: Option<Error>,
}

/// What became of a session that was to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removed {
    /// It is gone, here and on its host.
    Gone,
    /// Not yet; the sentence says what it waits for.
    Later(String),
    /// It is gone here, and its job may live; the sentence says so.
    GivenUp(String),
}

/// What the user wants with the session.
#[derive(Debug, Default)]
pub enum Wish {
    /// That it goes on.
    #[default]
    Keep,
    /// A new job, once this one has ended.
    Restart(Restart),
    /// That it goes.
    Remove(Removal),
}

/// A restart on its way.
#[derive(Debug)]
pub struct Restart {
    /// The new job.
    pub job_id: Uuid,
    /// What it has of whoever asks.
    pub caller: Caller,
    /// Who waits for the session as it goes on.
    pub waiting: Vec<Asker>,
}

/// A removal on its way.
#[derive(Debug, Default)]
pub struct Removal {
    /// The user does not want to wait for the host with that.
    pub given_up: bool,
    /// The job has no time to end in, and nor has a holder that does not answer.
    pub by_force: bool,
    /// Who waits for it.
    pub waiting: Vec<Asker>,
}

impl Phase {
    /// Of a record that a task begins with.
    pub(super) fn of(record: &Record, told: bool) -> Self {
        match record.state {
            State::Init => Self::Starting { told },
            State::Running => Self::Running,
            State::Disconnected => Self::Disconnected,
            State::Done => Self::Done(None),
        }
    }

    /// Is the job, as far as is known, there or to come?
    pub(super) fn is_before_the_end(&self) -> bool {
        matches!(self, Self::Starting { .. } | Self::Running | Self::Disconnected)
    }

    /// Has the task nothing more to do with the job?
    pub(super) fn is_done(&self) -> bool {
        matches!(self, Self::Done(_))
    }

    /// The job's end, once views may be told of it.
    pub(super) fn exit(&self) -> Option<&ExitRecord> {
        match self {
            Self::Over(exit) => Some(exit),
            Self::Done(exit) | Self::Forgetting(Forgetting { exit, .. }) => exit.as_ref(),
            Self::Starting { .. } | Self::Running | Self::Disconnected | Self::Ending(_) => None,
        }
    }
}
