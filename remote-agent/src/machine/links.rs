//! What managers ask of a job and are told: one link each, each with its own place in the output.

use super::output::LOSSLESS_LAG;
use super::{Effect, HolderMachine, LinkId, Now, rules_of, size_of, snapshot_options};
use crate::VERSION;
use crate::machine::input::Accept;
use crate::machine::outbox::{OUT_LOW, OUT_MAX, Outbox};
use crate::machine::sizes::Sizes;
use crate::machine::told::of_a_terminal_only;
use sessd_proto::frame::put_snapshot;
use sessd_proto::limits::{CHUNK, SCROLLBACK_LINES};
use sessd_proto::messages::{self as m, CloseReason, EndReason, ExitRecord};
use sessd_proto::{Frame, Uuid, hello};
use sessd_terminal::{Cursor, Hub, Next};

/// Managers that may watch one job at a time.
const LINKS_MAX: usize = 64;
/// Managers that are remembered to have held the job.
const MANAGERS_MAX: usize = 64;

/// What one manager wants of this job.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// It said what it wants.
    subscribed: bool,
    /// Its first status is still to be sent.
    pub(super) status_due: bool,
    /// Where its output stands; none: it wants none.
    cursor: Option<Cursor>,
    /// The last change of size it was told.
    size_serial: u64,
    scrollback_lines: usize,
    pub(super) presence: m::Presence,
    /// Asked for and not yet sent, as `from..to`.
    range: Option<(u64, u64)>,
    exit_sent: bool,
}

/// One connection of a manager.
#[derive(Debug)]
pub(super) struct ManagerLink {
    pub(super) id: LinkId,
    pub(super) out: Outbox,
    pub(super) watch: Watch,
    /// It is to be closed, and nothing it says counts any more.
    closing: bool,
    /// More would be sent, and there was no room for it.
    full: bool,
    /// When something came on it last.
    heard_ms: u64,
}

impl ManagerLink {
    /// When it counts as gone if nothing more is heard. One that comes through an agent is that agent's to close.
    pub(super) fn silent_at_ms(&self) -> Option<u64> {
        let silence = self.watch.presence.silence_ms;
        (silence > 0 && !self.closing).then(|| self.heard_ms.saturating_add(silence))
    }

    pub(super) fn is_interactive(&self) -> bool {
        self.watch.presence.interactive
    }

    /// A lossless view behind it is so far behind that the job has to wait.
    pub(super) fn holds_back(&self, head: u64) -> bool {
        let behind = |cursor: &Cursor| head - cursor.offset().min(head) > LOSSLESS_LAG;
        self.watch.presence.lossless && self.watch.cursor.as_ref().is_some_and(behind)
    }

    /// It said what it wants, and hears what is told.
    pub(super) fn listens(&self) -> bool {
        self.watch.subscribed && !self.closing
    }

    /// How far a view behind it that is to miss nothing was sent the output.
    pub(super) fn reads_all_to(&self) -> Option<u64> {
        self.watch.presence.lossless.then(|| self.watch.cursor.as_ref().map(Cursor::offset)).flatten()
    }

    /// What it was too full for can go on.
    pub(super) fn has_room_again(&self) -> bool {
        self.full && !self.closing && self.out.waiting() < OUT_LOW
    }
}

impl HolderMachine {
    /// Is there room for one more manager? Where there is not, its connection is closed without a word.
    pub fn takes_links(&self) -> bool {
        self.links.len() < LINKS_MAX
    }

    /// What is to be sent on a link next.
    pub fn unsent(&self, link: LinkId) -> &[u8] {
        self.links.iter().find(|l| l.id == link).map_or(&[], |l| l.out.unsent())
    }

    fn link_mut(&mut self, id: LinkId) -> Option<&mut ManagerLink> {
        self.links.iter_mut().find(|link| link.id == id)
    }

    pub(super) fn opened(&mut self, id: LinkId, now: Now) {
        let mut out = Outbox::default();
        out.put(0, &Frame::Hello(hello::hello(VERSION, "")));
        let (watch, heard_ms) = (Watch::default(), now.ms);
        self.links.push(ManagerLink { id, out, watch, closing: false, full: false, heard_ms });
    }

    pub(super) fn was_sent(&mut self, id: LinkId, n: usize) {
        if let Some(link) = self.link_mut(id) {
            link.out.was_sent(n);
        }
    }

    pub(super) fn closed(&mut self, id: LinkId) {
        let before = self.links.len();
        self.links.retain(|link| link.id != id);
        self.watchers_changed |= self.links.len() != before;
    }

    /// Lets go of a link.
    fn close(&mut self, at: usize) {
        let link = &mut self.links[at];
        if !std::mem::replace(&mut link.closing, true) {
            self.effects.push_back(Effect::Close(link.id));
        }
    }

