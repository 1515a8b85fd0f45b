//! Programs of different versions: what the first manager, the first agent and the first holder said, recorded from their
//! real programs (`golden/`), is understood by those of today, and two that cannot speak with each other say so in one line.

use std::fs::{self};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use sessd_proto::messages::{
    Act, EndReason, ExitRecord, Hello, InventoryRequest, JobStatus, LinkAct, LinkAnswer, LinkRequest, List,
    Request,
};
use sessd_proto::{Decoder, Frame, hello};
use sessd_tests::first_agent::{Host, recorded, replace_agent};
use sessd_tests::world::{files_below, sessd_binary};
use sessd_tests::{Numbers, SOON, SshConfig, Sshd, View, World, check_numbers, numbers_in, procs, until};

const FIRST_MANAGER: &str = include_str!("golden/first_manager.txt");
const FIRST_JOB: &str = include_str!("golden/first_job.txt");

fn file(world: &World, name: &str) -> PathBuf {
    world.root().join(name)
}

/// The agent's program that the manager has put on this machine.
fn installed_agent(world: &World) -> PathBuf {
    let mut agent = None;
    files_below(&world.home().join(".local/state/sessd-agent/bin"), &mut |path| {
        agent = Some(path.to_owned())
    });
    agent.expect("an agent")
}

// ---- the first manager, the agent of today

/// The agent of today as a manager hears it.
struct Agent {
    child: Child,
    stdin: std::process::ChildStdin,
    heard: Receiver<(u16, Vec<u8>)>,
    all: Vec<(u16, Vec<u8>)>,
}

impl Agent {
    fn start(world: &World) -> Agent {
        let mut child = world
            .program(installed_agent(world))
            .arg("serve")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the agent runs");
        let (stdin, mut stdout) = (child.stdin.take().expect("a pipe"), child.stdout.take().expect("a pipe"));
        let (tell, heard) = channel();
        thread::spawn(move || {
            let (mut decoder, mut buffer) = (Decoder::new(), [0; 4096]);
            while let Ok(n @ 1..) = stdout.read(&mut buffer) {
                decoder.push(&buffer[..n]);
                while let Ok(Some(raw)) = decoder.next_frame() {
                    let mut bytes = Vec::new();
                    raw.relay(raw.stream, &mut bytes);
                    if tell.send((raw.stream, bytes)).is_err() {
                        return;
                    }
                }
            }
        });
        Agent { child, stdin, heard, all: Vec::new() }
    }

    fn say(&mut self, bytes: &[u8]) {
        self.stdin.write_all(bytes).expect("the agent listens");
    }

