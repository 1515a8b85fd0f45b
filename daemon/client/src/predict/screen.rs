//! The screen beneath the guesses, and what is drawn over it.

/// What a cell shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cell<L> {
    /// Its character; none: it is blank, or none that could be typed.
    pub char: Option<char>,
    /// It can be drawn over: one column wide, one code point at the most.
    pub simple: bool,
    /// How it looks.
    pub look: L,
}

impl<L> Cell<L> {
    pub(super) fn is_blank(&self) -> bool {
        self.simple && self.char.is_none_or(|c| c == ' ')
    }
}

/// The screen as the job has made it. Columns and rows count from 0.
pub trait Beneath {
    /// How a cell looks.
    type Look: Copy + PartialEq + std::fmt::Debug;
    /// Columns and rows.
    fn size(&self) -> (u16, u16);
    /// Column and row of the cursor.
    fn cursor(&self) -> (u16, u16);
    /// What is shown there.
    fn cell(&self, col: u16, row: u16) -> Cell<Self::Look>;
    /// How what the job writes next will look.
    fn pen(&self) -> Self::Look;
    /// It is a program's own screen, without scrollback.
    fn is_alternate(&self) -> bool;
    /// Plain text goes where the cursor is, as it is: no mode makes another thing of it.
    fn is_plain(&self) -> bool;
}

/// A cell that is to be drawn over what is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shown<L> {
    /// Column and row.
    pub at: (u16, u16),
    /// Its character.
    pub char: char,
    /// How it looks.
    pub look: L,
}

/// What is to be drawn over the screen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overlay<L> {
    /// Row by row, from the left.
    pub cells: Vec<Shown<L>>,
    /// Where the cursor is.
    pub cursor: (u16, u16),
    /// It is to be seen that these are guesses: the way is long.
    pub underlined: bool,
}
