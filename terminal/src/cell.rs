//! One cell of the screen, and the few cells that hold more than one code point.

use crate::Size;
use crate::style::Style;

/// Code points one cell may hold; further combining marks are dropped. Text in the stream-safe format (UAX #15, section 13) has at
/// most 30 marks behind a character, and the longest emoji sequence has ten code points.
pub(crate) const MAX_CLUSTER: usize = 64;
/// What the cells of a screen may hold together, with one more for each. A cell of a screen of up to 10 000 cells may have all 64, of
/// up to 60 000 it has room for the longest emoji sequence, and of the largest, of 160 000, for two marks.
const POINTS_OF_A_SCREEN: usize = 700_000;

const CLUSTER: u32 = 1 << 31;
const WIDE: u32 = 1 << 30;
const SPACER: u32 = 1 << 29;
const LEFTOVER: u32 = 1 << 28;
const VALUE: u32 = (1 << 24) - 1;

/// 16 bytes: a code point (or an index into [`Clusters`]) with two width flags, and the style.
/// Zero means *erased*: nothing was written there, which is not the same as a space.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Cell {
    ch: u32,
    pub(crate) style: Style,
}

impl Cell {
    pub(crate) const fn blank(style: Style) -> Self {
        Self { ch: 0, style }
    }
    pub(crate) const fn ascii(b: u8, style: Style) -> Self {
        Self { ch: b as u32, style }
    }
    pub(crate) const fn new(c: char, wide: bool, style: Style) -> Self {
        Self { ch: c as u32 | if wide { WIDE } else { 0 }, style }
    }
    pub(crate) const fn spacer(style: Style) -> Self {
        Self { ch: SPACER, style }
    }
    /// The last cell of a wrapped row in which a wide character had no room; it is no part of the text.
    pub(crate) const fn leftover(style: Style) -> Self {
        Self { ch: LEFTOVER, style }
    }
    pub(crate) const fn is_leftover(self) -> bool {
        self.ch == LEFTOVER
    }
    pub(crate) const fn is_blank(self) -> bool {
        self.ch & !LEFTOVER == 0
    }
    pub(crate) const fn is_wide(self) -> bool {
        self.ch & WIDE != 0
    }
    pub(crate) const fn is_spacer(self) -> bool {
        self.ch & SPACER != 0
    }
    /// The ASCII byte or NUL, if that is all it is.
    pub(crate) const fn as_ascii(self) -> Option<u8> {
        if self.ch < 0x80 { Some(self.ch as u8) } else { None }
    }
    pub(crate) const fn low_byte(self) -> u8 {
        self.ch as u8
    }
    pub(crate) const fn cluster(self) -> Option<u32> {
        if self.ch & CLUSTER != 0 { Some(self.ch & VALUE) } else { None }
    }
    pub(crate) fn set_wide(&mut self) {
        self.ch |= WIDE;
    }
    pub(crate) fn set_cluster(&mut self, index: u32) {
        self.ch = CLUSTER | (self.ch & WIDE) | index;
    }
    /// The single code point, if the cell holds exactly one.
    pub(crate) fn char(self) -> Option<char> {
        if self.is_blank() || self.ch & (CLUSTER | SPACER) != 0 {
            None
        } else {
            char::from_u32(self.ch & VALUE)
        }
    }
    /// Its code points, of which most have one.
    pub(crate) fn points<'a>(self, clusters: &'a Clusters, single: &'a mut [char; 1]) -> &'a [char] {
        match (self.cluster(), self.char()) {
            (Some(i), _) => clusters.get(i),
            (None, Some(c)) => {
                *single = [c];
                single
            }
            (None, None) => &[],
        }
    }
    /// Appends the text of the cell: nothing for an erased cell and for the right half of a wide one.
    pub(crate) fn push_utf8(self, clusters: &Clusters, out: &mut Vec<u8>) {
        if self.ch < 0x80 && self.ch != 0 {
            out.push(self.ch as u8);
            return;
        }
        let mut buf = [0; 4];
        if let Some(i) = self.cluster() {
            for &c in clusters.get(i) {
                out.extend_from_slice(c.encode_utf8(&mut buf).as_bytes());
            }
        } else if let Some(c) = self.char() {
            out.extend_from_slice(c.encode_utf8(&mut buf).as_bytes());
        }
    }
}

/// Code points that come between two sweeps, at least.
const REST: usize = 1024;

/// The clusters of the screens: at a cell's index how many code points it has, and then these. A cluster belongs to one cell (cells
/// are moved, never copied, while they hold one), so a further mark is added in place, or where there is room; what cells left
/// behind goes with [`Clusters::sweep`].
///
/// Whether a mark is kept depends on its cell, and on the size of the screen: a table that was full now and then would drop a mark
/// that a screen with another past, restored from a snapshot, keeps. What the cells may hold is therefore the table's bound, with
/// half of it beside where [`Clusters::wants_sweep`] is asked before each new mark.
#[derive(Clone, Debug)]
pub(crate) struct Clusters {
    points: Vec<char>,
    sweep_at: usize,
    /// Code points a cell may hold.
    most: usize,
}

