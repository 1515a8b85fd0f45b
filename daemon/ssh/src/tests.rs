//! The rooms together, against a real sshd and real shells. Both transports run the same tests.

use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _};

use super::{testbed::*, *};

#[test]
fn destinations() {
    let d = |host: &str, user: Option<&str>, port| {
        Some(Destination { host: host.to_owned(), user: user.map(str::to_owned), port })
    };
    for (text, expected) in [
        ("box", d("box", None, None)),
        ("me@box", d("box", Some("me"), None)),
        ("me@box:2222", d("box", Some("me"), Some(2222))),
        ("box:22", d("box", None, Some(22))),
        ("ssh://me@box:2222", d("box", Some("me"), Some(2222))),
        ("ssh://box/", d("box", None, None)),
        ("[::1]:2222", d("::1", None, Some(2222))),
        ("[::1]", d("::1", None, None)),
        ("me@[fe80::1%eth0]:22", d("fe80::1%eth0", Some("me"), Some(22))),
        ("2001:db8::1", d("2001:db8::1", None, None)),
        ("ssh://[::1]:22", d("::1", None, Some(22))),
        ("me@corp.org@box", d("box", Some("me@corp.org"), None)),
        ("10.0.0.1", d("10.0.0.1", None, None)),
        ("dev_box-1.x", d("dev_box-1.x", None, None)),
        ("", None),
        ("-oProxyCommand=x", None),
        ("me@-x", None),
        ("-x@box", None),
        ("@box", None),
        ("me@", None),
        ("box:", None),
        ("box:0", None),
        ("box:65536", None),
        ("box:+22", None),
        ("box:x", None),
        ("bo x", None),
        ("box\n", None),
        ("bo\u{1b}x", None),
        ("[::1", None),
        ("[box]:22", d("box", None, Some(22))),
        ("root@[10.0.0.1]:22", d("10.0.0.1", Some("root"), Some(22))),
        ("[bo]x]", None),
        ("CORP\\me@box", d("box", Some("CORP\\me"), None)),
        ("me\\@box", None),
        ("[::1]22", None),
        ("a:b:c", None),
        ("$(id)", None),
        ("a;b", None),
        ("prod/web1", d("prod/web1", None, None)),
        ("a[b", None),
        ("ssh://", None),
    ] {
        assert_eq!(Destination::parse(text).ok(), expected, "{text:?}");
    }
    assert!(Destination::parse(&"x".repeat(2000)).is_err());
    for text in ["box", "me@box:22", "[::1]:22", "2001:db8::1"] {
        assert_eq!(Destination::parse(text).unwrap().to_string(), text);
    }
}

#[test]
fn a_host_that_cannot_be_read_or_noted_is_no_host() {
    for bad in ["bo\u{200b}x", "\u{202e}xob", "b#x", "#box", "a,b", "me\u{2066}@box", "ssh://b#x", "b\u{ad}x"]
    {
        let said = Destination::parse(bad).unwrap_err().to_string();
        assert!(!said.contains(sessd_proto::docs::text::is_hidden), "{said:?}");
    }
}

#[test]
fn text_of_the_far_side_is_made_harmless() {
    assert_eq!(clean("  a\r\n\tb  \u{1b}[31mc\u{202e}\u{0} ", 80), "a b [31mc");
    assert_eq!(clean("abcdef", 4), "…def");
    assert_eq!(clean("äöü", 3), "äöü");
}

#[tokio::test]
async fn exec_tells_output_exit_and_stderr() {
    let (world, _sshd) = World::with_box("");
    let host = world.resolve("box").await;
    for (name, transport) in transports() {
        let (out, exit) = once(&*transport, &host, "echo $HOME; exit 7").await.unwrap();
        assert_eq!((out.trim(), exit), (world.show("home").as_str(), Exit::Code(7)), "{name}");

        let mut conn = transport.dial(&host).await.unwrap();
        let mut stream = conn.exec("echo out; seq 1 3000 >&2; cat; echo end >&2").await.unwrap();
        stream.write_all(b"typed").await.unwrap();
        stream.shutdown().await.unwrap();
        let mut out = String::new();
        stream.read_to_string(&mut out).await.unwrap();
        assert_eq!(out, "out\ntyped", "{name}");
        assert_eq!(stream.exit().await, Exit::Code(0), "{name}");
        let tail = String::from_utf8_lossy(stream.stderr_tail()).into_owned();
        assert!(tail.len() <= STDERR_TAIL && tail.ends_with("3000\nend\n"), "{name}: {tail}");
    }
}

#[tokio::test]
async fn sixty_four_megabytes_arrive_whole_both_ways() {
    const SIZE: usize = 64 << 20;
    let (world, _sshd) = World::with_box("");
    let host = world.resolve("box").await;
    let pattern: Vec<u8> = b"0123456789abcdef\n".iter().copied().cycle().take(SIZE).collect();
    for (name, transport) in transports() {
        let mut conn = transport.dial(&host).await.unwrap();
        let (mut reader, _writer) =
            conn.exec("yes 0123456789abcdef | head -c 67108864").await.unwrap().into_parts();
        let mut got = Vec::with_capacity(SIZE);
        while let Some(chunk) = reader.chunk().await.unwrap() {
            got.extend_from_slice(&chunk);
        }
        assert!(got == pattern, "{name}: {} bytes", got.len());
        assert_eq!(reader.exit().await, Exit::Code(0), "{name}");

        let mut stream = conn.exec("cat > $HOME/up; echo done").await.unwrap();
        stream.write_all(&pattern).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut out = String::new();
        stream.read_to_string(&mut out).await.unwrap();
        assert_eq!(out, "done\n", "{name}");
        assert!(std::fs::read(world.path("home/up")).unwrap() == pattern, "{name}");
    }
}

