//! Our own ssh connection: one per host, on the runtime of the caller.
//!
//! `nodelay`, a 16 MiB window under the link's own
//! credits, no inactivity limit: the link has its heartbeats. Jump hosts are connections inside channels of the one
//! before; a ProxyCommand's stdio is a connection like any other.
//!
//! What a connection consists of (the socket, the connections it goes through, a proxy process) hangs on one [`Alive`];
//! when the connection and its last stream are gone, so is all of it, whatever state its tasks are in.

mod channel;
mod handler;
mod heard;
mod streams;

use std::{
    borrow::Cow,
    future::Future,
    io,
    process::Stdio,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use ::russh::{
    ChannelOpenFailure, ChannelReadHalf, ChannelWriteHalf, SshId,
    client::{self, Handle, Msg},
};
use tokio::{io::BufReader, process::Child, sync::oneshot, task::JoinHandle, time::timeout};

use channel::{Channel, ChannelSource};
use handler::{Client, Stop};
use heard::NotedStream;
use sessd_base::turn::Turns;
use streams::{BoxedStream, Guarded, Socket, os_words, proxy, tcp};

use super::{
    BoxFuture, Connection, ExecStream, Exit, Failure, Refusal, Transport,
    auth::{self, Notes},
    clean,
    config::HostConfig,
    known_hosts::KnownHosts,
    preferred,
    prompt::Asker,
    runs_nothing,
    stream::Tail,
};

/// Bytes a host may send on a channel before we say we took some.
const WINDOW: u32 = 16 << 20;
/// The largest packet the protocol's 16-bit habit allows.
const MAX_PACKET: u32 = 65_535;
/// Bytes read from a connection at a time: a packet and the length of the next, at the least.
const READ: usize = 64 * 1024;
/// The login of one hop: an agent may wait for a touch. OpenSSH's LoginGraceTime.
const LOGIN_TIMEOUT: Duration = Duration::from_secs(120);
/// A LocalCommand; ssh waits for it without end.
const LOCAL_COMMAND_TIMEOUT: Duration = Duration::from_secs(30);
/// Opening a channel on a connection that is up.
const OPEN_TIMEOUT: Duration = Duration::from_secs(30);
/// When a refused channel is asked for again, in milliseconds: with `MaxSessions 1` the one before has to be cleared away.
const REFUSED_AGAIN: [u64; 5] = [5, 20, 80, 200, 500];
/// The goodbye of [`Connection::close`].
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// Reads of a new socket that are acknowledged at once: the whole of set-up and login, and the first command's start.
const PROMPT_READS: u8 = 64;

/// The transport that speaks ssh itself. Has no state: each dial is a connection of its own.
#[derive(Clone, Copy, Debug, Default)]
pub struct RusshTransport;

impl Transport for RusshTransport {
    fn dial<'a>(&'a self, host: &'a HostConfig) -> BoxFuture<'a, Result<Box<dyn Connection>, Failure>> {
        Box::pin(async move { dial_within(host, LOGIN_TIMEOUT).await.map_err(|refusal| refusal.failure) })
    }
}

/// One dial as [`RusshTransport`] does it; what fails says whether the system's `ssh` may do better.
pub(super) fn try_dial(host: &HostConfig) -> BoxFuture<'_, Result<Box<dyn Connection>, Refusal>> {
    dial_within(host, LOGIN_TIMEOUT)
}

