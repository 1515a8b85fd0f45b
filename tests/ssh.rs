//! Sessions on a host that knows nothing of sessd, and links that come and go.

use std::fs;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use sessd_tests::{
    Faults, LATER, Numbers, Proxy, SOON, SshConfig, Sshd, World, check_numbers, jobs, numbers_in, procs,
    sshd, until, until_or,
};

const ANSWER: &str = "stty -echo; echo ready; while read -r line; do echo \"got <$line>\"; done";

/// A world with one host, `box`.
fn world_with_host() -> (World, Sshd, SshConfig) {
    world_with_host_that(&[])
}

/// A world with one host, `box`, whose sshd has these settings.
fn world_with_host_that(settings: &[&str]) -> (World, Sshd, SshConfig) {
    let mut world = World::new();
    let host = Sshd::start_with(&world, "h1", settings);
    let mut config = SshConfig::new(&mut world);
    config.host("box", &host);
    (world, host, config)
}

/// A world whose host `box` is behind a proxy.
fn world_with_proxy(settings: &[&str]) -> (World, Sshd, Proxy) {
    let mut world = World::new();
    let host = Sshd::start_with(&world, "h1", settings);
    let proxy = Proxy::to(host.addr());
    SshConfig::new(&mut world).host_at("box", &host, proxy.addr(), &[]);
    (world, host, proxy)
}

fn wait_link_lost(world: &World, session: &str) {
    world.wait_session(session, "a lost link", LATER, |info| {
        info["state"] == "disconnected" && info["link"] != "up"
    });
}

fn wait_link_back(world: &World, session: &str) {
    world.wait_session(session, "running again by itself", LATER, |info| {
        info["state"] == "running" && info["link"] == "up"
    });
}

#[test]
fn a_host_with_nothing_installed_runs_a_session() {
    let (world, host, _config) = world_with_host();
    let out = host.home().join("out");
    world.create_on(
        "box",
        "dev",
        &format!("echo \"$HOME $SESSD_HOST $SESSD_NAME\" >{}; {ANSWER}", out.display()),
    );
    let view = world.attach("dev");
    view.wait_text("ready", SOON);
    view.type_("over ssh\r");
    view.wait_text("got <over ssh>", SOON);
    let text =
        until("the job's answer", SOON, || fs::read_to_string(&out).ok().filter(|text| text.ends_with('\n')));
    assert_eq!(text.trim(), format!("{} box dev", host.home().display()));
    let info = world.info("dev").expect("known");
    assert_eq!(
        (&info["host"], &info["link"], &info["state"]),
        (&"box".into(), &"up".into(), &"running".into())
    );
    assert!(
        host.home().join(".local/state/sessd-agent").is_dir(),
        "the agent's folder is where the contract says"
    );
    let status = world.json(&["daemon", "status"]);
    assert_eq!(
        (&status["links"][0]["host"], &status["links"][0]["link"]),
        (&"box".into(), &"up".into()),
        "{status}"
    );
    assert_eq!(host.logins(), 1, "one login carries it all");
}

