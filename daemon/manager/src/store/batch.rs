//! Writes that wait for the disk together: what is asked for while one is under way goes down behind it in one transaction. A
//! thousand sessions that are ended at once wait for a few writes, and not each for all before it.

use super::rows::upsert;
use super::trouble::Trouble;
use super::{Screen, Store};
use sessd_core::Record;
use sessd_proto::Uuid;
use sqlx::SqliteConnection;
use std::cell::{Cell, RefCell};
use std::collections::{HashSet, VecDeque};
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;

/// Changes in one transaction at the most: who reads waits for it.
const MOST: usize = 256;

/// How long it is waited for more to forget, while it is known that more comes. Each write has the disk put down whatever else is under way
/// on it, and the agent of this machine, which removes what is left of those jobs, waits for that.
const GATHER: Duration = Duration::from_millis(30);

/// What becomes of one record.
#[derive(Debug)]
pub(super) enum Change {
    /// It is kept, whole.
    Keep(Box<Record>),
    /// The same, together with its last screen.
    Done(Box<Record>, Option<Screen>),
    /// It is forgotten.
    Forget(Uuid),
}

/// One that waits, and who hears of it.
type Waiting = (Rc<Change>, oneshot::Sender<Result<(), Trouble>>);

/// Changes that wait for their turn: one of each session and of each verb, which hear of it before they have another.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: RefCell<VecDeque<Waiting>>,
    turn: tokio::sync::Mutex<()>,
    /// Those who forget many.
    many: Cell<usize>,
    /// What was forgotten is in the journal still.
    in_journal: Cell<bool>,
}

/// Somebody forgets many records, as long as this lives.
#[derive(Debug)]
pub struct Many(Store);

impl Many {
    /// All of it is forgotten, and in no file any more.
    pub async fn end(self) {
        let store = self.0.clone();
        drop(self);
        if store.queue.many.get() == 0 && store.queue.in_journal.take() {
            store.empty_journal().await;
        }
    }
}

impl Drop for Many {
    fn drop(&mut self) {
        let many = &self.0.queue.many;
        many.set(many.get().saturating_sub(1));
    }
}

impl Store {
    /// Many records are going to be forgotten.
    pub fn many(&self) -> Many {
        self.queue.many.set(self.queue.many.get() + 1);
        Many(self.clone())
    }

    /// What was forgotten is taken out of the journal, now or when the many are.
    pub(super) async fn soon_empty_journal(&self) {
        if self.queue.many.get() > 0 {
            self.queue.in_journal.set(true);
        } else {
            self.queue.in_journal.set(false);
            self.empty_journal().await;
        }
    }

    /// Makes the change, with all that wait by then. It is on the disk, or this is an error.
    pub(super) async fn change(&self, change: Change) -> Result<(), Trouble> {
        let change = Rc::new(change);
        // Once more where whoever wrote it was given up in the middle of that.
        loop {
            let (tell, mut told) = oneshot::channel();
            self.queue.waiting.borrow_mut().push_back((Rc::clone(&change), tell));
            // Turns come in the order they were asked for: by ours, all before is written, and maybe this too.
            let _turn = self.queue.turn.lock().await;
            match told.try_recv() {
                Ok(result) => return result,
                Err(TryRecvError::Closed) => continue,
                Err(TryRecvError::Empty) => {}
            }
            if matches!(*change, Change::Forget(_)) && self.queue.many.get() > 0 {
                tokio::time::sleep(GATHER).await;
            }
            let batch: Vec<Waiting> = {
                let mut waiting = self.queue.waiting.borrow_mut();
                let most = waiting.len().min(MOST);
                waiting.drain(..most).collect()
            };
            self.write_together(batch).await;
            if let Ok(result) = told.try_recv() {
                return result;
            }
        }
    }

    async fn write_together(&self, batch: Vec<Waiting>) {
        let all = async |db: &mut SqliteConnection| {
            for (change, _) in &batch {
                apply(db, change).await?;
            }
            Ok(())
        };
        let together = batch.len() > 1 && self.write(all).await.is_ok();
        let mut results = Vec::with_capacity(batch.len());
        for (change, _) in &batch {
            // One that cannot be, or a disk that is full, is not the others' doing: each is told how it went with its own.
            results.push(if together {
                Ok(())
            } else {
                self.write(async |db| apply(db, change).await).await
            });
        }
        let written = |at: &usize| results[*at].is_ok();
        let mut forgotten = HashSet::new();
        for (change, _) in (0..batch.len()).filter(written).map(|at| &batch[at]) {
            match &**change {
                Change::Keep(record) | Change::Done(record, _) => self.remember(record),
                Change::Forget(id) => {
                    forgotten.insert(*id);
                }
            }
        }
        if !forgotten.is_empty() {
            self.is_forgotten(&forgotten).await;
        }
        for ((_, tell), result) in batch.into_iter().zip(results) {
            // Who left does not hear it.
            let _ = tell.send(result);
        }
    }
}

async fn apply(db: &mut SqliteConnection, change: &Change) -> Result<(), sqlx::Error> {
    match change {
        Change::Keep(record) => upsert(db, record).await,
        Change::Done(record, screen) => {
            upsert(db, record).await?;
            let id = record.id.to_string();
            sqlx::query("DELETE FROM screens WHERE session_id = $1").bind(&id).execute(&mut *db).await?;
            if let Some(screen) = screen {
                sqlx::query("INSERT INTO screens (session_id, cols, rows, snapshot) VALUES ($1, $2, $3, $4)")
                    .bind(&id)
                    .bind(i64::from(screen.size.0))
                    .bind(i64::from(screen.size.1))
                    .bind(screen.snapshot.as_slice())
                    .execute(&mut *db)
                    .await?;
            }
            Ok(())
        }
        Change::Forget(id) => {
            sqlx::query("DELETE FROM sessions WHERE id = $1").bind(id.to_string()).execute(db).await.map(drop)
        }
    }
}
