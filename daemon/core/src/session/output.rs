//! A session and the output of its job: what the holder sends and may send, the model that follows it, and the views' share.

use super::Session;
use super::stream::Opening;
use crate::replica::{PIECE, Resized, Stored};
use crate::views::Needs;
use sessd_proto::Frame;
use sessd_proto::frame::kind;
use sessd_proto::hello::feature;
use sessd_proto::messages as m;

/// A fresh screen is not asked for more often than that, by a session that could not be followed.
const FRESH_SCREEN_MS: u64 = 500;

impl Session {
    /// The holder did what none does. That ends the stream, and is evidence of nothing about the job: the next inventory
    /// tells, and looks come ever more slowly.
    pub(super) fn fault(&mut self, what: impl std::fmt::Display) {
        self.leave_stream();
        // What it said of the output is worth nothing: the next stream begins with a screen.
        self.replica.cool();
        self.note(format!("the job's holder {what}"));
        self.silenced();
    }

    /// The holder says who it is.
    pub(super) fn greeted(&mut self, theirs: &m::Hello) {
        self.holder = Some(theirs.features);
        if let Some(stream) = &mut self.stream {
            stream.features = Some(theirs.features);
        }
        // What waited for the word of what it can do.
        self.pump();
        self.send_again();
    }

    /// The holder does not know what it was asked for: whoever waits does not wait for it any more.
    pub(super) fn unsupported(&mut self, what: u32) {
        if what == u32::from(kind::READ_RANGE)
            && let Some(stream) = &mut self.stream
        {
            stream.features = Some(stream.features.unwrap_or(0) & !feature::RANGE_READ);
            self.views.no_range();
            self.pump();
        } else if what == u32::from(kind::SUBSCRIBE) || what == u32::from(kind::OPEN) {
            self.fault("does not know what every holder does");
        }
    }

    pub(super) fn output(&mut self, offset: u64, bytes: &[u8]) {
        match self.replica.output(offset, bytes) {
            Ok(()) => {
                self.pump();
                self.fetch_screen();
            }
            Err(fault) => self.fault(fault),
        }
    }

    pub(super) fn snapshot(&mut self, at: u64, size: (u16, u16), more: bool, bytes: &[u8]) {
        match self.replica.snapshot(at, size, more, bytes) {
            Ok(Stored::More) => self.grant(),
            Ok(Stored::Whole) => self.pump(),
            Err(fault) => self.fault(fault),
        }
    }

    pub(super) fn range(&mut self, offset: u64, more: bool, expired: bool, bytes: &[u8]) {
        if let Err(fault) = self.replica.range(offset, bytes.len()) {
            return self.fault(fault);
        }
        self.views.range(offset, more, expired, bytes, &mut self.out);
        if !more {
            self.pump();
        }
    }

    pub(super) fn resized(&mut self, size: &m::Resize) {
        // Perhaps another manager's doing.
        self.size_told.forget();
        match self.replica.resize(size.cols, size.rows) {
            Resized::Same => {}
            Resized::Changed => {
                self.views.redraw_all();
                self.pump();
                self.fetch_screen();
            }
        }
        self.tell_views();
    }

    /// Where the model was let go, a fresh screen is asked for, though not at once again; views that follow go on meanwhile.
    pub(super) fn fetch_screen(&mut self) {
        self.fetch_due_ms = None;
        if !self.replica.lost_track() || self.views.is_empty() {
            return;
        }
        let may_at = self.fetched_ms.map(|at| at + FRESH_SCREEN_MS);
        if let Some(at) = may_at.filter(|at| *at > self.now.steady_ms) {
            self.fetch_due_ms = Some(at);
        } else if self.stream.is_some() {
            self.fetched_ms = Some(self.now.steady_ms);
            self.open_stream();
        }
    }

    pub(super) fn grant(&mut self) {
        if let Some(token) = self.replica.ask(self.now.steady_ms) {
            self.send(&Frame::Ping(token));
        }
        if !self.views.holds_back(self.replica.ring())
            && let Some(total) = self.replica.grant(self.needs.screen)
        {
            self.send(&Frame::Credit(total));
        }
    }

