//! A connection to the manager: where it comes from, questions to its person, and what a view says and hears.

use super::Traits;
use prost::Message;
use std::collections::HashMap;

/// What of the caller's environment counts for reaching a host; kept in memory only.
#[derive(Clone, PartialEq, Message)]
pub struct Environment {
    #[prost(map = "string, string", tag = "1")]
    pub variables: HashMap<String, String>,
    /// Variables that would count and are not set there; also as patterns of `*` and `?`.
    #[prost(string, repeated, tag = "2")]
    pub unset: Vec<String>,
    /// A person is there, who may be asked: `Question` is understood.
    #[prost(bool, tag = "3")]
    pub answers: bool,
}

/// Something that only a person knows: a password, a passphrase, whether a host's key is right.
#[derive(Clone, PartialEq, Message)]
pub struct Question {
    /// Of this connection.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    #[prost(string, tag = "2")]
    pub host: String,
    /// To be read before; may be empty, may have several lines.
    #[prost(string, tag = "3")]
    pub text: String,
    /// One line.
    #[prost(string, tag = "4")]
    pub prompt: String,
    /// What is typed may be seen.
    #[prost(bool, tag = "5")]
    pub echo: bool,
}

/// The answer. Neither kept nor logged, hence no `Debug` of its own.
#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub struct QuestionAnswer {
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// None: the person would not answer.
    #[prost(string, optional, tag = "2")]
    pub given: Option<String>,
}

impl std::fmt::Debug for QuestionAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("QuestionAnswer").field("id", &self.id).finish_non_exhaustive()
    }
}

/// A question that is not wanted any more: it was answered elsewhere, or the host has hung up.
#[derive(Clone, PartialEq, Message)]
pub struct QuestionOver {
    #[prost(uint64, tag = "1")]
    pub id: u64,
}

/// What the manager waits for while it works at a request.
#[derive(Clone, PartialEq, Message)]
pub struct Awaits {
    /// One sentence, without a full stop.
    #[prost(string, tag = "1")]
    pub what: String,
}

/// Turn this connection into a view.
#[derive(Clone, PartialEq, Message)]
pub struct Attach {
    #[prost(string, tag = "1")]
    pub session: String,
    /// 16 bytes, chosen by the view; the same over its whole life, whatever manager it talks to.
    #[prost(bytes = "vec", tag = "2")]
    pub view_id: Vec<u8>,
    /// 0: the view was not measured and never resizes.
    #[prost(uint32, tag = "3")]
    pub cols: u32,
    #[prost(uint32, tag = "4")]
    pub rows: u32,
    #[prost(bool, tag = "5")]
    pub read_only: bool,
    /// Send the other views away.
    #[prost(bool, tag = "6")]
    pub take: bool,
    #[prost(bool, tag = "7")]
    pub lossless: bool,
    /// "cli", "web", …
    #[prost(string, tag = "8")]
    pub kind: String,
    /// The next output byte the view needs; none: it has nothing yet.
    #[prost(uint64, optional, tag = "9")]
    pub resume: Option<u64>,
    /// First cumulative credit.
    #[prost(uint64, tag = "10")]
    pub credit: u64,
    /// Lines of scrollback the view wants with its first snapshot.
    #[prost(uint32, tag = "11")]
    pub scrollback_lines: u32,
    /// With `resume`: the job it speaks of. A view never resumes another job's bytes.
    #[prost(string, tag = "12")]
    pub job_id: String,
    /// It is no terminal: it never leads, sets no size and answers no queries.
    #[prost(bool, tag = "30")]
    pub passive: bool,
    /// It only looks and goes: nobody counts or lists it.
    #[prost(bool, tag = "31")]
    pub uncounted: bool,
    /// It wants no output, only how the session is and how its job ends.
    #[prost(bool, tag = "32")]
    pub no_output: bool,
    /// What it was to the session before its connection ended; none: it comes for the first time.
    #[prost(message, optional, tag = "40")]
    pub standing: Option<Standing>,
    /// Nobody asked for this session: its host is not dialled for it.
    #[prost(bool, tag = "50")]
    pub unasked: bool,
    /// Where its person sits, in a few words: `pts/3`, `pts/3 from 10.0.0.7`.
    #[prost(string, tag = "60")]
    pub from: String,
    /// Colours that its terminal shows; none: all there are.
    #[prost(uint32, optional, tag = "61")]
    pub colours: Option<u32>,
    /// What its terminal cannot do: bits of [`lacks`].
    #[prost(uint32, tag = "62")]
    pub lacks: u32,
    /// Names the terminal that it is shown in, the same as long as that is there: what was written into its scrollback once is
    /// not written again. Empty: not known.
    #[prost(string, tag = "33")]
    pub terminal: String,
    /// What that terminal is like, as far as it is known yet.
    #[prost(message, optional, tag = "34")]
    pub traits: Option<Traits>,
    /// Images that were shown are not shown again.
    #[prost(bool, tag = "35")]
    pub no_images: bool,
    /// The session was made for this view alone (a copy): it ends when the view has been away for a minute.
    #[prost(bool, tag = "36")]
    pub owns: bool,
}

