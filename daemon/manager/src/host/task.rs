//! The task that owns a host: it waits for what comes, tells the machine, and carries out what the machine says.

use super::{Coming, Host, HostContext, HostNews, How, Status, ToHost};
use crate::dial;
use crate::failpoints::failpoint;
use crate::link::{Link, LinkEnd, NoAnswer};
use crate::news::{Missing, why};
use crate::origins::OWN;
use sessd_base::clock;
use sessd_core::host::{Beside, Cause, Effect, Event, LinkNumber, Phase};
use sessd_core::reconcile::Seen;
use sessd_proto::Uuid;
use sessd_proto::docs::host::LOCAL;
use sessd_proto::docs::{Error, Kind, Result};
use sessd_proto::messages::{Inventory, InventoryRequest, LinkAct, LinkAnswer};
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};
use std::task::Poll;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Longer than anything waits.
const FAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The task of one host: its machine, the attempts and links, and what comes of them.
pub(super) struct Task {
    host: Weak<Host>,
    manager: Weak<dyn HostContext>,
    receiver: mpsc::UnboundedReceiver<ToHost>,
    machine: Machine,
    /// Where its clock begins.
    clock: Instant,
    /// The attempts on their way, up to the agent's byte stream: one, and one beside a link.
    attempts: BTreeMap<LinkNumber, Coming<Result<dial::Dialled, dial::Failed>>>,
    /// From there on.
    links: BTreeMap<LinkNumber, LiveLink>,
    /// What the links know of who looks.
    watched: bool,
    /// What may mend the last failure without a person.
    missing: Missing,
    /// Comes when that has changed.
    news: Option<Coming<()>>,
}

type Machine = sessd_core::host::Host<Asker, Looker, Error>;
/// Whoever waits for a link, and for an inventory.
type Asker = oneshot::Sender<Result<()>>;
type Looker = oneshot::Sender<Result<Rc<Seen>>>;

/// One link.
struct LiveLink {
    link: Rc<Link>,
    /// The probe on its way.
    probe: Option<Coming<std::result::Result<LinkAnswer, NoAnswer>>>,
}

/// Whatever ends the task that had it, nobody is left to run the link.
impl Drop for LiveLink {
    fn drop(&mut self) {
        self.link.hang_up();
    }
}

/// Waits for what may not be there.
async fn coming<T>(future: Option<&mut Coming<T>>) -> T {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}

