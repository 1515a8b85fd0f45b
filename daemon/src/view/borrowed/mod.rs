//! What the user's terminal keeps on stacks, so that exactly what the session put there is taken away again. Pure.
//!
//! The kitty keyboard flags and the titles are stacks, and below ours lies the user's own. A session that takes more from
//! them than it put there (a snapshot clears the whole keyboard stack, to be sure) is stopped at the entry that was there
//! when it came. Everything else of a terminal can be reset without knowing what was done to it; see `terminal`.

mod rarities;

use crate::view::before::Before;

/// Bytes of an OSC that are looked at.
const HEAD_MAX: usize = 10;
/// Longest sequence looked at; what is longer is none of ours.
const SEQUENCE_MAX: usize = 64;
/// Longest OSC of colours that is looked at as a whole.
const COLORS_MAX: usize = 8192;
/// Entries counted of a stack; terminals keep fewer.
const STACK_MAX: usize = 32;
/// Modes of which it is known that a session touched them; it may touch more, and those stay.
const MODES_MAX: usize = 64;
/// Private modes that are undone whether a session touched them or not, or in a way of their own.
const UNDONE: [u16; 30] = [
    1, 2, 3, 5, 6, 7, 9, 25, 38, 45, 47, 66, 69, 1000, 1001, 1002, 1003, 1004, 1005, 1006, 1015, 1016, 1047,
    1048, 1049, 2004, 2026, 2027, 2031, 2048,
];
/// Of these, what a person's terminal may have on without us, by its settings or because of who ran before: saved when the
/// terminal is taken and restored when it is given back, where it knows how.
const SAVED: [u16; 8] = [1, 7, 25, 45, 1004, 2004, 2031, 2048];
/// A mode that the session does not claim: the terminal keeps it as it was when it was measured.
const CLUSTERS: u16 = 2027;
/// Private modes that are on in a terminal nobody has said anything to.
const ON_AT_FIRST: [u16; 6] = [8, 19, 1034, 1035, 1046, 1070];
/// Ends whatever was half said, a link and a synchronized update.
const CLOSE: &[u8] = b"\x18\x1b\\\x1b]8;;\x1b\\\x1b[?2026l";

/// `DECSC` before leaving the alternate screen: where that was not on, leaving it restores the cursor we save here instead
/// of an old one. `?1047` too, because some terminals leave that only by its own number.
const FIRST_SCREEN: &[u8] = b"\x1b7\x1b[?1049l\x1b[?1047l\x1b[?47l";

/// Undoes every mode a job may have set (xterm ctlseqs). modifyOtherKeys goes to what the terminal began with, which may
/// be the user's choice. Colours and the cursor's shape go back by what they were, and only if the session changed them.
const UNDO: &[u8] = b"\x1b[m\x1b[0\"q\x1b[r\x1b[?69l\x1b[?6l\x1b[4l\x1b[20l\
\x1b[?5l\x1b[?7h\x1b[?25h\x1b[?45l\x1b[?1l\x1b[?66l\x1b>\x1b(B\x1b)B\x1b*B\x1b+B\x0f\
\x1b[?9l\x1b[?1000l\x1b[?1001l\x1b[?1002l\x1b[?1003l\x1b[?1004l\x1b[?1005l\x1b[?1006l\x1b[?1015l\x1b[?1016l\
\x1b[?2004l\x1b[?2031l\x1b[?2048l\x1b[*x\x1b[>4m";
const VT100: &[u8] = b"\x1b<";
const OUT_OF_TEK: &[u8] = b"\x1b\x03";
/// Modes whose default is the person's: how the cursor blinks, what Backspace, Alt and the wheel send.
const PREFERENCES: [u16; 4] = [12, 67, 1007, 1036];

