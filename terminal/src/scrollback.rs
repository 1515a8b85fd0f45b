//! Rows that left the screen: UTF-8 and style runs instead of cells, in chunks, bounded by lines and by bytes.
//!
//! A row is: a head byte ([`WRAPPED`], [`STYLED`], [`MARKED`]), its notes if any, then text. Text is UTF-8 in which NUL
//! is an erased cell and 0x01 with a count is a run of them; 0x02 with a width and a count is before the code points of a cell that has not their
//! width; no other control can occur. A styled row is a list of
//! runs: length of the text, style, text.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::cell::{Cell, Clusters};
use crate::measure::is_own_width;
use crate::row::Row;
use crate::style::{Color, ColorKind, Ext, ExtTable, Hyperlink, Style, attr};

/// Bytes the scrollback of one terminal may take, its bookkeeping included.
pub const MAX_SCROLLBACK_BYTES: usize = 4 << 20;
/// Bytes of links in one row; what is linked past that is kept without its link. A row of cells in turn linked to two long
/// addresses would else be larger than the whole scrollback may be.
const MAX_ROW_LINKS: usize = 64 << 10;
/// Bytes after which a new chunk is started.
const CHUNK: usize = 32 << 10;

const WRAPPED: u8 = 1;
const STYLED: u8 = 2;
const MARKED: u8 = 4;
/// Stands in the text before the count of a run of erased cells.
const BLANKS: u8 = 1;
/// Stands before the width and the count of code points of a cell that is not as wide as they are by themselves.
const OWN_WIDTH: u8 = 2;

#[derive(Clone, Debug, Default)]
struct Chunk {
    bytes: Vec<u8>,
    /// Where each row starts.
    starts: Vec<u32>,
    /// Rows dropped from the front.
    gone: usize,
}

impl Chunk {
    fn rows(&self) -> usize {
        self.starts.len() - self.gone
    }
    fn row(&self, i: usize) -> &[u8] {
        let i = i + self.gone;
        let end = self.starts.get(i + 1).map_or(self.bytes.len(), |&e| e as usize);
        &self.bytes[self.starts[i] as usize..end]
    }
    fn heap(&self) -> usize {
        self.bytes.capacity() + self.starts.capacity() * 4
    }
}

/// See the head of this file.
#[derive(Clone, Debug)]
pub(crate) struct Scrollback {
    chunks: VecDeque<Chunk>,
    lines: usize,
    max_lines: usize,
    heap: usize,
    /// Rows that came since the start, without those that left again for the screen.
    total: u64,
    /// Rows that left again for a screen that grew, since the start.
    returned: u64,
    /// How many of the last of them have not come here again, as of when `total` was the second.
    out: (u64, u64),
    spare: Option<Chunk>,
    /// The text of one run while its row is encoded.
    scratch: Vec<u8>,
}