    /// A manager broke the protocol: it is told so.
    pub(super) fn refuse(&mut self, id: LinkId, detail: String) {
        let Some(at) = self.links.iter().position(|link| link.id == id && !link.closing) else { return };
        self.links[at].out.put(0, &Frame::Close(m::Close { reason: CloseReason::Protocol as i32, detail }));
        self.close(at);
    }

    pub(super) fn heard(&mut self, id: LinkId, frame: Frame<'_>, now: Now) {
        let Some(at) = self.links.iter().position(|link| link.id == id && !link.closing) else { return };
        self.links[at].heard_ms = now.ms;
        if let Err(detail) = self.frame(at, frame, now) {
            self.refuse(id, detail);
        }
    }

    fn frame(&mut self, at: usize, frame: Frame<'_>, now: Now) -> Result<(), String> {
        let ManagerLink { watch, out, .. } = &mut self.links[at];
        match frame {
            Frame::Hello(theirs) => {
                hello::negotiate(&theirs).map_err(|skew| skew.to_string())?;
            }
            Frame::Ping(token) => out.put(0, &Frame::Pong(token)),
            Frame::Subscribe(subscribe) => {
                let mut cursor = match subscribe.from {
                    Some(from) => {
                        watch.size_serial = self.sizes.before(from);
                        Cursor::at(from)
                    }
                    None => Cursor::needing_snapshot(),
                };
                cursor.grant(subscribe.credit);
                watch.cursor = (!subscribe.status_only).then_some(cursor);
                watch.subscribed = true;
                watch.scrollback_lines = (subscribe.scrollback_lines as usize).min(SCROLLBACK_LINES);
                watch.status_due = true;
            }
            Frame::Unsubscribe(_) => watch.cursor = None,
            Frame::Credit(total) => {
                if let Some(cursor) = &mut watch.cursor {
                    cursor.grant(total);
                }
            }
            Frame::ReadRange(range) => {
                watch.range = Some((range.from, range.to.min(self.hub.head())));
            }
            Frame::Input { view, seq, withdrawn, bytes } => {
                if self.ended.is_some() {
                    return Ok(());
                }
                self.idle.traffic(now.ms);
                self.active_at_ms = now.steady_ms;
                let here = &self.views_here;
                let is_here = |id: Uuid| watch.presence.has(id) || here.contains(&id);
                // The session speaks for its terminals there: the job is not told twice, nor of one that leaves again.
                let plain = self.job.spec.plain;
                let passed_over = if plain { Vec::new() } else { of_a_terminal_only(bytes) };
                let accepted = self.input.accept_without(view, seq, withdrawn, bytes, &passed_over, is_here);
                if withdrawn && let Some((from, to)) = self.input.withdrawn(view, seq) {
                    out.put(0, &Frame::Withdrawn { view, from, to });
                }
                match accepted {
                    Accept::New => {
                        let link = self.links[at].id;
                        self.channels.typed_through(link);
                        self.hub.hear(bytes);
                        self.asked.input(bytes, &passed_over);
                        self.told.typed(now.ms);
                        if sessd_terminal::is_typing(bytes) {
                            self.activity.typed();
                        }
                    }
                    Accept::Seen(seq) | Accept::Missing(seq) => out.put(0, &Frame::InputAck { view, seq }),
                    Accept::TooMuch => return Err("a view sent more input than its window".into()),
                }
            }
            Frame::Resize(resize) => self.resize(&resize, now),
            Frame::End(end) => {
                let by = if end.by.is_empty() { watch.presence.manager_name.clone() } else { end.by };
                let reason = EndReason::try_from(end.reason).unwrap_or(EndReason::Deleted);
                if reason == EndReason::Deleted {
                    // Who is here reads on; for nobody else it waits with what it wrote, or with its end.
                    self.plain.no_reader_is_expected();
                }
                self.end(reason, end.force, &by, now);
            }
            Frame::Presence(presence) => {
                for id in &presence.view_ids {
                    if let Ok(view) = Uuid::from_slice(id) {
                        let seq = self.input.written(view).unwrap_or(0);
                        out.put(0, &Frame::InputAck { view, seq });
                    }
                }
                self.watchers_changed = true;
                self.left_on_purpose |= presence.views == 0 && presence.left_on_purpose;
                if let Some(traits) = presence.traits {
                    self.told.traits = Some(traits);
                }
                watch.presence = presence;
                let manager = watch.presence.manager_id.clone();
                self.remember(&manager);
            }
            Frame::Describe(new) => self.describe(new, now),
            Frame::ExitAck(_) => self.exit_acked(now),
            Frame::Send(send) => {
                let sent = self.take_send(send, now);
                self.links[at].out.put(0, &Frame::Sent(sent));
            }
            Frame::Report(report) => {
                let sent = self.reported(&report, now);
                self.links[at].out.put(0, &Frame::Sent(sent));
            }
            Frame::InputEnd(end) => {
                if let Ok(view) = Uuid::from_slice(&end.view) {
                    self.plain.input_ends(view, end.seq);
                }
            }
            Frame::Forwards(_)
            | Frame::ChannelSync(_)
            | Frame::ChannelOpen(_)
            | Frame::ChannelOpened(_)
            | Frame::ChannelClose(_)
            | Frame::ChannelData { .. }
            | Frame::ChannelEnd { .. }
            | Frame::ChannelCredit { .. } => {
                let link = self.links[at].id;
                self.heard_of_channels(link, frame, now);
            }
            Frame::Unknown(kind) if kind & sessd_proto::frame::IGNORABLE == 0 => {
                out.put(0, &Frame::Unsupported(m::Unsupported { kind: kind.into() }));
            }
            // Frames of the other direction, and what may be ignored.
            _ => {}
        }
        Ok(())
    }

