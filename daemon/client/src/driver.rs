//! A view driven by tokio, over any stream that leads to a manager.

use crate::core::{Told, ViewCore};
use sessd_proto::docs::{Error, Result};
use sessd_proto::{Decoder, Frame, hello};
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, timeout_at};

/// Bytes read at a time.
const READ_MAX: usize = 64 * 1024;

/// A view and its connection. When that ends, [`Self::into_core`] goes on with the next.
#[derive(Debug)]
pub struct Driver<S> {
    stream: S,
    decoder: Decoder,
    core: ViewCore,
    /// When the view's clock began, which goes on over its connections.
    began: Instant,
    buffer: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Driver<S> {
    /// Greets the manager at the other end of `stream` and asks it for what the view wants. `version`: of whoever asks. `began`: when
    /// the view did, with its first connection.
    pub fn new(stream: S, mut core: ViewCore, version: &str, began: Instant) -> Self {
        core.at(began.elapsed().as_millis() as u64);
        core.lost();
        core.send(&Frame::Hello(hello::hello(version, "")));
        let attach = core.attach();
        core.send(&Frame::Attach(attach));
        Self { stream, decoder: Decoder::new(), core, began, buffer: vec![0; READ_MAX] }
    }

    /// What is told next; `None`: the connection has ended. Cancel-safe; in a runtime that has a clock.
    ///
    /// # Errors
    /// When this view is over, or the connection fails.
    pub async fn next(&mut self) -> Result<Option<Told<'static>>> {
        loop {
            self.core.at(self.began.elapsed().as_millis() as u64);
            match self.core.decode(&mut self.decoder)? {
                Some(Some(told)) => return Ok(Some(told.into_owned())),
                Some(None) => {}
                None => {
                    let due = self.core.deadline().map(|at| self.began + Duration::from_millis(at));
                    let moved = match due {
                        None => self.move_bytes().await,
                        // What is due then is done with the next turn.
                        Some(due) => timeout_at(due, self.move_bytes()).await.unwrap_or(Ok(true)),
                    };
                    match moved
                        .map_err(|e| Error::failed(format!("the manager went away ({e})"), "try again"))?
                    {
                        true => {}
                        false => return Ok(None),
                    }
                }
            }
        }
    }

    /// Writes what is to be sent, as far as it is taken, and reads what there is. False: the other end has closed. Both at once:
    /// a manager whose answers are not taken reads no more.
    async fn move_bytes(&mut self) -> io::Result<bool> {
        let Self { stream, decoder, core, buffer, .. } = self;
        poll_fn(|cx| {
            while core.has_to_send() {
                match Pin::new(&mut *stream).poll_write(cx, core.poll()) {
                    Poll::Ready(Ok(written)) => drop(core.poll().drain(..written)),
                    Poll::Ready(Err(_)) => core.not_taken(),
                    Poll::Pending => break,
                }
            }
            let mut read = ReadBuf::new(buffer);
            ready!(Pin::new(&mut *stream).poll_read(cx, &mut read))?;
            decoder.push(read.filled());
            Poll::Ready(Ok(!read.filled().is_empty()))
        })
        .await
    }

    /// The view.
    pub fn core(&mut self) -> &mut ViewCore {
        &mut self.core
    }

    /// The view without its connection, to go on with another.
    pub fn into_core(mut self) -> ViewCore {
        self.core.lost();
        self.core
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{Output, Wants};
    use sessd_proto::{Uuid, messages as m};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn a_view_goes_on_over_the_next_connection_where_it_was() {
        let mut core = ViewCore::new(Uuid::nil(), "dev", Wants::looker(Output::Stream, 10), None);
        let began = Instant::now();
        for (resume, offset, told) in [(None, 0, "abc"), (Some(3), 2, "de")] {
            let (near, mut far) = tokio::io::duplex(1 << 16);
            let mut view = Driver::new(near, core, "0.0.0", began);
            let attached = m::Attached { session_id: "s".into(), job_id: "j".into(), ..Default::default() };
            let mut bytes = Frame::Attached(attached).to_bytes(0);
            Frame::Output { offset, bytes: if offset == 0 { b"abc" } else { b"cde" } }.put(0, &mut bytes);
            far.write_all(&bytes).await.unwrap();
            assert_eq!(view.next().await.unwrap(), Some(Told::Attached { restarted: false }));
            assert_eq!(view.next().await.unwrap(), Some(Told::Output(told.as_bytes().into())));
            let (mut decoder, mut asked) = (Decoder::new(), None);
            while asked.is_none() {
                let mut piece = [0; 4096];
                let n = far.read(&mut piece).await.unwrap();
                decoder.push(&piece[..n]);
                while let Some(frame) = decoder.next_frame().unwrap() {
                    if let Ok(Frame::Attach(attach)) = frame.parse() {
                        asked = Some(attach.resume);
                    }
                }
            }
            assert_eq!(asked, Some(resume));
            drop(far);
            assert_eq!(view.next().await.unwrap(), None);
            core = view.into_core();
        }
    }

    #[tokio::test]
    async fn what_was_said_before_the_other_end_closed_is_heard_though_it_takes_no_more() {
        let (near, mut far) = tokio::io::duplex(1 << 20);
        let core = ViewCore::new(Uuid::nil(), "dev", Wants::looker(Output::Stream, 10), None);
        let mut view = Driver::new(near, core, "0.0.0", Instant::now());
        let attached = m::Attached { session_id: "s".into(), job_id: "j".into(), ..Default::default() };
        let mut bytes = Frame::Attached(attached).to_bytes(0);
        Frame::Output { offset: 0, bytes: b"last words" }.put(0, &mut bytes);
        Frame::Detach(m::Detach { detail: "taken elsewhere".into() }).put(0, &mut bytes);
        far.write_all(&bytes).await.unwrap();
        drop(far);
        // It has its greeting to write, and cannot.
        assert_eq!(view.next().await.unwrap(), Some(Told::Attached { restarted: false }));
        view.core().redraw();
        assert_eq!(view.next().await.unwrap(), Some(Told::Output(b"last words".into())));
        view.core().redraw();
        assert_eq!(view.next().await.unwrap(), Some(Told::SentAway("taken elsewhere".into())));
        view.core().redraw();
        assert_eq!(view.next().await.unwrap(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_manager_that_is_silent_is_noticed_without_anything_happening() {
        let (near, mut far) = tokio::io::duplex(1 << 16);
        let core = ViewCore::new(Uuid::nil(), "dev", Wants::terminal(0), None);
        let mut view = Driver::new(near, core, "0.0.0", Instant::now());
        let mut bytes = Frame::Attached(m::Attached { job_id: "j".into(), ..Default::default() }).to_bytes(0);
        Frame::ViewState(m::ViewState { link: "up".into(), epoch: 1, ..Default::default() })
            .put(0, &mut bytes);
        far.write_all(&bytes).await.unwrap();
        view.next().await.unwrap();
        view.next().await.unwrap();
        assert!(view.core().carries() && view.core().types(b"x"));
        assert!(tokio::time::timeout(Duration::from_secs(20), view.next()).await.is_err(), "nothing is said");
        assert!(matches!(view.core().trouble(), Some(crate::path::Trouble::ManagerSilent(3_000..))));
        assert!(!view.core().carries() && view.core().types(b"y"), "kept");
        far.write_all(&Frame::Ping(7).to_bytes(0)).await.unwrap();
        assert_eq!(view.next().await.unwrap(), Some(Told::Ping(7)));
        assert!(view.core().carries(), "it is there");
    }
}
