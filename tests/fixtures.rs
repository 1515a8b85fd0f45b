//! The fixtures themselves, proved with programs that are known to work: what a test says of sessd rests on these.

use std::fs;
use std::time::Duration;

use rustix::process::Signal;
use sessd_tests::{
    Faults, Numbers, Proxy, SOON, SshConfig, Sshd, View, World, check_numbers, numbers_in, procs, quote,
    sshd, until,
};

/// `ssh` as the world's user runs it.
fn ssh(world: &World, config: &SshConfig, args: &[&str]) -> std::process::Command {
    let mut command = world.program("ssh");
    command.arg("-F").arg(config.path()).args(["-o", "BatchMode=yes"]).args(args);
    command
}

/// `ssh` in a PTY here and without one there: where the far terminal is not ours to chown, sshd gives an unprivileged
/// user none.
fn ssh_in_a_view(world: &World, config: &SshConfig, script: &str) -> View {
    let mut command = world.program("sh");
    let ssh = format!("ssh -F {} -o BatchMode=yes -T box {}", config.path().display(), quote(script));
    command.args(["-c", &format!("stty -echo; exec {ssh}")]);
    View::spawn(command, 80, 24)
}

#[test]
fn a_view_shows_what_is_written_and_types_what_is_typed() {
    let world = World::new();
    let mut command = world.program("sh");
    command
        .args(["-c", "stty -echo; echo ready; read -r word; echo \"got <$word> of $(stty size)\"; exit 7"]);
    let mut view = View::spawn(command, 91, 33);
    view.wait_text("ready", SOON);
    view.type_("a b\r");
    view.wait_text("got <a b> of 33 91", SOON);
    assert_eq!(view.wait_exit(SOON), 7);
}

#[test]
fn closing_the_window_hangs_up() {
    let world = World::new();
    let mut command = world.program("sh");
    command.args(["-c", "trap 'echo hup >hup; exit' HUP; echo ready; while :; do read -r x; done"]);
    let view = View::spawn(command, 80, 24);
    view.wait_text("ready", SOON);
    let pid = view.pid();
    view.close();
    assert!(!procs::alive(pid));
    assert_eq!(fs::read_to_string(world.home().join("hup")).expect("the trap ran"), "hup\n");
}

#[test]
fn a_view_tells_changed_terminal_settings() {
    let world = World::new();
    let mut command = world.program("sh");
    command.args([
        "-c",
        "read -r x; stty raw -echo; echo raw; read -r x; stty sane; echo; echo sane; read -r x",
    ]);
    let view = View::spawn(command, 80, 24);
    let before = format!("{:?}", view.termios());
    view.type_("\n");
    view.wait_text("raw", SOON);
    assert_ne!(before, format!("{:?}", view.termios()));
    view.type_("\n");
    view.wait_text("sane", SOON);
}

#[test]
fn a_resize_reaches_the_program() {
    let world = World::new();
    let mut command = world.program("sh");
    command.args(["-c", "trap 'stty size' WINCH; echo ready; while :; do read -r x; done"]);
    let view = View::spawn(command, 80, 24);
    view.wait_text("ready", SOON);
    view.resize(100, 30);
    view.wait_text("30 100", SOON);
}

#[test]
fn the_history_of_a_view_holds_every_line() {
    let world = World::new();
    let numbers = Numbers::new(world.root());
    let mut command = world.program("sh");
    command.args(["-c", &numbers.script()]);
    let mut view = View::spawn(command, 80, 24);
    let pid = numbers.pid();
    assert_eq!(pid, view.pid());
    numbers.emit(3000);
    numbers.emit(2000);
    view.wait_text(&numbers.last_line(), SOON);
    check_numbers(&numbers_in(&view.raw()), 5000).expect("raw bytes");
    check_numbers(&numbers_in(view.history().join("\n").as_bytes()), 5000).expect("history");
    drop(numbers);
    assert_eq!(view.wait_exit(SOON), 0);
}

#[test]
fn lost_and_doubled_lines_are_noticed() {
    assert!(check_numbers(&[0, 1, 2], 3).is_ok());
    assert!(check_numbers(&[0, 1, 1, 2], 4).is_err());
    assert!(check_numbers(&[0, 2], 2).is_err());
    assert!(check_numbers(&[0, 1], 3).is_err());
    assert_eq!(numbers_in(b"x n:000001\r\nn:00000n:000002\r\n"), [1, 2]);
}

#[test]
fn two_hosts_have_two_homes() {
    let mut world = World::new();
    let (one, two) = (Sshd::start_in(&world, "h1"), Sshd::start_in(&world, "h2"));
    let mut config = SshConfig::new(&mut world);
    config.host("box", &one).host("box2", &two);
    for (alias, host) in [("box", &one), ("box2", &two)] {
        let out = world.finish(ssh(&world, &config, &[alias, "echo $HOME"]), b"", SOON);
        assert_eq!((out.code, out.stdout.trim()), (0, host.home().to_str().expect("text")), "{out:?}");
    }
    assert_eq!((one.logins(), two.logins()), (1, 1));
}

