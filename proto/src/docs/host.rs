//! What a host is called.

use super::text::{clean, is_hidden};
use std::fmt;
use std::net::Ipv6Addr;

/// The host's name for this machine itself.
pub const LOCAL: &str = "local";

/// The longest HOST accepted, in bytes: an alias, a user and a port fit many times over.
pub const MAX_DESTINATION: usize = 1024;

/// What cannot be a host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{host}' is no host: {why}")]
pub struct BadHost {
    host: String,
    why: String,
}

/// What a person typed as HOST, taken apart but not yet looked up.
///
/// `local` is not a destination: the caller has dealt with it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Destination {
    /// The name to look up in the ssh config: an alias, a host name or an address (IPv6 without brackets).
    pub host: String,
    /// The user before the `@`, which wins over the config's.
    pub user: Option<String>,
    /// The port after the `:`, which wins over the config's.
    pub port: Option<u16>,
}

impl Destination {
    /// Takes apart `alias`, `user@host`, `user@host:port`, `[v6]:port` or `ssh://user@host:port`.
    ///
    /// # Errors
    /// [`BadHost`] when it is empty, over [`MAX_DESTINATION`], has a control character or a space, a part that
    /// would read as an option (leading `-`), or a port that is none.
    pub fn parse(text: &str) -> Result<Self, BadHost> {
        let bad = |why: &str| BadHost { host: clean(text, 80), why: why.to_owned() };
        if text.is_empty() {
            return Err(bad("it is empty"));
        }
        if text.len() > MAX_DESTINATION {
            return Err(bad("it is too long"));
        }
        if text.chars().any(|c| is_hidden(c) || c.is_whitespace()) {
            return Err(bad("it has a space, a control character or one that is not seen"));
        }
        let rest = match text.strip_prefix("ssh://") {
            Some(rest) => rest.strip_suffix('/').unwrap_or(rest),
            None => text,
        };
        // A user may hold an `@` (as in a mail address); a host never does.
        let (user, host) = match rest.rsplit_once('@') {
            Some(("", _)) => return Err(bad("there is no user before the @")),
            Some((user, host)) => (Some(user), host),
            None => (None, rest),
        };
        let (host, port) = if let Some(inner) = host.strip_prefix('[') {
            let (address, after) = inner.split_once(']').ok_or_else(|| bad("the [ is not closed"))?;
            // ssh itself writes a name or an IPv4 address like that, too.
            if address.contains(':')
                && address.split('%').next().is_none_or(|a| a.parse::<Ipv6Addr>().is_err())
            {
                return Err(bad("what is in [ ] is no IPv6 address"));
            }
            match after.strip_prefix(':') {
                Some(port) => (address, Some(port)),
                None if after.is_empty() => (address, None),
                None => return Err(bad("after the ] only :port may follow")),
            }
        } else {
            match host.split_once(':') {
                // More than one colon without brackets is a bare IPv6 address, or nothing.
                Some((_, more)) if more.contains(':') => {
                    if host.split('%').next().is_none_or(|a| a.parse::<Ipv6Addr>().is_err()) {
                        return Err(bad("it has more than one colon and is no IPv6 address"));
                    }
                    (host, None)
                }
                Some((name, port)) => (name, Some(port)),
                None => (host, None),
            }
        };
        let port = match port {
            None => None,
            Some(digits) if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => {
                match digits.parse::<u16>() {
                    Ok(port) if port != 0 => Some(port),
                    _ => return Err(bad("the port must be 1 to 65535")),
                }
            }
            Some(_) => return Err(bad("the port must be 1 to 65535")),
        };
        if host.is_empty() {
            return Err(bad("there is no host name"));
        }
        if host.starts_with('-') || user.is_some_and(|u| u.starts_with('-')) {
            return Err(bad("no part may start with a dash"));
        }
        // What ssh refuses, and what is a pattern or a list where known hosts are kept.
        if host.contains([
            '\\', '\'', '"', '`', '$', ';', '&', '|', '<', '>', '(', ')', '{', '}', '[', ']', '*', '?', '!',
            '#', ',',
        ]) {
            return Err(bad("the host name has a character that no host name has"));
        }
        if user.is_some_and(|u| {
            u.contains(['\'', '"', '`', ';', '&', '|', '<', '>', '(', ')', '{', '}']) || u.ends_with('\\')
        }) {
            return Err(bad("the user has a character that ssh refuses"));
        }
        Ok(Self { host: host.to_owned(), user: user.map(str::to_owned), port })
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        match self.port {
            Some(port) if self.host.contains(':') => write!(f, "[{}]:{port}", self.host),
            Some(port) => write!(f, "{}:{port}", self.host),
            None => f.write_str(&self.host),
        }
    }
}

/// The one spelling of a host's name: `ssh://box`, `ssh://box/` and `box` are one host with one link.
///
/// # Errors
/// With what is wrong with it.
pub fn spelled(host: &str) -> Result<String, BadHost> {
    if host == LOCAL {
        return Ok(host.to_owned());
    }
    Ok(Destination::parse(host)?.to_string())
}

/// What a person types to reach the same host: `ssh` takes no `host:port`.
pub fn ssh_command(host: &str) -> String {
    match Destination::parse(host) {
        Ok(Destination { host, user, port: Some(port) }) => {
            let user = user.map(|user| format!("{user}@")).unwrap_or_default();
            format!("ssh -p {port} {user}{host}")
        }
        _ => format!("ssh {host}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_one_spelling() {
        for (given, want) in [
            ("local", "local"),
            ("box", "box"),
            ("ssh://box", "box"),
            ("ssh://box/", "box"),
            ("ssh://me@box:22/", "me@box:22"),
            ("me@corp.example@box", "me@corp.example@box"),
            ("[::1]", "::1"),
            ("ssh://me@[::1]:2201", "me@[::1]:2201"),
        ] {
            assert_eq!(spelled(given).unwrap(), want);
            assert_eq!(spelled(want).unwrap(), want, "it is its own spelling");
        }
        for bad in ["", "-x", "a b", "ssh://"] {
            assert!(spelled(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_command_to_try_is_one_that_ssh_takes() {
        assert_eq!(ssh_command("box"), "ssh box");
        assert_eq!(ssh_command("me@box:2201"), "ssh -p 2201 me@box");
    }
}
