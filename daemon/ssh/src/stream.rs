//! One exec channel as the rest of the program sees it: a reader, a writer, the tail of stderr, the exit status.
//!
//! A transport implements [`Source`] (and any `AsyncWrite`); the chunks it hands out are passed on without a copy by
//! [`ExecReader::chunk`], and with one by `AsyncRead`.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncBufRead, AsyncRead, AsyncWrite, ReadBuf};

use super::clean;

/// How much of the end of stderr is kept, in bytes.
pub const STDERR_TAIL: usize = 4096;

/// How the remote command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It exited with this code.
    Code(u32),
    /// A signal ended it; the name as ssh carries it, without `SIG`.
    Signal(String),
    /// The channel or the connection ended and nobody said how: evidence of nothing.
    Unknown,
}

/// What a transport provides for the reading side of a channel.
pub(super) trait Source: Send {
    /// The next chunk of stdout, never empty; `None` at its end. Takes stderr in on the way.
    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>>;
    /// How the command ended; stdout that comes meanwhile is thrown away.
    fn poll_exit(&mut self, cx: &mut Context<'_>) -> Poll<Exit>;
    /// The last bytes of stderr so far.
    fn stderr(&self) -> &[u8];
}

/// The last [`STDERR_TAIL`] bytes of a stream.
#[derive(Default)]
pub(super) struct Tail(Vec<u8>);

impl Tail {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        let bytes = &bytes[bytes.len().saturating_sub(STDERR_TAIL)..];
        let over = (self.0.len() + bytes.len()).saturating_sub(STDERR_TAIL);
        self.0.drain(..over);
        self.0.extend_from_slice(bytes);
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// One running remote command: read its stdout, write its stdin. See [`ExecStream::into_parts`].
pub struct ExecStream {
    reader: ExecReader,
    writer: ExecWriter,
}

impl ExecStream {
    pub(super) fn new(source: Box<dyn Source>, writer: Box<dyn AsyncWrite + Send + Unpin>) -> Self {
        Self {
            reader: ExecReader { source, rest: Bytes::new(), ended: false },
            writer: ExecWriter { inner: writer },
        }
    }

    /// The two directions, to be driven by different tasks (or one `select!`): a reader that is not read holds up the
    /// whole connection, writes included, so waiting for a write without reading can wait for ever. The channel lives
    /// until the reader is dropped.
    pub fn into_parts(self) -> (ExecReader, ExecWriter) {
        (self.reader, self.writer)
    }

    /// Puts the two directions of one stream together again.
    pub fn from_parts(reader: ExecReader, writer: ExecWriter) -> Self {
        Self { reader, writer }
    }

    /// Both directions, borrowed.
    pub fn parts(&mut self) -> (&mut ExecReader, &mut ExecWriter) {
        (&mut self.reader, &mut self.writer)
    }

    /// See [`ExecReader::stderr_tail`].
    pub fn stderr_tail(&self) -> &[u8] {
        self.reader.stderr_tail()
    }

    /// See [`ExecReader::exit`].
    pub async fn exit(&mut self) -> Exit {
        self.reader.exit().await
    }
}

/// The stdout of a remote command. Dropping it closes the channel.
pub struct ExecReader {
    source: Box<dyn Source>,
    /// Received and not yet handed out.
    rest: Bytes,
    ended: bool,
}

impl ExecReader {
    /// The next chunk as it came off the wire, without a copy; `None` at the end of stdout. Cancel-safe.
    ///
    /// # Errors
    /// When the connection broke before the end of stdout was announced.
    pub async fn chunk(&mut self) -> io::Result<Option<Bytes>> {
        poll_fn(|cx| self.poll_chunk(cx)).await
    }

    /// [`ExecReader::chunk`] for a hand-written future.
    pub fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        if !self.rest.is_empty() {
            return Poll::Ready(Ok(Some(std::mem::take(&mut self.rest))));
        }
        if self.ended {
            return Poll::Ready(Ok(None));
        }
        let chunk = ready!(self.source.poll_chunk(cx));
        self.ended = !matches!(chunk, Ok(Some(_)));
        Poll::Ready(chunk)
    }

    /// Hands `bytes` out again before anything else. At most what was taken by the last [`ExecReader::chunk`].
    pub(super) fn unread(&mut self, bytes: Bytes) {
        debug_assert!(self.rest.is_empty());
        self.rest = bytes;
    }

    /// The last [`STDERR_TAIL`] bytes of stderr so far. Untrusted: [`ExecReader::stderr_line`] for messages.
    pub fn stderr_tail(&self) -> &[u8] {
        self.source.stderr()
    }

    /// The end of stderr as text for a message: cleaned, one line, at most `max` characters.
    pub fn stderr_line(&self, max: usize) -> String {
        clean(&String::from_utf8_lossy(self.source.stderr()), max)
    }

    /// Waits until the command has ended and says how. Unread stdout is thrown away. Unbounded: the caller's timeout.
    pub async fn exit(&mut self) -> Exit {
        self.ended = true;
        poll_fn(|cx| self.source.poll_exit(cx)).await
    }
}

/// The stdin of a remote command. `shutdown` sends end-of-file; dropping it alone does not.
pub struct ExecWriter {
    inner: Box<dyn AsyncWrite + Send + Unpin>,
}

impl AsyncRead for ExecReader {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.rest.is_empty() {
            match ready!(this.poll_chunk(cx))? {
                Some(chunk) => this.rest = chunk,
                None => return Poll::Ready(Ok(())),
            }
        }
        let n = this.rest.len().min(buf.remaining());
        buf.put_slice(&this.rest[..n]);
        this.rest.advance(n);
        Poll::Ready(Ok(()))
    }
}

impl AsyncBufRead for ExecReader {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let this = self.get_mut();
        if this.rest.is_empty()
            && let Some(chunk) = ready!(this.poll_chunk(cx))?
        {
            this.rest = chunk;
        }
        Poll::Ready(Ok(&this.rest))
    }

    fn consume(self: Pin<&mut Self>, amount: usize) {
        self.get_mut().rest.advance(amount);
    }
}

impl AsyncWrite for ExecWriter {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        // russh takes an empty write for a mistake.
        if buf.is_empty() { Poll::Ready(Ok(0)) } else { Pin::new(&mut self.inner).poll_write(cx, buf) }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

impl AsyncRead for ExecStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().reader).poll_read(cx, buf)
    }
}

impl AsyncWrite for ExecStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().writer).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().writer).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().writer).poll_shutdown(cx)
    }
}
