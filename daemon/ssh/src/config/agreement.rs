//! Our own reader and `ssh -G` say the same of each of these configurations, of every keyword that is used.

use super::*;
use crate::config::policy::{Listed, service};

/// A configuration and who is asked for in it. `{dir}` is a folder of the test's with these files beside it:
/// `more.conf` (a user and a block), `10-a.conf`, `20-b.conf` (a port each) and `empty.conf`.
const CASES: &[(&str, &str, &[&str])] = &[
    ("nothing", "", &["box", "me@box", "box:2222", "me@box:9"]),
    ("comments and blank lines", "# x\n\n   # y\nHost box\n\t# z\n\tPort 7\n", &["box", "other"]),
    ("key=value in every spelling", "Host=box\nPort=7\nUser = you\nHostName\t=\t10.0.0.1\n", &["box"]),
    ("keywords in any case", "hOsT box\nPORT 7\nuser You\nhostNAME Ten\n", &["box"]),
    ("the first value counts", "Host box\n Port 7\nHost *\n Port 8\n User all\n", &["box", "other"]),
    ("values before any Host", "Port 9\nUser early\nHost box\n Port 7\n", &["box", "other"]),
    ("what was typed goes first", "Host box\n Port 7\n User you\n", &["me@box:99", "box"]),
    ("several patterns", "Host a b? c*\n Port 7\n", &["a", "b", "bx", "bxx", "c", "cat"]),
    ("a pattern that is not meant", "Host *.org !bad.org\n Port 7\n", &["good.org", "bad.org", "org"]),
    ("only one that is not meant", "Host !bad\n Port 7\n", &["bad", "good"]),
    ("one that is not meant, first", "Host !bad *\n Port 7\n", &["bad", "good"]),
    ("names in upper case", "Host box\n Port 7\nHost BIG\n Port 8\n", &["BOX", "box", "BIG", "big"]),
    (
        "quotes",
        "Host \"box\" \"other one\"\n User \"you two\"\n IdentityFile \"~/my keys/id\"\n",
        &["box", "x"],
    ),
    ("quotes around a list", "Host box\n UserKnownHostsFile \"/a b\" /c\n", &["box"]),
    ("a hash within a line", "Host box # not a host\n Port 7 # the port\n", &["box", "not", "a"]),
    ("HostName with %h", "Host box\n HostName %h.example.org\nHost pc*\n HostName %%x\n", &["box"]),
    (
        "tokens in a key's path",
        "Host box\n HostName real\n User you\n IdentityFile ~/.ssh/%n_%h_%p_%r_%u\n",
        &["box", "me@box:9"],
    ),
    (
        "keys add up",
        "Host box\n IdentityFile ~/a\n IdentityFile /b\nHost *\n IdentityFile ~/c\n CertificateFile ~/c-cert.pub\n",
        &["box", "x"],
    ),
    ("no key of a file", "Host box\n IdentityFile none\n IdentitiesOnly yes\n", &["box"]),
    (
        "agents",
        "Host a\n IdentityAgent none\nHost b\n IdentityAgent ~/agent.sock\nHost c\n IdentityAgent SSH_AUTH_SOCK\nHost d\n IdentityAgent $NOT_SET_HERE\n",
        &["a", "b", "c", "d", "e"],
    ),
    ("include", "Include {dir}/more.conf\nHost *\n User later\n", &["box", "deep"]),
    ("include in a block", "Host box\n Include {dir}/more.conf\n Port 7\n", &["box", "deep", "other"]),
    ("include by a pattern, in order", "Include {dir}/*-?.conf\n", &["box"]),
    ("include of what is not there", "Include {dir}/none.conf {dir}/empty.conf\nPort 7\n", &["box"]),
    ("match all", "Host box\n Port 7\nMatch all\n User all\n", &["box", "x"]),
    (
        "match host, after HostName",
        "Host box\n HostName real\nMatch host real\n Port 7\nMatch originalhost box\n User you\n",
        &["box", "real", "x"],
    ),
    (
        "match user and localuser",
        "Match user you\n Port 7\nMatch localuser nobody-here\n Port 8\nMatch !localuser nobody-here\n User me\n",
        &["you@box", "box"],
    ),
    ("match not", "Match !host box\n Port 7\nMatch host b*,!bad\n User b\n", &["box", "bad", "x", "bar"]),
    (
        "jumps",
        "Host far\n ProxyJump me@hop:33,box\nHost box\n HostName 10.0.0.1\n Port 7\nHost *\n User all\n",
        &["far", "box"],
    ),
    (
        "jump through a jump",
        "Host far\n ProxyJump near\nHost near\n ProxyJump door\n Port 7\n",
        &["far", "near"],
    ),
    ("no jump", "Host box\n ProxyJump none\nHost *\n ProxyJump hop\nHost hop\n Port 7\n", &["box"]),
    (
        "a command and a jump, the first counts",
        "Host a\n ProxyCommand nc %h %p\n ProxyJump hop\nHost b\n ProxyJump hop\n ProxyCommand nc %h %p\n",
        &["a", "b"],
    ),
    (
        "a command with quotes",
        "Host a\n ProxyCommand sh -c \"nc %h %p\" # x\nHost b\n ProxyCommand none\n",
        &["a", "b"],
    ),
    (
        "host keys",
        "Host a\n StrictHostKeyChecking accept-new\n HostKeyAlias real-%h\nHost b\n StrictHostKeyChecking off\n GlobalKnownHostsFile /a /b\nHost c\n StrictHostKeyChecking yes\n UserKnownHostsFile none\n HashKnownHosts yes\n RevokedHostKeys /r\n",
        &["a", "b", "c"],
    ),
    (
        "times",
        "Host a\n ConnectTimeout 7\n ServerAliveInterval 1m\nHost b\n ConnectTimeout 1m30s\n ServerAliveInterval 0\n ServerAliveCountMax 9\n",
        &["a", "b", "c"],
    ),
    (
        "without a person",
        "Host a\n BatchMode yes\nHost b\n BatchMode yes\n ServerAliveInterval 5\n",
        &["a", "b"],
    ),
    (
        "ways to log in",
        "Host a\n PreferredAuthentications password,publickey\n NumberOfPasswordPrompts 1\nHost b\n PubkeyAuthentication no\n KbdInteractiveAuthentication no\nHost c\n ChallengeResponseAuthentication no\n",
        &["a", "b", "c"],
    ),
    (
        "addresses",
        "Host a\n AddressFamily inet6\n BindAddress ::1\nHost b\n AddressFamily inet\n TCPKeepAlive no\n IPQoS cs1 ef\n",
        &["a", "b", "c"],
    ),
    (
        "variables",
        "Host a\n SendEnv LANG LC_*\n SendEnv -LC_ALL\n SetEnv A=1 B=\"two words\"\n SetEnv C=3\nHost *\n SetEnv D=4\n SendEnv TERM\n",
        &["a", "b"],
    ),
    (
        "forwarded agent",
        "Host a\n ForwardAgent yes\nHost b\n ForwardAgent no\nHost c\n ForwardAgent ~/agent\n",
        &["a", "b", "c", "d"],
    ),
    (
        "rekeying",
        "Host a\n RekeyLimit 1G 1h\nHost b\n RekeyLimit 512K\nHost c\n RekeyLimit default none\n",
        &["a", "b", "c"],
    ),
    (
        "local commands",
        "Host a\n PermitLocalCommand yes\n LocalCommand echo %h %n\nHost b\n LocalCommand echo\n",
        &["a", "b"],
    ),
    (
        "lists as they stand",
        "Host a\n Ciphers aes256-ctr,aes128-ctr\n MACs hmac-sha2-256\n KexAlgorithms curve25519-sha256\n HostKeyAlgorithms ssh-ed25519\n",
        &["a", "b"],
    ),
    (
        "lists with more",
        "Host a\n Ciphers +aes256-cbc\n HostKeyAlgorithms +ssh-rsa\n PubkeyAcceptedKeyTypes +ssh-rsa\n KexAlgorithms +diffie-hellman-group14-sha1\n",
        &["a"],
    ),
    (
        "lists with less",
        "Host a\n Ciphers -chacha20*,*gcm*\n MACs -hmac-sha1*,umac-64*\n KexAlgorithms -*nistp*\n",
        &["a"],
    ),
    (
        "lists with others first",
        "Host a\n Ciphers ^aes256-gcm@openssh.com\n HostKeyAlgorithms ^ssh-ed25519\n CASignatureAlgorithms ^rsa-sha2-512\n",
        &["a"],
    ),
    (
        "keywords of old and ignored ones",
        "IgnoreUnknown UseKeychain,Add*\nUseKeychain yes\nRSAAuthentication no\nHost box\n Protocol 2\n Port 7\n",
        &["box"],
    ),
    (
        "what is not honoured",
        "Host a\n LocalForward 8080 localhost:80\n Compression yes\n RemoteCommand top\nHost b\n ProxyUseFdpass yes\n",
        &["a", "b"],
    ),
    (
        "several on one file, indented, with carriage returns",
        "Host a\r\n\tPort 7\r\n\tUser you\r\nHost b\r\n\tPort 8\r\n",
        &["a", "b"],
    ),
];