/// What the session has put on the terminal's stacks so far.
#[derive(Debug, Default)]
pub(super) struct Borrowed {
    /// Keyboard entries on the first and on the alternate screen, above ours.
    keyboard: [usize; 2],
    alternate: bool,
    /// Titles saved by the session (0 both, 1 icon, 2 window), newest last.
    titles: Vec<u16>,
    /// The session reset the whole terminal, and with it the entry that was put beneath it.
    reset: bool,
    /// Which of [`PREFERENCES`] it touched.
    touched: [bool; PREFERENCES.len()],
    /// Other private modes that it touched: the number, whether it is set now, and whether the terminal still has the value it
    /// was told to save before that.
    modes: Vec<(u16, bool, bool)>,
    /// Something was passed on that a terminal may answer, and that the scanner of queries does not know.
    asked: bool,
    /// What undoes what it did, before all else: what makes a terminal listen to other sequences than the usual ones.
    first: Vec<&'static [u8]>,
    /// What undoes the rest.
    then: Vec<&'static [u8]>,
    /// Colours and looks that it pushed.
    colors: u16,
    looks: usize,
    /// What its colours and its cursor were.
    before: Before,
    /// Modes of [`SAVED`] that it has saved a value of its own of.
    saved_over: Vec<u16>,
    /// The size before it asked for 80 or 132 columns, and whether it asked for 132 last.
    columns: Option<(Option<(u16, u16)>, bool)>,
    /// The beginning of a sequence whose end is not here yet.
    held: Vec<u8>,
}

impl Borrowed {
    /// What the terminal is told before it shows anything of the session: title, colours and preferences saved (XTWINOPS 22,
    /// XTPUSHCOLORS, XTSAVE), and a keyboard entry of our own.
    pub(super) const TAKE: &'static [u8] =
        b"\x1b[22;0t\x1b[#P\x1b[?12;67;1007;1036s\x1b[?1;7;25;45;1004;2004;2031;2048s\x1b[>0u";

    /// Passes output on to `out`, but for what would take the user's own entries.
    pub(super) fn pass(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let joined;
        let mut rest = bytes;
        if !self.held.is_empty() {
            joined = [&std::mem::take(&mut self.held)[..], bytes].concat();
            rest = &joined;
        }
        while let Some(esc) = rest.iter().position(|b| *b == 0x1b) {
            out.extend_from_slice(&rest[..esc]);
            rest = &rest[esc..];
            if let Some(colors) = color_osc(rest) {
                let Some((length, number, body)) = colors else {
                    self.held = rest.to_vec();
                    return;
                };
                self.asked |= body.contains(&b'?');
                self.before.colors(&rest[..length], number, body, out);
                rest = &rest[length..];
                continue;
            }
            let after = |from: usize, belongs: fn(&u8) -> bool| match rest[from..]
                .iter()
                .take(SEQUENCE_MAX)
                .position(|b| !belongs(b))
            {
                Some(n) => Some(n + from + 1),
                None => (rest.len() > SEQUENCE_MAX).then_some(2),
            };
            let length = match rest.get(1) {
                None => None,
                // The head of a string is looked at as well, up to what tells its kind.
                Some(b'[' | b'P') => after(2, |b| (0x20..0x40).contains(b)),
                Some(b']') => after(2, in_head).map(|n| n.min(HEAD_MAX)),
                Some(b'_') => rest.get(2).map(|kind| if *kind == b'G' { 3 } else { 2 }),
                Some(0x20..=0x2f) => after(1, |b| (0x20..0x30).contains(b)),
                Some(_) => Some(2),
            };
            let Some(length) = length else {
                self.held = rest.to_vec();
                return;
            };
            // What ends a sequence and is no final byte (a control, the next ESC) is looked at by itself; after the head of an
            // OSC, so is whatever comes.
            let string = rest[1] == b']';
            let last = rest[length - 1];
            let length = match (string, last) {
                (true, last) if in_head(&last) => length,
                (true, _) => length - 1,
                (false, ..0x30) => length - 1,
                (false, ..0x40) if rest[1] == b'[' || rest[1] == b'P' => length - 1,
                (false, _) => length,
            };
            self.sequence(&rest[..length], out);
            rest = &rest[length..];
        }
        out.extend_from_slice(rest);
    }

