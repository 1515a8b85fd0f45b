//! The user's terminal is given back as it was, however the view ends. What the view wrote is judged by two emulators: one
//! that is not ours, and the model, which knows the modes that the other does not.

use std::time::Duration;

use rustix::process::Signal;
use sessd_terminal::{Size, Terminal};
use sessd_tests::world::sessd_binary;
use sessd_tests::{LATER, Proxy, SOON, SshConfig, Sshd, View, World, procs, until};

/// The user's own screen, title and keyboard flags, before the view comes.
const USERS: &str =
    r"i=1; while [ $i -le 40 ]; do echo mine $i; i=$((i+1)); done; printf '\033]2;my title\007\033[>5u'";

/// A job that changes all there is, on both screens, and ends when it is typed to.
const RUDE: &str = r"stty -echo; printf '\033[>1u\033[>3u\033]2;job\007\033[22;0t\033[22;2t\033]2;job2\007\033]1;icon\007\033[5 q\033[3g';
printf '\033]4;1;rgb:11/22/33\007\033]10;#112233\007\033]11;#001122\007\033]12;#ff0000\007\033[>4;2m\033=\033[?1h\033[?7l\033[4h\033[20h';
printf '\033[?1049h\033[?1000h\033[?1002h\033[?1003h\033[?1006h\033[?1015h\033[?2004h\033[?1004h\033[?2031h\033[?2048h';
printf '\033[>7u\033[=9u\033[?5h\033[?25l\033[2;5r\033[?6h\033]8;;http://x/\033\\ready\033)0\016\033[?69h\033[?2026h\033[31;7m';
read -r line; exit 3";

/// Runs `sessd attach dev` below the user's own output.
fn attach_below(world: &World) -> View {
    let mut command = world.program("sh");
    command.args(["-c", &format!("{USERS}; exec {} attach dev", sessd_binary().display())]);
    View::spawn(command, 80, 24)
}

fn model(bytes: &[u8]) -> Terminal {
    let mut terminal = Terminal::new(Size { cols: 80, rows: 24 }, 10_000);
    terminal.feed(bytes);
    terminal
}

/// What of a terminal must be as it was: all but its text and the place of its cursor.
fn modes(terminal: &Terminal) -> Vec<String> {
    terminal
        .dump()
        .lines()
        .filter(|line| {
            let first = line.split(' ').next().unwrap_or_default();
            let margins = line.starts_with("primary margins");
            margins
                || matches!(first, "alternate" | "modes" | "tabs" | "title" | "palette" | "shape" | "parser")
        })
        // The last character written is no mode.
        .map(|line| line.split(" last ").next().unwrap_or_default().to_owned())
        .collect()
}

/// Waits until the job has changed the terminal.
fn wait_rude(view: &View, within: Duration) {
    view.wait_screen("the job's screen", within, |screen| {
        screen.alternate_screen() && screen.contents().contains("ready") && screen.bracketed_paste()
    });
    let raw = view.raw();
    let now = modes(&model(&raw)).join("\n");
    assert!(now.contains("alternate by 1049") && now.contains("job2"), "{now}");
}

/// Checks the terminal that a view of `dev` left behind.
fn check(ending: &str, view: &View, settings: &str) {
    assert_eq!(format!("{:?}", view.termios()), settings, "after {ending}: the settings of the line");
    let raw = view.raw();
    // The users' own output ends where the view's begins.
    let users = procs::find(&raw, b"\x1b[>5u").expect("the user's output") + b"\x1b[>5u".len();
    let (before, after) = (model(&raw[..users]), model(&raw));
    let (before, after) = (modes(&before), modes(&after));
    for (was, is) in before.iter().zip(&after) {
        assert_eq!(is, was, "after {ending}");
    }
    assert_eq!(after.len(), before.len(), "after {ending}: {after:#?}");
    let history = view.history();
    for n in 1..=40 {
        let line = format!("mine {n}");
        let times = history.iter().filter(|row| row.trim_end() == line).count();
        assert_eq!(times, 1, "after {ending}: `{line}` in {history:#?}");
    }
    assert!(!history.iter().any(|row| row.contains("ready")), "after {ending}: the job's screen is gone");
    view.screen(|screen| {
        assert!(!screen.alternate_screen(), "after {ending}");
        assert!(!screen.bracketed_paste(), "after {ending}");
        assert!(!screen.application_cursor(), "after {ending}");
        assert!(!screen.application_keypad(), "after {ending}");
        assert!(!screen.hide_cursor(), "after {ending}");
        assert!(!screen.inverse() && screen.fgcolor() == vt100::Color::Default, "after {ending}");
        assert_eq!(screen.mouse_protocol_mode(), vt100::MouseProtocolMode::None, "after {ending}");
        assert_eq!(screen.mouse_protocol_encoding(), vt100::MouseProtocolEncoding::Default, "after {ending}");
        let (row, column) = screen.cursor_position();
        assert_eq!(column, 0, "after {ending}: a prompt begins at the left, in row {row}");
    });
}

