//! From a host's name to the byte stream of an agent that runs there.

use crate::desk::Step;
use crate::link::{Pipe, Sockets};
use crate::origins::first_with_keys;
use sessd_base::asking::{AGENT, Asking, SSH_CONFIG};
use sessd_base::config::{Config, HostSettings, TransportName};
use sessd_proto::docs::host::{BadHost, Destination, LOCAL};
use sessd_ssh::config::Environment;
use sessd_ssh::{
    AgentImage, Connection, Failure, Here, HostConfig, OpensshTransport, OwnFirst, RusshTransport,
    StartOptions, Transport, start_agent,
};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};

/// Sentences about ssh configs that are remembered.
const MAX_SAID: usize = 4096;

/// How one connects to a unix socket on the host.
enum SocketsOf {
    /// On this machine.
    Here,
    /// Through the connection, where the host's sshd allows it.
    There(Box<dyn Connection>),
}

impl std::fmt::Debug for SocketsOf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Here => f.write_str("here"),
            Self::There(connection) => f.write_str(&connection.describe()),
        }
    }
}

impl Sockets for SocketsOf {
    fn open<'a>(
        &'a self,
        path: &'a str,
    ) -> Pin<Box<dyn Future<Output = std::result::Result<Pipe, String>> + 'a>> {
        Box::pin(async move {
            match self {
                Self::Here => {
                    let trouble = |e: std::io::Error| format!("{path} is not reached ({e})");
                    let stream = tokio::net::UnixStream::connect(path).await.map_err(trouble)?;
                    let (reader, writer) = crate::unix::split(stream).map_err(trouble)?;
                    let pipe: Pipe = (Box::new(reader), Box::new(writer));
                    Ok(pipe)
                }
                Self::There(connection) => {
                    let channel =
                        connection.open_socket(path).await.map_err(|failure| failure.to_string())?;
                    let (reader, writer) = channel.into_parts();
                    let pipe: Pipe = (Box::new(reader), Box::new(writer));
                    Ok(pipe)
                }
            }
        })
    }
}

/// An agent's byte stream.
pub struct Dialled {
    /// What it says.
    pub reader: Box<dyn AsyncRead + Unpin>,
    /// What it hears.
    pub writer: Box<dyn AsyncWrite + Unpin>,
    /// The way to the holders' own sockets.
    pub sockets: Rc<dyn Sockets>,
    /// The ssh config says that the user's ssh-agent is to be had there.
    pub forward_agent: bool,
    /// The login asked a person for something, or may have.
    pub asks_a_person: bool,
    /// Another is to stand by beside it.
    pub standby: bool,
}

/// An attempt that failed.
#[derive(Debug)]
pub struct Failed {
    /// Why.
    pub failure: Failure,
    /// A program of the user's, a ProxyCommand or ssh itself, was on the way: the environment may be at fault.
    pub proxied: bool,
}

impl From<BadHost> for Failed {
    fn from(bad: BadHost) -> Self {
        Failure::from(bad).into()
    }
}

impl From<Failure> for Failed {
    fn from(failure: Failure) -> Self {
        Self { failure, proxied: false }
    }
}

/// The environment of an attempt: that of whoever asks for it, or the manager's own. Where its ssh-agent has no key, the
/// first of `spare` that has one takes its place.
pub async fn environment(config: &Config, asking: Option<&Asking>, spare: &[PathBuf]) -> Environment {
    let mut environment = Environment::from_process(None);
    let changes = asking.map(|asking| asking.changes(|name| environment.variables.get(name).cloned()));
    for (name, value) in changes.into_iter().flatten() {
        environment.change(name, value);
    }
    if let Some(asking) = asking {
        let lacking: Vec<String> =
            environment.variables.keys().filter(|name| asking.lacks(name)).cloned().collect();
        for name in lacking {
            environment.change(name, None);
        }
    }
    environment.ssh_config = ssh_config(config, asking);
    environment.asker = this_program();
    if !spare.is_empty() {
        let own = environment.variables.get(AGENT).map(PathBuf::from);
        if let Some(agent) =
            first_with_keys(own.iter().chain(spare)).await.filter(|agent| Some(*agent) != own.as_ref())
        {
            environment.change(AGENT.to_owned(), Some(agent.to_string_lossy().into_owned()));
        }
    }
    environment
}

/// This program, for as long as it runs: its file may be another by now.
fn this_program() -> Option<PathBuf> {
    let running = PathBuf::from(format!("/proc/{}/exe", std::process::id()));
    if running.exists() { Some(running) } else { std::env::current_exe().ok() }
}

