//! What terminals make of clusters of code points, and how large their cells are.
//!
//! By default each code point has the cells that [`crate::width`] gives it. Some terminals give a cluster those of the whole: kitty
//! always does, Ghostty and others by their mode 2027. What a program writes lands where the terminal puts it, so the model does
//! as the terminal of whoever leads. That terminal is asked once, by [`Traits::PROBES`]; what it is like comes to the model as a part
//! of the stream ([`Traits::said`]), so that every copy of the model knows it from the same byte on.

use unicode_width::UnicodeWidthStr as _;

use crate::cell::Cell;
use crate::modes::bit;
use crate::terminal::Model;

/// Number of the OSC by which the model is told; nobody has given it a meaning.
pub(crate) const OSC: u16 = 9998;

/// What a terminal is like.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Traits {
    /// What it makes of clusters, by bits: see [`Self::measured`].
    pub clusters: u8,
    /// Width and height of a cell in pixels; 0: not known.
    pub cell: (u16, u16),
}

/// VS16 makes the character before it wide.
const SELECTOR: u8 = 1;
/// A skin tone joins the emoji before it.
const MODIFIER: u8 = 1 << 1;
/// What follows a ZWJ joins what is before it.
const JOINER: u8 = 1 << 2;
/// A regional indicator is wide.
const FLAG_WIDE: u8 = 1 << 3;
/// Two of them are one flag.
const FLAG_PAIR: u8 = 1 << 4;

fn is_indicator(c: char) -> bool {
    matches!(c, '\u{1f1e6}'..='\u{1f1ff}')
}

/// About Unicode's Extended_Pictographic: what ZWJ and skin tones join.
fn is_pictographic(c: char) -> bool {
    matches!(c as u32, 0xa9 | 0xae | 0x203c | 0x2049 | 0x2122 | 0x2139 | 0x2190..0x2500 | 0x25a0..0x2c00
        | 0x3030 | 0x303d | 0x3297 | 0x3299 | 0x1f000..0x1f1e6 | 0x1f200..0x1f3fb | 0x1f400..0x1fb00)
}

impl Traits {
    /// What is printed at the start of a line, each by itself, to see where the cursor is after it.
    pub const PROBES: [&str; 4] = ["\u{2764}\u{fe0f}", "👩🏽", "👩\u{200d}🌾", "🇩🇪🇫"];

    /// From the columns that the cursor was in after each of [`Self::PROBES`], from 0. What is none of the known answers is taken as
    /// the default.
    #[must_use]
    pub fn measured(self, columns: [u16; 4]) -> Self {
        let [selector, modifier, joiner, flags] = columns;
        let one = |columns: u16, bit: u8| if columns == 2 { bit } else { 0 };
        let flags = match flags {
            4 => FLAG_WIDE | FLAG_PAIR,
            6 => FLAG_WIDE,
            _ => 0,
        };
        Self {
            clusters: one(selector, SELECTOR) | one(modifier, MODIFIER) | one(joiner, JOINER) | flags,
            ..self
        }
    }

    /// How a model is told.
    pub fn said(self) -> Vec<u8> {
        format!("\x1b]{OSC};traits={},{},{}\x1b\\", self.clusters, self.cell.0, self.cell.1).into_bytes()
    }

    /// The body of that.
    pub(crate) fn parse(rest: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(rest).ok()?.strip_prefix("traits=")?;
        let mut numbers = text.split(',').map(|n| n.parse::<u16>().ok());
        let (clusters, width, height) = (numbers.next()??, numbers.next()??, numbers.next()??);
        let clusters = u8::try_from(clusters).ok()?;
        numbers.next().is_none().then_some(Self { clusters, cell: (width.min(256), height.min(256)) })
    }

    /// Columns of a character by itself.
    pub(crate) fn width(self, c: char) -> usize {
        if self.clusters & FLAG_WIDE != 0 && is_indicator(c) { 2 } else { crate::width::of(c) }
    }

    /// Whether `c` joins what is in the cell before it, which is not empty, and whether that is wide then if it was not.
    fn joined(self, cluster: &[char], c: char) -> Option<bool> {
        let on = |bit: u8| self.clusters & bit != 0;
        let first = cluster[0];
        match c {
            '\u{fe0f}' if on(SELECTOR) && cluster.len() == 1 => {
                // Of what has two presentations, and of nothing else, two columns are made.
                let wide = [first, c].iter().collect::<String>().width() == 2;
                wide.then_some(true)
            }
            '\u{1f3fb}'..='\u{1f3ff}' => (on(MODIFIER) && is_pictographic(first)).then_some(false),
            _ if is_indicator(c) => {
                (on(FLAG_PAIR) && cluster.len() == 1 && is_indicator(first)).then_some(true)
            }
            _ => {
                let after = on(JOINER) && cluster.last() == Some(&'\u{200d}');
                (after && is_pictographic(first) && is_pictographic(c)).then_some(false)
            }
        }
    }