#[tokio::test]
async fn a_hundred_execs_leak_no_channel_under_max_sessions_one() {
    let (world, _sshd) = World::with_box("MaxSessions 1");
    let host = world.resolve("box").await;
    let mut conn = RusshTransport.dial(&host).await.unwrap();
    for n in 0..100 {
        let (mut reader, writer) = conn.exec(&format!("echo {n}; exec cat")).await.unwrap().into_parts();
        assert_eq!(reader.chunk().await.unwrap().unwrap(), format!("{n}\n").as_bytes());
        // Dropped while the command runs: the channel must be free for the next.
        drop((reader, writer));
    }
}

#[tokio::test]
async fn a_refused_channel_is_no_verdict() {
    let (world, _sshd) = World::with_box("MaxSessions 1");
    let host = world.resolve("box").await;
    let mut conn = RusshTransport.dial(&host).await.unwrap();
    let _first = conn.exec("cat").await.unwrap();
    let e = conn.exec("true").await.err().unwrap();
    assert!(e.is_retried() && e.to_string().contains("refuses one more channel"), "{e}");
}

#[tokio::test]
async fn a_killed_connection_breaks_the_stream_not_silently() {
    let (world, sshd) = World::with_box("");
    let host = world.resolve("box").await;
    let mut conn = RusshTransport.dial(&host).await.unwrap();
    let (mut reader, _writer) = conn.exec("echo $PPID; exec sleep 1000").await.unwrap().into_parts();
    let chunk = reader.chunk().await.unwrap().unwrap();
    // The sshd of this one connection, child of ours.
    run("kill", &["-9", String::from_utf8_lossy(&chunk).trim()]);
    assert!(reader.chunk().await.is_err());
    assert_eq!(reader.exit().await, Exit::Unknown);
    let e = conn.exec("true").await.err().unwrap();
    assert!(e.is_retried(), "{e}");
    drop(sshd);
}

#[tokio::test]
async fn a_refused_key_needs_a_login() {
    let (mut world, sshd) = World::with_box("");
    let stranger = format!("  IdentityFile {}", world.show("stranger"));
    // The first IdentityFile does not win, they add up: an alias without the good one.
    world.host("refused", sshd.port, &stranger);
    let config = std::fs::read_to_string(world.path("config")).unwrap();
    let (head, tail) = config.split_once("Host refused").unwrap();
    let tail = tail.replace(&format!("  IdentityFile {}\n", world.show("user")), "");
    std::fs::write(world.path("config"), format!("{head}Host refused{tail}")).unwrap();
    let host = world.resolve("refused").await;
    for (name, transport) in transports() {
        let e = once(&*transport, &host, "true").await.unwrap_err();
        assert!(matches!(e, Failure::NeedsLogin { .. }), "{name}: {e}");
        assert!(!e.is_retried() && !e.to_string().contains('\n'), "{name}: {e}");
    }
}

#[tokio::test]
async fn a_locked_key_says_how_to_unlock_it() {
    let (mut world, sshd) = World::with_box("");
    world.keygen("locked", &["-t", "ed25519", "-N", "secret"]);
    let authorized = format!("{}\n", world.public("locked"));
    std::fs::write(world.path("authorized"), authorized).unwrap();
    let locked = format!("  IdentityFile {}", world.show("locked"));
    world.host("locked", sshd.port, &locked);
    let host = world.resolve("locked").await;
    let e = once(&RusshTransport, &host, "true").await.unwrap_err();
    assert!(matches!(e, Failure::NeedsLogin { .. }) && e.to_string().contains("run `ssh-add "), "{e}");
}

#[tokio::test]
async fn every_key_type_logs_in() {
    let (mut world, sshd) = World::with_box("");
    for (name, args) in [("k-ecdsa", ["-t", "ecdsa", "-b", "256"]), ("k-rsa", ["-t", "rsa", "-b", "2048"])] {
        world.keygen(name, &[args.as_slice(), &["-N", ""]].concat());
        std::fs::write(world.path("authorized"), world.public(name)).unwrap();
        let identity = format!("  IdentityFile {}", world.show(name));
        world.host(name, sshd.port, &identity);
        let host = world.resolve(name).await;
        let (out, _) = once(&RusshTransport, &host, "echo ok").await.unwrap();
        assert_eq!(out, "ok\n", "{name}");
    }
}

