//! A session from create to delete, on this machine: verbs, records, names, exit codes.

use std::fs;

use serde_json::{Value, json};
use sessd_tests::{Numbers, SOON, World, jobs, procs, until};

/// A job that waits to be ended.
const IDLE: &str = "exec cat";

fn names(sessions: &[Value]) -> Vec<&str> {
    let mut names: Vec<&str> = sessions.iter().filter_map(|session| session["name"].as_str()).collect();
    names.sort_unstable();
    names
}

fn listed(world: &World, args: &[&str]) -> Vec<String> {
    let list = world.json(&[&["list"], args].concat());
    names(list.as_array().expect("an array")).into_iter().map(str::to_owned).collect()
}

#[test]
fn a_created_session_runs_and_is_known_by_name_id_and_prefix() {
    let world = World::new();
    let numbers = Numbers::new(world.root());
    world.create("dev", &numbers.script());
    let pid = numbers.pid();
    let info = world.wait_state("dev", "running", SOON);
    let id = info["id"].as_str().expect("an id").to_owned();
    assert_eq!(id.len(), 36, "a UUID: {id}");
    assert_eq!(&id[14..15], "7", "of version 7: {id}");
    assert_eq!(info["host"], "local");
    assert_eq!(info["link"], "local");
    assert_eq!(world.info(&id).expect("known by its id")["name"], "dev");
    assert_eq!(world.info(&id[..13]).expect("known by a prefix")["name"], "dev");
    assert_eq!(world.info(&id[..4]).expect("known by four characters")["name"], "dev");
    let line = world.fails(&["info", &id[..3]], 3);
    assert!(line.contains(&id[..3]), "{line}");
    assert!(procs::alive(pid));
}

#[test]
fn a_prefix_that_fits_two_sessions_is_refused() {
    let world = World::new();
    world.create("one", IDLE);
    world.create("two", IDLE);
    let ids: Vec<String> = ["one", "two"]
        .map(|name| world.info(name).expect("known")["id"].as_str().expect("an id").to_owned())
        .into();
    // Ids begin with the time: two made after one another share their first characters.
    let common = ids[0].bytes().zip(ids[1].bytes()).take_while(|(a, b)| a == b).count();
    assert!(common >= 4, "{ids:?}");
    world.fails(&["info", &ids[0][..common]], 4);
    world.fails(&["delete", &ids[0][..common]], 4);
    assert_eq!(names(&world.list()), ["one", "two"]);
}

#[test]
fn the_json_of_a_session_has_every_key_of_the_contract() {
    let world = World::new();
    let created = world.json(&[
        "create",
        "--name",
        "dev",
        "--tag",
        "gpu",
        "--tag",
        "team=ml",
        "--cwd",
        "/tmp",
        "--size",
        "120x40",
        "--idle-timeout",
        "1h",
        "--",
        "sh",
        "-c",
        IDLE,
    ]);
    let info = world.wait_state("dev", "running", SOON);
    let listed = world.list().into_iter().next().expect("one session");
    for session in [&created, &info, &listed] {
        let text = |key: &str| assert!(session[key].is_string(), "{key} is text in {session:#}");
        for key in ["id", "host", "state", "created_at", "link", "job_id"] {
            text(key);
        }
        let object = session.as_object().expect("an object");
        for key in [
            "id",
            "name",
            "host",
            "state",
            "end",
            "tags",
            "command",
            "cwd",
            "foreground",
            "title",
            "size",
            "views",
            "created_at",
            "last_active_at",
            "idle_seconds",
            "idle_timeout_seconds",
            "reap_at",
            "link",
            "job_id",
            "agent_version",
        ] {
            assert!(object.contains_key(key), "{key} is missing in {session:#}");
        }
        assert_eq!(session["id"], created["id"]);
        assert_eq!(session["name"], "dev");
        assert_eq!(session["end"], Value::Null);
        assert_eq!(session["tags"], json!({"gpu": "", "team": "ml"}));
        assert_eq!(session["command"], json!(["sh", "-c", IDLE]));
        assert_eq!(session["idle_timeout_seconds"], 3600);
        assert_eq!(session["views"], json!([]));
        let created_at = session["created_at"].as_str().expect("text");
        assert!(created_at.contains('T') && created_at.ends_with('Z'), "RFC 3339 in UTC: {created_at}");
    }
    let keys = |session: &Value| session.as_object().expect("an object").keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&created), keys(&info), "what `create` and `info` tell is one object");
    assert_eq!(info["size"], json!({"cols": 120, "rows": 40}));
    assert_eq!(info["cwd"], "/tmp");
    assert!(info["agent_version"].is_string(), "{info:#}");
    assert!(info["idle_seconds"].is_u64(), "{info:#}");
    assert!(info["last_active_at"].as_str().is_some_and(|at| at.ends_with('Z')), "{info:#}");
    // Nothing ends it soon, so there is no time of its end to tell.
    assert_eq!(info["reap_at"], Value::Null);
}

