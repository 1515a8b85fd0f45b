//! A view, a way of some length, and a job at its end, in time that only moves when a test says so.

use super::terminal::Model;
use super::*;
use sessd_terminal::{Look, Size, Terminal};

mod properties;

/// What a job makes of a key: what it writes, and how its terminal stands from then on.
type Job = Box<dyn FnMut(u8) -> Reaction>;

#[derive(Default)]
struct Reaction {
    writes: Vec<u8>,
    /// So long after the key.
    after_ms: u64,
    /// The terminal stands so before it writes that.
    becomes: Option<Discipline>,
}

const RAW: Discipline = Discipline { echo: false, lines: false };
const LINES: Discipline = Discipline { echo: true, lines: true };
const SECRET: Discipline = Discipline { echo: false, lines: true };
const SIZE: Size = Size { cols: 40, rows: 6 };

fn writes(bytes: impl Into<Vec<u8>>) -> Reaction {
    Reaction { writes: bytes.into(), ..Reaction::default() }
}

/// What is on one of the ways.
enum Parcel {
    Key(u8, u64),
    Output(Vec<u8>),
    Written(u64),
    Echoed(u64, u64, Discipline),
}

struct World {
    now: u64,
    one_way: u64,
    predictor: Predictor<Look>,
    screen: Terminal,
    shown: u64,
    typed: u64,
    job: Job,
    discipline: Discipline,
    told: Option<Discipline>,
    head: u64,
    /// What is to be delivered or done, when: to the job, to the view, by the job, words of the holder.
    there: Vec<(u64, Parcel)>,
    back: Vec<(u64, Parcel)>,
    acts: Vec<(u64, Option<Discipline>, Vec<u8>)>,
    words: Vec<(u64, u64)>,
    /// Characters that were written while the terminal did not show them, and those that ever stood in an overlay.
    hidden: Vec<u8>,
    seen: Vec<char>,
}

impl World {
    fn new(
        one_way: u64,
        begins: &str,
        discipline: Discipline,
        job: impl FnMut(u8) -> Reaction + 'static,
    ) -> Self {
        let mut world = Self {
            now: 0,
            one_way,
            predictor: Predictor::new(Predict::Always),
            screen: Terminal::new(SIZE, 0),
            shown: 0,
            typed: 0,
            job: Box::new(job),
            discipline,
            told: None,
            head: 0,
            there: Vec::new(),
            back: Vec::new(),
            acts: vec![(0, None, begins.into())],
            words: Vec::new(),
            hidden: Vec::new(),
            seen: Vec::new(),
        };
        world.pass(2 * one_way + 60);
        world
    }

    fn tell(&mut self, parcel: Parcel) {
        let at = self.now + self.one_way;
        self.back.push((at, parcel));
    }

    /// The terminal's owner looks how it stands, as a holder does with each write and output.
    fn look(&mut self) {
        if self.told.replace(self.discipline) != Some(self.discipline) {
            self.tell(Parcel::Echoed(0, self.head, self.discipline));
        }
    }

    fn writes(&mut self, bytes: Vec<u8>) {
        if !bytes.is_empty() {
            self.head += bytes.len() as u64;
            self.tell(Parcel::Output(bytes));
        }
    }

