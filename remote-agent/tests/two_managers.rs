//! The real agent and its holders, spoken to by two managers over the protocol itself.

use sessd_agent::io::folder::JobFolder;
use sessd_proto::messages::{self as m, LinkAct, LinkAnswer, Liveness};
use sessd_proto::{Decoder, Frame, hello};
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

const JOB: &str = "00000000-0000-0000-0000-00000000000a";
const SOON: Duration = Duration::from_secs(20);

enum Heard {
    Reply(m::LinkReply),
    Status(m::JobStatus),
    Exited(m::ExitRecord),
    Pong,
}

/// One manager with its link.
struct Manager {
    id: String,
    name: &'static str,
    agent: Child,
    stdin: ChildStdin,
    heard: Receiver<Heard>,
}

impl Manager {
    fn new(home: &Path, number: u8, name: &'static str) -> Self {
        Self::with(home, number, name, &[])
    }

    fn with(home: &Path, number: u8, name: &'static str, variables: &[(&str, &Path)]) -> Self {
        let mut agent = Command::new(env!("CARGO_BIN_EXE_sessd-agent"))
            .arg("serve")
            .env_clear()
            .env("HOME", home)
            .env("SESSD_FALLBACK_DIR", home)
            .env("PATH", "/usr/bin:/bin")
            .envs(variables.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (stdin, mut stdout) = (agent.stdin.take().unwrap(), agent.stdout.take().unwrap());
        let (tell, heard) = channel();
        std::thread::spawn(move || {
            let (mut decoder, mut buffer) = (Decoder::new(), [0; 4096]);
            while let Ok(n @ 1..) = stdout.read(&mut buffer) {
                decoder.buffer_mut().extend_from_slice(&buffer[..n]);
                while let Some(raw) = decoder.next_frame().unwrap() {
                    let heard = match raw.parse().unwrap() {
                        Frame::LinkReply(reply) => Heard::Reply(reply),
                        Frame::Status(status) => Heard::Status(status),
                        Frame::Exited(exit) => Heard::Exited(exit),
                        Frame::Pong(_) => Heard::Pong,
                        _ => continue,
                    };
                    if tell.send(heard).is_err() {
                        return;
                    }
                }
            }
        });
        let id = format!("00000000-0000-0000-0000-00000000000{number}");
        let mut manager = Self { id, name, agent, stdin, heard };
        manager.say(0, &Frame::Hello(hello::hello("test", "")));
        manager
    }

    fn say(&mut self, stream: u16, frame: &Frame<'_>) {
        let mut bytes = Vec::new();
        frame.put(stream, &mut bytes);
        self.stdin.write_all(&bytes).unwrap();
    }

    fn until<T>(&mut self, what: &str, mut fact: impl FnMut(Heard) -> Option<T>) -> T {
        loop {
            let heard = self.heard.recv_timeout(SOON).unwrap_or_else(|_| panic!("waited in vain for {what}"));
            if let Some(found) = fact(heard) {
                return found;
            }
        }
    }

    fn ask(&mut self, act: LinkAct) -> LinkAnswer {
        self.say(0, &Frame::LinkRequest(m::LinkRequest { id: 7, act: Some(act) }));
        self.until("an answer", |heard| match heard {
            Heard::Reply(reply) => reply.answer,
            _ => None,
        })
    }

    fn job(&self) -> m::JobName {
        m::JobName { job_id: JOB.into(), manager_id: self.id.clone() }
    }

    /// Opens the job's stream and watches it.
    fn hold(&mut self) {
        self.hold_promising(0);
    }

    /// The same, and says that it will be heard within `silence_ms`.
    fn hold_promising(&mut self, silence_ms: u64) {
        self.say(1, &Frame::Open(m::Open { job_id: JOB.into() }));
        self.say(1, &Frame::Hello(hello::hello("test", "")));
        let (manager_id, manager_name) = (self.id.clone(), self.name.to_owned());
        let presence = m::Presence { manager_id, manager_name, silence_ms, ..m::Presence::default() };
        self.say(1, &Frame::Presence(presence));
        self.say(1, &Frame::Subscribe(m::Subscribe { credit: 1 << 20, ..m::Subscribe::default() }));
    }

    fn report(&mut self) -> Option<m::JobReport> {
        match self.ask(LinkAct::Inventory(m::InventoryRequest::default())) {
            LinkAnswer::Inventory(inventory) => inventory.jobs.into_iter().next(),
            other => panic!("{other:?}"),
        }
    }

    fn managers(&mut self, names: &[&str]) {
        self.until(&format!("a status with the managers {names:?}"), |heard| match heard {
            Heard::Status(status) => (status.managers == names).then_some(()),
            _ => None,
        });
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        let _ = self.agent.kill();
        let _ = self.agent.wait();
    }
}

#[test]
fn each_manager_gets_the_last_word_and_forgets_for_itself() {
    let home = tempfile::tempdir().unwrap();
    let (mut one, mut two) = (Manager::new(home.path(), 1, "laptop"), Manager::new(home.path(), 2, "desk"));
    let spec = m::JobSpec {
        job_id: JOB.into(),
        command: vec!["sh".into(), "-c".into(), "echo bye; read -r x; exit 5".into()],
        cols: 100,
        rows: 30,
        idle_timeout_ms: None,
        manager_id: one.id.clone(),
        ..m::JobSpec::default()
    };
    let spawn = || LinkAct::Spawn(m::Spawn { spec: Some(spec.clone()), ..m::Spawn::default() });
    let first = spawned(one.ask(spawn()));
    let again = spawned(one.ask(spawn()));
    assert!(first.pid > 0 && again.pid > 0);
    assert_eq!(one.report().map(|report| report.managers), Some(vec![one.id.clone()]));

    one.hold();
    one.managers(&["laptop"]);
    two.hold();
    one.managers(&["laptop", "desk"]);
    assert!(
        {
            let job = one.job();
            matches!(one.ask(LinkAct::Forget(job)), LinkAnswer::Refused(_))
        },
        "it runs"
    );

    let view = sessd_proto::Uuid::from_bytes([7; 16]);
    two.say(1, &Frame::Input { view, seq: 0, withdrawn: false, bytes: b"\r" });
    for manager in [&mut one, &mut two] {
        let exit = manager.until("the end", |heard| match heard {
            Heard::Exited(exit) => Some(exit),
            _ => None,
        });
        assert_eq!(exit.code, Some(5));
        manager.say(1, &Frame::ExitAck(m::Empty {}));
    }
    let job = one.job();
    let LinkAnswer::Screen(screen) = one.ask(LinkAct::ReadScreen(job)) else { panic!("no screen") };
    assert_eq!((screen.cols, screen.rows), (100, 30));
    assert!(String::from_utf8_lossy(&screen.snapshot).contains("bye"));

    let job = one.job();
    assert!(matches!(one.ask(LinkAct::Forget(job)), LinkAnswer::Done(_)));
    let report = two.report().expect("the other manager still has it");
    assert_eq!((report.liveness, report.managers), (Liveness::Exited as i32, vec![two.id.clone()]));
    assert_eq!(report.exit.and_then(|exit| exit.code), Some(5));
    let job = two.job();
    assert!(matches!(two.ask(LinkAct::Forget(job)), LinkAnswer::Done(_)));
    assert!(two.report().is_none(), "nobody needs it any more");
}

/// A look at the home stands still. Who greets is greeted, who asks whether we are there is told, and what does not lie in the
/// home is reached.
#[test]
fn a_home_that_does_not_answer_keeps_no_link_from_its_start_and_no_job_elsewhere_out_of_reach() {
    let folder = tempfile::tempdir().unwrap();
    let (code, library) = (folder.path().join("stands_still.c"), folder.path().join("stands_still.so"));
    std::fs::write(
        &code,
        "#include <unistd.h>\nchar *realpath(const char *p, char *r) { for (;;) pause(); }\n",
    )
    .unwrap();
    let made = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&code).status().unwrap();
    assert!(made.success());
    let (home, given) = (folder.path().join("home"), folder.path().join("given"));
    for path in [&home, &given] {
        std::fs::create_dir(path).unwrap();
    }
    let fallback = given.as_path();
    let variables = [("LD_PRELOAD", library.as_path()), ("SESSD_FALLBACK_DIR", fallback)];
    let mut one = Manager::with(&home, 1, "laptop", &variables);
    one.say(0, &Frame::Ping(7));
    one.until("an answer", |heard| matches!(heard, Heard::Pong).then_some(()));
    // Where no job may be made in the home, it goes elsewhere.
    std::fs::write(home.join(".local"), "no folder").unwrap();
    let spec = m::JobSpec {
        job_id: JOB.into(),
        command: vec!["sleep".into(), "1000".into()],
        manager_id: one.id.clone(),
        ..m::JobSpec::default()
    };
    let spawned = spawned(one.ask(LinkAct::Spawn(m::Spawn { spec: Some(spec), ..m::Spawn::default() })));
    assert!(Path::new(&spawned.folder).starts_with(&given), "{}", spawned.folder);
    one.hold();
    one.managers(&["laptop"]);
    let report = one.report().expect("a job");
    assert_eq!(report.liveness, Liveness::Alive as i32);
    let end = m::End { reason: m::EndReason::Deleted as i32, force: true, ..m::End::default() };
    one.say(1, &Frame::End(end));
    one.until("the end", |heard| matches!(heard, Heard::Exited(_)).then_some(()));
    one.say(1, &Frame::ExitAck(m::Empty {}));
    until_gone(&report.pid.to_string());
}

