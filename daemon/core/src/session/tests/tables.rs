//! Each row: events above, effects below, in order.

use super::*;

// ---- A session begins ------------------------------------------------------------------------------------------------

#[test]
fn a_session_begins_with_the_host_and_runs_when_its_holder_says_so_and_that_is_written() {
    let mut rig = Rig::asked_for();
    rig.holds_writes = true;
    rig.tell(Event::WhenRunning(Asker(1))).did(&[]);
    rig.link(inventory(vec![])).did(&["ask Spawn a"]);
    rig.answer(AgentRequest::Spawn, LinkAnswer::Spawned(Default::default())).did(&["open"]);
    rig.status().did(&["save running 10", "show running 10"]);
    rig.let_write(Ok(())).did(&["reply 1 Done"]);
}

#[test]
fn a_job_that_runs_is_not_asked_for_again_and_one_that_was_cut_off_is_under_its_own_id() {
    for (seen, did) in [
        (alive(), vec!["open"]),
        (inventory(vec![JobReport { pid: 0, ..report(JOB, Liveness::Unknown) }]), vec!["ask Spawn a"]),
        (inventory(vec![]), vec!["ask Spawn a"]),
    ] {
        let mut rig = Rig::asked_for();
        rig.link(seen);
        rig.did(&did);
        if did == ["ask Spawn a"] {
            // The link goes before the answer comes: the next one is asked the same.
            rig.lose_link()
                .tell(Event::Answered(AgentRequest::Spawn, None))
                .link(inventory(vec![]))
                .did(&did);
        }
    }
}

/// The host is being looked at for an adoption while the session is enlisted: it hears of that look, or of the next.
#[test]
fn a_session_that_begins_while_its_host_is_looked_at_is_asked_for_by_the_first_look_it_hears() {
    let mut rig = Rig::asked_for();
    rig.tell(Event::WhenRunning(Asker(1)));
    // The look that was under way when it enlisted tells of a link that is up, and not of the session's job.
    rig.tell(Event::Host(up())).tell(Event::LinkUp(inventory(vec![]))).did(&["ask Spawn a"]);
    rig.tell(Event::Probed(inventory(vec![]))).did(&["ask Spawn a"]);
    // Asked twice under one id, the host starts one job.
    rig.answer(AgentRequest::Spawn, LinkAnswer::Spawned(Default::default()))
        .status()
        .did_also(&["reply 1 Done"]);
    rig.tell(Event::Probed(alive())).did(&[]);
}

#[test]
fn a_job_that_never_began_leaves_nothing() {
    let refused = || {
        LinkAnswer::Refused(m::Refused {
            detail: "no such command".into(),
            final_answer: true,
            exit_code: None,
        })
    };
    let mut rig = Rig::asked_for();
    rig.tell(Event::WhenRunning(Asker(1))).link(inventory(vec![])).took();
    rig.answer(AgentRequest::Spawn, refused()).did(&[
        "forget",
        "deleted",
        "leave",
        "refuse 1 no such command",
    ]);
    assert_eq!(rig.kept, None);
    // One that had a job before is what it was.
    let mut before = record(State::Running);
    before.finish(crate::record::End::from(&exit(3, 0)), 5);
    before.begin_again(NEXT_JOB);
    let mut rig = Rig::of(before, Some(Caller::default()));
    rig.tell(Event::WhenRunning(Asker(1))).link(inventory(vec![])).took();
    rig.answer(AgentRequest::Spawn, refused());
    rig.did(&["save done 11", "show done 11", "leave", "refuse 1 no such command"]);
}

#[test]
fn whoever_waits_for_a_session_to_run_hears_that_its_host_is_out_of_reach() {
    let mut rig = Rig::asked_for();
    rig.tell(Event::WhenRunning(Asker(1))).lose_link().did_also(&["refuse 1 box cannot be reached"]);
    rig.tell(Event::WhenRunning(Asker(2))).did(&["refuse 2 box cannot be reached"]);
    let mut rig = Rig::running();
    rig.lose_link().tell(Event::WhenRunning(Asker(3))).never("refuse 3");
}

