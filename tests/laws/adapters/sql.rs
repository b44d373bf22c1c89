//! Adapters on MySQL and PostgreSQL: how they are opened, each folder with a database of its own, and how what they answer is
//! prepared.

use std::path::PathBuf;

use sql::{SqlLedger, SqlSettings, SqlUrl};
use support::SqlServer;

async fn settings(server: SqlServer, folder: PathBuf) -> Result<SqlSettings, String> {
    let url = SqlUrl::new(&server.database(&folder).await?).map_err(|e| e.to_string())?;
    // Many tests run at once, each with several stores.
    Ok(SqlSettings { connections_max: 4, ..SqlSettings::new(url) })
}

pub(super) async fn ledger(server: SqlServer, folder: PathBuf) -> Result<SqlLedger, String> {
    let settings = settings(server, folder).await?;
    Ok(SqlLedger::open(&settings).await.expect("a ledger"))
}
