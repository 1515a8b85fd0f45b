//! The rooms together, against a real sshd and real shells. Both transports run the same tests.

mod host_keys;
mod logins;
mod start;

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

struct Agent(std::process::Child);
impl Drop for Agent {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
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
        assert!(matches!(e, Failure::Refused { .. }), "{name}: {e}");
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
async fn what_hangs_up_before_it_says_that_it_is_ssh_is_told_from_what_broke() {
    let mut world = World::new();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    world.host("web", listener.local_addr().unwrap().port(), "  ConnectTimeout 2");
    let host = world.resolve("web").await;
    let cases: [(&[u8], &str); 4] = [
        (b"", "hangs up before it says a word"),
        (b"Exceeded MaxStartups\r\n", "hangs up and says: Exceeded MaxStartups"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n\x1b[31m", "HTTP/1.1 400 Bad Request"),
        (b"SSH-2.0-there\r\n", "closed the connection"),
    ];
    for (says, expected) in cases {
        let (_, failed) = tokio::join!(serve_once(&listener, says), once(&RusshTransport, &host, "true"));
        let e = failed.unwrap_err();
        assert!(e.to_string().contains(expected) && e.is_retried(), "{e}");
        assert_eq!(matches!(e, Failure::HungUp { .. }), !says.starts_with(b"SSH"), "{e}");
        let (_, failed) = tokio::join!(serve_once(&listener, says), once(&OpensshTransport, &host, "true"));
        let e = failed.unwrap_err();
        assert!(e.is_retried(), "{e}");
    }
}

async fn serve_once(listener: &tokio::net::TcpListener, says: &[u8]) {
    let (mut socket, _) = listener.accept().await.unwrap();
    socket.write_all(says).await.unwrap();
    socket.shutdown().await.unwrap();
    // Closed with something unread, it would be a reset.
    socket.read_to_end(&mut Vec::new()).await.ok();
}

#[tokio::test]
async fn proxy_jump_goes_through_a_second_host() {
    let (mut world, first) = World::with_box("");
    let second = world.sshd("far", "");
    // Three logins, each within the one before, on a machine that does other things, too.
    world.host("far", second.port, "  ProxyJump box\n  ConnectTimeout 30");
    world.host("farther", first.port, "  ProxyJump box,far\n  ConnectTimeout 30");
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
    // One that is there and does not get through to it costs little to ask again.
    world.host("gone", 1, "  ProxyJump box");
    for (name, transport) in transports() {
        let e = once(&*transport, &world.resolve("gone").await, "true").await.unwrap_err();
        assert!(matches!(e, Failure::HungUp { .. }), "{name}: {e}");
    }
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
        matches!(&e, Failure::HungUp { detail, .. } if detail.contains("says: it is broken that fails")),
        "{e}"
    );
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
