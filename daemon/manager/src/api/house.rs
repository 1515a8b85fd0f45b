//! Who is inside: each connection's place, and what all of them together may keep in memory.

use crate::wire::{Held, OutQueue, Pool};
use sessd_core::guests::{GuestId, Guests, PLACES, Welcome};
use sessd_proto::messages::{Close, CloseReason};
use sessd_proto::{Frame, hello};
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::{Notify, Semaphore};

/// Bytes that may wait for all who are inside; whoever reads least loses its connection beyond it.
const WAITING_MAX: usize = 128 << 20;
/// Bytes of requests that have begun and not ended. Those that fit into a block of 64 kB each do not count.
const UNFINISHED_MAX: usize = 32 << 20;
/// How many may be told at a time that there is no place.
const TURNED_AWAY_MAX: usize = 64;
/// How long one who has no place has to read so.
const TURN_AWAY: Duration = Duration::from_secs(2);

/// Why somebody cannot come in when every place is taken.
pub(super) fn full() -> String {
    format!("the manager has {PLACES} connections, as many as it takes: end some views or scripts")
}

/// The same when the system gives no descriptor for it.
pub(super) const NO_DESCRIPTORS: &str = "the manager has as many open files as its limit lets it: end some views, or raise \
     `ulimit -n` and `sessd daemon restart`";

/// The manager's room for connections.
pub(super) struct House {
    guests: RefCell<Guests>,
    doors: RefCell<HashMap<GuestId, Rc<Notify>>>,
    queues: Pool,
    unfinished: Held,
    /// Documents are made one after the other, with everything else in between: many who ask at once wait for each other.
    documents: Semaphore,
    turned_away: Rc<()>,
    began: Instant,
}

/// One connection's place, until it is dropped.
pub(super) struct ConnectionSlot {
    house: Rc<House>,
    id: GuestId,
    door: Rc<Notify>,
}

impl House {
    pub(super) fn new() -> Rc<Self> {
        Rc::new(Self {
            guests: RefCell::default(),
            doors: RefCell::default(),
            queues: Pool::new(WAITING_MAX),
            unfinished: Held::default(),
            documents: Semaphore::new(1),
            turned_away: Rc::new(()),
            began: Instant::now(),
        })
    }

    fn now_ms(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }

    /// A place for one who comes, perhaps that of one who said nothing for longest. None: there is none.
    pub(super) fn arrive(self: &Rc<Self>) -> Option<ConnectionSlot> {
        let (id, gone) = match self.guests.borrow_mut().arrive(self.now_ms()) {
            Welcome::Come(id) => (id, None),
            Welcome::InPlaceOf(id, gone) => (id, Some(gone)),
            Welcome::Full => return None,
        };
        if let Some(door) = gone.and_then(|gone| self.doors.borrow_mut().remove(&gone)) {
            door.notify_one();
        }
        let door = Rc::new(Notify::new());
        self.doors.borrow_mut().insert(id, door.clone());
        Some(ConnectionSlot { house: self.clone(), id, door })
    }

    /// Tells one who comes that there is no place.
    pub(super) async fn turn_away(self: Rc<Self>, mut stream: UnixStream, detail: String) {
        let inside = self.turned_away.clone();
        if Rc::strong_count(&inside) > TURNED_AWAY_MAX {
            return;
        }
        let mut words = Frame::Hello(hello::hello(env!("CARGO_PKG_VERSION"), "")).to_bytes(0);
        Frame::Close(Close { reason: CloseReason::TooMany as i32, detail }).put(0, &mut words);
        let tell = async {
            stream.write_all(&words).await?;
            // It speaks first: closed before that, it would never read what we say.
            stream.read(&mut [0; 1024]).await
        };
        // Who does not listen is not told.
        let _ = tokio::time::timeout(TURN_AWAY, tell).await;
    }
}

impl ConnectionSlot {
    /// A queue of what goes out.
    pub(super) fn queue(&self) -> OutQueue {
        self.house.queues.queue()
    }

    /// Where bytes of unfinished requests are counted, and how many there may be.
    pub(super) fn unfinished(&self) -> (Held, usize) {
        (self.house.unfinished.clone(), UNFINISHED_MAX)
    }

    /// Ready when the place is somebody else's.
    pub(super) async fn lost(&self) {
        self.door.notified().await;
    }

    /// It waits for an answer.
    pub(super) fn asks(&self) {
        self.house.guests.borrow_mut().asks(self.id);
    }

    /// It was answered.
    pub(super) fn answered(&self) {
        self.house.guests.borrow_mut().answered(self.id, self.house.now_ms());
    }

    /// It wants to stay, as a view or to listen. False: too many do.
    pub(super) fn stay(&self) -> bool {
        self.house.guests.borrow_mut().stay(self.id)
    }

    /// Makes a document when it is its turn.
    pub(super) async fn in_turn<T>(&self, make: impl Future<Output = T>) -> T {
        // Fails only when it is closed, which it never is.
        let _turn = self.house.documents.acquire().await;
        let made = make.await;
        tokio::task::yield_now().await;
        made
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        self.house.guests.borrow_mut().leave(self.id);
        self.house.doors.borrow_mut().remove(&self.id);
    }
}
