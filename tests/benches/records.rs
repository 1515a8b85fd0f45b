//! How long it takes with many records: `cargo bench -p sessd-tests --bench records -- [SESSIONS] [DONE]`.
//!
//! Prints figures and judges none: a list, the manager's start, the link's reconcile, and what the manager costs when
//! nothing happens. `SESSD_BIN` names a release build; the default is what lies beside this program.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use sessd_core::{End, Record};
use sessd_manager::store::Store;
use sessd_proto::Uuid;
use sessd_proto::docs::State;
use sessd_proto::messages::EndReason;
use sessd_tests::{World, procs, until};

fn done_records(count: usize, now_ms: i64) -> Vec<Record> {
    let one = |n: usize| {
        let mut record = Record {
            name: Some(format!("done-{n}")),
            tags: [("team".to_owned(), format!("t{}", n % 7))].into(),
            command: vec!["sh".into(), "-c".into(), "make -j8 && ./run --all".into()],
            cwd: "/home/somebody/src".into(),
            idle_timeout_ms: Some(1),
            state: State::Running,
            last_active_ms: Some(now_ms),
            place: "m:/f".into(),
            ..Record::new(Uuid::now_v7(), Uuid::now_v7(), "local", now_ms - 86_400_000)
        };
        let end = End {
            reason: EndReason::Exited,
            code: Some(n as i32 % 3),
            signal: None,
            at_ms: now_ms - 43_200_000,
            detail: String::new(),
        };
        record.finish(end, now_ms);
        record
    };
    (0..count).map(one).collect()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn timed(what: &str, mut act: impl FnMut()) {
    let times = (0..7).map(|_| {
        let begun = Instant::now();
        act();
        begun.elapsed()
    });
    println!("{what:<44} {:>8.1} ms", median(times.collect()).as_secs_f64() * 1e3);
}

/// Clock ticks of user and system time.
fn cpu(pid: i32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields: Vec<&str> = text.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
    fields[11].parse::<u64>().unwrap_or(0) + fields[12].parse::<u64>().unwrap_or(0)
}

fn main() {
    let mut numbers = std::env::args().skip(1).filter_map(|arg| arg.parse::<usize>().ok());
    let (sessions, done) = (numbers.next().unwrap_or(1_000), numbers.next().unwrap_or(10_000));
    let world = World::new();
    world.ok(&["daemon"]);
    world.ok(&["daemon", "stop"]);
    let now_ms = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |d| d.as_millis() as i64);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let store =
            Store::open(&world.sessd_home().join("sessd.db"), now_ms).await.expect("the database").store;
        store.save_all(&done_records(done, now_ms)).await.expect("records");
        store.close().await;
    });
    println!("{done} done records");
    timed("list --all --json", || drop(world.ok(&["list", "--all", "--json"])));
    timed("list --all", || drop(world.ok(&["list", "--all"])));
    timed("list --state running", || drop(world.ok(&["list", "--state", "running"])));
    timed("info of a done one", || drop(world.ok(&["info", "done-5"])));
    timed("manager killed, started, answers", || {
        world.ok(&["daemon", "stop"]);
        let begun = Instant::now();
        world.ok(&["daemon"]);
        eprintln!("  start alone {:?}", begun.elapsed());
    });

    let begun = Instant::now();
    thread::scope(|scope| {
        for part in 0..4 {
            let world = &world;
            scope.spawn(move || {
                for n in (part..sessions).step_by(4) {
                    world.ok(&[
                        "create",
                        "--name",
                        &format!("s{n}"),
                        "--idle-timeout",
                        "never",
                        "--",
                        "sleep",
                        "100000",
                    ]);
                }
            });
        }
    });
    println!("{sessions} sessions created in {:?}", begun.elapsed());
    timed("list --all --json", || drop(world.ok(&["list", "--all", "--json"])));
    timed("list --state running --json", || drop(world.ok(&["list", "--state", "running", "--json"])));
    let running = || world.json(&["list", "--state", "running"]).as_array().map_or(0, Vec::len);
    for _ in 0..3 {
        world.ok(&["daemon", "stop"]);
        let begun = Instant::now();
        world.ok(&["daemon"]);
        let started = begun.elapsed();
        until("all to be running", Duration::from_secs(60), || (running() == sessions).then_some(()));
        println!("manager start {started:?}, all of {sessions} running after {:?}", begun.elapsed());
    }
    let pid = world.manager_pid();
    // The figure is of time that passes.
    thread::sleep(Duration::from_secs(3));
    let (before, begun) = (cpu(pid), Instant::now());
    thread::sleep(Duration::from_secs(20));
    let percent = (cpu(pid) - before) as f64 / begun.elapsed().as_secs_f64();
    println!(
        "manager when nothing happens: {percent:.2} % of a core, {} MB private",
        procs::private_memory(pid).unwrap_or(0) >> 20
    );
    let begun = Instant::now();
    let output = world.sessd_within(&["delete", "--all", "--force"], Duration::from_secs(120));
    assert_eq!(output.code, 0, "{output:#?}");
    println!("all deleted in {:?}", begun.elapsed());
}
