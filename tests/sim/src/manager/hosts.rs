//! The machines of hosts and links, and what they have done.

use super::{Doing, Live, NO_LINK, Process, Request};
use crate::host::raw;
use crate::net::{Packet, decoded};
use sessd_core::host::{self, Cause, Phase};
use sessd_core::link::{self, LinkEnd};
use sessd_core::reconcile::Seen;
use sessd_core::session::{self, HostStage, HostState};
use sessd_proto::docs::{Error, Kind};
use sessd_proto::messages::{InventoryRequest, LinkAct, LinkAnswer};
use std::collections::BTreeMap;

fn error(cause: &Cause<String>) -> Error {
    let what = match cause {
        Cause::NotDialled => "it was not dialled yet".to_owned(),
        Cause::Disconnected => "it was disconnected".to_owned(),
        Cause::Attempt(why) | Cause::Refused(why) => why.clone(),
        Cause::Link(LinkEnd::Lost(why) | LinkEnd::Unusable(why) | LinkEnd::Skew(why)) => why.clone(),
    };
    Error::new(Kind::Unreachable, what, "")
}

impl Process {
    pub(super) fn host_state(&self, host: usize) -> HostState {
        let Some(task) = self.hosts.get(&host) else { return HostState::default() };
        let (stage, silent) = match (task.machine.phase(), task.up()) {
            (Phase::Dormant, _) => (HostStage::Dormant, None),
            (Phase::Up(_), Some(live)) => {
                let silent = live
                    .machine
                    .quiet(self.duration())
                    .map(|silent| self.steady() - silent.as_millis() as u64);
                (HostStage::Up { stalled: live.machine.is_stalled(self.duration()) }, silent)
            }
            (Phase::Connecting | Phase::Up(_), _) => (HostStage::Connecting, None),
            (Phase::Waiting(at), _) => {
                let next_try_ms = self.wall() + at.saturating_sub(self.steady()) as i64;
                (HostStage::Down { next_try_ms, why: error(task.machine.cause()) }, None)
            }
            (Phase::Parked, _) => (HostStage::NeedsPerson(error(task.machine.cause())), None),
            (Phase::Disconnected, _) => (HostStage::Disconnected(error(task.machine.cause())), None),
        };
        HostState { stage, silent_since_ms: silent }
    }

    pub(super) fn host_event(&mut self, host: usize, event: host::Event<u64, usize, String>) {
        let now = self.steady();
        let watched = self.tasks.values().any(|task| task.host == host && !task.views.is_empty());
        let there = self.host(host);
        there.machine.handle(now, host::Event::Watched(watched));
        for number in there.links.keys().copied().collect::<Vec<_>>() {
            self.link_event(host, number, link::Event::Watched(watched));
        }
        self.host(host).machine.handle(now, event);
        while let Some(effect) = self.host(host).machine.poll() {
            self.carry_out(host, effect);
        }
    }

    fn carry_out(&mut self, host: usize, effect: host::Effect<u64, usize, String>) {
        match effect {
            host::Effect::Dial { number, .. } => {
                let attempt = self.number();
                self.host(host).attempts.insert(attempt, number);
                self.doing.push_back(Doing::Dial { host, attempt });
            }
            host::Effect::Abandon(number) => self.host(host).attempts.retain(|_, link| *link != number),
            host::Effect::HangUp(number) => {
                if let Some(live) = self.host(host).links.remove(&number) {
                    self.over(host, live);
                }
            }
            host::Effect::Doubt(number) => self.link_event(host, number, link::Event::Doubt),
            host::Effect::Ask(number) => {
                let request = InventoryRequest { places: Vec::new(), manager_id: self.id.clone() };
                self.ask(host, number, Request::Inventory, LinkAct::Inventory(request));
            }
            host::Effect::Tell(..) | host::Effect::Watch(_) | host::Effect::Unwatch => {}
            host::Effect::Probed(adopts, Some(seen)) => self.adopt(adopts, &seen),
            host::Effect::Probed(_, None) => {}
            host::Effect::Seen(seen) => {
                let inventory = seen.inventory();
                self.host(host).place = Some((inventory.machine_id.clone(), inventory.folder.clone()));
            }
            host::Effect::Up(member, number, seen) => {
                if self.host(host).links.contains_key(&number) {
                    self.session_event(member, session::Event::LinkUp(seen));
                }
            }
            host::Effect::News(member, seen) => self.session_event(member, session::Event::Probed(seen)),
            host::Effect::Publish => {
                let state = self.host_state(host);
                let members: Vec<_> = self.host(host).members.keys().copied().collect();
                for member in members {
                    self.session_event(member, session::Event::Host(state.clone()));
                }
            }
            host::Effect::Sweep(number, seen) => self.sweep(host, number, &seen),
        }
    }

