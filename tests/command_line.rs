//! What the command line says and does not say: an answer that could not be printed, sessions without a name, habits and
//! typos, documents of every verb, what the shell's TAB offers, and text of others that would act on a terminal.

use serde_json::Value;
use sessd_tests::{LATER, SOON, SshConfig, Sshd, World, procs, until};
use std::fs;
use std::process::Stdio;

const IDLE: &str = "exec cat";
/// A terminal's title, set by somebody's argument; a bidirectional override; DEL and a C1 control.
const ODD: &str = "a\u{1b}]0;owned\u{7}\u{202e}\u{7f}\u{9b}2Jz";

fn acts(text: &str) -> bool {
    text.contains(|c: char| {
        c.is_control() && c != '\n' || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    })
}

fn handle(world: &World, id: &str) -> String {
    let known = world.info(id).expect("known");
    let id = known["id"].as_str().expect("an id");
    id[id.len() - 6..].to_owned()
}

#[test]
fn an_answer_that_could_not_be_printed_is_a_failure() {
    let world = World::new();
    world.create("dev", IDLE);
    for args in [
        &["list", "--json"][..],
        &["list"],
        &["list", "-q"],
        &["info", "dev"],
        &["info", "dev", "--json"],
        &["tag", "dev", "--json"],
        &["daemon", "status"],
        &["host", "list"],
        &["completion", "bash"],
        &["--help"],
        &["--version"],
        &["create", "--json", "--name", "made", "--", "cat"],
        &["delete", "made"],
    ] {
        let full = std::fs::File::options().write(true).open("/dev/full").expect("a full device");
        let mut command = world.command(args);
        command.stdin(Stdio::null()).stdout(full).stderr(Stdio::piped());
        let output = command.spawn().expect("sessd").wait_with_output().expect("its end");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {said}");
        assert!(said.contains("could not be printed (No space left on device)"), "{args:?}: {said}");
    }
    // And where there is no stdout at all, though Rust opens /dev/null in its place.
    for args in [&["list"][..], &["list", "--json"], &["info", "dev"], &["--version"], &["daemon", "status"]]
    {
        let output = world.finish(without_stdio(&world, ">&-", args), b"", LATER);
        assert_eq!(output.code, 1, "{args:?}: {output:#?}");
        assert!(
            output.stderr.contains("could not be printed (Bad file descriptor)"),
            "{args:?}: {output:#?}"
        );
    }
    // What prints nothing is not missing it.
    let output = world.finish(without_stdio(&world, ">&-", &["tag", "dev", "gpu"]), b"", LATER);
    assert_eq!((output.code, output.stderr.as_str()), (0, ""), "{output:#?}");
    let output = world.finish(without_stdio(&world, "<&-", &["send", "dev", "-"]), b"", LATER);
    assert!(world.one_error("send -", &output, 1).contains("stdin was closed"), "{output:#?}");
}

/// `sessd` as a shell starts it that closes a descriptor.
fn without_stdio(world: &World, close: &str, args: &[&str]) -> std::process::Command {
    let mut command = world.program("sh");
    command
        .arg("-c")
        .arg(format!("exec \"$0\" \"$@\" {close}"))
        .arg(sessd_tests::world::sessd_binary())
        .args(args);
    command
}

#[test]
fn a_job_that_cannot_begin_says_what_to_do_about_it() {
    let world = World::new();
    fs::write(world.home().join("file"), "").expect("a file");
    for (args, says) in [
        (
            &["create", "--cwd", "/no/such", "--", "cat"][..],
            "nothing was started: name another folder with --cwd",
        ),
        (&["create", "--cwd", "file", "--", "cat"], "is a file: nothing was started: name another folder"),
        (&["run", "-C", "/no/such", "--", "true"], "name another folder with"),
        (&["create", "--", "no-such-program"], "look at how it is spelled"),
    ] {
        let code = if args[0] == "run" { None } else { Some(1) };
        let output = world.sessd(args);
        assert!(code.is_none_or(|code| code == output.code), "{args:?}: {output:#?}");
        let line = world.one_error("create", &output, output.code);
        assert!(line.contains(says), "{args:?}: {line}");
    }
}

#[test]
fn a_reader_that_has_read_enough_is_no_failure() {
    let world = World::new();
    world.create("dev", IDLE);
    for args in [&["list", "--json"][..], &["info", "dev"], &["completion", "zsh"]] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let mut command = world.command(args);
        command.stdin(Stdio::null()).stdout(writer).stderr(Stdio::piped());
        let output = command.spawn().expect("sessd").wait_with_output().expect("its end");
        assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]), "{args:?}");
    }
}