impl Scrollback {
    pub(crate) fn new(max_lines: usize) -> Self {
        Self {
            chunks: VecDeque::new(),
            lines: 0,
            max_lines,
            heap: 0,
            total: 0,
            returned: 0,
            out: (0, 0),
            spare: None,
            scratch: Vec::new(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.lines
    }

    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    pub(crate) fn clear(&mut self) {
        *self = Self { total: self.total, returned: self.returned, ..Self::new(self.max_lines) };
    }

    /// The screen took on another size: so many of its rows are from here, and so many went here. Before that, `out` of those
    /// that had left were out.
    pub(crate) fn resized(&mut self, left: u64, came: u64, out: u64) {
        self.returned += left.saturating_sub(came);
        self.out = ((out + left).saturating_sub(came), self.total);
    }

    /// How many rows went back to a screen that grew since the start, and how many of the last of them are still there.
    pub(crate) fn returned(&self) -> (u64, u64) {
        let (out, total) = self.out;
        (self.returned, out.saturating_sub(self.total.saturating_sub(total)))
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        self.heap + self.spare.as_ref().map_or(0, Chunk::heap)
    }

    /// Takes a row in; the oldest go where a bound is passed.
    pub(crate) fn push(&mut self, row: &Row, clusters: &Clusters, ext: &ExtTable) {
        if self.max_lines == 0 {
            return;
        }
        if self.chunks.back().is_none_or(|c| c.bytes.len() >= CHUNK) {
            let new = self.spare.take().unwrap_or_default();
            self.heap += new.heap();
            self.chunks.push_back(new);
        }
        let Some(chunk) = self.chunks.back_mut() else { return };
        let before = chunk.heap();
        chunk.starts.push(chunk.bytes.len() as u32);
        encode(row, clusters, ext, &mut self.scratch, &mut chunk.bytes);
        self.heap += chunk.heap() - before;
        self.lines += 1;
        self.total += 1;
        while self.lines > self.max_lines || (self.heap > MAX_SCROLLBACK_BYTES && self.lines > 1) {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        let Some(chunk) = self.chunks.front_mut() else { return };
        chunk.gone += 1;
        self.lines -= 1;
        if chunk.rows() == 0
            && let Some(mut chunk) = self.chunks.pop_front()
        {
            self.heap -= chunk.heap();
            if self.spare.is_none() && chunk.bytes.capacity() <= 2 * CHUNK {
                chunk.bytes.clear();
                chunk.starts.clear();
                chunk.gone = 0;
                self.spare = Some(chunk);
            }
        }
    }

    /// The newest row leaves again (the screen grew).
    pub(crate) fn pop(&mut self) -> Option<Vec<u8>> {
        let chunk = self.chunks.back_mut()?;
        let bytes = chunk.row(chunk.rows().checked_sub(1)?).to_vec();
        if let Some(start) = chunk.starts.pop() {
            chunk.bytes.truncate(start as usize);
        }
        self.lines -= 1;
        self.total -= 1;
        if chunk.rows() == 0 {
            self.heap -= chunk.heap();
            self.chunks.pop_back();
        }
        Some(bytes)
    }

    /// Whether the newest row goes on in the screen's first.
    pub(crate) fn last_is_wrapped(&self) -> bool {
        self.chunks.back().is_some_and(|c| c.rows() > 0 && is_wrapped(c.row(c.rows() - 1)))
    }

    /// Whether the newest row's text goes on in the screen's first row.
    pub(crate) fn set_last_wrapped(&mut self, wrapped: bool) {
        if let Some(c) = self.chunks.back_mut()
            && let Some(&s) = c.starts.last()
        {
            let head = &mut c.bytes[s as usize];
            *head = *head & !WRAPPED | if wrapped { WRAPPED } else { 0 };
        }
    }

    /// How many of the newest rows take up to `bytes` as escape sequences, at most `lines`.
    pub(crate) fn newest_within(&self, lines: usize, bytes: usize) -> usize {
        let mut left = bytes;
        let rows = self.chunks.iter().rev().flat_map(|c| (0..c.rows()).rev().map(|i| c.row(i)));
        rows.take(lines)
            .take_while(|row| match left.checked_sub(said_len(row)) {
                Some(room) => {
                    left = room;
                    true
                }
                None => false,
            })
            .count()
    }

    /// The encoded rows, oldest first, without the first `skip`.
    pub(crate) fn iter_from(&self, mut skip: usize) -> impl Iterator<Item = &[u8]> {
        self.chunks.iter().flat_map(move |c| {
            let first = skip.min(c.rows());
            skip -= first;
            (first..c.rows()).map(move |i| c.row(i))
        })
    }
}

pub(crate) fn is_wrapped(encoded: &[u8]) -> bool {
    encoded.first().is_some_and(|h| h & WRAPPED != 0)
}

/// The text of a row that has nothing but text, ready to be printed.
pub(crate) fn as_plain(encoded: &[u8]) -> Option<&[u8]> {
    match encoded {
        [0, text @ ..] if !text.iter().any(|&b| b < 0x20) => Some(text),
        _ => None,
    }
}

/// No fewer bytes than an encoded row takes as escape sequences, in its own rows or broken anew.
fn said_len(encoded: &[u8]) -> usize {
    /// `CSI n G`, and what else a place in a row may cost.
    const GO: usize = 8;
    if let Some(text) = as_plain(encoded) {
        return text.len() + 2;
    }
    let color = |c: Color| match c.kind() {
        ColorKind::Default => 0,
        ColorKind::Ansi(_) => 4,
        ColorKind::Indexed(_) => 9,
        ColorKind::Rgb(..) => 18,
    };
    // Its place, its marks, and how it is led on into the next one.
    let runs = Runs::new(encoded);
    let mut len = 160 + runs.notes.iter().map(|b| if *b == 0 { 8 } else { 1 }).sum::<usize>();
    for run in runs {
        let s = run.style;
        let attrs = 3 * s.attrs.count_ones() as usize + if s.attrs & attr::PROTECTED != 0 { 10 } else { 0 };
        len += 4 + color(s.fg) + color(s.bg) + color(run.ext.underline) + attrs;
        len += run.ext.link.map_or(0, |l| l.len() + 16);
        // Blanks are passed over or erased, and where terminals may disagree on a width the next place is said.
        let places = run.text.iter().filter(|b| **b < b' ' || **b >= 0xc0).count();
        // What a cell of its own width is said between.
        len += 64 * run.text.iter().filter(|b| **b == OWN_WIDTH).count();
        len += run.text.len() + places * (GO + if s.bg == Color::DEFAULT { 0 } else { GO });
    }
    len
}

/// Cells of an encoded row.
pub(crate) fn columns(encoded: &[u8]) -> usize {
    let mut columns = 0;
    for run in Runs::new(encoded) {
        let text = String::from_utf8_lossy(run.text);
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            columns += match c {
                '\0' => 1,
                '\u{1}' => chars.next().map_or(0, |c| c as usize),
                '\u{2}' => {
                    let (width, count) = (chars.next(), chars.next());
                    chars.by_ref().take(count.map_or(0, |c| c as usize)).for_each(|_| ());
                    width.map_or(0, |c| c as usize)
                }
                c => crate::width::of(c),
            };
        }
    }
    columns
}

fn varint(out: &mut Vec<u8>, mut n: usize) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

fn encode(row: &Row, clusters: &Clusters, ext: &ExtTable, text: &mut Vec<u8>, out: &mut Vec<u8>) {
    let head = if row.wrapped { WRAPPED } else { 0 } | if row.notes.is_empty() { 0 } else { MARKED };
    let at = out.len();
    out.push(head);
    if !row.notes.is_empty() {
        varint(out, row.notes.bytes().len());
        out.extend_from_slice(row.notes.bytes());
    }
    // A wrapped row keeps all its cells: how many they are tells at which width it was broken.
    let cells = if row.wrapped { &row.cells[..] } else { row.content() };
    if row.plain {
        let start = out.len();
        let mut blank = false;
        out.extend(cells.iter().map(|c| {
            let byte = c.low_byte();
            blank |= byte == 0;
            byte
        }));
        if blank {
            out.truncate(start);
            encode_text(cells, clusters, out);
        }
        return;
    }
    if cells.iter().all(|c| c.style == Style::default()) {
        encode_text(cells, clusters, out);
        return;
    }
    out[at] |= STYLED;
    let mut rest = cells;
    let mut links = Links { last: None, room: MAX_ROW_LINKS };
    while let Some(first) = rest.first() {
        let n = rest.iter().position(|c| c.style != first.style).unwrap_or(rest.len());
        text.clear();
        encode_text(&rest[..n], clusters, text);
        varint(out, text.len());
        encode_style(first.style, ext, &mut links, out);
        out.extend_from_slice(text);
        rest = &rest[n..];
    }
}

fn encode_text(cells: &[Cell], clusters: &Clusters, out: &mut Vec<u8>) {
    let mut i = 0;
    while i < cells.len() {
        let c = cells[i];
        i += 1;
        if c.is_leftover() {
            continue;
        }
        if !c.is_blank() {
            let mut single = ['\0'];
            if let [first, rest @ ..] = c.points(clusters, &mut single)
                && is_own_width(*first, rest, c.is_wide())
            {
                out.extend_from_slice(&[OWN_WIDTH, 1 + u8::from(c.is_wide()), 1 + rest.len() as u8]);
            }
            c.push_utf8(clusters, out);
            continue;
        }
        let mut n = 1;
        while n < 127 && i < cells.len() && cells[i].is_blank() && !cells[i].is_leftover() {
            n += 1;
            i += 1;
        }
        if n > 2 {
            out.extend_from_slice(&[BLANKS, n]);
        } else {
            out.resize(out.len() + usize::from(n), 0);
        }
    }
}

const FG: u8 = 1;
const BG: u8 = 2;
const ATTRS: u8 = 4;
const UNDERLINE: u8 = 8;
const LINK: u8 = 16;
const SAME_LINK: u8 = 32;

fn encode_color(c: Color, out: &mut Vec<u8>) {
    match c.kind() {
        ColorKind::Default => out.push(0),
        ColorKind::Ansi(i) => out.extend_from_slice(&[1, i]),
        ColorKind::Indexed(i) => out.extend_from_slice(&[2, i]),
        ColorKind::Rgb(r, g, b) => out.extend_from_slice(&[3, r, g, b]),
    }
}

/// The links of a row while it is encoded.
struct Links {
    last: Option<Arc<Hyperlink>>,
    room: usize,
}

fn encode_style(s: Style, ext: &ExtTable, links: &mut Links, out: &mut Vec<u8>) {
    let at = out.len();
    let mut flags = 0;
    out.push(0);
    if s.fg != Color::DEFAULT {
        flags |= FG;
        encode_color(s.fg, out);
    }
    if s.bg != Color::DEFAULT {
        flags |= BG;
        encode_color(s.bg, out);
    }
    if s.attrs != 0 {
        flags |= ATTRS;
        out.extend_from_slice(&s.attrs.to_le_bytes());
    }
    if s.ext != 0 {
        let e = ext.get(s.ext);
        if e.underline != Color::DEFAULT {
            flags |= UNDERLINE;
            encode_color(e.underline, out);
        }
        if let Some(l) = &e.link {
            if links.last.as_ref() == Some(l) {
                flags |= SAME_LINK;
            } else if let Some(room) = links.room.checked_sub(l.len()) {
                links.room = room;
                flags |= LINK;
                for s in [&l.id, &l.uri] {
                    varint(out, s.len());
                    out.extend_from_slice(s.as_bytes());
                }
                links.last = Some(Arc::clone(l));
            }
        }
    }
    out[at] = flags;
}

/// A run of text in one style, out of an encoded row.
pub(crate) struct Run<'a> {
    pub(crate) style: Style,
    pub(crate) ext: Ext,
    pub(crate) text: &'a [u8],
}

/// Walks over an encoded row. Only ever fed with what `encode` wrote, but total all the same.
pub(crate) struct Runs<'a> {
    rest: &'a [u8],
    styled: bool,
    link: Option<Arc<Hyperlink>>,
    /// As [`Notes::bytes`](crate::notes::Notes::bytes) gave them.
    pub(crate) notes: &'a [u8],
}

