//! Adapters that need nothing installed: SQLite and LMDB in one data directory.

pub mod heads;
pub mod limits;
pub mod live_ids;
mod lmdb;
pub mod packed;

pub use heads::LmdbHeads;
pub use limits::LmdbLimits;
pub use live_ids::LmdbLiveIds;
pub use lmdb::MapSize;
pub use packed::PackedIndex;
