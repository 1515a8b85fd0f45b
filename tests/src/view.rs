//! A view as a person has it: a program in a PTY, and the screen a terminal emulator makes of what it writes.

use std::num::NonZeroU16;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::Signal;
use rustix::termios::Termios;

use crate::procs;
use crate::pty::Pty;

/// Lines the emulator keeps above the screen: more than any test prints.
const SCROLLBACK: usize = 60_000;

/// A program in a PTY with a terminal emulator on our side of it.
pub struct View {
    pty: Option<Pty>,
    shared: Arc<Shared>,
    reader: Option<JoinHandle<()>>,
    wake: OwnedFd,
    log: Option<PathBuf>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    raw: Vec<u8>,
    emulator: vt100::Parser,
    /// How often the reader found the PTY empty.
    sweeps: u64,
    stop: bool,
}

impl View {
    /// Runs `command` in a PTY of this size.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn spawn(command: Command, cols: u16, rows: u16) -> View {
        let pty = Pty::spawn(command, cols, rows);
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                raw: Vec::new(),
                emulator: vt100::Parser::new(cells(rows), cells(cols), SCROLLBACK),
                sweeps: 0,
                stop: false,
            }),
            changed: Condvar::new(),
        });
        let (woken, wake) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).expect("a pipe");
        let reader = {
            let (master, shared) = (Arc::clone(pty.master()), Arc::clone(&shared));
            thread::spawn(move || read_all(&master, &woken, &shared))
        };
        View { pty: Some(pty), shared, reader: Some(reader), wake, log: None }
    }

    /// The log to show beside the screen when a wait fails.
    pub fn with_log(mut self, log: PathBuf) -> View {
        self.log = Some(log);
        self
    }

    fn pty(&self) -> &Pty {
        self.pty.as_ref().expect("the window is open")
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Types bytes, exactly these.
    ///
    /// # Panics
    /// When the program does not take them within half a minute.
    pub fn type_(&self, bytes: impl AsRef<[u8]>) {
        self.pty().write(bytes.as_ref(), Duration::from_secs(30));
    }

    /// Waits until `text` is on the screen.
    ///
    /// # Panics
    /// When it does not come in time.
    pub fn wait_text(&self, text: &str, within: Duration) {
        self.wait_screen(&format!("{text:?} on the screen"), within, |screen| {
            screen.contents().contains(text)
        });
    }

    /// Waits until the screen is as `fact` wants it.
    ///
    /// # Panics
    /// When it is not in time.
    pub fn wait_screen(&self, what: &str, within: Duration, fact: impl Fn(&vt100::Screen) -> bool) {
        self.wait_state(what, within, |state| fact(state.emulator.screen()));
    }

    /// Waits until the bytes that came satisfy `fact`.
    ///
    /// # Panics
    /// When they do not in time.
    pub fn wait_raw(&self, what: &str, within: Duration, fact: impl Fn(&[u8]) -> bool) {
        self.wait_state(what, within, |state| fact(&state.raw));
    }

    fn wait_state(&self, what: &str, within: Duration, fact: impl Fn(&State) -> bool) {
        let end = Instant::now() + within;
        let mut state = self.lock();
        while !fact(&state) {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                drop(state);
                panic!("waited {within:?} in vain for {what}\n{}", self.describe());
            }
            state = self.shared.changed.wait_timeout(state, left).unwrap_or_else(|p| p.into_inner()).0;
        }
    }

    /// Waits until the program ends; its exit code, 128 + N for signal N.
    ///
    /// # Panics
    /// When it runs on.
    pub fn wait_exit(&mut self, within: Duration) -> i32 {
        let Some(code) = self.pty.as_mut().expect("the window is open").wait(within) else {
            panic!("waited {within:?} in vain for the view to end\n{}", self.describe());
        };
        self.drain();
        code
    }

    /// The exit code, if the program has ended.
    pub fn exited(&mut self) -> Option<i32> {
        self.pty.as_mut().expect("the window is open").wait(Duration::ZERO)
    }

    /// Waits until all that was written to the PTY has been read.
    fn drain(&self) {
        let before = self.lock().sweeps;
        let _ = rustix::io::write(&self.wake, b"s");
        self.wait_state("the reader of the PTY", Duration::from_secs(10), |state| state.sweeps > before);
    }

    /// Resizes the window.
    pub fn resize(&self, cols: u16, rows: u16) {
        self.lock().emulator.screen_mut().set_size(cells(rows), cells(cols));
        self.pty().resize(cols, rows);
    }

    /// The terminal's settings.
    pub fn termios(&self) -> Termios {
        self.pty().termios()
    }

    /// Every byte that came so far.
    pub fn raw(&self) -> Vec<u8> {
        self.lock().raw.clone()
    }

    /// How many bytes came so far.
    pub fn raw_len(&self) -> usize {
        self.lock().raw.len()
    }

    /// The screen's text.
    pub fn screen_text(&self) -> String {
        self.lock().emulator.screen().contents()
    }

    /// Looks at the screen.
    pub fn screen<T>(&self, look: impl FnOnce(&vt100::Screen) -> T) -> T {
        look(self.lock().emulator.screen())
    }

    /// All lines a person can scroll through, oldest first: what went off the top, then the screen.
    pub fn history(&self) -> Vec<String> {
        let mut screen = self.lock().emulator.screen().clone();
        let (rows, cols) = screen.size();
        let (rows, cols) = (rows.get(), cols.get());
        screen.set_scrollback(usize::MAX);
        let mut above = screen.scrollback();
        let mut lines = Vec::new();
        while above > 0 {
            screen.set_scrollback(above);
            let take = above.min(rows.into());
            lines.extend(screen.rows(0, cols).take(take));
            above -= take;
        }
        screen.set_scrollback(0);
        lines.extend(screen.rows(0, cols));
        lines
    }

    /// The process of the view.
    pub fn pid(&self) -> i32 {
        self.pty().pid()
    }

    /// Sends the view a signal.
    pub fn signal(&self, signal: Signal) {
        self.pty().signal(signal);
    }

    /// Kills the view, as `kill -9` does.
    pub fn kill(&mut self) {
        self.pty.as_mut().expect("the window is open").kill();
    }

    /// Closes the window and waits until the program is gone.
    ///
    /// # Panics
    /// When it does not go within ten seconds.
    pub fn close(mut self) {
        self.stop_reader();
        let pty = self.pty.take().expect("the window is open");
        let pid = pty.pid();
        let code = pty.hang_up(Duration::from_secs(10));
        assert!(code.is_some(), "the view {pid} did not end when its window was closed\n{}", self.describe());
    }

    fn stop_reader(&mut self) {
        self.lock().stop = true;
        let _ = rustix::io::write(&self.wake, b"q");
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }

    /// The screen, the last bytes and the end of the log, for a message.
    pub fn describe(&self) -> String {
        let state = self.lock();
        let tail = &state.raw[state.raw.len().saturating_sub(600)..];
        let mut text = format!(
            "--- screen ---\n{}\n--- last bytes of {} ---\n{}\n",
            state.emulator.screen().contents(),
            state.raw.len(),
            tail.escape_ascii()
        );
        if let Some(log) = &self.log {
            text.push_str(&crate::world::log_tail(log));
        }
        text
    }
}

