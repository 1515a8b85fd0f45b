//! Questions that only a person can answer, on their way from a login to whoever that is.
//!
//! Nothing is kept of an answer: it is wiped when it was used. Nobody being there is an answer, too, and the usual one.

use std::{
    future::Future,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::time::Instant;
use zeroize::Zeroizing;

use super::{BoxFuture, HostConfig, clean};

/// The longest text of a host's that is put before a person, in bytes.
const MAX_TEXT: usize = 2000;

/// One question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The host that it is about, as the person named it.
    pub host: String,
    /// What is to be read before it, cleaned; may have several lines, may be empty.
    pub text: String,
    /// The question itself, one line, cleaned.
    pub prompt: String,
    /// Whether the answer may be seen while it is typed.
    pub echo: bool,
}

/// What became of a question.
#[derive(Clone, PartialEq, Eq)]
pub enum Answer {
    /// What the person typed.
    Given(Zeroizing<String>),
    /// The person would not answer.
    Declined,
    /// There was nobody to ask, or no longer.
    Nobody,
}

/// Whoever can be asked.
pub trait Prompter: Send + Sync {
    /// Asks; waits as long as the person takes. Dropping the future takes the question back.
    fn ask(&self, question: Question) -> BoxFuture<'_, Answer>;

    /// Whether there is somebody at all.
    fn is_there(&self) -> bool;

    /// Tells whoever is there, if anybody is.
    fn say(&self, text: &str);
}

/// The questions of one dial. The time that a person takes is none that a host took.
pub(super) struct Asker {
    person: Option<Arc<dyn Prompter>>,
    waits: Mutex<Waits>,
}

#[derive(Default)]
struct Waits {
    since: Option<Instant>,
    before: Duration,
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
            waits.since = Some(Instant::now());
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
