//! Many views of one session: what each is told of the others, and of what becomes of the session.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sessd_tests::{LATER, Proxy, SOON, SshConfig, Sshd, View, World};

/// Says which job it is, and answers what is typed.
const WHICH: &str = "n=$(cat runs 2>/dev/null); echo $((n + 1)) >runs; printf 'job %s\\r\\n' $((n + 1)); \
                     while read -r line; do printf 'got <%s>\\r\\n' \"$line\"; done";

fn create(world: &World, name: &str) {
    let cwd = world.root().display().to_string();
    world.ok(&["create", "--name", name, "--cwd", &cwd, "--", "sh", "-c", WHICH]);
}

#[test]
fn a_view_goes_on_with_the_new_job_of_a_restarted_session() {
    let world = World::new();
    create(&world, "dev");
    let view = world.attach("dev");
    let small = world.view_sized(&["attach", "dev"], 60, 10);
    view.wait_text("job 1", SOON);
    small.wait_text("job 1", SOON);
    for job in 2..4 {
        world.ok(&["restart", "dev"]);
        for view in [&view, &small] {
            view.wait_text(&format!("job {job}"), SOON);
            let old = format!("job {}", job - 1);
            view.wait_screen("the new job's screen alone", SOON, |screen| !screen.contents().contains(&old));
        }
        view.type_(format!("to {job}\r"));
        view.wait_text(&format!("got <to {job}>"), SOON);
        small.wait_text(&format!("got <to {job}>"), SOON);
    }
    assert_eq!(world.info("dev").expect("it is there")["views"].as_array().map(Vec::len), Some(2));
}

/// Answers every line that is typed, without the terminal's own echo.
const ANSWER: &str = "stty -echo; echo ready; while read -r line; do echo \"got <$line>\"; done";

fn views(world: &World) -> Vec<serde_json::Value> {
    world.info("dev").and_then(|info| info["views"].as_array().cloned()).unwrap_or_default()
}

#[test]
fn who_attaches_is_told_of_the_others_and_who_leads_is_in_the_document() {
    let world = World::new();
    world.create("dev", ANSWER);
    let first = world.attach("dev");
    first.wait_text("ready", SOON);
    let second = world.attach("dev");
    second.wait_raw("who else is there", SOON, |raw| {
        let said = String::from_utf8_lossy(raw);
        said.contains("also attached: cli on pts/") && said.contains("80x24, `--take` sends them away]")
    });
    second.wait_text("ready", SOON);
    second.type_("x\r");
    second.wait_text("got <x>", SOON);
    let info = world.wait_session("dev", "who types leads", SOON, |info| {
        let view = info["views"].as_array().and_then(|views| views.iter().find(|view| view["leads"] == true));
        view.is_some_and(|view| view["id"] == info["leader"] && view["sizes"] == true)
    });
    let of =
        |leads: bool| info["views"].as_array().expect("views").iter().filter(|v| v["leads"] == leads).count();
    assert_eq!((of(true), of(false)), (1, 1), "{info:#}");
    assert_eq!(info["views"][0]["size"], serde_json::json!({"cols": 80, "rows": 24}));
    assert!(world.ok(&["info", "dev"]).stdout.contains("leads, sizes the session"));
    // Both ids begin alike: they are of the same minute.
    let id = info["views"][0]["id"].as_str().expect("an id")[..4].to_owned();
    let line = world.fails(&["detach", "dev", "--view", &id], 4);
    assert!(line.contains("2 views of `dev`"), "{line}");
    let third = world.view(&["attach", "dev", "--take"]);
    third.wait_text("2 other views sent away", SOON);
    third.wait_text("got <x>", SOON);
    assert_eq!(views(&world).len(), 1);
}

#[test]
fn a_view_that_only_reads_says_so_as_it_begins_and_leads_nothing() {
    let world = World::new();
    world.create("dev", ANSWER);
    let watcher = world.view(&["attach", "dev", "--read-only"]);
    watcher.wait_text("read only: keys go nowhere", SOON);
    let view = &views(&world)[0];
    assert_eq!((&view["leads"], &view["sizes"]), (&false.into(), &false.into()), "{view:#}");
    let writer = world.attach("dev");
    writer.wait_text("ready", SOON);
    writer.type_("on\r");
    watcher.wait_text("got <on>", SOON);
    watcher.wait_screen("the notice to go", SOON, |screen| !screen.contents().contains("read only"));
}

