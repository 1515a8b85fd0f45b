//! The whole machine by its events and effects, with time that only moves when a test says so.

mod channels;
mod plain;

use super::*;
use crate::machine::echo::{Discipline, Echoes};
use crate::machine::ending::GRACE_MS;
use crate::machine::keep::{LATE_MS, Wanted};
use sessd_proto::Decoder;
use sessd_proto::messages::{self as m, EndReason};

const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;
const SHELL: Ident = (10, 100);
const ONE: LinkId = LinkId(1);
const TWO: LinkId = LinkId(2);

/// What a test has of the world outside: what is seen of processes, what became of effects, what links and the PTY got.
struct World {
    machine: HolderMachine,
    now: Now,
    /// What looking at processes gives; `None`: they cannot be seen.
    family: Option<Vec<Process>>,
    seen: Option<Processes>,
    /// The disk answers.
    disk: bool,
    /// The terminal hides what is typed.
    hides: bool,
    /// Effects but looks and observations, each in a word or two, and when.
    done: Vec<(u64, String)>,
    sent: Vec<(LinkId, String)>,
    decoders: std::collections::HashMap<LinkId, Decoder>,
}

fn shell() -> Process {
    let (name, waits) = (String::from("sh"), true);
    Process { pid: 10, name, waits, dead: false, parent: 1, session: 10, cpu: 0, start: 100 }
}

fn manager(number: u8) -> String {
    Uuid::from_bytes([number; 16]).to_string()
}

fn view(number: u8) -> Uuid {
    Uuid::from_bytes([number; 16])
}

impl World {
    fn new(spec: JobSpec) -> Self {
        let now = Now { ms: 0, steady_ms: 1_000_000, wall_ms: 1_700_000_000_000 };
        let job = Job { spec, leader: SHELL, managers: vec![manager(1)], ..Job::default() };
        let mut world = Self {
            machine: HolderMachine::new(job, Size { cols: 80, rows: 24 }, now),
            now,
            family: Some(vec![shell()]),
            seen: Some(Processes { cpu: 1, bare_prompt: true }),
            disk: true,
            hides: false,
            done: Vec::new(),
            sent: Vec::new(),
            decoders: Default::default(),
        };
        world.settle();
        world
    }

    fn handle(&mut self, event: Event<'_>) {
        self.machine.handle(self.now, event);
        self.settle();
    }

