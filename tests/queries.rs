//! What a job asks its terminal is answered once: by the view that leads, or at once by the holder when there is none.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::Signal;
use sessd_tests::view::contains;
use sessd_tests::{SOON, View, World, until};

/// Name, query as `printf` takes it, and as bytes.
const QUERIES: [(&str, &str, &[u8]); 6] = [
    ("da1", r"\033[c", b"\x1b[c"),
    ("cpr", r"\033[6n", b"\x1b[6n"),
    ("decrqm", r"\033[?2004$p", b"\x1b[?2004$p"),
    ("osc11", r"\033]11;?\033\\", b"\x1b]11;?\x1b\\"),
    ("xtversion", r"\033[>q", b"\x1b[>q"),
    ("kitty", r"\033[?u", b"\x1b[?u"),
];

/// A job that asks when the test says so, and notes what came, how long it took, and what came after that.
struct Asker {
    pipe: File,
    pipe_path: PathBuf,
    log: PathBuf,
    asked: std::cell::Cell<usize>,
}

impl Asker {
    fn new(world: &World) -> Asker {
        let pipe_path = world.root().join("ask");
        mknodat(CWD, &pipe_path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).expect("a named pipe");
        let pipe = OpenOptions::new().read(true).write(true).open(&pipe_path).expect("the named pipe");
        Asker { pipe, pipe_path, log: world.root().join("answers"), asked: std::cell::Cell::new(0) }
    }

    fn script(&self) -> String {
        let cases: String =
            QUERIES.iter().map(|(name, query, _)| format!("{name}) printf '{query}';; ")).collect();
        let read = "dd bs=4096 count=1 2>/dev/null | od -An -v -tx1 | tr -d ' \\n'";
        format!(
            "stty raw -echo min 0 time 50; printf ready; exec 3<{}; while read -r name <&3; do begun=$(date +%s%N); \
             case $name in {cases} esac; got=$({read}); ended=$(date +%s%N); stty time 3; more=$({read}); stty time 50; \
             echo \"$name $(((ended - begun) / 1000000)) <$got> <$more>\" >>{}; done",
            self.pipe_path.display(),
            self.log.display()
        )
    }

    fn ask(&self, name: &str) {
        (&self.pipe).write_all(format!("{name}\n").as_bytes()).expect("the asking job's pipe");
        self.asked.set(self.asked.get() + 1);
    }

    /// Milliseconds, answer and what came after it, once the last question has them.
    fn answer(&self) -> (u64, Vec<u8>, Vec<u8>) {
        let line = until("an answer, or none in its time", SOON, || {
            let text = fs::read_to_string(&self.log).ok()?;
            let lines: Vec<_> = text.lines().collect();
            (text.ends_with('\n') && lines.len() == self.asked.get())
                .then(|| lines[lines.len() - 1].to_owned())
        });
        let words: Vec<_> = line.split(' ').collect();
        let bytes = |word: &str| -> Vec<u8> {
            let hex = word.trim_matches(['<', '>']).as_bytes();
            hex.chunks(2)
                .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).expect("hex"), 16).expect("hex"))
                .collect()
        };
        (words[1].parse().expect("a number"), bytes(words[2]), bytes(words[3]))
    }
}

fn count(bytes: &[u8], needle: &[u8]) -> usize {
    bytes.windows(needle.len()).filter(|window| *window == needle).count()
}

/// Waits until the view is asked something for the `nth` time and answers as a terminal does.
fn answer_in(view: &View, query: &[u8], nth: usize, answer: &[u8]) {
    view.wait_raw(&format!("{} for the {nth}. time", query.escape_ascii()), SOON, |raw| {
        count(raw, query) >= nth
    });
    view.type_(answer);
}

