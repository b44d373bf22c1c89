//! A database of either dialect: connections, statements, transactions, repeats.
//!
//! Batches travel as one JSON array per statement, unfolded by the database, or as the list of an `IN`: a batch of any size is a
//! few prepared statements.

use std::sync::Arc;
use std::time::Duration;

use chat::{PortError, PortResult, Timestamp};
use serde::Serialize;
use sqlx::mysql::{MySqlArguments, MySqlConnection, MySqlPool, MySqlPoolOptions};
use sqlx::postgres::{PgArguments, PgConnection, PgPool, PgPoolOptions};
use sqlx::{Arguments as _, AssertSqlSafe, Connection as _, MySql, Postgres, Transaction};

use crate::error::{lost, port_error, rolled_back};
use crate::row::Row;
use crate::settings::Target;
use crate::statement::{Bound, Values, bind};
use crate::{Dialect, SqlSettings};

/// How often a call is begun: with the waits in between about a second.
const TRIES_MAX: u32 = 6;
/// The wait before the second try; it doubles with each.
const FIRST_WAIT: Duration = Duration::from_millis(20);
/// A connection that was idle longer is tested before it is used.
const IDLE_UNTESTED: Duration = Duration::from_secs(5);
/// How much later than the database we give up on a statement.
const GRACE: Duration = Duration::from_secs(5);

/// What may be done with a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// It is ours.
    Write,
    /// It is somebody else's: every transaction is read only.
    Read,
}

/// An open database.
#[derive(Clone)]
pub(crate) struct Database {
    /// What it holds and where it is: `the ledger mysql://host/database`.
    what: Arc<str>,
    pool: Pool,
    statement_timeout: Duration,
}

#[derive(Clone)]
enum Pool {
    MySql(MySqlPool),
    Postgres(PgPool),
}

/// A transaction. Rolled back when dropped.
pub(crate) struct Tx {
    inner: InnerTx,
    database: Database,
}

