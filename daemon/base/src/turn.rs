//! Turns: everything runs on one thread, and whoever has more to do than a turn's worth gives it back in between. Work is
//! measured in time, not in frames or bytes: what a frame costs is its sender's choice.
//!
//! Giving back means that every other task that can go on does, and that what came in meanwhile is seen, before the one
//! that gave back has its next turn. So with `n` busy tasks a key waits for about `n` turns each way.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How long a task may go on while others wait. Long against what a key costs (some 10 µs), short against what a person
/// sees, and several may wait one after the other.
pub const TURN: Duration = Duration::from_micros(250);

/// Work on one message that took longer than this is paid for with a rest: it cannot be cut into turns.
const LARGE: Duration = Duration::from_millis(2);

/// A rest is so many times as long as the work was, so that a sender of costly messages has a third of the thread at most.
const REST: u32 = 2;

/// No rest is longer: what waits meanwhile is somebody's output.
const REST_MAX: Duration = Duration::from_millis(100);

/// How long to rest after one piece of work that took `busy` of the thread.
pub fn rest_after(busy: Duration) -> Option<Duration> {
    (busy > LARGE).then(|| (busy * REST).min(REST_MAX))
}

/// The present turn of a task. It begins when it is first asked for, so that waiting for a peer does not count.
#[derive(Debug, Clone, Copy, Default)]
pub struct Turn(Option<Instant>);

impl Turn {
    /// Is it time to let others go on?
    pub fn is_over(&mut self) -> bool {
        self.0.get_or_insert_with(Instant::now).elapsed() >= TURN
    }

    /// The task waits for something, or has just let others go on: its next turn is a whole one.
    pub fn renew(&mut self) {
        self.0 = None;
    }

    /// Lets others go on if it is time. Cancel-safe.
    pub async fn pass(&mut self) {
        if self.is_over() {
            tokio::task::yield_now().await;
            self.renew();
        }
    }
}

/// A stream whose reader gives the thread back when its turn is over, though there is more to read: for a library that
/// works through whatever is there.
pub struct Turns<S> {
    inner: S,
    turn: Turn,
    /// The thread is being given back.
    pause: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl<S> Turns<S> {
    /// Around `inner`.
    pub fn new(inner: S) -> Self {
        Self { inner, turn: Turn::default(), pause: None }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Turns<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        if self.pause.is_none() && self.turn.is_over() {
            self.pause = Some(Box::pin(tokio::task::yield_now()));
        }
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(cx));
            self.pause = None;
            self.turn.renew();
        }
        let polled = Pin::new(&mut self.inner).poll_read(cx, buf);
        if polled.is_pending() {
            self.turn.renew();
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Turns<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::rc::Rc;

    #[test]
    fn only_what_is_large_is_paid_for_and_never_without_end() {
        assert_eq!(rest_after(LARGE), None);
        assert_eq!(rest_after(Duration::from_millis(5)), Some(Duration::from_millis(10)));
        assert_eq!(rest_after(Duration::from_secs(9)), Some(REST_MAX));
    }

    /// A reader that always has more does not keep another task from going on.
    #[tokio::test]
    async fn a_stream_without_end_leaves_the_thread_to_others() {
        let local = tokio::task::LocalSet::new();
        local
            .run_until(async {
                let turns = Rc::new(Cell::new(0));
                let counted = turns.clone();
                let other = tokio::task::spawn_local(async move {
                    loop {
                        tokio::task::yield_now().await;
                        counted.set(counted.get() + 1);
                    }
                });
                let mut endless = Turns::new(tokio::io::repeat(7));
                let began = Instant::now();
                let mut piece = [0; 16];
                while began.elapsed() < TURN * 40 {
                    tokio::io::AsyncReadExt::read_exact(&mut endless, &mut piece).await.unwrap();
                }
                other.abort();
                assert!(turns.get() >= 10, "{} turns", turns.get());
            })
            .await;
    }
}
