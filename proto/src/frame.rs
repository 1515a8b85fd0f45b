//! The frame header, the fixed layouts, and the incremental decoder.

use crate::limits::FRAME_BODY_MAX;
use crate::messages as m;
use prost::Message;
use uuid::Uuid;

/// Bytes of a frame header.
pub const HEADER: usize = 8;

/// On `Snapshot`: more frames of the same snapshot follow. On `Range`: more frames of the same answer follow.
pub const FLAG_MORE: u8 = 1;
/// On `Range`: the beginning of what was asked for is no longer held; the body starts at what is.
pub const FLAG_EXPIRED: u8 = 2;
/// On `Input`: every byte before this frame's `seq` that the holder has not seen was withdrawn and will never come.
pub const FLAG_WITHDRAWN: u8 = 1;

/// Kinds with this bit may be ignored by who does not know them.
pub const IGNORABLE: u8 = 0x80;

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $n:literal;)*) => {
        /// The numbers of the frame kinds. A number is never used again for another meaning.
        pub mod kind {
            $($(#[$doc])* pub const $name: u8 = $n;)*
        }
    };
}

kinds! {
    /// First frame each way.
    HELLO = 0x01;
    /// "Are you there?", answered by `PONG` with the same token.
    PING = 0x02;
    /// Answer to `PING`.
    PONG = 0x03;
    /// A kind was not understood and was skipped.
    UNSUPPORTED = 0x04;
    /// This stream (or, on stream 0, this talk) has ended, and why.
    CLOSE = 0x05;
    /// Output bytes at an offset.
    OUTPUT = 0x10;
    /// Part of a snapshot that stands for all output before an offset.
    SNAPSHOT = 0x11;
    /// Old output bytes, asked for by `READ_RANGE`.
    RANGE = 0x12;
    /// Cumulative credit of a stream.
    CREDIT = 0x13;
    /// Bytes a view typed.
    INPUT = 0x14;
    /// Input of a view was written to the PTY up to here.
    INPUT_ACK = 0x15;
    /// Answer to `INPUT` with `FLAG_WITHDRAWN`: which bytes of the view were not taken before that, and never will be.
    WITHDRAWN = 0x95;
    /// A request to the agent, stream 0 of a link.
    LINK_REQUEST = 0x20;
    /// The agent's answer to one request.
    LINK_REPLY = 0x21;
    /// Join this stream to a job's holder.
    OPEN = 0x30;
    /// Send output from here on.
    SUBSCRIBE = 0x31;
    /// Send no more output.
    UNSUBSCRIBE = 0x32;
    /// Send a range of older output.
    READ_RANGE = 0x33;
    /// The PTY's new size.
    RESIZE = 0x34;
    /// End the job.
    END = 0x35;
    /// Who watches the job through this stream.
    PRESENCE = 0x36;
    /// New name, tags or limits of the job's session.
    DESCRIBE = 0x37;
    /// The exit record is stored; the holder may go.
    EXIT_ACK = 0x38;
    /// Type something into the job, by no view.
    SEND = 0x3a;
    /// A program inside the job says what the job is doing.
    REPORT = 0x3b;
    /// The input of a view ends.
    INPUT_END = 0x3c;
    /// What the holder knows about its job.
    STATUS = 0x41;
    /// The job has ended; everything it wrote was sent before.
    EXITED = 0x42;
    /// What became of a `SEND` or `REPORT`.
    SENT = 0x44;
    /// A notice of the job for people.
    NOTICE = 0xc5;
    /// A view's request to the manager.
    REQUEST = 0x50;
    /// The manager's answer to one request.
    REPLY = 0x51;
    /// Turn this connection into a view of a session.
    ATTACH = 0x52;
    /// The view is attached.
    ATTACHED = 0x53;
    /// What the view should know that is not in the stream.
    VIEW_STATE = 0x54;
    /// The session's job has ended.
    ENDED = 0x56;
    /// The view leaves, or is sent away.
    DETACH = 0x57;
    /// A change of state, for who asked for them.
    EVENT = 0x58;
    /// From a view: somebody waits for the link, which is to be tried now.
    TRY_NOW = 0xd9;
    /// What of the environment of whoever asks counts for reaching a host. Before the request that it is for.
    ENVIRONMENT = 0xd0;
}

/// What makes a talk impossible to go on with.
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
    /// Which job's talk this belongs to; 0 is the talk itself.
    pub stream: u16,
    /// The body.
    pub body: &'a [u8],
}

