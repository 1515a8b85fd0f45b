//! What is forwarded for a session: ports and sockets here and there, the ports its job listens on, the user's ssh-agent.
//!
//! It belongs to the session and not to any task, link or job of it: a restart, a reconnect and a lost stream leave what is
//! listened on here as it is. What goes over the session's stream is [`sessd_core::forward::mux`]'s affair; here are the sockets.

mod bind;
mod ends;
mod ports;

use crate::link::Link;
use crate::store::{ForwardRow, Store};
use crate::wire::OwnedFrame;
use bind::Listening;
use ends::{End, open_message};
use sessd_core::forward::mux::{Effect, Mux, Wanted};
use sessd_core::forward::spec::{Kind, Listen, Spec, Target};
use sessd_core::stream::StreamId;
use sessd_proto::channel::Channel;
use sessd_proto::docs::{Error, ForwardDoc, Result};
use sessd_proto::frame::kind;
use sessd_proto::limits::{CHUNK, LISTENERS_MAX};
use sessd_proto::messages::{self as m, ChannelFailure};
use sessd_proto::{Header, RawFrame, Uuid};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::path::PathBuf;
use std::rc::{Rc, Weak};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

/// How often what could not be listened on here is tried again: whoever has the port may end.
const AGAIN: Duration = Duration::from_secs(5);
/// How long whoever asks for a forward waits for what the host says of it.
const ANSWER: Duration = Duration::from_secs(5);

/// One that was asked for.
#[derive(Debug)]
struct Forward {
    spec: Spec,
    /// What is done about it here; it ends with it.
    task: Option<Task>,
    /// Why it does not listen here.
    failed: Option<String>,
}

/// A port that the job listens on.
#[derive(Debug)]
struct Auto {
    program: String,
    address: String,
    task: Option<Task>,
    failed: Option<String>,
}

/// A task that ends when it is dropped.
#[derive(Debug)]
struct Task(AbortHandle);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Everything that is forwarded for one session.
#[derive(Debug)]
pub struct Forwards {
    session: Uuid,
    context: Weak<dyn ForwardContext>,
    mux: RefCell<Mux>,
    path: RefCell<Option<(Rc<Link>, StreamId)>>,
    /// The job's holder knows nothing of channels.
    too_old: Cell<bool>,
    forwards: RefCell<BTreeMap<u64, Forward>>,
    /// The numbers of what has no spec.
    auto: Cell<Option<u64>>,
    agent: Cell<Option<u64>>,
    /// The ssh config says that the ssh-agent is forwarded there.
    agent_by_config: Cell<bool>,
    ports: RefCell<BTreeMap<u16, Auto>>,
    ends: RefCell<HashMap<u64, Rc<End>>>,
    more: Notify,
    told: Notify,
    sender: RefCell<Option<Task>>,
    /// The session is not done.
    runs: Cell<bool>,
}

/// Is this a frame about channels?
pub fn is_ours(kind: u8) -> bool {
    (kind::FORWARDS..=kind::CHANNEL_CREDIT).contains(&kind)
}

/// What is asked for, as it is kept.
///
/// # Errors
/// What is none.
pub fn rows_of(asked: &[m::ForwardSpec], first: u64) -> Result<Vec<ForwardRow>> {
    let rows = asked.iter().zip(first..).map(|(asked, number)| {
        let row = ForwardRow { number, kind: asked.kind.clone(), spec: asked.spec.clone() };
        if matches!(row.kind.as_str(), "auto" | "agent") {
            return Ok(ForwardRow { spec: String::new(), ..row });
        }
        let kind = Kind::from_word(&asked.kind).ok_or_else(|| Error::usage("no such kind of forward"))?;
        let spec = Spec::parse(kind, &asked.spec).ok_or_else(|| wrong(kind, &asked.spec))?;
        Ok(ForwardRow { spec: spec.to_string(), ..row })
    });
    rows.collect()
}

