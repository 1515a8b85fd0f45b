//! The sockets of a job's channels: connecting, listening, reading, writing. What becomes of them is
//! [`crate::machine::channels`]'s affair.
//!
//! Names are looked up, and ports bound, by threads beside the loop: a name server may not answer for a minute.

use crate::io::folder::fault;
use crate::machine::channels::{SocketId, Target};
use crate::platform;
use rustix::pipe::{PipeFlags, pipe_with};
use sessd_proto::messages::{ChannelFailure, Listener};
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Threads that look up, connect and bind at a time.
const THREADS: usize = 32;
/// Bytes of such a thread's stack: a resolver's buffers are on it.
const STACK: usize = 256 << 10;
/// Bytes read from a socket at a time.
pub const READ: usize = 32 * 1024;

/// A connected socket.
#[derive(Debug)]
pub enum Socket {
    /// Over a network, or to this host itself.
    Tcp(TcpStream),
    /// To a path.
    Unix(UnixStream),
}

impl Socket {
    /// To be watched.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(socket) => socket.as_fd(),
            Self::Unix(socket) => socket.as_fd(),
        }
    }

    /// Reads what is there.
    ///
    /// # Errors
    /// `WouldBlock` when nothing is there; else there is no more.
    pub fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.read(into),
            Self::Unix(socket) => socket.read(into),
        }
    }

    /// Writes what is taken now.
    ///
    /// # Errors
    /// `WouldBlock` when nothing is; else nothing ever will be.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.write(bytes),
            Self::Unix(socket) => socket.write(bytes),
        }
    }

    /// Nothing more is written.
    pub fn end_writes(&self) {
        // Fails where the other side is gone, which reading tells.
        let _ = match self {
            Self::Tcp(socket) => socket.shutdown(Shutdown::Write),
            Self::Unix(socket) => socket.shutdown(Shutdown::Write),
        };
    }

    fn prepare(&self) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => {
                // Only a delay, where it cannot be had.
                let _ = socket.set_nodelay(true);
                socket.set_nonblocking(true)
            }
            Self::Unix(socket) => socket.set_nonblocking(true),
        }
    }
}

/// What is listened on under one number: a port may have two sockets, one for each kind of address.
#[derive(Debug, Default)]
pub struct Listening {
    tcp: Vec<TcpListener>,
    unix: Option<(UnixListener, PathBuf)>,
}

impl Listening {
    /// A socket of our own, which was bound already and is taken away by nobody.
    pub fn own(listener: UnixListener) -> Self {
        Self { tcp: Vec::new(), unix: Some((listener, PathBuf::new())) }
    }

    /// To be watched for reading.
    pub fn watched(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let unix = self.unix.iter().map(|(listener, _)| listener.as_fd());
        self.tcp.iter().map(AsFd::as_fd).chain(unix)
    }

