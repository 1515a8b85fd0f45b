//! One link: its byte stream on our stdin and stdout, one socket per open job. Frames of a job's stream are passed on as
//! they are, only renumbered. Nothing is kept: killed and started again, the same link goes on.
//!
//! Bounds: while the link takes no more, holders are not read (they skip or wait, by what their views asked for); a
//! holder that does not take its input is given up alone; what touches a disk or waits for a holder is done beside the
//! loop (`disk`), and a request that it keeps waiting for too long is refused for now.

use crate::io::acts::{self, Begun, START, refused};
use crate::io::conn::{Conn, Read};
use crate::io::detach::{Failure, HELD, Starting, Verdict};
use crate::io::disk::Disk;
use crate::io::folder::{self, JobFolder};
use crate::io::listing::{Listing, ListingResult, NO_ANSWER};
use crate::io::places::{Places, real_home};
use crate::io::readiness::{Readiness, is_readable};
use crate::io::relay::{self, Relay};
use crate::io::{inherit, inventory};
use crate::machine::outbox::OUT_LOW;
use crate::{VERSION, platform};
use rustix::event::PollFlags;
use sessd_proto::limits::STREAMS_MAX;
use sessd_proto::messages::{self as m, CloseReason, LinkAct, LinkAnswer, LinkRequest};
use sessd_proto::{Frame, hello};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Child;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A manager that says nothing for this long is gone, even if nobody told us: the connection may never end by itself.
const SILENCE: Duration = Duration::from_secs(90);
/// How long to look, once a second, for holders that end after a stream closed.
const LOOKS: Duration = Duration::from_secs(10);
/// How long a disk or a holder may keep a request waiting.
const PATIENCE: Duration = Duration::from_secs(10);
/// Threads that may wait for a disk at a time.
const THREADS: usize = 8;
/// What may wait until it is known where the home is; what comes then is answered by what is known.
const EARLY: usize = 1024;
/// Inventories that may be taken at a time.
const LISTINGS: usize = 8;

type Up = Conn<rustix::fd::BorrowedFd<'static>, rustix::fd::BorrowedFd<'static>>;

/// A holder that has not said yet whether its job runs.
struct Pending {
    request: u64,
    folder: JobFolder,
    starting: Starting,
    /// The spawn's own environment, for what it says of the user's systemd.
    environment: HashMap<String, String>,
    since: Instant,
}

/// What was done beside the loop.
enum Done {
    /// A step of an inventory.
    Told(ListingResult),
    /// A job's holder is reached, or why not.
    Opened(Result<UnixStream, m::Close>),
    /// A job is being started.
    Begun(Box<(JobFolder, Starting, Instant)>),
    /// A request is answered.
    Answer(LinkAnswer),
    /// Where the home really is.
    Home(Option<PathBuf>),
    /// What nobody waits for.
    Nothing,
}

/// What a task is for.
enum For {
    /// Where the home really is.
    Home,
    Inventory,
    Stream(u16),
    Spawn {
        request: u64,
        environment: HashMap<String, String>,
    },
    Request(u64),
    Nobody,
}

/// Something that is done beside the loop.
struct Task {
    id: u64,
    what: For,
    /// The job's id; empty: it is not of one job.
    job: String,
    since: Instant,
}

/// What the loop waits for.
#[derive(Clone, Copy)]
enum Key {
    Up,
    UpOut,
    Disk,
    Down(u16),
    /// Of a holder that is being started: all of them are looked at in every turn.
    Verdict,
}

/// Something asked for before it is known where jobs may lie.
enum Early {
    Open(u16, m::Open),
    Request(Box<LinkRequest>),
}

