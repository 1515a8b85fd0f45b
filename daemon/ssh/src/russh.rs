//! Our own ssh connection: one per host, on the runtime of the caller.
//!
//! `nodelay`, a 16 MiB window under the link's own
//! credits, no inactivity limit: the link has its heartbeats. Jump hosts are connections inside channels of the one
//! before; a ProxyCommand's stdio is a connection like any other.
//!
//! What a connection consists of (the socket, the connections it goes through, a proxy process) hangs on one [`Alive`];
//! when the connection and its last stream are gone, so is all of it, whatever state its tasks are in.

use std::{
    borrow::Cow,
    future::Future,
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    process::Stdio,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use ::russh::{
    ChannelMsg, ChannelReadHalf, ChannelWriteHalf, SshId,
    client::{self, ChannelOpenHandle, DisconnectReason, Handle, Handler, Msg, Session},
    keys::PublicKeyOrCertificate,
};
use bytes::Bytes;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, BufReader, ReadBuf},
    net::{TcpSocket, TcpStream},
    process::Child,
    sync::oneshot,
    task::{JoinHandle, JoinSet},
    time::timeout,
};

use sessd_base::turn::Turns;

use super::{
    BoxFuture, Connection, ExecStream, Exit, Failure, Refusal, Transport,
    auth::{self, Notes},
    clean,
    config::{Family, HostConfig},
    known_hosts::{KnownHosts, Trust},
    preferred,
    prompt::{Asker, lines},
    stream::{Source, Tail},
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
/// Channels a host may try to open towards us before it is hung up on. None is ever granted.
const UNASKED_MAX: u32 = 8;
/// How long one address of a name has before the next is tried beside it (RFC 8305).
const NEXT_ADDRESS_AFTER: Duration = Duration::from_millis(250);
/// Reads of a new socket that are acknowledged at once: the whole of set-up and login, and the first command's start.
const PROMPT_READS: u8 = 64;
/// Addresses of one name that are tried.
const MAX_ADDRESSES: usize = 16;

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
                            .map_err(|e| Failure::Unreachable {
                                host: hop.name(),
                                detail: format!(
                                    "the jump host cannot reach it ({})",
                                    clean(&e.to_string(), 120)
                                ),
                            })?;
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
                return Ok(Box::new(RusshConnection {
                    handle,
                    alive: Arc::new(alive),
                    notes,
                    host: host.name(),
                    about: format!("{}@{}:{}, {cipher}", host.user, host.hostname, host.port),
                    sent: host.policy.sent.clone(),
                }) as Box<dyn Connection>);
            }
            previous = Some(handle);
        }
        Err(Failure::Config { detail: format!("{} has no hop to dial", host.name()) }.into())
    })
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
            other => other,
        }
    }
}

/// A stream a connection can run over.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}
type BoxedStream = Box<dyn Stream>;

/// A socket that acknowledges the first packets at once. Until a session runs, sshd's end still has Nagle's algorithm:
/// together with the kernel's delayed acknowledgement each small packet of the set-up would cost 40 ms.
struct Socket {
    inner: TcpStream,
    /// Reads for which this is still done.
    prompt: u8,
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.inner).poll_read(cx, buf);
        if self.prompt > 0 && polled.is_ready() {
            self.prompt -= 1;
            // The kernel forgets it after a while, so it is said after each read. Only faster with it.
            #[cfg(target_os = "linux")]
            rustix::net::sockopt::set_tcp_quickack(&self.inner, true).ok();
        }
        polled
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// A stream that fails as soon as its [`Alive`] is gone.
struct Guarded {
    inner: BoxedStream,
    stop: Option<oneshot::Receiver<()>>,
}

impl Guarded {
    fn check(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if let Some(stop) = &mut self.stop
            && Pin::new(stop).poll(cx).is_ready()
        {
            self.stop = None;
        }
        if self.stop.is_none() { Err(io::ErrorKind::ConnectionAborted.into()) } else { Ok(()) }
    }
}