// ---- The database ----------------------------------------------------------------------------------------------------

#[test]
fn what_is_typed_and_written_passes_while_a_write_is_on_its_way() {
    let mut rig = Rig::running();
    rig.attach(VIEW, (80, 24)).took();
    rig.holder(Frame::Snapshot { at: 0, skipped: 0, cols: 80, rows: 24, more: false, bytes: b"" })
        .works()
        .took();
    rig.holds_writes = true;
    rig.tell(Event::Tag(m::Tag { set: [("a".into(), "b".into())].into(), ..m::Tag::default() }, Asker(1)));
    rig.did(&["save running 10"]);
    rig.types(0, b"x").did(&["holder INPUT x"]);
    rig.holder(Frame::InputAck { view: VIEW, seq: 1 }).did(&["view 1 ACK 1"]);
    rig.holder(Frame::Output { offset: 0, bytes: b"x" }).did(&["view 1 OUTPUT x"]);
    rig.view(VIEW, Frame::Resize(m::Resize { cols: 90, rows: 30 }));
    rig.later(25).did_also(&["holder RESIZE 90x30"]);
    // What changes the record waits, and goes in the order it came.
    rig.delete(2, false).restart(3, NEXT_JOB).did(&[]);
    rig.let_write(Ok(()));
    rig.did_also(&["holder DESCRIBE ", "reply 1 Done", "save running 10 delete"]);
    rig.let_write(Ok(())).did_also(&["holder END Deleted", "refuse 3 `dev` is being deleted"]);
}

#[test]
fn nothing_is_asked_of_the_host_or_told_to_people_before_it_is_written() {
    let mut rig = Rig::running();
    rig.holds_writes = true;
    rig.delete(1, false).did(&["save running 10 delete"]);
    rig.let_write(Ok(())).did(&["show running 10 delete", "holder END Deleted"]);
    let mut rig = Rig::running();
    rig.holds_writes = true;
    rig.restart(1, NEXT_JOB).did(&["save running 10 restart"]);
    rig.let_write(Ok(())).did(&["holder END Restarted", "show running 10 restart"]);
    rig.holder(Frame::Exited(exit(0, 0))).did(&["ask Screen"]);
    rig.answer(AgentRequest::Screen, LinkAnswer::Screen(Default::default()))
        .did(&["save init 11 screen=false"]);
    rig.let_write(Ok(()));
    rig.did(&["holder EXIT_ACK", "ask Forget", "hand-on init 11 running=[] told=[Asker(1)]", "close"]);
    let mut rig = Rig::running();
    rig.holds_writes = true;
    rig.holder(Frame::Exited(exit(7, 0)))
        .answer(AgentRequest::Screen, LinkAnswer::Screen(Default::default()));
    rig.did(&["ask Screen", "save done 10 screen=false"]);
    rig.let_write(Ok(())).did(&["holder EXIT_ACK", "ask Forget", "show done 10", "leave", "close"]);
}

#[test]
fn a_write_that_fails_is_told_to_whoever_asked_and_changes_nothing() {
    let tag = || m::Tag { name: Some("other".into()), ..m::Tag::default() };
    for (event, did) in [
        (
            Event::Tag(tag(), Asker(1)),
            vec!["claim other", "save running 10", "unclaim", "refuse 1 the disk is full"],
        ),
        (
            Event::Delete { force: false, asker: Asker(1) },
            vec!["save running 10 delete", "refuse 1 the disk is full"],
        ),
        (
            Event::Restart { job_id: NEXT_JOB, caller: Caller::default(), asker: Asker(1) },
            vec!["save running 10 restart", "refuse 1 the disk is full"],
        ),
        (Event::MoveTo("elsewhere".into(), Asker(1)), vec!["save running 10", "refuse 1 the disk is full"]),
    ] {
        let mut rig = Rig::running();
        rig.holds_writes = true;
        rig.tell(event).let_write(full()).did(&did);
        assert!(matches!((rig.session.phase(), rig.session.wish()), (Phase::Running, Wish::Keep)));
        assert_eq!(rig.due(), None, "who asked asks again, if they want");
    }
}

