//! Adapters that need nothing installed: SQLite and LMDB in one data directory.

pub mod data_dir;
mod directory;
pub mod heads;
pub mod limits;
pub mod live_ids;
mod lmdb;
mod load;
pub mod packed;
mod sqlite;

pub use data_dir::{Access, DataDir, Holder, OpenError};
pub use directory::SqliteDirectory;
pub use heads::LmdbHeads;
pub use limits::LmdbLimits;
pub use live_ids::LmdbLiveIds;
pub use lmdb::MapSize;
pub use load::EmbeddedLoad;
pub use packed::PackedIndex;
