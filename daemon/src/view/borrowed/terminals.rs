//! The user's own terminal before a session and after it, for ten kinds of terminals: each a small model of what that one keeps,
//! what it answers and how it understands what others understand otherwise. What the session's view says to them is the real thing.

use super::Borrowed;
use sessd_terminal::{Size, SnapshotOptions, Terminal};
use std::collections::BTreeMap;

/// How a kind of terminal differs from the others.
#[derive(Clone, Copy)]
struct Kind {
    name: &'static str,
    /// XTSAVE and XTRESTORE.
    saves_modes: bool,
    /// DECRQSS of the cursor's shape.
    answers_shape: bool,
    /// OSC 4 and 10 to 19 with `?`.
    answers_colors: bool,
    /// XTPUSHCOLORS.
    pushes_colors: bool,
    /// `CSI 0 SP q` is a blinking block, whatever the person has set.
    zero_is_block: bool,
    /// The cursor that the person has, as DECSCUSR.
    shape: u8,
    /// Private modes that are on.
    modes: &'static [u16],
    /// What nothing that is said to it can bring back.
    lost: &'static [&'static str],
}

const PLAIN: Kind = Kind {
    name: "",
    saves_modes: true,
    answers_shape: true,
    answers_colors: true,
    pushes_colors: false,
    zero_is_block: false,
    shape: 5,
    modes: &[7, 25, 2004],
    lost: &[],
};

const KINDS: [Kind; 10] = [
    Kind { name: "xterm", pushes_colors: true, zero_is_block: true, shape: 2, ..PLAIN },
    Kind { name: "kitty", pushes_colors: true, shape: 0, modes: &[7, 25, 12], ..PLAIN },
    Kind { name: "Ghostty", modes: &[7, 25, 2027, 2004], ..PLAIN },
    Kind { name: "foot", shape: 6, ..PLAIN },
    Kind { name: "VTE", modes: &[7, 25, 1007, 2004], shape: 0, ..PLAIN },
    Kind { name: "WezTerm", shape: 3, ..PLAIN },
    Kind { name: "Alacritty", saves_modes: false, answers_shape: false, shape: 0, lost: &["2004"], ..PLAIN },
    Kind { name: "iTerm2", saves_modes: false, lost: &["2004"], ..PLAIN },
    Kind { name: "Windows Terminal", saves_modes: false, modes: &[7, 25], shape: 0, ..PLAIN },
    Kind {
        name: "one that answers nothing",
        saves_modes: false,
        answers_shape: false,
        answers_colors: false,
        shape: 0,
        modes: &[7, 25],
        lost: &["colour"],
        ..PLAIN
    },
];

/// What a colour is that nobody has set.
const SETTINGS: &str = "rgb:8888/8888/8888";

type Colors = BTreeMap<u16, String>;

struct User {
    kind: Kind,
    modes: BTreeMap<u16, bool>,
    saved: BTreeMap<u16, bool>,
    shape: u8,
    /// By palette index, and from 1000 on by OSC number: what differs from its settings.
    colors: Colors,
    pushed: Vec<Colors>,
    title: String,
    titles: Vec<String>,
    keyboard: Vec<u8>,
    alternate: bool,
    progress: String,
    pointer: String,
    answers: Vec<u8>,
}

impl User {
    fn new(kind: Kind) -> Self {
        let mut colors = Colors::new();
        // A theme that the user's shell has set.
        for (i, spec) in
            [(1, "rgb:aaaa/1111/2222"), (1010, "rgb:dddd/dddd/cccc"), (1011, "rgb:1010/2020/3030")]
        {
            colors.insert(i, spec.to_owned());
        }
        Self {
            kind,
            modes: kind.modes.iter().map(|mode| (*mode, true)).collect(),
            saved: BTreeMap::new(),
            shape: kind.shape,
            colors,
            pushed: Vec::new(),
            title: "mine".into(),
            titles: Vec::new(),
            keyboard: vec![5],
            alternate: false,
            progress: String::new(),
            pointer: String::new(),
            answers: Vec::new(),
        }
    }

    /// What the person would see differ.
    fn looks(&self) -> Vec<String> {
        let on = self.modes.iter().filter(|(_, on)| **on).map(|(mode, _)| mode.to_string());
        // Set to what it is by its settings, a colour looks the same.
        let set = self.colors.iter().filter(|(_, spec)| *spec != SETTINGS);
        let colors = set.map(|(i, spec)| format!("colour {i} {spec}"));
        let rest = [
            format!("shape {}", self.shape),
            format!("title {}", self.title),
            format!("keyboard {:?}", self.keyboard),
            format!("progress {} pointer {}", self.progress, self.pointer),
            format!("alternate {} stacks {} {}", self.alternate, self.pushed.len(), self.titles.len()),
        ];
        let lost = |line: &String| !self.kind.lost.iter().any(|lost| line.starts_with(lost));
        on.chain(colors).chain(rest).filter(lost).collect()
    }

