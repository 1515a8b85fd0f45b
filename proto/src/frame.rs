//! The table of frame kinds, their bodies, and the incremental decoder.

use crate::header::Header;
use crate::limits::FRAME_BODY_MAX;
use crate::messages as m;
use prost::Message;
use uuid::Uuid;

/// On `Snapshot`: more frames of the same snapshot follow. On `Range`: more frames of the same answer follow.
pub const FLAG_MORE: u8 = 1;
/// On `Range`: the beginning of what was asked for is no longer held; the body starts at what is.
pub const FLAG_EXPIRED: u8 = 2;
/// On `Echoed`: the job's terminal shows what is typed (`ECHO` of its line discipline).
pub const FLAG_ECHO: u8 = 1;
/// On `Echoed`: it takes what is typed line by line (`ICANON`).
pub const FLAG_LINES: u8 = 2;
/// On `Input`: every byte before this frame's `seq` that the holder has not seen was withdrawn and will never come.
pub const FLAG_WITHDRAWN: u8 = 1;

/// Kinds with this bit may be ignored by who does not know them.
pub const IGNORABLE: u8 = 0x80;

/// The table of frame kinds: number, name, and what the body is. All that is known of a kind is its one line.
///
/// * `messages`: a protobuf message;
/// * `counts`: one number;
/// * `layouts`: fields of fixed length in that order, bits of the header's flags, and what follows to the end of the body.
///
/// Those between a view and the manager are known where the feature `views` is on; their numbers are, everywhere.
macro_rules! frames {
    (
        messages { $($(#[$m_doc:meta])* $m_name:ident = $m_n:literal => $message:ident($type:ty) $(if $feature:tt)?;)* }
        counts { $($(#[$c_doc:meta])* $c_name:ident = $c_n:literal => $count:ident;)* }
        layouts { $(
            $(#[$l_doc:meta])*
            $l_name:ident = $l_n:literal => $layout:ident { $($field:ident: $field_type:ty),* }
                $(flags { $($flag:ident: $bit:ident),* })? $(then $rest:ident)?;
        )* }
    ) => {
        /// The numbers of the frame kinds. A number is never used again for another meaning.
        pub mod kind {
            $($(#[$m_doc])* pub const $m_name: u8 = $m_n;)*
            $($(#[$c_doc])* pub const $c_name: u8 = $c_n;)*
            $($(#[$l_doc])* pub const $l_name: u8 = $l_n;)*
        }

        /// A frame with its meaning. Bytes are borrowed from where they lie.
        #[derive(Debug, Clone, PartialEq)]
        #[allow(missing_docs)] // each variant is described in the table, each message at its type
        pub enum Frame<'a> {
            $($(#[cfg(feature = $feature)])? $(#[$m_doc])* $message($type),)*
            $($(#[$c_doc])* $count(u64),)*
            $($(#[$l_doc])* $layout {
                $($field: $field_type,)*
                $($($flag: bool,)*)?
                $($rest: &'a [u8],)?
            },)*
            /// A kind this version does not know. If it is not ignorable, the receiver answers `Unsupported` and goes on.
            Unknown(u8),
        }

        impl<'a> RawFrame<'a> {
            fn meaning(self) -> Option<Frame<'a>> {
                let mut body = self.body;
                Some(match self.kind {
                    $($(#[cfg(feature = $feature)])? kind::$m_name => Frame::$message(message(body)?),)*
                    $(kind::$c_name => Frame::$count(u64::take(&mut body)?),)*
                    $(kind::$l_name => Frame::$layout {
                        $($field: <$field_type>::take(&mut body)?,)*
                        $($($flag: self.flags & $bit != 0,)*)?
                        $($rest: body,)?
                    },)*
                    unknown => Frame::Unknown(unknown),
                })
            }
        }

        impl Frame<'_> {
            fn append(&self, stream: u16, out: &mut Vec<u8>) {
                match self {
                    $($(#[cfg(feature = $feature)])? Frame::$message(x) => put_message(out, stream, kind::$m_name, x),)*
                    $(Frame::$count(n) => {
                        put_header(out, u64::BYTES, kind::$c_name, 0, stream);
                        n.put(out);
                    })*
                    $(Frame::$layout { $($field,)* $($($flag,)*)? $($rest,)? } => {
                        let length = 0 $(+ <$field_type>::BYTES)* $(+ $rest.len())?;
                        let flags = 0 $($(| if *$flag { $bit } else { 0 })*)?;
                        put_header(out, length, kind::$l_name, flags, stream);
                        $($field.put(out);)*
                        $(out.extend_from_slice($rest);)?
                    })*
                    Frame::Unknown(kind) => put_header(out, 0, *kind, 0, stream),
                }
            }
        }
    };
}

frames! {
    messages {
        /// First frame each way.
        HELLO = 0x01 => Hello(m::Hello);
        /// A kind was not understood and was skipped.
        UNSUPPORTED = 0x04 => Unsupported(m::Unsupported);
        /// This stream (or, on stream 0, this connection) has ended, and why.
        CLOSE = 0x05 => Close(m::Close);
        /// A request to the agent, stream 0 of a link.
        LINK_REQUEST = 0x20 => LinkRequest(m::LinkRequest);
        /// The agent's answer to one request.
        LINK_REPLY = 0x21 => LinkReply(m::LinkReply);
        /// Join this stream to a job's holder.
        OPEN = 0x30 => Open(m::Open);
        /// Send output from here on.
        SUBSCRIBE = 0x31 => Subscribe(m::Subscribe);
        /// Send no more output.
        UNSUBSCRIBE = 0x32 => Unsubscribe(m::Empty);
        /// Send a range of older output.
        READ_RANGE = 0x33 => ReadRange(m::ReadRange);
        /// The PTY's new size.
        RESIZE = 0x34 => Resize(m::Resize);
        /// End the job.
        END = 0x35 => End(m::End);
        /// Who watches the job through this stream.
        PRESENCE = 0x36 => Presence(m::Presence);
        /// New name, tags or limits of the job's session.
        DESCRIBE = 0x37 => Describe(m::Describe);
        /// The exit record is stored; the holder may go.
        EXIT_ACK = 0x38 => ExitAck(m::Empty);
        /// Type something into the job, by no view.
        SEND = 0x3a => Send(m::Send);
        /// A program inside the job says what the job is doing.
        REPORT = 0x3b => Report(m::Report);
        /// The input of a view ends.
        INPUT_END = 0x3c => InputEnd(m::InputEnd);
        /// What a manager wants of a holder beside its job's terminal, whole: ports, ssh-agent.
        FORWARDS = 0x60 => Forwards(m::Forwards);
        /// What became of that, and what the job listens on.
        FORWARDED = 0x61 => Forwarded(m::Forwarded);
        /// The channels that an end has, and how far each got: first word about channels on a path, and its answer.
        CHANNEL_SYNC = 0x62 => ChannelSync(m::ChannelSync);
        /// A channel begins.
        CHANNEL_OPEN = 0x63 => ChannelOpen(m::ChannelOpen);
        /// The other end is joined to what was asked for.
        CHANNEL_OPENED = 0x64 => ChannelOpened(m::ChannelName);
        /// A channel is given up, or was never joined to anything. What was on its way is lost.
        CHANNEL_CLOSE = 0x65 => ChannelClose(m::ChannelClose);
        /// What the terminal of a view is like.
        TRAITS = 0xbd => Traits(m::Traits);
        /// What the holder knows about its job.
        STATUS = 0x41 => Status(m::JobStatus);
        /// The job has ended; everything it wrote was sent before.
        EXITED = 0x42 => Exited(m::ExitRecord);
        /// What became of a `SEND` or `REPORT`.
        SENT = 0x44 => Sent(m::Sent);
        /// A notice of the job for people.
        NOTICE = 0xc5 => Notice(m::Notice);
        /// A view's request to the manager.
        REQUEST = 0x50 => Request(m::Request) if "views";
        /// The manager's answer to one request.
        REPLY = 0x51 => Reply(m::Reply) if "views";
        /// Turn this connection into a view of a session.
        ATTACH = 0x52 => Attach(m::Attach) if "views";
        /// The view is attached.
        ATTACHED = 0x53 => Attached(m::Attached) if "views";
        /// What the view should know that is not in the stream.
        VIEW_STATE = 0x54 => ViewState(m::ViewState) if "views";
        /// The session's job has ended.
        ENDED = 0x56 => Ended(m::ExitRecord) if "views";
        /// The view leaves, or is sent away.
        DETACH = 0x57 => Detach(m::Detach) if "views";
        /// A change of state, for who asked for them.
        EVENT = 0x58 => Event(m::Event) if "views";
        /// From a view: somebody waits for the link, which is to be tried now.
        TRY_NOW = 0xd9 => TryNow(m::Empty) if "views";
        /// From a view: it shows what is typed before the job does, and is to be told of echoes, or not any more.
        PREDICTS = 0xe0 => Predicts(m::Predicts) if "views";
        /// What of the environment of whoever asks counts for reaching a host. Before the request that it is for.
        ENVIRONMENT = 0xd0 => Environment(m::Environment) if "views";
        /// To who said that a person is there: something that only a person knows is wanted to reach a host.
        QUESTION = 0xd1 => Question(m::Question) if "views";
        /// What that person says.
        ANSWER = 0xd2 => Answer(m::QuestionAnswer) if "views";
        /// A question is not wanted any more.
        QUESTION_OVER = 0xd3 => QuestionOver(m::QuestionOver) if "views";
        /// What the manager waits for while it works at a request.
        AWAITS = 0xd4 => Awaits(m::Awaits) if "views";
    }
    counts {
        /// "Are you there?", answered by `PONG` with the same token.
        PING = 0x02 => Ping;
        /// Answer to `PING`.
        PONG = 0x03 => Pong;
        /// Cumulative credit of a stream.
        CREDIT = 0x13 => Credit;
    }
    layouts {
        /// Output bytes at an offset.
        OUTPUT = 0x10 => Output { offset: u64 } then bytes;
        /// Part of a snapshot that stands for all output before an offset.
        SNAPSHOT = 0x11 => Snapshot { at: u64, skipped: u64, cols: u16, rows: u16 } flags { more: FLAG_MORE } then bytes;
        /// Old output bytes, asked for by `READ_RANGE`.
        RANGE = 0x12 => Range { offset: u64 } flags { more: FLAG_MORE, expired: FLAG_EXPIRED } then bytes;
        /// Bytes a view typed.
        INPUT = 0x14 => Input { view: Uuid, seq: u64 } flags { withdrawn: FLAG_WITHDRAWN } then bytes;
        /// What changes on the terminal of a view that is drawn, behind its snapshot; it stands for all output before an offset.
        DRAWING = 0x16 => Drawing { at: u64 } then bytes;
        /// Input of a view was written to the PTY up to here.
        INPUT_ACK = 0x15 => InputAck { view: Uuid, seq: u64 };
        /// Bytes of a channel, at an offset of its own.
        CHANNEL_DATA = 0x66 => ChannelData { channel: u64, offset: u64 } then bytes;
        /// There are no bytes from this offset on. The end counts as one more byte.
        CHANNEL_END = 0x67 => ChannelEnd { channel: u64, offset: u64 };
        /// What came of a channel was passed on up to here: so much and a window more may come.
        CHANNEL_CREDIT = 0x68 => ChannelCredit { channel: u64, consumed: u64 };
        /// Answer to `INPUT` with `FLAG_WITHDRAWN`: which bytes of the view were not taken before that, and never will be.
        WITHDRAWN = 0x95 => Withdrawn { view: Uuid, from: u64, to: u64 };
        /// To a view that predicts: what its input before `seq` brought is in the output before `offset`, as far as a moment
        /// after it was written tells; and how the terminal takes what is typed now. `seq` 0 says the latter alone.
        ECHOED = 0x9a => Echoed { view: Uuid, seq: u64, offset: u64 } flags { echo: FLAG_ECHO, lines: FLAG_LINES };
    }
}

/// What makes a connection impossible to go on with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// A header announced a body longer than [`FRAME_BODY_MAX`].
    #[error("a frame of {0} bytes is longer than any frame may be")]
    TooLong(u32),
    /// A fixed layout was shorter than its fields, or a message did not parse.
    #[error("a frame of kind {0:#04x} does not parse")]
    Malformed(u8),
}

/// One frame as it lies in the buffer: header read, body not looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawFrame<'a> {
    /// One of [`kind`], or a number this version does not know.
    pub kind: u8,
    /// Meaning depends on the kind.
    pub flags: u8,
    /// Which job's stream this belongs to; 0 is the connection itself.
    pub stream: u16,
    /// The body.
    pub body: &'a [u8],
}

/// Cuts frames out of a byte stream. Never holds more than one frame beyond what was pushed.
#[derive(Debug, Default, Clone)]
pub struct Decoder {
    buffer: Vec<u8>,
    start: usize,
}

impl Decoder {
    /// An empty decoder.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds bytes that arrived.
    pub fn push(&mut self, bytes: &[u8]) {
        self.compact();
        self.buffer.extend_from_slice(bytes);
    }

    /// Lets `read` append to the buffer directly, which saves a copy on the way in.
    pub fn buffer_mut(&mut self) -> &mut Vec<u8> {
        self.compact();
        &mut self.buffer
    }

    fn compact(&mut self) {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
    }

    /// Bytes pushed and not yet taken as frames.
    pub fn pending(&self) -> usize {
        self.buffer.len() - self.start
    }

    /// The next whole frame, `None` while it is incomplete.
    ///
    /// # Errors
    /// [`Invalid::TooLong`] as soon as a header announces too much: the stream cannot be followed any further.
    pub fn next_frame(&mut self) -> Result<Option<RawFrame<'_>>, Invalid> {
        let rest = &self.buffer[self.start..];
        let Some(header) = Header::parse(rest, FRAME_BODY_MAX)? else { return Ok(None) };
        let end = header.frame_bytes();
        if rest.len() < end {
            return Ok(None);
        }
        let body = self.start + Header::BYTES..self.start + end;
        self.start += end;
        Ok(Some(RawFrame::new(header, &self.buffer[body])))
    }
}

/// A field of fixed length.
trait Field: Sized {
    const BYTES: usize;
    /// Takes it off the beginning of a body; `None`: that is too short.
    fn take(body: &mut &[u8]) -> Option<Self>;
    fn put(&self, out: &mut Vec<u8>);
}

macro_rules! fields {
    ($($type:ty: $read:path, $write:path;)*) => {
        $(impl Field for $type {
            const BYTES: usize = size_of::<Self>();
            fn take(body: &mut &[u8]) -> Option<Self> {
                let (bytes, rest) = body.split_first_chunk()?;
                *body = rest;
                Some($read(*bytes))
            }
            fn put(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&$write(*self));
            }
        })*
    };
}

fields! {
    u16: u16::from_le_bytes, u16::to_le_bytes;
    u64: u64::from_le_bytes, u64::to_le_bytes;
    Uuid: Uuid::from_bytes, Uuid::into_bytes;
}

impl<'a> RawFrame<'a> {
    /// The frame of that header and body.
    pub fn new(header: Header, body: &'a [u8]) -> Self {
        let Header { kind, flags, stream, .. } = header;
        Self { kind, flags, stream, body }
    }

    /// Reads the body.
    ///
    /// # Errors
    /// [`Invalid::Malformed`] when the body does not have the form of its kind.
    pub fn parse(self) -> Result<Frame<'a>, Invalid> {
        self.meaning().ok_or(Invalid::Malformed(self.kind))
    }

    /// Writes the frame again under another stream number, body untouched: all that relaying takes.
    pub fn relay(self, stream: u16, out: &mut Vec<u8>) {
        put_header(out, self.body.len(), self.kind, self.flags, stream);
        out.extend_from_slice(self.body);
    }
}

fn message<M: Message + Default>(body: &[u8]) -> Option<M> {
    M::decode(body).ok()
}

fn put_header(out: &mut Vec<u8>, length: usize, kind: u8, flags: u8, stream: u16) {
    Header { length: length as u32, kind, flags, stream }.put(out);
}

fn put_message(out: &mut Vec<u8>, stream: u16, kind: u8, message: &impl Message) {
    let length = message.encoded_len();
    put_header(out, length, kind, 0, stream);
    message.encode_raw(out);
}

impl Frame<'_> {
    /// Appends the frame to `out`. One that is longer than any may be would end the connection at the other end: it is left out.
    /// Whoever carries what has no bound of its own, and is waited for, asks [`Frame::try_put`].
    pub fn put(&self, stream: u16, out: &mut Vec<u8>) {
        let _ = self.try_put(stream, out);
    }

    /// Appends the frame to `out`. False: it is longer than any may be, and nothing was appended.
    #[must_use]
    pub fn try_put(&self, stream: u16, out: &mut Vec<u8>) -> bool {
        let start = out.len();
        self.append(stream, out);
        let fits = out.len() - start <= Header::BYTES + FRAME_BODY_MAX;
        if !fits {
            out.truncate(start);
        }
        fits
    }

    /// The frame as bytes of its own.
    pub fn to_bytes(&self, stream: u16) -> Vec<u8> {
        let mut out = Vec::new();
        self.put(stream, &mut out);
        out
    }
}

/// Cuts a snapshot into frames and appends them to `out`. An empty snapshot is one empty frame.
pub fn put_snapshot(
    stream: u16,
    at: u64,
    skipped: u64,
    (cols, rows): (u16, u16),
    snapshot: &[u8],
    out: &mut Vec<u8>,
) {
    let mut chunks = snapshot.chunks(crate::limits::CHUNK).peekable();
    if chunks.peek().is_none() {
        Frame::Snapshot { at, skipped, cols, rows, more: false, bytes: &[] }.put(stream, out);
    }
    while let Some(bytes) = chunks.next() {
        let more = chunks.peek().is_some();
        Frame::Snapshot { at, skipped, cols, rows, more, bytes }.put(stream, out);
    }
}
