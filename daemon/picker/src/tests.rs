//! The machine by tables, and what it looks like.

use crate::keys::{Input, Key};
use crate::list::Line;
use crate::machine::{Effect, Event, Look, Machine, Wish};
use crate::{Now, draw};
use proptest::prelude::*;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::style::{Color, Modifier};
use serde_json::{Value, json};
use sessd_base::prompt::Question;
use sessd_proto::docs::text::is_hidden;
use sessd_proto::docs::time::rfc3339;
use sessd_proto::docs::{Error, SessionDoc, StatusDoc};

const WALL: i64 = 1_800_000_000_000;

fn at(ms: u64) -> Now {
    Now { ms, wall_ms: WALL + ms as i64 }
}

/// `ago`: when it was active last, in seconds.
fn doc(name: &str, host: &str, ago: i64, more: Value) -> SessionDoc {
    let mut doc = json!({
        "id": format!("0193abcd-0000-7000-8000-{name:0>12}"), "name": name, "host": host, "state": "running", "end": null, "tags": {},
        "command": ["bash"], "cwd": "/src", "foreground": "bash", "title": null, "size": null, "views": [],
        "created_at": rfc3339(WALL - 7_200_000), "last_active_at": rfc3339(WALL - ago * 1000), "idle_seconds": 0,
        "idle_timeout_seconds": null, "reap_at": null, "link": if host == "local" { "local" } else { "up" }, "job_id": "j",
        "agent_version": null
    });
    for (key, value) in more.as_object().into_iter().flatten() {
        doc[key] = value.clone();
    }
    serde_json::from_value(doc).unwrap()
}

fn ended(name: &str, ago: i64) -> SessionDoc {
    let end = json!({"reason": "exited", "code": 3, "signal": null, "at": rfc3339(WALL - ago * 1000), "detail": null});
    doc(name, "local", ago, json!({"state": "done", "end": end}))
}

fn id(name: &str) -> String {
    doc(name, "local", 0, json!({})).id
}

fn machine(docs: Vec<SessionDoc>) -> Machine {
    let mut machine = Machine::new(Look { colour: true, wide: true, back: Some(0x1c) }, None);
    machine.handle(at(0), Event::Resized(100, 30));
    machine.handle(at(0), Event::Sessions(docs));
    machine.handle(at(100), Event::Tick);
    while machine.poll().is_some() {}
    machine
}

fn some() -> Machine {
    machine(vec![
        doc("dev", "local", 100, json!({})),
        doc(
            "train",
            "box",
            10,
            json!({"foreground": "python", "title": "epoch 3", "tags": {"gpu": "", "team": "ml"}}),
        ),
        doc(
            "web",
            "local",
            50,
            json!({"views": [{"id": "v", "kind": "cli", "read_only": false, "attached_at": ""}]}),
        ),
        ended("old", 500),
    ])
}

fn press(machine: &mut Machine, now: u64, keys: &str) -> Vec<Effect> {
    let mut inputs = Vec::new();
    let mut decoder = crate::keys::Keys::default();
    decoder.feed(keys.as_bytes(), 0, &mut inputs);
    decoder.expire(1_000, &mut inputs);
    inputs.into_iter().for_each(|input| machine.handle(at(now), Event::Input(input)));
    std::iter::from_fn(|| machine.poll())
        .filter(|effect| !matches!(effect, Effect::Look(_) | Effect::WantHosts))
        .collect()
}

fn tell(machine: &mut Machine, now: u64, event: Value) -> Vec<Effect> {
    machine.handle(at(now), Event::Told(serde_json::from_value(event).unwrap()));
    std::iter::from_fn(|| machine.poll()).filter(|effect| !matches!(effect, Effect::Look(_))).collect()
}

/// Names and hosts as they stand.
fn lines(machine: &Machine) -> Vec<String> {
    let name = |id: &str| machine.session(id).and_then(|doc| doc.name.clone()).unwrap_or_default();
    machine
        .list
        .lines
        .iter()
        .map(|line| match line {
            Line::Host(host) => format!("{host}:"),
            Line::Ended(count) => format!("ended {count}:"),
            Line::Session(id) => name(id),
        })
        .collect()
}