fn fresh_settings(world: &World) -> String {
    let mut fresh = View::spawn(world.program("true"), 80, 24);
    fresh.wait_exit(SOON);
    format!("{:?}", fresh.termios())
}

#[test]
fn after_detach_signals_and_the_managers_death() {
    let world = World::new();
    let settings = fresh_settings(&world);
    world.create("dev", RUDE);
    type Act = fn(&World, &View);
    let endings: [(&str, Act); 6] = [
        ("the detach key", |_, view| view.type_(b"\x1c")),
        ("sessd detach", |world, _| {
            world.ok(&["detach", "dev"]);
        }),
        ("SIGTERM", |_, view| view.signal(Signal::TERM)),
        ("SIGHUP", |_, view| view.signal(Signal::HUP)),
        ("SIGINT", |_, view| view.signal(Signal::INT)),
        ("the manager's death, and SIGTERM", |world, view| {
            world.kill_manager();
            view.signal(Signal::TERM);
        }),
    ];
    for (ending, act) in endings {
        let mut view = attach_below(&world);
        wait_rude(&view, SOON);
        act(&world, &view);
        view.wait_exit(SOON);
        check(ending, &view, &settings);
    }
}

#[test]
fn after_the_jobs_end() {
    let world = World::new();
    let settings = fresh_settings(&world);
    world.create("dev", RUDE);
    let mut view = attach_below(&world);
    wait_rude(&view, SOON);
    view.type_("\n");
    assert_eq!(view.wait_exit(SOON), 3);
    check("the job's end", &view, &settings);
}

#[test]
fn after_the_holder_was_killed() {
    let world = World::new();
    let settings = fresh_settings(&world);
    world.create("dev", RUDE);
    let mut view = attach_below(&world);
    wait_rude(&view, SOON);
    for pid in world.agents(&world.home(), "hold") {
        procs::signal(pid, Signal::KILL);
    }
    until("a view that does not stay for a job that is gone, or a session that says so", SOON, || {
        (view.exited().is_some() || world.info("dev").is_none_or(|info| info["state"] != "running"))
            .then_some(())
    });
    if view.exited().is_none() {
        view.signal(Signal::TERM);
    }
    view.wait_exit(SOON);
    check("the holder's death", &view, &settings);
}

#[test]
fn after_the_loss_of_the_link_and_a_signal() {
    let mut world = World::new();
    let host = Sshd::start_in(&world, "h1");
    let proxy = Proxy::to(host.addr());
    SshConfig::new(&mut world).host_at("box", &host, proxy.addr(), &[]);
    let settings = fresh_settings(&world);
    world.create_on("box", "dev", RUDE);
    for signal in [Signal::TERM, Signal::HUP] {
        let mut view = attach_below(&world);
        wait_rude(&view, LATER);
        proxy.cut();
        view.wait_text("link to box: ", SOON);
        view.signal(signal);
        view.wait_exit(SOON);
        check(&format!("the loss of the link and {signal:?}"), &view, &settings);
        assert!(
            !view.history().iter().any(|row| row.contains("link to box: ")),
            "the line went with the view"
        );
        proxy.resume();
        world.wait_session("dev", "the link to be back", LATER, |info| info["link"] == "up");
    }
}

/// What a session may change of a terminal that few know of, in xterm's words.
const RARE: &str = r"stty -echo; printf begin; read -r line; printf '\033[?40h\033[?42h\033(A\033[61\042p\033[?1041;1042;1043;1044h\033[?1034;1035l\033[?1039;67h\033[?1070l\033 G\033[2h\033[12l\033[?2l'; printf ready; read -r line; exit 3";

