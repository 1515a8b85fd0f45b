//! Records tell the truth: the end of a session and its last screen, events, full disks, two managers.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use sessd_tests::world::{files_below, set_mode};
use sessd_tests::{LATER, Numbers, SOON, World, procs, until, until_or};

fn file(world: &World, name: &str) -> PathBuf {
    world.root().join(name)
}

// ---- done records

#[test]
fn attach_to_a_done_session_shows_its_end_and_ends_with_its_code() {
    let world = World::new();
    world.create("dev", "printf '\\033[31mred\\033[m words\\n'; i=0; while [ $i -lt 100 ]; do echo line $i; i=$((i+1)); done; exit 7");
    world.wait_state("dev", "done", SOON);
    let shown = world.sessd(&["attach", "dev"]);
    assert_eq!(shown.code, 7, "{shown:#?}");
    assert!(
        shown.stdout.starts_with("red words\nline 0\nline 1\n") && shown.stdout.ends_with("line 99\n"),
        "{}",
        shown.stdout
    );
    assert!(
        shown.stderr.contains("exited 7") && shown.stderr.contains("sessd restart dev"),
        "{}",
        shown.stderr
    );
    // The same after the manager died, and to a terminal; anything but yes leaves it as it is.
    world.kill_manager();
    let mut view = world.attach("dev");
    view.wait_text("restart? [y/N]", SOON);
    view.wait_text("line 99", SOON);
    view.type_("\r");
    assert_eq!(view.wait_exit(SOON), 7);
    assert_eq!(world.info("dev").expect("known")["state"], "done");
}

/// Ctrl-\\ would end a program that asks as usual, and a dump of its memory would be left.
#[test]
fn the_detach_key_leaves_the_question_of_a_done_session() {
    let world = World::new();
    world.create("dev", "exit 7");
    world.wait_state("dev", "done", SOON);
    let mut view = world.attach("dev");
    let before = format!("{:?}", view.termios());
    view.wait_text("restart? [y/N]", SOON);
    view.type_(b"\x1c");
    assert_eq!(view.wait_exit(SOON), 7);
    assert_eq!(format!("{:?}", view.termios()), before);
    assert_eq!(world.info("dev").expect("known")["state"], "done");
}

/// A shell that is left without its Ctrl-\\ is not as it was.
#[test]
fn a_signal_at_the_question_of_a_done_session_leaves_the_terminal_as_it_was() {
    let world = World::new();
    world.create("dev", "echo words; exit 7");
    world.wait_state("dev", "done", SOON);
    for signal in [rustix::process::Signal::INT, rustix::process::Signal::USR2] {
        let mut view = world.attach("dev");
        let before = format!("{:?}", view.termios());
        view.wait_text("restart? [y/N]", SOON);
        view.signal(signal);
        assert_eq!(view.wait_exit(SOON), 128 + signal.as_raw());
        assert_eq!(format!("{:?}", view.termios()), before, "{signal:?}");
    }
    // Whoever wants a document gets one and nothing else.
    let output = world.sessd(&["attach", "dev", "--json"]);
    assert_eq!((output.code, output.stderr.as_str()), (7, ""), "{output:#?}");
    let document: Value = serde_json::from_str(&output.stdout).expect("one document");
    assert_eq!((&document["outcome"], &document["end"]["code"]), (&json!("ended"), &json!(7)));
}

#[test]
fn attach_to_a_done_session_restarts_it_when_told_so() {
    let world = World::new();
    let count = file(&world, "count");
    world.create(
        "dev",
        &format!(
            "echo x >>{0}; if [ $(wc -l <{0}) -gt 1 ]; then echo second run; exec cat; fi",
            count.display()
        ),
    );
    world.wait_state("dev", "done", SOON);
    let view = world.attach("dev");
    view.wait_text("restart? [y/N]", SOON);
    view.type_("y\r");
    view.wait_text("second run", SOON);
    world.wait_state("dev", "running", SOON);
}

