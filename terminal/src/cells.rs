//! The screen as values and as text, row by row, for programs that read it: what `sessd capture` prints.

use crate::cell::{Cell, Clusters};
use crate::scrollback;
use crate::sgr::push_sgr;
use crate::style::{Color, ColorKind, ExtTable, Style, attr};
use crate::terminal::Terminal;

/// A colour that was asked for; none is the terminal's own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Colour {
    /// Of the palette.
    Palette(u8),
    /// Red, green, blue.
    Rgb(u8, u8, u8),
}

/// One cell with something in it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CellView {
    /// Its column, from 0.
    pub x: u16,
    /// What is written in it; a space where it is only coloured.
    pub text: String,
    /// Columns that it takes, 1 or 2.
    pub width: u8,
    /// Foreground.
    pub fg: Option<Colour>,
    /// Background.
    pub bg: Option<Colour>,
    /// Words such as `bold`, `underline`, `inverse`.
    pub attributes: Vec<&'static str>,
    /// Where its hyperlink leads.
    pub link: Option<String>,
}

/// One row.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RowView {
    /// Cells up to the last with something in it, without the blank ones in the default style.
    pub cells: Vec<CellView>,
    /// Its text goes on in the next row: it was broken by the right margin.
    pub wrapped: bool,
}

/// A row as it is held, whichever of the two holds it.
struct Held<'a> {
    cells: &'a [Cell],
    clusters: &'a Clusters,
    ext: &'a ExtTable,
    wrapped: bool,
}

impl Held<'_> {
    /// Up to the last cell that shows something.
    fn shown(&self, with_style: bool) -> &[Cell] {
        let shows = |c: &Cell| {
            let empty = c.is_blank() || c.as_ascii() == Some(b' ');
            !empty || (with_style && c.style != Style::default())
        };
        let end = self.cells.iter().rposition(shows).map_or(0, |i| i + 1);
        &self.cells[..end]
    }

    fn push_text(&self, cells: &[Cell], out: &mut String) {
        let mut bytes = Vec::new();
        for cell in cells.iter().filter(|cell| !cell.is_leftover()) {
            if cell.is_blank() {
                bytes.push(b' ');
            } else {
                cell.push_utf8(self.clusters, &mut bytes);
            }
        }
        out.push_str(&String::from_utf8_lossy(&bytes));
    }
}

