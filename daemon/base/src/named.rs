//! Which files an ssh config consists of, and which variables of the environment it names.
//!
//! Only a look for names: nothing is resolved here, and a name too many does no harm. Whoever asks for a host sends the
//! values of these to the manager, so that `ssh -G` and what it starts find there what they would find in that shell.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// How deep Include may nest, as in OpenSSH.
const MAX_DEPTH: usize = 16;
/// The largest file that is looked into, in bytes.
const MAX_FILE: u64 = 1 << 20;
/// The most files that are looked into.
const MAX_FILES: usize = 256;

/// What an ssh config names.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Named {
    /// The files it consists of, those that are not there too: they may come.
    pub files: Vec<PathBuf>,
    /// Variables by name, as in `IdentityAgent $SOCK`, `${HOME}`, a command, or `SendEnv`.
    pub variables: BTreeSet<String>,
    /// Variables by pattern: `SendEnv LC_*`.
    pub patterns: BTreeSet<String>,
}

impl Named {
    /// Looks into `file`, or where there is none into the user's and the system's. Blocks.
    pub fn look(file: Option<&Path>, home: &Path) -> Self {
        let mut named = Self::default();
        match file {
            Some(file) => named.read(file.to_owned(), home, 0),
            None => {
                named.read(home.join(".ssh/config"), home, 0);
                named.read(PathBuf::from("/etc/ssh/ssh_config"), home, 0);
            }
        }
        named
    }

    fn read(&mut self, file: PathBuf, home: &Path, depth: usize) {
        if depth > MAX_DEPTH || self.files.len() >= MAX_FILES || self.files.contains(&file) {
            return;
        }
        self.files.push(file.clone());
        // Not a pipe, and not for ever: what is no plain file of a sane size has no names for us.
        if !std::fs::metadata(&file).is_ok_and(|meta| meta.is_file()) {
            return;
        }
        let mut bytes = Vec::new();
        let Ok(opened) = std::fs::File::open(&file) else { return };
        if opened.take(MAX_FILE).read_to_end(&mut bytes).is_err() {
            return;
        }
        for line in String::from_utf8_lossy(&bytes).lines() {
            let line = line.trim();
            if line.starts_with('#') {
                continue;
            }
            self.names_in(line);
            let end = line.find(|c: char| c.is_whitespace() || c == '=').unwrap_or(line.len());
            let value = line[end..].trim_start();
            let value = value.strip_prefix('=').unwrap_or(value);
            match line[..end].to_ascii_lowercase().as_str() {
                "include" => {
                    for pattern in split_words(value) {
                        for path in included(&pattern, &file, home) {
                            self.read(path, home, depth + 1);
                        }
                    }
                }
                "sendenv" => {
                    for word in split_words(value).into_iter().filter(|word| !word.starts_with('-')) {
                        let wild = word.contains(['*', '?']);
                        if wild { &mut self.patterns } else { &mut self.variables }.insert(word);
                    }
                }
                _ => {}
            }
        }
    }

    fn names_in(&mut self, line: &str) {
        for (at, _) in line.match_indices('$') {
            let rest = &line[at + 1..];
            let rest = rest.strip_prefix('{').unwrap_or(rest);
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
            if rest[..end].starts_with(|c: char| !c.is_ascii_digit()) {
                self.variables.insert(rest[..end].to_owned());
            }
        }
    }

    /// Whether the variable `name` is named.
    pub fn names(&self, name: &str) -> bool {
        self.variables.contains(name) || self.patterns.iter().any(|pattern| matches_pattern(pattern, name))
    }
}