struct Agent(std::process::Child);
impl Drop for Agent {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[tokio::test]
async fn the_ssh_agent_logs_in_with_a_locked_key_and_identities_only_filters() {
    let (mut world, sshd) = World::with_box("MaxAuthTries 3");
    let socket = world.show("agent.sock");
    let agent = std::process::Command::new("ssh-agent")
        .args(["-D", "-a", &socket])
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("ssh-agent is missing: install openssh-client");
    let _agent = Agent(agent);
    while tokio::net::UnixStream::connect(&socket).await.is_err() {
        tokio::task::yield_now().await;
    }
    // Many strangers, then the good key, whose file needs a passphrase afterwards.
    let add = |file: &str| {
        let status =
            std::process::Command::new("ssh-add").args(["-q", file]).env("SSH_AUTH_SOCK", &socket).status();
        assert!(status.unwrap().success());
    };
    for n in 0..4 {
        let name = format!("extra{n}");
        world.keygen(&name, &["-t", "ed25519", "-N", ""]);
        add(&world.show(&name));
    }
    add(&world.show("user"));
    run("ssh-keygen", &["-q", "-p", "-N", "secret", "-f", &world.show("user")]);

    world.host("agent", sshd.port, &format!("  IdentityAgent {socket}"));
    world.host(
        "all",
        sshd.port,
        &format!("  IdentityAgent {socket}\n  IdentitiesOnly no\n  IdentityFile none"),
    );
    for (name, transport) in transports() {
        let host = world.resolve("agent").await;
        let (out, _) = once(&*transport, &host, "echo ok").await.unwrap();
        assert_eq!(out, "ok\n", "{name}");
    }
    // Without the filter the host cuts before the good key comes: a person's matter, not the network's.
    let mut host = world.resolve("all").await;
    host.identity_files.clear();
    let e = once(&RusshTransport, &host, "true").await.unwrap_err();
    assert!(matches!(&e, Failure::NeedsLogin { detail, .. } if detail.contains("IdentitiesOnly")), "{e}");
}

#[tokio::test]
async fn user_certificates_log_in() {
    let (mut world, _first) = World::with_box("");
    world.keygen("ca", &["-t", "ed25519", "-N", ""]);
    let (ca, key, user) = (world.show("ca"), world.show("stranger.pub"), world.user.clone());
    run("ssh-keygen", &["-q", "-s", &ca, "-I", "me", "-n", &user, &key]);
    let sshd = world.sshd("box", &format!("TrustedUserCAKeys {ca}.pub\nAuthorizedKeysFile none"));
    world.trust(&sshd, "hostkey-box");
    world.host("cert", sshd.port, &format!("  IdentityFile {}", world.show("stranger")));
    let host = world.resolve("cert").await;
    let mut only = host.clone();
    only.identity_files.truncate(1);
    let (out, _) = once(&RusshTransport, &only, "echo ok").await.unwrap();
    assert_eq!(out, "ok\n");
}

#[tokio::test]
async fn password_only_hosts_need_a_login() {
    let (world, _sshd) = World::with_box(
        "PubkeyAuthentication no\nPasswordAuthentication yes\nKbdInteractiveAuthentication yes",
    );
    let host = world.resolve("box").await;
    for (name, transport) in transports() {
        let e = once(&*transport, &host, "true").await.unwrap_err();
        assert!(matches!(e, Failure::NeedsLogin { .. }), "{name}: {e}");
    }
    let (world, _sshd) = World::with_box("PubkeyAuthentication no");
    let e = once(&RusshTransport, &world.resolve("box").await, "true").await.unwrap_err();
    assert!(matches!(&e, Failure::NeedsLogin { detail, .. } if detail.contains("no way to log in")), "{e}");
}

#[tokio::test]
async fn an_unknown_host_key_is_shown_not_trusted() {
    let (world, sshd) = World::with_box("");
    std::fs::write(world.path("known_hosts"), "").unwrap();
    let host = world.resolve("box").await;
    for (name, transport) in transports() {
        let e = once(&*transport, &host, "true").await.unwrap_err();
        let Failure::HostKey { port, fingerprint, kind: HostKeyProblem::Unknown, .. } = &e else {
            panic!("{name}: {e}")
        };
        assert_eq!(*port, sshd.port, "{name}");
        assert_eq!(*fingerprint, format!("ED25519 {}", world.print_of("hostkey-box")), "{name}");
        assert_eq!(world.known(), "", "{name}");
    }
}

#[tokio::test]
async fn a_changed_host_key_is_refused_with_both_fingerprints() {
    let (world, sshd) = World::with_box("");
    std::fs::write(world.path("known_hosts"), "# first\n").unwrap();
    world.trust(&sshd, "stranger");
    let host = world.resolve("box").await;
    for (name, transport) in transports() {
        let e = once(&*transport, &host, "true").await.unwrap_err();
        let Failure::HostKey { fingerprint, kind: HostKeyProblem::Changed(known), .. } = &e else {
            panic!("{name}: {e}")
        };
        assert_eq!(*fingerprint, format!("ED25519 {}", world.print_of("hostkey-box")), "{name}");
        assert_eq!(known.fingerprints, [format!("ED25519 {}", world.print_of("stranger"))], "{name}");
        assert_eq!((known.file.as_str(), known.line), (world.show("known_hosts").as_str(), 2), "{name}");
    }
}

#[tokio::test]
async fn another_key_type_on_file_is_a_change_as_in_ssh() {
    let (world, sshd) = World::with_box("");
    world.keygen("old", &["-t", "ecdsa", "-N", ""]);
    std::fs::write(world.path("known_hosts"), "").unwrap();
    world.trust(&sshd, "old");
    let host = world.resolve("box").await;
    for (name, transport) in transports() {
        let e = once(&*transport, &host, "true").await.unwrap_err();
        assert!(matches!(&e, Failure::HostKey { kind: HostKeyProblem::Changed(_), .. }), "{name}: {e}");
    }
}

#[tokio::test]
async fn a_host_with_several_keys_is_asked_for_the_known_one() {
    let (mut world, _one) = World::with_box("");
    world.keygen("second", &["-t", "ecdsa", "-N", ""]);
    let sshd = world.sshd("box", &format!("HostKey {}", world.show("second")));
    world.trust(&sshd, "second");
    world.host("two", sshd.port, "");
    let host = world.resolve("two").await;
    for (name, transport) in transports() {
        once(&*transport, &host, "true").await.unwrap_or_else(|e| panic!("{name}: {e}"));
    }
}

#[tokio::test]
async fn a_revoked_host_key_is_refused() {
    let (world, sshd) = World::with_box("");
    world.note(&format!("@revoked * {}", world.public("hostkey-box")));
    let host = world.resolve("box").await;
    for (name, transport) in transports() {
        let e = once(&*transport, &host, "true").await.unwrap_err();
        assert!(matches!(&e, Failure::HostKey { kind: HostKeyProblem::Revoked, .. }), "{name}: {e}");
    }
    drop(sshd);
}

#[tokio::test]
async fn a_certificate_authority_vouches_for_a_host() {
    let (mut world, _one) = World::with_box("");
    world.keygen("ca", &["-t", "ed25519", "-N", ""]);
    let (ca, key) = (world.show("ca"), world.show("hostkey-box.pub"));
    run("ssh-keygen", &["-q", "-s", &ca, "-I", "h", "-h", "-n", "127.0.0.1", &key]);
    let sshd = world.sshd("box", &format!("HostCertificate {}", world.show("hostkey-box-cert.pub")));
    world.host("signed", sshd.port, "");
    std::fs::write(world.path("known_hosts"), "").unwrap();
    let host = world.resolve("signed").await;
    assert!(once(&RusshTransport, &host, "true").await.is_err());
    world.note(&format!("@cert-authority [127.*]:{} {}", sshd.port, world.public("ca")));
    for (name, transport) in transports() {
        once(&*transport, &host, "true").await.unwrap_or_else(|e| panic!("{name}: {e}"));
    }
    world.note(&format!("@revoked * {}", world.public("ca")));
    let e = once(&RusshTransport, &host, "true").await.unwrap_err();
    assert!(matches!(&e, Failure::HostKey { kind: HostKeyProblem::Revoked, .. }), "{e}");
}

#[tokio::test]
async fn accept_new_notes_the_key_once() {
    for (name, transport) in transports() {
        let mut world = World::new();
        let sshd = world.sshd("box", "");
        world.host("new", sshd.port, "  StrictHostKeyChecking accept-new");
        let host = world.resolve("new").await;
        for _ in 0..2 {
            once(&*transport, &host, "true").await.unwrap_or_else(|e| panic!("{name}: {e}"));
        }
        let expected = format!("[127.0.0.1]:{} {}\n", sshd.port, world.public("hostkey-box"));
        assert_eq!(world.known(), expected, "{name}");
        if name == "russh" {
            assert_eq!(mode(&world.path("known_hosts")), 0o600);
        }
        // Once noted, a change is refused.
        std::fs::write(world.path("known_hosts"), "").unwrap();
        world.trust(&sshd, "stranger");
        assert!(once(&*transport, &host, "true").await.is_err(), "{name}");
    }
}

#[tokio::test]
async fn a_closed_port_is_out_of_reach_at_once() {
    let mut world = World::new();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    world.host("closed", port, "");
    let host = world.resolve("closed").await;
    for (name, transport) in transports() {
        let start = Instant::now();
        let e = once(&*transport, &host, "true").await.unwrap_err();
        assert!(matches!(e, Failure::Unreachable { .. }), "{name}: {e}");
        assert!(e.to_string().to_lowercase().contains("refused"), "{name}: {e}");
        assert!(start.elapsed() < Duration::from_secs(2), "{name}: {:?}", start.elapsed());
    }
}

#[tokio::test]
async fn a_host_that_accepts_and_says_nothing_is_out_of_reach_in_time() {
    let mut world = World::new();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    world.host("hole", listener.local_addr().unwrap().port(), "  ConnectTimeout 1");
    let host = world.resolve("hole").await;
    for (name, transport) in transports() {
        let start = Instant::now();
        let e = once(&*transport, &host, "true").await.unwrap_err();
        assert!(matches!(e, Failure::Unreachable { .. }), "{name}: {e}");
        assert!(start.elapsed() < Duration::from_millis(2500), "{name}: {:?}", start.elapsed());
    }
    // Nothing of the attempt stays: the far end sees it closed.
    let (mut socket, _) = listener.accept().await.unwrap();
    let mut all = Vec::new();
    socket.read_to_end(&mut all).await.unwrap();
    assert!(all.starts_with(b"SSH-2.0-"), "{all:?}");
}

#[tokio::test]
async fn what_is_no_ssh_server_is_said_to_be_none() {
    let mut world = World::new();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    world.host("web", listener.local_addr().unwrap().port(), "  ConnectTimeout 2");
    let host = world.resolve("web").await;
    let server = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        socket.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n\x1b[31m").await.unwrap();
    });
    let e = once(&RusshTransport, &host, "true").await.unwrap_err();
    assert!(matches!(e, Failure::Protocol { .. } | Failure::Unreachable { .. }), "{e}");
    server.await.unwrap();
}

