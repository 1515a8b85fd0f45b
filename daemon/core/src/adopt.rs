//! A job that another manager made → a record of ours. What comes from a host is not trusted: a name or a tag that could not
//! be given here is left out, and what people will read is printable.

use crate::record::{Record, State};
use sessd_proto::Uuid;
use sessd_proto::docs::names::{check_name, check_tags};
use sessd_proto::docs::text::stripped;
use sessd_proto::limits::SIDE_MAX;
use sessd_proto::messages::JobSpec;
use std::collections::BTreeMap;

/// A record that has the session of a job that a host lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// It is done.
    pub done: bool,
    /// It has this very job.
    pub same_job: bool,
    /// It is on the host of this name.
    pub same_host: bool,
    /// Its job was started on this machine, in this folder.
    pub same_place: bool,
    /// The host it is on can be reached.
    pub reached: bool,
}

/// What to do with a job that a host lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It gets a record.
    Adopt,
    /// It has ended, and only what runs was asked for.
    Ended,
    /// It is on record.
    Known,
    /// It is on record under another name of this machine, by which the machine is not reached any more.
    Move,
    /// A record has its session and is not of it: that is never touched.
    Collides,
}

/// What to do with a job, given the record that has its session or the job. `all`: ended ones, too.
pub fn decide(ended: bool, known: Option<Known>, all: bool) -> Verdict {
    match known {
        None if ended && !all => Verdict::Ended,
        None => Verdict::Adopt,
        Some(known) if known.same_job && known.same_host => Verdict::Known,
        Some(known) if known.same_job && known.same_place && !known.done && !known.reached => Verdict::Move,
        Some(known) if known.same_job && known.same_place => Verdict::Known,
        // What is left of a job before, of a session that went on to another.
        Some(known) if known.same_host && known.same_place && ended => Verdict::Known,
        Some(_) => Verdict::Collides,
    }
}

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
        name,
        tags: if check_tags(&tags).is_ok() { tags } else { BTreeMap::new() },
        command: spec.command.iter().map(|word| stripped(word.clone(), true)).collect(),
        cwd: stripped(spec.cwd.clone(), false),
        env: spec.env.clone().into_iter().collect(),
        size: (side(spec.cols, 80), side(spec.rows, 24)),
        idle_timeout_ms: spec.idle_timeout_ms.and_then(|ms| i64::try_from(ms).ok()),
        reap_unattended: spec.reap_unattended,
        // The host has it and we have not heard it: never a job to be started.
        state: State::Disconnected,
        place,
        plain: spec.plain,
        run_for_ms: spec.run_for_ms.map(|ms| i64::try_from(ms).unwrap_or(i64::MAX)),
        ..Record::new(id, job_id, host, i64::try_from(spec.created_at_ms).unwrap_or(now_ms).min(now_ms))
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
    fn only_what_no_record_has_is_adopted() {
        let ours = Known { done: false, same_job: true, same_host: true, same_place: true, reached: true };
        let elsewhere = Known { same_host: false, same_place: false, ..ours };
        let renamed = Known { same_host: false, reached: false, ..ours };
        for (ended, known, all, want) in [
            (false, None, false, Verdict::Adopt),
            (true, None, false, Verdict::Ended),
            (true, None, true, Verdict::Adopt),
            (false, Some(ours), true, Verdict::Known),
            (true, Some(Known { done: true, ..ours }), true, Verdict::Known),
            (false, Some(Known { reached: false, ..ours }), true, Verdict::Known),
            (false, Some(renamed), false, Verdict::Move),
            (false, Some(Known { reached: true, ..renamed }), false, Verdict::Known),
            (true, Some(Known { done: true, ..renamed }), true, Verdict::Known),
            (true, Some(Known { same_job: false, ..ours }), true, Verdict::Known),
            // A host that names the sessions of others gets none of them, whatever state they are in.
            (false, Some(elsewhere), true, Verdict::Collides),
            (false, Some(Known { reached: false, ..elsewhere }), true, Verdict::Collides),
            (true, Some(Known { done: true, ..elsewhere }), true, Verdict::Collides),
            (false, Some(Known { same_job: false, ..elsewhere }), true, Verdict::Collides),
            (false, Some(Known { same_job: false, ..renamed }), true, Verdict::Collides),
            (false, Some(Known { same_job: false, ..ours }), true, Verdict::Collides),
        ] {
            assert_eq!(decide(ended, known, all), want, "{ended} {known:?} {all}");
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
