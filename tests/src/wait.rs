//! Waiting for facts. A wait asks again and again until the fact holds; it never sleeps and hopes.

use std::thread;
use std::time::{Duration, Instant};

/// Asks `fact` until it answers `Some`, and gives that; panics with `what` when `within` has passed.
///
/// # Panics
/// When the fact does not hold in time.
pub fn until<T>(what: &str, within: Duration, fact: impl FnMut() -> Option<T>) -> T {
    until_or(what, within, fact, String::new)
}

/// Like [`until`]; `context` is added to the message of a wait that failed (a log, a screen).
///
/// # Panics
/// When the fact does not hold in time.
pub fn until_or<T>(
    what: &str,
    within: Duration,
    mut fact: impl FnMut() -> Option<T>,
    context: impl FnOnce() -> String,
) -> T {
    let begun = Instant::now();
    let mut pause = Duration::from_millis(2);
    loop {
        if let Some(found) = fact() {
            return found;
        }
        if begun.elapsed() >= within {
            panic!("waited {within:?} in vain for {what}\n{}", context());
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}
