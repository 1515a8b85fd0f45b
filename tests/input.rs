//! What is typed reaches the job once and in order, or is said not to; a key that would come too late does not come.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use sessd_tests::{Faults, LATER, Proxy, SOON, SshConfig, Sshd, View, World, procs, until, until_or};

/// Typed ahead of what has arrived: below what a view holds while the path is broken.
const AHEAD: usize = 48 * 1024;

/// A job that keeps every byte it is sent.
fn keeping(file: &Path) -> String {
    format!("stty raw -echo; printf ready; exec cat >{}", file.display())
}

fn length(file: &Path) -> usize {
    fs::metadata(file).map_or(0, |data| usize::try_from(data.len()).expect("a length"))
}

/// The numbered text, from byte `from` on.
fn numbered(from: usize, many: usize) -> Vec<u8> {
    let skip = from % 10;
    let text: String = (from / 10..=(from + many) / 10).map(|n| format!("{n:09} ")).collect();
    text.as_bytes()[skip..skip + many].to_vec()
}

/// Types numbered text as fast as it arrives while `cuts` breaks the path, and checks that every byte came once.
fn typed_through(
    world: &World,
    view: &View,
    file: &Path,
    faults: &mut Faults,
    cuts: impl FnOnce(&mut Faults),
) {
    let (done, typed) = (AtomicBool::new(false), AtomicUsize::new(0));
    let mut pieces = faults.clone();
    thread::scope(|scope| {
        let typist = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let at = typed.load(Ordering::Relaxed);
                if at >= length(file) + AHEAD {
                    // Until more has arrived there is nothing to do; the deadline is that of the whole.
                    thread::sleep(Duration::from_millis(1));
                    continue;
                }
                let many = 1 + usize::try_from(pieces.next(4096)).expect("small");
                view.type_(numbered(at, many));
                typed.store(at + many, Ordering::Relaxed);
                // Megabytes a second are enough: what is asked is what a cut does to them.
                thread::sleep(Duration::from_millis(1));
            }
        });
        cuts(faults);
        done.store(true, Ordering::Relaxed);
        typist.join().expect("the typist");
    });
    let want = typed.load(Ordering::Relaxed);
    until_or(
        &format!("all of {want} typed bytes (seed {})", faults.seed()),
        LATER,
        || (length(file) >= want).then_some(()),
        || format!("{} came\n{}\n{}", length(file), view.describe(), world.log_tail()),
    );
    let (have, want) = (fs::read(file).expect("the file"), numbered(0, want));
    if let Some(at) = have.iter().zip(&want).position(|(a, b)| a != b) {
        panic!(
            "seed {}: byte {at} of {} differs: {:?} came where {:?} was typed",
            faults.seed(),
            want.len(),
            String::from_utf8_lossy(&have[at.saturating_sub(16)..have.len().min(at + 24)]),
            String::from_utf8_lossy(&want[at.saturating_sub(16)..want.len().min(at + 24)])
        );
    }
    assert_eq!(have.len(), want.len(), "seed {}", faults.seed());
}

/// Waits until typed text flows again, and then up to a moment that the seed chooses.
fn in_the_flow(file: &Path, faults: &mut Faults) {
    let before = length(file);
    until("typed text that arrives", LATER, || (length(file) > before).then_some(()));
    thread::sleep(Duration::from_micros(faults.next(20_000)));
}

/// `cuts` times the manager or the agent is killed while text is typed.
fn killed(cuts: usize) {
    let world = World::new();
    let file = world.root().join("typed");
    world.create("dev", &keeping(&file));
    let view = world.attach("dev");
    view.wait_text("ready", SOON);
    let home = world.home();
    let mut faults = Faults::new(1, 0);
    typed_through(&world, &view, &file, &mut faults, |faults| {
        for _ in 0..cuts {
            in_the_flow(&file, faults);
            let victims = if faults.next(2) == 0 { world.managers() } else { world.agents(&home, "serve") };
            for pid in victims {
                procs::signal(pid, Signal::KILL);
                procs::wait_gone(pid, SOON);
            }
        }
    });
}

