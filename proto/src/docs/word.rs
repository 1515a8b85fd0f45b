//! The contract's words. A word means the same in a document, an event, on the wire and in the database, and is spelled here.

use crate::messages::EndReason;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// A closed list of words.
pub trait Vocabulary: Copy + Eq + fmt::Debug + 'static {
    /// Each of them with its spelling.
    const WORDS: &'static [(Self, &'static str)];

    /// As it is spelled.
    fn word(self) -> &'static str {
        Self::WORDS.iter().find(|(one, _)| *one == self).map_or("", |(_, word)| word)
    }

    /// From its spelling.
    fn from_word(word: &str) -> Option<Self> {
        Self::WORDS.iter().find(|(_, one)| *one == word).map(|(one, _)| *one)
    }
}

/// Spells each value once.
macro_rules! vocabulary {
    ($(#[$doc:meta])* $name:ident { $($(#[$about:meta])* $variant:ident = $word:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$about])* $variant),*
        }

        impl Vocabulary for $name {
            const WORDS: &'static [(Self, &'static str)] = &[$((Self::$variant, $word)),*];
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.word())
            }
        }
    };
}

vocabulary! {
    /// Where a session stands.
    State {
        /// Asked for, not known to run yet.
        Init = "init",
        /// Its holder answers.
        Running = "running",
        /// No holder answers now; nothing is known.
        Disconnected = "disconnected",
        /// It has ended, and why is known.
        Done = "done",
    }
}

vocabulary! {
    /// Where the link to a host stands.
    LinkState {
        /// This machine: there is no link that could break.
        Local = "local",
        /// It carries.
        Up = "up",
        /// It is there, and silent.
        Stalled = "stalled",
        /// It is being made; to a view also: its job's holder does not answer yet.
        Connecting = "connecting",
        /// It is not there.
        Down = "down",
        /// It is not made without a person.
        NeedsLogin = "needs-login",
    }
}

impl LinkState {
    /// Does it carry, as far as is known?
    pub fn carries(self) -> bool {
        matches!(self, Self::Up | Self::Local)
    }
}

vocabulary! {
    /// Why a session ended.
    Reason {
        /// The job exited.
        Exited = "exited",
        /// A signal ended the job.
        Signaled = "signaled",
        /// Its user ended it.
        Deleted = "deleted",
        /// It was idle.
        Reaped = "reaped",
        /// Nobody knows how, and it is certain that it did.
        Lost = "lost",
        /// It could not begin.
        Failed = "failed",
    }
}

impl From<EndReason> for Reason {
    fn from(reason: EndReason) -> Self {
        match reason {
            EndReason::Exited => Self::Exited,
            EndReason::Signaled => Self::Signaled,
            EndReason::Deleted | EndReason::Restarted => Self::Deleted,
            EndReason::Reaped => Self::Reaped,
            EndReason::Lost => Self::Lost,
            EndReason::Failed | EndReason::Unspecified => Self::Failed,
        }
    }
}

impl From<Reason> for EndReason {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::Exited => Self::Exited,
            Reason::Signaled => Self::Signaled,
            Reason::Deleted => Self::Deleted,
            Reason::Reaped => Self::Reaped,
            Reason::Lost => Self::Lost,
            Reason::Failed => Self::Failed,
        }
    }
}

vocabulary! {
    /// Who sizes a session.
    SizePolicy {
        /// The view typed in last.
        Latest = "latest",
        /// The largest of the views that may type, in columns and in rows.
        Largest = "largest",
        /// The smallest of them.
        Smallest = "smallest",
        /// No view: it has the size that was asked for.
        Fixed = "fixed",
    }
}

vocabulary! {
    /// The rule by which an idle session ends.
    Reap {
        /// When neither job nor person did anything.
        Idle = "idle",
        /// When no view is there, whatever the job does.
        Unattended = "unattended",
    }
}

impl Reap {
    /// By what a record says.
    pub fn of(unattended: bool) -> Self {
        if unattended { Self::Unattended } else { Self::Idle }
    }
}

/// A word in a document: one of the list, or what a version says that knows more of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Word<T> {
    /// One we know.
    Known(T),
    /// As it came.
    Other(String),
}

impl<T: Vocabulary> Word<T> {
    /// As it is spelled.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Known(word) => word.word(),
            Self::Other(word) => word,
        }
    }

    /// The word, if it is one that we know.
    pub fn known(&self) -> Option<T> {
        match self {
            Self::Known(word) => Some(*word),
            Self::Other(_) => None,
        }
    }
}

impl<T: Vocabulary> From<&str> for Word<T> {
    fn from(word: &str) -> Self {
        T::from_word(word).map_or_else(|| Self::Other(word.to_owned()), Self::Known)
    }
}

impl<T: Vocabulary> From<T> for Word<T> {
    fn from(word: T) -> Self {
        Self::Known(word)
    }
}

impl<T: Vocabulary> PartialEq<T> for Word<T> {
    fn eq(&self, other: &T) -> bool {
        self.known() == Some(*other)
    }
}

/// No word at all: what an event of an older version does not say.
impl<T> Default for Word<T> {
    fn default() -> Self {
        Self::Other(String::new())
    }
}

impl<T: Vocabulary> fmt::Display for Word<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl<T: Vocabulary> Serialize for Word<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de, T: Vocabulary> Deserialize<'de> for Word<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let word = String::deserialize(deserializer)?;
        Ok(Self::from(word.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn comes_back<T: Vocabulary>(spelled: &[&str]) {
        assert_eq!(T::WORDS.iter().map(|(_, word)| *word).collect::<Vec<_>>(), spelled);
        for (value, word) in T::WORDS {
            assert_eq!((value.word(), T::from_word(word)), (*word, Some(*value)));
            let json = serde_json::to_string(&Word::from(*value)).unwrap();
            assert_eq!(json, format!("\"{word}\""));
            assert_eq!(serde_json::from_str::<Word<T>>(&json).unwrap(), *value);
        }
    }

    /// They are in databases, scripts and documents: a spelling never changes.
    #[test]
    fn every_word_is_spelled_as_ever_and_comes_back() {
        comes_back::<State>(&["init", "running", "disconnected", "done"]);
        comes_back::<LinkState>(&["local", "up", "stalled", "connecting", "down", "needs-login"]);
        comes_back::<Reason>(&["exited", "signaled", "deleted", "reaped", "lost", "failed"]);
        comes_back::<Reap>(&["idle", "unattended"]);
    }

    #[test]
    fn a_word_of_a_newer_version_is_passed_on_as_it_came() {
        let word: Word<State> = serde_json::from_str("\"frozen\"").unwrap();
        assert_eq!((word.known(), serde_json::to_string(&word).unwrap()), (None, "\"frozen\"".to_owned()));
        assert!(word != State::Done);
    }

    #[test]
    fn a_restarted_job_is_one_that_its_user_ended() {
        assert_eq!(Reason::from(EndReason::Restarted), Reason::Deleted);
        for (reason, _) in Reason::WORDS {
            assert_eq!(Reason::from(EndReason::from(*reason)), *reason);
        }
    }
}
