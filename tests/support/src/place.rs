//! A data directory of a test's own, with a small chat in it, opened as ports.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chat::ledger::{Filter, RunOrganization};
use chat::{Epoch, Ledger, LimitRow, Limits, Policy, RunId};
use embedded::{
    Access, DataDir, EmbeddedLoad, LmdbHeads, LmdbLimits, LmdbLiveIds, MapSize, PackedIndex, SqliteDirectory,
    SqliteLedger, SqliteQueue,
};
use import::ImportOptions;
use jobs::{ORGANIZATION_QUEUE, Ports, ROOM_QUEUE};
use tempfile::TempDir;

use crate::{Faults, Flaky, Slow, SmallChat, until};

/// The policy of small chats: N is small enough to bind.
pub fn policy() -> Policy {
    Policy::new(25, Some(Policy::MAX_AGE_MS)).expect("a policy")
}

/// A temporary data directory with a chat.
pub struct Place {
    dir: TempDir,
    /// What is in it.
    pub chat: SmallChat,
}

/// An open place: the ports, and the adapters behind two of them.
pub struct Open {
    /// The ports.
    pub ports: Ports,
    /// The directory, for changes.
    pub directory: SqliteDirectory,
    /// The index of message ids, for changes.
    pub index: PackedIndex,
}

impl Place {
    /// Imports a chat of `organizations` organizations made from `seed`.
    pub async fn new(seed: u64, organizations: u64) -> Self {
        Self::of(SmallChat::random(seed, organizations)).await
    }

    /// Imports `chat`.
    pub async fn of(chat: SmallChat) -> Self {
        let place = Self { dir: TempDir::new().expect("a folder"), chat };
        let tables = place.tables();
        place.chat.write_csv(&tables);
        let dir = DataDir::open(place.data_dir(), Access::Exclusive, "test").await.expect("a data directory");
        let mut load = EmbeddedLoad::open(&dir, MapSize::default()).await.expect("a load");
        import::import(&tables, &ImportOptions::new(dir.path()), &mut load, &mut |_| {}).await.expect("an import");
        drop((load, dir));
        place.until_closed().await;
        place
    }

    /// SQLite's connections close a moment after they are dropped, and take their files with them.
    async fn until_closed(&self) {
        let closed = async || {
            let names = std::fs::read_dir(self.data_dir()).expect("a folder").filter_map(Result::ok);
            !names.map(|entry| entry.file_name()).any(|name| name.to_string_lossy().ends_with("-wal"))
        };
        until("the import has let go of its files", closed).await;
    }

    /// The data directory.
    pub fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// The folder with the chat as CSV tables.
    pub fn tables(&self) -> PathBuf {
        self.dir.path().join("tables")
    }

    /// A name for something else beside the data directory.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A copy of the data directory as it is, under another name. Nobody may have it open.
    pub fn copy_as(&self, name: &str) -> PathBuf {
        let copy = self.beside(name);
        copy_folder(&self.data_dir(), &copy);
        copy
    }

    /// Opens the data directory for writing.
    pub async fn open(&self) -> Open {
        open(&self.data_dir(), Access::Write).await
    }
}

/// Opens a data directory.
pub async fn open(path: &Path, access: Access) -> Open {
    open_with(path, access, Epoch::default()).await
}

/// Opens a data directory whose message ids count from `epoch`.
pub async fn open_with(path: &Path, access: Access, epoch: Epoch) -> Open {
    let adapters = Adapters::open_with(path, access, epoch).await;
    Open { ports: adapters.plain(), directory: adapters.directory, index: adapters.index }
}

/// The adapters of an open data directory.
#[derive(Clone)]
pub struct Adapters {
    /// The directory.
    pub directory: SqliteDirectory,
    /// The index of message ids.
    pub index: PackedIndex,
    limits: LmdbLimits,
    ledger: SqliteLedger,
    organization_queue: SqliteQueue,
    room_queue: SqliteQueue,
}