// Two of them, that they may run side by side: most of a cut is waiting.
#[test]
fn every_byte_once_through_85_deaths_of_manager_and_agent() {
    killed(85);
}

#[test]
fn every_byte_once_through_85_more_of_them() {
    killed(85);
}

#[test]
fn every_byte_once_through_30_cuts_of_the_link() {
    let mut world = World::new();
    let host = Sshd::start_in(&world, "h1");
    let proxy = Proxy::to(host.addr());
    SshConfig::new(&mut world).host_at("box", &host, proxy.addr(), &[]);
    let file = world.root().join("typed");
    world.create_on("box", "dev", &keeping(&file));
    let view = world.attach("dev");
    view.wait_text("ready", LATER);
    let mut faults = Faults::new(1, 0);
    typed_through(&world, &view, &file, &mut faults, |faults| {
        for _ in 0..30 {
            in_the_flow(&file, faults);
            proxy.drop_connections();
        }
    });
}

#[test]
fn ten_megabytes_of_paste_arrive_whole() {
    const SIZE: usize = 10_000_000;
    let world = World::new();
    let paste: Vec<u8> = (0..SIZE).map(|n| b"abcdefghijklmnopqrstuvwxyz 0123456789\r"[n * 7 % 38]).collect();
    let file = world.root().join("paste");
    fs::write(&file, &paste).expect("a file");
    let sum = Command::new("sha256sum").arg(&file).output().expect("sha256sum");
    let sum = String::from_utf8_lossy(&sum.stdout)[..64].to_owned();
    world.create("dev", &format!("stty raw -echo; printf ready; head -c {SIZE} | sha256sum; exec cat"));
    let view = world.attach("dev");
    view.wait_text("ready", SOON);
    view.type_(&paste);
    view.wait_text(&sum, SOON * 2);
}

/// A view that types a few bytes and goes.
fn type_as_a_view_of_its_own(world: &World, bytes: &[u8]) {
    use sessd_proto::{Frame, Uuid, hello, messages as m};
    use std::io::{Read, Write};
    let socket = world.sessd_home().join("sessd.sock");
    let mut stream = std::os::unix::net::UnixStream::connect(&socket).expect("the manager's socket");
    let view = Uuid::now_v7();
    let attach =
        m::Attach { session: "dev".into(), view_id: view.as_bytes().to_vec(), ..m::Attach::default() };
    let mut out = Frame::Hello(hello::hello("test", "")).to_bytes(0);
    Frame::Attach(attach).put(0, &mut out);
    Frame::Input { view, seq: 0, withdrawn: false, bytes }.put(0, &mut out);
    Frame::Detach(m::Detach::default()).put(0, &mut out);
    stream.write_all(&out).expect("a manager that reads");
    // It closes when it has read all of that.
    let _ = stream.read_to_end(&mut Vec::new());
}

/// A host behind a proxy, a job that keeps what it is sent, and a view of it whose link was cut.
fn cut_off() -> (World, Sshd, Proxy, std::path::PathBuf, View) {
    let mut world = World::new();
    let host = Sshd::start_in(&world, "h1");
    let proxy = Proxy::to(host.addr());
    SshConfig::new(&mut world).host_at("box", &host, proxy.addr(), &[]);
    let file = world.root().join("typed");
    world.create_on("box", "dev", &keeping(&file));
    let view = world.view(&["attach", "dev", "--no-detach-key"]);
    view.wait_text("ready", LATER);
    proxy.cut();
    view.wait_text("link to box: ", SOON);
    (world, host, proxy, file, view)
}

#[test]
fn text_typed_while_the_link_is_down_comes_once_and_from_a_control_key_on_nothing_does() {
    let (_world, _host, proxy, file, view) = cut_off();
    view.type_("one\x03two\x04three\x1afour\x1cfive");
    view.wait_text("3 keys held", SOON);
    view.wait_text("20 keys dropped", SOON);
    proxy.resume();
    until("the text that was held", LATER, || (length(&file) >= 3).then_some(()));
    view.wait_text("20 keys typed meanwhile were not sent", SOON);
    view.type_("!");
    until("a key typed now", SOON, || (length(&file) >= 4).then_some(()));
    assert_eq!(String::from_utf8_lossy(&fs::read(&file).expect("the file")), "one!");
    view.wait_screen("a screen without our line", SOON, |screen| screen.contents().trim() == "ready");
}

