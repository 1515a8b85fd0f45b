//! What the agent does as the program of a plain job, for `sessd pipe`, `put` and `get`: the job's input and output outlive the
//! link, so these need not know of it.

use crate::io::channels::connect_to;
use sessd_files::wire::Part;
use sessd_files::{Landing, Source, Tree};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;

/// What ends a `connect` that reached nobody: the manager's side has words for each.
mod code {
    pub(super) const REFUSED: u8 = 71;
    pub(super) const NOT_FOUND: u8 = 72;
    pub(super) const UNREACHABLE: u8 = 73;
    pub(super) const PROHIBITED: u8 = 74;
}

/// Bytes passed on at a time.
const PIECE: usize = 32 * 1024;

/// Passes on until one side has no more, or the other takes no more.
fn pass(mut from: File, mut to: File) {
    let mut buffer = vec![0; PIECE];
    loop {
        match from.read(&mut buffer) {
            Ok(n) if n > 0 => {
                if to.write_all(&buffer[..n]).is_err() {
                    return;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            _ => return,
        }
    }
}

/// One of our own, past the buffers of the standard library.
fn own(fd: BorrowedFd<'_>) -> io::Result<File> {
    Ok(File::from(fd.try_clone_to_owned()?))
}

/// The sshd that this login came through, as it was reached; else the one that would be here.
fn own_sshd() -> (String, u16) {
    let connection = std::env::var("SSH_CONNECTION").unwrap_or_default();
    let mut words = connection.split(' ').skip(2);
    match (words.next(), words.next().and_then(|port| port.parse().ok())) {
        (Some(address), Some(port)) => (address.to_owned(), port),
        _ => ("localhost".to_owned(), 22),
    }
}

/// Joins stdin and stdout to a port (`HOST PORT`), a unix socket (`PATH`), or the sshd of this host (nothing).
pub fn connect(target: &[&str]) -> ExitCode {
    let tcp = |(host, port): (String, u16)| {
        let socket = connect_to(&host, port)?;
        // Only a delay, where it cannot be had.
        let _ = socket.set_nodelay(true);
        Ok(OwnedFd::from(socket))
    };
    let joined = match target {
        [path] => UnixStream::connect(path).map(OwnedFd::from),
        [host, port] => match port.parse() {
            Ok(port) => tcp(((*host).to_owned(), port)),
            Err(_) => return ExitCode::from(code::NOT_FOUND),
        },
        _ => tcp(own_sshd()),
    };
    match joined.and_then(carry) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => ExitCode::from(match error.kind() {
            io::ErrorKind::ConnectionRefused => code::REFUSED,
            io::ErrorKind::NotFound => code::NOT_FOUND,
            io::ErrorKind::PermissionDenied => code::PROHIBITED,
            // A name that is not found is no error of the system's.
            _ if error.raw_os_error().is_none() => code::NOT_FOUND,
            _ => code::UNREACHABLE,
        }),
    }
}

/// Until the socket has no more to say.
fn carry(socket: OwnedFd) -> io::Result<()> {
    let (writer, input) = (File::from(socket.try_clone()?), own(rustix::stdio::stdin())?);
    let ends = writer.try_clone()?;
    thread::spawn(move || {
        pass(input, writer);
        // Fails where the other side is gone, which reading it tells.
        let _ = rustix::net::shutdown(ends, rustix::net::Shutdown::Write);
    });
    pass(File::from(socket), own(rustix::stdio::stdout())?);
    Ok(())
}

/// A path as a shell here reads it.
fn path_of(text: &str) -> PathBuf {
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default());
    match text.strip_prefix('~') {
        Some("") => home(),
        Some(rest) if rest.starts_with('/') => home().join(rest.trim_start_matches('/')),
        _ => PathBuf::from(text),
    }
}

/// Writes the files that come on stdin to `dest`, and says where they are, or what went wrong.
///
/// # Errors
/// When nobody takes the answer.
pub fn put(dest: &str, several: bool) -> io::Result<ExitCode> {
    let landed = Landing::new(&path_of(dest), several, None).and_then(|mut landing| {
        let (mut input, mut buffer) =
            (own(rustix::stdio::stdin()).map_err(|e| e.to_string())?, vec![0; PIECE]);
        loop {
            match input.read(&mut buffer) {
                Ok(0) => return landing.finish(),
                Ok(n) => landing.push(&buffer[..n])?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(sessd_files::reason(&error)),
            }
        }
    });
    let (said, code) = match landed {
        Ok(landed) => {
            let lines = landed.paths.iter().map(|path| format!("{}\n", path.display())).collect();
            (lines, ExitCode::SUCCESS)
        }
        Err(why) => (why + "\n", ExitCode::FAILURE),
    };
    own(rustix::stdio::stdout())?.write_all(said.as_bytes())?;
    Ok(code)
}

/// Writes these files to stdout.
///
/// # Errors
/// When nobody takes them.
pub fn get(paths: &[&str]) -> io::Result<()> {
    let (mut out, mut bytes) = (own(rustix::stdio::stdout())?, Vec::new());
    match Tree::new(paths.iter().map(|path| Source::Path(path_of(path))).collect()) {
        Ok(mut tree) => {
            while !tree.is_ended() {
                bytes.clear();
                tree.fill(&mut bytes);
                out.write_all(&bytes)?;
            }
        }
        Err(why) => {
            Part::Failed(why.as_bytes()).put(&mut bytes);
            out.write_all(&bytes)?;
        }
    }
    Ok(())
}
