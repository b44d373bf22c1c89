//! The services of a test: a database, tables and queues of its own on real servers, and the settings of the binary for them.

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

    /// The settings with every port behind a service.
    pub fn settings(&self) -> String {
        let Self { sql_url, dynamodb_url, sqs_url, prefix, .. } = self;
        format!(
            "[directory]\nadapter = \"sql\"\nurl = \"{sql_url}\"\n\
             [ledger]\nadapter = \"sql\"\nurl = \"{sql_url}\"\n\
             [messages]\nadapter = \"dynamodb\"\n\
             [limits]\nadapter = \"dynamodb\"\n\
             [queue]\nadapter = \"sqs\"\n\
             [aws]\nregion = \"eu-central-1\"\ncredentials = \"local\"\n\
             [dynamodb]\nendpoint = \"{dynamodb_url}\"\ntable_prefix = \"{prefix}\"\n\
             [sqs]\nendpoint = \"{sqs_url}\"\nqueue_prefix = \"{prefix}\"\n"
        )
    }

    /// Writes the settings, with `more` behind them, into the folder, and answers the file.
    pub fn write_settings(&self, more: &str) -> PathBuf {
        let path = self.folder.join("lanner.toml");
        std::fs::write(&path, format!("{}{more}", self.settings())).expect("a settings file");
        path
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        scratch::drop_databases(&self.folder);
    }
}
