//! Colours, attributes and hyperlinks of one cell.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

/// A colour as the program asked for it. The road is kept (`31` and `38;5;1` are different colours to some terminals),
/// so that a snapshot says it the same way.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct Color(u32);

impl Color {
    /// The terminal's default foreground, background or underline colour.
    pub(crate) const DEFAULT: Self = Self(0);

    /// One of the 16 colours of SGR 30–37, 90–97 (and their backgrounds).
    pub(crate) const fn ansi(index: u8) -> Self {
        Self(1 << 24 | index as u32)
    }

    /// Entry `index` of the 256-colour palette (SGR 38;5).
    pub(crate) const fn indexed(index: u8) -> Self {
        Self(2 << 24 | index as u32)
    }

    /// A direct colour (SGR 38;2).
    pub(crate) const fn rgb(r: u8, g: u8, b: u8) -> Self {
        Self(3 << 24 | (r as u32) << 16 | (g as u32) << 8 | b as u32)
    }

    /// What kind it is, with its value.
    pub(crate) const fn kind(self) -> ColorKind {
        match self.0 >> 24 {
            1 => ColorKind::Ansi(self.0 as u8),
            2 => ColorKind::Indexed(self.0 as u8),
            3 => ColorKind::Rgb((self.0 >> 16) as u8, (self.0 >> 8) as u8, self.0 as u8),
            _ => ColorKind::Default,
        }
    }
}

/// The three roads to a colour, and none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ColorKind {
    /// The default.
    Default,
    /// 0–15, by SGR 30–37 and 90–97.
    Ansi(u8),
    /// 0–255, by SGR 38;5.
    Indexed(u8),
    /// Red, green, blue, by SGR 38;2.
    Rgb(u8, u8, u8),
}

/// Attribute bits of a [`Style`].
pub(crate) mod attr {
    /// SGR 1.
    pub(crate) const BOLD: u16 = 1;
    /// SGR 2.
    pub(crate) const DIM: u16 = 1 << 1;
    /// SGR 3.
    pub(crate) const ITALIC: u16 = 1 << 2;
    /// SGR 4:0–4:5, the underline's kind, three bits.
    pub(crate) const UNDERLINE: u16 = 7 << UNDERLINE_SHIFT;
    /// Where the underline's kind sits.
    pub(crate) const UNDERLINE_SHIFT: u16 = 3;
    /// SGR 5.
    pub(crate) const BLINK: u16 = 1 << 6;
    /// SGR 6.
    pub(crate) const RAPID: u16 = 1 << 7;
    /// SGR 7.
    pub(crate) const INVERSE: u16 = 1 << 8;
    /// SGR 8.
    pub(crate) const HIDDEN: u16 = 1 << 9;
    /// SGR 9.
    pub(crate) const STRIKE: u16 = 1 << 10;
    /// SGR 53.
    pub(crate) const OVERLINE: u16 = 1 << 11;
    /// DECSCA: not erased by DECSED and DECSEL.
    pub(crate) const PROTECTED: u16 = 1 << 12;
}

/// How a cell is drawn: 12 bytes, compared as a whole.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct Style {
    /// Foreground.
    pub(crate) fg: Color,
    /// Background.
    pub(crate) bg: Color,
    /// Bits of [`attr`].
    pub(crate) attrs: u16,
    /// Index into the terminal's table of [`Ext`]; 0 is none.
    pub(crate) ext: u16,
}

impl Style {
    /// What an erased cell keeps of the pen: the background only (background colour erase, as xterm).
    pub(crate) const fn erased(self) -> Self {
        Self { fg: Color::DEFAULT, bg: self.bg, attrs: 0, ext: 0 }
    }
}

/// A hyperlink (OSC 8).
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Hyperlink {
    /// Of both texts, made once: they are long, and looked up with each change of the pen.
    hash: u64,
    /// The `id=` parameter; empty if none was given.
    pub(crate) id: String,
    /// The address.
    pub(crate) uri: String,
}

impl Hyperlink {
    pub(crate) fn new(id: String, uri: String) -> Self {
        let mut hasher = DefaultHasher::new();
        (&id, &uri).hash(&mut hasher);
        Self { hash: hasher.finish(), id, uri }
    }

