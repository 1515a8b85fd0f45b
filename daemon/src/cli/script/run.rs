//! `sessd run`: a command on a host as if it ran here: its input, its output as bytes, its exit code. Its job has no terminal,
//! goes on over a lost link or manager, and leaves no record unless it has a name.

use super::{Looker, Told, Wants, out_of_reach};
use crate::cli::args::{CreateArgs, RunArgs};
use crate::cli::verbs::read;
use crate::cli::{ask, create};
use sessd_base::config::duration_or_never;
use sessd_base::out::{self, Printed};
use sessd_base::paths::Paths;
use sessd_proto::Frame;
use sessd_proto::docs::{EndDoc, Error, InfoDoc, Kind, Result};
use sessd_proto::limits::INPUT_WINDOW;
use sessd_proto::messages::{self as m, Act, ViewState};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How long a job that was told to end is waited for.
const ENDING: Duration = Duration::from_secs(20);
/// Bytes of stdin that are read at a time.
const PIECE: usize = 16 * 1024;

/// Carries it out. The code: the job's own.
///
/// # Errors
/// When there was no job, or its time was up.
pub fn run(paths: &Paths, args: &RunArgs) -> Result<u8> {
    let timeout = args.timeout.as_deref().map(duration_or_never).transpose()?.flatten();
    let wanted = CreateArgs::for_run(args);
    let message = m::Create {
        plain: true,
        run_for_ms: timeout.map(|timeout| u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX)),
        ..create::create_message(&wanted)?
    };
    let signal = signals()?;
    let deadline = timeout.map(|timeout| Instant::now() + timeout);
    let InfoDoc { session, more } = read(&ask::ask(paths, &Act::Create(message))?)?;
    more.notes.iter().for_each(|note| out::note(note));
    let mut running = Running {
        looker: Looker::at(paths, &session.id, Wants::whole(), Some((0, &session.job_id)))?,
        paths: paths.clone(),
        named: args.name.clone(),
        input: Input::new(args.no_stdin),
        state: ViewState::default(),
        said: String::new(),
        lost: false,
    };
    let code = running.until_it_ends(&signal, deadline, args.timeout.as_deref().unwrap_or_default())?;
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

/// Stdin on its way to the job.
struct Input {
    /// What was read and is not known to be written, from `written` on.
    held: Vec<u8>,
    written: u64,
    /// Given to the present path up to here.
    given: u64,
    ended: bool,
    end_given: bool,
    epoch: u64,
}

impl Input {
    fn new(none: bool) -> Self {
        Self {
            held: Vec::new(),
            written: 0,
            given: 0,
            ended: none || is_background(),
            end_given: false,
            epoch: 0,
        }
    }

    /// May more be read?
    fn has_room(&self) -> bool {
        !self.ended && self.held.len() + PIECE <= INPUT_WINDOW as usize / 2
    }

    fn read(&mut self) {
        let mut buffer = [0; PIECE];
        match io::stdin().lock().read(&mut buffer) {
            Ok(0) => self.ended = true,
            Ok(n) => self.held.extend_from_slice(&buffer[..n]),
            Err(error) if matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock) => {}
            // What cannot be read has ended.
            Err(_) => self.ended = true,
        }
    }

    fn was_written(&mut self, to: u64) {
        let n = usize::try_from(to.saturating_sub(self.written)).unwrap_or(usize::MAX).min(self.held.len());
        self.held.drain(..n);
        self.written += n as u64;
    }

    /// Another path to the job: what is not known to be written goes again.
    fn path(&mut self, epoch: u64) {
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
        for piece in self.held[from..].chunks(PIECE) {
            looker.core().send(&Frame::Input { view, seq: self.given, withdrawn: false, bytes: piece });
            self.given += piece.len() as u64;
        }
        if self.ended && !self.end_given {
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

struct Running {
    looker: Looker,
    paths: Paths,
    named: Option<String>,
    input: Input,
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
            let stdin = io::stdin();
            let reads = self.input.has_room().then(|| stdin.as_fd());
            let told = self.looker.next(deadline, reads)?;
            if let signal @ 1.. = signal.load(Ordering::SeqCst) {
                return Ok(self.leave(signal as u8));
            }
            match told {
                Some(Told::Output(bytes)) => {
                    if out::own(&bytes)? == Printed::NobodyReads {
                        // As with any program in a pipe.
                        return Ok(self.leave(rustix::process::Signal::PIPE.as_raw() as u8));
                    }
                }
                Some(Told::Screen { skipped, .. }) => {
                    self.lost = true;
                    out::note(&format!(
                        "{skipped} bytes of its output were lost while its host was out of reach"
                    ));
                }
                // Another manager counts paths anew.
                Some(Told::Attached { .. }) => self.input.epoch = 0,
                Some(Told::State(state)) => {
                    self.input.path(state.epoch);
                    self.say_how_the_host_is(&state);
                    self.state = state;
                }
                Some(Told::Written(to)) => self.input.was_written(to),
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
                    if reads.is_some() && self.input.has_room() && is_readable(&stdin) {
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
            None => self.end(),
        }
        128 + signal
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
        let now =
            out_of_reach(&self.looker.session().host, state).map(|error| error.message).unwrap_or_default();
        if now != self.said {
            match now.is_empty() {
                true => out::note(&format!("{} is back", self.looker.session().host)),
                false => out::note(&format!("{now}; the job runs on, and is waited for")),
            }
            self.said = now;
        }
    }
}

fn is_readable(stdin: &io::Stdin) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec};
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    rustix::event::poll(&mut [PollFd::new(stdin, PollFlags::IN)], Some(&at_once)).is_ok_and(|n| n > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn over_another_path_goes_what_is_not_known_to_be_written_and_then_the_end() {
        let mut input = Input { held: b"abcdef".to_vec(), ..Input::new(true) };
        input.path(1);
        (input.given, input.end_given) = (6, true);
        input.was_written(4);
        assert_eq!((input.held.as_slice(), input.written), (&b"ef"[..], 4));
        input.path(1);
        assert_eq!(input.given, 6, "the same path");
        input.path(2);
        assert_eq!((input.given, input.end_given), (4, false));
        input.was_written(9);
        assert_eq!((input.held.len(), input.written), (0, 6), "no more than there was");
    }
}
