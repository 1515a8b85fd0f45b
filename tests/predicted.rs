//! What is typed on a far host is seen before the host has it: by who typed it and nobody else, and never where the terminal
//! does not show what is typed. And a view made of the client crate alone.

use std::time::{Duration, Instant};

use sessd_tests::{LATER, Proxy, SOON, SshConfig, Sshd, View, World, until_or};

/// So long takes a byte each way: a network that nobody likes to type over.
const ONE_WAY: Duration = Duration::from_millis(60);
const SHELL: &str = "PS1='far> ' exec bash --norc --noprofile -i";

/// A shell on a host at the end of a long way.
fn far_shell() -> (World, Sshd, Proxy) {
    let mut world = World::new();
    let host = Sshd::start_in(&world, "h1");
    let proxy = Proxy::far(host.addr(), ONE_WAY);
    SshConfig::new(&mut world).host_at("box", &host, proxy.addr(), &[]);
    world.create_on("box", "dev", SHELL);
    (world, host, proxy)
}

/// Types letters one by one, each after the one before has been seen, until one is seen that cannot have come from the host.
/// What is on the line then.
fn type_until_foretold(view: &View, proxy: &Proxy, prompt: &str) -> String {
    let mut line = String::from("true ");
    view.type_(&line);
    view.wait_text(format!("{prompt}{line}").trim_end(), SOON);
    for letter in "abcdefghijklmnopqrstuvw".chars() {
        line.push(letter);
        let shown = format!("{prompt}{line}");
        proxy.freeze();
        view.type_(letter.to_string());
        let until = Instant::now() + Duration::from_millis(150);
        let mut foretold = false;
        while !foretold && Instant::now() < until {
            foretold = view.screen_text().contains(&shown);
            std::thread::sleep(Duration::from_millis(2));
        }
        if foretold {
            return line;
        }
        proxy.resume();
        view.wait_text(&shown, SOON);
    }
    panic!("nothing was ever seen before it was there\n{}", view.describe());
}

#[test]
fn on_a_far_host_what_is_typed_is_seen_at_once_by_who_typed_it_alone() {
    let (world, _host, proxy) = far_shell();
    let other = world.view(&["attach", "dev", "--read-only"]);
    other.wait_text("far>", LATER);
    let view = world.attach("dev");
    view.wait_text("far>", LATER);
    let line = type_until_foretold(&view, &proxy, "far> ");
    // The host has not got the last key, and maybe not the one before it; whoever looks at what the job wrote sees nothing of
    // them.
    let captured = world.ok(&["capture", "dev"]).stdout;
    let real = captured.lines().find_map(|row| row.strip_prefix("far> ")).expect("the prompt").trim_end();
    assert!(line.starts_with(real) && real.len() < line.len(), "{line:?} is foretold, {captured}");
    assert!(!other.screen_text().contains(&line), "{}", other.describe());
    proxy.resume();
    other.wait_text(&line, SOON);
    // What was drawn is gone without a trace: both terminals show the same, the cursor too.
    view.type_("\x15echo $((40+2))\r");
    for view in [&view, &other] {
        view.wait_text("\n42\n", SOON);
    }
    let looks = |view: &View| view.screen(|screen| (screen.contents_formatted(), screen.cursor_position()));
    until_or(
        "both terminals to show the same",
        SOON,
        || (looks(&view) == looks(&other)).then_some(()),
        || format!("{}\n{}", view.describe(), other.describe()),
    );
}

#[test]
fn a_secret_typed_on_a_far_host_is_never_seen() {
    let (world, _host, proxy) = far_shell();
    let view = world.attach("dev");
    view.wait_text("far>", LATER);
    type_until_foretold(&view, &proxy, "far> ");
    proxy.resume();
    // Typed ahead of the question, and after it.
    view.type_("\x15read -rs secret; echo \"<$secret>\" | tr A-Z a-z\r");
    view.type_("QZ");
    std::thread::sleep(4 * ONE_WAY);
    for key in ["X", "Q", "Z", "X"] {
        view.type_(key);
        std::thread::sleep(ONE_WAY / 3);
    }
    view.type_("\r");
    view.wait_text("<qzxqzx>", SOON);
    let screen = view.screen_text();
    let raw = String::from_utf8_lossy(&view.raw()).into_owned();
    let after = raw.split_once("a-z").map(|(_, after)| after).expect("the command");
    // The shell had not turned the echo off when the first two came: what it shows itself is its own.
    assert!(!after.contains(['X']), "{screen}\n{}", after.escape_debug());
}

#[test]
fn the_example_of_the_client_crate_is_a_view() {
    let world = World::new();
    world.create("dev", "stty -echo; echo ready; read -r line; echo \"got <$line>\"; exit 7");
    let view = world.attach("dev");
    view.wait_text("ready", SOON);
    let mut command = world.program(env!("CARGO_BIN_EXE_look"));
    command.arg("dev");
    let mut look = View::spawn(command, 80, 24);
    look.wait_text("ready", SOON);
    assert_eq!(
        world.info("dev").expect("known")["views"].as_array().map(Vec::len),
        Some(1),
        "it is not counted"
    );
    view.type_("hello\r");
    look.wait_text("got <hello>", SOON);
    assert_eq!(look.wait_exit(SOON), 7, "{}", look.describe());
    let mut command = world.program(env!("CARGO_BIN_EXE_look"));
    command.arg("nosuch");
    let mut none = View::spawn(command, 80, 24);
    assert_eq!(none.wait_exit(SOON), 3, "{}", none.describe());
}
