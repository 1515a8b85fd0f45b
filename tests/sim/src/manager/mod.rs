//! A manager's process: the machines of its sessions, hosts and links, and a driver for them that has no decision in it. What
//! it keeps is in its [`Store`], which outlives it.

mod hosts;
mod outside;
mod sessions;
mod verbs;

use crate::net::{ConnId, Packet};
use sessd_core::host;
use sessd_core::host::Phase;
use sessd_core::link::{self, Link, Load};
use sessd_core::registry::{ClaimId, Names};
use sessd_core::session::{
    self, AgentRequest, Asker, Caller, Manager as Me, Now, Session, Shown, Write, WriteId,
};
use sessd_core::stream::{StreamId, StreamIds};
use sessd_core::{Record, State};
use sessd_proto::Uuid;
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
    /// Whoever sent what has that number.
    Send(usize),
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
    /// What was sent under that number has come to that job; it may wait there for its time.
    Sent(usize, String, bool),
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
    /// A name that is being given to it.
    claim: Option<ClaimId>,
}

struct Live {
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
    Of(u64, AgentRequest),
    Forget,
}

struct HostTask {
    machine: host::Host<u64, usize, String>,
    /// The link that is, and one beside it.
    links: BTreeMap<u64, Live>,
    /// Links that were let go, and out of whose connections something may still come.
    draining: Vec<Live>,
    /// Attempts on their way, by the world's number, and the number of the link that each may come to.
    attempts: BTreeMap<u64, u64>,
    /// Members and their tasks.
    members: BTreeMap<u64, u64>,
    place: Option<(String, String)>,
}

/// No link has this number.
const NO_LINK: u64 = 0;

impl HostTask {
    /// The link that is up, or on its way there.
    fn up(&self) -> Option<&Live> {
        match self.machine.phase() {
            Phase::Up(number) => self.links.get(&number),
            _ => self.links.values().next(),
        }
    }
}

/// Rounded up, by the least that is over: before that nothing is due, and a look at the clock comes to nothing.
fn millis(at: Duration) -> u64 {
    u64::try_from(at.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
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
    names: Names,
    /// Verbs that are alone with a session.
    alone: BTreeSet<Uuid>,
    /// Names that such a verb gives.
    given: BTreeMap<Uuid, ClaimId>,
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
            names: Names::default(),
            alone: BTreeSet::new(),
            given: BTreeMap::new(),
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
            links: BTreeMap::new(),
            draining: Vec::new(),
            attempts: BTreeMap::new(),
            members: BTreeMap::new(),
            place: None,
        })
    }

    /// When something is due.
    pub fn deadline(&self) -> u64 {
        let of_tasks = self.tasks.values().filter_map(|task| task.machine.deadline());
        let of_hosts = self.hosts.values().flat_map(|host| {
            let links = host.links.values().filter_map(|live| live.machine.deadline());
            host.machine.deadline().into_iter().chain(links.map(millis))
        });
        of_tasks.chain(of_hosts).min().map_or(u64::MAX, |at| self.began + at)
    }

    /// Does what is due.
    pub fn tick(&mut self) {
        let now = self.steady();
        let hosts: Vec<_> = self.hosts.keys().copied().collect();
        for host in hosts {
            let due = self.hosts[&host].links.iter();
            let due = due.filter(|(_, live)| live.machine.deadline().is_some_and(|at| millis(at) <= now));
            for number in due.map(|(number, _)| *number).collect::<Vec<_>>() {
                self.link_event(host, number, link::Event::Tick);
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
        let me = Me { id: self.id.clone(), name: format!("manager{}", self.number) };
        let machine = Session::new(record, caller, me, self.times());
        let shown = machine.shown().clone();
        let before = self.sessions.insert(id, number);
        self.tasks.insert(number, Task { machine, host, shown, views: BTreeSet::new(), claim: None });
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

    /// The sessions that have a task, in order.
    pub fn sessions(&self) -> Vec<Uuid> {
        self.sessions.keys().copied().collect()
    }

    /// Has this session a task?
    pub fn has(&self, session: Uuid) -> bool {
        self.sessions.contains_key(&session)
    }

    /// What is shown of each session.
    pub fn shown(&self) -> impl Iterator<Item = (&Shown, usize)> {
        self.sessions.values().filter_map(|task| self.tasks.get(task)).map(|task| (&task.shown, task.host))
    }

    /// Is a host's link up and heard, and when was anything heard of it last?
    pub fn link(&self, host: usize) -> Option<(Phase, Option<(bool, u64)>)> {
        let task = self.hosts.get(&host)?;
        let live = task.up().map(|live| (live.machine.is_stalled(self.duration()), live.heard_ms));
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
}

/// The number in a host's name.
pub fn host_number(name: &str) -> usize {
    name.trim_start_matches("host").parse().unwrap_or_default()
}
