//! One framed, non-blocking connection: bytes in become frames, frames out become bytes. Both buffers have a bound.

use crate::machine::outbox::Outbox;
use rustix::io::Errno;
use sessd_proto::{Decoder, Frame, Invalid, RawFrame};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

/// Bytes read at a time.
const READ: usize = 64 * 1024;

/// What reading came to.
#[derive(Debug, PartialEq, Eq)]
pub enum Read {
    /// There was something, or nothing yet.
    Open,
    /// The other end closed.
    Closed,
}

/// A connection over a readable and a writable descriptor, which may be the same.
#[derive(Debug)]
pub struct Conn<R, W> {
    reader: R,
    writer: W,
    decoder: Decoder,
    out: Outbox,
}

impl<R: AsFd, W: AsFd> Conn<R, W> {
    /// Takes over two descriptors and makes them non-blocking.
    pub fn new(reader: R, writer: W) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&reader, true)?;
        rustix::io::ioctl_fionbio(&writer, true)?;
        Ok(Self { reader, writer, decoder: Decoder::new(), out: Outbox::default() })
    }

    /// To be watched for reading.
    pub fn reader(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }

    /// To be watched for writing.
    pub fn writer(&self) -> BorrowedFd<'_> {
        self.writer.as_fd()
    }

    /// Bytes waiting to be written.
    pub fn waiting(&self) -> usize {
        self.out.waiting()
    }

    /// Reads once what is there.
    ///
    /// # Errors
    /// When the descriptor is broken.
    pub fn read(&mut self) -> io::Result<Read> {
        read(&self.reader, &mut self.decoder)
    }

    /// The next whole frame.
    ///
    /// # Errors
    /// When the other end does not speak the protocol.
    pub fn next_frame(&mut self) -> Result<Option<RawFrame<'_>>, Invalid> {
        self.decoder.next_frame()
    }

    /// Queues a frame.
    pub fn put(&mut self, stream: u16, frame: &Frame<'_>) {
        self.out.put(stream, frame);
    }

    /// Queues a frame. False: it is longer than any may be, and is not sent.
    #[must_use]
    pub fn try_put(&mut self, stream: u16, frame: &Frame<'_>) -> bool {
        self.out.try_put(stream, frame)
    }

    /// Where relayed frames and snapshots are appended.
    pub fn out(&mut self) -> &mut Vec<u8> {
        self.out.end()
    }

    /// Writes what can be written now.
    ///
    /// # Errors
    /// When the descriptor is broken.
    pub fn flush(&mut self) -> io::Result<Read> {
        while self.out.waiting() > 0 {
            match write(&self.writer, self.out.unsent())? {
                Written::Some(n) => self.out.was_sent(n),
                Written::Full => break,
                Written::Closed => return Ok(Read::Closed),
            }
        }
        Ok(Read::Open)
    }
}

/// Reads once what is there.
///
/// # Errors
/// When the descriptor is broken.
pub fn read(from: &impl AsFd, decoder: &mut Decoder) -> io::Result<Read> {
    let buffer = decoder.buffer_mut();
    buffer.reserve(READ);
    match rustix::io::read(from, rustix::buffer::spare_capacity(buffer)) {
        Ok(0) => Ok(Read::Closed),
        Ok(_) => Ok(Read::Open),
        Err(Errno::AGAIN | Errno::INTR) => Ok(Read::Open),
        Err(Errno::CONNRESET | Errno::PIPE | Errno::IO) => Ok(Read::Closed),
        Err(error) => Err(error.into()),
    }
}

/// What writing came to.
#[derive(Debug, PartialEq, Eq)]
pub enum Written {
    /// So many bytes went.
    Some(usize),
    /// No more is taken now.
    Full,
    /// The other end closed.
    Closed,
}

/// Writes once.
///
/// # Errors
/// When the descriptor is broken.
pub fn write(to: &impl AsFd, bytes: &[u8]) -> io::Result<Written> {
    loop {
        return match rustix::io::write(to, bytes) {
            Ok(n) => Ok(Written::Some(n)),
            Err(Errno::AGAIN) => Ok(Written::Full),
            Err(Errno::INTR) => continue,
            Err(Errno::PIPE | Errno::CONNRESET | Errno::IO) => Ok(Written::Closed),
            Err(error) => Err(error.into()),
        };
    }
}