/// Drawn by a terminal of that size.
fn drawn(machine: &mut Machine, now: u64, cols: u16, rows: u16) -> Buffer {
    machine.handle(at(now), Event::Resized(cols, rows));
    let mut terminal = Terminal::new(TestBackend::new(cols, rows)).unwrap();
    terminal
        .draw(|frame| {
            draw::draw(machine, at(now), frame.buffer_mut());
        })
        .unwrap();
    terminal.backend().buffer().clone()
}

fn rows(buffer: &Buffer) -> Vec<String> {
    let row = |y: u16| (0..buffer.area.width).map(|x| buffer[(x, y)].symbol()).collect::<String>();
    (0..buffer.area.height).map(|y| row(y).trim_end().to_owned()).collect()
}

fn screen(machine: &mut Machine, now: u64, cols: u16, rows_: u16) -> String {
    rows(&drawn(machine, now, cols, rows_)).join("\n")
}

fn attach(name: &str) -> Vec<Effect> {
    vec![Effect::Attach(id(name))]
}

#[test]
fn sessions_stand_under_their_hosts_the_newest_first_and_what_has_ended_last() {
    assert_eq!(lines(&some()), ["box:", "train", "local:", "web", "dev", "ended 1:", "old"]);
}

#[test]
fn what_changes_is_told_and_shown() {
    let mut m = some();
    let about = |name: &str| json!({"id": id(name), "name": name, "host": "local", "state": "running", "job_id": "j"});
    let told = |event: &str, name: &str, more: Value| {
        let mut all = about(name);
        all["event"] = event.into();
        more.as_object().into_iter().flatten().for_each(|(key, value)| all[key] = value.clone());
        all
    };
    tell(
        &mut m,
        0,
        told(
            "activity",
            "dev",
            json!({"activity": {"state": "waiting", "source": "report", "since": "", "note": "may I?"}}),
        ),
    );
    tell(&mut m, 0, told("tags", "dev", json!({"tags": {"new": ""}})));
    tell(
        &mut m,
        0,
        told(
            "view-attached",
            "dev",
            json!({"view": {"id": "w", "kind": "web", "read_only": false, "attached_at": ""}}),
        ),
    );
    tell(
        &mut m,
        0,
        told(
            "view-left",
            "web",
            json!({"view": {"id": "v", "kind": "cli", "read_only": false, "attached_at": ""}}),
        ),
    );
    let seen = screen(&mut m, 100, 100, 30);
    let line = seen.lines().find(|line| line.contains(" dev ")).unwrap();
    assert!(line.contains("waiting") && line.contains("(open)") && line.contains("new"), "{seen}");
    assert!(!seen.lines().find(|line| line.contains(" web ")).unwrap().contains("(open)"), "{seen}");
    let mut named = told("name", "dev", json!({"was": "dev"}));
    named["name"] = "prod".into();
    tell(&mut m, 100, named);
    assert!(screen(&mut m, 100, 100, 30).contains("prod"));
    // One of which nothing is known is asked for, and one that is gone is gone at once.
    assert_eq!(tell(&mut m, 100, told("created", "new", json!({}))), [Effect::WantSession(id("new"))]);
    tell(&mut m, 100, told("deleted", "web", json!({})));
    assert!(!lines(&m).contains(&"web".to_owned()));
    assert_eq!(tell(&mut m, 100, json!({"event": "skipped", "count": 3})), [Effect::WantAll]);
    let document = serde_json::to_value(doc("late", "box", 0, json!({}))).unwrap();
    tell(&mut m, 9_000, json!({"event": "session", "session": document}));
    m.handle(at(20_000), Event::Tick);
    assert!(lines(&m).contains(&"late".to_owned()));
}

