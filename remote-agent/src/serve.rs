//! One link: its byte stream on our stdin and stdout, one socket per open job. Frames of a job's stream are passed on as
//! they are, only renumbered. Nothing is kept: killed and started again, the same link goes on.
//!
//! Bounds: while the link takes no more, holders are not read (they skip or wait, by what their views asked for); a
//! holder that does not take its input is given up alone.

use crate::conn::{Conn, OUT_LOW, Read};
use crate::detach::{HELD, Plan, Starting, Verdict};
use crate::folder::{self, JobFolder};
use crate::{VERSION, inherit, inventory, leaving};
use rustix::event::{PollFd, PollFlags, Timespec};
use sessd_proto::limits::STREAMS_MAX;
use sessd_proto::messages::{self as m, CloseReason, JobSpec, LinkAct, LinkAnswer, LinkRequest, Liveness};
use sessd_proto::{Frame, hello};
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Child;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// A manager that says nothing for this long is gone, even if nobody told us: the connection may never end by itself.
const SILENCE: Duration = Duration::from_secs(90);
/// How long to look, once a second, for holders that end after a stream closed.
const LOOKS: Duration = Duration::from_secs(10);
/// How long a holder may take to say whether its job runs.
const START: Duration = Duration::from_secs(20);
/// Input bytes that may wait for one holder.
const TO_HOLDER_MAX: usize = 4 << 20;

type Up = Conn<rustix::fd::BorrowedFd<'static>, rustix::fd::BorrowedFd<'static>>;
type Down = Conn<Rc<UnixStream>, Rc<UnixStream>>;

struct Pending {
    request: u64,
    folder: JobFolder,
    starting: Starting,
    /// The spawn's own environment, for what it says of the user's systemd.
    environment: HashMap<String, String>,
    since: Instant,
}

struct Server {
    jobs: PathBuf,
    /// As we found it: a job gets that, not ours.
    descriptors: m::Limit,
    up: Up,
    streams: BTreeMap<u16, Down>,
    pending: Vec<Pending>,
    children: Vec<Child>,
    /// Until when to look at them: a holder ended, as its closed stream says, or is about to.
    look_until: Option<Instant>,
    looked: Instant,
    heard: Instant,
}

/// Serves the link on stdin and stdout until it closes.
///
/// # Errors
/// When the agent's folder cannot be made, or the manager does not speak the protocol.
pub fn run() -> io::Result<()> {
    crate::detach::leave_caller();
    let descriptors = inherit::descriptor_limit();
    raise_descriptor_limit();
    let mut up = Conn::new(rustix::stdio::stdin(), rustix::stdio::stdout())?;
    up.put(0, &Frame::Hello(hello::hello(VERSION, "")));
    let jobs = match folder::jobs() {
        Ok(jobs) => jobs,
        Err(error) => {
            let detail = format!("the agent's folder cannot be used: {error}");
            up.put(0, &Frame::Close(m::Close { reason: CloseReason::Unspecified as i32, detail }));
            up.flush()?;
            return Err(error);
        }
    };
    let mut server = Server {
        jobs,
        descriptors,
        up,
        streams: BTreeMap::new(),
        pending: Vec::new(),
        children: Vec::new(),
        look_until: None,
        looked: Instant::now(),
        heard: Instant::now(),
    };
    // Said before the folder is gone through: a greeting is waited for.
    server.up.flush()?;
    inventory::remove_old(&server.jobs);
    let programs = crate::procfs::programs();
    // Where nothing can be seen of processes, nothing is known of who runs what.
    if !programs.is_empty() {
        folder::remove_unused_agents(&programs);
    }
    while server.turn()? {}
    Ok(())
}

/// One descriptor per open job: the usual soft limit of 1024 is for programs that use select(2).
fn raise_descriptor_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Then there is room for fewer jobs, and opening one more says so.
    let _ = setrlimit(Resource::Nofile, limit);
}