    fn pass(&mut self, ms: u64) {
        for _ in 0..ms {
            self.now += 1;
            let now = self.now;
            for (_, becomes, bytes) in self.acts.extract_if(.., |(at, ..)| *at <= now).collect::<Vec<_>>() {
                self.discipline = becomes.unwrap_or(self.discipline);
                self.writes(bytes);
                self.look();
            }
            for (_, parcel) in self.there.extract_if(.., |(at, _)| *at <= now).collect::<Vec<_>>() {
                let Parcel::Key(key, seq) = parcel else { continue };
                self.look();
                match self.discipline {
                    Discipline { echo: true, .. } if key == b'\r' => self.writes(b"\r\n".to_vec()),
                    Discipline { echo: true, .. } if key == 0x7f => self.writes(b"\x08 \x08".to_vec()),
                    Discipline { echo: true, .. } => self.writes(vec![key]),
                    SECRET => self.hidden.push(key),
                    Discipline { .. } => {}
                }
                let Reaction { writes, after_ms, becomes } = (self.job)(key);
                self.acts.push((now + after_ms, becomes, writes));
                self.tell(Parcel::Written(seq));
                self.words.push((now + 50, seq));
            }
            for (_, seq) in self.words.extract_if(.., |(at, _)| *at <= now).collect::<Vec<_>>() {
                self.told = Some(self.discipline);
                self.tell(Parcel::Echoed(seq, self.head, self.discipline));
            }
            for (_, parcel) in self.back.extract_if(.., |(at, _)| *at <= now).collect::<Vec<_>>() {
                match parcel {
                    Parcel::Output(bytes) => {
                        self.screen.feed(&bytes);
                        self.shown += bytes.len() as u64;
                        self.predictor.output(&bytes, self.shown, &Model(&self.screen), now);
                    }
                    Parcel::Written(seq) => self.predictor.written(seq, now),
                    Parcel::Echoed(seq, offset, discipline) => {
                        let shown = (self.shown, &Model(&self.screen));
                        self.predictor.echoed((seq, offset), discipline, shown, now);
                    }
                    Parcel::Key(..) => {}
                }
                self.see();
            }
            self.predictor.tick(now);
        }
    }

    fn see(&mut self) {
        if let Some(overlay) = self.predictor.overlay(&Model(&self.screen)) {
            self.seen.extend(overlay.cells.iter().map(|cell| cell.char));
        }
    }

    fn type_at_once(&mut self, keys: &[u8]) {
        self.typed += keys.len() as u64;
        for (n, key) in keys.iter().enumerate() {
            let seq = self.typed - (keys.len() - 1 - n) as u64;
            self.there.push((self.now + self.one_way, Parcel::Key(*key, seq)));
        }
        self.predictor.typed(keys, self.typed, Some(&Model(&self.screen)), self.now);
        self.see();
    }

    /// As a person does.
    fn type_(&mut self, keys: &str, every_ms: u64) {
        for key in keys.bytes() {
            self.type_at_once(&[key]);
            self.pass(every_ms);
        }
    }

    /// The row of the cursor, as a person sees it.
    fn row(&self) -> String {
        let mut screen = self.screen.clone();
        if let Some(overlay) = self.predictor.overlay(&Model(&self.screen)) {
            let over = |cell: &Shown<Look>| sessd_terminal::Over {
                at: cell.at,
                char: cell.char,
                look: cell.look,
                underlined: overlay.underlined,
            };
            let over: Vec<_> = overlay.cells.iter().map(over).collect();
            let mut bytes = Vec::new();
            self.screen.draw_over(&over, overlay.cursor, &mut bytes);
            screen.feed(&bytes);
        }
        let row = usize::from(screen.cursor().1);
        screen.screen_text(0, false).lines().nth(row).unwrap_or_default().to_owned()
    }

    fn truth(&self) -> String {
        let row = usize::from(self.screen.cursor().1);
        self.screen.screen_text(0, false).lines().nth(row).unwrap_or_default().to_owned()
    }

    fn nothing_seen(&self) {
        assert!(self.seen.is_empty(), "{:?}", self.seen);
    }
}

/// A shell with an editor of its own, at its prompt.
fn shell() -> World {
    World::new(100, "$ ", RAW, |key| match key {
        b'\r' => writes("\r\n$ "),
        0x7f => writes("\x08\x1b[K"),
        0x01 => writes("\x1b[3G"),
        0..0x20 => writes(""),
        key => writes([key]),
    })
}

