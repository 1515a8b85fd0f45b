//! Questions that only a person can answer, and whoever can be asked: a password, a passphrase, whether a host's key is right.
//!
//! Nothing is kept of an answer: it is wiped when it was used. Nobody being there is an answer, too, and the usual one.

use std::{future::Future, pin::Pin};
use zeroize::Zeroizing;

/// One question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The host that it is about, as the person named it.
    pub host: String,
    /// What is to be read before it, cleaned; may have several lines, may be empty.
    pub text: String,
    /// The question itself, one line, cleaned.
    pub prompt: String,
    /// Whether the answer may be seen while it is typed.
    pub echo: bool,
}

/// What became of a question.
#[derive(Clone, PartialEq, Eq)]
pub enum Answer {
    /// What the person typed.
    Given(Zeroizing<String>),
    /// The person would not answer.
    Declined,
    /// There was nobody to ask, or no longer.
    Nobody,
}

/// Whoever can be asked.
pub trait Prompter: Send + Sync {
    /// Asks; waits as long as the person takes. Dropping the future takes the question back.
    fn ask(&self, question: Question) -> Pin<Box<dyn Future<Output = Answer> + Send + '_>>;

    /// Whether there is somebody at all.
    fn is_there(&self) -> bool;
}
