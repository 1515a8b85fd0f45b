//! Does the job's holder answer? One that is stopped or hangs leaves its host and link as they are: who waits for it must hear
//! that it is the holder, and not the host, that is silent.
//!
//! The holder is asked with a heartbeat: when somebody wants something of the session, and each minute. Of one that owes
//! an answer for two seconds the host is asked; only when that has answered meanwhile it is the holder that is silent. It is no
//! evidence of anything about the job.

use super::{AgentRequest, Answer, Effect, Phase, Removed, Session, Wish};
use crate::record::State;
use sessd_proto::Frame;
use sessd_proto::docs::host::LOCAL;
use sessd_proto::docs::{Error, Kind};
use sessd_proto::messages::{self as m, LinkAct};

/// A holder that has said nothing for so long is asked.
const BEAT_MS: u64 = 60_000;
/// One that owes an answer for so long is worth asking its host about. A view whose keys are unanswered has it asked after a
/// second, and says whose silence it is after three.
const OWED_MS: u64 = 1_700;
/// The number of such a heartbeat: those that follow on something told are counted from one on.
const ARE_YOU_THERE: u64 = u64::MAX - 1;

/// What is known of a holder's answers.
#[derive(Debug, Default)]
pub(super) struct Silence {
    heard_ms: u64,
    /// When the oldest question was asked that is not answered.
    asked_ms: Option<u64>,
    /// Its host is asked, to know whose silence it is.
    host_is_asked: bool,
    /// Since when it is silent, once it is known that it is the holder.
    since_ms: Option<u64>,
    /// It said before that that its job runs.
    ran: bool,
    /// Its process, as the host says.
    pid: Option<u32>,
}

impl Silence {
    /// A new stream: the first thing asked on it is how the job is.
    pub(super) fn begins(&mut self, now_ms: u64) {
        self.asked_ms.get_or_insert(now_ms);
    }

    /// There is no stream, and so nobody who is asked.
    pub(super) fn ends(&mut self) {
        *self = Self::default();
    }

    /// Since when the holder owes an answer, if it is known that its host does not.
    pub(super) fn since_ms(&self) -> Option<u64> {
        self.since_ms
    }

    /// When something is due.
    pub(super) fn due_ms(&self) -> Option<u64> {
        match self.asked_ms {
            Some(_) if self.host_is_asked || self.since_ms.is_some() => None,
            Some(asked) => Some(asked + OWED_MS),
            None => Some(self.heard_ms + BEAT_MS),
        }
    }
}

impl Session {
    /// When its holder is to be asked, or asked about.
    pub(super) fn silence_due_ms(&self) -> Option<u64> {
        self.stream.as_ref().filter(|_| self.phase.is_before_the_end()).and_then(|_| self.silence.due_ms())
    }

    /// Somebody wants something of the holder: is it there? One question is open at a time, so that nothing grows before one
    /// that is stopped.
    pub(super) fn ask_holder(&mut self) {
        if self.stream.is_none() || self.silence.asked_ms.is_some() {
            return;
        }
        self.silence.asked_ms = Some(self.now.steady_ms);
        self.send(&Frame::Ping(ARE_YOU_THERE));
    }

    /// Its time has come.
    pub(super) fn look_for_silence(&mut self) {
        if self.silence_due_ms().is_none_or(|at| at > self.now.steady_ms) {
            return;
        }
        if self.silence.asked_ms.is_some() {
            self.silence.host_is_asked = true;
            self.out.push(Effect::ProbeNow);
        } else {
            self.ask_holder();
        }
    }

    /// The host has answered.
    pub(super) fn host_answered(&mut self, pid: Option<u32>) {
        if self.stream.is_none() || !std::mem::take(&mut self.silence.host_is_asked) {
            return;
        }
        let Some(asked) = self.silence.asked_ms.filter(|_| self.silence.since_ms.is_none()) else { return };
        if self.phase.is_before_the_end() {
            self.silence.ran = matches!(self.phase, Phase::Running) && self.record.state == State::Running;
            (self.silence.since_ms, self.silence.pid) = (Some(asked), pid);
            self.holder_is_silent();
        }
    }

