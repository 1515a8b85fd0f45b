//! # The sessd protocol, major version 1
//!
//! Two kinds of connection use the same frames: *view ↔ manager* over a local unix socket, and *manager ↔ agent ↔ holder* over one
//! exec channel of one ssh connection (a child's stdio for the host `local`) and one unix socket per job.
//!
//! ## Layout
//! Every frame is an 8-byte header and a body, all integers little-endian:
//!
//! ```text
//! u32 length of the body   u8 kind   u8 flags   u16 stream   body …
//! ```
//!
//! Data, acknowledgements, credits and pings have fixed layouts around raw bytes (see [`frame`]); every other kind is a
//! protobuf message ([`messages`]) whose fields are only ever added and whose numbers are never used again.
//!
//! ## Order
//! Both ends send `Hello` first and need not wait for the other's. On a link, stream 0 carries requests to the agent
//! (`serve`) and their replies; any other stream carries one job: `Open` names the job, the agent connects to the job's
//! holder, and from then on only renumbers the stream and passes frames on. A holder and a manager greet each other with a
//! `Hello` of their own on that stream, because a holder may be older than the agent that relays to it.
//! On a view's connection everything is stream 0.
//!
//! ## Bytes
//! * **Output** has absolute offsets: the first byte a job ever writes (after answered queries were taken out) is 0. A
//!   receiver trims what it already holds.
//! * **Input** is numbered per view by absolute byte offset. A holder writes each byte once: what it has seen it drops,
//!   and `InputAck` says up to where bytes were written to the PTY. A frame with [`frame::FLAG_WITHDRAWN`] says that every
//!   byte before it which the holder has not seen will never come, even if one arrives later over an older path; the
//!   holder answers with `Withdrawn`, which names those bytes.
//! * **Echoes**: of a view that predicts what its keys will show, the holder says when output is to be judged by
//!   (`Echoed`): a moment after the input was written, with the offset of the output then and the terminal's echo flag.
//! * **Credit** is the cumulative number of `Output`, `Snapshot` and `Range` body bytes the receiver has allowed on a stream
//!   since it subscribed. A sender may finish one snapshot beyond it, nothing else.
//!
//! * **Channels** are byte streams beside the job's terminal, for what is forwarded: each way has offsets of its own, what was
//!   not passed on is kept by who sent it ([`channel`]), and on each new path both ends first say how far they are
//!   (`ChannelSync`), so that a channel outlives a cut as the terminal does.
//!
//! ## Growth
//! A kind with the high bit set may be ignored by who does not know it; any other unknown kind is answered with
//! `Unsupported` and skipped. Nothing unknown ends a connection. A body that is too long or does not parse does: the peer is broken
//! or hostile, and the connection is closed with a sentence.
//!
//! ## Rooms
//! [`header`], [`frame`], [`messages`]: the bytes · [`hello`]: who we are and whether we understand each other · [`limits`], [`bounds`]: how
//! much there may be, on the wire and of what a person asks · [`channel`]: a byte stream that outlives a cut · `docs`: what people and programs
//! read, for all but the agent
//!
//! ## Trust
//! What comes from an agent is hostile input to the manager, and what comes from a view is hostile input to the holder:
//! lengths are checked before anything is allocated, and every queue that a peer can fill has a bound in [`limits`].

#![deny(clippy::disallowed_types)]

pub mod bounds;
pub mod channel;
#[cfg(feature = "docs")]
pub mod docs;
pub mod frame;
pub mod header;
pub mod hello;
pub mod limits;
pub mod messages;

pub use frame::{Decoder, Frame, Invalid, RawFrame};
pub use header::Header;
pub use hello::{Skew, negotiate};
pub use uuid::Uuid;
