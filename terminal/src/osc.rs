//! What operating system commands do: titles, colours, links, the working directory, prompt marks.

use std::sync::Arc;

use crate::measure::{self, Traits};
use crate::notes;
use crate::signals::Signal;
use crate::style::Hyperlink;
use crate::terminal::Model;

/// Longest address of a link, in bytes; a longer one is no link.
const MAX_URI: usize = 2083;
/// Longest `id=` of a link, in bytes.
const MAX_ID: usize = 256;
/// Longest title, in bytes; a longer one is cut.
const MAX_TITLE: usize = 1024;
/// Longest mark of shell integration that is looked at, in bytes.
const MAX_MARK: usize = 1024;
/// Longest OSC 7 address, in bytes; a longer one is ignored.
const MAX_CWD: usize = 4096;

/// The number an OSC starts with, and what follows its semicolon.
pub(crate) fn split(body: &[u8]) -> Option<(u16, &[u8])> {
    let end = body.iter().position(|&b| b == b';').unwrap_or(body.len());
    let digits = &body[..end];
    if digits.is_empty() || digits.len() > 5 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some((number, body.get(end + 1..).unwrap_or(&[])))
}

/// Text of an OSC without control characters, so that it can be said again.
fn text(bytes: &[u8], max: usize) -> String {
    let mut s: String = String::from_utf8_lossy(bytes).chars().filter(|c| !c.is_control()).collect();
    if s.len() > max {
        let cut = (0..=max).rev().find(|&i| s.is_char_boundary(i)).unwrap_or(0);
        s.truncate(cut);
    }
    s
}

impl Model {
    pub(crate) fn do_osc(&mut self, body: &[u8]) {
        let Some((number, rest)) = split(body) else { return };
        match number {
            0 => {
                self.title = Some(text(rest, MAX_TITLE));
                self.icon.clone_from(&self.title);
            }
            1 => self.icon = Some(text(rest, MAX_TITLE)),
            2 => self.title = Some(text(rest, MAX_TITLE)),
            4 => {
                let mut parts = rest.split(|&b| b == b';');
                while let (Some(index), Some(spec)) = (parts.next(), parts.next()) {
                    if let (Some(index), Some(rgb)) = (number_of(index), parse_color(spec)) {
                        self.palette.insert(u32::from(index), rgb);
                    }
                }
            }
            7 => self.set_cwd(rest),
            8 => self.link(rest),
            9 => self.signals.osc_9(rest),
            10..=19 => {
                for (i, spec) in rest.split(|&b| b == b';').enumerate() {
                    if let (Some(slot), Some(rgb)) =
                        (self.colors.get_mut(usize::from(number - 10) + i), parse_color(spec))
                    {
                        *slot = Some(rgb);
                    }
                }
            }
            99 => self.signals.osc_99(rest),
            104 if rest.is_empty() => self.palette.clear(),
            104 => {
                for index in rest.split(|&b| b == b';').filter_map(number_of) {
                    self.palette.remove(u32::from(index));
                }
            }
            110..=119 => self.colors[usize::from(number - 110)] = None,
            133 => self.shell_mark(rest),
            777 => self.signals.osc_777(rest),
            1337 => self.inline_file(rest),
            measure::OSC => self.traits = Traits::parse(rest).unwrap_or(self.traits),
            _ => {}
        }
    }

    fn set_cwd(&mut self, uri: &[u8]) {
        if uri.is_empty() {
            self.cwd = None;
            self.cwd_path = None;
            return;
        }
        if uri.len() > MAX_CWD {
            return;
        }
        let uri = text(uri, MAX_CWD * 3);
        if uri.is_empty() {
            return;
        }
        let path = uri.strip_prefix("file://").and_then(|r| r.find('/').map(|i| &r[i..]));
        self.cwd_path = path.map(percent_decode);
        self.cwd = Some(uri);
    }

    fn link(&mut self, rest: &[u8]) {
        let Some(i) = rest.iter().position(|&b| b == b';') else { return };
        let (params, uri) = (&rest[..i], &rest[i + 1..]);
        let uri = if uri.len() > MAX_URI { String::new() } else { text(uri, MAX_URI * 3) };
        let link = if uri.is_empty() {
            None
        } else {
            let id = params.split(|&b| b == b':').find_map(|p| p.strip_prefix(b"id=")).unwrap_or(&[]);
            Some(Arc::new(Hyperlink::new(text(id, MAX_ID), uri)))
        };
        self.set_ext(|e| e.link = link);
    }

    fn shell_mark(&mut self, rest: &[u8]) {
        let Some(state) = rest.first().and_then(|letter| notes::state_of(*letter)) else { return };
        if rest.get(1).is_some_and(|&b| b != b';') {
            return;
        }
        // A snapshot says where the shell stands without marking the row once more.
        let silently = rest.ends_with(STATE_ONLY);
        self.shell = Some(state);
        if !silently {
            self.signals.put(Signal::Shell(state));
            let said = text(rest, MAX_MARK);
            self.cursor_row().notes.mark(said.as_bytes());
        }
    }
}

/// Parameter of OSC 133 by which a snapshot sets the state without marking the row; others ignore unknown parameters.
pub(crate) const STATE_ONLY: &[u8] = b";sessd=state";

fn number_of(digits: &[u8]) -> Option<u8> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

fn percent_decode(s: &str) -> String {
    let b = s.as_bytes();
    let hex = |i: usize| b.get(i).and_then(|&c| char::from(c).to_digit(16));
    let mut out = Vec::with_capacity(b.len());
    let mut i = 0;
    while i < b.len() {
        match (b[i], hex(i + 1), hex(i + 2)) {
            (b'%', Some(h), Some(l)) => {
                out.push((h * 16 + l) as u8);
                i += 3;
            }
            (c, ..) => {
                out.push(c);
                i += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// `rgb:h/h/h` to `rgb:hhhh/hhhh/hhhh`, `#rgb` to `#rrrrggggbbbb` (XParseColor), and the names of X11.
pub(crate) fn parse_color(spec: &[u8]) -> Option<[u8; 3]> {
    let s = std::str::from_utf8(spec).ok()?;
    // Scaled to eight bits: `rgb:` values are fractions, `#` values are the high bits.
    let part = |p: &str, fraction: bool| -> Option<u8> {
        if p.is_empty() || p.len() > 4 || !p.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        let v = u32::from_str_radix(p, 16).ok()?;
        let max = (1u32 << (4 * p.len())) - 1;
        Some(if fraction {
            ((v * 255 + max / 2) / max) as u8
        } else {
            ((v << 16) >> (4 * p.len()) >> 8) as u8
        })
    };
    if let Some(r) = s.strip_prefix("rgb:") {
        let mut it = r.split('/');
        let rgb = [part(it.next()?, true)?, part(it.next()?, true)?, part(it.next()?, true)?];
        return if it.next().is_none() { Some(rgb) } else { None };
    }
    if let Some(h) = s.strip_prefix('#') {
        if !h.is_ascii() || h.is_empty() || h.len() % 3 != 0 || h.len() > 12 {
            return None;
        }
        let n = h.len() / 3;
        return Some([part(&h[..n], false)?, part(&h[n..2 * n], false)?, part(&h[2 * n..], false)?]);
    }
    crate::color_names::find(s)
}
