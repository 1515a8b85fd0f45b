//! Hosts as they are: another ssh server than OpenSSH, logins whose start files do what they like.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};

use sessd_tests::sshd::private_address;
use sessd_tests::{LATER, SOON, SshConfig, Sshd, User, World, procs, until_or};

/// A Dropbear of our own.
struct Dropbear(Child);

impl Drop for Dropbear {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A user of this machine who is let in by a key.
fn with_a_key(world: &World, shell: &str) -> Option<(User, String)> {
    let user = User::new(shell)?;
    let key = world.root().join("key").display().to_string();
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f", &key]).output();
    assert!(made.is_ok_and(|out| out.status.success()), "ssh-keygen");
    fs::create_dir(user.home().join(".ssh")).expect("a folder of keys");
    fs::copy(format!("{key}.pub"), user.home().join(".ssh/authorized_keys")).expect("the key");
    user.owns_its_home();
    Some((user, key))
}

#[test]
fn dropbear_is_enough_with_either_transport() {
    let mut world = World::new();
    let Some((user, key)) = with_a_key(&world, "/bin/sh") else {
        return println!("no user can be made here: not run");
    };
    let host_key = world.root().join("host_key").display().to_string();
    let Ok(made) = Command::new("dropbearkey").args(["-t", "ed25519", "-f", &host_key]).output() else {
        return println!("dropbear is not installed: not run");
    };
    assert!(made.status.success(), "{made:?}");
    let said = String::from_utf8_lossy(&made.stdout).into_owned();
    let public = said.lines().find(|line| line.starts_with("ssh-ed25519 ")).expect("a public key").to_owned();
    let addr = TcpListener::bind(SocketAddr::new(private_address(), 0)).expect("a free port").local_addr();
    let addr = addr.expect("its address");
    let log = fs::File::create(world.root().join("dropbear.log")).expect("a log");
    let server = Command::new("dropbear")
        .args(["-F", "-E", "-P", "/dev/null", "-r", &host_key, "-p", &addr.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("dropbear starts");
    let _server = Dropbear(server);
    until_or(
        "dropbear",
        SOON,
        || std::net::TcpStream::connect(addr).ok().map(drop),
        || fs::read_to_string(world.root().join("dropbear.log")).unwrap_or_default(),
    );
    let mut config = SshConfig::new(&mut world);
    let public = public.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
    for transport in ["russh", "openssh"] {
        config.login_at(transport, addr, &public, user.name(), &key);
    }
    let text = "[hosts.russh]\ntransport = \"russh\"\n[hosts.openssh]\ntransport = \"openssh\"\n";
    fs::write(world.config(), text).expect("the configuration");
    for transport in ["russh", "openssh"] {
        world.works_on(transport, transport);
    }
    assert!(user.home().join(".local/state/sessd-agent").is_dir());
    world.ok(&["delete", "--all", "--force"]);
}

/// As with ssh, nothing can be run there; which it is is said, and nothing waits for ever.
#[test]
fn a_start_file_that_becomes_another_program_is_named() {
    let mut world = World::new();
    let Some((user, key)) = with_a_key(&world, "/bin/bash") else {
        return println!("no user can be made here: not run");
    };
    fs::write(user.home().join(".bashrc"), "exec tmux new -A -s main\n").expect("a start file");
    let home = format!("SetEnv HOME={home} SESSD_FALLBACK_DIR={home}", home = user.home().display());
    let keys = format!("AuthorizedKeysFile {}/.ssh/authorized_keys", user.home().display());
    let host = Sshd::start_with(&world, "h1", &[&home, &keys]);
    let mut config = SshConfig::new(&mut world);
    config.login_at("box", host.addr(), host.host_key(), user.name(), &key);
    let output = world.sessd_within(&["create", "--name", "dev", "--host", "box", "--", "cat"], LATER);
    let line = world.one_error("create", &output, 1);
    assert!(line.contains("shell") || line.contains("start"), "{line}");
    // One that becomes it on a terminal only, as tmux's manual has it, is no trouble.
    fs::write(user.home().join(".bashrc"), "[[ $- == *i* ]] && exec tmux\necho hello; echo there >&2\n")
        .expect("a start file");
    world.works_on("box", "dev");
    // A session that is there is not knocked for again and again: it is a person's business.
    world.create_on("box", "stays", "sleep 1000");
    fs::write(user.home().join(".bashrc"), "exec tmux new -A -s main\n").expect("a start file");
    for pid in procs::all() {
        if procs::name(pid).starts_with("sshd") && procs::command_line(pid).contains(user.name()) {
            procs::signal(pid, rustix::process::Signal::KILL);
        }
    }
    world.wait_session("stays", "a link that needs a person", LATER, |info| info["link"] == "needs-login");
    fs::write(user.home().join(".bashrc"), "").expect("a start file");
    world.ok(&["host", "connect", "box"]);
    world.wait_state("stays", "running", LATER);
    world.ok(&["delete", "--all", "--force"]);
}

/// As PAM ends the login of an account that it does not let in: with a word, or without one.
#[test]
fn an_account_that_may_not_log_in_is_a_persons_business_and_not_knocked_for_again() {
    let mut world = World::new();
    let Some((user, key)) = with_a_key(&world, "/bin/sh") else {
        return println!("no user can be made here: not run");
    };
    let home = format!("SetEnv HOME={home} SESSD_FALLBACK_DIR={home}", home = user.home().display());
    let keys = format!("AuthorizedKeysFile {}/.ssh/authorized_keys", user.home().display());
    let host = Sshd::start_with(&world, "h1", &["UsePAM yes", &home, &keys]);
    let mut config = SshConfig::new(&mut world);
    for transport in ["russh", "openssh"] {
        config.login_at(transport, host.addr(), host.host_key(), user.name(), &key);
    }
    let transports = "[hosts.russh]\ntransport = \"russh\"\n[hosts.openssh]\ntransport = \"openssh\"\n";
    fs::write(world.config(), transports).expect("the configuration");
    for transport in ["russh", "openssh"] {
        user.expires("1");
        let line = world.fails(&["create", "--name", transport, "--host", transport, "--", "cat"], 6);
        assert!(line.to_lowercase().contains("expired"), "{line}");
        user.expires("-1");
        world.create_on(transport, "dev", "sleep 1000");
        user.expires("1");
        for pid in procs::all() {
            if procs::name(pid).starts_with("sshd") && procs::command_line(pid).contains(user.name()) {
                procs::signal(pid, rustix::process::Signal::KILL);
            }
        }
        let view = world.attach("dev");
        world.wait_session("dev", "a link that needs a login", LATER, |info| info["link"] == "needs-login");
        view.close();
        user.expires("-1");
        world.ok(&["host", "connect", transport]);
        world.wait_state("dev", "running", LATER);
        world.ok(&["delete", "--force", "dev"]);
    }
}
