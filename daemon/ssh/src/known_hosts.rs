//! Is this the host it was? known_hosts as OpenSSH reads and keeps it.
//!
//! The library's own helper knows neither `@revoked` (it ignores the line) nor `@cert-authority`, wildcards and
//! negation; hence this file. [`check`] is the decision, pure; [`KnownHosts`] reads the files of one host, says which
//! key types to ask for first, and acts on the verdict as `StrictHostKeyChecking` wants it.
//!
//! As in OpenSSH: lines of all files count together; a revoked key wins over everything; any other key on file for the
//! name makes an unknown one *changed*, whatever its type; a port other than 22 is looked up as `[host]:port` first and,
//! if nothing is found, a match of the bare name will do.

use std::{
    io::Write as _,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use ::russh::keys::{
    Algorithm, Certificate, HashAlg, PublicKey, PublicKeyBase64 as _, PublicKeyOrCertificate, ssh_key,
};
use hmac::{KeyInit as _, Mac as _};
use sessd_proto::docs::text::is_hidden;

use super::{
    Failure, HostKeyProblem, OnFile, Refusal,
    config::{HostConfig, Listed, Strictness, matches_pattern},
    preferred::listed_name,
    prompt::{Answer, Asker},
};

/// The largest known_hosts file read, in bytes.
const MAX_FILE: u64 = 64 << 20;
/// Fingerprints listed in one message.
const MAX_LISTED: usize = 8;

/// Answers that are neither yes nor no before it is taken for no.
const MAX_ANSWERS: usize = 10;

/// What a line says about its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marker {
    /// The host has this key.
    Key,
    /// `@cert-authority`: this key may sign the host's.
    Authority,
    /// `@revoked`: never accept it.
    Revoked,
}

/// One line of a known_hosts file, its key not yet decoded: files have thousands and a few matter.
#[derive(Clone, Debug)]
pub struct Line {
    /// The file, for messages.
    pub file: PathBuf,
    /// From 1.
    pub number: usize,
    /// What it says about the key.
    pub marker: Marker,
    names: String,
    key: String,
}

impl Line {
    fn key(&self) -> Option<PublicKey> {
        ::russh::keys::parse_public_key_base64(&self.key).ok()
    }

    fn is_for(&self, name: &str) -> bool {
        names_match(&self.names, name)
    }
}

/// The names a host's key is looked up under, lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// What is looked up, and written: `host`, `[host]:port`, or the HostKeyAlias.
    pub primary: String,
    /// The bare name, where the primary has a port: a match there will do, a mismatch there says nothing.
    pub bare: Option<String>,
    /// What a certificate's principals are compared with.
    pub principal: String,
}

impl Names {
    /// The names for a host at a port.
    pub fn new(host: &str, port: u16, alias: Option<&str>) -> Self {
        if let Some(alias) = alias {
            let alias = alias.to_ascii_lowercase();
            return Self { primary: alias.clone(), bare: None, principal: alias };
        }
        let host = host.to_ascii_lowercase();
        if port == 22 {
            Self { primary: host.clone(), bare: None, principal: host }
        } else {
            Self { primary: format!("[{host}]:{port}"), bare: Some(host.clone()), principal: host }
        }
    }
}

/// The answer about one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// On file, or signed by an authority on file.
    Known,
    /// Nothing on file for this name.
    Unknown,
    /// Other keys are on file.
    Changed {
        /// Their types and fingerprints, at most 8.
        known: Vec<String>,
        /// The file of the first.
        file: PathBuf,
        /// Its line.
        line: usize,
    },
    /// Marked `@revoked` for this name: the key or the authority that signed it.
    Revoked,
}

