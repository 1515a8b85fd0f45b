//! How a host is reached, and what is said when it cannot be: keys, known hosts, jumps, odd logins.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use sessd_tests::sshd::{self, private_address};
use sessd_tests::{LATER, Numbers, Proxy, SOON, SshConfig, Sshd, World, procs, until};

/// `create` on `host`, which has to fail with `code` within `within`.
fn create_fails(world: &World, host: &str, code: i32, within: Duration) -> String {
    let args = ["create", "--name", "dev", "--host", host, "--", "cat"];
    let output = world.sessd_within(&args, within);
    let line = world.one_error("create", &output, code);
    assert_eq!(world.list().len(), 0, "a session that never was leaves no record");
    line
}

#[test]
fn a_refused_connection_ends_with_5() {
    let mut world = World::new();
    let mut host = Sshd::start_in(&world, "h1");
    SshConfig::new(&mut world).host("box", &host);
    host.stop();
    let line = create_fails(&world, "box", 5, Duration::from_secs(10));
    assert!(line.contains("box"), "the host is named: {line}");
    let error = world.json_error(&["create", "--host", "box", "--", "cat"], 5);
    assert!(error["message"].as_str().is_some_and(|text| text.contains("box")), "{error}");
    // Nothing is remembered that would stand in the way once it is there.
    host.start();
    world.works_on("box", "dev");
}

#[test]
fn a_silent_host_ends_with_5_within_its_connect_timeout() {
    let mut world = World::new();
    let host = Sshd::start_in(&world, "h1");
    // It takes the connection and never says a word, as a dead machine behind a live load balancer does.
    let silent = TcpListener::bind(SocketAddr::new(private_address(), 0)).expect("a listener");
    let addr = silent.local_addr().expect("its address");
    SshConfig::new(&mut world).host_at("box", &host, addr, &[]);
    // The configuration's ConnectTimeout is 5 seconds.
    create_fails(&world, "box", 5, Duration::from_secs(12));
}

#[test]
fn ten_creates_on_a_silent_host_dial_it_once_and_wait_once() {
    let mut world = World::new();
    let host = Sshd::start_in(&world, "h1");
    let silent = TcpListener::bind(SocketAddr::new(private_address(), 0)).expect("a listener");
    let addr = silent.local_addr().expect("its address");
    SshConfig::new(&mut world).host_at("box", &host, addr, &[]);
    world.ok(&["daemon"]);
    let dialled = std::thread::spawn(move || {
        silent.set_nonblocking(true).expect("a listener that does not wait");
        let (mut kept, begun) = (Vec::new(), std::time::Instant::now());
        while begun.elapsed() < Duration::from_secs(9) {
            match silent.accept() {
                Ok(connection) => kept.push(connection),
                Err(_) => std::thread::sleep(Duration::from_millis(20)),
            }
        }
        kept.len()
    });
    std::thread::scope(|scope| {
        let create = || world.sessd_within(&["create", "--host", "box", "--", "cat"], Duration::from_secs(9));
        let all: Vec<_> = (0..10).map(|_| scope.spawn(create)).collect();
        for one in all {
            let output = one.join().expect("create ends");
            world.one_error("create", &output, 5);
        }
    });
    assert_eq!(dialled.join().expect("a number"), 1, "one attempt for all of them");
    // Nobody needs it, and its name may have been a slip: nothing is left of it.
    let links = world.json(&["daemon", "status"])["links"].clone();
    assert_eq!(links, serde_json::json!([]), "{links}");
}

#[test]
fn a_name_that_does_not_resolve_ends_with_5() {
    let mut world = World::new();
    SshConfig::new(&mut world);
    let line = create_fails(&world, "no-such-host.invalid", 5, Duration::from_secs(25));
    assert!(line.contains("no-such-host.invalid"), "{line}");
}

#[test]
fn a_host_out_of_reach_does_not_hold_up_the_others() {
    let mut world = World::new();
    let host = Sshd::start_in(&world, "h1");
    let silent = TcpListener::bind(SocketAddr::new(private_address(), 0)).expect("a listener");
    let addr = silent.local_addr().expect("its address");
    SshConfig::new(&mut world).host("box", &host).host_at("dead", &host, addr, &[]);
    world.works_on("box", "warm");
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| world.sessd(&["create", "--host", "dead", "--", "cat"]));
        let output = world
            .sessd_within(&["create", "--name", "dev", "--host", "box", "--", "cat"], Duration::from_secs(3));
        assert_eq!(output.code, 0, "{output:#?}");
        world.sessd_within(&["list"], Duration::from_secs(3));
        assert_eq!(waiting.join().expect("create ends").code, 5);
    });
}

