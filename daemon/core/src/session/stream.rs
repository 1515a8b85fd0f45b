//! A session and the stream to its job's holder: how it begins, moves to a bypass and ends, and what the holder says on it.

use super::{Effect, Phase, Session, Wish};
use crate::record::State;
use crate::stream::StreamId;
use crate::{times, untrusted};
use sessd_proto::messages::{EndReason, JobStatus};
use sessd_proto::{Frame, RawFrame};

/// The longest path of a holder's socket: no address has room for more.
const SOCKET_PATH_MAX: usize = 107;

/// An open stream to the job's holder.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) id: StreamId,
    pub(super) bypass: Bypass,
    /// The stream this one takes the place of, to be closed when the holder answers here.
    before: Option<StreamId>,
    /// What the holder can do, once it has greeted.
    pub(super) features: Option<u64>,
}

/// Has the stream a connection of its own?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bypass {
    Untried,
    /// It was asked for: once for a stream.
    Tried,
    Taken,
}

/// A stream that is being opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Opening {
    /// There is none.
    #[default]
    None,
    /// It is wanted.
    Wanted,
    /// It was, before the link went or something else happened.
    Unwanted,
}

impl Opening {
    pub(super) fn is_of_no_use(&mut self) {
        if *self == Self::Wanted {
            *self = Self::Unwanted;
        }
    }
}

impl Session {
    pub(super) fn open_stream(&mut self) {
        self.leave_stream();
        if self.host.is_up() {
            if self.opening == Opening::None {
                self.out.push(Effect::Open);
            }
            self.opening = Opening::Wanted;
        } else {
            self.disconnected();
        }
    }

    pub(super) fn opened(&mut self, stream: Option<StreamId>) {
        match (std::mem::take(&mut self.opening), stream) {
            (Opening::Wanted, Some(id)) => {
                self.begin_on(Stream { id, bypass: Bypass::Untried, before: None, features: None });
            }
            (Opening::Wanted, None) => self.silenced(),
            (Opening::None | Opening::Unwanted, stream) => self.out.extend(stream.map(Effect::Close)),
        }
    }

    /// Begins anew with the holder, over a new stream.
    fn begin_on(&mut self, stream: Stream) {
        self.epoch += 1;
        self.size_told.forget();
        self.stream = Some(stream);
        self.silence.begins(self.now.steady_ms);
        match self.wish {
            Wish::Remove(_) => self.end_job(EndReason::Deleted, false),
            Wish::Restart(_) => self.end_job(EndReason::Restarted, false),
            Wish::Keep => {}
        }
        self.describe();
        self.send_presence(false);
        self.subscribe();
        self.send_size();
        self.tell_views();
        // What a view waited for on the stream before.
        self.pump();
    }

    /// A session that is looked at is worth a connection of its own to its holder.
    fn look_for_bypass(&mut self, path: &str) {
        // What the host says; it is used on the host.
        let fits = path.starts_with('/') && path.len() <= SOCKET_PATH_MAX;
        let Some(stream) = self.stream.as_mut().filter(|_| self.warm && fits) else { return };
        if stream.bypass == Bypass::Untried {
            stream.bypass = Bypass::Tried;
            self.out.push(Effect::OpenBypass { from: stream.id, path: path.to_owned() });
        }
    }

    /// The connection is there: the stream moves over to it, unless it has moved elsewhere meanwhile. The old stream is
    /// closed once the holder has answered on the new one: in between it must not think that nobody looks.
    pub(super) fn take_bypass(&mut self, from: StreamId, to: StreamId) {
        let still = self.stream.as_ref().is_some_and(|stream| stream.id == from);
        if !still || !self.warm || self.phase.is_done() {
            return self.out.push(Effect::Close(to));
        }
        self.interrupted();
        self.begin_on(Stream { id: to, bypass: Bypass::Taken, before: Some(from), features: None });
    }

    pub(super) fn leave_stream(&mut self) {
        self.opening.is_of_no_use();
        if let Some(stream) = self.stream.take() {
            self.out.push(Effect::Close(stream.id));
            self.out.extend(stream.before.map(Effect::Close));
            self.nobody_is_asked();
        }
        self.interrupted();
    }

