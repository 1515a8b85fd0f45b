//! What the user's ssh config says about one host.
//!
//! Resolved by asking `ssh -G`, which is exact by construction (Include, Match, canonical names); what it leaves
//! unexpanded is expanded here. Where there is no `ssh`, a small first-match reader of our own takes its place: it
//! produces the same pairs of keyword and value, so everything after it is shared, and refuses `Match` rather than
//! guess. Each ProxyJump hop is resolved by its own question. What differs from what the same ssh prints where no config
//! says anything is a wish, and none is dropped in silence (`keywords`).

mod algorithms;
mod keywords;
mod policy;
mod reader;
mod tokens;

use std::{
    collections::HashMap,
    ffi::OsStr,
    fmt,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{Arc, Mutex},
    time::Duration,
};

use super::{BoxFuture, Destination, Failure, clean, prompt::Prompter};
pub use policy::{Algorithms, Listed, Policy};
use reader::read_config;
use sessd_base::asking::NEVER;
pub(crate) use tokens::matches_pattern;
use tokens::{Tokens, split_paths, split_words, unquote};

/// ConnectTimeout where the config has none: bounds TCP connect and key exchange of each hop.
pub const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The same where a ProxyCommand makes the connection: a tunnel is built, a machine is woken, a person signs on. ssh waits
/// for that without end.
const PROXY_CONNECT_TIMEOUT: Duration = Duration::from_secs(120);
/// How long `ssh -G` may take: `Match exec` runs programs, and ssh waits for them.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(60);
/// The longest chain of jump hosts.
const MAX_HOPS: usize = 8;
/// The ssh programs whose defaults are remembered.
const MAX_PROGRAMS: usize = 8;

/// Keywords in lower case and their values, as `ssh -G` prints them.
type Pairs = Vec<(String, String)>;

/// Where this program runs: everything resolving takes from outside, so that tests (and a view in another login) can
/// say otherwise. Holds environment variables, hence no `Debug`.
#[derive(Clone)]
pub struct Environment {
    /// The home folder that `~` and `%d` mean.
    pub home: PathBuf,
    /// The local user, `%u`, and the remote user where nothing says otherwise.
    pub user: String,
    /// The ssh config to use instead of `~/.ssh/config` and the system's, as `ssh -F` does.
    pub ssh_config: Option<PathBuf>,
    /// The ssh binary; `None` forces the fallback reader.
    pub ssh: Option<PathBuf>,
    /// The variables `${NAME}` and IdentityAgent may name. `SSH_AUTH_SOCK` among them is the agent.
    pub variables: HashMap<String, String>,
    /// What of them is not as in this process's own environment: programs are started with these changes.
    pub changes: Vec<(String, Option<String>)>,
    /// Whoever may be asked what only a person knows.
    pub person: Option<Arc<dyn Prompter>>,
    /// This program, which ssh runs to ask somebody; none: the system's ssh asks nobody.
    pub asker: Option<PathBuf>,
    /// Somebody looks at the line and waits: a host that is silent is knocked at every second.
    pub hurry: bool,
}

impl Environment {
    /// What this process was started with.
    pub fn from_process(ssh_config: Option<PathBuf>) -> Self {
        let variables: HashMap<String, String> = std::env::vars_os()
            .filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)))
            .collect();
        let first = |names: [&str; 2]| {
            names.iter().find_map(|n| variables.get(*n)).filter(|v| !v.is_empty()).cloned()
        };
        Self {
            home: std::env::home_dir().unwrap_or_else(|| PathBuf::from("/")),
            user: first(["USER", "LOGNAME"]).unwrap_or_else(|| {
                if rustix::process::getuid().is_root() { "root".to_owned() } else { String::new() }
            }),
            ssh_config,
            ssh: Some(PathBuf::from("ssh")),
            variables,
            changes: Vec::new(),
            person: None,
            asker: None,
            hurry: false,
        }
    }

    /// Sets a variable, or takes it away.
    pub fn change(&mut self, name: String, value: Option<String>) {
        match &value {
            Some(value) => self.variables.insert(name.clone(), value.clone()),
            None => self.variables.remove(&name),
        };
        self.changes.push((name, value));
    }

    /// A program to be started in this environment, without a way to ask a person anything.
    pub fn command(&self, program: impl AsRef<OsStr>) -> tokio::process::Command {
        // Looked for in the PATH that it is given.
        let mut command = tokio::process::Command::new(program);
        for (name, value) in &self.changes {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        for name in NEVER {
            command.env_remove(name);
        }
        command.env("SSH_ASKPASS_REQUIRE", "never");
        command
    }
}