#[test]
fn a_refused_key_ends_with_6_and_is_not_tried_again() {
    let mut world = World::new();
    let host = Sshd::start_in(&world, "h1");
    SshConfig::new(&mut world).host("box", &host);
    host.refuse_keys();
    let line = create_fails(&world, "box", 6, SOON);
    assert!(line.contains("box"), "{line}");
    let tries = host.refusals();
    assert_eq!(tries, 1, "one create is one login");
    // Listing and looking are no reason to knock again.
    for _ in 0..5 {
        world.list();
    }
    assert_eq!(host.refusals(), tries);
}

#[test]
fn a_key_refused_after_a_cut_waits_for_a_person() {
    let mut world = World::new();
    let mut host = Sshd::start_in(&world, "h1");
    SshConfig::new(&mut world).host("box", &host);
    let numbers = Numbers::new(world.root());
    world.create_on("box", "dev", &numbers.script());
    let pid = numbers.pid();
    host.stop();
    let keys = fs::read(world.root().join("h1/authorized_keys")).expect("the authorized keys");
    host.refuse_keys();
    host.start();
    let info =
        world.wait_session("dev", "a link that needs a login", LATER, |info| info["link"] == "needs-login");
    assert_eq!(info["state"], "disconnected", "{info:#}");
    let tries = host.refusals();
    let begun = std::time::Instant::now();
    until("five seconds to pass", SOON, || (begun.elapsed() > Duration::from_secs(5)).then_some(()));
    assert_eq!(host.refusals(), tries, "nobody knocks without a person");
    assert!(procs::alive(pid));
    fs::write(world.root().join("h1/authorized_keys"), keys).expect("the authorized keys");
    // A person who wants the session is reason enough to try again.
    let view = world.attach("dev");
    world.wait_state("dev", "running", LATER);
    numbers.emit(1);
    view.wait_text(&numbers.last_line(), SOON);
    assert_eq!(numbers.pid(), pid);
}

#[test]
fn an_unknown_host_key_is_refused_with_its_fingerprint() {
    let mut world = World::new();
    let host = Sshd::start_in(&world, "h1");
    let mut config = SshConfig::new(&mut world);
    config.stranger_at("box", &host, host.addr(), &[]);
    let line = create_fails(&world, "box", 1, SOON);
    assert!(line.contains(&host.fingerprint()), "{} in {line}", host.fingerprint());
    assert_eq!(
        fs::read_to_string(config.known_hosts()).expect("the known hosts"),
        "",
        "nothing was written down"
    );
    assert_eq!(host.logins(), 0);
}

#[test]
fn accept_new_takes_an_unknown_key_and_writes_it_down() {
    let mut world = World::new();
    let mut host = Sshd::start_in(&world, "h1");
    let mut config = SshConfig::new(&mut world);
    config.stranger_at("box", &host, host.addr(), &["StrictHostKeyChecking accept-new"]);
    world.works_on("box", "dev");
    let known = fs::read_to_string(config.known_hosts()).expect("the known hosts");
    assert!(known.contains(host.host_key()), "{known}");
    // What it wrote is what ssh reads.
    let mut ssh = world.program("ssh");
    ssh.arg("-F").arg(config.path()).args([
        "-o",
        "BatchMode=yes",
        "-o",
        "StrictHostKeyChecking=yes",
        "box",
        "true",
    ]);
    let output = world.finish(ssh, b"", SOON);
    assert_eq!(output.code, 0, "{output:#?}");
    // And a key that changed is refused all the same.
    world.ok(&["delete", "--all", "--force"]);
    world.ok(&["daemon", "stop"]);
    host.stop();
    host.change_host_key();
    host.start();
    let line = create_fails(&world, "box", 1, SOON);
    assert!(line.contains(&host.fingerprint()), "{line}");
}

