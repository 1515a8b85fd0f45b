//! `ssh`, `tmux` over ssh and sessd side by side, in one run, round by round, on a real sshd on this machine.
//!
//! `cargo bench -p sessd-tests --bench side_by_side -- [--rounds N] [--one-way MS] [--rate BYTES] [echo] [attach] [create]
//! [plain] [colour] [scrollback] [memory]`: no name means all of them. `--one-way`: everybody's line is so long; `--rate`: it carries
//! so much in a second. The product is a release build, `SESSD_BIN` or beside this
//! program. By hand, the built program wants at least one argument. Every × is a median over raw ssh's median of the same run.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use sessd_tests::world::{files_below, sessd_binary};
use sessd_tests::{Proxy, Pty, SshConfig, Sshd, World, procs, until};

/// The longest a single measurement may take.
const PATIENCE: Duration = Duration::from_secs(90);

/// The sections, in the order they run in.
const SECTIONS: [&str; 7] = ["echo", "attach", "create", "scrollback", "plain", "colour", "memory"];

/// Says "I am here" in a way that no echo of the command line does.
const READY: &str = "printf 'ready-%d' $((6 * 7))";
const READY_SEEN: &[u8] = b"ready-42";
const END: &str = "printf 'end-%d' $((6 * 7))";
const END_SEEN: &[u8] = b"end-42";

fn main() {
    let (mut rounds, mut one_way, mut rate) = (5, 0, 0);
    let mut wanted: Vec<String> = Vec::new();
    // Test runners start every target, this one too: only cargo bench, or arguments of a person, mean it.
    if std::env::args().len() == 1 || std::env::args().any(|arg| arg == "--list") {
        return;
    }
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            // cargo passes this to every benchmark.
            "--bench" => {}
            "--rounds" => rounds = number(&arg, args.next()),
            "--one-way" => one_way = number(&arg, args.next()),
            "--rate" => rate = number(&arg, args.next()),
            name if SECTIONS.contains(&name) => wanted.push(name.to_owned()),
            other => usage(&format!("unknown: {other}")),
        }
    }
    let bench = Bench::new(rounds, one_way, rate);
    println!("sessd: {}", sessd_binary().display());
    for section in SECTIONS {
        if !wanted.is_empty() && !wanted.iter().any(|name| name == section) {
            continue;
        }
        match section {
            "echo" => bench.echo(),
            "attach" => bench.attach(),
            "create" => bench.create(),
            "scrollback" => bench.scrollback(),
            "plain" => bench.throughput("100 MB of plain lines", "plain", &plain_lines(100 << 20)),
            "colour" => bench.throughput("20 MB of colour and cursor work", "colour", &colour_work(20 << 20)),
            _ => bench.memory(),
        }
    }
}

fn number(name: &str, text: Option<String>) -> usize {
    text.and_then(|text| text.parse().ok()).unwrap_or_else(|| usage(&format!("{name} wants a number")))
}

fn usage(what: &str) -> ! {
    eprintln!("{what}; known: --rounds N, --one-way MS, --rate BYTES and {}", SECTIONS.join(" "));
    std::process::exit(2)
}

struct Bench {
    rounds: usize,
    tmux: bool,
    world: World,
    host: Sshd,
    config: SshConfig,
    /// The line, where it is not this machine's.
    _line: Option<Proxy>,
}

/// One program's times.
struct Row {
    name: &'static str,
    times: Vec<Duration>,
}

