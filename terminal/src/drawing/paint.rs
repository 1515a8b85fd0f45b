//! From what a terminal shows to what it shall show, in few bytes.

use std::io::Write as _;

use super::abilities::Abilities;
use super::glyph::{Eye, Glyph, Look};
use crate::row::double;
use crate::screen::Screen;
use crate::sgr::{SIMPLE, push_sgr};
use crate::style::{Color, Ext, Style, attr};

/// Bytes of links in one drawing; what is linked past that is written without its link.
const MAX_LINKS: usize = 1 << 20;
/// Runs of blanks from which on they are erased and not written: ECH and the step over them cost as much.
const ERASE_FROM: usize = 10;
/// A change of so few cells is not worth looking for a shift.
const SHIFT_FROM: usize = 10;
/// The most characters that a line is shifted by.
const SHIFT_MAX: usize = 32;

/// One row of a view, as it is seen.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Line {
    pub(super) glyphs: Box<[Glyph]>,
    /// One of [`double`].
    pub(super) double: u8,
}

impl Line {
    pub(super) fn blank(cols: u16) -> Self {
        Self { glyphs: vec![Glyph::default(); usize::from(cols)].into(), double: double::SINGLE }
    }

    pub(super) fn is_blank(&self) -> bool {
        self.double == double::SINGLE && self.glyphs.iter().all(|g| *g == Glyph::default())
    }

    /// Columns that are seen: of a row of double width, half of them.
    fn columns(&self) -> usize {
        let cols = self.glyphs.len();
        if self.double == double::SINGLE { cols } else { (cols / 2).max(1) }
    }

    /// Cells that are worth something.
    pub(super) fn weight(&self) -> usize {
        self.glyphs.iter().filter(|g| **g != Glyph::default()).count()
    }
}

/// Writes to a terminal and knows what that does to cursor and pen. It begins and ends with the default pen.
pub(super) struct Paint<'a> {
    pub(super) out: &'a mut Vec<u8>,
    eye: &'a Eye<'a>,
    /// What the lines to come were made of.
    part: &'a Screen,
    can: Abilities,
    pen: Look,
    ext: Ext,
    /// Where the cursor is, as far as that is known.
    row: Option<u16>,
    col: Option<u16>,
    /// LNM is set: LF goes to the first column as well.
    newline: bool,
    links: usize,
}

fn say(out: &mut Vec<u8>, args: std::fmt::Arguments<'_>) {
    // Writing to a Vec does not fail.
    let _ = out.write_fmt(args);
}

/// A sequence with a count, which is not said where it is one.
fn counted(out: &mut Vec<u8>, n: usize, last: char) {
    if n == 1 {
        say(out, format_args!("\x1b[{last}"));
    } else {
        say(out, format_args!("\x1b[{n}{last}"));
    }
}

fn shorter(a: Vec<u8>, b: Vec<u8>) -> Vec<u8> {
    if b.len() < a.len() { b } else { a }
}

impl<'a> Paint<'a> {
    pub(super) fn new(
        out: &'a mut Vec<u8>,
        eye: &'a Eye<'a>,
        part: &'a Screen,
        at: Option<(u16, u16)>,
        newline: bool,
    ) -> Self {
        Self {
            out,
            eye,
            part,
            can: eye.abilities,
            pen: Look::default(),
            ext: Ext::default(),
            row: at.map(|(_, row)| row),
            col: at.map(|(col, _)| col),
            newline,
            links: MAX_LINKS,
        }
    }

    fn cols(&self) -> usize {
        usize::from(self.part.cols)
    }

    // ---- Cursor -------------------------------------------------------------------------------------------------

    /// Nobody knows where the cursor is.
    fn lost(&mut self) {
        (self.row, self.col) = (None, None);
    }

    /// The shortest way to column `x` of the row that the cursor is in; none: it is in it.
    fn along(&self, x: u16, from: Option<u16>) -> Vec<u8> {
        if from == Some(x) {
            return Vec::new();
        }
        if x == 0 {
            return b"\r".to_vec();
        }
        let mut way = Vec::new();
        say(&mut way, format_args!("\x1b[{}G", x + 1));
        let mut back = b"\r".to_vec();
        counted(&mut back, x.into(), 'C');
        way = shorter(way, back);
        let Some(from) = from else { return way };
        let n = usize::from(x.abs_diff(from));
        let mut step = Vec::new();
        counted(&mut step, n, if x > from { 'C' } else { 'D' });
        way = shorter(way, step);
        if x < from && n < way.len() { vec![8; n] } else { way }
    }

