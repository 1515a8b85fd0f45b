//! A host: its disk, its jobs, and what stands for the agent's `serve` on each connection. That is no decision of ours but a
//! relay, so it is a plain one here: it keeps nothing, greets, lists, starts, and joins streams to holders.

use crate::job::{Cause, Holder, Jobs, OnDisk, Truth, Wants};
use crate::net::{ConnId, decoded};
use sessd_agent::machine::{Event, LinkId};
use sessd_proto::messages::{self as m, Close, CloseReason, LinkAct, LinkAnswer, Liveness};
use sessd_proto::{Frame, Header, RawFrame, hello};
use std::collections::BTreeMap;

/// Where jobs lie on every host.
pub const FOLDER: &str = "/jobs";

/// What a host has done by others, in order.
#[derive(Debug)]
pub enum Doing {
    /// These bytes, of one frame, go to the manager at the other end.
    Send(ConnId, Vec<u8>),
    /// A request under that number: the disk is read or written when it answers, and some time later that is told.
    Act(ConnId, u64, Box<LinkAct>),
    /// This is kept on the disk of a job, when that answers.
    Keep(String, Box<sessd_agent::machine::keep::Keeping>),
    /// A signal is on its way to the program of a job.
    Signal(String, sessd_agent::machine::ending::Step),
}

/// One host.
#[derive(Debug)]
pub struct Host {
    pub name: String,
    pub boot: u64,
    /// What its wall clock is ahead of the world's.
    pub wall_ahead_ms: i64,
    /// Out of reach until then; its agent answers nothing until then; its disk does not; it is down.
    pub away_until: u64,
    pub stuck_until: u64,
    pub disk_until: u64,
    pub down_until: u64,
    /// It wants a person until then; and it did at some time.
    pub login_until: u64,
    pub wanted_a_login: bool,
    pub holders: Jobs<Holder>,
    pub disk: Jobs<OnDisk>,
    /// Of all jobs that ever were.
    pub truths: Jobs<Truth>,
    /// Streams that are joined to a holder, and back.
    streams: BTreeMap<(ConnId, u16), (String, LinkId)>,
    links: BTreeMap<LinkId, (ConnId, u16)>,
    next_link: u64,
    pub doing: Vec<Doing>,
    /// A job did something since the promises were asked.
    pub touched: bool,
}

impl Host {
    pub fn new(number: usize) -> Self {
        Self {
            name: format!("host{number}"),
            boot: 1,
            wall_ahead_ms: 0,
            away_until: 0,
            stuck_until: 0,
            disk_until: 0,
            down_until: 0,
            login_until: 0,
            wanted_a_login: false,
            holders: Jobs::new(),
            disk: Jobs::new(),
            truths: Jobs::new(),
            streams: BTreeMap::new(),
            links: BTreeMap::new(),
            next_link: 0,
            doing: Vec::new(),
            touched: false,
        }
    }

    /// Is there a way to it, but for the network between?
    pub fn is_reachable(&self, now: u64) -> bool {
        now >= self.away_until && now >= self.down_until
    }

    fn wall(&self, now: u64) -> u64 {
        crate::WALL_BEGAN_MS.saturating_add(now).saturating_add_signed(self.wall_ahead_ms)
    }

    /// When something of a holder is due.
    pub fn deadline(&self) -> u64 {
        self.holders.values().map(Holder::deadline).min().unwrap_or(u64::MAX)
    }

    /// Lets holders do what is due.
    pub fn tick(&mut self, now: u64) {
        let due: Vec<_> =
            self.holders.iter().filter(|(_, h)| h.deadline() <= now).map(|(id, _)| id.clone()).collect();
        for job in due {
            self.with(now, &job, |holder, now, wall, truth| holder.settle(now, wall, truth));
        }
    }

    /// Something happens to a job's holder, if there is one.
    pub fn with(&mut self, now: u64, job: &str, act: impl FnOnce(&mut Holder, u64, u64, &mut Truth)) -> bool {
        let wall = self.wall(now);
        let Some(holder) = self.holders.get_mut(job) else { return false };
        self.touched = true;
        act(holder, now, wall, self.truths.entry(job.to_owned()).or_default());
        self.carry_out(job);
        true
    }

    fn carry_out(&mut self, job: &str) {
        while let Some(wants) = self.holders.get_mut(job).and_then(|holder| holder.wants.pop_front()) {
            match wants {
                Wants::Send(link, bytes) => {
                    let Some((conn, stream)) = self.links.get(&link).copied() else { continue };
                    let is_old = is_old(job);
                    for frame in decoded(&bytes) {
                        let mut out = Vec::new();
                        match raw(&frame).parse() {
                            Ok(Frame::Hello(hello)) if is_old => {
                                let features = hello.features & OLD_FEATURES;
                                Frame::Hello(m::Hello { features, ..hello }).put(stream, &mut out);
                            }
                            _ => raw(&frame).relay(stream, &mut out),
                        }
                        self.doing.push(Doing::Send(conn, out));
                    }
                }
                Wants::Close(link) => self.closed(link, "the holder closed"),
                Wants::Keep(keeping) => self.doing.push(Doing::Keep(job.to_owned(), keeping)),
                Wants::Signal(step) => self.doing.push(Doing::Signal(job.to_owned(), step)),
                Wants::Leave => self.gone(job),
            }
        }
    }

