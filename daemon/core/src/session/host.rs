//! A session and its host: what the host says of the job, and what is asked of it.

use super::writes::Then;
use super::{
    AgentRequest, Answer, Asker, Effect, HostStage, HostState, Phase, Removed, Session, Wish, Write,
};
use crate::reconcile::{Decision, Seen, place_of};
use crate::record::Record;
use crate::typing;
use sessd_proto::docs::host::LOCAL;
use sessd_proto::docs::{Error, Kind, LinkState, Vocabulary};
use sessd_proto::limits::STALLED_MS;
use sessd_proto::messages::{self as m, Inventory, LinkAct, LinkAnswer};

impl Session {
    /// The host said what it knows: decide, and do it.
    pub(super) fn look(&mut self, seen: &Seen) {
        let inventory = seen.inventory();
        self.preferred = Some((inventory.machine_id.clone(), inventory.folder.clone()));
        if matches!(self.phase, Phase::Done(_) | Phase::Forgetting(_)) {
            return;
        }
        self.failpoint("reconcile-before");
        let now_ms = self.now.steady_ms;
        if seen.has(&self.record) {
            self.missing_since_ms = None;
        } else if seen.has_read(&self.record) {
            self.missing_since_ms.get_or_insert(now_ms);
        }
        if let Some(spec) = seen.spec(&self.record) {
            self.there.clone_from(spec);
        }
        let missing_for = self.missing_since_ms.map_or(0, |since| now_ms.saturating_sub(since));
        let decision = seen.decide(&self.record, i64::try_from(missing_for).unwrap_or(i64::MAX));
        match decision {
            Decision::Resume | Decision::TakeLast => {
                if let Some(place) = seen.place(&self.record) {
                    self.record.place = place;
                }
                self.open_stream();
            }
            Decision::Finish(exit) => self.job_ended(exit, inventory.now_ms),
            Decision::Lost(end) => {
                let exit = m::ExitRecord {
                    reason: end.reason as i32,
                    at_ms: end.at_ms as u64,
                    detail: end.detail.clone(),
                    ..m::ExitRecord::default()
                };
                self.job_ended(exit, inventory.now_ms);
            }
            Decision::Spawn
                if self.asked_again_until_ms.is_some_and(|until| now_ms < until)
                    && self.record.host == LOCAL =>
            {
                self.out.push(Effect::ProbeAgain);
            }
            Decision::Spawn => self.spawn(),
            Decision::EndIt => self.open_stream(),
            Decision::Forget => self.forget_on_host(),
            Decision::Wait(why) => {
                self.note(why);
                self.out.push(Effect::ProbeAgain);
            }
        }
        self.failpoint("reconcile-after");
        self.publish();
    }

    pub(super) fn job_name(&self) -> m::JobName {
        m::JobName { job_id: self.record.job_id.to_string(), manager_id: self.manager.id.clone() }
    }

    /// The place of the job, by the folder that the host names; empty: the one it prefers.
    pub(super) fn place_in(&self, folder: &str) -> Option<String> {
        let (machine_id, preferred) = self.preferred.clone()?;
        let inventory = Inventory { machine_id, folder: preferred, ..Inventory::default() };
        Some(place_of(&inventory, folder))
    }

    pub(super) fn ask_agent(&mut self, asked: AgentRequest, act: LinkAct) {
        self.out.push(Effect::Ask(asked, Box::new(act)));
    }

    fn spawn(&mut self) {
        self.failpoint("spawn-before-request");
        if let Phase::Starting { told } = &mut self.phase {
            *told = true;
        }
        let spec = self.record.spec(&self.manager.id);
        self.there.clone_from(&spec);
        let spawn = m::Spawn {
            spec: Some(spec),
            environment: self.caller.environment.clone(),
            inherited: self.caller.inherited.clone().or_else(|| {
                // What the agent here has is the manager's.
                (self.record.host == LOCAL)
                    .then(|| m::Inherited { umask: Some(0o022), ..m::Inherited::default() })
            }),
        };
        self.ask_agent(AgentRequest::Spawn, LinkAct::Spawn(spawn));
    }

