//! The terminal model of sessd: what a screen would show, how to say it again, and who has been told how much.
//!
//! Pure: no input or output, no clock, no threads. Bytes in, values out.
//!
//! - [`Terminal`]: the model. `parser` cuts the stream into sequences, `terminal`, `motion`, `print`, `csi`, `rectangle`,
//!   `osc` act on them, `screen`, `row`, `notes`, `cell`, `style` hold the screens, `scrollback` the rows that left, `resize` fits them
//!   to a new size. What they know: `modes`, `saved_modes`, `charset`, `color_names`, `width`; `numbered` holds few values by number.
//! - `dump`: the whole state in words, to compare two models.
//! - [`Terminal::snapshot`]: the model as escape sequences (`snapshot`, `sgr`); [`Terminal::text`], [`Terminal::ansi`] (`text`);
//!   [`Drawing`], for a view of another size (`drawing`); [`Terminal::draw_over`], what is drawn over it and taken back
//!   without a trace (`overlay`).
//! - [`Hub`]: one owner of model, [`Ring`] and head offset; [`Cursor`]: a subscriber's place in it.
//! - [`Terminal::press`], [`Terminal::paste`] (`keys`): what a key or a paste sends; [`Terminal::cells`] (`cells`): the
//!   screen as values; [`Terminal::take_signals`] (`signals`): what a program says to people beside its screen
//!   (`base64`: some of it in that).
//! - `images`, `image_size`: where images are in the text, and what they are, within a bound.
//! - [`Traits`] (`measure`): how a view's terminal measures clusters, which the model follows.
//! - [`QueryScanner`] (`query`, `asks`): what a program asks its terminal; [`ReplyFilter`] (`reply_filter`): what a view's
//!   terminal answers.
//!
//! Invariants:
//! - Nothing fed panics, and memory is bounded at any moment by the size, whatever is fed.
//! - Work is bounded in cost and not only in bytes: [`Terminal::feed_within`] and [`Hub::feed_within`] give the thread
//!   back. A unit of cost ([`Terminal::cost`]) is about a nanosecond.
//! - Where the stream is cut into chunks makes no difference.
//! - A snapshot fed to a fresh terminal gives the state it was taken of.
//! - A hub's model, ring and head move together; a snapshot taken now stands at the head.

#![deny(clippy::disallowed_types)]
#![forbid(unsafe_code)]

mod asks;
mod base64;
mod cell;
mod cells;
mod charset;
mod color_names;
mod csi;
mod drawing;
mod dump;
mod hub;
mod image_size;
mod images;
mod keys;
mod measure;
mod modes;
mod motion;
mod notes;
mod numbered;
mod osc;
mod overlay;
mod parser;
mod print;
mod query;
mod rectangle;
mod reply_filter;
mod resize;
mod ring;
mod row;
mod saved_modes;
mod screen;
mod scrollback;
mod sgr;
mod signals;
mod snapshot;
mod style;
mod terminal;
mod text;
mod width;

#[cfg(test)]
mod tests;

pub use asks::is_typing;
pub use cells::{CellView, Colour, RowView};
pub use drawing::{Abilities, Colours, Drawing};
pub use hub::{Cursor, Hub, Next};
pub use images::MAX_IMAGE_BYTES;
pub use keys::Key;
pub use measure::Traits;
pub use overlay::{Glyph, Look, Over};
pub use query::{Names, Query, QueryScanner, Selections, Setting};
pub use reply_filter::{Outstanding, ReplyFilter};
pub use ring::{Expired, Ring};
pub use scrollback::MAX_SCROLLBACK_BYTES;
pub use signals::{Reported, Signal};
pub use snapshot::{MAX_SNAPSHOT_SCROLLBACK, SnapshotOptions};
pub use terminal::{ShellState, Terminal};

/// Columns and rows of a terminal.
///
/// A [`Terminal`] takes no size beyond [`Size::clamped`]; whoever sets a PTY's size sets it to that.
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
    /// Most cells: more than any display shows, and what a model's memory is bounded by. Where columns and rows ask for more
    /// there are fewer rows.
    pub const MAX_CELLS: u32 = 160_000;

    /// Brought into the bounds.
    #[must_use]
    pub fn clamped(self) -> Self {
        let cols = self.cols.clamp(1, Self::MAX);
        let rows = (Self::MAX_CELLS / u32::from(cols)) as u16;
        Self { cols, rows: self.rows.clamp(1, Self::MAX.min(rows)) }
    }
}