#[test]
fn a_session_that_is_to_be_shown_is_not_made_where_nothing_can_show_it() {
    let world = World::new();
    for args in [
        &["create", "--name", "made", "--attach", "--", "cat"][..],
        &["create", "--attach"],
        &["attach", "made", "--create"],
    ] {
        let line = world.fails(args, 1);
        assert!(line.contains("a view needs a terminal"), "{line}");
    }
    assert_eq!(world.list(), Vec::<Value>::new());
}

#[test]
fn a_session_without_a_name_is_told_of_and_has_a_handle() {
    let world = World::new();
    assert_eq!(world.ok(&["list"]).stdout, "no sessions\n");
    let id = world.ok(&["create", "--", "cat"]).stdout.trim().to_owned();
    assert_eq!(world.ok(&["list"]).stdout, "no named sessions; 1 anonymous: sessd list --all\n");
    let short = handle(&world, &id);
    let table = world.ok(&["list", "--all"]).stdout;
    assert!(table.lines().any(|line| line.starts_with(&short)), "{short} in {table}");
    // It goes wherever a session is named; so does the beginning of its id.
    for selector in [short.as_str(), &short[2..], &short.to_uppercase(), &id[..20]] {
        assert_eq!(world.info(selector).expect("known")["id"], id.as_str(), "{selector}");
    }
    world.ok(&["tag", &short, "gpu"]);
    assert_eq!(world.ok(&["tag", &short]).stdout, "gpu\n");
    assert_eq!(world.ok(&["delete", &short]).stdout, format!("deleted {short}\n"));
    assert_eq!(world.ok(&["list", "--all"]).stdout, "no sessions\n");
}

#[test]
fn a_prefix_that_fits_many_names_them_and_a_name_that_is_nearly_right_is_suggested() {
    let world = World::new();
    world.create("samename", IDLE);
    world.create("other", IDLE);
    let id = world.info("samename").expect("known")["id"].as_str().expect("an id").to_owned();
    let line = world.fails(&["info", &id[..6]], 4);
    assert!(line.contains("samename (") && line.contains("other ("), "{line}");
    for typed in ["samen", "samenmae"] {
        let line = world.fails(&["info", typed], 3);
        assert!(line.contains("did you mean `samename`"), "{line}");
    }
    let line = world.fails(&["attach"], 2);
    assert!(line.contains("2 sessions are running: name one: ") && line.contains("samename"), "{line}");
}

#[test]
fn attach_to_a_name_that_is_elsewhere_lands_nowhere() {
    let world = World::new();
    world.create("dev", IDLE);
    let mut view = world.view(&["attach", "dev", "--create", "--host", "box.invalid"]);
    assert_eq!(view.wait_exit(SOON), 4, "{}", view.describe());
    let said = String::from_utf8_lossy(&view.raw()).into_owned();
    assert!(said.contains("`dev` is on local, not on box.invalid"), "{said}");
    // Without a host it is meant wherever it is.
    let here = world.view(&["attach", "dev", "--create"]);
    here.wait_raw("the way out", SOON, |raw| {
        String::from_utf8_lossy(raw).contains("Ctrl-\\ (or Ctrl-4) leaves")
    });
    here.type_("hello\r");
    here.wait_text("hello", SOON);
}

#[test]
fn delete_takes_what_is_meant_and_says_what_it_did() {
    let world = World::new();
    for (name, tag) in [("a", "keep"), ("b", "go"), ("c", "go")] {
        world.ok(&["create", "--name", name, "--tag", tag, "--", "cat"]);
    }
    world.ok(&["create", "--name", "over", "--", "true"]);
    world.wait_state("over", "done", SOON);
    assert_eq!(world.ok(&["delete", "--done"]).stdout, "deleted over\n");
    assert_eq!(world.ok(&["delete", "--done"]).stdout, "no session to delete\n");
    let deleted = world.json(&["delete", "--tag", "go"]);
    let names: Vec<_> =
        deleted["deleted"].as_array().expect("a list").iter().map(|s| s["name"].clone()).collect();
    assert_eq!(names, ["b", "c"], "{deleted}");
    assert_eq!(deleted["pending"], serde_json::json!([]));
    let ids = world.ok(&["list", "--quiet"]).stdout;
    assert_eq!(ids.trim(), world.info("a").expect("it stays")["id"].as_str().expect("an id"));
    for filter in [&["--host", "elsewhere"][..], &["--tag", "nosuch"], &["--done"], &["--state", "init"]] {
        for all in [&[][..], &["--all"]] {
            let args = [&["delete"][..], all, filter].concat();
            assert_eq!(world.ok(&args).stdout, "no session to delete\n", "{args:?}");
            assert_eq!(world.list().len(), 1, "{args:?}");
        }
    }
}

