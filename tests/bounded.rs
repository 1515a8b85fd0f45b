//! What a host, or a client of the same user, makes the manager do is bounded: whatever one does, the sessions of others
//! answer as they did before, and the manager's memory has an end.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use sessd_proto::messages::{self as m, Act, Answer};
use sessd_proto::{Decoder, Frame, hello};
use sessd_tests::world::{files_below, set_mode};
use sessd_tests::{LATER, Pty, SOON, SshConfig, Sshd, World, procs, until};

/// What a key of another session may take while somebody does his worst: its time alone, and this.
const SLOWER: Duration = Duration::from_millis(30);
/// The same for the slowest of many: the tests run beside each other.
const SLOWEST: Duration = Duration::from_millis(700);
/// Memory that the manager may take.
const MEMORY: u64 = 400 << 20;

/// A session on this machine that echoes, and a terminal in front of it.
struct Echo(Pty);

impl Echo {
    fn new(world: &World) -> Echo {
        world.create("echo", "stty raw -echo; printf 'ready-%d' $((6 * 7)); exec cat");
        let echo = Echo(Pty::spawn(world.command(&["attach", "echo"]), 80, 24));
        echo.wait(b"ready-42", SOON);
        echo.keys(20);
        echo
    }

    fn wait(&self, what: &[u8], within: Duration) {
        let (until, mut seen) = (Instant::now() + within, Vec::new());
        let mut buffer = [0; 4096];
        while procs::find(&seen, what).is_none() {
            let left = until.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "no {:?} within {within:?}", String::from_utf8_lossy(what));
            let n = self.0.read(&mut buffer, left);
            seen.extend_from_slice(&buffer[..n]);
        }
    }

    /// The median and the longest time of so many keys.
    fn keys(&self, many: usize) -> (Duration, Duration) {
        let mut times: Vec<Duration> = (0..many)
            .map(|n| {
                // Characters that no escape sequence holds.
                let key = b"!@#&*+=|"[n % 8];
                let begun = Instant::now();
                self.0.write(&[key], SOON);
                self.wait(&[key], SOON);
                let took = begun.elapsed();
                std::thread::sleep(Duration::from_millis(5));
                took
            })
            .collect();
        times.sort();
        (times[many / 2], times[many - 1])
    }

    /// Keys while somebody does his worst, against keys before.
    fn stays_as(&self, before: (Duration, Duration), what: &str) {
        let during = self.keys(100);
        println!("{what}: {during:?}, alone {before:?}");
        assert!(during.0 < before.0 + SLOWER, "{what}: median {:?}, alone {:?}", during.0, before.0);
        assert!(during.1 < before.1 + SLOWEST, "{what}: longest {:?}, alone {:?}", during.1, before.1);
    }
}

fn memory(world: &World) -> u64 {
    procs::private_memory(world.manager_pid()).expect("the manager's memory")
}

/// A host whose agent is the lying one from here on.
fn lying_host(world: &mut World, kind: &str) -> Sshd {
    let host = Sshd::start_in(world, "h1");
    SshConfig::new(world).host("bad", &host);
    world.create_on("bad", "first", "exec cat");
    world.ok(&["delete", "first", "--force"]);
    let mut programs: Vec<PathBuf> = Vec::new();
    files_below(&host.home(), &mut |path| {
        let Ok(data) = fs::symlink_metadata(path) else { return };
        let is_program = data.is_file() && data.permissions().mode() & 0o100 != 0;
        if is_program && fs::read(path).is_ok_and(|bytes| bytes.starts_with(b"\x7fELF")) {
            programs.push(path.to_owned());
        }
    });
    assert!(!programs.is_empty());
    for path in programs {
        let new = path.with_extension("new");
        fs::write(&new, format!("#!/bin/sh\nexec {} {kind}\n", env!("CARGO_BIN_EXE_lying_agent")))
            .expect("a lying agent");
        set_mode(&new, 0o755);
        fs::rename(&new, &path).expect("the agent's place");
    }
    for agent in world.agents(&host.home(), "serve") {
        procs::signal(agent, rustix::process::Signal::KILL);
        procs::wait_gone(agent, SOON);
    }
    host
}

