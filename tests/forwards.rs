//! Ports, sockets and ssh-agents that live with a session, over a host whose own sshd forwards nothing, and over links that break.

use sessd_tests::{Faults, LATER, Proxy, SOON, SshConfig, Sshd, World, until};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

const CLOSED: &[&str] =
    &["AllowTcpForwarding no", "AllowStreamLocalForwarding no", "AllowAgentForwarding no"];

/// A world whose host `box` forwards nothing and is behind a proxy.
fn world_with_proxy() -> (World, Sshd, Proxy) {
    let mut world = World::new();
    let host = Sshd::start_with(&world, "h1", CLOSED);
    let proxy = Proxy::to(host.addr());
    SshConfig::new(&mut world).host_at("box", &host, proxy.addr(), &[]);
    (world, host, proxy)
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Answers each connection with what it says, in capitals.
fn shouts() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            std::thread::spawn(move || shout(socket.unwrap()));
        }
    });
    port
}

fn shout(mut socket: impl Read + Write) {
    let mut buffer = [0; 64 * 1024];
    while let Ok(n @ 1..) = socket.read(&mut buffer) {
        buffer[..n].make_ascii_uppercase();
        if socket.write_all(&buffer[..n]).is_err() {
            return;
        }
    }
}

fn connect(port: u16) -> TcpStream {
    let socket = until("a port that is forwarded", SOON, || TcpStream::connect(("127.0.0.1", port)).ok());
    socket.set_read_timeout(Some(LATER)).unwrap();
    socket
}

fn says(socket: &mut (impl Read + Write), what: &str) -> String {
    socket.write_all(what.as_bytes()).unwrap();
    let mut answer = vec![0; what.len()];
    socket.read_exact(&mut answer).unwrap();
    String::from_utf8(answer).unwrap()
}

#[test]
fn ports_live_with_the_session_and_connections_outlive_the_link() {
    let (world, _host, proxy) = world_with_proxy();
    let (there, local, back, dynamic) = (shouts(), free_port(), free_port(), free_port());
    let (spec, socks) = (format!("{local}:localhost:{there}"), dynamic.to_string());
    world.ok(&["create", "--name", "dev", "--host", "box", "-L", &spec, "--", "cat"]);
    let mut socket = connect(local);
    assert_eq!(says(&mut socket, "one"), "ONE");
    world.ok(&["forward", "dev", "-D", &socks, "-R", &format!("{back}:localhost:{there}")]);
    // A proxy that is told a name.
    let mut proxied = connect(dynamic);
    proxied.write_all(&[5, 1, 0]).unwrap();
    let mut said = [0; 2];
    proxied.read_exact(&mut said).unwrap();
    let port = there.to_be_bytes();
    proxied.write_all(&[&[5, 1, 0, 3, 9][..], b"localhost", &port].concat()).unwrap();
    let mut said = [0; 10];
    proxied.read_exact(&mut said).unwrap();
    assert_eq!(said[1], 0);
    assert_eq!(says(&mut proxied, "two"), "TWO");
    let mut from_there = connect(back);
    assert_eq!(says(&mut from_there, "three"), "THREE");
    // Nobody listens: that connection ends, and nothing else.
    let nobody = format!("{}:localhost:{}", free_port(), free_port());
    world.ok(&["forward", "dev", "-L", &nobody]);
    let mut dead = connect(nobody.split(':').next().unwrap().parse().unwrap());
    assert_eq!(dead.read(&mut [0; 1]).unwrap_or(0), 0);
    // The link breaks in the middle of it, and again while it is used.
    for word in ["four", "five"] {
        proxy.drop_connections();
        socket.write_all(word.as_bytes()).unwrap();
        let mut answer = vec![0; 4];
        socket.read_exact(&mut answer).unwrap();
        assert_eq!(answer, word.to_uppercase().as_bytes());
        assert_eq!(says(&mut proxied, word), word.to_uppercase());
        assert_eq!(says(&mut from_there, word), word.to_uppercase());
    }
    // An end goes one way at a time.
    socket.write_all(b"last").unwrap();
    socket.shutdown(Shutdown::Write).unwrap();
    let mut rest = String::new();
    socket.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "LAST");
    // A port that is in use is said in one line, and nothing is changed.
    let error = world.fails(&["forward", "dev", "-L", &format!("{there}:localhost:1")], 1);
    assert!(error.contains(&format!("port {there}: it is in use here")), "{error}");
    let error = world.fails(&["forward", "dev", "-R", &format!("{there}:localhost:1")], 1);
    assert!(error.contains(&format!("port {there}: it is in use there")), "{error}");
    let info = world.info("dev").unwrap();
    let forwards = info["forwards"].as_array().unwrap();
    assert_eq!(forwards.len(), 4, "{info}");
    assert!(forwards.iter().all(|forward| forward["state"] == "open"), "{info}");
    // The next manager has them too; what is taken away is gone.
    world.kill_manager();
    world.wait_state("dev", "running", LATER);
    assert_eq!(says(&mut connect(local), "six"), "SIX");
    let mut again = until("the port there, joined anew", LATER, || {
        let mut socket = TcpStream::connect(("127.0.0.1", back)).ok()?;
        socket.write_all(b"x").ok()?;
        socket.read_exact(&mut [0]).ok()?;
        Some(socket)
    });
    assert_eq!(says(&mut again, "seven"), "SEVEN");
    world.ok(&["forward", "dev", "--remove", "1"]);
    assert!(TcpStream::connect(("127.0.0.1", local)).is_err());
    world.ok(&["delete", "dev"]);
    for port in [back, dynamic] {
        until("the ports to go with the session", SOON, || {
            TcpStream::connect(("127.0.0.1", port)).is_err().then_some(())
        });
    }
}

