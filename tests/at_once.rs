//! Verbs at once. Whatever is asked of one session at the same moment, it has one task, one job and one name's owner
//! afterwards: as many holders as sessions that run, and nothing left when all are deleted.

use std::process::{Child, Stdio};
use std::time::Duration;

use serde_json::Value;
use sessd_tests::{LATER, SOON, World, until_or};

const JOB: &str = "exec cat";

/// What may be asked of the session `dev`.
const VERBS: &[&[&str]] = &[
    &["restart", "dev"],
    &["delete", "dev"],
    &["delete", "dev", "--force"],
    &["tag", "dev", "--name", "new"],
    &["tag", "dev", "k=v"],
    &["host", "adopt", "local", "--all"],
    &["create", "--name", "dev", "--", "sh", "-c", JOB],
    &["attach", "dev", "--read-only"],
];

fn start(world: &World, args: &[&str]) -> Child {
    let mut command = world.command(args);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("sessd starts")
}

/// Runs them all at once to their ends.
fn at_once(world: &World, verbs: &[&[&str]]) -> Vec<i32> {
    let children: Vec<Child> = verbs.iter().map(|args| start(world, args)).collect();
    children
        .into_iter()
        .zip(verbs)
        .map(|(mut child, args)| {
            until_or(
                &format!("{args:?} to end"),
                LATER,
                || child.try_wait().expect("our child").map(|status| status.code().unwrap_or(-1)),
                || format!("of {verbs:?}: {:#?}\n{}", world.list(), world.log_tail()),
            )
        })
        .collect()
}

fn holders(world: &World) -> usize {
    world.agents(&world.home(), "hold").len()
}

/// As many holders as sessions that run, nobody in between, and no name with two owners.
fn agree(world: &World, what: &str) -> Vec<Value> {
    let settled = || {
        let list = world.list();
        let running = list.iter().filter(|s| s["state"] == "running").count();
        let still = list.iter().all(|s| s["state"] == "running" || s["state"] == "done");
        let mut names: Vec<&str> =
            list.iter().filter(|s| s["state"] != "done").filter_map(|s| s["name"].as_str()).collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        (still && names.len() == all && holders(world) == running).then_some(list)
    };
    until_or(&format!("{what}: record and host to agree"), LATER, settled, || {
        format!("{} holders, {:#?}\n{}", holders(world), world.list(), world.log_tail())
    })
}

fn nothing_is_left(world: &World, what: &str) {
    world.ok(&["delete", "--all", "--force"]);
    assert_eq!(world.list(), Vec::<Value>::new(), "{what}");
    until_or(
        &format!("{what}: no holder to be left"),
        SOON,
        || (holders(world) == 0).then_some(()),
        || world.log_tail(),
    );
}

#[test]
fn every_pair_of_verbs_at_once_leaves_one_job_of_one_session() {
    let world = World::new();
    for (at, first) in VERBS.iter().enumerate() {
        for second in &VERBS[at..] {
            for script in [JOB, "exit 7"] {
                let what = format!("{first:?} beside {second:?} on `{script}`");
                world.create("dev", script);
                world.wait_state("dev", if script == JOB { "running" } else { "done" }, SOON);
                at_once(&world, &[first, second, first, second]);
                agree(&world, &what);
                nothing_is_left(&world, &what);
            }
        }
    }
}

#[test]
fn three_restarts_at_once_are_one_new_job() {
    let world = World::new();
    let (runs, count) = (world.root().join("runs"), || {
        std::fs::read_to_string(world.root().join("runs")).unwrap_or_default().lines().count()
    });
    for script in [JOB, "exit 7"] {
        world.create("dev", &format!("echo >>{}; {script}", runs.display()));
        let before =
            world.wait_state("dev", if script == JOB { "running" } else { "done" }, SOON)["job_id"].clone();
        let codes = at_once(&world, &[&["restart", "dev"], &["restart", "dev"], &["restart", "dev"]]);
        assert_eq!(codes, [0, 0, 0], "`{script}`");
        let list = agree(&world, script);
        assert_eq!(list.len(), 1, "{list:#?}");
        assert_ne!(list[0]["job_id"], before);
        assert!((2..=4).contains(&count()), "{} runs", count());
        nothing_is_left(&world, script);
        std::fs::remove_file(&runs).expect("the runs");
    }
}

#[test]
fn two_adoptions_at_once_adopt_each_session_once() {
    let mut world = World::new();
    let names: Vec<String> = (0..12).map(|n| format!("s{n}")).collect();
    for name in &names {
        world.create(name, JOB);
    }
    for newcomer in ["a", "b", "c"] {
        world.set_env("SESSD_HOME", world.root().join(newcomer).display().to_string());
        let adopt: &[&str] = &["host", "adopt", "local"];
        assert_eq!(at_once(&world, &[adopt, adopt, adopt]), [0, 0, 0]);
        let list = world.list();
        let mut known: Vec<&str> = list.iter().filter_map(|s| s["name"].as_str()).collect();
        known.sort_unstable();
        let mut want: Vec<&str> = names.iter().map(String::as_str).collect();
        want.sort_unstable();
        assert_eq!(known, want);
        world.ok(&["daemon", "stop"]);
    }
}