impl AsyncRead for Guarded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(cx)?;
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.check(cx)?;
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(cx)?;
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// Dials the addresses of a name, each a moment after the one before, and takes the first that answers.
async fn tcp(host: &HostConfig) -> Result<TcpStream, Failure> {
    let unreachable = |detail: String| Failure::Unreachable { host: host.name(), detail };
    let found = tokio::net::lookup_host((host.hostname.as_str(), host.port))
        .await
        .map_err(|e| unreachable(format!("the name {} is not found ({e})", clean(&host.hostname, 80))))?;
    let mut addresses: Vec<SocketAddr> = found
        .filter(|a| match host.family {
            Family::Any => true,
            Family::Inet => a.is_ipv4(),
            Family::Inet6 => a.is_ipv6(),
        })
        .collect();
    addresses.truncate(MAX_ADDRESSES);
    let bind = match &host.bind_address {
        None => None,
        Some(name) => tokio::net::lookup_host((name.as_str(), 0))
            .await
            .map_err(|e| Failure::Config { detail: format!("BindAddress {}: {e}", clean(name, 80)) })?
            .next(),
    };
    let mut waiting = addresses.into_iter();
    let mut attempts: JoinSet<io::Result<TcpStream>> = JoinSet::new();
    let mut last: Option<io::Error> = None;
    loop {
        let more = match waiting.next() {
            Some(address) => {
                attempts.spawn(connect(address, bind));
                true
            }
            None => false,
        };
        let answer = if more && waiting.len() > 0 {
            match timeout(NEXT_ADDRESS_AFTER, attempts.join_next()).await {
                Ok(answer) => answer,
                Err(_) => continue,
            }
        } else {
            attempts.join_next().await
        };
        match answer {
            Some(Ok(Ok(stream))) => {
                // Best effort: without it echoes are slower, not wrong.
                stream.set_nodelay(true).ok();
                // A connection nobody uses is found dead some day.
                rustix::net::sockopt::set_socket_keepalive(&stream, host.policy.tcp_keepalive).ok();
                if let Some(class) = host.policy.service {
                    if stream.peer_addr().is_ok_and(|a| a.is_ipv6()) {
                        rustix::net::sockopt::set_ipv6_tclass(&stream, u32::from(class)).ok();
                    } else {
                        rustix::net::sockopt::set_ip_tos(&stream, class).ok();
                    }
                }
                return Ok(stream);
            }
            Some(Ok(Err(e))) => last = Some(e),
            Some(Err(e)) => last = Some(io::Error::other(e)),
            None if waiting.len() == 0 => {
                return Err(unreachable(match last {
                    Some(e) => {
                        format!("port {} of {}: {}", host.port, clean(&host.hostname, 80), os_words(&e))
                    }
                    None => format!("the name {} has no address of that family", clean(&host.hostname, 80)),
                }));
            }
            None => {}
        }
    }
}

async fn connect(address: SocketAddr, bind: Option<SocketAddr>) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let Some(bind) = bind {
        socket.bind(bind)?;
    }
    socket.connect(address).await
}

/// `connection refused` rather than `Connection refused (os error 111)`.
fn os_words(e: &io::Error) -> String {
    let text = e.to_string();
    text.split(" (os error").next().unwrap_or_default().to_lowercase()
}

/// Starts a ProxyCommand; its stdio is the connection.
fn proxy(command: &str, host: &HostConfig, alive: &mut Alive) -> Result<BoxedStream, Failure> {
    let broken = |e: &dyn std::fmt::Display| Failure::Config {
        detail: format!("the ProxyCommand of {} does not start: {e}", host.name()),
    };
    let mut shell = host.environment.command("/bin/sh");
    shell.arg("-c").arg(format!("exec {command}"));
    shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    // In a group of its own: what a terminal or a signal does to it, it does not do to the manager.
    shell.process_group(0);
    let mut child = shell.spawn().map_err(|e| broken(&e))?;
    let (Some(stdin), Some(stdout), Some(mut stderr)) =
        (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Err(broken(&"it has no pipes"));
    };
    // Ends with the process, which ends with the connection.
    let said = tokio::spawn(async move {
        let mut tail = Tail::default();
        let mut buffer = [0u8; 1024];
        while let Ok(n @ 1..) = stderr.read(&mut buffer).await {
            tail.push(&buffer[..n]);
        }
        tail
    });
    alive.proxy = Some((child, said));
    Ok(Box::new(tokio::io::join(stdout, stdin)))
}

/// Why a handshake ended: the library's word, or our refusal of the key.
#[derive(Debug)]
enum Stop {
    Ssh(::russh::Error),
    Refused(Failure),
}

impl From<::russh::Error> for Stop {
    fn from(e: ::russh::Error) -> Self {
        Self::Ssh(e)
    }
}

