//! What a view and the manager say to each other, and what the view does when the manager is gone.

use super::line::Line;
use super::{Outcome, SCREEN_MS, View};
use crate::view::{terminal, words};
use rustix::io::Errno;
use sessd_base::asking::Asking;
use sessd_base::paths::Paths;
use sessd_client::connect::{Client, Heard, no_answer};
use sessd_client::core::Told;
use sessd_client::predict::Discipline;
use sessd_proto::Frame;
use sessd_proto::docs::{Error, Kind, Result};
use sessd_proto::messages::{self as m, Answer};
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, mpsc};

/// How long a manager may take to come back before the view gives up.
const MANAGER_BACK_MS: u64 = 60_000;
/// How long another size than ours must last to be worth a word.
const SIZE_SETTLES_MS: u64 = 1_000;
/// How often it is looked for.
const LOOK_AGAIN_MS: u64 = 100;

/// How long a manager that was connected to may take to let us in before it is said to be silent.
const SILENT_MS: u64 = 3_000;

/// The manager is gone, and is looked for. Times of the view's clock, in milliseconds.
pub(super) struct Lost {
    /// When the view ends if there is still none.
    give_up_at: u64,
    /// When to look next.
    look_at: u64,
    /// A search that is under way.
    search: Option<Search>,
}

/// A search for a manager, which may start one. It may take as long as it likes: it has a thread of its own, and the view
/// goes on being one that can be left.
struct Search {
    since: u64,
    found: mpsc::Receiver<Result<(Client, m::Attached)>>,
    /// Closed by the thread when it is done.
    bell: UnixStream,
    /// The process that was connected to; 0: none yet.
    pid: Arc<AtomicI32>,
    /// The size of our terminal that it says.
    size: Option<(u16, u16)>,
}

impl Lost {
    /// When to look next, if that is not being done.
    pub(super) fn looks_at(&self) -> Option<u64> {
        if self.search.is_none() { Some(self.look_at) } else { None }
    }

    /// To be watched for reading: the search is done.
    pub(super) fn bell(&self) -> Option<&UnixStream> {
        self.search.as_ref().map(|search| &search.bell)
    }

    /// A manager that is there and does not let us in: its process and for how long, in milliseconds.
    pub(super) fn waits_for(&self, now: u64) -> Option<(Option<i32>, u64)> {
        let search = self.search.as_ref()?;
        let (pid, silent) = (search.pid.load(Ordering::Relaxed), now.saturating_sub(search.since));
        (pid > 0 && silent >= SILENT_MS).then_some((Some(pid), silent))
    }

    /// Look at once.
    pub(super) fn hasten(&mut self, now: u64) {
        self.look_at = self.look_at.min(now);
    }
}