    fn way(&self, x: u16, y: u16) -> Vec<u8> {
        let mut way = Vec::new();
        match (x, y) {
            (0, 0) => way.extend_from_slice(b"\x1b[H"),
            (0, y) => say(&mut way, format_args!("\x1b[{}H", y + 1)),
            (x, y) => say(&mut way, format_args!("\x1b[{};{}H", y + 1, x + 1)),
        }
        let Some(row) = self.row else { return way };
        let n = usize::from(y.abs_diff(row));
        if n == 0 {
            return shorter(way, self.along(x, self.col));
        }
        if self.part.rows.iter().any(|row| row.double != double::SINGLE) {
            // A row of double width has half as many columns: what moves through it may lose its own.
            return way;
        }
        let down = y > row;
        let mut step = Vec::new();
        counted(&mut step, n, if down { 'B' } else { 'A' });
        step.extend(self.along(x, self.col));
        way = shorter(way, step);
        if down && n < way.len() {
            // Above the last row nothing scrolls.
            let col = if self.newline { Some(0) } else { self.col };
            if x == 0 && col != Some(0) {
                way = shorter(way, [b"\r".to_vec(), vec![b'\n'; n]].concat());
            }
            way = shorter(way, [vec![b'\n'; n], self.along(x, col)].concat());
        }
        if !down && n == 1 {
            shorter(way, [b"\x1bM".to_vec(), self.along(x, self.col)].concat())
        } else {
            way
        }
    }

    pub(super) fn goto(&mut self, x: u16, y: u16) {
        let way = self.way(x, y);
        self.out.extend_from_slice(&way);
        (self.row, self.col) = (Some(y), Some(x));
    }

    // ---- Pen ----------------------------------------------------------------------------------------------------

    fn pen(&mut self, look: Look, ext: Ext) {
        if look == self.pen {
            return;
        }
        let (old, new) = (self.pen, look);
        let looks = |l: Look| (l.fg, l.bg, l.attrs);
        if looks(old) != looks(new) || self.ext.underline != ext.underline {
            let mut whole = Vec::new();
            let style = Style { fg: new.fg, bg: new.bg, attrs: new.attrs, ext: 0 };
            push_sgr(&mut whole, style, ext.underline);
            if self.can.colours != super::Colours::None {
                whole = shorter(whole, difference(old, new, self.ext.underline, ext.underline));
            }
            self.out.extend_from_slice(&whole);
        }
        if self.ext.link != ext.link {
            let link = ext.link.as_ref().filter(|link| {
                let room = self.links.checked_sub(link.len());
                self.links = room.unwrap_or(0);
                room.is_some()
            });
            match link {
                None => self.out.extend_from_slice(b"\x1b]8;;\x1b\\"),
                Some(link) => {
                    let id = if link.id.is_empty() { String::new() } else { format!("id={}", link.id) };
                    say(self.out, format_args!("\x1b]8;{id};{}\x1b\\", link.uri));
                }
            }
        }
        (self.pen, self.ext) = (look, ext);
    }

    fn plain_pen(&mut self) {
        self.pen(Look::default(), Ext::default());
    }

    /// A pen that erases to `bg`, if there is one: says whether the terminal can.
    fn erases_to(&mut self, bg: Color) -> bool {
        if bg != Color::DEFAULT && !self.can.erases_in_colour {
            return false;
        }
        if self.pen.bg != bg {
            self.pen(Look { bg, ..Look::default() }, Ext::default());
        }
        true
    }

    /// Would a space written now look like this blank?
    fn shows(&self, blank: Glyph) -> bool {
        blank.is_blank()
            && self.pen.bg == blank.look.bg
            && self.pen.ext == 0
            && self.pen.attrs & (attr::UNDERLINE | attr::INVERSE | attr::STRIKE | attr::OVERLINE) == 0
    }

    // ---- Cells --------------------------------------------------------------------------------------------------

