//! Rows of the scrollback and of a screen, with what goes on from one to the next.

use crate::cell::{Cell, Clusters};
use crate::measure::Traits;
use crate::notes::Notes;
use crate::resize::rewrap;
use crate::row::double;
use crate::screen::Screen;
use crate::scrollback::{self, Runs};
use crate::style::{Color, ExtTable, Style};
use crate::terminal::Model;

use super::{MAX_SNAPSHOT_SCROLLBACK, Pen, Writer};

/// Cells of one line of the scrollback that are put together before it is written; a longer one is written in parts.
const MAX_LINE: usize = 1 << 16;

/// A regional indicator; two of them are a flag.
fn is_half_a_flag(cell: Cell) -> bool {
    matches!(cell.char(), Some('\u{1f1e6}'..='\u{1f1ff}'))
}

/// How a row that goes on in the next one ends.
#[derive(Clone)]
enum Edge {
    /// The cursor is past its last column.
    Past,
    /// Its last cell must be printed once more: column, look and text.
    Again(usize, Pen, Vec<u8>),
    /// Its last cell is blank.
    Blank(Style),
    /// Its last cell was left over for a wide character.
    Leftover(Style),
}

/// The text of a cell, so said that the cell becomes as wide as it is.
fn spelled(cell: Cell, clusters: &Clusters, traits: Traits, out: &mut Vec<u8>) {
    let mut single = ['\0'];
    let points = cell.points(clusters, &mut single);
    // Written as another terminal measured.
    let other = if points.len() > 1 || is_half_a_flag(cell) {
        traits.other_for(points, 1 + usize::from(cell.is_wide()))
    } else {
        None
    };
    if let Some(other) = other {
        out.extend_from_slice(&other.said());
    }
    cell.push_utf8(clusters, out);
    if other.is_some() {
        out.extend_from_slice(&traits.said());
    }
}

