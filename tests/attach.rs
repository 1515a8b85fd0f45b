//! Views: what they show, what they type, how they leave, and what they leave behind.

use std::fs;
use std::process::Command;

use rustix::process::Signal;
use sessd_tests::view::contains;
use sessd_tests::{Numbers, SOON, View, World, check_numbers, numbers_in, procs, until};

const DETACH: &[u8] = b"\x1c";

/// Answers every line that is typed, without the terminal's own echo.
const ANSWER: &str = "stty -echo; echo ready; while read -r line; do echo \"got <$line>\"; done";

fn settings(view: &View) -> String {
    format!("{:?}", view.termios())
}

/// What a terminal of this kind has before anything changes it.
fn fresh_settings(world: &World) -> String {
    let mut fresh = View::spawn(world.program("true"), 80, 24);
    fresh.wait_exit(SOON);
    settings(&fresh)
}

/// The number of views the session says it has.
fn views(world: &World, session: &str) -> usize {
    world.info(session).expect("known")["views"].as_array().expect("an array").len()
}

#[test]
fn a_closed_window_leaves_the_job_running() {
    let world = World::new();
    let numbers = Numbers::new(world.root());
    world.create("dev", &numbers.script());
    let pid = numbers.pid();
    let view = world.attach("dev");
    numbers.emit(10);
    view.wait_text(&numbers.last_line(), SOON);
    view.close();
    world.wait_views("dev", 0);
    assert!(procs::alive(pid));
    numbers.emit(10);
    let view = world.attach("dev");
    view.wait_text(&numbers.last_line(), SOON);
    assert_eq!(numbers.pid(), pid);
    world.wait_state("dev", "running", SOON);
}

#[test]
fn a_killed_view_leaves_the_job_running() {
    let world = World::new();
    world.create("dev", ANSWER);
    let mut view = world.attach("dev");
    view.wait_text("ready", SOON);
    view.kill();
    world.wait_views("dev", 0);
    let view = world.attach("dev");
    view.wait_text("ready", SOON);
    view.type_("still here\r");
    view.wait_text("got <still here>", SOON);
}

#[test]
fn two_views_see_and_type_the_same() {
    let world = World::new();
    world.create("dev", ANSWER);
    let one = world.attach("dev");
    let two = world.attach("dev");
    one.wait_text("ready", SOON);
    two.wait_text("ready", SOON);
    one.type_("from one\r");
    for view in [&one, &two] {
        view.wait_text("got <from one>", SOON);
    }
    two.type_("from two\r");
    for view in [&one, &two] {
        view.wait_text("got <from two>", SOON);
    }
    assert_eq!(one.screen_text(), two.screen_text());
    let info = world.info("dev").expect("known");
    let shown = info["views"].as_array().expect("an array");
    assert_eq!(shown.len(), 2);
    for view in shown {
        assert_eq!(view["kind"], "cli");
        assert_eq!(view["read_only"], false);
        assert!(
            view["id"].is_string() && view["attached_at"].as_str().is_some_and(|at| at.ends_with('Z')),
            "{view}"
        );
    }
    assert_ne!(shown[0]["id"], shown[1]["id"]);
}

#[test]
fn every_view_gets_every_line_once_and_in_order() {
    let world = World::new();
    let numbers = Numbers::new(world.root());
    world.create("dev", &numbers.script());
    let one = world.attach("dev");
    let two = world.attach("dev");
    world.wait_views("dev", 2);
    for _ in 0..20 {
        numbers.emit(100);
        for view in [&one, &two] {
            view.wait_text(&numbers.last_line(), SOON);
        }
    }
    for view in [&one, &two] {
        check_numbers(&numbers_in(&view.raw()), numbers.asked()).unwrap_or_else(|wrong| panic!("{wrong}"));
    }
}

#[test]
fn the_detach_key_leaves_and_puts_the_terminal_back() {
    let world = World::new();
    // The job asks for much: the other screen, mouse, bracketed paste, application keys, no cursor.
    world.create("dev", r"stty -echo; printf '\033[?1049h\033[?1000h\033[?1006h\033[?2004h\033[?1h\033=\033[?25lready'; exec cat");
    let mut view = world.attach("dev");
    let before = fresh_settings(&world);
    view.wait_screen("the job's modes", SOON, |screen| {
        screen.contents().contains("ready") && screen.alternate_screen() && screen.bracketed_paste()
    });
    assert_ne!(settings(&view), before, "raw while attached");
    view.type_(DETACH);
    assert_eq!(view.wait_exit(SOON), 0);
    assert_eq!(settings(&view), before);
    view.screen(|screen| {
        assert!(!screen.alternate_screen(), "the first screen is back");
        assert!(!screen.bracketed_paste(), "bracketed paste is off");
        assert!(!screen.application_cursor(), "cursor keys are normal");
        assert!(!screen.application_keypad(), "the keypad is normal");
        assert!(!screen.hide_cursor(), "the cursor is shown");
        assert_eq!(screen.mouse_protocol_mode(), vt100::MouseProtocolMode::None, "the mouse is off");
    });
    world.wait_views("dev", 0);
    world.wait_state("dev", "running", SOON);
}

