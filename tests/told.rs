//! What a job is told by its terminal is so whoever looks: sizes, focus, colours, answers, and a clipboard filled while nobody did.

use std::fs;

use sessd_tests::view::contains;
use sessd_tests::{SOON, View, World, until};

/// A job that shows everything it is told, control characters as text, and says what the test wants it to.
fn create(world: &World) {
    let say = world.root().join("say");
    let script = format!(
        "stty raw -echo; printf ready; (while :; do if [ -e {0} ]; then cat {0}; rm {0}; fi; sleep 0.02; done) & exec tee {1}",
        say.display(),
        heard_path(world).display()
    );
    world.create("dev", &script);
    until("the job", SOON, || heard_path(world).exists().then_some(()));
}

fn heard_path(world: &World) -> std::path::PathBuf {
    world.root().join("heard")
}

/// The job says this.
fn say(world: &World, bytes: &[u8]) {
    let (new, path) = (world.root().join("say.new"), world.root().join("say"));
    fs::write(&new, bytes).expect("a file");
    fs::rename(&new, &path).expect("a file");
    until("the job to say it", SOON, || (!path.exists()).then_some(()));
}

fn heard(world: &World) -> Vec<u8> {
    fs::read(heard_path(world)).expect("what the job was told")
}

/// Waits until the job was told exactly this since it began.
fn wait_heard(world: &World, all: &[u8]) {
    until(&format!("the job to be told {}", all.escape_ascii()), SOON, || {
        let now = heard(world);
        assert!(all.starts_with(&now), "told {}\nand not {}", now.escape_ascii(), all.escape_ascii());
        (now == all).then_some(())
    });
}

fn attach(world: &World, views: usize) -> View {
    let view = world.attach("dev");
    view.wait_text("ready", SOON);
    world.wait_views("dev", views);
    view
}

#[test]
fn a_job_hears_of_its_size_as_it_asked_for_with_and_without_a_view() {
    let world = World::new();
    create(&world);
    let mut all = b"\x1b[?2048;2$y\x1b[48;24;80;0;0t".to_vec();
    say(&world, b"\x1b[?2048$p\x1b[?2048h");
    wait_heard(&world, &all);
    let view = attach(&world, 1);
    view.resize(100, 30);
    all.extend(b"\x1b[48;30;100;0;0t");
    wait_heard(&world, &all);
    // This view's terminal knows the mode as well, and says so; none of that is the job's.
    // Nor where a read cuts it.
    view.type_("\x1b[48;30;100;600;1000t\x1b[?2048;2$y\x1b[4");
    view.type_("8;30;100;600;1000t.");
    say(&world, b"\x1b[?2048$p");
    let asked = until("both", SOON, || {
        let now = heard(&world)[all.len()..].to_vec();
        (now.len() >= 12).then_some(now)
    });
    let orders: [&[u8]; 2] = [b".\x1b[?2048;1$y", b"\x1b[?2048;1$y."];
    assert!(orders.contains(&&asked[..]), "{}", asked.escape_ascii());
}

#[test]
fn the_focus_comes_and_goes_with_the_views() {
    let world = World::new();
    create(&world);
    say(&world, b"\x1b[?1004h");
    let view = attach(&world, 1);
    wait_heard(&world, b"\x1b[I");
    view.close();
    wait_heard(&world, b"\x1b[I\x1b[O");
}

#[test]
fn with_no_view_a_job_is_told_the_colours_of_the_last_ones_terminal() {
    let world = World::new();
    create(&world);
    let view = attach(&world, 1);
    say(&world, b"\x1b]11;?\x07");
    view.wait_raw("the question", SOON, |raw| contains(raw, b"\x1b]11;?\x07"));
    let light = b"\x1b]11;rgb:fdfd/f6f6/e3e3\x1b\\";
    view.type_(light);
    wait_heard(&world, light);
    view.close();
    world.wait_views("dev", 0);
    say(&world, b"\x1b]11;?\x07\x1b[?996n");
    wait_heard(&world, &[&light[..], light, b"\x1b[?997;2n"].concat());
}

