//! A proxy in front of a local server that speaks as AWS does when it refuses: local servers never throttle, never leave a part of
//! a batch undone and never lose an answer.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode, client, header, server};
use hyper_util::rt::TokioIo;
use serde_json::{Map, Value, json};
use tokio::net::{TcpListener, TcpStream};

use crate::{Fault, Faults};

/// A running proxy; it ends with the runtime that it was started on.
pub struct FaultyProxy {
    /// Where it listens: `http://127.0.0.1:port`.
    pub url: String,
    behind: Arc<Behind>,
}

type Answer = Result<Response<Full<Bytes>>, io::Error>;

impl FaultyProxy {
    /// Starts a proxy in front of the DynamoDB or SQS at `target` (`http://host:port`).
    pub async fn start(target: &str, faults: Faults) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let address = target.trim_start_matches("http://").trim_end_matches('/').into();
        let behind = Arc::new(Behind { address, faults, requests: Mutex::default() });
        let proxy = Self { url, behind: Arc::clone(&behind) };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let behind = Arc::clone(&behind);
                tokio::spawn(async move {
                    let service = service_fn(|request| behind.answer(request));
                    // An error is what the caller was to see: a connection that ends before an answer.
                    let _ = server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        proxy
    }

    /// How many requests of each operation came.
    pub fn requests(&self) -> BTreeMap<String, u64> {
        self.behind.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

struct Behind {
    address: String,
    faults: Faults,
    requests: Mutex<BTreeMap<String, u64>>,
}

impl Behind {
    async fn answer(&self, request: Request<Incoming>) -> Answer {
        let (head, body) = request.into_parts();
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        let operation =
            head.headers.get("x-amz-target").and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
        let name = operation.rsplit('.').next().unwrap_or_default().to_owned();
        *self.requests.lock().unwrap_or_else(PoisonError::into_inner).entry(name).or_default() += 1;
        let forward = async |body: Bytes| self.forward(Request::from_parts(head.clone(), Full::new(body))).await;
        match self.faults.next().await {
            None => forward(body).await,
            Some(Fault::Throttled) => Ok(throttled(&operation)),
            Some(Fault::Unavailable) if self.faults.below(2) == 0 => Err(cut()),
            Some(Fault::Unavailable) => Ok(answer(StatusCode::SERVICE_UNAVAILABLE, &json!({ "message": "on demand" }))),
            Some(Fault::LostResponse) => {
                forward(body).await?;
                Err(cut())
            }
            Some(Fault::Partial) => {
                let Some((taken, left)) = self.halve(&operation, &body) else { return forward(body).await };
                let (status, mut answered) = match taken {
                    Some(taken) => {
                        let (head, body) = forward(taken).await?.into_parts();
                        let body = body.collect().await.unwrap_or_else(|e: Infallible| match e {});
                        (head.status, serde_json::from_slice(&body.to_bytes()).map_err(io::Error::other)?)
                    }
                    None => (StatusCode::OK, Map::new()),
                };
                if status == StatusCode::OK {
                    leave(&mut answered, left);
                }
                Ok(answer(status, &Value::Object(answered)))
            }
        }
    }

    async fn forward(&self, mut request: Request<Full<Bytes>>) -> Answer {
        // The body may be another one by now.
        request.headers_mut().remove(header::CONTENT_LENGTH);
        let stream = TcpStream::connect(&self.address).await?;
        let (mut sender, connection) =
            client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        tokio::spawn(connection);
        let (head, body) = sender.send_request(request).await.map_err(io::Error::other)?.into_parts();
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        let mut answer = Response::builder().status(head.status);
        if let Some(kind) = head.headers.get(header::CONTENT_TYPE) {
            answer = answer.header(header::CONTENT_TYPE, kind);
        }
        answer.body(Full::new(body)).map_err(io::Error::other)
    }

    /// Cuts a request in two: what is forwarded, if anything, and what the answer then says about the rest. None when the
    /// operation cannot fail in part.
    fn halve(&self, operation: &str, body: &[u8]) -> Option<(Option<Bytes>, (&'static str, Value))> {
        let mut request: Map<String, Value> = serde_json::from_slice(body).ok()?;
        let (_, operation) = operation.split_once('.')?;
        if operation == "Query" {
            let limit = request.get("Limit")?.as_u64()?;
            request.insert("Limit".to_owned(), json!(1 + self.faults.below(usize::try_from(limit).ok()?)));
            return Some((Some(bytes(&request)), ("", Value::Null)));
        }
        let (entries, left_as) = match operation {
            "BatchWriteItem" => {
                (request.get_mut("RequestItems")?.as_object_mut()?.values_mut().next()?, "UnprocessedItems")
            }
            "BatchGetItem" => {
                let table = request.get_mut("RequestItems")?.as_object_mut()?.values_mut().next()?;
                (table.get_mut("Keys")?, "UnprocessedKeys")
            }
            "SendMessageBatch" | "DeleteMessageBatch" | "ChangeMessageVisibilityBatch" => {
                (request.get_mut("Entries")?, "Failed")
            }
            _ => return None,
        };
        let entries = entries.as_array_mut()?;
        let left = entries.split_off(self.faults.below(entries.len()));
        let taken = (!entries.is_empty()).then_some(());
        let left = match left_as {
            "Failed" => left.iter().map(failed_entry).collect(),
            _ => {
                // The same tables, with what is left in place of what was taken.
                let mut tables = request.get("RequestItems")?.clone();
                let table = tables.as_object_mut()?.values_mut().next()?;
                match table.get_mut("Keys") {
                    Some(keys) => *keys = Value::Array(left),
                    None => *table = Value::Array(left),
                }
                tables
            }
        };
        Some((taken.map(|()| bytes(&request)), (left_as, left)))
    }
}

/// Adds to an answer what was left undone.
fn leave(answered: &mut Map<String, Value>, (left_as, left): (&str, Value)) {
    match (answered.get_mut(left_as), left) {
        (_, Value::Null) => {}
        (Some(Value::Array(failed)), Value::Array(left)) => failed.extend(left),
        (_, left) => drop(answered.insert(left_as.to_owned(), left)),
    }
}

fn failed_entry(entry: &Value) -> Value {
    json!({ "Id": entry["Id"], "SenderFault": false, "Code": "InternalError", "Message": "on demand" })
}

fn bytes(request: &Map<String, Value>) -> Bytes {
    serde_json::to_vec(request).expect("JSON").into()
}

fn throttled(operation: &str) -> Response<Full<Bytes>> {
    let kind = match operation.starts_with("DynamoDB") {
        true => "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException",
        false => "com.amazonaws.sqs#RequestThrottled",
    };
    answer(StatusCode::BAD_REQUEST, &json!({ "__type": kind, "message": "on demand" }))
}

fn answer(status: StatusCode, body: &Value) -> Response<Full<Bytes>> {
    let answer = Response::builder().status(status).header(header::CONTENT_TYPE, "application/x-amz-json-1.0");
    answer.body(Full::new(body.to_string().into())).expect("a response")
}

fn cut() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, "on demand")
}
