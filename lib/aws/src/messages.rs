//! The table of messages.
//!
//! | attribute | type | meaning |
//! |---|---|---|
//! | `r` | number, partition key | room |
//! | `m` | number, sort key | message id |
//! | `p` | number | position in the log that the row was built from; none when it was imported |
//! | `a`, `o` | number | author, and the author's organization |
//! | `b` | text | body |
//! | `ea` | number | instant (ms) of the last edit |
//! | `d` | 1 | only on a tombstone, which has neither body nor `l` |
//! | `da` | number | instant (ms) of the deletion |
//! | `l` | number | the room again, only while the message is live |
//!
//! Names are short because every byte of an item is paid for. The index `live_ids` (`l`, `m`, keys only) is sparse: it holds live
//! messages alone.

mod bodies;
mod read;
mod store;

use std::collections::{BTreeMap, HashMap, HashSet};

use aws_sdk_dynamodb::types::{AttributeValue, PutRequest, ReturnConsumedCapacity, WriteRequest};
use chat::{AccountId, MessageId, OrganizationId, PortError, PortResult, RoomId};
use futures::{StreamExt, TryStreamExt};

use crate::DynamoDb;
use crate::dynamodb::{Fields, Item, number, text};
use crate::failed::Failed;

pub(crate) const ROOM: &str = "r";
pub(crate) const MESSAGE: &str = "m";
pub(crate) const INDEX: &str = "live_ids";
pub(crate) const INDEX_ROOM: &str = "l";
const POSITION: &str = "p";
const AUTHOR: &str = "a";
const AUTHOR_ORGANIZATION: &str = "o";
const BODY: &str = "b";
const TOMBSTONE: &str = "d";
const EDITED_AT: &str = "ea";
const DELETED_AT: &str = "da";

/// Puts in one request: DynamoDB takes no more.
const BATCH: usize = 25;

/// A message as it is loaded. Of a tombstone the body is not stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageRow {
    /// Where it stands.
    pub room: RoomId,
    /// Its id.
    pub id: MessageId,
    /// True when it is deleted.
    pub tombstoned: bool,
    /// Who wrote it, where that is known.
    pub author: Option<AccountId>,
    /// The author's organization, where it is known.
    pub organization: Option<OrganizationId>,
    /// What it says, where that is kept.
    pub body: Option<String>,
    /// The position in the log that the row was built from; none for history.
    pub position: Option<u64>,
}

impl MessageRow {
    /// A live message or a tombstone of which nothing else is known.
    pub fn bare(room: RoomId, id: MessageId, tombstoned: bool) -> Self {
        Self { room, id, tombstoned, author: None, organization: None, body: None, position: None }
    }

    /// True of a row that says nothing but that there is a message.
    fn is_bare(&self) -> bool {
        *self == Self::bare(self.room, self.id, self.tombstoned)
    }

    fn item(&self) -> Item {
        let mut item =
            Item::from([(ROOM.to_owned(), number(self.room.get())), (MESSAGE.to_owned(), number(self.id.get()))]);
        let mut set = |name: &str, value: Option<AttributeValue>| {
            item.extend(value.map(|value| (name.to_owned(), value)));
        };
        set(POSITION, self.position.map(number));
        set(AUTHOR, self.author.map(|author| number(author.get())));
        set(AUTHOR_ORGANIZATION, self.organization.map(|organization| number(organization.get())));
        if self.tombstoned {
            set(TOMBSTONE, Some(number(1)));
        } else {
            set(BODY, self.body.as_ref().map(text));
            set(INDEX_ROOM, Some(number(self.room.get())));
        }
        item
    }
}

/// A load that ended before everything was written.
#[derive(Debug, thiserror::Error)]
#[error("{} messages were not written", messages.len())]
pub struct Unwritten {
    /// Which; all others are written.
    pub messages: Vec<(RoomId, MessageId)>,
    /// Why.
    #[source]
    pub cause: PortError,
}

impl From<Unwritten> for PortError {
    fn from(unwritten: Unwritten) -> Self {
        unwritten.cause
    }
}

/// How a message is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stored {
    /// As an import left it.
    Live,
    /// As the message path left it.
    Placed,
    Deleted,
}

/// The messages.
#[derive(Clone, Debug)]
pub struct DynamoDbMessages {
    db: DynamoDb,
}

impl DynamoDbMessages {
    /// Over a connection.
    pub fn new(db: DynamoDb) -> Self {
        Self { db }
    }

    /// Writes messages over what is there, but no live one over a tombstone or over what a message path wrote: for an import, while
    /// nobody else writes. A row that says nothing but that there is a message (see [`MessageRow::bare`]) changes nothing where
    /// it is there. Costs a write unit for each KB of a row and one for its entry in the index, and for each room a look at what is
    /// there (half a read unit where the room is new). Of rows with the same id a tombstone counts, else the last.
    ///
    /// # Errors
    ///
    /// Returns when all are written, or names those that are not. Loading the same rows again does no harm.
    pub async fn load(&self, rows: &[MessageRow]) -> Result<(), Unwritten> {
        let mut distinct = BTreeMap::new();
        for row in rows {
            let known = distinct.entry((row.room, row.id)).or_insert(row);
            if !known.tombstoned {
                *known = row;
            }
        }
        let stored = match self.stored(distinct.values().copied()).await {
            Ok(stored) => stored,
            Err(cause) => return Err(Unwritten { messages: distinct.into_keys().collect(), cause }),
        };
        distinct.retain(|key, row| match stored.get(key) {
            Some(Stored::Deleted) => row.tombstoned && !row.is_bare(),
            Some(Stored::Live) => row.tombstoned || !row.is_bare(),
            Some(Stored::Placed) => row.tombstoned,
            None => true,
        });
        let rows: Vec<&MessageRow> = distinct.into_values().collect();
        let batches: Vec<_> = rows.chunks(BATCH).map(|batch| self.write(batch)).collect();
        let mut answers = futures::stream::iter(batches).buffer_unordered(self.db.settings().requests_max.max(1));
        let mut unwritten: Option<Unwritten> = None;
        while let Some(answer) = answers.next().await {
            let Err(more) = answer else { continue };
            match &mut unwritten {
                Some(unwritten) => unwritten.messages.extend(more.messages),
                None => unwritten = Some(more),
            }
        }
        unwritten.map_or(Ok(()), Err)
    }

