//! The channels of one session, as a machine without I/O: what is forwarded goes over the session's own stream to its holder, and
//! outlives that stream as the terminal does.
//!
//! ```text
//!  away ──▶ syncing ──▶ up          away: nothing is sent; what is read is kept, a window of it
//!    ▲         │         │          syncing: both ends say which channels they have, and how far each got
//!    └─────────┴─────────┘
//! ```
//!
//! Only what was asked for is ever begun by the other side: a connection to a port that we had it listen on, and, where the user
//! said so, a program's that wants its ssh-agent.

use crate::untrusted;
use sessd_proto::channel::Channel;
use sessd_proto::limits::{CHANNELS_MAX, CHUNK, LISTENERS_MAX};
use sessd_proto::messages::{self as m, ChannelFailure};
use sessd_proto::{Frame, RawFrame};
use std::collections::{BTreeMap, VecDeque};

/// What a channel of the holder's is to be joined to here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// What the forward of this number leads to.
    Forward(u64),
    /// The user's ssh-agent.
    Agent,
}

/// Why a channel is over before its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The kind of it.
    pub reason: ChannelFailure,
    /// One sentence, fit for people.
    pub detail: String,
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub enum Effect {
    /// Connect this channel to something here, and say [`Mux::joined`] or [`Mux::fail`].
    Join(u64, Wanted),
    /// The holder has joined this channel to what was asked for.
    Opened(u64),
    /// Something about this channel is otherwise: look whether there is something to write, or to read for.
    Changed(u64),
    /// This channel is over.
    Over(u64, Option<Failure>),
    /// What is known of listeners and ports there is otherwise.
    Told,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Away,
    Syncing,
    Up,
}

#[derive(Debug)]
struct Entry {
    channel: Channel,
    /// What the holder was asked for and has not answered: asked again on a new path if it never came.
    asked: Option<m::ChannelOpen>,
    /// It does not outlive its path.
    agent: bool,
}

/// All channels of one session.
#[derive(Debug)]
pub struct Mux {
    manager_id: String,
    instance: u64,
    stage: Stage,
    entries: BTreeMap<u64, Entry>,
    given: u64,
    turn: usize,
    wants: m::Forwards,
    /// What the holder said of listeners and ports, over this path or the last.
    told: Option<m::Forwarded>,
    /// Small frames that are to go first.
    first: Vec<u8>,
    effects: VecDeque<Effect>,
}

impl Mux {
    /// One without channels. `instance` differs for each run of a manager.
    pub fn new(manager_id: String, instance: u64) -> Self {
        Self {
            manager_id,
            instance,
            stage: Stage::Away,
            entries: BTreeMap::new(),
            given: 0,
            turn: 0,
            wants: m::Forwards::default(),
            told: None,
            first: Vec::new(),
            effects: VecDeque::new(),
        }
    }

