//! A manager that has never seen the sessions of a host takes them over; both managers may hold them.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use sessd_tests::{LATER, SOON, SshConfig, Sshd, World, procs, until};

const ANSWER: &str = "stty -echo; echo ready; while read -r line; do echo \"got <$line>\"; done";

/// From here on another manager, with records of its own.
fn on_machine(world: &mut World, name: &str) {
    let other = world.root().join(name);
    world.set_env("SESSD_HOME", other.display().to_string());
    world.set_env("USER", name);
}

fn other_machine(world: &mut World) {
    on_machine(world, "other");
}

fn back(world: &mut World) {
    let first = world.sessd_home();
    world.set_env("SESSD_HOME", first.display().to_string());
    world.set_env("USER", "");
}

/// What somebody who has never seen the sessions of `host` finds there: names and tags.
fn found_by(world: &mut World, newcomer: &str, host: &str) -> Vec<(String, Value)> {
    on_machine(world, newcomer);
    let adopted = world.json(&["host", "adopt", host]);
    world.ok(&["daemon", "stop"]);
    let sessions = adopted["adopted"].as_array().expect("an array");
    let mut found: Vec<(String, Value)> =
        sessions.iter().map(|s| (s["name"].as_str().unwrap_or("-").to_owned(), s["tags"].clone())).collect();
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found
}

fn names(adopted: &Value) -> Vec<String> {
    let sessions = adopted["adopted"].as_array().expect("an array");
    let mut names: Vec<String> =
        sessions.iter().map(|s| s["name"].as_str().unwrap_or("-").to_owned()).collect();
    names.sort();
    names
}

#[test]
fn sessions_are_adopted_with_all_they_are_and_both_managers_show_them() {
    let mut world = World::new();
    world.ok(&["create", "--name", "dev", "--tag", "team=ml", "--size", "100x30", "--", "sh", "-c", ANSWER]);
    world.ok(&["create", "--", "sh", "-c", "exec cat"]);
    world.create("over", "echo last words; exit 7");
    world.wait_state("over", "done", SOON);
    let there = world.wait_state("dev", "running", SOON);
    let first = world.attach("dev");
    first.wait_text("ready", SOON);

    other_machine(&mut world);
    assert_eq!(world.list(), Vec::<Value>::new());
    let adopted = world.json(&["host", "adopt", "local"]);
    assert_eq!(names(&adopted), ["-", "dev"], "{adopted:#}");
    let here = world.wait_state("dev", "running", SOON);
    for key in ["id", "job_id", "name", "tags", "command", "created_at", "idle_timeout_seconds", "host"] {
        assert_eq!(here[key], there[key], "{key}");
    }
    let second = world.attach("dev");
    second.wait_text("ready", SOON);
    second.type_("from the second\r");
    for view in [&first, &second] {
        view.wait_text("got <from the second>", SOON);
    }
    first.type_("from the first\r");
    for view in [&first, &second] {
        view.wait_text("got <from the first>", SOON);
    }
    let again = world.json(&["host", "adopt", "local"]);
    assert_eq!(names(&again), Vec::<String>::new(), "once is enough: {again:#}");
    assert!(world.ok(&["host", "adopt", "local"]).stdout.contains("nothing new on local"));
}

#[test]
fn a_job_that_ended_while_nobody_listened_is_adopted_as_done_with_its_last_screen() {
    let mut world = World::new();
    let go = world.root().join("go");
    world.create(
        "dev",
        &format!("echo last words; until [ -e {} ]; do sleep 0.05; done; exit 7", go.display()),
    );
    world.wait_state("dev", "running", SOON);
    world.kill_manager();
    std::fs::write(&go, "").expect("a file");
    until("the job's end", SOON, || {
        let mut ended = false;
        sessd_tests::world::files_below(&world.home().join(".local/state/sessd-agent/jobs"), &mut |path| {
            ended |= path.file_name().is_some_and(|name| name == "exit");
        });
        ended.then_some(())
    });
    other_machine(&mut world);
    let running = world.ok(&["host", "adopt", "local"]);
    assert!(
        running.stdout.starts_with("nothing new on local"),
        "what has ended is not brought in unasked: {running:#?}"
    );
    assert!(running.stderr.contains("1 session there ended before"), "{running:#?}");
    let line = world.ok(&["host", "adopt", "local", "--all"]).stdout;
    assert!(line.starts_with("adopted dev (done, exited 7"), "{line}");
    let shown = world.sessd(&["attach", "dev"]);
    assert_eq!(shown.code, 7, "{shown:#?}");
    assert!(shown.stdout.contains("last words"), "{shown:#?}");
}

#[test]
fn a_name_that_is_taken_gets_a_number_and_that_is_said() {
    let mut world = World::new();
    world.create("dev", "exec cat");
    other_machine(&mut world);
    world.create("dev", "exec cat");
    let output = world.ok(&["host", "adopt", "local"]);
    assert!(output.stdout.contains("adopted dev-2 (running"), "{output:#?}");
    assert_eq!(output.stderr.trim(), "sessd: `dev` is `dev-2` here: the name is taken");
    world.wait_state("dev-2", "running", SOON);
    back(&mut world);
    world.wait_state("dev", "running", SOON);
}

#[test]
fn a_host_that_cannot_be_reached_is_one_line_and_hosts_are_listed() {
    let world = World::new();
    world.create("dev", "exec cat");
    world.fails(&["host", "adopt", "-x"], 2);
    let hosts = world.json(&["host", "list"]);
    assert_eq!(
        (&hosts[0]["host"], &hosts[0]["link"], &hosts[0]["sessions"]),
        (&"local".into(), &"local".into(), &1.into()),
        "{hosts:#}"
    );
}