    /// Which of these messages are there: a query for each room. `rows` is ascending by room and id.
    async fn stored(
        &self,
        rows: impl Iterator<Item = &MessageRow>,
    ) -> PortResult<HashMap<(RoomId, MessageId), Stored>> {
        let mut rooms: BTreeMap<RoomId, Vec<MessageId>> = BTreeMap::new();
        for row in rows {
            rooms.entry(row.room).or_default().push(row.id);
        }
        let queries: Vec<_> = rooms.iter().map(|(room, ids)| self.stored_in(*room, ids)).collect();
        let found = futures::stream::iter(queries).buffer_unordered(self.db.settings().requests_max.max(1));
        found.try_concat().await.map(|found: Vec<_>| found.into_iter().collect())
    }

    /// Which of `ids`, which ascend, are there.
    async fn stored_in(&self, room: RoomId, ids: &[MessageId]) -> PortResult<Vec<((RoomId, MessageId), Stored)>> {
        let (Some(oldest), Some(newest)) = (ids.first(), ids.last()) else { return Ok(Vec::new()) };
        let table = &self.db.settings().tables.messages;
        let query = self
            .db
            .client()
            .query()
            .table_name(table)
            .key_condition_expression("#r = :room AND #m BETWEEN :oldest AND :newest")
            .projection_expression("#m, #d, #p")
            .expression_attribute_names("#r", ROOM)
            .expression_attribute_names("#m", MESSAGE)
            .expression_attribute_names("#d", TOMBSTONE)
            .expression_attribute_names("#p", POSITION)
            .expression_attribute_values(":room", number(room.get()))
            .expression_attribute_values(":oldest", number(oldest.get()))
            .expression_attribute_values(":newest", number(newest.get()))
            .consistent_read(true)
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        let (mut found, mut from) = (Vec::new(), None);
        loop {
            let query = query.clone().set_exclusive_start_key(from.take());
            let page = self
                .db
                .call(|| {
                    let query = query.clone();
                    async move { query.send().await.map_err(Failed::from) }
                })
                .await
                .map_err(|failed| failed.port_error(&format!("table {table}")))?;
            self.db.read(page.consumed_capacity().and_then(|capacity| capacity.capacity_units()));
            for item in page.items() {
                let fields = Fields { table, item };
                let id = fields.checked(MESSAGE, MessageId::new(fields.number(MESSAGE)?))?;
                // What else stands between them may be any number of messages.
                if ids.binary_search(&id).is_ok() {
                    let stored = match (fields.find_number(TOMBSTONE)?, fields.find_number(POSITION)?) {
                        (Some(_), _) => Stored::Deleted,
                        (None, Some(_)) => Stored::Placed,
                        (None, None) => Stored::Live,
                    };
                    found.push(((room, id), stored));
                }
            }
            // A short page with a key is not the end.
            match page.last_evaluated_key {
                Some(key) => from = Some(key),
                None => return Ok(found),
            }
        }
    }

    /// Writes one batch of distinct messages.
    async fn write(&self, rows: &[&MessageRow]) -> Result<(), Unwritten> {
        let table = &self.db.settings().tables.messages;
        let puts: Vec<WriteRequest> = rows.iter().map(|row| put(row.item())).collect();
        let written = self.db.drain(puts, |puts| async move {
            let batch = self.db.client().batch_write_item().request_items(table, puts);
            let answer = batch.return_consumed_capacity(ReturnConsumedCapacity::Total).send().await?;
            self.db.wrote(answer.consumed_capacity().first().and_then(|capacity| capacity.capacity_units()));
            Ok(answer.unprocessed_items.and_then(|mut left| left.remove(table)).unwrap_or_default())
        });
        let Err((left, failed)) = written.await else { return Ok(()) };
        let left: HashSet<String> = left.iter().filter_map(message_of).collect();
        let messages = rows.iter().filter(|row| left.contains(&row.id.to_string())).map(|row| (row.room, row.id));
        Err(Unwritten { messages: messages.collect(), cause: failed.port_error(&format!("table {table}")) })
    }
}

fn put(item: Item) -> WriteRequest {
    // The one thing that a request to put needs is an item.
    let put = PutRequest::builder().set_item(Some(item)).build().ok();
    WriteRequest::builder().set_put_request(put).build()
}

/// The message id of a put, as text.
fn message_of(request: &WriteRequest) -> Option<String> {
    request.put_request()?.item().get(MESSAGE)?.as_n().ok().cloned()
}
