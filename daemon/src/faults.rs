//! Places where a test has the manager killed as by `kill -9`, to see that record and host agree after the next start.
//!
//! `SESSD_CRASH_AT=NAME` kills it when it gets to the point of that name, `NAME:N` when it gets there for the N-th time.
//! Without the variable a point is one comparison.

use crate::error::{Error, Result};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// The variable.
pub const VARIABLE: &str = "SESSD_CRASH_AT";

/// Every point, around each thing that is written or asked of a host.
pub const POINTS: &[&str] = &[
    "create-before-save",
    "create-after-save",
    "spawn-before-request",
    "spawn-after-answer",
    "running-before-save",
    "running-after-save",
    "create-before-reply",
    "tag-before-save",
    "tag-after-save",
    "delete-before-save",
    "delete-after-save",
    "delete-after-end",
    "forget-before-request",
    "forget-before-save",
    "forget-after-save",
    "exit-before-save",
    "exit-after-save",
    "exit-after-ack",
    "restart-before-end",
    "restart-after-end",
    "restart-after-save",
    "reconcile-before",
    "reconcile-after",
    "adopt-before-save",
    "adopt-after-save",
];

#[derive(Debug)]
struct Fault {
    name: &'static str,
    left: AtomicU32,
}

static FAULT: OnceLock<Fault> = OnceLock::new();

/// Reads the variable, once, at the manager's start.
///
/// # Errors
/// When it names no point; the names are in the message.
pub fn arm() -> Result<()> {
    let Some(text) = std::env::var(VARIABLE).ok().filter(|v| !v.is_empty()) else { return Ok(()) };
    let (name, count) = text.split_once(':').unwrap_or((&text, "1"));
    let fault = POINTS.iter().find(|point| **point == name).zip(count.parse().ok());
    let Some((name, count)) = fault else {
        return Err(Error::failed(
            format!("{VARIABLE}={text} is none of {}", POINTS.join(" ")),
            "name one of them, or unset it",
        ));
    };
    // A second manager in one process is only in tests, and they set no variable.
    let _ = FAULT.set(Fault { name, left: AtomicU32::new(count) });
    Ok(())
}

/// The manager is at the point `name`.
pub fn point(name: &'static str) {
    debug_assert!(POINTS.contains(&name), "{name} is not in the list");
    if let Some(fault) = FAULT.get()
        && fault.name == name
        && fault.left.fetch_sub(1, Ordering::Relaxed) == 1
    {
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    }
}