/// Waits for the first of those there are.
async fn first<'a, T: 'a>(all: impl Iterator<Item = (LinkNumber, &'a mut Coming<T>)>) -> (LinkNumber, T) {
    let mut all: Vec<_> = all.collect();
    std::future::poll_fn(|cx| {
        for (number, future) in &mut all {
            if let Poll::Ready(came) = future.as_mut().poll(cx) {
                return Poll::Ready((*number, came));
            }
        }
        Poll::Pending
    })
    .await
}

impl Task {
    pub(super) fn start(
        host: &Rc<Host>,
        manager: Weak<dyn HostContext>,
        receiver: mpsc::UnboundedReceiver<ToHost>,
    ) -> JoinHandle<()> {
        let seed = Uuid::now_v7().as_u128() as u64;
        let task = Self {
            host: Rc::downgrade(host),
            manager,
            receiver,
            machine: Machine::new(seed, OWN),
            clock: Instant::now(),
            attempts: BTreeMap::new(),
            links: BTreeMap::new(),
            watched: false,
            missing: Missing::Nothing,
            news: None,
        };
        tokio::task::spawn_local(task.run())
    }

    async fn run(mut self) {
        loop {
            let deadline = self.machine.deadline().map(|at| self.clock + Duration::from_millis(at));
            let probe = self.links.iter_mut().filter_map(|(n, live)| Some((*n, live.probe.as_mut()?)));
            let attempts = self.attempts.iter_mut().map(|(n, attempt)| (*n, attempt));
            let event = tokio::select! {
                biased;
                message = self.receiver.recv() => match message {
                    Some(message) => self.event_of(message),
                    // Nobody has the handle any more.
                    None => return,
                },
                (number, dialled) = first(attempts) => self.dialled(number, dialled),
                (number, answer) = first(probe) => self.answered(number, answer),
                () = coming(self.news.as_mut()) => {
                    self.news = None;
                    Some(Event::News)
                }
                () = tokio::time::sleep_until(deadline.unwrap_or(self.clock + FAR)) => Some(Event::Tick),
            };
            self.look_who_looks();
            if let Some(event) = event {
                self.handle(event);
            }
        }
    }

    /// Machine and links know whether anybody looks at a session there.
    fn look_who_looks(&mut self) {
        let watched = self.host.upgrade().is_some_and(|host| host.is_watched());
        self.handle(Event::Watched(watched));
        if std::mem::replace(&mut self.watched, watched) != watched {
            self.links.values().for_each(|live| live.link.watched(watched));
        }
    }

    fn handle(&mut self, event: Event<Asker, Looker, Error>) {
        let now = self.clock.elapsed().as_millis() as u64;
        self.machine.handle(now, event);
        while let Some(effect) = self.machine.poll() {
            self.carry_out(effect);
        }
    }

    fn event_of(&mut self, message: ToHost) -> Option<Event<Asker, Looker, Error>> {
        Some(match message {
            ToHost::Enlisted(member) => Event::Enlisted(member),
            ToHost::Dismissed(member) => Event::Dismissed(member),
            ToHost::Want(from, asker) => Event::Want(asker, from),
            ToHost::Person(from) => Event::Person(from),
            ToHost::Hasten => Event::Hasten,
            ToHost::Disconnect => Event::Disconnect,
            ToHost::ProbeAgain => Event::ProbeAgain,
            ToHost::ProbeNow => Event::ProbeNow,
            ToHost::Probe(looker) => Event::Probe(looker),
            ToHost::Woke => Event::Woke,
            ToHost::Ended(number, end) => Event::Ended(number, end),
            // Who looks was looked at.
            ToHost::Watched => return None,
            ToHost::Changed(number) => {
                let link = self.links.get(&number)?.link.clone();
                self.handle(Event::Late(number, link.is_late()));
                Event::Changed(number, link.is_stalled())
            }
        })
    }

    fn carry_out(&mut self, effect: Effect<Asker, Looker, Error>) {
        let (Some(manager), Some(host)) = (self.manager.upgrade(), self.host.upgrade()) else { return };
        match effect {
            Effect::Dial { number, from, asked, beside } => {
                host.dials.set(host.dials.get() + 1);
                let asking = host.origins.borrow().get(from);
                let person = (!beside).then(|| host.desk.clone());
                let how = How { asked, watched: beside || host.is_watched(), person };
                if beside {
                    tracing::info!(host = host.name, "a second link is dialled beside the first");
                }
                self.attempts.insert(number, manager.dial(host.name.clone(), asking, how));
            }
            Effect::Abandon(number) => drop(self.attempts.remove(&number)),
            Effect::HangUp(number) => {
                if let Some(live) = self.links.remove(&number) {
                    let heard: Instant = live.link.heard().into();
                    host.heard.set(host.heard.get().max(Some(heard)));
                }
            }
            Effect::Doubt(number) => {
                if let Some(live) = self.links.get(&number) {
                    live.link.doubt();
                }
            }
            Effect::Ask(number) => {
                if let Some(live) = self.links.get_mut(&number) {
                    let asked = InventoryRequest { places: host.folders(), manager_id: manager.manager_id() };
                    let link = live.link.clone();
                    live.probe = Some(Box::pin(async move { link.request(LinkAct::Inventory(asked)).await }));
                }
            }
            // Whoever asked may have gone.
            Effect::Tell(asker, Ok(())) => drop(asker.send(Ok(()))),
            Effect::Tell(asker, Err(cause)) => drop(asker.send(Err(error_of(&host.name, &cause)))),
            Effect::Probed(looker, Some(seen)) => drop(looker.send(Ok(seen))),
            // They are told so by the loss of their question.
            Effect::Probed(looker, None) => drop(looker),
            Effect::Seen(seen) => {
                let Inventory { machine_id, folder, .. } = seen.inventory().clone();
                *host.place.borrow_mut() = Some(Inventory { machine_id, folder, ..Inventory::default() });
            }
            Effect::Up(member, number, seen) => {
                if self.links.contains_key(&number) {
                    host.tell_member(member, HostNews::Up { seen });
                }
            }
            Effect::News(member, seen) => host.tell_member(member, HostNews::Probed { seen }),
            Effect::Publish => self.publish(&host, &*manager),
            Effect::Sweep(number, seen) => {
                if let Some(live) = self.links.get(&number) {
                    manager.is_up(&host.name, &live.link, &seen);
                }
            }
            Effect::Watch(from) => {
                let asking = host.origins.borrow().get(from);
                self.news = manager.mended(&self.missing, asking);
            }
            Effect::Unwatch => self.news = None,
        }
    }

    /// Everybody hears where the link stands.
    fn publish(&self, host: &Host, manager: &dyn HostContext) {
        let error = || error_of(&host.name, self.machine.cause());
        let status = match self.machine.phase() {
            Phase::Dormant => Status::Dormant,
            Phase::Connecting => Status::Connecting,
            Phase::Up(number) => {
                self.links.get(&number).map_or(Status::Connecting, |live| Status::Up(live.link.clone()))
            }
            Phase::Waiting(at) => {
                let left = at.saturating_sub(self.clock.elapsed().as_millis() as u64);
                Status::Down { next_try_ms: clock::wall_ms() + left as i64, why: error() }
            }
            Phase::Parked => Status::NeedsPerson(error()),
            Phase::Disconnected => Status::Disconnected(error()),
        };
        if matches!(status, Status::Up(_)) && !matches!(&*host.status.borrow(), Status::Up(_)) {
            failpoint("host-up");
        }
        let (is, why) = (status.link_state(&host.name), status.why().map(Error::cause));
        *host.status.borrow_mut() = status;
        let was = host.told.replace(is);
        host.tell_members(&HostNews::Changed);
        manager.link_changed(&host.name, was, is, why.as_deref());
    }

    fn dialled(
        &mut self,
        number: LinkNumber,
        dialled: Result<dial::Dialled, dial::Failed>,
    ) -> Option<Event<Asker, Looker, Error>> {
        self.attempts.remove(&number);
        match dialled {
            Ok(dialled) => {
                let may = match (dialled.asks_a_person, dialled.standby) {
                    (true, _) => Beside::Never,
                    (false, true) => Beside::Always,
                    (false, false) => Beside::WhenLate,
                };
                self.handle(Event::May(may));
                self.greet(number, dialled)?;
                Some(Event::Dialled(number))
            }
            Err(dial::Failed { failure, proxied }) => {
                let host = self.host.upgrade().map(|h| h.name.clone()).unwrap_or_default();
                tracing::info!(host, %failure, "the host could not be reached");
                let (why, by_environment) = why(&failure, proxied);
                self.missing = Missing::of(&failure);
                Some(Event::NotDialled { number, why, by_environment, error: Error::from(failure) })
            }
        }
    }

    /// A link begins.
    fn greet(&mut self, number: LinkNumber, dialled: dial::Dialled) -> Option<()> {
        let (manager, host) = (self.manager.upgrade()?, self.host.upgrade()?);
        host.forward_agent.set(dialled.forward_agent);
        // What is on this machine is never late, but busy.
        let link = Link::new(dialled.sockets, manager.stream_ids(), host.name != LOCAL, host.traffic.clone());
        link.watched(self.watched);
        let (ended, changed) = (host.mailbox.borrow().clone(), host.mailbox.borrow().clone());
        let running = link.clone().run(dialled.reader, dialled.writer, move || {
            // The task lives as long as the host's handle.
            let _ = changed.send(ToHost::Changed(number));
        });
        let name = host.name.clone();
        tokio::task::spawn_local(async move {
            let end = running.await;
            tracing::info!(host = name, ?end, "the link ended");
            let _ = ended.send(ToHost::Ended(number, end));
        });
        self.links.insert(number, LiveLink { link, probe: None });
        Some(())
    }

    fn answered(
        &mut self,
        number: LinkNumber,
        answer: std::result::Result<LinkAnswer, NoAnswer>,
    ) -> Option<Event<Asker, Looker, Error>> {
        self.links.get_mut(&number)?.probe = None;
        Some(Event::Answered(number, answer.ok()))
    }
}

/// What people are told of why there is no link.
fn error_of(host: &str, cause: &Cause<Error>) -> Error {
    match cause {
        Cause::NotDialled => Error::failed(
            format!("{host} was not dialled yet"),
            format!("`sessd host connect {host}` does that"),
        ),
        Cause::Disconnected => Error::new(
            Kind::Unreachable,
            format!("{host} was disconnected by `sessd host disconnect`"),
            format!("`sessd host connect {host}`, or attach to a session there"),
        ),
        Cause::Attempt(error) => error.clone(),
        Cause::Refused(why) => {
            Error::failed(why.clone(), format!("`sessd doctor {host}` looks for what is wrong there"))
        }
        Cause::Link(LinkEnd::Lost(why)) => Error::new(
            Kind::Unreachable,
            format!("the link to {host} was lost ({why})"),
            "it is dialled again",
        ),
        Cause::Link(LinkEnd::Unusable(why)) => Error::failed(
            format!("the agent on {host} cannot be used: {why}"),
            "look at its folder there, `~/.local/state/sessd-agent`",
        ),
        Cause::Link(LinkEnd::Skew(why)) => {
            Error::new(Kind::VersionSkew, format!("the agent on {host}: {why}"), "upgrade the older one")
        }
    }
}
