//! What a session, a tag and a selector may look like.

use sessd_proto::limits::{NAME_MAX, TAG_MAX, TAGS_MAX};
use std::collections::BTreeMap;

/// Shortest prefix of an id that selects a session.
pub const PREFIX_MIN: usize = 4;

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

fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(80).collect()
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
            || key.chars().chain(value.chars()).any(char::is_control)
            || key.contains(char::is_whitespace);
        if bad {
            return Err(BadName::Tag(shown(&format!("{key}={value}"))));
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
    /// The beginning of its id, [`PREFIX_MIN`] characters or more.
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
    } else if selector.len() >= PREFIX_MIN
        && id.get(..selector.len()).is_some_and(|start| start.eq_ignore_ascii_case(selector))
    {
        Some(Fit::Prefix)
    } else {
        None
    }
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
        for (k, v) in [("", "x"), ("a b", ""), ("a-", ""), ("a", "x\ny")] {
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
}