impl Bench {
    fn new(rounds: usize, one_way: usize, rate: usize) -> Bench {
        let mut world = World::new();
        let host = Sshd::start_in(&world, "host");
        let mut config = SshConfig::new(&mut world);
        let control = format!("ControlPath {}/control", world.root().display());
        let line = (one_way + rate > 0)
            .then(|| Proxy::narrow(host.addr(), Duration::from_millis(one_way as u64), rate));
        let addr = line.as_ref().map_or(host.addr(), Proxy::addr);
        config.host_at("box", &host, addr, &[]);
        config.host_at("warm", &host, addr, &["ControlMaster auto", "ControlPersist 600", &control]);
        let tmux = Command::new("tmux").arg("-V").output().is_ok_and(|output| output.status.success());
        if !tmux {
            println!("no tmux on this machine: its rows are left out");
        }
        // Both warm connections, and the agent, are there before anything is measured.
        let bench = Bench { rounds, tmux, world, host, config, _line: line };
        bench.run(bench.ssh("warm", "true"));
        bench.run(bench.sessd(&["create", "--name", "first", "--host", "box", "--", "cat"]));
        bench
    }

    /// `ssh` to an alias, with a terminal, running a script.
    fn ssh(&self, alias: &str, script: &str) -> Command {
        let mut command = self.world.program("ssh");
        command.arg("-F").arg(self.config.path()).args([
            "-o",
            "BatchMode=yes",
            "-o",
            "LogLevel=ERROR",
            "-tt",
            alias,
        ]);
        command.arg(format!("exec sh -c {}", sessd_tests::quote(script)));
        command
    }

    fn sessd(&self, args: &[&str]) -> Command {
        self.world.command(args)
    }

    /// `tmux` without its status line, its socket in this world.
    fn tmux(&self, rest: &str) -> String {
        let root = self.world.root().display();
        format!("tmux -S {root}/tmux -f {root}/tmux.conf {rest}")
    }

    fn run(&self, command: Command) -> Duration {
        let text = format!("{command:?}");
        let begun = Instant::now();
        let output = self.world.finish(command, b"", PATIENCE);
        assert_eq!(output.code, 0, "{text}: {output:#?}");
        begun.elapsed()
    }

    /// Starts a job that runs `script` under each program, and gives what attaches to it.
    fn sessions(&self, name: &str, script: &str) -> Vec<(&'static str, Command)> {
        let mut all = vec![("ssh", self.ssh("box", script))];
        if self.tmux {
            fs::write(
                self.world.root().join("tmux.conf"),
                "set -g status off\nset -sg escape-time 0\nset -g history-limit 20000\n",
            )
            .expect("the configuration of tmux");
            let file = self.script_file(name, script);
            let rest = format!("new-session -d -x 80 -y 24 -s {name} 'sh {}'", file.display());
            self.run(self.ssh("warm", &self.tmux(&rest)));
            all.push(("tmux over ssh", self.ssh("warm", &self.tmux(&format!("attach -t {name}")))));
        }
        self.run(self.sessd(&["create", "--name", name, "--host", "box", "--", "sh", "-c", script]));
        all.push(("sessd", self.sessd(&["attach", name])));
        all
    }

    fn script_file(&self, name: &str, script: &str) -> PathBuf {
        let file = self.world.root().join(format!("{name}.sh"));
        fs::write(&file, script).expect("a script");
        file
    }

    fn end_sessions(&self, name: &str) {
        if self.tmux {
            let _ = self.world.finish(
                self.ssh("warm", &self.tmux(&format!("kill-session -t {name}"))),
                b"",
                PATIENCE,
            );
        }
        self.run(self.sessd(&["delete", "--force", name]));
    }

    /// The time of one key, a key as soon as the last has come back, and at the pace of a person who types fast: between
    /// two such keys everybody has gone to sleep.
    fn echo(&self) {
        self.echo_at("echo of one key, back to back, ms", 100, Duration::ZERO);
        self.echo_at("echo of one key, 20 ms between two, ms", 40, Duration::from_millis(20));
    }

