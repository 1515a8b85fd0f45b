//! An agent that lies, hangs or floods: one clear line, and everybody else carries on.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use sessd_tests::world::{files_below, set_mode};
use sessd_tests::{SOON, SshConfig, Sshd, View, World, procs};

const ANSWER: &str = "stty -echo; echo ready; while read -r line; do echo \"got <$line>\"; done";

fn answers(view: &View, word: &str) {
    view.type_(format!("{word}\r"));
    view.wait_text(&format!("got <{word}>"), SOON);
}

/// The agent's programs on a host.
fn agent_programs(host: &Sshd) -> Vec<PathBuf> {
    let mut programs = Vec::new();
    files_below(&host.home(), &mut |path| {
        let Ok(data) = fs::symlink_metadata(path) else { return };
        let is_program = data.is_file() && data.permissions().mode() & 0o100 != 0;
        if is_program && fs::read(path).is_ok_and(|bytes| bytes.starts_with(b"\x7fELF")) {
            programs.push(path.to_owned());
        }
    });
    programs
}

/// Replaces the agent that is installed on a host by a script.
fn replace_agent(host: &Sshd, script: &str) {
    let programs = agent_programs(host);
    assert!(!programs.is_empty(), "no agent is installed below {}", host.home().display());
    for path in programs {
        // By a rename: a program that runs cannot be written to.
        let new = path.with_extension("new");
        fs::write(&new, format!("#!/bin/sh\n{script}\n")).expect("a fake agent");
        set_mode(&new, 0o755);
        fs::rename(&new, &path).expect("the agent's place");
    }
}

/// With `script` in the place of the agent on `bad`, everything on `good` and on this machine goes on, and `bad` is
/// one clear line, or healed by a new installation.
fn lying_agent(script: &str) {
    let mut world = World::new();
    let (bad, good) = (Sshd::start_in(&world, "h1"), Sshd::start_in(&world, "h2"));
    SshConfig::new(&mut world).host("bad", &bad).host("good", &good);
    world.create_on("good", "over-there", ANSWER);
    world.create("here", ANSWER);
    let views = [world.attach("over-there"), world.attach("here")];
    for view in &views {
        view.wait_text("ready", SOON);
    }
    world.create_on("bad", "first", "exec cat");
    world.ok(&["delete", "first", "--force"]);
    replace_agent(&bad, script);
    // The link that is up was made by the true agent: make it anew.
    for agent in world.agents(&bad.home(), "serve") {
        procs::signal(agent, rustix::process::Signal::KILL);
        procs::wait_gone(agent, SOON);
    }

    let output = world
        .sessd_within(&["create", "--name", "dev", "--host", "bad", "--", "cat"], Duration::from_secs(45));
    if output.code == 0 {
        // It noticed, and installed the true agent again.
        world.wait_state("dev", "running", SOON);
        assert_eq!(world.agents(&bad.home(), "hold").len(), 1);
    } else {
        let line = world.one_error("create", &output, output.code);
        assert!([1, 5, 7].contains(&output.code), "{line}");
        assert!(line.contains("bad"), "the host is named: {line}");
        assert!(
            line.len() < 600 && !line.contains('\u{1b}'),
            "what the agent printed is not passed on: {line}"
        );
    }
    for (n, view) in views.iter().enumerate() {
        answers(view, &format!("still here {n}"));
    }
    let manager = world.manager_pid();
    let memory = procs::private_memory(manager).expect("the manager's memory");
    assert!(memory < 300 << 20, "the manager has {memory} bytes");
    world.create_on("good", "more", "exec cat");
    world.wait_state("more", "running", SOON);
}

#[test]
fn an_agent_that_prints_garbage_is_one_clear_line() {
    lying_agent("head -c 100000 /dev/urandom; exec cat >/dev/null");
}

#[test]
fn an_agent_that_prints_text_and_ends_is_one_clear_line() {
    lying_agent("printf '\\033[31mSegmentation fault\\033[0m\\n'; echo 'line two'; exit 139");
}

#[test]
fn an_agent_that_says_nothing_is_one_clear_line() {
    lying_agent("exec cat >/dev/null");
}

#[test]
fn an_agent_that_floods_is_one_clear_line() {
    lying_agent("exec cat /dev/zero");
}

#[test]
fn an_agent_that_promises_a_huge_frame_is_one_clear_line() {
    lying_agent("while :; do printf '\\377\\377\\377\\377\\001\\000\\000\\000'; done");
}

#[test]
fn a_wedged_holder_is_one_session_and_not_all() {
    let mut world = World::new();
    let host = Sshd::start_in(&world, "h1");
    SshConfig::new(&mut world).host("box", &host);
    world.create_on("box", "wedged", ANSWER);
    let before = world.agents(&host.home(), "hold");
    world.create_on("box", "fine", ANSWER);
    let view = world.attach("fine");
    view.wait_text("ready", SOON);
    assert_eq!(before.len(), 1);
    procs::signal(before[0], rustix::process::Signal::STOP);
    answers(&view, "still here");
    world.create_on("box", "new", "exec cat");
    world.wait_state("new", "running", SOON);
    assert_eq!(world.list().len(), 3);
    procs::signal(before[0], rustix::process::Signal::CONT);
    let view = world.attach("wedged");
    view.wait_text("ready", SOON);
    answers(&view, "awake");
}

#[test]
fn a_killed_holder_is_said_and_the_others_carry_on() {
    let mut world = World::new();
    let host = Sshd::start_in(&world, "h1");
    SshConfig::new(&mut world).host("box", &host);
    world.create_on("box", "victim", "exec cat");
    let victim = world.agents(&host.home(), "hold");
    world.create_on("box", "fine", ANSWER);
    let view = world.attach("fine");
    view.wait_text("ready", SOON);
    procs::signal(victim[0], rustix::process::Signal::KILL);
    let info = world.wait_state("victim", "done", SOON * 2);
    assert_eq!(
        info["end"]["reason"], "lost",
        "a job whose holder is gone is not said to have exited: {info:#}"
    );
    answers(&view, "still here");
}
