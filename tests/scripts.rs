//! Programs that drive sessions: typed into, looked at, waited for and run, on two hosts, beside a person who notices nothing.

use sessd_tests::{LATER, SOON, SshConfig, Sshd, World, until};

const ANSWER: &str = "stty -echo; echo ready; while read -r line; do echo \"got <$line>\"; done";

fn world_with_host() -> (World, Sshd) {
    let mut world = World::new();
    let host = Sshd::start_with(&world, "h1", &[]);
    SshConfig::new(&mut world).host("box", &host);
    (world, host)
}

#[test]
fn scripts_drive_sessions_on_two_hosts_and_a_person_beside_them_notices_nothing() {
    let (world, _host) = world_with_host();
    world.create("here", ANSWER);
    world.create_on("box", "there", ANSWER);
    let view = world.view_sized(&["attach", "here"], 90, 20);
    view.wait_text("ready", SOON);
    let before = world.json(&["info", "here"]);
    for session in ["here", "there"] {
        world.ok(&["wait", session, "--for", "ready", "--timeout", "30s"]);
        world.ok(&["send", session, "--enter", "one two"]);
        world.ok(&["wait", session, "--for", "got <one two>", "--timeout", "30s"]);
        assert!(world.ok(&["capture", session]).stdout.contains("got <one two>\n"));
        // A key, and several lines at once.
        world.ok(&["send", session, "abx", "-k", "BSpace", "-k", "Enter"]);
        world.ok(&["wait", session, "--for", "^got <ab>$", "--regex", "--timeout", "30s"]);
        let typed = world.finish(world.command(&["send", session, "-"]), b"line 1\nline 2\n", SOON);
        assert_eq!(typed.code, 0, "{typed:#?}");
        world.ok(&["wait", session, "--for", "got <line 2>", "--timeout", "30s"]);
    }
    // A question ends with a blank, and a prompt does.
    world.create("asks", "read -r -p 'name? ' n; exit 0");
    world.ok(&["wait", "asks", "--for", "name? ", "--timeout", "30s"]);
    world.ok(&["wait", "asks", "--for", r"^name\? $", "--regex", "--timeout", "30s"]);
    // More than a holder remembers of views: whoever sits there keeps a keyboard.
    for n in 0..300 {
        world.ok(&["send", "here", "--enter", &format!("n{n}")]);
    }
    world.ok(&["wait", "here", "--for", "got <n299>", "--timeout", "30s"]);
    view.type_("typed here\r");
    view.wait_text("got <typed here>", SOON);
    let after = world.json(&["info", "here"]);
    assert_eq!((&after["size"], &after["views"]), (&before["size"], &before["views"]));
    assert_eq!(after["size"]["cols"], 90);
    // What was written since, cheap to ask for again and again.
    let since = world.json(&["capture", "here", "--since", "0"]);
    let offset = since["offset"].as_u64().unwrap().to_string();
    assert!(since["output"].as_str().unwrap().contains("got <one two>"));
    world.ok(&["send", "here", "--enter", "later"]);
    world.ok(&["wait", "here", "--for", "got <later>", "--timeout", "30s"]);
    let more = world.ok(&["capture", "here", "--since", &offset]).stdout;
    assert!(more.contains("got <later>") && !more.contains("n299"), "{more:?}");
    let cells = world.json(&["capture", "here"]);
    assert_eq!(cells["lines"].as_array().unwrap().len(), 20);
    view.close();
}

#[test]
fn a_command_runs_as_if_it_ran_here_and_leaves_nothing() {
    let (world, host) = world_with_host();
    for on in ["local", "box"] {
        let output = world.sessd(&["run", "-H", on, "--", "sh", "-c", "echo out; exit 7"]);
        assert_eq!((output.code, output.stdout.as_str(), output.stderr.as_str()), (7, "out\n", ""), "{on}");
        let upper =
            world.finish(world.command(&["run", "-H", on, "--", "tr", "a-z", "A-Z"]), b"to the end", LATER);
        assert_eq!((upper.code, upper.stdout.as_str()), (0, "TO THE END"), "{on}");
        // Bytes are bytes, questions to a terminal and what a terminal would make of line ends among them.
        let bytes = "\x1b[6n\x1b[c\r\n\n\x04\x03\x1b]11;?\x07".repeat(10_000);
        let same = world.finish(world.command(&["run", "-H", on, "--", "cat"]), bytes.as_bytes(), LATER);
        assert!(same.code == 0 && same.stdout == bytes, "{on}: {} of {}", same.stdout.len(), bytes.len());
        let slow = world.fails(&["run", "-H", on, "--timeout", "1s", "--", "sleep", "1000"], 124);
        assert!(slow.contains("1s"), "{slow}");
    }
    until("no record is left", SOON, || world.list().is_empty().then_some(()));
    // One with a name stays, with its end and its output.
    let named = world.sessd(&["run", "-n", "kept", "--", "sh", "-c", "echo kept; kill -9 $$"]);
    assert_eq!((named.code, named.stdout.as_str()), (128 + 9, "kept\n"));
    assert!(world.ok(&["capture", "kept"]).stdout.starts_with("kept\n"));
    drop(host);
}

