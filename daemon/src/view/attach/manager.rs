//! What a view and the manager say to each other, and what the view does when the manager is gone.

use super::line::Line;
use super::{Outcome, Outgoing, Request, View};
use crate::error::{Error, Kind, Result};
use crate::view::client::{Client, no_answer};
use crate::view::terminal;
use rustix::io::Errno;
use sessd_core::record::End;
use sessd_proto::limits::VIEW_WINDOW;
use sessd_proto::messages::{self as m, Answer};
use sessd_proto::{Frame, Uuid};
use std::io::Write;

/// How long a manager may take to come back before the view gives up.
const MANAGER_BACK_MS: u64 = 60_000;
/// How often it is looked for.
const LOOK_AGAIN_MS: u64 = 100;

/// Times of the view's clock, in milliseconds.
pub(super) struct Lost {
    /// When the view ends if there is still none.
    pub(super) give_up_at: u64,
    /// When to look next.
    pub(super) look_at: u64,
}

impl View<'_> {
    /// False when the manager is gone.
    pub(super) fn flush_manager(&mut self) -> bool {
        while !self.to_manager.is_empty() && self.lost.is_none() {
            match self.client.stream.write(&self.to_manager) {
                Ok(n) => {
                    self.to_manager.drain(..n);
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return true,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
        true
    }

    pub(super) fn read_manager(&mut self) -> Result<Option<Outcome>> {
        let buffer = self.client.decoder.buffer_mut();
        buffer.reserve(64 * 1024);
        match rustix::io::read(&self.client.stream, rustix::buffer::spare_capacity(buffer)) {
            Ok(0) => {}
            Ok(_) => return self.take_frames(),
            Err(Errno::AGAIN | Errno::INTR) => return Ok(None),
            Err(_) => {}
        }
        self.manager_lost();
        Ok(None)
    }

    pub(super) fn take_frames(&mut self) -> Result<Option<Outcome>> {
        let mut decoder = std::mem::take(&mut self.client.decoder);
        let mut outcome = None;
        while let Some(raw) =
            decoder.next_frame().map_err(|e| Error::failed(e.to_string(), "`sessd daemon restart`"))?
        {
            let frame = raw.parse().map_err(|e| Error::failed(e.to_string(), "`sessd daemon restart`"))?;
            outcome = self.handle(frame)?;
            if outcome.is_some() {
                break;
            }
        }
        self.client.decoder = decoder;
        self.grant();
        Ok(outcome)
    }

    fn grant(&mut self) {
        let total = self.shown + VIEW_WINDOW;
        if total - self.granted >= VIEW_WINDOW / 2 {
            self.granted = total;
            Frame::Credit(total).put(0, &mut self.to_manager);
        }
    }

    fn handle(&mut self, frame: Frame<'_>) -> Result<Option<Outcome>> {
        let now = self.now();
        match frame {
            Frame::Output { offset, bytes } => {
                self.shown += bytes.len() as u64;
                let need = *self.need.get_or_insert(offset);
                if let Some(fresh) = need.checked_sub(offset).and_then(|held| bytes.get(held as usize..)) {
                    self.show(fresh, now);
                    self.need = Some(need + fresh.len() as u64);
                } else if offset > need {
                    // Bytes are missing, which must not be: the whole screen again is right in any case.
                    Frame::Subscribe(m::Subscribe::default()).put(0, &mut self.to_manager);
                }
            }
            Frame::Snapshot { at, skipped, more, bytes, .. } => {
                self.shown += bytes.len() as u64;
                self.partial.extend_from_slice(bytes);
                if !more {
                    let screen = std::mem::take(&mut self.partial);
                    self.show_screen(at, skipped, screen, now);
                }
            }
            Frame::InputAck { view, seq } if view == self.id => self.outgoing.acknowledged(seq),
            Frame::ViewState(state) => self.state_changed(state),
            Frame::Attached(attached) if attached.job_id != self.job => {
                // A restart made a new job: nothing old is of use to it.
                (self.job, self.need) = (attached.job_id, None);
                self.outgoing = Outgoing::new();
            }
            Frame::Ended(exit) => return Ok(Some(Outcome::Ended(self.label.clone(), End::from(&exit)))),
            Frame::Detach(_) => return Ok(Some(self.detached())),
            Frame::Reply(m::Reply { answer: Some(Answer::Error(error)), .. }) => return Err(error.into()),
            Frame::Close(close) => return Err(Error::failed(close.detail, "attach again")),
            _ => {}
        }
        Ok(None)
    }

    fn state_changed(&mut self, state: m::ViewState) {
        let now = self.now();
        let new_path = state.epoch != self.state.epoch;
        self.state = state;
        if self.path_is_up() {
            if new_path {
                self.outgoing.path_is_new(now);
                self.dropped += self.outgoing.take_dropped();
            }
            self.path_broken_since = None;
            if !matches!(self.line, Line::Notice(_)) {
                self.unsay();
            }
            let dropped = std::mem::take(&mut self.dropped);
            if dropped > 0 {
                self.to_say = format!("{dropped} bytes typed meanwhile were not sent");
                Frame::Subscribe(m::Subscribe::default()).put(0, &mut self.to_manager);
            }
        } else {
            self.path_broken_since.get_or_insert(now);
        }
    }

    /// The manager is gone: until there is one again, what is typed is kept, and the detach key leaves.
    pub(super) fn manager_lost(&mut self) {
        let now = self.now();
        self.state.link = "down".into();
        self.state.detail = "the manager is gone".into();
        self.path_broken_since.get_or_insert(now);
        self.partial.clear();
        if matches!(self.line, Line::Asked(_)) {
            self.line = Line::Away;
        }
        self.lost.get_or_insert(Lost { give_up_at: now + MANAGER_BACK_MS, look_at: now });
    }

    /// Goes on with the manager that came back, or starts one.
    pub(super) fn look_for_manager(&mut self) -> Result<()> {
        let Some(lost) = &self.lost else { return Ok(()) };
        // Whatever was to be said was for the one that is gone.
        self.to_manager.clear();
        if self.now() < lost.look_at {
            return Ok(());
        }
        let give_up_at = lost.give_up_at;
        match self.connect_again() {
            Ok(()) => self.lost = None,
            Err(error) if self.now() >= give_up_at || error.kind == Kind::NoSuchSession => {
                self.unsay();
                self.write_terminal(true);
                return Err(error);
            }
            // Another manager may be about to end, or the machine is short of something for a moment.
            Err(error) => {
                self.state.detail = format!("no manager: {}", error.message);
                self.lost = Some(Lost { give_up_at, look_at: self.now() + LOOK_AGAIN_MS });
            }
        }
        Ok(())
    }

    fn connect_again(&mut self) -> Result<()> {
        // The old connection may only seem dead: to a manager that lives, whoever is still there is not who comes.
        let _ = self.client.stream.shutdown(std::net::Shutdown::Both);
        let mut client = Client::connect_once(self.paths)?.ok_or_else(|| no_answer(self.paths))?;
        let request = Request { session: self.session.clone(), take: false, ..self.request.clone() };
        let lines = if self.need.is_some() { 0 } else { self.scrollback_lines };
        let attach = attach_message(&request, self.id, terminal::size(), self.need, self.job.clone(), lines);
        client.send(&Frame::Attach(attach))?;
        let attached = wait_attached(&mut client)?;
        client.stream.set_nonblocking(true).map_err(|e| Error::failed(e.to_string(), ""))?;
        self.client = client;
        (self.shown, self.granted) = (0, VIEW_WINDOW);
        // The numbers of paths begin anew with each manager.
        self.state.epoch = u64::MAX;
        self.handle(Frame::Attached(attached))?;
        Ok(())
    }
}

pub(super) fn attach_message(
    request: &Request,
    id: Uuid,
    size: Option<(u16, u16)>,
    resume: Option<u64>,
    job_id: String,
    scrollback_lines: u32,
) -> m::Attach {
    let (cols, rows) = size.unwrap_or((0, 0));
    m::Attach {
        session: request.session.clone(),
        view_id: id.as_bytes().to_vec(),
        cols: cols.into(),
        rows: rows.into(),
        read_only: request.read_only,
        take: request.take,
        lossless: request.lossless,
        kind: "cli".into(),
        resume,
        credit: VIEW_WINDOW,
        scrollback_lines,
        job_id,
    }
}

pub(super) fn wait_attached(client: &mut Client) -> Result<m::Attached> {
    use std::io::Read;
    let mut buffer = [0; 16 * 1024];
    loop {
        while let Some(frame) = client.decoder.next_frame().map_err(|e| Error::failed(e.to_string(), ""))? {
            match frame.parse() {
                Ok(Frame::Hello(theirs)) => {
                    sessd_proto::negotiate(&theirs).map_err(|skew| {
                        Error::new(
                            Kind::VersionSkew,
                            skew.to_string(),
                            "`sessd daemon restart` starts this version",
                        )
                    })?;
                }
                Ok(Frame::Attached(attached)) => return Ok(attached),
                Ok(Frame::Reply(m::Reply { answer: Some(Answer::Error(error)), .. })) => {
                    return Err(error.into());
                }
                Ok(Frame::Close(close)) => return Err(Error::failed(close.detail, "")),
                _ => {}
            }
        }
        match client.stream.read(&mut buffer) {
            Ok(0) => return Err(Error::failed("the manager went away", "try again: it starts by itself")),
            Ok(n) => client.decoder.push(&buffer[..n]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => {
                return Err(Error::failed(
                    format!("the manager went away ({error})"),
                    "try again: it starts by itself",
                ));
            }
        }
    }
}