    /// The holder is saying something, and the line has not carried all of it yet. What it owes comes behind that.
    pub(super) fn holder_speaks(&mut self) {
        let owes = self.silence.asked_ms.is_some();
        self.holder_spoke();
        self.silence.asked_ms = owes.then_some(self.now.steady_ms);
    }

    /// The holder said something.
    pub(super) fn holder_spoke(&mut self) {
        let silence = &mut self.silence;
        (silence.heard_ms, silence.asked_ms, silence.host_is_asked) = (self.now.steady_ms, None, false);
        if silence.since_ms.take().is_some() {
            self.note(String::new());
            if std::mem::take(&mut self.silence.ran) && matches!(self.phase, Phase::Disconnected) {
                self.runs();
            }
            self.shown.holder_silent_since_ms = None;
            self.show();
            self.tell_views();
        }
    }

    /// Whoever waits for the holder hears that it is silent, and what can be done.
    fn holder_is_silent(&mut self) {
        self.disconnected();
        self.shown.holder_silent_since_ms = self.silence.since_ms;
        let silent = self.silent_error("what was sent is typed when it goes on");
        self.note(format!("{}: {}", self.silent_words(), self.way_on()));
        self.show();
        self.publish();
        self.answer_sends(&silent);
        let why = self.silent_error("");
        self.who_waits_for_running_hears(&Err(why.clone()));
        self.restart_waits_for_holder(&why);
        self.removal_waits_for_holder();
        self.tell_views();
    }

    /// Who is silent, in words.
    pub(super) fn silent_words(&self) -> String {
        let (label, host) = (self.record.label(), self.record.host.as_str());
        let process = self.silence.pid.map_or(String::new(), |pid| format!(" (process {pid})"));
        match host {
            LOCAL => format!("the holder of {label}{process} does not answer"),
            _ => format!("the holder of {label} on {host}{process} does not answer, though {host} does"),
        }
    }

    /// What a person can do about it.
    pub(super) fn way_on(&self) -> String {
        let label = self.record.label();
        let there = if self.record.host == LOCAL { "" } else { " there" };
        let go_on = match self.silence.pid {
            Some(pid) => format!("`kill -CONT {pid}`{there} lets it go on if it was stopped"),
            None => format!("look whether it is stopped{there}"),
        };
        format!("{go_on}; `sessd delete --force {label}` ends it and its job")
    }

    /// That the holder does not answer, as an error; `what`: what that means for what was asked.
    pub(super) fn silent_error(&self, what: &str) -> Error {
        let message = match what {
            "" => self.silent_words(),
            what => format!("{}; {what}", self.silent_words()),
        };
        Error::new(Kind::Failed, message, self.way_on())
    }

    /// Is it known that the holder does not answer?
    pub(super) fn is_holder_silent(&self) -> bool {
        self.silence.since_ms.is_some()
    }

    /// The stream has gone, and with it whoever was asked.
    pub(super) fn nobody_is_asked(&mut self) {
        self.silence.ends();
        self.shown.holder_silent_since_ms = None;
    }

    /// A restart goes on when the holder does: nobody is kept waiting for that.
    fn restart_waits_for_holder(&mut self, why: &Error) {
        let Wish::Restart(restart) = &mut self.wish else { return };
        let waiting = std::mem::take(&mut restart.waiting);
        let message = format!("{}; it is restarted when it does", why.message);
        self.reply_all(waiting, &Err(Error::new(why.kind, message, why.hint.clone())));
    }

    /// By force its holder is killed; else whoever wanted it gone hears what that waits for.
    pub(super) fn removal_waits_for_holder(&mut self) {
        if !self.is_holder_silent() {
            return;
        }
        let Wish::Remove(removal) = &mut self.wish else { return };
        if removal.by_force {
            return self.kill_holder();
        }
        let waiting = std::mem::take(&mut removal.waiting);
        let why = format!("{}: {}", self.silent_words(), self.way_on());
        self.reply_all(waiting, &Ok(Answer::Removed(Removed::Later(why))));
    }

    /// The host is asked to kill the holder; the next look finds it gone, and what is left of its job is ended then.
    fn kill_holder(&mut self) {
        let end = self.end_of(m::EndReason::Deleted, true);
        let end = m::EndJob { job_id: self.record.job_id.to_string(), end: Some(end), kill_holder: true };
        self.ask_agent(AgentRequest::End, LinkAct::End(end));
    }
}