    fn echo_at(&self, title: &str, keys: usize, pace: Duration) {
        let script = format!("stty raw -echo; {READY}; exec cat");
        let mut open: Vec<(Row, Pty)> = self
            .sessions("echo", &script)
            .into_iter()
            .map(|(name, command)| (Row { name, times: Vec::new() }, Pty::spawn(command, 80, 24)))
            .collect();
        for (_, pty) in &open {
            wait_for(pty, &[READY_SEEN.to_vec()]);
        }
        for _ in 0..self.rounds {
            for (row, pty) in &mut open {
                quiet(pty);
                for n in 0..keys {
                    std::thread::sleep(pace);
                    // Characters that no escape sequence holds.
                    let key = b"!@#&*+=|"[n % 8];
                    let begun = Instant::now();
                    pty.write(&[key], PATIENCE);
                    wait_for(pty, &[vec![key]]);
                    row.times.push(begun.elapsed());
                }
            }
        }
        let rows = open.into_iter().map(|(row, _)| row).collect();
        self.end_sessions("echo");
        table(title, 1e3, rows);
    }

    fn attach(&self) {
        let script = format!("stty -echo; {}; exec cat", screen_of_rows());
        self.attach_to("attach", &script, "attach, warm: exec to a full screen, ms (ssh: a new connection)");
    }

    fn scrollback(&self) {
        let lines = "i=0; while [ $i -lt 10000 ]; do printf '\\033[3%dmline %d of what has been\\033[0m\\r\\n' $((i % 8)) $i; \
                     i=$((i+1)); done";
        let script = format!("stty -echo; {lines}; {}; exec cat", screen_of_rows());
        self.attach_to(
            "scrollback",
            &script,
            "attach to 10 000 lines of scrollback, ms (ssh: prints them anew)",
        );
    }

    fn attach_to(&self, name: &str, script: &str, title: &str) {
        let markers: Vec<Vec<u8>> = (1..=24).map(|row| format!("row:{row:02}").into_bytes()).collect();
        let mut kinds: Vec<&'static str> = vec!["ssh", "ssh, shared"];
        kinds.extend(self.tmux.then_some("tmux over ssh"));
        kinds.push("sessd");
        let mut rows: Vec<Row> = kinds.into_iter().map(|name| Row { name, times: Vec::new() }).collect();
        self.sessions(name, script);
        // The first view of each is not measured: the job has to have drawn its screen before.
        for round in 0..=self.rounds {
            for row in &mut rows {
                let command = match row.name {
                    "ssh" => self.ssh("box", script),
                    "ssh, shared" => self.ssh("warm", script),
                    "sessd" => self.sessd(&["attach", name]),
                    _ => self.ssh("warm", &self.tmux(&format!("attach -t {name}"))),
                };
                let begun = Instant::now();
                let pty = Pty::spawn(command, 80, 24);
                wait_for(&pty, &markers);
                if round > 0 {
                    row.times.push(begun.elapsed());
                }
                pty.hang_up(PATIENCE);
            }
        }
        self.end_sessions(name);
        table(title, 1e3, rows);
    }

    fn create(&self) {
        let mut kinds: Vec<&'static str> = vec!["ssh", "ssh, shared"];
        kinds.extend(self.tmux.then_some("tmux over ssh"));
        kinds.push("sessd");
        let mut rows: Vec<Row> = kinds.into_iter().map(|name| Row { name, times: Vec::new() }).collect();
        for round in 0..self.rounds {
            for row in &mut rows {
                let name = format!("create{round}");
                let command = match row.name {
                    "ssh" => self.ssh("box", "true"),
                    "ssh, shared" => self.ssh("warm", "true"),
                    "sessd" => self.sessd(&["create", "--name", &name, "--host", "box", "--", "cat"]),
                    _ => self.ssh("warm", &self.tmux(&format!("new-session -d -s {name} cat"))),
                };
                row.times.push(self.run(command));
            }
        }
        for round in 0..self.rounds {
            self.end_sessions(&format!("create{round}"));
        }
        table("create on a warm link, ms (ssh: a new connection that runs `true`)", 1e3, rows);
    }

