//! Logging in: certificates, the ssh-agent, key files, then what a person is asked for.
//!
//! The ways are those that the config wants, in its order; within keys the order is OpenSSH's: certificates, then agent keys
//! that an IdentityFile names, then other agent keys (unless IdentitiesOnly), then keys that only a file has. A host that
//! took one and wants more is given more. What could not be used, and why, is remembered for the one line that says what
//! a person has to do. Keys, passphrases, answers and signatures are never logged and never kept.
//!
//! With nobody to ask, a question is as good as refused: [`log_in`] ends in [`Failure::NeedsLogin`]. So it does when a
//! question was left open until the host hung up: it is not asked again without a person.

mod agent;
mod keys;

use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use ::russh::{
    MethodKind, MethodSet,
    client::{AuthResult, Handle, Handler, KeyboardInteractiveAuthResponse as Reply},
    keys::{Algorithm, HashAlg},
};
use tokio::sync::Notify;

pub use agent::agent_has_keys;
use agent::{Agent, Signing};
use keys::{Half, Hand, Offer, Unsigned};

use super::{
    Failure, Refusal, clean,
    config::HostConfig,
    prompt::{self, Answer, Asker},
};
use sessd_base::asking::AGENT;

/// Keys offered in one login. Hosts usually cut after six.
const MAX_OFFERS: usize = 16;
/// Rounds of questions in one go, and questions of one round.
const MAX_ROUNDS: usize = 32;
const MAX_QUESTIONS: usize = 16;
/// How long the agent may take to answer and list its keys. Signing may wait for a touch and has the login's bound.
const AGENT_TIMEOUT: Duration = Duration::from_secs(5);
/// How often it is looked whether a host is still there while somebody is asked.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// How long a connection that ended may take to say why.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What the connection heard beside the protocol proper; the handler writes it, failures quote it.
#[derive(Debug, Default)]
pub(super) struct Notes {
    /// The banner sent before login, cleaned, one line.
    pub(super) banner: Option<String>,
    /// The same as it is shown to a person who is asked.
    pub(super) shown: Option<String>,
    /// The host's own goodbye, cleaned.
    pub(super) goodbye: Option<String>,
    /// Whether the host left no method to log in by.
    pub(super) no_method: bool,
    /// Why the connection broke.
    pub(super) broken: Option<String>,
    /// What the host did that made us hang up.
    pub(super) fault: Option<String>,
    /// The host shows another key than the one on file, and the config wants to go on.
    pub(super) changed: bool,
    /// The cipher in use.
    pub(super) cipher: Option<String>,
    /// The ssh-agent was asked for a signature and has not answered: it may wait for a touch or a confirmation.
    pub(super) signing: bool,
    /// A signature took as long as a person does.
    pub(super) touched: bool,
    /// A key was signed with, and the host has not answered.
    pub(super) offered: bool,
    /// What the host said since.
    pub(super) after: Option<String>,
    /// The host said that it is an ssh server.
    pub(super) is_ssh: bool,
    /// What it said before that, cleaned, one line.
    pub(super) before: String,
    /// Comes when the connection ends.
    pub(super) ended: Arc<Notify>,
}

/// What kept the login from working, for the message.
#[derive(Default)]
struct Remarks {
    offered: usize,
    /// The agent that is wanted does not answer, or has no key.
    no_agent: bool,
    /// Something was asked of a person, who would not answer.
    declined: bool,
    /// There was something to ask, and nobody.
    unasked: bool,
    /// What was asked and answered, and refused by the host.
    refused: Vec<&'static str>,
    locked: Vec<PathBuf>,
    others: Vec<String>,
}

/// How far one way to log in has led.
enum Went {
    In,
    /// The host took it and wants more.
    Partly(MethodSet),
    /// There is nothing more to try by it.
    Nowhere(MethodSet),
}

