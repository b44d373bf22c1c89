//! Embedded adapters: how they are opened, and how what they answer is prepared.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chat::{
    AccountId, ChangeCursor, Directory, Epoch, Message, MessageId, MessageStore, Messages, Organization,
    OrganizationId, Plan, PortError, PortResult, RoomId,
};
use embedded::{
    Access, DataDir, EmbeddedDump, EmbeddedLoad, LmdbHeads, LmdbLimits, LmdbLiveIds, LmdbLog, LmdbMessageStore,
    LmdbMessages, MapSize, PackedIndex, SqliteDirectory, SqliteLedger, SqliteQueue, SqliteState,
};
use import::{Account, Load, Membership, Name, Source};
use sqlx::Connection as _;

use crate::directory::{DirectoryWriter, Others};
use crate::dump::Loader;
use crate::live_ids::MessageWriter;
use crate::load::{Store, Target};
use crate::messages::BodyWriter;
use crate::suite::Law;

async fn data_dir(folder: PathBuf) -> DataDir {
    DataDir::open(folder, Access::Write, "laws").await.expect("a data directory")
}

pub(super) async fn directory(folder: PathBuf) -> SqliteDirectory {
    SqliteDirectory::open(&data_dir(folder).await).await.expect("a directory")
}

/// A directory, and what else changes it.
pub(super) async fn directory_store(
    folder: PathBuf,
    port: impl FnOnce(SqliteDirectory) -> Arc<dyn Directory>,
) -> crate::directory::Store {
    let dir = data_dir(folder).await;
    let directory = SqliteDirectory::open(&dir).await.expect("a directory");
    let writer = Arc::new(directory.clone());
    crate::directory::Store { port: port(directory), writer, others: Box::new(DataDirLoader(dir)) }
}

#[async_trait]
impl Others for DataDirLoader {
    async fn import(&self, organizations: &[Organization]) -> PortResult<()> {
        let mut load = self.load().await?;
        load.begin(&Source { epoch: Epoch::default(), fingerprint: 1 }).await?;
        load.organizations(organizations).await?;
        load.publish().await?;
        load.finish().await
    }

    async fn note_changes(&self, changes: &[ChangeCursor]) -> PortResult<()> {
        let refused = |e: sqlx::Error| PortError::refused(e.to_string());
        let url = format!("sqlite://{}", self.0.directory_sqlite().display());
        let mut connection = sqlx::SqliteConnection::connect(&url).await.map_err(refused)?;
        for change in changes {
            let query =
                sqlx::query("INSERT OR REPLACE INTO organization_changes (organization, changed) VALUES (?1, ?2)");
            let query = query.bind(change.organization.as_i64()).bind(change.changed.cast_signed());
            query.execute(&mut connection).await.map_err(refused)?;
        }
        connection.close().await.map_err(refused)
    }
}

pub(super) async fn ledger(folder: PathBuf) -> SqliteLedger {
    SqliteLedger::open(&data_dir(folder).await).await.expect("a ledger")
}

pub(super) async fn queue(folder: PathBuf) -> SqliteQueue {
    SqliteQueue::open(&data_dir(folder).await, "laws").await.expect("a queue")
}

pub(super) async fn state(folder: PathBuf) -> SqliteState {
    SqliteState::open(&data_dir(folder).await).await.expect("a state")
}

pub(super) fn index(folder: PathBuf) -> PackedIndex {
    PackedIndex::open(&folder, MapSize::default(), Epoch::default()).expect("an index")
}

pub(super) fn limits(folder: PathBuf) -> LmdbLimits {
    LmdbLimits::open(&folder, MapSize::default()).expect("limits")
}

/// Seven partitions, and a session of a second.
pub(super) fn log(folder: PathBuf) -> LmdbLog {
    LmdbLog::open("laws", &folder, 7, Duration::from_secs(1), MapSize::default()).expect("a log")
}

pub(super) fn messages(folder: PathBuf) -> LmdbMessages {
    LmdbMessages::open(&folder, MapSize::default()).expect("messages")
}

/// A message store, and what has to agree with it.
pub(super) fn message_store(
    folder: PathBuf,
    port: impl FnOnce(LmdbMessageStore) -> Arc<dyn MessageStore>,
) -> crate::messages::store::Store {
    let (index, messages) = (index(folder.join("live_ids")), messages(folder.join("messages")));
    crate::messages::store::Store {
        port: port(LmdbMessageStore::new(messages.clone(), index.clone())),
        live_ids: Arc::new(LmdbLiveIds::new(index.clone())),
        heads: Arc::new(LmdbHeads::new(index.clone())),
        import: Arc::new(Imported { index, messages }),
    }
}

/// Writes ids and bodies in the order in which an import does.
struct Imported {
    index: PackedIndex,
    messages: LmdbMessages,
}

#[async_trait]
impl BodyWriter for Imported {
    async fn put(&self, messages: &[Message]) -> PortResult<()> {
        for message in messages {
            match message.content {
                Some(_) => self.index.insert(message.room, &[message.id])?,
                None => self.index.delete(message.room, &[message.id])?,
            }
        }
        self.messages.put(messages)
    }
}

/// What is read and, in the same process, what loads.
pub(super) async fn dump(folder: PathBuf) -> (EmbeddedDump, DataDirLoader) {
    let dir = DataDir::open(folder, Access::Exclusive, "laws").await.expect("a data directory");
    let directory = SqliteDirectory::open(&dir).await.expect("a directory");
    (EmbeddedDump::new(directory, index(dir.live_ids())), DataDirLoader(dir))
}

/// Loads into a data directory.
pub(super) struct DataDirLoader(DataDir);

#[async_trait]
impl Loader for DataDirLoader {
    async fn load(&self) -> PortResult<Box<dyn Load>> {
        Ok(Box::new(EmbeddedLoad::open(&self.0, MapSize::default()).await?))
    }
}

/// A data directory opened for loads, and everything that reads it.
pub(super) async fn load(folder: PathBuf) -> Store {
    let dir = DataDir::open(folder, Access::Exclusive, "laws").await.expect("a data directory");
    let directory = Arc::new(SqliteDirectory::open(&dir).await.expect("a directory"));
    let index = index(dir.live_ids());
    Store {
        directory: directory.clone(),
        owned_directory: directory,
        live_ids: Arc::new(LmdbLiveIds::new(index.clone())),
        heads: Arc::new(LmdbHeads::new(index)),
        target: Box::new(DataDirLoader(dir)),
    }
}

#[async_trait]
impl Target for DataDirLoader {
    async fn unfinished(&self) -> PortResult<bool> {
        SqliteDirectory::open(&self.0).await?.unfinished_import().await
    }

    async fn messages(&self) -> PortResult<Arc<dyn Messages>> {
        Ok(Arc::new(messages(self.0.messages())))
    }
}

/// Laws of `Load` that are kept elsewhere.
pub(super) fn load_excepts(law: Law) -> Option<&'static str> {
    (law.name == "of_two_loads_at_once_one_is_told_so")
        .then_some("whoever opens the data directory for an import keeps everybody else out")
}

#[async_trait]
impl BodyWriter for LmdbMessages {
    async fn put(&self, messages: &[Message]) -> PortResult<()> {
        self.put(messages)
    }
}

#[async_trait]
impl MessageWriter for PackedIndex {
    async fn insert(&self, room: RoomId, ids: &[MessageId]) -> PortResult<()> {
        self.insert(room, ids)
    }

    async fn delete(&self, room: RoomId, ids: &[MessageId]) -> PortResult<()> {
        self.delete(room, ids)
    }
}

#[async_trait]
impl DirectoryWriter for SqliteDirectory {
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