#[test]
fn a_remote_forward_that_leads_nowhere_is_a_proxy_there_whose_connections_are_made_here() {
    let (world, _host, proxy) = world_with_proxy();
    let (here, back, nobody) = (shouts(), free_port(), free_port());
    world.ok(&["create", "--name", "dev", "--host", "box", "-R", &back.to_string(), "--", "cat"]);
    let ask = |port: u16| {
        let mut proxied = until("the proxy there", LATER, || TcpStream::connect(("127.0.0.1", back)).ok());
        proxied.set_read_timeout(Some(LATER)).unwrap();
        // All that is known is said at once, and something for the other end behind it.
        proxied
            .write_all(&[&[5, 1, 0, 5, 1, 0, 3, 9][..], b"localhost", &port.to_be_bytes(), b"one"].concat())
            .unwrap();
        let mut said = [0; 12];
        proxied.read_exact(&mut said).unwrap();
        (proxied, said[3])
    };
    let (mut joined, answer) = ask(here);
    assert_eq!(answer, 0);
    let mut one = [0; 3];
    joined.read_exact(&mut one).unwrap();
    assert_eq!(&one, b"ONE");
    proxy.drop_connections();
    assert_eq!(says(&mut joined, "two"), "TWO");
    joined.shutdown(Shutdown::Write).unwrap();
    assert_eq!(joined.read(&mut one).unwrap(), 0, "an end comes through");
    assert_eq!(ask(nobody).1, 5, "refused here is refused there");
    let info = world.info("dev").unwrap();
    assert_eq!(info["forwards"][0]["spec"], back.to_string(), "{info}");
}