struct Server {
    places: Arc<Places>,
    /// Where the home really is has not been found yet, and what waits for that.
    early: Option<VecDeque<Early>>,
    /// Folders that the manager's records named last.
    named: Vec<String>,
    /// As we found it: a job gets that, not ours.
    descriptors: m::Limit,
    up: Up,
    streams: BTreeMap<u16, Relay>,
    disk: Disk<Done>,
    /// Tasks by number: what for, and since when.
    tasks: Vec<Task>,
    listings: Vec<Listing>,
    /// What was waited for in vain and still stands still, by the number of the task: nothing else is tried with it.
    stuck: Vec<(u64, PathBuf)>,
    /// Answers that wait for room on the link: nobody's key is to wait behind all of them.
    pages: VecDeque<(u64, m::Inventory, bool)>,
    /// What is left of old jobs and old agents was looked for.
    swept: bool,
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
/// When the manager does not speak the protocol, or there is no descriptor left.
pub fn run() -> io::Result<()> {
    crate::io::detach::leave_caller();
    let descriptors = inherit::descriptor_limit();
    raise_descriptor_limit();
    let mut up = Conn::new(rustix::stdio::stdin(), rustix::stdio::stdout())?;
    up.put(0, &Frame::Hello(hello::hello(VERSION, "")));
    // Said before any file is looked at: a greeting is waited for.
    up.flush()?;
    let mut server = Server {
        places: Arc::new(Places::here(None)),
        early: Some(VecDeque::new()),
        named: Vec::new(),
        descriptors,
        up,
        streams: BTreeMap::new(),
        disk: Disk::new(THREADS)?,
        tasks: Vec::new(),
        listings: Vec::new(),
        stuck: Vec::new(),
        pages: VecDeque::new(),
        swept: false,
        pending: Vec::new(),
        children: Vec::new(),
        look_until: None,
        looked: Instant::now(),
        heard: Instant::now(),
    };
    server.put(For::Home, String::new(), || Done::Home(real_home()));
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
        let (mut up_ready, mut disk_ready, mut down_ready) = (false, false, Vec::new());
        for (key, came) in self.wait(congested)? {
            match key {
                Key::Up => up_ready = true,
                Key::Disk => disk_ready = true,
                Key::Down(id) if is_readable(came) => down_ready.push(id),
                Key::UpOut | Key::Down(_) | Key::Verdict => {}
            }
        }

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
        if disk_ready {
            for (id, done) in self.disk.done() {
                self.was_done(id, done);
            }
        }
        self.look_at_tasks();
        self.look_at_pending();
        self.go_on_listing();
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

    fn wait(&self, congested: bool) -> io::Result<Vec<(Key, PollFlags)>> {
        let mut readiness = Readiness::with_capacity(3 + self.streams.len() + self.pending.len());
        readiness.watch(Key::Up, self.up.reader(), PollFlags::IN);
        let mut flags = PollFlags::empty();
        flags.set(PollFlags::OUT, self.up.waiting() > 0);
        readiness.watch(Key::UpOut, self.up.writer(), flags);
        readiness.watch(Key::Disk, self.disk.watched(), PollFlags::IN);
        for (id, down) in self.streams.iter().filter_map(|(id, stream)| Some((*id, stream.down()?))) {
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::IN, !congested);
            flags.set(PollFlags::OUT, down.waiting() > 0);
            readiness.watch(Key::Down(id), down.reader(), flags);
        }
        for verdict in self.pending.iter().flat_map(|pending| pending.starting.watched()) {
            readiness.watch(Key::Verdict, verdict.as_fd(), PollFlags::IN);
        }
        let waits = !self.pending.is_empty() || self.look_until.is_some() || !self.tasks.is_empty();
        let timeout = if waits { Duration::from_secs(1) } else { SILENCE };
        Ok(readiness.wait(Some(timeout.as_millis() as u64))?.collect())
    }

    fn read_up(&mut self) -> io::Result<bool> {
        let open = self.up.read()? == Read::Open;
        self.heard = Instant::now();
        let mut out = Vec::new();
        let mut asked = Vec::new();
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
                if let Some(stream) = self.streams.get_mut(&raw.stream) {
                    raw.relay(0, stream.out());
                    if close {
                        stream.leave();
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
                Frame::Ping(token) => {
                    Frame::Pong(token).put(0, &mut out);
                }
                Frame::Open(open) => {
                    // What comes for it is kept from now on.
                    self.streams.insert(stream, Relay::opening(0));
                    asked.push(Early::Open(stream, open));
                }
                Frame::LinkRequest(request) => asked.push(Early::Request(Box::new(request))),
                Frame::Unknown(kind) if kind & sessd_proto::frame::IGNORABLE == 0 => {
                    Frame::Unsupported(m::Unsupported { kind: kind.into() }).put(0, &mut out);
                }
                _ => {}
            }
        }
        self.up.out().extend_from_slice(&out);
        for early in asked {
            match (&mut self.early, early) {
                (Some(waiting), early) if waiting.len() < EARLY => waiting.push_back(early),
                (_, Early::Open(stream, open)) => self.open(stream, open),
                (_, Early::Request(request)) => self.answer(*request),
            }
        }
        Ok(open)
    }

