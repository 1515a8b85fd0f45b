//! What a program asks its terminal, and what the model answers when no view is there to do so.
//!
//! An answer is typed into the job: text that somebody else wrote and that is only shown must not become a command there.
//! So a [`Query`] holds nothing of the question but numbers, settings we know by name, and letters of a fixed alphabet
//! ([`Selections`], [`Names`]); what is answered is written from these and from the model's numbers and colours.

use std::io::Write as _;

use crate::modes::{self, bit};
use crate::osc;
use crate::parser::Csi;
use crate::sgr::push_sgr;
use crate::style::{Color, attr};
use crate::terminal::Terminal;

/// A question to the terminal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Query {
    /// `CSI c`.
    Da1,
    /// `CSI > c`.
    Da2,
    /// `CSI = c`.
    Da3,
    /// `CSI 5 n`: is it well?
    Status,
    /// `CSI 6 n`.
    CursorPosition,
    /// `CSI ? 6 n`.
    ExtendedCursorPosition,
    /// `CSI ? n` with another number: printer, keys, locator and so on.
    PrivateStatus(u16),
    /// `CSI Ps $ p`.
    AnsiMode(u16),
    /// `CSI ? Ps $ p`.
    PrivateMode(u16),
    /// DECRQSS, `DCS $ q Pt ST`.
    Setting(Setting),
    /// `CSI > q`.
    Version,
    /// OSC 4 with `?`: one palette entry.
    Palette(u8),
    /// OSC 5 with `?`: one special colour.
    SpecialColor(u8),
    /// OSC 10–19 with `?`.
    DynamicColor(u16),
    /// OSC 52 with `?`.
    Clipboard(Selections),
    /// `CSI ? u`: the kitty keyboard flags.
    Keyboard,
    /// `CSI > Ps ... ? m`-like questions: XTQMODKEYS, `CSI ? Ps m`.
    ModifyKeys(u16),
    /// `CSI Ps t` that reports.
    Window(u16),
    /// XTGETTCAP, `DCS + q Pt ST`.
    Capabilities(Names),
    /// DECREQTPARM, `CSI Ps x`.
    Parameters(u16),
    /// Several in one sequence.
    Many(Vec<Query>),
}

/// What DECRQSS can ask for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Setting {
    /// SGR.
    Pen,
    /// DECSTBM.
    Rows,
    /// DECSLRM.
    Columns,
    /// DECSCUSR.
    CursorStyle,
    /// DECSCA.
    Protection,
    /// DECSCL.
    Conformance,
    /// DECSLPP.
    Height,
    /// DECSCPP.
    Width,
    /// Anything else; it is answered as not known, and not by its name.
    Unknown,
}

impl Setting {
    fn named(what: &[u8]) -> Self {
        match what {
            b"m" => Self::Pen,
            b"r" => Self::Rows,
            b"s" => Self::Columns,
            b" q" => Self::CursorStyle,
            b"\"q" => Self::Protection,
            b"\"p" => Self::Conformance,
            b"t" => Self::Height,
            b"$|" => Self::Width,
            _ => Self::Unknown,
        }
    }
}

/// The selections that OSC 52 names: `c`, `p`, `q`, `s`, `0` to `7`, each once. What else stood there is not kept.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Selections(Vec<u8>);

impl Selections {
    fn named(names: &[u8]) -> Self {
        let mut kept = Vec::new();
        for known in names.iter().filter_map(|b| b"cpqs01234567".iter().find(|k| *k == b)) {
            if !kept.contains(known) {
                kept.push(*known);
            }
        }
        Self(kept)
    }
}

/// The names that XTGETTCAP asks for: digits of hex, and semicolons between them. What else stood there is not kept.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Names(Vec<u8>);

impl Names {
    fn named(names: &[u8]) -> Self {
        Self(names.iter().copied().filter(|b| b.is_ascii_hexdigit() || *b == b';').collect())
    }
}