    /// Columns of a whole cluster, printed at once; `None`: it does not stay one.
    pub(crate) fn printed(self, cluster: &[char]) -> Option<usize> {
        let mut width = self.width(*cluster.first()?);
        for (n, c) in cluster.iter().enumerate().skip(1) {
            match self.joined(&cluster[..n], *c) {
                Some(true) => width = 2,
                Some(false) => {}
                None if crate::width::of(*c) == 0 => {}
                None => return None,
            }
        }
        Some(width)
    }

    /// By which traits a cell with these code points comes to be so wide, if not by these.
    pub(crate) fn other_for(self, cluster: &[char], width: usize) -> Option<Self> {
        if self.printed(cluster) == Some(width) {
            return None;
        }
        let all = SELECTOR | MODIFIER | JOINER | FLAG_WIDE | FLAG_PAIR;
        let others = [0, all, FLAG_WIDE, all & !FLAG_WIDE].map(|clusters| Self { clusters, ..self });
        others.into_iter().find(|other| other.printed(cluster) == Some(width))
    }

    /// Whether two halves of a flag are two cells.
    pub(crate) fn halves_flags(self) -> bool {
        self.clusters & (FLAG_WIDE | FLAG_PAIR) == 0
    }
}

/// Whether a row that is kept as text must say how wide this cell is.
pub(crate) fn is_own_width(first: char, rest: &[char], wide: bool) -> bool {
    (is_indicator(first) || !rest.is_empty()) && {
        wide != (crate::width::of(first) == 2) || rest.iter().any(|c| crate::width::of(*c) > 0)
    }
}

impl Model {
    /// Printing `c`: whether it joined the character printed last.
    pub(crate) fn join(&mut self, c: char) -> bool {
        let (x, y) = (self.cursor.x, usize::from(self.cursor.y));
        if self.last.is_none() {
            return false;
        }
        let Some(mut at) = (if self.cursor.pending { Some(x) } else { x.checked_sub(1) }).map(usize::from)
        else {
            return false;
        };
        let row = &self.screen_ref().rows[y];
        if row.cells[at].is_spacer() && at > 0 {
            at -= 1;
        }
        let cell = row.cells[at];
        let mut single = ['\0'];
        let cluster = cell.points(&self.clusters, &mut single);
        if cluster.is_empty() {
            return false;
        }
        let Some(wide) = self.traits.joined(cluster, c) else { return false };
        self.combine(&[c]);
        let limit = usize::from(self.limit());
        if wide && !cell.is_wide() && at + 2 <= limit && !self.cursor.pending {
            self.widen(at, limit);
        }
        true
    }