    fn resize(&mut self, resize: &m::Resize, now: Now) {
        let Some(size) = size_of(resize.cols, resize.rows) else { return };
        if size == self.hub.terminal().size() {
            return;
        }
        // The model first: the program may draw for the new size at once.
        self.hub.flush_held();
        self.hub.resize(size);
        self.sizes.changed(self.hub.head(), size, self.hub.oldest());
        self.effects.push_back(Effect::Resize(size));
        self.tell_size();
        self.status_soon(now);
    }

    fn describe(&mut self, new: m::Describe, now: Now) {
        let spec = &mut self.job.spec;
        if !new.keep_name {
            spec.name = new.name;
        }
        if !new.keep_tags {
            spec.tags = new.tags;
        }
        (spec.idle_timeout_ms, spec.reap_unattended) = (new.idle_timeout_ms, new.reap_unattended);
        self.idle.set_rules(rules_of(&self.job.spec));
        self.look_no_later(now);
        // The manager keeps what its user said. Ours is for whoever adopts the job; of one that has ended, whoever
        // forgets it may be taking the folder away just now.
        if self.exit.is_none() {
            self.keep.wanted.spec = true;
        }
    }

    /// Views or managers came or went.
    pub(super) fn look_at_watchers(&mut self, now: Now) {
        let attached = self.links.iter().any(|l| l.watch.presence.views > 0);
        // A plain job has no terminal that would echo.
        let predicts = |link: &ManagerLink| !link.watch.presence.predicting.is_empty();
        self.echoes.wanted(!self.job.spec.plain && self.links.iter().any(predicts));
        let ids = self.links.iter().flat_map(|l| &l.watch.presence.view_ids);
        self.views_here = ids.filter_map(|id| Uuid::from_slice(id).ok()).collect();
        let on_purpose = std::mem::take(&mut self.left_on_purpose);
        if on_purpose && !attached {
            self.plain.no_reader_is_expected();
        }
        self.idle.views(attached, on_purpose, now.ms);
        self.look_no_later(now);
        // Who holds the job is part of its status, and so is when it ends.
        self.status_soon(now);
        self.tell_focus(now);
        if self.interactive() {
            self.hub.flush_held();
        } else {
            // Who was asked has left without a word: we answer in its place.
            let mut replies = Vec::new();
            for query in self.asked.left(now.ms) {
                self.hub.answer(&query, &mut replies);
            }
            self.input.answer(&replies);
        }
    }

    /// Wants to know how the terminal takes what is typed, where a view is to be told.
    pub(super) fn look_at_echo(&mut self, now: Now) {
        let settled = self.takes_output();
        if self.ended.is_none() && self.echoes.asks(settled, now.ms) {
            self.effects.push_back(Effect::Discipline);
        }
    }

    /// A manager holds the job: its exit record is kept for it.
    fn remember(&mut self, manager_id: &str) {
        let managers = &mut self.job.managers;
        let known = managers.iter().any(|id| id == manager_id);
        if !known && managers.len() < MANAGERS_MAX && Uuid::parse_str(manager_id).is_ok() {
            managers.push(manager_id.to_owned());
            self.keep.wanted.managers = true;
        }
    }

    /// The managers that are connected, by name, each once. Two may have one name; one may have two links for a moment.
    pub(super) fn managers_now(&self) -> Vec<String> {
        let mut seen: Vec<(&str, &str)> = Vec::new();
        for presence in self.links.iter().map(|link| &link.watch.presence) {
            let manager = (presence.manager_id.as_str(), presence.manager_name.as_str());
            if !manager.1.is_empty() && !seen.contains(&manager) {
                seen.push(manager);
            }
        }
        seen.into_iter().map(|(_, name)| name.to_owned()).collect()
    }

