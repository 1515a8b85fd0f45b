//! Keys by name, as the bytes that a terminal in the model's modes would send for them, and text as a paste.
//!
//! Names are tmux's (`C-c`, `M-x`, `S-Up`, `BSpace`, `PPage`, `KPEnter`) and what else is commonly written (`Ctrl+C`,
//! `Alt-x`, `Esc`, `Return`, `PageUp`, `^C`). What they send is xterm's (ctlseqs, "PC-Style Function Keys"), with what the
//! program asked for: cursor and keypad keys in application mode, modifyOtherKeys, the kitty keyboard protocol's flags.

use crate::modes::bit;
use crate::terminal::Terminal;

/// Longest name of a key, in bytes.
const NAME_MAX: usize = 32;

/// A key with its modifiers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Key {
    base: Base,
    /// As xterm counts them: Shift 1, Alt 2, Control 4.
    mods: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Base {
    Char(char),
    Enter,
    Tab,
    Backspace,
    Escape,
    /// `CSI x` or `SS3 x`: the cursor keys, Home and End.
    Cursor(u8),
    /// `CSI n ~`.
    Tilde(u8),
    /// F1 to F4: `SS3 x`.
    Function(u8),
    /// On the keypad: what is printed on it, and the letter of its `SS3`.
    Keypad(u8, u8),
}

const SHIFT: u8 = 1;
const ALT: u8 = 2;
const CONTROL: u8 = 4;

/// Kitty keyboard flags: sequences cannot be mistaken for text; every key is a sequence; with its text.
const DISAMBIGUATE: u8 = 1;
const ALL_KEYS: u8 = 8;
const WITH_TEXT: u8 = 16;

/// Names of keys that are no single character, in small letters.
const NAMES: &[(&str, Base)] = &[
    ("enter", Base::Enter),
    ("return", Base::Enter),
    ("cr", Base::Enter),
    ("tab", Base::Tab),
    ("bspace", Base::Backspace),
    ("backspace", Base::Backspace),
    ("bs", Base::Backspace),
    ("escape", Base::Escape),
    ("esc", Base::Escape),
    ("space", Base::Char(' ')),
    ("up", Base::Cursor(b'A')),
    ("down", Base::Cursor(b'B')),
    ("right", Base::Cursor(b'C')),
    ("left", Base::Cursor(b'D')),
    ("home", Base::Cursor(b'H')),
    ("end", Base::Cursor(b'F')),
    ("ic", Base::Tilde(2)),
    ("insert", Base::Tilde(2)),
    ("ins", Base::Tilde(2)),
    ("dc", Base::Tilde(3)),
    ("delete", Base::Tilde(3)),
    ("del", Base::Tilde(3)),
    ("ppage", Base::Tilde(5)),
    ("pageup", Base::Tilde(5)),
    ("pgup", Base::Tilde(5)),
    ("npage", Base::Tilde(6)),
    ("pagedown", Base::Tilde(6)),
    ("pgdn", Base::Tilde(6)),
    ("f1", Base::Function(b'P')),
    ("f2", Base::Function(b'Q')),
    ("f3", Base::Function(b'R')),
    ("f4", Base::Function(b'S')),
    ("f5", Base::Tilde(15)),
    ("f6", Base::Tilde(17)),
    ("f7", Base::Tilde(18)),
    ("f8", Base::Tilde(19)),
    ("f9", Base::Tilde(20)),
    ("f10", Base::Tilde(21)),
    ("f11", Base::Tilde(23)),
    ("f12", Base::Tilde(24)),
    ("kpenter", Base::Keypad(b'\r', b'M')),
    ("minus", Base::Char('-')),
];

/// Prefixes that name a modifier, in small letters.
const MODIFIERS: &[(&str, u8)] = &[
    ("c-", CONTROL),
    ("ctrl-", CONTROL),
    ("ctrl+", CONTROL),
    ("control-", CONTROL),
    ("m-", ALT),
    ("alt-", ALT),
    ("alt+", ALT),
    ("meta-", ALT),
    ("meta+", ALT),
    ("s-", SHIFT),
    ("shift-", SHIFT),
    ("shift+", SHIFT),
];

