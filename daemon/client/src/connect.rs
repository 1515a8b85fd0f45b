//! The blocking client: one connection to the manager, which is started if it does not run.

use crate::core::{too_old, waited_for};
use crate::question;
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use sessd_base::files;
use sessd_base::instance_lock::{self, Owner};
use sessd_base::paths::{self, Paths};
use sessd_base::prompt::Answer as Answered;
use sessd_proto::docs::announce;
use sessd_proto::docs::{Error, Kind, Result};
use sessd_proto::messages::{self as m, Act, Answer, Request};
use sessd_proto::{Decoder, Frame, hello};
use std::io::{self, Read, Write};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use zeroize::{Zeroize as _, Zeroizing};

/// How long a manager that was just started may take until it answers.
const START: Duration = Duration::from_secs(20);
/// How long a manager that runs may be silent while somebody waits for it.
const ANSWER: Duration = Duration::from_secs(5);

/// A connection to the manager.
#[derive(Debug)]
pub struct Client {
    /// The socket.
    pub stream: UnixStream,
    /// What came and was not taken yet.
    pub decoder: Decoder,
    silent: bool,
    gone: bool,
    paths: Paths,
    socket: PathBuf,
    peer: i32,
}

/// What the manager says.
#[derive(Debug)]
pub enum Heard {
    /// To a request, or a part of it.
    Reply(m::Reply),
    /// A document about a change.
    Event(String),
    /// The connection is a view now.
    Attached(m::Attached),
    /// Nothing more: it is gone.
    Gone,
}

/// There is a manager, as its lock says, and it cannot be reached.
pub fn no_answer(paths: &Paths) -> Error {
    match instance_lock::owner(paths) {
        Owner::Process(pid) => silent(paths, pid),
        Owner::Elsewhere(machine) if !machine.is_empty() => Error::failed(
            format!("a manager on {machine} uses {}", paths.database.display()),
            "use that machine's, or set SESSD_HOME to a folder of this one",
        ),
        Owner::Elsewhere(_) => Error::failed(
            format!("somebody who cannot be seen from here has locked {}", paths.lock.display()),
            "end the manager in the other container, or set SESSD_HOME to another folder",
        ),
        Owner::Nobody => Error::failed(
            format!("no manager answers on {}", paths.socket.display()),
            format!("see {}", paths.log.display()),
        ),
    }
}

/// The manager is process `pid`, and says nothing.
fn silent(paths: &Paths, pid: i32) -> Error {
    if instance_lock::is_stopped(pid) {
        return Error::failed(
            format!("the manager (pid {pid}) is stopped"),
            format!("`kill -CONT {pid}` lets it go on, `sessd daemon stop` ends it and jobs run on"),
        );
    }
    let hint =
        format!("`sessd daemon stop` ends it, or kill {pid}: jobs run on, and the next verb starts another");
    if instance_lock::sockets(paths).iter().any(|path| path.exists()) {
        Error::failed(format!("the manager (pid {pid}) does not answer"), hint)
    } else {
        Error::failed(
            format!("the manager (pid {pid}) runs, and its socket {} is gone", paths.socket.display()),
            hint,
        )
    }
}

/// Somebody listens on the manager's socket and says nothing.
fn nothing_heard(paths: &Paths, socket: &Path, peer: i32) -> Error {
    if instance_lock::is_manager(paths, peer) {
        return silent(paths, peer);
    }
    Error::failed(
        format!(
            "{} belongs to another program ({} {peer}), which is no manager",
            socket.display(),
            instance_lock::program_of(peer)
        ),
        format!("end it (kill {peer}), or remove that file"),
    )
}