/// The same with another limit for each hop's login.
pub(super) fn dial_within(
    host: &HostConfig,
    login: Duration,
) -> BoxFuture<'_, Result<Box<dyn Connection>, Refusal>> {
    Box::pin(async move {
        if let Some((hop, keyword)) = only_the_system(host) {
            return Err(Refusal::lacking(hop, keyword));
        }
        let asker = Asker::new(host);
        let mut alive = Alive::default();
        let mut previous: Option<Handle<Client>> = None;
        let mut touched = false;
        for hop in host.jumps.iter().chain([host]) {
            let (handle, notes) = match previous.take() {
                None => {
                    let local = Arc::new(AtomicBool::new(false));
                    let open = async {
                        match &hop.proxy_command {
                            Some(command) => proxy(command, hop, &mut alive),
                            None => tcp(hop).await.map(|s| {
                                let near = s.peer_addr().is_ok_and(|a| a.ip().to_canonical().is_loopback());
                                local.store(near, Ordering::Relaxed);
                                asker.stands_on(rustix::io::fcntl_dupfd_cloexec(&s, 0).ok());
                                Box::new(Socket { inner: s, prompt: PROMPT_READS }) as BoxedStream
                            }),
                        }
                    };
                    let mut alive_stop = None;
                    let shaken = handshake(hop, open, &mut alive_stop, &asker, local.clone()).await;
                    alive.stops.extend(alive_stop);
                    match shaken {
                        Ok(shaken) => shaken,
                        Err(e) => return Err(alive.explain(e).await),
                    }
                }
                Some(before) => {
                    let open = async {
                        let channel = before
                            .channel_open_direct_tcpip(&hop.hostname, u32::from(hop.port), "127.0.0.1", 0)
                            .await
                            .map_err(|e| unreached(hop, &e))?;
                        Ok(Box::new(channel.into_stream()) as BoxedStream)
                    };
                    let mut stop = None;
                    let shaken = handshake(hop, open, &mut stop, &asker, Arc::default()).await;
                    alive.stops.extend(stop);
                    alive.through.push(before);
                    shaken?
                }
            };
            let mut handle = handle;
            match asker.within(login, auth::log_in(&mut handle, hop, &notes, &asker)).await {
                Some(done) => done?,
                None => return Err(auth::not_finished(hop, &notes, login).into()),
            }
            let cipher = notes.lock().ok().and_then(|n| n.cipher.clone()).unwrap_or_default();
            if std::ptr::eq(hop, host) {
                if let Some(command) = &host.policy.local_command {
                    run_local(command, host).await;
                }
                let touched = touched || notes.lock().is_ok_and(|notes| notes.touched);
                return Ok(Box::new(RusshConnection {
                    handle,
                    asks_a_person: touched || asker.has_asked(),
                    alive: Arc::new(alive),
                    notes,
                    host: host.name(),
                    about: format!("{}@{}:{}, {cipher}", host.user, host.hostname, host.port),
                    has_run: false,
                    sent: host.policy.sent.clone(),
                }) as Box<dyn Connection>);
            }
            touched |= notes.lock().is_ok_and(|notes| notes.touched);
            previous = Some(handle);
        }
        Err(Failure::Config { detail: format!("{} has no hop to dial", host.name()) }.into())
    })
}

/// A jump host that does not lead to the next one.
fn unreached(hop: &HostConfig, e: &::russh::Error) -> Failure {
    use ::russh::{ChannelOpenFailure as Why, Error as E};
    let host = hop.name();
    match e {
        E::ChannelOpenFailure(Why::ConnectFailed) => Failure::HungUp {
            host,
            detail: format!(
                "the jump host cannot reach port {} of {}: it refuses, or there is no way to it from there",
                hop.port,
                clean(&hop.hostname, 80)
            ),
        },
        E::ChannelOpenFailure(Why::AdministrativelyProhibited) => Failure::Unreachable {
            host,
            detail: "the jump host does not let us through (AllowTcpForwarding, PermitOpen)".to_owned(),
        },
        e => Failure::Unreachable {
            host,
            detail: format!("the jump host cannot reach it ({})", clean(&e.to_string(), 120)),
        },
    }
}

/// The first hop whose config has a keyword that only the system's ssh can honour, and that keyword.
pub(super) fn only_the_system(host: &HostConfig) -> Option<(&HostConfig, &str)> {
    let mut hops = host.jumps.iter().chain([host]);
    hops.find_map(|hop| hop.policy.system.first().map(|keyword| (hop, keyword.as_str())))
}

