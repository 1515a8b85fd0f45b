//! The screen of the session that is selected, as it is. Pure.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use sessd_proto::docs::text::is_hidden;
use sessd_terminal::{CellView, Colour, Size, Terminal};
use unicode_width::UnicodeWidthStr;

/// What is known of a session's screen.
#[derive(Default)]
pub(crate) struct Preview {
    /// Of this session.
    pub(crate) session: Option<String>,
    model: Option<Terminal>,
    /// Why there is no screen, or why it is an old one; empty: it is as it is.
    pub(crate) note: String,
}

impl std::fmt::Debug for Preview {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Preview")
            .field("session", &self.session)
            .field("note", &self.note)
            .finish_non_exhaustive()
    }
}

impl Preview {
    /// Another session is looked at; `None`: none is.
    pub(crate) fn of(&mut self, session: Option<String>) {
        if self.session != session {
            *self = Self { session, ..Self::default() };
        }
    }

    /// Its whole screen came.
    pub(crate) fn screen(&mut self, (cols, rows): (u16, u16), snapshot: &[u8]) {
        let mut model = Terminal::new(Size { cols, rows }.clamped(), 0);
        model.feed(snapshot);
        self.model = Some(model);
        self.note.clear();
    }

    /// What follows on it.
    pub(crate) fn output(&mut self, bytes: &[u8]) {
        if let Some(model) = &mut self.model {
            model.feed(bytes);
            // What it says of itself is told by the manager.
            model.take_signals();
        }
    }

    /// There is a screen to be seen.
    pub(crate) fn has_screen(&self) -> bool {
        self.model.is_some()
    }

    /// Its size, columns and rows.
    pub(crate) fn size(&self) -> Option<(u16, u16)> {
        self.model.as_ref().map(|model| (model.size().cols, model.size().rows))
    }

    /// Draws as much of it as there is room for: lines from their beginning, and the rows about the cursor.
    pub(crate) fn draw(&self, area: Rect, buffer: &mut Buffer, colour: bool) {
        let Some(model) = &self.model else { return };
        let rows = model.screen_rows(0);
        let (x, y) = model.cursor();
        let used =
            rows.iter().rposition(|row| !row.cells.is_empty()).map_or(0, |at| at + 1).max(usize::from(y) + 1);
        let height = usize::from(area.height);
        // Where all that is written fits, from its beginning; else so that the cursor is seen.
        let top =
            if used <= height { 0 } else { (usize::from(y) + 1).saturating_sub(height).min(used - height) };
        for (row, at) in rows.iter().skip(top).take(height).zip(area.y..) {
            for cell in &row.cells {
                if cell.x + u16::from(cell.width) > area.width {
                    break;
                }
                put(cell, area.x + cell.x, at, buffer, colour);
            }
        }
        if model.cursor_visible() && usize::from(y) >= top && usize::from(y) - top < height && x < area.width
        {
            let at = (area.x + x, area.y + (usize::from(y) - top) as u16);
            if let Some(cell) = buffer.cell_mut(at) {
                cell.set_style(Style::new().add_modifier(Modifier::REVERSED));
            }
        }
    }
}

fn put(cell: &CellView, x: u16, y: u16, buffer: &mut Buffer, colour: bool) {
    let Some(target) = buffer.cell_mut((x, y)) else { return };
    let text: String = cell.text.chars().filter(|c| !is_hidden(*c)).collect();
    // As wide as the model says, or nothing to rely on.
    let text = if text.width() == usize::from(cell.width) { text } else { "?".repeat(cell.width.into()) };
    let mut style = Style::reset();
    if colour {
        style = style.fg(cell.fg.map_or(Color::Reset, of)).bg(cell.bg.map_or(Color::Reset, of));
    }
    for (word, modifier) in [
        ("bold", Modifier::BOLD),
        ("dim", Modifier::DIM),
        ("italic", Modifier::ITALIC),
        ("underline", Modifier::UNDERLINED),
        ("inverse", Modifier::REVERSED),
        ("hidden", Modifier::HIDDEN),
        ("strike", Modifier::CROSSED_OUT),
    ] {
        if cell.attributes.contains(&word) {
            style = style.add_modifier(modifier);
        }
    }
    if text.starts_with("??") {
        target.set_symbol("?").set_style(style);
    } else {
        target.set_symbol(&text).set_style(style);
    }
    if cell.width == 2
        && let Some(second) = buffer.cell_mut((x + 1, y))
    {
        second.set_symbol(" ").set_style(style);
    }
}

fn of(colour: Colour) -> Color {
    match colour {
        Colour::Palette(index) => Color::Indexed(index),
        Colour::Rgb(r, g, b) => Color::Rgb(r, g, b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(bytes: &str, size: (u16, u16), colour: bool) -> Buffer {
        let mut preview = Preview::default();
        preview.of(Some("i".into()));
        preview.screen((20, 10), b"");
        preview.output(bytes.as_bytes());
        let area = Rect::new(0, 0, size.0, size.1);
        let mut buffer = Buffer::empty(area);
        preview.draw(area, &mut buffer, colour);
        buffer
    }

    fn line(buffer: &Buffer, y: u16) -> String {
        (0..buffer.area.width).map(|x| buffer[(x, y)].symbol()).collect::<String>().trim_end().to_owned()
    }

    #[test]
    fn the_screen_is_shown_in_its_colours_and_without_where_there_are_none() {
        let bytes = "a\x1b[1;31mb\x1b[0;48;2;1;2;3m漢\x1b[m c";
        let buffer = drawn(bytes, (20, 10), true);
        assert_eq!((buffer[(1, 0)].fg, buffer[(1, 0)].modifier), (Color::Indexed(1), Modifier::BOLD));
        assert_eq!((buffer[(2, 0)].symbol(), buffer[(2, 0)].bg), ("漢", Color::Rgb(1, 2, 3)));
        assert_eq!(buffer[(5, 0)].symbol(), "c");
        let plain = drawn(bytes, (20, 10), false);
        assert_eq!((plain[(1, 0)].fg, plain[(1, 0)].modifier), (Color::Reset, Modifier::BOLD));
        assert!(plain.content.iter().all(|cell| cell.fg == Color::Reset && cell.bg == Color::Reset));
    }

    #[test]
    fn of_a_larger_screen_the_rows_about_the_cursor_are_shown() {
        let rows: String = (0..10).map(|n| format!("{}row {n}", if n > 0 { "\r\n" } else { "" })).collect();
        let buffer = drawn(&rows, (4, 3), true);
        assert_eq!((line(&buffer, 0), line(&buffer, 2)), ("row".into(), "row".into()));
        let buffer = drawn(&rows, (9, 3), true);
        assert_eq!((line(&buffer, 0), line(&buffer, 2)), ("row 7".into(), "row 9".into()));
        let buffer = drawn(&format!("{rows}\x1b[2;1H"), (9, 3), true);
        assert_eq!((line(&buffer, 0), line(&buffer, 2)), ("row 0".into(), "row 2".into()));
        let buffer = drawn("one\r\ntwo", (9, 3), true);
        assert_eq!((line(&buffer, 0), line(&buffer, 1)), ("one".into(), "two".into()));
    }

    #[test]
    fn a_wide_character_at_the_edge_is_left_out_and_nothing_hidden_gets_through() {
        let buffer = drawn("ab漢", (3, 1), true);
        assert_eq!(line(&buffer, 0), "ab");
        let buffer = drawn("x\u{202e}y\u{200b}z", (9, 1), true);
        assert!(buffer.content.iter().all(|cell| !cell.symbol().contains(is_hidden)));
    }
}
