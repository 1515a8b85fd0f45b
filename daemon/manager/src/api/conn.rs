//! One connection: requests and their answers, until it turns into a view.

use super::house::ConnectionSlot;
use super::questions::Questions;
use crate::mailbox::Sender;
use crate::manager::Manager;
use crate::session::{self, Session, ToSession};
use crate::unix;
use crate::verbs::find::{Selected, leaving};
use crate::wire::{FrameReader, OutQueue, OwnedFrame};
use sessd_base::asking::Asking;
use sessd_core::Record;
use sessd_core::views::View;
use sessd_proto::docs::host::{LOCAL, spelled};
use sessd_proto::docs::{Error, Kind, Result};
use sessd_proto::frame::put_snapshot;
use sessd_proto::messages::{self as m, Act, Answer};
use sessd_proto::{Frame, Uuid, hello};
use sessd_terminal::{Abilities, Colours, Size, SnapshotOptions, Terminal};
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::net::UnixStream;

/// Bytes of one session's messages beyond which a view's connection is not read on until they are taken.
const QUEUED: usize = 1 << 20;

/// Bytes of a document in one reply: what is left of a frame is for the rest of the message.
const REPLY_MAX: usize = sessd_proto::limits::FRAME_BODY_MAX - 1024;

/// Bytes of a frame of a view: what may be typed ahead, and the frame around it.
const VIEW_FRAME_MAX: usize = sessd_proto::limits::INPUT_WINDOW as usize + 1024;

/// How long a request may take from its first byte to its last. Its sender is on this machine.
const UNFINISHED: Duration = Duration::from_secs(10);

/// How long a view is not read on while the way to its job's holder is full.
const TO_HOLDER: Duration = Duration::from_secs(1);

/// How long a view that comes again waits for its old connection to be gone.
const OLD_VIEW: Duration = Duration::from_millis(500);

/// What was said so far on a connection.
#[derive(Default)]
struct Peer {
    asking: Option<Rc<Asking>>,
    features: u64,
    /// Where whoever asks is asked in return.
    questions: Option<Questions>,
    /// A frame that came while the one before it was worked at.
    ahead: Option<OwnedFrame>,
}

/// What a connection is after a frame.
enum ConnectionState {
    Asks,
    Views(Rc<Session>, Uuid),
    Ends,
}

/// Serves one connection until it closes.
pub(super) async fn run(stream: UnixStream, manager: Rc<Manager>, place: ConnectionSlot) {
    let (read, write) = match unix::split(stream) {
        Ok(halves) => halves,
        Err(error) => {
            tracing::warn!(%error, "somebody who came in cannot be served");
            return;
        }
    };
    let out = place.queue();
    out.put(0, &Frame::Hello(hello::hello(env!("CARGO_PKG_VERSION"), "")));
    let writing = out.clone();
    let writer = tokio::task::spawn_local(async move { writing.drive(write).await });
    let (unfinished, unfinished_max) = place.unfinished();
    let mut reader = FrameReader::one_of_many(read, unfinished, unfinished_max);
    let mut viewing: Option<(Rc<Session>, Uuid)> = None;
    let mut peer = Peer::default();
    let mut stopped = std::pin::pin!(manager.stopped());
    loop {
        let frame = match peer.ahead.take() {
            Some(frame) => Ok(Some(frame)),
            None => tokio::select! {
            biased;
            () = &mut stopped => break,
            () = place.lost(), if viewing.is_none() => {
                refuse(&out, "the manager needed the place, and nothing was asked here for longest");
                break;
            }
            frame = next_frame(&mut reader, &out, viewing.is_some()) => frame,
            },
        };
        let frame = match frame {
            Ok(Some(frame)) => frame,
            Ok(None) => break,
            Err(error) => {
                refuse(&out, &error.to_string());
                break;
            }
        };
        if peer.questions.as_ref().is_some_and(|questions| questions.hear(&frame)) {
            continue;
        }
        let next = match &viewing {
            None => {
                place.asks();
                let next = asked(&frame, &out, &manager, &place, &mut reader, &mut peer).await;
                place.answered();
                next
            }
            Some((session, view)) => view_frame(frame, session, *view, &out).await,
        };
        match next {
            ConnectionState::Asks => {}
            ConnectionState::Views(session, view) => {
                reader.set_body_max(VIEW_FRAME_MAX);
                viewing = Some((session, view));
            }
            ConnectionState::Ends => break,
        }
        if out.is_closed() {
            break;
        }
    }
    // It is we who go, and they come again: nobody else gets their size meanwhile.
    if let Some((session, view)) = viewing.filter(|_| !manager.is_stopping()) {
        // A view that says nothing before it goes may come back.
        session.mailbox.send(ToSession::Tell(session::Event::ViewGone { view, on_purpose: false }));
    }
    // What waits is still written; a peer that does not read is not waited for.
    out.close();
    let _ = tokio::time::timeout(Duration::from_secs(10), writer).await;
}

