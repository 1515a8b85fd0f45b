use super::*;
use sessd_proto::Uuid;

fn attached(job: &str) -> Frame<'static> {
    Frame::Attached(m::Attached {
        session_id: "s".into(),
        name: "dev".into(),
        host: "box".into(),
        job_id: job.into(),
        ..m::Attached::default()
    })
}

fn output(offset: u64, bytes: &[u8]) -> Frame<'_> {
    Frame::Output { offset, bytes }
}

fn screen(at: u64, more: bool, bytes: &[u8]) -> Frame<'_> {
    Frame::Snapshot { at, skipped: 0, cols: 80, rows: 24, more, bytes }
}

fn view() -> ViewCore {
    let mut view = ViewCore::new(Uuid::nil(), "dev", Wants::terminal(100), Some((80, 24)));
    assert_eq!(view.handle(attached("j")).unwrap(), Some(Told::Attached { restarted: false }));
    view
}

fn sent(view: &mut ViewCore) -> Vec<Frame<'static>> {
    let mut decoder = Decoder::new();
    decoder.push(&std::mem::take(view.poll()));
    let mut frames = Vec::new();
    while let Some(raw) = decoder.next_frame().unwrap() {
        frames.push(match raw.parse().unwrap() {
            Frame::Credit(total) => Frame::Credit(total),
            Frame::Subscribe(_) => Frame::Subscribe(m::Subscribe::default()),
            Frame::Unsupported(what) => Frame::Unsupported(what),
            Frame::Predicts(predicts) => Frame::Predicts(predicts),
            Frame::Pong(token) => Frame::Pong(token),
            other => panic!("{other:?}"),
        });
    }
    frames
}

#[test]
fn output_is_told_once_however_often_it_comes() {
    let mut view = view();
    for (frame, want) in [
        (screen(10, false, b"s"), Some("screen")),
        (output(10, b"abc"), Some("abc")),
        (output(11, b"bcd"), Some("d")),
        (output(10, b"abcd"), None),
        (output(3, b"xyz"), None),
        (output(14, b"e"), Some("e")),
    ] {
        let told = view.handle(frame).unwrap().map(|told| match told {
            Told::Output(bytes) => String::from_utf8(bytes.into_owned()).unwrap(),
            Told::Screen { .. } => "screen".to_owned(),
            other => panic!("{other:?}"),
        });
        assert_eq!(told.as_deref(), want);
    }
    assert_eq!((view.offset(), view.has_to_send()), (Some(15), false));
}

#[test]
fn what_changes_on_a_drawn_view_is_told_as_it_is_and_stands_for_the_output_before_it() {
    let mut view = view();
    view.handle(screen(10, false, b"s")).unwrap();
    for at in [40, 40, 90] {
        let told = view.handle(Frame::Drawing { at, bytes: b"d" }).unwrap();
        assert_eq!((told, view.offset()), (Some(Told::Output(b"d".into())), Some(at)));
    }
    assert!(matches!(view.handle(screen(90, false, b"s")).unwrap(), Some(Told::Screen { known: true, .. })));
}

#[test]
fn what_is_missing_is_asked_for_as_a_screen() {
    let mut view = view();
    view.handle(screen(10, false, b"")).unwrap();
    assert_eq!(view.handle(output(12, b"c")).unwrap(), Some(Told::Gap));
    assert_eq!(sent(&mut view), [Frame::Subscribe(m::Subscribe::default())]);
    assert_eq!(view.offset(), Some(10), "nothing was shown");
}

#[test]
fn a_screen_in_parts_is_told_whole() {
    let mut view = view();
    assert_eq!(view.handle(screen(7, true, b"ab")).unwrap(), None);
    let whole = Told::Screen { at: 7, skipped: 0, known: false, size: (80, 24), snapshot: b"abcd".to_vec() };
    assert_eq!(view.handle(screen(7, false, b"cd")).unwrap(), Some(whole));
}

#[test]
fn a_sender_is_never_kept_waiting_by_what_has_arrived() {
    let mut view = view();
    let (piece, mut at, mut granted) = (vec![b'x'; 10_000], 0, VIEW_WINDOW);
    while at < 5 * VIEW_WINDOW {
        assert!(at + 10_000 <= granted, "at {at} of {granted}");
        view.handle(output(at, &piece)).unwrap();
        at += 10_000;
        for frame in sent(&mut view) {
            let Frame::Credit(total) = frame else { panic!("{frame:?}") };
            assert!(total > granted && total <= at + VIEW_WINDOW);
            granted = total;
        }
    }
}

