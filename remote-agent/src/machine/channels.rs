//! Byte streams beside the job's terminal: what managers have the holder connect to and listen on, the job's ssh-agent, and the
//! ports that its processes listen on. Each end of a channel is [`sessd_proto::channel::Channel`].
//!
//! A manager says whole what it wants (`Forwards`), and on each new path which channels it has (`ChannelSync`): what it does not
//! name is over. A manager that is away keeps its channels and listeners; who connects to one of its listeners meanwhile is
//! turned away at once, and who asks for an ssh-agent while nobody offers one is told *no* at once.

use super::links::ManagerLink;
use super::{Effect, HolderMachine, LinkId, Now};
use crate::machine::outbox::OUT_LOW;
use sessd_proto::Frame;
use sessd_proto::channel::Channel;
use sessd_proto::limits::{CHANNELS_MAX, CHUNK, LISTENERS_MAX};
use sessd_proto::messages::{self as m, ChannelFailure};

/// How long the channels of a manager that is away are kept, in milliseconds: a laptop that sleeps for a night.
const AWAY_MS: u64 = 24 * 60 * 60_000;
/// How long who asks for an ssh-agent waits for a manager to join it, in milliseconds: never long, whatever a link does.
const AGENT_MS: u64 = 3_000;
/// How often to look which ports the job listens on, while somebody wants to know, in milliseconds.
const PORTS_MS: u64 = 2_000;
/// Managers whose channels are kept.
const PARTIES_MAX: usize = 8;

/// Who is nobody: those who ask for an ssh-agent while none is offered belong there.
const NOBODY: u64 = 0;
/// How many of them are spoken to at a time.
const NOBODYS_MAX: usize = 16;
/// An ssh-agent's word for *no*. Whoever asks one writes before they read: closed at once, they may end by a signal.
const NO: &[u8] = &[0, 0, 0, 1, 5];

/// The number of the listener that programs of the job find their ssh-agent at.
pub const AGENT: u64 = 0;

/// One socket that belongs to a channel. Whoever accepts it gives odd numbers, the machine gives even ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SocketId(pub u64);

/// What a channel is to be joined to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// By name or address, and port.
    Tcp(String, u16),
    /// A unix socket by its path.
    Unix(String),
}

/// Something happened to a socket.
#[derive(Debug)]
pub enum SocketEvent<'a> {
    /// Somebody connected to the listener of that number.
    Accepted(u64),
    /// Answer to [`Effect::Connect`].
    Connected(Result<(), (ChannelFailure, String)>),
    /// It was read; nothing: there is no more to come.
    Read(&'a [u8]),
    /// So much of [`HolderMachine::socket_writes`] was written.
    Wrote(usize),
    /// Nobody takes what is written.
    WriteFailed,
}

/// A manager, with what it wants.
#[derive(Debug)]
struct Party {
    number: u64,
    id: String,
    instance: u64,
    /// Its path; none: it is away.
    link: Option<LinkId>,
    away_ms: u64,
    wants: m::Forwards,
    /// It is to be told what became of that.
    tell: bool,
    /// The greater, the later it came.
    came: u64,
}

#[derive(Debug)]
struct Joined {
    party: u64,
    /// Its number between the two ends.
    number: u64,
    channel: Channel,
    /// It is being connected to.
    connecting: bool,
    /// It wants an ssh-agent, and has asked it something that was not answered; until when it waits, if it does.
    agent: bool,
    asked: bool,
    offered_until_ms: Option<u64>,
}

impl Joined {
    fn say_no(&mut self) {
        // More than a window of that is for nobody who listens.
        let _ = self.channel.data(self.channel.received(), NO);
    }
}

#[derive(Debug)]
struct Bound {
    number: u64,
    party: u64,
    asked: m::Listener,
    /// The port, or why there is none; none: it is being bound.
    is: Option<Result<u16, String>>,
}