#[test]
fn what_few_programs_change_is_given_back_too() {
    let world = World::new();
    world.create("dev", RARE);
    let mut view = attach_below(&world);
    view.wait_text("begin", SOON);
    // Passed on as the job writes it, and not as a screen that is drawn.
    view.type_("\n");
    view.wait_text("ready", SOON);
    view.type_("\n");
    assert_eq!(view.wait_exit(SOON), 3);
    let raw = view.raw();
    let from = procs::find(&raw, b"ready").expect("the job's output");
    let back = &raw[from..];
    let at = |bytes: &[u8]| {
        procs::find(back, bytes)
            .unwrap_or_else(|| panic!("{:?} in {}", bytes.escape_ascii(), back.escape_ascii()))
    };
    // Nothing else is understood before these.
    let ansi = at(b"\x1b<");
    assert!(ansi < at(b"\x1b F") && at(b"\x1b F") < at(b"\x1b[?1049l"));
    assert!(ansi < at(b"\x1b[64;1\"p"));
    for mode in [40, 42, 1041, 1042, 1043, 1044, 1034, 1035, 1039, 67, 1070] {
        at(format!("\x1b[?{mode}r").as_bytes());
        let saved = procs::find(&raw, format!("\x1b[?{mode}s").as_bytes());
        assert!(
            mode == 67 || saved.is_some_and(|saved| saved < from),
            "{mode} was saved before it was changed"
        );
    }
    for undo in [&b"\x1b[?40l"[..], b"\x1b[?1041l", b"\x1b[?1070h", b"\x1b[2l", b"\x1b[12h", b"\x1b(B"] {
        at(undo);
    }
}

/// An answer that comes late is not the user's shell's, be it to a question that nobody knows.
#[test]
fn answers_that_come_late_do_not_reach_the_users_shell() {
    let world = World::new();
    world.create("dev", r"stty raw -echo; printf begin; head -c 1; printf '\033[?1;1;0S\033[6nready'; cat");
    let mut command = world.program("sh");
    let script = format!(
        "{} attach dev 2>/dev/null; stty -echo; printf 'the shell'; read -r line; printf 'got <%s>' \"$line\"",
        sessd_binary().display()
    );
    command.args(["-c", &script]);
    let mut view = View::spawn(command, 80, 24);
    view.wait_text("begin", SOON);
    view.type_("x");
    view.wait_text("ready", SOON);
    view.type_("\x1c");
    // The view asks a question of its own behind them, and waits for what a terminal far away answers.
    view.wait_raw("the last question", SOON, |raw| procs::find(raw, b"\x1b[5n").is_some());
    std::thread::sleep(Duration::from_millis(400));
    view.type_("\x1b[?1;0;256S\x1b[7;7R");
    view.type_("\x1b[0n");
    view.wait_text("the shell", SOON);
    view.type_("mine\n");
    view.wait_text("got <mine>", SOON);
    view.wait_exit(SOON);
}

/// Pastes three thousand lines, of which the job takes the first hundred and ends; then the user's shell reads a line.
fn paste_into_a_job_that_ends(begin: &str, end: &str) {
    let world = World::new();
    world.create(
        "dev",
        r"stty raw -echo; printf '\033[?2004hready'; head -c 1000 >/dev/null; printf gone; exit 3",
    );
    let mut command = world.program("sh");
    let script = format!(
        "{} attach dev 2>/dev/null; stty -echo; printf 'the shell'; read -r line; printf 'got <%s>' \"$line\"",
        sessd_binary().display()
    );
    command.args(["-c", &script]);
    let mut view = View::spawn(command, 80, 24);
    view.wait_text("ready", SOON);
    // In pieces, as a terminal writes what it has; one of them has the detach key in it.
    let lines: String =
        (0..3000).map(|n| format!("echo line {n}{}\r", if n == 1500 { "\x1c" } else { "" })).collect();
    let whole = [begin, &lines, end].concat();
    for piece in whole.as_bytes().chunks(1000) {
        view.type_(piece);
    }
    view.wait_text("the shell", LATER);
    view.type_("mine\n");
    view.wait_text("got <mine>", SOON);
    view.wait_exit(SOON);
}

