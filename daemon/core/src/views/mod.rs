//! The views of one session: what each has, what each may have, who leads. What goes to a view is an effect; it is no more
//! than the view gave credit for, and no more than a bound of ours may wait for it: a view that does not read gets nothing
//! more until it does, whatever it allowed.

mod connections;
mod drawn;
mod onlookers;
mod shown;

use crate::leader::Leaders;
use crate::typing::Typed;
pub use connections::Connections;
use drawn::Drawn;
use onlookers::Onlookers;
use sessd_proto::docs::time::rfc3339;
use sessd_proto::docs::{SizeDoc, SizePolicy, ViewDoc};
use sessd_proto::frame::put_snapshot;
use sessd_proto::limits::{CHUNK, VIEW_WINDOW};
use sessd_proto::messages::{Close, CloseReason, Detach, ExitRecord, Presence, Traits, ViewState};
use sessd_proto::{Frame, Uuid};
use sessd_terminal::{Abilities, Cursor, Next, Ring, Size, SnapshotOptions, Terminal};
use shown::Shown;

/// How far a lossless view may be behind before the stream is held back.
const LOSSLESS_LAG: u64 = 256 * 1024;

/// A view's screen is drawn anew no more often than that, in milliseconds, whoever wants it: what is wanted meanwhile is
/// drawn once.
const REDRAW_MS: u64 = 50;

/// Bytes that may wait for a view that does not read; beyond it nothing more goes there until they were taken. As much as a
/// view of ours ever allows.
const WAITING_MAX: usize = VIEW_WINDOW as usize;

/// Views that are named to one that comes.
const NAMED_MAX: usize = 3;

/// One view, as it comes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// Chosen by the view.
    pub id: Uuid,
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
    /// What its terminal can do; none: it knows nothing of differences, and is drawn whole each time.
    pub differences: Option<Abilities>,
    /// Where its person sits, in a few words; may be empty.
    pub from: String,
    /// A script: it never leads, whatever it types, and is not sent away with the others.
    pub passive: bool,
    /// It only looks and goes: it is not counted and not listed.
    pub uncounted: bool,
    /// It wants no output.
    pub no_output: bool,
    /// The session is there for it alone.
    pub owns: bool,
    /// What it was, if it comes again.
    pub standing: Option<sessd_proto::messages::Standing>,
    /// Names the terminal that it is shown in; empty: not known.
    pub terminal: String,
    /// What that is like, as far as it is known.
    pub traits: Option<Traits>,
    /// Images that were shown are not shown again.
    pub no_images: bool,
}

impl View {
    /// In a few words.
    fn about(&self) -> String {
        if self.from.is_empty() { self.kind.clone() } else { format!("{} on {}", self.kind, self.from) }
    }

    /// Who it is that takes a session over, for those that it is taken from.
    pub fn who_takes(&self) -> String {
        format!("taken by another view ({})", self.about())
    }
}

/// Where a view's output stands.
#[derive(Debug)]
enum ViewPosition {
    /// It has nothing and waits for a replica.
    Nothing,
    /// It has all before this offset.
    Has(u64),
    /// Old bytes up to this offset are on their way from the holder.
    Fetching(u64),
    /// It follows the replica.
    Follows(Cursor),
}

/// What waits on the way to a view.
#[derive(Debug, Clone, Copy, Default)]
struct ViewQueue {
    /// Bytes that were given out since it was last told how many wait, and those: it is never less than what waits.
    waiting: usize,
    /// It was asked to be told when there is room.
    asked: bool,
}

#[derive(Debug)]
struct Member {
    view: View,
    way: ViewQueue,
    place: ViewPosition,
    /// Bytes of old output it was sent, which count against its credit as well.
    fetched: u64,
    attached_at_ms: i64,
    told: Option<ViewState>,
    /// Its screen is to be drawn anew once it has all output: nothing is skipped for that.
    redraw: bool,
    /// When it was last drawn for that.
    drawn: Option<u64>,
    /// Some output never went there.
    skipped: bool,
    /// How many rows had come back from the scrollback when its terminal was last shown the screen, and has had all since.
    returned: Option<u64>,
    /// How many rows had left the screen when its terminal was left before.
    shown: Option<u64>,
    /// It has another size than the session, and is shown a part of it, drawn.
    part: Drawn,
    typed: Typed,
    /// How far its input was written, where it was not told so yet.
    to_acknowledge: Option<u64>,
    /// It is told of the echo of what it types.
    predicts: bool,
}