impl Terminal {
    /// Gives the newest `scrollback_lines` rows of scrollback, and then every row of the screen shown.
    fn each_row(&self, scrollback_lines: usize, mut give: impl FnMut(&Held<'_>)) {
        let m = &self.state;
        if m.alternate.is_none() {
            let skip = m.scrollback.len().saturating_sub(scrollback_lines);
            let mut cells = Vec::new();
            for row in m.scrollback.iter_from(skip) {
                cells.clear();
                let (mut clusters, mut ext) = (Clusters::default(), ExtTable::default());
                scrollback::decode(row, &mut clusters, &mut ext, &mut cells);
                let wrapped = scrollback::is_wrapped(row);
                give(&Held { cells: &cells, clusters: &clusters, ext: &ext, wrapped });
            }
        }
        for row in &m.screen_ref().rows {
            give(&Held { cells: row.content(), clusters: &m.clusters, ext: &m.ext, wrapped: row.wrapped });
        }
    }

    /// The newest `scrollback_lines` rows of scrollback and then all rows of the screen shown, one line each: blanks at their
    /// ends are cut, blank rows are not. `join`: rows that the right margin broke are one line.
    pub fn screen_text(&self, scrollback_lines: usize, join: bool) -> String {
        let mut out = String::new();
        self.each_row(scrollback_lines, |row| {
            let joined = join && row.wrapped;
            row.push_text(if joined { row.cells } else { row.shown(false) }, &mut out);
            if !joined {
                out.push('\n');
            }
        });
        out
    }

    /// As [`Self::screen_text`] with `join`, but for the blanks at a line's end: those that are known to be written are kept, and
    /// those before the cursor, as behind a prompt.
    pub fn written_text(&self, scrollback_lines: usize) -> String {
        let mut rows: Vec<(String, bool)> = Vec::new();
        self.each_row(scrollback_lines, |row| {
            let mut text = String::new();
            row.push_text(row.cells, &mut text);
            rows.push((text, row.wrapped));
        });
        let (x, y) = self.cursor();
        let screen = usize::from(self.size().rows).min(rows.len());
        let at = rows.len() - screen + usize::from(y).min(screen.saturating_sub(1));
        if let Some((text, _)) = rows.get_mut(at) {
            let columns =
                self.state.screen_ref().rows.get(usize::from(y)).map_or(0, |row| row.content().len());
            text.extend(std::iter::repeat_n(' ', usize::from(x).saturating_sub(columns)));
        }
        let mut out = String::new();
        for (text, wrapped) in rows {
            out.push_str(&text);
            if !wrapped {
                out.push('\n');
            }
        }
        out
    }

    /// As [`Self::screen_text`], with SGR sequences for colours and attributes; each line ends in the default style.
    pub fn screen_ansi(&self, scrollback_lines: usize, join: bool) -> Vec<u8> {
        let mut out = Vec::new();
        self.each_row(scrollback_lines, |row| {
            let joined = join && row.wrapped;
            let underline = |s: Style| row.ext.get(s.ext).underline;
            let bare = |s: Style| Style { ext: if underline(s) == Color::DEFAULT { 0 } else { s.ext }, ..s };
            let mut style = Style::default();
            let cells = if joined { row.cells } else { row.shown(true) };
            for cell in cells.iter().filter(|cell| !cell.is_leftover()) {
                if bare(cell.style) != style {
                    style = bare(cell.style);
                    push_sgr(&mut out, style, underline(style));
                }
                if cell.is_blank() {
                    out.push(b' ');
                } else {
                    cell.push_utf8(row.clusters, &mut out);
                }
            }
            if style != Style::default() {
                out.extend_from_slice(b"\x1b[m");
            }
            if !joined {
                out.push(b'\n');
            }
        });
        out
    }

    /// The same rows as values.
    pub fn screen_rows(&self, scrollback_lines: usize) -> Vec<RowView> {
        let mut rows = Vec::new();
        self.each_row(scrollback_lines, |row| {
            let mut cells = Vec::new();
            for (x, cell) in row.shown(true).iter().enumerate() {
                if cell.is_spacer()
                    || cell.is_leftover()
                    || (cell.is_blank() && cell.style == Style::default())
                {
                    continue;
                }
                let mut text = String::new();
                row.push_text(std::slice::from_ref(cell), &mut text);
                cells.push(CellView {
                    x: x as u16,
                    text,
                    width: if cell.is_wide() { 2 } else { 1 },
                    fg: colour(cell.style.fg),
                    bg: colour(cell.style.bg),
                    attributes: attributes(cell.style.attrs),
                    link: row.ext.get(cell.style.ext).link.as_ref().map(|link| link.uri.clone()),
                });
            }
            rows.push(RowView { cells, wrapped: row.wrapped });
        });
        rows
    }
}

fn colour(colour: Color) -> Option<Colour> {
    match colour.kind() {
        ColorKind::Default => None,
        ColorKind::Ansi(index) | ColorKind::Indexed(index) => Some(Colour::Palette(index)),
        ColorKind::Rgb(r, g, b) => Some(Colour::Rgb(r, g, b)),
    }
}

fn attributes(bits: u16) -> Vec<&'static str> {
    let simple = [
        (attr::BOLD, "bold"),
        (attr::DIM, "dim"),
        (attr::ITALIC, "italic"),
        (attr::UNDERLINE, "underline"),
        (attr::BLINK | attr::RAPID, "blink"),
        (attr::INVERSE, "inverse"),
        (attr::HIDDEN, "hidden"),
        (attr::STRIKE, "strike"),
        (attr::OVERLINE, "overline"),
    ];
    simple.iter().filter(|(bit, _)| bits & bit != 0).map(|(_, word)| *word).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Size;