/// LocalCommand, which ssh runs once it is logged in, waits for, and forgets the end of.
async fn run_local(command: &str, host: &HostConfig) {
    let mut shell = host.environment.command("/bin/sh");
    shell.arg("-c").arg(command).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    shell.process_group(0).kill_on_drop(true);
    if timeout(LOCAL_COMMAND_TIMEOUT, shell.status()).await.is_err() {
        tracing::warn!(host = host.name(), "LocalCommand did not end in time");
    }
}

/// What one connection stands on. Dropping it cuts the streams, whatever the library's tasks are waiting for.
#[derive(Default)]
struct Alive {
    /// Dropping one makes its [`Guarded`] stream fail.
    stops: Vec<oneshot::Sender<()>>,
    /// The connections this one goes through.
    through: Vec<Handle<Client>>,
    /// The ProxyCommand, killed on drop, and the end of its stderr once it has ended.
    proxy: Option<(Child, JoinHandle<Tail>)>,
}

impl Alive {
    /// A connection through a proxy that failed: what the proxy said tells more than "closed".
    async fn explain(self, refusal: Refusal) -> Refusal {
        let failure = self.explained(refusal.failure).await;
        Refusal { failure, ..refusal }
    }

    async fn explained(mut self, failure: Failure) -> Failure {
        // The process ends by itself, as a rule, when its connection does; killed where it goes on.
        let Some((_child, said)) = self.proxy.take() else { return failure };
        let Ok(Ok(said)) = timeout(CLOSE_TIMEOUT, said).await else { return failure };
        let said = clean(&String::from_utf8_lossy(said.bytes()), 200);
        match failure {
            Failure::Unreachable { host, detail } if !said.is_empty() => {
                Failure::Unreachable { host, detail: format!("{detail}; the ProxyCommand says: {said}") }
            }
            Failure::HungUp { host, detail } if !said.is_empty() => {
                Failure::HungUp { host, detail: format!("{detail}; the ProxyCommand says: {said}") }
            }
            other => other,
        }
    }
}

/// Opens the stream and exchanges keys, all of it within ConnectTimeout.
async fn handshake(
    host: &HostConfig,
    open: impl Future<Output = Result<BoxedStream, Failure>>,
    stop: &mut Option<oneshot::Sender<()>>,
    asker: &Arc<Asker>,
    local: Arc<AtomicBool>,
) -> Result<(Handle<Client>, Arc<Mutex<Notes>>), Refusal> {
    let mut known = KnownHosts::load(host).await?;
    known.local = local;
    let config = Arc::new(library_config(host, &known)?);
    let notes = Arc::new(Mutex::new(Notes::default()));
    let client =
        Client { known, config: host.clone(), asker: asker.clone(), notes: notes.clone(), unasked: 0 };
    let shake = async {
        let inner = open.await.map_err(Refusal::from)?;
        let (sender, receiver) = oneshot::channel();
        *stop = Some(sender);
        // The library reads the length of a packet and then the packet.
        let inner = NotedStream::new(Guarded { inner, stop: Some(receiver) }, notes.clone());
        let stream = Turns::new(BufReader::with_capacity(READ, inner));
        client::connect_stream(config, stream, client).await.map_err(|e| handshake_failure(host, e, &notes))
    };
    match asker.within(host.connect_timeout, shake).await {
        Some(done) => done.map(|handle| (handle, notes.clone())),
        None => {
            let detail = format!("no answer within {} s (ConnectTimeout)", host.connect_timeout.as_secs());
            let host = host.name();
            // Where there was no connection nothing was cost.
            Err(match stop {
                Some(_) => Failure::Unreachable { host, detail },
                None => Failure::Refused { host, detail },
            }
            .into())
        }
    }
}

