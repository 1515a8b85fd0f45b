//! Between one WebSocket of the page and one connection to the manager: frames of our protocol, one in each message, passed on
//! as they came. The page is the view; here is only looked at who may say what.

use crate::manager::Manager;
use crate::seats::Seat;
use crate::server::Visitor;
use axum::extract::ws::{CloseFrame, Message, WebSocket};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use sessd_proto::docs::Error;
use sessd_proto::frame::kind;
use sessd_proto::header::Header;
use sessd_proto::limits::FRAME_BODY_MAX;
use sessd_proto::messages::{self as m, Act, Answer};
use sessd_proto::{Decoder, Frame, RawFrame};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::Mutex;
use tokio::time::{Instant, interval};
use zeroize::Zeroize as _;

/// How often a browser is asked whether it is there, and how long it may be silent: one that lost its network says nothing.
const BEAT: Duration = Duration::from_secs(20);
const SILENCE: Duration = Duration::from_secs(60);
/// Bytes read from the manager at a time.
const READ_MAX: usize = 64 * 1024;
/// Longest message of the page.
pub(crate) const MESSAGE_MAX: usize = Header::BYTES + FRAME_BODY_MAX;

/// Close codes of ours: the page tells them apart.
mod code {
    /// The manager has ended or does not run: to be tried again.
    pub(super) const NO_MANAGER: u16 = 4000;
    /// This browser is let in no more.
    pub(super) const REVOKED: u16 = 4001;
    /// What was said is no frame of ours.
    pub(super) const PROTOCOL: u16 = 4002;
}

/// Carries frames until one end is gone. `start`: a manager that does not run is started.
pub(crate) async fn run(mut socket: WebSocket, manager: Manager, visitor: Visitor, seat: Seat, start: bool) {
    // Who may not answer is not asked: another is, who may.
    let stream = match manager.connect(start, !visitor.read_only).await {
        Ok(Some(stream)) => stream,
        Ok(None) => return close(&mut socket, code::NO_MANAGER, "no manager runs").await,
        Err(error) => return refuse(socket, error).await,
    };
    let (read, write) = stream.into_split();
    let (to_page, from_page) = socket.split();
    let to_page = Mutex::new(to_page);
    let heard = std::sync::Mutex::new(Instant::now());
    let (code, why) = tokio::select! {
        why = down(read, &to_page) => why,
        why = up(from_page, write, &visitor, &seat, &heard) => why,
        why = watch(&to_page, &visitor, &heard) => why,
        () = seat.taken() => (code::PROTOCOL, "this view has another connection"),
    };
    // Whoever waits for it need not wait for this browser, too.
    drop(seat);
    let mut to_page = to_page.into_inner();
    let frame = CloseFrame { code, reason: why.into() };
    let _ = tokio::time::timeout(Duration::from_secs(1), to_page.send(Message::Close(Some(frame)))).await;
}

async fn close(socket: &mut WebSocket, code: u16, why: &'static str) {
    let _ = socket.send(Message::Close(Some(CloseFrame { code, reason: why.into() }))).await;
}

/// There is no manager: what the manager would say of a request that failed.
async fn refuse(mut socket: WebSocket, error: Error) {
    let reply = m::Reply { id: 0, answer: Some(Answer::Error(error.into())), more: false };
    let _ = socket.send(Message::Binary(Frame::Reply(reply).to_bytes(0).into())).await;
    close(&mut socket, code::NO_MANAGER, "there is no manager").await;
}

type ToPage = Mutex<SplitSink<WebSocket, Message>>;

/// What the manager says. It is read no faster than the browser takes it.
async fn down(mut read: OwnedReadHalf, to_page: &ToPage) -> (u16, &'static str) {
    let mut decoder = Decoder::new();
    loop {
        let buffer = decoder.buffer_mut();
        buffer.reserve(READ_MAX);
        match read.read_buf(buffer).await {
            Ok(0) | Err(_) => return (code::NO_MANAGER, "the manager has ended"),
            Ok(_) => {}
        }
        let mut to_page = to_page.lock().await;
        loop {
            match decoder.next_frame() {
                Ok(Some(frame)) => {
                    let mut bytes = Vec::with_capacity(Header::BYTES + frame.body.len());
                    frame.relay(0, &mut bytes);
                    if to_page.feed(Message::Binary(bytes.into())).await.is_err() {
                        return (code::PROTOCOL, "");
                    }
                }
                Ok(None) => break,
                Err(_) => return (code::NO_MANAGER, "the manager cannot be understood"),
            }
        }
        if to_page.flush().await.is_err() {
            return (code::PROTOCOL, "");
        }
    }
}

/// What the page says.
async fn up(
    mut from_page: SplitStream<WebSocket>,
    mut write: OwnedWriteHalf,
    visitor: &Visitor,
    seat: &Seat,
    heard: &std::sync::Mutex<Instant>,
) -> (u16, &'static str) {
    while let Some(Ok(message)) = from_page.next().await {
        if let Ok(mut heard) = heard.lock() {
            *heard = Instant::now();
        }
        let bytes = match message {
            Message::Binary(bytes) => bytes,
            Message::Text(_) => return (code::PROTOCOL, "frames are binary"),
            Message::Close(_) => break,
            Message::Ping(_) | Message::Pong(_) => continue,
        };
        let mut passed = Vec::with_capacity(bytes.len());
        if !pass(&bytes, visitor.read_only, &mut passed) {
            return (code::PROTOCOL, "this is no frame of a page");
        }
        if let Some(view) = view_of(&bytes) {
            seat.take(visitor.id(), &view).await;
        }
        let written = write.write_all(&passed).await;
        // It may be a password.
        passed.zeroize();
        if written.is_err() {
            return (code::NO_MANAGER, "the manager has ended");
        }
    }
    (1000, "")
}

