//! What a job is doing, as its holder tells it, by our clock.

use sessd_proto::messages::{Activity, Doing, ViewDoing};

/// A holder tells how long it has been so, each time anew: so much apart it is the same moment, in milliseconds.
const SAME_MS: u64 = 3_000;

/// The contract's word; `None`: one of a later version.
pub fn word(state: i32) -> Option<&'static str> {
    Some(match Doing::try_from(state).ok()? {
        Doing::Unspecified => return None,
        Doing::Working => "working",
        Doing::Waiting => "waiting",
        Doing::Done => "done",
        Doing::Secret => "secret",
        Doing::Quiet => "quiet",
    })
}

/// What `told` says at `now_ms` of our clock. `before`: what it was; a moment that is told again stays what it is.
pub fn by_our_clock(told: Option<&Activity>, before: Option<&ViewDoing>, now_ms: i64) -> Option<ViewDoing> {
    let told = told?;
    let state = word(told.state)?.to_owned();
    let since_ms = u64::try_from(now_ms).unwrap_or(0).saturating_sub(told.age_ms);
    let now = ViewDoing { state, source: told.source.clone(), since_ms, note: told.note.clone() };
    let same = |before: &&ViewDoing| {
        let facts = (&before.state, &before.source, &before.note) == (&now.state, &now.source, &now.note);
        facts && before.since_ms.abs_diff(since_ms) < SAME_MS
    };
    Some(before.filter(same).cloned().unwrap_or(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_that_is_told_again_stays_and_another_is_news() {
        let told = |age_ms| Activity {
            state: Doing::Waiting as i32,
            source: "report".into(),
            age_ms,
            note: "x".into(),
        };
        let first = by_our_clock(Some(&told(5_000)), None, 100_000).unwrap();
        assert_eq!((first.state.as_str(), first.since_ms), ("waiting", 95_000));
        let again = by_our_clock(Some(&told(65_100)), Some(&first), 160_000).unwrap();
        assert_eq!(again, first);
        let anew = by_our_clock(Some(&told(10)), Some(&first), 160_000).unwrap();
        assert_eq!(anew.since_ms, 159_990);
        let other = Activity { note: "y".into(), ..told(65_000) };
        assert_eq!(by_our_clock(Some(&other), Some(&first), 160_000).unwrap().note, "y");
        assert_eq!(by_our_clock(None, Some(&first), 160_000), None);
        assert_eq!(
            by_our_clock(Some(&Activity { state: 77, ..told(0) }), None, 1),
            None,
            "of a later version"
        );
    }
}