#[test]
fn a_job_that_ended_while_the_manager_was_away_has_its_last_screen_too() {
    let world = World::new();
    let go = Numbers::new(world.root());
    world.create("dev", &format!("{}; echo last words; exit 3", go.script()));
    let pid = go.pid();
    go.emit(50);
    world.kill_manager();
    drop(go);
    procs::wait_gone(pid, SOON);
    world.wait_state("dev", "done", SOON);
    let shown = world.sessd(&["attach", "dev"]);
    assert_eq!(shown.code, 3, "{shown:#?}");
    assert!(shown.stdout.contains("n:000000") && shown.stdout.ends_with("last words\n"), "{shown:#?}");
    until("the host to have forgotten it", SOON, || {
        let mut left = 0;
        files_below(&world.home().join(".local/state/sessd-agent/jobs"), &mut |_| left += 1);
        (left == 0).then_some(())
    });
}

#[test]
fn done_records_are_kept_as_long_as_the_configuration_says() {
    let world = World::new();
    fs::write(world.config(), "keep_done = '2s'\n").expect("the configuration");
    world.create("dev", "exit 0");
    let done = world.wait_state("dev", "done", SOON);
    assert_eq!(done["end"]["code"], 0);
    // By the manager that runs, and not only by the next.
    until("two seconds to have passed", LATER, || world.info("dev").is_none().then_some(()));
}

#[test]
fn a_restart_that_cannot_be_leaves_the_session_as_it_was() {
    let world = World::new();
    let folder = file(&world, "folder");
    fs::create_dir(&folder).expect("a folder");
    world.ok(&[
        "create",
        "--name",
        "dev",
        "--cwd",
        folder.to_str().expect("text"),
        "--",
        "sh",
        "-c",
        "echo first; exit 7",
    ]);
    let before = world.wait_state("dev", "done", SOON);
    fs::remove_dir(&folder).expect("the folder");
    let output = world.sessd(&["restart", "dev"]);
    if output.code == 0 {
        // An agent that starts a job in the home when its folder is gone runs it, which is as good.
        return;
    }
    let after = world.info("dev").expect("it is still there");
    assert_eq!((&after["state"], &after["end"]["code"]), (&before["state"], &before["end"]["code"]));
    world.kill_manager();
    let after = world.info("dev").expect("it is still there");
    assert_eq!((&after["state"], &after["end"]), (&before["state"], &before["end"]));
    assert!(world.sessd(&["attach", "dev"]).stdout.contains("first"));
}

// ---- events

struct Heard {
    child: std::process::Child,
    path: PathBuf,
}

impl Heard {
    fn start(world: &World) -> Heard {
        let path = file(world, "events");
        let out = fs::File::create(&path).expect("a file");
        let child = world
            .command(&["events", "--json"])
            .stdin(Stdio::null())
            .stdout(out)
            .spawn()
            .expect("sessd events");
        Heard { child, path }
    }

    fn all(&self) -> Vec<Value> {
        let text = fs::read_to_string(&self.path).unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    fn wait(&self, what: &str, fact: impl Fn(&Value) -> bool) {
        until_or(what, SOON, || self.all().iter().any(&fact).then_some(()), || format!("{:#?}", self.all()));
    }
}

impl Drop for Heard {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn every_change_is_an_event() {
    let world = World::new();
    world.ok(&["daemon"]);
    let heard = Heard::start(&world);
    // Whether it listens already is seen from an event: made until one came.
    until("the first event", SOON, || {
        world.create("probe", "exec cat");
        world.ok(&["delete", "probe", "--force"]);
        (!heard.all().is_empty()).then_some(())
    });
    world.create("dev", "read line; exit 7");
    heard.wait("created", |e| e["event"] == "created" && e["name"] == "dev");
    heard.wait("running", |e| {
        e["event"] == "state" && e["name"] == "dev" && e["state"] == "running" && e["was"] == "init"
    });
    world.ok(&["tag", "dev", "--name", "new", "k=v"]);
    heard.wait("named", |e| e["event"] == "name" && e["name"] == "new" && e["was"] == "dev");
    heard.wait("tagged", |e| e["event"] == "tags" && e["tags"] == json!({"k": "v"}));
    let view = world.attach("new");
    heard.wait("attached", |e| {
        e["event"] == "view-attached" && e["name"] == "new" && e["view"]["kind"] == "cli"
    });
    world.ok(&["detach", "new"]);
    heard.wait("left", |e| e["event"] == "view-left" && e["name"] == "new");
    drop(view);
    let view = world.attach("new");
    view.type_("\r");
    heard.wait("done", |e| e["event"] == "state" && e["state"] == "done" && e["end"]["code"] == 7);
    world.ok(&["delete", "new"]);
    heard.wait("deleted", |e| e["event"] == "deleted" && e["name"] == "new");
    // The agent's end is a change of the link.
    world.create("more", "exec cat");
    for agent in world.agents(&world.home(), "serve") {
        procs::signal(agent, rustix::process::Signal::KILL);
    }
    heard.wait("link down", |e| e["event"] == "link" && e["host"] == "local" && e["link"] != "local");
    heard.wait("disconnected", |e| {
        e["event"] == "state" && e["name"] == "more" && e["state"] == "disconnected"
    });
    // Killed, the manager is another; it is listened to as soon as there is one.
    world.kill_manager();
    until("an event of the next manager", SOON, || {
        world.ok(&["tag", "more", "n=1"]);
        world.ok(&["tag", "more", "n-"]);
        heard.all().iter().any(|e| e["event"] == "tags" && e["tags"] == json!({"n": "1"})).then_some(())
    });
}

// ---- bad input

/// A small file system for the manager's home, which can be filled. `None` where that is not allowed.
struct Small(PathBuf);

impl Small {
    fn mount(at: &Path) -> Option<Small> {
        fs::create_dir_all(at).expect("a folder");
        let status = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=2m,mode=700", "tmpfs"])
            .arg(at)
            .stderr(Stdio::null())
            .status();
        status.is_ok_and(|s| s.success()).then(|| Small(at.to_owned()))
    }

