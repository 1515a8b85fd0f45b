//! The holder: one process per job, and the only owner of everything about it.
//!
//! ```text
//!             spawn fails: `!why` to the agent, nothing left behind
//!  start ───▶ running ───▶ draining ───▶ ended ───▶ gone
//!               │ the program ends   │ its last bytes are read: last screen and exit record on disk
//!               └─ End, idleness: HUP, TERM, KILL          └─ a manager has the record, or nobody asked for an hour
//! ```
//!
//! One loop: wait, read the PTY, read the connections, write what can be written. The PTY is read whether or not anyone
//! watches; only a view that asked for `lossless` holds it back.

use crate::asked::Asked;
use crate::conn::{Conn, OUT_LOW, OUT_MAX, Read};
use crate::ending::{Ending, Step};
use crate::folder::{HolderMark, JobFolder, boot_id, context, fault};
use crate::idle::{Depth, IdleClock, Processes, Rules};
use crate::input::{Accept, Input};
use crate::sizes::Sizes;
use crate::upkeep::{self, Parts};
use crate::{VERSION, detach, leaving, procfs, pty, wall_ms};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, Signal};
use sessd_proto::frame::put_snapshot;
use sessd_proto::limits::{CHUNK, HOLDER_RING, SCROLLBACK_LINES, SIDE_MAX};
use sessd_proto::messages::{self as m, CloseReason, EndReason, ExitRecord, JobSpec, JobStatus};
use sessd_proto::{Frame, Uuid, hello};
use sessd_terminal::{Cursor, Hub, Next, Size, SnapshotOptions};
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::rc::Rc;
use std::time::Instant;

/// Name of the socket inside the job's folder.
pub const SOCKET: &str = "s";
/// Managers that may watch one job at a time.
const LINKS_MAX: usize = 64;
/// Bytes taken from the PTY before the connections get their turn.
const TURN: usize = 64 * 1024;
/// How far a lossless view may be behind before the PTY is not read.
const LOSSLESS_LAG: u64 = 256 * 1024;
/// How long to wait for more output of a program that has ended, when its terminal is still open elsewhere.
const DRAIN_MS: u64 = 100;
/// How long an ended job's holder waits for a manager that wants its last bytes.
const LINGER_MS: u64 = 3_600_000;
/// How long the others have to take their last bytes once one manager has the exit record.
const LEAVE_MS: u64 = 2_000;
/// Shortest time between two status messages.
const STATUS_MS: u64 = 500;
/// How often to look whether somebody cleaned our socket or folder away.
const LOOK_MS: u64 = 60_000;
/// How often to ask for the program's end where nothing tells of it.
const ASK_MS: u64 = 500;
/// How often our files are made to look used, for cleaners that go by age.
const TOUCH_MS: u64 = 12 * 3_600_000;
/// Lines of scrollback kept with the last screen: as many of these as fit into [`LAST_SCREEN_MAX`].
const LAST_SCREEN_LINES: [usize; 5] = [1_000, 500, 200, 50, 0];
/// Most bytes of a last screen.
const LAST_SCREEN_MAX: usize = 512 * 1024;
/// Managers that are remembered to have held the job.
const MANAGERS_MAX: usize = 64;

type Stream = Conn<Rc<UnixStream>, Rc<UnixStream>>;

/// What one manager wants of this job.
#[derive(Default)]
struct Watch {
    /// It said what it wants.
    subscribed: bool,
    /// Where its output stands; none: it wants none.
    cursor: Option<Cursor>,
    /// The last change of size it was told.
    size_serial: u64,
    scrollback_lines: usize,
    presence: m::Presence,
    /// Asked for and not yet sent, as `from..to`.
    range: Option<(u64, u64)>,
    exit_sent: bool,
}

struct Link {
    conn: Stream,
    watch: Watch,
    broken: bool,
}

struct Holder {
    folder: JobFolder,
    spec: JobSpec,
    pty: pty::Pty,
    pid: u32,
    /// The program by number and start time: once it is gone, its number is anybody's.
    leader: (u32, u64),
    exit_watch: Option<File>,
    listener: UnixListener,
    hub: Hub,
    sizes: Sizes,
    input: Input,
    asked: Asked,
    acks: Acks,
    idle: IdleClock,
    ending: Option<Ending>,
    /// Nothing of a job that was to be ended is alive, or all was done that could be.
    swept: bool,
    status: Option<ExitStatus>,
    drain_until_ms: Option<u64>,
    pty_open: bool,
    exit: Option<ExitRecord>,
    /// The exit record is on disk.
    exit_kept: bool,
    leave_at_ms: Option<u64>,
    links: Vec<Link>,
    /// In this turn a manager said that its last view left on purpose.
    left_on_purpose: bool,
    began: Instant,
    last_active_ms: u64,
    status_due_ms: Option<u64>,
    last_status: JobStatus,
    look_due_ms: u64,
    upkeep_due_ms: u64,
    touch_due_ms: u64,
    mark: HolderMark,
    /// Ids of the managers that have held the job.
    managers: Vec<String>,
    /// What a logout could do to the job.
    warnings: Vec<String>,
    /// Where the kernel counts what it killed of this job, and the count at the start.
    memory_kills: Option<(PathBuf, u64)>,
    lock: File,
    socket: Option<upkeep::Id>,
}

