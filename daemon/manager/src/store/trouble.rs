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
        sqlx::Error::Database(e) => e.message().to_owned(),
        other => other.to_string(),
    };
    Error::failed(
        format!("the database {} cannot be used ({why})", path.display()),
        "check its folder for space and permissions",
    )
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

/// Does SQLite say that somebody else holds the database?
pub(super) fn is_held(said: &str) -> bool {
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

pub(super) fn wrong(what: &str) -> Trouble {
    Trouble::Wrong(what.to_owned())
}
