//! Sessions that are to go while their host is away, hosts that are called otherwise, creates that are taken back, and
//! records that no host may touch.

use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use sessd_tests::{LATER, Proxy, SOON, SshConfig, Sshd, World, until, until_or};

const JOB: &str = "exec cat";

fn holders(world: &World, host: &Sshd) -> usize {
    world.agents(&host.home(), "hold").len()
}

fn away(world: &World, session: &str) {
    world.wait_session(session, "a lost link", LATER, |info| info["link"] == "down");
}

#[test]
fn a_session_deleted_on_a_host_that_is_away_is_shown_until_it_is_ended() {
    let mut world = World::new();
    let mut host = Sshd::start_in(&world, "h1");
    SshConfig::new(&mut world).host("box", &host);
    world.create_on("box", "dev", JOB);
    world.wait_state("dev", "running", SOON);
    host.stop();
    away(&world, "dev");

    let said = world.ok(&["delete", "dev"]);
    let said = format!("{}{}", said.stdout, said.stderr);
    assert!(said.contains("box is out of reach"), "{said}");
    let list = world.list();
    assert_eq!((&list[0]["name"], &list[0]["state"]), (&"dev".into(), &"disconnected".into()), "{list:#?}");
    assert_eq!(list[0]["delete_requested"], true);
    assert!(world.ok(&["list"]).stdout.contains("delete pending"));
    assert_eq!(world.info("dev").expect("shown")["delete_requested"], true);
    // It may be asked for again, and the manager may die over it.
    world.ok(&["delete", "dev"]);
    world.kill_manager();
    away(&world, "dev");
    world.ok(&["delete", "dev"]);
    world.fails(&["restart", "dev"], 3);
    world.fails(&["tag", "dev", "k=v"], 3);
    // Its name is free, and belongs to the next at once.
    world.create("dev", JOB);
    assert_eq!(world.info("dev").expect("the new one")["host"], "local");
    assert_eq!(holders(&world, &host), 1, "what is out of reach runs on");

    host.start();
    until_or(
        "the job to be ended",
        LATER,
        || (holders(&world, &host) == 0 && world.list().len() == 1).then_some(()),
        || format!("{:#?}\n{}", world.list(), world.log_tail()),
    );
    assert_eq!(world.list()[0]["host"], "local");
}

#[test]
fn a_host_that_is_gone_for_good_is_given_up_by_force_and_said_so() {
    let mut world = World::new();
    let mut host = Sshd::start_in(&world, "h1");
    SshConfig::new(&mut world).host("box", &host);
    world.create_on("box", "dev", JOB);
    world.wait_state("dev", "running", SOON);
    host.stop();
    away(&world, "dev");
    world.ok(&["delete", "dev"]);
    let said = world.ok(&["delete", "dev", "--force"]);
    let said = format!("{}{}", said.stdout, said.stderr);
    assert!(said.contains("may still run"), "{said}");
    assert_eq!(world.list(), Vec::<Value>::new());

    host.start();
    world.ok(&["host", "adopt", "box"]);
    world.wait_state("dev", "running", SOON);
    world.ok(&["delete", "dev"]);
    until("the job's end", SOON, || (holders(&world, &host) == 0).then_some(()));
}

fn call_it(config: &SshConfig, old: &str, new: &str) {
    let text = fs::read_to_string(config.path()).expect("the ssh config");
    fs::write(config.path(), text.replace(&format!("Host {old}\n"), &format!("Host {new}\n")))
        .expect("the ssh config");
}

