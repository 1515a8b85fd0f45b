//! A manager's process: the machines of its sessions, hosts and links, and a driver for them that has no decision in it. What
//! it keeps is in its [`Store`], which outlives it.

use crate::host::raw;
use crate::net::{ConnId, Packet, decoded};
use sessd_core::adopt::{self, Known, Verdict};
use sessd_core::dialling::Why;
use sessd_core::host::{self, Cause, Phase};
use sessd_core::link::{self, Link, LinkEnd, Load, Route};
use sessd_core::reconcile::{Seen, place_of};
use sessd_core::session::{
    self, Answer, Asked, Asker, Caller, HostStage, HostState, Manager as Me, Now, Session, Shown, Write,
    WriteId,
};
use sessd_core::stream::{StreamId, StreamIds};
use sessd_core::{Record, State};
use sessd_proto::Uuid;
use sessd_proto::docs::{Error, Kind};
use sessd_proto::messages::{InventoryRequest, LinkAct, LinkAnswer, Liveness};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// What of a manager is on its disk.
#[derive(Debug, Default)]
pub struct Store {
    pub records: BTreeMap<Uuid, Record>,
    /// Writes until the next that goes wrong, and how: 0 it fails, 1 the manager dies before it, 2 after it.
    pub wrong: Option<(u64, u64)>,
}

/// Whoever asked a session for something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AskedFor {
    /// A view.
    Attach(Uuid),
    /// Nobody looks at the answer.
    Nothing,
}

/// What a manager has done by others, in order.
#[derive(Debug)]
pub enum Doing {
    /// An attempt to reach a host.
    Dial { host: usize, attempt: u64 },
    /// These bytes, of one frame, go out on a connection.
    Send(ConnId, Vec<u8>),
    /// A connection is closed.
    HangUp(ConnId),
    /// This is written for the task of that number.
    Write { task: u64, write: WriteId, what: Write },
    /// A verb's own write; then the verb goes on.
    Save(Box<Record>, Verb),
    /// To a view.
    ToView(Uuid, Vec<u8>),
    /// The view's connection is closed once all is written.
    CloseView(Uuid),
    /// The view was not taken: it asks again.
    Refused(Uuid),
}

/// What goes on when its record is saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// `create`, of a session on that host.
    Created(usize),
    /// `host adopt`.
    Adopted(usize),
    /// `restart` of a session that is done.
    Again(usize),
}

struct Task {
    machine: Session,
    host: usize,
    shown: Shown,
    views: BTreeSet<Uuid>,
}

struct Live {
    number: u64,
    conn: ConnId,
    machine: Link<Packet>,
    /// Which task has a stream.
    owners: BTreeMap<StreamId, u64>,
    requests: BTreeMap<u64, Request>,
    asked: u64,
    /// When anything came over it last.
    pub heard_ms: u64,
}

#[derive(Debug, Clone, Copy)]
enum Request {
    Inventory,
    Of(u64, Asked),
    Forget,
}

struct HostTask {
    machine: host::Host<u64, usize, String>,
    live: Option<Live>,
    /// Links that were let go, and out of whose connections something may still come.
    draining: Vec<Live>,
    attempt: Option<u64>,
    /// Members and their tasks.
    members: BTreeMap<u64, u64>,
    place: Option<(String, String)>,
}

/// One life of a manager.
pub struct Process {
    pub number: usize,
    pub life: u64,
    pub id: String,
    version: &'static str,
    began: u64,
    /// What its wall clock is ahead of the world's.
    pub wall_ahead_ms: i64,
    ids: StreamIds,
    hosts: BTreeMap<usize, HostTask>,
    tasks: BTreeMap<u64, Task>,
    /// The task that a session has now.
    sessions: BTreeMap<Uuid, u64>,
    next: u64,
    askers: BTreeMap<Asker, AskedFor>,
    names: BTreeSet<String>,
    /// Verbs that are alone with a session.
    alone: BTreeSet<Uuid>,
    /// Views of which it is to be told when they have read.
    undrained: BTreeSet<Uuid>,
    pub doing: VecDeque<Doing>,
    pub now: u64,
}

