use super::*;

fn environment() -> Environment {
    Environment {
        changes: Vec::new(),
        person: None,
        asker: None,
        hurry: false,
        home: PathBuf::from("/home/me"),
        user: "me".to_owned(),
        ssh_config: None,
        ssh: None,
        variables: HashMap::from([("SOCK".to_owned(), "/run/a%h.sock".to_owned())]),
    }
}

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

#[test]
fn tokens_expand_as_ssh_config_says() {
    let environment = environment();
    let tokens = Tokens {
        typed: "box".into(),
        host: "box.example.org".into(),
        port: 2222,
        user: "you".into(),
        jump: "hop".into(),
        alias: Some("real".into()),
        environment: &environment,
    };
    for (text, expected) in [
        ("plain", "plain"),
        ("%%h", "%h"),
        ("%n-%h-%p-%r-%u", "box-box.example.org-2222-you-me"),
        ("%d/x", "/home/me/x"),
        ("%j %k %T", "hop real NONE"),
        // A variable's value is taken as it is.
        ("${SOCK}/%p", "/run/a%h.sock/2222"),
    ] {
        assert_eq!(tokens.expand(text, "X").unwrap(), expected, "{text}");
    }
    for text in ["%", "%y", "a%", "${NONE}", "${SOCK"] {
        assert!(tokens.expand(text, "X").is_err(), "{text}");
    }
    assert_eq!(tokens.expand("%C", "X").unwrap().len(), 40);
    assert_eq!(tokens.path("~/.ssh/id_%h", "X").unwrap(), Path::new("/home/me/.ssh/id_box.example.org"));
    assert_eq!(tokens.path("/etc/k_%n", "X").unwrap(), Path::new("/etc/k_box"));
    assert!(tokens.path("~nobody-of-that-name/k", "X").is_err());
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap();
    let root = passwd.lines().find_map(|line| line.strip_prefix("root:")?.split(':').nth(4)).unwrap();
    assert_eq!(tokens.path("~root/k_%n", "X").unwrap(), Path::new(root).join("k_box"));
    // What goes to a shell keeps the shell's own variables.
    assert_eq!(tokens.expand_percent("nc %h ${P}", "X").unwrap(), "nc box.example.org ${P}");
}

#[test]
fn pairs_become_a_host() {
    let to = Destination::parse("you@box").unwrap();
    let host = build(
        &to,
        &environment(),
        &pairs(&[
            ("hostname", "%h.example.org"),
            ("user", "loses"),
            ("port", "2200"),
            ("hostkeyalias", "real-%n"),
            ("identityfile", "~/.ssh/id_%h"),
            ("identityfile", "none"),
            ("identityagent", "$SOCK"),
            ("userknownhostsfile", "/a/kh ~/kh2"),
            ("stricthostkeychecking", "accept-new"),
            ("proxycommand", "nc %h %p"),
            ("connecttimeout", "none"),
            ("serveraliveinterval", "1m30s"),
            ("forwardagent", "yes"),
        ]),
        &[],
    )
    .unwrap();
    assert_eq!((host.user.as_str(), host.hostname.as_str(), host.port), ("you", "box.example.org", 2200));
    assert_eq!(host.host_key_alias.as_deref(), Some("real-box"));
    assert_eq!(host.identity_files, [Path::new("/home/me/.ssh/id_box.example.org")]);
    assert_eq!(host.identity_agent.as_deref(), Some(Path::new("/run/a%h.sock")));
    assert_eq!(host.user_known_hosts, [Path::new("/a/kh"), Path::new("/home/me/kh2")]);
    assert_eq!(host.strictness, Strictness::AcceptNew);
    assert_eq!(host.proxy_command.as_deref(), Some("nc box.example.org 2200"));
    assert_eq!(host.connect_timeout, PROXY_CONNECT_TIMEOUT);
    assert_eq!(host.keepalive, Some(Duration::from_secs(90)));
    assert!(host.forward_agent && !host.identities_only);
    let shown = format!("{host:?}");
    assert!(!shown.contains("nc box") && !shown.contains("SOCK"), "{shown}");
}

#[test]
fn our_own_link_does_not_go_over_itself() {
    for (command, ours) in [
        ("sessd pipe box", true),
        ("exec /opt/bin/sessd pipe me@box", true),
        ("sessd pipe box.example.org localhost:22", true),
        ("sessd pipe jump box:22", false),
        ("nc box 22", false),
        ("sessd pipe", false),
    ] {
        assert_eq!(is_pipe_to(command, &["box", "box.example.org"]), ours, "{command}");
    }
}

#[test]
fn patterns_match_as_in_ssh() {
    for (pattern, text, expected) in [
        ("*", "", true),
        ("*", "box", true),
        ("b?x", "box", true),
        ("b?x", "bx", false),
        ("*.example.*", "a.example.org", true),
        ("*a*b*c", "xaybzc", true),
        ("*a*b*c", "xaybz", false),
        ("", "a", false),
        ("10.0.*", "10.0.0.7", true),
    ] {
        assert_eq!(matches_pattern(pattern, text), expected, "{pattern} {text}");
    }
}

#[test]
fn times_are_read_as_ssh_writes_them() {
    for (text, expected) in
        [("90", Some(90)), ("1m30s", Some(90)), ("2h", Some(7200)), ("none", None), ("m", None)]
    {
        assert_eq!(parse_seconds(text), expected, "{text}");
    }
}

#[tokio::test]
async fn match_without_ssh_is_refused_by_line() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config");
    std::fs::write(&config, "Host a\n  Port 1\nMatch exec true\n  Port 2\n").unwrap();
    let mut environment = Environment::from_process(Some(config));
    environment.ssh = None;
    let e = HostConfig::resolve(&Destination::parse("b").unwrap(), &environment).await.unwrap_err();
    assert!(e.to_string().contains("line 3: `Match exec` needs the system's ssh"), "{e}");
}

#[tokio::test]
async fn a_jump_loop_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config");
    std::fs::write(&config, "Host a\n  ProxyJump b\nHost b\n  ProxyJump a\nHost hop\n  ProxyJump hop\n")
        .unwrap();
    let mut environment = Environment::from_process(Some(config));
    let e = HostConfig::resolve(&Destination::parse("a").unwrap(), &environment).await.unwrap_err();
    assert!(e.to_string().contains("more than 8"), "{e}");
    for ssh in [environment.ssh.take(), None] {
        environment.ssh = ssh;
        let e = HostConfig::resolve(&Destination::parse("hop").unwrap(), &environment).await.unwrap_err();
        assert!(matches!(e, Failure::Config { .. }), "{e}");
    }
}