fn wrong(kind: Kind, text: &str) -> Error {
    let form = match kind {
        Kind::Local => "[ADDRESS:]PORT:HOST:PORT, such as 8080:localhost:80",
        Kind::Remote => {
            "[ADDRESS:]PORT:HOST:PORT, such as 9000:localhost:3000, or [ADDRESS:]PORT for a SOCKS proxy there"
        }
        Kind::Dynamic => "[ADDRESS:]PORT, such as 1080",
    };
    Error::usage(format!("`{text}` is nothing that {} forwards: it takes {form}", kind.option()))
}

/// What is forwarded for a session needs this of the manager, and knows nothing else of it.
pub trait ForwardContext {
    /// Channels for a session that has none, of this run of the manager.
    fn mux(&self) -> Mux;
    /// The records.
    fn store(&self) -> &Store;
    /// The ssh-agents of whoever asked for anything, the latest first.
    fn ssh_agents(&self) -> Vec<PathBuf>;
    /// Is the session on this machine?
    fn is_here(&self, session: Uuid) -> bool;
    /// What people call it.
    fn label(&self, session: Uuid) -> String;
    /// Tells people of it.
    fn notice(&self, session: Uuid, notice: &m::Notice);
}

impl Forwards {
    /// Of this session. Nothing is listened on before [`Self::run`].
    pub fn new(session: Uuid, context: &Rc<dyn ForwardContext>, rows: &[ForwardRow]) -> Rc<Self> {
        let me = Rc::new(Self {
            session,
            context: Rc::downgrade(context),
            mux: RefCell::new(context.mux()),
            path: RefCell::default(),
            too_old: Cell::new(false),
            forwards: RefCell::default(),
            auto: Cell::new(None),
            agent: Cell::new(None),
            agent_by_config: Cell::new(false),
            ports: RefCell::default(),
            ends: RefCell::default(),
            more: Notify::new(),
            told: Notify::new(),
            sender: RefCell::default(),
            runs: Cell::new(false),
        });
        rows.iter().for_each(|row| me.keep(row));
        me
    }

    fn keep(&self, row: &ForwardRow) {
        match (row.kind.as_str(), Kind::from_word(&row.kind)) {
            ("auto", _) => self.auto.set(Some(row.number)),
            ("agent", _) => self.agent.set(Some(row.number)),
            (_, Some(kind)) => {
                if let Some(spec) = Spec::parse(kind, &row.spec) {
                    self.forwards.borrow_mut().insert(row.number, Forward { spec, task: None, failed: None });
                }
            }
            // Of a newer version: it stays where it is kept.
            (_, None) => {}
        }
    }

    fn rows(&self) -> Vec<ForwardRow> {
        let forwards = self.forwards.borrow();
        let specs = forwards.iter().map(|(number, forward)| ForwardRow {
            number: *number,
            kind: forward.spec.kind.word().to_owned(),
            spec: forward.spec.to_string(),
        });
        let flag = |number: Option<u64>, kind: &str| {
            number.map(|number| ForwardRow { number, kind: kind.to_owned(), spec: String::new() })
        };
        specs.chain(flag(self.auto.get(), "auto")).chain(flag(self.agent.get(), "agent")).collect()
    }

    /// Does the job of the session get a socket for its ssh-agent?
    pub fn forwards_agent(&self) -> bool {
        self.agent.get().is_some() || self.agent_by_config.get()
    }

    /// The ssh config says whether the ssh-agent is forwarded.
    pub fn config_says(self: &Rc<Self>, agent: bool) {
        self.agent_by_config.set(agent);
        self.want();
    }

    /// Whether all of it can be listened on here: what cannot is best said before anything begins.
    ///
    /// # Errors
    /// What is in the way.
    pub fn may_listen(&self) -> Result<()> {
        for forward in self.forwards.borrow().values().filter(|forward| forward.spec.kind != Kind::Remote) {
            bind::listen(&forward.spec.listen)
                .map_err(|why| Error::failed(why, "choose another port or address"))?;
        }
        Ok(())
    }

    /// The session is there: what is to be listened on here is.
    pub fn run(self: &Rc<Self>) {
        self.runs.set(true);
        let numbers: Vec<u64> = self.forwards.borrow().keys().copied().collect();
        for number in numbers {
            if let Err(error) = self.begin_listening(number) {
                self.listen_later(number, error);
            }
        }
        self.want();
    }

