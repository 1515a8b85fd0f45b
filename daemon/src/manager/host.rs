//! One task per host: the only one that dials it.
//!
//! ```text
//!            wanted               dialled, greeted, inventory taken
//!  dormant ─────────▶ connecting ───────────────────────────────────▶ up ──(silent)──▶ stalled ──▶ lost
//!     ▲                 │   ▲                                          │                             │
//!     │ nobody left     │   └── backoff, or a person asks ── down ◀────┴─────────────────────────────┘
//!     └─────────────────┴─▶ needs-login: only a person's asking dials again
//! ```

use crate::clock;
use crate::error::{Error, Kind, Result};
use crate::manager::Manager;
use crate::manager::dial::{self, LOCAL};
use crate::manager::link::{Link, LinkEnd};
use crate::manager::session::{Mailbox, ToSession};
use crate::ssh::Failure;
use sessd_core::backoff::Backoff;
use sessd_core::reconcile::{Seen, place};
use sessd_proto::Uuid;
use sessd_proto::messages::{Empty, LinkAct, LinkAnswer};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::{Rc, Weak};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

/// How long a link nobody needs is kept.
const UNUSED: Duration = Duration::from_secs(60);
/// How long the agent may take for its first words and the inventory.
const GREETING: Duration = Duration::from_secs(30);
/// How soon to look again at jobs about which nothing firm is known, and how often at the least.
const LOOK_AGAIN_FIRST: Duration = Duration::from_millis(250);
const LOOK_AGAIN_LAST: Duration = Duration::from_secs(30);
/// Longer than anything waits.
const FAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Where a host's link stands.
#[derive(Debug, Clone)]
pub enum Status {
    /// Nobody needs it.
    Dormant,
    /// Being dialled.
    Connecting,
    /// Live.
    Up(Rc<Link>),
    /// Dialled again at that time, milliseconds since the epoch.
    Down {
        /// When.
        next_try_ms: i64,
        /// Why.
        why: Error,
    },
    /// Not dialled again without a person.
    NeedsPerson(Error),
}

impl Status {
    /// The contract's word.
    pub fn word(&self, host: &str) -> &'static str {
        match self {
            Self::Up(_) if self.is_stalled() => "stalled",
            Self::Up(_) if host == LOCAL => "local",
            Self::Up(_) => "up",
            Self::Connecting => "connecting",
            Self::Dormant | Self::Down { .. } => "down",
            Self::NeedsPerson(_) => "needs-login",
        }
    }

    /// Is the link there, and silent?
    pub fn is_stalled(&self) -> bool {
        matches!(self, Self::Up(link) if link.is_stalled())
    }

    /// When it is dialled next.
    pub fn next_try_ms(&self) -> Option<i64> {
        match self {
            Self::Down { next_try_ms, .. } => Some(*next_try_ms),
            _ => None,
        }
    }

    /// Why it is not up, one sentence.
    pub fn why(&self) -> Option<&Error> {
        match self {
            Self::Down { why, .. } | Self::NeedsPerson(why) => Some(why),
            _ => None,
        }
    }
}

/// What is asked of a host's task.
pub enum ToHost {
    /// This session lives there and wants to hear of the link.
    Enlist(Uuid, Mailbox),
    /// This session needs the host no more.
    Dismiss(Uuid),
    /// A person wants the link now: the answer is its state after one attempt.
    Want(oneshot::Sender<Result<()>>),
    /// A session waits for firm news: take another inventory soon.
    LookAgain,
    /// Take an inventory now, and tell what it says.
    Look(oneshot::Sender<Result<Rc<Seen>>>),
    /// This machine slept, or may have: nothing that was known of the link is.
    Woke,
    /// The link has ended.
    Ended(LinkEnd),
    /// The link stalled or recovered.
    Changed,
}

/// A handle to a host's task.
#[derive(Debug)]
pub struct Host {
    /// As the user gave it.
    pub name: String,
    mailbox: mpsc::UnboundedSender<ToHost>,
    status: RefCell<Status>,
    place: RefCell<Option<String>>,
    /// The word that listeners heard last.
    told: Cell<&'static str>,
}

