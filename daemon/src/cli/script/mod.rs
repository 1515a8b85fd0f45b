//! Verbs for scripts, and the connection they look through. None of them is a view: they take neither the lead nor the size
//! nor the job's questions to its terminal, and the views that are there notice nothing.
//!
//! [`send`]: what is typed by no view. [`capture`], [`wait`]: what is on the screen, and until when it is waited for. [`Looker`]: output and state of a session,
//! over as many managers as it takes.

pub mod capture;
pub mod send;
pub mod wait;

use rustix::event::{PollFd, PollFlags, Timespec};
use sessd_base::asking::Asking;
use sessd_base::paths::Paths;
use sessd_client::connect::{Client, Heard};
use sessd_proto::docs::{EndDoc, Error, Kind, LinkState, Reason, Result, Vocabulary};
use sessd_proto::limits::VIEW_WINDOW;
use sessd_proto::messages::{self as m, Answer};
use sessd_proto::{Frame, Uuid};
use sessd_terminal::Size;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

/// How often a manager that ended is looked for again.
const AGAIN: Duration = Duration::from_millis(100);

/// What a [`Looker`] wants of its session.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wants {
    /// What it writes: not only how it is and how it ends.
    pub output: bool,
    /// Lines of scrollback with the first screen.
    pub scrollback_lines: usize,
    /// To type, and to miss nothing: the job waits for us, and we are one of its views.
    pub whole: bool,
}

/// What is seen of a session.
#[derive(Debug)]
pub enum Told {
    /// Its screen, for all output before `at`.
    Screen {
        /// That offset.
        at: u64,
        /// Bytes that were promised and never come.
        skipped: u64,
        /// Columns and rows.
        size: Size,
        /// What draws it.
        snapshot: Vec<u8>,
    },
    /// Output.
    Output(Vec<u8>),
    /// How it stands.
    State(m::ViewState),
    /// What we typed was written up to here.
    Written(#[allow(dead_code)] u64),
    /// Its job has ended.
    Ended(EndDoc),
    /// It is deleted.
    Gone,
    /// We were sent away, and why.
    SentAway(String),
    /// The time is up, or the other descriptor has something.
    Nothing,
}

/// A connection to a session that looks and is no view.
#[derive(Debug)]
pub struct Looker {
    paths: Paths,
    client: Client,
    wants: Wants,
    attached: m::Attached,
    view: Uuid,
    /// The next output byte that is needed; none: a screen comes first.
    next: Option<u64>,
    received: u64,
    granted: u64,
    partial: Vec<u8>,
    to_send: Vec<u8>,
    /// The manager ended, and another is looked for.
    lost: bool,
}

fn attach(paths: &Paths, message: m::Attach) -> Result<(Client, m::Attached)> {
    let mut client = Client::connect(paths)?;
    client.send(&Frame::Environment(Asking::here(paths, true).message()))?;
    client.send(&Frame::Attach(message))?;
    loop {
        match client.hear()? {
            Heard::Attached(attached) => return Ok((client, attached)),
            Heard::Reply(m::Reply { answer: Some(Answer::Error(error)), .. }) => return Err(error.into()),
            Heard::Gone => {
                return Err(Error::failed("the manager went away", "try again: it starts by itself"));
            }
            Heard::Reply(_) | Heard::Event(_) => {}
        }
    }
}

#[allow(dead_code)] // what is typed by a script goes through it
impl Looker {
    /// Looks at a session, from its screen on, or from output byte `from` of job `job_id`.
    ///
    /// # Errors
    /// Why it cannot.
    pub fn at(paths: &Paths, session: &str, wants: Wants, from: Option<(u64, &str)>) -> Result<Self> {
        let view = Uuid::now_v7();
        let next = from.map(|(at, _)| at);
        let message = message(session, view, wants, next, from.map(|(_, job)| job).unwrap_or_default());
        let (client, attached) = attach(paths, message)?;
        let cannot = |e: io::Error| Error::failed(format!("the manager cannot be heard ({e})"), "");
        client.for_a_loop().map_err(cannot)?;
        Ok(Self {
            paths: paths.clone(),
            client,
            wants,
            attached,
            view,
            next,
            received: 0,
            granted: VIEW_WINDOW,
            partial: Vec::new(),
            to_send: Vec::new(),
            lost: false,
        })
    }