/// Holds the job in `folder` until it has ended and its exit record was taken.
///
/// # Errors
/// When the job cannot be started; the agent that started us is told the same.
pub fn run(folder: &Path) -> io::Result<()> {
    let folder = JobFolder::at(folder.to_owned());
    let mut verdict = detach::leave_login(&folder)?;
    match Holder::start(folder) {
        Ok(mut holder) => {
            writeln!(verdict, "{}", holder.pid)?;
            drop(verdict);
            holder.run()
        }
        Err(error) => {
            writeln!(verdict, "!{}", error.to_string().replace(['\n', '\r'], " "))?;
            Err(error)
        }
    }
}

fn bind() -> io::Result<(UnixListener, Option<upkeep::Id>)> {
    // We hold the lock, so a socket that is here belongs to nobody alive.
    match std::fs::remove_file(SOCKET) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(SOCKET).map_err(context("the job's socket"))?;
    std::fs::set_permissions(SOCKET, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    listener.set_nonblocking(true)?;
    Ok((listener, upkeep::at(Path::new(SOCKET))?))
}

impl Holder {
    fn start(folder: JobFolder) -> io::Result<Self> {
        let lock = folder.try_lock()?.ok_or_else(|| fault(detach::HELD))?;
        let spec = folder.spec()?.ok_or_else(|| fault("this job was never asked for"))?;
        if folder.mark()?.is_some() || folder.exit()?.is_some() {
            // A start that was given up for another one and came late must not run the job a second time.
            return Err(fault("this job was started before"));
        }
        let size = size_of(spec.cols, spec.rows).unwrap_or(Size { cols: 80, rows: 24 });
        let (listener, socket) = bind()?;
        let own = std::process::id();
        let start = procfs::stat(own).map_or(0, |s| s.start);
        let mark = HolderMark { pid: own, start, boot_id: boot_id() };
        let managers: Vec<String> =
            Some(&spec.manager_id).filter(|id| Uuid::parse_str(id).is_ok()).cloned().into_iter().collect();
        // All that a full disk can refuse comes before the program: it is never run twice, nor without a record.
        folder.write_managers(&managers)?;
        folder.write_mark(&mark)?;
        let pty = pty::spawn(&spec, size.cols, size.rows).inspect_err(|_| {
            // Nothing ran: whoever asks again is to hear why, and not that a holder was killed.
            folder.remove_mark();
        })?;
        let cgroup = own_cgroup_text();
        Ok(Self {
            exit_watch: pty::exit_watch(&pty.child),
            pid: pty.child.id(),
            leader: (pty.child.id(), procfs::stat(pty.child.id()).map_or(0, |s| s.start)),
            hub: Hub::new(size, SCROLLBACK_LINES, HOLDER_RING),
            sizes: Sizes::default(),
            input: Input::new(),
            asked: Asked::default(),
            acks: Acks::default(),
            idle: IdleClock::new(rules_of(&spec), 0),
            ending: None,
            swept: false,
            status: None,
            drain_until_ms: None,
            pty_open: true,
            exit: None,
            exit_kept: false,
            leave_at_ms: None,
            links: Vec::new(),
            left_on_purpose: false,
            began: Instant::now(),
            last_active_ms: wall_ms(),
            status_due_ms: None,
            last_status: JobStatus::default(),
            look_due_ms: 0,
            upkeep_due_ms: LOOK_MS,
            touch_due_ms: TOUCH_MS,
            mark,
            managers,
            warnings: warnings(&cgroup),
            memory_kills: leaving::own_cgroup(&cgroup).and_then(|path| {
                let path = path.join("memory.events");
                let count = leaving::killed_for_memory(&std::fs::read_to_string(&path).ok()?)?;
                Some((path, count))
            }),
            folder,
            spec,
            pty,
            listener,
            lock,
            socket,
        })
    }

    fn now(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }

    fn run(&mut self) -> io::Result<()> {
        let mut buffer = vec![0; 16 * 1024];
        loop {
            let ready = self.wait()?;
            if ready.listener {
                self.accept();
            }
            if ready.pty {
                self.read_pty(&mut buffer);
            }
            self.write_pty();
            self.read_links(&ready.links);
            self.write_pty();
            let now = self.now();
            self.reap_child(now);
            self.take_steps(now);
            self.finish_exit(now);
            self.serve_links(now);
            if self.may_leave(now) {
                return Ok(());
            }
        }
    }

    /// Waits for the first thing to do.
    fn wait(&mut self) -> io::Result<Ready> {
        let now = self.now();
        let timeout = self.next_deadline(now).map(|at| {
            let ms = at.saturating_sub(now);
            Timespec { tv_sec: (ms / 1000) as i64, tv_nsec: (ms % 1000 * 1_000_000) as i64 }
        });
        let mut fds = Vec::with_capacity(4 + 2 * self.links.len());
        fds.push(PollFd::new(&self.listener, PollFlags::IN));
        if let (Some(watch), None) = (&self.exit_watch, self.status) {
            fds.push(PollFd::new(watch, PollFlags::IN));
        }
        let pty_at = fds.len();
        let mut pty_flags = PollFlags::empty();
        if self.pty_open {
            if !self.held_back() {
                pty_flags |= PollFlags::IN;
            }
            if self.input.next().is_some() {
                pty_flags |= PollFlags::OUT;
            }
        }
        if !pty_flags.is_empty() {
            fds.push(PollFd::new(&self.pty.master, pty_flags));
        }
        let links_at = fds.len();
        for link in &self.links {
            let mut flags = PollFlags::IN;
            if link.conn.waiting() > 0 {
                flags |= PollFlags::OUT;
            }
            fds.push(PollFd::from_borrowed_fd(link.conn.reader(), flags));
        }
        match rustix::event::poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(Ready {
            listener: !fds[0].revents().is_empty(),
            pty: pty_at < links_at
                && fds[pty_at].revents().intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR),
            links: fds[links_at..].iter().map(|fd| !(fd.revents() - PollFlags::OUT).is_empty()).collect(),
        })
    }

    fn next_deadline(&self, now: u64) -> Option<u64> {
        let gone = self.status.is_some();
        let ending =
            self.ending.as_ref().filter(|e| !(self.swept || e.given_up())).map(|e| e.due_ms(gone, now));
        // Without a descriptor that tells of the program's end its terminal does: it hangs up. Where that is not watched,
        // or is over already, we have to ask.
        let ask = (self.exit_watch.is_none() && !gone && (!self.pty_open || self.held_back()))
            .then(|| now + ASK_MS);
        let drain = self.drain_until_ms.filter(|_| self.exit.is_none() && self.is_swept());
        [ending, ask, drain, self.leave_at_ms, self.status_due_ms, self.acks.due_ms(), Some(self.look_due_ms)]
            .into_iter()
            .flatten()
            .min()
    }

    /// Nothing is left to be ended.
    fn is_swept(&self) -> bool {
        self.swept || self.ending.is_none()
    }

    /// A lossless view is so far behind that the job has to wait for it.
    fn held_back(&self) -> bool {
        self.links.iter().any(|link| {
            link.watch.presence.lossless
                && link
                    .watch
                    .cursor
                    .as_ref()
                    .is_some_and(|c| self.hub.head() - c.offset().min(self.hub.head()) > LOSSLESS_LAG)
        })
    }

    fn interactive(&self) -> bool {
        self.links.iter().any(|link| link.watch.presence.interactive)
    }

    fn accept(&mut self) {
        while let Ok((stream, _)) = self.listener.accept() {
            let own = rustix::process::getuid();
            let friend = rustix::net::sockopt::socket_peercred(&stream).is_ok_and(|peer| peer.uid == own);
            if !friend || self.links.len() >= LINKS_MAX {
                continue;
            }
            let stream = Rc::new(stream);
            if let Ok(mut conn) = Conn::new(stream.clone(), stream) {
                conn.put(0, &Frame::Hello(hello::hello(VERSION, "")));
                self.links.push(Link { conn, watch: Watch::default(), broken: false });
            }
        }
    }

    fn read_pty(&mut self, buffer: &mut [u8]) {
        let interactive = self.interactive();
        let mut replies = Vec::new();
        let mut taken = 0;
        while taken < TURN {
            match pty::read(&self.pty.master, buffer) {
                Ok(None) => break,
                Ok(Some(0)) | Err(_) => {
                    self.pty_open = false;
                    self.input.clear();
                    break;
                }
                Ok(Some(n)) => {
                    taken += n;
                    if interactive {
                        self.hub.feed(&buffer[..n]);
                        self.asked.output(&buffer[..n], self.began.elapsed().as_millis() as u64);
                    } else {
                        self.hub.feed_answering(&buffer[..n], &mut replies);
                    }
                }
            }
        }
        if taken > 0 {
            let now = self.now();
            self.idle.traffic(now);
            self.last_active_ms = wall_ms();
            self.status_soon(now);
            if let Some(until) = &mut self.drain_until_ms {
                *until = now + DRAIN_MS;
            }
        }
        self.input.answer(&replies);
    }

    fn write_pty(&mut self) {
        while self.pty_open
            && let Some(bytes) = self.input.next()
        {
            match rustix::io::write(&self.pty.master, bytes) {
                Ok(0) => break,
                Ok(n) => {
                    if let Some((view, seq)) = self.input.wrote(n) {
                        let now = self.now();
                        self.acks.wrote(view, seq, n, now);
                    }
                }
                Err(rustix::io::Errno::INTR) => {}
                // Full: the poll tells when there is room. Broken: reading tells.
                Err(_) => break,
            }
        }
    }

    fn read_links(&mut self, ready: &[bool]) {
        let mut links = std::mem::take(&mut self.links);
        let mut watchers_changed = false;
        // A connection accepted in this turn was not waited for.
        for (link, _) in links.iter_mut().zip(ready).filter(|(_, ready)| **ready) {
            match link.conn.read() {
                Ok(Read::Open) => {}
                Ok(Read::Closed) | Err(_) => link.broken = true,
            }
            let mut out = Vec::new();
            loop {
                let frame = match link.conn.next_frame() {
                    Ok(Some(raw)) => raw.parse(),
                    Ok(None) => break,
                    Err(invalid) => Err(invalid),
                };
                let result = match frame {
                    Ok(frame) => self.handle(&mut link.watch, frame, &mut out, &mut watchers_changed),
                    Err(invalid) => Err(invalid.to_string()),
                };
                if let Err(detail) = result {
                    Frame::Close(m::Close { reason: CloseReason::Protocol as i32, detail }).put(0, &mut out);
                    link.broken = true;
                    break;
                }
            }
            link.conn.out().extend_from_slice(&out);
        }
        self.links = links;
        if watchers_changed {
            self.watchers_changed();
        }
    }

    fn handle(
        &mut self,
        watch: &mut Watch,
        frame: Frame<'_>,
        out: &mut Vec<u8>,
        watchers_changed: &mut bool,
    ) -> Result<(), String> {
        let now = self.now();
        match frame {
            Frame::Hello(theirs) => {
                hello::negotiate(&theirs).map_err(|skew| skew.to_string())?;
            }
            Frame::Ping(token) => Frame::Pong(token).put(0, out),
            Frame::Subscribe(subscribe) => {
                let mut cursor = match subscribe.from {
                    Some(from) => {
                        watch.size_serial = self.sizes.before(from);
                        Cursor::at(from)
                    }
                    None => Cursor::needing_snapshot(),
                };
                cursor.grant(subscribe.credit);
                watch.cursor = (!subscribe.status_only).then_some(cursor);
                watch.subscribed = true;
                watch.scrollback_lines = (subscribe.scrollback_lines as usize).min(SCROLLBACK_LINES);
                // Of a job that has ended there is nothing to say but how, after its last bytes.
                if self.exit.is_none() {
                    Frame::Status(self.look_at_status(now)).put(0, out);
                }
            }
            Frame::Unsubscribe(_) => watch.cursor = None,
            Frame::Credit(total) => {
                if let Some(cursor) = &mut watch.cursor {
                    cursor.grant(total);
                }
            }
            Frame::ReadRange(range) => {
                watch.range = Some((range.from, range.to.min(self.hub.head())));
            }
            Frame::Input { view, seq, withdrawn, bytes } => {
                if self.status.is_some() {
                    return Ok(());
                }
                self.idle.traffic(now);
                self.last_active_ms = wall_ms();
                match self.input.accept(view, seq, withdrawn, bytes) {
                    Accept::New => self.asked.input(bytes),
                    Accept::Seen(seq) | Accept::Missing(seq) => Frame::InputAck { view, seq }.put(0, out),
                    Accept::TooMuch => return Err("a view sent more input than its window".into()),
                }
            }
            Frame::Resize(resize) => {
                if let Some(size) = size_of(resize.cols, resize.rows)
                    && size != self.hub.terminal().size()
                {
                    // The model first: the program may draw for the new size at once.
                    self.hub.flush_held();
                    self.hub.resize(size);
                    self.sizes.changed(self.hub.head(), size, self.hub.oldest());
                    // Fails only when the PTY is gone, which reading it tells.
                    let _ = pty::resize(&self.pty.master, size.cols, size.rows);
                    self.status_soon(now);
                }
            }
            Frame::End(end) => {
                self.end(EndReason::try_from(end.reason).unwrap_or(EndReason::Deleted), end.force, now)
            }
            Frame::Presence(presence) => {
                for id in &presence.view_ids {
                    if let Ok(view) = Uuid::from_slice(id) {
                        let seq = self.input.written(view).unwrap_or(0);
                        Frame::InputAck { view, seq }.put(0, out);
                    }
                }
                self.remember(&presence.manager_id);
                watch.presence = presence;
                *watchers_changed = true;
                if watch.presence.views == 0 && watch.presence.left_on_purpose {
                    self.left_on_purpose = true;
                }
            }
            Frame::Describe(new) => {
                if !new.keep_name {
                    self.spec.name = new.name;
                }
                if !new.keep_tags {
                    self.spec.tags = new.tags;
                }
                (self.spec.idle_timeout_ms, self.spec.reap_unattended) =
                    (new.idle_timeout_ms, new.reap_unattended);
                self.idle.set_rules(rules_of(&self.spec));
                self.look_no_later(now);
                // The manager keeps what its user said. Ours is for whoever adopts the job.
                let _ = self.folder.write_spec(&self.spec);
            }
            Frame::ExitAck(_) if self.exit.is_some() => {
                self.leave_at_ms = Some(self.leave_at_ms.unwrap_or(u64::MAX).min(now + LEAVE_MS));
            }
            Frame::Unknown(kind) if kind & sessd_proto::frame::IGNORABLE == 0 => {
                Frame::Unsupported(m::Unsupported { kind: kind.into() }).put(0, out);
            }
            // Frames of the other direction, and what may be ignored.
            _ => {}
        }
        Ok(())
    }

    fn watchers_changed(&mut self) {
        let now = self.now();
        let attached = self.links.iter().any(|l| l.watch.presence.views > 0);
        let on_purpose = std::mem::take(&mut self.left_on_purpose);
        self.idle.views(attached, on_purpose, now);
        self.look_no_later(now);
        // Who holds the job is part of its status, and so is when it ends.
        self.status_soon(now);
        if self.interactive() {
            self.hub.flush_held();
        } else {
            // Who was asked has left without a word: we answer in its place.
            let mut replies = Vec::new();
            for query in self.asked.left(now) {
                self.hub.answer(&query, &mut replies);
            }
            self.input.answer(&replies);
        }
    }

    fn end(&mut self, reason: EndReason, force: bool, now: u64) {
        if self.status.is_some() {
            return;
        }
        match &mut self.ending {
            Some(ending) => ending.hurry(force, now),
            None => self.ending = Some(Ending::new(reason, force, now)),
        }
    }

    /// The program's end is noticed here and nowhere else.
    fn reap_child(&mut self, now: u64) {
        if self.status.is_none()
            && let Ok(Some(status)) = self.pty.child.try_wait()
        {
            self.status = Some(status);
            self.drain_until_ms = Some(now + DRAIN_MS);
        }
    }

    fn take_steps(&mut self, now: u64) {
        self.sweep(now);
        if now < self.look_due_ms {
            return;
        }
        if self.exit.is_none() {
            let depth = self.idle.depth(now);
            self.idle.look(self.look_at_processes(depth), depth, now);
            if self.idle.is_due(now) {
                self.end(EndReason::Reaped, false, now);
            }
            if self.idle.warning_ms(now).is_some() != self.last_status.reap_at_ms.is_some() {
                self.status_soon(now);
            }
        }
        // Together with a look, so that an idle holder wakes once a minute and not twice.
        if now + LOOK_MS / 2 >= self.upkeep_due_ms {
            self.upkeep_due_ms = now + LOOK_MS;
            self.keep_up(now);
        }
        let look = self.idle.next_look_ms(now).filter(|_| self.ending.is_none() && self.exit.is_none());
        self.look_due_ms = look.map_or(self.upkeep_due_ms, |at| at.max(now + 1).min(self.upkeep_due_ms));
    }

    /// Something changed that may bring the next look forward.
    fn look_no_later(&mut self, now: u64) {
        if let Some(at) = self.idle.next_look_ms(now).filter(|_| self.ending.is_none() && self.exit.is_none())
        {
            self.look_due_ms = self.look_due_ms.min(at);
        }
    }

    /// Ends what is to be ended: the program, and what it leaves behind.
    fn sweep(&mut self, now: u64) {
        let Some(ending) = self.ending.as_mut().filter(|_| !self.swept) else { return };
        if let Some(step) = ending.step(now) {
            let family = procfs::family(self.leader, ending.known());
            for pid in ending.victims(&family, self.leader) {
                signal(pid, step);
            }
            if self.status.is_none() {
                // Where there is no /proc: at least the program itself.
                signal(self.pid, step);
            }
        }
        if self.status.is_some() {
            self.swept = ending.given_up() || {
                let family = procfs::family(self.leader, ending.known());
                ending.victims(&family, self.leader).is_empty()
            };
        }
    }

    fn look_at_processes(&self, depth: Depth) -> Option<Processes> {
        let leader = procfs::stat(self.pid)?;
        let at_prompt = leader.state == 'S' && procfs::arguments(self.pid).is_some_and(|a| is_prompt(&a));
        let alone = || match depth {
            // Where the kernel does not list children, the thorough look decides.
            Depth::Shell => procfs::childless(self.pid) != Some(false),
            Depth::Session => {
                let all = procfs::family(self.leader, &[]);
                let family = Ending::new(EndReason::Reaped, false, 0).victims(&all, self.leader);
                family == [self.pid]
            }
        };
        Some(Processes { cpu: leader.cpu, bare_prompt: at_prompt && alone() })
    }

    /// Makes again what a cleaner took, and keeps what is there from looking old.
    fn keep_up(&mut self, now: u64) {
        if self.exit.is_some() {
            // Whoever removes the folder of a job that has ended means it. A disk that was full may have room now.
            if !self.exit_kept {
                self.keep_exit();
            }
            return;
        }
        // What fails now is tried again in a minute: the disk may be full, or away.
        let _ = self.make_again();
        if !self.warnings.is_empty() {
            // The user may have done what they say.
            self.warnings = warnings(&own_cgroup_text());
            if self.warnings != self.last_status.warnings {
                self.status_soon(now);
            }
        }
        if now >= self.touch_due_ms {
            self.touch_due_ms = now + TOUCH_MS;
            self.folder.touch();
        }
    }

    fn make_again(&mut self) -> io::Result<()> {
        let path = self.folder.path().to_owned();
        let at = |name: &str| upkeep::at(&path.join(name));
        let lock = upkeep::Id::from(&self.lock.metadata()?);
        let there = Parts {
            folder: upkeep::at(&path)? == Some(upkeep::Id::from(&std::fs::metadata(".")?)),
            lock: at("lock")? == Some(lock),
            spec: at("spec")?.is_some(),
            mark: at("holder")?.is_some(),
            managers: at("managers")?.is_some(),
            socket: self.socket.is_some() && at(SOCKET)? == self.socket,
        };
        let missing = upkeep::missing(there);
        if missing.folder {
            self.folder.make()?;
            std::env::set_current_dir(&path)?;
        }
        if missing.lock {
            // Nobody else may have it: the agent starts no job whose folder says that it was started.
            self.lock = self.folder.try_lock()?.ok_or_else(|| fault(detach::HELD))?;
        }
        if missing.spec {
            self.folder.write_spec(&self.spec)?;
        }
        if missing.mark {
            self.folder.write_mark(&self.mark)?;
        }
        if missing.managers {
            self.folder.write_managers(&self.managers)?;
        }
        if missing.socket {
            (self.listener, self.socket) = bind()?;
        }
        Ok(())
    }

    /// A manager holds the job: its exit record is kept for it.
    fn remember(&mut self, manager_id: &str) {
        let known = self.managers.iter().any(|id| id == manager_id);
        if !known && self.managers.len() < MANAGERS_MAX && Uuid::parse_str(manager_id).is_ok() {
            self.managers.push(manager_id.to_owned());
            if self.folder.write_managers(&self.managers).is_err() && self.exit.is_none() {
                // Made again within a minute.
                let _ = std::fs::remove_file(self.folder.path().join("managers"));
            }
        }
    }

    /// Once the program has ended and its last bytes are read: what is left of it goes to disk.
    fn finish_exit(&mut self, now: u64) {
        let Some(status) = self.status.filter(|_| self.exit.is_none()) else { return };
        if !self.is_swept() || (self.pty_open && self.drain_until_ms.is_some_and(|until| now < until)) {
            return;
        }
        self.hub.flush_held();
        let (code, killed_by) = (status.code(), status.signal());
        let reason = match &self.ending {
            Some(ending) => ending.reason,
            None if killed_by.is_some() => EndReason::Signaled,
            None => EndReason::Exited,
        };
        let out_of_memory = self.ending.is_none()
            && (killed_by == Some(Signal::KILL.as_raw()) || code == Some(128 + Signal::KILL.as_raw()))
            && self.memory_kills.as_ref().is_some_and(|(path, before)| {
                let events = std::fs::read_to_string(path).unwrap_or_default();
                leaving::killed_for_memory(&events).is_some_and(|now| now > *before)
            });
        let detail = match &self.ending {
            _ if out_of_memory => "killed: out of memory",
            Some(ending) if ending.given_up() => "some of its processes could not be ended",
            _ => "",
        };
        let exit = ExitRecord {
            reason: reason as i32,
            code,
            signal: killed_by,
            at_ms: wall_ms(),
            final_offset: self.hub.head(),
            detail: detail.to_owned(),
            out_of_memory,
        };
        self.exit = Some(exit);
        self.keep_exit();
        self.leave_at_ms = Some(now + LINGER_MS);
        self.status_due_ms = None;
    }

    /// Writes the last words to disk. A full disk must not keep them from a manager that is connected: it is told in any
    /// case, and they are written as soon as there is room.
    fn keep_exit(&mut self) {
        let Some(exit) = &self.exit else { return };
        // The folder, if a cleaner took it just before the end.
        let kept = self.folder.make().and_then(|()| {
            if self.folder.spec()?.is_none() {
                self.folder.write_spec(&self.spec)?;
                self.folder.write_mark(&self.mark)?;
                self.folder.write_managers(&self.managers)?;
            }
            self.folder.write_exit(exit)
        });
        self.exit_kept = kept.is_ok();
        let (terminal, mut screen) = (self.hub.terminal(), Vec::new());
        for lines in LAST_SCREEN_LINES {
            screen.clear();
            terminal.snapshot(snapshot_options(lines), &mut screen);
            if screen.len() <= LAST_SCREEN_MAX {
                let size = terminal.size();
                // Without it the record is still the truth.
                let _ = self.folder.write_screen(size.cols, size.rows, &screen);
                break;
            }
        }
    }

    /// The managers that are connected, by name, each once. Two may have one name; one may have two links for a moment.
    fn managers_now(&self) -> Vec<String> {
        let mut seen: Vec<(&str, &str)> = Vec::new();
        for presence in self.links.iter().map(|link| &link.watch.presence) {
            let manager = (presence.manager_id.as_str(), presence.manager_name.as_str());
            if !manager.1.is_empty() && !seen.contains(&manager) {
                seen.push(manager);
            }
        }
        seen.into_iter().map(|(_, name)| name.to_owned()).collect()
    }

    fn status_soon(&mut self, now: u64) {
        if self.exit.is_none() {
            self.status_due_ms.get_or_insert(now + STATUS_MS);
        }
    }

    fn look_at_status(&mut self, now: u64) -> JobStatus {
        let terminal = self.hub.terminal();
        let size = terminal.size();
        let status = JobStatus {
            head: self.hub.head(),
            oldest: self.hub.oldest(),
            cols: size.cols.into(),
            rows: size.rows.into(),
            title: terminal.title().to_owned(),
            cwd: terminal.cwd().map(str::to_owned).or_else(|| cwd_of(self.pid)).unwrap_or_default(),
            foreground: pty::foreground(&self.pty.master)
                .and_then(procfs::stat)
                .map(|s| s.comm)
                .unwrap_or_default(),
            pid: self.pid,
            last_active_ms: self.last_active_ms,
            idle_ms: self.idle.idle_ms(now),
            reap_at_ms: self.idle.warning_ms(now).map(|ms| wall_ms() + ms),
            agent_version: VERSION.to_owned(),
            command: self.pty.command.clone(),
            managers: self.managers_now(),
            warnings: self.warnings.clone(),
        };
        self.last_status = status.clone();
        status
    }

    /// Hands every link what it is due, and lets go of the broken ones.
    fn serve_links(&mut self, now: u64) {
        if self.status_due_ms.is_some_and(|at| now >= at) {
            self.status_due_ms = None;
            let status = self.look_at_status(now);
            for link in &mut self.links {
                link.conn.put(0, &Frame::Status(status.clone()));
            }
        }
        let acks_due = self.acks.due_ms().is_some_and(|at| now >= at);
        for link in &mut self.links {
            let before = link.conn.waiting();
            pump(&self.hub, &self.sizes, link);
            // What was typed is acknowledged together with what came of it: one wake-up on the way back, not two.
            if acks_due || link.conn.waiting() > before {
                self.acks.put(&link.watch.presence.view_ids, &mut link.conn);
            }
            if let Some(exit) = &self.exit
                && !link.watch.exit_sent
                && link.watch.subscribed
                && link.watch.cursor.as_ref().is_none_or(|c| c.offset() >= self.hub.head())
            {
                link.watch.exit_sent = true;
                link.conn.put(0, &Frame::Exited(exit.clone()));
            }
            match link.conn.flush() {
                Ok(Read::Open) => {}
                Ok(Read::Closed) | Err(_) => link.broken = true,
            }
            link.broken |= link.conn.waiting() > OUT_MAX;
        }
        if acks_due {
            self.acks.forget();
        }
        let before = self.links.len();
        self.links.retain(|link| !link.broken);
        if self.links.len() != before {
            self.watchers_changed();
        }
    }

    fn may_leave(&self, now: u64) -> bool {
        self.leave_at_ms.is_some_and(|at| now >= at || (at - now <= LEAVE_MS && self.links.is_empty()))
    }
}

