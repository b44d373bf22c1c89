//! SQLite databases of a data directory: opening, migrating, transactions, errors.
//!
//! Every statement is static text. Batches travel as one JSON array or one blob per statement and are unfolded by
//! `json_each`, so that a batch of any size is one prepared statement and no bind limit applies.

use std::path::{Path, PathBuf};
use std::time::Duration;

use chat::{BoxError, PortError, PortResult, Timestamp};
use rusqlite::OpenFlags;
use serde::Serialize;
use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions as _, SqlSafeStr as _, Transaction};

use crate::{Access, DataDir};

/// How long a statement waits for the transaction of another process.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a caller waits for one of this process's connections.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(30);
/// Connections that read beside the one that writes.
pub(crate) const READERS: u32 = 4;
/// Page cache of a connection that writes, and of one that reads, which has the file mapped. They are what a job's memory grows to with
/// the number of organizations: larger ones made nothing faster (`benches/README.md`).
const WRITER_CACHE_KIB: u32 = 4_096;
const READER_CACHE_KIB: u32 = 1_024;
/// How much of a database is mapped rather than copied to a cache: as much as SQLite maps at most.
const MAPPED_BYTES_MAX: i64 = 0x7fff_0000;
/// Rows that a connection hands over ahead of its reader; as many as a batch, so that neither side waits for the other.
const ROWS_AHEAD: usize = 512;

/// An SQLite transaction. Rolled back when dropped.
pub(crate) type Tx = Transaction<'static, sqlx::Sqlite>;

/// What a database is and how its tables came to be.
pub(crate) struct Schema {
    /// What it holds, in words: `the ledger`.
    pub(crate) what: &'static str,
    /// Its migrations: number, title, statements; ascending.
    pub(crate) migrations: &'static [(i64, &'static str, &'static str)],
}

impl Schema {
    fn newest(&self) -> i64 {
        self.migrations.iter().map(|(number, ..)| *number).max().unwrap_or(0)
    }

    fn migrator(&self) -> Migrator {
        let migration = |(number, title, sql): &(i64, &'static str, &'static str)| {
            Migration::new(*number, (*title).into(), MigrationType::Simple, sql.into_sql_str(), false)
        };
        Migrator::with_migrations(self.migrations.iter().map(migration).collect())
    }
}

/// An open database: one connection that writes, a few that read beside it.
#[derive(Clone, Debug)]
pub(crate) struct Database {
    /// Keeps the hold on the directory while somebody can write.
    _dir: DataDir,
    path: PathBuf,
    /// What it is and where it stands, for errors.
    what: String,
    /// None where the directory was opened for reading.
    writer: Option<SqlitePool>,
    reader: SqlitePool,
}

impl Database {
    /// Opens the file at `path`; makes and migrates it where `dir` was opened for writing.
    pub(crate) async fn open(dir: &DataDir, path: PathBuf, schema: &Schema) -> PortResult<Self> {
        let what = format!("{} {}", schema.what, path.display());
        let reader = options(&path).read_only(true).pragma("cache_size", format!("-{READER_CACHE_KIB}"));
        let reader = pool(READERS, reader);
        let mut database = Self { _dir: dir.clone(), path, what, writer: None, reader };
        if dir.access() == Access::Read {
            database.check_version(schema).await?;
            return Ok(database);
        }
        // One process at a time: neither migrations nor the change to WAL can be waited for in SQLite itself.
        let _guard = dir.guard().await.map_err(|e| PortError::unavailable(&database.what, e))?;
        let writer = pool(1, options(&database.path).create_if_missing(true).journal_mode(SqliteJournalMode::Wal));
        match schema.migrator().run(&writer).await {
            Ok(()) => {}
            Err(MigrateError::VersionMissing(found)) => return Err(database.too_new(found, schema.newest())),
            Err(MigrateError::Execute(e) | MigrateError::ExecuteMigration(e, _)) => return Err(database.error(e)),
            Err(e) => return Err(PortError::Corrupt { what: database.what, source: Some(e.into()) }),
        }
        database.writer = Some(writer);
        Ok(database)
    }

    /// A reader migrates nothing: it takes only what is exactly as new as itself.
    async fn check_version(&self, schema: &Schema) -> PortResult<()> {
        if !self.path.exists() {
            return Err(PortError::refused(format!("{} does not exist yet: start a run first", self.what)));
        }
        let found: i64 = sqlx::query_scalar("SELECT coalesce(max(version), 0) FROM _sqlx_migrations")
            .fetch_one(&self.reader)
            .await
            .map_err(|e| self.error(e))?;
        match found.cmp(&schema.newest()) {
            std::cmp::Ordering::Equal => Ok(()),
            std::cmp::Ordering::Greater => Err(self.too_new(found, schema.newest())),
            std::cmp::Ordering::Less => Err(PortError::refused(format!(
                "{} was made by an older version of lanner: start a run or an import first, which brings it up to date",
                self.what
            ))),
        }
    }

    fn too_new(&self, found: i64, known: i64) -> PortError {
        PortError::refused(format!(
            "{} was made by a newer version of lanner (migration {found}, this one knows {known})",
            self.what
        ))
    }

    /// The connections that read. Each statement sees one consistent state.
    pub(crate) fn reader(&self) -> &SqlitePool {
        &self.reader
    }

