//! The line that a view has to say while something is amiss: plain words, fitted to the terminal. Pure.
//!
//! It is made of parts. What does not fit is said shorter first, and then not at all, the least important part first; no
//! word is ever cut in two, unless not even one fits.

use sessd_client::typed::Lost;
use sessd_proto::docs::LinkState;
use sessd_proto::docs::text::is_hidden;
use sessd_proto::messages::Attached;
use unicode_width::UnicodeWidthChar;

/// What is amiss.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// There is no manager, and this is why none can be started, if that is known.
    NoManager(String),
    /// The manager is there and says nothing.
    ManagerSilent {
        /// Its process, where the system tells.
        pid: Option<i32>,
        /// For so long, in milliseconds.
        silent_ms: u64,
    },
    /// The host answers, and the job's holder does not.
    HolderSilent {
        /// For so long, in milliseconds.
        silent_ms: u64,
    },
    /// The link to the session's host is broken or silent.
    Link {
        /// Where it stands: up (and silent), stalled, …; none: elsewhere, as a newer manager says.
        state: Option<LinkState>,
        /// When anything was heard of the host last, in milliseconds before now.
        silent_ms: u64,
        /// Why the link is not up, one sentence.
        why: String,
        /// When it is dialled next, in milliseconds from now.
        next_try_ms: Option<u64>,
    },
}

/// What the line is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts<'a> {
    /// The session by its name.
    pub session: &'a str,
    /// The host by the name the user gave it.
    pub host: &'a str,
    /// What is amiss.
    pub trouble: Trouble,
    /// Keys that are kept until they can be delivered.
    pub held: usize,
    /// Keys that were not delivered.
    pub lost: Lost,
    /// What is typed now is not kept.
    pub refuses: bool,
    /// Nothing that is typed goes anywhere.
    pub read_only: bool,
    /// The key that leaves, as a person calls it.
    pub leave: Option<&'a str>,
}

/// Ways to say a part, the longest first, each with how much it hurts to give it up for the next, or the last for nothing.
struct Part(Vec<(String, u8)>);

impl Part {
    fn one(way: impl Into<String>, hurts: u8) -> Self {
        Self(vec![(way.into(), hurts)])
    }

    fn or(mut self, way: impl Into<String>, hurts: u8) -> Self {
        self.0.push((way.into(), hurts));
        self
    }
}

/// How many of something: "1 key", "2 keys".
pub fn many(count: usize, one: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {one}s") }
}

/// A length of time, as one looks at a clock.
pub fn seconds(ms: u64) -> String {
    match ms / 1000 {
        s @ 0..=99 => format!("{s} s"),
        s @ 100..=5999 => format!("{} min", s / 60),
        s => format!("{} h", s / 3600),
    }
}

/// How many columns a text takes.
pub fn width(text: &str) -> usize {
    text.chars().map(|c| c.width().unwrap_or(0)).sum()
}

/// What a person is told as the view begins: who else is here, or was until now, and that keys go nowhere.
pub fn beginning(attached: &Attached, read_only: bool, leave: Option<&str>) -> String {
    let mut parts = Vec::new();
    if attached.sent_away > 0 {
        parts.push(format!("{} sent away", many(attached.sent_away as usize, "other view")));
    }
    if attached.others > 0 {
        parts.push(format!("also attached: {}", attached.others_are));
    }
    if read_only {
        parts.push("read only: keys go nowhere".to_owned());
        parts.extend(leave.map(|key| format!("{key} leaves")));
    } else if attached.others > 0 {
        parts.push("`--take` sends them away".to_owned());
    }
    parts.join(", ")
}

/// The control key that sends `byte`, as a person calls it.
pub fn key_name(byte: u8) -> String {
    match byte {
        0..0x20 => format!("Ctrl-{}", (byte | 0x40) as char),
        byte => (byte as char).to_string(),
    }
}

