//! The views of one session: what each has, what each may have, who leads. No waiting and no I/O: bytes go to each view's
//! queue, which holds no more than the view gave credit for.

use crate::clock;
use crate::manager::doc::ViewDoc;
use crate::wire::OutQueue;
use sessd_core::leader::Leaders;
use sessd_proto::frame::put_snapshot;
use sessd_proto::limits::CHUNK;
use sessd_proto::messages::{Close, CloseReason, Detach, ExitRecord, Presence, ViewState};
use sessd_proto::{Frame, Uuid};
use sessd_terminal::{Cursor, Hub, Next, SnapshotOptions};

/// How far a lossless view may be behind before the stream is held back.
const LOSSLESS_LAG: u64 = 256 * 1024;

/// One view.
pub struct View {
    /// Chosen by the view.
    pub id: Uuid,
    /// What goes to it.
    pub out: OutQueue,
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

    /// A view comes. `job_id`: bytes of another job are of no use to it.
    pub fn join(&mut self, view: View, job_id: &str) {
        // A view that comes again over a new connection replaces itself.
        self.members.retain(|m| m.view.id != view.id);
        let place = match &view.resume {
            Some((offset, job)) if job == job_id => Place::Has(*offset),
            _ => Place::Nothing,
        };
        self.leaders.join(view.id, view.size, !view.read_only);
        self.members.push(Member {
            view,
            place,
            fetched: 0,
            attached_at_ms: clock::wall_ms(),
            told: None,
            redraw: false,
        });
    }

    /// A view left. True if it was here.
    pub fn leave(&mut self, id: Uuid) -> bool {
        self.leaders.leave(id);
        let before = self.members.len();
        self.members.retain(|m| m.view.id != id);
        self.members.len() != before
    }

    /// Sends away all views, or those whose id begins with `which`. How many that were.
    pub fn send_away(&mut self, which: &str) -> usize {
        let (gone, stay): (Vec<_>, Vec<_>) =
            self.members.drain(..).partition(|m| m.view.id.to_string().starts_with(which));
        self.members = stay;
        for member in &gone {
            self.leaders.leave(member.view.id);
            member.view.out.put(0, &Frame::Detach(Detach { detail: String::new() }));
            member.view.out.close();
        }
        gone.len()
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

    /// A view's input was written up to here.
    pub fn acknowledge(&mut self, id: Uuid, seq: u64) {
        if let Some(member) = self.find(id) {
            member.view.out.put(0, &Frame::InputAck { view: id, seq });
        }
    }

    /// What the holder should know about who watches.
    pub fn presence(&self) -> Presence {
        Presence {
            views: self.members.len() as u32,
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
            .map(|m| ViewDoc {
                id: m.view.id.to_string(),
                kind: m.view.kind.clone(),
                read_only: m.view.read_only,
                attached_at: clock::rfc3339(m.attached_at_ms),
            })
            .collect()
    }

    /// Is a lossless view so far behind that the stream must wait for it?
    pub fn holds_back(&self, hub: Option<&Hub>) -> bool {
        let Some(hub) = hub else { return false };
        self.members.iter().filter(|m| m.view.lossless).any(|m| match &m.place {
            Place::Follows(cursor) => cursor.lag(hub) > LOSSLESS_LAG,
            Place::Fetching(_) => true,
            Place::Has(_) | Place::Nothing => false,
        })
    }

    /// Tells each view where its session stands, if it does not know that already.
    pub fn tell(&mut self, state: &ViewState) {
        let leader = self.leaders.leader();
        for member in &mut self.members {
            let state = ViewState { leader: leader == Some(member.view.id), ..state.clone() };
            if member.told.as_ref() != Some(&state) {
                member.view.out.put(0, &Frame::ViewState(state.clone()));
                member.told = Some(state);
            }
        }
    }

    /// The old output that a view needs and the replica does not hold, one view at a time.
    pub fn wanted_range(&mut self, hub: &Hub) -> Option<(u64, u64)> {
        if self.members.iter().any(|m| matches!(m.place, Place::Fetching(_))) {
            return None;
        }
        let oldest = hub.oldest();
        let member = self.members.iter_mut().find(|m| matches!(m.place, Place::Has(at) if at < oldest))?;
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

    /// Sends every view what it is due of `hub`.
    pub fn pump(&mut self, hub: &Hub) {
        for member in &mut self.members {
            match member.place {
                Place::Nothing => member.follow(Cursor::needing_snapshot()),
                // One past our head has seen more than we have: the same bytes will reach us, and it trims them.
                Place::Has(at) if at >= hub.oldest() && at <= hub.head() => member.follow(Cursor::at(at)),
                Place::Has(_) | Place::Fetching(_) | Place::Follows(_) => {}
            }
            member.pump(hub);
        }
    }

    /// The job has ended: each view that has all of its output is told so and let go.
    pub fn end(&mut self, hub: Option<&Hub>, exit: &ExitRecord) {
        let mut done = Vec::new();
        for member in &self.members {
            let has_all = match (&member.place, hub) {
                (Place::Follows(cursor), Some(hub)) => cursor.lag(hub) == 0,
                (_, None) => true,
                (Place::Nothing | Place::Fetching(_) | Place::Has(_), Some(_)) => false,
            };
            if has_all {
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

impl Member {
    fn follow(&mut self, mut cursor: Cursor) {
        cursor.charge(self.fetched);
        cursor.grant(self.view.credit);
        if self.view.lossless {
            cursor.set_max_lag(u64::MAX);
        }
        self.place = Place::Follows(cursor);
    }

    fn pump(&mut self, hub: &Hub) {
        let Place::Follows(cursor) = &mut self.place else { return };
        loop {
            match cursor.next(hub, CHUNK) {
                Next::Bytes { offset, bytes } => self.view.out.put(0, &Frame::Output { offset, bytes }),
                Next::Snapshot { at, skipped } => {
                    // History only once: never again to a view that has it.
                    let scrollback_lines = std::mem::take(&mut self.view.scrollback_lines);
                    let mut snapshot = Vec::new();
                    let options = SnapshotOptions { scrollback_lines, ..SnapshotOptions::default() };
                    hub.terminal().snapshot(options, &mut snapshot);
                    cursor.charge(snapshot.len() as u64);
                    let size = hub.terminal().size();
                    self.view
                        .out
                        .with(|out| put_snapshot(0, at, skipped, (size.cols, size.rows), &snapshot, out));
                }
                Next::Idle if std::mem::take(&mut self.redraw) => cursor.want_snapshot(),
                Next::NoCredit | Next::Idle => return,
            }
        }
    }
}
