//! A job: a program that does what it is told, and the holder's machine around it.

use sessd_agent::machine::ending::Step;
use sessd_agent::machine::idle::Processes;
use sessd_agent::machine::keep::{Keeping, Kept};
use sessd_agent::machine::process::Process;
use sessd_agent::machine::{Effect, Event, HolderMachine, Job, LinkId, Now, Observed};
use sessd_proto::messages::JobSpec;
use sessd_terminal::Size;
use std::collections::{BTreeMap, VecDeque};

const LEADER: (u32, u64) = (10, 100);

/// Why a program ended, as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// It exited with this code.
    Exited(i32),
    /// Its holder ended it.
    Signaled,
    /// Its host did.
    Reboot,
}

/// What the program did and saw: the truth.
#[derive(Debug, Default)]
pub struct Truth {
    /// All it wrote, as far as its holder has read it.
    pub wrote: Vec<u8>,
    /// All it read.
    pub read: Vec<u8>,
    /// Why it ended.
    pub cause: Option<Cause>,
    /// When its program ended, by a clock that nobody sets.
    pub ended_ms: Option<u64>,
    /// When it read or wrote last, by a clock that nobody sets.
    pub busy_ms: u64,
    /// It was signalled: what it does from then on keeps nothing from its end.
    pub signalled: bool,
}

/// What a holder has to have done by others.
#[derive(Debug)]
pub enum Wants {
    /// These bytes go to whoever is behind this link.
    Send(LinkId, Vec<u8>),
    /// The link is closed.
    Close(LinkId),
    /// This is to be kept on disk.
    Keep(Box<Keeping>),
    /// The program is signalled.
    Signal(Step),
    /// The holder goes.
    Leave,
}

/// A holder and its program.
#[derive(Debug)]
pub struct Holder {
    machine: HolderMachine,
    began_ms: u64,
    /// What the program writes when it is read.
    pub to_write: VecDeque<u8>,
    running: bool,
    links: Vec<LinkId>,
    pub wants: VecDeque<Wants>,
}

impl Holder {
    /// Starts one.
    pub fn new(spec: JobSpec, manager: &str, now_ms: u64, wall_ms: u64, truth: &mut Truth) -> Self {
        let size = Size { cols: spec.cols.clamp(1, 500) as u16, rows: spec.rows.clamp(1, 200) as u16 };
        let job = Job { spec, leader: LEADER, managers: vec![manager.to_owned()], ..Job::default() };
        let now = Now { ms: 0, steady_ms: now_ms, wall_ms };
        let mut holder = Self {
            machine: HolderMachine::new(job, size, now),
            began_ms: now_ms,
            to_write: VecDeque::new(),
            running: true,
            links: Vec::new(),
            wants: VecDeque::new(),
        };
        truth.busy_ms = now_ms;
        holder.settle(now_ms, wall_ms, truth);
        holder
    }

    fn now(&self, now_ms: u64, wall_ms: u64) -> Now {
        Now { ms: now_ms - self.began_ms, steady_ms: now_ms, wall_ms }
    }

    /// What it is.
    pub fn machine(&self) -> &HolderMachine {
        &self.machine
    }

    /// Does its program run?
    pub fn runs(&self) -> bool {
        self.running
    }

    /// When to let it [`Holder::settle`] if nothing happens.
    pub fn deadline(&self) -> u64 {
        self.machine.deadline().map_or(u64::MAX, |at| self.began_ms.saturating_add(at))
    }

    /// Hands in what happened.
    pub fn handle(&mut self, now_ms: u64, wall_ms: u64, event: Event<'_>, truth: &mut Truth) {
        match &event {
            Event::Opened(link) => self.links.push(*link),
            Event::Closed(link) => self.links.retain(|known| known != link),
            _ => {}
        }
        self.machine.handle(self.now(now_ms, wall_ms), event);
        self.settle(now_ms, wall_ms, truth);
    }

    /// The program ends.
    pub fn ends(&mut self, now_ms: u64, wall_ms: u64, cause: Cause, truth: &mut Truth) {
        if !std::mem::take(&mut self.running) {
            return;
        }
        truth.cause.get_or_insert(cause);
        truth.ended_ms.get_or_insert(now_ms);
        // What it wrote before is read before.
        self.feed(now_ms, wall_ms, truth);
        let (code, signal) = match cause {
            Cause::Exited(code) => (Some(code), None),
            Cause::Signaled | Cause::Reboot => (None, Some(9)),
        };
        let now = self.now(now_ms, wall_ms);
        self.machine.handle(now, Event::Exited { code, signal, memory_kills: None });
        self.machine.handle(now, Event::HungUp);
        self.settle(now_ms, wall_ms, truth);
    }

