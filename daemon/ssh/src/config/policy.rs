//! What an ssh config wants of a connection beyond where it goes: algorithms, ways to log in, variables, rekeying.

use super::{first, keywords, parse_seconds, split_words, tokens::Tokens, yes};
use crate::{Failure, clean};
use std::{collections::HashMap, time::Duration};

use super::{config_error, matches_pattern};

/// Ways to log in, in OpenSSH's order.
const METHODS: [&str; 5] = ["gssapi-with-mic", "hostbased", "publickey", "keyboard-interactive", "password"];
/// The most variables that are sent, and the bytes of all of them.
const MAX_SENT: usize = 256;
const MAX_SENT_BYTES: usize = 128 << 10;

/// A list of algorithms.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// As the config has it, most wanted first; empty: nothing says.
    pub names: Vec<String>,
    /// It is another than that of a host of which no config says anything: a policy, and its order counts.
    pub pinned: bool,
    /// Its members stand in the order that the default has: what was taken out or added, no order was chosen.
    pub in_order: bool,
}

impl Listed {
    fn of(key: &str, pairs: &[(String, String)], defaults: &[(String, String)]) -> Self {
        let split = |value: &str| value.split(',').filter(|n| !n.is_empty()).map(str::to_owned).collect();
        let names: Vec<String> = first(pairs, key).map(split).unwrap_or_default();
        let default: Vec<String> = first(defaults, key).map(split).unwrap_or_default();
        let mut rest = default.iter();
        // What the default does not have must come after all that it has.
        let known = names.iter().take_while(|n| default.contains(n));
        let in_order = known.clone().all(|name| rest.any(|d| d == name))
            && names.iter().skip(known.count()).all(|name| !default.contains(name));
        Self { pinned: !names.is_empty() && names != default, in_order, names }
    }

    /// Whether `name` is wanted; where nothing says, `or`.
    pub fn has(&self, name: &str, or: bool) -> bool {
        if self.names.is_empty() { or } else { self.names.iter().any(|n| n == name) }
    }
}

/// The algorithm lists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Algorithms {
    /// KexAlgorithms.
    pub kex: Listed,
    /// Ciphers.
    pub ciphers: Listed,
    /// MACs.
    pub macs: Listed,
    /// HostKeyAlgorithms.
    pub host_keys: Listed,
    /// PubkeyAcceptedAlgorithms.
    pub user_keys: Listed,
    /// CASignatureAlgorithms.
    pub authorities: Listed,
}

/// What a connection is to be like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// What it may be made of.
    pub algorithms: Algorithms,
    /// Ways to log in, the most wanted first, without those that are switched off.
    pub methods: Vec<String>,
    /// Whether a person may be asked (not BatchMode).
    pub asks: bool,
    /// NumberOfPasswordPrompts.
    pub prompts: u32,
    /// KbdInteractiveDevices, as they are sent.
    pub devices: String,
    /// What SendEnv and SetEnv give, by name and value; SetEnv wins.
    pub sent: Vec<(String, String)>,
    /// RekeyLimit: after so many bytes.
    pub rekey_bytes: Option<u64>,
    /// RekeyLimit: after so long.
    pub rekey_after: Option<Duration>,
    /// The first class of IPQoS, as the byte it is; `None`: the system's.
    pub service: Option<u8>,
    /// TCPKeepAlive.
    pub tcp_keepalive: bool,
    /// NoHostAuthenticationForLocalhost.
    pub localhost_unchecked: bool,
    /// RequiredRSASize, in bits.
    pub rsa_bits: u32,
    /// LocalCommand, expanded, where PermitLocalCommand allows it.
    pub local_command: Option<String>,
    /// Whether GSSAPI is to be tried: the system's ssh can.
    pub gssapi: bool,
    /// Keywords that only the system's ssh can honour.
    pub system: Vec<String>,
    /// What is not honoured, a sentence each.
    pub said: Vec<String>,
    /// What our own connection alone does not honour, a sentence each.
    pub said_own: Vec<String>,
    /// The options that this ssh knows of those that must not come from the config of a connection of ours.
    pub shields: Vec<&'static str>,
}

impl Policy {
    /// What is not honoured, a sentence each; `by_system`: the system's ssh makes the connection.
    pub fn not_honoured(&self, by_system: bool) -> impl Iterator<Item = &String> {
        self.said.iter().chain(self.said_own.iter().filter(move |_| !by_system))
    }

