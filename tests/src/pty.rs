//! A program in a PTY of its own, as a terminal window runs it.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, ioctl_tiocsctty, pidfd_open, setsid};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Termios, Winsize, tcgetattr, tcsetwinsize};

use crate::procs;

/// A child on the far side of a PTY whose near side is ours. Dropping it kills the child.
#[derive(Debug)]
pub struct Pty {
    master: Arc<OwnedFd>,
    // Kept open so that the settings stay readable after the child is gone, and output is never cut short.
    slave: OwnedFd,
    child: Child,
    status: Option<ExitStatus>,
}

impl Pty {
    /// Starts `command` as the leader of a session whose controlling terminal is a new PTY.
    ///
    /// # Panics
    /// When there is no PTY to be had, or the program does not start.
    #[allow(unsafe_code)]
    pub fn spawn(mut command: Command, cols: u16, rows: u16) -> Pty {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags).expect("a new PTY");
        grantpt(&master).expect("grantpt");
        unlockpt(&master).expect("unlockpt");
        let slave = ioctl_tiocgptpeer(&master, flags).expect("the other side of the PTY");
        tcsetwinsize(&master, winsize(cols, rows)).expect("the size of the PTY");
        rustix::io::ioctl_fionbio(&master, true).expect("a PTY that does not block");

        let stdio = || Stdio::from(slave.try_clone().expect("one more descriptor"));
        command.stdin(stdio()).stdout(stdio()).stderr(stdio());
        // SAFETY: between fork and exec only two system calls are made; nothing allocates, locks or panics.
        unsafe {
            command.pre_exec(|| {
                setsid()?;
                ioctl_tiocsctty(rustix::stdio::stdin())?;
                Ok(())
            });
        }
        let child = command.spawn().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        Pty { master: Arc::new(master), slave, child, status: None }
    }

    /// Our side.
    pub fn master(&self) -> &Arc<OwnedFd> {
        &self.master
    }

    /// The process in the PTY.
    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).expect("a process id")
    }

    /// The terminal's settings as they are now.
    ///
    /// # Panics
    /// When the PTY cannot be asked.
    pub fn termios(&self) -> Termios {
        tcgetattr(&self.slave).expect("the settings of the PTY")
    }

    /// Changes the size; the child is told by the kernel.
    ///
    /// # Panics
    /// When the PTY cannot be resized.
    pub fn resize(&self, cols: u16, rows: u16) {
        tcsetwinsize(&self.master, winsize(cols, rows)).expect("the size of the PTY");
    }

    /// Types `bytes`, waiting while the other side does not read.
    ///
    /// # Panics
    /// When the bytes cannot all be typed in time.
    pub fn write(&self, bytes: &[u8], within: Duration) {
        let end = Instant::now() + within;
        let mut rest = bytes;
        while !rest.is_empty() {
            match rustix::io::write(&self.master, rest) {
                Ok(n) => rest = &rest[n..],
                Err(Errno::AGAIN) => {
                    let left = end.saturating_duration_since(Instant::now());
                    if !ready(&self.master, PollFlags::OUT, left) {
                        panic!("typed {} of {} bytes in {within:?}", bytes.len() - rest.len(), bytes.len());
                    }
                }
                Err(Errno::INTR) => {}
                Err(error) => panic!("cannot type: {error}"),
            }
        }
    }

    /// Reads what is there, waiting up to `within` for the first byte; nothing when the time is up or the PTY is gone.
    pub fn read(&self, buffer: &mut [u8], within: Duration) -> usize {
        if !ready(&self.master, PollFlags::IN, within) {
            return 0;
        }
        rustix::io::read(&self.master, buffer).unwrap_or(0)
    }

    /// The child's exit code, 128 + N for signal N, or `None` while it runs after `within`.
    pub fn wait(&mut self, within: Duration) -> Option<i32> {
        if self.status.is_none() {
            // A pidfd becomes readable when the process ends: no asking again and again.
            if let Some(fd) =
                Pid::from_raw(self.pid()).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok())
            {
                ready(&fd, PollFlags::IN, within);
            }
            self.status = self.child.try_wait().expect("the state of our child");
        }
        self.status.map(code)
    }

    /// Sends the child a signal.
    pub fn signal(&self, signal: Signal) {
        if self.status.is_none() {
            procs::signal(self.pid(), signal);
        }
    }

    /// Kills the child and collects it.
    pub fn kill(&mut self) {
        if self.status.is_none() {
            let _ = self.child.kill();
            self.status = self.child.wait().ok();
        }
    }

    /// Closes the window: our side goes away, the kernel sends SIGHUP. Gives the exit code, if the child ends in time.
    pub fn hang_up(mut self, within: Duration) -> Option<i32> {
        let gone = Arc::new(self.slave.try_clone().expect("one more descriptor"));
        self.master = gone;
        self.wait(within)
    }
}

impl Drop for Pty {
    fn drop(&mut self) {
        self.kill();
    }
}

/// An exit code as a shell reports it.
pub fn code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

/// Waits up to `within` until `fd` is ready for `what`, or broken.
pub fn ready(fd: impl AsFd, what: PollFlags, within: Duration) -> bool {
    let end = Instant::now() + within;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let timeout = Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: left.subsec_nanos().into(),
        };
        let mut fds = [PollFd::new(&fd, what)];
        match poll(&mut fds, Some(&timeout)) {
            Ok(n) => return n > 0,
            Err(Errno::INTR) => {}
            Err(_) => return false,
        }
    }
}

fn winsize(cols: u16, rows: u16) -> Winsize {
    Winsize { ws_col: cols, ws_row: rows, ws_xpixel: 0, ws_ypixel: 0 }
}
