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
//! watches; only a view that asked for `lossless` holds it back, and what was read and is costly to follow (`output`). What is
//! said on the connections is in `talk`, what is kept on disk in `keep`, what comes round by the clock in `looks`, the way to the exit record in `end`.

mod end;
mod keep;
mod looks;
mod output;
mod talk;

use crate::asked::Asked;
use crate::ending::Ending;
use crate::folder::{HolderMark, JobFolder, boot_id, context, fault};
use crate::idle::{IdleClock, Rules};
use crate::input::Input;
use crate::memory::MemoryKills;
use crate::sizes::Sizes;
use crate::{detach, leaving, procfs, pty, steady_ms, upkeep};
use keep::Keep;
use looks::TOUCH_MS;
use output::Unfed;
use rustix::event::{PollFd, PollFlags, Timespec};
use sessd_proto::limits::{COMMAND_SHOWN_MAX, HOLDER_RING, SCROLLBACK_LINES, SIDE_MAX};
use sessd_proto::messages::{ExitRecord, JobSpec, JobStatus};
use sessd_proto::{Uuid, bounds};
use sessd_terminal::{Hub, Size, SnapshotOptions};
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::ExitStatus;
use std::time::Instant;
use talk::{Acks, Link};

/// Name of the socket inside the job's folder.
pub const SOCKET: &str = "s";
/// How far a lossless view may be behind before the PTY is not read.
const LOSSLESS_LAG: u64 = 256 * 1024;
/// How often to look whether somebody cleaned our socket or folder away.
const LOOK_MS: u64 = 60_000;
/// How often to ask for the program's end where nothing tells of it.
const ASK_MS: u64 = 500;

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
    unfed: Unfed,
    sizes: Sizes,
    input: Input,
    asked: Asked,
    acks: Acks,
    idle: IdleClock,
    ending: Option<Ending>,
    /// Who wanted that, for the exit record; empty: nobody did, or it is not known.
    ended_by: String,
    /// Nothing of a job that was to be ended is alive, or all was done that could be.
    swept: bool,
    status: Option<ExitStatus>,
    drain_until_ms: Option<u64>,
    pty_open: bool,
    exit: Option<ExitRecord>,
    /// The exit record is on disk.
    exit_kept: bool,
    /// The last screen is on disk.
    screen_kept: bool,
    leave_at_ms: Option<u64>,
    links: Vec<Link>,
    /// The views that the links speak for.
    views_here: Vec<Uuid>,
    /// In this turn a manager said that its last view left on purpose.
    left_on_purpose: bool,
    began: Instant,
    /// When the job last wrote or was typed into, and when it ended, by [`steady_ms`].
    active_at_ms: u64,
    ended_at_ms: u64,
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
    /// Where the kernel counts what it kills for memory.
    memory_kills: Option<MemoryKills>,
    lock: File,
    socket: Option<upkeep::Id>,
    keep: Keep,
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
        let keep = Keep::new()?;
        let mut pty = pty::spawn(&spec, size.cols, size.rows).inspect_err(|_| {
            // Nothing ran: whoever asks again is to hear why, and not that a holder was killed.
            folder.remove_mark();
        })?;
        // From here on it is only shown.
        bounds::shorten(&mut pty.command, COMMAND_SHOWN_MAX);
        let cgroup = own_cgroup_text();
        Ok(Self {
            exit_watch: pty::exit_watch(&pty.child),
            pid: pty.child.id(),
            leader: (pty.child.id(), procfs::stat(pty.child.id()).map_or(0, |s| s.start)),
            hub: Hub::new(size, SCROLLBACK_LINES, HOLDER_RING),
            unfed: Unfed::default(),
            sizes: Sizes::default(),
            input: Input::new(),
            asked: Asked::default(),
            acks: Acks::default(),
            idle: IdleClock::new(rules_of(&spec), 0),
            ending: None,
            ended_by: String::new(),
            swept: false,
            status: None,
            drain_until_ms: None,
            pty_open: true,
            exit: None,
            exit_kept: false,
            screen_kept: false,
            leave_at_ms: None,
            links: Vec::new(),
            views_here: Vec::new(),
            left_on_purpose: false,
            began: Instant::now(),
            active_at_ms: steady_ms(),
            ended_at_ms: 0,
            status_due_ms: None,
            last_status: JobStatus::default(),
            look_due_ms: 0,
            upkeep_due_ms: LOOK_MS,
            touch_due_ms: TOUCH_MS,
            mark,
            managers,
            warnings: warnings(&cgroup),
            memory_kills: MemoryKills::of(&cgroup),
            folder,
            spec,
            pty,
            listener,
            lock,
            socket,
            keep,
        })
    }

    fn now(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }

    fn run(&mut self) -> io::Result<()> {
        loop {
            let ready = self.wait()?;
            if ready.listener {
                self.accept();
            }
            if ready.pty || self.may_feed() {
                self.read_pty();
            }
            self.write_pty();
            self.read_links(&ready.links);
            self.write_pty();
            let now = self.now();
            self.reap_child(ready.program, now);
            self.take_steps(now);
            self.finish_exit(now);
            self.go_on_keeping(now);
            self.serve_links(now);
            if self.may_leave(now) {
                return Ok(());
            }
        }
    }

    /// Waits for the first thing to do.
    fn wait(&mut self) -> io::Result<Ready> {
        let now = self.now();
        let due = if self.may_feed() { Some(now) } else { self.next_deadline(now) };
        let timeout = due.map(|at| {
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
            if !self.held_back() && self.unfed.is_empty() {
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
        let links_end = fds.len();
        fds.extend(self.keep.watched().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        match rustix::event::poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(Ready {
            listener: !fds[0].revents().is_empty(),
            program: fds[1..pty_at].iter().any(|watch| !watch.revents().is_empty()),
            pty: pty_at < links_at
                && fds[pty_at].revents().intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR),
            links: fds[links_at..links_end]
                .iter()
                .map(|fd| !(fd.revents() - PollFlags::OUT).is_empty())
                .collect(),
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
        let silent = self.links.iter().filter_map(Link::silent_at_ms).min();
        [
            ending,
            ask,
            drain,
            silent,
            self.leave_at_ms,
            self.status_due_ms,
            self.acks.due_ms(),
            self.keep.due_ms(now),
            Some(self.look_due_ms),
        ]
        .into_iter()
        .flatten()
        .min()
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
}

struct Ready {
    listener: bool,
    program: bool,
    pty: bool,
    links: Vec<bool>,
}

fn snapshot_options(scrollback_lines: usize) -> SnapshotOptions {
    SnapshotOptions { scrollback_lines, ..SnapshotOptions::default() }
}

fn size_of(cols: u32, rows: u32) -> Option<Size> {
    let side = |n: u32| u16::try_from(n).ok().filter(|n| *n > 0).map(|n| n.min(SIDE_MAX));
    // The PTY has the size that the model has.
    Some(Size { cols: side(cols)?, rows: side(rows)? }.clamped())
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
