//! What the database says when it does not do what it is asked, and what is said of that to people.

use sessd_base::instance_lock;
use sessd_proto::docs::Error;
use std::path::{Path, PathBuf};

/// Marks an error of ours that means damage.
pub(super) const DAMAGED: &str = "damaged: ";

pub(super) fn is_damage(error: &sqlx::Error) -> bool {
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

pub(super) fn cannot_open(path: &Path, error: &sqlx::Error) -> Error {
    // SQLITE_BUSY.
    if let sqlx::Error::Database(e) = error
        && e.code().and_then(|c| c.parse::<u32>().ok()).is_some_and(|c| c & 0xff == 5)
    {
        let who = instance_lock::who_has_open(path);
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
        other => in_words(other),
    };
    Error::failed(format!("the database {} cannot be used ({why})", path.display()), way_on(error))
}

/// The first byte of what SQLite answers; its other bytes say more of the same.
fn code(error: &sqlx::Error) -> Option<u32> {
    match error {
        sqlx::Error::Database(e) => {
            e.code().and_then(|code| code.parse::<u32>().ok()).map(|code| code & 0xff)
        }
        sqlx::Error::Migrate(why) => match why.as_ref() {
            sqlx::migrate::MigrateError::Execute(e) | sqlx::migrate::MigrateError::ExecuteMigration(e, _) => {
                code(e)
            }
            _ => None,
        },
        _ => None,
    }
}

/// What is wrong with the database, as a person says it who has not read SQLite's manual.
fn in_words(error: &sqlx::Error) -> String {
    let known = match code(error) {
        Some(3 | 8 | 23) => "it may not be written",
        Some(5 | 6) => "another program has it open",
        Some(7) => "there is not enough memory",
        Some(10) => "its disk does not read or write it",
        Some(11 | 26) => "it is damaged",
        Some(13) => "its disk is full",
        Some(14) => "it cannot be opened",
        _ => match error {
            sqlx::Error::Database(e) => return e.message().to_owned(),
            sqlx::Error::Io(e) => return e.to_string(),
            sqlx::Error::Protocol(why) => return why.clone(),
            sqlx::Error::PoolTimedOut => "it does not answer",
            sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => "it is closed: the manager ends",
            sqlx::Error::RowNotFound => "a row of it is gone",
            sqlx::Error::Migrate(_) => "it is not as this version knows it",
            other => return other.to_string(),
        },
    };
    known.to_owned()
}

/// What to do about that.
fn way_on(error: &sqlx::Error) -> &'static str {
    match code(error) {
        Some(5 | 6) => "a backup or an sqlite3 shell has it: let that end, and try again",
        Some(13) => "make room on its disk, and try again: sessions run on",
        Some(3 | 8 | 14 | 23) => {
            "look at the permissions of the file and its folder, and whether the disk is mounted read-only"
        }
        _ => "check its folder for space and permissions",
    }
}

pub(super) fn keep_aside(path: &Path, now_ms: i64) -> std::io::Result<PathBuf> {
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

/// Why the database does not do what it is asked.
#[derive(Debug)]
pub(super) enum Trouble {
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

impl From<Trouble> for Error {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Sql(error) => {
                Self::failed(format!("the database does not take it ({})", in_words(&error)), way_on(&error))
            }
            Trouble::Wrong(what) => Self::failed(
                format!("a record in the database has a {what} that cannot be"),
                "move the database away to begin anew",
            ),
        }
    }
}

pub(super) fn wrong(what: &str) -> Trouble {
    Trouble::Wrong(what.to_owned())
}