/// Reads the lines of one file. Comments and lines that make no sense are skipped, as ssh does.
pub fn parse(text: &str, file: &Path) -> Vec<Line> {
    let mut lines = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let mut words = line.split_ascii_whitespace();
        let Some(mut names) = words.next() else { continue };
        let marker = match names {
            "@cert-authority" => Marker::Authority,
            "@revoked" => Marker::Revoked,
            other if other.starts_with('@') => continue,
            _ => Marker::Key,
        };
        if marker != Marker::Key {
            let Some(after) = words.next() else { continue };
            names = after;
        }
        let (Some(_kind), Some(key)) = (words.next(), words.next()) else { continue };
        lines.push(Line {
            file: file.to_owned(),
            number: index + 1,
            marker,
            names: names.to_owned(),
            key: key.to_owned(),
        });
    }
    lines
}

/// Whether the names field of a line is about `name` (lower case): hashed, or a list of patterns with negation.
fn names_match(field: &str, name: &str) -> bool {
    if let Some(hashed) = field.strip_prefix("|1|") {
        let Some((salt, hash)) = hashed.split_once('|') else { return false };
        let (Ok(salt), Ok(hash)) =
            (data_encoding::BASE64.decode(salt.as_bytes()), data_encoding::BASE64.decode(hash.as_bytes()))
        else {
            return false;
        };
        return hash_name(&salt, name).is_some_and(|h| h[..] == hash[..]);
    }
    let mut hit = false;
    for pattern in field.split(',') {
        let pattern = pattern.to_ascii_lowercase();
        match pattern.strip_prefix('!') {
            Some(not) if matches_pattern(not, name) => return false,
            Some(_) => {}
            None => hit |= matches_pattern(&pattern, name),
        }
    }
    hit
}

fn hash_name(salt: &[u8], name: &str) -> Option<[u8; 20]> {
    let mut mac = hmac::Hmac::<sha1::Sha1>::new_from_slice(salt).ok()?;
    mac.update(name.as_bytes());
    Some(mac.finalize().into_bytes().into())
}

/// `ED25519 SHA256:…`, as ssh and ssh-keygen name a key.
pub fn fingerprint(key: &PublicKey) -> String {
    let kind = match key.algorithm() {
        Algorithm::Ed25519 => "ED25519",
        Algorithm::Ecdsa { .. } => "ECDSA",
        Algorithm::Rsa { .. } => "RSA",
        Algorithm::SkEd25519 => "ED25519-SK",
        Algorithm::SkEcdsaSha2NistP256 => "ECDSA-SK",
        _ => "other",
    };
    format!("{kind} {}", key.fingerprint(HashAlg::Sha256))
}

/// The fingerprint of the key on one line (from 1) of a file's text.
pub fn fingerprint_at(text: &str, number: usize) -> Option<String> {
    parse(text, Path::new("")).iter().find(|l| l.number == number)?.key().as_ref().map(fingerprint)
}

/// Decides about the key (or certificate) a host showed. Pure: `now` is seconds since 1970, for certificates.
pub fn check(lines: &[Line], names: &Names, shown: &PublicKeyOrCertificate, now: u64) -> Verdict {
    let key = shown.public_key();
    let certificate = shown.certificate();
    let same =
        |line: &Line, data: &ssh_key::public::KeyData| line.key().is_some_and(|k| k.key_data() == data);
    let for_primary: Vec<&Line> = lines.iter().filter(|l| l.is_for(&names.primary)).collect();
    let for_bare: Vec<&Line> = match &names.bare {
        Some(bare) => lines.iter().filter(|l| l.is_for(bare)).collect(),
        None => Vec::new(),
    };
    let revoked = |l: &&Line| {
        l.marker == Marker::Revoked
            && (same(l, key.key_data()) || certificate.is_some_and(|c| same(l, c.signature_key())))
    };
    if for_primary.iter().chain(&for_bare).any(revoked) {
        return Verdict::Revoked;
    }
    if let Some(certificate) = certificate {
        let authority = |l: &&&Line| l.marker == Marker::Authority && same(l, certificate.signature_key());
        let signed = for_primary.iter().chain(&for_bare).find(authority).is_some();
        // A certificate that does not hold falls back to its bare key, as in OpenSSH.
        if signed && certificate_holds(certificate, &names.principal, now) {
            return Verdict::Known;
        }
    }
    let mut changed: Option<(PathBuf, usize)> = None;
    let mut known = Vec::new();
    for line in for_primary.iter().filter(|l| l.marker == Marker::Key) {
        let Some(other) = line.key() else { continue };
        if other.key_data() == key.key_data() {
            return Verdict::Known;
        }
        changed.get_or_insert_with(|| (line.file.clone(), line.number));
        if known.len() < MAX_LISTED {
            known.push(fingerprint(&other));
        }
    }
    if let Some((file, line)) = changed {
        return Verdict::Changed { known, file, line };
    }
    if for_bare.iter().any(|l| l.marker == Marker::Key && same(l, key.key_data())) {
        return Verdict::Known;
    }
    Verdict::Unknown
}

