//! Manager, agent, holder and job are processes of their own, whoever started them: what `/proc` says of them after a start
//! from an interactive shell, from cron, from `nohup` and from a script's background; and a job has what its caller has.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use sessd_tests::{LATER, Pty, SOON, SshConfig, Sshd, World, procs, until};

/// What `/proc` says of a process.
#[derive(Debug)]
struct Facts {
    pid: i32,
    group: i32,
    session: i32,
    terminal: i64,
    ignored: u64,
    blocked: u64,
    descriptors: Vec<(i32, String)>,
}

fn facts(pid: i32) -> Facts {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("a process");
    let fields: Vec<i64> = stat
        .rsplit_once(')')
        .expect("a name")
        .1
        .split_whitespace()
        .skip(1)
        .map(|f| f.parse().unwrap_or(0))
        .collect();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
    let mask = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key)).expect("a line");
        u64::from_str_radix(line.trim(), 16).expect("a mask")
    };
    let mut descriptors: Vec<(i32, String)> = fs::read_dir(format!("/proc/{pid}/fd"))
        .expect("descriptors")
        .flatten()
        .filter_map(|entry| {
            let to = fs::read_link(entry.path()).ok()?.to_string_lossy().into_owned();
            Some((entry.file_name().to_str()?.parse().ok()?, to))
        })
        .collect();
    descriptors.sort();
    let of = |at: usize| i32::try_from(fields[at]).expect("a number");
    // After the state and the parent: group, session, terminal.
    Facts {
        pid,
        group: of(1),
        session: of(2),
        terminal: fields[3],
        ignored: mask("SigIgn:") & !THE_C_LIBRARYS,
        blocked: mask("SigBlk:") & !THE_C_LIBRARYS,
        descriptors,
    }
}

/// Signals 32 and 33, which belong to the C library and cannot be changed through it.
const THE_C_LIBRARYS: u64 = 0b11 << 31;

fn bit(signal: Signal) -> u64 {
    1 << (signal.as_raw() - 1)
}

/// Checks what holds for each of our processes, whoever started it.
fn is_of_its_own(what: &str, facts: &Facts, callers_session: i32, secret: &Path) {
    assert_eq!(
        (facts.session, facts.group),
        (facts.pid, facts.pid),
        "{what} leads a session of its own: {facts:?}"
    );
    assert_ne!(facts.session, callers_session, "{what}");
    assert_eq!(facts.blocked, 0, "{what} holds no signal back");
    // Rust ignores SIGPIPE in every program of its own, and in none that it starts.
    assert_eq!(facts.ignored & !bit(Signal::PIPE), 0, "{what} ignores nothing: {facts:?}");
    let secret = secret.to_str().expect("text");
    assert!(
        facts.descriptors.iter().all(|(_, to)| to != secret),
        "{what} keeps nothing of its caller's: {facts:?}"
    );
}

struct Programs {
    manager: i32,
    serve: i32,
    hold: i32,
    job: i32,
}

fn programs(world: &World, session: &str) -> Programs {
    let info = world.wait_session(session, "a job", LATER, |info| info["job_pid"].as_i64().is_some());
    let one = |role: &str| until(role, SOON, || world.agents(&world.home(), role).first().copied());
    Programs {
        manager: world.manager_pid(),
        serve: one("serve"),
        hold: one("hold"),
        job: i32::try_from(info["job_pid"].as_i64().expect("a number")).expect("a process"),
    }
}

/// Ways to start `sessd`, as a script; `$SESSD` is the program, and descriptor 9 is open on a file that is locked.
const STARTS: [(&str, &str); 5] = [
    ("an interactive shell", "\"$SESSD\" create --name dev -- sleep 1000"),
    ("nohup", "nohup \"$SESSD\" create --name dev -- sleep 1000 >/dev/null 2>&1"),
    (
        "a background of a script",
        "sh -c '\"$SESSD\" daemon & wait'; \"$SESSD\" create --name dev -- sleep 1000",
    ),
    (
        "signals ignored",
        "(trap '' INT QUIT HUP TERM TSTP USR1 CHLD; \"$SESSD\" create --name dev -- sleep 1000)",
    ),
    ("nohup in the background", "nohup \"$SESSD\" create --name dev -- sleep 1000 >/dev/null 2>&1 & wait"),
];

