//! The last screen of a job that has ended, as it is kept: short, and drawn by our own model whoever sent it.

use sessd_terminal::{Size, SnapshotOptions, Terminal};

/// Bytes that it may have with the end of its scrollback.
const SCREEN_MAX: usize = 512 << 10;
/// Lines of scrollback to keep with it, the most first, until it is short enough.
const SCREEN_LINES: [usize; 5] = [10_000, 2_000, 500, 100, 0];
/// Bytes past which a screen without any scrollback is kept as plain text: some 80 000 cells that all look different.
const STYLED_MAX: usize = 4 << 20;
/// What drawing one may cost, as the model counts it, which is some 20 ms. Those of a holder cost a tenth of that.
const COST_MAX: u64 = 20_000_000;

/// The last screen of a session that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Screen {
    /// Escape sequences that draw it on a fresh terminal, after the end of its scrollback.
    pub snapshot: Vec<u8>,
    /// Columns and rows.
    pub size: (u16, u16),
}

/// What is kept of a model.
pub fn of(terminal: &Terminal) -> Screen {
    let size = terminal.size();
    let mut snapshot = Vec::new();
    for scrollback_lines in SCREEN_LINES {
        snapshot.clear();
        terminal.snapshot(SnapshotOptions { scrollback_lines, ..SnapshotOptions::default() }, &mut snapshot);
        if snapshot.len() <= SCREEN_MAX {
            break;
        }
    }
    if snapshot.len() > STYLED_MAX {
        snapshot = terminal.text(0).trim_end().replace('\n', "\r\n").into_bytes();
    }
    Screen { snapshot, size: (size.cols, size.rows) }
}

/// What is kept of a screen that a host kept. None if it costs more to draw than any screen does.
pub fn drawn(snapshot: &[u8], size: Size) -> Option<Screen> {
    let mut terminal = Terminal::new(size.clamped(), SCREEN_LINES[0]);
    let taken = terminal.feed_within(snapshot, COST_MAX);
    (taken == snapshot.len()).then(|| of(&terminal))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LARGE: Size = Size { cols: 1000, rows: 1000 };

    #[test]
    fn a_large_and_coloured_screen_of_a_holder_is_kept() {
        let mut terminal = Terminal::new(Size { cols: 300, rows: 80 }, 10_000);
        for n in 0..200_000u32 {
            let [a, b, c, _] = n.to_le_bytes();
            terminal.feed(format!("\x1b[38;2;{a};{b};{c}mx").as_bytes());
        }
        let kept = of(&terminal);
        assert!(drawn(&kept.snapshot, terminal.size()).is_some_and(|again| again.snapshot == kept.snapshot));
    }

    #[test]
    #[allow(clippy::disallowed_types, reason = "what drawing it may cost is bounded in time, too")]
    fn a_screen_of_bombs_is_none() {
        let bombs = format!("x\u{301}{}", "\x1b[65535b".repeat(100_000));
        let began = std::time::Instant::now();
        assert!(drawn(bombs.as_bytes(), LARGE).is_none());
        assert!(began.elapsed() < std::time::Duration::from_secs(5), "{:?}", began.elapsed());
    }

    #[test]
    fn a_screen_whose_cells_all_look_different_is_kept_as_text() {
        let mut terminal = Terminal::new(LARGE, 0);
        for n in 0..Size::MAX_CELLS {
            let [a, b, c, _] = n.to_le_bytes();
            terminal.feed(format!("\x1b[1;3;4;7;9;38;2;{a};{b};{c};48;2;{c};{a};{b}mx").as_bytes());
        }
        let kept = of(&terminal);
        assert!(kept.snapshot.len() < 200_000, "{}", kept.snapshot.len());
        assert!(kept.snapshot.starts_with(b"xxxxxxxxxx"));
    }
}