/// The next frame, once what was asked for before has been read: whoever does not read asks for nothing more.
async fn next_frame(
    reader: &mut FrameReader<unix::Reader>,
    out: &OutQueue,
    is_view: bool,
) -> io::Result<Option<OwnedFrame>> {
    out.drained().await;
    if is_view {
        return reader.next().await;
    }
    let mut begun = false;
    loop {
        if let Ok(frame) = tokio::time::timeout(UNFINISHED, reader.next()).await {
            return frame;
        }
        if std::mem::replace(&mut begun, reader.is_within_frame()) && begun {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "a request was begun and not ended"));
        }
    }
}

fn refuse(out: &OutQueue, why: &str) {
    let close = m::Close { reason: m::CloseReason::Protocol as i32, detail: why.to_owned() };
    out.put(0, &Frame::Close(close));
}

async fn view_frame(frame: OwnedFrame, session: &Rc<Session>, view: Uuid, out: &OutQueue) -> ConnectionState {
    if frame.raw().kind == sessd_proto::frame::kind::PING {
        if let Ok(Frame::Ping(token)) = frame.parse() {
            out.put(0, &Frame::Pong(token));
        }
        return ConnectionState::Views(session.clone(), view);
    }
    session.mailbox.send(ToSession::ViewFrame(view, frame));
    while session.mailbox.queued_of(Sender::Views) > QUEUED && !out.is_closed() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let to_holder = session.to_holder.borrow().clone();
    if let Some(to_holder) = to_holder.filter(OutQueue::is_full) {
        // Not for ever: whether the view is still there is seen only by reading on.
        let _ = tokio::time::timeout(TO_HOLDER, to_holder.drained()).await;
    }
    ConnectionState::Views(session.clone(), view)
}

async fn asked(
    frame: &OwnedFrame,
    out: &OutQueue,
    manager: &Rc<Manager>,
    place: &ConnectionSlot,
    reader: &mut FrameReader<unix::Reader>,
    peer: &mut Peer,
) -> ConnectionState {
    match frame.parse() {
        Ok(Frame::Hello(theirs)) => {
            peer.features = theirs.features;
            if let Err(skew) = hello::negotiate(&theirs) {
                refuse(out, &skew.to_string());
                return ConnectionState::Ends;
            }
        }
        Ok(Frame::Ping(token)) => out.put(0, &Frame::Pong(token)),
        Ok(Frame::Environment(sent)) => {
            let answers = sent.answers;
            let mut sent = Asking::from(sent);
            manager.heard_from(&sent);
            if answers {
                let (questions, person) = Questions::put_on(out);
                peer.questions = Some(questions);
                sent.person = Some(person);
            }
            peer.asking = Some(Rc::new(sent));
        }
        Ok(Frame::Request(request)) => {
            let (since, documents) = match &request.act {
                Some(Act::Events(from)) => {
                    (from.since_ms.map(|ms| i64::try_from(ms).unwrap_or(i64::MAX)), from.documents)
                }
                _ => (None, false),
            };
            let listens = matches!(request.act, Some(Act::Events(_)));
            let is_document = matches!(
                request.act,
                Some(Act::List(_) | Act::Info(_) | Act::DaemonStatus(_) | Act::Hosts(_))
            );
            let (left, gone) = tokio::sync::oneshot::channel();
            let gone = async move { gone.await.unwrap_or_default() };
            let host = request.act.as_ref().and_then(|act| host_of(act, manager));
            let doing = || host.as_deref().and_then(|host| manager.doing_at(host));
            let act = act(request.act, manager, peer.asking.as_ref(), gone);
            let act = attended(act, reader, peer.questions.as_ref(), &mut peer.ahead, left);
            let answer = match (is_document, listens && !place.stay()) {
                (_, true) => Err(too_many_stay()),
                (true, _) => at_work(out, doing, place.in_turn(act)).await,
                (false, _) => at_work(out, doing, act).await,
            };
            let listens = listens && answer.is_ok();
            match answer {
                Ok(json) => put_json(out, request.id, &json),
                Err(error) => put_error(out, request.id, error),
            }
            if listens {
                manager.events.subscribe(out, since, documents);
            }
        }
        Ok(Frame::Attach(_)) if !place.stay() => put_error(out, 0, too_many_stay()),
        Ok(Frame::Attach(attach)) => {
            let doing = || None;
            match at_work(out, doing, start_view(attach, out, manager, peer.asking.as_ref(), peer.features))
                .await
            {
                Ok(Some((session, view))) => return ConnectionState::Views(session, view),
                Ok(None) => return ConnectionState::Ends,
                Err(error) => put_error(out, 0, error),
            }
        }
        Ok(Frame::Unknown(kind)) if kind & sessd_proto::frame::IGNORABLE == 0 => {
            out.put(0, &Frame::Unsupported(m::Unsupported { kind: kind.into() }));
        }
        Ok(_) => {}
        Err(invalid) => {
            refuse(out, &invalid.to_string());
            return ConnectionState::Ends;
        }
    }
    ConnectionState::Asks
}

