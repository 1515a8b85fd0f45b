//! A host's link, wanted by a person for its own sake.

use crate::host::{Host, Status};
use crate::manager::Manager;
use sessd_base::asking::Asking;
use sessd_proto::docs::host::spelled;
use sessd_proto::docs::time::rfc3339;
use sessd_proto::docs::{LinkDoc, Result};
use std::rc::Rc;

impl Manager {
    /// Has the host dialled now if its link is not up, whatever it waited for; whoever asks is asked what the login wants.
    ///
    /// # Errors
    /// Why it is not up after that.
    pub async fn connect(self: &Rc<Self>, host: &str, asking: Option<&Rc<Asking>>) -> Result<LinkDoc> {
        let host = self.host(&spelled(host)?);
        host.want(asking).await?;
        Ok(link_doc(&host))
    }
}

/// Where a host's link stands.
pub(crate) fn link_doc(host: &Host) -> LinkDoc {
    let status = host.status();
    LinkDoc {
        host: host.name.clone(),
        link: status.link_state(&host.name).into(),
        rtt_ms: match &status {
            Status::Up(link) => link.rtt_ms(),
            _ => None,
        },
        next_try_at: status.next_try_ms().map(rfc3339),
        detail: status.why().map(|e| e.message.clone()),
    }
}
