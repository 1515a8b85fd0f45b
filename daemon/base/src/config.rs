//! `config.toml`: parsed into types, defaults for what it does not say; read again by the manager when it changes.

mod wrong;

use crate::files;
use crate::paths::{self, Paths};
use serde::Deserialize;
use sessd_proto::docs::host::Destination;
use sessd_proto::docs::host::LOCAL;
use sessd_proto::docs::{Error, Result};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;
use toml::Spanned;
use wrong::Wrong;

/// How a host is reached.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TransportName {
    /// Our own connection, and the system's `ssh` for what that lacks.
    #[default]
    Auto,
    /// Our own connection, by russh.
    Russh,
    /// The system's `ssh` (hardware keys without an agent, GSSAPI).
    Openssh,
}

/// Whether a view shows what is typed before the job does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Predict {
    /// Where the way to the job and back is long enough to be felt.
    #[default]
    Auto,
    /// Whatever the way.
    Always,
    /// Never.
    Never,
}

/// What may be set per host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HostSettings {
    /// How it is reached.
    pub transport: TransportName,
    /// The agent's folder there.
    pub agent_dir: Option<String>,
    /// A second link is kept beside the first, logged in, so that a cut costs a round trip. Not where the login asks a person.
    pub standby: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    detach_key: Option<Spanned<String>>,
    ssh_config: Option<PathBuf>,
    idle_timeout: Option<Spanned<String>>,
    keep_done: Option<Spanned<String>>,
    scrollback: Option<u32>,
    images: Option<bool>,
    event_command: Option<String>,
    predict: Predict,
    hosts: BTreeMap<String, HostSettings>,
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
    /// Images that a session showed are shown again to a view that comes.
    pub images: bool,
    /// A line for the shell, run with each event that people are told of.
    pub event_command: Option<String>,
    /// Whether views show what is typed before the job does.
    pub predict: Predict,
    /// What is there and has no effect, one sentence each.
    pub warnings: Vec<String>,
    hosts: Vec<Entry>,
}

/// The settings of a host, under one of its names.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    name: String,
    /// The name taken apart; none: `local`.
    destination: Option<Destination>,
    settings: HostSettings,
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
            images: true,
            event_command: None,
            predict: Predict::Auto,
            warnings: Vec::new(),
            hosts: Vec::new(),
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
    /// Reads the file, if there is one.
    ///
    /// # Errors
    /// With the file's line that cannot be.
    pub fn load(paths: &Paths) -> Result<Self> {
        if let Some(why) = files::changed_by_others(&paths.config) {
            // It names commands that run as its reader.
            let file = paths.config.display();
            return Err(Error::failed(
                format!("{file} is not used: {why}"),
                format!("make it yours and writable for you alone (`chmod go-w {file}`), or move it away"),
            ));
        }
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
        Ok(config)
    }

    fn parse(text: &str) -> std::result::Result<Self, Wrong> {
        let file: File = toml::from_str(text).map_err(|e| Wrong::parsed(text, &e))?;
        let mut config = Self { ssh_config: file.ssh_config, ..Self::default() };
        for (name, settings) in file.hosts {
            let destination = match Destination::parse(&name) {
                _ if name == LOCAL => None,
                Ok(destination) => Some(destination),
                Err(why) => {
                    config.warnings.push(format!(
                        "[hosts.{name:?}] applies to no host: {why}; each host has its own entry, and patterns stand in the ssh \
                         config only"
                    ));
                    continue;
                }
            };
            config.hosts.push(Entry { name, destination, settings });
        }
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
        config.predict = file.predict;
        config.images = file.images.unwrap_or(true);
        config.event_command = file.event_command.filter(|line| !line.trim().is_empty());
        Ok(config)
    }

    /// What is set for a host, by the name that was typed.
    pub fn host(&self, host: &str) -> HostSettings {
        self.host_as(host, None, None)
    }

    /// The same where the user and the port are known that the name stands for. An entry applies to every way of writing
    /// its host: what it does not say may be anything. The entry of just that name goes first, then the one that says most.
    pub fn host_as(&self, host: &str, user: Option<&str>, port: Option<u16>) -> HostSettings {
        if let Some(entry) = self.hosts.iter().find(|entry| entry.name == host) {
            return entry.settings.clone();
        }
        let Ok(typed) = Destination::parse(host) else { return HostSettings::default() };
        let user = typed.user.as_deref().or(user);
        let port = typed.port.or(port);
        let fits = |entry: &&Entry| {
            entry.destination.as_ref().is_some_and(|known| {
                known.host.eq_ignore_ascii_case(&typed.host)
                    && known.user.as_deref().is_none_or(|known| Some(known) == user)
                    && known.port.is_none_or(|known| known == port.unwrap_or(22))
            })
        };
        let says = |entry: &&Entry| {
            let known = entry.destination.as_ref();
            known.map_or(0, |known| u8::from(known.user.is_some()) + u8::from(known.port.is_some()))
        };
        self.hosts.iter().filter(fits).max_by_key(says).map(|e| e.settings.clone()).unwrap_or_default()
    }
}