    pub(super) fn of(
        pairs: &[(String, String)],
        defaults: &[(String, String)],
        tokens: &Tokens<'_>,
    ) -> Result<Self, Failure> {
        let get = |key: &str| first(pairs, key);
        let listed = |key: &str| Listed::of(key, pairs, defaults);
        if let Some(why) = get("refuseconnection") {
            return Err(config_error(format!("the ssh config refuses the connection: {}", clean(why, 200))));
        }
        let findings = keywords::judge(pairs, defaults);
        let number = |key: &str| get(key).and_then(|v| v.parse::<u32>().ok());
        let (rekey_bytes, rekey_after) = rekey(get("rekeylimit").unwrap_or_default());
        let local_command = match get("localcommand").filter(|c| !c.eq_ignore_ascii_case("none")) {
            Some(command) if yes(get("permitlocalcommand")) => {
                Some(tokens.expand_percent(command, "LocalCommand")?)
            }
            _ => None,
        };
        Ok(Self {
            algorithms: Algorithms {
                kex: listed("kexalgorithms"),
                ciphers: listed("ciphers"),
                macs: listed("macs"),
                host_keys: listed("hostkeyalgorithms"),
                user_keys: listed("pubkeyacceptedalgorithms"),
                authorities: listed("casignaturealgorithms"),
            },
            methods: methods(pairs),
            asks: !yes(get("batchmode")),
            prompts: number("numberofpasswordprompts").unwrap_or(3),
            devices: get("kbdinteractivedevices").unwrap_or_default().to_owned(),
            sent: sent(pairs, &tokens.environment.variables),
            rekey_bytes,
            rekey_after,
            service: service(get("ipqos").unwrap_or("af21")),
            tcp_keepalive: get("tcpkeepalive").is_none_or(|v| yes(Some(v))),
            localhost_unchecked: yes(get("nohostauthenticationforlocalhost")),
            rsa_bits: number("requiredrsasize").unwrap_or(1024),
            local_command,
            gssapi: yes(get("gssapiauthentication")),
            system: findings.system,
            said: findings.said,
            said_own: findings.said_own,
            shields: shields(pairs),
        })
    }
}

/// The ways to log in that are wanted, in their order.
fn methods(pairs: &[(String, String)]) -> Vec<String> {
    let on = |key: &str, default: bool| {
        first(pairs, key)
            .map_or(default, |v| !v.eq_ignore_ascii_case("no") && !v.eq_ignore_ascii_case("false"))
    };
    let wanted: Vec<&str> = match first(pairs, "preferredauthentications") {
        Some(list) => list.split(',').map(str::trim).collect(),
        None => METHODS.to_vec(),
    };
    let allowed = |method: &&str| match *method {
        "publickey" => on("pubkeyauthentication", true),
        "password" => on("passwordauthentication", true),
        "keyboard-interactive" => on("kbdinteractiveauthentication", true),
        "gssapi-with-mic" => on("gssapiauthentication", false),
        "hostbased" => on("hostbasedauthentication", false),
        _ => false,
    };
    wanted.into_iter().filter(allowed).map(str::to_owned).collect()
}

