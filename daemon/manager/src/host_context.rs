//! What the manager's hosts have of it.

use crate::desk::Step;
use crate::dial;
use crate::host::{Coming, HostContext, How};
use crate::link::Link;
use crate::manager::Manager;
use crate::news::{self, Missing};
use sessd_base::asking::Asking;
use sessd_core::reconcile::Seen;
use sessd_core::stream::StreamIds;
use sessd_proto::docs::{LinkState, Result};
use std::rc::Rc;

impl HostContext for Manager {
    fn manager_id(&self) -> String {
        self.id.clone()
    }

    fn stream_ids(&self) -> Rc<StreamIds> {
        self.stream_ids.clone()
    }

    fn dial(
        self: Rc<Self>,
        host: String,
        from: Option<Rc<Asking>>,
        how: How,
    ) -> Coming<Result<dial::Dialled, dial::Failed>> {
        // Whoever asks is answered as ssh would be there; without anybody, an agent that is gone is not missed.
        let spare = if how.asked { Vec::new() } else { self.agents() };
        // Of what is made beside a link nobody hears.
        let person = how.person.unwrap_or_default();
        person.is_at(Step::Config);
        Box::pin(async move {
            self.config.look(&self.paths).await;
            let (config, home, images) = (self.config.now(), self.paths.home.clone(), self.images);
            // Held no longer than that: an attempt may take minutes.
            drop(self);
            let mut from = dial::environment(&config, from.as_deref(), &spare).await;
            from.person = Some(person.clone());
            from.hurry = how.watched;
            dial::dial(&host, &config, &home, from, images, |step| person.is_at(step)).await
        })
    }

    fn mended(self: Rc<Self>, missing: &Missing, from: Option<Rc<Asking>>) -> Option<Coming<()>> {
        match missing {
            Missing::Nothing => None,
            Missing::Config => {
                let ssh_config = dial::ssh_config(&self.config.now(), from.as_deref());
                Some(Box::pin(news::of_files(ssh_config, self.paths.clone())))
            }
            Missing::Agent { socket, any } => {
                let others = any.then(|| Rc::downgrade(&self));
                let others = move || {
                    let manager = others.as_ref().and_then(std::rc::Weak::upgrade);
                    manager.map(|manager| manager.agents()).unwrap_or_default()
                };
                Some(Box::pin(news::of_agents(socket.clone(), others)))
            }
        }
    }

    fn link_changed(&self, host: &str, was: LinkState, is: LinkState, why: Option<&str>) {
        self.events.link(host, was, is, why);
        self.registry.tell_changed();
    }

    fn is_up(self: Rc<Self>, host: &str, link: &Rc<Link>, seen: &Rc<Seen>) {
        self.sweep(host, link, seen);
    }

    fn panicked(&self) {
        self.registry.panicked();
    }
}
