//! What the agent does as the program of a plain job, for `sessd pipe`, `put` and `get`: the job's input and output outlive the
//! link, so these need not know of it.

use crate::io::channels::connect_to;
use sessd_files::wire::Part;
use sessd_files::{Landing, Source, Tree};
use std::io::{self, Read, Write};
use std::net::Shutdown;
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
fn pass(mut from: impl Read, mut to: impl Write) {
    let mut buffer = vec![0; PIECE];
    loop {
        match from.read(&mut buffer) {
            Ok(n) if n > 0 => {
                if to.write_all(&buffer[..n]).and_then(|()| to.flush()).is_err() {
                    return;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            _ => return,
        }
    }
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
        let (reader, writer) = (socket.try_clone()?, socket.try_clone()?);
        let end = move || socket.shutdown(Shutdown::Write);
        io::Result::Ok((
            Box::new(reader) as Box<dyn Read>,
            Box::new(writer) as Box<dyn Write + Send>,
            Box::new(end) as End,
        ))
    };
    let joined = match target {
        [path] => UnixStream::connect(path).and_then(|socket| {
            let (reader, writer) = (socket.try_clone()?, socket.try_clone()?);
            let end = move || socket.shutdown(Shutdown::Write);
            Ok((
                Box::new(reader) as Box<dyn Read>,
                Box::new(writer) as Box<dyn Write + Send>,
                Box::new(end) as End,
            ))
        }),
        [host, port] => match port.parse() {
            Ok(port) => tcp(((*host).to_owned(), port)),
            Err(_) => return ExitCode::from(code::NOT_FOUND),
        },
        _ => tcp(own_sshd()),
    };
    match joined {
        Ok((reader, writer, end)) => {
            thread::spawn(move || {
                pass(io::stdin().lock(), writer);
                // Fails where the other side is gone, which reading it tells.
                let _ = end();
            });
            pass(reader, io::stdout().lock());
            ExitCode::SUCCESS
        }
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

type End = Box<dyn FnOnce() -> io::Result<()> + Send>;

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
        let mut buffer = vec![0; PIECE];
        loop {
            match io::stdin().lock().read(&mut buffer) {
                Ok(0) => return landing.finish(),
                Ok(n) => landing.push(&buffer[..n])?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(sessd_files::reason(&error)),
            }
        }
    });
    let mut out = io::stdout().lock();
    match landed {
        Ok(landed) => {
            for path in landed.paths {
                writeln!(out, "{}", path.display())?;
            }
            Ok(ExitCode::SUCCESS)
        }
        Err(why) => {
            writeln!(out, "{why}")?;
            Ok(ExitCode::FAILURE)
        }
    }
}

/// Writes these files to stdout.
///
/// # Errors
/// When nobody takes them.
pub fn get(paths: &[&str]) -> io::Result<()> {
    let (mut out, mut bytes) = (io::stdout().lock(), Vec::new());
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
    out.flush()
}