/// What is another when a file was written to, replaced, or given other permissions: device, inode, size, and nanoseconds since the epoch; none: it
/// is not there.
pub type Stamp = Option<(u64, u64, u64, i128)>;

/// A file's stamp. Blocks.
pub fn stamp(file: &Path) -> Stamp {
    let meta = std::fs::metadata(file).ok()?;
    // Not only what is written: whose it is and who may write it counts, too.
    let changed = i128::from(meta.ctime()) * 1_000_000_000 + i128::from(meta.ctime_nsec());
    Some((meta.dev(), meta.ino(), meta.size(), changed))
}

/// How long a look at the file may take: the disk that it lies on may hang.
const LOOK: Duration = Duration::from_secs(1);

/// The configuration as long as the manager runs. One that became wrong changes nothing but what is said of it.
#[derive(Debug)]
pub struct WatchedConfig {
    now: RefCell<Rc<Config>>,
    stamp: RefCell<Stamp>,
    wrong: RefCell<Option<Error>>,
}

impl WatchedConfig {
    /// Reads the file, if there is one.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn open(paths: &Paths) -> Result<Self> {
        // Before it is read: what is written meanwhile is read again.
        let stamp = stamp(&paths.config);
        let config = Config::load(paths)?;
        config.warnings.iter().for_each(|warning| tracing::warn!("{}: {warning}", paths.config.display()));
        Ok(Self { now: RefCell::new(Rc::new(config)), stamp: RefCell::new(stamp), wrong: RefCell::default() })
    }

    /// As it was read last.
    pub fn now(&self) -> Rc<Config> {
        self.now.borrow().clone()
    }

    /// What is wrong with the file, or has no effect in it; it is as it was read before.
    pub fn wrong(&self) -> Vec<String> {
        match &*self.wrong.borrow() {
            Some(error) => vec![format!("{}; what was read before goes on to count", error.message)],
            None => self.now().warnings.clone(),
        }
    }

    /// Reads the file again if it has changed.
    pub async fn look(&self, paths: &Paths) {
        let (before, paths) = (*self.stamp.borrow(), paths.clone());
        let reading = tokio::task::spawn_blocking(move || {
            let stamp = stamp(&paths.config);
            (stamp != before).then(|| (stamp, Config::load(&paths), paths))
        });
        let Ok(Ok(Some((stamp, read, paths)))) = tokio::time::timeout(LOOK, reading).await else { return };
        if *self.stamp.borrow() == stamp {
            // Somebody else looked meanwhile.
            return;
        }
        *self.stamp.borrow_mut() = stamp;
        match read {
            Ok(config) => {
                tracing::info!("{} has changed and was read again", paths.config.display());
                config.warnings.iter().for_each(|w| tracing::warn!("{}: {w}", paths.config.display()));
                *self.now.borrow_mut() = Rc::new(config);
                *self.wrong.borrow_mut() = None;
            }
            Err(error) => {
                tracing::warn!(error = error.line(), "what was read before goes on to count");
                *self.wrong.borrow_mut() = Some(error);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_has_its_default_and_what_is_wrong_is_named() {
        assert_eq!(Config::parse(""), Ok(Config::default()));
        let config = Config::parse(
            "detach_key = 'ctrl-]'\nidle_timeout = 'never'\npredict = 'always'\n[hosts.box]\ntransport = 'openssh'\n",
        )
        .unwrap();
        assert_eq!((config.detach_key, config.idle_timeout), (Some(0x1d), None));
        assert_eq!(config.predict, Predict::Always);
        assert_eq!(config.host("box").transport, TransportName::Openssh);
        assert_eq!(config.host("other"), HostSettings::default());
        assert_eq!(config.warnings, [] as [&str; 0]);
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
            (
                "predict = 'often'\n",
                "/c, line 1: unknown variant `often`, expected one of `auto`, `always`, `never`",
            ),
            ("\n= =", "/c, line 2: "),
        ] {
            let error = Config::parse(wrong).unwrap_err().into_error(std::path::Path::new("/c"));
            assert!(error.line().starts_with(&format!("sessd: {said}")), "{wrong}: {}", error.line());
        }
    }

    #[test]
    fn an_entry_applies_to_every_way_of_writing_its_host() {
        let config = Config::parse(
            "[hosts.x]\nagent_dir = '/x'\n[hosts.'me@x']\nagent_dir = '/me'\n[hosts.'ssh://y:2222']\nagent_dir = '/y'\n\
             [hosts.'root@z:22']\nagent_dir = '/z'\n[hosts.'fe80::1']\nagent_dir = '/v6'\n",
        )
        .unwrap();
        let of = |host: &str| config.host(host).agent_dir;
        for (host, expected) in [
            ("x", Some("/x")),
            ("you@x", Some("/x")),
            ("x:22", Some("/x")),
            ("ssh://x", Some("/x")),
            ("ssh://you@x:2200/", Some("/x")),
            ("X", Some("/x")),
            ("me@x", Some("/me")),
            ("ssh://me@x:22", Some("/me")),
            ("y", None),
            ("y:2222", Some("/y")),
            ("me@y:2222", Some("/y")),
            ("xx", None),
            ("z", None),
            ("root@z", Some("/z")),
            ("[fe80::1]:22", Some("/v6")),
        ] {
            assert_eq!(of(host).as_deref(), expected, "{host}");
        }
        // What the ssh config makes of a name counts, too.
        assert_eq!(config.host_as("z", Some("root"), Some(22)).agent_dir.as_deref(), Some("/z"));
        assert_eq!(config.host_as("z", Some("me"), Some(22)).agent_dir, None);
        assert_eq!(config.host_as("y", Some("me"), Some(2222)).agent_dir.as_deref(), Some("/y"));
    }

    #[test]
    fn an_entry_that_applies_to_nothing_is_said() {
        let config =
            Config::parse("[hosts.'*']\ntransport = 'openssh'\n[hosts.local]\n[hosts.'a b']\n").unwrap();
        assert_eq!(config.warnings.len(), 2, "{:?}", config.warnings);
        assert!(config.warnings[0].contains("\"*\""), "{:?}", config.warnings);
        assert_eq!(config.host("anything"), HostSettings::default());
    }

    fn paths(home: &Path) -> Paths {
        let in_it = |name: &str| home.join(name);
        Paths {
            home: home.to_owned(),
            config: in_it("conf/config.toml"),
            database: in_it("db"),
            log: in_it("log"),
            socket: in_it("socket"),
            lock: in_it("lock"),
            socket_lock: in_it("socket.lock"),
            notes: Vec::new(),
        }
    }

    #[test]
    fn the_ssh_config_is_named_from_home_or_from_beside_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let paths = paths(folder.path());
        std::fs::create_dir(folder.path().join("conf")).unwrap();
        for (text, expected) in [
            ("~/.ssh/other", folder.path().join(".ssh/other")),
            ("mine", folder.path().join("conf/mine")),
            ("/a/b", "/a/b".into()),
        ] {
            std::fs::write(&paths.config, format!("ssh_config = '{text}'")).unwrap();
            assert_eq!(Config::load(&paths).unwrap().ssh_config, Some(expected));
        }
    }

    #[tokio::test]
    async fn a_changed_file_is_read_again_and_a_wrong_one_changes_nothing_but_what_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let paths = paths(folder.path());
        std::fs::create_dir(folder.path().join("conf")).unwrap();
        let write = |text: &str| {
            // As editors do it: another inode.
            let new = folder.path().join("conf/new");
            std::fs::write(&new, text).unwrap();
            std::fs::rename(&new, &paths.config).unwrap();
        };
        let live = WatchedConfig::open(&paths).unwrap();
        assert_eq!(*live.now(), Config::default());
        write("scrollback = 7\nimages = false");
        live.look(&paths).await;
        assert_eq!((live.now().scrollback_lines, live.now().images, live.wrong()), (7, false, vec![]));
        write("scrollback = ");
        live.look(&paths).await;
        assert_eq!((live.now().scrollback_lines, live.wrong().len()), (7, 1));
        write("scrollback = 8\n[hosts.'*']");
        live.look(&paths).await;
        assert_eq!((live.now().scrollback_lines, live.wrong().len()), (8, 1), "what has no effect is said");
        std::fs::remove_file(&paths.config).unwrap();
        live.look(&paths).await;
        assert_eq!((*live.now()).clone(), Config::default());
        assert_eq!(live.wrong(), [] as [&str; 0]);
    }
}
