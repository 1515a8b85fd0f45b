//! `sessd daemon`: the manager itself. What is said of it rests on its lock, which it has as long as it lives, and not on
//! whether it answers.

use super::args::{DaemonArgs, DaemonVerb};
use super::verbs::{read, room};
use super::when::Wall;
use super::{ask, print, service};
use rustix::process::{Pid, Signal};
use sessd_base::config::Config;
use sessd_base::instance_lock::{self, Owner};
use sessd_base::out;
use sessd_base::paths::Paths;
use sessd_client::connect::Client;
use sessd_proto::docs::{Error, Kind, Result, StatusDoc};
use sessd_proto::messages::{self as m, Act};
use std::time::{Duration, Instant};

/// How long a manager that was told to stop may take to write down what it has to.
const ENDS: Duration = Duration::from_secs(10);
/// The same for one that was not heard and got a signal.
const ENDS_UNHEARD: Duration = Duration::from_secs(5);

/// Carries a verb out. `json`: documents are wanted, and no words.
///
/// # Errors
/// What a person is told, in one line.
pub fn run(paths: Paths, args: DaemonArgs, json: bool) -> Result<u8> {
    let done = |json: bool| if json { out::json("{}").map(drop) } else { Ok(()) };
    match args.act {
        None if args.foreground => {
            return sessd_manager::run(paths, sessd_images::IMAGES, args.announce).map(|()| 0).or_else(
                |error| {
                    // Whoever started us has it from our stdout.
                    if args.announce { Ok(error.kind.exit_code()) } else { Err(error) }
                },
            );
        }
        None | Some(DaemonVerb::Start) => {
            // An answer, and not only a connection: a manager that is being killed still has its socket for a moment.
            let answer = ask::ask(&paths, &Act::DaemonStatus(m::Empty {}))?;
            if json {
                out::json(&answer)?;
            } else {
                out::line(&format!("the manager runs (pid {})", read::<StatusDoc>(&answer)?.pid))?;
            }
        }
        Some(DaemonVerb::Status) => {
            let Some(mut client) = connect_if_it_runs(&paths)? else {
                return Err(Error::failed(
                    "the manager does not run",
                    "it starts by itself when a verb needs it",
                ));
            };
            let answer = client.ask(Act::DaemonStatus(m::Empty {}))?;
            if json {
                out::json(&answer)?;
            } else {
                out::lines(&print::status(&read::<StatusDoc>(&answer)?, &Wall::here(), room()))?;
            }
        }
        Some(DaemonVerb::Stop) => {
            stop(&paths, false)?;
            done(json)?;
        }
        Some(DaemonVerb::Restart) => {
            // While there is still one that goes on.
            Config::load(&paths)?;
            stop(&paths, true)?;
            Client::connect(&paths)?;
            done(json)?;
        }
        Some(DaemonVerb::Install) => {
            service::install(&paths)?;
            done(json)?;
        }
        Some(DaemonVerb::Uninstall) => {
            service::uninstall(&paths)?;
            done(json)?;
        }
    }
    Ok(0)
}

/// Connects to the manager if one runs; one whose socket is gone is waited for, as it makes it again.
fn connect_if_it_runs(paths: &Paths) -> Result<Option<Client>> {
    match Client::connect_running(paths)? {
        None if instance_lock::owner(paths) != Owner::Nobody => Client::connect(paths).map(Some),
        client => Ok(client),
    }
}

