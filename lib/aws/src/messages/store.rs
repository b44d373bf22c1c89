//! `MessageStore`: rows written on condition of what they were decided upon, one request each.

use async_trait::async_trait;
use chat::message::{Kept, Posted};
use chat::messages::check_changes;
use chat::{
    AccountId, Applied, Expected, MessageChange, MessageId, MessageState, MessageStore, OrganizationId, PortResult,
    Position, RoomId, Timestamp,
};
use futures::{StreamExt, TryStreamExt};

use super::{
    AUTHOR, AUTHOR_ORGANIZATION, BODY, DELETED_AT, DynamoDbMessages, EDITED_AT, INDEX_ROOM, MESSAGE, POSITION, ROOM,
    TOMBSTONE,
};
use crate::dynamodb::{Fields, Item, Put, number, text};

/// What a state is as an item; what it does not have is not there.
fn encode(change: &MessageChange) -> Item {
    let mut item =
        Item::from([(ROOM.to_owned(), number(change.room.get())), (MESSAGE.to_owned(), number(change.id.get()))]);
    let mut set = |name: &str, value: Option<u64>| item.extend(value.map(|value| (name.to_owned(), number(value))));
    set(POSITION, change.state.position.map(Position::get));
    match &change.state.kept {
        Kept::Deleted { at } => {
            set(TOMBSTONE, Some(1));
            set(DELETED_AT, at.map(Timestamp::as_millis));
        }
        Kept::Live(Posted { author, organization, body, edited_at }) => {
            set(AUTHOR, author.map(AccountId::get));
            set(AUTHOR_ORGANIZATION, organization.map(OrganizationId::get));
            set(EDITED_AT, edited_at.map(Timestamp::as_millis));
            set(INDEX_ROOM, Some(change.room.get()));
            item.insert(BODY.to_owned(), text(body));
        }
    }
    item
}

impl DynamoDbMessages {
    /// The state in an item; `None` where nothing but its id is known.
    pub(super) fn state(&self, item: &Item) -> PortResult<Option<MessageState>> {
        let fields = Fields { table: self.table(), item };
        let position = fields.find_number(POSITION)?.map(Position::from_bits);
        let instant = |name| fields.find_number(name).map(|ms| ms.map(Timestamp::from_millis));
        let kept = if fields.find_number(TOMBSTONE)?.is_some() {
            Kept::Deleted { at: instant(DELETED_AT)? }
        } else if item.contains_key(BODY) {
            let author = fields.find_number(AUTHOR)?.map(|id| fields.checked(AUTHOR, AccountId::new(id)));
            let organization = fields.find_number(AUTHOR_ORGANIZATION)?;
            let organization =
                organization.map(|id| fields.checked(AUTHOR_ORGANIZATION, OrganizationId::new(id))).transpose()?;
            let body = fields.text(BODY)?.to_owned();
            Kept::Live(Posted { author: author.transpose()?, organization, body, edited_at: instant(EDITED_AT)? })
        } else {
            return Ok(None);
        };
        Ok(Some(MessageState { position, kept }))
    }

    /// Writes one change on its condition.
    async fn apply_one(&self, change: &MessageChange) -> PortResult<Applied> {
        let put = self
            .db
            .client()
            .put_item()
            .table_name(self.table())
            .set_item(Some(encode(change)))
            .expression_attribute_names("#p", POSITION)
            .expression_attribute_names("#d", TOMBSTONE);
        let put = match change.expected {
            // Of what was imported by its id alone nothing is known: it may be there.
            Expected::Absent => put
                .condition_expression(
                    "attribute_not_exists(#p) AND attribute_not_exists(#d) AND attribute_not_exists(#b)",
                )
                .expression_attribute_names("#b", BODY),
            Expected::Imported => put
                .condition_expression("attribute_not_exists(#p) AND attribute_not_exists(#d) AND attribute_exists(#b)")
                .expression_attribute_names("#b", BODY),
            Expected::At(position) => put
                .condition_expression("#p = :p AND #p < :new AND attribute_not_exists(#d)")
                .expression_attribute_values(":p", number(position.get()))
                .expression_attribute_values(":new", number(change.state.position.map_or(0, Position::get))),
        };
        let what = || format!("table {} (room {}, message {})", self.table(), change.room, change.id);
        match self.db.put(put).await.map_err(|failed| failed.port_error(&what()))? {
            Put::Done => Ok(Applied::Written),
            Put::Refused(stored) => {
                let stored = stored.map(|item| self.state(&item)).transpose()?.flatten();
                // Perhaps it is our own, whose first answer was lost: then it is there already.
                Ok(match change.against(stored.as_ref()) {
                    Applied::Unchanged => Applied::Unchanged,
                    Applied::Written | Applied::Conflict => Applied::Conflict,
                })
            }
        }
    }
}

/// Heads are not kept here: whoever writes raises them before.
#[async_trait]
impl MessageStore for DynamoDbMessages {
    async fn states(&self, ids: &[(RoomId, MessageId)]) -> PortResult<Vec<Option<MessageState>>> {
        let found = self.items(ids).await?;
        ids.iter().map(|id| found.get(id).map(|item| self.state(item)).transpose().map(Option::flatten)).collect()
    }

    async fn apply(&self, changes: &[MessageChange]) -> PortResult<Vec<Applied>> {
        check_changes(changes)?;
        let writes: Vec<_> = changes.iter().map(|change| self.apply_one(change)).collect();
        futures::stream::iter(writes).buffered(self.db.settings().requests_max.max(1)).try_collect().await
    }
}