/// A host does its worst through one session that is looked at.
fn worst_of_a_host(kind: &str) -> World {
    let mut world = World::new();
    let host = lying_host(&mut world, kind);
    let echo = Echo::new(&world);
    let alone = echo.keys(100);
    world.create_on("bad", "evil", "anything");
    let mut view = world.attach("evil");
    echo.stays_as(alone, kind);
    let during = memory(&world);
    assert!(during < MEMORY, "{kind}: the manager has {during} bytes");
    let list = world.sessd_within(&["list", "--json"], SOON);
    assert_eq!(list.code, 0, "{list:?}");
    view.kill();
    drop(host);
    world
}

#[test]
fn a_host_cannot_slow_others_through_a_session_nobody_looks_at() {
    let mut world = World::new();
    let _host = lying_host(&mut world, "cold");
    let echo = Echo::new(&world);
    let alone = echo.keys(100);
    let manager = world.manager_pid();
    world.create_on("bad", "evil", "anything");
    echo.stays_as(alone, "cold");
    until("the fault is said", SOON, || {
        let notes = world.info("evil").map(|info| info["notes"].to_string()).unwrap_or_default();
        notes.contains("what nobody asked for").then_some(())
    });
    let during = memory(&world);
    assert!(during < MEMORY, "the manager has {during} bytes");
    // One that is deleted is still dialled until its host has ended it, and is looked at by nobody.
    let mut delete = world.command(&["delete", "evil", "--force"]).spawn().expect("a command");
    echo.stays_as(alone, "cold and deleted");
    // It waits for a host that does not do what it is told.
    let _ = delete.kill();
    delete.wait().expect("its end");
    assert_eq!(world.manager_pid(), manager, "it is the manager that was there");
}

#[test]
fn a_host_that_ignores_its_credit_slows_nobody() {
    let world = worst_of_a_host("credit");
    let notes = world.info("evil").expect("it is there")["notes"].to_string();
    assert!(notes.contains("more than it was allowed"), "{notes}");
}

#[test]
fn a_job_that_repeats_without_end_slows_nobody() {
    worst_of_a_host("rep");
}

#[test]
fn a_job_that_erases_without_end_slows_nobody() {
    worst_of_a_host("erase");
}

#[test]
fn links_and_colours_without_end_slow_nobody() {
    worst_of_a_host("links");
}

#[test]
fn a_size_that_changes_without_end_slows_nobody() {
    worst_of_a_host("sizes");
}

#[test]
fn screens_without_end_slow_nobody() {
    worst_of_a_host("screens");
}

#[test]
fn answers_that_nobody_asked_for_slow_nobody() {
    worst_of_a_host("answers");
}

#[test]
fn statuses_without_end_slow_nobody() {
    worst_of_a_host("statuses");
}

#[test]
fn offsets_that_no_job_reaches_are_a_fault_and_no_screen_is_asked_for_again_and_again() {
    let mut world = World::new();
    let _host = lying_host(&mut world, "offsets");
    world.create_on("bad", "evil", "anything");
    let view = world.attach("evil");
    until("the fault is said", SOON, || {
        let notes = world.info("evil").map(|info| info["notes"].to_string()).unwrap_or_default();
        notes.contains("beyond all bounds").then_some(())
    });
    let before = view.raw_len();
    // For as long as it takes the manager to answer others.
    for _ in 0..50 {
        world.info("evil").expect("it is known");
    }
    let more = view.raw_len() - before;
    assert!(more < 100_000, "{more} bytes came to the terminal meanwhile");
}

/// A view over the manager's death, of a job whose holder does not give old output, by `kind` of not giving it.
fn goes_on_with_a_fresh_screen(kind: &str) {
    let mut world = World::new();
    let _host = lying_host(&mut world, kind);
    world.create_on("bad", "old", "anything");
    let view = world.attach("old");
    view.wait_text("screen at 10", SOON);
    world.kill_manager();
    view.wait_text("screen at 5000", SOON);
}