#[test]
fn what_waits_for_its_time_waits_on_the_host_and_not_in_the_manager() {
    let (world, _host) = world_with_host();
    let says = |state: &str| format!("printf '\\033]777;sessd;{state};\\007'");
    // It echoes: where a terminal does not, a secret may be asked for, and nothing is typed into that.
    let answer = "while read -r line; do echo \"got <$line>\"; done";
    let job = format!("{}; echo ready; read -r go; echo went; {}; {answer}", says("working"), says("done"));
    world.create_on("box", "agent", &job);
    world.ok(&["wait", "agent", "--for", "working", "--timeout", "30s"]);
    world.ok(&["send", "agent", "--when", "idle", "--enter", "queued"]);
    world.wait_session("agent", "one that waits", SOON, |info| info["queued"] == 1);
    world.kill_manager();
    // Typed at once, it does not wait behind the other.
    world.ok(&["send", "agent", "--enter", "go"]);
    world.ok(&["wait", "agent", "--for", "got <queued>", "--timeout", "30s"]);
    world.ok(&["send", "agent", "--when", "waiting", "never"]);
    assert!(world.ok(&["send", "agent", "--cancel"]).stdout.contains('1'));
    world.wait_session("agent", "none that waits", SOON, |info| info["queued"] == 0);
}

#[test]
fn a_job_on_a_host_without_sessd_says_what_it_does_and_whoever_listens_hears() {
    let (world, _host) = world_with_host();
    let job = "sessd report waiting --note 'which file?'; read -r x; \"$SESSD_AGENT\" report working; \
               printf '\\033]777;notify;Build;it is done\\007'; stty -echo; echo password:; read -r secret; sleep 1000";
    world.create_on("box", "agent", job);
    world.ok(&["wait", "agent", "--for", "waiting", "--timeout", "30s"]);
    let activity = world.info("agent").unwrap()["activity"].clone();
    assert_eq!(activity["source"], "report");
    assert_eq!(activity["note"], "which file?");
    let mut events = world.command(&["events", "--json", "--since", "10m"]);
    events.stdout(std::process::Stdio::piped());
    let mut listening = events.spawn().unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(listening.stdout.take().unwrap()));
    // What was before is told first.
    let mut heard = |event: &str| loop {
        let line: serde_json::Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        if line["event"] == event {
            return line;
        }
    };
    assert_eq!(heard("created")["name"], "agent");
    while heard("activity")["activity"]["state"] != "waiting" {}
    let told = world.root().join("told");
    std::fs::write(world.config(), format!("event_command = 'cat >>{}'\n", told.display())).unwrap();
    world.ok(&["send", "agent", "--enter", "x"]);
    let notice = heard("notice");
    assert_eq!((&notice["name"], &notice["body"]), (&"agent".into(), &"it is done".into()));
    until("the command of the configuration to be run", SOON, || {
        std::fs::read_to_string(&told).ok()?.contains("it is done").then_some(())
    });
    world.wait_session("agent", "a secret", SOON, |info| info["activity"]["state"] == "secret");
    listening.kill().unwrap();
    listening.wait().unwrap();
}

#[test]
fn whoever_waits_is_told_what_came_instead() {
    let world = World::new();
    world.create("ends", "read -r x; exit 3");
    world.create("goes", "sleep 1000");
    let late = world.fails(&["wait", "goes", "--for", "never", "--timeout", "1s"], 124);
    assert!(late.contains("goes") && late.contains("never"), "{late}");
    let wait = |session: &'static str| {
        let mut command = world.command(&["wait", session, "--for", "never"]);
        command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::piped());
        command.spawn().unwrap()
    };
    let (ends, goes) = (wait("ends"), wait("goes"));
    world.ok(&["send", "ends", "--enter", "x"]);
    let ended = ends.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&ended.stderr).contains("ended (exited 3) before"), "{ended:?}");
    world.ok(&["delete", "goes"]);
    let gone = goes.wait_with_output().unwrap();
    assert_eq!(gone.status.code(), Some(3), "no such session");
    assert!(String::from_utf8_lossy(&gone.stderr).contains("goes was deleted"), "{gone:?}");
    world.fails(&["wait", "ends", "--for", "(", "--regex"], 2);
    world.fails(&["send", "goes", "x"], 3);
}

#[test]
fn a_command_that_is_not_there_ends_run_as_a_shell_would_and_names_what_to_do() {
    let world = World::new();
    let said = world.fails(&["run", "--", "no-such-command"], 127);
    assert!(said.contains("`no-such-command` was not found on this host: nothing was started"), "{said}");
    let said = world.fails(&["run", "--", "/etc/passwd"], 126);
    assert!(said.contains("may not be executed") && said.contains("`chmod +x`"), "{said}");
    let said = world.fails(&["run", "--", "ls -la | wc"], 127);
    assert!(said.contains("`sessd run -- sh -c 'ls -la | wc'`"), "{said}");
    // What is made and not run has the contract's code, and says by its kind what it is.
    let said = world.json_error(&["create", "--", "no-such-command"], 1);
    assert_eq!(said["kind"], "no-such-command");
}
