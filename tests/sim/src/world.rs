//! Everything, and the time it has: what is on its way arrives in the order of its time, and after each step the promises
//! are looked at.

use crate::host::{Doing as HostDoing, Host};
use crate::job::Cause;
use crate::manager::{Doing, Process, Store, Verb, host_number};
use crate::net::{Conn, ConnId, Packet};
use crate::plan::{Deed, Plan, RUN_MS, Step};
use crate::promises;
use crate::rng::Rng;
use crate::view::{Found, View};
use sessd_core::session::{Write, WriteId};
use sessd_core::{Record, State};
use sessd_proto::messages::{LinkAct, LinkReply};
use sessd_proto::{Frame, Uuid};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};

/// How long everything is well before it has to have come right: a minute at the most between two attempts, half a minute
/// between two looks, and a job that is missing is lost after a minute and a half.
pub const MENDED_MS: u64 = 300_000;
/// Lines of what happened that are kept for whoever has to understand a failure.
const TRACE: usize = 400;
/// More steps than any run takes.
const STEPS_MAX: u64 = 3_000_000;

/// What is on its way.
#[derive(Debug)]
enum Happening {
    Deed(Step),
    ToHost(ConnId, Vec<u8>),
    ToManager(ConnId, Vec<u8>),
    /// An end of a connection learns that it is over.
    HostLost(ConnId),
    ManagerLost(ConnId),
    Dialled {
        manager: usize,
        life: u64,
        host: usize,
        attempt: u64,
    },
    Act(ConnId, u64, Box<LinkAct>),
    Answer(ConnId, LinkReply),
    Kept(usize, String, Box<sessd_agent::machine::keep::Keeping>),
    Signal(usize, String, sessd_agent::machine::ending::Step),
    Written {
        manager: usize,
        life: u64,
        task: u64,
        write: WriteId,
        what: Write,
    },
    Saved {
        manager: usize,
        life: u64,
        record: Box<Record>,
        verb: Verb,
    },
    Starts(usize),
    Awake(usize),
    View(usize),
    FromView(usize, u64, Vec<u8>),
}

/// One manager, dead or alive.
pub struct Manager {
    pub process: Option<Process>,
    pub store: Store,
    pub life: u64,
    wall_ahead_ms: i64,
    /// Its machine sleeps until then.
    pub asleep_until: u64,
}

/// What somebody asked to end a job for.
#[derive(Debug, Default)]
pub struct Wanted {
    /// Sessions that were to be deleted or restarted, by anybody.
    pub ends: std::collections::BTreeSet<Uuid>,
    /// Sessions that were to be deleted, at which manager.
    pub deletes: std::collections::BTreeSet<(usize, Uuid)>,
}

/// The world.
pub struct World {
    pub now: u64,
    rng: Rng,
    queue: BinaryHeap<Reverse<(u64, u64)>>,
    happenings: BTreeMap<u64, Happening>,
    sequence: u64,
    pub managers: Vec<Manager>,
    pub hosts: Vec<Host>,
    conns: BTreeMap<ConnId, Conn>,
    next_conn: ConnId,
    pub views: Vec<View>,
    /// Sessions in the order they were made, and where.
    pub made: Vec<(usize, Uuid)>,
    pub wanted: Wanted,
    ids: u128,
    pub stalled: BTreeMap<(usize, usize), u64>,
    trace: VecDeque<String>,
    pub checks: promises::Seen,
    is_over: bool,
    is_traced: bool,
}

