//! Lines that moved.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use super::paint::Line;

/// What a shift costs, in cells that might as well be written.
const COST: usize = 16;
/// The most lines that are looked at for a shift: the work grows with their square.
const LINES_MAX: usize = 512;

/// Lines `top..=bottom` move by `n`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Shift {
    pub(super) top: u16,
    pub(super) bottom: u16,
    pub(super) n: u16,
    pub(super) up: bool,
}

/// The shift that saves most, if one is worth it.
pub(super) fn find_shift(old: &[Line], new: &[Line]) -> Option<Shift> {
    let len = old.len();
    let differ: Vec<bool> = old.iter().zip(new).map(|(a, b)| a != b).collect();
    if len > LINES_MAX || differ.iter().filter(|differs| **differs).count() < 2 {
        return None;
    }
    // Double lines stay where they are.
    if old.iter().chain(new).any(|line| line.double != crate::row::double::SINGLE) {
        return None;
    }
    let hash = |line: &Line| {
        let mut hasher = DefaultHasher::new();
        line.hash(&mut hasher);
        hasher.finish()
    };
    let hashes = |lines: &[Line]| lines.iter().map(hash).collect::<Vec<u64>>();
    let (was, is) = (hashes(old), hashes(new));
    let weights: Vec<usize> = new.iter().map(Line::weight).collect();
    let mut best: Option<(usize, Shift)> = None;
    for n in 1..len {
        for up in [true, false] {
            let from = |y: usize| if up { Some(y + n).filter(|y| *y < len) } else { y.checked_sub(n) };
            let mut y = 0;
            while y < len {
                let matches = |y: usize| from(y).is_some_and(|from| was[from] == is[y]);
                if !matches(y) {
                    y += 1;
                    continue;
                }
                let run = (y..len).take_while(|y| matches(*y)).count();
                let gain: usize = (y..y + run).filter(|y| differ[*y]).map(|y| weights[y]).sum();
                let (top, bottom) = if up { (y, y + run - 1 + n) } else { (y - n, y + run - 1) };
                // Lines of the region that stood right, and do so no more.
                let fresh = if up { y + run..bottom + 1 } else { top..y };
                let loss: usize = fresh.filter(|y| !differ[*y]).map(|y| weights[y] + 4).sum();
                if gain > loss + COST && best.is_none_or(|(saved, _)| gain - loss > saved) {
                    let shift = Shift { top: top as u16, bottom: bottom as u16, n: n as u16, up };
                    best = Some((gain - loss, shift));
                }
                y += run;
            }
        }
    }
    best.map(|(_, shift)| shift)
}