#[tokio::test]
async fn proxy_jump_goes_through_a_second_host() {
    let (mut world, first) = World::with_box("");
    let second = world.sshd("far", "");
    world.host("far", second.port, "  ProxyJump box");
    world.host("farther", first.port, "  ProxyJump box,far");
    world.trust(&second, "hostkey-far");
    for alias in ["far", "farther"] {
        let host = world.resolve(alias).await;
        for (name, transport) in transports() {
            let (out, exit) = once(&*transport, &host, "yes | head -c 1000000 | wc -c").await.unwrap();
            assert_eq!((out.trim(), exit), ("1000000", Exit::Code(0)), "{name} {alias}");
        }
    }
    // A jump host that forbids forwarding is the one that is named... by what it cannot reach.
    let third = world.sshd("closed", "AllowTcpForwarding no");
    world.trust(&third, "hostkey-closed");
    world.host("hop", third.port, "");
    world.host("behind", second.port, "  ProxyJump hop");
    let e = once(&RusshTransport, &world.resolve("behind").await, "true").await.unwrap_err();
    assert!(matches!(&e, Failure::Unreachable { detail, .. } if detail.contains("jump host")), "{e}");
}

#[tokio::test]
async fn proxy_command_is_a_connection() {
    let mut world = World::new();
    world.keygen("hostkey-inetd", &["-t", "ed25519", "-N", ""]);
    let config = world.sshd_config("inetd", "hostkey-inetd", 22, "");
    world.note(&format!("127.0.0.1 {}", world.public("hostkey-inetd")));
    world.host(
        "piped",
        22,
        &format!("  ProxyCommand {} -i -f {}", sshd_binary().display(), config.display()),
    );
    world.host("broken", 22, "  ProxyCommand echo it is %n that fails >&2; false");
    let host = world.resolve("piped").await;
    for (name, transport) in transports() {
        let (out, _) = once(&*transport, &host, "echo ok").await.unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(out, "ok\n", "{name}");
    }
    let e = once(&RusshTransport, &world.resolve("broken").await, "true").await.unwrap_err();
    assert!(
        matches!(&e, Failure::Unreachable { detail, .. } if detail.contains("says: it is broken that fails")),
        "{e}"
    );
}

