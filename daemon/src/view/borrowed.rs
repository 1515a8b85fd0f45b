//! What the user's terminal keeps on stacks, so that exactly what the session put there is taken away again. Pure.
//!
//! The kitty keyboard flags and the titles are stacks, and below ours lies the user's own. A session that takes more from
//! them than it put there (a snapshot clears the whole keyboard stack, to be sure) is stopped at the entry that was there
//! when it came. Everything else of a terminal can be reset without knowing what was done to it; see `terminal`.

/// Longest sequence looked at; what is longer is none of ours.
const SEQUENCE_MAX: usize = 64;
/// Entries counted of a stack; terminals keep fewer.
const STACK_MAX: usize = 32;
/// Modes whose default is the person's: how the cursor blinks, what Backspace, Alt and the wheel send.
const PREFERENCES: [u16; 4] = [12, 67, 1007, 1036];

/// What the session has put on the terminal's stacks so far.
#[derive(Debug, Default)]
pub(super) struct Borrowed {
    /// Keyboard entries on the first and on the alternate screen, above ours.
    keyboard: [usize; 2],
    alternate: bool,
    /// Titles saved by the session (0 both, 1 icon, 2 window), newest last.
    titles: Vec<u16>,
    /// The session reset the whole terminal, and with it the entry that was put beneath it.
    reset: bool,
    /// Which of [`PREFERENCES`] it touched.
    touched: [bool; PREFERENCES.len()],
    /// The beginning of a sequence whose end is not here yet.
    held: Vec<u8>,
}

impl Borrowed {
    /// What the terminal is told before it shows anything of the session: title, colours and preferences saved (XTWINOPS 22,
    /// XTPUSHCOLORS, XTSAVE), and a keyboard entry of our own.
    pub(super) const TAKE: &'static [u8] = b"\x1b[22;0t\x1b[#P\x1b[?12;67;1007;1036s\x1b[>0u";

    /// Passes output on to `out`, but for what would take the user's own entries.
    pub(super) fn pass(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let joined;
        let mut rest = bytes;
        if !self.held.is_empty() {
            joined = [&std::mem::take(&mut self.held)[..], bytes].concat();
            rest = &joined;
        }
        while let Some(esc) = rest.iter().position(|b| *b == 0x1b) {
            out.extend_from_slice(&rest[..esc]);
            rest = &rest[esc..];
            let length = match rest.get(1) {
                None => None,
                Some(b'[') => {
                    match rest[2..].iter().take(SEQUENCE_MAX).position(|b| !(0x20..0x40).contains(b)) {
                        Some(n) => Some(n + 3),
                        None => (rest.len() > SEQUENCE_MAX).then_some(2),
                    }
                }
                Some(_) => Some(2),
            };
            let Some(length) = length else {
                self.held = rest.to_vec();
                return;
            };
            // What ends a sequence and is no final byte (a control, the next ESC) is looked at by itself.
            let length = if rest[length - 1] < 0x40 { length - 1 } else { length };
            self.sequence(&rest[..length], out);
            rest = &rest[length..];
        }
        out.extend_from_slice(rest);
    }

    fn sequence(&mut self, sequence: &[u8], out: &mut Vec<u8>) {
        let screen = usize::from(self.alternate);
        match sequence {
            b"\x1bc" => {
                *self = Self {
                    reset: true,
                    titles: std::mem::take(&mut self.titles),
                    touched: self.touched,
                    ..Self::default()
                };
            }
            [0x1b, b'[', b'>', flags @ .., b'u'] if numbers(flags).is_some() => {
                self.keyboard[screen] = (self.keyboard[screen] + 1).min(STACK_MAX);
            }
            [0x1b, b'[', b'<', count @ .., b'u'] => {
                let count = numbers(count).and_then(|n| n.first().copied()).unwrap_or(1).max(1);
                let count = usize::from(count);
                let above = std::mem::take(&mut self.keyboard[screen]);
                if count > above {
                    if above > 0 {
                        out.extend_from_slice(format!("\x1b[<{above}u").as_bytes());
                    }
                    // An emptied stack leaves no flags: none on the entry that is ours.
                    out.extend_from_slice(b"\x1b[=0u");
                    return;
                }
                self.keyboard[screen] = above - count;
            }
            [0x1b, b'[', b'?', modes @ .., last @ (b'h' | b'l')] => {
                for mode in numbers(modes).unwrap_or_default() {
                    if matches!(mode, 47 | 1047 | 1049) {
                        self.alternate = *last == b'h';
                    }
                    if let Some(at) = PREFERENCES.iter().position(|p| *p == mode) {
                        self.touched[at] = true;
                    }
                }
            }
            [0x1b, b'[', what @ .., b't'] => {
                let what = numbers(what).unwrap_or_default();
                let which = what.get(1).copied().unwrap_or(0);
                match what.first() {
                    Some(22) if which <= 2 => {
                        if self.titles.len() == STACK_MAX {
                            self.titles.remove(0);
                        }
                        self.titles.push(which);
                    }
                    // Nothing of the session's is left there: what is, is not for it.
                    Some(23) if self.titles.pop().is_none() => return,
                    _ => {}
                }
            }
            _ => {}
        }
        out.extend_from_slice(sequence);
    }

    /// A snapshot begins: it says all titles again, so those it said before go.
    pub(super) fn snapshot_begins(&mut self, out: &mut Vec<u8>) {
        self.held.clear();
        // Whatever was half said ends first.
        out.extend_from_slice(b"\x18\x1b\\");
        self.pop_titles(out);
    }

