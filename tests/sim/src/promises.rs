//! The seven promises, each a function of its name that is asked after every step. What can only be seen when something
//! arrives is looked at there, and told with the next step.

use crate::job::Cause;
use crate::view::{Found, KEY, SENT, View, key_of};
use crate::world::World;
use sessd_core::State;
use sessd_core::host::Phase;
use sessd_proto::Uuid;
use sessd_proto::docs::Vocabulary;
use sessd_proto::limits::STALLED_MS;
use sessd_proto::messages::EndReason;
use std::collections::{BTreeMap, BTreeSet};

/// Silence of a link that is noticed late is noticed by then: 25 s; then at most a minute between two attempts, and what a
/// slow agent takes.
const REACHED_MS: u64 = 100_000;
/// Then half a minute between two looks, and a disk that takes its time.
const RUNNING_MS: u64 = REACHED_MS + 60_000;
/// Screens are compared every so many steps: that costs more than the rest.
const SCREENS: u64 = 200;

/// What is remembered from step to step.
#[derive(Debug, Default)]
pub struct Seen {
    /// What was broken since the last step.
    broken: Option<String>,
    steps: u64,
    /// How much of what a job has read was looked at.
    read: BTreeMap<String, usize>,
    /// The last key of a view that a job has read, and how many it left out.
    keys: BTreeMap<(String, usize), (u16, u64)>,
    /// Since when the way between a manager and a host is well and wanted, and in which life.
    well: BTreeMap<(usize, usize), (u64, u64)>,
    /// Since when a manager could know better of a job that runs.
    unknown: BTreeMap<(usize, Uuid), u64>,
}

type Kept = Result<(), String>;

/// All of them.
///
/// # Errors
/// Which is broken, and by what.
pub fn all(world: &mut World) -> Kept {
    look_at_ways(world);
    if let Some(broken) = world.checks.broken.take() {
        return Err(broken);
    }
    // What can only be otherwise once something was written, or a job did something, is looked at then.
    let (stored, jobs) = (std::mem::take(&mut world.stored), world.hosts.iter().any(|host| host.touched));
    the_state_shown_is_the_state(world, stored || jobs)?;
    if jobs {
        no_byte_is_lost_or_doubled_in_silence(world)?;
    }
    world.checks.steps += 1;
    if world.checks.steps.is_multiple_of(SCREENS) {
        the_screen_is_exact(world)?;
    }
    no_view_can_hurt_another(world)?;
    if stored || jobs {
        a_job_dies_for_a_reason_that_the_record_says(world)?;
        world.hosts.iter_mut().for_each(|host| host.touched = false);
    }
    a_host_that_can_be_reached_is_reached(world)?;
    an_upgrade_costs_no_session(world)
}

/// Promise 1: Nothing says that it runs without evidence younger than a heartbeat allows, and an error is evidence of nothing.
fn the_state_shown_is_the_state(world: &World, may_be_otherwise: bool) -> Kept {
    for (number, manager) in world.managers.iter().enumerate() {
        let Some(process) = manager.process.as_ref().filter(|_| manager.asleep_until <= world.now) else {
            continue;
        };
        for (shown, host) in process.shown() {
            let record = &shown.record;
            if record.state == State::Running {
                let Some((Phase::Up(_), Some((stalled, heard)))) = process.link(host) else {
                    return Err(format!("1: manager {number} says that {} runs, without a link", record.id));
                };
                if !stalled && world.now - heard > STALLED_MS {
                    return Err(format!(
                        "1: manager {number} says that {} runs, and heard nothing",
                        record.id
                    ));
                }
            }
        }
        let done = manager.store.records.values().filter(|record| record.state == State::Done);
        for record in done.filter(|_| may_be_otherwise) {
            let job = record.job_id.to_string();
            let lives = world.host_of(&job).is_some_and(|host| host.holders[&job].runs());
            if lives {
                return Err(format!(
                    "1: manager {number} says that {} is done, and its job lives",
                    record.id
                ));
            }
        }
    }
    Ok(())
}

