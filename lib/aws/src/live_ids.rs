//! Ids of live messages, out of the index `live_ids` of the table of messages.

use async_trait::async_trait;
use aws_sdk_dynamodb::types::ReturnConsumedCapacity;
use chat::{Access, LiveIds, MessageId, PageRequest, Pages, PortResult, RoomId};
use futures::{StreamExt, TryStreamExt};

use crate::DynamoDb;
use crate::dynamodb::{Fields, number};
use crate::failed::Failed;
use crate::messages::{INDEX, INDEX_ROOM, MESSAGE};

/// Ids of a first page: together they take some 4 KB, for which DynamoDB charges as much as for one id.
const FIRST_PAGE: usize = 150;

/// The ids of a room's live messages.
///
/// The index holds the live messages alone and only their keys: some 26 bytes for an id, so that 150 of them cost half a read
/// unit. It follows the table: normally within a second, without a promise. A page is one request, made when it is asked for; a
/// batch is fanned out, at most [`crate::DynamoDbSettings::requests_max`] requests at once.
#[derive(Clone, Debug)]
pub struct DynamoDbLiveIds {
    db: DynamoDb,
}

/// One page, as it is answered.
#[derive(Default)]
struct Page {
    ids: Vec<MessageId>,
    resume_below: Option<MessageId>,
    read_units: f64,
}

impl DynamoDbLiveIds {
    /// Over a connection.
    pub fn new(db: DynamoDb) -> Self {
        Self { db }
    }

    async fn page(&self, request: &PageRequest) -> PortResult<Page> {
        let Some(newest) = request.below.previous().filter(|newest| *newest >= request.at_least) else {
            return Ok(Page::default());
        };
        let table = &self.db.settings().tables.messages;
        let query = self
            .db
            .client()
            .query()
            .table_name(table)
            .index_name(INDEX)
            .key_condition_expression("#l = :room AND #m BETWEEN :oldest AND :newest")
            .projection_expression("#m")
            .expression_attribute_names("#l", INDEX_ROOM)
            .expression_attribute_names("#m", MESSAGE)
            .expression_attribute_values(":room", number(request.room.get()))
            .expression_attribute_values(":oldest", number(request.at_least.get()))
            .expression_attribute_values(":newest", number(newest.get()))
            .scan_index_forward(false)
            .limit(i32::try_from(request.limit).unwrap_or(i32::MAX).max(1))
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        let answer = self
            .db
            .call(|| {
                let query = query.clone();
                async move { query.send().await.map_err(Failed::from) }
            })
            .await
            .map_err(|failed| failed.port_error(&describe(table, request.room)))?;
        let read_units = self.db.read(answer.consumed_capacity().and_then(|capacity| capacity.capacity_units()));
        let id = |item| {
            let fields = Fields { table, item };
            fields.checked(MESSAGE, MessageId::new(fields.number(MESSAGE)?))
        };
        let ids = answer.items().iter().map(id).collect::<PortResult<Vec<_>>>()?;
        let resume_below = answer.last_evaluated_key().map(id).transpose()?;
        Ok(Page { ids, resume_below: resume_below.filter(|last| *last > request.at_least), read_units })
    }
}

fn describe(table: &str, room: RoomId) -> String {
    format!("the index {INDEX} of table {table} (room {room})")
}

#[async_trait]
impl LiveIds for DynamoDbLiveIds {
    async fn newest(&self, requests: &[PageRequest]) -> PortResult<Pages> {
        let mut pages = Pages::with_capacity(requests.len(), 0);
        let fanned_out: Vec<_> = requests.iter().map(|request| self.page(request)).collect();
        let mut answers = futures::stream::iter(fanned_out).buffered(self.db.settings().requests_max.max(1));
        while let Some(page) = answers.try_next().await? {
            pages.ids_mut().extend_from_slice(&page.ids);
            pages.end_page(page.resume_below);
            pages.charge(page.read_units);
        }
        Ok(pages)
    }

    fn access(&self) -> Access {
        Access::RoundTrip { first_page: FIRST_PAGE, in_flight: self.db.settings().rooms_in_flight.max(1) }
    }
}