#[test]
fn the_detach_key_is_known_in_every_encoding() {
    let world = World::new();
    world.create("dev", ANSWER);
    for key in [&b"\x1c"[..], b"\x1b[92;5u", b"\x1b[27;5;92~"] {
        let mut view = world.attach("dev");
        view.wait_text("ready", SOON);
        view.type_(key);
        assert_eq!(view.wait_exit(SOON), 0, "{}", key.escape_ascii());
    }
    world.wait_state("dev", "running", SOON);
}

#[test]
fn the_detach_key_twice_reaches_the_job_once() {
    let world = World::new();
    world.create("dev", "stty raw -echo; printf ready; head -c 2 | od -An -tx1; exec cat");
    let mut view = world.attach("dev");
    view.wait_text("ready", SOON);
    view.type_(b"\x1c\x1c");
    view.type_(b"x");
    view.wait_text("1c 78", SOON);
    assert_eq!(view.exited(), None);
}

#[test]
fn the_detach_key_can_be_off() {
    let world = World::new();
    world.create("dev", "stty raw -echo; printf ready; head -c 2 | od -An -tx1; exec cat");
    let mut view = world.view(&["attach", "dev", "--no-detach-key"]);
    view.wait_text("ready", SOON);
    view.type_(b"\x1cx");
    view.wait_text("1c 78", SOON);
    assert_eq!(view.exited(), None);
}

#[test]
fn exit_7_ends_attach_with_7_and_is_recorded() {
    let world = World::new();
    world.create("dev", "echo ready; read -r x; exit 7");
    let before = fresh_settings(&world);
    let mut one = world.attach("dev");
    let mut two = world.attach("dev");
    one.wait_text("ready", SOON);
    two.wait_text("ready", SOON);
    one.type_("\r");
    assert_eq!(one.wait_exit(SOON), 7);
    assert_eq!(two.wait_exit(SOON), 7);
    assert_eq!(settings(&one), before);
    let info = world.wait_state("dev", "done", SOON);
    assert_eq!(info["end"]["reason"], "exited", "{info:#}");
    assert_eq!(info["end"]["code"], 7, "{info:#}");
    assert_eq!(info["views"], serde_json::json!([]));
}

#[test]
fn the_last_output_of_a_job_is_seen() {
    let world = World::new();
    world.create(
        "dev",
        "echo ready; read -r x; for i in 1 2 3 4 5 6 7 8 9; do echo \"last $i\"; done; printf 'the end'",
    );
    let mut view = world.attach("dev");
    view.wait_text("ready", SOON);
    view.type_("\r");
    assert_eq!(view.wait_exit(SOON), 0);
    let raw = view.raw();
    for word in ["last 1", "last 9", "the end"] {
        assert!(contains(&raw, word.as_bytes()), "{word}: {}", view.describe());
    }
}

#[test]
fn a_killed_job_ends_attach_with_128_and_the_signal() {
    let world = World::new();
    let numbers = Numbers::new(world.root());
    world.create("dev", &numbers.script());
    let pid = numbers.pid();
    let mut view = world.attach("dev");
    world.wait_views("dev", 1);
    procs::signal(pid, Signal::KILL);
    assert_eq!(view.wait_exit(SOON), 137);
    let info = world.wait_state("dev", "done", SOON);
    assert_eq!(info["end"]["reason"], "signaled", "{info:#}");
    assert_eq!(info["end"]["signal"], 9, "{info:#}");
}

#[test]
fn a_read_only_view_sees_but_cannot_type() {
    let world = World::new();
    world.create("dev", ANSWER);
    let mut watcher = world.view(&["attach", "dev", "--read-only"]);
    let writer = world.attach("dev");
    watcher.wait_text("ready", SOON);
    writer.wait_text("ready", SOON);
    let info = world.info("dev").expect("known");
    let read_only =
        info["views"].as_array().expect("an array").iter().filter(|view| view["read_only"] == true).count();
    assert_eq!(read_only, 1, "{info:#}");
    watcher.type_("from the watcher\r");
    writer.type_("from the writer\r");
    watcher.wait_text("got <from the writer>", SOON);
    // Typed in this order: had the watcher's line been taken, a third answer would come before this one.
    writer.type_("once more\r");
    watcher.wait_text("got <once more>", SOON);
    assert!(!contains(&writer.raw(), b"from the watcher"), "{}", writer.describe());
    watcher.type_(DETACH);
    assert_eq!(watcher.wait_exit(SOON), 0);
}