/// What became of keys that were not delivered, for when the link is back.
pub fn lost(lost: Lost) -> String {
    let dropped = format!("{} typed meanwhile {} not sent", many(lost.dropped, "key"), was(lost.dropped));
    let doubtful = format!("{} may not have arrived", many(lost.doubtful, "key"));
    match (lost.dropped, lost.doubtful) {
        (_, 0) => dropped,
        (0, _) => doubtful,
        _ => format!("{dropped}, {doubtful}"),
    }
}

fn was(count: usize) -> &'static str {
    if count == 1 { "was" } else { "were" }
}

/// The end of a sentence about a host that says what is wrong with it: without the host, which the line has named, and
/// without what stands in brackets.
fn cause(why: &str, host: &str) -> String {
    let lost = format!("the link to {host} was lost (");
    let rest = match why.strip_prefix(lost.as_str()) {
        Some(rest) => rest.trim_end_matches(')'),
        None => why
            .strip_prefix(host)
            .and_then(|rest| rest.split_once(": ").map(|(_, cause)| cause))
            .unwrap_or(why),
    };
    let rest = match rest.find(" (") {
        Some(bracket) => &rest[..bracket],
        None => rest,
    };
    rest.trim_end_matches(['.', ')', ' ']).to_owned()
}

/// A sentence up to where it begins to explain itself.
fn first_clause(sentence: &str) -> &str {
    [": ", " (", "; ", ", "]
        .iter()
        .filter_map(|mark| sentence.find(mark))
        .min()
        .map_or(sentence, |at| &sentence[..at])
}

/// A cause without the port at which it happened: that says nothing without what did.
fn what_happened(cause: &str) -> &str {
    match cause.split_once(": ") {
        Some((place, what)) if place.starts_with("port ") => what,
        _ => cause,
    }
}

/// Is that only to say that nothing came?
fn is_silence(cause: &str) -> bool {
    ["no answer", "nothing was heard", "does not answer", "timed out", "the agent's end closed"]
        .iter()
        .any(|words| cause.contains(words))
}

fn head(facts: &Facts<'_>) -> Vec<Part> {
    let host = facts.host;
    match &facts.trouble {
        Trouble::NoManager(why) => {
            let short = Part::one("no manager", 9);
            let head = if why.is_empty() {
                short
            } else {
                Part::one(format!("no manager: {why}"), 2)
                    .or(format!("no manager: {}", first_clause(why)), 5)
                    .or("no manager", 9)
            };
            vec![head, Part::one("one is being started", 4)]
        }
        Trouble::ManagerSilent { pid, silent_ms } => {
            let time = seconds(*silent_ms);
            let Some(pid) = pid else {
                return vec![
                    Part::one(format!("the manager does not answer for {time}"), 6).or("no manager", 9),
                ];
            };
            vec![
                Part::one(format!("the manager (pid {pid}) does not answer for {time}"), 6)
                    .or(format!("manager {pid} is silent"), 8)
                    .or("no manager", 9),
                Part::one(format!("`kill -9 {pid}` has another one started"), 4)
                    .or(format!("`kill -9 {pid}`"), 6),
            ]
        }
        Trouble::HolderSilent { silent_ms } => {
            let (name, time) = (facts.session, seconds(*silent_ms));
            vec![
                Part::one(format!("the holder of {name} does not answer for {time}, {host} does"), 5)
                    .or(format!("the holder of {name} does not answer for {time}"), 6)
                    .or("the holder is silent", 9),
                Part::one(format!("`sessd info {name}` says what can be done"), 3)
                    .or(format!("`sessd info {name}`"), 6),
            ]
        }
        Trouble::Link { state, silent_ms, why, next_try_ms } => {
            let (cause, time) = (cause(why, host), seconds(*silent_ms));
            let mut parts = Vec::new();
            if cause.is_empty() || is_silence(&cause) {
                let short = format!("no answer for {time}");
                parts.push(Part::one(format!("link to {host}: {short}"), 6).or(short, 9).or("no link", 9));
            } else {
                parts.push(
                    Part::one(format!("link to {host}: {cause}"), 2)
                        .or(format!("link to {host}: {}", first_clause(what_happened(&cause))), 5)
                        .or(format!("link to {host} is down"), 6)
                        .or("no link", 9),
                );
                parts.push(Part::one(format!("last heard {time} ago"), 1));
            }
            match (state, next_try_ms) {
                (Some(LinkState::NeedsLogin), _) => {
                    let name = facts.session;
                    parts.push(
                        Part::one(format!("`sessd attach {name}` tries again"), 4).or("wants a login", 5),
                    );
                }
                (_, Some(ms)) if *ms >= 1000 => {
                    let time = seconds(*ms);
                    parts.push(
                        Part::one(format!("trying again in {time}"), 4)
                            .or(format!("next try in {time}"), 4)
                            .or(format!("in {time}"), 5),
                    );
                }
                (_, Some(_)) | (Some(LinkState::Connecting | LinkState::Down), None) => {
                    parts.push(Part::one("trying now", 5))
                }
                _ => {}
            }
            parts
        }
    }
}