#[test]
fn a_view_of_a_holder_that_never_knew_old_output_goes_on_with_a_fresh_screen() {
    goes_on_with_a_fresh_screen("old");
}

#[test]
fn a_view_of_a_holder_that_refuses_old_output_goes_on_with_a_fresh_screen() {
    goes_on_with_a_fresh_screen("unsupported");
}

/// A client of the manager's socket that says what it likes.
struct Client {
    stream: UnixStream,
    decoder: Decoder,
}

impl Client {
    fn new(world: &World) -> Client {
        let path = world.sessd_home().join("sessd.sock");
        let stream = UnixStream::connect(path).expect("the manager's socket");
        stream.set_read_timeout(Some(SOON)).expect("a timeout");
        let mut client = Client { stream, decoder: Decoder::new() };
        client.send(&Frame::Hello(hello::hello("9.9.9", "")));
        client
    }

    /// False: not all of it could be written.
    fn send(&mut self, frame: &Frame<'_>) -> bool {
        self.stream.write_all(&frame.to_bytes(0)).is_ok()
    }

    fn attach(&mut self, session: &str, id: [u8; 16], credit: u64) {
        self.send(&Frame::Attach(m::Attach {
            session: session.into(),
            view_id: id.to_vec(),
            cols: 80,
            rows: 24,
            kind: "test".into(),
            credit,
            ..m::Attach::default()
        }));
    }

    fn list(&mut self, id: u64) -> bool {
        let act = Some(Act::List(m::List { all: true, ..m::List::default() }));
        self.send(&Frame::Request(m::Request { id, act }))
    }