#[test]
fn what_is_adopted_is_the_same_for_whoever_had_it() {
    let mut world = World::new();
    let host = Sshd::start_in(&world, "h1");
    SshConfig::new(&mut world).host("box", &host);
    world.ok(&["create", "--name", "dev", "--tag", "team=ml", "--host", "box", "--", "sh", "-c", ANSWER]);

    // The second manager has a `dev` of its own: what it adopts is called `dev-2` there, and nowhere else.
    other_machine(&mut world);
    world.create("dev", "exec cat");
    world.ok(&["host", "adopt", "box"]);
    world.wait_state("dev-2", "running", SOON);
    let there = [("dev".to_owned(), json!({"team": "ml"}))];
    assert_eq!(found_by(&mut world, "third", "box"), there);
    // Nor does it become so when its link is made anew, or when it changes something else.
    other_machine(&mut world);
    world.kill_manager();
    world.wait_state("dev-2", "running", SOON);
    world.ok(&["tag", "dev-2", "gpu"]);
    let there = [("dev".to_owned(), json!({"team": "ml", "gpu": ""}))];
    assert_eq!(found_by(&mut world, "fourth", "box"), there);

    // A name that its user gives is the session's, for whoever comes later. Who has it keeps the name it has there.
    other_machine(&mut world);
    world.ok(&["tag", "dev-2", "--name", "mine"]);
    let there = [("mine".to_owned(), json!({"team": "ml", "gpu": ""}))];
    assert_eq!(found_by(&mut world, "fifth", "box"), there);
    back(&mut world);
    let info = world.wait_state("dev", "running", SOON);
    assert_eq!(info["tags"], json!({"team": "ml"}), "{info:#}");
    world.kill_manager();
    world.wait_state("dev", "running", SOON);
    assert_eq!(found_by(&mut world, "sixth", "box"), there);
}

#[test]
fn a_host_hears_of_a_new_name_when_it_is_back() {
    let mut world = World::new();
    let mut host = Sshd::start_in(&world, "h1");
    SshConfig::new(&mut world).host("box", &host);
    world.create_on("box", "dev", "exec cat");
    world.wait_state("dev", "running", SOON);
    host.stop();
    world.wait_session("dev", "a lost link", LATER, |info| info["link"] != "up");
    world.ok(&["tag", "dev", "--name", "new", "k=v"]);
    world.kill_manager();
    host.start();
    world.wait_state("new", "running", LATER);
    until("the host to know the new name", LATER, || {
        let mut known = false;
        sessd_tests::world::files_below(&host.home(), &mut |path| {
            known |= path.file_name().is_some_and(|name| name == "spec")
                && std::fs::read(path).is_ok_and(|bytes| procs::find(&bytes, b"new").is_some());
        });
        known.then_some(())
    });
    assert_eq!(found_by(&mut world, "newcomer", "box"), [("new".to_owned(), json!({"k": "v"}))]);
}

/// Waits until `info` says that these hold the job, too.
fn wait_held_by(world: &World, others: &[&str]) {
    let node = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let others: Vec<String> = others.iter().map(|user| format!("{user}@{node}")).collect();
    world.wait_session("dev", &format!("held by {others:?}"), Duration::from_secs(10), |info| {
        info["held_by"] == json!(others)
    });
}

#[test]
fn info_says_who_else_holds_a_job_and_only_as_long_as_they_do() {
    let mut world = World::new();
    let host = Sshd::start_in(&world, "h1");
    SshConfig::new(&mut world).host("box", &host);
    let first = |world: &mut World| {
        back(world);
        world.set_env("USER", "anna");
    };
    first(&mut world);
    world.create_on("box", "dev", ANSWER);
    wait_held_by(&world, &[]);
    assert!(!world.ok(&["info", "dev"]).stdout.contains("held also by"));

    on_machine(&mut world, "bert");
    world.ok(&["host", "adopt", "box"]);
    wait_held_by(&world, &["anna"]);
    first(&mut world);
    wait_held_by(&world, &["bert"]);
    assert!(world.ok(&["info", "dev"]).stdout.contains("held also by  bert@"));

    // Stopped, killed, and let go by its link: each is one that no longer holds it.
    on_machine(&mut world, "bert");
    world.ok(&["daemon", "stop"]);
    first(&mut world);
    wait_held_by(&world, &[]);
    on_machine(&mut world, "bert");
    world.wait_state("dev", "running", SOON);
    first(&mut world);
    wait_held_by(&world, &["bert"]);
    on_machine(&mut world, "bert");
    let manager = world.manager_pid();
    procs::signal(manager, Signal::KILL);
    procs::wait_gone(manager, SOON);
    first(&mut world);
    wait_held_by(&world, &[]);

    // Two of the same name are still two.
    on_machine(&mut world, "bert");
    world.set_env("USER", "anna");
    world.wait_state("dev", "running", SOON);
    wait_held_by(&world, &["anna"]);
    first(&mut world);
    wait_held_by(&world, &["anna"]);
    // The job is one: ended by either, both know how.
    world.ok(&["delete", "dev"]);
    on_machine(&mut world, "bert");
    let info = world.wait_state("dev", "done", SOON);
    assert_eq!(info["end"]["reason"], "deleted", "{info:#}");
    assert_eq!(info.get("held_by"), Some(&json!([])));
}