    /// Ticks, and carries out what is to be done, until nothing is.
    fn settle(&mut self) {
        loop {
            self.machine.handle(self.now, Event::Tick);
            let mut quiet = true;
            while let Some(effect) = self.machine.poll() {
                quiet = false;
                self.carry_out(effect);
            }
            self.send();
            if quiet {
                return;
            }
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        let word = match &effect {
            Effect::Keep(keeping) => format!("keep {:?}", keeping.wanted),
            Effect::Inspect { .. } | Effect::Observe | Effect::Family(_) | Effect::Warn => String::new(),
            Effect::Processor | Effect::Hides => String::new(),
            other => format!("{other:?}"),
        };
        if !word.is_empty() {
            self.done.push((self.now.ms, word));
        }
        let answer = match effect {
            Effect::Inspect { depth, round } => Event::Inspected { seen: self.seen, depth, round },
            Effect::Family(_) => Event::Family(self.family.clone()),
            Effect::Observe => Event::Observed(Observed::default()),
            Effect::Warn => Event::Warned(Vec::new()),
            Effect::Processor => Event::Used(self.seen.map(|seen| seen.cpu)),
            Effect::Hides => Event::Hides(self.hides),
            Effect::Discipline => Event::Discipline(Discipline { echo: !self.hides, lines: true }),
            Effect::Keep(keeping) if self.disk => {
                let exit = keeping.wanted.exit.then_some((true, true));
                Event::Kept(Kept { exit, ..Kept::default() })
            }
            Effect::Close(link) => {
                self.send();
                Event::Closed(link)
            }
            _ => return,
        };
        self.machine.handle(self.now, answer);
    }

    /// What waits for the links, as words.
    fn send(&mut self) {
        for id in [ONE, TWO] {
            let bytes = self.machine.unsent(id).to_vec();
            self.machine.handle(self.now, Event::Sent(id, bytes.len()));
            let decoder = self.decoders.entry(id).or_default();
            decoder.push(&bytes);
            while let Some(raw) = decoder.next_frame().unwrap() {
                let word = match raw.parse().unwrap() {
                    Frame::Hello(_) => "hello".to_owned(),
                    Frame::Output { offset, bytes } => {
                        format!("output {offset} {}", String::from_utf8_lossy(bytes))
                    }
                    Frame::Snapshot { at, skipped, .. } => format!("snapshot {at} skipped {skipped}"),
                    Frame::InputAck { seq, .. } => format!("ack {seq}"),
                    Frame::Status(status) => {
                        format!("status {:?} {:?}", status.managers, status.warnings)
                    }
                    Frame::Exited(exit) => format!("exited {:?} {}", exit.code, exit.screen.is_some()),
                    Frame::Close(close) => format!("close {}", close.detail),
                    other => format!("{other:?}"),
                };
                self.sent.push((id, word));
            }
        }
    }

    /// Time passes, with a tick at every deadline.
    fn pass(&mut self, ms: u64) {
        let until = self.now.ms + ms;
        loop {
            let next = self.machine.deadline().unwrap_or(u64::MAX).max(self.now.ms + 1).min(until);
            let step = next - self.now.ms;
            self.now.ms += step;
            self.now.steady_ms += step;
            self.now.wall_ms += step;
            self.settle();
            if self.now.ms >= until {
                return;
            }
        }
    }

    fn output(&mut self, bytes: &[u8]) {
        let room = self.machine.room();
        assert!(room.len() >= bytes.len(), "the job is held back");
        room[..bytes.len()].copy_from_slice(bytes);
        self.handle(Event::Output(bytes.len()));
    }

    fn frame(&mut self, link: LinkId, frame: Frame<'_>) {
        self.handle(Event::Frame(link, frame));
    }

    /// A manager comes, with or without a view that answers.
    fn manager(&mut self, link: LinkId, views: u32) {
        let number = link.0 as u8;
        self.handle(Event::Opened(link));
        self.presence(link, views);
        self.frame(link, Frame::Subscribe(m::Subscribe { credit: 1 << 20, ..Default::default() }));
        assert_eq!(number, link.0 as u8);
    }

    fn presence(&mut self, link: LinkId, views: u32) {
        let number = link.0 as u8;
        self.frame(
            link,
            Frame::Presence(m::Presence {
                views,
                interactive: views > 0,
                view_ids: (0..views).map(|_| view(number).as_bytes().to_vec()).collect(),
                manager_id: manager(number),
                manager_name: format!("m{number}"),
                ..Default::default()
            }),
        );
    }

    fn type_(&mut self, link: LinkId, seq: u64, bytes: &[u8]) {
        let view = view(link.0 as u8);
        self.frame(link, Frame::Input { view, seq, withdrawn: false, bytes });
    }

    /// The PTY takes all that was typed.
    fn typed(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        while let Some(bytes) = self.machine.typed().map(<[u8]>::to_vec) {
            self.machine.handle(self.now, Event::Wrote(bytes.len()));
            all.extend(bytes);
        }
        self.settle();
        all
    }

    fn exits(&mut self, code: i32) {
        self.machine.handle(self.now, Event::HungUp);
        self.handle(Event::Exited { code: Some(code), signal: None, memory_kills: None });
    }

    fn signals(&self) -> Vec<(u64, &str)> {
        let signals = self.done.iter().filter(|(_, word)| word.starts_with("Signal"));
        signals.map(|(at, word)| (*at, word.as_str())).collect()
    }

    fn said_to(&self, link: LinkId, what: &str) -> usize {
        self.sent.iter().filter(|(to, word)| *to == link && word.starts_with(what)).count()
    }

    fn left(&self) -> bool {
        self.done.iter().any(|(_, word)| word == "Leave")
    }

    /// A manager asks for the job's end.
    fn delete(&mut self, force: bool) {
        let end = m::End { reason: EndReason::Deleted as i32, force, ..Default::default() };
        self.frame(ONE, Frame::End(end));
    }
}

#[test]
fn a_key_is_written_once_and_acknowledged_with_its_echo() {
    let mut world = World::new(JobSpec::default());
    world.manager(ONE, 1);
    world.sent.clear();
    world.type_(ONE, 0, b"l");
    world.type_(ONE, 0, b"l");
    assert_eq!(world.typed(), b"l");
    world.output(b"l");
    let sent: Vec<&str> =
        world.sent.iter().map(|(_, word)| word.as_str()).filter(|word| !word.starts_with("status")).collect();
    assert_eq!(
        sent,
        ["ack 0", "output 0 l", "ack 1"],
        "sent twice over two paths; then one wake-up for both"
    );
}

#[test]
fn a_key_without_an_echo_is_acknowledged_in_a_moment() {
    let mut world = World::new(JobSpec::default());
    world.manager(ONE, 1);
    world.type_(ONE, 0, b"secret");
    world.typed();
    assert_eq!(world.said_to(ONE, "ack 6"), 0);
    world.pass(acks::Acks::WAIT_MS);
    assert_eq!(world.said_to(ONE, "ack 6"), 1);
}

#[test]
fn a_view_that_predicts_is_told_of_its_echo_and_nobody_else_is() {
    let mut world = World::new(JobSpec::default());
    world.manager(ONE, 1);
    world.manager(TWO, 1);
    world.type_(ONE, 0, b"a");
    world.typed();
    world.pass(10 * Echoes::SETTLE_MS);
    assert_eq!(world.said_to(ONE, "Echoed"), 0, "nobody predicts, and nothing is paid for it");
    let predicting = vec![view(1).as_bytes().to_vec()];
    let presence = m::Presence { views: 1, view_ids: predicting.clone(), predicting, ..Default::default() };
    world.frame(ONE, Frame::Presence(presence));
    let echoed =
        |seq, offset, echo| format!("{:?}", Frame::Echoed { view: view(1), seq, offset, echo, lines: true });
    assert_eq!(world.said_to(ONE, &echoed(0, 0, true)), 1, "how the terminal stands, at once");
    world.type_(ONE, 1, b"bc");
    world.typed();
    world.output(b"bc");
    world.pass(Echoes::SETTLE_MS - 1);
    assert_eq!(world.said_to(ONE, "Echoed"), 1, "its echo may not be complete");
    world.pass(1);
    assert_eq!(world.said_to(ONE, &echoed(3, 2, true)), 1);
    // The program asks for a secret.
    world.hides = true;
    world.handle(Event::Discipline(Discipline { echo: false, lines: true }));
    assert_eq!(world.said_to(ONE, &echoed(0, 2, false)), 1);
    assert_eq!(world.said_to(TWO, "Echoed"), 0);
}

#[test]
fn each_manager_has_its_own_place_in_the_output_and_the_first_status_names_all() {
    let mut world = World::new(JobSpec::default());
    world.output(b"before ");
    world.manager(ONE, 1);
    world.output(b"between ");
    world.manager(TWO, 0);
    world.output(b"after");
    let of = |link| {
        let words = world.sent.iter().filter(|(to, word)| *to == link && !word.starts_with("status"));
        words.map(|(_, word)| word.as_str()).collect::<Vec<_>>()
    };
    assert_eq!(of(ONE), ["hello", "ack 0", "snapshot 7 skipped 0", "output 7 between ", "output 15 after"]);
    assert_eq!(of(TWO), ["hello", "snapshot 15 skipped 0", "output 15 after"]);
    assert_eq!(world.said_to(TWO, r#"status ["m1", "m2"] []"#), 1);
}

#[test]
fn a_manager_that_breaks_the_protocol_or_is_silent_is_let_go_of_and_no_other() {
    let mut world = World::new(JobSpec::default());
    world.manager(ONE, 1);
    world.manager(TWO, 0);
    world.handle(Event::Invalid(ONE, "nonsense".into()));
    assert_eq!(world.said_to(ONE, "close nonsense"), 1);
    assert!(world.done.contains(&(0, "Close(LinkId(1))".into())));
    let presence = m::Presence { silence_ms: 5_000, ..Default::default() };
    world.frame(TWO, Frame::Presence(presence));
    world.pass(4_999);
    world.frame(TWO, Frame::Ping(1));
    world.pass(4_999);
    assert_eq!(world.said_to(TWO, "Pong"), 1);
    assert!(!world.done.iter().any(|(_, word)| word.contains("LinkId(2)")));
    world.pass(1);
    assert!(world.done.contains(&(9_999, "Close(LinkId(2))".into())));
}

#[test]
fn a_question_is_answered_by_the_holder_exactly_when_no_view_is_there_to() {
    let mut world = World::new(JobSpec::default());
    world.output(b"\x1b[5n");
    assert_eq!(world.typed(), b"\x1b[0n", "no view");
    world.manager(ONE, 1);
    world.output(b"\x1b[5n");
    assert_eq!(world.typed(), b"", "the view's terminal does");
    world.presence(ONE, 0);
    assert_eq!(world.typed(), b"\x1b[0n", "it left without a word");
}

#[test]
fn an_end_is_hup_term_kill_and_over_when_nothing_lives() {
    // What is seen of the family once the shell is gone; when it is told that the job has ended, after the start of the end.
    let child = Process { pid: 11, parent: 1, start: 110, ..shell() };
    let dead = Process { dead: true, ..child.clone() };
    let kills = 2 * GRACE_MS + 25 * 200;
    for (left, after, detail) in [
        (Some(vec![]), 0..=50, ""),
        (Some(vec![dead]), 0..=50, ""),
        (Some(vec![child]), kills - 400..=kills + 400, "some of its processes could not be ended"),
        (None, kills - 400..=kills + 400, "whether all of its processes ended could not be seen"),
    ] {
        let mut world = World::new(JobSpec::default());
        world.manager(ONE, 0);
        world.delete(false);
        assert_eq!(world.signals(), [(0, "Signal(10, Hangup)")]);
        world.family = left.clone();
        world.exits(1);
        while world.machine.exit().is_none() {
            world.pass(10);
            assert!(world.now.ms < HOUR, "{left:?}: never over");
        }
        assert!(after.contains(&world.now.ms), "{left:?}: over after {} ms", world.now.ms);
        let said = world.machine.exit().unwrap().detail.replace("deleted by m1", "");
        assert_eq!(said.trim_start_matches("; "), detail);
    }
}

#[test]
fn where_processes_cannot_be_seen_the_program_itself_is_signalled_all_the_same() {
    let mut world = World::new(JobSpec::default());
    world.family = None;
    world.manager(ONE, 0);
    world.delete(false);
    world.pass(2 * GRACE_MS);
    let hangup_terminate_kill =
        [(0, "Signal(10, Hangup)"), (2_000, "Signal(10, Terminate)"), (4_000, "Signal(10, Kill)")];
    assert_eq!(world.signals(), hangup_terminate_kill);
}

#[test]
fn only_what_is_seen_at_its_prompt_is_reaped() {
    let spec = JobSpec { idle_timeout_ms: Some(HOUR), name: "dev".into(), ..JobSpec::default() };
    for (seen, reaped) in [
        (Some(Processes { cpu: 1, bare_prompt: true }), true),
        (Some(Processes { cpu: 1, bare_prompt: false }), false),
        (None, false),
    ] {
        let mut world = World::new(spec.clone());
        world.seen = seen;
        world.pass(2 * HOUR);
        assert_eq!(!world.signals().is_empty(), reaped, "{seen:?}");
    }
}

#[test]
fn an_end_is_told_when_it_is_on_disk_or_the_disk_took_too_long() {
    for (disk, after, with_screen) in [(true, 0, "false"), (false, 1_000, "true")] {
        let mut world = World::new(JobSpec::default());
        world.disk = disk;
        world.manager(ONE, 1);
        world.output(b"last words");
        world.exits(7);
        assert_eq!(world.said_to(ONE, "exited") == 1, after == 0, "{disk}");
        world.pass(after);
        assert_eq!(world.sent.last().unwrap().1, format!("exited Some(7) {with_screen}"));
        assert_eq!(world.said_to(ONE, "output 0 last words"), 1, "and before it all that the job wrote");
        world.frame(ONE, Frame::ExitAck(m::Empty {}));
        world.pass(1_999);
        assert!(!world.left(), "others may want their last bytes");
        world.pass(1);
        assert!(world.left());
    }
}

#[test]
fn a_job_nobody_asks_about_is_kept_for_an_hour() {
    let mut world = World::new(JobSpec::default());
    world.exits(0);
    world.pass(HOUR - 3_000);
    assert!(!world.left());
    world.pass(3_000);
    assert!(world.left());
}

#[test]
fn a_disk_that_does_not_answer_is_said_and_stops_nothing() {
    let mut world = World::new(JobSpec::default());
    world.manager(ONE, 1);
    world.pass(1_000);
    (world.disk, world.sent) = (false, Vec::new());
    let describe = |name: &str| Frame::Describe(m::Describe { name: name.into(), ..Default::default() });
    world.frame(ONE, describe("new"));
    world.frame(ONE, describe("newer"));
    world.pass(LATE_MS);
    world.pass(500);
    let warning = r#"status ["m1"] ["the disk that the job's folder is on does not answer"#;
    assert_eq!(world.said_to(ONE, warning), 1);
    world.type_(ONE, 0, b"x");
    assert_eq!(world.typed(), b"x");
    let writes = |world: &World| world.done.iter().filter(|(_, word)| word.contains("spec: true")).count();
    assert_eq!(writes(&world), 1, "one task at a time");
    world.disk = true;
    let failed = Wanted { spec: true, ..Wanted::default() };
    world.handle(Event::Kept(Kept { failed, ..Kept::default() }));
    assert_eq!(writes(&world), 2, "what was wanted meanwhile");
    world.pass(2 * MINUTE);
    assert_eq!(writes(&world), 3, "what failed is tried again");
    assert!(world.sent.last().unwrap().1.ends_with("[]"), "{:?}", world.sent.last());
}

#[test]
fn a_lossless_view_holds_the_job_back_and_its_credit_lets_it_go_on() {
    let mut world = World::new(JobSpec::default());
    world.handle(Event::Opened(ONE));
    let presence = m::Presence { views: 1, lossless: true, ..Default::default() };
    world.frame(ONE, Frame::Presence(presence));
    world.frame(ONE, Frame::Subscribe(m::Subscribe { credit: 100_000, ..Default::default() }));
    let mut wrote = 0;
    while world.machine.takes_output() {
        world.output(&[b'x'; 16 * 1024]);
        wrote += 16 * 1024;
        assert!(wrote < 1 << 20, "it is never held back");
    }
    assert!(wrote > 256 * 1024, "{wrote}");
    world.frame(ONE, Frame::Credit(1 << 20));
    assert!(world.machine.takes_output());
    let told: usize = world.sent.iter().filter(|(_, word)| word.starts_with("output")).count();
    assert_eq!(world.machine.hub().head(), wrote as u64);
    assert!(told > 8, "all of it, in pieces");
}

#[test]
fn the_pty_gets_its_size_and_every_manager_hears_of_it_at_its_byte() {
    let mut world = World::new(JobSpec::default());
    world.manager(ONE, 1);
    world.manager(TWO, 0);
    world.output(b"narrow");
    world.frame(ONE, Frame::Resize(m::Resize { cols: 100, rows: 30 }));
    world.frame(ONE, Frame::Resize(m::Resize { cols: 100, rows: 30 }));
    world.frame(ONE, Frame::Resize(m::Resize { cols: 0, rows: 30 }));
    world.output(b"wide");
    let resized = world.done.iter().filter(|(_, word)| word.starts_with("Resize")).count();
    assert_eq!(resized, 1, "{:?}", world.done);
    for link in [ONE, TWO] {
        let words = world.sent.iter().filter(|(to, _)| *to == link).map(|(_, word)| word.as_str());
        let words: Vec<&str> = words.filter(|w| w.starts_with("output") || w.starts_with("Resize")).collect();
        assert_eq!(words, ["output 0 narrow", "Resize(Resize { cols: 100, rows: 30 })", "output 6 wide"]);
    }
}

#[test]
fn a_job_hears_of_its_size_in_its_input_from_the_session_and_from_no_terminal() {
    let mut world = World::new(JobSpec::default());
    world.output(b"\x1b[?2048$p\x1b[?2027$p\x1b[?2031$p");
    let known = b"\x1b[?2048;2$y\x1b[?2027;0$y\x1b[?2031;0$y";
    assert_eq!(world.typed().escape_ascii().to_string(), known.escape_ascii().to_string());
    world.output(b"\x1b[?2048h");
    assert_eq!(world.typed(), b"\x1b[48;24;80;0;0t", "at once");
    world.output(b"\x1b[?2048h");
    assert_eq!(world.typed(), b"\x1b[48;24;80;0;0t", "and whenever it asks");
    // With a view the answer is the same, and what its terminal says of that is not passed on.
    world.manager(ONE, 1);
    world.output(b"\x1b[?2048$p");
    assert_eq!(world.typed(), b"\x1b[?2048;1$y");
    world.frame(ONE, Frame::Resize(m::Resize { cols: 100, rows: 30 }));
    assert_eq!(world.typed(), b"\x1b[48;30;100;0;0t");
    world.type_(ONE, 0, b"\x1b[?2048;0$y");
    world.type_(ONE, 11, b"x\x1b[48;30;100;600;1000t");
    assert_eq!(world.typed(), b"x");
    world.pass(acks::Acks::WAIT_MS);
    assert_eq!(world.said_to(ONE, "ack 33"), 1, "{:?}", world.sent);
    world.output(b"\x1b[?2048l");
    world.frame(ONE, Frame::Resize(m::Resize { cols: 80, rows: 24 }));
    assert_eq!(world.typed(), b"", "it wants no more");
}

#[test]
fn the_focus_comes_with_the_first_view_and_goes_with_the_last() {
    let mut world = World::new(JobSpec::default());
    world.manager(ONE, 1);
    world.presence(ONE, 0);
    assert_eq!(world.typed(), b"", "it was not asked for");
    world.output(b"\x1b[?1004h");
    world.presence(ONE, 1);
    assert_eq!(world.typed(), b"\x1b[I");
    world.manager(TWO, 1);
    world.presence(ONE, 0);
    assert_eq!(world.typed(), b"", "somebody looks");
    world.handle(Event::Closed(TWO));
    assert_eq!(world.typed(), b"\x1b[O");
}

#[test]
fn with_no_view_the_last_terminals_words_are_passed_on() {
    let mut world = World::new(JobSpec::default());
    world.manager(ONE, 1);
    world.output(b"\x1b]11;?\x1b\\");
    world.type_(ONE, 0, b"\x1b]11;rgb:fafa/fafa/fafa\x1b\\");
    world.typed();
    world.presence(ONE, 0);
    world.output(b"\x1b]11;?\x1b\\\x1b[?996n");
    assert_eq!(world.typed(), b"\x1b]11;rgb:fafa/fafa/fafa\x1b\\\x1b[?997;2n");
}

#[test]
fn a_clipboard_written_with_no_view_is_offered_to_the_next_one_once() {
    let mut world = World::new(JobSpec::default());
    world.output(b"before\x1b]52;c;aGVsbG8=\x07after\x1b[3");
    world.manager(ONE, 1);
    let offered =
        |world: &World| world.sent.iter().filter(|(_, word)| word.contains("]52;c;aGVsbG8=")).count();
    world.pass(1_500);
    assert_eq!(offered(&world), 0, "not into the middle of a sequence");
    world.output(b"m");
    world.pass(200);
    assert_eq!(offered(&world), 1);
    world.presence(ONE, 0);
    world.presence(ONE, 1);
    world.pass(5_000);
    assert_eq!(offered(&world), 1, "once");
    // What is written while somebody is there is theirs already.
    world.output(b"\x1b]52;c;aGVsbG8=\x07");
    world.presence(ONE, 0);
    world.presence(ONE, 1);
    world.pass(5_000);
    assert_eq!(offered(&world), 2);
    // Who types sees what it types into: it is offered at once.
    world.presence(ONE, 0);
    world.output(b"\x1b]52;c;aGVsbG8=\x07");
    world.presence(ONE, 1);
    world.type_(ONE, 0, b"x");
    assert_eq!(offered(&world), 4, "as it was written, to a manager that follows, and as it is offered");
}

#[test]
fn the_same_events_give_the_same_effects() {
    let run = || {
        let spec = JobSpec { idle_timeout_ms: Some(HOUR), ..JobSpec::default() };
        let mut world = World::new(spec);
        world.manager(ONE, 1);
        for round in 0..200 {
            world.output(format!("line {round}\r\n\x1b[6n").as_bytes());
            world.type_(ONE, round, b"y");
            world.typed();
            world.pass(round * 37 % 900);
        }
        world.handle(Event::Closed(ONE));
        world.pass(3 * HOUR);
        world.exits(0);
        world.pass(2 * HOUR);
        assert!(world.left());
        (world.done, world.sent)
    };
    assert_eq!(run(), run());
}

fn report(state: m::Doing) -> Frame<'static> {
    Frame::Report(m::Report { state: state as i32, note: String::new() })
}

#[test]
fn what_waits_on_the_host_is_typed_in_its_time_never_into_a_secret_and_wakes_nobody_meanwhile() {
    let mut world = World::new(JobSpec::default());
    world.handle(Event::Opened(ONE));
    let send = |id: u8, text: &[u8]| {
        let parts = vec![m::SendPart { what: Some(m::SendWhat::Text(text.to_vec())) }];
        Frame::Send(m::Send { id: vec![id; 16], parts, when: m::SendWhen::Idle as i32, cancel: false })
    };
    world.handle(Event::Frame(ONE, report(m::Doing::Working)));
    world.handle(Event::Frame(ONE, send(1, b"one")));
    world.handle(Event::Frame(ONE, send(2, b"two")));
    let typed = |world: &mut World| {
        let bytes = world.machine.typed().unwrap_or_default().to_vec();
        world.handle(Event::Wrote(bytes.len()));
        bytes
    };
    assert_eq!(typed(&mut world), b"");
    world.hides = true;
    world.handle(Event::Frame(ONE, report(m::Doing::Done)));
    assert_eq!(typed(&mut world), b"", "a question for a password came in between");
    world.hides = false;
    world.now.ms += 500;
    world.handle(Event::Hides(false));
    assert_eq!(typed(&mut world), b"one");
    world.handle(Event::Frame(ONE, report(m::Doing::Working)));
    for _ in 0..10 {
        world.now.ms = world.machine.deadline().unwrap().max(world.now.ms + 1);
        world.handle(Event::Tick);
        assert!(world.machine.deadline().unwrap() > world.now.ms, "it would never sleep");
    }
    world.handle(Event::Frame(ONE, report(m::Doing::Done)));
    assert_eq!(typed(&mut world), b"two");
}
