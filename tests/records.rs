//! Records tell the truth: the end of a session and its last screen, events, full disks, two managers, other versions.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use sessd_proto::messages::{Act, Empty, Hello, LinkAct, LinkAnswer, LinkRequest, List, Request};
use sessd_proto::{Decoder, Frame, hello};
use sessd_tests::world::{files_below, set_mode};
use sessd_tests::{LATER, Numbers, SOON, SshConfig, Sshd, World, procs, until, until_or};

fn file(world: &World, name: &str) -> PathBuf {
    world.root().join(name)
}

// ---- done records

#[test]
fn attach_to_a_done_session_shows_its_end_and_ends_with_its_code() {
    let world = World::new();
    world.create("dev", "printf '\\033[31mred\\033[m words\\n'; i=0; while [ $i -lt 100 ]; do echo line $i; i=$((i+1)); done; exit 7");
    world.wait_state("dev", "done", SOON);
    let shown = world.sessd(&["attach", "dev"]);
    assert_eq!(shown.code, 7, "{shown:#?}");
    assert!(
        shown.stdout.starts_with("red words\nline 0\nline 1\n") && shown.stdout.ends_with("line 99\n"),
        "{}",
        shown.stdout
    );
    assert!(
        shown.stderr.contains("exited 7") && shown.stderr.contains("sessd restart dev"),
        "{}",
        shown.stderr
    );
    // The same after the manager died, and to a terminal; anything but yes leaves it as it is.
    world.kill_manager();
    let mut view = world.attach("dev");
    view.wait_text("restart? [y/N]", SOON);
    view.wait_text("line 99", SOON);
    view.type_("\r");
    assert_eq!(view.wait_exit(SOON), 7);
    assert_eq!(world.info("dev").expect("known")["state"], "done");
}

#[test]
fn attach_to_a_done_session_restarts_it_when_told_so() {
    let world = World::new();
    let count = file(&world, "count");
    world.create(
        "dev",
        &format!(
            "echo x >>{0}; if [ $(wc -l <{0}) -gt 1 ]; then echo second run; exec cat; fi",
            count.display()
        ),
    );
    world.wait_state("dev", "done", SOON);
    let view = world.attach("dev");
    view.wait_text("restart? [y/N]", SOON);
    view.type_("y\r");
    view.wait_text("second run", SOON);
    world.wait_state("dev", "running", SOON);
}

#[test]
fn a_job_that_ended_while_the_manager_was_away_has_its_last_screen_too() {
    let world = World::new();
    let go = Numbers::new(world.root());
    world.create("dev", &format!("{}; echo last words; exit 3", go.script()));
    let pid = go.pid();
    go.emit(50);
    world.kill_manager();
    drop(go);
    procs::wait_gone(pid, SOON);
    world.wait_state("dev", "done", SOON);
    let shown = world.sessd(&["attach", "dev"]);
    assert_eq!(shown.code, 3, "{shown:#?}");
    assert!(shown.stdout.contains("n:000000") && shown.stdout.ends_with("last words\n"), "{shown:#?}");
    until("the host to have forgotten it", SOON, || {
        let mut left = 0;
        files_below(&world.home().join(".local/state/sessd-agent/jobs"), &mut |_| left += 1);
        (left == 0).then_some(())
    });
}

#[test]
fn done_records_are_kept_as_long_as_the_configuration_says() {
    let world = World::new();
    fs::write(world.config(), "keep_done = '1s'\n").expect("the configuration");
    world.create("dev", "exit 0");
    let done = world.wait_state("dev", "done", SOON);
    assert_eq!(done["end"]["code"], 0);
    until("a second to have passed", SOON, || {
        world.kill_manager();
        world.info("dev").is_none().then_some(())
    });
}

