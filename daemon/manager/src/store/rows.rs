//! A record as rows, and back.

use super::trouble::{Trouble, wrong};
use sessd_core::last_screen::Screen;
use sessd_core::record::Untold;
use sessd_core::{End, Record};
use sessd_proto::Uuid;
use sessd_proto::docs::{Reason, SizePolicy, State, Vocabulary};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};
use std::collections::BTreeMap;

/// The columns that [`record`] reads.
pub(super) const COLUMNS: &str = "id, name, host, command, cwd, env, cols, rows, idle_timeout_ms, reap_unattended, created_at_ms, job_id, \
     state, delete_requested, last_active_ms, place, end_reason, end_code, end_signal, end_at_ms, end_detail, name_untold, \
     tags_untold, plain, run_for_ms, restart_job_id, size_policy, owned";

pub(super) async fn upsert(db: &mut SqliteConnection, record: &Record) -> Result<(), sqlx::Error> {
    let end = record.end.as_ref();
    sqlx::query(
        "INSERT INTO sessions (id, name, host, command, cwd, env, cols, rows, idle_timeout_ms, reap_unattended, created_at_ms, \
         job_id, state, delete_requested, last_active_ms, place, end_reason, end_code, end_signal, end_at_ms, end_detail, \
         name_untold, tags_untold, plain, run_for_ms, restart_job_id, size_policy, owned) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, \
         $24, $25, $26, $27, $28) \
         ON CONFLICT (id) DO UPDATE SET name = excluded.name, host = excluded.host, command = excluded.command, \
         cwd = excluded.cwd, env = excluded.env, cols = excluded.cols, rows = excluded.rows, \
         idle_timeout_ms = excluded.idle_timeout_ms, reap_unattended = excluded.reap_unattended, \
         created_at_ms = excluded.created_at_ms, job_id = excluded.job_id, state = excluded.state, \
         delete_requested = excluded.delete_requested, last_active_ms = excluded.last_active_ms, place = excluded.place, \
         end_reason = excluded.end_reason, end_code = excluded.end_code, end_signal = excluded.end_signal, \
         end_at_ms = excluded.end_at_ms, end_detail = excluded.end_detail, name_untold = excluded.name_untold, \
         tags_untold = excluded.tags_untold, plain = excluded.plain, run_for_ms = excluded.run_for_ms, \
         restart_job_id = excluded.restart_job_id, size_policy = excluded.size_policy, owned = excluded.owned",
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
    .bind(i64::from(record.owned))
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

pub(super) fn side(row: &SqliteRow, column: &str) -> Result<u16, Trouble> {
    u16::try_from(row.try_get::<i64, _>(column)?).map_err(|_| wrong(column))
}

pub(super) fn screen(row: &SqliteRow) -> Result<Screen, Trouble> {
    Ok(Screen { size: (side(row, "cols")?, side(row, "rows")?), snapshot: row.try_get("snapshot")? })
}

pub(super) fn record(row: &SqliteRow) -> Result<Record, Trouble> {
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
        owned: row.try_get::<i64, _>("owned")? != 0,
        run_for_ms: row.try_get("run_for_ms")?,
        size_policy: SizePolicy::from_word(row.try_get("size_policy")?)
            .ok_or_else(|| wrong("size_policy"))?,
        restart: match row.try_get::<Option<&str>, _>("restart_job_id")? {
            Some(id) => Some(Uuid::parse_str(id).map_err(|_| wrong("restart_job_id"))?),
            None => None,
        },
    })
}
