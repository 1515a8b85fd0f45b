//! The idle reaper and the ending of jobs, with limits of seconds: what is idle goes, whatever works stays, and of what is
//! ended nothing is left alive.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;
use sessd_tests::{SOON, World, jobs, procs, until};

/// The limit of these tests. A job that stays is watched for three times as long.
const LIMIT: &str = "2s";
const STAYS: Duration = Duration::from_secs(6);

/// A session on this machine whose login shell gets `typed` once it is at its prompt.
fn shell(world: &World, name: &str, options: &[&str], typed: &str) {
    let limit: &[&str] = if options.is_empty() { &["--idle-timeout", LIMIT] } else { &[] };
    world.ok(&[&["create", "--name", name], limit, options, &["--", "sh"]].concat());
    if !typed.is_empty() {
        type_(world, name, typed);
    }
}

/// Types a line at the prompt of a shell, as a view that comes and goes.
fn type_(world: &World, name: &str, line: &str) {
    let mut view = world.attach(name);
    view.wait_text("$", SOON);
    view.type_(format!("echo ty''ped; {line}\r"));
    view.wait_text("typed", SOON);
    view.type_("\x1c");
    assert_eq!(view.wait_exit(SOON), 0, "detached");
}

fn end(world: &World, session: &str) -> Value {
    world.wait_state(session, "done", SOON)["end"].clone()
}

/// A script that writes down the ids of processes in `folder`, one file each.
fn note(folder: &Path, name: &str) -> String {
    format!("echo $$ >{}/{name}.new; mv {0}/{name}.new {0}/{name}", folder.display())
}

#[test]
fn a_bare_prompt_is_reaped_and_work_stays() {
    let world = World::new();
    let marker = world.root().join("stopped");
    shell(&world, "prompt", &[], "");
    shell(&world, "sleeps", &[], "sleep 1000");
    shell(&world, "background", &[], "sleep 1000 &");
    shell(&world, "orphan", &[], "(sleep 1000 & exit) ");
    shell(&world, "builds", &[], "while :; do :; done");
    shell(&world, "never", &["--idle-timeout", "never"], "");
    // A job that stopped itself, as Ctrl-Z does; `-i` for a shell with job control.
    world.ok(&["create", "--name", "stopped", "--idle-timeout", LIMIT, "--", "bash", "--norc"]);
    type_(&world, "stopped", &format!("sh -c 'echo $$ >{}; kill -STOP $$; sleep 1000'", marker.display()));
    let stopped = jobs::wait_pid(&marker);
    let begun = Instant::now();

    let reaped = end(&world, "prompt");
    assert_eq!(reaped["reason"], "reaped", "{reaped:#}");
    until("three times the limit to pass", STAYS * 2, || (begun.elapsed() >= STAYS).then_some(()));
    for name in ["sleeps", "background", "orphan", "builds", "stopped", "never"] {
        let info = world.info(name).expect("known");
        assert_eq!(info["state"], "running", "{name}: {info:#}");
    }
    assert!(procs::alive(stopped));
}

/// The shell does not look at its children before its next command: what has ended is a zombie until then.
#[test]
fn a_background_child_that_has_ended_keeps_no_prompt() {
    let world = World::new();
    shell(&world, "prompt", &[], "sleep 1 &");
    assert_eq!(end(&world, "prompt")["reason"], "reaped");
}

#[test]
fn unattended_ends_whatever_runs_once_nobody_watches() {
    let world = World::new();
    let noted = world.root().join("pid");
    let script = jobs::noting_pid(&noted, "trap '' HUP; while :; do :; done");
    world.ok(&[
        "create",
        "--name",
        "dev",
        "--idle-timeout",
        LIMIT,
        "--reap",
        "unattended",
        "--",
        "sh",
        "-c",
        &script,
    ]);
    let view = world.attach("dev");
    let pid = jobs::wait_pid(&noted);
    world.wait_session("dev", "a view", SOON, |info| info["views"].as_array().is_some_and(|v| v.len() == 1));
    let begun = Instant::now();
    until("three times the limit to pass with a view", STAYS * 2, || {
        (begun.elapsed() >= STAYS).then_some(())
    });
    assert_eq!(world.info("dev").expect("known")["state"], "running");
    assert!(procs::alive(pid));
    view.close();
    let reaped = end(&world, "dev");
    assert_eq!(reaped["reason"], "reaped", "{reaped:#}");
    procs::wait_gone(pid, SOON);
}

