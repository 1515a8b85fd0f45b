//! Jobs without a terminal.

use super::*;

#[test]
fn a_plain_job_waits_for_its_reader_its_input_ends_and_so_does_its_time() {
    let spec = JobSpec { plain: true, run_for_ms: Some(HOUR), ..JobSpec::default() };
    let mut world = World::new(spec);
    world.handle(Event::Opened(ONE));
    let end = m::InputEnd { view: view(7).as_bytes().to_vec(), seq: 2 };
    world.handle(Event::Frame(ONE, Frame::InputEnd(end)));
    assert!(world.done.iter().all(|(_, what)| what != "EndInput"));
    world.handle(Event::Frame(ONE, Frame::Input { view: view(7), seq: 0, withdrawn: false, bytes: b"hi" }));
    world.handle(Event::Wrote(2));
    assert!(world.done.iter().any(|(_, what)| what == "EndInput"), "{:?}", world.done);
    let mut wrote = 0;
    while world.machine.takes_output() {
        let n = world.machine.room().len();
        wrote += n;
        assert!(wrote < 4 << 20, "nobody reads it, and it is lost");
        world.handle(Event::Output(n));
    }
    world.now.ms += 16 * MINUTE;
    world.handle(Event::Tick);
    assert!(world.machine.takes_output(), "whoever read it does not come back");
    world.now.ms = HOUR;
    world.handle(Event::Tick);
    assert!(world.done.iter().any(|(_, what)| what.contains("Signal")), "{:?}", world.done);
}

/// It waits a quarter of an hour for a reader that was lost, but not when it is deleted: the deletion waited as long.
#[test]
fn a_plain_job_that_is_deleted_waits_for_nobody_who_is_not_there() {
    let ends = |reader: bool| {
        let mut world = World::new(JobSpec { plain: true, ..JobSpec::default() });
        world.manager(ONE, 1);
        let presence = m::Presence { views: 1, lossless: true, ..m::Presence::default() };
        world.frame(ONE, Frame::Presence(presence));
        let subscribe = m::Subscribe { from: Some(0), credit: 1000, ..m::Subscribe::default() };
        world.frame(ONE, Frame::Subscribe(subscribe));
        if !reader {
            world.frame(ONE, Frame::Presence(m::Presence::default()));
        }
        while world.machine.takes_output() {
            let n = world.machine.room().len();
            world.handle(Event::Output(n));
        }
        world.delete(false);
        world.family = Some(Vec::new());
        // What it wrote last is in the pipe still.
        world.handle(Event::Exited { code: None, signal: Some(1), memory_kills: None });
        world.pass(MINUTE);
        world.machine.exit().is_some()
    };
    assert!(ends(false), "nobody is there");
    assert!(!ends(true), "one is there, and has not read it all");
}

#[test]
fn the_bytes_of_a_file_that_is_fetched_say_nothing_to_people() {
    for plain in [false, true] {
        let mut world = World::new(JobSpec { plain, ..JobSpec::default() });
        world.handle(Event::Opened(ONE));
        let subscribe = m::Subscribe { from: Some(0), credit: 1 << 20, ..m::Subscribe::default() };
        world.frame(ONE, Frame::Subscribe(subscribe));
        world.output(b"\x1b]9;wire me money\x07\x07\x1b]9;4;3\x07");
        world.pass(10_000);
        let told =
            world.sent.iter().any(|(_, word)| word.contains("wire me money") && word.starts_with("Notice"));
        assert_eq!(told, !plain, "{:?}", world.sent);
    }
}

#[test]
fn the_end_of_a_plain_job_that_ended_at_once_waits_for_its_reader() {
    let mut world = World::new(JobSpec { plain: true, ..JobSpec::default() });
    world.handle(Event::Opened(ONE));
    let nothing = m::Subscribe { status_only: true, from: Some(u64::MAX), ..m::Subscribe::default() };
    world.handle(Event::Frame(ONE, Frame::Subscribe(nothing)));
    let room = world.machine.room();
    room[..2].copy_from_slice(b"hi");
    world.handle(Event::Output(2));
    world.handle(Event::HungUp);
    world.handle(Event::Exited { code: Some(3), signal: None, memory_kills: None });
    world.now.ms += MINUTE;
    world.handle(Event::Tick);
    assert!(world.machine.exit().is_some());
    let told = |world: &World| world.sent.iter().any(|(_, what)| what.starts_with("exited"));
    assert!(!told(&world), "{:?}", world.sent);
    // That it ran is told all the same: whoever made it waits for that before it comes to read.
    let two = m::Subscribe { status_only: true, from: Some(u64::MAX), ..m::Subscribe::default() };
    world.handle(Event::Opened(TWO));
    world.handle(Event::Frame(TWO, Frame::Subscribe(two)));
    assert!(
        world.sent.iter().any(|(link, what)| *link == TWO && what.starts_with("status")),
        "{:?}",
        world.sent
    );
    let reader = m::Presence { views: 1, lossless: true, ..m::Presence::default() };
    world.handle(Event::Frame(ONE, Frame::Presence(reader)));
    world.handle(Event::Frame(
        ONE,
        Frame::Subscribe(m::Subscribe { credit: 1 << 20, ..m::Subscribe::default() }),
    ));
    assert!(told(&world), "{:?}", world.sent);
}
