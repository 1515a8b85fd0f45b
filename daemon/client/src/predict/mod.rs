//! What a key will show, before the job has shown it: so that typing on a far host feels as if it were near.
//!
//! Pure: keys go in with their numbers and the time, the output after it was shown, and the holder's word of echoes; out come
//! the cells of an overlay, where the cursor is, and a deadline. It knows the screen by what it asks of [`Beneath`], so that
//! a terminal and a page in a browser go by the same rules.
//!
//! The rules are mosh's (Winstein and Balakrishnan, "Mosh: An Interactive Remote Shell for Mobile Clients", USENIX ATC 2012),
//! made stricter by what only the owner of a PTY knows:
//!
//! * A guess belongs to an *epoch*, and is shown once one of that epoch was seen to be right: a character that was not there
//!   before. What cannot be foretold begins the next epoch: Return, controls, completion, wide characters, a line's end.
//! * It is judged by the output up to the offset that the holder names a moment after the key was written, and by no other.
//! * While the terminal takes lines and does not echo (a password), nothing is foretold, and what was is taken back.
//! * After Return the first character is never shown before it is there. Where the kernel echoes, that is not enough: it echoes
//!   a password that is typed ahead of its question, until the program asks. So there the job must have written something of
//!   its own as well; and where several lines are typed ahead, of which nobody knows which one is answered, that does not count.
//! * What turns out wrong takes all guesses with it. Twice within ten seconds: nothing more before the next Return.
//! * Text is moved aside only where it is known to be typed: not what a shell suggests, not a prompt at the right.
//! * Nothing is foretold of pastes, at the screen's right edge, and while modes make another thing of plain text.

mod keys;
mod screen;
#[cfg(feature = "terminal")]
pub mod terminal;
mod trip;

#[cfg(test)]
mod tests;

use keys::{Key, Keyboard};
pub use screen::{Beneath, Cell, Overlay, Shown};
pub use sessd_base::config::Predict;
use std::collections::{BTreeMap, VecDeque};
use trip::{Hysteresis, Trip};

/// Shown above the first round trip, not below the second, in milliseconds.
const SHOWN: Hysteresis = Hysteresis::new(30, 20);
/// Underlined above the first, no more below the second: mosh's 80 and 50 are of the way there alone.
const UNDERLINED: Hysteresis = Hysteresis::new(160, 100);
/// Bytes typed in one go that nobody types.
const PASTE: usize = 100;
/// Keys that are kept until they are judged. Nobody is so far ahead.
const PENDING_MAX: usize = 512;
/// How long a guess may go without any word.
const SILENCE_MS: u64 = 5_000;
/// How long the word of the echo may take after that of the writing, at least.
const ECHO_MS: u64 = 1_000;
/// How close two misses are taken together.
const MISSES_MS: u64 = 10_000;
/// How long neither a Return nor a word of the job's own may come before what is typed ahead counts as answered.
const ANSWERED_MS: u64 = 1_000;
/// Bytes of the kernel's echo that are followed.
const ECHO_MAX: usize = 256;

/// How the job's terminal takes what is typed, by its holder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Discipline {
    /// It shows it.
    pub echo: bool,
    /// Line by line.
    pub lines: bool,
}

impl Discipline {
    fn is_secret(self) -> bool {
        self.lines && !self.echo
    }

    fn kernel_echoes(self) -> bool {
        self.lines && self.echo
    }
}

/// A guess of one cell.
#[derive(Debug, Clone)]
struct Guess<L> {
    epoch: u64,
    /// It is judged when everything before this number is.
    seq: u64,
    /// None: it changes, and nobody knows to what.
    char: Option<char>,
    look: L,
    /// What was there before, at each guess of it.
    before: Vec<(Option<char>, L)>,
}

/// A guess of the cursor's place: where it is after all keys of an epoch so far.
#[derive(Debug, Clone, Copy)]
struct CursorGuess {
    epoch: u64,
    seq: u64,
    at: (u16, u16),
}

/// A key that is not judged yet.
#[derive(Debug, Clone, Copy)]
struct Pending {
    key: Key,
    /// The number behind its last byte.
    seq: u64,
    at_ms: u64,
}

