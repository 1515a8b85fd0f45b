//! The manager's socket: who may come in, and one task per connection.

mod conn;
mod house;

use crate::manager::Manager;
use crate::seat::Seat;
use house::House;
use std::rc::Rc;
use std::time::Duration;
use tokio::task::JoinSet;

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
        // The door may be another one by now.
        let (listener, moved) = (seat.listener(), seat.moved());
        let stream = tokio::select! {
            () = manager.stopped() => return,
            () = moved => continue,
            Some(_) = people.join_next() => continue,
            accepted = listener.accept() => match accepted {
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
