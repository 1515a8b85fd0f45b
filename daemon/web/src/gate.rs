//! Which requests are looked at at all: pure. A page of another site must neither read nor do anything here, and the browser
//! that shows it is on the same machine; what it cannot forge are the headers `Host`, `Origin` and `Sec-Fetch-Site`.
//!
//! * `Host` names this server: else it is a name of somebody else's that leads here (DNS rebinding).
//! * `Origin`, where there is one, is this server; whatever changes something, and every WebSocket, has one.
//! * `Sec-Fetch-Site`, where there is one, says that our own page asks, or the person by the address bar. A link on another
//!   site may open the page, which by itself says nothing.

use axum::http::header::{HOST, ORIGIN, UPGRADE};
use axum::http::{HeaderMap, Method};
use std::net::{IpAddr, SocketAddr};

/// Who this server is, by its address and by names it was given.
#[derive(Debug, Clone)]
pub(crate) struct Gate {
    /// As in a `Host` header.
    names: Vec<String>,
    /// It listens on every address of the machine, at this port: a number is no name that could be led elsewhere.
    everywhere: Option<u16>,
}

/// Why a request is not looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// It is meant for another server.
    Host,
    /// It comes from a page of another site.
    Origin,
}

impl Refused {
    /// For whoever reads it.
    pub(crate) fn sentence(self) -> &'static str {
        match self {
            Self::Host => "this server has another name",
            Self::Origin => "this came from a page of another site",
        }
    }
}

impl Gate {
    /// A server at `address`; `others`: what else it is called, `NAME` or `NAME:PORT`.
    pub(crate) fn new(address: SocketAddr, others: &[String]) -> Self {
        let port = address.port();
        let mut names: Vec<String> = Vec::new();
        let mut add = |name: String| {
            // A browser leaves out the port that is usual.
            if port == 80 {
                names.push(name.clone());
            }
            names.push(format!("{name}:{port}"));
        };
        match address.ip() {
            IpAddr::V6(ip) => add(format!("[{ip}]")),
            IpAddr::V4(ip) => add(ip.to_string()),
        }
        if address.ip().is_loopback() || address.ip().is_unspecified() {
            for name in ["localhost", "127.0.0.1", "[::1]"] {
                add(name.to_owned());
            }
        }
        for name in others {
            names.push(name.to_ascii_lowercase());
            if !name.ends_with(']') && name.rsplit_once(':').is_none() {
                names.push(format!("{}:{port}", name.to_ascii_lowercase()));
            }
        }
        Self { names, everywhere: address.ip().is_unspecified().then_some(port) }
    }

    fn is_ours(&self, host: &str) -> bool {
        let is_number = |port: u16| {
            host.parse::<SocketAddr>().is_ok_and(|address| address.port() == port)
                || (port == 80 && host.parse::<IpAddr>().is_ok())
        };
        self.names.iter().any(|name| name == host) || self.everywhere.is_some_and(is_number)
    }

    /// May it be looked at? `is_page`: what is asked for says nothing without a cookie.
    pub(crate) fn check(&self, method: &Method, headers: &HeaderMap, is_page: bool) -> Result<(), Refused> {
        let one = |name| {
            let mut all = headers.get_all(name).iter();
            let first = all.next().map(|value| value.to_str().unwrap_or("?").to_ascii_lowercase());
            // Of two it is not known which the browser meant.
            if all.next().is_some() { Some("?".to_owned()) } else { first }
        };
        let host = one(HOST).filter(|host| self.is_ours(host)).ok_or(Refused::Host)?;
        let changes = !matches!(*method, Method::GET | Method::HEAD) || headers.contains_key(UPGRADE);
        let ours = |origin: &str| {
            origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://")) == Some(&host)
        };
        match one(ORIGIN) {
            Some(origin) if !ours(&origin) => return Err(Refused::Origin),
            None if changes => return Err(Refused::Origin),
            _ => {}
        }
        match headers.get("sec-fetch-site").map(|value| value.as_bytes()) {
            None | Some(b"same-origin" | b"none") => Ok(()),
            Some(_) if is_page && *method == Method::GET => Ok(()),
            Some(_) => Err(Refused::Origin),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(*name, HeaderValue::from_str(value).unwrap());
        }
        map
    }

