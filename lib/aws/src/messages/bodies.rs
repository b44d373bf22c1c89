//! What messages say, written into the rows of those that are there.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::ReturnConsumedCapacity;
use chat::{AccountId, MessageId, PortResult, RoomId};
use futures::{StreamExt, TryStreamExt};
use import::MessageBody;

use super::{AUTHOR, BODY, DynamoDbMessages, INDEX_ROOM, MESSAGE, POSITION, ROOM};
use crate::dynamodb::{number, text};
use crate::failed::Failed;

/// Writes that are prepared at a time.
const BODIES: usize = 1_024;

impl DynamoDbMessages {
    /// Writes authors and bodies into messages that are live here, as an import left them; of several for one message the last. Others
    /// are left out.
    /// Costs a write unit for each KB of a row, also where the message is not there.
    ///
    /// # Errors
    ///
    /// Returns when all are written. Refused by DynamoDB is a row above 400 KB. Writing the same again does no harm.
    pub async fn put_bodies(&self, bodies: &[MessageBody]) -> PortResult<()> {
        let distinct: BTreeMap<(RoomId, MessageId), &MessageBody> =
            bodies.iter().map(|body| ((body.room, body.id), body)).collect();
        let distinct: Vec<&MessageBody> = distinct.into_values().collect();
        for chunk in distinct.chunks(BODIES) {
            let writes: Vec<_> = chunk.iter().map(|body| self.put_body(body)).collect();
            let written = futures::stream::iter(writes).buffer_unordered(self.db.settings().requests_max.max(1));
            written.try_collect::<()>().await?;
        }
        Ok(())
    }

    async fn put_body(&self, body: &MessageBody) -> PortResult<()> {
        let table = &self.db.settings().tables.messages;
        let update = self
            .db
            .client()
            .update_item()
            .table_name(table)
            .key(ROOM, number(body.room.get()))
            .key(MESSAGE, number(body.id.get()))
            .update_expression(match body.author {
                Some(_) => "SET #b = :body, #a = :author",
                None => "SET #b = :body REMOVE #a",
            })
            // Only what is live stands in the index.
            .condition_expression("attribute_exists(#l) AND attribute_not_exists(#p)")
            .expression_attribute_names("#p", POSITION)
            .expression_attribute_names("#b", BODY)
            .expression_attribute_names("#a", AUTHOR)
            .expression_attribute_names("#l", INDEX_ROOM)
            .expression_attribute_values(":body", text(&body.body))
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        let author = |author: AccountId| number(author.get());
        let update = match body.author.map(author) {
            Some(author) => update.expression_attribute_values(":author", author),
            None => update,
        };
        let answer = self.db.call(|| {
            let update = update.clone();
            async move {
                match update.send().await {
                    Ok(answer) => {
                        self.db.wrote(answer.consumed_capacity().and_then(|capacity| capacity.capacity_units()));
                        Ok(())
                    }
                    Err(error) => match error.as_service_error() {
                        Some(UpdateItemError::ConditionalCheckFailedException(_)) => Ok(()),
                        _ => Err(Failed::from(error)),
                    },
                }
            }
        });
        let what = || format!("table {table} (room {}, message {})", body.room, body.id);
        answer.await.map_err(|failed| failed.port_error(&what()))
    }
}
