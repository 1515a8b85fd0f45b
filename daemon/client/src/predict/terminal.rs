//! The screen that guesses are made on, by the terminal model.

use super::{Beneath, Cell};
use sessd_terminal::{Look, Terminal};

/// A model that has all output of the job so far.
#[derive(Debug, Clone, Copy)]
pub struct Model<'a>(pub &'a Terminal);

impl Beneath for Model<'_> {
    type Look = Look;

    fn size(&self) -> (u16, u16) {
        let size = self.0.size();
        (size.cols, size.rows)
    }

    fn cursor(&self) -> (u16, u16) {
        self.0.cursor()
    }

    fn cell(&self, col: u16, row: u16) -> Cell<Look> {
        let glyph = self.0.glyph(col, row);
        Cell { char: glyph.char, simple: glyph.simple, look: glyph.look }
    }

    fn pen(&self) -> Look {
        self.0.pen()
    }

    fn is_alternate(&self) -> bool {
        self.0.is_alternate()
    }

    fn is_plain(&self) -> bool {
        self.0.takes_overlay()
    }
}