/// Here, and where ssh thinks that home is: it asks the passwd file, whatever HOME says.
fn environment(config: PathBuf) -> Environment {
    let mut here = Environment::from_process(Some(config));
    here.variables.remove("SSH_AUTH_SOCK");
    here.variables.extend(
        [("LANG", "C.UTF-8"), ("LC_ALL", "C"), ("LC_TIME", "C"), ("TERM", "xterm")]
            .map(|(k, v)| (k.to_owned(), v.to_owned())),
    );
    let uid = rustix::process::getuid().as_raw().to_string();
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap();
    let entry =
        passwd.lines().map(|l| l.split(':').collect::<Vec<_>>()).find(|f| f.get(2) == Some(&uid.as_str()));
    if let Some(entry) = entry {
        here.user = entry[0].to_owned();
        here.home = entry[5].into();
    }
    here
}

/// A list, by what it does to the default, which is another in each version of ssh.
fn list(listed: &Listed, default: &[(String, String)], key: &str) -> String {
    let default: Vec<&str> = first(default, key).unwrap_or_default().split(',').collect();
    let names: Vec<&str> = listed.names.iter().map(String::as_str).collect();
    if names.is_empty() || names == default {
        return "default".to_owned();
    }
    let added: Vec<_> = names.iter().filter(|n| !default.contains(n)).collect();
    let taken: Vec<_> = default.iter().filter(|n| !names.contains(n)).collect();
    if added.is_empty() && taken.is_empty() {
        return format!("first {}", names[0]);
    }
    // What stays of a default is worth a word where it is not most of it.
    let few = if names.len() <= 2 { names.join(",") } else { String::new() };
    let known = |all: Vec<&&str>| {
        let both = |n: &&&str| !n.starts_with("mlkem") && !n.starts_with("sntrup") && !n.contains("webauthn");
        all.into_iter().filter(both).copied().collect::<Vec<_>>().join(",")
    };
    let taken = if few.is_empty() { known(taken) } else { String::new() };
    format!("+{} -{taken} {few}", known(added))
}

