//! The picker: what it shows is what there is, what is opened from it is shown in full, and leaving that leads back.

use std::time::Duration;

use rustix::process::Signal;
use sessd_terminal::{Size, Terminal};
use sessd_tests::world::sessd_binary;
use sessd_tests::{LATER, SOON, SshConfig, Sshd, View, World, procs, until};

/// A job that says who it is and echoes what is typed.
fn job(name: &str) -> String {
    format!(
        "stty -echo; printf '\\033[32mthis is {name}\\033[m\\n'; while read -r line; do echo \"{name} got $line\"; done"
    )
}

fn world() -> World {
    let world = World::new();
    for name in ["one", "two"] {
        world.create(name, &job(name));
    }
    world
}

fn leave(mut view: View) {
    view.type_(b"q");
    assert_eq!(view.wait_exit(SOON), 0, "{}", view.describe());
    view.screen(|screen| assert!(!screen.alternate_screen()));
}

#[test]
fn sessions_are_seen_opened_and_left_again() {
    let world = world();
    let view = world.view(&[]);
    view.wait_screen("both, and the screen of the one selected", SOON, |screen| {
        let text = screen.contents();
        text.contains("2 sessions")
            && text.contains(" 1 ")
            && text.contains(" 2 ")
            && text.contains("this is ")
    });
    view.type_(b"/two\r");
    view.wait_screen("the session two, and not the picker", SOON, |screen| {
        screen.contents().contains("this is two") && !screen.contents().contains("sessions")
    });
    view.type_(b"hello\r");
    view.wait_text("two got hello", SOON);
    // Who looks is seen from elsewhere.
    let second = world.view(&["pick"]);
    second.wait_text("(open)", SOON);
    view.type_(b"\x1c");
    view.wait_text("detached from two", SOON);
    second.wait_screen("nobody to look", SOON, |screen| !screen.contents().contains("(open)"));
    leave(second);
    // One of another terminal's doing comes by itself.
    world.create("three", &job("three"));
    view.wait_text("3 sessions", SOON);
    world.ok(&["tag", "three", "--name", "drei", "k=v"]);
    view.wait_screen("its new name and its tag", SOON, |screen| {
        screen.contents().contains("drei") && screen.contents().contains("k=v")
    });
    world.ok(&["delete", "drei", "--force"]);
    view.wait_text("2 sessions", SOON);
    leave(view);
}

#[test]
fn the_only_session_is_opened_at_once_and_none_is_offered_as_a_new_one() {
    let world = World::new();
    let view = world.view(&[]);
    view.wait_text("no session yet", SOON);
    view.type_(b"dev\r");
    view.wait_screen("a shell's prompt", SOON, |screen| screen.contents().trim_end().ends_with(['#', '$']));
    view.type_(b"echo in $SESSD_NAME\r");
    view.wait_text("in dev", SOON);
    view.type_(b"\x1c");
    view.wait_text("1 session", SOON);
    leave(view);
    let mut view = world.view(&[]);
    view.wait_text("in dev", SOON);
    view.type_(b"exit 7\r");
    // It was all there was.
    assert_eq!(view.wait_exit(SOON), 7, "{}", view.describe());
}