/// Cuts frames out of a byte stream. Never holds more than one frame beyond what was pushed.
#[derive(Debug, Default)]
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
        let Some(header) = rest.first_chunk::<HEADER>() else { return Ok(None) };
        let length = u32::from_le_bytes([header[0], header[1], header[2], header[3]]);
        if length as usize > FRAME_BODY_MAX {
            return Err(Invalid::TooLong(length));
        }
        let end = HEADER + length as usize;
        if rest.len() < end {
            return Ok(None);
        }
        let (kind, flags, stream) = (header[4], header[5], u16::from_le_bytes([header[6], header[7]]));
        let body = self.start + HEADER..self.start + end;
        self.start += end;
        Ok(Some(RawFrame { kind, flags, stream, body: &self.buffer[body] }))
    }
}

/// A frame with its meaning. Bytes are borrowed from where they lie. Those between a view and the manager are known where
/// the feature `views` is on.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)] // each variant is described at its number in `kind`, each message at its type
pub enum Frame<'a> {
    Hello(m::Hello),
    Ping(u64),
    Pong(u64),
    Unsupported(m::Unsupported),
    Close(m::Close),
    Output {
        offset: u64,
        bytes: &'a [u8],
    },
    Snapshot {
        at: u64,
        skipped: u64,
        cols: u16,
        rows: u16,
        more: bool,
        bytes: &'a [u8],
    },
    Range {
        offset: u64,
        more: bool,
        expired: bool,
        bytes: &'a [u8],
    },
    Credit(u64),
    Input {
        view: Uuid,
        seq: u64,
        withdrawn: bool,
        bytes: &'a [u8],
    },
    InputAck {
        view: Uuid,
        seq: u64,
    },
    Withdrawn {
        view: Uuid,
        from: u64,
        to: u64,
    },
    LinkRequest(m::LinkRequest),
    LinkReply(m::LinkReply),
    Open(m::Open),
    Subscribe(m::Subscribe),
    Unsubscribe(m::Empty),
    ReadRange(m::ReadRange),
    Resize(m::Resize),
    End(m::End),
    Presence(m::Presence),
    Describe(m::Describe),
    ExitAck(m::Empty),
    Status(m::JobStatus),
    Exited(m::ExitRecord),
    Send(m::Send),
    Report(m::Report),
    InputEnd(m::InputEnd),
    Sent(m::Sent),
    Notice(m::Notice),
    #[cfg(feature = "views")]
    Request(m::Request),
    #[cfg(feature = "views")]
    Reply(m::Reply),
    #[cfg(feature = "views")]
    Attach(m::Attach),
    #[cfg(feature = "views")]
    Attached(m::Attached),
    #[cfg(feature = "views")]
    ViewState(m::ViewState),
    #[cfg(feature = "views")]
    Ended(m::ExitRecord),
    #[cfg(feature = "views")]
    Detach(m::Detach),
    #[cfg(feature = "views")]
    Event(m::Event),
    #[cfg(feature = "views")]
    TryNow(m::Empty),
    #[cfg(feature = "views")]
    Environment(m::Environment),
    /// A kind this version does not know. If it is not ignorable, the receiver answers `Unsupported` and goes on.
    Unknown(u8),
}

fn u64_at(body: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(body.get(at..at + 8)?.try_into().ok()?))
}

fn u16_at(body: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(body.get(at..at + 2)?.try_into().ok()?))
}

fn uuid_at(body: &[u8], at: usize) -> Option<Uuid> {
    Some(Uuid::from_bytes(body.get(at..at + 16)?.try_into().ok()?))
}