#[test]
fn what_one_is_about_to_choose_does_not_move() {
    let mut m = some();
    press(&mut m, 200, "j");
    let before = lines(&m);
    let document = serde_json::to_value(doc("dev", "local", -1, json!({}))).unwrap();
    tell(&mut m, 400, json!({"event": "session", "session": document}));
    m.handle(at(1_000), Event::Tick);
    assert_eq!((lines(&m), m.selected.clone()), (before, Some(id("web"))));
    m.handle(at(8_000), Event::Tick);
    assert_eq!(lines(&m)[..3], ["local:", "dev", "web"]);
    assert_eq!(m.selected, Some(id("web")));
}

#[test]
fn keys_choose_and_open() {
    for (keys, want) in [
        ("\r", "train"),
        ("j\r", "web"),
        ("jk\r", "train"),
        ("Gg\r", "train"),
        ("\x1b[B\x1b[B\x1b[A\r", "web"),
        ("1", "train"),
        ("3", "dev"),
        ("/web\r", "web"),
        ("/ml\r", "train"),
        ("/dv\r", "dev"),
        ("/zz\x1b[27u2", "web"),
    ] {
        assert_eq!(press(&mut some(), 200, keys), attach(want), "{keys:?}");
    }
    assert_eq!(press(&mut some(), 200, "7"), []);
    for keys in ["q", "\x03", "\x04", "\x1b"] {
        assert_eq!(press(&mut some(), 200, keys), [Effect::Leave], "{keys:?}");
    }
}

#[test]
fn the_mouse_chooses_and_opens() {
    let mut m = some();
    drawn(&mut m, 150, 100, 30);
    // The line of `web`: the title, the header, box, train, local.
    let click = |m: &mut Machine, now: u64| press(m, now, "\x1b[<0;9;6M");
    assert_eq!(click(&mut m, 200), []);
    assert_eq!(m.selected, Some(id("web")));
    assert_eq!(click(&mut m, 400), attach("web"));
    assert_eq!(click(&mut m, 2_000), []);
    assert_eq!(click(&mut m, 4_000), [], "two clicks, and not one and another");
    press(&mut m, 5_000, "\x1b[<65;9;6M");
    assert_eq!(m.selected, Some(id("old")));
}

#[test]
fn a_kill_is_asked_for_and_named() {
    let kill = |name: &str| vec![Effect::Ask(1, Wish::Delete(vec![id(name)]))];
    for (keys, want) in [
        ("dy", kill("train")),
        ("d3y", kill("dev")),
        // Whoever named it by its number has said which.
        ("d3\r", kill("dev")),
        ("jdy", kill("web")),
        ("d", vec![]),
        ("d\r", vec![]),
        ("dn", vec![]),
        ("d3n", vec![]),
        ("d9y", vec![]),
        ("xy", vec![Effect::Ask(1, Wish::Delete(vec![id("train"), id("web"), id("dev")]))]),
        ("x\r", vec![]),
        ("/ml\tx", vec![]),
        ("/ml\txy", kill("train")),
        ("Ry", vec![Effect::Ask(1, Wish::Restart(id("train")))]),
        ("Rn", vec![]),
        // Nothing ends by that.
        ("GR", vec![Effect::Ask(1, Wish::Restart(id("old")))]),
    ] {
        assert_eq!(press(&mut some(), 200, keys), want, "{keys:?}");
    }
    let mut m = some();
    press(&mut m, 200, "d2");
    let seen = screen(&mut m, 200, 60, 20);
    assert!(seen.contains("End web on local, which runs bash?") && seen.contains("y or enter"), "{seen}");
}

