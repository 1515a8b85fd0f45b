//! What a program says to people beside its screen: that it works or waits (our own report, OSC 9;4, OSC 133), a notice (OSC
//! 9, 99, 777), the bell. The model keeps them until somebody takes them; they are no part of the screen, and no snapshot
//! says them again, but for where the shell's prompts are.
//!
//! Our own report is `OSC 777 ; sessd ; working|waiting|done ; NOTE ST`: 777 is for extensions by name, and a terminal that
//! does not know one does nothing.

use crate::terminal::ShellState;
use std::collections::VecDeque;

/// Signals that wait to be taken; beyond that the oldest go.
const WAITING_MAX: usize = 32;
/// Longest text of a signal, in bytes.
const TEXT_MAX: usize = 1024;

/// What a program says of itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reported {
    /// It works.
    Working,
    /// It waits for a person.
    Waiting,
    /// It has done what it was to do.
    Done,
}

impl Reported {
    /// By its word.
    pub fn named(word: &str) -> Option<Self> {
        Some(match word {
            "working" => Self::Working,
            "waiting" => Self::Waiting,
            "done" => Self::Done,
            _ => return None,
        })
    }
}

/// One signal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Signal {
    /// It was reported (`OSC 777 ; sessd`), with a note or an empty one.
    Report(Reported, String),
    /// A progress bar (OSC 9;4): some way, per cent where that is known.
    Progress(Option<u8>),
    /// The bar shows an error, or that it stands still.
    Stuck,
    /// The bar is gone.
    NoProgress,
    /// The shell says where it stands (OSC 133).
    Shell(ShellState),
    /// A notice for people; the title may be empty.
    Notice {
        /// Its title.
        title: String,
        /// What it says.
        body: String,
    },
    /// BEL.
    Bell,
}

/// Signals that nobody has taken yet.
#[derive(Clone, Debug, Default)]
pub(crate) struct Signals {
    waiting: VecDeque<Signal>,
    /// A notice of kitty's that comes in parts: its id, title and text so far.
    parts: Option<(String, String, String)>,
}

impl Signals {
    pub(crate) fn put(&mut self, signal: Signal) {
        // One bell is as good as many.
        if signal == Signal::Bell && self.waiting.contains(&Signal::Bell) {
            return;
        }
        if self.waiting.len() == WAITING_MAX {
            self.waiting.pop_front();
        }
        self.waiting.push_back(signal);
    }

    pub(crate) fn take(&mut self) -> VecDeque<Signal> {
        std::mem::take(&mut self.waiting)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// `OSC 9 ; rest`: a notice, or one of ConEmu's commands, which begin with their number.
    pub(crate) fn osc_9(&mut self, rest: &[u8]) {
        let end = rest.iter().position(|b| *b == b';').unwrap_or(rest.len());
        let command = std::str::from_utf8(&rest[..end]).ok().and_then(|n| n.parse::<u8>().ok());
        match command {
            Some(4) => self.progress(rest.get(end + 1..).unwrap_or_default()),
            Some(1..=12) if end < rest.len() => {}
            _ => self.notice("", &text(rest)),
        }
    }

    fn progress(&mut self, rest: &[u8]) {
        let mut parts = rest.split(|b| *b == b';').map(|p| std::str::from_utf8(p).unwrap_or_default());
        let state = parts.next().unwrap_or_default();
        let percent = parts.next().and_then(|p| p.parse::<u8>().ok()).map(|p| p.min(100));
        match state {
            "0" => self.put(Signal::NoProgress),
            "1" => self.put(Signal::Progress(percent)),
            "3" => self.put(Signal::Progress(None)),
            "2" | "4" => self.put(Signal::Stuck),
            _ => {}
        }
    }

    /// `OSC 777 ; rest`.
    pub(crate) fn osc_777(&mut self, rest: &[u8]) {
        let mut parts = rest.splitn(3, |b| *b == b';');
        let (name, first) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let last = parts.next().unwrap_or_default();
        match name {
            b"notify" => self.notice(&text(first), &text(last)),
            b"sessd" => {
                if let Some(state) = std::str::from_utf8(first).ok().and_then(Reported::named) {
                    self.put(Signal::Report(state, text(last)));
                }
            }
            _ => {}
        }
    }

    /// `OSC 99 ; rest`: kitty's notices, `key=value:… ; payload`.
    pub(crate) fn osc_99(&mut self, rest: &[u8]) {
        let Some(at) = rest.iter().position(|b| *b == b';') else { return };
        let (metadata, payload) = (&rest[..at], &rest[at + 1..]);
        let value = |key: &[u8]| {
            let mut all = metadata.split(|b| *b == b':');
            all.find_map(|one| one.strip_prefix(key)?.strip_prefix(b"=")).unwrap_or_default()
        };
        let payload = if value(b"e") == b"1" {
            text(&crate::base64::decode(payload.iter().copied()))
        } else {
            text(payload)
        };
        let (id, more) = (text(value(b"i")), value(b"d") == b"0");
        let (title, body) = match value(b"p") {
            b"" | b"title" => (payload.as_str(), ""),
            b"body" => ("", payload.as_str()),
            // Icons, buttons, questions: nothing that is said.
            _ => return,
        };
        let (_, had_title, had_body) = self.parts.take().filter(|parts| parts.0 == id).unwrap_or_default();
        let (title, body) = (cut(had_title + title), cut(had_body + body));
        if more {
            self.parts = Some((id, title, body));
        } else if body.is_empty() {
            self.notice("", &title);
        } else {
            self.notice(&title, &body);
        }
    }

    fn notice(&mut self, title: &str, body: &str) {
        if !(title.is_empty() && body.is_empty()) {
            self.put(Signal::Notice { title: title.to_owned(), body: body.to_owned() });
        }
    }
}

fn cut(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(TEXT_MAX));
    text
}