    /// Writes the glyph at `x`, and what cannot be parted from it. Says how many columns that were.
    fn print(&mut self, x: usize, y: u16, line: &Line) -> usize {
        let glyph = line.glyphs[x];
        if glyph.is_blank() {
            if !self.shows(glyph) {
                self.pen(glyph.look, Ext::default());
            }
            self.out.push(b' ');
            return self.moved(x, y, 1, true);
        }
        let cell = self.part.rows[usize::from(y)].cells[x];
        let ext = if glyph.look.ext == 0 { Ext::default() } else { self.eye.ext(cell.style.ext) };
        self.pen(glyph.look, ext);
        self.text(glyph, x, y);
        let mut columns = 1 + usize::from(glyph.is_wide());
        // Two halves of a flag are told apart by some terminals only if nothing comes between them.
        if glyph.is_half_a_flag()
            && let Some(other) = line.glyphs[..line.columns()].get(x + columns)
            && other.is_half_a_flag()
            && other.look == glyph.look
        {
            self.text(*other, x + columns, y);
            columns += 1 + usize::from(other.is_wide());
        }
        self.moved(x, y, columns, !glyph.is_unsure())
    }

    fn text(&mut self, glyph: Glyph, x: usize, y: u16) {
        match glyph.char() {
            Some(c) => {
                self.out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            }
            None => self.part.rows[usize::from(y)].cells[x].push_utf8(self.eye.clusters, self.out),
        }
    }

    fn moved(&mut self, x: usize, y: u16, columns: usize, sure: bool) -> usize {
        let next = x + columns;
        // Past the last column it is in no column that could be counted from.
        self.col = if sure && next < self.cols() { Some(next as u16) } else { None };
        // One that takes more than we think may be on the next row by now.
        self.row = if sure || next + 2 < self.cols() { Some(y) } else { None };
        columns
    }

    /// To the cell at `x`: by writing the few cells before it once more, where that is shorter.
    pub(super) fn step(&mut self, x: usize, y: u16, line: &Line) {
        if let (Some(row), Some(col)) = (self.row, self.col)
            && row == y
            && usize::from(col) < x
        {
            let between = &line.glyphs[usize::from(col)..x];
            let plain =
                |g: &Glyph| g.ascii().is_some() && !g.is_wide() && g.look == self.pen || self.shows(*g);
            if between.len() <= self.way(x as u16, y).len() && between.iter().all(plain) {
                for glyph in between {
                    self.out.push(glyph.ascii().unwrap_or(b' '));
                }
                self.col = Some(x as u16);
                return;
            }
        }
        self.goto(x as u16, y);
    }

    /// Makes a row `new` that is `old`.
    pub(super) fn row(&mut self, y: u16, old: &mut Line, new: &Line) {
        if old == new {
            return;
        }
        if old.double != new.double || new.double != double::SINGLE {
            self.whole_row(y, new);
        } else {
            if self.can.shifts_characters {
                self.shift(y, old, new);
            }
            self.cells(y, old, new);
        }
        old.clone_from(new);
    }

    /// A row whose characters have another size than others, or had.
    fn whole_row(&mut self, y: u16, new: &Line) {
        self.goto(0, y);
        self.plain_pen();
        let size = if new.double == double::SINGLE { 5 } else { new.double };
        say(self.out, format_args!("\x1b#{size}\x1b[2K"));
        let columns = new.columns();
        let end = new.glyphs[..columns].iter().rposition(|g| *g != Glyph::default()).map_or(0, |x| x + 1);
        let mut x = 0;
        while x < end {
            if new.glyphs[x].is_wide() && x + 2 > columns {
                // Half of it would be in the next row.
                break;
            }
            if self.col != Some(x as u16) {
                self.goto(x as u16, y);
            }
            x += self.print(x, y, new);
        }
        self.lost();
    }

