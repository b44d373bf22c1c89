//! `Messages`: what is kept of messages, read back. Those that were loaded by their ids alone are not kept here.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use aws_sdk_dynamodb::types::{KeysAndAttributes, ReturnConsumedCapacity};
use chat::{Message, MessageId, MessagePage, MessagePageRequest, Messages, PortError, PortResult, RoomId};
use futures::{StreamExt, TryStreamExt};

use super::{DynamoDbMessages, MESSAGE, ROOM};
use crate::dynamodb::{Fields, Item, number};
use crate::failed::Failed;
use crate::provision::unbuilt;

/// Keys in one request: DynamoDB takes no more.
const KEYS: usize = 100;

impl DynamoDbMessages {
    pub(super) fn table(&self) -> &str {
        &self.db.settings().tables.messages
    }

    /// An item as a message; `None` where nothing but its id is known.
    fn decode(&self, item: &Item) -> PortResult<Option<Message>> {
        let (room, id) = self.key(item)?;
        Ok(self.state(item)?.map(|state| state.into_message(room, id)))
    }

    /// The items of messages, those that there are.
    pub(super) async fn items(&self, ids: &[(RoomId, MessageId)]) -> PortResult<HashMap<(RoomId, MessageId), Item>> {
        let distinct: BTreeSet<(RoomId, MessageId)> = ids.iter().copied().collect();
        let distinct: Vec<_> = distinct.into_iter().collect();
        let batches: Vec<_> = distinct.chunks(KEYS).map(|batch| self.get_batch(batch)).collect();
        let found = futures::stream::iter(batches).buffer_unordered(self.db.settings().requests_max.max(1));
        let found: Vec<Item> = found.try_concat().await?;
        let keyed = |item: Item| Ok((self.key(&item)?, item));
        found.into_iter().map(keyed).collect()
    }

    fn key(&self, item: &Item) -> PortResult<(RoomId, MessageId)> {
        let fields = Fields { table: self.table(), item };
        let room = fields.checked(ROOM, RoomId::new(fields.number(ROOM)?))?;
        Ok((room, fields.checked(MESSAGE, MessageId::new(fields.number(MESSAGE)?))?))
    }

    async fn get_batch(&self, ids: &[(RoomId, MessageId)]) -> PortResult<Vec<Item>> {
        let key = |&(room, id): &(RoomId, MessageId)| {
            Item::from([(ROOM.to_owned(), number(room.get())), (MESSAGE.to_owned(), number(id.get()))])
        };
        let found = Mutex::new(Vec::with_capacity(ids.len()));
        let found_all = self.db.drain(ids.iter().map(key).collect::<Vec<Item>>(), |keys| {
            let found = &found;
            async move {
                let wanted = KeysAndAttributes::builder().set_keys(Some(keys)).consistent_read(true).build();
                let batch = self.db.client().batch_get_item();
                let batch = batch.set_request_items(Some([(self.table().to_owned(), wanted.map_err(unbuilt)?)].into()));
                let answer = batch.return_consumed_capacity(ReturnConsumedCapacity::Total).send().await?;
                self.db.read(answer.consumed_capacity().first().and_then(|capacity| capacity.capacity_units()));
                let items = answer.responses.and_then(|mut tables| tables.remove(self.table())).unwrap_or_default();
                found.lock().unwrap_or_else(PoisonError::into_inner).extend(items);
                let left = answer.unprocessed_keys.and_then(|mut tables| tables.remove(self.table()));
                Ok(left.map(|left| left.keys).unwrap_or_default())
            }
        });
        let failed = |failed: Failed| failed.port_error(&format!("table {}", self.table()));
        found_all.await.map_err(|(_, e)| failed(e))?;
        Ok(found.into_inner().unwrap_or_else(PoisonError::into_inner))
    }
}

#[async_trait]
impl Messages for DynamoDbMessages {
    async fn get(&self, ids: &[(RoomId, MessageId)]) -> PortResult<Vec<Option<Message>>> {
        let found = self.items(ids).await?;
        ids.iter().map(|id| found.get(id).map(|item| self.decode(item)).transpose().map(Option::flatten)).collect()
    }

    async fn page(&self, request: &MessagePageRequest) -> PortResult<MessagePage> {
        let MessagePageRequest { room, below, limit } = *request;
        if limit == 0 {
            return Err(PortError::refused(format!("a page of 0 messages of room {room}: ask for at least 1")));
        }
        let query = self
            .db
            .client()
            .query()
            .table_name(self.table())
            .key_condition_expression("#r = :room AND #m < :below")
            .expression_attribute_names("#r", ROOM)
            .expression_attribute_names("#m", MESSAGE)
            .expression_attribute_values(":room", number(room.get()))
            .expression_attribute_values(":below", number(below.get()))
            .consistent_read(true)
            .scan_index_forward(false)
            .limit(i32::try_from(limit).unwrap_or(i32::MAX))
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        let answer = self.db.call(|| {
            let query = query.clone();
            async move { query.send().await.map_err(Failed::from) }
        });
        let what = || format!("table {} (room {room})", self.table());
        let answer = answer.await.map_err(|failed| failed.port_error(&what()))?;
        self.db.read(answer.consumed_capacity().and_then(|capacity| capacity.capacity_units()));
        let messages =
            answer.items().iter().filter_map(|item| self.decode(item).transpose()).collect::<PortResult<_>>()?;
        let last = answer.last_evaluated_key().map(|item| {
            let fields = Fields { table: self.table(), item };
            fields.checked(MESSAGE, MessageId::new(fields.number(MESSAGE)?))
        });
        Ok(MessagePage { messages, resume_below: last.transpose()? })
    }
}
