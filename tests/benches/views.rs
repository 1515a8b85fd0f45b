//! Many views of one session, measured: what a view of another size is told, beside what tmux tells a client of another size for
//! the same changes; what a key takes while others look; and how soon a flood on a narrow line ends when it is told to.
//!
//! `cargo bench -p sessd-tests --bench views -- [drawn] [echo] [flood]`: no name means all. By hand, the built program wants at least one
//! argument.

use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::process::Signal;
use sessd_tests::{LATER, Proxy, SOON, SshConfig, Sshd, View, World, procs, until};

/// What is typed, and what it is called. Each is typed key by key where it is short.
const STEPS: [(&str, &str); 8] = [
    ("a line, key by key", "echo hello world"),
    ("enter", "\r"),
    ("a listing", "ls -l /usr /etc | head -60\r"),
    ("an editor", "vim -u NONE -N /etc/services\r"),
    ("40 lines down", "\x04\x04\x04\x04"),
    ("by the line", "jjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjj"),
    ("words inserted", "Ione two three \x1b"),
    ("out of it", ":q!\r"),
];

fn main() {
    // Test runners start every target, this one too: only cargo bench, or arguments of a person, mean it.
    if std::env::args().len() == 1 || std::env::args().any(|arg| arg == "--list") {
        return;
    }
    let wanted: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let wants = |name: &str| wanted.is_empty() || wanted.iter().any(|wanted| wanted == name);
    if wants("drawn") {
        drawn();
    }
    if wants("echo") {
        echo();
    }
    if wants("flood") {
        flood();
    }
}

/// Jobs that flood, over 100 kB/s with 50 ms each way: how old the screen gets, where that can be told, and when the prompt comes
/// after Ctrl-C, pressed early or late.
fn flood() {
    println!("{:<46} {:>12} {:>12}", "a flood over 100 kB/s, 50 ms each way; ms", "oldest", "prompt");
    for transport in ["russh", "openssh"] {
        let mut world = World::new();
        let host = Sshd::start_in(&world, "h1");
        let line = Proxy::narrow(host.addr(), Duration::from_millis(50), 100_000);
        SshConfig::new(&mut world).host("near", &host).host_at("box", &host, line.addr(), &[]);
        std::fs::write(world.config(), format!("[hosts.box]\ntransport = \"{transport}\"\n"))
            .expect("a file");
        let file = world.root().join("long.txt");
        let text: String = (0..1_600_000)
            .map(|n| format!("line {n:08} of a text that is long, and goes on and on\n"))
            .collect();
        std::fs::write(&file, text).expect("a file");
        // The agent gets there another way, and sooner.
        world.create_on("near", "first", "exit 0");
        let jobs = [
            ("dates", "while :; do printf '%s the time\\n' $EPOCHREALTIME; done".to_owned()),
            ("yes", "yes".to_owned()),
            ("cat", format!("while :; do cat {}; done", file.display())),
        ];
        for (name, script) in &jobs {
            let create = ["create", "--host", "box", "--name", name, "--", "env", "PS1=prompt> "];
            world.ok(&[&create[..], &["bash", "--norc", "--noprofile", "-i"]].concat());
            let view = world.attach(name);
            view.wait_screen("a prompt", LATER, |screen| screen.contents().contains("prompt>"));
            for after in [300, 1_000, 4_000, 300] {
                view.type_(format!("clear; {script}\r"));
                let (from, mut oldest) = (Instant::now(), 0f64);
                let began = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs_f64();
                while from.elapsed() < Duration::from_millis(after) {
                    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs_f64();
                    let text = view.screen_text();
                    let newest = text
                        .lines()
                        .rev()
                        .find_map(|line| line.strip_suffix(" the time")?.trim().parse().ok());
                    // What was there before is not of this flood.
                    let newest = newest.filter(|written: &f64| *written > began);
                    oldest = newest.map_or(oldest, |written| oldest.max(now - written));
                    std::thread::sleep(Duration::from_millis(20));
                }
                let typed = Instant::now();
                view.type_("\x03");
                view.wait_screen("a prompt", LATER, |screen| {
                    let text = screen.contents();
                    text.contains("^C") && text.trim_end().ends_with("prompt>")
                });
                let (oldest, prompt) = (oldest * 1e3, typed.elapsed().as_secs_f64() * 1e3);
                println!(
                    "{:<46} {oldest:>12.0} {prompt:>12.0}",
                    format!("{transport}, {name}, Ctrl-C after {after} ms")
                );
                std::thread::sleep(Duration::from_secs(2));
            }
            drop(view);
            world.ok(&["delete", "--force", name]);
        }
    }
}

/// Waits until nothing has come for a while; how much came since `from`.
fn settled(view: &View, from: usize) -> usize {
    let (mut len, mut since) = (view.raw_len(), Instant::now());
    while since.elapsed() < Duration::from_millis(400) {
        std::thread::sleep(Duration::from_millis(20));
        if view.raw_len() != len {
            (len, since) = (view.raw_len(), Instant::now());
        }
    }
    len - from
}

