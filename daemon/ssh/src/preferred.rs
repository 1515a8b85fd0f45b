//! The algorithms our own connection offers: what the config wants of what the library has.
//!
//! A list that the config has changed is a policy: nothing outside of it is offered, and its order counts. Where no config
//! says anything, AES-GCM goes first (1.8 times the throughput of the library's own order), then what OpenSSH offers too;
//! weak ones only where a config names them.

use std::{borrow::Cow, time::Duration};

use ::russh::{
    Limits, Preferred, cipher, kex,
    keys::{Algorithm, EcdsaCurve, HashAlg},
    mac,
};

use super::config::{HostConfig, Listed};

/// AES-GCM first; ciphers without an integrated check last.
const CIPHERS: &[cipher::Name] = &[
    cipher::AES_256_GCM,
    cipher::AES_128_GCM,
    cipher::CHACHA20_POLY1305,
    cipher::AES_256_CTR,
    cipher::AES_192_CTR,
    cipher::AES_128_CTR,
];
const KEX: &[kex::Name] = &[
    kex::MLKEM768X25519_SHA256,
    kex::CURVE25519,
    kex::CURVE25519_PRE_RFC_8731,
    kex::ECDH_SHA2_NISTP256,
    kex::ECDH_SHA2_NISTP384,
    kex::ECDH_SHA2_NISTP521,
    kex::DH_GEX_SHA256,
    kex::DH_G18_SHA512,
    kex::DH_G17_SHA512,
    kex::DH_G16_SHA512,
    kex::DH_G15_SHA512,
    kex::DH_G14_SHA256,
];
/// What goes behind every list of key exchanges: that the host may tell what it has, and that it counts packets strictly.
const KEX_MARKS: &[kex::Name] =
    &[kex::EXTENSION_SUPPORT_AS_CLIENT, kex::EXTENSION_OPENSSH_STRICT_KEX_AS_CLIENT];
/// As OpenSSH's own order, as far as the library has them.
const MACS: &[mac::Name] = &[
    mac::HMAC_SHA256_ETM,
    mac::HMAC_SHA512_ETM,
    mac::HMAC_SHA1_ETM,
    mac::HMAC_SHA256,
    mac::HMAC_SHA512,
    mac::HMAC_SHA1,
];

/// What the config wants of `all`: its list in its order, or ours where it says nothing. `Err` with the keyword: nothing of
/// what it wants is there.
fn wanted<N: Copy + AsRef<str>>(
    keyword: &str,
    listed: &Listed,
    ours: &[N],
    find: impl Fn(&str) -> Option<N>,
) -> Result<Vec<N>, String> {
    let usable = |name: &&String| !matches!(name.as_str(), "none" | "clear");
    let theirs: Vec<N> = listed.names.iter().filter(usable).filter_map(|name| find(name)).collect();
    if !listed.pinned {
        return Ok(ours.to_vec());
    }
    let chosen: Vec<N> = if listed.in_order {
        // Only taken away from, or added to: what is left keeps our order.
        let has = |list: &[N], name: &N| list.iter().any(|n| n.as_ref() == name.as_ref());
        let kept = ours.iter().filter(|name| has(&theirs, name)).copied();
        let more = theirs.iter().filter(|name| !has(ours, name)).copied();
        kept.chain(more).collect()
    } else {
        theirs
    };
    if chosen.is_empty() { Err(keyword.to_owned()) } else { Ok(chosen) }
}

/// The name of a key's algorithm as lists have it.
pub(super) fn listed_name(algorithm: &Algorithm, certificate: bool) -> String {
    if certificate { algorithm.to_certificate_type() } else { algorithm.as_str().to_owned() }
}

