//! The loop around the machine: the terminal on one side, the manager on the other. It decides nothing and waits for nobody.

use crate::keys::Keys;
use crate::machine::{Effect, Event, Look, Machine};
use crate::screen::{self, Screen};
use crate::talk::{Errand, Line, News, Peek};
use crate::{Now, Requests, draw};
use ratatui::backend::{Backend, CrosstermBackend};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use rustix::event::{PollFd, PollFlags, Timespec};
use sessd_base::clock;
use sessd_base::paths::Paths;
use sessd_base::process;
use sessd_client::connect::Client;
use sessd_proto::docs::{Error, Result, SessionDoc};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGWINCH};
use signal_hook::iterator::backend::SignalDelivery;
use signal_hook::iterator::exfiltrator::SignalOnly;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// Frames are at least so far apart, but for those that answer a key.
const FRAME_MS: u64 = 33;
/// How often a manager that ended is looked for.
const AGAIN_MS: u64 = 100;
/// How long another one may take to come by itself, before one is started.
const START_MS: u64 = 500;
/// How long the first list may take: the manager is on this machine, and waits for nobody either.
const FIRST: Duration = Duration::from_secs(5);

/// What came of it.
#[derive(Debug)]
pub enum Picked {
    /// This session is to be shown.
    Attach(Box<SessionDoc>),
    /// Its user left.
    Left,
    /// A signal told it to go.
    Signal(i32),
}

/// Signals, heard from the first picture to the end of the program.
#[derive(Debug)]
struct Signals {
    delivery: SignalDelivery<UnixStream, SignalOnly>,
}

/// What came since the last look.
#[derive(Debug, Default)]
struct PendingSignals {
    told_to_go: Option<i32>,
    resized: bool,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        let (bell, ring) = UnixStream::pair()?;
        let heard = process::ending_signals().chain([SIGWINCH]);
        Ok(Self { delivery: SignalDelivery::with_pipe(bell, ring, SignalOnly, heard)? })
    }

    fn take(&mut self) -> PendingSignals {
        let mut came = PendingSignals::default();
        for signal in self.delivery.pending() {
            match signal {
                SIGWINCH => came.resized = true,
                signal => came.told_to_go = Some(signal),
            }
        }
        came
    }
}

/// A manager that is being started beside the loop.
struct Starting {
    comes: Receiver<Result<Client>>,
    bell: UnixStream,
}

/// The picker, over as many visits as it takes.
pub struct Picker {
    paths: Paths,
    requests: Box<dyn Requests>,
    machine: Machine,
    signals: Signals,
    began: Instant,
    news: Option<News>,
    errands: Vec<Errand>,
    peek: Option<Peek>,
    /// When the manager was lost, and when it is looked for next.
    lost: Option<(u64, u64)>,
    /// It said that it stops: it is not started again for nothing.
    stopped: bool,
    starting: Option<Starting>,
    shown: Buffer,
    /// Where the cursor is, if it is to be seen.
    cursor: Option<(u16, u16)>,
    leaving: Option<Picked>,
}

impl std::fmt::Debug for Picker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Picker").field("machine", &self.machine).finish_non_exhaustive()
    }
}

impl Picker {
    /// Asks the manager, which is started if it does not run, for all there is.
    ///
    /// # Errors
    /// Why there is no manager, or no list.
    pub fn new(paths: &Paths, look: Look, here: Option<String>, requests: Box<dyn Requests>) -> Result<Self> {
        let signals = Signals::listen()
            .map_err(|e| Error::failed(format!("signals cannot be heard ({e})"), "try again"))?;
        let news = News::begin(Line::new(Client::connect(paths)?)?);
        let mut picker = Self {
            paths: paths.clone(),
            requests,
            machine: Machine::new(look, here),
            signals,
            began: Instant::now(),
            news: Some(news),
            errands: Vec::new(),
            peek: None,
            lost: None,
            stopped: false,
            starting: None,
            shown: Buffer::empty(Rect::ZERO),
            cursor: None,
            leaving: None,
        };
        picker.first()?;
        Ok(picker)
    }

    fn first(&mut self) -> Result<()> {
        let until = Instant::now() + FIRST;
        while !self.machine.loaded && Instant::now() < until {
            let Some(news) = &mut self.news else { break };
            news.line.flush();
            let mut flags = PollFlags::IN;
            if news.line.has_to_send() {
                flags |= PollFlags::OUT;
            }
            let pause = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
            let _ = rustix::event::poll(&mut [PollFd::new(&news.line.client.stream, flags)], Some(&pause));
            news.line.read();
            if news.line.gone {
                return Err(Error::failed("the manager went away", "try again: it starts by itself"));
            }
            self.hear_news()?;
        }
        if self.machine.loaded {
            return Ok(());
        }
        Err(Error::failed("the manager does not answer", format!("see {}", self.paths.log.display())))
    }