#[test]
fn an_end_that_cannot_be_written_is_written_later_and_its_host_keeps_it_until_then() {
    let mut rig = Rig::running();
    rig.holds_writes = true;
    rig.holder(Frame::Exited(exit(7, 0)))
        .answer(AgentRequest::Screen, LinkAnswer::Screen(Default::default()))
        .took();
    rig.let_write(full()).never("EXIT_ACK").never("leave").took();
    for wait in [500, 1_000, 2_000, 4_000, 8_000, 15_000, 15_000] {
        rig.later(wait - 1).did(&[]);
        rig.later(1).did(&["save done 10 screen=false", "look"]);
        rig.let_write(full()).did(&[]);
    }
    rig.later(15_000).took();
    rig.let_write(Ok(())).did(&["holder EXIT_ACK", "ask Forget", "show done 10", "leave", "close"]);
}

#[test]
fn a_session_runs_whether_or_not_the_database_takes_that_now() {
    let mut rig = Rig::asked_for();
    rig.holds_writes = true;
    rig.tell(Event::WhenRunning(Asker(1))).link(alive()).status().took();
    rig.let_write(full()).did(&["reply 1 Done"]);
    rig.later(500).did(&["save running 10", "look"]);
    rig.let_write(Ok(())).did(&[]);
    assert_eq!(rig.due(), None);
}

#[test]
fn a_name_is_claimed_before_it_is_written_and_given_back_after() {
    let tag = || m::Tag { name: Some("other".into()), ..m::Tag::default() };
    let mut rig = Rig::running();
    rig.tell(Event::Tag(tag(), Asker(1)));
    rig.did(&["claim other", "save running 10", "unclaim", "holder DESCRIBE other", "reply 1 Done"]);
    let mut rig = Rig::running();
    rig.name_taken = true;
    rig.tell(Event::Tag(tag(), Asker(1))).did(&["claim other", "refuse 1 taken"]);
    let bad = m::Tag { name: Some("a b".into()), ..m::Tag::default() };
    rig.tell(Event::Tag(bad, Asker(2))).did(&["refuse 2 `a b` cannot be a session's name"]);
}

// ---- The end ---------------------------------------------------------------------------------------------------------

/// The last screen is taken from here if all of the output is, else from the host.
#[test]
fn an_end_before_and_after_the_last_bytes() {
    let begin = || {
        let mut rig = Rig::running();
        rig.attach(VIEW, (80, 24));
        rig.holder(Frame::Snapshot { at: 0, skipped: 0, cols: 80, rows: 24, more: false, bytes: b"" })
            .works()
            .took();
        rig
    };
    // All of it is here.
    let mut rig = begin();
    rig.holder(Frame::Output { offset: 0, bytes: b"bye" }).holder(Frame::Exited(exit(7, 3)));
    rig.did_also(&[
        "view 1 OUTPUT bye",
        "save done 10 screen=true",
        "holder EXIT_ACK",
        "leave",
        "view 1 ENDED Some(7)",
        "close-view 1",
    ]);
    assert!(rig.session.is_over());
    // The end came another way, before the last bytes: the host has the screen, and the view gets the bytes all the same.
    let mut rig = begin();
    rig.holder(Frame::Exited(exit(7, 3))).did(&["ask Screen"]);
    rig.holder(Frame::Output { offset: 0, bytes: b"bye" }).did(&["view 1 OUTPUT bye"]);
    let screen = m::Screen { cols: 80, rows: 24, snapshot: b"bye".to_vec() };
    rig.answer(AgentRequest::Screen, LinkAnswer::Screen(screen));
    rig.did_also(&["save done 10 screen=true", "leave", "view 1 ENDED Some(7)"]);
    // The link goes first: nothing is written yet, and the next one tells the same end.
    let mut rig = begin();
    rig.holder(Frame::Exited(exit(7, 3))).took();
    rig.lose_link().tell(Event::Answered(AgentRequest::Screen, None)).never("save").never("ENDED").took();
    let ended = JobReport { exit: Some(exit(7, 3)), ..report(JOB, Liveness::Exited) };
    rig.link(inventory(vec![ended])).did_also(&["ask Screen"]);
    rig.answer(AgentRequest::Screen, LinkAnswer::Screen(Default::default()))
        .did_also(&["save done 10 screen=false", "leave"]);
}

