//! A client that keeps its connections.

use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::{HeaderMap, Request};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

/// Longer than anything that is to be answered takes.
const ANSWERED_WITHIN: Duration = Duration::from_secs(30);

/// One service.
#[derive(Clone, Debug)]
pub struct Http {
    client: Client<HttpConnector, Full<Bytes>>,
    base: String,
}

/// What was answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Answer {
    /// The body as JSON; null where it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The type of the problem, without its path; empty where it is none.
    pub fn problem(&self) -> String {
        self.json()["type"].as_str().unwrap_or_default().trim_start_matches("/problems/").to_owned()
    }
}

impl Http {
    /// Of the service at `base`, such as `http://127.0.0.1:8080`.
    pub fn new(base: String) -> Self {
        Self { client: Client::builder(TokioExecutor::new()).build_http(), base }
    }

    /// Sends a request; the words of what happened where no answer came.
    pub async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Answer, String> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        let bytes = body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
        let request = request.body(Full::new(bytes)).map_err(|error| error.to_string())?;
        let answered = async {
            let answer = self.client.request(request).await.map_err(|error| error.to_string())?;
            let (parts, body) = answer.into_parts();
            let body = body.collect().await.map_err(|error| error.to_string())?.to_bytes();
            Ok(Answer { status: parts.status.as_u16(), headers: parts.headers, body })
        };
        tokio::time::timeout(ANSWERED_WITHIN, answered).await.map_err(|_| "no answer in time".to_owned())?
    }

    /// Asks for `path` as whoever has this token.
    pub async fn get(&self, path: &str, token: &str) -> Result<Answer, String> {
        self.send("GET", path, &[("authorization", &format!("Bearer {token}"))], None).await
    }
}