#[test]
fn the_rest_of_a_paste_is_not_typed_into_the_users_shell() {
    paste_into_a_job_that_ends("\x1b[200~", "\x1b[201~");
}

#[test]
fn the_rest_of_a_paste_without_marks_is_not_either() {
    paste_into_a_job_that_ends("", "");
}

#[test]
fn the_detach_key_in_a_paste_is_text_wherever_reads_cut_it_and_after_it_leaves() {
    let world = World::new();
    world.create(
        "dev",
        r"stty raw -echo; printf '\033[?2004hready'; head -c 5001 | od -An -c | tail -n 1; cat",
    );
    let mut view = world.view(&["attach", "dev"]);
    view.wait_text("ready", SOON);
    // 4 085 to 4 088 characters before it: one read takes 4 096 of a terminal's line.
    let text = "x".repeat(4086);
    let paste = format!("\x1b[200~{text}\x1b[201~");
    for byte in paste.as_bytes().chunks(4091) {
        view.type_(byte);
    }
    view.type_(format!("\x1b[200~{}\x1c!", "y".repeat(5001 - paste.len() - 8)));
    view.wait_text("034   !", SOON);
    view.type_("\x1b[20");
    view.type_("1~");
    for byte in b"\x1b[92;5u" {
        view.type_([*byte]);
    }
    assert_eq!(view.wait_exit(SOON), 0, "the key, byte by byte: {}", view.describe());
}

#[test]
fn after_exit_the_shell_goes_on_right_below_the_text() {
    let world = World::new();
    world.create("dev", "printf 'one\\r\\ntwo\\r\\n'; read -r line; printf 'three\\r\\n'");
    let mut command = world.program("sh");
    command.args(["-c", &format!("{} attach dev 2>&1; printf 'the shell'", sessd_binary().display())]);
    let mut view = View::spawn(command, 80, 24);
    view.wait_text("two", SOON);
    view.type_("\n");
    view.wait_exit(SOON);
    let rows: Vec<String> = view.screen(|screen| screen.rows(0, 80).collect());
    let three = rows.iter().position(|row| row == "three").expect("the job's last line");
    assert!(rows[three + 1].starts_with("[dev: exited 0"), "{}", view.describe());
    assert_eq!(rows[three + 2], "the shell", "{}", view.describe());
}

#[test]
fn a_terminal_that_can_only_be_written_to_gets_text() {
    let mut world = World::new();
    world.create(
        "dev",
        r"printf '\033[1;31mred\033[m \033[5;5Hready'; read -r line; printf 'got \033[7m%s\r\n' $line; cat",
    );
    world.set_env("TERM", "dumb");
    let mut view = world.view(&["attach", "dev"]);
    view.wait_text("ready", SOON);
    view.type_("abc\n");
    view.wait_text("got abc", SOON);
    view.type_("\x1c");
    assert_eq!(view.wait_exit(SOON), 0);
    assert!(!view.raw().contains(&0x1b), "{}", view.describe());
    assert!(view.history().join("\n").contains("this terminal shows text only"), "{}", view.describe());
}

#[test]
fn three_attaches_in_one_terminal_write_the_history_once() {
    let world = World::new();
    world.create("dev", "i=1; while [ $i -le 60 ]; do echo line $i; i=$((i+1)); done; echo ready; exec cat");
    world.wait_state("dev", "running", SOON);
    let attach = format!("{} attach dev; echo left;", sessd_binary().display());
    let mut command = world.program("sh");
    command.args(["-c", &attach.repeat(3)]);
    let view = View::spawn(command, 80, 24);
    let times = |raw: &[u8], what: &[u8]| raw.windows(what.len()).filter(|w| *w == what).count();
    for n in 1..=3 {
        view.wait_raw("the job's screen", LATER, |raw| times(raw, b"ready") == n);
        view.type_([0x1c]);
        view.wait_raw("the shell", LATER, |raw| times(raw, b"left\r\n") == n);
    }
    let history = view.history();
    for n in 1..30 {
        let line = format!("line {n}");
        let times = history.iter().filter(|row| row.trim_end() == line).count();
        assert_eq!(times, 1, "`{line}` in {history:#?}");
    }
}