#[test]
fn an_end_is_taken_once_however_often_it_is_told() {
    let mut rig = Rig::running();
    rig.holds_writes = true;
    rig.holder(Frame::Exited(exit(7, 0)))
        .answer(AgentRequest::Screen, LinkAnswer::Screen(Default::default()))
        .took();
    rig.holder(Frame::Exited(exit(8, 0))).holder(Frame::Status(JobStatus::default())).never("save").took();
    rig.let_write(Ok(()));
    assert_eq!(rig.kept.and_then(|kept| kept.end).and_then(|end| end.code), Some(7));
}

// ---- Restarts --------------------------------------------------------------------------------------------------------

#[test]
fn two_restarts_at_once_are_one_new_job() {
    let mut rig = Rig::running();
    rig.holds_writes = true;
    rig.restart(1, NEXT_JOB).restart(2, Uuid::from_u128(0xc)).did(&["save running 10 restart"]);
    rig.let_write(Ok(())).did(&["holder END Restarted", "show running 10 restart"]);
    rig.restart(3, Uuid::from_u128(0xd)).did(&[]);
    rig.holder(Frame::Exited(exit(0, 0)))
        .answer(AgentRequest::Screen, LinkAnswer::Screen(Default::default()))
        .took();
    // One that comes while the end is being written is the next task's, which begins and so is what it wants.
    rig.restart(4, Uuid::from_u128(0xe)).did(&[]);
    rig.let_write(Ok(()));
    rig.did(&[
        "holder EXIT_ACK",
        "ask Forget",
        "hand-on init 11 running=[] told=[Asker(1), Asker(2), Asker(3)]",
        "pass-on restart",
        "close",
    ]);
    let (next, caller) = rig.handed_on.take().expect("a next task");
    assert_eq!((next.job_id, next.restart), (NEXT_JOB, None));
    let mut next = Rig::of(next, caller);
    next.restart(4, Uuid::from_u128(0xe)).did(&["reply 4 Here"]);
}

/// A person's view is let go without a word, and comes again; a script that waits for the end of a job is told of it.
#[test]
fn the_views_of_a_restarted_session_go_on_with_its_new_job() {
    let mut rig = Rig::running();
    let script = Uuid::from_u128(0x3);
    let waits = View { passive: true, uncounted: true, no_output: true, ..view_of(script, (80, 24)) };
    rig.attach(VIEW, (80, 24)).tell(Event::Attach(Box::new(waits), Asker(101)));
    rig.holder(Frame::Snapshot { at: 0, skipped: 0, cols: 80, rows: 24, more: false, bytes: b"" });
    rig.session.work(rig.now);
    rig.carry_out();
    rig.restart(1, NEXT_JOB).took();
    // Its last words are shown first.
    rig.holder(Frame::Output { offset: 0, bytes: b"bye" }).did(&["view 1 OUTPUT bye"]);
    rig.holder(Frame::Exited(exit(0, 3)));
    let did = rig.took();
    let after: Vec<_> = did.iter().filter(|did| did.contains("view") || did.contains("hand-on")).collect();
    assert_eq!(
        after,
        [
            "hand-on init 11 running=[] told=[Asker(1)]",
            "close-view 1",
            "view 3 ENDED Some(0)",
            "close-view 3"
        ]
    );
    let (next, caller) = rig.handed_on.take().expect("a next task");
    let mut next = Rig::of(next, caller);
    next.attach(VIEW, (80, 24));
    assert_eq!(next.session.shown().views.len(), 1, "it comes before there is the new job");
}

