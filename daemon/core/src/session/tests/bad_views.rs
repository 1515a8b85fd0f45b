//! Views that do what none does: refused or bounded, told why, and nobody else notices.

use super::*;
use sessd_proto::limits::INPUT_WINDOW;

/// A session with a view that types, which leads, and another that is about to misbehave.
fn rig() -> Rig {
    let mut rig = Rig::running();
    rig.attach(OTHER_VIEW, (80, 24)).attach(VIEW, (100, 30));
    rig.holder(Frame::Snapshot { at: 0, skipped: 0, cols: 80, rows: 24, more: false, bytes: b"" });
    rig.session.work(rig.now);
    rig.carry_out();
    rig.took();
    rig
}

/// What the view does, and what comes of it. After each the other one's keys and output go their way.
#[test]
fn what_no_view_does_is_refused_or_bounded_and_told_and_the_others_go_on() {
    type Deed = fn(&mut Rig);
    let table: &[(&str, Deed, &[&str])] = &[
        (
            "garbage",
            |rig| {
                let frame = RawFrame { kind: kind::INPUT, flags: 0, stream: 0, body: b"x" };
                rig.tell(Event::View { view: VIEW, frame });
            },
            &[
                "view 1 CLOSE the view does not speak our protocol: a frame of kind 0x14 does not parse",
                "close-view 1",
            ],
        ),
        (
            "another's name",
            |rig| {
                rig.view(VIEW, Frame::Input { view: OTHER_VIEW, seq: 0, withdrawn: false, bytes: b"rm" });
            },
            &["view 1 CLOSE the view types in another's name", "close-view 1"],
        ),
        (
            "more than may be typed",
            |rig| {
                let bytes = vec![b'x'; INPUT_WINDOW as usize + 1];
                rig.types(0, &bytes);
            },
            &["view 1 CLOSE the view sends more than may be typed ahead", "close-view 1"],
        ),
        (
            "no size",
            |rig| {
                rig.view(VIEW, Frame::Resize(m::Resize { cols: 0, rows: 0 }));
            },
            &[],
        ),
        (
            "a size beyond all",
            |rig| {
                rig.view(VIEW, Frame::Resize(m::Resize { cols: 100_000, rows: 100_000 }));
            },
            &["view 1 SNAPSHOT 0"],
        ),
        (
            "a frame that is none of a view's",
            |rig| {
                rig.view(VIEW, Frame::Describe(Default::default()));
            },
            &[],
        ),
    ];
    for (what, deed, did) in table {
        let mut rig = rig();
        rig.now.steady_ms += 100;
        deed(&mut rig);
        let told: Vec<String> =
            rig.took().into_iter().filter(|did| did.contains("view 1") || did.contains("holder")).collect();
        assert_eq!(told, *did, "{what}");
        rig.view(OTHER_VIEW, Frame::Input { view: OTHER_VIEW, seq: 0, withdrawn: false, bytes: b"ls" });
        rig.did_also(&["holder INPUT ls"]);
        rig.holder(Frame::Output { offset: 0, bytes: b"ls" });
        rig.did_also(&["view 2 OUTPUT ls"]);
    }
}

/// It typed nothing, as far as the job goes, and is told that it never will.
#[test]
fn what_a_view_types_that_only_reads_is_withdrawn() {
    let mut rig = rig();
    let reader = Uuid::from_u128(0x3);
    let view = View { read_only: true, ..view_of(reader, (80, 24)) };
    rig.tell(Event::Attach(Box::new(view), Asker(101))).took();
    rig.view(reader, Frame::Input { view: reader, seq: 4, withdrawn: false, bytes: b"rm" });
    rig.did(&["view 3 WITHDRAWN 4..6"]);
}

/// One that never says that it has shown what it was drawn gets one drawing and no more, however much is written.
#[test]
fn a_drawn_view_that_acknowledges_nothing_has_one_drawing_under_way() {
    let mut rig = Rig::running();
    let paced = View { paced: true, differences: Some(Default::default()), ..view_of(VIEW, (60, 10)) };
    rig.attach(OTHER_VIEW, (80, 24)).tell(Event::Attach(Box::new(paced), Asker(101)));
    rig.holder(Frame::Snapshot { at: 0, skipped: 0, cols: 80, rows: 24, more: false, bytes: b"" });
    rig.session.work(rig.now);
    rig.carry_out();
    let mut offset = 0;
    let mut write = |rig: &mut Rig, bytes: &[u8]| {
        rig.took();
        rig.now.steady_ms += 100;
        rig.holder(Frame::Output { offset, bytes });
        offset += bytes.len() as u64;
        while rig.session.has_work() {
            rig.session.work(rig.now);
        }
        rig.carry_out();
        rig.tell(Event::Tick);
        let did = rig.took();
        did.into_iter().filter(|did| did.starts_with("view 1")).collect::<Vec<_>>()
    };
    for _ in 0..50 {
        assert_eq!(write(&mut rig, b"more\r\n"), [""; 0]);
    }
    // It has shown the first: now it gets what is to be seen by then, once.
    rig.view(VIEW, Frame::Pong(0));
    assert_eq!(rig.took().iter().filter(|did| did.starts_with("view 1 DRAWING")).count(), 1);
    rig.view(VIEW, Frame::Pong(0));
    assert_eq!(write(&mut rig, b"x"), ["view 1 DRAWING of 1"]);
}

#[test]
fn a_view_that_does_not_read_has_no_more_than_its_bound_waiting_and_goes_on_where_it_was() {
    let mut rig = Rig::running();
    rig.attach(VIEW, (80, 24)).took();
    rig.holder(Frame::Snapshot { at: 0, skipped: 0, cols: 80, rows: 24, more: false, bytes: b"" })
        .works()
        .took();
    rig.view(VIEW, Frame::Credit(1 << 40));
    let chunk = vec![b'x'; 7_500];
    let mut sent = 0u64;
    let mut given = 0;
    let mut asked = 0;
    for _ in 0..80 {
        let bytes = Frame::Output { offset: sent, bytes: &chunk }.to_bytes(0);
        sent += chunk.len() as u64;
        let frame = RawFrame { kind: kind::OUTPUT, flags: 0, stream: 0, body: &bytes[8..] };
        let stream = rig.stream.expect("a stream");
        rig.session.handle(rig.now, Event::Holder { stream, frame });
        while let Some(effect) = rig.session.poll() {
            match effect {
                Effect::ToView(_, bytes) => given += bytes.len(),
                Effect::WhenDrained(_) => asked += 1,
                _ => {}
            }
        }
    }
    assert!((200_000..400_000).contains(&given), "{given}");
    assert_eq!(asked, 1, "asked once, however much comes");
    rig.tell(Event::Drained { view: VIEW, waiting: 0 });
    let rest: usize = rig.took().iter().filter(|did| did.starts_with("view 1 OUTPUT")).map(String::len).sum();
    assert!(given + rest >= sent as usize, "nothing is left out: {given} and {rest} of {sent}");
}