/// Acknowledgements on their way. They wait a moment for the output that the input brings, so that the echo of a key does
/// not have to share its way with them.
#[derive(Default)]
struct Acks {
    waiting: Vec<(Uuid, u64)>,
    bytes: usize,
    due_ms: Option<u64>,
}

impl Acks {
    /// How long one waits at the most.
    const WAIT_MS: u64 = 20;
    /// After so many bytes it does not wait: the view's window is to stay open.
    const BYTES: usize = 4096;

    fn wrote(&mut self, view: Uuid, seq: u64, n: usize, now: u64) {
        match self.waiting.iter_mut().find(|(id, _)| *id == view) {
            Some((_, last)) => *last = seq,
            None => self.waiting.push((view, seq)),
        }
        self.bytes += n;
        let due = if self.bytes >= Self::BYTES { now } else { now + Self::WAIT_MS };
        self.due_ms = Some(self.due_ms.map_or(due, |at| at.min(due)));
    }

    fn due_ms(&self) -> Option<u64> {
        self.due_ms
    }

    /// Tells a link about its own views.
    fn put(&mut self, views: &[Vec<u8>], conn: &mut Stream) {
        self.waiting.retain(|(view, seq)| {
            let theirs = views.iter().any(|id| id.as_slice() == view.as_bytes());
            if theirs {
                conn.put(0, &Frame::InputAck { view: *view, seq: *seq });
            }
            !theirs
        });
        if self.waiting.is_empty() {
            self.forget();
        }
    }