impl Host {
    /// Starts the task of a host.
    pub fn start(name: String, manager: Weak<Manager>) -> Rc<Self> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let host = Rc::new(Self {
            name,
            mailbox: sender,
            status: RefCell::new(Status::Dormant),
            place: RefCell::default(),
            told: Cell::new("down"),
        });
        let seed = Uuid::now_v7().as_u128() as u64;
        let task = Task {
            host: Rc::downgrade(&host),
            manager,
            receiver,
            members: HashMap::new(),
            waiting: Vec::new(),
            backoff: Backoff::new(seed),
        };
        tokio::task::spawn_local(task.run());
        host
    }

    /// Tells the task.
    pub fn tell(&self, message: ToHost) {
        // The task lives as long as this handle.
        let _ = self.mailbox.send(message);
    }

    /// Wants the link now and waits for one attempt.
    ///
    /// # Errors
    /// Why it is not up.
    pub async fn want(&self) -> Result<()> {
        let (sender, answer) = oneshot::channel();
        self.tell(ToHost::Want(sender));
        answer.await.unwrap_or_else(|_| Err(Error::failed("the manager is stopping", "try again")))
    }

    /// The link, dialled if need be, and what the host has now.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn look(&self) -> Result<Rc<Seen>> {
        self.want().await?;
        let (sender, answer) = oneshot::channel();
        self.tell(ToHost::Look(sender));
        answer.await.unwrap_or_else(|_| {
            Err(Error::new(Kind::Unreachable, format!("the link to {} was lost", self.name), "try again"))
        })
    }

    /// A person is there: whatever waits for one is tried now. Nobody waits for the answer.
    pub fn person_is_here(&self) {
        if !matches!(self.status(), Status::Up(_)) {
            self.tell(ToHost::Want(oneshot::channel().0));
        }
    }

    /// The machine and folder its jobs lie in, by the last inventory.
    pub fn place(&self) -> Option<String> {
        self.place.borrow().clone()
    }

    /// Where the link stands.
    pub fn status(&self) -> Status {
        self.status.borrow().clone()
    }
}

struct Task {
    host: Weak<Host>,
    manager: Weak<Manager>,
    receiver: mpsc::UnboundedReceiver<ToHost>,
    members: HashMap<Uuid, Mailbox>,
    waiting: Vec<oneshot::Sender<Result<()>>>,
    backoff: Backoff,
}

/// What the task goes on with.
enum Go {
    Dial,
    Stop,
}

impl Task {
    async fn run(mut self) {
        loop {
            let go = match self.dormant_or_down(None).await {
                Go::Dial => self.dial_until_nobody_wants().await,
                Go::Stop => return,
            };
            if matches!(go, Go::Stop) {
                return;
            }
        }
    }

    fn set(&self, status: Status) {
        if let Some(host) = self.host.upgrade() {
            let (is, why) = (status.word(&host.name), status.why().map(|e| e.message.clone()));
            *host.status.borrow_mut() = status;
            let was = host.told.replace(is);
            if let Some(manager) = self.manager.upgrade() {
                manager.events.link(&host.name, was, is, why.as_deref());
            }
        }
        for mailbox in self.members.values() {
            mailbox.send(ToSession::LinkChanged);
        }
    }

    fn answer_waiting(&mut self, answer: &Result<()>) {
        for waiting in self.waiting.drain(..) {
            // Who asked may have gone.
            let _ = waiting.send(answer.clone());
        }
    }

    /// Waits until the host is to be dialled: at once when somebody comes, or after `delay`.
    async fn dormant_or_down(&mut self, delay: Option<Duration>) -> Go {
        let sleep = tokio::time::sleep(delay.unwrap_or(FAR));
        tokio::pin!(sleep);
        loop {
            tokio::select! {
                () = &mut sleep, if delay.is_some() => return if self.members.is_empty() { Go::Stop } else { Go::Dial },
                message = self.receiver.recv() => match message {
                    None => return Go::Stop,
                    Some(ToHost::Enlist(id, mailbox)) => {
                        self.members.insert(id, mailbox);
                        if delay.is_none() {
                            return Go::Dial;
                        }
                    }
                    Some(ToHost::Dismiss(id)) => {
                        self.members.remove(&id);
                    }
                    Some(ToHost::Want(sender)) => {
                        self.waiting.push(sender);
                        self.backoff.reset();
                        return Go::Dial;
                    }
                    Some(ToHost::Woke) => {
                        self.backoff.reset();
                        if delay.is_some() && !self.members.is_empty() {
                            return Go::Dial;
                        }
                    }
                    // Who wants a look has no link to look through.
                    Some(ToHost::Look(_) | ToHost::LookAgain | ToHost::Ended(_) | ToHost::Changed) => {}
                },
            }
        }
    }

