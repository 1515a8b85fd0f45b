//! The manager as a good citizen: whom it and its callers trust, how it is found, and what is said when it is not.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use sessd_tests::world::set_mode;
use sessd_tests::{LATER, SOON, World, procs, until};

/// What a verb may take that finds no manager that answers.
const DEADLINE: Duration = Duration::from_secs(12);
/// A user who is not us.
const SOMEBODY: u32 = 12345;

fn is_root() -> bool {
    rustix::process::getuid().is_root()
}

fn socket(world: &World) -> PathBuf {
    world.sessd_home().join("sessd.sock")
}

/// `sessd` as in a login that knows of no `SESSD_HOME`, with this runtime folder or, as from cron, with none.
fn in_the_home(world: &World, runtime: Option<&Path>, args: &[&str]) -> Command {
    let mut command = world.command(args);
    command.env_remove("SESSD_HOME").env_remove("XDG_RUNTIME_DIR");
    if let Some(runtime) = runtime {
        command.env("XDG_RUNTIME_DIR", runtime);
    }
    command
}

fn run(world: &World, command: Command) -> sessd_tests::world::Output {
    world.finish(command, b"", LATER)
}

fn pipe(path: &Path) {
    let kind = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, path, kind, rustix::fs::Mode::from_raw_mode(0o600), 0)
        .expect("a pipe");
}

#[test]
fn another_user_who_listens_on_the_socket_hears_nothing() {
    if !is_root() {
        return; // Only root can be another user for a moment.
    }
    let world = World::new();
    let (said, heard) = mpsc::channel();
    let path = socket(&world);
    let (ready, is_ready) = mpsc::channel();
    thread::spawn(move || {
        let listener = UnixListener::bind(&path).expect("a socket");
        // Of this thread alone: whoever calls listen(2) is who the kernel says is there.
        rustix::thread::set_thread_uid(rustix::process::Uid::from_raw(SOMEBODY)).expect("another user");
        rustix::net::listen(&listener, 16).expect("to listen");
        ready.send(()).expect("the test");
        for stream in listener.incoming() {
            let mut byte = [0];
            let read = std::io::Read::read(&mut stream.expect("a caller"), &mut byte).unwrap_or(0);
            let _ = said.send(read);
        }
    });
    is_ready.recv().expect("a listener");
    for args in [&["list"][..], &["create", "--", "cat"], &["attach"], &["daemon", "status"]] {
        let line = world.fails(args, 1);
        assert!(line.contains("another user (uid 12345)"), "{line}");
        assert_eq!(
            heard.recv_timeout(SOON).expect("a caller"),
            0,
            "a byte was said to somebody else: {args:?}"
        );
    }
    // And nobody is ended on its word.
    world.fails(&["daemon", "stop"], 1);
}

#[test]
fn a_runtime_folder_of_another_user_is_not_used_and_the_fallback_is_found_without_it() {
    let world = World::new();
    let theirs = world.root().join("theirs");
    fs::create_dir(&theirs).expect("a folder");
    if is_root() {
        chown(&theirs, Some(SOMEBODY), Some(SOMEBODY)).expect("another owner");
    } else {
        set_mode(&theirs, 0o777);
    }
    let output = run(&world, in_the_home(&world, Some(&theirs), &["create", "--name", "dev", "--", "cat"]));
    assert_eq!(output.code, 0, "{output:#?}");
    assert!(output.stderr.contains(theirs.to_str().expect("text")), "it is said: {output:#?}");
    assert_eq!(fs::read_dir(&theirs).expect("the folder").count(), 0, "nothing was put there");
    let from_cron = run(&world, in_the_home(&world, None, &["list", "--json"]));
    assert!(from_cron.stdout.contains("dev") && from_cron.stderr.is_empty(), "{from_cron:#?}");
}