    /// Was something passed on since this was last asked that a terminal may answer?
    pub(super) fn take_asked(&mut self) -> bool {
        std::mem::take(&mut self.asked)
    }

    fn sequence(&mut self, sequence: &[u8], out: &mut Vec<u8>) {
        self.asked |= asks(sequence);
        let screen = usize::from(self.alternate);
        match sequence {
            b"\x1bc" => {
                *self = Self {
                    reset: true,
                    titles: std::mem::take(&mut self.titles),
                    touched: self.touched,
                    modes: std::mem::take(&mut self.modes),
                    first: std::mem::take(&mut self.first),
                    then: std::mem::take(&mut self.then),
                    before: std::mem::take(&mut self.before),
                    saved_over: std::mem::take(&mut self.saved_over),
                    columns: self.columns,
                    ..Self::default()
                };
            }
            [0x1b, b'[', b'>', flags @ .., b'u'] if numbers(flags).is_some() => {
                self.keyboard[screen] = (self.keyboard[screen] + 1).min(STACK_MAX);
            }
            [0x1b, b'[', b'<', count @ .., b'u'] => {
                let count = numbers(count).and_then(|n| n.first().copied()).unwrap_or(1).max(1);
                let count = usize::from(count);
                let above = std::mem::take(&mut self.keyboard[screen]);
                if count > above {
                    if above > 0 {
                        out.extend_from_slice(format!("\x1b[<{above}u").as_bytes());
                    }
                    // An emptied stack leaves no flags: none on the entry that is ours.
                    out.extend_from_slice(b"\x1b[=0u");
                    return;
                }
                self.keyboard[screen] = above - count;
            }
            [0x1b, b'[', b'?', modes @ .., last @ (b'h' | b'l')] => {
                let all = numbers(modes).unwrap_or_default();
                if all.contains(&CLUSTERS) {
                    let rest: Vec<String> =
                        all.iter().filter(|mode| **mode != CLUSTERS).map(u16::to_string).collect();
                    if !rest.is_empty() {
                        let said = format!("\x1b[?{}{}", rest.join(";"), char::from(*last));
                        self.sequence(said.as_bytes(), out);
                    }
                    return;
                }
                for mode in numbers(modes).unwrap_or_default() {
                    if matches!(mode, 47 | 1047 | 1049) {
                        self.alternate = *last == b'h';
                    }
                    if let Some(at) = PREFERENCES.iter().position(|p| *p == mode) {
                        self.touched[at] = true;
                    }
                    if mode == 12 {
                        self.before.shape_changes(out);
                    }
                    self.private_mode(mode, *last == b'h', out);
                }
            }
            [0x1b, b'[', b'?', modes @ .., b's'] => {
                // It saves the value of its own: the terminal has lost the person's.
                for saved in numbers(modes).unwrap_or_default() {
                    for (mode, _, kept) in &mut self.modes {
                        *kept &= *mode != saved;
                    }
                    if SAVED.contains(&saved) && !self.saved_over.contains(&saved) {
                        self.saved_over.push(saved);
                    }
                }
            }
            [0x1b, b'[', b' ', b'q'] | [0x1b, b'[', b'0', b' ', b'q'] => {
                return self.before.default_shape(out);
            }
            [0x1b, b'[', b'0'..=b'9', .., b' ', b'q'] => self.before.shape_changes(out),
            [0x1b, b'[', place @ .., b'#', last @ (b'P' | b'Q')] => {
                // Below its own is the person's entry.
                let place = numbers(place).and_then(|n| n.first().copied()).unwrap_or(0);
                let at = match (place, last) {
                    (0, b'P') => self.colors + 1,
                    (0, _) => self.colors,
                    (place, _) => place,
                };
                let most = STACK_MAX as u16;
                if at > most || *last == b'Q' && (at == 0 || at > self.colors) {
                    return;
                }
                self.colors = if *last == b'P' { at } else { at - 1 };
                let said = format!("\x1b[{}#{}", at + 1, char::from(*last));
                return out.extend_from_slice(if place == 0 { sequence } else { said.as_bytes() });
            }
            [0x1b, b'[', .., b'#', b'p' | b'{'] => self.looks = (self.looks + 1).min(STACK_MAX),
            [0x1b, b'[', b'#', b'q' | b'}'] => match self.looks.checked_sub(1) {
                Some(looks) => self.looks = looks,
                None => return,
            },
            [0x1b, b'[', what @ .., b't'] => {
                let what = numbers(what).unwrap_or_default();
                let which = what.get(1).copied().unwrap_or(0);
                match what.first() {
                    Some(22) if which <= 2 => {
                        if self.titles.len() == STACK_MAX {
                            self.titles.remove(0);
                        }
                        self.titles.push(which);
                    }
                    // Nothing of the session's is left there: what is, is not for it.
                    Some(23) if self.titles.pop().is_none() => return,
                    _ => {}
                }
            }
            _ => self.oddity(sequence),
        }
        out.extend_from_slice(sequence);
    }