/// Asks the browser whether it is there, and whether it is still let in.
async fn watch(
    to_page: &ToPage,
    visitor: &Visitor,
    heard: &std::sync::Mutex<Instant>,
) -> (u16, &'static str) {
    let mut beat = interval(BEAT);
    let mut look = interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            _ = look.tick() => if !visitor.is_let_in() { return (code::REVOKED, "this browser was signed out") },
            _ = beat.tick() => {
                if heard.lock().is_ok_and(|heard| heard.elapsed() > SILENCE) {
                    return (code::PROTOCOL, "nothing was heard of this browser");
                }
                // While it takes nothing, it is asked nothing.
                if let Ok(mut to_page) = to_page.try_lock() && to_page.send(Message::Ping(axum::body::Bytes::new())).await.is_err() {
                    return (code::PROTOCOL, "");
                }
            }
        }
    }
}

/// The view that a message attaches.
fn view_of(message: &[u8]) -> Option<Vec<u8>> {
    let header = Header::parse(message, FRAME_BODY_MAX).ok()??;
    if header.kind != kind::ATTACH {
        return None;
    }
    match RawFrame::new(header, message.get(Header::BYTES..)?).parse() {
        Ok(Frame::Attach(attach)) => Some(attach.view_id),
        _ => None,
    }
}

/// Appends what may go on to the manager of one message. False: it is not one whole frame, or none that a page says.
fn pass(message: &[u8], read_only: bool, out: &mut Vec<u8>) -> bool {
    let Ok(Some(header)) = Header::parse(message, FRAME_BODY_MAX) else { return false };
    if message.len() != header.frame_bytes() {
        return false;
    }
    let raw = RawFrame::new(header, &message[Header::BYTES..]);
    match raw.kind {
        // Who only looks says that it does, whatever it says.
        kind::ATTACH => {
            let Ok(Frame::Attach(mut attach)) = raw.parse() else { return false };
            attach.read_only |= read_only;
            attach.take &= !read_only;
            attach.lossless &= !read_only;
            Frame::Attach(attach).put(0, out);
            true
        }
        kind::INPUT | kind::ANSWER | kind::TRY_NOW if read_only => true,
        kind::REQUEST => match raw.parse() {
            Ok(Frame::Request(request)) => match request.act {
                Some(Act::Events(_)) => {
                    raw.relay(0, out);
                    true
                }
                Some(Act::Connect(_)) if !read_only => {
                    raw.relay(0, out);
                    true
                }
                // All else is asked for by its own address, with the environment of this process.
                _ => false,
            },
            _ => false,
        },
        kind::CREDIT
        | kind::SUBSCRIBE
        | kind::RESIZE
        | kind::DETACH
        | kind::PING
        | kind::PONG
        | kind::UNSUPPORTED
        | kind::INPUT
        | kind::ANSWER
        | kind::TRY_NOW => {
            raw.relay(0, out);
            true
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sessd_proto::Uuid;

    fn passed(frame: &Frame<'_>, read_only: bool) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        pass(&frame.to_bytes(0), read_only, &mut out).then_some(out)
    }

    #[test]
    fn what_a_page_says_goes_on_as_it_came_and_nothing_else_does() {
        let input = Frame::Input { view: Uuid::nil(), seq: 3, withdrawn: false, bytes: b"ls\r" };
        let attach = Frame::Attach(m::Attach { session: "dev".into(), take: true, ..m::Attach::default() });
        let resize = Frame::Resize(m::Resize { cols: 80, rows: 24 });
        let ask = |act| Frame::Request(m::Request { id: 1, act: Some(act) });
        for frame in [
            &input,
            &attach,
            &resize,
            &Frame::Credit(9),
            &Frame::Ping(1),
            &ask(Act::Events(m::EventsFrom::default())),
        ] {
            assert_eq!(passed(frame, false), Some(frame.to_bytes(0)), "{frame:?}");
        }
        for frame in [
            // It would be asked without an environment, or stop what all others use.
            ask(Act::Create(m::Create::default())),
            ask(Act::DaemonStop(m::Stop::default())),
            ask(Act::Delete(m::Delete { all: true, ..m::Delete::default() })),
            Frame::Environment(m::Environment::default()),
            Frame::Hello(m::Hello::default()),
            Frame::Unknown(0x7e),
        ] {
            assert_eq!(passed(&frame, false), None, "{frame:?}");
        }
        let whole = input.to_bytes(0);
        for cut in [&whole[..whole.len() - 1], &[whole.clone(), whole.clone()].concat(), &[], &[0xff; 8]] {
            assert!(!pass(cut, false, &mut Vec::new()));
        }
    }

    #[test]
    fn who_only_looks_types_nothing_and_sends_nobody_away() {
        let input = Frame::Input { view: Uuid::nil(), seq: 0, withdrawn: false, bytes: b"rm" };
        assert_eq!(passed(&input, true), Some(vec![]));
        assert_eq!(
            passed(&Frame::Answer(m::QuestionAnswer { id: 1, given: Some("x".into()) }), true),
            Some(vec![])
        );
        let attach = m::Attach { session: "dev".into(), take: true, lossless: true, ..m::Attach::default() };
        let want = m::Attach { read_only: true, take: false, lossless: false, ..attach.clone() };
        assert_eq!(passed(&Frame::Attach(attach), true), Some(Frame::Attach(want).to_bytes(0)));
        let connect = m::Request { id: 1, act: Some(Act::Connect(m::HostName::default())) };
        assert_eq!(passed(&Frame::Request(connect), true), None);
    }
}
