//! The whole state in words, for comparing two models and for reading what differs.

use std::fmt::Write as _;

use crate::cell::{Cell, Clusters};
use crate::modes::{PREFERENCES, bit};
use crate::notes::Notes;
use crate::row::{Row, double};
use crate::screen::{Cursor, Keyboard, Saved, Screen};
use crate::scrollback::{self, Runs};
use crate::style::{ExtTable, Style};
use crate::terminal::{Model, Terminal};

impl Terminal {
    /// All that a continuation of the stream could show, line by line. Two models with the same dump are the same. Not in
    /// it: the number of bells, and whether a synchronized update is open, which a snapshot never says.
    ///
    /// The scrollback is told by lines as the program wrote them, however wide the rows are that hold them.
    pub fn dump(&self) -> String {
        self.state.check();
        let mut out = String::new();
        // Writing to a String does not fail.
        let _ = self.state.dump(&mut out);
        let _ = writeln!(out, "parser {:?}", self.parser);
        out
    }
}

fn cells(out: &mut String, cells: &[Cell], clusters: &Clusters, ext: &ExtTable) -> std::fmt::Result {
    let end = cells.iter().rposition(|c| *c != Cell::default()).map_or(0, |i| i + 1);
    let mut last = Style::default();
    for c in &cells[..end] {
        if c.style != last {
            last = c.style;
            style(out, last, ext)?;
        }
        let mut text = Vec::new();
        c.push_utf8(clusters, &mut text);
        if c.is_leftover() {
            out.push('↲');
        } else if c.is_blank() {
            out.push('⎕');
        } else if c.is_spacer() {
            out.push('⇤');
        } else {
            out.push_str(&String::from_utf8_lossy(&text));
        }
        if c.is_wide() {
            out.push('⇥');
        }
    }
    Ok(())
}

fn style(out: &mut String, s: Style, ext: &ExtTable) -> std::fmt::Result {
    let e = ext.get(s.ext);
    write!(out, "⟨{:?} {:?} {:x}", s.fg.kind(), s.bg.kind(), s.attrs)?;
    if s.ext != 0 {
        write!(out, " {:?} {:?}", e.underline.kind(), e.link)?;
    }
    write!(out, "⟩")
}

