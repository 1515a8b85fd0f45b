//! Rare sequences that change how a terminal works, each with what undoes it.

use super::{Borrowed, numbers};

impl Borrowed {
    /// Rare sequences that change how a terminal works, each with what undoes it (xterm ctlseqs).
    pub(super) fn oddity(&mut self, sequence: &[u8]) {
        let first: &[(&[u8], &[u8], &[u8])] = &[
            // Start, end, undo. 8-bit controls, and what is printed instead of shown.
            (b"\x1b G", b"", b"\x1b F"),
            (b"\x1b[", b"5i", b"\x1b[4i"),
            (b"\x1b[?", b"5i", b"\x1b[?4i"),
            // What is written goes into the status line, and there is one.
            (b"\x1b[", b"$}", b"\x1b[0$}"),
            (b"\x1b[", b"$~", b"\x1b[0$~"),
            // The level of conformance, by each number that a terminal may begin with: the highest it knows stays.
            (b"\x1b[", b"\"p", b"\x1b[62;1\"p\x1b[63;1\"p\x1b[64;1\"p\x1b[65;1\"p"),
            (b"\x1b%@", b"", b"\x1b%G"),
        ];
        let then: &[(&[u8], &[u8], &[u8])] = &[
            // A locked keyboard, an echo of the terminal's own.
            (b"\x1b[", b"h", b"\x1b[2l\x1b[12h"),
            (b"\x1b[", b"l", b"\x1b[2l\x1b[12h"),
            // Memory lock, guarded areas, bells, lamps, checksums, areas.
            (b"\x1bl", b"", b"\x1bm"),
            (b"\x1bV", b"", b"\x1bW"),
            (b"\x1b[", b" t", b"\x1b[8 t"),
            (b"\x1b[", b" u", b"\x1b[8 u"),
            (b"\x1b[", b"#y", b"\x1b[0#y"),
            (b"\x1b[", b"*x", b"\x1b[0*x"),
            // The locator, the pointer, titles in hexadecimal.
            (b"\x1b[", b"'z", b"\x1b[0'z"),
            (b"\x1b[", b"'{", b"\x1b[0'{"),
            (b"\x1b[>", b"p", b"\x1b[>1p"),
            (b"\x1b[>", b"t", b"\x1b[>0;1;2;3T"),
            // What keys send.
            (b"\x1b[>", b"m", b"\x1b[>0m\x1b[>1m\x1b[>2m\x1b[>3m"),
            (b"\x1b[>", b"n", b"\x1b[>0m\x1b[>1m\x1b[>2m\x1b[>3m\x1b[>4m"),
            (b"\x1b[>", b"f", b"\x1b[>0f\x1b[>1f\x1b[>2f\x1b[>4f"),
            (b"\x1bP", b"|", b"\x1bP0;1|\x1b\\"),
            // The pointer's shape, the font, a bar of progress.
            (b"\x1b]22;", b"", b"\x1b]22;\x1b\\"),
            (b"\x1b]50;", b"", b"\x1b]50;#0\x1b\\"),
            (b"\x1b]9;4;", b"", b"\x1b]9;4;0\x1b\\"),
        ];
        let is = |(start, end, _): &&(&[u8], &[u8], &'static [u8])| {
            let Some(rest) = sequence.strip_prefix(*start) else { return false };
            // Whatever has a marker is another sequence.
            rest.ends_with(end)
                && (start.len() > 2 || end.is_empty() || !matches!(rest.first(), Some(b'<'..=b'?')))
        };
        if let Some((.., undo)) = first.iter().find(is) {
            remember(&mut self.first, undo);
        }
        // A snapshot says these each time, and they set what a terminal begins with.
        let harmless = matches!(sequence, b"\x1b[>m" | b"\x1b[>4;0m");
        if let Some((.., undo)) = then.iter().find(is).filter(|_| !harmless) {
            let ansi = matches!(sequence.last(), Some(b'h' | b'l')) && sequence.get(1) == Some(&b'[');
            let modes = sequence.get(2..sequence.len() - 1).and_then(numbers).unwrap_or_default();
            if !ansi || modes.iter().any(|mode| matches!(mode, 2 | 12)) {
                remember(&mut self.then, undo);
            }
        }
    }
}

fn remember(list: &mut Vec<&'static [u8]>, undo: &'static [u8]) {
    if !list.contains(&undo) {
        list.push(undo);
    }
}