/// Promise 2: Of output, see [`view_found`]. Of input: what a job reads of a view is what was typed, each key once and in order, and
/// what is left out is no more than the view was told.
fn no_byte_is_lost_or_doubled_in_silence(world: &mut World) -> Kept {
    for host in world.hosts.iter().filter(|host| host.touched) {
        for (job, truth) in host.truths.iter().filter(|(_, truth)| !truth.read.is_empty()) {
            if !world.checks.read.contains_key(job) {
                world.checks.read.insert(job.clone(), 0);
            }
            let Some(looked) = world.checks.read.get_mut(job) else { continue };
            while let Some(key) = truth.read.get(*looked..*looked + KEY) {
                *looked += KEY;
                let Some((view, number)) = key_of(key) else {
                    return Err(format!("2: job {job} read what nobody typed: {key:?}"));
                };
                let last = world.checks.keys.get(&(job.clone(), view)).copied();
                let (expected, left_out) = last.map_or((number, 0), |(last, out)| (last + 1, out));
                if number < expected {
                    return Err(format!("2: job {job} read key {number} of view {view} again, or late"));
                }
                let left_out = left_out + u64::from(number - expected);
                world.checks.keys.insert((job.clone(), view), (number, left_out));
            }
        }
    }
    Ok(())
}

/// Promise 3: A view that has all of the output shows what the job's own terminal shows.
fn the_screen_is_exact(world: &World) -> Kept {
    for view in &world.views {
        let (Some(shows), Some(next)) = (&view.shows, view.next) else { continue };
        let Some(host) = world.host_of(&view.job) else { continue };
        let hub = host.holders[&view.job].machine().hub();
        if next == hub.head()
            && shows.size() == hub.terminal().size()
            && shows.text(0) != hub.terminal().text(0)
        {
            return Err(format!("3: view {} shows something else than the job {}", view.number, view.job));
        }
    }
    Ok(())
}

/// Promise 4: A view that did nothing wrong and whose session is there is not sent away: see [`view_was_closed`]. And what one does
/// not read, another gets.
fn no_view_can_hurt_another(world: &World) -> Kept {
    for view in world.views.iter().filter(|view| view.life.is_some() && view.slow_until <= world.now) {
        if view.unread.len() > 4 << 20 {
            return Err(format!(
                "4: view {} reads, and {} bytes wait for it",
                view.number,
                view.unread.len()
            ));
        }
    }
    Ok(())
}

/// Promise 5: What a record says of an end is how it was; nothing ends a job that nobody wanted ended; and one session has one job.
fn a_job_dies_for_a_reason_that_the_record_says(world: &World) -> Kept {
    for (number, manager) in world.managers.iter().enumerate() {
        for record in manager.store.records.values() {
            let Some(end) = record.end.as_ref().filter(|_| record.state == State::Done) else { continue };
            let truths = world.hosts.iter().find_map(|host| host.truths.get(&record.job_id.to_string()));
            let cause = truths.and_then(|truth| truth.cause);
            let is_so = match end.reason {
                EndReason::Exited => matches!(cause, Some(Cause::Exited(code)) if Some(code) == end.code),
                // One that was told to end may still do so by itself, and the code says that.
                EndReason::Signaled | EndReason::Deleted | EndReason::Restarted => {
                    let as_told = match cause {
                        Some(Cause::Signaled) => true,
                        Some(Cause::Exited(code)) => Some(code) == end.code,
                        _ => false,
                    };
                    as_told && world.wanted.ends.contains(&record.id)
                }
                EndReason::Lost => cause.is_some(),
                EndReason::Failed => truths.is_none(),
                EndReason::Reaped => {
                    let ended = matches!(cause, Some(Cause::Signaled | Cause::Exited(_)));
                    ended && record.idle_timeout_ms.is_some()
                }
                EndReason::Unspecified => false,
            };
            if !is_so {
                let (reason, code) = (end.reason, end.code);
                return Err(format!(
                    "5: manager {number} says {reason:?} {code:?} of {}, and it was {cause:?}",
                    record.id
                ));
            }
        }
    }
    for (number, manager) in world.managers.iter().enumerate() {
        let mut names = BTreeSet::new();
        for record in manager.store.records.values() {
            let lives = record.state != State::Done && !record.delete_requested;
            if let Some(name) = record.name.as_ref().filter(|_| lives)
                && !names.insert(name)
            {
                return Err(format!("5: at manager {number} two sessions are called {name}"));
            }
        }
    }
    let mut jobs = BTreeSet::new();
    for host in &world.hosts {
        for (job, _) in host.holders.iter().filter(|(_, holder)| holder.runs()) {
            let Some(there) = host.disk.get(job) else { continue };
            if !jobs.insert((there.spec.session_id.clone(), there.spec.manager_id.clone())) {
                return Err(format!("5: two jobs of session {} run", there.spec.session_id));
            }
        }
    }
    Ok(())
}

