//! All adapters that stand under the laws.

use async_trait::async_trait;
use chat::{Epoch, Heads, Limits, LiveIds, MessageId, PortResult, RoomId};
use embedded::{LmdbHeads, LmdbLimits, LmdbLiveIds, MapSize, PackedIndex};
use support::{Faults, Flaky};
use tempfile::TempDir;

use crate::{heads, limits, live_ids};

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
