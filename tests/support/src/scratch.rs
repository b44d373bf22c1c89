//! Databases of a test's own on real SQL servers, made when first asked for and dropped with the test's folder.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use sqlx::mysql::MySqlConnection;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _};

/// A real SQL server, whose address stands in the environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SqlServer {
    /// MySQL or MariaDB.
    MySql,
    /// PostgreSQL.
    Postgres,
}

/// What was made, by folder.
static MADE: Mutex<BTreeMap<PathBuf, Vec<SqlServer>>> = Mutex::new(BTreeMap::new());

impl SqlServer {
    /// Both.
    pub const ALL: [Self; 2] = [Self::MySql, Self::Postgres];

    /// The variable with the server's address.
    pub const fn variable(self) -> &'static str {
        match self {
            Self::MySql => "LANNER_TEST_MYSQL_URL",
            Self::Postgres => "LANNER_TEST_POSTGRES_URL",
        }
    }

    /// As adapters and tests are called.
    pub const fn name(self) -> &'static str {
        match self {
            Self::MySql => "mysql",
            Self::Postgres => "postgres",
        }
    }

    fn url(self) -> Result<String, String> {
        let variable = self.variable();
        std::env::var(variable)
            .map_err(|_| format!("{variable} is not set (tests/servers starts a server and sets it)"))
    }

    /// The address of the database that belongs to `folder`; made if there is none. An error says why there is no server.
    pub async fn database(self, folder: &Path) -> Result<String, String> {
        let server = self.url()?;
        let name = name_of(folder);
        let mine = |made: &mut BTreeMap<PathBuf, Vec<SqlServer>>| {
            let servers = made.entry(folder.to_owned()).or_default();
            let known = servers.contains(&self);
            if !known {
                servers.push(self);
            }
            known
        };
        if !mine(&mut MADE.lock().unwrap_or_else(PoisonError::into_inner)) {
            self.run(&server, &format!("CREATE DATABASE {name}")).await.map_err(|e| format!("{}: {e}", self.name()))?;
        }
        let (place, parameters) = server.split_once('?').map_or((server.as_str(), None), |(a, b)| (a, Some(b)));
        let authority = place.splitn(4, '/').take(3).collect::<Vec<_>>().join("/");
        Ok(format!("{authority}/{name}{}", parameters.map(|p| format!("?{p}")).unwrap_or_default()))
    }

    async fn run(self, url: &str, sql: &str) -> Result<(), sqlx::Error> {
        let sql = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
        match self {
            Self::MySql => {
                let mut connection = MySqlConnection::connect(url).await?;
                sql.execute(&mut connection).await?;
                connection.close().await
            }
            Self::Postgres => {
                let mut connection = PgConnection::connect(url).await?;
                sql.execute(&mut connection).await?;
                connection.close().await
            }
        }
    }
}

/// Runs statements in a database that [`SqlServer::database`] made.
pub async fn run_sql(server: SqlServer, url: &str, sql: &str) -> Result<(), String> {
    server.run(url, sql).await.map_err(|e| format!("{}: {e}", server.name()))
}

/// Drops what was made for `folder`, also while connections are open.
pub fn drop_databases(folder: &Path) {
    let Some(servers) = MADE.lock().unwrap_or_else(PoisonError::into_inner).remove(folder) else { return };
    let name = name_of(folder);
    // A thread of its own: the caller may stand inside a runtime.
    let dropping = std::thread::spawn(move || {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
        for server in servers {
            let force = if server == SqlServer::Postgres { " WITH (FORCE)" } else { "" };
            let sql = format!("DROP DATABASE IF EXISTS {name}{force}");
            if let Ok(url) = server.url()
                && let Err(e) = runtime.block_on(server.run(&url, &sql))
            {
                eprintln!("{} keeps the database {name}: {e}", server.name());
            }
        }
    });
    _ = dropping.join();
}

fn name_of(folder: &Path) -> String {
    let mut hasher = DefaultHasher::new();
    folder.hash(&mut hasher);
    format!("lanner_{:016x}", hasher.finish())
}
