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
    view.wait_text("sessd: dev is", SOON);
    (world, host, proxy, file, view)
}

#[test]
fn text_typed_while_the_link_is_down_comes_once_and_control_keys_never() {
    let (_world, _host, proxy, file, view) = cut_off();
    view.type_("one\x03two\x04three\x1afour\x1cfive");
    view.wait_text("19 typed bytes held, 4 dropped", SOON);
    proxy.resume();
    until("the text that was held", LATER, || (length(&file) >= 19).then_some(()));
    view.wait_text("4 bytes typed meanwhile were not sent", SOON);
    view.type_("!");
    until("a key typed now", SOON, || (length(&file) >= 20).then_some(()));
    assert_eq!(String::from_utf8_lossy(&fs::read(&file).expect("the file")), "onetwothreefourfive!");
    view.wait_screen("a screen without our line", SOON, |screen| screen.contents().trim() == "ready");
}

#[test]
fn no_more_than_its_bound_is_held_and_the_rest_is_said_to_be_dropped() {
    let (_world, _host, proxy, file, view) = cut_off();
    view.type_(numbered(0, 70_000));
    view.wait_text("65536 typed bytes held, 4464 dropped", SOON);
    proxy.resume();
    until("what was held", LATER, || (length(&file) >= 65_536).then_some(()));
    view.wait_text("4464 bytes typed meanwhile were not sent", SOON);
    view.type_("after");
    until("a word typed now", SOON, || (length(&file) >= 65_541).then_some(()));
    let mut want = numbered(0, 65_536);
    want.extend_from_slice(b"after");
    assert!(fs::read(&file).expect("the file") == want, "the file is not what was typed");
}
