//! How much goes over the links of a host: counted where bytes are read and written, for as long as the host is known.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What was read from a host's agents and holders and written to them, since the manager knows it. Of the frames' bytes: what
/// ssh adds is not in them.
#[derive(Debug, Clone, Default)]
pub struct Traffic(Rc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    read: Cell<u64>,
    written: Cell<u64>,
}

impl Traffic {
    /// The same stream, whose bytes are counted.
    pub fn counts<S>(&self, stream: S) -> Counted<S> {
        Counted { stream, traffic: self.clone() }
    }

    /// Bytes read.
    pub fn read(&self) -> u64 {
        self.0.read.get()
    }

    /// Bytes written.
    pub fn written(&self) -> u64 {
        self.0.written.get()
    }
}

/// A stream whose bytes are counted.
#[derive(Debug)]
pub struct Counted<S> {
    stream: S,
    traffic: Traffic,
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buffer);
        let read = &self.traffic.0.read;
        read.set(read.get() + (buffer.filled().len() - before) as u64);
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, bytes);
        if let Poll::Ready(Ok(n)) = polled {
            let written = &self.traffic.0.written;
            written.set(written.get() + n as u64);
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn what_passes_is_counted_and_what_waits_is_not() {
        let traffic = Traffic::default();
        let (near, mut far) = tokio::io::duplex(8);
        let mut near = traffic.counts(near);
        far.write_all(b"five!").await.unwrap();
        let mut some = [0; 3];
        near.read_exact(&mut some).await.unwrap();
        assert_eq!((traffic.read(), traffic.written()), (3, 0));
        let writing = async {
            // The other end takes eight at a time.
            near.write_all(b"twelve bytes").await.unwrap();
            near
        };
        let mut all = [0; 12];
        let (_near, _) = tokio::join!(writing, far.read_exact(&mut all));
        assert_eq!((traffic.read(), traffic.written()), (3, 12));
    }
}
