//! Clients that are slow, many, or gone; a server that stops.

use std::sync::atomic::Ordering;
use std::time::Duration;

use jobs::messages::serve_reads::{ReadMessage, ReadPage};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use crate::ServerLimits;
use crate::testing::{Answer, Running, ScriptedReads, ScriptedWrites, start, start_writes, start_writes_within};

/// Far more than what is waited for takes.
const PATIENCE: Duration = Duration::from_secs(30);
const POST: &str = "POST /v1/rooms/5/messages";

fn limits() -> ServerLimits {
    ServerLimits::default()
}

async fn writes_within(limits: ServerLimits) -> Running {
    start_writes_within(ScriptedWrites::default(), limits).await.0
}

fn sleeping(ms: u64) -> String {
    format!(r#"{{"body":"sleep {ms}"}}"#)
}

/// Reads to the end, which must come.
async fn end(mut stream: TcpStream) -> usize {
    let mut bytes = Vec::new();
    let read = timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.expect("the server closes");
    // A reset is an end, too.
    read.unwrap_or(0)
}

/// Waits until the job is at work.
async fn begun(job: &ScriptedWrites) {
    let is_asked = async {
        while job.asked.lock().expect("a lock").is_empty() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, is_asked).await.expect("a request");
}

#[tokio::test]
async fn who_is_slow_with_the_head_is_cut_off() {
    let front = writes_within(ServerLimits { head_within: Duration::from_millis(200), ..limits() }).await;
    let mut stream = front.connect().await;
    stream.write_all(b"GET /v1/rooms HT").await.expect("half a line");
    end(stream).await;
    // Silent from the beginning, and between two requests.
    end(front.connect().await).await;
    let mut stream = front.connect().await;
    stream.write_all(b"GET / HTTP/1.1\r\nhost: test\r\n\r\n").await.expect("a request");
    assert!(end(stream).await > 0);
}

#[tokio::test]
async fn who_is_slow_with_the_body_is_told_so() {
    let front = writes_within(ServerLimits { body_within: Duration::from_millis(200), ..limits() }).await;
    for framing in ["content-length: 12", "transfer-encoding: chunked"] {
        let headers = format!("content-type: application/json\r\n{framing}\r\n");
        let answer = timeout(PATIENCE, front.ask(POST, &headers, None)).await.expect("an answer");
        answer.assert_problem(408, "slow-body");
    }
}

#[tokio::test]
async fn a_change_that_takes_too_long_may_have_been_stored() {
    let front = writes_within(ServerLimits { answer_within: Duration::from_millis(200), ..limits() }).await;
    front.ask(POST, "", Some(&sleeping(60_000))).await.assert_problem(504, "outcome-unknown");
}

#[tokio::test]
async fn a_panic_is_one_requests_alone() {
    let (front, _) = start_writes(ScriptedWrites::default()).await;
    for _ in 0..3 {
        front.ask(POST, "", Some(r#"{"body":"panic"}"#)).await.assert_problem(500, "internal");
    }
    assert_eq!(front.ask(POST, "", Some(r#"{"body":"a"}"#)).await.status, 202);
}

#[tokio::test]
async fn more_requests_than_are_taken_are_refused_at_once() {
    let limits = ServerLimits { in_flight_max: 1, ..limits() };
    let (front, job) = start_writes_within(ScriptedWrites::default(), limits).await;
    let mut busy = front.connect().await;
    busy.write_all(front.request(POST, "", Some(&sleeping(3_000))).as_bytes()).await.expect("a request");
    begun(&job).await;
    front.ask("POST /v1/rooms", "", None).await.assert_problem(503, "overloaded");
    assert_eq!(Answer::read(busy).await.status, 202);
    assert_eq!(front.ask("POST /v1/rooms", "", None).await.status, 202);
}

#[tokio::test]
async fn more_connections_than_are_taken_wait() {
    let front = writes_within(ServerLimits { connections_max: 1, ..limits() }).await;
    let idle = front.connect().await;
    sleep(Duration::from_millis(100)).await;
    let mut waits = std::pin::pin!(front.ask("POST /v1/rooms", "", None));
    assert!(timeout(Duration::from_millis(300), &mut waits).await.is_err(), "there is one place, and it is taken");
    drop(idle);
    assert_eq!(timeout(PATIENCE, waits).await.expect("an answer").status, 202);
}

#[tokio::test]
async fn a_thousand_idle_connections_are_in_nobodys_way() {
    let (front, _) = start_writes(ScriptedWrites::default()).await;
    // Both ends of each connection are this process's.
    let allowed = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: allowed.maximum, ..allowed }).expect("file descriptors");
    let mut idle = Vec::new();
    for _ in 0..1_000 {
        idle.push(front.connect().await);
    }
    let begun = Instant::now();
    assert_eq!(timeout(PATIENCE, front.ask(POST, "", Some(r#"{"body":"a"}"#))).await.expect("an answer").status, 202);
    println!("answered in {:?} beside {} idle connections", begun.elapsed(), idle.len());
    front.stop.cancel();
    timeout(PATIENCE, front.served).await.expect("a stop").expect("no panic").expect("an orderly end");
}

#[tokio::test]
async fn who_takes_nothing_of_an_answer_loses_the_connection() {
    let page = || {
        let message = ReadMessage {
            id: chat::MessageId::MAX,
            author: None,
            body: "x".repeat(64 << 10),
            posted_at: chat::Timestamp::MAX,
            edited_at: None,
        };
        Ok(ReadPage { messages: vec![message; 400], ..ReadPage::default() })
    };
    let limits = ServerLimits { connections_max: 1, taken_within: Duration::from_secs(1), ..limits() };
    let job = std::sync::Arc::new(ScriptedReads { page, ..ScriptedReads::default() });
    let front = start(|keys| crate::reads::routes(job, keys), limits).await;
    let mut deaf = front.connect().await;
    deaf.write_all(front.request("GET /v1/rooms/5/messages", "", None).as_bytes()).await.expect("a request");
    // The only place is free again once the deaf client has lost it.
    let next = timeout(PATIENCE, front.ask("GET /v1/rooms/5/messages/9", "", None)).await.expect("an answer");
    assert_eq!(next.status, 404);
    drop(deaf);
}

#[tokio::test]
async fn a_stop_closes_idle_connections_and_lets_requests_in_work_end() {
    let (front, job) = start_writes(ScriptedWrites::default()).await;
    let mut kept = front.connect().await;
    kept.write_all(b"GET /openapi.json HTTP/1.1\r\nhost: test\r\n\r\n").await.expect("a request");
    let mut head = [0; 12];
    kept.read_exact(&mut head).await.expect("an answer");
    assert_eq!(&head, b"HTTP/1.1 200");
    let untouched = front.connect().await;
    let mut busy = front.connect().await;
    busy.write_all(front.request(POST, "", Some(&sleeping(3_000))).as_bytes()).await.expect("a request");
    begun(&job).await;

    front.stop.cancel();
    end(kept).await;
    end(untouched).await;
    assert!(TcpStream::connect(front.address).await.is_err(), "nobody listens any more");
    assert!(!front.served.is_finished(), "a request is in work");
    assert_eq!(Answer::read(busy).await.status, 202);
    timeout(PATIENCE, front.served).await.expect("a stop").expect("no panic").expect("an orderly end");
}

#[tokio::test]
async fn a_stop_does_not_wait_longer_than_its_grace() {
    let limits = ServerLimits { stop_grace: Duration::from_millis(200), ..limits() };
    let (front, job) = start_writes_within(ScriptedWrites::default(), limits).await;
    let mut busy = front.connect().await;
    busy.write_all(front.request(POST, "", Some(&sleeping(20_000))).as_bytes()).await.expect("a request");
    begun(&job).await;
    front.stop.cancel();
    timeout(Duration::from_secs(10), front.served).await.expect("a stop").expect("no panic").expect("an orderly end");
    assert_eq!(end(busy).await, 0, "it was dropped");
}

#[tokio::test]
async fn the_server_says_that_it_lives() {
    let (front, _) = start_writes(ScriptedWrites::default()).await;
    let begun = Instant::now();
    while front.beats.load(Ordering::Relaxed) < 4 {
        assert!(begun.elapsed() < PATIENCE, "no beat");
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_connection_carries_many_requests_each_with_its_id() {
    let (front, _) = start_writes(ScriptedWrites::default()).await;
    let mut stream = front.connect().await;
    let one = "GET /problems/no-route HTTP/1.1\r\nhost: test\r\nx-request-id: first\r\n\r\n";
    let other = "GET /problems/no-route HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n";
    stream.write_all(format!("{one}{other}").as_bytes()).await.expect("requests");
    let mut text = String::new();
    stream.read_to_string(&mut text).await.expect("answers");
    let ids: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("x-request-id: ")).collect();
    assert!(ids.len() == 2 && ids[0] == "first" && ids[1].len() == 32, "{ids:?}");
    assert!(!text.contains("cache-control"), "what is public may be kept");
}

#[tokio::test]
async fn requests_are_counted_by_route_and_status() {
    let metrics = telemetry::Metrics::start("0.0.0").expect("metrics");
    let (front, _) = start_writes(ScriptedWrites::default()).await;
    for room in 1..4 {
        front.ask(&format!("DELETE /v1/rooms/{room}"), "", None).await;
    }
    front.ask("GET /random/path", "", None).await;
    let told = metrics.render();
    // Without the program's prefix.
    for line in [
        r#"http_requests_total{service="test",route="/v1/rooms/{room}",status="202"} "#,
        r#"http_requests_total{service="test",route="none",status="404"} "#,
        r#"http_request_seconds_bucket{service="test",route="/v1/rooms/{room}",le=""#,
        r#"http_in_flight{service="test"} "#,
    ] {
        assert!(told.contains(line), "{line} is missing in {told}");
    }
    assert!(!told.contains("random"), "a path stands in a label");
}
