//! What went wrong, typed by who must act, and the one place where that becomes words and exit codes.

use super::host::BadHost;
use super::names::BadName;
use super::text::without_numbers;
use crate::bounds::TooLong;
use crate::messages;
use serde::{Deserialize, Serialize};

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
    /// The host has no such command.
    NoCommand,
    /// The host has it, and may not or cannot execute it.
    NotExecutable,
}

impl Kind {
    const ALL: [(Self, &'static str, u8); 12] = [
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
        // Of `create` and `restart`: `run` ends as a shell does.
        (Self::NoCommand, "no-such-command", 1),
        (Self::NotExecutable, "not-executable", 1),
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

    /// What to do about a failure of this kind of which nothing more is known.
    fn next_step(self) -> &'static str {
        match self {
            Self::Failed => "`sessd doctor` looks for what is wrong",
            Self::Usage => "see `sessd help`",
            Self::NoSuchSession => "`sessd list --all` shows what there is",
            Self::NameTaken => "choose another, or see who has it with `sessd list`",
            Self::Ambiguous => "give more of it",
            Self::Unreachable => "try again when it is back; `sessd doctor HOST` looks for what is wrong",
            Self::NeedsLogin => "`sessd host connect HOST` asks you what it wants to know",
            Self::HostKey => "`sessd host connect HOST` asks you whether it is right",
            Self::VersionSkew => "`sessd daemon restart` starts this version; sessions run on",
            Self::TimedOut => "try again, and give it longer",
            Self::NoCommand => "look at how it is spelled and whether it is in the host's PATH",
            Self::NotExecutable => "`chmod +x` makes a file executable, `sh FILE` runs a script",
        }
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
    /// What to do next; [`Self::next_step`] where it is empty.
    pub hint: String,
}

/// Either, or a failure for a person.
pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Serialize, Deserialize)]
struct Document {
    error: Body,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Body {
    kind: String,
    message: String,
    hint: String,
}

impl Error {
    /// A failure with its next step.
    pub fn new(kind: Kind, message: impl Into<String>, hint: impl Into<String>) -> Self {
        let message = without_numbers(&message.into()).into_owned();
        Self { kind, message, hint: hint.into() }
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
    pub fn too_long(why: TooLong) -> Self {
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

    /// What to do next, also where whoever failed had nothing to say about it.
    pub fn next_step(&self) -> &str {
        if self.hint.is_empty() { self.kind.next_step() } else { &self.hint }
    }

    /// Why a host is not connected, where there is one line for it: what to do stands in it where nothing else than a person's doing
    /// mends it.
    pub fn cause(&self) -> String {
        match self.kind {
            Kind::HostKey => format!("{}: {}", self.message, self.next_step()),
            _ => self.message.clone(),
        }
    }

    /// The line on stderr: `sessd: what happened: what to do next`.
    pub fn line(&self) -> String {
        let one = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        format!("sessd: {}: {}", one(&self.message), one(self.next_step()))
    }

    /// The same as JSON.
    pub fn json(&self) -> String {
        let body = Body {
            kind: self.kind.word().to_owned(),
            message: self.message.clone(),
            hint: self.next_step().to_owned(),
        };
        serde_json::to_string(&Document { error: body }).unwrap_or_default()
    }

    /// From what [`Self::json`] makes; `None` when it is something else.
    pub fn from_json(json: &str) -> Option<Self> {
        let Body { kind, message, hint } = serde_json::from_str::<Document>(json).ok()?.error;
        Some(Self::new(Kind::from_word(&kind), message, hint))
    }
}

impl From<BadName> for Error {
    fn from(bad: BadName) -> Self {
        Self::new(Kind::Usage, bad.to_string(), bad.rule())
    }
}

impl From<BadHost> for Error {
    fn from(bad: BadHost) -> Self {
        Self::usage(bad.to_string())
    }
}

impl From<Error> for messages::Error {
    fn from(error: Error) -> Self {
        Self { kind: error.kind.word().to_owned(), message: error.message, hint: error.hint }
    }
}

impl From<messages::Error> for Error {
    fn from(error: messages::Error) -> Self {
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
        for (kind, ..) in Kind::ALL {
            let line = Error::new(kind, "it broke (os error 5)", "").line();
            assert!(line.starts_with("sessd: it broke: ") && line.len() > 25, "{line}");
            assert!(!Error::new(kind, "it broke", "").json().contains(r#""hint":"""#));
        }
        assert_eq!(error.json(), r#"{"error":{"kind":"failed","message":"it\nbroke","hint":"mend it"}}"#);
        assert_eq!(Error::from_json(&error.json()), Some(error));
        assert_eq!(Error::from_json("ready"), None);
    }

    #[test]
    fn every_kind_has_a_word_that_comes_back() {
        for (kind, word, _) in Kind::ALL {
            assert_eq!((Kind::from_word(word), kind.word()), (kind, word));
        }
    }
}