    fn fill(&self) {
        let mut file = fs::File::create(self.0.join("ballast")).expect("a file");
        while file.write_all(&[0; 4096]).is_ok() {}
        while file.write_all(&[0; 1]).is_ok() {}
    }

    fn empty(&self) {
        fs::remove_file(self.0.join("ballast")).expect("the ballast");
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // Lazily: the manager may still have its files open.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_is_one_line_and_nothing_is_lost() {
    let mut world = World::new();
    let home = file(&world, "small");
    let Some(small) = Small::mount(&home) else {
        eprintln!("no file system can be mounted here: not tested");
        return;
    };
    world.set_env("SESSD_HOME", home.display().to_string());
    let go = Numbers::new(world.root());
    // Its last screen is larger than what an attempt that failed may have left free in the database's files.
    let long = "i=0; while [ $i -lt 900 ]; do printf '%0400d\\n' $i; i=$((i+1)); done";
    world.create("ends", &format!("{}; {long}; echo last words; exit 7", go.script()));
    let pid = go.pid();
    world.create("stays", "stty -echo; echo ready; while read -r line; do echo \"got <$line>\"; done");
    let view = world.attach("stays");
    view.wait_text("ready", SOON);
    let manager = world.manager_pid();
    small.fill();
    let line = world.fails(&["create", "--name", "more", "--", "cat"], 1);
    assert!(line.contains("database"), "{line}");
    world.fails(&["tag", "stays", "k=v"], 1);
    // The end cannot be written down: so it is not said, and not forgotten.
    drop(go);
    procs::wait_gone(pid, SOON);
    view.type_("still here\r");
    view.wait_text("got <still here>", SOON);
    assert_ne!(world.info("ends").expect("known")["state"], "done");
    assert_eq!(world.info("stays").expect("known")["tags"], json!({}));
    small.empty();
    let done = world.wait_state("ends", "done", LATER);
    assert_eq!(done["end"]["code"], 7);
    assert!(world.sessd(&["attach", "ends"]).stdout.ends_with("last words\n"));
    world.ok(&["tag", "stays", "k=v"]);
    world.create("more", "exec cat");
    assert_eq!(world.manager_pid(), manager);
    world.kill_manager();
    assert_eq!(world.wait_state("ends", "done", SOON)["end"]["code"], 7);
    for manager in world.managers() {
        procs::signal(manager, rustix::process::Signal::KILL);
        procs::wait_gone(manager, SOON);
    }
}

#[test]
fn a_full_disk_on_the_host_refuses_a_job_in_one_line_and_keeps_the_last_words_of_another() {
    let world = World::new();
    // A folder that the configuration names is the only one: elsewhere the job would go into a fallback.
    let folder = world.root().join("agent");
    let text = format!("[hosts.local]\nagent_dir = '{}'\n", folder.display());
    fs::write(world.config(), text).expect("the configuration");
    let Some(small) = Small::mount(&folder) else {
        eprintln!("no file system can be mounted here: not tested");
        return;
    };
    let go = Numbers::new(world.root());
    world.create("ends", &format!("{}; echo last words; exit 7", go.script()));
    let pid = go.pid();
    small.fill();
    let line = world.fails(&["create", "--name", "more", "--", "cat"], 1);
    assert!(line.contains("No space left") && line.contains("nothing was started"), "{line}");
    assert!(world.info("more").is_none());
    drop(go);
    procs::wait_gone(pid, SOON);
    assert_eq!(world.wait_state("ends", "done", SOON)["end"]["code"], 7);
    let shown = world.sessd(&["attach", "ends"]);
    assert!(shown.stdout.ends_with("last words\n"), "{shown:#?}");
    small.empty();
    world.create("more", "exec cat");
    world.ok(&["delete", "--all", "--force"]);
}

/// Files that nobody may write, whoever it is and however long it has had them open. `None` where that is not allowed.
struct Immutable(Vec<PathBuf>);

impl Immutable {
    fn make(paths: Vec<PathBuf>) -> Option<Immutable> {
        let made = Immutable(paths);
        made.change("+i").then_some(made)
    }

