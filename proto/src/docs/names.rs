//! What a session, a tag and a selector may look like.

use super::text::is_hidden;
use crate::limits::{NAME_MAX, TAG_MAX, TAGS_MAX};
use std::collections::BTreeMap;

/// Shortest beginning or end of an id that selects a session.
pub const PREFIX_MIN: usize = 4;
/// Length of a handle, in characters. Ids begin with the time, so those of one hour begin alike; their ends are random.
pub const HANDLE: usize = 6;
/// The whole random end of an id.
const HANDLE_MAX: usize = 12;
/// Sessions that are named where a selector fits too many.
const CANDIDATES: usize = 6;

/// What a name may be, for people.
pub const NAME_RULE: &str = "a name is 1 to 64 of A-Z a-z 0-9 . _ - and does not begin with -";

/// A name or tag that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadName {
    /// Not `[A-Za-z0-9._-]`, too long, empty, or it starts with `-`.
    #[error("`{0}` cannot be a session's name")]
    Name(String),
    /// Empty, too long, or with a control character or `=` in the key.
    #[error("`{0}` cannot be a tag")]
    Tag(String),
    /// More tags than a session may have.
    #[error("a session can have {TAGS_MAX} tags at the most")]
    TooManyTags,
}

impl BadName {
    /// The rule that was broken.
    pub fn rule(&self) -> String {
        match self {
            Self::Name(_) => NAME_RULE.to_owned(),
            Self::Tag(_) => format!(
                "a tag is KEY or KEY=VALUE, each at most {TAG_MAX} bytes; a key has no space and no = and no - at its ends, \
                 and neither has characters that cannot be seen"
            ),
            Self::TooManyTags => "`KEY-` removes one".to_owned(),
        }
    }
}

fn shown(text: &str) -> String {
    super::text::shown(&text.chars().take(80).collect::<String>()).into_owned()
}

/// Checks a session's name.
///
/// # Errors
/// [`BadName::Name`] with what was given.
pub fn check_name(name: &str) -> Result<(), BadName> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if name.is_empty() || name.len() > NAME_MAX || name.starts_with('-') || !name.chars().all(good) {
        return Err(BadName::Name(shown(name)));
    }
    Ok(())
}

/// Checks all tags of a session.
///
/// # Errors
/// The first that cannot be.
pub fn check_tags(tags: &BTreeMap<String, String>) -> Result<(), BadName> {
    if tags.len() > TAGS_MAX {
        return Err(BadName::TooManyTags);
    }
    for (key, value) in tags {
        let bad = key.is_empty()
            || key.len() > TAG_MAX
            || value.len() > TAG_MAX
            || key.contains('=')
            || key.ends_with('-')
            || key.starts_with('-')
            || key.chars().chain(value.chars()).any(is_hidden)
            || key.contains(char::is_whitespace);
        if bad {
            let typed = if value.is_empty() { key.clone() } else { format!("{key}={value}") };
            return Err(BadName::Tag(shown(&typed)));
        }
    }
    Ok(())
}

/// Does a session with these tags match `KEY` or `KEY=VALUE`?
pub fn tag_matches(tags: &BTreeMap<String, String>, filter: &str) -> bool {
    match filter.split_once('=') {
        Some((key, value)) => tags.get(key).is_some_and(|v| v == value),
        None => tags.contains_key(filter),
    }
}

/// How well a selector fits one session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fit {
    /// The end of its id, [`PREFIX_MIN`] characters or more.
    End,
    /// The beginning of its id, as long.
    Prefix,
    /// Its name.
    Name,
    /// Its whole id.
    Id,
}

/// How `selector` fits a session, if it does.
pub fn fit(selector: &str, id: &str, name: Option<&str>) -> Option<Fit> {
    if selector.eq_ignore_ascii_case(id) {
        Some(Fit::Id)
    } else if name == Some(selector) {
        Some(Fit::Name)
    } else if selector.len() >= PREFIX_MIN && selector.len() <= id.len() {
        let same = |part: Option<&str>| part.is_some_and(|part| part.eq_ignore_ascii_case(selector));
        if same(id.get(..selector.len())) {
            Some(Fit::Prefix)
        } else {
            same(id.get(id.len() - selector.len()..)).then_some(Fit::End)
        }
    } else {
        None
    }
}

/// The end of an id, by which people name a session that has no name.
pub fn handle(id: &str, length: usize) -> String {
    id.get(id.len().saturating_sub(length)..).unwrap_or(id).to_owned()
}

/// The shortest length of handles, [`HANDLE`] at least, with which all of these ids have one of their own.
pub fn handle_length<'a>(ids: impl Iterator<Item = &'a str> + Clone) -> usize {
    let alone = |length: &usize| {
        let mut seen = std::collections::HashSet::new();
        ids.clone().all(|id| seen.insert(&id[id.len().saturating_sub(*length)..]))
    };
    (HANDLE..HANDLE_MAX).find(alone).unwrap_or(HANDLE_MAX)
}

