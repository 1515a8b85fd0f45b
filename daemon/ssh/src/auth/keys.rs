//! Keys and certificates: what there is to offer, in OpenSSH's order, and signing with what lies in files.

use std::{
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use ::russh::{
    SendError, Signer,
    keys::{
        Algorithm, Certificate, HashAlg, PrivateKey, PublicKey, agent::AgentIdentity, signature::Signer as _,
        ssh_encoding::Encode as _, ssh_key::private::KeypairData,
    },
};
use zeroize::Zeroizing;

use super::{Notes, Remarks};
use crate::{
    clean,
    config::HostConfig,
    preferred::listed_name,
    prompt::{Answer, Asker},
};

/// The largest key or certificate file, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// Where the private half of something to offer is.
#[derive(Clone)]
pub(super) enum Half {
    /// The agent has it.
    Agent,
    /// It was read.
    File(Arc<PrivateKey>),
    /// In a file, under a passphrase.
    Locked(Arc<Locked>),
}

/// One thing to try: a key, or a certificate of one.
#[derive(Clone)]
pub(super) struct Offer {
    pub(super) public: PublicKey,
    pub(super) certificate: Option<Certificate>,
    pub(super) half: Half,
}

impl Offer {
    /// The algorithm without a hash.
    pub(super) fn algorithm(&self) -> Algorithm {
        self.public.algorithm()
    }
}

/// A private key under a passphrase.
pub(super) struct Locked {
    pub(super) path: PathBuf,
    text: Zeroizing<String>,
}

/// A key file as it was found.
struct Identity {
    path: PathBuf,
    /// Its public half, if anything tells.
    public: Option<PublicKey>,
    half: PrivateHalf,
}

/// The private half of a key file.
enum PrivateHalf {
    Read(Arc<PrivateKey>),
    Locked(Arc<Locked>),
    /// It is not in the file: it may live in the agent only, or on a card.
    Elsewhere,
}

/// Everything worth trying, in order, nothing twice. `ask`: somebody may be asked for a passphrase.
pub(super) async fn gather(
    host: &HostConfig,
    listed: Vec<AgentIdentity>,
    asker: Option<&Asker>,
    remarks: &mut Remarks,
) -> Vec<Offer> {
    let mut identities = Vec::new();
    for path in &host.identity_files {
        if let Some(identity) = read_identity(path, remarks).await {
            identities.push(identity);
        }
    }
    let mut certificates = Vec::new();
    let beside = host.identity_files.iter().map(|p| suffixed(p, "-cert.pub"));
    for path in host.certificate_files.iter().cloned().chain(beside) {
        if let Some(text) = read_text(&path).await
            && let Ok(certificate) = Certificate::from_openssh(text.trim())
            && certificate.cert_type().is_user()
        {
            certificates.push(certificate);
        }
    }
    let named = |key: &PublicKey| {
        identities.iter().any(|i| i.public.as_ref().is_some_and(|p| p.key_data() == key.key_data()))
    };
    let mut plain: Vec<PublicKey> = Vec::new();
    let mut offers = Vec::new();
    let certified = |certificate: Certificate, half: Half| {
        let public = PublicKey::new(certificate.public_key().clone(), "");
        Offer { public, certificate: Some(certificate), half }
    };

    for identity in &listed {
        match identity {
            AgentIdentity::PublicKey { key, .. } => plain.push(key.clone()),
            AgentIdentity::Certificate { certificate, .. } => {
                if !host.identities_only || named(&PublicKey::new(certificate.public_key().clone(), "")) {
                    offers.push(certified(certificate.clone(), Half::Agent));
                }
            }
        }
    }
    for certificate in certificates {
        let of = |key: &PublicKey| key.key_data() == certificate.public_key();
        let half =
            identities.iter().filter(|i| i.public.as_ref().is_some_and(of)).find_map(|i| match &i.half {
                PrivateHalf::Read(key) => Some(Half::File(key.clone())),
                PrivateHalf::Locked(locked) if asker.is_some() => Some(Half::Locked(locked.clone())),
                PrivateHalf::Locked(_) | PrivateHalf::Elsewhere => None,
            });
        let half = if plain.iter().any(of) && !matches!(half, Some(Half::File(_))) {
            Some(Half::Agent)
        } else {
            half
        };
        offers.extend(half.map(|half| certified(certificate, half)));
    }
    // Agent keys in the order of the files that name them, then the rest.
    let by_agent =
        |public: &PublicKey| Offer { public: public.clone(), certificate: None, half: Half::Agent };
    for identity in &identities {
        if let Some(public) = &identity.public
            && plain.iter().any(|k| k.key_data() == public.key_data())
        {
            offers.push(by_agent(public));
        }
    }
    if !host.identities_only {
        offers.extend(plain.iter().filter(|k| !named(k)).map(by_agent));
    }
    let in_agent =
        |i: &Identity| i.public.as_ref().is_some_and(|p| plain.iter().any(|k| k.key_data() == p.key_data()));
    for identity in identities.iter().filter(|i| !in_agent(i)) {
        let half = match &identity.half {
            PrivateHalf::Read(key) => Half::File(key.clone()),
            PrivateHalf::Locked(locked) => {
                let Some(asker) = asker else {
                    remarks.locked.push(identity.path.clone());
                    continue;
                };
                if identity.public.is_none() {
                    // As ssh: what nothing tells the public half of is opened before it is offered.
                    match open(host, asker, locked).await {
                        Opened::Key(key) => Half::File(key),
                        Opened::Declined => {
                            remarks.declined = true;
                            return offers;
                        }
                        Opened::No => {
                            remarks.locked.push(identity.path.clone());
                            continue;
                        }
                    }
                } else {
                    Half::Locked(locked.clone())
                }
            }
            PrivateHalf::Elsewhere => {
                remarks.others.push(format!(
                    "of {} only the public half is here, and the ssh-agent does not have it",
                    identity.path.display()
                ));
                continue;
            }
        };
        let public = match (&identity.public, &half) {
            (Some(public), _) => public.clone(),
            (None, Half::File(key)) => key.public_key().clone(),
            (None, _) => continue,
        };
        offers.push(Offer { public, certificate: None, half });
    }
    acceptable(host, &mut offers, remarks);
    offers
}

/// Takes out what the config does not accept: by algorithm, by length.
fn acceptable(host: &HostConfig, offers: &mut Vec<Offer>, remarks: &mut Remarks) {
    let lists = &host.policy.algorithms.user_keys;
    offers.retain(|offer| {
        let certificate = offer.certificate.is_some();
        let fits = match offer.algorithm() {
            Algorithm::Rsa { .. } => !hashes(host, certificate).is_empty(),
            other => lists.has(&listed_name(&other, certificate), true),
        };
        if !fits {
            remarks.others.push(format!(
                "PubkeyAcceptedAlgorithms has no {} for {}",
                if certificate { "certificate" } else { "signature" },
                clean(offer.algorithm().as_str(), 60)
            ));
        }
        let bits = offer.public.key_data().rsa().map(|rsa| rsa.key_size());
        let short = bits.filter(|bits| *bits < host.policy.rsa_bits);
        if let Some(bits) = short {
            remarks.others.push(format!("an RSA key of {bits} bits is shorter than RequiredRSASize"));
        }
        fits && short.is_none()
    });
}

/// The hashes with which an RSA key may sign, by PubkeyAcceptedAlgorithms, in its order; `None` is SHA-1.
pub(super) fn hashes(host: &HostConfig, certificate: bool) -> Vec<Option<HashAlg>> {
    let lists = &host.policy.algorithms.user_keys;
    let mut all = vec![Some(HashAlg::Sha512), Some(HashAlg::Sha256), None];
    let name = |hash: &Option<HashAlg>| listed_name(&Algorithm::Rsa { hash: *hash }, certificate);
    // SHA-1 only where the config names it.
    all.retain(|hash| lists.has(&name(hash), hash.is_some()));
    all.sort_by_key(|hash| lists.names.iter().position(|n| *n == name(hash)));
    all
}

/// What came of opening a key.
enum Opened {
    Key(Arc<PrivateKey>),
    /// No passphrase was given, or none that opens it.
    No,
    /// The person would not be asked.
    Declined,
}

/// Asks for the passphrase of a key, a few times.
async fn open(host: &HostConfig, asker: &Asker, locked: &Arc<Locked>) -> Opened {
    let path = locked.path.display().to_string();
    let prompt = format!("Enter passphrase for key '{}': ", clean(&path, 300));
    for attempt in 0..host.policy.prompts {
        let text = if attempt == 0 { "" } else { "Bad passphrase, try again." };
        let given = match asker.ask(host, text, &prompt, false).await {
            // As ssh: an empty one means the next key.
            Answer::Given(given) if given.is_empty() => return Opened::No,
            Answer::Given(given) => given,
            Answer::Declined => return Opened::Declined,
            Answer::Nobody => return Opened::No,
        };
        let locked = locked.clone();
        // Off this thread: deriving the key is meant to take its time.
        let opened = tokio::task::spawn_blocking(move || {
            ::russh::keys::decode_secret_key(&locked.text, Some(&given)).ok()
        });
        if let Ok(Some(key)) = opened.await {
            return Opened::Key(Arc::new(key));
        }
    }
    Opened::No
}

/// Signs with what lies in files; asks for a passphrase once the host has said that the key would do.
pub(super) struct Hand<'a> {
    pub(super) host: &'a HostConfig,
    pub(super) asker: &'a Asker,
    pub(super) notes: &'a Mutex<Notes>,
    pub(super) half: Half,
}

