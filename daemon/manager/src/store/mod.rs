//! The records in SQLite: WAL, foreign keys, one writer. A row becomes a record or an error, never a default.
//!
//! A database that is damaged is kept aside under another name and never written again.

use sessd_base::files;
use sessd_base::seat;
pub use sessd_core::last_screen::Screen;
use sessd_core::record::Untold;
use sessd_core::{End, Record};
use sessd_proto::Uuid;
use sessd_proto::docs::names::PREFIX_MIN;
use sessd_proto::docs::{Error, Kind, Reason, Result, SizePolicy, State, Vocabulary};
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

/// The open database.
#[derive(Debug, Clone)]
pub struct Store {
    pool: SqlitePool,
    /// The records that are done, the one that ended last first, once they were asked for: there may be many thousands, a
    /// list wants all of them, and only this store changes them.
    done: Rc<RefCell<Option<Vec<Record>>>>,
}

/// What opening came to.
#[derive(Debug)]
pub struct Opened {
    /// The database.
    pub store: Store,
    /// Where a damaged one was put, if there was one.
    pub kept_aside: Option<PathBuf>,
}

const COLUMNS: &str = "id, name, host, command, cwd, env, cols, rows, idle_timeout_ms, reap_unattended, created_at_ms, job_id, \
     state, delete_requested, last_active_ms, place, end_reason, end_code, end_signal, end_at_ms, end_detail, name_untold, \
     tags_untold, plain, run_for_ms, restart_job_id, size_policy";

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
        Ok(Self { pool, done: Rc::default() })
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
        let taken = |error: Trouble| match &error {
            Trouble::Sql(sqlx::Error::Database(e)) if e.is_unique_violation() => Error::new(
                Kind::NameTaken,
                format!("the name `{}` is taken", record.label()),
                "choose another, or see who has it with `sessd list`",
            ),
            _ => error.into(),
        };
        self.write(async |db| upsert(db, record).await).await.map_err(taken)?;
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
        crate::faults::slow_disk().await;
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
        let write = async |db: &mut SqliteConnection| {
            upsert(db, record).await?;
            sqlx::query("DELETE FROM screens WHERE session_id = $1")
                .bind(record.id.to_string())
                .execute(&mut *db)
                .await?;
            if let Some(screen) = screen {
                sqlx::query("INSERT INTO screens (session_id, cols, rows, snapshot) VALUES ($1, $2, $3, $4)")
                    .bind(record.id.to_string())
                    .bind(i64::from(screen.size.0))
                    .bind(i64::from(screen.size.1))
                    .bind(screen.snapshot.as_slice())
                    .execute(&mut *db)
                    .await?;
            }
            Ok(())
        };
        self.write(write).await?;
        self.remember(record);
        Ok(())
    }

    /// Keeps many records in one go: for what fills a database to measure it.
    ///
    /// # Errors
    /// As [`Self::save`], for all of them.
    #[cfg(feature = "records")]
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
        self.forget_all(&HashSet::from([id])).await
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
        if let Some(done) = self.done.borrow_mut().as_mut() {
            done.retain(|known| !ids.contains(&known.id));
        }
        self.empty_journal().await;
        Ok(())
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

/// Marks an error of ours that means damage.
const DAMAGED: &str = "damaged: ";

fn is_damage(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Protocol(why) => why.starts_with(DAMAGED),
        // SQLITE_CORRUPT and SQLITE_NOTADB, with their extended codes in the higher bits.
        sqlx::Error::Database(e) => {
            e.code().and_then(|c| c.parse::<u32>().ok()).is_some_and(|c| matches!(c & 0xff, 11 | 26))
        }
        sqlx::Error::Migrate(why) => match why.as_ref() {
            sqlx::migrate::MigrateError::Execute(e) => is_damage(e),
            _ => false,
        },
        _ => false,
    }
}

