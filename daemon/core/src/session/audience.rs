//! A session and its views: who comes and goes, what each is sent, and what is told of them.

use super::stream::Bypass;
use super::writes::{Then, Writing};
use super::{Answer, Asker, Effect, Packet, Session, Wish, Write, failed};
use crate::pace::Tell;
use crate::record::{Record, Untold};
use crate::views::View;
use sessd_proto::docs::names;
use sessd_proto::docs::{Error, Kind, Result, SizePolicy};
use sessd_proto::limits::BYPASS_SILENCE_MS;
use sessd_proto::messages as m;
use sessd_proto::{Frame, RawFrame, Uuid};
use sessd_terminal::Size;

/// So long a session is kept whose owner has gone, in milliseconds: a manager that is restarted has its views back within seconds.
pub(super) const ALONE_MS: u64 = 60_000;

impl Session {
    pub(super) fn attach(&mut self, view: View, asker: Asker) {
        if self.phase.is_done() {
            // Whoever comes looks again: the session may have another task by now, or a record that is done.
            return self.out.push(Effect::LookForAnother(asker));
        }
        if self.views.is_here(view.id) {
            let error = failed(
                "a view with this id is attached to the session already",
                "attach again: each view has an id of its own",
            );
            return self.reply(asker, Err(error));
        }
        let sent_away = if view.take {
            let why = view.who_takes();
            self.views.send_away("", &why, false, self.replica.screen(), &mut self.out)
        } else {
            0
        };
        let (others, others_are) = self.views.in_words();
        let attached = m::Attached {
            session_id: self.record.id.to_string(),
            name: self.record.name.clone().unwrap_or_default(),
            host: self.record.host.clone(),
            job_id: self.record.job_id.to_string(),
            others,
            others_are,
            sent_away: sent_away as u32,
        };
        let (id, no_output) = (view.id, view.no_output);
        self.views.join(view, &self.record.job_id.to_string(), self.now.wall_ms);
        if self.views.has_owner() {
            self.alone_until_ms = None;
        }
        // It is told where to put what goes there before anything does.
        self.reply(asker, Ok(Answer::Attached(attached.clone())));
        self.views.put(id, &Frame::Attached(attached), &mut self.out);
        if !no_output {
            self.out.push(Effect::Warmed);
            if !std::mem::replace(&mut self.warm, true) {
                self.subscribe();
            }
        }
        self.views_changed(false);
        self.ask_holder();
        self.pump();
    }

    /// It runs: where it is there for one view alone, that is to come.
    pub(super) fn waits_for_its_owner(&mut self) {
        let wanted = matches!(self.wish, Wish::Keep);
        if self.record.owned && wanted && self.alone_until_ms.is_none() && !self.views.has_owner() {
            self.alone_until_ms = Some(self.now.steady_ms + ALONE_MS);
        }
    }

    pub(super) fn view_gone(&mut self, view: Uuid, on_purpose: bool) {
        // Whoever only looked has not left a session alone.
        let on_purpose = on_purpose && !self.views.is_uncounted(view);
        let owned = self.views.has_owner();
        if self.views.leave(view) {
            if owned && !self.views.has_owner() {
                // It comes again by itself from whatever ended its connection, unless it was killed.
                self.alone_until_ms = Some(self.now.steady_ms + ALONE_MS);
            }
            self.views_changed(on_purpose);
            self.grant();
        }
    }

    pub(super) fn send_away(&mut self, which: &str, why: &str, scripts: bool, asker: Asker) {
        let meant = if which.is_empty() { 0 } else { self.views.of_prefix(which) };
        if meant > 1 {
            let error = Error::new(
                Kind::Ambiguous,
                format!("{meant} views of `{}` have ids that begin with `{which}`", self.record.label()),
                "give more of it: `sessd info` shows its views",
            );
            return self.reply(asker, Err(error));
        }
        let sent = self.views.send_away(which, why, scripts, self.replica.screen(), &mut self.out);
        let answer = if sent == 0 && !which.is_empty() {
            let label = self.record.label();
            Err(failed(format!("`{label}` has no view `{which}`"), "`sessd info` shows its views"))
        } else {
            Ok(Answer::SentAway(sent))
        };
        self.reply(asker, answer);
        self.views_changed(true);
    }