#[test]
fn a_name_and_tags_are_edited_where_they_stand() {
    let mut m = some();
    press(&mut m, 200, "r\x15big");
    let seen = screen(&mut m, 200, 80, 24);
    assert!(seen.contains("name: big"), "{seen}");
    let name = "big".to_owned();
    assert_eq!(press(&mut m, 300, "\r"), [Effect::Ask(1, Wish::Rename { id: id("train"), name })]);
    assert_eq!(press(&mut some(), 200, "r\r"), [], "unchanged");
    assert_eq!(press(&mut some(), 200, "rx\x1b[27u"), [], "given up");
    let set = vec![("new".to_owned(), "1".to_owned())];
    let remove = vec!["team".to_owned()];
    assert_eq!(
        press(&mut some(), 200, "t\x15gpu new=1\r"),
        [Effect::Ask(1, Wish::Tags { id: id("train"), set, remove })]
    );
    // A failure is said.
    m.handle(at(400), Event::Done(1, Err(Error::failed("the name is taken", "choose another"))));
    assert!(screen(&mut m, 400, 80, 24).contains("the name is taken: choose another"));
}

#[test]
fn a_new_session_is_shown_when_it_is_there_unless_one_turned_away() {
    for (meanwhile, want) in [("", attach("new")), ("j", vec![]), ("?", vec![])] {
        let mut m = some();
        let name = "new".to_owned();
        let made = press(&mut m, 200, "nnew\r");
        assert_eq!(made, [Effect::Ask(1, Wish::Create { name, host: "box".into() })], "where one stands");
        assert!(screen(&mut m, 300, 80, 24).contains("starting new on box"));
        press(&mut m, 400, meanwhile);
        m.handle(at(500), Event::Done(1, Ok(Some(Box::new(doc("new", "box", 0, json!({})))))));
        let effects: Vec<Effect> =
            std::iter::from_fn(|| m.poll()).filter(|effect| !matches!(effect, Effect::Look(_))).collect();
        assert_eq!(effects, want, "{meanwhile:?}");
        assert!(lines(&m).contains(&"new".to_owned()));
    }
    let mut m = some();
    m.handle(at(150), Event::Hosts(vec!["far".into(), "box".into()]));
    let host = "far".to_owned();
    let made = press(&mut m, 200, "n\tfar\r");
    assert_eq!(made, [Effect::Ask(1, Wish::Create { name: String::new(), host })]);
}

#[test]
fn where_there_is_no_session_one_is_offered() {
    let mut m = machine(vec![]);
    let seen = screen(&mut m, 100, 80, 24);
    assert!(seen.contains("no session yet: make one") && seen.contains("local"), "{seen}");
    let (name, host) = (String::new(), "local".to_owned());
    assert_eq!(press(&mut m, 200, "\r"), [Effect::Ask(1, Wish::Create { name, host })]);
    assert_eq!(press(&mut machine(vec![]), 200, "\x1b"), [Effect::Leave]);
    // Where all have ended, leaving that leads to them.
    let begins = [Effect::Ask(1, Wish::Restart(id("old")))];
    assert_eq!(press(&mut machine(vec![ended("old", 5)]), 200, "\x1b[27u\ry"), begins);
}

#[test]
fn the_only_session_is_what_one_wants() {
    let name = |m: &Machine| m.only_one().and_then(|doc| doc.name.clone());
    assert_eq!(name(&machine(vec![doc("dev", "local", 0, json!({}))])).as_deref(), Some("dev"));
    assert_eq!(
        name(&machine(vec![doc("dev", "local", 0, json!({})), ended("old", 5)])).as_deref(),
        Some("dev")
    );
    assert_eq!(name(&some()), None);
    assert_eq!(name(&machine(vec![doc("dev", "box", 0, json!({"state": "disconnected"}))])), None);
    let mut inside = Machine::new(Look::default(), Some(id("dev")));
    inside.handle(at(0), Event::Sessions(vec![doc("dev", "local", 0, json!({}))]));
    assert_eq!(name(&inside), None);
    assert_eq!(press(&mut inside, 1, "\r"), [], "it would show itself without end");
    assert!(screen(&mut inside, 2, 80, 24).contains("inside that session"));
}