#[test]
fn at_a_shell_the_first_key_is_waited_for_and_the_others_are_there_at_once() {
    let mut world = shell();
    world.type_at_once(b"e");
    world.pass(1);
    assert_eq!(world.row(), "$", "nobody knows whether it is shown");
    world.pass(260);
    assert_eq!((world.row().as_str(), world.truth().as_str()), ("$ e", "$ e"));
    world.type_("cho", 20);
    assert_eq!((world.row().as_str(), world.truth().as_str()), ("$ echo", "$ e"));
    world.type_("\x7f\x7f", 20);
    assert_eq!((world.row().as_str(), world.truth().as_str()), ("$ ec", "$ e"));
    world.pass(400);
    assert_eq!((world.row().as_str(), world.truth().as_str()), ("$ ec", "$ ec"));
    assert_eq!(world.predictor.overlay(&Model(&world.screen)), None);
}

#[test]
fn after_return_it_begins_anew_and_a_fast_typist_is_followed_all_the_same() {
    let mut world = shell();
    world.type_("ls", 300);
    world.seen.clear();
    world.type_("\rpwd", 60);
    world.nothing_seen();
    world.type_(" -PLPLPL", 60);
    assert!(!world.seen.is_empty(), "what is typed without a pause is not given up");
    world.pass(500);
    assert_eq!((world.row().as_str(), world.truth().as_str()), ("$ pwd -PLPLPL", "$ pwd -PLPLPL"));
    assert!(!world.predictor.off);
}

#[test]
fn a_line_that_is_sent_while_its_last_keys_are_on_their_way_is_no_miss() {
    let mut world = shell();
    world.type_("ec", 300);
    for _ in 0..4 {
        world.type_("abc\r", 30);
        world.pass(400);
        world.type_("x", 400);
        assert!(!world.predictor.off);
        world.seen.clear();
        world.type_("yz", 10);
        assert!(!world.seen.is_empty());
        world.pass(400);
    }
}

#[test]
fn a_password_is_never_seen_typed_after_its_question_or_ahead_of_it() {
    // As sudo: it takes its time, turns the echo off, and asks.
    let sudo = |key: u8| match key {
        b'\r' => Reaction { writes: b"Password: ".to_vec(), after_ms: 300, becomes: Some(SECRET) },
        _ => writes(""),
    };
    for (one_way, pause) in [(5, 20), (100, 30), (100, 100), (400, 70), (25, 400)] {
        let mut world = World::new(one_way, "$ ", LINES, sudo);
        world.type_("sudo id", pause);
        world.pass(1_000);
        world.seen.clear();
        world.type_("\rQWERTZUIOP", pause);
        world.pass(2_000);
        world.nothing_seen();
        world.type_("ASDF", pause);
        world.pass(1_000);
        world.nothing_seen();
        assert!(world.hidden.ends_with(b"ASDF"));
    }
}

#[test]
fn lines_typed_ahead_of_an_answer_let_no_secret_be_seen() {
    // Whoever answers the first line may be about to ask for a secret because of the second.
    let mut lines = 0;
    let mut world = World::new(100, "$ ", LINES, move |key| match key {
        b'\r' => {
            lines += 1;
            match lines {
                2 => Reaction { writes: b"Password: ".to_vec(), after_ms: 500, becomes: Some(SECRET) },
                _ => Reaction { writes: b"done\r\n$ ".to_vec(), after_ms: 300, becomes: None },
            }
        }
        _ => writes(""),
    });
    world.type_("\r\rQWERTYUIOP", 50);
    world.pass(1_000);
    world.nothing_seen();
    assert!(!world.hidden.is_empty());
}

#[test]
fn a_shell_that_gives_its_terminal_to_a_program_that_asks_shows_nothing() {
    // bash and sudo: the shell's own echo, then the kernel's, then none.
    let mut asked = false;
    let mut world = World::new(100, "$ ", RAW, move |key| match key {
        b'\r' if !std::mem::replace(&mut asked, true) => {
            Reaction { becomes: Some(LINES), ..writes("\r\n\x1b[?2004l") }
        }
        b'4' => Reaction { becomes: Some(SECRET), after_ms: 40, ..writes("Password: ") },
        _ if asked => writes(""),
        key => writes([key]),
    });
    world.type_("sudo id", 100);
    world.pass(500);
    world.seen.clear();
    world.type_("\r123456789", 120);
    world.pass(1_000);
    world.nothing_seen();
    assert!(!world.hidden.is_empty());
}

