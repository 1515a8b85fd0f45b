//! A holder's decisions: what becomes of each event, and when. No PTY, no file, no socket, no clock, no chance: events go in
//! with the time, effects and bytes come out, and the same events give the same effects ever after.
//!
//! ```text
//!  running ──▶ draining ──▶ ended ──▶ over
//!     │ the program ends  │ its last bytes are read, nothing of it lives: last screen and exit record
//!     └─ End, idleness: HUP, TERM, KILL          └─ a manager has the record, or nobody asked for an hour
//! ```
//!
//! Whoever carries it out ([`crate::io::hold`], or a simulation) keeps to this:
//!
//! * events are handed in with [`HolderMachine::handle`]; after those of a turn an [`Event::Tick`], which does what is due;
//! * then [`HolderMachine::poll`] until it gives nothing; an effect that asks is answered by an event at any later time;
//! * then bytes: [`HolderMachine::typed`] goes to the PTY, [`HolderMachine::unsent`] to each link, what the PTY gives goes into
//!   [`HolderMachine::room`]. They are lent and not handed over: an output byte is copied once into the ring and once into each
//!   link's frame;
//! * [`HolderMachine::deadline`] says when to tick again if nothing happens.
//!
//! The rooms: `links` what managers say and are told, `output` the job's output into the hub, `end` the way to the exit
//! record, `rounds` what comes round by the clock, `scripts` what the job says of itself and what
//! scripts type into it, `plain` jobs without a terminal; each holds a part of the machine. Smaller machines that this one is made of:
//! [`input`], [`asked`], [`sizes`], [`idle`], [`ending`], [`acks`], [`memory`], [`keep`], [`outbox`],
//! [`echo`]: when the echo of a key is complete,
//! [`told`]: what the job is told by its terminal whoever looks,
//! [`activity`]: what the job is doing, [`process`]: what is known of a process, [`queue`]: what is typed by no view, [`channels`]: byte streams beside the terminal.

pub mod acks;
pub mod activity;
pub mod asked;
pub mod channels;
pub mod echo;
mod end;
pub mod ending;
pub mod idle;
pub mod input;
pub mod keep;
mod links;
pub mod memory;
pub mod outbox;
mod output;
mod plain;
pub mod process;
pub mod queue;
mod rounds;
mod scripts;
pub mod sizes;
#[cfg(test)]
mod tests;
pub mod told;

use acks::Acks;
use activity::Activity;
use asked::OutstandingQueries;
use channels::{Channels, SocketEvent, SocketId, Target};
use echo::{Discipline, Echoes};
use ending::{Ending, Step};
use idle::{Depth, IdleClock, Processes, Rules};
use input::Input;
use keep::{Keep, Keeping, Kept};
use links::ManagerLink;
use memory::MemoryKills;
use output::Unfed;
use plain::Plain;
use process::{Ident, Process};
use queue::Queue;
use rounds::{LOOK_MS, TOUCH_MS};
use scripts::Notices;
use sessd_proto::limits::{HOLDER_RING, INPUT_WINDOW, PLAIN_INPUT_WINDOW, SCROLLBACK_LINES, SIDE_MAX};
use sessd_proto::messages::{ExitRecord, JobPort, JobSpec, JobStatus, Listener};
use sessd_proto::{Frame, Uuid};
use sessd_terminal::{Hub, Size, SnapshotOptions};
use sizes::Sizes;
use std::collections::VecDeque;
use told::{Clipboard, Told};

/// What time it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Now {
    /// Milliseconds since the holder began, by a clock that nobody sets and that stands still while the host sleeps. All
    /// deadlines are by this one.
    pub ms: u64,
    /// Milliseconds by a clock that nobody sets and that goes on while the host sleeps: how long ago something was.
    pub steady_ms: u64,
    /// Milliseconds since the Unix epoch by the wall clock: told and recorded, never counted with.
    pub wall_ms: u64,
}

