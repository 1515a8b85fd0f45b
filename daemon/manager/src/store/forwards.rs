//! What is forwarded for each session.

use super::Store;
use super::trouble::Trouble;
use sessd_core::Record;
use sessd_proto::Uuid;
use sessd_proto::docs::Result;
use sqlx::{Row, SqliteConnection};
use std::collections::HashMap;

/// One row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForwardRow {
    /// By which its user names it.
    pub number: u64,
    /// `local`, `remote`, `dynamic`, `auto` or `agent`.
    pub kind: String,
    /// As ssh has it; empty for the last two.
    pub spec: String,
}

impl Store {
    /// Everything that is forwarded, by session.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn forwards(&self) -> Result<HashMap<Uuid, Vec<ForwardRow>>> {
        let rows =
            sqlx::query("SELECT session_id, number, kind, spec FROM forwards ORDER BY session_id, number")
                .fetch_all(&self.pool)
                .await
                .map_err(Trouble::Sql)?;
        let mut all: HashMap<Uuid, Vec<ForwardRow>> = HashMap::new();
        for row in &rows {
            let text = |name| row.try_get::<String, _>(name).map_err(Trouble::Sql);
            let number: i64 = row.try_get("number").map_err(Trouble::Sql)?;
            // One that no version of ours wrote names no session.
            let Ok(session) = Uuid::parse_str(&text("session_id")?) else { continue };
            let row = ForwardRow { number: number as u64, kind: text("kind")?, spec: text("spec")? };
            all.entry(session).or_default().push(row);
        }
        Ok(all)
    }

    /// This, and nothing else, is forwarded for a session from now on.
    ///
    /// # Errors
    /// When the database does not take it.
    pub async fn save_forwards(&self, session: Uuid, rows: &[ForwardRow]) -> Result<()> {
        Ok(self.write(async |db| put(db, session, rows).await).await?)
    }

    /// Keeps the record of a new session with what is forwarded for it, or neither.
    ///
    /// # Errors
    /// As [`Store::save`].
    pub async fn save_with(&self, record: &Record, rows: &[ForwardRow]) -> Result<()> {
        if rows.is_empty() {
            return self.save(record).await;
        }
        self.save_and(record, async |db| put(db, record.id, rows).await).await
    }
}

async fn put(db: &mut SqliteConnection, session: Uuid, rows: &[ForwardRow]) -> Result<(), sqlx::Error> {
    let session = session.to_string();
    sqlx::query("DELETE FROM forwards WHERE session_id = $1").bind(&session).execute(&mut *db).await?;
    for row in rows {
        sqlx::query("INSERT INTO forwards (session_id, number, kind, spec) VALUES ($1, $2, $3, $4)")
            .bind(&session)
            .bind(i64::try_from(row.number).unwrap_or(i64::MAX))
            .bind(&row.kind)
            .bind(&row.spec)
            .execute(&mut *db)
            .await?;
    }
    Ok(())
}