#[test]
fn sessions_are_made_named_tagged_ended_and_begun_again_from_it() {
    let world = world();
    let view = world.view_sized(&["attach"], 40, 12);
    view.wait_text("2 sessions", SOON);
    let named = |name: &str| world.info(name);
    // Sorted by what happened last: which of the two is first is no matter here.
    view.type_(b"/one\tr\x15uno\r");
    until("the new name", SOON, || named("uno"));
    view.wait_screen("the new name", SOON, |screen| {
        screen.contents().contains("uno") && !screen.contents().contains("name: ")
    });
    view.type_(b"\x1b");
    view.wait_screen("no filter", SOON, |screen| !screen.contents().contains("/one"));
    view.type_(b"/uno\tt");
    view.wait_text("tags: ", SOON);
    view.type_(b"gpu team=ml\r");
    until("the tags", SOON, || {
        named("uno").filter(|info| info["tags"]["team"] == "ml" && info["tags"]["gpu"] == "")
    });
    let job = named("uno").unwrap()["job_id"].clone();
    view.type_(b"R");
    view.wait_text("End the job of uno", SOON);
    view.type_(b"y");
    until("another job", SOON, || {
        named("uno").filter(|info| info["job_id"] != job && info["state"] == "running")
    });
    view.type_(b"d1");
    view.wait_text("End uno on local", SOON);
    view.type_(b"\r");
    until("its end", SOON, || named("uno").is_none().then_some(()));
    view.wait_screen("nothing that fits", SOON, |screen| screen.contents().contains("nothing fits"));
    view.type_(b"\x1b");
    view.wait_screen("no filter", SOON, |screen| !screen.contents().contains("/uno"));
    view.type_(b"nnew\r");
    view.wait_screen("a shell's prompt", SOON, |screen| screen.contents().trim_end().ends_with(['#', '$']));
    view.type_(b"\x1c");
    view.wait_text("2 sessions", SOON);
    view.type_(b"x");
    view.wait_text("End all 2 sessions", SOON);
    view.type_(b"y");
    until("the end of all", SOON, || world.list().is_empty().then_some(()));
    leave(view);
}

#[test]
fn the_managers_death_is_over_before_one_looks() {
    let world = world();
    let view = world.view(&[]);
    view.wait_text("2 sessions", SOON);
    let pid = world.kill_manager();
    view.wait_text("the manager is gone", SOON);
    until("another manager", LATER, || world.managers().into_iter().find(|other| *other != pid));
    view.wait_screen("what it said to go", LATER, |screen| {
        let text = screen.contents();
        !text.contains("the manager is gone") && text.contains("2 sessions") && !text.contains("disconnected")
    });
    world.ok(&["tag", "one", "--name", "uno"]);
    view.wait_text("uno", SOON);
    // One that was stopped on purpose is not begun for nothing.
    world.ok(&["daemon", "stop"]);
    view.wait_text("the manager was stopped", SOON);
    std::thread::sleep(Duration::from_millis(900));
    assert_eq!(world.managers(), Vec::<i32>::new());
    leave(view);
}

#[test]
fn of_a_host_that_goes_away_the_sessions_stay_and_nothing_waits_for_it() {
    let mut world = world();
    let mut host = Sshd::start_in(&world, "h1");
    SshConfig::new(&mut world).host("box", &host);
    world.create_on("box", "far", &job("far"));
    let view = world.view_sized(&[], 100, 30);
    view.wait_text("3 sessions on 2 hosts", SOON);
    view.type_(b"/far");
    let has_screen =
        |screen: &vt100::Screen| screen.contents().lines().any(|line| line.trim() == "this is far");
    view.wait_screen("its screen", SOON, has_screen);
    host.stop();
    view.wait_screen("the host to be away", LATER, |screen| {
        let text = screen.contents();
        text.contains("out of reach: ") && text.contains("known as of") && text.contains("far")
    });
    // What was known of it, and what is asked of others meanwhile.
    assert!(view.screen(has_screen), "{}", view.describe());
    view.type_(b"\x1b");
    view.wait_screen("no filter", SOON, |screen| !screen.contents().contains("/far"));
    view.type_(b"/one\tr\x15uno\r");
    until("the name of another", SOON, || world.info("uno"));
    host.start();
    view.type_(b"\x1b");
    view.wait_screen("the host to be back", LATER, |screen| {
        screen.contents().contains("far")
            && !screen.contents().contains("out of reach")
            && !screen.contents().contains("connecting")
    });
    leave(view);
}

/// The user's own screen and keyboard flags, before the picker comes.
const USERS: &str = r"i=1; while [ $i -le 30 ]; do echo mine $i; i=$((i+1)); done; printf '\033[>5u\033[31m'";

fn model(bytes: &[u8]) -> Terminal {
    let mut terminal = Terminal::new(Size { cols: 80, rows: 24 }, 1_000);
    terminal.feed(bytes);
    terminal
}