    /// The next connection that waits.
    pub fn accept(&self) -> Option<Socket> {
        let tcp = self.tcp.iter().find_map(|listener| listener.accept().ok());
        let socket = match tcp {
            Some((socket, _)) => Socket::Tcp(socket),
            None => Socket::Unix(self.unix.as_ref()?.0.accept().ok()?.0),
        };
        socket.prepare().ok().map(|()| socket)
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        if let Some((_, path)) = self.unix.as_ref().filter(|(_, path)| !path.as_os_str().is_empty()) {
            // It may have been taken away already.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// What a thread came to.
#[derive(Debug)]
pub enum Done {
    /// A socket is connected, or why not.
    Connected(SocketId, Result<Socket, (ChannelFailure, String)>),
    /// It listens, at that port, or why not.
    Bound(u64, Result<(Listening, u16), String>),
}

/// The threads, and what came of them.
#[derive(Debug)]
pub struct Beside {
    done: Arc<Mutex<Vec<Done>>>,
    wake: Arc<OwnedFd>,
    woken: OwnedFd,
}

impl Beside {
    /// None yet.
    ///
    /// # Errors
    /// When there is no descriptor left.
    pub fn new() -> io::Result<Self> {
        let (woken, wake) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        Ok(Self { done: Arc::default(), wake: Arc::new(wake), woken })
    }

    /// To be watched for reading: something was done.
    pub fn watched(&self) -> BorrowedFd<'_> {
        self.woken.as_fd()
    }

    /// What was done since the last time.
    pub fn done(&self) -> Vec<Done> {
        let mut buffer = [0; 64];
        while matches!(rustix::io::read(&self.woken, &mut buffer), Ok(1..)) {}
        std::mem::take(&mut *self.done.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn run(&self, task: impl FnOnce() -> Done + Send + 'static) -> bool {
        // Each thread at work holds both.
        if Arc::strong_count(&self.wake) > THREADS {
            return false;
        }
        let (done, wake) = (self.done.clone(), self.wake.clone());
        let thread = std::thread::Builder::new().stack_size(STACK).spawn(move || {
            let came = task();
            done.lock().unwrap_or_else(PoisonError::into_inner).push(came);
            // A full pipe is noticed as well.
            let _ = rustix::io::write(&*wake, &[0]);
        });
        thread.is_ok()
    }

    /// Connects; what comes of it is told. `Err`: not now.
    pub fn connect(&self, id: SocketId, target: Target) -> Result<(), (ChannelFailure, String)> {
        if self.run(move || Done::Connected(id, connect(&target))) {
            return Ok(());
        }
        Err((ChannelFailure::TooMany, "too many connections are being made at a time".to_owned()))
    }

    /// Listens; what comes of it is told. `Err`: not now.
    pub fn listen(&self, number: u64, asked: Listener) -> Result<(), String> {
        if self.run(move || Done::Bound(number, bind(&asked))) {
            return Ok(());
        }
        Err("too many connections are being made at a time".to_owned())
    }
}

/// Connects to the first address of a name that answers.
///
/// # Errors
/// Why none does.
pub fn connect_to(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut last = None;
    for address in platform::addresses(host)? {
        match TcpStream::connect((address, port)) {
            Ok(socket) => return Ok(socket),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| fault("there is no such name")))
}

fn connect(target: &Target) -> Result<Socket, (ChannelFailure, String)> {
    let (socket, name) = match target {
        Target::Tcp(host, port) => (connect_to(host, *port).map(Socket::Tcp), format!("{host} port {port}")),
        Target::Unix(path) => (UnixStream::connect(path).map(Socket::Unix), path.clone()),
    };
    let socket = socket.and_then(|socket| socket.prepare().map(|()| socket));
    socket.map_err(|error| {
        use io::ErrorKind as Kind;
        let reason = match error.kind() {
            Kind::ConnectionRefused => ChannelFailure::Refused,
            Kind::NotFound => ChannelFailure::NotFound,
            // A name that is not found is no error of the system's.
            _ if error.raw_os_error().is_none() => ChannelFailure::NotFound,
            Kind::PermissionDenied => ChannelFailure::Prohibited,
            _ => ChannelFailure::Unreachable,
        };
        (reason, format!("{name}: {error}"))
    })
}

/// Binds as OpenSSH does for what it forwards: without an address this host's own addresses and no other, with `*` all, of
/// both kinds.
fn bind(asked: &Listener) -> Result<(Listening, u16), String> {
    if !asked.path.is_empty() {
        let path = Path::new(&asked.path);
        let bound = bind_path(path).map_err(|error| format!("{}: {}", asked.path, in_use(&error)))?;
        return Ok((Listening { tcp: Vec::new(), unix: Some((bound, path.to_owned())) }, 0));
    }
    let port = u16::try_from(asked.port).map_err(|_| "there is no such port".to_owned())?;
    let tcp = bind_port(&asked.address, port).map_err(|error| format!("port {port}: {}", in_use(&error)))?;
    let port = tcp.first().and_then(|listener| listener.local_addr().ok()).map_or(port, |at| at.port());
    Ok((Listening { tcp, unix: None }, port))
}

fn in_use(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => "it is in use there".to_owned(),
        io::ErrorKind::PermissionDenied => "it takes root to listen there".to_owned(),
        _ => error.to_string(),
    }
}

fn bind_path(path: &Path) -> io::Result<UnixListener> {
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

fn bind_port(address: &str, port: u16) -> io::Result<Vec<TcpListener>> {
    let both = |v4: Ipv4Addr, v6: Ipv6Addr| -> io::Result<Vec<TcpListener>> {
        // The second gets the port of the first; a host may have one kind only. An address for all of both kinds takes
        // the other with it.
        let order: [IpAddr; 2] =
            if v4.is_unspecified() { [v6.into(), v4.into()] } else { [v4.into(), v6.into()] };
        let first = TcpListener::bind((order[0], port));
        let port = first.as_ref().ok().and_then(|first| first.local_addr().ok()).map_or(port, |at| at.port());
        match (first, TcpListener::bind((order[1], port))) {
            (Ok(first), second) => Ok(std::iter::once(first).chain(second.ok()).collect()),
            (Err(error), _) if error.kind() == io::ErrorKind::AddrInUse => Err(error),
            (Err(_), Ok(second)) => Ok(vec![second]),
            (Err(error), Err(_)) => Err(error),
        }
    };
    let bound = match address {
        "" | "localhost" => both(Ipv4Addr::LOCALHOST, Ipv6Addr::LOCALHOST)?,
        "*" => both(Ipv4Addr::UNSPECIFIED, Ipv6Addr::UNSPECIFIED)?,
        other => match other.parse::<IpAddr>() {
            Ok(address) => vec![TcpListener::bind((address, port))?],
            Err(_) => return Err(fault("that is no address")),
        },
    };
    for listener in &bound {
        listener.set_nonblocking(true)?;
    }
    Ok(bound)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listener(address: &str, port: u16) -> Listener {
        Listener { id: 1, address: address.into(), port: port.into(), path: String::new() }
    }

    #[test]
    fn without_an_address_only_this_host_reaches_a_port_and_a_busy_one_is_said_to_be() {
        let (bound, port) = bind(&listener("", 0)).unwrap();
        assert!(port > 0);
        let addresses: Vec<IpAddr> = bound.tcp.iter().map(|l| l.local_addr().unwrap().ip()).collect();
        assert!(addresses.iter().all(IpAddr::is_loopback), "{addresses:?}");
        assert!(bound.tcp.iter().all(|l| l.local_addr().unwrap().port() == port));
        let why = bind(&listener("127.0.0.1", port)).unwrap_err();
        assert_eq!(why, format!("port {port}: it is in use there"));
        let (all, _) = bind(&listener("*", 0)).unwrap();
        assert!(all.tcp[0].local_addr().unwrap().ip().is_unspecified());
    }

    #[test]
    fn a_path_is_bound_for_its_user_alone_and_goes_with_its_listener() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let asked = Listener { id: 1, path: path.to_str().unwrap().into(), ..Listener::default() };
        let (bound, _) = bind(&asked).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(bind(&asked).unwrap_err().ends_with("it is in use there"));
        drop(bound);
        assert!(!path.exists());
    }

    #[test]
    fn why_nobody_could_be_reached_is_told() {
        let (_, port) = bind(&listener("", 0)).unwrap();
        let (reason, why) = connect(&Target::Tcp("127.0.0.1".into(), port)).unwrap_err();
        assert_eq!(reason, ChannelFailure::Refused);
        assert!(why.starts_with(&format!("127.0.0.1 port {port}: ")), "{why}");
        assert_eq!(connect(&Target::Unix("/no/such".into())).unwrap_err().0, ChannelFailure::NotFound);
    }
}