/// What becomes of a guess.
enum Verdict {
    Pending,
    /// It is right, and only a key can have made it so.
    Right,
    /// It is right, or was no guess, and says nothing.
    NoMatter,
    Wrong,
}

/// The guesses of one view.
#[derive(Debug)]
pub struct Predictor<L> {
    mode: Predict,
    trip: Trip,
    shown: Hysteresis,
    underlined: Hysteresis,
    keyboard: Keyboard,
    discipline: Option<Discipline>,
    /// The job wrote something of its own since the last Return, or since the kernel has echoed.
    own: bool,
    /// A Return was typed; another one before the job had said anything of its own, so that nobody knows which of them it answers.
    /// When the last Return and the last word of its own came.
    asked: bool,
    ahead: bool,
    said_at: u64,
    /// What the kernel will echo of keys that are not judged, with the number behind the key.
    echo: VecDeque<(u8, u64)>,
    /// Keys in order; the first `placed` of them have been guessed.
    pending: VecDeque<Pending>,
    placed: usize,
    /// The number behind the last key.
    typed: u64,
    /// Everything before this number is judged.
    judged: u64,
    /// Words of the holder that wait for output before this offset.
    words: VecDeque<(u64, u64)>,
    /// Everything before this number was written, by the last word of that.
    written: (u64, u64),
    epoch: u64,
    confirmed: u64,
    rows: BTreeMap<u16, BTreeMap<u16, Guess<L>>>,
    places: Vec<CursorGuess>,
    /// Where the line that is typed begins, and the column behind what is known to be typed of it.
    home: Option<(u16, u16)>,
    end: u16,
    /// When something shown was wrong last.
    missed_at: Option<u64>,
    /// Wrong too often: nothing before the next Return.
    off: bool,
    alternate: bool,
}

impl<L: Copy + PartialEq + std::fmt::Debug> Predictor<L> {
    /// Nothing typed yet.
    pub fn new(mode: Predict) -> Self {
        Self {
            mode,
            trip: Trip::default(),
            shown: SHOWN,
            underlined: UNDERLINED,
            keyboard: Keyboard::default(),
            discipline: None,
            own: false,
            asked: false,
            ahead: false,
            said_at: 0,
            echo: VecDeque::new(),
            pending: VecDeque::new(),
            placed: 0,
            typed: 0,
            judged: 0,
            words: VecDeque::new(),
            written: (0, 0),
            epoch: 1,
            confirmed: 0,
            rows: BTreeMap::new(),
            places: Vec::new(),
            home: None,
            end: 0,
            missed_at: None,
            off: false,
            alternate: false,
        }
    }

    /// Is it worth it? Then the holder's word of echoes is wanted, and the screen.
    pub fn wants(&self) -> bool {
        match self.mode {
            Predict::Never => false,
            Predict::Always => true,
            Predict::Auto => self.shown.is_on(),
        }
    }

    /// The round trip of a key as far as it is known, in milliseconds.
    pub fn round_trip_ms(&self) -> Option<u64> {
        self.trip.ms()
    }

    /// Keys were typed and sent; `seq` is the number behind the last of them. `screen`: what is shown, where that is known.
    pub fn typed<B: Beneath<Look = L>>(&mut self, bytes: &[u8], seq: u64, screen: Option<&B>, now_ms: u64) {
        if self.mode == Predict::Never || bytes.is_empty() {
            return;
        }
        self.trip.typed(seq, now_ms);
        let first = seq.saturating_sub(bytes.len() as u64);
        let Some(screen) = screen.filter(|_| self.wants()) else {
            self.typed = seq;
            return self.forget();
        };
        self.look(screen);
        if bytes.len() > PASTE {
            for byte in bytes {
                self.keyboard.byte(*byte);
            }
            return self.key(Key::Other, seq, screen, now_ms);
        }
        for (n, byte) in bytes.iter().enumerate() {
            if let Some(key) = self.keyboard.byte(*byte) {
                self.key(key, first + n as u64 + 1, screen, now_ms);
            }
        }
        if self.keyboard.holds() {
            // An Escape, or the beginning of what the next bytes tell. Of half a character nothing comes before its end.
            if self.keyboard.holds_sequence() {
                self.key(Key::Other, seq, screen, now_ms);
            }
            if bytes.last() == Some(&0x1b) {
                self.keyboard.ends();
            }
            self.typed = seq;
        }
    }