impl Model {
    fn dump(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "size {:?}", self.size)?;
        let (mut clusters, mut ext) = (Clusters::default(), ExtTable::default());
        let mut line = Vec::new();
        let mut notes = Notes::default();
        for row in self.scrollback.iter_from(0) {
            notes.join(Runs::new(row).notes);
            scrollback::decode(row, &mut clusters, &mut ext, &mut line);
            if !scrollback::is_wrapped(row) {
                write!(out, "scrollback ")?;
                self.notes(&notes, None, out)?;
                cells(out, &line, &clusters, &ext)?;
                out.push('\n');
                line.clear();
                notes = Notes::default();
                (clusters, ext) = (Clusters::default(), ExtTable::default());
            }
        }
        if self.scrollback.last_is_wrapped() {
            write!(out, "scrollback ")?;
            self.notes(&notes, None, out)?;
            cells(out, &line, &clusters, &ext)?;
            out.push_str("↩\n");
        }
        self.screen_dump("primary", &self.primary, out)?;
        if let Some(s) = &self.alternate {
            writeln!(out, "alternate by {}", self.alternate_mode)?;
            self.screen_dump("alternate", s, out)?;
        }
        // One that is as new is as good as none.
        let fresh = |s: &Screen| {
            let blank = |r: &Row| r.content().is_empty() && r.notes.is_empty() && r.double == double::SINGLE;
            s.rows.iter().all(blank) && s.saved == Saved::default() && s.keyboard == Keyboard::default()
        };
        if let Some(s) = self.hidden.as_deref().filter(|s| !fresh(s)) {
            self.screen_dump("hidden", s, out)?;
        }
        write!(out, "cursor ")?;
        self.cursor_dump(&self.cursor, out)?;
        writeln!(
            out,
            "modes {:x} mouse {} {} last {:?}",
            self.modes.bits & !bit::SYNC & !PREFERENCES,
            self.modes.mouse,
            self.modes.mouse_encoding,
            self.last
        )?;
        writeln!(out, "{:?} {}", self.traits, self.images.dump())?;
        writeln!(out, "said {:x} {:x}", self.modes.said, self.modes.bits & PREFERENCES)?;
        let tabs: Vec<usize> = self.tabs.iter().enumerate().filter(|(_, t)| **t).map(|(x, _)| x).collect();
        writeln!(out, "tabs {tabs:?}")?;
        writeln!(out, "title {:?} icon {:?} stack {:?}", self.title, self.icon, self.titles)?;
        writeln!(out, "palette {:?} colors {:?}", self.palette, self.colors)?;
        writeln!(
            out,
            "shape {} keys {:?} rectangles {}",
            self.cursor_style, self.modify_keys, self.rectangle_extent
        )?;
        writeln!(out, "stacks {:?} {:?} {:?}", self.saved_modes, self.color_stack, self.look_stack)?;
        writeln!(out, "cwd {:?} {:?} shell {:?}", self.cwd, self.cwd_path, self.shell)
    }

    /// Images by what they are: each model has numbers of its own for them.
    fn notes(&self, notes: &Notes, y: Option<usize>, out: &mut String) -> std::fmt::Result {
        for mark in notes.marks() {
            match Notes::is_image(mark) {
                Some((x, id)) => {
                    // Where the screen ends before it, it is said in the last column.
                    let x = x.min(self.size.cols - 1);
                    if let Some(image) = self.images.get(id).filter(|i| i.is_said(x, y, self.size)) {
                        write!(out, "[image {x} {}x{} {}]", image.cols, image.rows, image.bytes.len())?;
                    }
                }
                None => write!(out, "[{}]", String::from_utf8_lossy(mark))?,
            }
        }
        Ok(())
    }

    fn cursor_dump(&self, c: &Cursor, out: &mut String) -> std::fmt::Result {
        write!(out, "{},{} pending {} {:?} ", c.x, c.y, c.pending, c.charsets)?;
        style(out, c.pen, &self.ext)?;
        out.push('\n');
        Ok(())
    }

    fn screen_dump(&self, name: &str, s: &Screen, out: &mut String) -> std::fmt::Result {
        for (y, row) in s.rows.iter().enumerate() {
            write!(out, "{name} ")?;
            self.notes(&row.notes, Some(y), out)?;
            cells(out, &row.cells, &self.clusters, &self.ext)?;
            if row.double != double::SINGLE {
                write!(out, " double {}", row.double)?;
            }
            out.push_str(if row.wrapped { "↩\n" } else { "\n" });
        }
        writeln!(out, "{name} margins {} {} {} {} {:?}", s.top, s.bottom, s.left, s.right, s.keyboard)?;
        write!(out, "{name} saved origin {} ", s.saved.origin)?;
        self.cursor_dump(&s.saved.cursor, out)
    }
}

impl Model {
    /// What must hold at any time.
    fn check(&self) {
        debug_assert!(self.alternate.is_none() || self.hidden.is_none());
        let screens = [Some(&self.primary), self.alternate.as_deref(), self.hidden.as_deref()];
        for s in screens.into_iter().flatten() {
            debug_assert_eq!(s.rows.len(), usize::from(self.size.rows));
            for row in &s.rows {
                let cols = usize::from(self.size.cols);
                debug_assert_eq!(row.cells.len(), cols);
                let odd = row.cells.iter().position(|c| c.is_leftover());
                debug_assert!(odd.is_none_or(|x| x + 1 == cols && row.wrapped), "leftover at {odd:?}");
                let used = usize::from(row.used);
                debug_assert!(row.cells[used..].iter().all(|c| *c == Cell::default()), "used");
                let plain = |c: &Cell| c.style == Style::default() && c.as_ascii().is_some();
                debug_assert!(!row.wrapped || row.double == double::SINGLE, "a double row that goes on");
                debug_assert!(!row.plain || row.cells.iter().all(plain), "plain");
                for (x, c) in row.cells.iter().enumerate() {
                    let next = row.cells.get(x + 1).is_some_and(|c| c.is_spacer());
                    debug_assert_eq!(c.is_wide(), next, "halves at {x}");
                    debug_assert!(!(x == 0 && c.is_spacer()), "lone spacer");
                }
            }
            debug_assert!(s.rows.last().is_none_or(|r| !r.wrapped), "the last row goes nowhere");
            debug_assert!(s.top <= s.bottom && s.bottom < self.size.rows);
            debug_assert!(s.left <= s.right && s.right < self.size.cols);
        }
        let c = &self.cursor;
        debug_assert!(c.x < self.size.cols && c.y < self.size.rows, "cursor");
    }
}