impl Key {
    /// The key of that name; `None`: no key is called so.
    pub fn named(name: &str) -> Option<Self> {
        if name.len() > NAME_MAX {
            return None;
        }
        let (mut rest, mut mods) = (name, 0);
        loop {
            let small = rest.to_ascii_lowercase();
            let found =
                MODIFIERS.iter().find(|(prefix, _)| small.starts_with(prefix) && rest.len() > prefix.len());
            if let Some((prefix, modifier)) = found {
                (rest, mods) = (&rest[prefix.len()..], mods | modifier);
            } else if rest.len() > 1 && rest.starts_with('^') {
                (rest, mods) = (&rest[1..], mods | CONTROL);
            } else {
                break;
            }
        }
        let mut chars = rest.chars();
        if let (Some(c), None) = (chars.next(), chars.next()) {
            return (!c.is_control()).then_some(Self { base: Base::Char(c), mods });
        }
        let small = rest.to_ascii_lowercase();
        if small == "btab" || small == "backtab" {
            return Some(Self { base: Base::Tab, mods: mods | SHIFT });
        }
        if let Some(base) = keypad(&small) {
            return Some(Self { base, mods });
        }
        // F13 to F24 are the first twelve with Shift, as on xterm.
        if let Some(n) =
            small.strip_prefix('f').and_then(|n| n.parse::<u8>().ok()).filter(|n| (13..=24).contains(n))
        {
            let base = named(&format!("f{}", n - 12))?;
            return Some(Self { base, mods: mods | SHIFT });
        }
        Some(Self { base: named(&small)?, mods })
    }
}

fn named(small: &str) -> Option<Base> {
    NAMES.iter().find(|(name, _)| *name == small).map(|(_, base)| *base)
}

fn keypad(small: &str) -> Option<Base> {
    let rest = small.strip_prefix("kp")?;
    let [printed] = *rest.as_bytes() else { return None };
    let letter = match printed {
        b'0'..=b'9' => printed - b'0' + b'p',
        b'*' => b'j',
        b'+' => b'k',
        b',' => b'l',
        b'-' => b'm',
        b'.' => b'n',
        b'/' => b'o',
        b'=' => b'X',
        _ => return None,
    };
    Some(Base::Keypad(printed, letter))
}

/// What Control makes of a character; `None`: nothing that a terminal could send without a sequence.
fn control(c: char) -> Option<u8> {
    Some(match c {
        'a'..='z' | 'A'..='Z' => c as u8 & 0x1f,
        ' ' | '@' | '2' | '`' => 0,
        '[' | '3' | '{' => 0x1b,
        '\\' | '4' | '|' => 0x1c,
        ']' | '5' | '}' => 0x1d,
        '^' | '6' | '~' => 0x1e,
        '_' | '7' | '/' | '-' => 0x1f,
        '?' | '8' => 0x7f,
        _ => return None,
    })
}

impl Terminal {
    /// Appends what the program is sent when `key` is pressed, in the modes that it has set by now.
    pub fn press(&self, key: Key, out: &mut Vec<u8>) {
        let m = &self.state;
        let flags = m.screen_ref().keyboard.flags;
        let kitty = flags & (DISAMBIGUATE | ALL_KEYS) != 0;
        let mods = key.mods;
        match key.base {
            Base::Char(c) => self.press_char(c, mods, flags, out),
            Base::Enter => {
                let newline: &[u8] = if m.modes.has(bit::NEWLINE) { b"\r\n" } else { b"\r" };
                self.press_plain(13, newline, mods, flags, out);
            }
            Base::Tab if mods == SHIFT && !kitty => out.extend_from_slice(b"\x1b[Z"),
            Base::Tab => self.press_plain(9, b"\t", mods, flags, out),
            Base::Backspace => {
                let swapped = m.modes.has(bit::BACKARROW) != (mods & CONTROL != 0);
                let plain: &[u8] = if swapped { b"\x08" } else { b"\x7f" };
                self.press_plain(127, plain, if kitty { mods } else { mods & !CONTROL }, flags, out);
            }
            Base::Escape if kitty => csi_u(27, mods, out),
            Base::Escape => self.press_plain(27, b"\x1b", mods, flags, out),
            Base::Cursor(x) => {
                letter(x, mods, m.modes.has(bit::APP_CURSOR) && !kitty, out);
            }
            Base::Function(b'R') if kitty => tilde(13, mods, out),
            Base::Function(x) => letter(x, mods, !kitty, out),
            Base::Tilde(n) => tilde(n, mods, out),
            Base::Keypad(_, x) if m.modes.has(bit::APP_KEYPAD) && flags & ALL_KEYS == 0 => {
                if mods == 0 {
                    out.extend_from_slice(&[0x1b, b'O', x]);
                } else {
                    out.extend_from_slice(format!("\x1bO{}{}", mods + 1, char::from(x)).as_bytes());
                }
            }
            Base::Keypad(b'\r', _) => self.press(Key { base: Base::Enter, mods }, out),
            Base::Keypad(printed, _) => self.press_char(char::from(printed), mods, flags, out),
        }
    }