impl<'a> Runs<'a> {
    pub(crate) fn new(encoded: &'a [u8]) -> Self {
        let (head, rest) = encoded.split_first().map_or((0, encoded), |(h, r)| (*h, r));
        let mut runs = Self { rest, styled: head & STYLED != 0, link: None, notes: &[] };
        if head & MARKED != 0
            && let Some(length) = runs.number()
        {
            runs.notes = Self::take(&mut runs, length).unwrap_or_default();
        }
        runs
    }

    fn byte(&mut self) -> Option<u8> {
        let (b, r) = self.rest.split_first()?;
        self.rest = r;
        Some(*b)
    }

    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (a, b) = self.rest.split_at_checked(n)?;
        self.rest = b;
        Some(a)
    }

    fn number(&mut self) -> Option<usize> {
        let mut n = 0;
        for shift in (0..28).step_by(7) {
            let b = self.byte()?;
            n |= usize::from(b & 0x7f) << shift;
            if b < 0x80 {
                return Some(n);
            }
        }
        None
    }

    fn string(&mut self) -> Option<String> {
        let n = self.number()?;
        Some(String::from_utf8_lossy(self.take(n)?).into_owned())
    }

    fn color(&mut self) -> Option<Color> {
        Some(match self.byte()? {
            1 => Color::ansi(self.byte()?),
            2 => Color::indexed(self.byte()?),
            3 => Color::rgb(self.byte()?, self.byte()?, self.byte()?),
            _ => Color::DEFAULT,
        })
    }

    fn run(&mut self) -> Option<Run<'a>> {
        let len = self.number()?;
        let flags = self.byte()?;
        let mut style = Style::default();
        let mut ext = Ext::default();
        if flags & FG != 0 {
            style.fg = self.color()?;
        }
        if flags & BG != 0 {
            style.bg = self.color()?;
        }
        if flags & ATTRS != 0 {
            style.attrs = u16::from_le_bytes([self.byte()?, self.byte()?]);
        }
        if flags & UNDERLINE != 0 {
            ext.underline = self.color()?;
        }
        if flags & LINK != 0 {
            self.link = Some(Arc::new(Hyperlink::new(self.string()?, self.string()?)));
        }
        if flags & (LINK | SAME_LINK) != 0 {
            ext.link.clone_from(&self.link);
        }
        Some(Run { style, ext, text: self.take(len)? })
    }
}

