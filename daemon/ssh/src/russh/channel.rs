//! The reading side of a channel.

use std::{
    future::Future as _,
    io,
    pin::pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, ready},
};

use ::russh::{ChannelMsg, ChannelReadHalf, ChannelWriteHalf, client::Msg};
use bytes::Bytes;

use super::Alive;
use crate::{
    Exit,
    auth::Notes,
    clean,
    stream::{Source, Tail},
};

/// How far a channel has come.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Channel {
    Open,
    /// No more stdout; the exit status may still come.
    Eof,
    /// Nothing more will come.
    Closed,
}

/// The reading side of a channel. stdout, stderr and the exit status arrive on one queue, in the host's order.
pub(super) struct ChannelSource {
    pub(super) read: ChannelReadHalf,
    /// Present until the host has closed: dropping the source closes the channel.
    pub(super) write: Option<ChannelWriteHalf<Msg>>,
    pub(super) tail: Tail,
    pub(super) state: Channel,
    pub(super) exit: Exit,
    pub(super) notes: Arc<Mutex<Notes>>,
    pub(super) _alive: Arc<Alive>,
}

impl ChannelSource {
    /// Takes in one message; `Some` is stdout.
    fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        // The future holds nothing between polls (a queue's receive), so a fresh one each time loses nothing.
        let message = ready!(pin!(self.read.wait()).poll(cx));
        match message {
            Some(ChannelMsg::Data { data }) if !data.is_empty() => return Poll::Ready(Ok(Some(data))),
            Some(ChannelMsg::ExtendedData { data, ext: 1 }) => self.tail.push(&data),
            Some(ChannelMsg::Eof) => self.state = Channel::Eof,
            Some(ChannelMsg::ExitStatus { exit_status }) => self.exit = Exit::Code(exit_status),
            Some(ChannelMsg::ExitSignal { signal_name, .. }) => {
                self.exit = Exit::Signal(clean(&format!("{signal_name:?}"), 20));
            }
            Some(ChannelMsg::Failure) => {
                return Poll::Ready(Err(io::Error::other("the host refuses to run commands")));
            }
            Some(ChannelMsg::Close) => {
                self.state = Channel::Closed;
                self.write = None;
            }
            None => {
                let before = std::mem::replace(&mut self.state, Channel::Closed);
                self.write = None;
                if before == Channel::Open {
                    // Where it was we who hung up, that is why.
                    let fault = self.notes.lock().ok().and_then(|n| n.fault.clone());
                    return Poll::Ready(Err(match fault {
                        Some(why) => io::Error::new(io::ErrorKind::ConnectionReset, why),
                        None => io::ErrorKind::ConnectionReset.into(),
                    }));
                }
            }
            Some(_) => {}
        }
        Poll::Ready(Ok(None))
    }
}

impl Source for ChannelSource {
    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        while self.state == Channel::Open {
            if let Some(data) = ready!(self.poll_message(cx))? {
                return Poll::Ready(Ok(Some(data)));
            }
        }
        Poll::Ready(Ok(None))
    }

    fn poll_exit(&mut self, cx: &mut Context<'_>) -> Poll<Exit> {
        while self.state != Channel::Closed {
            if ready!(self.poll_message(cx)).is_err() {
                break;
            }
        }
        Poll::Ready(self.exit.clone())
    }

    fn stderr(&self) -> &[u8] {
        self.tail.bytes()
    }
}

impl Drop for ChannelSource {
    fn drop(&mut self) {
        // A host lets few channels be open at a time: one we are done with is closed, not left to the connection's end.
        if let (Some(write), Ok(runtime)) = (self.write.take(), tokio::runtime::Handle::try_current()) {
            let alive = self._alive.clone();
            runtime.spawn(async move {
                write.close().await.ok();
                drop(alive);
            });
        }
    }
}
