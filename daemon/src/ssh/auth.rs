//! Logging in with what is at hand: certificates, the ssh-agent, key files. Nothing here asks a person.
//!
//! The order is OpenSSH's: certificates, then agent keys that an IdentityFile names, then other agent keys (unless
//! IdentitiesOnly), then keys that only a file has. What could not be used, and why, is remembered for the one line
//! that says what a person has to do. Keys, passphrases and signatures are never logged.
//!
//! Room is left for asking: [`log_in`] ends in [`Failure::NeedsLogin`] exactly where a question would go, with the
//! methods the host still accepts in hand.

use std::{
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use ::russh::{
    AgentAuthError, MethodKind, MethodSet, Signer,
    client::{AuthResult, Handle, Handler},
    keys::{
        Certificate, HashAlg, PrivateKey, PrivateKeyWithHashAlg, PublicKey,
        agent::{AgentIdentity, client::AgentClient},
    },
};
use tokio::{net::UnixStream, time::timeout};

use super::{Failure, clean, config::HostConfig};
use crate::asking::AGENT;

/// Keys offered in one login. Hosts usually cut after six.
const MAX_OFFERS: usize = 16;
/// Identities taken from an agent.
const MAX_AGENT_KEYS: usize = 256;
/// The largest key or certificate file, in bytes.
const MAX_KEY_FILE: u64 = 1 << 20;
/// How long the agent may take to answer and list its keys. Signing may wait for a touch and has the login's bound.
const AGENT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a connection that ended may take to say why.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What the connection heard beside the protocol proper; the handler writes it, failures quote it.
#[derive(Debug, Default)]
pub(super) struct Notes {
    /// The banner sent before login, cleaned.
    pub(super) banner: Option<String>,
    /// The host's own goodbye, cleaned.
    pub(super) goodbye: Option<String>,
    /// Whether the host left no method to log in by.
    pub(super) no_method: bool,
    /// Why the connection broke.
    pub(super) broken: Option<String>,
    /// What the host did that made us hang up.
    pub(super) fault: Option<String>,
    /// The cipher in use.
    pub(super) cipher: Option<String>,
    /// The ssh-agent was asked for a signature and has not answered: it may wait for a touch or a confirmation.
    pub(super) signing: bool,
}

/// One thing to try.
enum Offer {
    AgentKey(PublicKey),
    AgentCertificate(Certificate),
    FileKey(Arc<PrivateKey>),
    FileCertificate(Arc<PrivateKey>, Certificate),
}

/// A key file as it was found.
struct Identity {
    path: PathBuf,
    /// Its public half, if anything tells.
    public: Option<PublicKey>,
    /// Its private half, if it needs no passphrase.
    private: Option<Arc<PrivateKey>>,
    /// There is no private half in the file: it may live in the agent only, or on a card.
    elsewhere: bool,
}

/// What kept the login from working, for the message.
#[derive(Default)]
struct Remarks {
    offered: usize,
    /// The agent that is wanted does not answer, or has no key.
    no_agent: bool,
    locked: Vec<PathBuf>,
    others: Vec<String>,
}

/// Logs in on a connection whose host key was accepted.
///
/// # Errors
/// `NeedsLogin` when the host refuses everything at hand, `Unreachable` when the connection breaks meanwhile.
pub(super) async fn log_in<H: Handler>(
    handle: &mut Handle<H>,
    host: &HostConfig,
    notes: &Mutex<Notes>,
) -> Result<(), Failure> {
    let mut remarks = Remarks::default();
    // Asking with no key at all is how a client learns what the host accepts.
    let first = handle.authenticate_none(&host.user).await;
    let mut methods = match outcome(first, host, notes, &remarks).await? {
        None => return Ok(()),
        Some(methods) => methods,
    };
    if host.pubkey && methods.contains(&MethodKind::PublicKey) {
        let mut agent = connect_agent(handle, host, &mut remarks).await;
        let listed = match &mut agent {
            Some(agent) => list(agent, &mut remarks).await,
            None => Vec::new(),
        };
        let offers = gather(host, listed, &mut remarks).await;
        let mut rsa_hash: Option<Option<HashAlg>> = None;
        for offer in offers.into_iter().take(MAX_OFFERS) {
            let is_rsa = match &offer {
                Offer::AgentKey(k) => k.algorithm().is_rsa(),
                Offer::AgentCertificate(c) => c.algorithm().is_rsa(),
                Offer::FileKey(k) | Offer::FileCertificate(k, _) => k.algorithm().is_rsa(),
            };
            let hash = if is_rsa {
                if rsa_hash.is_none() {
                    // A host that does not say gets the strong one; plain ssh-rsa is SHA-1, which OpenSSH dropped too.
                    let says = handle.best_supported_rsa_hash().await.ok().flatten().flatten();
                    rsa_hash = Some(Some(says.unwrap_or(HashAlg::Sha512)));
                }
                rsa_hash.flatten()
            } else {
                None
            };
            remarks.offered += 1;
            let mut signer = agent.as_mut().map(|agent| Signing { agent, notes });
            let answer = match (offer, &mut signer) {
                (Offer::FileKey(key), _) => {
                    handle.authenticate_publickey(&host.user, PrivateKeyWithHashAlg::new(key, hash)).await
                }
                (Offer::FileCertificate(key, certificate), _) => {
                    handle.authenticate_openssh_cert(&host.user, key, certificate).await
                }
                (Offer::AgentKey(key), Some(signer)) => {
                    match handle.authenticate_publickey_with(&host.user, key, hash, signer).await {
                        Ok(answer) => Ok(answer),
                        Err(e) => Err(agent_refused(e, &mut remarks)),
                    }
                }
                (Offer::AgentCertificate(certificate), Some(signer)) => {
                    match handle.authenticate_certificate_with(&host.user, certificate, hash, signer).await {
                        Ok(answer) => Ok(answer),
                        Err(e) => Err(agent_refused(e, &mut remarks)),
                    }
                }
                (Offer::AgentKey(_) | Offer::AgentCertificate(_), None) => continue,
            };
            // An agent that would not sign is no answer of the host: on to the next key.
            if matches!(answer, Err(::russh::Error::RequestDenied)) {
                continue;
            }
            methods = match outcome(answer, host, notes, &remarks).await? {
                None => return Ok(()),
                Some(methods) => methods,
            };
            if !methods.contains(&MethodKind::PublicKey) {
                break;
            }
        }
    } else if !host.pubkey {
        remarks.others.push("PubkeyAuthentication is off in the ssh config".to_owned());
    }
    Err(needs_login(host, &methods, false, notes, &remarks))
}

/// The agent as a signer; while it is asked, the notes say so.
struct Signing<'a> {
    agent: &'a mut AgentClient<UnixStream>,
    notes: &'a Mutex<Notes>,
}