/// Nothing waits anywhere in a simulation: what is sent is there at once or on its way.
struct Nothing;

impl Load for Nothing {
    fn of_stream(&self, _: StreamId) -> usize {
        0
    }
    fn of_link(&self) -> usize {
        0
    }
    fn to_send(&self) -> usize {
        0
    }
}

fn error(cause: &Cause<String>) -> Error {
    let what = match cause {
        Cause::NotDialled => "it was not dialled yet".to_owned(),
        Cause::Attempt(why) | Cause::Refused(why) => why.clone(),
        Cause::Link(LinkEnd::Lost(why) | LinkEnd::Unusable(why) | LinkEnd::Skew(why)) => why.clone(),
    };
    Error::new(Kind::Unreachable, what, "")
}

impl Process {
    /// A manager starts: what is on record and not done has a task again.
    pub fn start(number: usize, life: u64, now: u64, wall_ahead_ms: i64, store: &Store) -> Self {
        let mut process = Self {
            number,
            life,
            id: Uuid::from_u128(0x1000 + number as u128).to_string(),
            version: if life.is_multiple_of(2) { "1.0" } else { "1.1" },
            began: now,
            wall_ahead_ms,
            ids: StreamIds::default(),
            hosts: BTreeMap::new(),
            tasks: BTreeMap::new(),
            sessions: BTreeMap::new(),
            next: 0,
            askers: BTreeMap::new(),
            names: BTreeSet::new(),
            alone: BTreeSet::new(),
            undrained: BTreeSet::new(),
            doing: VecDeque::new(),
            now,
        };
        for record in store.records.values().filter(|record| record.state != State::Done) {
            process.begin(record.clone().without_evidence(), None);
        }
        process
    }

    fn times(&self) -> Now {
        Now { steady_ms: self.now - self.began, wall_ms: self.wall() }
    }

    fn wall(&self) -> i64 {
        (crate::WALL_BEGAN_MS + self.now) as i64 + self.wall_ahead_ms
    }

    fn steady(&self) -> u64 {
        self.now - self.began
    }

