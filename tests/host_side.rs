//! What holds on the host whoever cleans it, fills it or leaves it: folders made again, records kept, nothing leaked.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;
use sessd_tests::world::files_below;
use sessd_tests::{LATER, SOON, World, jobs, procs, until};

/// The folders of all jobs of this world.
fn job_folders(world: &World) -> Vec<PathBuf> {
    let mut folders = Vec::new();
    files_below(world.root(), &mut |path| {
        if path.file_name().is_some_and(|name| name == "spec") {
            folders.push(path.parent().expect("a folder").to_owned());
        }
    });
    folders
}

/// The folder of the job of `session`.
fn job_folder(world: &World, session: &str) -> PathBuf {
    let job = world.info(session).expect("known")["job_id"].as_str().expect("a job").to_owned();
    job_folders(world).into_iter().find(|folder| folder.ends_with(&job)).expect("the job's folder")
}

/// A manager that has never talked to these holders finds the job.
fn answers_a_new_manager(world: &World, session: &str) {
    world.kill_manager();
    let view = world.attach(session);
    view.type_("hello\r");
    view.wait_text("got <hello>", LATER);
}

const ANSWER: &str = "stty -echo; echo ready; while read -r line; do echo \"got <$line>\"; done";

/// Slow: a holder looks once a minute.
#[test]
fn what_a_cleaner_took_is_made_again_within_a_minute() {
    let world = World::new();
    let cleaned: [(&str, &[&str]); 4] = [
        ("socket", &["s"]),
        ("files", &["spec", "holder", "lock", "managers"]),
        ("folder", &[""]),
        ("ended", &[""]),
    ];
    let mut folders = Vec::new();
    for (name, _) in cleaned {
        world.create(name, ANSWER);
        world.wait_state(name, "running", SOON);
        folders.push(job_folder(&world, name));
    }
    world.ok(&["create", "--name", "agent", "--forward-agent", "--", "cat"]);
    let agent = job_folder(&world, "agent").join("a");
    fs::remove_file(&agent).expect("the socket of its ssh-agent");
    for (folder, (_, files)) in folders.iter().zip(cleaned) {
        for file in files {
            if file.is_empty() {
                fs::remove_dir_all(folder).expect("a folder");
            } else {
                fs::remove_file(folder.join(file)).expect("a file");
            }
        }
    }
    // Without its folder a job still ends with a record.
    let view = world.attach("ended");
    view.wait_text("ready", SOON);
    view.type_("\x04");
    let info = world.wait_state("ended", "done", SOON);
    assert_eq!(info["end"]["reason"], "exited", "{info:#}");

    for folder in &folders[..3] {
        for file in ["s", "spec", "holder", "lock", "managers"] {
            until(&format!("{file} in {}", folder.display()), Duration::from_secs(70), || {
                folder.join(file).exists().then_some(())
            });
        }
    }
    until("the socket of the ssh-agent", Duration::from_secs(70), || UnixStream::connect(&agent).ok());
    for (name, _) in &cleaned[..3] {
        answers_a_new_manager(&world, name);
    }
    until("all four to run again", SOON, || {
        (world.list().iter().filter(|session| session["state"] == "running").count() == 4).then_some(())
    });
}

#[test]
fn a_job_inherits_its_terminal_and_nothing_else() {
    let world = World::new();
    let list = world.root().join("open");
    // The listing itself has the folder open, as the next free number.
    world.create("dev", &format!("ls -l /proc/self/fd >{0}.new; mv {0}.new {0}; exec cat", list.display()));
    let open = until("the list of open files", SOON, || fs::read_to_string(&list).ok());
    let numbers: Vec<&str> = open
        .lines()
        .filter_map(|line| line.split_once(" -> "))
        .filter(|(_, target)| !target.ends_with("/fd") && !target.contains("open.new"))
        .filter_map(|(left, _)| left.split_whitespace().last())
        .collect();
    assert_eq!(numbers, ["0", "2"], "standard input and error (output is the list):\n{open}");
}

fn open_files(pid: i32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}

