//! Streams without a gap and screens as if one had never left: over dead managers and agents, other sizes, and more output
//! than anybody keeps.

use std::time::Duration;

use rustix::process::Signal;
use sessd_terminal::{Size, Terminal};
use sessd_tests::{Faults, Numbers, SOON, View, World, check_numbers, numbers_in, procs, until, until_or};

/// The state of a terminal of 80 by 24 that was told `raw`, but for its scrollback, which depends on when it came.
fn state(raw: &[u8]) -> String {
    let mut terminal = Terminal::new(Size { cols: 80, rows: 24 }, 10_000);
    terminal.feed(raw);
    // What was passed on may end within a sequence, which the view keeps to itself until the end is there.
    let keep = |line: &&str| !line.starts_with("scrollback") && !line.starts_with("parser");
    terminal.dump().lines().filter(keep).map(|line| format!("{line}\n")).collect()
}

fn first_difference(one: &str, two: &str) -> String {
    let differ = one.lines().zip(two.lines()).find(|(a, b)| a != b);
    format!("{differ:#?}")
}

/// A view that comes now has the screen of one that never left.
fn check_reattach(world: &World, stayed: &View, after: &str) {
    let came = world.attach("dev");
    until_or(
        &format!("the same screen after {after}"),
        SOON,
        || (came.raw_len() > 0 && state(&came.raw()) == state(&stayed.raw())).then_some(()),
        || {
            format!(
                "{}\n{}\n{}",
                first_difference(&state(&stayed.raw()), &state(&came.raw())),
                stayed.describe(),
                came.describe()
            )
        },
    );
    came.close();
    world.wait_views("dev", 1);
}

/// Goes through everything that may happen to the path, typing a key after each.
fn screens_stay_the_same(script: &str, ready: &str, keys: &[&str]) {
    let world = World::new();
    world.create("dev", script);
    let view = world.attach("dev");
    view.wait_text(ready, SOON);
    check_reattach(&world, &view, "the start");
    for (n, key) in keys.iter().enumerate() {
        let before = view.raw_len();
        match n % 3 {
            0 => {}
            1 => {
                world.kill_manager();
                world.wait_views("dev", 1);
            }
            _ => {
                for pid in world.agents(&world.home(), "serve") {
                    procs::signal(pid, Signal::KILL);
                    procs::wait_gone(pid, SOON);
                }
            }
        }
        view.type_(key);
        view.wait_raw("what the key brings", SOON, |raw| raw.len() > before);
        check_reattach(&world, &view, &format!("key {n}, {key:?}"));
    }
}

fn text(world: &World) -> String {
    let path = world.root().join("text");
    let lines: String = (0..300).map(|n| format!("line {n:03}: Grüße, 漢字, e\u{301} and\ttabs\n")).collect();
    std::fs::write(&path, lines).expect("a file");
    path.display().to_string()
}

#[test]
fn vim_looks_as_if_one_had_never_left() {
    let world = World::new();
    let vim = format!(
        "exec env TERM=xterm-256color LANG=C.UTF-8 vim -u NONE -N -i NONE --cmd 'set nottimeout t_RV= t_u7= t_RF= t_RB=' {}",
        text(&world)
    );
    screens_stay_the_same(
        &vim,
        "line 000",
        &[
            ":set number hlsearch\r",
            "/line 02\r",
            "yyp",
            ":split\r",
            "Vjj",
            "\x1b:syntax on\r",
            "GOnew Grüße\x1b",
        ],
    );
}

#[test]
fn less_looks_as_if_one_had_never_left() {
    let world = World::new();
    let less = format!("exec env TERM=xterm-256color LANG=C.UTF-8 LESSHISTFILE=- less -R {}", text(&world));
    screens_stay_the_same(&less, "line 000", &[" ", "/250\r", "g", "G", "k", "?Gr\r"]);
}

#[test]
fn htop_looks_as_if_one_had_never_left() {
    // It draws anew only when a key is pressed.
    let htop = "exec env TERM=xterm-256color LANG=C.UTF-8 HOME=$HOME htop -d 1000";
    screens_stay_the_same(htop, "F10", &["\x1b[B", "\x1bOS", "\x1b", "\x1bOQ"]);
}

