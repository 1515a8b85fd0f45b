//! What went wrong, typed by who must act, and the one place where that becomes words and exit codes.

use crate::ssh::{Destination, Failure};
use serde::Serialize;

/// Kinds of failure, each with its word and exit code in the command line's contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Nothing more special.
    Failed,
    /// The command line or a value on it.
    Usage,
    /// No session of that name or id.
    NoSuchSession,
    /// A live session has that name.
    NameTaken,
    /// The beginning of more than one id.
    Ambiguous,
    /// The network, or the host.
    Unreachable,
    /// The host wants something only a person can give.
    NeedsLogin,
    /// The host's key is unknown, changed or revoked.
    HostKey,
    /// Manager and agent, or view and manager, share no protocol version.
    VersionSkew,
    /// It took longer than was allowed.
    TimedOut,
}

impl Kind {
    const ALL: [(Self, &'static str, u8); 10] = [
        (Self::Failed, "failed", 1),
        (Self::Usage, "usage", 2),
        (Self::NoSuchSession, "no-such-session", 3),
        (Self::NameTaken, "name-taken", 4),
        (Self::Ambiguous, "ambiguous", 4),
        (Self::Unreachable, "unreachable", 5),
        (Self::NeedsLogin, "needs-login", 6),
        (Self::HostKey, "host-key", 1),
        (Self::VersionSkew, "version-skew", 7),
        (Self::TimedOut, "timed-out", 124),
    ];

    fn row(self) -> (&'static str, u8) {
        Self::ALL
            .iter()
            .find(|(kind, ..)| *kind == self)
            .map_or(("failed", 1), |(_, word, code)| (word, *code))
    }

    /// The word in JSON and on the wire.
    pub fn word(self) -> &'static str {
        self.row().0
    }

    /// The exit code of a command that fails this way.
    pub fn exit_code(self) -> u8 {
        self.row().1
    }

    /// From the word; one we do not know is a plain failure.
    pub fn from_word(word: &str) -> Self {
        Self::ALL.iter().find(|(_, w, _)| *w == word).map_or(Self::Failed, |(kind, ..)| *kind)
    }
}

/// A failure as a person reads it: what happened, and what to do next.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// What kind of.
    pub kind: Kind,
    /// What happened, without a full stop.
    pub message: String,
    /// What to do next, or empty.
    pub hint: String,
}

/// Either, or a failure for a person.
pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Serialize)]
struct Document<'a> {
    error: Body<'a>,
}

#[derive(Serialize)]
struct Body<'a> {
    kind: &'a str,
    message: &'a str,
    hint: &'a str,
}

impl Error {
    /// A failure with its next step.
    pub fn new(kind: Kind, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: hint.into() }
    }

    /// A plain failure.
    pub fn failed(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(Kind::Failed, message, hint)
    }

    /// Wrong usage.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Kind::Usage, message, "see `sessd help`")
    }

    /// More than a session may be made of.
    pub fn too_long(why: sessd_proto::bounds::TooLong) -> Self {
        Self::new(Kind::Usage, why.to_string(), "put what is long into a file on the host, and name the file")
    }

    /// No session fits `selector`.
    pub fn no_such_session(selector: &str) -> Self {
        Self::no_such_session_but(selector, None)
    }

    /// No session fits `selector`; `meant` is one that nearly does.
    pub fn no_such_session_but(selector: &str, meant: Option<&str>) -> Self {
        let hint = match meant {
            Some(name) => format!("did you mean `{name}`? `sessd list --all` shows what there is"),
            None => "`sessd list --all` shows what there is".to_owned(),
        };
        Self::new(Kind::NoSuchSession, format!("there is no session `{selector}`"), hint)
    }

    /// The line on stderr: `sessd: what happened: what to do next`.
    pub fn line(&self) -> String {
        let one = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        if self.hint.is_empty() {
            format!("sessd: {}", one(&self.message))
        } else {
            format!("sessd: {}: {}", one(&self.message), one(&self.hint))
        }
    }

    /// The same as JSON.
    pub fn json(&self) -> String {
        let body = Body { kind: self.kind.word(), message: &self.message, hint: &self.hint };
        serde_json::to_string(&Document { error: body }).unwrap_or_default()
    }
}

/// What a person types to reach the same host: `ssh` takes no `host:port`.
fn ssh_command(host: &str) -> String {
    match Destination::parse(host) {
        Ok(Destination { host, user, port: Some(port) }) => {
            let user = user.map(|user| format!("{user}@")).unwrap_or_default();
            format!("ssh -p {port} {user}{host}")
        }
        _ => format!("ssh {host}"),
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        let message = failure.to_string();
        match failure {
            Failure::Unreachable { host, .. } => Self::new(
                Kind::Unreachable,
                message,
                format!("check the network, or try `{}`", ssh_command(&host)),
            ),
            Failure::NeedsLogin { host, .. } => Self::new(
                Kind::NeedsLogin,
                message,
                format!("try `{}`, or add the key to your ssh agent", ssh_command(&host)),
            ),
            Failure::NoAgent { host, .. } => Self::new(
                Kind::NeedsLogin,
                message,
                format!("add the key with `ssh-add`, or try `{}`", ssh_command(&host)),
            ),
            Failure::HostKey { .. } => Self::new(Kind::HostKey, message, ""),
            Failure::Config { .. } => Self::failed(message, "check the host's name and your ssh config"),
            Failure::AgentInstall { .. } => Self::failed(message, ""),
            Failure::Protocol { .. } => Self::failed(message, "try `ssh` to the same host"),
        }
    }
}

impl From<sessd_core::names::BadName> for Error {
    fn from(bad: sessd_core::names::BadName) -> Self {
        Self::new(Kind::Usage, bad.to_string(), bad.rule())
    }
}

/// Does SQLite say that somebody else holds the database?
fn is_held(said: &str) -> bool {
    said.contains("is locked") || said.contains("(code: 5)")
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        let hint = if is_held(&error.to_string()) {
            "another program has it open (a backup, an sqlite3 shell): let that end, and try again"
        } else {
            "check its folder for space and permissions"
        };
        Self::failed(format!("the database does not take it ({error})"), hint)
    }
}

impl From<Error> for sessd_proto::messages::Error {
    fn from(error: Error) -> Self {
        Self { kind: error.kind.word().to_owned(), message: error.message, hint: error.hint }
    }
}

impl From<sessd_proto::messages::Error> for Error {
    fn from(error: sessd_proto::messages::Error) -> Self {
        Self { kind: Kind::from_word(&error.kind), message: error.message, hint: error.hint }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_line_and_says_what_to_do() {
        let error = Error::failed("it\nbroke", "mend it");
        assert_eq!(error.line(), "sessd: it broke: mend it");
        assert_eq!(Error::failed("it broke", "").line(), "sessd: it broke");
        assert_eq!(error.json(), r#"{"error":{"kind":"failed","message":"it\nbroke","hint":"mend it"}}"#);
    }

    #[test]
    fn the_command_to_try_is_one_that_ssh_takes() {
        assert_eq!(ssh_command("box"), "ssh box");
        assert_eq!(ssh_command("me@box:2201"), "ssh -p 2201 me@box");
    }

    #[test]
    fn a_database_that_somebody_else_holds_is_not_one_without_space() {
        assert!(is_held("error returned from database: (code: 5) database is locked"));
        assert!(!is_held("error returned from database: (code: 13) database or disk is full"));
    }

    #[test]
    fn every_kind_has_a_word_that_comes_back() {
        for (kind, word, _) in Kind::ALL {
            assert_eq!((Kind::from_word(word), kind.word()), (kind, word));
        }
    }
}
