//! ssh_config(5) read by ourselves, where there is no `ssh` to ask.

use super::algorithms;
use super::keywords::{self, Word};
use super::tokens::{matches_pattern, split_words};
use super::{BoxFuture, Destination, Environment, Failure, Pairs, clean, config_error, first, yes};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// How deep Include may nest, as in OpenSSH.
const MAX_INCLUDE_DEPTH: usize = 16;
/// The largest config file the fallback reads.
const MAX_CONFIG: u64 = 4 << 20;

/// Keywords whose values add up; of the others the first counts.
const ADD_UP: &[&str] = &[
    "identityfile",
    "certificatefile",
    "sendenv",
    "setenv",
    "localforward",
    "remoteforward",
    "dynamicforward",
];
/// Keywords whose value is the rest of the line, as it stands.
const WHOLE: &[&str] = &["proxycommand", "localcommand", "remotecommand", "knownhostscommand"];
/// Keywords that speak of lists which may be changed at their ends.
const LISTS: &[&str] = &[
    "ciphers",
    "macs",
    "kexalgorithms",
    "hostkeyalgorithms",
    "pubkeyacceptedalgorithms",
    "hostbasedacceptedalgorithms",
    "casignaturealgorithms",
];

pub(super) async fn read_config(to: &Destination, environment: &Environment) -> Result<Pairs, Failure> {
    let mut reader = Reader { to, environment, pairs: Vec::new() };
    match &environment.ssh_config {
        Some(file) => {
            let text = read_small(file).await.map_err(|why| {
                config_error(format!("the ssh config {} cannot be read: {why}", file.display()))
            })?;
            reader.read(file, &text, true, 0).await?;
        }
        None => {
            let own = environment.home.join(".ssh/config");
            if let Ok(meta) = tokio::fs::metadata(&own).await {
                // As ssh: what others can write says nothing about where keys go.
                let uid = rustix::process::getuid().as_raw();
                if (meta.uid() != 0 && meta.uid() != uid) || meta.mode() & 0o022 != 0 {
                    return Err(config_error(format!("Bad owner or permissions on {}", own.display())));
                }
            }
            for file in [own, PathBuf::from("/etc/ssh/ssh_config")] {
                // As ssh: one that is not there, or cannot be read, says nothing.
                if let Ok(text) = read_small(&file).await {
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
    if first(&reader.pairs, "canonicalizehostname")
        .is_some_and(|v| yes(Some(v)) || v.eq_ignore_ascii_case("always"))
    {
        return Err(config_error(
            "CanonicalizeHostname needs the system's ssh, which is not installed".to_owned(),
        ));
    }
    Ok(reader.pairs)
}

/// A file's text, or why there is none.
async fn read_small(file: &Path) -> Result<String, String> {
    let meta = tokio::fs::metadata(file).await.map_err(|e| e.to_string())?;
    if meta.len() > MAX_CONFIG {
        return Err("it is too large".to_owned());
    }
    let bytes = tokio::fs::read(file).await.map_err(|e| e.to_string())?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

struct Reader<'a> {
    to: &'a Destination,
    environment: &'a Environment,
    pairs: Pairs,
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
                let key = line[..end].trim_matches('"').to_ascii_lowercase();
                let value = line[end..].trim_start();
                let value = value.strip_prefix('=').unwrap_or(value).trim();
                match key.as_str() {
                    "host" => applies = active && host_applies(&split_words(value), &self.to.host),
                    "match" => applies = self.match_applies(value, &at())? && active,
                    "include" if applies => {
                        for pattern in split_words(value) {
                            for path in self.included(&pattern, file, &at()).await? {
                                if let Ok(text) = read_small(&path).await {
                                    self.read(&path, &text, true, depth + 1).await?;
                                }
                            }
                        }
                    }
                    "include" => {}
                    key => self.keyword(key, value, applies, &at())?,
                }
            }
            Ok(())
        })
    }

    /// One line that is neither of what it applies to nor of another file.
    fn keyword(&mut self, key: &str, value: &str, applies: bool, at: &str) -> Result<(), Failure> {
        let name = match keywords::word(key) {
            Word::Known(name) => name,
            Word::Deprecated => return Ok(()),
            Word::Unknown if keywords::is_ignored(key, first(&self.pairs, "ignoreunknown")) => return Ok(()),
            Word::Unknown => {
                return Err(config_error(format!("{at}: Bad configuration option: {}", clean(key, 60))));
            }
        };
        let words = if WHOLE.contains(&name) { vec![value.to_owned()] } else { split_words(value) };
        if words.is_empty() || value.is_empty() {
            return Err(config_error(format!("{at}: {key} has no value")));
        }
        if !applies || (!ADD_UP.contains(&name) && first(&self.pairs, name).is_some()) {
            return Ok(());
        }
        match name {
            "sendenv" | "setenv" => {
                // Of SetEnv all words of one line count, and no later line.
                if name == "sendenv" || first(&self.pairs, name).is_none() {
                    self.pairs.extend(words.into_iter().map(|word| (name.to_owned(), word)));
                }
            }
            list if LISTS.contains(&list) => {
                self.pairs.push((name.to_owned(), algorithms::assembled(list, &words[0])));
            }
            _ => self.pairs.push((name.to_owned(), words.join(" "))),
        }
        Ok(())
    }

    /// A `Match` line, as far as it needs neither another program nor a look at the network.
    fn match_applies(&self, value: &str, at: &str) -> Result<bool, Failure> {
        let words = split_words(value);
        let mut words = words.iter();
        let (mut result, mut any) = (true, false);
        while let Some(word) = words.next() {
            any = true;
            let (negated, criterion) = match word.strip_prefix('!') {
                Some(rest) => (true, rest),
                None => (false, word.as_str()),
            };
            let criterion = criterion.to_ascii_lowercase();
            let user = self.to.user.as_deref().or_else(|| first(&self.pairs, "user"));
            let subject = match criterion.as_str() {
                "all" => continue,
                "originalhost" => self.to.host.clone(),
                "host" => first(&self.pairs, "hostname")
                    .map_or_else(|| self.to.host.clone(), |name| name.replace("%h", &self.to.host)),
                "user" => user.unwrap_or(&self.environment.user).to_owned(),
                "localuser" => self.environment.user.clone(),
                other => {
                    return Err(config_error(format!(
                        "{at}: `Match {}` needs the system's ssh, which is not installed",
                        clean(other, 40)
                    )));
                }
            };
            let Some(patterns) = words.next() else {
                return Err(config_error(format!("{at}: `Match {criterion}` has no pattern")));
            };
            let patterns: Vec<String> = patterns.split(',').map(str::to_owned).collect();
            let fold = criterion.ends_with("host");
            let subject = if fold { subject.to_ascii_lowercase() } else { subject };
            let patterns: Vec<String> =
                patterns.into_iter().map(|p| if fold { p.to_ascii_lowercase() } else { p }).collect();
            result &= host_applies(&patterns, &subject) != negated;
        }
        if !any {
            return Err(config_error(format!("{at}: `Match` names nothing")));
        }
        Ok(result)
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

/// Whether one of the patterns is about `text` and none that begins with `!` is.
fn host_applies(patterns: &[String], text: &str) -> bool {
    let mut hit = false;
    for pattern in patterns {
        match pattern.strip_prefix('!') {
            Some(not) if matches_pattern(not, text) => return false,
            Some(_) => {}
            None => hit |= matches_pattern(pattern, text),
        }
    }
    hit
}
