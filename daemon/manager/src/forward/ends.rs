//! This machine's end of each channel: between a socket here and the session's channels.

use super::Forwards;
use super::bind::connect;
use crate::link::Pipe;
use sessd_core::forward::mux::Failure;
use sessd_core::forward::socks::{Socks, SocksProgress};
use sessd_core::forward::spec::Target;
use sessd_proto::limits::CHUNK;
use sessd_proto::messages::{self as m, ChannelFailure};
use std::cell::{Cell, RefCell};
use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::Notify;
use tokio::time::Instant;

/// How long somebody who connected waits for a host that is away: a break is over by then, or they had better know.
const WAIT: Duration = Duration::from_secs(15);
/// How long who speaks to a SOCKS proxy may take to say where they want to go.
const SOCKS: Duration = Duration::from_secs(30);

/// What is told to whoever carries a channel.
#[derive(Debug, Default)]
pub(super) struct End {
    pub(super) changed: Notify,
    pub(super) opened: Cell<bool>,
    /// It is over, and why if that is not its end.
    pub(super) over: RefCell<Option<Option<Failure>>>,
}

impl End {
    fn is_over(&self) -> bool {
        self.over.borrow().is_some()
    }
}

pub(super) fn open_message(target: &Target) -> m::ChannelOpen {
    match target {
        Target::Port(host, port) => {
            m::ChannelOpen { host: host.clone(), port: (*port).into(), ..m::ChannelOpen::default() }
        }
        Target::Path(path) => m::ChannelOpen { path: path.clone(), ..m::ChannelOpen::default() },
    }
}

/// Somebody connected here and is to be joined to `target` there.
pub(super) async fn local(me: Rc<Forwards>, pipe: Pipe, target: Target) {
    if let Some((id, end)) = me.begin(&target) {
        carry(me, id, end, pipe).await;
    }
}

/// Talks with who speaks to a SOCKS proxy until it is known where they want to go. `None`: nowhere, or they are gone.
async fn destination(
    socks: &mut Socks,
    reader: &mut (impl AsyncRead + Unpin),
    writer: &mut (impl AsyncWrite + Unpin),
) -> Option<Target> {
    let mut buffer = [0; 1024];
    let asked = async {
        loop {
            let n = reader.read(&mut buffer).await.ok().filter(|n| *n > 0)?;
            let mut heard = socks.hear(&buffer[..n]);
            loop {
                match heard {
                    SocksProgress::More => break,
                    SocksProgress::Say(bytes) => writer.write_all(&bytes).await.ok()?,
                    SocksProgress::Connect(target) => return Some(target),
                    SocksProgress::Refuse(bytes) => {
                        // They may be gone.
                        let _ = writer.write_all(&bytes).await;
                        return None;
                    }
                }
                // What came with it.
                heard = socks.hear(&[]);
            }
        }
    };
    tokio::time::timeout(SOCKS, asked).await.ok().flatten()
}

/// Somebody connected to the SOCKS proxy here.
pub(super) async fn socks(me: Rc<Forwards>, (mut reader, mut writer): Pipe) {
    let mut socks = Socks::default();
    let Some(target) = destination(&mut socks, &mut reader, &mut writer).await else { return };
    let Some((id, end)) = me.begin(&target) else {
        let _ = writer.write_all(&socks.answer(Err(1))).await;
        return;
    };
    wait(&me, id, &end).await;
    let joined = if end.opened.get() {
        Ok(())
    } else {
        let reason = end.over.borrow().clone().flatten().map(|failure| failure.reason);
        Err(match reason {
            Some(ChannelFailure::Refused) => 5,
            Some(ChannelFailure::NotFound) => 4,
            Some(ChannelFailure::Unreachable) => 3,
            Some(ChannelFailure::Prohibited) => 2,
            _ => 1,
        })
    };
    if writer.write_all(&socks.answer(joined)).await.is_err() || joined.is_err() {
        return me.give_up(id, "nobody waits for it any more");
    }
    me.with(id, |channel| channel.read(&socks.rest()));
    me.flush();
    carry(me, id, end, (reader, writer)).await;
}

/// Waits until the other end is joined, or never will be.
async fn wait(me: &Forwards, id: u64, end: &End) {
    let since = Instant::now();
    while !end.opened.get() && !end.is_over() {
        // What the host takes is its affair, as long as it is there.
        let _ = tokio::time::timeout(Duration::from_secs(1), end.changed.notified()).await;
        if !me.is_up() && since.elapsed() >= WAIT {
            me.give_up(id, "the host is out of reach");
            *end.over.borrow_mut() = Some(None);
        }
    }
}