#[test]
fn no_idle_limit_is_null() {
    let world = World::new();
    let created = world.json(&["create", "--name", "dev", "--idle-timeout", "never", "--", "sh", "-c", IDLE]);
    assert_eq!(created["idle_timeout_seconds"], Value::Null);
    let created = world.json(&["create", "--name", "dev2", "--", "sh", "-c", IDLE]);
    assert_eq!(created["idle_timeout_seconds"], 2 * 24 * 3600, "the default is two days");
}

#[test]
fn the_record_says_how_a_job_ended() {
    let world = World::new();
    for (name, script, reason, code, signal) in [
        ("fine", "exit 0", "exited", json!(0), Value::Null),
        ("seven", "exit 7", "exited", json!(7), Value::Null),
        ("shot", "kill -9 $$", "signaled", Value::Null, json!(9)),
        ("asked", "kill -15 $$", "signaled", Value::Null, json!(15)),
    ] {
        world.create(name, script);
        let info = world.wait_state(name, "done", SOON);
        let end = &info["end"];
        assert_eq!(end["reason"], reason, "{name}: {end}");
        assert_eq!(end["signal"], signal, "{name}: {end}");
        if !code.is_null() {
            assert_eq!(end["code"], code, "{name}: {end}");
        }
        assert!(end["at"].as_str().is_some_and(|at| at.ends_with('Z')), "{name}: {end}");
        assert!(end.as_object().is_some_and(|end| end.contains_key("detail")), "{name}: {end}");
    }
}

#[test]
fn a_command_that_does_not_exist_fails_at_create_and_leaves_nothing() {
    let world = World::new();
    let line = world.fails(&["create", "--name", "dev", "--", "no-such-command-here", "x"], 1);
    assert!(line.contains("no-such-command-here"), "the command is named: {line}");
    assert!(
        line.to_lowercase().contains("not found") || line.contains("No such file"),
        "the reason is named: {line}"
    );
    let file = world.home().join("not-executable");
    fs::write(&file, "x").expect("a file");
    let line = world.fails(&["create", "--", file.to_str().expect("text")], 1);
    assert!(line.to_lowercase().contains("permission denied"), "the reason is named: {line}");
    let line = world.fails(&["create", "--cwd", "/no/such/folder", "--", "cat"], 1);
    assert!(line.contains("/no/such/folder"), "the folder is named: {line}");
    assert_eq!(world.list(), Vec::<Value>::new());
    // The name is free again.
    world.create("dev", IDLE);
}

#[test]
fn a_taken_name_is_refused_and_its_holder_named() {
    let world = World::new();
    world.create("dev", IDLE);
    let id = world.info("dev").expect("known")["id"].as_str().expect("an id").to_owned();
    let line = world.fails(&["create", "--name", "dev", "--", "cat"], 4);
    assert!(line.contains("dev") && line.contains(&id[..8]), "says which session has the name: {line}");
    let error = world.json_error(&["create", "--name", "dev", "--", "cat"], 4);
    assert!(error["message"].as_str().is_some_and(|text| text.contains("dev")), "{error}");
    assert_eq!(world.list().len(), 1);
    world.create("other", IDLE);
    world.fails(&["tag", "other", "--name", "dev"], 4);
}

#[test]
fn the_name_of_a_done_session_is_free() {
    let world = World::new();
    world.create("dev", "exit 3");
    let first = world.wait_state("dev", "done", SOON);
    world.create("dev", IDLE);
    let second = world.wait_state("dev", "running", SOON);
    assert_ne!(first["id"], second["id"]);
    let id = first["id"].as_str().expect("an id");
    assert_eq!(world.info(id).expect("still known by its id")["end"]["code"], 3);
}

