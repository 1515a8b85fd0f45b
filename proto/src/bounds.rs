//! What may be asked for at all. A bound that is met where a person asks is a sentence; met on the wire it is a connection that ends.

use crate::limits::{ENVIRONMENT_MAX, FRAME_BODY_MAX, SPEC_MAX};
use crate::messages::JobSpec;
use prost::Message;
use std::collections::HashMap;

/// What is longer than it may be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TooLong {
    /// Command, variables, tags, folder and name together.
    #[error(
        "what makes the session is {bytes} bytes long, mostly its {part}; {max} bytes are the most",
        max = SPEC_MAX
    )]
    Spec {
        /// How long it is.
        bytes: usize,
        /// What has most of it.
        part: &'static str,
    },
    /// The environment of whoever asks.
    #[error(
        "the environment is {bytes} bytes long, most of it in {name}; {max} bytes are the most",
        max = ENVIRONMENT_MAX
    )]
    Environment {
        /// How long it is.
        bytes: usize,
        /// The longest variable.
        name: String,
    },
}

fn length_of(map: &HashMap<String, String>) -> usize {
    map.iter().map(|(key, value)| key.len() + value.len() + 8).sum()
}

/// Checks what a job is made of.
///
/// # Errors
/// With how long it is, and what of it is long.
pub fn check_spec(spec: &JobSpec) -> Result<(), TooLong> {
    let bytes = spec.encoded_len();
    if bytes <= SPEC_MAX {
        return Ok(());
    }
    let command: usize = spec.command.iter().map(String::len).sum();
    let parts = [
        (command, "command"),
        (length_of(&spec.env), "variables (--env)"),
        (length_of(&spec.tags), "tags"),
        (spec.cwd.len(), "folder (--cwd)"),
        (spec.name.len(), "name"),
    ];
    let part = parts.iter().max_by_key(|(length, _)| length).map_or("", |(_, part)| part);
    Err(TooLong::Spec { bytes, part })
}

/// Checks the environment that a job starts from.
///
/// # Errors
/// With how long it is, and the longest of its variables.
pub fn check_environment(environment: &HashMap<String, String>) -> Result<(), TooLong> {
    let bytes = length_of(environment);
    if bytes <= ENVIRONMENT_MAX {
        return Ok(());
    }
    let longest = environment.iter().max_by_key(|(key, value)| key.len() + value.len());
    let name = longest.map(|(key, _)| key.chars().filter(|c| !c.is_control()).take(80).collect());
    Err(TooLong::Environment { bytes, name: name.unwrap_or_default() })
}

/// Checks what a person asks for.
///
/// # Errors
/// With what of it is too long.
#[cfg(feature = "views")]
pub fn check_create(create: &crate::messages::Create) -> Result<(), TooLong> {
    let spec = JobSpec {
        name: create.name.clone(),
        tags: create.tags.clone(),
        command: create.command.clone(),
        cwd: create.cwd.clone(),
        env: create.env.clone(),
        host: create.host.clone(),
        ..JobSpec::default()
    };
    check_spec(&spec)?;
    check_environment(&create.environment)
}

/// Shortens a command to `most` bytes, for who only shows it.
pub fn shorten(command: &mut Vec<String>, most: usize) {
    let mut left = most;
    for (at, word) in command.iter_mut().enumerate() {
        if word.len() + 1 > left {
            word.truncate(word.floor_char_boundary(left.saturating_sub('…'.len_utf8())));
            word.push('…');
            command.truncate(at + 1);
            return;
        }
        left -= word.len() + 1;
    }
}

// Both of them, with the frame's own fields, fit into one frame.
const _: () = assert!(SPEC_MAX + ENVIRONMENT_MAX + (64 << 10) < FRAME_BODY_MAX);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_long_is_named() {
        let words = |n: usize| vec!["x".repeat(n)];
        let spec = |n| JobSpec { command: words(n), ..JobSpec::default() };
        assert_eq!(check_spec(&spec(SPEC_MAX - 64)), Ok(()));
        let error = check_spec(&spec(SPEC_MAX)).unwrap_err();
        assert!(matches!(error, TooLong::Spec { part: "command", .. }), "{error}");
        let env = [("A".to_owned(), "x".repeat(SPEC_MAX))].into();
        let error = check_spec(&JobSpec { env, ..JobSpec::default() }).unwrap_err();
        assert!(error.to_string().contains("--env"), "{error}");
        let environment = [("LONG".to_owned(), "x".repeat(ENVIRONMENT_MAX)), ("B".into(), "1".into())].into();
        let error = check_environment(&environment).unwrap_err();
        assert!(error.to_string().contains("LONG"), "{error}");
    }

    #[test]
    fn a_command_is_shortened_between_characters() {
        let mut command = vec!["ab".to_owned(), "ééé".to_owned(), "c".to_owned()];
        shorten(&mut command, 100);
        assert_eq!(command, ["ab", "ééé", "c"]);
        shorten(&mut command, 9);
        assert_eq!(command, ["ab", "é…"]);
    }
}
