//! What a view's terminal can do.

/// How many colours there are.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Colours {
    /// None.
    None,
    /// SGR 30–37 and their backgrounds.
    Eight,
    /// SGR 90–97 as well.
    Sixteen,
    /// SGR 38;5.
    Palette,
    /// SGR 38;2.
    True,
}

/// What a view's terminal can do, and what is not to be asked of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Abilities {
    /// Colours it shows.
    pub colours: Colours,
    /// What it erases has the background colour of the pen (terminfo's `bce`).
    pub erases_in_colour: bool,
    /// It erases characters (`ech`, ECH).
    pub erases_characters: bool,
    /// It inserts and deletes characters (`ich`, `dch`).
    pub shifts_characters: bool,
    /// It inserts and deletes lines and scrolls a part of the screen (`il`, `dl`, `csr`).
    pub shifts_lines: bool,
    /// It shows italics (`sitm`).
    pub italics: bool,
    /// It shows nothing but ASCII.
    pub ascii_only: bool,
}

impl Default for Abilities {
    /// All that an xterm can.
    fn default() -> Self {
        Self {
            colours: Colours::True,
            erases_in_colour: true,
            erases_characters: true,
            shifts_characters: true,
            shifts_lines: true,
            italics: true,
            ascii_only: false,
        }
    }
}
