//! What is forwarded, as it is written for `ssh`: `-L`, `-R` and `-D`, with the forms of their arguments as ssh(1) has them.

use std::fmt;

/// Which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `-L`: listened on here, joined there.
    Local,
    /// `-R`: listened on there, joined here; without a target, a SOCKS proxy there.
    Remote,
    /// `-D`: a SOCKS proxy here, joined there.
    Dynamic,
}

impl Kind {
    /// As it is kept and shown.
    pub fn word(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Remote => "remote",
            Self::Dynamic => "dynamic",
        }
    }

    /// By its word.
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Local, Self::Remote, Self::Dynamic].into_iter().find(|kind| kind.word() == word)
    }

    /// The option that asks for it.
    pub fn option(self) -> &'static str {
        match self {
            Self::Local => "-L",
            Self::Remote => "-R",
            Self::Dynamic => "-D",
        }
    }
}

/// What is listened on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Listen {
    /// A port; at an address, at all (`*`), or, where none is given, at this machine's own.
    Port(Option<String>, u16),
    /// A unix socket.
    Path(String),
}

/// What is connected to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Target {
    /// A port of a machine.
    Port(String, u16),
    /// A unix socket.
    Path(String),
}

/// One forward.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    /// Which way.
    pub kind: Kind,
    /// Where it begins.
    pub listen: Listen,
    /// Where it leads; of a SOCKS proxy, wherever each of its users says.
    pub target: Option<Target>,
}

/// A word between colons, or between colons and slashes: one of the parts of an argument.
fn parts(text: &str) -> Option<Vec<String>> {
    let mut parts = vec![String::new()];
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\\' => parts.last_mut()?.push(rest.next()?),
            // An IPv6 address in brackets has colons of its own, and nothing else beside it.
            '[' if parts.last()?.is_empty() => {
                let address: String = rest.by_ref().take_while(|c| *c != ']').collect();
                if !matches!(rest.peek(), None | Some(':' | '/')) || address.is_empty() {
                    return None;
                }
                *parts.last_mut()? = address;
            }
            ':' => parts.push(String::new()),
            // The other form of ssh: address/port/host/port.
            '/' if !text.contains(':') && !text.starts_with('/') => parts.push(String::new()),
            c => parts.last_mut()?.push(c),
        }
    }
    Some(parts)
}

fn is_path(part: &str) -> bool {
    part.starts_with('/')
}

fn port(text: &str) -> Option<u16> {
    match text.parse() {
        Ok(port) => Some(port),
        // As in /etc/services, for the few that anybody writes.
        Err(_) => [("http", 80), ("https", 443), ("ssh", 22), ("smtp", 25), ("domain", 53), ("imap", 143)]
            .iter()
            .find(|(name, _)| *name == text)
            .map(|(_, port)| *port),
    }
}

fn target(parts: &[String]) -> Option<Target> {
    match parts {
        [path] if is_path(path) => Some(Target::Path(path.clone())),
        [host, number] if !host.is_empty() => {
            Some(Target::Port(host.clone(), port(number).filter(|port| *port > 0)?))
        }
        _ => None,
    }
}

impl Spec {
    /// Reads an argument of `-L`, `-R` or `-D`. `None`: it is none.
    pub fn parse(kind: Kind, text: &str) -> Option<Self> {
        let parts = parts(text)?;
        let parts: Vec<String> = parts.into_iter().map(|part| part.trim().to_owned()).collect();
        let at = |address: &str, number: &str| {
            let address = (!address.is_empty()).then(|| address.to_owned());
            // An address that is there and empty means all of them, as `*` does.
            Some(Listen::Port(Some(address.unwrap_or_else(|| "*".to_owned())), port(number)?))
        };
        let (listen, target) = match (kind, parts.as_slice()) {
            // A `-R` that leads nowhere is a proxy, too, as ssh has it since 7.6.
            (Kind::Dynamic | Kind::Remote, [number]) if !is_path(number) => {
                (Listen::Port(None, port(number)?), None)
            }
            (Kind::Dynamic | Kind::Remote, [address, number])
                if !is_path(address) && (kind == Kind::Dynamic || !is_path(number)) =>
            {
                (at(address, number)?, None)
            }
            (Kind::Dynamic, _) => return None,
            (_, [path, rest @ ..]) if is_path(path) => (Listen::Path(path.clone()), Some(target(rest)?)),
            (_, [number, rest @ ..])
                if matches!(rest.len(), 1 | 2) && target(rest).is_some() && port(number).is_some() =>
            {
                (Listen::Port(None, port(number)?), target(rest))
            }
            (_, [address, number, rest @ ..]) => (at(address, number)?, Some(target(rest)?)),
            _ => return None,
        };
        let zero = matches!(&listen, Listen::Port(_, 0));
        // Which port it is would be known to nobody here; there it is told.
        (kind == Kind::Remote || !zero).then_some(Self { kind, listen, target })
    }
}

