//! One connection: requests and their answers, until it turns into a view.

use crate::error::{Error, Kind, Result};
use crate::manager::Manager;
use crate::manager::session::{Session, ToSession};
use crate::manager::views::View;
use crate::wire::{FrameReader, OutQueue, OwnedFrame};
use sessd_proto::messages::{self as m, Act, Answer};
use sessd_proto::{Frame, Uuid, hello};
use std::rc::Rc;
use tokio::net::UnixStream;

/// Bytes of one session's messages beyond which a view's connection is not read on until they are taken.
const QUEUED: usize = 1 << 20;

/// What a connection is after a frame.
enum Next {
    Asks,
    Views(Rc<Session>, Uuid),
    Ends,
}

/// Serves one connection until it closes.
pub(super) async fn run(stream: UnixStream, manager: Rc<Manager>) {
    let (read, write) = stream.into_split();
    let out = OutQueue::new();
    out.put(0, &Frame::Hello(hello::hello(env!("CARGO_PKG_VERSION"), "")));
    let writing = out.clone();
    let writer = tokio::task::spawn_local(async move { writing.drive(write).await });
    let mut reader = FrameReader::new(read);
    let mut viewing: Option<(Rc<Session>, Uuid)> = None;
    loop {
        let frame = tokio::select! {
            frame = reader.next() => frame,
            () = manager.stopped() => break,
        };
        let frame = match frame {
            Ok(Some(frame)) => frame,
            Ok(None) => break,
            Err(error) => {
                refuse(&out, &error.to_string());
                break;
            }
        };
        let next = match &viewing {
            None => asked(&frame, &out, &manager).await,
            Some((session, view)) => view_frame(frame, session, *view, &out).await,
        };
        match next {
            Next::Asks => {}
            Next::Views(session, view) => viewing = Some((session, view)),
            Next::Ends => break,
        }
        if out.is_closed() {
            break;
        }
    }
    if let Some((session, view)) = viewing {
        // A view that says nothing before it goes may come back.
        session.mailbox.send(ToSession::ViewGone { view, on_purpose: false });
    }
    // What waits is still written; a peer that does not read is not waited for.
    out.close();
    let _ = tokio::time::timeout(std::time::Duration::from_secs(10), writer).await;
}

fn refuse(out: &OutQueue, why: &str) {
    let close = m::Close { reason: m::CloseReason::Protocol as i32, detail: why.to_owned() };
    out.put(0, &Frame::Close(close));
}

async fn view_frame(frame: OwnedFrame, session: &Rc<Session>, view: Uuid, out: &OutQueue) -> Next {
    if frame.raw().kind == sessd_proto::frame::kind::PING {
        if let Ok(Frame::Ping(token)) = frame.parse() {
            out.put(0, &Frame::Pong(token));
        }
        return Next::Views(session.clone(), view);
    }
    session.mailbox.send(ToSession::ViewFrame(view, frame));
    while session.mailbox.queued() > QUEUED && !out.is_closed() {
        tokio::task::yield_now().await;
    }
    Next::Views(session.clone(), view)
}

async fn asked(frame: &OwnedFrame, out: &OutQueue, manager: &Rc<Manager>) -> Next {
    match frame.parse() {
        Ok(Frame::Hello(theirs)) => {
            if let Err(skew) = hello::negotiate(&theirs) {
                refuse(out, &skew.to_string());
                return Next::Ends;
            }
        }
        Ok(Frame::Ping(token)) => out.put(0, &Frame::Pong(token)),
        Ok(Frame::Request(request)) => {
            let id = request.id;
            let answer = match act(request.act, manager).await {
                Ok(json) => Answer::Json(json),
                Err(error) => Answer::Error(error.into()),
            };
            out.put(0, &Frame::Reply(m::Reply { id, answer: Some(answer) }));
        }
        Ok(Frame::Attach(attach)) => match start_view(attach, out, manager).await {
            Ok((session, view)) => return Next::Views(session, view),
            Err(error) => {
                out.put(0, &Frame::Reply(m::Reply { id: 0, answer: Some(Answer::Error(error.into())) }))
            }
        },
        Ok(Frame::Unknown(kind)) if kind & sessd_proto::frame::IGNORABLE == 0 => {
            out.put(0, &Frame::Unsupported(m::Unsupported { kind: kind.into() }));
        }
        Ok(_) => {}
        Err(invalid) => {
            refuse(out, &invalid.to_string());
            return Next::Ends;
        }
    }
    Next::Asks
}

fn json<T: serde::Serialize>(document: &T) -> Result<String> {
    serde_json::to_string(document)
        .map_err(|e| Error::failed(format!("the answer cannot be written down ({e})"), ""))
}

async fn act(act: Option<Act>, manager: &Rc<Manager>) -> Result<String> {
    match act {
        Some(Act::Create(create)) => json(&manager.create(create).await?),
        Some(Act::List(list)) => json(&manager.list(&list).await?),
        Some(Act::Info(select)) => json(&manager.info(&select.session).await?),
        Some(Act::Tag(tag)) => json(&manager.tag(tag).await?),
        Some(Act::Delete(delete)) => manager.delete(delete).await.map(|()| "null".to_owned()),
        Some(Act::DetachViews(detach)) => {
            let session = manager.find_live(&detach.session).await?;
            let sent = session.ask(|done| ToSession::SendAway(detach.view, done)).await?;
            json(&sent)
        }
        Some(Act::Restart(select)) => json(&manager.restart(&select.session).await?),
        Some(Act::DaemonStatus(_)) => json(&manager.status()),
        Some(Act::DaemonStop(stop)) => {
            if !stop.restart {
                // A view that only lost us would start another manager.
                for session in manager.live() {
                    session.ask(|done| ToSession::SendAway(String::new(), done)).await?;
                }
            }
            manager.stop();
            Ok("null".to_owned())
        }
        // Carried out elsewhere or not known to this version.
        Some(Act::Adopt(_) | Act::Events(_)) | None => Err(Error::new(
            Kind::VersionSkew,
            "the running manager is older than this command and does not know it",
            "`sessd daemon restart` starts the newer one; sessions run on",
        )),
    }
}

async fn start_view(attach: m::Attach, out: &OutQueue, manager: &Rc<Manager>) -> Result<(Rc<Session>, Uuid)> {
    let id = Uuid::from_slice(&attach.view_id).map_err(|_| Error::usage("a view without an id"))?;
    let session = manager.find_live(&attach.session).await?;
    if attach.resume.is_none() {
        session.host.person_is_here();
    }
    let side = |n: u32| u16::try_from(n).ok().filter(|n| *n > 0);
    let view = View {
        id,
        out: out.clone(),
        kind: crate::ssh::clean(&attach.kind, 16),
        read_only: attach.read_only,
        take: attach.take,
        lossless: attach.lossless,
        size: side(attach.cols).zip(side(attach.rows)),
        resume: attach.resume.map(|offset| (offset, attach.job_id)),
        credit: attach.credit,
        scrollback_lines: (attach.scrollback_lines as usize).min(sessd_proto::limits::SCROLLBACK_LINES),
    };
    session.ask(|done| ToSession::Attach(Box::new(view), done)).await?;
    Ok((session, id))
}