    fn hears(&mut self, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes).into_owned();
        let mut rest = text.as_str();
        while let Some(at) = rest.find('\x1b') {
            rest = &rest[at + 1..];
            let kind = rest.chars().next().unwrap_or(' ');
            match kind {
                '[' => {
                    let end =
                        rest[1..].find(|c: char| ('@'..='~').contains(&c)).map_or(rest.len() - 1, |n| n + 1);
                    let (body, last) = (&rest[1..end], rest[end..].chars().next().unwrap_or(' '));
                    self.csi(body, last);
                    rest = &rest[end + 1..];
                }
                ']' | 'P' => {
                    let end = rest.find(['\x07', '\x1b']).unwrap_or(rest.len());
                    if kind == ']' {
                        self.osc(&rest[1..end]);
                    } else if rest[1..end] == *"$q q" && self.kind.answers_shape {
                        self.answers.extend_from_slice(format!("\x1bP1$r{} q\x1b\\", self.shape).as_bytes());
                    }
                    rest = &rest[end..];
                }
                _ => {}
            }
        }
    }

    fn csi(&mut self, body: &str, last: char) {
        let numbers = |text: &str| text.split(';').map(|n| n.parse().unwrap_or(0)).collect::<Vec<u16>>();
        if let Some(modes) = body.strip_prefix('?') {
            for mode in numbers(modes) {
                match last {
                    'h' | 'l' if matches!(mode, 47 | 1047 | 1049) => self.alternate = last == 'h',
                    'h' | 'l' => {
                        self.modes.insert(mode, last == 'h');
                    }
                    's' if self.kind.saves_modes => {
                        self.saved.insert(mode, self.modes.get(&mode).copied().unwrap_or(false));
                    }
                    'r' if self.kind.saves_modes => {
                        self.modes.insert(mode, self.saved.get(&mode).copied().unwrap_or(false));
                    }
                    _ => {}
                }
            }
            return;
        }
        match (body, last) {
            (n, 'q') if n.ends_with(' ') => {
                let n = n.trim_end().parse().unwrap_or(0);
                self.shape = match n {
                    0 if self.kind.zero_is_block => 1,
                    // Back to the settings.
                    0 if self.kind.shape <= 1 || !self.kind.answers_shape => self.kind.shape,
                    n => n,
                };
            }
            ("#", 'P') if self.kind.pushes_colors => self.pushed.push(self.colors.clone()),
            ("#", 'Q') if self.kind.pushes_colors => self.colors = self.pushed.pop().unwrap_or_default(),
            (flags, 'u') if flags.starts_with('>') => self.keyboard.push(flags[1..].parse().unwrap_or(0)),
            (flags, 'u') if flags.starts_with('=') => {
                *self.keyboard.last_mut().expect("an entry") = numbers(&flags[1..])[0] as u8;
            }
            (count, 'u') if count.starts_with('<') => {
                for _ in 0..count[1..].parse().unwrap_or(1) {
                    self.keyboard.pop();
                }
            }
            (what, 't') if what.starts_with("22") => self.titles.push(self.title.clone()),
            (what, 't') if what.starts_with("23") => self.title = self.titles.pop().unwrap_or_default(),
            _ => {}
        }
    }

    fn osc(&mut self, body: &str) {
        let (number, rest) = body.split_once(';').unwrap_or((body, ""));
        let number: u16 = number.parse().unwrap_or(0);
        let mut set = |index: u16, spec: &str, head: String| match (spec, self.colors.get(&index)) {
            ("?", known) if self.kind.answers_colors => {
                let spec = known.map_or(SETTINGS, String::as_str);
                self.answers.extend_from_slice(format!("\x1b]{head};{spec}\x1b\\").as_bytes());
            }
            ("?", _) => {}
            (spec, _) => drop(self.colors.insert(index, spec.to_owned())),
        };
        match number {
            2 => self.title = rest.into(),
            4 => {
                let parts: Vec<&str> = rest.split(';').collect();
                for pair in parts.chunks_exact(2) {
                    set(pair[0].parse().unwrap_or(0), pair[1], format!("4;{}", pair[0]));
                }
            }
            10..=19 => set(1000 + number, rest, number.to_string()),
            104 if rest.is_empty() => self.colors.retain(|index, _| *index >= 1000),
            104 => {
                for index in rest.split(';') {
                    self.colors.remove(&index.parse().unwrap_or(0));
                }
            }
            110..=119 => drop(self.colors.remove(&(900 + number))),
            9 if rest.starts_with("4;") => self.progress = rest.trim_start_matches("4;0").into(),
            22 => self.pointer = rest.into(),
            _ => {}
        }
    }
}

