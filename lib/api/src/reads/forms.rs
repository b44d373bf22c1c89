//! What readers ask for and are shown, in queries, in JSON and in the document.

use std::borrow::Cow;

use chat::{AccountId, MessageId, OrganizationId, Position, RoomId, Standing, Timestamp};
use jobs::messages::serve_reads::{PAGE_MAX, ReadMessage, ViewLimit};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::openapi::Id;
use crate::problem::{Problem, document_problems, kinds};

/// How many messages a page has where nothing is asked for.
const LIMIT_DEFAULT: usize = 50;

/// Which messages of a room.
#[derive(Clone, Copy, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// Only messages with an id below.
    #[param(value_type = Option<Id>)]
    pub(super) before: Option<MessageId>,
    /// Only messages with an id above.
    #[param(value_type = Option<Id>)]
    pub(super) after: Option<MessageId>,
    /// At most so many.
    #[param(minimum = 1, maximum = 100, default = 50)]
    limit: Option<usize>,
    /// Refuse to answer before this version can be read.
    #[serde(default, deserialize_with = "version")]
    #[param(value_type = Option<String>, pattern = "^[0-9]{1,4}:[0-9]{1,14}$")]
    pub(super) min_version: Option<Position>,
}

/// How new the answer must be.
#[derive(Clone, Copy, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Since {
    /// Refuse to answer before this version can be read.
    #[serde(default, deserialize_with = "version")]
    #[param(value_type = Option<String>, pattern = "^[0-9]{1,4}:[0-9]{1,14}$")]
    pub(super) min_version: Option<Position>,
}

fn version<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Position>, D::Error> {
    Cow::<str>::deserialize(deserializer)?.parse().map(Some).map_err(Error::custom)
}

impl Which {
    pub(super) fn limit(&self) -> Result<usize, Problem> {
        let limit = self.limit.unwrap_or(LIMIT_DEFAULT);
        let refused = || Problem::new(kinds::BAD_QUERY).detail(format!("limit is {limit}: it must be 1 to {PAGE_MAX}"));
        if (1..=PAGE_MAX).contains(&limit) { Ok(limit) } else { Err(refused()) }
    }

    /// Where the page after this one is. Older messages are never newer than what was asked for: `min_version` is not repeated.
    pub(super) fn next(&self, room: RoomId, limit: usize, before: MessageId) -> String {
        let after = self.after.map(|after| format!("&after={after}")).unwrap_or_default();
        format!("/v1/rooms/{room}/messages?before={before}{after}&limit={limit}")
    }
}

/// A message.
#[derive(Serialize, ToSchema)]
#[schema(as = Message)]
pub(super) struct Shown {
    #[schema(value_type = Id)]
    id: MessageId,
    /// Who wrote it, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Id>, nullable = false)]
    author_id: Option<AccountId>,
    body: String,
    #[schema(value_type = String, format = DateTime)]
    posted_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime, nullable = false)]
    edited_at: Option<Timestamp>,
}

impl From<ReadMessage> for Shown {
    fn from(message: ReadMessage) -> Self {
        let ReadMessage { id, author, body, posted_at, edited_at } = message;
        Self { id, author_id: author, body, posted_at, edited_at }
    }
}

/// A page of a room.
#[derive(Serialize, ToSchema)]
pub(super) struct Page {
    /// Newest first. Fewer than asked for are not the end.
    pub(super) messages: Vec<Shown>,
    /// Where the next page is; absent at the end of what may be seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "/v1/rooms/7/messages?before=99&limit=50", nullable = false)]
    pub(super) next: Option<String>,
    /// Whether the viewing limit hides older messages of the room.
    pub(super) hidden_older: bool,
}

/// What limits an organization's readers now.
#[derive(Serialize, ToSchema)]
#[schema(as = ViewLimit)]
pub(super) struct Limit {
    #[schema(value_type = Id)]
    organization_id: OrganizationId,
    /// `free` or `paid`.
    plan: &'static str,
    /// The policy that is applied; absent where the plan does not limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    policy: Option<AppliedPolicy>,
    state: LimitState,
    /// By count: the oldest message that may be seen, with the state `limited`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Id>, nullable = false)]
    first_visible_message_id: Option<MessageId>,
    /// For which instant it was computed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime, nullable = false)]
    as_of: Option<Timestamp>,
    /// How many messages were visible then.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    visible_messages: Option<u32>,
    /// By count and by age: the oldest id that may be seen now; absent where the plan does not limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Id>, nullable = false)]
    effective_boundary: Option<MessageId>,
}

/// The newest `max_messages`, none older than `max_age_ms`.
#[derive(Serialize, ToSchema)]
#[schema(as = Policy)]
pub(super) struct AppliedPolicy {
    max_messages: u32,
    /// Absent: of any age.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    max_age_ms: Option<u64>,
}

/// What the stored limit says.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum LimitState {
    /// Nothing was computed, or it was released: age alone limits.
    NotComputed,
    /// Computed: fewer messages than the count allows, age alone limits.
    NoCountLimit,
    /// Computed: `first_visible_message_id` limits, too.
    Limited,
}

impl From<ViewLimit> for Limit {
    fn from(limit: ViewLimit) -> Self {
        let (state, first_visible_message_id) = match limit.standing {
            None | Some(Standing::Released) => (LimitState::NotComputed, None),
            Some(Standing::NoCountLimit) => (LimitState::NoCountLimit, None),
            Some(Standing::Limited(id)) => (LimitState::Limited, Some(id)),
        };
        let policy = limit
            .policy
            .map(|policy| AppliedPolicy { max_messages: policy.max_messages.get(), max_age_ms: policy.max_age_ms });
        Self {
            organization_id: limit.organization,
            plan: limit.plan.as_str(),
            policy,
            state,
            first_visible_message_id,
            as_of: limit.as_of,
            visible_messages: limit.visible_messages,
            effective_boundary: limit.effective_boundary,
        }
    }
}

document_problems! {
    /// Of a page.
    PageProblems: TOKEN IDS QUERY READ READ_ROOM;
    /// Of one message.
    MessageProblems: TOKEN IDS QUERY READ READ_ROOM READ_MESSAGE;
    /// Of a limit.
    LimitProblems: TOKEN IDS QUERY READ;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_asked_for_like_this_one() {
        let which = Which { before: None, after: Some(MessageId::from_bits(3)), limit: None, min_version: None };
        let next = which.next(RoomId::from_bits(7), 50, MessageId::from_bits(9));
        assert_eq!(next, "/v1/rooms/7/messages?before=9&after=3&limit=50");
    }
}
