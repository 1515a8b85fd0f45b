//! The agent of the first version, played: it says what was recorded from the real one (`golden/first_agent.txt`).

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use sessd_proto::messages::{ExitRecord, JobName, LinkAct, LinkRequest};
use sessd_proto::{Decoder, Frame, Uuid};

use crate::world::{files_below, set_mode};
use crate::{SOON, SshConfig, Sshd, World};

const FIRST_AGENT: &str = include_str!("../golden/first_agent.txt");

/// The lines of a recording: a name and its bytes.
///
/// # Panics
/// When it is none.
pub fn recorded(text: &str) -> Vec<(&str, Vec<u8>)> {
    let unhex = |hex: &str| -> Vec<u8> {
        (0..hex.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal"))
            .collect()
    };
    text.lines().filter_map(|line| line.split_once(' ')).map(|(name, hex)| (name, unhex(hex))).collect()
}

/// A host on which the agent of another version runs, played by the test.
#[derive(Debug)]
pub struct Host {
    /// Where its manager lives.
    pub world: World,
    _sshd: Sshd,
    tell: Sender<Vec<u8>>,
    agent: thread::JoinHandle<()>,
}

/// What the played agent does about the frames it gets.
struct Played {
    lines: HashMap<&'static str, Vec<u8>>,
    down: File,
    /// A number of a later frame of the manager, where the recording has another.
    ended: bool,
    /// The stream of the job, and whether it was asked for a screen that it was not allowed to send: the end comes after
    /// what is owed, and so never.
    stream: u16,
    owes: bool,
}

impl Played {
    fn say(&mut self, bytes: &[u8]) {
        // The link may be over.
        let _ = self.down.write_all(bytes);
    }

    /// A recorded frame, as the answer `id`.
    fn answer(&mut self, name: &str, id: u64) {
        let mut bytes = self.lines[name].clone();
        // The body begins with field 1, a number below 128.
        assert!(bytes[8] == 8 && bytes[9] < 128 && id < 128);
        bytes[9] = id as u8;
        self.say(&bytes);
    }

    /// A recorded frame of the holder, on the stream of today.
    fn holder(&mut self, name: &str) {
        let mut bytes = self.lines[name].clone();
        bytes[2 + 4..8].copy_from_slice(&self.stream.to_le_bytes());
        self.say(&bytes);
    }

    /// The same, which names a view.
    fn acknowledge(&mut self, name: &str, view: Uuid) {
        let mut bytes = self.lines[name].clone();
        bytes[2 + 4..8].copy_from_slice(&self.stream.to_le_bytes());
        bytes[8..24].copy_from_slice(view.as_bytes());
        self.say(&bytes);
    }

    /// What the test wants said of the job: its end, or anything else.
    fn order(&mut self, frame: &[u8]) {
        if frame[4] == sessd_proto::frame::kind::EXITED {
            return self.end(frame);
        }
        let mut bytes = frame.to_vec();
        bytes[6..8].copy_from_slice(&self.stream.to_le_bytes());
        self.say(&bytes);
    }

    fn end(&mut self, exited: &[u8]) {
        self.ended = true;
        if !self.owes {
            let mut bytes = exited.to_vec();
            bytes[6..8].copy_from_slice(&self.stream.to_le_bytes());
            self.say(&bytes);
        }
    }

    fn take(&mut self, stream: u16, frame: Frame<'_>) {
        match frame {
            Frame::Hello(_) if stream == 0 => {
                let greeting = self.lines["hello"].clone();
                self.say(&greeting);
            }
            Frame::Hello(_) => {
                self.stream = stream;
                self.holder("holder-hello");
            }
            Frame::Ping(token) => self.say(&Frame::Pong(token).to_bytes(stream)),
            Frame::LinkRequest(LinkRequest { id, act: Some(act) }) => match act {
                LinkAct::Inventory(_) if self.ended => self.answer("inventory-empty", id),
                LinkAct::Inventory(_) => self.answer("inventory", id),
                LinkAct::ReadScreen(_) => self.answer("no-screen", id),
                LinkAct::Forget(JobName { .. }) => self.answer("done", id),
                other => panic!("{other:?}"),
            },
            // The first holder knows nothing of `status_only`, and of a job that it owes output it tells no end.
            Frame::Subscribe(subscribe) => {
                self.owes = subscribe.from.is_none() && subscribe.credit == 0;
                self.holder("status");
                if subscribe.credit > 0 {
                    self.holder("snapshot");
                }
            }
            Frame::Presence(presence) => {
                for view in presence.view_ids.iter().filter_map(|id| Uuid::from_slice(id).ok()) {
                    self.acknowledge("seen", view);
                }
            }
            Frame::Input { view, bytes, .. } if bytes == b"hello\r" => {
                self.acknowledge("input-ack", view);
                self.holder("output");
                let exited = self.lines["exited"].clone();
                self.end(&exited);
            }
            _ => {}
        }
    }

    /// Until nobody holds the other end of `orders`: reads the link, and says of the job what it is told to.
    fn run(mut self, mut up: File, orders: &Receiver<Vec<u8>>) {
        let (tell, frames) = channel();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(n @ 1..) = up.read(&mut buffer) {
                if tell.send(buffer[..n].to_vec()).is_err() {
                    return;
                }
            }
        });
        let mut decoder = Decoder::new();
        loop {
            match orders.try_recv() {
                Ok(frame) => self.order(&frame),
                Err(std::sync::mpsc::TryRecvError::Empty) => {}
                Err(std::sync::mpsc::TryRecvError::Disconnected) => return,
            }
            match frames.recv_timeout(Duration::from_millis(20)) {
                Ok(bytes) => decoder.push(&bytes),
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => return,
            }
            while let Some(raw) = decoder.next_frame().expect("frames") {
                let (stream, bytes) = (raw.stream, raw.body.to_vec());
                let raw = sessd_proto::RawFrame { body: &bytes, ..raw };
                self.take(stream, raw.parse().expect("a frame"));
            }
        }
    }
}