    fn private_mode(&mut self, mode: u16, set: bool, out: &mut Vec<u8>) {
        match mode {
            // VT52: nothing of what is said here is understood there.
            2 if !set && !self.first.contains(&VT100) => self.first.insert(0, VT100),
            // Tektronix.
            38 if set && !self.first.contains(&OUT_OF_TEK) => self.first.insert(0, OUT_OF_TEK),
            3 => {
                let before = self.columns.map_or_else(terminal_size, |(before, _)| before);
                self.columns = Some((before, set));
            }
            _ => {}
        }
        if UNDONE.contains(&mode) || PREFERENCES.contains(&mode) {
            return;
        }
        let room = self.modes.len() < MODES_MAX;
        match self.modes.iter_mut().find(|(touched, ..)| *touched == mode) {
            Some((_, is_set, _)) => *is_set = set,
            None if room => {
                self.modes.push((mode, set, true));
                out.extend_from_slice(format!("\x1b[?{mode}s").as_bytes());
            }
            None => {}
        }
    }

    /// What is to be undone before a terminal can be relied on to understand the rest.
    pub(super) fn give_back_first(&mut self, out: &mut Vec<u8>) {
        for undo in self.first.drain(..) {
            out.extend_from_slice(undo);
        }
        // Where it is off, the alternate screen cannot be left.
        if self.modes.iter().any(|(mode, set, _)| *mode == 1046 && !set) {
            out.extend_from_slice(b"\x1b[?1046h");
        }
    }

    /// A snapshot begins: it says all titles again, so those it said before go.
    pub(super) fn snapshot_begins(&mut self, out: &mut Vec<u8>) {
        self.held.clear();
        // Whatever was half said ends first.
        out.extend_from_slice(b"\x18\x1b\\");
        self.pop_titles(out);
        self.pop_stacks(out);
    }

    fn pop_stacks(&mut self, out: &mut Vec<u8>) {
        for _ in 0..std::mem::take(&mut self.looks) {
            out.extend_from_slice(b"\x1b[#}");
        }
        for _ in 0..std::mem::take(&mut self.colors) {
            out.extend_from_slice(b"\x1b[#Q");
        }
    }

    fn pop_titles(&mut self, out: &mut Vec<u8>) {
        while let Some(which) = self.titles.pop() {
            out.extend_from_slice(format!("\x1b[23;{which}t").as_bytes());
        }
    }

    /// Takes away what is left of the session on the screen shown, before the alternate one is left.
    pub(super) fn give_back_alternate(&mut self, out: &mut Vec<u8>) {
        if std::mem::take(&mut self.alternate) && self.keyboard[1] > 0 {
            out.extend_from_slice(format!("\x1b[<{}u", self.keyboard[1]).as_bytes());
        }
    }