    /// The next thing to do.
    pub fn poll(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// Is there anything that the holder has to know of?
    pub fn is_idle(&self) -> bool {
        self.entries.is_empty() && self.wants == m::Forwards::default()
    }

    /// Is a path there, and agreed upon?
    pub fn is_up(&self) -> bool {
        self.stage == Stage::Up
    }

    /// What the holder said of listeners and ports.
    pub fn told(&self) -> Option<&m::Forwarded> {
        self.told.as_ref()
    }

    /// How many channels there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Is there none?
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// There is a new path to the holder, and it knows channels.
    pub fn begin(&mut self) {
        self.first.clear();
        let channels = self.entries.iter().filter(|(_, entry)| !entry.agent);
        let channels =
            channels.map(|(id, e)| m::ChannelAt { channel: *id, received: e.channel.received() }).collect();
        let sync = m::ChannelSync { manager_id: self.manager_id.clone(), instance: self.instance, channels };
        Frame::ChannelSync(sync).put(0, &mut self.first);
        Frame::Forwards(self.wants.clone()).put(0, &mut self.first);
        self.stage = Stage::Syncing;
        self.drop_agents();
    }

    /// The path is gone. Whoever waits for an ssh-agent over it waits no longer.
    pub fn end(&mut self) {
        self.stage = Stage::Away;
        self.first.clear();
        self.drop_agents();
        self.effects.push_back(Effect::Told);
    }

    fn drop_agents(&mut self) {
        let agents: Vec<u64> = self.entries.iter().filter(|(_, e)| e.agent).map(|(id, _)| *id).collect();
        for id in agents {
            self.entries.remove(&id);
            self.effects.push_back(Effect::Over(id, None));
        }
    }

    /// What is wanted of the holder from now on.
    pub fn want(&mut self, wants: m::Forwards) {
        if self.wants == wants {
            return;
        }
        self.wants = wants;
        if let Some(told) = &mut self.told {
            let wanted = &self.wants.listeners;
            told.listeners.retain(|is| wanted.iter().any(|listener| listener.id == is.id));
        }
        if self.stage != Stage::Away {
            Frame::Forwards(self.wants.clone()).put(0, &mut self.first);
        }
    }

    /// Begins a channel to `open`, whose number is given here. `None`: as many as may be are open.
    pub fn open(&mut self, open: m::ChannelOpen) -> Option<u64> {
        if self.entries.len() >= CHANNELS_MAX {
            return None;
        }
        self.given += 2;
        let id = self.given;
        let open = m::ChannelOpen { channel: id, ..open };
        if self.stage == Stage::Up {
            Frame::ChannelOpen(open.clone()).put(0, &mut self.first);
        }
        self.entries.insert(id, Entry { channel: Channel::new(), asked: Some(open), agent: false });
        Some(id)
    }

    /// A channel of the holder's is joined to something here.
    pub fn joined(&mut self, id: u64) {
        if self.entries.contains_key(&id) && self.stage != Stage::Away {
            Frame::ChannelOpened(m::ChannelName { channel: id }).put(0, &mut self.first);
        }
    }

    /// A channel is given up here. No effect says so.
    pub fn fail(&mut self, id: u64, reason: ChannelFailure, detail: &str) {
        if self.entries.remove(&id).is_some() && self.stage != Stage::Away {
            let close = m::ChannelClose { channel: id, reason: reason as i32, detail: detail.to_owned() };
            Frame::ChannelClose(close).put(0, &mut self.first);
        }
    }

    /// The end of a channel on this side.
    pub fn channel(&mut self, id: u64) -> Option<&mut Channel> {
        self.entries.get_mut(&id).map(|entry| &mut entry.channel)
    }

    /// Something was done with the end of a channel: it may be over by that.
    pub fn settle(&mut self, id: u64) {
        if self.entries.get(&id).is_some_and(|entry| entry.channel.is_finished()) {
            self.entries.remove(&id);
            self.effects.push_back(Effect::Over(id, None));
        }
    }

    /// A frame of the holder's about channels.
    pub fn hear(&mut self, raw: RawFrame<'_>) {
        let Ok(frame) = raw.parse().map(untrusted::frame) else { return };
        if self.stage == Stage::Away {
            return;
        }
        let (id, fault) = match frame {
            Frame::ChannelSync(sync) => return self.sync(&sync),
            Frame::Forwarded(told) => return self.forwarded(told),
            Frame::ChannelOpen(open) => return self.asked_for(&open),
            Frame::ChannelOpened(name) => {
                if let Some(entry) = self.entries.get_mut(&name.channel)
                    && entry.asked.take().is_some()
                {
                    self.effects.push_back(Effect::Opened(name.channel));
                }
                return;
            }
            Frame::ChannelClose(close) => {
                let id = close.channel;
                let Some(entry) = self.entries.get_mut(&id) else { return };
                let reason = ChannelFailure::try_from(close.reason).unwrap_or(ChannelFailure::Unspecified);
                entry.channel.given_up();
                if entry.asked.is_some() || entry.channel.is_finished() {
                    self.entries.remove(&id);
                    let failure = Failure { reason, detail: close.detail };
                    return self.effects.push_back(Effect::Over(id, Some(failure)));
                }
                return self.effects.push_back(Effect::Changed(id));
            }
            Frame::ChannelData { channel, offset, bytes } => {
                (channel, self.channel(channel).map(|channel| channel.data(offset, bytes)))
            }
            Frame::ChannelEnd { channel, offset } => {
                (channel, self.channel(channel).map(|channel| channel.end(offset)))
            }
            Frame::ChannelCredit { channel, consumed } => {
                (channel, self.channel(channel).map(|channel| channel.credit(consumed)))
            }
            _ => return,
        };
        match fault {
            Some(Ok(())) => {
                self.effects.push_back(Effect::Changed(id));
                self.settle(id);
            }
            Some(Err(fault)) => {
                self.fail(id, ChannelFailure::Reset, &fault.to_string());
                let failure = Failure { reason: ChannelFailure::Reset, detail: fault.to_string() };
                self.effects.push_back(Effect::Over(id, Some(failure)));
            }
            // One that is over.
            None => {}
        }
    }

    fn sync(&mut self, sync: &m::ChannelSync) {
        if self.stage != Stage::Syncing || sync.instance != self.instance {
            return;
        }
        self.stage = Stage::Up;
        let mut over = Vec::new();
        for (id, entry) in &mut self.entries {
            match (sync.channels.iter().find(|at| at.channel == *id), &entry.asked) {
                (Some(at), _) if entry.channel.resume(at.received).is_ok() => {}
                (None, Some(open)) => Frame::ChannelOpen(open.clone()).put(0, &mut self.first),
                _ => over.push(*id),
            }
        }
        for id in over {
            self.entries.remove(&id);
            let (reason, detail) = (ChannelFailure::Reset, "the other end is gone".to_owned());
            self.effects.push_back(Effect::Over(id, Some(Failure { reason, detail })));
        }
        let all: Vec<u64> = self.entries.keys().copied().collect();
        self.effects.extend(all.into_iter().map(Effect::Changed));
        self.effects.push_back(Effect::Told);
    }

    fn forwarded(&mut self, mut told: m::Forwarded) {
        let wanted = &self.wants.listeners;
        told.listeners.retain(|is| wanted.iter().any(|listener| listener.id == is.id));
        told.ports.retain(|port| self.wants.ports && u16::try_from(port.port).is_ok_and(|port| port > 0));
        told.ports.truncate(LISTENERS_MAX);
        if self.told.as_ref() != Some(&told) {
            self.told = Some(told);
            self.effects.push_back(Effect::Told);
        }
    }

    /// The holder begins a channel. What nobody asked for is refused, and costs nothing.
    fn asked_for(&mut self, open: &m::ChannelOpen) {
        let id = open.channel;
        let wanted = if open.agent && self.wants.agent {
            Some(Wanted::Agent)
        } else {
            let known = self.wants.listeners.iter().any(|listener| listener.id == open.listener);
            (known && open.listener != 0 && !open.agent).then_some(Wanted::Forward(open.listener))
        };
        let refuse = |reason: ChannelFailure, detail: &str| {
            let close = m::ChannelClose { channel: id, reason: reason as i32, detail: detail.to_owned() };
            Frame::ChannelClose(close).to_bytes(0)
        };
        if id.is_multiple_of(2) || self.entries.contains_key(&id) {
            return;
        }
        let refused = match wanted {
            None => Some(refuse(ChannelFailure::Prohibited, "it was not asked for")),
            Some(_) if self.entries.len() >= CHANNELS_MAX => {
                Some(refuse(ChannelFailure::TooMany, "too many connections of this session are open"))
            }
            Some(_) => None,
        };
        match (refused, wanted) {
            // Who opens without end does not have us answer without end.
            (Some(refused), _) if self.first.len() < CHUNK => self.first.extend(refused),
            (None, Some(wanted)) => {
                let agent = wanted == Wanted::Agent;
                self.entries.insert(id, Entry { channel: Channel::new(), asked: None, agent });
                self.effects.push_back(Effect::Join(id, wanted));
            }
            _ => {}
        }
    }

    /// Is there anything to send now?
    pub fn has_more(&self) -> bool {
        let sends = self.stage == Stage::Up && self.entries.values().any(|entry| entry.channel.has_more());
        sends || !self.first.is_empty()
    }

    /// Appends frames for the holder: at most about `most` bytes of what is forwarded, shared fairly.
    pub fn put(&mut self, most: usize, out: &mut Vec<u8>) {
        out.append(&mut self.first);
        if self.stage != Stage::Up || self.entries.is_empty() {
            return;
        }
        let before = out.len();
        let ids: Vec<u64> = self.entries.keys().copied().collect();
        self.turn = (self.turn + 1) % ids.len();
        let mut finished = Vec::new();
        for id in ids.iter().cycle().skip(self.turn).take(ids.len()) {
            let left = most.saturating_sub(out.len() - before);
            if left == 0 {
                break;
            }
            let Some(entry) = self.entries.get_mut(id) else { continue };
            entry.channel.put(*id, left.min(CHUNK), out);
            if entry.channel.is_abandoned() {
                let reason = ChannelFailure::Reset as i32;
                Frame::ChannelClose(m::ChannelClose { channel: *id, reason, detail: String::new() })
                    .put(0, out);
                finished.push(*id);
            } else if entry.channel.is_finished() {
                finished.push(*id);
            }
        }
        for id in finished {
            self.entries.remove(&id);
            self.effects.push_back(Effect::Over(id, None));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sessd_proto::Decoder;

    fn mux() -> Mux {
        Mux::new("m".into(), 7)
    }

    fn hear(mux: &mut Mux, frame: &Frame<'_>) -> Vec<Effect> {
        let bytes = frame.to_bytes(0);
        let mut decoder = Decoder::new();
        decoder.push(&bytes);
        mux.hear(decoder.next_frame().unwrap().unwrap());
        effects(mux)
    }

    fn effects(mux: &mut Mux) -> Vec<Effect> {
        std::iter::from_fn(|| mux.poll()).collect()
    }

    /// What goes out, by name.
    fn sent(mux: &mut Mux) -> Vec<String> {
        let mut out = Vec::new();
        mux.put(usize::MAX, &mut out);
        let mut decoder = Decoder::new();
        decoder.push(&out);
        let mut all = Vec::new();
        while let Some(raw) = decoder.next_frame().unwrap() {
            let text = format!("{:?}", raw.parse().unwrap());
            all.push(text.split(['(', ' ']).next().unwrap().to_owned());
        }
        all
    }

    fn answer(mux: &mut Mux, channels: &[(u64, u64)]) -> Vec<Effect> {
        let channels = channels
            .iter()
            .map(|(channel, received)| m::ChannelAt { channel: *channel, received: *received });
        let sync = m::ChannelSync { manager_id: String::new(), instance: 7, channels: channels.collect() };
        hear(mux, &Frame::ChannelSync(sync))
    }

    fn up() -> Mux {
        let mut mux = mux();
        mux.begin();
        assert_eq!(sent(&mut mux), ["ChannelSync", "Forwards"]);
        answer(&mut mux, &[]);
        mux
    }

    fn to(host: &str) -> m::ChannelOpen {
        m::ChannelOpen { host: host.into(), port: 80, ..m::ChannelOpen::default() }
    }

    #[test]
    fn a_host_opens_nothing_that_was_not_asked_for() {
        let mut mux = up();
        let open = |channel, listener, agent| {
            Frame::ChannelOpen(m::ChannelOpen { channel, listener, agent, ..m::ChannelOpen::default() })
        };
        let connect = |channel| Frame::ChannelOpen(m::ChannelOpen { channel, ..to("10.0.0.1") });
        for frame in [open(1, 0, false), open(1, 5, false), open(1, 0, true), connect(1)] {
            assert_eq!(hear(&mut mux, &frame), []);
            assert_eq!(sent(&mut mux), ["ChannelClose"], "{frame:?}");
        }
        assert_eq!(hear(&mut mux, &connect(2)), [], "a number of ours");
        let listeners = vec![m::Listener { id: 5, port: 80, ..m::Listener::default() }];
        mux.want(m::Forwards { listeners, agent: true, ports: false });
        assert_eq!(sent(&mut mux), ["Forwards"]);
        assert_eq!(hear(&mut mux, &open(1, 5, false)), [Effect::Join(1, Wanted::Forward(5))]);
        assert_eq!(hear(&mut mux, &open(3, 0, true)), [Effect::Join(3, Wanted::Agent)]);
        assert_eq!(hear(&mut mux, &open(5, 5, true)), [Effect::Join(5, Wanted::Agent)], "never both");
        for n in 0..2 * CHANNELS_MAX as u64 {
            hear(&mut mux, &open(7 + 2 * n, 5, false));
        }
        assert_eq!(mux.len(), CHANNELS_MAX);
        mux.want(m::Forwards::default());
        assert_eq!(hear(&mut mux, &open(9001, 5, false)), [], "not any more");
    }

    #[test]
    fn what_was_asked_for_while_the_host_was_away_is_asked_for_when_it_is_back() {
        let mut mux = mux();
        let id = mux.open(to("db")).unwrap();
        mux.channel(id).unwrap().read(b"early");
        assert_eq!(sent(&mut mux), [""; 0]);
        mux.begin();
        assert_eq!(sent(&mut mux), ["ChannelSync", "Forwards"]);
        answer(&mut mux, &[]);
        assert_eq!(sent(&mut mux), ["ChannelOpen", "ChannelData"]);
        // The path breaks before anything arrived.
        mux.end();
        mux.begin();
        answer(&mut mux, &[]);
        sent(&mut mux);
        assert_eq!(
            hear(&mut mux, &Frame::ChannelOpened(m::ChannelName { channel: id })),
            [Effect::Opened(id)]
        );
        // Once it was there and is no more, it is over.
        mux.end();
        mux.begin();
        let over = answer(&mut mux, &[]);
        assert!(
            matches!(over[..], [Effect::Told, Effect::Over(over, Some(_)), Effect::Told] if over == id),
            "{over:?}"
        );
        assert!(mux.is_empty());
    }

    #[test]
    fn a_channel_goes_on_over_the_next_path_and_an_agent_is_not_waited_for() {
        let mut mux = up();
        mux.want(m::Forwards { agent: true, ..m::Forwards::default() });
        let id = mux.open(to("db")).unwrap();
        hear(&mut mux, &Frame::ChannelOpened(m::ChannelName { channel: id }));
        let agent = m::ChannelOpen { channel: 1, agent: true, ..m::ChannelOpen::default() };
        hear(&mut mux, &Frame::ChannelOpen(agent));
        mux.channel(id).unwrap().read(b"0123456789");
        sent(&mut mux);
        mux.end();
        assert_eq!(effects(&mut mux), [Effect::Over(1, None), Effect::Told]);
        mux.begin();
        sent(&mut mux);
        assert_eq!(answer(&mut mux, &[(id, 4)]), [Effect::Changed(id), Effect::Told]);
        let mut out = Vec::new();
        mux.put(usize::MAX, &mut out);
        let mut decoder = Decoder::new();
        decoder.push(&out);
        let mut data = Vec::new();
        while let Some(raw) = decoder.next_frame().unwrap() {
            if let Frame::ChannelData { offset, bytes, .. } = raw.parse().unwrap() {
                data.push((offset, bytes.to_vec()));
            }
        }
        assert_eq!(data, [(4, b"456789".to_vec())]);
    }

    #[test]
    fn one_failed_channel_ends_nothing_but_itself() {
        let mut mux = up();
        let (one, two) = (mux.open(to("a")).unwrap(), mux.open(to("b")).unwrap());
        sent(&mut mux);
        let refused = m::ChannelClose {
            channel: one,
            reason: ChannelFailure::Refused as i32,
            detail: "no\x1b[2J".into(),
        };
        let over = hear(&mut mux, &Frame::ChannelClose(refused));
        let failure = Failure { reason: ChannelFailure::Refused, detail: "no".into() };
        assert!(
            matches!(&over[..], [Effect::Over(id, Some(f))] if *id == one && f.reason == failure.reason),
            "{over:?}"
        );
        let bad = hear(&mut mux, &Frame::ChannelData { channel: two, offset: 9, bytes: b"x" });
        assert!(matches!(bad[..], [Effect::Over(id, Some(_))] if id == two), "{bad:?}");
        assert_eq!(sent(&mut mux), ["ChannelClose"]);
        assert!(mux.is_up() && mux.is_empty());
    }
}