impl Host {
    /// A host whose agent is the recorded one, with the recorded job adopted.
    ///
    /// # Panics
    /// When the host cannot be made, or the job is not adopted.
    pub fn start() -> Host {
        let mut world = World::new();
        let sshd = Sshd::start_in(&world, "h1");
        SshConfig::new(&mut world).host("box", &sshd);
        world.create_on("box", "probe", "true");
        world.wait_state("probe", "done", SOON);
        world.ok(&["delete", "probe"]);
        world.ok(&["daemon", "stop"]);
        let pipes = ["up", "down"].map(|name| {
            let path = world.root().join(name);
            mknodat(CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).expect("a named pipe");
            // Opened both ways: it neither waits for the agent nor ends with it.
            let end = OpenOptions::new().read(true).write(true).open(&path).expect("a named pipe");
            (path, end)
        });
        let [(up_path, up), (down_path, down)] = pipes;
        // The one link of these tests; what is read from a pipe is read once.
        replace_agent(&sshd, &format!("cat <{} &\nexec cat >{}", down_path.display(), up_path.display()));
        let (tell, orders) = channel();
        let lines = recorded(FIRST_AGENT).into_iter().collect();
        let played = Played { lines, down, ended: false, stream: 0, owes: false };
        let agent = thread::spawn(move || played.run(up, &orders));
        let adopted = world.json(&["host", "adopt", "box"]);
        assert_eq!(adopted["adopted"][0]["name"], "dev", "{adopted:#}");
        Host { world, _sshd: sshd, tell, agent }
    }

    /// The job ends with these words of its holder.
    ///
    /// # Panics
    /// When the played agent is gone.
    pub fn end(&self, exit: ExitRecord) {
        self.say(&Frame::Exited(exit));
    }

    /// The job's holder says this.
    ///
    /// # Panics
    /// When the played agent is gone.
    pub fn say(&self, frame: &Frame<'_>) {
        self.tell.send(frame.to_bytes(0)).expect("the agent is there");
    }

    /// Nothing more is said.
    ///
    /// # Panics
    /// When the played agent did not understand what it was told.
    pub fn finish(self) {
        drop(self.tell);
        self.agent.join().expect("the played agent understood all it was told");
    }
}

/// In the place of each agent that was put on `host`, a script.
///
/// # Panics
/// When there is none, or it cannot be written.
pub fn replace_agent(host: &Sshd, script: &str) {
    let mut programs = Vec::new();
    files_below(&host.home(), &mut |path| {
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("sessd-agent-")) {
            programs.push(path.to_owned());
        }
    });
    assert!(!programs.is_empty());
    for path in programs {
        let new = path.with_extension("new");
        fs::write(&new, format!("#!/bin/sh\n{script}\n")).expect("a fake agent");
        set_mode(&new, 0o755);
        fs::rename(&new, &path).expect("the agent's place");
    }
}