    /// The narrow cell before the cursor gets a second half.
    fn widen(&mut self, at: usize, limit: usize) {
        if self.modes.has(bit::INSERT) {
            self.insert_cells(1);
        }
        let autowrap = self.modes.has(bit::AUTOWRAP);
        let row = self.cursor_row();
        row.split_wide(at + 1, at + 2);
        let style = row.cells[at].style;
        row.cells[at].set_wide();
        row.cells[at + 1] = Cell::spacer(style);
        row.touch(at + 2, false);
        if at + 2 >= limit {
            self.cursor.x = limit as u16 - 1;
            self.cursor.pending = autowrap;
        } else {
            self.cursor.x = (at + 2) as u16;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Size, SnapshotOptions, Terminal};

    const ALL: Traits = Traits { clusters: 31, cell: (0, 0) };

    #[test]
    fn what_a_terminal_answered_is_what_it_is_like() {
        let measured = |columns| Traits::default().measured(columns).clusters;
        assert_eq!(measured([1, 4, 4, 3]), 0, "xterm");
        assert_eq!(measured([2, 2, 2, 4]), 31, "Ghostty, newer kitty");
        assert_eq!(measured([2, 2, 4, 4]), SELECTOR | MODIFIER | FLAG_WIDE | FLAG_PAIR, "older kitty");
        assert_eq!(measured([1, 4, 4, 6]), FLAG_WIDE, "Ghostty without its mode 2027");
        assert_eq!(measured([0, 79, 3, 5]), 0, "what nobody expects");
        let traits = Traits { clusters: 5, cell: (9, 18) };
        let said = traits.said();
        assert_eq!(Traits::parse(&said[b"\x1b]9998;".len()..said.len() - 2]), Some(traits));
        for wrong in ["", "traits=", "traits=1", "traits=300,1,1", "traits=1,2,3,4", "traits=-1,0,0"] {
            assert_eq!(Traits::parse(wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn clusters_have_the_columns_of_the_terminal_that_leads() {
        for (text, alone, all) in [
            ("🧑\u{200d}🌾", 4, 2),
            ("👩🏽", 4, 2),
            ("🇩🇪", 2, 2),
            ("🇩🇪🇫🇷", 4, 4),
            ("🇩🇪🇫", 3, 4),
            ("🇩x", 2, 3),
            ("\u{2764}\u{fe0f}", 1, 2),
            ("1\u{fe0f}\u{20e3}", 1, 2),
            ("a\u{fe0f}", 1, 1),
            ("e\u{301}", 1, 1),
            ("a🏽", 3, 3),
            ("漢🏽", 4, 4),
            ("👩\u{200d}\u{2764}\u{fe0f}\u{200d}👨", 5, 2),
            ("👨\u{200d}👩\u{200d}👧\u{200d}👦", 8, 2),
            ("a\u{200d}b", 2, 2),
            ("漢字", 4, 4),
        ] {
            for (traits, columns) in [(Traits::default(), alone), (ALL, all)] {
                let mut t = Terminal::new(Size { cols: 20, rows: 3 }, 10);
                t.feed(&traits.said());
                t.feed(text.as_bytes());
                assert_eq!(t.cursor().0, columns, "{text} {traits:?}");
                let cells = text.chars().collect::<Vec<_>>();
                if traits == ALL && columns == 2 && alone != all {
                    assert_eq!(traits.printed(&cells), Some(2), "{text}");
                }
                // However it is cut, and after a snapshot, on the screen and where it scrolled away; with what comes then.
                let mut cut = Terminal::new(Size { cols: 20, rows: 3 }, 10);
                cut.feed(&traits.said());
                text.as_bytes().iter().for_each(|b| cut.feed(&[*b]));
                assert_eq!(cut.dump(), t.dump(), "{text}");
                for more in ["", "\u{200d}🌾x", "🏽", "🇪", "\r\n1\r\n2\r\n3"] {
                    t.feed(more.as_bytes());
                    let mut said = Vec::new();
                    let all = SnapshotOptions { scrollback_lines: usize::MAX, ..SnapshotOptions::default() };
                    t.snapshot(all, &mut said);
                    let mut again = Terminal::new(Size { cols: 20, rows: 3 }, 10);
                    again.feed(&said);
                    assert_eq!(again.dump(), t.dump(), "{text} and {more:?}");
                }
            }
        }
    }

    #[test]
    fn what_was_written_before_another_terminal_led_stays_as_it_is() {
        let text = "🧑\u{200d}🌾|👩🏽|🇩🇪|\u{2764}\u{fe0f}|1\u{fe0f}\u{20e3}|\r\n";
        for (first, then) in [(ALL, Traits::default()), (Traits::default(), ALL)] {
            let mut t = Terminal::new(Size { cols: 40, rows: 2 }, 10);
            t.feed(&first.said());
            t.feed(text.repeat(2).as_bytes());
            t.feed(&then.said());
            t.feed(text.as_bytes());
            let mut said = Vec::new();
            t.snapshot(SnapshotOptions { scrollback_lines: 9, ..SnapshotOptions::default() }, &mut said);
            let mut again = Terminal::new(Size { cols: 40, rows: 2 }, 10);
            again.feed(&said);
            assert_eq!(again.dump(), t.dump(), "{first:?} {then:?}");
            // Broken anew.
            t.resize(Size { cols: 5, rows: 4 });
            again.resize(Size { cols: 5, rows: 4 });
            assert_eq!(again.dump(), t.dump(), "narrow: {first:?} {then:?}");
        }
    }

    #[test]
    fn a_cluster_at_the_margin_stays_there() {
        let mut t = Terminal::new(Size { cols: 4, rows: 3 }, 10);
        t.feed(&ALL.said());
        t.feed("abc\u{2764}\u{fe0f}x".as_bytes());
        assert_eq!(t.cursor(), (1, 1));
        t.feed("\x1b[Hab\u{2764}\u{fe0f}y".as_bytes());
        assert_eq!(t.cursor(), (1, 1));
        t.feed("\x1b[H\x1b[4habc\x1b[H\u{2764}\u{fe0f}".as_bytes());
        assert_eq!(t.cursor(), (2, 0));
        let mut said = Vec::new();
        t.snapshot(SnapshotOptions::default(), &mut said);
        let mut again = Terminal::new(Size { cols: 4, rows: 3 }, 10);
        again.feed(&said);
        assert_eq!(again.dump(), t.dump());
    }
}
