//! `sessd daemon --foreground`: the manager's process, from its lock to its end.

use crate::api;
use crate::clock;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::faults;
use crate::manager::Manager;
use crate::out;
use crate::paths::Paths;
use crate::store::Store;
use tokio::runtime::LocalOptions;
use tokio::signal::unix::{SignalKind, signal};

/// What the manager says on its stdout to whoever started it, one line each.
pub mod said {
    /// It answers on its socket.
    pub const READY: &str = "ready";
    /// Another manager answers there.
    pub const BUSY: &str = "busy";
    /// Followed by a sentence a person should see.
    pub const NOTE: &str = "note ";
    /// Followed by why there is no manager.
    pub const FAILED: &str = "failed ";
}

/// Runs the manager until it is told to stop. `announce`: whoever started us reads our stdout.
///
/// # Errors
/// Why there is none; another manager on the same socket is one reason.
pub fn run(paths: Paths, announce: bool) -> Result<()> {
    let result = run_inner(paths, announce);
    if let (true, Err(error)) = (announce, &result) {
        out::announce(&format!("{}{}", said::FAILED, error.json()));
    }
    result
}

fn run_inner(paths: Paths, announce: bool) -> Result<()> {
    faults::arm()?;
    let config = Config::load(&paths)?;
    paths.make()?;
    start_log(&paths)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(LocalOptions::default())
        .map_err(|e| Error::failed(format!("the manager cannot run ({e})"), ""))?;
    // A task of its own, so that it is polled when there is something for it, and not at every key that passes.
    let server = runtime.spawn_local(async move {
        let Some(seat) = api::take_seat(&paths)? else {
            if announce {
                out::announce(said::BUSY);
                return Ok(());
            }
            return Err(Error::failed(
                format!("another manager answers on {}", paths.socket.display()),
                "`sessd daemon status` shows it, `sessd daemon stop` ends it",
            ));
        };
        let _mine = lock_database(&paths)?;
        let opened = Store::open(&paths.database, clock::wall_ms()).await?;
        if let Some(aside) = &opened.kept_aside {
            let note = format!(
                "the database was damaged and is kept as {}: running jobs are still on their hosts, new records begin here",
                aside.display()
            );
            tracing::error!("{note}");
            if announce {
                out::announce(&format!("{}{note}", said::NOTE));
            } else {
                out::note(&note);
            }
        }
        let store = opened.store;
        let manager = Manager::start(paths.clone(), config, store.clone()).await?;
        if announce {
            out::announce(said::READY);
            hush();
        }
        tracing::info!(pid = std::process::id(), version = env!("CARGO_PKG_VERSION"), "the manager runs");
        let mut terminate = listen_for(SignalKind::terminate())?;
        let mut interrupt = listen_for(SignalKind::interrupt())?;
        tokio::select! {
            () = api::serve(&seat, &manager) => {}
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("the manager stops; jobs run on");
        let _ = std::fs::remove_file(&paths.socket);
        store.close().await;
        Ok(())
    });
    match runtime.block_on(server) {
        Ok(result) => result,
        // A bug of ours; the backtrace is in the log of whoever started us.
        Err(panicked) => Err(Error::failed(format!("the manager came to a bad end ({panicked})"), "")),
    }
}

/// Another manager may have another socket and yet these records. The kernel lets go of the lock whatever happens.
fn lock_database(paths: &Paths) -> Result<std::fs::File> {
    let path = paths.database.with_extension("db.lock");
    let trouble = |e: std::io::Error| {
        Error::failed(
            format!("{} cannot be used ({e})", path.display()),
            "check its folder for space and permissions",
        )
    };
    let file = std::os::unix::fs::OpenOptionsExt::mode(
        std::fs::File::options().create(true).truncate(false).write(true),
        0o600,
    )
    .open(&path)
    .map_err(trouble)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(Error::failed(
            format!("another manager with another socket uses {}", paths.database.display()),
            "use that one (the same XDG_RUNTIME_DIR), or set SESSD_HOME to another folder",
        )),
        Err(std::fs::TryLockError::Error(error)) => Err(trouble(error)),
    }
}

fn listen_for(kind: SignalKind) -> Result<tokio::signal::unix::Signal> {
    signal(kind).map_err(|e| Error::failed(format!("signals cannot be heard ({e})"), ""))
}

/// Lets go of the pipe to whoever started us: it would wait for its end.
fn hush() {
    if let Ok(null) = std::fs::File::options().read(true).write(true).open("/dev/null") {
        let _ = rustix::stdio::dup2_stdout(&null);
    }
}

/// The log, appended to, begun anew when it is large.
fn start_log(paths: &Paths) -> Result<()> {
    const LARGE: u64 = 8 << 20;
    let trouble = |e: std::io::Error| {
        Error::failed(format!("the log {} cannot be written ({e})", paths.log.display()), "check its folder")
    };
    if std::fs::metadata(&paths.log).is_ok_and(|m| m.len() > LARGE) {
        std::fs::rename(&paths.log, paths.log.with_extension("log.1")).map_err(trouble)?;
    }
    let file =
        std::os::unix::fs::OpenOptionsExt::mode(std::fs::File::options().create(true).append(true), 0o600)
            .open(&paths.log)
            .map_err(trouble)?;
    let filter = tracing_subscriber::EnvFilter::try_from_env("SESSD_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn,sessd=info"));
    // Fails only when there is a log already.
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_writer(file).try_init();
    Ok(())
}
