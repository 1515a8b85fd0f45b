//! `sessd run`: a command on a host as if it ran here: its input, its output as bytes, its exit code. Its job has no terminal,
//! goes on over a lost link or manager, and leaves no record unless it has a name.

use super::{Looker, Told, Wants, out_of_reach};
use crate::cli::args::{CreateArgs, RunArgs};
use crate::cli::verbs::read;
use crate::cli::{ask, create, usage};
use sessd_base::config::duration_or_never;
use sessd_base::out::{self, Printed};
use sessd_base::paths::Paths;
use sessd_proto::Frame;
use sessd_proto::docs::{EndDoc, Error, InfoDoc, Kind, Result};
use sessd_proto::limits::{INPUT_WINDOW, PLAIN_INPUT_WINDOW};
use sessd_proto::messages::{self as m, Act, ViewState};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How long a job that was told to end is waited for.
const ENDING: Duration = Duration::from_secs(20);
/// How long a job has to end by itself once its input does, before it is told to.
const WINDING_DOWN: Duration = Duration::from_millis(500);
/// Bytes of stdin that are read at a time.
const PIECE: usize = 16 * 1024;
/// Bytes that any feed may add at a time.
const ROOM: usize = sessd_files::wire::PIECE + 1024;

/// What a shell ends with for a command that is not there or cannot be executed.
fn shells_code(kind: Kind) -> Option<u8> {
    match kind {
        Kind::NoCommand => Some(127),
        Kind::NotExecutable => Some(126),
        _ => None,
    }
}

/// Carries it out. The code: the job's own.
///
/// # Errors
/// When there was no job, or its time was up.
pub fn run(paths: &Paths, args: &RunArgs, json: bool) -> Result<u8> {
    let timeout = args.timeout.as_deref().map(duration_or_never).transpose()?.flatten();
    let wanted = CreateArgs::for_run(args);
    let message = m::Create {
        plain: true,
        // Without a name it ends with this command, however that ends.
        owned: args.name.is_none(),
        run_for_ms: timeout.map(|timeout| u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX)),
        ..create::create_message(&wanted)?
    };
    let signal = signals()?;
    let deadline = timeout.map(|timeout| Instant::now() + timeout);
    let asked = ask::ask(paths, &Act::Create(message));
    let asked = match asked.map_err(|error| usage::shell_line("run", &args.command, error)) {
        // As where it is typed into a shell.
        Err(error) if let Some(code) = shells_code(error.kind) => {
            if json {
                out::say_json(&error.json());
            } else {
                out::say(&error.line());
            }
            return Ok(code);
        }
        asked => asked?,
    };
    let InfoDoc { session, more } = read(&asked)?;
    more.notes.iter().for_each(|note| out::note(note));
    let wants = if args.name.is_none() { Wants::owner() } else { Wants::whole() };
    let mut running = Running {
        looker: Looker::at(paths, &session.id, wants, Some((0, &session.job_id)))?,
        paths: paths.clone(),
        named: args.name.clone(),
        input: Input::new(
            (!args.no_stdin && !is_background()).then(|| Box::new(io::stdin()) as Box<dyn Feed>),
        ),
        sink: Box::new(out::own),
        quiet: false,
        done: Box::new(|_| {}),
        state: ViewState::default(),
        said: String::new(),
        lost: false,
    };
    let code = running.until_it_ends(&signal, deadline, args.timeout.as_deref().unwrap_or_default())?;
    running.forget();
    Ok(code)
}

/// What the agent does on a host as the program of a job of its own.
pub(crate) struct Plan {
    /// Where.
    pub host: String,
    /// The folder it begins in; empty: the home.
    pub cwd: String,
    /// What the agent there is told to do.
    pub words: Vec<String>,
    /// Its input.
    pub feed: Box<dyn Feed>,
    /// Its output.
    pub sink: Sink,
    /// Nothing is said of the host meanwhile.
    pub quiet: bool,
    /// Hears how much of the input was written there.
    pub done: Box<dyn FnMut(u64)>,
}