/// Stops the manager and waits until it is gone. None running is as good.
fn stop(paths: &Paths, restart: bool) -> Result<()> {
    match ask_to_stop(paths, restart)? {
        StopAnswer::Stops(pid) => wait_gone(paths, pid, restart, ENDS),
        StopAnswer::Nobody => match instance_lock::owner(paths) {
            Owner::Nobody => Ok(()),
            Owner::Process(pid) => end(paths, pid, restart),
            Owner::Elsewhere(_) => Err(sessd_client::connect::no_answer(paths)),
        },
        // It greeted as a manager does, and no other has the lock.
        StopAnswer::Foreign(pid, error) => match instance_lock::owner(paths) {
            Owner::Process(other) if other == pid => end(paths, pid, restart),
            Owner::Nobody => {
                let signalled = Pid::from_raw(pid)
                    .is_some_and(|p| rustix::process::kill_process(p, Signal::TERM).is_ok());
                if signalled { wait_ended(paths, pid, ENDS_UNHEARD) } else { Err(error) }
            }
            _ => Err(error),
        },
        // By evidence that it is ours: whoever listens on a socket may be anybody.
        StopAnswer::Silent(error) => match instance_lock::owner(paths) {
            Owner::Process(pid) => end(paths, pid, restart),
            _ => Err(error),
        },
    }
}

enum StopAnswer {
    Nobody,
    /// It was told, and is or was this process.
    Stops(i32),
    /// It is of a version that cannot be spoken with, and is this process.
    Foreign(i32, Error),
    Silent(Error),
}

fn ask_to_stop(paths: &Paths, restart: bool) -> Result<StopAnswer> {
    let mut client = match Client::connect_running(paths) {
        Ok(Some(client)) => client,
        Ok(None) => return Ok(StopAnswer::Nobody),
        Err(error) => return Ok(StopAnswer::Silent(error)),
    };
    let pid = client.peer();
    match client.ask(Act::DaemonStop(m::Stop { restart })) {
        Ok(_) => Ok(StopAnswer::Stops(pid)),
        // One that does not understand us understands a signal, and one that went away has stopped.
        Err(error) if error.kind == Kind::VersionSkew => Ok(StopAnswer::Foreign(pid, error)),
        Err(_) if client.is_gone() => Ok(StopAnswer::Stops(pid)),
        // One that says nothing, or closes without an answer because it has room for nobody more.
        Err(error) => Ok(StopAnswer::Silent(error)),
    }
}

/// Ends a manager that cannot be asked. It stops as if it had been, if it can; jobs run on in any case.
fn end(paths: &Paths, pid: i32, restart: bool) -> Result<()> {
    let send = |signal: Signal| {
        // Looked at again each time: a number may be somebody else's by now.
        if let Some(target) = Pid::from_raw(pid).filter(|_| instance_lock::is_manager(paths, pid)) {
            let _ = rustix::process::kill_process(target, signal);
        }
    };
    send(Signal::TERM);
    // One that was stopped hears nothing else before.
    send(Signal::CONT);
    if wait_gone(paths, pid, restart, ENDS_UNHEARD).is_ok() {
        return Ok(());
    }
    send(Signal::KILL);
    wait_gone(paths, pid, restart, ENDS_UNHEARD)
}

fn does_not_end(paths: &Paths, pid: i32) -> Error {
    Error::failed(
        format!("the manager (pid {pid}) does not end"),
        format!("see {}, or kill -9 {pid}: jobs run on", paths.log.display()),
    )
}

/// Waits until process `pid` has ended.
fn wait_ended(paths: &Paths, pid: i32, within: Duration) -> Result<()> {
    let until = Instant::now() + within;
    while instance_lock::is_there(pid) {
        if Instant::now() >= until {
            return Err(does_not_end(paths, pid));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// Waits until process `pid` is the manager no more.
fn wait_gone(paths: &Paths, pid: i32, restart: bool, within: Duration) -> Result<()> {
    let until = Instant::now() + within;
    loop {
        match instance_lock::owner(paths) {
            // A view may be quicker than we are to start the next one.
            Owner::Process(other) if other == pid => {}
            // It is not seen who has the lock: it may still be that one.
            Owner::Elsewhere(_) if instance_lock::is_there(pid) => {}
            // Its last breath: the lock is let go before the process has ended.
            _ if !restart && instance_lock::is_there(pid) => {}
            _ => return Ok(()),
        }
        if Instant::now() >= until {
            return Err(does_not_end(paths, pid));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
