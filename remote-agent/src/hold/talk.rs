//! What managers ask of a job and are told: one connection each, each with its own place in the output.

use super::{Holder, SOCKET, rules_of, size_of, snapshot_options};
use crate::conn::{Conn, OUT_LOW, OUT_MAX, Read};
use crate::input::Accept;
use crate::inventory::ADDRESS_MAX;
use crate::sizes::Sizes;
use crate::{VERSION, procfs, pty, steady_ms, wall_ms};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use sessd_proto::frame::put_snapshot;
use sessd_proto::limits::{CHUNK, SCROLLBACK_LINES, TEXT_SHOWN_MAX};
use sessd_proto::messages::{self as m, CloseReason, EndReason, ExitRecord, JobStatus};
use sessd_proto::{Frame, Uuid, hello};
use sessd_terminal::{Cursor, Hub, Next};
use std::os::unix::net::UnixStream;
use std::rc::Rc;

/// Managers that may watch one job at a time.
const LINKS_MAX: usize = 64;
/// Shortest time between two status messages.
const STATUS_MS: u64 = 500;
/// Managers that are remembered to have held the job.
const MANAGERS_MAX: usize = 64;

type Stream = Conn<Rc<UnixStream>, Rc<UnixStream>>;

/// What one manager wants of this job.
#[derive(Default)]
pub(super) struct Watch {
    /// It said what it wants.
    pub(super) subscribed: bool,
    /// Its first status is still to be sent.
    pub(super) status_due: bool,
    /// Where its output stands; none: it wants none.
    pub(super) cursor: Option<Cursor>,
    /// The last change of size it was told.
    pub(super) size_serial: u64,
    pub(super) scrollback_lines: usize,
    pub(super) presence: m::Presence,
    /// Asked for and not yet sent, as `from..to`.
    pub(super) range: Option<(u64, u64)>,
    pub(super) exit_sent: bool,
}

pub(super) struct Link {
    pub(super) conn: Stream,
    pub(super) watch: Watch,
    pub(super) broken: bool,
    /// When something came on it last.
    heard_ms: u64,
}

impl Link {
    /// When it counts as gone if nothing more is heard. One that comes through an agent is that agent's to close.
    pub(super) fn silent_at_ms(&self) -> Option<u64> {
        let silence = self.watch.presence.silence_ms;
        (silence > 0).then(|| self.heard_ms.saturating_add(silence))
    }
}

impl Holder {
    pub(super) fn accept(&mut self) {
        while let Ok((stream, _)) = self.listener.accept() {
            let own = rustix::process::getuid();
            let friend = getsockopt(&stream, PeerCredentials).is_ok_and(|peer| peer.uid() == own.as_raw());
            if !friend || self.links.len() >= LINKS_MAX {
                continue;
            }
            let stream = Rc::new(stream);
            if let Ok(mut conn) = Conn::new(stream.clone(), stream) {
                conn.put(0, &Frame::Hello(hello::hello(VERSION, "")));
                let heard_ms = self.now();
                self.links.push(Link { conn, watch: Watch::default(), broken: false, heard_ms });
            }
        }
    }

    pub(super) fn read_links(&mut self, ready: &[bool]) {
        let mut links = std::mem::take(&mut self.links);
        let (mut watchers_changed, now) = (false, self.now());
        // A connection accepted in this turn was not waited for.
        for (link, _) in links.iter_mut().zip(ready).filter(|(_, ready)| **ready) {
            link.heard_ms = now;
            match link.conn.read() {
                Ok(Read::Open) => {}
                Ok(Read::Closed) | Err(_) => link.broken = true,
            }
            let mut out = Vec::new();
            loop {
                let frame = match link.conn.next_frame() {
                    Ok(Some(raw)) => raw.parse(),
                    Ok(None) => break,
                    Err(invalid) => Err(invalid),
                };
                let result = match frame {
                    Ok(frame) => self.handle(&mut link.watch, frame, &mut out, &mut watchers_changed),
                    Err(invalid) => Err(invalid.to_string()),
                };
                if let Err(detail) = result {
                    Frame::Close(m::Close { reason: CloseReason::Protocol as i32, detail }).put(0, &mut out);
                    link.broken = true;
                    break;
                }
            }
            link.conn.out().extend_from_slice(&out);
        }
        self.links = links;
        if watchers_changed {
            self.watchers_changed();
        }
        self.tell_first_status(now);
    }

