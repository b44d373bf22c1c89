//! Adapters on MySQL, MariaDB and PostgreSQL.
//!
//! - [`SqlLedger`]: runs, states, history, audit

mod database;
mod error;
mod ledger;
mod migrate;
mod row;
mod settings;
mod statement;

pub use ledger::SqlLedger;
pub use settings::{Dialect, SqlSettings, SqlUrl};
