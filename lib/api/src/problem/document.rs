//! Problems in the OpenAPI document, and what they mean at `/problems/{name}`.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::Path;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::{Content, Ref, RefOr, Response, ResponseBuilder};
use utoipa::{PartialSchema as _, ToSchema as _};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{Body, Kind, MEDIA_TYPE, Problem, kinds};

/// Makes a type that stands for the problems of a route in its description.
macro_rules! document_problems {
    ($($(#[$doc:meta])* $name:ident: $($group:ident)*;)*) => {$(
        $(#[$doc])*
        pub(crate) struct $name;

        impl utoipa::IntoResponses for $name {
            fn responses() -> std::collections::BTreeMap<String, utoipa::openapi::RefOr<utoipa::openapi::Response>> {
                $crate::problem::responses(&[$crate::problem::kinds::ALWAYS, $($crate::problem::kinds::$group),*])
            }
        }
    )*};
}
pub(crate) use document_problems;

/// One response for each status, which names the problems that are answered with it.
pub(crate) fn responses(groups: &[&[Kind]]) -> BTreeMap<String, RefOr<Response>> {
    let mut by_status = BTreeMap::<u16, Vec<Kind>>::new();
    for kind in groups.iter().copied().flatten() {
        by_status.entry(kind.status).or_default().push(*kind);
    }
    by_status.into_iter().map(|(status, kinds)| (status.to_string(), RefOr::T(response(status, &kinds)))).collect()
}

fn response(status: u16, kinds: &[Kind]) -> Response {
    let lines: Vec<_> = kinds.iter().map(|kind| format!("`{}`: {}", kind.name, kind.title)).collect();
    let body = Content::new(Some(Ref::from_schema_name(Body::name())));
    let response = ResponseBuilder::new().description(lines.join("\n\n")).content(MEDIA_TYPE, body);
    let header = match status {
        401 => Some(("WWW-Authenticate", "Bearer, with an error where a token was sent")),
        405 => Some(("Allow", "The methods that the address knows")),
        412 | 429 | 503 => Some(("Retry-After", "When to come again, in seconds")),
        _ => None,
    };
    let Some((name, meaning)) = header else { return response.build() };
    let header = HeaderBuilder::new().schema(Some(String::schema())).description(Some(meaning)).build();
    response.header(name, header).build()
}

document_problems! {
    /// Of asking for a meaning.
    MeaningProblems: MEANING;
}

/// What a type of problem means
#[utoipa::path(
    get,
    path = "/problems/{name}",
    tag = "about",
    params(("name" = String, Path, description = "The last part of a problem's `type`")),
    responses((status = 200, description = "Its meaning", body = Kind), MeaningProblems),
)]
async fn get_problem_type(Path(name): Path<String>) -> Result<Json<Kind>, Problem> {
    let kind = kinds::ALL.iter().find(|kind| kind.name == name);
    kind.copied().map(Json).ok_or_else(|| Problem::new(kinds::NO_ROUTE).detail("there is no such type of problem"))
}

/// `GET /problems/{name}`.
pub(crate) fn routes<S: Clone + Send + Sync + 'static>() -> OpenApiRouter<S> {
    OpenApiRouter::new().routes(routes!(get_problem_type))
}
