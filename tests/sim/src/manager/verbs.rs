//! What people ask a manager for.

use super::{AskedFor, Doing, Process, Verb, host_number};
use crate::view::{SENT, key};
use sessd_core::adopt::{self, Known, Verdict};
use sessd_core::reconcile::{Seen, place_of};
use sessd_core::session::{self, Caller};
use sessd_core::{Record, host};
use sessd_proto::Uuid;
use sessd_proto::messages::{self as m, Liveness};

impl Process {
    /// `create`.
    pub fn create(&mut self, host: usize, session: Uuid, job: Uuid, idle_timeout_ms: Option<i64>) {
        let record = Record {
            command: vec!["sh".into()],
            idle_timeout_ms,
            ..Record::new(session, job, format!("host{host}"), self.wall())
        };
        self.alone.insert(session);
        self.doing.push_back(Doing::Save(Box::new(record), Verb::Created(host)));
    }

    /// `tag`: a name, or a tag that is set or removed.
    pub fn tag(&mut self, session: Uuid, what: u64) {
        let Some(task) = self.sessions.get(&session).copied() else { return };
        let mut tag = m::Tag::default();
        match what {
            0..6 => tag.name = Some(format!("name{}", what % 4)),
            6..10 => drop(tag.set.insert("key".into(), what.to_string())),
            _ => tag.remove.push("key".into()),
        }
        let asker = self.asker(AskedFor::Nothing);
        self.session_event(task, session::Event::Tag(tag, asker));
    }

    /// `send`, of what has that number.
    pub fn send(&mut self, session: Uuid, number: usize, when_idle: bool) {
        let Some(task) = self.sessions.get(&session).copied() else { return };
        let text = (0..3).flat_map(|n| key(SENT + number, n)).collect();
        let send = m::Send {
            id: Uuid::from_u128(0x5e_0000 + number as u128).as_bytes().to_vec(),
            parts: vec![m::SendPart { what: Some(m::SendWhat::Text(text)) }],
            when: if when_idle { m::SendWhen::Idle } else { m::SendWhen::Now } as i32,
            cancel: false,
        };
        let asker = self.asker(AskedFor::Send(number));
        self.session_event(task, session::Event::Type(send, asker));
    }

    /// `host connect`.
    pub fn connects(&mut self, host: usize) {
        if self.needs(host) {
            self.host_event(host, host::Event::Person(0));
        }
    }

    /// `host adopt`.
    pub fn wants_to_adopt(&mut self, host: usize) {
        let who = self.number();
        self.host_event(host, host::Event::Want(who, 0));
        self.host_event(host, host::Event::Probe(host));
    }

    pub(super) fn adopt(&mut self, host: usize, seen: &Seen) {
        for report in &seen.inventory().jobs {
            let Some(spec) = &report.spec else { continue };
            let Ok(id) = Uuid::parse_str(&spec.session_id) else { continue };
            let over = [Liveness::Exited as i32, Liveness::Gone as i32].contains(&report.liveness);
            let place = place_of(seen.inventory(), &report.folder);
            let known = self.sessions.get(&id).and_then(|task| self.tasks.get(task)).map(|task| {
                let record = &task.shown.record;
                Known {
                    done: record.ended().is_some(),
                    same_job: record.job_id.to_string() == spec.job_id,
                    same_host: true,
                    same_place: record.place == place,
                    reached: true,
                }
            });
            if adopt::decide(over, known, false) == Verdict::Adopt
                && !self.alone.contains(&id)
                && let Some(record) = adopt::record(spec, &format!("host{host}"), place, None, self.wall())
            {
                self.alone.insert(id);
                self.doing.push_back(Doing::Save(Box::new(record), Verb::Adopted(host)));
            }
        }
    }

    /// A verb's own record is saved, or not.
    pub fn saved(&mut self, record: Record, verb: Verb, is_saved: bool) {
        self.alone.remove(&record.id);
        let claim = self.given.remove(&record.id);
        if let Some(claim) = claim {
            self.names.release(claim);
        }
        if !is_saved || self.sessions.contains_key(&record.id) {
            return;
        }
        let (host, caller) = match verb {
            Verb::Created(host) | Verb::Again(host) => (host, Some(Caller::default())),
            Verb::Adopted(host) => (host, None),
        };
        let who = self.number();
        self.host_event(host, host::Event::Want(who, 0));
        self.begin(record, caller);
    }

    /// `restart`, of a session that has a task or of one that is done.
    pub fn restart(&mut self, session: Uuid, job_id: Uuid, done: Option<&Record>) {
        if let Some(task) = self.sessions.get(&session).copied() {
            let asker = self.asker(AskedFor::Nothing);
            let restart = session::Event::Restart { job_id, caller: Caller::default(), asker };
            self.session_event(task, restart);
        } else if let Some(done) = done
            && self.alone.insert(session)
        {
            let mut again = done.clone();
            again.begin_again(job_id);
            if let Some(name) = &again.name {
                let live = self.sessions.values().filter_map(|task| self.tasks.get(task));
                match self.names.claim(name, session, live.map(|task| &task.shown.record)) {
                    Ok(claim) => drop(self.given.insert(session, claim)),
                    // Somebody else has it by now.
                    Err(_) => {
                        self.alone.remove(&session);
                        return;
                    }
                }
            }
            let host = host_number(&again.host);
            self.doing.push_back(Doing::Save(Box::new(again), Verb::Again(host)));
        }
    }

    /// `delete`.
    pub fn delete(&mut self, session: Uuid, force: bool) {
        if let Some(task) = self.sessions.get(&session).copied() {
            let asker = self.asker(AskedFor::Nothing);
            self.session_event(task, session::Event::Delete { force, asker });
        }
    }

    /// A view comes. False: there is no such session now.
    pub fn attach(&mut self, session: Uuid, view: sessd_core::views::View) -> bool {
        let Some(task) = self.sessions.get(&session).copied() else { return false };
        let asker = self.asker(AskedFor::Attach(view.id));
        let host = self.tasks[&task].host;
        self.session_event(task, session::Event::Attach(Box::new(view), asker));
        self.host_event(host, host::Event::Person(0));
        true
    }
}