    /// The answer to what was asked of the way, or to what the holder was told.
    pub(super) fn ponged(&mut self, token: u64) {
        if self.replica.answered(token, self.now.steady_ms) {
            self.send_presence(false);
        }
        self.grant();
        self.heard(token);
    }

    /// Gives every view what it is due.
    pub(super) fn pump(&mut self) {
        self.needs = Needs::default();
        let exit = self.phase.exit();
        let over = exit.is_some()
            && self.replica.lost_track()
            && self.stream.is_none()
            && self.opening != Opening::Wanted;
        let Some(ring) = self.replica.ring().filter(|_| !over) else {
            // There is nothing, and nothing will come.
            if let Some(exit) = exit {
                self.views.end(None, None, exit, self.goes_on, &mut self.out);
            }
            return;
        };
        while let Some((from, to)) = self.views.wanted_range(ring) {
            match self.stream.as_ref().map(|stream| (stream.id, stream.features)) {
                // Its first word tells.
                Some((_, None)) => self.views.interrupted(),
                Some((id, Some(features))) if features & feature::RANGE_READ != 0 => {
                    let frame = Frame::ReadRange(m::ReadRange { from, to });
                    self.out.push(super::Effect::ToHolder(id, super::Packet::of(&frame)));
                    self.replica.ask_range(from, to);
                }
                Some((_, Some(_))) | None => {
                    self.views.no_range();
                    continue;
                }
            }
            break;
        }
        let (Some(ring), Some(size)) = (self.replica.ring(), self.replica.size()) else { return };
        let screen = self.replica.screen();
        if exit.is_some() {
            self.views.is_last();
        }
        self.needs = self.views.pump(ring, screen, size, self.now.steady_ms, &mut self.out);
        if let Some(exit) = exit {
            self.views.end(Some(ring), screen, exit, self.goes_on, &mut self.out);
        }
        self.grant();
    }

    /// Is there work on the model that is worth doing now? What nobody looks at is not parsed.
    pub fn has_work(&self) -> bool {
        !self.views.is_empty() && self.replica.is_behind()
    }

    /// A step of it: some 50 µs.
    pub fn work(&mut self, now: super::Now) {
        self.now = now;
        if self.replica.work(PIECE) && self.needs.screen {
            self.pump();
        } else {
            self.grant();
        }
    }

    /// A session that nobody looks at and whose job writes on is let go before its output has to be parsed, and so is one that
    /// was followed over a slow way without its scrollback: it is fetched again when somebody comes.
    pub(super) fn let_go_unwatched(&mut self) {
        let hopeless = self.replica.is_far_behind() || self.replica.lost_track() || self.replica.is_short();
        if self.warm && self.views.is_empty() && hopeless {
            self.cool();
        }
    }

    pub(super) fn subscribe(&mut self) {
        // While nobody looked, changes of size were not told.
        self.size_told.forget();
        let subscribe = if self.warm {
            self.replica.subscribe()
        } else {
            self.replica.subscribe_to_nothing();
            // A holder that does not know `status_only` yet has to be told the same in other words: all output was seen, and
            // none is allowed. To one that is asked for a screen it may not send, the end never comes.
            m::Subscribe { status_only: true, from: Some(u64::MAX), ..m::Subscribe::default() }
        };
        // Before the output: the answer is what the way itself takes.
        if let Some(token) = self.replica.ask(self.now.steady_ms) {
            self.send(&Frame::Ping(token));
        }
        self.send(&Frame::Subscribe(subscribe));
    }

    pub(super) fn cool(&mut self) {
        if self.warm && self.views.is_empty() {
            self.warm = false;
            self.replica.cool();
            // A stream of its own: what is still on its way on the old one belongs to nobody.
            if self.stream.is_some() {
                self.open_stream();
            }
        }
    }
}
