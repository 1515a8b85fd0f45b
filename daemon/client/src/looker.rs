//! A view driven by `poll(2)`, for whoever waits for what a session does: over as many managers as it takes.

use crate::connect::{Client, Heard};
use crate::core::{Told, ViewCore, Wants};
use rustix::event::{PollFd, PollFlags, Timespec};
use sessd_base::asking::Asking;
use sessd_base::paths::Paths;
use sessd_proto::docs::names::{HANDLE, handle};
use sessd_proto::docs::{EndDoc, Error, Kind, Reason, Result};
use sessd_proto::messages::{self as m, Answer};
use sessd_proto::{Decoder, Frame, Uuid};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// How often a manager that ended is looked for again.
const AGAIN: Duration = Duration::from_millis(100);

/// A view and its connection.
#[derive(Debug)]
pub struct Looker {
    paths: Paths,
    stream: UnixStream,
    decoder: Decoder,
    core: ViewCore,
    began: Instant,
    /// The manager ended, and another is looked for.
    lost: bool,
}

/// What a view waited for.
enum Woke {
    /// The manager has said something.
    Manager,
    /// The caller's time is up, or its other descriptor is ready.
    Caller,
    /// The view has something to do, or its connection takes more.
    View,
}

fn cannot(error: &io::Error) -> Error {
    Error::failed(format!("the manager cannot be heard ({error})"), "try again: it starts by itself")
}

/// Connects a view, starting the manager if there is none, and waits until it is attached, which is what is told then.
fn attach(paths: &Paths, core: &mut ViewCore) -> Result<(UnixStream, Decoder, Option<Told<'static>>)> {
    let mut client = Client::connect(paths)?;
    client.send(&Frame::Environment(Asking::here(paths, true).of_person(false)))?;
    client.send(&Frame::Attach(core.attach()))?;
    loop {
        match client.hear()? {
            Heard::Attached(attached) => {
                let told = core.handle(Frame::Attached(attached))?;
                client.for_a_loop().map_err(|e| cannot(&e))?;
                return Ok((client.stream, client.decoder, told));
            }
            Heard::Reply(m::Reply { answer: Some(Answer::Error(error)), .. }) => return Err(error.into()),
            Heard::Gone => {
                return Err(Error::failed("the manager went away", "try again: it starts by itself"));
            }
            Heard::Reply(_) | Heard::Event(_) => {}
        }
    }
}

/// Why a session cannot be looked at or typed into: its job's holder does not answer, though its host does.
pub fn silent_holder(session: &m::Attached, state: &m::ViewState) -> Option<Error> {
    state.holder_silent_ms?;
    let label = label_of(session);
    let message = match state.detail.as_str() {
        "" => format!("the holder of {label} on {} does not answer", session.host),
        said => said.to_owned(),
    };
    Some(Error::failed(
        message,
        format!(
            "`sessd info {label}` says what can be done; `sessd delete --force {label}` ends it and its job"
        ),
    ))
}

fn label_of(session: &m::Attached) -> String {
    let m::Attached { name, session_id, .. } = session;
    if name.is_empty() { handle(session_id, HANDLE) } else { name.clone() }
}

/// The next manager knows no such session.
fn gone() -> Told<'static> {
    let reason = Reason::Deleted.into();
    Told::Gone(EndDoc { reason, code: None, signal: None, at: String::new(), detail: None })
}

impl Looker {
    /// Looks at a session, from its screen on, or from output byte `from` of a job.
    ///
    /// # Errors
    /// Why it cannot.
    pub fn at(paths: &Paths, session: &str, wants: Wants, from: Option<(u64, &str)>) -> Result<Self> {
        let mut core = ViewCore::new(Uuid::now_v7(), session, wants, None);
        if let Some((from, job)) = from {
            core = core.from_offset(from, job);
        }
        let (stream, decoder, _) = attach(paths, &mut core)?;
        Ok(Self { paths: paths.clone(), stream, decoder, core, began: Instant::now(), lost: false })
    }

    /// The view.
    pub fn core(&mut self) -> &mut ViewCore {
        &mut self.core
    }

    /// Which session it is.
    pub fn session(&self) -> &m::Attached {
        self.core.session()
    }

    /// The session as people call it.
    pub fn label(&self) -> String {
        label_of(self.session())
    }

    /// The offset of the next output byte.
    pub fn offset(&self) -> Option<u64> {
        self.core.offset()
    }

