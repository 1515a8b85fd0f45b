//! One view of a session, as a value: what it asks for, what it makes of what it hears, what is typed into it, and what it owes.
//! No I/O, no clock: who drives it hands in the time ([`ViewCore::at`], in milliseconds of a clock of its own, before what happens
//! then and whenever [`ViewCore::deadline`] says so) and frames, and sends what it is handed ([`ViewCore::poll`]).
//!
//! ```text
//!              attach()                       handle(frame)
//!   absent ─────────────▶ asked for ─────────────────────────▶ attached ──▶ ended, gone or sent away
//!      ▲                                                           │
//!      └───────────────────────────  lost()  ──────────────────────┘
//! ```
//!
//! The view is the end that counts: it knows which output byte it needs next, so that it goes on with the next manager where it
//! was. What has arrived twice is trimmed; what it was given is paid for with credit.

use crate::path::{JobPath, Trouble};
use crate::typed::{Lost, Outgoing};
use sessd_proto::docs::{EndDoc, Error, Kind, LinkState, Reason, Result, Vocabulary};
use sessd_proto::frame::kind;
use sessd_proto::limits::VIEW_WINDOW;
use sessd_proto::messages::{self as m, Answer};
use sessd_proto::{Decoder, Frame, Uuid, hello};
use std::borrow::Cow;

/// What of a job's output a view wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Output {
    /// The bytes, behind a first screen.
    #[default]
    Stream,
    /// None: only how the session is, and how its job ends.
    None,
}

/// What a view wants of its session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wants {
    /// What it is sent.
    pub output: Output,
    /// Nothing that it types reaches the job.
    pub read_only: bool,
    /// It may lead: its size is the job's, and its terminal answers the job's questions. Who is no terminal does neither.
    pub leads: bool,
    /// It is listed and counted among those who look.
    pub counts: bool,
    /// The session is there for it alone, and ends when it has been away for a minute.
    pub owns: bool,
    /// The job waits for it rather than skip output.
    pub lossless: bool,
    /// The other views are sent away.
    pub take: bool,
    /// Lines of scrollback with the first screen.
    pub scrollback_lines: u32,
    /// What it is: "cli", "web", "script".
    pub kind: &'static str,
    /// Nobody asked for this session: its host is not dialled for it.
    pub unasked: bool,
    /// Where its person sits, in a few words; may be empty.
    pub from: String,
    /// Colours that its terminal shows; none: all there are. It counts where the terminal has another size than the session.
    pub colours: Option<u32>,
    /// What its terminal cannot do, bits of `messages::lacks`; the same.
    pub lacks: u32,
    /// Names the terminal that it is shown in; empty: not known.
    pub terminal: String,
    /// Images that were shown are shown again.
    pub images: bool,
}

impl Wants {
    /// A person's terminal.
    pub fn terminal(scrollback_lines: u32) -> Self {
        Self {
            output: Output::Stream,
            read_only: false,
            leads: true,
            counts: true,
            owns: false,
            lossless: false,
            take: false,
            scrollback_lines,
            kind: "cli",
            unasked: false,
            from: String::new(),
            colours: None,
            lacks: 0,
            terminal: String::new(),
            images: true,
        }
    }

    /// A script that types and misses nothing: the job waits for it, and it is one of its views. It is no terminal.
    pub fn whole() -> Self {
        Self { leads: false, lossless: true, kind: "run", ..Self::terminal(0) }
    }

    /// The command that the session was made for, which nobody else will ever end.
    pub fn owner() -> Self {
        Self { owns: true, ..Self::whole() }
    }

    /// A script that looks: nobody notices it.
    pub fn looker(output: Output, scrollback_lines: u32) -> Self {
        Self {
            output,
            read_only: true,
            leads: false,
            counts: false,
            kind: "script",
            ..Self::terminal(scrollback_lines)
        }
    }
}

