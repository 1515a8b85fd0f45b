//! The manager is killed at each point where it writes something down or asks a host for something. After the next start
//! record and host agree: nothing that was acknowledged is lost, nothing runs that no record knows, nothing runs twice.

use std::fs;
use std::path::PathBuf;

use sessd_tests::world::files_below;
use sessd_tests::{LATER, SOON, World, procs, until, until_or};

const CREATE: &[&str] = &[
    "create-before-save",
    "create-after-save",
    "spawn-before-request",
    "spawn-after-answer",
    "running-before-save",
    "running-after-save",
    "create-before-reply",
    "reconcile-before",
    "reconcile-after",
    "host-up",
];
const TAG: &[&str] = &["tag-before-save", "tag-after-save"];
const DELETE: &[&str] = &[
    "delete-before-save",
    "delete-after-save",
    "delete-after-end",
    "forget-before-request",
    "forget-before-save",
    "forget-after-save",
];
const EXIT: &[&str] = &["exit-before-save", "exit-after-save", "exit-after-ack"];
const RESTART: &[&str] =
    &["restart-before-end", "restart-after-intent", "restart-after-end", "restart-after-save"];
/// Of a job that has ended already.
const AGAIN: &[&str] = &["again-after-save"];
const ADOPT: &[&str] = &["adopt-before-save", "adopt-after-save"];

/// Starts a manager that is killed when it gets to `point`, and gives its process.
fn start_armed(world: &World, point: &str) -> i32 {
    let mut command = world.command(&["daemon"]);
    command.env("SESSD_CRASH_AT", point);
    let output = world.finish(command, b"", SOON);
    assert_eq!(output.code, 0, "{point}: {output:#?}");
    world.managers().into_iter().next().unwrap_or_else(|| panic!("{point}: no manager\n{}", world.log_tail()))
}

fn job_files(world: &World, name: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    files_below(&world.home().join(".local/state/sessd-agent/jobs"), &mut |path| {
        if path.file_name().is_some_and(|n| n == name) {
            found.push(path.to_owned());
        }
    });
    found
}

fn holders(world: &World) -> usize {
    world.agents(&world.home(), "hold").len()
}

/// A job that leaves one line in `runs` for each time it is started, with a variable of the environment.
fn counted(world: &World) -> (PathBuf, String) {
    let runs = world.root().join("runs");
    let script = format!("echo \"run $COLOUR\" >>{}; echo hello there; read line; exit 7", runs.display());
    (runs, script)
}

fn runs(path: &PathBuf) -> Vec<String> {
    fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect()
}

/// As many holders as sessions that run, each session once.
fn agree(world: &World, point: &str, sessions: usize) {
    until_or(
        &format!("{point}: record and host to agree"),
        LATER,
        || {
            let list = world.list();
            let running = list.iter().filter(|s| s["state"] == "running").count();
            let settled = list.iter().all(|s| s["state"] == "running" || s["state"] == "done");
            (settled
                && list.len() == sessions
                && holders(world) == running
                && job_files(world, "spec").len() == running)
                .then_some(())
        },
        || {
            format!(
                "{} holders, {:?}, {:#?}\n{}",
                holders(world),
                job_files(world, "spec"),
                world.list(),
                world.log_tail()
            )
        },
    );
}

#[test]
fn every_point_is_killed_at_in_some_test_and_no_other_name_is_taken() {
    let mut world = World::new();
    world.set_env("SESSD_CRASH_AT", "nowhere");
    let line = world.fails(&["daemon", "--foreground"], 1);
    let named = line.split("is none of ").nth(1).and_then(|rest| rest.split(':').next()).expect("the names");
    let mut known: Vec<&str> = named.split_whitespace().collect();
    let mut tested = [CREATE, TAG, DELETE, EXIT, RESTART, AGAIN, ADOPT].concat();
    known.sort_unstable();
    tested.sort_unstable();
    assert_eq!(known, tested);
}

#[test]
fn a_session_is_created_once_wherever_the_manager_dies() {
    for point in CREATE {
        let mut world = World::new();
        let (path, script) = counted(&world);
        let manager = start_armed(&world, point);
        world.set_env("COLOUR", "green");
        let output = world.ok(&["create", "--name", "dev", "--", "sh", "-c", &script]);
        assert_eq!(output.stdout.trim(), "dev", "{point}");
        assert!(!procs::alive(manager), "{point} was never got to");
        world.wait_state("dev", "running", SOON);
        agree(&world, point, 1);
        until("the job to have begun", SOON, || (!runs(&path).is_empty()).then_some(()));
        // Once more, in case a second job was on its way.
        world.kill_manager();
        world.wait_state("dev", "running", SOON);
        agree(&world, point, 1);
        assert_eq!(runs(&path), ["run green"], "{point}: one job, with the environment of whoever asked");
        world.fails(&["create", "--name", "dev", "--", "cat"], 4);
    }
}

