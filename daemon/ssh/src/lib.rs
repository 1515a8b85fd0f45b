//! The ssh rooms: from what a person typed as HOST to one byte stream that ends in our agent.
//!
//! ```text
//! "me@box"  Destination::parse            proto::docs::host
//!    |      HostConfig::resolve           config/        what `ssh -G` says, tokens expanded, jumps resolved
//!    |      Transport::dial               russh.rs       our own connection, one per host
//!    |                                    openssh.rs     the system's `ssh` over stdio; askpass.rs: what it asks
//!    |                                    own_first.rs   the first, and the second for what the first lacks
//!    |        preferred::preferred        preferred.rs   which algorithms are offered
//!    |        known_hosts::decide         known_hosts.rs is this the host it was?
//!    |        auth::log_in                auth/          agent, key files, certificates; what a person is asked for
//!    |          Prompter                  prompt.rs      questions, on their way to whoever can answer them
//!    |                                    here.rs        this machine: a shell of our own
//!    |      Connection::exec              stream.rs      one channel: reader, writer, tail of stderr, exit status
//!    v      bootstrap::start_agent        bootstrap/     find or install the agent, start it, skip the noise
//! ExecStream whose first byte is the agent's
//! ```
//!
//! Nothing here knows frames, sessions or views, or tries again; a person is asked through a [`Prompter`]: a dial ends in a
//! connection or in a [`Failure`], typed by who must act. Only `russh.rs`, `preferred.rs`, `auth` and `known_hosts.rs` name
//! the library's types.
//!
//! Every future is `Send` and none blocks: small files are read through `tokio::fs`, key derivation and file locks run
//! on the blocking pool. All text from the far side passes [`clean`] before it reaches a message.

use sessd_proto::docs::host::{BadHost, ssh_command};
use sessd_proto::docs::{Error, Kind};
use std::{future::Future, pin::Pin};

mod askpass;
mod auth;
pub mod bootstrap;
pub mod config;
pub mod here;
pub mod known_hosts;
pub mod openssh;
mod own_first;
mod preferred;
pub mod prompt;
pub mod russh;
mod stream;

#[cfg(test)]
mod as_ssh;
#[cfg(test)]
mod asked;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod testbed;
#[cfg(test)]
mod tests;

pub use auth::agent_has_keys;
pub use bootstrap::{AgentChannel, AgentImage, StartOptions, start_agent};
pub use config::{Environment, HostConfig};
pub use here::Here;
pub use openssh::OpensshTransport;
pub use own_first::OwnFirst;
pub use prompt::{Answer, Prompter, Question};
pub use russh::RusshTransport;
pub use sessd_proto::docs::host::Destination;
pub use sessd_proto::docs::text::clean;
pub use stream::{ExecReader, ExecStream, ExecWriter, Exit, STDERR_TAIL};

/// A boxed future, as the object-safe traits of this module return it.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The keys that known_hosts has for a host that shows another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnFile {
    /// Their types and fingerprints, at most 8.
    pub fingerprints: Vec<String>,
    /// The file that has the first of them.
    pub file: String,
    /// Its line there, from 1.
    pub line: usize,
}

/// Why a host's key was not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostKeyProblem {
    /// No known_hosts file has a key for it, and there is no person to ask.
    Unknown,
    /// Another key is on file.
    Changed(Box<OnFile>),
    /// The key, or the authority that signed it, is marked `@revoked` or listed in `RevokedHostKeys`.
    Revoked,
}

/// What mends a host that lets us in and on which no agent starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mends {
    /// Time may: a disk that is full, a home that is away, a host that has no room for one more process.
    Time,
    /// A person: an account without a shell, a forced command, a start file that ends the shell, a folder that is not safe.
    Person,
    /// A person who logs in there: a password that has to be changed first.
    Login,
}