    /// What is told next, waiting until `until`, or until `other` has something to read: then it is `None`.
    ///
    /// # Errors
    /// When the session cannot be looked at any more.
    pub fn next(
        &mut self,
        until: Option<Instant>,
        other: Option<BorrowedFd<'_>>,
    ) -> Result<Option<Told<'static>>> {
        loop {
            self.core.at(self.began.elapsed().as_millis() as u64);
            if self.lost {
                match self.come_again() {
                    Ok(Some(told)) => return Ok(Some(told)),
                    Ok(None) if until.is_some_and(|until| Instant::now() >= until) => return Ok(None),
                    Ok(None) => std::thread::sleep(AGAIN),
                    Err(error) if error.kind == Kind::NoSuchSession => return Ok(Some(gone())),
                    Err(error) => return Err(error),
                }
                continue;
            }
            match self.core.decode(&mut self.decoder)? {
                // There is nothing to be shown first.
                Some(Some(Told::Ping(token))) => self.core.pong(token),
                Some(Some(told)) => return Ok(Some(told.into_owned())),
                Some(None) => {}
                None => {
                    self.write();
                    match self.wait(until, other)? {
                        Woke::Manager => self.read(),
                        Woke::Caller => return Ok(None),
                        Woke::View => {}
                    }
                }
            }
        }
    }

    fn wait(&self, until: Option<Instant>, other: Option<BorrowedFd<'_>>) -> Result<Woke> {
        let due = self.core.deadline().map(|at| self.began + Duration::from_millis(at));
        let wake = until.into_iter().chain(due).min();
        let left = wake.map(|wake| wake.saturating_duration_since(Instant::now()));
        let timeout =
            left.map(|left| Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() });
        let mut flags = PollFlags::IN;
        if self.core.has_to_send() {
            flags |= PollFlags::OUT;
        }
        let mut fds = vec![PollFd::from_borrowed_fd(self.stream.as_fd(), flags)];
        fds.extend(other.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        match rustix::event::poll(&mut fds, timeout.as_ref()) {
            Ok(0) if until.is_some_and(|until| Instant::now() >= until) => Ok(Woke::Caller),
            Ok(0) => Ok(Woke::View),
            Ok(_) => {
                let said = fds[0].revents().intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR);
                let others = fds.get(1).is_some_and(|fd| !fd.revents().is_empty());
                Ok(match (said, others) {
                    (true, _) => Woke::Manager,
                    (false, true) => Woke::Caller,
                    (false, false) => Woke::View,
                })
            }
            // A signal: whoever waits for one looks.
            Err(rustix::io::Errno::INTR) => Ok(Woke::Caller),
            Err(error) => Err(Error::failed(format!("it cannot be waited ({error})"), "try again")),
        }
    }

    fn write(&mut self) {
        while self.core.has_to_send() {
            match self.stream.write(self.core.poll()) {
                Ok(n) => drop(self.core.poll().drain(..n)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => self.core.not_taken(),
            }
        }
    }

    fn read(&mut self) {
        let mut buffer = [0; 64 * 1024];
        match self.stream.read(&mut buffer) {
            Ok(0) => self.lose(),
            Ok(n) => self.decoder.push(&buffer[..n]),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(_) => self.lose(),
        }
    }

    fn lose(&mut self) {
        self.lost = true;
        self.core.lost();
    }

    /// The manager ended: the next one is asked for what follows on what we have.
    fn come_again(&mut self) -> Result<Option<Told<'static>>> {
        match attach(&self.paths, &mut self.core) {
            Ok((stream, decoder, told)) => {
                (self.stream, self.decoder, self.lost) = (stream, decoder, false);
                Ok(told)
            }
            Err(error) if error.kind == Kind::Failed => Ok(None),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connect::tests::nowhere;
    use sessd_proto::messages::{EndReason, ExitRecord};

    #[test]
    fn what_a_manager_said_before_it_closed_is_heard_though_it_takes_no_more() {
        let (near, mut far) = UnixStream::pair().unwrap();
        near.set_nonblocking(true).unwrap();
        let mut core = ViewCore::new(Uuid::now_v7(), "dev", Wants::whole(), None).from_offset(0, "j");
        let attached = m::Attached { session_id: "s".into(), job_id: "j".into(), ..m::Attached::default() };
        core.handle(Frame::Attached(attached)).unwrap();
        let (paths, decoder) = (nowhere(), Decoder::new());
        let mut looker = Looker { paths, stream: near, decoder, core, began: Instant::now(), lost: false };
        // More than one read of it, as the end of a file is.
        let mut bytes = Vec::new();
        for offset in (0..6 * 32_768).step_by(32_768) {
            Frame::Output { offset, bytes: &[7; 32_768] }.put(0, &mut bytes);
        }
        Frame::Ended(ExitRecord { reason: EndReason::Exited as i32, code: Some(0), ..ExitRecord::default() })
            .put(0, &mut bytes);
        let writer = std::thread::spawn(move || far.write_all(&bytes));
        let mut heard = 0;
        let until = Instant::now() + Duration::from_secs(20);
        loop {
            // It has something to say each time: that it shall have more.
            looker.core().redraw();
            match looker.next(Some(until), None).unwrap() {
                Some(Told::Output(bytes)) => heard += bytes.len(),
                Some(Told::Ended(end)) => break assert_eq!(end.code, Some(0)),
                other => panic!("{other:?}, after {heard} bytes"),
            }
        }
        assert_eq!(heard, 6 * 32_768);
        writer.join().unwrap().unwrap();
    }
}
