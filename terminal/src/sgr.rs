//! A style as the SGR sequence that says it from nothing.

use std::io::Write as _;

use crate::style::{Color, ColorKind, Style, attr};

/// What is turned on by a number of its own.
pub(crate) const SIMPLE: [(u16, &str); 9] = [
    (attr::BOLD, "1"),
    (attr::DIM, "2"),
    (attr::ITALIC, "3"),
    (attr::BLINK, "5"),
    (attr::RAPID, "6"),
    (attr::INVERSE, "7"),
    (attr::HIDDEN, "8"),
    (attr::STRIKE, "9"),
    (attr::OVERLINE, "53"),
];

/// Writes a colour as SGR parameters with a leading semicolon.
fn push_color(out: &mut Vec<u8>, c: Color, base: u16, bright: u16, extended: u16) {
    // Writing to a Vec does not fail.
    let _ = match c.kind() {
        ColorKind::Default => Ok(()),
        ColorKind::Ansi(i @ 0..=7) => write!(out, ";{}", base + u16::from(i)),
        ColorKind::Ansi(i) => write!(out, ";{}", bright + u16::from(i - 8)),
        ColorKind::Indexed(i) => write!(out, ";{extended};5;{i}"),
        ColorKind::Rgb(r, g, b) => write!(out, ";{extended};2;{r};{g};{b}"),
    };
}

/// The SGR that says `style` from nothing.
pub(crate) fn push_sgr(out: &mut Vec<u8>, style: Style, underline: Color) {
    let a = style.attrs & !attr::PROTECTED;
    if a == 0 && style.fg == Color::DEFAULT && style.bg == Color::DEFAULT && underline == Color::DEFAULT {
        out.extend_from_slice(b"\x1b[m");
        return;
    }
    out.extend_from_slice(b"\x1b[0");
    if a != 0 {
        for (bit, code) in SIMPLE {
            if a & bit != 0 {
                out.push(b';');
                out.extend_from_slice(code.as_bytes());
            }
        }
        match (a & attr::UNDERLINE) >> attr::UNDERLINE_SHIFT {
            0 => {}
            1 => out.extend_from_slice(b";4"),
            k => out.extend_from_slice(&[b';', b'4', b':', b'0' + k as u8]),
        }
    }
    push_color(out, style.fg, 30, 90, 38);
    push_color(out, style.bg, 40, 100, 48);
    let _ = match underline.kind() {
        ColorKind::Default => Ok(()),
        ColorKind::Ansi(i) | ColorKind::Indexed(i) => write!(out, ";58:5:{i}"),
        ColorKind::Rgb(r, g, b) => write!(out, ";58:2::{r}:{g}:{b}"),
    };
    out.push(b'm');
}