/// Whether a host certificate is good for this name now: type, time, signature, principals, no unknown demand.
fn certificate_holds(certificate: &Certificate, principal: &str, now: u64) -> bool {
    let authority = certificate.signature_key().fingerprint(HashAlg::Sha256);
    certificate.cert_type().is_host()
        && certificate.critical_options().iter().next().is_none()
        && certificate.validate_at(now, [&authority]).is_ok()
        && (certificate.valid_principals().is_empty()
            || certificate
                .valid_principals()
                .iter()
                .any(|p| matches_pattern(&p.to_ascii_lowercase(), principal)))
}

/// The key types on file for a host, in file order, and whether an authority may sign for it. Asking for these first
/// keeps a host that has several keys from showing the one that was never noted.
pub fn known_algorithms(lines: &[Line], names: &Names) -> (Vec<Algorithm>, bool) {
    let mut kinds: Vec<Algorithm> = Vec::new();
    let mut authority = false;
    for name in std::iter::once(&names.primary).chain(&names.bare) {
        for line in lines.iter().filter(|l| l.is_for(name)) {
            match line.marker {
                Marker::Revoked => {}
                Marker::Authority => authority = true,
                Marker::Key => {
                    if let Some(kind) = line.key().map(|k| k.algorithm())
                        && !kinds.contains(&kind)
                    {
                        kinds.push(kind);
                    }
                }
            }
        }
        // The bare name is only looked at where the name with its port says nothing.
        if authority || !kinds.is_empty() {
            break;
        }
    }
    (kinds, authority)
}

/// Everything on file for one host, read before it is dialled.
#[derive(Clone, Debug)]
pub struct KnownHosts {
    lines: Vec<Line>,
    names: Names,
    name: String,
    host: String,
    port: u16,
    strictness: Strictness,
    hash: bool,
    write_to: Option<PathBuf>,
    revoked: Vec<PublicKey>,
    /// What an authority may sign with.
    authorities: Listed,
    /// The fewest bits of an RSA key.
    rsa_bits: u32,
    /// NoHostAuthenticationForLocalhost.
    localhost_unchecked: bool,
    /// The connection goes to this machine; known once there is one.
    pub(super) local: Arc<AtomicBool>,
}

/// How far a key that was accepted is to be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// It is the host's, as far as anybody knows.
    Known,
    /// Another one is on file, and the config wants to go on: nothing secret is sent there, as ssh does it.
    Changed,
}