    /// Reads until `found` says something. None: the connection was closed.
    fn until<T>(&mut self, mut found: impl FnMut(Frame<'_>) -> Option<T>) -> Option<T> {
        let mut buffer = [0; 64 * 1024];
        loop {
            while let Some(raw) = self.decoder.next_frame().expect("frames") {
                if let Some(found) = found(raw.parse().expect("a frame")) {
                    return Some(found);
                }
            }
            match self.stream.read(&mut buffer) {
                Ok(n @ 1..) => self.decoder.push(&buffer[..n]),
                Ok(0) => return None,
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("nothing more is said: {error}"),
            }
        }
    }

    fn why_closed(&mut self) -> String {
        self.until(|frame| match frame {
            Frame::Close(close) => Some(close.detail),
            _ => None,
        })
        .unwrap_or_default()
    }
}

/// Sessions of jobs that write, each with much to show.
fn noisy(world: &World) {
    world.create("noisy", "while :; do seq 100000 130000; done");
}

/// One that allows all there is, reads nothing, and goes while as much waits for it as may.
#[test]
fn a_view_that_goes_while_its_queue_is_full_leaves_the_manager_to_the_others() {
    let world = World::new();
    noisy(&world);
    let mut views: Vec<Client> = (0..8).map(|_| Client::new(&world)).collect();
    for (n, view) in (1u8..).zip(&mut views) {
        view.attach("noisy", [n; 16], 1 << 50);
    }
    until("all of them to be there", SOON, || {
        (world.info("noisy")?["views"].as_array()?.len() == 8).then_some(())
    });
    // Much more than a queue holds is written meanwhile.
    until("output that nobody reads", LATER, || {
        (world.info("noisy")?["output_bytes"].as_u64()? > 32 << 20).then_some(())
    });
    drop(views);
    until("the views to be gone", SOON, || {
        world.info("noisy")?["views"].as_array()?.is_empty().then_some(())
    });
    world.ok(&["delete", "--force", "noisy"]);
}

#[test]
fn views_that_allow_everything_and_read_nothing_cost_little() {
    let world = World::new();
    let echo = Echo::new(&world);
    let alone = echo.keys(100);
    noisy(&world);
    let before = memory(&world);
    let mut views: Vec<Client> = (0..100u8).map(|_| Client::new(&world)).collect();
    for (n, view) in views.iter_mut().enumerate() {
        view.attach("noisy", [n as u8 + 1; 16], u64::MAX);
    }
    for _ in 0..100 {
        for view in &mut views {
            view.stream.set_nonblocking(true).expect("a socket");
            view.send(&Frame::Subscribe(m::Subscribe::default()));
        }
    }
    // So much that what all of them allowed would be gigabytes.
    until("much output", LATER, || (world.info("noisy")?["output_bytes"].as_u64()? > 50 << 20).then_some(()));
    echo.stays_as(alone, "views that do not read");
    let grown = memory(&world).saturating_sub(before);
    assert!(grown < 160 << 20, "the manager grew by {grown} bytes");
    // One that begins to read gets all that there is from there on.
    let view = &mut views[0];
    view.stream.set_nonblocking(false).expect("a socket");
    let mut screens = 0;
    let seen = view.until(|frame| {
        screens += usize::from(matches!(frame, Frame::Snapshot { more: false, .. }));
        (screens >= 2).then_some(())
    });
    assert!(seen.is_some(), "it is still a view");
}

#[test]
fn requests_whose_answers_are_not_read_are_not_answered_any_more() {
    let world = World::new();
    let echo = Echo::new(&world);
    let alone = echo.keys(100);
    for n in 0..20 {
        world.create(&format!("s{n}"), "exec cat");
    }
    let before = memory(&world);
    let mut clients: Vec<Client> = (0..20).map(|_| Client::new(&world)).collect();
    for client in &mut clients {
        client.stream.set_nonblocking(true).expect("a socket");
    }
    // Nobody takes requests from them any more: a thousand of each in a row were not heard.
    until("requests that nobody takes", LATER, || {
        let refused = |client: &mut Client| (0..1000).all(|id| !client.list(id));
        let deaf = clients.iter_mut().map(refused).filter(|refused| *refused).count();
        (deaf == clients.len()).then_some(())
    });
    echo.stays_as(alone, "requests without end");
    let grown = memory(&world).saturating_sub(before);
    assert!(grown < 100 << 20, "the manager grew by {grown} bytes");
    assert_eq!(world.list().len(), 21);
}

#[test]
fn large_requests_that_never_end_take_a_bounded_memory() {
    let world = World::new();
    world.create("here", "exec cat");
    let before = memory(&world);
    let frame = Frame::Output { offset: 0, bytes: &vec![7; (1 << 20) - 8] }.to_bytes(0);
    let mut clients: Vec<Client> = (0..300).map(|_| Client::new(&world)).collect();
    for client in &mut clients {
        client.stream.set_write_timeout(Some(Duration::from_secs(5))).expect("a timeout");
        // Refused in the middle of it, as many are.
        let _ = client.stream.write_all(&frame[..frame.len() - 1]);
    }
    let grown = memory(&world).saturating_sub(before);
    assert!(grown < 120 << 20, "the manager grew by {grown} bytes");
    let why = clients[299].why_closed();
    assert!(why.contains("too much is being asked at once"), "{why}");
    assert_eq!(world.list().len(), 1);
}

#[test]
fn idle_connections_keep_nobody_out() {
    let world = World::new();
    world.create("here", "exec cat");
    let mut idle: Vec<Client> = (0..800).map(|_| Client::new(&world)).collect();
    assert_eq!(world.list().len(), 1);
    let mut view = world.attach("here");
    view.type_("still here\r");
    view.wait_text("still here", SOON);
    let why = idle[0].why_closed();
    assert!(why.contains("needed the place"), "{why}");
    assert_eq!(world.list().len(), 1);
    view.kill();
}

#[test]
fn views_and_listeners_leave_a_place_for_the_command_line() {
    let world = World::new();
    world.create("here", "exec cat");
    let mut views: Vec<Client> = (0..600).map(|_| Client::new(&world)).collect();
    let mut refused = 0;
    for (n, view) in views.iter_mut().enumerate() {
        let id = (n as u128 + 1).to_le_bytes();
        view.attach("here", id, 1 << 20);
        let answer = view.until(|frame| match frame {
            Frame::Attached(_) => Some(String::new()),
            Frame::Reply(m::Reply { answer: Some(Answer::Error(error)), .. }) => Some(error.message),
            Frame::Close(close) => Some(close.detail),
            _ => None,
        });
        let answer = answer.unwrap_or_default();
        if !answer.is_empty() {
            refused += 1;
            assert!(answer.contains("as many views") || answer.contains("needed the place"), "{answer}");
        }
    }
    assert!(refused >= 88, "{refused} refused");
    assert_eq!(world.list().len(), 1);
}

#[test]
fn a_view_that_types_beyond_its_window_is_closed_and_the_others_type_on() {
    let world = World::new();
    // It reads nothing until it is told.
    world.create("here", "stty -echo; while [ ! -e go ]; do sleep 0.1; done; while read -r line; do echo \"got <$line>\"; done");
    let view = world.attach("here");
    let mut greedy = Client::new(&world);
    let id = [9; 16];
    greedy.attach("here", id, 1 << 20);
    let piece = [b'x'; 32 * 1024];
    for n in 0..64u64 {
        let view = sessd_proto::Uuid::from_bytes(id);
        greedy.send(&Frame::Input { view, seq: n * piece.len() as u64, withdrawn: false, bytes: &piece });
    }
    let why = greedy.why_closed();
    assert!(why.contains("more than may be typed ahead"), "{why}");
    until("the other view is alone", SOON, || {
        let info = world.info("here").expect("it is there");
        assert_eq!(info["state"], "running", "{info:#}");
        (info["views"].as_array().map(Vec::len) == Some(1)).then_some(())
    });
    fs::write(world.home().join("go"), "").expect("a file");
    view.type_("\rstill here\r");
    view.wait_text("got <still here>", SOON);
}

#[test]
fn a_view_that_changes_its_size_without_end_slows_nobody() {
    let world = World::new();
    let echo = Echo::new(&world);
    let alone = echo.keys(100);
    world.create("here", "seq 1 20000; exec cat");
    let view = world.attach("here");
    view.wait_text("20000", SOON);
    let mut storm = Client::new(&world);
    storm.attach("here", [9; 16], 1 << 40);
    storm.stream.set_nonblocking(true).expect("a socket");
    let mut bytes = Vec::new();
    for n in 0..20_000u32 {
        Frame::Resize(m::Resize { cols: 20 + n % 100, rows: 24 }).put(0, &mut bytes);
    }
    let going = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true));
    let goes = going.clone();
    let storming = std::thread::spawn(move || {
        let (mut sent, mut sink) = (0, vec![0; 1 << 16]);
        while goes.load(std::sync::atomic::Ordering::Relaxed) {
            sent += storm.stream.write(&bytes[sent % bytes.len()..]).unwrap_or(0);
            let _ = storm.stream.read(&mut sink);
        }
        sent
    });
    echo.stays_as(alone, "a view's sizes");
    going.store(false, std::sync::atomic::Ordering::Relaxed);
    assert!(storming.join().expect("the storm") > 0);
    view.type_("still here\r");
    view.wait_text("still here", SOON);
}

#[test]
fn nobody_becomes_another_view_by_its_id() {
    let world = World::new();
    world.create("here", "stty -echo; echo ready; while read -r line; do echo \"got <$line>\"; done");
    let view = world.attach("here");
    view.wait_text("ready", SOON);
    let info = world.info("here").expect("it is there");
    let id = info["views"][0]["id"].as_str().expect("a view's id").to_owned();
    let mut thief = Client::new(&world);
    thief.attach("here", *sessd_proto::Uuid::parse_str(&id).expect("an id").as_bytes(), 1 << 20);
    let answer = thief.until(|frame| match frame {
        Frame::Attached(_) => Some("it is attached".to_owned()),
        Frame::Reply(m::Reply { answer: Some(Answer::Error(error)), .. }) => Some(error.message),
        _ => None,
    });
    assert!(answer.as_deref().is_some_and(|a| a.contains("attached to the session already")), "{answer:?}");
    view.type_("mine\r");
    view.wait_text("got <mine>", SOON);
}
