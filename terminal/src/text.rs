//! Rows as plain text, and as text with SGR.

use crate::cell::{Cell, Clusters};
use crate::scrollback;
use crate::sgr::push_sgr;
use crate::style::{Color, Style};
use crate::terminal::Terminal;

impl Terminal {
    /// The newest `scrollback_lines` rows of scrollback and then the screen shown, one line per row, blanks at the end
    /// of lines and blank rows at the end cut. Soft-wrapped rows are lines of their own.
    pub fn text(&self, scrollback_lines: usize) -> String {
        let mut out = Vec::new();
        self.lines(scrollback_lines, &mut out, |cells, clusters, _, out| {
            let start = out.len();
            for c in cells {
                if c.is_blank() {
                    out.push(b' ');
                } else {
                    c.push_utf8(clusters, out);
                }
            }
            let keep = out[start..].iter().rposition(|b| *b != b' ').map_or(0, |i| i + 1);
            out.truncate(start + keep);
        });
        String::from_utf8_lossy(&out).into_owned()
    }

    /// As [`Self::text`], with SGR sequences for colours and attributes; each line ends in the default style.
    pub fn ansi(&self, scrollback_lines: usize) -> Vec<u8> {
        let mut out = Vec::new();
        self.lines(scrollback_lines, &mut out, |cells, clusters, underline, out| {
            let mut style = Style::default();
            let bare = |s: Style| Style { ext: if underline(s) == Color::DEFAULT { 0 } else { s.ext }, ..s };
            let end = cells
                .iter()
                .rposition(|c| !(c.is_blank() || c.as_ascii() == Some(b' ')) || c.style != Style::default())
                .map_or(0, |i| i + 1);
            for c in &cells[..end] {
                if bare(c.style) != style {
                    style = bare(c.style);
                    push_sgr(out, style, underline(style));
                }
                if c.is_blank() {
                    out.push(b' ');
                } else {
                    c.push_utf8(clusters, out);
                }
            }
            if style != Style::default() {
                out.extend_from_slice(b"\x1b[m");
            }
        });
        out
    }

    fn lines(
        &self,
        scrollback_lines: usize,
        out: &mut Vec<u8>,
        mut write: impl FnMut(&[Cell], &Clusters, &dyn Fn(Style) -> Color, &mut Vec<u8>),
    ) {
        let m = &self.state;
        if m.alternate.is_none() {
            let skip = m.scrollback.len().saturating_sub(scrollback_lines);
            let mut cells = Vec::new();
            for row in m.scrollback.iter_from(skip) {
                cells.clear();
                let mut clusters = Clusters::default();
                let mut ext = crate::style::ExtTable::default();
                scrollback::decode(row, &mut clusters, &mut ext, &mut cells);
                write(&cells, &clusters, &|s| ext.get(s.ext).underline, out);
                out.push(b'\n');
            }
        }
        let rows = &m.screen_ref().rows;
        let mut end = out.len();
        for row in rows {
            let start = out.len();
            write(row.content(), &m.clusters, &|s| m.ext.get(s.ext).underline, out);
            if out.len() > start {
                end = out.len() + 1;
            }
            out.push(b'\n');
        }
        out.truncate(end);
    }
}