/// One connection of a manager. Whoever accepts it gives the number, and gives none twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LinkId(pub u64);

/// What a machine begins with: a program that has just been started.
#[derive(Debug, Clone, Default)]
pub struct Job {
    /// What was asked for.
    pub spec: JobSpec,
    /// The program.
    pub leader: Ident,
    /// What was started, as it is shown.
    pub command: Vec<String>,
    /// Ids of the managers that have held the job.
    pub managers: Vec<String>,
    /// What a logout could do to the job, one sentence each.
    pub warnings: Vec<String>,
    /// How many processes the system has killed for memory where the job is.
    pub memory_kills: Option<u64>,
    /// Where a process of the same user can connect to the holder; empty: not known.
    pub socket: String,
}

/// What happens to a holder.
#[derive(Debug)]
#[allow(clippy::large_enum_variant)] // it is handed in and never kept
pub enum Event<'a> {
    /// So many bytes of the program's output were put into [`HolderMachine::room`]. 0: only what waits is to go on.
    Output(usize),
    /// Nobody has the program's side of the PTY open any more.
    HungUp,
    /// The PTY took so many bytes of [`HolderMachine::typed`].
    Wrote(usize),
    /// The program has ended.
    Exited {
        /// With this code, if it ended by itself.
        code: Option<i32>,
        /// By this signal.
        signal: Option<i32>,
        /// As [`Job::memory_kills`], now.
        memory_kills: Option<u64>,
    },
    /// A manager has connected.
    Opened(LinkId),
    /// It says something.
    Frame(LinkId, Frame<'a>),
    /// It does not speak the protocol, and why.
    Invalid(LinkId, String),
    /// So many bytes of [`HolderMachine::unsent`] were sent.
    Sent(LinkId, usize),
    /// It is gone, or was closed as wanted.
    Closed(LinkId),
    /// Answer to [`Effect::Inspect`]; `None`: processes cannot be seen.
    Inspected {
        /// What was seen.
        seen: Option<Processes>,
        /// As it was asked.
        depth: Depth,
        /// As it was asked.
        round: bool,
    },
    /// Answer to [`Effect::Family`]; `None`: processes cannot be seen.
    Family(Option<Vec<Process>>),
    /// Answer to [`Effect::Processor`]: what the job's processes have used, in any unit; `None`: it cannot be seen.
    Used(Option<u64>),
    /// Answer to [`Effect::Hides`]: the terminal hides what is typed.
    Hides(bool),
    /// How the terminal takes what is typed: answer to [`Effect::Discipline`], and said with each write and each output while
    /// [`HolderMachine::watches_echo`].
    Discipline(Discipline),
    /// Answer to [`Effect::Observe`].
    Observed(Observed),
    /// Answer to [`Effect::Warn`]: what a logout could do to the job.
    Warned(Vec<String>),
    /// Answer to [`Effect::Keep`].
    Kept(Kept),
    /// Something happened to a socket of a channel.
    Socket(SocketId, SocketEvent<'a>),
    /// Answer to [`Effect::Listen`]: the port, or why there is none.
    Listening(u64, Result<u16, String>),
    /// Answer to [`Effect::Ports`]; `None`: it cannot be seen.
    Ports(Option<Vec<JobPort>>),
    /// The events of this turn are in: what is due is done.
    Tick,
}

/// What a status tells of the program, and what is counted with it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observed {
    /// The program's current folder.
    pub cwd: Option<String>,
    /// Name of the program in the foreground of the PTY.
    pub foreground: Option<String>,
    /// As [`Job::memory_kills`], now.
    pub memory_kills: Option<u64>,
    /// The terminal hides what is typed, line by line, as at a question for a password.
    pub hides: bool,
}

