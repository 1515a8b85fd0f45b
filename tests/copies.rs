//! Byte streams and files to and from a host, over a link that breaks, for tools that know nothing of it.

use sessd_tests::world::{sessd_binary, set_mode};
use sessd_tests::{Faults, LATER, Proxy, SOON, SshConfig, Sshd, World, until};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

/// A world whose host `box` is behind a proxy, and an ssh config for tools, in which it is nowhere.
fn world_with_proxy() -> (World, Sshd, Proxy, std::path::PathBuf) {
    let mut world = World::new();
    let host = Sshd::start_in(&world, "h1");
    let proxy = Proxy::to(host.addr());
    let mut config = SshConfig::new(&mut world);
    config.host_at("box", &host, proxy.addr(), &[]);
    let tools = world.root().join("tools_config");
    let key = host.user_key();
    fs::write(
        &tools,
        format!(
            "Host box\n  User {}\n  IdentityFile {}\n  IdentitiesOnly yes\n  StrictHostKeyChecking no\n  UserKnownHostsFile /dev/null\n  LogLevel ERROR\n  ProxyCommand {} pipe %n\n",
            sessd_tests::sshd::user(),
            key.display(),
            sessd_binary().display(),
        ),
    )
    .unwrap();
    (world, host, proxy, tools)
}

fn bytes(n: usize) -> Vec<u8> {
    (0..n as u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn scp_and_git_go_over_a_link_that_breaks() {
    let (world, host, proxy, tools) = world_with_proxy();
    let (from, back) = (world.root().join("from"), world.root().join("back"));
    fs::write(&from, bytes(1_500_000)).unwrap();
    let run = |program: &str, args: &[&str]| {
        let mut command = world.program(program);
        command.args(args).env("GIT_SSH_COMMAND", format!("ssh -F {}", tools.display()));
        let done = world.finish(command, b"", LATER);
        assert_eq!(done.code, 0, "{program}: {done:#?}");
        done.stdout
    };
    let (config, from_name, back_name) =
        (tools.to_str().unwrap(), from.to_str().unwrap(), back.to_str().unwrap());
    assert_eq!(run("ssh", &["-F", config, "box", "echo there"]), "there\n");
    proxy.inject(Faults::new(500_000, 4));
    let there = format!("box:{}/there", host.home().display());
    // By the protocol that needs no sftp on the host.
    run("scp", &["-O", "-q", "-F", config, from_name, &there]);
    run("scp", &["-O", "-q", "-F", config, &there, back_name]);
    assert!(fs::read(&back).unwrap() == fs::read(&from).unwrap());
    proxy.heal();
    let (repo, clone) = (host.home().join("repo"), world.root().join("clone"));
    run("git", &["init", "-q", repo.to_str().unwrap()]);
    fs::write(repo.join("file"), "text\n").unwrap();
    let repo_name = repo.to_str().unwrap();
    run("git", &["-C", repo_name, "add", "file"]);
    run("git", &["-C", repo_name, "-c", "user.name=me", "-c", "user.email=me@x", "commit", "-qm", "one"]);
    run("git", &["clone", "-q", &format!("box:{repo_name}"), clone.to_str().unwrap()]);
    assert_eq!(fs::read_to_string(clone.join("file")).unwrap(), "text\n");
    // Nothing is left of it.
    until("the jobs to be gone", SOON, || {
        world.json(&["list", "--all"]).as_array().unwrap().is_empty().then_some(())
    });
}

#[test]
fn a_pipe_outlives_the_manager_and_says_who_is_not_there() {
    let (world, _host, proxy, _) = world_with_proxy();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut command = world.command(&["pipe", "box", &format!("localhost:{port}")]);
    let mut pipe =
        command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).spawn().unwrap();
    let (mut socket, _) = listener.accept().unwrap();
    let (mut input, mut output) = (pipe.stdin.take().unwrap(), pipe.stdout.take().unwrap());
    for (round, word) in ["one", "two", "three"].into_iter().enumerate() {
        input.write_all(word.as_bytes()).unwrap();
        let mut heard = vec![0; word.len()];
        socket.read_exact(&mut heard).unwrap();
        assert_eq!(heard, word.as_bytes());
        match round {
            0 => proxy.drop_connections(),
            _ => drop(world.kill_manager()),
        }
        socket.write_all(&heard).unwrap();
        output.read_exact(&mut heard).unwrap();
        assert_eq!(heard, word.as_bytes());
    }
    drop(input);
    let mut rest = Vec::new();
    socket.read_to_end(&mut rest).unwrap();
    drop(socket);
    output.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"");
    assert_eq!(pipe.wait().unwrap().code(), Some(0));
    drop(listener);
    let error = world.fails(&["pipe", "box", &format!("localhost:{port}")], 1);
    assert!(error.contains("nobody listens there"), "{error}");
}