#[test]
fn a_restart_outlives_the_link_and_the_manager() {
    let mut rig = Rig::running();
    rig.restart(1, NEXT_JOB).took();
    rig.lose_link().did_also(&["refuse 1 box cannot be reached"]);
    // The manager that is: it goes on when the link does.
    rig.link(alive()).did_also(&["open", "holder END Restarted"]);
    rig.status()
        .holder(Frame::Exited(exit(0, 0)))
        .answer(AgentRequest::Screen, LinkAnswer::Screen(Default::default()));
    rig.did_also(&["save init 11 screen=false", "hand-on init 11 running=[] told=[]"]);
    // The manager died meanwhile: the next one knows it from the record.
    let mut rig = Rig::running();
    rig.restart(1, NEXT_JOB).lose_link();
    let mut next = rig.dies();
    next.link(alive()).did_also(&["open", "holder END Restarted"]);
    // Whoever asked asks again, with the same job.
    next.status().restart(2, NEXT_JOB).took();
    next.holder(Frame::Exited(exit(0, 0)))
        .answer(AgentRequest::Screen, LinkAnswer::Screen(Default::default()));
    next.did_also(&["hand-on init 11 running=[] told=[Asker(2)]"]);
    // It ended while nobody was there: what was wanted is wanted still.
    let mut rig = Rig::running();
    rig.restart(1, NEXT_JOB).lose_link();
    let mut next = rig.dies();
    next.link(inventory(vec![report(JOB, Liveness::Exited)])).took();
    next.answer(AgentRequest::Screen, LinkAnswer::Screen(Default::default()));
    next.did_also(&["save init 11 screen=false", "hand-on init 11 running=[] told=[]"]);
}

#[test]
fn a_restart_while_the_link_is_lost_is_refused_and_changes_nothing() {
    let mut rig = Rig::running();
    rig.lose_link().took();
    rig.restart(1, NEXT_JOB).did(&["refuse 1 the job of `dev` cannot be reached now"]);
    assert_eq!(rig.kept.as_ref().map(|kept| kept.restart), Some(None));
}

#[test]
fn a_host_that_would_not_forget_an_ended_job_is_asked_again_though_its_holder_is_there() {
    let mut rig = Rig::running();
    rig.delete(1, false);
    rig.holder(Frame::Exited(exit(0, 0))).did_also(&["holder EXIT_ACK", "ask Forget"]);
    // Its exit record is not on the disk yet.
    rig.answer(AgentRequest::Forget, LinkAnswer::Refused(Default::default())).did(&["look"]);
    rig.tell(Event::Probed(alive())).did_also(&["ask Forget"]);
    rig.answer(AgentRequest::Forget, LinkAnswer::Done(Default::default()))
        .did_also(&["forget", "reply 1 Removed(Gone)"]);
}

#[test]
fn a_last_word_that_is_said_again_is_acknowledged_again_and_the_host_told_to_forget() {
    let mut rig = Rig::running();
    rig.delete(1, false);
    rig.holder(Frame::Exited(exit(0, 0))).did_also(&["holder EXIT_ACK", "ask Forget"]);
    // The link is lost before either arrives, and the holder is still there.
    rig.lose_link();
    rig.tell(Event::Answered(AgentRequest::Forget, None)).took();
    let mut report = report(JOB, Liveness::Exited);
    report.holder_answers = true;
    // Whoever asked was told that it takes until the host is back.
    rig.link(inventory(vec![report])).did_also(&["open"]);
    rig.holder(Frame::Exited(exit(0, 0))).did_also(&["holder EXIT_ACK", "ask Forget"]);
    rig.answer(AgentRequest::Forget, LinkAnswer::Done(Default::default())).did_also(&["forget", "leave"]);
}

#[test]
fn a_delete_overtakes_a_restart() {
    let mut rig = Rig::running();
    rig.restart(1, NEXT_JOB).took();
    rig.delete(2, false).did_also(&[
        "save running 10 delete",
        "refuse 1 `dev` is being deleted",
        "holder END Deleted",
    ]);
    rig.holder(Frame::Exited(exit(0, 0))).did(&["holder EXIT_ACK", "ask Forget"]);
    rig.answer(AgentRequest::Forget, LinkAnswer::Done(Default::default()));
    rig.did(&["forget", "deleted", "leave", "reply 2 Removed(Gone)", "close"]);
    assert_eq!(rig.kept, None);
}