/// A session of 100x30, and a view of 80x24.
fn drawn() {
    let mut world = World::new();
    world.set_env("TERM", "xterm-256color");
    world.set_env("PS1", "$ ");
    let shell = ["env", "PS1=$ ", "bash", "--norc", "-i"];
    let fixed = ["create", "--name", "dev", "--size", "100x30", "--size-policy", "fixed", "--"];
    world.ok(&[&fixed[..], &shell[..]].concat());
    let socket = world.root().join("tmux");
    let tmux = |args: &[&str]| {
        let mut command: Command = world.program("tmux");
        command.arg("-f").arg("/dev/null").arg("-S").arg(&socket).args(args);
        command
    };
    let made = tmux(&[
        "new-session",
        "-d",
        "-s",
        "dev",
        "-x",
        "100",
        "-y",
        "30",
        &shell.join(" ").replace("PS1=$ ", "'PS1=$ '"),
    ]);
    world.finish(made, b"", SOON);
    for option in [["status", "off"], ["window-size", "manual"], ["escape-time", "0"]] {
        world.finish(tmux(&[&["set", "-g"], &option[..]].concat()), b"", SOON);
    }
    let ours = world.view_sized(&["attach", "dev", "--read-only"], 80, 24);
    let theirs = View::spawn(tmux(&["attach", "-t", "dev"]), 80, 24);
    for view in [&ours, &theirs] {
        view.wait_screen("a prompt", SOON, |screen| screen.contents().contains('$'));
    }
    std::thread::sleep(Duration::from_secs(6));
    println!(
        "bytes told to a view of 80x24 of a session of 100x30\n{:<22} {:>8} {:>8} {:>6}",
        "", "sessd", "tmux", "×"
    );
    let (mut all, mut all_theirs) = (0, 0);
    for (what, keys) in STEPS {
        let (from, from_theirs) = (ours.raw_len(), theirs.raw_len());
        let parts: Vec<String> =
            if keys.ends_with('\r') { vec![keys.into()] } else { keys.chars().map(String::from).collect() };
        for part in &parts {
            world.ok(&["send", "dev", "--", part]);
            std::thread::sleep(Duration::from_millis(30));
        }
        let bytes = settled(&ours, from);
        for part in &parts {
            world.finish(tmux(&["send-keys", "-t", "dev", "-l", "--", part]), b"", SOON);
            std::thread::sleep(Duration::from_millis(30));
        }
        let bytes_theirs = settled(&theirs, from_theirs);
        println!(
            "{what:<22} {bytes:>8} {bytes_theirs:>8} {:>6.2}",
            bytes as f64 / bytes_theirs.max(1) as f64
        );
        (all, all_theirs) = (all + bytes, all_theirs + bytes_theirs);
    }
    println!("{:<22} {all:>8} {all_theirs:>8} {:>6.2}", "all", all as f64 / all_theirs as f64);
    world.finish(tmux(&["kill-server"]), b"", SOON);
}

/// What a key takes in a view alone, and beside others.
fn echo() {
    let world = World::new();
    world.create("dev", "stty -echo -icanon; exec cat");
    let first = world.attach("dev");
    let job = "dev";
    until("the view", SOON, || (world.info(job)?["views"].as_array()?.len() == 1).then_some(()));
    std::thread::sleep(Duration::from_millis(500));
    let alone = keys(&first);
    println!("a key's echo, ms           median    p99");
    let say =
        |what: &str, times: &[f64]| println!("{what:<26} {:>6.2} {:>6.2}", at(times, 0.5), at(times, 0.99));
    say("one view", &alone);
    let stopped = world.attach(job);
    until("two views", SOON, || (world.info(job)?["views"].as_array()?.len() == 2).then_some(()));
    std::thread::sleep(Duration::from_millis(300));
    procs::signal(stopped.pid(), Signal::STOP);
    say("beside a stopped one", &keys(&first));
    procs::signal(stopped.pid(), Signal::CONT);
    let small: Vec<View> = (0..4).map(|_| world.view_sized(&["attach", job], 60, 10)).collect();
    until("six views", SOON, || (world.info(job)?["views"].as_array()?.len() == 6).then_some(()));
    say("beside four drawn ones", &keys(&first));
    drop(small);
    let more: Vec<View> = (0..18).map(|_| world.attach(job)).collect();
    until("twenty views", Duration::from_secs(60), || {
        (world.info(job)?["views"].as_array()?.len() == 20).then_some(())
    });
    std::thread::sleep(Duration::from_millis(500));
    say("beside nineteen", &keys(&first));
    drop(more);
}

fn keys(view: &View) -> Vec<f64> {
    let mut times: Vec<f64> = (0..300)
        .map(|_| {
            let before = view.raw_len();
            let began = Instant::now();
            view.type_("x");
            while view.raw_len() == before {
                std::thread::yield_now();
            }
            let took = began.elapsed().as_secs_f64() * 1000.0;
            std::thread::sleep(Duration::from_millis(5));
            took
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times
}

fn at(times: &[f64], part: f64) -> f64 {
    times[((times.len() - 1) as f64 * part) as usize]
}
