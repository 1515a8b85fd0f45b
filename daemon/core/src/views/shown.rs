//! Which rows of the scrollback a person's terminal has already: one that shows a session again is given what it has not, and
//! not all of it each time.

use sessd_terminal::{Size, Terminal};
use std::collections::VecDeque;

/// Terminals that are remembered.
const TERMINALS: usize = 32;

/// By the name of a terminal, how many rows had left the session's screen when it had shown all of them.
#[derive(Debug, Default)]
pub(super) struct Shown {
    terminals: VecDeque<(String, u64)>,
}

impl Shown {
    /// How many rows had left the screen when the terminal was left.
    pub(super) fn by(&self, terminal: &str) -> Option<u64> {
        self.terminals
            .iter()
            .find(|(name, _)| !terminal.is_empty() && name == terminal)
            .map(|(_, rows)| *rows)
    }

    /// The terminal is left; it showed all that came, if it is of the session's size.
    pub(super) fn left(&mut self, terminal: &str, size: Size, screen: &Terminal) {
        if terminal.is_empty() || size != screen.size() {
            return;
        }
        self.terminals.retain(|(name, _)| name != terminal);
        if self.terminals.len() == TERMINALS {
            self.terminals.pop_front();
        }
        self.terminals.push_back((terminal.to_owned(), screen.rows_scrolled_off()));
    }
}

/// How many of `lines` rows of scrollback are new where `shown` are known. Where the session's rows were counted anew since, all
/// are.
pub(super) fn new_rows(shown: Option<u64>, lines: usize, screen: &Terminal) -> usize {
    let new = shown.and_then(|shown| screen.rows_scrolled_off().checked_sub(shown));
    new.map_or(lines, |new| lines.min(usize::try_from(new).unwrap_or(usize::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_that_comes_again_is_given_the_rows_that_it_has_not() {
        let size = Size { cols: 20, rows: 4 };
        let (mut shown, mut screen) = (Shown::default(), Terminal::new(size, 1000));
        (0..50).for_each(|n| screen.feed(format!("{n}\r\n").as_bytes()));
        let new_to =
            |shown: &Shown, name: &str, lines, screen: &Terminal| new_rows(shown.by(name), lines, screen);
        assert_eq!(new_to(&shown, "a", 1000, &screen), 1000);
        shown.left("a", size, &screen);
        shown.left("", size, &screen);
        shown.left("small", Size { cols: 20, rows: 3 }, &screen);
        let new = |shown: &Shown, screen: &Terminal| {
            ["a", "b", "", "small"].map(|name| new_to(shown, name, 1000, screen))
        };
        assert_eq!(new(&shown, &screen), [0, 1000, 1000, 1000]);
        (0..5).for_each(|n| screen.feed(format!("{n}\r\n").as_bytes()));
        assert_eq!(new(&shown, &screen), [5, 1000, 1000, 1000]);
        assert_eq!(new_to(&shown, "a", 2, &screen), 2);
        // Rows that come back to the screen are shown there.
        screen.resize(Size { cols: 20, rows: 7 });
        assert_eq!(new_to(&shown, "a", 1000, &screen), 2);
        assert_eq!(new_to(&shown, "a", 1000, &Terminal::new(size, 1000)), 1000, "another count");
        (0..TERMINALS).for_each(|n| shown.left(&format!("pts/{n}"), screen.size(), &screen));
        assert_eq!((shown.terminals.len(), new_to(&shown, "a", 1000, &screen)), (TERMINALS, 1000));
    }
}