impl KnownHosts {
    /// Reads the known_hosts files of `host`.
    ///
    /// # Errors
    /// `RevokedHostKeys` cannot be honoured. A known_hosts file that cannot be read says nothing, as in ssh.
    pub async fn load(host: &HostConfig) -> Result<Self, Refusal> {
        let mut lines = Vec::new();
        for file in host.user_known_hosts.iter().chain(&host.global_known_hosts) {
            if let Ok(Some(text)) = read(file).await {
                lines.append(&mut parse(&String::from_utf8_lossy(&text), file));
            }
        }
        let mut revoked = Vec::new();
        if let Some(file) = &host.revoked_host_keys {
            let bytes = read(file).await?.ok_or_else(|| Failure::Config {
                detail: format!("RevokedHostKeys {} does not exist: no host can be trusted", file.display()),
            })?;
            if bytes.starts_with(b"SSHKRL") {
                return Err(Refusal::lacking(host, "RevokedHostKeys, a key revocation list,"));
            }
            for line in String::from_utf8_lossy(&bytes).lines() {
                revoked.extend(
                    line.split_ascii_whitespace()
                        .find_map(|w| ::russh::keys::parse_public_key_base64(w).ok()),
                );
            }
        }
        Ok(Self {
            lines,
            names: Names::new(&host.hostname, host.port, host.host_key_alias.as_deref()),
            name: host.name(),
            host: host.host_key_alias.clone().unwrap_or_else(|| host.hostname.clone()),
            port: if host.host_key_alias.is_some() { 22 } else { host.port },
            strictness: host.strictness,
            hash: host.hash_known_hosts,
            write_to: host.user_known_hosts.first().cloned(),
            revoked,
            authorities: host.policy.algorithms.authorities.clone(),
            rsa_bits: host.policy.rsa_bits,
            localhost_unchecked: host.policy.localhost_unchecked && host.host_key_alias.is_none(),
            local: Arc::default(),
        })
    }

    /// See [`known_algorithms`].
    pub fn algorithms(&self) -> (Vec<Algorithm>, bool) {
        known_algorithms(&self.lines, &self.names)
    }