    fn duration(&self) -> Duration {
        Duration::from_millis(self.steady())
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn host(&mut self, host: usize) -> &mut HostTask {
        let seed = (self.number as u64) << 32 | self.life << 8 | host as u64;
        self.hosts.entry(host).or_insert_with(|| HostTask {
            machine: host::Host::new(seed, 0),
            live: None,
            draining: Vec::new(),
            attempt: None,
            members: BTreeMap::new(),
            place: None,
        })
    }

    /// When something is due.
    pub fn deadline(&self) -> u64 {
        let of_tasks = self.tasks.values().filter_map(|task| task.machine.deadline());
        let of_hosts = self.hosts.values().flat_map(|host| {
            let link = host.live.as_ref().and_then(|live| live.machine.deadline());
            [host.machine.deadline(), link.map(|at| at.as_millis() as u64)].into_iter().flatten()
        });
        of_tasks.chain(of_hosts).min().map_or(u64::MAX, |at| self.began + at)
    }

    /// Does what is due.
    pub fn tick(&mut self) {
        let now = self.steady();
        let hosts: Vec<_> = self.hosts.keys().copied().collect();
        for host in hosts {
            if let Some(live) = &self.hosts[&host].live
                && live.machine.deadline().is_some_and(|at| at.as_millis() as u64 <= now)
            {
                self.link_event(host, link::Event::Tick);
            }
            if self.hosts[&host].machine.deadline().is_some_and(|at| at <= now) {
                self.host_event(host, host::Event::Tick);
            }
        }
        let due = self.tasks.iter().filter(|(_, task)| task.machine.deadline().is_some_and(|at| at <= now));
        for task in due.map(|(number, _)| *number).collect::<Vec<_>>() {
            self.session_event(task, session::Event::Tick);
        }
    }

    /// A task for a session begins, or takes the place of the one before.
    fn begin(&mut self, record: Record, caller: Option<Caller>) -> u64 {
        let number = self.number();
        let (id, host) = (record.id, host_number(&record.host));
        if let Some(name) = &record.name {
            self.names.insert(name.clone());
        }
        let me = Me { id: self.id.clone(), name: format!("manager{}", self.number) };
        let machine = Session::new(record, caller, me, self.times());
        let shown = machine.shown().clone();
        let before = self.sessions.insert(id, number);
        self.tasks.insert(number, Task { machine, host, shown, views: BTreeSet::new() });
        self.host(host).members.insert(number, number);
        let state = self.host_state(host);
        self.session_event(number, session::Event::Host(state));
        self.host_event(host, host::Event::Enlisted(number));
        if let Some(before) = before {
            self.dismiss(before);
        }
        number
    }

    fn dismiss(&mut self, task: u64) {
        let Some(host) = self.tasks.get(&task).map(|task| task.host) else { return };
        if self.host(host).members.remove(&task).is_some() {
            self.host_event(host, host::Event::Dismissed(task));
        }
    }

    fn host_state(&self, host: usize) -> HostState {
        let Some(task) = self.hosts.get(&host) else { return HostState::default() };
        let (stage, silent) = match (task.machine.phase(), &task.live) {
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
        };
        HostState { stage, silent_since_ms: silent }
    }

    fn host_event(&mut self, host: usize, event: host::Event<u64, usize, String>) {
        let now = self.steady();
        let watched = self.tasks.values().any(|task| task.host == host && !task.views.is_empty());
        let machine = &mut self.host(host).machine;
        machine.handle(now, host::Event::Watched(watched));
        machine.handle(now, event);
        while let Some(effect) = self.host(host).machine.poll() {
            self.carry_out(host, effect);
        }
    }

    fn carry_out(&mut self, host: usize, effect: host::Effect<u64, usize, String>) {
        match effect {
            host::Effect::Dial { .. } => {
                let attempt = self.number();
                self.host(host).attempt = Some(attempt);
                self.doing.push_back(Doing::Dial { host, attempt });
            }
            host::Effect::Abandon => self.host(host).attempt = None,
            host::Effect::HangUp(number) => {
                if let Some(live) = self.host(host).live.take_if(|live| live.number == number) {
                    self.over(host, live);
                }
            }
            host::Effect::Doubt(_) => self.link_event(host, link::Event::Doubt),
            host::Effect::Ask(_) => {
                let request = InventoryRequest { places: Vec::new(), manager_id: self.id.clone() };
                self.ask(host, Request::Inventory, LinkAct::Inventory(request));
            }
            host::Effect::Tell(..) | host::Effect::Watch(_) | host::Effect::Unwatch => {}
            host::Effect::Looked(adopts, Some(seen)) => self.adopt(adopts, &seen),
            host::Effect::Looked(_, None) => {}
            host::Effect::Seen(seen) => {
                let inventory = seen.inventory();
                self.host(host).place = Some((inventory.machine_id.clone(), inventory.folder.clone()));
            }
            host::Effect::Up(member, number, seen) => {
                if self.host(host).live.as_ref().is_some_and(|live| live.number == number) {
                    self.session_event(member, session::Event::LinkUp(seen));
                }
            }
            host::Effect::News(member, seen) => self.session_event(member, session::Event::Looked(seen)),
            host::Effect::Publish => {
                let state = self.host_state(host);
                let members: Vec<_> = self.host(host).members.keys().copied().collect();
                for member in members {
                    self.session_event(member, session::Event::Host(state.clone()));
                }
            }
            host::Effect::Sweep(_, seen) => self.sweep(host, &seen),
        }
    }

    /// Jobs on the host of which all is on record are forgotten there.
    fn sweep(&mut self, host: usize, seen: &Seen) {
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
            self.ask(host, Request::Forget, LinkAct::Forget(job));
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

    fn ask(&mut self, host: usize, request: Request, act: LinkAct) {
        let Some(live) = &mut self.host(host).live else {
            if let Request::Of(task, asked) = request {
                self.session_event(task, session::Event::Answered(asked, None));
            }
            return;
        };
        live.asked += 1;
        let number = live.asked;
        live.requests.insert(number, request);
        self.link_event(host, link::Event::Request(number, Box::new(act)));
    }

    fn link_event(&mut self, host: usize, event: link::Event<'_, Packet>) {
        let now = self.duration();
        let Some(live) = &mut self.host(host).live else { return };
        let number = live.number;
        live.machine.handle(now, event);
        while let Some(live) = self.host(host).live.as_mut().filter(|live| live.number == number)
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
                    let stalled = live.machine.is_stalled(now);
                    self.host_event(host, host::Event::Changed(number, stalled));
                }
                link::Effect::End(end) => {
                    self.doing.push_back(Doing::HangUp(conn));
                    self.host_event(host, host::Event::Ended(number, end));
                }
                link::Effect::SendOwn(..) | link::Effect::Beat(..) | link::Effect::Disconnect(_) => {}
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

    fn session_event(&mut self, task: u64, event: session::Event<'_>) {
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
        if self.tasks.get(&task).is_some_and(|there| there.machine.is_over()) {
            self.tasks.remove(&task);
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
                _ => {}
            },
            session::Effect::LookForAnother(asker) => {
                if let Some(AskedFor::Attach(view)) = self.askers.remove(&asker) {
                    self.doing.push_back(Doing::Refused(view));
                }
            }
            session::Effect::Ask(asked, act) => self.ask(host, Request::Of(task, asked), *act),
            session::Effect::Open => {
                let stream = self.ids.next();
                if let Some(live) = &mut self.host(host).live {
                    live.owners.insert(stream, task);
                    self.link_event(host, link::Event::Open(stream, job.to_string()));
                }
                let live = self.hosts.get(&host).and_then(|host| host.live.as_ref());
                let opened = live.filter(|live| live.machine.route(stream).is_some()).map(|_| stream);
                self.session_event(task, session::Event::Opened(opened));
            }
            session::Effect::Close(stream) => self.link_event(host, link::Event::Close(stream)),
            session::Effect::OpenShortCut { .. } => {}
            session::Effect::ToHolder(stream, packet) => {
                if let Some(live) = &self.host(host).live
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
            session::Effect::LookAgain => self.host_event(host, host::Event::LookAgain),
            session::Effect::Hasten => self.host_event(host, host::Event::Hasten),
            session::Effect::Warmed | session::Effect::Notice(_) | session::Effect::Point(_) => {}
            session::Effect::Claim(name) => {
                let is_free = self.names.insert(name);
                let taken = Error::new(Kind::NameTaken, "taken", "");
                self.session_event(task, session::Event::Claimed(if is_free { Ok(()) } else { Err(taken) }));
            }
            session::Effect::Unclaim | session::Effect::Deleted => {}
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

    fn asker(&mut self, what: AskedFor) -> Asker {
        let asker = Asker(self.number());
        self.askers.insert(asker, what);
        asker
    }

    /// The sessions that have a task, in order.
    pub fn sessions(&self) -> Vec<Uuid> {
        self.sessions.keys().copied().collect()
    }

    /// What is shown of each session.
    pub fn shown(&self) -> impl Iterator<Item = (&Shown, usize)> {
        self.sessions.values().filter_map(|task| self.tasks.get(task)).map(|task| (&task.shown, task.host))
    }

    /// Is a host's link up and heard, and when was anything heard of it last?
    pub fn link(&self, host: usize) -> Option<(Phase, Option<(bool, u64)>)> {
        let task = self.hosts.get(&host)?;
        let live = task.live.as_ref().map(|live| (live.machine.is_stalled(self.duration()), live.heard_ms));
        Some((task.machine.phase(), live))
    }

    /// The session that a task has.
    pub fn session_of(&self, task: u64) -> Option<Uuid> {
        self.tasks.get(&task).map(|task| task.shown.record.id)
    }

    /// Is a verb about to start it?
    pub fn is_being_started(&self, session: Uuid) -> bool {
        self.alone.contains(&session)
    }

    /// Does a host have members?
    pub fn needs(&self, host: usize) -> bool {
        self.hosts.get(&host).is_some_and(|host| !host.members.is_empty())
    }

    // What comes from outside.

    /// An attempt came to a connection, or to nothing.
    pub fn dialled(&mut self, host: usize, attempt: u64, conn: Option<ConnId>) -> bool {
        if self.host(host).attempt != Some(attempt) {
            return false;
        }
        self.host(host).attempt = None;
        let Some(conn) = conn else {
            let failed = host::Event::NotDialled {
                why: Why::Network,
                by_environment: false,
                error: "no answer".to_owned(),
            };
            self.host_event(host, failed);
            return false;
        };
        let number = self.number();
        let (now, version, heard_ms) = (self.duration(), self.version, self.now);
        self.host(host).live = Some(Live {
            number,
            conn,
            machine: Link::new(now, version),
            owners: BTreeMap::new(),
            requests: BTreeMap::new(),
            asked: 0,
            heard_ms,
        });
        self.link_event(host, link::Event::Tick);
        self.host_event(host, host::Event::Dialled(number));
        true
    }

    /// A frame came over a connection.
    pub fn frame(&mut self, host: usize, conn: ConnId, frame: Packet) {
        let now = self.now;
        if let Some(live) = self.host(host).live.as_mut().filter(|live| live.conn == conn) {
            live.heard_ms = now;
            return self.link_event(host, link::Event::Frame(frame, &Nothing));
        }
        let now = self.duration();
        let draining = self.host(host).draining.iter_mut().find(|live| live.conn == conn);
        let Some(live) = draining else { return };
        live.machine.handle(now, link::Event::Frame(frame, &Nothing));
        let mut delivered = Vec::new();
        while let Some(effect) = live.machine.poll() {
            if let link::Effect::Deliver(stream, frame) = effect
                && let Some(task) = live.owners.get(&stream)
            {
                delivered.push((*task, stream, frame));
            }
        }
        for (task, stream, frame) in delivered {
            self.session_event(task, session::Event::Holder { stream, frame: raw(&frame.0) });
        }
    }

    /// A connection broke.
    pub fn broke(&mut self, host: usize, conn: ConnId) {
        if self.host(host).live.as_ref().is_some_and(|live| live.conn == conn) {
            self.link_event(host, link::Event::Ended(LinkEnd::Lost("it broke".into())));
        }
    }

    /// Something was written, or not.
    pub fn written(&mut self, task: u64, write: WriteId, is_written: bool) {
        let result = if is_written { Ok(()) } else { Err(Error::new(Kind::Failed, "the disk is full", "")) };
        self.session_event(task, session::Event::Written(write, result));
    }

    /// This machine slept.
    pub fn woke(&mut self) {
        for host in self.hosts.keys().copied().collect::<Vec<_>>() {
            self.host_event(host, host::Event::Woke);
        }
    }

    /// `create`.
    pub fn create(&mut self, host: usize, session: Uuid, job: Uuid) {
        let record = Record {
            id: session,
            name: None,
            host: format!("host{host}"),
            tags: BTreeMap::new(),
            command: vec!["sh".into()],
            cwd: String::new(),
            env: BTreeMap::new(),
            size: (80, 24),
            idle_timeout_ms: None,
            reap_unattended: false,
            created_at_ms: self.wall(),
            job_id: job,
            state: State::Init,
            delete_requested: false,
            last_active_ms: None,
            place: String::new(),
            end: None,
            untold: Default::default(),
            restart: None,
            size_policy: sessd_proto::docs::SizePolicy::Latest,
            plain: false,
            run_for_ms: None,
        };
        self.alone.insert(session);
        self.doing.push_back(Doing::Save(Box::new(record), Verb::Created(host)));
    }

    /// `host adopt`.
    pub fn wants_to_adopt(&mut self, host: usize) {
        let who = self.number();
        self.host_event(host, host::Event::Want(who, 0));
        self.host_event(host, host::Event::Look(host));
    }

    fn adopt(&mut self, host: usize, seen: &Seen) {
        for report in &seen.inventory().jobs {
            let Some(spec) = &report.spec else { continue };
            let Ok(id) = Uuid::parse_str(&spec.session_id) else { continue };
            let over = [Liveness::Exited as i32, Liveness::Gone as i32].contains(&report.liveness);
            let place = place_of(seen.inventory(), &report.folder);
            let known = self.sessions.get(&id).and_then(|task| self.tasks.get(task)).map(|task| {
                let record = &task.shown.record;
                Known {
                    done: record.ended().is_some(),
                    same_job: record.job_id.to_string() == spec.job_id,
                    same_host: true,
                    same_place: record.place == place,
                    reached: true,
                }
            });
            if adopt::decide(over, known, false) == Verdict::Adopt
                && !self.alone.contains(&id)
                && let Some(record) = adopt::record(spec, &format!("host{host}"), place, None, self.wall())
            {
                self.alone.insert(id);
                self.doing.push_back(Doing::Save(Box::new(record), Verb::Adopted(host)));
            }
        }
    }

    /// A verb's own record is saved, or not.
    pub fn saved(&mut self, record: Record, verb: Verb, is_saved: bool) {
        self.alone.remove(&record.id);
        if !is_saved || self.sessions.contains_key(&record.id) {
            return;
        }
        let (host, caller) = match verb {
            Verb::Created(host) | Verb::Again(host) => (host, Some(Caller::default())),
            Verb::Adopted(host) => (host, None),
        };
        let who = self.number();
        self.host_event(host, host::Event::Want(who, 0));
        self.begin(record, caller);
    }

    /// `restart`, of a session that has a task or of one that is done.
    pub fn restart(&mut self, session: Uuid, job_id: Uuid, done: Option<&Record>) {
        if let Some(task) = self.sessions.get(&session).copied() {
            let asker = self.asker(AskedFor::Nothing);
            let restart = session::Event::Restart { job_id, caller: Caller::default(), asker };
            self.session_event(task, restart);
        } else if let Some(done) = done
            && self.alone.insert(session)
        {
            let mut again = done.clone();
            again.begin_again(job_id);
            let host = host_number(&again.host);
            self.doing.push_back(Doing::Save(Box::new(again), Verb::Again(host)));
        }
    }

    /// `delete`.
    pub fn delete(&mut self, session: Uuid, force: bool) {
        if let Some(task) = self.sessions.get(&session).copied() {
            let asker = self.asker(AskedFor::Nothing);
            self.session_event(task, session::Event::Delete { force, asker });
        }
    }

    /// A view comes. False: there is no such session now.
    pub fn attach(&mut self, session: Uuid, view: sessd_core::views::View) -> bool {
        let Some(task) = self.sessions.get(&session).copied() else { return false };
        let asker = self.asker(AskedFor::Attach(view.id));
        let host = self.tasks[&task].host;
        self.session_event(task, session::Event::Attach(Box::new(view), asker));
        self.host_event(host, host::Event::Person(0));
        true
    }

    fn task_of(&self, view: Uuid) -> Option<u64> {
        self.tasks.iter().find(|(_, task)| task.views.contains(&view)).map(|(number, _)| *number)
    }

    /// A frame of a view.
    pub fn view_frame(&mut self, view: Uuid, bytes: &[u8]) {
        if let Some(task) = self.task_of(view) {
            self.session_event(task, session::Event::View { view, frame: raw(bytes) });
        }
    }

    /// A view has read: so much waits for it.
    pub fn drained(&mut self, view: Uuid, waiting: usize) {
        if self.undrained.remove(&view)
            && let Some(task) = self.task_of(view)
        {
            self.session_event(task, session::Event::Drained { view, waiting });
        }
    }

    /// A view left.
    pub fn view_gone(&mut self, view: Uuid, on_purpose: bool) {
        if let Some(task) = self.task_of(view) {
            if let Some(there) = self.tasks.get_mut(&task) {
                there.views.remove(&view);
            }
            self.session_event(task, session::Event::ViewGone { view, on_purpose });
        }
    }
}

/// The number in a host's name.
pub fn host_number(name: &str) -> usize {
    name.trim_start_matches("host").parse().unwrap_or_default()
}
