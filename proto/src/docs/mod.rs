//! What people and programs read: the contract of the command line, which neither the manager nor a view owns.
//!
//! * [`session`], [`status`], [`answer`]: the JSON documents · [`event`]: what `sessd events` says
//! * [`word`]: the words for states, links, ends and rules, each spelled in one place
//! * [`end`]: how a job ended: its document, its exit code
//! * [`error`]: kinds of failure, their words and exit codes
//! * [`names`]: what a session, a tag and a selector may look like · [`host`]: what a host may be called
//! * [`text`]: text of others, made fit for a terminal · [`words`]: how durations, ends and commands read · [`time`]: a moment
//! * [`announce`]: what a manager says to whoever started it
//!
//! Only fields are added to a document, and only words to a vocabulary: who reads one says what it does with a word it does
//! not know ([`word::Word`]).

pub mod announce;
pub mod answer;
pub mod end;
pub mod error;
pub mod event;
pub mod host;
pub mod names;
pub mod session;
pub mod status;
pub mod text;
pub mod time;
pub mod word;
pub mod words;

pub use answer::{AdoptDoc, DeleteDoc, PendingDoc, RenameDoc, SentDoc};
pub use end::EndDoc;
pub use error::{Error, Kind, Result};
pub use event::Event;
pub use session::{ActivityDoc, ForwardDoc, InfoDoc, MoreDoc, SessionDoc, SizeDoc, ViewDoc};
pub use status::{CheckDoc, ForgetDoc, HostDoc, LinkDoc, StatusDoc, StepDoc};
pub use word::{LinkState, Reap, Reason, SizePolicy, State, Vocabulary, Word};

/// A document with its keys in the order of the alphabet, in which nothing acts on the terminal it is printed to.
pub(crate) fn sorted_json<T: serde::Serialize>(document: &T) -> String {
    // Numbers, texts and maps of texts: there is nothing in a document that cannot be written down.
    let value = serde_json::to_value(document).unwrap_or_default();
    text::json(&value.to_string()).into_owned()
}
