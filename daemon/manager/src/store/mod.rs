//! The records in SQLite: WAL, foreign keys, one writer. A row becomes a record or an error, never a default.
//!
//! A database that is damaged is kept aside under another name and never written again.

mod batch;
mod forwards;
mod rows;
mod trouble;

use batch::{Change, Queue};
pub use forwards::ForwardRow;
use rows::{COLUMNS, record, screen, upsert};
use sessd_base::files;
use sessd_core::Record;
pub use sessd_core::last_screen::Screen;
use sessd_proto::Uuid;
use sessd_proto::docs::names::PREFIX_MIN;
use sessd_proto::docs::{Error, Kind, Result, State};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqliteLockingMode, SqlitePool, SqlitePoolOptions, SqliteRow,
    SqliteSynchronous,
};
use sqlx::{Row, SqliteConnection};
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;
use trouble::{DAMAGED, Trouble, cannot_open, is_damage, keep_aside};

/// The open database.
#[derive(Debug, Clone)]
pub struct Store {
    pool: SqlitePool,
    /// The records that are done, the one that ended last first, once they were asked for: there may be many thousands, a
    /// list wants all of them, and only this store changes them.
    done: Rc<RefCell<Option<Vec<Record>>>>,
    queue: Rc<Queue>,
}

/// What opening came to.
#[derive(Debug)]
pub struct Opened {
    /// The database.
    pub store: Store,
    /// Where a damaged one was put, if there was one.
    pub kept_aside: Option<PathBuf>,
}

impl Store {
    /// Opens the database at `path`, making or migrating it.
    ///
    /// # Errors
    /// When it cannot be opened for another reason than damage: no space, no permission.
    pub async fn open(path: &Path, now_ms: i64) -> Result<Opened> {
        match Self::try_open(path).await {
            Ok(store) => Ok(Opened { store, kept_aside: None }),
            Err(error) if is_damage(&error) => {
                let aside = keep_aside(path, now_ms).map_err(|why| {
                    Error::failed(
                        format!("{} is damaged and cannot be moved away ({why})", path.display()),
                        "move it away",
                    )
                })?;
                let store = Self::try_open(path).await.map_err(|e| cannot_open(path, &e))?;
                Ok(Opened { store, kept_aside: Some(aside) })
            }
            Err(error) => Err(cannot_open(path, &error)),
        }
    }

    async fn try_open(path: &Path) -> Result<Self, sqlx::Error> {
        // For us alone, and no pipe: SQLite makes its other files with the permissions of this one.
        drop(files::open_private(path, File::options().read(true).write(true).create(true).truncate(false))?);
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // Nobody else writes here, and so no memory is shared through a file: on a disk that becomes read-only, touching
            // that would be the end of the process, and on a network's disk it is not to be had.
            .locking_mode(SqliteLockingMode::Exclusive)
            // A record that was acknowledged survives a power cut.
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            // What is forgotten does not stay in the file's free pages.
            .pragma("secure_delete", "ON")
            .busy_timeout(Duration::from_secs(5));
        let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await?;
        let check: String = sqlx::query_scalar("PRAGMA quick_check(1)").fetch_one(&pool).await?;
        if check != "ok" {
            pool.close().await;
            return Err(sqlx::Error::Protocol(format!("{DAMAGED}{check}")));
        }
        sqlx::migrate!("../../migrations").run(&pool).await?;
        // One that can only be read is of no use, and is best said before anything is begun.
        sqlx::query("BEGIN IMMEDIATE").execute(&pool).await?;
        sqlx::query("ROLLBACK").execute(&pool).await?;
        Ok(Self { pool, done: Rc::default(), queue: Rc::default() })
    }

    /// A fact about this manager, made by `make` when asked for the first time.
    pub async fn fact(&self, name: &str, make: impl FnOnce() -> String) -> Result<String> {
        sqlx::query("INSERT INTO facts (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING")
            .bind(name)
            .bind(make())
            .execute(&self.pool)
            .await
            .map_err(Trouble::Sql)?;
        Ok(sqlx::query_scalar("SELECT value FROM facts WHERE name = $1")
            .bind(name)
            .fetch_one(&self.pool)
            .await
            .map_err(Trouble::Sql)?)
    }