    /// What waits still is of views that are gone; they ask when they come back.
    fn forget(&mut self) {
        self.waiting.clear();
        (self.bytes, self.due_ms) = (0, None);
    }
}

struct Ready {
    listener: bool,
    pty: bool,
    links: Vec<bool>,
}

fn pump(hub: &Hub, sizes: &Sizes, link: &mut Link) {
    if let Some((from, to)) = link.watch.range.take() {
        put_range(hub, from, to, link.conn.out());
    }
    let Some(cursor) = &mut link.watch.cursor else { return };
    while link.conn.waiting() < OUT_LOW {
        let mut room = CHUNK;
        if let Some((at, size, serial)) = sizes.after(link.watch.size_serial) {
            if at <= cursor.offset() {
                link.watch.size_serial = serial;
                link.conn
                    .put(0, &Frame::Resize(m::Resize { cols: size.cols.into(), rows: size.rows.into() }));
                continue;
            }
            room = room.min((at - cursor.offset()) as usize);
        }
        match cursor.next(hub, room) {
            Next::Bytes { offset, bytes } => link.conn.put(0, &Frame::Output { offset, bytes }),
            Next::Snapshot { at, skipped } => {
                let mut snapshot = Vec::new();
                hub.terminal().snapshot(snapshot_options(link.watch.scrollback_lines), &mut snapshot);
                cursor.charge(snapshot.len() as u64);
                link.watch.size_serial = sizes.latest();
                let size = hub.terminal().size();
                put_snapshot(0, at, skipped, (size.cols, size.rows), &snapshot, link.conn.out());
            }
            Next::NoCredit | Next::Idle => break,
        }
    }
}