    async fn dial_until_nobody_wants(&mut self) -> Go {
        loop {
            let Some(manager) = self.manager.upgrade() else { return Go::Stop };
            let Some(name) = self.host.upgrade().map(|h| h.name.clone()) else { return Go::Stop };
            self.set(Status::Connecting);
            let (config, home) = (manager.config.clone(), manager.paths.home.clone());
            drop(manager);
            let began = Instant::now();
            let failure = match dial::dial(&name, &config, &home).await {
                Ok(dialled) => match self.live(dialled).await {
                    Live::Unused => {
                        self.set(Status::Dormant);
                        return Go::Dial;
                    }
                    Live::Stop => return Go::Stop,
                    Live::Ended(error) => Ok(error),
                },
                Err(failure) => Err(failure),
            };
            let unreached = failure.is_err();
            // Every attempt that failed answers whoever waits; what is not retried waits for a person.
            let (error, retried) = match failure {
                Ok(error) => (error, true),
                Err(failure) => {
                    tracing::info!(host = name, %failure, "the host could not be reached");
                    let retried = !matches!(
                        failure,
                        Failure::NeedsLogin { .. } | Failure::HostKey { .. } | Failure::Config { .. }
                    );
                    (Error::from(failure), retried)
                }
            };
            self.answer_waiting(&Err(error.clone()));
            let go = if retried {
                // A link that was up and broke is not a host that was silent.
                let took_ms = if unreached { began.elapsed().as_millis() as u64 } else { 0 };
                let delay = self.backoff.failed(took_ms);
                self.set(Status::Down { next_try_ms: clock::wall_ms() + delay as i64, why: error });
                self.dormant_or_down(Some(Duration::from_millis(delay))).await
            } else {
                self.set(Status::NeedsPerson(error));
                self.until_a_person_asks().await
            };
            if matches!(go, Go::Stop) {
                self.set(Status::Dormant);
                return if self.receiver.is_closed() { Go::Stop } else { Go::Dial };
            }
        }
    }

    async fn until_a_person_asks(&mut self) -> Go {
        loop {
            match self.receiver.recv().await {
                None => return Go::Stop,
                Some(ToHost::Want(sender)) => {
                    self.waiting.push(sender);
                    return Go::Dial;
                }
                Some(ToHost::Enlist(id, mailbox)) => {
                    self.members.insert(id, mailbox);
                }
                Some(ToHost::Dismiss(id)) => {
                    self.members.remove(&id);
                }
                Some(_) => {}
            }
        }
    }

    /// Runs one link from its greeting to its end.
    async fn live(&mut self, dialled: dial::Dialled) -> Live {
        let link = Link::new(dialled.sockets);
        let _child = dialled.child;
        let Some(host) = self.host.upgrade() else { return Live::Stop };
        let (ended, changed) = (host.mailbox.clone(), host.mailbox.clone());
        drop(host);
        let running = link.clone().run(dialled.reader, dialled.writer, move || {
            // The task lives as long as the host's handle.
            let _ = changed.send(ToHost::Changed);
        });
        tokio::task::spawn_local(async move {
            let _ = ended.send(ToHost::Ended(running.await));
        });
        let seen = match self.take_inventory(&link).await {
            Ok(seen) => seen,
            Err(live) => {
                link.hang_up();
                return live;
            }
        };
        self.backoff.reset();
        self.set(Status::Up(link.clone()));
        self.answer_waiting(&Ok(()));
        for mailbox in self.members.values() {
            mailbox.send(ToSession::LinkUp { link: link.clone(), seen: seen.clone() });
        }
        if let (Some(manager), Some(host)) = (self.manager.upgrade(), self.host.upgrade()) {
            manager.sweep(&host.name, &link, &seen);
        }
        let end = self.up(&link, seen).await;
        link.hang_up();
        end
    }

