//! What a program asks of its terminal beyond the screen, and what the terminals that show it said of themselves. With no view
//! the model speaks for them, in the words of the last one.

use crate::modes::bit;
use crate::numbered::Numbered;
use crate::osc;
use crate::parser::Csi;
use crate::terminal::Terminal;

/// What a terminal said of its colours, by its answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct KnownColors {
    /// OSC 10–19.
    pub(crate) colors: [Option<[u8; 3]>; 10],
    /// OSC 4; as many as there are numbers at the most.
    pub(crate) palette: Numbered<[u8; 3]>,
    /// What `CSI ? 996 n` is answered with: 1 dark, 2 light.
    scheme: Option<u8>,
}

impl KnownColors {
    /// 1 dark, 2 light: as it was said, or as the background shows.
    pub(crate) fn scheme(&self, background: Option<[u8; 3]>) -> u8 {
        let shown = |[r, g, b]: [u8; 3]| {
            // The weights of Rec. 601, of 1000.
            let bright = 299 * u32::from(r) + 587 * u32::from(g) + 114 * u32::from(b) > 1000 * 255 / 2;
            1 + u8::from(bright)
        };
        self.scheme.or(background.or(self.colors[1]).map(shown)).unwrap_or(1)
    }
}

impl Terminal {
    /// The program wants to hear when its terminal gets and loses the focus (mode 1004).
    pub fn wants_focus(&self) -> bool {
        self.state.modes.has(bit::FOCUS)
    }

    /// How often the program has asked to be told of sizes in its input (mode 2048); `None`: it does not want that now.
    pub fn wants_sizes(&self) -> Option<u64> {
        self.state.modes.has(bit::RESIZE_REPORTS).then_some(self.state.size_asks)
    }

    /// Takes in what a view's terminal answered: whole answers in `bytes` are understood, everything else is passed over. A
    /// colour that the program has set is the program's word, and not the terminal's.
    pub fn hear(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while let Some(esc) = rest.iter().position(|b| *b == 0x1b) {
            rest = &rest[esc + 1..];
            match rest.first() {
                Some(b']') => {
                    let end = rest.iter().position(|b| matches!(b, 7 | 0x1b)).unwrap_or(rest.len());
                    if end < rest.len() {
                        self.hear_color(&rest[1..end]);
                    }
                    rest = &rest[end..];
                }
                Some(b'[') => {
                    let Some(n) = rest[1..].iter().position(|b| !(0x20..=0x3f).contains(b)) else { return };
                    let csi = Csi::parse(&rest[1..=n], rest[n + 1]);
                    if let Some(csi) = csi
                        && (csi.marker, csi.intermediates, csi.last) == (b'?', &[][..], b'n')
                        && (csi.raw(0), csi.len()) == (997, 2)
                        && matches!(csi.raw(1), 1 | 2)
                    {
                        self.state.heard.scheme = Some(csi.raw(1) as u8);
                    }
                    rest = &rest[n + 2..];
                }
                _ => {}
            }
        }
    }

    fn hear_color(&mut self, body: &[u8]) {
        let m = &mut self.state;
        match osc::split(body) {
            Some((4, rest)) => {
                let mut parts = rest.split(|b| *b == b';');
                while let (Some(index), Some(spec)) = (parts.next(), parts.next()) {
                    let index = std::str::from_utf8(index).ok().and_then(|i| i.parse::<u8>().ok());
                    if let (Some(index), Some(rgb)) = (index, osc::parse_color(spec))
                        && m.palette.get(index.into()).is_none()
                    {
                        m.heard.palette.insert(index.into(), rgb);
                    }
                }
            }
            Some((number @ 10..=19, spec)) => {
                let at = usize::from(number - 10);
                if let Some(rgb) = osc::parse_color(spec)
                    && m.colors[at].is_none()
                {
                    if at == 1 && m.heard.colors[1] != Some(rgb) {
                        // Said of another background.
                        m.heard.scheme = None;
                    }
                    m.heard.colors[at] = Some(rgb);
                }
            }
            _ => {}
        }
    }
}

/// Did somebody type this? Not what a terminal says by itself: focus gained and lost, the mouse moved, a key let go, its size
/// and its colours; and not its answers, of which no key begins with the same bytes.
pub fn is_typing(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    while !rest.is_empty() {
        match said(rest) {
            Some(n) => rest = &rest[n..],
            None => return true,
        }
    }
    false
}