#[test]
fn the_terminal_is_given_back_as_it_was() {
    let world = world();
    let mut fresh = View::spawn(world.program("true"), 80, 24);
    fresh.wait_exit(SOON);
    let settings = format!("{:?}", fresh.termios());
    type Act = fn(&View);
    let endings: [(&str, Act, i32); 4] = [
        ("q", |view| view.type_(b"q"), 0),
        ("SIGTERM", |view| view.signal(Signal::TERM), 143),
        (
            "SIGHUP in a dialog",
            |view| {
                view.type_(b"n");
                view.wait_text("a new session", SOON);
                view.signal(Signal::HUP);
            },
            129,
        ),
        (
            "a session that was opened and left",
            |view| {
                view.type_(b"1");
                view.wait_screen("the session", SOON, |screen| {
                    !screen.alternate_screen() && screen.contents().contains("this is")
                });
                view.type_(b"\x1c");
                view.wait_text("detached from", SOON);
                view.type_(b"q");
            },
            0,
        ),
    ];
    for (ending, act, code) in endings {
        let mut command = world.program("sh");
        command.args(["-c", &format!("{USERS}; exec {} pick", sessd_binary().display())]);
        let mut view = View::spawn(command, 80, 24).with_log(world.log());
        view.wait_screen("the picker", SOON, |screen| {
            screen.alternate_screen() && screen.contents().contains("2 sessions")
        });
        act(&view);
        assert_eq!(view.wait_exit(SOON), code, "after {ending}: {}", view.describe());
        assert_eq!(format!("{:?}", view.termios()), settings, "after {ending}: the settings of the line");
        let raw = view.raw();
        let users = procs::find(&raw, b"\x1b[31m").expect("the user's output") + b"\x1b[31m".len();
        let state = |terminal: &Terminal| -> Vec<String> {
            let first = |line: &str| line.split(' ').next().unwrap_or_default().to_owned();
            let dump = terminal.dump();
            let wanted =
                |line: &&str| matches!(first(line).as_str(), "alternate" | "modes" | "tabs" | "shape");
            dump.lines()
                .filter(wanted)
                .map(|line| line.split(" last ").next().unwrap_or_default().to_owned())
                .collect()
        };
        assert_eq!(state(&model(&raw)), state(&model(&raw[..users])), "after {ending}");
        view.screen(|screen| {
            assert!(
                !screen.alternate_screen() && !screen.hide_cursor() && !screen.bracketed_paste(),
                "after {ending}"
            );
            assert_eq!(screen.mouse_protocol_mode(), vt100::MouseProtocolMode::None, "after {ending}");
        });
        let history = view.history();
        for n in 1..=30 {
            let line = format!("mine {n}");
            assert_eq!(
                history.iter().filter(|row| row.trim_end() == line).count(),
                1,
                "after {ending}: `{line}`"
            );
        }
    }
}

#[test]
fn without_a_terminal_that_has_places_it_says_what_to_use_instead() {
    let mut world = world();
    for args in [&[][..], &["pick"]] {
        let line = world.fails(args, 1);
        assert!(line.contains("sessd list") && line.contains("sessd attach"), "{line}");
    }
    world.set_env("TERM", "dumb");
    for args in [&[][..], &["pick"]] {
        let mut view = world.view(args);
        assert_eq!(view.wait_exit(SOON), 1);
        let text = view.screen_text();
        assert!(text.contains("TERM is `dumb`") && text.contains("sessd list"), "{text}");
        assert!(!view.raw().contains(&0x1b), "{}", view.describe());
    }
    world.set_env("TERM", "xterm");
    world.set_env("NO_COLOR", "1");
    let view = world.view(&[]);
    view.wait_screen("the picker with the screen of a session", SOON, |screen| {
        screen.contents().contains("this is ")
    });
    let raw = view.raw();
    let sgr = raw.split(|b| *b == 0x1b).filter_map(|s| s.strip_prefix(b"[")).filter_map(|s| {
        let end = s.iter().position(|b| (0x40..0x7f).contains(b))?;
        (s[end] == b'm').then(|| String::from_utf8_lossy(&s[..end]).into_owned())
    });
    for one in sgr {
        let colours = one.split(';').any(|n| {
            n.parse().is_ok_and(|n: u32| (30..=38).contains(&n) || (40..=48).contains(&n) || n >= 90)
        });
        assert!(!colours, "{one}");
    }
    leave(view);
}