enum InnerTx {
    MySql(Transaction<'static, MySql>),
    Postgres(Transaction<'static, Postgres>),
}

/// A connection in use.
enum On<'c> {
    MySql(&'c mut MySqlConnection),
    Postgres(&'c mut PgConnection),
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Database").field(&self.what).finish()
    }
}

impl Database {
    /// Connects. `holds` says in words what the database holds.
    pub(crate) async fn connect(settings: &SqlSettings, holds: &str, access: Access) -> PortResult<Self> {
        let what: Arc<str> = format!("{holds} {}", settings.url.place()).into();
        let pool = pool(settings, access);
        let database = Self { what, pool, statement_timeout: settings.statement_timeout };
        let connected = async {
            match &database.pool {
                Pool::MySql(pool) => pool.acquire().await.map(drop),
                Pool::Postgres(pool) => pool.acquire().await.map(drop),
            }
        };
        match tokio::time::timeout(settings.connect_timeout, connected).await {
            Ok(Ok(())) => Ok(database),
            Ok(Err(e)) => Err(database.error(e)),
            Err(_) => Err(database.silent("no connection", settings.connect_timeout)),
        }
    }

    pub(crate) fn dialect(&self) -> Dialect {
        match self.pool {
            Pool::MySql(_) => Dialect::MySql,
            Pool::Postgres(_) => Dialect::Postgres,
        }
    }

    /// What it holds and where it is.
    pub(crate) fn what(&self) -> &str {
        &self.what
    }

    /// The one of two texts that is in this database's dialect.
    pub(crate) fn pick<T>(&self, mysql: T, postgres: T) -> T {
        match self.dialect() {
            Dialect::MySql => mysql,
            Dialect::Postgres => postgres,
        }
    }

    pub(crate) fn error(&self, e: sqlx::Error) -> PortError {
        port_error(&self.what, e)
    }

    fn silent(&self, nothing: &str, after: Duration) -> PortError {
        PortError::unavailable(&*self.what, format!("{nothing} within {after:?}"))
    }

    /// Runs one statement and answers its rows.
    pub(crate) async fn fetch(&self, text: &str, values: Values<'_, '_>) -> PortResult<Vec<Row>> {
        match &self.pool {
            Pool::MySql(pool) => {
                let mut connection = pool.acquire().await.map_err(|e| self.error(e))?;
                self.rows(On::MySql(&mut connection), text, values).await
            }
            Pool::Postgres(pool) => {
                let mut connection = pool.acquire().await.map_err(|e| self.error(e))?;
                self.rows(On::Postgres(&mut connection), text, values).await
            }
        }
    }

    /// Several statements that take effect together or not at all.
    pub(crate) async fn begin(&self) -> PortResult<Tx> {
        let inner = match &self.pool {
            Pool::MySql(pool) => self.within(pool.begin()).await.map(InnerTx::MySql),
            Pool::Postgres(pool) => self.within(pool.begin()).await.map(InnerTx::Postgres),
        };
        Ok(Tx { inner: inner?, database: self.clone() })
    }

    /// Repeats `call`, which is a read or one transaction, while the database takes it back or loses the connection. A call whose
    /// commit was lost is repeated only if `idempotent`.
    pub(crate) async fn repeat<T, F>(&self, idempotent: bool, call: impl Fn() -> F + Send) -> PortResult<T>
    where
        F: Future<Output = PortResult<T>> + Send,
    {
        let mut wait = FIRST_WAIT;
        for _ in 1..TRIES_MAX {
            let e = match call().await {
                Err(e) => e,
                answer => return answer,
            };
            if !(rolled_back(&e) || lost(&e) || idempotent && commit_lost(&e)) {
                return Err(e);
            }
            tokio::time::sleep(wait.mul_f64(0.5 + fastrand::f64())).await;
            wait *= 2;
        }
        call().await
    }

    async fn rows(&self, on: On<'_>, text: &str, values: Values<'_, '_>) -> PortResult<Vec<Row>> {
        let (sql, bound) = bind(text, self.dialect(), values)?;
        match on {
            On::MySql(connection) => {
                let query = sqlx::query_with(AssertSqlSafe(sql), self.mysql_arguments(&bound)?);
                let rows = self.within(query.fetch_all(connection)).await?;
                Ok(rows.into_iter().map(|row| Row::mysql(&self.what, row)).collect())
            }
            On::Postgres(connection) => {
                let query = sqlx::query_with(AssertSqlSafe(sql), self.postgres_arguments(&bound)?);
                let rows = self.within(query.fetch_all(connection)).await?;
                Ok(rows.into_iter().map(|row| Row::postgres(&self.what, row)).collect())
            }
        }
    }

    fn mysql_arguments(&self, bound: &[Bound<'_>]) -> PortResult<MySqlArguments> {
        let mut arguments = MySqlArguments::default();
        for value in bound {
            match value {
                Bound::Whole(whole) => arguments.add(whole),
                Bound::Text(text) => arguments.add(text),
                Bound::Bytes(bytes) => arguments.add(bytes),
            }
            .map_err(|e| self.error(sqlx::Error::Encode(e)))?;
        }
        Ok(arguments)
    }

    fn postgres_arguments(&self, bound: &[Bound<'_>]) -> PortResult<PgArguments> {
        let mut arguments = PgArguments::default();
        for value in bound {
            match value {
                Bound::Whole(whole) => arguments.add(whole),
                Bound::Text(text) => arguments.add(text),
                Bound::Bytes(bytes) => arguments.add(bytes),
            }
            .map_err(|e| self.error(sqlx::Error::Encode(e)))?;
        }
        Ok(arguments)
    }

    /// The database ends a long statement itself; we, when it no longer answers at all.
    async fn within<T>(&self, call: impl Future<Output = Result<T, sqlx::Error>>) -> PortResult<T> {
        let limit = self.statement_timeout + GRACE;
        match tokio::time::timeout(limit, call).await {
            Ok(answer) => answer.map_err(|e| self.error(e)),
            Err(_) => Err(self.silent("no answer", limit)),
        }
    }

    /// The connections, for migrations.
    pub(crate) fn pools(&self) -> Result<&MySqlPool, &PgPool> {
        match &self.pool {
            Pool::MySql(pool) => Ok(pool),
            Pool::Postgres(pool) => Err(pool),
        }
    }
}

impl Tx {
    /// Runs a statement and answers its rows.
    pub(crate) async fn fetch(&mut self, text: &str, values: Values<'_, '_>) -> PortResult<Vec<Row>> {
        let on = match &mut self.inner {
            InnerTx::MySql(tx) => On::MySql(tx),
            InnerTx::Postgres(tx) => On::Postgres(tx),
        };
        self.database.rows(on, text, values).await
    }

    /// Runs a statement and answers how many rows it found or wrote.
    pub(crate) async fn execute(&mut self, text: &str, values: Values<'_, '_>) -> PortResult<u64> {
        let database = &self.database;
        let (sql, bound) = bind(text, database.dialect(), values)?;
        match &mut self.inner {
            InnerTx::MySql(tx) => {
                let query = sqlx::query_with(AssertSqlSafe(sql), database.mysql_arguments(&bound)?);
                Ok(database.within(query.execute(&mut **tx)).await?.rows_affected())
            }
            InnerTx::Postgres(tx) => {
                let query = sqlx::query_with(AssertSqlSafe(sql), database.postgres_arguments(&bound)?);
                Ok(database.within(query.execute(&mut **tx)).await?.rows_affected())
            }
        }
    }

    /// Makes everything durable.
    pub(crate) async fn commit(self) -> PortResult<()> {
        let Self { inner, database } = self;
        let committed = match inner {
            InnerTx::MySql(tx) => database.within(tx.commit()).await,
            InnerTx::Postgres(tx) => database.within(tx.commit()).await,
        };
        committed.map_err(|e| match e {
            e if rolled_back(&e) => e,
            PortError::Unavailable { what, source, .. } => PortError::unavailable(what, LostCommit { source }),
            e => e,
        })
    }
}

/// The answer to a commit did not come: it may have taken effect.
#[derive(Debug, thiserror::Error)]
#[error("the commit was not answered: it may have taken effect")]
struct LostCommit {
    source: Option<chat::BoxError>,
}

fn commit_lost(e: &PortError) -> bool {
    matches!(e, PortError::Unavailable { source: Some(source), .. } if source.is::<LostCommit>())
}

/// What every connection is told first.
fn greeting(settings: &SqlSettings, access: Access, mariadb: bool) -> String {
    let (seconds, ms) = (settings.statement_timeout.as_secs().max(1), settings.statement_timeout.as_millis().max(1));
    match settings.url.dialect() {
        Dialect::MySql => {
            let limit =
                if mariadb { format!("max_statement_time = {seconds}") } else { format!("max_execution_time = {ms}") };
            let mode = if access == Access::Read { "SET SESSION TRANSACTION READ ONLY;" } else { "" };
            format!(
                "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED; {mode}
                 SET SESSION {limit}, SESSION innodb_lock_wait_timeout = {seconds};"
            )
        }
        Dialect::Postgres => {
            let mode = if access == Access::Read { "SET default_transaction_read_only = on;" } else { "" };
            // Our statements are many and short: compiling them to machine code never pays.
            format!(
                "SET default_transaction_isolation = 'read committed'; SET statement_timeout = {ms}; SET jit = off; {mode}"
            )
        }
    }
}

fn pool(settings: &SqlSettings, access: Access) -> Pool {
    let connections = settings.connections_max.max(1);
    let copy = settings.clone();
    match settings.url.target() {
        Target::MySql(options) => {
            let pool = MySqlPoolOptions::new()
                .max_connections(connections)
                .acquire_timeout(settings.acquire_timeout)
                .test_before_acquire(false)
                .before_acquire(|connection, meta| {
                    let test = meta.idle_for > IDLE_UNTESTED;
                    Box::pin(async move { if test { connection.ping().await.map(|()| true) } else { Ok(true) } })
                })
                .after_connect(move |connection, _| {
                    let settings = copy.clone();
                    Box::pin(async move {
                        let version: String =
                            sqlx::query_scalar("SELECT version()").fetch_one(&mut *connection).await?;
                        let greeting = greeting(&settings, access, version.contains("MariaDB"));
                        sqlx::raw_sql(AssertSqlSafe(greeting)).execute(connection).await.map(drop)
                    })
                });
            Pool::MySql(pool.connect_lazy_with(options.clone()))
        }
        Target::Postgres(options) => {
            let pool = PgPoolOptions::new()
                .max_connections(connections)
                .acquire_timeout(settings.acquire_timeout)
                .test_before_acquire(false)
                .before_acquire(|connection, meta| {
                    let test = meta.idle_for > IDLE_UNTESTED;
                    Box::pin(async move { if test { connection.ping().await.map(|()| true) } else { Ok(true) } })
                })
                .after_connect(move |connection, _| {
                    let greeting = greeting(&copy, access, false);
                    Box::pin(async move { sqlx::raw_sql(AssertSqlSafe(greeting)).execute(connection).await.map(drop) })
                });
            Pool::Postgres(pool.connect_lazy_with(options.clone()))
        }
    }
}

/// An instant as a column holds it.
pub(crate) fn ms(at: Timestamp) -> i64 {
    i64::try_from(at.as_millis()).unwrap_or(i64::MAX)
}

/// A number of rows as `LIMIT` takes it.
pub(crate) fn rows_max(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// A batch as the parameter of a statement that unfolds it.
pub(crate) fn json<T: Serialize>(rows: &[T]) -> PortResult<String> {
    serde_json::to_string(rows).map_err(|e| PortError::Refused {
        what: "a batch cannot be written as JSON".to_owned(),
        source: Some(e.into()),
    })
}
