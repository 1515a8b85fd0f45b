//! The manager may die, stop, or be lied to: jobs and views do not care.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use sessd_tests::{Faults, LATER, Numbers, SOON, World, check_numbers, numbers_in, procs, until, until_or};

/// Waits for a manager that is not `old`.
fn wait_new_manager(world: &World, old: i32) -> i32 {
    until_or(
        "a new manager",
        SOON,
        || {
            let output = world.sessd(&["daemon", "status", "--json"]);
            let status: serde_json::Value = serde_json::from_str(&output.stdout).ok()?;
            let pid = i32::try_from(status["pid"].as_i64()?).ok()?;
            (output.code == 0 && pid != old).then_some(pid)
        },
        || world.log_tail(),
    )
}

/// The manager's socket.
fn socket(world: &World) -> PathBuf {
    let mut found = None;
    sessd_tests::world::files_below(&world.sessd_home(), &mut |path| {
        if fs::symlink_metadata(path).is_ok_and(|data| data.file_type().is_socket()) {
            found = Some(path.to_owned());
        }
    });
    found.expect("a socket in SESSD_HOME")
}

/// Asks for a few lines every few milliseconds while `act` runs: output flows, at a pace every buffer can follow.
fn while_output_flows(numbers: &Numbers, act: impl FnOnce() + Send) {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let acting = scope.spawn(|| {
            act();
            done.store(true, Ordering::Relaxed);
        });
        while !done.load(Ordering::Relaxed) && !acting.is_finished() {
            numbers.emit(10);
            thread::sleep(Duration::from_millis(4));
        }
    });
}

#[test]
fn the_view_goes_on_when_the_manager_is_killed_while_output_flows() {
    let world = World::new();
    let numbers = Numbers::new(world.root());
    world.create("dev", &numbers.script());
    let pid = numbers.pid();
    let mut view = world.attach("dev");
    world.wait_session("dev", "one view", SOON, |info| {
        info["views"].as_array().is_some_and(|views| views.len() == 1)
    });
    for _ in 0..3 {
        while_output_flows(&numbers, || {
            let seen = view.raw_len();
            view.wait_raw("output that flows", SOON, |raw| raw.len() > seen + 300);
            let old = world.kill_manager();
            wait_new_manager(&world, old);
            let seen = view.raw_len();
            view.wait_raw("output that flows again", SOON, |raw| raw.len() > seen + 300);
        });
    }
    view.wait_text(&numbers.last_line(), SOON);
    check_numbers(&numbers_in(&view.raw()), numbers.asked())
        .unwrap_or_else(|wrong| panic!("{wrong}\n{}", view.describe()));
    assert_eq!(view.exited(), None);
    assert_eq!(numbers.pid(), pid, "the same job");
    world.wait_state("dev", "running", SOON);
}

#[test]
fn keys_typed_while_the_manager_is_killed_arrive_once_and_in_order() {
    let world = World::new();
    let typed = world.root().join("typed");
    world.create(
        "dev",
        &format!("stty -echo; echo ready; while read -r line; do echo \"$line\" >>{}; done", typed.display()),
    );
    let view = world.attach("dev");
    view.wait_text("ready", SOON);
    let lines = || fs::read_to_string(&typed).unwrap_or_default();
    let mut want = String::new();
    for round in 0..3 {
        for n in 0..200 {
            if n == 70 {
                until("some lines to arrive", SOON, || (lines().lines().count() > round * 200).then_some(()));
                let pid = world.manager_pid();
                procs::signal(pid, Signal::KILL);
            }
            let line = format!("key {round} {n:04}");
            view.type_(format!("{line}\r"));
            want.push_str(&line);
            want.push('\n');
        }
        until_or(
            "every typed line",
            SOON,
            || (lines().len() >= want.len()).then_some(()),
            || format!("{} of {} bytes\n{}", lines().len(), want.len(), view.describe()),
        );
        let (have, want): (Vec<_>, Vec<_>) =
            (lines().lines().map(str::to_owned).collect(), want.lines().collect());
        let wrong = have.iter().zip(&want).position(|(have, want)| have != want);
        assert_eq!(wrong, None, "the first line that differs: {:?}", wrong.map(|at| (&have[at], want[at])));
        assert_eq!(have.len(), want.len());
    }
}

