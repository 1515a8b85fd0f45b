//! At which point of the output the PTY got which size. A replica must change its size at the same byte as the holder's
//! model did, or the two would show different screens.

use sessd_terminal::Size;
use std::collections::VecDeque;

/// Changes of size that are remembered; changes without output between them are one.
const MARKS_MAX: usize = 1024;

#[derive(Debug, Clone, Copy)]
struct Mark {
    serial: u64,
    offset: u64,
    size: Size,
}

/// The changes of size within the ring.
#[derive(Debug, Default)]
pub struct Sizes {
    marks: VecDeque<Mark>,
    serial: u64,
}

impl Sizes {
    /// The size is `size` from `offset` on. What lies before `oldest` is forgotten.
    pub fn changed(&mut self, offset: u64, size: Size, oldest: u64) {
        self.serial += 1;
        self.marks.retain(|m| m.offset >= oldest && m.offset != offset);
        if self.marks.len() == MARKS_MAX {
            // A subscriber so far behind gets the later sizes only; its next snapshot is right again.
            self.marks.pop_front();
        }
        self.marks.push_back(Mark { serial: self.serial, offset, size });
    }

    /// The serial number a subscriber has that has everything up to the head.
    pub fn latest(&self) -> u64 {
        self.serial
    }

    /// The serial number of one that has the output before `offset`. A change at `offset` itself is told again.
    pub fn before(&self, offset: u64) -> u64 {
        self.marks.iter().find(|m| m.offset >= offset).map_or(self.serial, |m| m.serial - 1)
    }

    /// The first change after `serial`: at which offset, to what, and its serial number.
    pub fn after(&self, serial: u64) -> Option<(u64, Size, u64)> {
        self.marks.iter().find(|m| m.serial > serial).map(|m| (m.offset, m.size, m.serial))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(cols: u16) -> Size {
        Size { cols, rows: 24 }
    }

    #[test]
    fn a_subscriber_hears_of_each_size_at_its_byte_and_of_storms_once() {
        let mut sizes = Sizes::default();
        sizes.changed(10, size(80), 0);
        sizes.changed(20, size(90), 0);
        for cols in 1..1000 {
            sizes.changed(20, size(cols), 0);
        }
        assert_eq!(sizes.after(sizes.before(0)).map(|(at, s, _)| (at, s.cols)), Some((10, 80)));
        assert_eq!(sizes.after(sizes.before(11)).map(|(at, s, _)| (at, s.cols)), Some((20, 999)));
        assert_eq!(
            sizes.after(sizes.before(20)).map(|(at, ..)| at),
            Some(20),
            "told again rather than missed"
        );
        assert_eq!(sizes.after(sizes.before(21)), None);
        assert_eq!(sizes.after(sizes.latest()), None);
    }

    #[test]
    fn what_left_the_ring_is_forgotten() {
        let mut sizes = Sizes::default();
        sizes.changed(10, size(80), 0);
        sizes.changed(50, size(90), 40);
        assert_eq!(sizes.after(0).map(|(at, ..)| at), Some(50));
    }
}