#[test]
fn a_changed_host_key_is_refused_with_both_fingerprints() {
    let mut world = World::new();
    let mut host = Sshd::start_in(&world, "h1");
    let mut config = SshConfig::new(&mut world);
    config.host("box", &host);
    world.works_on("box", "before");
    world.ok(&["delete", "before"]);
    world.ok(&["daemon", "stop"]);
    let old = host.fingerprint();
    let known = fs::read_to_string(config.known_hosts()).expect("the known hosts");
    host.stop();
    host.change_host_key();
    host.start();
    let logins = host.logins();
    let line = create_fails(&world, "box", 1, SOON);
    assert!(
        line.contains(&old) && line.contains(&host.fingerprint()),
        "{old}, {} in {line}",
        host.fingerprint()
    );
    assert_eq!(fs::read_to_string(config.known_hosts()).expect("the known hosts"), known);
    assert_eq!(host.logins(), logins);
}

#[test]
fn a_jump_host_is_used() {
    let mut world = World::new();
    let (jump, inner) = (Sshd::start_in(&world, "h1"), Sshd::start_in(&world, "h2"));
    let mut config = SshConfig::new(&mut world);
    config.host("jump", &jump).host_at("inner", &inner, inner.addr(), &["ProxyJump jump"]);
    world.works_on("inner", "dev");
    assert_eq!((jump.logins(), inner.logins()), (1, 1));
    assert_eq!(world.agents(&inner.home(), "hold").len(), 1);
    assert!(!jump.home().join(".local/state/sessd-agent").exists(), "nothing is installed on the way");
}

#[test]
fn a_proxy_command_is_used() {
    let mut world = World::new();
    let (jump, inner) = (Sshd::start_in(&world, "h1"), Sshd::start_in(&world, "h2"));
    let mut config = SshConfig::new(&mut world);
    let command = format!("ProxyCommand ssh -F {} -o BatchMode=yes -W %h:%p jump", config.path().display());
    config.host("jump", &jump).host_at("inner", &inner, inner.addr(), &[&command]);
    world.works_on("inner", "dev");
    assert_eq!(jump.logins(), 1);
}

#[test]
fn who_waits_for_a_host_is_told_for_what() {
    let mut world = World::new();
    let host = Sshd::start_in(&world, "h1");
    let mut config = SshConfig::new(&mut world);
    let go = world.root().join("go");
    // A tunnel that takes as long as it is not let go on.
    let command = format!(
        "ProxyCommand sh -c 'until [ -e {} ]; do sleep 0.05; done; exec ssh -F {} -o BatchMode=yes -W %h:%p gate'",
        go.display(),
        config.path().display()
    );
    config.host("gate", &host).host_at("box", &host, host.addr(), &[&command]);
    let view = world.view(&["create", "--name", "dev", "--host", "box", "--", "cat"]);
    view.wait_text("sessd: box is still being connected to and logged in to", SOON);
    fs::write(go, "").expect("a file");
    view.wait_text("dev", SOON);
    assert!(!view.screen_text().contains("what the ssh config says"), "{}", view.describe());
}

#[test]
fn a_doctor_walks_the_whole_way_and_names_the_step_that_fails() {
    let mut world = World::new();
    let mut host = Sshd::start_in(&world, "h1");
    SshConfig::new(&mut world).host("box", &host);
    let doc = world.json(&["doctor", "box"]);
    let steps: Vec<_> =
        doc["steps"].as_array().expect("steps").iter().map(|s| (&s["step"], &s["ok"])).collect();
    for step in ["config", "login", "agent", "clock", "job"] {
        assert!(steps.iter().any(|(of, ok)| *of == step && **ok == true), "{step}: {doc}");
    }
    assert_eq!(world.list().len(), 0, "the job of a check leaves no record");
    // What was found out is printed, up to what fails, and the code is that of the failure.
    world.ok(&["host", "disconnect", "box"]);
    host.stop();
    let output = world.sessd(&["doctor", "box"]);
    let text = output.stdout;
    assert_eq!(output.code, 5, "{text}");
    assert!(
        text.contains("\u{2713} config") && text.contains("\u{2717} login") && text.contains("  do: "),
        "{text}"
    );
    assert!(!text.contains("agent"), "{text}");
    // And it is said as every error is.
    assert!(output.stderr.starts_with("sessd: ") && output.stderr.lines().count() == 1, "{}", output.stderr);
    let output = world.sessd(&["host", "check", "box", "--json"]);
    let doc: serde_json::Value = serde_json::from_str(&output.stdout).expect("one document");
    assert_eq!((output.code, output.stderr.as_str(), &doc["ok"]), (5, "", &false.into()), "{doc}");
    assert_eq!(
        (&doc["error"]["kind"], &doc["kind"]),
        (&"unreachable".into(), &"unreachable".into()),
        "{doc}"
    );
    let here = world.json(&["doctor"]);
    assert!(here["steps"].as_array().is_some_and(|steps| steps.iter().any(|s| s["step"] == "job")), "{here}");
}