    pub(super) fn answered(&mut self, asked: AgentRequest, answer: Option<LinkAnswer>) {
        if matches!(self.phase, Phase::Done(_) | Phase::Forgetting(_)) {
            return;
        }
        match (asked, answer) {
            (AgentRequest::Screen, None) => {
                // The link ended: the next one asks again.
                if matches!(&self.phase, Phase::Ending(ending) if ending.screen.is_none()) {
                    self.end_is_doubted();
                    self.out.push(Effect::ProbeAgain);
                }
            }
            // The link ended: the next one asks again, under the same id.
            (_, None) => {}
            (AgentRequest::Screen, Some(answer)) => {
                let screen = match answer {
                    LinkAnswer::Screen(screen) => self.screen_of(screen),
                    _ => None,
                };
                if let Phase::Ending(ending) = &mut self.phase {
                    ending.screen.get_or_insert(screen);
                    self.write_ending();
                }
            }
            (AgentRequest::Forget, Some(answer)) if self.record.delete_requested => match answer {
                LinkAnswer::Done(_) => self.forget(None, Removed::Gone),
                // It says that it still runs, or cannot say: the next inventory decides.
                _ => self.out.push(Effect::ProbeAgain),
            },
            (AgentRequest::Spawn, Some(LinkAnswer::Spawned(spawned))) => {
                self.failpoint("spawn-after-answer");
                self.notes(spawned.warnings);
                if self.record.place.is_empty() {
                    self.record.place = self.place_in(&spawned.folder).unwrap_or_default();
                }
                if self.host.is_up() {
                    self.open_stream();
                }
            }
            (AgentRequest::Spawn, Some(LinkAnswer::Refused(refused))) => {
                if refused.final_answer {
                    self.never_began(never_began(&self.record.host, refused));
                } else {
                    self.note(refused.detail);
                    self.out.push(Effect::ProbeAgain);
                }
            }
            (AgentRequest::End, Some(LinkAnswer::Done(_))) if matches!(&self.wish, Wish::Remove(removal) if removal.by_force) =>
            {
                self.out.push(Effect::ProbeNow);
            }
            (_, Some(LinkAnswer::Refused(refused))) => self.note(refused.detail),
            (_, Some(_)) => {}
        }
    }

    pub(super) fn host_changed(&mut self, state: HostState) {
        self.host = state;
        if !self.host.is_up() {
            self.stream = None;
            self.nobody_is_asked();
            self.opening.is_of_no_use();
            self.interrupted();
            self.disconnected();
        }
        if let Some(why) = self.host.why().cloned() {
            self.answer_sends(&why);
            self.restart_waits(&why);
            if let Phase::Starting { .. } = self.phase {
                self.who_waits_for_running_hears(&Err(why));
            }
        }
        self.removal_waits();
        self.publish();
        self.tell_views();
    }

    /// Is the link silent for longer than one may be? By the clock, and not by the last word of it.
    pub(super) fn is_stalled(&self) -> bool {
        let silent = self.host.silent_since_ms.map(|since| self.now.steady_ms.saturating_sub(since));
        match self.host.stage {
            HostStage::Up { stalled } => stalled || silent.is_some_and(|silent| silent >= STALLED_MS),
            _ => false,
        }
    }

    /// The contract's word for where the link to the job's holder stands.
    fn link_state(&self) -> LinkState {
        match self.host.stage {
            HostStage::Up { .. } if self.is_stalled() => LinkState::Stalled,
            // The link is up and the holder does not answer: that is no LinkState::Up for this session.
            HostStage::Up { .. } if self.stream.is_none() => LinkState::Connecting,
            HostStage::Up { .. } if self.record.host == LOCAL => LinkState::Local,
            HostStage::Up { .. } => LinkState::Up,
            HostStage::Connecting => LinkState::Connecting,
            HostStage::Dormant | HostStage::Down { .. } | HostStage::Disconnected(_) => LinkState::Down,
            HostStage::NeedsPerson(_) => LinkState::NeedsLogin,
        }
    }

