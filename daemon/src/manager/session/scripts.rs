//! What scripts ask of a session and are told: text typed by no view, and what the job is doing.

use super::Task;
use crate::clock;
use sessd_core::doing;
use sessd_core::record::State;
use sessd_proto::docs::{Error, Kind, Result};
use sessd_proto::hello::feature;
use sessd_proto::messages::{self as m, SentOutcome};
use sessd_proto::{Frame, Uuid};
use std::collections::HashMap;
use tokio::sync::oneshot;

/// What may be on its way to a holder.
const ON_THEIR_WAY_MAX: usize = 256;

/// What is typed by no view, until the holder has answered.
#[derive(Default)]
pub(super) struct Sends(HashMap<Uuid, (m::Send, oneshot::Sender<Result<m::Sent>>)>);

impl Task {
    /// Whether the holder knows of scripts; `None` until it has greeted.
    fn knows_scripts(&self) -> Option<bool> {
        let features = self.stream.as_ref()?.features?;
        Some(features & feature::SCRIPTS != 0)
    }

    fn too_old(&self) -> Error {
        let label = self.record.label();
        Error::new(
            Kind::VersionSkew,
            format!(
                "{label} was started by an older sessd, whose holder on the host cannot be typed into like this"
            ),
            format!("`sessd attach {label}` can; `sessd restart {label}` starts it with this version"),
        )
    }

    /// Something is to be typed into the job.
    pub(super) fn type_in(&mut self, send: m::Send, done: oneshot::Sender<Result<m::Sent>>) {
        let answer = if self.finished || self.ended.is_some() || self.ending.is_some() {
            Err(Error::failed(format!("{} has ended", self.record.label()), ""))
        } else if self.sends.0.len() >= ON_THEIR_WAY_MAX {
            Err(Error::failed(
                format!("{} is sent more than its host takes", self.record.label()),
                "send again when it has",
            ))
        } else if let (None, Some(why)) = (&self.stream, self.out_of_reach()) {
            Err(why)
        } else if self.knows_scripts() == Some(false) {
            Err(self.too_old())
        } else {
            if self.knows_scripts().is_some() {
                self.send(&Frame::Send(send.clone()));
            }
            if let Ok(id) = Uuid::from_slice(&send.id) {
                self.sends.0.insert(id, (send, done));
            }
            return;
        };
        // Who asked may have gone.
        let _ = done.send(answer);
    }

    /// The holder says who it is: what is not answered is sent over this path, under the same ids.
    pub(super) fn send_again(&mut self) {
        match self.knows_scripts() {
            Some(true) => {
                for (send, _) in self.sends.0.values() {
                    self.send(&Frame::Send(send.clone()));
                }
            }
            Some(false) => self.answer_sends(&self.too_old()),
            None => {}
        }
    }

    pub(super) fn answer_sends(&mut self, error: &Error) {
        for (_, (_, done)) in self.sends.0.drain() {
            let _ = done.send(Err(error.clone()));
        }
    }

    /// The holder has answered.
    pub(super) fn sent(&mut self, sent: m::Sent) {
        let id = Uuid::from_slice(&sent.id).unwrap_or_default();
        if let Some((_, done)) = self.sends.0.remove(&id) {
            let refused = sent.outcome == SentOutcome::Refused as i32;
            let answer =
                if refused { Err(Error::failed(sent.detail, "nothing was typed")) } else { Ok(sent) };
            let _ = done.send(answer);
        }
    }

    /// The holder said how the job is.
    pub(super) fn heard_doing(&mut self, status: &m::JobStatus) {
        let now = doing::by_our_clock(status.activity.as_ref(), self.doing.as_ref(), clock::wall_ms());
        if now != self.doing {
            self.manager.events.activity(&self.record, self.doing.as_ref(), now.as_ref());
            self.doing = now;
        }
    }

    /// What the job is doing, while that is known.
    pub(super) fn doing_now(&self) -> Option<m::ViewDoing> {
        self.doing.clone().filter(|_| self.record.state == State::Running)
    }
}