#[test]
fn of_two_terminals_that_say_something_one_is_heard_and_saying_takes_no_lead() {
    let world = World::new();
    create(&world);
    let (first, second) = (attach(&world, 1), attach(&world, 2));
    // Coming is not typing: the size is the first one's until the second types.
    second.type_("y");
    let mut all = b"y".to_vec();
    wait_heard(&world, &all);
    let answers: [&[u8]; 10] = [
        b"\x1b_Gi=31;OK\x1b\\",
        b"\x1b[?2;0;800;600S",
        b"\x1bP1!~1A2B\x1b\\",
        b"\x1bP73!~1A2B\x1b\\",
        b"\x1b]21;foreground=rgb:ff/ff/ff\x1b\\",
        b"\x1b]22;default\x1b\\",
        b"\x1b]99;i=1:p=?;a=focus\x1b\\",
        b"\x1b]1337;ReportCellSize=20.0;10.0\x1b\\",
        b"\x1bP1$u1;1;1;@;@;@;0;2;@;BBBB\x1b\\",
        b"\x1b[?1;2c",
    ];
    for answer in answers {
        // The one that does not lead is the faster.
        first.type_(answer);
        first.type_("\x1b[I");
        all.extend(b"\x1b[I");
        wait_heard(&world, &all);
        second.type_(answer);
        all.extend(answer);
        wait_heard(&world, &all);
    }
    // Nothing of this is typed: the second still leads, so its size is the job's.
    for said in [&b"\x1b[O"[..], b"\x1b[<35;3;4M", b"\x1b[97;1:3u"] {
        first.type_(said);
        all.extend(said);
        wait_heard(&world, &all);
    }
    second.resize(90, 20);
    world.wait_session("dev", "the second view's size", SOON, |info| info["size"]["cols"] == 90);
    first.type_("x");
    all.push(b'x');
    wait_heard(&world, &all);
    world.wait_session("dev", "the first view's size", SOON, |info| info["size"]["cols"] == 80);
}

#[test]
fn a_clipboard_that_was_filled_with_nobody_there_is_the_next_ones() {
    let world = World::new();
    create(&world);
    let clipboard = b"\x1b]52;c;aGVsbG8=";
    say(&world, &[clipboard, &b"\x07"[..]].concat());
    let view = attach(&world, 1);
    view.wait_raw("the clipboard", SOON, |raw| contains(raw, clipboard));
    view.close();
    world.wait_views("dev", 0);
    let view = attach(&world, 1);
    view.type_("x");
    wait_heard(&world, b"x");
    assert!(!contains(&view.raw(), clipboard), "once: {}", view.describe());
}

#[test]
fn who_comes_in_the_middle_of_a_clipboard_gets_none_of_its_end() {
    let world = World::new();
    create(&world);
    let half = vec![b'A'; 200_000];
    say(&world, &[&b"\x1b]52;c;"[..], &half].concat());
    let view = attach(&world, 1);
    say(&world, &[&half[..], b"\x07end of it"].concat());
    view.wait_text("end of it", SOON);
    let raw = view.raw();
    assert!(!contains(&raw, b"\x1b]52;"), "half a clipboard: {}", view.describe());
    assert!(!view.screen_text().contains("AAAA"), "{}", view.describe());
}

#[test]
fn clusters_are_as_wide_as_the_leaders_terminal_says_and_a_flag_comes_back_whole() {
    let world = World::new();
    create(&world);
    let view = attach(&world, 1);
    view.wait_raw("four questions", SOON, |raw| raw.windows(5).filter(|w| w == b"\x1b[06n").count() == 4);
    view.type_("\x1b[24;3R\x1b[24;3R\x1b[24;3R\x1b[24;5R");
    view.wait_raw("the answers to have come", SOON, |raw| contains(raw, b"\x1b]9998;traits=31,0,0\x1b\\"));
    say(&world, "\r\n👩🏽b🇩🇪c".as_bytes());
    view.wait_raw("the text", SOON, |raw| contains(raw, "🇩🇪c".as_bytes()));
    let second = attach(&world, 2);
    second.wait_raw("all in its place", SOON, |raw| contains(raw, "👩🏽\x1b[3Gb🇩🇪\x1b[6Gc".as_bytes()));
    assert!(heard(&world).is_empty(), "none of it was typed");
}
