//! One cell of the screen, and the few cells that hold more than one code point.

use crate::style::Style;

/// Code points one cell may hold; further combining marks are dropped. Text that is meant to be read has few of them.
pub(crate) const MAX_CLUSTER: usize = 64;

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

/// Where a cluster's code points are.
#[derive(Clone, Copy, Debug)]
struct Cluster {
    start: u32,
    len: u8,
}

/// Most clusters of one terminal, and most code points of all of them; a mark that would need more is dropped.
const MAX_CLUSTERS: usize = 1 << 15;
const MAX_CODE_POINTS: usize = 1 << 19;
/// Clusters and code points the table starts to be swept at, and the least that come between two sweeps.
const SWEEP_AT: usize = 256;
const SWEEP_CODE_POINTS_AT: usize = 16 * SWEEP_AT;

/// The clusters of the screens. A cluster belongs to one cell (cells are moved, never copied, while they hold one), so
/// a further mark is added in place, or where there is room; what cells left behind goes with [`Clusters::sweep`].
///
/// Bounded at any moment: by [`MAX_CLUSTERS`] and [`MAX_CODE_POINTS`], and, where [`Clusters::wants_sweep`] is asked before each
/// new mark, by one and a half times what the screens hold, or a little more.
#[derive(Clone, Debug, Default)]
pub(crate) struct Clusters {
    entries: Vec<Cluster>,
    code_points: Vec<char>,
    sweep_at: usize,
    sweep_code_points_at: usize,
    /// New ones that found no room since the last sweep. They count, or a full table would be swept for each.
    refused: usize,
}

impl Clusters {
    pub(crate) fn get(&self, index: u32) -> &[char] {
        let found = self.entries.get(index as usize);
        found.map_or(&[], |c| &self.code_points[c.start as usize..][..usize::from(c.len)])
    }

    /// Adds marks to the cell. A full cell keeps what it has.
    pub(crate) fn add(&mut self, cell: &mut Cell, marks: &[char]) {
        if marks.is_empty() {
            return;
        }
        let end = self.code_points.len();
        if end + MAX_CLUSTER > MAX_CODE_POINTS {
            self.refused += marks.len();
            return;
        }
        let index = match cell.cluster() {
            Some(i) => i as usize,
            None => {
                let Some(base) = cell.char() else { return };
                if self.entries.len() >= MAX_CLUSTERS {
                    self.refused += 1;
                    return;
                }
                self.code_points.push(base);
                self.entries.push(Cluster { start: end as u32, len: 1 });
                cell.set_cluster((self.entries.len() - 1) as u32);
                self.entries.len() - 1
            }
        };
        let room = MAX_CLUSTER - usize::from(self.entries[index].len);
        let marks = &marks[..marks.len().min(room)];
        if marks.is_empty() {
            return;
        }
        let c = &mut self.entries[index];
        let (start, old_end) = (c.start as usize, c.start as usize + usize::from(c.len));
        if old_end != self.code_points.len() {
            // Others came behind it: it moves to the end.
            c.start = self.code_points.len() as u32;
            self.code_points.extend_from_within(start..old_end);
        }
        c.len += marks.len() as u8;
        self.code_points.extend_from_slice(marks);
    }

    /// Whether a sweep should come before the next new one.
    pub(crate) fn wants_sweep(&self) -> bool {
        self.entries.len() + self.refused >= self.sweep_at.max(SWEEP_AT)
            || self.code_points.len() + self.refused >= self.sweep_code_points_at.max(SWEEP_CODE_POINTS_AT)
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        self.entries.capacity() * size_of::<Cluster>() + self.code_points.capacity() * size_of::<char>()
    }

    /// Keeps the clusters of these cells and no others. `rest`: how many new ones come before the next sweep, at least.
    pub(crate) fn sweep<'a>(&mut self, cells: impl Iterator<Item = &'a mut Cell>, rest: usize) {
        let (old, code_points) = (std::mem::take(&mut self.entries), std::mem::take(&mut self.code_points));
        for cell in cells {
            if let Some(i) = cell.cluster() {
                let Cluster { start, len } = old[i as usize];
                self.entries.push(Cluster { start: self.code_points.len() as u32, len });
                self.code_points.extend_from_slice(&code_points[start as usize..][..usize::from(len)]);
                cell.set_cluster((self.entries.len() - 1) as u32);
            }
        }
        self.refused = 0;
        let next = |len: usize, least: usize| len + (len / 2).max(least);
        self.sweep_at = next(self.entries.len(), SWEEP_AT.max(rest));
        self.sweep_code_points_at = next(self.code_points.len(), 16 * SWEEP_AT.max(rest));
    }
}
