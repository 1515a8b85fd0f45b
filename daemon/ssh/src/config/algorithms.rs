//! Lists of algorithms as ssh_config(5) writes them, where there is no `ssh` to put them together: `+`, `-`, `^` and
//! patterns, on OpenSSH's own defaults.

use super::matches_pattern;

const CIPHERS: &[&str] = &[
    "chacha20-poly1305@openssh.com",
    "aes128-ctr",
    "aes192-ctr",
    "aes256-ctr",
    "aes128-gcm@openssh.com",
    "aes256-gcm@openssh.com",
];
const MORE_CIPHERS: &[&str] = &["3des-cbc", "aes128-cbc", "aes192-cbc", "aes256-cbc"];
const MACS: &[&str] = &[
    "umac-64-etm@openssh.com",
    "umac-128-etm@openssh.com",
    "hmac-sha2-256-etm@openssh.com",
    "hmac-sha2-512-etm@openssh.com",
    "hmac-sha1-etm@openssh.com",
    "umac-64@openssh.com",
    "umac-128@openssh.com",
    "hmac-sha2-256",
    "hmac-sha2-512",
    "hmac-sha1",
];
const MORE_MACS: &[&str] =
    &["hmac-sha1-96", "hmac-md5", "hmac-md5-96", "hmac-md5-etm@openssh.com", "hmac-sha1-96-etm@openssh.com"];
const KEX: &[&str] = &[
    "mlkem768x25519-sha256",
    "sntrup761x25519-sha512",
    "sntrup761x25519-sha512@openssh.com",
    "curve25519-sha256",
    "curve25519-sha256@libssh.org",
    "ecdh-sha2-nistp256",
    "ecdh-sha2-nistp384",
    "ecdh-sha2-nistp521",
    "diffie-hellman-group-exchange-sha256",
    "diffie-hellman-group16-sha512",
    "diffie-hellman-group18-sha512",
    "diffie-hellman-group14-sha256",
];
const MORE_KEX: &[&str] =
    &["diffie-hellman-group1-sha1", "diffie-hellman-group14-sha1", "diffie-hellman-group-exchange-sha1"];
const SIGNATURES: &[&str] = &[
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
    "rsa-sha2-512",
    "rsa-sha2-256",
];
const CERTIFICATES: &[&str] = &[
    "ssh-ed25519-cert-v01@openssh.com",
    "ecdsa-sha2-nistp256-cert-v01@openssh.com",
    "ecdsa-sha2-nistp384-cert-v01@openssh.com",
    "ecdsa-sha2-nistp521-cert-v01@openssh.com",
    "sk-ssh-ed25519-cert-v01@openssh.com",
    "sk-ecdsa-sha2-nistp256-cert-v01@openssh.com",
    "rsa-sha2-512-cert-v01@openssh.com",
    "rsa-sha2-256-cert-v01@openssh.com",
];
const MORE_KEYS: &[&str] =
    &["ssh-rsa", "ssh-dss", "ssh-rsa-cert-v01@openssh.com", "ssh-dss-cert-v01@openssh.com"];

/// The lists of a host of which no config says anything, as `ssh -G` would print them.
pub(super) fn defaults() -> super::Pairs {
    let keys = CERTIFICATES.iter().chain(SIGNATURES).copied().collect::<Vec<_>>();
    let lists: [(&str, &[&str]); 7] = [
        ("ciphers", CIPHERS),
        ("macs", MACS),
        ("kexalgorithms", KEX),
        ("hostkeyalgorithms", &keys),
        ("pubkeyacceptedalgorithms", &keys),
        ("hostbasedacceptedalgorithms", &keys),
        ("casignaturealgorithms", SIGNATURES),
    ];
    lists.into_iter().map(|(keyword, list)| (keyword.to_owned(), list.join(","))).collect()
}

/// The list that a value of `keyword` (in lower case) means, with commas.
pub(super) fn assembled(keyword: &str, value: &str) -> String {
    let (default, more): (Vec<&str>, &[&str]) = match keyword {
        "ciphers" => (CIPHERS.to_vec(), MORE_CIPHERS),
        "macs" => (MACS.to_vec(), MORE_MACS),
        "kexalgorithms" => (KEX.to_vec(), MORE_KEX),
        "casignaturealgorithms" => (SIGNATURES.to_vec(), MORE_KEYS),
        _ => (CERTIFICATES.iter().chain(SIGNATURES).copied().collect(), MORE_KEYS),
    };
    let all: Vec<&str> = default.iter().chain(more).copied().collect();
    // A pattern means whatever it matches; a name that is not known here is one of a host's all the same.
    let meant = |list: &str| {
        let mut names: Vec<String> = Vec::new();
        for word in list.split(',').filter(|word| !word.is_empty()) {
            let found: Vec<String> = if word.contains(['*', '?']) {
                all.iter().filter(|name| matches_pattern(word, name)).map(|n| (*n).to_owned()).collect()
            } else {
                vec![word.to_owned()]
            };
            for name in found {
                if !names.contains(&name) {
                    names.push(name);
                }
            }
        }
        names
    };
    let default: Vec<String> = default.into_iter().map(str::to_owned).collect();
    let names = match value.split_at_checked(1) {
        Some(("+", list)) => {
            let added = meant(list).into_iter().filter(|n| !default.contains(n));
            default.iter().cloned().chain(added).collect()
        }
        Some(("-", list)) => default
            .into_iter()
            .filter(|name| !list.split(',').any(|pattern| matches_pattern(pattern, name)))
            .collect(),
        Some(("^", list)) => {
            let first = meant(list);
            let rest = default.into_iter().filter(|name| !first.contains(name));
            first.iter().cloned().chain(rest).collect()
        }
        _ => meant(value),
    };
    names.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_put_together_as_ssh_does() {
        let default = MACS.join(",");
        for (value, expected) in [
            ("hmac-sha2-256", "hmac-sha2-256".to_owned()),
            ("hmac-sha2-256,hmac-sha2-256", "hmac-sha2-256".to_owned()),
            ("+hmac-md5,hmac-sha1", format!("{default},hmac-md5")),
            (
                "-umac-*,hmac-sha1*",
                "hmac-sha2-256-etm@openssh.com,hmac-sha2-512-etm@openssh.com,hmac-sha2-256,hmac-sha2-512"
                    .to_owned(),
            ),
            ("^hmac-md5", format!("hmac-md5,{default}")),
        ] {
            assert_eq!(assembled("macs", value), expected, "{value}");
        }
        assert!(assembled("hostkeyalgorithms", "+ssh-rsa").ends_with("rsa-sha2-256,ssh-rsa"));
    }
}
