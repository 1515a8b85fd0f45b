//! One task per host: the only one that dials it.
//!
//! When it is dialled, and what each who waits is told, is [`sessd_core::dialling`]. The task carries that out, looks at
//! what the host has, and tells the sessions that live there.

use crate::asking::Asking;
use crate::clock;
use crate::error::{Error, Kind, Result};
use crate::faults::point;
use crate::manager::Manager;
use crate::manager::dial::{self, LOCAL};
use crate::manager::link::{Link, LinkEnd, NoAnswer};
use crate::manager::news::{self, Missing, why};
use crate::manager::origins::{OWN, Origins};
use crate::manager::session::{Mailbox, ToSession};
use sessd_core::dialling::{Dialling, Effect, Event, Origin, Stage, Why};
use sessd_core::reconcile::{Seen, place_of};
use sessd_proto::Uuid;
use sessd_proto::messages::{Inventory, InventoryRequest, LinkAct, LinkAnswer};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// How long the agent may take for its first words and for each inventory.
const GREETING: Duration = Duration::from_secs(15);
/// How long a link that takes no more questions may take to say why.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// How soon to look again at jobs about which nothing firm is known, and how often at the least.
const LOOK_AGAIN_FIRST: Duration = Duration::from_millis(250);
const LOOK_AGAIN_LAST: Duration = Duration::from_secs(30);
/// How long after a task came to a bad end the next begins: the first time, and at the most.
const PANIC_FIRST: Duration = Duration::from_millis(100);
const PANIC_LAST: Duration = Duration::from_secs(60);
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
    Want(Origin, oneshot::Sender<Result<()>>),
    /// A person looks at a session there.
    Person(Origin),
    /// A person is there, and does something else.
    Hasten,
    /// A session waits for firm news: take another inventory soon.
    LookAgain,
    /// Take an inventory now, and tell what it says.
    Look(oneshot::Sender<Result<Rc<Seen>>>),
    /// This machine slept, or may have: nothing that was known of the link is.
    Woke,
    /// The link of that number has ended.
    Ended(u64, LinkEnd),
    /// The link of that number stalled or recovered.
    Changed(u64),
}

/// A handle to a host's task.
#[derive(Debug)]
pub struct Host {
    /// As the user gave it.
    pub name: String,
    /// Of the task that is; one that comes to a bad end is followed by another.
    mailbox: RefCell<mpsc::UnboundedSender<ToHost>>,
    status: RefCell<Status>,
    /// The last inventory, without its jobs.
    place: RefCell<Option<Inventory>>,
    /// When anything was heard of it last, over links that have ended.
    heard: Cell<Option<Instant>>,
    /// The word that listeners heard last.
    told: Cell<&'static str>,
    origins: RefCell<Origins>,
}