/// Why there is no signature.
pub(super) enum Unsigned {
    /// The connection is gone.
    Lost,
    /// The key cannot be used.
    Locked,
    /// The person would not be asked.
    Declined,
    /// What the library says.
    Key(String),
}

impl From<SendError> for Unsigned {
    fn from(_: SendError) -> Self {
        Self::Lost
    }
}

impl Signer for Hand<'_> {
    type Error = Unsigned;

    async fn auth_sign(
        &mut self,
        _: &AgentIdentity,
        hash: Option<HashAlg>,
        mut to_sign: Vec<u8>,
    ) -> Result<Vec<u8>, Unsigned> {
        let key = match &self.half {
            Half::File(key) => key.clone(),
            Half::Locked(locked) => match open(self.host, self.asker, locked).await {
                Opened::Key(key) => {
                    self.half = Half::File(key.clone());
                    key
                }
                Opened::No => return Err(Unsigned::Locked),
                Opened::Declined => return Err(Unsigned::Declined),
            },
            Half::Agent => return Err(Unsigned::Key("the agent has it".to_owned())),
        };
        let trouble = |e: &dyn std::fmt::Display| Unsigned::Key(clean(&e.to_string(), 120));
        let signature = match key.key_data() {
            KeypairData::Rsa(rsa) => (rsa, hash).try_sign(&to_sign),
            other => other.try_sign(&to_sign),
        };
        let signature = signature.map_err(|e| trouble(&e))?;
        let mut encoded = Vec::new();
        signature.encode(&mut encoded).map_err(|e| trouble(&e))?;
        encoded.encode(&mut to_sign).map_err(|e| trouble(&e))?;
        if let Ok(mut notes) = self.notes.lock() {
            (notes.offered, notes.after) = (true, None);
        }
        Ok(to_sign)
    }
}

