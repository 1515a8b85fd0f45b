//! Which keys of a host are taken for its own.

use super::*;

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