/// What goes along to a host: variables of whoever asks that SendEnv names, then what SetEnv sets.
fn sent(pairs: &[(String, String)], variables: &HashMap<String, String>) -> Vec<(String, String)> {
    let values = |key: &'static str| pairs.iter().filter(move |(k, _)| k == key).map(|(_, v)| v.as_str());
    let mut patterns: Vec<String> = Vec::new();
    for word in values("sendenv").flat_map(split_words) {
        match word.strip_prefix('-') {
            // `-PATTERN` takes back what came before.
            Some(pattern) => patterns.retain(|p| !matches_pattern(pattern, p)),
            None => patterns.push(word),
        }
    }
    let mut set: Vec<(String, String)> = Vec::new();
    for value in values("setenv") {
        if let Some((name, value)) = value.split_once('=')
            && !name.is_empty()
            && !set.iter().any(|(n, _)| n == name)
        {
            set.push((name.to_owned(), value.to_owned()));
        }
    }
    let mut sent: Vec<(String, String)> = variables
        .iter()
        .filter(|(name, _)| patterns.iter().any(|p| matches_pattern(p, name)))
        .filter(|(name, _)| !set.iter().any(|(n, _)| n == *name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    sent.sort();
    sent.extend(set);
    let mut bytes = 0;
    sent.retain(|(name, value)| {
        bytes += name.len() + value.len();
        bytes <= MAX_SENT_BYTES
    });
    sent.truncate(MAX_SENT);
    sent
}

/// `1G 1h`, `default none`, `0 0`.
fn rekey(text: &str) -> (Option<u64>, Option<Duration>) {
    let mut words = text.split_ascii_whitespace();
    let bytes = words.next().and_then(|word| {
        let (digits, scale) = match word.char_indices().last()? {
            (at, 'k' | 'K') => (&word[..at], 10),
            (at, 'm' | 'M') => (&word[..at], 20),
            (at, 'g' | 'G') => (&word[..at], 30),
            _ => (word, 0),
        };
        digits.parse::<u64>().ok()?.checked_mul(1 << scale)
    });
    let after = words.next().and_then(parse_seconds).filter(|s| *s > 0).map(Duration::from_secs);
    (bytes.filter(|b| *b > 0), after)
}

/// The first word of IPQoS as the byte of a packet; `none` leaves it alone.
pub(super) fn service(text: &str) -> Option<u8> {
    let word = text.split_ascii_whitespace().next()?.to_ascii_lowercase();
    if let Some(class) = word.strip_prefix("af").filter(|c| c.len() == 2) {
        let (x, y) = (class.as_bytes()[0], class.as_bytes()[1]);
        return ((b'1'..=b'4').contains(&x) && (b'1'..=b'3').contains(&y))
            .then(|| ((x - b'0') << 5) | ((y - b'0') << 3));
    }
    if let Some(class) = word.strip_prefix("cs").and_then(|c| c.parse::<u8>().ok()).filter(|c| *c < 8) {
        return Some(class << 5);
    }
    match word.as_str() {
        "ef" => Some(0xb8),
        "le" => Some(0x04),
        "lowdelay" => Some(0x10),
        "throughput" => Some(0x08),
        "reliability" => Some(0x04),
        "none" => None,
        number => match number.strip_prefix("0x") {
            Some(hex) => u8::from_str_radix(hex, 16).ok(),
            None => number.parse().ok(),
        },
    }
}

/// Options that break a connection of ours where a config sets them, as far as this ssh has them: an older one refuses what
/// it does not know.
fn shields(pairs: &[(String, String)]) -> Vec<&'static str> {
    const SHIELDS: [(&str, &str); 6] = [
        ("sessiontype", "SessionType=default"),
        ("stdinnull", "StdinNull=no"),
        ("forkafterauthentication", "ForkAfterAuthentication=no"),
        ("tunnel", "Tunnel=no"),
        ("visualhostkey", "VisualHostKey=no"),
        ("logverbose", "LogVerbose=none"),
    ];
    let known = |key: &str| first(pairs, key).is_some();
    SHIELDS.iter().filter(|(key, _)| known(key)).map(|(_, option)| *option).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn a_list_is_a_policy_where_it_is_not_the_default() {
        let defaults = pairs(&[("ciphers", "a,b,c")]);
        for (list, pinned, in_order) in [
            ("a,b,c", false, true),
            ("a,c", true, true),
            ("a,b,c,d", true, true),
            ("c,a", true, false),
            ("d,a,b,c", true, false),
            ("d", true, true),
        ] {
            let listed = Listed::of("ciphers", &pairs(&[("ciphers", list)]), &defaults);
            assert_eq!((listed.pinned, listed.in_order), (pinned, in_order), "{list}");
        }
        let nothing = Listed::of("ciphers", &[], &[]);
        assert!(!nothing.pinned && nothing.has("x", true) && !nothing.has("x", false));
    }

    #[test]
    fn what_is_sent_is_of_whoever_asks_and_set_wins() {
        let variables: HashMap<String, String> =
            [("LANG", "C.UTF-8"), ("LC_ALL", "C"), ("FOO", "here"), ("BAR", "bar"), ("SECRET", "x")]
                .map(|(k, v)| (k.to_owned(), v.to_owned()))
                .into();
        let got = sent(
            &pairs(&[
                ("sendenv", "LANG"),
                ("sendenv", "LC_*"),
                ("sendenv", "FOO BAR"),
                ("sendenv", "-B*"),
                ("setenv", "FOO=a b=c"),
                ("setenv", "FOO=later"),
                ("setenv", "EMPTY="),
            ]),
            &variables,
        );
        assert_eq!(got, pairs(&[("LANG", "C.UTF-8"), ("LC_ALL", "C"), ("FOO", "a b=c"), ("EMPTY", "")]));
    }

    #[test]
    fn ways_to_log_in_are_those_wanted_and_not_switched_off() {
        assert_eq!(methods(&[]), ["publickey", "keyboard-interactive", "password"]);
        let some = pairs(&[
            ("preferredauthentications", "password,publickey,hostbased,magic"),
            ("pubkeyauthentication", "false"),
        ]);
        assert_eq!(methods(&some), ["password"]);
        let unbound = pairs(&[("pubkeyauthentication", "host-bound"), ("gssapiauthentication", "yes")]);
        assert_eq!(methods(&unbound)[..2], ["gssapi-with-mic", "publickey"]);
    }

    #[test]
    fn limits_and_classes_are_read_as_ssh_writes_them() {
        assert_eq!(rekey("0 0"), (None, None));
        assert_eq!(rekey("default none"), (None, None));
        assert_eq!(rekey("1G 1h"), (Some(1 << 30), Some(Duration::from_secs(3600))));
        assert_eq!(rekey("65536 60"), (Some(65536), Some(Duration::from_secs(60))));
        for (text, class) in [
            ("lowdelay throughput", Some(0x10)),
            ("af21 cs1", Some(0x48)),
            ("cs1", Some(0x20)),
            ("ef", Some(0xb8)),
            ("none", None),
            ("0x20", Some(0x20)),
            ("af99", None),
        ] {
            assert_eq!(service(text), class, "{text}");
        }
    }
}
