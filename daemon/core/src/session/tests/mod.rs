//! What a session does about what happens. Here is the rig that it stands in; the tests are in the rooms below.

mod any_order;
mod bad_views;
mod silence;
mod tables;
mod windows;

use super::*;
use crate::reconcile::Seen;
use crate::stream::{StreamId, StreamIds};
use crate::views::View;
use sessd_proto::docs::{Kind, SizePolicy, Vocabulary};
use sessd_proto::frame::kind;
use sessd_proto::messages::{
    EndReason, ExitRecord, Inventory, JobReport, JobSpec, JobStatus, LinkAct, LinkAnswer, Liveness,
};
use sessd_proto::{RawFrame, Uuid, hello};
use std::rc::Rc;

const JOB: Uuid = Uuid::from_u128(0xa);
const NEXT_JOB: Uuid = Uuid::from_u128(0xb);
const VIEW: Uuid = Uuid::from_u128(0x1);
const OTHER_VIEW: Uuid = Uuid::from_u128(0x2);

fn record(state: State) -> Record {
    Record {
        name: Some("dev".into()),
        command: vec!["sh".into()],
        state,
        place: if state == State::Init { String::new() } else { "m:/f".into() },
        ..Record::new(Uuid::from_u128(1), JOB, "box", 0)
    }
}

fn inventory(jobs: Vec<JobReport>) -> Rc<Seen> {
    let (machine_id, folder) = ("m".to_owned(), "/f".to_owned());
    Rc::new(Seen::new(Inventory {
        machine_id,
        folder,
        complete: true,
        now_ms: 5,
        jobs,
        ..Inventory::default()
    }))
}

fn report(job: Uuid, liveness: Liveness) -> JobReport {
    JobReport {
        spec: Some(JobSpec { job_id: job.to_string(), ..JobSpec::default() }),
        liveness: liveness as i32,
        pid: 7,
        exit: (liveness == Liveness::Exited).then(|| ExitRecord { code: Some(7), ..ExitRecord::default() }),
        ..JobReport::default()
    }
}

fn alive() -> Rc<Seen> {
    inventory(vec![report(JOB, Liveness::Alive)])
}

fn exit(code: i32, final_offset: u64) -> ExitRecord {
    let (reason, code, age_ms) = (EndReason::Exited as i32, Some(code), Some(0));
    ExitRecord { reason, code, age_ms, final_offset, ..ExitRecord::default() }
}

fn away() -> HostState {
    let why = Error::new(Kind::Unreachable, "box cannot be reached", "");
    HostState { stage: HostStage::Down { next_try_ms: 9, why }, silent_since_ms: None }
}

fn up() -> HostState {
    HostState { stage: HostStage::Up { stalled: false }, silent_since_ms: None }
}

fn view_of(id: Uuid, size: (u16, u16)) -> View {
    View {
        id,
        kind: "cli".into(),
        read_only: false,
        take: false,
        lossless: false,
        size: Some(size),
        resume: None,
        credit: 1 << 20,
        scrollback_lines: 0,
        paced: false,
        differences: None,
        from: String::new(),
        passive: false,
        uncounted: false,
        owns: false,
        no_output: false,
        standing: None,
        terminal: String::new(),
        traits: None,
        no_images: false,
    }
}

/// A session with its world: streams are opened and names claimed at once, writes succeed when they are let.
struct Rig {
    session: Session,
    now: Now,
    streams: StreamIds,
    stream: Option<StreamId>,
    /// Writes wait until they are let.
    holds_writes: bool,
    waiting: Option<(WriteId, Write)>,
    /// What was written, as it would be found after a crash; none: forgotten.
    kept: Option<Record>,
    name_taken: bool,
    did: Vec<String>,
    shown: String,
    handed_on: Option<(Record, Option<Caller>)>,
}

