//! What jobs there are on this machine, and whether each is alive. Three answers: an error is evidence of nothing.

use crate::folder::{JobFolder, boot_id, context, machine};
use crate::hold::SOCKET;
use crate::{VERSION, procfs, wall_ms};
use sessd_proto::messages::{Inventory, JobReport, Liveness};
use std::io;
use std::os::unix::net::UnixStream;
use std::path::Path;

/// Connects to the holder of the job in `folder`. The agent is one thread, so it may step into the folder for it; the
/// socket's path is then one byte long whatever the home is called.
pub fn connect(folder: &JobFolder) -> io::Result<UnixStream> {
    std::env::set_current_dir(folder.path())?;
    let stream = UnixStream::connect(SOCKET);
    // Not to stay in a folder that is soon to be removed.
    std::env::set_current_dir("/")?;
    stream
}

/// Looks at all jobs below `jobs`.
pub fn take(jobs: &Path) -> io::Result<Inventory> {
    let boot_id = boot_id();
    let mut inventory = Inventory {
        boot_id: boot_id.clone(),
        machine_id: machine(),
        agent_version: VERSION.to_owned(),
        now_ms: wall_ms(),
        jobs: Vec::new(),
        complete: true,
        folder: jobs.to_string_lossy().into_owned(),
    };
    for entry in std::fs::read_dir(jobs).map_err(context(jobs.display()))? {
        let Ok(entry) = entry else {
            inventory.complete = false;
            continue;
        };
        let Ok(folder) = JobFolder::of(jobs, &entry.file_name().to_string_lossy()) else { continue };
        inventory.jobs.push(look(&folder, &boot_id));
    }
    Ok(inventory)
}

/// Looks at one job.
pub fn look(folder: &JobFolder, boot_id: &str) -> JobReport {
    let mut report = JobReport::default();
    let name = folder.path().file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    match folder.spec() {
        Ok(spec) => report.spec = spec,
        Err(error) => report.detail = error.to_string(),
    }
    report.spec.get_or_insert_default().job_id = name;
    let mark = folder.mark().unwrap_or_default();
    if let Some(mark) = &mark {
        (report.pid, report.boot_id) = (mark.pid, mark.boot_id.clone());
    }
    let answer = connect(folder);
    report.holder_answers = answer.is_ok();
    let (liveness, detail) = match (folder.exit(), answer) {
        (Ok(Some(exit)), _) => {
            report.exit = Some(exit);
            (Liveness::Exited, String::new())
        }
        (_, Ok(_)) => (Liveness::Alive, String::new()),
        (exit, Err(error)) => {
            let gone = mark.as_ref().and_then(|mark| {
                if !boot_id.is_empty() && !mark.boot_id.is_empty() && mark.boot_id != boot_id {
                    return Some("the host was rebooted");
                }
                // The kernel lets go of the lock when the holder dies, whatever kills it; the process number alone would
                // also say "gone" when looked at from another container.
                let unlocked = matches!(folder.try_lock(), Ok(Some(_)));
                let other = procfs::stat(mark.pid).is_none_or(|now| now.start != mark.start);
                (unlocked && other).then_some("the job's holder was killed")
            });
            match (gone, exit) {
                (Some(_), Err(damaged)) => {
                    (Liveness::Gone, format!("the exit record cannot be read ({damaged})"))
                }
                (Some(why), _) => (Liveness::Gone, why.to_owned()),
                (None, _) => (Liveness::Unknown, format!("the job's holder does not answer ({error})")),
            }
        }
    };
    report.liveness = liveness as i32;
    if report.detail.is_empty() {
        report.detail = detail;
    }
    report
}