#[test]
fn where_the_kernel_echoes_a_program_that_answers_is_trusted() {
    let mut line = Vec::new();
    let mut world = World::new(100, "", LINES, move |key| match key {
        b'\r' => writes([std::mem::take(&mut line), b"\r\n".to_vec()].concat()),
        0x7f => {
            line.pop();
            writes("")
        }
        key => {
            line.push(key);
            writes("")
        }
    });
    world.type_("one\r", 100);
    world.pass(500);
    world.type_("two", 400);
    world.seen.clear();
    world.type_("\x7f\x7fhree", 20);
    assert_eq!((world.row().as_str(), world.truth().as_str()), ("three", "two"));
    world.pass(500);
    assert_eq!((world.row().as_str(), world.truth().as_str()), ("three", "three"));
}

#[test]
fn what_a_program_shows_instead_is_never_foretold() {
    for (name, shows) in [
        ("stars", (|_| Some(b'*')) as fn(u8) -> Option<u8>),
        ("nothing", |_| None),
        ("rot13", |key| Some((key - b'a' + 13) % 26 + b'a')),
        ("capitals", |key| Some(key.to_ascii_uppercase())),
    ] {
        let mut world =
            World::new(80, "> ", RAW, move |key| writes(shows(key).into_iter().collect::<Vec<u8>>()));
        world.type_("secretword", 70);
        world.pass(500);
        world.type_("again", 300);
        assert!(world.seen.is_empty(), "{name}: {:?}", world.seen);
    }
}

#[test]
fn keys_that_command_are_not_shown() {
    // As vim at rest, and less: a key moves the cursor, or redraws.
    let mut row = 1;
    let mut world =
        World::new(80, "\x1b[?1049h\x1b[Hjjjjjjjj\r\njjjjjjjj\x1b[H", RAW, move |key| match key {
            b'j' => {
                row = row % 5 + 1;
                writes(format!("\x1b[{row};1H"))
            }
            b'x' => writes("\x1b[P"),
            _ => writes(""),
        });
    world.type_("jjjjxxjj", 50);
    world.pass(500);
    world.type_("jjxx", 400);
    world.nothing_seen();
}

#[test]
fn in_a_program_of_its_own_screen_text_is_not_moved_aside() {
    let mut text = (b"the end".to_vec(), 0);
    let mut world = World::new(100, "\x1b[?1049h\x1b[Hthe end\x1b[H", RAW, move |key| {
        text.0.insert(text.1, key);
        text.1 += 1;
        writes(format!("\x1b[H{}\x1b[1;{}H", String::from_utf8_lossy(&text.0), text.1 + 1))
    });
    world.type_("a", 400);
    world.type_("bc", 10);
    assert_eq!((world.row().as_str(), world.truth().as_str()), ("abce end", "athe end"));
    world.pass(500);
    assert_eq!((world.row().as_str(), world.truth().as_str()), ("abcthe end", "abcthe end"));
    assert!(world.predictor.missed_at.is_none());
}

