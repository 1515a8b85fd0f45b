//! What is asked before something is done. Pure.

use crate::edit::Edit;
use crate::keys::{Input, Key};
use crate::list::Fits;
use sessd_base::prompt::{Answer, Question};
use sessd_client::question::Editor;
use sessd_proto::docs::host::Destination;
use std::collections::BTreeMap;
use zeroize::Zeroizing;

/// What is open over the list.
#[derive(Debug)]
pub(crate) enum Dialog {
    /// A new session.
    New(New),
    /// Another name for the session of that id.
    Rename(String, Edit),
    /// Other tags for it.
    Tags(String, Edit),
    /// Something that cannot be taken back.
    Confirm(Confirm),
    /// What the keys do, from that line on.
    Help(u16),
}

impl Dialog {
    pub(crate) fn paste(&mut self, text: &str) {
        match self {
            Self::New(new) => new.paste(text),
            Self::Rename(_, edit) | Self::Tags(_, edit) => edit.insert(text),
            Self::Confirm(_) | Self::Help(_) => {}
        }
    }
}

/// What one must be sure of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Sure {
    /// The end of a session.
    Delete(String),
    /// The end of these.
    DeleteAll(Vec<String>),
    /// The end of a job, for a new one.
    Restart(String),
    /// A new job in a session that has ended, which is shown then.
    Again(String),
}

/// A question of our own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Confirm {
    pub(crate) what: Sure,
    /// The session was named by its number.
    pub(crate) numbered: bool,
}

/// A new session.
#[derive(Debug)]
pub(crate) struct New {
    pub(crate) name: Edit,
    pub(crate) host: Edit,
    /// One types into the host, and not into the name.
    pub(crate) at_host: bool,
    hosts: Vec<String>,
    /// Those of them that fit what was typed.
    pub(crate) fitting: Vec<String>,
    pub(crate) chosen: usize,
}

impl New {
    /// With these hosts to choose from, and this one chosen.
    pub(crate) fn on(hosts: Vec<String>, host: &str) -> Self {
        let chosen = hosts.iter().position(|one| one == host).unwrap_or(0);
        let fitting = hosts.clone();
        Self { name: Edit::default(), host: Edit::default(), at_host: false, hosts, fitting, chosen }
    }

    /// More hosts are known.
    pub(crate) fn set_hosts(&mut self, hosts: Vec<String>) {
        let chosen = self.chosen_host();
        self.hosts = hosts;
        self.fit();
        if let Some(at) = chosen.and_then(|host| self.fitting.iter().position(|one| *one == host)) {
            self.chosen = at;
        }
    }

    /// The host that it would be made on.
    pub(crate) fn chosen_host(&self) -> Option<String> {
        self.fitting.get(self.chosen).cloned()
    }

    fn fit(&mut self) {
        let typed = self.host.text().trim().to_owned();
        let mut fits = Fits::new(&typed);
        let mut fitting: Vec<(u32, String)> =
            self.hosts.iter().filter_map(|host| Some((fits.text(host)?, host.clone()))).collect();
        fitting.sort_by_key(|(score, _)| std::cmp::Reverse(*score));
        self.fitting = fitting.into_iter().map(|(_, host)| host).collect();
        // One that nobody has named before.
        if !typed.is_empty() && !self.fitting.contains(&typed) && Destination::parse(&typed).is_ok() {
            self.fitting.push(typed);
        }
        self.chosen = 0;
    }

    fn paste(&mut self, text: &str) {
        if self.at_host {
            self.host.insert(text.trim());
            self.fit();
        } else {
            self.name.insert(text.trim());
        }
    }

    /// Takes a key. `Some`: a session of this name on this host is wanted.
    pub(crate) fn key(&mut self, key: Key) -> Option<(String, String)> {
        let last = self.fitting.len().saturating_sub(1);
        match key {
            Key::Enter => return Some((self.name.text().trim().to_owned(), self.chosen_host()?)),
            Key::Tab | Key::BackTab => self.at_host = !self.at_host,
            Key::Up | Key::Ctrl('p') => self.chosen = self.chosen.saturating_sub(1),
            Key::Down | Key::Ctrl('n') => self.chosen = (self.chosen + 1).min(last),
            Key::PageUp => self.chosen = self.chosen.saturating_sub(5),
            Key::PageDown => self.chosen = (self.chosen + 5).min(last),
            key if self.at_host => {
                if self.host.key(key) {
                    self.fit();
                }
            }
            key => {
                self.name.key(key);
            }
        }
        None
    }
}

/// A question that a login puts to the person here.
#[derive(Debug)]
pub(crate) struct LoginQuestion {
    pub(crate) wish: u64,
    pub(crate) id: u64,
    pub(crate) question: Question,
    editor: Editor,
}

