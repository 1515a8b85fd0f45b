//! A line that is edited in place. Pure.

use crate::keys::Key;

/// Characters of a line at the most.
const LENGTH_MAX: usize = 512;

/// A line and where in it one types.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Edit {
    text: Vec<char>,
    at: usize,
}

impl Edit {
    /// With this text, to go on behind it.
    pub(crate) fn new(text: &str) -> Self {
        let mut edit = Self::default();
        edit.insert(text);
        edit
    }

    /// What it says.
    pub(crate) fn text(&self) -> String {
        self.text.iter().collect()
    }

    /// What stands before the place where one types.
    pub(crate) fn before(&self) -> String {
        self.text[..self.at].iter().collect()
    }

    /// Nothing is typed.
    pub(crate) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Types a text.
    pub(crate) fn insert(&mut self, text: &str) {
        for c in text.chars().filter(|c| !sessd_proto::docs::text::is_hidden(*c)) {
            if self.text.len() < LENGTH_MAX {
                self.text.insert(self.at, c);
                self.at += 1;
            }
        }
    }

    /// Takes a key. False: it is none that edits.
    pub(crate) fn key(&mut self, key: Key) -> bool {
        match key {
            Key::Char(c) => self.insert(c.encode_utf8(&mut [0; 4])),
            Key::Backspace | Key::Ctrl('h') => {
                if self.at > 0 {
                    self.at -= 1;
                    self.text.remove(self.at);
                }
            }
            Key::Delete => {
                if self.at < self.text.len() {
                    self.text.remove(self.at);
                }
            }
            Key::Left | Key::Ctrl('b') => self.at = self.at.saturating_sub(1),
            Key::Right | Key::Ctrl('f') => self.at = (self.at + 1).min(self.text.len()),
            Key::Home | Key::Ctrl('a') => self.at = 0,
            Key::End | Key::Ctrl('e') => self.at = self.text.len(),
            Key::Ctrl('u') => {
                self.text.drain(..self.at);
                self.at = 0;
            }
            Key::Ctrl('k') => self.text.truncate(self.at),
            Key::Ctrl('w') => {
                let mut from = self.at;
                while from > 0 && self.text[from - 1] == ' ' {
                    from -= 1;
                }
                while from > 0 && self.text[from - 1] != ' ' {
                    from -= 1;
                }
                self.text.drain(from..self.at);
                self.at = from;
            }
            _ => return false,
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_edited_as_in_a_shell() {
        let mut edit = Edit::new("one two");
        for (keys, want, before) in [
            (&[Key::Ctrl('w')][..], "one ", "one "),
            (&[Key::Char('x'), Key::Home, Key::Delete], "ne x", ""),
            (&[Key::Right, Key::Char('é'), Key::Backspace, Key::Left], "ne x", ""),
            (&[Key::End, Key::Left, Key::Ctrl('u')], "x", ""),
            (&[Key::Ctrl('k')], "", ""),
            (&[Key::Backspace, Key::Delete, Key::Left, Key::Right], "", ""),
        ] {
            keys.iter().for_each(|key| assert!(edit.key(*key)));
            assert_eq!((edit.text().as_str(), edit.before().as_str()), (want, before));
        }
        assert!(!edit.key(Key::Enter) && !edit.key(Key::Up));
        edit.insert("a\u{1b}\u{202e}b");
        assert_eq!(edit.text(), "ab");
        edit.insert(&"x".repeat(5_000));
        assert_eq!(edit.text().len(), LENGTH_MAX);
    }
}