#[test]
fn names_and_tags_are_as_asked_wherever_the_manager_dies() {
    for point in TAG {
        let world = World::new();
        world.create("dev", "exec cat");
        world.kill_manager();
        let manager = start_armed(&world, point);
        world.ok(&["tag", "dev", "--name", "new", "k=v"]);
        assert!(!procs::alive(manager), "{point} was never got to");
        let info = world.wait_state("new", "running", SOON);
        assert_eq!(info["tags"]["k"], "v", "{point}");
        world.fails(&["info", "dev"], 3);
        agree(&world, point, 1);
    }
}

#[test]
fn a_deleted_session_is_gone_wherever_the_manager_dies() {
    for point in DELETE {
        let world = World::new();
        world.create("dev", "exec cat");
        world.kill_manager();
        let manager = start_armed(&world, point);
        world.wait_state("dev", "running", SOON);
        world.ok(&["delete", "dev"]);
        assert!(!procs::alive(manager), "{point} was never got to");
        world.fails(&["info", "dev"], 3);
        agree(&world, point, 0);
        world.create("dev", "exec cat");
        agree(&world, point, 1);
    }
}

#[test]
fn an_end_is_recorded_with_its_screen_wherever_the_manager_dies() {
    for point in EXIT {
        let world = World::new();
        let (_, script) = counted(&world);
        world.create("dev", &script);
        world.kill_manager();
        let manager = start_armed(&world, point);
        world.wait_state("dev", "running", SOON);
        let view = world.attach("dev");
        view.wait_text("hello there", SOON);
        view.type_("\r");
        procs::wait_gone(manager, SOON);
        let done = world.wait_state("dev", "done", SOON);
        assert_eq!((&done["end"]["reason"], &done["end"]["code"]), (&"exited".into(), &7.into()), "{point}");
        agree(&world, point, 1);
        let shown = world.sessd(&["attach", "dev"]);
        assert_eq!(shown.code, 7, "{point}: {shown:#?}");
        assert!(shown.stdout.contains("hello there"), "{point}: {shown:#?}");
    }
}

/// A session, as `first` leaves it, is restarted while the manager is killed at `point`: it has one new job.
fn restarts_once(point: &str, first: impl Fn(&World)) -> (World, PathBuf) {
    let world = World::new();
    let (path, script) = counted(&world);
    world.create("dev", &script);
    let before = world.wait_state("dev", "running", SOON);
    until("the job to have begun", SOON, || (runs(&path).len() == 1).then_some(()));
    first(&world);
    world.kill_manager();
    let manager = start_armed(&world, point);
    // The manager may die as soon as it hears of the job that runs.
    world.ok(&["restart", "dev"]);
    assert!(!procs::alive(manager), "{point} was never got to");
    let after = world.wait_state("dev", "running", SOON);
    assert_eq!(before["id"], after["id"], "{point}");
    assert_ne!(before["job_id"], after["job_id"], "{point}");
    until("the job to have begun again", SOON, || (runs(&path).len() == 2).then_some(()));
    agree(&world, point, 1);
    (world, path)
}

#[test]
fn a_restart_is_one_new_job_wherever_the_manager_dies() {
    for point in RESTART.iter().chain(EXIT).chain(&CREATE[2..6]) {
        let (world, path) = restarts_once(point, |_| ());
        world.kill_manager();
        world.wait_state("dev", "running", SOON);
        agree(&world, point, 1);
        assert_eq!(runs(&path).len(), 2, "{point}");
    }
}

#[test]
fn a_done_session_that_is_restarted_has_one_new_job_wherever_the_manager_dies() {
    for point in AGAIN {
        restarts_once(point, |world| {
            world.ok(&["send", "dev", "--enter", "on"]);
            world.wait_state("dev", "done", SOON);
        });
    }
}

#[test]
fn sessions_are_adopted_once_wherever_the_manager_dies() {
    for point in ADOPT {
        let mut world = World::new();
        world.create("one", "exec cat");
        world.create("two", "exec cat");
        let other = world.root().join("other");
        world.set_env("SESSD_HOME", other.display().to_string());
        let before: Vec<i32> = world.managers();
        start_armed(&world, point);
        let manager =
            world.managers().into_iter().find(|pid| !before.contains(pid)).expect("a second manager");
        world.ok(&["host", "adopt", "local"]);
        assert!(!procs::alive(manager), "{point} was never got to");
        for name in ["one", "two"] {
            world.wait_state(name, "running", SOON);
        }
        agree(&world, point, 2);
    }
}
