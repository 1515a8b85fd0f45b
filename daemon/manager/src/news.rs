//! What makes another attempt worth while before its time: a file of the configuration that has changed, an ssh-agent that
//! answers again.

use crate::origins::first_with_keys;
use sessd_base::config::stamp;
use sessd_base::named::Named;
use sessd_base::paths::Paths;
use sessd_core::dialling::Why;
use sessd_ssh::{Failure, Mends};
use std::path::PathBuf;
use std::time::Duration;

/// How often files are looked at, and how often agents are.
const FILES: Duration = Duration::from_secs(1);
const AGENTS: Duration = Duration::from_secs(2);

/// What may mend a failure without a person.
pub enum Missing {
    /// Time, or nothing.
    Nothing,
    /// A changed file of the configuration.
    Config,
    /// An agent that answers there, or any that somebody has.
    Agent {
        /// Where that one would answer, if it is known.
        socket: Option<PathBuf>,
        /// Any other would do.
        any: bool,
    },
}

impl Missing {
    /// What may mend this failure.
    pub fn of(failure: &Failure) -> Self {
        match failure {
            Failure::Config { .. } => Self::Config,
            Failure::NoAgent { socket, any, .. } => Self::Agent { socket: socket.clone(), any: *any },
            _ => Self::Nothing,
        }
    }
}

/// What has to change before the host is dialled again, and whether the environment of the attempt may be at fault.
pub fn why(failure: &Failure, proxied: bool) -> (Why, bool) {
    match failure {
        Failure::NeedsLogin { .. } | Failure::HostKey { .. } => (Why::Person, true),
        Failure::NoAgent { .. } => (Why::Agent, true),
        Failure::Config { .. } => (Why::Config, true),
        Failure::Refused { .. } => (Why::Refused, false),
        Failure::HungUp { .. } => (Why::HungUp, proxied),
        Failure::Shut { .. } => (Why::Shut, false),
        // A proxy is a program that is started there.
        Failure::Unreachable { .. } => (Why::Network, proxied),
        // It let us in, and does not do what we ask: a host that is starting does that, too, but not twice.
        Failure::AgentInstall { mends: Mends::Person | Mends::Login, .. } => (Why::Shut, false),
        Failure::AgentInstall { mends: Mends::Time, .. } | Failure::Protocol { .. } => (Why::Network, false),
    }
}

/// Waits until a file changes that the ssh config consists of, or ours does.
pub async fn of_files(ssh_config: Option<PathBuf>, paths: Paths) {
    let look = move || {
        let mut files = Named::look(ssh_config.as_deref(), &paths.home).files;
        files.push(paths.config.clone());
        files.into_iter().map(|file| (stamp(&file), file)).collect::<Vec<_>>()
    };
    let look = std::sync::Arc::new(look);
    let mut first = None;
    loop {
        let look = look.clone();
        // A home may hang: then there is no news.
        let Ok(now) = tokio::task::spawn_blocking(move || look()).await else { return };
        if first.get_or_insert_with(|| now.clone()) != &now {
            return;
        }
        tokio::time::sleep(FILES).await;
    }
}

/// Waits until an ssh-agent answers that has a key: the one at `socket`, or one of `others`, of which more may come.
pub async fn of_agents(socket: Option<PathBuf>, others: impl Fn() -> Vec<PathBuf>) {
    loop {
        tokio::time::sleep(AGENTS).await;
        if first_with_keys(socket.iter().chain(&others())).await.is_some() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_host_does_to_a_login_is_a_persons_business_and_what_it_lacks_is_times() {
        let install = |mends| Failure::AgentInstall { detail: String::new(), hint: String::new(), mends };
        for (mends, wanted) in
            [(Mends::Time, Why::Network), (Mends::Person, Why::Shut), (Mends::Login, Why::Shut)]
        {
            assert_eq!(why(&install(mends), true), (wanted, false), "{mends:?}");
        }
    }
}