    fn closed(&mut self, link: LinkId, why: &str) {
        if let Some((conn, stream)) = self.links.remove(&link)
            && self.streams.remove(&(conn, stream)).is_some()
        {
            let close = Close { reason: CloseReason::HolderGone as i32, detail: why.into() };
            self.doing.push(Doing::Send(conn, Frame::Close(close).to_bytes(stream)));
        }
    }

    /// A holder is there no more, however it went.
    fn gone(&mut self, job: &str) {
        self.holders.remove(job);
        let links: Vec<_> =
            self.streams.values().filter(|(of, _)| of == job).map(|(_, link)| *link).collect();
        for link in links {
            self.closed(link, "the holder is gone");
        }
    }

    /// All that ran is gone, and the disk is there.
    pub fn reboot(&mut self, now: u64, ms: u64) {
        self.boot += 1;
        self.touched = true;
        self.down_until = self.down_until.max(now + ms);
        for job in self.holders.keys().cloned().collect::<Vec<_>>() {
            if let Some(truth) = self.truths.get_mut(&job) {
                truth.cause.get_or_insert(Cause::Reboot);
            }
            self.gone(&job);
        }
    }

    /// The disk took what a holder wanted kept.
    pub fn kept(&mut self, now: u64, job: &str, keeping: &sessd_agent::machine::keep::Keeping) {
        if let Some(there) = self.disk.get_mut(job) {
            if keeping.wanted.spec {
                there.spec = keeping.spec.clone();
            }
            if keeping.wanted.managers {
                there.managers.clone_from(&keeping.managers);
            }
            if keeping.wanted.exit {
                there.exit.clone_from(&keeping.exit);
                there.screen.clone_from(&keeping.screen);
            }
        }
        self.with(now, job, |holder, now, wall, truth| holder.kept(now, wall, keeping, truth));
    }

    /// A connection begins: the agent greets.
    pub fn connected(&mut self, conn: ConnId) {
        self.doing.push(Doing::Send(conn, Frame::Hello(hello::hello("sim", "")).to_bytes(0)));
    }

    /// A connection ended: its streams leave their holders.
    pub fn disconnected(&mut self, now: u64, conn: ConnId) {
        let over: Vec<_> = self.streams.range((conn, 0)..=(conn, u16::MAX)).map(|(key, _)| *key).collect();
        for key in over {
            self.leave(now, key);
        }
    }

    fn leave(&mut self, now: u64, key: (ConnId, u16)) {
        if let Some((job, link)) = self.streams.remove(&key) {
            self.links.remove(&link);
            self.with(now, &job, |holder, now, wall, truth| {
                holder.handle(now, wall, Event::Closed(link), truth);
            });
        }
    }

    /// A frame of a manager.
    pub fn frame(&mut self, now: u64, conn: ConnId, bytes: &[u8]) {
        let frame = raw(bytes);
        let Ok(parsed) = frame.parse() else { return };
        match (frame.stream, parsed) {
            (0, Frame::Ping(token)) => {
                self.doing.push(Doing::Send(conn, Frame::Pong(token).to_bytes(0)));
            }
            (0, Frame::LinkRequest(request)) => {
                if let Some(act) = request.act {
                    self.doing.push(Doing::Act(conn, request.id, Box::new(act)));
                }
            }
            (0, _) => {}
            (stream, Frame::Open(open)) => self.open(now, conn, stream, &open.job_id),
            (stream, Frame::Close(_)) => self.leave(now, (conn, stream)),
            (stream, parsed) => {
                if let Some((job, link)) = self.streams.get(&(conn, stream)).cloned() {
                    if is_old(&job) && matches!(parsed, Frame::ReadRange(_) | Frame::Send(_)) {
                        let skipped = m::Unsupported { kind: frame.kind.into() };
                        let bytes = Frame::Unsupported(skipped).to_bytes(stream);
                        return self.doing.push(Doing::Send(conn, bytes));
                    }
                    self.with(now, &job, |holder, now, wall, truth| {
                        holder.handle(now, wall, Event::Frame(link, parsed), truth);
                    });
                }
            }
        }
    }