/// Everything that is used of a host.
fn essence(host: &HostConfig, defaults: &[(String, String)]) -> Vec<(&'static str, String)> {
    let (p, a) = (&host.policy, &host.policy.algorithms);
    let is_default = |file: &PathBuf| file.starts_with(host.environment.home.join(".ssh"));
    let keys: Vec<_> = match host.identity_files.iter().all(is_default) && host.identity_files.len() > 3 {
        // Versions differ in which they still have.
        true => vec![PathBuf::from("the usual ones")],
        false => host.identity_files.clone(),
    };
    // Debian's own default: a host that is asked without a person is asked every five minutes.
    let debian = (!p.asks && host.keepalive == Some(Duration::from_secs(300))).then_some(());
    let keepalive = if debian.is_some() { None } else { host.keepalive };
    let jumps: Vec<_> = host.jumps.iter().map(|j| format!("{}@{}:{}", j.user, j.hostname, j.port)).collect();
    // Another default of Debian's.
    let usual = service(first(defaults, "ipqos").unwrap_or("af21"));
    let class = if p.service == usual { "usual".to_owned() } else { format!("{:?}", p.service) };
    // In the order of the config, or of `ssh -G`.
    let said: std::collections::BTreeSet<_> = p.not_honoured(false).collect();
    vec![
        ("host", format!("{}@{}:{}", host.user, host.hostname, host.port)),
        ("keys", format!("{keys:?} {:?} {}", host.certificate_files, host.identities_only)),
        ("agent", format!("{:?} {:?}", host.identity_agent, host.agent_variable)),
        ("known hosts", format!("{:?} {:?}", host.user_known_hosts, host.global_known_hosts)),
        (
            "host keys",
            format!(
                "{:?} {:?} {:?} {}",
                host.revoked_host_keys, host.host_key_alias, host.strictness, host.hash_known_hosts
            ),
        ),
        ("way", format!("{jumps:?} {:?} {}", host.proxy_command, host.control_path)),
        ("times", format!("{:?} {keepalive:?} {}", host.connect_timeout, host.keepalive_max)),
        ("agent forwarding", host.forward_agent.to_string()),
        ("addresses", format!("{:?} {:?}", host.family, host.bind_address)),
        ("kex", list(&a.kex, defaults, "kexalgorithms")),
        ("ciphers", list(&a.ciphers, defaults, "ciphers")),
        ("macs", list(&a.macs, defaults, "macs")),
        ("host key algorithms", list(&a.host_keys, defaults, "hostkeyalgorithms")),
        ("user key algorithms", list(&a.user_keys, defaults, "pubkeyacceptedalgorithms")),
        ("authorities", list(&a.authorities, defaults, "casignaturealgorithms")),
        (
            "ways to log in",
            format!("{:?} {} {} {:?} {}", p.methods, p.asks, p.prompts, p.devices, host.pubkey),
        ),
        ("sent", format!("{:?}", p.sent)),
        ("rekey", format!("{:?} {:?}", p.rekey_bytes, p.rekey_after)),
        ("packets", format!("{class} {}", p.tcp_keepalive)),
        ("rest", format!("{} {} {:?} {}", p.localhost_unchecked, p.rsa_bits, p.local_command, p.gssapi)),
        ("only the system's", format!("{:?}", p.system)),
        ("said", format!("{said:?}")),
    ]
}