impl World {
    /// Runs a plan to its end. `is_traced`: what happened is told with a failure.
    ///
    /// # Errors
    /// The promise that was broken, and what happened before.
    pub fn run(plan: &Plan, is_traced: bool) -> Result<Summary, String> {
        let mut world = Self {
            now: 0,
            rng: Rng::new(plan.weather),
            queue: BinaryHeap::new(),
            happenings: BTreeMap::new(),
            sequence: 0,
            managers: Vec::new(),
            hosts: (0..plan.hosts).map(Host::new).collect(),
            conns: BTreeMap::new(),
            next_conn: 0,
            views: Vec::new(),
            made: Vec::new(),
            wanted: Wanted::default(),
            ids: 0,
            stalled: BTreeMap::new(),
            trace: VecDeque::new(),
            checks: promises::Seen::default(),
            is_over: false,
            is_traced,
        };
        for number in 0..plan.managers {
            let store = Store::default();
            let process = Some(Process::start(number, 1, 0, 0, &store));
            world.managers.push(Manager { process, store, life: 1, wall_ahead_ms: 0, asleep_until: 0 });
        }
        for step in &plan.steps {
            world.at(step.at_ms, Happening::Deed(*step));
        }
        let mut steps = 0;
        let broken = loop {
            steps += 1;
            if steps > STEPS_MAX {
                break Some("something goes on for ever".to_owned());
            }
            if !world.step() {
                break None;
            }
            if let Err(broken) = promises::all(&mut world) {
                break Some(broken);
            }
        };
        let broken = broken.or_else(|| promises::at_the_end(&mut world).err());
        match broken {
            None => Ok(Summary { steps, sessions: world.made.len(), views: world.views.len() }),
            Some(broken) => {
                let trace: Vec<_> = world.trace.into_iter().collect();
                Err(format!("{} ms: {broken}\n{}", world.now, trace.join("\n")))
            }
        }
    }

    /// Writes down what happens, for whoever has to understand a failure.
    pub fn note(&mut self, what: impl FnOnce() -> String) {
        if !self.is_traced {
            return;
        }
        if self.trace.len() >= TRACE {
            self.trace.pop_front();
        }
        let line = format!("{:>8} {}", self.now, what());
        self.trace.push_back(line);
    }

    fn at(&mut self, at: u64, happening: Happening) {
        self.sequence += 1;
        self.queue.push(Reverse((at.max(self.now), self.sequence)));
        self.happenings.insert(self.sequence, happening);
    }

    /// The next thing happens. False: the time is over.
    fn step(&mut self) -> bool {
        let queued = self.queue.peek().map_or(u64::MAX, |Reverse((at, _))| *at);
        let awake = |manager: &Manager| {
            manager.process.as_ref().map_or(u64::MAX, |p| p.deadline().max(manager.asleep_until))
        };
        let of_managers = self.managers.iter().map(awake).min().unwrap_or(u64::MAX);
        let of_hosts = self.hosts.iter().map(Host::deadline).min().unwrap_or(u64::MAX);
        let next = queued.min(of_managers).min(of_hosts).max(self.now);
        if next > RUN_MS + MENDED_MS {
            return false;
        }
        self.now = next;
        if !self.is_over && next >= RUN_MS {
            self.is_over = true;
            self.mend();
        }
        for host in 0..self.hosts.len() {
            if self.hosts[host].deadline() <= self.now {
                self.hosts[host].tick(self.now);
                self.drain_host(host);
            }
        }
        for manager in 0..self.managers.len() {
            let due = self.managers[manager].process.as_ref().is_some_and(|p| p.deadline() <= self.now);
            if due && self.managers[manager].asleep_until <= self.now {
                self.with(manager, Process::tick);
            }
        }
        while self.queue.peek().is_some_and(|Reverse((at, _))| *at <= self.now) {
            if let Some(Reverse((_, sequence))) = self.queue.pop()
                && let Some(happening) = self.happenings.remove(&sequence)
            {
                self.happens(happening);
            }
        }
        true
    }

    /// From here on nothing goes wrong.
    fn mend(&mut self) {
        self.note(|| "everything is mended".into());
        for host in &mut self.hosts {
            (host.away_until, host.stuck_until, host.disk_until, host.down_until) = (0, 0, 0, 0);
        }
        for conn in self.conns.values_mut() {
            conn.stalled_until = 0;
        }
        self.stalled.clear();
        for manager in 0..self.managers.len() {
            self.managers[manager].store.wrong = None;
            self.managers[manager].asleep_until = self.now;
        }
        for view in &mut self.views {
            view.slow_until = 0;
        }
    }

    /// Something happens to a manager, if it is alive and awake.
    fn with<T>(&mut self, manager: usize, act: impl FnOnce(&mut Process) -> T) -> Option<T> {
        let now = self.now;
        let process = self.managers.get_mut(manager)?.process.as_mut()?;
        process.now = now;
        let result = act(process);
        process.work();
        self.drain_manager(manager);
        Some(result)
    }