    fn term(bytes: &str) -> Terminal {
        let mut t = Terminal::new(Size { cols: 10, rows: 4 }, 100);
        t.feed(bytes.as_bytes());
        t
    }

    #[test]
    fn a_capture_has_every_row_and_no_blanks_behind_them() {
        let t = term("a  \r\n\r\n b\x1b[41m  \x1b[m");
        assert_eq!(t.screen_text(0, false), "a\n\n b\n\n");
        assert_eq!(String::from_utf8(t.screen_ansi(0, false)).unwrap(), "a\n\n b\x1b[0;41m  \x1b[m\n\n");
    }

    #[test]
    fn what_the_margin_broke_is_joined_when_asked_for() {
        let t = term("0123456789abc\r\nx\r\ny\r\nz");
        assert_eq!(t.screen_text(0, false), "abc\nx\ny\nz\n");
        assert_eq!(t.screen_text(1, false), "0123456789\nabc\nx\ny\nz\n");
        assert_eq!(t.screen_text(usize::MAX, true), "0123456789abc\nx\ny\nz\n");
        // A wide character that found no room in its row left nothing behind.
        assert_eq!(term("012345678漢").screen_text(0, true), "012345678漢\n\n\n");
        // Blanks within a line that was broken are part of it.
        assert_eq!(term("012345678 x").screen_text(0, true), "012345678 x\n\n\n");
    }

    #[test]
    fn the_blank_behind_a_prompt_is_part_of_what_was_written() {
        for (bytes, want) in [
            ("$ ", "$ \n\n\n\n"),
            // As a screen that is drawn anew has it: the cursor was put there.
            ("$\x1b[3G", "$ \n\n\n\n"),
            ("漢\x1b[5G", "漢  \n\n\n\n"),
            ("a  \r\n$ ", "a  \n$ \n\n\n"),
            ("$ ls\x1b[3G", "$ ls\n\n\n\n"),
            ("012345678 x y", "012345678 x y\n\n\n"),
            ("\x1b[?1049h\x1b[Hname? ", "name? \n\n\n\n"),
        ] {
            assert_eq!(term(bytes).written_text(0), want, "{bytes:?}");
        }
        assert_eq!(term("1\r\n2\r\n3\r\n4\r\n5 ").written_text(1), "1\n2\n3\n4\n5 \n");
    }

    #[test]
    fn the_alternate_screen_has_no_scrollback() {
        let t = term("1\r\n2\r\n3\r\n4\r\n5\x1b[?1049h\x1b[Hvim");
        assert_eq!(t.screen_text(usize::MAX, false), "vim\n\n\n\n");
    }

    #[test]
    fn cells_say_what_they_show_and_how() {
        let t = term("a\x1b[1;38;2;1;2;3mé\u{301}\x1b[m 漢\x1b[44m \x1b[m");
        let rows = t.screen_rows(0);
        assert_eq!(rows.len(), 4);
        let cell = |at: usize| rows[0].cells[at].clone();
        assert_eq!(cell(0), CellView { x: 0, text: "a".into(), width: 1, ..CellView::default() });
        assert_eq!((cell(1).text.as_str(), cell(1).fg), ("é\u{301}", Some(Colour::Rgb(1, 2, 3))));
        assert_eq!(cell(1).attributes, ["bold"]);
        let wide = rows[0].cells.iter().find(|c| c.width == 2).unwrap();
        assert_eq!((wide.x, wide.text.as_str()), (3, "漢"));
        let last = rows[0].cells.last().unwrap();
        assert_eq!((last.x, last.text.as_str(), last.bg), (5, " ", Some(Colour::Palette(4))));
    }
}