/// Connects to a socket without waiting for one that takes nobody. `None`: nobody is there.
fn reach(socket: &Path) -> io::Result<Option<UnixStream>> {
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
    if !paths::fits_a_socket(socket) {
        return Ok(None);
    }
    if let Some(folder) = socket.parent() {
        match files::check_folder(folder) {
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            checked => checked?,
        }
    }
    let address = SocketAddrUnix::new(socket)?;
    let until = Instant::now() + ANSWER;
    loop {
        let stream = socket_with(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
            None,
        )?;
        match connect(&stream, &address) {
            Ok(()) => {
                let stream = UnixStream::from(stream);
                stream.set_nonblocking(false)?;
                return Ok(Some(stream));
            }
            // As many wait there as can.
            Err(Errno::AGAIN) if Instant::now() < until => std::thread::sleep(Duration::from_millis(50)),
            Err(Errno::AGAIN) => return Err(io::ErrorKind::TimedOut.into()),
            Err(Errno::CONNREFUSED | Errno::NOENT | Errno::NOTDIR) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
    }
}

impl Client {
    /// Connects to a manager that runs, `None` when there is none to be reached.
    ///
    /// # Errors
    /// When a socket cannot be used, or is not ours.
    pub fn connect_running(paths: &Paths) -> Result<Option<Self>> {
        for socket in instance_lock::sockets(paths) {
            if let Some(client) = Self::enter(paths, socket)? {
                return Ok(Some(client));
            }
        }
        Ok(None)
    }

    fn enter(paths: &Paths, socket: PathBuf) -> Result<Option<Self>> {
        let stream = match reach(&socket) {
            Ok(Some(stream)) => stream,
            Ok(None) => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::TimedOut => return Err(no_answer(paths)),
            Err(error) => {
                return Err(Error::failed(
                    format!("the socket {} cannot be used: {error}", socket.display()),
                    "make its folder writable for you alone, or set SESSD_HOME to another one",
                ));
            }
        };
        let trouble = |e: io::Error| {
            let what = format!("the socket {} cannot be used ({e})", socket.display());
            Error::failed(what, "make its folder writable for you alone, or set SESSD_HOME to another one")
        };
        // Before the first byte: what is said there is the whole environment, and every key that is typed.
        let peer = getsockopt(&stream, PeerCredentials).map_err(|e| trouble(e.into()))?;
        if peer.uid() != files::own_uid() {
            return Err(Error::failed(
                format!(
                    "{} belongs to another user (uid {}): nothing was said to it",
                    socket.display(),
                    peer.uid()
                ),
                "unset XDG_RUNTIME_DIR and SESSD_HOME, or set them to folders of your own",
            ));
        }
        stream
            .set_read_timeout(Some(ANSWER))
            .and_then(|()| stream.set_write_timeout(Some(ANSWER)))
            .map_err(trouble)?;
        let mut client = Self {
            stream,
            decoder: Decoder::new(),
            silent: false,
            gone: false,
            paths: paths.clone(),
            socket,
            peer: peer.pid(),
        };
        let greeting = Frame::Hello(hello::hello(env!("CARGO_PKG_VERSION"), ""));
        match client.stream.write_all(&greeting.to_bytes(0)) {
            Ok(()) => Ok(Some(client)),
            // It ended while we came in.
            Err(_) => Ok(None),
        }
    }

    /// The manager said nothing for too long.
    pub fn is_silent(&self) -> bool {
        self.silent
    }

    /// The manager has closed the connection.
    pub fn is_gone(&self) -> bool {
        self.gone
    }

    /// The manager's process, as the kernel knows the other end of the socket; 0 if it cannot be seen from here (we are in a
    /// container and it is outside).
    pub fn peer(&self) -> i32 {
        self.peer
    }

    /// Connects, starting the manager if there is none.
    ///
    /// # Errors
    /// Why there is no manager.
    pub fn connect(paths: &Paths) -> Result<Self> {
        let until = Instant::now() + START;
        loop {
            match Self::connect_once(paths) {
                Ok(None) if is_stopped(paths) => return Err(no_answer(paths)),
                Ok(None) if Instant::now() < until => {}
                Ok(None) => return Err(no_answer(paths)),
                Ok(Some(client)) => return Ok(client),
                Err(error) => return Err(error),
            }
        }
    }

    /// Connects, starting the manager if there is none; `None` while another one is about to come or to go.
    ///
    /// # Errors
    /// Why there is no manager.
    pub fn connect_once(paths: &Paths) -> Result<Option<Self>> {
        if let Some(client) = Self::connect_running(paths)? {
            return Ok(Some(client));
        }
        start_manager(paths)?;
        Self::connect_running(paths)
    }

    /// Sends a frame.
    ///
    /// # Errors
    /// When the manager is gone, or takes nothing, or what is asked is longer than any frame may be.
    pub fn send(&mut self, frame: &Frame<'_>) -> Result<()> {
        match self.tell(frame)? {
            true => Ok(()),
            false => Err(self.lost(&io::ErrorKind::BrokenPipe.into())),
        }
    }

    /// The same; false when the manager is gone.
    ///
    /// # Errors
    /// When it is there and takes nothing, when it closed and said why, or when what is asked is longer than any frame may be.
    pub fn tell(&mut self, frame: &Frame<'_>) -> Result<bool> {
        let bytes = bytes_of(frame)?;
        match self.stream.write_all(&bytes) {
            Ok(()) => Ok(true),
            Err(error) if is_late(&error) => Err(self.lost(&error)),
            Err(_) => {
                // It takes no more, and may have said why before we had asked.
                while !matches!(self.hear()?, Heard::Gone) {}
                Ok(false)
            }
        }
    }

    fn lost(&mut self, error: &io::Error) -> Error {
        self.silent = is_late(error);
        self.gone = !self.silent;
        if self.silent {
            return nothing_heard(&self.paths, &self.socket, self.peer);
        }
        Error::failed(
            format!("the manager went away ({error})"),
            "try again: it starts by itself, and sessions run on",
        )
    }

    /// The next frame that is not about the connection itself. A manager that is at work says so every other second; from
    /// one that says nothing for longer nothing is to be expected.
    ///
    /// # Errors
    /// When the manager is gone, silent, or of a version that cannot be spoken with.
    pub fn hear(&mut self) -> Result<Heard> {
        let broken =
            |why: String| Error::failed(why, "`sessd daemon restart` starts this version; sessions run on");
        let mut question = None;
        loop {
            while let Some(frame) = self.decoder.next_frame().map_err(|e| broken(e.to_string()))? {
                match frame.parse() {
                    Ok(Frame::Hello(theirs)) => {
                        hello::negotiate(&theirs).map_err(|skew| {
                            Error::new(
                                Kind::VersionSkew,
                                skew.to_string(),
                                "`sessd daemon restart` starts this version",
                            )
                        })?;
                        if theirs.features & hello::feature::AT_WORK == 0 {
                            // An older one says nothing while it works.
                            let _ = self.stream.set_read_timeout(None);
                        }
                    }
                    Ok(Frame::Reply(reply)) => return Ok(Heard::Reply(reply)),
                    Ok(Frame::Event(event)) => return Ok(Heard::Event(event.json)),
                    Ok(Frame::Attached(attached)) => return Ok(Heard::Attached(attached)),
                    Ok(Frame::Close(close)) => {
                        return Err(Error::failed(close.detail, "try again"));
                    }
                    // For a person who waits; a script has its deadline.
                    Ok(Frame::Awaits(awaits)) if sessd_base::out::notes_are_seen() => {
                        sessd_base::out::note(&awaits.what);
                    }
                    Ok(Frame::Question(asked)) => {
                        question = Some(asked);
                        break;
                    }
                    Ok(Frame::Unsupported(what)) => {
                        if let Some(what) = waited_for(what.kind) {
                            return Err(too_old(what));
                        }
                    }
                    _ => {}
                }
            }
            if let Some(question) = question.take() {
                self.put(&question)?;
                continue;
            }
            let mut buffer = [0; 64 * 1024];
            match self.stream.read(&mut buffer) {
                Ok(0) => return Ok(Heard::Gone),
                Ok(n) => self.decoder.push(&buffer[..n]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if is_late(&error) => return Err(self.lost(&error)),
                Err(_) => return Ok(Heard::Gone),
            }
        }
    }

    /// Puts a question of the manager's before the person at this terminal, and says what came of it.
    fn put(&mut self, asked: &m::Question) -> Result<()> {
        let mut came = Vec::new();
        let (mut stream, decoder) = (&self.stream, &self.decoder);
        let over = || {
            let mut buffer = [0; 4096];
            match stream.read(&mut buffer) {
                // The manager is gone: that is seen by whoever reads on.
                Ok(0) => return true,
                Ok(n) => came.extend_from_slice(&buffer[..n]),
                Err(_) => return false,
            }
            // What has come is looked through and left where it is.
            let mut decoder = decoder.clone();
            decoder.push(&came);
            while let Ok(Some(frame)) = decoder.next_frame() {
                if matches!(frame.parse(), Ok(Frame::QuestionOver(over)) if over.id == asked.id) {
                    return true;
                }
            }
            false
        };
        let answer = question::ask(&question::from_message(asked), self.stream.as_fd(), over);
        self.decoder.push(&came);
        let given = match answer {
            Some(Answered::Given(given)) => Some(given),
            Some(Answered::Declined | Answered::Nobody) => None,
            None => return Ok(()),
        };
        self.tell_answer(asked.id, given)
    }

    /// Says what was answered to a question, and keeps nothing of it.
    fn tell_answer(&mut self, id: u64, given: Option<Zeroizing<String>>) -> Result<()> {
        let mut bytes = question::answer_frame(id, given);
        let written = self.stream.write_all(&bytes);
        bytes.zeroize();
        written.map_err(|e| self.lost(&e))
    }

    /// Asks this manager and waits for the answer, a JSON document; `None`: it is gone without one.
    ///
    /// # Errors
    /// What the manager answers, or that it is silent.
    pub fn request(&mut self, act: Act) -> Result<Option<String>> {
        if !self.tell(&Frame::Request(Request { id: 1, act: Some(act) }))? {
            return Ok(None);
        }
        let mut document = String::new();
        loop {
            match self.hear()? {
                Heard::Reply(m::Reply { answer: Some(Answer::Json(part)), more, .. }) => {
                    document.push_str(&part);
                    if !more {
                        return Ok(Some(document));
                    }
                }
                Heard::Reply(m::Reply { answer: Some(Answer::Error(error)), .. }) => return Err(error.into()),
                Heard::Reply(m::Reply { answer: None, .. }) => {
                    return Err(Error::new(
                        Kind::VersionSkew,
                        "the manager's answer is from a newer version",
                        "`sessd daemon restart` starts this one; sessions run on",
                    ));
                }
                Heard::Gone => return Ok(None),
                Heard::Event(_) | Heard::Attached(_) => {}
            }
        }
    }

    /// The same, where a manager that goes is a failure.
    ///
    /// # Errors
    /// What the manager answers, or that it is gone.
    pub fn ask(&mut self, act: Act) -> Result<String> {
        match self.request(act)? {
            Some(document) => Ok(document),
            None => Err(self.lost(&io::ErrorKind::UnexpectedEof.into())),
        }
    }

    /// Leaves the connection to whoever waits on it by himself.
    ///
    /// # Errors
    /// When the socket cannot be set so.
    pub fn for_a_loop(&self) -> io::Result<()> {
        self.stream.set_read_timeout(None)?;
        self.stream.set_write_timeout(None)?;
        self.stream.set_nonblocking(true)
    }

    /// Waits without end from now on: for whoever listens to what may never come.
    pub fn listens(&self) {
        let _ = self.stream.set_read_timeout(None);
    }
}

fn is_late(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

/// Somebody stopped the manager: nothing is to be waited for.
fn is_stopped(paths: &Paths) -> bool {
    matches!(instance_lock::owner(paths), Owner::Process(pid) if instance_lock::is_stopped(pid))
}

fn bytes_of(frame: &Frame<'_>) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if frame.try_put(0, &mut bytes) {
        return Ok(bytes);
    }
    Err(Error::usage("what is asked for at once is longer than the manager takes (1 MiB)"))
}

/// Our own program; after an upgrade the one that has taken its place.
pub fn own_program() -> io::Result<PathBuf> {
    let exe = std::env::current_exe()?;
    let replaced = exe.to_str().and_then(|path| path.strip_suffix(" (deleted)")).map(PathBuf::from);
    Ok(replaced.filter(|path| !exe.exists() && path.exists()).unwrap_or(exe))
}

/// The manager is in this very program.
static OWN_MANAGER: AtomicBool = AtomicBool::new(false);

/// Says that this program is `sessd` itself, and is the manager when it is started as one. Any other starts the `sessd` that
/// is found in its `PATH`.
pub fn manager_is_in_this_program() {
    OWN_MANAGER.store(true, Ordering::Relaxed);
}

fn manager_program() -> io::Result<PathBuf> {
    if OWN_MANAGER.load(Ordering::Relaxed) { own_program() } else { Ok(PathBuf::from("sessd")) }
}

/// Starts the manager as a process of its own and waits until it says that it answers. When another one is a moment
/// ahead of it, that is as good.
fn start_manager(paths: &Paths) -> Result<()> {
    let trouble = |e: io::Error| {
        let hint = match e.kind() {
            io::ErrorKind::NotFound => "put `sessd` into a folder that is in PATH",
            _ => "`sessd daemon --foreground` shows why",
        };
        Error::failed(format!("the manager cannot be started ({e})"), hint)
    };
    if matches!(instance_lock::owner(paths), Owner::Process(_)) {
        // It is about to come or to go, or to make its socket again.
        std::thread::sleep(Duration::from_millis(50));
        return Ok(());
    }
    // It leaves our terminal, signals and descriptors by itself; in a group of its own it could not.
    let mut child = Command::new(manager_program().map_err(trouble)?)
        .args(["daemon", "--foreground", "--announce"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .current_dir("/")
        .env("HOME", &paths.home)
        .envs(paths::absolute_variables())
        .spawn()
        .map_err(trouble)?;
    let Some(out) = child.stdout.take() else { return Ok(()) };
    let mut lines = Lines { from: out, read: Vec::new() };
    let until = Instant::now() + START;
    let mut end =
        Err(Error::failed("the manager ended before it answered", "`sessd daemon --foreground` shows why"));
    loop {
        let line = match lines.next(until) {
            Ok(Some(line)) => line,
            Ok(None) => break,
            Err(error) if is_late(&error) => {
                return Err(Error::failed(
                    format!("the manager (pid {}) has not come up in {} s", child.id(), START.as_secs()),
                    format!("see {}", paths.log.display()),
                ));
            }
            Err(error) => return Err(trouble(error)),
        };
        if let Some(note) = line.strip_prefix(announce::NOTE) {
            sessd_base::out::note(note);
        } else if let Some(json) = line.strip_prefix(announce::FAILED) {
            end = Err(Error::from_json(json)
                .unwrap_or_else(|| Error::failed(json, "`sessd daemon --foreground` shows more")));
            break;
        } else if line == announce::READY {
            return Ok(());
        } else if line == announce::BUSY {
            // It has the lock and will answer, or is about to end and let go of it.
            std::thread::sleep(Duration::from_millis(20));
            end = Ok(());
            break;
        }
    }
    // It is over: one that was not looked after would stay as a zombie as long as we do.
    let _ = child.wait();
    end
}

/// What a process says, a line at a time.
struct Lines {
    from: std::process::ChildStdout,
    read: Vec<u8>,
}

impl Lines {
    /// The next line, or none when the process says no more.
    fn next(&mut self, until: Instant) -> io::Result<Option<String>> {
        loop {
            if let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                let line = self.read.drain(..=end).collect::<Vec<u8>>();
                return Ok(Some(String::from_utf8_lossy(&line[..end]).into_owned()));
            }
            let left = until.saturating_duration_since(Instant::now());
            let timeout = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
            match rustix::event::poll(&mut [PollFd::new(&self.from, PollFlags::IN)], Some(&timeout)) {
                Ok(0) => return Err(io::ErrorKind::TimedOut.into()),
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            let mut buffer = [0; 4096];
            match self.from.read(&mut buffer)? {
                0 => return Ok(None),
                n => self.read.extend_from_slice(&buffer[..n]),
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Of a manager that is reached another way.
    pub(crate) fn nowhere() -> Paths {
        let nowhere = PathBuf::new;
        Paths {
            home: nowhere(),
            config: nowhere(),
            database: nowhere(),
            log: nowhere(),
            socket: nowhere(),
            lock: nowhere(),
            socket_lock: nowhere(),
            notes: Vec::new(),
        }
    }

    #[test]
    fn who_is_turned_away_before_they_asked_hears_why() {
        let client = || {
            let (near, far) = UnixStream::pair().unwrap();
            let (decoder, paths) = (Decoder::new(), nowhere());
            (
                Client {
                    stream: near,
                    decoder,
                    silent: false,
                    gone: false,
                    paths,
                    socket: PathBuf::new(),
                    peer: 1,
                },
                far,
            )
        };
        let (mut turned_away, mut far) = client();
        let mut words = Frame::Hello(hello::hello("0.0.0", "")).to_bytes(0);
        let why = m::Close { reason: m::CloseReason::TooMany as i32, detail: "it is full".into() };
        Frame::Close(why).put(0, &mut words);
        far.write_all(&words).unwrap();
        drop(far);
        let error = turned_away.ask(Act::DaemonStop(m::Stop::default())).unwrap_err();
        assert!(error.message.contains("it is full") && !turned_away.is_gone(), "{error}");
        let (mut left, far) = client();
        drop(far);
        assert!(left.ask(Act::DaemonStop(m::Stop::default())).is_err() && left.is_gone());
    }
}