    /// Joins a stream to its job's holder.
    fn open(&mut self, stream: u16, open: m::Open) {
        let (places, job) = (self.places.clone(), open.job_id.clone());
        // It may have been closed again meanwhile.
        if !self.streams.get(&stream).is_some_and(|stream| stream.waits_for(0)) {
            return;
        }
        if self.is_stuck(&job) {
            return self.close(stream, relay::unreachable(NO_ANSWER.into()));
        }
        if self.streams.len() > STREAMS_MAX {
            return self.close(stream, too_many());
        }
        match self.disk.put(move || Done::Opened(acts::open_job(&places, &open.job_id))) {
            Some(id) => {
                if let Some(opening) = self.streams.get_mut(&stream) {
                    opening.begin(id);
                }
                self.tasks.push(Task { id, what: For::Stream(stream), job, since: Instant::now() });
            }
            None => self.close(stream, too_many()),
        }
    }

    /// A holder that ended is a zombie until we look, and a zombie would pass for a process.
    fn reap(&mut self) {
        self.looked = Instant::now();
        self.children.retain_mut(|child| matches!(child.try_wait(), Ok(None)));
    }

    fn reply(&mut self, id: u64, answer: LinkAnswer) {
        let reply = |answer| Frame::LinkReply(m::LinkReply { id, answer: Some(answer), more: false });
        if !self.up.try_put(0, &reply(answer)) {
            self.up.put(0, &reply(refused("the answer is longer than any may be".into(), true)));
        }
    }

    /// Does something beside the loop; where no more can wait, it is refused for now.
    fn put(&mut self, what: For, job: String, task: impl FnOnce() -> Done + Send + 'static) {
        if let For::Request(request) | For::Spawn { request, .. } = what
            && self.is_stuck(&job)
        {
            return self.reply(request, refused(NO_ANSWER.into(), false));
        }
        match (self.disk.put(task), what) {
            (Some(id), what) => self.tasks.push(Task { id, what, job, since: Instant::now() }),
            (None, For::Request(id) | For::Spawn { request: id, .. }) => {
                self.reply(id, refused("too much waits for this host's disk: try again".into(), false));
            }
            (None, For::Home | For::Inventory | For::Stream(_) | For::Nobody) => {}
        }
    }

    /// Does something that was tried with this job stand still?
    fn is_stuck(&self, job: &str) -> bool {
        self.stuck.iter().any(|(_, path)| path.file_name().is_some_and(|name| name == job))
    }

    fn answer(&mut self, request: LinkRequest) {
        let id = request.id;
        self.reap();
        let places = self.places.clone();
        match request.act {
            Some(LinkAct::Inventory(_)) if self.listings.len() >= LISTINGS => {
                self.reply(id, refused("too many inventories are being taken: try again".into(), false));
            }
            Some(LinkAct::Inventory(asked)) => {
                // What the manager's records name is looked into from now on, whatever is asked for.
                self.places = Arc::new(places.and(&asked.places));
                self.named = asked.places;
                self.listings.push(Listing::new(id, &self.places, asked.manager_id));
            }
            Some(LinkAct::Spawn(spawn)) => self.spawn(id, spawn),
            Some(LinkAct::Forget(job)) => {
                let starting = self.is_starting(&job.job_id);
                self.put(For::Request(id), job.job_id.clone(), move || {
                    answered(acts::forget(&places, &job, starting))
                });
            }
            Some(LinkAct::ReadScreen(job)) => {
                self.put(For::Request(id), job.job_id.clone(), move || {
                    answered(acts::read_screen(&places, &job.job_id))
                });
            }
            Some(LinkAct::End(end)) => {
                self.put(For::Request(id), end.job_id.clone(), move || {
                    answered(acts::end_job(&places, &end))
                });
            }
            None => self.reply(
                id,
                refused("this agent is older than the manager and does not know this request".into(), true),
            ),
        }
    }

    /// Is a job of this id being started through us?
    fn is_starting(&self, job_id: &str) -> bool {
        let is_its = |task: &Task| matches!(task.what, For::Spawn { .. }) && task.job == job_id;
        self.tasks.iter().any(is_its) || self.pending.iter().any(|p| p.folder.is_of(job_id))
    }

    fn spawn(&mut self, request: u64, spawn: m::Spawn) {
        let job_id = spawn.spec.as_ref().map(|spec| spec.job_id.clone()).unwrap_or_default();
        if self.is_starting(&job_id) {
            return self.reply(request, refused("this job is being started".into(), false));
        }
        let (places, environment, descriptors) =
            (self.places.clone(), spawn.environment.clone(), self.descriptors);
        self.put(For::Spawn { request, environment }, job_id, move || {
            match acts::begin(&places, &spawn, descriptors) {
                Ok(Begun::Starting(started)) => {
                    let (folder, starting) = *started;
                    Done::Begun(Box::new((folder, starting, Instant::now())))
                }
                Ok(Begun::Before(answer)) => Done::Answer(answer),
                Err(error) => Done::Answer(refused(error.to_string(), false)),
            }
        });
    }