/// What is told of a session.
#[derive(Debug, PartialEq)]
pub enum Told<'a> {
    /// The view is attached, for the first time or again. `restarted`: to another job than before, of which nothing is
    /// known yet.
    Attached {
        /// See above.
        restarted: bool,
    },
    /// The whole screen: what was shown before counts no more.
    Screen {
        /// The offset of the first output byte that is not in it.
        at: u64,
        /// Bytes that were promised and never come.
        skipped: u64,
        /// It is of the byte up to which output was told.
        known: bool,
        /// Columns and rows.
        size: (u16, u16),
        /// What draws it.
        snapshot: Vec<u8>,
    },
    /// Output that follows on what was told, or what changes on the terminal of a view of another size than the session: both
    /// are for the terminal as they are.
    Output(Cow<'a, [u8]>),
    /// Output is missing, which must not be: a screen was asked for.
    Gap,
    /// How the session stands is another: see [`ViewCore::state`].
    State(m::ViewState),
    /// What it typed was written to the job up to here.
    Written(u64),
    /// What it typed from the first of these offsets to the second will never be written.
    Withdrawn(u64, u64),
    /// To a view that predicts ([`ViewCore::predicts`]): what it typed before `seq` has brought what is in the output before
    /// `offset`, as far as a moment tells; 0: nothing new of that.
    Echoed {
        /// See above.
        seq: u64,
        /// See above.
        offset: u64,
        /// The job's terminal shows what is typed.
        echo: bool,
        /// It takes it line by line.
        lines: bool,
    },
    /// To be answered with [`ViewCore::pong`] once all that was told before is shown.
    Ping(u64),
    /// The job has ended.
    Ended(EndDoc),
    /// The session is deleted, and nothing is known of how its job ended.
    Gone(EndDoc),
    /// The view is sent away, and why; empty: it left by itself.
    SentAway(String),
    /// A login wants something of the person here.
    Question(m::Question),
    /// The question of that id is not open any more.
    QuestionOver(u64),
}

impl Told<'_> {
    /// The same without the buffer it was read from.
    pub fn into_owned(self) -> Told<'static> {
        match self {
            Self::Output(bytes) => Told::Output(bytes.into_owned().into()),
            Self::Attached { restarted } => Told::Attached { restarted },
            Self::Screen { at, skipped, known, size, snapshot } => {
                Told::Screen { at, skipped, known, size, snapshot }
            }
            Self::Gap => Told::Gap,
            Self::State(state) => Told::State(state),
            Self::Written(seq) => Told::Written(seq),
            Self::Withdrawn(from, to) => Told::Withdrawn(from, to),
            Self::Echoed { seq, offset, echo, lines } => Told::Echoed { seq, offset, echo, lines },
            Self::Ping(token) => Told::Ping(token),
            Self::Ended(end) => Told::Ended(end),
            Self::Gone(end) => Told::Gone(end),
            Self::SentAway(why) => Told::SentAway(why),
            Self::Question(asked) => Told::Question(asked),
            Self::QuestionOver(id) => Told::QuestionOver(id),
        }
    }
}

/// One view.
#[derive(Debug)]
pub struct ViewCore {
    session: String,
    id: Uuid,
    wants: Wants,
    size: Option<(u16, u16)>,
    /// What the terminal is like, as far as it is known.
    traits: Option<m::Traits>,
    /// The manager's features, once it has greeted.
    features: Option<u64>,
    attached: m::Attached,
    now_ms: u64,
    path: JobPath,
    /// Somebody types and there is no manager.
    is_wanted: bool,
    /// The next output byte that is needed; none: a screen comes first.
    need: Option<u64>,
    /// A screen of which not all parts are here.
    partial: Vec<u8>,
    received: u64,
    granted: u64,
    to_send: Vec<u8>,
    /// It said that it predicts.
    predicts: bool,
}

/// The manager cannot do what is asked of it.
pub(crate) fn too_old(what: &str) -> Error {
    Error::new(
        Kind::VersionSkew,
        format!("the running manager is older than this sessd and does not know {what}"),
        "`sessd daemon restart` starts the newer one; sessions run on",
    )
}

/// What was sent by this kind of frame and was not understood, if somebody waits for an answer to it.
pub(crate) fn waited_for(kind: u32) -> Option<&'static str> {
    match u8::try_from(kind).ok()? {
        kind::REQUEST => Some("what it was asked for"),
        kind::ATTACH => Some("views of this kind"),
        kind::INPUT => Some("how this view types"),
        _ => None,
    }
}

fn broken(why: &dyn std::fmt::Display) -> Error {
    Error::failed(why.to_string(), "`sessd daemon restart` starts this version; sessions run on")
}

impl ViewCore {
    /// A view of `session`, by any selector. `size`: of its terminal, columns and rows; none: it has none.
    pub fn new(id: Uuid, session: &str, wants: Wants, size: Option<(u16, u16)>) -> Self {
        Self {
            session: session.to_owned(),
            id,
            wants,
            size,
            traits: None,
            features: None,
            attached: m::Attached::default(),
            now_ms: 0,
            path: JobPath::new(0),
            is_wanted: false,
            need: None,
            partial: Vec::new(),
            received: 0,
            granted: VIEW_WINDOW,
            to_send: Vec::new(),
            predicts: false,
        }
    }

