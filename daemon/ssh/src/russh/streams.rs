//! What a connection runs over: a socket, a ProxyCommand's stdio, a channel of the connection before.

use std::{
    future::Future as _,
    io,
    net::SocketAddr,
    pin::Pin,
    process::Stdio,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf},
    net::{TcpSocket, TcpStream},
    sync::oneshot,
    task::JoinSet,
    time::timeout,
};

use super::Alive;
use crate::{
    Failure, clean,
    config::{Family, HostConfig},
    stream::Tail,
};

/// How long one address of a name has before the next is tried beside it (RFC 8305).
const NEXT_ADDRESS_AFTER: Duration = Duration::from_millis(250);
/// How long the addresses have before they are knocked at again, where somebody waits, and how often.
const NEXT_KNOCK_AFTER: Duration = Duration::from_secs(1);
const MAX_KNOCKS: usize = 30;
/// Addresses of one name that are tried.
const MAX_ADDRESSES: usize = 16;

/// A stream a connection can run over.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}
pub(super) type BoxedStream = Box<dyn Stream>;

/// A socket that acknowledges the first packets at once. Until a session runs, sshd's end still has Nagle's algorithm:
/// together with the kernel's delayed acknowledgement each small packet of the set-up would cost 40 ms.
pub(super) struct Socket {
    pub(super) inner: TcpStream,
    /// Reads for which this is still done.
    pub(super) prompt: u8,
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
pub(super) struct Guarded {
    pub(super) inner: BoxedStream,
    pub(super) stop: Option<oneshot::Receiver<()>>,
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
pub(super) async fn tcp(host: &HostConfig) -> Result<TcpStream, Failure> {
    let unreachable = |detail: String| Failure::Unreachable { host: host.name(), detail };
    let found = tokio::net::lookup_host((host.hostname.as_str(), host.port)).await.map_err(|e| {
        // What stands before the resolver's own words is Rust's.
        let e = e.to_string();
        let why = e.rsplit(": ").next().unwrap_or(&e);
        unreachable(format!("the name {} is not found ({why})", clean(&host.hostname, 80)))
    })?;
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
    // Whoever waits is not to wait for the next packet of a handshake that was lost: those come ever more slowly.
    let again: Vec<SocketAddr> = if host.environment.hurry { addresses.clone() } else { Vec::new() };
    let mut knocks = (0..MAX_KNOCKS).flat_map(|_| again.iter().copied());
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
            match timeout(NEXT_KNOCK_AFTER, attempts.join_next()).await {
                Ok(answer) => answer,
                Err(_) => {
                    if let Some(address) = knocks.next() {
                        attempts.spawn(connect(address, bind));
                    }
                    continue;
                }
            }
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
                return Err(match last {
                    Some(e) => Failure::Refused {
                        host: host.name(),
                        detail: format!(
                            "port {} of {}: {}",
                            host.port,
                            clean(&host.hostname, 80),
                            os_words(&e)
                        ),
                    },
                    None => unreachable(format!(
                        "the name {} has no address of that family",
                        clean(&host.hostname, 80)
                    )),
                });
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
pub(super) fn os_words(e: &io::Error) -> String {
    let text = e.to_string();
    text.split(" (os error").next().unwrap_or_default().to_lowercase()
}

/// Starts a ProxyCommand; its stdio is the connection.
pub(super) fn proxy(command: &str, host: &HostConfig, alive: &mut Alive) -> Result<BoxedStream, Failure> {
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