    /// Something was typed that is not on its way, or went another way: what comes of it cannot be foretold.
    pub fn typed_blindly(&mut self, seq: u64) {
        self.typed = self.typed.max(seq);
        self.forget();
    }

    fn key<B: Beneath<Look = L>>(&mut self, key: Key, seq: u64, screen: &B, now_ms: u64) {
        self.typed = seq;
        match key {
            Key::Char(c) => self.will_echo(c.encode_utf8(&mut [0; 4]).as_bytes(), seq),
            Key::Enter => {
                self.will_echo(b"\r\n", seq);
                if now_ms >= self.said_at + ANSWERED_MS {
                    self.ahead = false;
                } else {
                    self.ahead |= self.asked && !self.own;
                }
                (self.asked, self.said_at) = (true, now_ms);
                (self.own, self.off, self.home) = (false, false, None);
            }
            Key::Erase => self.will_echo(b"\x08 \x08", seq),
            Key::Left | Key::Right | Key::Other => {}
        }
        let open = self.discipline.is_some_and(|d| !d.is_secret()) && !self.off && screen.is_plain();
        // The kernel's own line editing knows no cursor keys.
        let kernel = self.discipline.is_some_and(Discipline::kernel_echoes);
        let key = match key {
            Key::Char(_) | Key::Erase if open => key,
            Key::Left | Key::Right if open && !kernel => key,
            _ => Key::Other,
        };
        if self.pending.len() >= PENDING_MAX {
            return self.forget();
        }
        if key == Key::Other {
            self.epoch += 1;
        }
        self.pending.push_back(Pending { key, seq, at_ms: now_ms });
        // Everything before it is on the screen, or it follows on what was guessed.
        if self.pending.len() == 1 || self.placed > 0 {
            self.place(screen);
        }
    }

    fn will_echo(&mut self, bytes: &[u8], seq: u64) {
        for byte in bytes {
            if self.echo.len() == ECHO_MAX {
                self.echo.pop_front();
            }
            self.echo.push_back((*byte, seq));
        }
    }

    /// Guesses what the next keys make of the screen, up to one that cannot be foretold.
    fn place<B: Beneath<Look = L>>(&mut self, screen: &B) {
        while let Some(next) = self.pending.get(self.placed).copied() {
            if next.key == Key::Other {
                return;
            }
            if self.placed == 0 && self.places.is_empty() {
                if !screen.is_plain() {
                    return;
                }
                self.begin_at(screen);
            }
            if !self.guess(next.key, next.seq, screen) {
                // It is one of those, here.
                self.pending[self.placed].key = Key::Other;
                self.epoch += 1;
                return;
            }
            self.placed += 1;
        }
    }

    /// The line is typed on from where the cursor is.
    fn begin_at<B: Beneath<Look = L>>(&mut self, screen: &B) {
        let (col, row) = screen.cursor();
        if self.home.is_none_or(|home| home.1 != row || home.0 > col) {
            (self.home, self.end) = (Some((col, row)), col);
        }
        // Behind the cursor is what was typed, as far as the cursor was there, as it looks like what is before it, and up to a
        // gap: what a shell suggests comes behind the cursor, and a prompt at the right keeps its distance.
        let before = col.checked_sub(1).map(|left| screen.cell(left, row).look);
        let like = if self.home == Some((col, row)) { screen.pen() } else { before.unwrap_or(screen.pen()) };
        let mut end = col;
        for at in col..screen.size().0 {
            let cell = screen.cell(at, row);
            if cell.is_blank() {
                if at > end {
                    break;
                }
            } else if cell.look == like && cell.simple {
                end = at + 1;
            } else {
                break;
            }
        }
        self.end = end.min(self.end.max(col));
    }