fn library_config(host: &HostConfig, known: &KnownHosts) -> Result<client::Config, Refusal> {
    let (kinds, authority) = known.algorithms();
    Ok(client::Config {
        client_id: SshId::Standard(Cow::Borrowed(concat!("SSH-2.0-sessd_", env!("CARGO_PKG_VERSION")))),
        limits: preferred::limits(host),
        window_size: WINDOW,
        maximum_packet_size: MAX_PACKET,
        preferred: preferred::preferred(host, &kinds, authority)
            .map_err(|keyword| Refusal::lacking(host, &keyword))?,
        inactivity_timeout: None,
        keepalive_interval: host.keepalive,
        keepalive_max: host.keepalive_max,
        nodelay: true,
        ..client::Config::default()
    })
}

fn handshake_failure(host: &HostConfig, stop: Stop, notes: &Mutex<Notes>) -> Refusal {
    let system = matches!(stop, Stop::Ssh(::russh::Error::NoCommonAlgo { .. }));
    Refusal { failure: handshake_sentence(host, stop, notes), system }
}

fn handshake_sentence(host: &HostConfig, stop: Stop, notes: &Mutex<Notes>) -> Failure {
    use ::russh::Error as E;
    let e = match stop {
        Stop::Refused(failure) => return failure,
        Stop::Ssh(e) => e,
    };
    let (goodbye, is_ssh, before) = match notes.lock() {
        Ok(n) => (n.goodbye.clone(), n.is_ssh, n.before.clone()),
        Err(_) => (None, true, String::new()),
    };
    let said = goodbye.map(|g| format!(": {g}")).unwrap_or_default();
    let ended = matches!(
        &e,
        E::IO(_) | E::HUP | E::Disconnect | E::SendError | E::RecvError | E::ConnectionTimeout | E::Join(_)
    );
    if !is_ssh && ended {
        let place = format!("port {} of {}", host.port, clean(&host.hostname, 80));
        let detail = match (before.is_empty(), &host.proxy_command) {
            (true, None) => format!("it hangs up before it says a word ({place})"),
            (true, Some(_)) => "its ProxyCommand ended before the host said a word".to_owned(),
            (false, _) => format!("it hangs up and says: {before} ({place})"),
        };
        return Failure::HungUp { host: host.name(), detail };
    }
    if !is_ssh && !before.is_empty() {
        let detail = format!("what answers is no ssh server; it says: {before}");
        return Failure::Protocol { host: host.name(), detail };
    }
    match e {
        E::IO(e) if e.kind() == io::ErrorKind::UnexpectedEof => Failure::Unreachable {
            host: host.name(),
            detail: format!("it closed the connection before the key exchange{said}"),
        },
        E::IO(e) => Failure::Unreachable {
            host: host.name(),
            detail: format!("during the key exchange: {}", os_words(&e)),
        },
        E::HUP
        | E::Disconnect
        | E::SendError
        | E::RecvError
        | E::ConnectionTimeout
        | E::KeepaliveTimeout
        | E::Join(_) => Failure::Unreachable {
            host: host.name(),
            detail: format!("it closed the connection during the key exchange{said}"),
        },
        E::NoCommonAlgo { kind, theirs, .. } => Failure::Protocol {
            host: host.name(),
            detail: format!(
                "no common {} algorithm (it has {}); transport = \"openssh\" may know one",
                format!("{kind:?}").to_lowercase(),
                clean(&theirs.join(","), 200)
            ),
        },
        e => Failure::Protocol { host: host.name(), detail: clean(&e.to_string(), 200) },
    }
}

/// A connection that is logged in.
struct RusshConnection {
    handle: Handle<Client>,
    alive: Arc<Alive>,
    notes: Arc<Mutex<Notes>>,
    host: String,
    about: String,
    asks_a_person: bool,
    /// It has opened a channel for a command.
    has_run: bool,
    /// Variables that go before each command.
    sent: Vec<(String, String)>,
}

