//! How a database is reached: its address, its limits in connections and time.

use std::str::FromStr;
use std::time::Duration;

use chat::{PortError, PortResult};
use sqlx::ConnectOptions as _;
use sqlx::mysql::MySqlConnectOptions;
use sqlx::postgres::PgConnectOptions;

/// Which SQL the database speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// MySQL 8.0.22 or later, MariaDB 10.6 or later.
    MySql,
    /// PostgreSQL 13 or later.
    Postgres,
}

/// The address of a database: `mysql://`, `mariadb://`, `postgres://` or `postgresql://`, then
/// `user:password@host:port/database?parameters`.
///
/// How the connection is secured stands in it: `?ssl-mode=` (MySQL: `DISABLED`, `PREFERRED`, `REQUIRED`, `VERIFY_CA`,
/// `VERIFY_IDENTITY`) or `?sslmode=` (PostgreSQL: `disable`, `allow`, `prefer`, `require`, `verify-ca`, `verify-full`), with the
/// certificates in `ssl-ca`, `ssl-cert`, `ssl-key`. The address may hold a password: it is never shown, only
/// [`SqlUrl::place`] is.
#[derive(Clone)]
pub struct SqlUrl {
    target: Target,
    place: String,
}

/// The address as the driver takes it.
#[derive(Clone)]
pub(crate) enum Target {
    MySql(MySqlConnectOptions),
    Postgres(PgConnectOptions),
}

impl SqlUrl {
    /// Reads an address.
    ///
    /// # Errors
    ///
    /// Refused when the text is no such address, or has a parameter that is not known: a misspelt one would be ignored.
    pub fn new(text: &str) -> PortResult<Self> {
        let form = "write it as mysql://user:password@host/database or postgres://user:password@host/database";
        let refused = |what: String| PortError::refused(format!("the address of the SQL database {what}: {form}"));
        let (scheme, rest) = text.split_once("://").ok_or_else(|| refused("has no scheme".to_owned()))?;
        let dialect = match scheme {
            "mysql" | "mariadb" => Dialect::MySql,
            "postgres" | "postgresql" => Dialect::Postgres,
            // Not shown: what stands before the first :// of a garbled address may hold the password.
            _ => return Err(refused("begins with an unknown scheme".to_owned())),
        };
        for (key, value) in rest.split_once('?').map_or("", |(_, parameters)| parameters).split('&').map(key_and_value)
        {
            if !value.is_empty() && !dialect.parameters().contains(&key) {
                return Err(refused(format!("has the unknown parameter '{key}'")));
            }
        }
        // What cannot be read is not repeated: it may be a password that holds a / or @.
        let unreadable = || refused("cannot be read (special characters of a password are written as %2F)".to_owned());
        let before_parameters = rest.split_once('?').map_or(rest, |(place, _)| place);
        let (authority, path) = before_parameters.split_once('/').unwrap_or((before_parameters, ""));
        if path.contains('@') {
            return Err(unreadable());
        }
        let target = match dialect {
            Dialect::MySql => MySqlConnectOptions::from_str(&format!("mysql://{rest}"))
                .map(|options| Target::MySql(options.disable_statement_logging())),
            Dialect::Postgres => {
                PgConnectOptions::from_str(text).map(|options| Target::Postgres(options.disable_statement_logging()))
            }
        };
        let target = target.map_err(|_| unreadable())?;
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        let place = format!("{}://{host}/{path}", dialect.name());
        Ok(Self { target, place })
    }

    /// Which SQL is spoken there.
    pub fn dialect(&self) -> Dialect {
        match self.target {
            Target::MySql(_) => Dialect::MySql,
            Target::Postgres(_) => Dialect::Postgres,
        }
    }

    /// Scheme, host, port and database: what may be shown.
    pub fn place(&self) -> &str {
        &self.place
    }

    pub(crate) fn target(&self) -> &Target {
        &self.target
    }
}

fn key_and_value(parameter: &str) -> (&str, &str) {
    parameter.split_once('=').unwrap_or((parameter, ""))
}

impl std::fmt::Debug for SqlUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.place)
    }
}

impl std::fmt::Display for SqlUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.place)
    }
}

impl FromStr for SqlUrl {
    type Err = PortError;

    fn from_str(text: &str) -> PortResult<Self> {
        Self::new(text)
    }
}

impl Dialect {
    const fn name(self) -> &'static str {
        match self {
            Self::MySql => "mysql",
            Self::Postgres => "postgres",
        }
    }

    /// Parameters of an address that the driver knows.
    const fn parameters(self) -> &'static [&'static str] {
        match self {
            Self::MySql => &[
                "sslmode",
                "ssl-mode",
                "sslca",
                "ssl-ca",
                "sslcert",
                "ssl-cert",
                "sslkey",
                "ssl-key",
                "charset",
                "collation",
                "socket",
                "statement-cache-capacity",
            ],
            Self::Postgres => &[
                "sslmode",
                "ssl-mode",
                "sslrootcert",
                "ssl-root-cert",
                "ssl-ca",
                "sslcert",
                "ssl-cert",
                "sslkey",
                "ssl-key",
                "host",
                "hostaddr",
                "port",
                "dbname",
                "user",
                "password",
                "application_name",
                "options",
                "statement-cache-capacity",
            ],
        }
    }
}

/// A database and the limits of its use.
#[derive(Clone, Debug)]
pub struct SqlSettings {
    /// Where it is.
    pub url: SqlUrl,
    /// Connections at most; at least 1.
    pub connections_max: u32,
    /// How long the first connection may take.
    pub connect_timeout: Duration,
    /// How long a call waits for a free connection.
    pub acquire_timeout: Duration,
    /// How long one statement may take, also when it waits for a lock.
    pub statement_timeout: Duration,
}

impl SqlSettings {
    /// The database at `url` with 8 connections, 10 s to connect, 30 s for a connection and 30 s for a statement.
    pub fn new(url: SqlUrl) -> Self {
        Self {
            url,
            connections_max: 8,
            connect_timeout: Duration::from_secs(10),
            acquire_timeout: Duration::from_secs(30),
            statement_timeout: Duration::from_secs(30),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_shown() {
        for text in [
            "mysql://lanner:s3cret@db.internal:3307/chat?ssl-mode=REQUIRED",
            "mariadb://lanner:s3cret@db.internal:3307/chat",
            "postgres://lanner:s3cret@db.internal:3307/chat?sslmode=require",
            "postgres://lanner@db.internal:3307/chat?password=s3cret",
        ] {
            let settings = SqlSettings::new(SqlUrl::new(text).expect(text));
            let shown = format!("{settings:?} {} {:?}", settings.url, settings.url);
            assert!(!shown.contains("s3cret") && !shown.contains("lanner"), "{shown}");
            assert!(shown.contains("://db.internal:3307/chat"), "{shown}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused_without_repeating_it() {
        for text in [
            "",
            "s3cret",
            "mysql:s3cret@host/db",
            "s3cret://host/db",
            "sqlite://s3cret",
            "mysql://u:s3cret@host:x/db",
            "mysql://u:s3cret@host/db?ssl-mode=s3cret",
            "postgres://u:s3cret@host/db?sslmode=s3cret",
            "postgres://host/db?pasword=s3cret",
            "mysql://host/db?password=s3cret",
            "mysql://u:12/s3cret@host/db",
        ] {
            let error = SqlUrl::new(text).expect_err(text);
            assert_eq!(error.class(), "refused");
            assert!(!format!("{error} {error:?}").contains("s3cret"), "{error:?}");
        }
    }
}