// ---- A link is lost --------------------------------------------------------------------------------------------------

/// In each phase: what is claimed from then on, and what the next link is asked.
#[test]
fn a_link_that_is_lost_in_each_phase() {
    type Make = fn() -> Rig;
    let table: &[(&str, Make, State, &[&str])] = &[
        ("it was asked for", Rig::asked_for, State::Init, &["ask Spawn a"]),
        ("it runs", Rig::running, State::Disconnected, &["open"]),
        (
            "its end waits for the screen",
            || {
                let mut rig = Rig::running();
                rig.holder(Frame::Exited(exit(7, 9)));
                rig
            },
            State::Disconnected,
            &["ask Screen"],
        ),
        (
            "it is to go",
            || {
                let mut rig = Rig::running();
                rig.delete(1, false);
                rig
            },
            State::Disconnected,
            &["open", "holder END Deleted"],
        ),
        (
            "it is to go and has ended",
            || {
                let mut rig = Rig::running();
                rig.delete(1, false).holder(Frame::Exited(exit(0, 0)));
                rig
            },
            State::Disconnected,
            &["ask Forget"],
        ),
    ];
    for (what, make, state, next) in table {
        let mut rig = make();
        let ended = matches!(rig.session.phase(), Phase::Ending(_) | Phase::Over(_));
        let begins = matches!(rig.session.phase(), Phase::Starting { .. });
        rig.lose_link();
        if ended {
            rig.tell(Event::Answered(AgentRequest::Screen, None))
                .tell(Event::Answered(AgentRequest::Forget, None));
        }
        assert_eq!(rig.session.shown().record.state, *state, "{what}");
        assert!(!rig.session.is_over(), "{what}");
        rig.took();
        let jobs = match (begins, ended) {
            (true, _) => vec![],
            (_, true) => vec![report(JOB, Liveness::Exited)],
            (_, false) => vec![report(JOB, Liveness::Alive)],
        };
        rig.link(inventory(jobs)).did_also(next);
    }
}

#[test]
fn a_frame_of_a_stream_that_was_is_none_of_the_next() {
    let mut rig = Rig::running();
    let old = rig.stream.expect("a stream");
    rig.lose_link().link(alive()).took();
    assert_ne!(rig.stream, Some(old));
    let bytes = Frame::Exited(exit(7, 0)).to_bytes(0);
    let frame = RawFrame { kind: kind::EXITED, flags: 0, stream: 0, body: &bytes[8..] };
    rig.tell(Event::Holder { stream: old, frame }).did(&[]);
    assert!(matches!(rig.session.phase(), Phase::Disconnected));
}

#[test]
fn a_holder_that_breaks_the_rules_costs_its_stream_and_says_nothing_of_the_job() {
    let mut rig = Rig::running();
    rig.holder(Frame::Output { offset: 0, bytes: b"nobody asked" });
    rig.did(&["close", "show disconnected 10", "look"]);
    assert!(rig.session.shown().notes[0].contains("sends what nobody asked for"));
    rig.tell(Event::Probed(alive())).did(&["open"]);
}

// ---- Removal ---------------------------------------------------------------------------------------------------------

