//! Every answer that is not a success: `application/problem+json` (RFC 9457).
//!
//! The one exception is a request that is no HTTP at all, or whose head is too large or too slow: the server below answers it without
//! a body, or closes the connection.

mod document;
pub mod kinds;
mod outcomes;

use std::borrow::Cow;
use std::time::Duration;

use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

pub(crate) use document::{document_problems, responses, routes};
pub use kinds::Kind;

use crate::auth::AuthError;

/// The media type of problems.
pub const MEDIA_TYPE: &str = "application/problem+json";
/// When to come again, where nobody said.
const RETRY_AFTER_DEFAULT: Duration = Duration::from_secs(1);

/// A problem with one request.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    kind: Kind,
    detail: Option<Cow<'static, str>>,
    retry_after: Option<Duration>,
    members: Map<String, Value>,
}

/// What is wrong (RFC 9457).
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct Body {
    /// Which type of problem, relative to this server: a GET there answers what it means.
    #[serde(rename = "type")]
    #[schema(example = "/problems/not-a-member")]
    problem_type: String,
    /// What is wrong, the same for all problems of the type.
    title: Cow<'static, str>,
    /// The status of the answer.
    status: u16,
    /// What is wrong with this request.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    detail: Option<Cow<'static, str>>,
    /// When to come again, in milliseconds; with 503 and 412.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    retry_after_ms: Option<u64>,
    /// Members of single types, such as `max_bytes` of `too-large` and `rule` of `view-limit`.
    #[serde(flatten)]
    members: Map<String, Value>,
}

impl Problem {
    /// A problem of this type.
    pub fn new(kind: Kind) -> Self {
        let comes_again = kind.status == 503 || kind.status == 429;
        let retry_after = comes_again.then_some(RETRY_AFTER_DEFAULT);
        Self { kind, detail: None, retry_after, members: Map::new() }
    }

    /// Says what is wrong with this request.
    pub fn detail(mut self, detail: impl Into<Cow<'static, str>>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Says when to come again.
    pub fn retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    /// Adds a member that problems of this type have.
    pub fn member(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.members.insert(name.to_owned(), value.into());
        self
    }

    /// Its type.
    pub fn kind(&self) -> Kind {
        self.kind
    }
}

impl From<AuthError> for Problem {
    fn from(error: AuthError) -> Self {
        Self::new(match error {
            AuthError::Missing => kinds::MISSING_TOKEN,
            AuthError::Expired => kinds::EXPIRED_TOKEN,
            AuthError::Invalid => kinds::INVALID_TOKEN,
        })
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Self { kind, detail, retry_after, members } = self;
        let status = StatusCode::from_u16(kind.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = Body {
            problem_type: format!("/problems/{}", kind.name),
            title: kind.title.into(),
            status: kind.status,
            detail,
            retry_after_ms: retry_after.map(|after| u64::try_from(after.as_millis()).unwrap_or(u64::MAX)),
            members,
        };
        // Strings, numbers and a map of such cannot fail to serialize.
        let body = serde_json::to_vec(&body).unwrap_or_default();
        let mut response = (status, [(CONTENT_TYPE, MEDIA_TYPE)], body).into_response();
        if let Some(after) = retry_after {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(whole_seconds(after)));
        }
        if let Some(challenge) = challenge(kind) {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        response
    }
}

/// Rounded up: Retry-After has no fractions, and coming too early is of no use.
fn whole_seconds(duration: Duration) -> u64 {
    duration.as_millis().div_ceil(1000).max(1).try_into().unwrap_or(u64::MAX)
}

/// Who sent no token is told no error (RFC 6750, section 3.1).
fn challenge(kind: Kind) -> Option<&'static str> {
    match kind {
        kinds::MISSING_TOKEN => Some("Bearer"),
        kinds::EXPIRED_TOKEN | kinds::INVALID_TOKEN => Some(r#"Bearer error="invalid_token""#),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_statuses_are_those_of_errors() {
        let names: BTreeSet<_> = kinds::ALL.iter().map(|kind| kind.name).collect();
        assert_eq!(names.len(), kinds::ALL.len());
        for kind in kinds::ALL {
            assert!((400..600).contains(&kind.status), "{kind:?}");
            assert!(kind.name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'), "{kind:?}");
        }
    }

    #[test]
    fn a_problem_is_told_with_its_headers() {
        let problem = Problem::new(kinds::NOT_STORED).retry_after(Duration::from_millis(1_001));
        let response = problem.into_response();
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()[RETRY_AFTER], "2");
        assert_eq!(response.headers()[CONTENT_TYPE], MEDIA_TYPE);
        let response = Problem::from(AuthError::Missing).into_response();
        assert_eq!(response.headers()[WWW_AUTHENTICATE], "Bearer");
        let response = Problem::from(AuthError::Expired).into_response();
        assert_eq!(response.headers()[WWW_AUTHENTICATE], r#"Bearer error="invalid_token""#);
    }
}
