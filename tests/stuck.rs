//! A disk that does not answer and a holder that stands still: nobody but who asks for just that waits.
//!
//! A pipe in the place of a file is a disk that does not answer: whoever opens it waits until somebody opens its other end.

use std::fs;
use std::io::Read;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use rustix::process::{Resource, Signal, getrlimit, setrlimit};
use sessd_tests::world::files_below;
use sessd_tests::{LATER, SOON, View, World, jobs, procs, until};

const ANSWER: &str = "stty -echo; echo ready; while read -r line; do echo \"got <$line>\"; done";

fn job_folder(world: &World, session: &str) -> PathBuf {
    let job = world.info(session).expect("known")["job_id"].as_str().expect("a job").to_owned();
    let mut found = None;
    files_below(world.root(), &mut |path| {
        if path.file_name().is_some_and(|name| name == "spec")
            && path.parent().is_some_and(|p| p.ends_with(&job))
        {
            found = path.parent().map(Path::to_owned);
        }
    });
    found.expect("the job's folder")
}

fn pipe(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a pipe");
}

/// The disk answers again to who waits to read. The pipe is taken away first, so that nobody else comes to wait for it, and
/// so that a file made under its name meanwhile is not touched.
fn release_reader(path: &Path) {
    let aside = path.with_extension("aside");
    fs::rename(path, &aside).expect("the pipe");
    // For writing and without waiting it opens when somebody waits to read, and not before.
    let end = until("somebody to wait for the disk", SOON, || {
        rustix::fs::open(&aside, OFlags::WRONLY | OFlags::NONBLOCK, Mode::empty()).ok()
    });
    fs::remove_file(&aside).expect("the pipe");
    drop(end);
}

/// The disk answers again to who waits to write: all that it writes is taken. It cannot be kept (fsync(2) of a pipe fails),
/// so the writer takes its file away itself, by the name that this one had.
fn release_writer(path: &Path) {
    let aside = path.with_extension("aside");
    fs::rename(path, &aside).expect("the pipe");
    let mut end: fs::File = rustix::fs::open(&aside, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty())
        .expect("the pipe's other end")
        .into();
    let mut taken = Vec::new();
    // Nothing and an end: nobody has begun to write. Something and an end: the writer is done.
    until("who waits for the disk to write", SOON, || {
        let _ = end.read_to_end(&mut taken);
        (!taken.is_empty()).then_some(())
    });
    fs::remove_file(&aside).expect("the pipe");
}

fn answers(view: &View, word: &str) {
    view.type_(format!("{word}\r"));
    view.wait_text(&format!("got <{word}>"), SOON);
}

#[test]
fn a_disk_that_does_not_answer_stops_no_job_and_is_said() {
    let world = World::new();
    world.create("dev", ANSWER);
    let view = world.attach("dev");
    view.wait_text("ready", SOON);
    let stuck = job_folder(&world, "dev").join(".spec.new");
    pipe(&stuck);
    // The holder writes that to its folder.
    world.ok(&["tag", "dev", "team=ml"]);
    answers(&view, "at once");
    let says = |info: &serde_json::Value| {
        info["notes"]
            .as_array()
            .into_iter()
            .flatten()
            .any(|note| note.as_str().is_some_and(|note| note.contains("does not answer")))
    };
    world.wait_session("dev", "the disk is said not to answer", LATER, says);
    answers(&view, "still");
    release_writer(&stuck);
    world.wait_session("dev", "the disk answers again", LATER, |info| !says(info));
    answers(&view, "later");
}

#[test]
fn the_end_of_a_job_is_told_though_its_disk_does_not_answer() {
    let world = World::new();
    let noted = world.root().join("pid");
    world.create("dev", &jobs::noting_pid(&noted, "echo last words; read -r x; exit 7"));
    let view = world.attach("dev");
    view.wait_text("last words", SOON);
    pipe(&job_folder(&world, "dev").join(".exit.new"));
    view.type_("\r");
    let info = world.wait_state("dev", "done", SOON);
    assert_eq!(info["end"]["code"], 7, "{info:#}");
    assert!(world.sessd(&["attach", "dev"]).stdout.contains("last words"));
}

#[test]
fn a_file_that_cannot_be_read_keeps_no_other_job_of_the_host_out_of_reach() {
    let world = World::new();
    for name in ["dev", "stuck"] {
        world.create(name, ANSWER);
    }
    let spec = job_folder(&world, "stuck").join("spec");
    fs::remove_file(&spec).expect("a file");
    pipe(&spec);
    world.ok(&["daemon", "restart"]);
    let view = world.attach("dev");
    answers(&view, "here");
    world.create("more", ANSWER);
    answers(&world.attach("more"), "here");
    // What cannot be told is not known, and not over.
    assert_ne!(world.info("stuck").expect("known")["state"], "done");
    release_reader(&spec);
    let view = world.attach("stuck");
    answers(&view, "again");
}

