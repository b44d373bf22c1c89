//! Adapters on MySQL and PostgreSQL: how they are opened, each folder with a database of its own, and how what they answer is
//! prepared.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use ::aws::{DynamoDb, DynamoDbLiveIds, DynamoDbLoad, DynamoDbMessages};
use async_trait::async_trait;
use chat::{
    AccountId, ChangeCursor, Day, Epoch, Heads, LiveIds, MessageId, Organization, OrganizationId, Plan, PortError,
    PortResult, RoomId,
};
use import::{Account, JoinedLoad, Load, LoadDirectory as _, Membership, Name, Source};
use sql::{SqlDirectory, SqlHeads, SqlLedger, SqlLiveIds, SqlLoad, SqlSettings, SqlUrl};
use support::{SqlServer, scratch};

use super::aws;
use crate::directory::{DirectoryWriter, Others};
use crate::dump::Loader;
use crate::live_ids::MessageWriter;
use crate::load::{Store, Target};
use crate::suite::Prepared;

async fn settings(server: SqlServer, folder: PathBuf) -> Result<SqlSettings, String> {
    let url = SqlUrl::new(&server.database(&folder).await?).map_err(|e| e.to_string())?;
    // Many tests run at once, each with several stores.
    Ok(SqlSettings { connections_max: 4, ..SqlSettings::new(url) })
}

pub(super) async fn directory(server: SqlServer, folder: PathBuf) -> Result<SqlDirectory, String> {
    let settings = settings(server, folder).await?;
    Ok(SqlDirectory::open(&settings).await.expect("a directory"))
}

/// A directory, and what else changes it.
pub(super) async fn directory_store(server: SqlServer, folder: PathBuf) -> Result<crate::directory::Store, String> {
    let url = server.database(&folder).await?;
    let directory = directory(server, folder).await?;
    assert!(directory.warnings().is_empty(), "{:?}", directory.warnings());
    Ok(crate::directory::Store {
        port: Arc::new(directory.clone()),
        writer: Arc::new(directory.clone()),
        others: Box::new(DirectoryOthers { server, url, directory }),
    })
}

/// Imports into a directory, and whoever else writes to its tables.
struct DirectoryOthers {
    server: SqlServer,
    url: String,
    directory: SqlDirectory,
}

#[async_trait]
impl Others for DirectoryOthers {
    async fn import(&self, organizations: &[Organization]) -> PortResult<()> {
        let mut load = SqlLoad::new(&self.directory)?;
        load.begin(&Source { epoch: Epoch::default(), fingerprint: 1 }).await?;
        load.organizations(organizations).await?;
        load.publish().await?;
        load.finish().await
    }

    async fn note_changes(&self, changes: &[ChangeCursor]) -> PortResult<()> {
        let otherwise = match self.server {
            SqlServer::MySql => "ON DUPLICATE KEY UPDATE changed = VALUES(changed)",
            SqlServer::Postgres => "ON CONFLICT (organization) DO UPDATE SET changed = excluded.changed",
        };
        let rows: Vec<String> =
            changes.iter().map(|change| format!("({}, {})", change.organization, change.changed)).collect();
        let rows = rows.join(", ");
        let sql = format!("INSERT INTO organization_changes (organization, changed) VALUES {rows} {otherwise}");
        scratch::run_sql(self.server, &self.url, &sql).await.map_err(PortError::refused)
    }
}

pub(super) async fn heads(server: SqlServer, folder: PathBuf) -> Result<SqlHeads, String> {
    let settings = settings(server, folder).await?;
    Ok(SqlHeads::open(&settings).await.expect("heads"))
}

pub(super) async fn ledger(server: SqlServer, folder: PathBuf) -> Result<SqlLedger, String> {
    let settings = settings(server, folder).await?;
    Ok(SqlLedger::open(&settings).await.expect("a ledger"))
}

/// A directory and heads in SQL, messages in DynamoDB, loaded by `way`.
pub(super) async fn load(server: SqlServer, folder: PathBuf, way: aws::Way) -> Result<Store, String> {
    let straight = aws::dynamodb(&folder, aws::Way::Straight).await?;
    let directory = directory(server, folder.clone()).await?;
    let heads: Arc<dyn Heads> = Arc::new(heads(server, folder.clone()).await?);
    let db = aws::dynamodb(&folder, way).await?;
    Ok(Store {
        directory: Arc::new(directory.clone()),
        owned_directory: Arc::new(directory.clone()),
        live_ids: Arc::new(DynamoDbLiveIds::new(straight)),
        heads: heads.clone(),
        target: Box::new(CloudLoader { directory, heads, db }),
    })
}

/// Loads into SQL and DynamoDB.
struct CloudLoader {
    directory: SqlDirectory,
    heads: Arc<dyn Heads>,
    db: DynamoDb,
}