/// The line, at most `cols` wide. `wide`: the terminal shows more than ASCII.
pub fn line(facts: &Facts<'_>, cols: usize, wide: bool) -> String {
    let mut parts = head(facts);
    if !matches!(facts.trouble, Trouble::HolderSilent { .. }) {
        parts.insert(1, Part::one(format!("{} runs on", facts.session), 3));
    }
    if facts.read_only {
        parts.push(Part::one("read only", 8));
    } else {
        let Lost { dropped, doubtful } = facts.lost;
        if facts.held > 0 {
            parts.push(Part::one(format!("{} held", many(facts.held, "key")), 8));
        }
        if dropped > 0 {
            parts.push(Part::one(format!("{} dropped", many(dropped, "key")), 8));
        }
        if doubtful > 0 {
            let keys = many(doubtful, "key");
            parts
                .push(Part::one(format!("{keys} may not have arrived"), 6).or(format!("{keys} in doubt"), 8));
        }
        if facts.refuses {
            parts.push(Part::one("typing is refused until it is back", 5).or("typing is refused", 8));
        }
    }
    if let Some(leave) = facts.leave {
        parts.push(Part::one(format!("{leave} leaves"), 7));
    }
    fit(parts, cols, wide)
}

/// A text in the characters that the terminal shows.
pub fn shown(text: &str, wide: bool) -> String {
    if wide {
        return text.chars().filter(|c| !is_hidden(*c)).collect();
    }
    let plain = |c: char| match c {
        ' '..='~' => c,
        _ => '?',
    };
    text.chars().filter(|c| !is_hidden(*c)).map(plain).collect()
}

fn fit(mut parts: Vec<Part>, cols: usize, wide: bool) -> String {
    let between = if wide { " \u{b7} " } else { " - " };
    loop {
        let said: Vec<&str> = parts.iter().filter_map(|part| Some(part.0.first()?.0.as_str())).collect();
        let text = shown(&said.join(between), wide);
        if width(&text) <= cols {
            return text;
        }
        // What hurts least is given up; of equals the last.
        let hurts = |at: &usize| parts[*at].0.first().map_or(u8::MAX, |way| way.1);
        let Some(at) = (0..parts.len()).rev().min_by_key(hurts) else { return text };
        if parts[at].0.len() > 1 {
            parts[at].0.remove(0);
        } else if parts.len() > 1 {
            parts.remove(at);
        } else {
            return cut(&text, cols);
        }
    }
}

/// The beginning of a text that fits, in whole words if one fits.
pub fn cut(text: &str, cols: usize) -> String {
    let (mut used, mut end) = (0, text.len());
    for (at, c) in text.char_indices() {
        used += c.width().unwrap_or(0);
        if used > cols {
            end = at;
            break;
        }
    }
    if end == text.len() || text[end..].starts_with(' ') {
        return text[..end].trim_end().to_owned();
    }
    let whole = text[..end].rfind(' ').unwrap_or(end);
    text[..whole].trim_end().to_owned()
}