#[test]
fn a_hundred_sessions_that_came_and_went_leave_nothing() {
    let world = World::new();
    world.create("stays", "exec cat");
    world.wait_state("stays", "running", SOON);
    let agents = || (world.agents(&world.home(), "serve"), world.agents(&world.home(), "hold"));
    let (serve, hold) = agents();
    let [serve] = serve[..] else { panic!("one agent serves: {serve:?}") };
    assert_eq!(hold.len(), 1);
    let files = open_files(serve);
    for round in 0..25 {
        // Ended by itself, by a signal, by being deleted, by force.
        world.create("a", "exit 3");
        world.create("b", "kill -9 $$");
        world.create("c", "exec cat");
        world.create("d", "sleep 1000 & exec cat");
        for name in ["a", "b"] {
            world.wait_state(name, "done", SOON);
        }
        world.ok(&["delete", "a", "b", "c"]);
        world.ok(&["delete", "d", "--force"]);
        assert_eq!(world.list().len(), 1, "round {round}");
    }
    until("the holders to be gone", SOON, || (agents().1 == hold).then_some(()));
    until("the folders to be gone", SOON, || (job_folders(&world).len() == 1).then_some(()));
    assert_eq!(agents().0, [serve], "the agent is the same");
    until("the agent's open files to be as before", SOON, || (open_files(serve) <= files).then_some(()));
    let sleeping =
        || procs::mentioning(world.root()).into_iter().filter(|&pid| procs::name(pid) == "sleep").count();
    until("no process of a job to be left", SOON, || (sleeping() == 0).then_some(()));
    // Nobody is left that waits to be noticed.
    let zombies = fs::read_dir(format!("/proc/{serve}/task")).expect("the agent").count();
    assert_eq!(zombies, 1, "the agent is one thread");
    until("the agent's children to be waited for", SOON, || {
        let now = fs::read_to_string(format!("/proc/{serve}/task/{serve}/children")).unwrap_or_default();
        (now.split_whitespace().count() <= 1).then_some(())
    });
}

/// A job whose holder was killed is not taken for one that runs, whatever process has its number now.
#[test]
fn a_mark_of_another_process_is_evidence_of_nothing_else() {
    let world = World::new();
    world.create("dev", "exec cat");
    world.wait_state("dev", "running", SOON);
    let folder = job_folder(&world, "dev");
    let [holder] = world.agents(&world.home(), "hold")[..] else { panic!("one holder") };
    world.kill_manager();
    procs::signal(holder, Signal::KILL);
    procs::wait_gone(holder, SOON);
    // As if its number had been given to another process.
    let mark = fs::read_to_string(folder.join("holder")).expect("a mark");
    let mut words: Vec<&str> = mark.split_whitespace().collect();
    let own = std::process::id().to_string();
    words[0] = &own;
    fs::write(folder.join("holder"), words.join(" ")).expect("a mark");
    let info = world.wait_state("dev", "done", LATER);
    assert_eq!(info["end"]["reason"], "lost", "{info:#}");
}

/// What outlives its holder is said to, and ends with the session: by `delete`, and by `restart`.
#[test]
fn what_runs_on_without_its_holder_is_told_and_ended() {
    for how in [&["delete", "dev"][..], &["restart", "dev"]] {
        let world = World::new();
        let noted = world.root().join("pid");
        world.create("dev", &jobs::noting_pid(&noted, "trap '' HUP TERM; while :; do sleep 1; done"));
        let pid = jobs::wait_pid(&noted);
        world.wait_state("dev", "running", SOON);
        let [holder] = world.agents(&world.home(), "hold")[..] else { panic!("one holder") };
        procs::signal(holder, Signal::KILL);
        let info = world.wait_state("dev", "done", LATER);
        let detail = info["end"]["detail"].as_str().unwrap_or_default();
        assert!(detail.contains(&format!("process {pid} of it ran on")), "{info:#}");
        assert!(procs::alive(pid));
        // Whoever waits for the end is told that nobody knows its code.
        let waited = world.sessd(&["wait", "dev"]);
        assert_eq!((waited.code, waited.stdout.as_str()), (1, ""), "{waited:#?}");
        assert!(waited.stderr.starts_with("sessd: dev ended (lost"), "{waited:#?}");
        assert!(waited.stderr.trim_end().ends_with("`sessd restart dev` runs it again"), "{waited:#?}");
        let waited = world.sessd(&["wait", "dev", "--json"]);
        let document: serde_json::Value = serde_json::from_str(&waited.stdout).expect("a document");
        assert_eq!((&document["code"], &document["end"]), (&serde_json::Value::Null, &info["end"]));
        world.ok(how);
        procs::wait_gone(pid, SOON);
        world.ok(&["delete", "--all", "--force"]);
    }
}

#[test]
fn a_damaged_exit_record_is_named_and_read_as_nothing_else() {
    let world = World::new();
    let noted = world.root().join("pid");
    world.create("dev", &jobs::noting_pid(&noted, "read -r x; exit 3"));
    let pid = jobs::wait_pid(&noted);
    let folder = job_folder(&world, "dev");
    let [holder] = world.agents(&world.home(), "hold")[..] else { panic!("one holder") };
    world.kill_manager();
    procs::signal(pid, Signal::TERM);
    until("the exit record", SOON, || exists(&folder, "exit"));
    procs::signal(holder, Signal::KILL);
    procs::wait_gone(holder, SOON);
    let record = fs::read(folder.join("exit")).expect("a record");
    fs::write(folder.join("exit"), &record[..record.len() / 2]).expect("half a record");
    let info = world.wait_state("dev", "done", LATER);
    assert_eq!(info["end"]["reason"], "lost", "{info:#}");
    assert!(info["end"]["detail"].as_str().is_some_and(|detail| detail.contains("damaged")), "{info:#}");
}

