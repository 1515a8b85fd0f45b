//! A holder's process around its machine: the PTY, the program on it, the connections, the clocks and the loop. What is to
//! be done is decided in [`crate::machine`]; here it is carried out.
//!
//! One loop: wait, read the PTY, read the connections, do what the machine says, write what can be written. The PTY is read
//! whether or not anyone watches, as long as the machine has room. Files are worked on beside the loop ([`super::keep`]).

use crate::io::channels::{self, Beside, Listening, Socket};
use crate::io::conn::{self, Read, Written};
use crate::io::disk::Disk;
use crate::io::folder::{HolderMark, JobFolder, context, fault};
use crate::io::keep::{Done, Task};
use crate::io::readiness::{Readiness, is_readable};
use crate::io::upkeep::{self, Id};
use crate::io::{detach, inherit, inventory, processes, pty, report};
use crate::machine::channels::{AGENT, SocketEvent, SocketId};
use crate::machine::keep::{Keeping, Kept};
use crate::machine::process::Ident;
use crate::machine::{Effect, Event, HolderMachine, Job, LinkId, Now, Observed, size_of};
use crate::{platform, wall_ms};
use rustix::event::PollFlags;
use sessd_proto::limits::COMMAND_SHOWN_MAX;
use sessd_proto::messages::{ChannelFailure, JobSpec};
use sessd_proto::{Decoder, Uuid, bounds};
use sessd_terminal::Size;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::time::Instant;

/// Name of the socket inside the job's folder.
pub const SOCKET: &str = "s";
/// Name of the socket inside the job's folder at which its programs find their ssh-agent.
pub(super) const AGENT_SOCKET: &str = "a";
/// How often to ask for the program's end where nothing tells of it.
const ASK_MS: u64 = 500;
/// Bytes taken from the PTY before the connections get their turn.
const TURN: usize = 64 * 1024;
/// So few bytes are all there was, as a rule: they are passed on before we look for more. Where there is more, the poll tells.
const SHORT: usize = 256;

/// One connection of a manager.
struct Peer {
    id: LinkId,
    socket: UnixStream,
    decoder: Decoder,
}

struct Holder {
    machine: HolderMachine,
    folder: JobFolder,
    mark: HolderMark,
    pty: pty::Pty,
    /// The program by number and start time: once it is gone, its number is anybody's.
    leader: Ident,
    exit_watch: Option<OwnedFd>,
    /// Its end was told to the machine.
    reaped: bool,
    listener: UnixListener,
    peers: Vec<Peer>,
    links: u64,
    began: Instant,
    /// As of this turn.
    now: Now,
    memory: Option<platform::MemoryCount>,
    lock: (File, Id),
    old_lock: Option<File>,
    socket: Option<Id>,
    /// That of the job's ssh-agent, where it has one.
    agent_socket: Option<Option<Id>>,
    disk: Disk<Done>,
    keeping: bool,
    sockets: Vec<(SocketId, Socket)>,
    accepted: u64,
    listeners: Vec<(u64, Listening)>,
    /// Once anything was connected to or listened on.
    beside: Option<Beside>,
    leave: bool,
}

/// What the loop waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Key {
    Listener,
    Program,
    Pty,
    Peer(LinkId),
    Disk,
    Socket(SocketId),
    /// A listener, by its number.
    Channel(u64),
    Beside,
}

/// Holds the job in `folder` until it has ended and its exit record was taken.
///
/// # Errors
/// When the job cannot be started; the agent that started us is told the same.
pub fn run(folder: &Path) -> io::Result<()> {
    let folder = JobFolder::at(folder.to_owned());
    let mut verdict = detach::daemonize(&folder)?;
    match Holder::start(folder) {
        Ok(mut holder) => {
            // The agent that started us may be gone with its link: the job runs, and the next one finds it.
            let _ = writeln!(verdict, "{}", holder.leader.0);
            drop(verdict);
            holder.run()
        }
        Err(error) => {
            // Where it is the command's fault, with the code that a shell would end with.
            let code = pty::exit_code_of(&error).map_or(String::new(), |code| format!("{code}!"));
            writeln!(verdict, "!{code}{}", error.to_string().replace(['\n', '\r'], " "))?;
            Err(error)
        }
    }
}

