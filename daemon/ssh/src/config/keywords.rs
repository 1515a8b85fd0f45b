//! What each keyword of ssh_config(5) means for a connection of ours: none is dropped in silence.
//!
//! Judged are the pairs that `ssh -G` prints otherwise than for a config that says nothing, so that a later ssh's new
//! defaults are no news. What our own connection cannot do goes to the system's `ssh` where there is one, and is
//! refused by name where there is none; what neither does for a session is said once.

use super::matches_pattern;

/// What becomes of a keyword.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    /// It is honoured; or ssh has made use of it before it printed the pairs.
    Kept,
    /// It speaks of what a session has of its own: its command, its terminal, its tries, its log.
    Ours,
    /// Switched on, it is said not to be done: by neither connection, as a session has its own way.
    Said(&'static str),
    /// Switched on, it is said not to be done by our own connection. The system's ssh does it.
    SaidOwn(&'static str),
    /// Switched on, only the system's ssh can do it.
    System,
}

use Meaning::{Kept, Ours, Said, SaidOwn, System};

const TABLE: &[(&str, Meaning)] = &[
    ("addkeystoagent", SaidOwn("a key is not added to the ssh-agent")),
    ("addressfamily", Kept),
    ("batchmode", Kept),
    ("bindaddress", Kept),
    ("bindinterface", System),
    ("canonicaldomains", Kept),
    ("canonicalizefallbacklocal", Kept),
    ("canonicalizehostname", Kept),
    ("canonicalizemaxdots", Kept),
    ("canonicalizepermittedcnames", Kept),
    ("casignaturealgorithms", Kept),
    ("certificatefile", Kept),
    ("channeltimeout", SaidOwn("no channel is closed for being quiet")),
    ("checkhostip", SaidOwn("the key is looked up by the host's name alone")),
    ("ciphers", Kept),
    ("clearallforwardings", Ours),
    ("compression", SaidOwn("nothing is compressed")),
    ("connectionattempts", Ours),
    ("connecttimeout", Kept),
    ("controlmaster", Ours),
    ("controlpath", SaidOwn("a connection that ssh keeps there is shared only with transport = \"openssh\"")),
    ("controlpersist", Ours),
    ("dynamicforward", Said("`sessd forward SESSION -D` forwards what it names")),
    ("enableescapecommandline", Ours),
    ("enablesshkeysign", Ours),
    ("escapechar", Ours),
    ("exitonforwardfailure", Ours),
    ("fingerprinthash", SaidOwn("fingerprints are shown as SHA256")),
    ("forkafterauthentication", Ours),
    ("forwardagent", Kept),
    ("forwardx11", Said("X11 is not forwarded")),
    ("forwardx11timeout", Ours),
    ("forwardx11trusted", Ours),
    (
        "gatewayports",
        Said("a forwarded port without an address is one machine's own, and `*:PORT` lets others in"),
    ),
    ("globalknownhostsfile", Kept),
    // Tried by the system's ssh where nothing else has logged in.
    ("gssapiauthentication", Kept),
    ("gssapiclientidentity", Ours),
    ("gssapidelegatecredentials", Ours),
    ("gssapikexalgorithms", Ours),
    ("gssapikeyexchange", System),
    ("gssapirenewalforcesrekey", Ours),
    ("gssapiserveridentity", Ours),
    ("gssapitrustdns", Ours),
    ("hashknownhosts", Kept),
    ("host", Kept),
    ("hostbasedacceptedalgorithms", Ours),
    ("hostbasedauthentication", System),
    ("hostkeyalgorithms", Kept),
    ("hostkeyalias", Kept),
    ("hostname", Kept),
    ("identitiesonly", Kept),
    ("identityagent", Kept),
    ("identityfile", Kept),
    ("ignoreunknown", Kept),
    ("ipqos", Kept),
    ("kbdinteractiveauthentication", Kept),
    ("kbdinteractivedevices", Kept),
    ("kexalgorithms", Kept),
    ("knownhostscommand", System),
    ("localcommand", Kept),
    ("localforward", Said("`sessd forward SESSION -L` forwards what it names")),
    ("loglevel", Ours),
    ("logverbose", Ours),
    ("macs", Kept),
    ("nohostauthenticationforlocalhost", Kept),
    ("numberofpasswordprompts", Kept),
    ("obscurekeystroketiming", Ours),
    ("passwordauthentication", Kept),
    ("permitlocalcommand", Kept),
    ("permitremoteopen", Said("where a session's forwards lead is said with each")),
    ("pkcs11provider", System),
    ("port", Kept),
    ("preferredauthentications", Kept),
    ("proxycommand", Kept),
    ("proxyjump", Kept),
    ("proxyusefdpass", System),
    ("pubkeyacceptedalgorithms", Kept),
    ("pubkeyauthentication", Kept),
    ("refuseconnection", Kept),
    ("rekeylimit", Kept),
    ("remotecommand", Said("a session runs its own command")),
    ("remoteforward", Said("`sessd forward SESSION -R` forwards what it names")),
    ("requesttty", Ours),
    ("requiredrsasize", Kept),
    ("revokedhostkeys", Kept),
    ("securitykeyprovider", SaidOwn("a key on a device is used through the ssh-agent")),
    ("sendenv", Kept),
    ("serveralivecountmax", Kept),
    ("serveraliveinterval", Kept),
    ("sessiontype", Ours),
    ("setenv", Kept),
    ("stdinnull", Ours),
    ("streamlocalbindmask", Ours),
    ("streamlocalbindunlink", Ours),
    ("stricthostkeychecking", Kept),
    ("syslogfacility", Ours),
    ("tag", Kept),
    ("tcpkeepalive", Kept),
    ("tunnel", Said("no tunnel is made")),
    ("tunneldevice", Ours),
    ("updatehostkeys", SaidOwn("keys that a host adds are not learned")),
    ("user", Kept),
    ("userknownhostsfile", Kept),
    ("verifyhostkeydns", System),
    ("versionaddendum", SaidOwn("our own name is all that a host hears")),
    ("visualhostkey", SaidOwn("no picture of a key is shown")),
    ("warnweakcrypto", Ours),
    ("xauthlocation", Ours),
];

/// Other names of keywords, as OpenSSH still reads them.
const ALIASES: &[(&str, &str)] = &[
    ("challengeresponseauthentication", "kbdinteractiveauthentication"),
    ("dsaauthentication", "pubkeyauthentication"),
    ("hostbasedkeytypes", "hostbasedacceptedalgorithms"),
    ("identityfile2", "identityfile"),
    ("keepalive", "tcpkeepalive"),
    ("protocolkeepalives", "serveraliveinterval"),
    ("pubkeyacceptedkeytypes", "pubkeyacceptedalgorithms"),
    ("setuptimeout", "connecttimeout"),
    ("skeyauthentication", "kbdinteractiveauthentication"),
    ("smartcarddevice", "pkcs11provider"),
    ("tisauthentication", "kbdinteractiveauthentication"),
];

/// What OpenSSH reads and does nothing about.
const DEPRECATED: &[&str] = &[
    "afstokenpassing",
    "cipher",
    "compressionlevel",
    "fallbacktorsh",
    "globalknownhostsfile2",
    "kerberosauthentication",
    "kerberostgtpassing",
    "protocol",
    "rhostsauthentication",
    "rhostsrsaauthentication",
    "rsaauthentication",
    "useblacklistedkeys",
    "useprivilegedport",
    "userknownhostsfile2",
    "useroaming",
    "usersh",
];

/// A keyword as a config may write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// By the name under which it is known here.
    Known(&'static str),
    /// It means nothing any more.
    Deprecated,
    /// OpenSSH may know it.
    Unknown,
}

/// Looks up a keyword in lower case.
pub(super) fn word(keyword: &str) -> Word {
    let name = ALIASES.iter().find(|(other, _)| *other == keyword).map_or(keyword, |(_, name)| name);
    match TABLE.iter().find(|(known, _)| *known == name) {
        Some((known, _)) => Word::Known(known),
        None if DEPRECATED.contains(&keyword) => Word::Deprecated,
        None => Word::Unknown,
    }
}

/// What a config asks for that our own connection does not do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Findings {
    /// Keywords that only the system's ssh can honour.
    pub(super) system: Vec<String>,
    /// What is not done at all, a sentence each.
    pub(super) said: Vec<String>,
    /// What is not done by our own connection alone.
    pub(super) said_own: Vec<String>,
}