    /// What the old stream began and did not end is begun again on the next.
    pub(super) fn interrupted(&mut self) {
        self.replica.interrupted();
        self.views.interrupted();
    }

    /// The holder does not speak, or not as one. That is evidence of nothing about the job: the next inventory tells.
    pub(super) fn silenced(&mut self) {
        self.disconnected();
        self.publish();
        self.out.push(Effect::ProbeAgain);
        self.tell_views();
    }

    /// The holder's word on a new stream is the evidence that the job runs.
    pub(super) fn runs(&mut self) {
        if self.may_run() {
            // That it runs is not worth a write: only what a manager that starts has to know.
            let news = self.record.state == State::Init || self.record.place.is_empty();
            let place = self.place_in("");
            self.record.runs(place);
            self.phase = Phase::Running;
            self.note(String::new());
            if news {
                self.keep();
            }
            self.publish();
        }
        self.who_waits_hears_that_it_runs();
    }

    pub(super) fn holder_frame(&mut self, frame: RawFrame<'_>) {
        let parsed = match frame.parse().map(untrusted::frame) {
            Ok(parsed) => parsed,
            Err(invalid) => return self.fault(format!("does not speak our protocol: {invalid}")),
        };
        // What ends the stream may be said by whoever relays it.
        if !matches!(parsed, Frame::Close(_)) {
            self.holder_spoke();
        }
        match parsed {
            Frame::Hello(theirs) => {
                if let Err(skew) = sessd_proto::negotiate(&theirs) {
                    self.note(skew.to_string());
                    self.leave_stream();
                    self.disconnected();
                    self.publish();
                } else {
                    self.greeted(&theirs);
                }
            }
            Frame::Output { offset, bytes } => self.output(offset, bytes),
            Frame::Snapshot { at, cols, rows, more, bytes, .. } => {
                self.snapshot(at, (cols, rows), more, bytes);
            }
            Frame::Range { offset, more, expired, bytes } => self.range(offset, more, expired, bytes),
            Frame::Unsupported(what) => self.unsupported(what.kind),
            Frame::Pong(token) => self.ponged(token),
            Frame::InputAck { view, seq } => self.views.acknowledge(view, seq, &mut self.out),
            Frame::Withdrawn { view, from, to } => self.views.withdrawn(view, from, to, &mut self.out),
            echoed @ Frame::Echoed { view, .. } => self.views.echoed(view, &echoed, &mut self.out),
            Frame::Sent(sent) => self.sent(sent),
            Frame::Notice(notice) => self.out.push(Effect::Notice(notice)),
            Frame::Resize(size) => self.resized(&size),
            Frame::Status(status) => self.status(status),
            Frame::Exited(exit) => self.job_ended(exit, 0),
            Frame::Close(close) => self.closed(close.detail),
            _ => {}
        }
    }

    fn status(&mut self, status: JobStatus) {
        let (active, status) = times::of_status(status, self.now.wall_ms);
        self.record.last_active_ms = Some(active);
        if self.record.command.is_empty() && !status.command.is_empty() {
            // The login shell by its name: a restart runs the same.
            self.record.command.clone_from(&status.command);
            self.keep();
        }
        if let Some(before) = self.stream.as_mut().and_then(|stream| stream.before.take()) {
            self.out.push(Effect::Close(before));
        }
        self.look_for_bypass(&status.socket);
        self.heard_doing(&status);
        self.shown.status = Some((status, self.now.steady_ms));
        self.shown.record.clone_from(&self.record);
        self.show();
        self.runs();
        self.tell_views();
        self.publish();
    }

    fn closed(&mut self, detail: String) {
        self.interrupted();
        self.nobody_is_asked();
        if let Some(Stream { before: Some(id), .. }) = self.stream.take() {
            // The bypass led nowhere; the way round is still open.
            return self.begin_on(Stream { id, bypass: Bypass::Tried, before: None, features: None });
        }
        self.note(detail);
        self.silenced();
    }
}
