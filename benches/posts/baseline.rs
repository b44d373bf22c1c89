//! One MySQL (or MariaDB): a message and its notification in one transaction that is durable when it ends, with as many connections
//! as there are callers. Once called directly, and once behind HTTP as the message path is: the same client and requests, the same
//! check of tokens, and no look at memberships.

use std::sync::Arc;

use anyhow::Result;
use api::Keys;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use chat::{AccountId, OrganizationId, Timestamp};
use jobs::messages::Caller;
use serde_json::Value;
use sqlx::MySqlPool;
use sqlx::mysql::MySqlPoolOptions;
use support::SqlServer;
use support::message_path::Http;
use tempfile::TempDir;
use tokio::net::TcpListener;

use crate::{ACCOUNT, Arguments, ORGANIZATION, body, fast};

const TABLES: [&str; 2] = [
    "CREATE TABLE messages (room BIGINT, id BIGINT AUTO_INCREMENT PRIMARY KEY, author BIGINT, body TEXT, KEY (room, id))",
    "CREATE TABLE notifications (id BIGINT AUTO_INCREMENT PRIMARY KEY, room BIGINT, message BIGINT)",
];

/// What stands behind it.
pub(crate) struct Baseline {
    pool: MySqlPool,
    folder: TempDir,
}

impl Baseline {
    /// None without a server.
    pub(crate) async fn new(arguments: &Arguments) -> Result<Option<Self>> {
        let folder = TempDir::new()?;
        let Ok(url) = SqlServer::MySql.database(folder.path()).await else { return Ok(None) };
        let pool = MySqlPoolOptions::new().max_connections(u32::try_from(arguments.connections)?).connect(&url).await?;
        // The server of the tests promises less.
        sqlx::query("SET GLOBAL innodb_flush_log_at_trx_commit = 1").execute(&pool).await?;
        for table in TABLES {
            sqlx::query(table).execute(&pool).await?;
        }
        Ok(Some(Self { pool, folder }))
    }

    /// Measures it and prints what came of it.
    pub(crate) async fn run(self, arguments: &Arguments) -> Result<()> {
        let (pool, rooms) = (self.pool.clone(), arguments.rooms);
        let plain = fast(arguments, move |number| {
            let pool = pool.clone();
            async move { insert(&pool, 1 + number % rooms, &body(number)).await.map(drop) }
        });
        let plain = plain.await?;
        println!("one MySQL");
        println!("inserted      {:>8.0}/s   {}", plain.rate, plain.times());
        let (http, token) = serve(self.pool.clone()).await?;
        let behind_http = fast(arguments, move |number| {
            let (http, token) = (Arc::clone(&http), token.clone());
            async move { crate::post(&http, &token, number, rooms).await.map(drop) }
        });
        let behind_http = behind_http.await?;
        println!("accepted      {:>8.0}/s   {}", behind_http.rate, behind_http.times());
        support::scratch::drop_databases(self.folder.path());
        Ok(())
    }
}

async fn insert(pool: &MySqlPool, room: u64, body: &str) -> Result<u64> {
    let room = i64::try_from(room)?;
    let mut transaction = pool.begin().await?;
    let message = sqlx::query("INSERT INTO messages (room, author, body) VALUES (?, ?, ?)");
    let message = message.bind(room).bind(1_i64).bind(body).execute(&mut *transaction).await?.last_insert_id();
    let notification = sqlx::query("INSERT INTO notifications (room, message) VALUES (?, ?)");
    notification.bind(room).bind(message).execute(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(message)
}

/// Serves it; the client for it and the header of its one account.
async fn serve(pool: MySqlPool) -> Result<(Arc<Http>, String)> {
    let keys = Arc::new(Keys::from_jwks(&Keys::generate()?)?);
    let (account, organization) = (AccountId::from_bits(ACCOUNT), OrganizationId::from_bits(ORGANIZATION));
    let caller = Caller { account, organization, is_admin: false };
    let token = keys.sign(caller, std::time::Duration::from_secs(3_600), Timestamp::now())?;
    let routes = Router::new().route("/v1/rooms/{room}/messages", post(accept)).with_state((pool, keys));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let http = Http::new(format!("http://{}", listener.local_addr()?));
    tokio::spawn(async move { axum::serve(listener, routes).await });
    Ok((Arc::new(http), format!("Bearer {token}")))
}

async fn accept(
    State((pool, keys)): State<(MySqlPool, Arc<Keys>)>,
    Path(room): Path<u64>,
    headers: HeaderMap,
    posted: String,
) -> (StatusCode, String) {
    let header = headers.get("authorization").and_then(|header| header.to_str().ok());
    let token = header.and_then(|header| header.strip_prefix("Bearer ")).unwrap_or_default();
    if keys.verify(token, Timestamp::now()).is_err() {
        return (StatusCode::UNAUTHORIZED, "{}".to_owned());
    }
    let posted: Value = serde_json::from_str(&posted).unwrap_or_default();
    match insert(&pool, room, posted["body"].as_str().unwrap_or_default()).await {
        Ok(id) => (StatusCode::ACCEPTED, serde_json::json!({"message_id": id.to_string()}).to_string()),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, serde_json::json!({"error": error.to_string()}).to_string()),
    }
}