#[test]
fn what_a_person_disconnects_stays_so_until_a_person_wants_it() {
    let mut world = World::new();
    let host = Sshd::start_in(&world, "h1");
    SshConfig::new(&mut world).host("box", &host);
    world.works_on("box", "dev");
    let link = world.json(&["host", "disconnect", "box"]);
    assert_eq!((&link["link"], &link["next_try_at"]), (&"down".into(), &serde_json::Value::Null), "{link}");
    let info = world.wait_session("dev", "no link", SOON, |info| info["state"] == "disconnected");
    assert_eq!(info["link"], "down");
    assert_eq!((host.connections(), world.agents(&host.home(), "hold").len()), (0, 1), "its job runs on");
    let line = world.fails(&["host", "forget", "box"], 1);
    assert!(line.contains("dev on box is not done"), "{line}");
    let view = world.attach("dev");
    view.type_("again\r");
    view.wait_text("got <again>", SOON);
    view.close();
    world.ok(&["delete", "dev"]);
    world.create_on("box", "short", "exit 3");
    world.wait_state("short", "done", SOON);
    let forgotten = world.json(&["host", "forget", "box"]);
    assert_eq!((&forgotten["host"], &forgotten["done"]), (&"box".into(), &1.into()));
    assert_eq!(world.json(&["host", "list"]), serde_json::json!([]));
    world.fails(&["host", "forget", "box"], 3);
}

#[test]
fn a_host_can_be_named_in_every_way() {
    let mut world = World::new();
    let host = Sshd::start_in(&world, "h1");
    let (ip, port) = (host.addr().ip(), host.addr().port());
    let mut config = SshConfig::new(&mut world);
    config.host("box", &host);
    // The address itself, without a port of its own in the configuration.
    config.host_at(&ip.to_string(), &host, host.addr(), &[]);
    let user = sshd::user();
    for (n, name) in [
        "box".to_owned(),
        format!("{user}@box"),
        format!("{user}@{ip}:{port}"),
        format!("ssh://{user}@{ip}:{port}"),
    ]
    .iter()
    .enumerate()
    {
        world.works_on(name, &format!("s{n}"));
    }
    world.fails(&["create", "--host", "", "--", "cat"], 2);
    world.fails(&["create", "--host", "-oProxyCommand=touch /tmp/x", "--", "cat"], 2);
}

#[test]
fn noisy_start_files_do_not_matter() {
    let mut world = World::new();
    let host = Sshd::start_in(&world, "h1");
    SshConfig::new(&mut world).host("box", &host);
    let noise = format!(
        "echo '{}'\necho '{}' >&2\nprintf 'no newline at its end'\n",
        "noise ".repeat(1700),
        "more ".repeat(2000)
    );
    for file in [".bashrc", ".profile", ".bash_profile", ".zshenv", ".zshrc"] {
        fs::write(host.home().join(file), &noise).expect("a start file");
    }
    world.works_on("box", "dev");
}

#[test]
fn a_forced_noisy_command_does_not_matter() {
    let mut world = World::new();
    let host = Sshd::start_with(&world, "h1", sshd::NOISY);
    SshConfig::new(&mut world).host("box", &host);
    world.works_on("box", "dev");
}

#[test]
fn every_login_shell_works() {
    for (shell, path) in sshd::login_shells() {
        let mut world = World::new();
        let host = Sshd::start_with(&world, "h1", &[&sshd::with_login_shell(&path)]);
        SshConfig::new(&mut world).host("box", &host);
        eprintln!("login shell {shell}");
        world.works_on("box", shell);
    }
}

#[test]
fn a_strict_server_is_enough() {
    let mut world = World::new();
    let host = Sshd::start_with(&world, "h1", sshd::STRICT);
    SshConfig::new(&mut world).host("box", &host);
    for n in 0..5 {
        world.works_on("box", &format!("s{n}"));
    }
    assert_eq!(host.logins(), 1, "one login, one channel");
}