/// Why there is no connection or no agent, typed by who must act. `Display` is the one line a person reads.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The network's matter: tried again for ever.
    #[error("{host} is out of reach: {detail}")]
    Unreachable {
        /// The host as the person named it, or the jump host that failed.
        host: String,
        /// What happened, one line.
        detail: String,
    },
    /// The same, and nothing was reached that could have refused a login: trying again costs neither side anything.
    #[error("{host} is out of reach: {detail}")]
    Refused {
        /// The host as the person named it, or the jump host that failed.
        host: String,
        /// What happened, one line.
        detail: String,
    },
    /// The same, and what was reached hung up before it said that it is an ssh server: an sshd that is starting or has no
    /// room, a proxy or a jump host in front of one that is away. Trying again costs little.
    #[error("{host} is out of reach: {detail}")]
    HungUp {
        /// The host as the person named it, or the jump host that failed.
        host: String,
        /// What happened, one line.
        detail: String,
    },
    /// The host took what was offered and hung up without a word, as it does where the account may not log in: a person's
    /// matter where it does so again, and else the network's.
    #[error("{host} ends the login: {detail}")]
    Shut {
        /// The host as the person named it, or the jump host.
        host: String,
        /// What happened, one line.
        detail: String,
    },
    /// A person's matter: never tried again without one.
    #[error("{host} wants a login that needs you: {detail}")]
    NeedsLogin {
        /// The host as the person named it, or the jump host that refused.
        host: String,
        /// What was refused and what would help, one line.
        detail: String,
    },
    /// The ssh-agent's matter: it is away, or has no key yet, and the host was offered nothing else that it takes. Tried
    /// again when an agent answers that has one, or with a person.
    #[error("{host} wants a key of the ssh-agent: {detail}")]
    NoAgent {
        /// The host as the person named it, or the jump host.
        host: String,
        /// What is missing and what would help, one line.
        detail: String,
        /// Where that agent would answer, if it is known.
        socket: Option<std::path::PathBuf>,
        /// Any other would do, as no ssh config names one.
        any: bool,
    },
    /// The host showed a key that may not be trusted.
    #[error("{}", host_key(name, host, *port, fingerprint, kind).0)]
    HostKey {
        /// The host as the person named it, or the jump host.
        name: String,
        /// The name the key was looked up under (HostKeyAlias if there is one).
        host: String,
        /// The port that was dialled.
        port: u16,
        /// The key's type and SHA-256 fingerprint as ssh-keygen prints it: `ED25519 SHA256:…`.
        fingerprint: String,
        /// What is wrong with it.
        kind: HostKeyProblem,
    },
    /// The user's configuration, or what was typed.
    #[error("{detail}")]
    Config {
        /// What and where, one line.
        detail: String,
    },
    /// The agent cannot be put on the host or started there.
    #[error("the agent cannot start there: {detail}; {hint}")]
    AgentInstall {
        /// What failed, one line.
        detail: String,
        /// The one thing to do about it.
        hint: String,
        /// What mends it.
        mends: Mends,
    },
    /// The far side does not speak ssh as it should; not the network, and not worth a quick retry.
    #[error("{host} does not speak ssh as it should: {detail}")]
    Protocol {
        /// The host as the person named it.
        host: String,
        /// What was wrong, one line.
        detail: String,
    },
}

impl From<BadHost> for Failure {
    fn from(bad: BadHost) -> Self {
        Self::Config { detail: bad.to_string() }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        let message = failure.to_string();
        match failure {
            Failure::Unreachable { host, .. }
            | Failure::Refused { host, .. }
            | Failure::HungUp { host, .. } => Self::new(
                Kind::Unreachable,
                message,
                format!("check the network, or try `{}`", ssh_command(&host)),
            ),
            Failure::Shut { host, .. } => Self::new(
                Kind::NeedsLogin,
                message,
                format!("see what `{}` says, or ask whoever runs the host", ssh_command(&host)),
            ),
            Failure::NeedsLogin { host, .. } => Self::new(
                Kind::NeedsLogin,
                message,
                format!("answer it with `sessd host connect {host}`, or add the key to your ssh-agent"),
            ),
            Failure::NoAgent { host, .. } => Self::new(
                Kind::NeedsLogin,
                message,
                format!("add the key with `ssh-add`, or try `{}`", ssh_command(&host)),
            ),
            Failure::HostKey { name, host, port, fingerprint, kind } => {
                Self::new(Kind::HostKey, message, host_key(&name, &host, port, &fingerprint, &kind).1)
            }
            Failure::Config { .. } => Self::failed(message, "check the host's name and your ssh config"),
            Failure::AgentInstall { mends: Mends::Login, detail, hint } => {
                Self::new(Kind::NeedsLogin, format!("no agent can start there: {detail}"), hint)
            }
            Failure::AgentInstall { .. } => Self::failed(message, ""),
            Failure::Protocol { .. } => Self::failed(message, "try `ssh` to the same host"),
        }
    }
}

impl Failure {
    /// Whether time alone may mend it. All else waits for a person, an agent or a changed file.
    pub fn is_retried(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Refused { .. } | Self::HungUp { .. })
    }
}

