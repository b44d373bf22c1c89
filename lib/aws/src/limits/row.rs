//! A limit row as an item.

use aws_sdk_dynamodb::types::AttributeValue;
use chat::{LimitRow, MessageId, OrganizationId, Policy, PortError, PortResult, RunId, Standing, Timestamp, Version};

use super::ORGANIZATION;
use crate::dynamodb::{Fields, Item, number, text};

pub(super) const RUN: &str = "run";
const STANDING: &str = "standing";
const RELEASED: &str = "released";
const NO_COUNT_LIMIT: &str = "no_count_limit";
const LIMITED: &str = "limited";
const BOUNDARY: &str = "first_visible_message_id";
const PREVIOUS_BOUNDARY: &str = "previous_first_visible_message_id";
const OLDEST: &str = "oldest_visible_message_id";
const MAX_AGE_MS: &str = "max_age_ms";

/// Everything but the key.
pub(super) fn encode(row: &LimitRow) -> Item {
    let (standing, boundary) = match row.standing {
        Standing::Released => (RELEASED, None),
        Standing::NoCountLimit => (NO_COUNT_LIMIT, None),
        Standing::Limited(id) => (LIMITED, Some(id)),
    };
    let at = |at: Timestamp| number(at.as_millis());
    let always: [(&str, AttributeValue); 11] = [
        ("max_messages", number(row.policy.max_messages.get().into())),
        ("plan_version", number(row.version.plan_version)),
        ("as_of_ms", at(row.version.as_of)),
        ("collected_at_ms", at(row.version.collected_at)),
        ("computed_at_ms", at(row.computed_at)),
        (STANDING, text(standing)),
        (RUN, text(row.run.as_str())),
        ("visible_messages", number(row.visible_messages.into())),
        ("rooms", number(row.rooms.into())),
        ("rooms_opened", number(row.rooms_opened.into())),
        ("messages_read", number(row.messages_read)),
    ];
    let id = |id: MessageId| number(id.get());
    let sometimes = [
        (BOUNDARY, boundary.map(id)),
        (PREVIOUS_BOUNDARY, row.previous_first_visible_message_id.map(id)),
        (OLDEST, row.oldest_visible_message_id.map(id)),
        (MAX_AGE_MS, row.policy.max_age_ms.map(number)),
    ];
    let sometimes = sometimes.into_iter().filter_map(|(name, value)| Some((name, value?)));
    always.into_iter().chain(sometimes).map(|(name, value)| (name.to_owned(), value)).collect()
}

/// The organization of an item or of a key.
pub(super) fn organization(table: &str, item: &Item) -> PortResult<OrganizationId> {
    let fields = Fields { table, item };
    fields.checked(ORGANIZATION, OrganizationId::new(fields.number(ORGANIZATION)?))
}

pub(super) fn decode(table: &str, item: &Item) -> PortResult<LimitRow> {
    let fields = Fields { table, item };
    let at = |name| fields.number(name).map(Timestamp::from_millis);
    let id = |name| {
        let id = fields.find_number(name)?.map(MessageId::new);
        id.map(|id| fields.checked(name, id)).transpose()
    };
    let organization = organization(table, item)?;
    let policy = Policy::new(fields.number("max_messages")?, fields.find_number(MAX_AGE_MS)?);
    let standing = match (fields.text(STANDING)?, id(BOUNDARY)?) {
        (RELEASED, None) => Standing::Released,
        (NO_COUNT_LIMIT, None) => Standing::NoCountLimit,
        (LIMITED, Some(id)) => Standing::Limited(id),
        (standing, _) => {
            let what = format!("standing {standing} does not fit its boundary");
            return Err(PortError::corrupt(format!("table {table}: organization {organization}: {what}")));
        }
    };
    Ok(LimitRow {
        organization,
        policy: fields.checked("max_messages", policy)?,
        version: Version {
            plan_version: fields.number("plan_version")?,
            as_of: at("as_of_ms")?,
            collected_at: at("collected_at_ms")?,
        },
        standing,
        oldest_visible_message_id: id(OLDEST)?,
        visible_messages: fields.number("visible_messages")?,
        rooms: fields.number("rooms")?,
        run: fields.checked(RUN, RunId::new(fields.text(RUN)?))?,
        previous_first_visible_message_id: id(PREVIOUS_BOUNDARY)?,
        rooms_opened: fields.number("rooms_opened")?,
        messages_read: fields.number("messages_read")?,
        computed_at: at("computed_at_ms")?,
    })
}
