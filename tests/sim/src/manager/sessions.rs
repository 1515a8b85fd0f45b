//! The machines of sessions, and what they have done.

use super::{AskedFor, Doing, Process, Request};
use sessd_core::host;
use sessd_core::link::{self, Route};
use sessd_core::session::{self, Answer, Asker};
use sessd_proto::docs::{Error, Kind};
use sessd_proto::messages::SentOutcome;

impl Process {
    pub(super) fn session_event(&mut self, task: u64, event: session::Event<'_>) {
        let now = self.times();
        let Some(there) = self.tasks.get_mut(&task) else { return };
        there.machine.handle(now, event);
        self.drain(task);
    }

    /// While nothing else is to be done, models follow the output.
    pub fn work(&mut self) {
        let now = self.times();
        while let Some(task) =
            self.tasks.iter().find(|(_, task)| task.machine.has_work()).map(|(number, _)| *number)
        {
            if let Some(there) = self.tasks.get_mut(&task) {
                there.machine.work(now);
            }
            self.drain(task);
        }
    }

    fn drain(&mut self, task: u64) {
        while let Some(effect) = self.tasks.get_mut(&task).and_then(|there| there.machine.poll()) {
            self.carry_out_for(task, effect);
        }
        if self.tasks.get(&task).is_some_and(|there| there.machine.is_over())
            && let Some(claim) = self.tasks.remove(&task).and_then(|there| there.claim)
        {
            self.names.release(claim);
        }
    }

    fn carry_out_for(&mut self, task: u64, effect: session::Effect) {
        let Some(there) = self.tasks.get_mut(&task) else { return };
        let (host, id) = (there.host, there.shown.record.id);
        let job = there.shown.record.job_id;
        match effect {
            session::Effect::Write(write, what) => self.doing.push_back(Doing::Write { task, write, what }),
            session::Effect::Show(shown) => there.shown = *shown,
            session::Effect::Reply(asker, answer) => match (self.askers.remove(&asker), answer) {
                (Some(AskedFor::Attach(view)), Ok(Answer::Attached(_))) => {
                    there.views.insert(view);
                }
                (Some(AskedFor::Attach(view)), _) => self.doing.push_back(Doing::Refused(view)),
                (Some(AskedFor::Send(number)), Ok(Answer::Sent(sent))) => {
                    let outcome = SentOutcome::try_from(sent.outcome).unwrap_or_default();
                    if matches!(outcome, SentOutcome::Done | SentOutcome::Queued) {
                        let queued = outcome == SentOutcome::Queued;
                        self.doing.push_back(Doing::Sent(number, job.to_string(), queued));
                    }
                }
                _ => {}
            },
            session::Effect::LookForAnother(asker) => {
                if let Some(AskedFor::Attach(view)) = self.askers.remove(&asker) {
                    self.doing.push_back(Doing::Refused(view));
                }
            }
            session::Effect::Ask(asked, act) => {
                self.ask(host, self.up(host), Request::Of(task, asked), *act);
            }
            session::Effect::Open => {
                let (stream, link) = (self.ids.next(), self.up(host));
                if let Some(live) = self.host(host).links.get_mut(&link) {
                    live.owners.insert(stream, task);
                    self.link_event(host, link, link::Event::Open(stream, job.to_string()));
                }
                let live = self.hosts.get(&host).and_then(|host| host.links.get(&link));
                let opened = live.filter(|live| live.machine.route(stream).is_some()).map(|_| stream);
                self.session_event(task, session::Event::Opened(opened));
            }
            session::Effect::Close(stream) => {
                self.link_event(host, self.up(host), link::Event::Close(stream));
            }
            session::Effect::OpenBypass { .. } => {}
            session::Effect::ToHolder(stream, packet) => {
                let link = self.up(host);
                if packet.raw().kind == sessd_proto::frame::kind::INPUT {
                    self.link_event(host, link, link::Event::Typed);
                }
                if let Some(live) = self.host(host).links.get(&link)
                    && let Some(Route::Agent(number)) = live.machine.route(stream)
                {
                    let conn = live.conn;
                    let mut bytes = Vec::new();
                    packet.raw().relay(number, &mut bytes);
                    self.doing.push_back(Doing::Send(conn, bytes));
                }
            }
            session::Effect::ToView(view, bytes) => self.doing.push_back(Doing::ToView(view, bytes)),
            session::Effect::CloseView(view) => {
                there.views.remove(&view);
                self.doing.push_back(Doing::CloseView(view));
            }
            session::Effect::WhenDrained(view) => {
                self.undrained.insert(view);
            }
            session::Effect::ProbeAgain => self.host_event(host, host::Event::ProbeAgain),
            session::Effect::ProbeNow => self.host_event(host, host::Event::ProbeNow),
            session::Effect::Hasten => self.host_event(host, host::Event::Hasten),
            session::Effect::Warmed | session::Effect::Notice(_) | session::Effect::Failpoint(_) => {}
            session::Effect::Claim(name) => {
                let live = self.sessions.values().filter_map(|task| self.tasks.get(task));
                let claim = self.names.claim(&name, id, live.map(|task| &task.shown.record));
                let claimed = claim.map_err(|_| Error::new(Kind::NameTaken, "taken", ""));
                if let (Some(there), Ok(claim)) = (self.tasks.get_mut(&task), &claimed) {
                    there.claim = Some(*claim);
                }
                self.session_event(task, session::Event::Claimed(claimed.map(|_| ())));
            }
            session::Effect::Unclaim => {
                if let Some(claim) = there.claim.take() {
                    self.names.release(claim);
                }
            }
            session::Effect::Deleted => {}
            session::Effect::HandOn { record, caller, running, told } => {
                let next = self.begin(*record, caller);
                for asker in running {
                    self.session_event(next, session::Event::WhenRunning(asker));
                }
                for asker in told {
                    self.askers.remove(&asker);
                }
            }
            session::Effect::Leave => {
                self.dismiss(task);
                if self.sessions.get(&id) == Some(&task) {
                    self.sessions.remove(&id);
                }
            }
            session::Effect::PassOn(event) => {
                if let Some(next) = self.sessions.get(&id).copied().filter(|next| *next != task) {
                    self.session_event(next, event);
                }
            }
        }
    }

    pub(super) fn asker(&mut self, what: AskedFor) -> Asker {
        let asker = Asker(self.number());
        self.askers.insert(asker, what);
        asker
    }
}