/// Drawn, it is told what changes; and back to bytes there is no trace of that, nor a word of bytes that were skipped.
#[test]
fn a_view_of_another_size_is_told_what_changes_and_no_more() {
    let world = World::new();
    world.create("dev", &format!("seq 1 60; {ANSWER}"));
    let big = world.attach("dev");
    big.wait_text("ready", SOON);
    let small = world.view_sized(&["attach", "dev"], 60, 10);
    small.wait_text("ready", SOON);
    small.wait_text("you see 60x10", SOON);
    big.type_("one\r");
    small.wait_text("got <one>", SOON);
    for n in 0..20 {
        let before = small.raw_len();
        big.type_(format!("line {n}\r"));
        small.wait_text(&format!("got <line {n}>"), SOON);
        let told = small.raw_len() - before;
        // Nothing else is said of a line than the line itself and the way to it.
        assert!(n == 0 || told < 60, "{told} bytes: {}", small.describe());
    }
    let text = |screen: &vt100::Screen| screen.contents().trim_end().to_owned();
    let want = text(&big.screen(Clone::clone)).lines().rev().take(8).map(str::to_owned).collect::<Vec<_>>();
    let have = text(&small.screen(Clone::clone)).lines().rev().take(8).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(have, want);
    // Who types has the size, and bytes flow again.
    small.type_("mine\r");
    small.wait_text("got <mine>", SOON);
    big.wait_text("got <mine>", SOON);
    big.type_("back\r");
    for view in [&big, &small] {
        view.wait_text("got <back>", SOON);
        view.wait_screen("no notice", SOON, |screen| !screen.contents().contains("sessd:"));
        assert!(!sessd_tests::view::contains(&view.raw(), b"were skipped"), "{}", view.describe());
    }
}

/// Seconds since the epoch by the newest line of a flood on the screen.
fn newest(view: &View) -> Option<f64> {
    let text = view.screen_text();
    text.lines().rev().find_map(|line| line.strip_suffix(" the time")?.trim().parse().ok())
}

/// How much the line carries from a moment on: the age of what is shown in bytes, which is the same on a machine that is busy.
struct Carried(Vec<(f64, usize)>);

impl Carried {
    fn since(&self, moment: f64, now: usize) -> usize {
        let before = self.0.iter().rev().find(|(at, _)| *at <= moment);
        now - before.map_or(self.0[0].1, |(_, bytes)| *bytes)
    }
}

/// Under a flood over a line of 100 kB/s that takes 50 ms each way: the most that the line carried between the writing of what is
/// shown and its showing, and what it carried between Ctrl-C and the prompt, in bytes.
fn flood_on_a_narrow_line(transport: &str) -> (usize, usize) {
    let mut world = World::new();
    let host = Sshd::start_in(&world, "h1");
    let line = Proxy::narrow(host.addr(), Duration::from_millis(50), 100_000);
    SshConfig::new(&mut world).host("near", &host).host_at("box", &host, line.addr(), &[]);
    let config = format!("[hosts.box]\ntransport = \"{transport}\"\n");
    std::fs::write(world.config(), config).expect("a configuration");
    // The agent gets there another way, and sooner.
    world.create_on("near", "first", "exit 0");
    let create = ["create", "--host", "box", "--name", "dev", "--", "env", "PS1=prompt> "];
    world.ok(&[&create[..], &["bash", "--norc", "--noprofile", "-i"]].concat());
    let view = world.attach("dev");
    view.wait_text("prompt>", LATER);
    let mut carried = Carried(vec![(0.0, line.bytes())]);
    // At once: a bypass takes over while the first of it is on its way.
    view.type_("while :; do printf '%s the time\\n' $EPOCHREALTIME; done\r");
    let (mut oldest, mut shown, mut seen) = (0, 0, 0.0);
    // More than a window of a fast line is.
    while shown < 60 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs_f64();
        let bytes = line.bytes();
        carried.0.push((now, bytes));
        if let Some(written) = newest(&view).filter(|written| *written > seen) {
            (seen, shown) = (written, shown + 1);
            oldest = oldest.max(carried.since(written, bytes));
        }
        assert!(carried.0.len() < 3_000, "the flood is not shown\n{}", view.describe());
        std::thread::sleep(Duration::from_millis(20));
    }
    let before = line.bytes();
    view.type_("\x03");
    view.wait_screen("a prompt", LATER, |screen| screen.contents().trim_end().ends_with("prompt>"));
    (oldest, line.bytes() - before)
}

#[test]
fn a_flood_on_a_narrow_line_is_shown_as_it_is_now_and_ends_when_told() {
    std::thread::scope(|scope| {
        for transport in ["russh", "openssh"] {
            scope.spawn(move || {
                let (oldest, prompt) = flood_on_a_narrow_line(transport);
                println!("{transport}: the screen was {oldest} bytes old at the most, the prompt came behind {prompt}");
                // A second of the line each.
                assert!(oldest < 100_000 && prompt < 100_000, "{transport}: {oldest} and {prompt} bytes");
            });
        }
    });
}