#[test]
fn region_charsets_and_modes_are_as_if_one_had_never_left() {
    let script = r"stty raw -echo; printf '\033]2;title\007\033[22;2t\033]2;other\007\033[1;32mshell\033[m\r\n';
        printf '\033[?1049h\033[?1000h\033[?1006h\033[?2004h\033[?1004h\033[?1h\033=\033[>1u\033[4 q\033[3g\033[1;9H\033H';
        printf '\033]4;1;rgb:11/22/33\007\033]11;#001122\007\033[3;10r\033[?6h\033)0\016lqqk\017ready\033[31;44m\0337';
        while c=$(dd bs=1 count=1 2>/dev/null); do case $c in
            a) printf '\033[8;1Hbottom\r\nscrolls\r\nthe region';; b) printf '\016xqx\017\033[4:3mcurly\033[m';;
            c) printf '\033[?6l\033[r\033[?7l\033[24;78Hno wrap here';; d) printf '\033[23;2t\033[?1049l\r\nback \0338here';;
            e) printf '\033[?7h\033[5;80Hpending';; *) printf '\033[?69h\033[5;40s\033[3;5Hx\r\n\ny\033[4hins';;
        esac; done";
    screens_stay_the_same(script, "ready", &["a", "b", "c", "e", "f", "a", "d", "e", "a"]);
}

#[test]
fn a_storm_of_sizes_leaves_the_same_screen() {
    let world = World::new();
    let text = text(&world);
    world.create("dev", &format!("exec env TERM=xterm-256color LANG=C.UTF-8 LESSHISTFILE=- less -R {text}"));
    let view = world.attach("dev");
    view.wait_text("line 000", SOON);
    let mut faults = Faults::new(1, 0);
    for _ in 0..3 {
        for _ in 0..200 {
            let side = |n: u64| u16::try_from(n).expect("small");
            view.resize(side(1 + faults.next(200)), side(1 + faults.next(80)));
        }
        view.resize(80, 24);
        world.wait_session("dev", "the last size", SOON, |info| {
            info["size"] == serde_json::json!({"cols": 80, "rows": 24})
        });
        view.type_("g");
        let came = world.attach("dev");
        until_or(
            &format!("the same screen (seed {})", faults.seed()),
            SOON,
            || {
                let one = view.screen(|screen| (screen.contents_formatted(), screen.input_mode_formatted()));
                let two = came.screen(|screen| (screen.contents_formatted(), screen.input_mode_formatted()));
                (one == two && view.screen_text().contains("line 022")).then_some(())
            },
            || format!("{}\n{}", view.describe(), came.describe()),
        );
        came.close();
        world.wait_views("dev", 1);
    }
}

#[test]
fn ten_thousand_sizes_and_the_session_goes_on() {
    let world = World::new();
    world.create("dev", "stty -echo; echo ready; while :; do read -r line && echo \"got <$line>\"; done");
    let view = world.attach("dev");
    view.wait_text("ready", SOON);
    let mut faults = Faults::new(1, 0);
    let side = |n: u64| u16::try_from(n).expect("small");
    for n in 0..10_000 {
        match n % 1000 {
            0 => view.resize(1, 1),
            1 => view.resize(1000, 1000),
            // The emulator that the test looks through is slow at large sizes.
            _ => view.resize(side(1 + faults.next(60)), side(1 + faults.next(30))),
        }
    }
    view.resize(80, 24);
    world.wait_session("dev", "the last size", SOON, |info| {
        info["size"] == serde_json::json!({"cols": 80, "rows": 24})
    });
    view.type_("still here\r");
    view.wait_text("got <still here>", SOON);
    world.wait_state("dev", "running", SOON);
}