/// Promise 6: Any host that can be reached is: no way that is well stays unused by whoever needs it.
fn a_host_that_can_be_reached_is_reached(world: &World) -> Kept {
    for ((number, host), (since, _)) in &world.checks.well {
        let Some(process) = &world.managers[*number].process else { continue };
        if world.now - since > REACHED_MS && !matches!(process.link(*host), Some((Phase::Up(_), _))) {
            let phase = process.link(*host).map(|(phase, _)| phase);
            return Err(format!(
                "6: manager {number} could have reached host {host} since {since}: {phase:?}"
            ));
        }
    }
    Ok(())
}

/// Promise 7: Whatever becomes of managers, what is on record goes on: a session has a task, and one whose job runs is found.
fn an_upgrade_costs_no_session(world: &mut World) -> Kept {
    let mut unknown = BTreeMap::new();
    for (number, manager) in world.managers.iter().enumerate() {
        let Some(process) = &manager.process else { continue };
        for record in manager.store.records.values().filter(|record| record.state != State::Done) {
            if !process.has(record.id) && !process.is_being_started(record.id) {
                return Err(format!("7: manager {number} has {} on record, and no task for it", record.id));
            }
        }
        for (shown, host) in process.shown() {
            let record = &shown.record;
            if record.state == State::Running || record.delete_requested {
                continue;
            }
            let job = record.job_id.to_string();
            let is_well = world.checks.well.contains_key(&(number, host));
            let lives = world.hosts[host].holders.get(&job).is_some_and(|holder| holder.runs());
            if is_well && lives {
                let since = world.checks.unknown.get(&(number, record.id)).copied().unwrap_or(world.now);
                unknown.insert((number, record.id), since);
                if world.now - since > RUNNING_MS {
                    let state = record.state.word();
                    return Err(format!("7: manager {number} says {state} of {}, whose job runs", record.id));
                }
            }
        }
    }
    world.checks.unknown = unknown;
    Ok(())
}

/// What a view found in what it read.
pub fn view_found(world: &mut World, number: usize, found: &Found) {
    let broken = match found {
        Found::Output(job, offset, bytes) => {
            let truth = world.hosts.iter().find_map(|host| host.truths.get(job));
            let (from, to) = (*offset as usize, *offset as usize + bytes.len());
            let is_so = truth.and_then(|truth| truth.wrote.get(from..to)) == Some(&bytes[..]);
            (!is_so).then(|| format!("2: view {number} got bytes at {offset} that {job} did not write there"))
        }
        Found::Gap(from, to) => Some(format!("2: view {number} is told nothing of bytes {from} to {to}")),
        Found::Skipped(bytes) => {
            Some(format!("2: view {number} was to miss nothing, and misses {bytes} bytes"))
        }
        Found::Ended(..) => None,
    };
    world.checks.broken = world.checks.broken.take().or(broken);
}

/// The manager closed a view's connection.
pub fn view_was_closed(world: &mut World, number: usize) {
    let View { hostile, over, life, manager, session, job, .. } = &world.views[number];
    // Of a session that is restarted there is another job to be looked at: it comes again.
    let ended = world.hosts.iter().filter_map(|host| host.truths.get(job)).any(|truth| truth.cause.is_some());
    let process = world.managers[*manager].process.as_ref();
    let is_there = process.is_some_and(|process| process.has(*session));
    // A restart lets the views of the old job go, which come again to the new one.
    let ends = world.wanted.ends.contains(session);
    if !hostile && !over && !ended && life.is_some() && is_there && !ends {
        world.checks.broken = Some(format!("4: view {number} is sent away, and did nothing"));
    }
}

/// A holder signals its program.
pub fn job_was_signalled(world: &mut World, host: usize, job: &str) {
    let there = &world.hosts[host];
    let Some(spec) = there.disk.get(job).map(|there| &there.spec) else { return };
    let is_wanted = Uuid::parse_str(&spec.session_id).is_ok_and(|id| world.wanted.ends.contains(&id));
    // A clock of the host that nobody sets says so; a signal takes its time to arrive.
    let idle_ms = there.truths.get(job).map_or(0, |truth| world.now - truth.busy_ms);
    let begun = there.truths.get(job).is_some_and(|truth| truth.signalled);
    if !is_wanted && !begun && spec.idle_timeout_ms.is_none_or(|limit| idle_ms < limit) {
        world.checks.broken = Some(format!("5: {job} is ended after {idle_ms} ms, and nobody wanted that"));
    }
    if let Some(truth) = world.hosts[host].truths.get_mut(job) {
        truth.signalled = true;
    }
}

