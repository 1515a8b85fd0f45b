//! Images in the text: sixel (DEC STD 070, xterm), kitty's graphics and iTerm2's inline files. Where they are is known, so that
//! what follows stands where a terminal puts it, and within a bound what they are is kept as it was written, so that a snapshot
//! shows them again.
//!
//! How many cells one takes is known by the size of a cell in [`Traits`](crate::Traits). After one the cursor is in the last row of
//! it: in the column it began in after a sixel, behind it after any other.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::Size;
use crate::image_size::{self, Pixels};
use crate::modes::bit;
use crate::numbered::Numbered;
use crate::terminal::Model;

/// Bytes of images that are kept of one terminal; the oldest go. An unfinished one may be as long beside them.
pub const MAX_IMAGE_BYTES: usize = 4 << 20;
/// Images sent ahead of their being shown that are remembered.
const MAX_SENT: usize = 256;
/// Pixels of a cell where that is not known: those of a VT340.
const CELL: (u16, u16) = (10, 20);
/// Most rows of one.
const MAX_ROWS: u32 = 4096;

/// One that is shown somewhere.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    id: u32,
    pub(crate) cols: u16,
    pub(crate) rows: u16,
    /// Rows it must have, or the screen scrolls while it is shown: a sixel image may want one for a band that it has not.
    wants: u16,
    /// It leaves the cursor behind it, and that is in the next row where the screen ends with it.
    behind: bool,
    /// The number that the program gave it, in kitty's protocol.
    number: Option<u32>,
    /// What shows it, with the cursor at its top left.
    pub(crate) bytes: Arc<[u8]>,
}

/// One that was sent by kitty's protocol and may be shown later.
#[derive(Clone, Debug)]
struct Sent {
    pixels: Option<Pixels>,
    /// What sends it, without showing it in place.
    bytes: Option<Arc<[u8]>>,
}

/// One that comes in parts.
#[derive(Clone, Debug)]
struct Open {
    keys: Keys,
    pixels: Option<Pixels>,
    bytes: Vec<u8>,
    /// It is too long to be kept.
    lost: bool,
}

/// The images of one terminal.
#[derive(Clone, Debug, Default)]
pub(crate) struct Images {
    /// The oldest first.
    kept: VecDeque<Image>,
    bytes: usize,
    last: u32,
    sent: Numbered<Sent>,
    open: Option<Box<Open>>,
}

impl Image {
    /// Whether a snapshot says it: not what would scroll the screen. `x`, `y`: the column, and the row of the screen, that it begins
    /// in; no row: of the scrollback.
    pub(crate) fn is_said(&self, x: u16, y: Option<usize>, screen: Size) -> bool {
        let (rows, height) = (usize::from(self.rows), usize::from(screen.rows));
        let ends_the_row = x.saturating_add(self.cols) >= screen.cols;
        match y {
            Some(y) => y + usize::from(self.wants) + usize::from(self.behind && ends_the_row) <= height,
            None => rows < height,
        }
    }
}

impl Images {
    pub(crate) fn get(&self, id: u32) -> Option<&Image> {
        self.kept.binary_search_by_key(&id, |image| image.id).ok().map(|at| &self.kept[at])
    }

    fn keep(&mut self, mut image: Image) -> Option<u32> {
        if image.bytes.len() > MAX_IMAGE_BYTES {
            return None;
        }
        self.bytes += image.bytes.len();
        while self.bytes > MAX_IMAGE_BYTES
            && let Some(old) = self.kept.pop_front()
        {
            self.bytes -= old.bytes.len();
        }
        self.last += 1;
        image.id = self.last;
        self.kept.push_back(image);
        Some(self.last)
    }

    fn remove(&mut self, goes: impl Fn(&Image) -> bool) {
        self.kept.retain(|image| !goes(image));
        self.bytes = self.kept.iter().map(|image| image.bytes.len()).sum();
    }

    fn sent(&mut self, number: u32, sent: Sent) {
        if self.sent.len() >= MAX_SENT {
            self.sent.remove_least();
        }
        self.sent.insert(number, sent);
        while self.sent_bytes(0) > MAX_IMAGE_BYTES && self.sent.remove_least() {}
    }

    /// What is left of them when the terminal is reset.
    pub(crate) fn shown(self) -> Self {
        Self { sent: Numbered::default(), open: None, ..self }
    }

    /// Bytes of those that were sent ahead, and so many for each.
    fn sent_bytes(&self, each: usize) -> usize {
        self.sent.iter().map(|(_, sent)| sent.bytes.as_ref().map_or(0, |b| b.len()) + each).sum()
    }