/// Length of what is said by the terminal itself at the start of `bytes`.
fn said(bytes: &[u8]) -> Option<usize> {
    if let Some(n) = crate::reply_filter::answer(bytes) {
        return Some(n);
    }
    let body = bytes.strip_prefix(b"\x1b[")?;
    // X10's mouse: the button, with 32 where the mouse moved.
    if let [b'M', button, _, _, ..] = body {
        return (button.wrapping_sub(32) & 32 != 0).then_some(6);
    }
    let n = body.iter().position(|b| !(0x20..=0x3f).contains(b))?;
    let csi = Csi::parse(&body[..n], body[n])?;
    let sub = |i: usize| csi.is_sub(i) && csi.raw(i) == 3;
    let is = match (csi.marker, csi.intermediates, csi.last) {
        (0, [], b'I' | b'O') => n == 0,
        (b'<', [], b'M' | b'm') => csi.raw(0) & 32 != 0,
        (0, [], b'M') => csi.len() == 3 && csi.raw(0).wrapping_sub(32) & 32 != 0,
        // kitty's keys: `CSI key : … ; modifiers : event u`, `CSI number ; modifiers : event ~ A B …`; 3 is "let go".
        (0, [], b'u' | b'~' | b'A'..=b'F' | b'H' | b'P'..=b'S') => {
            let second = (1..csi.len()).find(|i| !csi.is_sub(*i));
            second.is_some_and(|at| sub(at + 1))
        }
        _ => false,
    };
    is.then_some(n + 3)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Hub, Size};

    #[test]
    fn what_nobody_typed_takes_no_lead() {
        for said in [
            b"\x1b[I".as_slice(),
            b"\x1b[O",
            b"\x1b[<35;10;5M",
            b"\x1b[<32;10;5M",
            b"\x1b[MC**",
            b"\x1b[67;10;5M",
            b"\x1b[97;1:3u",
            b"\x1b[97:65:99;5:3u",
            b"\x1b[1;1:3A",
            b"\x1b[3;5:3~",
            b"\x1b[48;24;80;480;800t",
            b"\x1b[?997;1n",
            b"\x1b]11;rgb:0/0/0\x07",
            b"\x1b[?1;2c\x1b[I\x1b[<35;1;1M",
            b"",
        ] {
            assert!(!is_typing(said), "{}", said.escape_ascii());
        }
        for typed in [
            b"a".as_slice(),
            b"\x1b",
            b"\x1b[A",
            b"\x1bOI",
            b"\x1b[<0;10;5M",
            b"\x1b[<0;10;5m",
            b"\x1b[<64;10;5M",
            b"\x1b[M !!",
            b"\x1b[97;1:1u",
            b"\x1b[97;5u",
            b"\x1b[97:3u",
            b"\x1b[1;3A",
            b"\x1b[200~x\x1b[201~",
            b"\x1b[Ia",
            b"\x03",
        ] {
            assert!(is_typing(typed), "{}", typed.escape_ascii());
        }
    }

    #[test]
    fn with_no_view_the_last_terminals_colours_are_told_and_the_programs_own_before_them() {
        let mut hub = Hub::new(Size { cols: 80, rows: 24 }, 0, 1024);
        let ask = |hub: &mut Hub| {
            let mut replies = Vec::new();
            hub.feed_answering(
                b"\x1b]10;?\x07\x1b]11;?\x07\x1b[?996n\x1b]4;1;?\x07\x1b]12;?\x07",
                &mut replies,
            );
            String::from_utf8(replies).unwrap().replace('\x1b', "^")
        };
        let before = ask(&mut hub);
        assert!(before.contains("^]11;rgb:0000/0000/0000^\\^[?997;1n"), "{before}");
        hub.hear(b"x\x1b]11;rgb:fafa/f0f0/eeee\x1b\\\x1b]10;rgb:1111/22/3\x07y\x1b]4;1;#aabbcc\x07\x1b]12;rgb:no\x07");
        let light = "^]10;rgb:1111/2222/3333^\\^]11;rgb:fafa/f0f0/eeee^\\^[?997;2n^]4;1;rgb:aaaa/bbbb/cccc^\\^]12;rgb:ffff/ffff/ffff^\\";
        assert_eq!(ask(&mut hub), light);
        hub.hear(b"\x1b[?997;1n");
        assert_eq!(ask(&mut hub), light.replace("997;2", "997;1"), "its own word is better than a guess");
        hub.hear(b"\x1b]11;rgb:ffff/ffff/ffff\x07");
        assert!(ask(&mut hub).contains("997;2"), "another background, another scheme");
        hub.feed(b"\x1b]11;#000000\x07");
        hub.hear(b"\x1b]11;rgb:0/0/0\x07");
        assert!(ask(&mut hub).contains("^]11;rgb:0000/0000/0000^\\^[?997;1n"), "set by the program");
        hub.feed(b"\x1b]111\x07");
        assert!(ask(&mut hub).contains("^]11;rgb:ffff/ffff/ffff"), "and taken back");
        // Cut anywhere, and nonsense: nothing is heard and nothing breaks.
        let all = b"\x1b]11;rgb:1/2/3\x1b\\\x1b[?997;2n\x1b[\x1b]4;\x07\x1b]4;300;#fff\x07";
        (0..all.len()).for_each(|n| hub.hear(&all[n..]));
    }
}