/// Is this `sessd pipe HOST`, to one of these?
fn is_pipe_to(command: &str, hosts: &[&str]) -> bool {
    let mut words = command.split_whitespace().skip_while(|word| *word == "exec");
    let program = words.next().and_then(|word| word.rsplit('/').next());
    if (program, words.next()) != (Some("sessd"), Some("pipe")) {
        return false;
    }
    let host = words.find(|word| !word.starts_with('-')).and_then(|host| host.rsplit('@').next());
    host.is_some_and(|host| hosts.contains(&host))
}

/// `StrictHostKeyChecking`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strictness {
    /// `yes`: only known keys.
    Yes,
    /// `ask`, the default. There is nobody to ask here: as `yes`, but the message says how to accept.
    Ask,
    /// `accept-new`: an unknown key is accepted and noted; a changed one is refused.
    AcceptNew,
    /// `no` or `off`: unknown and changed keys are accepted; a revoked one is refused all the same.
    No,
}

/// Which addresses of a name are dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Both, in the resolver's order.
    Any,
    /// IPv4 only.
    Inet,
    /// IPv6 only.
    Inet6,
}

/// One host, looked up: all a transport needs to know.
#[derive(Clone)]
pub struct HostConfig {
    /// What the person typed.
    pub destination: Destination,
    /// The name or address to dial.
    pub hostname: String,
    /// The port to dial.
    pub port: u16,
    /// The user to log in as.
    pub user: String,
    /// Private key files, in order. Missing ones are normal: ssh lists its defaults as if they were configured.
    pub identity_files: Vec<PathBuf>,
    /// Certificate files beyond the `-cert.pub` beside each key.
    pub certificate_files: Vec<PathBuf>,
    /// The socket of the ssh-agent, if one is to be asked.
    pub identity_agent: Option<PathBuf>,
    /// The variable that names it, whether it is set or not; none: the ssh config names the socket, or wants no agent.
    pub agent_variable: Option<String>,
    /// Whether the agent may offer only keys that `identity_files` name.
    pub identities_only: bool,
    /// Whether key authentication is wanted at all.
    pub pubkey: bool,
    /// known_hosts files of the user; a new key goes to the first.
    pub user_known_hosts: Vec<PathBuf>,
    /// known_hosts files of the system; only read.
    pub global_known_hosts: Vec<PathBuf>,
    /// A file of keys never to accept.
    pub revoked_host_keys: Option<PathBuf>,
    /// The name to look keys up under instead of the host name.
    pub host_key_alias: Option<String>,
    /// What to do about a key that is not known.
    pub strictness: Strictness,
    /// Whether names noted in known_hosts are hashed.
    pub hash_known_hosts: bool,
    /// The hosts to go through, in the order they are dialled; none of them has jumps of its own in here.
    pub jumps: Vec<HostConfig>,
    /// Whether a ControlPath is set: the system's ssh may have a connection to share.
    pub control_path: bool,
    /// A command whose stdio is the connection, expanded and ready for the shell.
    pub proxy_command: Option<String>,
    /// Bounds connect and key exchange.
    pub connect_timeout: Duration,
    /// ServerAliveInterval, if set.
    pub keepalive: Option<Duration>,
    /// ServerAliveCountMax.
    pub keepalive_max: usize,
    /// Whether jobs may use the local agent.
    pub forward_agent: bool,
    /// Which addresses to dial.
    pub family: Family,
    /// The local address to dial from.
    pub bind_address: Option<String>,
    /// What the connection is to be like.
    pub policy: Policy,
    /// Where this was resolved.
    pub environment: Environment,
}

impl fmt::Debug for HostConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not derived: neither the environment nor a proxy command belongs in a log.
        f.debug_struct("HostConfig")
            .field("destination", &self.destination)
            .field("hostname", &self.hostname)
            .field("port", &self.port)
            .field("user", &self.user)
            .field("jumps", &self.jumps)
            .field("proxied", &self.proxy_command.is_some())
            .finish_non_exhaustive()
    }
}

impl HostConfig {
    /// Looks `destination` up.
    ///
    /// # Errors
    /// [`Failure::Config`]: the config is wrong, names a token or variable there is none for, or does not answer in a minute.
    pub async fn resolve(destination: &Destination, environment: &Environment) -> Result<Self, Failure> {
        resolve(destination, environment, None, 0).await
    }

    /// The host as the person named it: for messages.
    pub fn name(&self) -> String {
        self.destination.to_string()
    }
}