#[tokio::test]
async fn our_reader_and_ssh_agree() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().to_str().unwrap();
    for (name, text) in [
        ("more.conf", "User included\nHost deep\n  Port 77\n"),
        ("10-a.conf", "Port 10\n"),
        ("20-b.conf", "Port 20\nUser twenty\n"),
        ("empty.conf", ""),
    ] {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let mut wrong = Vec::new();
    let mut asked = 0;
    for (what, text, names) in CASES {
        let config = folder.path().join("config");
        std::fs::write(&config, text.replace("{dir}", dir)).unwrap();
        let with = environment(config);
        let without = Environment { ssh: None, ..with.clone() };
        let of_ssh = super::defaults(&with).await.unwrap().expect("ssh is missing: install openssh-client");
        for name in *names {
            asked += 1;
            let to = Destination::parse(name).unwrap();
            let (ssh, own) =
                (HostConfig::resolve(&to, &with).await, HostConfig::resolve(&to, &without).await);
            match (ssh, own) {
                (Ok(ssh), Ok(own)) => {
                    let ssh = essence(&ssh, &of_ssh);
                    let own = essence(&own, &algorithms::defaults());
                    for ((key, ssh), (_, own)) in ssh.iter().zip(&own) {
                        if ssh != own {
                            wrong.push(format!("{what}, {name}, {key}:\n  ssh {ssh}\n  own {own}"));
                        }
                    }
                }
                (Err(_), Err(_)) => {}
                (ssh, own) => {
                    wrong.push(format!("{what}, {name}:\n  ssh {:?}\n  own {:?}", ssh.err(), own.err()));
                }
            }
        }
    }
    assert!(CASES.len() >= 31 && asked > 80, "{} configurations", CASES.len());
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}