    fn drain_manager(&mut self, manager: usize) {
        while let Some(process) = &mut self.managers[manager].process
            && let Some(doing) = process.doing.pop_front()
        {
            let life = process.life;
            match doing {
                Doing::Dial { host, attempt } => {
                    let takes = self.rng.within(20, 400);
                    self.at(self.now + takes, Happening::Dialled { manager, life, host, attempt });
                }
                Doing::Send(conn, bytes) => self.sends(conn, true, bytes),
                Doing::HangUp(conn) => {
                    self.note(|| format!("{conn} is hung up"));
                    self.cut(conn, false);
                    if let Some(there) = self.conns.get_mut(&conn) {
                        there.drains = true;
                    }
                }
                Doing::Write { task, write, what } => {
                    self.note(|| {
                        format!(
                            "{manager}/{task} writes {}",
                            match &what {
                                Write::Save(record) | Write::Done(record, _) => format!("{:?}", record.state),
                                Write::Forget => "forget".to_owned(),
                            }
                        )
                    });
                    let takes = if self.rng.chance(5) { 2_000 } else { self.rng.within(1, 30) };
                    self.at(self.now + takes, Happening::Written { manager, life, task, write, what });
                }
                Doing::Save(record, verb) => {
                    let takes = self.rng.within(1, 60);
                    self.at(self.now + takes, Happening::Saved { manager, life, record, verb });
                }
                Doing::ToView(view, bytes) => {
                    self.note(|| {
                        let frames = crate::net::decoded(&bytes);
                        let words: Vec<_> = frames.iter().map(|frame| Self::words(frame)).collect();
                        format!("view {view} gets {}", words.join("; "))
                    });
                    if let Some(number) = self.views.iter().position(|v| v.id == view)
                        && self.views[number].life == Some(life)
                    {
                        self.views[number].unread.extend(bytes);
                        let reads = self.views[number].slow_until.max(self.now + 1);
                        self.at(reads, Happening::View(number));
                    }
                }
                Doing::CloseView(view) => {
                    if let Some(number) = self.views.iter().position(|v| v.id == view) {
                        self.read(number);
                        promises::view_was_closed(self, number);
                        self.views[number].lost(self.now + 300);
                        self.at(self.now + 300, Happening::View(number));
                    }
                }
                Doing::Refused(view) => {
                    if let Some(number) = self.views.iter().position(|v| v.id == view) {
                        self.views[number].lost(self.now + 500);
                        self.at(self.now + 500, Happening::View(number));
                    }
                }
            }
        }
    }

    fn drain_host(&mut self, host: usize) {
        while !self.hosts[host].doing.is_empty() {
            for doing in std::mem::take(&mut self.hosts[host].doing) {
                match doing {
                    HostDoing::Send(conn, bytes) => self.sends(conn, false, bytes),
                    HostDoing::Act(conn, id, act) => {
                        let there = &self.hosts[host];
                        let at =
                            (self.now + self.rng.within(1, 40)).max(there.stuck_until).max(there.disk_until);
                        self.at(at, Happening::Act(conn, id, act));
                    }
                    HostDoing::Keep(job, keeping) => {
                        let at = (self.now + self.rng.within(1, 30)).max(self.hosts[host].disk_until);
                        self.at(at, Happening::Kept(host, job, keeping));
                    }
                    HostDoing::Signal(job, step) => {
                        // Some programs take their time, and some take no notice of all but the last.
                        let takes = self.rng.within(1, 50);
                        self.at(self.now + takes, Happening::Signal(host, job, step));
                    }
                }
            }
        }
    }

    /// What a frame is, in few words.
    fn words(bytes: &[u8]) -> String {
        let raw = crate::host::raw(bytes);
        let text = match raw.parse() {
            Ok(frame) => format!("{frame:?}"),
            Err(_) => "?".into(),
        };
        format!("[{}] {}", raw.stream, text.chars().take(160).collect::<String>())
    }

    fn sends(&mut self, conn: ConnId, to_host: bool, bytes: Vec<u8>) {
        self.note(|| format!("{conn} {} {}", if to_host { "->" } else { "<-" }, Self::words(&bytes)));
        let takes = self.rng.within(1, 80);
        let Some(there) = self.conns.get_mut(&conn).filter(|there| !there.cut) else { return };
        let stuck = if to_host { self.hosts[there.host].stuck_until } else { 0 };
        let stream = crate::host::raw(&bytes).stream;
        let at = there.arrival(to_host, stream, self.now, takes).max(stuck);
        self.at(at, if to_host { Happening::ToHost(conn, bytes) } else { Happening::ToManager(conn, bytes) });
    }