    /// Gives every link what it is due, and lets go of the broken ones.
    pub(super) fn serve_links(&mut self, now: Now) {
        self.ask_for_status(now);
        self.notices.tell(&mut self.links, now);
        let waits = |link: &ManagerLink| link.watch.subscribed && !link.watch.exit_sent;
        self.look_at_readers(now);
        let may = self.keep.may_tell_exit(now.ms) && self.may_tell_plain_end(now);
        let told = may && self.links.iter().any(waits);
        let exit = if told { self.told_exit() } else { None };
        let acks_due = self.acks.due_ms().is_some_and(|at| now.ms >= at);
        for link in self.links.iter_mut().filter(|link| !link.closing) {
            let before = link.out.waiting();
            pump(&self.hub, &self.sizes, self.job.spec.plain, link);
            // What was typed is acknowledged together with what came of it: one wake-up on the way back, not two.
            if acks_due || link.out.waiting() > before {
                self.acks.are_due(&link.watch.presence.view_ids);
            }
        }
        self.put_channels();
        for link in self.links.iter_mut().filter(|link| !link.closing) {
            self.acks.put(&link.watch.presence.view_ids, &mut link.out);
            if let Some(exit) = &exit
                && !link.watch.exit_sent
                && link.watch.subscribed
                && link.watch.cursor.as_ref().is_none_or(|c| c.offset() >= self.hub.head())
            {
                link.watch.exit_sent = true;
                let age_ms = Some(now.steady_ms.saturating_sub(self.ended_at_ms));
                link.out.put(0, &Frame::Exited(ExitRecord { age_ms, ..exit.clone() }));
            }
        }
        for link in self.links.iter_mut().filter(|link| !link.closing) {
            let ManagerLink { watch, out, .. } = link;
            self.echoes.put(&watch.presence.predicting, self.hub.head(), |frame| out.put(0, frame));
        }
        self.echoes.told();
        self.acks.told();
        if acks_due {
            self.acks.forget();
        }
        self.look_at_readers(now);
        for at in 0..self.links.len() {
            let link = &self.links[at];
            if link.out.waiting() > OUT_MAX || link.silent_at_ms().is_some_and(|at| now.ms >= at) {
                self.close(at);
            }
        }
    }
}

fn pump(hub: &Hub, sizes: &Sizes, plain: bool, link: &mut ManagerLink) {
    if let Some((from, to)) = link.watch.range.take() {
        put_range(hub, from, to, link.out.end());
    }
    link.full = false;
    let presence = &link.watch.presence;
    let Some(cursor) = &mut link.watch.cursor else { return };
    // A job's bytes that no terminal gets have no screen that would stand for them.
    let lag_max = presence.lag_max.filter(|_| !presence.lossless && !plain);
    cursor.set_max_lag(lag_max.unwrap_or(u64::MAX));
    loop {
        if link.out.waiting() >= OUT_LOW {
            link.full = true;
            break;
        }
        let mut room = CHUNK;
        if let Some((at, size, serial)) = sizes.after(link.watch.size_serial) {
            if at <= cursor.offset() {
                link.watch.size_serial = serial;
                link.out.put(0, &Frame::Resize(m::Resize { cols: size.cols.into(), rows: size.rows.into() }));
                continue;
            }
            room = room.min((at - cursor.offset()) as usize);
        }
        match cursor.next(hub, room) {
            Next::Bytes { offset, bytes } => link.out.put(0, &Frame::Output { offset, bytes }),
            Next::Snapshot { at, skipped } => {
                let mut snapshot = Vec::new();
                let mut lines = link.watch.scrollback_lines;
                if let Some(most) = presence.lag_lines.filter(|_| skipped > 0) {
                    lines = lines.min(most as usize);
                }
                hub.terminal().snapshot(snapshot_options(lines), &mut snapshot);
                cursor.charge(snapshot.len() as u64);
                link.watch.size_serial = sizes.latest();
                let size = hub.terminal().size();
                put_snapshot(0, at, skipped, (size.cols, size.rows), &snapshot, link.out.end());
            }
            Next::NoCredit | Next::Idle => break,
        }
    }
}

/// Answers a range read. At most one ring's worth, so it is bounded like a snapshot is.
fn put_range(hub: &Hub, from: u64, to: u64, out: &mut Vec<u8>) {
    let mut at = from.max(hub.oldest());
    let expired = at != from;
    while at < to {
        let Ok(bytes) = hub.read(at, CHUNK.min((to - at) as usize)) else { break };
        if bytes.is_empty() {
            break;
        }
        Frame::Range { offset: at, more: true, expired, bytes }.put(0, out);
        at += bytes.len() as u64;
    }
    Frame::Range { offset: at, more: false, expired, bytes: &[] }.put(0, out);
}
