//! Everything, and the time it has: what is on its way arrives in the order of its time, and after each step the promises
//! are looked at.

mod arrive;
mod carry;
mod deeds;
mod views;

use crate::host::Host;
use crate::manager::{Process, Store, Verb, host_number};
use crate::net::{Conn, ConnId};
use crate::plan::{Plan, RUN_MS, Step};
use crate::promises;
use crate::rng::Rng;
use crate::view::View;
use sessd_core::Record;
use sessd_core::session::{Write, WriteId};
use sessd_proto::Uuid;
use sessd_proto::messages::{LinkAct, LinkReply};
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

/// What was to be typed by no view.
#[derive(Debug)]
pub struct Sent {
    /// The job it was for, once that is known to have it or to keep it until it is time.
    pub job: Option<String>,
    /// Its host has it, and it may still wait.
    pub queued: bool,
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
    /// By number.
    pub sent: Vec<Sent>,
    ids: u128,
    pub stalled: BTreeMap<(usize, usize), u64>,
    trace: VecDeque<String>,
    pub checks: promises::Seen,
    /// Something was written to a manager's disk since the promises were asked.
    pub stored: bool,
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
            sent: Vec::new(),
            ids: 0,
            stalled: BTreeMap::new(),
            trace: VecDeque::new(),
            checks: promises::Seen::default(),
            stored: false,
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
        let of_views = self.views.iter().map(View::deadline).min().unwrap_or(u64::MAX);
        let next = queued.min(of_managers).min(of_hosts).min(of_views).max(self.now);
        // All is mended then, whether or not anything else happens.
        let next = if self.is_over { next } else { next.min(RUN_MS) };
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
        for view in 0..self.views.len() {
            if self.views[view].deadline() <= self.now {
                self.view(view);
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
            host.login_until = 0;
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
        // Whoever is wanted comes.
        for manager in 0..self.managers.len() {
            for host in 0..self.hosts.len() {
                self.with(manager, |process| process.connects(host));
            }
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

    /// Is the way between a manager and a host well now?
    pub fn is_well(&self, manager: usize, host: usize) -> bool {
        let (there, now) = (&self.hosts[host], self.now);
        there.is_reachable(now)
            && there.stuck_until <= now
            && self.managers[manager].process.is_some()
            && self.managers[manager].asleep_until <= now
            && self.stalled.get(&(manager, host)).is_none_or(|until| *until <= now)
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
