//! What a host prints, in which only what follows a mark of ours counts.

use super::scripts::Mark;
use super::{EXIT_TIMEOUT, MAX_ANSWER, MAX_NOISE, START_TIMEOUT};
use crate::{Connection, ExecReader, Exit, Failure, clean};
use bytes::Bytes;
use std::io;
use tokio::time::{Instant, timeout, timeout_at};

/// Bytes of noise that are kept at a time, and how many of them a person may be told.
const KEPT_NOISE: usize = 256 << 10;
const SAID_NOISE: usize = 1024;

/// Looks for marks in what a command prints, skipping everything else within bounds.
pub(super) struct Search {
    pub(super) host: String,
    pub(super) seen: Vec<u8>,
    /// Bytes of noise that were passed over and forgotten.
    passed: usize,
}

impl Search {
    pub(super) fn new(conn: &dyn Connection) -> Self {
        Self { host: conn.host(), seen: Vec::new(), passed: 0 }
    }

    /// The rest of the line after the next mark.
    pub(super) async fn answer(
        &mut self,
        reader: &mut ExecReader,
        mark: &Mark,
        deadline: Instant,
    ) -> Result<String, Failure> {
        let needle = format!("{} ", mark.0);
        let mut from = 0;
        loop {
            let hit = self.seen[from..].windows(needle.len()).position(|w| w == needle.as_bytes());
            if let Some(at) = hit {
                let start = from + at + needle.len();
                if let Some(length) = self.seen[start..].iter().position(|b| *b == b'\n') {
                    let line =
                        String::from_utf8_lossy(&self.seen[start..start + length]).trim_end().to_owned();
                    self.seen.drain(..=start + length);
                    return Ok(line);
                }
                if self.seen.len() - start > MAX_ANSWER {
                    return Err(self.noise("it answered a line without an end", reader));
                }
                from += at;
            } else {
                from = self.seen.len().saturating_sub(needle.len());
                if from > KEPT_NOISE {
                    // Of noise only the end is said to anybody.
                    self.passed += from - SAID_NOISE;
                    self.seen.drain(..from - SAID_NOISE);
                    from = SAID_NOISE;
                }
            }
            if self.passed + self.seen.len() > MAX_NOISE {
                return Err(self.noise("its start files print more than 16 MB", reader));
            }
            match timeout_at(deadline, reader.chunk()).await {
                Ok(Ok(Some(chunk))) => self.seen.extend_from_slice(&chunk),
                Ok(Ok(None)) => return Err(self.ended(reader).await),
                Ok(Err(e)) if e.kind() == io::ErrorKind::Other => {
                    return Err(Failure::AgentInstall {
                        detail: clean(&e.to_string(), 120),
                        hint: "ask whoever runs the host to allow commands over ssh".to_owned(),
                    });
                }
                Ok(Err(e)) => {
                    return Err(Failure::Unreachable {
                        host: self.host.clone(),
                        detail: format!(
                            "the connection broke while the agent was started ({})",
                            clean(&e.to_string(), 80)
                        ),
                    });
                }
                Err(_) => {
                    let what = format!(
                        "the login shell did not run our command within {} s",
                        START_TIMEOUT.as_secs()
                    );
                    return Err(self.noise(&what, reader));
                }
            }
        }
    }

    /// What came after the last answer: the agent's first bytes.
    pub(super) fn rest(self) -> Bytes {
        Bytes::from(self.seen)
    }

    pub(super) fn said(&self, reader: &ExecReader) -> String {
        let stderr = reader.stderr_line(160);
        let tail = &self.seen[self.seen.len().saturating_sub(SAID_NOISE)..];
        let said = if stderr.is_empty() { clean(&String::from_utf8_lossy(tail), 160) } else { stderr };
        if said.is_empty() { String::new() } else { format!("; it says: {said}") }
    }

    pub(super) fn noise(&self, what: &str, reader: &ExecReader) -> Failure {
        Failure::AgentInstall {
            detail: format!("{what}{}", self.said(reader)),
            hint: "look at what its shell's start files (.bashrc and the like) do when there is no terminal"
                .to_owned(),
        }
    }

    /// The one thing to do where something else ran than what we asked for.
    fn hint(&self, reader: &ExecReader) -> String {
        let said = self.said(reader).to_lowercase();
        let has = |words: &[&str]| words.iter().any(|word| said.contains(word));
        if has(&["password"]) && has(&["expired", "change"]) {
            return format!("log in once with `ssh {}`, which asks for a new one", self.host);
        }
        if has(&["sftp", "not currently available", "currently not available", "account is", "not allowed"]) {
            return "ask whoever runs the host for a login that may run commands".to_owned();
        }
        "a forced command (ForceCommand in its sshd_config, command= of the key) or a login shell that is none runs instead, \
         or a start file (.bashrc and the like) ends it when there is no terminal"
            .to_owned()
    }

    /// stdout ended without a mark: the shell's doing, or the connection's.
    pub(super) async fn ended(&self, reader: &mut ExecReader) -> Failure {
        let how = match timeout(EXIT_TIMEOUT, reader.exit()).await {
            Ok(Exit::Code(code)) => format!("ended with code {code}"),
            Ok(Exit::Signal(signal)) => format!("was ended by SIG{signal}"),
            Ok(Exit::Unknown) => {
                return Failure::Unreachable {
                    host: self.host.clone(),
                    detail: format!("the connection ended while the agent was started{}", self.said(reader)),
                };
            }
            Err(_) => "closed its output".to_owned(),
        };
        Failure::AgentInstall {
            detail: format!("the login shell {how} before it ran our command{}", self.said(reader)),
            hint: self.hint(reader),
        }
    }
}
