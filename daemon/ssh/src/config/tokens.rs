//! The %-tokens, variables, quotes and patterns of ssh_config(5). Pure but for this machine's name.

use super::{Environment, Failure, clean, config_error};
pub(crate) use sessd_base::named::matches_pattern;
pub(super) use sessd_base::named::split_words;
use std::path::PathBuf;

/// What the %-tokens of ssh_config(5) stand for.
pub(super) struct Tokens<'a> {
    pub(super) typed: String,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) user: String,
    pub(super) jump: String,
    pub(super) alias: Option<String>,
    pub(super) environment: &'a Environment,
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
    pub(super) fn expand_percent(&self, text: &str, word: &str) -> Result<String, Failure> {
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
    pub(super) fn expand(&self, text: &str, word: &str) -> Result<String, Failure> {
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
    pub(super) fn path(&self, text: &str, word: &str) -> Result<PathBuf, Failure> {
        let home = &self.environment.home;
        let text = if text == "~" {
            return Ok(home.clone());
        } else if let Some(rest) = text.strip_prefix("~/") {
            return Ok(home.join(self.expand(rest, word)?));
        } else if let Some(other) = text.strip_prefix('~') {
            let (user, rest) = other.split_once('/').unwrap_or((other, ""));
            let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
            let Some(home) = home_of(user, &passwd) else {
                return Err(config_error(format!(
                    "{word} '{}': this machine knows no user {}",
                    clean(text, 200),
                    clean(user, 64)
                )));
            };
            return Ok(PathBuf::from(home).join(self.expand(rest, word)?));
        } else {
            self.expand(text, word)?
        };
        Ok(home.join(text))
    }
}

pub(super) fn unquote(text: &str) -> &str {
    text.strip_prefix('"').and_then(|t| t.strip_suffix('"')).unwrap_or(text)
}

/// The home of a user, by the lines of `/etc/passwd`.
fn home_of<'a>(user: &str, passwd: &'a str) -> Option<&'a str> {
    let of = |line: &'a str| line.strip_prefix(user)?.strip_prefix(':')?.split(':').nth(4);
    passwd.lines().find_map(of).filter(|home| home.starts_with('/'))
}

/// The paths of a list that `ssh -G` printed, which quotes nothing: what does not begin as a path does belongs to the one
/// before it.
pub(super) fn split_paths(text: &str) -> Vec<String> {
    let mut paths: Vec<String> = Vec::new();
    for word in split_words(text) {
        match paths.last_mut() {
            Some(last) if !word.starts_with(['/', '~', '$', '%']) && last != "none" && word != "none" => {
                last.push(' ');
                last.push_str(&word);
            }
            _ => paths.push(word),
        }
    }
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_with_a_space_is_one_path() {
        assert_eq!(split_paths("/home/me/my hosts ~/b /dev/null"), ["/home/me/my hosts", "~/b", "/dev/null"]);
        assert_eq!(split_paths("none"), ["none"]);
    }

    #[test]
    fn the_home_of_another_user_is_where_passwd_says() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nann:x:7:7::/srv/ann:/bin/sh\nodd:x:8:8::\n";
        assert_eq!(home_of("ann", passwd), Some("/srv/ann"));
        assert_eq!(home_of("an", passwd), None);
        assert_eq!(home_of("odd", passwd), None);
    }
}