/// The ssh config of an attempt, where it is not the usual one.
pub fn ssh_config(config: &Config, asking: Option<&Asking>) -> Option<PathBuf> {
    let named = match asking {
        Some(asking) => asking.ssh_config(),
        None => std::env::var_os(SSH_CONFIG).filter(|file| !file.is_empty()).map(PathBuf::from),
    };
    named.or_else(|| config.ssh_config.clone())
}

/// Connects once. `images`: the agents there are to be installed. `at` hears how far it is.
///
/// # Errors
/// Why there is no agent to talk to.
pub async fn dial(
    host: &str,
    config: &Config,
    home: &Path,
    from: Environment,
    images: &'static [AgentImage],
    at: impl Fn(Step),
) -> std::result::Result<Dialled, Failed> {
    if host == LOCAL {
        at(Step::Agent);
        return Ok(local(home, StartOptions { agent_dir: config.host(LOCAL).agent_dir }, images).await?);
    }
    let destination = Destination::parse(host)?;
    let resolved = HostConfig::resolve(&destination, &from).await?;
    let settings = config.host_as(host, Some(&resolved.user), Some(resolved.port));
    let by_system = settings.transport == TransportName::Openssh;
    for hop in resolved.jumps.iter().chain([&resolved]) {
        hop.policy.not_honoured(by_system).for_each(|sentence| say_once(&hop.name(), sentence));
    }
    let proxied = settings.transport == TransportName::Openssh
        || resolved.jumps.iter().chain([&resolved]).any(|hop| hop.proxy_command.is_some());
    connect(&resolved, settings, images, at).await.map_err(|failure| Failed { failure, proxied })
}

/// What of an ssh config is not honoured is noted once of each host.
fn say_once(host: &str, sentence: &str) {
    static SAID: Mutex<BTreeSet<(String, String)>> = Mutex::new(BTreeSet::new());
    let Ok(mut said) = SAID.lock() else { return };
    if said.len() < MAX_SAID && said.insert((host.to_owned(), sentence.to_owned())) {
        tracing::warn!(host, "{sentence}");
    }
}

async fn connect(
    resolved: &HostConfig,
    settings: HostSettings,
    images: &'static [AgentImage],
    at: impl Fn(Step),
) -> std::result::Result<Dialled, Failure> {
    at(Step::Login);
    let transport: Box<dyn Transport> = match settings.transport {
        TransportName::Auto => Box::new(OwnFirst),
        TransportName::Russh => Box::new(RusshTransport),
        TransportName::Openssh => Box::new(OpensshTransport),
    };
    let mut connection = transport.dial(resolved).await?;
    let options = StartOptions { agent_dir: settings.agent_dir };
    let entering = connection.entering();
    let entered = async {
        // Where there will be no login, the start of the agent fails.
        let is_in = match entering {
            Some(entering) => entering.await.is_ok(),
            None => true,
        };
        if is_in {
            at(Step::Agent);
        }
        Ok(())
    };
    let (channel, ()) = tokio::try_join!(start_agent(connection.as_mut(), images, &options), entered)?;
    let (reader, writer) = channel.stream.into_parts();
    connection.is_settled();
    let asks_a_person = connection.asks_a_person();
    let sockets = Rc::new(SocketsOf::There(connection));
    let standby = settings.standby;
    let forward_agent = resolved.forward_agent;
    let (reader, writer) = (Box::new(reader), Box::new(writer));
    Ok(Dialled { reader, writer, sockets, forward_agent, asks_a_person, standby })
}

/// This machine is a host like any other, but for the way there.
async fn local(
    home: &Path,
    options: StartOptions,
    images: &'static [AgentImage],
) -> std::result::Result<Dialled, Failure> {
    let mut here = Here::new(home);
    if let Some(image) = images.iter().find(|image| image.triple.starts_with(std::env::consts::ARCH)) {
        let (home, options) = (Here::new(home), options.clone());
        // On a thread of its own: the home may be one that does not answer.
        let _ = tokio::task::spawn_blocking(move || home.remove_damaged(image, &options)).await;
    }
    let channel = start_agent(&mut here, images, &options).await?;
    let (reader, writer) = channel.stream.into_parts();
    Ok(Dialled {
        reader: Box::new(reader),
        writer: Box::new(writer),
        sockets: Rc::new(SocketsOf::Here),
        forward_agent: false,
        // There is nothing to dial beside it.
        asks_a_person: true,
        standby: false,
    })
}
