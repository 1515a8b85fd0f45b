//! What a job says of itself and what scripts type into it: signals of its terminal, reports on its socket, notices for people,
//! and the queue of what is typed by no view.

use super::links::ManagerLink;
use super::{Effect, HolderMachine, Now};
use crate::machine::activity::{State, StateReport};
use sessd_proto::Frame;
use sessd_proto::limits::NOTE_MAX;
use sessd_proto::messages::{self as m, Doing, SentOutcome};
use sessd_terminal::{Reported, Signal};
use std::collections::VecDeque;

/// Notices that are kept until a manager takes them; beyond that the oldest go.
const NOTICES_MAX: usize = 16;
/// Bells that are told: one in so many milliseconds.
const BELL_MS: u64 = 5_000;

/// What the job says to people and no manager has heard.
#[derive(Debug, Default)]
pub(super) struct Notices {
    waiting: VecDeque<(m::Notice, u64)>,
    bell_ms: Option<u64>,
}

impl Notices {
    fn put(&mut self, kind: &str, title: &str, body: &str, now: Now) {
        let at = now.steady_ms;
        if kind == "bell" && self.bell_ms.replace(at).is_some_and(|before| at < before + BELL_MS) {
            return;
        }
        if self.waiting.len() == NOTICES_MAX {
            self.waiting.pop_front();
        }
        let notice = m::Notice { kind: kind.to_owned(), title: cut(title), body: cut(body), age_ms: 0 };
        self.waiting.push_back((notice, at));
    }

    /// Tells those who listen, once anybody does.
    pub(super) fn tell(&mut self, links: &mut [ManagerLink], now: Now) {
        if self.waiting.is_empty() || !links.iter().any(ManagerLink::listens) {
            return;
        }
        for (notice, at) in self.waiting.drain(..) {
            let notice = Frame::Notice(m::Notice { age_ms: now.steady_ms.saturating_sub(at), ..notice });
            links.iter_mut().filter(|link| link.listens()).for_each(|link| link.out.put(0, &notice));
        }
    }
}

fn cut(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(NOTE_MAX).collect()
}

impl HolderMachine {
    /// What the program said through its terminal since this was asked last.
    pub(super) fn hear_signals(&mut self, now: Now) {
        if !self.hub.terminal().has_signals() {
            return;
        }
        let signals = self.hub.take_signals();
        if self.job.spec.plain {
            // There is no terminal: the bytes of a file that is fetched say nothing to people.
            return;
        }
        for signal in signals {
            match &signal {
                Signal::Notice { title, body } => self.notices.put("notice", title, body, now),
                Signal::Bell => self.notices.put("bell", "", "", now),
                _ => {}
            }
            self.activity.signal(&signal, now.ms);
        }
    }

    /// A program of the job, or whoever knows its socket, says what the job is doing.
    pub(super) fn reported(&mut self, report: &m::Report, now: Now) -> m::Sent {
        let state = match Doing::try_from(report.state) {
            Ok(Doing::Working) => Some(Reported::Working),
            Ok(Doing::Waiting) => Some(Reported::Waiting),
            Ok(Doing::Done) => Some(Reported::Done),
            _ => None,
        };
        let outcome = if state.is_some() { SentOutcome::Done } else { SentOutcome::Refused };
        if let Some(state) = state.filter(|_| self.ended.is_none()) {
            self.activity.report(state, &cut(&report.note), now.ms);
            // Whoever waits for that waits no longer than for us.
            self.status_due_ms = Some(now.ms);
        }
        m::Sent { outcome: outcome as i32, ..m::Sent::default() }
    }

    /// Something is typed by no view, now or later.
    pub(super) fn take_send(&mut self, send: m::Send, now: Now) -> m::Sent {
        let (id, mut typed) = (send.id.clone(), Vec::new());
        if self.ended.is_some() {
            let (outcome, detail) = (SentOutcome::Refused as i32, "the job has ended".to_owned());
            return m::Sent { id, outcome, detail, queued: 0 };
        }
        let answer = self.queue.take(send, self.input.unread_of_scripts(), self.hub.terminal(), &mut typed);
        self.type_for_scripts(&typed, now);
        if answer.outcome == SentOutcome::Queued {
            self.status_soon(now);
        }
        m::Sent {
            id,
            outcome: answer.outcome as i32,
            detail: answer.detail.to_owned(),
            queued: answer.queued,
        }
    }

    fn type_for_scripts(&mut self, typed: &[u8], now: Now) {
        if !typed.is_empty() {
            self.idle.traffic(now.ms);
            self.active_at_ms = now.steady_ms;
            self.activity.typed();
            self.input.script(typed);
        }
    }

    /// What the job is doing.
    pub(super) fn doing(&self, now: Now) -> m::Activity {
        let StateReport { state, source, since_ms, note } = self.activity.told(now.ms);
        m::Activity {
            state: state as i32,
            source: source.word().to_owned(),
            age_ms: now.ms.saturating_sub(since_ms),
            note: cut(&note),
        }
    }

    /// Wants to know what it must before it says what the job is doing, or types what waits.
    pub(super) fn take_script_steps(&mut self, now: Now) {
        if self.ended.is_some() {
            return;
        }
        if !self.processor_asked && self.activity.look_at_ms().is_some_and(|at| now.ms >= at) {
            self.processor_asked = true;
            self.effects.push_back(Effect::Processor);
        }
        if !self.queue.is_empty() && self.queue.may_be_due(&self.activity.told(now.ms), now.ms) {
            // What is typed into a question for a password is not what was meant.
            self.effects.push_back(Effect::Hides);
        }
    }

    /// What the job has used of the processor.
    pub(super) fn used(&mut self, used: Option<u64>, now: Now) {
        self.processor_asked = false;
        self.activity.processor(used, now.ms);
        if self.activity.told(now.ms).state == State::Quiet {
            self.status_due_ms = Some(now.ms);
        }
    }

    /// Whether the terminal hides what is typed; if it does not, what is due is typed.
    pub(super) fn echoes(&mut self, hides: bool, now: Now) {
        self.activity.hides(hides, now.ms);
        let told = self.activity.told(now.ms);
        if let Some(typed) = self.queue.due(&told, now.ms, self.hub.terminal()) {
            self.type_for_scripts(&typed, now);
            self.status_soon(now);
        }
    }

    /// When the next of that is due.
    pub(super) fn script_steps_ms(&self) -> Option<u64> {
        if self.ended.is_some() {
            return None;
        }
        let look = self.activity.look_at_ms().filter(|_| !self.processor_asked);
        look.into_iter().chain(self.queue.due_ms()).min()
    }
}
