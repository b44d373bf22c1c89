//! What holds for each request, whatever it asks for: counted, bounded in time, answered whatever happens.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{CACHE_CONTROL, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use futures::FutureExt as _;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use super::ServerLimits;
use crate::problem::{Problem, kinds};
use crate::request::BodyWithin;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The longest request id that is taken from a client, in bytes.
const REQUEST_ID_MAX_BYTES: usize = 128;

/// What all requests of a server share.
pub(super) struct Guard {
    service: &'static str,
    in_flight: Semaphore,
    body_within: Duration,
    answer_within: Duration,
}

impl Guard {
    pub(super) fn new(service: &'static str, limits: ServerLimits) -> Self {
        let ServerLimits { in_flight_max, body_within, answer_within, .. } = limits;
        let in_flight = Semaphore::new(in_flight_max.min(Semaphore::MAX_PERMITS));
        Self { service, in_flight, body_within, answer_within }
    }

    /// The answer of the routes, or a problem where they cannot give one.
    async fn answer(&self, mut request: Request, next: Next) -> Response {
        let Ok(_place) = self.in_flight.try_acquire() else {
            return Problem::new(kinds::OVERLOADED).into_response();
        };
        request.extensions_mut().insert(BodyWithin(self.body_within));
        let late = late(request.method());
        // What a panic leaves half done lies in that request alone.
        let answer = AssertUnwindSafe(next.run(request)).catch_unwind();
        match timeout(self.answer_within, answer).await {
            Ok(Ok(response)) => response,
            Ok(Err(_)) => Problem::new(kinds::INTERNAL).into_response(),
            Err(_) => late.into_response(),
        }
    }
}

/// What is told when the time is over. Of a change nobody knows then whether it was stored.
fn late(method: &Method) -> Problem {
    let kind = if method.is_safe() { kinds::UNAVAILABLE } else { kinds::OUTCOME_UNKNOWN };
    Problem::new(kind).detail("it took too long")
}

/// Answers a request, with what each answer has: an id, no sniffing, no storing.
pub(super) async fn guarded(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    let id = request_id(request.headers());
    let is_private = request.uri().path().starts_with("/v1/");
    let measured = Measured::begin(guard.service, &request);
    let mut response = guard.answer(request, next).await;
    measured.end(&response, &id);
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, id);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if is_private {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}

/// The client's own, where it can stand in a log; else a new one.
fn request_id(headers: &HeaderMap) -> HeaderValue {
    let fits = |id: &&HeaderValue| {
        (1..=REQUEST_ID_MAX_BYTES).contains(&id.len()) && id.as_bytes().iter().all(u8::is_ascii_graphic)
    };
    let own = headers.get(REQUEST_ID).filter(fits).cloned();
    own.or_else(|| HeaderValue::from_str(&format!("{:032x}", fastrand::u128(..))).ok())
        .unwrap_or(HeaderValue::from_static("none"))
}

/// A request as it is measured. It is in work until it is dropped: when its client goes away, too.
struct Measured {
    service: &'static str,
    route: String,
    method: Method,
    begun: Instant,
}

impl Measured {
    fn begin(service: &'static str, request: &Request) -> Self {
        metrics::gauge!("lanner_http_in_flight", "service" => service).increment(1.0);
        // The template: paths are as many as there are rooms.
        let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str).to_owned();
        Self { service, route, method: request.method().clone(), begun: Instant::now() }
    }

    fn end(self, response: &Response, id: &HeaderValue) {
        let (service, route, status) = (self.service, self.route.clone(), response.status().as_u16());
        let (method, seconds) = (&self.method, self.begun.elapsed().as_secs_f64());
        tracing::debug!(service, %method, route, status, seconds, request.id = ?id, "answered");
        metrics::histogram!("lanner_http_request_seconds", "service" => service, "route" => route.clone())
            .record(seconds);
        let status = status.to_string();
        metrics::counter!("lanner_http_requests_total", "service" => service, "route" => route, "status" => status)
            .increment(1);
    }
}

impl Drop for Measured {
    fn drop(&mut self) {
        metrics::gauge!("lanner_http_in_flight", "service" => self.service).decrement(1.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waited_too_long_may_repeat_a_question_and_doubts_a_change() {
        assert_eq!(late(&Method::GET).kind(), kinds::UNAVAILABLE);
        assert_eq!(late(&Method::DELETE).kind(), kinds::OUTCOME_UNKNOWN);
    }

    #[test]
    fn a_request_id_is_the_clients_when_it_can_stand_in_a_log() {
        let id = |value: &str| {
            let value = HeaderValue::from_str(value).expect("a header");
            request_id(&HeaderMap::from_iter([(REQUEST_ID, value)]))
        };
        assert_eq!(id("abc-1"), "abc-1");
        assert_eq!(id(&"x".repeat(128)).len(), 128);
        for bad in ["", "a b", &"x".repeat(129)] {
            assert_eq!(id(bad).len(), 32, "{bad:?}");
        }
    }
}