#[test]
fn files_arrive_whole_with_their_modes_or_not_at_all() {
    let (world, host, proxy, _) = world_with_proxy();
    let (home, here) = (host.home(), world.root().join("here"));
    fs::create_dir_all(here.join("tree/inside")).unwrap();
    fs::write(here.join("big"), bytes(2_000_000)).unwrap();
    set_mode(&here.join("big"), 0o751);
    fs::write(here.join("tree/inside/run.sh"), "#!/bin/sh\n").unwrap();
    set_mode(&here.join("tree/inside/run.sh"), 0o755);
    let name = |file: &str| here.join(file).display().to_string();
    world.ok(&["put", "box", &name("big"), "small"]);
    proxy.inject(Faults::new(600_000, 4));
    let put = world.ok(&["put", "box", &name("big")]).stdout;
    assert_eq!(put.trim(), home.join("big").display().to_string());
    assert!(fs::read(home.join("big")).unwrap() == bytes(2_000_000));
    assert_eq!(mode(&home.join("big")), 0o751);
    world.ok(&["get", "box", "big", &name("got")]);
    proxy.heal();
    assert!(fs::read(here.join("got")).unwrap() == bytes(2_000_000));
    assert_eq!(mode(&here.join("got")), 0o751);
    // Folders, stdin and stdout; what is relative begins where a session is.
    fs::create_dir(home.join("work")).unwrap();
    world.ok(&["create", "--name", "dev", "--host", "box", "--cwd", "work", "--", "cat"]);
    world.wait_session("dev", "its folder", SOON, |info| {
        info["cwd"].as_str().is_some_and(|cwd| cwd.ends_with("/work"))
    });
    world.ok(&["put", "dev", &name("tree"), &name("big"), "."]);
    assert_eq!(mode(&home.join("work/tree/inside/run.sh")), 0o755);
    let from_stdin = world.finish(world.command(&["put", "dev", "-", "said"]), b"typed\n", LATER);
    assert_eq!(from_stdin.code, 0, "{from_stdin:#?}");
    assert_eq!(fs::read_to_string(home.join("work/said")).unwrap(), "typed\n");
    assert_eq!(world.ok(&["get", "dev", "said", "-"]).stdout, "typed\n");
    world.ok(&["get", "dev", "tree", &name("back")]);
    assert_eq!(fs::read_to_string(here.join("back/inside/run.sh")).unwrap(), "#!/bin/sh\n");
    // What goes wrong is one line, and leaves what was there.
    fs::create_dir(home.join("locked")).unwrap();
    fs::write(home.join("locked/file"), "before").unwrap();
    for (args, says) in [
        (&["put", "box", "/no/such"][..], "there is no such file"),
        (&["put", "box", &name("big"), "no/such/file"], "there is no such file or folder"),
        (&["put", "box", &name("big"), &name("got"), "nothing"], "is no folder"),
        (&["put", "box", &name("tree"), "big"], "big"),
        (&["get", "box", "missing", &name("x")], "there is no such file"),
        (&["put", "box", &name("big"), "/dev/full"], "the disk is full"),
    ] {
        let error = world.fails(args, 1);
        assert!(error.contains(says), "{args:?}: {error}");
    }
    // What fails here is not said of the host.
    let error = world.fails(&["get", "box", "big", &name("no/such/file")], 1);
    assert!(error.contains("there is no such file") && !error.contains("box"), "{error}");
    // A file where the host is to stand is told what was meant.
    for (args, meant) in [
        (["put", &name("big"), "box"], format!("sessd put box {}", name("big"))),
        (["put", &name("big"), "dev"], format!("sessd put dev {}", name("big"))),
        (["get", "nosuch.invalid", "dev"], "sessd get dev nosuch.invalid".to_owned()),
    ] {
        let error = world.fails(&args, 2);
        assert!(error.contains(&meant), "{args:?}: {error}");
    }
    let left = |dir: &Path| {
        fs::read_dir(dir).unwrap().flatten().any(|e| e.file_name().to_string_lossy().ends_with(".part"))
    };
    assert!(!left(&home) && !left(&here));
    assert!(!here.join("x").exists());
    world.ok(&["delete", "dev"]);
    until("nothing to be left", Duration::from_secs(20), || {
        world.json(&["list", "--all"]).as_array().unwrap().is_empty().then_some(())
    });
}
