//! `config.toml`: read once, parsed into types, defaults for what it does not say.

mod wrong;

use crate::error::{Error, Result};
use crate::files;
use crate::paths::{self, Paths};
use serde::Deserialize;
use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;
use toml::Spanned;
use wrong::Wrong;

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
    detach_key: Option<Spanned<String>>,
    ssh_config: Option<PathBuf>,
    idle_timeout: Option<Spanned<String>>,
    keep_done: Option<Spanned<String>>,
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

/// Longest file that is read, in bytes.
const LONGEST: u64 = 1 << 20;
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
        let text = match files::read_text(&paths.config, LONGEST) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => {
                return Err(Error::failed(
                    format!("{} cannot be read ({error})", paths.config.display()),
                    "check its permissions, or move it away",
                ));
            }
        };
        let mut config = Self::parse(&text).map_err(|wrong| wrong.into_error(&paths.config))?;
        config.ssh_config = config.ssh_config.map(|file| paths::in_a_file(&file, &paths.home, &paths.config));
        if let Some((_, file)) = paths::absolute_variables().find(|(name, _)| *name == "SESSD_SSH_CONFIG") {
            config.ssh_config = Some(file);
        }
        Ok(config)
    }

    fn parse(text: &str) -> std::result::Result<Self, Wrong> {
        let file: File = toml::from_str(text).map_err(|e| Wrong::parsed(text, &e))?;
        let mut config = Self { ssh_config: file.ssh_config, hosts: file.hosts, ..Self::default() };
        if let Some(key) = file.detach_key {
            config.detach_key = detach_key(key.get_ref()).ok_or_else(|| {
                let what = format!("detach_key `{}` is no key to leave by", key.get_ref());
                Wrong::value(text, key.span(), what, "one is like ctrl-], or off")
            })?;
        }
        let duration = |value: Spanned<String>| {
            duration_or_never(value.get_ref())
                .map_err(|e| Wrong::value(text, value.span(), e.message, "mend that line"))
        };
        if let Some(timeout) = file.idle_timeout {
            config.idle_timeout = duration(timeout)?;
        }
        if let Some(keep) = file.keep_done {
            config.keep_done = duration(keep)?.unwrap_or(Duration::MAX);
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
        for (wrong, said) in [
            (
                "detach_key = 'q'",
                "/c, line 1: detach_key `q` is no key to leave by: one is like ctrl-], or off",
            ),
            ("\n\nidle_timeout = 'soon'", "/c, line 3: `soon` is not a duration"),
            ("idle_timout = '2d'", "/c, line 1: unknown setting idle_timout: did you mean idle_timeout"),
            (
                "#\n[hosts.box]\ntranport = 'x'",
                "/c, line 3: unknown setting tranport: did you mean transport",
            ),
            ("colour = 1", "/c, line 1: unknown setting colour: there are detach_key, ssh_config, "),
            ("scrollback = 'x'\n", "/c, line 1: "),
            ("\n= =", "/c, line 2: "),
        ] {
            let error = Config::parse(wrong).unwrap_err().into_error(std::path::Path::new("/c"));
            assert!(error.line().starts_with(&format!("sessd: {said}")), "{wrong}: {}", error.line());
        }
    }
}