    /// Which session it is.
    pub fn session(&self) -> &m::Attached {
        &self.attached
    }

    /// The session as people call it.
    pub fn label(&self) -> String {
        let m::Attached { name, session_id, .. } = &self.attached;
        if name.is_empty() {
            sessd_proto::docs::names::handle(session_id, sessd_proto::docs::names::HANDLE)
        } else {
            name.clone()
        }
    }

    /// Who we are, for what we type.
    pub fn view(&self) -> Uuid {
        self.view
    }

    /// The offset of the next output byte.
    pub fn offset(&self) -> Option<u64> {
        self.next
    }

    /// Sends a frame when the manager takes it.
    pub fn put(&mut self, frame: &Frame<'_>) {
        frame.put(0, &mut self.to_send);
    }

    /// Bytes that the manager has not taken.
    pub fn unsent(&self) -> usize {
        self.to_send.len()
    }

    /// What is seen next, waiting until `until`, or until `other` has something to read.
    ///
    /// # Errors
    /// When the session cannot be looked at any more.
    pub fn next(&mut self, until: Option<Instant>, other: Option<BorrowedFd<'_>>) -> Result<Told> {
        loop {
            if self.lost {
                match self.come_again() {
                    Ok(true) => {}
                    Ok(false) if until.is_some_and(|until| Instant::now() >= until) => {
                        return Ok(Told::Nothing);
                    }
                    Ok(false) => std::thread::sleep(AGAIN),
                    Err(error) if error.kind == Kind::NoSuchSession => return Ok(Told::Gone),
                    Err(error) => return Err(error),
                }
                continue;
            }
            if let Some(told) = self.decoded()? {
                return Ok(told);
            }
            self.write();
            if self.lost {
                continue;
            }
            match self.wait(until, other)? {
                (_, true) => self.read(),
                (true, false) => return Ok(Told::Nothing),
                (false, false) => {}
            }
        }
    }

    /// Whether the time is up or the other descriptor is ready, and whether the manager has said something.
    fn wait(&self, until: Option<Instant>, other: Option<BorrowedFd<'_>>) -> Result<(bool, bool)> {
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        let timeout =
            left.map(|left| Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() });
        let mut flags = PollFlags::IN;
        if !self.to_send.is_empty() {
            flags |= PollFlags::OUT;
        }
        let mut fds = vec![PollFd::from_borrowed_fd(self.client.stream.as_fd(), flags)];
        fds.extend(other.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        match rustix::event::poll(&mut fds, timeout.as_ref()) {
            Ok(0) => Ok((true, false)),
            Ok(_) => {
                let said = fds[0].revents();
                let others = fds.get(1).is_some_and(|fd| !fd.revents().is_empty());
                Ok((others, said.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR)))
            }
            // A signal: whoever waits for one looks.
            Err(rustix::io::Errno::INTR) => Ok((true, false)),
            Err(error) => Err(Error::failed(format!("it cannot be waited ({error})"), "")),
        }
    }

