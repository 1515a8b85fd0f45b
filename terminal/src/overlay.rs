//! Something that is drawn over the screen and is none of the program's output, and is taken back without a trace: for a view
//! that shows what is typed before the program does.

use crate::cell::Cell;
use crate::charset::Charset;
use crate::modes::bit;
use crate::row::double;
use crate::snapshot::Writer;
use crate::style::{Style, attr};
use crate::terminal::Terminal;

/// How a cell looks: to be compared, and to be drawn again.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Look(Style);

/// What a cell shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Glyph {
    /// Its character; none: it is blank, or more than one code point.
    pub char: Option<char>,
    /// It can be drawn over: it is one column wide, one code point at the most, and not in the last column, which decides
    /// whether a row goes on in the next.
    pub simple: bool,
    /// How it looks.
    pub look: Look,
}

/// A cell of an overlay.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Over {
    /// Column and row, from 0.
    pub at: (u16, u16),
    /// What it shows, one column wide.
    pub char: char,
    /// How it looks.
    pub look: Look,
    /// It is underlined, whatever it looks like.
    pub underlined: bool,
}

impl Terminal {
    /// May something be drawn over the screen now? Not in the middle of a sequence, nor past the last column, nor in a mode that
    /// makes another thing of plain text and of places: left and right margins, a scroll region, origin and insert mode, no
    /// wrapping, another character set.
    pub fn takes_overlay(&self) -> bool {
        let (m, s) = (&self.state, self.state.screen_ref());
        let sets = &m.cursor.charsets;
        let odd = bit::ORIGIN | bit::INSERT | bit::MARGINS | bit::NEWLINE;
        self.parser.tail().is_empty()
            && !m.cursor.pending
            && !m.modes.has(odd)
            && m.modes.has(bit::AUTOWRAP)
            && (s.top, s.bottom) == (0, m.size.rows - 1)
            && sets.single.is_none()
            && sets.g[usize::from(sets.gl & 3)] == Charset::Ascii
            && s.rows[usize::from(m.cursor.y)].double == double::SINGLE
    }

    /// What the cell at this column and row shows; outside of the screen: nothing that can be drawn over.
    pub fn glyph(&self, col: u16, row: u16) -> Glyph {
        let cell = self.cell(col, row);
        let last = col + 1 >= self.state.size.cols;
        cell.map_or_else(Glyph::default, |cell| Glyph {
            char: cell.char(),
            simple: !(last || cell.is_wide() || cell.is_spacer() || cell.cluster().is_some()),
            look: Look(cell.style),
        })
    }

    /// How what is written next looks.
    pub fn pen(&self) -> Look {
        Look(self.state.cursor.pen)
    }

    fn cell(&self, col: u16, row: u16) -> Option<Cell> {
        let row = self.state.screen_ref().rows.get(usize::from(row))?;
        row.cells.get(usize::from(col)).copied()
    }

    /// Appends what draws `cells` on a terminal that shows this screen, and puts its cursor at `cursor`. Only where
    /// [`Self::takes_overlay`], and over simple cells; before any more of the output it is to be taken back.
    pub fn draw_over(&self, cells: &[Over], cursor: (u16, u16), out: &mut Vec<u8>) {
        let mut w = Writer::at(&self.state, out);
        let mut next = None;
        for over in cells {
            if next != Some(over.at) {
                w.go(over.at.0, over.at.1);
            }
            let mut style = over.look.0;
            if over.underlined {
                style.attrs = style.attrs & !attr::UNDERLINE | 1 << attr::UNDERLINE_SHIFT;
            }
            w.character(over.char, style);
            next = Some((over.at.0 + 1, over.at.1));
        }
        // What is written or taken back next looks as if nothing had been drawn.
        w.pen_of(&self.state);
        w.go(cursor.0, cursor.1);
    }