    /// A key that has a byte of its own, which modifiers do not change but for Alt's ESC.
    fn press_plain(&self, code: u32, plain: &[u8], mods: u8, flags: u8, out: &mut Vec<u8>) {
        let other = self.state.modify_keys[4].unwrap_or(0);
        if flags & ALL_KEYS != 0 || (flags & DISAMBIGUATE != 0 && mods != 0) {
            csi_u(code, mods, out);
        } else if other >= 2 && mods != 0 {
            other_key(code, mods, out);
        } else {
            if mods & ALT != 0 {
                out.push(0x1b);
            }
            out.extend_from_slice(plain);
        }
    }

    fn press_char(&self, c: char, mods: u8, flags: u8, out: &mut Vec<u8>) {
        let shifted = if mods & SHIFT != 0 { c.to_ascii_uppercase() } else { c };
        let modified = mods & (ALT | CONTROL) != 0;
        if flags & ALL_KEYS != 0 || (flags & DISAMBIGUATE != 0 && modified) {
            let mods = if c.is_ascii_uppercase() && mods & CONTROL == 0 { mods | SHIFT } else { mods };
            let code = u32::from(c.to_ascii_lowercase());
            if flags & ALL_KEYS != 0 && flags & WITH_TEXT != 0 && !modified {
                let text = u32::from(shifted);
                let mods = if mods == 0 { String::new() } else { (mods + 1).to_string() };
                out.extend_from_slice(format!("\x1b[{code};{mods};{text}u").as_bytes());
            } else {
                csi_u(code, mods, out);
            }
            return;
        }
        if self.state.modify_keys[4].unwrap_or(0) >= 2 && modified {
            return other_key(u32::from(shifted), mods, out);
        }
        if mods & ALT != 0 {
            out.push(0x1b);
        }
        if mods & CONTROL != 0 {
            // With Control, what a keyboard has no code for is sent as it is.
            match control(c) {
                Some(byte) => out.push(byte),
                None => push_char(c, out),
            }
        } else {
            push_char(shifted, out);
        }
    }

    /// Appends `text` as a terminal pastes it: between the marks of bracketed paste where the program asked for them
    /// (DEC mode 2004), lines ended by CR. Marks within the text are left out, so that it cannot end its own paste.
    pub fn paste(&self, text: &[u8], out: &mut Vec<u8>) {
        let bracketed = self.wants_paste_marks();
        if bracketed {
            out.extend_from_slice(PASTE_BEGIN);
        }
        let begin = out.len();
        let mut rest = text;
        while let Some(&byte) = rest.first() {
            let (end, after) = match rest {
                [b'\r', b'\n', after @ ..] | [b'\n', after @ ..] => (b'\r', after),
                _ => (byte, &rest[1..]),
            };
            out.push(end);
            rest = after;
            // Looked for in what is left: what stood around a mark that is left out may be one, too.
            let text = &out[begin..];
            if bracketed && (text.ends_with(PASTE_END) || text.ends_with(PASTE_BEGIN)) {
                out.truncate(out.len() - PASTE_END.len());
            }
        }
        if bracketed {
            out.extend_from_slice(PASTE_END);
        }
    }

    /// Appends lines as they are; to a program that asked for bracketed paste, as a paste, with Enter for what ends the last
    /// line: a program that edits lines takes each of them as typed otherwise, one that takes a paste would not begin.
    pub fn type_lines(&self, text: &[u8], out: &mut Vec<u8>) {
        let lines = text.strip_suffix(b"\n").map_or(text, |lines| lines.strip_suffix(b"\r").unwrap_or(lines));
        if !(self.wants_paste_marks() && lines.contains(&b'\n')) {
            out.extend_from_slice(text);
            return;
        }
        self.paste(lines, out);
        if lines.len() < text.len() {
            self.press(Key { base: Base::Enter, mods: 0 }, out);
        }
    }