    /// Keeps a record, whole: it replaces what was kept before.
    ///
    /// # Errors
    /// [`Kind::NameTaken`] when another live session has the name.
    pub async fn save(&self, record: &Record) -> Result<()> {
        let change = Change::Keep(Box::new(record.clone()));
        self.change(change).await.map_err(|error| or_taken(record, error))
    }

    /// Keeps a record together with what `and` writes, or neither.
    async fn save_and(
        &self,
        record: &Record,
        and: impl AsyncFnOnce(&mut SqliteConnection) -> Result<(), sqlx::Error>,
    ) -> Result<()> {
        self.write(async |db| {
            upsert(db, record).await?;
            and(db).await
        })
        .await
        .map_err(|error| or_taken(record, error))?;
        self.remember(record);
        Ok(())
    }

    /// What was written is what a list shows.
    fn remember(&self, record: &Record) {
        if let Some(done) = self.done.borrow_mut().as_mut() {
            done.retain(|known| known.id != record.id);
            if let Some(end) = record.ended() {
                let at = done.partition_point(|known| known.ended().is_some_and(|e| e.at_ms > end.at_ms));
                done.insert(at, record.clone());
            }
        }
    }

    /// Writes, all or nothing. Not by sqlx's own transactions: when the disk is full SQLite ends one by itself, sqlx goes on
    /// counting, and every later one is a part of one that is never committed. After any failure the connection is given
    /// up, and with it whatever state it is in.
    async fn write<T>(
        &self,
        work: impl AsyncFnOnce(&mut SqliteConnection) -> Result<T, sqlx::Error>,
    ) -> Result<T, Trouble> {
        let mut db = self.pool.acquire().await?;
        crate::failpoints::slow_disk().await;
        let result = async {
            sqlx::query("BEGIN IMMEDIATE").execute(&mut *db).await?;
            let value = work(&mut db).await?;
            sqlx::query("COMMIT").execute(&mut *db).await?;
            Ok(value)
        }
        .await;
        if result.is_err() {
            // What SQLite ended by itself cannot be ended again.
            let _ = sqlx::query("ROLLBACK").execute(&mut *db).await;
            db.close_on_drop();
        }
        result.map_err(Trouble::Sql)
    }

    /// Keeps the record of a session that has ended together with its last screen, or neither.
    ///
    /// # Errors
    /// As [`Self::save`].
    pub async fn save_done(&self, record: &Record, screen: Option<&Screen>) -> Result<()> {
        let change = Change::Done(Box::new(record.clone()), screen.cloned());
        Ok(self.change(change).await?)
    }

    /// Keeps many records in one go: for what fills a database to measure it.
    ///
    /// # Errors
    /// As [`Self::save`], for all of them.
    #[cfg(any(test, feature = "records"))]
    pub async fn save_all(&self, records: &[Record]) -> Result<()> {
        let write = async |db: &mut SqliteConnection| {
            for record in records {
                upsert(db, record).await?;
            }
            Ok(())
        };
        self.write(write).await?;
        records.iter().for_each(|record| self.remember(record));
        Ok(())
    }