/// A copy whose command was killed has nobody left who could end it. One whose connection broke comes again, and a manager that is
/// restarted has its views back.
#[test]
fn a_session_that_is_there_for_one_view_alone_ends_a_minute_after_it() {
    let owner = || Event::Attach(Box::new(View { owns: true, ..view_of(VIEW, (80, 24)) }), Asker(101));
    let gone = |view| Event::ViewGone { view, on_purpose: false };
    let deletes = |rig: &mut Rig| rig.took().iter().any(|did| did.contains("delete"));
    let mut rig = Rig::running();
    rig.tell(owner()).attach(OTHER_VIEW, (80, 24)).tell(gone(VIEW)).later(59_000);
    rig.tell(owner()).later(120_000);
    assert!(!deletes(&mut rig), "it came again");
    // That somebody else looks does not keep it.
    rig.tell(gone(VIEW)).later(59_000);
    assert!(!deletes(&mut rig), "within the minute");
    rig.later(2_000).did_also(&["save running 10 delete", "holder END Deleted"]);
    // Any other session stays for whoever comes.
    let mut rig = Rig::running();
    rig.attach(VIEW, (80, 24)).tell(gone(VIEW)).later(3_600_000);
    assert!(!deletes(&mut rig), "of nobody's");
    // Who may only look owns nothing, whatever they say.
    let mut rig = Rig::running();
    let looks = View { owns: true, read_only: true, ..view_of(VIEW, (80, 24)) };
    rig.tell(Event::Attach(Box::new(looks), Asker(101))).tell(gone(VIEW)).later(3_600_000);
    assert!(!deletes(&mut rig), "of who only looks");
    // What has ended is not ended again.
    let mut rig = Rig::running();
    rig.tell(owner()).tell(gone(VIEW)).holder(Frame::Exited(exit(0, 0)));
    rig.answer(AgentRequest::Screen, LinkAnswer::Screen(Default::default())).took();
    rig.later(120_000);
    assert!(!deletes(&mut rig), "it is over");
}

/// Whoever it is there for was killed before it came, or the manager that knew of it was.
#[test]
fn a_session_that_is_there_for_one_view_ends_where_that_never_comes() {
    let owner = || Event::Attach(Box::new(View { owns: true, ..view_of(VIEW, (80, 24)) }), Asker(101));
    let owned = |state| Record { owned: true, ..record(state) };
    let deletes = |rig: &mut Rig| rig.took().iter().any(|did| did.contains("delete"));
    // Made, and never looked at; however long its host takes to start it.
    let began = |rig: &mut Rig| {
        rig.link(inventory(vec![]));
        rig.answer(AgentRequest::Spawn, LinkAnswer::Spawned(Default::default()));
        rig.status();
    };
    let mut rig = Rig::of(owned(State::Init), Some(Caller::default()));
    rig.later(120_000);
    began(&mut rig);
    assert!(!deletes(&mut rig), "it just began");
    rig.later(59_000);
    assert!(!deletes(&mut rig), "within the minute");
    rig.later(2_000);
    assert!(deletes(&mut rig), "nobody came");
    // A manager that starts finds it.
    for comes in [false, true] {
        let mut rig = Rig::of(owned(State::Disconnected), None);
        rig.link(alive()).status();
        if comes {
            rig.tell(owner());
        }
        rig.later(61_000);
        assert_eq!(deletes(&mut rig), !comes, "{comes}");
    }
}

#[test]
fn a_delete_in_each_phase() {
    let deleted = |mut rig: Rig, did: &[&str]| {
        rig.took();
        rig.delete(1, false).did_also(did);
        rig
    };
    // Its host was never told: there is nothing to wait for.
    let rig = deleted(
        Rig::asked_for(),
        &["save init 10 delete", "forget", "deleted", "leave", "reply 1 Removed(Gone)"],
    );
    assert_eq!(rig.kept, None);
    // It was told, and has not answered: what it knows is asked for.
    let mut rig = Rig::asked_for();
    rig.link(inventory(vec![]));
    let mut rig = deleted(rig, &["save init 10 delete", "ask End", "look"]);
    rig.tell(Event::Probed(inventory(vec![]))).did_also(&["ask Forget"]);
    // It runs.
    let mut rig = deleted(Rig::running(), &["save running 10 delete", "holder END Deleted"]);
    rig.holder(Frame::Exited(exit(0, 0))).did(&["holder EXIT_ACK", "ask Forget"]);
    rig.answer(AgentRequest::Forget, LinkAnswer::Refused(Default::default())).did(&["look"]);
    rig.answer(AgentRequest::Forget, LinkAnswer::Done(Default::default()))
        .did_also(&["forget", "reply 1 Removed(Gone)"]);
    // Its end is being written: it is done by then, and whoever asked is passed on.
    let mut rig = Rig::running();
    rig.holds_writes = true;
    rig.holder(Frame::Exited(exit(7, 0)))
        .answer(AgentRequest::Screen, LinkAnswer::Screen(Default::default()))
        .took();
    rig.delete(1, false).did(&[]);
    rig.let_write(Ok(())).did_also(&["leave", "pass-on delete"]);
    // Its end waits for the screen: nobody wants that any more.
    let mut rig = Rig::running();
    rig.holder(Frame::Exited(exit(7, 9)));
    let mut rig = deleted(rig, &["save running 10 delete"]);
    rig.answer(AgentRequest::Screen, LinkAnswer::Screen(Default::default()));
    rig.did_also(&["holder EXIT_ACK", "ask Forget"]).never("save");
    // Another is asked for while it goes: all are told.
    let mut rig = deleted(Rig::running(), &[]);
    rig.delete(2, false).holder(Frame::Exited(exit(0, 0)));
    rig.answer(AgentRequest::Forget, LinkAnswer::Done(Default::default()));
    rig.did_also(&["reply 1 Removed(Gone)", "reply 2 Removed(Gone)"]);
}

