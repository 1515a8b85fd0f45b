//! # The web view: a process of its own between browsers and the manager
//!
//! * [`assets`]: the files of the page, which `build.rs` packs · [`server`]: who is let in, and what is served where
//! * [`door`]: how many connections there are, and how long one may say nothing
//! * [`gate`]: which requests are looked at at all, pure · [`keyring`]: tokens and browsers, pure · [`kept`]: their file
//! * [`relay`]: frames between one WebSocket and one connection to the manager · [`seats`]: which connection is which view
//! * [`api`]: the documents and verbs of the command line
//! * [`plain`]: a screen as text · [`manager`]: asking the manager · [`browser`]: opening one
//!
//! The page is the view: it counts offsets, keeps what it typed, and comes again. Nothing of a session is kept here, so that
//! this process may end at any time. It is a client as others are: it cannot name the manager's rooms.

#![cfg_attr(not(test), warn(clippy::print_stdout, clippy::print_stderr))]

mod api;
mod assets;
mod browser;
mod door;
mod gate;
mod kept;
mod keyring;
mod manager;
mod plain;
mod relay;
mod seats;
mod server;

use gate::Gate;
use kept::{Kept, now};
use keyring::Secret;
use manager::Manager;
use seats::Seats;
use serde_json::json;
use server::Server;
use sessd_base::out;
use sessd_base::paths::Paths;
use sessd_base::process;
use sessd_proto::docs::{Error, Result, time};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use tokio::net::TcpListener;

/// Where it listens when nobody says otherwise: always the same, so that a browser finds what it kept of the page.
const USUAL: u16 = 7377;

/// For who lets others come near.
const NOT_ALONE: &str = "this is not loopback, and nothing of it is encrypted: whoever is on the way sees what passes and can come in; put a server with TLS before it (--allow-host), or use `ssh -L`";

/// How a server is wanted.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where it listens; none: on this machine alone, at the usual port or, where that is taken, at any.
    pub listen: Option<SocketAddr>,
    /// The address is opened in a browser.
    pub open: bool,
    /// Nobody types.
    pub read_only: bool,
    /// What else it is called, `NAME` or `NAME:PORT`.
    pub names: Vec<String>,
    /// The hosts that a person may mean.
    pub hosts: fn() -> Vec<String>,
}

/// Serves until it is ended.
///
/// # Errors
/// Why it cannot.
pub fn serve(paths: &Paths, options: &Options) -> Result<()> {
    if !assets::are_here() {
        return Err(Error::failed(
            "this sessd was built without the web view",
            "install Node.js with npm and a network, and build it again",
        ));
    }
    let kept = Arc::new(Kept::of(paths)?);
    let (environment, inherited) = (process::environment(), process::inherited());
    let room = door::room(process::raise_descriptor_limit());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| {
        Error::failed(format!("the web view cannot run ({e})"), "`ulimit -a` shows what it may have")
    })?;
    runtime.block_on(async {
        let listener = listen(options.listen).await?;
        let address = listener.local_addr().map_err(|e| trouble(options.listen, &e))?;
        let token = Secret::new().ok_or_else(|| Error::failed("no token can be made", "try again"))?;
        kept.issue(&token, options.read_only, now())?;
        let server = Arc::new(Server {
            manager: Manager::new(paths),
            kept,
            gate: Gate::new(address, &options.names),
            seats: Seats::default(),
            read_only: options.read_only,
            cookie: cookie_name(address),
            hosts: options.hosts,
            environment,
            inherited,
        });
        if !address.ip().is_loopback() {
            out::note(NOT_ALONE);
        }
        let address = address_with(address, token.shown());
        out::line(&address)?;
        if options.open {
            browser::open(paths, &address);
        }
        door::serve(listener, server::router(server), room, door::SILENT_FOR).await;
        Ok(())
    })
}

/// A cookie is sent to every port of a machine: each server has its own.
fn cookie_name(address: SocketAddr) -> String {
    format!("sessd-{}", address.port())
}

/// What is opened: the token stands behind the `#`, which no browser sends anywhere.
fn address_with(address: SocketAddr, token: &str) -> String {
    let port = address.port();
    match address {
        _ if address.ip().is_unspecified() => format!("http://127.0.0.1:{port}/#token={token}"),
        _ => format!("http://{address}/#token={token}"),
    }
}