impl Default for Clusters {
    fn default() -> Self {
        Self { points: Vec::new(), sweep_at: 0, most: MAX_CLUSTER }
    }
}

/// What a sweep keeps: a bit for each place in the table, and how many are set before each 64 of them.
pub(crate) struct Kept {
    live: Vec<u64>,
    before: Vec<u32>,
}

impl Kept {
    fn moved(&self, index: u32) -> u32 {
        let (word, bit) = (index as usize / 64, index % 64);
        self.before[word] + (self.live[word] & ((1 << bit) - 1)).count_ones()
    }
}

impl Clusters {
    pub(crate) fn get(&self, index: u32) -> &[char] {
        let at = index as usize;
        let Some(&len) = self.points.get(at) else { return &[] };
        self.points.get(at + 1..at + 1 + len as usize).unwrap_or_default()
    }

    fn len_of(&self, cell: Cell) -> usize {
        cell.cluster().map_or(1, |i| self.get(i).len())
    }

    /// Those of an empty screen.
    pub(crate) fn of(size: Size) -> Self {
        let mut new = Self::default();
        new.fit(size, [].iter());
        new
    }

    /// They are those of screens of this size from now on: cells that hold more than these may are cut.
    pub(crate) fn fit<'a>(&mut self, size: Size, cells: impl Iterator<Item = &'a Cell>) {
        let each = POINTS_OF_A_SCREEN / (usize::from(size.cols) * usize::from(size.rows)).max(1);
        self.most = each.saturating_sub(1).clamp(2, MAX_CLUSTER);
        for i in cells.filter_map(|c| c.cluster()) {
            if self.get(i).len() > self.most {
                self.points[i as usize] = count(self.most);
            }
        }
    }

    /// Adds marks to the cell. A full cell keeps what it has.
    pub(crate) fn add(&mut self, cell: &mut Cell, marks: &[char]) {
        let (has, index) = (self.len_of(*cell), cell.cluster());
        let marks = &marks[..marks.len().min(self.most.saturating_sub(has))];
        if marks.is_empty() {
            return;
        }
        make_room(&mut self.points, 1 + MAX_CLUSTER);
        let at = match (index, cell.char()) {
            (Some(i), _) if i as usize + 1 + has == self.points.len() => i as usize,
            (Some(i), _) => {
                // Others came behind it: it moves to the end.
                let (old, at) = (i as usize, self.points.len());
                self.points.extend_from_within(old..old + 1 + has);
                at
            }
            (None, Some(base)) => {
                self.points.extend([count(1), base]);
                self.points.len() - 2
            }
            (None, None) => return,
        };
        self.points[at] = count(has + marks.len());
        self.points.extend_from_slice(marks);
        cell.set_cluster(at as u32);
    }

    /// Whether a sweep should come before the next new one.
    pub(crate) fn wants_sweep(&self) -> bool {
        self.points.len() >= self.sweep_at.max(4 * REST)
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        self.points.capacity() * size_of::<char>()
    }

    /// A sweep begins: [`Self::keep`] is said for each cell, and then [`Self::sweep`].
    pub(crate) fn keep_none(&self) -> Kept {
        Kept { live: vec![0; self.points.len().div_ceil(64)], before: Vec::new() }
    }

    pub(crate) fn keep(&self, cell: Cell, kept: &mut Kept) {
        let Some(i) = cell.cluster() else { return };
        let i = i as usize;
        for at in i..=i + self.get(i as u32).len() {
            kept.live[at / 64] |= 1 << (at % 64);
        }
    }

    /// Keeps the clusters of these cells and no others, in place. `rest`: how many cells may get a mark before the next sweep.
    pub(crate) fn sweep<'a>(
        &mut self,
        mut kept: Kept,
        cells: impl Iterator<Item = &'a mut Cell>,
        rest: usize,
    ) {
        let mut live = 0;
        for word in &kept.live {
            kept.before.push(live);
            live += word.count_ones();
        }
        let mut place = 0..;
        self.points
            .retain(|_| place.next().is_some_and(|at: usize| kept.live[at / 64] >> (at % 64) & 1 == 1));
        for cell in cells {
            if let Some(i) = cell.cluster() {
                cell.set_cluster(kept.moved(i));
            }
        }
        self.sweep_at = self.points.len() + (self.points.len() / 2).max(REST).max(3 * rest);
        self.points.shrink_to(self.sweep_at + 1 + MAX_CLUSTER);
    }
}

/// A number of code points, at most [`MAX_CLUSTER`], as it stands in the table.
const fn count(n: usize) -> char {
    (n as u8) as char
}

/// A vector doubles where it grows; this one is as large as the screens, and grows by an eighth.
fn make_room<T>(to: &mut Vec<T>, more: usize) {
    if to.capacity() - to.len() < more {
        to.reserve_exact(more.max(to.len() / 8));
    }
}
