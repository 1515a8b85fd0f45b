//! What was on its way arrives.

use super::{Happening, World};
use crate::host::raw;
use crate::job::Cause;
use crate::manager::{Process, Store};
use crate::net::{Conn, Packet};
use crate::promises;
use sessd_core::dialling::Why;
use sessd_core::session::Write;
use sessd_proto::messages::{Inventory, LinkAnswer, LinkReply};
use sessd_proto::{Frame, Uuid};

impl World {
    pub(super) fn happens(&mut self, happening: Happening) {
        match happening {
            Happening::Deed(step) => {
                self.note(|| step.to_string());
                self.does(step);
            }
            Happening::ToHost(conn, bytes) => {
                let Some(there) = self.conns.get(&conn).filter(|there| !there.cut) else { return };
                let host = there.host;
                if self.hosts[host].down_until <= self.now {
                    self.hosts[host].frame(self.now, conn, &bytes);
                    self.drain_host(host);
                }
            }
            Happening::ToManager(conn, bytes) => {
                let arrives = |there: &&Conn| !there.cut || there.drains;
                let Some(there) = self.conns.get(&conn).filter(arrives) else { return };
                let (manager, life, host) = (there.manager, there.life, there.host);
                if self.managers[manager].asleep_until > self.now {
                    let until = self.managers[manager].asleep_until;
                    return self.at(until, Happening::ToManager(conn, bytes));
                }
                if self.managers[manager].life == life {
                    self.with(manager, |process| process.frame(host, conn, Packet(bytes)));
                }
            }
            Happening::HostLost(conn) => {
                if let Some(there) = self.conns.get(&conn) {
                    let host = there.host;
                    self.hosts[host].disconnected(self.now, conn);
                    self.drain_host(host);
                }
            }
            Happening::ManagerLost(conn) => {
                if let Some(there) = self.conns.get(&conn) {
                    let (manager, life, host) = (there.manager, there.life, there.host);
                    if self.managers[manager].life == life {
                        self.with(manager, |process| process.broke(host, conn));
                    }
                }
            }
            Happening::Dialled { manager, life, host, attempt } => {
                if self.managers[manager].life != life || self.managers[manager].process.is_none() {
                    return;
                }
                let until = self.managers[manager].asleep_until;
                if until > self.now {
                    return self.at(until, Happening::Dialled { manager, life, host, attempt });
                }
                if !self.hosts[host].is_reachable(self.now) {
                    // It is silent, or says no at once.
                    self.with(manager, |process| process.dialled(host, attempt, Err(Why::Network)));
                    return;
                }
                if self.hosts[host].login_until > self.now {
                    self.with(manager, |process| process.dialled(host, attempt, Err(Why::Person)));
                    return;
                }
                self.next_conn += 1;
                let id = self.next_conn;
                let mut conn = Conn::new(manager, life, host);
                conn.stalled_until = self.stalled.get(&(manager, host)).copied().unwrap_or(0);
                self.conns.insert(id, conn);
                if self.with(manager, |process| process.dialled(host, attempt, Ok(id))) == Some(true) {
                    self.hosts[host].connected(id);
                    self.drain_host(host);
                } else {
                    self.conns.remove(&id);
                }
            }
            Happening::Act(conn, id, act) => {
                let Some(host) = self.conns.get(&conn).filter(|there| !there.cut).map(|there| there.host)
                else {
                    return;
                };
                let until = self.hosts[host].disk_until;
                if until > self.now {
                    return self.at(until, Happening::Act(conn, id, act));
                }
                let answer = self.hosts[host].acts(self.now, *act);
                self.drain_host(host);
                let takes = if self.rng.chance(10) { 3_000 } else { self.rng.within(5, 400) };
                let pages = self.pages(answer);
                let last = pages.len() - 1;
                for (n, page) in pages.into_iter().enumerate() {
                    let reply = LinkReply { id, answer: Some(page), more: n < last };
                    self.at(self.now + takes, Happening::Answer(conn, reply));
                }
            }
            Happening::Answer(conn, reply) => self.sends(conn, false, Frame::LinkReply(reply).to_bytes(0)),
            Happening::Kept(host, job, keeping) => {
                if self.hosts[host].disk_until > self.now {
                    let until = self.hosts[host].disk_until;
                    return self.at(until, Happening::Kept(host, job, keeping));
                }
                self.hosts[host].kept(self.now, &job, &keeping);
                self.drain_host(host);
            }
            Happening::Signal(host, job, step) => {
                promises::job_was_signalled(self, host, &job);
                let ends = step == sessd_agent::machine::ending::Step::Kill || self.rng.chance(70);
                if ends {
                    self.hosts[host].with(self.now, &job, |holder, now, wall, truth| {
                        holder.ends(now, wall, Cause::Signaled, truth);
                    });
                    self.drain_host(host);
                }
            }
            Happening::Written { manager, life, task, write, what } => {
                if self.managers[manager].life != life || self.managers[manager].process.is_none() {
                    return;
                }
                let Some(is_written) = self.writes(
                    manager,
                    |store, session| match &what {
                        Write::Save(record) | Write::Done(record, _) => {
                            store.records.insert(record.id, (**record).clone());
                        }
                        Write::Forget => {
                            if let Some(session) = session {
                                store.records.remove(&session);
                            }
                        }
                    },
                    task,
                ) else {
                    return;
                };
                self.with(manager, |process| process.written(task, write, is_written));
            }
            Happening::Saved { manager, life, record, verb } => {
                if self.managers[manager].life != life || self.managers[manager].process.is_none() {
                    return;
                }
                let saved = (*record).clone();
                let Some(is_saved) = self.writes(
                    manager,
                    |store, _| {
                        store.records.insert(saved.id, saved.clone());
                    },
                    0,
                ) else {
                    return;
                };
                self.with(manager, |process| process.saved(*record, verb, is_saved));
            }
            Happening::Starts(manager) => {
                if self.managers[manager].process.is_none() {
                    let there = &mut self.managers[manager];
                    there.life += 1;
                    let process =
                        Process::start(manager, there.life, self.now, there.wall_ahead_ms, &there.store);
                    there.process = Some(process);
                    self.note(|| format!("manager {manager} starts"));
                    self.drain_manager(manager);
                }
            }
            Happening::Awake(manager) => {
                if self.managers[manager].asleep_until <= self.now {
                    self.with(manager, Process::woke);
                }
            }
            Happening::View(number) => self.view(number),
            Happening::FromView(number, life, bytes) => {
                let (id, manager) = (self.views[number].id, self.views[number].manager);
                if self.views[number].life != Some(life) {
                    return;
                }
                if let Ok(Frame::Ping(token)) = raw(&bytes).parse() {
                    // A connection's own answer, as long as the manager has its thread.
                    self.views[number].unread.extend(Frame::Pong(token).to_bytes(0));
                    return self.at(self.now + 1, Happening::View(number));
                }
                self.with(manager, |process| process.view_frame(id, &bytes));
            }
        }
    }

