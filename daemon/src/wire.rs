//! Frames over any byte stream of tokio's: a reader that hands out frames without copying their bodies, and a queue of
//! bytes to be written that its owner appends to without ever waiting.

use bytes::{Buf, Bytes, BytesMut};
use sessd_proto::frame::HEADER;
use sessd_proto::limits::FRAME_BODY_MAX;
use sessd_proto::{Frame, Invalid, RawFrame};
use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::Notify;

/// One frame that owns its body.
#[derive(Debug, Clone)]
pub struct OwnedFrame {
    kind: u8,
    flags: u8,
    /// Which job's talk it belongs to.
    pub stream: u16,
    body: Bytes,
}

impl OwnedFrame {
    /// Reads the body.
    ///
    /// # Errors
    /// When it does not have the form of its kind.
    pub fn parse(&self) -> Result<Frame<'_>, Invalid> {
        self.raw().parse()
    }

    /// A frame of our own, as if it had come in.
    pub fn own(stream: u16, frame: &Frame<'_>) -> Self {
        let bytes = Bytes::from(frame.to_bytes(stream));
        Self { kind: bytes[4], flags: bytes[5], stream, body: bytes.slice(HEADER..) }
    }

    /// The frame as it lies in memory.
    pub fn raw(&self) -> RawFrame<'_> {
        RawFrame { kind: self.kind, flags: self.flags, stream: self.stream, body: &self.body }
    }
}

/// Cuts frames out of a stream.
#[derive(Debug)]
pub struct FrameReader<R> {
    reader: R,
    buffer: BytesMut,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    /// Reads from `reader`.
    pub fn new(reader: R) -> Self {
        Self { reader, buffer: BytesMut::with_capacity(64 * 1024) }
    }

    /// The next frame, `None` at the end of the stream. Cancel-safe.
    ///
    /// # Errors
    /// When the stream breaks, or a header announces a body longer than any may be.
    pub async fn next(&mut self) -> io::Result<Option<OwnedFrame>> {
        loop {
            if let Some(frame) = self.cut()? {
                return Ok(Some(frame));
            }
            self.buffer.reserve(64 * 1024);
            if self.reader.read_buf(&mut self.buffer).await? == 0 {
                return Ok(None);
            }
        }
    }

    fn cut(&mut self) -> io::Result<Option<OwnedFrame>> {
        let Some(header) = self.buffer.first_chunk::<HEADER>() else { return Ok(None) };
        let length = u32::from_le_bytes([header[0], header[1], header[2], header[3]]);
        if length as usize > FRAME_BODY_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, Invalid::TooLong(length)));
        }
        let (kind, flags, stream) = (header[4], header[5], u16::from_le_bytes([header[6], header[7]]));
        if self.buffer.len() < HEADER + length as usize {
            return Ok(None);
        }
        self.buffer.advance(HEADER);
        let body = self.buffer.split_to(length as usize).freeze();
        Ok(Some(OwnedFrame { kind, flags, stream, body }))
    }
}

#[derive(Debug, Default)]
struct Queue {
    bytes: RefCell<Vec<u8>>,
    changed: Notify,
    closed: Cell<bool>,
}

/// Bytes on their way out. Appending never waits; what bounds the queue is what its peer allowed (credits, windows), and
/// whoever appends bulk asks [`OutQueue::len`] first.
#[derive(Debug, Clone, Default)]
pub struct OutQueue(Rc<Queue>);

impl OutQueue {
    /// An empty queue.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a frame.
    pub fn put(&self, stream: u16, frame: &Frame<'_>) {
        self.with(|out| frame.put(stream, out));
    }

    /// Appends whatever `write` appends.
    pub fn with(&self, write: impl FnOnce(&mut Vec<u8>)) {
        if !self.0.closed.get() {
            write(&mut self.0.bytes.borrow_mut());
            self.0.changed.notify_one();
        }
    }

    /// Bytes that wait.
    pub fn len(&self) -> usize {
        self.0.bytes.borrow().len()
    }

    /// Nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// No more will be appended; what waits is still written.
    pub fn close(&self) {
        self.0.closed.set(true);
        self.0.changed.notify_one();
    }

    /// Was it closed, or did its writer fail?
    pub fn is_closed(&self) -> bool {
        self.0.closed.get()
    }

    /// Writes until the queue is closed and empty.
    ///
    /// # Errors
    /// When writing fails; the queue is closed then.
    pub async fn drive(&self, mut writer: impl AsyncWrite + Unpin) -> io::Result<()> {
        let mut spare = Vec::new();
        loop {
            std::mem::swap(&mut *self.0.bytes.borrow_mut(), &mut spare);
            if spare.is_empty() {
                if self.0.closed.get() {
                    return writer.shutdown().await;
                }
                self.0.changed.notified().await;
                continue;
            }
            if let Err(error) = async {
                writer.write_all(&spare).await?;
                writer.flush().await
            }
            .await
            {
                self.0.closed.set(true);
                return Err(error);
            }
            spare.clear();
            // One large snapshot must not keep its memory for the life of the connection.
            spare.shrink_to(256 * 1024);
        }
    }
}