/// Carries it out over links and managers that come and go; leaves no record. The code: the program's own.
///
/// # Errors
/// When there was no job, or its output could not be taken.
pub(crate) fn carry(paths: &Paths, plan: Plan) -> Result<u8> {
    // The agent is called by the path that its holder knows.
    let mut command: Vec<String> =
        ["sh", "-c", "exec \"$SESSD_AGENT\" \"$@\"", "sessd"].map(str::to_owned).into();
    command.extend(plan.words);
    let args =
        CreateArgs { command, ..CreateArgs::of_ours(&plan.host, (!plan.cwd.is_empty()).then_some(plan.cwd)) };
    let message = m::Create { plain: true, owned: true, ..create::create_message(&args)? };
    let signal = signals()?;
    let InfoDoc { session, .. } = read(&ask::ask(paths, &Act::Create(message))?)?;
    let mut running = Running {
        looker: Looker::at(paths, &session.id, Wants::owner(), Some((0, &session.job_id)))?,
        paths: paths.clone(),
        named: None,
        input: Input::new(Some(plan.feed)),
        sink: plan.sink,
        quiet: plan.quiet,
        done: plan.done,
        state: ViewState::default(),
        said: String::new(),
        lost: false,
    };
    let code = running.until_it_ends(&signal, None, "")?;
    running.forget();
    Ok(code)
}

/// The signals that end us, and the last that came.
fn signals() -> Result<Arc<AtomicUsize>> {
    let last = Arc::new(AtomicUsize::new(0));
    for signal in [SIGHUP, SIGINT, SIGTERM] {
        signal_hook::flag::register_usize(signal, last.clone(), signal as usize)
            .map_err(|e| Error::failed(format!("signals cannot be heard ({e})"), "try again"))?;
    }
    Ok(last)
}

/// Where a job's input comes from.
pub(crate) trait Feed {
    /// Reading may have to wait for this; none: it never has to.
    fn waits_for(&self) -> Option<BorrowedFd<'_>>;
    /// Appends what is there. False: that was all.
    fn read(&mut self, into: &mut Vec<u8>) -> bool;
}

impl Feed for io::Stdin {
    fn waits_for(&self) -> Option<BorrowedFd<'_>> {
        Some(self.as_fd())
    }

    fn read(&mut self, into: &mut Vec<u8>) -> bool {
        let mut buffer = [0; PIECE];
        match self.lock().read(&mut buffer) {
            Ok(0) => false,
            Ok(n) => {
                into.extend_from_slice(&buffer[..n]);
                true
            }
            // What cannot be read has ended.
            Err(error) => matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock),
        }
    }
}

/// Input on its way to the job.
struct Input {
    feed: Option<Box<dyn Feed>>,
    /// What was read and is not known to be written, from `written` on.
    held: Vec<u8>,
    written: u64,
    /// Given to the present path up to here.
    given: u64,
    ended: bool,
    end_given: bool,
    epoch: u64,
    /// How much may be on its way.
    window: usize,
}

impl Input {
    fn new(feed: Option<Box<dyn Feed>>) -> Self {
        Self {
            held: Vec::new(),
            written: 0,
            given: 0,
            ended: feed.is_none(),
            feed,
            end_given: false,
            epoch: 0,
            window: INPUT_WINDOW as usize,
        }
    }

    /// May more be read?
    fn has_room(&self) -> bool {
        !self.ended && self.held.len() + ROOM <= self.window
    }

    fn read(&mut self) {
        let held = &mut self.held;
        let more = self.feed.as_mut().is_some_and(|feed| feed.read(held));
        self.ended |= !more;
    }

    /// What reading has to wait for.
    fn waits_for(&self) -> Option<BorrowedFd<'_>> {
        self.feed.as_ref()?.waits_for()
    }

    fn was_written(&mut self, to: u64) {
        let n = usize::try_from(to.saturating_sub(self.written)).unwrap_or(usize::MAX).min(self.held.len());
        self.held.drain(..n);
        self.written += n as u64;
    }

    /// How the path to the job is, as we are told. Over another one goes again what is not known to be written.
    fn path(&mut self, epoch: u64, window: u64) {
        self.window = window.clamp(INPUT_WINDOW, PLAIN_INPUT_WINDOW) as usize;
        if epoch != self.epoch {
            (self.epoch, self.given, self.end_given) = (epoch, self.written, false);
        }
    }

    fn give(&mut self, looker: &mut Looker) {
        if self.epoch == 0 {
            return;
        }
        let view = looker.core().id();
        let from = usize::try_from(self.given.saturating_sub(self.written))
            .unwrap_or(usize::MAX)
            .min(self.held.len());
        // What was read for a wider window waits until this one is told to be as wide.
        let to = self.held.len().min(self.window).max(from);
        for piece in self.held[from..to].chunks(PIECE) {
            looker.core().send(&Frame::Input { view, seq: self.given, withdrawn: false, bytes: piece });
            self.given += piece.len() as u64;
        }
        if self.ended && !self.end_given && to == self.held.len() {
            self.end_given = true;
            let seq = self.written + self.held.len() as u64;
            looker.core().send(&Frame::InputEnd(m::InputEnd { view: view.as_bytes().to_vec(), seq }));
        }
    }
}