#[test]
fn an_alias_that_was_renamed_takes_its_sessions_along() {
    let mut world = World::new();
    let (host, other) = (Sshd::start_in(&world, "h1"), Sshd::start_in(&world, "h2"));
    let mut config = SshConfig::new(&mut world);
    config.host("old.example", &host).host("other.example", &other);
    world.create_on("old.example", "dev", "stty -echo; while read -r l; do echo \"got <$l>\"; done");
    world.create_on("ssh://old.example", "two", JOB);
    world.ok(&["create", "--name", "over", "--host", "old.example", "--", "true"]);
    world.wait_state("over", "done", SOON);
    let job = world.wait_state("dev", "running", SOON)["job_id"].clone();
    assert_eq!(world.info("two").expect("known")["host"], "old.example", "one host has one spelling");
    call_it(&config, "old.example", "new.example");
    world.ok(&["daemon", "stop"]);
    let view = world.attach("dev");
    world.wait_session("dev", "a lost host", LATER, |info| info["link"] == "down");

    // The machine is known, whatever it is called now.
    let adopted = world.json(&["host", "adopt", "new.example"]);
    assert_eq!(adopted["adopted"].as_array().map(Vec::len), Some(2), "{adopted:#}");
    for name in ["dev", "two"] {
        let info = world.wait_state(name, "running", SOON);
        assert_eq!(info["host"], "new.example");
    }
    assert_eq!(world.info("dev").expect("known")["job_id"], job);
    view.type_("hello\r");
    view.wait_text("got <hello>", LATER);

    // And by hand: not onto another machine, and with what has ended.
    call_it(&config, "new.example", "newer.example");
    world.kill_manager();
    world.wait_session("dev", "a lost host", LATER, |info| info["link"] == "down");
    world.fails(&["host", "rename", "new.example", "other.example"], 1);
    world.fails(&["host", "rename", "nowhere.example", "newer.example"], 3);
    world.ok(&["host", "rename", "new.example", "ssh://newer.example/"]);
    for name in ["dev", "two"] {
        assert_eq!(world.wait_state(name, "running", SOON)["host"], "newer.example");
    }
    world.ok(&["host", "rename", "old.example", "newer.example"]);
    assert_eq!(world.info("over").expect("kept")["host"], "newer.example");
    view.type_("again\r");
    view.wait_text("got <again>", LATER);
    assert_eq!(holders(&world, &host), 2);
}

#[test]
fn a_create_whose_asker_leaves_is_taken_back() {
    let mut world = World::new();
    let host = Sshd::start_in(&world, "h1");
    let proxy = Proxy::to(host.addr());
    SshConfig::new(&mut world).host_at("box", &host, proxy.addr(), &["ConnectTimeout 30"]);
    proxy.freeze();
    for signal in [Signal::INT, Signal::KILL] {
        let mut command = world.command(&["create", "--name", "dev", "--host", "box", "--", "cat"]);
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("sessd");
        until("the session to begin", SOON, || (world.list().len() == 1).then_some(()));
        kill_process(Pid::from_child(&child), signal).expect("our child");
        child.wait().expect("our child");
        until_or(
            "the session to be taken back",
            SOON,
            || world.list().is_empty().then_some(()),
            || format!("{signal:?}: {:#?}", world.list()),
        );
    }
    proxy.resume();
    world.create_on("box", "dev", JOB);
    assert_eq!(world.list().len(), 1);
    assert_eq!(holders(&world, &host), 1);
}

#[test]
fn a_create_on_a_host_that_is_known_to_be_down_ends_with_the_next_try() {
    let mut world = World::new();
    let mut host = Sshd::start_in(&world, "h1");
    let proxy = Proxy::to(host.addr());
    SshConfig::new(&mut world).host_at("box", &host, proxy.addr(), &["ConnectTimeout 3"]);
    world.create_on("box", "one", JOB);
    world.wait_state("one", "running", SOON);
    // Silent, and not yet known to be.
    proxy.freeze();
    let begun = Instant::now();
    world.fails(&["create", "--name", "two", "--host", "box", "--", "cat"], 5);
    assert!(begun.elapsed() < Duration::from_secs(45), "{:?}", begun.elapsed());
    away(&world, "one");
    host.stop();
    proxy.cut();
    let begun = Instant::now();
    world.fails(&["create", "--name", "two", "--host", "box", "--", "cat"], 5);
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    until("nothing to be left of it", SOON, || {
        world.list().iter().all(|s| s["name"] != "two" || s["delete_requested"] == true).then_some(())
    });
    host.start();
    proxy.resume();
    world.wait_state("one", "running", LATER);
    until("nothing to be left of it", LATER, || (world.list().len() == 1).then_some(()));
    assert_eq!(holders(&world, &host), 1);
}

