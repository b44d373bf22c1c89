//! Fronts on loopback over jobs that answer what a test wants, and a client that sends bytes.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use chat::event::EventId;
use chat::{AccountId, MessageId, OrganizationId, Position, RoomId, Timestamp};
use jobs::messages::Caller;
use jobs::messages::serve_reads::{PageQuery, ReadError, ReadMessage, ReadPage, ViewLimit};
use jobs::messages::serve_writes::{Accepted, IdempotencyKey, Write, WriteError};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::problem::MEDIA_TYPE;
use crate::reads::AnswerReads;
use crate::writes::AcceptWrites;
use crate::{Keys, ServerLimits, serve};

pub(crate) const CALLER: Caller =
    Caller { account: AccountId::from_bits(7), organization: OrganizationId::from_bits(42), is_admin: true };

/// A writing job: answers what `fails` makes, else accepts; a text tells it to sleep or to panic.
#[derive(Default)]
pub(crate) struct ScriptedWrites {
    pub(crate) fails: Option<fn() -> WriteError>,
    pub(crate) is_readable: bool,
    pub(crate) asked: Mutex<Vec<(Caller, Write, Option<IdempotencyKey>)>>,
}

#[async_trait]
impl AcceptWrites for ScriptedWrites {
    async fn accept(&self, caller: Caller, write: Write, key: Option<IdempotencyKey>) -> Result<Accepted, WriteError> {
        let message = match &write {
            Write::Post { .. } => Some(MessageId::from_bits(99)),
            Write::Edit { message, .. } | Write::Delete { message, .. } => Some(*message),
            _ => None,
        };
        self.asked.lock().expect("a lock").push((caller, write.clone(), key));
        if let Write::Post { body, .. } = &write {
            assert_ne!(body, "panic", "as asked for");
            if let Some(ms) = body.strip_prefix("sleep ") {
                tokio::time::sleep(Duration::from_millis(ms.parse().expect("milliseconds"))).await;
            }
        }
        if let Some(fails) = self.fails {
            return Err(fails());
        }
        let event = EventId::new("event-1").expect("an id");
        let version = Position::new(3, 1042).expect("a position");
        Ok(Accepted { event, room: RoomId::from_bits(5), message, at: Timestamp::from_millis(0), version })
    }

    async fn readable(&self, _: &Accepted, _: Duration) -> bool {
        self.is_readable
    }
}

/// A reading job: answers what it is given, or fails.
pub(crate) struct ScriptedReads {
    pub(crate) fails: Option<fn() -> ReadError>,
    pub(crate) page: fn() -> Result<ReadPage, ReadError>,
    pub(crate) message: fn() -> Result<ReadMessage, ReadError>,
    pub(crate) view_limit: fn() -> Result<ViewLimit, ReadError>,
    pub(crate) asked: Mutex<Vec<PageQuery>>,
}

impl Default for ScriptedReads {
    fn default() -> Self {
        Self {
            fails: None,
            page: || Ok(ReadPage::default()),
            message: || Err(ReadError::NotFound),
            view_limit: || Err(ReadError::NotFound),
            asked: Mutex::default(),
        }
    }
}

#[async_trait]
impl AnswerReads for ScriptedReads {
    async fn page(&self, _: Caller, query: PageQuery) -> Result<ReadPage, ReadError> {
        self.asked.lock().expect("a lock").push(query);
        self.fails.map_or_else(self.page, |fails| Err(fails()))
    }

    async fn message(&self, _: Caller, _: RoomId, _: MessageId, _: Option<Position>) -> Result<ReadMessage, ReadError> {
        self.fails.map_or_else(self.message, |fails| Err(fails()))
    }

    async fn view_limit(&self, _: Caller, _: OrganizationId) -> Result<ViewLimit, ReadError> {
        self.fails.map_or_else(self.view_limit, |fails| Err(fails()))
    }
}

/// A front that runs.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) token: String,
    pub(crate) stop: CancellationToken,
    pub(crate) beats: Arc<AtomicUsize>,
    pub(crate) served: JoinHandle<std::io::Result<()>>,
}