/// The network went without a word, and sshd keeps the connection for hours: a lossless view must not hold the job so long.
#[test]
fn a_manager_that_falls_silent_on_a_connection_of_its_own_is_gone() {
    let home = tempfile::tempdir().unwrap();
    let (mut one, mut two) = (Manager::new(home.path(), 1, "laptop"), Manager::new(home.path(), 2, "desk"));
    let spec = m::JobSpec {
        job_id: JOB.into(),
        command: vec!["sleep".into(), "1000".into()],
        manager_id: one.id.clone(),
        ..m::JobSpec::default()
    };
    spawned(one.ask(LinkAct::Spawn(m::Spawn { spec: Some(spec), ..m::Spawn::default() })));
    one.hold();
    one.managers(&["laptop"]);
    two.hold_promising(1_500);
    one.managers(&["laptop", "desk"]);
    one.managers(&["laptop"]);
    one.say(
        1,
        &Frame::End(m::End { reason: m::EndReason::Deleted as i32, force: true, by: "me@one".into() }),
    );
    let exit = one.until("the end", |heard| match heard {
        Heard::Exited(exit) => Some(exit),
        _ => None,
    });
    assert_eq!(exit.detail, "deleted by me@one");
    // Else the holder would stay, for whoever wants its last words.
    let holder = one.report().expect("a job").pid;
    one.say(1, &Frame::ExitAck(m::Empty {}));
    until_gone(&holder.to_string());
}