// --- The agent's start ---

/// Starts the stand-in and talks to it: what it said first, and whether it was uploaded.
async fn start(conn: &mut dyn Connection, image: AgentImage) -> Result<(String, bool), Failure> {
    let channel = start_agent(conn, &[image], &StartOptions::default()).await?;
    let uploaded = channel.uploaded;
    let (mut reader, mut writer) = channel.stream.into_parts();
    let mut first = String::new();
    reader.read_line(&mut first).await.unwrap();
    writer.write_all(b"ping\n").await.unwrap();
    let mut echo = String::new();
    reader.read_line(&mut echo).await.unwrap();
    assert_eq!(echo, "ping\n");
    writer.shutdown().await.unwrap();
    assert_eq!(reader.exit().await, Exit::Code(0));
    Ok((first.trim().to_owned(), uploaded))
}

#[tokio::test]
async fn the_agent_is_installed_once_over_one_session_at_a_time() {
    let (world, _sshd) = World::with_box("MaxSessions 1\nAllowTcpForwarding no");
    let host = world.resolve("box").await;
    let image = stand_in("");
    let folder = world.path("home/.local/state/sessd-agent");
    let expected = format!("agent {}", folder.display());
    for (name, transport) in transports() {
        let mut conn = transport.dial(&host).await.unwrap();
        std::fs::remove_dir_all(world.path("home/.local")).ok();
        assert_eq!(start(&mut *conn, image).await.unwrap(), (expected.clone(), true), "{name}");
        assert_eq!(start(&mut *conn, image).await.unwrap(), (expected.clone(), false), "{name}");
        let names: Vec<_> =
            std::fs::read_dir(folder.join("bin")).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names, [format!("sessd-agent-{}", &image.hash[..16]).as_str()], "{name}");
        assert_eq!(mode(&folder.join("bin").join(&names[0])), 0o700, "{name}");
        assert_eq!(mode(&folder), 0o700, "{name}");
    }
}

#[tokio::test]
async fn noisy_start_files_do_not_matter() {
    let (world, _sshd) = World::with_box("");
    let noise = "x".repeat(10_000);
    std::fs::write(
        world.path("home/.bashrc"),
        format!("echo {noise}; echo {noise} >&2; printf 'no newline at the end'; set -v; umask 022\n"),
    )
    .unwrap();
    let host = world.resolve("box").await;
    let image = stand_in("noisy");
    for (name, transport) in transports() {
        std::fs::remove_dir_all(world.path("home/.local")).ok();
        let mut conn = transport.dial(&host).await.unwrap();
        for uploaded in [true, false] {
            assert_eq!(start(&mut *conn, image).await.unwrap().1, uploaded, "{name}");
        }
    }
    // A start file that ends the shell is named, not waited for.
    std::fs::write(world.path("home/.bashrc"), "echo go away >&2; exit 3\n").unwrap();
    let mut conn = RusshTransport.dial(&host).await.unwrap();
    let e = start(&mut *conn, image).await.unwrap_err();
    assert!(
        matches!(&e, Failure::AgentInstall { detail, .. } if detail.contains("code 3") && detail.contains("go away")),
        "{e}"
    );
    // One that never ends printing is cut.
    std::fs::write(world.path("home/.bashrc"), "yes noise\n").unwrap();
    let e = start(&mut *conn, image).await.unwrap_err();
    assert!(matches!(&e, Failure::AgentInstall { detail, .. } if detail.contains("256 kB")), "{e}");
}

#[tokio::test]
async fn every_login_shell_starts_the_agent() {
    let shells = ["bash", "dash", "zsh", "fish", "tcsh", "sh"];
    let present: Vec<&str> = shells
        .into_iter()
        .filter(|s| std::process::Command::new(s).args(["-c", "exit 0"]).status().is_ok_and(|s| s.success()))
        .collect();
    assert!(present.contains(&"fish") && present.contains(&"tcsh"), "fish or tcsh is missing: install both");
    for shell in present {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(home.path().join(".config/fish")).unwrap();
        std::fs::write(home.path().join(".config/fish/config.fish"), "echo fishy; echo oops >&2\n").unwrap();
        std::fs::write(home.path().join(".cshrc"), "echo seashell\n").unwrap();
        std::fs::write(home.path().join(".zshenv"), "echo zzz\n").unwrap();
        let mut conn = Shell::new(shell, home.path());
        let image = stand_in(shell);
        let expected = format!("agent {}/.local/state/sessd-agent", home.path().display());
        assert_eq!(start(&mut conn, image).await.unwrap(), (expected.clone(), true), "{shell}");
        assert_eq!(conn.execs, 3, "{shell}");
        assert_eq!(start(&mut conn, image).await.unwrap(), (expected, false), "{shell}");
        assert_eq!(conn.execs, 4, "{shell}: the warm path is one exec");
    }
}

#[tokio::test]
async fn a_damaged_upload_is_never_run() {
    let home = tempfile::tempdir().unwrap();
    let good = stand_in("good");
    let bad = AgentImage { bytes: stand_in("evil").bytes, ..good };
    let mut conn = Shell::new("sh", home.path());
    let options = StartOptions { agent_dir: Some("~/agent".to_owned()) };
    let e = start_agent(&mut conn, &[bad], &options).await.err().unwrap();
    assert!(matches!(&e, Failure::AgentInstall { detail, .. } if detail.contains("damaged")), "{e}");
    assert_eq!(std::fs::read_dir(home.path().join("agent/bin")).unwrap().count(), 0);
}