#[test]
fn a_holder_that_stands_still_with_a_full_queue_is_the_only_one_that_does() {
    let limit = getrlimit(Resource::Nofile);
    let all = rustix::process::Rlimit { current: limit.maximum, ..limit };
    setrlimit(Resource::Nofile, all).expect("as many descriptors as we may have");
    let world = World::new();
    for name in ["dev", "still"] {
        world.create(name, ANSWER);
    }
    let folder = job_folder(&world, "still");
    let mark = fs::read_to_string(folder.join("holder")).expect("a mark");
    let holder: i32 = mark.split_whitespace().next().and_then(|pid| pid.parse().ok()).expect("a process");
    procs::signal(holder, Signal::STOP);
    let address = SocketAddrUnix::new(folder.join("s")).expect("an address");
    let mut queue: Vec<UnixStream> = Vec::new();
    loop {
        let socket =
            rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::NONBLOCK, None)
                .expect("a socket");
        match rustix::net::connect(&socket, &address) {
            Ok(()) => queue.push(socket.into()),
            Err(rustix::io::Errno::AGAIN) => break,
            Err(error) => panic!("after {} connections: {error}", queue.len()),
        }
    }
    // A view that is there, one that comes, a start, and a manager that has to look at all of them.
    let view = world.attach("dev");
    answers(&view, "here");
    world.ok(&["daemon", "restart"]);
    answers(&view, "again");
    let made =
        world.sessd_within(&["create", "--name", "more", "--", "sh", "-c", ANSWER], Duration::from_secs(10));
    assert_eq!(made.code, 0, "{made:#?}");
    answers(&world.attach("more"), "here");
    assert_ne!(world.info("still").expect("known")["state"], "done");
    procs::signal(holder, Signal::CONT);
    drop(queue);
    answers(&world.attach("still"), "back");
}

#[test]
fn a_stopped_holder_is_said_to_be_silent_and_its_host_is_not() {
    let world = World::new();
    world.create("dev", ANSWER);
    let mark = fs::read_to_string(job_folder(&world, "dev").join("holder")).expect("a mark");
    let holder: i32 = mark.split_whitespace().next().and_then(|pid| pid.parse().ok()).expect("a process");
    let view = world.attach("dev");
    view.wait_text("ready", SOON);
    procs::signal(holder, Signal::STOP);
    let silent = format!("the holder of dev (process {holder}) does not answer");
    // Whichever verb comes first, it names who is silent and what to do, and so do the others.
    for verb in [&["send", "dev", "hi"][..], &["capture", "dev"], &["restart", "dev"]] {
        let said = world.fails(verb, 1);
        assert!(
            said.contains(&silent) && said.contains("`sessd delete --force dev` ends it and its job"),
            "{said}"
        );
    }
    view.wait_text("the holder of dev does not answer for", SOON);
    // What is kept here is done, and it is said what the job does not know yet.
    let said = world.ok(&["size", "dev", "101x31"]).stderr;
    assert!(said.contains("until the holder of dev answers"), "{said}");
    let said = world.ok(&["tag", "dev", "gpu"]).stderr;
    assert!(said.contains("it is so here, and there when the holder of dev answers"), "{said}");
    let doc = world.info("dev").expect("known");
    assert_eq!((doc["state"].as_str(), doc["link"].as_str()), (Some("disconnected"), Some("local")));
    assert!(doc["holder_silent_seconds"].is_u64(), "{doc}");
    let said = world.ok(&["delete", "dev"]);
    let said = said.stdout;
    assert!(
        said.contains("its holder on local does not answer") && said.contains("`sessd delete --force dev`"),
        "{said}"
    );
    world.ok(&["delete", "--force", "dev"]);
    procs::wait_gone(holder, SOON);
}

#[test]
fn a_holder_that_goes_on_is_as_if_it_had_never_been_stopped() {
    let world = World::new();
    world.create("dev", ANSWER);
    let mark = fs::read_to_string(job_folder(&world, "dev").join("holder")).expect("a mark");
    let holder: i32 = mark.split_whitespace().next().and_then(|pid| pid.parse().ok()).expect("a process");
    procs::signal(holder, Signal::STOP);
    // A size is waited for no longer than it takes to know who is silent.
    let sized = world.ok(&["size", "dev", "101x31"]);
    assert!(sized.stderr.contains("until the holder of dev answers"), "{sized:#?}");
    assert!(sized.took < Duration::from_secs(10), "{sized:#?}");
    world.fails(&["capture", "dev"], 1);
    procs::signal(holder, Signal::CONT);
    until("the size", SOON, || (world.info("dev")?["size"]["cols"] == 101).then_some(()));
    world.wait_state("dev", "running", SOON);
    world.ok(&["send", "dev", "--enter", "again"]);
    world.ok(&["wait", "dev", "--for", "got <again>", "--timeout", "10s"]);
}