/// All of that of one job.
#[derive(Debug, Default)]
pub(super) struct Channels {
    parties: Vec<Party>,
    joined: Vec<(SocketId, Joined)>,
    bound: Vec<Bound>,
    now_ms: u64,
    /// Numbers given so far.
    given: u64,
    /// Who goes first the next time.
    turn: usize,
    ports: Vec<m::JobPort>,
    ports_due_ms: u64,
    ports_asked: bool,
    over: bool,
}

impl Channels {
    fn next(&mut self) -> u64 {
        self.given += 1;
        self.given
    }

    fn party_of(&mut self, link: LinkId) -> Option<&mut Party> {
        self.parties.iter_mut().find(|party| party.link == Some(link))
    }

    fn socket_of(&self, party: u64, number: u64) -> Option<SocketId> {
        let is = |(_, joined): &&(SocketId, Joined)| joined.party == party && joined.number == number;
        self.joined.iter().find(is).map(|(id, _)| *id)
    }

    fn joined_of(&self, id: SocketId) -> Option<&Joined> {
        self.joined.iter().find(|(known, _)| *known == id).map(|(_, joined)| joined)
    }

    fn joined_mut(&mut self, id: SocketId) -> Option<&mut Joined> {
        self.joined.iter_mut().find(|(known, _)| *known == id).map(|(_, joined)| joined)
    }

    fn link_of(&self, party: u64) -> Option<LinkId> {
        self.parties.iter().find(|known| known.number == party)?.link
    }

    fn of_party(&self, party: u64) -> impl Iterator<Item = (SocketId, &Joined)> {
        self.joined.iter().filter(move |(_, joined)| joined.party == party).map(|(id, joined)| (*id, joined))
    }

    /// Somebody types over this path: their ssh-agent is the one that is meant.
    pub(super) fn typed_through(&mut self, link: LinkId) {
        let last = self.given;
        if self.parties.len() > 1
            && let Some(party) = self.party_of(link).filter(|party| party.came < last)
        {
            party.came = last + 1;
            self.given = last + 1;
        }
    }

    fn wants_ports(&self) -> bool {
        !self.over && self.parties.iter().any(|party| party.link.is_some() && party.wants.ports)
    }

    /// When something of it is due.
    pub(super) fn due_ms(&self) -> Option<u64> {
        let ports = (self.wants_ports() && !self.ports_asked).then_some(self.ports_due_ms);
        let offered = self.joined.iter().filter_map(|(_, joined)| joined.offered_until_ms);
        let away = self.parties.iter().filter(|party| party.link.is_none());
        offered.chain(ports).chain(away.map(|party| party.away_ms + AWAY_MS)).min()
    }

    /// Has a link that takes it more to send?
    pub(super) fn may_go_on(&self, links: &[ManagerLink]) -> bool {
        let has_more = |party: &Party| {
            party.tell || self.of_party(party.number).any(|(_, j)| !j.connecting && j.channel.has_more())
        };
        self.parties.iter().any(|party| {
            let takes = |link: &ManagerLink| Some(link.id) == party.link && link.takes_more();
            links.iter().any(takes) && has_more(party)
        })
    }

    fn told(&self, party: &Party) -> m::Forwarded {
        let of = |bound: &&Bound| bound.party == party.number;
        let listening = |bound: &Bound| {
            let (port, error) = match bound.is.clone()? {
                Ok(port) => (port.into(), String::new()),
                Err(error) => (0, error),
            };
            Some(m::Listening { id: bound.asked.id, port, error })
        };
        m::Forwarded {
            listeners: self.bound.iter().filter(of).filter_map(listening).collect(),
            ports: if party.wants.ports { self.ports.clone() } else { Vec::new() },
        }
    }

