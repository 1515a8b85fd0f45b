//! Where jobs live: wherever the agent's program had to be put, whatever was full or cleaned, a session stays in reach, and
//! new ones go home when they can.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use sessd_tests::world::{files_below, set_mode};
use sessd_tests::{LATER, SOON, SshConfig, Sshd, View, World, until};

const ANSWER: &str = "stty -echo; echo ready; while read -r line; do echo \"got <$line>\"; done";

fn answers(view: &View, word: &str) {
    view.type_(format!("{word}\r"));
    view.wait_text(&format!("got <{word}>"), LATER);
}

/// The folders of jobs below `root`.
fn jobs_in(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    files_below(root, &mut |path| {
        if path.file_name().is_some_and(|name| name == "spec") {
            found.extend(path.parent().map(Path::to_owned));
        }
    });
    found
}

/// A world whose home has a file where the agent's folder would be: nothing can be put there, whoever tries.
fn without_room(home: &Path) -> PathBuf {
    let state = home.join(".local/state");
    fs::create_dir_all(&state).expect("a folder");
    let block = state.join("sessd-agent");
    fs::write(&block, "in the way").expect("a file");
    block
}

fn next_manager(world: &World) {
    world.ok(&["daemon", "restart"]);
}

#[test]
fn this_machine_has_the_fallbacks_of_any_host_and_a_fallback_is_left_as_soon_as_the_home_will_do() {
    let world = World::new();
    let block = without_room(&world.home());
    world.create("away", ANSWER);
    assert!(jobs_in(&world.home()).is_empty());
    assert_eq!(jobs_in(world.root()).len(), 1);
    // The home will do again: new jobs go there, and the old one is in reach from there.
    fs::remove_file(&block).expect("the file in the way");
    world.create("home", ANSWER);
    assert_eq!(jobs_in(&world.home().join(".local/state/sessd-agent")).len(), 1);
    next_manager(&world);
    for name in ["away", "home"] {
        answers(&world.attach(name), name);
    }
    world.ok(&["delete", "--all", "--force"]);
    until("nothing to be left of them", SOON, || jobs_in(world.root()).is_empty().then_some(()));
}

/// The program is put elsewhere by the next link: the home's folder of programs cannot be written to any more.
#[test]
fn jobs_stay_in_reach_when_the_agent_has_to_be_put_elsewhere() {
    let mut world = World::new();
    let mut host = Sshd::start_in(&world, "h1");
    SshConfig::new(&mut world).host("box", &host);
    world.create_on("box", "dev", ANSWER);
    host.stop();
    let bin = host.home().join(".local/state/sessd-agent/bin");
    fs::remove_dir_all(&bin).expect("the programs");
    fs::write(&bin, "in the way").expect("a file");
    host.start();
    let view = world.attach("dev");
    answers(&view, "still here");
    assert!(world.info("dev").is_some_and(|info| info["state"] == "running"));
    assert_eq!(jobs_in(&host.fallback()).len(), 0);
    // And new ones still go home: only the program could not.
    world.create_on("box", "more", ANSWER);
    assert_eq!(jobs_in(&host.home()).len(), 2);
    // The fallback with the program in it is cleaned away, and the home's folder is free again.
    host.stop();
    fs::remove_dir_all(host.fallback()).expect("the fallback");
    fs::remove_file(&bin).expect("the file in the way");
    host.start();
    for name in ["dev", "more"] {
        answers(&world.attach(name), "here");
    }
}

#[test]
fn an_agent_dir_that_is_given_later_or_taken_away_hides_no_session() {
    let world = World::new();
    world.create("before", ANSWER);
    let given = world.root().join("given");
    fs::write(world.config(), format!("[hosts.local]\nagent_dir = '{}'\n", given.display())).expect("a file");
    next_manager(&world);
    world.create("given", ANSWER);
    assert_eq!(jobs_in(&given).len(), 1, "it counts on this machine, too");
    for name in ["before", "given"] {
        answers(&world.attach(name), name);
    }
    fs::write(world.config(), "").expect("a file");
    next_manager(&world);
    for name in ["before", "given"] {
        answers(&world.attach(name), "again");
    }
    // One that others can write to is said to be no place for programs.
    let open = world.root().join("open");
    fs::create_dir(&open).expect("a folder");
    set_mode(&open, 0o777);
    let text = format!("[hosts.local]\nagent_dir = '{}/agent'\n", open.display());
    fs::write(world.config(), text).expect("a file");
    next_manager(&world);
    let line = world.fails(&["create", "--name", "no", "--", "cat"], 1);
    assert!(
        line.contains("can be written by others") && line.contains(&open.display().to_string()),
        "{line}"
    );
}