/// The sessions a selector fits, in a few words.
pub fn candidates(fitting: &[(Option<String>, String)]) -> String {
    let length = handle_length(fitting.iter().map(|(_, id)| id.as_str()));
    let one = |(name, id): &(Option<String>, String)| match name {
        Some(name) => format!("{name} ({})", handle(id, length)),
        None => handle(id, length),
    };
    let mut words: Vec<String> = fitting.iter().take(CANDIDATES).map(one).collect();
    if fitting.len() > CANDIDATES {
        words.push(format!("{} more", fitting.len() - CANDIDATES));
    }
    words.join(", ")
}

/// Which of `known` was probably meant: the only one that begins so, else the one that is nearest by its letters.
pub fn meant<'a>(typed: &str, known: impl Iterator<Item = &'a str> + Clone) -> Option<&'a str> {
    const NEAR: f64 = 0.8;
    if typed.is_empty() {
        return None;
    }
    let mut begin: Vec<&str> = known.clone().filter(|name| name.starts_with(typed)).collect();
    begin.dedup();
    if let [one] = begin.as_slice() {
        return Some(one);
    }
    let near = known.map(|name| (strsim::jaro_winkler(typed, name), name)).filter(|(near, _)| *near >= NEAR);
    near.max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["a", "dev", "A.b_c-9", ".x", &"x".repeat(64)] {
            assert_eq!(check_name(good), Ok(()), "{good}");
        }
        for bad in ["", "-a", "a b", "a/b", "é", "a\n", &"x".repeat(65)] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn tags() {
        let tags = |k: &str, v: &str| BTreeMap::from([(k.to_owned(), v.to_owned())]);
        assert!(check_tags(&tags("team", "ml and more")).is_ok());
        for (k, v) in
            [("", "x"), ("a b", ""), ("a-", ""), ("a", "x\ny"), ("a\u{202e}", ""), ("a", "x\u{200b}y")]
        {
            assert!(check_tags(&tags(k, v)).is_err(), "{k}={v}");
        }
        assert!(tag_matches(&tags("team", "ml"), "team"));
        assert!(tag_matches(&tags("team", "ml"), "team=ml"));
        assert!(!tag_matches(&tags("team", "ml"), "team=m"));
        assert!(!tag_matches(&tags("team", "ml"), "tea"));
    }

    #[test]
    fn selectors() {
        let id = "0193abcd-0000-7000-8000-000000000000";
        assert_eq!(fit(id, id, None), Some(Fit::Id));
        assert_eq!(fit("dev", id, Some("dev")), Some(Fit::Name));
        assert_eq!(fit("0193", id, None), Some(Fit::Prefix));
        assert_eq!(fit("0193A", id, None), Some(Fit::Prefix));
        assert_eq!(fit("019", id, None), None);
        assert_eq!(fit("de", id, Some("dev")), None);
        assert_eq!(fit("ééé", id, None), None);
    }

    #[test]
    fn the_end_of_an_id_selects_as_its_beginning_does() {
        let id = "0193abcd-0000-7000-8000-00000012abef";
        for good in ["abef", "ABEF", "12abef", "8000-00000012abef"] {
            assert_eq!(fit(good, id, None), Some(Fit::End), "{good}");
        }
        for bad in ["bef", "", "abe", "x12abef", "0012abef0", "\u{e9}bef"] {
            assert_eq!(fit(bad, id, None), None, "{bad}");
        }
        assert_eq!(fit("abef", id, Some("abef")), Some(Fit::Name), "a name goes first");
        assert_eq!(handle(id, HANDLE), "12abef");
    }

    #[test]
    fn handles_are_as_long_as_they_must_be() {
        let ids = ["0-00000012abef", "0-00000112abef", "0-000000000000"];
        assert_eq!(handle_length(ids.iter().copied().take(1)), HANDLE);
        assert_eq!(handle_length(ids.iter().copied()), 7);
        assert_eq!(handle_length(["same-id-same", "same-id-same"].into_iter()), HANDLE_MAX);
        let many: Vec<_> =
            (0..8).map(|n| ((n == 0).then(|| "dev".to_owned()), format!("0-{n:012x}"))).collect();
        assert_eq!(candidates(&many), "dev (000000), 000001, 000002, 000003, 000004, 000005, 2 more");
    }

    #[test]
    fn what_was_probably_meant() {
        let known = ["samename", "dev", "devel", "training"];
        for (typed, want) in [
            ("samen", Some("samename")),
            ("trainign", Some("training")),
            ("de", Some("dev")),
            ("xyz", None),
            ("", None),
        ] {
            assert_eq!(meant(typed, known.into_iter()), want, "{typed}");
        }
    }

    #[test]
    fn a_broken_rule_is_told() {
        assert!(check_name("a b").unwrap_err().rule().contains("64"));
        let tags = BTreeMap::from([("a b".to_owned(), String::new())]);
        assert_eq!(check_tags(&tags).unwrap_err(), BadName::Tag("a b".into()), "as it was typed");
    }
}
