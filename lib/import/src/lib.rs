//! Brings a folder of tables into a store: reads, checks, sorts in bounded memory, loads.
//!
//! The folder holds `organizations`, `accounts`, `rooms`, `memberships` and `messages`, each as `.parquet` or as `.csv` with a
//! header, rows in any order, and perhaps a `meta.json` with `epoch_ms`. [`import()`] does everything; where the rows go is
//! a [`Load`], implemented by the store.
//!
//! - `source`: which files there are, and what they say about themselves
//! - `tables`: Parquet and CSV behind one reader of column batches
//! - `sort`: the one external sorter; every check is a merge join of two sorted streams
//! - `check`: what makes a row bad, and where it stands
//!
//! Memory: a bounded number of chunks of [`ImportOptions::sort_rows`] rows, and one room's or one account's rows; nothing
//! grows with the number of organizations, accounts, rooms or messages.

mod bodies;
mod check;
mod directory;
mod error;
mod import;
mod load;
mod messages;
mod problems;
mod report;
mod sort;
mod source;
mod tables;

pub use error::ImportError;
pub use import::{ImportOptions, import};
pub use load::{Account, Discard, Load, Membership, MessageBody, OrganizationRooms, RoomMessages, Source};
pub use problems::{BadRow, LeftOut, Reason};
pub use report::{ImportReport, Progress, Stage, TableReport};
pub use tables::Table;

#[cfg(test)]
mod tests;
