//! A record and what its host says → what to do. The host's answer is one of three: alive, ended, or unknown; and
//! unknown waits. An error is evidence of nothing.

use crate::record::{End, Record, State};
use sessd_proto::messages::{EndReason, ExitRecord, Inventory, JobReport, JobSpec, Liveness};
use std::collections::{HashMap, HashSet};

/// How long a job must be missing from complete inventories before that is firm: a holder whose folder was removed makes
/// it again within a minute.
pub const MISSING_MS: i64 = 90_000;

/// What to do about one session.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// Its holder answers: go on where we were.
    Resume,
    /// It ended and its holder still has the last bytes: take them, then its exit record.
    TakeLast,
    /// It ended; this is all that is left of it.
    Finish(ExitRecord),
    /// It is gone without a last word, and that is firm.
    Lost(End),
    /// The host never heard of it: ask again for the same job.
    Spawn,
    /// The user wants it gone and it runs: end it.
    EndIt,
    /// The user wants it gone and it does not run: forget both sides.
    Forget,
    /// Nothing firm is known. Look again later; the sentence says why.
    Wait(String),
}

/// The place that a host prefers for its jobs: machine and folder.
pub fn place(inventory: &Inventory) -> String {
    place_of(inventory, &inventory.folder)
}

/// The place of a job that the host says lies in `folder`; empty: in the one it prefers.
pub fn place_of(inventory: &Inventory, folder: &str) -> String {
    let folder = if folder.is_empty() { &inventory.folder } else { folder };
    format!("{}:{folder}", inventory.machine_id)
}

/// The folder of a place, as it is called on the host.
pub fn folder_of(place: &str) -> Option<&str> {
    let at = place.find(":/")?;
    place.get(at + 1..)
}

/// An inventory with its jobs by id.
#[derive(Debug)]
pub struct Seen {
    inventory: Inventory,
    jobs: HashMap<String, usize>,
    /// Listed more than once, and not with the same words.
    contradicted: HashSet<String>,
}

impl Seen {
    /// Indexes an inventory.
    pub fn new(inventory: Inventory) -> Self {
        let (mut jobs, mut contradicted) = (HashMap::new(), HashSet::new());
        for (at, job) in inventory.jobs.iter().enumerate() {
            let Some(spec) = &job.spec else { continue };
            if let Some(before) = jobs.insert(spec.job_id.clone(), at)
                && inventory.jobs.get(before) != Some(job)
            {
                contradicted.insert(spec.job_id.clone());
            }
        }
        Self { inventory, jobs, contradicted }
    }

    /// The inventory itself.
    pub fn inventory(&self) -> &Inventory {
        &self.inventory
    }

    /// What the host has of the session that the job belongs to.
    pub fn spec(&self, record: &Record) -> Option<&JobSpec> {
        self.report(record)?.spec.as_ref()
    }

    fn report(&self, record: &Record) -> Option<&JobReport> {
        self.inventory.jobs.get(*self.jobs.get(&record.job_id.to_string())?)
    }

    /// The process of the job's holder, as its mark says.
    pub fn holder(&self, record: &Record) -> Option<u32> {
        self.report(record).map(|report| report.pid).filter(|pid| *pid > 0)
    }

    /// Where the job lies, if it is there.
    pub fn place(&self, record: &Record) -> Option<String> {
        Some(place_of(&self.inventory, &self.report(record)?.folder))
    }

    /// Was the place that the job was started in read to its end? Only then is it news that the job is not there.
    pub fn has_read(&self, record: &Record) -> bool {
        match self.inventory.places.as_slice() {
            // An agent that knows of one place only.
            [] => self.inventory.complete && record.place == place(&self.inventory),
            read => read.iter().any(|folder| record.place == place_of(&self.inventory, folder)),
        }
    }

    /// What to do about `record`, given that its job has been missing from inventories for `missing_for_ms`.
    pub fn decide(&self, record: &Record, missing_for_ms: i64) -> Decision {
        if record.state == State::Done {
            return Decision::Wait("it is done".into());
        }
        if self.contradicted.contains(&record.job_id.to_string()) {
            return Decision::Wait("the host says two things about the job".into());
        }
        match self.report(record) {
            Some(report) => decide_present(record, report, missing_for_ms, self.inventory.now_ms as i64),
            None => self.decide_absent(record, missing_for_ms),
        }
    }

