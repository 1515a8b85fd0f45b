//! What the user's terminal can do, as its name says (terminfo), for drawings that are made for it. Pure, but for reading the entry.

use sessd_proto::messages::lacks;
use termini::{BoolCapability, NumberCapability, StringCapability, TermInfo, Value};

/// What a manager is told of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Told {
    /// Colours; none: all there are.
    pub colours: Option<u32>,
    /// Bits of [`lacks`].
    pub lacks: u32,
}

/// Of this process's terminal. `wide`: it shows more than ASCII.
pub fn here(wide: bool) -> Told {
    let var = |name: &str| std::env::var(name).ok();
    let term = var("TERM").unwrap_or_default();
    let entry = TermInfo::from_name(&term).ok();
    of(&term, entry.as_ref().map(facts), var("COLORTERM").as_deref(), wide)
}

/// What an entry says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Facts {
    colours: u32,
    direct: bool,
    /// Bits of [`lacks`].
    lacks: u32,
}

fn facts(entry: &TermInfo) -> Facts {
    let has = |cap| entry.raw_string_cap(cap).is_some_and(|said: &[u8]| !said.is_empty());
    let flag = |name: &str| !matches!(entry.extended_cap(name), None | Some(Value::Number(0)));
    let colours = entry.number_cap(NumberCapability::MaxColors).and_then(|n| u32::try_from(n).ok());
    let can = [
        (lacks::ERASING_IN_COLOUR, entry.flag_cap(BoolCapability::BackColorErase)),
        (lacks::ERASING_CHARACTERS, has(StringCapability::EraseChars)),
        (
            lacks::SHIFTING_CHARACTERS,
            has(StringCapability::ParmInsertCharacters) && has(StringCapability::ParmDeleteCharacters),
        ),
        (
            lacks::SHIFTING_LINES,
            has(StringCapability::ParmInsertLine) && has(StringCapability::ParmDeleteLine),
        ),
        (lacks::ITALICS, has(StringCapability::EnterItalicsMode)),
    ];
    let lacks = can.iter().filter(|(_, can)| !can).fold(0, |all, (bit, _)| all | bit);
    Facts { colours: colours.unwrap_or(0), direct: flag("RGB") || flag("Tc"), lacks }
}

/// `entry`: what the terminal's entry says; none: there is none, as on a host that does not know it.
fn of(term: &str, entry: Option<Facts>, colorterm: Option<&str>, wide: bool) -> Told {
    let direct = matches!(colorterm, Some("truecolor" | "24bit"));
    // Those that nobody has an entry of are of today, and speak as an xterm does.
    let named = |n: u32| Facts { colours: n, direct: false, lacks: 0 };
    let facts = entry.unwrap_or_else(|| named(if term.contains("256") || direct { 256 } else { 16 }));
    let colours = if direct || facts.direct || facts.colours > 256 { None } else { Some(facts.colours) };
    Told { colours, lacks: facts.lacks | if wide { 0 } else { lacks::UNICODE } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_is_asked_for_no_more_than_its_entry_says() {
        let entry = |colours, direct, lacks| Some(Facts { colours, direct, lacks });
        let told = |colours, lacks| Told { colours, lacks };
        for (term, facts, colorterm, wide, want) in [
            ("xterm-256color", entry(256, false, 0), None, true, told(Some(256), 0)),
            ("xterm-256color", entry(256, false, 0), Some("truecolor"), true, told(None, 0)),
            ("xterm-direct", entry(1 << 24, false, 0), None, true, told(None, 0)),
            ("foot", entry(256, true, 0), None, true, told(None, 0)),
            ("vt100", entry(0, false, 31), None, false, told(Some(0), 31 | lacks::UNICODE)),
            ("of-tomorrow", None, None, true, told(Some(16), 0)),
            ("of-tomorrow-256color", None, Some("yes"), true, told(Some(256), 0)),
            ("of-tomorrow", None, Some("24bit"), true, told(None, 0)),
        ] {
            assert_eq!(of(term, facts, colorterm, wide), want, "{term}");
        }
    }

    /// Where the system has them; every one has these two.
    #[test]
    fn entries_are_read() {
        if let (Ok(xterm), Ok(vt100)) = (TermInfo::from_name("xterm"), TermInfo::from_name("vt100")) {
            assert_eq!(facts(&xterm).lacks & !lacks::ITALICS, 0);
            assert_eq!((facts(&xterm).colours, facts(&vt100).colours), (8, 0));
            let lines = lacks::SHIFTING_LINES | lacks::SHIFTING_CHARACTERS | lacks::ERASING_CHARACTERS;
            assert_eq!(facts(&vt100).lacks & lines, lines);
        }
    }
}