    /// The last screen of a session, if one was kept.
    pub async fn screen(&self, id: Uuid) -> Result<Option<Screen>> {
        let row = sqlx::query("SELECT cols, rows, snapshot FROM screens WHERE session_id = $1")
            .bind(id.to_string())
            .fetch_optional(&self.pool)
            .await
            .map_err(Trouble::Sql)?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(screen(&row)?))
    }

    /// Forgets a record.
    pub async fn forget(&self, id: Uuid) -> Result<()> {
        Ok(self.change(Change::Forget(id)).await?)
    }

    /// Forgets many records at once, or none.
    ///
    /// # Errors
    /// When the database does not take it.
    pub async fn forget_all(&self, ids: &HashSet<Uuid>) -> Result<()> {
        let delete = async |db: &mut SqliteConnection| {
            for id in ids {
                let id = id.to_string();
                sqlx::query("DELETE FROM sessions WHERE id = $1").bind(id).execute(&mut *db).await?;
            }
            Ok(())
        };
        self.write(delete).await?;
        self.is_forgotten(ids).await;
        Ok(())
    }

    /// These are in the database no more, and in nothing that is kept beside it.
    async fn is_forgotten(&self, ids: &HashSet<Uuid>) {
        if let Some(done) = self.done.borrow_mut().as_mut() {
            done.retain(|known| !ids.contains(&known.id));
        }
        self.soon_empty_journal().await;
    }

    /// What was forgotten is in the journal until that is begun anew: a session's environment may hold secrets.
    async fn empty_journal(&self) {
        if let Err(error) = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&self.pool).await {
            tracing::warn!(%error, "what was forgotten stays in the database's journal for now");
        }
    }

    /// Every record that is not done.
    pub async fn live(&self) -> Result<Vec<Record>> {
        Ok(self.select("WHERE state <> 'done' ORDER BY created_at_ms, id").await?)
    }

    /// The record of this id.
    pub async fn get(&self, id: Uuid) -> Result<Option<Record>> {
        Ok(self.select_with("WHERE id = $1", &[&id.to_string()]).await?.into_iter().next())
    }

    /// The record of this id, if it is done.
    pub async fn get_done(&self, id: Uuid) -> Result<Option<Record>> {
        Ok(self.get(id).await?.filter(|record| record.state == State::Done))
    }

    /// Is there a record of this id?
    pub async fn has(&self, id: Uuid) -> Result<bool> {
        Ok(self.get(id).await?.is_some())
    }

    /// Every record that is done, the one that ended last first.
    pub async fn done(&self) -> Result<Vec<Record>> {
        self.with_done(<[Record]>::to_vec).await
    }

    /// Looks at every record that is done, the one that ended last first.
    pub async fn with_done<T>(&self, look: impl FnOnce(&[Record]) -> T) -> Result<T> {
        if self.done.borrow().is_none() {
            // What is written from here on waits for the connection, and finds what is remembered.
            let mut db = self.pool.acquire().await.map_err(Trouble::Sql)?;
            let all = Self::read(&mut db, "WHERE state = 'done' ORDER BY end_at_ms DESC, id", &[]).await?;
            *self.done.borrow_mut() = Some(all);
        }
        Ok(look(self.done.borrow().as_deref().unwrap_or_default()))
    }

    /// Records that are done and may be what `selector` means: by name, or by the beginning of their id. The one that
    /// ended last first.
    pub async fn done_like(&self, selector: &str) -> Result<Vec<Record>> {
        // Ids are between their beginning and what comes after it: an index finds those. Names are few to look at.
        let (low, high) = (selector.to_ascii_lowercase(), format!("{}~", selector.to_ascii_lowercase()));
        // The end of an id is looked for among all of them, where it can be one at all.
        let hex = |c: char| c.is_ascii_hexdigit() || c == '-';
        let end = if selector.len() >= PREFIX_MIN && selector.chars().all(hex) {
            format!("%{low}")
        } else {
            String::new()
        };
        let rest = "WHERE state = 'done' AND (name = $1 OR (id >= $2 AND id <= $3) OR id LIKE $4) ORDER BY end_at_ms DESC, id";
        Ok(self.select_with(rest, &[selector, &low, &high, &end]).await?)
    }

    /// Forgets what was done before `before_ms`, and says what that was.
    pub async fn forget_done(&self, before_ms: i64) -> Result<Vec<Record>> {
        let gone = self.select(&format!("WHERE state = 'done' AND end_at_ms < {before_ms}")).await?;
        if !gone.is_empty() {
            let sql = "DELETE FROM sessions WHERE state = 'done' AND end_at_ms < $1";
            self.write(async |db| sqlx::query(sql).bind(before_ms).execute(db).await).await?;
            if let Some(done) = self.done.borrow_mut().as_mut() {
                done.retain(|known| known.ended().is_none_or(|end| end.at_ms >= before_ms));
            }
            self.empty_journal().await;
        }
        Ok(gone)
    }

    /// Records of sessions on the host `from` that are done are on `to` from now on. How many those were.
    ///
    /// # Errors
    /// When the database does not take it.
    pub async fn rename_host(&self, from: &str, to: &str) -> Result<usize> {
        let sql = "UPDATE sessions SET host = $2 WHERE state = 'done' AND host = $1";
        let rows = self.write(async |db| sqlx::query(sql).bind(from).bind(to).execute(db).await).await?;
        if let Some(done) = self.done.borrow_mut().as_mut() {
            done.iter_mut()
                .filter(|known| known.host == from)
                .for_each(|known| to.clone_into(&mut known.host));
        }
        Ok(rows.rows_affected() as usize)
    }

    /// Has a session on `host` ended since?
    pub async fn ended_since(&self, host: &str, since_ms: i64) -> Result<bool> {
        let row = sqlx::query(
            "SELECT id FROM sessions WHERE state = 'done' AND end_at_ms >= $1 AND host = $2 LIMIT 1",
        )
        .bind(since_ms)
        .bind(host)
        .fetch_optional(&self.pool)
        .await
        .map_err(Trouble::Sql)?;
        Ok(row.is_some())
    }

    /// Every job of a record on `host` that is done, as the id of the job and of the session.
    pub async fn done_jobs(&self, host: &str) -> Result<HashMap<String, String>> {
        let rows = sqlx::query("SELECT job_id, id FROM sessions WHERE state = 'done' AND host = $1")
            .bind(host)
            .fetch_all(&self.pool)
            .await
            .map_err(Trouble::Sql)?;
        let both =
            |row: &SqliteRow| -> Result<_, Trouble> { Ok((row.try_get("job_id")?, row.try_get("id")?)) };
        Ok(rows.iter().map(both).collect::<Result<_, _>>()?)
    }

    async fn select(&self, rest: &str) -> Result<Vec<Record>, Trouble> {
        self.select_with(rest, &[]).await
    }

    async fn select_with(&self, rest: &str, arguments: &[&str]) -> Result<Vec<Record>, Trouble> {
        let mut db = self.pool.acquire().await?;
        Self::read(&mut db, rest, arguments).await
    }

    /// Rows and their tags, with nothing written between the two: there is one connection, and it is in hand.
    async fn read(db: &mut SqliteConnection, rest: &str, arguments: &[&str]) -> Result<Vec<Record>, Trouble> {
        let sql = format!("SELECT {COLUMNS} FROM sessions {rest}");
        let mut query = sqlx::query(sqlx::AssertSqlSafe(sql));
        for argument in arguments {
            query = query.bind(*argument);
        }
        let rows = query.fetch_all(&mut *db).await?;
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let from = rest.split(" ORDER BY").next().unwrap_or_default();
        let sql = format!(
            "SELECT session_id, key, value FROM tags WHERE session_id IN (SELECT id FROM sessions {from})"
        );
        let mut query = sqlx::query(sqlx::AssertSqlSafe(sql));
        for argument in arguments {
            query = query.bind(*argument);
        }
        let all_tags = query.fetch_all(&mut *db).await?;
        let mut tags: HashMap<String, BTreeMap<String, String>> = HashMap::new();
        for row in &all_tags {
            tags.entry(row.try_get("session_id")?)
                .or_default()
                .insert(row.try_get("key")?, row.try_get("value")?);
        }
        // One that cannot be read is one that a newer version wrote, or a person: it stays as it is, and costs no other.
        let readable = |row| {
            let mut record = record(row)
                .map_err(|error: Trouble| {
                    let id: String = row.try_get("id").unwrap_or_default();
                    tracing::error!(
                        session = id,
                        error = Error::from(error).line(),
                        "a record cannot be read and is left alone"
                    );
                })
                .ok()?;
            record.tags = tags.remove(&record.id.to_string()).unwrap_or_default();
            Some(record)
        };
        Ok(rows.iter().filter_map(readable).collect())
    }

    /// Writes all records to a new file at `path`.
    ///
    /// # Errors
    /// When it is there already, or cannot be written.
    pub async fn write_to(&self, path: &Path) -> Result<()> {
        files::open_private(path, File::options().write(true).create_new(true)).map_err(|e| {
            Error::failed(format!("{} cannot be written ({e})", path.display()), "check its folder")
        })?;
        sqlx::query("VACUUM INTO $1")
            .bind(path.to_string_lossy().into_owned())
            .execute(&self.pool)
            .await
            .map_err(Trouble::Sql)?;
        Ok(())
    }

    /// Writes what is open and closes.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

#[cfg(test)]
mod tests;

/// What could not be kept, where it was its name.
fn or_taken(record: &Record, error: Trouble) -> Error {
    match &error {
        Trouble::Sql(sqlx::Error::Database(e)) if e.is_unique_violation() => Error::new(
            Kind::NameTaken,
            format!("the name `{}` is taken", record.label()),
            "choose another, or see who has it with `sessd list`",
        ),
        _ => error.into(),
    }
}
