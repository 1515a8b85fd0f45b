//! The loop of one view: the terminal on one side, the manager on the other.
//!
//! The view is the end that counts. It knows which output byte it needs next, and which input was not acknowledged; so a
//! manager that is killed, a link that breaks, an agent that dies cost it nothing but time. When the manager is gone it
//! starts one again and goes on where it was.

use crate::clock;
use crate::config::Config;
use crate::error::{Error, Kind, Result};
use crate::paths::Paths;
use crate::view::client::Client;
use crate::view::keys::{Keys, Typed};
use crate::view::terminal::{self, Raw};
use crate::view::typed::{AHEAD_MAX, Outgoing};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use sessd_core::record::End;
use sessd_proto::limits::VIEW_WINDOW;
use sessd_proto::messages::{self as m, Answer};
use sessd_proto::{Frame, Uuid};
use sessd_terminal::{Outstanding, QueryScanner, ReplyFilter};
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// How long the path to the job may be broken before the view says so: most breaks are over by then.
const SAY_AFTER_MS: u64 = 1_500;
/// How often what is said is brought up to date.
const SAY_AGAIN_MS: u64 = 1_000;
/// Bytes read at a time of what is typed.
const READ_MAX: usize = 16 * 1024;
/// How long an ESC waits for what may follow it, where answers must be told from keys.
const ESCAPE_MS: u64 = 30;
/// How long a question of the job to our terminal is taken as unanswered.
const ANSWER_MS: u64 = 10_000;
/// When the view leaves: how long to wait for an answer that is on its way, so that it does not go to the user's shell.
const LATE_ANSWER: Duration = Duration::from_millis(150);
/// How long a notice is shown, and for how long of that the output waits beneath it; a key ends both.
const NOTICE_MS: u64 = 4_000;
const NOTICE_HOLDS_MS: u64 = 1_500;
/// Output is not made to wait for a notice again before this.
const NOTICE_AGAIN_MS: u64 = 30_000;
/// How long a manager may take to come back before the view gives up.
const MANAGER_BACK: Duration = Duration::from_secs(60);

/// What is asked of a view.
#[derive(Debug, Clone)]
pub struct Request {
    /// Name, id or beginning of one.
    pub session: String,
    /// Nothing typed here goes to the job.
    pub read_only: bool,
    /// Other views are sent away.
    pub take: bool,
    /// The job waits for this view.
    pub lossless: bool,
    /// No key leaves; only the job's end or `sessd detach` does.
    pub no_detach_key: bool,
}

/// How a view ended.
#[derive(Debug)]
pub enum Outcome {
    /// Its user left, or it was sent away.
    Detached(String),
    /// The job ended.
    Ended(String, End),
    /// A signal told it to go.
    Signal(i32),
}

struct View<'a> {
    paths: &'a Paths,
    request: Request,
    id: Uuid,
    began: Instant,
    client: Client,
    label: String,
    session: String,
    job: String,
    /// The next output byte needed; none: nothing was shown yet.
    need: Option<u64>,
    /// A snapshot of which not all parts are here.
    partial: Vec<u8>,
    /// Bytes shown since this connection began, and how many were allowed.
    shown: u64,
    granted: u64,
    keys: Keys,
    outgoing: Outgoing,
    to_manager: Vec<u8>,
    to_terminal: Vec<u8>,
    written: usize,
    state: m::ViewState,
    path_broken_since: Option<u64>,
    /// The line about the broken path: not there, or what is needed to take it away.
    line: Line,
    answers: ReplyFilter,
    /// Finds what the job asks its terminal.
    questions: QueryScanner,
    /// Cursor reports our terminal was asked for, as far as we saw.
    outstanding: Outstanding,
    /// Questions shown to our terminal without an answer yet, and when the last one was.
    unanswered: usize,
    asked_at: u64,
    /// Typed bytes that were not sent and never will be, not told to the user yet.
    dropped: usize,
    /// What is to be said once the screen beneath is known.
    to_say: String,
    /// When output last waited for a notice.
    noticed_at: Option<u64>,
    /// When a lone ESC that may begin an answer was held back.
    escape_held_at: Option<u64>,
    scrollback_lines: u32,
    stdin_open: bool,
}