    /// The first words of a link: greeting and inventory, while members come and go.
    async fn take_inventory(&mut self, link: &Rc<Link>) -> std::result::Result<Rc<Seen>, Live> {
        let inventory = tokio::time::timeout(GREETING, link.request(LinkAct::Inventory(Empty {})));
        tokio::pin!(inventory);
        loop {
            tokio::select! {
                biased;
                message = self.receiver.recv() => match message {
                    None => return Err(Live::Stop),
                    Some(ToHost::Ended(end)) => return Err(Live::Ended(self.ended(end))),
                    Some(ToHost::Enlist(id, mailbox)) => {
                        self.members.insert(id, mailbox);
                    }
                    Some(ToHost::Dismiss(id)) => {
                        self.members.remove(&id);
                    }
                    Some(ToHost::Want(sender)) => self.waiting.push(sender),
                    Some(ToHost::Woke) => link.doubt(),
                    // Whoever asks for a look was given a link before.
                    Some(ToHost::Look(_) | ToHost::LookAgain | ToHost::Changed) => {}
                },
                answer = &mut inventory => return match answer {
                    Ok(Ok(LinkAnswer::Inventory(inventory))) => {
                        if let Some(host) = self.host.upgrade() {
                            *host.place.borrow_mut() = Some(place(&inventory));
                        }
                        Ok(Rc::new(Seen::new(inventory)))
                    }
                    Ok(Ok(LinkAnswer::Refused(refused))) => {
                        Err(Live::Ended(Error::failed(crate::ssh::clean(&refused.detail, 300), "")))
                    }
                    // The link's own end says why, and comes as a message.
                    Ok(Err(_)) => match self.receiver.recv().await {
                        Some(ToHost::Ended(end)) => Err(Live::Ended(self.ended(end))),
                        _ => Err(Live::Ended(self.ended(LinkEnd::Lost("it ended at once".into())))),
                    },
                    Ok(Ok(_)) | Err(_) => Err(Live::Ended(self.ended(LinkEnd::Lost("the agent does not answer".into())))),
                },
            }
        }
    }

    fn ended(&self, end: LinkEnd) -> Error {
        let host = self.host.upgrade().map(|h| h.name.clone()).unwrap_or_default();
        tracing::info!(host, ?end, "the link ended");
        match end {
            LinkEnd::Lost(why) => Error::new(
                Kind::Unreachable,
                format!("the link to {host} was lost ({why})"),
                "it is dialled again",
            ),
            LinkEnd::Unusable(why) => Error::failed(
                format!("the agent on {host} cannot be used: {why}"),
                "look at its folder there, `~/.local/state/sessd-agent`",
            ),
            LinkEnd::Skew(why) => {
                Error::new(Kind::VersionSkew, format!("the agent on {host}: {why}"), "upgrade the older one")
            }
        }
    }

    async fn up(&mut self, link: &Rc<Link>, mut seen: Rc<Seen>) -> Live {
        // Soon after the first doubt, then ever more slowly while it lasts.
        let mut delay = LOOK_AGAIN_FIRST;
        let mut look_at: Option<Instant> = None;
        let mut doubted = Instant::now();
        loop {
            let wake = match look_at {
                Some(at) => at,
                None if self.members.is_empty() => Instant::now() + UNUSED,
                None => Instant::now() + FAR,
            };
            tokio::select! {
                message = self.receiver.recv() => match message {
                    None => return Live::Stop,
                    Some(ToHost::Ended(end)) => return Live::Ended(self.ended(end)),
                    Some(ToHost::Enlist(id, mailbox)) => {
                        mailbox.send(ToSession::LinkUp { link: link.clone(), seen: seen.clone() });
                        self.members.insert(id, mailbox);
                    }
                    Some(ToHost::Dismiss(id)) => {
                        self.members.remove(&id);
                    }
                    Some(ToHost::Want(sender)) => {
                        // Who asked may have gone.
                        let _ = sender.send(Ok(()));
                    }
                    Some(ToHost::LookAgain) => {
                        if doubted.elapsed() > 2 * LOOK_AGAIN_LAST {
                            delay = LOOK_AGAIN_FIRST;
                        }
                        doubted = Instant::now();
                        look_at.get_or_insert(Instant::now() + delay);
                    }
                    Some(ToHost::Look(sender)) => match self.take_inventory(link).await {
                        Ok(fresh) => {
                            seen = fresh;
                            // Who asked may have gone.
                            let _ = sender.send(Ok(seen.clone()));
                            self.answer_waiting(&Ok(()));
                        }
                        Err(live) => return live,
                    },
                    Some(ToHost::Woke) => {
                        link.doubt();
                        self.set(Status::Up(link.clone()));
                    }
                    Some(ToHost::Changed) => self.set(Status::Up(link.clone())),
                },
                () = tokio::time::sleep_until(wake) => {
                    if look_at.take().is_none() {
                        if self.members.is_empty() {
                            return Live::Unused;
                        }
                        continue;
                    }
                    delay = (delay * 2).min(LOOK_AGAIN_LAST);
                    match self.take_inventory(link).await {
                        Ok(fresh) => seen = fresh,
                        Err(live) => return live,
                    }
                    // Who came meanwhile has its link.
                    self.answer_waiting(&Ok(()));
                    for mailbox in self.members.values() {
                        mailbox.send(ToSession::Looked { seen: seen.clone() });
                    }
                }
            }
        }
    }
}

enum Live {
    Unused,
    Stop,
    Ended(Error),
}