    /// Accepts or refuses what the host showed; notes a new key where the config says so.
    ///
    /// # Errors
    /// [`Failure::HostKey`] with the fingerprint and what to do.
    pub(super) async fn decide(
        &self,
        shown: &PublicKeyOrCertificate,
        host: &HostConfig,
        asker: &Asker,
    ) -> Result<Trust, Failure> {
        let key = shown.public_key();
        if key.key_data().rsa().is_some_and(|rsa| rsa.key_size() < self.rsa_bits) {
            return Err(Failure::Protocol {
                host: self.name.clone(),
                detail: format!("its RSA key is shorter than RequiredRSASize, {} bits", self.rsa_bits),
            });
        }
        if self.localhost_unchecked && self.local.load(Ordering::Relaxed) {
            return Ok(Trust::Known);
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
        let refuse = |kind| {
            Err(Failure::HostKey {
                name: self.name.clone(),
                host: self.host.clone(),
                port: self.port,
                fingerprint: fingerprint(&key),
                kind,
            })
        };
        let signer = shown.certificate().map(|c| c.signature_key());
        if self.revoked.iter().any(|r| r.key_data() == key.key_data() || Some(r.key_data()) == signer) {
            return refuse(HostKeyProblem::Revoked);
        }
        // What an authority signed in a way that is not accepted is as if it had not signed it.
        let plain = PublicKeyOrCertificate::from(key.clone());
        let accepted = shown.certificate().is_none_or(|certificate| {
            self.authorities.has(&listed_name(&certificate.signature().algorithm(), false), true)
        });
        let shown = if accepted { shown } else { &plain };
        match (check(&self.lines, &self.names, shown, now), self.strictness) {
            (Verdict::Known, _) => Ok(Trust::Known),
            (Verdict::Revoked, _) => refuse(HostKeyProblem::Revoked),
            (Verdict::Changed { known, .. }, Strictness::No) => {
                tracing::warn!(host = %self.host, shown = %fingerprint(&key), ?known, "host key changed; StrictHostKeyChecking is no");
                Ok(Trust::Changed)
            }
            (Verdict::Changed { known, file, line }, _) => {
                refuse(HostKeyProblem::Changed(Box::new(OnFile {
                    fingerprints: known,
                    file: file.display().to_string(),
                    line,
                })))
            }
            (Verdict::Unknown, Strictness::Yes) => refuse(HostKeyProblem::Unknown),
            (Verdict::Unknown, strictness) => {
                if strictness == Strictness::Ask && !self.is_right(&key, host, asker).await {
                    return refuse(HostKeyProblem::Unknown);
                }
                if self.write_to.is_some() && !can_be_noted(&self.names.primary) {
                    let name = sessd_proto::docs::text::shown(&self.names.primary);
                    return Err(Failure::Config {
                        detail: format!(
                            "'{name}' cannot stand in a known_hosts file, so its key cannot be kept"
                        ),
                    });
                }
                if let Some(file) = &self.write_to
                    && let Err(e) = remember(file.clone(), self.names.primary.clone(), self.hash, key).await
                {
                    // As ssh: not noting it is no reason not to connect.
                    tracing::warn!(host = %self.host, file = %file.display(), error = %e, "host key not noted");
                }
                Ok(Trust::Known)
            }
        }
    }
}

impl KnownHosts {
    /// Asks whether an unknown key is the host's: in ssh's words, with its three answers.
    async fn is_right(&self, key: &PublicKey, host: &HostConfig, asker: &Asker) -> bool {
        let shown = fingerprint(key);
        let (kind, print) = shown.split_once(' ').unwrap_or(("", &shown));
        let text = format!(
            "The authenticity of host '{}' can't be established.\n{kind} key fingerprint is {print}.",
            sessd_proto::docs::text::shown(&self.names.primary),
        );
        let prompt = "Are you sure you want to continue connecting (yes/no/[fingerprint])? ";
        let (mut text, mut prompt) = (text.as_str(), prompt);
        for _ in 0..MAX_ANSWERS {
            let Answer::Given(given) = asker.ask(host, text, prompt, true).await else { return false };
            let given = given.trim();
            if given.eq_ignore_ascii_case("yes") || given == print {
                return true;
            }
            if given.eq_ignore_ascii_case("no") {
                return false;
            }
            (text, prompt) = ("", "Please type 'yes', 'no' or the fingerprint: ");
        }
        false
    }
}

/// A file's bytes, `None` where there is none. `/dev/null`, a usual value here, is an empty file.
async fn read(file: &Path) -> Result<Option<Vec<u8>>, Failure> {
    let unreadable =
        |e: std::io::Error| Failure::Config { detail: format!("{} cannot be read: {e}", file.display()) };
    match tokio::fs::metadata(file).await {
        Ok(meta) if !meta.is_file() => return Ok(Some(Vec::new())),
        Ok(meta) if meta.len() > MAX_FILE => {
            return Err(Failure::Config { detail: format!("{} is too large", file.display()) });
        }
        Ok(_) => {}
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(unreadable(e)),
    }
    tokio::fs::read(file).await.map(Some).map_err(unreadable)
}

/// Would a line with this name be read as speaking of this name, and of nothing else? A comma makes two names, a mark at the
/// beginning another meaning, and what cannot be seen deceives whoever reads the file.
fn can_be_noted(name: &str) -> bool {
    let bad = |c: char| is_hidden(c) || c.is_whitespace() || matches!(c, '#' | ',' | '*' | '?');
    !name.is_empty() && !name.contains(bad) && !name.starts_with(['!', '@', '|'])
}

/// Appends a line for `name`, in one write; folder 0700 and file 0600 where they are missing.
async fn remember(file: PathBuf, name: String, hash: bool, key: PublicKey) -> std::io::Result<()> {
    let task = tokio::task::spawn_blocking(move || {
        if std::fs::metadata(&file).is_ok_and(|m| !m.is_file()) {
            return Ok(());
        }
        if let Some(folder) = file.parent().filter(|f| !f.exists()) {
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        let name = if hash {
            let mut salt = [0u8; 20];
            getrandom::fill(&mut salt).map_err(std::io::Error::other)?;
            let hashed = hash_name(&salt, &name).ok_or_else(|| std::io::Error::other("cannot hash"))?;
            format!("|1|{}|{}", data_encoding::BASE64.encode(&salt), data_encoding::BASE64.encode(&hashed))
        } else {
            name
        };
        let ends = std::fs::read(&file).map_or(true, |bytes| bytes.last().is_none_or(|b| *b == b'\n'));
        let line = format!(
            "{}{name} {} {}\n",
            if ends { "" } else { "\n" },
            key.algorithm().as_str(),
            data_encoding::BASE64.encode(&key.public_key_bytes())
        );
        std::fs::OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&file)?
            .write_all(line.as_bytes())
    });
    task.await.map_err(std::io::Error::other)?
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";

    /// Another ed25519 key: the same with its last byte changed.
    fn other(n: u8) -> String {
        let mut bytes = data_encoding::BASE64.decode(A.split(' ').nth(1).unwrap().as_bytes()).unwrap();
        *bytes.last_mut().unwrap() ^= n;
        format!("ssh-ed25519 {}", data_encoding::BASE64.encode(&bytes))
    }

    fn key(text: &str) -> PublicKeyOrCertificate {
        ::russh::keys::parse_public_key_base64(text.split(' ').nth(1).unwrap()).unwrap().into()
    }

    fn word(v: &Verdict) -> &'static str {
        match v {
            Verdict::Known => "known",
            Verdict::Unknown => "unknown",
            Verdict::Changed { .. } => "changed",
            Verdict::Revoked => "revoked",
        }
    }

