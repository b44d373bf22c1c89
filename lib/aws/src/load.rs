//! Takes the messages of an import into DynamoDB.

use async_trait::async_trait;
use chat::{PortError, PortResult, RoomId};
use import::{LoadMessages, MessageBody, RoomMessages, Source};
use worker::state::Write;
use worker::{Expected, RecordVersion, State, StateError};

use crate::provision::table_id;
use crate::state::port_error;
use crate::{DynamoDb, DynamoDbMessages, DynamoDbState, MessageRow, fix_epoch};

/// The record of the load under way: whose it is and how far it came.
const KEY: &str = "store/import";
/// Rows written at a time: some hundred requests.
const BATCH_ROWS: usize = 4_096;

/// An import into the table of messages.
///
/// Messages become visible batch by batch. Before each the record `store/import` says which source is loaded into which table and
/// up to which room everything is durable, so that a load that was killed goes on there. It is written on the condition that
/// nobody else has written it: of two loads at once, the one that writes second ends with a conflict.
pub struct DynamoDbLoad {
    db: DynamoDb,
    messages: DynamoDbMessages,
    state: DynamoDbState,
    /// The record as it was found or last written by this load.
    record: Option<RecordVersion>,
    /// From `begin` to `finish`: the source and the table, as the record has them.
    load: Option<String>,
    /// The last room that is durable.
    durable: Option<RoomId>,
}

impl DynamoDbLoad {
    /// Over a connection.
    pub fn new(db: &DynamoDb) -> Self {
        let (messages, state) = (DynamoDbMessages::new(db.clone()), DynamoDbState::new(db.clone()));
        Self { db: db.clone(), messages, state, record: None, load: None, durable: None }
    }

    /// Says in the record how far this load has come, unless another one has begun.
    async fn note(&mut self) -> PortResult<()> {
        let load = self.load.as_deref().ok_or_else(out_of_order)?;
        let value = self.durable.map_or_else(|| load.to_owned(), |room| format!("{load} {room}"));
        let expected = self.record.map_or(Expected::Nothing, Expected::Version);
        let write = Write { key: KEY, value: value.as_bytes(), expected, lives_for: None };
        self.record = Some(self.state.put(write).await.map_err(|e| self.taken_over(e))?);
        Ok(())
    }

    fn taken_over(&self, e: StateError) -> PortError {
        match e {
            StateError::Conflict { .. } => PortError::Conflict {
                what: format!("another import writes messages to the tables of {}", self.state.table()),
            },
            e => port_error(e),
        }
    }
}

fn out_of_order() -> PortError {
    PortError::refused("a load is begun, then finished; this call came at another time")
}

#[async_trait]
impl LoadMessages for DynamoDbLoad {
    async fn begin(&mut self, source: &Source, resume: bool) -> PortResult<Option<RoomId>> {
        fix_epoch(&self.state, source.epoch).await?;
        let table = table_id(&self.db, &self.db.settings().tables.messages).await?;
        let load = format!("{:016x} {table}", source.fingerprint);
        let found = self.state.get(KEY).await.map_err(port_error)?;
        self.record = found.as_ref().map(|record| record.version);
        let value = found.filter(|_| resume).and_then(|record| String::from_utf8(record.value).ok());
        let room = value.as_deref().and_then(|value| value.strip_prefix(&*load)?.strip_prefix(' ')?.parse().ok());
        (self.load, self.durable) = (Some(load), room);
        Ok(self.durable)
    }

    async fn messages(&mut self, rooms: &[RoomMessages]) -> PortResult<()> {
        self.note().await?;
        let mut batch = Vec::new();
        for RoomMessages { room, live, tombstoned } in rooms {
            let live = live.iter().map(|id| MessageRow::bare(*room, *id, false));
            for row in live.chain(tombstoned.iter().map(|id| MessageRow::bare(*room, *id, true))) {
                batch.push(row);
                if batch.len() == BATCH_ROWS {
                    self.messages.load(&batch).await?;
                    batch.clear();
                }
            }
        }
        self.messages.load(&batch).await?;
        self.durable = rooms.last().map(|row| row.room).or(self.durable);
        Ok(())
    }

    async fn bodies(&mut self, rows: &[MessageBody]) -> PortResult<()> {
        self.note().await?;
        self.messages.put_bodies(rows).await
    }

    async fn finish(&mut self) -> PortResult<()> {
        self.load.take().ok_or_else(out_of_order)?;
        let Some(version) = self.record.take() else { return Ok(()) };
        self.state.delete(KEY, Some(version)).await.map_err(|e| self.taken_over(e))
    }
}