#[test]
fn a_restart_that_cannot_be_leaves_the_session_as_it_was() {
    let world = World::new();
    let folder = file(&world, "folder");
    fs::create_dir(&folder).expect("a folder");
    world.ok(&[
        "create",
        "--name",
        "dev",
        "--cwd",
        folder.to_str().expect("text"),
        "--",
        "sh",
        "-c",
        "echo first; exit 7",
    ]);
    let before = world.wait_state("dev", "done", SOON);
    fs::remove_dir(&folder).expect("the folder");
    let output = world.sessd(&["restart", "dev"]);
    if output.code == 0 {
        // An agent that starts a job in the home when its folder is gone runs it, which is as good.
        return;
    }
    let after = world.info("dev").expect("it is still there");
    assert_eq!((&after["state"], &after["end"]["code"]), (&before["state"], &before["end"]["code"]));
    world.kill_manager();
    let after = world.info("dev").expect("it is still there");
    assert_eq!((&after["state"], &after["end"]), (&before["state"], &before["end"]));
    assert!(world.sessd(&["attach", "dev"]).stdout.contains("first"));
}

// ---- events

struct Heard {
    child: std::process::Child,
    path: PathBuf,
}

impl Heard {
    fn start(world: &World) -> Heard {
        let path = file(world, "events");
        let out = fs::File::create(&path).expect("a file");
        let child = world
            .command(&["events", "--json"])
            .stdin(Stdio::null())
            .stdout(out)
            .spawn()
            .expect("sessd events");
        Heard { child, path }
    }

    fn all(&self) -> Vec<Value> {
        let text = fs::read_to_string(&self.path).unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    fn wait(&self, what: &str, fact: impl Fn(&Value) -> bool) {
        until_or(what, SOON, || self.all().iter().any(&fact).then_some(()), || format!("{:#?}", self.all()));
    }
}

impl Drop for Heard {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn every_change_is_an_event() {
    let world = World::new();
    world.ok(&["daemon"]);
    let heard = Heard::start(&world);
    // Whether it listens already is seen from an event: made until one came.
    until("the first event", SOON, || {
        world.create("probe", "exec cat");
        world.ok(&["delete", "probe", "--force"]);
        (!heard.all().is_empty()).then_some(())
    });
    world.create("dev", "read line; exit 7");
    heard.wait("created", |e| e["event"] == "created" && e["name"] == "dev");
    heard.wait("running", |e| {
        e["event"] == "state" && e["name"] == "dev" && e["state"] == "running" && e["was"] == "init"
    });
    world.ok(&["tag", "dev", "--name", "new", "k=v"]);
    heard.wait("named", |e| e["event"] == "name" && e["name"] == "new" && e["was"] == "dev");
    heard.wait("tagged", |e| e["event"] == "tags" && e["tags"] == json!({"k": "v"}));
    let view = world.attach("new");
    heard.wait("attached", |e| {
        e["event"] == "view-attached" && e["name"] == "new" && e["view"]["kind"] == "cli"
    });
    world.ok(&["detach", "new"]);
    heard.wait("left", |e| e["event"] == "view-left" && e["name"] == "new");
    drop(view);
    let view = world.attach("new");
    view.type_("\r");
    heard.wait("done", |e| e["event"] == "state" && e["state"] == "done" && e["end"]["code"] == 7);
    world.ok(&["delete", "new"]);
    heard.wait("deleted", |e| e["event"] == "deleted" && e["name"] == "new");
    // The agent's end is a change of the link.
    world.create("more", "exec cat");
    for agent in world.agents(&world.home(), "serve") {
        procs::signal(agent, rustix::process::Signal::KILL);
    }
    heard.wait("link down", |e| e["event"] == "link" && e["host"] == "local" && e["link"] != "local");
    heard.wait("disconnected", |e| {
        e["event"] == "state" && e["name"] == "more" && e["state"] == "disconnected"
    });
    // Killed, the manager is another; it is listened to as soon as there is one.
    world.kill_manager();
    until("an event of the next manager", SOON, || {
        world.ok(&["tag", "more", "n=1"]);
        world.ok(&["tag", "more", "n-"]);
        heard.all().iter().any(|e| e["event"] == "tags" && e["tags"] == json!({"n": "1"})).then_some(())
    });
}

// ---- bad input

/// A small file system for the manager's home, which can be filled. `None` where that is not allowed.
struct Small(PathBuf);

impl Small {
    fn mount(at: &Path) -> Option<Small> {
        fs::create_dir_all(at).expect("a folder");
        let status = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=2m,mode=700", "tmpfs"])
            .arg(at)
            .stderr(Stdio::null())
            .status();
        status.is_ok_and(|s| s.success()).then(|| Small(at.to_owned()))
    }