    /// Which cells must be written.
    fn changes(old: &Line, new: &Line) -> Vec<bool> {
        let (old, new) = (&old.glyphs, &new.glyphs);
        let n = new.len();
        let mut changed: Vec<bool> = old.iter().zip(new).map(|(a, b)| a != b).collect();
        for x in 0..n {
            // Where one is as wide as terminals like, its neighbours may have suffered.
            if (old[x].is_unsure() || new[x].is_unsure()) && old[x] != new[x] {
                changed[x..n.min(x + 3)].fill(true);
            }
        }
        let mut x = 0;
        while x < n {
            let flags = new[x..].iter().take_while(|g| g.is_half_a_flag() || g.is_spacer()).count();
            if flags > 0 && changed[x..x + flags].contains(&true) {
                changed[x..x + flags].fill(true);
            }
            x += flags.max(1);
        }
        for x in 1..n {
            if new[x].is_spacer() && (changed[x] || changed[x - 1]) {
                changed[x - 1..=x].fill(true);
            }
        }
        changed
    }

    fn cells(&mut self, y: u16, old: &Line, new: &Line) {
        let mut changed = Self::changes(old, new);
        let n = new.glyphs.len();
        // The blanks at the end may be erased at once.
        let mut erase = None;
        if let Some(last) = new.glyphs.last().filter(|g| g.is_blank()) {
            let tail = new.glyphs.iter().rposition(|g| g != last).map_or(0, |x| x + 1);
            let can = last.look.bg == Color::DEFAULT || self.can.erases_in_colour;
            if let Some(first) = (tail..n).find(|x| changed[*x])
                && can
                && changed[first..].iter().filter(|c| **c).count() > 2
            {
                changed[first..].fill(false);
                erase = Some((first, last.look.bg));
            }
        }
        let mut x = 0;
        while x < n {
            if !changed[x] {
                x += 1;
                continue;
            }
            let glyph = new.glyphs[x];
            let run = if glyph.is_blank() {
                new.glyphs[x..].iter().take_while(|g| **g == glyph).count()
            } else {
                0
            };
            let run = changed[x..x + run].iter().rposition(|c| *c).map_or(0, |last| last + 1);
            self.step(x, y, new);
            if run >= ERASE_FROM && self.can.erases_characters && self.erases_to(glyph.look.bg) {
                counted(self.out, run, 'X');
                x += run;
            } else {
                x += self.print(x, y, new);
            }
        }
        if let Some((first, bg)) = erase {
            self.step(first, y, new);
            self.erases_to(bg);
            self.out.extend_from_slice(b"\x1b[K");
        }
    }

    /// Where most of a row went to the side, it is pushed there.
    fn shift(&mut self, y: u16, old: &mut Line, new: &Line) {
        let n = new.glyphs.len();
        let differs = |x: &usize| old.glyphs[*x] != new.glyphs[*x];
        let Some(first) = (0..n).find(differs) else { return };
        // Blanks at the end cost little without a shift.
        let tail = new.glyphs.iter().rposition(|g| *g != Glyph::default()).map_or(0, |x| x + 1);
        let count = (first..tail).filter(differs).count();
        let odd = |g: &Glyph| g.is_wide() || g.is_spacer() || g.is_unsure();
        if count < SHIFT_FROM || old.glyphs[first..].iter().any(odd) || new.glyphs[first..].iter().any(odd) {
            return;
        }
        let (was, is) = (&old.glyphs[first..], &new.glyphs[first..]);
        let unlike = |a: &[Glyph], b: &[Glyph]| a.iter().zip(b).filter(|(a, b)| a != b).count();
        let blank = |part: &[Glyph]| part.iter().filter(|g| **g != Glyph::default()).count();
        let ways = (1..=SHIFT_MAX.min(is.len() - 1)).flat_map(|k| {
            let end = is.len() - k;
            let inserted = blank(&is[..k]) + unlike(&was[..end], &is[k..]);
            let deleted = unlike(&was[k..], &is[..end]) + blank(&is[end..]);
            [(inserted, k, true), (deleted, k, false)]
        });
        let Some((left, k, inserts)) = ways.min() else { return };
        if left + 8 >= count {
            return;
        }
        self.goto(first as u16, y);
        self.erases_to(Color::DEFAULT);
        counted(self.out, k, if inserts { '@' } else { 'P' });
        let row = &mut old.glyphs[first..];
        if inserts {
            row.rotate_right(k);
            row[..k].fill(Glyph::default());
        } else {
            row.rotate_left(k);
            let end = row.len() - k;
            row[end..].fill(Glyph::default());
        }
    }

    // ---- Lines --------------------------------------------------------------------------------------------------