#[test]
fn the_next_manager_is_asked_for_what_follows_and_a_restarted_job_for_all() {
    let mut view =
        ViewCore::new(Uuid::nil(), "dev", Wants { take: true, ..Wants::terminal(100) }, Some((80, 24)));
    let first = view.attach();
    assert_eq!(
        (first.session.as_str(), first.resume, first.scrollback_lines, first.take),
        ("dev", None, 100, true)
    );
    view.handle(attached("j")).unwrap();
    view.handle(screen(10, false, b"")).unwrap();
    view.handle(output(10, b"abc")).unwrap();
    view.redraw();
    view.lost();
    let again = view.attach();
    assert_eq!((again.session.as_str(), again.job_id.as_str(), again.resume), ("s", "j", Some(13)));
    assert_eq!((again.scrollback_lines, again.take, again.view_id), (0, false, first.view_id));
    assert!(!view.has_to_send(), "what was to be said was for the one that is gone");
    // Bytes of the same job go on, and what comes twice is trimmed.
    assert_eq!(view.handle(attached("j")).unwrap(), Some(Told::Attached { restarted: false }));
    assert_eq!(view.handle(output(12, b"cd")).unwrap(), Some(Told::Output(b"d".into())));
    // Those of another are none that follow.
    view.lost();
    assert_eq!(view.handle(attached("k")).unwrap(), Some(Told::Attached { restarted: true }));
    assert_eq!(view.attach().resume, None);
    assert_eq!(view.handle(output(0, b"x")).unwrap(), Some(Told::Output(b"x".into())));
}

#[test]
fn each_manager_is_told_once_that_a_view_predicts_and_its_echoes_are_told() {
    let mut view = view();
    let says = |on| Frame::Predicts(m::Predicts { on });
    view.predicts(false);
    assert!(!view.has_to_send());
    view.predicts(true);
    view.predicts(true);
    assert_eq!(sent(&mut view), [says(true)]);
    let echoed = |view| Frame::Echoed { view, seq: 3, offset: 9, echo: true, lines: false };
    let told = Told::Echoed { seq: 3, offset: 9, echo: true, lines: false };
    assert_eq!(view.handle(echoed(view.id())).unwrap(), Some(told));
    assert_eq!(view.handle(echoed(Uuid::from_u128(7))).unwrap(), None, "another view's");
    view.lost();
    view.predicts(true);
    assert!(!view.has_to_send(), "there is nobody to be told");
    view.handle(attached("j")).unwrap();
    view.predicts(true);
    assert_eq!(sent(&mut view), [says(true)]);
    view.predicts(false);
    assert_eq!(sent(&mut view), [says(false)]);
}

#[test]
fn what_a_view_wants_is_said_to_the_manager_and_an_old_view_is_as_ever() {
    let attach = |wants| ViewCore::new(Uuid::nil(), "dev", wants, None).attach();
    for (wants, want) in [
        (Wants::terminal(0), (false, false, false, false)),
        (Wants { read_only: true, ..Wants::terminal(0) }, (true, false, false, false)),
        (Wants::looker(Output::Stream, 0), (true, true, true, false)),
        (Wants::looker(Output::None, 0), (true, true, true, true)),
        (Wants::whole(), (false, true, false, false)),
    ] {
        let m::Attach { read_only, passive, uncounted, no_output, .. } = attach(wants);
        assert_eq!((read_only, passive, uncounted, no_output), want);
    }
}

#[test]
fn an_older_manager_is_said_to_be_older_and_its_questions_are_answered() {
    let mut view = view();
    let old = view.handle(Frame::Unsupported(m::Unsupported { kind: kind::ATTACH.into() })).unwrap_err();
    assert_eq!(old.kind, Kind::VersionSkew);
    assert!(old.line().contains("older than this sessd") && old.line().contains("daemon restart"), "{old}");
    // Nobody waits for an answer to a heartbeat of a later kind.
    assert_eq!(view.handle(Frame::Unsupported(m::Unsupported { kind: 0x7e })).unwrap(), None);
    assert_eq!(view.handle(Frame::Unknown(0x7e)).unwrap(), None);
    assert_eq!(view.handle(Frame::Unknown(0x80 | 0x7e)).unwrap(), None);
    assert_eq!(sent(&mut view), [Frame::Unsupported(m::Unsupported { kind: 0x7e })]);
    let theirs = m::Hello { proto_min: 9, proto_max: 9, ..hello::hello("9.0.0", "") };
    assert_eq!(view.handle(Frame::Hello(theirs)).unwrap_err().kind, Kind::VersionSkew);
}

#[test]
fn every_way_out_is_told_apart() {
    let ended = |reason: m::EndReason, code| {
        Frame::Ended(m::ExitRecord { reason: reason as i32, code, ..Default::default() })
    };
    let mut view = view();
    assert!(
        matches!(view.handle(ended(m::EndReason::Exited, Some(3))).unwrap(), Some(Told::Ended(end)) if end.exit_code() == 3)
    );
    assert!(matches!(view.handle(ended(m::EndReason::Deleted, None)).unwrap(), Some(Told::Gone(_))));
    let away = Frame::Detach(m::Detach { detail: "sent away".into() });
    assert_eq!(view.handle(away).unwrap(), Some(Told::SentAway("sent away".into())));
    let refused =
        m::Reply { id: 0, answer: Some(Answer::Error(Error::no_such_session("dev").into())), more: false };
    assert_eq!(view.handle(Frame::Reply(refused)).unwrap_err().kind, Kind::NoSuchSession);
}