impl Server {
    /// Waits once and does what is there; false when the link is over.
    fn turn(&mut self) -> io::Result<bool> {
        let congested = self.up.waiting() > OUT_LOW;
        let mut fds = Vec::with_capacity(2 + self.streams.len() + self.pending.len());
        fds.push(PollFd::from_borrowed_fd(self.up.reader(), PollFlags::IN));
        let up_out = if self.up.waiting() > 0 { PollFlags::OUT } else { PollFlags::empty() };
        fds.push(PollFd::from_borrowed_fd(self.up.writer(), up_out));
        for down in self.streams.values() {
            let mut flags = if congested { PollFlags::empty() } else { PollFlags::IN };
            if down.waiting() > 0 {
                flags |= PollFlags::OUT;
            }
            fds.push(PollFd::from_borrowed_fd(down.reader(), flags));
        }
        for pending in &self.pending {
            fds.extend(pending.starting.watched().map(|verdict| PollFd::new(verdict, PollFlags::IN)));
        }
        let timeout =
            if self.pending.is_empty() && self.look_until.is_none() { SILENCE.as_secs() as i64 } else { 1 };
        match rustix::event::poll(&mut fds, Some(&Timespec { tv_sec: timeout, tv_nsec: 0 })) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let up_ready = !fds[0].revents().is_empty();
        let streams = self.streams.len();
        let down_ready: Vec<u16> = self
            .streams
            .keys()
            .zip(&fds[2..2 + streams])
            .filter(|(_, fd)| fd.revents().intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR))
            .map(|(id, _)| *id)
            .collect();
        drop(fds);