    /// Whether the program asked for bracketed paste (DEC mode 2004).
    pub fn wants_paste_marks(&self) -> bool {
        self.state.modes.has(bit::PASTE)
    }
}

const PASTE_BEGIN: &[u8] = b"\x1b[200~";
const PASTE_END: &[u8] = b"\x1b[201~";

fn push_char(c: char, out: &mut Vec<u8>) {
    out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}

fn letter(x: u8, mods: u8, single_shift: bool, out: &mut Vec<u8>) {
    match (mods, single_shift) {
        (0, true) => out.extend_from_slice(&[0x1b, b'O', x]),
        (0, false) => out.extend_from_slice(&[0x1b, b'[', x]),
        _ => out.extend_from_slice(format!("\x1b[1;{}{}", mods + 1, char::from(x)).as_bytes()),
    }
}

fn tilde(n: u8, mods: u8, out: &mut Vec<u8>) {
    let sequence = if mods == 0 { format!("\x1b[{n}~") } else { format!("\x1b[{n};{}~", mods + 1) };
    out.extend_from_slice(sequence.as_bytes());
}

fn csi_u(code: u32, mods: u8, out: &mut Vec<u8>) {
    let sequence = if mods == 0 { format!("\x1b[{code}u") } else { format!("\x1b[{code};{}u", mods + 1) };
    out.extend_from_slice(sequence.as_bytes());
}