#[test]
fn everything_is_deleted_only_after_a_yes_where_somebody_can_say_it() {
    let world = World::new();
    world.create("dev", IDLE);
    world.create("two", IDLE);
    let mut view = world.view(&["delete", "--all", "--force"]);
    view.wait_text("delete all 2 sessions, 2 of them not ended? [y/N]", SOON);
    view.type_("n\r");
    assert_eq!(view.wait_exit(SOON), 1);
    assert_eq!(world.list().len(), 2);
    let mut view = world.view(&["delete", "--all", "--force"]);
    view.wait_text("[y/N]", SOON);
    view.type_("y\r");
    assert_eq!(view.wait_exit(SOON), 0, "{}", view.describe());
    assert_eq!(world.list(), Vec::<Value>::new());
    // A script is not asked.
    world.create("three", IDLE);
    assert_eq!(world.ok(&["delete", "--all", "--force"]).stdout, "deleted three\n");
}

#[test]
fn every_verb_has_a_document() {
    let world = World::new();
    world.json(&["create", "--name", "dev", "--", "cat"]);
    assert_eq!(world.json(&["tag", "dev"])["name"], "dev");
    assert_eq!(world.json(&["tag", "dev", "gpu"])["tags"]["gpu"], "");
    assert_eq!(world.json(&["detach", "dev"])["views"], 0);
    assert_eq!(world.json(&["restart", "dev"])["name"], "dev");
    assert_eq!(world.json(&["delete", "dev"])["deleted"][0]["name"], "dev");
    assert!(world.json(&["daemon", "start"])["pid"].is_number());
    assert!(world.json(&["host", "list"]).is_array());
    for (args, code) in [
        (&["attach", "nobody"][..], 3),
        (&["detach", "nobody"], 3),
        (&["tag", "nobody", "x"], 3),
        (&["restart", "nobody"], 3),
        (&["delete", "nobody"], 3),
        (&["no-such-verb"], 2),
        (&["list", "--no-such-flag"], 2),
        (&["create", "--name", "a b"], 2),
    ] {
        world.json_error(args, code);
    }
    assert_eq!(world.json(&["daemon", "restart"]), serde_json::json!({}));
    assert_eq!(world.json(&["daemon", "stop"]), serde_json::json!({}));
}

#[test]
fn a_broken_rule_is_told_where_it_is_broken() {
    let world = World::new();
    let line = world.fails(&["create", "--name", "a b"], 2);
    assert!(line.contains("1 to 64 of A-Z a-z 0-9"), "{line}");
    let line = world.fails(&["create", "--tag", "a b"], 2);
    assert!(line.contains("`a b` cannot be a tag") && line.contains("a key has no space"), "{line}");
    let line = world.fails(&["create", "--", "ls -la | wc"], 1);
    assert!(line.contains("sh -c 'ls -la | wc'"), "{line}");
    assert_eq!(world.list(), Vec::<Value>::new());
}

#[test]
fn nothing_that_is_printed_acts_on_the_terminal() {
    let world = World::new();
    world.ok(&["create", "--name", "dev", "--env", &format!("X={ODD}"), "--", "sh", "-c", "exec cat", ODD]);
    world.wait_state("dev", "running", SOON);
    for args in [
        &["info", "dev"][..],
        &["list"],
        &["list", "--long"],
        &["info", "dev", "--json"],
        &["list", "--json"],
    ] {
        let output = world.ok(args);
        assert!(!acts(&output.stdout) && !acts(&output.stderr), "{args:?}: {output:#?}");
    }
    // Nor what a job wrote, where it is shown to a person.
    world.create(
        "drew",
        r"stty -echo; printf '\033[?1049h\033[?1000h\033]0;owned\007\033[31mready'; exec cat",
    );
    world.ok(&["wait", "drew", "--for", "ready"]);
    let mut shown = world.view(&["capture", "drew", "--since", "0"]);
    assert_eq!(shown.wait_exit(SOON), 0);
    let raw = String::from_utf8_lossy(&shown.raw()).replace('\r', "");
    assert!(raw.contains("ready") && !acts(&raw), "{raw:?}");
    let written = world.ok(&["capture", "drew", "--since", "0"]).stdout;
    assert!(written.contains("\u{1b}[?1049h"), "a file gets it as it was written: {written:?}");
    // The document says the same to whoever reads it.
    assert_eq!(world.info("dev").expect("known")["command"][3], ODD);
    for args in [
        &["info", ODD][..],
        &[ODD],
        &["list", ODD],
        &["create", "--name", ODD],
        &["create", "--tag", ODD],
        &["create", "--host", ODD],
        &["create", "--size", ODD],
        &["create", "--idle-timeout", ODD],
        &["create", "--", ODD],
        &["info", ODD, "--json"],
    ] {
        let output = world.sessd(args);
        assert_ne!(output.code, 0, "{args:?}");
        assert!(!acts(&output.stdout) && !acts(&output.stderr), "{args:?}: {output:#?}");
    }
}

