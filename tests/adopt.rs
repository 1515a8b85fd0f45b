//! A manager that has never seen the sessions of a host takes them over; both managers may hold them.

use serde_json::Value;
use sessd_tests::{SOON, World, until};

const ANSWER: &str = "stty -echo; echo ready; while read -r line; do echo \"got <$line>\"; done";

/// From here on another manager of the same user, with records of its own.
fn other_machine(world: &mut World) {
    let other = world.root().join("other");
    world.set_env("SESSD_HOME", other.display().to_string());
}

fn back(world: &mut World) {
    let first = world.sessd_home();
    world.set_env("SESSD_HOME", first.display().to_string());
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
    let line = world.ok(&["host", "adopt", "local"]).stdout;
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
