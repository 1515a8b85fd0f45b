//! Views whose terminal has another size than the session: bytes that were written for one size make no sense at another,
//! so they are shown a window of the screen around the cursor, drawn anew after each change.
//!
//! A drawing stands for all output before it. What changes while one is on its way is drawn with the next, so that a
//! terminal that is slow, or a job that floods, has one drawing under way and never a queue of them.

use super::{Member, Needs, ViewPosition};
use crate::session::Effects;
use sessd_proto::Frame;
use sessd_proto::frame::put_snapshot;
use sessd_proto::limits::CHUNK;
use sessd_terminal::{Next, Ring, Size, Terminal};

/// Drawn no more often than that, in milliseconds.
const AGAIN_MS: u64 = 20;

/// What a view of another size was shown.
#[derive(Debug, Default)]
pub(super) struct Drawn {
    /// The sizes of session and view that the last drawing was for; none: it is shown bytes.
    sizes: Option<(Size, Size)>,
    /// A drawing is on its way to its terminal.
    under_way: bool,
}

impl Drawn {
    pub(super) fn shown(&mut self) {
        self.under_way = false;
    }
}

impl Member {
    fn own_size(&self) -> Option<Size> {
        self.view.size.map(|(cols, rows)| Size { cols, rows })
    }

    /// Does it have another size than the session?
    pub(super) fn is_drawn(&self, session: Size) -> bool {
        matches!(self.place, ViewPosition::Follows(_)) && self.own_size().is_some_and(|own| own != session)
    }

    /// It is shown bytes from here on, which begin with the whole screen if it was shown a part before.
    pub(super) fn leave_drawn(&mut self) {
        if self.part.sizes.take().is_some()
            && let ViewPosition::Follows(cursor) = &mut self.place
        {
            cursor.want_snapshot();
            self.redraw = false;
        }
    }

    /// Draws what is to be seen, if that is not what is shown.
    pub(super) fn draw(
        &mut self,
        ring: &Ring,
        screen: Option<&Terminal>,
        session: Size,
        now_ms: u64,
        needs: &mut Needs,
        out: &mut Effects,
    ) {
        let (ViewPosition::Follows(cursor), Some(own)) = (&self.place, self.view.size) else { return };
        let mut next = cursor.clone();
        let own = Size { cols: own.0, rows: own.1 };
        let is_new = self.part.sizes != Some((session, own)) || cursor.lag(ring) > 0 || self.redraw;
        if !is_new || self.part.under_way {
            return;
        }
        if !self.has_room(out) {
            return;
        }
        if let Some(at) = self.drawn.map(|drawn| drawn + AGAIN_MS).filter(|at| *at > now_ms) {
            needs.redraw_at = Some(needs.redraw_at.map_or(at, |earliest| earliest.min(at)));
            return;
        }
        let Some(screen) = screen else {
            needs.screen = true;
            return;
        };
        next.want_snapshot();
        let Next::Snapshot { at, .. } = next.next(ring, CHUNK) else { return };
        let mut drawing = Vec::new();
        // History only once, as for all views.
        let history = std::mem::take(&mut self.view.scrollback_lines);
        screen.draw(own, history, &mut drawing);
        next.charge(drawing.len() as u64);
        self.place = ViewPosition::Follows(next);
        let paced = self.view.paced;
        self.way.waiting += out.append_to_view(self.view.id, |bytes| {
            put_snapshot(0, at, 0, (session.cols, session.rows), &drawing, bytes);
            if paced {
                Frame::Ping(at).put(0, bytes);
            }
        });
        (self.redraw, self.drawn) = (false, Some(now_ms));
        self.part = Drawn { sizes: Some((session, own)), under_way: paced };
    }
}