    fn fill(&self) {
        let mut file = fs::File::create(self.0.join("ballast")).expect("a file");
        while file.write_all(&[0; 4096]).is_ok() {}
        while file.write_all(&[0; 1]).is_ok() {}
    }

    fn empty(&self) {
        fs::remove_file(self.0.join("ballast")).expect("the ballast");
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // Lazily: the manager may still have its files open.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_is_one_line_and_nothing_is_lost() {
    let mut world = World::new();
    let home = file(&world, "small");
    let Some(small) = Small::mount(&home) else {
        eprintln!("no file system can be mounted here: not tested");
        return;
    };
    world.set_env("SESSD_HOME", home.display().to_string());
    let go = Numbers::new(world.root());
    // Its last screen is larger than what an attempt that failed may have left free in the database's files.
    let long = "i=0; while [ $i -lt 900 ]; do printf '%0400d\\n' $i; i=$((i+1)); done";
    world.create("ends", &format!("{}; {long}; echo last words; exit 7", go.script()));
    let pid = go.pid();
    world.create("stays", "stty -echo; echo ready; while read -r line; do echo \"got <$line>\"; done");
    let view = world.attach("stays");
    view.wait_text("ready", SOON);
    let manager = world.manager_pid();
    small.fill();
    let line = world.fails(&["create", "--name", "more", "--", "cat"], 1);
    assert!(line.contains("database"), "{line}");
    world.fails(&["tag", "stays", "k=v"], 1);
    // The end cannot be written down: so it is not said, and not forgotten.
    drop(go);
    procs::wait_gone(pid, SOON);
    view.type_("still here\r");
    view.wait_text("got <still here>", SOON);
    assert_ne!(world.info("ends").expect("known")["state"], "done");
    assert_eq!(world.info("stays").expect("known")["tags"], json!({}));
    small.empty();
    let done = world.wait_state("ends", "done", LATER);
    assert_eq!(done["end"]["code"], 7);
    assert!(world.sessd(&["attach", "ends"]).stdout.ends_with("last words\n"));
    world.ok(&["tag", "stays", "k=v"]);
    world.create("more", "exec cat");
    assert_eq!(world.manager_pid(), manager);
    world.kill_manager();
    assert_eq!(world.wait_state("ends", "done", SOON)["end"]["code"], 7);
    for manager in world.managers() {
        procs::signal(manager, rustix::process::Signal::KILL);
        procs::wait_gone(manager, SOON);
    }
}

#[test]
fn two_managers_with_two_sockets_do_not_share_a_database() {
    let mut world = World::new();
    let (state, config) = (file(&world, "state"), file(&world, "config"));
    fs::create_dir(&state).expect("a folder");
    world.set_env("SESSD_HOME", "");
    world.set_env("XDG_CONFIG_HOME", config.display().to_string());
    world.set_env("XDG_STATE_HOME", state.display().to_string());
    world.create("dev", "exec cat");
    let link = file(&world, "link");
    std::os::unix::fs::symlink(&state, &link).expect("a link");
    let run = file(&world, "run2");
    fs::create_dir(&run).expect("a folder");
    let mut command = world.command(&["list"]);
    command.env("XDG_STATE_HOME", &link).env("XDG_RUNTIME_DIR", &run);
    let output = world.finish(command, b"", SOON);
    let line = world.one_error("list", &output, 1);
    assert!(line.contains("another manager"), "{line}");
    world.wait_state("dev", "running", SOON);
    world.ok(&["daemon", "stop"]);
    let mut command = world.command(&["info", "dev"]);
    command.env("XDG_STATE_HOME", &link).env("XDG_RUNTIME_DIR", &run);
    assert_eq!(world.finish(command, b"", SOON).code, 0, "with the first gone the second may");
}

// ---- many

#[test]
fn a_list_longer_than_a_frame_arrives_whole() {
    let world = World::new();
    let long = "x".repeat(100_000);
    for n in 0..14 {
        world.ok(&["create", "--name", &format!("s{n}"), "--", "sh", "-c", "exec cat", &long]);
    }
    assert_eq!(world.list().len(), 14);
}

// ---- versions

fn replace_agent(host: &Sshd, script: &str) {
    let mut programs = Vec::new();
    files_below(&host.home(), &mut |path| {
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("sessd-agent-")) {
            programs.push(path.to_owned());
        }
    });
    assert!(!programs.is_empty());
    for path in programs {
        let new = path.with_extension("new");
        fs::write(&new, format!("#!/bin/sh\n{script}\n")).expect("a fake agent");
        set_mode(&new, 0o755);
        fs::rename(&new, &path).expect("the agent's place");
    }
}

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
        assert!(line.contains("older"), "{range:?}: {line}");
        assert_ne!(world.info("dev").expect("known")["state"], "running");
    }
}

