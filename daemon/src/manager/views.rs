//! The views of one session: what each has, what each may have, who leads. No waiting and no I/O: bytes go to each view's
//! queue, which holds no more than the view gave credit for and no more than a bound of ours: a view that does not read gets
//! nothing more until it does, whatever it allowed.

mod drawn;

use crate::clock;
use crate::wire::OutQueue;
use drawn::Drawn;
use sessd_core::leader::Leaders;
use sessd_core::typing::Typed;
use sessd_proto::docs::ViewDoc;
use sessd_proto::docs::time::rfc3339;
use sessd_proto::frame::put_snapshot;
use sessd_proto::limits::CHUNK;
use sessd_proto::messages::{Close, CloseReason, Detach, ExitRecord, Presence, ViewState};
use sessd_proto::{Frame, Uuid};
use sessd_terminal::{Cursor, Next, Ring, Size, SnapshotOptions, Terminal};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// How far a lossless view may be behind before the stream is held back.
const LOSSLESS_LAG: u64 = 256 * 1024;

/// A view's screen is drawn anew no more often than that, whoever wants it: what is wanted meanwhile is drawn once.
const REDRAW: Duration = Duration::from_millis(50);

/// One view.
pub struct View {
    /// Chosen by the view.
    pub id: Uuid,
    /// What goes to it.
    pub out: OutQueue,
    /// Tells the session that the view has read what was there.
    pub drained: Rc<dyn Fn()>,
    /// "cli", "web", …
    pub kind: String,
    /// It may not type.
    pub read_only: bool,
    /// The others are sent away when it comes.
    pub take: bool,
    /// The job waits for it.
    pub lossless: bool,
    /// Its terminal, if it was measured.
    pub size: Option<(u16, u16)>,
    /// The next output byte it needs, and of which job; none: it has nothing yet.
    pub resume: Option<(u64, String)>,
    /// Cumulative credit so far.
    pub credit: u64,
    /// Lines of scrollback for its first snapshot.
    pub scrollback_lines: usize,
    /// It answers heartbeats when it has shown what came before them.
    pub paced: bool,
    /// A script: it never leads, whatever it types, and is not sent away with the others.
    pub passive: bool,
    /// It only looks and goes: it is not counted and not listed.
    pub uncounted: bool,
    /// It wants no output.
    pub no_output: bool,
}

/// Where a view's output stands.
enum Place {
    /// It has nothing and waits for a replica.
    Nothing,
    /// It has all before this offset.
    Has(u64),
    /// Old bytes up to this offset are on their way from the holder.
    Fetching(u64),
    /// It follows the replica.
    Follows(Cursor),
}

struct Member {
    view: View,
    place: Place,
    /// Bytes of old output it was sent, which count against its credit as well.
    fetched: u64,
    attached_at_ms: i64,
    told: Option<ViewState>,
    /// Its screen is to be drawn anew once it has all output: nothing is skipped for that.
    redraw: bool,
    /// When it was last drawn for that.
    drawn: Option<Instant>,
    /// It has another size than the session, and is shown a part of it, drawn.
    part: Drawn,
    typed: Typed,
    /// How far its input was written, where it was not told so yet.
    to_acknowledge: Option<u64>,
}

/// What the views need and have not got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Needs {
    /// One needs a screen, and the model is behind.
    pub screen: bool,
    /// When one may be drawn anew.
    pub redraw_at: Option<Instant>,
}

/// All views of a session.
#[derive(Default)]
pub struct Views {
    members: Vec<Member>,
    /// Who leads.
    pub leaders: Leaders,
}

impl Views {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Nobody watches.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Is there a view of that id whose connection is open? Another that claims to be it is not it: a view that comes again
    /// has left its old connection.
    pub fn is_here(&self, id: Uuid) -> bool {
        self.members.iter().any(|m| m.view.id == id && !m.view.out.is_closed())
    }

    /// A view comes. `job_id`: bytes of another job are of no use to it.
    pub fn join(&mut self, view: View, job_id: &str) {
        // A view that comes again over a new connection replaces itself.
        self.members.retain(|m| m.view.id != view.id);
        let place = match &view.resume {
            Some((offset, job)) if job == job_id => Place::Has(*offset),
            _ => Place::Nothing,
        };
        self.leaders.join(view.id, view.size, !(view.read_only || view.passive));
        self.members.push(Member {
            view,
            place,
            fetched: 0,
            attached_at_ms: clock::wall_ms(),
            told: None,
            redraw: false,
            drawn: None,
            part: Drawn::default(),
            typed: Typed::default(),
            to_acknowledge: None,
        });
    }