    /// Gives every link what it is due.
    pub(super) fn put(&mut self, links: &mut [ManagerLink]) -> Vec<SocketId> {
        for at in 0..self.parties.len() {
            let party = &self.parties[at];
            let Some(link) = links.iter_mut().find(|link| Some(link.id) == party.link) else { continue };
            if party.tell && link.takes_more() {
                link.out.put(0, &Frame::Forwarded(self.told(party)));
                self.parties[at].tell = false;
            }
        }
        self.turn = self.turn.wrapping_add(1);
        let (mut finished, count) = (Vec::new(), self.joined.len());
        let first = if count == 0 { 0 } else { self.turn % count };
        let order: Vec<SocketId> = self.joined.iter().map(|(id, _)| *id).collect();
        for id in order.iter().cycle().skip(first).take(count) {
            let Some(link) = self.joined_of(*id).and_then(|joined| self.link_of(joined.party)) else {
                continue;
            };
            let Some(link) = links.iter_mut().find(|known| known.id == link && known.takes_more()) else {
                continue;
            };
            let Some(joined) = self.joined_mut(*id) else { continue };
            joined.channel.put(joined.number, CHUNK, link.out.end());
            if joined.channel.is_abandoned() {
                let reason = ChannelFailure::Reset as i32;
                let close = m::ChannelClose { channel: joined.number, reason, detail: String::new() };
                link.out.put(0, &Frame::ChannelClose(close));
                finished.push(*id);
            } else if joined.channel.is_finished() {
                finished.push(*id);
            }
        }
        finished
    }
}

impl ManagerLink {
    /// May more be put into it that can wait?
    fn takes_more(&self) -> bool {
        self.listens() && self.out.waiting() < OUT_LOW
    }
}

impl HolderMachine {
    /// How much may be read from a socket for its channel now.
    pub fn socket_room(&self, id: SocketId) -> usize {
        let Some(joined) = self.channels.joined_of(id).filter(|joined| !joined.connecting) else {
            return 0;
        };
        let room = joined.channel.room();
        match self.channels.link_of(joined.party) {
            // While its manager is away a window is kept for it.
            None => room,
            Some(link) if self.links.iter().any(|known| known.id == link && known.takes_more()) => room,
            Some(_) => 0,
        }
    }

    /// What is to be written to a socket next.
    pub fn socket_writes(&self, id: SocketId) -> &[u8] {
        match self.channels.joined_of(id) {
            Some(joined) if !joined.connecting => joined.channel.writable(),
            _ => &[],
        }
    }

    fn close_socket(&mut self, id: SocketId) {
        if let Some(at) = self.channels.joined.iter().position(|(known, _)| *known == id) {
            self.channels.joined.remove(at);
            self.effects.push_back(Effect::HangUp(id));
        }
    }

    /// Nobody is joined to a socket any more. Whoever wanted an ssh-agent there is told *no*, and does not wait for it.
    fn hang_up(&mut self, id: SocketId) {
        let until = self.channels.now_ms + AGENT_MS;
        let many = self.channels.over || self.channels.of_party(NOBODY).count() >= NOBODYS_MAX;
        match self.channels.joined_mut(id) {
            Some(joined) if joined.agent && joined.party != NOBODY && !many => {
                (joined.party, joined.channel, joined.offered_until_ms) =
                    (NOBODY, Channel::new(), Some(until));
                if std::mem::take(&mut joined.asked) {
                    joined.say_no();
                }
            }
            _ => self.close_socket(id),
        }
    }

    /// A channel is over before its end: its manager is told why.
    fn fail(&mut self, id: SocketId, reason: ChannelFailure, detail: String) {
        let Some(joined) = self.channels.joined_of(id) else { return };
        let (party, channel) = (joined.party, joined.number);
        self.tell_party(party, channel, reason, detail);
        self.hang_up(id);
    }

    fn tell_party(&mut self, party: u64, channel: u64, reason: ChannelFailure, detail: String) {
        let Some(link) = self.channels.link_of(party) else { return };
        if let Some(link) = self.links.iter_mut().find(|known| known.id == link) {
            link.out.put(0, &Frame::ChannelClose(m::ChannelClose { channel, reason: reason as i32, detail }));
        }
    }