impl Signing<'_> {
    fn note(&self, signing: bool) {
        if let Ok(mut notes) = self.notes.lock() {
            notes.signing = signing;
        }
    }
}

impl Signer for Signing<'_> {
    type Error = AgentAuthError;

    async fn auth_sign(
        &mut self,
        key: &AgentIdentity,
        hash: Option<HashAlg>,
        to_sign: Vec<u8>,
    ) -> Result<Vec<u8>, AgentAuthError> {
        self.note(true);
        let signed = self.agent.auth_sign(key, hash, to_sign).await;
        self.note(false);
        signed
    }
}

/// The login took too long. A signature that nobody gave is asked for again only when a person asks again.
pub(super) fn not_finished(host: &HostConfig, notes: &Mutex<Notes>, limit: Duration) -> Failure {
    let within = humantime::format_duration(limit);
    if notes.lock().is_ok_and(|notes| notes.signing) {
        return Failure::NeedsLogin {
            host: host.name(),
            detail: format!(
                "the ssh-agent did not sign within {within}: it may wait for a touch or a confirmation of its key"
            ),
        };
    }
    Failure::Unreachable { host: host.name(), detail: format!("the login was not finished within {within}") }
}

/// Whether the ssh-agent at `socket` answers and has a key.
pub async fn agent_has_keys(socket: &Path) -> bool {
    let look = async {
        let mut agent = AgentClient::connect_uds(socket).await.ok()?;
        agent.request_identities().await.ok()
    };
    matches!(timeout(AGENT_TIMEOUT, look).await, Ok(Some(keys)) if !keys.is_empty())
}

/// A signer that failed: a lost connection stays one, everything else is the agent's refusal.
fn agent_refused(e: AgentAuthError, remarks: &mut Remarks) -> ::russh::Error {
    match e {
        AgentAuthError::Send(_) => ::russh::Error::SendError,
        AgentAuthError::Key(e) => {
            remarks.others.push(format!("the ssh-agent would not sign ({})", clean(&e.to_string(), 80)));
            ::russh::Error::RequestDenied
        }
    }
}