#[test]
fn a_session_that_begins_during_an_adoption_runs_at_once() {
    let world = World::new();
    world.ok(&["daemon"]);
    for n in 0..10 {
        let name = format!("s{n}");
        let create: &[&str] = &["create", "--name", &name, "--", "sh", "-c", JOB];
        let adopt: &[&str] = &["host", "adopt", "local"];
        assert_eq!(at_once(&world, &[adopt, create, adopt]), [0, 0, 0]);
        world.wait_state(&name, "running", Duration::from_secs(2));
    }
}

#[test]
fn two_sessions_that_want_one_name_at_once_are_one_that_has_it() {
    let world = World::new();
    world.create("one", JOB);
    world.create("two", JOB);
    let mut codes = at_once(&world, &[&["tag", "one", "--name", "dev"], &["tag", "two", "--name", "dev"]]);
    codes.sort_unstable();
    assert_eq!(codes, [0, 4]);
    let create: &[&str] = &["create", "--name", "new", "--", "sh", "-c", JOB];
    let mut codes = at_once(&world, &[create, create, create]);
    codes.sort_unstable();
    assert_eq!(codes, [0, 4, 4]);
    assert_eq!(agree(&world, "names").len(), 3);
}

#[test]
fn what_is_typed_does_not_wait_for_the_database() {
    let mut world = World::new();
    world.set_env("SESSD_SLOW_WRITES", "4000");
    world.create("dev", JOB);
    world.wait_state("dev", "running", SOON);
    let view = world.attach("dev");
    view.type_("first\r");
    view.wait_text("first", SOON);
    let begun = std::time::Instant::now();
    let mut tag = start(&world, &["tag", "dev", "k=v"]);
    let mut rename = start(&world, &["tag", "dev", "--name", "new"]);
    let mut echoes = 0;
    while begun.elapsed() < Duration::from_secs(3) {
        let word = format!("word{echoes}");
        view.type_(format!("{word}\r"));
        view.wait_text(&word, Duration::from_secs(2));
        echoes += 1;
    }
    assert!(tag.try_wait().expect("our child").is_none(), "the database was not slow at all");
    assert!(echoes > 3, "{echoes} lines in three seconds");
    for child in [&mut tag, &mut rename] {
        assert!(child.wait().expect("our child").success());
    }
    let info = world.info("new").expect("the new name");
    assert_eq!(info["tags"]["k"], "v");
}

#[test]
fn a_panic_in_a_sessions_or_a_hosts_task_costs_neither_view_nor_job() {
    for point in ["reconcile-after", "reconcile-before:2", "host-up", "tag-before-save", "delete-after-save"]
    {
        let mut world = World::new();
        world.create("dev", "stty -echo; while read -r line; do echo \"got <$line>\"; done");
        let job = world.wait_state("dev", "running", SOON)["job_id"].clone();
        world.ok(&["daemon", "stop"]);
        world.set_env("SESSD_PANIC_AT", point);
        let view = world.attach("dev");
        view.type_("one\r");
        view.wait_text("got <one>", LATER);
        if point.starts_with("tag") {
            world.fails(&["tag", "dev", "k=v"], 1);
            world.ok(&["tag", "dev", "k=v"]);
        }
        if point.starts_with("delete") {
            // That it is to go was written: whoever asks again finds it gone, or going.
            world.sessd(&["delete", "dev"]);
            until_or("the job's end", LATER, || (holders(&world) == 0).then_some(()), || world.log_tail());
            until_or("the record's end", SOON, || world.list().is_empty().then_some(()), || world.log_tail());
        } else {
            if !point.starts_with("reconcile-before") {
                view.type_("two\r");
                view.wait_text("got <two>", LATER);
            }
            assert_eq!(world.wait_state("dev", "running", LATER)["job_id"], job, "{point}");
            world.fails(&["create", "--name", "dev", "--", "cat"], 4);
        }
        if !point.contains(':') {
            assert_eq!(world.json(&["daemon", "status"])["panics"], 1, "{point}");
        }
        world.ok(&["delete", "--all", "--force"]);
        until_or("the holder's end", SOON, || (holders(&world) == 0).then_some(()), || world.log_tail());
    }
}

#[test]
fn daemon_stop_beside_sessions_that_end_stops_the_manager() {
    let world = World::new();
    for round in 0..6 {
        for n in 0..4 {
            world.create(&format!("r{round}s{n}"), "sleep 0.1");
        }
        world.ok(&["daemon", "stop"]);
        assert_eq!(world.managers(), Vec::<i32>::new());
    }
}
