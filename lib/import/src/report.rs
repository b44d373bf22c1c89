//! What an import did, and how far it is.

use std::collections::BTreeMap;

use chat::{Epoch, RoomId};
use serde::Serialize;

use crate::{LeftOut, Table};

/// A part of the import, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Reading files by a mapping.
    Mapping,
    /// Reading and checking organizations.
    Organizations,
    /// Reading and checking accounts.
    Accounts,
    /// Reading and checking rooms.
    Rooms,
    /// Reading and checking memberships.
    Memberships,
    /// Reading messages.
    Messages,
    /// Checking messages.
    CheckMessages,
    /// Reading and checking names.
    Names,
    /// Loading organizations, accounts, rooms and memberships.
    LoadDirectory,
    /// Loading messages.
    LoadMessages,
    /// Loading what messages say, where the source tells.
    LoadBodies,
}

/// How far a stage is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Which stage.
    pub stage: Stage,
    /// Rows done.
    pub done: u64,
    /// Rows altogether, where known before the end.
    pub total: Option<u64>,
}

/// What became of a table.
#[derive(Clone, Debug, Serialize)]
pub struct TableReport {
    /// Its file.
    pub file: String,
    /// Rows in the file.
    pub rows: u64,
    /// Rows that are now in the store. For memberships the current ones, for messages the live and deleted ones.
    pub loaded: u64,
    /// Rows that repeat another one.
    pub duplicates: u64,
    /// Columns that were not looked at.
    pub ignored_columns: Vec<String>,
    /// Bad rows that were left out.
    pub left_out: LeftOut,
}

/// What an import did.
#[derive(Clone, Debug, Serialize)]
pub struct ImportReport {
    /// From when message ids count.
    pub epoch: Epoch,
    /// Each table.
    pub tables: BTreeMap<Table, TableReport>,
    /// Files of the folder that were not looked at.
    pub ignored_files: Vec<String>,
    /// Memberships that had ended.
    pub ended_memberships: u64,
    /// Pairs of an organization and a room that it sees.
    pub organization_rooms: u64,
    /// Messages that are not deleted.
    pub live_messages: u64,
    /// Messages that are deleted.
    pub deleted_messages: u64,
    /// Rows of messages that were written before or after those that were wanted.
    pub unwanted_messages: u64,
    /// Messages whose author and body were handed to the store.
    pub bodies: u64,
    /// The smallest and the largest id of a message.
    pub message_ids: Option<(chat::MessageId, chat::MessageId)>,
    /// Messages up to this room had been loaded by an earlier, interrupted import of the same files.
    pub resumed_after: Option<RoomId>,
    /// Seconds of each stage, by the clock.
    pub seconds: BTreeMap<Stage, f64>,
}