#[test]
fn names_keep_the_rules() {
    let world = World::new();
    let longest = "a".repeat(64);
    for good in ["a", "A.b_c-9", "9", "_x", longest.as_str()] {
        world.ok(&["create", "--name", good, "--", "cat"]);
        assert_eq!(world.info(good).expect("known")["name"], good);
    }
    let too_long = "a".repeat(65);
    for bad in ["", "a b", "a/b", "ä", "a:b", "a\nb", "$(x)", too_long.as_str()] {
        let line = world.fails(&["create", "--name", bad, "--", "cat"], 2);
        assert!(line.contains("name"), "{bad:?}: {line}");
    }
    world.fails(&["create", "--name=-x", "--", "cat"], 2);
    assert_eq!(world.list().len(), 5);
}

#[test]
fn anonymous_sessions_are_listed_with_all_and_can_get_a_name() {
    let world = World::new();
    let created = world.json(&["create", "--", "sh", "-c", IDLE]);
    let id = created["id"].as_str().expect("an id");
    assert_eq!(created["name"], Value::Null);
    assert_eq!(world.json(&["list"]), json!([]));
    assert_eq!(world.list().len(), 1);
    world.ok(&["tag", id, "--name", "dev"]);
    assert_eq!(listed(&world, &[]), ["dev"]);
    assert_eq!(world.info("dev").expect("known")["id"], id);
}

#[test]
fn tags_are_added_changed_removed_and_filtered_by() {
    let world = World::new();
    world.ok(&["create", "--name", "a", "--tag", "gpu", "--tag", "team=ml", "--", "cat"]);
    world.ok(&["create", "--name", "b", "--tag", "team=web", "--", "cat"]);
    world.ok(&["create", "--name", "c", "--", "cat"]);
    assert_eq!(listed(&world, &["--tag", "team"]), ["a", "b"]);
    assert_eq!(listed(&world, &["--tag", "team=ml"]), ["a"]);
    assert_eq!(listed(&world, &["--tag", "gpu", "--tag", "team=ml"]), ["a"]);
    assert_eq!(listed(&world, &["--tag", "gpu", "--tag", "team=web"]), [""; 0]);
    world.ok(&["tag", "c", "team=a=b", "note=two words"]);
    assert_eq!(world.info("c").expect("known")["tags"], json!({"team": "a=b", "note": "two words"}));
    world.ok(&["tag", "c", "team=ops", "note-"]);
    assert_eq!(world.info("c").expect("known")["tags"], json!({"team": "ops"}));
    world.ok(&["tag", "c", "--name", "renamed", "team-", "new"]);
    assert_eq!(world.info("renamed").expect("known")["tags"], json!({"new": ""}));
    world.fails(&["info", "c"], 3);
    world.fails(&["tag", "nobody", "x=y"], 3);
}

#[test]
fn list_filters_by_state_and_host() {
    let world = World::new();
    world.create("alive", IDLE);
    world.create("over", "exit 0");
    world.wait_state("alive", "running", SOON);
    world.wait_state("over", "done", SOON);
    assert_eq!(listed(&world, &["--all", "--state", "running"]), ["alive"]);
    assert_eq!(listed(&world, &["--all", "--state", "done"]), ["over"]);
    assert_eq!(listed(&world, &["--all", "--host", "local"]), ["alive", "over"]);
    assert_eq!(listed(&world, &["--all", "--host", "elsewhere"]), [""; 0]);
    world.fails(&["list", "--state", "sleeping"], 2);
    let plain = world.ok(&["list"]).stdout;
    assert!(plain.contains("alive"), "{plain}");
    assert_eq!(world.ok(&["ls"]).stdout.contains("alive"), plain.contains("alive"));
}

#[test]
fn delete_ends_the_job_and_forgets_the_record() {
    let world = World::new();
    let pid_file = world.root().join("pid");
    // It has a child, ignores the polite signals, and both are to go.
    let script = jobs::noting_pid(&pid_file, "trap '' HUP TERM; sleep 100000 & while :; do sleep 1000; done");
    world.create("dev", &script);
    let pid = jobs::wait_pid(&pid_file);
    let family = until("the job's children", SOON, || Some(procs::family(pid)).filter(|all| all.len() >= 3));
    world.ok(&["delete", "dev", "--force"]);
    for pid in family {
        procs::wait_gone(pid, SOON);
    }
    world.fails(&["info", "dev"], 3);
    assert_eq!(world.list(), Vec::<Value>::new());
    until("no holder to be left", SOON, || world.agents(&world.home(), "hold").is_empty().then_some(()));
    world.fails(&["delete", "dev"], 3);
}