#[test]
fn typed_text_makes_room_but_neither_a_suggestion_nor_a_prompt_at_the_right_moves() {
    // readline: the cursor goes left into what was typed.
    let mut line = (Vec::new(), 0_usize);
    let mut world = World::new(100, "$ \x1b[1;36Hright\x1b[1;3H", RAW, move |key| {
        match key {
            b'<' => line.1 -= 1,
            key => {
                line.0.insert(line.1, key);
                line.1 += 1;
            }
        }
        writes(format!("\x1b[1;3H{}\x1b[1;{}H", String::from_utf8_lossy(&line.0), line.1 + 3))
    });
    world.type_("abcd", 400);
    world.type_("<<", 400);
    assert_eq!(world.screen.cursor().0, 4);
    world.type_("x", 400);
    world.type_("yz", 10);
    assert_eq!(world.row(), "$ abxyzcd                          right");
    assert_eq!(world.truth(), "$ abxcd                            right");
    world.pass(500);
    assert_eq!(world.row(), world.truth());
    // fish: what it suggests is typed over, whether it looks otherwise or not.
    for look in ["90", ""] {
        let mut typed = 0;
        let mut world = World::new(100, "> ", RAW, move |_| {
            typed += 1;
            let (said, rest) = "hello world".split_at(typed);
            writes(format!("\x1b[1;3H{said}\x1b[{look}m{rest}\x1b[m\x1b[1;{}H", typed + 3))
        });
        world.type_("he", 400);
        world.type_("l", 10);
        world.type_("l", 10);
        let cursor = world.predictor.cursor(&Model(&world.screen));
        assert_eq!((world.row().as_str(), cursor), ("> hello world", (6, 0)));
        world.pass(500);
        assert!(world.predictor.missed_at.is_none());
    }
}

#[test]
fn cursor_keys_go_no_further_than_what_was_typed() {
    let mut world = World::new(100, "$ ", RAW, |key| match key {
        b'D' => writes("\x08"),
        b'C' => writes("\x1b[C"),
        0..0x20 | b'[' | b'O' => writes(""),
        key => writes([key]),
    });
    world.type_("ab", 400);
    world.type_at_once(b"\x1b[D");
    world.type_at_once(b"\x1bOD");
    assert_eq!(world.predictor.overlay(&Model(&world.screen)).map(|overlay| overlay.cursor), Some((2, 0)));
    world.type_at_once(b"\x1b[C");
    assert_eq!(world.predictor.overlay(&Model(&world.screen)).map(|overlay| overlay.cursor), Some((3, 0)));
    world.type_at_once(b"\x1b[C");
    // Behind the end, and before the prompt, the program decides.
    world.type_at_once(b"\x1b[C");
    assert_eq!(world.predictor.cursor(&Model(&world.screen)), (4, 0));
    world.pass(500);
    world.type_("c", 400);
    for _ in 0..5 {
        world.type_at_once(b"\x7f");
    }
    assert_eq!(world.predictor.cursor(&Model(&world.screen)), (2, 0));
}

#[test]
fn at_the_edge_in_a_paste_and_for_what_is_wide_nothing_is_foretold() {
    let mut world = shell();
    world.type_("ab", 300);
    world.seen.clear();
    world.type_at_once(&[b'x'; PASTE + 1]);
    world.nothing_seen();
    for keys in ["漢", "e\u{301}", "\t", "\x1b[200~rm\x1b[201~", "\x1b[A"] {
        let mut world = shell();
        world.type_("ab", 300);
        world.seen.clear();
        world.type_at_once(keys.as_bytes());
        world.type_at_once(b"z");
        assert!(!world.seen.contains(&'z'), "{keys:?}");
    }
    let mut world = shell();
    world.type_(&"x".repeat(33), 300);
    world.type_("abcdef", 1);
    assert_eq!(world.row(), format!("$ {}abcd", "x".repeat(33)), "not into the last column");
    world.pass(1_000);
    assert_eq!(world.row(), world.truth());
    // And on in the next row.
    world.type_("gh", 400);
    world.type_("i", 1);
    assert_eq!(world.row(), "fghi");
}

#[test]
fn two_misses_in_a_row_end_it_until_the_next_return() {
    // Every third character is another one.
    let mut n = 0;
    let mut world = World::new(100, "$ ", RAW, move |key| {
        n += 1;
        match key {
            b'\r' => writes("\r\n$ "),
            _ if n > 8 && n < 20 && n % 3 == 0 => writes("#"),
            key => writes([key]),
        }
    });
    world.type_("abcdefghijklmnopqr", 350);
    assert!(world.predictor.off);
    world.seen.clear();
    world.type_("stuvw", 50);
    world.nothing_seen();
    world.pass(500);
    world.type_("\ra", 400);
    world.type_("b", 1);
    assert!(!world.seen.is_empty());
}

