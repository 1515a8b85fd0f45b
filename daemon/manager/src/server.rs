//! `sessd daemon --foreground`: the manager's process, from its lock to its end.

use crate::api;
use crate::failpoints;
use crate::log;
use crate::manager::Manager;
use crate::store::Store;
use sessd_base::clock;
use sessd_base::config::WatchedConfig;
use sessd_base::instance_lock::{self, Health, InstanceLock, Owner, Taken};
use sessd_base::out;
use sessd_base::paths::Paths;
use sessd_base::process;
use sessd_proto::docs::announce;
use sessd_proto::docs::{Error, Result};
use sessd_ssh::AgentImage;
use std::rc::Rc;
use std::time::Duration;
use tokio::runtime::LocalOptions;
use tokio::signal::unix::{SignalKind, signal};

/// Runs the manager until it is told to stop. `images`: the agents it can install. `announce`: whoever started us
/// reads our stdout.
///
/// # Errors
/// Why there is none; another manager on the same socket is one reason.
pub fn run(paths: Paths, images: &'static [AgentImage], announce: bool) -> Result<()> {
    process::leave_the_caller(announce);
    let result = run_inner(paths, images, announce);
    if let (true, Err(error)) = (announce, &result) {
        out::announce(&format!("{}{}", announce::FAILED, error.json()));
    }
    result
}

fn run_inner(paths: Paths, images: &'static [AgentImage], announce: bool) -> Result<()> {
    failpoints::arm()?;
    process::check_descriptor_limit()?;
    paths.make()?;
    let log = log::start(&paths.log)?;
    let config = WatchedConfig::open(&paths)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(LocalOptions::default())
        .map_err(|e| {
            Error::failed(format!("the manager cannot run ({e})"), "`ulimit -a` shows what it may have")
        })?;
    // A task of its own, so that it is polled when there is something for it, and not at every key that passes.
    let server = runtime.spawn_local(async move {
        let lock = match instance_lock::take(&paths)? {
            Taken::Ours(lock) => lock,
            Taken::Theirs(holder) => return somebody_else_is(&holder, &paths, announce),
        };
        let opened = Store::open(&paths.database, clock::wall_ms()).await?;
        if let Some(aside) = &opened.kept_aside {
            let note = format!(
                "the database was damaged and is kept as {}: running jobs are still on their hosts, new records begin here",
                aside.display()
            );
            tracing::error!("{note}");
            if announce {
                out::announce(&format!("{}{note}", announce::NOTE));
            } else {
                out::note(&note);
            }
        }
        let store = opened.store;
        let manager = Manager::start(images, paths.clone(), config, store.clone(), lock.clone()).await?;
        if announce {
            out::announce(announce::READY);
            hush();
        }
        tracing::info!(pid = std::process::id(), version = env!("CARGO_PKG_VERSION"), "the manager runs");
        let mut terminate = listen_for(SignalKind::terminate())?;
        let mut interrupt = listen_for(SignalKind::interrupt())?;
        // A terminal that closes is none of ours. Heard, and not ignored: what is ignored would be so in every child.
        let _hangup = listen_for(SignalKind::hangup())?;
        tokio::task::spawn_local(watch_the_instance_lock(lock.clone(), manager.clone(), log));
        tokio::select! {
            () = api::serve(&lock, &manager) => {}
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("the manager stops; jobs run on");
        lock.close_door();
        store.close().await;
        Ok(())
    });
    match runtime.block_on(server) {
        Ok(result) => result,
        // A bug of ours; the backtrace is in the log of whoever started us.
        Err(panicked) => {
            let what = format!("the manager came to a bad end ({panicked})");
            Err(Error::failed(what, "start it again: sessions run on"))
        }
    }
}

/// Another manager has the records: to whoever wants one running that is as good, as long as it can be reached.
fn somebody_else_is(holder: &Owner, paths: &Paths, announce: bool) -> Result<()> {
    match holder {
        Owner::Elsewhere(machine) if !machine.is_empty() => Err(Error::failed(
            format!("a manager on {machine} uses {}", paths.database.display()),
            "use that machine's, or set SESSD_HOME to a folder of this one",
        )),
        _ if announce => {
            out::announce(announce::BUSY);
            Ok(())
        }
        holder => {
            let pid = match holder {
                Owner::Process(pid) => format!(" (pid {pid})"),
                _ => String::new(),
            };
            Err(Error::failed(
                format!("another manager{pid} uses {}", paths.database.display()),
                "`sessd daemon status` shows it, `sessd daemon stop` ends it",
            ))
        }
    }
}

/// How often it is seen to that the manager can be found.
const LOOK: Duration = Duration::from_secs(5);

/// Whoever takes away our socket, log or folder does not know what they are for.
async fn watch_the_instance_lock(lock: Rc<InstanceLock>, manager: Rc<Manager>, log: log::Log) {
    let mut complained = false;
    loop {
        tokio::time::sleep(LOOK).await;
        log.look();
        match lock.health() {
            Health::Fine => {}
            Health::Remade => {
                tracing::warn!(socket = %lock.socket().display(), "the socket was gone: it is there again")
            }
            Health::Unreachable(why) => {
                if !complained {
                    tracing::error!(why, "the socket is gone and cannot be made again");
                }
                complained = true;
                continue;
            }
            Health::Replaced => {
                tracing::error!("another manager has taken the place: this one ends, jobs run on");
                return manager.stop();
            }
            Health::StateGone => match put_back(&lock, &manager).await {
                Ok(false) => tracing::warn!("the lock was gone: it is there again"),
                Ok(true) => {
                    tracing::error!(
                        "the state folder was gone: it is there again, and the next manager goes on with it"
                    );
                    return manager.stop();
                }
                Err(error) => {
                    if !complained {
                        tracing::error!(error = error.line(), "the state folder is gone");
                    }
                    complained = true;
                    continue;
                }
            },
        }
        complained = false;
    }
}

/// Makes the state folder again. True when the records had to be written anew: what this manager writes from now on goes
/// to a file without a name.
async fn put_back(lock: &InstanceLock, manager: &Manager) -> Result<bool> {
    lock.lock_again()?;
    if manager.paths.database.exists() {
        return Ok(false);
    }
    manager.store.write_to(&manager.paths.database).await?;
    Ok(true)
}

fn listen_for(kind: SignalKind) -> Result<tokio::signal::unix::Signal> {
    signal(kind).map_err(|e| Error::failed(format!("signals cannot be heard ({e})"), "start it again"))
}

/// Lets go of the pipe to whoever started us: it would wait for its end.
fn hush() {
    if let Ok(null) = std::fs::File::options().read(true).write(true).open("/dev/null") {
        let _ = rustix::stdio::dup2_stdout(&null);
    }
}
