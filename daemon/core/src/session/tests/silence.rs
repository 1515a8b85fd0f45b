//! A holder that does not answer while its host does.

use super::*;
use sessd_proto::messages::Send;

impl Rig {
    /// The holder owes an answer for so long that its host is asked.
    fn owes_an_answer(&mut self) -> &mut Self {
        self.tell(Event::Attach(Box::new(view_of(VIEW, (80, 24))), Asker(100)));
        self.later(1_700).did_also(&["look-now"]);
        assert_eq!(self.session.shown().record.state, State::Running, "nobody knows yet whose silence it is");
        self
    }

    fn silent_holder() -> Self {
        let mut rig = Self::running();
        rig.owes_an_answer().tell(Event::Probed(alive()));
        assert!(rig.session.shown().holder_silent_since_ms.is_some());
        rig
    }
}

#[test]
fn a_stopped_holder_is_found_out_within_about_a_minute_and_its_host_is_not_blamed() {
    let mut rig = Rig::running();
    rig.later(60_000).later(1_700).did_also(&["look-now"]);
    rig.tell(Event::Probed(alive())).did(&["show disconnected 10"]);
    let shown = rig.session.shown();
    assert!(shown.holder_silent_since_ms.is_some());
    assert_eq!(
        shown.notes,
        [
            "the holder of dev on box (process 7) does not answer, though box does: `kill -CONT 7` there lets it go on if it was \
             stopped; `sessd delete --force dev` ends it and its job"
        ]
    );
    rig.later(600_000).did(&[]);
    rig.holder(Frame::Pong(0)).did(&["show running 10"]);
    assert!(rig.session.shown().notes.is_empty() && rig.session.shown().holder_silent_since_ms.is_none());
}

#[test]
fn a_host_that_is_silent_itself_says_nothing_of_the_holder() {
    let mut rig = Rig::running();
    rig.owes_an_answer().later(60_000);
    assert_eq!(rig.session.shown().record.state, State::Running);
    rig.lose_link();
    assert!(rig.session.shown().notes.is_empty() && rig.session.deadline().is_none());
    // Nor does one that answers about a holder that has answered meanwhile.
    let mut rig = Rig::running();
    rig.owes_an_answer().holder(Frame::Pong(0)).tell(Event::Probed(alive()));
    assert_eq!(rig.session.shown().record.state, State::Running);
}

#[test]
fn whoever_waits_for_a_stopped_holder_hears_what_it_is() {
    let send = |n: u8| Send { id: vec![n; 16], ..Send::default() };
    let mut rig = Rig::running();
    rig.tell(Event::Type(send(1), Asker(1))).restart(2, NEXT_JOB).took();
    rig.later(1_700).tell(Event::Probed(alive()));
    let did = rig.took().join("\n");
    for (asker, what) in [(1, "what was sent is typed when it goes on"), (2, "it is restarted when it does")]
    {
        let said = format!(
            "refuse {asker} the holder of dev on box (process 7) does not answer, though box does; {what}"
        );
        assert!(did.contains(&said), "{did}");
    }
    // Who comes later hears it at once, and nothing is left for the holder to do when it wakes.
    let mut rig = Rig::silent_holder();
    rig.took();
    rig.tell(Event::WhenRunning(Asker(5)))
        .did_also(&["refuse 5 the holder of dev on box (process 7) does not answer, though box does"]);
    rig.tell(Event::Type(send(2), Asker(3))).restart(4, NEXT_JOB);
    let did = rig.took().join("\n");
    assert!(did.contains("does; nothing was typed") && did.contains("does; nothing was changed"), "{did}");
    assert!(!did.contains("holder") || !did.contains("END"), "{did}");
}

#[test]
fn a_removal_waits_for_a_stopped_holder_and_by_force_it_is_killed() {
    let mut rig = Rig::silent_holder();
    rig.took();
    rig.delete(1, false);
    let did = rig.took().join("\n");
    assert!(
        did.contains("reply 1 Removed(Later(\"the holder of dev on box (process 7) does not answer"),
        "{did}"
    );
    assert!(did.contains("`sessd delete --force dev` ends it and its job"), "{did}");
    rig.delete(2, true).did_also(&["ask End"]).never("reply 2");
    rig.answer(AgentRequest::End, LinkAnswer::Done(m::Empty {})).did(&["look-now"]);
    // The next look finds it gone.
    rig.stream = None;
    rig.tell(Event::Host(up()));
    rig.session.handle(rig.now, Event::LinkUp(inventory(vec![report(JOB, Liveness::Gone)])));
    rig.carry_out();
    rig.did_also(&["ask Forget"]);
    // Asked by force before anybody knew: as soon as it is known.
    let mut rig = Rig::running();
    rig.delete(1, true).never("ask End").later(1_700).tell(Event::Probed(alive()));
    rig.did_also(&["holder END Deleted", "ask End"]);
}

#[test]
fn a_holder_whose_frame_a_slow_line_takes_seconds_for_is_not_silent() {
    let mut rig = Rig::running();
    rig.tell(Event::Attach(Box::new(view_of(VIEW, (80, 24))), Asker(100))).took();
    let stream = rig.stream.expect("a stream");
    // 32 kB at 10 kB/s, and what it owes comes behind them.
    for _ in 0..10 {
        rig.later(320).never("look-now");
        rig.tell(Event::Arriving(stream));
    }
    // What the host says meanwhile was asked by somebody else.
    rig.tell(Event::Probed(alive()));
    assert!(rig.session.shown().holder_silent_since_ms.is_none());
    // It stands still in the middle of a frame.
    rig.later(1_600).never("look-now").later(200).did_also(&["look-now"]);
    rig.tell(Event::Probed(alive()));
    assert!(rig.session.shown().holder_silent_since_ms.is_some());
    // And goes on: that is known before the frame is whole.
    rig.tell(Event::Arriving(stream));
    assert!(rig.session.shown().holder_silent_since_ms.is_none());
    assert_eq!(rig.session.shown().record.state, State::Running);
}