/// `via`: the explicit chain before this hop, which wins over its own ProxyJump, as `ssh -J` does.
fn resolve<'a>(
    destination: &'a Destination,
    environment: &'a Environment,
    via: Option<Vec<String>>,
    depth: usize,
) -> BoxFuture<'a, Result<HostConfig, Failure>> {
    Box::pin(async move {
        if depth > MAX_HOPS {
            return Err(config_error(format!(
                "the ProxyJump of {destination} leads through more than {MAX_HOPS} hosts"
            )));
        }
        let (pairs, defaults) =
            match tokio::try_join!(ask_ssh(destination, environment), defaults(environment))? {
                (Some(pairs), Some(defaults)) => (pairs, defaults),
                _ => (read_config(destination, environment).await?, Arc::new(algorithms::defaults())),
            };
        let mut host = build(destination, environment, &pairs, &defaults)?;
        let chain = match via {
            Some(chain) => {
                host.proxy_command = None;
                chain
            }
            None => {
                let jump =
                    first(&pairs, "proxyjump").filter(|j| !j.eq_ignore_ascii_case("none")).unwrap_or("");
                let chain: Vec<String> =
                    jump.split(',').map(str::trim).filter(|j| !j.is_empty()).map(str::to_owned).collect();
                chain
            }
        };
        if let Some((nearest, before)) = chain.split_last() {
            // As ssh: `Host *` with a ProxyJump must leave out the jump host itself.
            if via_itself(nearest, &host)? {
                return Err(config_error(format!(
                    "{destination} is its own ProxyJump: set `ProxyJump none` for it"
                )));
            }
            let hop = Destination::parse(nearest)
                .map_err(|e| config_error(format!("the ProxyJump of {destination}: {e}")))?;
            // The first of a chain is reached as its own config says; the others through the ones before them.
            let before = (!before.is_empty()).then(|| before.to_vec());
            let mut hop = resolve(&hop, environment, before, depth + 1).await?;
            let mut jumps = std::mem::take(&mut hop.jumps);
            jumps.push(hop);
            if jumps.len() > MAX_HOPS {
                return Err(config_error(format!("{destination} is behind more than {MAX_HOPS} jump hosts")));
            }
            host.jumps = jumps;
            host.proxy_command = None;
        }
        Ok(host)
    })
}

/// As ssh looks: by the name that is dialled, the default port where none is written, the same user where none is.
fn via_itself(jump: &str, host: &HostConfig) -> Result<bool, Failure> {
    let jump = Destination::parse(jump)?;
    Ok(jump.host == host.hostname
        && jump.port.unwrap_or(22) == host.port
        && jump.user.as_ref().is_none_or(|u| *u == host.user))
}

fn config_error(detail: String) -> Failure {
    Failure::Config { detail }
}

fn first<'a>(pairs: &'a [(String, String)], key: &str) -> Option<&'a str> {
    pairs.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str())
}

/// The pairs `ssh -G` prints, or `None` where there is no ssh.
async fn ask_ssh(to: &Destination, environment: &Environment) -> Result<Option<Pairs>, Failure> {
    let Some(ssh) = &environment.ssh else { return Ok(None) };
    let mut command = environment.command(ssh);
    command.arg("-G").args(destination_args(to, environment.ssh_config.as_deref())).arg("--").arg(&to.host);
    run_ssh(command, &format!("-G {to}")).await
}

/// The pairs where no config says anything: asked once of each ssh.
async fn defaults(environment: &Environment) -> Result<Option<Arc<Pairs>>, Failure> {
    static KNOWN: Mutex<Vec<(Program, Arc<Pairs>)>> = Mutex::new(Vec::new());
    /// A program, and where it is looked for.
    type Program = (PathBuf, Option<String>);
    let Some(ssh) = &environment.ssh else { return Ok(None) };
    let program: Program = (ssh.clone(), environment.variables.get("PATH").cloned());
    let known = || {
        let known = KNOWN.lock().ok()?;
        known.iter().find(|(of, _)| *of == program).map(|(_, pairs)| pairs.clone())
    };
    if let Some(pairs) = known() {
        return Ok(Some(pairs));
    }
    let mut command = environment.command(ssh);
    command.args(["-F", "/dev/null", "-G", "--", "unnamed.invalid"]);
    let Some(pairs) = run_ssh(command, "-F /dev/null -G unnamed.invalid").await?.map(Arc::new) else {
        return Ok(None);
    };
    if let Ok(mut known) = KNOWN.lock() {
        known.truncate(MAX_PROGRAMS - 1);
        known.insert(0, (program, pairs.clone()));
    }
    Ok(Some(pairs))
}