    fn throughput(&self, title: &str, name: &str, bytes: &[u8]) {
        let file = self.world.root().join(format!("{name}.txt"));
        fs::write(&file, bytes).expect("a file to print");
        // One view each, and as many rounds as lines typed.
        let script = format!("stty -echo; {READY}; while read -r go; do cat {}; {END}; done", file.display());
        let mut sessions = self.sessions(name, &script);
        // A view of its own session, so that the two ways of showing it do not share one job.
        let lossless = format!("{name}-lossless");
        self.run(self.sessd(&["create", "--name", &lossless, "--host", "box", "--", "sh", "-c", &script]));
        sessions.push(("sessd --lossless", self.sessd(&["attach", &lossless, "--lossless"])));
        let mut open: Vec<(Row, Pty, usize)> = sessions
            .into_iter()
            .map(|(name, command)| (Row { name, times: Vec::new() }, Pty::spawn(command, 80, 24), 0))
            .collect();
        for (_, pty, _) in &open {
            wait_for(pty, &[READY_SEEN.to_vec()]);
        }
        for _ in 0..self.rounds.div_ceil(3) {
            for (row, pty, seen) in &mut open {
                quiet(pty);
                let begun = Instant::now();
                pty.write(b"\r", PATIENCE);
                *seen = wait_for(pty, &[END_SEEN.to_vec()]);
                row.times.push(begun.elapsed());
            }
        }
        let arrived: Vec<String> = open
            .iter()
            .map(|(row, _, seen)| format!("{} {:.0} %", row.name, *seen as f64 * 100.0 / open[0].2 as f64))
            .collect();
        let rows = open.into_iter().map(|(row, _, _)| row).collect();
        self.end_sessions(name);
        self.run(self.sessd(&["delete", "--force", &lossless]));
        let _ = fs::remove_file(file);
        table(&format!("{title}, until the marker behind them is seen, s"), 1.0, rows);
        println!("bytes that reached the view, of what ssh brings: {}\n", arrived.join(", "));
    }

    fn memory(&self) {
        println!("size and memory");
        files_below(&self.host.home(), &mut |path| {
            let Ok(data) = fs::symlink_metadata(path) else { return };
            if data.is_file() && data.permissions().mode() & 0o100 != 0 && data.len() > 100_000 {
                println!("{:<32}{:>10.2} MB", "the agent, as installed", data.len() as f64 / 1e6);
            }
        });
        let before = self.world.agents(&self.host.home(), "hold");
        let script = format!(
            "stty -echo; {READY}; read -r go; i=0; while [ $i -lt 10000 ]; do printf '\\033[3%dmline %d, \\033[1mcoloured\\033[0m and \
             of a usual length\\r\\n' $((i % 8)) $i; i=$((i+1)); done; {END}; exec cat"
        );
        self.run(self.sessd(&["create", "--name", "memory", "--host", "box", "--", "sh", "-c", &script]));
        let holder = until("a holder of the new job", PATIENCE, || {
            self.world.agents(&self.host.home(), "hold").into_iter().find(|pid| !before.contains(pid))
        });
        let show = |what: &str, pid: i32| {
            let memory = procs::private_memory(pid)
                .map_or("unknown".to_owned(), |n| format!("{:.2} MB", n as f64 / 1e6));
            println!("{what:<32}{memory:>13}");
        };
        show("a holder, idle", holder);
        let pty = Pty::spawn(self.sessd(&["attach", "memory"]), 80, 24);
        wait_for(&pty, &[READY_SEEN.to_vec()]);
        pty.write(b"\r", PATIENCE);
        wait_for(&pty, &[END_SEEN.to_vec()]);
        pty.hang_up(PATIENCE);
        show("after 10 000 coloured lines", holder);
        for agent in self.world.agents(&self.host.home(), "serve") {
            show("the agent of the link", agent);
        }
        show("the manager", self.world.manager_pid());
        self.run(self.sessd(&["delete", "--force", "memory"]));
        println!();
    }
}