/// Modes that are the session's and not its terminals': carried out by the holder, or by nobody.
const OF_THE_SESSION: [u16; 3] = [2027, 2031, 2048];

impl Query {
    /// Is it about something that no view's terminal can speak for? What one has, the next may not have: the holder answers it,
    /// whether there is a view or not.
    pub fn is_of_the_session(&self) -> bool {
        matches!(self, Self::PrivateMode(mode) if OF_THE_SESSION.contains(mode))
    }

    /// Cursor position reports (`CSI r ; c R`) that answer it, for [`Outstanding`](crate::Outstanding).
    pub fn cursor_reports(&self) -> u32 {
        match self {
            Self::CursorPosition => 1,
            Self::Many(all) => all.iter().map(Self::cursor_reports).sum(),
            _ => 0,
        }
    }
}

/// A piece of the stream.
pub(crate) enum Lexeme<'a> {
    Text(&'a [u8]),
    Query {
        query: Query,
        /// What the sequence did beside asking, as a sequence without the question.
        rest: Vec<u8>,
        /// Its start had left before the scanner saw it.
        started: bool,
    },
}

/// Finds queries in a stream that is cut anywhere.
#[derive(Clone, Debug, Default)]
pub struct QueryScanner {
    held: Vec<u8>,
    /// Bytes at the start of `held` that have left already.
    left: usize,
}

enum Lexed {
    /// This many bytes are a sequence that asks.
    Query(usize, Query, Vec<u8>),
    /// This many bytes are none.
    Other(usize),
    Unfinished,
}

impl QueryScanner {
    /// Most bytes held back for a sequence that may be a query; a longer one is taken as none.
    pub const MAX_HELD: usize = 1024;

    /// What is held back.
    pub fn held(&self) -> &[u8] {
        &self.held[self.left..]
    }

    /// Whether a query ends in `bytes`, which follow what was shown before. For one who only watches the stream.
    pub fn sees_query(&mut self, bytes: &[u8]) -> Option<Vec<Query>> {
        let mut seen = Vec::new();
        self.scan(bytes, |f| {
            if let Lexeme::Query { query, .. } = f {
                seen.push(query);
            }
        });
        if seen.is_empty() { None } else { Some(seen) }
    }

    pub(crate) fn start_with(&mut self, head: &[u8]) {
        if head.first() == Some(&0x1b) && head.len() < Self::MAX_HELD {
            self.held = head.to_vec();
            self.left = head.len();
        }
    }

    pub(crate) fn give_up(&mut self) -> Vec<u8> {
        let left = std::mem::take(&mut self.left);
        std::mem::take(&mut self.held).split_off(left)
    }

