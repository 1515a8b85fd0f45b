//! What `ssh` reaches, as `ssh` reaches it: keywords, algorithms, keys and certificates, against a real sshd.

use super::{testbed::*, *};

/// Runs one command by our own connection, or the system's where that lacks something.
async fn own_first(world: &World, alias: &str, command: &str) -> Result<String, Failure> {
    once(&OwnFirst, &world.resolve(alias).await, command).await.map(|(out, _)| out)
}

/// What the sshd on `port` has logged, once it has `needle` in it.
async fn logged(world: &World, name: &str, port: u16, needle: &str) -> String {
    let file = world.path(&format!("sshd-{name}-{port}.log"));
    loop {
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        if text.contains(needle) {
            return text;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn variables_reach_the_command_as_the_config_sends_them() {
    let mut world = World::new();
    let sshd = world.sshd("box", "AcceptEnv FOO LANG LC_*");
    world.trust(&sshd, "hostkey-box");
    world.host("box", sshd.port, "  SetEnv FOO=\"a b=c\" NOT_ACCEPTED=x\n  SendEnv LANG LC_* SECRET FOO");
    for (name, transport) in transports() {
        let mut environment = Environment::from_process(Some(world.path("config")));
        for (variable, value) in [("LANG", "xx_YY"), ("LC_TIME", "tt_TT"), ("SECRET", "s"), ("FOO", "loses")]
        {
            environment.change(variable.to_owned(), Some(value.to_owned()));
        }
        environment.change("LC_ALL".to_owned(), None);
        let host = HostConfig::resolve(&Destination::parse("box").unwrap(), &environment).await.unwrap();
        let (out, _) = once(&*transport, &host, "echo \"$FOO|$LANG|$LC_TIME|$SECRET|$NOT_ACCEPTED|$LC_ALL\"")
            .await
            .unwrap();
        assert_eq!(out, "a b=c|xx_YY|tt_TT|||\n", "{name}");
    }
}

#[tokio::test]
async fn pinned_algorithms_are_what_is_used() {
    let mut world = World::new();
    let sshd = world.sshd("box", "LogLevel DEBUG1");
    world.trust(&sshd, "hostkey-box");
    world.host(
        "box",
        sshd.port,
        "  Ciphers aes128-ctr\n  MACs hmac-sha2-256\n  KexAlgorithms diffie-hellman-group16-sha512",
    );
    let mut connection = RusshTransport.dial(&world.resolve("box").await).await.unwrap();
    assert!(connection.describe().ends_with("aes128-ctr"), "{}", connection.describe());
    connection.exec("true").await.unwrap();
    let log = logged(&world, "box", sshd.port, "cipher: ").await;
    for wanted in ["diffie-hellman-group16-sha512", "aes128-ctr MAC: hmac-sha2-256"] {
        assert!(log.contains(wanted), "{wanted}: {log}");
    }
}

/// What the library has is offered like ssh offers it; what it has not is left to ssh.
#[tokio::test]
async fn hosts_that_allow_one_algorithm_only_are_reached() {
    let mut world = World::new();
    let mut running = Vec::new();
    for (n, (only, wanted, own)) in [
        ("KexAlgorithms ecdh-sha2-nistp256", "", true),
        ("KexAlgorithms ecdh-sha2-nistp521", "", true),
        ("KexAlgorithms sntrup761x25519-sha512@openssh.com", "", false),
        ("MACs hmac-sha1\nCiphers aes256-ctr", "", true),
        ("MACs umac-64@openssh.com\nCiphers aes256-ctr", "", false),
        ("KexAlgorithms diffie-hellman-group14-sha1", "  KexAlgorithms +diffie-hellman-group14-sha1", true),
        ("Ciphers aes128-cbc", "  Ciphers +aes128-cbc", true),
        ("Ciphers 3des-cbc", "  Ciphers +3des-cbc", false),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("host{n}");
        let sshd = world.sshd(&name, only);
        world.trust(&sshd, &format!("hostkey-{name}"));
        world.host(&name, sshd.port, wanted);
        running.push(sshd);
        let host = world.resolve(&name).await;
        let alone = once(&RusshTransport, &host, "echo ok").await;
        assert_eq!(alone.is_ok(), own, "{only}: {alone:?}");
        assert_eq!(own_first(&world, &name, "echo ok").await.unwrap(), "ok\n", "{only}");
    }
    // Weak ones are offered only where the config names them.
    for alias in ["host5", "host6"] {
        let mut host = world.resolve(alias).await;
        host.policy.algorithms = config::Algorithms::default();
        let e = once(&RusshTransport, &host, "true").await.unwrap_err();
        assert!(matches!(e, Failure::Protocol { .. }), "{alias}: {e}");
    }
}

#[tokio::test]
async fn what_only_ssh_can_is_left_to_ssh_or_refused_by_name() {
    let mut world = World::new();
    let sshd = world.sshd("box", "");
    let known = world.path("known.sh");
    let line = format!("[127.0.0.1]:{} {}", sshd.port, world.public("hostkey-box"));
    std::fs::write(&known, format!("#!/bin/sh\necho '{line}'\n")).unwrap();
    run("chmod", &["755", &known.display().to_string()]);
    world.host("box", sshd.port, &format!("  KnownHostsCommand {}", known.display()));
    assert_eq!(own_first(&world, "box", "echo ok").await.unwrap(), "ok\n");
    let mut host = world.resolve("box").await;
    let e = once(&RusshTransport, &host, "true").await.unwrap_err();
    assert!(matches!(&e, Failure::Config { detail } if detail.contains("KnownHostsCommand")), "{e}");
    host.environment.ssh = None;
    let e = once(&OwnFirst, &host, "true").await.unwrap_err();
    assert!(matches!(&e, Failure::Config { detail } if detail.contains("KnownHostsCommand")), "{e}");
}

#[tokio::test]
async fn ways_to_log_in_that_are_not_wanted_are_not_tried() {
    let (mut world, sshd) = World::with_box("");
    world.host("password", sshd.port, "  PreferredAuthentications password");
    for (name, transport) in transports() {
        let e = once(&*transport, &world.resolve("password").await, "true").await.unwrap_err();
        assert!(matches!(e, Failure::NeedsLogin { .. }), "{name}: {e}");
    }
}

#[tokio::test]
async fn keywords_that_would_break_a_command_do_not() {
    let (mut world, sshd) = World::with_box("");
    world.host(
        "odd",
        sshd.port,
        "  SessionType none\n  ForkAfterAuthentication yes\n  StdinNull yes\n  RequestTTY force\n  RemoteCommand false\n  \
         PermitLocalCommand yes\n  LocalCommand echo local >&2; touch %d/../local-%n",
    );
    let marker = |host: &HostConfig| host.environment.home.join("../local-odd");
    for (name, transport) in transports() {
        let host = world.resolve("odd").await;
        std::fs::remove_file(marker(&host)).ok();
        let mut connection = transport.dial(&host).await.unwrap();
        let (mut reader, mut writer) = connection.exec("cat").await.unwrap().into_parts();
        use tokio::io::AsyncWriteExt as _;
        writer.write_all(b"typed").await.unwrap();
        writer.shutdown().await.unwrap();
        let mut out = Vec::new();
        while let Ok(Some(chunk)) = reader.chunk().await {
            out.extend_from_slice(&chunk);
        }
        assert_eq!(String::from_utf8_lossy(&out), "typed", "{name}");
        assert!(host.policy.local_command.is_some());
    }
}

#[tokio::test]
async fn certificates_of_every_key_type_log_in() {
    let mut world = World::new();
    world.keygen("ca", &["-t", "rsa", "-b", "2048", "-N", ""]);
    let (ca, user) = (world.show("ca"), world.user.clone());
    let sshd = world.sshd("box", &format!("TrustedUserCAKeys {ca}.pub\nAuthorizedKeysFile none"));
    world.trust(&sshd, "hostkey-box");
    for (name, args) in [
        ("c-rsa", ["-t", "rsa", "-b", "2048"]),
        ("c-ecdsa", ["-t", "ecdsa", "-b", "384"]),
        ("c-ed25519", ["-t", "ed25519", "-a", "1"]),
    ] {
        world.keygen(name, &[args.as_slice(), &["-N", ""]].concat());
        run("ssh-keygen", &["-q", "-s", &ca, "-I", "me", "-n", &user, &world.show(&format!("{name}.pub"))]);
        world.host(name, sshd.port, &format!("  IdentityFile {}", world.show(name)));
        let mut host = world.resolve(name).await;
        host.identity_files.truncate(1);
        let (out, _) =
            once(&RusshTransport, &host, "echo ok").await.unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(out, "ok\n", "{name}");
    }
}

#[tokio::test]
async fn a_host_that_wants_two_keys_gets_two() {
    let mut world = World::new();
    let both = format!("{}\n{}\n", world.public("user"), world.public("stranger"));
    std::fs::write(world.path("authorized"), both).unwrap();
    let sshd = world.sshd("box", "AuthenticationMethods publickey,publickey");
    world.trust(&sshd, "hostkey-box");
    world.host("box", sshd.port, &format!("  IdentityFile {}", world.show("stranger")));
    for (name, transport) in transports() {
        let (out, _) = once(&*transport, &world.resolve("box").await, "echo ok").await.unwrap();
        assert_eq!(out, "ok\n", "{name}");
    }
    // With one key only, it is said that it was right.
    let mut host = world.resolve("box").await;
    host.identity_files.truncate(1);
    let e = once(&RusshTransport, &host, "true").await.unwrap_err().to_string();
    assert!(e.contains("the key is right, but it also wants"), "{e}");
}

#[tokio::test]
async fn a_host_key_of_old_is_accepted_only_where_the_config_says_so() {
    let mut world = World::new();
    world.keygen("hostkey-old", &["-t", "rsa", "-b", "2048", "-N", ""]);
    let sshd = world.sshd("old", "HostKeyAlgorithms ssh-rsa");
    world.trust(&sshd, "hostkey-old");
    world.host("old", sshd.port, "");
    world.host("named", sshd.port, "  HostKeyAlgorithms +ssh-rsa\n  RequiredRSASize 2048");
    world.host("long", sshd.port, "  HostKeyAlgorithms +ssh-rsa\n  RequiredRSASize 3072");
    let e = once(&RusshTransport, &world.resolve("old").await, "true").await.unwrap_err();
    assert!(matches!(e, Failure::Protocol { .. }), "{e}");
    for (name, transport) in transports() {
        let (out, _) = once(&*transport, &world.resolve("named").await, "echo ok").await.unwrap();
        assert_eq!(out, "ok\n", "{name}");
    }
    let e = once(&RusshTransport, &world.resolve("long").await, "true").await.unwrap_err();
    assert!(e.to_string().contains("RequiredRSASize"), "{e}");
}

#[tokio::test]
async fn the_own_machine_is_not_checked_where_the_config_says_so() {
    let (mut world, sshd) = World::with_box("");
    std::fs::write(world.path("known_hosts"), "").unwrap();
    world.host("unchecked", sshd.port, "  NoHostAuthenticationForLocalhost yes");
    for (name, transport) in transports() {
        let (out, _) = once(&*transport, &world.resolve("unchecked").await, "echo ok").await.unwrap();
        assert_eq!(out, "ok\n", "{name}");
        assert!(once(&*transport, &world.resolve("box").await, "true").await.is_err(), "{name}");
    }
    assert_eq!(world.known(), "", "nothing is noted of it");
}

/// A file that cannot be read says nothing, as in ssh: the other one does.
#[tokio::test]
async fn known_hosts_files_that_cannot_be_read_say_nothing() {
    let (mut world, sshd) = World::with_box("");
    std::fs::write(world.path("known hosts"), world.known()).unwrap();
    let folder = world.show("home");
    world.host(
        "odd",
        sshd.port,
        &format!("  UserKnownHostsFile {folder}/x/y {folder} \"{}\"", world.show("known hosts")),
    );
    for (name, transport) in transports() {
        let (out, _) = once(&*transport, &world.resolve("odd").await, "echo ok").await.unwrap();
        assert_eq!(out, "ok\n", "{name}");
    }
}

#[tokio::test]
async fn jump_hosts_are_named_as_ssh_prints_them() {
    let (mut world, sshd) = World::with_box("");
    let user = world.user.clone();
    let hop = world.sshd("hop", "");
    world.trust(&hop, "hostkey-hop");
    world.host("127.0.0.1", hop.port, "");
    world.host("behind", sshd.port, &format!("  ProxyJump {user}@127.0.0.1:{}", hop.port));
    // A container behind its own host: the same name, another port.
    world.host(
        "container",
        sshd.port,
        &format!("  ProxyJump 127.0.0.1\n  HostKeyAlias [127.0.0.1]:{}", sshd.port),
    );
    for alias in ["behind", "container"] {
        for (name, transport) in transports() {
            let (out, _) = once(&*transport, &world.resolve(alias).await, "echo ok").await.unwrap();
            assert_eq!(out, "ok\n", "{alias} by {name}");
        }
    }
}
