//! The loop of one view: the terminal on one side, the manager on the other.
//!
//! The view is the end that counts. It knows which output byte it needs next, and which input was not acknowledged; so a
//! manager that is killed, a link that breaks, an agent that dies cost it nothing but time. When the manager is gone it
//! starts one again and goes on where it was.
//!
//! What is typed may be shown before the job shows it: `foretold`.
//!
//! Here is the loop, and the way from the keyboard to what is sent; what is said with the manager is in `manager`, what
//! reaches the screen, and the one line that is ours on it, in `line`; how it ends in `leaving`.

mod asked;
mod foretold;
mod leaving;
mod line;
mod manager;

use crate::view::abilities;
use crate::view::plain::is_plain;
use crate::view::signals::{PendingSignals, Signals};
use crate::view::terminal::{self, Raw};
use crate::view::words::{self, Trouble};
use asked::OpenQuestion;
use foretold::Foretold;
use leaving::Burst;
use line::Line;
use manager::{Lost, hear_attached, wait_attached};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use sessd_base::asking::Asking;
use sessd_base::clock;
use sessd_base::config::{Config, Predict};
use sessd_base::out;
use sessd_base::paths::Paths;
use sessd_client::connect::Client;
use sessd_client::core::{ViewCore, Wants};
use sessd_client::keys::{ESCAPE_MS, Keys, Typed};
use sessd_client::path;
use sessd_client::typed::AHEAD_MAX;
use sessd_proto::docs::names::{HANDLE, handle};
use sessd_proto::docs::{EndDoc, Error, Result};
use sessd_proto::limits::VIEW_WINDOW;
use sessd_proto::messages as m;
use sessd_proto::{Frame, Uuid};
use sessd_terminal::{Outstanding, QueryScanner, ReplyFilter};
use std::time::Instant;

/// How often what is said is brought up to date.
const SAY_AGAIN_MS: u64 = 1_000;
/// How long the manager may take to send the screen over which it is told what was not delivered.
const SCREEN_MS: u64 = 2_000;
/// How often a view that only reads says that keys go nowhere.
const READ_ONLY_MS: u64 = 5_000;
const BELL: u8 = 0x07;
/// Bytes read at a time of what is typed.
const READ_MAX: usize = 16 * 1024;
/// How long a question of the job to our terminal is taken as unanswered.
const ANSWER_MS: u64 = 10_000;
/// How long the rest of what only a terminal says waits for: no person types it, and a slow path may cut it.
const REST_MS: u64 = 300;
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
    /// Whether what is typed is shown before the job shows it; none: as the configuration says.
    pub predict: Option<Predict>,
}

/// How a view ended.
#[derive(Debug)]
pub enum Outcome {
    /// Its user left, or it was sent away.
    Detached {
        /// The session, by its name.
        label: String,
        /// Why, if its user did not leave by themselves; one sentence, or empty.
        why: String,
    },
    /// The job ended.
    Ended(String, EndDoc),
    /// A signal told it to go.
    Signal(i32),
}

struct View<'a> {
    paths: &'a Paths,
    request: Request,
    core: ViewCore,
    began: Instant,
    client: Client,
    /// The manager is gone, and is looked for.
    lost: Option<Lost>,
    label: String,
    host: String,
    keys: Keys,
    burst: Burst,
    to_terminal: Vec<u8>,
    written: usize,
    /// The terminal shows more than ASCII.
    wide: bool,
    /// The terminal can only be written to.
    plain: bool,
    /// What was said on it last of what changes from second to second.
    plain_said: String,
    /// The key that leaves, in words.
    leave_key: Option<String>,
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
    /// When something was shown that is no question we know and may be answered all the same.
    maybe_asked_at: Option<u64>,
    /// The longest that our terminal has taken for an answer, in milliseconds.
    slowest_answer: u64,
    /// What is to be said once the screen beneath is known.
    to_say: String,
    /// The number of the path that the manager said last.
    epoch: Option<u64>,
    /// What was not delivered is to be told over the next screen, which was asked for then.
    asked_to_tell_at: Option<u64>,
    /// Frames came with the answer of a manager that was found.
    read_on: bool,
    /// A heartbeat of the manager's, to be answered when so much of what is to be shown has been written.
    pong: Option<(u64, usize)>,
    /// The sizes of the session and of ours that were said to be different, and when that is due.
    part_told: Option<((u32, u32), (u16, u16))>,
    part_at: Option<u64>,
    /// What was said of the sizes last.
    part_said: String,
    /// Rows of our terminal below which there is no text, told as we leave.
    text_rows: Option<u32>,
    /// When it was last said that keys go nowhere.
    told_read_only_at: Option<u64>,
    /// When it was last said that output was skipped.
    noticed_at: Option<u64>,
    /// When a key was last typed.
    typed_at: Option<u64>,
    /// When a lone ESC that may begin an answer was held back.
    escape_held_at: Option<u64>,
    stdin_open: bool,
    /// A question of the host that is open.
    asked: Option<OpenQuestion>,
    /// What is shown before the job shows it.
    foretold: Foretold,
}