        let mut open = true;
        if up_ready {
            open = self.read_up()?;
        } else if self.heard.elapsed() > SILENCE {
            open = false;
        }
        // A hang-up is reported even while a congested link keeps us from reading; then it waits.
        if !congested {
            for id in down_ready {
                self.read_down(id);
            }
        }
        self.look_at_pending();
        self.flush_downs();
        let open = open && self.up.flush()? == Read::Open;
        // After what somebody waits for. The end of a holder that nobody talks to through us is seen at a later heartbeat.
        let pause = if self.look_until.is_some() { Duration::from_secs(1) } else { LOOKS };
        if self.looked.elapsed() >= pause {
            self.reap();
            self.look_until =
                self.look_until.filter(|until| Instant::now() < *until && !self.children.is_empty());
        }
        Ok(open)
    }

    fn read_up(&mut self) -> io::Result<bool> {
        let open = self.up.read()? == Read::Open;
        self.heard = Instant::now();
        let mut out = Vec::new();
        let mut requests = Vec::new();
        loop {
            let raw = match self.up.next_frame() {
                Ok(Some(raw)) => raw,
                Ok(None) => break,
                Err(invalid) => {
                    return Err(folder::fault(format!("the manager does not speak our protocol: {invalid}")));
                }
            };
            if raw.stream != 0 && raw.kind != sessd_proto::frame::kind::OPEN {
                let close = raw.kind == sessd_proto::frame::kind::CLOSE;
                if let Some(down) = self.streams.get_mut(&raw.stream) {
                    raw.relay(0, down.out());
                    if close {
                        // The last frames may still be worth something to the holder.
                        let _ = down.flush();
                        self.streams.remove(&raw.stream);
                        self.look_until = Some(Instant::now() + LOOKS);
                    }
                }
                continue;
            }
            let stream = raw.stream;
            match raw.parse().map_err(|e| folder::fault(e.to_string()))? {
                Frame::Hello(theirs) => {
                    if let Err(skew) = hello::negotiate(&theirs) {
                        return Err(folder::fault(skew.to_string()));
                    }
                }
                Frame::Ping(token) => Frame::Pong(token).put(0, &mut out),
                Frame::Open(open) => match open_job(&self.jobs, &open.job_id, self.streams.len()) {
                    Ok(down) => {
                        self.streams.insert(stream, down);
                    }
                    Err(close) => Frame::Close(close).put(stream, &mut out),
                },
                Frame::LinkRequest(request) => requests.push(request),
                Frame::Unknown(kind) if kind & sessd_proto::frame::IGNORABLE == 0 => {
                    Frame::Unsupported(m::Unsupported { kind: kind.into() }).put(0, &mut out);
                }
                _ => {}
            }
        }
        self.up.out().extend_from_slice(&out);
        for request in requests {
            self.answer(request);
        }
        Ok(open)
    }

    /// A holder that ended is a zombie until we look, and a zombie would pass for a process.
    fn reap(&mut self) {
        self.looked = Instant::now();
        self.children.retain_mut(|child| matches!(child.try_wait(), Ok(None)));
    }

    fn reply(&mut self, id: u64, answer: io::Result<LinkAnswer>) {
        let answer = answer.unwrap_or_else(|error| refused(error.to_string(), false));
        self.up.put(0, &Frame::LinkReply(m::LinkReply { id, answer: Some(answer) }));
    }

    fn answer(&mut self, request: LinkRequest) {
        let id = request.id;
        self.reap();
        let answer = match request.act {
            Some(LinkAct::Inventory(_)) => inventory::take(&self.jobs).map(LinkAnswer::Inventory),
            Some(LinkAct::Spawn(spawn)) => match self.spawn(id, &spawn) {
                Ok(Some(answer)) => Ok(answer),
                Ok(None) => return,
                Err(error) => Err(error),
            },
            Some(LinkAct::Forget(job)) => self.forget(&job),
            Some(LinkAct::ReadScreen(job)) => self.read_screen(&job.job_id),
            Some(LinkAct::End(end)) => self.end(&end),
            None => Ok(refused(
                "this agent is older than the manager and does not know this request".into(),
                true,
            )),
        };
        self.reply(id, answer);
    }

    /// Starts a job, once per job id: asked again after a crash, the answer is the job that runs.
    fn spawn(&mut self, request: u64, spawn: &m::Spawn) -> io::Result<Option<LinkAnswer>> {
        let empty = JobSpec::default();
        let spec = spawn.spec.as_ref().unwrap_or(&empty);
        let folder = JobFolder::of(&self.jobs, &spec.job_id)?;
        if folder.exists()? {
            if self.pending.iter().any(|p| p.folder.path() == folder.path()) {
                return Ok(Some(refused("this job is being started".into(), false)));
            }
            let report = inventory::look(&folder, &folder::boot_id());
            let begun = report.pid != 0 || report.exit.is_some() || report.liveness == Liveness::Alive as i32;
            if begun {
                let warnings = facts(report.pid, &spawn.environment).warnings();
                return Ok(Some(LinkAnswer::Spawned(m::Spawned { pid: report.pid, warnings })));
            }
            // A folder without a holder's mark: the start was cut off before there was a job.
        }
        let facts = facts(std::process::id(), &spawn.environment);
        let scope = if facts.wants_scope() { facts.systemd_run.zip(facts.user_manager) } else { None };
        let started = folder.make().and_then(|()| folder.write_spec(spec)).and_then(|()| {
            let agent = own_program().map_err(folder::context("where the agent's own binary is"))?;
            // Of a caller on this machine, or what this login has.
            let mut inherits = spawn.inherited.clone().unwrap_or_default();
            if inherits.limits.is_empty() {
                inherits.limits.push(self.descriptors);
            }
            Starting::begin(&folder, spawn, &inherits, Plan { agent, scope })
        });
        let starting = match started {
            Ok(starting) => starting,
            Err(error) => {
                // Firm: nothing ran. What stays behind is only a folder that nobody asks for again.
                let _ = folder.remove();
                let detail = format!("the job cannot be started on the host ({error})");
                return Ok(Some(refused(detail, true)));
            }
        };
        let environment = spawn.environment.clone();
        self.pending.push(Pending { request, folder, starting, environment, since: Instant::now() });
        Ok(None)
    }

    fn look_at_pending(&mut self) {
        for mut pending in std::mem::take(&mut self.pending) {
            let answer = match pending.starting.look() {
                Verdict::Pending if pending.since.elapsed() < START => {
                    self.pending.push(pending);
                    continue;
                }
                Verdict::Pending => {
                    refused("the job's holder does not say whether the job runs".into(), false)
                }
                Verdict::Runs(pid) => {
                    let warnings = facts(pid, &pending.environment).warnings();
                    LinkAnswer::Spawned(m::Spawned { pid, warnings })
                }
                // Another agent starts it at this moment, and its folder is not ours to remove.
                Verdict::Failed(why) if why == HELD => refused(why, false),
                Verdict::Failed(why) => {
                    // Firm: the holder said that there is no job. A folder that stays is named by the next inventory.
                    let _ = pending.folder.remove();
                    refused(why, true)
                }
            };
            self.children.extend(pending.starting.into_children());
            self.look_until = Some(Instant::now() + LOOKS);
            self.reply(pending.request, Ok(answer));
        }
    }

    fn read_screen(&self, job_id: &str) -> io::Result<LinkAnswer> {
        Ok(LinkAnswer::Screen(JobFolder::of(&self.jobs, job_id)?.screen()?.unwrap_or_default()))
    }

    fn forget(&mut self, job: &m::JobName) -> io::Result<LinkAnswer> {
        let folder = JobFolder::of(&self.jobs, &job.job_id)?;
        if folder.exists()? {
            let report = inventory::look(&folder, &folder::boot_id());
            let over = [Liveness::Exited as i32, Liveness::Gone as i32].contains(&report.liveness);
            if !over && !self.was_cut_off(&folder, &report) {
                return Ok(refused("the job has not ended".into(), false));
            }
            inventory::forget(&folder, &job.manager_id, report.spec.as_ref())?;
        }
        Ok(LinkAnswer::Done(m::Empty {}))
    }

    /// Was the start of this job cut off before there was a holder? Another agent may be about to start one: what is young,
    /// or locked, is left alone.
    fn was_cut_off(&self, folder: &JobFolder, report: &m::JobReport) -> bool {
        let starting = self.pending.iter().any(|p| p.folder.path() == folder.path());
        let old = folder.age_ms("spec").is_none_or(|age| age > START.as_millis() as u64);
        let marked = !matches!(folder.mark(), Ok(None));
        !starting
            && !marked
            && old
            && report.liveness == Liveness::Unknown as i32
            && matches!(folder.try_lock(), Ok(Some(_)))
    }

    fn end(&mut self, request: &m::EndJob) -> io::Result<LinkAnswer> {
        let folder = JobFolder::of(&self.jobs, &request.job_id)?;
        let stream = Rc::new(inventory::connect(&folder)?);
        let mut down: Down = Conn::new(stream.clone(), stream)?;
        down.put(0, &Frame::Hello(hello::hello(VERSION, "")));
        down.put(0, &Frame::End(request.end.clone().unwrap_or_default()));
        // A fresh socket takes a few dozen bytes at once.
        down.flush()?;
        Ok(LinkAnswer::Done(m::Empty {}))
    }

    fn read_down(&mut self, id: u16) {
        let Some(down) = self.streams.get_mut(&id) else { return };
        let mut close = None;
        match down.read() {
            Ok(Read::Open) => {}
            Ok(Read::Closed) => {
                close = Some((CloseReason::HolderUnreachable, "the job's holder closed the talk".to_owned()))
            }
            Err(error) => close = Some((CloseReason::HolderUnreachable, error.to_string())),
        }
        loop {
            match down.next_frame() {
                Ok(Some(raw)) => raw.relay(id, self.up.out()),
                Ok(None) => break,
                Err(invalid) => {
                    close = Some((CloseReason::Protocol, invalid.to_string()));
                    break;
                }
            }
        }
        if let Some((reason, detail)) = close {
            self.streams.remove(&id);
            self.look_until = Some(Instant::now() + LOOKS);
            self.up.put(id, &Frame::Close(m::Close { reason: reason as i32, detail }));
        }
    }

    fn flush_downs(&mut self) {
        let mut stuck = Vec::new();
        for (id, down) in &mut self.streams {
            let broken = !matches!(down.flush(), Ok(Read::Open));
            // A broken one is reported when it is read; a stuck one never would be.
            if !broken && down.waiting() > TO_HOLDER_MAX {
                stuck.push(*id);
            }
        }
        for id in stuck {
            self.streams.remove(&id);
            let detail = "the job's holder does not take its input".to_owned();
            self.up
                .put(id, &Frame::Close(m::Close { reason: CloseReason::HolderUnreachable as i32, detail }));
        }
    }
}