    /// A view left. True if it was here.
    pub fn leave(&mut self, id: Uuid) -> bool {
        self.leaders.leave(id);
        let before = self.members.len();
        self.members.retain(|m| m.view.id != id);
        self.members.len() != before
    }

    /// Sends away all views, or those whose id begins with `which`, and tells them `why`. Scripts stay where all are meant,
    /// unless `scripts`. How many that were.
    pub fn send_away(&mut self, which: &str, why: &str, scripts: bool, screen: Option<&Terminal>) -> usize {
        let meant = |m: &Member| {
            let spared = m.view.passive && which.is_empty() && !scripts;
            !spared && m.view.id.to_string().starts_with(which)
        };
        let (gone, stay): (Vec<_>, Vec<_>) = self.members.drain(..).partition(meant);
        self.members = stay;
        for member in &gone {
            self.leaders.leave(member.view.id);
            member.tell_text_rows(screen);
            member.view.out.put(0, &Frame::Detach(Detach { detail: why.to_owned() }));
            member.view.out.close();
        }
        gone.len()
    }

    /// Lets go of all of them: their connections end without a word, and they come again.
    pub fn let_go(&mut self) {
        for member in self.members.drain(..) {
            self.leaders.leave(member.view.id);
            member.view.out.close();
        }
    }

    /// Does it only look and go?
    pub fn is_uncounted(&self, id: Uuid) -> bool {
        self.members.iter().any(|m| m.view.id == id && m.view.uncounted)
    }

    /// Ends a view's connection, with a sentence if it is at fault.
    pub fn close(&mut self, id: Uuid, why: &str) {
        if let Some(member) = self.find(id) {
            if !why.is_empty() {
                let close = Close { reason: CloseReason::Protocol as i32, detail: why.to_owned() };
                member.view.out.put(0, &Frame::Close(close));
            }
            member.view.out.close();
        }
    }

    /// A view is about to leave: below what its terminal shows is room.
    pub fn tell_text_rows(&mut self, id: Uuid, screen: Option<&Terminal>) {
        if let Some(member) = self.find(id) {
            member.tell_text_rows(screen);
        }
    }

    fn find(&mut self, id: Uuid) -> Option<&mut Member> {
        self.members.iter_mut().find(|m| m.view.id == id)
    }

    /// May it not type? An unknown one may not either.
    pub fn is_read_only(&self, id: Uuid) -> bool {
        self.members.iter().find(|m| m.view.id == id).is_none_or(|m| m.view.read_only)
    }

    /// A view allows so many bytes in all.
    pub fn grant(&mut self, id: Uuid, total: u64) {
        if let Some(member) = self.find(id) {
            member.view.credit = member.view.credit.max(total);
            if let Place::Follows(cursor) = &mut member.place {
                cursor.grant(total);
            }
        }
    }

    /// A view wants its whole screen again, as of when it has all output.
    pub fn redraw(&mut self, id: Uuid) {
        if let Some(member) = self.find(id) {
            member.redraw = true;
        }
    }

    /// The PTY's size changed: each terminal has made of that what it does, and the model may have made another thing.
    pub fn redraw_all(&mut self) {
        for member in &mut self.members {
            member.redraw = true;
        }
    }

    /// A view types. False: it goes beyond its window, whatever it was told.
    pub fn may_type(&mut self, id: Uuid, seq: u64, len: usize, withdrawn: bool) -> bool {
        self.find(id).is_some_and(|member| member.typed.passes(seq, len, withdrawn))
    }

    /// A view's input was written up to here.
    pub fn acknowledge(&mut self, id: Uuid, seq: u64) {
        if let Some(member) = self.find(id) {
            member.typed.written(seq);
            member.to_acknowledge = Some(seq);
            member.tell_acknowledged();
        }
    }

    /// What a view withdrew, and which of it had not come.
    pub fn withdrawn(&mut self, id: Uuid, from: u64, to: u64) {
        if let Some(member) = self.find(id) {
            member.view.out.put(0, &Frame::Withdrawn { view: id, from, to });
        }
    }

    /// A view's terminal has another size.
    pub fn resized(&mut self, id: Uuid, size: (u16, u16)) {
        self.leaders.resized(id, size);
        if let Some(member) = self.find(id) {
            member.view.size = Some(size);
        }
    }

