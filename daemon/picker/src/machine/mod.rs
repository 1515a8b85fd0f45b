//! What the picker does: events in with the time, effects out, a deadline. No I/O, no clock.

mod input;

use crate::Now;
use crate::dialog::{Dialog, LoginQuestion};
use crate::draw;
use crate::edit::Edit;
use crate::keys::Input;
use crate::list::{Entry, Line, List, Unknown};
use crate::preview::Preview;
use ratatui::layout::Rect;
use sessd_base::prompt::Question;
use sessd_proto::docs::event::What;
use sessd_proto::docs::text::clean;
use sessd_proto::docs::{Error, Event as Told, SessionDoc, State, StatusDoc};
use std::collections::{BTreeMap, VecDeque};
use zeroize::Zeroizing;

/// How long the order of the list stands still after a key: what one is about to choose does not move.
const STILL_MS: u64 = 3_000;
/// How long the order stands at the least: what changes every moment must not be sorted every moment.
const ORDER_MS: u64 = 500;
/// How long a session is selected before its screen is asked for.
const LOOK_AFTER_MS: u64 = 60;
/// How often what grows by itself is drawn anew.
const SECOND_MS: u64 = 1_000;
/// How long what came of something is said.
const SAID_MS: u64 = 8_000;
/// Two clicks on one session within this time open it.
const DOUBLE_MS: u64 = 500;

/// How the terminal is, and where we are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Look {
    /// Colours may be used.
    pub colour: bool,
    /// More than ASCII may be.
    pub wide: bool,
    /// The control key that leads back here out of a session, as the byte that it sends; none: no key does.
    pub back: Option<u8>,
}

/// What is wanted of the manager.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    /// A session.
    Create {
        /// Its name; empty: it has none.
        name: String,
        /// Where.
        host: String,
    },
    /// Another name.
    Rename {
        /// Which session.
        id: String,
        /// The name.
        name: String,
    },
    /// Other tags.
    Tags {
        /// Which session.
        id: String,
        /// Keys and values that it is to have.
        set: Vec<(String, String)>,
        /// Keys that go.
        remove: Vec<String>,
    },
    /// The end of these, and of their records.
    Delete(Vec<String>),
    /// A new job.
    Restart(String),
}