fn offline() -> Machine {
    let mut m = some();
    let link = |host: &str, link: &str, detail: Value, next: Value, heard: Value| json!({"host": host, "link": link, "rtt_ms": null, "next_try_at": next, "detail": detail, "heard_at": heard});
    let status = json!({
        "pid": 1, "version": "", "since": rfc3339(WALL - 3_600_000), "sessions": 3,
        "links": [
            link("box", "down", json!("box cannot be reached: connection refused"), json!(rfc3339(WALL + 9_000)), json!(rfc3339(WALL - 180_000))),
            link("local", "local", json!(null), json!(null), json!(rfc3339(WALL)))
        ]
    });
    let status: StatusDoc = serde_json::from_value(status).unwrap();
    m.handle(at(100), Event::Status(status));
    m.handle(
        at(100),
        Event::Session(Box::new(doc(
            "train",
            "box",
            10,
            json!({"state": "disconnected", "link": "down", "idle_seconds": null, "title": "epoch 3", "tags": {"gpu": "", "team": "ml"}}),
        ))),
    );
    m
}

#[test]
fn of_a_host_that_is_away_its_sessions_are_shown_and_how_old_that_is_and_why() {
    let mut m = offline();
    let seen = screen(&mut m, 100, 100, 30);
    for what in
        ["box  out of reach: connection refused, known as of 3m ago, next try in 8s", "train", "disconnected"]
    {
        assert!(seen.contains(what), "{what}: {seen}");
    }
    // Where there is no room for all, the cause is what is cut.
    let narrow = screen(&mut m, 100, 60, 24);
    assert!(narrow.contains("box  out of reach: connection …, known as of 3m ago"), "{narrow}");
    // While it is tried again, why it was not reached is still what is known.
    let again = json!({"event": "link", "host": "box", "link": "connecting", "was": "down", "detail": null});
    tell(&mut m, 150, again);
    let seen = screen(&mut m, 150, 100, 30);
    assert!(seen.contains("box  connecting again: connection refused, known as of 3m ago"), "{seen}");
    // Where it stands is told, and what else is known of it asked for.
    let up = json!({"event": "link", "host": "box", "link": "up", "was": "down", "detail": null});
    assert_eq!(tell(&mut m, 200, up), [Effect::WantLinks]);
    assert!(!screen(&mut m, 200, 100, 30).contains("out of reach"));
    // It was reached: what was before counts no more.
    let lost = json!({"event": "link", "host": "box", "link": "connecting", "was": "up", "detail": null});
    tell(&mut m, 300, lost);
    assert!(!screen(&mut m, 300, 100, 30).contains("refused"));
}

#[test]
fn a_login_is_answered_here() {
    let mut m = some();
    let question =
        Question { host: "box".into(), text: "Ask Bob".into(), prompt: "Password:".into(), echo: false };
    m.handle(at(100), Event::Asked(1, 7, question.clone()));
    let seen = screen(&mut m, 200, 60, 20);
    assert!(seen.contains("box asks") && seen.contains("Ask Bob") && seen.contains("Password:"), "{seen}");
    let answer = press(&mut m, 300, "q1\r");
    let [Effect::Answer(1, 7, Some(given))] = answer.as_slice() else { panic!("{answer:?}") };
    assert_eq!(given.as_str(), "q1");
    assert!(!format!("{:?}", drawn(&mut m, 300, 60, 20)).contains("q1"));
    m.handle(at(400), Event::Asked(1, 8, question));
    m.handle(at(400), Event::AskedNoMore(1, 8));
    assert_eq!(press(&mut m, 500, "q"), [Effect::Leave]);
}