/// A script that draws 24 rows, the cursor behind the last.
fn screen_of_rows() -> &'static str {
    "printf '\\033[2J\\033[H'; i=1; while [ $i -lt 24 ]; do printf 'row:%02d\\r\\n' $i; i=$((i+1)); done; printf 'row:24'"
}

/// Reads until every marker has come; gives the number of bytes read.
fn wait_for(pty: &Pty, markers: &[Vec<u8>]) -> usize {
    let longest = markers.iter().map(Vec::len).max().unwrap_or(1);
    let end = Instant::now() + PATIENCE;
    let mut missing: Vec<&Vec<u8>> = markers.iter().collect();
    let mut buffer = vec![0; 256 * 1024];
    // The end of what came before, for a marker that comes in two pieces.
    let mut tail: Vec<u8> = Vec::new();
    let mut total = 0;
    while !missing.is_empty() {
        let left = end.saturating_duration_since(Instant::now());
        let n = pty.read(&mut buffer, left);
        if n == 0 {
            let words: Vec<_> = missing.iter().map(|marker| marker.escape_ascii().to_string()).collect();
            panic!("{} did not come; the last bytes: {}", words.join(", "), tail.escape_ascii());
        }
        total += n;
        tail.extend_from_slice(&buffer[..n]);
        missing.retain(|marker| procs::find(&tail, marker).is_none());
        let keep = tail.len().saturating_sub(longest.saturating_sub(1).max(200));
        tail.drain(..keep);
    }
    total
}

/// Reads until nothing comes for a moment, so that one measurement does not see the rest of another.
fn quiet(pty: &Pty) {
    let mut buffer = vec![0; 64 * 1024];
    while pty.read(&mut buffer, Duration::from_millis(30)) > 0 {}
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

fn table(title: &str, scale: f64, rows: Vec<Row>) {
    let mut text =
        format!("{title}\n{:<18}{:>6}{:>10}{:>10}{:>10}{:>9}\n", "", "n", "min", "median", "p99", "× ssh");
    let mut base = None;
    for mut row in rows {
        let middle = median(&mut row.times).as_secs_f64() * scale;
        let base = *base.get_or_insert(middle);
        let at = |index: usize| row.times.get(index).map_or(0.0, |time| time.as_secs_f64() * scale);
        let last = row.times.len().saturating_sub(1);
        let _ = writeln!(
            text,
            "{:<18}{:>6}{:>10.2}{:>10.2}{:>10.2}{:>9.2}",
            row.name,
            row.times.len(),
            at(0),
            middle,
            at(last * 99 / 100),
            middle / base
        );
    }
    println!("{text}");
}

fn plain_lines(size: usize) -> Vec<u8> {
    let mut text = Vec::with_capacity(size + 100);
    let mut n = 0;
    while text.len() < size {
        text.extend_from_slice(
            format!("{n:08} the quick brown fox jumps over the lazy dog, again and again\n").as_bytes(),
        );
        n += 1;
    }
    text
}

/// What full-screen programs write: home, then rows of coloured words, each at its place.
fn colour_work(size: usize) -> Vec<u8> {
    let mut text = Vec::with_capacity(size + 4000);
    let mut n = 0_usize;
    while text.len() < size {
        text.extend_from_slice(b"\x1b[H");
        for row in 1..=23 {
            let _ = std::io::Write::write_fmt(&mut text, format_args!("\x1b[{row};1H\x1b[K"));
            for word in 0..6 {
                n = n.wrapping_mul(1_103_515_245).wrapping_add(12_345) & 0x7fff_ffff;
                let (colour, kind) = (31 + n % 7, n / 7 % 3);
                let _ = std::io::Write::write_fmt(
                    &mut text,
                    format_args!("\x1b[{kind};{colour}mword{word}\x1b[0m "),
                );
            }
        }
    }
    text.extend_from_slice(b"\x1b[0m\x1b[24;1H");
    text
}
