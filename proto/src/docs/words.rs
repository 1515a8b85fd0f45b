//! How durations, ends and commands read. One style each, wherever they are printed.

use super::word::{Reason, Word};
use std::borrow::Cow;

const UNITS: [(u64, &str, &str); 4] =
    [(86_400, "d", "day"), (3_600, "h", "hour"), (60, "m", "minute"), (1, "s", "second")];

fn parts(seconds: u64) -> impl Iterator<Item = (u64, &'static str, &'static str)> {
    let mut rest = seconds;
    UNITS.into_iter().filter_map(move |(size, short, long)| {
        let count = rest / size;
        rest %= size;
        (count > 0).then_some((count, short, long))
    })
}

/// A duration exactly, as it is typed: `90s` is `1m30s`, two days are `2d`.
pub fn exact(seconds: u64) -> String {
    let text: String = parts(seconds).map(|(count, short, _)| format!("{count}{short}")).collect();
    if text.is_empty() { "0s".to_owned() } else { text }
}

/// A duration as precisely as one looks at it, by its largest unit: `42s`, `5m`, `3h`, `2d`.
pub fn rough(seconds: u64) -> String {
    parts(seconds).next().map_or_else(|| "0s".to_owned(), |(count, short, _)| format!("{count}{short}"))
}

/// A duration in a sentence: `2 days`, `1 hour 30 minutes`.
pub fn long(seconds: u64) -> String {
    let words: Vec<String> = parts(seconds)
        .take(2)
        .map(|(count, _, long)| format!("{count} {long}{}", if count == 1 { "" } else { "s" }))
        .collect();
    if words.is_empty() { "no time".to_owned() } else { words.join(" ") }
}

/// How long ago, roughly: `now`, `42s ago`, `2d ago`.
pub fn ago(seconds: u64) -> String {
    if seconds < 2 { "now".to_owned() } else { format!("{} ago", rough(seconds)) }
}

/// A signal's name, if it has one everywhere.
pub fn signal_name(signal: i32) -> Option<&'static str> {
    Some(match signal {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        6 => "SIGABRT",
        8 => "SIGFPE",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        14 => "SIGALRM",
        15 => "SIGTERM",
        _ => return None,
    })
}

/// How a job ended, in a few words.
pub fn end(reason: &Word<Reason>, code: Option<i32>, signal: Option<i32>) -> String {
    match (reason.known(), code, signal) {
        (Some(Reason::Exited), Some(code), _) => format!("exited {code}"),
        (Some(Reason::Signaled), _, Some(signal)) => match signal_name(signal) {
            Some(name) => format!("killed by signal {signal}, {name}"),
            None => format!("killed by signal {signal}"),
        },
        // Our word for it is nobody else's.
        (Some(Reason::Reaped), ..) => "ended for idleness".to_owned(),
        _ => reason.to_string(),
    }
}

/// Why a session was ended for idleness and how to have it otherwise. `after`: seconds, when they are known.
pub fn reaped(after: Option<u64>, unattended: bool) -> String {
    let time = after.map_or_else(|| "its time".to_owned(), long);
    if unattended {
        format!("ended after {time} without a view (--reap unattended; --idle-timeout never keeps it)")
    } else {
        format!("ended after {time} without activity (--idle-timeout never keeps it)")
    }
}

/// A word as a shell takes it.
pub fn quoted(word: &str) -> Cow<'_, str> {
    let plain = |c: char| c.is_alphanumeric() || "_@%+=:,./-^".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.into()
    } else {
        format!("'{}'", word.replace('\'', "'\\''")).into()
    }
}

/// A command as one would type it.
pub fn command(words: &[String]) -> String {
    words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_in_one_style() {
        for (seconds, a, b, c) in [
            (0, "0s", "0s", "no time"),
            (1, "1s", "1s", "1 second"),
            (90, "1m30s", "1m", "1 minute 30 seconds"),
            (5_400, "1h30m", "1h", "1 hour 30 minutes"),
            (172_800, "2d", "2d", "2 days"),
            (176_401, "2d1h1s", "2d", "2 days 1 hour"),
        ] {
            assert_eq!((exact(seconds).as_str(), rough(seconds).as_str(), long(seconds).as_str()), (a, b, c));
        }
        assert_eq!((ago(0), ago(1), ago(60)), ("now".to_owned(), "now".to_owned(), "1m ago".to_owned()));
    }

    #[test]
    fn ends_in_words() {
        for (reason, code, signal, want) in [
            ("exited", Some(7), None, "exited 7"),
            ("signaled", None, Some(9), "killed by signal 9, SIGKILL"),
            ("signaled", None, Some(64), "killed by signal 64"),
            ("reaped", None, Some(1), "ended for idleness"),
            ("lost", None, None, "lost"),
        ] {
            assert_eq!(end(&Word::from(reason), code, signal), want);
        }
        assert_eq!(
            reaped(Some(172_800), false),
            "ended after 2 days without activity (--idle-timeout never keeps it)"
        );
        assert!(reaped(None, true).contains("without a view"));
    }

    #[test]
    fn a_command_is_shown_as_it_would_be_typed() {
        let words = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
        for (given, want) in [
            (words(&["sh", "-c", "kill -9 $$"]), "sh -c 'kill -9 $$'"),
            (words(&["echo", "", "it's", "a/b=c"]), "echo '' 'it'\\''s' a/b=c"),
            (words(&["./train", "--lr", "1e-3"]), "./train --lr 1e-3"),
            (words(&[]), ""),
        ] {
            assert_eq!(command(&given), want);
        }
    }
}