#[tokio::test]
async fn an_unusable_home_falls_back_and_foreign_folders_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let image = stand_in("");
    // A home that is none, a state folder that works.
    let mut conn = Shell::new("sh", std::path::Path::new("/dev/null/home"));
    conn.variables.push(("XDG_STATE_HOME", folder.path().join("state")));
    let (first, uploaded) = start(&mut conn, image).await.unwrap();
    assert_eq!((first, uploaded), (format!("agent {}/state/sessd-agent", folder.path().display()), true));
    assert!(!start(&mut conn, image).await.unwrap().1);

    // A folder in a shared place that is not private to us is neither used nor run from, even with the agent in it.
    let runtime = folder.path().join("run");
    std::fs::create_dir_all(&runtime).unwrap();
    std::os::unix::fs::symlink(folder.path().join("state/sessd-agent"), runtime.join("sessd-agent")).unwrap();
    let mut conn = Shell::new("sh", std::path::Path::new("/dev/null/home"));
    conn.variables.push(("XDG_RUNTIME_DIR", runtime));
    let scripts = conn.exec(&bootstrap::probe_for_test(3)).await.unwrap();
    let (mut reader, _writer) = scripts.into_parts();
    let mut out = String::new();
    reader.read_to_string(&mut out).await.unwrap();
    assert!(out.contains(" .3f"), "{out}");
}

#[tokio::test]
async fn an_agent_dir_that_others_can_write_to_is_neither_used_nor_run_from() {
    let folder = tempfile::tempdir().unwrap();
    let set = |path: &std::path::Path, mode| {
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    };
    let (shared, image) = (folder.path().join("shared"), stand_in(""));
    let agent = shared.join("agent");
    std::fs::create_dir_all(agent.join("bin")).unwrap();
    let program = agent.join("bin").join(format!("sessd-agent-{}", &image.hash[..16]));
    // A program under the agent's name that is not the agent.
    std::fs::write(&program, "#!/bin/sh\necho evil; exec cat\n").unwrap();
    set(&program, 0o755);
    let options = StartOptions { agent_dir: Some(agent.display().to_string()) };
    for (path, mode, named) in [
        (&shared, 0o777, Some(&shared)),
        (&shared, 0o775, Some(&shared)),
        (&agent, 0o1777, Some(&agent)),
        (&program, 0o777, None),
    ] {
        set(path, mode);
        let mut conn = Shell::new("sh", folder.path());
        let result = start_agent(&mut conn, &[image], &options).await;
        match named {
            Some(named) => {
                let e = result.err().unwrap().to_string();
                assert!(e.contains("can be written by others"), "{mode:o}: {e}");
                assert!(e.contains(&format!("({}:", named.display())), "{mode:o}: {e}");
                set(path, 0o755);
            }
            // The folder is safe, and what lay in it is replaced.
            None => assert!(result.unwrap().uploaded),
        }
    }
    // A folder for everybody with the sticky bit is no danger to what is ours in it.
    set(&shared, 0o1777);
    let mut conn = Shell::new("sh", folder.path());
    assert!(!start_agent(&mut conn, &[image], &options).await.unwrap().uploaded);
}

#[tokio::test]
async fn a_login_without_tools_in_its_path_starts_the_agent_and_keeps_its_path() {
    let home = tempfile::tempdir().unwrap();
    let text = "#!/bin/sh\ncase $1 in version) ;; serve) echo \"agent $PATH\";; esac\n";
    let image = AgentImage { bytes: text.as_bytes(), ..stand_in("") };
    std::fs::write(home.path().join("image"), text).unwrap();
    let hash = run("sha256sum", &[&home.path().join("image").display().to_string()]);
    let image = AgentImage { hash: hash[..64].to_owned().leak(), ..image };
    let mut conn = Shell::new("/bin/sh", home.path());
    conn.variables.push(("PATH", "/nowhere".into()));
    let channel = start_agent(&mut conn, &[image], &StartOptions::default()).await.unwrap();
    let (mut reader, _writer) = channel.stream.into_parts();
    let mut first = String::new();
    reader.read_line(&mut first).await.unwrap();
    assert_eq!(first, "agent /nowhere\n");
}

#[tokio::test]
async fn this_machine_has_the_folders_of_any_host_and_repairs_a_damaged_program() {
    let home = tempfile::tempdir().unwrap();
    let image = stand_in("here");
    let options = StartOptions { agent_dir: Some("~/mine".to_owned()) };
    let mut here = Here::new(home.path());
    assert!(start_agent(&mut here, &[image], &options).await.unwrap().uploaded);
    let program = home.path().join("mine/bin").join(format!("sessd-agent-{}", &image.hash[..16]));
    let whole = std::fs::read(&program).unwrap();
    // It may still run, and its file cannot be written to.
    std::fs::remove_file(&program).unwrap();
    std::fs::write(&program, vec![b'#'; whole.len()]).unwrap();
    here.remove_damaged(&image, &options);
    assert!(start_agent(&mut here, &[image], &options).await.unwrap().uploaded);
    assert_eq!(std::fs::read(&program).unwrap(), whole);
    here.remove_damaged(&image, &options);
    assert!(!start_agent(&mut here, &[image], &options).await.unwrap().uploaded, "a whole one stays");
}