/// A host that logs us in and opens no channel for a command, not even the first (`MaxSessions 0`, a login for forwarding only).
fn runs_nothing(reason: &str) -> Failure {
    Failure::AgentInstall {
        detail: format!("the host lets us in and runs no command ({reason})"),
        hint: "ask whoever runs the host for a login that may run commands".to_owned(),
        mends: Mends::Person,
    }
}

/// What is the matter with a host's key, and what to do about it.
fn host_key(name: &str, host: &str, port: u16, fingerprint: &str, kind: &HostKeyProblem) -> (String, String) {
    let at = if port == 22 { host.to_owned() } else { format!("[{host}]:{port}") };
    match kind {
        HostKeyProblem::Unknown => (
            format!("the key of {at} is not known yet ({fingerprint})"),
            format!(
                "if the fingerprint is right, run `sessd host connect {name}` and answer yes, or set \
                 `StrictHostKeyChecking accept-new` for it in the ssh config"
            ),
        ),
        HostKeyProblem::Changed(known) => (
            format!(
                "the key of {at} has CHANGED: it shows {fingerprint}, but {}:{} has {}; someone may be in between",
                known.file,
                known.line,
                if known.fingerprints.is_empty() {
                    "another".to_owned()
                } else {
                    known.fingerprints.join(", ")
                },
            ),
            format!(
                "if the host was reinstalled, take the old key out with `ssh-keygen -f '{}' -R '{at}'`",
                known.file
            ),
        ),
        HostKeyProblem::Revoked => (
            format!("the key of {at} is REVOKED ({fingerprint})"),
            "do not connect; ask whoever runs the host for a new key".to_owned(),
        ),
    }
}

/// Why our own connection did not come about, and whether the system's `ssh` may do better.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What happened.
    pub failure: Failure,
    /// It is for something that our own connection does not have.
    pub system: bool,
}

impl Refusal {
    /// Something that the ssh config asks for at `hop`, and our own connection does not do.
    pub(crate) fn lacking(hop: &HostConfig, keyword: &str) -> Self {
        let name = hop.name();
        let detail = format!(
            "{keyword} of the ssh config of {name} needs the system's ssh: install it, or set transport = \"openssh\" for {name}"
        );
        Self { failure: Failure::Config { detail }, system: true }
    }
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self { failure, system: false }
    }
}

/// A way to reach hosts: [`RusshTransport`], [`OpensshTransport`], or the one after the other, [`OwnFirst`].
pub trait Transport: Send + Sync {
    /// Connects and logs in, once. Asks only through the [`Prompter`] of the host's environment, and never tries again.
    ///
    /// Bounded: connect and key exchange by the host's ConnectTimeout per hop, the login by two minutes per hop.
    ///
    /// # Errors
    /// Any [`Failure`] but `AgentInstall`.
    fn dial<'a>(&'a self, host: &'a HostConfig) -> BoxFuture<'a, Result<Box<dyn Connection>, Failure>>;
}

/// One logged-in connection. Dropping it ends it once the last [`ExecStream`] of it is gone.
pub trait Connection: Send + Sync {
    /// Runs `command` by the login shell of the host, without a terminal, on a channel of its own.
    ///
    /// # Errors
    /// `Unreachable` when the connection is gone or the host refuses one more channel: that says nothing about any job.
    /// `AgentInstall` where it refuses the first.
    fn exec<'a>(&'a mut self, command: &'a str) -> BoxFuture<'a, Result<ExecStream, Failure>>;

    /// Connects to a unix socket on the host, as OpenSSH's forwarding of sockets does (its PROTOCOL, section 2.4).
    ///
    /// # Errors
    /// `Unreachable`, also where the host does not allow it or the transport cannot: that says nothing about the socket.
    fn open_socket<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<ExecStream, Failure>> {
        let detail = format!("this transport does not connect to {path}");
        Box::pin(std::future::ready(Err(Failure::Unreachable { host: self.host(), detail })))
    }

    /// The host as the person named it: for messages.
    fn host(&self) -> String;

    /// Comes when the host has let us in, where that is not before the first [`Connection::exec`]. `None`: it has.
    fn entering(&mut self) -> Option<tokio::sync::oneshot::Receiver<()>> {
        None
    }

    /// Whether the login asked a person for something, or may have: another one beside it would ask again.
    fn asks_a_person(&self) -> bool;

    /// What was started is up: what a person answered for it is wiped.
    fn is_settled(&mut self) {}

    /// `user@host:port, cipher` and the like: for logs and `doctor`, never parsed.
    fn describe(&self) -> String;

    /// Says goodbye and closes; streams of this connection end.
    fn close(self: Box<Self>) -> BoxFuture<'static, ()>;
}
