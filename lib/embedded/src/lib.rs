//! Adapters that need nothing installed: SQLite and LMDB in one data directory.
//!
//! - [`data_dir`]: the directory itself, and who may write to it
//! - [`SqliteLedger`]: runs, states, history, audit
//! - [`SqliteQueue`]: queues with visibility timeouts

pub mod data_dir;
mod ledger;
mod queue;
mod sqlite;

pub use data_dir::{Access, DataDir, Holder, OpenError};
pub use ledger::SqliteLedger;
pub use queue::SqliteQueue;