#[test]
fn with_no_view_the_holder_answers_within_100_ms() {
    let world = World::new();
    let asker = Asker::new(&world);
    world.create("dev", &asker.script());
    type Right = fn(&[u8]) -> bool;
    let answers: [(&str, Right); 6] = [
        ("da1", |a| a.starts_with(b"\x1b[?") && a.ends_with(b"c")),
        ("cpr", |a| a == b"\x1b[1;6R"),
        ("decrqm", |a| a == b"\x1b[?2004;2$y"),
        ("osc11", |a| a.starts_with(b"\x1b]11;rgb:")),
        ("xtversion", |a| a.starts_with(b"\x1bP>|")),
        ("kitty", |a| a == b"\x1b[?0u"),
    ];
    for (name, right) in answers {
        let mut took = Vec::new();
        // The time is that of the job's own helpers too, on a machine that does other things: the best of three.
        for _ in 0..3 {
            asker.ask(name);
            let (ms, answer, more) = asker.answer();
            assert!(right(&answer), "{name}: {}", answer.escape_ascii());
            assert_eq!(more, b"", "{name} was answered once");
            took.push(ms);
        }
        assert!(took.iter().any(|ms| *ms <= 100), "{name} took {took:?} ms");
    }
    // Nothing of that is ever shown to a view, which would answer again.
    let view = world.attach("dev");
    view.wait_text("ready", SOON);
    for (name, _, query) in QUERIES {
        assert!(!contains(&view.raw(), query), "{name} in {}", view.describe());
    }
}

#[test]
fn the_one_views_terminal_answers_and_the_job_gets_exactly_that() {
    let world = World::new();
    let asker = Asker::new(&world);
    world.create("dev", &asker.script());
    let view = world.attach("dev");
    view.wait_text("ready", SOON);
    world.wait_views("dev", 1);
    let answers: [&[u8]; 6] = [
        b"\x1b[?62;4;9;22c",
        b"\x1b[1;6R",
        b"\x1b[?2004;1$y",
        b"\x1b]11;rgb:1234/5678/9abc\x1b\\",
        b"\x1bP>|test terminal 1\x1b\\",
        b"\x1b[?5u",
    ];
    for ((name, _, query), want) in QUERIES.into_iter().zip(answers) {
        asker.ask(name);
        answer_in(&view, query, 1, want);
        let (_, answer, more) = asker.answer();
        assert_eq!(answer.escape_ascii().to_string(), want.escape_ascii().to_string(), "{name}");
        assert_eq!(more, b"", "{name}");
    }
}

#[test]
fn of_two_views_that_answer_one_is_heard() {
    let world = World::new();
    let asker = Asker::new(&world);
    world.create("dev", &asker.script());
    let first = world.attach("dev");
    first.wait_text("ready", SOON);
    let second = world.attach("dev");
    second.wait_text("ready", SOON);
    world.wait_views("dev", 2);
    let answers: [(&[u8], &[u8]); 6] = [
        (b"\x1b[?1;2c", b"\x1b[?62;22c"),
        (b"\x1b[1;6R", b"\x1b[1;7R"),
        (b"\x1b[?2004;1$y", b"\x1b[?2004;2$y"),
        (b"\x1b]11;rgb:1111/1111/1111\x1b\\", b"\x1b]11;rgb:2222/2222/2222\x07"),
        (b"\x1bP>|first\x1b\\", b"\x1bP>|second\x1b\\"),
        (b"\x1b[?1u", b"\x1b[?5u"),
    ];
    for ((name, _, query), (one, two)) in QUERIES.into_iter().zip(answers) {
        asker.ask(name);
        // The one that does not lead is the faster: still it is not heard.
        answer_in(&first, query, 1, one);
        answer_in(&second, query, 1, two);
        let (_, answer, more) = asker.answer();
        assert_eq!(answer.escape_ascii().to_string(), two.escape_ascii().to_string(), "{name}");
        assert_eq!(more, b"", "{name}");
    }
}

