//! WIRE PROTOCOL FREEZE. `golden.txt` holds the bytes of every frame as released agents speak them, and those agents run
//! jobs right now on hosts that we cannot upgrade.
//!
//! If a test here fails, do not mend the file: give the new thing a new field number or a new frame kind, and a new line at
//! the end of its list. A line that was released is never changed and never removed. (`SESSD_GOLDEN=print` prints the
//! lines of what the code writes now, for adding new ones.)

use proptest::prelude::*;
use sessd_proto::frame::Frame;
use sessd_proto::messages as m;
use sessd_proto::{Decoder, Invalid, RawFrame, Uuid};

const GOLDEN: &str = include_str!("golden.txt");

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
}

fn view() -> Uuid {
    Uuid::from_bytes([0x11; 16])
}

fn spec() -> m::JobSpec {
    m::JobSpec {
        job_id: "j".into(),
        session_id: "s".into(),
        name: "n".into(),
        // One entry each: the order of more is not fixed.
        tags: [("t".to_owned(), "1".to_owned())].into(),
        command: vec!["c".into(), "d".into()],
        cwd: "/w".into(),
        env: [("E".to_owned(), "2".to_owned())].into(),
        cols: 80,
        rows: 24,
        idle_timeout_ms: Some(9),
        reap_unattended: true,
        created_at_ms: 5,
        host: "h".into(),
        manager_id: "m".into(),
        ..m::JobSpec::default()
    }
}

fn exit() -> m::ExitRecord {
    m::ExitRecord {
        reason: 1,
        code: Some(7),
        signal: Some(9),
        at_ms: 5,
        final_offset: 3,
        detail: "d".into(),
        out_of_memory: true,
        ..m::ExitRecord::default()
    }
}

