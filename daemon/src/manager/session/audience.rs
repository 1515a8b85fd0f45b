//! A session and its views: who comes and goes, what each is sent, and what is told of them.

use super::writes::{Then, What};
use super::{ShortCut, Task};
use crate::faults::point;
use crate::manager::registry::NameClaim;
use crate::manager::views::View;
use crate::wire::OwnedFrame;
use sessd_core::pace::Tell;
use sessd_core::record::{Record, Untold};
use sessd_proto::docs::{Error, LinkState, Result, Vocabulary};
use sessd_proto::limits::SHORT_CUT_SILENCE_MS;
use sessd_proto::messages as m;
use sessd_proto::{Frame, Uuid};
use std::time::Duration;
use tokio::sync::oneshot;

impl Task {
    pub(super) fn attach(&mut self, view: View, done: oneshot::Sender<Result<m::Attached>>) {
        if self.finished {
            // Whoever comes looks again: the session may have another task by now, or a record that is done.
            return;
        }
        let attached = m::Attached {
            session_id: self.record.id.to_string(),
            name: self.record.name.clone().unwrap_or_default(),
            host: self.record.host.clone(),
            job_id: self.record.job_id.to_string(),
        };
        if self.views.is_here(view.id) {
            let _ = done.send(Err(Error::failed(
                "a view with this id is attached to the session already",
                "attach again: each view has an id of its own",
            )));
            return;
        }
        if view.take {
            self.views.send_away("", "taken by another view", false, self.replica.screen());
        }
        view.out.put(0, &Frame::Attached(attached.clone()));
        let _ = done.send(Ok(attached));
        let no_output = view.no_output;
        self.views.join(view, &self.record.job_id.to_string());
        if !no_output {
            self.manager.warmed(&self.handle);
            if !std::mem::replace(&mut self.warm, true) {
                self.subscribe();
            }
        }
        self.views_changed(false);
        self.pump();
    }

    pub(super) fn view_gone(&mut self, view: Uuid, on_purpose: bool) {
        // Whoever only looked has not left a session alone.
        let on_purpose = on_purpose && !self.views.is_uncounted(view);
        if self.views.leave(view) {
            self.views_changed(on_purpose);
            self.grant();
        }
    }

    pub(super) fn view_frame(&mut self, id: Uuid, frame: &OwnedFrame) {
        let parsed = match frame.parse() {
            Ok(parsed) => parsed,
            Err(invalid) => {
                self.views.close(id, &format!("the view does not speak our protocol: {invalid}"));
                return self.view_gone(id, false);
            }
        };
        match parsed {
            Frame::Input { view, seq, withdrawn, bytes } => {
                if view != id || self.views.is_read_only(id) {
                    return;
                }
                if !self.views.may_type(id, seq, bytes.len(), withdrawn) {
                    // Sent on, it would end the stream that all views share.
                    self.views.close(id, "the view sends more than may be typed ahead");
                    return self.view_gone(id, false);
                }
                let leads_now = !bytes.is_empty() && self.views.leaders.typed(id);
                if leads_now || self.size_due.is_some() {
                    // Before what was typed.
                    self.size_told.hurry();
                    self.send_size();
                }
                if leads_now {
                    self.tell_views();
                }
                if !bytes.is_empty() || withdrawn {
                    self.relay(frame.raw());
                }
            }
            Frame::Credit(total) => {
                self.views.grant(id, total);
                self.pump();
                self.grant();
            }
            Frame::Resize(resize) => {
                let side = |n: u32| u16::try_from(n).ok().filter(|n| *n > 0);
                if let (Some(cols), Some(rows)) = (side(resize.cols), side(resize.rows)) {
                    self.views.resized(id, (cols, rows));
                    self.send_size();
                    self.sizes_passed_over |= self.size_due.is_some();
                    self.pump();
                }
            }
            Frame::InputEnd(end) => {
                if end.view == id.as_bytes() && !self.views.is_read_only(id) {
                    self.send(&Frame::InputEnd(end));
                }
            }
            Frame::TryNow(_) => self.handle.host.hasten(),
            Frame::Pong(_) => {
                self.views.has_shown(id);
                self.pump();
            }
            // The view's screen is not what it should be: it asks for all of it again.
            Frame::Subscribe(_) => {
                self.views.redraw(id);
                self.pump();
            }
            Frame::Detach(_) => {
                self.views.tell_text_rows(id, self.replica.screen());
                self.views.close(id, "");
                self.view_gone(id, true);
            }
            _ => {}
        }
    }

