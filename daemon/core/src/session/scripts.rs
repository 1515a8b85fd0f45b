//! What scripts ask of a session and are told: text typed by no view, and what the job is doing.

use super::{Answer, Asker, Phase, Session, failed};
use crate::doing;
use sessd_proto::docs::{Error, Kind};
use sessd_proto::hello::feature;
use sessd_proto::messages::{self as m, SentOutcome};
use sessd_proto::{Frame, Uuid};
use std::collections::BTreeMap;

/// What may be on its way to a holder.
const ON_THEIR_WAY_MAX: usize = 256;

/// What is typed by no view, until the holder has answered.
pub(super) type Sends = BTreeMap<Uuid, (m::Send, Asker)>;

impl Session {
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
    pub(super) fn type_in(&mut self, send: m::Send, asker: Asker) {
        let why_not = if !self.phase.is_before_the_end() {
            failed(format!("{} has ended", self.record.label()), "")
        } else if self.sends.len() >= ON_THEIR_WAY_MAX {
            failed(
                format!("{} is sent more than its host takes", self.record.label()),
                "send again when it has",
            )
        } else if let (None, Some(why)) = (&self.stream, self.host.why()) {
            why.clone()
        } else if self.is_holder_silent() {
            self.silent_error("nothing was typed")
        } else if self.knows_scripts() == Some(false) {
            self.too_old()
        } else if let Ok(id) = Uuid::from_slice(&send.id) {
            if self.knows_scripts().is_some() {
                self.send(&Frame::Send(send.clone()));
                self.ask_holder();
            }
            if let Some((_, before)) = self.sends.insert(id, (send, asker)) {
                // It is typed once, and who asked last is told.
                self.reply(before, Err(failed("the same was asked for again", "")));
            }
            return;
        } else {
            failed("what is to be typed has no id", "")
        };
        self.reply(asker, Err(why_not));
    }

    /// The holder says who it is: what is not answered is sent over this path, under the same ids.
    pub(super) fn send_again(&mut self) {
        match self.knows_scripts() {
            Some(true) => {
                let sends: Vec<m::Send> = self.sends.values().map(|(send, _)| send.clone()).collect();
                sends.into_iter().for_each(|send| self.send(&Frame::Send(send)));
            }
            Some(false) => {
                let too_old = self.too_old();
                self.answer_sends(&too_old);
            }
            None => {}
        }
    }

    /// Nobody is kept waiting for a holder that cannot be told.
    pub(super) fn answer_sends(&mut self, error: &Error) {
        let sends = std::mem::take(&mut self.sends);
        self.reply_all(sends.into_values().map(|(_, asker)| asker).collect(), &Err(error.clone()));
    }

    /// The holder has answered.
    pub(super) fn sent(&mut self, sent: m::Sent) {
        let id = Uuid::from_slice(&sent.id).unwrap_or_default();
        if let Some((_, asker)) = self.sends.remove(&id) {
            let refused = sent.outcome == SentOutcome::Refused as i32;
            let answer =
                if refused { Err(failed(sent.detail, "nothing was typed")) } else { Ok(Answer::Sent(sent)) };
            self.reply(asker, answer);
        }
    }

    /// The holder said how the job is.
    pub(super) fn heard_doing(&mut self, status: &m::JobStatus) {
        let before = self.shown.doing.as_ref();
        self.shown.doing = doing::by_our_clock(status.activity.as_ref(), before, self.now.wall_ms);
    }

    /// What the job is doing, while that is known.
    pub(super) fn doing_now(&self) -> Option<m::ViewDoing> {
        self.shown.doing.clone().filter(|_| matches!(self.phase, Phase::Running))
    }
}