impl<'a> RawFrame<'a> {
    /// Reads the body.
    ///
    /// # Errors
    /// [`Invalid::Malformed`] when the body does not have the form of its kind.
    pub fn parse(self) -> Result<Frame<'a>, Invalid> {
        self.fixed_or_message().ok_or(Invalid::Malformed(self.kind))
    }

    fn fixed_or_message(self) -> Option<Frame<'a>> {
        let body = self.body;
        Some(match self.kind {
            kind::HELLO => Frame::Hello(message(body)?),
            kind::PING => Frame::Ping(u64_at(body, 0)?),
            kind::PONG => Frame::Pong(u64_at(body, 0)?),
            kind::UNSUPPORTED => Frame::Unsupported(message(body)?),
            kind::CLOSE => Frame::Close(message(body)?),
            kind::OUTPUT => Frame::Output { offset: u64_at(body, 0)?, bytes: &body[8..] },
            kind::SNAPSHOT => Frame::Snapshot {
                at: u64_at(body, 0)?,
                skipped: u64_at(body, 8)?,
                cols: u16_at(body, 16)?,
                rows: u16_at(body, 18)?,
                more: self.flags & FLAG_MORE != 0,
                bytes: &body[20..],
            },
            kind::RANGE => Frame::Range {
                offset: u64_at(body, 0)?,
                more: self.flags & FLAG_MORE != 0,
                expired: self.flags & FLAG_EXPIRED != 0,
                bytes: &body[8..],
            },
            kind::CREDIT => Frame::Credit(u64_at(body, 0)?),
            kind::INPUT => Frame::Input {
                view: uuid_at(body, 0)?,
                seq: u64_at(body, 16)?,
                withdrawn: self.flags & FLAG_WITHDRAWN != 0,
                bytes: &body[24..],
            },
            kind::INPUT_ACK => Frame::InputAck { view: uuid_at(body, 0)?, seq: u64_at(body, 16)? },
            kind::WITHDRAWN => {
                Frame::Withdrawn { view: uuid_at(body, 0)?, from: u64_at(body, 16)?, to: u64_at(body, 24)? }
            }
            kind::LINK_REQUEST => Frame::LinkRequest(message(body)?),
            kind::LINK_REPLY => Frame::LinkReply(message(body)?),
            kind::OPEN => Frame::Open(message(body)?),
            kind::SUBSCRIBE => Frame::Subscribe(message(body)?),
            kind::UNSUBSCRIBE => Frame::Unsubscribe(message(body)?),
            kind::READ_RANGE => Frame::ReadRange(message(body)?),
            kind::RESIZE => Frame::Resize(message(body)?),
            kind::END => Frame::End(message(body)?),
            kind::PRESENCE => Frame::Presence(message(body)?),
            kind::DESCRIBE => Frame::Describe(message(body)?),
            kind::EXIT_ACK => Frame::ExitAck(message(body)?),
            kind::STATUS => Frame::Status(message(body)?),
            kind::EXITED => Frame::Exited(message(body)?),
            kind::SEND => Frame::Send(message(body)?),
            kind::REPORT => Frame::Report(message(body)?),
            kind::INPUT_END => Frame::InputEnd(message(body)?),
            kind::SENT => Frame::Sent(message(body)?),
            kind::NOTICE => Frame::Notice(message(body)?),
            #[cfg(feature = "views")]
            kind::REQUEST => Frame::Request(message(body)?),
            #[cfg(feature = "views")]
            kind::REPLY => Frame::Reply(message(body)?),
            #[cfg(feature = "views")]
            kind::ATTACH => Frame::Attach(message(body)?),
            #[cfg(feature = "views")]
            kind::ATTACHED => Frame::Attached(message(body)?),
            #[cfg(feature = "views")]
            kind::VIEW_STATE => Frame::ViewState(message(body)?),
            #[cfg(feature = "views")]
            kind::ENDED => Frame::Ended(message(body)?),
            #[cfg(feature = "views")]
            kind::DETACH => Frame::Detach(message(body)?),
            #[cfg(feature = "views")]
            kind::EVENT => Frame::Event(message(body)?),
            #[cfg(feature = "views")]
            kind::TRY_NOW => Frame::TryNow(message(body)?),
            #[cfg(feature = "views")]
            kind::ENVIRONMENT => Frame::Environment(message(body)?),
            unknown => Frame::Unknown(unknown),
        })
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
    out.extend_from_slice(&(length as u32).to_le_bytes());
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_le_bytes());
}

fn put_message(out: &mut Vec<u8>, stream: u16, kind: u8, message: &impl Message) {
    let length = message.encoded_len();
    put_header(out, length, kind, 0, stream);
    message.encode_raw(out);
}