/// Judges the pairs of a host against those of a host of which no config says anything.
pub(super) fn judge(pairs: &[(String, String)], defaults: &[(String, String)]) -> Findings {
    let mut found = Findings::default();
    for (key, value) in pairs {
        if is_off(value) || defaults.iter().any(|(k, v)| k == key && v == value) {
            continue;
        }
        let name = match word(key) {
            Word::Known(name) => name,
            Word::Deprecated => continue,
            Word::Unknown => {
                let sentence = format!("{key} of the ssh config is not known here");
                found.said.extend(Some(sentence).filter(|s| !found.said.contains(s)));
                continue;
            }
        };
        match TABLE.iter().find(|(known, _)| *known == name).map(|(_, meaning)| meaning) {
            Some(meaning @ (Said(what) | SaidOwn(what))) => {
                let sentence = format!("{} of the ssh config is not honoured: {what}", spelled(name));
                let said = if matches!(meaning, Said(_)) { &mut found.said } else { &mut found.said_own };
                if !said.contains(&sentence) {
                    said.push(sentence);
                }
            }
            Some(System) => {
                let name = spelled(name).to_owned();
                found.system.extend(Some(name).filter(|n| !found.system.contains(n)));
            }
            Some(Kept | Ours) | None => {}
        }
    }
    found
}

