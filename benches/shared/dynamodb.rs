//! DynamoDB instead of embedded stores.

use anyhow::Result;
use aws::{Credentials, DynamoDb, DynamoDbSettings, ServiceSettings, Tables, provision};

/// The server that `tests/servers` has started, with tables of its own; none where it has started none. Says which.
pub(crate) async fn dynamodb() -> Result<Option<DynamoDb>> {
    let Ok(endpoint) = std::env::var("LANNER_TEST_DYNAMODB_URL") else {
        println!("everything is embedded");
        return Ok(None);
    };
    let service = ServiceSettings {
        region: Some("eu-central-1".to_owned()),
        endpoint: Some(endpoint),
        credentials: Credentials::Local,
        ..ServiceSettings::default()
    };
    let tables = Tables::with_prefix("bench-");
    let db = DynamoDb::connect(&service, DynamoDbSettings { tables, ..DynamoDbSettings::default() }).await?;
    provision::create_tables(&db).await?;
    println!("what is written stands in DynamoDB");
    Ok(Some(db))
}
