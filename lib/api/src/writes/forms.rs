//! What changes look like in JSON, in headers and in the document.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use chat::{MessageId, RoomId, Timestamp};
use jobs::messages::serve_writes::Accepted;
use serde::{Deserialize, Serialize};
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::{Content, Ref, RefOr, Response, ResponseBuilder};
use utoipa::{IntoParams, IntoResponses, PartialSchema as _, ToSchema};

use crate::openapi::Id;
use crate::problem::document_problems;

/// What a message says.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Text {
    /// At least one character.
    #[schema(min_length = 1, example = "いい天気ですね")]
    pub(super) body: String,
}

/// What was accepted.
#[derive(Serialize, ToSchema)]
pub(super) struct Receipt {
    #[schema(value_type = Id)]
    room_id: RoomId,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Id>, nullable = false)]
    message_id: Option<MessageId>,
    event_id: String,
    /// Where the change stands among those of its room: what `min_version` takes. Opaque.
    version: String,
    #[schema(value_type = String, format = DateTime)]
    accepted_at: Timestamp,
}

impl From<Accepted> for Receipt {
    fn from(accepted: Accepted) -> Self {
        let Accepted { event, room, message, at, version } = accepted;
        Self {
            room_id: room,
            message_id: message,
            event_id: event.to_string(),
            version: version.to_string(),
            accepted_at: at,
        }
    }
}

/// The headers that every change takes.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "describes headers that are read by `request::headers`")]
pub(super) struct Headers {
    /// 1 to 255 visible ASCII characters, in double quotes or bare. The same request again under the same key is accepted once.
    #[param(rename = "Idempotency-Key", pattern = "^[!-~]{1,257}$", nullable = false)]
    idempotency_key: Option<String>,
    /// `wait=N`: answer when the change can be read, at the latest after N seconds (at most 10).
    #[param(rename = "Prefer", example = "wait=2", nullable = false)]
    prefer: Option<String>,
}

/// The answers to a change that makes something.
pub(super) struct Made;

impl IntoResponses for Made {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        receipts(StatusCode::CREATED, &[("Location", "Where it is")])
    }
}

/// The answers to any other change.
pub(super) struct Done;

impl IntoResponses for Done {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        receipts(StatusCode::OK, &[])
    }
}

/// What is answered when the change can be read, and when it is only accepted.
fn receipts(done: StatusCode, headers: &[(&str, &str)]) -> BTreeMap<String, RefOr<Response>> {
    let applied = [headers, &[("Preference-Applied", "`wait=N`: it was waited for")]].concat();
    let done = (done, "It can be read", receipt(&applied));
    let accepted = (StatusCode::ACCEPTED, "It stands in the log, and can be read a little later", receipt(headers));
    let answers = [done, accepted].into_iter();
    answers
        .map(|(status, what, answer)| (status.as_str().to_owned(), RefOr::T(answer.description(what).build())))
        .collect()
}

fn receipt(headers: &[(&str, &str)]) -> ResponseBuilder {
    let form = Content::new(Some(Ref::from_schema_name(Receipt::name())));
    headers.iter().fold(ResponseBuilder::new().content("application/json", form), |answer, (name, what)| {
        let header = HeaderBuilder::new().schema(Some(String::schema())).description(Some(*what));
        answer.header(*name, header.build())
    })
}

document_problems! {
    /// Of a new room.
    CreateProblems: TOKEN WRITE MEMBERSHIP;
    /// Of a change of a room or its members.
    MembershipProblems: TOKEN IDS WRITE MEMBERSHIP;
    /// Of a text.
    TextProblems: TOKEN IDS WRITE BODY;
    /// Of a deletion.
    DeleteProblems: TOKEN IDS WRITE;
}
