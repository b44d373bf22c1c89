//! Small records in an SQLite file of their own.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use chat::{PortError, PortResult, Timestamp};
use worker::state::{Write, check_key, check_prefix, check_value};
use worker::{Expected, Record, RecordVersion, State, StateError};

use crate::DataDir;
use crate::sqlite::{Database, Schema, ms};

const SCHEMA: Schema =
    Schema { what: "the state", migrations: &[(1, "records", include_str!("../migrations/state/0001_state.sql"))] };

/// Expired records that a write drops: more than it adds, so that they do not pile up.
const DROPPED: i64 = 10;

/// The records of a data directory.
#[derive(Clone, Debug)]
pub struct SqliteState {
    database: Database,
}

/// Key, value, version, expiry.
type Row = (String, Vec<u8>, i64, Option<i64>);

impl SqliteState {
    /// Opens the records in `dir`; makes them where `dir` was opened for writing.
    ///
    /// # Errors
    ///
    /// Unavailable while the file is locked or its disk is full; refused when a newer version made the file, or when it does
    /// not exist and `dir` was opened for reading.
    pub async fn open(dir: &DataDir) -> PortResult<Self> {
        Ok(Self { database: Database::open(dir, dir.state_sqlite(), &SCHEMA).await? })
    }

    async fn write(&self, write: Write<'_>, version: RecordVersion) -> PortResult<bool> {
        let now = ms(Timestamp::now());
        let writer = self.database.writer()?;
        let expired = "DELETE FROM records WHERE key IN (SELECT key FROM records WHERE expires_at <= ?1 LIMIT ?2)";
        let expired = sqlx::query(expired).bind(now).bind(DROPPED);
        expired.execute(writer).await.map_err(|e| self.database.error(e))?;
        let expected = match write.expected {
            Expected::Version(version) => Some(version.bits().cast_signed()),
            Expected::Anything | Expected::Nothing => None,
        };
        let sql = match write.expected {
            Expected::Anything => {
                "INSERT INTO records (key, value, version, expires_at) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO UPDATE
                 SET value = excluded.value, version = excluded.version, expires_at = excluded.expires_at"
            }
            Expected::Nothing => {
                "INSERT INTO records (key, value, version, expires_at) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO UPDATE
                 SET value = excluded.value, version = excluded.version, expires_at = excluded.expires_at
                 WHERE records.expires_at <= ?5"
            }
            Expected::Version(_) => {
                "UPDATE records SET value = ?2, version = ?3, expires_at = ?4
                 WHERE key = ?1 AND version = ?6 AND (expires_at IS NULL OR expires_at > ?5)"
            }
        };
        let lives_ms = write.lives_for.map(|time| i64::try_from(time.as_millis()).unwrap_or(i64::MAX));
        let written = sqlx::query(sql)
            .bind(write.key)
            .bind(write.value)
            .bind(version.bits().cast_signed())
            .bind(lives_ms.map(|lives_ms| now.saturating_add(lives_ms)))
            .bind(now)
            .bind(expected)
            .execute(writer)
            .await
            .map_err(|e| self.database.error(e))?;
        Ok(written.rows_affected() == 1)
    }

    async fn drop_record(&self, key: &str, version: Option<RecordVersion>) -> PortResult<bool> {
        let held = sqlx::query_scalar(
            "SELECT NOT EXISTS (
                 SELECT 1 FROM records WHERE key = ?1 AND version <> ?2 AND (expires_at IS NULL OR expires_at > ?3)
             )",
        );
        let mut tx = self.database.begin().await?;
        let held: bool = match version {
            None => true,
            Some(version) => held
                .bind(key)
                .bind(version.bits().cast_signed())
                .bind(ms(Timestamp::now()))
                .fetch_one(&mut *tx)
                .await
                .map_err(|e| self.database.error(e))?,
        };
        if held {
            let delete = sqlx::query("DELETE FROM records WHERE key = ?1").bind(key);
            delete.execute(&mut *tx).await.map_err(|e| self.database.error(e))?;
            self.database.commit(tx).await?;
        }
        Ok(held)
    }
}

#[async_trait]
impl State for SqliteState {
    async fn get(&self, key: &str) -> Result<Option<Record>, StateError> {
        check_key(key)?;
        let row: Option<Row> = sqlx::query_as(
            "SELECT key, value, version, expires_at FROM records
             WHERE key = ?1 AND (expires_at IS NULL OR expires_at > ?2)",
        )
        .bind(key)
        .bind(ms(Timestamp::now()))
        .fetch_optional(self.database.reader())
        .await
        .map_err(|e| state_error(self.database.error(e)))?;
        Ok(row.map(record))
    }

    async fn put(&self, write: Write<'_>) -> Result<RecordVersion, StateError> {
        check_key(write.key)?;
        check_value(write.key, write.value)?;
        let version = RecordVersion::random();
        match self.write(write, version).await.map_err(state_error)? {
            true => Ok(version),
            false => Err(StateError::Conflict { key: write.key.to_owned() }),
        }
    }

    async fn delete(&self, key: &str, version: Option<RecordVersion>) -> Result<(), StateError> {
        check_key(key)?;
        match self.drop_record(key, version).await.map_err(state_error)? {
            true => Ok(()),
            false => Err(StateError::Conflict { key: key.to_owned() }),
        }
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<Record>, StateError> {
        check_prefix(prefix)?;
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT key, value, version, expires_at FROM records
             WHERE key >= ?1 AND key > ?2 AND (expires_at IS NULL OR expires_at > ?3) ORDER BY key LIMIT ?4",
        )
        .bind(prefix)
        .bind(after.unwrap_or_default())
        .bind(ms(Timestamp::now()))
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(self.database.reader())
        .await
        .map_err(|e| state_error(self.database.error(e)))?;
        // What begins with the prefix stands together.
        Ok(rows.into_iter().take_while(|(key, ..)| key.starts_with(prefix)).map(record).collect())
    }
}

fn record((key, value, version, expires_at): Row) -> Record {
    let instant = |ms: i64| UNIX_EPOCH.checked_add(Duration::from_millis(u64::try_from(ms).unwrap_or(0)));
    let expires_at: Option<SystemTime> = expires_at.and_then(instant);
    Record { key, value, version: RecordVersion::from_bits(version.cast_unsigned()), expires_at }
}

/// The same failure in the words of this port.
fn state_error(error: PortError) -> StateError {
    match error {
        PortError::Throttled { .. } => StateError::Throttled { what: "the state".to_owned(), source: error.into() },
        PortError::Corrupt { what, .. } => StateError::Corrupt { what },
        PortError::Refused { what, source } => StateError::Refused { what, source },
        error => StateError::Unavailable { what: "the state".to_owned(), source: error.into() },
    }
}
