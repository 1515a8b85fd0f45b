//! A plan that fails, made as short as it goes while it fails.

use crate::plan::Plan;

/// Runs that may be spent on it.
const RUNS: usize = 400;

/// The first words of a failure, which say which it is.
pub fn kind(failure: &str) -> String {
    let line = failure.lines().next().unwrap_or_default();
    let what = line.split_once(" ms: ").map_or(line, |(_, what)| what);
    what.chars().filter(|c| !c.is_ascii_digit()).take(24).collect()
}

/// A shorter plan that fails alike.
pub fn shrunk(plan: &Plan, failure: &str) -> Plan {
    let (wanted, mut best, mut runs) = (kind(failure), plan.clone(), 0);
    let mut size = best.steps.len().div_ceil(2);
    while size > 0 && runs < RUNS {
        let (mut from, mut any) = (0, false);
        while from < best.steps.len() && runs < RUNS {
            let mut without = best.clone();
            without.steps.drain(from..(from + size).min(best.steps.len()));
            runs += 1;
            if crate::run(&without).is_err_and(|failure| kind(&failure) == wanted) {
                (best, any) = (without, true);
            } else {
                from += size;
            }
        }
        if !any || size > 1 {
            size = if size == 1 { 0 } else { size.div_ceil(2) };
        }
    }
    best
}
