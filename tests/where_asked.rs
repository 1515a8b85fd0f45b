//! Where a host is asked for from: the environment that counts is that of whoever asks now, not of whoever started the
//! manager.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use sessd_tests::world::DEADLINE;
use sessd_tests::{LATER, Output, SOON, SshConfig, Sshd, World, procs, until};

/// An ssh-agent that holds one key.
struct Agent {
    child: Child,
    socket: PathBuf,
}

impl Agent {
    fn start(socket: PathBuf, key: &Path) -> Agent {
        let child = Command::new("ssh-agent")
            .args(["-D", "-a"])
            .arg(&socket)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("an ssh-agent");
        // It is there a moment before it is listened on.
        until("the socket of the agent", SOON, || UnixStream::connect(&socket).ok());
        let added = Command::new("ssh-add")
            .arg("-q")
            .arg(key)
            .env("SSH_AUTH_SOCK", &socket)
            .status()
            .expect("ssh-add");
        assert!(added.success(), "the key is added");
        Agent { child, socket }
    }

    fn socket(&self) -> &str {
        self.socket.to_str().expect("a path in text")
    }

    fn stop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_file(&self.socket);
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.stop();
    }
}

/// `sessd` with these variables, and only with these, on top of the world's.
fn sessd(world: &World, variables: &[(&str, &str)], args: &[&str]) -> Output {
    let mut command = world.command(args);
    command.envs(variables.iter().copied());
    world.finish(command, b"", DEADLINE)
}

fn create(world: &World, variables: &[(&str, &str)], host: &str, name: &str) -> Output {
    sessd(world, variables, &["create", "--name", name, "--host", host, "--", "cat"])
}

/// A host that lets in who has its key; the key file itself is moved away, so that only an agent can have it.
fn host_for_an_agent(world: &mut World, options: &[&str]) -> (Sshd, SshConfig, PathBuf) {
    let host = Sshd::start_in(world, "h1");
    let key = world.root().join("key");
    fs::rename(host.user_key(), &key).expect("the key");
    let mut config = SshConfig::new(world);
    let mut all = vec!["IdentitiesOnly no"];
    all.extend(options);
    config.host_at_first("box", &host, &all);
    (host, config, key)
}

fn cut(host: &mut Sshd, world: &World, session: &str) {
    host.stop();
    world.wait_session(session, "a lost link", LATER, |info| info["state"] == "disconnected");
    host.start();
}

#[test]
fn a_manager_started_by_cron_uses_the_agent_of_the_login_that_asks_and_of_the_latest_one_after_that() {
    let mut world = World::new();
    let (mut host, _config, key) = host_for_an_agent(&mut world, &[]);
    world.ok(&["daemon"]);
    let mut first = Agent::start(world.root().join("a1"), &key);
    let output = create(&world, &[("SSH_AUTH_SOCK", first.socket())], "box", "dev");
    assert_eq!(output.code, 0, "{output:#?}");
    // Nobody is there when the link comes back: what worked is used again.
    cut(&mut host, &world, "dev");
    world.wait_state("dev", "running", LATER);
    // That login is over. Another one has only looked at the list.
    first.stop();
    let second = Agent::start(world.root().join("a2"), &key);
    assert_eq!(sessd(&world, &[("SSH_AUTH_SOCK", second.socket())], &["list"]).code, 0);
    cut(&mut host, &world, "dev");
    world.wait_state("dev", "running", LATER);
    assert_eq!(host.logins(), 3);
}

#[test]
fn a_manager_of_a_login_lends_its_agent_to_nobody_who_asks_without_one() {
    let mut world = World::new();
    let (host, _config, key) = host_for_an_agent(&mut world, &[]);
    let agent = Agent::start(world.root().join("a1"), &key);
    assert_eq!(sessd(&world, &[("SSH_AUTH_SOCK", agent.socket())], &["daemon"]).code, 0);
    let output = create(&world, &[], "box", "dev");
    let line = world.one_error("create", &output, 6);
    assert!(line.contains("SSH_AUTH_SOCK"), "the cause is named: {line}");
    assert_eq!(host.logins(), 0);
    // And once more from where the agent is.
    let output = create(&world, &[("SSH_AUTH_SOCK", agent.socket())], "box", "dev");
    assert_eq!(output.code, 0, "{output:#?}");
}

#[test]
fn the_variables_that_the_ssh_config_names_are_those_of_who_asks() {
    let mut world = World::new();
    let (host, mut config, key) = host_for_an_agent(&mut world, &["IdentityAgent $MYAGENT"]);
    world.ok(&["daemon"]);
    let agent = Agent::start(world.root().join("a1"), &key);
    let output = create(&world, &[("MYAGENT", agent.socket())], "box", "by-agent");
    assert_eq!(output.code, 0, "{output:#?}");
    world.ok(&["delete", "--all", "--force"]);
    world.ok(&["daemon", "restart"]);

    let keys = world.root().join("keys");
    fs::create_dir(&keys).expect("a folder of keys");
    fs::copy(&key, keys.join("id")).expect("a key");
    config.host_at_first("file", &host, &["IdentityFile ${MYKEYS}/id", "IdentityAgent none"]);
    let output = create(&world, &[("MYKEYS", keys.to_str().expect("text"))], "file", "by-file");
    assert_eq!(output.code, 0, "{output:#?}");
    world.ok(&["delete", "--all", "--force"]);
    world.ok(&["daemon", "restart"]);
    // What the caller has no more does not work any more.
    let output = create(&world, &[], "file", "by-file");
    let line = world.one_error("create", &output, 1);
    assert!(line.contains("MYKEYS"), "{line}");
}