#[test]
fn the_screen_of_the_session_selected_is_asked_for_when_the_hand_rests() {
    let mut m = some();
    let looks = |m: &mut Machine| -> Vec<Option<String>> {
        std::iter::from_fn(|| m.poll())
            .filter_map(|effect| if let Effect::Look(of) = effect { Some(of) } else { None })
            .collect()
    };
    m.handle(at(200), Event::Input(Input::Key(Key::Down)));
    m.handle(at(210), Event::Input(Input::Key(Key::Down)));
    assert_eq!(looks(&mut m), []);
    m.handle(at(300), Event::Tick);
    assert_eq!(looks(&mut m), [Some(id("dev"))]);
    m.handle(at(310), Event::Screen((20, 5), b"\x1b[32mhello"));
    m.handle(at(310), Event::Output(b" there\x1b[m"));
    let buffer = drawn(&mut m, 320, 80, 24);
    let y = rows(&buffer).iter().position(|row| row.contains("hello there")).unwrap() as u16;
    assert_eq!(buffer[(0, y)].fg, Color::Indexed(2));
    // Too small for both: it takes the place of the list when it is wanted.
    assert!(!screen(&mut m, 330, 40, 12).contains("hello"));
    press(&mut m, 340, "p");
    assert!(screen(&mut m, 340, 40, 12).contains("hello there"));
    press(&mut m, 350, "\x1b[27u");
    assert!(screen(&mut m, 350, 40, 12).contains("train"));
}

#[test]
fn it_fits_into_small_and_large_terminals() {
    let mut m = offline();
    let small = screen(&mut m, 100, 40, 12);
    for what in [
        "sessd  3 sessions on 2 hosts",
        "1 train",
        "2 web",
        "3 dev",
        "(open)",
        "enter attach",
        "ended (1)",
        "out of reach",
    ] {
        assert!(small.contains(what), "{what}: {small}");
    }
    let usual = screen(&mut m, 100, 80, 24);
    for what in ["NAME", "STATE", "COMMAND", "ACTIVE", "gpu team=ml", "? help", "train on box"] {
        assert!(usual.contains(what), "{what}: {usual}");
    }
    let large = screen(&mut m, 100, 160, 40);
    for what in ["TAGS", "AGE", "2h", "epoch 3", "│", "made 2h ago"] {
        assert!(large.contains(what), "{what}: {large}");
    }
    for keys in ["?", "\x1b[27un", "\x1b[27ud", "\x1b[27ux"] {
        press(&mut m, 200, keys);
        assert!(screen(&mut m, 200, 40, 12).contains('┌'), "{keys:?}");
    }
}

#[test]
fn the_line_that_is_chosen_is_one_bar() {
    for colour in [true, false] {
        let mut m = offline();
        m.look.colour = colour;
        let buffer = drawn(&mut m, 100, 100, 20);
        let chosen: Vec<_> =
            buffer.content.iter().filter(|cell| cell.modifier.contains(Modifier::REVERSED)).collect();
        assert!(chosen.len() > 40, "{}", chosen.len());
        for cell in chosen {
            assert_eq!((cell.fg, cell.bg), (Color::Reset, Color::Reset), "{cell:?}");
            assert!(!cell.modifier.contains(Modifier::DIM), "{cell:?}");
        }
    }
}

#[test]
fn every_word_of_the_help_and_of_what_a_question_takes_can_be_read_in_a_small_terminal() {
    let mut m = offline();
    let words = |screen: &str| -> Vec<String> { screen.split_whitespace().map(str::to_owned).collect() };
    let whole = screen(&mut m, 100, 160, 40);
    press(&mut m, 100, "?");
    let help = screen(&mut m, 100, 160, 40);
    let wanted: Vec<String> = words(&help).into_iter().filter(|word| !words(&whole).contains(word)).collect();
    assert!(wanted.len() > 40, "{wanted:?}");
    for (cols, height) in [(40, 12), (30, 8), (64, 16)] {
        press(&mut m, 200, "\x1b[27u?");
        let mut seen = Vec::new();
        for _ in 0..60 {
            seen.extend(words(&screen(&mut m, 200, cols, height)));
            press(&mut m, 200, "j");
        }
        for word in &wanted {
            assert!(seen.contains(word) || word.contains('─') || word == "keys", "{word} at {cols}x{height}");
        }
        // It ends there, and begins where it began.
        press(&mut m, 200, &"k".repeat(60));
        assert!(screen(&mut m, 200, cols, height).contains("attach; the"), "{cols}x{height}");
        assert!(m.dialog.is_some());
    }
    for (keys, wanted) in [
        ("\x1b[27un", ["enter makes it", "esc back", "tab field", "up down host"]),
        ("\x1b[27ud", ["y: yes", "1-9:", "that one instead", "no"]),
    ] {
        press(&mut m, 300, keys);
        let small = words(&screen(&mut m, 300, 40, 12)).join(" ").replace("│ │ ", "");
        for what in wanted {
            assert!(small.contains(what), "{what}: {small}");
        }
    }
    let secret =
        Question { host: "box".into(), text: String::new(), prompt: "passphrase: ".into(), echo: false };
    m.handle(at(400), Event::Asked(1, 1, secret));
    let small = words(&screen(&mut m, 400, 40, 12)).join(" ").replace("│ │ ", "");
    for what in ["passphrase:", "not shown;", "enter answers", "esc", "declines"] {
        assert!(small.contains(what), "{what}: {small}");
    }
}