    fn write(&mut self) {
        while !self.to_send.is_empty() {
            match self.client.stream.write(&self.to_send) {
                Ok(n) => drop(self.to_send.drain(..n)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return self.lost = true,
            }
        }
    }

    fn read(&mut self) {
        let mut buffer = [0; 64 * 1024];
        match self.client.stream.read(&mut buffer) {
            Ok(0) => self.lost = true,
            Ok(n) => self.client.decoder.push(&buffer[..n]),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(_) => self.lost = true,
        }
    }

    /// The manager ended: the next one is asked for what follows on what we have.
    fn come_again(&mut self) -> Result<bool> {
        let job = self.attached.job_id.clone();
        let from = self.next.filter(|_| self.wants.output);
        let message = message(&self.attached.session_id, self.view, self.wants, from, &job);
        match attach(&self.paths, message) {
            Ok((client, attached)) => {
                client
                    .for_a_loop()
                    .map_err(|e| Error::failed(format!("the manager cannot be heard ({e})"), ""))?;
                (self.client, self.attached, self.lost) = (client, attached, false);
                (self.received, self.granted, self.partial) = (0, VIEW_WINDOW, Vec::new());
                self.to_send = Vec::new();
                Ok(true)
            }
            Err(error) if error.kind == Kind::Failed => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn decoded(&mut self) -> Result<Option<Told>> {
        loop {
            let broken = |e: sessd_proto::Invalid| Error::failed(e.to_string(), "`sessd daemon restart`");
            let Some(frame) = self.client.decoder.next_frame().map_err(broken)? else { return Ok(None) };
            let mut took = 0;
            let told = match frame.parse().map_err(broken)? {
                Frame::Snapshot { at, skipped, cols, rows, more, bytes } => {
                    self.partial.extend_from_slice(bytes);
                    took = bytes.len() as u64;
                    (!more).then(|| {
                        self.next = Some(at);
                        let size = Size { cols, rows }.clamped();
                        Told::Screen { at, skipped, size, snapshot: std::mem::take(&mut self.partial) }
                    })
                }
                Frame::Output { offset, bytes } => {
                    took = bytes.len() as u64;
                    let held = usize::try_from(self.next.unwrap_or(offset).saturating_sub(offset))
                        .unwrap_or(usize::MAX);
                    self.next = Some(self.next.unwrap_or(offset).max(offset + bytes.len() as u64));
                    bytes
                        .get(held..)
                        .filter(|fresh| !fresh.is_empty())
                        .map(|fresh| Told::Output(fresh.to_vec()))
                }
                Frame::ViewState(state) => Some(Told::State(state)),
                Frame::InputAck { view, seq } if view == self.view => Some(Told::Written(seq)),
                Frame::Ended(exit) => Some(match EndDoc::from(&exit) {
                    end if end.reason == Reason::Deleted && end.code.is_none() && end.signal.is_none() => {
                        Told::Gone
                    }
                    end => Told::Ended(end),
                }),
                Frame::Detach(detach) => Some(Told::SentAway(detach.detail)),
                Frame::Close(close) => return Err(Error::failed(close.detail, "try once more")),
                Frame::Ping(token) => {
                    Frame::Pong(token).put(0, &mut self.to_send);
                    None
                }
                Frame::Reply(m::Reply { answer: Some(Answer::Error(error)), .. }) => return Err(error.into()),
                _ => None,
            };
            self.received += took;
            if self.granted - self.received < VIEW_WINDOW / 2 {
                self.granted = self.received + VIEW_WINDOW;
                Frame::Credit(self.granted).put(0, &mut self.to_send);
            }
            if told.is_some() {
                return Ok(told);
            }
        }
    }
}

fn message(session: &str, view: Uuid, wants: Wants, resume: Option<u64>, job_id: &str) -> m::Attach {
    m::Attach {
        session: session.to_owned(),
        view_id: view.as_bytes().to_vec(),
        read_only: !wants.whole,
        lossless: wants.whole,
        kind: if wants.whole { "run" } else { "script" }.into(),
        resume,
        credit: VIEW_WINDOW,
        scrollback_lines: u32::try_from(wants.scrollback_lines).unwrap_or(u32::MAX),
        job_id: job_id.to_owned(),
        passive: true,
        uncounted: !wants.whole,
        no_output: !wants.output,
        ..m::Attach::default()
    }
}

/// Why a session on a host cannot be looked at, if its link says so and nothing will change that soon.
pub fn out_of_reach(host: &str, state: &m::ViewState) -> Option<Error> {
    let why =
        |what: &str| if state.detail.is_empty() { format!("{host} {what}") } else { state.detail.clone() };
    match LinkState::from_word(&state.link) {
        Some(LinkState::Down) => {
            Some(Error::new(Kind::Unreachable, why("is out of reach"), "try again when it is back"))
        }
        Some(LinkState::NeedsLogin) => {
            let hint = format!("log in once: `sessd attach` to a session on {host}");
            Some(Error::new(Kind::NeedsLogin, why("wants a login"), hint))
        }
        _ => None,
    }
}