impl LoginQuestion {
    pub(crate) fn new(wish: u64, id: u64, question: Question) -> Self {
        Self { wish, id, question, editor: Editor::default() }
    }

    /// What is typed so far, where it may be seen.
    pub(crate) fn shown(&self) -> String {
        if self.question.echo { self.editor.shown() } else { String::new() }
    }

    /// Takes what is typed. `Some`: the answer; none in it: there is none.
    #[allow(clippy::option_option)]
    pub(crate) fn input(&mut self, input: &Input) -> Option<Option<Zeroizing<String>>> {
        let answer = match input {
            Input::Paste(text) => self.editor.feed(text.as_bytes()),
            Input::Key(Key::Enter) => self.editor.feed(b"\r"),
            Input::Key(Key::Escape | Key::Ctrl('c')) => Some(Answer::Declined),
            Input::Key(Key::Backspace) => self.editor.feed(b"\x7f"),
            Input::Key(Key::Ctrl(c)) => self.editor.feed(&[*c as u8 & 0x1f]),
            Input::Key(Key::Char(c)) => self.editor.feed(c.encode_utf8(&mut [0; 4]).as_bytes()),
            _ => None,
        }?;
        Some(match answer {
            Answer::Given(given) => Some(given),
            Answer::Declined | Answer::Nobody => None,
        })
    }
}

/// What is to be set and removed so that a session that has `tags` has those of `text`.
pub(crate) fn tags(tags: &BTreeMap<String, String>, text: &str) -> (Vec<(String, String)>, Vec<String>) {
    let wanted: BTreeMap<&str, &str> =
        text.split_whitespace().map(|word| word.split_once('=').unwrap_or((word, ""))).collect();
    let set = wanted
        .iter()
        .filter(|(key, value)| tags.get(**key).is_none_or(|known| known != *value))
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect();
    let remove = tags.keys().filter(|key| !wanted.contains_key(key.as_str())).cloned().collect();
    (set, remove)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_typed_as_they_are_to_be() {
        let has = BTreeMap::from([("gpu".to_owned(), String::new()), ("team".to_owned(), "ml".to_owned())]);
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        for (text, set, remove) in [
            ("gpu team=ml", vec![], vec![]),
            ("gpu", vec![], vec!["team"]),
            ("  team=x new gpu ", vec![pair("new", ""), pair("team", "x")], vec![]),
            ("", vec![], vec!["gpu", "team"]),
        ] {
            assert_eq!(tags(&has, text), (set, remove.into_iter().map(str::to_owned).collect()), "{text:?}");
        }
    }

    #[test]
    fn a_host_is_chosen_or_typed() {
        let hosts = ["local", "box", "gpu-box", "web"].map(str::to_owned).to_vec();
        let mut new = New::on(hosts.clone(), "box");
        assert_eq!(new.key(Key::Enter), Some((String::new(), "box".into())));
        new.key(Key::Char('d'));
        new.key(Key::Down);
        assert_eq!(new.key(Key::Enter), Some(("d".into(), "gpu-box".into())));
        new.key(Key::Tab);
        "web".chars().for_each(|c| drop(new.key(Key::Char(c))));
        assert_eq!(new.key(Key::Enter), Some(("d".into(), "web".into())));
        "x:22".chars().for_each(|c| drop(new.key(Key::Char(c))));
        assert_eq!(new.key(Key::Enter), Some(("d".into(), "webx:22".into())));
        new.key(Key::Ctrl('u'));
        "a b".chars().for_each(|c| drop(new.key(Key::Char(c))));
        assert_eq!(new.key(Key::Enter), None, "no host");
        new.key(Key::Ctrl('u'));
        new.set_hosts(hosts);
        assert_eq!(new.fitting.len(), 4);
    }

    #[test]
    fn a_password_is_not_seen_and_can_be_declined() {
        let question =
            |echo| Question { host: "box".into(), text: String::new(), prompt: "Password:".into(), echo };
        let mut asked = LoginQuestion::new(1, 2, question(false));
        for c in "hunter2x".chars() {
            assert!(asked.input(&Input::Key(Key::Char(c))).is_none());
        }
        asked.input(&Input::Key(Key::Backspace));
        assert_eq!(asked.shown(), "");
        let answer = asked.input(&Input::Key(Key::Enter)).unwrap().unwrap();
        assert_eq!(answer.as_str(), "hunter2");
        let mut asked = LoginQuestion::new(1, 2, question(true));
        asked.input(&Input::Paste("yes".into()));
        assert_eq!(asked.shown(), "yes");
        assert!(matches!(asked.input(&Input::Key(Key::Escape)), Some(None)));
    }
}