/// What a view is to its session, beside being a view of it.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct Standing {
    /// Its terminal answers the job's queries.
    #[prost(bool, tag = "1")]
    pub leads: bool,
    /// Its size is the job's.
    #[prost(bool, tag = "2")]
    pub sizes: bool,
}

/// What a view's terminal cannot do, one bit each. A bit is never given another meaning.
pub mod lacks {
    /// What it erases does not have the background colour of the pen.
    pub const ERASING_IN_COLOUR: u32 = 1;
    /// It cannot erase characters.
    pub const ERASING_CHARACTERS: u32 = 2;
    /// It cannot insert and delete characters.
    pub const SHIFTING_CHARACTERS: u32 = 4;
    /// It cannot insert and delete lines.
    pub const SHIFTING_LINES: u32 = 8;
    /// It shows no italics.
    pub const ITALICS: u32 = 16;
    /// It shows nothing but ASCII.
    pub const UNICODE: u32 = 32;
    /// It can only be written to: what is drawn for it is drawn whole each time.
    pub const DIFFERENCES: u32 = 64;
}

/// The view is attached.
#[derive(Clone, PartialEq, Message)]
pub struct Attached {
    #[prost(string, tag = "1")]
    pub session_id: String,
    #[prost(string, tag = "2")]
    pub name: String,
    #[prost(string, tag = "3")]
    pub host: String,
    #[prost(string, tag = "4")]
    pub job_id: String,
    /// Other views that are attached now, and a few of them in words.
    #[prost(uint32, tag = "40")]
    pub others: u32,
    #[prost(string, tag = "41")]
    pub others_are: String,
    /// Views that were sent away for this one.
    #[prost(uint32, tag = "42")]
    pub sent_away: u32,
}

/// What a view should know that is not in the stream.
#[derive(Clone, PartialEq, Message)]
pub struct ViewState {
    /// A word of the contract: `up`, `local`, `connecting`, `stalled`, `down`, `needs-login`.
    #[prost(string, tag = "1")]
    pub link: String,
    /// Rises with every new path to the holder: the view sends its unacknowledged input again when it changes.
    #[prost(uint64, tag = "2")]
    pub epoch: u64,
    /// When the link is dialled next.
    #[prost(uint64, optional, tag = "3")]
    pub next_try_ms: Option<u64>,
    /// Why the link is not up, one sentence.
    #[prost(string, tag = "4")]
    pub detail: String,
    /// This view is the one whose terminal answers queries.
    #[prost(bool, tag = "5")]
    pub leader: bool,
    /// The PTY's size now.
    #[prost(uint32, tag = "6")]
    pub cols: u32,
    #[prost(uint32, tag = "7")]
    pub rows: u32,
    /// How long ago anything was heard of the host, in milliseconds; none: no longer than it may be silent.
    #[prost(uint64, optional, tag = "8")]
    pub silent_ms: Option<u64>,
    /// Told when the view is about to leave: rows of its terminal from the top, below which there is no text.
    #[prost(uint32, optional, tag = "9")]
    pub text_rows: Option<u32>,
    /// What the job is doing; none: not known, or no longer.
    #[prost(message, optional, tag = "30")]
    pub doing: Option<ViewDoing>,
    /// This view is the one whose size is the job's, or would be if the policy were `latest`.
    #[prost(bool, tag = "31")]
    pub sizes: bool,
    /// How long the job's holder owes an answer while its host answers, in milliseconds; none: it answers, or nobody can say.
    #[prost(uint64, optional, tag = "32")]
    pub holder_silent_ms: Option<u64>,
    /// Input bytes that the view may have on their way, where that is more than `limits::INPUT_WINDOW`. 0: it is not.
    #[prost(uint64, tag = "33")]
    pub input_window: u64,
}

/// What a job is doing, as a view is told.
#[derive(Clone, PartialEq, Message)]
pub struct ViewDoing {
    /// A word of the contract: `working`, `waiting`, `done`, `secret`, `quiet`.
    #[prost(string, tag = "1")]
    pub state: String,
    /// As in `Activity`.
    #[prost(string, tag = "2")]
    pub source: String,
    /// Since when, by the manager's clock.
    #[prost(uint64, tag = "3")]
    pub since_ms: u64,
    #[prost(string, tag = "4")]
    pub note: String,
}

/// Whether a view shows what is typed before the job does.
#[derive(Clone, PartialEq, Message)]
pub struct Predicts {
    #[prost(bool, tag = "1")]
    pub on: bool,
}

/// The view leaves (sent by it) or is sent away (sent to it).
#[derive(Clone, PartialEq, Message)]
pub struct Detach {
    /// One sentence, or empty.
    #[prost(string, tag = "1")]
    pub detail: String,
}