#[test]
fn detach_sends_every_view_away_and_the_job_runs_on() {
    let world = World::new();
    world.create("dev", ANSWER);
    let mut both = [world.attach("dev"), world.attach("dev")];
    for view in &both {
        view.wait_text("ready", SOON);
    }
    world.ok(&["detach", "dev"]);
    for view in &mut both {
        assert_eq!(view.wait_exit(SOON), 0);
    }
    world.wait_views("dev", 0);
    world.wait_state("dev", "running", SOON);
}

#[test]
fn detach_can_send_one_view_away() {
    let world = World::new();
    world.create("dev", ANSWER);
    let mut one = world.attach("dev");
    one.wait_text("ready", SOON);
    world.wait_views("dev", 1);
    let id = world.info("dev").expect("known")["views"][0]["id"].as_str().expect("an id").to_owned();
    let mut two = world.attach("dev");
    two.wait_text("ready", SOON);
    world.wait_views("dev", 2);
    world.ok(&["detach", "dev", "--view", &id]);
    assert_eq!(one.wait_exit(SOON), 0);
    two.type_("alone\r");
    two.wait_text("got <alone>", SOON);
    assert_eq!(two.exited(), None);
}

#[test]
fn attach_takes_the_session_over() {
    let world = World::new();
    world.create("dev", ANSWER);
    let mut one = world.attach("dev");
    one.wait_text("ready", SOON);
    let two = world.view(&["attach", "dev", "--take"]);
    assert_eq!(one.wait_exit(SOON), 0);
    two.wait_text("ready", SOON);
    two.type_("mine\r");
    two.wait_text("got <mine>", SOON);
    world.wait_views("dev", 1);
}

#[test]
fn attach_creates_when_asked_to() {
    let world = World::new();
    let mut view = world.view(&["attach", "dev", "--create"]);
    until("the session to be there", SOON, || world.info("dev"));
    world.wait_views("dev", 1);
    view.type_("echo mark-$((40 + 2))\r");
    view.wait_text("mark-42", SOON);
    let id = world.wait_state("dev", "running", SOON)["id"].clone();
    let mut second = world.view(&["attach", "dev", "--create"]);
    second.wait_text("mark-42", SOON);
    second.type_("exit 5\r");
    assert_eq!(second.wait_exit(SOON), 5);
    assert_eq!(view.wait_exit(SOON), 5);
    assert_eq!(world.wait_state("dev", "done", SOON)["id"], id);
}

#[test]
fn create_can_attach_at_once() {
    let world = World::new();
    let mut view =
        world.view_sized(&["create", "--name", "dev", "--attach", "--", "sh", "-c", ANSWER], 97, 31);
    view.wait_text("ready", SOON);
    view.type_("hello\r");
    view.wait_text("got <hello>", SOON);
    let info = world.info("dev").expect("known");
    assert_eq!(info["size"], serde_json::json!({"cols": 97, "rows": 31}));
    view.type_(DETACH);
    assert_eq!(view.wait_exit(SOON), 0);
}

#[test]
fn attach_never_creates_unasked() {
    let world = World::new();
    let mut view = world.attach("nobody");
    assert_eq!(view.wait_exit(SOON), 3);
    assert!(view.screen_text().contains("sessd: "), "{}", view.describe());
    assert_eq!(world.list().len(), 0);
}

#[test]
fn attach_without_a_name_takes_the_only_one_that_runs() {
    let world = World::new();
    world.create("over", "exit 0");
    world.wait_state("over", "done", SOON);
    world.create("dev", ANSWER);
    let mut view = world.view(&["attach"]);
    view.wait_text("ready", SOON);
    view.type_("found\r");
    view.wait_text("got <found>", SOON);
    view.type_(DETACH);
    assert_eq!(view.wait_exit(SOON), 0);
}

