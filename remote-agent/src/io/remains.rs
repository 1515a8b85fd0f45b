//! What is left of a job whose holder was killed. The kernel hung up its terminal, which some jobs ignore, and those that have
//! pipes never hear of: their processes run on, and nobody can hold them again. They are ended when the job is forgotten, and
//! until then whoever asks is told of them.

use crate::io::folder::{JobFolder, fault};
use crate::io::processes::signal;
use crate::machine::ending::{Ending, Step};
use crate::platform;
use sessd_proto::messages::EndReason;
use std::io;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long they have after TERM, in milliseconds. They had their HUP.
const GRACE_MS: u64 = 500;
/// How long they are waited for in all, in milliseconds.
const LAST_MS: u64 = 2_000;
/// How often they are looked at.
const PAUSE: Duration = Duration::from_millis(10);

/// The job's first process, where it still runs.
pub(super) fn first(folder: &JobFolder) -> Option<u32> {
    let leader = folder.leader()?;
    platform::process(leader.0).filter(|now| now.start == leader.1 && !now.dead).map(|now| now.pid)
}

/// Kills the job's holder, which does not answer. What is left of the job is ended when it is forgotten.
///
/// # Errors
/// It is not sure which process it is, or that one does not go.
pub(super) fn kill_holder(folder: &JobFolder) -> io::Result<()> {
    let mark = folder.mark()?.ok_or_else(|| fault("the job's holder left no mark"))?;
    let is_there = || {
        // Its lock is held for as long as it lives, whoever has its number by then.
        let locked = matches!(folder.try_lock(), Ok(None));
        let same = platform::process(mark.pid).is_some_and(|now| now.start == mark.start && !now.dead);
        locked && same && mark.boot_id == platform::boot_id()
    };
    let began = Instant::now();
    while is_there() {
        if began.elapsed().as_millis() as u64 > LAST_MS {
            return Err(fault(format!("the job's holder (process {}) does not end", mark.pid)));
        }
        signal(mark.pid, Step::Kill);
        sleep(PAUSE);
    }
    Ok(())
}

/// Ends them. Waits: not for the loop.
///
/// # Errors
/// Processes cannot be seen here, or some do not end.
pub(super) fn end(folder: &JobFolder) -> io::Result<()> {
    let Some(leader) = folder.leader() else { return Ok(()) };
    let (began, mut ending) = (Instant::now(), Ending::new(EndReason::Deleted, true, GRACE_MS));
    let mut asked = false;
    loop {
        let all = platform::family(leader, ending.known())
            .ok_or_else(|| fault("whether processes of the job are left cannot be seen"))?;
        let victims = ending.victims(&all, leader);
        let now_ms = began.elapsed().as_millis() as u64;
        let step = if asked { ending.step(now_ms) } else { Some(Step::Terminate) };
        asked = true;
        match victims.first() {
            None => return Ok(()),
            Some(pid) if now_ms > LAST_MS => return Err(fault(format!("its process {pid} does not end"))),
            Some(_) => {}
        }
        for pid in victims {
            step.into_iter().for_each(|step| signal(pid, step));
        }
        sleep(PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn all_of_it_is_ended_and_nobody_elses() {
        let jobs = tempfile::tempdir().unwrap();
        let folder = JobFolder::of(jobs.path(), "00000000-0000-0000-0000-00000000000a").unwrap();
        folder.make().unwrap();
        assert_eq!(first(&folder), None);
        end(&folder).unwrap();

        let mut job = Command::new("setsid");
        let mut job = job.args(["sh", "-c", "trap '' HUP TERM; sleep 1000 & wait"]).spawn().unwrap();
        while platform::process(job.id()).unwrap().session != job.id() {
            sleep(PAUSE);
        }
        let start = platform::process(job.id()).unwrap().start;
        // The number is another process's now.
        folder.write_leader((job.id(), start - 1));
        assert_eq!(first(&folder), None);
        end(&folder).unwrap();
        assert!(job.try_wait().unwrap().is_none());

        folder.write_leader((job.id(), start));
        assert_eq!(first(&folder), Some(job.id()));
        end(&folder).unwrap();
        assert!(!job.wait().unwrap().success());
        assert_eq!(first(&folder), None);
    }
}