fn text(bytes: &[u8]) -> String {
    cut(String::from_utf8_lossy(bytes).chars().filter(|c| !c.is_control()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Size, Terminal};

    fn signals(bytes: &str) -> Vec<Signal> {
        let mut terminal = Terminal::new(Size { cols: 20, rows: 5 }, 0);
        terminal.feed(bytes.as_bytes());
        terminal.take_signals().into()
    }

    fn notice(title: &str, body: &str) -> Signal {
        Signal::Notice { title: title.into(), body: body.into() }
    }

    #[test]
    fn what_programs_say_beside_their_screen_is_heard() {
        use Reported::{Done, Waiting, Working};
        let table: [(&str, &[Signal]); 16] = [
            ("\x1b]777;sessd;working\x07", &[Signal::Report(Working, String::new())]),
            ("\x1b]777;sessd;waiting;which; file?\x1b\\", &[Signal::Report(Waiting, "which; file?".into())]),
            ("\x1b]777;sessd;done;a\u{85}b\x07", &[Signal::Report(Done, "ab".into())]),
            ("\x1b]777;sessd;maybe\x07", &[]),
            ("\x1b]777;notify;Build;it failed\x07", &[notice("Build", "it failed")]),
            ("\x1b]777;preexec\x07", &[]),
            ("\x1b]9;look here\x07", &[notice("", "look here")]),
            ("\x1b]9;4 tests failed\x07", &[notice("", "4 tests failed")]),
            ("\x1b]9;9;/tmp\x07", &[]),
            ("\x1b]9;4;1;42\x07\x1b]9;4;3\x07", &[Signal::Progress(Some(42)), Signal::Progress(None)]),
            ("\x1b]9;4;2;10\x07\x1b]9;4;0\x07", &[Signal::Stuck, Signal::NoProgress]),
            (
                "\x1b]133;C\x07\x1b]133;D;1\x07",
                &[Signal::Shell(ShellState::Running), Signal::Shell(ShellState::Done)],
            ),
            ("\x1b]99;;hello\x1b\\", &[notice("", "hello")]),
            ("\x1b]99;i=1:d=0;Title\x1b\\\x1b]99;i=1:p=body;text\x1b\\", &[notice("Title", "text")]),
            ("\x1b]99;e=1;aGk=\x1b\\\x1b]99;p=icon;x\x1b\\", &[notice("", "hi")]),
            ("a\x07\x07b\x07", &[Signal::Bell]),
        ];
        for (bytes, want) in table {
            assert_eq!(signals(bytes), want, "{bytes:?}");
        }
    }

    #[test]
    fn a_snapshot_says_none_of_it_again_and_a_flood_is_bounded() {
        let mut terminal = Terminal::new(Size { cols: 20, rows: 5 }, 0);
        let flood: String = (0..1000).map(|n| format!("\x1b]9;n{n}\x07\x1b]133;C\x07")).collect();
        terminal.feed(flood.as_bytes());
        let mut snapshot = Vec::new();
        terminal.snapshot(crate::SnapshotOptions::default(), &mut snapshot);
        assert_eq!(terminal.take_signals().len(), WAITING_MAX);
        assert!(!terminal.has_signals());
        let mut again = Terminal::new(Size { cols: 20, rows: 5 }, 0);
        again.feed(&snapshot);
        // But for the marks of rows, which only a model that follows no program gets to see.
        let said = again.take_signals();
        assert!(said.iter().all(|signal| matches!(signal, Signal::Shell(_))), "{said:?}");
    }
}