/// What happens.
#[derive(Debug)]
pub enum Event<'a> {
    /// A person did something.
    Input(Input),
    /// The terminal has this size.
    Resized(u16, u16),
    /// All sessions.
    Sessions(Vec<SessionDoc>),
    /// One of them.
    Session(Box<SessionDoc>),
    /// The manager and its links.
    Status(StatusDoc),
    /// A change.
    Told(Told),
    /// Hosts that the ssh configuration names.
    Hosts(Vec<String>),
    /// The whole screen of the session looked at: its size, and what draws it.
    Screen((u16, u16), &'a [u8]),
    /// What follows on it.
    Output(&'a [u8]),
    /// Why there is no screen, or that it is not as it is now.
    NoScreen(String),
    /// What came of a wish.
    Done(u64, Result<Option<Box<SessionDoc>>, Error>),
    /// A host wants something of a person, for a wish.
    Asked(u64, u64, Question),
    /// That question is not open any more.
    AskedNoMore(u64, u64),
    /// There is no manager, and why; none: there is one.
    Manager(Option<String>),
    /// Time passed.
    Tick,
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub enum Effect {
    /// Show this session.
    Attach(String),
    /// Leave.
    Leave,
    /// Ask the manager for something, under this number.
    Ask(u64, Wish),
    /// Look at this session's screen instead of another's; none: at none.
    Look(Option<String>),
    /// Ask for one session's document.
    WantSession(String),
    /// Ask for the links.
    WantLinks,
    /// Ask for everything.
    WantAll,
    /// Read the hosts of the ssh configuration.
    WantHosts,
    /// Answer a question that was put for a wish: the wish, the question, and what was typed.
    Answer(u64, u64, Option<Zeroizing<String>>),
}

/// A wish that is worked at.
#[derive(Debug)]
struct Working {
    what: String,
    since: u64,
    /// The session is shown as soon as it is there, unless its user turned to something else.
    then_show: bool,
}

/// The picker.
#[derive(Debug)]
pub struct Machine {
    pub(crate) look: Look,
    /// The session we are in ourselves.
    pub(crate) here: Option<String>,
    pub(crate) list: List,
    pub(crate) filter: Edit,
    pub(crate) filtering: bool,
    pub(crate) with_ended: bool,
    pub(crate) selected: Option<String>,
    pub(crate) dialog: Option<Dialog>,
    pub(crate) questions: VecDeque<LoginQuestion>,
    pub(crate) preview: Preview,
    /// The preview takes the place of the list.
    pub(crate) peeking: bool,
    pub(crate) area: Rect,
    /// The first line of the list that is seen.
    pub(crate) top: usize,
    pub(crate) loaded: bool,
    hosts: Vec<String>,
    /// What is said below, whether it is a failure, and until when.
    said: Option<(String, bool, u64)>,
    pub(crate) no_manager: Option<String>,
    working: BTreeMap<u64, Working>,
    number: u64,
    effects: VecDeque<Effect>,
    now: Now,
    typed_at: Option<u64>,
    arranged_at: u64,
    unordered: bool,
    look_at: Option<u64>,
    clicked: Option<(String, u64)>,
    drawn_at: u64,
    dirty: bool,
}

impl Look {
    /// What leads back here, as a person calls it.
    pub(crate) fn way_back(self) -> Option<String> {
        self.back.map(|key| format!("Ctrl-{}", char::from(key | 0x40).to_ascii_lowercase()))
    }
}

impl Machine {
    /// Of a terminal that looks like this. `here`: the session that we are in ourselves.
    pub fn new(look: Look, here: Option<String>) -> Self {
        Self {
            look,
            here,
            list: List::default(),
            filter: Edit::default(),
            filtering: false,
            with_ended: true,
            selected: None,
            dialog: None,
            questions: VecDeque::new(),
            preview: Preview::default(),
            peeking: false,
            area: Rect::new(0, 0, 80, 24),
            top: 0,
            loaded: false,
            hosts: Vec::new(),
            said: None,
            no_manager: None,
            working: BTreeMap::new(),
            number: 0,
            effects: VecDeque::new(),
            now: Now::default(),
            typed_at: None,
            arranged_at: 0,
            unordered: false,
            look_at: None,
            clicked: None,
            drawn_at: 0,
            dirty: true,
        }
    }

    /// The sessions that have not ended, by id.
    pub fn live(&self) -> impl Iterator<Item = &SessionDoc> {
        self.list.entries.values().filter(|entry| entry.is_live()).map(|entry| &entry.doc)
    }

    /// A session's document.
    pub fn session(&self, id: &str) -> Option<&SessionDoc> {
        self.list.entries.get(id).map(|entry| &entry.doc)
    }

    /// Is the session selected the only thing there is, and does it run? Then it is what anybody wants.
    pub fn only_one(&self) -> Option<&SessionDoc> {
        let mut live = self.live();
        let one =
            live.next().filter(|doc| doc.state.known() == Some(State::Running) && !doc.delete_requested)?;
        (live.next().is_none() && self.here.as_deref() != Some(one.id.as_str())).then_some(one)
    }

    /// There is something to be drawn.
    pub fn is_dirty(&self) -> bool {
        self.dirty
    }

    /// It was drawn.
    pub fn drawn(&mut self) {
        (self.dirty, self.drawn_at) = (false, self.now.ms);
    }

    /// What is to be done next.
    pub fn poll(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// When it wants to hear that time has passed, in the steady clock's milliseconds.
    pub fn deadline(&self) -> u64 {
        let order = self.unordered.then(|| self.order_due());
        let said = self.said.as_ref().map(|(.., until)| *until);
        let second = self.drawn_at + SECOND_MS;
        [order, said, self.look_at].into_iter().flatten().fold(second, u64::min)
    }

    fn order_due(&self) -> u64 {
        self.typed_at.map_or(0, |at| at + STILL_MS).max(self.arranged_at + ORDER_MS)
    }

    /// Says something below.
    pub fn say(&mut self, text: &str, failure: bool) {
        self.said = Some((clean(text, 400), failure, self.now.ms + SAID_MS));
        self.dirty = true;
    }

    /// What is said below: whether it is a failure.
    pub(crate) fn said(&self) -> Option<(String, bool)> {
        if let Some(why) = &self.no_manager {
            return Some((why.clone(), true));
        }
        if let Some((text, failure, _)) = &self.said {
            return Some((text.clone(), *failure));
        }
        let working = self.working.values().next()?;
        let seconds = self.now.ms.saturating_sub(working.since) / 1000;
        let since = if seconds >= 2 { format!(" ({seconds} s)") } else { String::new() };
        Some((format!("{}…{since}", working.what), false))
    }

    /// Begins again: whoever was shown a session comes back.
    pub fn back(&mut self, now: Now) {
        self.now = now;
        self.dialog = None;
        (self.filtering, self.peeking) = (false, false);
        self.filter = Edit::default();
        self.questions.clear();
        self.working.clear();
        self.preview = Preview::default();
        self.typed_at = None;
        self.look_at = Some(now.ms);
        self.dirty = true;
    }

    /// Takes what happened.
    pub fn handle(&mut self, now: Now, event: Event<'_>) {
        self.now = now;
        if !matches!(event, Event::Tick) {
            self.dirty = true;
        }
        match event {
            Event::Input(input) => {
                self.typed_at = Some(now.ms);
                self.input(input);
            }
            Event::Resized(cols, rows) => {
                self.area = Rect::new(0, 0, cols, rows);
                self.follow();
            }
            Event::Sessions(docs) => {
                let first = !std::mem::replace(&mut self.loaded, true);
                self.list.set(docs, now);
                self.arrange();
                if first && self.live().next().is_none() {
                    self.dialog_new();
                }
            }
            Event::Session(doc) => self.put(*doc),
            Event::Status(status) => self.list.set_status(status),
            Event::Told(told) => self.told(told.what),
            Event::Hosts(hosts) => {
                self.hosts = hosts;
                let known = self.known_hosts();
                if let Some(Dialog::New(new)) = &mut self.dialog {
                    new.set_hosts(known);
                }
            }
            Event::Screen(size, snapshot) => self.preview.screen(size, snapshot),
            Event::Output(bytes) => self.preview.output(bytes),
            Event::NoScreen(why) => self.preview.note = clean(&why, 300),
            Event::Done(number, result) => self.done(number, result),
            Event::Asked(wish, id, question) => {
                self.questions.push_back(LoginQuestion::new(wish, id, question))
            }
            Event::AskedNoMore(wish, id) => {
                self.questions.retain(|asked| (asked.wish, asked.id) != (wish, id));
            }
            Event::Manager(why) => self.no_manager = why,
            Event::Tick => {}
        }
        self.pass_time();
    }

    fn pass_time(&mut self) {
        let now = self.now.ms;
        if self.said.as_ref().is_some_and(|(.., until)| now >= *until) {
            self.said = None;
            self.dirty = true;
        }
        if self.unordered && now >= self.order_due() {
            self.arrange();
        }
        if self.look_at.is_some_and(|at| now >= at) {
            self.look_at = None;
            let wanted = self.wants_preview().then(|| self.selected.clone()).flatten();
            if self.preview.session != wanted {
                self.preview.of(wanted.clone());
                self.effects.push_back(Effect::Look(wanted));
            }
        }
        if now >= self.drawn_at + SECOND_MS {
            self.dirty = true;
        }
    }

    fn wants_preview(&self) -> bool {
        // A screen of ourselves in a screen of ours would go on without end.
        let looks = self.selected.is_some() && self.selected != self.here;
        looks
            && (self.peeking
                || draw::layout(self.area, self.list.lines.len(), self.peeking).preview.is_some())
    }

    /// A change, as the manager tells it.
    fn told(&mut self, what: What) {
        let before = self.list.entries.len();
        match self.list.hear(what, self.now) {
            Unknown::None => {}
            Unknown::Session(id) => self.effects.push_back(Effect::WantSession(id)),
            Unknown::Links => self.effects.push_back(Effect::WantLinks),
            Unknown::All => self.effects.push_back(Effect::WantAll),
        }
        if self.list.entries.len() == before {
            self.unordered = true;
        } else {
            self.arrange();
        }
    }

    /// A session as it is now. One that was not there is put in its place at once; others move when the hands are still.
    fn put(&mut self, doc: SessionDoc) {
        let known = self.list.entries.contains_key(&doc.id);
        self.list.put(doc, self.now);
        if known {
            self.unordered = true;
        } else {
            self.arrange();
        }
    }

    fn arrange(&mut self) {
        self.unordered = false;
        self.arranged_at = self.now.ms;
        let place = self.selected_line();
        self.list.arrange(&self.filter.text(), self.with_ended, self.now);
        if self.selected_line().is_none() {
            // What stands where it stood.
            let near = place.unwrap_or(0).min(self.list.lines.len().saturating_sub(1));
            let after = self.list.lines.iter().skip(near).find_map(Line::session);
            let before = self.list.lines.iter().take(near).rev().find_map(Line::session);
            // One begins where one is not: of all there is, that alone cannot be opened.
            let begins = || self.list.shown().find(|id| Some(*id) != self.here.as_deref());
            let begun = self.selected.is_none().then(begins).flatten();
            let next = begun.or(after).or(before).map(str::to_owned);
            self.select(next);
        }
        self.follow();
    }

    fn selected_line(&self) -> Option<usize> {
        let selected = self.selected.as_deref()?;
        self.list.lines.iter().position(|line| line.session() == Some(selected))
    }

    fn select(&mut self, id: Option<String>) {
        if self.selected != id {
            self.selected = id;
            self.look_at = Some(self.now.ms + LOOK_AFTER_MS);
        } else if self.look_at.is_none() && self.preview.session != self.selected {
            self.look_at = Some(self.now.ms);
        }
        self.follow();
    }

    /// The selected line is among those that are seen, with the line above it where that is a host's.
    fn follow(&mut self) {
        let height =
            usize::from(draw::layout(self.area, self.list.lines.len(), self.peeking).list.height).max(1);
        let last_top = self.list.lines.len().saturating_sub(height);
        if let Some(at) = self.selected_line() {
            let from =
                if at > 0 && self.list.lines[at - 1].session().is_none() && height > 1 { at - 1 } else { at };
            self.top = self.top.min(from).max((at + 1).saturating_sub(height));
        }
        self.top = self.top.min(last_top);
        if self.look_at.is_none() && self.preview.session.is_none() && self.wants_preview() {
            self.look_at = Some(self.now.ms);
        }
    }

    /// The session selected.
    pub(crate) fn current(&self) -> Option<&Entry> {
        self.list.entries.get(self.selected.as_deref()?)
    }

    fn known_hosts(&self) -> Vec<String> {
        let mut hosts = vec![sessd_proto::docs::host::LOCAL.to_owned()];
        let mut seen: Vec<String> = self.list.entries.values().map(|e| e.doc.host.clone()).collect();
        seen.extend(self.list.links.keys().cloned());
        seen.sort();
        for host in seen.into_iter().chain(self.hosts.iter().cloned()) {
            if !hosts.contains(&host) {
                hosts.push(host);
            }
        }
        hosts
    }

    fn done(&mut self, number: u64, result: Result<Option<Box<SessionDoc>>, Error>) {
        let Some(working) = self.working.remove(&number) else { return };
        self.questions.retain(|asked| asked.wish != number);
        match result {
            Err(error) => self.say(error.line().trim_start_matches("sessd: "), true),
            Ok(None) => {}
            Ok(Some(doc)) => {
                let id = doc.id.clone();
                self.list.put(*doc, self.now);
                self.filter =
                    if working.then_show { Edit::default() } else { std::mem::take(&mut self.filter) };
                self.arrange();
                let free = self.dialog.is_none() && !self.filtering && self.questions.is_empty();
                if working.then_show && free {
                    self.select(Some(id.clone()));
                    self.effects.push_back(Effect::Attach(id));
                }
            }
        }
    }
}
