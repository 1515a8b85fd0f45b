//! The manager's log: appended to, begun anew when it is large, and made again when it was taken away.

use sessd_base::files;
use sessd_proto::docs::{Error, Result};
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// The log begins anew beyond this, in bytes; the one before is kept under another name.
const LARGE: u64 = 8 << 20;

/// A handle to the log, which is written through another one.
#[derive(Debug, Clone)]
pub struct Log(Arc<Mutex<Open>>);

#[derive(Debug)]
struct Open {
    path: PathBuf,
    file: File,
    /// Bytes in it.
    length: u64,
    large: u64,
}

impl Open {
    fn at(path: &Path, large: u64) -> io::Result<Self> {
        let file = files::open_private(path, File::options().create(true).append(true))?;
        let length = file.metadata()?.len();
        Ok(Self { path: path.to_owned(), file, length, large })
    }

    /// Begins anew when the next line would make it too long. Where that cannot be, it is shortened instead: it is bounded
    /// whatever happens.
    fn make_room(&mut self, line: usize) {
        if self.length + line as u64 <= self.large || !self.file.metadata().is_ok_and(|meta| meta.is_file()) {
            return;
        }
        let renamed = std::fs::rename(&self.path, self.path.with_extension("log.1"));
        match renamed.and_then(|()| Self::at(&self.path, self.large)) {
            Ok(new) => *self = new,
            Err(_) if self.file.set_len(0).is_ok() => self.length = 0,
            Err(_) => {}
        }
    }
}

/// What `tracing` writes a line to.
impl Write for &Log {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        open.make_room(line.len());
        let written = open.file.write(line)?;
        open.length += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// Opens the log at `path`.
    ///
    /// # Errors
    /// When it cannot be written, or is no file.
    pub fn open(path: &Path, large: u64) -> io::Result<Self> {
        Ok(Self(Arc::new(Mutex::new(Open::at(path, large)?))))
    }

    /// Makes the log again if somebody moved it away.
    pub fn look(&self) {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let here = std::fs::metadata(&open.path).map(|meta| files::identity(&meta));
        if here.as_ref().is_err_and(|error| error.kind() != io::ErrorKind::NotFound) {
            return;
        }
        let ours = open.file.metadata().map(|meta| files::identity(&meta));
        if here.ok() != ours.ok()
            && let Ok(new) = Open::at(&open.path, open.large)
        {
            *open = new;
        }
    }
}

/// Starts writing down what happens.
///
/// # Errors
/// When the log cannot be written.
pub fn start(path: &Path) -> Result<Log> {
    let log = Log::open(path, LARGE).map_err(|e| {
        Error::failed(
            format!("the log {} cannot be written ({e})", path.display()),
            "check its folder for space and permissions, or move it away",
        )
    })?;
    let filter = tracing_subscriber::EnvFilter::try_from_env("SESSD_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn,sessd=info"));
    let writer = log.clone();
    // Fails only when there is a log already.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .with_writer(move || LineWriter(writer.clone()))
        .try_init();
    Ok(log)
}

struct LineWriter(Log);

impl Write for LineWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        (&self.0).write(line)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn the_log_is_bounded_while_it_is_written_and_comes_back_when_it_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sessd.log");
        let log = Log::open(&path, 1000).unwrap();
        let mut writer = &log;
        for _ in 0..500 {
            writer.write_all(&[b'x'; 99]).unwrap();
        }
        let length = |path: &Path| fs::metadata(path).unwrap().len();
        assert!(length(&path) <= 1000 && length(&path.with_extension("log.1")) <= 1000);
        // A folder in which nothing can be renamed: it is bounded all the same.
        fs::remove_file(path.with_extension("log.1")).unwrap();
        fs::create_dir(path.with_extension("log.1")).unwrap();
        for _ in 0..500 {
            writer.write_all(&[b'x'; 99]).unwrap();
        }
        assert!(length(&path) <= 1000);
        fs::remove_file(&path).unwrap();
        log.look();
        writer.write_all(b"again").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"again");
    }
}
