//! What a link asks for, carried out beside its loop: all of this may wait for a disk or for a holder.

use crate::io::detach::{Plan, Starting};
use crate::io::folder::{self, JobFolder};
use crate::io::inventory;
use crate::io::places::Places;
use crate::io::relay;
use crate::io::remains;
use crate::{VERSION, platform};
use sessd_proto::messages::{self as m, CloseReason, JobSpec, LinkAnswer, Liveness};
use sessd_proto::{Frame, hello};
use std::collections::HashMap;
use std::io;
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// How long a holder may take to say whether its job runs.
pub(super) const START: Duration = Duration::from_secs(20);
/// How long a holder may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(2);

pub(super) fn spawned(pid: u32, environment: &HashMap<String, String>, folder: &JobFolder) -> LinkAnswer {
    let warnings = login(pid, environment).warnings();
    let folder = folder.path().parent().map(|jobs| jobs.to_string_lossy().into_owned()).unwrap_or_default();
    LinkAnswer::Spawned(m::Spawned { pid, warnings, folder })
}

/// How far a start got.
pub(super) enum Begun {
    /// It was made before, or cannot be.
    Before(LinkAnswer),
    /// Its holder is being started.
    Starting(Box<(JobFolder, Starting)>),
}

/// Starts a job, once per job id: asked again after a crash, the answer is the job that runs. It goes into the first place
/// that takes it.
pub(super) fn begin(places: &Places, spawn: &m::Spawn, descriptors: m::Limit) -> io::Result<Begun> {
    let empty = JobSpec::default();
    let spec = spawn.spec.as_ref().unwrap_or(&empty);
    let mut left = places.find(&spec.job_id)?;
    if let Some(folder) = &left {
        let report = inventory::look(folder, &platform::boot_id());
        if report.pid != 0 || report.exit.is_some() || report.liveness == Liveness::Alive as i32 {
            return Ok(Begun::Before(spawned(report.pid, &spawn.environment, folder)));
        }
        // A folder without a holder's mark: the start was cut off before there was a job.
    }
    let mut errors: Vec<String> = Vec::new();
    for place in places.for_new() {
        let folder = JobFolder::of(place.jobs(), &spec.job_id)?;
        let taken = place
            .make()
            .and_then(|()| folder.make())
            .and_then(|()| folder.write_spec(spec))
            .and_then(|()| folder.check_room());
        if let Err(error) = taken {
            // Firm: nothing ran. What stays behind is only a folder that nobody asks for again.
            let _ = folder.remove();
            let error = error.to_string();
            if !errors.contains(&error) {
                errors.push(error);
            }
            continue;
        }
        if let Some(left) = left.take().filter(|left| left.path() != folder.path()) {
            let _ = left.remove();
        }
        let agent = platform::own_program().map_err(folder::context("where the agent's own binary is"));
        let scope = login(std::process::id(), &spawn.environment).scope();
        // Of a caller on this machine, or what this login has.
        let mut inherits = spawn.inherited.clone().unwrap_or_default();
        if inherits.limits.is_empty() {
            inherits.limits.push(descriptors);
        }
        match agent.and_then(|agent| Starting::begin(&folder, spawn, &inherits, Plan { agent, scope })) {
            Ok(starting) => return Ok(Begun::Starting(Box::new((folder, starting)))),
            Err(error) => {
                let _ = folder.remove();
                errors.push(error.to_string());
                break;
            }
        }
    }
    let detail = format!("the job cannot be started on the host ({})", errors.join("; "));
    Ok(Begun::Before(refused(detail, true)))
}

pub(super) fn read_screen(places: &Places, job_id: &str) -> io::Result<LinkAnswer> {
    let screen = places.find(job_id)?.map_or(Ok(None), |folder| folder.screen())?;
    Ok(LinkAnswer::Screen(screen.unwrap_or_default()))
}

pub(super) fn forget(places: &Places, job: &m::JobName, starting: bool) -> io::Result<LinkAnswer> {
    // More than one where a start had to be made again elsewhere.
    while let Some(folder) = places.find(&job.job_id)? {
        let report = inventory::look(&folder, &platform::boot_id());
        let over = [Liveness::Exited as i32, Liveness::Gone as i32].contains(&report.liveness);
        if !over && (starting || !was_cut_off(&folder, &report)) {
            return Ok(refused("the job has not ended".into(), false));
        }
        if report.liveness == Liveness::Gone as i32 {
            remains::end(&folder)?;
        }
        inventory::forget(&folder, &job.manager_id, report.spec.as_ref())?;
        if folder.exists()? {
            break;
        }
    }
    Ok(LinkAnswer::Done(m::Empty {}))
}

/// Was the start of this job cut off before there was a holder? Another agent may be about to start one: what is young, or
/// locked, is left alone.
pub(super) fn was_cut_off(folder: &JobFolder, report: &m::JobReport) -> bool {
    let old = folder.age_ms("spec").is_none_or(|age| age > START.as_millis() as u64);
    let marked = !matches!(folder.mark(), Ok(None));
    !marked && old && report.liveness == Liveness::Unknown as i32 && matches!(folder.try_lock(), Ok(Some(_)))
}

pub(super) fn end_job(places: &Places, request: &m::EndJob) -> io::Result<LinkAnswer> {
    let folder = places.find(&request.job_id)?.ok_or_else(|| folder::fault("there is no such job here"))?;
    if request.kill_holder {
        remains::kill_holder(&folder)?;
        return Ok(LinkAnswer::Done(m::Empty {}));
    }
    let mut stream = inventory::connect(&folder, Some(CONNECT))?;
    let mut words = Vec::new();
    Frame::Hello(hello::hello(VERSION, "")).put(0, &mut words);
    Frame::End(request.end.clone().unwrap_or_default()).put(0, &mut words);
    // A fresh socket takes a few dozen bytes at once.
    io::Write::write_all(&mut stream, &words)?;
    Ok(LinkAnswer::Done(m::Empty {}))
}

/// What a logout would do to process `pid`, by the environment it was given.
pub(super) fn login(pid: u32, environment: &HashMap<String, String>) -> platform::Login {
    platform::login(pid, |name| {
        if environment.is_empty() { std::env::var(name).ok() } else { environment.get(name).cloned() }
    })
}

pub(super) fn refused(detail: String, final_answer: bool) -> LinkAnswer {
    LinkAnswer::Refused(m::Refused { detail, final_answer, exit_code: None })
}

pub(super) fn open_job(places: &Places, job_id: &str) -> Result<UnixStream, m::Close> {
    let close = |reason: CloseReason, detail: String| m::Close { reason: reason as i32, detail };
    if sessd_proto::Uuid::parse_str(job_id).is_err() {
        return Err(close(CloseReason::NoSuchJob, "a job id that is not a UUID".into()));
    }
    let folder = match places.find(job_id) {
        Ok(Some(folder)) => folder,
        Ok(None) => return Err(close(CloseReason::NoSuchJob, "there is no such job on this host".into())),
        Err(error) => return Err(relay::unreachable(error.to_string())),
    };
    inventory::connect(&folder, Some(CONNECT)).map_err(|error| {
        let report = inventory::look(&folder, &platform::boot_id());
        let reason = match Liveness::try_from(report.liveness) {
            Ok(Liveness::Gone | Liveness::Exited) => CloseReason::HolderGone,
            _ => CloseReason::HolderUnreachable,
        };
        close(reason, error.to_string())
    })
}
