//! The manager's socket: who may come in, and one task per connection.

mod conn;
mod house;

use crate::error::{Error, Result};
use crate::manager::Manager;
use crate::paths::Paths;
use house::House;
use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::rc::Rc;
use std::time::Duration;
use tokio::net::UnixListener;
use tokio::task::JoinSet;

/// The right to be the manager: a lock that the kernel lets go of whatever happens, and the socket.
#[derive(Debug)]
pub struct Seat {
    listener: UnixListener,
    _lock: File,
}

/// Takes the seat.
///
/// # Errors
/// When another manager has it: [`None`] inside `Ok`. Otherwise what is wrong with the folder.
pub fn take_seat(paths: &Paths) -> Result<Option<Seat>> {
    let trouble = |what: &std::path::Path, error: std::io::Error| {
        Error::failed(
            format!("{} cannot be used ({error})", what.display()),
            "check its folder's permissions",
        )
    };
    let lock = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&paths.lock)
        .map_err(|e| trouble(&paths.lock, e))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(std::fs::TryLockError::WouldBlock) => return Ok(None),
        Err(std::fs::TryLockError::Error(error)) => return Err(trouble(&paths.lock, error)),
    }
    // With the lock in hand, a socket that is here belongs to nobody alive.
    match std::fs::remove_file(&paths.socket) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(trouble(&paths.socket, error));
        }
        _ => {}
    }
    let listener = UnixListener::bind(&paths.socket).map_err(|e| trouble(&paths.socket, e))?;
    std::fs::set_permissions(&paths.socket, PermissionsExt::from_mode(0o600))
        .map_err(|e| trouble(&paths.socket, e))?;
    Ok(Some(Seat { listener, _lock: lock }))
}

/// Lets people in until the manager stops; then they get what is on its way to them, and no more than a second for it.
pub async fn serve(seat: &Seat, manager: &Rc<Manager>) {
    let mut people = JoinSet::new();
    let_in(seat, manager, &House::new(), &mut people).await;
    let _ =
        tokio::time::timeout(Duration::from_secs(1), async { while people.join_next().await.is_some() {} })
            .await;
}

async fn let_in(seat: &Seat, manager: &Rc<Manager>, house: &Rc<House>, people: &mut JoinSet<()>) {
    let own = rustix::process::getuid().as_raw();
    loop {
        let stream = tokio::select! {
            () = manager.stopped() => return,
            Some(_) = people.join_next() => continue,
            accepted = seat.listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Out of descriptors, most likely: those inside go on, and somebody may leave.
                    tracing::warn!(%error, "nobody can come in");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
        };
        if !stream.peer_cred().is_ok_and(|peer| peer.uid() == own) {
            continue;
        }
        match house.arrive() {
            Some(place) => {
                let manager = manager.clone();
                people.spawn_local(async move { conn::run(stream, manager, place).await });
            }
            None => {
                people.spawn_local(house.clone().turn_away(stream));
            }
        }
    }
}
