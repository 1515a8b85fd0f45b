//! How soon a person goes on after a cut, beside what plain `ssh` takes to connect, in one run:
//! `cargo bench -p sessd-tests --bench back -- [--rounds N]`.
//!
//! Prints figures and judges none. A line is typed the moment the link is lost, and timed until its answer is on the screen, which
//! is so only when the session goes on where it was. Each × is a median over the median of `ssh HOST true` over the same proxy:
//! there is no way back without a connection and a login. `SESSD_BIN` names a release build.

use std::time::{Duration, Instant};

use sessd_tests::{LATER, Proxy, SOON, SshConfig, Sshd, View, World, until};

const ANSWER: &str = "stty -echo; echo ready; while read -r line; do echo \"got <$line>\"; done";
/// Between two cuts: a host sees one second link in ten seconds, and a link that broke at once is dialled more slowly. What is
/// measured is a cut, and not the one after it.
const PAUSE: Duration = Duration::from_secs(12);
/// What one way takes on the far host.
const FAR: Duration = Duration::from_millis(50);

fn main() {
    // Test runners start every target, this one too: only cargo bench, or arguments of a person, mean it.
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.is_empty() || args.iter().any(|arg| arg == "--list") {
        return;
    }
    let named = args.iter().position(|arg| arg == "--rounds").and_then(|at| args.get(at + 1)?.parse().ok());
    let rounds: usize = named.unwrap_or(3).max(1);
    for (title, far) in [("near", None), ("100 ms round trip", Some(FAR))] {
        println!("\n{title}, {rounds} rounds");
        let mut world = World::new();
        let mut host = Sshd::start_in(&world, "host");
        let proxy = far.map_or_else(|| Proxy::to(host.addr()), |way| Proxy::far(host.addr(), way));
        let mut config = SshConfig::new(&mut world);
        config.host_at("box", &host, proxy.addr(), &[]);
        let ssh = row("ssh connects", None, rounds, || connects(&world, &config));
        world.create_on("box", "dev", ANSWER);
        let view = world.attach("dev");
        view.wait_text("ready", SOON);
        let mut number = 0;
        let mut next = || {
            number += 1;
            std::thread::sleep(PAUSE);
            // The link is up, and the round trip known again.
            until("the link", LATER, || (world.info("dev")?["link"] == "up").then_some(()));
            answers(&view, &format!("before {number}"));
            format!("after {number}")
        };
        row("back after a reset", Some(ssh), rounds, || {
            let line = next();
            proxy.drop_connections();
            answers(&view, &line)
        });
        row("back after a silent loss", Some(ssh), rounds, || {
            let line = next();
            proxy.abandon();
            answers(&view, &line)
        });
        // A far host's port is the proxy's, which answers whether or not there is a host behind it.
        if far.is_none() {
            row("back once the port answers", Some(ssh), rounds, || {
                let line = next();
                host.stop();
                proxy.drop_connections();
                view.wait_text("link to box", LATER);
                view.type_(format!("{line}\r"));
                host.start();
                let answered = Instant::now();
                view.wait_text(&format!("got <{line}>"), LATER);
                answered.elapsed()
            });
        }
        let file = world.root().join("file");
        std::fs::write(&file, vec![b'x'; 8 << 20]).expect("a file");
        let file = file.display().to_string();
        let copied = row("ssh takes 8 MB", None, rounds.min(3), || {
            let mut command = world.program("sh");
            let script = format!("ssh -F {} box 'cat >/dev/null' <{file}", config.path().display());
            command.args(["-c", &script]);
            timed(&world, command)
        });
        row("put of 8 MB", Some(copied), rounds.min(3), || {
            timed(&world, world.command(&["put", "box", &file, "copy"]))
        });
        drop(view);
        world.ok(&["delete", "--all", "--force"]);
    }
}

fn timed(world: &World, command: std::process::Command) -> Duration {
    let begun = Instant::now();
    let output = world.finish(command, b"", Duration::from_secs(90));
    assert_eq!(output.code, 0, "{output:#?}");
    begun.elapsed()
}

fn connects(world: &World, config: &SshConfig) -> Duration {
    let mut command = world.program("ssh");
    command.arg("-F").arg(config.path()).args(["-o", "BatchMode=yes", "-o", "LogLevel=ERROR", "box", "true"]);
    timed(world, command)
}

/// Types a line and says how long its answer took.
fn answers(view: &View, line: &str) -> Duration {
    let typed = Instant::now();
    view.type_(format!("{line}\r"));
    view.wait_text(&format!("got <{line}>"), LATER);
    typed.elapsed()
}

/// Measures, prints, and gives the median.
fn row(name: &str, beside: Option<Duration>, rounds: usize, mut once: impl FnMut() -> Duration) -> Duration {
    let mut times: Vec<Duration> = (0..rounds).map(|_| once()).collect();
    times.sort_unstable();
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    let median = times[times.len() / 2];
    let ratio = beside.map_or_else(String::new, |beside| format!("{:6.2} ×", ms(median) / ms(beside)));
    println!("{name:28} {:8.0} ms  {ratio:9}  worst {:6.0} ms", ms(median), ms(times[times.len() - 1]));
    median
}