fn talk(stream: &mut (impl Read + Write), decoder: &mut Decoder, fact: impl Fn(&Frame<'_>) -> bool) {
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
    talk(&mut stream, &mut decoder, |frame| matches!(frame, Frame::Unsupported(u) if u.kind == 0x7e));
    stream.write_all(&from_the_future(0xfe)).expect("written");
    let list = Request { id: 5, act: Some(Act::List(List { all: true, ..List::default() })) };
    stream.write_all(&with_new_field(&Frame::Request(list))).expect("written");
    talk(
        &mut stream,
        &mut decoder,
        |frame| matches!(frame, Frame::Reply(r) if r.id == 5 && r.answer.is_some()),
    );
    stream.write_all(&Frame::Request(Request { id: 6, act: None }).to_bytes(0)).expect("written");
    talk(&mut stream, &mut decoder, |frame| matches!(frame, Frame::Reply(r) if r.id == 6));
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
    let mut agent = None;
    files_below(&world.home().join(".local/state/sessd-agent/bin"), &mut |path| {
        agent = Some(path.to_owned())
    });
    let mut child = world
        .program(agent.expect("an agent"))
        .arg("serve")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the agent runs");
    let mut pipes = Pipes(child.stdin.take().expect("a pipe"), child.stdout.take().expect("a pipe"));
    let mut decoder = Decoder::new();
    pipes.write_all(&with_new_field(&Frame::Hello(hello::hello("9.9.9", "")))).expect("written");
    pipes.write_all(&from_the_future(0x7e)).expect("written");
    talk(&mut pipes, &mut decoder, |frame| matches!(frame, Frame::Unsupported(u) if u.kind == 0x7e));
    let inventory = LinkRequest { id: 5, act: Some(LinkAct::Inventory(Empty {})) };
    pipes.write_all(&with_new_field(&Frame::LinkRequest(inventory))).expect("written");
    talk(
        &mut pipes,
        &mut decoder,
        |frame| matches!(frame, Frame::LinkReply(r) if r.id == 5 && matches!(&r.answer, Some(LinkAnswer::Inventory(i)) if i.jobs.len() == 1)),
    );
    pipes.write_all(&Frame::LinkRequest(LinkRequest { id: 6, act: None }).to_bytes(0)).expect("written");
    talk(&mut pipes, &mut decoder, |frame| matches!(frame, Frame::LinkReply(r) if r.id == 6));
    drop(pipes);
    child.wait().expect("it ends with its link");
}
