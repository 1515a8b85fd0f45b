//! The documents of sessions, put together from what is known of them.

use crate::host::Status;
use crate::session::Session;
use sessd_core::{Record, State, times};
use sessd_proto::docs::time::rfc3339;
use sessd_proto::docs::{ActivityDoc, EndDoc, InfoDoc, LinkState, MoreDoc, Reap, SessionDoc, SizeDoc};
use sessd_proto::messages::JobStatus;
use std::time::Instant;

fn said(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

fn base(record: &Record, link: LinkState) -> SessionDoc {
    SessionDoc {
        id: record.id.to_string(),
        name: record.name.clone(),
        host: record.host.clone(),
        state: record.state.into(),
        end: record.ended().map(EndDoc::from),
        tags: record.tags.clone(),
        command: record.command.clone(),
        cwd: said(&record.cwd),
        foreground: None,
        title: None,
        size: Some(SizeDoc { cols: record.size.0.into(), rows: record.size.1.into() }),
        views: Vec::new(),
        leader: None,
        created_at: rfc3339(record.created_at_ms),
        last_active_at: record.last_active_ms.map(rfc3339),
        idle_seconds: None,
        idle_timeout_seconds: record.idle_timeout_ms.map(|ms| (ms as u64).div_ceil(1000)),
        reap_at: None,
        activity: None,
        link: link.into(),
        job_id: record.job_id.to_string(),
        agent_version: None,
        delete_requested: record.delete_requested,
        holder_silent_seconds: None,
    }
}

/// A session that is done. Its link's state says nothing about it any more, so that of its host is given.
pub fn of_done(record: &Record, link: LinkState) -> SessionDoc {
    base(record, link)
}

fn add_status(doc: &mut SessionDoc, status: &JobStatus, came: Instant, live: bool) {
    doc.cwd = said(&status.cwd).or(doc.cwd.take());
    doc.title = said(&status.title);
    doc.size = Some(SizeDoc { cols: status.cols, rows: status.rows });
    doc.agent_version = said(&status.agent_version);
    if live {
        // What runs and how long it has been idle is only known while the holder can tell us.
        doc.foreground = said(&status.foreground);
        doc.idle_seconds = Some(times::idle_seconds(status.idle_ms, came.elapsed().as_millis() as u64));
        doc.reap_at = status.reap_at_ms.map(|ms| rfc3339(ms as i64));
    }
}

/// A session that is not done.
pub fn of_session(session: &Session) -> SessionDoc {
    let live = session.live.borrow();
    let status = session.host.status();
    let mut doc = base(&live.record, status.link_state(&session.host.name));
    // Later than the link's word: nothing that runs is on a link that is silent.
    let state = session.state();
    doc.state = state.into();
    doc.views.clone_from(&live.views);
    doc.holder_silent_seconds = live.holder_silent_since.map(|since| since.elapsed().as_secs());
    doc.leader = live.views.iter().find(|view| view.leads).map(|view| view.id.clone());
    if let Some((status, came)) = &live.status {
        add_status(&mut doc, status, *came, state == State::Running);
        doc.activity = live.doing.as_ref().filter(|_| state == State::Running).map(ActivityDoc::from);
    }
    doc
}

/// Who else holds a job: all that the holder names but one that is called as we are. Another manager may have our name,
/// when both are the same user's on one machine.
fn held_by(managers: &[String], us: &str) -> Vec<String> {
    let mut others = managers.to_vec();
    if let Some(at) = others.iter().position(|name| name == us) {
        others.remove(at);
    }
    others
}

/// The same with what `info` adds. `us`: what this manager is called.
pub fn info_of_session(session: &Session, us: &str) -> InfoDoc {
    let live = session.live.borrow();
    let status = session.host.status();
    let mut more = more_of(&live.record, &status);
    more.forwards = session.forwards.docs();
    more.notes.clone_from(&live.notes);
    if let Some((job, _)) = &live.status {
        (more.job_pid, more.output_bytes) = (Some(job.pid), Some(job.head.max(session.head.get())));
        more.queued = job.activity.as_ref().map(|_| job.queued);
        more.notes.extend(job.warnings.iter().cloned());
        if session.state() == State::Running {
            more.held_by = held_by(&job.managers, us);
        }
    }
    InfoDoc { session: of_session(session), more }
}

/// What `info` adds, without what only a live session has.
pub fn more_of(record: &Record, status: &Status) -> MoreDoc {
    MoreDoc {
        env: record.env.clone(),
        reap: Reap::of(record.reap_unattended).into(),
        job_pid: None,
        output_bytes: None,
        link_detail: status.why().map(|e| e.cause()),
        next_try_at: status.next_try_ms().map(rfc3339),
        notes: Vec::new(),
        held_by: Vec::new(),
        queued: None,
        size_policy: Some(record.size_policy.into()),
        forwards: Vec::new(),
    }
}