    /// The only session there is, if it runs.
    pub fn only_one(&self) -> Option<&SessionDoc> {
        self.machine.only_one()
    }

    /// Is there a session that has not ended?
    pub fn has_any(&self) -> bool {
        self.machine.live().next().is_some()
    }

    /// Says something below at the next visit.
    pub fn say(&mut self, text: &str, failure: bool) {
        self.machine.say(text, failure);
    }

    /// What is known may be old: somebody was elsewhere meanwhile.
    pub fn refresh(&mut self) -> Result<()> {
        let now = self.now();
        self.machine.back(now);
        (self.errands, self.peek, self.news) = (Vec::new(), None, None);
        match Line::open(&self.paths)? {
            Some(line) => {
                self.news = Some(News::begin(line));
                self.machine.loaded = false;
                self.first()
            }
            None => {
                self.lose();
                Ok(())
            }
        }
    }

    fn now(&self) -> Now {
        Now { ms: self.began.elapsed().as_millis() as u64, wall_ms: clock::wall_ms() }
    }

    fn handle(&mut self, event: Event<'_>) {
        let now = self.now();
        self.machine.handle(now, event);
    }

    /// One visit.
    ///
    /// # Errors
    /// When the terminal cannot be used, or the manager is of a version that cannot be spoken with.
    pub fn run(&mut self) -> Result<Picked> {
        // What a key sent while the terminal was neither a session's nor ours was meant for the session.
        let meant_for_us = |signal: &i32| ![SIGINT, SIGQUIT].contains(signal);
        if let Some(signal) = self.signals.take().told_to_go.filter(meant_for_us) {
            return Ok(Picked::Signal(signal));
        }
        let screen = Screen::take()?;
        self.resized();
        let picked = self.visit();
        match &picked {
            Ok(Picked::Attach(_)) => screen.hand_on(),
            _ => drop(screen),
        }
        (self.news, self.peek) = (None, None);
        picked
    }

    fn resized(&mut self) {
        let (cols, rows) = screen::size();
        self.shown = Buffer::empty(Rect::new(0, 0, cols, rows));
        self.cursor = None;
        screen::put(b"\x1b[m\x1b[2J\x1b[?25l");
        self.handle(Event::Resized(cols, rows));
    }

    fn visit(&mut self) -> Result<Picked> {
        let mut keys = Keys::default();
        let mut typed = false;
        let mut drawn_at = None;
        loop {
            self.carry_out();
            if let Some(picked) = self.leaving.take() {
                return Ok(picked);
            }
            self.look_for_manager()?;
            let now = self.now();
            let due = drawn_at.map_or(0, |at: u64| at + FRAME_MS);
            if self.machine.is_dirty() && (typed || now.ms >= due) {
                self.draw(now);
                drawn_at = Some(now.ms);
            }
            typed = false;
            let frame = self.machine.is_dirty().then_some(due);
            let ready = self.wait(&keys, frame)?;
            if ready.signal {
                let came = self.signals.take();
                if let Some(signal) = came.told_to_go {
                    return Ok(Picked::Signal(signal));
                }
                if came.resized {
                    self.resized();
                    typed = true;
                }
            }
            let mut inputs = Vec::new();
            if ready.stdin {
                let mut buffer = [0; 4096];
                match rustix::io::read(rustix::stdio::stdin(), &mut buffer) {
                    // The terminal is gone.
                    Ok(0) => return Ok(Picked::Signal(SIGHUP)),
                    Ok(n) => keys.feed(&buffer[..n], self.now().ms, &mut inputs),
                    Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => {}
                    Err(_) => return Ok(Picked::Signal(SIGHUP)),
                }
            }
            keys.expire(self.now().ms, &mut inputs);
            for input in inputs {
                typed = true;
                self.handle(Event::Input(input));
                // What was typed behind the key that opens a session is not for us.
                self.carry_out();
                if self.leaving.is_some() {
                    break;
                }
            }
            if ready.news
                && let Some(news) = &mut self.news
            {
                news.line.read();
            }
            self.hear_news()?;
            for at in ready.errands {
                if let Some(line) = self.errands.get_mut(at).and_then(|errand| errand.line.as_mut()) {
                    line.read();
                }
            }
            self.hear_errands();
            if ready.peek {
                let now = self.now();
                let machine = &mut self.machine;
                if let Some(peek) = &mut self.peek {
                    peek.read(now);
                    peek.drain(|event| machine.handle(now, event));
                }
            }
            self.handle(Event::Tick);
        }
    }