#[test]
fn without_colours_there_are_none_and_without_more_than_ascii_nothing_else() {
    let mut m = offline();
    m.look = Look { colour: false, wide: false, back: None };
    m.handle(at(100), Event::Tick);
    m.preview.of(m.selected.clone());
    m.handle(at(110), Event::Screen((20, 5), "\x1b[31mé漢".as_bytes()));
    for keys in ["", "?", "\x1b[27un", "\x1b[27up"] {
        press(&mut m, 200, keys);
        let buffer = drawn(&mut m, 200, 120, 30);
        for cell in &buffer.content {
            assert_eq!((cell.fg, cell.bg), (Color::Reset, Color::Reset), "{cell:?}");
            assert!(cell.symbol().is_ascii(), "{cell:?}");
        }
    }
}

const HOSTILE: &str = "a\u{1b}]0;x\u{7}\u{9b}2J\u{202e}\u{200b}\r\n\u{e0041}b";

#[test]
fn text_of_others_does_not_act() {
    let mut m = machine(vec![doc(
        "dev",
        HOSTILE,
        1,
        json!({
            "name": HOSTILE, "title": HOSTILE, "foreground": HOSTILE, "cwd": HOSTILE, "command": [HOSTILE], "tags": {HOSTILE: HOSTILE},
            "activity": {"state": HOSTILE, "source": HOSTILE, "since": "", "note": HOSTILE},
            "views": [{"id": HOSTILE, "kind": HOSTILE, "read_only": false, "attached_at": ""}]
        }),
    )]);
    m.say(HOSTILE, true);
    let question = Question { host: "box".into(), text: String::new(), prompt: "?".into(), echo: true };
    for (keys, asked) in [
        ("", false),
        ("r", false),
        ("\x1b[27ut", false),
        ("\x1b[27un", false),
        ("\x1b[27ud", false),
        ("\x1b[27u", true),
    ] {
        press(&mut m, 200, keys);
        if asked {
            m.handle(at(200), Event::Asked(1, 1, question.clone()));
        }
        for (cols, height) in [(40, 12), (100, 30), (160, 40)] {
            let buffer = drawn(&mut m, 200, cols, height);
            let odd = buffer.content.iter().find(|cell| cell.symbol().contains(is_hidden));
            assert_eq!(odd, None, "{keys:?}");
        }
    }
}

