//! For a terminal that can only be written to (`TERM=dumb`, or none said): a session's text, without what moves and colours.
//! Pure.

use sessd_terminal::{Size, Terminal};

/// Can the terminal of this name only be written to?
pub fn is_plain(term: Option<&str>) -> bool {
    matches!(term, None | Some("" | "dumb" | "unknown"))
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum At {
    #[default]
    Text,
    /// After ESC, and whatever intermediates.
    Escape,
    /// In a control sequence.
    Sequence,
    /// In a string, up to its end; true: an ESC may be the first half of that.
    String(bool),
}

/// Takes out of a session's output what such a terminal would show as rubbish. However it is cut.
#[derive(Debug, Default)]
pub struct Plain {
    at: At,
}

impl Plain {
    /// Passes on text, line ends, tabs, backspaces and bells.
    pub fn pass(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        for byte in bytes.iter().copied() {
            self.at = match (self.at, byte) {
                (At::String(_), 0x07 | 0x18 | 0x1a) | (At::String(true), b'\\') => At::Text,
                (At::String(_), 0x1b) => At::String(true),
                (At::String(_), _) => At::String(false),
                (_, 0x1b) => At::Escape,
                (At::Escape, b'[') => At::Sequence,
                (At::Escape, b']' | b'P' | b'_' | b'^' | b'X') => At::String(false),
                (At::Escape, 0x20..0x30) => At::Escape,
                (At::Sequence, 0x20..0x40) => At::Sequence,
                (At::Escape | At::Sequence, 0x30..0x7f) => At::Text,
                (at, 0x07..=0x0a | 0x0d) => {
                    out.push(byte);
                    at
                }
                (At::Text, 0x20..=0x7e | 0x80..) => {
                    out.push(byte);
                    At::Text
                }
                (at, _) => at,
            };
        }
    }

    /// Writes the text of a screen, from the beginning of a line on.
    pub fn screen(&mut self, snapshot: &[u8], (cols, rows): (u16, u16), out: &mut Vec<u8>) {
        let mut terminal = Terminal::new(Size { cols, rows }.clamped(), 0);
        terminal.feed(snapshot);
        self.at = At::Text;
        let text = terminal.text(0);
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(text.trim_end_matches('\n').replace('\n', "\r\n").as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_moves_and_colours_is_left_out_however_it_is_cut() {
        let session = "\x1b[1;31mred\x1b[m \x1b]0;title\x07text\r\n\x1b(B\x1b[?25l\x1bPq#0\x1b\\caf\u{e9}\ta\x08b\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\";
        for cut in 0..session.len() {
            let (mut plain, mut out) = (Plain::default(), Vec::new());
            plain.pass(&session.as_bytes()[..cut], &mut out);
            plain.pass(&session.as_bytes()[cut..], &mut out);
            assert_eq!(String::from_utf8_lossy(&out), "red text\r\ncaf\u{e9}\ta\x08blink", "{cut}");
        }
    }

    #[test]
    fn a_screen_is_its_text() {
        let mut out = Vec::new();
        Plain::default().screen(b"\x1b[2J\x1b[1;1Hone\x1b[2;1H\x1b[7m$ ", (20, 5), &mut out);
        assert_eq!(out, b"\r\none\r\n$");
    }

    #[test]
    fn which_terminals_those_are() {
        assert!(is_plain(None) && is_plain(Some("dumb")) && is_plain(Some("")));
        assert!(!is_plain(Some("xterm-256color")) && !is_plain(Some("linux")));
    }
}