/// Answers a range read. At most one ring's worth, so it is bounded like a snapshot is.
fn put_range(hub: &Hub, from: u64, to: u64, out: &mut Vec<u8>) {
    let mut at = from.max(hub.oldest());
    let expired = at != from;
    while at < to {
        let Ok(bytes) = hub.read(at, CHUNK.min((to - at) as usize)) else { break };
        if bytes.is_empty() {
            break;
        }
        Frame::Range { offset: at, more: true, expired, bytes }.put(0, out);
        at += bytes.len() as u64;
    }
    Frame::Range { offset: at, more: false, expired, bytes: &[] }.put(0, out);
}

fn snapshot_options(scrollback_lines: usize) -> SnapshotOptions {
    SnapshotOptions { scrollback_lines, ..SnapshotOptions::default() }
}

fn size_of(cols: u32, rows: u32) -> Option<Size> {
    let side = |n: u32| u16::try_from(n).ok().filter(|n| *n > 0).map(|n| n.min(SIDE_MAX));
    Some(Size { cols: side(cols)?, rows: side(rows)? })
}

fn signal(pid: u32, step: Step) {
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return };
    // A process that is gone already is what we want.
    let _ = match step {
        Step::Hangup => {
            let _ = rustix::process::kill_process(pid, Signal::HUP);
            // A stopped job must run to take its signal.
            rustix::process::kill_process(pid, Signal::CONT)
        }
        Step::Terminate => {
            let _ = rustix::process::kill_process(pid, Signal::TERM);
            rustix::process::kill_process(pid, Signal::CONT)
        }
        Step::Kill => rustix::process::kill_process(pid, Signal::KILL),
    };
}