impl View<'_> {
    pub(super) fn flush_manager(&mut self) {
        while self.core.has_to_send() && self.lost.is_none() {
            match self.client.stream.write(self.core.poll()) {
                Ok(n) => {
                    self.core.poll().drain(..n);
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => self.core.not_taken(),
            }
        }
    }

    pub(super) fn read_manager(&mut self) -> Result<Option<Outcome>> {
        let buffer = self.client.decoder.buffer_mut();
        buffer.reserve(64 * 1024);
        match rustix::io::read(&self.client.stream, rustix::buffer::spare_capacity(buffer)) {
            Ok(0) => {}
            Ok(_) => return self.take_frames(),
            Err(Errno::AGAIN | Errno::INTR) => return Ok(None),
            Err(_) => {}
        }
        self.manager_lost();
        Ok(None)
    }

    pub(super) fn take_frames(&mut self) -> Result<Option<Outcome>> {
        let mut decoder = std::mem::take(&mut self.client.decoder);
        let mut outcome = None;
        while let (None, Some(told)) = (&outcome, self.core.decode(&mut decoder)?) {
            outcome = told.and_then(|told| self.hear(told));
        }
        self.client.decoder = decoder;
        Ok(outcome)
    }

    fn hear(&mut self, told: Told<'_>) -> Option<Outcome> {
        let now = self.now();
        match told {
            Told::Output(bytes) => {
                self.show(&bytes, now);
                self.foretell_output(&bytes, now);
                self.foretell();
            }
            Told::Screen { skipped, known, size, snapshot, .. } => {
                self.foretell_screen(&snapshot, size);
                self.show_screen(known, skipped, snapshot, now);
            }
            Told::Written(seq) => self.foretell_written(seq, now),
            Told::Echoed { seq, offset, echo, lines } => {
                self.foretell_echoed((seq, offset), Discipline { echo, lines }, now);
            }
            // Answered when what came before it is on the terminal: the manager draws no faster than that is.
            Told::Ping(token) => self.pong = Some((token, self.to_terminal.len())),
            Told::State(state) if state.text_rows.is_some() => self.text_rows = state.text_rows,
            Told::State(state) => {
                if self.epoch.replace(state.epoch) != Some(state.epoch) {
                    self.foretell_no_more();
                }
                self.size_seen(now);
            }
            // The screen of another job begins anew.
            Told::Attached { restarted: true } => {
                (self.outstanding, self.unanswered) = Default::default();
                self.foretell_anew();
            }
            // The core has seen to what these mean for what is typed, and asked for what is missing.
            Told::Attached { restarted: false } | Told::Withdrawn(..) | Told::Gap => {}
            Told::Ended(end) | Told::Gone(end) => return Some(Outcome::Ended(self.label.clone(), end)),
            Told::SentAway(why) => return Some(Outcome::Detached { label: self.label.clone(), why }),
            Told::Question(asked) => self.put_question(&asked),
            Told::QuestionOver(id) => self.question_over(id),
        }
        None
    }

    /// After a break, once it is known what became of what was typed: that is told, over the newest screen, and typing goes on.
    pub(super) fn tell_undelivered(&mut self) {
        let now = self.now();
        match self.asked_to_tell_at {
            _ if self.core.undelivered().is_none() => self.asked_to_tell_at = None,
            None => {
                self.asked_to_tell_at = Some(now);
                self.core.redraw();
            }
            // There is no screen to say it over: with the next one.
            Some(at) if now >= at + SCREEN_MS => self.to_say = self.undelivered_told(),
            Some(_) => {}
        }
    }

    /// The person is told of what was not delivered, and may go on.
    pub(super) fn undelivered_told(&mut self) -> String {
        self.asked_to_tell_at = None;
        let lost = self.core.undelivered_told();
        if lost.any() { words::lost(lost) } else { String::new() }
    }

    /// The manager is gone: until there is one again, what is typed is kept, and the detach key leaves.
    pub(super) fn manager_lost(&mut self) {
        let now = self.now();
        if self.lost.is_some() {
            return;
        }
        // It may only seem dead: to a manager that lives, whoever is still there is not who comes.
        let _ = self.client.stream.shutdown(std::net::Shutdown::Both);
        self.foretell_no_more();
        self.epoch = None;
        self.asked_to_tell_at = None;
        // Its host has nobody to tell the answer to.
        self.asked = None;
        self.core.lost();
        if matches!(self.line, Line::Asked(_)) {
            self.line = Line::Away;
        }
        self.lost = Some(Lost { give_up_at: now + MANAGER_BACK_MS, look_at: now, search: None });
    }

    /// Goes on with the manager that came back, or starts one.
    pub(super) fn look_for_manager(&mut self) -> Result<()> {
        let now = self.now();
        let Some(mut lost) = self.lost.take() else { return Ok(()) };
        // Whatever was to be said was for the one that is gone.
        self.core.poll().clear();
        let found = lost.search.as_ref().map(|search| search.found.try_recv());
        match found {
            None if now >= lost.look_at => {
                (lost.search, lost.look_at) = (self.search(now), now + LOOK_AGAIN_MS);
            }
            Some(Ok(Ok((client, attached)))) => {
                let said = lost.search.and_then(|search| search.size);
                return self.go_on_with(client, attached, said);
            }
            Some(Ok(Err(error))) if error.kind == Kind::NoSuchSession => {
                return self.give_up(Error::no_such_session(&self.label));
            }
            Some(Ok(Err(error))) if now >= lost.give_up_at => return self.give_up(error),
            // Another manager may be about to end, or the machine is short of something for a moment.
            Some(Ok(Err(error))) => {
                self.core.not_found(error.message);
                (lost.search, lost.look_at) = (None, now + LOOK_AGAIN_MS);
            }
            Some(Err(mpsc::TryRecvError::Disconnected)) => {
                (lost.search, lost.look_at) = (None, now + LOOK_AGAIN_MS);
            }
            None | Some(Err(mpsc::TryRecvError::Empty)) => {}
        }
        self.lost = Some(lost);
        Ok(())
    }

    fn give_up(&mut self, error: Error) -> Result<()> {
        self.unsay();
        self.write_terminal(true);
        Err(error)
    }

    fn search(&mut self, now: u64) -> Option<Search> {
        let size = terminal::size();
        self.core.measured(size);
        let mut attach = self.core.attach();
        if self.is_drawn() {
            // What was drawn for this terminal cannot be gone on with in bytes.
            attach.resume = None;
        }
        let paths = self.paths.clone();
        let (bell, done) = UnixStream::pair().ok()?;
        let (tell, found) = mpsc::channel();
        let pid = Arc::new(AtomicI32::new(0));
        let its_pid = pid.clone();
        let thread = std::thread::Builder::new().spawn(move || {
            let answer = connect_again(&paths, attach, &its_pid);
            // The view may have been left meanwhile.
            let _ = tell.send(answer);
            drop(done);
        });
        thread.ok().map(|_| Search { since: now, found, bell, pid, size })
    }

    /// `said`: the size that the manager was told.
    fn go_on_with(&mut self, client: Client, attached: m::Attached, said: Option<(u16, u16)>) -> Result<()> {
        client.for_a_loop().map_err(|e| {
            Error::failed(format!("the manager cannot be heard ({e})"), "try again: it starts by itself")
        })?;
        self.client = client;
        if let Some(told) = self.core.handle(Frame::Attached(attached))? {
            self.hear(told);
        }
        // It may have changed while we waited.
        if let Some((cols, rows)) = terminal::size().filter(|size| Some(*size) != said) {
            self.core.send(&Frame::Resize(m::Resize { cols: cols.into(), rows: rows.into() }));
        }
        // What came together with the answer.
        self.read_on = true;
        Ok(())
    }

    /// Tells the manager that what came before its heartbeat is shown.
    pub(super) fn pong(&mut self) {
        if let Some((token, _)) =
            self.pong.take_if(|(_, at)| self.to_terminal.is_empty() || self.written >= *at)
        {
            self.core.send(&Frame::Pong(token));
            self.flush_manager();
        }
    }

    /// The session's size or ours may be another than before.
    pub(super) fn size_seen(&mut self, now: u64) {
        let (own, theirs) = (terminal::size(), (self.core.state().cols, self.core.state().rows));
        let sizes = own.filter(|_| self.is_drawn()).map(|own| (theirs, own));
        if sizes != self.part_told && !self.part_said.is_empty() {
            // It is not so any more.
            let said = std::mem::take(&mut self.part_said);
            if self.line.says(&said) {
                self.unsay();
            } else if self.to_say == said {
                self.to_say.clear();
            }
        }
        if sizes.is_none() {
            (self.part_at, self.part_told) = (None, None);
        } else if self.part_told != sizes {
            self.part_told = sizes;
            // That it is about to become ours is not worth a word.
            self.part_at = Some(now + SIZE_SETTLES_MS);
        }
    }

    /// What is seen is a part of the session: that is said when it stays so.
    pub(super) fn tell_part(&mut self) {
        let now = self.now();
        if self.part_at.take_if(|at| now >= *at).is_none() || self.lost.is_some() {
            return;
        }
        if let Some(((cols, rows), (own_cols, own_rows))) = self.part_told {
            let label = &self.label;
            self.to_say = if cols <= own_cols.into() && rows <= own_rows.into() {
                format!("{label} is {cols}x{rows}, this terminal {own_cols}x{own_rows}")
            } else {
                format!("{label} is {cols}x{rows}, you see {own_cols}x{own_rows}")
            };
            self.part_said.clone_from(&self.to_say);
            self.core.redraw();
        }
    }

    /// Does this view show a drawn part of a session of another size, instead of its bytes?
    pub(super) fn is_drawn(&self) -> bool {
        let theirs = (self.core.state().cols, self.core.state().rows);
        theirs != (0, 0) && terminal::size().is_some_and(|(cols, rows)| theirs != (cols.into(), rows.into()))
    }
}

fn connect_again(paths: &Paths, attach: m::Attach, pid: &AtomicI32) -> Result<(Client, m::Attached)> {
    let mut client = Client::connect_once(paths)?.ok_or_else(|| no_answer(paths))?;
    pid.store(client.peer(), Ordering::Relaxed);
    client.send(&Frame::Environment(Asking::here(paths, true).of_person(true)))?;
    client.send(&Frame::Attach(attach))?;
    let attached = wait_attached(&mut client)?;
    Ok((client, attached))
}

pub(super) fn wait_attached(client: &mut Client) -> Result<m::Attached> {
    hear_attached(client)?
        .ok_or_else(|| Error::failed("the manager went away", "try again: it starts by itself"))
}

/// The same; `None`: the manager is gone.
pub(super) fn hear_attached(client: &mut Client) -> Result<Option<m::Attached>> {
    loop {
        match client.hear()? {
            Heard::Attached(attached) => return Ok(Some(attached)),
            Heard::Reply(m::Reply { answer: Some(Answer::Error(error)), .. }) => return Err(error.into()),
            Heard::Gone => return Ok(None),
            Heard::Reply(_) | Heard::Event(_) => {}
        }
    }
}