/// Shows a session on this terminal until the user leaves or the job ends.
///
/// # Errors
/// Why it cannot be shown.
pub fn run(paths: &Paths, config: &Config, request: Request) -> Result<Outcome> {
    let mut client = Client::connect(paths)?;
    // Whether there is such a session is found out before the terminal is touched.
    let id = Uuid::now_v7();
    let size = terminal::size();
    let attach = attach_message(&request, id, size, None, String::new(), config.scrollback_lines);
    client.send(&Frame::Attach(attach))?;
    let attached = wait_attached(&mut client)?;
    if std::env::var("SESSD_SESSION").is_ok_and(|id| id == attached.session_id) {
        return Err(Error::failed(
            "this terminal is inside that session",
            "a view of itself would show itself without end",
        ));
    }
    let raw = Raw::take()?;
    let keys = Keys::new(config.detach_key.filter(|_| !request.no_detach_key));
    let mut view = View {
        paths,
        id,
        began: Instant::now(),
        client,
        label: if attached.name.is_empty() { attached.session_id.clone() } else { attached.name.clone() },
        session: attached.session_id,
        job: attached.job_id,
        need: None,
        partial: Vec::new(),
        shown: 0,
        granted: VIEW_WINDOW,
        keys,
        outgoing: Outgoing::new(),
        to_manager: Vec::new(),
        to_terminal: Vec::new(),
        written: 0,
        state: m::ViewState::default(),
        path_broken_since: None,
        line: Line::Away,
        answers: ReplyFilter::default(),
        questions: QueryScanner::default(),
        outstanding: Outstanding::default(),
        unanswered: 0,
        asked_at: 0,
        dropped: 0,
        to_say: String::new(),
        noticed_at: None,
        escape_held_at: None,
        scrollback_lines: config.scrollback_lines,
        stdin_open: true,
        request,
    };
    let outcome = view.run(size);
    drop(raw);
    outcome
}

fn attach_message(
    request: &Request,
    id: Uuid,
    size: Option<(u16, u16)>,
    resume: Option<u64>,
    job_id: String,
    scrollback_lines: u32,
) -> m::Attach {
    let (cols, rows) = size.unwrap_or((0, 0));
    m::Attach {
        session: request.session.clone(),
        view_id: id.as_bytes().to_vec(),
        cols: cols.into(),
        rows: rows.into(),
        read_only: request.read_only,
        take: request.take,
        lossless: request.lossless,
        kind: "cli".into(),
        resume,
        credit: VIEW_WINDOW,
        scrollback_lines,
        job_id,
    }
}

fn wait_attached(client: &mut Client) -> Result<m::Attached> {
    use std::io::Read;
    let mut buffer = [0; 16 * 1024];
    loop {
        while let Some(frame) = client.decoder.next_frame().map_err(|e| Error::failed(e.to_string(), ""))? {
            match frame.parse() {
                Ok(Frame::Hello(theirs)) => {
                    sessd_proto::negotiate(&theirs).map_err(|skew| {
                        Error::new(
                            Kind::VersionSkew,
                            skew.to_string(),
                            "`sessd daemon restart` starts this version",
                        )
                    })?;
                }
                Ok(Frame::Attached(attached)) => return Ok(attached),
                Ok(Frame::Reply(m::Reply { answer: Some(Answer::Error(error)), .. })) => {
                    return Err(error.into());
                }
                Ok(Frame::Close(close)) => return Err(Error::failed(close.detail, "")),
                _ => {}
            }
        }
        match client.stream.read(&mut buffer) {
            Ok(0) => return Err(Error::failed("the manager went away", "try again: it starts by itself")),
            Ok(n) => client.decoder.push(&buffer[..n]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => {
                return Err(Error::failed(
                    format!("the manager went away ({error})"),
                    "try again: it starts by itself",
                ));
            }
        }
    }
}

/// Signals as readable sockets, so that the one loop hears them.
struct Signals {
    resized: UnixStream,
    told_to_go: Vec<(i32, UnixStream)>,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGWINCH};
        let pipe = |signal: i32| -> std::io::Result<UnixStream> {
            let (read, write) = UnixStream::pair()?;
            read.set_nonblocking(true)?;
            signal_hook::low_level::pipe::register(signal, write)?;
            Ok(read)
        };
        let told_to_go = [SIGHUP, SIGINT, SIGQUIT, SIGTERM]
            .into_iter()
            .map(|s| Ok((s, pipe(s)?)))
            .collect::<std::io::Result<_>>()?;
        Ok(Self { resized: pipe(SIGWINCH)?, told_to_go })
    }
}