fn rules_of(spec: &JobSpec) -> Rules {
    Rules {
        limit_ms: spec.idle_timeout_ms,
        unattended: spec.reap_unattended,
        anonymous: spec.name.is_empty(),
    }
}

fn own_cgroup_text() -> String {
    // Without it the place is unknown, which warns of nothing.
    std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default()
}

fn warnings(cgroup: &str) -> Vec<String> {
    leaving::here(cgroup, |name| std::env::var(name).ok()).warnings()
}

fn cwd_of(pid: u32) -> Option<String> {
    Some(std::fs::read_link(format!("/proc/{pid}/cwd")).ok()?.to_string_lossy().into_owned())
}

/// Is this a shell that reads its commands from the terminal? One that runs a script or `-c` is somebody's work.
fn is_prompt(arguments: &[String]) -> bool {
    const SHELLS: &[&str] = &[
        "sh", "bash", "zsh", "fish", "dash", "ksh", "mksh", "ash", "csh", "tcsh", "nu", "elvish", "xonsh",
        "pwsh", "busybox",
    ];
    let Some((program, rest)) = arguments.split_first() else { return false };
    let name = program.rsplit('/').next().unwrap_or(program).trim_start_matches('-');
    const HARMLESS: &[&str] =
        &["--login", "--interactive", "--norc", "--noprofile", "--posix", "--no-config"];
    let harmless = |a: &String| {
        HARMLESS.contains(&a.as_str()) || (a.starts_with('-') && !a.starts_with("--") && !a.contains('c'))
    };
    SHELLS.contains(&name) && rest.iter().all(harmless)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_is_a_shell_without_a_script() {
        let prompt = |words: &[&str]| is_prompt(&words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>());
        assert!(prompt(&["-bash"]));
        assert!(prompt(&["/usr/bin/zsh", "-i", "--login"]));
        assert!(!prompt(&["bash", "-c", "make"]));
        assert!(!prompt(&["bash", "-lc", "make"]));
        assert!(!prompt(&["nu", "--commands=make"]));
        assert!(!prompt(&["sh", "build.sh"]));
        assert!(!prompt(&["vim"]));
        assert!(!prompt(&[]));
    }
}