/// What the views need and have not got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Needs {
    /// One needs a screen, and the model is behind.
    pub screen: bool,
    /// When one may be drawn anew or is sent what it waits for, in milliseconds of the steady clock.
    pub again_at: Option<u64>,
}

impl Needs {
    fn again_at(&mut self, at: u64) {
        self.again_at = Some(self.again_at.map_or(at, |earliest| earliest.min(at)));
    }
}

/// All views of a session.
#[derive(Debug, Default)]
pub struct Views {
    members: Vec<Member>,
    /// Who leads.
    pub leaders: Leaders,
    shown: Shown,
    onlookers: Onlookers,
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

    /// Is there a view of that id? Another that claims to be it is not it: a view that comes again has left its old
    /// connection.
    pub fn is_here(&self, id: Uuid) -> bool {
        self.members.iter().any(|m| m.view.id == id)
    }

    /// A view comes. `job_id`: bytes of another job are of no use to it.
    pub fn join(&mut self, view: View, job_id: &str, wall_ms: i64) {
        // A view that comes again over a new connection replaces itself.
        self.members.retain(|m| m.view.id != view.id);
        let place = match &view.resume {
            Some((offset, job)) if job == job_id => ViewPosition::Has(*offset),
            _ => ViewPosition::Nothing,
        };
        self.leaders.join(view.id, view.size, !(view.read_only || view.passive), view.standing);
        let shown = self.shown.by(&view.terminal);
        self.members.push(Member {
            view,
            way: ViewQueue::default(),
            place,
            fetched: 0,
            attached_at_ms: wall_ms,
            told: None,
            redraw: false,
            drawn: None,
            skipped: false,
            returned: None,
            shown,
            part: Drawn::default(),
            typed: Typed::default(),
            to_acknowledge: None,
            predicts: false,
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
    pub fn send_away(
        &mut self,
        which: &str,
        why: &str,
        scripts: bool,
        screen: Option<&Terminal>,
        out: &mut impl Connections,
    ) -> usize {
        let meant = |m: &Member| {
            let spared = m.view.passive && which.is_empty() && !scripts;
            !spared && m.view.id.to_string().starts_with(which)
        };
        let (gone, stay): (Vec<_>, Vec<_>) = self.members.drain(..).partition(meant);
        self.members = stay;
        let count = gone.len();
        for mut member in gone {
            self.leaders.leave(member.view.id);
            member.leaves(screen, &mut self.shown, out);
            member.put(&Frame::Detach(Detach { detail: why.to_owned() }), out);
            out.close_view(member.view.id);
        }
        count
    }

    /// Lets go of all of them: their connections end without a word, and they come again.
    pub fn let_go(&mut self, out: &mut impl Connections) {
        for member in self.members.drain(..) {
            self.leaders.leave(member.view.id);
            out.close_view(member.view.id);
        }
    }

    /// Is somebody here for whom alone the session is there? Who may only look owns nothing: it would end the session by going.
    pub fn has_owner(&self) -> bool {
        self.members.iter().any(|m| m.view.owns && !m.view.read_only)
    }

    /// Does it only look and go?
    pub fn is_uncounted(&self, id: Uuid) -> bool {
        self.members.iter().any(|m| m.view.id == id && m.view.uncounted)
    }

    /// Ends a view's connection, with a sentence if it is at fault.
    pub fn close(&mut self, id: Uuid, why: &str, out: &mut impl Connections) {
        if let Some(member) = self.find(id) {
            if !why.is_empty() {
                let close = Close { reason: CloseReason::Protocol as i32, detail: why.to_owned() };
                member.put(&Frame::Close(close), out);
            }
            out.close_view(id);
        }
    }

    /// A view is about to leave: below what its terminal shows is room.
    pub fn tell_text_rows(&mut self, id: Uuid, screen: Option<&Terminal>, out: &mut impl Connections) {
        if let Some(member) = self.members.iter_mut().find(|m| m.view.id == id) {
            member.leaves(screen, &mut self.shown, out);
        }
    }

    /// A view has read: so many bytes wait for it now.
    pub fn drained(&mut self, id: Uuid, waiting: usize) {
        if let Some(member) = self.find(id) {
            member.way = ViewQueue { waiting, asked: false };
        }
    }

    /// Sends a view a frame out of turn.
    pub fn put(&mut self, id: Uuid, frame: &Frame<'_>, out: &mut impl Connections) {
        if let Some(member) = self.find(id) {
            member.put(frame, out);
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
            if let ViewPosition::Follows(cursor) = &mut member.place {
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
    pub fn may_type(&mut self, id: Uuid, seq: u64, len: usize, withdrawn: bool, window: u64) -> bool {
        self.find(id).is_some_and(|member| member.typed.passes(seq, len, withdrawn, window))
    }

    /// A view's input was written up to here.
    pub fn acknowledge(&mut self, id: Uuid, seq: u64, out: &mut impl Connections) {
        if let Some(member) = self.find(id) {
            member.typed.written(seq);
            member.to_acknowledge = Some(seq);
            member.tell_acknowledged(out);
        }
    }

    /// A view wants to be told of the echo of what it types, or not any more. True if that is news.
    pub fn predicts(&mut self, id: Uuid, on: bool) -> bool {
        self.find(id).is_some_and(|member| std::mem::replace(&mut member.predicts, on) != on)
    }

    /// Word of a view's echo. It is only for the moment: where there is no room it is left out, and the next says more.
    pub fn echoed(&mut self, id: Uuid, frame: &Frame<'_>, out: &mut impl Connections) {
        if let Some(member) = self.find(id).filter(|member| member.predicts)
            && member.has_room(out)
        {
            member.put(frame, out);
        }
    }

    /// What a view withdrew, and which of it had not come.
    pub fn withdrawn(&mut self, id: Uuid, from: u64, to: u64, out: &mut impl Connections) {
        self.put(id, &Frame::Withdrawn { view: id, from, to }, out);
    }

    /// A view's terminal has another size.
    pub fn resized(&mut self, id: Uuid, size: (u16, u16)) {
        self.leaders.resized(id, size);
        if let Some(member) = self.find(id) {
            member.view.size = Some(size);
        }
    }

    /// What a view's terminal is like is known now. True if the holder is to hear of it.
    pub fn is_like(&mut self, id: Uuid, traits: Traits) -> bool {
        let leads = self.leaders.leader() == Some(id);
        self.find(id).is_some_and(|member| member.view.traits.replace(traits) != Some(traits)) && leads
    }

    /// What the holder should know about who watches.
    pub fn presence(&self) -> Presence {
        let leader = self.leaders.leader();
        Presence {
            views: self.members.iter().filter(|m| !m.view.uncounted).count() as u32,
            interactive: leader.is_some(),
            lossless: self.members.iter().any(|m| m.view.lossless),
            traits: self.members.iter().find(|m| Some(m.view.id) == leader).and_then(|m| m.view.traits),
            view_ids: self.members.iter().map(|m| m.view.id.as_bytes().to_vec()).collect(),
            predicting: self
                .members
                .iter()
                .filter(|m| m.predicts)
                .map(|m| m.view.id.as_bytes().to_vec())
                .collect(),
            ..Presence::default()
        }
    }

    /// For people: all but those that only look and go.
    pub fn docs(&self, policy: SizePolicy) -> Vec<ViewDoc> {
        let leader = self.leaders.leader();
        let size = |(cols, rows): (u16, u16)| SizeDoc { cols: cols.into(), rows: rows.into() };
        let doc = |m: &Member| ViewDoc {
            id: m.view.id.to_string(),
            kind: m.view.kind.clone(),
            read_only: m.view.read_only,
            attached_at: rfc3339(m.attached_at_ms),
            leads: leader == Some(m.view.id),
            sizes: self.leaders.counts_in_size(m.view.id, policy),
            size: m.view.size.map(size),
            from: Some(m.view.from.clone()).filter(|from| !from.is_empty()),
        };
        self.members.iter().filter(|m| !m.view.uncounted).map(doc).collect()
    }

    /// How many there are of those that are counted, and a few of them in words.
    pub fn in_words(&self) -> (u32, String) {
        let counted = || self.members.iter().filter(|m| !m.view.uncounted);
        let about = |m: &Member| {
            let size = m.view.size.map(|(cols, rows)| format!(" {cols}x{rows}")).unwrap_or_default();
            format!("{}{size}", m.view.about())
        };
        let mut words: Vec<String> = counted().take(NAMED_MAX).map(about).collect();
        let more = counted().count() - words.len();
        words.extend((more > 0).then(|| format!("{more} more")));
        (counted().count() as u32, words.join(", "))
    }

    /// How many have an id that begins so.
    pub fn of_prefix(&self, which: &str) -> usize {
        self.members.iter().filter(|m| m.view.id.to_string().starts_with(which)).count()
    }

    /// Is a lossless view so far behind that the stream must wait for it?
    pub fn holds_back(&self, ring: Option<&Ring>) -> bool {
        let Some(ring) = ring else { return false };
        self.members.iter().filter(|m| m.view.lossless).any(|m| match &m.place {
            ViewPosition::Follows(cursor) => cursor.lag(ring) > LOSSLESS_LAG,
            ViewPosition::Fetching(_) => true,
            ViewPosition::Has(_) | ViewPosition::Nothing => false,
        })
    }

    /// Tells each view where its session stands, if it does not know that already.
    pub fn tell(&mut self, state: &ViewState, out: &mut impl Connections) {
        let (leader, sizes) = (self.leaders.leader(), self.leaders.sizes());
        for member in &mut self.members {
            let id = Some(member.view.id);
            let state = ViewState { leader: leader == id, sizes: sizes == id, ..state.clone() };
            if member.told.as_ref() == Some(&state) {
                continue;
            }
            if !member.has_room(out) {
                // Told what is so then.
                continue;
            }
            member.put(&Frame::ViewState(state.clone()), out);
            member.told = Some(state);
        }
    }

    /// The old output that a view needs and the replica does not hold, one view at a time.
    pub fn wanted_range(&mut self, ring: &Ring) -> Option<(u64, u64)> {
        if self.members.iter().any(|m| matches!(m.place, ViewPosition::Fetching(_))) {
            return None;
        }
        let oldest = ring.oldest();
        let wants =
            |m: &&mut Member| !m.view.no_output && matches!(m.place, ViewPosition::Has(at) if at < oldest);
        let member = self.members.iter_mut().find(wants)?;
        let ViewPosition::Has(at) = member.place else { return None };
        member.place = ViewPosition::Fetching(at);
        Some((at, oldest))
    }

    /// The stream that old output was asked for on is gone, and the answer with it: it is asked for again on the next.
    pub fn interrupted(&mut self) {
        for member in &mut self.members {
            if let ViewPosition::Fetching(at) = member.place {
                member.place = ViewPosition::Has(at);
            }
        }
    }

    /// Old output cannot be fetched now: who waits for it gets a snapshot, and how much it skipped.
    pub fn no_range(&mut self) {
        for member in &mut self.members {
            if let ViewPosition::Fetching(at) = member.place {
                member.follow(Cursor::at(at));
            }
        }
    }

    /// Old output came, for the view that asked.
    pub fn range(
        &mut self,
        offset: u64,
        more: bool,
        expired: bool,
        bytes: &[u8],
        out: &mut impl Connections,
    ) {
        let Some(member) = self.members.iter_mut().find(|m| matches!(m.place, ViewPosition::Fetching(_)))
        else {
            return;
        };
        let ViewPosition::Fetching(at) = member.place else { return };
        // Not what is missing next: the cursor finds that out of the ring and sends a snapshot.
        let fits = offset == at && !expired;
        let mut reached = at;
        if fits && !bytes.is_empty() {
            member.put(&Frame::Output { offset, bytes }, out);
            member.fetched += bytes.len() as u64;
            reached += bytes.len() as u64;
        }
        if fits && more {
            member.place = ViewPosition::Fetching(reached);
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

    /// The job has ended: each view that has all of its output is told so and let go. `goes_on`: the session has another
    /// job already. Its views go on with that one: they are let go without a word, and come again. Only who waits for the end
    /// of a job, a script, hears of it.
    pub fn end(
        &mut self,
        ring: Option<&Ring>,
        screen: Option<&Terminal>,
        exit: &ExitRecord,
        goes_on: bool,
        out: &mut impl Connections,
    ) {
        let mut done = Vec::new();
        for member in &mut self.members {
            let has_all = match (&member.place, ring) {
                _ if member.view.no_output => true,
                (ViewPosition::Follows(cursor), Some(ring)) => cursor.lag(ring) == 0,
                (_, None) => true,
                (ViewPosition::Nothing | ViewPosition::Fetching(_) | ViewPosition::Has(_), Some(_)) => false,
            };
            if has_all {
                if !goes_on || member.view.passive {
                    member.leaves(screen, &mut self.shown, out);
                    member.put(&Frame::Ended(exit.clone()), out);
                }
                out.close_view(member.view.id);
                done.push(member.view.id);
            }
        }
        for id in done {
            self.leave(id);
        }
    }
}

impl Member {
    fn put(&mut self, frame: &Frame<'_>, out: &mut impl Connections) {
        self.way.waiting += out.append_to_view(self.view.id, |bytes| frame.put(0, bytes));
    }

    /// May more go there now? If not, it is heard of when it may.
    fn has_room(&mut self, out: &mut impl Connections) -> bool {
        let room = self.way.waiting < WAITING_MAX;
        if !room && !std::mem::replace(&mut self.way.asked, true) {
            out.when_drained(self.view.id);
        }
        room
    }

    fn follow(&mut self, mut cursor: Cursor) {
        cursor.charge(self.fetched);
        cursor.grant(self.view.credit);
        if self.view.lossless {
            cursor.set_max_lag(u64::MAX);
        }
        self.place = ViewPosition::Follows(cursor);
    }

    /// Lines of scrollback for its first screen: none that its terminal has, and history only once.
    fn history(&mut self, screen: &Terminal) -> usize {
        let lines = std::mem::take(&mut self.view.scrollback_lines);
        shown::new_rows(self.shown, lines, screen)
    }

    /// Rows that came back to the screen since it was shown, which a terminal that does not do so has in its scrollback yet.
    fn unscroll(&mut self, screen: &Terminal, skipped: u64) -> u64 {
        let (all, last) = screen.rows_returned();
        let had = self.returned.replace(all).filter(|_| skipped == 0);
        had.map_or(0, |had| last.min(all.saturating_sub(had)))
    }

    fn leaves(&mut self, screen: Option<&Terminal>, shown: &mut Shown, out: &mut impl Connections) {
        let (Some(screen), Some((cols, rows))) = (screen, self.view.size) else { return };
        if !self.skipped {
            shown.left(&self.view.terminal, Size { cols, rows }, screen);
        }
        let text_rows = Some(screen.rows_of_text(Size { cols, rows }, self.part.drawing()).into());
        let state = ViewState { text_rows, ..self.told.clone().unwrap_or_default() };
        self.put(&Frame::ViewState(state), out);
    }

    fn tell_acknowledged(&mut self, out: &mut impl Connections) {
        if self.to_acknowledge.is_some()
            && self.has_room(out)
            && let Some(seq) = self.to_acknowledge.take()
        {
            self.put(&Frame::InputAck { view: self.view.id, seq }, out);
        }
    }

    fn pump(
        &mut self,
        ring: &Ring,
        screen: Option<&Terminal>,
        now_ms: u64,
        needs: &mut Needs,
        out: &mut impl Connections,
    ) {
        loop {
            let ViewPosition::Follows(cursor) = &self.place else { return };
            // Where it would go next; it goes there when that can be sent.
            let mut next = cursor.clone();
            if !self.has_room(out) {
                return;
            }
            match next.next(ring, CHUNK) {
                Next::Bytes { offset, bytes } => self.put(&Frame::Output { offset, bytes }, out),
                Next::Snapshot { at, skipped } => {
                    let Some(screen) = screen else {
                        needs.screen = true;
                        return;
                    };
                    // History only once: never again to a view that has it.
                    let scrollback_lines = self.history(screen);
                    self.skipped |= skipped > 0;
                    let unscroll = self.unscroll(screen, skipped);
                    let mut snapshot = Vec::new();
                    let options = SnapshotOptions {
                        scrollback_lines,
                        without_images: self.view.no_images,
                        unscroll,
                        ..SnapshotOptions::default()
                    };
                    screen.snapshot(options, &mut snapshot);
                    next.charge(snapshot.len() as u64);
                    let Size { cols, rows } = screen.size();
                    self.way.waiting += out.append_to_view(self.view.id, |bytes| {
                        put_snapshot(0, at, skipped, (cols, rows), &snapshot, bytes);
                    });
                }
                Next::Idle if self.redraw => {
                    if let Some(at) = self.drawn.map(|drawn| drawn + REDRAW_MS).filter(|at| *at > now_ms) {
                        needs.again_at(at);
                        return;
                    }
                    (self.redraw, self.drawn) = (false, Some(now_ms));
                    next.want_snapshot();
                }
                Next::NoCredit | Next::Idle => return,
            }
            self.place = ViewPosition::Follows(next);
        }
    }
}

#[cfg(test)]
mod tests;