    /// The session is done: nothing is forwarded for it any more.
    pub fn stop(&self) {
        self.runs.set(false);
        self.ports.borrow_mut().clear();
        for forward in self.forwards.borrow_mut().values_mut() {
            (forward.task, forward.failed) = (None, None);
        }
        *self.path.borrow_mut() = None;
        *self.sender.borrow_mut() = None;
        if let Some(context) = self.context.upgrade() {
            *self.mux.borrow_mut() = context.mux();
        }
        for (_, end) in self.ends.borrow_mut().drain() {
            *end.over.borrow_mut() = Some(None);
            end.changed.notify_one();
        }
    }

    fn spawn(task: impl Future<Output = ()> + 'static) -> Task {
        Task(tokio::task::spawn_local(task).abort_handle())
    }

    /// Listens for one here, if it is one that is listened for here.
    fn begin_listening(self: &Rc<Self>, number: u64) -> std::result::Result<(), String> {
        let mut forwards = self.forwards.borrow_mut();
        let Some(forward) = forwards.get_mut(&number) else { return Ok(()) };
        if forward.spec.kind == Kind::Remote || forward.task.is_some() || !self.runs.get() {
            return Ok(());
        }
        let listening = bind::listen(&forward.spec.listen)?;
        forward.failed = None;
        forward.task = Some(self.accept(listening, forward.spec.target.clone()));
        Ok(())
    }

    fn accept(self: &Rc<Self>, listening: Listening, target: Option<Target>) -> Task {
        let me = Rc::downgrade(self);
        Self::spawn(async move {
            loop {
                let pipe = listening.accept().await;
                let Some(me) = me.upgrade() else { return };
                match target.clone() {
                    Some(target) => drop(tokio::task::spawn_local(ends::local(me, pipe, target))),
                    None => drop(tokio::task::spawn_local(ends::socks(me, pipe))),
                }
            }
        })
    }

    /// It cannot be listened on here now: it is tried again.
    fn listen_later(self: &Rc<Self>, number: u64, error: String) {
        let me = Rc::downgrade(self);
        let again = Self::spawn(async move {
            loop {
                tokio::time::sleep(AGAIN).await;
                let Some(me) = me.upgrade() else { return };
                // This task is the one that is in the way.
                let waits = me.forwards.borrow_mut().get_mut(&number).and_then(|forward| forward.task.take());
                match me.begin_listening(number) {
                    Ok(()) => return,
                    Err(error) => {
                        if let Some(forward) = me.forwards.borrow_mut().get_mut(&number) {
                            (forward.task, forward.failed) = (waits, Some(error));
                        }
                    }
                }
            }
        });
        if let Some(forward) = self.forwards.borrow_mut().get_mut(&number) {
            (forward.task, forward.failed) = (Some(again), Some(error));
        }
    }

    /// The holder is to know what is wanted of it now.
    fn want(self: &Rc<Self>) {
        let listener = |(number, forward): (&u64, &Forward)| {
            let (address, port, path) = match &forward.spec.listen {
                Listen::Port(address, port) => (address.clone().unwrap_or_default(), *port, String::new()),
                Listen::Path(path) => (String::new(), 0, path.clone()),
            };
            m::Listener { id: *number, address, port: port.into(), path }
        };
        let forwards = self.forwards.borrow();
        let remote = forwards.iter().filter(|(_, forward)| forward.spec.kind == Kind::Remote);
        let wants = m::Forwards {
            listeners: remote.map(listener).collect(),
            agent: self.forwards_agent(),
            ports: self.auto.get().is_some() && !self.is_here(),
        };
        drop(forwards);
        self.mux.borrow_mut().want(wants);
        self.begin_path();
        self.act();
    }

    /// Is the session on this machine?
    fn is_here(&self) -> bool {
        self.context.upgrade().is_some_and(|context| context.is_here(self.session))
    }

