//! `serve-writes` over HTTP: what happens in rooms is accepted.

mod forms;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::extract::{FromRequestParts, State};
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use chat::{AccountId, MessageId, RoomId};
use jobs::messages::Caller;
use jobs::messages::serve_writes::{Accepted, IdempotencyKey, Write, WriteError, Writes};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use self::forms::{
    CreateProblems, DeleteProblems, Done, Headers, Made, MembershipProblems, Receipt, Text, TextProblems,
};
use crate::Keys;
use crate::auth::Bearer;
use crate::front::{self, Front};
use crate::openapi::{self, Id};
use crate::problem::Problem;
use crate::request::{Body, Ids, NoParams, headers};

/// What the routes hand requests to.
#[async_trait]
pub trait AcceptWrites: Send + Sync {
    /// Accepts a write: when it returns, the log has it durably.
    async fn accept(&self, caller: Caller, write: Write, key: Option<IdempotencyKey>) -> Result<Accepted, WriteError>;

    /// Waits until the event's effect can be read, at most `patience`; tells whether it can.
    async fn readable(&self, accepted: &Accepted, patience: Duration) -> bool;
}

#[async_trait]
impl AcceptWrites for Writes {
    async fn accept(&self, caller: Caller, write: Write, key: Option<IdempotencyKey>) -> Result<Accepted, WriteError> {
        Self::accept(self, caller, write, key).await
    }

    async fn readable(&self, accepted: &Accepted, patience: Duration) -> bool {
        Self::readable(self, accepted, patience).await
    }
}

type WritesFront = Front<dyn AcceptWrites>;

/// The routes of `serve-writes`, for callers with a token by these keys.
pub fn routes(writes: Arc<dyn AcceptWrites>, keys: Arc<Keys>) -> Router {
    let document = openapi::begin::<Receipt>(
        "Lanner: writes",
        "Accepts what happens in rooms: when it answers, the log of events has it.",
    );
    let routes = OpenApiRouter::with_openapi(document)
        .routes(routes!(create_room))
        .routes(routes!(delete_room))
        .routes(routes!(join_room, leave_room))
        .routes(routes!(post_message))
        .routes(routes!(edit_message, delete_message));
    front::complete(routes, Front { keys, job: writes })
}

/// How a change is asked for: by headers, and without a query.
struct Asked {
    key: Option<IdempotencyKey>,
    wait: Option<Duration>,
}

impl<S: Send + Sync> FromRequestParts<S> for Asked {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        NoParams::from_request_parts(parts, state).await?;
        Ok(Self { key: headers::idempotency_key(&parts.headers)?, wait: headers::wait(&parts.headers) })
    }
}

impl WritesFront {
    /// Accepts a change, and waits as long as is asked for until it can be read. `done` is what is answered then.
    async fn change(&self, who: Caller, write: Write, asked: Asked, done: StatusCode) -> Result<Response, Problem> {
        let accepted = self.job.accept(who, write, asked.key).await?;
        let waited = match asked.wait {
            Some(patience) if self.job.readable(&accepted, patience).await => asked.wait,
            _ => None,
        };
        let applied = waited.map(|wait| [("preference-applied", format!("wait={}", wait.as_secs()))]);
        let location = (done == StatusCode::CREATED).then(|| [(LOCATION, location(&accepted))]);
        let status = if waited.is_some() { done } else { StatusCode::ACCEPTED };
        Ok((status, applied, location, Json(Receipt::from(accepted))).into_response())
    }
}

/// Where it is that was made.
fn location(accepted: &Accepted) -> String {
    let room = format!("/v1/rooms/{}", accepted.room);
    accepted.message.map_or(room.clone(), |message| format!("{room}/messages/{message}"))
}

/// Make a room
#[utoipa::path(
    post, path = "/v1/rooms", tag = "rooms",
    params(Headers), security(("bearer" = [])),
    responses(Made, CreateProblems),
)]
async fn create_room(State(front): State<WritesFront>, Bearer(who): Bearer, asked: Asked) -> Result<Response, Problem> {
    front.change(who, Write::CreateRoom, asked, StatusCode::CREATED).await
}

/// Delete a room, with all memberships
#[utoipa::path(
    delete, path = "/v1/rooms/{room}", tag = "rooms",
    params(("room" = Id, Path), Headers), security(("bearer" = [])),
    responses(Done, MembershipProblems),
)]
async fn delete_room(
    State(front): State<WritesFront>,
    Bearer(who): Bearer,
    Ids(room): Ids<RoomId>,
    asked: Asked,
) -> Result<Response, Problem> {
    front.change(who, Write::DeleteRoom { room }, asked, StatusCode::OK).await
}

/// Make an account a member
#[utoipa::path(
    put, path = "/v1/rooms/{room}/members/{account}", tag = "rooms",
    params(("room" = Id, Path), ("account" = Id, Path), Headers), security(("bearer" = [])),
    responses(Done, MembershipProblems),
)]
async fn join_room(
    State(front): State<WritesFront>,
    Bearer(who): Bearer,
    Ids((room, member)): Ids<(RoomId, AccountId)>,
    asked: Asked,
) -> Result<Response, Problem> {
    front.change(who, Write::Join { room, member }, asked, StatusCode::OK).await
}

/// End a membership
#[utoipa::path(
    delete, path = "/v1/rooms/{room}/members/{account}", tag = "rooms",
    params(("room" = Id, Path), ("account" = Id, Path), Headers), security(("bearer" = [])),
    responses(Done, MembershipProblems),
)]
async fn leave_room(
    State(front): State<WritesFront>,
    Bearer(who): Bearer,
    Ids((room, member)): Ids<(RoomId, AccountId)>,
    asked: Asked,
) -> Result<Response, Problem> {
    front.change(who, Write::Leave { room, member }, asked, StatusCode::OK).await
}

/// Post a message
#[utoipa::path(
    post, path = "/v1/rooms/{room}/messages", tag = "messages",
    params(("room" = Id, Path), Headers), request_body = Text, security(("bearer" = [])),
    responses(Made, TextProblems),
)]
async fn post_message(
    State(front): State<WritesFront>,
    Bearer(who): Bearer,
    Ids(room): Ids<RoomId>,
    asked: Asked,
    Body(text): Body<Text>,
) -> Result<Response, Problem> {
    front.change(who, Write::Post { room, body: text.body }, asked, StatusCode::CREATED).await
}

/// Edit a message
#[utoipa::path(
    put, path = "/v1/rooms/{room}/messages/{message}", tag = "messages",
    params(("room" = Id, Path), ("message" = Id, Path), Headers), request_body = Text, security(("bearer" = [])),
    responses(Done, TextProblems),
)]
async fn edit_message(
    State(front): State<WritesFront>,
    Bearer(who): Bearer,
    Ids((room, message)): Ids<(RoomId, MessageId)>,
    asked: Asked,
    Body(text): Body<Text>,
) -> Result<Response, Problem> {
    front.change(who, Write::Edit { room, message, body: text.body }, asked, StatusCode::OK).await
}

/// Delete a message
#[utoipa::path(
    delete, path = "/v1/rooms/{room}/messages/{message}", tag = "messages",
    params(("room" = Id, Path), ("message" = Id, Path), Headers), security(("bearer" = [])),
    responses(Done, DeleteProblems),
)]
async fn delete_message(
    State(front): State<WritesFront>,
    Bearer(who): Bearer,
    Ids((room, message)): Ids<(RoomId, MessageId)>,
    asked: Asked,
) -> Result<Response, Problem> {
    front.change(who, Write::Delete { room, message }, asked, StatusCode::OK).await
}