    /// A connection is over: nothing that is on its way arrives, and each end learns of it, sooner or later.
    fn cut(&mut self, conn: ConnId, in_silence: bool) {
        let Some(there) = self.conns.get_mut(&conn).filter(|there| !there.cut) else { return };
        there.cut = true;
        let (manager, host) = (there.manager, there.host);
        promises::way_was_cut(self, manager, host);
        let (soon, late) = (self.rng.within(1, 100), self.rng.within(20_000, 60_000));
        let after = if in_silence { late } else { soon };
        self.at(self.now + after, Happening::HostLost(conn));
        self.at(self.now + after, Happening::ManagerLost(conn));
    }

    fn cut_all(&mut self, of: impl Fn(&Conn) -> bool, in_silence: bool) {
        let conns: Vec<_> = self.conns.iter().filter(|(_, conn)| of(conn)).map(|(id, _)| *id).collect();
        for conn in conns {
            self.cut(conn, in_silence);
        }
    }

    /// Is the way between a manager and a host well now?
    pub fn is_well(&self, manager: usize, host: usize) -> bool {
        let (there, now) = (&self.hosts[host], self.now);
        there.is_reachable(now)
            && there.stuck_until <= now
            && self.managers[manager].process.is_some()
            && self.managers[manager].asleep_until <= now
            && self.stalled.get(&(manager, host)).is_none_or(|until| *until <= now)
    }

    fn happens(&mut self, happening: Happening) {
        match happening {
            Happening::Deed(step) => {
                self.note(|| step.to_string());
                self.does(step);
            }
            Happening::ToHost(conn, bytes) => {
                let Some(there) = self.conns.get(&conn).filter(|there| !there.cut) else { return };
                let host = there.host;
                if self.hosts[host].down_until <= self.now {
                    self.hosts[host].frame(self.now, conn, &bytes);
                    self.drain_host(host);
                }
            }
            Happening::ToManager(conn, bytes) => {
                let arrives = |there: &&Conn| !there.cut || there.drains;
                let Some(there) = self.conns.get(&conn).filter(arrives) else { return };
                let (manager, life, host) = (there.manager, there.life, there.host);
                if self.managers[manager].asleep_until > self.now {
                    let until = self.managers[manager].asleep_until;
                    return self.at(until, Happening::ToManager(conn, bytes));
                }
                if self.managers[manager].life == life {
                    self.with(manager, |process| process.frame(host, conn, Packet(bytes)));
                }
            }
            Happening::HostLost(conn) => {
                if let Some(there) = self.conns.get(&conn) {
                    let host = there.host;
                    self.hosts[host].disconnected(self.now, conn);
                    self.drain_host(host);
                }
            }
            Happening::ManagerLost(conn) => {
                if let Some(there) = self.conns.get(&conn) {
                    let (manager, life, host) = (there.manager, there.life, there.host);
                    if self.managers[manager].life == life {
                        self.with(manager, |process| process.broke(host, conn));
                    }
                }
            }
            Happening::Dialled { manager, life, host, attempt } => {
                if self.managers[manager].life != life || self.managers[manager].process.is_none() {
                    return;
                }
                let until = self.managers[manager].asleep_until;
                if until > self.now {
                    return self.at(until, Happening::Dialled { manager, life, host, attempt });
                }
                if !self.hosts[host].is_reachable(self.now) {
                    // It is silent, or says no at once.
                    self.with(manager, |process| process.dialled(host, attempt, None));
                    return;
                }
                self.next_conn += 1;
                let id = self.next_conn;
                let mut conn = Conn::new(manager, life, host);
                conn.stalled_until = self.stalled.get(&(manager, host)).copied().unwrap_or(0);
                self.conns.insert(id, conn);
                if self.with(manager, |process| process.dialled(host, attempt, Some(id))) == Some(true) {
                    self.hosts[host].connected(id);
                    self.drain_host(host);
                } else {
                    self.conns.remove(&id);
                }
            }
            Happening::Act(conn, id, act) => {
                let Some(host) = self.conns.get(&conn).filter(|there| !there.cut).map(|there| there.host)
                else {
                    return;
                };
                let until = self.hosts[host].disk_until;
                if until > self.now {
                    return self.at(until, Happening::Act(conn, id, act));
                }
                let answer = Some(self.hosts[host].acts(self.now, *act));
                self.drain_host(host);
                let takes = if self.rng.chance(10) { 3_000 } else { self.rng.within(5, 400) };
                self.at(self.now + takes, Happening::Answer(conn, LinkReply { id, answer, more: false }));
            }
            Happening::Answer(conn, reply) => self.sends(conn, false, Frame::LinkReply(reply).to_bytes(0)),
            Happening::Kept(host, job, keeping) => {
                if self.hosts[host].disk_until > self.now {
                    let until = self.hosts[host].disk_until;
                    return self.at(until, Happening::Kept(host, job, keeping));
                }
                self.hosts[host].kept(self.now, &job, &keeping);
                self.drain_host(host);
            }
            Happening::Signal(host, job, step) => {
                promises::job_was_signalled(self, host, &job);
                let ends = step == sessd_agent::machine::ending::Step::Kill || self.rng.chance(70);
                if ends {
                    self.hosts[host].with(self.now, &job, |holder, now, wall, truth| {
                        holder.ends(now, wall, Cause::Signaled, truth);
                    });
                    self.drain_host(host);
                }
            }
            Happening::Written { manager, life, task, write, what } => {
                if self.managers[manager].life != life || self.managers[manager].process.is_none() {
                    return;
                }
                let Some(is_written) = self.writes(
                    manager,
                    |store, session| match &what {
                        Write::Save(record) | Write::Done(record, _) => {
                            store.records.insert(record.id, (**record).clone());
                        }
                        Write::Forget => {
                            if let Some(session) = session {
                                store.records.remove(&session);
                            }
                        }
                    },
                    task,
                ) else {
                    return;
                };
                self.with(manager, |process| process.written(task, write, is_written));
            }
            Happening::Saved { manager, life, record, verb } => {
                if self.managers[manager].life != life || self.managers[manager].process.is_none() {
                    return;
                }
                let saved = (*record).clone();
                let Some(is_saved) = self.writes(
                    manager,
                    |store, _| {
                        store.records.insert(saved.id, saved.clone());
                    },
                    0,
                ) else {
                    return;
                };
                self.with(manager, |process| process.saved(*record, verb, is_saved));
            }
            Happening::Starts(manager) => {
                if self.managers[manager].process.is_none() {
                    let there = &mut self.managers[manager];
                    there.life += 1;
                    let process =
                        Process::start(manager, there.life, self.now, there.wall_ahead_ms, &there.store);
                    there.process = Some(process);
                    self.note(|| format!("manager {manager} starts"));
                    self.drain_manager(manager);
                }
            }
            Happening::Awake(manager) => {
                if self.managers[manager].asleep_until <= self.now {
                    self.with(manager, Process::woke);
                }
            }
            Happening::View(number) => self.view(number),
            Happening::FromView(number, life, bytes) => {
                let (id, manager) = (self.views[number].id, self.views[number].manager);
                if self.views[number].life == Some(life) {
                    self.with(manager, |process| process.view_frame(id, &bytes));
                }
            }
        }
    }