    /// What the holder should know about who watches.
    pub fn presence(&self) -> Presence {
        Presence {
            views: self.members.iter().filter(|m| !m.view.uncounted).count() as u32,
            interactive: self.leaders.leader().is_some(),
            lossless: self.members.iter().any(|m| m.view.lossless),
            view_ids: self.members.iter().map(|m| m.view.id.as_bytes().to_vec()).collect(),
            ..Presence::default()
        }
    }

    /// For people.
    pub fn docs(&self) -> Vec<ViewDoc> {
        self.members
            .iter()
            .filter(|m| !m.view.uncounted)
            .map(|m| ViewDoc {
                id: m.view.id.to_string(),
                kind: m.view.kind.clone(),
                read_only: m.view.read_only,
                attached_at: rfc3339(m.attached_at_ms),
            })
            .collect()
    }

    /// Is a lossless view so far behind that the stream must wait for it?
    pub fn holds_back(&self, ring: Option<&Ring>) -> bool {
        let Some(ring) = ring else { return false };
        self.members.iter().filter(|m| m.view.lossless).any(|m| match &m.place {
            Place::Follows(cursor) => cursor.lag(ring) > LOSSLESS_LAG,
            Place::Fetching(_) => true,
            Place::Has(_) | Place::Nothing => false,
        })
    }

    /// Tells each view where its session stands, if it does not know that already.
    pub fn tell(&mut self, state: &ViewState) {
        let leader = self.leaders.leader();
        for member in &mut self.members {
            let state = ViewState { leader: leader == Some(member.view.id), ..state.clone() };
            if member.told.as_ref() == Some(&state) {
                continue;
            }
            if member.view.out.is_full() {
                // Told what is so then.
                member.wait_for_room();
                continue;
            }
            member.view.out.put(0, &Frame::ViewState(state.clone()));
            member.told = Some(state);
        }
    }

    /// The old output that a view needs and the replica does not hold, one view at a time.
    pub fn wanted_range(&mut self, ring: &Ring) -> Option<(u64, u64)> {
        if self.members.iter().any(|m| matches!(m.place, Place::Fetching(_))) {
            return None;
        }
        let oldest = ring.oldest();
        let wants = |m: &&mut Member| !m.view.no_output && matches!(m.place, Place::Has(at) if at < oldest);
        let member = self.members.iter_mut().find(wants)?;
        let Place::Has(at) = member.place else { return None };
        member.place = Place::Fetching(at);
        Some((at, oldest))
    }

    /// The stream that old output was asked for on is gone, and the answer with it: it is asked for again on the next.
    pub fn interrupted(&mut self) {
        for member in &mut self.members {
            if let Place::Fetching(at) = member.place {
                member.place = Place::Has(at);
            }
        }
    }

    /// Old output cannot be fetched now: who waits for it gets a snapshot, and how much it skipped.
    pub fn no_range(&mut self) {
        for member in &mut self.members {
            if let Place::Fetching(at) = member.place {
                member.follow(Cursor::at(at));
            }
        }
    }

    /// Old output came, for the view that asked.
    pub fn range(&mut self, offset: u64, more: bool, expired: bool, bytes: &[u8]) {
        let Some(member) = self.members.iter_mut().find(|m| matches!(m.place, Place::Fetching(_))) else {
            return;
        };
        let Place::Fetching(at) = member.place else { return };
        // Not what is missing next: the cursor finds that out of the ring and sends a snapshot.
        let fits = offset == at && !expired;
        let mut reached = at;
        if fits && !bytes.is_empty() {
            member.view.out.put(0, &Frame::Output { offset, bytes });
            member.fetched += bytes.len() as u64;
            reached += bytes.len() as u64;
        }
        if fits && more {
            member.place = Place::Fetching(reached);
        } else {
            member.follow(Cursor::at(reached));
        }
    }

    /// A view has shown what it was sent up to a heartbeat.
    pub fn has_shown(&mut self, id: Uuid) {
        if let Some(member) = self.find(id) {
            member.part.shown();
        }
    }