impl Writer<'_> {
    pub(super) fn primary(&mut self, m: &Model, lines: usize) {
        let skip = m.scrollback.len() - m.scrollback.newest_within(lines, MAX_SNAPSHOT_SCROLLBACK);
        let mut joined = false;
        if m.scrollback.len() > skip {
            let mut open = None;
            // Within the bound of the rows.
            let links = std::mem::replace(&mut self.links, usize::MAX);
            self.scrollback(m, skip, &mut open);
            self.links = links;
            // On to the screen's first row, and then everything above it off the top.
            let first = m.primary.rows[0].cells[0];
            joined = open.is_some();
            if let Some(edge) = open {
                self.next_row();
                self.overflow(edge, first);
            }
            self.style(Style::default());
            self.fmt(format_args!("\x1b[{}H", m.size.rows));
            for _ in 0..self.row {
                self.put(b"\n");
            }
            if self.saved_cursor {
                self.put(b"\x1b[H\x1b7");
            }
        }
        self.saved(&m.primary.saved);
        self.rows(&m.primary, joined);
    }

    /// Writes the newest `lines` rows of scrollback and puts them off the top of a terminal of so many rows.
    pub(crate) fn history(&mut self, m: &Model, lines: usize, rows: u16) {
        let skip = m.scrollback.len() - m.scrollback.newest_within(lines, MAX_SNAPSHOT_SCROLLBACK);
        if m.scrollback.len() == skip {
            return;
        }
        let mut open = None;
        self.height = rows;
        self.scrollback(m, skip, &mut open);
        if open.is_some() {
            self.put(b"\r\n");
            self.next_row();
        }
        self.style(Style::default());
        self.fmt(format_args!("\x1b[{rows}H"));
        for _ in 0..self.row {
            self.put(b"\n");
        }
    }

    fn next_row(&mut self) {
        self.row = (self.row + 1).min(self.height - 1);
    }

    /// Writes rows from the top left on. `open` is the end of the last one if it goes on.
    fn scrollback(&mut self, m: &Model, skip: usize, open: &mut Option<Edge>) {
        (self.row, self.row_is_sure) = (0, false);
        let mut line: Vec<Cell> = Vec::new();
        let mut ends = Vec::new();
        let mut notes: Vec<Notes> = Vec::new();
        let mut clusters = Clusters::default();
        let mut ext = ExtTable::default();
        let mut rows = m.scrollback.iter_from(skip);
        while let Some(row) = rows.next() {
            if open.is_none()
                && let Some(text) = scrollback::as_plain(row)
                && text.len() <= self.cols
            {
                self.style(Style::default());
                self.put(text);
                self.put(b"\r\n");
                self.next_row();
                continue;
            }
            // Anything else goes through cells, the whole line at once. It keeps its rows if they are of this width.
            line.clear();
            ends.clear();
            let cols = self.cols;
            let mut fits = true;
            notes.clear();
            notes.push(Notes::from_bytes(Runs::new(row).notes));
            scrollback::decode(row, &mut clusters, &mut ext, &mut line);
            let mut goes_on = scrollback::is_wrapped(row);
            ends.push(line.len());
            while goes_on
                && line.len() < MAX_LINE
                && let Some(next) = rows.next()
            {
                notes.push(Notes::from_bytes(Runs::new(next).notes));
                scrollback::decode(next, &mut clusters, &mut ext, &mut line);
                goes_on = scrollback::is_wrapped(next);
                ends.push(line.len());
            }
            let mut start = 0;
            for (i, end) in ends.iter().enumerate() {
                let n = end - start;
                let wrapped = goes_on || i + 1 < ends.len();
                // A column may have been left over for a wide character.
                fits &= if wrapped { n == cols || n + 1 == cols && cols > 1 } else { n <= cols };
                start = *end;
            }
            let mut inner = Writer {
                out: &mut *self.out,
                clusters: &clusters,
                ext: &ext,
                cols: self.cols,
                traits: self.traits,
                images: self.images,
                with_images: self.with_images,
                height: self.height,
                row: self.row,
                row_is_sure: false,
                printed: 0,
                pen: std::mem::take(&mut self.pen),
                shell: self.shell,
                links: self.links,
                saved_cursor: self.saved_cursor,
            };
            // Broken anew, all notes of a line are its first row's.
            if !fits {
                let (first, rest) = notes.split_at_mut(1);
                rest.iter().for_each(|more| first[0].join(more.bytes()));
                notes.truncate(1);
            }
            let mut notes = notes.drain(..);
            let mut emit = |part: &[Cell], more: bool| {
                let from = match open.take() {
                    Some(edge) => {
                        inner.next_row();
                        inner.overflow(edge, part.first().copied().unwrap_or_default())
                    }
                    None => 0,
                };
                inner.notes(&notes.next().unwrap_or_default());
                let pending = inner.cells(part, from);
                if more || goes_on {
                    *open = Some(inner.edge(part, pending));
                }
            };
            if fits {
                let mut start = 0;
                for (i, end) in ends.iter().enumerate() {
                    emit(&line[start..*end], i + 1 < ends.len());
                    start = *end;
                }
            } else {
                rewrap(&line, cols, None, &mut emit);
            }
            // Blanks that scroll in shall be default ones, and the tables are about to change.
            inner.style(Style::default());
            self.pen = std::mem::take(&mut inner.pen);
            self.shell = inner.shell;
            (self.row, self.saved_cursor) = (inner.row, inner.saved_cursor);
            if open.is_none() {
                self.put(b"\r\n");
                self.next_row();
            }
            clusters = Clusters::default();
            if ext.wants_sweep() {
                ext = ExtTable::default();
            }
        }
    }

    /// Writes cells into the cursor's row, where the cursor is at column `from`: blanks are skipped or erased, never
    /// printed. Says whether the cursor is surely past the last column in the end.
    fn cells(&mut self, cells: &[Cell], from: usize) -> bool {
        let mut x = from;
        // Where the target's cursor is, if it is known.
        let mut at = Some(from);
        while x < cells.len() {
            let c = cells[x];
            if c.is_leftover() {
                x += 1;
                continue;
            }
            if c.is_blank() {
                let n = cells[x..].iter().position(|d| *d != c).unwrap_or(cells.len() - x);
                if c.style != Style::default() {
                    if at != Some(x) {
                        self.fmt(format_args!("\x1b[{}G", x + 1));
                        at = Some(x);
                    }
                    self.style(c.style);
                    self.fmt(format_args!("\x1b[{n}X"));
                }
                x += n;
                continue;
            }
            if at != Some(x) {
                self.fmt(format_args!("\x1b[{}G", x + 1));
            }
            self.style(c.style);
            let mut sure = true;
            while sure && x < cells.len() && cells[x].style == c.style && !cells[x].is_blank() {
                let cell = cells[x];
                x += 1;
                if let Some(b) = cell.as_ascii() {
                    self.out.push(b);
                } else if !cell.is_spacer() {
                    self.spell(cell);
                    // Where terminals disagree on the width, say where the next one goes. Two halves of a flag are told
                    // apart by some only if nothing comes between them.
                    sure = crate::width::is_sure(cell.char());
                    x += usize::from(cell.is_wide()).min(cells.len() - x);
                    if self.traits.halves_flags()
                        && is_half_a_flag(cell)
                        && let Some(other) =
                            cells.get(x).filter(|c| c.style == cell.style && is_half_a_flag(**c))
                    {
                        other.push_utf8(self.clusters, self.out);
                        x += 1;
                    }
                }
            }
            at = if sure { Some(x) } else { None };
        }
        from < self.cols && at == Some(self.cols)
    }

    /// What [`Self::overflow`] needs to know of a row that is written up to `part`'s end.
    fn edge(&self, part: &[Cell], pending: bool) -> Edge {
        let cols = self.cols;
        let cell = |x: usize| part.get(x).copied().unwrap_or_default();
        let last = cell(cols - 1);
        if pending {
            Edge::Past
        } else if last.is_leftover() {
            Edge::Leftover(last.style)
        } else if part.len() + 1 == cols {
            // Broken before a wide character by `rewrap`.
            Edge::Leftover(Style::default())
        } else if last.is_blank() {
            Edge::Blank(last.style)
        } else {
            let x = cols - 1 - usize::from(last.is_spacer() && cols > 1);
            let mut text = Vec::new();
            spelled(cell(x), self.clusters, self.traits, &mut text);
            let style = cell(x).style;
            Edge::Again(x, Pen { style, ext: self.ext.get(style.ext).clone() }, text)
        }
    }

    /// Makes the target break the row it is in softly, by printing on past its last column. `next` is what the next row
    /// starts with; says how many columns of it are printed now, with the cursor behind them.
    fn overflow(&mut self, edge: Edge, next: Cell) -> usize {
        let cols = self.cols;
        match edge {
            Edge::Past => {}
            Edge::Again(x, mut pen, text) => {
                self.fmt(format_args!("\x1b[{}G", x + 1));
                if pen.style.ext != 0 {
                    // The number may be of another table.
                    pen.style.ext = u16::MAX;
                }
                self.pen_to(pen.style, pen.ext);
                self.put(&text);
            }
            Edge::Leftover(style) => {
                self.fmt(format_args!("\x1b[{cols}G"));
                if !next.is_wide() || next.style.erased() != style {
                    // Any wide character makes the target leave the column over.
                    self.style(style);
                    self.put("\u{3000}".as_bytes());
                    return self.clean_row();
                }
            }
            Edge::Blank(style) => {
                // The column takes a space for as long as it is needed to get past it.
                self.fmt(format_args!("\x1b[{cols}G"));
                self.style(style);
                self.put(b"  \x1b[A");
                self.fmt(format_args!("\x1b[{cols}G\x1b[X\x1b[B"));
                return self.clean_row();
            }
        }
        if next.is_blank() {
            self.style(Style::default());
            self.put(b" ");
            return self.clean_row();
        }
        self.print(next);
        if next.style.bg != Color::DEFAULT {
            return self.clean_row();
        }
        if next.is_wide() || !crate::width::is_sure(next.char()) {
            self.put(b"\r");
            return 0;
        }
        1
    }

    /// The row a break led to may be new, in the colour the break was printed in, and has a filler at its start: blanks
    /// all of it. Not by EL, which ends the break in some terminals.
    fn clean_row(&mut self) -> usize {
        self.style(Style::default());
        let cols = self.cols;
        self.fmt(format_args!("\r\x1b[{cols}X"));
        0
    }

    /// Prints one cell that is not blank.
    pub(super) fn print(&mut self, cell: Cell) {
        self.style(cell.style);
        self.spell(cell);
    }

    fn spell(&mut self, cell: Cell) {
        spelled(cell, self.clusters, self.traits, self.out);
    }

    /// The rows of a screen, each placed by its number; `open` if the row above the first goes on in it and the target
    /// knows. Rows that are blank are not written.
    pub(crate) fn rows(&mut self, s: &Screen, open: bool) {
        let mut open = open;
        let mut edge: Option<Edge> = None;
        for (y, row) in s.rows.iter().enumerate() {
            let content = row.content();
            let mut from = 0;
            (self.row, self.row_is_sure, self.printed) = (y as u16, true, 0);
            if let Some(edge) = edge.take() {
                from = self.overflow(edge, row.cells[0]);
                self.printed = from;
                self.notes(&row.notes);
            } else if !content.is_empty() || row.wrapped || !row.notes.is_empty() || row.double != 0 || open {
                self.fmt(format_args!("\x1b[{}H", y + 1));
                self.notes(&row.notes);
                if open && row.cells[0].is_blank() {
                    self.style(Style::default());
                    self.put(b"\x1b[X");
                }
            }
            open = false;
            let pending = self.cells(content, from);
            if row.wrapped && y + 1 < s.rows.len() {
                edge = Some(self.edge(&row.cells, pending));
            }
            if row.double != double::SINGLE {
                self.put(&[0x1b, b'#', b'0' + row.double]);
            }
        }
        self.style(Style::default());
    }
}