/// Listens on a socket in the job's folder.
pub(super) fn bind(name: &str) -> io::Result<(UnixListener, Option<Id>)> {
    Ok((bind_at(name)?, upkeep::at(Path::new(name))?))
}

fn bind_at(name: &str) -> io::Result<UnixListener> {
    // We hold the lock, so a socket that is here belongs to nobody alive.
    match std::fs::remove_file(name) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(name).map_err(context("the job's socket"))?;
    std::fs::set_permissions(name, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

impl Holder {
    fn start(folder: JobFolder) -> io::Result<Self> {
        let lock = folder.try_lock()?.ok_or_else(|| fault(detach::HELD))?;
        let lock_id = Id::from(&lock.metadata()?);
        let spec = folder.spec()?.ok_or_else(|| fault("this job was never asked for"))?;
        if folder.mark()?.is_some() || folder.exit()?.is_some() {
            // A start that was given up for another one and came late must not run the job a second time.
            return Err(fault("this job was started before"));
        }
        let size = size_of(spec.cols, spec.rows).unwrap_or(Size { cols: 80, rows: 24 });
        let (listener, socket) = bind(SOCKET)?;
        let own = std::process::id();
        let start = start_of(own);
        let mark = HolderMark { pid: own, start, boot_id: platform::boot_id() };
        let managers: Vec<String> =
            Some(&spec.manager_id).filter(|id| Uuid::parse_str(id).is_ok()).cloned().into_iter().collect();
        let (agent, agent_socket) = if spec.agent { Some(bind(AGENT_SOCKET)?) } else { None }.unzip();
        // All that a full disk can refuse comes before the program: it is never run twice, nor without a record.
        folder.write_managers(&managers)?;
        folder.write_mark(&mark)?;
        let disk = Disk::new(1)?;
        let mut pty =
            pty::spawn(&spec, size.cols, size.rows, &own_variables(&folder, &spec)).inspect_err(|_| {
                // Nothing ran: whoever asks again is to hear why, and not that a holder was killed.
                folder.remove_mark();
            })?;
        // From here on it is only shown.
        bounds::shorten(&mut pty.command, COMMAND_SHOWN_MAX);
        let (pid, began) = (pty.child.id(), Instant::now());
        let leader = (pid, start_of(pid));
        folder.write_leader(leader);
        let memory = platform::memory();
        let job = Job {
            spec,
            leader,
            command: pty.command.clone(),
            managers,
            warnings: warnings(),
            memory_kills: memory.as_ref().and_then(platform::MemoryCount::read),
            socket: socket_path(&folder),
        };
        let now = now_since(began);
        Ok(Self {
            machine: HolderMachine::new(job, size, now),
            exit_watch: platform::exit_watch(&pty.child),
            leader,
            folder,
            mark,
            pty,
            reaped: false,
            listener,
            peers: Vec::new(),
            links: 0,
            began,
            now,
            memory,
            lock: (lock, lock_id),
            old_lock: None,
            socket,
            agent_socket,
            disk,
            keeping: false,
            sockets: Vec::new(),
            accepted: 0,
            listeners: agent.into_iter().map(|agent| (AGENT, Listening::own(agent))).collect(),
            beside: None,
            leave: false,
        })
    }

    fn run(&mut self) -> io::Result<()> {
        while !self.leave {
            let (mut pty, mut told) = (false, false);
            let mut peers: Vec<LinkId> = Vec::new();
            let ready = self.wait()?;
            self.now = now_since(self.began);
            for (key, came) in ready {
                match key {
                    Key::Listener => self.accept(),
                    Key::Program => told = true,
                    Key::Pty => pty = is_readable(came),
                    Key::Peer(id) if is_readable(came) => peers.push(id),
                    Key::Disk => self.was_done(),
                    Key::Channel(number) => self.accept_channel(number),
                    Key::Beside => self.was_joined(),
                    Key::Socket(id) => {
                        if is_readable(came) {
                            self.read_socket(id);
                        }
                        self.write_socket(id);
                    }
                    Key::Peer(_) => {}
                }
            }
            if pty || self.machine.may_feed() {
                self.read_pty();
            }
            self.write_pty();
            for id in peers {
                self.read_peer(id);
            }
            self.write_pty();
            self.reap(told);
            // What was read may have taken a while.
            self.now = now_since(self.began);
            self.settle();
            self.write_sockets();
            self.write_peers();
        }
        Ok(())
    }

    /// Waits for the first thing to do.
    fn wait(&self) -> io::Result<Vec<(Key, PollFlags)>> {
        let mut readiness = Readiness::with_capacity(4 + self.peers.len());
        readiness.watch(Key::Listener, self.listener.as_fd(), PollFlags::IN);
        if let (Some(watch), false) = (&self.exit_watch, self.reaped) {
            readiness.watch(Key::Program, watch.as_fd(), PollFlags::IN);
        }
        let mut flags = PollFlags::empty();
        flags.set(PollFlags::IN, self.machine.takes_output());
        flags.set(PollFlags::OUT, self.machine.typed().is_some());
        for (fd, flags) in self.pty.watched(flags) {
            readiness.watch(Key::Pty, fd, flags);
        }
        for peer in &self.peers {
            let mut flags = PollFlags::IN;
            flags.set(PollFlags::OUT, !self.machine.unsent(peer.id).is_empty());
            readiness.watch(Key::Peer(peer.id), peer.socket.as_fd(), flags);
        }
        if self.keeping {
            readiness.watch(Key::Disk, self.disk.watched(), PollFlags::IN);
        }
        for (id, socket) in &self.sockets {
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::IN, self.machine.socket_room(*id) > 0);
            flags.set(PollFlags::OUT, !self.machine.socket_writes(*id).is_empty());
            // A hang-up is reported whether asked for or not, and for ever.
            if !flags.is_empty() {
                readiness.watch(Key::Socket(*id), socket.as_fd(), flags);
            }
        }
        for (number, listening) in &self.listeners {
            for fd in listening.watched() {
                readiness.watch(Key::Channel(*number), fd, PollFlags::IN);
            }
        }
        if let Some(beside) = &self.beside {
            readiness.watch(Key::Beside, beside.watched(), PollFlags::IN);
        }
        // Without a descriptor that tells of the program's end its terminal does: it hangs up. Where that is not watched,
        // or is over already, we have to ask.
        let ask = self.exit_watch.is_none() && !self.reaped && !self.machine.takes_output();
        let due = self.machine.deadline().map(|at| at.saturating_sub(now_since(self.began).ms));
        let due = due.into_iter().chain(ask.then_some(ASK_MS)).min();
        Ok(readiness.wait(due)?.collect())
    }

    fn accept(&mut self) {
        while let Ok((socket, _)) = self.listener.accept() {
            let own = rustix::process::getuid().as_raw();
            let friend = platform::peer_uid(socket.as_fd()).is_ok_and(|peer| peer == own);
            if !friend || !self.machine.takes_links() || socket.set_nonblocking(true).is_err() {
                continue;
            }
            self.links += 1;
            let id = LinkId(self.links);
            self.peers.push(Peer { id, socket, decoder: Decoder::new() });
            self.machine.handle(self.now, Event::Opened(id));
        }
    }

    fn read_pty(&mut self) {
        // What waits goes first.
        self.machine.handle(self.now, Event::Output(0));
        let mut taken = 0;
        while taken < TURN {
            let room = self.machine.room();
            if room.is_empty() {
                break;
            }
            let event = match pty::read(self.pty.source(), room) {
                Ok(None) => break,
                Ok(Some(0)) | Err(_) => Event::HungUp,
                Ok(Some(n)) => {
                    taken = if n < SHORT { TURN } else { taken + n };
                    Event::Output(n)
                }
            };
            self.machine.handle(self.now, event);
        }
        self.look_at_discipline();
    }

    /// A view that foretells what keys show is to know at once when the terminal does not show them.
    fn look_at_discipline(&mut self) {
        if self.machine.watches_echo() {
            let discipline = pty::discipline(&self.pty.master);
            self.machine.handle(self.now, Event::Discipline(discipline));
        }
    }

    fn write_pty(&mut self) {
        if self.machine.typed().is_some() {
            self.look_at_discipline();
        }
        while let Some(bytes) = self.machine.typed() {
            let Some(sink) = self.pty.sink() else {
                // Nobody reads it.
                let n = bytes.len();
                self.machine.handle(self.now, Event::Wrote(n));
                continue;
            };
            match rustix::io::write(sink, bytes) {
                Ok(0) => break,
                Err(rustix::io::Errno::PIPE) => self.pty.end_input(),
                Ok(n) => self.machine.handle(self.now, Event::Wrote(n)),
                Err(rustix::io::Errno::INTR) => {}
                // Full: the poll tells when there is room. Broken: reading tells.
                Err(_) => break,
            }
        }
    }

    fn read_peer(&mut self, id: LinkId) {
        let now = self.now;
        let Some(peer) = self.peers.iter_mut().find(|peer| peer.id == id) else { return };
        let open = matches!(conn::read(&peer.socket, &mut peer.decoder), Ok(Read::Open));
        loop {
            let parsed = match peer.decoder.next_frame() {
                Ok(Some(raw)) => raw.parse(),
                Ok(None) => break,
                Err(invalid) => Err(invalid),
            };
            match parsed {
                Ok(frame) => self.machine.handle(now, Event::Frame(id, frame)),
                Err(invalid) => {
                    self.machine.handle(now, Event::Invalid(id, invalid.to_string()));
                    return;
                }
            }
        }
        if !open {
            self.drop_peer(id);
        }
    }

    fn beside(&mut self) -> Result<&Beside, (ChannelFailure, String)> {
        if self.beside.is_none() {
            let beside = Beside::new().map_err(|error| (ChannelFailure::TooMany, error.to_string()))?;
            self.beside = Some(beside);
        }
        self.beside.as_ref().ok_or((ChannelFailure::TooMany, String::new()))
    }

    /// Something was connected to or is listened on, beside the loop.
    fn was_joined(&mut self) {
        for done in self.beside.as_ref().map(Beside::done).unwrap_or_default() {
            let event = match done {
                channels::Done::Connected(id, Ok(socket)) => {
                    self.sockets.push((id, socket));
                    Event::Socket(id, SocketEvent::Connected(Ok(())))
                }
                channels::Done::Connected(id, Err(why)) => {
                    Event::Socket(id, SocketEvent::Connected(Err(why)))
                }
                channels::Done::Bound(number, Ok((listening, port))) => {
                    self.listeners.push((number, listening));
                    Event::Listening(number, Ok(port))
                }
                channels::Done::Bound(number, Err(why)) => Event::Listening(number, Err(why)),
            };
            self.machine.handle(self.now, event);
        }
    }

    fn accept_channel(&mut self, number: u64) {
        let Some((_, listening)) = self.listeners.iter().find(|(known, _)| *known == number) else { return };
        let Some(socket) = listening.accept() else { return };
        let own = rustix::process::getuid().as_raw();
        // Root may ask for anything anyhow; others reach no socket of ours by its path.
        if matches!(socket, Socket::Unix(_))
            && platform::peer_uid(socket.as_fd()).is_ok_and(|peer| peer != own && peer != 0)
        {
            return;
        }
        self.accepted += 1;
        let id = SocketId(self.accepted * 2 - 1);
        self.sockets.push((id, socket));
        self.machine.handle(self.now, Event::Socket(id, SocketEvent::Accepted(number)));
    }

    fn read_socket(&mut self, id: SocketId) {
        let room = self.machine.socket_room(id).min(channels::READ);
        let Some((_, socket)) = self.sockets.iter_mut().find(|(known, _)| *known == id) else { return };
        if room == 0 {
            return;
        }
        let mut buffer = [0; channels::READ];
        let read = match socket.read(&mut buffer[..room]) {
            Ok(n) => &buffer[..n],
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                return;
            }
            // As an end: what was read before is worth something.
            Err(_) => &[],
        };
        self.machine.handle(self.now, Event::Socket(id, SocketEvent::Read(read)));
    }

    fn write_sockets(&mut self) {
        let ids: Vec<SocketId> = self.sockets.iter().map(|(id, _)| *id).collect();
        ids.into_iter().for_each(|id| self.write_socket(id));
    }

    fn write_socket(&mut self, id: SocketId) {
        loop {
            let bytes = self.machine.socket_writes(id);
            let Some((_, socket)) = self.sockets.iter_mut().find(|(known, _)| *known == id) else { return };
            if bytes.is_empty() {
                return;
            }
            let event = match socket.write(bytes) {
                Ok(n) if n > 0 => SocketEvent::Wrote(n),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                _ => SocketEvent::WriteFailed,
            };
            self.machine.handle(self.now, Event::Socket(id, event));
        }
    }

    fn drop_peer(&mut self, id: LinkId) {
        self.peers.retain(|peer| peer.id != id);
        self.machine.handle(self.now, Event::Closed(id));
    }

    fn write_peers(&mut self) {
        let ids: Vec<LinkId> = self.peers.iter().map(|peer| peer.id).collect();
        for id in ids {
            if !self.write_peer(id) {
                self.drop_peer(id);
            }
        }
    }

    /// Writes what can be written now; false: it is broken.
    fn write_peer(&mut self, id: LinkId) -> bool {
        let Some(peer) = self.peers.iter().find(|peer| peer.id == id) else { return true };
        loop {
            let bytes = self.machine.unsent(id);
            if bytes.is_empty() {
                return true;
            }
            match conn::write(&peer.socket, bytes) {
                Ok(Written::Some(n)) => self.machine.handle(self.now, Event::Sent(id, n)),
                Ok(Written::Full) => return true,
                Ok(Written::Closed) | Err(_) => return false,
            }
        }
    }

    /// The program's end is noticed here and nowhere else. `told`: the descriptor that tells of it has something to say.
    fn reap(&mut self, told: bool) {
        // Asked only when there is a reason to: it would be a system call more for every key.
        let reason = told || self.exit_watch.is_none() || !self.machine.pty_is_open();
        if !self.reaped
            && reason
            && let Ok(Some(status)) = self.pty.child.try_wait()
        {
            self.reaped = true;
            let (code, signal, memory_kills) = (status.code(), status.signal(), self.memory_kills());
            self.machine.handle(self.now, Event::Exited { code, signal, memory_kills });
        }
    }

    fn memory_kills(&self) -> Option<u64> {
        self.memory.as_ref()?.read()
    }

    /// Does all that is due, and what follows from it.
    fn settle(&mut self) {
        loop {
            self.machine.handle(self.now, Event::Tick);
            let mut quiet = true;
            while let Some(effect) = self.machine.poll() {
                quiet = false;
                self.carry_out(effect);
            }
            if quiet {
                return;
            }
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        let event = match effect {
            Effect::Resize(size) => {
                // Fails only when the PTY is gone, which reading it tells.
                let _ = pty::resize(&self.pty.master, size.cols, size.rows);
                return;
            }
            Effect::Inspect { depth, round } => {
                Event::Inspected { seen: processes::look(self.leader, depth), depth, round }
            }
            Effect::Family(known) => Event::Family(platform::family(self.leader, &known)),
            Effect::Observe => Event::Observed(Observed {
                cwd: platform::cwd(self.leader.0).map(|path| path.to_string_lossy().into_owned()),
                foreground: pty::foreground(&self.pty.master)
                    .and_then(platform::process)
                    .map(|process| process.name),
                memory_kills: self.memory_kills(),
                hides: pty::hides_what_is_typed(&self.pty.master),
            }),
            Effect::Processor => Event::Used(platform::processor(self.leader.0)),
            Effect::Hides => Event::Hides(pty::hides_what_is_typed(&self.pty.master)),
            Effect::Discipline => Event::Discipline(pty::discipline(&self.pty.master)),
            Effect::EndInput => return self.pty.end_input(),
            Effect::Warn => Event::Warned(warnings()),
            Effect::Connect(id, target) => {
                match self.beside().and_then(|beside| beside.connect(id, target)) {
                    Ok(()) => return,
                    Err(why) => Event::Socket(id, SocketEvent::Connected(Err(why))),
                }
            }
            Effect::Listen(number, asked) => {
                let listens = self.beside().map_err(|(_, why)| why);
                match listens.and_then(|beside| beside.listen(number, asked)) {
                    Ok(()) => return,
                    Err(why) => Event::Listening(number, Err(why)),
                }
            }
            Effect::Unlisten(number) => return self.listeners.retain(|(known, _)| *known != number),
            Effect::EndWrites(id) => {
                if let Some((_, socket)) = self.sockets.iter().find(|(known, _)| *known == id) {
                    socket.end_writes();
                }
                return;
            }
            Effect::HangUp(id) => return self.sockets.retain(|(known, _)| *known != id),
            Effect::Ports => Event::Ports(platform::ports(self.leader)),
            Effect::Signal(pid, step) => return processes::signal(pid, step),
            Effect::Keep(keeping) => return self.keep(*keeping),
            Effect::Close(id) => {
                let _ = self.write_peer(id);
                return self.drop_peer(id);
            }
            Effect::Leave => {
                self.leave = true;
                return;
            }
        };
        self.machine.handle(self.now, event);
    }

    fn keep(&mut self, keeping: Keeping) {
        let task = Task {
            keeping,
            folder: self.folder.clone(),
            mark: self.mark.clone(),
            lock: self.lock.1,
            old_lock: self.old_lock.take(),
            socket: self.socket,
            // It is listened on for as long as the job runs.
            agent: self.agent_socket.filter(|_| self.listeners.iter().any(|(number, _)| *number == AGENT)),
        };
        // There is one at a time, and room for it.
        self.keeping = self.disk.put(move || task.run()).is_some();
    }

    /// Something was done beside the loop.
    fn was_done(&mut self) {
        for (_, done) in self.disk.done() {
            self.keeping = false;
            if let Some(lock) = done.lock {
                self.old_lock = Some(std::mem::replace(&mut self.lock, lock).0);
            }
            if let Some((listener, id)) = done.socket {
                (self.listener, self.socket) = (listener, id);
            }
            if let Some((listener, id)) = done.agent {
                self.agent_socket = Some(id);
                // The job may have ended meanwhile.
                if let Some((_, old)) = self.listeners.iter_mut().find(|(number, _)| *number == AGENT) {
                    *old = Listening::own(listener);
                }
            }
            self.machine.handle(self.now, Event::Kept(Kept { exit: done.exit, failed: done.failed }));
        }
    }
}

fn now_since(began: Instant) -> Now {
    Now { ms: began.elapsed().as_millis() as u64, steady_ms: platform::steady_ms(), wall_ms: wall_ms() }
}

fn start_of(pid: u32) -> u64 {
    platform::process(pid).map_or(0, |process| process.start)
}

/// What a logout could do to this job, and what it did not get that whoever made it has.
fn warnings() -> Vec<String> {
    let mut warnings = platform::login(std::process::id(), |name| std::env::var(name).ok()).warnings();
    // Who may raise limits has them as they were told.
    if !rustix::process::geteuid().is_root() {
        warnings.extend(inherit::Ready::new(&inherit::told()).shortfall());
    }
    warnings
}

/// Our socket for whoever is not inside the job's folder. A path that is too long for an address leads through our current
/// folder, which is the job's.
fn socket_path(folder: &JobFolder) -> String {
    path_to(folder, SOCKET)
}

fn path_to(folder: &JobFolder, socket: &str) -> String {
    match folder.path().join(socket).into_os_string().into_string() {
        Ok(path) if path.len() <= inventory::ADDRESS_MAX => path,
        _ => platform::path_into_cwd_of(std::process::id())
            .map(|cwd| cwd.join(socket).to_string_lossy().into_owned())
            .unwrap_or_default(),
    }
}

/// Where a program of the job finds its holder, and a program that speaks to it: there may be no `sessd` on this host.
fn own_variables(folder: &JobFolder, spec: &JobSpec) -> Vec<(&'static str, OsString)> {
    let mut variables: Vec<(_, OsString)> = vec![(report::SOCKET, socket_path(folder).into())];
    if spec.agent && !spec.env.contains_key("SSH_AUTH_SOCK") {
        variables.push(("SSH_AUTH_SOCK", path_to(folder, AGENT_SOCKET).into()));
    }
    let Ok(program) = platform::own_program() else { return variables };
    // At the end of PATH: where there is a `sessd`, it is that one.
    let bin = folder.path().join("bin");
    let made =
        std::fs::create_dir(&bin).and_then(|()| std::os::unix::fs::symlink(&program, bin.join("sessd")));
    if made.is_ok() {
        let asked = spec.env.get("PATH").map(OsString::from);
        // Where there is none the system has one, which is better than ours alone.
        if let Some(mut path) = asked.or_else(|| std::env::var_os("PATH")).filter(|path| !path.is_empty()) {
            path.push(":");
            path.push(&bin);
            variables.push(("PATH", path));
        }
    }
    variables.push(("SESSD_AGENT", program.into()));
    variables
}