#[test]
fn no_host_touches_the_record_of_a_session_that_is_not_its_own() {
    let mut world = World::new();
    let (good, evil) = (Sshd::start_in(&world, "good"), Sshd::start_in(&world, "evil"));
    SshConfig::new(&mut world).host("good", &good).host("evil", &evil);
    world.create_on("evil", "own", JOB);
    world.create_on("good", "dev", "read l; exit 7");
    world.wait_state("dev", "running", SOON);
    let mut specs = Vec::new();
    sessd_tests::world::files_below(&good.home(), &mut |path| {
        if path.file_name().is_some_and(|name| name == "spec") {
            specs.push(path.to_owned());
        }
    });
    let folder =
        specs[0].strip_prefix(good.home()).expect("in its home").parent().expect("a folder").to_owned();
    let forged = evil.home().join(folder);
    fs::create_dir_all(&forged).expect("a folder");
    fs::copy(&specs[0], forged.join("spec")).expect("a copy");
    let view = world.attach("dev");
    let adopt: &[&str] = &["host", "adopt", "evil", "--all"];
    let live = world.info("dev").expect("known");
    assert!(world.ok(adopt).stderr.contains("on good here"));
    let still = world.info("dev").expect("known");
    assert_eq!((&still["host"], &still["job_id"]), (&"good".into(), &live["job_id"]));

    view.type_("\r");
    let done = world.wait_state("dev", "done", SOON);
    assert_eq!(done["end"]["code"], 7);
    assert!(world.ok(adopt).stderr.contains("on good here"));
    let still = world.info("dev").expect("kept");
    assert_eq!((&still["host"], &still["end"], &still["name"]), (&done["host"], &done["end"], &done["name"]));
}

#[test]
fn who_ended_a_session_is_told_to_all_who_had_it() {
    let mut world = World::new();
    world.create("dev", JOB);
    let first = world.sessd_home();
    let other = world.root().join("other");
    world.set_env("SESSD_HOME", other.display().to_string());
    world.set_env("USER", "ann");
    world.ok(&["host", "adopt", "local"]);
    world.wait_state("dev", "running", SOON);
    world.ok(&["delete", "dev"]);
    world.set_env("SESSD_HOME", first.display().to_string());
    let done = world.wait_state("dev", "done", SOON);
    let why = done["end"]["detail"].as_str().unwrap_or_default();
    assert!(why.starts_with("deleted by ann@"), "{done:#}");
}

#[test]
fn what_runs_is_known_to_run_right_after_a_start() {
    let world = World::new();
    world.create("dev", JOB);
    for _ in 0..5 {
        world.ok(&["daemon", "stop"]);
        let running = world.json(&["list", "--state", "running"]);
        assert_eq!(running.as_array().map(Vec::len), Some(1), "{running:#}");
        world.ok(&["daemon", "stop"]);
        assert_eq!(world.info("dev").expect("known")["state"], "running");
    }
}

#[test]
fn whoever_listens_hears_that_the_manager_goes() {
    let world = World::new();
    world.create("dev", JOB);
    let mut command = world.command(&["events", "--json"]);
    let heard = world.root().join("heard");
    let file = fs::File::create(&heard).expect("a file");
    let mut events = command.stdin(Stdio::null()).stdout(file).stderr(Stdio::null()).spawn().expect("sessd");
    let says = |what: &str| fs::read_to_string(&heard).unwrap_or_default().contains(what);
    let mut n = 0;
    until("the first event", SOON, || {
        n += 1;
        world.ok(&["tag", "dev", &format!("n={n}")]);
        says("\"tags\"").then_some(())
    });
    world.ok(&["daemon", "restart"]);
    until("the word of the manager", SOON, || says("\"manager\"").then_some(()));
    let _ = events.kill();
    let _ = events.wait();
}
