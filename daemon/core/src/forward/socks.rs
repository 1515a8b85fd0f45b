//! The words of a SOCKS proxy: versions 4, 4a and 5, as far as ssh's `-D` knows them: no passwords, and nothing but CONNECT.

use super::spec::Target;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Bytes in which whoever wants to be joined must have said where.
const MAX: usize = 1024;

/// What came of what they said so far.
#[derive(Debug, PartialEq, Eq)]
pub enum SocksProgress {
    /// Not all of it has come.
    More,
    /// This is to be answered, and they go on.
    Say(Vec<u8>),
    /// They want this.
    Connect(Target),
    /// They are answered so, and it is over.
    Refuse(Vec<u8>),
}

/// One negotiation.
#[derive(Debug, Default)]
pub struct Socks {
    came: Vec<u8>,
    version: u8,
    greeted: bool,
}

/// Takes a C string off the beginning; `None`: its end has not come.
fn word(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|b| *b == 0)?;
    Some((&bytes[..end], &bytes[end + 1..]))
}

impl Socks {
    /// More came.
    pub fn hear(&mut self, bytes: &[u8]) -> SocksProgress {
        self.came.extend_from_slice(bytes);
        let heard = match self.came.first() {
            None => SocksProgress::More,
            Some(4) => self.four().unwrap_or(SocksProgress::More),
            Some(5) => self.five().unwrap_or(SocksProgress::More),
            Some(_) => SocksProgress::Refuse(Vec::new()),
        };
        if heard == SocksProgress::More && self.came.len() > MAX {
            SocksProgress::Refuse(Vec::new())
        } else {
            heard
        }
    }

    /// What came behind it: they may not wait for an answer.
    pub fn rest(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.came)
    }

    /// What they are told of where they wanted to be joined.
    pub fn answer(&self, joined: Result<(), u8>) -> Vec<u8> {
        match (self.version, joined) {
            (4, Ok(())) => vec![0, 90, 0, 0, 0, 0, 0, 0],
            (4, Err(_)) => vec![0, 91, 0, 0, 0, 0, 0, 0],
            (_, joined) => vec![5, joined.err().unwrap_or(0), 0, 1, 0, 0, 0, 0, 0, 0],
        }
    }

    fn four(&mut self) -> Option<SocksProgress> {
        self.version = 4;
        let &[_, command, p0, p1, a0, a1, a2, a3] = self.came.first_chunk::<8>()?;
        let (_user, mut rest) = word(&self.came[8..])?;
        let port = u16::from_be_bytes([p0, p1]);
        let host = match [a0, a1, a2, a3] {
            // 4a: a name that the proxy looks up.
            [0, 0, 0, last] if last != 0 => {
                let (name, behind) = word(rest)?;
                rest = behind;
                String::from_utf8_lossy(name).into_owned()
            }
            address => Ipv4Addr::from(address).to_string(),
        };
        let rest = rest.to_vec();
        self.came = rest;
        Some(self.wants(command, host, port))
    }

    fn five(&mut self) -> Option<SocksProgress> {
        self.version = 5;
        if !self.greeted {
            let methods = usize::from(*self.came.get(1)?);
            let offered = self.came.get(2..2 + methods)?;
            let open = offered.contains(&0);
            self.came.drain(..2 + methods);
            self.greeted = true;
            return Some(if open {
                SocksProgress::Say(vec![5, 0])
            } else {
                SocksProgress::Refuse(vec![5, 0xff])
            });
        }
        let &[_, command, _, kind] = self.came.first_chunk::<4>()?;
        let (host, end) = match kind {
            1 => (IpAddr::from(Ipv4Addr::from(*self.came[4..].first_chunk::<4>()?)).to_string(), 8),
            4 => (IpAddr::from(Ipv6Addr::from(*self.came[4..].first_chunk::<16>()?)).to_string(), 20),
            3 => {
                let length = usize::from(*self.came.get(4)?);
                (String::from_utf8_lossy(self.came.get(5..5 + length)?).into_owned(), 5 + length)
            }
            _ => return Some(SocksProgress::Refuse(self.answer(Err(8)))),
        };
        let port = u16::from_be_bytes(*self.came.get(end..)?.first_chunk::<2>()?);
        self.came.drain(..end + 2);
        Some(self.wants(command, host, port))
    }

    fn wants(&self, command: u8, host: String, port: u16) -> SocksProgress {
        let good = !host.is_empty() && port > 0 && !host.chars().any(char::is_control);
        match command {
            1 if good => SocksProgress::Connect(Target::Port(host, port)),
            1 => SocksProgress::Refuse(self.answer(Err(1))),
            _ => SocksProgress::Refuse(self.answer(Err(7))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn connect(host: &str, port: u16) -> SocksProgress {
        SocksProgress::Connect(Target::Port(host.into(), port))
    }

    /// What is heard when it comes byte by byte, in order.
    fn socks(bytes: &[u8]) -> Vec<SocksProgress> {
        let mut socks = Socks::default();
        let all = bytes.iter().map(|byte| socks.hear(&[*byte]));
        all.filter(|heard| *heard != SocksProgress::More).collect()
    }

    #[test]
    fn each_version_says_where_it_wants_to_go() {
        assert_eq!(socks(&[4, 1, 0, 80, 10, 0, 0, 1, b'm', b'e', 0]), [connect("10.0.0.1", 80)]);
        let named = [&[4u8, 1, 31, 144, 0, 0, 0, 9, 0][..], b"db.internal\0"].concat();
        assert_eq!(socks(&named), [connect("db.internal", 8080)]);
        let hello = SocksProgress::Say(vec![5, 0]);
        let named = [&[5u8, 2, 2, 0][..], &[5, 1, 0, 3, 2], b"db", &[0, 80]].concat();
        assert_eq!(socks(&named), [hello, connect("db", 80)]);
        let six = [&[5u8, 1, 0][..], &[5, 1, 0, 4], &[0; 15], &[1, 1, 187]].concat();
        assert_eq!(socks(&six).last(), Some(&connect("::1", 443)));
    }

    #[test]
    fn what_is_not_a_plain_connection_is_refused_in_its_own_words() {
        assert_eq!(socks(&[5, 1, 2]), [SocksProgress::Refuse(vec![5, 0xff])], "only with a password");
        let bind = [5, 1, 0, 5, 2, 0, 1, 10, 0, 0, 1, 0, 80];
        assert_eq!(socks(&bind).last(), Some(&SocksProgress::Refuse(vec![5, 7, 0, 1, 0, 0, 0, 0, 0, 0])));
        assert_eq!(
            socks(b"G"),
            [SocksProgress::Refuse(Vec::new())],
            "a browser that takes it for a web proxy"
        );
        let mut socks = Socks::default();
        assert_eq!(
            socks.hear(&[&[4u8, 1, 0, 80, 1, 2, 3, 4][..], &[b'x'; 2000]].concat()),
            SocksProgress::Refuse(vec![])
        );
    }

    #[test]
    fn what_comes_behind_is_kept() {
        let mut socks = Socks::default();
        let heard = socks.hear(&[&[4u8, 1, 0, 80, 1, 2, 3, 4, 0][..], b"GET /"].concat());
        assert_eq!(heard, connect("1.2.3.4", 80));
        assert_eq!(socks.rest(), b"GET /");
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), first in 4u8..6) {
            let mut socks = Socks::default();
            socks.hear(&[first]);
            for byte in bytes.chunks(7) {
                socks.hear(byte);
            }
        }
    }
}