impl<'a> Iterator for Runs<'a> {
    type Item = Run<'a>;
    fn next(&mut self) -> Option<Run<'a>> {
        if self.rest.is_empty() {
            return None;
        }
        if self.styled {
            return self.run();
        }
        Some(Run { style: Style::default(), ext: Ext::default(), text: std::mem::take(&mut self.rest) })
    }
}

/// Decodes a row into cells.
pub(crate) fn decode(encoded: &[u8], clusters: &mut Clusters, ext: &mut ExtTable, cells: &mut Vec<Cell>) {
    for run in Runs::new(encoded) {
        let mut style = run.style;
        style.ext = ext.intern(run.ext);
        let text = String::from_utf8_lossy(run.text);
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            match c {
                '\0' => cells.push(Cell::blank(style)),
                '\u{1}' => {
                    let n = chars.next().map_or(0, |c| c as usize);
                    cells.resize(cells.len() + n, Cell::blank(style));
                }
                '\u{2}' => {
                    let (width, count) = (chars.next(), chars.next().map_or(0, |c| c as usize));
                    let points: Vec<char> = chars.by_ref().take(count).collect();
                    if let [first, rest @ ..] = &points[..] {
                        let wide = width == Some('\u{2}');
                        let mut cell = Cell::new(*first, wide, style);
                        clusters.add(&mut cell, rest);
                        cells.push(cell);
                        if wide {
                            cells.push(Cell::spacer(style));
                        }
                    }
                }
                _ => match crate::width::of(c) {
                    0 => {
                        let at = cells.iter().rposition(|c| !c.is_spacer());
                        if let Some(cell) = at.map(|i| &mut cells[i]) {
                            clusters.add(cell, &[c]);
                        }
                    }
                    1 => cells.push(Cell::new(c, false, style)),
                    _ => cells.extend([Cell::new(c, true, style), Cell::spacer(style)]),
                },
            }
        }
    }
}