/// Shows a session on this terminal until the user leaves or the job ends. `client`: a connection on which nothing is waited for.
///
/// # Errors
/// Why it cannot be shown.
pub fn run(paths: &Paths, client: Option<Client>, config: &Config, request: Request) -> Result<Outcome> {
    // Whether there is such a session is found out before the terminal is touched.
    let size = terminal::size();
    let wide = words::locale_is_wide(|name| std::env::var(name).ok());
    let plain = is_plain(std::env::var("TERM").ok().as_deref());
    let can = abilities::here(wide);
    let wants = Wants {
        read_only: request.read_only,
        lossless: request.lossless,
        take: request.take,
        from: seat(),
        colours: can.colours,
        lacks: can.lacks | if plain { m::lacks::DIFFERENCES } else { 0 },
        terminal: terminal::name(),
        images: config.images,
        ..Wants::terminal(config.scrollback_lines)
    };
    let mut core = ViewCore::new(Uuid::now_v7(), &request.session, wants, size);
    if let Some(traits) = terminal::traits() {
        core.is_like(traits);
    }
    let (client, attached) = begin(paths, client, &core)?;
    core.handle(Frame::Attached(attached.clone()))?;
    if std::env::var("SESSD_SESSION").is_ok_and(|id| id == attached.session_id) {
        return Err(Error::failed(
            "this terminal is inside that session",
            "attach from another one: a view of itself would show itself without end",
        ));
    }
    let detach_key = config.detach_key.filter(|_| !request.no_detach_key);
    let leave_key = detach_key.map(words::key_name);
    let label =
        if attached.name.is_empty() { handle(&attached.session_id, HANDLE) } else { attached.name.clone() };
    let mut to_say = words::beginning(&attached, request.read_only, leave_key.as_deref());
    if attached.sent_away == 0 && !request.read_only && !to_say.is_empty() {
        // Nothing that this view does otherwise: it is said before, and lies over nothing that is shown.
        out::say(&format!("[{label}: {}]", std::mem::take(&mut to_say)));
    }
    let wide = words::locale_is_wide(|name| std::env::var(name).ok());
    let raw = Raw::take(plain, wide)?;
    let keys = Keys::new(detach_key);
    let mut view = View {
        paths,
        core,
        began: Instant::now(),
        client,
        lost: None,
        label,
        host: attached.host.clone(),
        keys,
        burst: Burst::default(),
        to_terminal: Vec::new(),
        written: 0,
        wide,
        plain,
        plain_said: String::new(),
        leave_key: leave_key.clone(),
        line: Line::Away,
        answers: ReplyFilter::default(),
        questions: QueryScanner::default(),
        outstanding: Outstanding::default(),
        unanswered: 0,
        asked_at: 0,
        maybe_asked_at: None,
        slowest_answer: 0,
        to_say,
        epoch: None,
        asked_to_tell_at: None,
        read_on: false,
        pong: None,
        text_rows: None,
        part_told: None,
        part_at: None,
        part_said: String::new(),
        told_read_only_at: None,
        noticed_at: None,
        typed_at: None,
        escape_held_at: None,
        stdin_open: true,
        asked: None,
        foretold: Foretold::new(request.predict.unwrap_or(config.predict)),
        request,
    };
    let outcome = view.run(size);
    view.swallow_paste(matches!(outcome, Ok(Outcome::Signal(_))));
    drop(raw);
    outcome
}