impl Frame<'_> {
    /// Appends the frame to `out`. One that is longer than any may be would end the talk at the other end: it is left out.
    /// Whoever carries what has no bound of its own, and is waited for, asks [`Frame::try_put`].
    pub fn put(&self, stream: u16, out: &mut Vec<u8>) {
        let _ = self.try_put(stream, out);
    }

    /// Appends the frame to `out`. False: it is longer than any may be, and nothing was appended.
    #[must_use]
    pub fn try_put(&self, stream: u16, out: &mut Vec<u8>) -> bool {
        let start = out.len();
        self.append(stream, out);
        let fits = out.len() - start <= HEADER + FRAME_BODY_MAX;
        if !fits {
            out.truncate(start);
        }
        fits
    }

    fn append(&self, stream: u16, out: &mut Vec<u8>) {
        match self {
            Frame::Hello(x) => put_message(out, stream, kind::HELLO, x),
            Frame::Ping(token) => {
                put_header(out, 8, kind::PING, 0, stream);
                out.extend_from_slice(&token.to_le_bytes());
            }
            Frame::Pong(token) => {
                put_header(out, 8, kind::PONG, 0, stream);
                out.extend_from_slice(&token.to_le_bytes());
            }
            Frame::Unsupported(x) => put_message(out, stream, kind::UNSUPPORTED, x),
            Frame::Close(x) => put_message(out, stream, kind::CLOSE, x),
            Frame::Output { offset, bytes } => {
                put_header(out, 8 + bytes.len(), kind::OUTPUT, 0, stream);
                out.extend_from_slice(&offset.to_le_bytes());
                out.extend_from_slice(bytes);
            }
            Frame::Snapshot { at, skipped, cols, rows, more, bytes } => {
                let flags = if *more { FLAG_MORE } else { 0 };
                put_header(out, 20 + bytes.len(), kind::SNAPSHOT, flags, stream);
                out.extend_from_slice(&at.to_le_bytes());
                out.extend_from_slice(&skipped.to_le_bytes());
                out.extend_from_slice(&cols.to_le_bytes());
                out.extend_from_slice(&rows.to_le_bytes());
                out.extend_from_slice(bytes);
            }
            Frame::Range { offset, more, expired, bytes } => {
                let flags = if *more { FLAG_MORE } else { 0 } | if *expired { FLAG_EXPIRED } else { 0 };
                put_header(out, 8 + bytes.len(), kind::RANGE, flags, stream);
                out.extend_from_slice(&offset.to_le_bytes());
                out.extend_from_slice(bytes);
            }
            Frame::Credit(total) => {
                put_header(out, 8, kind::CREDIT, 0, stream);
                out.extend_from_slice(&total.to_le_bytes());
            }
            Frame::Input { view, seq, withdrawn, bytes } => {
                let flags = if *withdrawn { FLAG_WITHDRAWN } else { 0 };
                put_header(out, 24 + bytes.len(), kind::INPUT, flags, stream);
                out.extend_from_slice(view.as_bytes());
                out.extend_from_slice(&seq.to_le_bytes());
                out.extend_from_slice(bytes);
            }
            Frame::InputAck { view, seq } => {
                put_header(out, 24, kind::INPUT_ACK, 0, stream);
                out.extend_from_slice(view.as_bytes());
                out.extend_from_slice(&seq.to_le_bytes());
            }
            Frame::Withdrawn { view, from, to } => {
                put_header(out, 32, kind::WITHDRAWN, 0, stream);
                out.extend_from_slice(view.as_bytes());
                out.extend_from_slice(&from.to_le_bytes());
                out.extend_from_slice(&to.to_le_bytes());
            }
            Frame::LinkRequest(x) => put_message(out, stream, kind::LINK_REQUEST, x),
            Frame::LinkReply(x) => put_message(out, stream, kind::LINK_REPLY, x),
            Frame::Open(x) => put_message(out, stream, kind::OPEN, x),
            Frame::Subscribe(x) => put_message(out, stream, kind::SUBSCRIBE, x),
            Frame::Unsubscribe(x) => put_message(out, stream, kind::UNSUBSCRIBE, x),
            Frame::ReadRange(x) => put_message(out, stream, kind::READ_RANGE, x),
            Frame::Resize(x) => put_message(out, stream, kind::RESIZE, x),
            Frame::End(x) => put_message(out, stream, kind::END, x),
            Frame::Presence(x) => put_message(out, stream, kind::PRESENCE, x),
            Frame::Describe(x) => put_message(out, stream, kind::DESCRIBE, x),
            Frame::ExitAck(x) => put_message(out, stream, kind::EXIT_ACK, x),
            Frame::Status(x) => put_message(out, stream, kind::STATUS, x),
            Frame::Exited(x) => put_message(out, stream, kind::EXITED, x),
            Frame::Send(x) => put_message(out, stream, kind::SEND, x),
            Frame::Report(x) => put_message(out, stream, kind::REPORT, x),
            Frame::InputEnd(x) => put_message(out, stream, kind::INPUT_END, x),
            Frame::Sent(x) => put_message(out, stream, kind::SENT, x),
            Frame::Notice(x) => put_message(out, stream, kind::NOTICE, x),
            #[cfg(feature = "views")]
            Frame::Request(x) => put_message(out, stream, kind::REQUEST, x),
            #[cfg(feature = "views")]
            Frame::Reply(x) => put_message(out, stream, kind::REPLY, x),
            #[cfg(feature = "views")]
            Frame::Attach(x) => put_message(out, stream, kind::ATTACH, x),
            #[cfg(feature = "views")]
            Frame::Attached(x) => put_message(out, stream, kind::ATTACHED, x),
            #[cfg(feature = "views")]
            Frame::ViewState(x) => put_message(out, stream, kind::VIEW_STATE, x),
            #[cfg(feature = "views")]
            Frame::Ended(x) => put_message(out, stream, kind::ENDED, x),
            #[cfg(feature = "views")]
            Frame::Detach(x) => put_message(out, stream, kind::DETACH, x),
            #[cfg(feature = "views")]
            Frame::Event(x) => put_message(out, stream, kind::EVENT, x),
            #[cfg(feature = "views")]
            Frame::TryNow(x) => put_message(out, stream, kind::TRY_NOW, x),
            #[cfg(feature = "views")]
            Frame::Environment(x) => put_message(out, stream, kind::ENVIRONMENT, x),
            Frame::Unknown(kind) => put_header(out, 0, *kind, 0, stream),
        }
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
