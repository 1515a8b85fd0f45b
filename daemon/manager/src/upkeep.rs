//! What has to be done from time to time: forget what was kept long enough, here and on hosts, and notice that the machine
//! slept.

use crate::host::{Status, ToHost};
use crate::link::{FrameSink, Link};
use crate::manager::Manager;
use crate::network::Network;
use crate::wire::OwnedFrame;
use sessd_base::clock;
use sessd_core::reconcile::Seen;
use sessd_core::stream::StreamId;
use sessd_core::wake::Wake;
use sessd_proto::docs::Result;
use sessd_proto::docs::event::What;
use sessd_proto::messages as m;
use sessd_proto::{Frame, Uuid};
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

/// How often the manager looks at its clocks.
const TICK: Duration = Duration::from_secs(5);
/// How long a holder that is told that it may go may take to answer.
const HOLDER_ANSWERS: Duration = Duration::from_secs(2);
/// Ticks between two looks for records that have been kept long enough, at the most: an hour.
const FORGET_TICKS: u32 = 720;

/// The same where they are kept for so long: none is there a tenth longer, or a tick where that is more.
fn forget_ticks(keep: Duration) -> u32 {
    let tenth = keep.as_secs() / 10 / TICK.as_secs();
    u32::try_from(tenth).unwrap_or(FORGET_TICKS).clamp(1, FORGET_TICKS)
}

/// Of a stream nothing is wanted but that the holder answers.
#[derive(Debug, Default)]
struct FirstWords(tokio::sync::Notify);

impl FrameSink for FirstWords {
    fn deliver(&self, _: StreamId, _: OwnedFrame) {
        self.0.notify_one();
    }

    fn backlog(&self) -> usize {
        0
    }
}

impl Manager {
    /// The way to every host may be another, and what was known of its link is not known any more.
    fn woke(&self) {
        for host in self.hosts.borrow().values() {
            host.tell(ToHost::Woke);
        }
    }

    /// Tells a host to forget jobs of which we have all we wanted, where a manager or a link died before it was told.
    pub(crate) fn sweep(self: &Rc<Self>, host: &str, link: &Rc<Link>, seen: &Rc<Seen>) {
        if seen.leftovers(&self.id, |_, _| true).is_empty() {
            return;
        }
        let (manager, host, link, seen) = (self.clone(), host.to_owned(), link.clone(), seen.clone());
        tokio::task::spawn_local(async move {
            let done = match manager.store.done_jobs(&host).await {
                Ok(done) => done,
                Err(error) => {
                    return tracing::warn!(
                        error = error.line(),
                        "what is left on a host stays there for now"
                    );
                }
            };
            let went_on = |job: &str, session: &str| {
                let id = Uuid::parse_str(session).ok();
                let live = id.and_then(|id| manager.registry.get(id));
                live.map_or_else(
                    || done.contains_key(job) || done.values().any(|id| id == session),
                    |s| s.live.borrow().record.job_id.to_string() != job,
                )
            };
            for job_id in seen.leftovers(&manager.id, went_on) {
                // A holder that still waits for its last word to be taken may go. It reads only after its own first words.
                let answer = Rc::new(FirstWords::default());
                if let Some(stream) = link.open(job_id.clone(), answer.clone()) {
                    link.send(stream, &Frame::ExitAck(m::Empty {}));
                    let _ = tokio::time::timeout(HOLDER_ANSWERS, answer.0.notified()).await;
                    link.close_stream(stream);
                }
                let job = m::JobName { job_id, manager_id: manager.id.clone() };
                if link.request(m::LinkAct::Forget(job)).await.is_err() {
                    return;
                }
            }
        });
    }

    /// Forgets what has been kept long enough, here and on hosts that are in reach.
    ///
    /// # Errors
    /// When the database does not take it.
    pub async fn forget_old(&self) -> Result<()> {
        let keep = i64::try_from(self.config.now().keep_done.as_millis()).unwrap_or(i64::MAX);
        for record in self.store.forget_done(clock::wall_ms().saturating_sub(keep)).await? {
            self.events.session(What::Forgotten, &record);
            let status = self.hosts.borrow().get(&record.host).map(|host| host.status());
            if let Some(Status::Up(link)) = status {
                let job = m::JobName { job_id: record.job_id.to_string(), manager_id: self.id.clone() };
                // Nothing is left there as a rule; a link that ends now leaves it to the host's own keeping.
                tokio::task::spawn_local(
                    async move { link.request(m::LinkAct::Forget(job)).await.map(drop) },
                );
            }
        }
        Ok(())
    }
}

/// What has to be done from time to time: forget old records, notice that the machine slept, and let slow listeners catch up.
pub(super) async fn maintain(weak: Weak<Manager>) {
    let began = Instant::now();
    let monotonic_ms = || began.elapsed().as_millis() as i64;
    let mut wake = Wake::new(clock::wall_ms(), monotonic_ms());
    let mut network = Network::new();
    for tick in 0u32.. {
        let Some(manager) = weak.upgrade() else { return };
        if tick % forget_ticks(manager.config.now().keep_done) == 0
            && let Err(error) = manager.forget_old().await
        {
            tracing::warn!(error = error.line(), "old records are not forgotten yet");
        }
        if tick == 0 {
            // While the database can be read: a list is to be had as long as the manager lives. It is read again when wanted.
            let _ = manager.store.with_done(|_| ()).await;
        }
        manager.events.tick();
        manager.config.look(&manager.paths).await;
        if wake.tick(clock::wall_ms(), monotonic_ms(), TICK.as_millis() as i64) {
            tracing::info!("this machine slept: every link is looked after");
            manager.woke();
        }
        manager.let_hosts_go();
        drop(manager);
        listen(&mut network, &weak).await;
    }
}

/// A tick long, looks after every link when the network changes.
async fn listen(network: &mut Network, manager: &Weak<Manager>) {
    let tick = tokio::time::sleep(TICK);
    tokio::pin!(tick);
    loop {
        tokio::select! {
            () = &mut tick => return,
            () = network.changed() => {
                if let Some(manager) = manager.upgrade() {
                    manager.woke();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_for_a_short_time_is_not_there_for_an_hour() {
        for (keep_secs, ticks) in [(0, 1), (2, 1), (100, 2), (3_600, 72), (7 * 86_400, 720), (u64::MAX, 720)]
        {
            assert_eq!(forget_ticks(Duration::from_secs(keep_secs)), ticks, "{keep_secs}");
        }
    }
}
