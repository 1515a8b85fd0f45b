//! Who sizes a session, and what views of another size are shown.

use sessd_tests::{SOON, World};

/// A job that draws what it is told: each line of input is written to its terminal as `printf` understands it.
const DRAWS: &str = r#"printf ready; while read -r line; do printf "$line"; done"#;

#[test]
fn a_resize_reaches_the_job() {
    let world = World::new();
    world.create("dev", "trap 'echo size $(stty size)' WINCH; echo ready; while :; do read -r line && echo \"now $(stty size)\"; done");
    let view = world.view_sized(&["attach", "dev"], 80, 24);
    view.wait_text("ready", SOON);
    view.type_("\r");
    view.wait_text("now 24 80", SOON);
    view.resize(111, 37);
    view.wait_text("size 37 111", SOON);
    world.wait_session("dev", "size 111 by 37", SOON, |info| {
        info["size"]["cols"] == 111 && info["size"]["rows"] == 37
    });
}

#[test]
fn watching_does_not_resize_and_typing_does() {
    let world = World::new();
    world.create("dev", "echo ready; while read -r line; do echo \"now $(stty size)\"; done");
    let big = world.view_sized(&["attach", "dev"], 100, 30);
    big.wait_text("ready", SOON);
    big.type_("\r");
    big.wait_text("now 30 100", SOON);
    let small = world.view_sized(&["attach", "dev"], 60, 20);
    world.wait_views("dev", 2);
    big.type_("\r");
    big.wait_screen("a second answer of the same size", SOON, |screen| {
        screen.contents().matches("now 30 100").count() == 2
    });
    small.type_("\r");
    big.wait_text("now 20 60", SOON);
    small.close();
    world.wait_session("dev", "the size of the view that stayed", SOON, |info| info["size"]["cols"] == 100);
}

/// Who sizes a session is said for each, is on record, and coming alone changes nothing for who is there.
#[test]
fn the_size_is_the_typists_after_any_restart_whoever_comes_back_first() {
    let world = World::new();
    world.create(
        "dev",
        "trap 'echo \"size $(stty size)\"' WINCH; echo \"new $(stty size)\"; while :; do read -r line; done",
    );
    let typist = world.view_sized(&["attach", "dev"], 100, 30);
    typist.wait_text("new", SOON);
    let others: Vec<_> = (0..3).map(|_| world.view_sized(&["attach", "dev"], 60, 15)).collect();
    world.wait_views("dev", 4);
    typist.type_("x\r");
    for round in 0..3 {
        let (job, restarted) = (world.info("dev").expect("it is there")["job_id"].clone(), round % 2 == 0);
        if restarted {
            world.ok(&["restart", "dev"]);
        } else {
            world.ok(&["daemon", "restart"]);
        }
        world.wait_views("dev", 4);
        let info = world.wait_session("dev", "it runs", SOON, |info| info["state"] == "running");
        assert_eq!(info["job_id"] != job, restarted);
        assert_eq!(info["size"]["cols"], 100, "round {round}: {info}");
    }
    typist.wait_text("new 30 100", SOON);
    assert!(!typist.screen_text().contains("size 15 60"), "{}", typist.describe());
    drop(others);
}

#[test]
fn a_session_is_sized_by_whom_its_user_says() {
    let world = World::new();
    let job = "trap 'echo \"size $(stty size)\"' WINCH; echo ready; while :; do read -r line && echo \"now $(stty size)\"; done";
    world.create("dev", job);
    let big = world.view_sized(&["attach", "dev"], 100, 30);
    big.wait_text("ready", SOON);
    let tall = world.view_sized(&["attach", "dev"], 60, 40);
    world.wait_views("dev", 2);
    world.ok(&["size", "dev", "largest"]);
    big.wait_text("size 40 100", SOON);
    world.ok(&["size", "dev", "smallest"]);
    big.wait_text("size 30 60", SOON);
    // What is answered is what is.
    assert_eq!(world.json(&["size", "dev", "111x33"])["size"]["cols"], 111);
    big.wait_text("size 33 111", SOON);
    // Neither typing nor another window is asked any more, and another manager knows it.
    tall.type_("\r");
    big.wait_text("now 33 111", SOON);
    world.ok(&["daemon", "restart"]);
    world.wait_views("dev", 2);
    let info = world.wait_session("dev", "it runs", SOON, |info| info["state"] == "running");
    assert_eq!((&info["size_policy"], &info["size"]["cols"]), (&"fixed".into(), &111.into()));
    world.ok(&["size", "dev", "latest"]);
    tall.type_("\r");
    tall.wait_text("now 40 60", SOON);
    tall.close();
    world.wait_session("dev", "the size of who stayed", SOON, |info| info["size"]["cols"] == 100);
    for wrong in ["huge", "0x5", "12", "2000x10"] {
        world.fails(&["size", "dev", wrong], 2);
    }
    world.fails(&["size", "nothing", "latest"], 3);
}