#[test]
fn an_answered_question_is_never_asked_again() {
    let world = World::new();
    let asker = Asker::new(&world);
    world.create("dev", &asker.script());
    let first = world.attach("dev");
    first.wait_text("ready", SOON);
    world.wait_views("dev", 1);
    for (name, _, query) in QUERIES {
        asker.ask(name);
        answer_in(&first, query, 1, b"\x1b[?1;2c");
        asker.answer();
    }
    let second = world.attach("dev");
    second.wait_text("ready", SOON);
    world.wait_views("dev", 2);
    // The same view over a new manager, and a new one.
    world.kill_manager();
    world.wait_views("dev", 2);
    let third = world.attach("dev");
    third.wait_text("ready", SOON);
    world.wait_views("dev", 3);
    for (name, _, query) in QUERIES {
        assert_eq!(count(&first.raw(), query), 1, "{name} in {}", first.describe());
        for view in [&second, &third] {
            assert_eq!(count(&view.raw(), query), 0, "{name} in {}", view.describe());
        }
    }
}

#[test]
fn a_question_whose_view_leaves_without_a_word_is_answered_by_the_holder() {
    let world = World::new();
    let asker = Asker::new(&world);
    world.create("dev", &asker.script());
    for kill in [true, false] {
        let mut view = world.attach("dev");
        view.wait_text("ready", SOON);
        world.wait_views("dev", 1);
        asker.ask("decrqm");
        view.wait_raw("the question", SOON, |raw| contains(raw, b"\x1b[?2004$p"));
        if kill {
            view.kill();
        } else {
            view.signal(Signal::HUP);
            view.wait_exit(SOON);
        }
        let (_, answer, more) = asker.answer();
        assert_eq!(answer.escape_ascii().to_string(), "\\x1b[?2004;2$y");
        assert_eq!(more, b"");
        world.wait_views("dev", 0);
        let view = world.attach("dev");
        view.wait_text("ready", SOON);
        assert!(!contains(&view.raw(), b"\x1b[?2004$p"), "{}", view.describe());
        view.close();
        world.wait_views("dev", 0);
    }
}

/// Plays the terminal for `view` until `act` is done.
fn with_a_terminal<T>(view: &View, act: impl FnOnce() -> T) -> T {
    const ANSWERS: [(&[u8], &[u8]); 7] = [
        (b"\x1b[c", b"\x1b[?1;2c"),
        (b"\x1b[0c", b"\x1b[?1;2c"),
        (b"\x1b[>c", b"\x1b[>41;390;0c"),
        (b"\x1b[6n", b"\x1b[3;2R"),
        (b"\x1b]11;?\x07", b"\x1b]11;rgb:0000/0000/0000\x07"),
        (b"\x1b]10;?\x07", b"\x1b]10;rgb:ffff/ffff/ffff\x07"),
        (b"\x1b[?u", b"\x1b[?0u"),
    ];
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut answered = [0; ANSWERS.len()];
            while !done.load(Ordering::Relaxed) {
                let raw = view.raw();
                for ((query, answer), answered) in ANSWERS.iter().zip(&mut answered) {
                    while *answered < count(&raw, query) {
                        view.type_(answer);
                        *answered += 1;
                    }
                }
                thread::sleep(Duration::from_millis(2));
            }
        });
        struct Done<'a>(&'a AtomicBool);
        impl Drop for Done<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let _done = Done(&done);
        act()
    })
}

/// Starts `fish` as a session; its prompt is `prompt N> `.
fn create_fish(world: &World) {
    world.ok(&[
        "create",
        "--name",
        "dev",
        "--",
        "fish",
        "--no-config",
        "-i",
        "-C",
        "set -g n 0; function fish_prompt; set -g n (math $n + 1); echo -n \"prompt $n> \"; touch ~/prompt; end",
    ]);
}

#[test]
fn fish_starts_promptly_with_no_view() {
    let world = World::new();
    create_fish(&world);
    // It waits two seconds, or ten, for a terminal that does not answer.
    until("the prompt", Duration::from_millis(1900), || world.home().join("prompt").exists().then_some(()));
    let view = world.attach("dev");
    with_a_terminal(&view, || {
        view.wait_text("prompt 1>", SOON);
        view.type_("echo ab(echo cd)ef\r");
        view.wait_text("abcdef", SOON);
        view.wait_text("prompt 2>", SOON);
        assert!(!view.screen_text().contains(";2c"), "{}", view.describe());
    });
}