    /// Takes away what is left of it on the first screen, with what [`Self::TAKE`] put there.
    pub(super) fn give_back(&mut self, out: &mut Vec<u8>) {
        let ours = if self.reset { 0 } else { 1 };
        if self.keyboard[0] + ours > 0 {
            out.extend_from_slice(format!("\x1b[<{}u", self.keyboard[0] + ours).as_bytes());
        }
        // How the cursor blinks is a part of its shape where that is known, and comes after it where it is not.
        let shape_is_known = self.before.knows_shape();
        if !shape_is_known {
            self.before.give_back(out);
        }
        for (mode, _) in PREFERENCES.iter().zip(self.touched).filter(|(_, touched)| *touched) {
            if matches!(mode, 12 | 1007) && !(*mode == 12 && shape_is_known) {
                // For terminals that save no modes: off is the common default of these.
                out.extend_from_slice(format!("\x1b[?{mode}l").as_bytes());
            }
            out.extend_from_slice(format!("\x1b[?{mode}r").as_bytes());
        }
        if shape_is_known {
            self.before.give_back(out);
        }
        for (mode, set, saved) in self.modes.drain(..) {
            // For terminals that save no modes: as they begin.
            if set && !ON_AT_FIRST.contains(&mode) {
                out.extend_from_slice(format!("\x1b[?{mode}l").as_bytes());
            } else if !set && ON_AT_FIRST.contains(&mode) {
                out.extend_from_slice(format!("\x1b[?{mode}h").as_bytes());
            }
            if saved {
                out.extend_from_slice(format!("\x1b[?{mode}r").as_bytes());
            }
        }
        for undo in self.then.drain(..) {
            out.extend_from_slice(undo);
        }
        self.pop_titles(out);
        self.pop_stacks(out);
        for mode in SAVED.iter().filter(|mode| !self.saved_over.contains(mode)) {
            out.extend_from_slice(format!("\x1b[?{mode}r").as_bytes());
        }
        out.extend_from_slice(b"\x1b[#Q\x1b[23;0t");
    }

    /// All that gives the terminal back, in this size, with the cursor below so many rows of text; `None`: below all.
    pub(super) fn all_back(&mut self, size: Option<(u16, u16)>, text_rows: Option<u16>) -> Vec<u8> {
        // A CAN ends whatever was half said, in any mode.
        let mut undo = b"\x18".to_vec();
        self.give_back_first(&mut undo);
        undo.extend_from_slice(CLOSE);
        self.give_back_alternate(&mut undo);
        undo.extend_from_slice(FIRST_SCREEN);
        undo.extend_from_slice(UNDO);
        self.give_back_columns(&mut undo);
        self.give_back(&mut undo);
        let (cols, rows) = size.unwrap_or((80, 999));
        // Tab stops where terminals begin with them: one by one, since few know a sequence that sets them all.
        undo.extend_from_slice(b"\x1b[3g");
        for column in (1..=cols).step_by(8) {
            undo.extend_from_slice(format!("\x1b[{column}G\x1bH").as_bytes());
        }
        let below = match text_rows {
            // On the line below the text; a terminal full of it makes room for one.
            Some(text_rows) if text_rows < rows => format!("\x1b[{};1H", text_rows + 1),
            _ => format!("\x1b[{rows};1H\r\n"),
        };
        undo.extend_from_slice(below.as_bytes());
        undo
    }

    /// Asks how the terminal measures clusters, on a line that is blank, and is so again: this row. What is typed then has the answer.
    pub(super) fn measure(&mut self, row: u16) -> Vec<u8> {
        self.before.measure(row)
    }

    /// Where its cursor was after each of the probes, once it has said so.
    pub(super) fn measured(&self) -> Option<[u16; 4]> {
        self.before.measured()
    }

    /// What is typed, without what the terminal answers to questions of our own.
    pub(super) fn typed(&mut self, bytes: &[u8], now_ms: u64) -> Vec<u8> {
        self.before.typed(bytes, now_ms)
    }

    /// When [`Self::expire_typed`] must be asked.
    pub(super) fn deadline_ms(&self) -> Option<u64> {
        self.before.deadline_ms()
    }