    /// Begins at output byte `from` of job `job` instead of at a screen.
    pub fn from_offset(mut self, from: u64, job: &str) -> Self {
        (self.need, self.attached.job_id) = (Some(from), job.to_owned());
        self
    }

    /// What a manager is to be asked, the first one or the next.
    pub fn attach(&self) -> m::Attach {
        let (cols, rows) = self.size.unwrap_or((0, 0));
        let again = !self.attached.session_id.is_empty();
        let resume = self.need.filter(|_| self.wants.output == Output::Stream);
        m::Attach {
            session: if again { self.attached.session_id.clone() } else { self.session.clone() },
            view_id: self.id.as_bytes().to_vec(),
            cols: cols.into(),
            rows: rows.into(),
            read_only: self.wants.read_only,
            // Once: whoever came since is not to be sent away by a manager's end.
            take: self.wants.take && !again,
            lossless: self.wants.lossless,
            kind: self.wants.kind.to_owned(),
            resume,
            credit: VIEW_WINDOW,
            // What was shown has its scrollback where it was shown.
            scrollback_lines: if self.need.is_some() { 0 } else { self.wants.scrollback_lines },
            job_id: self.attached.job_id.clone(),
            passive: !self.wants.leads,
            uncounted: !self.wants.counts,
            owns: self.wants.owns,
            no_output: self.wants.output == Output::None,
            standing: again.then_some(m::Standing { leads: self.state().leader, sizes: self.state().sizes }),
            unasked: self.wants.unasked,
            from: self.wants.from.clone(),
            colours: self.wants.colours,
            lacks: self.wants.lacks,
            terminal: self.wants.terminal.clone(),
            traits: self.traits,
            no_images: !self.wants.images,
        }
    }

    /// It is that time: what is due is done. What happens next happens then.
    pub fn at(&mut self, now_ms: u64) {
        self.now_ms = now_ms;
        let ask = self.path.tick(now_ms);
        if ask.holder {
            let (view, seq) = (self.id, self.path.outgoing().sent());
            self.send(&Frame::Input { view, seq, withdrawn: false, bytes: &[] });
        }
        if ask.manager {
            self.send(&Frame::Ping(now_ms));
        }
        self.give();
    }

    /// When [`Self::at`] is to be called again, if nothing happens before.
    pub fn deadline(&self) -> Option<u64> {
        self.path.deadline(self.now_ms)
    }

    /// What was typed goes to the path, as far as that carries it.
    fn give(&mut self) {
        if !self.path.carries(self.now_ms) {
            return;
        }
        let view = self.id;
        while let Some(next) = self.path.outgoing_mut().next_to_send() {
            let frame = Frame::Input { view, seq: next.seq, withdrawn: next.withdrawn, bytes: next.bytes };
            frame.put(0, &mut self.to_send);
        }
    }

    /// Keys for the job; they are kept until its host has them. False: some of them were refused, because something typed before
    /// them was lost, or too much waits.
    pub fn types(&mut self, keys: &[u8]) -> bool {
        if self.wants.read_only {
            return false;
        }
        let all = self.path.typed(keys, self.now_ms);
        if self.path.wants_a_try(self.now_ms) {
            if self.path.is_attached() {
                self.send(&Frame::TryNow(m::Empty {}));
            } else {
                self.is_wanted = true;
            }
        }
        self.give();
        all
    }

    /// What its terminal answered to a question of the job's.
    pub fn answers(&mut self, answer: &[u8]) {
        self.path.outgoing_mut().answered(answer, self.now_ms);
        self.give();
    }

    /// What was typed and is not written yet.
    pub fn typed(&self) -> &Outgoing {
        self.path.outgoing()
    }

    /// Can what is typed be given to something that carries it on?
    pub fn carries(&self) -> bool {
        self.path.carries(self.now_ms)
    }

    /// What is amiss, if it is worth a word.
    pub fn trouble(&self) -> Option<Trouble> {
        self.path.trouble(self.now_ms)
    }

    /// How long the manager has been silent, once that is too long, in milliseconds.
    pub fn manager_silent_ms(&self) -> Option<u64> {
        self.path.manager_silent_ms(self.now_ms)
    }

    /// Keys that were not delivered over a break that is over, to be told to the person: until [`Self::undelivered_told`], what is
    /// typed is refused.
    pub fn undelivered(&self) -> Option<Lost> {
        self.path.undelivered(self.now_ms)
    }

    /// The person is told: what is typed from now on is sent.
    pub fn undelivered_told(&mut self) -> Lost {
        self.path.undelivered_told()
    }