fn cannot_open(path: &Path, error: &sqlx::Error) -> Error {
    // SQLITE_BUSY.
    if let sqlx::Error::Database(e) = error
        && e.code().and_then(|c| c.parse::<u32>().ok()).is_some_and(|c| c & 0xff == 5)
    {
        let who = seat::who_has_open(path);
        let who =
            who.map_or_else(|| "another program".to_owned(), |(pid, name)| format!("{name} (pid {pid})"));
        return Error::failed(
            format!("the database {} is in use by {who}", path.display()),
            "end it, or wait until it is done",
        );
    }
    let why = match error {
        sqlx::Error::Migrate(why)
            if matches!(why.as_ref(), sqlx::migrate::MigrateError::VersionMissing(_)) =>
        {
            return Error::failed(
                format!("{} was written by a newer sessd", path.display()),
                "use that version, or set SESSD_HOME to another folder",
            );
        }
        sqlx::Error::Database(e) => e.message().to_owned(),
        other => other.to_string(),
    };
    Error::failed(
        format!("the database {} cannot be used ({why})", path.display()),
        "check its folder for space and permissions",
    )
}

fn keep_aside(path: &Path, now_ms: i64) -> std::io::Result<PathBuf> {
    let with = |suffix: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    let aside = with(&format!(".damaged-{now_ms}"));
    std::fs::rename(path, &aside)?;
    for suffix in ["-wal", "-shm"] {
        let mut to = aside.as_os_str().to_owned();
        to.push(suffix);
        match std::fs::rename(with(suffix), to) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(aside)
}

async fn upsert(db: &mut SqliteConnection, record: &Record) -> Result<(), sqlx::Error> {
    let end = record.end.as_ref();
    sqlx::query(
        "INSERT INTO sessions (id, name, host, command, cwd, env, cols, rows, idle_timeout_ms, reap_unattended, created_at_ms, \
         job_id, state, delete_requested, last_active_ms, place, end_reason, end_code, end_signal, end_at_ms, end_detail, \
         name_untold, tags_untold, plain, run_for_ms, restart_job_id, size_policy) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, \
         $24, $25, $26, $27) \
         ON CONFLICT (id) DO UPDATE SET name = excluded.name, host = excluded.host, command = excluded.command, \
         cwd = excluded.cwd, env = excluded.env, cols = excluded.cols, rows = excluded.rows, \
         idle_timeout_ms = excluded.idle_timeout_ms, reap_unattended = excluded.reap_unattended, \
         created_at_ms = excluded.created_at_ms, job_id = excluded.job_id, state = excluded.state, \
         delete_requested = excluded.delete_requested, last_active_ms = excluded.last_active_ms, place = excluded.place, \
         end_reason = excluded.end_reason, end_code = excluded.end_code, end_signal = excluded.end_signal, \
         end_at_ms = excluded.end_at_ms, end_detail = excluded.end_detail, name_untold = excluded.name_untold, \
         tags_untold = excluded.tags_untold, plain = excluded.plain, run_for_ms = excluded.run_for_ms, \
         restart_job_id = excluded.restart_job_id, size_policy = excluded.size_policy",
    )
    .bind(record.id.to_string())
    .bind(record.name.as_deref())
    .bind(&record.host)
    .bind(serde_json::to_string(&record.command).unwrap_or_default())
    .bind(&record.cwd)
    .bind(serde_json::to_string(&record.env).unwrap_or_default())
    .bind(i64::from(record.size.0))
    .bind(i64::from(record.size.1))
    .bind(record.idle_timeout_ms)
    .bind(i64::from(record.reap_unattended))
    .bind(record.created_at_ms)
    .bind(record.job_id.to_string())
    .bind(record.state.word())
    .bind(i64::from(record.delete_requested))
    .bind(record.last_active_ms)
    .bind(&record.place)
    .bind(end.map(|e| Reason::from(e.reason).word()))
    .bind(end.and_then(|e| e.code).map(i64::from))
    .bind(end.and_then(|e| e.signal).map(i64::from))
    .bind(end.map(|e| e.at_ms))
    .bind(end.map(|e| e.detail.as_str()))
    .bind(i64::from(record.untold.name))
    .bind(i64::from(record.untold.tags))
    .bind(i64::from(record.plain))
    .bind(record.run_for_ms)
    .bind(record.restart.map(|id| id.to_string()))
    .bind(record.size_policy.word())
    .execute(&mut *db)
    .await?;
    sqlx::query("DELETE FROM tags WHERE session_id = $1")
        .bind(record.id.to_string())
        .execute(&mut *db)
        .await?;
    for (key, value) in &record.tags {
        sqlx::query("INSERT INTO tags (session_id, key, value) VALUES ($1, $2, $3)")
            .bind(record.id.to_string())
            .bind(key)
            .bind(value)
            .execute(&mut *db)
            .await?;
    }
    Ok(())
}

/// Why the database does not do what it is asked.
#[derive(Debug)]
enum Trouble {
    /// It says so itself.
    Sql(sqlx::Error),
    /// What is in it cannot be.
    Wrong(String),
}

impl From<sqlx::Error> for Trouble {
    fn from(error: sqlx::Error) -> Self {
        Self::Sql(error)
    }
}

/// Does SQLite say that somebody else holds the database?
fn is_held(said: &str) -> bool {
    said.contains("is locked") || said.contains("(code: 5)")
}

impl From<Trouble> for Error {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Sql(error) => {
                let hint = if is_held(&error.to_string()) {
                    "another program has it open (a backup, an sqlite3 shell): let that end, and try again"
                } else {
                    "check its folder for space and permissions"
                };
                Self::failed(format!("the database does not take it ({error})"), hint)
            }
            Trouble::Wrong(what) => Self::failed(
                format!("a record in the database has a {what} that cannot be"),
                "move the database away to begin anew",
            ),
        }
    }
}