impl Rig {
    fn of(record: Record, caller: Option<Caller>) -> Self {
        let manager = Manager { id: "me".into(), name: "me@here".into() };
        let now = Now { steady_ms: 1_000, wall_ms: 1_000_000 };
        Self {
            kept: Some(record.clone()),
            shown: words(&record),
            session: Session::new(record, caller, manager, now),
            now,
            streams: StreamIds::default(),
            stream: None,
            holds_writes: false,
            waiting: None,
            name_taken: false,
            did: Vec::new(),
            handed_on: None,
        }
    }

    /// A session that was just asked for, whose record is there.
    fn asked_for() -> Self {
        Self::of(record(State::Init), Some(Caller::default()))
    }

    /// One that runs, with a link and a stream.
    fn running() -> Self {
        let mut rig = Self::of(record(State::Disconnected), None);
        rig.link(alive());
        rig.status();
        assert!(matches!(rig.session.phase(), Phase::Running));
        rig.took();
        rig
    }

    fn tell(&mut self, event: Event<'_>) -> &mut Self {
        self.session.handle(self.now, event);
        self.carry_out();
        self
    }

    fn carry_out(&mut self) {
        while let Some(effect) = self.session.poll() {
            let did = match effect {
                Effect::Write(id, what) => {
                    assert!(self.waiting.is_none(), "two writes at once");
                    let did = match &what {
                        Write::Save(record) => format!("save {}", words(record)),
                        Write::Done(record, screen) => {
                            format!("save {} screen={}", words(record), screen.is_some())
                        }
                        Write::Forget => "forget".to_owned(),
                    };
                    self.did.push(did);
                    self.waiting = Some((id, what));
                    if !self.holds_writes {
                        self.let_write(Ok(()));
                    }
                    continue;
                }
                Effect::Show(shown) => {
                    let shown = words(&shown.record);
                    if self.shown == shown {
                        continue;
                    }
                    self.shown.clone_from(&shown);
                    format!("show {shown}")
                }
                Effect::Reply(asker, Ok(answer)) => format!("reply {} {answer:?}", asker.0),
                Effect::Reply(asker, Err(error)) => format!("refuse {} {}", asker.0, error.message),
                Effect::LookForAnother(asker) => format!("look-again {}", asker.0),
                Effect::Ask(asked, act) => {
                    if let LinkAct::Spawn(spawn) = *act {
                        let job = spawn.spec.unwrap_or_default().job_id;
                        format!("ask {asked:?} {}", job.chars().last().unwrap_or(' '))
                    } else {
                        format!("ask {asked:?}")
                    }
                }
                Effect::Open => {
                    let stream = self.streams.next();
                    self.did.push("open".into());
                    self.stream = Some(stream);
                    self.tell(Event::Opened(Some(stream)));
                    continue;
                }
                Effect::Close(stream) => {
                    if self.stream == Some(stream) {
                        self.stream = None;
                    }
                    "close".to_owned()
                }
                Effect::OpenBypass { path, .. } => format!("bypass {path}"),
                Effect::ToHolder(stream, packet) => {
                    assert_eq!(self.stream, Some(stream), "on the stream that is");
                    match packet.raw().parse().expect("one of ours") {
                        Frame::End(end) => {
                            format!("holder END {:?}", EndReason::try_from(end.reason).unwrap_or_default())
                        }
                        Frame::Input { bytes, .. } => {
                            format!("holder INPUT {}", String::from_utf8_lossy(bytes))
                        }
                        Frame::Resize(size) => format!("holder RESIZE {}x{}", size.cols, size.rows),
                        Frame::ExitAck(_) => "holder EXIT_ACK".to_owned(),
                        Frame::Describe(describe) => format!("holder DESCRIBE {}", describe.name),
                        // What every stream begins with, and credit.
                        _ => continue,
                    }
                }
                Effect::ToView(view, bytes) => {
                    let mut decoder = sessd_proto::Decoder::new();
                    decoder.push(&bytes);
                    while let Some(raw) = decoder.next_frame().expect("a frame") {
                        let did = match raw.parse().expect("one of ours") {
                            Frame::Output { bytes, .. } => {
                                format!("OUTPUT {}", String::from_utf8_lossy(bytes))
                            }
                            Frame::Snapshot { at, skipped: 0, bytes, .. } => {
                                format!("SNAPSHOT {at}{}", rows_back(bytes))
                            }
                            Frame::Snapshot { at, skipped, .. } => {
                                format!("SNAPSHOT {at}, {skipped} skipped")
                            }
                            Frame::Ended(exit) => format!("ENDED {:?}", exit.code),
                            Frame::InputAck { seq, .. } => format!("ACK {seq}"),
                            Frame::Withdrawn { from, to, .. } => format!("WITHDRAWN {from}..{to}"),
                            Frame::Close(close) => format!("CLOSE {}", close.detail),
                            Frame::Drawing { bytes, .. } => format!("DRAWING of {}", bytes.len()),
                            _ => continue,
                        };
                        self.did.push(format!("view {} {did}", view.as_u128()));
                    }
                    continue;
                }
                Effect::CloseView(view) => format!("close-view {}", view.as_u128()),
                Effect::WhenDrained(view) => {
                    self.tell(Event::Drained { view, waiting: 0 });
                    continue;
                }
                Effect::ProbeAgain => "look".to_owned(),
                Effect::ProbeNow => "look-now".to_owned(),
                Effect::Hasten => "hasten".to_owned(),
                Effect::Claim(name) => {
                    self.did.push(format!("claim {name}"));
                    let taken = Error::new(Kind::NameTaken, "taken", "");
                    let result = if self.name_taken { Err(taken) } else { Ok(()) };
                    self.tell(Event::Claimed(result));
                    continue;
                }
                Effect::Unclaim => "unclaim".to_owned(),
                Effect::Notice(notice) => format!("notice {}", notice.title),
                Effect::Deleted => "deleted".to_owned(),
                Effect::HandOn { record, caller, running, told } => {
                    let did = format!("hand-on {} running={running:?} told={told:?}", words(&record));
                    self.handed_on = Some((*record, caller));
                    did
                }
                Effect::Leave => "leave".to_owned(),
                Effect::PassOn(event) => format!("pass-on {}", name_of(&event)),
                Effect::Warmed | Effect::Failpoint(_) => continue,
            };
            self.did.push(did);
        }
    }