#[test]
fn odd_hosts_are_such_that_ssh_reaches_them() {
    let mut odd: Vec<(String, Vec<String>)> =
        [("noisy", sshd::NOISY), ("umask", sshd::TIGHT_UMASK), ("strict", sshd::STRICT)]
            .into_iter()
            .map(|(name, options)| {
                (name.to_owned(), options.iter().map(|&option| option.to_owned()).collect())
            })
            .collect();
    odd.extend(
        sshd::login_shells()
            .into_iter()
            .map(|(name, path)| (name.to_owned(), vec![sshd::with_login_shell(&path)])),
    );
    let mut world = World::new();
    let mut config = SshConfig::new(&mut world);
    for (name, options) in &odd {
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        let host = Sshd::start_with(&world, &format!("h-{name}"), &options);
        config.host(name, &host);
        let script = "exec sh -c 'read -r word; echo \"<$word> $((6 * 7)) $HOME\"'";
        let out = world.finish(ssh(&world, &config, &[name, script]), b"two words\n", SOON);
        let want = format!("<two words> 42 {}\n", host.home().display());
        assert!(out.code == 0 && out.stdout.ends_with(&want), "{name}: {out:?}");
        assert_eq!(out.stdout.len() > want.len(), name == "noisy", "{name}: {out:?}");
    }
}

#[test]
fn a_stopped_host_loses_its_connections_and_comes_back() {
    let mut world = World::new();
    let mut host = Sshd::start_in(&world, "h1");
    let mut config = SshConfig::new(&mut world);
    config.host("box", &host);
    let mut view = ssh_in_a_view(&world, &config, "echo here; exec cat");
    view.wait_text("here", SOON);
    assert!(host.connections() > 0);
    host.stop();
    assert_eq!(view.wait_exit(SOON), 255);
    let out = world.finish(ssh(&world, &config, &["box", "true"]), b"", SOON);
    assert_eq!(out.code, 255, "nobody listens: {out:?}");
    host.start();
    let out = world.finish(ssh(&world, &config, &["box", "true"]), b"", SOON);
    assert_eq!(out.code, 0, "{out:?}");
}

#[test]
fn a_proxy_freezes_resumes_and_cuts() {
    let mut world = World::new();
    let host = Sshd::start_in(&world, "h1");
    let proxy = Proxy::to(host.addr());
    let mut config = SshConfig::new(&mut world);
    config.host_at("box", &host, proxy.addr(), &[]);
    let mut view = ssh_in_a_view(&world, &config, "echo here; exec cat");
    view.wait_text("here", SOON);
    proxy.freeze();
    view.type_("frozen\r");
    until("what was typed is held", SOON, || (proxy.held() > 0).then_some(()));
    assert!(view.exited().is_none());
    assert!(!view.screen_text().contains("frozen"));
    proxy.resume();
    view.wait_text("frozen", SOON);
    proxy.cut();
    assert_eq!(view.wait_exit(SOON), 255);
    let out = world.finish(ssh(&world, &config, &["box", "true"]), b"", SOON);
    assert_eq!(out.code, 255, "{out:?}");
    proxy.resume();
    let out = world.finish(ssh(&world, &config, &["box", "true"]), b"", SOON);
    assert_eq!(out.code, 0, "{out:?}");
}

#[test]
fn faults_by_seed_cut_as_often_as_they_should() {
    let mut world = World::new();
    let host = Sshd::start_in(&world, "h1");
    let proxy = Proxy::to(host.addr());
    let mut config = SshConfig::new(&mut world);
    config.host_at("box", &host, proxy.addr(), &[]);
    proxy.inject(Faults::new(20_000, 2));
    let mut lost = 0;
    while proxy.cuts_left() > 0 {
        let out = world.finish(ssh(&world, &config, &["box", "head -c 100000 /dev/zero"]), b"", SOON);
        lost += usize::from(out.code == 255);
        assert!(lost <= 2, "{out:?}");
    }
    assert_eq!(lost, 2);
    let out = world.finish(ssh(&world, &config, &["box", "head -c 100000 /dev/zero"]), b"", SOON);
    assert_eq!((out.code, out.stdout.len()), (0, 100_000));
}

#[test]
fn a_world_takes_its_processes_along() {
    let world = World::new();
    let mut command = world.program("sh");
    command.args([
        "-c",
        "setsid sh -c 'trap \"\" HUP TERM; echo $$ >pid; while :; do sleep 1000; done' >/dev/null 2>&1 &",
    ]);
    let out = world.finish(command, b"", SOON);
    assert_eq!(out.code, 0, "{out:?}");
    let pid = sessd_tests::jobs::wait_pid(&world.home().join("pid"));
    let root = world.root().to_owned();
    drop(world);
    assert!(!procs::alive(pid));
    assert!(!root.exists());
}

#[test]
fn a_command_that_hangs_fails_at_its_deadline() {
    let world = World::new();
    let mut command = world.program("sleep");
    command.arg("1000");
    let failed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        world.finish(command, b"", Duration::from_millis(300));
    }));
    assert!(failed.is_err());
    let mut view = View::spawn(world.program("cat"), 80, 24);
    view.signal(Signal::TERM);
    assert_eq!(view.wait_exit(SOON), 128 + 15);
}