    /// What makes a terminal know those that may be shown later.
    pub(crate) fn said_ahead(&self) -> impl Iterator<Item = &[u8]> {
        self.sent.iter().filter_map(|(_, sent)| sent.bytes.as_deref())
    }

    /// What there is of one that comes in parts.
    pub(crate) fn said_open(&self) -> Vec<u8> {
        match &self.open {
            Some(open) if open.lost => open.keys.said(&[("m", 1)], b""),
            Some(open) => open.bytes.clone(),
            None => Vec::new(),
        }
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        let open = self.open.as_ref().map_or(0, |open| open.bytes.capacity() + 256);
        self.bytes + self.kept.capacity() * size_of::<Image>() + self.sent_bytes(64) + open
    }

    /// In words, for comparing two models.
    pub(crate) fn dump(&self) -> String {
        let sent: Vec<String> = (self.sent.iter())
            .filter_map(|(n, s)| Some(format!("{n} {:?} {}", s.pixels, s.bytes.as_ref()?.len())))
            .collect();
        format!("sent {sent:?} open {}", self.said_open().escape_ascii())
    }
}

/// The keys of a command of kitty's protocol: a letter, and a number or a letter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Keys(Vec<(u8, Vec<u8>)>);

impl Keys {
    fn parse(control: &[u8]) -> Self {
        let mut keys = Vec::new();
        for part in control.split(|b| *b == b',').take(32) {
            if let [key, b'=', value @ ..] = part
                && value.len() <= 11
                && value.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-')
            {
                keys.push((*key, value.to_vec()));
            }
        }
        Self(keys)
    }

    fn text(&self, key: u8) -> Option<&[u8]> {
        self.0.iter().rev().find(|(k, _)| *k == key).map(|(_, v)| &v[..])
    }

    fn letter(&self, key: u8, default: u8) -> u8 {
        self.text(key).and_then(|v| v.first().copied()).unwrap_or(default)
    }

    fn number(&self, key: u8) -> u32 {
        self.text(key).and_then(|v| std::str::from_utf8(v).ok()?.parse().ok()).unwrap_or(0)
    }

    /// The command with these keys, but for those in `other`, and so that no terminal answers it.
    fn said(&self, other: &[(&str, u32)], payload: &[u8]) -> Vec<u8> {
        let mut out = b"\x1b_Gq=2".to_vec();
        for (key, value) in &self.0 {
            if *key != b'q' && !other.iter().any(|(o, _)| o.as_bytes() == [*key]) {
                out.extend_from_slice(&[b',', *key, b'=']);
                out.extend_from_slice(value);
            }
        }
        for (key, value) in other {
            out.extend_from_slice(format!(",{key}={value}").as_bytes());
        }
        out.push(b';');
        out.extend_from_slice(payload);
        out.extend_from_slice(b"\x1b\\");
        out
    }
}

/// Where the cursor goes after an image.
#[derive(Clone, Copy, PartialEq, Eq)]
enum After {
    /// Down, in its column.
    Below,
    /// Down, and behind it.
    Behind,
    Stays,
}

impl Model {
    fn cell_pixels(&self) -> Pixels {
        let (width, height) = self.traits.cell;
        let or = |n: u16, default: u16| u32::from(if n == 0 { default } else { n });
        Pixels { width: or(width, CELL.0), height: or(height, CELL.1) }
    }

    /// A whole sixel image: the body of its DCS.
    pub(crate) fn sixel(&mut self, body: &[u8]) {
        self.spend(body.len());
        // Nothing but numbers before the `q`: else it is another string, DECRQSS for one.
        let Some(q) = body.iter().position(|b| !matches!(b, b'0'..=b'9' | b';')) else { return };
        if body[q] != b'q' {
            return;
        }
        let Some((pixels, last_band)) = image_size::sixel(&body[q + 1..]) else { return };
        let cell = self.cell_pixels();
        let (cols, rows) = (pixels.width.div_ceil(cell.width), pixels.height.div_ceil(cell.height));
        let bytes = [&b"\x1bP"[..], body, b"\x1b\\"].concat();
        // xterm scrolls while it draws, with each band for a row below the one that the band begins in.
        let below = pixels.height.max(last_band + cell.height);
        let image =
            Placement { cols, rows, wants: below.div_ceil(cell.height), behind: false, number: None, bytes };
        if self.modes.has(bit::SIXEL_FIXED) {
            // In the corner of the screen, and nothing moves.
            let (x, y) = (self.cursor.x, self.cursor.y);
            (self.cursor.x, self.cursor.y) = (0, 0);
            self.place(image, After::Stays, 0);
            (self.cursor.x, self.cursor.y) = (x, y);
            return;
        }
        let after = if self.modes.has(bit::SIXEL_RIGHT) { After::Behind } else { After::Below };
        let room = u32::from(self.screen_ref().bottom.saturating_sub(self.cursor.y) + 1) * cell.height;
        let scrolls = below.saturating_sub(room).div_ceil(cell.height);
        self.place(image, after, scrolls);
    }