pub(crate) async fn start(routes: impl FnOnce(Arc<Keys>) -> Router, limits: ServerLimits) -> Running {
    let keys = Arc::new(Keys::from_jwks(&Keys::generate().expect("random bytes")).expect("keys"));
    let token = keys.sign(CALLER, Duration::from_secs(600), Timestamp::now()).expect("a token");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let (stop, beats) = (CancellationToken::new(), Arc::new(AtomicUsize::new(0)));
    let beat = {
        let beats = Arc::clone(&beats);
        move || {
            beats.fetch_add(1, Ordering::Relaxed);
        }
    };
    let served = tokio::spawn(serve("test", listener, routes(keys), limits, stop.clone(), beat));
    Running { address, token, stop, beats, served }
}

pub(crate) async fn start_writes(writes: ScriptedWrites) -> (Running, Arc<ScriptedWrites>) {
    start_writes_within(writes, ServerLimits::default()).await
}

pub(crate) async fn start_writes_within(
    writes: ScriptedWrites,
    limits: ServerLimits,
) -> (Running, Arc<ScriptedWrites>) {
    let writes = Arc::new(writes);
    let job = Arc::clone(&writes);
    (start(|keys| crate::writes::routes(job, keys), limits).await, writes)
}

pub(crate) async fn start_reads(reads: ScriptedReads) -> (Running, Arc<ScriptedReads>) {
    let reads = Arc::new(reads);
    let job = Arc::clone(&reads);
    (start(|keys| crate::reads::routes(job, keys), ServerLimits::default()).await, reads)
}

impl Running {
    /// A connection.
    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("a connection")
    }

    /// Sends these bytes and reads until the server closes.
    pub(crate) async fn raw(&self, request: &[u8]) -> Answer {
        let mut stream = self.connect().await;
        stream.write_all(request).await.expect("a request");
        Answer::read(stream).await
    }

    /// Sends a request with a token and perhaps a JSON body.
    pub(crate) async fn ask(&self, line: &str, headers: &str, body: Option<&str>) -> Answer {
        self.raw(self.request(line, headers, body).as_bytes()).await
    }

    /// The bytes of such a request.
    pub(crate) fn request(&self, line: &str, headers: &str, body: Option<&str>) -> String {
        let token = &self.token;
        let body =
            body.map(|body| (format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len()), body));
        let (about, body) = body.unwrap_or_default();
        format!(
            "{line} HTTP/1.1\r\nhost: test\r\nconnection: close\r\nauthorization: Bearer {token}\r\n{headers}{about}\r\n{body}"
        )
    }
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) async fn read(mut stream: TcpStream) -> Self {
        let mut bytes = Vec::new();
        // A server that refuses a body closes before it has all of it.
        let _ = stream.read_to_end(&mut bytes).await;
        Self::parse(&String::from_utf8(bytes).expect("UTF-8"))
    }

    fn parse(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        let mut answer = Self { status, head: head.to_owned(), body: body.to_owned() };
        // Behind it may be what the rest of the bytes were answered with.
        let length = answer.header("content-length").and_then(|length| length.parse().ok());
        answer.body.truncate(length.unwrap_or(body.len()));
        answer
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        lines.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    /// Checks that this is a problem of that type, in the form of all problems.
    #[track_caller]
    pub(crate) fn assert_problem(&self, status: u16, name: &str) {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.header("content-type"), Some(MEDIA_TYPE), "{self:?}");
        assert_eq!(self.header("x-content-type-options"), Some("nosniff"), "{self:?}");
        assert!(self.header("x-request-id").is_some(), "{self:?}");
        let problem = self.json();
        assert_eq!(problem["type"], format!("/problems/{name}"), "{self:?}");
        assert_eq!(problem["status"], status, "{self:?}");
        assert!(problem["title"].is_string(), "{self:?}");
        if status == 503 {
            assert!(self.header("retry-after").is_some(), "{self:?}");
        }
    }
}
