//! What the user's terminal can do, as its name says (terminfo), for drawings that are made for it. Pure, but for reading the entry.

use sessd_proto::messages::lacks;
use std::path::{Path, PathBuf};
use termini::{BoolCapability, NumberCapability, StringCapability, TermInfo, Value};

/// What a manager is told of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TerminalReport {
    /// Colours; none: all there are.
    pub colours: Option<u32>,
    /// Bits of [`lacks`].
    pub lacks: u32,
}

/// Of this process's terminal. `wide`: it shows more than ASCII.
pub fn here(wide: bool) -> TerminalReport {
    let var = |name: &str| std::env::var(name).ok();
    let term = var("TERM").unwrap_or_default();
    let entry = folders(&var).into_iter().find_map(|folder| read(&folder, &term));
    of(&term, entry.as_ref().map(facts), var("COLORTERM").as_deref(), wide)
}

/// Where entries are, in the order they are looked for (terminfo(5), "Fetching Compiled Descriptions").
fn folders(var: &dyn Fn(&str) -> Option<String>) -> Vec<PathBuf> {
    let named = |name: &str| var(name).filter(|folder| !folder.is_empty()).map(PathBuf::from);
    let own = named("TERMINFO").or_else(|| Some(named("HOME")?.join(".terminfo")));
    let more = var("TERMINFO_DIRS").unwrap_or_default();
    let more: Vec<PathBuf> = more.split(':').filter(|dir| !dir.is_empty()).map(PathBuf::from).collect();
    // Termux and its like.
    let prefix = named("PREFIX").map(|prefix| prefix.join("share/terminfo"));
    let usual = ["/etc/terminfo", "/lib/terminfo", "/usr/share/terminfo"].map(PathBuf::from);
    own.into_iter().chain(more).chain(prefix).chain(usual).collect()
}

/// The entry of a terminal in a folder. The file is read at once: the library would ask for it byte by byte.
fn read(folder: &Path, term: &str) -> Option<TermInfo> {
    let first = term.chars().next().filter(|_| !term.contains('/'))?;
    // The second is for file systems that do not tell capital letters from small ones.
    let files = [folder.join(first.to_string()), folder.join(format!("{:x}", u32::from(first)))];
    let bytes = files.iter().find_map(|file| std::fs::read(file.join(term)).ok())?;
    TermInfo::parse(&bytes[..]).ok()
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
fn of(term: &str, entry: Option<Facts>, colorterm: Option<&str>, wide: bool) -> TerminalReport {
    let direct = matches!(colorterm, Some("truecolor" | "24bit"));
    // Those that nobody has an entry of are of today, and speak as an xterm does.
    let named = |n: u32| Facts { colours: n, direct: false, lacks: 0 };
    let facts = entry.unwrap_or_else(|| named(if term.contains("256") || direct { 256 } else { 16 }));
    let colours = if direct || facts.direct || facts.colours > 256 { None } else { Some(facts.colours) };
    TerminalReport { colours, lacks: facts.lacks | if wide { 0 } else { lacks::UNICODE } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_is_asked_for_no_more_than_its_entry_says() {
        let entry = |colours, direct, lacks| Some(Facts { colours, direct, lacks });
        let told = |colours, lacks| TerminalReport { colours, lacks };
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
        let entry = |term| folders(&|_| None).iter().find_map(|folder| read(folder, term));
        if let (Some(xterm), Some(vt100)) = (entry("xterm"), entry("vt100")) {
            assert_eq!(facts(&xterm).lacks & !lacks::ITALICS, 0);
            assert_eq!((facts(&xterm).colours, facts(&vt100).colours), (8, 0));
            let lines = lacks::SHIFTING_LINES | lacks::SHIFTING_CHARACTERS | lacks::ERASING_CHARACTERS;
            assert_eq!(facts(&vt100).lacks & lines, lines);
        }
    }

    #[test]
    fn entries_are_looked_for_where_ncurses_does() {
        let var = |pairs: &'static [(&str, &str)]| {
            move |name: &str| pairs.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned())
        };
        let of = |var: &dyn Fn(&str) -> Option<String>| {
            let found: Vec<String> = folders(var).iter().map(|path| path.display().to_string()).collect();
            found.join(" ")
        };
        let usual = "/etc/terminfo /lib/terminfo /usr/share/terminfo";
        assert_eq!(of(&var(&[("HOME", "/h"), ("TERMINFO", "")])), format!("/h/.terminfo {usual}"));
        assert_eq!(
            of(&var(&[("HOME", "/h"), ("TERMINFO", "/t"), ("TERMINFO_DIRS", "/a::/b")])),
            format!("/t /a /b {usual}")
        );
        assert!(read(Path::new("/etc/.."), "etc/passwd").is_none() && read(Path::new("/"), "").is_none());
    }
}