    /// A command of kitty's protocol: the body of its APC.
    pub(crate) fn kitty_graphics(&mut self, body: &[u8]) {
        let Some(body) = body.strip_prefix(b"G") else { return };
        self.spend(body.len());
        let end = body.iter().position(|b| *b == b';').unwrap_or(body.len());
        let keys = Keys::parse(&body[..end]);
        let payload = body.get(end + 1..).unwrap_or_default();
        let more = keys.number(b'm') == 1;
        if let Some(mut open) = self.images.open.take() {
            let said = keys.said(&[], payload);
            open.lost |= open.bytes.len() + said.len() > MAX_IMAGE_BYTES;
            if open.lost {
                open.bytes = Vec::new();
            } else {
                open.bytes.extend_from_slice(&said);
            }
            if more {
                self.images.open = Some(open);
            } else {
                let Open { keys, pixels, bytes, .. } = *open;
                self.kitty_image(&keys, pixels, bytes);
            }
            return;
        }
        match keys.letter(b'a', b't') {
            b't' | b'T' => {
                let pixels = match keys.text(b'f') {
                    Some(b"100") if keys.letter(b't', b'd') == b'd' => image_size::of_file(payload),
                    Some(b"100") => None,
                    _ => Some(Pixels { width: keys.number(b's'), height: keys.number(b'v') }),
                };
                let bytes = keys.said(&[], payload);
                if more {
                    self.images.open = Some(Box::new(Open { keys, pixels, bytes, lost: false }));
                } else {
                    self.kitty_image(&keys, pixels, bytes);
                }
            }
            b'p' => {
                let number = keys.number(b'i');
                let pixels = self.images.sent.get(number).and_then(|sent| sent.pixels);
                self.kitty_place(&keys, pixels, keys.said(&[], b""));
            }
            b'd' => {
                let number = keys.number(b'i');
                match keys.letter(b'd', b'a') {
                    what @ (b'a' | b'A') => {
                        self.images.remove(|image| image.number.is_some());
                        if what == b'A' {
                            self.images.sent.clear();
                        }
                    }
                    what @ (b'i' | b'I') => {
                        self.images.remove(|image| image.number == Some(number));
                        if what == b'I' {
                            self.images.sent.remove(number);
                        }
                    }
                    _ => {}
                }
            }
            _ => {}
        }
    }

    fn kitty_image(&mut self, keys: &Keys, pixels: Option<Pixels>, bytes: Vec<u8>) {
        let shown = keys.letter(b'a', b't') == b'T';
        let is_virtual = keys.number(b'U') == 1;
        let number = keys.number(b'i');
        if number != 0 {
            let ahead = !shown || is_virtual;
            let bytes = (ahead && !bytes.is_empty()).then(|| bytes.as_slice().into());
            self.images.sent(number, Sent { pixels, bytes });
        }
        if shown && !is_virtual {
            self.kitty_place(keys, pixels, bytes);
        }
    }

    fn kitty_place(&mut self, keys: &Keys, pixels: Option<Pixels>, bytes: Vec<u8>) {
        if keys.number(b'U') == 1 {
            return;
        }
        let cell = self.cell_pixels();
        let side = |cells: u8, part: u8, at: u8, offset: u8, pixels: Option<u32>, cell: u32| {
            let given = keys.number(cells);
            if given > 0 {
                return Some(given);
            }
            let whole = pixels?.saturating_sub(keys.number(at));
            let part = Some(keys.number(part)).filter(|n| *n > 0).map_or(whole, |n| n.min(whole));
            Some(part.saturating_add(keys.number(offset)).div_ceil(cell))
        };
        let width = side(b'c', b'w', b'x', b'X', pixels.map(|p| p.width), cell.width);
        let height = side(b'r', b'h', b'y', b'Y', pixels.map(|p| p.height), cell.height);
        let (Some(cols), Some(rows)) = (width, height) else { return };
        let after = if keys.number(b'C') == 1 { After::Stays } else { After::Behind };
        let behind = after == After::Behind;
        let image = Placement { cols, rows, wants: rows, behind, number: Some(keys.number(b'i')), bytes };
        let over = |m: &Self| u32::from(m.cursor.y) + rows.min(MAX_ROWS);
        let scrolls = over(self).saturating_sub(u32::from(self.screen_ref().bottom) + 1);
        self.place(image, after, scrolls);
    }