/// As xterm's modifyOtherKeys writes it, formatOtherKeys being off.
fn other_key(code: u32, mods: u8, out: &mut Vec<u8>) {
    out.extend_from_slice(format!("\x1b[27;{};{code}~", mods + 1).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Size;

    fn terminal(modes: &str) -> Terminal {
        let mut terminal = Terminal::new(Size { cols: 20, rows: 5 }, 0);
        terminal.feed(modes.as_bytes());
        terminal
    }

    fn sent(modes: &str, key: &str) -> String {
        let mut out = Vec::new();
        terminal(modes).press(Key::named(key).unwrap_or_else(|| panic!("{key}")), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_key_sends_what_a_terminal_in_the_programs_modes_sends() {
        let table = [
            ("", "C-c", "\x03"),
            ("", "Ctrl+C", "\x03"),
            ("", "^C", "\x03"),
            ("", "C-Space", "\0"),
            ("", "C-\\", "\x1c"),
            ("", "C-_", "\x1f"),
            ("", "C--", "\x1f"),
            ("", "C-?", "\x7f"),
            ("", "M-x", "\x1bx"),
            ("", "M-C-a", "\x1b\x01"),
            ("", "M-S-x", "\x1bX"),
            ("", "a", "a"),
            ("", "ü", "ü"),
            ("", "-", "-"),
            ("", "^", "^"),
            ("", "Enter", "\r"),
            ("\x1b[20h", "Enter", "\r\n"),
            ("", "M-Enter", "\x1b\r"),
            ("", "Tab", "\t"),
            ("", "BTab", "\x1b[Z"),
            ("", "S-Tab", "\x1b[Z"),
            ("", "BSpace", "\x7f"),
            ("\x1b[?67h", "BSpace", "\x08"),
            ("", "C-BSpace", "\x08"),
            ("", "Esc", "\x1b"),
            ("", "Up", "\x1b[A"),
            ("\x1b[?1h", "Up", "\x1bOA"),
            ("\x1b[?1h", "C-Up", "\x1b[1;5A"),
            ("", "S-Left", "\x1b[1;2D"),
            ("\x1b[?1h", "Home", "\x1bOH"),
            ("", "PPage", "\x1b[5~"),
            ("", "PageDown", "\x1b[6~"),
            ("", "DC", "\x1b[3~"),
            ("", "C-Delete", "\x1b[3;5~"),
            ("", "F1", "\x1bOP"),
            ("", "S-F1", "\x1b[1;2P"),
            ("", "F5", "\x1b[15~"),
            ("", "F12", "\x1b[24~"),
            ("", "F13", "\x1b[1;2P"),
            ("", "F17", "\x1b[15;2~"),
            ("", "KP5", "5"),
            ("\x1b=", "KP5", "\x1bOu"),
            ("\x1b=", "KPEnter", "\x1bOM"),
            ("", "KPEnter", "\r"),
            // modifyOtherKeys 2.
            ("\x1b[>4;2m", "C-c", "\x1b[27;5;99~"),
            ("\x1b[>4;2m", "S-a", "A"),
            ("\x1b[>4;2m", "C-Enter", "\x1b[27;5;13~"),
            // Kitty: disambiguate.
            ("\x1b[>1u", "Esc", "\x1b[27u"),
            ("\x1b[>1u", "C-c", "\x1b[99;5u"),
            ("\x1b[>1u", "C-S-A", "\x1b[97;6u"),
            ("\x1b[>1u", "a", "a"),
            ("\x1b[>1u", "Enter", "\r"),
            ("\x1b[>1u", "S-Enter", "\x1b[13;2u"),
            ("\x1b[>1u\x1b[?1h", "Up", "\x1b[A"),
            ("\x1b[>1u", "F3", "\x1b[13~"),
            ("\x1b[>1u", "F1", "\x1b[P"),
            // Every key as a sequence, with its text.
            ("\x1b[>9u", "Enter", "\x1b[13u"),
            ("\x1b[>9u", "a", "\x1b[97u"),
            ("\x1b[>25u", "A", "\x1b[97;2;65u"),
            ("\x1b[>25u", "a", "\x1b[97;;97u"),
            ("\x1b[>1u\x1b[<u", "C-c", "\x03"),
        ];
        for (modes, key, want) in table {
            assert_eq!(sent(modes, key), want, "{key} after {modes:?}");
        }
    }

    #[test]
    fn what_is_no_name_of_a_key_is_none() {
        for name in
            ["", "Entr", "C-", "F0", "F25", "KP", "KPx", "kp10", "C-Foo", "ab", "\x1b", &"C-".repeat(40)]
        {
            assert_eq!(Key::named(name), None, "{name:?}");
        }
    }

    #[test]
    fn a_paste_has_marks_where_they_were_asked_for_and_cannot_end_itself() {
        let paste = |modes: &str, text: &str| {
            let mut out = Vec::new();
            terminal(modes).paste(text.as_bytes(), &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(paste("", "a\nb\r\nc"), "a\rb\rc");
        assert_eq!(paste("\x1b[?2004h", "a\nb"), "\x1b[200~a\rb\x1b[201~");
        assert_eq!(paste("\x1b[?2004h", "a\x1b[201~rm\n"), "\x1b[200~arm\r\x1b[201~");
        // One that is there once another was left out.
        for text in ["a\x1b[20\x1b[201~1~rm", "a\x1b\x1b[20\x1b[200~1~[201~rm"] {
            assert_eq!(paste("\x1b[?2004h", text), "\x1b[200~arm\x1b[201~", "{text:?}");
            assert_eq!(paste("", text), text);
        }
    }

    #[test]
    fn lines_are_a_paste_only_to_a_program_that_takes_one_and_end_with_enter() {
        let typed = |modes: &str, text: &str| {
            let mut out = Vec::new();
            terminal(modes).type_lines(text.as_bytes(), &mut out);
            String::from_utf8(out).unwrap()
        };
        for (modes, text, want) in [
            ("", "a\nb\n", "a\nb\n"),
            ("\x1b[?2004h", "ls\n", "ls\n"),
            ("\x1b[?2004h", "ls", "ls"),
            ("\x1b[?2004h", "a\nb\n", "\x1b[200~a\rb\x1b[201~\r"),
            ("\x1b[?2004h", "a\r\nb", "\x1b[200~a\rb\x1b[201~"),
        ] {
            assert_eq!(typed(modes, text), want, "{text:?} after {modes:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_name_panics_and_every_key_sends_something(name in "\\PC{0,12}|(C-|M-|S-){0,3}[A-Za-z0-9]{1,8}", modes in "(\x1b\\[>[0-9]{1,2}u|\x1b=|\x1b\\[\\?1h|\x1b\\[>4;2m){0,3}") {
            if let Some(key) = Key::named(&name) {
                let mut out = Vec::new();
                terminal(&modes).press(key, &mut out);
                proptest::prop_assert!(!out.is_empty());
            }
        }
    }
}