/// A job of a shell in the background is stopped when it reads the terminal.
fn is_background() -> bool {
    let foreground = rustix::termios::tcgetpgrp(rustix::stdio::stdin());
    foreground.is_ok_and(|group| group != rustix::process::getpgrp())
}

/// Whoever takes a job's output.
pub(crate) type Sink = Box<dyn FnMut(&[u8]) -> Result<Printed>>;

struct Running {
    looker: Looker,
    paths: Paths,
    named: Option<String>,
    input: Input,
    sink: Sink,
    /// Nothing is said of the host.
    quiet: bool,
    /// Hears how much of the input was written there.
    done: Box<dyn FnMut(u64)>,
    state: ViewState,
    said: String,
    /// Output was lost.
    lost: bool,
}

impl Running {
    fn until_it_ends(
        &mut self,
        signal: &AtomicUsize,
        deadline: Option<Instant>,
        timeout: &str,
    ) -> Result<u8> {
        loop {
            self.input.give(&mut self.looker);
            let reads = self.input.has_room();
            let waits_for = self.input.waits_for().filter(|_| reads);
            // What never has to be waited for is read when nothing else is to be done.
            let until = if reads && waits_for.is_none() { Some(Instant::now()) } else { deadline };
            let told = self.looker.next(until, waits_for)?;
            if let signal @ 1.. = signal.load(Ordering::SeqCst) {
                return Ok(self.leave(signal as u8));
            }
            match told {
                Some(Told::Output(bytes)) => {
                    match (self.sink)(&bytes) {
                        Ok(Printed::Yes) => {}
                        // As with any program in a pipe.
                        Ok(Printed::NobodyReads) => {
                            return Ok(self.leave(rustix::process::Signal::PIPE.as_raw() as u8));
                        }
                        Err(error) => {
                            self.leave(0);
                            return Err(error);
                        }
                    }
                }
                // Drawn anew, and nothing of the output is missing: what a screen looks like is none of ours.
                Some(Told::Screen { known: true, skipped: 0, .. }) => {}
                Some(Told::Screen { skipped, .. }) => {
                    self.lost = true;
                    out::note(&match skipped {
                        // What is left of a job that has ended is its screen.
                        0 => "what it wrote last was lost: it ended while nobody could hear it".to_owned(),
                        1.. => {
                            format!("{skipped} bytes of its output were lost while its host was out of reach")
                        }
                    });
                }
                // Another manager counts paths anew.
                Some(Told::Attached { .. }) => self.input.epoch = 0,
                Some(Told::State(state)) => {
                    self.input.path(state.epoch, state.input_window);
                    self.say_how_the_host_is(&state);
                    self.state = state;
                }
                Some(Told::Written(to)) => {
                    self.input.was_written(to);
                    (self.done)(self.input.written);
                }
                Some(Told::Ended(end)) => return Ok(self.ended(&end)),
                Some(Told::Gone(_)) => {
                    return Err(Error::new(
                        Kind::NoSuchSession,
                        format!("{} was deleted", self.looker.label()),
                        "`sessd list` shows what there is",
                    ));
                }
                Some(Told::SentAway(why)) => return Err(Error::failed(why, "run it again when it is back")),
                None if deadline.is_some_and(|deadline| Instant::now() >= deadline) => {
                    self.end();
                    return Err(Error::new(
                        Kind::TimedOut,
                        format!("the job has not ended in {timeout}, and was ended"),
                        "--timeout gives it longer",
                    ));
                }
                Some(_) => {}
                None => {
                    if reads && self.input.waits_for().is_none_or(|fd| is_readable(&fd)) {
                        self.input.read();
                    }
                }
            }
        }
    }