    /// Appends what draws these cells as they are, and brings cursor and pen to where they are.
    pub fn take_back(&self, cells: impl Iterator<Item = (u16, u16)>, out: &mut Vec<u8>) {
        let m = &self.state;
        let mut w = Writer::at(m, out);
        let mut next = None;
        for at in cells {
            let Some(cell) = self.cell(at.0, at.1) else { continue };
            if next != Some(at) {
                w.go(at.0, at.1);
            }
            let printed = w.as_it_is(cell);
            next = printed.then_some((at.0 + 1, at.1));
        }
        w.end_at_cursor(m);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Size;
    use proptest::prelude::*;

    fn terminal(bytes: &[u8]) -> Terminal {
        let mut terminal = Terminal::new(Size { cols: 10, rows: 4 }, 0);
        terminal.feed(bytes);
        terminal
    }

    /// What a terminal shows that was shown `bytes`, with an overlay in between.
    fn with_overlay(shown: &Terminal, over: &[Over], cursor: (u16, u16)) -> (Terminal, Terminal) {
        let (mut drawn, mut out) = (shown.clone(), Vec::new());
        shown.draw_over(over, cursor, &mut out);
        drawn.feed(&out);
        let mut back = drawn.clone();
        out.clear();
        shown.take_back(over.iter().map(|over| over.at), &mut out);
        back.feed(&out);
        (drawn, back)
    }

    #[test]
    fn what_is_drawn_is_seen_and_goes_without_a_trace() {
        let shown = terminal(b"$ ls\x1b[31mred\x1b[m\x1b[1m\x1b[44m");
        let look = shown.glyph(4, 0).look;
        let over = |col, char, underlined| Over { at: (col, 0), char, look, underlined };
        let (drawn, back) =
            with_overlay(&shown, &[over(6, 'x', false), over(7, 'y', true), over(8, 'ü', false)], (9, 0));
        assert_eq!(drawn.screen_text(0, false).lines().next(), Some("$ lsrexyü"));
        assert_eq!((drawn.cursor(), drawn.glyph(6, 0).look), ((9, 0), look));
        assert_ne!(drawn.glyph(7, 0).look, look);
        assert_eq!(back.dump(), shown.dump());
    }

    #[test]
    fn nothing_is_drawn_where_text_would_not_be_what_it_says() {
        for (bytes, takes) in [
            (&b"$ "[..], true),
            (b"0123456789", false),
            (b"$ \x1b[3", false),
            (b"$ \xe6\xbc", false),
            (b"\x1b[2;3r", false),
            (b"\x1b[4h", false),
            (b"\x1b[?6h", false),
            (b"\x1b[?7l", false),
            (b"\x1b[?69h", false),
            (b"\x0e", true),
            (b"\x1b(0", false),
            (b"\x1b#6", false),
            (b"\x1b]0;title", false),
        ] {
            assert_eq!(terminal(bytes).takes_overlay(), takes, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn what_can_be_drawn_over_is_one_column_wide() {
        let shown = terminal("a漢e\u{301} ".as_bytes());
        let glyphs = (0..6).map(|col| (shown.glyph(col, 0).char, shown.glyph(col, 0).simple));
        let glyphs: Vec<_> = glyphs.collect();
        assert_eq!(
            glyphs,
            [
                (Some('a'), true),
                (Some('漢'), false),
                (None, false),
                (None, false),
                (Some(' '), true),
                (None, true)
            ]
        );
        assert!(!shown.glyph(10, 0).simple && !shown.glyph(0, 4).simple);
    }

    proptest! {
        /// Whatever a program wrote before and writes after, it makes no difference that something was drawn in between.
        #[test]
        fn an_overlay_leaves_no_trace(
            before in prop::collection::vec(prop::sample::select(vec![
                "a", "b ", "漢", "e\u{301}", "\r\n", "\x1b[31m", "\x1b[0m", "\x1b[7;4m", "\x1b[2;3H", "\x1b[K", "\x1b[1;9H",
                "\x1b[44m\x1b[J", "\x1b]8;;http://x\x1b\\", "\x1b]8;;\x1b\\", "\x1b7", "\x1b[?25l", "\t", "\x1b[?1049h",
            ]), 0..30),
            after in prop::sample::select(vec!["x", "\u{301}", "\x1b[3b", "\x1b8y", "\r\nz", "\x1b[Kq", "漢"]),
            cells in prop::collection::vec((0u16..10, 0u16..4), 0..6),
            underlined in any::<bool>(),
            cursor in (0u16..10, 0u16..4),
        ) {
            let mut shown = terminal(before.concat().as_bytes());
            if shown.takes_overlay() {
                let simple = |at: &(u16, u16)| shown.glyph(at.0, at.1).simple;
                let over: Vec<Over> = cells.into_iter().filter(simple)
                    .map(|at| Over { at, char: 'o', look: shown.glyph(at.1, 0).look, underlined: underlined ^ (at.0 % 2 == 0) }).collect();
                let (_, mut back) = with_overlay(&shown, &over, cursor);
                prop_assert_eq!(back.screen_ansi(0, false), shown.screen_ansi(0, false));
                back.feed(after.as_bytes());
                shown.feed(after.as_bytes());
                prop_assert_eq!(back.dump(), shown.dump());
            }
        }
    }
}
