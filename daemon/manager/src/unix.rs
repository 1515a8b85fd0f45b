//! The two halves of a unix socket. The kernel reports room to write each time the peer has read; whoever waits for
//! something to read is not woken for that here, as it would be by tokio's own socket: that is one wake-up for every key,
//! a tenth of its echo. Nor is what is read into cleared first. One of the rooms where unsafe code is allowed.
#![allow(unsafe_code)]

use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};

/// Takes a socket apart.
///
/// # Errors
/// When it cannot be watched.
pub fn split(stream: tokio::net::UnixStream) -> io::Result<(Reader, Writer)> {
    // Not blocking, as tokio had it.
    let stream = Arc::new(stream.into_std()?);
    // SAFETY: the descriptor is open and the same for as long as the `AsyncFd` holds its share of the stream.
    let reader = unsafe { AsyncFd::register_with_interest(stream.clone(), Interest::READABLE) }?;
    Ok((Reader(reader), Writer { stream, room: None }))
}

/// Watches a descriptor of ours for something to read.
///
/// # Errors
/// When it cannot be watched.
pub fn watch(descriptor: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: the `AsyncFd` owns the descriptor, which nothing else names.
    Ok(unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) }?)
}

/// What the peer says.
#[derive(Debug)]
pub struct Reader(AsyncFd<Arc<UnixStream>>);

impl AsyncRead for Reader {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            let mut ready = ready!(self.0.poll_read_ready(cx))?;
            let wanted = buf.remaining();
            // SAFETY: nothing that was initialised becomes uninitialised: the system call only writes.
            let room = unsafe { buf.unfilled_mut() };
            match ready.try_io(|stream| Ok(rustix::io::read(stream.get_ref(), room)?.0.len())) {
                Ok(Ok(n)) => {
                    if n > 0 && n < wanted {
                        // That was all there was: more will be reported.
                        ready.clear_ready();
                    }
                    // SAFETY: the system call has written so many bytes.
                    unsafe { buf.assume_init(n) };
                    buf.advance(n);
                    return Poll::Ready(Ok(()));
                }
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(Err(error)) => return Poll::Ready(Err(error)),
                Err(_would_block) => {}
            }
        }
    }
}

/// What is said to the peer; dropping or shutting it down ends that direction.
#[derive(Debug)]
pub struct Writer {
    stream: Arc<UnixStream>,
    /// Watched only while the peer takes no more.
    room: Option<AsyncFd<OwnedFd>>,
}

impl AsyncWrite for Writer {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            let written = match &self.room {
                None => (&*self.stream).write(buf),
                Some(room) => {
                    let mut ready = ready!(room.poll_write_ready(cx))?;
                    match ready.try_io(|_| (&*self.stream).write(buf)) {
                        Ok(written) => written,
                        Err(_would_block) => continue,
                    }
                }
            };
            match written {
                Ok(n) => {
                    self.room = None;
                    return Poll::Ready(Ok(n));
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Only a descriptor of its own can be watched for something else than the reader's.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let own = OwnedFd::from(self.stream.try_clone()?);
                    // SAFETY: the `AsyncFd` owns the descriptor.
                    self.room = Some(unsafe { AsyncFd::register_with_interest(own, Interest::WRITABLE) }?);
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.stream.shutdown(std::net::Shutdown::Write))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Fails only where the peer is gone.
        let _ = self.stream.shutdown(std::net::Shutdown::Write);
    }
}