/// Logs in on a connection whose host key was accepted.
///
/// # Errors
/// `NeedsLogin` when the host refuses everything at hand, `Unreachable` when the connection breaks meanwhile.
pub(super) async fn log_in<H: Handler>(
    handle: &mut Handle<H>,
    host: &HostConfig,
    notes: &Mutex<Notes>,
    asker: &Asker,
) -> Result<(), Refusal> {
    let ended = notes.lock().map(|n| n.ended.clone()).unwrap_or_default();
    let mut login = Login { host, notes, asker, remarks: Remarks::default(), asked: [0; 2], rsa: None };
    let walked = tokio::select! {
        biased;
        walked = login.walk(handle) => walked,
        // Somebody is asked and the host has hung up: nothing that is answered now gets there.
        () = unanswered(&ended, asker) => Err(Failure::NeedsLogin {
            host: host.name(),
            detail: "it ended the connection before its question was answered".to_owned(),
        }),
    };
    match walked {
        Ok(None) => {
            asker.stands_on(None);
            Ok(())
        }
        Ok(Some((methods, partial))) => {
            let system = methods.contains(&MethodKind::GssapiWithMic)
                && host.policy.methods.iter().any(|m| m == "gssapi-with-mic")
                && has_ticket(host);
            let failure = needs_login(host, &methods, partial, notes, &login.remarks);
            Err(Refusal { failure, system })
        }
        Err(failure) => Err(failure.into()),
    }
}

/// Comes when the connection has ended while somebody is asked.
async fn unanswered(ended: &Notify, asker: &Asker) {
    let mut over = false;
    loop {
        // The library reads nothing while it waits for a signature; so its socket is looked at, too.
        over |= tokio::time::timeout(LOOK_AGAIN, ended.notified()).await.is_ok();
        if asker.is_asking() && (over || asker.hung_up()) {
            return;
        }
    }
}

/// Whether there may be a Kerberos ticket: where none is, nobody need try.
fn has_ticket(host: &HostConfig) -> bool {
    let cache = host.environment.variables.get("KRB5CCNAME").filter(|v| !v.is_empty());
    match cache.map(|c| c.strip_prefix("FILE:").unwrap_or(c)) {
        Some(file) if file.starts_with('/') => std::path::Path::new(file).exists(),
        Some(_) => true,
        None => {
            let file = format!("/tmp/krb5cc_{}", rustix::process::getuid().as_raw());
            std::path::Path::new(&file).exists()
        }
    }
}

struct Login<'a> {
    host: &'a HostConfig,
    notes: &'a Mutex<Notes>,
    asker: &'a Asker,
    remarks: Remarks,
    /// How often was asked so far: keyboard-interactive, and for the password.
    asked: [u32; 2],
    /// What the host says of RSA signatures, once it was asked: nothing, or the best that it has.
    rsa: Option<Option<Option<HashAlg>>>,
}