/// What a forward from there leads to is joined here.
pub(super) async fn remote(me: Rc<Forwards>, id: u64, end: Rc<End>, target: Target) {
    match connect(&target).await {
        Ok(pipe) => {
            me.joined(id);
            carry(me, id, end, pipe).await;
        }
        Err(error) => me.give_up(id, &format!("{target}: {error}")),
    }
}

/// Somebody connected there to a SOCKS proxy whose connections are made here.
pub(super) async fn remote_socks(me: Rc<Forwards>, id: u64, end: Rc<End>) {
    me.joined(id);
    let (theirs, ours) = tokio::io::duplex(CHUNK);
    let (reader, writer) = tokio::io::split(theirs);
    let talks = async {
        let (mut reader, mut writer) = tokio::io::split(ours);
        let mut socks = Socks::default();
        let Some(target) = destination(&mut socks, &mut reader, &mut writer).await else { return };
        let (from, mut to) = match tokio::time::timeout(SOCKS, connect(&target)).await {
            Ok(Ok(pipe)) => pipe,
            Ok(Err(error)) => {
                let reason = match error.kind() {
                    io::ErrorKind::ConnectionRefused => 5,
                    io::ErrorKind::NetworkUnreachable => 3,
                    _ => 4,
                };
                let _ = writer.write_all(&socks.answer(Err(reason))).await;
                return;
            }
            Err(_) => {
                let _ = writer.write_all(&socks.answer(Err(4))).await;
                return;
            }
        };
        if writer.write_all(&socks.answer(Ok(()))).await.is_err()
            || to.write_all(&socks.rest()).await.is_err()
        {
            return;
        }
        let (mut near, mut far) = (tokio::io::join(reader, writer), tokio::io::join(from, to));
        // However it ends, both ends are dropped now and the channel with them.
        let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
    };
    tokio::join!(carry(me, id, end, (Box::new(reader), Box::new(writer))), talks);
}

/// A program of the job wants its ssh-agent: the first of those that people here had when they asked for anything, the latest
/// first, that is there.
pub(super) async fn agent(me: Rc<Forwards>, id: u64, end: Rc<End>, agents: Vec<PathBuf>) {
    for path in agents {
        if let Ok(pipe) = connect(&Target::Path(path.to_string_lossy().into_owned())).await {
            me.joined(id);
            return carry(me, id, end, pipe).await;
        }
    }
    me.give_up(id, "no ssh-agent answers here");
}

/// Carries bytes both ways until both ends of the channel are done, or one is gone.
pub(super) async fn carry(me: Rc<Forwards>, id: u64, end: Rc<End>, (mut reader, mut writer): Pipe) {
    let mut buffer = vec![0; CHUNK];
    let since = Instant::now();
    let mut waits = !end.opened.get();
    while !end.is_over() {
        let (mut room, mut bytes, mut ends) = (0, Vec::new(), false);
        me.with(id, |channel| {
            let writable = channel.writable();
            bytes.extend_from_slice(&writable[..writable.len().min(CHUNK)]);
            (room, ends) = (channel.room().min(CHUNK), channel.ends_here());
        });
        if ends {
            // Fails where nobody listens any more, which reading tells.
            let _ = writer.shutdown().await;
            me.with(id, |channel| channel.ended_here());
            me.settle(id);
            continue;
        }
        tokio::select! {
            () = end.changed.notified() => {}
            read = reader.read(&mut buffer[..room]), if room > 0 => {
                me.with(id, |channel| match read {
                    Ok(n) if n > 0 => channel.read(&buffer[..n]),
                    // As an end: what was read before is worth something.
                    _ => channel.read_end(),
                });
                me.settle(id);
            }
            wrote = writer.write(&bytes), if !bytes.is_empty() => {
                me.with(id, |channel| match wrote {
                    Ok(n) if n > 0 => channel.wrote(n),
                    _ => channel.write_failed(),
                });
                me.settle(id);
            }
            () = tokio::time::sleep(WAIT), if waits => {
                if !me.is_up() && !end.opened.get() && since.elapsed() >= WAIT {
                    me.give_up(id, "the host is out of reach");
                    return;
                }
                waits = !end.opened.get();
            }
        }
    }
}