    #[test]
    fn only_our_own_page_and_the_address_bar_get_in() {
        let gate = Gate::new("127.0.0.1:7377".parse().unwrap(), &["box.tail.net".into()]);
        let ok = Ok(());
        let (get, post) = (&Method::GET, &Method::POST);
        type Row<'a> = (&'a Method, &'a [(&'static str, &'a str)], bool, Result<(), Refused>);
        let table: &[Row<'_>] = &[
            (get, &[("host", "127.0.0.1:7377")], false, ok),
            (get, &[("host", "LocalHost:7377")], false, ok),
            (get, &[("host", "[::1]:7377")], false, ok),
            (get, &[("host", "box.tail.net")], false, ok),
            (get, &[("host", "box.tail.net:7377")], false, ok),
            // A name that somebody else points at us, and none.
            (get, &[("host", "evil.example:7377")], false, Err(Refused::Host)),
            (get, &[("host", "evil.example:7377")], true, Err(Refused::Host)),
            (get, &[("host", "127.0.0.1.evil.example:7377")], false, Err(Refused::Host)),
            (get, &[("host", "127.0.0.1")], false, Err(Refused::Host)),
            (get, &[("host", "127.0.0.1:7378")], false, Err(Refused::Host)),
            (get, &[("host", "127.0.0.1:7377"), ("host", "evil.example")], false, Err(Refused::Host)),
            (get, &[], false, Err(Refused::Host)),
            // A page of another site, of another port, and one without a name of its own.
            (
                get,
                &[("host", "127.0.0.1:7377"), ("origin", "http://evil.example")],
                false,
                Err(Refused::Origin),
            ),
            (
                post,
                &[("host", "127.0.0.1:7377"), ("origin", "http://127.0.0.1:3000")],
                false,
                Err(Refused::Origin),
            ),
            (
                post,
                &[("host", "127.0.0.1:7377"), ("origin", "http://localhost:7377")],
                false,
                Err(Refused::Origin),
            ),
            (post, &[("host", "127.0.0.1:7377"), ("origin", "null")], false, Err(Refused::Origin)),
            (post, &[("host", "127.0.0.1:7377")], false, Err(Refused::Origin)),
            (post, &[("host", "127.0.0.1:7377"), ("origin", "http://127.0.0.1:7377")], false, ok),
            (&Method::DELETE, &[("host", "127.0.0.1:7377")], true, Err(Refused::Origin)),
            // A WebSocket is asked for by a GET.
            (get, &[("host", "127.0.0.1:7377"), ("upgrade", "websocket")], false, Err(Refused::Origin)),
            (
                get,
                &[("host", "127.0.0.1:7377"), ("upgrade", "websocket"), ("origin", "http://evil.example")],
                false,
                Err(Refused::Origin),
            ),
            (
                get,
                &[("host", "127.0.0.1:7377"), ("upgrade", "websocket"), ("origin", "http://127.0.0.1:7377")],
                false,
                ok,
            ),
            // A picture or a frame elsewhere that names one of our addresses; a link there to the page.
            (
                get,
                &[("host", "127.0.0.1:7377"), ("sec-fetch-site", "cross-site")],
                false,
                Err(Refused::Origin),
            ),
            (
                get,
                &[("host", "127.0.0.1:7377"), ("sec-fetch-site", "same-site")],
                false,
                Err(Refused::Origin),
            ),
            (get, &[("host", "127.0.0.1:7377"), ("sec-fetch-site", "cross-site")], true, ok),
            (get, &[("host", "127.0.0.1:7377"), ("sec-fetch-site", "none")], false, ok),
        ];
        for (n, (method, pairs, is_page, want)) in table.iter().enumerate() {
            assert_eq!(gate.check(method, &headers(pairs), *is_page), *want, "row {n}: {pairs:?}");
        }
    }

    #[test]
    fn an_address_of_a_network_has_no_name_but_the_ones_it_is_given() {
        let gate = Gate::new("192.168.1.5:80".parse().unwrap(), &["Box:8080".into()]);
        for (host, want) in [
            ("192.168.1.5", Ok(())),
            ("192.168.1.5:80", Ok(())),
            ("box:8080", Ok(())),
            ("box:80", Err(Refused::Host)),
            ("localhost", Err(Refused::Host)),
        ] {
            assert_eq!(gate.check(&Method::GET, &headers(&[("host", host)]), false), want, "{host}");
        }
    }

    #[test]
    fn on_every_address_a_number_is_good_and_a_name_is_not() {
        let gate = Gate::new("0.0.0.0:7377".parse().unwrap(), &[]);
        for (host, want) in [
            ("127.0.0.1:7377", Ok(())),
            ("localhost:7377", Ok(())),
            ("192.168.1.5:7377", Ok(())),
            ("[fe80::1]:7377", Ok(())),
            ("192.168.1.5", Err(Refused::Host)),
            ("192.168.1.5:80", Err(Refused::Host)),
            ("box:7377", Err(Refused::Host)),
            ("192.168.1.5.evil.example:7377", Err(Refused::Host)),
        ] {
            assert_eq!(gate.check(&Method::GET, &headers(&[("host", host)]), false), want, "{host}");
        }
    }
}