    pub(super) fn views_changed(&mut self, on_purpose: bool) {
        self.send_presence(on_purpose);
        self.send_size();
        self.tell_views();
        self.publish();
    }

    pub(super) fn send_presence(&self, left_on_purpose: bool) {
        let mut presence = self.views.presence();
        presence.left_on_purpose = left_on_purpose;
        if self.stream.as_ref().is_some_and(|stream| stream.short_cut == ShortCut::Taken) {
            presence.silence_ms = SHORT_CUT_SILENCE_MS;
        }
        (presence.manager_id, presence.manager_name) = (self.manager.id.clone(), self.manager.name.clone());
        self.send(&Frame::Presence(presence));
    }

    /// The PTY gets the leader's size, the newest. It is the holder that knows whether that is another.
    pub(super) fn send_size(&mut self) {
        self.size_due = None;
        let Some((cols, rows)) = self.views.leaders.size() else { return };
        self.record.size = (cols, rows);
        match self.size_told.tell((cols, rows), self.began.elapsed().as_millis() as u64) {
            Tell::Now => self.send(&Frame::Resize(m::Resize { cols: cols.into(), rows: rows.into() })),
            Tell::At(ms) => {
                self.size_due = Some(self.began + Duration::from_millis(ms));
                return;
            }
            Tell::Not => {}
        }
        if std::mem::take(&mut self.sizes_passed_over) {
            // A terminal has been other sizes meanwhile, of which the job was told nothing and so draws nothing.
            self.views.redraw_all();
        }
    }

    /// Tells every view where its session stands; only what changed is sent.
    pub(super) fn tell_views(&mut self) {
        let status = self.handle.host.status();
        let word = match (&self.stream, status.link_state(&self.record.host)) {
            // The link is up and the holder does not answer: that is no "up" for this session.
            (None, carries) if carries.carries() => LinkState::Connecting,
            (_, word) => word,
        };
        let state = m::ViewState {
            link: word.word().to_owned(),
            epoch: self.epoch,
            next_try_ms: status.next_try_ms().map(|ms| ms as u64),
            detail: status.why().map(|e| e.message.clone()).unwrap_or_default(),
            leader: false,
            cols: self.replica.size().map_or(0, |s| s.cols.into()),
            rows: self.replica.size().map_or(0, |s| s.rows.into()),
            silent_ms: self.handle.host.silent_ms(),
            text_rows: None,
            doing: self.doing_now(),
        };
        self.views.tell(&state);
    }

    pub(super) fn tag(&mut self, tag: m::Tag, done: oneshot::Sender<Result<()>>) {
        match self.tagged(tag) {
            Ok((tagged, claim)) => {
                point("tag-before-save");
                let tagged = Box::new(tagged);
                self.write(What::Save(tagged.clone()), Then::Tagged { tagged, claim, done });
            }
            Err(error) => {
                // Who asked may have gone.
                let _ = done.send(Err(error));
            }
        }
    }

    fn tagged(&self, tag: m::Tag) -> Result<(Record, Option<NameClaim>)> {
        let mut new = self.record.clone();
        let mut claim = None;
        if let Some(name) = tag.name {
            sessd_proto::docs::names::check_name(&name)?;
            claim = Some(self.manager.registry.claim(&name, self.record.id)?);
            new.name = Some(name);
            new.untold.name = true;
        }
        new.untold.tags |= !(tag.remove.is_empty() && tag.set.is_empty());
        for key in tag.remove {
            new.tags.remove(&key);
        }
        new.tags.extend(tag.set);
        sessd_proto::docs::names::check_tags(&new.tags)?;
        Ok((new, claim))
    }

    /// Tells the host what the user changed. Its holder's answer to what is sent behind it says that it was heard.
    pub(super) fn describe(&mut self) {
        if let Some(describe) = self.record.describe(&self.there) {
            (self.there.name, self.there.tags) = (describe.name.clone(), describe.tags.clone());
            self.told += 1;
            self.send(&Frame::Describe(describe));
            self.send(&Frame::Ping(self.told));
        }
    }

    /// The holder has heard what it was told last, if `told` is the number of that.
    pub(super) fn heard(&mut self, told: u64) {
        if told == self.told && self.record.untold.any() {
            self.record.untold = Untold::default();
            self.keep();
        }
    }
}
