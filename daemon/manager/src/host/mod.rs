//! One task per host: the only one that dials it.
//!
//! What is done when, and what each who lives there or waits is told, is [`sessd_core::host`]. The task has the clock, the
//! attempt and the link, tells the machine what comes of them, and carries out what it says.

mod task;

use crate::desk::{Desk, Step};
use crate::dial;
use crate::link::{Link, LinkEnd};
use crate::news::Missing;
use crate::origins::Origins;
use crate::traffic::Traffic;
use sessd_base::asking::Asking;
use sessd_base::clock;
use sessd_core::dialling::Origin;
use sessd_core::reconcile::Seen;
use sessd_core::stream::StreamIds;
use sessd_proto::Uuid;
use sessd_proto::docs::host::LOCAL;
use sessd_proto::docs::time::rfc3339;
use sessd_proto::docs::{Error, Kind, LinkDoc, LinkState, Result};
use sessd_proto::messages::Inventory;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;
use task::Task;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// How long after a task came to a bad end the next begins: the first time, and at the most.
const PANIC_FIRST: Duration = Duration::from_millis(100);
const PANIC_LAST: Duration = Duration::from_secs(60);
/// Folders that a host is asked to look into, beyond those it knows.
const FOLDERS_MAX: usize = 32;

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
    /// Not dialled again until somebody wants it: a person said so.
    Disconnected(Error),
}

impl Status {
    /// The same in the contract's words.
    pub fn link_state(&self, host: &str) -> LinkState {
        match self {
            Self::Up(_) if self.is_stalled() => LinkState::Stalled,
            Self::Up(_) if host == LOCAL => LinkState::Local,
            Self::Up(_) => LinkState::Up,
            Self::Connecting => LinkState::Connecting,
            Self::Dormant | Self::Down { .. } | Self::Disconnected(_) => LinkState::Down,
            Self::NeedsPerson(_) => LinkState::NeedsLogin,
        }
    }

    /// Is there a link?
    pub fn is_up(&self) -> bool {
        matches!(self, Self::Up(_))
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
            Self::Down { why, .. } | Self::NeedsPerson(why) | Self::Disconnected(why) => Some(why),
            _ => None,
        }
    }
}

/// What a host tells whoever lives there.
#[derive(Debug, Clone)]
pub enum HostNews {
    /// The link is up; this is what the host knows.
    Up {
        /// The host's inventory.
        seen: Rc<Seen>,
    },
    /// A later probe over the same link.
    Probed {
        /// The host's inventory.
        seen: Rc<Seen>,
    },
    /// The host's status changed.
    Changed,
}

/// Whoever lives on a host.
pub trait HostMember: std::fmt::Debug {
    /// Takes the news.
    fn hear(&self, news: HostNews);
    /// Does anybody look at it?
    fn is_watched(&self) -> bool;
    /// The folder on the host that its job lies in, if that is known: the host looks there, whatever it finds by itself.
    fn folder(&self) -> Option<String>;
}

/// How an attempt is made.
#[derive(Debug)]
pub struct How {
    /// Somebody asked for it.
    pub asked: bool,
    /// Somebody looks at a session there.
    pub watched: bool,
    /// Who may be asked for it; nobody, where it is made beside a link that is there.
    pub person: Option<Arc<Desk>>,
}

/// What a host needs of the manager that it belongs to, and all that it knows of it.
pub trait HostContext {
    /// The manager's id, for hosts.
    fn manager_id(&self) -> String;
    /// The names of streams.
    fn stream_ids(&self) -> Rc<StreamIds>;
    /// Begins an attempt to reach a host, from the environment of whoever asks for it.
    fn dial(
        self: Rc<Self>,
        host: String,
        from: Option<Rc<Asking>>,
        how: How,
    ) -> Coming<Result<dial::Dialled, dial::Failed>>;
    /// Waits for what may mend the last failure, of an attempt that was made from this environment.
    fn mended(self: Rc<Self>, missing: &Missing, from: Option<Rc<Asking>>) -> Option<Coming<()>>;
    /// A host's link is seen otherwise: the words for what it was and is.
    fn link_changed(&self, host: &str, was: LinkState, is: LinkState, why: Option<&str>);
    /// A host's link is up, and this is what is there.
    fn is_up(self: Rc<Self>, host: &str, link: &Rc<Link>, seen: &Rc<Seen>);
    /// A host's task came to a bad end.
    fn panicked(&self);
}

/// What is asked of a host's task.
pub enum ToHost {
    /// This member lives there and wants to hear of the link.
    Enlisted(u64),
    /// This one needs the host no more.
    Dismissed(u64),
    /// A person wants the link now: the answer is its state after one attempt.
    Want(Origin, oneshot::Sender<Result<()>>),
    /// A person looks at a session there.
    Person(Origin),
    /// A person is there, and does something else.
    Hasten,
    /// A person wants no link there, until one does.
    Disconnect,
    /// A session waits for firm news: take another inventory soon.
    ProbeAgain,
    /// A session waits to hear that the host answers: take another inventory now.
    ProbeNow,
    /// Take an inventory now, and tell what it says.
    Probe(oneshot::Sender<Result<Rc<Seen>>>),
    /// This machine slept, or may have, or its network is another: nothing that was known of the link is.
    Woke,
    /// Somebody looks at a session there who did not, or the other way round.
    Watched,
    /// The link of that number has ended.
    Ended(u64, LinkEnd),
    /// The link of that number stalled or recovered, or an answer is late on it.
    Changed(u64),
}