#[test]
fn a_key_of_which_nobody_says_a_word_is_taken_back() {
    let mut world = shell();
    world.type_("ab", 300);
    world.there.clear();
    world.type_at_once(b"c");
    world.there.clear();
    assert_eq!(world.row(), "$ abc");
    world.pass(SILENCE_MS - 1);
    assert_eq!(world.row(), "$ abc");
    world.pass(1);
    assert_eq!(world.row(), "$ ab");
    // Where it was written, and no word of its echo came, it is taken back sooner.
    let mut world = shell();
    world.type_("ab", 300);
    world.type_at_once(b"c");
    world.there.clear();
    world.pass(100);
    world.predictor.written(world.typed, world.now);
    world.pass(ECHO_MS);
    assert_eq!(world.row(), "$ ab");
    // A broken path, and another screen, at once.
    let mut world = shell();
    world.type_("ab", 300);
    world.type_at_once(b"c");
    assert_eq!(world.row(), "$ abc");
    world.predictor.broken();
    assert_eq!(world.row(), "$ ab");
}

#[test]
fn on_a_fast_way_nothing_is_wanted_and_never_is_never() {
    let mut near: Predictor<Look> = Predictor::new(Predict::Auto);
    let screen = Terminal::new(SIZE, 0);
    for key in 0..100_u64 {
        near.typed(b"a", key + 1, Some(&Model(&screen)), key * 100);
        near.written(key + 1, key * 100 + 19);
        assert!(!near.wants());
    }
    for key in 100..110_u64 {
        near.typed(b"a", key + 1, Some(&Model(&screen)), key * 100);
        near.written(key + 1, key * 100 + 50);
    }
    assert!(near.wants() && near.round_trip_ms() == Some(50));
    let mut never: Predictor<Look> = Predictor::new(Predict::Never);
    never.typed(b"a", 1, Some(&Model(&screen)), 0);
    never.written(1, 500);
    assert!(!never.wants());
}

/// A program that asks for a secret after each third line: it turns the echo off before it writes anything.
fn asks() -> impl FnMut(u8) -> Reaction {
    let mut lines = 0;
    move |key| {
        if key != b'\r' {
            return writes("");
        }
        lines += 1;
        let (becomes, says) = match lines % 3 {
            0 => (LINES, "thanks\r\n$ "),
            1 => (LINES, "yes?\r\n$ "),
            _ => (SECRET, "Password: "),
        };
        Reaction { writes: says.into(), after_ms: 7 * (lines % 80), becomes: Some(becomes) }
    }
}

/// Typed as `ms` says after each: Return, an erasure, a character that none before it was.
fn types_of_its_own(world: &mut World, keys: &[(u8, u64)]) {
    let mut own = '\u{100}'..'\u{250}';
    for (key, ms) in keys {
        let key = match key {
            0 | 1 => '\r',
            2 => '\x7f',
            _ => own.next().unwrap(),
        };
        world.type_at_once(key.encode_utf8(&mut [0; 4]).as_bytes());
        world.pass(*ms);
    }
    world.pass(2 * world.one_way + 700);
}

/// A letter was typed before a Return and guessed after it; that it was right was taken for a word of what was typed after the
/// Return, and that was a password. And what was left of an erasure's echo was taken for something that the job wrote.
#[test]
fn a_letter_that_was_right_before_a_return_shows_none_of_what_follows_it() {
    let returns = [(0, 0), (0, 0), (0, 0), (0, 0), (0, 0), (0, 2), (2, 169)];
    let line =
        [(3, 20), (3, 307), (2, 294), (2, 356), (2, 316), (0, 72), (2, 296), (3, 103), (0, 56), (3, 0)];
    let mut world = World::new(200, "$ ", LINES, asks());
    types_of_its_own(&mut world, &[&returns[..], &line[..]].concat());
    assert_eq!(String::from_utf8_lossy(&world.hidden), "\u{103}", "it was typed as a password");
    assert!(!world.seen.contains(&'\u{103}'), "{:?}", world.seen);
}
