//! ssh_config(5) read by ourselves, where there is no `ssh` to ask.

use super::tokens::{matches_pattern, split_words, unquote};
use super::{BoxFuture, Destination, Environment, Failure, config_error, first};
use std::path::{Path, PathBuf};

/// How deep Include may nest, as in OpenSSH.
const MAX_INCLUDE_DEPTH: usize = 16;
/// The largest config file the fallback reads.
const MAX_CONFIG: u64 = 4 << 20;

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

pub(super) async fn read_config(
    to: &Destination,
    environment: &Environment,
) -> Result<Vec<(String, String)>, Failure> {
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
