//! Which connection is which view. A browser that lost its network comes again while its old connection, of which nothing will be
//! heard any more, still stands here; to the manager, whose views are one connection each, the view would be there already.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, Semaphore};

/// How long whoever comes again waits for the old connection to end.
const LEAVES_WITHIN: Duration = Duration::from_secs(1);

/// A view of a browser: nobody else's browser has its seat by knowing its id.
type Key = (String, Vec<u8>);

/// All seats: one for each connection that is a view.
#[derive(Debug, Default, Clone)]
pub(crate) struct Seats(Arc<Mutex<HashMap<Key, Arc<Sitter>>>>);

#[derive(Debug)]
struct Sitter {
    leave: Notify,
    /// Closed once its connection to the manager is gone.
    left: Semaphore,
}

/// One connection's.
#[derive(Debug)]
pub(crate) struct Seat {
    all: Seats,
    sitter: Arc<Sitter>,
    key: Mutex<Option<Key>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Seats {
    /// For a connection that is no view yet.
    pub(crate) fn seat(&self) -> Seat {
        let sitter = Sitter { leave: Notify::new(), left: Semaphore::new(0) };
        Seat { all: self.clone(), sitter: Arc::new(sitter), key: Mutex::new(None) }
    }
}

impl Seat {
    /// This connection is that view of that browser; an older one that was it ends first.
    pub(crate) async fn take(&self, browser: &str, view: &[u8]) {
        let key = (browser.to_owned(), view.to_owned());
        if lock(&self.key).replace(key.clone()).is_some_and(|before| before != key) {
            // It says something else now, to which the manager has an answer.
            return;
        }
        let before = lock(&self.all.0).insert(key, Arc::clone(&self.sitter));
        if let Some(before) = before.filter(|before| !Arc::ptr_eq(before, &self.sitter)) {
            before.leave.notify_one();
            let _ = tokio::time::timeout(LEAVES_WITHIN, before.left.acquire()).await;
        }
    }

    /// Until another connection is this view.
    pub(crate) async fn taken(&self) {
        self.sitter.leave.notified().await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.sitter.left.close();
        if let Some(key) = lock(&self.key).take() {
            let mut all = lock(&self.all.0);
            if all.get(&key).is_some_and(|sitter| Arc::ptr_eq(sitter, &self.sitter)) {
                all.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_view_that_comes_again_has_its_old_connection_ended_first_and_nobody_elses() {
        let seats = Seats::default();
        let (old, other, new) = (seats.seat(), seats.seat(), seats.seat());
        old.take("laptop", b"view").await;
        other.take("phone", b"view").await;
        let leaves = async {
            old.taken().await;
            drop(old);
        };
        tokio::join!(new.take("laptop", b"view"), leaves);
        let soon = Duration::from_millis(1);
        assert!(tokio::time::timeout(soon, other.taken()).await.is_err(), "another browser's");
        assert!(tokio::time::timeout(soon, new.taken()).await.is_err(), "the new one's");
        drop((new, other));
        assert!(lock(&seats.0).is_empty());
    }
}