fn drain(mut stream: &UnixStream) -> bool {
    use std::io::Read;
    let mut buffer = [0; 64];
    let mut any = false;
    while matches!(stream.read(&mut buffer), Ok(n) if n > 0) {
        any = true;
    }
    any
}

impl View<'_> {
    fn now(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }

    fn run(&mut self, mut size: Option<(u16, u16)>) -> Result<Outcome> {
        let signals =
            Signals::listen().map_err(|e| Error::failed(format!("signals cannot be heard ({e})"), ""))?;
        self.client.stream.set_nonblocking(true).map_err(|e| Error::failed(e.to_string(), ""))?;
        // What came together with the answer to the attach.
        if let Some(outcome) = self.take_frames()? {
            return self.leave(outcome);
        }
        loop {
            self.release_escape();
            self.send_input();
            let ready = self.wait(&signals)?;
            for (signal, stream) in signals.told_to_go.iter().filter(|_| ready.signal) {
                if drain(stream) {
                    return self.leave(Outcome::Signal(*signal));
                }
            }
            if ready.signal && drain(&signals.resized) {
                let new = terminal::size();
                // What the terminal made of its screen is anybody's guess. A leader's new size brings a new screen by itself.
                if new == size || !self.state.leader {
                    Frame::Subscribe(m::Subscribe::default()).put(0, &mut self.to_manager);
                }
                if let Some((cols, rows)) = new.filter(|_| new != size) {
                    Frame::Resize(m::Resize { cols: cols.into(), rows: rows.into() })
                        .put(0, &mut self.to_manager);
                }
                size = new;
            }
            if ready.stdin
                && let Some(outcome) = self.read_stdin()
            {
                return self.leave(outcome);
            }
            if self.keys.timeout(self.now()) {
                return self.leave(self.detached());
            }
            if ready.manager
                && let Some(outcome) = self.read_manager()?
            {
                return self.leave(outcome);
            }
            if !self.flush_manager() {
                self.manager_lost()?;
            }
            self.write_terminal(ready.stdout);
            self.say();
        }
    }

    /// What is left to show is shown first: the last words of a job belong to its end.
    fn leave(&mut self, outcome: Outcome) -> Result<Outcome> {
        if matches!(outcome, Outcome::Signal(_)) && self.written < self.to_terminal.len() {
            // A terminal that does not take what it is given must not keep us from going.
            self.to_terminal.clear();
            self.written = 0;
        } else {
            self.unsay();
        }
        while self.written < self.to_terminal.len() {
            let before = self.written;
            self.write_terminal(true);
            if self.written == before && !self.to_terminal.is_empty() {
                break;
            }
        }
        self.await_answers();
        if matches!(outcome, Outcome::Detached(_) | Outcome::Signal(_)) {
            self.to_manager.extend_from_slice(&Frame::Detach(m::Detach::default()).to_bytes(0));
            // If the manager is gone there is nobody to tell; one that does not listen is not waited for long.
            let _ = self.client.stream.set_nonblocking(false);
            let _ = self.client.stream.set_write_timeout(Some(Duration::from_secs(1)));
            self.flush_manager();
        }
        Ok(outcome)
    }

    /// What our terminal still answers is not for the user's shell.
    fn await_answers(&mut self) {
        if self.unanswered == 0 || self.now() >= self.asked_at + ANSWER_MS {
            return;
        }
        let until = Instant::now() + LATE_ANSWER;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let timeout = Timespec { tv_sec: 0, tv_nsec: left.subsec_nanos().into() };
            let mut fds = [PollFd::from_borrowed_fd(rustix::stdio::stdin(), PollFlags::IN)];
            if !matches!(rustix::event::poll(&mut fds, Some(&timeout)), Ok(1..)) {
                return;
            }
            match rustix::io::read(rustix::stdio::stdin(), &mut [0; 4096]) {
                Ok(n) if n > 0 => {}
                _ => return,
            }
        }
    }

    fn detached(&self) -> Outcome {
        Outcome::Detached(self.label.clone())
    }

    fn path_is_up(&self) -> bool {
        matches!(self.state.link.as_str(), "up" | "local")
    }

    fn wait(&mut self, signals: &Signals) -> Result<Ready> {
        let now = self.now();
        let said = match (&self.line, self.path_broken_since) {
            (Line::Notice(notice), _) => Some(notice.ends_at()),
            (_, None) => None,
            (Line::Away, Some(since)) => Some(since + SAY_AFTER_MS),
            (Line::Asked(at) | Line::Shown { at, .. }, Some(_)) => Some(at + SAY_AGAIN_MS),
        };
        let escape = self.escape_held_at.map(|at| at + ESCAPE_MS);
        let deadline = [self.keys.deadline_ms(), said, escape].into_iter().flatten().min();
        let timeout = deadline.map(|at| {
            let ms = at.saturating_sub(now);
            Timespec { tv_sec: (ms / 1000) as i64, tv_nsec: (ms % 1000 * 1_000_000) as i64 }
        });
        let (stdin, stdout) = (rustix::stdio::stdin(), rustix::stdio::stdout());
        let mut fds = vec![PollFd::new(&signals.resized, PollFlags::IN)];
        fds.extend(signals.told_to_go.iter().map(|(_, s)| PollFd::new(s, PollFlags::IN)));
        let manager_at = fds.len();
        let mut flags = PollFlags::empty();
        // While the terminal is behind, the manager waits: it was given credit for no more than this.
        if self.to_terminal.len() - self.written + self.line.holds() < VIEW_WINDOW as usize {
            flags |= PollFlags::IN;
        }
        if !self.to_manager.is_empty() {
            flags |= PollFlags::OUT;
        }
        fds.push(PollFd::new(&self.client.stream, flags));
        let stdin_at = fds.len();
        if self.stdin_open && self.may_read() {
            fds.push(PollFd::from_borrowed_fd(stdin, PollFlags::IN));
        }
        let stdout_at = fds.len();
        if self.written < self.to_terminal.len() {
            fds.push(PollFd::from_borrowed_fd(stdout, PollFlags::OUT));
        }
        match rustix::event::poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(Error::failed(format!("the view cannot wait ({error})"), "")),
        }
        let any = |at: usize| fds.get(at).is_some_and(|fd| !fd.revents().is_empty());
        Ok(Ready {
            signal: (0..manager_at).any(any),
            manager: fds[manager_at].revents().intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR),
            stdin: stdin_at < stdout_at && any(stdin_at),
            stdout: any(stdout_at),
        })
    }

    /// May more be read of what is typed? A paste waits in the terminal while the job is slow to take it, and over a
    /// short break too; once a break is said, what is too much is read and refused, so that the detach key works.
    fn may_read(&self) -> bool {
        match (self.path_is_up(), &self.line) {
            (true, _) => self.outgoing.waiting() < AHEAD_MAX,
            (false, Line::Shown { .. }) => true,
            (false, _) => self.outgoing.room() >= READ_MAX,
        }
    }

    fn read_stdin(&mut self) -> Option<Outcome> {
        let mut buffer = [0; READ_MAX];
        let n = match rustix::io::read(rustix::stdio::stdin(), &mut buffer) {
            Ok(0) | Err(Errno::IO) => {
                // The terminal is gone; the SIGHUP that says so may have been taken from us.
                self.stdin_open = false;
                return Some(self.detached());
            }
            Ok(n) => n,
            Err(_) => return None,
        };
        let now = self.now();
        let held = !self.path_is_up();
        let (bytes, leaves) = match self.keys.typed(&buffer[..n], now) {
            Typed::Bytes(bytes) => (bytes, false),
            Typed::Leave(bytes) => (bytes, true),
        };
        self.typed(&bytes, held, now);
        if leaves {
            self.send_input();
            return Some(self.detached());
        }
        None
    }

    /// What is typed goes to the job, but for what our terminal answers to a question that is not ours to answer: only the
    /// leader's terminal speaks for the session, and only while the question is fresh.
    fn typed(&mut self, bytes: &[u8], held: bool, now: u64) {
        if self.request.read_only {
            return;
        }
        if now >= self.asked_at + ANSWER_MS {
            (self.outstanding, self.unanswered) = (Outstanding::default(), 0);
        }
        let leads = self.state.leader && !held;
        let mut parts: Vec<(bool, Vec<u8>)> = Vec::new();
        self.answers.divide(bytes, &mut self.outstanding, |answer, part| parts.push((answer, part.to_vec())));
        if leads {
            // Nothing is kept from the job but for a moment's doubt, and here there is none.
            let mut keys = Vec::new();
            self.answers.flush(&mut keys);
            parts.push((false, keys));
        }
        self.escape_held_at = self.answers.is_holding().then_some(now);
        for (answer, part) in parts {
            if answer {
                self.unanswered = self.unanswered.saturating_sub(1);
                if leads {
                    self.outgoing.answered(&part, now);
                }
            } else if !part.is_empty() {
                // Who types wants to see what comes of it.
                if matches!(self.line, Line::Notice(_)) {
                    self.unsay();
                }
                self.outgoing.typed(&part, held, now);
            }
        }
    }

    /// Nothing followed the ESC that was held back: it is the Escape key.
    fn release_escape(&mut self) {
        let now = self.now();
        if self.escape_held_at.is_some_and(|at| now >= at + ESCAPE_MS) {
            self.escape_held_at = None;
            let mut keys = Vec::new();
            self.answers.flush(&mut keys);
            let held = !self.path_is_up();
            self.outgoing.typed(&keys, held, now);
        }
    }

    fn send_input(&mut self) {
        if !self.path_is_up() {
            return;
        }
        while let Some(next) = self.outgoing.next_to_send() {
            Frame::Input { view: self.id, seq: next.seq, withdrawn: next.withdrawn, bytes: next.bytes }
                .put(0, &mut self.to_manager);
        }
        self.flush_manager();
    }

    /// False when the manager is gone.
    fn flush_manager(&mut self) -> bool {
        while !self.to_manager.is_empty() {
            match self.client.stream.write(&self.to_manager) {
                Ok(n) => {
                    self.to_manager.drain(..n);
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return true,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
        true
    }

    fn read_manager(&mut self) -> Result<Option<Outcome>> {
        let buffer = self.client.decoder.buffer_mut();
        buffer.reserve(64 * 1024);
        match rustix::io::read(&self.client.stream, rustix::buffer::spare_capacity(buffer)) {
            Ok(0) => {}
            Ok(_) => return self.take_frames(),
            Err(Errno::AGAIN | Errno::INTR) => return Ok(None),
            Err(_) => {}
        }
        self.manager_lost()?;
        Ok(None)
    }

    fn take_frames(&mut self) -> Result<Option<Outcome>> {
        let mut decoder = std::mem::take(&mut self.client.decoder);
        let mut outcome = None;
        while let Some(raw) =
            decoder.next_frame().map_err(|e| Error::failed(e.to_string(), "`sessd daemon restart`"))?
        {
            let frame = raw.parse().map_err(|e| Error::failed(e.to_string(), "`sessd daemon restart`"))?;
            outcome = self.handle(frame)?;
            if outcome.is_some() {
                break;
            }
        }
        self.client.decoder = decoder;
        self.grant();
        Ok(outcome)
    }

    fn grant(&mut self) {
        let total = self.shown + VIEW_WINDOW;
        if total - self.granted >= VIEW_WINDOW / 2 {
            self.granted = total;
            Frame::Credit(total).put(0, &mut self.to_manager);
        }
    }

    /// Output for the terminal.
    fn show(&mut self, bytes: &[u8], now: u64) {
        let asks = self.questions.sees_query(bytes);
        for query in asks.iter().flatten() {
            self.outstanding.cursor_reports =
                self.outstanding.cursor_reports.saturating_add(query.cursor_reports());
            (self.unanswered, self.asked_at) = (self.unanswered + 1, now);
        }
        match &mut self.line {
            Line::Notice(notice) if asks.is_none() && now < notice.holds_until => {
                notice.held.extend_from_slice(bytes);
            }
            _ => {
                self.unsay();
                terminal::pass(bytes, &mut self.to_terminal);
            }
        }
    }

    /// A whole screen for the terminal.
    fn show_screen(&mut self, at: u64, skipped: u64, screen: Vec<u8>, now: u64) {
        self.questions = QueryScanner::default();
        if matches!(self.line, Line::Asked(_)) && self.need == Some(at) {
            // What the line will hide, to be drawn when it goes.
            self.line = Line::Shown { at: 0, beneath: screen };
            return;
        }
        terminal::pass_snapshot(&screen, &mut self.to_terminal);
        self.need = Some(at);
        let mut text = std::mem::take(&mut self.to_say);
        let (mut holds_until, mut until) = (now, now + NOTICE_MS);
        if let Line::Notice(old) = std::mem::replace(&mut self.line, Line::Away) {
            (holds_until, until) = (old.holds_until, old.until);
            if skipped == 0 && text.is_empty() {
                text = old.text;
            }
        }
        if skipped > 0 {
            text = format!("{skipped} bytes of output were skipped, this is the newest");
            if self.noticed_at.is_none_or(|at| now >= at + NOTICE_AGAIN_MS) {
                self.noticed_at = Some(now);
                holds_until = now + NOTICE_HOLDS_MS;
            }
            until = now + NOTICE_MS;
        }
        if !text.is_empty() && now < until {
            self.draw_line(&format!(" sessd: {text}"));
            self.line = Line::Notice(Notice { text, holds_until, until, beneath: screen, held: Vec::new() });
        }
    }

    fn handle(&mut self, frame: Frame<'_>) -> Result<Option<Outcome>> {
        let now = self.now();
        match frame {
            Frame::Output { offset, bytes } => {
                self.shown += bytes.len() as u64;
                let need = *self.need.get_or_insert(offset);
                if let Some(fresh) = need.checked_sub(offset).and_then(|held| bytes.get(held as usize..)) {
                    self.show(fresh, now);
                    self.need = Some(need + fresh.len() as u64);
                } else if offset > need {
                    // Bytes are missing, which must not be: the whole screen again is right in any case.
                    Frame::Subscribe(m::Subscribe::default()).put(0, &mut self.to_manager);
                }
            }
            Frame::Snapshot { at, skipped, more, bytes, .. } => {
                self.shown += bytes.len() as u64;
                self.partial.extend_from_slice(bytes);
                if !more {
                    let screen = std::mem::take(&mut self.partial);
                    self.show_screen(at, skipped, screen, now);
                }
            }
            Frame::InputAck { view, seq } if view == self.id => self.outgoing.acknowledged(seq),
            Frame::ViewState(state) => self.state_changed(state),
            Frame::Attached(attached) if attached.job_id != self.job => {
                // A restart made a new job: nothing old is of use to it.
                (self.job, self.need) = (attached.job_id, None);
                self.outgoing = Outgoing::new();
            }
            Frame::Ended(exit) => return Ok(Some(Outcome::Ended(self.label.clone(), End::from(&exit)))),
            Frame::Detach(_) => return Ok(Some(self.detached())),
            Frame::Reply(m::Reply { answer: Some(Answer::Error(error)), .. }) => return Err(error.into()),
            Frame::Close(close) => return Err(Error::failed(close.detail, "attach again")),
            _ => {}
        }
        Ok(None)
    }

    fn state_changed(&mut self, state: m::ViewState) {
        let now = self.now();
        let new_path = state.epoch != self.state.epoch;
        self.state = state;
        if self.path_is_up() {
            if new_path {
                self.outgoing.path_is_new(now);
                self.dropped += self.outgoing.take_dropped();
            }
            self.path_broken_since = None;
            if !matches!(self.line, Line::Notice(_)) {
                self.unsay();
            }
            let dropped = std::mem::take(&mut self.dropped);
            if dropped > 0 {
                self.to_say = format!("{dropped} bytes typed meanwhile were not sent");
                Frame::Subscribe(m::Subscribe::default()).put(0, &mut self.to_manager);
            }
        } else {
            self.path_broken_since.get_or_insert(now);
        }
    }

    /// The manager is gone: start one, and go on where we were.
    fn manager_lost(&mut self) -> Result<()> {
        let now = self.now();
        self.state.link = "down".into();
        self.state.detail = "the manager is gone".into();
        self.path_broken_since.get_or_insert(now);
        self.partial.clear();
        self.to_manager.clear();
        if matches!(self.line, Line::Asked(_)) {
            self.line = Line::Away;
        }
        let until = Instant::now() + MANAGER_BACK;
        loop {
            match self.connect_again() {
                Ok(()) => break,
                Err(error) if Instant::now() >= until || error.kind == Kind::NoSuchSession => {
                    return Err(error);
                }
                // Another manager may be about to end, or the machine is short of something for a moment.
                Err(_) => std::thread::sleep(Duration::from_millis(100)),
            }
        }
        Ok(())
    }

    fn connect_again(&mut self) -> Result<()> {
        let mut client = Client::connect(self.paths)?;
        let request = Request { session: self.session.clone(), take: false, ..self.request.clone() };
        let lines = if self.need.is_some() { 0 } else { self.scrollback_lines };
        let attach = attach_message(&request, self.id, terminal::size(), self.need, self.job.clone(), lines);
        client.send(&Frame::Attach(attach))?;
        let attached = wait_attached(&mut client)?;
        client.stream.set_nonblocking(true).map_err(|e| Error::failed(e.to_string(), ""))?;
        self.client = client;
        (self.shown, self.granted) = (0, VIEW_WINDOW);
        // The numbers of paths begin anew with each manager.
        self.state.epoch = u64::MAX;
        self.handle(Frame::Attached(attached))?;
        Ok(())
    }

    fn write_terminal(&mut self, ready: bool) {
        /// Written at a time: what a terminal takes without making us wait long.
        const CHUNK: usize = 32 * 1024;
        if ready || self.written < self.to_terminal.len() && self.written == 0 {
            let end = self.to_terminal.len().min(self.written + CHUNK);
            match rustix::io::write(rustix::stdio::stdout(), &self.to_terminal[self.written..end]) {
                Ok(n) => self.written += n,
                Err(Errno::INTR | Errno::AGAIN) => {}
                // A terminal that is gone is noticed by reading it.
                Err(_) => self.written = self.to_terminal.len(),
            }
        }
        if self.written == self.to_terminal.len() {
            self.to_terminal.clear();
            self.written = 0;
        }
    }

    /// One line at the bottom while the path is broken. What is beneath it is fetched first: the manager has it, and the line
    /// must go without a trace.
    fn say(&mut self) {
        let now = self.now();
        if matches!(&self.line, Line::Notice(notice) if now >= notice.ends_at()) {
            self.unsay();
        }
        let Some(since) = self.path_broken_since else { return };
        match self.line {
            Line::Away if now >= since + SAY_AFTER_MS => {
                Frame::Subscribe(m::Subscribe::default()).put(0, &mut self.to_manager);
                self.flush_manager();
                self.line = Line::Asked(now);
                return;
            }
            // A manager that was just started does not know the screen, and its host is out of reach.
            Line::Asked(at) if now >= at + SAY_AGAIN_MS => {
                self.line = Line::Shown { at: 0, beneath: Vec::new() }
            }
            Line::Shown { at, .. } if at == 0 || now >= at + SAY_AGAIN_MS => {}
            _ => return,
        }
        self.outgoing.withdraw_old(now);
        self.dropped += self.outgoing.take_dropped();
        if let Line::Shown { at, .. } = &mut self.line {
            *at = now;
        }
        let seconds = self.state.next_try_ms.map(|at| (at as i64 - clock::wall_ms()).max(0) / 1000);
        let mut text = format!(" sessd: {} is {}", self.label, self.state.link);
        if let Some(seconds) = seconds {
            text += &format!(", next try in {seconds} s");
        }
        if self.outgoing.waiting() > 0 {
            text += &format!(", {} typed bytes held", self.outgoing.waiting());
        }
        if self.dropped > 0 {
            text += &format!(", {} dropped", self.dropped);
        }
        if !self.state.detail.is_empty() {
            text += &format!(" ({})", self.state.detail);
        }
        self.draw_line(&text);
        self.write_terminal(true);
    }

    fn draw_line(&mut self, text: &str) {
        let (cols, rows) = terminal::size().unwrap_or((80, 24));
        let text: String = text.chars().filter(|c| !c.is_control()).take(cols.into()).collect();
        // DECSC and DECRC around it: the cursor is where it was.
        let line = format!("\x1b7\x1b[?6l\x1b[r\x1b[{rows};1H\x1b[0;7m{text}\x1b[K\x1b[0m\x1b8");
        self.to_terminal.extend_from_slice(line.as_bytes());
    }

    /// The line goes, and the screen is as if it had never been there.
    fn unsay(&mut self) {
        match std::mem::replace(&mut self.line, Line::Away) {
            Line::Shown { beneath, .. } if beneath.is_empty() => {
                let rows = terminal::size().map_or(24, |(_, rows)| rows);
                self.to_terminal.extend_from_slice(
                    format!("\x1b7\x1b[?6l\x1b[r\x1b[{rows};1H\x1b[0m\x1b[K\x1b8").as_bytes(),
                );
                Frame::Subscribe(m::Subscribe::default()).put(0, &mut self.to_manager);
            }
            Line::Shown { beneath, .. } => terminal::pass_snapshot(&beneath, &mut self.to_terminal),
            Line::Notice(notice) => {
                terminal::pass_snapshot(&notice.beneath, &mut self.to_terminal);
                terminal::pass(&notice.held, &mut self.to_terminal);
            }
            Line::Away | Line::Asked(_) => {}
        }
    }
}

/// The line at the bottom that is ours.
#[derive(Debug, PartialEq, Eq)]
enum Line {
    /// Not there.
    Away,
    /// The path is broken, and the screen beneath the line that will say so was asked for, then.
    Asked(u64),
    /// The path is broken, and it says so since `at` (0: about to be), over this screen.
    Shown { at: u64, beneath: Vec<u8> },
    /// Something is to be known about the stream.
    Notice(Notice),
}

impl Line {
    /// Bytes of output that wait beneath it.
    fn holds(&self) -> usize {
        if let Self::Notice(notice) = self { notice.held.len() } else { 0 }
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Notice {
    text: String,
    /// Output that comes before this waits; what comes later ends the notice.
    holds_until: u64,
    until: u64,
    beneath: Vec<u8>,
    held: Vec<u8>,
}

impl Notice {
    fn ends_at(&self) -> u64 {
        if self.held.is_empty() { self.until } else { self.holds_until }
    }
}

struct Ready {
    signal: bool,
    manager: bool,
    stdin: bool,
    stdout: bool,
}