impl Login<'_> {
    /// Tries one way after the other. `None`: in; otherwise what the host would still take, and whether it took something.
    async fn walk<H: Handler>(
        &mut self,
        handle: &mut Handle<H>,
    ) -> Result<Option<(MethodSet, bool)>, Failure> {
        // Asking with nothing at all is how a client learns what the host accepts.
        let first = handle.authenticate_none(&self.host.user).await;
        let mut methods = match self.outcome(first).await? {
            Went::In => return Ok(None),
            Went::Partly(methods) | Went::Nowhere(methods) => methods,
        };
        let mut partial = false;
        let mut again = true;
        while std::mem::take(&mut again) {
            for name in self.host.policy.methods.clone() {
                let went = match name.as_str() {
                    "publickey" if methods.contains(&MethodKind::PublicKey) => {
                        self.keys(handle, methods.clone()).await?
                    }
                    "keyboard-interactive" if methods.contains(&MethodKind::KeyboardInteractive) => {
                        self.interactive(handle, methods.clone()).await?
                    }
                    "password" if methods.contains(&MethodKind::Password) => {
                        self.password(handle, methods.clone()).await?
                    }
                    _ => continue,
                };
                if self.remarks.declined {
                    return Ok(Some((methods, partial)));
                }
                match went {
                    Went::In => return Ok(None),
                    Went::Partly(more) => {
                        // From the beginning, with all keys but those that the host has taken: it refuses them itself.
                        (methods, partial, again) = (more, true, true);
                        break;
                    }
                    Went::Nowhere(left) => methods = left,
                }
            }
        }
        if !self.host.pubkey && methods.contains(&MethodKind::PublicKey) {
            self.remarks.others.push("PubkeyAuthentication is off in the ssh config".to_owned());
        }
        Ok(Some((methods, partial)))
    }

    /// Offers keys until one is taken.
    async fn keys<H: Handler>(
        &mut self,
        handle: &mut Handle<H>,
        mut methods: MethodSet,
    ) -> Result<Went, Failure> {
        let (mut agent, listed) = match agent::connect(handle, self.host, &mut self.remarks).await {
            Some((agent, listed)) => (Some(agent), listed),
            None => (None, Vec::new()),
        };
        let asker = Some(self.asker).filter(|asker| asker.may_ask(self.host));
        let offers = keys::gather(self.host, listed, asker, &mut self.remarks).await;
        for offer in offers.into_iter().take(MAX_OFFERS) {
            let Some(hash) = self.hash(handle, &offer).await else { continue };
            self.remarks.offered += 1;
            let Some(answer) = self.offer(handle, offer, hash, agent.as_mut()).await else {
                if self.remarks.declined {
                    break;
                }
                continue;
            };
            methods = match self.outcome(answer).await? {
                Went::Nowhere(methods) => methods,
                went => return Ok(went),
            };
            if !methods.contains(&MethodKind::PublicKey) {
                break;
            }
        }
        Ok(Went::Nowhere(methods))
    }

    /// The hash to sign with: of RSA keys the first that config and host have; `None`: there is none.
    async fn hash<H: Handler>(&mut self, handle: &Handle<H>, offer: &Offer) -> Option<Option<HashAlg>> {
        if !matches!(offer.algorithm(), Algorithm::Rsa { .. }) {
            return Some(None);
        }
        let says = match self.rsa {
            Some(says) => says,
            None => handle.best_supported_rsa_hash().await.ok().flatten(),
        };
        self.rsa = Some(says);
        let ours = keys::hashes(self.host, offer.certificate.is_some());
        match says {
            // A host that says nothing is an old one: what the config names for it, or the strongest.
            None => ours.iter().find(|hash| hash.is_none()).or(ours.first()).copied(),
            Some(None) => ours.into_iter().find(Option::is_none),
            Some(Some(best)) => ours.iter().find(|h| **h == Some(best)).or(ours.first()).copied(),
        }
    }

    /// Offers one key. `None`: it could not be signed with, which is no answer of the host.
    async fn offer<H: Handler>(
        &mut self,
        handle: &mut Handle<H>,
        offer: Offer,
        hash: Option<HashAlg>,
        agent: Option<&mut Agent>,
    ) -> Option<Result<AuthResult, ::russh::Error>> {
        let user = &self.host.user;
        if let Ok(mut notes) = self.notes.lock() {
            notes.offered = false;
        }
        if matches!(offer.half, Half::Agent) {
            let mut signer = Signing { agent: agent?, notes: self.notes };
            let answer = match offer.certificate {
                Some(c) => handle.authenticate_certificate_with(user, c, hash, &mut signer).await,
                None => handle.authenticate_publickey_with(user, offer.public, hash, &mut signer).await,
            };
            return match answer.map_err(|e| agent::refused(e, &mut self.remarks)) {
                // An agent that would not sign is no answer of the host: on to the next key.
                Err(::russh::Error::RequestDenied) => None,
                answer => Some(answer),
            };
        }
        let mut signer =
            Hand { host: self.host, asker: self.asker, notes: self.notes, half: offer.half.clone() };
        let answer = match offer.certificate {
            Some(c) => handle.authenticate_certificate_with(user, c, hash, &mut signer).await,
            None => handle.authenticate_publickey_with(user, offer.public, hash, &mut signer).await,
        };
        match answer {
            Ok(answer) => Some(Ok(answer)),
            Err(Unsigned::Lost) => Some(Err(::russh::Error::SendError)),
            Err(unsigned) => {
                match (unsigned, offer.half) {
                    (Unsigned::Declined, _) => self.remarks.declined = true,
                    (Unsigned::Key(why), _) => {
                        self.remarks.others.push(format!("a key cannot be signed with ({why})"));
                    }
                    (_, Half::Locked(locked)) => self.remarks.locked.push(locked.path.clone()),
                    _ => {}
                }
                None
            }
        }
    }

    /// Whether a secret may be asked for and sent there.
    fn may_ask(&mut self) -> bool {
        if self.notes.lock().is_ok_and(|n| n.changed) {
            self.remarks.others.push(
                "its key has changed, so that no password is sent there (StrictHostKeyChecking is off)"
                    .to_owned(),
            );
            return false;
        }
        let may = self.asker.may_ask(self.host);
        self.remarks.unasked |= !may;
        may
    }

    /// What the host said before, to be shown with its first question.
    fn banner(&self) -> String {
        self.notes.lock().ok().and_then(|mut n| n.shown.take()).unwrap_or_default()
    }

    async fn password<H: Handler>(
        &mut self,
        handle: &mut Handle<H>,
        mut methods: MethodSet,
    ) -> Result<Went, Failure> {
        if !self.may_ask() {
            return Ok(Went::Nowhere(methods));
        }
        let prompt =
            format!("{}@{}'s password: ", clean(&self.host.user, 64), clean(&self.host.hostname, 200));
        while self.asked[1] < self.host.policy.prompts && methods.contains(&MethodKind::Password) {
            let mut text = self.banner();
            if self.asked[1] > 0 {
                add_line(&mut text, "Permission denied, please try again.");
            }
            self.asked[1] += 1;
            let given = match self.asker.ask(self.host, &text, &prompt, false).await {
                Answer::Given(given) => given,
                Answer::Declined | Answer::Nobody => {
                    self.remarks.declined = true;
                    break;
                }
            };
            // The library wipes its own.
            let answer = handle.authenticate_password(&self.host.user, given.as_str()).await;
            drop(given);
            methods = match self.outcome(answer).await? {
                Went::Nowhere(methods) => methods,
                went => return Ok(went),
            };
            self.remarks.refused.push("password");
        }
        Ok(Went::Nowhere(methods))
    }

    async fn interactive<H: Handler>(
        &mut self,
        handle: &mut Handle<H>,
        mut methods: MethodSet,
    ) -> Result<Went, Failure> {
        if !self.may_ask() {
            return Ok(Went::Nowhere(methods));
        }
        while self.asked[0] < self.host.policy.prompts && methods.contains(&MethodKind::KeyboardInteractive) {
            let again = self.asked[0] > 0;
            self.asked[0] += 1;
            let devices = self.host.policy.devices.clone();
            let mut reply =
                handle.authenticate_keyboard_interactive_start(&self.host.user, Some(devices)).await;
            let mut questions = 0;
            for _ in 0..MAX_ROUNDS {
                let Ok(Reply::InfoRequest { name, instructions, prompts }) = &reply else { break };
                let mut text = self.banner();
                if again && questions == 0 {
                    add_line(&mut text, "Permission denied, please try again.");
                }
                for part in [name, instructions] {
                    add_line(&mut text, &prompt::lines(part));
                }
                let mut given = Vec::new();
                for one in prompts.iter().take(MAX_QUESTIONS) {
                    questions += 1;
                    // As ssh: whose question it is, where the host is free to ask anything.
                    let asked = format!(
                        "({}@{}) {} ",
                        clean(&self.host.user, 64),
                        clean(&self.host.hostname, 200),
                        clean(&one.prompt, 400)
                    );
                    match self.asker.ask(self.host, &text, &asked, one.echo).await {
                        Answer::Given(answer) => given.push(answer),
                        Answer::Declined | Answer::Nobody => {
                            self.remarks.declined = true;
                            return Ok(Went::Nowhere(methods));
                        }
                    }
                    text.clear();
                }
                let answers = given.iter().map(|answer| answer.as_str().to_owned()).collect();
                reply = handle.authenticate_keyboard_interactive_respond(answers).await;
            }
            let answer = reply.map(|reply| match reply {
                Reply::Success => AuthResult::Success,
                Reply::Failure { remaining_methods, partial_success } => {
                    AuthResult::Failure { remaining_methods, partial_success }
                }
                // It asks without end.
                Reply::InfoRequest { .. } => {
                    AuthResult::Failure { remaining_methods: MethodSet::empty(), partial_success: false }
                }
            });
            methods = match self.outcome(answer).await? {
                Went::Nowhere(methods) => methods,
                went => return Ok(went),
            };
            if questions == 0 {
                // It has nothing to ask: asking again changes nothing.
                break;
            }
            self.remarks.refused.push("answer");
        }
        Ok(Went::Nowhere(methods))
    }

    /// In, refused with what is left to try, or an end.
    async fn outcome(&self, answer: Result<AuthResult, ::russh::Error>) -> Result<Went, Failure> {
        let (host, notes, remarks) = (self.host, self.notes, &self.remarks);
        match answer {
            Ok(AuthResult::Success) => Ok(Went::In),
            Ok(AuthResult::Failure { remaining_methods, partial_success })
                if !remaining_methods.is_empty() =>
            {
                Ok(if partial_success {
                    Went::Partly(remaining_methods)
                } else {
                    Went::Nowhere(remaining_methods)
                })
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
                let answered = self.asker.has_asked();
                let (offered, after) = notes.lock().map(|n| (n.offered, n.after.clone())).unwrap_or_default();
                match (last, answer) {
                    ((Some(said), ..), _) if answered => Err(Failure::NeedsLogin {
                        host: host.name(),
                        detail: format!("it ended the login ({said})"),
                    }),
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
                    _ if !answered && offered && after.as_deref().is_none_or(of_the_account) => {
                        let (host, user) = (host.name(), clean(&host.user, 64));
                        let hung_up =
                            format!("it hung up on user {user} when it had the key that it asked for");
                        Err(match after {
                            Some(said) => {
                                let detail = format!("{hung_up}; it says: {said}");
                                Failure::NeedsLogin { host, detail }
                            }
                            None => {
                                let detail = format!(
                                    "{hung_up}: the account may have expired, be locked or not be let in now"
                                );
                                Failure::Shut { host, detail }
                            }
                        })
                    }
                    (_, walked) => {
                        let mut detail = "the connection broke during the login".to_owned();
                        if let Err(e) = walked {
                            detail.push_str(&format!(" ({})", clean(&e.to_string(), 120)));
                        }
                        // It may have said why: that the account has expired, that nobody is let in today.
                        if let Some(banner) = notes.lock().ok().and_then(|n| n.banner.clone()) {
                            detail.push_str(&format!("; it says: {banner}"));
                        }
                        let host = host.name();
                        // Somebody has answered: trying again would ask again.
                        Err(if answered {
                            Failure::NeedsLogin { host, detail }
                        } else {
                            Failure::Unreachable { host, detail }
                        })
                    }
                }
            }
        }
    }
}

