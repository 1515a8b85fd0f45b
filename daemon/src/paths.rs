//! Every path of the manager.

use crate::error::{Error, Result};
use std::env;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Longest path a unix socket's address holds on every system we run on, in bytes.
const SOCKET_PATH_MAX: usize = 103;

/// Where everything is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    /// The user's home.
    pub home: PathBuf,
    /// `config.toml`.
    pub config: PathBuf,
    /// `sessd.db`.
    pub database: PathBuf,
    /// `sessd.log`.
    pub log: PathBuf,
    /// The manager's socket.
    pub socket: PathBuf,
    /// Locked by the manager as long as it lives.
    pub lock: PathBuf,
}

fn variable(name: &str) -> Option<PathBuf> {
    env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from)
}

impl Paths {
    /// From the environment.
    ///
    /// # Errors
    /// Without HOME, or when no place for the socket is short enough.
    pub fn from_environment() -> Result<Self> {
        let home =
            variable("HOME").ok_or_else(|| Error::failed("HOME is not set", "set it to your home folder"))?;
        let absolute = |name: &str| variable(name).filter(|p| p.is_absolute());
        let (config, state, run) = match variable("SESSD_HOME") {
            Some(all) => {
                let all = if all.is_absolute() {
                    all
                } else {
                    env::current_dir().map_err(|e| Error::failed(format!("where we are: {e}"), ""))?.join(all)
                };
                (all.join("config.toml"), all.clone(), all)
            }
            None => {
                let config = absolute("XDG_CONFIG_HOME")
                    .unwrap_or_else(|| home.join(".config"))
                    .join("sessd/config.toml");
                let state =
                    absolute("XDG_STATE_HOME").unwrap_or_else(|| home.join(".local/state")).join("sessd");
                let run = absolute("XDG_RUNTIME_DIR")
                    .filter(|p| p.is_dir())
                    .map_or_else(|| state.clone(), |p| p.join("sessd"));
                (config, state, run)
            }
        };
        let socket = run.join("sessd.sock");
        if socket.as_os_str().len() > SOCKET_PATH_MAX {
            return Err(Error::failed(
                format!("the socket's path {} is longer than {SOCKET_PATH_MAX} bytes", socket.display()),
                "set XDG_RUNTIME_DIR or SESSD_HOME to a shorter folder",
            ));
        }
        Ok(Self {
            home,
            config: variable("SESSD_CONFIG").unwrap_or(config),
            database: state.join("sessd.db"),
            log: state.join("sessd.log"),
            socket,
            lock: run.join("sessd.lock"),
        })
    }

    /// Makes the folders, ours alone.
    ///
    /// # Errors
    /// When one cannot be made or belongs to somebody else.
    pub fn make(&self) -> Result<()> {
        for file in [&self.database, &self.socket] {
            let Some(folder) = file.parent() else { continue };
            make_private(folder).map_err(|why| {
                Error::failed(
                    format!("the folder {} cannot be used: {why}", folder.display()),
                    "make it writable for you alone, or set SESSD_HOME to another folder",
                )
            })?;
        }
        Ok(())
    }
}

fn make_private(folder: &Path) -> std::result::Result<(), String> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|e| e.to_string())?;
    let meta = std::fs::metadata(folder).map_err(|e| e.to_string())?;
    if meta.uid() != rustix::process::getuid().as_raw() {
        return Err("it belongs to another user".into());
    }
    if meta.mode() & 0o077 != 0 {
        std::fs::set_permissions(folder, std::os::unix::fs::PermissionsExt::from_mode(0o700))
            .map_err(|e| e.to_string())?;
    }
    rustix::fs::access(folder, rustix::fs::Access::WRITE_OK).map_err(|e| e.to_string())
}