/// The record of a job whose holder is still there comes from the holder, whatever has become of the file.
#[test]
fn an_exit_record_that_was_cut_short_beside_its_holder_is_told_by_it() {
    let world = World::new();
    let noted = world.root().join("pid");
    world.create("dev", &jobs::noting_pid(&noted, "echo last words; read -r x; exit 3"));
    let pid = jobs::wait_pid(&noted);
    let folder = job_folder(&world, "dev");
    world.attach("dev").wait_text("last words", SOON);
    world.kill_manager();
    procs::signal(pid, Signal::TERM);
    until("the exit record", SOON, || exists(&folder, "exit"));
    for name in ["exit", "screen"] {
        fs::write(folder.join(name), b"").expect("nothing of the record");
    }
    let info = world.wait_state("dev", "done", LATER);
    assert_eq!(
        (&info["end"]["reason"], &info["end"]["signal"]),
        (&"signaled".into(), &15.into()),
        "{info:#}"
    );
}

/// The number of a holder that was killed is another holder's now: each job has the end, or the life, that is its own.
#[test]
fn a_mark_of_another_holder_makes_no_job_of_two() {
    let world = World::new();
    world.create("gone", "exec cat");
    world.create("lives", ANSWER);
    for name in ["gone", "lives"] {
        world.wait_state(name, "running", SOON);
    }
    let (gone, lives) = (job_folder(&world, "gone"), job_folder(&world, "lives"));
    let mark = |folder: &Path| fs::read_to_string(folder.join("holder")).expect("a mark");
    let holder: i32 =
        mark(&gone).split_whitespace().next().and_then(|word| word.parse().ok()).expect("a process id");
    assert!(world.agents(&world.home(), "hold").contains(&holder));
    world.kill_manager();
    procs::signal(holder, Signal::KILL);
    procs::wait_gone(holder, SOON);
    // Number and start time are those of a holder that lives; only the lock and the socket tell.
    fs::write(gone.join("holder"), mark(&lives)).expect("a mark");
    let view = world.attach("lives");
    view.wait_text("ready", SOON);
    view.type_("hello\r");
    view.wait_text("got <hello>", SOON);
    let info = world.info("gone").expect("known");
    assert_ne!(info["state"], "running", "{info:#}");
    assert_eq!(
        info["end"],
        serde_json::Value::Null,
        "a process with that mark lives, so nothing is firm: {info:#}"
    );
    let note = info["notes"][0].as_str().unwrap_or_default().to_owned();
    assert!(note.contains("does not answer"), "{info:#}");
    // The user may end what nobody can tell of.
    world.ok(&["delete", "gone"]);
    world.wait_state("lives", "running", SOON);
}

#[test]
fn an_agent_whose_program_was_cleaned_away_still_starts_jobs() {
    let world = World::new();
    world.create("dev", ANSWER);
    world.wait_state("dev", "running", SOON);
    let bin = world.home().join(".local/state/sessd-agent/bin");
    fs::remove_dir_all(&bin).expect("the agent's programs");
    world.create("more", ANSWER);
    let view = world.attach("more");
    view.wait_text("ready", SOON);
    view.type_("hello\r");
    view.wait_text("got <hello>", SOON);
    for session in ["dev", "more"] {
        answers_a_new_manager(&world, session);
    }
    assert!(bin.is_dir(), "and it is put back for the next link");
}

/// It is built without all that would walk its stack; what went wrong and where is said all the same.
#[test]
fn an_agent_that_panics_says_why_and_aborts() {
    let world = World::new();
    world.create("dev", "exec cat");
    let programs = fs::read_dir(world.home().join(".local/state/sessd-agent/bin")).expect("programs");
    let agent = programs.flatten().next().expect("an agent").path();
    let full = fs::File::options().write(true).open("/dev/full").expect("a full disk");
    let output = world
        .program(agent)
        .arg("version")
        .env("RUST_BACKTRACE", "full")
        .stdout(full)
        .output()
        .expect("the agent runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("panicked at") && said.contains("No space left"), "{said}");
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&output.status), Some(6), "{output:?}");
}

fn exists(folder: &Path, name: &str) -> Option<()> {
    folder.join(name).exists().then_some(())
}