    fn hear_news(&mut self) -> Result<()> {
        while let Some(news) = &mut self.news {
            let Some(event) = news.next()? else {
                self.stopped |= news.stopping;
                if news.line.gone {
                    self.lose();
                }
                return Ok(());
            };
            self.handle(event);
        }
        Ok(())
    }

    fn lose(&mut self) {
        let now = self.now().ms;
        (self.news, self.peek) = (None, None);
        self.lost = Some((now, now));
        let why = if self.stopped {
            "the manager was stopped; sessions run on"
        } else {
            "the manager is gone and is looked for; sessions run on"
        };
        self.handle(Event::Manager(Some(why.to_owned())));
    }

    /// While there is no manager: is there one again?
    fn look_for_manager(&mut self) -> Result<()> {
        let Some((since, next)) = self.lost else { return Ok(()) };
        let now = self.now().ms;
        let mut found = None;
        if let Some(starting) = &self.starting {
            match starting.comes.try_recv() {
                Ok(client) => {
                    self.starting = None;
                    match client {
                        Ok(client) => found = Some(Line::new(client)?),
                        Err(error) => {
                            self.handle(Event::Manager(Some(error.line())));
                            self.lost = Some((since, now + 10 * AGAIN_MS));
                            return Ok(());
                        }
                    }
                }
                Err(std::sync::mpsc::TryRecvError::Empty) => return Ok(()),
                Err(std::sync::mpsc::TryRecvError::Disconnected) => self.starting = None,
            }
        } else if now >= next {
            self.lost = Some((since, now + AGAIN_MS));
            // One that is there and does not answer yet is about to come or to go.
            found = Line::open(&self.paths).ok().flatten();
            let wanted = !self.stopped || !self.errands.is_empty();
            if found.is_none() && wanted && now >= since + START_MS {
                self.start_manager();
            }
        }
        if let Some(line) = found {
            (self.lost, self.stopped) = (None, false);
            self.news = Some(News::begin(line));
            self.handle(Event::Manager(None));
            let paths = &self.paths;
            let mut over = Vec::new();
            for errand in self.errands.iter_mut().filter(|errand| errand.line.is_none()) {
                if let Err(error) = errand.go(paths) {
                    over.push((errand.number, error));
                }
            }
            for (number, error) in over {
                self.errands.retain(|errand| errand.number != number);
                self.handle(Event::Done(number, Err(error)));
            }
            let session = self.machine.preview.session.clone();
            self.look(session);
        }
        Ok(())
    }

    fn start_manager(&mut self) {
        let Ok((bell, ring)) = UnixStream::pair() else { return };
        let (give, comes) = channel();
        let paths = self.paths.clone();
        std::thread::spawn(move || {
            let _ = give.send(Client::connect(&paths));
            drop(ring);
        });
        self.starting = Some(Starting { comes, bell });
    }

    fn hear_errands(&mut self) {
        let mut at = 0;
        while at < self.errands.len() {
            let errand = &mut self.errands[at];
            if let Some(event) = errand.next() {
                let over = matches!(event, Event::Done(..));
                self.handle(event);
                if over {
                    self.errands.remove(at);
                }
                continue;
            }
            if errand.line.as_ref().is_some_and(|line| line.gone) {
                // The next manager is asked the same.
                errand.line = None;
                if self.lost.is_none() {
                    let now = self.now().ms;
                    self.news = None;
                    self.lost = Some((now, now));
                }
            }
            at += 1;
        }
    }

    fn look(&mut self, session: Option<String>) {
        self.peek = None;
        let Some(session) = session else { return };
        match Peek::at(&self.paths, &session) {
            Ok(peek) => self.peek = peek,
            Err(error) => self.handle(Event::NoScreen(error.message)),
        }
    }

    fn carry_out(&mut self) {
        while let Some(effect) = self.machine.poll() {
            match effect {
                Effect::Attach(id) => {
                    if let Some(doc) = self.machine.session(&id) {
                        self.leaving = Some(Picked::Attach(Box::new(doc.clone())));
                    }
                }
                Effect::Leave => self.leaving = Some(Picked::Left),
                Effect::Ask(number, wish) => match Errand::new(number, wish, &*self.requests) {
                    Ok(errand) => self.send_off(errand),
                    Err(error) => self.handle(Event::Done(number, Err(error))),
                },
                Effect::Look(session) => self.look(session),
                Effect::WantSession(id) => {
                    if let Some(news) = &mut self.news {
                        news.want_session(id);
                    }
                }
                Effect::WantLinks => {
                    if let Some(news) = &mut self.news {
                        news.want_status();
                    }
                }
                Effect::WantAll => {
                    if let Some(news) = &mut self.news {
                        news.want_status();
                        news.want_list();
                    }
                }
                Effect::WantHosts => {
                    let hosts = self.requests.hosts();
                    self.handle(Event::Hosts(hosts));
                }
                Effect::Answer(wish, id, given) => {
                    if let Some(errand) = self.errands.iter_mut().find(|errand| errand.number == wish) {
                        errand.answer(id, given);
                    }
                }
            }
        }
    }