/// A job that changes all that can be changed, and a second time.
const RUDE: &str = "\x1b]4;1;red;7;rgb:00/00/00\x07\x1b]10;#112233\x07\x1b]11;red\x07\x1b[5 q\x1b[?12h\x1b[?2004h\x1b[?2027h\x1b[?1004h\
    \x1b[?2031h\x1b[?2048h\x1b[?1h\x1b[?25l\x1b[?7l\x1b[?9001h\x1b[?1007h\x1b]22;hand\x07\x1b]9;4;1;50\x07\x1b]2;job\x07\x1b[22;0t\
    \x1b[>3u\x1b[=7u\x1b[?1049h\x1b[#P\x1b]104\x07\x1b]110\x07\x1b[0 q\x1b[3 q\x1b[?12l\x1b[#{";

/// What the terminal looks like after a session in it, which began with a screen or with bytes, and how it was.
fn session(kind: Kind, first: &str, then: &str, again: bool, prompt: bool) -> (Vec<String>, Vec<String>) {
    let size = Size { cols: 40, rows: 10 };
    let mut user = User::new(kind);
    let before = user.looks();
    let mut borrowed = Borrowed::default();
    user.hears(Borrowed::TAKE);
    let mut job = Terminal::new(size, 100);
    let says = |borrowed: &mut Borrowed, user: &mut User, bytes: &[u8], screen: bool| {
        let mut out = Vec::new();
        if screen {
            borrowed.snapshot_begins(&mut out);
        }
        borrowed.pass(bytes, &mut out);
        user.hears(&out);
        if prompt {
            let typed = borrowed.typed(&std::mem::take(&mut user.answers), 1);
            assert_eq!(typed, b"", "{}: nothing of it is typed into the session", user.kind.name);
        }
    };
    job.feed(first.as_bytes());
    for _ in 0..1 + usize::from(again) {
        let mut screen = Vec::new();
        job.snapshot(SnapshotOptions::default(), &mut screen);
        says(&mut borrowed, &mut user, &screen, true);
        job.feed(then.as_bytes());
        says(&mut borrowed, &mut user, then.as_bytes(), false);
    }
    // Late answers are waited for.
    borrowed.typed(&std::mem::take(&mut user.answers), 2);
    let back = borrowed.all_back(Some((40, 10)), Some(3));
    user.hears(&back);
    (before, user.looks())
}

#[test]
fn ten_kinds_of_terminals_are_as_they_were() {
    for kind in KINDS {
        for (first, then) in [
            ("", ""),
            ("", RUDE),
            (RUDE, ""),
            (RUDE, RUDE),
            ("", "\x1b[0 q\x1b]104\x07\x1b]111\x07\x1b[?2004l"),
        ] {
            for (again, prompt) in [(false, true), (true, true), (true, false)] {
                let (before, after) = session(kind, first, then, again, prompt);
                assert_eq!(
                    after,
                    before,
                    "{}: {:?} and then {:?}, {again} {prompt}",
                    kind.name,
                    first.len(),
                    then.len()
                );
            }
        }
    }
}

#[test]
fn a_session_that_changes_nothing_asks_nothing() {
    for kind in KINDS {
        let mut borrowed = Borrowed::default();
        let mut out = Vec::new();
        let mut screen = Vec::new();
        Terminal::new(Size { cols: 40, rows: 10 }, 100).snapshot(SnapshotOptions::default(), &mut screen);
        borrowed.snapshot_begins(&mut out);
        borrowed.pass(&screen, &mut out);
        borrowed.pass(b"\x1b[0 q\x1b]104\x07\x1b]112\x07text", &mut out);
        let said = String::from_utf8_lossy(&out).into_owned();
        for none in ["?\x1b\\", "$q", " q", "]104", "]11"] {
            assert!(!said.contains(none), "{}: {none:?} in {said:?}", kind.name);
        }
        assert!(!borrowed.awaits_answers(u64::MAX));
    }
}