#[test]
fn sessions_of_a_killed_manager_are_running_again() {
    let world = World::new();
    let (one, two) = (Numbers::new(world.root()), Numbers::new(world.root()));
    world.create("one", &one.script());
    world.create("two", &two.script());
    let pids = [one.pid(), two.pid()];
    let before = [world.wait_state("one", "running", SOON), world.wait_state("two", "running", SOON)];
    world.kill_manager();
    for (name, before) in ["one", "two"].into_iter().zip(&before) {
        let after = world.wait_state(name, "running", SOON);
        for key in ["id", "job_id", "created_at", "command", "tags"] {
            assert_eq!(before[key], after[key], "{key}");
        }
    }
    assert_eq!([one.pid(), two.pid()], pids);
    one.emit(1);
    world.attach("one").wait_text("n:000000", SOON);
}

#[test]
fn a_job_that_ended_without_a_manager_is_recorded() {
    let world = World::new();
    let go = Numbers::new(world.root());
    world.create("over", &format!("{}; exit 7", go.script()));
    let shot = Numbers::new(world.root());
    world.create("shot", &shot.script());
    let (over_pid, shot_pid) = (go.pid(), shot.pid());
    world.kill_manager();
    drop(go);
    procs::signal(shot_pid, Signal::KILL);
    procs::wait_gone(over_pid, SOON);
    procs::wait_gone(shot_pid, SOON);
    let over = world.wait_state("over", "done", SOON);
    assert_eq!((&over["end"]["reason"], &over["end"]["code"]), (&"exited".into(), &7.into()), "{over:#}");
    let shot = world.wait_state("shot", "done", SOON);
    assert_eq!((&shot["end"]["reason"], &shot["end"]["signal"]), (&"signaled".into(), &9.into()), "{shot:#}");
}

#[test]
fn a_stopped_manager_leaves_the_jobs_and_the_next_verb_starts_one() {
    let world = World::new();
    let numbers = Numbers::new(world.root());
    world.create("dev", &numbers.script());
    let pid = numbers.pid();
    let manager = world.manager_pid();
    world.ok(&["daemon", "stop"]);
    procs::wait_gone(manager, SOON);
    assert!(procs::alive(pid));
    world.wait_state("dev", "running", SOON);
    assert_ne!(world.manager_pid(), manager);
    assert_eq!(numbers.pid(), pid);
}

#[test]
fn a_view_goes_on_over_a_restart_of_the_manager() {
    let world = World::new();
    let numbers = Numbers::new(world.root());
    world.create("dev", &numbers.script());
    let view = world.attach("dev");
    numbers.emit(50);
    view.wait_text(&numbers.last_line(), SOON);
    while_output_flows(&numbers, || {
        world.ok(&["daemon", "restart"]);
        let seen = view.raw_len();
        view.wait_raw("output that flows again", SOON, |raw| raw.len() > seen + 300);
    });
    view.wait_text(&numbers.last_line(), SOON);
    check_numbers(&numbers_in(&view.raw()), numbers.asked())
        .unwrap_or_else(|wrong| panic!("{wrong}\n{}", view.describe()));
}

#[test]
fn a_second_manager_on_the_same_socket_is_refused() {
    let world = World::new();
    world.create("dev", "exec cat");
    let pid = world.manager_pid();
    world.fails(&["daemon", "--foreground"], 1);
    assert_eq!(world.manager_pid(), pid);
    world.wait_state("dev", "running", SOON);
}

#[test]
fn a_socket_left_by_a_dead_manager_is_no_obstacle() {
    let world = World::new();
    world.create("dev", "exec cat");
    let path = socket(&world);
    world.kill_manager();
    assert!(path.exists(), "a killed manager leaves its socket");
    world.ok(&["daemon"]);
    world.wait_state("dev", "running", SOON);
}

#[test]
fn garbage_clients_disturb_nobody() {
    let world = World::new();
    world.create("dev", "stty -echo; echo ready; while read -r line; do echo \"got <$line>\"; done");
    let view = world.attach("dev");
    view.wait_text("ready", SOON);
    let manager = world.manager_pid();
    let path = socket(&world);
    let mut random = vec![0; 100_000];
    fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut random)).expect("random bytes");
    let connect = || UnixStream::connect(&path).expect("the manager's socket");
    let mut silent = Vec::new();
    for length in [1_usize, 3, 8, 9, 100, 4096, 100_000] {
        // Random bytes; a lost peer may make the write fail, which is fine.
        let mut stream = connect();
        let _ = stream.write_all(&random[..length]);
        silent.push(stream);
        let mut stream = connect();
        let _ = stream.write_all(&random[..length]);
        drop(stream);
        // A frame that promises four gigabytes, in either byte order, and does not bring them.
        for head in [[0xff; 8], [0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0], [0x7f, 0xff, 0xff, 0xff, 1, 0, 0, 0]] {
            let mut stream = connect();
            let _ = stream.write_all(&head);
            let _ = stream.write_all(&random[..length]);
            silent.push(stream);
        }
        let mut stream = connect();
        let _ = stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
        silent.push(stream);
    }
    // And many that connect and say nothing.
    silent.extend((0..50).map(|_| connect()));
    view.type_("still here\r");
    view.wait_text("got <still here>", SOON);
    world.create("more", "exec cat");
    assert_eq!(world.list().len(), 2);
    assert_eq!(world.manager_pid(), manager);
    let memory = procs::private_memory(manager).expect("the manager's memory");
    assert!(memory < 200 << 20, "{memory} bytes");
}