#[test]
fn a_proxy_command_is_found_in_the_path_of_who_asks_and_the_config_is_theirs() {
    let mut world = World::new();
    let host = Sshd::start_in(&world, "h1");
    world.ok(&["daemon"]);
    // Named only to who asks, not to the manager.
    let mut config = SshConfig::new(&mut world);
    config.host_at("box", &host, host.addr(), &["ProxyCommand myproxy %h %p"]);
    let bin = world.root().join("bin");
    fs::create_dir(&bin).expect("a folder of programs");
    let script =
        format!("#!/bin/sh\nexec ssh -F {} -o ProxyCommand=none -W %s:%s gate\n", config.path().display());
    fs::write(bin.join("myproxy"), script.replace("%s:%s", "$1:$2")).expect("a program");
    sessd_tests::world::set_mode(&bin.join("myproxy"), 0o755);
    config.host("gate", &host);
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").expect("PATH"));
    let output = create(&world, &[("PATH", &path)], "box", "dev");
    assert_eq!(output.code, 0, "{output:#?}");
}

#[test]
fn an_agent_that_was_away_for_a_moment_needs_no_person() {
    let mut world = World::new();
    let (mut host, _config, key) = host_for_an_agent(&mut world, &[]);
    let socket = world.root().join("a1");
    let mut agent = Agent::start(socket.clone(), &key);
    let variables = [("SSH_AUTH_SOCK", agent.socket().to_owned())];
    let variables = variables.each_ref().map(|(name, value)| (*name, value.as_str()));
    assert_eq!(create(&world, &variables, "box", "dev").code, 0);
    agent.stop();
    cut(&mut host, &world, "dev");
    let info = world.wait_session("dev", "a missing key", LATER, |info| info["link"] == "needs-login");
    let detail = info["link_detail"].as_str().unwrap_or_default();
    assert!(detail.contains("ssh-agent") && detail.contains("does not answer"), "{detail}");
    let _back = Agent::start(socket, &key);
    world.wait_state("dev", "running", LATER);
    assert_eq!(host.refusals(), 0, "nothing was offered that could be refused");
}

#[test]
fn a_config_that_is_wrong_for_a_moment_needs_no_person_and_no_login() {
    let mut world = World::new();
    let mut host = Sshd::start_in(&world, "h1");
    let mut config = SshConfig::new(&mut world);
    config.host("box", &host);
    world.create_on("box", "dev", "exec cat");
    let good = fs::read_to_string(config.path()).expect("the config");
    fs::write(config.path(), format!("{good}\nNoSuchKeyword yes\n")).expect("a wrong config");
    cut(&mut host, &world, "dev");
    let info = world.wait_session("dev", "the cause", LATER, |info| {
        info["link_detail"].as_str().is_some_and(|detail| detail.to_lowercase().contains("nosuchkeyword"))
    });
    assert!(info["link"] == "down" || info["link"] == "connecting", "no login is missing: {info:#}");
    fs::write(config.path(), good).expect("the config");
    world.wait_state("dev", "running", SOON);
}

#[test]
fn a_changed_configuration_counts_without_a_restart_and_a_wrong_one_is_said() {
    let mut world = World::new();
    let host = Sshd::start_in(&world, "h1");
    let mut config = SshConfig::new(&mut world);
    config.host("box", &host);
    world.ok(&["daemon"]);
    let pid = world.manager_pid();
    // `transport` of one spelling of the host counts for another; an agent's folder is easy to see.
    fs::write(world.config(), "[hosts.box]\nagent_dir = '~/elsewhere'\n").expect("the configuration");
    let spelled = format!("{}@box", sessd_tests::sshd::user());
    world.create_on(&spelled, "dev", "exec cat");
    assert!(host.home().join("elsewhere").is_dir());
    assert_eq!(world.json(&["daemon", "status"])["config_errors"], serde_json::json!([]));

    fs::write(world.config(), "[hosts.box\nagent_dir = 1\n").expect("a wrong configuration");
    let said = world.json(&["daemon", "status"])["config_errors"].clone();
    assert!(said[0].as_str().is_some_and(|text| text.contains("config.toml")), "{said}");
    assert!(world.ok(&["daemon", "status"]).stdout.contains("configuration: "));
    fs::write(world.config(), "[hosts.'*']\ntransport = 'openssh'\n").expect("the configuration");
    let said = world.json(&["daemon", "status"])["config_errors"].clone();
    assert!(said[0].as_str().is_some_and(|text| text.contains("applies to no host")), "{said}");
    fs::remove_file(world.config()).expect("the configuration");
    assert_eq!(world.json(&["daemon", "status"])["config_errors"], serde_json::json!([]));
    assert_eq!(world.manager_pid(), pid);
}

#[test]
fn what_was_sent_of_an_environment_is_in_no_file() {
    let mut world = World::new();
    let (_host, _config, key) = host_for_an_agent(&mut world, &["IdentityAgent $MYAGENT"]);
    let agent = Agent::start(world.root().join("a1"), &key);
    let secret = "n0body-may-read-this";
    let variables = [("MYAGENT", agent.socket()), ("AWS_SECRET_ACCESS_KEY", secret), ("SESSD_LOG", "trace")];
    assert_eq!(create(&world, &variables, "box", "dev").code, 0);
    assert_eq!(create(&world, &variables, "nosuch", "dev2").code, 5);
    world.ok(&["daemon", "stop"]);
    let mut files = 0;
    sessd_tests::world::files_below(world.root(), &mut |path| {
        files += 1;
        let bytes = fs::read(path).unwrap_or_default();
        let there = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
        assert!(!there, "{} has it", path.display());
    });
    assert!(files > 5 && procs::mentioning(world.root()).len() > 1, "there was something to look at");
}