#[test]
fn delete_takes_several_and_all() {
    let world = World::new();
    for name in ["a", "b", "c", "d"] {
        world.create(name, IDLE);
    }
    world.create("over", "exit 0");
    world.wait_state("over", "done", SOON);
    world.ok(&["delete", "a", "over"]);
    assert_eq!(names(&world.list()), ["b", "c", "d"]);
    world.ok(&["rm", "b"]);
    world.ok(&["delete", "--all", "--force"]);
    assert_eq!(world.list(), Vec::<Value>::new());
    until("no holder to be left", SOON, || world.agents(&world.home(), "hold").is_empty().then_some(()));
}

#[test]
fn restart_is_a_new_job_under_the_same_session() {
    let world = World::new();
    let count = world.root().join("count");
    let script = format!("echo x >>{}; exec cat", count.display());
    world.ok(&["create", "--name", "dev", "--tag", "k=v", "--cwd", "/tmp", "--", "sh", "-c", &script]);
    let before = world.wait_state("dev", "running", SOON);
    let runs = || fs::read_to_string(&count).unwrap_or_default().len() / 2;
    until("the first run", SOON, || (runs() == 1).then_some(()));
    world.ok(&["restart", "dev"]);
    until("the second run", SOON, || (runs() == 2).then_some(()));
    let after = world.wait_state("dev", "running", SOON);
    for key in ["id", "name", "tags", "host", "command", "cwd", "created_at"] {
        assert_eq!(before[key], after[key], "{key}");
    }
    assert_ne!(before["job_id"], after["job_id"]);
    // A done session can be started again, too.
    world.create("over", "exit 4");
    let over = world.wait_state("over", "done", SOON);
    world.ok(&["restart", "over"]);
    let again = world.wait_session("over", "done again", SOON, |info| {
        info["state"] == "done" && info["job_id"] != over["job_id"]
    });
    assert_eq!((&again["id"], &again["end"]["code"]), (&over["id"], &json!(4)));
    world.fails(&["restart", "nobody"], 3);
}

#[test]
fn a_job_knows_its_session_folder_environment_and_size() {
    let world = World::new();
    let out = world.root().join("out");
    let script = format!(
        "{{ printf '%s\\n' \"$SESSD_SESSION\" \"$SESSD_NAME\" \"$SESSD_HOST\" \"$(pwd)\" \"$COLOUR\" \"$EMPTY.\"; stty size; \
         tty >/dev/null && echo tty; }} >{0}.new; mv {0}.new {0}; exec cat",
        out.display()
    );
    world.ok(&[
        "create",
        "--name",
        "dev",
        "--cwd",
        "/usr",
        "--env",
        "COLOUR=a=b c",
        "--env",
        "EMPTY=",
        "--size",
        "133x41",
        "--",
        "sh",
        "-c",
        &script,
    ]);
    let text = until("the job's answer", SOON, || fs::read_to_string(&out).ok());
    let id = world.info("dev").expect("known")["id"].as_str().expect("an id").to_owned();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines, [id.as_str(), "dev", "local", "/usr", "a=b c", ".", "41 133", "tty"]);
}

#[test]
fn arguments_reach_the_command_as_they_are() {
    let world = World::new();
    let out = world.root().join("out");
    let script = r#"for a in "$@"; do printf '<%s>' "$a"; done >"$0.new"; mv "$0.new" "$0""#;
    let args = ["two words", "", "it's", "\"q\"", "ä €", "$HOME", "`x`", "a\nb", "\\", "--name", "-"];
    let mut command = vec!["create", "--name", "dev", "--", "sh", "-c", script, out.to_str().expect("text")];
    command.extend(args);
    world.ok(&command);
    let text = until("the job's answer", SOON, || fs::read_to_string(&out).ok());
    assert_eq!(text, args.map(|arg| format!("<{arg}>")).concat());
    let info = world.info("dev").expect("known");
    assert_eq!(info["command"].as_array().map(Vec::len), Some(4 + args.len()));
}

#[test]
fn the_default_command_is_the_login_shell() {
    let mut world = World::new();
    world.set_env("SHELL", "/bin/bash");
    fs::write(world.home().join(".bash_profile"), "echo \"login $0\" >login.txt\n").expect("a profile");
    let created = world.json(&["create", "--name", "dev"]);
    let command = created["command"].as_array().expect("a command").clone();
    assert!(command[0].as_str().is_some_and(|shell| shell.ends_with("bash")), "{command:?}");
    let file = world.home().join("login.txt");
    until("the profile of a login shell to be read", SOON, || fs::read_to_string(&file).ok());
    assert_eq!(world.wait_state("dev", "running", SOON)["cwd"], world.home().to_str().expect("text"));
}

