//! Back before anybody looks up: a link that is cut, silent or left behind in another network, while a person types.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::Command;
use std::time::{Duration, Instant};

use sessd_tests::{LATER, Proxy, SOON, SshConfig, Sshd, View, World, until_or};

const ANSWER: &str = "stty -echo; echo ready; while read -r line; do echo \"got <$line>\"; done";

/// Types a line and says how long its answer took. Each answer is on the screen once.
fn answers(view: &View, line: &str) -> Duration {
    let (want, typed) = (format!("got <{line}>"), Instant::now());
    view.type_(format!("{line}\r"));
    view.wait_text(&want, LATER);
    typed.elapsed()
}

fn once_each(view: &View, lines: &[&str]) {
    let history = view.history().join("\n");
    for line in lines {
        assert_eq!(history.matches(&format!("got <{line}>")).count(), 1, "{line}:\n{history}");
    }
}

fn behind_a_proxy() -> (World, Sshd, Proxy, View) {
    let mut world = World::new();
    let host = Sshd::start_in(&world, "h1");
    let proxy = Proxy::to(host.addr());
    SshConfig::new(&mut world).host_at("box", &host, proxy.addr(), &[]);
    world.create_on("box", "dev", ANSWER);
    let view = world.attach("dev");
    view.wait_text("ready", SOON);
    answers(&view, "first");
    (world, host, proxy, view)
}

#[test]
fn a_silent_loss_is_over_before_anybody_looks_up_and_nothing_comes_twice() {
    let (world, host, proxy, view) = behind_a_proxy();
    let logins = host.logins();
    // The round trip is known by the second heartbeat while a view is open.
    proxy.abandon();
    let took = answers(&view, "over another path");
    println!("back {took:?} after a silent loss");
    assert!(took < Duration::from_secs(6), "{took:?}\n{}", world.log_tail());
    answers(&view, "and on");
    once_each(&view, &["first", "over another path", "and on"]);
    assert_eq!(host.logins(), logins + 1, "one second link");
    let info = world.info("dev").expect("known");
    assert_eq!((&info["state"], &info["link"]), (&"running".into(), &"up".into()));
}

#[test]
fn a_reset_is_over_before_anybody_looks_up() {
    let (world, _host, proxy, view) = behind_a_proxy();
    proxy.drop_connections();
    let took = answers(&view, "after a reset");
    println!("back {took:?} after a reset");
    assert!(took < Duration::from_secs(5), "{took:?}\n{}", world.log_tail());
    once_each(&view, &["first", "after a reset"]);
}

#[test]
fn a_line_that_is_cut_again_and_again_is_healed_each_time_as_it_was_the_first() {
    let (world, host, proxy, view) = behind_a_proxy();
    let logins = host.logins();
    let mut lines = vec!["first".to_owned()];
    for cut in 0..6 {
        // Lost in silence, and reset.
        if cut % 2 == 0 {
            proxy.abandon()
        } else {
            proxy.drop_connections()
        }
        let line = format!("after cut {cut}");
        let took = answers(&view, &line);
        println!("back {took:?} after cut {cut}");
        assert!(took < Duration::from_secs(6), "{took:?}\n{}", world.log_tail());
        lines.push(line);
    }
    once_each(&view, &lines.iter().map(String::as_str).collect::<Vec<_>>());
    let more = host.logins() - logins;
    assert!((6..=12).contains(&more), "{more} logins");
}

#[test]
fn a_host_whose_sshd_starts_again_is_there_as_soon_as_its_port_answers() {
    let mut world = World::new();
    let mut host = Sshd::start_in(&world, "h1");
    SshConfig::new(&mut world).host("box", &host);
    world.create_on("box", "dev", ANSWER);
    let view = world.attach("dev");
    view.wait_text("ready", SOON);
    host.stop();
    view.wait_text("link to box", SOON);
    view.type_("held\r");
    host.start();
    let answered = Instant::now();
    view.wait_text("got <held>", SOON);
    let took = answered.elapsed();
    println!("back {took:?} after the port answered");
    assert!(took < Duration::from_secs(5), "{took:?}\n{}", world.log_tail());
    once_each(&view, &["held"]);
}

#[test]
fn a_link_that_is_only_slow_stays_and_costs_one_login_at_the_most() {
    let (_world, host, proxy, view) = behind_a_proxy();
    let logins = host.logins();
    for n in 0..2 {
        proxy.freeze();
        view.type_(format!("held {n}\r"));
        let frozen = Instant::now();
        until_or(
            "half a second to pass",
            SOON,
            || (frozen.elapsed() > Duration::from_millis(500)).then_some(()),
            String::new,
        );
        proxy.resume();
        view.wait_text(&format!("got <held {n}>"), LATER);
    }
    once_each(&view, &["first", "held 0", "held 1"]);
    assert!(host.logins() <= logins + 1, "{} logins", host.logins() - logins);
}