/// What a holder has to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Give the PTY this size.
    Resize(Size),
    /// Inspect whether the job works: [`Event::Inspected`].
    Inspect {
        /// How closely.
        depth: Depth,
        /// For the idle clock's own round, and not for a status.
        round: bool,
    },
    /// Look who belongs to the job, these among them: [`Event::Family`].
    Family(Vec<Ident>),
    /// Look at what the job's processes have used of the processor: [`Event::Used`].
    Processor,
    /// Look whether the terminal hides what is typed: [`Event::Hides`].
    Hides,
    /// Look how the terminal takes what is typed: [`Event::Discipline`].
    Discipline,
    /// The input of a plain job has ended.
    EndInput,
    /// Look at what a status tells: [`Event::Observed`].
    Observe,
    /// Look at what a logout could do: [`Event::Warned`].
    Warn,
    /// Signal a process.
    Signal(u32, Step),
    /// Keep this on disk, beside everything else: [`Event::Kept`]. There is one at a time.
    Keep(Box<Keeping>),
    /// Connect to this: [`SocketEvent::Connected`].
    Connect(SocketId, Target),
    /// Nothing more is written to a socket, which may still be read.
    EndWrites(SocketId),
    /// Close a socket.
    HangUp(SocketId),
    /// Listen on this under that number: [`Event::Listening`]. Whoever connects is told by [`SocketEvent::Accepted`].
    Listen(u64, Listener),
    /// Listen on that no more.
    Unlisten(u64),
    /// Look which ports the job's processes listen on: [`Event::Ports`].
    Ports,
    /// Send what is unsent on this link if it takes it at once, close it, and say [`Event::Closed`].
    Close(LinkId),
    /// The holder may go.
    Leave,
}

/// How the program ended.
#[derive(Debug, Clone, Copy)]
struct Exit {
    code: Option<i32>,
    signal: Option<i32>,
}

/// One job, as its holder has to do with it.
#[derive(Debug)]
pub struct HolderMachine {
    job: Job,
    hub: Hub,
    unfed: Unfed,
    sizes: Sizes,
    input: Input,
    asked: OutstandingQueries,
    told: Told,
    clipboard: Clipboard,
    acks: Acks,
    echoes: Echoes,
    activity: Activity,
    queue: Queue,
    notices: Notices,
    channels: Channels,
    /// What it used of the processor was asked and not answered yet.
    processor_asked: bool,
    plain: Plain,
    idle: IdleClock,
    memory: MemoryKills,
    keep: Keep,
    ending: Option<Ending>,
    /// A step of it waits for who belongs to the job.
    step: Option<Step>,
    /// Who belongs to it was asked and not answered yet.
    family_asked: bool,
    /// When to ask again, once the program is gone and something of it may live.
    family_due_ms: u64,
    /// Who wanted the end, for the exit record; empty: nobody did, or it is not known.
    ended_by: String,
    /// Nothing of a job that was to be ended is alive, or all was done that could be.
    swept: bool,
    /// Whether that is so could not be seen.
    unseen: bool,
    ended: Option<Exit>,
    drain_until_ms: Option<u64>,
    pty_open: bool,
    exit: Option<ExitRecord>,
    /// The exit record, and the last screen, are on disk.
    exit_kept: bool,
    screen_kept: bool,
    leave_at_ms: Option<u64>,
    left: bool,
    links: Vec<ManagerLink>,
    /// The views that the links speak for.
    views_here: Vec<Uuid>,
    watchers_changed: bool,
    /// In this turn a manager said that its last view left on purpose.
    left_on_purpose: bool,
    /// When the job last wrote or was typed into, and when it ended, by the steady clock.
    active_at_ms: u64,
    ended_at_ms: u64,
    status_due_ms: Option<u64>,
    /// A status is being put together; it goes to all links.
    observing: Option<bool>,
    last_status: JobStatus,
    look_due_ms: u64,
    upkeep_due_ms: u64,
    touch_due_ms: u64,
    effects: VecDeque<Effect>,
}