/// How long views may take to be sent away before the manager stops.
const SENT_AWAY: std::time::Duration = std::time::Duration::from_secs(2);
/// How often whoever waits for an answer hears that it is worked at.
const AT_WORK: std::time::Duration = std::time::Duration::from_secs(2);

/// Does the work, and lets the peer know that somebody does: a host may take its time, a manager that is silent is stuck.
/// `doing`: what it waits for now, which is said once.
async fn at_work<T>(out: &OutQueue, doing: impl Fn() -> Option<String>, work: impl Future<Output = T>) -> T {
    let mut work = std::pin::pin!(work);
    let mut said = None;
    loop {
        match tokio::time::timeout(AT_WORK, &mut work).await {
            Ok(done) => return done,
            Err(_) => out.put(0, &Frame::Pong(0)),
        }
        let now = doing();
        if now != said
            && let Some(what) = &now
        {
            out.put(0, &Frame::Awaits(m::Awaits { what: what.clone() }));
        }
        said = now.or(said);
    }
}

/// The host that an act may have to wait for.
fn host_of(act: &Act, manager: &Manager) -> Option<String> {
    let of_session = |name: &str| {
        let sessions = manager.registry.all();
        let mut of = sessions.iter().filter(|session| {
            let record = &session.live.borrow().record;
            record.name.as_deref() == Some(name) || record.id.to_string() == name
        });
        of.next().map(|session| session.host.name.clone())
    };
    match act {
        Act::Create(create) if create.host.is_empty() => Some(LOCAL.to_owned()),
        Act::Create(create) => spelled(&create.host).ok(),
        Act::Connect(named) | Act::Check(named) => spelled(&named.host).ok(),
        Act::Adopt(host) => spelled(&host.host).ok(),
        Act::Restart(select) => of_session(&select.session),
        _ => None,
    }
}

/// Does the work; hears meanwhile what whoever asked says to a question, and whether they are still there. Whatever else they
/// say is `ahead`, and comes when the work is done.
async fn attended<T>(
    work: impl Future<Output = T>,
    reader: &mut FrameReader<unix::Reader>,
    questions: Option<&Questions>,
    ahead: &mut Option<OwnedFrame>,
    left: tokio::sync::oneshot::Sender<()>,
) -> T {
    let listening = async {
        while let Some(questions) = questions {
            match reader.next().await {
                Ok(Some(frame)) if questions.hear(&frame) => {}
                Ok(Some(frame)) => {
                    *ahead = Some(frame);
                    break;
                }
                Ok(None) | Err(_) => {
                    let _ = left.send(());
                    return std::future::pending().await;
                }
            }
        }
        reader.gone().await;
        let _ = left.send(());
        std::future::pending().await
    };
    tokio::select! {
        biased;
        done = work => done,
        never = listening => never,
    }
}

/// A document, in as many replies as it needs.
fn put_json(out: &OutQueue, id: u64, json: &str) {
    let mut rest = json;
    loop {
        let mut cut = rest.len().min(REPLY_MAX);
        while !rest.is_char_boundary(cut) {
            cut -= 1;
        }
        let (part, after) = rest.split_at(cut);
        let answer = Some(Answer::Json(part.to_owned()));
        out.put(0, &Frame::Reply(m::Reply { id, answer, more: !after.is_empty() }));
        if after.is_empty() {
            return;
        }
        rest = after;
    }
}

