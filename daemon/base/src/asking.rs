//! What of the environment of whoever asks for a host counts for reaching it.
//!
//! Keys, agents and programs are found there and not where the manager happened to be started: cron, a login that is
//! over. A person's command sends the few variables that count, by name: those that ssh and the programs it is known to
//! start read, and those that the ssh config names. The manager keeps them in memory only, per host, for the next
//! attempt; they are in no record, no document and no log.

use crate::config::Config;
use crate::named::{Named, matches_pattern};
use crate::paths::Paths;
use crate::prompt::Prompter;
use sessd_proto::messages as m;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// The ssh config instead of the usual ones.
pub const SSH_CONFIG: &str = "SESSD_SSH_CONFIG";
/// The ssh-agent.
pub const AGENT: &str = "SSH_AUTH_SOCK";

/// What counts whatever the ssh config says.
const ALWAYS: &[&str] = &[
    AGENT,
    SSH_CONFIG,
    "PATH",
    "SHELL",
    "TMPDIR",
    "XDG_RUNTIME_DIR",
    "XDG_CONFIG_HOME",
    "XDG_CACHE_HOME",
    "KRB5CCNAME",
    "KRB5_CONFIG",
    "SSH_SK_HELPER",
    "SSH_SK_PROVIDER",
    "SSH_PKCS11_HELPER",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
];
/// What programs read that a ProxyCommand is known to be, by the beginning of the name.
const FAMILIES: &[&str] =
    &["AWS_", "CLOUDSDK_", "GOOGLE_", "AZURE_", "TELEPORT_", "TSH_", "VAULT_", "TUNNEL_"];
/// Proxies, in capitals or not.
const PROXIES: &[&str] = &["http_proxy", "https_proxy", "all_proxy", "no_proxy"];
/// What would have a program ask a person in front of whatever screen the manager knows of.
pub const NEVER: &[&str] = &["DISPLAY", "WAYLAND_DISPLAY", "SSH_ASKPASS", "SSH_ASKPASS_REQUIRE"];

/// The most variables that are taken from one who asks, and the bytes of all of them.
const MAX_VARIABLES: usize = 512;
const MAX_BYTES: usize = 128 << 10;

/// The variables that count of one who asks, and those of them that are not set there. Has secrets, hence no `Debug`.
#[derive(Clone, Default)]
pub struct Asking {
    variables: BTreeMap<String, Option<String>>,
    /// Whoever asks, where they may be asked in return; no part of where they ask from.
    pub person: Option<Arc<dyn Prompter>>,
}

impl PartialEq for Asking {
    fn eq(&self, other: &Self) -> bool {
        self.variables == other.variables
    }
}

impl Eq for Asking {}

impl std::fmt::Debug for Asking {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Asking").finish_non_exhaustive()
    }
}

fn counts(name: &str) -> bool {
    ALWAYS.contains(&name)
        || FAMILIES.iter().any(|family| name.starts_with(family))
        || PROXIES.contains(&name.to_ascii_lowercase().as_str())
}

impl Asking {
    /// What counts of this process's own environment. `whole`: with what the ssh config names, which is read for it.
    pub fn here(paths: &Paths, whole: bool) -> Self {
        let named = if whole {
            let file = ssh_config_here().or_else(|| Config::load(paths).ok().and_then(|c| c.ssh_config));
            Named::look(file.as_deref(), &paths.home)
        } else {
            Named::default()
        };
        Self::of(
            std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?))),
            &named,
        )
    }

    fn of(environment: impl Iterator<Item = (String, String)>, named: &Named) -> Self {
        let always = ALWAYS.iter().map(|name| (*name).to_owned());
        // A pattern stands for all that it matches and is not set: the manager's own does not go in its place.
        let unset = always.chain(named.variables.iter().chain(&named.patterns).cloned());
        let mut variables: BTreeMap<String, Option<String>> = unset.map(|name| (name, None)).collect();
        for (name, value) in environment {
            if counts(&name) || named.names(&name) {
                variables.insert(name, Some(value).filter(|value| !value.is_empty()));
            }
        }
        if let Some(config) = variables.get_mut(SSH_CONFIG) {
            *config = config.take().map(|file| absolute(&file));
        }
        Self::bounded(variables)
    }

    /// Takes what a person's command sent, within bounds.
    fn bounded(variables: BTreeMap<String, Option<String>>) -> Self {
        let mut bytes = 0;
        let fits = |(name, value): &(String, Option<String>)| {
            bytes += name.len() + value.as_ref().map_or(0, String::len);
            let fit = |text: &str| !text.contains('\0');
            bytes <= MAX_BYTES
                && !NEVER.contains(&name.as_str())
                && !name.is_empty()
                && !name.contains('=')
                && fit(name)
                && value.as_deref().is_none_or(fit)
        };
        let variables = variables.into_iter().take(MAX_VARIABLES).filter(fits).collect();
        Self { variables, person: None }
    }

    /// The variables as they are sent.
    pub fn message(&self) -> m::Environment {
        let (set, unset): (Vec<_>, Vec<_>) = self.variables.iter().partition(|(_, value)| value.is_some());
        m::Environment {
            variables: set.into_iter().filter_map(|(k, v)| Some((k.clone(), v.clone()?))).collect(),
            unset: unset.into_iter().map(|(name, _)| name.clone()).collect(),
            answers: false,
        }
    }

    /// The same of somebody who answers what only a person knows.
    pub fn of_person(&self, answers: bool) -> m::Environment {
        m::Environment { answers, ..self.message() }
    }

    /// The ssh-agent's socket.
    pub fn agent(&self) -> Option<PathBuf> {
        self.get(AGENT).map(PathBuf::from)
    }

    /// The ssh config instead of the usual ones.
    pub fn ssh_config(&self) -> Option<PathBuf> {
        self.get(SSH_CONFIG).map(PathBuf::from)
    }

    /// Whether it says of `name`, that is set elsewhere, that it is not set where this was asked from.
    pub fn lacks(&self, name: &str) -> bool {
        !self.variables.contains_key(name)
            && self.variables.iter().any(|(pattern, value)| {
                value.is_none() && pattern.contains(['*', '?']) && matches_pattern(pattern, name)
            })
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name)?.as_deref()
    }

    /// What differs from an environment that holds `has`, in the order of the names: a value, or that it is not set.
    pub fn changes(&self, has: impl Fn(&str) -> Option<String>) -> Vec<(String, Option<String>)> {
        let differs = |(name, value): &(&String, &Option<String>)| {
            has(name).filter(|value| !value.is_empty()) != **value
        };
        self.variables.iter().filter(differs).map(|(name, value)| (name.clone(), value.clone())).collect()
    }
}