/// Asks for the view, on the connection that is there; on another one if that was closed meanwhile.
fn begin(paths: &Paths, client: Option<Client>, core: &ViewCore) -> Result<(Client, m::Attached)> {
    let asking = Frame::Environment(Asking::here(paths, true).of_person(true));
    if let Some(mut client) = client {
        // The manager may have needed its place since.
        let asked =
            client.tell(&asking).and_then(|told| Ok(told && client.tell(&Frame::Attach(core.attach()))?));
        match asked {
            Ok(true) => {
                if let Some(attached) = hear_attached(&mut client)? {
                    return Ok((client, attached));
                }
            }
            Err(error) if client.is_silent() => return Err(error),
            Ok(false) | Err(_) => {}
        }
    }
    let mut client = Client::connect(paths)?;
    client.send(&asking)?;
    client.send(&Frame::Attach(core.attach()))?;
    let attached = wait_attached(&mut client)?;
    Ok((client, attached))
}

/// Where the person sits: the terminal's name, and the machine that the login of it is from.
fn seat() -> String {
    let tty = rustix::termios::ttyname(rustix::stdio::stdin(), Vec::new()).ok();
    let tty = tty.map(|name| name.to_string_lossy().trim_start_matches("/dev/").to_owned());
    let login = std::env::var("SSH_CONNECTION").ok();
    let from = login.as_deref().and_then(|login| login.split(' ').next()).filter(|from| !from.is_empty());
    match (tty, from) {
        (Some(tty), Some(from)) => format!("{tty} from {from}"),
        (Some(tty), None) => tty,
        (None, _) => String::new(),
    }
}