#[test]
fn terminal_and_cron_find_the_same_manager_whoever_started_it() {
    for terminal_first in [true, false] {
        let world = World::new();
        let runtime = world.root().join("run");
        let ask = |in_terminal: bool, args: &[&str]| {
            let output = run(&world, in_the_home(&world, in_terminal.then_some(&*runtime), args));
            assert_eq!((output.code, output.stderr.as_str()), (0, ""), "{args:?}: {output:#?}");
            output.stdout
        };
        ask(terminal_first, &["create", "--name", "dev", "--", "cat"]);
        let pids = [true, false].map(|terminal| ask(terminal, &["daemon", "status", "--json"]));
        let pid = |text: &str| serde_json::from_str::<serde_json::Value>(text).expect("JSON")["pid"].clone();
        assert_eq!(
            pid(&pids[0]),
            pid(&pids[1]),
            "one manager, and the terminal came first: {terminal_first}"
        );
        assert!(ask(!terminal_first, &["list"]).contains("dev"));
        ask(!terminal_first, &["daemon", "stop"]);
        assert_eq!(world.managers(), Vec::<i32>::new());
    }
}

#[test]
fn a_folder_that_is_open_to_others_is_refused_and_none_is_changed() {
    let mut world = World::new();
    for (mode, refused) in [(0o755, false), (0o777, true), (0o1777, true)] {
        let folder = world.root().join(format!("{mode:o}"));
        fs::create_dir(&folder).expect("a folder");
        set_mode(&folder, mode);
        world.set_env("SESSD_HOME", folder.display().to_string());
        if refused {
            let line = world.fails(&["list"], 1);
            assert!(line.contains(folder.to_str().expect("text")) && line.contains("others"), "{line}");
        } else {
            world.ok(&["list"]);
            for file in ["sessd.db", "sessd.db.lock", "sessd.lock", "sessd.log", "sessd.sock"] {
                let mode = fs::symlink_metadata(folder.join(file)).expect("a file of the manager").mode();
                assert_eq!(mode & 0o077, 0, "{file}");
            }
        }
        let after = fs::metadata(&folder).expect("the folder").permissions().mode() & 0o7777;
        assert_eq!(after, mode, "a folder that was there is left as it was");
    }
}

#[test]
fn a_pipe_where_a_file_should_be_is_one_line_and_not_a_wait() {
    for file in ["sessd.log", "config.toml", "sessd.db"] {
        let world = World::new();
        pipe(&world.sessd_home().join(file));
        for args in [&["list"][..], &["daemon", "--foreground"]] {
            let output = world.sessd_within(args, DEADLINE);
            let line = world.one_error(file, &output, 1);
            assert!(line.contains(file) && line.contains("pipe"), "{line}");
        }
    }
}

#[test]
fn relative_folders_are_the_callers() {
    let mut world = World::new();
    world.set_env("SESSD_HOME", "rel");
    world.ok(&["create", "--name", "dev", "--", "sh", "-c", "cd /; echo $SESSD_HOME; exec cat"]);
    let there = world.home().join("rel");
    assert!(there.join("sessd.db").exists() && !Path::new("/rel").exists());
    world.wait_state("dev", "running", SOON);
    let inside = world.sessd(&["attach", "nobody"]);
    assert_eq!(inside.code, 3, "{inside:#?}");
    world.set_env("SESSD_CONFIG", "my.toml");
    fs::write(world.home().join("my.toml"), "nonsense = 1\n").expect("a configuration");
    assert!(world.fails(&["daemon", "restart"], 1).contains("my.toml"));
}

#[test]
fn without_home_the_password_database_is_asked() {
    let world = World::new();
    let mut command = world.command(&["daemon", "status"]);
    command.env_remove("HOME");
    let line = world.one_error("status", &run(&world, command), 1);
    assert!(line.contains("does not run"), "{line}");
}

#[test]
fn a_socket_that_is_removed_is_made_again_and_the_manager_is_known_without_it() {
    let world = World::new();
    world.create("dev", "exec cat");
    let manager = world.manager_pid();
    fs::remove_file(socket(&world)).expect("the socket");
    world.ok(&["list"]);
    assert_eq!(world.manager_pid(), manager);
    // Before it is made again, too, the manager can be stopped.
    fs::remove_file(socket(&world)).expect("the socket");
    world.ok(&["daemon", "stop"]);
    assert!(!procs::alive(manager), "stopped is stopped");
    world.wait_state("dev", "running", SOON);
}