    fn cursor<B: Beneath>(&self, screen: &B) -> (u16, u16) {
        self.places.last().map_or_else(|| screen.cursor(), |place| place.at)
    }

    /// What one key does; false: nobody knows.
    fn guess<B: Beneath<Look = L>>(&mut self, key: Key, seq: u64, screen: &B) -> bool {
        let (col, row) = self.cursor(screen);
        let (cols, rows) = screen.size();
        let Some(home) = self.home.filter(|home| home.1 == row && home.0 <= col) else { return false };
        if row >= rows || col >= cols || self.end < col {
            return false;
        }
        let shifts = !screen.is_alternate();
        let to = match key {
            Key::Char(c) => {
                // A line's end is where programs differ.
                let end = if shifts { self.end } else { col };
                if end + 1 >= cols || (col..=end).any(|at| !screen.cell(at, row).simple) {
                    return false;
                }
                for at in (col..end).rev() {
                    let (char, look) = self.foreseen(at, row, screen);
                    self.put(at + 1, row, seq, char, look, screen);
                }
                let look = if col == home.0 { screen.pen() } else { self.foreseen(col - 1, row, screen).1 };
                self.put(col, row, seq, Some(c), look, screen);
                self.end = if shifts { self.end + 1 } else { self.end.max(col + 1) };
                col + 1
            }
            Key::Erase if col > home.0 => {
                let to = col - 1;
                if (to..self.end).any(|at| !screen.cell(at, row).simple) || (!shifts && self.end > col) {
                    return false;
                }
                for at in to..self.end {
                    let (char, look) = if at + 1 < self.end {
                        self.foreseen(at + 1, row, screen)
                    } else {
                        (Some(' '), screen.pen())
                    };
                    self.put(at, row, seq, char, look, screen);
                }
                self.end -= 1;
                to
            }
            Key::Left if col > home.0 => col - 1,
            Key::Right if col < self.end => col + 1,
            Key::Erase | Key::Left | Key::Right | Key::Enter | Key::Other => return false,
        };
        let place = CursorGuess { epoch: self.epoch, seq, at: (to, row) };
        match self.places.last_mut().filter(|last| last.epoch == self.epoch) {
            Some(last) => *last = place,
            None => self.places.push(place),
        }
        true
    }

    /// What will be there, as far as it is guessed. A character that is none of those that can be drawn is not known.
    fn foreseen<B: Beneath<Look = L>>(&self, col: u16, row: u16, screen: &B) -> (Option<char>, L) {
        match self.rows.get(&row).and_then(|cells| cells.get(&col)) {
            Some(guess) => (guess.char, guess.look),
            None => {
                let cell = screen.cell(col, row);
                (if cell.is_blank() { Some(' ') } else { cell.char.filter(|_| cell.simple) }, cell.look)
            }
        }
    }

    fn put<B: Beneath<Look = L>>(
        &mut self,
        col: u16,
        row: u16,
        seq: u64,
        char: Option<char>,
        look: L,
        screen: &B,
    ) {
        let there = screen.cell(col, row);
        let epoch = self.epoch;
        let cells = self.rows.entry(row).or_default();
        let guess = cells.entry(col).or_insert_with(|| Guess { epoch, seq, char, look, before: Vec::new() });
        (guess.epoch, guess.seq, guess.char, guess.look) = (epoch, seq, char, look);
        let before = (there.char, there.look);
        if !guess.before.contains(&before) {
            guess.before.push(before);
        }
    }

    /// The job's output up to `offset` is on the screen, `bytes` the last of it.
    pub fn output<B: Beneath<Look = L>>(&mut self, bytes: &[u8], offset: u64, screen: &B, now_ms: u64) {
        // What the kernel may echo is not taken for what the job wrote, in whatever order it comes: the job may write the same
        // byte, and what is left of an echo then would seem to be its own.
        if bytes.iter().any(|byte| self.echo.iter().all(|(echo, _)| echo != byte)) {
            (self.own, self.said_at) = (!self.ahead, now_ms);
        }
        self.look(screen);
        self.judge(offset, screen, now_ms);
    }

