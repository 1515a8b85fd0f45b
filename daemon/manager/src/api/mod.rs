//! The manager's socket: who may come in, and one task per connection.

mod conn;
mod house;
mod questions;

use crate::manager::Manager;
use house::House;
use sessd_base::instance_lock::InstanceLock;
use std::cell::RefCell;
use std::fs::File;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;

/// How often it is written down that nobody can come in.
const COMPLAIN_AGAIN: Duration = Duration::from_secs(60);

/// Descriptors that are kept for when there is no other left: so many may be told at a time why they came in vain.
const SPARE: usize = 8;
/// How long one of them has to hear it.
const IN_VAIN: Duration = Duration::from_millis(300);

/// They are kept open on nothing.
struct Spare(Rc<RefCell<Vec<File>>>);

/// One of them is in use; it is kept again when this is dropped.
struct Taken(Rc<RefCell<Vec<File>>>);

impl Spare {
    fn new() -> Self {
        Self(Rc::new(RefCell::new((0..SPARE).filter_map(|_| File::open("/dev/null").ok()).collect())))
    }

    /// Lets one in on a spare descriptor, if there is one that is not in use.
    async fn accept(&self, listener: &UnixListener) -> Option<(UnixStream, Taken)> {
        drop(self.0.borrow_mut().pop()?);
        let taken = Taken(self.0.clone());
        let accepted = tokio::time::timeout(Duration::from_millis(100), listener.accept()).await;
        accepted.ok()?.ok().map(|(stream, _)| (stream, taken))
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.0.borrow_mut().extend(File::open("/dev/null").ok());
    }
}

/// Lets clients in until the manager stops; then they get what is on its way to them, and no more than a second for it.
pub async fn serve(lock: &InstanceLock, manager: &Rc<Manager>) {
    let mut clients = JoinSet::new();
    accept(lock, manager, &House::new(), &mut clients).await;
    let _ =
        tokio::time::timeout(Duration::from_secs(1), async { while clients.join_next().await.is_some() {} })
            .await;
}

async fn accept(lock: &InstanceLock, manager: &Rc<Manager>, house: &Rc<House>, clients: &mut JoinSet<()>) {
    let own = rustix::process::getuid().as_raw();
    let spare = Spare::new();
    let mut complained: Option<Instant> = None;
    loop {
        // The door may be another one by now.
        let (listener, moved) = (lock.listener(), lock.moved());
        let stream = tokio::select! {
            () = manager.stopped() => return,
            () = moved => continue,
            Some(_) = clients.join_next() => continue,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Out of descriptors, most likely: those inside go on, and somebody may leave.
                    if complained.is_none_or(|at| at.elapsed() > COMPLAIN_AGAIN) {
                        tracing::warn!(%error, "nobody can come in");
                        complained = Some(Instant::now());
                    }
                    match spare.accept(&listener).await {
                        Some((stream, taken)) => {
                            let told = house.clone().turn_away(stream, house::NO_DESCRIPTORS.to_owned());
                            clients.spawn_local(async move {
                                // Who does not listen keeps the next one waiting.
                                let _ = tokio::time::timeout(IN_VAIN, told).await;
                                drop(taken);
                            });
                        }
                        None => tokio::time::sleep(Duration::from_millis(100)).await,
                    }
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
                clients.spawn_local(async move { conn::run(stream, manager, place).await });
            }
            None => {
                clients.spawn_local(house.clone().turn_away(stream, house::full()));
            }
        }
    }
}
