//! `config.toml`: read once, parsed into types, defaults for what it does not say.

use crate::error::{Error, Result};
use crate::paths::Paths;
use serde::Deserialize;
use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

/// How a host is reached.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TransportName {
    /// Our own connection, by russh.
    #[default]
    Russh,
    /// The system's `ssh`, for what russh lacks (hardware keys, GSSAPI).
    Openssh,
}

/// What may be set per host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HostSettings {
    /// How it is reached.
    pub transport: TransportName,
    /// The agent's folder there.
    pub agent_dir: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    detach_key: Option<String>,
    ssh_config: Option<PathBuf>,
    idle_timeout: Option<String>,
    keep_done: Option<String>,
    scrollback: Option<u32>,
    hosts: HashMap<String, HostSettings>,
}

/// The configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The control key that leaves a session, as the byte it sends; `None`: off.
    pub detach_key: Option<u8>,
    /// Instead of `~/.ssh/config`.
    pub ssh_config: Option<PathBuf>,
    /// For sessions that do not say. `None`: never.
    pub idle_timeout: Option<Duration>,
    /// How long done records are kept.
    pub keep_done: Duration,
    /// Lines of scrollback a view gets when it attaches.
    pub scrollback_lines: u32,
    hosts: HashMap<String, HostSettings>,
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Ctrl-\
const DETACH_KEY: u8 = 0x1c;

impl Default for Config {
    fn default() -> Self {
        Self {
            detach_key: Some(DETACH_KEY),
            ssh_config: None,
            idle_timeout: Some(2 * DAY),
            keep_done: 7 * DAY,
            scrollback_lines: 10_000,
            hosts: HashMap::new(),
        }
    }
}

/// A duration, or `never`.
///
/// # Errors
/// With the text that is neither.
pub fn duration_or_never(text: &str) -> Result<Option<Duration>> {
    if text == "never" {
        return Ok(None);
    }
    match humantime::parse_duration(text) {
        Ok(duration) if !duration.is_zero() => Ok(Some(duration)),
        _ => Err(Error::usage(format!("`{text}` is not a duration such as 90s, 1h30m or 2d, nor `never`"))),
    }
}

fn detach_key(text: &str) -> Option<Option<u8>> {
    if matches!(text, "off" | "none" | "never") {
        return Some(None);
    }
    let lower = text.to_ascii_lowercase();
    let key = lower
        .strip_prefix("ctrl-")
        .or_else(|| lower.strip_prefix("c-"))
        .or_else(|| lower.strip_prefix('^'))?;
    match key.as_bytes() {
        [b @ (b'a'..=b'z' | b'@' | b'[' | b'\\' | b']' | b'^' | b'_')] => {
            Some(Some(b.to_ascii_uppercase() & 0x1f))
        }
        _ => None,
    }
}

impl Config {
    /// Reads the file, if there is one. The environment goes before the file.
    ///
    /// # Errors
    /// With the file's line that cannot be.
    pub fn load(paths: &Paths) -> Result<Self> {
        let text = match std::fs::read_to_string(&paths.config) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => {
                return Err(Error::failed(
                    format!("{} cannot be read ({error})", paths.config.display()),
                    "check its permissions",
                ));
            }
        };
        let mut config = Self::parse(&text).map_err(|why| {
            Error::failed(
                format!("{} is wrong: {why}", paths.config.display()),
                "mend that line, or move the file away",
            )
        })?;
        if let Some(file) = std::env::var_os("SESSD_SSH_CONFIG").filter(|v| !v.is_empty()) {
            config.ssh_config = Some(file.into());
        }
        Ok(config)
    }

    fn parse(text: &str) -> std::result::Result<Self, String> {
        let file: File = toml::from_str(text).map_err(|e| e.to_string())?;
        let mut config = Self { ssh_config: file.ssh_config, hosts: file.hosts, ..Self::default() };
        if let Some(key) = file.detach_key {
            config.detach_key = detach_key(&key)
                .ok_or_else(|| format!("detach_key `{key}` is not like `ctrl-]` or `off`"))?;
        }
        if let Some(timeout) = file.idle_timeout {
            config.idle_timeout = duration_or_never(&timeout).map_err(|e| e.message)?;
        }
        if let Some(keep) = file.keep_done {
            config.keep_done = duration_or_never(&keep).map_err(|e| e.message)?.unwrap_or(Duration::MAX);
        }
        if let Some(lines) = file.scrollback {
            config.scrollback_lines = lines;
        }
        Ok(config)
    }

    /// What is set for a host.
    pub fn host(&self, host: &str) -> HostSettings {
        self.hosts.get(host).cloned().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_has_its_default_and_what_is_wrong_is_named() {
        assert_eq!(Config::parse(""), Ok(Config::default()));
        let config = Config::parse(
            "detach_key = 'ctrl-]'\nidle_timeout = 'never'\n[hosts.box]\ntransport = 'openssh'\n",
        )
        .unwrap();
        assert_eq!((config.detach_key, config.idle_timeout), (Some(0x1d), None));
        assert_eq!(config.host("box").transport, TransportName::Openssh);
        assert_eq!(config.host("other"), HostSettings::default());
        for wrong in ["detach_key = 'q'", "idle_timeout = 'soon'", "colour = 1", "= ="] {
            assert!(Config::parse(wrong).is_err(), "{wrong}");
        }
    }
}