/// Does this terminal show more than ASCII, as its locale says?
pub fn locale_is_wide(var: impl Fn(&str) -> Option<String>) -> bool {
    ["LC_ALL", "LC_CTYPE", "LANG"]
        .iter()
        .find_map(|name| var(name).filter(|value| !value.is_empty()))
        .is_some_and(|value| {
            let value = value.to_ascii_lowercase();
            value.contains("utf-8") || value.contains("utf8")
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use sessd_proto::docs::Vocabulary;

    fn facts(trouble: Trouble) -> Facts<'static> {
        Facts {
            session: "dev",
            host: "box",
            trouble,
            held: 0,
            lost: Lost::default(),
            refuses: false,
            read_only: false,
            leave: Some("Ctrl-\\"),
        }
    }

    fn silent(silent_ms: u64, next_try_ms: Option<u64>) -> Trouble {
        Trouble::Link { state: Some(LinkState::Down), silent_ms, why: String::new(), next_try_ms }
    }

    fn link(word: &str, why: &str) -> Trouble {
        Trouble::Link {
            state: LinkState::from_word(word),
            silent_ms: 35_000,
            why: why.into(),
            next_try_ms: Some(4_200),
        }
    }

    #[test]
    fn what_is_said_while_the_link_is_silent() {
        let facts = Facts { held: 8, ..facts(silent(12_300, Some(4_200))) };
        for (cols, line_at) in [
            (
                200,
                r"link to box: no answer for 12 s · dev runs on · trying again in 4 s · 8 keys held · Ctrl-\ leaves",
            ),
            (80, r"link to box: no answer for 12 s · next try in 4 s · 8 keys held · Ctrl-\ leaves"),
            (60, r"no answer for 12 s · 8 keys held · Ctrl-\ leaves"),
            (46, "no answer for 12 s · 8 keys held"),
            (20, "no answer for 12 s"),
            (8, "no link"),
            (4, "no"),
            (1, "n"),
        ] {
            assert_eq!(line(&facts, cols, true), line_at, "{cols}");
        }
    }

    #[test]
    fn why_it_is_down_is_said_in_a_few_words() {
        for (why, said) in [
            ("box is out of reach: connection refused (os error 111)", "connection refused"),
            ("the link to box was lost (connection reset by peer)", "connection reset by peer"),
            (
                "box is out of reach: the name box is not found (failed to lookup address information: Name or service not known)",
                "the name box is not found",
            ),
        ] {
            let text = line(&facts(link("down", why)), 200, true);
            assert_eq!(
                text,
                format!(
                    r"link to box: {said} · dev runs on · last heard 35 s ago · trying again in 4 s · Ctrl-\ leaves"
                )
            );
        }
        let why = "box is out of reach: port 2299 of 127.0.0.1: connection refused";
        assert_eq!(
            line(&facts(link("down", why)), 60, true),
            r"link to box: connection refused · in 4 s · Ctrl-\ leaves",
            "where it was refused says nothing without that it was"
        );
        let why = "box is out of reach: no answer within 10 s (ConnectTimeout)";
        assert!(line(&facts(link("down", why)), 200, true).starts_with("link to box: no answer for 35 s · "));
        let text =
            line(&facts(link("needs-login", "box wants a login that needs you: no key fits")), 200, true);
        assert_eq!(
            text,
            r"link to box: no key fits · dev runs on · last heard 35 s ago · `sessd attach dev` tries again · Ctrl-\ leaves"
        );
    }

    #[test]
    fn a_manager_that_is_away_or_says_nothing_is_said_with_what_to_do() {
        assert_eq!(
            line(&facts(Trouble::NoManager("the disk is full".into())), 200, true),
            r"no manager: the disk is full · dev runs on · one is being started · Ctrl-\ leaves"
        );
        let why = "/home/me/.config/sessd/config.toml is wrong: TOML parse error at line 1, column 3";
        assert_eq!(
            line(&facts(Trouble::NoManager(why.into())), 80, true),
            r"no manager: /home/me/.config/sessd/config.toml is wrong · Ctrl-\ leaves"
        );
        let stopped = facts(Trouble::ManagerSilent { pid: Some(77), silent_ms: 8_000 });
        assert_eq!(
            line(&stopped, 200, true),
            r"the manager (pid 77) does not answer for 8 s · dev runs on · `kill -9 77` has another one started · Ctrl-\ leaves"
        );
        assert_eq!(
            line(&stopped, 79, true),
            r"the manager (pid 77) does not answer for 8 s · `kill -9 77` · Ctrl-\ leaves"
        );
    }

    #[test]
    fn who_else_is_here_and_what_one_may_not_is_said_in_one_line() {
        let attached = |others, others_are: &str, sent_away| Attached {
            others,
            others_are: others_are.into(),
            sent_away,
            ..Attached::default()
        };
        for (attached, read_only, said) in [
            (attached(0, "", 0), false, ""),
            (
                attached(1, "cli on pts/3 80x24", 0),
                false,
                "also attached: cli on pts/3 80x24, `--take` sends them away",
            ),
            (attached(0, "", 2), false, "2 other views sent away"),
            (attached(0, "", 0), true, "read only: keys go nowhere, Ctrl-\\ leaves"),
            (attached(1, "web", 0), true, "also attached: web, read only: keys go nowhere, Ctrl-\\ leaves"),
        ] {
            assert_eq!(beginning(&attached, read_only, Some("Ctrl-\\")), said);
        }
    }

    #[test]
    fn what_acts_on_the_terminal_is_not_said() {
        assert_eq!(shown("a\u{1b}[31m\u{202e}b\u{200b}\u{9b}é", true), "a[31mbé");
        assert_eq!(shown("a\u{202e}é", false), "a?");
    }

    #[test]
    fn keys_are_counted_in_good_english() {
        let one = Facts {
            held: 1,
            lost: Lost { dropped: 1, doubtful: 1 },
            refuses: true,
            ..facts(silent(3_000, None))
        };
        assert_eq!(
            line(&one, 300, true),
            r"link to box: no answer for 3 s · dev runs on · trying now · 1 key held · 1 key dropped · 1 key may not have arrived · typing is refused until it is back · Ctrl-\ leaves"
        );
        assert_eq!(lost(Lost { dropped: 1, doubtful: 0 }), "1 key typed meanwhile was not sent");
        assert_eq!(
            lost(Lost { dropped: 2, doubtful: 3 }),
            "2 keys typed meanwhile were not sent, 3 keys may not have arrived"
        );
        let reads = Facts { read_only: true, held: 3, ..facts(silent(3_000, None)) };
        assert!(line(&reads, 300, true).contains(" · read only · "), "its keys go nowhere");
    }

    #[test]
    fn no_line_is_wider_than_the_terminal_or_ends_within_a_word() {
        let long = "a host with a very long name 日本語";
        for trouble in [
            silent(1_000_000, Some(59_000)),
            link("down", "the link to box was lost (connection reset by peer)"),
            link("needs-login", "日本語 はだめ"),
            Trouble::NoManager("日本語 cannot be read".into()),
            Trouble::ManagerSilent { pid: Some(4_000_000), silent_ms: 1 },
        ] {
            let facts = Facts {
                host: long,
                held: 12,
                refuses: true,
                lost: Lost { dropped: 3, doubtful: 4 },
                ..facts(trouble)
            };
            for (cols, wide) in (1..200).flat_map(|cols| [(cols, true), (cols, false)]) {
                let text = line(&facts, cols, wide);
                assert!(width(&text) <= cols, "{cols}: {text}");
                assert!(!text.is_empty());
                assert!(wide || text.is_ascii(), "{text}");
            }
        }
    }

    #[test]
    fn the_locale_says_whether_there_is_more_than_ascii() {
        let locale = |pairs: &'static [(&str, &str)]| {
            locale_is_wide(move |name| pairs.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned()))
        };
        assert!(locale(&[("LANG", "de_DE.UTF-8")]));
        assert!(locale(&[("LC_ALL", ""), ("LC_CTYPE", "C.utf8")]));
        assert!(!locale(&[("LC_ALL", "C"), ("LANG", "de_DE.UTF-8")]));
        assert!(!locale(&[]));
    }
}