    /// What was held back of what is typed, once its time has passed.
    pub(super) fn expire_typed(&mut self, now_ms: u64) -> Vec<u8> {
        self.before.expire(now_ms)
    }

    /// Whether such an answer may come still.
    pub(super) fn awaits_answers(&self, now_ms: u64) -> bool {
        self.before.is_open(now_ms)
    }

    /// The terminal's width, if the session had it changed. Said while changes of it are allowed still.
    pub(super) fn give_back_columns(&mut self, out: &mut Vec<u8>) {
        let Some((before, wide)) = self.columns.take() else { return };
        if wide {
            // Without wiping the screen, where the terminal knows how.
            out.extend_from_slice(b"\x1b[?95h\x1b[?3l\x1b[?95l");
        }
        if let Some((cols, rows)) = before.filter(|(cols, _)| *cols != 80) {
            out.extend_from_slice(format!("\x1b[8;{rows};{cols}t").as_bytes());
        }
    }
}

/// At an ESC: an OSC that is about colours, with its length, its number and what follows that; `Some(None)` if its end is not here.
/// One that something else cuts off has no effect and is none.
#[allow(clippy::option_option)]
fn color_osc(bytes: &[u8]) -> Option<Option<(usize, u16, &[u8])>> {
    let body = bytes.strip_prefix(b"\x1b]")?;
    let digits = body.iter().take(4).take_while(|b| b.is_ascii_digit()).count();
    if digits == body.len() {
        return (digits < 4).then_some(None);
    }
    let number = std::str::from_utf8(&body[..digits]).ok()?.parse().ok()?;
    if !matches!(number, 4 | 10..=19 | 104 | 110..=119) {
        return None;
    }
    let Some(end) = body.iter().position(|b| matches!(b, 0x07 | 0x18 | 0x1a | 0x1b)) else {
        return (body.len() < COLORS_MAX).then_some(None);
    };
    let length = match (body[end], body.get(end + 1)) {
        (0x07, _) => 2 + end + 1,
        (0x1b, Some(b'\\')) => 2 + end + 2,
        (0x1b, None) => return Some(None),
        _ => return None,
    };
    let rest = &body[digits..end];
    let rest = rest.strip_prefix(b";").or(rest.is_empty().then_some(rest))?;
    Some(Some((length, number, rest)))
}

/// Belongs to the head of an OSC.
fn in_head(byte: &u8) -> bool {
    matches!(byte, b'0'..=b'9' | b';' | b'?')
}

/// Does a terminal answer this, as far as its form tells? Asked of what the scanner of queries does not know.
fn asks(sequence: &[u8]) -> bool {
    match sequence {
        // Kitty's graphics; colours, fonts, pointers and whatever else is asked for by a `?`.
        [0x1b, b'_', b'G'] => true,
        [0x1b, b']', head @ ..] => head.contains(&b'?'),
        // Graphics, checksums, character sets, keys, tabs, the locator, attributes, displayed extent.
        [0x1b, b'[', b'?', .., b'S' | b'g' | b'n'] => true,
        [0x1b, b'[', .., b'*', b'y'] | [0x1b, b'[', .., b'&' | b'$', b'u'] => true,
        [0x1b, b'[', .., b'"', b'v']
        | [0x1b, b'[', .., b'$', b'w']
        | [0x1b, b'[', .., b'\'' | b'#', b'|'] => true,
        _ => false,
    }
}

fn terminal_size() -> Option<(u16, u16)> {
    crate::view::terminal::size()
}

/// Parameters of a sequence, an empty one as 0; `None` if there is anything else.
fn numbers(text: &[u8]) -> Option<Vec<u16>> {
    if text.is_empty() {
        return Some(Vec::new());
    }
    text.split(|b| *b == b';')
        .map(|n| if n.is_empty() { Some(0) } else { std::str::from_utf8(n).ok()?.parse().ok() })
        .collect()
}

#[cfg(test)]
mod terminals;
#[cfg(test)]
mod tests;
