//! What the user's ssh config says about one host.
//!
//! Resolved by asking `ssh -G`, which is exact by construction (Include, Match, canonical names); what it leaves
//! unexpanded is expanded here. Where there is no `ssh`, a small first-match reader of our own takes its place: it
//! produces the same pairs of keyword and value, so everything after it is shared, and refuses `Match` rather than
//! guess. Each ProxyJump hop is resolved by its own question.

use std::{
    collections::HashMap,
    fmt,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use super::{BoxFuture, Destination, Failure, clean};

/// ConnectTimeout where the config has none: bounds TCP connect and key exchange of each hop.
pub const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long `ssh -G` may take: `Match exec` runs programs.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest chain of jump hosts.
const MAX_HOPS: usize = 8;
/// How deep Include may nest, as in OpenSSH.
const MAX_INCLUDE_DEPTH: usize = 16;
/// The largest config file the fallback reads.
const MAX_CONFIG: u64 = 4 << 20;

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
        }
    }
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
    /// [`Failure::Config`]: the config is wrong, names a token or variable there is none for, or does not answer in 10 s.
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
        let pairs = match ask_ssh(destination, environment).await? {
            Some(pairs) => pairs,
            None => read_config(destination, environment).await?,
        };
        let mut host = build(destination, environment, &pairs)?;
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

fn via_itself(jump: &str, host: &HostConfig) -> Result<bool, Failure> {
    let jump = Destination::parse(jump)?;
    Ok((jump.host == host.destination.host || jump.host == host.hostname)
        && jump.port.is_none_or(|p| p == host.port)
        && jump.user.as_ref().is_none_or(|u| *u == host.user))
}

fn config_error(detail: String) -> Failure {
    Failure::Config { detail }
}

fn first<'a>(pairs: &'a [(String, String)], key: &str) -> Option<&'a str> {
    pairs.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str())
}