    /// Something is written to a manager's disk, or is not; `None`: the manager is dead.
    fn writes(
        &mut self,
        manager: usize,
        write: impl FnOnce(&mut Store, Option<Uuid>),
        task: u64,
    ) -> Option<bool> {
        let session = self.managers[manager].process.as_ref().and_then(|process| process.session_of(task));
        let store = &mut self.managers[manager].store;
        let how = match &mut store.wrong {
            Some((0, how)) => Some(*how),
            Some((left, _)) => {
                *left -= 1;
                None
            }
            None => None,
        };
        match how {
            None => write(store, session),
            Some(how) => {
                store.wrong = None;
                match how {
                    0 => return Some(false),
                    1 => {}
                    _ => write(store, session),
                }
                self.kill(manager, 1_000);
                return None;
            }
        }
        Some(true)
    }

    fn kill(&mut self, manager: usize, ms: u64) {
        if self.managers[manager].process.take().is_none() {
            return;
        }
        self.note(|| format!("manager {manager} is killed"));
        self.cut_all(|conn| conn.manager == manager, false);
        for number in 0..self.views.len() {
            if self.views[number].manager == manager {
                self.views[number].lost(self.now + ms + 200);
                self.at(self.now + ms + 200, Happening::View(number));
            }
        }
        self.at(self.now + ms, Happening::Starts(manager));
    }