    fn change(&self, how: &str) -> bool {
        Command::new("chattr")
            .arg(how)
            .args(&self.0)
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    }
}

impl Drop for Immutable {
    fn drop(&mut self) {
        self.change("-i");
    }
}

#[test]
fn a_database_that_becomes_read_only_is_one_line_and_nothing_is_lost() {
    let world = World::new();
    let mut go = Some(Numbers::new(world.root()));
    let script = go.as_ref().map(Numbers::script).unwrap_or_default();
    world.create("ends", &format!("{script}; echo last words; exit 7"));
    let pid = go.as_ref().map(Numbers::pid).expect("the job");
    world.create("stays", "stty -echo; echo ready; while read -r line; do echo \"got <$line>\"; done");
    world.create("over", "exit 3");
    world.wait_state("over", "done", SOON);
    let view = world.attach("stays");
    view.wait_text("ready", SOON);
    let manager = world.manager_pid();
    let mut files = world.files(".db");
    files.extend(world.files(".db-wal"));
    assert_eq!(files.len(), 2, "{files:?}");
    // First the files, then their folder, too: each time it is said, and each time it is over without a trace.
    for (round, more) in [vec![], vec![world.sessd_home()]].into_iter().enumerate() {
        let Some(immutable) = Immutable::make([files.clone(), more].concat()) else {
            eprintln!("no file can be made immutable here: not tested");
            return;
        };
        for args in
            [&["create", "--name", "more", "--", "cat"][..], &["tag", "stays", "k=v"], &["delete", "stays"]]
        {
            let line = world.fails(args, 1);
            assert!(line.contains("database") && line.contains("permissions"), "{line}");
        }
        // The end cannot be written down: so it is not said, and not forgotten.
        drop(go.take());
        procs::wait_gone(pid, SOON);
        assert_eq!(world.list().len(), 3, "what is known is still shown");
        let word = format!("still here {round}");
        view.type_(format!("{word}\r"));
        view.wait_text(&format!("got <{word}>"), SOON);
        assert_ne!(world.info("ends").expect("known")["state"], "done");
        let stays = world.info("stays").expect("known");
        assert_eq!((&stays["state"], &stays["tags"]), (&"running".into(), &json!({})), "{stays:#}");
        drop(immutable);
    }
    let done = world.wait_state("ends", "done", LATER);
    assert_eq!(done["end"]["code"], 7);
    assert!(world.sessd(&["attach", "ends"]).stdout.ends_with("last words\n"));
    world.ok(&["tag", "stays", "k=v"]);
    world.create("more", "exec cat");
    assert_eq!(world.manager_pid(), manager);
    world.kill_manager();
    for (name, code) in [("ends", 7), ("over", 3)] {
        assert_eq!(world.wait_state(name, "done", SOON)["end"]["code"], code);
    }
    assert_eq!(world.wait_state("stays", "running", SOON)["tags"], json!({"k": "v"}));
    view.type_("after\r");
    view.wait_text("got <after>", SOON);
}

/// A manager to which permissions mean something: root's do not.
fn bound_by_permissions(world: &World, args: &[&str]) -> Command {
    if !rustix::process::geteuid().is_root() {
        return world.command(args);
    }
    let mut command = world.program("setpriv");
    command
        .arg("--bounding-set=-dac_override,-dac_read_search")
        .arg(sessd_tests::world::sessd_binary())
        .args(args);
    command
}

#[test]
fn a_manager_that_finds_its_database_read_only_says_so_and_jobs_run_on() {
    let world = World::new();
    let numbers = Numbers::new(world.root());
    world.create("dev", &numbers.script());
    let pid = numbers.pid();
    world.ok(&["daemon", "stop"]);
    let database = world.files(".db").pop().expect("a database");
    let said = |args: &[&str]| {
        let output = world.finish(bound_by_permissions(&world, args), b"", SOON);
        world.one_error(&args.join(" "), &output, 1)
    };
    if world.finish(bound_by_permissions(&world, &["--version"]), b"", SOON).code != 0 {
        eprintln!("setpriv cannot take root's rights here: not tested");
        return;
    }
    for (path, closed, open) in [(&database, 0o400, 0o600), (&world.sessd_home(), 0o500, 0o700)] {
        set_mode(path, closed);
        for args in [&["list"][..], &["daemon", "--foreground"]] {
            let line = said(args);
            assert!(line.contains(path.to_str().expect("text")), "what cannot be written is named: {line}");
        }
        assert_eq!(world.managers(), [] as [i32; 0]);
        assert!(procs::alive(pid));
        set_mode(path, open);
        let back = world.finish(bound_by_permissions(&world, &["list"]), b"", SOON);
        assert_eq!(back.code, 0, "{back:#?}");
        world.wait_state("dev", "running", SOON);
        world.ok(&["daemon", "stop"]);
    }
    assert_eq!(numbers.pid(), pid);
}

#[test]
fn callers_with_two_runtime_folders_have_one_manager_of_one_database() {
    let mut world = World::new();
    let (state, config) = (file(&world, "state"), file(&world, "config"));
    fs::create_dir(&state).expect("a folder");
    world.set_env("SESSD_HOME", "");
    world.set_env("XDG_CONFIG_HOME", config.display().to_string());
    world.set_env("XDG_STATE_HOME", state.display().to_string());
    world.create("dev", "exec cat");
    let link = file(&world, "link");
    std::os::unix::fs::symlink(&state, &link).expect("a link");
    let run = file(&world, "run2");
    fs::create_dir(&run).expect("a folder");
    let mut command = world.command(&["list"]);
    command.env("XDG_STATE_HOME", &link).env("XDG_RUNTIME_DIR", &run);
    // The folder of the records is what makes it the same manager, by whatever path and with whatever runtime folder.
    let output = world.finish(command, b"", SOON);
    assert!(output.code == 0 && output.stdout.contains("dev"), "{output:#?}");
    assert_eq!(fs::read_dir(&run).expect("the folder").count(), 0, "no second socket");
    let mut command = world.command(&["daemon", "--foreground"]);
    command.env("XDG_STATE_HOME", &link).env("XDG_RUNTIME_DIR", &run);
    let line = world.one_error("a second manager", &world.finish(command, b"", SOON), 1);
    assert!(line.contains("another manager"), "{line}");
    world.wait_state("dev", "running", SOON);
    world.ok(&["daemon", "stop"]);
    let mut command = world.command(&["info", "dev"]);
    command.env("XDG_STATE_HOME", &link).env("XDG_RUNTIME_DIR", &run);
    assert_eq!(world.finish(command, b"", SOON).code, 0, "with the first gone the second may");
}

// ---- many

#[test]
fn a_list_longer_than_a_frame_arrives_whole() {
    let world = World::new();
    let long = "x".repeat(100_000);
    for n in 0..14 {
        world.ok(&["create", "--name", &format!("s{n}"), "--", "sh", "-c", "exec cat", &long]);
    }
    assert_eq!(world.list().len(), 14);
}