    /// An inline file of iTerm2: what follows the number of its OSC.
    pub(crate) fn inline_file(&mut self, rest: &[u8]) {
        let Some(file) = rest.strip_prefix(b"File=") else { return };
        let Some(colon) = file.iter().position(|b| *b == b':') else { return };
        let (arguments, content) = (&file[..colon], &file[colon + 1..]);
        let argument = |name: &[u8]| {
            let mut all = arguments.split(|b| *b == b';');
            all.find_map(|a| a.strip_prefix(name)?.strip_prefix(b"="))
                .and_then(|v| std::str::from_utf8(v).ok())
        };
        if argument(b"inline") != Some("1") {
            return;
        }
        let (cell, pixels) = (self.cell_pixels(), image_size::of_file(content));
        let screen = (u32::from(self.size.cols), u32::from(self.size.rows));
        let given = |name: &[u8], cell: u32, screen: u32| -> Option<u32> {
            let text = argument(name)?;
            if let Some(n) = text.strip_suffix("px") {
                return Some(n.parse::<u32>().ok()?.div_ceil(cell));
            }
            match text.strip_suffix('%') {
                Some(n) => Some((n.parse::<u32>().ok()?.min(100) * screen).div_ceil(100)),
                None => text.parse().ok(),
            }
        };
        let cols = given(b"width", cell.width, screen.0).filter(|n| *n > 0);
        let rows = given(b"height", cell.height, screen.1).filter(|n| *n > 0);
        let scaled = |cells: u32, of: u32, cell: u32, other: u32, other_cell: u32| {
            let scaled = u64::from(cells) * u64::from(cell) * u64::from(other) / u64::from(of.max(1));
            u32::try_from(scaled).unwrap_or(u32::MAX).div_ceil(other_cell)
        };
        let (cols, rows) = match (cols, rows, pixels) {
            (Some(cols), Some(rows), _) => (cols, rows),
            (Some(cols), None, Some(p)) => (cols, scaled(cols, p.width, cell.width, p.height, cell.height)),
            (None, Some(rows), Some(p)) => (scaled(rows, p.height, cell.height, p.width, cell.width), rows),
            (None, None, Some(p)) => (p.width.div_ceil(cell.width), p.height.div_ceil(cell.height)),
            (_, _, None) => return,
        };
        let after = if argument(b"doNotMoveCursor") == Some("1") { After::Stays } else { After::Behind };
        let bytes = [&b"\x1b]1337;"[..], rest, b"\x1b\\"].concat();
        let over = u32::from(self.cursor.y) + rows.min(MAX_ROWS);
        let scrolls = over.saturating_sub(u32::from(self.screen_ref().bottom) + 1);
        let behind = after == After::Behind;
        self.place(Placement { cols, rows, wants: rows, behind, number: None, bytes }, after, scrolls);
    }

    /// An image begins at the cursor; the screen scrolls by so many rows for it.
    fn place(&mut self, image: Placement, after: After, scrolls: u32) {
        let Placement { cols, rows, wants, behind, number, bytes } = image;
        if rows == 0 || cols == 0 {
            return;
        }
        let rows = rows.min(MAX_ROWS);
        let cols = cols.min(u32::from(self.size.cols));
        let wants = wants.max(rows).min(1 + MAX_ROWS) as u16;
        let (bytes, cells) = (bytes.into(), (cols as u16, rows as u16));
        let kept = Image { id: 0, cols: cells.0, rows: cells.1, wants, behind, number, bytes };
        let (x, y) = (self.cursor.x, self.cursor.y);
        if let Some(id) = self.images.keep(kept) {
            self.cursor_row().notes.image(x, id);
        }
        if after == After::Stays {
            return;
        }
        let scrolls = scrolls.min(MAX_ROWS);
        let bottom = self.screen_ref().bottom;
        if scrolls > 0 && y <= bottom {
            self.cursor.y = bottom;
            for _ in 0..scrolls {
                self.index();
            }
        }
        let down = u32::from(y) + rows - 1;
        let last = u32::from(if y <= bottom { bottom } else { self.size.rows - 1 });
        self.go(x, down.saturating_sub(scrolls).min(last) as u16);
        if after == After::Behind {
            let x = u32::from(x) + cols;
            if x >= u32::from(self.size.cols) {
                self.carriage_return();
                self.index();
            } else {
                self.go(x as u16, self.cursor.y);
            }
        }
    }
}

/// What is placed.
struct Placement {
    cols: u32,
    rows: u32,
    wants: u32,
    behind: bool,
    number: Option<u32>,
    bytes: Vec<u8>,
}