#[test]
fn manager_agent_holder_and_job_leave_whoever_started_them() {
    for (how, script) in STARTS {
        let world = World::new();
        let secret = world.root().join("locked");
        let mut shell = world.program("/bin/sh");
        shell.args(["-i"]).env("SESSD", sessd_tests::world::sessd_binary());
        let mut window = Pty::spawn(shell, 80, 24);
        let session = window.pid();
        window.write(
            format!("exec 9>{}; flock -n 9; {script}; exec 9>&-\r", secret.display()).as_bytes(),
            SOON,
        );
        until(how, LATER, || world.info("dev").filter(|info| info["state"] == "running"));
        let found = programs(&world, "dev");
        for (what, pid) in [("manager", found.manager), ("serve", found.serve), ("holder", found.hold)] {
            let facts = facts(pid);
            is_of_its_own(&format!("{what}, by {how}"), &facts, session, &secret);
            assert_eq!(facts.terminal, 0, "{what}, by {how}, has no terminal");
        }
        let job = facts(found.job);
        is_of_its_own(&format!("job, by {how}"), &job, session, &secret);
        assert_eq!(job.ignored, 0, "a job ignores nothing, by {how}");
        assert!(job.descriptors.iter().all(|(fd, _)| *fd <= 2), "{job:?}");
        let unlocked = Command::new("flock").args(["-n", secret.to_str().expect("text"), "true"]).status();
        assert!(unlocked.expect("flock").success(), "the caller's lock is let go, by {how}");

        // The whole session of the shell, and everything on its terminal.
        for pid in procs::all() {
            if pid != std::process::id() as i32 && of_session(pid) == Some(session) {
                procs::signal(pid, Signal::HUP);
            }
        }
        window.kill();
        drop(window);
        for pid in [found.manager, found.serve, found.hold, found.job] {
            assert!(
                procs::alive(pid),
                "{} died with its caller's session, by {how}",
                procs::command_line(pid)
            );
        }
        world.wait_state("dev", "running", SOON);
    }
}

fn of_session(pid: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(3)?.parse().ok()
}

#[test]
fn from_crons_empty_environment_it_is_the_same() {
    let world = World::new();
    let mut command = world.command(&["create", "--name", "dev", "--", "sleep", "1000"]);
    command.env_remove("TERM").env_remove("LANG").env_remove("SHELL").env_remove("XDG_RUNTIME_DIR");
    assert_eq!(world.finish(command, b"", LATER).code, 0);
    let found = programs(&world, "dev");
    for pid in [found.manager, found.serve, found.hold, found.job] {
        is_of_its_own(
            "cron's",
            &facts(pid),
            of_session(std::process::id() as i32).expect("ours"),
            Path::new("/none"),
        );
    }
}

#[test]
fn a_hangup_is_nothing_to_the_manager() {
    let world = World::new();
    world.create("dev", "exec cat");
    let manager = world.manager_pid();
    procs::signal(manager, Signal::HUP);
    world.ok(&["list"]);
    assert_eq!(world.manager_pid(), manager);
}

#[test]
fn umask_limits_and_priority_of_a_local_session_are_its_callers() {
    let world = World::new();
    let sessd = sessd_tests::world::sessd_binary();
    let shell = |script: &str| {
        let mut command = world.program("sh");
        command.args(["-c", script]).env("S", sessd);
        let output = world.finish(command, b"", LATER);
        assert_eq!(output.code, 0, "{script}: {output:#?}");
    };
    // What the test itself has.
    let own = rustix::process::getpriority_process(None).expect("a priority");
    let nice = |more: i32| (own + more).min(19).to_string();
    // The manager is started by somebody else, with other things.
    shell("umask 077; ulimit -S -n 256; nice -n 5 \"$S\" list");
    let said = world.root().join("said");
    let job = format!("(umask; ulimit -S -n; ulimit -S -c; nice) >{0}.new; mv {0}.new {0}", said.display());
    for (before, want) in [
        ("umask 027; ulimit -S -n 300; ulimit -S -c 0; nice -n 7", ["0027", "300", "0", &nice(7)]),
        ("umask 002; ulimit -S -n 400; ulimit -S -c 0; nice -n 9", ["0002", "400", "0", &nice(9)]),
    ] {
        let _ = fs::remove_file(&said);
        shell(&format!("{before} \"$S\" create --name dev -- sh -c '{job}'"));
        let words = || fs::read_to_string(&said).ok();
        let got = until("the job to tell", SOON, words);
        assert_eq!(got.split_whitespace().collect::<Vec<_>>(), want, "{before}");
        // And of whoever runs it again.
        let _ = fs::remove_file(&said);
        world.wait_state("dev", "done", SOON);
        shell("umask 007; ulimit -S -n 500; ulimit -S -c 0; nice -n 11 \"$S\" restart dev");
        assert_eq!(
            until("the job to tell", SOON, words).split_whitespace().collect::<Vec<_>>(),
            ["0007", "500", "0", &nice(11)]
        );
        world.ok(&["delete", "dev", "--force"]);
    }
}