    fn decide_absent(&self, record: &Record, missing_for_ms: i64) -> Decision {
        if !self.inventory.complete && (record.place.is_empty() || !self.has_read(record)) {
            return Decision::Wait("the host could not list all of its jobs".into());
        }
        if record.place.is_empty() {
            return if record.delete_requested { Decision::Forget } else { Decision::Spawn };
        }
        if !self.has_read(record) {
            return Decision::Wait(
                "the host answers with another machine or folder than the job was started in".into(),
            );
        }
        if record.delete_requested {
            return Decision::Forget;
        }
        if missing_for_ms < MISSING_MS {
            return Decision::Wait("the host does not know the job now".into());
        }
        Decision::Lost(lost(self.inventory.now_ms as i64, "the job's folder is gone from the host"))
    }

    /// Jobs that this manager made, that have ended, and of which it has all it wanted: `known` says for a job's id and
    /// its session's whether the record is done with that job or has gone on to another. They are still on the host
    /// because the manager or the link died before it could say so. A job of which there is no record at all is left
    /// alone: this may be a manager that lost its database.
    pub fn leftovers(&self, manager_id: &str, known: impl Fn(&str, &str) -> bool) -> Vec<String> {
        let over = |job: &&JobReport| {
            let ended = [Liveness::Exited as i32, Liveness::Gone as i32].contains(&job.liveness);
            let spec = job.spec.as_ref();
            ended
                && spec.is_some_and(|s| {
                    s.manager_id == manager_id
                        && !self.contradicted.contains(&s.job_id)
                        && known(&s.job_id, &s.session_id)
                })
        };
        self.inventory
            .jobs
            .iter()
            .filter(over)
            .filter_map(|job| Some(job.spec.as_ref()?.job_id.clone()))
            .collect()
    }

    /// Whether there is more of the job than a folder.
    pub fn has(&self, record: &Record) -> bool {
        self.report(record).is_some_and(|report| !is_only_a_folder(report))
    }
}

/// Nobody holds the job, nobody says that it ended, and no holder ever left a mark, or all of it was taken away.
fn is_only_a_folder(report: &JobReport) -> bool {
    report.liveness == Liveness::Unknown as i32
        && report.pid == 0
        && report.exit.is_none()
        && !report.holder_answers
}

fn lost(at_ms: i64, detail: &str) -> End {
    End { reason: EndReason::Lost, code: None, signal: None, at_ms, detail: detail.to_owned() }
}