impl HolderMachine {
    /// Begins with `job`, whose PTY has `size`.
    pub fn new(job: Job, size: Size, now: Now) -> Self {
        let mut memory = MemoryKills::default();
        memory.counted(job.memory_kills, now.ms);
        let mut hub = Hub::new(size, SCROLLBACK_LINES, HOLDER_RING);
        if job.spec.plain {
            // No terminal makes a new line of its line ends: where it is shown, the model does.
            hub.prepare(b"\x1b[20h");
        }
        let window = if job.spec.plain { PLAIN_INPUT_WINDOW } else { INPUT_WINDOW };
        Self {
            hub,
            unfed: Unfed::default(),
            sizes: Sizes::default(),
            input: Input::new(window),
            asked: OutstandingQueries::default(),
            told: Told::default(),
            clipboard: Clipboard::default(),
            acks: Acks::default(),
            echoes: Echoes::default(),
            activity: Activity::new(now.ms),
            queue: Queue::default(),
            notices: Notices::default(),
            channels: Channels::default(),
            processor_asked: false,
            plain: Plain::new(now),
            idle: IdleClock::new(rules_of(&job.spec), now.ms),
            memory,
            keep: Keep::default(),
            ending: None,
            step: None,
            family_asked: false,
            family_due_ms: 0,
            ended_by: String::new(),
            swept: false,
            unseen: false,
            ended: None,
            drain_until_ms: None,
            pty_open: true,
            exit: None,
            exit_kept: false,
            screen_kept: false,
            leave_at_ms: None,
            left: false,
            links: Vec::new(),
            views_here: Vec::new(),
            watchers_changed: false,
            left_on_purpose: false,
            active_at_ms: now.steady_ms,
            ended_at_ms: 0,
            status_due_ms: None,
            observing: None,
            last_status: JobStatus::default(),
            look_due_ms: now.ms,
            upkeep_due_ms: now.ms + LOOK_MS,
            touch_due_ms: now.ms + TOUCH_MS,
            effects: VecDeque::new(),
            job,
        }
    }

    /// Takes one event.
    pub fn handle(&mut self, now: Now, event: Event<'_>) {
        match event {
            Event::Output(n) => self.output(n, now),
            Event::HungUp => {
                self.pty_open = false;
                self.input.clear();
            }
            Event::Wrote(n) => {
                if let Some((view, seq)) = self.input.wrote(n) {
                    self.acks.wrote(view, seq, n, now.ms);
                    self.echoes.wrote(view, seq, now.ms);
                }
            }
            Event::Exited { code, signal, memory_kills } => {
                self.memory.counted(memory_kills, now.ms);
                self.program_ended(Exit { code, signal }, now);
            }
            Event::Opened(link) => self.opened(link, now),
            Event::Frame(link, frame) => self.heard(link, frame, now),
            Event::Invalid(link, why) => self.refuse(link, why),
            Event::Sent(link, n) => self.was_sent(link, n),
            Event::Closed(link) => {
                self.closed(link);
                self.left_channels(link, now);
            }
            Event::Socket(id, event) => self.socket(id, event, now),
            Event::Listening(number, is) => self.listening(number, is),
            Event::Ports(ports) => self.listens_on(ports),
            Event::Inspected { seen, depth, round } => self.inspected(seen, depth, round, now),
            Event::Family(family) => self.found_family(family),
            Event::Used(used) => self.used(used, now),
            Event::Discipline(discipline) => self.echoes.stands(discipline, now.ms),
            Event::Hides(hides) => self.echoes(hides, now),
            Event::Observed(seen) => self.observed(seen, now),
            Event::Warned(warnings) => {
                self.job.warnings = warnings;
                if self.warnings_now() != self.last_status.warnings {
                    self.status_soon(now);
                }
            }
            Event::Kept(kept) => self.was_kept(&kept, now),
            Event::Tick => self.tick(now),
        }
    }