    /// The session's stream to its holder is this one from now on; what that can do is known.
    pub fn path(self: &Rc<Self>, path: Option<(Rc<Link>, StreamId)>, knows_channels: bool) {
        self.too_old.set(path.is_some() && !knows_channels);
        let path = path.filter(|_| knows_channels);
        let had = std::mem::replace(&mut *self.path.borrow_mut(), path).is_some();
        *self.sender.borrow_mut() = None;
        if had {
            self.mux.borrow_mut().end();
        }
        self.begin_path();
        self.act();
    }

    /// Says the first word on a path, once there is something to say.
    fn begin_path(self: &Rc<Self>) {
        if self.path.borrow().is_none() || self.sender.borrow().is_some() || self.mux.borrow().is_idle() {
            return;
        }
        self.mux.borrow_mut().begin();
        let me = Rc::downgrade(self);
        *self.sender.borrow_mut() = Some(Self::spawn(async move {
            while let Some(strong) = me.upgrade() {
                let path = strong.path.borrow().clone();
                let Some((link, stream)) = path else { return };
                if !strong.mux.borrow().has_more() {
                    drop(strong);
                    let Some(me) = me.upgrade() else { return };
                    me.more.notified().await;
                    continue;
                }
                // What is typed goes before it: no more waits than a moment's worth.
                link.queue_of(stream).calm().await;
                let mut bytes = Vec::new();
                strong.mux.borrow_mut().put(CHUNK, &mut bytes);
                send(&link, stream, &bytes);
                strong.act();
                tokio::task::yield_now().await;
            }
        }));
    }

    /// A frame of the holder's about channels.
    pub fn hear(self: &Rc<Self>, stream: StreamId, frame: &OwnedFrame) {
        let is_ours = self.path.borrow().as_ref().is_some_and(|(_, path)| *path == stream);
        if is_ours {
            self.mux.borrow_mut().hear(frame.raw());
            self.act();
        }
    }

    /// Carries out what the channels want.
    fn act(self: &Rc<Self>) {
        loop {
            let Some(effect) = self.mux.borrow_mut().poll() else { break };
            match effect {
                Effect::Join(id, wanted) => self.join(id, wanted),
                Effect::Opened(id) => {
                    if let Some(end) = self.end(id) {
                        end.opened.set(true);
                        end.changed.notify_one();
                    }
                }
                Effect::Changed(id) => {
                    if let Some(end) = self.end(id) {
                        end.changed.notify_one();
                    }
                }
                Effect::Over(id, why) => {
                    if let Some(end) = self.ends.borrow_mut().remove(&id) {
                        *end.over.borrow_mut() = Some(why);
                        end.changed.notify_one();
                    }
                }
                Effect::Told => {
                    self.look_at_ports();
                    self.told.notify_waiters();
                }
            }
        }
        self.more.notify_one();
    }

    fn end(&self, id: u64) -> Option<Rc<End>> {
        self.ends.borrow().get(&id).cloned()
    }

    fn join(self: &Rc<Self>, id: u64, wanted: Wanted) {
        let end = Rc::new(End::default());
        end.opened.set(true);
        self.ends.borrow_mut().insert(id, end.clone());
        match wanted {
            Wanted::Forward(number) => {
                let spec = self.forwards.borrow().get(&number).map(|forward| forward.spec.clone());
                match spec {
                    Some(Spec { target: Some(target), .. }) => {
                        drop(tokio::task::spawn_local(ends::remote(self.clone(), id, end, target)))
                    }
                    Some(Spec { target: None, .. }) => {
                        drop(tokio::task::spawn_local(ends::remote_socks(self.clone(), id, end)))
                    }
                    None => self.give_up(id, "it is not forwarded any more"),
                }
            }
            Wanted::Agent => {
                let agents = self.context.upgrade().map(|context| context.ssh_agents()).unwrap_or_default();
                tokio::task::spawn_local(ends::agent(self.clone(), id, end, agents));
            }
        }
    }

    /// Begins a channel.
    fn begin(self: &Rc<Self>, target: &Target) -> Option<(u64, Rc<End>)> {
        let id = self.mux.borrow_mut().open(open_message(target))?;
        let end = Rc::new(End::default());
        self.ends.borrow_mut().insert(id, end.clone());
        self.begin_path();
        self.more.notify_one();
        Some((id, end))
    }