    fn open(&mut self, now: u64, conn: ConnId, stream: u16, job: &str) {
        if !self.holders.get(job).is_some_and(|holder| holder.machine().takes_links()) {
            let reason =
                if self.disk.contains_key(job) { CloseReason::HolderGone } else { CloseReason::NoSuchJob };
            let close = Close { reason: reason as i32, detail: "there is no holder".into() };
            return self.doing.push(Doing::Send(conn, Frame::Close(close).to_bytes(stream)));
        }
        self.next_link += 1;
        let link = LinkId(self.next_link);
        self.streams.insert((conn, stream), (job.to_owned(), link));
        self.links.insert(link, (conn, stream));
        self.with(now, job, |holder, now, wall, truth| {
            holder.handle(now, wall, Event::Opened(link), truth);
        });
    }

    /// Does what was asked for.
    pub fn acts(&mut self, now: u64, act: LinkAct) -> LinkAnswer {
        let refused = |detail: &str, final_answer| {
            LinkAnswer::Refused(m::Refused { detail: detail.into(), final_answer, exit_code: None })
        };
        match act {
            LinkAct::Inventory(_) => LinkAnswer::Inventory(self.inventory(now)),
            LinkAct::Spawn(spawn) => {
                let Some(spec) = spawn.spec else { return refused("no job", true) };
                let (job, wall) = (spec.job_id.clone(), self.wall(now));
                if !self.disk.contains_key(&job) {
                    self.touched = true;
                    let managers = vec![spec.manager_id.clone()];
                    let on_disk =
                        OnDisk { spec: spec.clone(), boot: self.boot, managers, exit: None, screen: None };
                    self.disk.insert(job.clone(), on_disk);
                    let truth = self.truths.entry(job.clone()).or_default();
                    let manager = spec.manager_id.clone();
                    let holder = Holder::new(spec, &manager, now, wall, truth);
                    self.holders.insert(job.clone(), holder);
                    self.carry_out(&job);
                }
                LinkAnswer::Spawned(m::Spawned { pid: 10, folder: FOLDER.into(), ..m::Spawned::default() })
            }
            LinkAct::End(end) => {
                let Some(how) = end.end else { return refused("no end", true) };
                self.next_link += 1;
                let link = LinkId(self.next_link);
                let told = self.with(now, &end.job_id, |holder, now, wall, truth| {
                    holder.handle(now, wall, Event::Opened(link), truth);
                    holder.handle(now, wall, Event::Frame(link, Frame::End(how)), truth);
                    holder.handle(now, wall, Event::Closed(link), truth);
                });
                if told { LinkAnswer::Done(m::Empty {}) } else { refused("there is no holder", false) }
            }
            LinkAct::Forget(job) => {
                let lives = self.holders.contains_key(&job.job_id);
                if lives && self.disk.get(&job.job_id).is_some_and(|there| there.exit.is_none()) {
                    return refused("the job has not ended", false);
                }
                if let Some(there) = self.disk.get_mut(&job.job_id) {
                    there.managers.retain(|manager| *manager != job.manager_id);
                    if there.managers.is_empty() {
                        self.disk.remove(&job.job_id);
                    }
                }
                LinkAnswer::Done(m::Empty {})
            }
            LinkAct::ReadScreen(job) => {
                let screen = self.disk.get(&job.job_id).and_then(|there| there.screen.clone());
                LinkAnswer::Screen(screen.unwrap_or_default())
            }
        }
    }

    fn inventory(&self, now: u64) -> m::Inventory {
        let report = |(job, there): (&String, &OnDisk)| {
            let holder = self.holders.get(job);
            let liveness = match (holder, &there.exit) {
                (_, Some(_)) => Liveness::Exited,
                (Some(_), None) => Liveness::Alive,
                (None, None) => Liveness::Gone,
            };
            m::JobReport {
                spec: Some(there.spec.clone()),
                liveness: liveness as i32,
                exit: there.exit.clone(),
                pid: 10,
                boot_id: format!("boot{}", there.boot),
                holder_answers: holder.is_some(),
                managers: there.managers.clone(),
                folder: FOLDER.into(),
                ..m::JobReport::default()
            }
        };
        m::Inventory {
            boot_id: format!("boot{}", self.boot),
            machine_id: self.name.clone(),
            agent_version: "sim".into(),
            now_ms: self.wall(now),
            jobs: self.disk.iter().map(report).collect(),
            complete: true,
            folder: FOLDER.into(),
            places: vec![FOLDER.into()],
        }
    }
}

/// What a holder of the first versions can do that counts here: it neither gives old output nor types for scripts.
const OLD_FEATURES: u64 = hello::feature::WITHDRAW | hello::feature::WITHDRAWN | hello::feature::ANSWERS;

/// Is a job's holder one of the first versions? One of eight is.
pub fn is_old(job: &str) -> bool {
    job.ends_with(['3', 'b'])
}

/// A whole frame as it lies in memory.
pub fn raw(bytes: &[u8]) -> RawFrame<'_> {
    let header = Header::parse(bytes, usize::MAX).ok().flatten().expect("a whole frame");
    RawFrame::new(header, &bytes[Header::BYTES..])
}
