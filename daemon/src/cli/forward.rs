//! `forward`: ports and sockets that live with a session.

use super::complete as tab;
use super::verbs::{ask, known, read, room};
use clap::Args;
use clap_complete::engine::ArgValueCandidates;
use sessd_base::out;
use sessd_base::paths::Paths;
use sessd_proto::docs::{Error, ForwardDoc, InfoDoc, Result};
use sessd_proto::messages::{self as m, Act};

/// What is to be forwarded, as `ssh` has it.
#[derive(Debug, Clone, Default, Args)]
pub struct ForwardFlags {
    /// Listen here, join there: [ADDRESS:]PORT:HOST:PORT, or a socket's path for either end
    #[arg(short = 'L', value_name = "SPEC", help_heading = "Forwards")]
    pub local: Vec<String>,
    /// Listen there, join here; port 0 is any that is free, and [ADDRESS:]PORT alone a SOCKS proxy there
    #[arg(short = 'R', value_name = "SPEC", help_heading = "Forwards")]
    pub remote: Vec<String>,
    /// A SOCKS proxy here whose connections begin there: [ADDRESS:]PORT
    #[arg(short = 'D', value_name = "SPEC", help_heading = "Forwards")]
    pub dynamic: Vec<String>,
}

impl ForwardFlags {
    /// As the manager is asked for it.
    pub fn specs(&self) -> Vec<m::ForwardSpec> {
        let all = [("local", &self.local), ("remote", &self.remote), ("dynamic", &self.dynamic)];
        let specs = all.into_iter().flat_map(|(kind, specs)| specs.iter().map(move |spec| (kind, spec)));
        specs.map(|(kind, spec)| m::ForwardSpec { kind: kind.to_owned(), spec: spec.clone() }).collect()
    }
}

/// Flags of `forward`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    sessd forward dev                         lists what is forwarded\n  \
    sessd forward dev -L 8080:localhost:80    port 8080 here is port 80 of the host\n  \
    sessd forward dev -R 9000:localhost:3000  port 9000 there is port 3000 here\n  \
    sessd forward dev -D 1080                 a SOCKS proxy\n  \
    sessd forward dev -R 1080                 a SOCKS proxy there, whose connections begin here\n  \
    sessd forward dev --auto                  every port that the job begins to listen on is here, too\n\n\
    A forward lives with its session: it is there again after a reconnect, a restart of the job or of the manager, and goes\n\
    with the session. Its connections outlive a lost link. Without an address only this machine (of -R: that one) reaches a\n\
    port; `*` lets others in.")]
pub struct ForwardArgs {
    /// Name, id, or the beginning or end of one
    #[arg(add = ArgValueCandidates::new(tab::live_sessions))]
    pub session: String,
    /// What.
    #[command(flatten)]
    pub specs: ForwardFlags,
    /// Every port that the job's processes listen on is forwarded to the same number here, if that is free
    #[arg(long)]
    pub auto: bool,
    /// Take one away by its number, any number of times
    #[arg(long, value_name = "N")]
    pub remove: Vec<u32>,
}

/// One forward, for people.
pub fn words(forward: &ForwardDoc) -> String {
    let what = match (forward.kind.as_str(), forward.port) {
        ("auto", _) => "the job's ports, to the same numbers here".to_owned(),
        ("agent", _) => "the ssh-agent, to the job".to_owned(),
        ("port", _) => format!("port {} of the job", forward.port.unwrap_or_default()),
        ("remote", Some(port)) if forward.spec.split(':').next() != Some(&port.to_string()) => {
            format!("-R {} (port {port} there)", forward.spec)
        }
        (kind, _) => format!("-{} {}", kind.chars().next().unwrap_or('?').to_ascii_uppercase(), forward.spec),
    };
    match &forward.detail {
        Some(detail) => format!("{what}: {} ({detail})", forward.state),
        None => format!("{what}: {}", forward.state),
    }
}

/// `sessd forward`.
///
/// # Errors
/// What cannot be forwarded, and why.
pub(super) fn forward(paths: &Paths, args: &ForwardArgs, json: bool) -> Result<u8> {
    // By its id from here on; and nothing is asked twice of a session of that name that came meanwhile.
    let (text, doc) = known(paths, &args.session)?;
    let mut add = args.specs.specs();
    add.extend(args.auto.then(|| m::ForwardSpec { kind: "auto".to_owned(), spec: String::new() }));
    let changes = !add.is_empty() || !args.remove.is_empty();
    let (text, doc) = if changes {
        let forward = m::Forward { session: doc.session.id, add, remove: args.remove.clone() };
        let text = ask(paths, Act::Forward(forward))?;
        let doc: InfoDoc = read(&text)?;
        (text, doc)
    } else {
        (text, doc)
    };
    let forwards = &doc.more.forwards;
    if json {
        let value: serde_json::Value = read(&text)?;
        out::json(&value["forwards"].to_string())?;
        return Ok(0);
    }
    if forwards.is_empty() && !changes {
        out::line(&format!("nothing is forwarded for {}", args.session))?;
    }
    for forward in forwards {
        let number = forward.number.map_or_else(|| "-".to_owned(), |number| number.to_string());
        let line = format!("{number:>2}  {}", words(forward));
        let line = room().map_or_else(|| line.clone(), |room| super::table::cut(&line, room).into_owned());
        out::line(&sessd_proto::docs::text::shown(&line))?;
    }
    let failed = |forward: &&ForwardDoc| forward.state == "failed" && forward.kind == "auto";
    match forwards.iter().find(failed) {
        Some(forward) => {
            Err(Error::failed(forward.detail.clone().unwrap_or_default(), "restart the session"))
        }
        None => Ok(0),
    }
}