#[test]
fn a_thousand_sessions_are_put_in_order_and_drawn_at_once() {
    let docs = (0..1_000).map(|n| doc(&format!("s{n}"), &format!("host{}", n % 20), n, json!({}))).collect();
    let began = std::time::Instant::now();
    let mut m = machine(docs);
    drawn(&mut m, 200, 120, 40);
    let first = began.elapsed();
    press(&mut m, 300, "/host7");
    assert_eq!(lines(&m)[0], "host7:");
    // A hundredth of this where it is built to be used; what would be quadratic is far beyond.
    assert!(first < std::time::Duration::from_secs(2), "{first:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn whatever_is_typed_at_whatever_size_it_stands(
        keys in prop::collection::vec(prop::sample::select(vec![
            "j", "k", "\r", "n", "r", "t", "d", "x", "y", "R", "/", "?", "p", "e", "q", "1", "9", "\t", "\x1b[27u", "é", "漢", "\x7f", "\x15",
            "\x1b[A", "\x1b[B", "\x1b[5~", "\x1b[6~", "\x1b[<0;3;4M", "\x1b[<65;3;4M", "\x1b[200~box\x1b[201~",
        ]), 0..30),
        sizes in prop::collection::vec((1u16..140, 1u16..50), 1..4),
        gone in 0usize..4,
    ) {
        let mut m = offline();
        let mut now = 200;
        for (at_, key) in keys.iter().enumerate() {
            now += 37;
            press(&mut m, now, key);
            if at_ % 7 == gone {
                let name = ["dev", "train", "web", "old"][gone];
                tell(&mut m, now, json!({"event": "deleted", "id": id(name), "name": name, "host": "local", "state": "done", "job_id": ""}));
            }
            let (cols, height) = sizes[at_ % sizes.len()];
            drawn(&mut m, now, cols, height);
            let shown = m.selected.as_ref().is_none_or(|id| m.list.shown().any(|one| one == id));
            prop_assert!(shown, "what is selected can be seen");
        }
    }
}

#[test]
fn one_that_has_ended_is_asked_about_here_and_not_left_for() {
    for (opens, answer, want) in [
        ("G\r", "\x1b", vec![]),
        ("G\r", "n", vec![]),
        ("G\r", "\r", vec![]),
        ("4", "\x1b", vec![]),
        ("jjj\r", "\x1b", vec![]),
        ("jjjjjj\r", "\x03", vec![]),
        ("G\r", "y", vec![Effect::Ask(1, Wish::Restart(id("old")))]),
        ("/old\r", "y", vec![Effect::Ask(1, Wish::Restart(id("old")))]),
    ] {
        let mut m = some();
        assert_eq!(press(&mut m, 200, opens), [], "{opens:?}");
        let asked = screen(&mut m, 200, 100, 30);
        assert!(asked.contains("old has ended (exited 3). Begin it anew?"), "{asked}");
        assert_eq!(press(&mut m, 300, answer), want, "{opens:?} {answer:?}");
        assert!(!screen(&mut m, 300, 100, 30).contains("Begin it anew?"));
    }
    // Whoever wanted to see it sees it once it runs.
    let mut m = some();
    press(&mut m, 200, "G\ry");
    m.handle(at(400), Event::Done(1, Ok(Some(Box::new(doc("old", "local", 0, json!({})))))));
    assert_eq!(
        std::iter::from_fn(|| m.poll()).find(|effect| matches!(effect, Effect::Attach(_))),
        attach("old").pop()
    );
}

#[test]
fn how_one_comes_back_is_seen_before_one_goes() {
    for (back, hint, help) in [
        (Some(0x1c), "Ctrl-\\ back", "the detach key (Ctrl-\\) comes back here"),
        (Some(0x11), "Ctrl-q back", "the detach key (Ctrl-q) comes back here"),
        (None, "(no key back)", "no key comes back here, `sessd detach NAME`"),
    ] {
        let mut m = some();
        m.look.back = back;
        for (cols, rows) in [(40, 12), (80, 24)] {
            let seen = screen(&mut m, 200, cols, rows);
            assert!(seen.lines().last().is_some_and(|line| line.contains(hint)), "{seen}");
        }
        press(&mut m, 300, "?");
        let seen = screen(&mut m, 300, 80, 24);
        assert!(seen.contains(help), "{seen}");
    }
}

#[test]
fn within_a_session_one_begins_at_another() {
    for (here, others, want) in [("dev", true, "web"), ("web", true, "dev"), ("dev", false, "dev")] {
        let mut m = Machine::new(Look::default(), Some(id(here)));
        let mut docs = vec![doc(here, "local", 1, json!({}))];
        docs.extend(others.then(|| doc(want, "local", 50, json!({}))));
        m.handle(at(0), Event::Sessions(docs));
        assert_eq!(m.selected, Some(id(want)), "in {here}");
    }
}