    fn tick(&mut self, now: Now) {
        self.unfed.begin_turn(&self.hub);
        if std::mem::take(&mut self.watchers_changed) {
            self.look_at_watchers(now);
        }
        self.follow_terminal();
        self.offer_clipboard(now);
        self.sweep(now);
        self.take_rounds(now);
        self.take_script_steps(now);
        self.look_at_echo(now);
        self.end_what_ran_too_long(now);
        self.end_input_when_due();
        self.finish_exit(now);
        self.go_on_keeping(now);
        self.tick_channels(now);
        self.serve_links(now);
        if !self.left && self.may_leave(now) {
            self.left = true;
            self.effects.push_back(Effect::Leave);
        }
    }

    /// The next thing to do.
    pub fn poll(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// When to tick again, by [`Now::ms`], if nothing happens before. A time that is past is now.
    pub fn deadline(&self) -> Option<u64> {
        if self.may_feed()
            || self.links.iter().any(ManagerLink::has_room_again)
            || self.channels.may_go_on(&self.links)
        {
            return Some(0);
        }
        let ending = self.ending.as_ref().filter(|e| !(self.swept || e.given_up() || self.family_asked));
        let ending = ending
            .map(|e| if self.ended.is_some() { e.due_ms().min(self.family_due_ms) } else { e.due_ms() });
        let drain = self.drain_until_ms.filter(|_| self.exit.is_none() && self.is_swept());
        let silent = self.links.iter().filter_map(ManagerLink::silent_at_ms).min();
        [
            ending,
            drain,
            silent,
            self.leave_at_ms.filter(|_| !self.left),
            self.status_due_ms,
            self.acks.due_ms(),
            self.echoes.due_ms(),
            self.keep.due_ms(),
            self.told.due_ms(),
            Some(self.look_due_ms),
            self.script_steps_ms(),
            self.run_until_ms(),
            self.channels.due_ms(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// What is to be written to the PTY next.
    pub fn typed(&self) -> Option<&[u8]> {
        if self.pty_open { self.input.next() } else { None }
    }

    /// Does a view show what is typed before it is there, so that [`Event::Discipline`] is wanted?
    pub fn watches_echo(&self) -> bool {
        self.echoes.is_wanted()
    }

    /// Is the PTY's other side still open to somebody?
    pub fn pty_is_open(&self) -> bool {
        self.pty_open
    }

    /// The model, the ring and the head.
    pub fn hub(&self) -> &Hub {
        &self.hub
    }

    /// The exit record, once there is one.
    pub fn exit(&self) -> Option<&ExitRecord> {
        self.exit.as_ref()
    }

    fn interactive(&self) -> bool {
        self.links.iter().any(ManagerLink::is_interactive)
    }

    fn status_soon(&mut self, now: Now) {
        if self.exit.is_none() {
            self.status_due_ms.get_or_insert(now.ms + rounds::STATUS_MS);
        }
    }

    /// What is not protected on this host, and a disk that does not answer.
    fn warnings_now(&self) -> Vec<String> {
        self.job.warnings.iter().cloned().chain(self.keep.warning()).collect()
    }
}

fn snapshot_options(scrollback_lines: usize) -> SnapshotOptions {
    SnapshotOptions { scrollback_lines, ..SnapshotOptions::default() }
}

/// A size as a model and a PTY may have it; `None`: none was given.
pub fn size_of(cols: u32, rows: u32) -> Option<Size> {
    let side = |n: u32| u16::try_from(n).ok().filter(|n| *n > 0).map(|n| n.min(SIDE_MAX));
    // The PTY has the size that the model has.
    Some(Size { cols: side(cols)?, rows: side(rows)? }.clamped())
}

fn rules_of(spec: &JobSpec) -> Rules {
    Rules {
        limit_ms: spec.idle_timeout_ms,
        unattended: spec.reap_unattended,
        anonymous: spec.name.is_empty(),
    }
}