fn wrong(what: &str) -> Trouble {
    Trouble::Wrong(what.to_owned())
}

fn side(row: &SqliteRow, column: &str) -> Result<u16, Trouble> {
    u16::try_from(row.try_get::<i64, _>(column)?).map_err(|_| wrong(column))
}

fn screen(row: &SqliteRow) -> Result<Screen, Trouble> {
    Ok(Screen { size: (side(row, "cols")?, side(row, "rows")?), snapshot: row.try_get("snapshot")? })
}

fn record(row: &SqliteRow) -> Result<Record, Trouble> {
    let uuid = |column: &str| -> Result<Uuid, Trouble> {
        Uuid::parse_str(row.try_get::<&str, _>(column)?).map_err(|_| wrong(column))
    };
    let json = |column: &str| -> Result<&str, Trouble> { Ok(row.try_get(column)?) };
    let number = |column: &str| -> Result<Option<i32>, Trouble> {
        Ok(row.try_get::<Option<i64>, _>(column)?.and_then(|n| n.try_into().ok()))
    };
    let state = State::from_word(row.try_get("state")?).ok_or_else(|| wrong("state"))?;
    let end = match row.try_get::<Option<&str>, _>("end_reason")? {
        None => None,
        Some(word) => Some(End {
            reason: Reason::from_word(word).ok_or_else(|| wrong("end_reason"))?.into(),
            code: number("end_code")?,
            signal: number("end_signal")?,
            at_ms: row.try_get::<Option<i64>, _>("end_at_ms")?.unwrap_or_default(),
            detail: row.try_get::<Option<String>, _>("end_detail")?.unwrap_or_default(),
        }),
    };
    Ok(Record {
        id: uuid("id")?,
        name: row.try_get("name")?,
        host: row.try_get("host")?,
        tags: BTreeMap::new(),
        command: serde_json::from_str(json("command")?).map_err(|_| wrong("command"))?,
        cwd: row.try_get("cwd")?,
        env: serde_json::from_str(json("env")?).map_err(|_| wrong("env"))?,
        size: (side(row, "cols")?, side(row, "rows")?),
        idle_timeout_ms: row.try_get("idle_timeout_ms")?,
        reap_unattended: row.try_get::<i64, _>("reap_unattended")? != 0,
        created_at_ms: row.try_get("created_at_ms")?,
        job_id: uuid("job_id")?,
        state,
        delete_requested: row.try_get::<i64, _>("delete_requested")? != 0,
        last_active_ms: row.try_get("last_active_ms")?,
        place: row.try_get("place")?,
        end,
        untold: Untold {
            name: row.try_get::<i64, _>("name_untold")? != 0,
            tags: row.try_get::<i64, _>("tags_untold")? != 0,
        },
        plain: row.try_get::<i64, _>("plain")? != 0,
        run_for_ms: row.try_get("run_for_ms")?,
        size_policy: SizePolicy::from_word(row.try_get("size_policy")?)
            .ok_or_else(|| wrong("size_policy"))?,
        restart: match row.try_get::<Option<&str>, _>("restart_job_id")? {
            Some(id) => Some(Uuid::parse_str(id).map_err(|_| wrong("restart_job_id"))?),
            None => None,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use sessd_proto::messages::EndReason;

    #[test]
    fn a_database_that_somebody_else_holds_is_not_one_without_space() {
        assert!(is_held("error returned from database: (code: 5) database is locked"));
        assert!(!is_held("error returned from database: (code: 13) database or disk is full"));
    }

    fn some_record(name: Option<&str>) -> Record {
        Record {
            id: Uuid::now_v7(),
            name: name.map(str::to_owned),
            host: "box".into(),
            tags: BTreeMap::from([("gpu".into(), String::new()), ("team".into(), "ml".into())]),
            command: vec!["echo".into(), "a 'b' é".into()],
            cwd: "/tmp".into(),
            env: BTreeMap::from([("A".into(), "1".into())]),
            size: (80, 24),
            idle_timeout_ms: Some(1000),
            reap_unattended: true,
            created_at_ms: 5,
            job_id: Uuid::now_v7(),
            state: State::Running,
            delete_requested: false,
            last_active_ms: Some(6),
            place: "m:/f".into(),
            end: None,
            untold: Untold { name: true, tags: false },
            plain: true,
            run_for_ms: Some(7),
            restart: Some(Uuid::now_v7()),
            size_policy: SizePolicy::Smallest,
        }
    }

    #[tokio::test]
    async fn a_record_that_cannot_be_read_costs_no_other_and_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sessd.db");
        let store = Store::open(&path, 1).await.unwrap().store;
        let (good, odd) = (some_record(Some("good")), some_record(Some("odd")));
        store.save_all(&[good.clone(), odd.clone()]).await.unwrap();
        for change in ["state = 'dreaming'", "size = size", "job_id = 'x'", "command = 'no json'"] {
            let sql = format!("UPDATE sessions SET {change} WHERE id = '{}'", odd.id);
            if sqlx::query(sqlx::AssertSqlSafe(sql)).execute(&store.pool).await.is_err() {
                continue; // No such column.
            }
            assert_eq!(store.live().await.unwrap(), vec![good.clone()], "{change}");
        }
        let rows: i64 =
            sqlx::query_scalar("SELECT count(*) FROM sessions").fetch_one(&store.pool).await.unwrap();
        assert_eq!(rows, 2);
    }

    #[tokio::test]
    async fn a_database_that_another_program_reads_is_said_to_be_in_use() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sessd.db");
        Store::open(&path, 1).await.unwrap().store.close().await;
        let mut program = std::process::Command::new("python3")
            .args([
                "-c",
                "import sqlite3,sys\ndb=sqlite3.connect(sys.argv[1])\ndb.execute('BEGIN')\n\
                   print(list(db.execute('SELECT count(*) FROM sessions')),flush=True)\nsys.stdin.read()",
            ])
            .arg(&path)
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn();
        let Ok(program) = &mut program else { return }; // Without one there is none to be named.
        let mut line = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(program.stdout.take().unwrap()), &mut line)
            .unwrap();
        let why = Store::open(&path, 1).await.unwrap_err();
        drop(program.stdin.take());
        let pid = program.id().to_string();
        program.wait().unwrap();
        assert!(why.line().contains("is in use by") && why.line().contains(&pid), "{}", why.line());
        Store::open(&path, 1).await.unwrap();
    }

    #[tokio::test]
    async fn a_record_comes_back_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sessd.db");
        let store = Store::open(&path, 1).await.unwrap().store;
        let mut record = some_record(Some("dev"));
        store.save(&record).await.unwrap();
        assert_eq!(store.done().await.unwrap(), vec![]);
        store.close().await;
        let store = Store::open(&path, 1).await.unwrap().store;
        assert_eq!(store.live().await.unwrap(), vec![record.clone()]);
        record.finish(
            End { reason: EndReason::Exited, code: Some(7), signal: None, at_ms: 9, detail: "x".into() },
            20,
        );
        let screen = Screen { snapshot: b"\x1b[Hlast words".to_vec(), size: (80, 24) };
        store.save_done(&record, Some(&screen)).await.unwrap();
        assert_eq!(store.live().await.unwrap(), vec![]);
        assert_eq!(store.done().await.unwrap(), vec![record.clone()]);
        assert_eq!(store.screen(record.id).await.unwrap(), Some(screen));
        // What is remembered is what is written.
        let mut later = some_record(Some("later"));
        later.finish(
            End { reason: EndReason::Reaped, code: None, signal: None, at_ms: 15, detail: String::new() },
            20,
        );
        store.save(&later).await.unwrap();
        assert_eq!(store.done().await.unwrap(), vec![later.clone(), record.clone()]);
        *store.done.borrow_mut() = None;
        assert_eq!(store.done().await.unwrap(), vec![later.clone(), record.clone()]);
        let mut again = later.clone();
        again.begin_again(Uuid::now_v7());
        store.save(&again).await.unwrap();
        assert_eq!(store.done().await.unwrap(), vec![record.clone()]);
        store.forget(later.id).await.unwrap();
        assert_eq!(
            store.done_jobs("box").await.unwrap(),
            [(record.job_id.to_string(), record.id.to_string())].into()
        );
        assert_eq!(store.forget_done(9).await.unwrap(), vec![]);
        assert_eq!(store.forget_done(10).await.unwrap(), vec![record.clone()]);
        assert_eq!(store.done().await.unwrap(), vec![]);
        assert_eq!(store.screen(record.id).await.unwrap(), None);
    }

    /// Sessions that ended while no manager ran are written while the list is read for the first time.
    #[tokio::test]
    async fn what_ends_while_the_list_is_read_is_in_it_with_its_tags() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sessd.db");
        let done = |n: i64| {
            let mut record = some_record(None);
            let end = End {
                reason: EndReason::Exited,
                code: Some(0),
                signal: None,
                at_ms: n,
                detail: String::new(),
            };
            record.finish(end, n);
            record
        };
        let older: Vec<Record> = (10..300).map(done).collect();
        Store::open(&path, 1).await.unwrap().store.save_all(&older).await.unwrap();
        for round in 0..20 {
            let store = Store::open(&path, 1).await.unwrap().store;
            let late: Vec<Record> = (0..3).map(|n| done(1000 + 10 * round + n)).collect();
            let (read, ..) = tokio::join!(
                store.done(),
                store.save_done(&late[0], None),
                store.save_done(&late[1], None),
                store.save_done(&late[2], None),
            );
            let first = read.unwrap();
            assert!(first.iter().all(|record| record.tags.len() == 2), "no record is read without its tags");
            let list = store.done().await.unwrap();
            assert!(late.iter().all(|record| list.contains(record)), "round {round}");
            store.close().await;
        }
    }

    #[tokio::test]
    async fn done_records_are_found_by_name_and_by_the_beginning_of_their_id() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("sessd.db"), 1).await.unwrap().store;
        let mut record = some_record(Some("dev"));
        record.finish(
            End { reason: EndReason::Exited, code: Some(7), signal: None, at_ms: 9, detail: String::new() },
            20,
        );
        store.save(&record).await.unwrap();
        let id = record.id.to_string();
        for selector in ["dev", &id, &id[..6], &id[..6].to_uppercase(), &id[30..], &id[30..].to_uppercase()] {
            assert_eq!(store.done_like(selector).await.unwrap(), vec![record.clone()], "{selector}");
        }
        for selector in ["de", "x", &id[1..6], "%", "' OR 1=1 --"] {
            assert_eq!(store.done_like(selector).await.unwrap(), vec![], "{selector}");
        }
    }

    #[tokio::test]
    async fn a_name_belongs_to_one_live_session() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("sessd.db"), 1).await.unwrap().store;
        let mut first = some_record(Some("dev"));
        store.save(&first).await.unwrap();
        let second = some_record(Some("dev"));
        assert_eq!(store.save(&second).await.unwrap_err().kind, Kind::NameTaken);
        store.save(&some_record(None)).await.unwrap();
        store.save(&some_record(None)).await.unwrap();
        first.delete_requested = true;
        store.save(&first).await.unwrap();
        store.save(&second).await.unwrap();
    }

    #[tokio::test]
    async fn a_damaged_database_is_kept_aside_and_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sessd.db");
        let damage = b"this is no database, but somebody may still want it".repeat(100);
        std::fs::write(&path, &damage).unwrap();
        let opened = Store::open(&path, 42).await.unwrap();
        assert_eq!(std::fs::read(opened.kept_aside.unwrap()).unwrap(), damage);
        assert_eq!(opened.store.live().await.unwrap(), vec![]);
    }
}