    fn with(&self, id: u64, act: impl FnOnce(&mut Channel)) {
        if let Some(channel) = self.mux.borrow_mut().channel(id) {
            act(channel);
        }
    }

    fn settle(self: &Rc<Self>, id: u64) {
        self.mux.borrow_mut().settle(id);
        self.act();
    }

    fn flush(&self) {
        self.more.notify_one();
    }

    fn is_up(&self) -> bool {
        self.mux.borrow().is_up()
    }

    fn joined(&self, id: u64) {
        self.mux.borrow_mut().joined(id);
        self.more.notify_one();
    }

    fn give_up(&self, id: u64, why: &str) {
        self.ends.borrow_mut().remove(&id);
        self.mux.borrow_mut().fail(id, ChannelFailure::Unreachable, why);
        self.more.notify_one();
    }

    /// Somebody's connection goes through it, and waits where the link is away.
    pub fn carries(&self) -> bool {
        !self.mux.borrow().is_empty()
    }

    /// What people see of it.
    pub fn docs(&self) -> Vec<ForwardDoc> {
        let mux = self.mux.borrow();
        let told = |number: u64| mux.told()?.listeners.iter().find(|is| is.id == number);
        let state = |number: u64, forward: &Forward| -> (&'static str, Option<String>, Option<u16>) {
            if self.too_old.get() {
                return ("failed", Some(TOO_OLD.to_owned()), None);
            }
            match (&forward.failed, forward.spec.kind) {
                (Some(why), _) => ("failed", Some(why.clone()), None),
                (None, Kind::Remote) => match told(number) {
                    Some(is) if !is.error.is_empty() => ("failed", Some(is.error.clone()), None),
                    Some(is) if mux.is_up() => ("open", None, u16::try_from(is.port).ok().filter(|p| *p > 0)),
                    _ => ("waiting", None, None),
                },
                (None, _) if mux.is_up() || self.path.borrow().is_some() => ("open", None, None),
                (None, _) => ("waiting", None, None),
            }
        };
        let forwards = self.forwards.borrow();
        let asked = forwards.iter().map(|(number, forward)| {
            let (state, detail, port) = state(*number, forward);
            ForwardDoc {
                number: Some(*number),
                kind: forward.spec.kind.word().to_owned(),
                spec: forward.spec.to_string(),
                state: state.to_owned(),
                port,
                detail,
            }
        });
        let flag = |number: Option<u64>, kind: &str| {
            let state = if self.too_old.get() {
                "failed"
            } else if self.path.borrow().is_some() {
                "open"
            } else {
                "waiting"
            };
            number.map(|number| ForwardDoc {
                number: Some(number),
                kind: kind.to_owned(),
                spec: String::new(),
                state: state.to_owned(),
                port: None,
                detail: match () {
                    () if self.too_old.get() => Some(TOO_OLD.to_owned()),
                    () if kind == "auto" && self.is_here() => Some("they are here already".to_owned()),
                    () => None,
                },
            })
        };
        let ports = self.ports.borrow();
        let ports = ports.iter().map(|(port, auto)| ForwardDoc {
            number: None,
            kind: "port".to_owned(),
            spec: format!("{port}:localhost:{port}"),
            state: if auto.failed.is_some() {
                "failed"
            } else if auto.task.is_some() {
                "open"
            } else {
                "waiting"
            }
            .to_owned(),
            port: Some(*port),
            detail: auto.failed.clone().or_else(|| (!auto.program.is_empty()).then(|| auto.program.clone())),
        });
        asked
            .chain(flag(self.auto.get(), "auto"))
            .chain(flag(self.agent.get(), "agent"))
            .chain(ports)
            .collect()
    }