    fn send_off(&mut self, mut errand: Errand) {
        match errand.go(&self.paths) {
            Ok(there) => {
                self.errands.push(errand);
                if !there && self.lost.is_none() {
                    self.lose();
                }
            }
            Err(error) => self.handle(Event::Done(errand.number, Err(error))),
        }
    }

    fn draw(&mut self, now: Now) {
        let area = self.shown.area;
        let mut next = Buffer::empty(area);
        let cursor = draw::draw(&self.machine, now, &mut next);
        // In one piece for terminals that know how.
        let mut bytes = b"\x1b[?2026h\x1b[?25l".to_vec();
        let changed = self.shown.diff(&next);
        if changed.is_empty() && cursor == self.cursor {
            return self.machine.drawn();
        }
        let drawn = CrosstermBackend::new(&mut bytes).draw(changed.into_iter());
        debug_assert!(drawn.is_ok());
        if let Some((x, y)) = cursor {
            bytes.extend_from_slice(format!("\x1b[{};{}H\x1b[?25h", y + 1, x + 1).as_bytes());
        }
        bytes.extend_from_slice(b"\x1b[?2026l");
        screen::put(&bytes);
        (self.shown, self.cursor) = (next, cursor);
        self.machine.drawn();
    }

    fn wait(&mut self, keys: &Keys, frame: Option<u64>) -> Result<Ready> {
        let now = self.now().ms;
        if let Some(news) = &mut self.news {
            news.line.flush();
        }
        let peek_at = self.peek.as_ref().map(Peek::readable_at).filter(|at| *at != u64::MAX);
        let next = self.lost.filter(|_| self.starting.is_none()).map(|(_, next)| next);
        let deadline =
            [Some(self.machine.deadline()), keys.deadline_ms(), frame, peek_at.filter(|at| *at > now), next]
                .into_iter()
                .flatten()
                .min()
                .unwrap_or(now);
        let left = Duration::from_millis(deadline.saturating_sub(now));
        let timeout = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
        let flags = |line: &Line| {
            if line.has_to_send() { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN }
        };
        let mut fds = vec![
            PollFd::from_borrowed_fd(rustix::stdio::stdin(), PollFlags::IN),
            PollFd::new(self.signals.delivery.get_read(), PollFlags::IN),
        ];
        let mut whose = vec![Whose::Stdin, Whose::Signal];
        if let Some(news) = &self.news {
            fds.push(PollFd::new(&news.line.client.stream, flags(&news.line)));
            whose.push(Whose::News);
        }
        if let Some(peek) = self.peek.as_ref().filter(|_| peek_at.is_some_and(|at| at <= now)) {
            fds.push(PollFd::new(&peek.line.client.stream, flags(&peek.line)));
            whose.push(Whose::Peek);
        }
        if let Some(starting) = &self.starting {
            fds.push(PollFd::from_borrowed_fd(starting.bell.as_fd(), PollFlags::IN));
            whose.push(Whose::Nobody);
        }
        for (at, errand) in self.errands.iter().enumerate() {
            if let Some(line) = &errand.line {
                fds.push(PollFd::new(&line.client.stream, flags(line)));
                whose.push(Whose::Errand(at));
            }
        }
        match rustix::event::poll(&mut fds, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(Error::failed(format!("it cannot be waited ({error})"), "try again")),
        }
        let mut ready = Ready::default();
        for (fd, whose) in fds.iter().zip(whose) {
            if fd.revents().is_empty() {
                continue;
            }
            match whose {
                Whose::Stdin => ready.stdin = true,
                Whose::Signal => ready.signal = true,
                Whose::News => ready.news = true,
                Whose::Peek => ready.peek = true,
                Whose::Errand(at) => ready.errands.push(at),
                Whose::Nobody => {}
            }
        }
        drop(fds);
        for errand in &mut self.errands {
            if let Some(line) = &mut errand.line {
                line.flush();
            }
        }
        Ok(ready)
    }
}

/// Whose descriptor it is.
enum Whose {
    Stdin,
    Signal,
    News,
    Peek,
    Errand(usize),
    Nobody,
}

#[derive(Default)]
struct Ready {
    stdin: bool,
    signal: bool,
    news: bool,
    peek: bool,
    errands: Vec<usize>,
}