#[test]
fn fish_starts_promptly_with_a_view_that_answers() {
    let world = World::new();
    let view = world.view(&[
        "create",
        "--name",
        "dev",
        "--attach",
        "--",
        "fish",
        "--no-config",
        "-i",
        "-C",
        "set -g n 0; function fish_prompt; set -g n (math $n + 1); echo -n \"prompt $n> \"; touch ~/prompt; end",
    ]);
    with_a_terminal(&view, || {
        view.wait_text("prompt 1>", SOON);
        let begun = std::time::Instant::now();
        view.type_("echo ab(echo cd)ef\r");
        view.wait_text("abcdef", SOON);
        view.wait_text("prompt 2>", SOON);
        assert!(begun.elapsed() < Duration::from_millis(1900), "{:?}", begun.elapsed());
        assert!(!view.screen_text().contains(";2c"), "{}", view.describe());
    });
}

#[test]
fn vim_starts_clean_with_and_without_a_view() {
    let world = World::new();
    let file = world.root().join("text");
    fs::write(&file, "the first line\n").expect("a file");
    let vim = format!(
        "exec env TERM=xterm-256color vim -u NONE -N -i NONE --cmd 'set ruler' --cmd 'autocmd VimEnter * call writefile([], $HOME . \"/entered\")' {}",
        file.display()
    );
    let clean = |view: &View| {
        view.wait_text("the first line", SOON);
        // What was answered and not taken would be keys, and keys would have moved the cursor or changed the text.
        view.type_(":echo 6*7\r");
        view.wait_text("42", SOON);
        view.screen(|screen| {
            let text = screen.contents();
            let lines: Vec<_> = text.lines().map(str::trim_end).collect();
            assert_eq!(lines[..3], ["the first line", "~", "~"], "{text}");
        });
        view.type_(":q\r");
    };
    world.create("alone", &vim);
    until("vim to be there", SOON, || world.home().join("entered").exists().then_some(()));
    let mut view = world.attach("alone");
    with_a_terminal(&view, || clean(&view));
    assert_eq!(view.wait_exit(SOON), 0, "nothing was changed");
    let mut view = world.view(&["create", "--name", "dev", "--attach", "--", "sh", "-c", &vim]);
    with_a_terminal(&view, || clean(&view));
    assert_eq!(view.wait_exit(SOON), 0, "nothing was changed");
}

/// A file that is only shown asks for the clipboard, by a name that is a command in a line of its own.
#[test]
fn a_file_that_is_shown_runs_no_command() {
    let world = World::new();
    let path = |name: &str| world.root().join(name);
    let (evil, go, ran, fine) = (path("evil.txt"), path("go"), path("ran"), path("fine"));
    fs::write(&evil, format!("\x1b]52;\ntouch {}\n;?\x07shown", ran.display())).expect("a file");
    for attended in [false, true] {
        let job =
            format!("until [ -e {} ]; do sleep 0.05; done; cat {}; exec sh", go.display(), evil.display());
        let _ = (fs::remove_file(&go), fs::remove_file(&fine));
        world.create("dev", &job);
        if attended {
            // This view's terminal answers nothing, and it leaves.
            let mut view = world.attach("dev");
            world.wait_views("dev", 1);
            fs::write(&go, "").expect("a file");
            view.wait_raw("the question", SOON, |raw| contains(raw, b"\x1b]52;"));
            view.kill();
            world.wait_views("dev", 0);
        } else {
            fs::write(&go, "").expect("a file");
        }
        let view = world.attach("dev");
        view.wait_text("shown", SOON);
        // Ctrl-U: what the answer has left in the line is not this command's.
        view.type_(format!("\x15touch {}\r", fine.display()));
        until("the shell to have read all before", SOON, || fine.exists().then_some(()));
        assert!(!ran.exists(), "the answer was a command: {}", view.describe());
        view.close();
        world.ok(&["delete", "--force", "dev"]);
    }
}