    fn hashed(name: &str) -> String {
        let salt = [7u8; 20];
        format!(
            "|1|{}|{}",
            data_encoding::BASE64.encode(&salt),
            data_encoding::BASE64.encode(&hash_name(&salt, name).unwrap())
        )
    }

    #[test]
    fn verdicts() {
        let b = other(1);
        let table: Vec<(String, &str, u16, &str)> = vec![
            (String::new(), "box", 22, "unknown"),
            (format!("box {A}"), "box", 22, "known"),
            (format!("BOX {A} a comment"), "box", 22, "known"),
            (format!("box {A}"), "BOX", 22, "known"),
            (format!("# box {A}"), "box", 22, "unknown"),
            (format!("a,box,c {A}"), "box", 22, "known"),
            (format!("box {b}"), "box", 22, "changed"),
            (format!("box {b}\nbox {A}"), "box", 22, "known"),
            (format!("*.org {A}"), "box.org", 22, "known"),
            (format!("*.org,!box.org {A}"), "box.org", 22, "unknown"),
            (format!("!box.org,*.org {A}"), "box.org", 22, "unknown"),
            (format!("b?x {A}"), "box", 22, "known"),
            // A port: by its own name first, else a match of the bare one.
            (format!("[box]:2222 {A}"), "box", 2222, "known"),
            (format!("[box]:2222 {A}"), "box", 22, "unknown"),
            (format!("box {A}"), "box", 2222, "known"),
            (format!("box {b}"), "box", 2222, "unknown"),
            (format!("[box]:2222 {b}\nbox {A}"), "box", 2222, "changed"),
            (format!("[*]:2222 {A}"), "box", 2222, "known"),
            // Hashed names.
            (format!("{} {A}", hashed("box")), "box", 22, "known"),
            (format!("{} {b}", hashed("box")), "box", 22, "changed"),
            (format!("{} {A}", hashed("box")), "fox", 22, "unknown"),
            (format!("{} {A}", hashed("[box]:2222")), "box", 2222, "known"),
            (format!("|1|xx {A}"), "box", 22, "unknown"),
            // Markers.
            (format!("@revoked box {A}"), "box", 22, "revoked"),
            (format!("box {A}\n@revoked * {A}"), "box", 22, "revoked"),
            (format!("@revoked * {b}"), "box", 22, "unknown"),
            (format!("box {A}\n@revoked fox {A}"), "box", 22, "known"),
            (format!("@revoked box {A}"), "box", 2222, "revoked"),
            (format!("@cert-authority * {A}"), "box", 22, "unknown"),
            (format!("@cert-authority * {b}\nbox {A}"), "box", 22, "known"),
            (format!("@what box {A}"), "box", 22, "unknown"),
            ("box ssh-ed25519".to_owned(), "box", 22, "unknown"),
            ("box ssh-ed25519 !!!!".to_owned(), "box", 22, "unknown"),
        ];
        for (text, host, port, expected) in table {
            let lines = parse(&text, Path::new("kh"));
            let verdict = check(&lines, &Names::new(host, port, None), &key(A), 0);
            assert_eq!(word(&verdict), expected, "{text:?} {host}:{port}");
        }
    }