/// The first thing a manager hears of a job says who holds it, itself included.
#[test]
fn the_first_status_names_all_who_hold_the_job() {
    let home = tempfile::tempdir().unwrap();
    let (mut one, mut two) = (Manager::new(home.path(), 1, "laptop"), Manager::new(home.path(), 2, "desk"));
    let spec = m::JobSpec {
        job_id: JOB.into(),
        command: vec!["sleep".into(), "1000".into()],
        manager_id: one.id.clone(),
        ..m::JobSpec::default()
    };
    spawned(one.ask(LinkAct::Spawn(m::Spawn { spec: Some(spec), ..m::Spawn::default() })));
    one.hold();
    one.managers(&["laptop"]);
    for _ in 0..3 {
        two.hold();
        let first = two.until("a status", |heard| match heard {
            Heard::Status(status) => Some(status.managers),
            _ => None,
        });
        assert_eq!(first, ["laptop", "desk"]);
        two.say(1, &Frame::Close(m::Close::default()));
        one.managers(&["laptop"]);
        // Whatever was still on its way to it.
        while two.heard.recv_timeout(Duration::from_millis(300)).is_ok() {}
    }
    one.say(
        1,
        &Frame::End(m::End { reason: m::EndReason::Deleted as i32, force: true, ..m::End::default() }),
    );
    let exit = one.until("the end", |heard| match heard {
        Heard::Exited(exit) => Some(exit),
        _ => None,
    });
    assert_eq!(exit.detail, "deleted by laptop", "who says nothing is known by its presence");
    let holder = one.report().expect("a job").pid;
    one.say(1, &Frame::ExitAck(m::Empty {}));
    until_gone(&holder.to_string());
}

/// The agent was killed between the wish and the holder: nobody is there to be asked to end anything.
#[test]
fn what_is_left_of_a_start_that_was_cut_off_can_be_forgotten() {
    let home = tempfile::tempdir().unwrap();
    let mut one = Manager::new(home.path(), 1, "laptop");
    let LinkAnswer::Inventory(inventory) = one.ask(LinkAct::Inventory(m::InventoryRequest::default())) else {
        panic!("none")
    };
    let folder = Path::new(&inventory.folder).join(JOB);
    std::fs::create_dir_all(&folder).unwrap();
    let spec = m::JobSpec { job_id: JOB.into(), manager_id: one.id.clone(), ..m::JobSpec::default() };
    std::fs::write(folder.join("spec"), prost::Message::encode_length_delimited_to_vec(&spec)).unwrap();
    assert_eq!(one.report().map(|report| report.liveness), Some(Liveness::Unknown as i32));
    let job = one.job();
    assert!(
        matches!(one.ask(LinkAct::Forget(job.clone())), LinkAnswer::Refused(_)),
        "another agent may be about to start it"
    );
    let before = std::time::SystemTime::now() - Duration::from_secs(600);
    std::fs::File::options().write(true).open(folder.join("spec")).unwrap().set_modified(before).unwrap();
    assert!(matches!(one.ask(LinkAct::Forget(job)), LinkAnswer::Done(_)));
    assert!(!folder.exists());
}