#[test]
fn fifty_thousand_lines_are_in_every_view_once_up_to_the_limit() {
    const LINES: usize = 50_000;
    let world = World::new();
    let numbers = Numbers::new(world.root());
    world.create("dev", &numbers.script());
    let stayed = world.attach("dev");
    world.wait_views("dev", 1);
    for (round, cols) in [100, 40, 80, 132, 61].into_iter().enumerate() {
        while numbers.asked() < (round + 1) * LINES / 5 {
            numbers.emit(2_000);
            stayed.wait_text(&numbers.last_line(), SOON);
        }
        let came = world.view_sized(&["attach", "dev", "--read-only"], cols, 24);
        came.wait_text(&numbers.last_line(), SOON);
        let found = numbers_in(came.history().join("\n").as_bytes());
        let first = numbers.asked() - found.len().min(numbers.asked());
        let shifted: Vec<_> = found.iter().map(|n| n.wrapping_sub(first)).collect();
        check_numbers(&shifted, found.len()).unwrap_or_else(|wrong| panic!("{cols} columns: {wrong}"));
        assert!(found.len() >= numbers.asked().min(10_000), "{cols} columns: {} lines", found.len());
        came.close();
        world.wait_views("dev", 1);
    }
    check_numbers(&numbers_in(stayed.history().join("\n").as_bytes()), LINES)
        .unwrap_or_else(|wrong| panic!("{wrong}"));
}

#[test]
fn every_line_once_while_agents_and_managers_die() {
    let world = World::new();
    let numbers = Numbers::new(world.root());
    world.create("dev", &numbers.script());
    let view = world.attach("dev");
    world.wait_views("dev", 1);
    let mut faults = Faults::new(1, 0);
    for _ in 0..12 {
        let seen = view.raw_len();
        numbers.emit(usize::try_from(200 + faults.next(3000)).expect("small"));
        view.wait_raw("output that flows", SOON, |raw| raw.len() > seen);
        let victims =
            if faults.next(2) == 0 { world.managers() } else { world.agents(&world.home(), "serve") };
        for pid in victims {
            procs::signal(pid, Signal::KILL);
        }
        numbers.emit(usize::try_from(200 + faults.next(3000)).expect("small"));
        view.wait_text(&numbers.last_line(), SOON);
    }
    check_numbers(&numbers_in(view.history().join("\n").as_bytes()), numbers.asked())
        .unwrap_or_else(|wrong| panic!("seed {}: {wrong}\n{}", faults.seed(), view.describe()));
}

#[test]
fn what_was_skipped_is_counted_and_said_and_leaves_no_trace() {
    const MANY: usize = 12_000_000;
    let world = World::new();
    world.create(
        "dev",
        &format!(
            "stty -icanon -echo; printf 'ready\\r\\n'; head -c 1 >/dev/null; yes 'a line that is much like all others' | head -c {MANY}; \
             printf '\\r\\nthe end\\r\\n'; exec cat"
        ),
    );
    let slow = world.attach("dev");
    slow.wait_text("ready", SOON);
    world.wait_views("dev", 1);
    // A laptop that sleeps: it takes nothing, and the job does not wait for it.
    slow.signal(Signal::STOP);
    let other = world.attach("dev");
    other.wait_text("ready", SOON);
    other.type_("x");
    other.wait_text("the end", SOON);
    slow.signal(Signal::CONT);
    slow.wait_text("bytes of output were skipped", SOON);
    let line = slow
        .screen_text()
        .lines()
        .find_map(|line| line.trim().strip_prefix("sessd: ")?.split(' ').next()?.parse::<usize>().ok())
        .expect("a number");
    let got = slow.raw().windows(6).filter(|w| w == b"a line").count() * 37;
    // Each line end is two bytes by the time it is output.
    let all = MANY + MANY / 36;
    assert!(line <= all && line + got + 100_000 >= all, "{line} skipped, about {got} shown");
    // It goes when its time has passed, or somebody types.
    until("a screen without our line", Duration::from_secs(10), || {
        (slow.screen_text() == other.screen_text()).then_some(())
    });
    slow.type_("typed");
    slow.wait_text("typed", SOON);
    until("equal screens", SOON, || (slow.screen_text() == other.screen_text()).then_some(()));
    assert!(!slow.history().iter().any(|row| row.contains("skipped")), "{:#?}", slow.history());
}