impl From<m::Environment> for Asking {
    fn from(sent: m::Environment) -> Self {
        let unset = sent.unset.into_iter().map(|name| (name, None));
        let set = sent.variables.into_iter().map(|(name, value)| (name, Some(value)));
        Self::bounded(unset.chain(set).collect())
    }
}

/// `SESSD_SSH_CONFIG` of this process, from wherever it stands.
fn ssh_config_here() -> Option<PathBuf> {
    let file = std::env::var(SSH_CONFIG).ok().filter(|file| !file.is_empty())?;
    Some(PathBuf::from(absolute(&file)))
}

/// A path of the caller's, for a program that stands somewhere else.
fn absolute(file: &str) -> String {
    std::path::absolute(file).map_or_else(|_| file.to_owned(), |path| path.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asking(environment: &[(&str, &str)], named: &Named) -> Asking {
        Asking::of(environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())), named)
    }

    #[test]
    fn only_what_counts_is_sent_and_what_is_not_set_is_said() {
        let named = Named {
            variables: ["MYAGENT".to_owned(), "GONE".to_owned(), "DISPLAY".to_owned()].into(),
            patterns: ["LC_*".to_owned()].into(),
            ..Named::default()
        };
        let all = [
            ("SSH_AUTH_SOCK", "/tmp/a"),
            ("MYAGENT", "/tmp/b"),
            ("LC_ALL", "C"),
            ("AWS_PROFILE", "work"),
            ("HTTPS_PROXY", "p"),
            ("GITHUB_TOKEN", "secret"),
            ("DISPLAY", ":0"),
            ("PATH", ""),
        ];
        let sent = asking(&all, &named).message();
        let mut set: Vec<&str> = sent.variables.keys().map(String::as_str).collect();
        set.sort_unstable();
        assert_eq!(set, ["AWS_PROFILE", "HTTPS_PROXY", "LC_ALL", "MYAGENT", "SSH_AUTH_SOCK"]);
        assert!(sent.unset.contains(&"GONE".to_owned()) && sent.unset.contains(&"PATH".to_owned()));
        let came = Asking::from(sent);
        assert!(came.lacks("LC_TIME") && !came.lacks("LC_ALL") && !came.lacks("LANG"));
        assert_eq!(came.agent(), Some("/tmp/a".into()));
        assert!(!format!("{came:?}").contains("work"));
    }

    #[test]
    fn the_difference_to_the_managers_own_environment_is_what_changes() {
        let came = asking(&[("SSH_AUTH_SOCK", "/new"), ("PATH", "/bin")], &Named::default());
        let has = |name: &str| match name {
            "SSH_AUTH_SOCK" => Some("/old".to_owned()),
            "PATH" => Some("/bin".to_owned()),
            "KRB5CCNAME" => Some("old".to_owned()),
            _ => None,
        };
        assert_eq!(
            came.changes(has),
            [("KRB5CCNAME".to_owned(), None), ("SSH_AUTH_SOCK".to_owned(), Some("/new".to_owned()))]
        );
        assert_eq!(came.changes(|name| came.get(name).map(str::to_owned)), []);
    }

    #[test]
    fn a_config_is_named_from_wherever_the_caller_stands() {
        let came = asking(&[(SSH_CONFIG, "my/config")], &Named::default());
        assert_eq!(came.ssh_config(), Some(std::env::current_dir().unwrap().join("my/config")));
    }

    #[test]
    fn what_is_sent_is_bounded() {
        let many = (0..10_000).map(|n| (format!("AWS_{n}"), "x".repeat(100))).collect();
        let sent = m::Environment {
            variables: many,
            unset: vec!["A=B".into(), "\0".into(), "SSH_ASKPASS".into()],
            answers: false,
        };
        let came = Asking::from(sent);
        assert!(came.variables.len() <= MAX_VARIABLES && came.variables.len() > 100);
        assert!(came.variables.keys().all(|name| name.starts_with("AWS_")));
    }
}