    /// A long inventory comes in pages; what holds for all of it is said with the last.
    fn pages(&mut self, answer: LinkAnswer) -> Vec<LinkAnswer> {
        let mut pages = Vec::new();
        let LinkAnswer::Inventory(mut last) = answer else { return vec![answer] };
        if self.rng.chance(40) {
            let many = self.rng.within(1, 5) as usize;
            while last.jobs.len() > many {
                let jobs = last.jobs.drain(..many).collect();
                pages.push(LinkAnswer::Inventory(Inventory { jobs, ..Inventory::default() }));
            }
        }
        pages.push(LinkAnswer::Inventory(last));
        pages
    }

    /// Something is written to a manager's disk, or is not; `None`: the manager is dead.
    fn writes(
        &mut self,
        manager: usize,
        write: impl FnOnce(&mut Store, Option<Uuid>),
        task: u64,
    ) -> Option<bool> {
        self.stored = true;
        let session = self.managers[manager].process.as_ref().and_then(|process| process.session_of(task));
        let store = &mut self.managers[manager].store;
        let how = match &mut store.wrong {
            Some((0, how)) => Some(*how),
            Some((left, _)) => {
                *left -= 1;
                None
            }
            None => None,
        };
        match how {
            None => write(store, session),
            Some(how) => {
                store.wrong = None;
                match how {
                    0 => return Some(false),
                    1 => {}
                    _ => write(store, session),
                }
                self.kill(manager, 1_000);
                return None;
            }
        }
        Some(true)
    }

    pub(super) fn kill(&mut self, manager: usize, ms: u64) {
        if self.managers[manager].process.take().is_none() {
            return;
        }
        self.note(|| format!("manager {manager} is killed"));
        self.cut_all(|conn| conn.manager == manager, false);
        for number in 0..self.views.len() {
            if self.views[number].manager == manager {
                self.views[number].lost(self.now, self.now + ms + 200);
                self.at(self.now + ms + 200, Happening::View(number));
            }
        }
        self.at(self.now + ms, Happening::Starts(manager));
    }
}
