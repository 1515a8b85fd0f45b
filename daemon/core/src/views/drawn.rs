//! Views whose terminal has another size than the session: bytes that were written for one size make no sense at another,
//! so they are shown a window of the screen around the cursor: drawn once, and then what changes in it.
//!
//! A drawing stands for all output before it. What changes while one is on its way is drawn with the next, so that a
//! terminal that is slow, or a job that floods, has one drawing under way and never a queue of them.

use super::{Connections, Member, Needs, ViewPosition};
use sessd_proto::Frame;
use sessd_proto::frame::put_snapshot;
use sessd_proto::limits::CHUNK;
use sessd_terminal::{Drawing, Next, Ring, Size, Terminal};

/// Drawn no more often than that, in milliseconds.
const AGAIN_MS: u64 = 20;

/// What a view of another size was shown.
#[derive(Debug, Default)]
pub(super) struct Drawn {
    /// The sizes of session and view that the last drawing was for; none: it is shown bytes.
    sizes: Option<(Size, Size)>,
    /// What its terminal shows; none: it is shown bytes.
    drawing: Option<Drawing>,
    /// Bytes that it had missed when it was shown no more of them.
    missed: u64,
    /// A drawing is on its way to its terminal.
    under_way: bool,
}

impl Drawn {
    pub(super) fn shown(&mut self) {
        self.under_way = false;
    }

    pub(super) fn drawing(&self) -> Option<&Drawing> {
        self.drawing.as_ref()
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
        if std::mem::take(&mut self.part).drawing.is_some()
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
        out: &mut impl Connections,
    ) {
        let (ViewPosition::Follows(cursor), Some(own)) = (&mut self.place, self.view.size) else { return };
        let own = Size { cols: own.0, rows: own.1 };
        if self.part.drawing.is_none() {
            // What it was due and had not got yet is drawn. Who was too far behind for that has missed it.
            self.part.missed = cursor.forgo(ring);
            self.part.drawing = Some(Drawing::new(self.view.differences.unwrap_or_default()));
        }
        let mut next = cursor.clone();
        let missed = cursor.lag(ring) > 0;
        let is_new = self.part.sizes != Some((session, own)) || missed || self.redraw;
        if !is_new || self.part.under_way {
            return;
        }
        if !self.has_room(out) {
            return;
        }
        if let Some(at) = self.drawn.map(|drawn| drawn + AGAIN_MS).filter(|at| *at > now_ms) {
            needs.again_at(at);
            return;
        }
        let Some(screen) = screen else {
            needs.screen = true;
            return;
        };
        next.want_snapshot();
        let Next::Snapshot { at, .. } = next.next(ring, CHUNK) else { return };
        next.forgo(ring);
        // History only once, as for all views.
        let history = self.history(screen);
        let Some(drawing) = &mut self.part.drawing else { return };
        if missed {
            self.returned = None;
        }
        if self.redraw || self.view.differences.is_none() {
            drawing.forget();
        }
        let mut drawn = Vec::new();
        let whole = drawing.draw(screen, own, history, &mut drawn);
        next.charge(drawn.len() as u64);
        self.place = ViewPosition::Follows(next);
        (self.redraw, self.drawn) = (false, Some(now_ms));
        (self.part.sizes, self.part.under_way) = (Some((session, own)), self.view.paced && !drawn.is_empty());
        if drawn.is_empty() {
            // What changed is not seen in this view.
            return;
        }
        let (skipped, paced) = (std::mem::take(&mut self.part.missed), self.view.paced);
        self.way.waiting += out.append_to_view(self.view.id, |bytes| {
            if whole {
                put_snapshot(0, at, skipped, (session.cols, session.rows), &drawn, bytes);
            } else {
                for part in drawn.chunks(CHUNK) {
                    Frame::Drawing { at, bytes: part }.put(0, bytes);
                }
            }
            if paced {
                Frame::Ping(at).put(0, bytes);
            }
        });
    }
}