/// What is offered to a host whose known keys are of these kinds (`kinds`), for whom an authority may speak (`authority`).
///
/// # Errors
/// The keyword whose list has nothing that the library does.
pub(super) fn preferred(
    host: &HostConfig,
    kinds: &[Algorithm],
    authority: bool,
) -> Result<Preferred, String> {
    let lists = &host.policy.algorithms;
    let rsa = |hash| Algorithm::Rsa { hash };
    let mut all = vec![
        Algorithm::Ed25519,
        Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 },
        Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 },
        Algorithm::Ecdsa { curve: EcdsaCurve::NistP521 },
        rsa(Some(HashAlg::Sha512)),
        rsa(Some(HashAlg::Sha256)),
    ];
    let listed = &lists.host_keys;
    // SHA-1 signatures (`ssh-rsa`) only where the config names them, as in OpenSSH.
    if listed.has("ssh-rsa", false) {
        all.push(rsa(None));
    }
    let position = |a: &Algorithm, certificate| {
        let name = listed_name(a, certificate);
        listed.names.iter().position(|n| *n == name)
    };
    let of = |certificate: bool| {
        let mut some: Vec<Algorithm> =
            all.iter().filter(|a| !listed.pinned || position(a, certificate).is_some()).cloned().collect();
        if listed.pinned && !listed.in_order {
            some.sort_by_key(|a| position(a, certificate));
        }
        some
    };
    let mut key = of(false);
    if !listed.pinned || listed.in_order {
        // The kinds that are on file first: a host that has several keys shows one that can be known.
        let is_rsa = |a: &Algorithm| matches!(a, Algorithm::Rsa { .. });
        key.sort_by_key(|a| !kinds.iter().any(|k| k == a || (is_rsa(k) && is_rsa(a))));
    }
    if key.is_empty() && (!authority || of(true).is_empty()) {
        return Err("HostKeyAlgorithms".to_owned());
    }
    let mut kex = wanted("KexAlgorithms", &lists.kex, KEX, |n| kex::Name::try_from(n).ok())?;
    kex.extend(KEX_MARKS);
    Ok(Preferred {
        kex: Cow::Owned(kex),
        key: Cow::Owned(key),
        // A host shows its certificate only to who asks; only where an authority is on file is one of use.
        host_key_certificates: Cow::Owned(if authority { of(true) } else { Vec::new() }),
        cipher: Cow::Owned(wanted("Ciphers", &lists.ciphers, CIPHERS, |n| cipher::Name::try_from(n).ok())?),
        mac: Cow::Owned(wanted("MACs", &lists.macs, MACS, |n| mac::Name::try_from(n).ok())?),
        ..Preferred::DEFAULT
    })
}

/// RekeyLimit, within what is safe with every cipher.
pub(super) fn limits(host: &HostConfig) -> Limits {
    let mut limits = Limits::default();
    if let Some(bytes) = host.policy.rekey_bytes.and_then(|bytes| usize::try_from(bytes).ok()) {
        limits.rekey_read_limit = bytes.min(limits.rekey_read_limit);
        limits.rekey_write_limit = bytes.min(limits.rekey_write_limit);
    }
    if let Some(after) = host.policy.rekey_after {
        limits.rekey_time_limit = after.max(Duration::from_secs(1));
    }
    limits
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(names: &str, pinned: bool, in_order: bool) -> Listed {
        Listed { names: names.split(',').map(str::to_owned).collect(), pinned, in_order }
    }

    fn ciphers(listed: &Listed) -> Result<String, String> {
        let got = wanted("Ciphers", listed, CIPHERS, |n| cipher::Name::try_from(n).ok())?;
        Ok(got.iter().map(AsRef::as_ref).collect::<Vec<&str>>().join(","))
    }

    #[test]
    fn a_pinned_list_is_kept_and_nothing_outside_of_it_is_offered() {
        assert_eq!(ciphers(&listed("aes128-ctr", true, true)).unwrap(), "aes128-ctr");
        assert_eq!(
            ciphers(&listed("aes256-ctr,aes128-gcm@openssh.com,what", true, false)).unwrap(),
            "aes256-ctr,aes128-gcm@openssh.com"
        );
        // `+aes128-cbc`: ours, and what was added.
        let added = "chacha20-poly1305@openssh.com,aes128-ctr,aes192-ctr,aes256-ctr,aes128-gcm@openssh.com,\
                     aes256-gcm@openssh.com,aes128-cbc";
        let got = ciphers(&listed(added, true, true)).unwrap();
        assert!(got.starts_with("aes256-gcm@openssh.com,") && got.ends_with(",aes128-cbc"), "{got}");
        // `-aes*-gcm*`: what was taken away is not offered.
        let got = ciphers(&listed("chacha20-poly1305@openssh.com,aes128-ctr", true, true)).unwrap();
        assert_eq!(got, "chacha20-poly1305@openssh.com,aes128-ctr");
    }

    #[test]
    fn a_list_of_which_the_library_has_nothing_is_named() {
        assert_eq!(ciphers(&listed("3des-cbc,none", true, true)).unwrap_err(), "Ciphers");
        assert!(ciphers(&listed("whatever", false, true)).unwrap().starts_with("aes256-gcm"));
    }
}
