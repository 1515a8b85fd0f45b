//! `lying_agent KIND`: speaks the protocol in the agent's place, as far as it takes to have one running job, and then does
//! what no agent does.

use std::io::{Read, Write, stdout};
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::{Duration, Instant};

use sessd_proto::messages as m;
use sessd_proto::messages::{LinkAct, LinkAnswer};
use sessd_proto::{Decoder, Frame, hello};

/// How long an attack goes on; then the agent only answers.
const ATTACK: Duration = Duration::from_secs(60);

struct Agent {
    kind: String,
    job: Option<m::JobSpec>,
    /// The stream that the job is talked about on, and whether its output is wanted there.
    stream: u16,
    wanted: bool,
    attacked: bool,
    /// Output so far, and how much of it was allowed.
    head: u64,
    granted: u64,
    sent: u64,
    out: Vec<u8>,
}

fn main() {
    let kind = std::env::args().nth(1).unwrap_or_default();
    let (sender, heard) = channel::<Vec<u8>>();
    std::thread::spawn(move || {
        let mut buffer = [0; 64 * 1024];
        while let Ok(n @ 1..) = std::io::stdin().read(&mut buffer) {
            if sender.send(buffer[..n].to_vec()).is_err() {
                break;
            }
        }
    });
    let job = Agent::known_job();
    // A job that ran on while nobody was here.
    let head = if job.is_some() { 5000 } else { 10 };
    let greeting = Frame::Hello(Agent::hello(&kind)).to_bytes(0);
    let mut agent = Agent {
        kind,
        job,
        stream: 0,
        wanted: false,
        attacked: false,
        head,
        granted: 0,
        sent: 0,
        out: greeting,
    };
    agent.run(&heard);
}

impl Agent {
    fn run(&mut self, heard: &Receiver<Vec<u8>>) {
        let mut decoder = Decoder::new();
        let mut until: Option<Instant> = None;
        loop {
            self.flush();
            let attacking = self.stream != 0 && (self.wanted || self.kind == "cold");
            if attacking && !self.attacked {
                let until = *until.get_or_insert_with(|| Instant::now() + ATTACK);
                self.attack();
                self.attacked |= Instant::now() >= until;
            }
            let bytes = if attacking && !self.attacked && self.has_credit() {
                match heard.try_recv() {
                    Ok(bytes) => bytes,
                    Err(TryRecvError::Empty) => continue,
                    Err(TryRecvError::Disconnected) => return,
                }
            } else {
                match heard.recv() {
                    Ok(bytes) => bytes,
                    Err(_) => return,
                }
            };
            decoder.push(&bytes);
            while let Ok(Some(raw)) = decoder.next_frame() {
                let stream = raw.stream;
                if let Ok(frame) = raw.parse() {
                    self.answer(stream, frame);
                }
            }
        }
    }

    fn flush(&mut self) {
        if stdout().write_all(&self.out).and_then(|()| stdout().flush()).is_err() {
            std::process::exit(0);
        }
        self.out.clear();
    }

    fn put(&mut self, stream: u16, frame: &Frame<'_>) {
        frame.put(stream, &mut self.out);
    }

    fn answer(&mut self, stream: u16, frame: Frame<'_>) {
        match frame {
            Frame::Ping(token) => self.put(stream, &Frame::Pong(token)),
            Frame::LinkRequest(request) => {
                let answer = match request.act {
                    Some(LinkAct::Inventory(_)) => LinkAnswer::Inventory(self.inventory()),
                    Some(LinkAct::Spawn(spawn)) => {
                        self.job = spawn.spec;
                        self.keep_job();
                        LinkAnswer::Spawned(m::Spawned { pid: 4, ..m::Spawned::default() })
                    }
                    _ => LinkAnswer::Done(m::Empty {}),
                };
                let mut reply = m::LinkReply::default();
                (reply.id, reply.answer) = (request.id, Some(answer));
                self.put(0, &Frame::LinkReply(reply));
            }
            Frame::Open(_) => {
                (self.stream, self.wanted) = (stream, false);
                self.put(stream, &Frame::Hello(Agent::hello(&self.kind)));
            }
            Frame::Subscribe(subscribe) if stream == self.stream => {
                self.wanted = !subscribe.status_only;
                (self.granted, self.sent) = (subscribe.credit, 0);
                self.put(
                    stream,
                    &Frame::Status(m::JobStatus { pid: 4, cols: 80, rows: 24, ..m::JobStatus::default() }),
                );
                if self.wanted && subscribe.from.is_none() {
                    let text = format!("screen at {}", self.head);
                    self.screen((80, 24), text.as_bytes());
                }
            }
            Frame::ReadRange(_) if self.kind == "unsupported" => {
                let kind = sessd_proto::frame::kind::READ_RANGE.into();
                self.put(stream, &Frame::Unsupported(m::Unsupported { kind }));
            }
            Frame::Credit(total) if stream == self.stream => self.granted = self.granted.max(total),
            Frame::Close(_) if stream == self.stream => self.stream = 0,
            _ => {}
        }
    }

    /// Of the kind `old` it knows nothing that was added since the first.
    fn hello(kind: &str) -> m::Hello {
        let features = if kind == "old" { 0 } else { hello::FEATURES };
        m::Hello { features, ..hello::hello("9.9.9", "") }
    }

