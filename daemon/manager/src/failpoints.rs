//! Places where a test has the manager killed as by `kill -9`, to see that record and host agree after the next start.
//!
//! `SESSD_CRASH_AT=NAME` kills it when it gets to the point of that name, `NAME:N` when it gets there for the N-th time.
//! `SESSD_PANIC_AT=NAME` has only the task panic that gets there. `SESSD_SLOW_WRITES=MS` has every write wait so long for the
//! disk. Without the variables a point is one comparison.

use sessd_proto::docs::{Error, Result};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// The variables.
pub const VARIABLE: &str = "SESSD_CRASH_AT";
const PANIC: &str = "SESSD_PANIC_AT";
const SLOW: &str = "SESSD_SLOW_WRITES";

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
    "restart-after-intent",
    "restart-after-end",
    "restart-after-save",
    "again-after-save",
    "reconcile-before",
    "reconcile-after",
    "adopt-before-save",
    "adopt-after-save",
    "host-up",
];

#[derive(Debug)]
struct Fault {
    name: &'static str,
    left: AtomicU32,
    panics: bool,
}

static FAULT: OnceLock<Fault> = OnceLock::new();
static SLOW_MS: AtomicU32 = AtomicU32::new(0);

/// Reads the variables, once, at the manager's start.
///
/// # Errors
/// When one names no point; the names are in the message.
pub fn arm() -> Result<()> {
    let set = |variable: &str| std::env::var(variable).ok().filter(|v| !v.is_empty());
    SLOW_MS.store(set(SLOW).and_then(|ms| ms.parse().ok()).unwrap_or(0), Ordering::Relaxed);
    let Some((variable, text)) = [VARIABLE, PANIC].into_iter().find_map(|v| Some((v, set(v)?))) else {
        return Ok(());
    };
    let (name, count) = text.split_once(':').unwrap_or((&text, "1"));
    let fault = POINTS.iter().find(|point| **point == name).zip(count.parse().ok());
    let Some((name, count)) = fault else {
        return Err(Error::failed(
            format!("{variable}={text} is none of {}", POINTS.join(" ")),
            "name one of them, or unset it",
        ));
    };
    // A second manager in one process is only in tests, and they set no variable.
    let _ = FAULT.set(Fault { name, left: AtomicU32::new(count), panics: variable == PANIC });
    Ok(())
}

/// The manager is at the point `name`.
///
/// # Panics
/// When a test wants that here.
pub fn failpoint(name: &'static str) {
    debug_assert!(POINTS.contains(&name), "{name} is not in the list");
    if let Some(fault) = FAULT.get()
        && fault.name == name
        && fault.left.fetch_sub(1, Ordering::Relaxed) == 1
    {
        assert!(!fault.panics, "a test wants this task to come to a bad end at {name}");
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    }
}

/// The disk takes its time, where a test wants that.
pub async fn slow_disk() {
    let ms = SLOW_MS.load(Ordering::Relaxed);
    if ms > 0 {
        tokio::time::sleep(std::time::Duration::from_millis(ms.into())).await;
    }
}