/// What an `ssh` prints that connects to nothing; `None` where there is none.
async fn run_ssh(mut command: tokio::process::Command, asked: &str) -> Result<Option<Pairs>, Failure> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    // In a group of its own, with whatever a `Match exec` starts.
    command.process_group(0);
    let child = match command.spawn() {
        Ok(child) => child,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(config_error(format!("ssh cannot be started: {e}"))),
    };
    let Ok(output) = tokio::time::timeout(RESOLVE_TIMEOUT, child.wait_with_output()).await else {
        return Err(config_error(format!(
            "`ssh {asked}` did not answer in {} s: is there a slow `Match exec`?",
            RESOLVE_TIMEOUT.as_secs()
        )));
    };
    let output = output.map_err(|e| config_error(format!("`ssh {asked}`: {e}")))?;
    if !output.status.success() {
        let why = clean(&String::from_utf8_lossy(&output.stderr), 300);
        return Err(config_error(format!("ssh refuses the host or its config: {why}")));
    }
    Ok(Some(parse_pairs(&String::from_utf8_lossy(&output.stdout))))
}

/// The options that carry what was typed to an `ssh` command line, before `-- host`.
pub(super) fn destination_args(to: &Destination, ssh_config: Option<&Path>) -> Vec<std::ffi::OsString> {
    let mut args: Vec<std::ffi::OsString> = Vec::new();
    if let Some(file) = ssh_config {
        args.extend(["-F".into(), file.into()]);
    }
    if let Some(user) = &to.user {
        args.extend(["-l".into(), user.into()]);
    }
    if let Some(port) = to.port {
        args.extend(["-p".into(), port.to_string().into()]);
    }
    args
}

fn parse_pairs(text: &str) -> Pairs {
    text.lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(key, value)| (key.to_ascii_lowercase(), value.trim().to_owned()))
        .collect()
}

fn yes(value: Option<&str>) -> bool {
    value.is_some_and(|v| v.eq_ignore_ascii_case("yes") || v.eq_ignore_ascii_case("true"))
}

