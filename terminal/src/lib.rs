//! The terminal model of sessd: what a screen would show, how to say it again, and who has been told how much.
//!
//! Pure: no input or output, no clock, no threads. Bytes in, values out.
//!
//! - [`Terminal`]: the model. `parser` cuts the stream into sequences, `terminal`, `print`, `csi`, `osc` act on
//!   them, `screen`,
//!   `row`, `cell`, `style` hold the screens, `scrollback` the rows that left, `resize` fits them to a new size.
//! - [`Terminal::snapshot`]: the model as escape sequences (`snapshot`); [`Terminal::text`], [`Terminal::ansi`] (`text`);
//!   [`Terminal::draw`], for a view of another size (`crop`).
//! - [`Hub`]: one owner of model, [`Ring`] and head offset; [`Cursor`]: a subscriber's place in it.
//! - [`QueryScanner`]: what a program asks its terminal; [`ReplyFilter`]: what a view's terminal answers.
//!
//! Invariants:
//! - Nothing fed panics, and memory is bounded whatever is fed.
//! - Where the stream is cut into chunks makes no difference.
//! - A snapshot fed to a fresh terminal gives the state it was taken of.
//! - A hub's model, ring and head move together; a snapshot taken now stands at the head.

#![forbid(unsafe_code)]

mod cell;
mod crop;
mod csi;
mod dump;
mod hub;
mod modes;
mod osc;
mod parser;
mod print;
mod query;
mod reply_filter;
mod resize;
mod ring;
mod row;
mod screen;
mod scrollback;
mod sgr;
mod snapshot;
mod style;
mod terminal;
mod text;
mod width;

#[cfg(test)]
mod tests;

pub use hub::{Cursor, Hub, Next};
pub use query::{Names, Query, QueryScanner, Selections, Setting};
pub use reply_filter::{Outstanding, ReplyFilter};
pub use ring::{Expired, Ring};
pub use scrollback::MAX_SCROLLBACK_BYTES;
pub use snapshot::SnapshotOptions;
pub use terminal::{ShellState, Terminal};

/// Columns and rows of a terminal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Size {
    /// Columns.
    pub cols: u16,
    /// Rows.
    pub rows: u16,
}

impl Size {
    /// Most columns and most rows a [`Terminal`] takes; the least is 1.
    pub const MAX: u16 = 1000;

    /// Brought into the bounds.
    #[must_use]
    pub fn clamped(self) -> Self {
        Self { cols: self.cols.clamp(1, Self::MAX), rows: self.rows.clamp(1, Self::MAX) }
    }
}
