//! Brings a folder of tables, or files of messages, into a store: reads, checks, sorts in bounded memory, loads.
//!
//! The folder holds `organizations`, `accounts`, `rooms`, `memberships` and `messages`, each as `.parquet` or as `.csv` with a
//! header, rows in any order, and perhaps `names` and a `meta.json` with `epoch_ms`. Any other file with one message a line is
//! read by a [`Mapping`]. [`import()`] and [`import_mapped()`] do everything; where the rows go is a [`Load`], implemented by the store,
//! or a [`JoinedLoad`] of a directory here and messages there.
//!
//! The other way round, [`export()`] writes a store, read through its port [`Dump`], as such a folder.
//!
//! - `source`: which files there are, and what they say about themselves
//! - `mapping`: what files with one message a line become
//! - `tables`: Parquet and CSV behind one reader of column batches
//! - `sort`: the one external sorter; every check is a merge join of two sorted streams
//! - `check`: what makes a row bad, and where it stands
//!
//! Memory: a bounded number of chunks of [`ImportOptions::sort_rows`] rows, and one room's or one account's rows; nothing
//! grows with the number of organizations, accounts, rooms or messages. Only a mapping keeps its distinct names and ids.

mod bodies;
mod check;
mod directory;
mod dump;
mod error;
pub mod export;
mod import;
mod joined;
mod load;
mod mapping;
mod messages;
mod names;
mod problems;
mod report;
mod sort;
mod source;
mod tables;

pub use dump::{Counts, Dump};
pub use error::ImportError;
pub use export::export;
pub use import::{ImportOptions, import, import_mapped};
pub use joined::JoinedLoad;
pub use load::{
    Account, Discard, Load, LoadDirectory, LoadMessages, Membership, MessageBody, Name, NameKind, OrganizationRooms,
    RoomMessages, Source,
};
pub use mapping::Mapping;
pub use problems::{BadRow, LeftOut, Reason};
pub use report::{ImportReport, Progress, Stage, TableReport};
pub use tables::Table;

#[cfg(test)]
mod tests;
