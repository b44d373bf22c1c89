//! Adapters that need nothing installed: SQLite and LMDB in one data directory.
//!
//! - [`data_dir`]: the directory itself, and who may write to it
//! - [`SqliteDirectory`]: organizations, accounts, rooms, memberships, and the changes of these
//! - [`SqliteLedger`]: runs, states, history, audit
//! - [`SqliteQueue`]: queues with visibility timeouts
//! - [`SqliteState`]: small records
//! - [`PackedIndex`], [`LmdbLiveIds`], [`LmdbHeads`]: ids of messages, packed by room
//! - [`LmdbLog`]: logs in partitions, and consumer groups
//! - [`LmdbMessages`]: what messages say; [`LmdbMessageStore`]: the same, and what a message path writes
//! - [`LmdbLimits`]: the current limits
//! - [`EmbeddedLoad`], [`EmbeddedDump`]: take an import, give an export

mod blocking;
pub mod data_dir;
mod directory;
mod dump;
pub mod heads;
mod ledger;
pub mod limits;
pub mod live_ids;
mod lmdb;
mod load;
mod log;
pub mod messages;
pub mod packed;
mod queue;
mod sqlite;
mod state;

pub use data_dir::{Access, DataDir, Holder, OpenError};
pub use directory::SqliteDirectory;
pub use dump::EmbeddedDump;
pub use heads::LmdbHeads;
pub use ledger::SqliteLedger;
pub use limits::LmdbLimits;
pub use live_ids::LmdbLiveIds;
pub use lmdb::MapSize;
pub use load::EmbeddedLoad;
pub use log::LmdbLog;
pub use messages::{LmdbMessageStore, LmdbMessages};
pub use packed::PackedIndex;
pub use queue::SqliteQueue;
pub use state::SqliteState;
