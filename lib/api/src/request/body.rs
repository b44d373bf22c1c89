//! A JSON body: at most so large, in at most so much time, and nothing else in it.

use std::time::Duration;

use axum::body::HttpBody as _;
use axum::extract::{FromRequest, Request};
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use serde_json::error::Category;
use tokio::time::timeout;

use crate::problem::{Problem, kinds};

/// The largest body, in bytes.
const BODY_MAX_BYTES: usize = 64 << 10;

/// In how much time a body must arrive. The server puts it on each request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BodyWithin(pub(crate) Duration);

impl Default for BodyWithin {
    fn default() -> Self {
        Self(Duration::from_secs(10))
    }
}

/// A JSON body.
pub(crate) struct Body<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        check_type(request.headers())?;
        let within = request.extensions().get().copied().unwrap_or_default();
        parse(&read(request, within).await?).map(Self)
    }
}

fn check_type(headers: &HeaderMap) -> Result<(), Problem> {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    let is_json = media_type.eq_ignore_ascii_case("application/json") && !headers.contains_key(CONTENT_ENCODING);
    if is_json { Ok(()) } else { Err(Problem::new(kinds::NOT_JSON)) }
}

async fn read(request: Request, BodyWithin(within): BodyWithin) -> Result<axum::body::Bytes, Problem> {
    let body = request.into_body();
    // A declared length is refused before anything is read; an undeclared one as soon as it is exceeded.
    if body.size_hint().lower() > BODY_MAX_BYTES as u64 {
        return Err(too_large());
    }
    match timeout(within, Limited::new(body, BODY_MAX_BYTES).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        // The connection broke, or the chunks are malformed.
        Ok(Err(_)) => Err(Problem::new(kinds::MALFORMED_JSON).detail("the body broke off")),
        Err(_) => Err(Problem::new(kinds::SLOW_BODY)),
    }
}

fn too_large() -> Problem {
    Problem::new(kinds::TOO_LARGE).member("max_bytes", BODY_MAX_BYTES)
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    let text = std::str::from_utf8(body).map_err(|error| {
        let place = format!("byte {} is not UTF-8", error.valid_up_to());
        Problem::new(kinds::MALFORMED_JSON).detail(place)
    })?;
    serde_json::from_str(text).map_err(|error| {
        let kind = if error.classify() == Category::Data { kinds::INVALID_BODY } else { kinds::MALFORMED_JSON };
        Problem::new(kind).detail(error.to_string())
    })
}
