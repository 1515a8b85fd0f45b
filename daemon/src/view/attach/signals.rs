//! Signals as one readable socket, so that the one loop hears them.

use signal_hook::SigId;
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGWINCH};
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// What came since the last look.
pub(super) struct PendingSignals {
    /// A signal that tells us to go.
    pub(super) told_to_go: Option<i32>,
    /// The terminal has another size.
    pub(super) resized: bool,
}

pub(super) struct Signals {
    bell: UnixStream,
    told_to_go: Arc<AtomicUsize>,
    resized: Arc<AtomicBool>,
    /// Heard as long as this lives: one view may follow another in the same process.
    heard: Vec<SigId>,
}

impl Signals {
    pub(super) fn listen() -> std::io::Result<Self> {
        let (bell, ring) = UnixStream::pair()?;
        bell.set_nonblocking(true)?;
        let mut signals =
            Self { bell, told_to_go: Arc::default(), resized: Arc::default(), heard: Vec::new() };
        // Actions run in the order they were registered in: what happened is noted before the bell rings.
        for signal in [SIGHUP, SIGINT, SIGQUIT, SIGTERM] {
            let told = signals.told_to_go.clone();
            signals.heard.push(signal_hook::flag::register_usize(signal, told, signal as usize)?);
            signals.heard.push(signal_hook::low_level::pipe::register(signal, ring.try_clone()?)?);
        }
        let resized = signals.resized.clone();
        signals.heard.push(signal_hook::flag::register(SIGWINCH, resized)?);
        signals.heard.push(signal_hook::low_level::pipe::register(SIGWINCH, ring)?);
        Ok(signals)
    }

    /// To be watched for reading.
    pub(super) fn bell(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }

    /// After the bell: what it was about.
    pub(super) fn take(&self) -> PendingSignals {
        // Emptied first: what comes meanwhile rings again.
        while matches!((&self.bell).read(&mut [0; 64]), Ok(n) if n > 0) {}
        let signal = self.told_to_go.swap(0, Ordering::SeqCst);
        PendingSignals {
            told_to_go: i32::try_from(signal).ok().filter(|signal| *signal != 0),
            resized: self.resized.swap(false, Ordering::SeqCst),
        }
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        for id in self.heard.drain(..) {
            signal_hook::low_level::unregister(id);
        }
    }
}