    /// Waits for a frame on `stream`, also among those that came before.
    fn wait<T>(&mut self, what: &str, stream: u16, fact: impl Fn(&Frame<'_>) -> Option<T>) -> T {
        let mut at = 0;
        loop {
            while let Some((of, bytes)) = self.all.get(at) {
                at += 1;
                let mut decoder = Decoder::new();
                decoder.push(bytes);
                let raw = decoder.next_frame().expect("a frame").expect("a frame");
                if *of == stream
                    && let Some(found) = fact(&raw.parse().expect("a frame"))
                {
                    return found;
                }
            }
            match self.heard.recv_timeout(SOON) {
                Ok(frame) => self.all.push(frame),
                Err(error) => panic!("waited in vain for {what}: {error}"),
            }
        }
    }

    fn answer(&mut self, id: u64) -> LinkAnswer {
        self.wait(&format!("the answer {id}"), 0, |frame| match frame {
            Frame::LinkReply(reply) if reply.id == id => reply.answer.clone(),
            _ => None,
        })
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn parsed(bytes: &[u8]) -> (u16, Frame<'static>) {
    let mut decoder = Decoder::new();
    decoder.push(bytes);
    let raw = decoder.next_frame().expect("a frame").expect("a frame");
    let frame = match raw.parse().expect("a frame that we know") {
        Frame::Input { view, seq, withdrawn, bytes } => {
            Frame::Input { view, seq, withdrawn, bytes: bytes.to_vec().leak() }
        }
        Frame::Hello(hello) => Frame::Hello(hello),
        Frame::Ping(token) => Frame::Ping(token),
        Frame::LinkRequest(request) => Frame::LinkRequest(request),
        Frame::Subscribe(subscribe) => Frame::Subscribe(subscribe),
        Frame::End(end) => Frame::End(end),
        Frame::LinkReply(reply) => Frame::LinkReply(reply),
        _ => Frame::Unknown(raw.kind),
    };
    (raw.stream, frame)
}

#[test]
fn the_agent_of_today_does_what_the_first_manager_says() {
    let world = World::new();
    world.create("probe", "true");
    world.wait_state("probe", "done", SOON);
    world.ok(&["daemon", "stop"]);
    let mut agent = Agent::start(&world);
    for (name, bytes) in recorded(FIRST_MANAGER) {
        let (stream, frame) = parsed(&bytes);
        if let Frame::Input { .. } = frame {
            // What was told before the first key: the new name, in a message without the fields of today.
            let ask = LinkRequest { id: 900, act: Some(LinkAct::Inventory(InventoryRequest::default())) };
            agent.say(&Frame::LinkRequest(ask).to_bytes(0));
            let LinkAnswer::Inventory(inventory) = agent.answer(900) else { panic!("an inventory") };
            let specs: Vec<_> = inventory.jobs.iter().filter_map(|job| job.spec.as_ref()).collect();
            assert_eq!(specs.len(), 1, "the other is deleted and forgotten: {specs:#?}");
            assert_eq!((specs[0].name.as_str(), specs[0].tags.len()), ("new", 2), "{specs:#?}");
        }
        agent.say(&bytes);
        match frame {
            Frame::Hello(_) => agent.wait("a greeting", stream, |f| {
                matches!(f, Frame::Hello(theirs) if hello::negotiate(theirs).is_ok()).then_some(())
            }),
            Frame::Ping(token) => agent
                .wait("a pong", stream, |f| matches!(f, Frame::Pong(same) if *same == token).then_some(())),
            Frame::LinkRequest(LinkRequest { id, act: Some(act) }) => {
                let answer = agent.answer(id);
                let fits = match act {
                    LinkAct::Inventory(_) => {
                        matches!(&answer, LinkAnswer::Inventory(i) if i.complete && i.jobs.is_empty())
                    }
                    LinkAct::Spawn(_) => matches!(&answer, LinkAnswer::Spawned(s) if s.pid > 0),
                    LinkAct::Forget(_) => matches!(answer, LinkAnswer::Done(_)),
                    _ => false,
                };
                assert!(fits, "{name} {id}: {answer:?}");
            }
            Frame::Subscribe(_) => {
                agent.wait("a status", stream, |f| {
                    matches!(f, Frame::Status(s) if s.pid > 0 && (s.cols, s.rows) == (80, 24)).then_some(())
                });
                agent.wait("a screen", stream, |f| matches!(f, Frame::Snapshot { .. }).then_some(()));
            }
            Frame::Input { view, bytes, .. } => {
                let end = bytes.len() as u64;
                agent.wait("the acknowledgement", stream, |f| {
                    matches!(f, Frame::InputAck { view: of, seq } if *of == view && *seq == end).then_some(())
                });
                agent.wait("the answer", stream, |f| {
                    matches!(f, Frame::Output { bytes, .. } if procs::find(bytes, b"got <hello>").is_some())
                        .then_some(())
                });
                let exit = agent.wait("the end", stream, |f| match f {
                    Frame::Exited(exit) => Some(exit.clone()),
                    _ => None,
                });
                assert_eq!((exit.reason, exit.code), (EndReason::Exited as i32, Some(7)));
            }
            Frame::End(_) => {
                let reason = agent.wait("the end", stream, |f| match f {
                    Frame::Exited(exit) => Some(exit.reason),
                    _ => None,
                });
                assert_eq!(reason, EndReason::Deleted as i32);
            }
            _ => {}
        }
    }
    until("both holders to be gone", SOON, || world.agents(&world.home(), "hold").is_empty().then_some(()));
}

// ---- the first agent, the manager of today

#[test]
fn the_manager_of_today_holds_a_job_of_the_first_agent() {
    let host = Host::start();
    let world = &host.world;
    let info = world.wait_state("dev", "running", SOON);
    assert_eq!(info["tags"], json!({"team": "ml"}));
    assert_eq!((&info["foreground"], &info["agent_version"]), (&"sh".into(), &"0.1.0".into()), "{info:#}");
    let mut view = world.attach("dev");
    view.wait_text("ready", SOON);
    view.type_("hello\r");
    view.wait_text("got <hello>", SOON);
    assert_eq!(view.wait_exit(SOON), 7);
    let done = world.wait_state("dev", "done", SOON);
    assert_eq!((&done["end"]["reason"], &done["end"]["code"]), (&"exited".into(), &7.into()), "{done:#}");
    let shown = world.sessd(&["attach", "dev"]);
    assert!(shown.stdout.contains("ready\ngot <hello>"), "{shown:#?}");
    host.finish();
}

#[test]
fn the_end_of_a_job_of_the_first_agent_is_told_though_nobody_looks() {
    let host = Host::start();
    host.world.wait_state("dev", "running", SOON);
    host.end(ExitRecord { reason: EndReason::Exited as i32, code: Some(3), ..ExitRecord::default() });
    let done = host.world.wait_state("dev", "done", SOON);
    assert_eq!((&done["end"]["reason"], &done["end"]["code"]), (&"exited".into(), &3.into()), "{done:#}");
    host.finish();
}

/// A host whose clock is wrong, or runs backwards: an end is neither before its beginning nor after now, and its record is
/// neither forgotten at once nor kept for ever.
#[test]
fn a_host_with_a_wrong_clock_makes_no_impossible_end() {
    for at_ms in [1_000, 4_102_444_800_000, u64::MAX] {
        let host = Host::start();
        let world = &host.world;
        let made = world.wait_state("dev", "running", SOON)["created_at"].clone();
        let exit =
            ExitRecord { reason: EndReason::Exited as i32, code: Some(3), at_ms, ..ExitRecord::default() };
        host.end(exit);
        let done = world.wait_state("dev", "done", SOON);
        let at = done["end"]["at"].as_str().expect("a time").to_owned();
        let now = world.json(&["daemon", "status"])["since"].as_str().expect("a time")[..10].to_owned();
        assert!(Some(at.as_str()) >= made.as_str(), "{at_ms}: {at} is before {made}");
        assert!(at[..10] <= *now || at[..4] == now[..4], "{at_ms}: {at} is after {now}");
        world.kill_manager();
        assert_eq!(world.info("dev").expect("still kept")["end"]["code"], 3);
        host.finish();
    }
}

/// The clock of a host is days behind or ahead, and is set while the job runs: every time that is shown is one of ours.
#[test]
fn times_of_a_host_with_a_wrong_clock_are_told_by_ours() {
    const DAYS: u64 = 3 * 24 * 3_600_000;
    let host = Host::start();
    let world = &host.world;
    world.wait_state("dev", "running", SOON);
    let before = world.json(&["daemon", "status"])["since"].as_str().expect("a time").to_owned();
    // Two times of one clock in one form: the text that is less is the earlier one.
    let after = |name: &str| {
        world.create(name, "exec cat");
        world.info(name).expect("known")["created_at"].as_str().expect("a time").to_owned()
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_millis() as u64;
    for (title, theirs) in [("behind", now - DAYS), ("ahead", now + DAYS)] {
        host.say(&Frame::Status(JobStatus {
            title: title.into(),
            last_active_ms: theirs,
            reap_at_ms: Some(theirs + 1),
            now_ms: theirs,
            ..JobStatus::default()
        }));
        let info = world.wait_session("dev", "the status", SOON, |info| info["title"] == title);
        let after = after(title);
        for field in ["last_active_at", "reap_at"] {
            let at = info[field].as_str().expect("a time").to_owned();
            assert!(before < at && at <= after, "{title}: {field} {at} is not from {before} to {after}");
        }
    }
    host.end(ExitRecord {
        reason: EndReason::Exited as i32,
        at_ms: now - DAYS,
        age_ms: Some(1),
        ..ExitRecord::default()
    });
    let done = world.wait_state("dev", "done", SOON);
    let (at, after) = (done["end"]["at"].as_str().expect("a time").to_owned(), after("more"));
    assert!(before < at && at <= after, "{at} is not from {before} to {after}");
    host.finish();
}

#[test]
fn what_the_first_holder_left_on_disk_is_read() {
    let world = World::new();
    world.create("probe", "exec cat");
    world.wait_state("probe", "running", SOON);
    let mut jobs = None;
    files_below(&world.home().join(".local/state/sessd-agent/jobs"), &mut |path| {
        // A job's folder has folders of its own.
        if path.file_name().is_some_and(|name| name == "spec") {
            jobs = path.parent().and_then(Path::parent).map(Path::to_owned);
        }
    });
    let folder = jobs.expect("the folder of jobs").join("01a1fce5-f688-74b2-95be-d8b6447e603e");
    fs::create_dir(&folder).expect("a job's folder");
    for (name, bytes) in recorded(FIRST_JOB) {
        fs::write(folder.join(name), bytes).expect("a file of the job");
    }
    let said = world.ok(&["host", "adopt", "local", "--all"]).stdout;
    assert!(said.starts_with("adopted late (done, signal 15"), "{said}");
    let done = world.wait_state("late", "done", SOON);
    assert_eq!(
        (&done["end"]["reason"], &done["end"]["signal"]),
        (&"signaled".into(), &15.into()),
        "{done:#}"
    );
    let shown = world.sessd(&["attach", "late"]);
    assert_eq!((shown.code, shown.stdout.trim()), (143, "last words"), "{shown:#?}");
}

// ---- an upgrade

#[test]
fn a_view_goes_on_over_an_upgrade_of_the_program() {
    let world = World::new();
    let (program, new) = (file(&world, "sessd"), file(&world, "sessd.new"));
    fs::copy(sessd_binary(), &program).expect("a copy of sessd");
    fs::copy(sessd_binary(), &new).expect("a copy of sessd");
    let numbers = Numbers::new(world.root());
    let run = |args: &[&str]| {
        let mut command = world.program(&program);
        command.args(args);
        command
    };
    let create = run(&["create", "--name", "dev", "--", "sh", "-c", &numbers.script()]);
    assert_eq!(world.finish(create, b"", SOON).code, 0);
    let view = View::spawn(run(&["attach", "dev"]), 80, 24).with_log(world.log());
    numbers.emit(50);
    view.wait_text(&numbers.last_line(), SOON);
    let pid = numbers.pid();
    // As a package does it: the new file takes the place of the one that the view and the manager run.
    fs::rename(&new, &program).expect("the upgrade");
    let before = world.kill_manager();
    numbers.emit(50);
    view.wait_text(&numbers.last_line(), SOON);
    let manager = world.manager_pid();
    assert_ne!(manager, before);
    assert_eq!(fs::read_link(format!("/proc/{manager}/exe")).expect("the manager's program"), program);
    assert_eq!(numbers.pid(), pid);
    check_numbers(&numbers_in(&view.raw()), numbers.asked())
        .unwrap_or_else(|wrong| panic!("{wrong}\n{}", view.describe()));
}

// ---- two that cannot speak with each other, and two that can in part

#[test]
fn an_agent_of_another_major_version_ends_with_7_and_the_older_is_named() {
    let mut world = World::new();
    let host = Sshd::start_in(&world, "h1");
    SshConfig::new(&mut world).host("box", &host);
    world.create_on("box", "dev", "exec cat");
    let ours = hello::hello("9.9.9", "");
    for range in [(ours.proto_max + 1, ours.proto_max + 3), (0, 0)] {
        let greeting = Hello { proto_min: range.0, proto_max: range.1, ..ours.clone() };
        let bytes = file(&world, "greeting");
        fs::write(&bytes, Frame::Hello(greeting).to_bytes(0)).expect("a file");
        replace_agent(&host, &format!("cat {}; exec cat >/dev/null", bytes.display()));
        for agent in world.agents(&host.home(), "serve") {
            procs::signal(agent, rustix::process::Signal::KILL);
            procs::wait_gone(agent, SOON);
        }
        let output = world.sessd(&["create", "--name", "more", "--host", "box", "--", "cat"]);
        if output.code == 0 {
            // It saw that this is not the agent it installed.
            world.ok(&["delete", "more", "--force"]);
            continue;
        }
        let line = world.one_error("create", &output, 7);
        let older = if range.0 == 0 { "the other end (sessd 9.9.9) is older" } else { "this end is older" };
        assert!(line.contains("box") && line.contains(older), "{range:?}: {line}");
        assert_ne!(world.info("dev").expect("known")["state"], "running");
    }
}

fn converse(stream: &mut (impl Read + Write), decoder: &mut Decoder, fact: impl Fn(&Frame<'_>) -> bool) {
    let mut buffer = [0; 16 * 1024];
    loop {
        while let Some(raw) = decoder.next_frame().expect("frames") {
            if raw.parse().is_ok_and(|frame| fact(&frame)) {
                return;
            }
        }
        let n = stream.read(&mut buffer).expect("an answer");
        assert!(n > 0, "it hung up");
        decoder.push(&buffer[..n]);
    }
}

/// A frame of a kind of which no version knows anything yet, and a greeting with a field of the future.
fn from_the_future(kind: u8) -> Vec<u8> {
    let mut bytes = vec![3, 0, 0, 0, kind, 0, 0, 0];
    bytes.extend_from_slice(b"new");
    bytes
}

/// Field 900 of a message, a number.
const NEW_FIELD: &[u8] = &[0xa0, 0x38, 0x07];

fn with_new_field(frame: &Frame<'_>) -> Vec<u8> {
    let mut bytes = frame.to_bytes(0);
    bytes.extend_from_slice(NEW_FIELD);
    let length = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) + NEW_FIELD.len() as u32;
    bytes[..4].copy_from_slice(&length.to_le_bytes());
    bytes
}

#[test]
fn a_manager_skips_what_a_newer_client_says_and_answers_the_rest() {
    let world = World::new();
    world.create("dev", "exec cat");
    let mut stream =
        UnixStream::connect(world.sessd_home().join("sessd.sock")).expect("the manager's socket");
    stream.set_read_timeout(Some(SOON)).expect("a timeout");
    let mut decoder = Decoder::new();
    stream.write_all(&with_new_field(&Frame::Hello(hello::hello("9.9.9", "")))).expect("written");
    stream.write_all(&from_the_future(0x7e)).expect("written");
    converse(&mut stream, &mut decoder, |frame| matches!(frame, Frame::Unsupported(u) if u.kind == 0x7e));
    stream.write_all(&from_the_future(0xfe)).expect("written");
    let list = Request { id: 5, act: Some(Act::List(List { all: true, ..List::default() })) };
    stream.write_all(&with_new_field(&Frame::Request(list))).expect("written");
    converse(
        &mut stream,
        &mut decoder,
        |frame| matches!(frame, Frame::Reply(r) if r.id == 5 && r.answer.is_some()),
    );
    stream.write_all(&Frame::Request(Request { id: 6, act: None }).to_bytes(0)).expect("written");
    converse(&mut stream, &mut decoder, |frame| matches!(frame, Frame::Reply(r) if r.id == 6));
}

struct Pipes(std::process::ChildStdin, std::process::ChildStdout);

impl Read for Pipes {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.1.read(buffer)
    }
}

impl Write for Pipes {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

#[test]
fn an_agent_skips_what_a_newer_manager_says_and_answers_the_rest() {
    let world = World::new();
    world.create("dev", "exec cat");
    let mut child = world
        .program(installed_agent(&world))
        .arg("serve")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the agent runs");
    let mut pipes = Pipes(child.stdin.take().expect("a pipe"), child.stdout.take().expect("a pipe"));
    let mut decoder = Decoder::new();
    pipes.write_all(&with_new_field(&Frame::Hello(hello::hello("9.9.9", "")))).expect("written");
    pipes.write_all(&from_the_future(0x7e)).expect("written");
    converse(&mut pipes, &mut decoder, |frame| matches!(frame, Frame::Unsupported(u) if u.kind == 0x7e));
    let inventory = LinkRequest { id: 5, act: Some(LinkAct::Inventory(InventoryRequest::default())) };
    pipes.write_all(&with_new_field(&Frame::LinkRequest(inventory))).expect("written");
    converse(
        &mut pipes,
        &mut decoder,
        |frame| matches!(frame, Frame::LinkReply(r) if r.id == 5 && matches!(&r.answer, Some(LinkAnswer::Inventory(i)) if i.jobs.len() == 1)),
    );
    pipes.write_all(&Frame::LinkRequest(LinkRequest { id: 6, act: None }).to_bytes(0)).expect("written");
    converse(&mut pipes, &mut decoder, |frame| matches!(frame, Frame::LinkReply(r) if r.id == 6));
    drop(pipes);
    child.wait().expect("it ends with its link");
}

/// What stands in for a manager of another major version; it prints its first line when it listens, and ends at a TERM.
const OTHER_MANAGER: &str = "
import socket, sys, threading
door = socket.socket(socket.AF_UNIX)
door.bind(sys.argv[1])
door.listen()
print('ready', flush=True)
kept = []
while True:
    guest, _ = door.accept()
    kept.append(guest)
    guest.sendall(bytes.fromhex(sys.argv[2]))
";

#[test]
fn a_manager_of_another_major_version_is_said_and_can_be_replaced() {
    let mut world = World::new();
    let other = file(&world, "other");
    fs::create_dir(&other).expect("a folder");
    world.set_env("SESSD_HOME", other.display().to_string());
    for (range, older) in [((8, 9), "this end is older"), ((0, 0), "the other end (sessd 9.9.9) is older")] {
        let greeting = Hello { proto_min: range.0, proto_max: range.1, ..hello::hello("9.9.9", "") };
        let hex: String = Frame::Hello(greeting).to_bytes(0).iter().map(|b| format!("{b:02x}")).collect();
        let mut command = world.program("python3");
        command.args(["-c", OTHER_MANAGER]).arg(other.join("sessd.sock")).arg(hex).stdout(Stdio::piped());
        let Ok(mut child) = command.spawn() else {
            eprintln!("there is no python3 here: not tested");
            return;
        };
        let mut ready = [0; 6];
        child.stdout.take().expect("a pipe").read_exact(&mut ready).expect("it listens");
        for args in [&["list"][..], &["create", "--", "cat"], &["attach", "dev"]] {
            let line = world.fails(args, 7);
            assert!(line.contains(older) && line.contains("sessd daemon restart"), "{line}");
        }
        assert_eq!(world.json_error(&["list"], 7)["kind"], "version-skew");
        // And what the line says to do works.
        thread::scope(|scope| {
            let restarted = scope.spawn(|| world.ok(&["daemon", "restart"]));
            child.wait().expect("it is told to end");
            restarted.join().expect("another is started");
        });
        assert_eq!(world.json(&["list"]), Value::Array(Vec::new()));
        world.ok(&["daemon", "stop"]);
    }
}
