//! Adapters on LMDB.

use async_trait::async_trait;
use chat::{
    AccountId, Directory, Epoch, Heads, Limits, LiveIds, MessageId, Organization, OrganizationId, Plan, PortResult,
    RoomId,
};
use embedded::{Access, DataDir, LmdbHeads, LmdbLimits, LmdbLiveIds, MapSize, PackedIndex, SqliteDirectory};
use import::{Account, Membership};
use support::{Faults, Flaky};
use tempfile::TempDir;

use crate::{directory, heads, limits, live_ids};

directory::laws!(sqlite_directory, async || on_directory(|directory| directory).await);
directory::laws!(flaky_sqlite_directory, async || on_directory(flaky).await);
live_ids::laws!(lmdb_live_ids, || on_index(LmdbLiveIds::new));
live_ids::laws!(flaky_lmdb_live_ids, || on_index(|index| flaky(LmdbLiveIds::new(index))));
heads::laws!(lmdb_heads, || on_index(LmdbHeads::new));
heads::laws!(flaky_lmdb_heads, || on_index(|index| flaky(LmdbHeads::new(index))));
limits::laws!(lmdb_limits, || on_limits(|limits| limits));
limits::laws!(flaky_lmdb_limits, || on_limits(flaky));

/// Fails in every third call.
fn flaky<T>(adapter: T) -> Flaky<T> {
    Flaky::new(adapter, Faults::new(7, 33))
}

/// An adapter on a packed index of its own.
struct OnIndex<P> {
    port: P,
    index: PackedIndex,
    _dir: TempDir,
}

fn on_index<P>(port: impl FnOnce(PackedIndex) -> P) -> OnIndex<P> {
    let dir = TempDir::new().expect("a directory");
    let index = PackedIndex::open(dir.path(), MapSize::default(), Epoch::default()).expect("an index");
    OnIndex { port: port(index.clone()), index, _dir: dir }
}

#[async_trait]
impl<P: LiveIds> live_ids::Written for OnIndex<P> {
    fn port(&self) -> &dyn LiveIds {
        &self.port
    }

    async fn insert(&self, room: RoomId, ids: &[MessageId]) -> PortResult<()> {
        self.index.insert(room, ids)
    }

    async fn delete(&self, room: RoomId, ids: &[MessageId]) -> PortResult<()> {
        self.index.delete(room, ids)
    }
}

#[async_trait]
impl<P: Heads> heads::Headed for OnIndex<P> {
    fn port(&self) -> &dyn Heads {
        &self.port
    }

    fn epoch(&self) -> Epoch {
        self.index.epoch()
    }

    async fn insert(&self, room: RoomId, ids: &[MessageId]) -> PortResult<()> {
        self.index.insert(room, ids)
    }
}

/// Limits in a directory of their own.
struct OnLimits<P> {
    port: P,
    _dir: TempDir,
}

fn on_limits<P>(port: impl FnOnce(LmdbLimits) -> P) -> OnLimits<P> {
    let dir = TempDir::new().expect("a directory");
    let limits = LmdbLimits::open(dir.path(), MapSize::default()).expect("limits");
    OnLimits { port: port(limits), _dir: dir }
}

impl<P: Limits> limits::Kept for OnLimits<P> {
    fn port(&self) -> &dyn Limits {
        &self.port
    }
}

/// A directory in a data directory of its own. Changes go past what fails on demand: they are no part of the port.
struct OnDirectory<P> {
    port: P,
    directory: SqliteDirectory,
    _dir: TempDir,
}

async fn on_directory<P>(port: impl FnOnce(SqliteDirectory) -> P) -> OnDirectory<P> {
    let dir = TempDir::new().expect("a directory");
    let data_dir = DataDir::open(dir.path(), Access::Write, "laws").await.expect("a data directory");
    let directory = SqliteDirectory::open(&data_dir).await.expect("a directory");
    OnDirectory { port: port(directory.clone()), directory, _dir: dir }
}

#[async_trait]
impl<P: Directory> directory::Changed for OnDirectory<P> {
    fn port(&self) -> &dyn Directory {
        &self.port
    }

    async fn put_organizations(&self, organizations: &[Organization]) -> PortResult<()> {
        self.directory.put_organizations(organizations).await
    }

    async fn put_accounts(&self, accounts: &[Account]) -> PortResult<()> {
        self.directory.put_accounts(accounts).await
    }

    async fn put_rooms(&self, rooms: &[RoomId]) -> PortResult<()> {
        self.directory.put_rooms(rooms).await
    }

    async fn set_plan(&self, organization: OrganizationId, plan: Plan) -> PortResult<()> {
        self.directory.set_plan(organization, plan).await
    }

    async fn join(&self, memberships: &[Membership]) -> PortResult<()> {
        self.directory.join(memberships).await
    }

    async fn leave(&self, memberships: &[Membership]) -> PortResult<()> {
        self.directory.leave(memberships).await
    }

    async fn transfer(&self, account: AccountId, organization: OrganizationId) -> PortResult<()> {
        self.directory.transfer(account, organization).await
    }

    async fn set_active(&self, account: AccountId, active: bool) -> PortResult<()> {
        self.directory.set_active(account, active).await
    }
}
