//! What managers and hosts have done by others: it is on its way from here on.

use super::{Happening, Sent, World};
use crate::host::Doing as HostDoing;
use crate::manager::Doing;
use crate::net::{Conn, ConnId};
use crate::promises;
use sessd_core::session::Write;

impl World {
    pub(super) fn drain_manager(&mut self, manager: usize) {
        while let Some(process) = &mut self.managers[manager].process
            && let Some(doing) = process.doing.pop_front()
        {
            let life = process.life;
            match doing {
                Doing::Dial { host, attempt } => {
                    let takes = self.rng.within(20, 400);
                    self.at(self.now + takes, Happening::Dialled { manager, life, host, attempt });
                }
                Doing::Send(conn, bytes) => self.sends(conn, true, bytes),
                Doing::HangUp(conn) => {
                    self.note(|| format!("{conn} is hung up"));
                    self.cut(conn, false);
                    if let Some(there) = self.conns.get_mut(&conn) {
                        there.drains = true;
                    }
                }
                Doing::Write { task, write, what } => {
                    self.note(|| {
                        format!(
                            "{manager}/{task} writes {}",
                            match &what {
                                Write::Save(record) | Write::Done(record, _) => format!("{:?}", record.state),
                                Write::Forget => "forget".to_owned(),
                            }
                        )
                    });
                    let takes = if self.rng.chance(5) { 2_000 } else { self.rng.within(1, 30) };
                    self.at(self.now + takes, Happening::Written { manager, life, task, write, what });
                }
                Doing::Save(record, verb) => {
                    let takes = self.rng.within(1, 60);
                    self.at(self.now + takes, Happening::Saved { manager, life, record, verb });
                }
                Doing::ToView(view, bytes) => {
                    self.note(|| {
                        let frames = crate::net::decoded(&bytes);
                        let words: Vec<_> = frames.iter().map(|frame| Self::words(frame)).collect();
                        format!("view {view} gets {}", words.join("; "))
                    });
                    if let Some(number) = self.views.iter().position(|v| v.id == view)
                        && self.views[number].life == Some(life)
                    {
                        self.views[number].unread.extend(bytes);
                        let reads = self.views[number].slow_until.max(self.now + 1);
                        self.at(reads, Happening::View(number));
                    }
                }
                Doing::CloseView(view) => {
                    if let Some(number) = self.views.iter().position(|v| v.id == view) {
                        self.read(number);
                        promises::view_was_closed(self, number);
                        self.views[number].lost(self.now, self.now + 300);
                        self.at(self.now + 300, Happening::View(number));
                    }
                }
                Doing::Sent(number, job, queued) => {
                    self.sent[number] = Sent { job: Some(job), queued };
                }
                Doing::Refused(view) => {
                    if let Some(number) = self.views.iter().position(|v| v.id == view) {
                        self.views[number].lost(self.now, self.now + 500);
                        self.at(self.now + 500, Happening::View(number));
                    }
                }
            }
        }
    }

    pub(super) fn drain_host(&mut self, host: usize) {
        while !self.hosts[host].doing.is_empty() {
            for doing in std::mem::take(&mut self.hosts[host].doing) {
                match doing {
                    HostDoing::Send(conn, bytes) => self.sends(conn, false, bytes),
                    HostDoing::Act(conn, id, act) => {
                        let there = &self.hosts[host];
                        let at =
                            (self.now + self.rng.within(1, 40)).max(there.stuck_until).max(there.disk_until);
                        self.at(at, Happening::Act(conn, id, act));
                    }
                    HostDoing::Keep(job, keeping) => {
                        let at = (self.now + self.rng.within(1, 30)).max(self.hosts[host].disk_until);
                        self.at(at, Happening::Kept(host, job, keeping));
                    }
                    HostDoing::Signal(job, step) => {
                        // Some programs take their time, and some take no notice of all but the last.
                        let takes = self.rng.within(1, 50);
                        self.at(self.now + takes, Happening::Signal(host, job, step));
                    }
                }
            }
        }
    }

    /// What a frame is, in few words.
    fn words(bytes: &[u8]) -> String {
        let raw = crate::host::raw(bytes);
        let text = match raw.parse() {
            Ok(frame) => format!("{frame:?}"),
            Err(_) => "?".into(),
        };
        format!("[{}] {}", raw.stream, text.chars().take(160).collect::<String>())
    }

    pub(super) fn sends(&mut self, conn: ConnId, to_host: bool, bytes: Vec<u8>) {
        self.note(|| format!("{conn} {} {}", if to_host { "->" } else { "<-" }, Self::words(&bytes)));
        let takes = self.rng.within(1, 80);
        let Some(there) = self.conns.get_mut(&conn).filter(|there| !there.cut) else { return };
        let stuck = if to_host { self.hosts[there.host].stuck_until } else { 0 };
        let stream = crate::host::raw(&bytes).stream;
        let at = there.arrival(to_host, stream, self.now, takes).max(stuck);
        self.at(at, if to_host { Happening::ToHost(conn, bytes) } else { Happening::ToManager(conn, bytes) });
    }

    /// A connection is over: nothing that is on its way arrives, and each end learns of it, sooner or later.
    pub(super) fn cut(&mut self, conn: ConnId, in_silence: bool) {
        let Some(there) = self.conns.get_mut(&conn).filter(|there| !there.cut) else { return };
        there.cut = true;
        let (manager, host) = (there.manager, there.host);
        promises::way_was_cut(self, manager, host);
        let (soon, late) = (self.rng.within(1, 100), self.rng.within(20_000, 60_000));
        let after = if in_silence { late } else { soon };
        self.at(self.now + after, Happening::HostLost(conn));
        self.at(self.now + after, Happening::ManagerLost(conn));
    }

    pub(super) fn cut_all(&mut self, of: impl Fn(&Conn) -> bool, in_silence: bool) {
        let conns: Vec<_> = self.conns.iter().filter(|(_, conn)| of(conn)).map(|(id, _)| *id).collect();
        for conn in conns {
            self.cut(conn, in_silence);
        }
    }
}
