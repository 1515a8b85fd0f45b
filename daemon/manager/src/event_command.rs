//! A command of the user's, run with an event as JSON: so that a notice reaches a person though no view is attached.

use sessd_proto::docs::event::What;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::sync::{Semaphore, mpsc};

/// Events that wait for their command; beyond that they are not told by it.
const WAITING_MAX: usize = 64;
/// Commands that run at a time, and how long one may.
const AT_ONCE: usize = 4;
const LONGEST: Duration = Duration::from_secs(30);

/// What waits for its command.
#[derive(Debug)]
pub struct Waiting(mpsc::Sender<String>);

impl Waiting {
    /// An event, if it is one that people are told of: a notice, a job that waits or is done, an end, a host that wants
    /// a login.
    pub fn put(&self, what: &What, json: &str) {
        if is_for_people(what) {
            // A command that hangs, or a storm, holds nothing up.
            let _ = self.0.try_send(json.to_owned());
        }
    }
}

fn is_for_people(what: &What) -> bool {
    match what {
        What::Notice { .. } => true,
        What::Activity { activity: Some(activity), .. } => {
            let explicit = !matches!(activity.source.as_str(), "output" | "silence" | "shell" | "echo");
            explicit && matches!(activity.state.as_str(), "waiting" | "done")
        }
        What::State { end, .. } => end.is_some(),
        What::Link { link, .. } => link.to_string() == "needs-login",
        _ => false,
    }
}

/// Begins to run commands. `line`: what the configuration says at the time of each event, if it names one; its error: there is no
/// manager any more.
pub(super) fn begin(line: impl AsyncFn() -> Result<Option<String>, ()> + 'static) -> Waiting {
    let (sender, receiver) = mpsc::channel(WAITING_MAX);
    tokio::task::spawn_local(serve(line, receiver));
    Waiting(sender)
}

async fn serve(configured: impl AsyncFn() -> Result<Option<String>, ()>, mut events: mpsc::Receiver<String>) {
    let places = Arc::new(Semaphore::new(AT_ONCE));
    while let Some(json) = events.recv().await {
        let Ok(line) = configured().await else { return };
        let Some(line) = line else { continue };
        // Fails only when it is closed, which it never is.
        let Ok(place) = places.clone().acquire_owned().await else { return };
        tokio::task::spawn_local(async move {
            if let Err(error) = run(&line, &json).await {
                tracing::warn!(error, "the command of event_command");
            }
            drop(place);
        });
    }
}

/// Runs one command, with the event on its stdin and in `SESSD_EVENT`.
async fn run(line: &str, json: &str) -> Result<(), String> {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", line]).env("SESSD_EVENT", json).stdin(Stdio::piped());
    command.stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    let mut child = command.spawn().map_err(|e| format!("cannot be started ({e})"))?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that does not read it has it in its environment.
        let _ = tokio::time::timeout(LONGEST, stdin.write_all(format!("{json}\n").as_bytes())).await;
    }
    match tokio::time::timeout(LONGEST, child.wait()).await {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(format!("failed ({status})")),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("has not ended in {} s, and was killed", LONGEST.as_secs())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_command_has_the_event_on_its_stdin_and_in_its_environment() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out");
        let line = format!("cat >{0}; printf %s \"$SESSD_EVENT\" >>{0}", out.display());
        run(&line, r#"{"event":"notice"}"#).await.unwrap();
        assert_eq!(std::fs::read_to_string(out).unwrap(), "{\"event\":\"notice\"}\n{\"event\":\"notice\"}");
        assert!(run("exit 3", "{}").await.is_err());
    }
}