    /// Somebody types while there is no manager: it is to be looked for at once. Said once, and again with what is typed later.
    pub fn take_wanted(&mut self) -> bool {
        std::mem::take(&mut self.is_wanted)
    }

    /// There is no manager, and this is why none can be started.
    pub fn not_found(&mut self, why: String) {
        self.path.not_found(why);
    }

    /// Takes what the manager says.
    ///
    /// # Errors
    /// What the manager refuses, why it ends the connection, or that it cannot be understood: this view is over.
    pub fn handle<'a>(&mut self, frame: Frame<'a>) -> Result<Option<Told<'a>>> {
        let now = self.now_ms;
        self.path.manager_spoke(now);
        let of_holder = match &frame {
            Frame::Output { .. } => true,
            Frame::InputAck { view, .. } | Frame::Withdrawn { view, .. } | Frame::Echoed { view, .. } => {
                *view == self.id
            }
            _ => false,
        };
        if of_holder {
            self.path.holder_spoke(now);
        }
        let told = self.make_of(frame)?;
        // What is known by now may let more go.
        self.give();
        Ok(told)
    }

    fn make_of<'a>(&mut self, frame: Frame<'a>) -> Result<Option<Told<'a>>> {
        Ok(match frame {
            Frame::Hello(theirs) => {
                hello::negotiate(&theirs).map_err(|skew| {
                    Error::new(
                        Kind::VersionSkew,
                        skew.to_string(),
                        "`sessd daemon restart` starts this version",
                    )
                })?;
                self.features = Some(theirs.features);
                None
            }
            Frame::Attached(attached) => {
                let restarted = self.path.is_attached() || !self.attached.job_id.is_empty();
                let restarted = restarted && attached.job_id != self.attached.job_id;
                if restarted {
                    self.need = None;
                }
                self.attached = attached;
                self.path.found(restarted, self.now_ms);
                Some(Told::Attached { restarted })
            }
            Frame::Snapshot { at, skipped, cols, rows, more, bytes } => {
                self.received(bytes.len());
                self.partial.extend_from_slice(bytes);
                (!more).then(|| {
                    let known = self.need.replace(at) == Some(at);
                    let snapshot = std::mem::take(&mut self.partial);
                    Told::Screen { at, skipped, known, size: (cols, rows), snapshot }
                })
            }
            // Of a view that is drawn: what changes on its terminal, and stands for all output before.
            Frame::Drawing { at, bytes } => {
                self.received(bytes.len());
                self.need = Some(at);
                (!bytes.is_empty()).then_some(Told::Output(bytes.into()))
            }
            Frame::Output { offset, bytes } => {
                self.received(bytes.len());
                let need = *self.need.get_or_insert(offset);
                match need.checked_sub(offset) {
                    Some(held) => {
                        let held = usize::try_from(held).unwrap_or(usize::MAX);
                        let fresh = bytes.get(held..).unwrap_or_default();
                        self.need = Some(need + fresh.len() as u64);
                        (!fresh.is_empty()).then_some(Told::Output(fresh.into()))
                    }
                    None => {
                        // The whole screen again is right in any case.
                        self.redraw();
                        Some(Told::Gap)
                    }
                }
            }
            Frame::ViewState(state) => {
                // What is told to one that leaves is no news of the session.
                if state.text_rows.is_none() {
                    self.path.told(state.clone(), self.now_ms);
                }
                Some(Told::State(state))
            }
            Frame::InputAck { view, seq } if view == self.id => {
                self.path.outgoing_mut().acknowledged(seq);
                Some(Told::Written(seq))
            }
            Frame::Echoed { view, seq, offset, echo, lines } if view == self.id => {
                Some(Told::Echoed { seq, offset, echo, lines })
            }
            Frame::Withdrawn { view, from, to } if view == self.id => {
                self.path.outgoing_mut().withdrawn(from, to);
                Some(Told::Withdrawn(from, to))
            }
            Frame::Ping(token) => Some(Told::Ping(token)),
            Frame::Ended(exit) => {
                let end = EndDoc::from(&exit);
                // Of a deleted session without an exit nothing is left to be told.
                let gone = end.reason == Reason::Deleted && end.code.is_none() && end.signal.is_none();
                Some(if gone { Told::Gone(end) } else { Told::Ended(end) })
            }
            Frame::Detach(detach) => Some(Told::SentAway(detach.detail)),
            Frame::Question(asked) => Some(Told::Question(asked)),
            Frame::QuestionOver(over) => Some(Told::QuestionOver(over.id)),
            Frame::Close(close) => {
                let hint = if self.wants.counts { "attach again" } else { "try once more" };
                return Err(Error::failed(close.detail, hint));
            }
            Frame::Reply(m::Reply { answer: Some(Answer::Error(error)), .. }) => return Err(error.into()),
            Frame::Unsupported(what) => match waited_for(what.kind) {
                Some(what) => return Err(too_old(what)),
                None => None,
            },
            Frame::Unknown(kind) => {
                if kind & sessd_proto::frame::IGNORABLE == 0 {
                    self.send(&Frame::Unsupported(m::Unsupported { kind: kind.into() }));
                }
                None
            }
            _ => None,
        })
    }

    /// Takes the next frame of what was read, if there is a whole one.
    ///
    /// # Errors
    /// As [`Self::handle`].
    pub fn decode<'a>(&mut self, decoder: &'a mut Decoder) -> Result<Option<Option<Told<'a>>>> {
        match decoder.next_frame().map_err(|e| broken(&e))? {
            None => Ok(None),
            Some(raw) => self.handle(raw.parse().map_err(|e| broken(&e))?).map(Some),
        }
    }

    fn received(&mut self, bytes: usize) {
        self.received += bytes as u64;
        if self.granted - self.received.min(self.granted) <= VIEW_WINDOW / 2 {
            self.granted = self.received + VIEW_WINDOW;
            self.send(&Frame::Credit(self.granted));
        }
    }

    /// The connection is gone: what was to be said on it is, too. With the next one begins [`Self::attach`].
    pub fn lost(&mut self) {
        self.path.lost(self.now_ms);
        (self.features, self.predicts) = (None, false);
        (self.received, self.granted) = (0, VIEW_WINDOW);
        self.partial.clear();
        self.to_send.clear();
    }

    /// Sends a frame with the next bytes.
    pub fn send(&mut self, frame: &Frame<'_>) {
        frame.put(0, &mut self.to_send);
    }

    /// Asks for the whole screen.
    pub fn redraw(&mut self) {
        self.send(&Frame::Subscribe(m::Subscribe::default()));
    }

    /// What was told before the heartbeat `token` is shown.
    pub fn pong(&mut self, token: u64) {
        self.send(&Frame::Pong(token));
    }

    /// What the terminal is like is known now, or has changed.
    pub fn is_like(&mut self, traits: m::Traits) {
        if self.traits.replace(traits) != Some(traits) && self.path.is_attached() {
            self.send(&Frame::Traits(traits));
        }
    }

    /// The terminal has another size.
    pub fn resize(&mut self, size: (u16, u16)) {
        if self.size.replace(size) != Some(size) {
            self.send(&Frame::Resize(m::Resize { cols: size.0.into(), rows: size.1.into() }));
        }
    }

    /// The same before [`Self::attach`], which says it.
    pub fn measured(&mut self, size: Option<(u16, u16)>) {
        self.size = size;
    }

    /// Whether it shows what is typed before the job does, and is to be told of echoes. To be said again to the next manager.
    pub fn predicts(&mut self, on: bool) {
        if self.path.is_attached() && std::mem::replace(&mut self.predicts, on) != on {
            self.send(&Frame::Predicts(m::Predicts { on }));
        }
    }

    /// Leaves on purpose.
    pub fn leave(&mut self) {
        self.send(&Frame::Detach(m::Detach::default()));
    }

    /// What is to be sent now; what of it was taken is drained.
    pub fn poll(&mut self) -> &mut Vec<u8> {
        &mut self.to_send
    }

    /// Is there something to be sent?
    pub fn has_to_send(&self) -> bool {
        !self.to_send.is_empty()
    }

    /// The other end takes no more. What it said before that, perhaps how all this ended, is still to be read: the connection
    /// is over when nothing more comes, not before.
    pub fn not_taken(&mut self) {
        self.to_send.clear();
    }

    /// Who it is, the same over its whole life.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// Which session it shows, once it is attached.
    pub fn session(&self) -> &m::Attached {
        &self.attached
    }

    /// How the session stood when that was told last; without a manager, that its link is down.
    pub fn state(&self) -> &m::ViewState {
        self.path.state()
    }

    /// Where the link to the session's host stands; none: it was not told yet, or is a word of a newer manager.
    pub fn link(&self) -> Option<LinkState> {
        LinkState::from_word(&self.state().link)
    }

    /// The offset of the next output byte that is needed; none: a screen comes first.
    pub fn offset(&self) -> Option<u64> {
        self.need
    }

    /// What the manager can do, bits of `hello::feature`; none: it has not greeted yet.
    pub fn features(&self) -> Option<u64> {
        self.features
    }
}

#[cfg(test)]
mod tests;
