//! Every bound on the wire, with its reason.

/// Longest body of one frame, in bytes. A snapshot of any size travels in several frames, so this only bounds what a
/// receiver must buffer before it can look at a frame.
pub const FRAME_BODY_MAX: usize = 1 << 20;

/// Payload bytes put into one `Output`, `Snapshot` or `Range` frame. Small enough that a control frame queued behind one
/// waits under a millisecond on a 100 Mbit/s link, large enough that headers do not count.
pub const CHUNK: usize = 32 * 1024;

/// Bytes of output in flight on one job's stream before the receiver grants more, at the most: a slow way has less of it
/// (`sessd_core::flow`). Bounds what must drain before an answer to Ctrl-C is seen.
pub const LINK_WINDOW: u64 = 1 << 20;

/// The same between the manager and one view on this machine, where a round trip costs microseconds.
pub const VIEW_WINDOW: u64 = 256 * 1024;

/// Input bytes of one view that may be on their way unacknowledged. The holder buffers at most this much for a PTY that
/// does not take it; a view that sends more is broken and its stream is closed.
pub const INPUT_WINDOW: u64 = 64 * 1024;

/// The same of a job without a terminal, whose holder says so (`JobStatus.input_window`): what a file that is written there
/// needs to have under way at 80 Mbit/s and a round trip of 100 ms. Both ends keep that much of each view.
pub const PLAIN_INPUT_WINDOW: u64 = 1 << 20;

/// Bytes of one `Send`: what is pasted in one piece, and no more than a frame may have.
pub const SEND_MAX: usize = 512 * 1024;

/// `Send`s that a holder keeps until their time, and the bytes of them all.
pub const QUEUED_MAX: usize = 64;
/// See [`QUEUED_MAX`].
pub const QUEUED_BYTES: usize = 1 << 20;

/// Characters of a note or a notice.
pub const NOTE_MAX: usize = 300;

/// Views whose input position a holder remembers. Beyond that the one unused longest is forgotten, of those that are not
/// there now if there is any.
pub const INPUT_VIEWS: usize = 256;

/// Streams one link may have open: the 16-bit number less stream 0 and some room.
pub const STREAMS_MAX: usize = 60_000;

/// Output bytes a holder keeps for a manager that comes back, in bytes.
pub const HOLDER_RING: usize = 4 << 20;

/// Output bytes the manager keeps of a warm session for its views.
pub const REPLICA_RING: usize = 4 << 20;

/// Lines of scrollback a holder keeps.
pub const SCROLLBACK_LINES: usize = 10_000;

/// Longest name of a session, in bytes (the command line's contract).
pub const NAME_MAX: usize = 64;

/// Longest tag key, and longest tag value, in bytes.
pub const TAG_MAX: usize = 256;

/// Bytes of a channel that may be on their way one way, kept by who sent them until they were passed on: what a port
/// forward carries in 100 ms at 20 Mbit/s.
pub const CHANNEL_WINDOW: usize = 256 * 1024;

/// Channels that one job may have open to one manager.
pub const CHANNELS_MAX: usize = 128;

/// Ports and sockets that a manager may have a holder listen on, and ports of a job that are told.
pub const LISTENERS_MAX: usize = 64;

/// Most tags of one session.
pub const TAGS_MAX: usize = 64;

/// Bytes of everything that makes a job (`JobSpec`): command, variables, tags, folder. Twice what one argument may have on
/// Linux. With the environment it fits into one frame, and with it every frame that carries it.
pub const SPEC_MAX: usize = 256 << 10;

/// Bytes of the environment that a job may be started from.
pub const ENVIRONMENT_MAX: usize = 512 << 10;

/// Bytes of a command that is only shown, such as in a status.
pub const COMMAND_SHOWN_MAX: usize = 4096;

/// Bytes of a title or a folder that a holder tells.
pub const TEXT_SHOWN_MAX: usize = 4096;

/// Bytes of all pages of one inventory: a host that tells more is not believed.
pub const INVENTORY_MAX: usize = 64 << 20;

/// Columns and rows a terminal may have at the most.
pub const SIDE_MAX: u16 = 1000;

/// How often each end of a link says that it is there, in milliseconds, when nothing else was said.
pub const HEARTBEAT_MS: u64 = 5_000;

/// Silence after which a link is shown as stalled, in milliseconds.
pub const STALLED_MS: u64 = 12_000;

/// Silence after which a link is given up and dialled again, in milliseconds.
pub const GIVE_UP_MS: u64 = 25_000;

/// A manager that was silent for so long on a connection of its own to a holder is gone: sshd may not notice for hours.
pub const BYPASS_SILENCE_MS: u64 = 90_000;
