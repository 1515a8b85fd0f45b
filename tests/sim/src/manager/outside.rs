//! What comes from outside: connections, the disk, views.

use super::{Live, Nothing, Process};
use crate::host::raw;
use crate::net::{ConnId, Packet};
use sessd_core::dialling::Why;
use sessd_core::host::{self, Beside};
use sessd_core::link::{self, Link, LinkEnd};
use sessd_core::session::{self, WriteId};
use sessd_proto::Uuid;
use sessd_proto::docs::{Error, Kind};
use std::collections::BTreeMap;

impl Process {
    /// An attempt came to a connection, or to nothing.
    pub fn dialled(&mut self, host: usize, attempt: u64, conn: Result<ConnId, Why>) -> bool {
        let Some(number) = self.host(host).attempts.remove(&attempt) else { return false };
        let conn = match conn {
            Ok(conn) => conn,
            Err(why) => {
                let error = format!("{why:?}");
                let failed = host::Event::NotDialled { number, why, by_environment: false, error };
                self.host_event(host, failed);
                return false;
            }
        };
        let (now, version, heard_ms) = (self.duration(), self.version, self.now);
        let live = Live {
            conn,
            machine: Link::new(now, version),
            owners: BTreeMap::new(),
            requests: BTreeMap::new(),
            asked: 0,
            heard_ms,
        };
        self.host(host).links.insert(number, live);
        self.link_event(host, number, link::Event::Tick);
        self.host_event(host, host::Event::May(Beside::WhenLate));
        self.host_event(host, host::Event::Dialled(number));
        true
    }

    /// A frame came over a connection.
    pub fn frame(&mut self, host: usize, conn: ConnId, frame: Packet) {
        let now = self.now;
        if let Some((number, live)) = self.host(host).links.iter_mut().find(|(_, live)| live.conn == conn) {
            live.heard_ms = now;
            let number = *number;
            return self.link_event(host, number, link::Event::Frame(frame, &Nothing));
        }
        let now = self.duration();
        let draining = self.host(host).draining.iter_mut().find(|live| live.conn == conn);
        let Some(live) = draining else { return };
        live.machine.handle(now, link::Event::Frame(frame, &Nothing));
        let mut delivered = Vec::new();
        while let Some(effect) = live.machine.poll() {
            if let link::Effect::Deliver(stream, frame) = effect
                && let Some(task) = live.owners.get(&stream)
            {
                delivered.push((*task, stream, frame));
            }
        }
        for (task, stream, frame) in delivered {
            self.session_event(task, session::Event::Holder { stream, frame: raw(&frame.0) });
        }
    }

    /// A connection broke.
    pub fn broke(&mut self, host: usize, conn: ConnId) {
        let broken = self.host(host).links.iter().find(|(_, live)| live.conn == conn);
        if let Some(number) = broken.map(|(number, _)| *number) {
            self.link_event(host, number, link::Event::Ended(LinkEnd::Lost("it broke".into())));
        }
    }

    /// Something was written, or not.
    pub fn written(&mut self, task: u64, write: WriteId, is_written: bool) {
        let result = if is_written { Ok(()) } else { Err(Error::new(Kind::Failed, "the disk is full", "")) };
        self.session_event(task, session::Event::Written(write, result));
    }

    /// This machine slept.
    pub fn woke(&mut self) {
        for host in self.hosts.keys().copied().collect::<Vec<_>>() {
            self.host_event(host, host::Event::Woke);
        }
    }

    pub(super) fn task_of(&self, view: Uuid) -> Option<u64> {
        self.tasks.iter().find(|(_, task)| task.views.contains(&view)).map(|(number, _)| *number)
    }

    /// A frame of a view.
    pub fn view_frame(&mut self, view: Uuid, bytes: &[u8]) {
        if let Some(task) = self.task_of(view) {
            self.session_event(task, session::Event::View { view, frame: raw(bytes) });
        }
    }

    /// A view has read: so much waits for it.
    pub fn drained(&mut self, view: Uuid, waiting: usize) {
        if self.undrained.remove(&view)
            && let Some(task) = self.task_of(view)
        {
            self.session_event(task, session::Event::Drained { view, waiting });
        }
    }

    /// A view left.
    pub fn view_gone(&mut self, view: Uuid, on_purpose: bool) {
        if let Some(task) = self.task_of(view) {
            if let Some(there) = self.tasks.get_mut(&task) {
                there.views.remove(&view);
            }
            self.session_event(task, session::Event::ViewGone { view, on_purpose });
        }
    }
}