#[test]
fn a_manager_that_does_not_answer_is_said_and_can_be_stopped() {
    let world = World::new();
    world.create("dev", "exec cat");
    for verb in [&["list"][..], &["daemon", "status"], &["create", "--", "cat"], &["attach", "dev"]] {
        let manager = world.manager_pid();
        procs::signal(manager, Signal::STOP);
        let output = world.sessd_within(verb, DEADLINE);
        let line = world.one_error("a verb", &output, 1);
        assert!(line.contains(&format!("pid {manager}")), "{line}");
        procs::signal(manager, Signal::CONT);
    }
    for verb in ["restart", "stop"] {
        let manager = world.manager_pid();
        procs::signal(manager, Signal::STOP);
        world.ok(&["daemon", verb]);
        procs::wait_gone(manager, SOON);
    }
    world.wait_state("dev", "running", SOON);
}

#[test]
fn a_program_that_is_no_manager_and_says_nothing_is_named_and_never_ended() {
    let world = World::new();
    let mut other = Command::new("sleep").arg("1000").spawn().expect("a process");
    let listener = UnixListener::bind(socket(&world)).expect("a socket");
    // What is written down is no evidence.
    let lock = world.sessd_home().join("sessd.db.lock");
    fs::write(&lock, format!("pid {}\nmachine x\nsocket {}\n", other.id(), socket(&world).display()))
        .expect("a lock");
    for args in [&["list"][..], &["daemon", "status"], &["daemon", "stop"]] {
        let output = world.sessd_within(args, DEADLINE);
        let line = world.one_error("a verb", &output, 1);
        assert!(line.contains(&std::process::id().to_string()) && line.contains("sessd.sock"), "{line}");
    }
    assert!(other.try_wait().expect("its state").is_none(), "a process that was named by a file lives");
    drop(listener);
    let _ = other.kill();
    let _ = other.wait();
    world.ok(&["list"]);
}

#[test]
fn a_state_folder_that_is_deleted_comes_back_with_its_records() {
    let world = World::new();
    world.create("dev", "exec cat");
    let manager = world.manager_pid();
    fs::remove_dir_all(world.sessd_home()).expect("the folder");
    world.wait_state("dev", "running", LATER);
    assert_ne!(world.manager_pid(), manager, "the next one goes on");
    until("the first to be gone", SOON, || (!procs::alive(manager)).then_some(()));
}

#[test]
fn of_many_managers_that_are_started_at_once_one_wins() {
    let world = World::new();
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| world.ok(&["daemon"]));
        }
    });
    assert_eq!(world.managers().len(), 1);
    let line = world.fails(&["daemon", "--foreground"], 1);
    assert!(line.contains(&format!("pid {}", world.manager_pid())), "{line}");
}

#[test]
fn stop_stops_while_sessions_end() {
    let world = World::new();
    for round in 0..6 {
        for n in 0..8 {
            world.ok(&["create", "--name", &format!("s{round}-{n}"), "--", "sleep", "0.1"]);
        }
        let manager = world.manager_pid();
        world.ok(&["daemon", "stop"]);
        assert!(!procs::alive(manager));
    }
}

#[test]
fn a_wrong_configuration_does_not_cost_the_manager_that_runs() {
    let world = World::new();
    world.create("dev", "exec cat");
    let manager = world.manager_pid();
    fs::write(world.config(), "# mine\nidle_timout = \"2d\"\n").expect("the configuration");
    let line = world.fails(&["daemon", "restart"], 1);
    assert!(
        line.contains("line 2: unknown setting idle_timout: did you mean idle_timeout"),
        "the mistake, and what was meant: {line}"
    );
    assert_eq!(world.manager_pid(), manager);
    world.wait_state("dev", "running", SOON);
}