#[test]
fn the_time_of_the_end_is_told_before_and_goes_with_activity() {
    let world = World::new();
    world.ok(&["create", "--name", "dev", "--idle-timeout", "8s", "--", "sh"]);
    let info = world.wait_session("dev", "a time of its end", SOON, |info| info["reap_at"].is_string());
    assert!(info["idle_seconds"].as_u64().is_some_and(|idle| idle >= 6), "{info:#}");
    let view = world.attach("dev");
    world.wait_session("dev", "no time of its end", SOON, |info| info["reap_at"].is_null());
    view.close();
    assert_eq!(end(&world, "dev")["reason"], "reaped");
}

/// What `list` and `info` say: a job that does something is not idle however long it is silent, and one that is idle counts
/// on though its holder says nothing.
#[test]
fn only_what_is_idle_is_shown_to_grow_idle() {
    let world = World::new();
    let idle = |name: &str| world.info(name).expect("known")["idle_seconds"].as_u64();
    world.ok(&["create", "--name", "silent", "--", "sleep", "1000"]);
    shell(&world, "prompt", &["--idle-timeout", "1h"], "");
    shell(&world, "typed", &["--idle-timeout", "1h"], "sleep 1000");
    // A shell that takes note of the end of its children at once.
    world.ok(&["create", "--name", "short", "--idle-timeout", "24s", "--", "bash", "--norc"]);
    type_(&world, "short", "sleep 5 &");
    world.wait_session("silent", "its status", SOON, |info| info["foreground"] == "sleep");
    world.wait_session("typed", "its status", SOON, |info| info["foreground"] == "sleep");
    let begun = Instant::now();
    until("the silent ones to be silent for seconds", STAYS * 2, || {
        let known = [idle("silent"), idle("typed")];
        assert_eq!(known, [Some(0), Some(0)], "after {:?}", begun.elapsed());
        (begun.elapsed() >= STAYS / 2).then_some(())
    });
    // A manager and a link that are new ask the holder anew.
    world.kill_manager();
    let begun = Instant::now();
    until("the silent ones to be silent again", STAYS * 2, || {
        for name in ["silent", "typed"] {
            assert!(idle(name).is_none_or(|idle| idle == 0), "{name} after {:?}", begun.elapsed());
        }
        (begun.elapsed() >= STAYS / 2).then_some(())
    });
    let counts = |info: &Value| info["idle_seconds"].as_u64().is_some_and(|idle| idle >= 3);
    world.wait_session("prompt", "some seconds of idleness", SOON, counts);
    // Its child has ended without a word, which a look finds.
    world.wait_session("short", "some seconds of idleness", SOON, counts);
}

#[test]
fn nobody_needs_to_come_back_for_the_reaper() {
    let world = World::new();
    let noted = world.root().join("pid");
    shell(&world, "dev", &[], &note(world.root(), "pid"));
    let pid = jobs::wait_pid(&noted);
    world.kill_manager();
    procs::wait_gone(pid, SOON);
    assert_eq!(end(&world, "dev")["reason"], "reaped", "the record waited for the manager");
}

/// A job with a family that does not want to go: a stopped child, a child that ignores HUP and TERM, its child in a session
/// of its own, a background child whose parent is gone. Each notes its process.
fn stubborn(folder: &Path) -> String {
    let each = |name: &str, rest: &str| format!("sh -c '{}; {rest}' &", note(folder, name));
    let deaf = each(
        "deaf",
        &format!(
            "trap \"\" HUP TERM; setsid sh -c \"{}; trap : HUP TERM; while :; do sleep 1; done\" & wait; while :; do sleep 1; done",
            note(folder, "own").replace('$', "\\$")
        ),
    );
    let stopped = each("stopped", "kill -STOP $$; sleep 1000");
    let orphan = format!("({} exit)", each("orphan", "trap \"\" HUP TERM; while :; do sleep 1; done"));
    format!("{}; {deaf} {stopped} {orphan}; exec sleep 1000", note(folder, "leader"))
}

fn ended_to_the_last(world: &World, session: &str, act: impl FnOnce()) {
    let folder = world.root().join(session);
    fs::create_dir(&folder).expect("a folder");
    world.create(session, &stubborn(&folder));
    let family: Vec<i32> = ["leader", "deaf", "own", "stopped", "orphan"]
        .iter()
        .map(|name| jobs::wait_pid(&folder.join(name)))
        .collect();
    act();
    for pid in family {
        procs::wait_gone(pid, SOON);
    }
    until("the rest of the job to be gone", SOON, || procs::mentioning(&folder).is_empty().then_some(()));
}

#[test]
fn a_deleted_job_is_ended_to_its_last_process() {
    let world = World::new();
    ended_to_the_last(&world, "dev", || {
        world.ok(&["delete", "dev"]);
    });
    ended_to_the_last(&world, "dev2", || {
        world.ok(&["delete", "dev2", "--force"]);
    });
}