#[test]
fn a_restart_on_this_machine_has_the_environment_of_who_asks() {
    let mut world = World::new();
    let said = world.root().join("said");
    world.set_env("WHO", "the first");
    world.create("dev", &format!("echo \"$WHO\" >{0}.new; mv {0}.new {0}", said.display()));
    world.wait_state("dev", "done", SOON);
    let _ = fs::remove_file(&said);
    world.set_env("WHO", "the second");
    world.ok(&["restart", "dev"]);
    assert_eq!(until("the job to tell", SOON, || fs::read_to_string(&said).ok()), "the second\n");
}

#[test]
fn a_caller_that_waits_for_its_descriptors_to_close_does_not_wait_for_the_manager() {
    let world = World::new();
    let mut command = world.program("sh");
    command
        .args(["-c", "(exec 3>&1; \"$S\" list >/dev/null 2>&1) | cat"])
        .env("S", sessd_tests::world::sessd_binary());
    let output = world.finish(command, b"", SOON);
    assert_eq!(output.code, 0, "{output:#?}");
    assert_eq!(world.managers().len(), 1);
}

#[test]
fn ctrl_c_works_in_a_job_of_a_manager_that_a_script_started_in_its_background() {
    let world = World::new();
    let mut command = world.program("sh");
    command.args(["-c", "\"$S\" daemon & wait"]).env("S", sessd_tests::world::sessd_binary());
    assert_eq!(world.finish(command, b"", SOON).code, 0);
    world.create("dev", "echo ready; exec sleep 1000");
    let view = world.attach("dev");
    view.wait_text("ready", SOON);
    view.type_("\x03");
    let done = world.wait_state("dev", "done", SOON);
    assert_eq!(done["end"]["signal"], 2, "{done:#}");
}

#[test]
fn a_proxy_command_that_asks_on_the_terminal_stops_nobody() {
    let world = World::new();
    let asks = world.home().join("asks");
    fs::write(&asks, "#!/bin/sh\nstty sane </dev/tty && read -r answer </dev/tty\nexit 1\n")
        .expect("a script");
    sessd_tests::world::set_mode(&asks, 0o755);
    let config = world.home().join("ssh_config");
    fs::write(&config, format!("Host asking\n  ProxyCommand {}\n", asks.display())).expect("a configuration");
    let mut shell = world.program("/bin/sh");
    shell.args(["-i"]).env("SESSD", sessd_tests::world::sessd_binary()).env("SESSD_SSH_CONFIG", &config);
    let window = Pty::spawn(shell, 80, 24);
    window.write(b"\"$SESSD\" create --name good -- cat; \"$SESSD\" create --host asking\r", SOON);
    world.wait_state("good", "running", LATER);
    let manager = world.manager_pid();
    until("the other host to be tried", LATER, || {
        let log = fs::read_to_string(world.log()).unwrap_or_default();
        log.contains("asking").then_some(())
    });
    assert!(!fs::read_to_string(format!("/proc/{manager}/stat")).expect("it").contains(") T "), "stopped");
    assert_eq!(world.sessd_within(&["list"], Duration::from_secs(10)).code, 0);
    drop(window);
}

#[test]
fn on_a_host_a_holder_is_in_a_session_of_its_own() {
    let mut world = World::new();
    let sshd = Sshd::start_with(&world, "h1", &[]);
    let mut config = SshConfig::new(&mut world);
    config.host("box", &sshd);
    world.create_on("box", "dev", "exec sleep 1000");
    let info = world.wait_session("dev", "a job", LATER, |info| info["job_pid"].as_i64().is_some());
    let serve = until("serve", SOON, || world.agents(&sshd.home(), "serve").first().copied());
    let hold = until("hold", SOON, || world.agents(&sshd.home(), "hold").first().copied());
    let job = i32::try_from(info["job_pid"].as_i64().expect("a number")).expect("a process");
    let login = of_session(serve).expect("serve");
    for pid in [hold, job] {
        is_of_its_own("a host's", &facts(pid), login, Path::new("/none"));
    }
    for pid in procs::all() {
        if pid != std::process::id() as i32 && of_session(pid) == Some(login) {
            procs::signal(pid, Signal::HUP);
        }
    }
    procs::wait_gone(serve, SOON);
    assert!(procs::alive(hold) && procs::alive(job));
    world.wait_state("dev", "running", LATER);
}