/// Who lives on a host, in the order they came.
type Members = BTreeMap<u64, (Uuid, Rc<dyn HostMember>)>;

/// A handle to a host's task.
#[derive(Debug)]
pub struct Host {
    /// As the user gave it.
    pub name: String,
    /// Of the task that is; one that comes to a bad end is followed by another.
    mailbox: RefCell<mpsc::UnboundedSender<ToHost>>,
    /// Who lives there, in the order they came, each under a number of its own.
    members: RefCell<Members>,
    /// How many have come.
    came: Cell<u64>,
    status: RefCell<Status>,
    /// The last inventory, without its jobs.
    place: RefCell<Option<Inventory>>,
    /// When anything was heard of it last, over links that have ended.
    heard: Cell<Option<Instant>>,
    /// The word that listeners heard last.
    told: Cell<LinkState>,
    origins: RefCell<Origins>,
    /// What went over its links, those that ended and those beside another included.
    traffic: Traffic,
    /// How often it was dialled.
    dials: Cell<u64>,
    /// Who may be asked for it.
    desk: Arc<Desk>,
    /// As the ssh config said when it was dialled last.
    forward_agent: Cell<bool>,
}

impl Host {
    /// Starts the task of a host.
    pub fn start(name: String, manager: Weak<dyn HostContext>) -> Rc<Self> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let host = Rc::new(Self {
            name,
            mailbox: RefCell::new(sender),
            members: RefCell::default(),
            came: Cell::new(0),
            status: RefCell::new(Status::Dormant),
            place: RefCell::default(),
            heard: Cell::new(None),
            told: Cell::new(LinkState::Down),
            origins: RefCell::default(),
            traffic: Traffic::default(),
            dials: Cell::new(0),
            desk: Arc::default(),
            forward_agent: Cell::new(false),
        });
        let running = Task::start(&host, manager.clone(), receiver);
        tokio::task::spawn_local(supervise(running, Rc::downgrade(&host), manager));
        host
    }

    /// Tells the task.
    pub fn tell(&self, message: ToHost) {
        // The task lives as long as this handle.
        let _ = self.mailbox.borrow().send(message);
    }

    /// The session `id` lives there from now on. Another task of it that did is told nothing more.
    pub fn enlist(&self, id: Uuid, member: Rc<dyn HostMember>) {
        let number = self.came.get() + 1;
        self.came.set(number);
        let before = self.number_of(id);
        self.members.borrow_mut().insert(number, (id, member));
        // In this order there is somebody at any moment.
        self.tell(ToHost::Enlisted(number));
        if let Some(before) = before {
            self.leave(before);
        }
    }

    /// The session `id` needs the host no more.
    pub fn dismiss(&self, id: Uuid) {
        if let Some(number) = self.number_of(id) {
            self.leave(number);
        }
    }

    fn number_of(&self, id: Uuid) -> Option<u64> {
        self.members.borrow().iter().find(|(_, (known, _))| *known == id).map(|(number, _)| *number)
    }

    fn leave(&self, number: u64) {
        self.members.borrow_mut().remove(&number);
        self.tell(ToHost::Dismissed(number));
    }

    fn tell_members(&self, news: &HostNews) {
        let members: Vec<_> = self.members.borrow().values().map(|(_, member)| member.clone()).collect();
        for member in members {
            member.hear(news.clone());
        }
    }

    fn tell_member(&self, number: u64, news: HostNews) {
        // One that has left is told nothing.
        let member = self.members.borrow().get(&number).map(|(_, member)| member.clone());
        if let Some(member) = member {
            member.hear(news);
        }
    }

    /// The folders there that jobs of its members lie in.
    fn folders(&self) -> Vec<String> {
        let members = self.members.borrow();
        let folders: BTreeSet<String> = members.values().filter_map(|(_, member)| member.folder()).collect();
        folders.into_iter().take(FOLDERS_MAX).collect()
    }

    /// Does anybody look at a session there?
    fn is_watched(&self) -> bool {
        self.members.borrow().values().any(|(_, member)| member.is_watched())
    }

    /// Who wants the host answers what only a person knows, if they can.
    fn may_be_asked(&self, asking: Option<&Rc<Asking>>) {
        if let Some(person) = asking.and_then(|asking| asking.person.as_ref()) {
            self.desk.join(person);
        }
    }

    /// The number of the environment that somebody asks from.
    fn origin(&self, asking: Option<&Rc<Asking>>) -> Origin {
        self.origins.borrow_mut().number(asking, |name| std::env::var(name).ok())
    }

    /// Wants the link now, from the environment of whoever asks. What is awaited is the end of one attempt; it is asked
    /// for at once.
    ///
    /// # Errors
    /// Why it is not up.
    pub fn want(&self, asking: Option<&Rc<Asking>>) -> impl Future<Output = Result<()>> + use<> {
        self.may_be_asked(asking);
        let (sender, answer) = oneshot::channel();
        self.tell(ToHost::Want(self.origin(asking), sender));
        async move {
            answer.await.unwrap_or_else(|_| Err(Error::failed("the host's link was let go of", "try again")))
        }
    }

    /// The link, dialled if need be, and what the host has now.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn probe(&self, asking: Option<&Rc<Asking>>) -> Result<Rc<Seen>> {
        self.want(asking).await?;
        let (sender, answer) = oneshot::channel();
        self.tell(ToHost::Probe(sender));
        answer.await.unwrap_or_else(|_| {
            Err(Error::new(Kind::Unreachable, format!("the link to {} was lost", self.name), "try again"))
        })
    }

    /// A person looks at a session there: whatever waits for one is tried now. Nobody waits for the answer.
    pub fn person_is_here(&self, asking: Option<&Rc<Asking>>) {
        self.may_be_asked(asking);
        if !matches!(self.status(), Status::Up(_)) {
            self.tell(ToHost::Person(self.origin(asking)));
        }
    }

    /// A person wants no link there, until one does.
    pub fn disconnect(&self) {
        self.tell(ToHost::Disconnect);
    }

    /// How far the attempt is that is on its way, or was the last.
    pub fn step(&self) -> Step {
        self.desk.step()
    }

    /// A person is there, and does not ask for the host by that: what is tried again by itself is tried soon, at most
    /// once a second. What waits for a person waits on.
    pub fn hasten(&self) {
        if matches!(self.status(), Status::Down { .. }) {
            self.tell(ToHost::Hasten);
        }
    }

    /// When anything was heard of it last, if that is longer than a link that is well may be silent.
    pub fn silent_since(&self) -> Option<Instant> {
        match &*self.status.borrow() {
            Status::Up(link) => link.quiet_ms().map(|_| link.heard().into()),
            _ => self.heard.get(),
        }
    }

    /// What whoever wants the host waits for, one sentence; `None`: it is not being dialled.
    pub fn doing(&self) -> Option<String> {
        matches!(*self.status.borrow(), Status::Connecting).then(|| self.desk.step().words(&self.name))
    }

    /// Is the user's ssh-agent to be had there, by the ssh config?
    pub fn forwards_agent(&self) -> bool {
        self.forward_agent.get()
    }

    /// How long ago anything was heard of it, in milliseconds; none: not since the manager began.
    pub fn heard_ms_ago(&self) -> Option<i64> {
        let heard = match &*self.status.borrow() {
            Status::Up(link) => Some(link.heard().into()),
            _ => self.heard.get(),
        };
        heard.map(|at| i64::try_from(at.elapsed().as_millis()).unwrap_or(i64::MAX))
    }

    /// What went over its links since the manager knows it.
    pub fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// How often it was dialled again, after the first time.
    pub fn retries(&self) -> u64 {
        self.dials.get().saturating_sub(1)
    }

    /// Where its link stands, for people.
    pub fn doc(&self) -> LinkDoc {
        let status = self.status();
        LinkDoc {
            host: self.name.clone(),
            link: status.link_state(&self.name).into(),
            rtt_ms: match &status {
                Status::Up(link) => link.rtt_ms(),
                _ => None,
            },
            next_try_at: status.next_try_ms().map(rfc3339),
            detail: status.why().map(Error::cause),
            bytes_in: Some(self.traffic().read()),
            bytes_out: Some(self.traffic().written()),
            retries: Some(self.retries()),
            heard_at: self.heard_ms_ago().map(|ago| rfc3339(clock::wall_ms() - ago)),
        }
    }

    /// Where the link stands.
    pub fn status(&self) -> Status {
        self.status.borrow().clone()
    }
}

/// A host's task that comes to a bad end costs its link and nothing else: another one dials again for whoever lives there.
async fn supervise(mut running: JoinHandle<()>, host: Weak<Host>, manager: Weak<dyn HostContext>) {
    let mut after = PANIC_FIRST;
    loop {
        let Err(end) = running.await else { return };
        let (Some(strong), Some(there)) = (host.upgrade(), manager.upgrade()) else { return };
        if !end.is_panic() {
            return;
        }
        tracing::error!(host = strong.name, %end, "a host's task came to a bad end: it begins again");
        there.panicked();
        let (sender, receiver) = mpsc::unbounded_channel();
        *strong.mailbox.borrow_mut() = sender;
        *strong.status.borrow_mut() = Status::Connecting;
        for (number, (_, member)) in &*strong.members.borrow() {
            member.hear(HostNews::Changed);
            strong.tell(ToHost::Enlisted(*number));
        }
        drop((strong, there));
        tokio::time::sleep(after).await;
        after = (after * 2).min(PANIC_LAST);
        let Some(strong) = host.upgrade() else { return };
        running = Task::start(&strong, manager.clone(), receiver);
    }
}

/// What will have come of something, for one task to wait for.
pub type Coming<T> = Pin<Box<dyn Future<Output = T>>>;
