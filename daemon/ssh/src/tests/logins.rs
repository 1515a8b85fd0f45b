//! Who is let in, and what is said to whoever is not.

use super::*;

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

/// As OpenSSH's client does, we first ask with nothing what the host takes; a server counts that among no tries.
#[tokio::test]
async fn a_host_that_takes_one_try_is_given_the_right_key_in_it() {
    let (world, _sshd) = World::with_box("MaxAuthTries 1");
    let host = world.resolve("box").await;
    RusshTransport.dial(&host).await.expect("logged in");
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