    #[test]
    fn changed_names_the_first_line_and_its_fingerprints() {
        let text = format!("x {A}\n\nbox {}\nbox {}\n", other(1), other(2));
        let Verdict::Changed { known, file, line } =
            check(&parse(&text, Path::new("kh")), &Names::new("box", 22, None), &key(A), 0)
        else {
            panic!("changed expected");
        };
        assert_eq!((known.len(), file.as_path(), line), (2, Path::new("kh"), 3));
        assert!(known[0].starts_with("ED25519 SHA256:"), "{known:?}");
    }

    #[test]
    fn an_alias_replaces_name_and_port() {
        let lines = parse(&format!("real {A}"), Path::new("kh"));
        assert_eq!(check(&lines, &Names::new("box", 2222, Some("Real")), &key(A), 0), Verdict::Known);
    }

    #[test]
    fn known_types_are_asked_for_first() {
        let lines = parse(&format!("[box]:2222 {A}\n@cert-authority other {A}\n"), Path::new("kh"));
        assert_eq!(
            known_algorithms(&lines, &Names::new("box", 2222, None)),
            (vec![Algorithm::Ed25519], false)
        );
        assert_eq!(known_algorithms(&lines, &Names::new("box", 22, None)), (vec![], false));
        assert_eq!(known_algorithms(&lines, &Names::new("other", 22, None)), (vec![], true));
    }

    /// `ssh-keygen -F` is the judge of which lines are about a name.
    #[test]
    fn names_match_as_ssh_keygen_finds_them() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("kh");
        for (names, ask) in [
            ("box".to_owned(), "box"),
            ("box".to_owned(), "fox"),
            ("a,b*,!bad".to_owned(), "box"),
            ("a,b*,!bad".to_owned(), "bad"),
            ("[box]:22".to_owned(), "box"),
            ("[box]:2222".to_owned(), "[box]:2222"),
            ("*".to_owned(), "[box]:2222"),
            ("B?x".to_owned(), "box"),
            (hashed("box"), "box"),
            (hashed("[box]:2222"), "[box]:2222"),
            (hashed("box"), "fox"),
            ("2001:db8::1".to_owned(), "2001:db8::1"),
        ] {
            std::fs::write(&file, format!("{names} {A}\n")).unwrap();
            let found =
                std::process::Command::new("ssh-keygen").arg("-F").arg(ask).arg("-f").arg(&file).output();
            let found = found.expect("ssh-keygen is missing: install openssh-client").status.success();
            assert_eq!(names_match(&names, &ask.to_ascii_lowercase()), found, "{names} {ask}");
        }
    }

    #[test]
    fn a_name_that_would_be_read_as_something_else_is_not_written_down() {
        for good in ["box", "[box]:2222", "[::1]:22", "fe80::1%eth0", "a.b-c_d", "bücher.example"] {
            assert!(can_be_noted(good), "{good}");
        }
        for bad in
            ["", "a,b", "#a", "a#b", "a b", "a\nb", "a\u{200b}b", "\u{202e}a", "*", "@revoked", "!a", "|1|x"]
        {
            assert!(!can_be_noted(bad), "{bad:?}");
        }
    }

    #[tokio::test]
    async fn a_new_key_is_noted_privately_on_a_line_of_its_own() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("new/.ssh/known_hosts");
        let k = key(A).public_key();
        remember(file.clone(), "[box]:2222".into(), false, k.clone()).await.unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), format!("[box]:2222 {A}\n"));
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::metadata(file.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
        std::fs::write(&file, "no newline").unwrap();
        remember(file.clone(), "box".into(), true, k).await.unwrap();
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.starts_with("no newline\n|1|") && text.ends_with('\n'), "{text}");
        assert_eq!(check(&parse(&text, &file), &Names::new("box", 22, None), &key(A), 0), Verdict::Known);
    }
}