#[test]
fn a_smaller_view_sees_one_window_around_the_cursor_with_lines_cut_at_its_edge() {
    let world = World::new();
    let mut command = world.command(&["create", "--name", "dev", "--size", "120x40", "--", "sh", "-c"]);
    command.arg(format!("stty -echo; {DRAWS}"));
    assert_eq!(world.finish(command, b"", SOON).code, 0);
    let big = world.view_sized(&["attach", "dev"], 120, 40);
    big.wait_text("ready", SOON);
    let small = world.view_sized(&["attach", "dev", "--read-only"], 50, 12);
    small.wait_text("ready", SOON);
    small.wait_text("dev is 120x40, you see 50x12", SOON);
    let lines: String = (1..=36).map(|n| format!(r"\r\n{n} {}", "x".repeat(n + 60))).collect();
    big.type_(format!("{lines}\\r\\nthe end\n"));
    big.wait_text("the end", SOON);
    small.wait_screen("the last rows, one below the other", SOON, |screen| {
        let rows: Vec<String> = screen.rows(0, 50).collect();
        let want: Vec<String> = (28..=36).map(|n| format!("{n} {}", "x".repeat(47))).collect();
        // Two rows of the session are empty below.
        rows[..9] == want && rows[9] == "the end"
    });
    // Somewhere else altogether.
    big.type_("\\033[3;100Hhere\\033[3;103H\n");
    small.wait_screen("the cursor in the picture", SOON, |screen| {
        let (row, col) = screen.cursor_position();
        screen.rows(0, 50).nth(row.into()).is_some_and(|text| text[..usize::from(col)].ends_with("her"))
    });
    // All of a session that is smaller than the terminal.
    let large = world.view_sized(&["attach", "dev", "--read-only"], 140, 50);
    large.wait_screen("all of it", SOON, |screen| {
        big.screen_text().trim_end() == screen.contents().trim_end() && !screen.contents().is_empty()
    });
}

#[test]
fn a_view_of_another_size_does_not_queue_what_a_flood_draws() {
    let world = World::new();
    let mut command = world.command(&["create", "--name", "dev", "--size", "100x30", "--", "sh", "-c"]);
    command.arg("stty -echo; printf ready; read -r line; seq 1 400000; printf 'the end'; cat");
    assert_eq!(world.finish(command, b"", SOON).code, 0);
    let big = world.view_sized(&["attach", "dev"], 100, 30);
    let small = world.view_sized(&["attach", "dev", "--read-only"], 40, 10);
    small.wait_text("ready", SOON);
    big.wait_text("ready", SOON);
    big.type_("\n");
    small.wait_text("the end", SOON * 2);
    small.wait_text("400000", SOON);
    assert!(small.raw_len() < 2_000_000, "{} bytes for a screen of 400", small.raw_len());
}

#[test]
fn typing_makes_the_session_as_large_as_the_view_and_bytes_flow_again() {
    let world = World::new();
    let mut command = world.command(&["create", "--name", "dev", "--size", "100x30", "--", "sh", "-c"]);
    command.arg("stty -echo; printf ready; while read -r line; do stty size; done");
    assert_eq!(world.finish(command, b"", SOON).code, 0);
    let big = world.view_sized(&["attach", "dev"], 100, 30);
    big.type_("\n");
    big.wait_text("30 100", SOON);
    let small = world.view_sized(&["attach", "dev"], 60, 20);
    small.type_("\n");
    small.wait_text("20 60", SOON);
    big.wait_text("20 60", SOON);
    big.type_("\n");
    big.wait_text("30 100\r\n".trim(), SOON);
    small.wait_screen("the newest rows", SOON, |screen| screen.contents().trim_end().ends_with("30 100"));
}
