//! What a person does with keys, the mouse and answers, and what follows. Pure.

use super::{DOUBLE_MS, Effect, Machine, Wish, Working};
use crate::dialog::{Confirm, Dialog, New, Sure};
use crate::draw;
use crate::edit::Edit;
use crate::keys::{Input, Key};
use crate::list::{Entry, Line};

impl Machine {
    pub(super) fn input(&mut self, input: Input) {
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
                    self.restart(id, false);
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
            Key::Char('?') => self.dialog = Some(Dialog::Help(0)),
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
        } else if self.list.entries.get(&id).is_some_and(|entry| !entry.is_live()) {
            self.dialog = Some(Dialog::Confirm(Confirm { what: Sure::Again(id), numbered: false }));
        } else {
            self.effects.push_back(Effect::Attach(id));
        }
    }

    pub(super) fn dialog_new(&mut self) {
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

    fn restart(&mut self, id: String, then_show: bool) {
        let what = format!("starting {} again", self.label(&id));
        self.ask(Wish::Restart(id), what, then_show);
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
                if let (Dialog::Help(top), Input::Wheel(up, ..)) = (&mut dialog, input) {
                    *top = if *up { top.saturating_sub(1) } else { *top + 1 }
                        .min(draw::help_scrolls(self.area, self.look));
                }
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
            Dialog::Help(top) => {
                let last = draw::help_scrolls(self.area, self.look);
                *top = match key {
                    Key::Down | Key::Char('j') => *top + 1,
                    Key::Up | Key::Char('k') => top.saturating_sub(1),
                    Key::PageDown | Key::Char(' ') => *top + self.area.height.saturating_sub(3),
                    Key::PageUp => top.saturating_sub(self.area.height.saturating_sub(3)),
                    Key::Home => 0,
                    Key::End => last,
                    _ => return,
                }
                .min(last);
            }
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
            Sure::Restart(id) => self.restart(id, false),
            Sure::Again(id) => self.restart(id, true),
        }
    }
}