impl Adapters {
    /// Opens a data directory.
    pub async fn open(path: &Path, access: Access) -> Self {
        Self::open_with(path, access, Epoch::default()).await
    }

    /// Opens a data directory whose message ids count from `epoch`.
    pub async fn open_with(path: &Path, access: Access, epoch: Epoch) -> Self {
        let dir = DataDir::open(path, access, "test").await.expect("a data directory");
        let organization_queue = SqliteQueue::open(&dir, ORGANIZATION_QUEUE).await.expect("a queue");
        Self {
            directory: SqliteDirectory::open(&dir).await.expect("a directory"),
            index: PackedIndex::open(&dir.live_ids(), MapSize::default(), epoch).expect("an index"),
            limits: LmdbLimits::open(&dir.limits(), MapSize::default()).expect("limits"),
            ledger: SqliteLedger::open(&dir).await.expect("a ledger"),
            room_queue: organization_queue.beside(ROOM_QUEUE).await.expect("a queue"),
            organization_queue,
        }
    }

    /// As ports.
    pub fn plain(&self) -> Ports {
        Ports {
            directory: Arc::new(self.directory.clone()),
            heads: Arc::new(LmdbHeads::new(self.index.clone())),
            live_ids: Arc::new(LmdbLiveIds::new(self.index.clone())),
            limits: Arc::new(self.limits.clone()),
            ledger: Arc::new(self.ledger.clone()),
            organization_queue: Arc::new(self.organization_queue.clone()),
            room_queue: Arc::new(self.room_queue.clone()),
            epoch: self.index.epoch(),
        }
    }

    /// As ports whose stores of messages and limits are slow: `live_ids` is one of these adapters that was slowed down.
    pub fn slow(&self, live_ids: &Slow<LmdbLiveIds>, latency: Duration) -> Ports {
        let limits = Arc::new(Slow::new(self.limits.clone(), latency));
        Ports { live_ids: Arc::new(live_ids.clone()), limits, ..self.plain() }
    }

    /// As ports of which every one fails now and then; they are numbered from 1 in the order of [`Ports`].
    pub fn flaky(&self, faults: &Faults) -> Ports {
        let live_ids = LmdbLiveIds::new(self.index.clone());
        Ports {
            directory: Arc::new(Flaky::new(self.directory.clone(), faults.of_port(1))),
            heads: Arc::new(Flaky::new(LmdbHeads::new(self.index.clone()), faults.of_port(2))),
            live_ids: Arc::new(Flaky::new(live_ids, faults.of_port(LIVE_IDS))),
            limits: Arc::new(Flaky::new(self.limits.clone(), faults.of_port(LIMITS))),
            ledger: Arc::new(Flaky::new(self.ledger.clone(), faults.of_port(LEDGER))),
            organization_queue: Arc::new(Flaky::new(self.organization_queue.clone(), faults.of_port(6))),
            room_queue: Arc::new(Flaky::new(self.room_queue.clone(), faults.of_port(PORTS))),
            epoch: self.index.epoch(),
        }
    }
}

/// The number of the live ids among the ports that fail.
pub const LIVE_IDS: u64 = 3;
/// The number of the stored limits among them.
pub const LIMITS: u64 = 4;
/// The number of the ledger among them.
pub const LEDGER: u64 = 5;
/// How many ports fail.
pub const PORTS: u64 = 7;

/// Every organization of a run.
pub async fn organizations_of(ledger: &dyn Ledger, run: &RunId) -> Vec<RunOrganization> {
    ledger.organizations(run, &Filter::default(), usize::MAX).await.expect("the organizations of the run")
}

/// Every stored limit.
pub async fn stored_limits(limits: &dyn Limits) -> Vec<LimitRow> {
    limits.page(None, 1_000_000).await.expect("the limits")
}

/// Copies a folder with everything in it.
pub fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let path = entry.expect("an entry").path();
        let copy = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy_folder(&path, &copy);
        } else {
            std::fs::copy(&path, &copy).expect("a copy");
        }
    }
}