/// The pairs `ssh -G` prints, or `None` where there is no ssh.
async fn ask_ssh(
    to: &Destination,
    environment: &Environment,
) -> Result<Option<Vec<(String, String)>>, Failure> {
    let Some(ssh) = &environment.ssh else { return Ok(None) };
    let mut command = tokio::process::Command::new(ssh);
    command.arg("-G").args(destination_args(to, environment.ssh_config.as_deref())).arg("--").arg(&to.host);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let child = match command.spawn() {
        Ok(child) => child,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(config_error(format!("ssh cannot be started: {e}"))),
    };
    let Ok(output) = tokio::time::timeout(RESOLVE_TIMEOUT, child.wait_with_output()).await else {
        return Err(config_error(format!(
            "`ssh -G {to}` did not answer in 10 s: is there a slow `Match exec`?"
        )));
    };
    let output = output.map_err(|e| config_error(format!("`ssh -G {to}`: {e}")))?;
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

fn parse_pairs(text: &str) -> Vec<(String, String)> {
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
    tokens.alias = get("hostkeyalias").map(|a| tokens.expand(a, "HostKeyAlias")).transpose()?;

    let files = |key: &str, word: &str| -> Result<Vec<PathBuf>, Failure> {
        let values = pairs.iter().filter(|(k, _)| k == key).map(|(_, v)| unquote(v));
        values.filter(|f| !f.eq_ignore_ascii_case("none")).map(|f| tokens.path(f, word)).collect()
    };
    let lists = |key: &str, word: &str, or: &[&str]| -> Result<Vec<PathBuf>, Failure> {
        let words = get(key).map_or_else(|| or.iter().map(|s| (*s).to_owned()).collect(), split_words);
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
        Some(c) if !c.eq_ignore_ascii_case("none") => Some(tokens.expand_percent(c, "ProxyCommand")?),
        _ => None,
    };
    if proxy_command.is_some() && yes(get("proxyusefdpass")) {
        return Err(config_error(format!(
            "{to} uses ProxyUseFdpass, which only the system's ssh can: set transport = \"openssh\" for it"
        )));
    }
    let seconds = |key: &str| get(key).and_then(parse_seconds).filter(|s| *s > 0).map(Duration::from_secs);
    Ok(HostConfig {
        destination: to.clone(),
        port,
        identity_files,
        certificate_files: files("certificatefile", "CertificateFile")?,
        identity_agent,
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
        proxy_command,
        connect_timeout: seconds("connecttimeout").unwrap_or(DEFAULT_CONNECT_TIMEOUT),
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

/// What the %-tokens of ssh_config(5) stand for.
struct Tokens<'a> {
    typed: String,
    host: String,
    port: u16,
    user: String,
    jump: String,
    alias: Option<String>,
    environment: &'a Environment,
}

impl Tokens<'_> {
    fn token(&self, c: char) -> Option<String> {
        let node = || rustix::system::uname().nodename().to_string_lossy().into_owned();
        Some(match c {
            '%' => "%".to_owned(),
            'h' => self.host.clone(),
            'n' => self.typed.clone(),
            'p' => self.port.to_string(),
            'r' => self.user.clone(),
            'u' => self.environment.user.clone(),
            'd' => self.environment.home.to_string_lossy().into_owned(),
            'l' => node(),
            'L' => node().split('.').next().unwrap_or_default().to_owned(),
            'i' => rustix::process::getuid().as_raw().to_string(),
            'j' => self.jump.clone(),
            'k' => self.alias.clone().unwrap_or_else(|| self.typed.clone()),
            'T' => "NONE".to_owned(),
            'C' => {
                use sha1::Digest as _;
                let text = format!("{}{}{}{}{}", node(), self.host, self.port, self.user, self.jump);
                data_encoding::HEXLOWER.encode(&sha1::Sha1::digest(text.as_bytes()))
            }
            _ => return None,
        })
    }

    /// Expands %-tokens only: what goes to a shell keeps its `${}`.
    fn expand_percent(&self, text: &str, word: &str) -> Result<String, Failure> {
        let mut out = String::with_capacity(text.len());
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            if c != '%' {
                out.push(c);
                continue;
            }
            match chars.next().and_then(|t| self.token(t)) {
                Some(value) => out.push_str(&value),
                None => {
                    return Err(config_error(format!(
                        "{word} '{}' has an unknown %-token",
                        clean(text, 200)
                    )));
                }
            }
        }
        Ok(out)
    }

    /// Expands `${NAME}` and %-tokens, in one pass: what a variable holds is not expanded again.
    fn expand(&self, text: &str, word: &str) -> Result<String, Failure> {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(start) = rest.find("${") {
            out.push_str(&self.expand_percent(&rest[..start], word)?);
            let Some(length) = rest[start..].find('}') else {
                return Err(config_error(format!("{word} '{}' has a ${{ without a }}", clean(text, 200))));
            };
            let name = &rest[start + 2..start + length];
            match self.environment.variables.get(name) {
                Some(value) => out.push_str(value),
                None => {
                    return Err(config_error(format!(
                        "{word} names the variable {}, which is not set",
                        clean(name, 80)
                    )));
                }
            }
            rest = &rest[start + length + 1..];
        }
        out.push_str(&self.expand_percent(rest, word)?);
        Ok(out)
    }

    /// A path: `~` first, then tokens; a relative one is the home's, never the manager's current folder.
    fn path(&self, text: &str, word: &str) -> Result<PathBuf, Failure> {
        let home = &self.environment.home;
        let text = if text == "~" {
            return Ok(home.clone());
        } else if let Some(rest) = text.strip_prefix("~/") {
            return Ok(home.join(self.expand(rest, word)?));
        } else if text.starts_with('~') {
            return Err(config_error(format!(
                "{word} '{}': only the own home can be written as ~",
                clean(text, 200)
            )));
        } else {
            self.expand(text, word)?
        };
        Ok(home.join(text))
    }
}

fn unquote(text: &str) -> &str {
    text.strip_prefix('"').and_then(|t| t.strip_suffix('"')).unwrap_or(text)
}

/// Words as ssh_config has them: separated by spaces, double quotes keep spaces.
fn split_words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let (mut quoted, mut any) = (false, false);
    for c in text.chars() {
        match c {
            '"' => {
                quoted = !quoted;
                any = true;
            }
            c if c.is_whitespace() && !quoted => {
                if any {
                    words.push(std::mem::take(&mut word));
                }
                any = false;
            }
            c => {
                word.push(c);
                any = true;
            }
        }
    }
    if any {
        words.push(word);
    }
    words
}