/// The files an Include names: wildcards in the last part of the path only.
fn included(pattern: &str, from: &Path, home: &Path) -> Vec<PathBuf> {
    let path = match pattern.strip_prefix("~/") {
        Some(rest) => home.join(rest),
        None if from.starts_with("/etc/ssh") => Path::new("/etc/ssh").join(pattern),
        None => home.join(".ssh").join(pattern),
    };
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return Vec::new() };
    let name = name.to_string_lossy();
    if !name.contains(['*', '?', '[']) {
        return vec![path];
    }
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut found: Vec<PathBuf> = entries
        .take(MAX_FILES)
        .filter_map(Result::ok)
        // Too many files do no harm: a set of characters stands for any.
        .filter(|entry| name.contains('[') || matches_pattern(&name, &entry.file_name().to_string_lossy()))
        .map(|entry| entry.path())
        .collect();
    found.sort();
    found
}

/// Words as ssh_config has them: separated by spaces; quotes of both kinds keep spaces, a backslash keeps a quote, a backslash
/// or, outside of quotes, a space; a word that begins with `#` ends the line. A quote that is not closed goes to the end.
pub fn split_words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut chars = text.chars().peekable();
    loop {
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        if chars.peek().is_none_or(|c| *c == '#') {
            return words;
        }
        let mut word = String::new();
        let mut quote = None;
        while let Some(c) = chars.next() {
            let kept = |next: &char| matches!(next, '\'' | '"' | '\\') || (quote.is_none() && *next == ' ');
            if c == '\\' {
                word.push(chars.next_if(kept).unwrap_or(c));
            } else if quote == Some(c) {
                quote = None;
            } else if quote.is_none() && matches!(c, '\'' | '"') {
                quote = Some(c);
            } else if quote.is_none() && c.is_whitespace() {
                break;
            } else {
                word.push(c);
            }
        }
        words.push(word);
    }
}

/// Whether `text` matches a pattern of `*` and `?`. Case matters: fold both before where it does not.
pub fn matches_pattern(pattern: &str, text: &str) -> bool {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_as_ssh_splits_them() {
        for (text, expected) in [
            ("a  b\tc", vec!["a", "b", "c"]),
            (r#""a b" c"#, vec!["a b", "c"]),
            (r#"'a "b' c\"d"#, vec![r#"a "b"#, r#"c"d"#]),
            (r"a\ b \c", vec!["a b", r"\c"]),
            ("a # b", vec!["a"]),
            ("a#b", vec!["a#b"]),
            (r"'' x", vec!["", "x"]),
            ("", vec![]),
        ] {
            assert_eq!(split_words(text), expected, "{text}");
        }
    }

    #[test]
    fn every_variable_of_every_file_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path();
        std::fs::create_dir_all(home.join(".ssh/conf.d")).unwrap();
        let config = home.join("config");
        std::fs::write(
            &config,
            "# $COMMENT\nInclude conf.d/*.conf ~/more missing\nHost a\n  IdentityAgent $MYAGENT\n IdentityFile=${MYKEYS}/key\n\
             ProxyCommand sh -c 'exec \"$HELPER\" %h ${PORT:-22} $1 $$'\n SendEnv LANG LC_* -OLD\n",
        )
        .unwrap();
        std::fs::write(home.join(".ssh/conf.d/one.conf"), "Match exec \"test -n $IN_VPN\"\n").unwrap();
        std::fs::write(home.join(".ssh/conf.d/other"), "Match exec \"test -n $NOT\"\n").unwrap();
        std::fs::write(home.join("more"), "Include ~/config\n").unwrap();
        let named = Named::look(Some(&config), home);
        let names: Vec<&str> = named.variables.iter().map(String::as_str).collect();
        assert_eq!(names, ["HELPER", "IN_VPN", "LANG", "MYAGENT", "MYKEYS", "PORT"]);
        assert!(named.names("LC_ALL") && named.names("MYKEYS") && !named.names("NOT"));
        let files = ["config", ".ssh/conf.d/one.conf", "more", ".ssh/missing"].map(|file| home.join(file));
        assert_eq!(named.files, files);
    }

    #[test]
    fn what_is_no_file_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, 0o600.into()).unwrap();
        assert_eq!(Named::look(Some(&pipe), folder.path()).files, [pipe]);
    }
}
