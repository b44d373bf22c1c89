//! Adapters on MySQL, MariaDB and PostgreSQL.
//!
//! - [`SqlDirectory`]: organizations, accounts, rooms, memberships, in our tables or in an existing chat's
//! - [`SqlLoad`]: takes the directory of an import
//! - [`SqlHeads`]: the last active day of each room
//! - [`SqlLiveIds`]: the messages of an existing chat
//! - [`SqlLedger`]: runs, states, history, audit
//!
//! Both dialects share one layer: statements with named placeholders, batches as JSON that the database unfolds, transactions
//! that are begun again when the database takes them back. What differs stands as text in one place per dialect.

mod database;
mod directory;
mod error;
mod heads;
mod inspect;
mod ledger;
mod live_ids;
mod migrate;
mod query;
mod row;
mod settings;
mod statement;

pub use directory::{DirectoryQueries, SqlDirectory, SqlLoad};
pub use heads::SqlHeads;
pub use ledger::SqlLedger;
pub use live_ids::SqlLiveIds;
pub use migrate::Migrations;
pub use settings::{Dialect, SqlSettings, SqlUrl};