#[async_trait]
impl Loader for CloudLoader {
    async fn load(&self) -> PortResult<Box<dyn Load>> {
        let (directory, messages) = (Box::new(SqlLoad::new(&self.directory)?), Box::new(DynamoDbLoad::new(&self.db)));
        Ok(Box::new(JoinedLoad::new(directory, messages, Some(self.heads.clone()))))
    }
}

#[async_trait]
impl Target for CloudLoader {
    async fn unfinished(&self) -> PortResult<bool> {
        self.directory.unfinished_import().await
    }

    async fn messages(&self) -> PortResult<Arc<dyn chat::Messages>> {
        Ok(Arc::new(DynamoDbMessages::new(self.db.clone())))
    }
}

/// A chat's table of messages and the query that reads it.
pub(super) async fn live_ids(
    server: SqlServer,
    folder: PathBuf,
) -> Result<Prepared<dyn LiveIds, dyn MessageWriter>, String> {
    let messages = Messages { server, url: server.database(&folder).await? };
    let table = "CREATE TABLE IF NOT EXISTS messages (
        room BIGINT NOT NULL, id BIGINT NOT NULL, deleted BOOLEAN NOT NULL, PRIMARY KEY (room, id))";
    scratch::run_sql(server, &messages.url, table).await.expect("a table");
    let query = "SELECT id FROM messages WHERE room = :room AND id >= :at_least AND id < :below AND NOT deleted
                 ORDER BY id DESC LIMIT :limit";
    let live_ids = SqlLiveIds::open_chat(&settings(server, folder).await?, query).await.expect("live ids");
    assert!(live_ids.warnings().is_empty(), "{:?}", live_ids.warnings());
    Ok(Prepared { port: Arc::new(live_ids), writer: Arc::new(messages) })
}

/// The chat itself: writes its messages.
struct Messages {
    server: SqlServer,
    url: String,
}

impl Messages {
    async fn write(&self, room: RoomId, ids: &[MessageId], deleted: bool, otherwise: &str) -> PortResult<()> {
        let ids: BTreeSet<&MessageId> = ids.iter().collect();
        let rows: Vec<String> = ids.iter().map(|id| format!("({room}, {id}, {deleted})")).collect();
        if rows.is_empty() {
            return Ok(());
        }
        let sql = format!("INSERT INTO messages (room, id, deleted) VALUES {} {otherwise}", rows.join(", "));
        scratch::run_sql(self.server, &self.url, &sql).await.map_err(PortError::refused)
    }
}

#[async_trait]
impl MessageWriter for Messages {
    async fn insert(&self, room: RoomId, ids: &[MessageId]) -> PortResult<()> {
        let otherwise = match self.server {
            SqlServer::MySql => "ON DUPLICATE KEY UPDATE deleted = deleted",
            SqlServer::Postgres => "ON CONFLICT DO NOTHING",
        };
        self.write(room, ids, false, otherwise).await
    }

    async fn delete(&self, room: RoomId, ids: &[MessageId]) -> PortResult<()> {
        let otherwise = match self.server {
            SqlServer::MySql => "ON DUPLICATE KEY UPDATE deleted = TRUE",
            SqlServer::Postgres => "ON CONFLICT (room, id) DO UPDATE SET deleted = TRUE",
        };
        self.write(room, ids, true, otherwise).await
    }
}

/// Heads know no messages: what is left of writing one is raising the head of its room.
#[async_trait]
impl MessageWriter for SqlHeads {
    async fn insert(&self, room: RoomId, ids: &[MessageId]) -> PortResult<()> {
        let days: Vec<_> = ids.iter().map(|id| (room, Day::of(Epoch::default().time_of(*id)))).collect();
        self.raise(&days).await
    }

    async fn delete(&self, _: RoomId, _: &[MessageId]) -> PortResult<()> {
        Ok(())
    }
}

#[async_trait]
impl DirectoryWriter for SqlDirectory {
    async fn put_organizations(&self, organizations: &[Organization]) -> PortResult<()> {
        self.put_organizations(organizations).await
    }

    async fn put_accounts(&self, accounts: &[Account]) -> PortResult<()> {
        self.put_accounts(accounts).await
    }

    async fn put_rooms(&self, rooms: &[RoomId]) -> PortResult<()> {
        self.put_rooms(rooms).await
    }

    async fn put_names(&self, names: &[Name]) -> PortResult<()> {
        self.put_names(names).await
    }

    async fn set_plan(&self, organization: OrganizationId, plan: Plan) -> PortResult<()> {
        self.set_plan(organization, plan).await.map(drop)
    }

    async fn put_memberships(&self, memberships: &[Membership]) -> PortResult<()> {
        self.put_memberships(memberships).await
    }

    async fn transfer(&self, account: AccountId, organization: OrganizationId) -> PortResult<()> {
        self.transfer(account, organization).await
    }

    async fn set_active(&self, account: AccountId, active: bool) -> PortResult<()> {
        self.set_active(account, active).await
    }
}