    pub(super) fn view_frame(&mut self, id: Uuid, frame: RawFrame<'_>) {
        let parsed = match frame.parse() {
            Ok(parsed) => parsed,
            Err(invalid) => {
                let why = format!("the view does not speak our protocol: {invalid}");
                self.views.close(id, &why, &mut self.out);
                return self.view_gone(id, false);
            }
        };
        match parsed {
            Frame::Input { view, seq, withdrawn, bytes } => {
                if view != id {
                    // Its seat is not taken by that, nor anything typed for whoever has it.
                    self.views.close(id, "the view types in another's name", &mut self.out);
                    return self.view_gone(id, false);
                }
                if self.views.is_read_only(id) {
                    if !bytes.is_empty() {
                        let to = seq.saturating_add(bytes.len() as u64);
                        self.views.withdrawn(id, seq, to, &mut self.out);
                    }
                    return;
                }
                if !self.views.may_type(id, seq, bytes.len(), withdrawn, self.input_window()) {
                    // Sent on, it would end the stream that all views share.
                    self.views.close(id, "the view sends more than may be typed ahead", &mut self.out);
                    return self.view_gone(id, false);
                }
                let leads_now = sessd_terminal::is_typing(bytes) && self.views.typed(id, self.now.steady_ms);
                if leads_now || self.size_due_ms.is_some() {
                    // Before what was typed.
                    self.size_told.hurry();
                    self.send_size();
                }
                if leads_now {
                    if self.views.presence().traits.is_some() {
                        // What is written next lands where this one's terminal puts it.
                        self.send_presence(false);
                    }
                    self.tell_views();
                    self.publish();
                }
                if bytes.is_empty() {
                    // The view owes an answer to what was typed.
                    self.ask_holder();
                }
                if let Some(stream) = self.stream.as_ref().filter(|_| !bytes.is_empty() || withdrawn) {
                    self.out.push(Effect::ToHolder(stream.id, Packet::relayed(frame)));
                }
            }
            Frame::Credit(total) => {
                self.views.grant(id, total);
                self.pump();
                self.grant();
            }
            Frame::Resize(resize) => {
                // One that is larger than any is as large as one can be; the job's is bounded further.
                let side = |n: u32| Some(u16::try_from(n).unwrap_or(u16::MAX)).filter(|n| *n > 0);
                if let (Some(cols), Some(rows)) = (side(resize.cols), side(resize.rows)) {
                    self.views.resized(id, (cols, rows));
                    self.send_size();
                    self.sizes_passed_over |= self.size_due_ms.is_some();
                    self.pump();
                    self.publish();
                }
            }
            Frame::Traits(traits) if self.views.is_like(id, traits) => self.send_presence(false),
            Frame::Traits(_) => {}
            Frame::InputEnd(end) => {
                if let Some(stream) = &self.stream
                    && end.view == id.as_bytes()
                    && !self.views.is_read_only(id)
                {
                    self.out.push(Effect::ToHolder(stream.id, Packet::relayed(frame)));
                }
            }
            // One that may not type has nothing to foretell.
            Frame::Predicts(predicts)
                if !self.views.is_read_only(id) && self.views.predicts(id, predicts.on) =>
            {
                self.send_presence(false);
            }
            Frame::TryNow(_) => self.out.push(Effect::Hasten),
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
                self.views.tell_text_rows(id, self.replica.screen(), &mut self.out);
                self.views.close(id, "", &mut self.out);
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

    pub(super) fn send_presence(&mut self, left_on_purpose: bool) {
        let mut presence = self.views.presence();
        presence.left_on_purpose = left_on_purpose;
        if self.stream.as_ref().is_some_and(|stream| stream.bypass == Bypass::Taken) {
            presence.silence_ms = BYPASS_SILENCE_MS;
        }
        presence.lag_max = self.replica.skip().map(|skip| skip.lag);
        presence.lag_lines = self.replica.skip_lines();
        (presence.manager_id, presence.manager_name) = (self.manager.id.clone(), self.manager.name.clone());
        self.send(&Frame::Presence(presence));
    }

    /// Who sizes the session: first the database, then the host.
    pub(super) fn set_size(&mut self, policy: SizePolicy, size: Option<(u16, u16)>, asker: Asker) {
        let mut sized = Box::new(self.record.clone());
        sized.size_policy = policy;
        if let Some((cols, rows)) = size.filter(|_| policy == SizePolicy::Fixed) {
            let Size { cols, rows } = Size { cols, rows }.clamped();
            sized.size = (cols, rows);
        }
        self.write(Write::Save(sized.clone()), Then::Sized { sized, asker });
    }

    /// The PTY gets the size that the policy gives it, the newest. It is the holder that knows whether that is another.
    pub(super) fn send_size(&mut self) {
        self.size_due_ms = None;
        let size = match self.record.size_policy {
            SizePolicy::Fixed => Some(self.record.size),
            policy => self.views.leaders.size(policy),
        };
        let Some((cols, rows)) = size else { return };
        self.record.size = (cols, rows);
        match self.size_told.tell((cols, rows), self.now.steady_ms) {
            Tell::Now => self.send(&Frame::Resize(m::Resize { cols: cols.into(), rows: rows.into() })),
            Tell::At(ms) => {
                self.size_due_ms = Some(ms);
                return;
            }
            Tell::Not => {}
        }
        if std::mem::take(&mut self.sizes_passed_over) {
            // A terminal has been other sizes meanwhile, of which the job was told nothing and so draws nothing.
            self.views.redraw_all();
        }
    }

    /// Names and tags: first the claim of a name, then the database, then the host.
    pub(super) fn tag(&mut self, tag: m::Tag, asker: Asker) {
        let name = tag.name.clone();
        match self.tagged(tag) {
            Ok(tagged) => {
                let tagged = Box::new(tagged);
                match name {
                    Some(name) => {
                        self.writing =
                            Some(Writing { id: None, then: Then::Tagged { tagged, claimed: true, asker } });
                        self.out.push(Effect::Claim(name));
                    }
                    None => self.save_tagged(tagged, false, asker),
                }
            }
            Err(error) => self.reply(asker, Err(error)),
        }
    }

    pub(super) fn claimed(&mut self, result: Result<()>) {
        let Some(Writing { then: Then::Tagged { tagged, asker, .. }, .. }) =
            self.writing.take_if(|writing| writing.id.is_none())
        else {
            return;
        };
        match result {
            Ok(()) => self.save_tagged(tagged, true, asker),
            Err(error) => {
                self.reply(asker, Err(error));
                self.write_what_waits();
            }
        }
    }

    fn save_tagged(&mut self, tagged: Box<Record>, claimed: bool, asker: Asker) {
        self.failpoint("tag-before-save");
        self.write(Write::Save(tagged.clone()), Then::Tagged { tagged, claimed, asker });
    }

    fn tagged(&self, tag: m::Tag) -> Result<Record> {
        let mut new = self.record.clone();
        if let Some(name) = tag.name {
            names::check_name(&name)?;
            new.name = Some(name);
            new.untold.name = true;
        }
        new.untold.tags |= !(tag.remove.is_empty() && tag.set.is_empty());
        for key in tag.remove {
            new.tags.remove(&key);
        }
        new.tags.extend(tag.set);
        names::check_tags(&new.tags)?;
        Ok(new)
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