/// A port that takes the connection and hangs up, a jump host that is away or cannot reach the host, a ProxyCommand that
/// ends: each costs little, and is tried again soon while somebody looks.
#[test]
fn what_hangs_up_before_a_word_is_found_again_within_seconds_of_its_return() {
    let mut world = World::new();
    let mut host = Sshd::start_in(&world, "h1");
    let jump = Sshd::start_in(&world, "h2");
    let proxy = Proxy::to(host.addr());
    let mut config = SshConfig::new(&mut world);
    config.host_at("hung", &host, proxy.addr(), &[]);
    config.host("jump", &jump).host_at("behind", &host, host.addr(), &["ProxyJump jump"]);
    let command = format!("ProxyCommand ssh -F {} -W %h:%p jump", config.path().display());
    config.host_at("piped", &host, host.addr(), &[&command]);
    let views: Vec<View> = ["hung", "behind", "piped"]
        .into_iter()
        .map(|name| {
            world.create_on(name, name, ANSWER);
            let view = world.attach(name);
            view.wait_text("ready", SOON);
            view
        })
        .collect();
    let back = |name: &str, view: &View, since: Instant, line: &str| {
        view.wait_text(&format!("got <{line}>"), LATER);
        let took = since.elapsed();
        println!("{name} back {took:?} after it was there");
        assert!(took < Duration::from_secs(5), "{name}: {took:?}\n{}", world.log_tail());
    };
    let before = proxy.attempts();
    proxy.cut();
    host.stop();
    // By then each has waited for its time once.
    until_or(
        "a second attempt",
        SOON,
        || (proxy.attempts() >= before + 2).then_some(()),
        || world.log_tail(),
    );
    views.iter().for_each(|view| view.type_("one\r"));
    host.start();
    proxy.resume();
    let since = Instant::now();
    for (name, view) in ["hung", "behind", "piped"].into_iter().zip(&views) {
        back(name, view, since, "one");
    }
}

/// A network of its own with one cable to here.
struct Cable {
    name: String,
    here: String,
    third: u8,
}

impl Cable {
    /// None: this machine lets nobody make one.
    fn new() -> Option<Self> {
        let id = std::process::id();
        let cable = Self { name: format!("sessd{id}"), here: format!("sv{id}"), third: (id % 250) as u8 + 1 };
        let made = cable.ip(&["netns", "add", &cable.name])
            && cable.ip(&[
                "link",
                "add",
                &cable.here,
                "type",
                "veth",
                "peer",
                "name",
                "c0",
                "netns",
                &cable.name,
            ])
            && cable.ip(&["link", "set", &cable.here, "up"])
            && cable.inside(&["ip", "link", "set", "c0", "up"])
            && cable.inside(&["ip", "link", "set", "lo", "up"])
            && cable.inside(&["ip", "address", "add", &format!("{}/24", cable.address(2)), "dev", "c0"]);
        made.then_some(cable)
    }

    fn address(&self, last: u8) -> IpAddr {
        IpAddr::V4(Ipv4Addr::new(10, 203, self.third, last))
    }

    fn ip(&self, args: &[&str]) -> bool {
        Command::new("ip").args(args).output().is_ok_and(|out| out.status.success())
    }

    fn inside(&self, args: &[&str]) -> bool {
        self.ip(&[&["netns", "exec", &self.name], args].concat())
    }

    /// Our end has this address and no other.
    fn we_are(&self, last: u8) {
        self.ip(&["address", "flush", "dev", &self.here, "scope", "global"]);
        let address = format!("{}/24", self.address(last));
        assert!(self.ip(&["address", "add", &address, "dev", &self.here]), "{address}");
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.ip(&["netns", "delete", &self.name]);
        self.ip(&["link", "delete", &self.here]);
    }
}

#[test]
fn another_address_of_ours_is_another_link_and_the_same_session() {
    let Some(cable) = Cable::new() else {
        // Where that is not allowed, the proxy above shows the same but for the system's word.
        return println!("no network of our own can be made here: not run");
    };
    cable.we_are(1);
    let mut world = World::new();
    let host = Sshd::start_within(&world, "h1", &cable.name, SocketAddr::new(cable.address(2), 2222));
    SshConfig::new(&mut world).host("box", &host);
    world.create_on("box", "dev", ANSWER);
    let view = world.attach("dev");
    view.wait_text("ready", SOON);
    answers(&view, "at home");
    // The machine is carried elsewhere: what was sent from the old address is answered nowhere.
    cable.we_are(7);
    let took = answers(&view, "elsewhere");
    println!("back {took:?} after another address");
    assert!(took < Duration::from_secs(6), "{took:?}\n{}", world.log_tail());
    once_each(&view, &["at home", "elsewhere"]);
    let log = fs::read_to_string(world.log()).expect("the manager's log");
    assert!(log.contains("network changed"), "the system told\n{log}");
}