#[rustfmt::skip]
fn frames() -> Vec<(&'static str, Frame<'static>)> {
    let request = |act| Frame::LinkRequest(m::LinkRequest { id: 1, act: Some(act) });
    let reply = |answer| Frame::LinkReply(m::LinkReply { id: 1, answer: Some(answer), ..m::LinkReply::default() });
    let ask = |act| Frame::Request(m::Request { id: 1, act: Some(act) });
    let answer = |answer| Frame::Reply(m::Reply { id: 1, answer: Some(answer), ..m::Reply::default() });
    let job = || m::JobName { job_id: "j".into(), manager_id: "m".into() };
    vec![
        ("hello", Frame::Hello(m::Hello { proto_min: 1, proto_max: 1, features: 7, version: "0.1.0".into(), build: "b".into() })),
        ("ping", Frame::Ping(42)),
        ("pong", Frame::Pong(42)),
        ("unsupported", Frame::Unsupported(m::Unsupported { kind: 0x60 })),
        ("close", Frame::Close(m::Close { reason: m::CloseReason::HolderUnreachable as i32, detail: "no".into() })),
        ("output", Frame::Output { offset: 7, bytes: b"hi" }),
        ("snapshot", Frame::Snapshot { at: 9, skipped: 2, cols: 80, rows: 24, more: true, bytes: b"x" }),
        ("range", Frame::Range { offset: 5, more: false, expired: true, bytes: b"y" }),
        ("credit", Frame::Credit(1 << 20)),
        ("input", Frame::Input { view: view(), seq: 3, withdrawn: true, bytes: b"a" }),
        ("input-ack", Frame::InputAck { view: view(), seq: 4 }),
        ("inventory?", request(m::LinkAct::Inventory(m::InventoryRequest::default()))),
        ("spawn?", request(m::LinkAct::Spawn(m::Spawn { spec: Some(spec()), environment: [("A".to_owned(), "1".to_owned())].into(), ..m::Spawn::default() }))),
        ("forget?", request(m::LinkAct::Forget(job()))),
        ("end?", request(m::LinkAct::End(m::EndJob { job_id: "j".into(), end: Some(m::End { reason: 3, force: true, ..m::End::default() }), ..m::EndJob::default() }))),
        ("screen?", request(m::LinkAct::ReadScreen(job()))),
        ("inventory!", reply(m::LinkAnswer::Inventory(m::Inventory {
            boot_id: "b".into(), machine_id: "m".into(), agent_version: "v".into(), now_ms: 5, complete: true, folder: "/f".into(),
            places: vec![],
            jobs: vec![m::JobReport {
                spec: Some(spec()), liveness: 2, exit: Some(exit()), pid: 7, boot_id: "b".into(), detail: "d".into(), holder_answers: true,
                managers: vec!["m".into()], ..m::JobReport::default()
            }],
        }))),
        ("spawned!", reply(m::LinkAnswer::Spawned(m::Spawned { pid: 7, warnings: vec!["w".into()], ..m::Spawned::default() }))),
        ("done!", reply(m::LinkAnswer::Done(m::Empty {}))),
        ("refused!", reply(m::LinkAnswer::Refused(m::Refused { detail: "no".into(), final_answer: true, ..m::Refused::default() }))),
        ("screen!", reply(m::LinkAnswer::Screen(m::Screen { snapshot: b"x".to_vec(), cols: 80, rows: 24 }))),
        ("open", Frame::Open(m::Open { job_id: "j".into() })),
        ("subscribe", Frame::Subscribe(m::Subscribe { from: Some(0), credit: 64, scrollback_lines: 9, status_only: true })),
        ("unsubscribe", Frame::Unsubscribe(m::Empty {})),
        ("read-range", Frame::ReadRange(m::ReadRange { from: 1, to: 2 })),
        ("resize", Frame::Resize(m::Resize { cols: 80, rows: 24 })),
        ("end", Frame::End(m::End { reason: 3, force: true, ..m::End::default() })),
        ("presence", Frame::Presence(m::Presence {
            views: 2, interactive: true, lossless: true, left_on_purpose: true, view_ids: vec![vec![1]],
            manager_id: "m".into(), manager_name: "n".into(), ..m::Presence::default()
        })),
        ("describe", Frame::Describe(m::Describe {
            name: "n".into(), tags: [("t".to_owned(), "1".to_owned())].into(), idle_timeout_ms: Some(9), reap_unattended: true,
            ..m::Describe::default()
        })),
        ("exit-ack", Frame::ExitAck(m::Empty {})),
        ("status", Frame::Status(m::JobStatus {
            head: 1, oldest: 2, cols: 80, rows: 24, title: "t".into(), cwd: "/w".into(), foreground: "f".into(), pid: 7,
            last_active_ms: 8, idle_ms: 9, reap_at_ms: Some(10), agent_version: "v".into(), command: vec!["c".into()],
            managers: vec!["m".into()], warnings: vec!["w".into()], ..m::JobStatus::default()
        })),
        ("exited", Frame::Exited(exit())),
        ("create?", ask(m::Act::Create(m::Create {
            name: "n".into(), host: "h".into(), tags: [("t".to_owned(), "1".to_owned())].into(), cwd: "/w".into(),
            env: [("E".to_owned(), "2".to_owned())].into(), idle_timeout: Some(m::IdleTimeout { ms: Some(9) }), reap_unattended: true,
            cols: 80, rows: 24, command: vec!["c".into()], environment: [("A".to_owned(), "1".to_owned())].into(),
            ..m::Create::default()
        }))),
        ("list?", ask(m::Act::List(m::List { all: true, host: "h".into(), tags: vec!["t".into()], state: "done".into(), ..m::List::default() }))),
        ("info?", ask(m::Act::Info(m::Select { session: "s".into(), ..m::Select::default() }))),
        ("tag?", ask(m::Act::Tag(m::Tag {
            session: "s".into(), name: Some("n".into()), set: [("t".to_owned(), "1".to_owned())].into(), remove: vec!["r".into()],
        }))),
        ("delete?", ask(m::Act::Delete(m::Delete { sessions: vec!["s".into()], all: true, force: true }))),
        ("detach?", ask(m::Act::DetachViews(m::DetachViews { session: "s".into(), view: "v".into() }))),
        ("restart?", ask(m::Act::Restart(m::Select { session: "s".into(), ..m::Select::default() }))),
        ("status?", ask(m::Act::DaemonStatus(m::Empty {}))),
        ("stop?", ask(m::Act::DaemonStop(m::Stop { restart: true }))),
        ("adopt?", ask(m::Act::Adopt(m::HostName { host: "h".into(), ..m::HostName::default() }))),
        ("events?", ask(m::Act::Events(m::EventsFrom::default()))),
        ("json!", answer(m::Answer::Json("{}".into()))),
        ("error!", answer(m::Answer::Error(m::Error { kind: "k".into(), message: "m".into(), hint: "h".into() }))),
        ("attach", Frame::Attach(m::Attach {
            session: "s".into(), view_id: vec![1], cols: 80, rows: 24, read_only: true, take: true, lossless: true, kind: "cli".into(),
            resume: Some(3), credit: 4, scrollback_lines: 5, job_id: "j".into(), ..m::Attach::default()
        })),
        ("attached", Frame::Attached(m::Attached { session_id: "s".into(), name: "n".into(), host: "h".into(), job_id: "j".into(), ..m::Attached::default() })),
        ("view-state", Frame::ViewState(m::ViewState {
            link: "up".into(), epoch: 1, next_try_ms: Some(2), detail: "d".into(), leader: true, cols: 80, rows: 24,
            ..m::ViewState::default()
        })),
        ("ended", Frame::Ended(exit())),
        ("detach", Frame::Detach(m::Detach { detail: "d".into() })),
        ("event", Frame::Event(m::Event { json: "{}".into() })),
        ("describe-some", Frame::Describe(m::Describe {
            name: "n".into(), tags: [("t".to_owned(), "1".to_owned())].into(), keep_name: true, keep_tags: true, ..m::Describe::default()
        })),
        ("status-now", Frame::Status(m::JobStatus { last_active_ms: 8, reap_at_ms: Some(10), now_ms: 9, ..m::JobStatus::default() })),
        ("exited-ago", Frame::Exited(m::ExitRecord { age_ms: Some(0), ..exit() })),
        ("withdrawn", Frame::Withdrawn { view: view(), from: 5, to: 9 }),
        ("try-now", Frame::TryNow(m::Empty {})),
        ("environment", Frame::Environment(m::Environment {
            variables: [("A".to_owned(), "1".to_owned())].into(), unset: vec!["B".into()], answers: false,
        })),
        ("inventory-of?", request(m::LinkAct::Inventory(m::InventoryRequest { places: vec!["/f".into()], manager_id: "m".into() }))),
        ("inventory-page!", Frame::LinkReply(m::LinkReply { id: 1, more: true, answer: Some(m::LinkAnswer::Inventory(m::Inventory {
            folder: "/f".into(), places: vec!["/f".into(), "/g".into()],
            jobs: vec![m::JobReport { folder: "/g".into(), abridged: true, ..m::JobReport::default() }],
            ..m::Inventory::default()
        })) })),
        ("spawned-in!", reply(m::LinkAnswer::Spawned(m::Spawned { pid: 7, folder: "/g".into(), ..m::Spawned::default() }))),
        ("send", Frame::Send(m::Send {
            id: vec![1], when: m::SendWhen::Idle as i32, cancel: true,
            parts: [m::SendWhat::Text(b"t".to_vec()), m::SendWhat::Key("C-c".into()), m::SendWhat::Paste(b"p".to_vec()), m::SendWhat::Lines(b"l".to_vec())]
                .map(|what| m::SendPart { what: Some(what) }).to_vec(),
        })),
        ("report", Frame::Report(m::Report { state: m::Doing::Waiting as i32, note: "n".into() })),
        ("input-end", Frame::InputEnd(m::InputEnd { view: vec![1], seq: 3 })),
        ("sent", Frame::Sent(m::Sent { id: vec![1], outcome: m::SentOutcome::Queued as i32, detail: "d".into(), queued: 2 })),
        ("notice", Frame::Notice(m::Notice { kind: "bell".into(), title: "t".into(), body: "b".into(), age_ms: 4 })),
        ("status-activity", Frame::Status(m::JobStatus {
            activity: Some(m::Activity { state: m::Doing::Done as i32, source: "shell".into(), age_ms: 5, note: "n".into() }),
            queued: 1, ..m::JobStatus::default()
        })),
        ("spawn-plain?", request(m::LinkAct::Spawn(m::Spawn {
            spec: Some(m::JobSpec { plain: true, run_for_ms: Some(5), ..spec() }), ..m::Spawn::default()
        }))),
        ("create-plain?", ask(m::Act::Create(m::Create { plain: true, run_for_ms: Some(5), ..m::Create::default() }))),
        ("type?", ask(m::Act::Type(m::Type { session: "s".into(), send: Some(m::Send { id: vec![1], ..m::Send::default() }) }))),
        ("events-since?", ask(m::Act::Events(m::EventsFrom { since_ms: Some(5), ..m::EventsFrom::default() }))),
        ("attach-passive", Frame::Attach(m::Attach { session: "s".into(), passive: true, uncounted: true, no_output: true, ..m::Attach::default() })),
        ("view-state-doing", Frame::ViewState(m::ViewState {
            doing: Some(m::ViewDoing { state: "done".into(), source: "shell".into(), since_ms: 5, note: "n".into() }), ..m::ViewState::default()
        })),
        ("environment-person", Frame::Environment(m::Environment { answers: true, ..m::Environment::default() })),
        ("question", Frame::Question(m::Question {
            id: 1, host: "h".into(), text: "t".into(), prompt: "p".into(), echo: true,
        })),
        ("answer", Frame::Answer(m::QuestionAnswer { id: 1, given: Some("a".into()) })),
        ("question-over", Frame::QuestionOver(m::QuestionOver { id: 1 })),
        ("connect?", Frame::Request(m::Request { id: 1, act: Some(m::Act::Connect(m::HostName { host: "h".into(), all: false })) })),
        ("create-sized?", ask(m::Act::Create(m::Create { size_policy: "fixed".into(), ..m::Create::default() }))),
        ("set-size?", ask(m::Act::SetSize(m::SetSize { session: "s".into(), policy: "fixed".into(), cols: 120, rows: 40 }))),
        ("echoed", Frame::Echoed { view: view(), seq: 4, offset: 9, echo: true, lines: true }),
        ("predicts", Frame::Predicts(m::Predicts { on: true })),
        ("presence-predicting", Frame::Presence(m::Presence { predicting: vec![vec![1; 16]], ..m::Presence::default() })),
        ("forwards", Frame::Forwards(m::Forwards {
            listeners: vec![m::Listener { id: 2, address: "*".into(), port: 80, path: "/s".into() }], agent: true, ports: true,
        })),
        ("forwarded", Frame::Forwarded(m::Forwarded {
            listeners: vec![m::Listening { id: 2, port: 80, error: "e".into() }],
            ports: vec![m::JobPort { port: 80, address: "::".into(), program: "p".into() }],
        })),
        ("channel-sync", Frame::ChannelSync(m::ChannelSync {
            manager_id: "m".into(), instance: 3, channels: vec![m::ChannelAt { channel: 4, received: 5 }],
        })),
        ("channel-open", Frame::ChannelOpen(m::ChannelOpen {
            channel: 4, host: "h".into(), port: 80, path: "/s".into(), listener: 2, agent: true,
        })),
        ("channel-opened", Frame::ChannelOpened(m::ChannelName { channel: 4 })),
        ("channel-close", Frame::ChannelClose(m::ChannelClose {
            channel: 4, reason: m::ChannelFailure::Refused as i32, detail: "d".into(),
        })),
        ("channel-data", Frame::ChannelData { channel: 4, offset: 5, bytes: b"x" }),
        ("channel-end", Frame::ChannelEnd { channel: 4, offset: 5 }),
        ("channel-credit", Frame::ChannelCredit { channel: 4, consumed: 5 }),
        ("forward?", ask(m::Act::Forward(m::Forward {
            session: "s".into(), add: vec![m::ForwardSpec { kind: "local".into(), spec: "1:h:2".into() }], remove: vec![3],
        }))),
        ("create-forwards?", ask(m::Act::Create(m::Create {
            forwards: vec![m::ForwardSpec { kind: "agent".into(), spec: String::new() }], ..m::Create::default()
        }))),
        ("spawn-agent?", request(m::LinkAct::Spawn(m::Spawn {
            spec: Some(m::JobSpec { agent: true, ..spec() }), ..m::Spawn::default()
        }))),
        ("drawing", Frame::Drawing { at: 7, bytes: b"d" }),
        ("attach-from", Frame::Attach(m::Attach { session: "s".into(), from: "f".into(), colours: Some(8), lacks: 3, ..m::Attach::default() })),
        ("attached-others", Frame::Attached(m::Attached { others: 2, others_are: "o".into(), sent_away: 1, ..m::Attached::default() })),
        ("traits", Frame::Traits(m::Traits { clusters: 31, cell_width: 9, cell_height: 18 })),
        ("presence-lag", Frame::Presence(m::Presence { lag_max: Some(50_000), lag_lines: Some(100), ..m::Presence::default() })),
        ("presence-traits", Frame::Presence(m::Presence {
            traits: Some(m::Traits { clusters: 1, ..m::Traits::default() }), ..m::Presence::default()
        })),
        ("attach-terminal", Frame::Attach(m::Attach { session: "s".into(), terminal: "t".into(), no_images: true, ..m::Attach::default() })),
        ("view-state-holder", Frame::ViewState(m::ViewState { holder_silent_ms: Some(5), ..m::ViewState::default() })),
        ("end-killing?", request(m::LinkAct::End(m::EndJob { kill_holder: true, ..m::EndJob::default() }))),
        ("refused-command!", reply(m::LinkAnswer::Refused(m::Refused { exit_code: Some(127), ..m::Refused::default() }))),
        ("status-window", Frame::Status(m::JobStatus { input_window: 6, ..m::JobStatus::default() })),
        ("view-state-window", Frame::ViewState(m::ViewState { input_window: 6, ..m::ViewState::default() })),
        ("create-owned?", ask(m::Act::Create(m::Create { owned: true, ..m::Create::default() }))),
    ]
}