    /// What a view may have on its way to the holder, in bytes.
    pub(super) fn input_window(&self) -> u64 {
        typing::window(self.shown.status.as_ref().map_or(0, |(status, _)| status.input_window))
    }

    /// Tells every view where its session stands; only what changed is sent.
    pub(super) fn tell_views(&mut self) {
        let size = self.replica.size();
        let ago = |since| self.now.steady_ms.saturating_sub(since);
        let state = m::ViewState {
            link: self.link_state().word().to_owned(),
            epoch: self.epoch,
            next_try_ms: match self.host.stage {
                HostStage::Down { next_try_ms, .. } => u64::try_from(next_try_ms).ok(),
                _ => None,
            },
            // Who does not know of holders that are silent has it said so.
            detail: match self.host.why() {
                Some(why) => why.cause(),
                None if self.is_holder_silent() => self.silent_words(),
                None => String::new(),
            },
            leader: false,
            cols: size.map_or(0, |s| s.cols.into()),
            rows: size.map_or(0, |s| s.rows.into()),
            silent_ms: self.host.silent_since_ms.or(self.silence.since_ms()).map(ago),
            text_rows: None,
            doing: self.doing_now(),
            sizes: false,
            holder_silent_ms: self.silence.since_ms().map(ago),
            input_window: self.input_window(),
        };
        self.views.tell(&state, &mut self.out);
    }

    /// The session's host is called otherwise: a task on the host of that name goes on, and views come again to it.
    pub(super) fn move_to(&mut self, host: String, asker: Asker) {
        if host == self.record.host {
            return self.reply(asker, Ok(Answer::Here));
        }
        let mut moved = Box::new(self.record.clone());
        moved.host = host;
        self.write(Write::Save(moved.clone()), Then::Moved { moved, asker });
    }

    pub(super) fn moved(&mut self, host: String, asker: Asker) {
        self.leave_stream();
        let told = !matches!(self.phase, Phase::Starting { told: false });
        let caller = (!told).then(|| std::mem::take(&mut self.caller));
        self.views.let_go(&mut self.out);
        let record = Record { host, ..self.record.clone() }.without_evidence();
        self.take_over(record, None, caller, vec![asker]);
    }

    /// The job's end is not as sure as it was: it is looked at again.
    fn end_is_doubted(&mut self) {
        self.disconnected();
        self.phase = Phase::of(&self.record, true);
    }
}

/// Why a job never began, by the code that a shell would end with.
fn never_began(host: &str, refused: m::Refused) -> Error {
    let said = refused.detail.as_str();
    let (kind, hint) = match refused.exit_code {
        Some(127) => (
            Kind::NoCommand,
            "nothing was started: look at how it is spelled and whether it is in the host's PATH".to_owned(),
        ),
        Some(126) => (
            Kind::NotExecutable,
            "nothing was started: `chmod +x` makes a file executable, `sh FILE` runs a script".to_owned(),
        ),
        // The agent's own words, whatever its version; what it says otherwise is left to be looked into.
        _ if said.starts_with("the folder ") => (
            Kind::Failed,
            "nothing was started: name another folder with --cwd, or make it one that can be entered"
                .to_owned(),
        ),
        _ if said.contains("No space left") || said.contains("quota") => (
            Kind::Failed,
            format!(
                "nothing was started: make room on {host}, or give it another `agent_dir` in config.toml"
            ),
        ),
        _ => (
            Kind::Failed,
            format!("nothing was started: `sessd doctor {host}` looks for what is wrong there"),
        ),
    };
    Error::new(kind, refused.detail, hint)
}