    /// Sends every view what it is due of `ring`, and what it was not told for want of room. `screen`: the model, if it
    /// stands at the head.
    pub fn pump(&mut self, ring: &Ring, screen: Option<&Terminal>, size: Size, now: Instant) -> Needs {
        let mut needs = Needs::default();
        for member in &mut self.members {
            if member.view.no_output {
                continue;
            }
            match member.place {
                Place::Nothing => member.follow(Cursor::needing_snapshot()),
                // One past our head has seen more than we have: the same bytes will reach us, and it trims them.
                Place::Has(at) if at >= ring.oldest() && at <= ring.head() => member.follow(Cursor::at(at)),
                Place::Has(_) | Place::Fetching(_) | Place::Follows(_) => {}
            }
            member.tell_acknowledged();
            if member.is_drawn(size) {
                member.draw(ring, screen, size, now, &mut needs);
            } else {
                member.leave_drawn();
                member.pump(ring, screen, now, &mut needs);
            }
        }
        needs
    }

    /// The job has ended: each view that has all of its output is told so and let go.
    pub fn end(&mut self, ring: Option<&Ring>, screen: Option<&Terminal>, exit: &ExitRecord) {
        let mut done = Vec::new();
        for member in &self.members {
            let has_all = match (&member.place, ring) {
                _ if member.view.no_output => true,
                (Place::Follows(cursor), Some(ring)) => cursor.lag(ring) == 0,
                (_, None) => true,
                (Place::Nothing | Place::Fetching(_) | Place::Has(_), Some(_)) => false,
            };
            if has_all {
                member.tell_text_rows(screen);
                member.view.out.put(0, &Frame::Ended(exit.clone()));
                member.view.out.close();
                done.push(member.view.id);
            }
        }
        for id in done {
            self.leave(id);
        }
    }
}

/// Whatever ended the task that had them, they do not wait for what never comes.
impl Drop for Views {
    fn drop(&mut self) {
        self.let_go();
    }
}

impl Member {
    fn follow(&mut self, mut cursor: Cursor) {
        cursor.charge(self.fetched);
        cursor.grant(self.view.credit);
        if self.view.lossless {
            cursor.set_max_lag(u64::MAX);
        }
        self.place = Place::Follows(cursor);
    }

    fn tell_text_rows(&self, screen: Option<&Terminal>) {
        let (Some(screen), Some((cols, rows))) = (screen, self.view.size) else { return };
        let text_rows = Some(screen.rows_of_text(Size { cols, rows }).into());
        let state = ViewState { text_rows, ..self.told.clone().unwrap_or_default() };
        self.view.out.put(0, &Frame::ViewState(state));
    }

    fn wait_for_room(&self) {
        let drained = self.view.drained.clone();
        self.view.out.when_drained(move || drained());
    }

    fn tell_acknowledged(&mut self) {
        if self.to_acknowledge.is_some() && self.view.out.is_full() {
            self.wait_for_room();
        } else if let Some(seq) = self.to_acknowledge.take() {
            self.view.out.put(0, &Frame::InputAck { view: self.view.id, seq });
        }
    }

    fn pump(&mut self, ring: &Ring, screen: Option<&Terminal>, now: Instant, needs: &mut Needs) {
        let Place::Follows(cursor) = &mut self.place else { return };
        loop {
            if self.view.out.is_full() {
                return self.wait_for_room();
            }
            // Where it would go next; it goes there when that can be sent.
            let mut next = cursor.clone();
            match next.next(ring, CHUNK) {
                Next::Bytes { offset, bytes } => self.view.out.put(0, &Frame::Output { offset, bytes }),
                Next::Snapshot { at, skipped } => {
                    let Some(screen) = screen else {
                        needs.screen = true;
                        return;
                    };
                    // History only once: never again to a view that has it.
                    let scrollback_lines = std::mem::take(&mut self.view.scrollback_lines);
                    let mut snapshot = Vec::new();
                    let options = SnapshotOptions { scrollback_lines, ..SnapshotOptions::default() };
                    screen.snapshot(options, &mut snapshot);
                    next.charge(snapshot.len() as u64);
                    let size = screen.size();
                    self.view
                        .out
                        .with(|out| put_snapshot(0, at, skipped, (size.cols, size.rows), &snapshot, out));
                }
                Next::Idle if self.redraw => {
                    if let Some(at) = self.drawn.map(|drawn| drawn + REDRAW).filter(|at| *at > now) {
                        needs.redraw_at = Some(needs.redraw_at.map_or(at, |earliest| earliest.min(at)));
                        return;
                    }
                    (self.redraw, self.drawn) = (false, Some(now));
                    next.want_snapshot();
                }
                Next::NoCredit | Next::Idle => return,
            }
            *cursor = next;
        }
    }
}