#[test]
fn signals_put_the_terminal_back() {
    let world = World::new();
    world.create("dev", r"stty -echo; printf '\033[?1049h\033[?2004hready'; exec cat");
    let before = fresh_settings(&world);
    // Whatever can be heard of, and not only what people send.
    for signal in [
        Signal::TERM,
        Signal::INT,
        Signal::HUP,
        Signal::QUIT,
        Signal::USR1,
        Signal::ALARM,
        Signal::XCPU,
        Signal::ABORT,
        Signal::POWER,
    ] {
        let mut view = world.attach("dev");
        view.wait_text("ready", SOON);
        view.signal(signal);
        assert_eq!(view.wait_exit(SOON), 128 + signal.as_raw(), "{signal:?}");
        assert_eq!(settings(&view), before, "{signal:?}");
        assert!(view.screen(|screen| !screen.alternate_screen() && !screen.bracketed_paste()), "{signal:?}");
        world.wait_views("dev", 0);
    }
    world.wait_state("dev", "running", SOON);
}

/// As with any program that draws: the shell has its terminal while the view is stopped.
#[test]
fn a_view_that_is_stopped_gives_the_terminal_to_the_shell_until_it_goes_on() {
    let world = World::new();
    world.create("dev", r"stty -echo; printf '\033[?1049h\033[?2004hready'; exec cat");
    let mut shell = world.program("sh");
    shell.args(["-im"]).env("PS1", "shell> ");
    let view = View::spawn(shell, 80, 24);
    view.wait_text("shell> ", SOON);
    view.type_(format!("{} attach dev\r", sessd_tests::world::sessd_binary().display()));
    view.wait_text("ready", SOON);
    let pid = until("the view's process", SOON, || {
        world.info("dev")?["views"][0]["id"].as_str()?;
        procs::family(view.pid()).into_iter().find(|pid| *pid != view.pid())
    });
    procs::signal(pid, Signal::TSTP);
    view.wait_text("Stopped", SOON);
    assert!(view.screen(|screen| !screen.alternate_screen() && !screen.bracketed_paste()));
    view.type_("echo by=the=shell | tr = ' '\r");
    view.wait_text("by the shell", SOON);
    view.type_("fg\r");
    view.wait_screen("the session again", SOON, |screen| {
        screen.alternate_screen() && screen.bracketed_paste() && screen.contents().contains("ready")
    });
    view.type_("typed\r");
    view.wait_text("typed", SOON);
    view.type_(DETACH);
    view.wait_text("[detached from dev]", SOON);
}

#[test]
fn a_megabyte_of_paste_arrives_whole() {
    let world = World::new();
    const SIZE: usize = 1_000_000;
    let paste: Vec<u8> = (0..SIZE).map(|n| b"abcdefghijklmnopqrstuvwxyz 0123456789\r"[n * 7 % 38]).collect();
    let file = world.root().join("paste");
    fs::write(&file, &paste).expect("a file");
    let sum = Command::new("sha256sum").arg(&file).output().expect("sha256sum");
    let sum = String::from_utf8_lossy(&sum.stdout)[..64].to_owned();
    world.create("dev", &format!("stty raw -echo; printf ready; head -c {SIZE} | sha256sum; exec cat"));
    let view = world.attach("dev");
    view.wait_text("ready", SOON);
    view.type_(&paste);
    view.wait_text(&sum, SOON * 2);
}

/// A later view shows what the view that never left shows: text, colours, attributes, cursor, both screens.
fn same_screen(name: &str, script: &str) {
    let world = World::new();
    world.create(name, &format!("stty -echo; read -r go; {script}; printf '\\033]2;done\\007'; exec cat"));
    let first = world.attach(name);
    world.wait_views(name, 1);
    first.type_("\r");
    first.wait_raw("the title that ends the drawing", SOON, |raw| contains(raw, b"\x1b]2;done"));
    let want = first.screen(vt100::Screen::contents_formatted);
    let cursor = first.screen(vt100::Screen::cursor_position);
    let later = world.attach(name);
    later.wait_screen(&format!("the screen of the first view:\n{}", first.screen_text()), SOON, |screen| {
        screen.contents_formatted() == want
            && screen.cursor_position() == cursor
            && screen.alternate_screen() == first.screen(vt100::Screen::alternate_screen)
            && screen.input_mode_formatted() == first.screen(vt100::Screen::input_mode_formatted)
    });
}

#[test]
fn a_later_view_shows_the_same_text_and_colours() {
    same_screen(
        "dev",
        r"printf 'plain \033[1;31mbold red\033[0m \033[48;5;22mgreen ground\033[0m \033[38;2;1;2;3mrgb\033[0m \033[4;7mlined\033[0m\r\n'; printf 'wide: \344\275\240\345\245\275 e\314\201\r\n\033[10;20Hhere\033[3;5H'",
    );
}