impl Host {
    /// Starts the task of a host.
    pub fn start(name: String, manager: Weak<Manager>) -> Rc<Self> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let host = Rc::new(Self {
            name,
            mailbox: RefCell::new(sender),
            status: RefCell::new(Status::Dormant),
            place: RefCell::default(),
            heard: Cell::new(None),
            told: Cell::new("down"),
            origins: RefCell::default(),
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
    pub async fn look(&self, asking: Option<&Rc<Asking>>) -> Result<Rc<Seen>> {
        self.want(asking).await?;
        let (sender, answer) = oneshot::channel();
        self.tell(ToHost::Look(sender));
        answer.await.unwrap_or_else(|_| {
            Err(Error::new(Kind::Unreachable, format!("the link to {} was lost", self.name), "try again"))
        })
    }

    /// A person looks at a session there: whatever waits for one is tried now. Nobody waits for the answer.
    pub fn person_is_here(&self, asking: Option<&Rc<Asking>>) {
        if !matches!(self.status(), Status::Up(_)) {
            self.tell(ToHost::Person(self.origin(asking)));
        }
    }

    /// A person is there, and does not ask for the host by that: what is tried again by itself is tried soon, at most
    /// once a second. What waits for a person waits on.
    pub fn hasten(&self) {
        if matches!(self.status(), Status::Down { .. }) {
            self.tell(ToHost::Hasten);
        }
    }

    /// How long ago anything was heard of it, in milliseconds, if that is longer than a link that is well may be silent.
    pub fn silent_ms(&self) -> Option<u64> {
        match &*self.status.borrow() {
            Status::Up(link) => link.quiet_ms(),
            _ => self.heard.get().map(|at| at.elapsed().as_millis() as u64),
        }
    }

    /// The place of a job that lies in `folder`; empty: in the folder that the host prefers. By the last inventory.
    pub fn place_in(&self, folder: &str) -> Option<String> {
        self.place.borrow().as_ref().map(|inventory| place_of(inventory, folder))
    }

    /// Where the link stands.
    pub fn status(&self) -> Status {
        self.status.borrow().clone()
    }
}

/// A host's task that comes to a bad end costs its link and nothing else: another one dials again for whoever lives there.
async fn supervise(mut running: JoinHandle<()>, host: Weak<Host>, manager: Weak<Manager>) {
    let mut after = PANIC_FIRST;
    loop {
        let Err(end) = running.await else { return };
        let (Some(strong), Some(there)) = (host.upgrade(), manager.upgrade()) else { return };
        if !end.is_panic() {
            return;
        }
        tracing::error!(host = strong.name, %end, "a host's task came to a bad end: it begins again");
        there.registry.panicked();
        let (sender, receiver) = mpsc::unbounded_channel();
        *strong.mailbox.borrow_mut() = sender;
        *strong.status.borrow_mut() = Status::Connecting;
        for session in there.registry.all().iter().filter(|session| Rc::ptr_eq(&session.host, &strong)) {
            session.mailbox.send(ToSession::LinkChanged);
            strong.tell(ToHost::Enlist(session.id, session.mailbox.clone()));
        }
        drop((strong, there));
        tokio::time::sleep(after).await;
        after = (after * 2).min(PANIC_LAST);
        let Some(strong) = host.upgrade() else { return };
        running = Task::start(&strong, manager.clone(), receiver);
    }
}

/// A future of this task's own.
type Coming<T> = Pin<Box<dyn Future<Output = T>>>;

struct Task {
    host: Weak<Host>,
    manager: Weak<Manager>,
    receiver: mpsc::UnboundedReceiver<ToHost>,
    members: HashMap<Uuid, Mailbox>,
    dialling: Dialling<oneshot::Sender<Result<()>>>,
    /// Where the decisions' clock begins.
    clock: Instant,
    /// The attempt on its way, up to the agent's byte stream, and since when.
    attempt: Option<(Coming<Result<dial::Dialled, dial::Failed>>, Instant)>,
    /// From there on.
    live: Option<Live>,
    /// Links so far.
    links: u64,
    /// Why the last attempt failed, or the last link ended.
    error: Error,
    /// What may mend it without a person, and the environment it was made from.
    missing: Missing,
    from: Origin,
    /// Comes when that has changed.
    news: Option<Coming<()>>,
    /// The stage that everybody knows of.
    published: Stage,
}

/// One link.
struct Live {
    number: u64,
    link: Rc<Link>,
    since: Instant,
    /// What the host had when it was looked at last; none: it was not greeted yet.
    seen: Option<Rc<Seen>>,
    /// The look on its way, and who asked for it.
    looking: Option<Coming<std::result::Result<LinkAnswer, LinkEnd>>>,
    lookers: Vec<oneshot::Sender<Result<Rc<Seen>>>>,
    /// Who wants one that begins later.
    next_lookers: Vec<oneshot::Sender<Result<Rc<Seen>>>>,
    /// Soon after the first doubt, then ever more slowly while it lasts.
    look_at: Option<Instant>,
    delay: Duration,
    doubted: Instant,
}

/// Whatever ends the task that had it, nobody is left to run the link.
impl Drop for Live {
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

impl Task {
    fn start(
        host: &Rc<Host>,
        manager: Weak<Manager>,
        receiver: mpsc::UnboundedReceiver<ToHost>,
    ) -> JoinHandle<()> {
        let seed = Uuid::now_v7().as_u128() as u64;
        let task = Self {
            host: Rc::downgrade(host),
            manager,
            receiver,
            members: HashMap::new(),
            dialling: Dialling::new(seed, OWN),
            clock: Instant::now(),
            attempt: None,
            live: None,
            links: 0,
            error: Error::failed("it was not dialled yet", ""),
            missing: Missing::Nothing,
            from: OWN,
            news: None,
            published: Stage::Dormant,
        };
        tokio::task::spawn_local(task.run())
    }

    async fn run(mut self) {
        loop {
            self.carry_out();
            let now = Instant::now();
            let dial_at = self.dialling.deadline().map(|at| self.clock + Duration::from_millis(at));
            let look_at = self.live.as_ref().filter(|live| live.looking.is_none()).and_then(|l| l.look_at);
            let wake = dial_at.into_iter().chain(look_at).min().unwrap_or(now + FAR);
            tokio::select! {
                biased;
                message = self.receiver.recv() => match message {
                    Some(message) => self.take(message),
                    // Nobody has the handle any more.
                    None => break,
                },
                dialled = coming(self.attempt.as_mut().map(|(attempt, _)| attempt)) => self.dialled(dialled),
                answer = coming(self.live.as_mut().and_then(|live| live.looking.as_mut())) => self.looked(answer),
                () = coming(self.news.as_mut()) => {
                    self.news = None;
                    self.decide(Event::News);
                    if self.dialling.stage() == self.published {
                        // Too soon after the last news.
                        self.news = self.watch();
                    }
                }
                () = tokio::time::sleep_until(wake) => {
                    self.decide(Event::Tick);
                    if look_at.is_some_and(|at| at <= Instant::now()) {
                        self.look();
                    }
                }
            }
        }
        self.hang_up();
    }

    fn decide(&mut self, event: Event<oneshot::Sender<Result<()>>>) {
        let now = self.clock.elapsed().as_millis() as u64;
        self.dialling.handle(now, event);
    }

    fn carry_out(&mut self) {
        while let Some(effect) = self.dialling.poll() {
            match effect {
                Effect::Dial { from, asked } => self.dial(from, asked),
                Effect::Abandon | Effect::HangUp => self.hang_up(),
                Effect::Tell(who, up) => {
                    // Who asked may have gone.
                    let _ = who.send(if up { Ok(()) } else { Err(self.error.clone()) });
                }
            }
        }
        if self.dialling.stage() != self.published {
            self.publish();
        }
    }

    /// Everybody hears where the link stands.
    fn publish(&mut self) {
        if self.published != self.dialling.stage() {
            self.published = self.dialling.stage();
            self.news = self.watch();
        }
        let status = match (self.published, &self.live) {
            (Stage::Dormant, _) => Status::Dormant,
            (Stage::Up, Some(live)) => Status::Up(live.link.clone()),
            (Stage::Dialling | Stage::Up, _) => Status::Connecting,
            (Stage::Waiting(at), _) => {
                let left = at.saturating_sub(self.clock.elapsed().as_millis() as u64);
                Status::Down { next_try_ms: clock::wall_ms() + left as i64, why: self.error.clone() }
            }
            (Stage::Parked(_), _) => Status::NeedsPerson(self.error.clone()),
        };
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
        if let Some(manager) = self.manager.upgrade() {
            manager.registry.tell_changed();
        }
    }

    /// Waits for what may mend the last failure.
    fn watch(&self) -> Option<Coming<()>> {
        let (manager, host) = (self.manager.upgrade()?, self.host.upgrade()?);
        match (self.published, &self.missing) {
            (Stage::Waiting(_), Missing::Config) => {
                let asking = host.origins.borrow().get(self.from);
                let ssh_config = dial::ssh_config(&manager.config.now(), asking.as_deref());
                Some(Box::pin(news::of_files(ssh_config, manager.paths.clone())))
            }
            (Stage::Parked(true), Missing::Agent { socket, any }) => {
                Some(Box::pin(news::of_agents(socket.clone(), any.then(|| Rc::downgrade(&manager)))))
            }
            _ => None,
        }
    }

    fn take(&mut self, message: ToHost) {
        match message {
            ToHost::Enlist(id, mailbox) => {
                if let Some(Live { link, seen: Some(seen), .. }) = &self.live {
                    mailbox.send(ToSession::LinkUp { link: link.clone(), seen: seen.clone() });
                }
                self.members.insert(id, mailbox);
                self.decide(Event::Members(true));
            }
            ToHost::Dismiss(id) => {
                self.members.remove(&id);
                if self.members.is_empty() {
                    self.decide(Event::Members(false));
                }
            }
            ToHost::Want(origin, sender) => {
                if let Some(live) = self.live.as_ref().filter(|live| live.link.is_stalled()) {
                    // Somebody waits for a link that is silent: it answers soon, or it is dialled anew.
                    live.link.doubt();
                }
                self.decide(Event::Want(sender, origin));
            }
            ToHost::Person(origin) => self.decide(Event::Person(origin)),
            ToHost::Hasten => self.decide(Event::Hasten),
            ToHost::LookAgain => {
                if let Some(live) = &mut self.live {
                    live.doubt();
                }
            }
            ToHost::Look(sender) => {
                // Without a link whoever asks is told so by the loss of their question.
                if let Some(live) = self.live.as_mut().filter(|live| live.seen.is_some()) {
                    live.next_lookers.push(sender);
                    self.look();
                }
            }
            ToHost::Woke => {
                if let Some(live) = &self.live {
                    live.link.doubt();
                    self.publish();
                }
                self.decide(Event::Woke);
            }
            ToHost::Ended(number, end) => {
                if self.live.as_ref().is_some_and(|live| live.number == number) {
                    self.lost(end);
                }
            }
            ToHost::Changed(number) => {
                if self.live.as_ref().is_some_and(|live| live.number == number) {
                    self.publish();
                }
            }
        }
    }

    fn dial(&mut self, from: Origin, asked: bool) {
        let (Some(manager), Some(host)) = (self.manager.upgrade(), self.host.upgrade()) else { return };
        let name = host.name.clone();
        self.from = from;
        let asking = host.origins.borrow().get(from);
        // Whoever asks is answered as ssh would be there; without anybody, an agent that is gone is not missed.
        let spare = if asked { Vec::new() } else { manager.agents() };
        let attempt = async move {
            manager.config.look(&manager.paths).await;
            let (config, home) = (manager.config.now(), manager.paths.home.clone());
            // Held no longer than that: an attempt may take minutes.
            drop(manager);
            let from = dial::environment(&config, asking.as_deref(), &spare).await;
            dial::dial(&name, &config, &home, from).await
        };
        self.attempt = Some((Box::pin(attempt), Instant::now()));
    }

    fn dialled(&mut self, dialled: Result<dial::Dialled, dial::Failed>) {
        let took = self.attempt.take().map(|(_, since)| since.elapsed()).unwrap_or_default();
        match dialled {
            Ok(dialled) => self.greet(dialled),
            Err(dial::Failed { failure, proxied }) => {
                let host = self.host.upgrade().map(|h| h.name.clone()).unwrap_or_default();
                tracing::info!(host, %failure, "the host could not be reached");
                let (why, by_environment) = why(&failure, proxied);
                self.missing = Missing::of(&failure);
                self.error = Error::from(failure);
                self.decide(Event::Watched(self.is_watched()));
                self.decide(Event::Failed { why, by_environment, took_ms: took.as_millis() as u64 });
            }
        }
    }

    /// Does anybody look at a session of this host?
    fn is_watched(&self) -> bool {
        let (Some(manager), Some(host)) = (self.manager.upgrade(), self.host.upgrade()) else { return false };
        manager
            .live()
            .iter()
            .any(|session| Rc::ptr_eq(&session.host, &host) && !session.live.borrow().views.is_empty())
    }

    /// A link begins: its first words are a greeting and the inventory.
    fn greet(&mut self, dialled: dial::Dialled) {
        let Some(host) = self.host.upgrade() else { return };
        let link = Link::new(dialled.sockets);
        self.links += 1;
        let number = self.links;
        let (ended, changed) = (host.mailbox.borrow().clone(), host.mailbox.borrow().clone());
        let running = link.clone().run(dialled.reader, dialled.writer, move || {
            // The task lives as long as the host's handle.
            let _ = changed.send(ToHost::Changed(number));
        });
        tokio::task::spawn_local(async move {
            let _ = ended.send(ToHost::Ended(number, running.await));
        });
        let now = Instant::now();
        self.live = Some(Live {
            number,
            link,
            since: now,
            seen: None,
            looking: None,
            lookers: Vec::new(),
            next_lookers: Vec::new(),
            look_at: None,
            delay: LOOK_AGAIN_FIRST,
            doubted: now,
        });
        self.look();
    }

    /// Begins a look, where none is on its way.
    fn look(&mut self) {
        let Some(live) = self.live.as_mut().filter(|live| live.looking.is_none()) else { return };
        let (Some(manager), Some(host)) = (self.manager.upgrade(), self.host.upgrade()) else { return };
        let asked = InventoryRequest { places: manager.folders_on(&host), manager_id: manager.id.clone() };
        live.look_at = None;
        live.lookers.append(&mut live.next_lookers);
        let link = live.link.clone();
        live.looking = Some(Box::pin(async move {
            match tokio::time::timeout(GREETING, link.request(LinkAct::Inventory(asked))).await {
                Ok(Ok(answer)) => Ok(answer),
                Ok(Err(NoAnswer)) => {
                    // The link's own end says why, and comes as a message.
                    tokio::time::sleep(LAST_WORDS).await;
                    Err(LinkEnd::Lost("it ended at once".into()))
                }
                Err(_) => Err(LinkEnd::Lost(format!(
                    "the agent there runs and says nothing for {} s",
                    GREETING.as_secs()
                ))),
            }
        }));
    }

    fn looked(&mut self, answer: std::result::Result<LinkAnswer, LinkEnd>) {
        let Some(live) = &mut self.live else { return };
        live.looking = None;
        let inventory = match answer {
            Ok(LinkAnswer::Inventory(inventory)) => inventory,
            Ok(LinkAnswer::Refused(refused)) => {
                return self.failed(Error::failed(refused.detail, ""));
            }
            Ok(_) => return self.lost(LinkEnd::Lost("the agent answers what was not asked".into())),
            Err(end) => return self.lost(end),
        };
        let Some(host) = self.host.upgrade() else { return };
        let (machine_id, folder) = (inventory.machine_id.clone(), inventory.folder.clone());
        *host.place.borrow_mut() = Some(Inventory { machine_id, folder, ..Inventory::default() });
        let seen = Rc::new(Seen::new(inventory));
        let first = live.seen.replace(seen.clone()).is_none();
        let link = live.link.clone();
        for looker in live.lookers.drain(..) {
            // Who asked may have gone.
            let _ = looker.send(Ok(seen.clone()));
        }
        if !live.next_lookers.is_empty() {
            self.look();
        }
        if !first {
            for mailbox in self.members.values() {
                mailbox.send(ToSession::Looked { seen: seen.clone() });
            }
            return;
        }
        point("host-up");
        self.decide(Event::Up);
        self.publish();
        for mailbox in self.members.values() {
            mailbox.send(ToSession::LinkUp { link: link.clone(), seen: seen.clone() });
        }
        if let Some(manager) = self.manager.upgrade() {
            manager.sweep(&host.name, &link, &seen);
        }
    }

    fn lost(&mut self, end: LinkEnd) {
        let error = self.ended(end);
        self.failed(error);
    }

    /// The link is of no use any more.
    fn failed(&mut self, error: Error) {
        let took = self.live.as_ref().map(|live| live.since.elapsed()).unwrap_or_default();
        if let (Some(live), Some(host)) = (&self.live, self.host.upgrade()) {
            host.heard.set(Some(live.link.heard().into()));
        }
        self.hang_up();
        (self.error, self.missing) = (error, Missing::Nothing);
        self.decide(Event::Watched(self.is_watched()));
        if self.dialling.stage() == Stage::Up {
            self.decide(Event::Lost);
        } else {
            // An agent that says nothing is as silent as a host that does.
            let took_ms = if took < GREETING { 0 } else { took.as_millis() as u64 };
            self.decide(Event::Failed { why: Why::Network, by_environment: false, took_ms });
        }
    }

    /// Whatever there is of an attempt or a link ends.
    fn hang_up(&mut self) {
        self.attempt = None;
        self.live = None;
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
}

impl Live {
    /// Somebody waits for firm news.
    fn doubt(&mut self) {
        if self.doubted.elapsed() > 2 * LOOK_AGAIN_LAST {
            self.delay = LOOK_AGAIN_FIRST;
        }
        self.doubted = Instant::now();
        if self.look_at.is_none() {
            self.look_at = Some(self.doubted + self.delay);
            self.delay = (self.delay * 2).min(LOOK_AGAIN_LAST);
        }
    }
}