fn line(name: &str, frame: &Frame<'_>) -> String {
    format!("{name} {}", hex(&frame.to_bytes(0x0102)))
}

#[test]
fn every_frame_is_written_as_it_was_released() {
    let now: Vec<String> = frames().iter().map(|(name, frame)| line(name, frame)).collect();
    if std::env::var_os("SESSD_GOLDEN").is_some() {
        println!("{}", now.join("\n"));
    }
    let golden: Vec<&str> = GOLDEN.lines().collect();
    for (now, golden) in now.iter().zip(&golden) {
        assert_eq!(now, golden);
    }
    assert_eq!(now.len(), golden.len(), "a new frame needs a line, and no line is ever removed");
}

#[test]
fn every_released_frame_is_read_as_it_was_meant() {
    for ((name, frame), golden) in frames().iter().zip(GOLDEN.lines()) {
        let (_, bytes) = golden.split_once(' ').unwrap();
        let mut decoder = Decoder::new();
        decoder.push(&unhex(bytes));
        let raw = decoder.next_frame().unwrap().unwrap();
        assert_eq!(raw.stream, 0x0102);
        assert_eq!(raw.parse().as_ref(), Ok(frame), "{name}");
    }
}

#[test]
fn a_field_and_a_kind_of_a_later_version_are_skipped() {
    // Field 99, a string, in a message that has none of that number.
    let body = [0x9a, 0x06, 1, b'x', 0x08, 80];
    let raw = RawFrame { kind: sessd_proto::frame::kind::RESIZE, flags: 0, stream: 1, body: &body };
    assert_eq!(raw.parse(), Ok(Frame::Resize(m::Resize { cols: 80, rows: 0 })));
    let raw = RawFrame { kind: 0x7f, flags: 9, stream: 1, body: b"whatever" };
    assert_eq!(raw.parse(), Ok(Frame::Unknown(0x7f)));
    // An act of a later version is a request without one: it is refused by name, not misread.
    let raw = RawFrame {
        kind: sessd_proto::frame::kind::REQUEST,
        flags: 0,
        stream: 0,
        body: &[0x08, 5, 0x9a, 0x06, 0],
    };
    assert_eq!(raw.parse(), Ok(Frame::Request(m::Request { id: 5, act: None })));
}