    /// The holder's word: what was typed before `seq` has brought what is in the output before `offset`, and the terminal
    /// takes what is typed as `discipline` says. `shown`: the offset up to which output is on the screen.
    pub fn echoed<B: Beneath<Look = L>>(
        &mut self,
        (seq, offset): (u64, u64),
        discipline: Discipline,
        (shown, screen): (u64, &B),
        now_ms: u64,
    ) {
        let before = self.discipline.replace(discipline);
        if discipline.is_secret() {
            // Whatever was foretold is not to be seen.
            self.forget();
        } else if before != Some(discipline) {
            self.own = false;
            self.begin_again();
        }
        if seq > self.words.back().map_or(self.judged, |(seq, _)| *seq) {
            self.words.push_back((seq, offset));
        }
        if self.words.len() > PENDING_MAX {
            self.words.pop_front();
        }
        self.judge(shown, screen, now_ms);
    }

    /// What was typed before `seq` is written.
    pub fn written(&mut self, seq: u64, now_ms: u64) {
        self.trip.written(seq, now_ms);
        self.written = (seq, now_ms);
        self.measure();
    }

    fn measure(&mut self) {
        let (ms, idle) = (self.trip.ms(), self.pending.is_empty());
        self.shown.update(ms, idle);
        self.underlined.update(ms, idle);
    }

    /// A program's own screen came or went, or the screen cannot be drawn over: guesses were of another one.
    fn look<B: Beneath<Look = L>>(&mut self, screen: &B) {
        let alternate = screen.is_alternate();
        if std::mem::replace(&mut self.alternate, alternate) != alternate {
            self.home = None;
            self.begin_again();
        }
    }

    /// Judges what can be judged with the output up to `offset`.
    fn judge<B: Beneath<Look = L>>(&mut self, offset: u64, screen: &B, now_ms: u64) {
        let before = self.judged;
        while let Some((seq, _)) = self.words.pop_front_if(|(_, at)| *at <= offset) {
            self.judged = self.judged.max(seq);
        }
        if self.judged == before {
            return;
        }
        let judged = self.judged;
        self.echo.retain(|(_, seq)| *seq > judged);
        self.judge_cells(screen, now_ms);
        while let Some(key) = self.pending.pop_front_if(|key| key.seq <= judged) {
            self.placed = self.placed.saturating_sub(1);
            // Whatever was typed before it may have been guessed after it was typed, in what was the newest epoch then.
            self.epoch += u64::from(key.key == Key::Other);
        }
        self.places.retain(|place| place.seq > judged);
        self.measure();
        // This very screen has in it all that was judged, and nothing of what follows, or next to nothing.
        if self.placed == 0 || !self.places.is_empty() {
            self.place(screen);
        }
    }

    fn judge_cells<B: Beneath<Look = L>>(&mut self, screen: &B, now_ms: u64) {
        let judged = self.judged;
        let cells = self
            .rows
            .iter()
            .flat_map(|(row, cells)| cells.iter().map(move |(col, guess)| (*col, *row, guess)));
        let mut wrong: Option<u64> = None;
        let mut right = self.confirmed;
        for (col, row, guess) in cells {
            match verdict(guess, &screen.cell(col, row), judged) {
                Verdict::Wrong => wrong = Some(wrong.map_or(guess.epoch, |epoch| epoch.min(guess.epoch))),
                Verdict::Right => right = right.max(guess.epoch),
                Verdict::Pending | Verdict::NoMatter => {}
            }
        }
        // Where something was typed since, that may have moved it.
        if let Some(place) = self.places.last().filter(|_| self.typed <= judged)
            && screen.cursor() != place.at
        {
            wrong = Some(wrong.map_or(place.epoch, |epoch| epoch.min(place.epoch)));
        }
        match wrong {
            Some(epoch) => {
                // What nobody can foretell may have come of a later key already, and says nothing against the guess.
                let excused = self.pending.iter().any(|key| key.seq > judged && key.key == Key::Other);
                if epoch <= self.confirmed && !excused {
                    let close = |at: u64| now_ms < at + MISSES_MS;
                    self.off = self.missed_at.replace(now_ms).is_some_and(close);
                }
                self.begin_again();
                if self.off {
                    self.forget();
                }
            }
            None => {
                // The kernel echoes what is typed ahead of a question for a password.
                let kernel = self.discipline.is_some_and(Discipline::kernel_echoes);
                if right > self.confirmed && (!kernel || self.own) {
                    self.confirmed = right;
                } else if right > self.confirmed {
                    // Nothing that was guessed so far may count later.
                    self.epoch += 1;
                }
                for cells in self.rows.values_mut() {
                    cells.retain(|_, guess| guess.seq > judged);
                }
                self.rows.retain(|_, cells| !cells.is_empty());
            }
        }
    }