impl Drop for View {
    fn drop(&mut self) {
        if let Some(pty) = &mut self.pty {
            pty.kill();
        }
        self.stop_reader();
    }
}

/// The reader's thread: everything that is written to the PTY, as soon as it is there.
fn read_all(master: &OwnedFd, woken: &OwnedFd, shared: &Shared) {
    let mut buffer = vec![0; 64 * 1024];
    let lock = || shared.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    loop {
        match rustix::io::read(master, &mut buffer) {
            Ok(n) if n > 0 => {
                let mut state = lock();
                state.raw.extend_from_slice(&buffer[..n]);
                state.emulator.process(&buffer[..n]);
                shared.changed.notify_all();
                if state.stop {
                    return;
                }
                continue;
            }
            Err(Errno::INTR) => continue,
            _ => {}
        }
        {
            let mut state = lock();
            state.sweeps += 1;
            shared.changed.notify_all();
            if state.stop {
                return;
            }
        }
        let mut fds = [PollFd::new(master, PollFlags::IN), PollFd::new(woken, PollFlags::IN)];
        let _ = poll(&mut fds, None);
        let mut sink = [0; 64];
        while matches!(rustix::io::read(woken, &mut sink), Ok(n) if n > 0) {}
    }
}

/// A number of rows or columns, which the emulator wants to be at least one.
fn cells(count: u16) -> NonZeroU16 {
    NonZeroU16::new(count).unwrap_or(NonZeroU16::MIN)
}

/// True when `needle` is among the bytes.
pub fn contains(bytes: &[u8], needle: &[u8]) -> bool {
    procs::find(bytes, needle).is_some()
}