#[test]
fn no_more_than_its_bound_is_held_and_the_rest_is_said_to_be_dropped() {
    let (_world, _host, proxy, file, view) = cut_off();
    let text = |many: usize| vec![b'x'; many];
    view.type_(text(70_000));
    view.wait_text("65536 keys held", SOON);
    view.wait_text("4464 keys dropped", SOON);
    // What comes after a hole is refused, with a bell.
    view.type_("y");
    view.wait_text("4465 keys dropped", SOON);
    assert!(view.raw().contains(&0x07), "{}", view.describe());
    proxy.resume();
    until("what was held", LATER, || (length(&file) >= 65_536).then_some(()));
    view.wait_text("4465 keys typed meanwhile were not sent", SOON);
    view.type_("after");
    until("a word typed now", SOON, || (length(&file) >= 65_541).then_some(()));
    let mut want = text(65_536);
    want.extend_from_slice(b"after");
    assert!(fs::read(&file).expect("the file") == want, "the file is not what was typed");
}

/// Slow: text grows too old.
#[test]
fn a_command_whose_middle_grew_too_old_is_not_run_without_it() {
    let mut world = World::new();
    let host = Sshd::start_in(&world, "h1");
    let proxy = Proxy::to(host.addr());
    SshConfig::new(&mut world).host_at("box", &host, proxy.addr(), &[]);
    let file = world.root().join("typed");
    world.create_on("box", "dev", &keeping(&file));
    let view = world.attach("dev");
    view.wait_text("ready", LATER);
    view.type_("rm -rf /data");
    until("the beginning of the command", SOON, || (length(&file) >= 12).then_some(()));
    proxy.freeze();
    // Given to the network, which may bring it or not.
    view.type_("/t");
    view.wait_text("link to box: no answer for ", Duration::from_secs(6));
    assert!(view.screen_text().contains(" keys held"), "{}", view.describe());
    // Later ones are held, and too old in the end.
    until("a link that is given up", LATER, || {
        view.type_("m");
        view.screen_text().contains("dropped").then_some(())
    });
    view.type_("\r");
    view.wait_text("typing is refused", SOON);
    proxy.resume();
    view.wait_text("not sent", LATER);
    view.type_("\x15");
    until("a key typed now", SOON, || fs::read(&file).expect("the file").ends_with(b"\x15").then_some(()));
    let have = fs::read(&file).expect("the file");
    assert!(!have.contains(&b'\r'), "Enter came without what was typed before it: {}", have.escape_ascii());
}

/// 300 views type a key each; the one that was there before them all is still heard.
#[test]
fn an_old_view_keeps_its_keyboard_however_many_others_typed() {
    let world = World::new();
    let file = world.root().join("typed");
    world.create("dev", &keeping(&file));
    let old = world.attach("dev");
    old.wait_text("ready", SOON);
    old.type_("a");
    until("a key of the old view", SOON, || (length(&file) >= 1).then_some(()));
    for n in 0..300 {
        type_as_a_view_of_its_own(&world, b"x");
        until("a key of a short view", SOON, || (length(&file) >= n + 2).then_some(()));
    }
    old.type_("b");
    until("a key of the old view", SOON, || fs::read(&file).expect("the file").ends_with(b"b").then_some(()));
}

#[test]
fn a_key_has_a_link_that_waits_for_its_next_try_tried_at_once() {
    let (_world, _host, proxy, file, view) = cut_off();
    // A host that says nothing is tried seldom.
    proxy.freeze();
    let far = |text: &str| (4..=10).any(|s| text.contains(&format!("in {s} s")));
    until("a try some seconds away", LATER, || far(&view.screen_text()).then_some(()));
    proxy.resume();
    let begun = std::time::Instant::now();
    view.type_("x");
    until("the key", Duration::from_secs(4), || (length(&file) >= 1).then_some(()));
    assert!(begun.elapsed() < Duration::from_secs(4));
}
