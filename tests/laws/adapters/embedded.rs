//! Embedded adapters: how they are opened, and how what they answer is prepared.

use std::path::PathBuf;

use async_trait::async_trait;
use chat::{AccountId, Epoch, Message, MessageId, Organization, OrganizationId, Plan, PortResult, RoomId};
use embedded::{
    Access, DataDir, EmbeddedDump, EmbeddedLoad, LmdbLimits, LmdbMessages, MapSize, PackedIndex, SqliteDirectory,
    SqliteLedger, SqliteQueue, SqliteState,
};
use import::{Account, Load, Membership, Name};

use crate::directory::DirectoryWriter;
use crate::dump::Loader;
use crate::live_ids::MessageWriter;
use crate::messages::BodyWriter;

async fn data_dir(folder: PathBuf) -> DataDir {
    DataDir::open(folder, Access::Write, "laws").await.expect("a data directory")
}

pub(super) async fn directory(folder: PathBuf) -> SqliteDirectory {
    SqliteDirectory::open(&data_dir(folder).await).await.expect("a directory")
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

pub(super) fn messages(folder: PathBuf) -> LmdbMessages {
    LmdbMessages::open(&folder, MapSize::default()).expect("messages")
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