#[tokio::test]
#[ignore = "mounts file systems in a namespace of its own, which not every machine allows"]
async fn noexec_read_only_and_full_homes_fall_back_and_are_named() {
    for (options, words) in [("size=1m,noexec", "noexec"), ("ro", "cannot be made"), ("size=16k", "is full")]
    {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("home");
        std::fs::create_dir(&home).unwrap();
        let image = stand_in(&"x".repeat(100_000));
        let mut conn = Shell::new("sh", &home);
        let mount = format!("mount -t tmpfs -o {options} none $HOME && exec \"$0\" \"$@\"");
        conn.within = vec!["unshare", "-rm", "sh", "-c", mount.leak()];
        conn.variables.push(("XDG_STATE_HOME", folder.path().join("state")));
        let (first, uploaded) = start(&mut conn, image).await.unwrap();
        assert_eq!(
            (first, uploaded),
            (format!("agent {}/state/sessd-agent", folder.path().display()), true),
            "{options}"
        );
        // With no other folder to go to, the reason is named.
        let only = StartOptions { agent_dir: Some("~/agent".to_owned()) };
        let e = start_agent(&mut conn, &[image], &only).await.err().unwrap();
        assert!(
            matches!(&e, Failure::AgentInstall { detail, .. } if detail.contains(words)),
            "{options}: {e}"
        );
    }
}

#[tokio::test]
async fn a_control_master_of_the_user_is_shared() {
    let (mut world, sshd) = World::with_box("");
    let socket = world.path("master.sock");
    let shared = format!("  ControlPath {}", socket.display());
    world.host("shared", sshd.port, &shared);
    let host = world.resolve("shared").await;
    assert!(host.control_path);
    let config = world.show("config");
    // No master yet: a connection of its own.
    assert_eq!(once(&OpensshTransport, &host, "echo one").await.unwrap().0, "one\n");
    let master = std::process::Command::new("ssh")
        .args(["-F", &config, "-M", "-N", "-o", "BatchMode=yes", "shared"])
        .stdin(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let _master = Agent(master);
    while !socket.exists() {
        tokio::task::yield_now().await;
    }
    // The key is gone: only the master can still get in.
    std::fs::write(world.path("authorized"), "").unwrap();
    assert_eq!(once(&OpensshTransport, &host, "echo two").await.unwrap().0, "two\n");
}

#[tokio::test]
async fn no_agent_for_the_platform_is_said() {
    let home = tempfile::tempdir().unwrap();
    let image = AgentImage { triple: "s390x-unknown-linux-gnu", ..stand_in("") };
    let other = AgentImage { triple: "armv7-unknown-linux-gnu", ..image };
    let mut conn = Shell::new("sh", home.path());
    let e = start_agent(&mut conn, &[image, other], &StartOptions::default()).await.err().unwrap();
    assert!(
        matches!(&e, Failure::AgentInstall { detail, .. } if detail.contains("no agent for Linux")),
        "{e}"
    );
}

#[tokio::test]
async fn an_agent_that_does_not_run_there_is_not_installed() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("x");
    std::fs::write(&file, "#!/bin/sh\nexit 1\n").unwrap();
    let hash = run("sha256sum", &[&file.display().to_string()]).split(' ').next().unwrap().to_owned();
    let image = AgentImage { hash: hash.leak(), bytes: b"#!/bin/sh\nexit 1\n", ..stand_in("") };
    let mut conn = Shell::new("sh", home.path());
    let options = StartOptions { agent_dir: Some("~/agent".to_owned()) };
    let e = start_agent(&mut conn, &[image], &options).await.err().unwrap();
    assert!(matches!(&e, Failure::AgentInstall { detail, .. } if detail.contains("does not run")), "{e}");
}

// --- Numbers: `cargo test --release -- --ignored --nocapture measure` ---

#[tokio::test]
#[ignore = "a measurement, not a test"]
async fn measure() {
    let (world, _sshd) = World::with_box("");
    let host = world.resolve("box").await;
    let median = |mut v: Vec<Duration>| {
        v.sort();
        v[v.len() / 2]
    };
    for (name, transport) in transports() {
        let (mut dials, mut execs, mut warm) = (Vec::new(), Vec::new(), Vec::new());
        let image = stand_in("");
        for _ in 0..9 {
            let start_at = Instant::now();
            let mut conn = transport.dial(&host).await.unwrap();
            dials.push(start_at.elapsed());
            let at = Instant::now();
            conn.exec("true").await.unwrap().exit().await;
            execs.push(at.elapsed());
            let at = Instant::now();
            start_agent(&mut *conn, &[image], &StartOptions::default()).await.unwrap();
            warm.push(at.elapsed());
        }
        let mut conn = transport.dial(&host).await.unwrap();
        let at = Instant::now();
        let (mut reader, _w) = conn.exec("head -c 1073741824 /dev/zero").await.unwrap().into_parts();
        let mut total = 0usize;
        while let Some(chunk) = reader.chunk().await.unwrap() {
            total += chunk.len();
        }
        let down = total as f64 / at.elapsed().as_secs_f64() / 1e6;
        drop(reader);
        let (mut reader, mut writer) = conn.exec("cat > /dev/null; echo x").await.unwrap().into_parts();
        let block = vec![0u8; 256 << 10];
        let at = Instant::now();
        for _ in 0..2048 {
            writer.write_all(&block).await.unwrap();
        }
        writer.shutdown().await.unwrap();
        reader.chunk().await.unwrap();
        let up = 2048.0 * block.len() as f64 / at.elapsed().as_secs_f64() / 1e6;
        drop((reader, writer));
        let (mut reader, mut writer) = conn.exec("exec cat").await.unwrap().into_parts();
        let mut echoes = Vec::new();
        for _ in 0..5000 {
            let at = Instant::now();
            writer.write_all(b"x").await.unwrap();
            writer.flush().await.unwrap();
            reader.chunk().await.unwrap();
            echoes.push(at.elapsed());
        }
        println!(
            "{name}: dial {:?}, exec {:?}, agent start (median, mostly warm) {:?}, down {down:.0} MB/s, up {up:.0} MB/s, echo {:?}",
            median(dials),
            median(execs),
            median(warm),
            median(echoes)
        );
    }
}