impl View<'_> {
    fn now(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }

    fn run(&mut self, mut size: Option<(u16, u16)>) -> Result<Outcome> {
        let mut signals = Signals::listen()
            .map_err(|e| Error::failed(format!("signals cannot be heard ({e})"), "try again"))?;
        self.client.for_a_loop().map_err(|e| {
            Error::failed(format!("the manager cannot be heard ({e})"), "try again: it starts by itself")
        })?;
        // What came together with the answer to the attach.
        if let Some(outcome) = self.take_frames()? {
            return self.leave(outcome);
        }
        loop {
            self.core.at(self.now());
            self.release_escape();
            self.tell_undelivered();
            self.flush_manager();
            let ready = self.wait(&signals)?;
            self.core.at(self.now());
            let heard = if ready.signal { signals.take() } else { PendingSignals::default() };
            if let Some(signal) = heard.told_to_go {
                return self.leave(Outcome::Signal(signal));
            }
            if heard.resized || heard.stops && self.stop()? {
                let new = terminal::size();
                // What the terminal made of its screen is anybody's guess. A leader's new size brings a new screen by itself.
                if new == size || !self.core.state().leader {
                    self.core.redraw();
                }
                if let Some((cols, rows)) = new.filter(|_| new != size) {
                    self.core.send(&Frame::Resize(m::Resize { cols: cols.into(), rows: rows.into() }));
                }
                size = new;
                self.foretell_resized();
                self.size_seen(self.now());
                self.draw_question();
            }
            if ready.stdin
                && let Some(outcome) = self.read_stdin()
            {
                return self.leave(outcome);
            }
            if let Some(outcome) = self.expire_keys() {
                return self.leave(outcome);
            }
            if ready.manager
                && let Some(outcome) = self.read_manager()?
            {
                return self.leave(outcome);
            }
            self.flush_manager();
            self.look_for_manager()?;
            if std::mem::take(&mut self.read_on)
                && let Some(outcome) = self.take_frames()?
            {
                return self.leave(outcome);
            }
            self.look_ahead();
            self.tell_part();
            self.write_terminal(ready.stdout);
            self.pong();
            self.say();
        }
    }

    fn detached(&self) -> Outcome {
        Outcome::Detached { label: self.label.clone(), why: String::new() }
    }

    /// What is amiss now, if it is worth a line.
    fn trouble(&self, now: u64) -> Option<Trouble> {
        let its_pid = || Some(self.client.peer()).filter(|pid| *pid > 0);
        Some(match self.core.trouble()? {
            path::Trouble::NoManager(why) => match self.lost.as_ref().and_then(|lost| lost.waits_for(now)) {
                Some((pid, silent_ms)) => Trouble::ManagerSilent { pid, silent_ms },
                None => Trouble::NoManager(why),
            },
            path::Trouble::ManagerSilent(silent_ms) => Trouble::ManagerSilent { pid: its_pid(), silent_ms },
            path::Trouble::HolderSilent(silent_ms) => Trouble::HolderSilent { silent_ms },
            path::Trouble::Link { state, silent_ms, why, next_try_at_ms } => {
                let next_try_ms = next_try_at_ms.map(|at| (at as i64 - clock::wall_ms()).max(0) as u64);
                Trouble::Link { state, silent_ms, why, next_try_ms }
            }
        })
    }

    fn wait(&mut self, signals: &Signals) -> Result<Ready> {
        let now = self.now();
        let said = match &self.line {
            // Nothing else is said over an open question.
            _ if self.asked.is_some() && self.lost.is_none() => None,
            Line::Notice(notice) => Some(notice.ends_at()),
            Line::Away => None,
            Line::Asked(at) | Line::Shown { at, .. } => Some(at + SAY_AGAIN_MS),
        };
        let escape = self.escape_until();
        let look = self.lost.as_ref().and_then(Lost::looks_at);
        let screen = self.asked_to_tell_at.map(|at| at + SCREEN_MS);
        let deadline = [
            self.keys.deadline_ms(),
            terminal::deadline_ms(),
            said,
            escape,
            look,
            screen,
            self.core.deadline(),
            self.part_at,
            self.foretold.deadline_ms(),
        ]
        .into_iter()
        .flatten()
        .min();
        let timeout = deadline.map(|at| {
            let ms = at.saturating_sub(now).min(3_600_000);
            Timespec { tv_sec: (ms / 1000) as i64, tv_nsec: (ms % 1000 * 1_000_000) as i64 }
        });
        let (stdin, stdout) = (rustix::stdio::stdin(), rustix::stdio::stdout());
        let bell = signals.bell();
        let mut fds = Vec::with_capacity(4);
        fds.push(PollFd::from_borrowed_fd(bell, PollFlags::IN));
        let mut flags = PollFlags::empty();
        // While the terminal is behind, the manager waits: it was given credit for no more than this.
        if self.to_terminal.len() - self.written + self.line.holds() < VIEW_WINDOW as usize {
            flags |= PollFlags::IN;
        }
        if self.core.has_to_send() {
            flags |= PollFlags::OUT;
        }
        match &self.lost {
            None => fds.push(PollFd::new(&self.client.stream, flags)),
            Some(lost) => fds.extend(lost.bell().map(|bell| PollFd::new(bell, PollFlags::IN))),
        }
        let stdin_at = fds.len();
        if self.stdin_open && (self.asked.is_some() || self.may_read()) {
            fds.push(PollFd::from_borrowed_fd(stdin, PollFlags::IN));
        }
        let stdout_at = fds.len();
        if self.written < self.to_terminal.len() {
            fds.push(PollFd::from_borrowed_fd(stdout, PollFlags::OUT));
        }
        match rustix::event::poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => {
                return Err(Error::failed(format!("the view cannot wait ({error})"), "attach again"));
            }
        }
        let any = |at: usize| fds.get(at).is_some_and(|fd| !fd.revents().is_empty());
        Ok(Ready {
            signal: any(0),
            manager: self.lost.is_none()
                && fds[1].revents().intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR),
            stdin: stdin_at < stdout_at && any(stdin_at),
            stdout: any(stdout_at),
        })
    }

    /// May more be read of what is typed? A paste waits in the terminal while the job is slow to take it, and over a
    /// short break too; once a break is said, what is too much is read and refused, so that the detach key works.
    fn may_read(&self) -> bool {
        match (self.core.carries(), &self.line) {
            (true, _) => self.core.typed().waiting() < AHEAD_MAX,
            (false, Line::Shown { .. }) => true,
            (false, _) => self.core.typed().room() >= READ_MAX,
        }
    }

    fn read_stdin(&mut self) -> Option<Outcome> {
        let mut buffer = [std::mem::MaybeUninit::uninit(); READ_MAX];
        let read = match rustix::io::read(rustix::stdio::stdin(), &mut buffer) {
            Ok(([], _)) | Err(Errno::IO) => {
                // The terminal is gone; the SIGHUP that says so may have been taken from us.
                self.stdin_open = false;
                return Some(self.detached());
            }
            Ok((read, _)) => &*read,
            Err(_) => return None,
        };
        let now = self.now();
        self.burst.read(read.len(), now);
        let keys = terminal::typed(read, now);
        if let Some(traits) = terminal::traits() {
            self.core.is_like(traits);
        }
        let typed = self.keys.typed(&keys, now);
        self.take_typed(typed, now)
    }

    /// What was held back of what is typed, once its time has passed.
    fn expire_keys(&mut self) -> Option<Outcome> {
        let now = self.now();
        let held = terminal::expire_typed(now);
        let typed = if held.is_empty() { self.keys.expire(now) } else { self.keys.typed(&held, now) };
        self.take_typed(typed, now)
    }

    fn take_typed(&mut self, typed: Typed, now: u64) -> Option<Outcome> {
        let (bytes, leaves) = match typed {
            Typed::Bytes(bytes) => (bytes, false),
            Typed::Leave(bytes) => (bytes, true),
        };
        if !bytes.is_empty() && !self.type_answer(&bytes) {
            self.typed(&bytes, now);
        }
        if leaves {
            self.flush_manager();
            return Some(self.detached());
        }
        None
    }

    /// What is typed goes to the job, but for what our terminal answers to a question that is not ours to answer: only the
    /// leader's terminal speaks for the session, and only while the question is fresh.
    fn typed(&mut self, bytes: &[u8], now: u64) {
        if self.request.read_only {
            self.typed_in_vain(bytes, now);
            return;
        }
        if now >= self.asked_at + ANSWER_MS {
            (self.outstanding, self.unanswered) = (Outstanding::default(), 0);
        }
        let leads = self.core.state().leader && self.core.carries();
        let mut parts: Vec<(bool, Vec<u8>)> = Vec::new();
        self.answers.divide(bytes, &mut self.outstanding, |answer, part| parts.push((answer, part.to_vec())));
        // What of it is the session's to say must be whole where it is taken out, however it was read.
        if leads && !self.answers.may_hold_terminals_own() {
            // Nothing is kept from the job but for a moment's doubt, and here there is none.
            let mut keys = Vec::new();
            self.answers.flush(&mut keys);
            parts.push((false, keys));
        }
        self.escape_held_at = self.answers.is_holding().then_some(now);
        for (answer, part) in parts {
            if answer {
                self.unanswered = self.unanswered.saturating_sub(1);
                self.slowest_answer = self.slowest_answer.max(now.saturating_sub(self.asked_at));
                if leads {
                    self.core.answers(&part);
                }
            } else if !part.is_empty() {
                // Who types wants to see what comes of it.
                if matches!(self.line, Line::Notice(_)) {
                    self.unsay();
                }
                self.typed_at = Some(now);
                self.type_keys(&part, now);
            }
        }
    }

    fn type_keys(&mut self, keys: &[u8], now: u64) {
        let held = !self.core.carries();
        let taken = self.core.types(keys);
        self.foretell_typed(keys, held || !taken, now);
        if !taken {
            self.to_terminal.push(BELL);
            // What is refused is said at once, not with the next second.
            if let Line::Shown { at, .. } = &mut self.line {
                *at = 0;
            }
        }
        if self.core.take_wanted()
            && let Some(lost) = &mut self.lost
        {
            lost.hasten(now);
        }
    }

    /// Keys were typed into a view that only reads: they go nowhere, and that is said.
    fn typed_in_vain(&mut self, bytes: &[u8], now: u64) {
        let (mut outstanding, mut keys) = (Outstanding { cursor_reports: u32::MAX }, Vec::new());
        self.answers.filter(bytes, &mut outstanding, &mut keys);
        if !self.answers.is_holding() {
            self.escape_held_at = None;
        } else {
            self.escape_held_at.get_or_insert(now);
        }
        if keys.is_empty() || self.told_read_only_at.is_some_and(|at| now < at + READ_ONLY_MS) {
            return;
        }
        self.told_read_only_at = Some(now);
        self.to_terminal.push(BELL);
        if matches!(self.line, Line::Away) && self.lost.is_none() {
            self.to_say = match &self.leave_key {
                Some(key) => format!("read only: keys go nowhere, {key} leaves"),
                None => "read only: keys go nowhere".to_owned(),
            };
            self.core.redraw();
        }
    }

    /// Until when the beginning of what may be an answer waits for the rest.
    fn escape_until(&self) -> Option<u64> {
        let wait = if self.answers.may_hold_terminals_own() { REST_MS } else { ESCAPE_MS };
        self.escape_held_at.map(|at| at + wait)
    }

    /// Nothing followed the ESC that was held back: it is the Escape key.
    fn release_escape(&mut self) {
        let now = self.now();
        if self.escape_until().is_some_and(|at| now >= at) {
            self.escape_held_at = None;
            let mut keys = Vec::new();
            self.answers.flush(&mut keys);
            if self.request.read_only {
                return;
            }
            self.type_keys(&keys, now);
        }
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
}

struct Ready {
    signal: bool,
    manager: bool,
    stdin: bool,
    stdout: bool,
}