fn too_many_stay() -> Error {
    Error::failed(
        "the manager has as many views and listeners as it takes",
        "end some: `sessd list` shows who is attached",
    )
}

fn put_error(out: &OutQueue, id: u64, error: Error) {
    out.put(0, &Frame::Reply(m::Reply { id, answer: Some(Answer::Error(error.into())), more: false }));
}

fn json<T: serde::Serialize>(document: &T) -> Result<String> {
    serde_json::to_string(document)
        // Wherever it is printed, nothing in it acts.
        .map(|json| sessd_proto::docs::text::json(&json).into_owned())
        .map_err(|e| Error::failed(format!("the answer cannot be written down ({e})"), "try again"))
}

/// `gone` is ready when whoever asks is there no more.
async fn act(
    act: Option<Act>,
    manager: &Rc<Manager>,
    asking: Option<&Rc<Asking>>,
    gone: impl Future<Output = ()>,
) -> Result<String> {
    match act {
        Some(Act::Create(create)) => json(&manager.create(create, asking, gone).await?),
        Some(Act::List(list)) => json(&manager.list(&list).await?),
        Some(Act::Info(select)) => json(&manager.info(&select.session).await?),
        Some(Act::Tag(tag)) => json(&manager.tag(tag).await?),
        Some(Act::Forward(forward)) => json(&manager.forward(&forward).await?),
        Some(Act::SetSize(size)) => json(&manager.set_size(size).await?),
        Some(Act::Delete(delete)) => json(&manager.delete(delete, asking).await?),
        Some(Act::DetachViews(detach)) => {
            let session = manager.find_live(&detach.session).await?;
            let sent = session
                .ask(|done| ToSession::SendAway {
                    which: detach.view,
                    why: "sent away by `sessd detach`".to_owned(),
                    scripts: false,
                    done,
                })
                .await?;
            json(&sent)
        }
        Some(Act::Restart(select)) => json(&manager.restart(&select, asking).await?),
        Some(Act::DaemonStatus(_)) => json(&manager.status().await),
        Some(Act::Hosts(_)) => json(&manager.hosts().await?),
        Some(Act::DaemonStop(stop)) => {
            if !stop.restart {
                // A view that only lost us would start another manager. A session that ends meanwhile has no views to be
                // sent away, and one that does not answer is not waited for: we stop in any case.
                let _ = tokio::time::timeout(SENT_AWAY, async {
                    for session in manager.registry.all() {
                        let label = session.live.borrow().record.label();
                        let why = format!("the manager was stopped; {label} runs on");
                        let which = String::new();
                        let _ =
                            session.ask(|done| ToSession::SendAway { which, why, scripts: true, done }).await;
                    }
                })
                .await;
            }
            manager.stop();
            Ok("null".to_owned())
        }
        Some(Act::Type(asked)) => json(&manager.type_in(asked, asking).await?),
        Some(Act::Connect(named)) => json(&manager.connect(&named.host, asking).await?),
        Some(Act::Disconnect(named)) => json(&manager.disconnect(&named.host).await?),
        Some(Act::ForgetHost(named)) => json(&manager.forget_host(&named.host).await?),
        Some(Act::Check(named)) => json(&manager.check(&named.host, named.all, asking).await?),
        Some(Act::Adopt(host)) => json(&manager.adopt(&host, asking).await?),
        Some(Act::RenameHost(names)) => json(&manager.rename_host(&names.from, &names.to, asking).await?),
        Some(Act::Events(_)) => Ok("null".to_owned()),
        None => Err(Error::new(
            Kind::VersionSkew,
            "the running manager is older than this command and does not know it",
            "`sessd daemon restart` starts the newer one; sessions run on",
        )),
    }
}

/// What the terminal of a view can do, as that says.
fn abilities_of(attach: &m::Attach) -> Abilities {
    let can = |bit: u32| attach.lacks & bit == 0;
    Abilities {
        colours: match attach.colours {
            None => Colours::True,
            Some(0..8) => Colours::None,
            Some(8..16) => Colours::Eight,
            Some(16..256) => Colours::Sixteen,
            Some(256..=0xffff) => Colours::Palette,
            Some(_) => Colours::True,
        },
        erases_in_colour: can(m::lacks::ERASING_IN_COLOUR),
        erases_characters: can(m::lacks::ERASING_CHARACTERS),
        shifts_characters: can(m::lacks::SHIFTING_CHARACTERS),
        shifts_lines: can(m::lacks::SHIFTING_LINES),
        italics: can(m::lacks::ITALICS),
        ascii_only: !can(m::lacks::UNICODE),
    }
}

