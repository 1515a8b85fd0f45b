//! One framed, non-blocking connection: bytes in become frames, frames out become bytes. Both buffers have a bound.

use rustix::io::Errno;
use sessd_proto::{Decoder, Frame, Invalid, RawFrame};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

/// Bytes that may wait to be written before a producer of bulk output pauses.
pub const OUT_LOW: usize = 128 * 1024;
/// Bytes that may wait before the other end counts as stuck and the connection is given up. One snapshot of a large
/// scrollback fits.
pub const OUT_MAX: usize = 32 << 20;
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
    out: Vec<u8>,
    written: usize,
}

impl<R: AsFd, W: AsFd> Conn<R, W> {
    /// Takes over two descriptors and makes them non-blocking.
    pub fn new(reader: R, writer: W) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&reader, true)?;
        rustix::io::ioctl_fionbio(&writer, true)?;
        Ok(Self { reader, writer, decoder: Decoder::new(), out: Vec::new(), written: 0 })
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
        self.out.len() - self.written
    }

    /// Reads once what is there.
    ///
    /// # Errors
    /// When the descriptor is broken.
    pub fn read(&mut self) -> io::Result<Read> {
        let buffer = self.decoder.buffer_mut();
        buffer.reserve(READ);
        match rustix::io::read(&self.reader, rustix::buffer::spare_capacity(buffer)) {
            Ok(0) => Ok(Read::Closed),
            Ok(_) => Ok(Read::Open),
            Err(Errno::AGAIN | Errno::INTR) => Ok(Read::Open),
            Err(Errno::CONNRESET | Errno::PIPE | Errno::IO) => Ok(Read::Closed),
            Err(error) => Err(error.into()),
        }
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
        frame.put(stream, &mut self.out);
    }

    /// Queues a frame. False: it is longer than any may be, and is not sent.
    #[must_use]
    pub fn try_put(&mut self, stream: u16, frame: &Frame<'_>) -> bool {
        frame.try_put(stream, &mut self.out)
    }

    /// Where relayed frames and snapshots are appended.
    pub fn out(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// Writes what can be written now.
    pub fn flush(&mut self) -> io::Result<Read> {
        while self.written < self.out.len() {
            match rustix::io::write(&self.writer, &self.out[self.written..]) {
                Ok(n) => self.written += n,
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => {}
                Err(Errno::PIPE | Errno::CONNRESET | Errno::IO) => return Ok(Read::Closed),
                Err(error) => return Err(error.into()),
            }
        }
        if self.written == self.out.len() {
            self.out.clear();
            self.written = 0;
            // A buffer that once held a snapshot must not keep its size for days.
            self.out.shrink_to(OUT_LOW);
        } else if self.written > OUT_LOW {
            self.out.drain(..self.written);
            self.written = 0;
        }
        Ok(Read::Open)
    }
}