#[test]
fn a_later_view_shows_the_same_other_screen_and_modes() {
    same_screen(
        "dev",
        r"echo on the first screen; printf '\033[?1049h\033[2J\033[H\033[?2004h\033[?1h\033[?1002h\033[?1006h\033[?25l\033[5;5Hon the other'",
    );
}

#[test]
fn a_later_view_shows_the_same_after_much_output() {
    same_screen(
        "dev",
        r"i=0; while [ $i -lt 3000 ]; do printf '\033[3%dmline %d\033[0m\r\n' $((i % 8)) $i; i=$((i+1)); done",
    );
}

/// No manager can be started while its settings cannot be read.
#[test]
fn without_a_manager_a_view_says_so_keeps_what_is_typed_and_can_be_left() {
    let world = World::new();
    world.create("dev", ANSWER);
    let stays = world.attach("dev");
    let mut leaves = world.attach("dev");
    let before = fresh_settings(&world);
    for view in [&stays, &leaves] {
        view.wait_text("ready", SOON);
    }
    let settings_before = fs::read(world.config()).unwrap_or_default();
    fs::write(world.config(), "this is = = no setting\n").expect("a broken configuration");
    world.kill_manager();
    for view in [&stays, &leaves] {
        view.wait_text("no manager: ", SOON);
    }
    leaves.type_(DETACH);
    assert_eq!(leaves.wait_exit(SOON), 0, "{}", leaves.describe());
    assert_eq!(settings(&leaves), before);
    stays.type_("still here\r");
    stays.wait_text("11 keys held", SOON);
    fs::write(world.config(), settings_before).expect("the configuration as it was");
    stays.wait_text("got <still here>", SOON);
    stays.wait_screen("no line of ours", SOON, |screen| !screen.contents().contains("no manager"));
}

#[test]
fn deleting_a_session_ends_its_views_cleanly() {
    let world = World::new();
    world.create("dev", ANSWER);
    let before = fresh_settings(&world);
    let mut view = world.attach("dev");
    view.wait_text("ready", SOON);
    world.ok(&["delete", "dev", "--force"]);
    view.wait_exit(SOON);
    assert_eq!(settings(&view), before);
}

#[test]
fn a_view_that_does_not_read_stops_nobody() {
    let world = World::new();
    let numbers = Numbers::new(world.root());
    world.create("dev", &numbers.script());
    let pid = numbers.pid();
    let stopped = world.attach("dev");
    let good = world.attach("dev");
    world.wait_views("dev", 2);
    stopped.signal(Signal::STOP);
    // Far more than all buffers between a job and a view hold.
    for _ in 0..20 {
        numbers.emit(10_000);
        good.wait_text(&numbers.last_line(), SOON * 2);
    }
    assert!(procs::alive(pid));
    stopped.signal(Signal::CONT);
    stopped.wait_text(&numbers.last_line(), SOON * 2);
    assert_eq!(views(&world, "dev"), 2);
}

#[test]
fn a_manager_that_is_stopped_is_said_with_its_process_and_the_view_can_be_left() {
    let world = World::new();
    world.create("dev", ANSWER);
    let view = world.attach("dev");
    let mut leaves = world.attach("dev");
    for view in [&view, &leaves] {
        view.wait_text("ready", SOON);
    }
    let pid = world.managers()[0];
    procs::signal(pid, Signal::STOP);
    view.type_("held\r");
    view.wait_text(&format!("the manager (pid {pid}) does not answer for"), SOON);
    view.wait_text("5 keys held", SOON);
    leaves.wait_text("does not answer", SOON);
    leaves.type_(DETACH);
    assert_eq!(leaves.wait_exit(SOON), 0, "{}", leaves.describe());
    procs::signal(pid, Signal::CONT);
    view.wait_text("got <held>", SOON);
    view.wait_screen("no line of ours", SOON, |screen| !screen.contents().contains("does not answer"));
}

#[test]
fn a_view_that_is_sent_away_says_by_what() {
    let world = World::new();
    world.create("dev", ANSWER);
    let sent_away = |act: &dyn Fn(), why: &str| {
        let mut view = world.attach("dev");
        view.wait_text("ready", SOON);
        act();
        assert_eq!(view.wait_exit(SOON), 0);
        view.wait_text(&format!("[detached from dev: {why}"), SOON);
    };
    sent_away(&|| drop(world.ok(&["detach", "dev"])), "sent away by `sessd detach`]");
    sent_away(
        &|| {
            let other = world.view(&["attach", "dev", "--take"]);
            other.wait_text("ready", SOON);
        },
        "taken by another view (cli on pts/",
    );
    sent_away(&|| drop(world.ok(&["daemon", "stop"])), "the manager was stopped; dev runs on]");
}