/// `None`: the session is done; its last screen and its end are all there is to show.
async fn start_view(
    attach: m::Attach,
    out: &OutQueue,
    manager: &Rc<Manager>,
    asking: Option<&Rc<Asking>>,
    features: u64,
) -> Result<Option<(Rc<Session>, Uuid)>> {
    let id = Uuid::from_slice(&attach.view_id).map_err(|_| Error::usage("a view without an id"))?;
    let session = match manager.find(&attach.session).await? {
        Selected::Live(session) => session,
        Selected::Leaving(session) => return Err(leaving(&session)),
        Selected::Done(record) => return show_done(&attach, &record, out, manager).await.map(|()| None),
    };
    if attach.resume.is_none() && !attach.unasked {
        session.host.person_is_here(asking);
    }
    // One that is larger than any is as large as one can be; the job's is bounded further.
    let side = |n: u32| Some(u16::try_from(n).unwrap_or(u16::MAX)).filter(|n| *n > 0);
    let view = View {
        id,
        kind: sessd_proto::docs::text::clean(&attach.kind, 16),
        read_only: attach.read_only,
        take: attach.take,
        lossless: attach.lossless,
        size: side(attach.cols).zip(side(attach.rows)),
        resume: attach.resume.map(|offset| (offset, attach.job_id.clone())),
        credit: attach.credit,
        scrollback_lines: (attach.scrollback_lines as usize).min(sessd_proto::limits::SCROLLBACK_LINES),
        paced: features & hello::feature::PACED != 0,
        differences: (features & hello::feature::DRAWN != 0 && attach.lacks & m::lacks::DIFFERENCES == 0)
            .then(|| abilities_of(&attach)),
        from: sessd_proto::docs::text::clean(&attach.from, 80),
        passive: attach.passive,
        uncounted: attach.uncounted,
        owns: attach.owns,
        no_output: attach.no_output,
        standing: attach.standing,
        terminal: sessd_proto::docs::text::clean(&attach.terminal, 64),
        traits: attach.traits,
        no_images: attach.no_images,
    };
    let began = Instant::now();
    while session.live.borrow().views.iter().any(|view| view.id == id.to_string())
        && began.elapsed() < OLD_VIEW
    {
        tokio::time::sleep(OLD_VIEW / 20).await;
    }
    match session.ask_if_there(|done| ToSession::Attach(Box::new(view), out.clone(), done)).await {
        Some(attached) => attached.map(|_| Some((session, id))),
        // It ended, or has another task, since it was found.
        None => Box::pin(start_view(attach, out, manager, asking, features)).await,
    }
}

async fn show_done(attach: &m::Attach, record: &Record, out: &OutQueue, manager: &Manager) -> Result<()> {
    out.put(
        0,
        &Frame::Attached(m::Attached {
            session_id: record.id.to_string(),
            name: record.name.clone().unwrap_or_default(),
            host: record.host.clone(),
            job_id: record.job_id.to_string(),
            ..m::Attached::default()
        }),
    );
    if let Some(screen) = manager.store.screen(record.id).await? {
        // A view that was here before the end has the scrollback already, and asks for none.
        let scrollback_lines = (attach.scrollback_lines as usize).min(sessd_proto::limits::SCROLLBACK_LINES);
        let size = Size { cols: screen.size.0, rows: screen.size.1 }.clamped();
        let mut terminal = Terminal::new(size, scrollback_lines);
        terminal.feed(&screen.snapshot);
        let mut snapshot = Vec::new();
        terminal.snapshot(SnapshotOptions { scrollback_lines, ..SnapshotOptions::default() }, &mut snapshot);
        out.with(|out| put_snapshot(0, 0, 0, (size.cols, size.rows), &snapshot, out));
    }
    let end = record.ended();
    out.put(
        0,
        &Frame::Ended(m::ExitRecord {
            reason: end.map_or(m::EndReason::Unspecified, |e| e.reason) as i32,
            code: end.and_then(|e| e.code),
            signal: end.and_then(|e| e.signal),
            at_ms: end.map_or(0, |e| e.at_ms.max(0) as u64),
            detail: end.map(|e| e.detail.clone()).unwrap_or_default(),
            ..m::ExitRecord::default()
        }),
    );
    Ok(())
}
