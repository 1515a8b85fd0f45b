//! What the picker does: events in with the time, effects out, a deadline. No I/O, no clock.

use crate::Now;
use crate::dialog::{Asked, Confirm, Dialog, New, Sure};
use crate::draw;
use crate::edit::Edit;
use crate::keys::{Input, Key};
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
    pub(crate) questions: VecDeque<Asked>,
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
            Event::Asked(wish, id, question) => self.questions.push_back(Asked::new(wish, id, question)),
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
            let next = after.or(before).map(str::to_owned);
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

    fn input(&mut self, input: Input) {
        if let Some(asked) = self.questions.front_mut() {
            let (wish, id) = (asked.wish, asked.id);
            if let Some(answer) = asked.input(&input) {
                self.questions.pop_front();
                self.effects.push_back(Effect::Answer(wish, id, answer));
            }
            return;
        }
        // Whoever does something else has turned away from what was to come.
        self.working.values_mut().for_each(|working| working.then_show = false);
        match (self.dialog.take(), input) {
            (Some(dialog), input) => self.dialog_input(dialog, &input),
            (None, Input::Key(key)) if self.filtering => self.filter_key(key),
            (None, Input::Key(key)) => self.key(key),
            (None, Input::Paste(text)) if self.filtering => {
                self.filter.insert(&text);
                self.filtered();
            }
            (None, Input::Paste(_)) => {}
            (None, Input::Wheel(up, ..)) => self.step(if up { -3 } else { 3 }),
            (None, Input::Click(x, y)) => self.click(x, y),
        }
    }

    fn key(&mut self, key: Key) {
        self.said = None;
        match key {
            Key::Enter | Key::Right | Key::Char('l') => self.attach(),
            Key::Up | Key::Char('k') | Key::Ctrl('p') => self.step(-1),
            Key::Down | Key::Char('j') | Key::Ctrl('n') => self.step(1),
            Key::PageUp | Key::Ctrl('b') => self.page(-1),
            Key::PageDown | Key::Ctrl('f') => self.page(1),
            Key::Home | Key::Char('g') => self.step(isize::MIN),
            Key::End | Key::Char('G') => self.step(isize::MAX),
            Key::Char(digit @ '1'..='9') => {
                if let Some(id) = self.numbered(digit) {
                    self.select(Some(id));
                    self.attach();
                }
            }
            Key::Char('n') => self.dialog_new(),
            Key::Char('r') => {
                if let Some(entry) = self.current().filter(|e| e.is_live()) {
                    let name = Edit::new(entry.doc.name.as_deref().unwrap_or_default());
                    self.dialog = Some(Dialog::Rename(entry.doc.id.clone(), name));
                }
            }
            Key::Char('t') => {
                if let Some(entry) = self.current() {
                    let tags = Edit::new(&entry.tags());
                    self.dialog = Some(Dialog::Tags(entry.doc.id.clone(), tags));
                }
            }
            Key::Char('d') | Key::Delete => {
                if let Some(id) = self.selected.clone() {
                    self.dialog = Some(Dialog::Confirm(Confirm { what: Sure::Delete(id), numbered: false }));
                }
            }
            Key::Char('x') => {
                let ids: Vec<String> = self
                    .list
                    .shown()
                    .filter(|id| self.list.entries[*id].is_live())
                    .map(str::to_owned)
                    .collect();
                if !ids.is_empty() {
                    self.dialog =
                        Some(Dialog::Confirm(Confirm { what: Sure::DeleteAll(ids), numbered: false }));
                }
            }
            Key::Char('R') => match self.current() {
                Some(entry) if entry.is_live() => {
                    let id = entry.doc.id.clone();
                    self.dialog = Some(Dialog::Confirm(Confirm { what: Sure::Restart(id), numbered: false }));
                }
                Some(entry) => {
                    let id = entry.doc.id.clone();
                    self.restart(id);
                }
                None => {}
            },
            Key::Char('/') => self.filtering = true,
            Key::Char('p' | ' ') => {
                self.peeking = !self.peeking;
                self.look_at = Some(self.now.ms);
                self.follow();
            }
            Key::Char('e') => {
                self.with_ended = !self.with_ended;
                self.arrange();
            }
            Key::Char('?') => self.dialog = Some(Dialog::Help),
            Key::Escape if self.peeking => {
                self.peeking = false;
                self.follow();
            }
            Key::Escape if !self.filter.is_empty() => {
                self.filter = Edit::default();
                self.filtered();
            }
            Key::Char('q') | Key::Escape | Key::Ctrl('c' | 'd') => self.effects.push_back(Effect::Leave),
            _ => {}
        }
    }

    fn filter_key(&mut self, key: Key) {
        match key {
            Key::Escape | Key::Ctrl('c') => {
                self.filtering = false;
                self.filter = Edit::default();
                self.filtered();
            }
            Key::Enter => {
                self.filtering = false;
                self.attach();
            }
            // Back to the keys, with what is shown as it is.
            Key::Tab => self.filtering = false,
            Key::Backspace if self.filter.is_empty() => self.filtering = false,
            Key::Up | Key::Ctrl('p') => self.step(-1),
            Key::Down | Key::Ctrl('n') => self.step(1),
            Key::PageUp => self.page(-1),
            Key::PageDown => self.page(1),
            key => {
                if self.filter.key(key) {
                    self.filtered();
                }
            }
        }
    }

    /// Another filter: what fits best is selected.
    fn filtered(&mut self) {
        self.arrange();
        if !self.filter.is_empty() {
            let first = self.list.shown().next().map(str::to_owned);
            self.select(first);
        }
    }

    /// Goes on by so many sessions.
    fn step(&mut self, by: isize) {
        let shown: Vec<&str> = self.list.shown().collect();
        let at = self.selected.as_deref().and_then(|id| shown.iter().position(|one| *one == id)).unwrap_or(0);
        let last = shown.len().saturating_sub(1);
        let to = at.saturating_add_signed(by).min(last);
        let id = shown.get(to).map(|id| (*id).to_owned());
        self.select(id);
    }

    fn page(&mut self, by: isize) {
        let height = draw::layout(self.area, self.list.lines.len(), self.peeking).list.height.max(2) - 1;
        self.step(by * isize::try_from(height).unwrap_or(1));
    }

    fn click(&mut self, x: u16, y: u16) {
        let layout = draw::layout(self.area, self.list.lines.len(), self.peeking);
        if !layout.list.contains((x, y).into()) {
            return;
        }
        let at = self.top + usize::from(y - layout.list.y);
        let Some(id) = self.list.lines.get(at).and_then(Line::session).map(str::to_owned) else { return };
        let again =
            self.clicked.take().is_some_and(|(last, when)| last == id && self.now.ms < when + DOUBLE_MS);
        self.select(Some(id.clone()));
        if again {
            self.attach();
        } else {
            self.clicked = Some((id, self.now.ms));
        }
    }

    /// The session that has this digit before it.
    pub(crate) fn numbered(&self, digit: char) -> Option<String> {
        let at = usize::try_from(digit.to_digit(10)?.checked_sub(1)?).ok()?;
        self.list.shown().nth(at).map(str::to_owned)
    }

    fn attach(&mut self) {
        let Some(id) = self.selected.clone() else { return };
        if self.here.as_deref() == Some(id.as_str()) {
            self.say(
                "this terminal is inside that session: a view of itself would show itself without end",
                true,
            );
        } else {
            self.effects.push_back(Effect::Attach(id));
        }
    }

    fn dialog_new(&mut self) {
        self.effects.push_back(Effect::WantHosts);
        // Where one stands is where one works.
        let host = self.current().map_or(sessd_proto::docs::host::LOCAL, |entry| &entry.doc.host).to_owned();
        self.dialog = Some(Dialog::New(New::on(self.known_hosts(), &host)));
    }

    fn ask(&mut self, wish: Wish, what: String, then_show: bool) {
        self.number += 1;
        self.working.insert(self.number, Working { what, since: self.now.ms, then_show });
        self.effects.push_back(Effect::Ask(self.number, wish));
        self.said = None;
    }

    fn label(&self, id: &str) -> String {
        self.list.entries.get(id).map_or_else(|| id.to_owned(), Entry::label)
    }

    fn restart(&mut self, id: String) {
        let what = format!("starting {} again", self.label(&id));
        self.ask(Wish::Restart(id), what, false);
    }

    fn dialog_input(&mut self, mut dialog: Dialog, input: &Input) {
        let key = match input {
            Input::Key(key) => *key,
            Input::Paste(text) => {
                dialog.paste(text);
                self.dialog = Some(dialog);
                return;
            }
            Input::Click(..) | Input::Wheel(..) => {
                self.dialog = Some(dialog);
                return;
            }
        };
        if matches!(key, Key::Escape | Key::Ctrl('c')) {
            if self.list.entries.is_empty() && matches!(dialog, Dialog::New(_)) {
                // There is nothing else here.
                self.effects.push_back(Effect::Leave);
            }
            return;
        }
        match &mut dialog {
            Dialog::Help => return,
            Dialog::Rename(id, name) => match key {
                Key::Enter => {
                    let (id, name) = (id.clone(), name.text().trim().to_owned());
                    let unchanged =
                        self.session(&id).is_none_or(|doc| doc.name.clone().unwrap_or_default() == name);
                    if !unchanged {
                        let what = format!("renaming {}", self.label(&id));
                        self.ask(Wish::Rename { id, name }, what, false);
                    }
                    return;
                }
                key => {
                    name.key(key);
                }
            },
            Dialog::Tags(id, tags) => match key {
                Key::Enter => {
                    let (id, text) = (id.clone(), tags.text());
                    if let Some((set, remove)) =
                        self.session(&id).map(|doc| crate::dialog::tags(&doc.tags, &text))
                        && !(set.is_empty() && remove.is_empty())
                    {
                        let what = format!("tagging {}", self.label(&id));
                        self.ask(Wish::Tags { id, set, remove }, what, false);
                    }
                    return;
                }
                key => {
                    tags.key(key);
                }
            },
            Dialog::New(new) => {
                if let Some((name, host)) = new.key(key) {
                    let what =
                        format!("starting {} on {host}", if name.is_empty() { "a session" } else { &name });
                    self.ask(Wish::Create { name, host }, what, true);
                    return;
                }
            }
            Dialog::Confirm(confirm) => {
                match (key, &confirm.what) {
                    (Key::Char('y' | 'Y'), _) => self.confirmed(confirm.what.clone()),
                    // Whoever named it by its number has said which.
                    (Key::Enter, _) if confirm.numbered => self.confirmed(confirm.what.clone()),
                    (Key::Char(digit @ '1'..='9'), Sure::Delete(_)) => {
                        if let Some(id) = self.numbered(digit) {
                            self.select(Some(id.clone()));
                            self.dialog =
                                Some(Dialog::Confirm(Confirm { what: Sure::Delete(id), numbered: true }));
                        }
                    }
                    _ => {}
                }
                return;
            }
        }
        self.dialog = Some(dialog);
    }

    fn confirmed(&mut self, what: Sure) {
        match what {
            Sure::Delete(id) => {
                let what = format!("ending {}", self.label(&id));
                self.ask(Wish::Delete(vec![id]), what, false);
            }
            Sure::DeleteAll(ids) => {
                let what = format!("ending {} sessions", ids.len());
                self.ask(Wish::Delete(ids), what, false);
            }
            Sure::Restart(id) => self.restart(id),
        }
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