    /// A manager says something of channels. Frames of a path that it has left mean nothing any more.
    pub(super) fn heard_of_channels(&mut self, link: LinkId, frame: Frame<'_>, now: Now) {
        if let Frame::ChannelSync(sync) = frame {
            return self.sync(link, &sync, now);
        }
        let Some(party) = self.channels.party_of(link).map(|party| party.number) else { return };
        let told = |channels: &mut Channels, channel: u64| channels.socket_of(party, channel);
        let (id, fault) = match frame {
            Frame::Forwards(wants) => return self.forwards(party, wants),
            Frame::ChannelOpen(open) => return self.open_channel(party, open),
            Frame::ChannelOpened(name) => {
                let id = told(&mut self.channels, name.channel);
                if let Some(joined) = id.and_then(|id| self.channels.joined_mut(id)) {
                    joined.offered_until_ms = None;
                }
                return;
            }
            Frame::ChannelClose(close) => {
                let Some(id) = told(&mut self.channels, close.channel) else { return };
                if let Some(joined) = self.channels.joined_mut(id) {
                    joined.channel.given_up();
                }
                return self.settle_channel(id);
            }
            Frame::ChannelData { channel, offset, bytes } => {
                self.idle.traffic(now.ms);
                if let Some(joined) =
                    told(&mut self.channels, channel).and_then(|id| self.channels.joined_mut(id))
                {
                    joined.asked = false;
                }
                self.on_channel(party, channel, |channel| channel.data(offset, bytes))
            }
            Frame::ChannelEnd { channel, offset } => {
                self.on_channel(party, channel, |channel| channel.end(offset))
            }
            Frame::ChannelCredit { channel, consumed } => {
                self.on_channel(party, channel, |channel| channel.credit(consumed))
            }
            _ => return,
        };
        match (id, fault) {
            (Some(id), Some(fault)) => self.fail(id, ChannelFailure::Reset, fault.to_string()),
            (Some(id), None) => self.settle_channel(id),
            (None, _) => {}
        }
    }

    fn on_channel(
        &mut self,
        party: u64,
        number: u64,
        act: impl FnOnce(&mut Channel) -> Result<(), sessd_proto::channel::Fault>,
    ) -> (Option<SocketId>, Option<sessd_proto::channel::Fault>) {
        let id = self.channels.socket_of(party, number);
        let joined = id.and_then(|id| self.channels.joined_mut(id));
        (id, joined.and_then(|joined| act(&mut joined.channel).err()))
    }

    /// What a channel is due after something happened to it.
    fn settle_channel(&mut self, id: SocketId) {
        let Some(joined) = self.channels.joined_mut(id) else { return };
        if !joined.connecting && joined.channel.ends_here() {
            joined.channel.ended_here();
            self.effects.push_back(Effect::EndWrites(id));
        }
        if joined.channel.is_over() {
            self.close_socket(id);
        } else if joined.channel.is_finished() {
            self.hang_up(id);
        }
    }