    /// What was to be kept was, or could not be.
    pub fn kept(&mut self, now_ms: u64, wall_ms: u64, keeping: &Keeping, truth: &mut Truth) {
        let exit = keeping.wanted.exit.then_some((true, true));
        self.handle(now_ms, wall_ms, Event::Kept(Kept { exit, ..Kept::default() }), truth);
    }

    fn feed(&mut self, now_ms: u64, wall_ms: u64, truth: &mut Truth) {
        while !self.to_write.is_empty() && self.machine.takes_output() {
            let room = self.machine.room();
            let n = room.len().min(self.to_write.len()).min(4096);
            if n == 0 {
                return;
            }
            for byte in &mut room[..n] {
                *byte = self.to_write.pop_front().unwrap_or_default();
                truth.wrote.push(*byte);
            }
            truth.busy_ms = now_ms;
            self.machine.handle(self.now(now_ms, wall_ms), Event::Output(n));
            self.machine.handle(self.now(now_ms, wall_ms), Event::Tick);
        }
    }

    /// Ticks, and carries out what is to be done here, until nothing is.
    pub fn settle(&mut self, now_ms: u64, wall_ms: u64, truth: &mut Truth) {
        let now = self.now(now_ms, wall_ms);
        loop {
            self.feed(now_ms, wall_ms, truth);
            self.machine.handle(now, Event::Tick);
            let mut quiet = true;
            if self.machine.may_feed() {
                quiet = false;
                self.machine.handle(now, Event::Output(0));
            }
            while let Some(effect) = self.machine.poll() {
                quiet = false;
                let answer = match effect {
                    Effect::Inspect { depth, round } => {
                        let seen = Some(Processes { cpu: 1, bare_prompt: true });
                        Event::Inspected { seen, depth, round }
                    }
                    Effect::Family(_) => Event::Family(Some(self.family())),
                    Effect::Discipline => Event::Discipline(Default::default()),
                    Effect::Observe => Event::Observed(Observed::default()),
                    Effect::Warn => Event::Warned(Vec::new()),
                    Effect::Resize(_) | Effect::EndInput => continue,
                    // Nothing is forwarded in this world.
                    Effect::Connect(..)
                    | Effect::EndWrites(_)
                    | Effect::HangUp(_)
                    | Effect::Listen(..)
                    | Effect::Unlisten(_) => continue,
                    Effect::Ports => Event::Ports(None),
                    Effect::Processor => Event::Used(Some(1)),
                    Effect::Hides => Event::Hides(false),
                    Effect::Signal(_, step) => {
                        self.wants.push_back(Wants::Signal(step));
                        continue;
                    }
                    Effect::Keep(keeping) => {
                        self.wants.push_back(Wants::Keep(keeping));
                        continue;
                    }
                    Effect::Close(link) => {
                        self.send(now, link);
                        self.wants.push_back(Wants::Close(link));
                        self.links.retain(|known| *known != link);
                        Event::Closed(link)
                    }
                    Effect::Leave => {
                        self.wants.push_back(Wants::Leave);
                        continue;
                    }
                };
                self.machine.handle(now, answer);
            }
            while let Some(typed) = self.machine.typed().filter(|typed| !typed.is_empty()) {
                quiet = false;
                let n = typed.len();
                truth.read.extend_from_slice(typed);
                truth.busy_ms = now_ms;
                // It shows that it has read.
                self.to_write.extend((0..n.div_ceil(3)).map(|_| b'.'));
                self.machine.handle(now, Event::Wrote(n));
            }
            for link in self.links.clone() {
                quiet &= !self.send(now, link);
            }
            if quiet && (self.to_write.is_empty() || !self.machine.takes_output()) {
                return;
            }
        }
    }

    fn send(&mut self, now: Now, link: LinkId) -> bool {
        let bytes = self.machine.unsent(link).to_vec();
        if bytes.is_empty() {
            return false;
        }
        self.machine.handle(now, Event::Sent(link, bytes.len()));
        self.wants.push_back(Wants::Send(link, bytes));
        true
    }

    fn family(&self) -> Vec<Process> {
        let shell = Process {
            pid: LEADER.0,
            name: "sh".into(),
            waits: true,
            dead: false,
            parent: 1,
            session: LEADER.0,
            cpu: 0,
            start: LEADER.1,
        };
        if self.running { vec![shell] } else { Vec::new() }
    }
}

/// What is left of a job on its host.
#[derive(Debug)]
pub struct OnDisk {
    /// What was asked for.
    pub spec: JobSpec,
    /// The boot it was started in.
    pub boot: u64,
    /// Who holds it.
    pub managers: Vec<String>,
    /// Its last word.
    pub exit: Option<sessd_proto::messages::ExitRecord>,
    /// Its last screen.
    pub screen: Option<sessd_proto::messages::Screen>,
}

/// Jobs by id.
pub type Jobs<T> = BTreeMap<String, T>;