/// Turns pairs into a host: defaults, tokens, paths.
fn build(
    to: &Destination,
    environment: &Environment,
    pairs: &[(String, String)],
    defaults: &[(String, String)],
) -> Result<HostConfig, Failure> {
    let get = |key: &str| first(pairs, key);
    let port = match (to.port, get("port")) {
        (Some(port), _) => port,
        (None, None) => 22,
        (None, Some(text)) => {
            text.parse().map_err(|_| config_error(format!("'{}' is no port", clean(text, 40))))?
        }
    };
    let mut tokens = Tokens {
        typed: to.host.clone(),
        host: to.host.clone(),
        port,
        user: to
            .user
            .clone()
            .or_else(|| get("user").map(str::to_owned))
            .unwrap_or_else(|| environment.user.clone()),
        jump: get("proxyjump").filter(|j| !j.eq_ignore_ascii_case("none")).unwrap_or_default().to_owned(),
        alias: None,
        environment,
    };
    // In HostName %h is what was typed; everywhere after it is the result.
    if let Some(name) = get("hostname") {
        tokens.host = tokens.expand(name, "HostName")?;
    }
    // As ssh dials, and looks keys up.
    tokens.host.make_ascii_lowercase();
    tokens.alias = get("hostkeyalias").map(|a| tokens.expand(a, "HostKeyAlias")).transpose()?;

    let files = |key: &str, word: &str| -> Result<Vec<PathBuf>, Failure> {
        let values = pairs.iter().filter(|(k, _)| k == key).map(|(_, v)| unquote(v));
        values.filter(|f| !f.eq_ignore_ascii_case("none")).map(|f| tokens.path(f, word)).collect()
    };
    let lists = |key: &str, word: &str, or: &[&str]| -> Result<Vec<PathBuf>, Failure> {
        let words = get(key).map_or_else(|| or.iter().map(|s| (*s).to_owned()).collect(), split_paths);
        words.iter().filter(|f| !f.eq_ignore_ascii_case("none")).map(|f| tokens.path(f, word)).collect()
    };
    let mut identity_files = files("identityfile", "IdentityFile")?;
    if get("identityfile").is_none() {
        for name in ["id_rsa", "id_ecdsa", "id_ecdsa_sk", "id_ed25519", "id_ed25519_sk"] {
            identity_files.push(environment.home.join(".ssh").join(name));
        }
    }
    let from_variable =
        || environment.variables.get("SSH_AUTH_SOCK").filter(|v| !v.is_empty()).map(PathBuf::from);
    let agent_variable = match get("identityagent").map(unquote) {
        None | Some("SSH_AUTH_SOCK") => Some("SSH_AUTH_SOCK".to_owned()),
        Some(a) if a.starts_with('$') && !a.starts_with("${") => Some(a[1..].to_owned()),
        Some(_) => None,
    };
    let identity_agent = match get("identityagent").map(unquote) {
        None => from_variable(),
        Some(a) if a.eq_ignore_ascii_case("none") => None,
        Some("SSH_AUTH_SOCK") => from_variable(),
        // `$NAME` alone names a variable; unset means no agent, as in ssh.
        Some(a) if a.starts_with('$') && !a.starts_with("${") => {
            environment.variables.get(&a[1..]).filter(|v| !v.is_empty()).map(PathBuf::from)
        }
        Some(a) => Some(tokens.path(a, "IdentityAgent")?),
    };
    let strictness = match get("stricthostkeychecking").unwrap_or("ask").to_ascii_lowercase().as_str() {
        "yes" | "true" => Strictness::Yes,
        "no" | "off" | "false" => Strictness::No,
        "accept-new" => Strictness::AcceptNew,
        "ask" => Strictness::Ask,
        other => return Err(config_error(format!("StrictHostKeyChecking has no '{}'", clean(other, 40)))),
    };
    let proxy_command = match get("proxycommand") {
        Some(c) if !c.eq_ignore_ascii_case("none") => {
            // What leads to a host over our own link to it is for other programs: our link cannot go over itself.
            Some(tokens.expand_percent(c, "ProxyCommand")?)
                .filter(|command| !is_pipe_to(command, &[&tokens.typed, &tokens.host]))
        }
        _ => None,
    };
    let seconds = |key: &str| get(key).and_then(parse_seconds).filter(|s| *s > 0).map(Duration::from_secs);
    Ok(HostConfig {
        destination: to.clone(),
        port,
        identity_files,
        certificate_files: files("certificatefile", "CertificateFile")?,
        identity_agent,
        agent_variable,
        identities_only: yes(get("identitiesonly")),
        pubkey: get("pubkeyauthentication").is_none_or(|v| !v.eq_ignore_ascii_case("no") && v != "false"),
        user_known_hosts: lists(
            "userknownhostsfile",
            "UserKnownHostsFile",
            &["~/.ssh/known_hosts", "~/.ssh/known_hosts2"],
        )?,
        global_known_hosts: lists(
            "globalknownhostsfile",
            "GlobalKnownHostsFile",
            &["/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2"],
        )?,
        revoked_host_keys: files("revokedhostkeys", "RevokedHostKeys")?.into_iter().next(),
        host_key_alias: tokens.alias.clone(),
        strictness,
        hash_known_hosts: yes(get("hashknownhosts")),
        jumps: Vec::new(),
        control_path: get("controlpath").is_some_and(|v| !v.eq_ignore_ascii_case("none")),
        connect_timeout: seconds("connecttimeout").unwrap_or(if proxy_command.is_some() {
            PROXY_CONNECT_TIMEOUT
        } else {
            DEFAULT_CONNECT_TIMEOUT
        }),
        proxy_command,
        keepalive: seconds("serveraliveinterval"),
        keepalive_max: get("serveralivecountmax").and_then(|v| v.parse().ok()).unwrap_or(3),
        // `ForwardAgent` may also be a path or $VARIABLE: then it is on.
        forward_agent: get("forwardagent").is_some_and(|v| !v.eq_ignore_ascii_case("no") && v != "false"),
        family: match get("addressfamily").unwrap_or("any") {
            "inet" => Family::Inet,
            "inet6" => Family::Inet6,
            _ => Family::Any,
        },
        bind_address: get("bindaddress").map(str::to_owned),
        policy: Policy::of(pairs, defaults, &tokens)?,
        environment: environment.clone(),
        hostname: tokens.host.clone(),
        user: tokens.user.clone(),
    })
}

/// `90`, `90s`, `1m30s`, `2h`, `1d`, `1w`; `none` is no value.
fn parse_seconds(text: &str) -> Option<u64> {
    let mut total = 0u64;
    let mut number: Option<u64> = None;
    for c in text.chars() {
        if let Some(digit) = c.to_digit(10) {
            number = Some(number.unwrap_or(0).checked_mul(10)?.checked_add(u64::from(digit))?);
        } else {
            let unit = match c.to_ascii_lowercase() {
                's' => 1,
                'm' => 60,
                'h' => 3600,
                'd' => 86_400,
                'w' => 604_800,
                _ => return None,
            };
            total = total.checked_add(number.take()?.checked_mul(unit)?)?;
        }
    }
    total.checked_add(number.unwrap_or(0))
}

#[cfg(test)]
mod agreement;
#[cfg(test)]
mod tests;