#[test]
fn a_frame_longer_than_any_is_never_sent() {
    let most = sessd_proto::limits::FRAME_BODY_MAX;
    for (length, fits) in [(most - 8, true), (most - 7, false), (2 * most, false)] {
        let bytes = vec![b'x'; length];
        let mut out = b"before".to_vec();
        assert_eq!(Frame::Output { offset: 0, bytes: &bytes }.try_put(1, &mut out), fits, "{length}");
        assert_eq!(out.len() > 6, fits);
        Frame::Ping(1).put(1, &mut out);
        let mut decoder = Decoder::new();
        decoder.push(&out[6..]);
        while let Some(raw) = decoder.next_frame().unwrap() {
            raw.parse().unwrap();
        }
        assert_eq!(decoder.pending(), 0);
    }
}

#[test]
fn a_body_longer_than_any_is_refused_before_it_is_held() {
    let mut decoder = Decoder::new();
    decoder.push(&[0xff, 0xff, 0xff, 0x7f, 0x10, 0, 0, 0]);
    assert_eq!(decoder.next_frame(), Err(Invalid::TooLong(0x7fff_ffff)));
}

proptest! {
    #[test]
    fn frames_survive_any_cutting(cuts in proptest::collection::vec(1usize..40, 1..200)) {
        let mut bytes = Vec::new();
        for (_, frame) in frames() {
            frame.put(7, &mut bytes);
        }
        let mut decoder = Decoder::new();
        let (mut at, mut read) = (0, 0);
        for cut in cuts.iter().cycle() {
            if at == bytes.len() {
                break;
            }
            let end = (at + cut).min(bytes.len());
            decoder.push(&bytes[at..end]);
            at = end;
            while let Some(raw) = decoder.next_frame().unwrap() {
                prop_assert_eq!(raw.stream, 7);
                let frame = raw.parse().unwrap();
                prop_assert_eq!(&frame, &frames()[read].1);
                read += 1;
            }
        }
        prop_assert_eq!((read, decoder.pending()), (frames().len(), 0));
    }

    /// What comes from a peer is hostile: nothing it sends may panic, whatever it means.
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), kind in any::<u8>()) {
        let _ = RawFrame { kind, flags: 0, stream: 0, body: &bytes }.parse();
        let mut decoder = Decoder::new();
        decoder.push(&bytes);
        while let Ok(Some(raw)) = decoder.next_frame() {
            let _ = raw.parse();
        }
    }
}