    /// A connection of its own that reads, for a scan of very many rows in a thread of its own.
    pub(crate) fn scanner(&self) -> PortResult<rusqlite::Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let open = || {
            let connection = rusqlite::Connection::open_with_flags(&self.path, flags)?;
            connection.busy_timeout(BUSY_TIMEOUT)?;
            connection.pragma_update(None, "mmap_size", MAPPED_BYTES_MAX)?;
            Ok(connection)
        };
        open().map_err(|e| self.scan_error(e))
    }

    /// The connection that writes, for a single statement.
    pub(crate) fn writer(&self) -> PortResult<&SqlitePool> {
        self.writer.as_ref().ok_or_else(|| PortError::refused(format!("{} is opened for reading", self.what)))
    }

    /// Several statements that see one consistent state.
    pub(crate) async fn snapshot(&self) -> PortResult<Tx> {
        self.reader.begin().await.map_err(|e| self.error(e))
    }

    /// Several statements that take effect together or not at all.
    pub(crate) async fn begin(&self) -> PortResult<Tx> {
        // Takes the write lock at once: a transaction that reads first could not wait for it later.
        self.writer()?.begin_with("BEGIN IMMEDIATE").await.map_err(|e| self.error(e))
    }

    /// Makes the transaction durable.
    pub(crate) async fn commit(&self, tx: Tx) -> PortResult<()> {
        tx.commit().await.map_err(|e| self.error(e))
    }

    /// A stored value that cannot be.
    pub(crate) fn corrupt(&self, value: impl std::fmt::Display) -> PortError {
        PortError::corrupt(format!("{} holds {value}", self.what))
    }

    /// Sorts a failure of a [`Self::scanner`] by what the caller does about it.
    pub(crate) fn scan_error(&self, e: rusqlite::Error) -> PortError {
        match e.sqlite_error() {
            Some(failure) => classify(self.what.clone(), failure.extended_code, e),
            None => PortError::Corrupt { what: format!("{} does not read back", self.what), source: Some(e.into()) },
        }
    }

    /// Sorts an SQLite failure by what the caller does about it.
    pub(crate) fn error(&self, e: sqlx::Error) -> PortError {
        let what = self.what.clone();
        match &e {
            sqlx::Error::Database(database) => {
                let code = database.code().and_then(|code| code.parse::<i32>().ok()).unwrap_or(0);
                classify(what, code, e)
            }
            sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::Io(_) | sqlx::Error::WorkerCrashed => {
                PortError::unavailable(what, e)
            }
            sqlx::Error::RowNotFound | sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => {
                PortError::Corrupt { what: format!("{what} does not read back"), source: Some(e.into()) }
            }
            _ => PortError::Refused { what: format!("{what} refused"), source: Some(e.into()) },
        }
    }
}

/// By SQLite's primary result code: the lowest byte of the extended one.
fn classify(what: String, code: i32, e: impl Into<BoxError>) -> PortError {
    match code & 0xff {
        // SQLITE_BUSY, SQLITE_LOCKED: another process writes, longer than we wait. SQLITE_IOERR: the file system.
        5 | 6 | 10 => PortError::unavailable(what, e),
        // SQLITE_FULL
        13 => PortError::unavailable(format!("{what} (its disk is full)"), e),
        // SQLITE_READONLY, SQLITE_CANTOPEN
        8 | 14 => PortError::Refused { what: format!("{what} cannot be written or opened"), source: Some(e.into()) },
        // SQLITE_CORRUPT, SQLITE_NOTADB
        11 | 26 => PortError::Corrupt { what: format!("{what} is malformed"), source: Some(e.into()) },
        _ => PortError::Refused { what: format!("{what} refused"), source: Some(e.into()) },
    }
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .busy_timeout(BUSY_TIMEOUT)
        // Durable against a killed process; a power cut may take back the last moments, never tear them.
        .synchronous(SqliteSynchronous::Normal)
        .pragma("cache_size", format!("-{WRITER_CACHE_KIB}"))
        .pragma("mmap_size", MAPPED_BYTES_MAX.to_string())
        .pragma("temp_store", "MEMORY")
        .pragma("wal_autocheckpoint", "8000")
        .row_buffer_size(ROWS_AHEAD)
        .disable_statement_logging()
}

fn pool(connections: u32, options: SqliteConnectOptions) -> SqlitePool {
    SqlitePoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        // A connection is a file of this machine: it neither goes stale nor needs a test before each use.
        .test_before_acquire(false)
        .idle_timeout(None)
        .max_lifetime(None)
        .connect_lazy_with(options)
}

/// What a column holds as an instant; what is before all instants is the first.
pub(crate) fn instant(ms: i64) -> Timestamp {
    Timestamp::from_millis(u64::try_from(ms).unwrap_or(0))
}

/// An instant as a column holds it.
pub(crate) fn ms(at: Timestamp) -> i64 {
    i64::try_from(at.as_millis()).unwrap_or(i64::MAX)
}

/// A batch as the parameter of `json_each`.
pub(crate) fn json<T: Serialize>(rows: &[T]) -> PortResult<String> {
    serde_json::to_string(rows).map_err(|e| PortError::Refused {
        what: "a batch cannot be written as JSON".to_owned(),
        source: Some(e.into()),
    })
}

#[cfg(test)]
mod tests;
