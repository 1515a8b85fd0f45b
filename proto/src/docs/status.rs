//! The manager itself, its links and its hosts, as JSON.

use super::host::LOCAL;
use super::word::{LinkState, Word};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The manager itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct StatusDoc {
    pub pid: u32,
    pub version: String,
    pub since: String,
    pub sessions: usize,
    pub links: Vec<LinkDoc>,
    /// How often a task of the manager came to a bad end and was begun again.
    #[serde(default)]
    pub panics: u32,
    /// Where everything is; null in what a manager says that is older than this.
    #[serde(default)]
    pub config: Option<String>,
    #[serde(default)]
    pub database: Option<String>,
    #[serde(default)]
    pub log: Option<String>,
    #[serde(default)]
    pub socket: Option<String>,
    #[serde(default)]
    pub program: Option<String>,
    /// The file of that name is not what runs: it was upgraded, or is gone.
    #[serde(default)]
    pub program_replaced: bool,
    /// What is wrong with the configuration file, or has no effect in it, one sentence each.
    #[serde(default)]
    pub config_errors: Vec<String>,
}

/// One host's link.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct LinkDoc {
    pub host: String,
    pub link: Word<LinkState>,
    pub rtt_ms: Option<f64>,
    pub next_try_at: Option<String>,
    pub detail: Option<String>,
    /// When anything was heard of the host last; null: not since the manager began, or it is older than this.
    #[serde(default)]
    pub heard_at: Option<String>,
    /// Bytes of frames from the host and to it since the manager knows it, over all links there were; what ssh adds is not
    /// in them. Null in what a manager says that is older than this, as is the next.
    #[serde(default)]
    pub bytes_in: Option<u64>,
    #[serde(default)]
    pub bytes_out: Option<u64>,
    /// How often the host was dialled again after the first time, whatever became of it.
    #[serde(default)]
    pub retries: Option<u64>,
}

/// A host that has a session or a link.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct HostDoc {
    // In the order of the alphabet, as it has always been printed.
    pub detail: Option<String>,
    /// How many sessions on it have ended.
    pub done: u64,
    /// As a link's.
    #[serde(default)]
    pub heard_at: Option<String>,
    pub host: String,
    pub link: Word<LinkState>,
    pub next_try_at: Option<String>,
    pub rtt_ms: Option<f64>,
    /// How many sessions on it have not.
    pub sessions: u64,
}

/// A step of the way to a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct StepDoc {
    /// `config`, `login`, `agent`, `clock`, `job` and the like.
    pub step: String,
    /// Null: it works, and something about it is worth knowing.
    pub ok: Option<bool>,
    pub detail: String,
    /// The one thing to do.
    pub hint: Option<String>,
}

/// The way to a host, as far as it goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct CheckDoc {
    pub host: String,
    pub ok: bool,
    pub steps: Vec<StepDoc>,
    /// Of the error that ended it.
    #[serde(default)]
    pub kind: Option<String>,
}

/// What was forgotten of a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct ForgetDoc {
    pub host: String,
    pub done: usize,
}

/// The hosts, in the order of their names. `sessions`: the host of each session, and whether it has ended.
pub fn hosts<'a>(sessions: impl Iterator<Item = (&'a str, bool)>, links: &'a [LinkDoc]) -> Vec<HostDoc> {
    let mut hosts: BTreeMap<&str, (u64, u64)> =
        links.iter().map(|link| (link.host.as_str(), (0, 0))).collect();
    for (host, ended) in sessions {
        let counts = hosts.entry(host).or_default();
        *(if ended { &mut counts.1 } else { &mut counts.0 }) += 1;
    }
    let one = |(host, (live, done)): (&str, (u64, u64))| {
        let link = links.iter().find(|link| link.host == host);
        let idle = if host == LOCAL { LinkState::Local } else { LinkState::Down };
        HostDoc {
            detail: link.and_then(|l| l.detail.clone()),
            done,
            heard_at: link.and_then(|l| l.heard_at.clone()),
            host: host.to_owned(),
            link: link.map_or(Word::Known(idle), |l| l.link.clone()),
            next_try_at: link.and_then(|l| l.next_try_at.clone()),
            rtt_ms: link.and_then(|l| l.rtt_ms),
            sessions: live,
        }
    };
    hosts.into_iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_a_session_or_a_link_and_is_said_once() {
        let links = [LinkDoc {
            host: "box".into(),
            link: LinkState::Down.into(),
            rtt_ms: None,
            next_try_at: Some("T".into()),
            detail: Some("pulled".into()),
            heard_at: Some("H".into()),
            bytes_in: Some(1),
            bytes_out: Some(2),
            retries: Some(3),
        }];
        let hosts = hosts([("local", false), ("old", true), ("local", true)].into_iter(), &links);
        assert_eq!(
            serde_json::to_string(&hosts).unwrap(),
            concat!(
                r#"[{"detail":"pulled","done":0,"heard_at":"H","host":"box","link":"down","next_try_at":"T","rtt_ms":null,"sessions":0},"#,
                r#"{"detail":null,"done":1,"heard_at":null,"host":"local","link":"local","next_try_at":null,"rtt_ms":null,"sessions":1},"#,
                r#"{"detail":null,"done":1,"heard_at":null,"host":"old","link":"down","next_try_at":null,"rtt_ms":null,"sessions":0}]"#
            )
        );
    }
}