#[test]
fn what_a_forward_carries_is_exact_over_a_link_that_breaks_again_and_again() {
    let (world, _host, proxy) = world_with_proxy();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (local, there) = (free_port(), listener.local_addr().unwrap().port());
    world.ok(&[
        "create",
        "--name",
        "dev",
        "--host",
        "box",
        "-L",
        &format!("{local}:127.0.0.1:{there}"),
        "--",
        "cat",
    ]);
    let bytes: Vec<u8> = (0..3_000_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let (out, back) = (bytes.clone(), bytes.clone());
    proxy.inject(Faults::new(900_000, 4));
    let server = std::thread::spawn(move || {
        let (socket, _) = listener.accept().unwrap();
        let mut writer = socket.try_clone().unwrap();
        let sends = std::thread::spawn(move || {
            writer.write_all(&back).unwrap();
            writer.shutdown(Shutdown::Write).unwrap();
        });
        let mut got = Vec::new();
        { socket }.read_to_end(&mut got).unwrap();
        sends.join().unwrap();
        got
    });
    let socket = connect(local);
    let mut writer = socket.try_clone().unwrap();
    let sends = std::thread::spawn(move || {
        writer.write_all(&out).unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
    });
    let reads = std::thread::spawn(move || {
        let mut got = Vec::new();
        { socket }.read_to_end(&mut got).unwrap();
        got
    });
    sends.join().unwrap();
    assert!(reads.join().unwrap() == bytes, "what came back is not what was sent");
    assert!(server.join().unwrap() == bytes, "what came there is not what was sent");
}

/// An ssh-agent that answers whatever it is asked with its name.
fn agent(path: &Path, name: &'static str) {
    let listener = UnixListener::bind(path).unwrap();
    std::thread::spawn(move || {
        for mut socket in listener.incoming().flatten() {
            if matches!(socket.read(&mut [0; 64]), Ok(1..)) {
                let _ = socket.write_all(name.as_bytes());
            }
        }
    });
}

#[test]
fn one_path_leads_to_the_ssh_agent_for_the_life_of_the_job_and_never_hangs() {
    let (mut world, host, proxy) = world_with_proxy();
    let (mine, path_file) = (world.root().join("mine.sock"), host.home().join("agent-path"));
    agent(&mine, "mine!");
    world.set_env("SSH_AUTH_SOCK", mine.display().to_string());
    let says_where = format!("echo $SSH_AUTH_SOCK >{}.new; mv {0}.new {0}; exec cat", path_file.display());
    world.ok(&["create", "--name", "dev", "--host", "box", "--forward-agent", "--", "sh", "-c", &says_where]);
    let path = until("the job's word", SOON, || std::fs::read_to_string(&path_file).ok());
    let asked = || {
        let mut socket = UnixStream::connect(path.trim()).unwrap();
        socket.set_read_timeout(Some(LATER)).unwrap();
        socket.write_all(b"list").unwrap();
        let mut answer = [0; 5];
        socket.read_exact(&mut answer).unwrap();
        String::from_utf8(answer.to_vec()).unwrap()
    };
    until("the ssh-agent", SOON, || (asked() == "mine!").then_some(()));
    // Nobody is there: it is said at once.
    proxy.cut();
    world.ok(&["daemon", "stop"]);
    // An ssh-agent's word for no.
    const NO: &str = "\0\0\0\x01\x05";
    until("the end of the link", LATER, || (asked() == NO).then_some(()));
    let before = std::time::Instant::now();
    assert_eq!(asked(), NO);
    assert!(before.elapsed() < Duration::from_secs(2), "{:?}", before.elapsed());
    // From another laptop with an agent of its own: the same path.
    proxy.resume();
    let other = world.root().join("other.sock");
    agent(&other, "other");
    world.set_env("SSH_AUTH_SOCK", other.display().to_string());
    world.ok(&["list"]);
    world.wait_state("dev", "running", LATER);
    until("the other ssh-agent", SOON, || (asked() == "other").then_some(()));
    // A session that was not told to has none of it.
    world.ok(&[
        "create",
        "--name",
        "bare",
        "--host",
        "box",
        "--",
        "sh",
        "-c",
        "echo \"<$SSH_AUTH_SOCK>\"; exec cat",
    ]);
    world.ok(&["wait", "bare", "--for", "<>", "--timeout", "30s"]);
}

#[test]
fn a_port_that_the_job_begins_to_listen_on_is_here_too() {
    let mut world = World::new();
    let host = Sshd::start_with(&world, "h1", CLOSED);
    SshConfig::new(&mut world).host("box", &host);
    // This machine is the host, too: a port of another address leaves the same number free here.
    let port = free_port();
    let listens = format!(
        "import http.server as h; h.ThreadingHTTPServer((\"127.0.0.9\", {port}), h.SimpleHTTPRequestHandler).serve_forever()"
    );
    world.ok(&[
        "create",
        "--name",
        "dev",
        "--host",
        "box",
        "--",
        "sh",
        "-c",
        "read line; exec python3 -c \"$line\"",
    ]);
    world.ok(&["forward", "dev", "--auto"]);
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    world.ok(&["send", "dev", "--enter", &listens]);
    let mut socket = until("the port to be here", LATER, || TcpStream::connect(("127.0.0.1", port)).ok());
    socket.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    let _ = socket.read_to_string(&mut answer);
    assert!(answer.starts_with("HTTP/1.0 200"), "{answer}");
    let events = world.ok(&["info", "dev"]).stdout;
    assert!(events.contains(&format!("port {port} of the job: open (python3)")), "{events}");
    world.ok(&["send", "dev", "-k", "C-c"]);
    until("the port to go with it", LATER, || TcpStream::connect(("127.0.0.1", port)).is_err().then_some(()));
}
