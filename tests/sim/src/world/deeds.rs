//! What is done to the world, step by step of a plan.

use super::{Happening, Sent, World};
use crate::job::Cause;
use crate::plan::{Deed, Step};
use crate::view::{SENT, View};
use sessd_core::State;
use sessd_proto::{Frame, Uuid};

impl World {
    fn uuid(&mut self, kind: u128) -> Uuid {
        self.ids += 1;
        Uuid::from_u128(kind << 64 | self.ids)
    }

    /// The `n`-th of the sessions that a manager has.
    fn session(&self, manager: usize, n: u64) -> Option<Uuid> {
        let sessions = self.managers[manager].process.as_ref()?.sessions();
        (!sessions.is_empty()).then(|| sessions[n as usize % sessions.len()])
    }

    pub(super) fn does(&mut self, step: Step) {
        let Step { deed, a, b, c, .. } = step;
        let (managers, hosts) = (self.managers.len() as u64, self.hosts.len() as u64);
        let manager = (a % managers) as usize;
        let host = (b % hosts) as usize;
        let at_host = (a % hosts) as usize;
        let other = (b % managers) as usize;
        let view = (!self.views.is_empty()).then(|| a as usize % self.views.len().max(1));
        match deed {
            Deed::Create => {
                let (session, job) = (self.uuid(1), self.uuid(2));
                if self
                    .with(manager, |process| process.create(host, session, job, (c > 0).then_some(c as i64)))
                    .is_some()
                {
                    self.made.push((manager, session));
                }
            }
            Deed::Attach => {
                if let Some(session) = self.session(other, a) {
                    let number = self.views.len();
                    self.views.push(View::new(number, other, session, c > 0));
                    self.at(self.now, Happening::View(number));
                }
            }
            Deed::Type => {
                if let Some(number) = view.filter(|n| !self.views[*n].over) {
                    self.views[number].types(b, self.now);
                    self.send(number);
                }
            }
            Deed::Leave | Deed::Drop => {
                if let Some(number) = view.filter(|n| self.views[*n].life.is_some()) {
                    let (id, at, on_purpose) =
                        (self.views[number].id, self.views[number].manager, deed == Deed::Leave);
                    self.views[number].over |= on_purpose;
                    self.views[number].lost(self.now, self.now + 400);
                    self.at(self.now + 400, Happening::View(number));
                    self.with(at, |process| process.view_gone(id, on_purpose));
                }
            }
            Deed::Slow => {
                if let Some(number) = view {
                    self.views[number].slow_until = self.now + b;
                    self.at(self.now + b, Happening::View(number));
                }
            }
            Deed::Garbage => {
                if let Some(number) = view.filter(|n| self.views[*n].life.is_some()) {
                    self.views[number].hostile = true;
                    let (id, at) = (self.views[number].id, self.views[number].manager);
                    let seq = u64::MAX / 2;
                    let beyond = Frame::Input { view: id, seq, withdrawn: false, bytes: b"x" }.to_bytes(0);
                    self.with(at, |process| process.view_frame(id, &beyond));
                }
            }
            Deed::Delete => {
                if let Some(session) = self.session(other, a) {
                    self.wanted.ends.insert(session);
                    self.wanted.deletes.insert((other, session));
                    self.with(other, |process| process.delete(session, c == 1));
                }
            }
            Deed::Restart => {
                let done: Vec<_> = self.managers[other]
                    .store
                    .records
                    .values()
                    .filter(|r| r.state == State::Done)
                    .cloned()
                    .collect();
                let live = self.session(other, a);
                let dead = (!done.is_empty() && (live.is_none() || a % 2 == 0))
                    .then(|| done[a as usize / 2 % done.len()].clone());
                let Some(session) = dead.as_ref().map(|record| record.id).or(live) else { return };
                for _ in 0..=c {
                    self.wanted.ends.insert(session);
                    let job = self.uuid(2);
                    self.with(other, |process| process.restart(session, job, dead.as_ref()));
                }
            }
            Deed::Tag => {
                if let Some(session) = self.session(other, a) {
                    self.with(other, |process| process.tag(session, c));
                }
            }
            Deed::Send => {
                let Some(session) = self.session(other, a).filter(|_| self.sent.len() < SENT) else { return };
                let number = self.sent.len();
                self.sent.push(Sent { job: None, queued: false });
                // Whoever is not answered asks again under the same id.
                for _ in 0..=c % 2 {
                    self.with(other, |process| process.send(session, number, c > 1));
                }
            }
            Deed::Login => {
                self.hosts[at_host].login_until = self.now + b;
                self.hosts[at_host].wanted_a_login = true;
            }
            Deed::Connect => {
                self.with(manager, |process| process.connects(host));
            }
            Deed::Adopt => {
                self.with(manager, |process| process.wants_to_adopt(host));
            }
            Deed::Write | Deed::Exit => {
                let jobs: Vec<_> = self
                    .hosts
                    .iter()
                    .enumerate()
                    .flat_map(|(host, there)| there.holders.keys().map(move |job| (host, job.clone())))
                    .collect();
                let Some((host, job)) = jobs.get(a as usize % jobs.len().max(1)).cloned() else { return };
                self.hosts[host].with(self.now, &job, |holder, now, wall, truth| {
                    if deed == Deed::Exit {
                        return holder.ends(now, wall, Cause::Exited(b as i32), truth);
                    }
                    if holder.runs() {
                        let from = truth.wrote.len() + holder.to_write.len();
                        holder.to_write.extend((from..from + b as usize).map(|n| match n % 61 {
                            60 => b'\n',
                            n => b'A' + (n % 57) as u8,
                        }));
                        holder.settle(now, wall, truth);
                    }
                });
                self.drain_host(host);
            }
            Deed::Cut => self.cut_all(|conn| conn.manager == manager && conn.host == host, b % 3 == 0),
            Deed::Stall => {
                let until = self.now + c;
                // Of a path that is gone a new connection knows nothing, where there is another path.
                if b % 2 == 0 {
                    self.stalled.insert((manager, host), until);
                }
                for conn in
                    self.conns.values_mut().filter(|conn| conn.manager == manager && conn.host == host)
                {
                    conn.stalled_until = conn.stalled_until.max(until);
                }
            }
            Deed::Away => {
                self.hosts[at_host].away_until = self.now + b;
                self.cut_all(|conn| conn.host == at_host, true);
            }
            Deed::Reboot => {
                self.cut_all(|conn| conn.host == at_host, b % 2 == 0);
                self.hosts[at_host].reboot(self.now, b);
                self.hosts[at_host].doing.clear();
            }
            Deed::Stuck => self.hosts[at_host].stuck_until = self.now + b,
            Deed::Disk => self.hosts[at_host].disk_until = self.now + b,
            Deed::Kill => self.kill(manager, b),
            Deed::Sleep => {
                self.managers[manager].asleep_until = self.now + b;
                self.at(self.now + b, Happening::Awake(manager));
                if b > 30_000 {
                    // By then the other end has given up.
                    self.cut_all(|conn| conn.manager == manager, false);
                }
            }
            Deed::Clock => {
                let by = b as i64 - 5_000_000;
                self.managers[manager].wall_ahead_ms += by;
                let wall = self.managers[manager].wall_ahead_ms;
                self.with(manager, |process| process.wall_ahead_ms = wall);
            }
            Deed::HostClock => self.hosts[at_host].wall_ahead_ms += b as i64 - 5_000_000,
            Deed::Store => self.managers[manager].store.wrong = Some((b, c)),
        }
    }
}