#[test]
fn wrong_usage_ends_with_2() {
    let world = World::new();
    for args in [
        &["no-such-verb"][..],
        &["list", "--no-such-flag"],
        &["info"],
        &["delete"],
        &["create", "--size", "large", "--", "cat"],
        &["create", "--size", "0x0", "--", "cat"],
        &["create", "--env", "NOVALUE", "--", "cat"],
        &["create", "--idle-timeout", "soon", "--", "cat"],
        &["create", "--tag", "=v", "--", "cat"],
    ] {
        world.fails(args, 2);
    }
    assert_eq!(world.list(), Vec::<Value>::new());
}

#[test]
fn help_and_version_need_no_manager() {
    let world = World::new();
    let help = world.ok(&["--help"]).stdout;
    for verb in
        ["create", "attach", "detach", "list", "info", "tag", "delete", "restart", "daemon", "completion"]
    {
        assert!(help.contains(verb), "{verb} in {help}");
    }
    assert!(world.ok(&["--version"]).stdout.starts_with("sessd "));
    for shell in ["bash", "zsh", "fish"] {
        let script = world.ok(&["completion", shell]).stdout;
        assert!(script.contains("sessd") && script.contains("attach"), "{shell}: {script}");
    }
    world.fails(&["completion", "no-such-shell"], 2);
    assert_eq!(procs::mentioning(world.root()), [0; 0], "a manager was started for nothing");
}

#[test]
fn unknown_sessions_end_with_3() {
    let world = World::new();
    for verb in ["info", "detach", "delete", "restart"] {
        let line = world.fails(&[verb, "nobody"], 3);
        assert!(line.contains("nobody"), "{line}");
    }
    world.json_error(&["info", "nobody"], 3);
    world.fails(&["delete", "--force", "nobody"], 3);
}

#[test]
fn the_manager_tells_its_status_and_stops() {
    let world = World::new();
    world.create("dev", IDLE);
    let status = world.json(&["daemon", "status"]);
    assert!(status["version"].is_string() && status["since"].is_string(), "{status}");
    assert_eq!(status["sessions"], 1, "{status}");
    assert!(status["links"].is_array(), "{status}");
    let pid = world.manager_pid();
    assert!(procs::mentioning(world.root()).contains(&pid));
    world.ok(&["daemon", "stop"]);
    procs::wait_gone(pid, SOON);
    // Asking for the status of a manager that does not run neither starts one nor says that all is well.
    let output = world.sessd(&["daemon", "status"]);
    assert_ne!(output.code, 0, "{output:#?}");
    assert_eq!(world.managers(), [0; 0]);
    world.ok(&["daemon"]);
    assert_ne!(world.manager_pid(), pid);
    let second = world.manager_pid();
    world.ok(&["daemon", "restart"]);
    procs::wait_gone(second, SOON);
    assert_ne!(world.manager_pid(), second);
    world.wait_state("dev", "running", SOON);
}

#[test]
fn verbs_at_once_start_one_manager() {
    let world = World::new();
    std::thread::scope(|scope| {
        for n in 0..6 {
            let world = &world;
            scope.spawn(move || world.create(&format!("s{n}"), IDLE));
        }
    });
    assert_eq!(world.list().len(), 6);
    until("the managers that came too late to be gone", SOON, || (world.managers().len() == 1).then_some(()));
}

#[test]
fn everything_of_the_manager_is_private_and_in_its_folder() {
    use std::os::unix::fs::{FileTypeExt, PermissionsExt};
    let world = World::new();
    world.create("dev", IDLE);
    let mut sockets = 0;
    sessd_tests::world::files_below(world.root(), &mut |path| {
        let Ok(data) = fs::symlink_metadata(path) else { return };
        if data.file_type().is_socket() {
            sockets += 1;
            let folder = fs::metadata(path.parent().expect("a folder")).expect("the folder of a socket");
            assert_eq!(data.permissions().mode() & 0o077, 0, "{}", path.display());
            assert_eq!(folder.permissions().mode() & 0o077, 0, "the folder of {}", path.display());
            assert!(path.as_os_str().len() <= 104, "{}", path.display());
        }
    });
    assert!(sockets >= 2, "the manager's and the job's");
    assert_eq!(world.files(".db").len(), 1, "the database is in SESSD_HOME");
    assert!(world.log().is_file(), "the log is in SESSD_HOME");
}