    /// A view reads, comes again, and sends what it has.
    fn view(&mut self, number: usize) {
        let view = &mut self.views[number];
        if view.life.is_none() && view.again_ms.is_some_and(|at| at <= self.now) && !view.over {
            let (manager, session, introduction) = (view.manager, view.session, view.introduces());
            let life = self.managers[manager].process.as_ref().map(|process| process.life);
            let view = &mut self.views[number];
            match life {
                Some(life) => {
                    (view.life, view.again_ms) = (Some(life), None);
                    let there = self.with(manager, |process| process.attach(session, introduction));
                    if there != Some(true) {
                        // It is done, or gone: there is nothing to look at.
                        let view = &mut self.views[number];
                        (view.life, view.over) = (None, true);
                    }
                }
                None => {
                    view.again_ms = Some(self.now + 500);
                    self.at(self.now + 500, Happening::View(number));
                }
            }
        }
        if self.views[number].slow_until > self.now {
            let until = self.views[number].slow_until;
            return self.at(until, Happening::View(number));
        }
        self.read(number);
        self.send(number);
    }

    fn read(&mut self, number: usize) {
        let now = self.now;
        if self.views[number].unread.is_empty() {
            return;
        }
        for found in self.views[number].reads(now) {
            promises::view_found(self, number, &found);
            if let Found::Ended(reason, _) = found {
                // Of one that is restarted there is more to see.
                let goes_on = reason == sessd_proto::messages::EndReason::Restarted as i32;
                let again = goes_on.then_some(now + 200);
                (self.views[number].life, self.views[number].again_ms) = (None, again);
                self.views[number].over = !goes_on;
                self.at(now + 200, Happening::View(number));
            }
        }
        let (id, manager) = (self.views[number].id, self.views[number].manager);
        if self.views[number].life.is_some() {
            self.with(manager, |process| process.drained(id, 0));
        }
    }

    fn send(&mut self, number: usize) {
        let now = self.now;
        let frames = self.views[number].sends(now);
        if let Some(life) = self.views[number].life {
            for frame in frames {
                self.at(now, Happening::FromView(number, life, frame));
            }
        }
    }

    fn uuid(&mut self, kind: u128) -> Uuid {
        self.ids += 1;
        Uuid::from_u128(kind << 64 | self.ids)
    }

    /// The `n`-th of the sessions that a manager has.
    fn session(&self, manager: usize, n: u64) -> Option<Uuid> {
        let sessions = self.managers[manager].process.as_ref()?.sessions();
        (!sessions.is_empty()).then(|| sessions[n as usize % sessions.len()])
    }