    /// Adds and takes away.
    ///
    /// # Errors
    /// What cannot be forwarded; then all is as it was.
    pub async fn change(self: &Rc<Self>, change: &m::Forward) -> Result<()> {
        let Some(context) = self.context.upgrade() else { return Ok(()) };
        let rows = self.rows();
        for number in &change.remove {
            if !rows.iter().any(|row| row.number == u64::from(*number)) {
                return Err(Error::failed(
                    format!("nothing is forwarded under the number {number}"),
                    "`sessd forward SESSION` lists what is",
                ));
            }
        }
        let first = rows.iter().map(|row| row.number).max().unwrap_or(0) + 1;
        let new = rows_of(&change.add, first)?;
        let has =
            |row: &ForwardRow| rows.iter().any(|known| (&known.kind, &known.spec) == (&row.kind, &row.spec));
        let new: Vec<ForwardRow> = new.into_iter().filter(|row| !has(row)).collect();
        if new.iter().any(|row| row.kind == "agent") && !self.forwards_agent() {
            return Err(Error::failed(
                "the job began without a socket for its ssh-agent",
                "`create --forward-agent` gives it one, or ForwardAgent yes in the ssh config and `sessd restart`",
            ));
        }
        if !new.is_empty() && self.too_old.get() {
            return Err(Error::failed(TOO_OLD, "`sessd restart` begins a new one"));
        }
        if rows.len() + new.len() > LISTENERS_MAX {
            return Err(Error::failed(
                format!("{LISTENERS_MAX} forwards of a session are the most"),
                "take some away with --remove",
            ));
        }
        for (at, row) in new.iter().enumerate() {
            self.keep(row);
            if let Err(why) = self.begin_listening(row.number) {
                new[..=at].iter().for_each(|row| self.take_away(row.number));
                return Err(Error::failed(why, "choose another port or address"));
            }
        }
        let kept: Vec<ForwardRow> =
            self.rows().into_iter().filter(|row| !change.remove.contains(&(row.number as u32))).collect();
        if let Err(error) = context.store().save_forwards(self.session, &kept).await {
            new.iter().for_each(|row| self.take_away(row.number));
            return Err(error);
        }
        change.remove.iter().for_each(|number| self.take_away((*number).into()));
        self.want();
        self.look_at_ports();
        self.until_told(&new).await
    }

    fn take_away(self: &Rc<Self>, number: u64) {
        self.forwards.borrow_mut().remove(&number);
        for flag in [&self.auto, &self.agent] {
            if flag.get() == Some(number) {
                flag.set(None);
            }
        }
    }

    /// Waits for what the host says of new ones, if it is there. One that it cannot have is taken back.
    async fn until_told(self: &Rc<Self>, new: &[ForwardRow]) -> Result<()> {
        let remote: Vec<u64> = new.iter().filter(|row| row.kind == "remote").map(|row| row.number).collect();
        let answered = async {
            loop {
                let told = self.told.notified();
                let missing = {
                    let mux = self.mux.borrow();
                    let known = |id: &u64| {
                        mux.told().is_some_and(|told| told.listeners.iter().any(|is| is.id == *id))
                    };
                    !remote.iter().all(known)
                };
                if !missing || self.path.borrow().is_none() {
                    return;
                }
                told.await;
            }
        };
        let _ = tokio::time::timeout(ANSWER, answered).await;
        let failed = {
            let mux = self.mux.borrow();
            let told = mux.told().map(|told| told.listeners.clone()).unwrap_or_default();
            told.into_iter().find(|is| remote.contains(&is.id) && !is.error.is_empty())
        };
        let Some(failed) = failed else { return Ok(()) };
        new.iter().for_each(|row| self.take_away(row.number));
        self.want();
        if let Some(context) = self.context.upgrade() {
            context.store().save_forwards(self.session, &self.rows()).await?;
        }
        Err(Error::failed(failed.error, "choose another port or address"))
    }
}

const TOO_OLD: &str = "the session's job was begun by an older agent, which forwards nothing";

/// Sends frames that are whole on a stream.
fn send(link: &Link, stream: StreamId, mut bytes: &[u8]) {
    while let Ok(Some(header)) = Header::parse(bytes, usize::MAX) {
        let (frame, rest) = bytes.split_at(header.frame_bytes());
        link.relay(stream, RawFrame::new(header, &frame[Header::BYTES..]));
        bytes = rest;
    }
}