fn trouble(wanted: Option<SocketAddr>, error: &io::Error) -> Error {
    let address = wanted.unwrap_or((Ipv4Addr::LOCALHOST, USUAL).into());
    Error::failed(
        format!("{address} cannot be listened on ({error})"),
        "choose another with --listen ADDR:PORT",
    )
}

async fn listen(wanted: Option<SocketAddr>) -> Result<TcpListener> {
    match wanted {
        Some(address) => TcpListener::bind(address).await.map_err(|e| trouble(wanted, &e)),
        None => match TcpListener::bind((Ipv4Addr::LOCALHOST, USUAL)).await {
            Ok(listener) => Ok(listener),
            Err(_) => TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(|e| trouble(None, &e)),
        },
    }
}

/// What is done with who may come in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tokens {
    /// They are listed.
    List,
    /// A token for another browser is printed; `read_only`: for one that only looks.
    New {
        /// See above.
        read_only: bool,
    },
    /// The browser of that id comes in no more.
    Revoke(String),
    /// Nobody does.
    RevokeAll,
}

/// Who may come in.
///
/// # Errors
/// When their file cannot be used, or there is no such browser.
pub fn tokens(paths: &Paths, what: &Tokens, json: bool) -> Result<()> {
    let kept = Kept::of(paths)?;
    match what {
        Tokens::New { read_only } => {
            let token = Secret::new().ok_or_else(|| Error::failed("no token can be made", "try again"))?;
            kept.issue(&token, *read_only, now())?;
            if json {
                out::json(&json!({"token": token.shown()}).to_string())?;
            } else {
                out::line(&format!("#token={}", token.shown()))?;
                out::note("put it behind the address of `sessd web`; it is good once, and for a day");
            }
        }
        Tokens::Revoke(id) => {
            if kept.change(|ring| Some(ring.revoke(Some(id))))? == Some(0) {
                return Err(Error::failed(
                    format!("no browser `{id}` is let in"),
                    "`sessd web tokens` lists them",
                ));
            }
            said(&kept, &format!("{id} is let in no more"), json)?;
        }
        Tokens::RevokeAll => {
            let count = kept.change(|ring| Some(ring.revoke(None)))?.unwrap_or(0);
            said(
                &kept,
                &match count {
                    1 => "one browser is let in no more, nor any address that was printed".to_owned(),
                    count => format!("{count} browsers are let in no more, nor any address that was printed"),
                },
                json,
            )?;
        }
        Tokens::List if json => said(&kept, "", true)?,
        Tokens::List => {
            let now = now();
            let lines = kept.look(|ring| {
                let mut lines: Vec<String> = ring
                    .browsers(now)
                    .iter()
                    .map(|browser| {
                        let mode = if browser.read_only { "read-only" } else { "full" };
                        let used = sessd_proto::docs::words::ago(now.saturating_sub(browser.used));
                        format!("{}  {mode:<9}  {used}  {}", browser.id, browser.agent)
                    })
                    .collect();
                if ring.waiting(now) > 0 {
                    lines.push(format!("{} printed and not used yet", ring.waiting(now)));
                }
                lines
            });
            if lines.is_empty() {
                out::note("no browser is let in");
            }
            for line in lines {
                out::line(&line)?;
            }
        }
    }
    Ok(())
}

fn said(kept: &Kept, sentence: &str, json: bool) -> Result<()> {
    if !json {
        return out::line(sentence).map(|_| ());
    }
    let now = now();
    let at = |seconds: u64| time::rfc3339(i64::try_from(seconds * 1000).unwrap_or(i64::MAX));
    let document = kept.look(|ring| {
        let browsers: Vec<_> = ring
            .browsers(now)
            .iter()
            .map(|b| {
                json!({"id": b.id, "read_only": b.read_only, "since": at(b.since), "last_used_at": at(b.used), "agent": b.agent})
            })
            .collect();
        json!({"browsers": browsers, "unused_tokens": ring.waiting(now)}).to_string()
    });
    out::json(&document).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_in_the_part_of_the_address_that_is_never_sent() {
        for (address, want) in [
            ("127.0.0.1:7377", "http://127.0.0.1:7377/#token=t"),
            ("[::1]:80", "http://[::1]:80/#token=t"),
            ("0.0.0.0:8080", "http://127.0.0.1:8080/#token=t"),
        ] {
            assert_eq!(address_with(address.parse().unwrap(), "t"), want);
        }
    }
}