/// A value that switches nothing on.
fn is_off(value: &str) -> bool {
    ["no", "false", "none", "off", ""].iter().any(|off| value.eq_ignore_ascii_case(off))
}

/// Whether `IgnoreUnknown` of the pairs so far covers a keyword.
pub(super) fn is_ignored(keyword: &str, patterns: Option<&str>) -> bool {
    patterns.is_some_and(|list| {
        list.split([',', ' ']).any(|pattern| matches_pattern(&pattern.to_ascii_lowercase(), keyword))
    })
}

/// A keyword as the manual writes it, where it is named to a person.
fn spelled(name: &'static str) -> &'static str {
    match name {
        "addkeystoagent" => "AddKeysToAgent",
        "bindinterface" => "BindInterface",
        "channeltimeout" => "ChannelTimeout",
        "checkhostip" => "CheckHostIP",
        "compression" => "Compression",
        "controlpath" => "ControlPath",
        "dynamicforward" => "DynamicForward",
        "fingerprinthash" => "FingerprintHash",
        "forwardagent" => "ForwardAgent",
        "forwardx11" => "ForwardX11",
        "gatewayports" => "GatewayPorts",
        "gssapikeyexchange" => "GSSAPIKeyExchange",
        "hostbasedauthentication" => "HostbasedAuthentication",
        "knownhostscommand" => "KnownHostsCommand",
        "localforward" => "LocalForward",
        "permitremoteopen" => "PermitRemoteOpen",
        "pkcs11provider" => "PKCS11Provider",
        "proxyusefdpass" => "ProxyUseFdpass",
        "remotecommand" => "RemoteCommand",
        "remoteforward" => "RemoteForward",
        "securitykeyprovider" => "SecurityKeyProvider",
        "tunnel" => "Tunnel",
        "updatehostkeys" => "UpdateHostKeys",
        "verifyhostkeydns" => "VerifyHostKeyDNS",
        "versionaddendum" => "VersionAddendum",
        "visualhostkey" => "VisualHostKey",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Vec<(String, String)> {
        super::super::parse_pairs(text)
    }

    #[test]
    fn what_the_system_has_as_default_is_no_wish() {
        let defaults = pairs("compression no\nforwardagent no\nfingerprinthash SHA256\nnovelty 7\n");
        assert_eq!(judge(&defaults, &defaults), Findings::default());
        let found =
            judge(&pairs("compression yes\nnovelty 8\nfingerprinthash SHA256\nstdinnull yes\n"), &defaults);
        assert_eq!(found.system, [""; 0]);
        assert_eq!((found.said.len(), found.said_own.len()), (1, 1), "{found:?}");
        assert!(found.said_own[0].starts_with("Compression of the ssh config is not honoured"));
        assert!(found.said[0].contains("novelty"));
    }

    #[test]
    fn what_only_the_system_can_is_named_once() {
        let found =
            judge(&pairs("knownhostscommand /x %H\nproxyusefdpass yes\nhostbasedauthentication no\n"), &[]);
        assert_eq!(found.system, ["KnownHostsCommand", "ProxyUseFdpass"]);
        let found = judge(&pairs("localforward 1 a:1\nlocalforward 2 a:2\n"), &[]);
        assert_eq!(found.said.len(), 1);
    }

    #[test]
    fn names_of_old_are_read_as_ssh_reads_them() {
        assert_eq!(word("challengeresponseauthentication"), Word::Known("kbdinteractiveauthentication"));
        assert_eq!(word("rsaauthentication"), Word::Deprecated);
        assert_eq!(word("usekeychain"), Word::Unknown);
        assert!(
            is_ignored("usekeychain", Some("UseKeychain,Foo*")) && !is_ignored("bar", Some("UseKeychain"))
        );
    }

    #[test]
    fn the_table_has_an_order_and_a_spelling_for_what_is_named() {
        assert!(TABLE.windows(2).all(|two| two[0].0 < two[1].0));
        for (name, meaning) in TABLE {
            if matches!(meaning, Said(_) | SaidOwn(_) | System) {
                assert_eq!(spelled(name).to_ascii_lowercase(), *name);
                assert_ne!(spelled(name), *name, "{name} is named to a person");
            }
        }
    }

    /// What a user switches on and does not get is said by name, and what is asked of the system's ssh goes there: a table of
    /// keywords as ssh_config(5) of OpenSSH 10 has them, with a value that switches each on.
    #[test]
    fn each_keyword_that_is_switched_on_is_honoured_said_or_the_systems() {
        let said = [
            ("dynamicforward", "[127.0.0.1]:1080"),
            ("forwardx11", "yes"),
            ("gatewayports", "yes"),
            ("localforward", "[127.0.0.1]:8080 [db]:5432"),
            ("permitremoteopen", "db:5432"),
            ("remotecommand", "tmux new -A"),
            ("remoteforward", "[127.0.0.1]:9000 [127.0.0.1]:9000"),
            ("tunnel", "point-to-point"),
        ];
        let said_own = [
            ("addkeystoagent", "confirm"),
            ("channeltimeout", "session=5m"),
            ("checkhostip", "yes"),
            ("compression", "yes"),
            ("controlpath", "~/.ssh/cm-%C"),
            ("fingerprinthash", "MD5"),
            ("securitykeyprovider", "/usr/lib/libsk.so"),
            ("updatehostkeys", "ask"),
            ("versionaddendum", "me"),
            ("visualhostkey", "yes"),
        ];
        let system = [
            ("bindinterface", "eth0"),
            ("gssapikeyexchange", "yes"),
            ("hostbasedauthentication", "yes"),
            ("knownhostscommand", "/bin/keys %H"),
            ("pkcs11provider", "/usr/lib/p11.so"),
            ("proxyusefdpass", "yes"),
            ("verifyhostkeydns", "yes"),
        ];
        for (keywords, class) in [(&said[..], 0), (&said_own, 1), (&system, 2)] {
            for (keyword, value) in keywords {
                let found = judge(&pairs(&format!("{keyword} {value}\n")), &[]);
                let counts = [found.said.len(), found.said_own.len(), found.system.len()];
                let mut expected = [0; 3];
                expected[class] = 1;
                assert_eq!(counts, expected, "{keyword}");
                let all = [found.said, found.said_own, found.system].concat().concat();
                assert!(all.starts_with(spelled(word_of(keyword))), "{all}");
            }
        }
        let of = |this: fn(&Meaning) -> bool| TABLE.iter().filter(|(_, meaning)| this(meaning)).count();
        assert_eq!(of(|m| matches!(m, Said(_))), said.len());
        assert_eq!(of(|m| matches!(m, SaidOwn(_))), said_own.len());
        assert_eq!(of(|m| matches!(m, System)), system.len());
    }

    fn word_of(keyword: &str) -> &'static str {
        match word(keyword) {
            Word::Known(name) => name,
            other => panic!("{keyword}: {other:?}"),
        }
    }

    /// What the ssh of this machine prints is known here, each word of it.
    #[test]
    fn every_keyword_that_this_ssh_prints_is_in_the_table() {
        let output = std::process::Command::new("ssh")
            .args(["-F", "/dev/null", "-G", "box"])
            .output()
            .expect("ssh is missing: install openssh-client");
        let printed = pairs(&String::from_utf8_lossy(&output.stdout));
        assert!(printed.len() > 50, "{printed:?}");
        for (key, _) in printed {
            assert!(matches!(word(&key), Word::Known(_)), "{key}");
        }
    }
}
