//! The blocking client: one connection to the manager, which is started if it does not run.

use crate::error::{Error, Kind, Result};
use crate::paths::Paths;
use crate::server::said;
use sessd_proto::messages::{Act, Answer, Request};
use sessd_proto::{Decoder, Frame, hello};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long a manager that was just started may take until it answers.
const START: Duration = Duration::from_secs(20);

/// A connection to the manager.
#[derive(Debug)]
pub struct Client {
    /// The socket.
    pub stream: UnixStream,
    /// What came and was not taken yet.
    pub decoder: Decoder,
    greeted: bool,
}

fn lost(error: &io::Error) -> Error {
    Error::failed(
        format!("the manager went away ({error})"),
        "try again: it starts by itself, and sessions run on",
    )
}

/// There is a manager, as its lock says, and it does not let anybody in.
pub(super) fn no_answer(paths: &Paths) -> Error {
    Error::failed(
        format!("the manager does not answer on {}", paths.socket.display()),
        format!("see {}", paths.log.display()),
    )
}

impl Client {
    /// Connects to a manager that runs, `None` when there is none.
    ///
    /// # Errors
    /// When the socket cannot be used.
    pub fn connect_running(paths: &Paths) -> Result<Option<Self>> {
        use io::ErrorKind::{ConnectionRefused, NotADirectory, NotFound};
        match UnixStream::connect(&paths.socket) {
            Ok(stream) => {
                let mut client = Self { stream, decoder: Decoder::new(), greeted: false };
                let greeting = Frame::Hello(hello::hello(env!("CARGO_PKG_VERSION"), ""));
                match client.stream.write_all(&greeting.to_bytes(0)) {
                    Ok(()) => Ok(Some(client)),
                    // It ended while we came in.
                    Err(_) => Ok(None),
                }
            }
            Err(error) if matches!(error.kind(), ConnectionRefused | NotFound | NotADirectory) => Ok(None),
            Err(error) => Err(Error::failed(
                format!("the socket {} cannot be used ({error})", paths.socket.display()),
                "check its permissions, or set SESSD_HOME to another folder",
            )),
        }
    }

    /// Connects, starting the manager if there is none.
    ///
    /// # Errors
    /// Why there is no manager.
    pub fn connect(paths: &Paths) -> Result<Self> {
        let until = Instant::now() + START;
        loop {
            match Self::connect_once(paths) {
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
        start_manager()?;
        Self::connect_running(paths)
    }

    /// Sends a frame.
    ///
    /// # Errors
    /// When the manager is gone.
    pub fn send(&mut self, frame: &Frame<'_>) -> Result<()> {
        self.stream.write_all(&frame.to_bytes(0)).map_err(|e| lost(&e))
    }

    /// Asks the manager and waits for the answer, a JSON document. A manager that dies before its first word has done
    /// nothing yet, so the next one is asked.
    ///
    /// # Errors
    /// What the manager answers, or that it is gone.
    pub fn ask_any(paths: &Paths, act: &Act) -> Result<String> {
        let mut client = Self::connect(paths)?;
        match client.ask(act.clone()) {
            Err(_) if !client.greeted => Self::connect(paths)?.ask(act.clone()),
            answer => answer,
        }
    }

    /// Asks this manager and waits for the answer, a JSON document.
    ///
    /// # Errors
    /// What the manager answers, or that it is gone.
    pub fn ask(&mut self, act: Act) -> Result<String> {
        self.send(&Frame::Request(Request { id: 1, act: Some(act) }))?;
        loop {
            while let Some(frame) = self.decoder.next_frame().map_err(|e| Error::failed(e.to_string(), ""))? {
                match frame.parse() {
                    Ok(Frame::Hello(theirs)) => {
                        self.greeted = true;
                        hello::negotiate(&theirs).map_err(|skew| {
                            Error::new(
                                Kind::VersionSkew,
                                skew.to_string(),
                                "`sessd daemon restart` starts this version",
                            )
                        })?;
                    }
                    Ok(Frame::Reply(reply)) => match reply.answer {
                        Some(Answer::Json(json)) => return Ok(json),
                        Some(Answer::Error(error)) => return Err(error.into()),
                        None => {
                            return Err(Error::new(
                                Kind::VersionSkew,
                                "the manager's answer is from a newer version",
                                "`sessd daemon restart`",
                            ));
                        }
                    },
                    Ok(Frame::Close(close)) => return Err(Error::failed(close.detail, "")),
                    _ => {}
                }
            }
            self.read()?;
        }
    }

    /// Waits until the manager closes the connection, which it does when it ends.
    ///
    /// # Errors
    /// When it takes longer than `limit`.
    pub fn wait_closed(&mut self, limit: Duration) -> Result<()> {
        let until = Instant::now() + limit;
        loop {
            let left = until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            if self.stream.set_read_timeout(Some(left)).is_err() || Instant::now() >= until {
                return Err(Error::failed("the manager does not end", "`sessd daemon status` shows its pid"));
            }
            match self.stream.read(&mut [0; 1024]) {
                Ok(n) if n > 0 => {}
                Err(e)
                    if matches!(
                        e.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
                    ) => {}
                // Its end, however it came.
                _ => return Ok(()),
            }
        }
    }

    fn read(&mut self) -> Result<()> {
        let mut buffer = [0; 16 * 1024];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return Err(lost(&io::Error::from(io::ErrorKind::UnexpectedEof))),
                Ok(n) => {
                    self.decoder.push(&buffer[..n]);
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(lost(&error)),
            }
        }
    }
}

/// Our own program; after an upgrade the one that has taken its place.
fn own_program() -> io::Result<PathBuf> {
    let exe = std::env::current_exe()?;
    let replaced = exe.to_str().and_then(|path| path.strip_suffix(" (deleted)")).map(PathBuf::from);
    Ok(replaced.filter(|path| !exe.exists() && path.exists()).unwrap_or(exe))
}

/// Starts the manager as a process of its own and waits until it says that it answers. When another one is a moment
/// ahead of it, that is as good.
fn start_manager() -> Result<()> {
    let trouble = |e: io::Error| Error::failed(format!("the manager cannot be started ({e})"), "");
    let mut child = Command::new(own_program().map_err(trouble)?)
        .args(["daemon", "--foreground", "--announce"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .current_dir("/")
        // Out of the terminal's process group: Ctrl-C in a view is not for the manager.
        .process_group(0)
        .spawn()
        .map_err(trouble)?;
    let Some(out) = child.stdout.take() else { return Ok(()) };
    let mut lines = BufReader::new(out).lines();
    let mut end =
        Err(Error::failed("the manager ended before it answered", "`sessd daemon --foreground` shows why"));
    while let Some(Ok(line)) = lines.next() {
        if let Some(note) = line.strip_prefix(said::NOTE) {
            crate::out::note(note);
        } else if let Some(json) = line.strip_prefix(said::FAILED) {
            end = Err(failure(json));
            break;
        } else if line == said::READY {
            return Ok(());
        } else if line == said::BUSY {
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

fn failure(json: &str) -> Error {
    let text =
        |value: &serde_json::Value, key: &str| value["error"][key].as_str().unwrap_or_default().to_owned();
    let value: serde_json::Value = serde_json::from_str(json).unwrap_or_default();
    Error::new(Kind::from_word(&text(&value, "kind")), text(&value, "message"), text(&value, "hint"))
}
