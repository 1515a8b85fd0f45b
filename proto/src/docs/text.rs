//! Text that others wrote, made fit for a person's terminal: a job, a host, a name or somebody's argument may hold
//! characters that act (escape sequences), that reorder what is read (bidirectional controls), or that are not seen at all.

use std::borrow::Cow;
use std::fmt::Write;

/// Does this character do something other than be read? Controls (C0, DEL, C1), bidirectional and other format characters,
/// and what is drawn as nothing. A variation selector is not: it only chooses how the character before it looks.
pub fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{890}'..='\u{891}' | '\u{8e2}'
            | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{3164}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
            | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}')
}

fn escape(c: char, out: &mut String) {
    match c {
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        c if u32::from(c) < 0x100 => {
            let _ = write!(out, "\\x{:02x}", u32::from(c));
        }
        c => {
            let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
        }
    }
}

fn escaped(text: &str, hidden: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&hidden) {
        return text.into();
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if hidden(c) {
            escape(c, &mut out);
        } else {
            out.push(c);
        }
    }
    out.into()
}

/// One line of anything: what [`is_hidden`] is shown as `\n`, `\x1b`, `\u{202e}`.
pub fn shown(text: &str) -> Cow<'_, str> {
    escaped(text, is_hidden)
}

/// The same for text of several lines of our own making: line ends stay.
pub fn shown_lines(text: &str) -> Cow<'_, str> {
    escaped(text, |c| is_hidden(c) && c != '\n')
}

/// A JSON document in which nothing acts on the terminal it is printed to: what [`is_hidden`] is written as `\uXXXX`, which
/// means the same to whoever parses it. In JSON such characters stand in strings only.
pub fn json(document: &str) -> Cow<'_, str> {
    let hidden = |c: char| is_hidden(c) && !c.is_ascii_control() || c == '\u{7f}';
    if !document.contains(hidden) {
        return document.into();
    }
    let mut out = String::with_capacity(document.len() + 32);
    for c in document.chars() {
        if hidden(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        } else {
            out.push(c);
        }
    }
    out.into()
}

/// A system's words for what went wrong, without the number behind them: "No space left on device (os error 28)".
pub fn without_numbers(text: &str) -> Cow<'_, str> {
    const BEGIN: &str = " (os error ";
    if !text.contains(BEGIN) {
        return text.into();
    }
    let mut parts = text.split(BEGIN);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.trim_start_matches(|c: char| c == '-' || c.is_ascii_digit()).strip_prefix(')') {
            Some(rest) => out.push_str(rest),
            None => out.extend([BEGIN, part]),
        }
    }
    out.into()
}

/// Makes text of the far side fit for a message: one line, nothing that [`is_hidden`], at most `max` characters, the end
/// kept (errors say what went wrong last), and the numbers of a system's errors not.
pub fn clean(text: &str, max: usize) -> String {
    let text = without_numbers(text);
    let mut out = String::with_capacity(text.len().min(4 * max));
    let mut space = true;
    for c in text.chars() {
        if c.is_whitespace() {
            if !space {
                out.push(' ');
            }
            space = true;
        } else if !is_hidden(c) {
            out.push(c);
            space = false;
        }
    }
    out.truncate(out.trim_end().len());
    let count = out.chars().count();
    if count > max {
        format!("…{}", out.chars().skip(count - max.saturating_sub(1)).collect::<String>())
    } else {
        out
    }
}

/// Text of the far side that is kept as data (a command, a folder): what acts is left out, the rest is as it was.
/// Line ends and tabs stay where `lines` allows them.
pub fn stripped(text: String, lines: bool) -> String {
    let bad = |c: char| is_hidden(c) && !(lines && matches!(c, '\n' | '\t'));
    if text.contains(bad) { text.chars().filter(|c| !bad(*c)).collect() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BAD: &str =
        "a\u{1b}]0;x\u{7}\u{9b}2J\u{7f}\u{202e}\u{200b}\u{2066}\u{feff}\u{ad}\u{e0041}\r\n\t\u{85}z";

    #[test]
    fn a_number_of_the_system_tells_nobody_anything() {
        for (said, want) in [
            ("x (No space left on device (os error 28)): y", "x (No space left on device): y"),
            ("Connection refused (os error 111)", "Connection refused"),
            ("a (os error -5), b (os error 2)", "a, b"),
            ("a file named x (os error", "a file named x (os error"),
            ("x (os error 2", "x (os error 2"),
        ] {
            assert_eq!(without_numbers(said), want);
            assert_eq!(clean(said, 100), want);
        }
    }

    #[test]
    fn what_acts_is_shown_and_does_not_act() {
        let table = [
            ("plain é 日本 👍\u{fe0f}", "plain é 日本 👍\u{fe0f}"),
            ("\u{1b}[31mred\u{7}", "\\x1b[31mred\\x07"),
            ("a\nb\tc\rd", "a\\nb\\tc\\rd"),
            ("\u{202e}gpj.exe", "\\u{202e}gpj.exe"),
            ("x\u{200d}\u{9b}\u{7f}", "x\\u{200d}\\x9b\\x7f"),
            ("\u{e0041}", "\\u{e0041}"),
        ];
        for (text, want) in table {
            assert_eq!(shown(text), want, "{text:?}");
        }
        assert_eq!(shown_lines("a\nb\u{1b}\n"), "a\nb\\x1b\n");
        assert_eq!(
            json("{\"a\":\"\u{202e}\u{7f}\u{9b}é\u{e0041}\"}"),
            "{\"a\":\"\\u202e\\u007f\\u009bé\\udb40\\udc41\"}"
        );
        assert_eq!(json("{\n  \"a\": 1\n}"), "{\n  \"a\": 1\n}");
    }

    #[test]
    fn what_is_cleaned_or_stripped_has_nothing_left_that_acts() {
        assert_eq!(clean(BAD, 80), "a]0;x2J z");
        assert_eq!(stripped(BAD.into(), false), "a]0;x2Jz");
        assert_eq!(stripped("sh\n\tx\u{1b}".into(), true), "sh\n\tx");
        assert_eq!(clean("abcdef", 4), "…def");
    }

    proptest! {
        #[test]
        fn nothing_hidden_passes_any_gate(text in "\\PC*|(?s:.{0,40})", tail in any::<String>()) {
            let text = format!("{text}{tail}");
            prop_assert!(!shown(&text).contains(is_hidden));
            prop_assert!(!shown_lines(&text).contains(|c| is_hidden(c) && c != '\n'));
            prop_assert!(!clean(&text, 50).contains(is_hidden));
            prop_assert!(clean(&text, 50).chars().count() <= 50);
            prop_assert!(!stripped(text.clone(), false).contains(is_hidden));
            prop_assert_eq!(shown(&shown(&text)).into_owned(), shown(&text).into_owned());
            let document = json(&text).into_owned();
            prop_assert!(!document.contains(|c| is_hidden(c) && !matches!(c, '\0'..='\x1f')));
        }
    }
}