#[test]
fn a_corrupt_database_is_kept_aside_and_said() {
    let world = World::new();
    let numbers = Numbers::new(world.root());
    world.create("dev", &numbers.script());
    let pid = numbers.pid();
    world.kill_manager();
    let database = world.files(".db").pop().expect("a database in SESSD_HOME");
    let garbage: Vec<u8> = b"this is not a database, and it is precious\n".repeat(500);
    fs::write(&database, &garbage).expect("the database");
    for suffix in ["-wal", "-shm"] {
        let mut path = database.clone().into_os_string();
        path.push(suffix);
        let _ = fs::remove_file(PathBuf::from(path));
    }
    let output = world.ok(&["list", "--all"]);
    let mut kept = Vec::new();
    sessd_tests::world::files_below(&world.sessd_home(), &mut |path| {
        if fs::read(path).is_ok_and(|bytes| bytes == garbage) {
            kept.push(path.to_owned());
        }
    });
    assert_eq!(kept.len(), 1, "the old database is kept as it was");
    let name = kept[0].file_name().expect("a name").to_string_lossy().into_owned();
    let said = format!("{}{}", output.stderr, fs::read_to_string(world.log()).unwrap_or_default());
    assert!(said.contains(&name), "where it is kept is said: {name} in\n{said}");
    assert!(procs::alive(pid), "the job does not care");
    world.create("new", "exec cat");
    world.wait_state("new", "running", SOON);
}

#[test]
fn an_unwritable_state_folder_is_one_clear_line() {
    let mut world = World::new();
    let file = world.root().join("file");
    fs::write(&file, "in the way").expect("a file");
    world.set_env("SESSD_HOME", file.display().to_string());
    for args in [&["list"][..], &["create", "--", "cat"], &["daemon", "--foreground"]] {
        let line = world.fails(args, 1);
        assert!(line.contains(file.to_str().expect("text")), "the folder is named: {line}");
    }
    assert_eq!(fs::read_to_string(&file).expect("the file"), "in the way");
    until("nothing to be left running", SOON, || procs::mentioning(world.root()).is_empty().then_some(()));
}

#[test]
fn a_wrong_configuration_is_one_clear_line() {
    let world = World::new();
    fs::write(world.config(), "this is = = not toml\n").expect("the configuration");
    let line = world.fails(&["list"], 1);
    assert!(line.contains("config.toml"), "the file is named: {line}");
}

#[test]
fn a_manager_killed_at_any_point_of_create_leaves_no_orphan() {
    let world = World::new();
    world.ok(&["daemon"]);
    let mut faults = Faults::new(1, 0);
    for round in 0..12 {
        let moment = Duration::from_micros(faults.next(40_000));
        thread::scope(|scope| {
            let world = &world;
            let creating =
                scope.spawn(move || world.sessd(&["create", "--name", &format!("s{round}"), "--", "cat"]));
            // The moment of the fault, by the seed.
            thread::sleep(moment);
            for manager in world.managers() {
                procs::signal(manager, Signal::KILL);
            }
            let output = creating.join().expect("create ends");
            if output.code != 0 {
                assert_eq!(output.stderr.trim_end().lines().count(), 1, "one clear line: {output:#?}");
            }
        });
    }
    until_or(
        "as many holders as running sessions",
        LATER,
        || {
            let sessions = world.list();
            let running = sessions.iter().filter(|session| session["state"] == "running").count();
            let settled =
                sessions.iter().all(|session| session["state"] == "running" || session["state"] == "done");
            (settled && running == world.agents(&world.home(), "hold").len()).then_some(())
        },
        || {
            let holders = world.agents(&world.home(), "hold").len();
            format!("{holders} holders for {:#?}\n{}", world.list(), world.log_tail())
        },
    );
}
