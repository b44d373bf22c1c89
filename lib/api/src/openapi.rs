//! The OpenAPI 3.1 document of a front, at `/openapi.json`.

use axum::Extension;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use utoipa::openapi::schema::{Object, SchemaType, Type};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Components, InfoBuilder, ObjectBuilder, OpenApi, OpenApiBuilder, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::problem::{self, document_problems};

/// The name of the security scheme in the document.
pub(crate) const BEARER: &str = "bearer";

/// The document before any route is in it, with the form `S`, which answers refer to by name.
pub(crate) fn begin<S: ToSchema>(title: &str, description: &str) -> OpenApi {
    let info =
        InfoBuilder::new().title(title).version(env!("CARGO_PKG_VERSION")).description(Some(description)).build();
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").build();
    let components = Components::builder().security_scheme(BEARER, SecurityScheme::Http(bearer));
    let components = components.schema_from::<Id>().schema_from::<problem::Body>().schema_from::<S>();
    OpenApiBuilder::new().info(info).components(Some(components.build())).build()
}

/// An id in JSON and in paths: decimal digits in a string, because a JSON number loses bits above 2⁵³.
pub(crate) struct Id;

impl PartialSchema for Id {
    fn schema() -> RefOr<Schema> {
        let text: Object = ObjectBuilder::new()
            .schema_type(SchemaType::Type(Type::String))
            .pattern(Some("^[0-9]{1,19}$"))
            .description(Some("A whole number from 0 to 9223372036854775807, in decimal digits"))
            .build();
        RefOr::T(Schema::Object(text))
    }
}

impl ToSchema for Id {}

/// The finished document, as every answer has it.
#[derive(Clone)]
pub(crate) struct Document(axum::body::Bytes);

impl Document {
    pub(crate) fn layer(document: &OpenApi) -> Extension<Self> {
        // Plain data under string keys cannot fail to serialize.
        Extension(Self(document.to_json().unwrap_or_default().into()))
    }
}

document_problems! {
    /// Of asking for the document.
    DocumentProblems:;
}

/// This document
#[utoipa::path(
    get,
    path = "/openapi.json",
    tag = "about",
    responses((status = 200, description = "OpenAPI 3.1", content_type = "application/json"), DocumentProblems),
)]
async fn get_document(Extension(Document(json)): Extension<Document>) -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], json)
}

/// `GET /openapi.json`.
pub(crate) fn routes<S: Clone + Send + Sync + 'static>() -> OpenApiRouter<S> {
    OpenApiRouter::new().routes(routes!(get_document))
}