    /// The write that waits has come to its end.
    fn let_write(&mut self, result: sessd_proto::docs::Result<()>) -> &mut Self {
        let (id, what) = self.waiting.take().expect("a write");
        if result.is_ok() {
            self.kept = match what {
                Write::Save(record) | Write::Done(record, _) => Some(*record),
                Write::Forget => None,
            };
        }
        self.tell(Event::Written(id, result))
    }

    fn link(&mut self, seen: Rc<Seen>) -> &mut Self {
        self.tell(Event::Host(up())).tell(Event::LinkUp(seen))
    }

    fn lose_link(&mut self) -> &mut Self {
        self.stream = None;
        self.tell(Event::Host(away()))
    }

    fn holder(&mut self, frame: Frame<'_>) -> &mut Self {
        let bytes = frame.to_bytes(0);
        let mut decoder = sessd_proto::Decoder::new();
        decoder.push(&bytes);
        let frame = decoder.next_frame().expect("a frame").expect("a whole one");
        let stream = self.stream.expect("a stream");
        self.tell(Event::Holder { stream, frame })
    }

    fn status(&mut self) -> &mut Self {
        self.holder(Frame::Hello(hello::hello("1", "")))
            .holder(Frame::Status(JobStatus { command: vec!["sh".into()], ..JobStatus::default() }))
    }

