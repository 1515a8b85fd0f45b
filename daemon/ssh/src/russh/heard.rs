//! The first words of a far side: whether it is an ssh server, and what it says before that, which ssh itself passes over
//! (RFC 4253, 4.2) and which says why there is no login: `Exceeded MaxStartups`, `HTTP/1.1 400 Bad Request`.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::{auth::Notes, clean};

/// Bytes of it that are kept.
const MOST: usize = 1024;

/// A stream whose first words are noted.
pub(super) struct NotedStream<S> {
    inner: S,
    notes: Arc<Mutex<Notes>>,
    /// What came so far; none: it has said what it is, or too much.
    first: Option<Vec<u8>>,
}

impl<S> NotedStream<S> {
    pub(super) fn new(inner: S, notes: Arc<Mutex<Notes>>) -> Self {
        Self { inner, notes, first: Some(Vec::new()) }
    }

    fn hear(&mut self, bytes: &[u8]) {
        let Some(first) = &mut self.first else { return };
        first.extend_from_slice(bytes.get(..MOST - first.len()).unwrap_or(bytes));
        let (is_ssh, before) = words(first);
        let done = is_ssh || first.len() >= MOST;
        if let Ok(mut notes) = self.notes.lock() {
            (notes.is_ssh, notes.before) = (is_ssh, before);
        }
        if done {
            self.first = None;
        }
    }
}

/// Whether there is a line that names ssh, and what stands before it.
fn words(bytes: &[u8]) -> (bool, String) {
    let line = |at: &usize| *at == 0 || bytes.get(at - 1) == Some(&b'\n');
    let ssh = bytes.windows(4).enumerate().find(|(at, four)| *four == b"SSH-" && line(at));
    let before = &bytes[..ssh.map_or(bytes.len(), |(at, _)| at)];
    (ssh.is_some(), clean(&String::from_utf8_lossy(before), 160))
}

impl<S: AsyncRead + Unpin> AsyncRead for NotedStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let had = buf.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(cx, buf);
        if self.first.is_some() {
            self.hear(buf.filled().get(had..).unwrap_or_default());
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for NotedStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_before_ssh_is_told_from_it() {
        for (said, expected) in [
            ("", (false, "")),
            ("SSH-2.0-x\r\n", (true, "")),
            ("Exceeded MaxStartups\r\n", (false, "Exceeded MaxStartups")),
            ("welcome\r\nto it\r\nSSH-2.0-x\r\n\u{1}", (true, "welcome to it")),
            ("no SSH-2.0 here\n", (false, "no SSH-2.0 here")),
            ("\u{1b}[31mHTTP/1.1 400\r\n", (false, "[31mHTTP/1.1 400")),
        ] {
            assert_eq!(words(said.as_bytes()), (expected.0, expected.1.to_owned()), "{said:?}");
        }
        let notes = Arc::new(Mutex::new(Notes::default()));
        let mut heard = NotedStream::new((), notes.clone());
        for _ in 0..1_000 {
            heard.hear(b"noise\n");
        }
        assert!(heard.first.is_none() && !notes.lock().unwrap().is_ssh);
    }
}
