//! `serve-reads` over HTTP: what a reader may see.

mod forms;

use std::sync::Arc;

use async_trait::async_trait;
use axum::extract::State;
use axum::{Json, Router};
use chat::{MessageId, OrganizationId, Position, RoomId};
use jobs::messages::Caller;
use jobs::messages::serve_reads::{PageQuery, ReadError, ReadMessage, ReadPage, Reads, ViewLimit};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use self::forms::{Limit, LimitProblems, MessageProblems, Page, PageProblems, Shown, Since, Which};
use crate::Keys;
use crate::auth::Bearer;
use crate::front::{self, Front};
use crate::openapi::{self, Id};
use crate::problem::Problem;
use crate::request::{Ids, NoParams, Params};

/// What the routes hand requests to.
#[async_trait]
pub trait AnswerReads: Send + Sync {
    /// A page of a room, newest first.
    async fn page(&self, caller: Caller, query: PageQuery) -> Result<ReadPage, ReadError>;

    /// One message.
    async fn message(
        &self,
        caller: Caller,
        room: RoomId,
        id: MessageId,
        min_version: Option<Position>,
    ) -> Result<ReadMessage, ReadError>;

    /// What limits the caller's organization.
    async fn view_limit(&self, caller: Caller, organization: OrganizationId) -> Result<ViewLimit, ReadError>;
}

#[async_trait]
impl AnswerReads for Reads {
    async fn page(&self, caller: Caller, query: PageQuery) -> Result<ReadPage, ReadError> {
        Self::page(self, caller, query).await
    }

    async fn message(
        &self,
        caller: Caller,
        room: RoomId,
        id: MessageId,
        min_version: Option<Position>,
    ) -> Result<ReadMessage, ReadError> {
        Self::message(self, caller, room, id, min_version).await
    }

    async fn view_limit(&self, caller: Caller, organization: OrganizationId) -> Result<ViewLimit, ReadError> {
        Self::view_limit(self, caller, organization).await
    }
}

type ReadsFront = Front<dyn AnswerReads>;

/// The routes of `serve-reads`, for callers with a token by these keys.
pub fn routes(reads: Arc<dyn AnswerReads>, keys: Arc<Keys>) -> Router {
    let document =
        openapi::begin::<Page>("Lanner: reads", "Answers what a reader may see of the messages of their rooms.");
    let routes = OpenApiRouter::with_openapi(document)
        .routes(routes!(list_messages))
        .routes(routes!(get_message))
        .routes(routes!(get_view_limit));
    front::complete(routes, Front { keys, job: reads })
}

/// Messages of a room, newest first
#[utoipa::path(
    get, path = "/v1/rooms/{room}/messages", tag = "messages", params(("room" = Id, Path), Which), security(("bearer" = [])),
    responses((status = 200, description = "A page", body = Page), PageProblems),
)]
async fn list_messages(
    State(front): State<ReadsFront>,
    Bearer(caller): Bearer,
    Ids(room): Ids<RoomId>,
    Params(which): Params<Which>,
) -> Result<Json<Page>, Problem> {
    let limit = which.limit()?;
    let Which { before, after, min_version, .. } = which;
    let page = front.job.page(caller, PageQuery { room, before, after, limit, min_version }).await?;
    Ok(Json(Page {
        messages: page.messages.into_iter().map(Shown::from).collect(),
        next: page.resume_before.map(|before| which.next(room, limit, before)),
        hidden_older: page.hidden_older,
    }))
}

/// One message
#[utoipa::path(
    get, path = "/v1/rooms/{room}/messages/{message}", tag = "messages",
    params(("room" = Id, Path), ("message" = Id, Path), Since), security(("bearer" = [])),
    responses((status = 200, description = "The message", body = Shown), MessageProblems),
)]
async fn get_message(
    State(front): State<ReadsFront>,
    Bearer(caller): Bearer,
    Ids((room, id)): Ids<(RoomId, MessageId)>,
    Params(Since { min_version }): Params<Since>,
) -> Result<Json<Shown>, Problem> {
    Ok(Json(front.job.message(caller, room, id, min_version).await?.into()))
}

/// What limits an organization's readers now
#[utoipa::path(
    get, path = "/v1/organizations/{organization}/view-limit", tag = "limits",
    params(("organization" = Id, Path)), security(("bearer" = [])),
    responses((status = 200, description = "The limit", body = Limit), LimitProblems),
)]
async fn get_view_limit(
    State(front): State<ReadsFront>,
    Bearer(caller): Bearer,
    Ids(organization): Ids<OrganizationId>,
    _: NoParams,
) -> Result<Json<Limit>, Problem> {
    Ok(Json(front.job.view_limit(caller, organization).await?.into()))
}