#[test]
fn a_configuration_that_others_can_write_is_not_used() {
    let world = World::new();
    fs::create_dir_all(world.sessd_home()).unwrap();
    set_mode(&world.sessd_home(), 0o700);
    let ran = world.root().join("ran");
    fs::write(world.config(), format!("event_command = \"touch {}\"\n", ran.display())).unwrap();
    set_mode(&world.config(), 0o666);
    let said = world.fails(&["list"], 1);
    assert!(said.contains("is not used: others can write it") && said.contains("chmod go-w"), "{said}");
    // Neither does a manager that runs take it over.
    fs::remove_file(world.config()).unwrap();
    world.ok(&["list"]);
    let open = world.root().join("open");
    fs::write(&open, format!("event_command = \"touch {}\"\n", ran.display())).unwrap();
    set_mode(&open, 0o606);
    fs::rename(&open, world.config()).unwrap();
    until("the manager to have looked", SOON, || {
        let status = world.json(&["daemon", "status"]);
        status["config_errors"][0].as_str()?.contains("is not used").then_some(())
    });
    world.create("dev", "exit 3");
    world.wait_state("dev", "done", SOON);
    assert!(!ran.exists());
    // Mended as it was said, it counts.
    set_mode(&world.config(), 0o600);
    until("the manager to have looked again", SOON, || {
        world.json(&["daemon", "status"])["config_errors"].as_array()?.is_empty().then_some(())
    });
}

#[test]
fn a_program_that_was_replaced_is_said_and_restart_begins_the_new_one() {
    let world = World::new();
    let program = world.root().join("sessd");
    fs::copy(sessd_tests::world::sessd_binary(), &program).expect("a copy");
    let sessd = |args: &[&str]| {
        let mut command = world.program(&program);
        command.args(args);
        let output = run(&world, command);
        assert_eq!(output.code, 0, "{args:?}: {output:#?}");
        output.stdout
    };
    sessd(&["daemon"]);
    let replaced = || sessd(&["daemon", "status"]).contains("the file is another by now");
    assert!(!replaced());
    let new = world.root().join("new");
    fs::copy(&program, &new).and_then(|_| fs::rename(&new, &program)).expect("an upgrade");
    assert!(replaced());
    let status = sessd(&["daemon", "status"]);
    for file in ["config.toml", "sessd.db", "sessd.log", "sessd.sock"] {
        assert!(status.contains(world.sessd_home().join(file).to_str().expect("text")), "{status}");
    }
    sessd(&["daemon", "restart"]);
    assert!(!replaced());
}

#[test]
fn an_installation_that_fails_leaves_nothing_behind() {
    let mut world = World::new();
    let bin = world.root().join("bin");
    fs::create_dir(&bin).expect("a folder");
    let systemctl = bin.join("systemctl");
    fs::write(&systemctl, "#!/bin/sh\n[ \"$2\" != enable ] || { echo no >&2; exit 1; }\n").expect("a script");
    set_mode(&systemctl, 0o755);
    world.set_env("PATH", format!("{}:/usr/bin:/bin", bin.display()));
    world.set_env("XDG_CONFIG_HOME", world.home().join("config").display().to_string());
    world.fails(&["daemon", "install"], 1);
    assert!(!world.home().join("config").exists());
    fs::write(&systemctl, "#!/bin/sh\nexit 0\n").expect("a script");
    world.ok(&["daemon", "install"]);
    let unit = world.home().join("config/systemd/user/sessd.service");
    let text = fs::read_to_string(&unit).expect("a unit");
    assert!(text.contains(&format!("Environment=\"SESSD_HOME={}\"", world.sessd_home().display())), "{text}");
    fs::write(&systemctl, "#!/bin/sh\nexit 1\n").expect("a script");
    world.ok(&["daemon", "uninstall"]);
    assert!(!unit.exists());
}

/// `sessd VERB` with so many open files at the most, for it and for the manager that it starts.
fn limited(world: &World, most: u32, verb: &str) -> Command {
    let mut command = world.program("sh");
    command
        .args(["-c", &format!("ulimit -n {most}; \"$S\" {verb}")])
        .env("S", sessd_tests::world::sessd_binary());
    command
}