/// Our side of one connection's events.
struct Client {
    known: KnownHosts,
    config: HostConfig,
    asker: Arc<Asker>,
    notes: Arc<Mutex<Notes>>,
    /// Channels it tried to open towards us.
    unasked: u32,
}

impl Client {
    fn note(&self, write: impl FnOnce(&mut Notes)) {
        if let Ok(mut notes) = self.notes.lock() {
            write(&mut notes);
        }
    }

    /// The host opens a channel towards us. We forward nothing, so there is nothing it could be for: it is refused (its
    /// handle does so when it is dropped), and who goes on is hung up on.
    fn refuse(&mut self) -> Result<(), Stop> {
        self.unasked += 1;
        if self.unasked <= UNASKED_MAX {
            return Ok(());
        }
        let detail = "it keeps opening channels towards this machine, which forwards nothing".to_owned();
        self.note(|n| n.fault = Some(detail.clone()));
        Err(Stop::Refused(Failure::Protocol { host: self.config.name(), detail }))
    }
}

impl Handler for Client {
    type Error = Stop;

    async fn server_channel_open_forwarded_tcpip(
        &mut self,
        _: ::russh::Channel<Msg>,
        _: &str,
        _: u32,
        _: &str,
        _: u32,
        _: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Stop> {
        self.refuse()
    }

    async fn server_channel_open_forwarded_streamlocal(
        &mut self,
        _: ::russh::Channel<Msg>,
        _: &str,
        _: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Stop> {
        self.refuse()
    }

    async fn server_channel_open_agent_forward(
        &mut self,
        _: ::russh::Channel<Msg>,
        _: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Stop> {
        self.refuse()
    }

    async fn server_channel_open_session(
        &mut self,
        _: ::russh::Channel<Msg>,
        _: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Stop> {
        self.refuse()
    }

    async fn server_channel_open_direct_tcpip(
        &mut self,
        _: ::russh::Channel<Msg>,
        _: &str,
        _: u32,
        _: &str,
        _: u32,
        _: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Stop> {
        self.refuse()
    }

    async fn server_channel_open_direct_streamlocal(
        &mut self,
        _: ::russh::Channel<Msg>,
        _: &str,
        _: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Stop> {
        self.refuse()
    }

    async fn server_channel_open_x11(
        &mut self,
        _: ::russh::Channel<Msg>,
        _: &str,
        _: u32,
        _: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Stop> {
        self.refuse()
    }

    async fn should_accept_unknown_server_channel(&mut self, _: ::russh::ChannelId, _: &str) -> bool {
        // The library can be told to stop only by what follows a yes, which refuses as well.
        true
    }

    async fn server_channel_open_unknown(
        &mut self,
        _: ::russh::Channel<Msg>,
        _: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Stop> {
        self.refuse()
    }

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, Stop> {
        let trust = self.known.decide(shown, &self.config, &self.asker).await.map_err(Stop::Refused)?;
        self.note(|n| n.changed = trust == Trust::Changed);
        Ok(true)
    }

    async fn auth_banner(&mut self, banner: &str, _: &mut client::Session) -> Result<(), Stop> {
        self.note(|n| {
            n.banner = Some(clean(banner, 200)).filter(|b| !b.is_empty());
            n.shown = Some(lines(banner)).filter(|b| !b.is_empty());
        });
        Ok(())
    }

    async fn kex_done(
        &mut self,
        _: Option<&[u8]>,
        names: &::russh::Names,
        _: &mut client::Session,
    ) -> Result<(), Stop> {
        self.note(|n| n.cipher = Some(names.cipher.as_ref().to_owned()));
        Ok(())
    }

    async fn disconnected(&mut self, reason: DisconnectReason<Stop>) -> Result<(), Stop> {
        self.note(|n| n.ended.notify_one());
        match reason {
            DisconnectReason::ReceivedDisconnect(info) => {
                self.note(|n| n.goodbye = Some(clean(&info.message, 120)));
                Ok(())
            }
            DisconnectReason::Error(e) => {
                self.note(|n| {
                    n.no_method = matches!(e, Stop::Ssh(::russh::Error::NoAuthMethod));
                    n.broken = Some(match &e {
                        Stop::Ssh(e) => clean(&e.to_string(), 120),
                        Stop::Refused(e) => e.to_string(),
                    });
                });
                Err(e)
            }
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
        let stream = Turns::new(BufReader::with_capacity(READ, Guarded { inner, stop: Some(receiver) }));
        client::connect_stream(config, stream, client).await.map_err(|e| handshake_failure(host, e, &notes))
    };
    match asker.within(host.connect_timeout, shake).await {
        Some(done) => done.map(|handle| (handle, notes.clone())),
        None => Err(Failure::Unreachable {
            host: host.name(),
            detail: format!("no answer within {} s (ConnectTimeout)", host.connect_timeout.as_secs()),
        }
        .into()),
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
    let said =
        notes.lock().ok().and_then(|n| n.goodbye.clone()).map(|g| format!(": {g}")).unwrap_or_default();
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
                            let reason = clean(&format!("{reason:?}"), 80);
                            return Err(self.gone(&format!("it refuses one more channel ({reason})")));
                        }
                    },
                    Ok(Err(_)) => return Err(self.gone("the connection is gone")),
                    Err(_) => return Err(self.gone("it does not open a channel within 30 s")),
                }
            };
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

/// How far a channel has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Channel {
    Open,
    /// No more stdout; the exit status may still come.
    Eof,
    /// Nothing more will come.
    Closed,
}

/// The reading side of a channel. stdout, stderr and the exit status arrive on one queue, in the host's order.
struct ChannelSource {
    read: ChannelReadHalf,
    /// Present until the host has closed: dropping the source closes the channel.
    write: Option<ChannelWriteHalf<Msg>>,
    tail: Tail,
    state: Channel,
    exit: Exit,
    notes: Arc<Mutex<Notes>>,
    _alive: Arc<Alive>,
}

impl ChannelSource {
    /// Takes in one message; `Some` is stdout.
    fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        // The future holds nothing between polls (a queue's receive), so a fresh one each time loses nothing.
        let message = ready!(pin!(self.read.wait()).poll(cx));
        match message {
            Some(ChannelMsg::Data { data }) if !data.is_empty() => return Poll::Ready(Ok(Some(data))),
            Some(ChannelMsg::ExtendedData { data, ext: 1 }) => self.tail.push(&data),
            Some(ChannelMsg::Eof) => self.state = Channel::Eof,
            Some(ChannelMsg::ExitStatus { exit_status }) => self.exit = Exit::Code(exit_status),
            Some(ChannelMsg::ExitSignal { signal_name, .. }) => {
                self.exit = Exit::Signal(clean(&format!("{signal_name:?}"), 20));
            }
            Some(ChannelMsg::Failure) => {
                return Poll::Ready(Err(io::Error::other("the host refuses to run commands")));
            }
            Some(ChannelMsg::Close) => {
                self.state = Channel::Closed;
                self.write = None;
            }
            None => {
                let before = std::mem::replace(&mut self.state, Channel::Closed);
                self.write = None;
                if before == Channel::Open {
                    // Where it was we who hung up, that is why.
                    let fault = self.notes.lock().ok().and_then(|n| n.fault.clone());
                    return Poll::Ready(Err(match fault {
                        Some(why) => io::Error::new(io::ErrorKind::ConnectionReset, why),
                        None => io::ErrorKind::ConnectionReset.into(),
                    }));
                }
            }
            Some(_) => {}
        }
        Poll::Ready(Ok(None))
    }
}

impl Source for ChannelSource {
    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        while self.state == Channel::Open {
            if let Some(data) = ready!(self.poll_message(cx))? {
                return Poll::Ready(Ok(Some(data)));
            }
        }
        Poll::Ready(Ok(None))
    }

    fn poll_exit(&mut self, cx: &mut Context<'_>) -> Poll<Exit> {
        while self.state != Channel::Closed {
            if ready!(self.poll_message(cx)).is_err() {
                break;
            }
        }
        Poll::Ready(self.exit.clone())
    }

    fn stderr(&self) -> &[u8] {
        self.tail.bytes()
    }
}

impl Drop for ChannelSource {
    fn drop(&mut self) {
        // A host lets few channels be open at a time: one we are done with is closed, not left to the connection's end.
        if let (Some(write), Ok(runtime)) = (self.write.take(), tokio::runtime::Handle::try_current()) {
            let alive = self._alive.clone();
            runtime.spawn(async move {
                write.close().await.ok();
                drop(alive);
            });
        }
    }
}