/// An ssh-agent with one key that does what `signs` says when it is asked for a signature: it refuses, or says nothing.
fn odd_agent(world: &World, refuses: bool) -> std::path::PathBuf {
    use std::io::{Read as _, Write as _};
    let socket = world.path("agent");
    let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let key = world.public("user").split(' ').nth(1).unwrap().to_owned();
    let key = data_encoding::BASE64.decode(key.as_bytes()).unwrap();
    let mut identities = vec![12, 0, 0, 0, 1];
    identities.extend((key.len() as u32).to_be_bytes());
    identities.extend(key);
    identities.extend([0, 0, 0, 0]);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let identities = identities.clone();
            std::thread::spawn(move || {
                loop {
                    let mut length = [0; 4];
                    if stream.read_exact(&mut length).is_err() {
                        return;
                    }
                    let mut message = vec![0; u32::from_be_bytes(length) as usize];
                    stream.read_exact(&mut message).unwrap();
                    let answer = match message[0] {
                        11 => identities.clone(),
                        13 if !refuses => continue,
                        _ => vec![5],
                    };
                    stream.write_all(&(answer.len() as u32).to_be_bytes()).unwrap();
                    stream.write_all(&answer).unwrap();
                }
            });
        }
    });
    socket
}

#[tokio::test]
async fn a_signature_that_nobody_gives_waits_for_a_person() {
    let (mut world, sshd) = World::with_box("");
    world.host("touch", sshd.port, &format!("  IdentityAgent {}", world.show("agent")));
    odd_agent(&world, false);
    let host = world.resolve("touch").await;
    let e = russh::dial_within(&host, std::time::Duration::from_secs(2)).await.err().unwrap().failure;
    assert!(
        matches!(e, Failure::NeedsLogin { .. }) && e.to_string().contains("touch or a confirmation"),
        "{e}"
    );
}

#[tokio::test]
async fn an_agent_that_refuses_to_sign_is_said_and_the_next_key_is_tried() {
    let (mut world, sshd) = World::with_box("");
    std::fs::rename(world.path("user"), world.path("hidden")).unwrap();
    world.host("sulks", sshd.port, &format!("  IdentityAgent {}", world.show("agent")));
    odd_agent(&world, true);
    let host = world.resolve("sulks").await;
    let e = once(&RusshTransport, &host, "true").await.unwrap_err();
    assert!(matches!(e, Failure::NeedsLogin { .. }) && e.to_string().contains("would not sign"), "{e}");
}

#[tokio::test]
async fn an_agent_that_is_away_is_told_from_a_key_that_is_refused() {
    let (mut world, sshd) = World::with_box("");
    std::fs::rename(world.path("user"), world.path("hidden")).unwrap();
    let socket = world.path("nobody");
    world.host("away", sshd.port, &format!("  IdentityAgent {}", socket.display()));
    let host = world.resolve("away").await;
    for (name, transport) in transports() {
        match once(&*transport, &host, "true").await.unwrap_err() {
            Failure::NoAgent { socket: Some(there), any: false, .. } => assert_eq!(there, socket, "{name}"),
            e => panic!("{name}: {e}"),
        }
    }
    // Of the key only the public half is here: that is no passphrase missing.
    let e = once(&RusshTransport, &host, "true").await.unwrap_err().to_string();
    assert!(e.contains("does not answer") && !e.contains("passphrase"), "{e}");
}

#[tokio::test]
async fn a_banner_cannot_say_that_the_login_is_done() {
    let mut world = World::new();
    let banner = world.path("banner");
    std::fs::write(&banner, "sessd-logged-in\nsessd-00000000000000000000000000000000\n").unwrap();
    let sshd = world.sshd("box", &format!("Banner {}", banner.display()));
    std::fs::write(world.path("authorized"), "").unwrap();
    world.host("box", sshd.port, "");
    world.trust(&sshd, "hostkey-box");
    let host = world.resolve("box").await;
    for (name, transport) in transports() {
        let e = once(&*transport, &host, "true").await.unwrap_err();
        assert!(matches!(e, Failure::NeedsLogin { .. }), "{name}: {e}");
    }
}

#[tokio::test]
async fn a_proxy_command_has_the_time_that_a_tunnel_takes() {
    let mut world = World::new();
    let shorter = |text: String| text.replace("  ConnectTimeout 5\n", "");
    world.host("plain", 22, "");
    world.host("tunnel", 22, "  ProxyCommand nc %h %p");
    world.host("bound", 22, "  ProxyCommand nc %h %p\n  ConnectTimeout 7");
    let text = std::fs::read_to_string(world.path("config")).unwrap();
    std::fs::write(world.path("config"), shorter(text)).unwrap();
    for (alias, seconds) in [("plain", 10), ("tunnel", 120), ("bound", 7)] {
        assert_eq!(world.resolve(alias).await.connect_timeout.as_secs(), seconds, "{alias}");
    }
}

#[tokio::test]
async fn programs_are_started_as_where_it_was_asked_and_cannot_ask_anybody() {
    let mut environment = Environment::from_process(None);
    environment.change("SESSD_TEST_SET".to_owned(), Some("yes".to_owned()));
    environment.change("HOME".to_owned(), None);
    environment.change("DISPLAY".to_owned(), Some(":0".to_owned()));
    let output = environment.command("env").output().await.unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines.contains(&"SESSD_TEST_SET=yes") && lines.contains(&"SSH_ASKPASS_REQUIRE=never"), "{text}");
    assert!(!lines.iter().any(|line| line.starts_with("HOME=") || line.starts_with("DISPLAY=")), "{text}");
}