#[test]
fn two_hosts_have_two_homes() {
    let mut world = World::new();
    let (one, two) = (Sshd::start_in(&world, "h1"), Sshd::start_in(&world, "h2"));
    SshConfig::new(&mut world).host("box", &one).host("box2", &two);
    for (alias, host) in [("box", &one), ("box2", &two)] {
        world.create_on(alias, &format!("on-{alias}"), "echo \"home <$HOME>\"; exec cat");
        let view = world.view_sized(&["attach", &format!("on-{alias}")], 120, 24);
        view.wait_text(&format!("home <{}>", host.home().display()), SOON);
        assert_eq!(world.agents(&host.home(), "hold").len(), 1);
    }
    world.create("here", "exec cat");
    let on = |host: &str| {
        let list = world.json(&["list", "--host", host]);
        list.as_array()
            .expect("an array")
            .iter()
            .map(|s| s["name"].as_str().unwrap_or("").to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        (on("box"), on("box2"), on("local")),
        (vec!["on-box".into()], vec!["on-box2".into()], vec!["here".into()])
    );
}

#[test]
fn a_second_session_needs_no_second_login() {
    let (world, host, _config) = world_with_host();
    std::thread::scope(|scope| {
        for n in 0..5 {
            let world = &world;
            scope.spawn(move || world.create_on("box", &format!("s{n}"), "exec cat"));
        }
    });
    assert_eq!(world.list().len(), 5);
    assert_eq!(host.logins(), 1);
    assert_eq!(world.agents(&host.home(), "hold").len(), 5, "one holder for each job");
}

#[test]
fn a_host_that_was_away_is_back_by_itself() {
    let (world, mut host, _config) = world_with_host();
    let numbers = Numbers::new(world.root());
    world.create_on("box", "dev", &numbers.script());
    let pid = numbers.pid();
    let mut view = world.attach("dev");
    numbers.emit(100);
    view.wait_text(&numbers.last_line(), SOON);
    let link = |field: &str| {
        let status = world.json(&["daemon", "status"]);
        let links = status["links"].as_array().cloned().unwrap_or_default();
        links.iter().find(|link| link["host"] == "box").and_then(|link| link[field].as_u64())
    };
    let (first, sent) = (link("bytes_in").unwrap_or(0), link("bytes_out").unwrap_or(0));
    assert!(first > 300 && sent > 100, "{first} bytes in, {sent} out");
    assert_eq!(link("retries"), Some(0), "it was dialled once");
    host.stop();
    wait_link_lost(&world, "dev");
    // Output that nobody can see yet.
    numbers.emit(200);
    assert_eq!(view.exited(), None, "the view stays: {}", view.describe());
    host.start();
    wait_link_back(&world, "dev");
    numbers.emit(100);
    view.wait_text(&numbers.last_line(), SOON);
    // What went over the link that was is not forgotten with it.
    let retries = link("retries");
    assert!(retries >= Some(1), "it was dialled again: {retries:?}");
    assert!(
        link("bytes_in") > Some(first + 300) && link("bytes_out") > Some(sent),
        "what came since is counted"
    );
    let table = world.ok(&["daemon", "status"]).stdout;
    assert!(table.contains("RETRIES") && table.contains(" kB"), "{table}");
    let history = view.history().join("\n");
    check_numbers(&numbers_in(history.as_bytes()), numbers.asked())
        .unwrap_or_else(|wrong| panic!("{wrong}\n{}", view.describe()));
    assert_eq!(numbers.pid(), pid, "the same job");
    assert!(procs::alive(pid));
}

#[test]
fn a_view_says_that_the_link_is_down_and_the_line_goes() {
    let (world, mut host, _config) = world_with_host();
    world.create_on("box", "dev", "stty -echo; echo first; read -r x; echo second; exec cat");
    let view = world.attach("dev");
    view.wait_text("first", SOON);
    let before = view.screen(vt100::Screen::contents_formatted);
    host.stop();
    view.wait_screen("a line about the link", LATER, |screen| {
        screen.contents_formatted() != before && screen.contents().contains("first")
    });
    host.start();
    wait_link_back(&world, "dev");
    view.wait_screen("the screen without that line", SOON, |screen| screen.contents_formatted() == before);
    view.type_("\r");
    view.wait_text("second", SOON);
}

#[test]
fn keys_typed_while_the_link_is_down_arrive_once() {
    let (world, _host, proxy) = world_with_proxy(&[]);
    world.create_on("box", "dev", ANSWER);
    let view = world.attach("dev");
    view.wait_text("ready", SOON);
    proxy.cut();
    wait_link_lost(&world, "dev");
    view.type_("held\r");
    proxy.resume();
    view.wait_text("got <held>", LATER);
    view.type_("after\r");
    view.wait_text("got <after>", SOON);
    assert_eq!(view.history().join("\n").matches("got <held>").count(), 1, "{}", view.describe());
}

#[test]
fn a_job_killed_while_the_link_is_down_is_done_with_its_reason() {
    let (world, mut host, _config) = world_with_host();
    let numbers = Numbers::new(world.root());
    world.create_on("box", "dev", &numbers.script());
    let pid = numbers.pid();
    world.wait_state("dev", "running", SOON);
    host.stop();
    wait_link_lost(&world, "dev");
    procs::signal(pid, Signal::KILL);
    procs::wait_gone(pid, SOON);
    let away = world.info("dev").expect("known");
    assert_eq!(away["state"], "disconnected", "nobody can know yet: {away:#}");
    host.start();
    let info = world.wait_state("dev", "done", LATER);
    assert_eq!((&info["end"]["reason"], &info["end"]["signal"]), (&"signaled".into(), &9.into()), "{info:#}");
}

#[test]
fn a_job_that_exits_while_the_link_is_down_is_done_with_its_code() {
    let (world, mut host, _config) = world_with_host();
    let numbers = Numbers::new(world.root());
    world.create_on("box", "dev", &format!("{}; echo farewell; exit 7", numbers.script()));
    let pid = numbers.pid();
    let mut view = world.attach("dev");
    numbers.emit(1);
    view.wait_text(&numbers.last_line(), SOON);
    host.stop();
    wait_link_lost(&world, "dev");
    drop(numbers);
    procs::wait_gone(pid, SOON);
    host.start();
    let info = world.wait_state("dev", "done", LATER);
    assert_eq!((&info["end"]["reason"], &info["end"]["code"]), (&"exited".into(), &7.into()), "{info:#}");
    assert_eq!(view.wait_exit(SOON), 7);
    let history = format!("{}{}", view.history().join("\n"), String::from_utf8_lossy(&view.raw()));
    assert!(history.contains("farewell"), "its last words are seen: {}", view.describe());
}

#[test]
fn a_session_deleted_while_the_link_is_down_is_gone_at_reconnect() {
    let (world, mut host, _config) = world_with_host();
    let (kept, gone) = (Numbers::new(world.root()), Numbers::new(world.root()));
    world.create_on("box", "kept", &kept.script());
    world.create_on("box", "gone", &gone.script());
    let (kept_pid, gone_pid) = (kept.pid(), gone.pid());
    host.stop();
    wait_link_lost(&world, "gone");
    world.ok(&["delete", "gone"]);
    assert!(procs::alive(gone_pid), "nobody can have reached it");
    host.start();
    procs::wait_gone(gone_pid, LATER);
    until("the record to be gone", SOON, || world.info("gone").is_none().then_some(()));
    wait_link_back(&world, "kept");
    assert!(procs::alive(kept_pid), "the other job lives");
    until("one holder to be left", SOON, || (world.agents(&host.home(), "hold").len() == 1).then_some(()));
}

#[test]
fn the_manager_may_be_killed_while_a_host_is_away() {
    let (world, mut host, _config) = world_with_host();
    let numbers = Numbers::new(world.root());
    world.create_on("box", "dev", &numbers.script());
    let pid = numbers.pid();
    world.wait_state("dev", "running", SOON);
    host.stop();
    world.kill_manager();
    let info = world.info("dev").expect("known after a restart");
    assert_eq!(info["state"], "disconnected", "no claim without evidence: {info:#}");
    host.start();
    wait_link_back(&world, "dev");
    assert_eq!(numbers.pid(), pid);
    numbers.emit(3);
    world.attach("dev").wait_text(&numbers.last_line(), SOON);
}

#[test]
fn the_view_goes_on_when_the_manager_of_a_remote_job_is_killed() {
    let (world, _host, _config) = world_with_host();
    let numbers = Numbers::new(world.root());
    world.create_on("box", "dev", &numbers.script());
    let view = world.attach("dev");
    numbers.emit(100);
    view.wait_text(&numbers.last_line(), SOON);
    world.kill_manager();
    numbers.emit(100);
    view.wait_text(&numbers.last_line(), LATER);
    check_numbers(&numbers_in(view.history().join("\n").as_bytes()), numbers.asked())
        .unwrap_or_else(|wrong| panic!("{wrong}\n{}", view.describe()));
}

#[test]
fn a_holder_outlives_the_login_that_made_it() {
    let (world, mut host, _config) = world_with_host();
    let numbers = Numbers::new(world.root());
    world.create_on("box", "dev", &numbers.script());
    let pid = numbers.pid();
    let serving = world.agents(&host.home(), "serve");
    assert!(!serving.is_empty());
    host.stop();
    for agent in serving {
        procs::wait_gone(agent, LATER);
    }
    assert!(procs::alive(pid));
    assert_eq!(world.agents(&host.home(), "hold").len(), 1);
}

/// A host that allows no more than one channel, and one that allows a bypass past the agent.
const WAYS: [&[&str]; 2] = [sshd::STRICT, &[]];

#[test]
fn a_killed_agent_costs_no_byte() {
    for settings in WAYS {
        killed_agents_cost_no_byte(settings);
    }
}

fn killed_agents_cost_no_byte(settings: &[&str]) {
    let (world, host, _config) = world_with_host_that(settings);
    let numbers = Numbers::new(world.root());
    world.create_on("box", "dev", &numbers.script());
    let view = world.attach("dev");
    for _ in 0..3 {
        numbers.emit(100);
        view.wait_text(&numbers.last_line(), LATER);
        let serving = until("an agent that serves", LATER, || {
            Some(world.agents(&host.home(), "serve")).filter(|serving| !serving.is_empty())
        });
        for agent in serving {
            procs::signal(agent, Signal::KILL);
        }
        numbers.emit(100);
    }
    view.wait_text(&numbers.last_line(), LATER);
    check_numbers(&numbers_in(view.history().join("\n").as_bytes()), numbers.asked())
        .unwrap_or_else(|wrong| panic!("{wrong}\n{}", view.describe()));
}

#[test]
fn cuts_by_seed_lose_and_double_nothing() {
    for settings in WAYS {
        cuts_lose_and_double_nothing(settings);
    }
}

/// A key does not pass the agent of the link where the host's sshd connects us to the holder itself.
#[test]
fn a_session_that_is_looked_at_has_a_bypass_past_the_agent() {
    let (world, host, _config) = world_with_host();
    world.create_on("box", "far", ANSWER);
    world.create("near", ANSWER);
    for (session, home) in [("far", host.home()), ("near", world.home())] {
        let view = world.attach(session);
        view.wait_text("ready", SOON);
        let agents = until("an agent that talks to no holder", SOON, || {
            let agents = world.agents(&home, "serve");
            agents.iter().all(|agent| talks(*agent) == 0).then_some(agents)
        });
        for agent in &agents {
            procs::signal(*agent, Signal::STOP);
        }
        view.type_("past the agent\r");
        view.wait_text("got <past the agent>", SOON);
        for agent in &agents {
            procs::signal(*agent, Signal::CONT);
        }
        view.close();
    }
}

/// Sockets that an agent has beside its link.
fn talks(agent: i32) -> usize {
    let Ok(files) = fs::read_dir(format!("/proc/{agent}/fd")) else { return usize::MAX };
    let beside = |name: &str| name.parse::<u32>().is_ok_and(|number| number > 2);
    files
        .flatten()
        .filter(|file| beside(&file.file_name().to_string_lossy()))
        .filter(|file| fs::read_link(file.path()).is_ok_and(|to| to.to_string_lossy().starts_with("socket:")))
        .count()
}

#[test]
fn a_host_that_forbids_bypasss_is_asked_for_one_only_once() {
    let (world, host, _config) = world_with_host_that(sshd::STRICT);
    for session in ["one", "two", "three"] {
        world.create_on("box", session, ANSWER);
        let view = world.attach(session);
        view.wait_text("ready", SOON);
        view.type_("here\r");
        view.wait_text("got <here>", SOON);
    }
    let log = fs::read_to_string(host.log()).expect("the log of sshd");
    assert_eq!(log.matches("refused streamlocal port forward").count(), 1, "{}", host.log_tail());
}

fn cuts_lose_and_double_nothing(settings: &[&str]) {
    let (world, _host, proxy) = world_with_proxy(settings);
    let typed = world.root().join("typed");
    world.create_on(
        "box",
        "dev",
        &format!(
            "stty -echo; echo ready; i=0; while read -r line; do echo \"$line\" >>{}; j=0; while [ $j -lt 200 ]; do printf \
             'n:%06d\\n' $i; i=$((i+1)); j=$((j+1)); done; done",
            typed.display()
        ),
    );
    let view = world.attach("dev");
    view.wait_text("ready", SOON);
    proxy.inject(Faults::new(20_000, 5));
    let mut want = String::new();
    for n in 0..60 {
        view.type_(format!("line {n}\r"));
        want.push_str(&format!("line {n}\n"));
        if n % 5 == 4 {
            view.wait_text(&format!("n:{:06}", (n + 1) * 200 - 1), LATER);
        }
    }
    assert!(proxy.cuts_left() <= 3, "the link was cut at least twice");
    proxy.heal();
    until_or(
        "every typed line once and in order",
        LATER,
        || (fs::read_to_string(&typed).ok()? == want).then_some(()),
        || fs::read_to_string(&typed).unwrap_or_default(),
    );
    check_numbers(&numbers_in(view.history().join("\n").as_bytes()), 12_000)
        .unwrap_or_else(|wrong| panic!("{wrong}\n{}", view.describe()));
}

/// Slow: what a link may be silent for is measured in heartbeats.
#[test]
fn a_frozen_link_is_stalled_then_dialled_again_and_nothing_is_claimed_meanwhile() {
    let (world, _host, proxy) = world_with_proxy(&[]);
    let numbers = Numbers::new(world.root());
    world.create_on("box", "dev", &numbers.script());
    let pid = numbers.pid();
    let view = world.attach("dev");
    numbers.emit(100);
    view.wait_text(&numbers.last_line(), SOON);
    let (tries, begun) = (proxy.attempts(), Instant::now());
    proxy.freeze();
    numbers.emit(100);
    let until_frozen_for = |seconds: u64, what: &str, fact: &dyn Fn(&serde_json::Value) -> bool| {
        let left = (begun + Duration::from_secs(seconds)).saturating_duration_since(Instant::now());
        world.wait_session("dev", what, left, |info| {
            assert_ne!(info["state"], "done", "{info:#}");
            assert!(info["state"] == "disconnected" || info["link"] == "up", "{info:#}");
            fact(info)
        })
    };
    let info = until_frozen_for(15, "a stalled link", &|info| info["link"] != "up");
    assert_eq!((&info["link"], &info["state"]), (&"stalled".into(), &"disconnected".into()), "{info:#}");
    let listed = &world.list()[0];
    assert_eq!(
        (&listed["link"], &listed["state"]),
        (&"stalled".into(), &"disconnected".into()),
        "{listed:#}"
    );
    assert_eq!(world.json(&["list", "--state", "running"]), serde_json::json!([]));
    assert_eq!(world.json(&["daemon", "status"])["links"][0]["link"], "stalled");
    view.wait_text("link to box: no answer for ", Duration::from_secs(7));
    until_frozen_for(31, "another dial", &|_| proxy.attempts() > tries);
    proxy.resume();
    wait_link_back(&world, "dev");
    view.wait_text(&numbers.last_line(), LATER);
    check_numbers(&numbers_in(view.history().join("\n").as_bytes()), numbers.asked())
        .unwrap_or_else(|wrong| panic!("{wrong}\n{}", view.describe()));
    assert_eq!(numbers.pid(), pid, "the same job");
}

/// Slow: a machine that slept is told from one that is busy by time.
#[test]
fn a_laptop_that_wakes_up_in_another_network_goes_on_where_it_was() {
    let (world, host, proxy) = world_with_proxy(&[]);
    let numbers = Numbers::new(world.root());
    world.create_on("box", "dev", &numbers.script());
    let pid = numbers.pid();
    let view = world.attach("dev");
    numbers.emit(100);
    view.wait_text(&numbers.last_line(), SOON);
    let (manager, logins) = (world.manager_pid(), host.logins());

    view.signal(Signal::STOP);
    procs::signal(manager, Signal::STOP);
    proxy.abandon();
    numbers.emit(100);
    let slept = Instant::now();
    until("seventeen seconds to pass", LATER, || (slept.elapsed() > Duration::from_secs(17)).then_some(()));
    procs::signal(manager, Signal::CONT);
    view.signal(Signal::CONT);
    let woke = Instant::now();
    // The old connection says nothing, and never will: it is not waited for as long as a link may be silent.
    view.wait_text(&numbers.last_line(), SOON);
    let took = woke.elapsed();
    assert!(took < Duration::from_secs(12), "back {took:?} after it woke\n{}", world.log_tail());
    wait_link_back(&world, "dev");
    assert_eq!(host.logins(), logins + 1, "dialled once");
    numbers.emit(100);
    view.wait_text(&numbers.last_line(), SOON);
    check_numbers(&numbers_in(view.history().join("\n").as_bytes()), numbers.asked())
        .unwrap_or_else(|wrong| panic!("{wrong}\n{}", view.describe()));
    assert_eq!((numbers.pid(), world.manager_pid()), (pid, manager), "the same job, the same manager");
}

#[test]
fn a_cut_link_is_dialled_with_patience() {
    let (world, _host, proxy) = world_with_proxy(&[]);
    world.create_on("box", "dev", "exec cat");
    world.wait_state("dev", "running", SOON);
    let before = proxy.attempts();
    proxy.cut();
    wait_link_lost(&world, "dev");
    // Ten seconds of refusals: a storm would be hundreds of attempts.
    let begun = std::time::Instant::now();
    until("ten seconds to pass", SOON, || (begun.elapsed() > Duration::from_secs(10)).then_some(()));
    let tries = proxy.attempts() - before;
    assert!((1..=12).contains(&tries), "{tries} attempts in ten seconds");
    proxy.resume();
    wait_link_back(&world, "dev");
}

#[test]
fn a_command_that_does_not_exist_on_the_host_is_said() {
    let (world, host, _config) = world_with_host();
    let line = world.fails(&["create", "--name", "dev", "--host", "box", "--", "no-such-command-here"], 1);
    assert!(line.contains("no-such-command-here"), "{line}");
    assert_eq!(world.list().len(), 0);
    until("no holder to be left", SOON, || world.agents(&host.home(), "hold").is_empty().then_some(()));
}

#[test]
fn delete_ends_the_job_on_its_host() {
    let (world, host, _config) = world_with_host();
    let pid_file = world.root().join("pid");
    world.create_on("box", "dev", &jobs::noting_pid(&pid_file, "sleep 100000 & exec cat"));
    let pid = jobs::wait_pid(&pid_file);
    let family = until("the job's child", SOON, || Some(procs::family(pid)).filter(|all| all.len() >= 2));
    world.ok(&["delete", "dev"]);
    for pid in family {
        procs::wait_gone(pid, SOON);
    }
    until("no holder to be left", SOON, || world.agents(&host.home(), "hold").is_empty().then_some(()));
    world.fails(&["info", "dev"], 3);
}
