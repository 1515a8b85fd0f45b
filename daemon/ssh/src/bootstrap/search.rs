//! What a host prints, in which only what follows a mark of ours counts.

use super::scripts::Mark;
use super::{EXIT_TIMEOUT, MAX_ANSWER, MAX_NOISE};
use crate::auth::of_the_hour;
use crate::{Connection, ExecReader, Exit, Failure, Mends, clean, runs_nothing};
use bytes::Bytes;
use sessd_proto::docs::host::ssh_command;
use std::io;
use tokio::time::{Instant, timeout, timeout_at};

/// Bytes of noise that are kept at a time, and how many of them a person may be told.
const KEPT_NOISE: usize = 256 << 10;
const SAID_NOISE: usize = 1024;

/// What is said of a login shell that has an alias in place of what we asked for.
pub(super) const PRINTED: &str = "prints our command and does not run it";
/// What a shell says that found no room for one more process, file or page, or no home, in lower case.
const SHORT_OF: [&str; 12] = [
    "temporarily unavailable",
    "cannot fork",
    "can't fork",
    "cannot allocate",
    "out of memory",
    "no space left",
    "quota exceeded",
    "too many open files",
    "input/output error",
    "stale file handle",
    "transport endpoint",
    "timed out",
];

/// Looks for marks in what a command prints, skipping everything else within bounds.
pub(super) struct Search {
    pub(super) host: String,
    pub(super) seen: Vec<u8>,
    /// Bytes of noise that were passed over and forgotten.
    passed: usize,
    /// When our command was given.
    began: Instant,
}

impl Search {
    pub(super) fn new(conn: &dyn Connection) -> Self {
        Self { host: conn.host(), seen: Vec::new(), passed: 0, began: Instant::now() }
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
                Ok(Ok(None)) => return Err(self.ended(reader, mark).await),
                Ok(Err(e)) if e.kind() == io::ErrorKind::Other => {
                    return Err(Failure::AgentInstall {
                        detail: clean(&e.to_string(), 120),
                        hint: "ask whoever runs the host to allow commands over ssh".to_owned(),
                        mends: Mends::Person,
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
                        self.began.elapsed().as_secs()
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
            mends: Mends::Person,
        }
    }

    /// What mends it that something else ran than what we asked for, and the one thing to do about it.
    fn remedy(&self, reader: &ExecReader) -> (Mends, String) {
        let said = self.said(reader).to_lowercase();
        let has = |words: &[&str]| words.iter().any(|word| said.contains(word));
        if has(&["password"]) && has(&["expired", "change"]) {
            let hint = format!("log in once with `{}`, which asks for a new one", ssh_command(&self.host));
            return (Mends::Login, hint);
        }
        if has(&SHORT_OF) || of_the_hour(&said) {
            return (Mends::Time, "the host is short of something, or is starting".to_owned());
        }
        if has(&["sftp", "not currently available", "currently not available", "account is", "not allowed"]) {
            let hint = "ask whoever runs the host for a login that may run commands";
            return (Mends::Person, hint.to_owned());
        }
        let hint = "a forced command (ForceCommand in its sshd_config, command= of the key) or a login shell that is none runs \
                    instead, or a start file (.bashrc and the like) ends it when there is no terminal";
        (Mends::Person, hint.to_owned())
    }

    /// stdout ended without a mark: the shell's doing, or the connection's.
    async fn ended(&self, reader: &mut ExecReader, mark: &Mark) -> Failure {
        let exit = timeout(EXIT_TIMEOUT, reader.exit()).await;
        let (mut mends, mut hint) = self.remedy(reader);
        let how = match exit {
            Ok(Exit::Code(code)) => format!("ended with code {code}"),
            Ok(Exit::Signal(signal)) => {
                // By whoever ends what takes too much, or by a host that goes down.
                (mends, hint) = (Mends::Time, "see what the host's log says of it".to_owned());
                format!("was ended by SIG{signal}")
            }
            Ok(Exit::Unknown) if self.said(reader).contains("channel 0: open failed") => {
                return runs_nothing("it refuses one more channel");
            }
            Ok(Exit::Unknown) => {
                return Failure::Unreachable {
                    host: self.host.clone(),
                    detail: format!("the connection ended while the agent was started{}", self.said(reader)),
                };
            }
            Err(_) => "closed its output".to_owned(),
        };
        let halves = mark.halves();
        let shown = |bytes: &[u8]| bytes.windows(halves.len()).any(|w| w == halves.as_bytes());
        if shown(&self.seen) || shown(reader.stderr_tail()) {
            return Failure::AgentInstall {
                detail: format!("the login shell {PRINTED}"),
                hint: "look for an alias or a function named exec or sh in its start files (.bashrc and the like)"
                    .to_owned(),
                mends: Mends::Person,
            };
        }
        Failure::AgentInstall {
            detail: format!("the login shell {how} before it ran our command{}", self.said(reader)),
            hint,
            mends,
        }
    }
}
