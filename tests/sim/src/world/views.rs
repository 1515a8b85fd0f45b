//! Views come, read and type.

use super::{Happening, World};
use crate::promises;
use crate::view::Found;
use sessd_proto::messages::EndReason;

impl World {
    /// A view reads, comes again, and sends what it has.
    pub(super) fn view(&mut self, number: usize) {
        let view = &mut self.views[number];
        if view.life.is_none() && view.again_ms.is_some_and(|at| at <= self.now) && !view.over {
            let (manager, session, introduction) = (view.manager, view.session, view.introduces());
            let life = self.managers[manager].process.as_ref().map(|process| process.life);
            let view = &mut self.views[number];
            match life {
                Some(life) => {
                    (view.life, view.again_ms) = (Some(life), None);
                    let there = self.with(manager, |process| process.attach(session, introduction));
                    if there != Some(true) {
                        // It is done, or gone: there is nothing to look at.
                        let view = &mut self.views[number];
                        (view.life, view.over) = (None, true);
                    }
                }
                None => {
                    view.again_ms = Some(self.now + 500);
                    self.at(self.now + 500, Happening::View(number));
                }
            }
        }
        if self.views[number].slow_until > self.now {
            let until = self.views[number].slow_until;
            return self.at(until, Happening::View(number));
        }
        self.read(number);
        self.send(number);
    }

    pub(super) fn read(&mut self, number: usize) {
        let now = self.now;
        if self.views[number].unread.is_empty() {
            return;
        }
        for found in self.views[number].reads(now) {
            promises::view_found(self, number, &found);
            if let Found::Ended(reason) = found {
                // Of one that is restarted there is more to see.
                let goes_on = reason == EndReason::Restarted as i32;
                let again = goes_on.then_some(now + 200);
                (self.views[number].life, self.views[number].again_ms) = (None, again);
                self.views[number].over = !goes_on;
                self.at(now + 200, Happening::View(number));
            }
        }
        let (id, manager) = (self.views[number].id, self.views[number].manager);
        if self.views[number].life.is_some() {
            self.with(manager, |process| process.drained(id, 0));
        }
    }

    pub(super) fn send(&mut self, number: usize) {
        let now = self.now;
        let frames = self.views[number].sends(now);
        if let Some(life) = self.views[number].life {
            for frame in frames {
                self.at(now, Happening::FromView(number, life, frame));
            }
        }
    }
}