    /// A manager is on a new path.
    fn sync(&mut self, link: LinkId, sync: &m::ChannelSync, now: Now) {
        let known = self.channels.parties.iter().position(|party| party.id == sync.manager_id);
        let at = match known {
            Some(at) => at,
            None => {
                if self.channels.parties.len() >= PARTIES_MAX {
                    let oldest = self.channels.parties.iter().filter(|party| party.link.is_none());
                    let Some(oldest) = oldest.min_by_key(|party| party.away_ms).map(|party| party.number)
                    else {
                        return self.refuse(link, "too many managers have channels of this job".into());
                    };
                    self.forget_party(oldest);
                }
                let number = self.channels.next();
                self.channels.parties.push(Party {
                    number,
                    id: sync.manager_id.clone(),
                    instance: sync.instance,
                    link: None,
                    away_ms: now.ms,
                    wants: m::Forwards::default(),
                    tell: false,
                    came: 0,
                });
                self.channels.parties.len() - 1
            }
        };
        let came = self.channels.next();
        let party = &mut self.channels.parties[at];
        let same = std::mem::replace(&mut party.instance, sync.instance) == sync.instance;
        (party.link, party.tell, party.came) = (Some(link), true, came);
        let number = party.number;
        let ours: Vec<(SocketId, u64)> =
            self.channels.of_party(number).map(|(id, joined)| (id, joined.number)).collect();
        for (id, channel) in ours {
            let theirs = sync.channels.iter().find(|at| same && at.channel == channel);
            let resumed = theirs.zip(self.channels.joined_mut(id));
            let resumed = resumed.is_some_and(|(at, joined)| joined.channel.resume(at.received).is_ok());
            if !resumed {
                self.hang_up(id);
            }
        }
        let channels = self.channels.of_party(number);
        let channels = channels
            .map(|(_, j)| m::ChannelAt { channel: j.number, received: j.channel.received() })
            .collect();
        let sync = m::ChannelSync { manager_id: String::new(), instance: sync.instance, channels };
        if let Some(link) = self.links.iter_mut().find(|known| known.id == link) {
            link.out.put(0, &Frame::ChannelSync(sync));
        }
    }

    fn forget_party(&mut self, number: u64) {
        let sockets: Vec<SocketId> = self.channels.of_party(number).map(|(id, _)| id).collect();
        sockets.into_iter().for_each(|id| self.hang_up(id));
        self.unlisten(|bound| bound.party == number);
        self.channels.parties.retain(|party| party.number != number);
    }