/// Our own binary. A cleaner may have taken its file; the kernel keeps it as long as we run.
fn own_program() -> io::Result<PathBuf> {
    let path = std::env::current_exe()?;
    Ok(if path.exists() { path } else { format!("/proc/{}/exe", std::process::id()).into() })
}

/// What would become of process `pid` at a logout, by the environment it was given.
fn facts(pid: u32, environment: &HashMap<String, String>) -> leaving::Facts {
    let cgroup = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    leaving::here(&cgroup, |name| {
        if environment.is_empty() { std::env::var(name).ok() } else { environment.get(name).cloned() }
    })
}

fn refused(detail: String, final_answer: bool) -> LinkAnswer {
    LinkAnswer::Refused(m::Refused { detail, final_answer })
}

fn open_job(jobs: &std::path::Path, job_id: &str, open: usize) -> Result<Down, m::Close> {
    let close = |reason: CloseReason, detail: String| m::Close { reason: reason as i32, detail };
    if open >= STREAMS_MAX {
        return Err(close(CloseReason::TooMany, "too many jobs are open on this link".into()));
    }
    let folder = JobFolder::of(jobs, job_id).map_err(|e| close(CloseReason::NoSuchJob, e.to_string()))?;
    let stream = match inventory::connect(&folder) {
        Ok(stream) => Rc::new(stream),
        Err(error) => {
            let report = inventory::look(&folder, &folder::boot_id());
            let reason = match (folder.exists(), Liveness::try_from(report.liveness)) {
                (Ok(false), _) => CloseReason::NoSuchJob,
                (_, Ok(Liveness::Gone | Liveness::Exited)) => CloseReason::HolderGone,
                _ => CloseReason::HolderUnreachable,
            };
            return Err(close(reason, error.to_string()));
        }
    };
    Conn::new(stream.clone(), stream).map_err(|e| close(CloseReason::HolderUnreachable, e.to_string()))
}