/// Since when ways are well and wanted.
fn look_at_ways(world: &mut World) {
    for number in 0..world.managers.len() {
        for host in 0..world.hosts.len() {
            let process = world.managers[number].process.as_ref();
            let wanted = process.filter(|process| process.needs(host)).map(|process| process.life);
            // One that waits for a person is not dialled without one; that one was wanted is so.
            let phase = process.and_then(|process| process.link(host)).map(|(phase, _)| phase);
            let waits = phase == Some(Phase::Parked);
            if waits && !world.hosts[host].wanted_a_login {
                world.checks.broken = Some(format!("6: manager {number} waits for a person at host {host}"));
            }
            match wanted.filter(|_| !waits && world.is_well(number, host)) {
                Some(life) => {
                    let well = world.checks.well.entry((number, host)).or_insert((world.now, life));
                    if well.1 != life {
                        *well = (world.now, life);
                    }
                }
                None => drop(world.checks.well.remove(&(number, host))),
            }
        }
    }
}

/// A way is broken, whatever it looks like: it has to be found again.
pub fn way_was_cut(world: &mut World, number: usize, host: usize) {
    world.checks.well.remove(&(number, host));
}

/// How long the news of an end may be on its way where all is well, in milliseconds.
const NEWS_MS: u64 = 30_000;

/// When all has been well for long enough, all has come right.
///
/// # Errors
/// What has not.
pub fn at_the_end(world: &mut World) -> Kept {
    the_screen_is_exact(world)?;
    for (number, manager) in world.managers.iter().enumerate() {
        let Some(process) = &manager.process else {
            return Err(format!("manager {number} did not come back"));
        };
        for (shown, host) in process.shown() {
            let (record, job) = (&shown.record, shown.record.job_id.to_string());
            let runs = world.hosts[host].holders.get(&job).is_some_and(|holder| holder.runs());
            let ended = world.hosts[host].truths.get(&job).and_then(|truth| truth.ended_ms);
            // News of what ended just now is on its way.
            if ended.is_some_and(|at| at + NEWS_MS > world.now) {
                continue;
            }
            match record.state {
                _ if record.delete_requested => {
                    return Err(format!("5: {} was to go, and is still at manager {number}", record.id));
                }
                State::Running if runs => {
                    if record.untold.any() {
                        return Err(format!(
                            "1: in the end the host was not told how {} is called",
                            record.id
                        ));
                    }
                }
                state => {
                    let word = state.word();
                    return Err(format!(
                        "1: in the end manager {number} says {word} of {} (runs: {runs})",
                        record.id
                    ));
                }
            }
        }
    }
    for view in world.views.iter().filter(|view| !view.over && !view.hostile) {
        let Some(host) = world.host_of(&view.job) else { continue };
        let head = host.holders[&view.job].machine().hub().head();
        if view.life.is_none() || view.next != Some(head) {
            return Err(format!("2: in the end view {} has {:?} of {head} bytes", view.number, view.next));
        }
        if !view.is_quiet() {
            return Err(format!("2: in the end keys of view {} wait", view.number));
        }
    }
    for (number, sent) in world.sent.iter().enumerate() {
        let Some(job) =
            sent.job.as_ref().filter(|job| world.host_of(job).is_some_and(|host| host.holders[*job].runs()))
        else {
            continue;
        };
        if !world.checks.keys.contains_key(&(job.clone(), SENT + number)) {
            let how = if sent.queued { "waits" } else { "is lost" };
            return Err(format!("2: in the end what was sent to job {job} as {number} {how}"));
        }
    }
    let by_view: BTreeMap<usize, u64> =
        world.checks.keys.iter().fold(BTreeMap::new(), |mut sum, ((_, view), (_, out))| {
            *sum.entry(*view).or_default() += out;
            sum
        });
    for (view, left_out) in by_view {
        let excused = world.views.get(view).map_or(0, |view| view.excused);
        if left_out > excused {
            return Err(format!(
                "2: {left_out} keys of view {view} never arrived, and it was told of {excused}"
            ));
        }
    }
    Ok(())
}
