//! What a database's failure means: whether to repeat, and what to tell.

use chat::PortError;
use sqlx::mysql::MySqlDatabaseError;
use sqlx::postgres::PgDatabaseError;

/// What a failure asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// The database took the transaction back for the sake of another one: begin it again.
    RolledBack,
    /// The database is away or full or busy.
    Away,
    /// The request is wrong, or not allowed.
    Refused,
    /// What is stored does not read.
    Corrupt,
}

/// Sorts a failure by what the caller does about it. `what` names the database, without its password.
pub(crate) fn port_error(what: &str, e: sqlx::Error) -> PortError {
    match kind(&e) {
        Kind::RolledBack | Kind::Away => PortError::unavailable(what, e),
        Kind::Refused => PortError::Refused { what: format!("{what} refused"), source: Some(e.into()) },
        Kind::Corrupt => PortError::Corrupt { what: format!("{what} does not read back"), source: Some(e.into()) },
    }
}

/// True when nothing of the transaction is left, so that it can begin again whatever it did.
pub(crate) fn rolled_back(e: &PortError) -> bool {
    cause(e).is_some_and(|cause| kind(cause) == Kind::RolledBack)
}

/// True when the connection went away: what was not yet committed is undone, of a commit nobody knows.
pub(crate) fn lost(e: &PortError) -> bool {
    matches!(cause(e), Some(sqlx::Error::Io(_) | sqlx::Error::Protocol(_)))
        || cause(e).and_then(sqlx::Error::as_database_error).is_some_and(|e| {
            let code = e.code().unwrap_or_default();
            // The administrator or a failover ended the session.
            code == "57P01"
                || code == "57P02"
                || code.starts_with("08")
                || e.try_downcast_ref::<MySqlDatabaseError>()
                    .is_some_and(|e| matches!(e.number(), 1053 | 1927 | 2006 | 2013))
        })
}

fn cause(e: &PortError) -> Option<&sqlx::Error> {
    match e {
        PortError::Unavailable { source: Some(source), .. } => source.downcast_ref(),
        _ => None,
    }
}

fn kind(e: &sqlx::Error) -> Kind {
    use sqlx::Error as E;
    match e {
        E::Database(database) => {
            if let Some(e) = database.try_downcast_ref::<MySqlDatabaseError>() {
                mysql(e.number())
            } else if let Some(e) = database.try_downcast_ref::<PgDatabaseError>() {
                postgres(e.code())
            } else {
                Kind::Refused
            }
        }
        E::Io(_) | E::Protocol(_) | E::PoolTimedOut | E::PoolClosed | E::WorkerCrashed => Kind::Away,
        E::RowNotFound | E::ColumnDecode { .. } | E::Decode(_) => Kind::Corrupt,
        _ => Kind::Refused,
    }
}

fn mysql(number: u16) -> Kind {
    match number {
        // Deadlock, wait for a lock too long, a record changed since it was read.
        1213 | 1205 | 1020 => Kind::RolledBack,
        // Too many connections, shutting down, killed, interrupted.
        1040 | 1203 | 1226 | 1053 | 1317 | 1927 | 2006 | 2013 => Kind::Away,
        // The statement took too long (MySQL, MariaDB).
        3024 | 1969 => Kind::Away,
        // Disk or table full; the server is read only, as a replica is before it takes over.
        1021 | 1114 | 1290 | 1836 => Kind::Away,
        // Index, table or data file damaged.
        126 | 127 | 145 | 1034 | 1194 | 1712 => Kind::Corrupt,
        _ => Kind::Refused,
    }
}

fn postgres(code: &str) -> Kind {
    match code {
        // Serialization failure, deadlock, lock not available.
        "40001" | "40P01" | "55P03" => Kind::RolledBack,
        // The statement took too long; administrator's shutdown, crash, starting up; a standby before it takes over.
        "57014" | "57P01" | "57P02" | "57P03" | "25006" => Kind::Away,
        // Connection exceptions, insufficient resources, system errors.
        _ if code.starts_with("08") || code.starts_with("53") || code.starts_with("58") => Kind::Away,
        // Data or index corrupted.
        "XX001" | "XX002" => Kind::Corrupt,
        _ => Kind::Refused,
    }
}