#[test]
fn a_session_whose_host_is_out_of_reach_stays_until_it_is_ended_or_given_up() {
    let mut rig = Rig::running();
    rig.lose_link().took();
    let later = "dev: box is out of reach, it is ended when box is back";
    rig.delete(1, false)
        .did_also(&["save disconnected 10 delete", &format!("reply 1 Removed(Later({later:?}))")]);
    // Neither a crash nor a look brings it back.
    let mut next = rig.dies();
    next.link(alive()).did_also(&["open", "holder END Deleted"]);
    // The user does not want to wait: a second time, and by force.
    rig.delete(2, false).did(&[&format!("reply 2 Removed(Later({later:?}))")]);
    rig.delete(3, true).did_also(&["forget", "deleted", "leave"]).never("Later");
    assert_eq!(rig.kept, None);
}

#[test]
fn a_row_that_cannot_be_removed_is_removed_later() {
    let mut rig = Rig::asked_for();
    rig.holds_writes = true;
    rig.delete(1, false).let_write(Ok(())).did_also(&["forget"]);
    rig.let_write(full()).did_also(&["refuse 1 the disk is full"]);
    // The link comes first: nothing is asked of the host for a session that is gone but for its row.
    rig.link(inventory(vec![])).never("ask").took();
    rig.later(500).did_also(&["forget"]);
    rig.let_write(Ok(())).did(&["deleted", "leave"]);
}

// ---- Views -----------------------------------------------------------------------------------------------------------

#[test]
fn each_view_has_an_id_of_its_own_and_those_that_leave_are_told_to_the_holder() {
    let mut rig = Rig::running();
    rig.attach(VIEW, (80, 24)).did_also(&["holder RESIZE 80x24"]);
    rig.attach(VIEW, (80, 24)).did(&["refuse 100 a view with this id is attached to the session already"]);
    rig.attach(OTHER_VIEW, (100, 30)).tell(Event::ViewGone { view: VIEW, on_purpose: true }).later(25);
    rig.did_also(&["holder RESIZE 100x30"]);
    rig.attach(VIEW, (80, 24)).tell(Event::ViewGone { view: OTHER_VIEW, on_purpose: true }).later(25);
    rig.did_also(&["holder RESIZE 80x24"]);
    rig.tell(Event::SendAway { which: "zz".into(), why: "x".into(), scripts: false, asker: Asker(1) });
    rig.did(&["refuse 1 `dev` has no view `zz`"]);
    rig.tell(Event::SendAway { which: String::new(), why: "x".into(), scripts: false, asker: Asker(2) });
    rig.did_also(&["close-view 1", "reply 2 SentAway(1)"]);
}

#[test]
fn a_view_that_comes_to_a_session_that_is_done_looks_for_another() {
    let mut rig = Rig::running();
    rig.holder(Frame::Exited(exit(7, 0)))
        .answer(AgentRequest::Screen, LinkAnswer::Screen(Default::default()))
        .took();
    rig.attach(VIEW, (80, 24)).did(&["look-again 100"]);
    rig.delete(1, false).did(&["pass-on delete"]);
    assert!(rig.session.is_over());
}
