//! The services of a test: a database, tables and queues of its own on real servers.

use std::path::{Path, PathBuf};

use crate::{SqlServer, scratch};

/// Databases, tables and queues that belong to a folder; the databases are dropped with it.
#[derive(Debug)]
pub struct Services {
    folder: PathBuf,
    /// The server of the directory and of the ledger.
    pub sql: SqlServer,
    /// Its database.
    pub sql_url: String,
    /// The address of DynamoDB.
    pub dynamodb_url: String,
    /// The address of SQS.
    pub sqs_url: String,
    /// What the names of tables and queues begin with.
    pub prefix: String,
}

impl Services {
    /// Those of `folder`, or why there are none.
    pub async fn new(sql: SqlServer, folder: &Path) -> Result<Self, String> {
        let url = |name: &str| std::env::var(name).map_err(|_| format!("{name} is not set (tests/servers sets it)"));
        let (dynamodb_url, sqs_url) = (url("LANNER_TEST_DYNAMODB_URL")?, url("LANNER_TEST_SQS_URL")?);
        let sql_url = sql.database(folder).await?;
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        let letters: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
        let prefix = format!("{}-{letters}-", sql.name());
        Ok(Self { folder: folder.to_owned(), sql, sql_url, dynamodb_url, sqs_url, prefix })
    }

    /// The settings of `docs/examples/services` that are others here.
    pub fn environment(&self) -> [(&'static str, &str); 6] {
        [
            ("LANNER_DIRECTORY_URL", &self.sql_url),
            ("LANNER_LEDGER_URL", &self.sql_url),
            ("LANNER_DYNAMODB_ENDPOINT", &self.dynamodb_url),
            ("LANNER_DYNAMODB_TABLE_PREFIX", &self.prefix),
            ("LANNER_SQS_ENDPOINT", &self.sqs_url),
            ("LANNER_SQS_QUEUE_PREFIX", &self.prefix),
        ]
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        scratch::drop_databases(&self.folder);
    }
}
