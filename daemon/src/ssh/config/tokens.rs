//! The %-tokens, variables, quotes and patterns of ssh_config(5). Pure but for this machine's name.

use super::{Environment, Failure, clean, config_error};
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

pub(super) fn unquote(text: &str) -> &str {
    text.strip_prefix('"').and_then(|t| t.strip_suffix('"')).unwrap_or(text)
}

/// Words as ssh_config has them: separated by spaces, double quotes keep spaces.
pub(super) fn split_words(text: &str) -> Vec<String> {
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
pub(crate) fn matches_pattern(pattern: &str, text: &str) -> bool {
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