    fn pop_titles(&mut self, out: &mut Vec<u8>) {
        while let Some(which) = self.titles.pop() {
            out.extend_from_slice(format!("\x1b[23;{which}t").as_bytes());
        }
    }

    /// Takes away what is left of the session on the screen shown, before the alternate one is left.
    pub(super) fn give_back_alternate(&mut self, out: &mut Vec<u8>) {
        if std::mem::take(&mut self.alternate) && self.keyboard[1] > 0 {
            out.extend_from_slice(format!("\x1b[<{}u", self.keyboard[1]).as_bytes());
        }
    }

    /// Takes away what is left of it on the first screen, with what [`Self::TAKE`] put there.
    pub(super) fn give_back(&mut self, out: &mut Vec<u8>) {
        let ours = if self.reset { 0 } else { 1 };
        if self.keyboard[0] + ours > 0 {
            out.extend_from_slice(format!("\x1b[<{}u", self.keyboard[0] + ours).as_bytes());
        }
        for (mode, _) in PREFERENCES.iter().zip(self.touched).filter(|(_, touched)| *touched) {
            if matches!(mode, 12 | 1007) {
                // For terminals that save no modes: off is the common default of these.
                out.extend_from_slice(format!("\x1b[?{mode}l").as_bytes());
            }
            out.extend_from_slice(format!("\x1b[?{mode}r").as_bytes());
        }
        self.pop_titles(out);
        out.extend_from_slice(b"\x1b[#Q\x1b[23;0t");
    }
}

/// Parameters of a sequence, an empty one as 0; `None` if there is anything else.
fn numbers(text: &[u8]) -> Option<Vec<u16>> {
    if text.is_empty() {
        return Some(Vec::new());
    }
    text.split(|b| *b == b';')
        .map(|n| if n.is_empty() { Some(0) } else { std::str::from_utf8(n).ok()?.parse().ok() })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(pieces: &[&[u8]]) -> (String, String) {
        let mut borrowed = Borrowed::default();
        let (mut out, mut back) = (Vec::new(), Vec::new());
        for piece in pieces {
            borrowed.pass(piece, &mut out);
        }
        borrowed.give_back_alternate(&mut back);
        borrowed.give_back(&mut back);
        let text =
            |bytes: &[u8]| String::from_utf8_lossy(bytes).replace('\x1b', "^").replace("^[#Q^[23;0t", "");
        (text(&out), text(&back))
    }

    fn both(pieces: &[&[u8]], out: &str, back: &str) {
        assert_eq!(after(pieces), (out.to_owned(), back.to_owned()), "{pieces:?}");
        // However it is cut.
        let whole = pieces.concat();
        let bytes: Vec<&[u8]> = whole.chunks(1).collect();
        assert_eq!(after(&bytes), (out.to_owned(), back.to_owned()), "{pieces:?} byte by byte");
    }

    #[test]
    fn what_the_session_pushed_is_popped_and_no_more() {
        both(&[b"plain \x1b[31mred"], "plain ^[31mred", "^[<1u");
        both(&[b"\x1b[>1u\x1b[>3;1ux"], "^[>1u^[>3;1ux", "^[<3u");
        both(&[b"\x1b[>1u\x1b[>3u\x1b[<u"], "^[>1u^[>3u^[<u", "^[<2u");
        both(&[b"\x1b[>1u\x1b[<99u\x1b[=5u"], "^[>1u^[<1u^[=0u^[=5u", "^[<1u");
        both(&[b"\x1b[<u"], "^[=0u", "^[<1u");
        both(&[b"\x1bc"], "^c", "");
    }

    #[test]
    fn each_screen_has_its_own_keyboard_stack() {
        both(&[b"\x1b[>1u\x1b[?1049h\x1b[>5u\x1b[>7u"], "^[>1u^[?1049h^[>5u^[>7u", "^[<2u^[<2u");
        both(&[b"\x1b[?1049h\x1b[>5u\x1b[<9u\x1b[?1049l"], "^[?1049h^[>5u^[<1u^[=0u^[?1049l", "^[<1u");
    }

    #[test]
    fn saved_titles_are_taken_away_newest_first_and_the_users_stays() {
        both(&[b"\x1b[22;2t\x1b[22t\x1b[23;0;0t"], "^[22;2t^[22t^[23;0;0t", "^[<1u^[23;2t");
        both(&[b"\x1b[23;0tx"], "x", "^[<1u");
        both(&[b"\x1b[14t"], "^[14t", "^[<1u");
    }

    #[test]
    fn preferences_are_restored_if_they_were_touched() {
        both(&[b"\x1b[?12;25h"], "^[?12;25h", "^[<1u^[?12l^[?12r");
        both(&[b"\x1b[?67h"], "^[?67h", "^[<1u^[?67r");
    }

    #[test]
    fn broken_and_long_sequences_pass() {
        both(&[b"\x1b[12\x1b[>1ux"], "^[12^[>1ux", "^[<2u");
        both(&[b"\x1b\x1b[>1u"], "^^[>1u", "^[<2u");
        let long = [&b"\x1b["[..], &b"1;".repeat(100), b"m"].concat();
        let (out, _) = after(&[&long]);
        assert_eq!(out.len(), long.len());
        both(&[b"\x1b[3\nu"], "^[3\nu", "^[<1u");
    }
}
