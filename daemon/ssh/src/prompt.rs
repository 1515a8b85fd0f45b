//! The questions of one dial, on their way to whoever can answer them.

use std::{
    future::Future,
    os::fd::OwnedFd,
    sync::{Arc, Mutex},
    time::Duration,
};

use super::{HostConfig, clean};
pub use sessd_base::prompt::{Answer, Prompter, Question};
use tokio::time::Instant;

/// The longest text of a host's that is put before a person, in bytes.
const MAX_TEXT: usize = 2000;

/// The questions of one dial. The time that a person takes is none that a host took.
pub(super) struct Asker {
    person: Option<Arc<dyn Prompter>>,
    waits: Mutex<Waits>,
}

#[derive(Default)]
struct Waits {
    since: Option<Instant>,
    before: Duration,
    /// Somebody was asked something.
    asked: bool,
    /// The socket, looked at while the library waits for an answer and reads nothing.
    socket: Option<OwnedFd>,
}

impl std::fmt::Debug for Asker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Asker").finish_non_exhaustive()
    }
}

impl Asker {
    /// For the person who asks for `host`.
    pub(super) fn new(host: &HostConfig) -> Arc<Self> {
        Arc::new(Self { person: host.environment.person.clone(), waits: Mutex::default() })
    }

    /// Whether a question of `host` would be put before somebody.
    pub(super) fn may_ask(&self, host: &HostConfig) -> bool {
        host.policy.asks && self.person.as_ref().is_some_and(|person| person.is_there())
    }

    /// Whether somebody is asked at this moment.
    pub(super) fn is_asking(&self) -> bool {
        self.waited().0
    }

    /// A key on a device waits for somebody.
    pub(super) fn touched(&self) {
        if let Ok(mut waits) = self.waits.lock() {
            waits.asked = true;
        }
    }

    /// Whether somebody was asked anything so far.
    pub(super) fn has_asked(&self) -> bool {
        self.waits.lock().is_ok_and(|waits| waits.asked)
    }

    /// The connection that is asked for stands on this socket.
    pub(super) fn stands_on(&self, socket: Option<OwnedFd>) {
        if let Ok(mut waits) = self.waits.lock() {
            waits.socket = socket;
        }
    }

    /// Whether the host, or the first on the way to it, has closed the connection.
    pub(super) fn hung_up(&self) -> bool {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        self.waits.lock().is_ok_and(|waits| {
            waits.socket.as_ref().is_some_and(|socket| {
                #[cfg(target_os = "linux")]
                let closed = PollFlags::RDHUP;
                // Told as readable, as is everything else that came: only a connection that broke is seen.
                #[cfg(not(target_os = "linux"))]
                let closed = PollFlags::empty();
                let mut fds = [PollFd::new(socket, closed)];
                poll(&mut fds, Some(&now)).is_ok()
                    && fds[0].revents().intersects(closed | PollFlags::HUP | PollFlags::ERR)
            })
        })
    }

    /// Asks. What of it is the host's own is cleaned by the caller, with [`lines`].
    pub(super) async fn ask(&self, host: &HostConfig, text: &str, prompt: &str, echo: bool) -> Answer {
        let Some(person) = self.person.as_ref().filter(|_| self.may_ask(host)) else { return Answer::Nobody };
        let question = Question { host: host.name(), text: text.to_owned(), prompt: prompt.to_owned(), echo };
        let _wait = Wait::begin(&self.waits);
        person.ask(question).await
    }

    /// `work` within `limit`, in which a person's time does not count. `None`: it took longer.
    pub(super) async fn within<T>(&self, limit: Duration, work: impl Future<Output = T>) -> Option<T> {
        let began = Instant::now();
        let mut work = std::pin::pin!(work);
        loop {
            let (asking, waited) = self.waited();
            let left = (limit + waited).saturating_sub(began.elapsed());
            if left.is_zero() && !asking {
                return None;
            }
            // While somebody is asked, the time is looked at again when that may be over.
            let wake = if asking { Duration::from_millis(500).max(left) } else { left };
            if let Ok(done) = tokio::time::timeout(wake, &mut work).await {
                return Some(done);
            }
        }
    }

    fn waited(&self) -> (bool, Duration) {
        self.waits.lock().map_or((false, Duration::ZERO), |waits| {
            (waits.since.is_some(), waits.before + waits.since.map_or(Duration::ZERO, |at| at.elapsed()))
        })
    }
}

/// A question that is waited for.
struct Wait<'a>(&'a Mutex<Waits>);

impl<'a> Wait<'a> {
    fn begin(waits: &'a Mutex<Waits>) -> Self {
        if let Ok(mut waits) = waits.lock() {
            (waits.since, waits.asked) = (Some(Instant::now()), true);
        }
        Self(waits)
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        if let Ok(mut waits) = self.0.lock() {
            let took = waits.since.take().map_or(Duration::ZERO, |at| at.elapsed());
            waits.before += took;
        }
    }
}

/// A host's text of several lines, each of them cleaned.
pub(super) fn lines(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let line = clean(line, 400);
        if out.len() + 1 + line.len() > MAX_TEXT {
            break;
        }
        if !out.is_empty() {
            out.push('\n');
        }
        out.push_str(&line);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_time_of_a_person_is_none_of_the_hosts() {
        let asker = Asker { person: None, waits: Mutex::default() };
        let limit = Duration::from_millis(700);
        let asked = async {
            let wait = Wait::begin(&asker.waits);
            tokio::time::sleep(limit * 2).await;
            drop(wait);
        };
        assert_eq!(asker.within(limit, asked).await, Some(()));
        let never = std::future::pending::<()>();
        assert_eq!(asker.within(Duration::from_millis(20), never).await, None);
    }

    #[test]
    fn text_of_a_host_keeps_its_lines_and_nothing_that_acts() {
        assert_eq!(lines("a\u{1b}[2J b\r\nc\n"), "a[2J b\nc");
        assert!(lines(&"x\n".repeat(5000)).len() <= MAX_TEXT);
    }
}