    pub(crate) fn scan(&mut self, bytes: &[u8], mut emit: impl FnMut(Lexeme<'_>)) {
        if self.held.is_empty() {
            self.scan_from(bytes, &mut emit);
            return;
        }
        let mut all = std::mem::take(&mut self.held);
        let left = std::mem::take(&mut self.left);
        all.extend_from_slice(bytes);
        match lex(&all) {
            Lexed::Query(n, query, rest) => {
                emit(Lexeme::Query { query, rest, started: left > 0 });
                self.scan_from(&all[n..], &mut emit);
            }
            Lexed::Other(n) => {
                let n = n.max(left);
                if n > left {
                    emit(Lexeme::Text(&all[left..n]));
                }
                self.scan_from(&all[n..], &mut emit);
            }
            Lexed::Unfinished => {
                self.held = all;
                self.left = left;
            }
        }
    }

    fn scan_from(&mut self, bytes: &[u8], emit: &mut impl FnMut(Lexeme<'_>)) {
        let mut text = 0;
        let mut i = 0;
        while let Some(esc) = bytes[i..].iter().position(|&b| b == 0x1b) {
            i += esc;
            match lex(&bytes[i..]) {
                Lexed::Other(n) => i += n,
                Lexed::Query(n, query, rest) => {
                    if i > text {
                        emit(Lexeme::Text(&bytes[text..i]));
                    }
                    emit(Lexeme::Query { query, rest, started: false });
                    i += n;
                    text = i;
                }
                Lexed::Unfinished => {
                    if i > text {
                        emit(Lexeme::Text(&bytes[text..i]));
                    }
                    self.held = bytes[i..].to_vec();
                    return;
                }
            }
        }
        if text < bytes.len() {
            emit(Lexeme::Text(&bytes[text..]));
        }
    }
}

/// At an ESC.
fn lex(bytes: &[u8]) -> Lexed {
    let long = bytes.len() >= QueryScanner::MAX_HELD;
    match bytes.get(1) {
        None => Lexed::Unfinished,
        Some(b'Z') => Lexed::Query(2, Query::Da1, Vec::new()),
        Some(b'[') => {
            let body = bytes[2..].iter().take(QueryScanner::MAX_HELD);
            let Some(n) = body.clone().position(|b| !(0x20..=0x3f).contains(b)) else {
                return if long { Lexed::Other(bytes.len()) } else { Lexed::Unfinished };
            };
            let last = bytes[2 + n];
            if !(0x40..=0x7e).contains(&last) {
                return Lexed::Other(2 + n);
            }
            let query = Csi::parse(&bytes[2..2 + n], last).and_then(|csi| of_csi(&csi));
            match query {
                Some(q) => Lexed::Query(3 + n, q, Vec::new()),
                None => Lexed::Other(3 + n),
            }
        }
        Some(kind @ (b']' | b'P')) => {
            if !may_ask(*kind, &bytes[2..]) {
                return Lexed::Other(2);
            }
            let end = bytes[2..]
                .iter()
                .take(QueryScanner::MAX_HELD)
                .position(|b| matches!(b, 7 | 0x18 | 0x1a | 0x1b));
            let Some(n) = end else {
                return if long { Lexed::Other(bytes.len()) } else { Lexed::Unfinished };
            };
            let body = &bytes[2..2 + n];
            let len = match (bytes[2 + n], bytes.get(3 + n)) {
                (7, _) if *kind == b']' => 3 + n,
                (0x1b, Some(b'\\')) => 4 + n,
                (0x1b, None) => return Lexed::Unfinished,
                // Any other ESC ends it too, and starts something of its own.
                (0x1b, Some(_)) => 2 + n,
                _ => return Lexed::Other(2 + n),
            };
            let found = if *kind == b']' { of_osc(body) } else { of_dcs(body).map(|q| (q, Vec::new())) };
            match found {
                Some((q, rest)) => Lexed::Query(len, q, rest),
                None => Lexed::Other(len),
            }
        }
        Some(_) => Lexed::Other(1),
    }
}

/// Whether a string that starts like this can still turn out to be a query.
fn may_ask(kind: u8, body: &[u8]) -> bool {
    if kind == b'P' {
        return matches!(body, [] | [b'$' | b'+'] | [b'$' | b'+', b'q', ..]);
    }
    let end = body.iter().position(|b| !b.is_ascii_digit()).unwrap_or(body.len());
    let open = end == body.len();
    match &body[..end] {
        [] => open,
        b"4" | b"5" | b"52" => true,
        b"1" => open,
        [b'1', _] => true,
        _ => false,
    }
}

fn of_csi(csi: &Csi<'_>) -> Option<Query> {
    let p = csi.raw(0);
    Some(match (csi.marker, csi.intermediates, csi.last) {
        (0, [], b'c') if p == 0 => Query::Da1,
        (b'>', [], b'c') if p == 0 => Query::Da2,
        (b'=', [], b'c') if p == 0 => Query::Da3,
        (0, [], b'n') if p == 5 => Query::Status,
        (0, [], b'n') if p == 6 => Query::CursorPosition,
        (b'?', [], b'n') if p == 6 => Query::ExtendedCursorPosition,
        (b'?', [], b'n') if matches!(p, 15 | 25 | 26 | 53 | 55 | 56 | 62 | 63 | 75 | 85 | 996) => {
            Query::PrivateStatus(p)
        }
        (0, [b'$'], b'p') => Query::AnsiMode(p),
        (b'?', [b'$'], b'p') => Query::PrivateMode(p),
        (b'>', [], b'q') if p == 0 => Query::Version,
        (b'?', [], b'u') => Query::Keyboard,
        (b'?', [], b'm') => Query::ModifyKeys(p),
        (0, [], b't') if matches!(p, 11 | 13..=16 | 18..=21) => Query::Window(p),
        (0, [], b'x') if p <= 1 => Query::Parameters(p),
        _ => return None,
    })
}

fn of_osc(body: &[u8]) -> Option<(Query, Vec<u8>)> {
    let (number, rest) = osc::split(body)?;
    let mut asked = Vec::new();
    let mut kept: Vec<u8> = Vec::new();
    match number {
        4 | 5 => {
            let mut parts = rest.split(|&b| b == b';');
            while let (Some(index), Some(spec)) = (parts.next(), parts.next()) {
                if spec == b"?" {
                    if let Some(i) = std::str::from_utf8(index).ok().and_then(|s| s.parse().ok()) {
                        asked.push(if number == 4 { Query::Palette(i) } else { Query::SpecialColor(i) });
                    }
                } else {
                    for p in [b";".as_slice(), index, b";", spec] {
                        kept.extend_from_slice(p);
                    }
                }
            }
            if !kept.is_empty() {
                let start: &[u8] = if number == 4 { b"\x1b]4" } else { b"\x1b]5" };
                kept = [start, &kept, b"\x1b\\"].concat();
            }
        }
        10..=19 => {
            for (n, spec) in (number..).zip(rest.split(|&b| b == b';')) {
                if spec == b"?" && n <= 19 {
                    asked.push(Query::DynamicColor(n));
                } else if !spec.is_empty() {
                    kept.extend_from_slice(format!("\x1b]{n};").as_bytes());
                    kept.extend_from_slice(spec);
                    kept.extend_from_slice(b"\x1b\\");
                }
            }
        }
        52 => {
            let name = rest.strip_suffix(b";?")?;
            return Some((Query::Clipboard(Selections::named(name)), Vec::new()));
        }
        _ => return None,
    }
    let query = if asked.len() > 1 { Query::Many(asked) } else { asked.pop()? };
    Some((query, kept))
}

fn of_dcs(body: &[u8]) -> Option<Query> {
    if let Some(what) = body.strip_prefix(b"$q") {
        return Some(Query::Setting(Setting::named(what)));
    }
    body.strip_prefix(b"+q").map(|names| Query::Capabilities(Names::named(names)))
}

/// Writes what a terminal in this state would answer.
pub(crate) fn answer(t: &Terminal, query: &Query, out: &mut Vec<u8>) {
    let m = &t.state;
    let s = m.screen_ref();
    let size = m.size;
    // Writing to a Vec does not fail.
    let _ = match query {
        Query::Da1 => write!(out, "\x1b[?62;22c"),
        Query::Da2 => write!(out, "\x1b[>1;0;0c"),
        Query::Da3 => write!(out, "\x1bP!|00000000\x1b\\"),
        Query::Status => write!(out, "\x1b[0n"),
        Query::CursorPosition | Query::ExtendedCursorPosition => {
            let (mut x, mut y) = (m.cursor.x, m.cursor.y);
            if m.modes.has(bit::ORIGIN) {
                x = x.saturating_sub(s.left);
                y = y.saturating_sub(s.top);
            }
            let (page, mark) = if *query == Query::CursorPosition { ("", "") } else { (";1", "?") };
            write!(out, "\x1b[{mark}{};{}{page}R", y + 1, x + 1)
        }
        Query::PrivateStatus(n) => match n {
            15 => write!(out, "\x1b[?13n"),
            25 => write!(out, "\x1b[?21n"),
            26 => write!(out, "\x1b[?27;1;0;0n"),
            53 | 55 => write!(out, "\x1b[?53n"),
            56 => write!(out, "\x1b[?57;0n"),
            62 => write!(out, "\x1b[0*{{"),
            63 => write!(out, "\x1bP1!~0000\x1b\\"),
            75 => write!(out, "\x1b[?70n"),
            85 => write!(out, "\x1b[?83n"),
            _ => write!(out, "\x1b[?997;{}n", m.heard.scheme(m.colors[1])),
        },
        Query::AnsiMode(n) => {
            let v = match n {
                4 => 2 - u8::from(m.modes.has(bit::INSERT)),
                20 => 2 - u8::from(m.modes.has(bit::NEWLINE)),
                2 | 12 => 4,
                _ => 0,
            };
            write!(out, "\x1b[{n};{v}$y")
        }
        Query::PrivateMode(n) => write!(out, "\x1b[?{n};{}$y", private_mode(t, *n)),
        Query::Setting(what) => setting(t, *what, out),
        Query::Version => write!(out, "\x1bP>|sessd({})\x1b\\", env!("CARGO_PKG_VERSION")),
        Query::Palette(i) => {
            let [r, g, b] = m
                .palette
                .get((*i).into())
                .or(m.heard.palette.get((*i).into()))
                .copied()
                .unwrap_or_else(|| default_palette(*i));
            write!(out, "\x1b]4;{i};rgb:{r:02x}{r:02x}/{g:02x}{g:02x}/{b:02x}{b:02x}\x1b\\")
        }
        Query::SpecialColor(i) => write!(out, "\x1b]5;{i};rgb:ffff/ffff/ffff\x1b\\"),
        Query::DynamicColor(n) => {
            let fallback = if matches!(n, 11 | 14 | 16 | 17) { [0; 3] } else { [255; 3] };
            let at = usize::from((n - 10).min(9));
            let [r, g, b] = m.colors[at].or(m.heard.colors[at]).unwrap_or(fallback);
            write!(out, "\x1b]{n};rgb:{r:02x}{r:02x}/{g:02x}{g:02x}/{b:02x}{b:02x}\x1b\\")
        }
        Query::Clipboard(Selections(names)) => {
            out.extend_from_slice(b"\x1b]52;");
            out.extend_from_slice(names);
            write!(out, ";\x1b\\")
        }
        Query::Keyboard => write!(out, "\x1b[?{}u", s.keyboard.flags),
        Query::ModifyKeys(n) => {
            let v = m.modify_keys.get(usize::from(*n)).copied().flatten().unwrap_or(0);
            write!(out, "\x1b[>{n};{v}m")
        }
        Query::Window(n) => match n {
            11 => write!(out, "\x1b[1t"),
            13 => write!(out, "\x1b[3;0;0t"),
            // Without a window there are no pixels; a cell of 10 by 20 keeps ratios plausible.
            14 => write!(out, "\x1b[4;{};{}t", u32::from(size.rows) * 20, u32::from(size.cols) * 10),
            15 => write!(out, "\x1b[5;{};{}t", u32::from(size.rows) * 20, u32::from(size.cols) * 10),
            16 => write!(out, "\x1b[6;20;10t"),
            18 => write!(out, "\x1b[8;{};{}t", size.rows, size.cols),
            19 => write!(out, "\x1b[9;{};{}t", size.rows, size.cols),
            // What a program can set and read back could be typed into a shell: titles are answered empty.
            20 => write!(out, "\x1b]L\x1b\\"),
            _ => write!(out, "\x1b]l\x1b\\"),
        },
        Query::Capabilities(Names(names)) => {
            out.extend_from_slice(b"\x1bP0+r");
            out.extend_from_slice(names);
            write!(out, "\x1b\\")
        }
        Query::Parameters(n) => write!(out, "\x1b[{};1;1;128;128;1;0x", n + 2),
        Query::Many(all) => {
            all.iter().for_each(|q| answer(t, q, out));
            Ok(())
        }
    };
}

/// 1 set, 2 reset, 0 unknown, 4 for ever reset. What is kept for the terminals that know it, and done by nobody where there is
/// none, is not claimed: pixels of the mouse (1016), widths of whole clusters (2027), notices of another theme (2031).
fn private_mode(t: &Terminal, n: u16) -> u8 {
    let m = &t.state;
    let on = match n {
        1016 | 2027 | 2031 => return 0,
        9 | 1000 | 1002 | 1003 => m.modes.mouse == n,
        1005 | 1006 | 1015 => m.modes.mouse_encoding == n,
        47 | 1047 | 1049 => m.alternate.is_some(),
        1048 => m.screen_ref().saved != crate::screen::Saved::default(),
        _ => match modes::private_bit(n) {
            Some(b) => m.modes.has(b),
            None => return if matches!(n, 3 | 4 | 8 | 18 | 19 | 1001) { 4 } else { 0 },
        },
    };
    if on { 1 } else { 2 }
}

fn setting(t: &Terminal, what: Setting, out: &mut Vec<u8>) -> std::io::Result<()> {
    let m = &t.state;
    let s = m.screen_ref();
    match what {
        Setting::Pen => {
            let pen = m.cursor.pen;
            let mut sgr = Vec::new();
            push_sgr(&mut sgr, pen, if pen.ext == 0 { Color::DEFAULT } else { m.ext.get(pen.ext).underline });
            let body = sgr.strip_prefix(b"\x1b[").unwrap_or(&sgr);
            out.extend_from_slice(b"\x1bP1$r");
            out.extend_from_slice(if body == b"m" { b"0m" } else { body });
            write!(out, "\x1b\\")
        }
        Setting::Rows => write!(out, "\x1bP1$r{};{}r\x1b\\", s.top + 1, s.bottom + 1),
        Setting::Columns => write!(out, "\x1bP1$r{};{}s\x1b\\", s.left + 1, s.right + 1),
        Setting::CursorStyle => write!(out, "\x1bP1$r{} q\x1b\\", m.cursor_style),
        Setting::Protection => {
            write!(out, "\x1bP1$r{}\"q\x1b\\", u8::from(m.cursor.pen.attrs & attr::PROTECTED != 0))
        }
        Setting::Conformance => write!(out, "\x1bP1$r62;1\"p\x1b\\"),
        Setting::Height => write!(out, "\x1bP1$r{}t\x1b\\", m.size.rows),
        Setting::Width => write!(out, "\x1bP1$r{}$|\x1b\\", m.size.cols),
        Setting::Unknown => write!(out, "\x1bP0$r\x1b\\"),
    }
}

/// xterm's palette.
pub(crate) fn default_palette(i: u8) -> [u8; 3] {
    const BASE: [[u8; 3]; 16] = [
        [0, 0, 0],
        [205, 0, 0],
        [0, 205, 0],
        [205, 205, 0],
        [0, 0, 238],
        [205, 0, 205],
        [0, 205, 205],
        [229, 229, 229],
        [127, 127, 127],
        [255, 0, 0],
        [0, 255, 0],
        [255, 255, 0],
        [92, 92, 255],
        [255, 0, 255],
        [0, 255, 255],
        [255, 255, 255],
    ];
    match i {
        0..=15 => BASE[usize::from(i)],
        16..=231 => {
            let step = |v: u8| if v == 0 { 0 } else { 55 + 40 * v };
            let n = i - 16;
            [step(n / 36), step(n / 6 % 6), step(n % 6)]
        }
        _ => [8 + 10 * (i - 232); 3],
    }
}