    fn unlisten(&mut self, which: impl Fn(&Bound) -> bool) {
        let (gone, kept): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.channels.bound).into_iter().partition(which);
        self.channels.bound = kept;
        self.effects.extend(gone.iter().map(|bound| Effect::Unlisten(bound.number)));
    }

    fn forwards(&mut self, number: u64, wants: m::Forwards) {
        if self.channels.over {
            return;
        }
        let asked: Vec<m::Listener> = wants.listeners.iter().take(LISTENERS_MAX).cloned().collect();
        self.unlisten(|bound| bound.party == number && !asked.contains(&bound.asked));
        let away: Vec<u64> =
            self.channels.parties.iter().filter(|p| p.link.is_none()).map(|p| p.number).collect();
        for asked in asked {
            let has = |bound: &Bound| bound.party == number && bound.asked == asked;
            // One that could not be had is tried again when it is asked for again.
            if self.channels.bound.iter().any(|bound| has(bound) && !matches!(bound.is, Some(Err(_)))) {
                continue;
            }
            self.unlisten(has);
            // Who is away does not keep a port from who is here.
            let same = |other: &m::Listener| {
                (other.port, &other.path) == (asked.port, &asked.path)
                    && (other.port, other.path.len()) != (0, 0)
            };
            self.unlisten(|bound| away.contains(&bound.party) && same(&bound.asked));
            let listener = self.channels.next();
            self.effects.push_back(Effect::Listen(listener, asked.clone()));
            self.channels.bound.push(Bound { number: listener, party: number, asked, is: None });
        }
        if let Some(party) = self.channels.parties.iter_mut().find(|party| party.number == number) {
            (party.wants, party.tell) = (wants, true);
        }
    }

    /// Answer to [`Effect::Listen`].
    pub(super) fn listening(&mut self, number: u64, is: Result<u16, String>) {
        let Some(bound) = self.channels.bound.iter_mut().find(|bound| bound.number == number) else {
            // It is not wanted any more.
            return self.effects.push_back(Effect::Unlisten(number));
        };
        bound.is = Some(is);
        let party = bound.party;
        if let Some(party) = self.channels.parties.iter_mut().find(|known| known.number == party) {
            party.tell = true;
        }
    }

    fn open_channel(&mut self, party: u64, open: m::ChannelOpen) {
        let channel = open.channel;
        if channel % 2 == 1 || self.channels.socket_of(party, channel).is_some() {
            return;
        }
        let target = match u16::try_from(open.port) {
            _ if !open.path.is_empty() => Target::Unix(open.path),
            Ok(port) if port > 0 && !open.host.is_empty() => Target::Tcp(open.host, port),
            _ => {
                let why = "there is no such port".to_owned();
                return self.tell_party(party, channel, ChannelFailure::NotFound, why);
            }
        };
        if self.channels.over || self.channels.of_party(party).count() >= CHANNELS_MAX {
            let why = format!("{CHANNELS_MAX} connections of this session are open: close one");
            return self.tell_party(party, channel, ChannelFailure::TooMany, why);
        }
        let id = SocketId(self.channels.next() * 2);
        self.join(id, party, channel, true);
        self.effects.push_back(Effect::Connect(id, target));
    }

    fn join(&mut self, id: SocketId, party: u64, number: u64, connecting: bool) {
        let (channel, agent, asked, offered_until_ms) = (Channel::new(), false, false, None);
        let joined = Joined { party, number, channel, connecting, agent, asked, offered_until_ms };
        self.channels.joined.push((id, joined));
    }

    /// Something happened to a socket.
    pub(super) fn socket(&mut self, id: SocketId, event: SocketEvent<'_>, now: Now) {
        if let SocketEvent::Accepted(listener) = event {
            return self.accepted(id, listener, now);
        }
        let Some(joined) = self.channels.joined_mut(id) else {
            if matches!(event, SocketEvent::Connected(Ok(()))) {
                // Nobody wants it any more.
                self.effects.push_back(Effect::HangUp(id));
            }
            return;
        };
        match event {
            SocketEvent::Accepted(_) => {}
            SocketEvent::Connected(Ok(())) => {
                joined.connecting = false;
                let (party, channel) = (joined.party, joined.number);
                if let Some(link) = self.channels.link_of(party)
                    && let Some(link) = self.links.iter_mut().find(|known| known.id == link)
                {
                    link.out.put(0, &Frame::ChannelOpened(m::ChannelName { channel }));
                }
            }
            SocketEvent::Connected(Err((reason, why))) => return self.fail(id, reason, why),
            SocketEvent::Read([]) if joined.party == NOBODY => return self.close_socket(id),
            SocketEvent::Read(_) if joined.party == NOBODY => joined.say_no(),
            SocketEvent::Read([]) => joined.channel.read_end(),
            SocketEvent::Read(bytes) => {
                joined.asked = true;
                joined.channel.read(bytes);
                self.idle.traffic(now.ms);
            }
            SocketEvent::Wrote(n) => joined.channel.wrote(n),
            SocketEvent::WriteFailed => joined.channel.write_failed(),
        }
        self.settle_channel(id);
    }

    /// Somebody connected to a listener. Where nobody is there to join them, they are told so by the end of it.
    fn accepted(&mut self, id: SocketId, listener: u64, now: Now) {
        let party = if listener == AGENT {
            let offers = self.channels.parties.iter().filter(|p| p.link.is_some() && p.wants.agent);
            offers.max_by_key(|party| party.came).map(|party| (party.number, 0))
        } else {
            let bound = self.channels.bound.iter().find(|bound| bound.number == listener);
            bound.map(|bound| (bound.party, bound.asked.id))
        };
        let there = party
            .and_then(|(party, asked)| Some((party, asked, self.channels.link_of(party)?)))
            .filter(|(party, ..)| self.channels.of_party(*party).count() < CHANNELS_MAX);
        let agent = listener == AGENT;
        let many = self.channels.of_party(NOBODY).count() >= NOBODYS_MAX;
        if there.is_none() && (!agent || many || self.channels.over) {
            return self.effects.push_back(Effect::HangUp(id));
        }
        let channel = self.channels.next() * 2 + 1;
        self.join(id, there.map_or(NOBODY, |(party, ..)| party), channel, false);
        if let Some(joined) = self.channels.joined_mut(id).filter(|_| agent) {
            (joined.agent, joined.offered_until_ms) = (true, Some(now.ms + AGENT_MS));
        }
        let Some((_, asked, link)) = there else { return };
        let open = m::ChannelOpen { channel, listener: asked, agent, ..m::ChannelOpen::default() };
        if let Some(link) = self.links.iter_mut().find(|known| known.id == link) {
            link.out.put(0, &Frame::ChannelOpen(open));
        }
    }

    /// A path is gone: whoever asked for an ssh-agent over it is not kept waiting for another.
    pub(super) fn left_channels(&mut self, link: LinkId, now: Now) {
        let Some(party) = self.channels.party_of(link) else { return };
        (party.link, party.away_ms) = (None, now.ms);
        let number = party.number;
        let agents: Vec<SocketId> =
            self.channels.of_party(number).filter(|(_, joined)| joined.agent).map(|(id, _)| id).collect();
        agents.into_iter().for_each(|id| self.hang_up(id));
    }

    /// Does what is due by the clock.
    pub(super) fn tick_channels(&mut self, now: Now) {
        self.channels.now_ms = now.ms;
        if self.exit.is_some() {
            // Nothing outlives the job.
            if !std::mem::replace(&mut self.channels.over, true) {
                let all: Vec<u64> = self.channels.parties.iter().map(|party| party.number).collect();
                for party in all {
                    let sockets: Vec<SocketId> = self.channels.of_party(party).map(|(id, _)| id).collect();
                    let why = "the session's job has ended";
                    sockets.into_iter().for_each(|id| self.fail(id, ChannelFailure::Reset, why.to_owned()));
                }
                let nobodys: Vec<SocketId> = self.channels.of_party(NOBODY).map(|(id, _)| id).collect();
                nobodys.into_iter().for_each(|id| self.close_socket(id));
                self.unlisten(|_| true);
                self.effects.extend(self.job.spec.agent.then_some(Effect::Unlisten(AGENT)));
            }
            return;
        }
        let late = |joined: &Joined| joined.offered_until_ms.is_some_and(|until| now.ms >= until);
        let late: Vec<SocketId> =
            self.channels.joined.iter().filter(|(_, joined)| late(joined)).map(|(id, _)| *id).collect();
        for id in late {
            self.fail(id, ChannelFailure::Unreachable, "nobody answered in time".into());
        }
        let gone = |party: &&Party| party.link.is_none() && now.ms >= party.away_ms + AWAY_MS;
        let gone: Vec<u64> = self.channels.parties.iter().filter(gone).map(|party| party.number).collect();
        gone.into_iter().for_each(|party| self.forget_party(party));
        let channels = &mut self.channels;
        if channels.wants_ports() && !channels.ports_asked && now.ms >= channels.ports_due_ms {
            (channels.ports_asked, channels.ports_due_ms) = (true, now.ms + PORTS_MS);
            self.effects.push_back(Effect::Ports);
        }
    }

    /// Answer to [`Effect::Ports`].
    pub(super) fn listens_on(&mut self, ports: Option<Vec<m::JobPort>>) {
        self.channels.ports_asked = false;
        // What cannot be seen is not over for that.
        let Some(seen) = ports else { return };
        let mut ports: Vec<m::JobPort> = Vec::new();
        // In the order of their numbers, each once: two looks at the same ports are equal.
        for port in seen {
            let at = ports.partition_point(|known| known.port < port.port);
            let is_new = ports.get(at).is_none_or(|known| known.port != port.port);
            if is_new && ports.len() < LISTENERS_MAX {
                ports.insert(at, port);
            }
        }
        if self.channels.ports != ports {
            self.channels.ports = ports;
            for party in self.channels.parties.iter_mut().filter(|party| party.wants.ports) {
                party.tell = true;
            }
        }
    }

    pub(super) fn put_channels(&mut self) {
        for id in self.channels.put(&mut self.links) {
            self.close_socket(id);
        }
    }
}