#[test]
fn the_ssh_of_the_system_can_be_the_transport() {
    let mut world = World::new();
    let mut host = Sshd::start_in(&world, "h1");
    SshConfig::new(&mut world).host("box", &host);
    fs::write(world.config(), "[hosts.box]\ntransport = \"openssh\"\n").expect("the configuration");
    let numbers = Numbers::new(world.root());
    world.create_on("box", "dev", &numbers.script());
    let pid = numbers.pid();
    let running = |word: &str| {
        procs::mentioning(world.root()).into_iter().any(|pid| {
            let line = procs::command_line(pid);
            line.split_whitespace().next().is_some_and(|program| program.ends_with("ssh"))
                && line.contains(word)
        })
    };
    assert!(running("box"), "an ssh of the system carries the link");
    let view = world.attach("dev");
    numbers.emit(100);
    view.wait_text(&numbers.last_line(), SOON);
    host.stop();
    world.wait_session("dev", "a lost link", LATER, |info| info["state"] == "disconnected");
    host.start();
    world.wait_session("dev", "running again", LATER, |info| {
        info["state"] == "running" && info["link"] == "up"
    });
    numbers.emit(100);
    view.wait_text(&numbers.last_line(), SOON);
    assert_eq!(numbers.pid(), pid);
    let history = view.history().join("\n");
    sessd_tests::check_numbers(&sessd_tests::numbers_in(history.as_bytes()), 200)
        .unwrap_or_else(|wrong| panic!("{wrong}"));
}

#[test]
fn the_ssh_of_the_system_tells_its_failures_apart() {
    let mut world = World::new();
    let mut host = Sshd::start_in(&world, "h1");
    let mut config = SshConfig::new(&mut world);
    config.host("box", &host);
    let other = Sshd::start_in(&world, "h2");
    config.stranger_at("stranger", &other, other.addr(), &[]);
    fs::write(
        world.config(),
        "[hosts.box]\ntransport = \"openssh\"\n[hosts.stranger]\ntransport = \"openssh\"\n",
    )
    .expect("the configuration");
    host.refuse_keys();
    create_fails(&world, "box", 6, SOON);
    create_fails(&world, "stranger", 1, SOON);
    host.stop();
    create_fails(&world, "box", 5, SOON);
}

#[test]
fn a_slow_and_torn_link_installs_the_agent() {
    let mut world = World::new();
    let host = Sshd::start_in(&world, "h1");
    let proxy = Proxy::to(host.addr());
    SshConfig::new(&mut world).host_at("box", &host, proxy.addr(), &[]);
    // No cut, only writes in small pieces.
    proxy.inject(sessd_tests::Faults::new(1, 0));
    world.works_on("box", "dev");
}

#[test]
fn an_agent_cut_off_while_it_is_installed_is_never_run_by_half() {
    let mut world = World::new();
    let host = Sshd::start_in(&world, "h1");
    let proxy = Proxy::to(host.addr());
    SshConfig::new(&mut world).host_at("box", &host, proxy.addr(), &[]);
    proxy.inject(sessd_tests::Faults::new(150_000, 2));
    // Each may fail or succeed; what counts is that it says so, and that a good link then works.
    for n in 0..3 {
        let name = format!("try{n}");
        let output = world.sessd(&["create", "--name", &name, "--host", "box", "--", "cat"]);
        assert!([0, 1, 5].contains(&output.code), "{output:#?}");
        assert!(output.code == 0 || output.stderr.trim_end().lines().count() == 1, "{output:#?}");
    }
    proxy.heal();
    world.works_on("box", "dev");
}

#[test]
fn a_tight_umask_and_an_odd_home_are_fine() {
    let mut world = World::new();
    let host = Sshd::start_with(&world, "h1", sshd::TIGHT_UMASK);
    SshConfig::new(&mut world).host("box", &host);
    world.works_on("box", "dev");
    let odd = "a home with blanks, 'quotes' and a name that is much longer than the socket of a unix process may have it";
    let home = world.root().join(odd).join("and then some more of it, to be quite sure that it cannot fit");
    fs::create_dir_all(&home).expect("an odd home");
    let set = format!("SetEnv \"HOME={}\" SESSD_FALLBACK_DIR={}", home.display(), world.fallback().display());
    let other = Sshd::start_with(&world, "h2", &[&set]);
    let mut config = SshConfig::new(&mut world);
    config.host("odd", &other);
    world.works_on("odd", "in-an-odd-home");
}