    fn keep_job(&self) {
        let spec = self.job.clone().unwrap_or_default();
        let ids = [spec.job_id, spec.session_id, spec.manager_id].join("\n");
        std::fs::write(Agent::job_file(), ids).expect("a file in the home");
    }

    fn known_job() -> Option<m::JobSpec> {
        let text = std::fs::read_to_string(Agent::job_file()).ok()?;
        let mut ids = text.lines().map(str::to_owned);
        let (job_id, session_id, manager_id) = (ids.next()?, ids.next()?, ids.next()?);
        Some(m::JobSpec { job_id, session_id, manager_id, cols: 80, rows: 24, ..m::JobSpec::default() })
    }

    fn job_file() -> std::path::PathBuf {
        std::path::PathBuf::from(std::env::var_os("HOME").expect("a home")).join("lying-job")
    }

    fn inventory(&self) -> m::Inventory {
        let report = |spec: &m::JobSpec| m::JobReport {
            spec: Some(spec.clone()),
            liveness: m::Liveness::Alive as i32,
            pid: 4,
            holder_answers: true,
            ..m::JobReport::default()
        };
        m::Inventory {
            boot_id: "boot".into(),
            machine_id: "machine".into(),
            agent_version: "9.9.9".into(),
            now_ms: 1,
            jobs: self.job.iter().map(report).collect(),
            complete: true,
            folder: "/x".into(),
            ..m::Inventory::default()
        }
    }

    fn screen(&mut self, (cols, rows): (u16, u16), bytes: &[u8]) {
        let at = self.head;
        let mut parts = bytes.chunks(1 << 19).peekable();
        while let Some(bytes) = parts.next() {
            let more = parts.peek().is_some();
            self.put(self.stream, &Frame::Snapshot { at, skipped: 0, cols, rows, more, bytes });
        }
        self.sent += bytes.len() as u64;
    }

    fn has_credit(&self) -> bool {
        // These keep to their credit; the others never had any use for it.
        !matches!(self.kind.as_str(), "rep" | "erase" | "links") || self.sent < self.granted
    }

    fn output(&mut self, bytes: &[u8]) {
        self.put(self.stream, &Frame::Output { offset: self.head, bytes });
        self.head += bytes.len() as u64;
        self.sent += bytes.len() as u64;
    }

    fn paid_output(&mut self, bytes: &[u8]) {
        let n = (bytes.len() as u64).min(self.granted.saturating_sub(self.sent)) as usize;
        if n > 0 {
            self.output(&bytes[..n]);
        }
    }

    fn attack(&mut self) {
        let stream = self.stream;
        match self.kind.as_str() {
            "cold" => {
                let mut bomb = "x\u{301}".as_bytes().to_vec();
                bomb.extend(b"\x1b[65535b".repeat(100_000));
                self.head += 1;
                self.screen((1000, 1000), &bomb);
            }
            "credit" => self.output(&b"y\r\n".repeat(10_000)),
            "rep" => self.paid_output(&[&b"y"[..], &b"\x1b[65535b".repeat(4_000)].concat()),
            "erase" => self.paid_output(&b"\x1b[41m\x1b[2J\x1b[42m\x1b[2J\x1b[?1049h\x1b[?1049l".repeat(800)),
            "links" => {
                let mut text = String::new();
                for n in 0..300 {
                    let n = self.head as usize + n;
                    let (r, g, b) = (n % 251, n % 241, n % 239);
                    text += &format!(
                        "\x1b]8;;http://{n}/\x1b\\\x1b[38;2;{r};{g};{b}m\x1b[58;2;{b};{g};{r}mx\r\n"
                    );
                }
                self.paid_output(text.as_bytes());
            }
            "sizes" => {
                for n in 0..200u32 {
                    let cols = 20 + (self.head as u32 + n) % 180;
                    self.put(stream, &Frame::Resize(m::Resize { cols, rows: 24 }));
                }
                self.head += 1;
            }
            "screens" => {
                for _ in 0..20 {
                    self.head += 1;
                    self.screen((1000, 1000), b"\x1b[65535b\x1b[41m\x1b[2J");
                }
            }
            "answers" => {
                let inventory =
                    m::Inventory { jobs: vec![m::JobReport::default(); 400_000], ..m::Inventory::default() };
                let mut reply = m::LinkReply::default();
                (reply.id, reply.answer) = (1 << 40, Some(LinkAnswer::Inventory(inventory)));
                self.put(0, &Frame::LinkReply(reply));
            }
            "statuses" => {
                let warnings = vec![String::new(); 200_000];
                let status = m::JobStatus { pid: 4, warnings, ..m::JobStatus::default() };
                self.put(stream, &Frame::Status(status));
            }
            "offsets" => {
                self.put(
                    stream,
                    &Frame::Snapshot {
                        at: u64::MAX - 4,
                        skipped: 0,
                        cols: 80,
                        rows: 24,
                        more: false,
                        bytes: b"far",
                    },
                );
                self.put(stream, &Frame::Output { offset: u64::MAX - 4, bytes: b"beyond the end" });
            }
            "old" | "unsupported" => self.attacked = true,
            other => panic!("no such attack: {other}"),
        }
    }
}
