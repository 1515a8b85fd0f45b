//! A host's link, wanted by a person for its own sake.

use crate::host::{Host, Status};
use crate::manager::Manager;
use sessd_base::asking::Asking;
use sessd_proto::docs::host::{LOCAL, spelled};
use sessd_proto::docs::{Error, ForgetDoc, Kind, LinkDoc, Result};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// How long a link may take to end.
const ENDED: Duration = Duration::from_secs(1);

impl Manager {
    /// Has the host dialled now if its link is not up, whatever it waited for; whoever asks is asked what the login wants.
    ///
    /// # Errors
    /// Why it is not up after that.
    pub async fn connect(self: &Rc<Self>, host: &str, asking: Option<&Rc<Asking>>) -> Result<LinkDoc> {
        let host = self.host(&spelled(host)?);
        host.want(asking).await?;
        Ok(host.doc())
    }
}

impl Manager {
    /// Ends the host's link; its jobs run on. It is dialled again when somebody wants it, and not before.
    ///
    /// # Errors
    /// When there is no such host, or it is this machine.
    pub async fn disconnect(self: &Rc<Self>, host: &str) -> Result<LinkDoc> {
        let name = spelled(host)?;
        if name == LOCAL {
            return Err(Error::usage("this machine has no link that could be ended"));
        }
        let known = self.hosts.borrow().get(&name).cloned();
        let host = known.ok_or_else(|| {
            Error::new(
                Kind::NoSuchSession,
                format!("there is no link to {name}"),
                "`sessd host list` shows the hosts",
            )
        })?;
        ended(&host).await;
        Ok(host.doc())
    }

    /// Forgets a host: its link, and the records of sessions that ended there.
    ///
    /// # Errors
    /// When a session lives there, or nothing is known of it.
    pub async fn forget_host(self: &Rc<Self>, host: &str) -> Result<ForgetDoc> {
        let name = spelled(host)?;
        let sessions = self.registry.all();
        let live: Vec<String> = sessions
            .iter()
            .map(|session| session.live.borrow().record.clone())
            .filter(|record| record.host == name)
            .map(|record| record.label())
            .collect();
        if !live.is_empty() {
            return Err(Error::failed(
                format!(
                    "{} on {name} {} not done",
                    some_of(&live),
                    if live.len() == 1 { "is" } else { "are" }
                ),
                format!(
                    "`sessd delete --host {name}` ends what runs there, `sessd host rename` says that it is called otherwise"
                ),
            ));
        }
        let known = self.hosts.borrow().get(&name).cloned();
        let mut done = self.store.done().await?;
        done.retain(|record| record.host == name);
        if known.is_none() && done.is_empty() {
            return Err(Error::new(
                Kind::NoSuchSession,
                format!("nothing is known of {name}"),
                "`sessd host list` shows the hosts",
            ));
        }
        let (gone, _, failure) = self.forget_those(done).await;
        if let Some(host) = known {
            ended(&host).await;
        }
        self.let_hosts_go();
        failure.map_or(Ok(ForgetDoc { host: name, done: gone.len() }), Err)
    }
}

/// Ends the link, and waits until that is so: what is answered is what is.
async fn ended(host: &Host) {
    host.disconnect();
    let began = Instant::now();
    while !matches!(host.status(), Status::Disconnected(_) | Status::Dormant) && began.elapsed() < ENDED {
        tokio::time::sleep(ENDED / 200).await;
    }
}

/// The first few by name, and how many more.
fn some_of(labels: &[String]) -> String {
    const SHOWN: usize = 5;
    let mut words: Vec<String> = labels.iter().take(SHOWN).cloned().collect();
    if labels.len() > SHOWN {
        words.push(format!("{} more", labels.len() - SHOWN));
    }
    words.join(", ")
}
