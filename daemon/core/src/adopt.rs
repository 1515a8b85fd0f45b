//! A job that another manager made → a record of ours. What comes from a host is not trusted: a name or a tag that could not
//! be given here is left out, and what people will read is printable.

use crate::names::{check_name, check_tags};
use crate::record::{Record, State, Untold};
use crate::text::stripped;
use sessd_proto::Uuid;
use sessd_proto::limits::SIDE_MAX;
use sessd_proto::messages::JobSpec;
use std::collections::BTreeMap;

/// How many numbers are tried for a name that is taken here.
const NUMBERS: u32 = 99;

/// The name a session gets here: its own, else with a number behind it, else none.
pub fn free_name(wanted: &str, taken: impl Fn(&str) -> bool) -> Option<String> {
    if check_name(wanted).is_err() {
        return None;
    }
    let numbered = (2..=NUMBERS).map(|n| format!("{wanted}-{n}"));
    std::iter::once(wanted.to_owned()).chain(numbered).find(|name| check_name(name).is_ok() && !taken(name))
}

/// The record of a job that is on `host` in `place`. `None`: its ids are none.
pub fn record(
    spec: &JobSpec,
    host: &str,
    place: String,
    name: Option<String>,
    now_ms: i64,
) -> Option<Record> {
    let (id, job_id) = (Uuid::parse_str(&spec.session_id).ok()?, Uuid::parse_str(&spec.job_id).ok()?);
    let tags: BTreeMap<String, String> = spec.tags.clone().into_iter().collect();
    let side = |n: u32, default: u16| {
        u16::try_from(n).ok().filter(|n| (1..=SIDE_MAX).contains(n)).unwrap_or(default)
    };
    Some(Record {
        id,
        name,
        host: host.to_owned(),
        tags: if check_tags(&tags).is_ok() { tags } else { BTreeMap::new() },
        command: spec.command.iter().map(|word| stripped(word.clone(), true)).collect(),
        cwd: stripped(spec.cwd.clone(), false),
        env: spec.env.clone().into_iter().collect(),
        size: (side(spec.cols, 80), side(spec.rows, 24)),
        idle_timeout_ms: spec.idle_timeout_ms.and_then(|ms| i64::try_from(ms).ok()),
        reap_unattended: spec.reap_unattended,
        created_at_ms: i64::try_from(spec.created_at_ms).unwrap_or(now_ms).min(now_ms),
        job_id,
        // The host has it and we have not heard it: never a job to be started.
        state: State::Disconnected,
        delete_requested: false,
        last_active_ms: None,
        place,
        end: None,
        untold: Untold::default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> JobSpec {
        JobSpec {
            job_id: Uuid::from_u128(1).to_string(),
            session_id: Uuid::from_u128(2).to_string(),
            name: "dev".into(),
            tags: [("team".to_owned(), "ml".to_owned())].into(),
            command: vec!["echo".into(), "\x1b[31mred".into()],
            cols: 0,
            rows: 70_000,
            created_at_ms: u64::MAX,
            ..JobSpec::default()
        }
    }

    #[test]
    fn a_taken_name_gets_a_number_and_an_impossible_one_is_left_out() {
        assert_eq!(free_name("dev", |_| false).as_deref(), Some("dev"));
        assert_eq!(free_name("dev", |n| n == "dev" || n == "dev-2").as_deref(), Some("dev-3"));
        assert_eq!(free_name("dev", |_| true), None);
        assert_eq!(free_name("", |_| false), None);
        assert_eq!(free_name("a b", |_| false), None);
        assert_eq!(free_name(&"x".repeat(64), |n| n.len() == 64), None);
    }

    #[test]
    fn what_the_host_says_is_checked() {
        let adopted = record(&spec(), "box", "m:/f".into(), Some("dev".into()), 9).unwrap();
        assert_eq!((adopted.state, adopted.size, adopted.created_at_ms), (State::Disconnected, (80, 24), 9));
        assert_eq!(adopted.command, ["echo", "[31mred"]);
        assert_eq!(adopted.tags["team"], "ml");
        let bad_tag = JobSpec { tags: [("a b".to_owned(), String::new())].into(), ..spec() };
        assert!(record(&bad_tag, "box", String::new(), None, 9).unwrap().tags.is_empty());
        assert_eq!(
            record(&JobSpec { session_id: "../..".into(), ..spec() }, "box", String::new(), None, 9),
            None
        );
    }
}