    fn does(&mut self, step: Step) {
        let Step { deed, a, b, c, .. } = step;
        let (managers, hosts) = (self.managers.len() as u64, self.hosts.len() as u64);
        let manager = (a % managers) as usize;
        let host = (b % hosts) as usize;
        let at_host = (a % hosts) as usize;
        let other = (b % managers) as usize;
        let view = (!self.views.is_empty()).then(|| a as usize % self.views.len().max(1));
        match deed {
            Deed::Create => {
                let (session, job) = (self.uuid(1), self.uuid(2));
                if self.with(manager, |process| process.create(host, session, job)).is_some() {
                    self.made.push((manager, session));
                }
            }
            Deed::Attach => {
                if let Some(session) = self.session(other, a) {
                    let number = self.views.len();
                    self.views.push(View::new(number, other, session));
                    self.at(self.now, Happening::View(number));
                }
            }
            Deed::Type => {
                if let Some(number) = view.filter(|n| !self.views[*n].over) {
                    self.views[number].types(b, self.now);
                    self.send(number);
                    // What is held grows old.
                    self.at(self.now + 31_000, Happening::View(number));
                }
            }
            Deed::Leave | Deed::Drop => {
                if let Some(number) = view.filter(|n| self.views[*n].life.is_some()) {
                    let (id, at, on_purpose) =
                        (self.views[number].id, self.views[number].manager, deed == Deed::Leave);
                    self.views[number].over |= on_purpose;
                    self.views[number].lost(self.now + 400);
                    self.at(self.now + 400, Happening::View(number));
                    self.with(at, |process| process.view_gone(id, on_purpose));
                }
            }
            Deed::Slow => {
                if let Some(number) = view {
                    self.views[number].slow_until = self.now + b;
                    self.at(self.now + b, Happening::View(number));
                }
            }
            Deed::Garbage => {
                if let Some(number) = view.filter(|n| self.views[*n].life.is_some()) {
                    self.views[number].hostile = true;
                    let (id, at) = (self.views[number].id, self.views[number].manager);
                    let seq = u64::MAX / 2;
                    let beyond = Frame::Input { view: id, seq, withdrawn: false, bytes: b"x" }.to_bytes(0);
                    self.with(at, |process| process.view_frame(id, &beyond));
                }
            }
            Deed::Delete => {
                if let Some(session) = self.session(other, a) {
                    self.wanted.ends.insert(session);
                    self.wanted.deletes.insert((other, session));
                    self.with(other, |process| process.delete(session, c == 1));
                }
            }
            Deed::Restart => {
                let done: Vec<_> = self.managers[other]
                    .store
                    .records
                    .values()
                    .filter(|r| r.state == State::Done)
                    .cloned()
                    .collect();
                let live = self.session(other, a);
                let dead = (!done.is_empty() && (live.is_none() || a % 2 == 0))
                    .then(|| done[a as usize / 2 % done.len()].clone());
                let Some(session) = dead.as_ref().map(|record| record.id).or(live) else { return };
                for _ in 0..=c {
                    self.wanted.ends.insert(session);
                    let job = self.uuid(2);
                    self.with(other, |process| process.restart(session, job, dead.as_ref()));
                }
            }
            Deed::Adopt => {
                self.with(manager, |process| process.wants_to_adopt(host));
            }
            Deed::Write | Deed::Exit => {
                let jobs: Vec<_> = self
                    .hosts
                    .iter()
                    .enumerate()
                    .flat_map(|(host, there)| there.holders.keys().map(move |job| (host, job.clone())))
                    .collect();
                let Some((host, job)) = jobs.get(a as usize % jobs.len().max(1)).cloned() else { return };
                self.hosts[host].with(self.now, &job, |holder, now, wall, truth| {
                    if deed == Deed::Exit {
                        return holder.ends(now, wall, Cause::Exited(b as i32), truth);
                    }
                    if holder.runs() {
                        let from = truth.wrote.len() + holder.to_write.len();
                        holder.to_write.extend((from..from + b as usize).map(|n| match n % 61 {
                            60 => b'\n',
                            n => b'A' + (n % 57) as u8,
                        }));
                        holder.settle(now, wall, truth);
                    }
                });
                self.drain_host(host);
            }
            Deed::Cut => self.cut_all(|conn| conn.manager == manager && conn.host == host, b % 3 == 0),
            Deed::Stall => {
                let until = self.now + c;
                self.stalled.insert((manager, host), until);
                for conn in
                    self.conns.values_mut().filter(|conn| conn.manager == manager && conn.host == host)
                {
                    conn.stalled_until = conn.stalled_until.max(until);
                }
            }
            Deed::Away => {
                self.hosts[at_host].away_until = self.now + b;
                self.cut_all(|conn| conn.host == at_host, true);
            }
            Deed::Reboot => {
                self.cut_all(|conn| conn.host == at_host, b % 2 == 0);
                self.hosts[at_host].reboot(self.now, b);
                self.hosts[at_host].doing.clear();
            }
            Deed::Stuck => self.hosts[at_host].stuck_until = self.now + b,
            Deed::Disk => self.hosts[at_host].disk_until = self.now + b,
            Deed::Kill => self.kill(manager, b),
            Deed::Sleep => {
                self.managers[manager].asleep_until = self.now + b;
                self.at(self.now + b, Happening::Awake(manager));
                if b > 30_000 {
                    // By then the other end has given up.
                    self.cut_all(|conn| conn.manager == manager, false);
                }
            }
            Deed::Clock => {
                let by = b as i64 - 5_000_000;
                self.managers[manager].wall_ahead_ms += by;
                let wall = self.managers[manager].wall_ahead_ms;
                self.with(manager, |process| process.wall_ahead_ms = wall);
            }
            Deed::HostClock => self.hosts[at_host].wall_ahead_ms += b as i64 - 5_000_000,
            Deed::Store => self.managers[manager].store.wrong = Some((b, c)),
        }
    }

    /// Where a job is, if its holder is there.
    pub fn host_of(&self, job: &str) -> Option<&Host> {
        self.hosts.iter().find(|host| host.holders.contains_key(job))
    }
}

/// What a run was.
#[derive(Debug, Clone, Copy)]
pub struct Summary {
    pub steps: u64,
    pub sessions: usize,
    pub views: usize,
}

/// The host of a record.
pub fn host_of(record: &Record) -> usize {
    host_number(&record.host)
}
