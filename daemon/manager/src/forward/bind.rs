//! What is listened on here for a forward, and what is connected to here for one.

use crate::link::Pipe;
use sessd_core::forward::spec::{Listen, Target};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

/// What is listened on: a port may have two sockets, one for each kind of address.
#[derive(Debug)]
pub enum Listening {
    /// A port.
    Tcp(Vec<TcpListener>),
    /// A unix socket, which goes with its listener.
    Unix(UnixListener, PathBuf),
}

impl Drop for Listening {
    fn drop(&mut self) {
        if let Self::Unix(_, path) = self {
            // It may have been taken away already.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Listens as `ssh` does: without an address for this machine alone, with `*` for all.
///
/// # Errors
/// One sentence: what is in the way.
pub fn listen(on: &Listen) -> Result<Listening, String> {
    let in_use = |error: &io::Error| match error.kind() {
        io::ErrorKind::AddrInUse => "it is in use here".to_owned(),
        io::ErrorKind::PermissionDenied => "this user may not listen there".to_owned(),
        io::ErrorKind::AddrNotAvailable => "this machine has no such address".to_owned(),
        _ => error.to_string(),
    };
    match on {
        Listen::Port(address, port) => {
            let bound = bind(address.as_deref(), *port);
            bound.map(Listening::Tcp).map_err(|error| format!("port {port}: {}", in_use(&error)))
        }
        Listen::Path(path) => {
            let bound = bind_path(Path::new(path)).map_err(|error| format!("{path}: {}", in_use(&error)))?;
            Ok(Listening::Unix(bound, PathBuf::from(path)))
        }
    }
}

fn bind_path(path: &Path) -> io::Result<UnixListener> {
    let listener = match UnixListener::bind(path) {
        // What a manager left that was killed is nobody's.
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_left(path) => {
            std::fs::remove_file(path)?;
            UnixListener::bind(path)?
        }
        bound => bound?,
    };
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

fn is_left(path: &Path) -> bool {
    let refused = std::os::unix::net::UnixStream::connect(path);
    matches!(refused, Err(error) if error.kind() == io::ErrorKind::ConnectionRefused)
}

fn bind(address: Option<&str>, port: u16) -> io::Result<Vec<TcpListener>> {
    let one = |address: IpAddr| {
        let listener = std::net::TcpListener::bind((address, port))?;
        listener.set_nonblocking(true)?;
        TcpListener::from_std(listener)
    };
    // A machine may have one kind of address only. One for all of both kinds takes the other with it.
    let both = |first: IpAddr, second: IpAddr| match (one(first), one(second)) {
        (Ok(first), second) => Ok(std::iter::once(first).chain(second.ok()).collect()),
        (Err(error), _) if error.kind() == io::ErrorKind::AddrInUse => Err(error),
        (Err(_), Ok(second)) => Ok(vec![second]),
        (Err(error), Err(_)) => Err(error),
    };
    match address {
        None | Some("localhost") => both(Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()),
        Some("*") => both(Ipv6Addr::UNSPECIFIED.into(), Ipv4Addr::UNSPECIFIED.into()),
        Some(other) => {
            let wrong = |_| io::Error::new(io::ErrorKind::InvalidInput, format!("{other} is no address"));
            Ok(vec![one(other.parse().map_err(wrong)?)?])
        }
    }
}

impl Listening {
    /// The next who connects. A connection that fails at once is none.
    pub async fn accept(&self) -> Pipe {
        loop {
            let accepted = match self {
                Self::Unix(listener, _) => listener.accept().await.map(|(socket, _)| of_unix(socket)),
                Self::Tcp(listeners) => match listeners.as_slice() {
                    [one] => one.accept().await.map(|(socket, _)| of_tcp(socket)),
                    [one, two, ..] => tokio::select! {
                        accepted = one.accept() => accepted.map(|(socket, _)| of_tcp(socket)),
                        accepted = two.accept() => accepted.map(|(socket, _)| of_tcp(socket)),
                    },
                    [] => std::future::pending().await,
                },
            };
            match accepted {
                Ok(pipe) => return pipe,
                // Such as no descriptor left: later there may be one.
                Err(_) => tokio::time::sleep(std::time::Duration::from_millis(100)).await,
            }
        }
    }
}

fn of_tcp(socket: TcpStream) -> Pipe {
    // Only a delay, where it cannot be had.
    let _ = socket.set_nodelay(true);
    let (reader, writer) = socket.into_split();
    (Box::new(reader), Box::new(writer))
}

fn of_unix(socket: UnixStream) -> Pipe {
    let (reader, writer) = socket.into_split();
    (Box::new(reader), Box::new(writer))
}

/// Connects.
///
/// # Errors
/// Why that cannot be.
pub async fn connect(to: &Target) -> io::Result<Pipe> {
    match to {
        Target::Port(host, port) => TcpStream::connect((host.as_str(), *port)).await.map(of_tcp),
        Target::Path(path) => UnixStream::connect(path).await.map(of_unix),
    }
}