    /// Shifts the lines `top..=bottom` up, or down, by `n`; blank ones come in. `off`: those that leave at the top go where
    /// the terminal keeps what has left its screen.
    pub(super) fn shift_lines(&mut self, (top, bottom): (u16, u16), n: u16, up: bool, off: bool) {
        let last = self.part.height() - 1;
        self.erases_to(Color::DEFAULT);
        let count = usize::from(n);
        if off {
            if self.row != Some(bottom) {
                self.goto(0, bottom);
            }
            self.out.extend(std::iter::repeat_n(b'\n', count));
            if self.newline {
                self.col = Some(0);
            }
            return;
        }
        let (delete, insert) = if up { (top, bottom + 1 - n) } else { (bottom + 1 - n, top) };
        if up || bottom < last {
            self.goto(0, delete);
            counted(self.out, count, 'M');
        }
        if !up || bottom < last {
            self.goto(0, insert);
            counted(self.out, count, 'L');
        }
    }

    /// Erases all rows from `y` on, which is not the first: several terminals keep what an ED from there erases.
    pub(super) fn erase_below(&mut self, y: u16) {
        self.goto(0, y);
        self.erases_to(Color::DEFAULT);
        self.out.extend_from_slice(b"\x1b[J");
    }

    /// The end: the default pen. Where the cursor is, as far as that is known.
    pub(super) fn end(mut self) -> Option<(u16, u16)> {
        self.plain_pen();
        self.col.zip(self.row)
    }
}

/// The shortest SGR that changes one look to another, not by way of none.
fn difference(old: Look, new: Look, old_underline: Color, new_underline: Color) -> Vec<u8> {
    let mut numbers: Vec<String> = Vec::new();
    let mut number = |n: &str| numbers.push(n.to_owned());
    let mut have = old.attrs;
    // Turning one off turns off what shares its number.
    for (bits, off) in [
        (attr::BOLD | attr::DIM, "22"),
        (attr::ITALIC, "23"),
        (attr::UNDERLINE, "24"),
        (attr::BLINK | attr::RAPID, "25"),
        (attr::INVERSE, "27"),
        (attr::HIDDEN, "28"),
        (attr::STRIKE, "29"),
        (attr::OVERLINE, "55"),
    ] {
        let gone = if bits == attr::UNDERLINE {
            new.attrs & bits == 0 && have & bits != 0
        } else {
            have & bits & !new.attrs != 0
        };
        if gone {
            number(off);
            have &= !bits;
        }
    }
    for (bit, on) in SIMPLE {
        if new.attrs & bit != 0 && have & bit == 0 {
            number(on);
        }
    }
    let kind = new.attrs & attr::UNDERLINE;
    if kind != 0 && kind != have & attr::UNDERLINE {
        match kind >> attr::UNDERLINE_SHIFT {
            1 => number("4"),
            k => number(&format!("4:{k}")),
        }
    }
    let mut colour = |colour: Color, parameter: &str, default: &str| {
        let style = Style { fg: colour, ..Style::default() };
        let mut said = Vec::new();
        push_sgr(&mut said, style, Color::DEFAULT);
        let said = String::from_utf8_lossy(&said).into_owned();
        match said.strip_prefix("\x1b[0;").and_then(|said| said.strip_suffix('m')) {
            None => number(default),
            // A background is a foreground ten further on.
            Some(said) => match (parameter, said.split_once(';')) {
                ("bg", None) => number(&(said.parse::<u16>().unwrap_or(39) + 10).to_string()),
                ("bg", Some((_, rest))) => number(&format!("48;{rest}")),
                _ => number(said),
            },
        }
    };
    if old.fg != new.fg {
        colour(new.fg, "fg", "39");
    }
    if old.bg != new.bg {
        colour(new.bg, "bg", "49");
    }
    if old_underline != new_underline {
        use crate::style::ColorKind;
        match new_underline.kind() {
            ColorKind::Default => number("59"),
            ColorKind::Ansi(i) | ColorKind::Indexed(i) => number(&format!("58:5:{i}")),
            ColorKind::Rgb(r, g, b) => number(&format!("58:2::{r}:{g}:{b}")),
        }
    }
    format!("\x1b[{}m", numbers.join(";")).into_bytes()
}