/// Does what a host says to who is logged in speak of the account, as PAM does, and not of the hour or of the host?
pub(super) fn of_the_account(said: &str) -> bool {
    const WORDS: [&str; 8] = [
        "expired",
        "locked",
        "disabled",
        "suspended",
        "denied",
        "not allowed",
        "not permitted",
        "administrator",
    ];
    let lower = said.to_lowercase();
    WORDS.iter().any(|word| lower.contains(word)) && !of_the_hour(said)
}

/// Does it speak of the hour: "System is booting up. Unprivileged users are not permitted to log in yet."?
pub(super) fn of_the_hour(said: &str) -> bool {
    const PASSES: [&str; 6] = ["boot", "shut", "going down", "yet", "maintenance", "try again"];
    let said = said.to_lowercase();
    PASSES.iter().any(|word| said.contains(word))
}

/// Adds a line to a text that may be empty.
fn add_line(text: &mut String, line: &str) {
    if !line.is_empty() {
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(line);
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

/// The one line for a person: what the host wants, and the nearest thing that would help.
fn needs_login(
    host: &HostConfig,
    methods: &MethodSet,
    partial: bool,
    notes: &Mutex<Notes>,
    remarks: &Remarks,
) -> Failure {
    let wants = methods.iter().map(String::from).collect::<Vec<_>>().join(", ");
    let mut detail = if remarks.declined {
        "its question was not answered".to_owned()
    } else if let Some(what) = remarks.refused.last() {
        format!("it refused the {what} for user {}", clean(&host.user, 64))
    } else if partial {
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
    if remarks.no_agent && !partial && !remarks.declined && methods.contains(&MethodKind::PublicKey) {
        return no_agent(host, detail);
    }
    if !remarks.unasked && !remarks.declined && remarks.locked.is_empty() {
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