fn spawned(answer: LinkAnswer) -> m::Spawned {
    match answer {
        LinkAnswer::Spawned(spawned) => spawned,
        other => panic!("not started: {other:?}"),
    }
}

/// Five bytes write a screen of marked characters, again and again: at that rate a turn of 64 kB would be seconds.
#[test]
fn a_job_of_bombs_keeps_its_holder_neither_busy_nor_large() {
    let home = tempfile::tempdir().unwrap();
    let bomb = home.path().join("bomb");
    std::fs::write(&bomb, format!("x\u{301}{}", "\x1b[65535b".repeat(4000))).unwrap();
    let mut manager = Manager::new(home.path(), 1, "laptop");
    let spec = m::JobSpec {
        job_id: JOB.into(),
        command: vec!["sh".into(), "-c".into(), format!("while :; do cat {}; done", bomb.display())],
        cols: 200,
        rows: 60,
        idle_timeout_ms: None,
        manager_id: manager.id.clone(),
        ..m::JobSpec::default()
    };
    spawned(manager.ask(LinkAct::Spawn(m::Spawn { spec: Some(spec), ..m::Spawn::default() })));
    manager.hold();
    let job = manager.until("a status with output", |heard| match heard {
        Heard::Status(status) => (status.head > 1000).then_some(status.pid),
        _ => None,
    });
    let stat = std::fs::read_to_string(format!("/proc/{job}/stat")).unwrap();
    let holder = stat.rsplit(')').next().unwrap().split_whitespace().nth(1).unwrap().to_owned();
    // By the holder's own processor time: what else this machine does is none of its doing.
    let spent = || -> Duration {
        let spent = std::fs::read_to_string(format!("/proc/{holder}/schedstat")).unwrap();
        Duration::from_nanos(spent.split_whitespace().next().unwrap().parse().unwrap())
    };
    let mut dearest = Duration::ZERO;
    for token in 0..10 {
        let before = spent();
        manager.say(1, &Frame::Ping(token));
        manager.until("an answer", |heard| matches!(heard, Heard::Pong).then_some(()));
        dearest = dearest.max(spent() - before);
    }
    assert!(dearest < Duration::from_secs(1), "the holder worked for {dearest:?} before it answered");
    let status = std::fs::read_to_string(format!("/proc/{holder}/status")).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(peak < 24 << 10, "{peak} kB");
    manager.say(
        1,
        &Frame::End(m::End { reason: m::EndReason::Deleted as i32, force: true, ..m::End::default() }),
    );
    manager.until("the end", |heard| matches!(heard, Heard::Exited(_)).then_some(()));
    // It leaves when a manager has its last word.
    manager.say(1, &Frame::ExitAck(m::Empty {}));
    until_gone(&holder);
}

/// The manager is killed, and with it the agent that starts the job: what runs is not ended because nobody hears that it does.
#[test]
fn a_holder_whose_starter_is_gone_runs_its_job_to_its_end() {
    let jobs = tempfile::tempdir().unwrap();
    let folder = JobFolder::of(jobs.path(), JOB).unwrap();
    folder.make().unwrap();
    let command = ["/bin/sh", "-c", "exit 7"].map(str::to_owned).into();
    folder.write_spec(&m::JobSpec { job_id: JOB.into(), command, ..m::JobSpec::default() }).unwrap();
    let (nobody, verdict) = std::io::pipe().unwrap();
    drop(nobody);
    let mut holder = Command::new(env!("CARGO_BIN_EXE_sessd-agent"))
        .arg("hold")
        .arg(folder.path())
        .env_clear()
        .env("HOME", jobs.path())
        .stdin(Stdio::null())
        .stdout(verdict)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let exit = until("the job's end is on record", || folder.exit().unwrap());
    assert_eq!((exit.reason, exit.code), (m::EndReason::Exited as i32, Some(7)), "{exit:?}");
    // It would wait for a manager that takes its last word.
    holder.kill().unwrap();
    holder.wait().unwrap();
}

fn until_gone(pid: &str) {
    until("the holder is gone", || (!Path::new("/proc").join(pid).exists()).then_some(()));
}

/// Waits for a fact, and gives it.
fn until<T>(what: &str, mut fact: impl FnMut() -> Option<T>) -> T {
    let end = std::time::Instant::now() + SOON;
    loop {
        match fact() {
            Some(fact) => return fact,
            None => assert!(std::time::Instant::now() < end, "not in time: {what}"),
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