/// Whether `text` matches a pattern of `*` and `?`. Case matters: fold both before where it does not.
pub(super) fn matches_pattern(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    // Where the last `*` was, and how much of the text it has taken so far.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(&c) if c == b'?' || c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match &mut star {
                Some((at, taken)) => {
                    *taken += 1;
                    p = *at + 1;
                    t = *taken;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

// --- The fallback: ssh_config(5) read by ourselves ---

/// The keywords the fallback passes on; the first value wins but for the two that add up.
const KEYWORDS: &[&str] = &[
    "hostname",
    "port",
    "user",
    "identityfile",
    "certificatefile",
    "identityagent",
    "identitiesonly",
    "pubkeyauthentication",
    "userknownhostsfile",
    "globalknownhostsfile",
    "revokedhostkeys",
    "hostkeyalias",
    "stricthostkeychecking",
    "hashknownhosts",
    "proxyjump",
    "proxycommand",
    "proxyusefdpass",
    "connecttimeout",
    "serveraliveinterval",
    "serveralivecountmax",
    "forwardagent",
    "addressfamily",
    "bindaddress",
];

async fn read_config(to: &Destination, environment: &Environment) -> Result<Vec<(String, String)>, Failure> {
    let mut reader = Reader { host: to.host.clone(), environment, pairs: Vec::new() };
    match &environment.ssh_config {
        Some(file) => {
            let text = read_small(file)
                .await?
                .ok_or_else(|| config_error(format!("the ssh config {} does not exist", file.display())))?;
            reader.read(file, &text, true, 0).await?;
        }
        None => {
            for file in [environment.home.join(".ssh/config"), PathBuf::from("/etc/ssh/ssh_config")] {
                if let Some(text) = read_small(&file).await? {
                    reader.read(&file, &text, true, 0).await?;
                }
            }
        }
    }
    // ProxyJump and ProxyCommand exclude each other: the one read first counts.
    let position = |key: &str| reader.pairs.iter().position(|(k, _)| k == key);
    if let (Some(jump), Some(command)) = (position("proxyjump"), position("proxycommand")) {
        reader.pairs.remove(jump.max(command));
    }
    Ok(reader.pairs)
}

/// A file's text, `None` where there is none.
async fn read_small(file: &Path) -> Result<Option<String>, Failure> {
    let unreadable = |e: std::io::Error| config_error(format!("{} cannot be read: {e}", file.display()));
    match tokio::fs::metadata(file).await {
        Ok(meta) if meta.len() > MAX_CONFIG => {
            return Err(config_error(format!("{} is too large", file.display())));
        }
        Ok(_) => {}
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(unreadable(e)),
    }
    let bytes = tokio::fs::read(file).await.map_err(unreadable)?;
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

struct Reader<'a> {
    host: String,
    environment: &'a Environment,
    pairs: Vec<(String, String)>,
}

impl Reader<'_> {
    fn read<'b>(
        &'b mut self,
        file: &'b Path,
        text: &'b str,
        active: bool,
        depth: usize,
    ) -> BoxFuture<'b, Result<(), Failure>> {
        Box::pin(async move {
            if depth > MAX_INCLUDE_DEPTH {
                return Err(config_error(format!("{}: Include nests too deep", file.display())));
            }
            let mut applies = active;
            for (index, line) in text.lines().enumerate() {
                let line = line.trim();
                if line.is_empty() || line.starts_with('#') {
                    continue;
                }
                let at = || format!("{} line {}", file.display(), index + 1);
                let end = line.find(|c: char| c.is_whitespace() || c == '=').unwrap_or(line.len());
                let key = line[..end].to_ascii_lowercase();
                let value = line[end..].trim_start();
                let value = value.strip_prefix('=').unwrap_or(value).trim();
                match key.as_str() {
                    "host" => applies = active && self.host_applies(value),
                    "match" => {
                        let words = split_words(&value.to_ascii_lowercase());
                        if words != ["all"] {
                            return Err(config_error(format!(
                                "{}: `Match` needs the system's ssh, which is not installed",
                                at()
                            )));
                        }
                        applies = active;
                    }
                    "include" if applies => {
                        for pattern in split_words(value) {
                            for path in self.included(&pattern, file, &at()).await? {
                                if let Some(text) = read_small(&path).await? {
                                    self.read(&path, &text, true, depth + 1).await?;
                                }
                            }
                        }
                    }
                    key if applies && KEYWORDS.contains(&key) => {
                        if value.is_empty() {
                            return Err(config_error(format!("{}: {key} has no value", at())));
                        }
                        let adds_up = matches!(key, "identityfile" | "certificatefile");
                        if adds_up || first(&self.pairs, key).is_none() {
                            let whole =
                                matches!(key, "proxycommand" | "userknownhostsfile" | "globalknownhostsfile");
                            let value = if whole { value } else { unquote(value) };
                            self.pairs.push((key.to_owned(), value.to_owned()));
                        }
                    }
                    _ => {}
                }
            }
            Ok(())
        })
    }

    fn host_applies(&self, patterns: &str) -> bool {
        let mut hit = false;
        for pattern in split_words(patterns) {
            match pattern.strip_prefix('!') {
                Some(not) if matches_pattern(not, &self.host) => return false,
                Some(_) => {}
                None => hit |= matches_pattern(&pattern, &self.host),
            }
        }
        hit
    }

    /// The files an Include names: wildcards in the last part of the path only.
    async fn included(&self, pattern: &str, from: &Path, at: &str) -> Result<Vec<PathBuf>, Failure> {
        let path = match pattern.strip_prefix("~/") {
            Some(rest) => self.environment.home.join(rest),
            // The system's config includes from its own folder, the user's (also with -F) from ~/.ssh.
            None if from.starts_with("/etc/ssh") => Path::new("/etc/ssh").join(pattern),
            None => self.environment.home.join(".ssh").join(pattern),
        };
        let wild = |p: &Path| p.to_string_lossy().contains(['*', '?', '[']);
        if !wild(&path) {
            return Ok(vec![path]);
        }
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return Ok(Vec::new()) };
        let name = name.to_string_lossy();
        if wild(folder) || name.contains('[') {
            return Err(config_error(format!(
                "{at}: this Include pattern needs the system's ssh, which is not installed"
            )));
        }
        let mut found = Vec::new();
        if let Ok(mut entries) = tokio::fs::read_dir(folder).await {
            while let Ok(Some(entry)) = entries.next_entry().await {
                let file = entry.file_name();
                let file = file.to_string_lossy();
                if matches_pattern(&name, &file) && (name.starts_with('.') || !file.starts_with('.')) {
                    found.push(entry.path());
                }
            }
        }
        found.sort();
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment() -> Environment {
        Environment {
            home: PathBuf::from("/home/me"),
            user: "me".to_owned(),
            ssh_config: None,
            ssh: None,
            variables: HashMap::from([("SOCK".to_owned(), "/run/a%h.sock".to_owned())]),
        }
    }

    fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn tokens_expand_as_ssh_config_says() {
        let environment = environment();
        let tokens = Tokens {
            typed: "box".into(),
            host: "box.example.org".into(),
            port: 2222,
            user: "you".into(),
            jump: "hop".into(),
            alias: Some("real".into()),
            environment: &environment,
        };
        for (text, expected) in [
            ("plain", "plain"),
            ("%%h", "%h"),
            ("%n-%h-%p-%r-%u", "box-box.example.org-2222-you-me"),
            ("%d/x", "/home/me/x"),
            ("%j %k %T", "hop real NONE"),
            // A variable's value is taken as it is.
            ("${SOCK}/%p", "/run/a%h.sock/2222"),
        ] {
            assert_eq!(tokens.expand(text, "X").unwrap(), expected, "{text}");
        }
        for text in ["%", "%y", "a%", "${NONE}", "${SOCK"] {
            assert!(tokens.expand(text, "X").is_err(), "{text}");
        }
        assert_eq!(tokens.expand("%C", "X").unwrap().len(), 40);
        assert_eq!(tokens.path("~/.ssh/id_%h", "X").unwrap(), Path::new("/home/me/.ssh/id_box.example.org"));
        assert_eq!(tokens.path("/etc/k_%n", "X").unwrap(), Path::new("/etc/k_box"));
        assert!(tokens.path("~other/k", "X").is_err());
        // What goes to a shell keeps the shell's own variables.
        assert_eq!(tokens.expand_percent("nc %h ${P}", "X").unwrap(), "nc box.example.org ${P}");
    }

    #[test]
    fn pairs_become_a_host() {
        let to = Destination::parse("you@box").unwrap();
        let host = build(
            &to,
            &environment(),
            &pairs(&[
                ("hostname", "%h.example.org"),
                ("user", "loses"),
                ("port", "2200"),
                ("hostkeyalias", "real-%n"),
                ("identityfile", "~/.ssh/id_%h"),
                ("identityfile", "none"),
                ("identityagent", "$SOCK"),
                ("userknownhostsfile", "/a/kh ~/kh2"),
                ("stricthostkeychecking", "accept-new"),
                ("proxycommand", "nc %h %p"),
                ("connecttimeout", "none"),
                ("serveraliveinterval", "1m30s"),
                ("forwardagent", "yes"),
            ]),
        )
        .unwrap();
        assert_eq!((host.user.as_str(), host.hostname.as_str(), host.port), ("you", "box.example.org", 2200));
        assert_eq!(host.host_key_alias.as_deref(), Some("real-box"));
        assert_eq!(host.identity_files, [Path::new("/home/me/.ssh/id_box.example.org")]);
        assert_eq!(host.identity_agent.as_deref(), Some(Path::new("/run/a%h.sock")));
        assert_eq!(host.user_known_hosts, [Path::new("/a/kh"), Path::new("/home/me/kh2")]);
        assert_eq!(host.strictness, Strictness::AcceptNew);
        assert_eq!(host.proxy_command.as_deref(), Some("nc box.example.org 2200"));
        assert_eq!(host.connect_timeout, DEFAULT_CONNECT_TIMEOUT);
        assert_eq!(host.keepalive, Some(Duration::from_secs(90)));
        assert!(host.forward_agent && !host.identities_only);
        let shown = format!("{host:?}");
        assert!(!shown.contains("nc box") && !shown.contains("SOCK"), "{shown}");
    }

    #[test]
    fn patterns_match_as_in_ssh() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("*", "box", true),
            ("b?x", "box", true),
            ("b?x", "bx", false),
            ("*.example.*", "a.example.org", true),
            ("*a*b*c", "xaybzc", true),
            ("*a*b*c", "xaybz", false),
            ("", "a", false),
            ("10.0.*", "10.0.0.7", true),
        ] {
            assert_eq!(matches_pattern(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn times_are_read_as_ssh_writes_them() {
        for (text, expected) in
            [("90", Some(90)), ("1m30s", Some(90)), ("2h", Some(7200)), ("none", None), ("m", None)]
        {
            assert_eq!(parse_seconds(text), expected, "{text}");
        }
    }

    /// The fallback and `ssh -G` must agree on everything that is passed on.
    #[tokio::test]
    async fn the_fallback_agrees_with_ssh() {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("config");
        let more = folder.path().join("more.conf");
        std::fs::write(&more, "User included\nHost deep\n  Port 77\n").unwrap();
        std::fs::write(
            &config,
            format!(
                "# a comment\nHost box b* !bad\n  HostName=10.0.0.1\n  Port 2201\n  IdentityFile ~/.ssh/id_%h\n\
                 \nHost jumped\n  ProxyJump a@hop:33,box\n  HostName %h.example.org\n\
                 Host quiet\n  UserKnownHostsFile /a/b /c/d\n  StrictHostKeyChecking accept-new\n  ConnectTimeout 7\n\
                 Include {}\n\
                 Match all\n  ServerAliveInterval 11\nHost *\n  Port 2299\n  IdentityFile ~/.ssh/last\n  IdentitiesOnly yes\n",
                more.display()
            ),
        )
        .unwrap();
        let mut with = Environment::from_process(Some(config));
        with.variables.remove("SSH_AUTH_SOCK");
        // ssh takes the home from the passwd entry, whatever HOME says; where the two differ is not what is compared here.
        let uid = rustix::process::getuid().as_raw().to_string();
        let passwd = std::fs::read_to_string("/etc/passwd").unwrap();
        let entry = passwd
            .lines()
            .map(|l| l.split(':').collect::<Vec<_>>())
            .find(|f| f.get(2) == Some(&uid.as_str()));
        if let Some(home) = entry.and_then(|fields| fields.get(5).copied()) {
            with.home = home.into();
        }
        let mut without = with.clone();
        without.ssh = None;
        for name in ["box", "bad", "boxer", "jumped", "quiet", "other", "me@box:9"] {
            let to = Destination::parse(name).unwrap();
            let (a, b) = (
                HostConfig::resolve(&to, &with).await.unwrap(),
                HostConfig::resolve(&to, &without).await.unwrap(),
            );
            let essence = |h: &HostConfig| {
                format!(
                    "{} {} {} {:?} {:?} {} {:?} {:?} {:?} {:?}",
                    h.hostname,
                    h.port,
                    h.user,
                    h.identity_files,
                    h.user_known_hosts,
                    h.identities_only,
                    h.strictness,
                    h.connect_timeout,
                    h.keepalive,
                    h.jumps
                        .iter()
                        .map(|j| format!("{}@{}:{}", j.user, j.hostname, j.port))
                        .collect::<Vec<_>>()
                )
            };
            assert_eq!(essence(&a), essence(&b), "{name}");
        }
    }

    #[tokio::test]
    async fn match_without_ssh_is_refused_by_line() {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("config");
        std::fs::write(&config, "Host a\n  Port 1\nMatch exec true\n  Port 2\n").unwrap();
        let mut environment = Environment::from_process(Some(config));
        environment.ssh = None;
        let e = HostConfig::resolve(&Destination::parse("b").unwrap(), &environment).await.unwrap_err();
        assert!(e.to_string().contains("line 3: `Match` needs the system's ssh"), "{e}");
    }

    #[tokio::test]
    async fn a_jump_loop_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("config");
        std::fs::write(&config, "Host a\n  ProxyJump b\nHost b\n  ProxyJump a\nHost hop\n  ProxyJump hop\n")
            .unwrap();
        let mut environment = Environment::from_process(Some(config));
        let e = HostConfig::resolve(&Destination::parse("a").unwrap(), &environment).await.unwrap_err();
        assert!(e.to_string().contains("more than 8"), "{e}");
        for ssh in [environment.ssh.take(), None] {
            environment.ssh = ssh;
            let e = HostConfig::resolve(&Destination::parse("hop").unwrap(), &environment).await.unwrap_err();
            assert!(matches!(e, Failure::Config { .. }), "{e}");
        }
    }
}