fn suffixed(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

async fn read_text(path: &Path) -> Option<Zeroizing<String>> {
    let meta = tokio::fs::metadata(path).await.ok()?;
    if !meta.is_file() || meta.len() > MAX_FILE {
        return None;
    }
    tokio::fs::read_to_string(path).await.ok().map(Zeroizing::new)
}

/// Whether a private key's text, of a format other than OpenSSH's own, says that it is under a passphrase.
fn says_locked(text: &str) -> bool {
    text.lines().any(|line| {
        let line = line.trim();
        line == "-----BEGIN ENCRYPTED PRIVATE KEY-----"
            || (line.starts_with("Proc-Type:") && line.contains("ENCRYPTED"))
            || (line.starts_with("Encryption:") && text.starts_with("PuTTY-") && !line.ends_with(" none"))
    })
}

/// Reads one IdentityFile: `None` where there is nothing to use (missing files are normal).
async fn read_identity(path: &Path, remarks: &mut Remarks) -> Option<Identity> {
    let beside = |text: Option<Zeroizing<String>>| text.and_then(|t| PublicKey::from_openssh(t.trim()).ok());
    let public_file = beside(read_text(&suffixed(path, ".pub")).await);
    let found = |public, half| Some(Identity { path: path.to_owned(), public, half });
    let meta = match tokio::fs::metadata(path).await {
        Ok(meta) => meta,
        // The private half may live in the agent only (or on a card), with just the .pub beside.
        Err(_) => return public_file.and_then(|public| found(Some(public), PrivateHalf::Elsewhere)),
    };
    let Some(text) = read_text(path).await else {
        remarks.others.push(format!("{} cannot be read", path.display()));
        return None;
    };
    if let Ok(public) = PublicKey::from_openssh(text.trim()) {
        return found(Some(public), PrivateHalf::Elsewhere);
    }
    // As ssh: a private key that others can read is not used.
    if meta.uid() == rustix::process::getuid().as_raw() && meta.mode() & 0o077 != 0 {
        remarks.others.push(format!(
            "{} is readable by others: run `chmod 600 {}`",
            path.display(),
            path.display()
        ));
        return None;
    }
    let locked = Arc::new(Locked { path: path.to_owned(), text });
    let locked_text = locked.clone();
    // Off this thread: a key in an old format may cost a key derivation.
    let parsed = tokio::task::spawn_blocking(move || {
        let text = &locked_text.text;
        let sealed = PrivateKey::from_openssh(text.as_bytes()).ok();
        let key = match &sealed {
            Some(key) if key.is_encrypted() => None,
            Some(key) => Some(Ok(key.clone())),
            None if says_locked(text) => None,
            None => Some(::russh::keys::decode_secret_key(text, None)),
        };
        (sealed.map(|k| k.public_key().clone()), key)
    })
    .await;
    let (public, key) = parsed.ok()?;
    match key {
        // A key held by hardware has only a handle here: the agent signs with it, or the system's ssh.
        Some(Ok(key)) if key.algorithm().as_str().starts_with("sk-") => {
            remarks.others.push(format!(
                "{} is on a security key: run `ssh-add {}`, or set transport = \"openssh\"",
                path.display(),
                path.display()
            ));
            None
        }
        Some(Ok(key)) => {
            let public = Some(key.public_key().clone());
            found(public, PrivateHalf::Read(Arc::new(key)))
        }
        Some(Err(::russh::keys::Error::KeyIsEncrypted)) | None => {
            found(public.or(public_file), PrivateHalf::Locked(locked))
        }
        Some(Err(e)) => {
            remarks.others.push(format!(
                "{} is no usable key ({})",
                path.display(),
                clean(&e.to_string(), 80)
            ));
            None
        }
    }
}