    fn view(&mut self, view: Uuid, frame: Frame<'_>) -> &mut Self {
        let bytes = frame.to_bytes(0);
        let mut decoder = sessd_proto::Decoder::new();
        decoder.push(&bytes);
        let frame = decoder.next_frame().expect("a frame").expect("a whole one");
        self.tell(Event::View { view, frame })
    }

    fn attach(&mut self, id: Uuid, size: (u16, u16)) -> &mut Self {
        self.tell(Event::Attach(Box::new(view_of(id, size)), Asker(100)))
    }

    fn types(&mut self, seq: u64, bytes: &[u8]) -> &mut Self {
        self.view(VIEW, Frame::Input { view: VIEW, seq, withdrawn: false, bytes })
    }

    fn answer(&mut self, asked: AgentRequest, answer: LinkAnswer) -> &mut Self {
        self.tell(Event::Answered(asked, Some(answer)))
    }

    fn delete(&mut self, asker: u64, force: bool) -> &mut Self {
        self.tell(Event::Delete { force, asker: Asker(asker) })
    }

    fn restart(&mut self, asker: u64, job_id: Uuid) -> &mut Self {
        self.tell(Event::Restart { job_id, caller: Caller::default(), asker: Asker(asker) })
    }

    fn works(&mut self) -> &mut Self {
        while self.session.has_work() {
            self.session.work(self.now);
            self.carry_out();
        }
        self
    }

    fn later(&mut self, ms: u64) -> &mut Self {
        (self.now.steady_ms, self.now.wall_ms) = (self.now.steady_ms + ms, self.now.wall_ms + ms as i64);
        if self.session.deadline().is_some_and(|at| at <= self.now.steady_ms) {
            self.tell(Event::Tick);
        }
        self
    }

    /// When it wants to hear that time has passed, but for the holder's heartbeat.
    fn due(&self) -> Option<u64> {
        self.session.deadline().filter(|at| self.session.silence_due_ms() != Some(*at))
    }

    /// The manager died: another begins from what was written.
    fn dies(&mut self) -> Self {
        Self::of(self.kept.clone().expect("a record").without_evidence(), None)
    }

    fn took(&mut self) -> Vec<String> {
        std::mem::take(&mut self.did)
    }

    #[track_caller]
    fn did(&mut self, what: &[&str]) -> &mut Self {
        assert_eq!(self.took(), what);
        self
    }

    /// It did all of this in this order, and other things besides.
    #[track_caller]
    fn did_also(&mut self, what: &[&str]) -> &mut Self {
        let all = self.took();
        let mut rest = all.iter();
        for one in what {
            assert!(rest.any(|did| did == one), "`{one}` is not there in this order: {all:#?}");
        }
        self
    }

    #[track_caller]
    fn never(&mut self, what: &str) -> &mut Self {
        let all = self.did.clone();
        assert!(!all.iter().any(|did| did.contains(what)), "{what}: {all:#?}");
        self
    }
}

/// What a snapshot says of rows that are to come back from a terminal's own scrollback.
fn rows_back(snapshot: &[u8]) -> String {
    let said = String::from_utf8_lossy(snapshot);
    let rows = said.split_once("+T").and_then(|(before, _)| before.rsplit_once('['));
    rows.map(|(_, rows)| format!(", {rows} rows back")).unwrap_or_default()
}

fn words(record: &Record) -> String {
    let mut words = format!("{} {}", record.state.word(), record.job_id.as_u128());
    for (word, is) in [("restart", record.restart.is_some()), ("delete", record.delete_requested)] {
        if is {
            words.push_str(&format!(" {word}"));
        }
    }
    words
}

fn name_of(event: &Event<'_>) -> &'static str {
    match event {
        Event::Delete { .. } => "delete",
        Event::Restart { .. } => "restart",
        Event::Tag(..) => "tag",
        Event::WhenRunning(_) => "when-running",
        _ => "other",
    }
}

fn full() -> sessd_proto::docs::Result<()> {
    Err(Error::failed("the disk is full", ""))
}