/// An address as it stands before a port.
fn bracketed(address: &str) -> String {
    if address.contains(':') { format!("[{address}]") } else { address.to_owned() }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port(None, port) => write!(f, "{port}"),
            Self::Port(Some(address), port) => write!(f, "{}:{port}", bracketed(address)),
            Self::Path(path) => f.write_str(path),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port(host, port) => write!(f, "{}:{port}", bracketed(host)),
            Self::Path(path) => f.write_str(path),
        }
    }
}

/// As it is written on a command line.
impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.target {
            Some(target) => write!(f, "{}:{target}", self.listen),
            None => self.listen.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_read_as_ssh_reads_them() {
        let port = |address: Option<&str>, port| Listen::Port(address.map(str::to_owned), port);
        let to = |host: &str, port| Some(Target::Port(host.to_owned(), port));
        let path = |path: &str| path.to_owned();
        for (kind, text, listen, target) in [
            (Kind::Local, "8080:localhost:80", port(None, 8080), to("localhost", 80)),
            (Kind::Local, "127.0.0.1:8080:db:5432", port(Some("127.0.0.1"), 8080), to("db", 5432)),
            (Kind::Local, "*:8080:db:5432", port(Some("*"), 8080), to("db", 5432)),
            (Kind::Local, ":8080:db:5432", port(Some("*"), 8080), to("db", 5432)),
            (Kind::Local, "[::1]:8080:[fe80::1]:80", port(Some("::1"), 8080), to("fe80::1", 80)),
            (Kind::Local, "8080:[::1]:80", port(None, 8080), to("::1", 80)),
            (Kind::Local, "8080/db/80", port(None, 8080), to("db", 80)),
            (Kind::Local, "::1/8080/db/80", port(None, 0), None),
            (Kind::Local, "8080:/run/db.sock", port(None, 8080), Some(Target::Path(path("/run/db.sock")))),
            (
                Kind::Local,
                "localhost:8080:/run/x",
                port(Some("localhost"), 8080),
                Some(Target::Path(path("/run/x"))),
            ),
            (Kind::Local, "/tmp/l:db:80", Listen::Path(path("/tmp/l")), to("db", 80)),
            (Kind::Local, "/tmp/l:/tmp/r", Listen::Path(path("/tmp/l")), Some(Target::Path(path("/tmp/r")))),
            (Kind::Local, "8080:db:http", port(None, 8080), to("db", 80)),
            (Kind::Remote, "0:localhost:80", port(None, 0), to("localhost", 80)),
            (Kind::Remote, "9000:127.0.0.1:80", port(None, 9000), to("127.0.0.1", 80)),
            (Kind::Remote, "1080", port(None, 1080), None),
            (Kind::Remote, "0", port(None, 0), None),
            (Kind::Remote, "*:1080", port(Some("*"), 1080), None),
            (Kind::Remote, "localhost:1080", port(Some("localhost"), 1080), None),
            (Kind::Dynamic, "1080", port(None, 1080), None),
            (Kind::Dynamic, "*:1080", port(Some("*"), 1080), None),
            (Kind::Dynamic, "[::1]:1080", port(Some("::1"), 1080), None),
        ] {
            let read = Spec::parse(kind, text);
            if target.is_none() && kind == Kind::Local {
                assert_eq!(read, None, "{text}");
                continue;
            }
            assert_eq!(read, Some(Spec { kind, listen, target }), "{text}");
            let again = Spec::parse(kind, &read.as_ref().unwrap().to_string());
            assert_eq!(again, read, "what is shown of {text} means the same");
        }
        for (kind, wrong) in [
            (Kind::Local, ""),
            (Kind::Local, "80"),
            (Kind::Local, "80:"),
            (Kind::Local, "80:host"),
            (Kind::Local, "80:host:"),
            (Kind::Local, "80:host:0"),
            (Kind::Local, "80:host:99999"),
            (Kind::Local, "0:host:80"),
            (Kind::Local, "x:host:80"),
            (Kind::Local, "[::1:80:host:80"),
            (Kind::Local, "[::1]x:80:host:80"),
            (Kind::Local, "a:80:host:80:90"),
            (Kind::Local, "80::90"),
            (Kind::Dynamic, "0"),
            (Kind::Dynamic, "80:host:80"),
            (Kind::Dynamic, "/tmp/s"),
            (Kind::Remote, "80:host"),
            (Kind::Remote, "/tmp/s"),
        ] {
            assert_eq!(Spec::parse(kind, wrong), None, "{wrong}");
        }
    }
}