impl RusshConnection {
    fn gone(&self, what: &str) -> Failure {
        let why = self.notes.lock().ok();
        let why =
            why.and_then(|n| n.fault.clone().or_else(|| n.goodbye.clone()).or_else(|| n.broken.clone()));
        let why = why.map(|w| format!(" ({w})")).unwrap_or_default();
        Failure::Unreachable { host: self.host.clone(), detail: format!("{what}{why}") }
    }

    fn stream(&self, read: ChannelReadHalf, write: ChannelWriteHalf<Msg>) -> ExecStream {
        let stdin = Box::new(write.make_writer());
        let source = ChannelSource {
            read,
            write: Some(write),
            tail: Tail::default(),
            state: Channel::Open,
            exit: Exit::Unknown,
            notes: self.notes.clone(),
            _alive: self.alive.clone(),
        };
        ExecStream::new(Box::new(source), stdin)
    }
}

impl Connection for RusshConnection {
    fn exec<'a>(&'a mut self, command: &'a str) -> BoxFuture<'a, Result<ExecStream, Failure>> {
        Box::pin(async move {
            let mut again = REFUSED_AGAIN.iter();
            let channel = loop {
                match timeout(OPEN_TIMEOUT, self.handle.channel_open_session()).await {
                    Ok(Ok(channel)) => break channel,
                    // A host counts a channel as open a moment longer than we do.
                    Ok(Err(::russh::Error::ChannelOpenFailure(reason))) => match again.next() {
                        Some(ms) => tokio::time::sleep(Duration::from_millis(*ms)).await,
                        None => {
                            let short = matches!(reason, ChannelOpenFailure::ResourceShortage);
                            let reason = clean(&format!("{reason:?}"), 80);
                            if !self.has_run && !short {
                                return Err(runs_nothing(&reason));
                            }
                            return Err(self.gone(&format!("it refuses one more channel ({reason})")));
                        }
                    },
                    Ok(Err(_)) => return Err(self.gone("the connection is gone")),
                    Err(_) => return Err(self.gone("it does not open a channel within 30 s")),
                }
            };
            self.has_run = true;
            let (read, write) = channel.split();
            // As ssh: the host takes those that it accepts, and says nothing.
            for (name, value) in &self.sent {
                if write.set_env(false, name, value).await.is_err() {
                    return Err(self.gone("the connection is gone"));
                }
            }
            // The answer is not waited for: it comes before any output, and a round trip earlier.
            if write.exec(true, command).await.is_err() {
                return Err(self.gone("the connection is gone"));
            }
            Ok(self.stream(read, write))
        })
    }

    fn open_socket<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<ExecStream, Failure>> {
        Box::pin(async move {
            match timeout(OPEN_TIMEOUT, self.handle.channel_open_direct_streamlocal(path)).await {
                Ok(Ok(channel)) => {
                    let (read, write) = channel.split();
                    Ok(self.stream(read, write))
                }
                Ok(Err(::russh::Error::ChannelOpenFailure(reason))) => {
                    Err(self
                        .gone(&format!("it connects to no socket ({})", clean(&format!("{reason:?}"), 80))))
                }
                Ok(Err(_)) => Err(self.gone("the connection is gone")),
                Err(_) => Err(self.gone("it does not open a channel within 30 s")),
            }
        })
    }

    fn host(&self) -> String {
        self.host.clone()
    }

    fn asks_a_person(&self) -> bool {
        self.asks_a_person
    }

    fn describe(&self) -> String {
        self.about.clone()
    }

    fn close(mut self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let goodbye = async {
                self.handle.disconnect(::russh::Disconnect::ByApplication, "", "").await.ok();
                // The connection's task ends when the word is out; how it ends is of no interest any more.
                (&mut self.handle).await.ok();
            };
            timeout(CLOSE_TIMEOUT, goodbye).await.ok();
        })
    }
}