    fn take_task(&mut self, id: u64) -> Option<Task> {
        let at = self.tasks.iter().position(|task| task.id == id)?;
        Some(self.tasks.swap_remove(at))
    }

    fn was_done(&mut self, id: u64, done: Done) {
        self.stuck.retain(|(task, _)| *task != id);
        match (self.take_task(id).map(|task| task.what), done) {
            (_, Done::Told(told)) => {
                let mut told = Some(told);
                for listing in &mut self.listings {
                    if listing.told(id, &mut told) {
                        break;
                    }
                }
            }
            (Some(For::Stream(number)), Done::Opened(opened)) => self.opened(number, id, opened),
            (Some(For::Spawn { request, environment, .. }), Done::Begun(begun)) => {
                let (folder, starting, since) = *begun;
                self.pending.push(Pending { request, folder, starting, environment, since });
            }
            // Nobody waits for it any more, and its job runs or does not: whoever asks again hears which.
            (_, Done::Begun(begun)) => self.children.extend(begun.1.into_children()),
            (Some(For::Spawn { request, .. } | For::Request(request)), Done::Answer(answer)) => {
                self.reply(request, answer);
            }
            (_, Done::Home(real_home)) => self.home_is_known(real_home),
            _ => {}
        }
    }

    fn opened(&mut self, number: u16, task: u64, opened: Result<UnixStream, m::Close>) {
        // It may have been closed, and another opened under its number.
        let Some(stream) = self.streams.get_mut(&number).filter(|stream| stream.waits_for(task)) else {
            return;
        };
        let close = match opened {
            Ok(socket) => match stream.join(socket) {
                Ok(()) => return,
                Err(error) => relay::unreachable(error.to_string()),
            },
            Err(close) => close,
        };
        self.close(number, close);
    }

    fn close(&mut self, number: u16, close: m::Close) {
        self.streams.remove(&number);
        self.look_until = Some(Instant::now() + LOOKS);
        self.up.put(number, &Frame::Close(close));
    }

    /// Whoever waits for what stands still is told so.
    fn look_at_tasks(&mut self) {
        if self.tasks.is_empty() {
            return;
        }
        self.disk.keep_going();
        for id in self.disk.overdue() {
            let Some(task) = self.tasks.iter().find(|task| task.id == id) else { continue };
            let at_once = matches!(task.what, For::Inventory | For::Home);
            let patience = if at_once { Duration::ZERO } else { PATIENCE };
            if task.since.elapsed() < patience {
                continue;
            }
            self.disk.give_up(id);
            let Some(task) = self.take_task(id) else { continue };
            if !task.job.is_empty() {
                self.stuck.push((id, PathBuf::from(&task.job)));
            }
            match task.what {
                For::Inventory => {
                    let path = self.listings.iter_mut().find_map(|listing| listing.give_up(id));
                    self.stuck.extend(path.map(|path| (id, path)));
                }
                For::Stream(number) => {
                    self.opened(number, id, Err(relay::unreachable(NO_ANSWER.into())));
                }
                For::Request(request) | For::Spawn { request, .. } => {
                    self.reply(request, refused(NO_ANSWER.into(), false));
                }
                // The jobs elsewhere can be told all the same, and what lies in the home is told to stand still.
                For::Home => self.home_is_known(None),
                For::Nobody => {}
            }
        }
    }

    /// Where the home really is, or that nobody knows: what waited for that goes on. It may be found later.
    fn home_is_known(&mut self, real_home: Option<PathBuf>) {
        self.places = Arc::new(Places::here(real_home).and(&self.named));
        for early in self.early.take().into_iter().flatten() {
            match early {
                Early::Open(stream, open) => self.open(stream, open),
                Early::Request(request) => self.answer(*request),
            }
        }
    }