#[test]
fn a_manager_with_too_few_descriptors_does_not_begin_and_says_why() {
    let world = World::new();
    for (most, verb) in [(10, "create -- cat"), (20, "list"), (26, "create -- cat"), (47, "attach dev")] {
        let line = world.one_error(verb, &run(&world, limited(&world, most, verb)), 1);
        assert!(
            line.contains(&format!("no more than {most} open files")) && line.contains("`ulimit -Hn`"),
            "{line}"
        );
    }
    world.ok(&["daemon", "stop"]);
}

/// It has no room for another connection, not even for who wants it to stop: it is ended by its lock.
#[test]
fn a_manager_without_descriptors_is_stopped_all_the_same() {
    let world = World::new();
    assert_eq!(run(&world, limited(&world, 48, "create --name dev -- cat")).code, 0);
    let inside: Vec<UnixStream> = (0..60).filter_map(|_| UnixStream::connect(socket(&world)).ok()).collect();
    until("a verb to be told", LATER, || (world.sessd_within(&["list"], DEADLINE).code != 0).then_some(()));
    world.ok(&["daemon", "stop"]);
    drop(inside);
    world.wait_state("dev", "running", LATER);
}

#[test]
fn a_manager_without_descriptors_says_so() {
    let world = World::new();
    assert_eq!(run(&world, limited(&world, 48, "create --name dev -- cat")).code, 0);
    // Those that say nothing are let go for whoever comes when there are too many; these are too few for that.
    let inside: Vec<UnixStream> = (0..60).filter_map(|_| UnixStream::connect(socket(&world)).ok()).collect();
    let line = until("a verb to be told", LATER, || {
        let output = world.sessd_within(&["list"], DEADLINE);
        (output.code != 0).then(|| world.one_error("list", &output, 1))
    });
    assert!(line.contains("open files"), "{line}");
    drop(inside);
    until("the manager to let people in", LATER, || (world.sessd(&["list"]).code == 0).then_some(()));
}

#[test]
fn what_was_deleted_is_not_in_the_files() {
    let world = World::new();
    let secret = "correcthorsebatterystaple";
    world.ok(&["create", "--name", "dev", "--env", &format!("TOKEN={secret}"), "--", "cat"]);
    world.ok(&["delete", "dev", "--force"]);
    until("the secret to be nowhere", LATER, || {
        let files = ["", "-wal", "-shm"].map(|end| world.sessd_home().join(format!("sessd.db{end}")));
        let there = |file: &PathBuf| {
            fs::read(file).is_ok_and(|bytes| procs::find(&bytes, secret.as_bytes()).is_some())
        };
        (!files.iter().any(there)).then_some(())
    });
    // The manager had it open all along.
    let _ = UnixStream::connect(socket(&world)).expect("the manager");
}

#[test]
fn a_container_entered_from_outside_is_a_place_like_any_other() {
    let world = World::new();
    let inside = |script: &str| {
        let mut command = world.program("unshare");
        command.args(["--pid", "--fork", "--mount-proc", "--kill-child"]);
        if !is_root() {
            command.args(["--user", "--map-current-user"]);
        }
        command.args(["sh", "-ec", script]).env("SESSD", sessd_tests::world::sessd_binary());
        world.finish(command, b"", LATER)
    };
    if inside("true").code != 0 {
        eprintln!("not tried: this machine lets us make no namespace of processes");
        return;
    }
    // Here our session's leader is outside, and its number is 0.
    let output = inside(
        r#"test "$(ps -o sid= -p $$ | tr -d ' ')" = 0
        "$SESSD" create --name dev -- cat >/dev/null
        "$SESSD" info dev --json
        "$SESSD" daemon --foreground || echo "the second: $?"
        "$SESSD" delete dev
        "$SESSD" daemon stop"#,
    );
    assert_eq!(output.code, 0, "{output:#?}");
    assert!(
        output.stdout.contains("\"running\"") && output.stdout.contains("the second: 1\n"),
        "{output:#?}"
    );
}
