//! A host's times by our clock. The clock of a host may be wrong by days, and may be set while a job runs: only the
//! distance between two times it says at once is taken from it.

use sessd_proto::messages::{ExitRecord, JobStatus};

fn whole(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}

/// `theirs_ms` by our clock, which says `now_ms` while theirs says `their_now_ms`. 0: they did not say, and their clock is
/// taken for ours.
pub fn by_our_clock(theirs_ms: u64, their_now_ms: u64, now_ms: i64) -> i64 {
    if their_now_ms == 0 {
        return whole(theirs_ms);
    }
    now_ms.saturating_add(whole(theirs_ms).saturating_sub(whole(their_now_ms))).max(0)
}

/// When the job was last active, which is not after now; and the status with all its times by our clock.
pub fn of_status(status: JobStatus, now_ms: i64) -> (i64, JobStatus) {
    let ours = |theirs| by_our_clock(theirs, status.now_ms, now_ms);
    let active = ours(status.last_active_ms).min(now_ms);
    let reap_at_ms = status.reap_at_ms.map(|at| ours(at).max(0) as u64);
    let (last_active_ms, now_ms) = (active.max(0) as u64, now_ms.max(0) as u64);
    (active, JobStatus { last_active_ms, reap_at_ms, now_ms, ..status })
}

/// The end of a job by our clock. `their_now_ms`: what their clock said when the record was read; 0 when a holder says it
/// itself, which then says how long ago it was.
pub fn of_exit(exit: ExitRecord, their_now_ms: u64, now_ms: i64) -> ExitRecord {
    let at = match exit.age_ms {
        Some(age) => now_ms.saturating_sub(whole(age)),
        None => by_our_clock(exit.at_ms, their_now_ms, now_ms),
    };
    ExitRecord { at_ms: at.max(0) as u64, age_ms: None, ..exit }
}

/// For how many seconds a job has been idle that said `idle_ms` so long ago. One that is not idle says 0.
pub fn idle_seconds(idle_ms: u64, said_ago_ms: u64) -> u64 {
    if idle_ms == 0 { 0 } else { idle_ms.saturating_add(said_ago_ms) / 1000 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAYS: u64 = 3 * 24 * 3_600_000;
    const NOW: i64 = 1_800_000_000_000;
    const THEIRS: u64 = NOW as u64;

    #[test]
    fn a_clock_that_is_wrong_changes_no_time() {
        for their_now in [1, THEIRS - DAYS, THEIRS, THEIRS + DAYS] {
            for (ago, expected) in [(0, NOW), (7_000, NOW - 7_000), (THEIRS, 0)] {
                let theirs = their_now.saturating_sub(ago);
                let expected = expected.max(NOW - their_now as i64);
                assert_eq!(by_our_clock(theirs, their_now, NOW), expected.max(0), "{their_now} - {ago}");
            }
            assert_eq!(by_our_clock(their_now + 7_000, their_now, NOW), NOW + 7_000, "{their_now}");
        }
        assert_eq!(by_our_clock(5, 0, NOW), 5, "a holder that does not say");
        assert_eq!(by_our_clock(u64::MAX, 1, NOW), i64::MAX);
        assert_eq!(by_our_clock(0, u64::MAX, NOW), 0);
    }

    #[test]
    fn a_status_is_turned_as_a_whole() {
        let said = |now_ms, last_active_ms, reap_at_ms| {
            let status = JobStatus { now_ms, last_active_ms, reap_at_ms, idle_ms: 4, ..JobStatus::default() };
            let (active, status) = of_status(status, NOW);
            assert_eq!((status.last_active_ms, status.idle_ms), (active as u64, 4));
            (active, status.reap_at_ms)
        };
        for their_now in [THEIRS - DAYS, THEIRS, THEIRS + DAYS] {
            let told = said(their_now, their_now - 9_000, Some(their_now + 7_000));
            assert_eq!(told, (NOW - 9_000, Some(THEIRS + 7_000)));
            assert_eq!(said(their_now, their_now + 1, None), (NOW, None), "nothing was active after now");
        }
        // The first holders said no time of their own.
        assert_eq!(said(0, THEIRS - DAYS, Some(THEIRS + DAYS)), (NOW - DAYS as i64, Some(THEIRS + DAYS)));
        assert_eq!(said(0, u64::MAX, None), (NOW, None));
    }

    #[test]
    fn an_end_is_as_long_ago_as_it_was_there() {
        let table = [
            // age, at, their now, by our clock
            (Some(0), 5, 0, NOW),
            (Some(7_000), THEIRS + DAYS, 0, NOW - 7_000),
            (Some(DAYS), THEIRS, 0, NOW - DAYS as i64),
            (Some(u64::MAX), THEIRS, 0, 0),
            (None, THEIRS - DAYS - 7_000, THEIRS - DAYS, NOW - 7_000),
            (None, THEIRS - 7_000, THEIRS + DAYS, NOW - 7_000 - DAYS as i64),
            (None, THEIRS + DAYS, THEIRS, NOW + DAYS as i64),
            (None, 5, 0, 5),
        ];
        for (age_ms, at_ms, their_now, at) in table {
            let exit = of_exit(ExitRecord { age_ms, at_ms, ..ExitRecord::default() }, their_now, NOW);
            assert_eq!((exit.at_ms, exit.age_ms), (at as u64, None), "{age_ms:?} {at_ms} {their_now}");
        }
    }

    #[test]
    fn only_what_is_idle_grows_idle() {
        let table = [
            (0, 0, 0),
            (0, 900_000, 0),
            (1, 0, 0),
            (1, 2_000, 2),
            (600, 600, 1),
            (u64::MAX, 5, u64::MAX / 1000),
        ];
        for (idle_ms, ago, seconds) in table {
            assert_eq!(idle_seconds(idle_ms, ago), seconds, "{idle_ms} {ago}");
        }
    }
}
