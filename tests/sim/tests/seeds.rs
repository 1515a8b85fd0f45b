//! Seeds, many of them, and every plan that ever failed.

use sessd_sim::plan::Plan;
use sessd_sim::{run, shrink, told};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Seeds that are run unless `SESSD_SIM_SEEDS` says how many, from `SESSD_SIM_FROM` on.
const SEEDS: u64 = 2_000;

fn kept() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds")
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Runs one seed; of a failure a short plan is kept.
fn seed(seed: u64) -> Result<(), String> {
    let plan = Plan::of(seed);
    let Err(failure) = run(&plan) else { return Ok(()) };
    let short = shrink::shrunk(&plan, &failure);
    let failure = told(&short).err().unwrap_or(failure);
    let file = kept().join(format!("seed-{seed}.plan"));
    let first = failure.lines().next().unwrap_or_default();
    let written = std::fs::write(&file, format!("# seed {seed}: {first}\n{short}"));
    let where_ = if written.is_ok() { file.display().to_string() } else { "nowhere".to_owned() };
    Err(format!("seed {seed} (kept in {where_}): {failure}"))
}

#[test]
fn the_promises_are_kept_whatever_happens() {
    let (from, many) = (number("SESSD_SIM_FROM").unwrap_or(0), number("SESSD_SIM_SEEDS").unwrap_or(SEEDS));
    let (next, began) = (AtomicU64::new(from), Instant::now());
    let failures: Vec<String> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut failures = Vec::new();
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= from + many || failures.len() >= 3 {
                            return failures;
                        }
                        failures.extend(seed(number).err());
                    }
                })
            })
            .collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap_or_default()).collect()
    });
    println!("{many} seeds in {:.1} s", began.elapsed().as_secs_f64());
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

#[test]
fn every_plan_that_ever_failed_comes_right() {
    let mut files: Vec<_> =
        std::fs::read_dir(kept()).expect("the kept plans").flatten().map(|e| e.path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "plan"));
    files.sort();
    for file in files {
        let plan: Plan = std::fs::read_to_string(&file).expect("a plan").parse().expect("a plan");
        if let Err(failure) = told(&plan) {
            panic!("{}: {failure}", file.display());
        }
    }
}

#[test]
fn a_seed_is_the_same_run_every_time() {
    for seed in [1, 7, 42] {
        let plan = Plan::of(seed);
        let text = plan.to_string();
        assert_eq!(text.parse::<Plan>().as_ref(), Ok(&plan));
        let once = run(&plan).map(|summary| (summary.steps, summary.sessions, summary.views));
        let again = run(&plan).map(|summary| (summary.steps, summary.sessions, summary.views));
        assert_eq!(once, again);
    }
}