    /// All guesses go; keys that are on their way are guessed anew, and not shown before one of them is right.
    fn begin_again(&mut self) {
        self.rows.clear();
        self.places.clear();
        (self.placed, self.epoch) = (0, self.epoch + 1);
        self.confirmed = self.confirmed.min(self.epoch - 1);
    }

    /// All guesses go, and of what is on its way nothing is foretold: the screen is another, the path is, or the keys were.
    pub fn forget(&mut self) {
        self.begin_again();
        self.home = None;
        self.keyboard.ends();
        let last = self.pending.back().copied();
        self.pending.clear();
        if self.typed > self.judged {
            let at_ms = last.map_or(u64::MAX, |key| key.at_ms);
            self.pending.push_back(Pending { key: Key::Other, seq: self.typed, at_ms });
        }
    }

    /// The screen was drawn anew by a snapshot: the same session, and what is on its way is.
    pub fn redrawn(&mut self) {
        self.begin_again();
        self.own = false;
    }

    /// The path to the job broke.
    pub fn broken(&mut self) {
        self.trip.broken();
        self.words.clear();
        self.discipline = None;
        self.forget();
    }

    /// When [`Self::tick`] is due.
    pub fn deadline_ms(&self) -> Option<u64> {
        let first = self.pending.front().filter(|_| self.placed > 0)?;
        let mut due = first.at_ms.saturating_add(SILENCE_MS);
        if first.seq <= self.written.0 {
            due = due.min(self.written.1 + ECHO_MS.max(4 * self.trip.ms().unwrap_or(0)));
        }
        Some(due)
    }

    /// Time passes: what nobody has said a word of goes.
    pub fn tick(&mut self, now_ms: u64) {
        if self.deadline_ms().is_some_and(|at| now_ms >= at) {
            self.forget();
        }
    }

    /// What is to be drawn over `screen` now.
    pub fn overlay<B: Beneath<Look = L>>(&self, screen: &B) -> Option<Overlay<L>> {
        let place = self.places.iter().rev().find(|place| place.epoch <= self.confirmed)?;
        let here = screen.is_plain() && screen.cursor().1 == place.at.1;
        if !here || !self.wants() || self.discipline.is_none_or(Discipline::is_secret) {
            return None;
        }
        let mut cells = Vec::new();
        for (row, guesses) in &self.rows {
            for (col, guess) in guesses.iter().filter(|(_, guess)| guess.epoch <= self.confirmed) {
                let there = screen.cell(*col, *row);
                let Some(char) = guess.char.filter(|_| there.simple) else { continue };
                if there.char.unwrap_or(' ') != char {
                    cells.push(Shown { at: (*col, *row), char, look: guess.look });
                }
            }
        }
        let cursor = place.at;
        (!cells.is_empty() || cursor != screen.cursor()).then_some(Overlay {
            cells,
            cursor,
            underlined: self.underlined.is_on(),
        })
    }
}

fn verdict<L: Copy + PartialEq>(guess: &Guess<L>, there: &Cell<L>, judged: u64) -> Verdict {
    if guess.seq > judged {
        return Verdict::Pending;
    }
    let Some(char) = guess.char else { return Verdict::NoMatter };
    if there.char.unwrap_or(' ') != char || !there.simple {
        return Verdict::Wrong;
    }
    if char == ' ' || guess.before.contains(&(there.char, there.look)) {
        // It is as before, or could be by chance.
        return Verdict::NoMatter;
    }
    Verdict::Right
}
