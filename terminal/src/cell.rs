//! One cell of the screen, and the few cells that hold more than one code point.

use crate::style::Style;

/// Code points one cell may hold; further combining marks are dropped.
pub(crate) const MAX_CLUSTER: usize = 15;

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

#[derive(Clone, Copy, Debug)]
struct Cluster {
    len: u8,
    chars: [char; MAX_CLUSTER],
}

/// Most clusters of one terminal; a mark that would need a further one is dropped.
const MAX_CLUSTERS: usize = 1 << 15;
/// Clusters the table starts to be swept at, and the least that come between two sweeps.
const SWEEP_AT: usize = 256;

/// The clusters of the screens. A cluster belongs to one cell (cells are moved, never copied, while they hold one), so
/// a further mark is added in place; what cells left behind goes with [`Clusters::sweep`].
///
/// Bounded at any moment: by [`MAX_CLUSTERS`], and, where [`Clusters::wants_sweep`] is asked before each new one, by one and a
/// half times what the screens hold, or a little more.
#[derive(Clone, Debug, Default)]
pub(crate) struct Clusters {
    entries: Vec<Cluster>,
    sweep_at: usize,
    /// New ones that found no room since the last sweep. They count, or a full table would be swept for each.
    refused: usize,
}

impl Clusters {
    pub(crate) fn get(&self, index: u32) -> &[char] {
        self.entries.get(index as usize).map_or(&[], |c| &c.chars[..usize::from(c.len)])
    }

    /// Adds marks to the cell. A full cell keeps what it has.
    pub(crate) fn add(&mut self, cell: &mut Cell, marks: &[char]) {
        if marks.is_empty() {
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
                let mut chars = ['\0'; MAX_CLUSTER];
                chars[0] = base;
                self.entries.push(Cluster { len: 1, chars });
                cell.set_cluster((self.entries.len() - 1) as u32);
                self.entries.len() - 1
            }
        };
        let c = &mut self.entries[index];
        for mark in marks.iter().take(MAX_CLUSTER - usize::from(c.len)) {
            c.chars[usize::from(c.len)] = *mark;
            c.len += 1;
        }
    }

    /// Whether a sweep should come before the next new one.
    pub(crate) fn wants_sweep(&self) -> bool {
        self.entries.len() + self.refused >= self.sweep_at.max(SWEEP_AT)
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        self.entries.capacity() * size_of::<Cluster>()
    }

    /// Keeps the clusters of these cells and no others. `rest`: how many new ones come before the next sweep, at least.
    pub(crate) fn sweep<'a>(&mut self, cells: impl Iterator<Item = &'a mut Cell>, rest: usize) {
        let old = std::mem::take(&mut self.entries);
        for cell in cells {
            if let Some(i) = cell.cluster() {
                self.entries.push(old[i as usize]);
                cell.set_cluster((self.entries.len() - 1) as u32);
            }
        }
        self.refused = 0;
        self.sweep_at = self.entries.len() + (self.entries.len() / 2).max(SWEEP_AT).max(rest);
    }
}