    /// Bytes of its texts.
    pub(crate) fn len(&self) -> usize {
        self.id.len() + self.uri.len()
    }
}

/// What few cells have: the underline's own colour (SGR 58) and a link.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Ext {
    /// SGR 58.
    pub(crate) underline: Color,
    /// OSC 8.
    pub(crate) link: Option<Arc<Hyperlink>>,
}

impl Hash for Ext {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.underline.hash(state);
        if let Some(l) = &self.link {
            l.hash.hash(state);
        }
    }
}

/// Bytes of link text after which the table is swept; with twice as many it is full.
const MAX_LINK_BYTES: usize = 512 << 10;
/// Entries the table starts to be swept at.
const SWEEP_AT: usize = 1024;
/// The least that comes between two sweeps.
const REST: usize = 128;
/// Most entries.
const MAX_ENTRIES: usize = 1 << 14;

/// The interned [`Ext`]s. Bounded: once full after a sweep, a new one is refused and its cells get none.
#[derive(Clone, Debug)]
pub(crate) struct ExtTable {
    entries: Vec<Ext>,
    free: Vec<u16>,
    index: HashMap<Ext, u16>,
    link_bytes: usize,
    /// New ones since the last sweep, those that found no room among them.
    fresh: usize,
    /// As many must come before the next sweep, or a full table would be swept for each.
    rest: usize,
}

impl Default for ExtTable {
    fn default() -> Self {
        Self {
            entries: vec![Ext::default()],
            free: Vec::new(),
            index: HashMap::new(),
            link_bytes: 0,
            fresh: 0,
            rest: REST,
        }
    }
}

fn weight(e: &Ext) -> usize {
    e.link.as_ref().map_or(0, |l| l.len())
}

impl ExtTable {
    pub(crate) fn get(&self, index: u16) -> &Ext {
        &self.entries[usize::from(index)]
    }

    /// Whether a sweep should come before the next [`Self::intern`].
    pub(crate) fn wants_sweep(&self) -> bool {
        self.fresh >= self.rest && (self.index.len() >= SWEEP_AT || self.link_bytes > MAX_LINK_BYTES)
    }

    pub(crate) fn intern(&mut self, e: Ext) -> u16 {
        if e == Ext::default() {
            return 0;
        }
        if let Some(&i) = self.index.get(&e) {
            return i;
        }
        self.fresh += 1;
        if self.link_bytes + weight(&e) > 2 * MAX_LINK_BYTES {
            return 0;
        }
        let i = match self.free.pop() {
            Some(i) => {
                self.entries[usize::from(i)] = e.clone();
                i
            }
            None => {
                if self.entries.len() >= MAX_ENTRIES {
                    return 0;
                }
                self.entries.push(e.clone());
                (self.entries.len() - 1) as u16
            }
        };
        self.link_bytes += weight(&e);
        self.index.insert(e, i);
        i
    }

    /// Forgets what `used` does not name (it is indexed by entry).
    pub(crate) fn sweep(&mut self, used: &[bool]) {
        self.free.clear();
        self.index.clear();
        self.link_bytes = 0;
        for i in (1..self.entries.len()).rev() {
            if used.get(i).copied().unwrap_or(false) {
                self.link_bytes += weight(&self.entries[i]);
                self.index.insert(self.entries[i].clone(), i as u16);
            } else {
                self.entries[i] = Ext::default();
                self.free.push(i as u16);
            }
        }
        // Free ones at the end are given back.
        let end = used.iter().rposition(|u| *u).map_or(1, |i| i + 1);
        self.entries.truncate(end);
        self.entries.shrink_to(2 * end);
        self.free.retain(|i| usize::from(*i) < end);
        self.fresh = 0;
        self.rest = self.index.len().max(REST);
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        self.link_bytes
            + self.entries.capacity() * size_of::<Ext>()
            + self.free.capacity() * 2
            + self.index.capacity() * (size_of::<(Ext, u16)>() + 1)
            + self.index.len() * size_of::<Hyperlink>()
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }
}