    /// The first status of a stream, once all links are in their places: who holds the job is part of it. Of a job that has
    /// ended there is nothing to say but how, after its last bytes.
    fn tell_first_status(&mut self, now: u64) {
        if !self.links.iter().any(|link| link.watch.status_due) {
            return;
        }
        let status = self.exit.is_none().then(|| self.look_at_status(now));
        for link in &mut self.links {
            if std::mem::take(&mut link.watch.status_due)
                && let Some(status) = &status
            {
                link.conn.put(0, &Frame::Status(status.clone()));
            }
        }
    }

    pub(super) fn handle(
        &mut self,
        watch: &mut Watch,
        frame: Frame<'_>,
        out: &mut Vec<u8>,
        watchers_changed: &mut bool,
    ) -> Result<(), String> {
        let now = self.now();
        match frame {
            Frame::Hello(theirs) => {
                hello::negotiate(&theirs).map_err(|skew| skew.to_string())?;
            }
            Frame::Ping(token) => Frame::Pong(token).put(0, out),
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
                if self.status.is_some() {
                    return Ok(());
                }
                self.idle.traffic(now);
                self.active_at_ms = steady_ms();
                let here = &self.views_here;
                let is_here = |id: Uuid| watch.presence.has(id) || here.contains(&id);
                let accepted = self.input.accept(view, seq, withdrawn, bytes, is_here);
                if withdrawn && let Some((from, to)) = self.input.withdrawn(view, seq) {
                    Frame::Withdrawn { view, from, to }.put(0, out);
                }
                match accepted {
                    Accept::New => self.asked.input(bytes),
                    Accept::Seen(seq) | Accept::Missing(seq) => Frame::InputAck { view, seq }.put(0, out),
                    Accept::TooMuch => return Err("a view sent more input than its window".into()),
                }
            }
            Frame::Resize(resize) => {
                if let Some(size) = size_of(resize.cols, resize.rows)
                    && size != self.hub.terminal().size()
                {
                    // The model first: the program may draw for the new size at once.
                    self.hub.flush_held();
                    self.hub.resize(size);
                    self.sizes.changed(self.hub.head(), size, self.hub.oldest());
                    // Fails only when the PTY is gone, which reading it tells.
                    let _ = pty::resize(&self.pty.master, size.cols, size.rows);
                    self.status_soon(now);
                }
            }
            Frame::End(end) => {
                let by = if end.by.is_empty() { &watch.presence.manager_name } else { &end.by };
                self.end(EndReason::try_from(end.reason).unwrap_or(EndReason::Deleted), end.force, by, now)
            }
            Frame::Presence(presence) => {
                for id in &presence.view_ids {
                    if let Ok(view) = Uuid::from_slice(id) {
                        let seq = self.input.written(view).unwrap_or(0);
                        Frame::InputAck { view, seq }.put(0, out);
                    }
                }
                self.remember(&presence.manager_id);
                watch.presence = presence;
                *watchers_changed = true;
                if watch.presence.views == 0 && watch.presence.left_on_purpose {
                    self.left_on_purpose = true;
                }
            }
            Frame::Describe(new) => {
                if !new.keep_name {
                    self.spec.name = new.name;
                }
                if !new.keep_tags {
                    self.spec.tags = new.tags;
                }
                (self.spec.idle_timeout_ms, self.spec.reap_unattended) =
                    (new.idle_timeout_ms, new.reap_unattended);
                self.idle.set_rules(rules_of(&self.spec));
                self.look_no_later(now);
                // The manager keeps what its user said. Ours is for whoever adopts the job; of one that has ended, whoever
                // forgets it may be taking the folder away just now.
                if self.exit.is_none() {
                    self.keep(|wanted| wanted.spec = true);
                }
            }
            Frame::ExitAck(_) => self.exit_acked(now),
            Frame::Unknown(kind) if kind & sessd_proto::frame::IGNORABLE == 0 => {
                Frame::Unsupported(m::Unsupported { kind: kind.into() }).put(0, out);
            }
            // Frames of the other direction, and what may be ignored.
            _ => {}
        }
        Ok(())
    }

    pub(super) fn watchers_changed(&mut self) {
        let now = self.now();
        let attached = self.links.iter().any(|l| l.watch.presence.views > 0);
        let ids = self.links.iter().flat_map(|l| &l.watch.presence.view_ids);
        self.views_here = ids.filter_map(|id| Uuid::from_slice(id).ok()).collect();
        let on_purpose = std::mem::take(&mut self.left_on_purpose);
        self.idle.views(attached, on_purpose, now);
        self.look_no_later(now);
        // Who holds the job is part of its status, and so is when it ends.
        self.status_soon(now);
        if self.interactive() {
            self.hub.flush_held();
        } else {
            // Who was asked has left without a word: we answer in its place.
            let mut replies = Vec::new();
            for query in self.asked.left(now) {
                self.hub.answer(&query, &mut replies);
            }
            self.input.answer(&replies);
        }
    }

    /// A manager holds the job: its exit record is kept for it.
    pub(super) fn remember(&mut self, manager_id: &str) {
        let known = self.managers.iter().any(|id| id == manager_id);
        if !known && self.managers.len() < MANAGERS_MAX && Uuid::parse_str(manager_id).is_ok() {
            self.managers.push(manager_id.to_owned());
            self.keep(|wanted| wanted.managers = true);
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

    /// Our socket for whoever is not inside the job's folder. A path that is too long for an address leads through our
    /// own entry in /proc, whose current folder is the job's.
    fn socket_path(&self) -> String {
        match self.folder.path().join(SOCKET).into_os_string().into_string() {
            Ok(path) if path.len() <= ADDRESS_MAX => path,
            _ => format!("/proc/{}/cwd/{SOCKET}", std::process::id()),
        }
    }

    pub(super) fn status_soon(&mut self, now: u64) {
        if self.exit.is_none() {
            self.status_due_ms.get_or_insert(now + STATUS_MS);
        }
    }

    /// What is not protected on this host, and a disk that does not answer.
    pub(super) fn warnings_now(&self) -> Vec<String> {
        self.warnings.iter().cloned().chain(self.keep.warning()).collect()
    }

    pub(super) fn look_at_status(&mut self, now: u64) -> JobStatus {
        if let Some(kills) = &mut self.memory_kills {
            kills.look(now);
        }
        if !self.idle.is_watched() {
            // What was typed or written since the last look may have begun something, or been its end.
            self.look(now);
        }
        let terminal = self.hub.terminal();
        let (size, now_ms) = (terminal.size(), wall_ms());
        let status = JobStatus {
            head: self.hub.head(),
            oldest: self.hub.oldest(),
            cols: size.cols.into(),
            rows: size.rows.into(),
            title: shown(terminal.title()),
            cwd: terminal.cwd().map(shown).or_else(|| cwd_of(self.pid)).unwrap_or_default(),
            foreground: pty::foreground(&self.pty.master)
                .and_then(procfs::stat)
                .map(|s| s.comm)
                .unwrap_or_default(),
            pid: self.pid,
            last_active_ms: now_ms.saturating_sub(ago_ms(self.active_at_ms)),
            idle_ms: self.idle.idle_ms(now),
            reap_at_ms: self.idle.warning_ms(now).map(|ms| now_ms + ms),
            agent_version: VERSION.to_owned(),
            command: self.pty.command.clone(),
            managers: self.managers_now(),
            warnings: self.warnings_now(),
            socket: self.socket_path(),
            now_ms,
            ..JobStatus::default()
        };
        self.last_status = status.clone();
        status
    }

    /// Hands every link what it is due, and lets go of the broken ones.
    pub(super) fn serve_links(&mut self, now: u64) {
        if self.status_due_ms.is_some_and(|at| now >= at) {
            self.status_due_ms = None;
            let status = self.look_at_status(now);
            for link in &mut self.links {
                link.conn.put(0, &Frame::Status(status.clone()));
            }
        }
        let waits = |link: &Link| link.watch.subscribed && !link.watch.exit_sent;
        let told = self.keep.may_tell_exit(now) && self.links.iter().any(waits);
        let exit = if told { self.told_exit() } else { None };
        let acks_due = self.acks.due_ms().is_some_and(|at| now >= at);
        for link in &mut self.links {
            let before = link.conn.waiting();
            pump(&self.hub, &self.sizes, link);
            // What was typed is acknowledged together with what came of it: one wake-up on the way back, not two.
            if acks_due || link.conn.waiting() > before {
                self.acks.put(&link.watch.presence.view_ids, &mut link.conn);
            }
            if let Some(exit) = &exit
                && !link.watch.exit_sent
                && link.watch.subscribed
                && link.watch.cursor.as_ref().is_none_or(|c| c.offset() >= self.hub.head())
            {
                link.watch.exit_sent = true;
                let age_ms = Some(ago_ms(self.ended_at_ms));
                link.conn.put(0, &Frame::Exited(ExitRecord { age_ms, ..exit.clone() }));
            }
            match link.conn.flush() {
                Ok(Read::Open) => {}
                Ok(Read::Closed) | Err(_) => link.broken = true,
            }
            link.broken |= link.conn.waiting() > OUT_MAX || link.silent_at_ms().is_some_and(|at| now >= at);
        }
        if acks_due {
            self.acks.forget();
        }
        let before = self.links.len();
        self.links.retain(|link| !link.broken);
        if self.links.len() != before {
            self.watchers_changed();
        }
    }
}

fn ago_ms(at_ms: u64) -> u64 {
    steady_ms().saturating_sub(at_ms)
}

/// Acknowledgements on their way. They wait a moment for the output that the input brings, so that the echo of a key does
/// not have to share its way with them.
#[derive(Default)]
pub(super) struct Acks {
    waiting: Vec<(Uuid, u64)>,
    bytes: usize,
    due_ms: Option<u64>,
}

impl Acks {
    /// How long one waits at the most.
    const WAIT_MS: u64 = 20;
    /// After so many bytes it does not wait: the view's window is to stay open.
    const BYTES: usize = 4096;

    pub(super) fn wrote(&mut self, view: Uuid, seq: u64, n: usize, now: u64) {
        match self.waiting.iter_mut().find(|(id, _)| *id == view) {
            Some((_, last)) => *last = seq,
            None => self.waiting.push((view, seq)),
        }
        self.bytes += n;
        let due = if self.bytes >= Self::BYTES { now } else { now + Self::WAIT_MS };
        self.due_ms = Some(self.due_ms.map_or(due, |at| at.min(due)));
    }

    pub(super) fn due_ms(&self) -> Option<u64> {
        self.due_ms
    }

    /// Tells a link about its own views.
    fn put(&mut self, views: &[Vec<u8>], conn: &mut Stream) {
        self.waiting.retain(|(view, seq)| {
            let theirs = views.iter().any(|id| id.as_slice() == view.as_bytes());
            if theirs {
                conn.put(0, &Frame::InputAck { view: *view, seq: *seq });
            }
            !theirs
        });
        if self.waiting.is_empty() {
            self.forget();
        }
    }

    /// What waits still is of views that are gone; they ask when they come back.
    fn forget(&mut self) {
        self.waiting.clear();
        (self.bytes, self.due_ms) = (0, None);
    }
}

fn pump(hub: &Hub, sizes: &Sizes, link: &mut Link) {
    if let Some((from, to)) = link.watch.range.take() {
        put_range(hub, from, to, link.conn.out());
    }
    let Some(cursor) = &mut link.watch.cursor else { return };
    while link.conn.waiting() < OUT_LOW {
        let mut room = CHUNK;
        if let Some((at, size, serial)) = sizes.after(link.watch.size_serial) {
            if at <= cursor.offset() {
                link.watch.size_serial = serial;
                link.conn
                    .put(0, &Frame::Resize(m::Resize { cols: size.cols.into(), rows: size.rows.into() }));
                continue;
            }
            room = room.min((at - cursor.offset()) as usize);
        }
        match cursor.next(hub, room) {
            Next::Bytes { offset, bytes } => link.conn.put(0, &Frame::Output { offset, bytes }),
            Next::Snapshot { at, skipped } => {
                let mut snapshot = Vec::new();
                hub.terminal().snapshot(snapshot_options(link.watch.scrollback_lines), &mut snapshot);
                cursor.charge(snapshot.len() as u64);
                link.watch.size_serial = sizes.latest();
                let size = hub.terminal().size();
                put_snapshot(0, at, skipped, (size.cols, size.rows), &snapshot, link.conn.out());
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

/// As much of a text as a status carries.
fn shown(text: &str) -> String {
    text[..text.floor_char_boundary(TEXT_SHOWN_MAX)].to_owned()
}

fn cwd_of(pid: u32) -> Option<String> {
    Some(std::fs::read_link(format!("/proc/{pid}/cwd")).ok()?.to_string_lossy().into_owned())
}
