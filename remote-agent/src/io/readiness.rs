//! One `poll(2)` over what a loop waits for, each descriptor under a key of the loop's own: what came is told by key, so that
//! nobody counts positions.

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use std::io;
use std::os::fd::BorrowedFd;

/// What is waited for.
pub struct Readiness<'a, K> {
    keys: Vec<K>,
    fds: Vec<PollFd<'a>>,
}

impl<'a, K> Readiness<'a, K> {
    /// Nothing yet; room for about `n`.
    pub fn with_capacity(n: usize) -> Self {
        Self { keys: Vec::with_capacity(n), fds: Vec::with_capacity(n) }
    }

    /// Waits for this, too. Without flags only an end or an error of it is told.
    pub fn watch(&mut self, key: K, fd: BorrowedFd<'a>, flags: PollFlags) {
        self.keys.push(key);
        self.fds.push(PollFd::from_borrowed_fd(fd, flags));
    }

    /// Waits until something came or so many milliseconds are over (`None`: for ever), and gives what came.
    ///
    /// # Errors
    /// When the kernel has no memory for it.
    pub fn wait(mut self, timeout_ms: Option<u64>) -> io::Result<impl Iterator<Item = (K, PollFlags)>> {
        let timeout = timeout_ms
            .map(|ms| Timespec { tv_sec: (ms / 1000) as i64, tv_nsec: (ms % 1000 * 1_000_000) as i64 });
        match rustix::event::poll(&mut self.fds, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let came: Vec<PollFlags> = self.fds.iter().map(PollFd::revents).collect();
        Ok(self.keys.into_iter().zip(came).filter(|(_, came)| !came.is_empty()))
    }
}

/// There is something to read, or the end of it.
pub fn is_readable(came: PollFlags) -> bool {
    came.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn what_came_is_told_by_its_key() {
        let (quiet, _end) = rustix::pipe::pipe().unwrap();
        let (full, writer) = rustix::pipe::pipe().unwrap();
        let (closed, end) = rustix::pipe::pipe().unwrap();
        rustix::io::write(&writer, b"x").unwrap();
        drop(end);
        let mut readiness = Readiness::with_capacity(3);
        readiness.watch("quiet", quiet.as_fd(), PollFlags::IN);
        readiness.watch("full", full.as_fd(), PollFlags::IN);
        readiness.watch("closed", closed.as_fd(), PollFlags::empty());
        let came: Vec<_> = readiness.wait(None).unwrap().collect();
        assert_eq!(came.iter().map(|(key, _)| *key).collect::<Vec<_>>(), ["full", "closed"]);
        assert!(came.iter().all(|(_, came)| is_readable(*came)));
        let mut readiness = Readiness::with_capacity(1);
        readiness.watch((), quiet.as_fd(), PollFlags::IN);
        assert_eq!(readiness.wait(Some(1)).unwrap().count(), 0);
    }
}