#[test]
fn tab_offers_what_there_is_and_starts_no_manager() {
    let world = World::new();
    let tab = |words: &[&str]| -> Vec<String> {
        let mut command = world.command(&["--"]);
        command.args(words).env("SESSD_COMPLETE", "bash").env("_CLAP_IFS", "\n");
        command.env("_CLAP_COMPLETE_INDEX", (words.len() - 1).to_string());
        command.env("_CLAP_COMPLETE_COMP_TYPE", "9").env("_CLAP_COMPLETE_SPACE", "true");
        let output = world.finish(command, b"", SOON);
        assert_eq!(output.code, 0, "{output:#?}");
        // Flags are offered where there is nothing better.
        output.stdout.lines().filter(|word| !word.starts_with('-')).map(str::to_owned).collect()
    };
    assert!(tab(&["sessd", "att"]).contains(&"attach".to_owned()));
    assert_eq!(tab(&["sessd", "attach", ""]), Vec::<String>::new());
    assert_eq!(procs::mentioning(world.root()), [0; 0], "a manager was started for a TAB");
    let ssh = world.home().join(".ssh");
    std::fs::create_dir_all(&ssh).expect("a folder");
    std::fs::write(ssh.join("config"), "Host gpu1 gpu2 *.lan\n  User me\n").expect("a file");
    world.ok(&["create", "--name", "web-one", "--tag", "team=ml", "--", "cat"]);
    world.create("db", IDLE);
    assert_eq!(tab(&["sessd", "attach", "web"]), ["web-one"]);
    assert_eq!(tab(&["sessd", "info", ""]), ["web-one", "db"]);
    assert_eq!(tab(&["sessd", "create", "--host", ""]), ["gpu1", "gpu2", "local"]);
    assert_eq!(tab(&["sessd", "list", "--state", "r"]), ["running"]);
    assert_eq!(tab(&["sessd", "list", "--tag", ""]), ["team=ml"]);
    let _view = world.attach("db");
    let id = until("the view", SOON, || {
        world.info("db").expect("known")["views"][0]["id"].as_str().map(str::to_owned)
    });
    assert_eq!(tab(&["sessd", "detach", "db", "--view", ""]), [id]);
    // A manager that does not answer is not waited for.
    let manager = world.manager_pid();
    procs::signal(manager, rustix::process::Signal::STOP);
    let began = std::time::Instant::now();
    assert_eq!(tab(&["sessd", "attach", "web"]), Vec::<String>::new());
    assert!(began.elapsed() < SOON / 2, "{:?}", began.elapsed());
    procs::signal(manager, rustix::process::Signal::CONT);
    until("the manager to answer again", SOON, || tab(&["sessd", "attach", "web"]).first().cloned());
}

#[test]
fn a_delete_that_waits_for_its_host_says_so_and_the_row_stays() {
    let mut world = World::new();
    let mut host = Sshd::start_in(&world, "h1");
    SshConfig::new(&mut world).host("box", &host);
    world.create_on("box", "far", IDLE);
    world.wait_state("far", "running", SOON);
    host.stop();
    world.wait_session("far", "out of reach", LATER, |session| {
        session["state"] == "disconnected" && session["link"] != "up"
    });
    assert_eq!(
        world.ok(&["delete", "far"]).stdout,
        "far: box is out of reach; it is ended when box is back\n"
    );
    let table = world.ok(&["list"]).stdout;
    assert!(table.contains("disconnected, delete pending"), "{table}");
    host.start();
    until("the delete to be carried out", LATER, || world.list().is_empty().then_some(()));
}