fn decide_present(record: &Record, report: &JobReport, missing_for_ms: i64, now_ms: i64) -> Decision {
    match Liveness::try_from(report.liveness).unwrap_or(Liveness::Unknown) {
        Liveness::Alive if record.delete_requested => Decision::EndIt,
        Liveness::Alive => Decision::Resume,
        // A holder that answers waits for somebody to take the last word from it; only then does it leave.
        Liveness::Exited if report.holder_answers => Decision::TakeLast,
        Liveness::Exited | Liveness::Gone if record.delete_requested => Decision::Forget,
        Liveness::Exited => match &report.exit {
            Some(exit) => Decision::Finish(exit.clone()),
            None => Decision::Wait("the host says the job ended but not how".into()),
        },
        Liveness::Gone if record.state == State::Init && report.pid == 0 => Decision::Spawn,
        // Nobody ever heard that the job ran, and nobody can say now.
        Liveness::Gone if record.state == State::Init => {
            let detail = format!("{}, before it said that the job was started", report.detail);
            Decision::Lost(lost(now_ms, &detail))
        }
        Liveness::Gone => Decision::Lost(lost(now_ms, &report.detail)),
        // A start that was cut off leaves a folder and no holder; asking again is harmless either way.
        Liveness::Unknown if record.state == State::Init && report.pid == 0 => {
            if record.delete_requested {
                Decision::Forget
            } else {
                Decision::Spawn
            }
        }
        // A folder with nobody's mark in it, and that for long: there is nobody to be asked to end anything.
        Liveness::Unknown
            if record.delete_requested && is_only_a_folder(report) && missing_for_ms >= MISSING_MS =>
        {
            Decision::Forget
        }
        Liveness::Unknown => Decision::Wait(report.detail.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use sessd_proto::Uuid;

    fn record(state: State) -> Record {
        Record {
            state,
            place: if state == State::Init { String::new() } else { "m:/f".into() },
            ..Record::new(Uuid::from_u128(1), Uuid::from_u128(2), "box", 0)
        }
    }

    fn inventory(jobs: Vec<JobReport>) -> Inventory {
        Inventory {
            machine_id: "m".into(),
            folder: "/f".into(),
            complete: true,
            now_ms: 5,
            jobs,
            ..Inventory::default()
        }
    }

    fn report(liveness: Liveness) -> JobReport {
        JobReport {
            spec: Some(JobSpec { job_id: Uuid::from_u128(2).to_string(), ..JobSpec::default() }),
            liveness: liveness as i32,
            pid: 7,
            exit: (liveness == Liveness::Exited)
                .then(|| ExitRecord { code: Some(7), ..ExitRecord::default() }),
            ..JobReport::default()
        }
    }

    fn decide(record: &Record, jobs: Vec<JobReport>, missing: i64) -> Decision {
        Seen::new(inventory(jobs)).decide(record, missing)
    }

    #[test]
    fn the_table() {
        let running = record(State::Disconnected);
        let deleted = Record { delete_requested: true, ..running.clone() };
        let init = record(State::Init);
        assert_eq!(decide(&running, vec![report(Liveness::Alive)], 0), Decision::Resume);
        assert_eq!(decide(&deleted, vec![report(Liveness::Alive)], 0), Decision::EndIt);
        assert!(
            matches!(decide(&running, vec![report(Liveness::Exited)], 0), Decision::Finish(e) if e.code == Some(7))
        );
        let last = JobReport { holder_answers: true, ..report(Liveness::Exited) };
        assert_eq!(decide(&running, vec![last], 0), Decision::TakeLast);
        assert_eq!(decide(&deleted, vec![report(Liveness::Exited)], 0), Decision::Forget);
        assert!(matches!(decide(&running, vec![report(Liveness::Gone)], 0), Decision::Lost(_)));
        assert!(matches!(decide(&running, vec![report(Liveness::Unknown)], 0), Decision::Wait(_)));
        assert_eq!(decide(&init, vec![], 0), Decision::Spawn);
        assert!(matches!(decide(&running, vec![], 0), Decision::Wait(_)));
        assert!(matches!(decide(&running, vec![], MISSING_MS), Decision::Lost(_)));
        assert_eq!(decide(&deleted, vec![], 0), Decision::Forget);
        // A start that was cut off: a folder, and nobody who holds it.
        let cut_off = || vec![JobReport { pid: 0, ..report(Liveness::Unknown) }];
        assert_eq!(decide(&init, cut_off(), 0), Decision::Spawn);
        let unwanted = Record { delete_requested: true, ..init.clone() };
        assert_eq!(
            decide(&unwanted, cut_off(), 0),
            Decision::Forget,
            "nobody is there to be asked to end it"
        );
        let bare = || vec![JobReport { pid: 0, ..report(Liveness::Unknown) }];
        assert!(matches!(decide(&deleted, bare(), 0), Decision::Wait(_)));
        assert!(matches!(decide(&running, bare(), MISSING_MS), Decision::Wait(_)));
        assert_eq!(decide(&deleted, bare(), MISSING_MS), Decision::Forget);
        assert!(!Seen::new(inventory(bare())).has(&running));
        assert!(Seen::new(inventory(vec![report(Liveness::Unknown)])).has(&running));
        let said = |d: Decision| match d {
            Decision::Lost(end) => end.detail,
            other => format!("{other:?}"),
        };
        let killed = JobReport { detail: "the job's holder was killed".into(), ..report(Liveness::Gone) };
        assert_eq!(said(decide(&running, vec![killed.clone()], 0)), "the job's holder was killed");
        assert_eq!(
            said(decide(&init, vec![killed], 0)),
            "the job's holder was killed, before it said that the job was started"
        );
    }

    #[test]
    fn another_place_is_evidence_of_nothing() {
        let mut other = inventory(vec![]);
        other.folder = "/var/tmp".into();
        let seen = Seen::new(other);
        assert!(matches!(seen.decide(&record(State::Disconnected), i64::MAX), Decision::Wait(_)));
        let deleted = Record { delete_requested: true, ..record(State::Disconnected) };
        assert!(matches!(seen.decide(&deleted, i64::MAX), Decision::Wait(_)));
    }

    #[test]
    fn a_job_is_where_it_lies_and_gone_only_from_a_place_that_was_read() {
        let read = |places: &[&str], complete| Inventory {
            places: places.iter().map(|&place| place.to_owned()).collect(),
            complete,
            ..inventory(vec![])
        };
        let running = |place: &str| Record { place: place.into(), ..record(State::Disconnected) };
        let gone = |place: &str, inventory: Inventory| {
            matches!(Seen::new(inventory).decide(&running(place), MISSING_MS), Decision::Lost(_))
        };
        assert!(gone("m:/g", read(&["/f", "/g"], true)));
        assert!(gone("m:/g", read(&["/g"], false)), "another place could not be read");
        assert!(!gone("m:/f", read(&["/g"], false)), "this one could not");
        assert!(!gone("m:/f", read(&["/g"], true)), "this one is none of this user's now");
        assert!(!gone("other:/g", read(&["/g"], true)), "another machine");
        let there = JobReport { folder: "/g".into(), ..report(Liveness::Alive) };
        let seen = Seen::new(Inventory { jobs: vec![there], ..read(&["/f", "/g"], true) });
        assert_eq!(seen.decide(&running("m:/f"), 0), Decision::Resume, "wherever it lies");
        assert_eq!(seen.place(&running("m:/f")).as_deref(), Some("m:/g"));
        assert_eq!(folder_of("box-12:/g:/h"), Some("/g:/h"));
        assert_eq!(folder_of("nonsense"), None);
    }

    #[test]
    fn a_host_that_contradicts_itself_is_evidence_of_nothing() {
        let running = record(State::Disconnected);
        let twice = vec![report(Liveness::Alive), report(Liveness::Gone)];
        assert!(matches!(decide(&running, twice, 0), Decision::Wait(_)));
        let same = vec![report(Liveness::Alive), report(Liveness::Alive)];
        assert_eq!(decide(&running, same, 0), Decision::Resume, "said twice is no contradiction");
    }

    #[test]
    fn what_is_left_of_jobs_that_are_over_and_known_is_taken_away_and_nothing_else() {
        let job = |n: u128, manager: &str, liveness| {
            let spec = JobSpec {
                job_id: Uuid::from_u128(n).to_string(),
                manager_id: manager.into(),
                ..JobSpec::default()
            };
            JobReport { spec: Some(spec), ..report(liveness) }
        };
        let jobs = vec![
            job(1, "us", Liveness::Exited),
            job(2, "them", Liveness::Exited),
            job(3, "us", Liveness::Alive),
            job(4, "us", Liveness::Unknown),
            job(5, "us", Liveness::Gone),
            job(6, "us", Liveness::Exited),
        ];
        let unknown = Uuid::from_u128(6).to_string();
        let left = Seen::new(inventory(jobs)).leftovers("us", |job, _| job != unknown);
        assert_eq!(left, [Uuid::from_u128(1).to_string(), Uuid::from_u128(5).to_string()]);
    }

    #[test]
    fn an_incomplete_inventory_is_evidence_of_nothing() {
        let incomplete = Inventory { complete: false, ..inventory(vec![]) };
        for state in [State::Init, State::Running, State::Disconnected] {
            assert!(matches!(
                Seen::new(incomplete.clone()).decide(&record(state), i64::MAX),
                Decision::Wait(_)
            ));
        }
    }

    proptest! {
        /// Whatever a host says, only firm words end a record, and a deleted session is never brought back.
        #[test]
        fn nothing_ends_without_evidence(
            liveness in 0i32..5, answers: bool, pid in 0u32..2, has_exit: bool, present: bool, complete: bool,
            state in 0usize..3, deleted: bool, missing in 0i64..200_000,
        ) {
            let state = [State::Init, State::Running, State::Disconnected][state];
            let record = Record { delete_requested: deleted, ..record(state) };
            let report = JobReport {
                liveness, pid, holder_answers: answers,
                exit: has_exit.then(ExitRecord::default),
                ..report(Liveness::Unknown)
            };
            let inventory = Inventory { complete, ..inventory(if present { vec![report] } else { vec![] }) };
            match Seen::new(inventory).decide(&record, missing) {
                Decision::Resume => prop_assert!(!deleted && liveness == Liveness::Alive as i32),
                Decision::Lost(_) => prop_assert!(
                    (present && liveness == Liveness::Gone as i32) || (!present && complete && missing >= MISSING_MS)),
                Decision::Finish(_) => prop_assert!(has_exit && liveness == Liveness::Exited as i32 && !deleted),
                Decision::Spawn => prop_assert!(!deleted && state == State::Init),
                Decision::Forget => prop_assert!(deleted),
                Decision::EndIt => prop_assert!(deleted),
                Decision::TakeLast | Decision::Wait(_) => {}
            }
        }
    }
}