    fn ended(&self, end: &EndDoc) -> u8 {
        let code = end.exit_code();
        if end.code.is_none() {
            out::note(&format!("the job ended: {}", end.phrase()));
        }
        if self.lost && code == 0 { 1 } else { code }
    }

    /// We are told to go, or nobody reads us: a job without a name goes with us.
    fn leave(&mut self, signal: u8) -> u8 {
        match &self.named {
            Some(name) => out::note(&format!("{name} runs on: `sessd wait {name}` waits for it")),
            None => {
                self.wind_down();
                self.end();
            }
        }
        128 + signal
    }

    /// Its input ends here: what it was writing it takes away again, if it can.
    fn wind_down(&mut self) {
        self.input.ended = true;
        self.input
            .held
            .truncate(usize::try_from(self.input.given - self.input.written).unwrap_or(usize::MAX));
        let until = Instant::now() + WINDING_DOWN;
        while Instant::now() < until {
            self.input.give(&mut self.looker);
            match self.looker.next(Some(until), None) {
                Ok(Some(Told::Written(to))) => self.input.was_written(to),
                Ok(Some(Told::Ended(_) | Told::Gone(_) | Told::SentAway(_))) | Err(_) => return,
                Ok(_) => {}
            }
        }
    }

    /// Ends the job. Without a name it is forgotten; one with a name ends by its host when its time is up.
    fn end(&mut self) {
        if self.named.is_none() {
            self.forget();
            return;
        }
        let until = Instant::now() + ENDING;
        while Instant::now() < until {
            match self.looker.next(Some(until), None) {
                Ok(Some(Told::Ended(_) | Told::Gone(_) | Told::SentAway(_))) | Err(_) => return,
                Ok(_) => {}
            }
        }
    }

    /// A job without a name leaves no record.
    fn forget(&self) {
        if self.named.is_none() {
            let id = self.looker.session().session_id.clone();
            let delete = m::Delete { sessions: vec![id], ..m::Delete::default() };
            if let Err(error) = ask::ask(&self.paths, &Act::Delete(delete))
                && error.kind != Kind::NoSuchSession
            {
                out::note(&error.message);
            }
        }
    }

    fn say_how_the_host_is(&mut self, state: &ViewState) {
        let now = out_of_reach(self.looker.session(), state).map(|error| error.message).unwrap_or_default();
        if now != self.said && !self.quiet {
            match now.is_empty() {
                true => out::note(&format!("{} is back", self.looker.session().host)),
                false if state.holder_silent_ms.is_some() => {
                    out::note(&format!("{now}; it is waited for until it does"));
                }
                false => out::note(&format!("{now}; the job runs on, and is waited for")),
            }
            self.said = now;
        }
    }
}

fn is_readable(stdin: &impl AsFd) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec};
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    rustix::event::poll(&mut [PollFd::new(stdin, PollFlags::IN)], Some(&at_once)).is_ok_and(|n| n > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn over_another_path_goes_what_is_not_known_to_be_written_and_then_the_end() {
        let mut input = Input { held: b"abcdef".to_vec(), ..Input::new(None) };
        input.path(1, 0);
        (input.given, input.end_given) = (6, true);
        input.was_written(4);
        assert_eq!((input.held.as_slice(), input.written), (&b"ef"[..], 4));
        input.path(1, 0);
        assert_eq!(input.given, 6, "the same path");
        input.path(2, 0);
        assert_eq!((input.given, input.end_given), (4, false));
        input.was_written(9);
        assert_eq!((input.held.len(), input.written), (0, 6), "no more than there was");
    }

    #[test]
    fn as_much_is_read_ahead_as_the_holder_takes_and_no_more_for_one_that_says_nothing() {
        for (told, least, most) in [(0, 1, INPUT_WINDOW), (u64::MAX, 3 * INPUT_WINDOW, PLAIN_INPUT_WINDOW)] {
            let mut input = Input::new(Some(Box::new(std::io::stdin())));
            input.path(1, told);
            while input.has_room() {
                input.held.extend([0; ROOM]);
            }
            let held = input.held.len() as u64;
            assert!(least <= held && held <= most, "{held} bytes for a window of {told}");
        }
    }
}