    /// Jobs on the host of which all is on record are forgotten there.
    fn sweep(&mut self, host: usize, link: u64, seen: &Seen) {
        let mine = self.id.clone();
        let sessions: BTreeMap<String, String> = self
            .sessions
            .iter()
            .filter_map(|(id, task)| {
                Some((id.to_string(), self.tasks.get(task)?.shown.record.job_id.to_string()))
            })
            .collect();
        for job_id in
            seen.leftovers(&mine, |job, session| sessions.get(session).is_some_and(|now| now != job))
        {
            let job = sessd_proto::messages::JobName { job_id, manager_id: mine.clone() };
            self.ask(host, link, Request::Forget, LinkAct::Forget(job));
        }
    }

    /// What is left of a link that was let go.
    fn over(&mut self, host: usize, mut live: Live) {
        live.machine.handle(self.duration(), link::Event::HangUp);
        while let Some(effect) = live.machine.poll() {
            match effect {
                link::Effect::Send(bytes) => {
                    self.doing.extend(decoded(&bytes).into_iter().map(|frame| Doing::Send(live.conn, frame)));
                }
                link::Effect::Unanswered(number) => {
                    if let Some(Request::Of(task, asked)) = live.requests.remove(&number) {
                        self.session_event(task, session::Event::Answered(asked, None));
                    }
                }
                _ => {}
            }
        }
        self.doing.push_back(Doing::HangUp(live.conn));
        let draining = &mut self.host(host).draining;
        draining.truncate(3);
        draining.insert(0, live);
    }

    pub(super) fn ask(&mut self, host: usize, link: u64, request: Request, act: LinkAct) {
        let Some(live) = self.host(host).links.get_mut(&link) else {
            if let Request::Of(task, asked) = request {
                self.session_event(task, session::Event::Answered(asked, None));
            }
            return;
        };
        live.asked += 1;
        let number = live.asked;
        live.requests.insert(number, request);
        self.link_event(host, link, link::Event::Request(number, Box::new(act)));
    }

    /// The link that is up, or [`NO_LINK`].
    pub(super) fn up(&self, host: usize) -> u64 {
        match self.hosts.get(&host).map(|host| host.machine.phase()) {
            Some(Phase::Up(number)) => number,
            _ => NO_LINK,
        }
    }

    pub(super) fn link_event(&mut self, host: usize, number: u64, event: link::Event<'_, Packet>) {
        let now = self.duration();
        let Some(live) = self.host(host).links.get_mut(&number) else { return };
        live.machine.handle(now, event);
        while let Some(live) = self.host(host).links.get_mut(&number)
            && let Some(effect) = live.machine.poll()
        {
            let conn = live.conn;
            match effect {
                link::Effect::Send(bytes) => {
                    self.doing.extend(decoded(&bytes).into_iter().map(|frame| Doing::Send(conn, frame)));
                }
                link::Effect::Deliver(stream, frame) => {
                    if let Some(task) = live.owners.get(&stream).copied() {
                        self.session_event(task, session::Event::Holder { stream, frame: raw(&frame.0) });
                    }
                }
                link::Effect::Closed(stream, close) => {
                    if let Some(task) = live.owners.get(&stream).copied() {
                        let bytes = sessd_proto::Frame::Close(close).to_bytes(0);
                        self.session_event(task, session::Event::Holder { stream, frame: raw(&bytes) });
                    }
                }
                link::Effect::Answer(request, answer) => {
                    if let Some(request) = live.requests.remove(&request) {
                        self.answered(host, number, request, Some(answer));
                    }
                }
                link::Effect::Unanswered(request) => {
                    if let Some(request) = live.requests.remove(&request) {
                        self.answered(host, number, request, None);
                    }
                }
                link::Effect::Changed => {
                    let (stalled, late) = (live.machine.is_stalled(now), live.machine.is_late());
                    self.host_event(host, host::Event::Late(number, late));
                    self.host_event(host, host::Event::Changed(number, stalled));
                }
                link::Effect::End(end) => {
                    self.doing.push_back(Doing::HangUp(conn));
                    self.host_event(host, host::Event::Ended(number, end));
                }
                // The simulated line carries whole frames.
                link::Effect::Arriving(_)
                | link::Effect::SendOwn(..)
                | link::Effect::Beat(..)
                | link::Effect::Disconnect(_) => {}
            }
        }
    }

    fn answered(&mut self, host: usize, number: u64, request: Request, answer: Option<LinkAnswer>) {
        match request {
            Request::Inventory => self.host_event(host, host::Event::Answered(number, answer)),
            Request::Of(task, asked) => self.session_event(task, session::Event::Answered(asked, answer)),
            Request::Forget => {}
        }
    }
}
