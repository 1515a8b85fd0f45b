//! Signals as one readable socket, so that the one loop hears them.

use sessd_base::process;
use signal_hook::consts::{SIGTSTP, SIGWINCH};
use signal_hook::iterator::backend::SignalDelivery;
use signal_hook::iterator::exfiltrator::SignalOnly;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

/// What came since the last look.
#[derive(Debug, Default)]
pub struct PendingSignals {
    /// A signal that tells us to go.
    pub told_to_go: Option<i32>,
    /// A signal that tells us to stop until we are told to go on.
    pub stops: bool,
    /// The terminal has another size.
    pub resized: bool,
}

/// Heard as long as this lives: one view may follow another in the same process.
#[derive(Debug)]
pub struct Signals {
    delivery: SignalDelivery<UnixStream, SignalOnly>,
}

impl Signals {
    /// Every signal that would end the process, that would stop it, or that says that the terminal has another size.
    ///
    /// # Errors
    /// When there is no descriptor left for the bell.
    pub fn listen() -> std::io::Result<Self> {
        let (bell, ring) = UnixStream::pair()?;
        let heard = process::ending_signals().chain([SIGTSTP, SIGWINCH]);
        Ok(Self { delivery: SignalDelivery::with_pipe(bell, ring, SignalOnly, heard)? })
    }

    /// To be watched for reading.
    pub fn bell(&self) -> BorrowedFd<'_> {
        self.delivery.get_read().as_fd()
    }

    /// After the bell: what it was about.
    pub fn take(&mut self) -> PendingSignals {
        let mut came = PendingSignals::default();
        for signal in self.delivery.pending() {
            match signal {
                SIGWINCH => came.resized = true,
                SIGTSTP => came.stops = true,
                signal => came.told_to_go = Some(signal),
            }
        }
        came
    }
}

/// Ends as a program does that the signal ends.
pub fn end_by(signal: i32) -> ! {
    let _ = signal_hook::low_level::emulate_default_handler(signal);
    // It does not know all of them.
    std::process::exit(128 + signal)
}

/// Stops until somebody lets us go on.
pub fn stop() {
    let _ = signal_hook::low_level::emulate_default_handler(SIGTSTP);
}

/// Is there a shell that can let us go on once we have stopped? Where there is none the system itself does not stop a
/// process that the terminal tells to.
pub fn somebody_lets_us_go_on() -> bool {
    let Some(parent) = rustix::process::getppid() else { return false };
    let session = rustix::process::getsid(Some(parent));
    let group = rustix::process::getpgid(Some(parent));
    session.is_ok() && session == rustix::process::getsid(None) && group != Ok(rustix::process::getpgrp())
}