/// Logged in (`None`), refused with what is left to try, or an end.
async fn outcome(
    answer: Result<AuthResult, ::russh::Error>,
    host: &HostConfig,
    notes: &Mutex<Notes>,
    remarks: &Remarks,
) -> Result<Option<MethodSet>, Failure> {
    match answer {
        Ok(AuthResult::Success) => Ok(None),
        Ok(AuthResult::Failure { remaining_methods, partial_success: true }) => {
            Err(needs_login(host, &remaining_methods, true, notes, remarks))
        }
        Ok(AuthResult::Failure { remaining_methods, .. }) if !remaining_methods.is_empty() => {
            Ok(Some(remaining_methods))
        }
        // No method left, or the connection ended: what it said last, noted a moment later, tells which.
        Ok(AuthResult::Failure { .. }) | Err(_) => {
            let heard = || {
                notes
                    .lock()
                    .ok()
                    .map(|n| (n.goodbye.clone(), n.no_method, n.broken.is_some()))
                    .unwrap_or_default()
            };
            let mut last = heard();
            for _ in 0..LAST_WORDS.as_millis() / 10 {
                if last.0.is_some() || last.2 {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
                last = heard();
            }
            match (last, answer) {
                ((Some(said), ..), _) => Err(Failure::NeedsLogin {
                    host: host.name(),
                    detail: format!(
                        "it ended the login after {} ({said}); if the ssh-agent holds many keys, set `IdentityFile` and \
                         `IdentitiesOnly yes` for it in the ssh config",
                        plural(remarks.offered, "key")
                    ),
                }),
                ((None, true, _), _) => Err(Failure::NeedsLogin {
                    host: host.name(),
                    detail: format!("it leaves user {} no way to log in", clean(&host.user, 64)),
                }),
                (_, Err(e)) => Err(Failure::Unreachable {
                    host: host.name(),
                    detail: format!("the connection broke during the login ({})", clean(&e.to_string(), 120)),
                }),
                (_, Ok(_)) => Err(Failure::Unreachable {
                    host: host.name(),
                    detail: "the connection broke during the login".to_owned(),
                }),
            }
        }
    }
}

/// The one line for a person: what the host wants, and the nearest thing that would help.
fn needs_login(
    host: &HostConfig,
    methods: &MethodSet,
    partial: bool,
    notes: &Mutex<Notes>,
    remarks: &Remarks,
) -> Failure {
    let wants = methods.iter().map(String::from).collect::<Vec<_>>().join(", ");
    let mut detail = if partial {
        format!("the key is right, but it also wants {wants}")
    } else if !methods.contains(&MethodKind::PublicKey) {
        format!("it accepts only {}", if wants.is_empty() { "methods unknown here" } else { &wants })
    } else if remarks.offered == 0 {
        "there is no key to offer".to_owned()
    } else {
        format!("it refused {} for user {}", plural(remarks.offered, "key"), clean(&host.user, 64))
    };
    if let Some(locked) = remarks.locked.first() {
        detail.push_str(&format!(
            "; {} needs its passphrase: run `ssh-add {}`",
            locked.display(),
            locked.display()
        ));
    }
    for remark in remarks.others.iter().take(3) {
        detail.push_str("; ");
        detail.push_str(remark);
    }
    if let Some(banner) = notes.lock().ok().and_then(|n| n.banner.clone()) {
        detail.push_str(&format!("; it says: {banner}"));
    }
    if remarks.no_agent && !partial && methods.contains(&MethodKind::PublicKey) {
        return no_agent(host, detail);
    }
    if remarks.locked.is_empty() {
        detail.push_str(&format!("; see what `ssh {}` asks for", host.name()));
    }
    Failure::NeedsLogin { host: host.name(), detail }
}

/// The agent that `host` wants is not there, or has no key.
pub(super) fn no_agent(host: &HostConfig, detail: String) -> Failure {
    let any = host.agent_variable.as_deref() == Some(AGENT);
    Failure::NoAgent { host: host.name(), detail, socket: host.identity_agent.clone(), any }
}

fn plural(n: usize, word: &str) -> String {
    if n == 1 { format!("1 {word}") } else { format!("{n} {word}s") }
}

async fn connect_agent<H: Handler>(
    handle: &Handle<H>,
    host: &HostConfig,
    remarks: &mut Remarks,
) -> Option<AgentClient<UnixStream>> {
    let Some(socket) = host.identity_agent.as_ref() else {
        if let Some(variable) = &host.agent_variable {
            remarks.no_agent = variable == AGENT;
            remarks.others.push(format!(
                "there is no ssh-agent: {} is not set where this was asked from",
                clean(variable, 80)
            ));
        }
        return None;
    };
    let mut agent = match timeout(AGENT_TIMEOUT, AgentClient::connect_uds(socket)).await {
        Ok(Ok(agent)) => agent,
        Ok(Err(_)) | Err(_) => {
            remarks.no_agent = true;
            remarks.others.push(format!("the ssh-agent at {} does not answer", socket.display()));
            return None;
        }
    };
    // Lets the agent apply its destination constraints; agents without them say no, which does not matter.
    if let Some(binding) = handle.agent_session_binding() {
        timeout(AGENT_TIMEOUT, agent.bind_session(binding, false)).await.ok();
    }
    Some(agent)
}

async fn list(agent: &mut AgentClient<UnixStream>, remarks: &mut Remarks) -> Vec<AgentIdentity> {
    match timeout(AGENT_TIMEOUT, agent.request_identities()).await {
        Ok(Ok(mut list)) => {
            if list.is_empty() {
                remarks.no_agent = true;
                remarks.others.push("the ssh-agent has no key".to_owned());
            }
            list.truncate(MAX_AGENT_KEYS);
            list
        }
        Ok(Err(_)) | Err(_) => {
            remarks.no_agent = true;
            remarks.others.push("the ssh-agent does not list its keys".to_owned());
            Vec::new()
        }
    }
}

/// Everything worth trying, in order, nothing twice.
async fn gather(host: &HostConfig, listed: Vec<AgentIdentity>, remarks: &mut Remarks) -> Vec<Offer> {
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

    for identity in &listed {
        match identity {
            AgentIdentity::PublicKey { key, .. } => plain.push(key.clone()),
            AgentIdentity::Certificate { certificate, .. } => {
                if !host.identities_only || named(&PublicKey::new(certificate.public_key().clone(), "")) {
                    offers.push(Offer::AgentCertificate(certificate.clone()));
                }
            }
        }
    }
    for certificate in certificates {
        let of = |key: &PublicKey| key.key_data() == certificate.public_key();
        if let Some(private) =
            identities.iter().filter_map(|i| i.private.as_ref()).find(|k| of(k.public_key()))
        {
            offers.push(Offer::FileCertificate(private.clone(), certificate));
        } else if plain.iter().any(of) {
            offers.push(Offer::AgentCertificate(certificate));
        }
    }
    // Agent keys in the order of the files that name them, then the rest.
    for identity in &identities {
        if let Some(public) = &identity.public
            && plain.iter().any(|k| k.key_data() == public.key_data())
        {
            offers.push(Offer::AgentKey(public.clone()));
        }
    }
    if !host.identities_only {
        offers.extend(plain.iter().filter(|k| !named(k)).cloned().map(Offer::AgentKey));
    }
    let in_agent =
        |i: &Identity| i.public.as_ref().is_some_and(|p| plain.iter().any(|k| k.key_data() == p.key_data()));
    for identity in identities.iter().filter(|i| !in_agent(i)) {
        match &identity.private {
            Some(key) => offers.push(Offer::FileKey(key.clone())),
            None if identity.elsewhere => remarks.others.push(format!(
                "of {} only the public half is here, and the ssh-agent does not have it",
                identity.path.display()
            )),
            None => remarks.locked.push(identity.path.clone()),
        }
    }
    offers
}

fn suffixed(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

async fn read_text(path: &Path) -> Option<String> {
    let meta = tokio::fs::metadata(path).await.ok()?;
    if !meta.is_file() || meta.len() > MAX_KEY_FILE {
        return None;
    }
    tokio::fs::read_to_string(path).await.ok()
}

/// Reads one IdentityFile: `None` where there is nothing to use (missing files are normal).
async fn read_identity(path: &Path, remarks: &mut Remarks) -> Option<Identity> {
    let beside = |text: Option<String>| text.and_then(|t| PublicKey::from_openssh(t.trim()).ok());
    let public_file = beside(read_text(&suffixed(path, ".pub")).await);
    let meta = match tokio::fs::metadata(path).await {
        Ok(meta) => meta,
        // The private half may live in the agent only (or on a card), with just the .pub beside.
        Err(_) => {
            return public_file.map(|public| Identity {
                path: path.to_owned(),
                public: Some(public),
                private: None,
                elsewhere: true,
            });
        }
    };
    let Some(text) = read_text(path).await else {
        remarks.others.push(format!("{} cannot be read", path.display()));
        return None;
    };
    if let Ok(public) = PublicKey::from_openssh(text.trim()) {
        let public = Some(public);
        return Some(Identity { path: path.to_owned(), public, private: None, elsewhere: true });
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
    // Off this thread: a key in an old format may cost a key derivation.
    let parsed = tokio::task::spawn_blocking(move || {
        let sealed = PrivateKey::from_openssh(text.as_bytes()).ok();
        let key = match &sealed {
            Some(key) if key.is_encrypted() => None,
            Some(key) => Some(Ok(key.clone())),
            None => Some(::russh::keys::decode_secret_key(&text, None)),
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
            let private = Some(Arc::new(key));
            Some(Identity { path: path.to_owned(), public, private, elsewhere: false })
        }
        Some(Err(::russh::keys::Error::KeyIsEncrypted)) | None => {
            let public = public.or(public_file);
            Some(Identity { path: path.to_owned(), public, private: None, elsewhere: false })
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