#[test]
fn two_homes_of_one_user_do_not_see_each_others_jobs_in_a_shared_folder() {
    let mut world = World::new();
    let shared = world.root().join("shared");
    fs::create_dir(&shared).expect("a folder");
    set_mode(&shared, 0o700);
    let home = |name: &str| {
        let home = world.root().join(name);
        fs::create_dir(&home).expect("a home");
        without_room(&home);
        format!("SetEnv HOME={} SESSD_FALLBACK_DIR={}", home.display(), shared.display())
    };
    let (one, two) = (home("one"), home("two"));
    let (one, two) = (Sshd::start_with(&world, "h1", &[&one]), Sshd::start_with(&world, "h2", &[&two]));
    SshConfig::new(&mut world).host("box", &one).host("box2", &two);
    world.create_on("box", "theirs", ANSWER);
    assert_eq!(jobs_in(&shared).len(), 1);
    let adopted = world.json(&["host", "adopt", "box2"]);
    assert_eq!(adopted["adopted"], serde_json::json!([]), "{adopted:#}");
    world.create_on("box2", "ours", ANSWER);
    assert_eq!(jobs_in(&shared).len(), 2);
    for name in ["theirs", "ours"] {
        answers(&world.attach(name), name);
    }
}

#[test]
fn a_user_without_a_home_begins_where_ssh_does() {
    let mut world = World::new();
    let set = format!("SetEnv HOME=/proc/nohome SESSD_FALLBACK_DIR={}", world.fallback().display());
    let host = Sshd::start_with(&world, "h1", &[&set]);
    SshConfig::new(&mut world).host("box", &host);
    world.create_on("box", "dev", "echo \"in <$PWD>\"; exec cat");
    world.attach("dev").wait_text("in </>", SOON);
}

/// Another program's leftovers in the fallback, and another version's, do not decide anything.
#[test]
fn what_lies_in_the_fallback_from_before_is_not_preferred() {
    let world = World::new();
    world.create("probe", "exec cat");
    let bin = world.home().join(".local/state/sessd-agent/bin");
    let uid = Command::new("id").arg("-u").output().expect("id").stdout;
    let left =
        world.fallback().join(format!("sessd-agent-{}", String::from_utf8_lossy(&uid).trim())).join("bin");
    fs::create_dir_all(&left).expect("a folder");
    for above in [&left, left.parent().expect("a folder")] {
        set_mode(above, 0o700);
    }
    for program in fs::read_dir(&bin).expect("programs").flatten() {
        fs::rename(program.path(), left.join(program.file_name())).expect("the program moves");
    }
    next_manager(&world);
    world.create("dev", ANSWER);
    assert!(
        !bin.exists() || fs::read_dir(&bin).is_ok_and(|mut dir| dir.next().is_none()),
        "it is used there"
    );
    assert_eq!(jobs_in(&world.home()).len(), 2, "and the jobs are at home all the same");
    answers(&world.attach("dev"), "here");
}

#[test]
fn a_host_with_any_number_of_jobs_and_any_length_of_commands_is_reached() {
    let world = World::new();
    // What one session may be made of is said, and takes nothing down.
    let line = world.fails(
        &[
            "create",
            "--name",
            "long",
            "--",
            "echo",
            &"x".repeat(120_000),
            &"y".repeat(120_000),
            &"z".repeat(120_000),
        ],
        2,
    );
    assert!(line.contains("command") && line.contains("262144"), "{line}");
    let env = format!("A={}", "x".repeat(100_000));
    let four: Vec<String> = ["A", "B", "C"].iter().map(|name| env.replacen('A', name, 1)).collect();
    let mut args = vec!["create", "--name", "env"];
    four.iter().for_each(|env| args.extend(["--env", env]));
    args.extend(["--", "cat"]);
    let line = world.fails(&args, 2);
    assert!(line.contains("--env"), "{line}");
    // Ten of them are more than two frames.
    let word = "w".repeat(120_000);
    for n in 0..10 {
        world.ok(&["create", "--name", &format!("s{n}"), "--", "sh", "-c", ANSWER, "sh", &word, &word]);
    }
    next_manager(&world);
    for name in ["s0", "s9"] {
        answers(&world.attach(name), name);
    }
    until("all to run", Duration::from_secs(30), || {
        (world.list().iter().filter(|s| s["state"] == "running").count() == 10).then_some(())
    });
}