    fn go_on_listing(&mut self) {
        let (disk, tasks, stuck) = (&mut self.disk, &mut self.tasks, &self.stuck);
        for listing in &mut self.listings {
            let is_stuck = |path: &std::path::Path| stuck.iter().any(|(_, known)| known == path);
            listing.go_on(is_stuck, |task| {
                let id = disk.put(move || Done::Told(task()))?;
                tasks.push(Task { id, what: For::Inventory, job: String::new(), since: Instant::now() });
                Some(id)
            });
        }
        let (done, under_way): (Vec<_>, Vec<_>) = self.listings.drain(..).partition(Listing::is_done);
        self.listings = under_way;
        for listing in done {
            let request = listing.request;
            let mut pages = listing.pages();
            let last = pages.pop_back();
            self.pages.extend(pages.into_iter().map(|page| (request, page, true)));
            self.pages.extend(last.map(|page| (request, page, false)));
            self.sweep();
        }
        while self.up.waiting() < OUT_LOW
            && let Some((id, page, more)) = self.pages.pop_front()
        {
            let answer = Some(LinkAnswer::Inventory(page));
            self.up.put(0, &Frame::LinkReply(m::LinkReply { id, answer, more }));
        }
    }

    /// Takes away what is left of old jobs and old agents, once a link and after what somebody waits for.
    fn sweep(&mut self) {
        if std::mem::replace(&mut self.swept, true) {
            return;
        }
        let places = self.places.clone();
        self.put(For::Nobody, String::new(), move || {
            let programs = platform::programs();
            for place in places.iter() {
                inventory::remove_old(place.jobs());
                // Where nothing can be seen of processes, nothing is known of who runs what.
                if let Some(programs) = &programs {
                    folder::remove_unused_agents(&place.programs(), programs);
                }
            }
            Done::Nothing
        });
    }

    fn look_at_pending(&mut self) {
        for mut pending in std::mem::take(&mut self.pending) {
            let answer = match pending.starting.look() {
                Verdict::Pending if pending.since.elapsed() < START => {
                    self.pending.push(pending);
                    continue;
                }
                // A program is started from a disk.
                Verdict::Next => {
                    let Pending { request, folder, mut starting, environment, since } = pending;
                    let job = folder.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
                    self.put(For::Spawn { request, environment }, job, move || {
                        starting.go_on();
                        Done::Begun(Box::new((folder, starting, since)))
                    });
                    continue;
                }
                Verdict::Pending => {
                    refused("the job's holder does not say whether the job runs".into(), false)
                }
                Verdict::Runs(pid) => acts::spawned(pid, &pending.environment, &pending.folder),
                // Another agent starts it at this moment, and its folder is not ours to remove.
                Verdict::Failed(failure) if failure.why == HELD => refused(failure.why, false),
                Verdict::Failed(Failure { why: detail, exit_code }) => {
                    // Firm: the holder said that there is no job. A folder that stays is named by the next inventory.
                    let folder = pending.folder.clone();
                    self.children.extend(pending.starting.into_children());
                    let job = String::new();
                    self.put(For::Request(pending.request), job, move || {
                        let _ = folder.remove();
                        Done::Answer(LinkAnswer::Refused(m::Refused {
                            detail,
                            final_answer: true,
                            exit_code,
                        }))
                    });
                    continue;
                }
            };
            self.children.extend(pending.starting.into_children());
            self.look_until = Some(Instant::now() + LOOKS);
            self.reply(pending.request, answer);
        }
    }

    fn read_down(&mut self, id: u16) {
        let Some(down) = self.streams.get_mut(&id).and_then(Relay::down_mut) else { return };
        let mut close = None;
        match down.read() {
            Ok(Read::Open) => {}
            Ok(Read::Closed) => {
                close = Some(relay::unreachable("the job's holder closed the connection".into()))
            }
            Err(error) => close = Some(relay::unreachable(error.to_string())),
        }
        loop {
            match down.next_frame() {
                Ok(Some(raw)) => raw.relay(id, self.up.out()),
                Ok(None) => break,
                Err(invalid) => {
                    close =
                        Some(m::Close { reason: CloseReason::Protocol as i32, detail: invalid.to_string() });
                    break;
                }
            }
        }
        if let Some(close) = close {
            self.close(id, close);
        }
    }

    fn flush_downs(&mut self) {
        let stuck: Vec<u16> = self
            .streams
            .iter_mut()
            .filter_map(|(id, stream)| stream.flush_is_stuck().then_some(*id))
            .collect();
        for id in stuck {
            self.close(id, relay::unreachable("the job's holder does not take its input".into()));
        }
    }
}

fn too_many() -> m::Close {
    let detail = "too many jobs are open on this link".to_owned();
    m::Close { reason: CloseReason::TooMany as i32, detail }
}

fn answered(answer: io::Result<LinkAnswer>) -> Done {
    Done::Answer(answer.unwrap_or_else(|error| refused(error.to_string(), false)))
}
