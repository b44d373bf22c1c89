//! Whatever is sent, the answer is a problem that says what is wrong.

use crate::ServerLimits;
use crate::testing::{Answer, Running, ScriptedReads, ScriptedWrites, start_reads, start_writes, start_writes_within};

const POST: &str = "POST /v1/rooms/5/messages";

async fn writes() -> Running {
    start_writes(ScriptedWrites::default()).await.0
}

async fn reads() -> Running {
    start_reads(ScriptedReads::default()).await.0
}

#[tokio::test]
async fn addresses_and_methods_that_are_not_there() {
    let front = writes().await;
    for path in ["/", "/v1", "/v1/rooms/5/else", "/v1/rooms/", "/v2/rooms"] {
        front.ask(&format!("GET {path}"), "", None).await.assert_problem(404, "no-route");
    }
    let answer = front.ask("PATCH /v1/rooms/5/messages/9", "", None).await;
    answer.assert_problem(405, "wrong-method");
    let mut allowed: Vec<_> = answer.header("allow").expect("Allow").split(',').map(str::trim).collect();
    allowed.sort_unstable();
    assert_eq!(allowed, ["DELETE", "PUT"]);
    front.ask("GET /v1/rooms", "", None).await.assert_problem(405, "wrong-method");
}

#[tokio::test]
async fn tokens_that_are_none() {
    let front = reads().await;
    let ask = |header: &str| {
        let request = format!("GET /v1/rooms/5/messages HTTP/1.1\r\nhost: t\r\nconnection: close\r\n{header}\r\n");
        let front = &front;
        async move { front.raw(request.as_bytes()).await }
    };
    let answer = ask("").await;
    answer.assert_problem(401, "missing-token");
    assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    ask("authorization: Basic dTpw\r\n").await.assert_problem(401, "missing-token");
    for header in ["authorization: Bearer x\r\n", "authorization: Bearer \u{e9}\r\n", "authorization: Bearer a.b.c\r\n"]
    {
        let answer = ask(header).await;
        answer.assert_problem(401, "invalid-token");
        assert_eq!(answer.header("www-authenticate"), Some(r#"Bearer error="invalid_token""#));
    }
    let long = format!("authorization: Bearer {}\r\n", "x".repeat(9_000));
    ask(&long).await.assert_problem(401, "invalid-token");
    let twice = format!("authorization: Bearer {0}\r\nauthorization: Bearer {0}\r\n", front.token);
    ask(&twice).await.assert_problem(401, "invalid-token");
    assert_eq!(ask(&format!("authorization: bearer {}\r\n", front.token)).await.status, 200);
}

#[tokio::test]
async fn a_stranger_is_refused_before_the_body_is_read() {
    let front = writes().await;
    let request = "POST /v1/rooms/5/messages HTTP/1.1\r\nhost: t\r\nconnection: close\r\ncontent-length: 99\r\n\r\n";
    front.raw(request.as_bytes()).await.assert_problem(401, "missing-token");
}

#[tokio::test]
async fn ids_that_are_none() {
    let front = writes().await;
    for id in ["abc", "-1", "9223372036854775808", "1.0", "%ff", "%20", "99999999999999999999999"] {
        front.ask(&format!("POST /v1/rooms/{id}/messages"), "", Some("{}")).await.assert_problem(400, "bad-id");
        front.ask(&format!("DELETE /v1/rooms/5/messages/{id}"), "", None).await.assert_problem(400, "bad-id");
        front.ask(&format!("PUT /v1/rooms/5/members/{id}"), "", None).await.assert_problem(400, "bad-id");
    }
    let front = reads().await;
    front.ask("GET /v1/organizations/x/view-limit", "", None).await.assert_problem(400, "bad-id");
}

#[tokio::test]
async fn queries_that_do_not_read() {
    let front = reads().await;
    for query in [
        "limit=0",
        "limit=101",
        "limit=-1",
        "limit=x",
        "limit=",
        "before=x",
        "after=-1",
        "min_version=7",
        "else=1",
        "limit=1&limit=2",
        "min_version=",
    ] {
        front.ask(&format!("GET /v1/rooms/5/messages?{query}"), "", None).await.assert_problem(400, "bad-query");
    }
    for path in ["rooms/5/messages/9?limit=1", "rooms/5/messages/9?min_version=x", "organizations/42/view-limit?x=1"] {
        front.ask(&format!("GET /v1/{path}"), "", None).await.assert_problem(400, "bad-query");
    }
    assert_eq!(
        front.ask("GET /v1/rooms/5/messages?before=9&after=1&limit=100&min_version=3:1", "", None).await.status,
        200
    );
}

#[tokio::test]
async fn changes_take_no_query() {
    let front = writes().await;
    for (line, body) in super::writes::CHANGES {
        front.ask(&format!("{line}?dry_run=1"), "", body).await.assert_problem(400, "bad-query");
    }
}

#[tokio::test]
async fn bodies_that_do_not_read() {
    let front = writes().await;
    for body in ["", "{", "nonsense", r#"{"body":"a"}}"#, r#"{"body":"a"#] {
        front.ask(POST, "", Some(body)).await.assert_problem(400, "malformed-json");
    }
    for body in
        ["[]", "1", "{}", r#"{"body":1}"#, r#"{"body":null}"#, r#"{"body":"a","else":1}"#, r#"{"body":"a","body":"b"}"#]
    {
        front.ask(POST, "", Some(body)).await.assert_problem(422, "invalid-body");
    }
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let answer = front.ask(POST, "", Some(&deep)).await;
    assert!([400, 422].contains(&answer.status), "{answer:?}");
    let mut request =
        front.request(POST, "content-type: application/json\r\ncontent-length: 13\r\n", None).into_bytes();
    request.extend_from_slice(b"{\"body\":\"\xff\xfe\"}");
    let answer = front.raw(&request).await;
    answer.assert_problem(400, "malformed-json");
    assert!(answer.body.contains("byte 9 is not UTF-8"), "{answer:?}");
}

#[tokio::test]
async fn bodies_that_are_not_declared_as_json() {
    let front = writes().await;
    let ask = |headers: &'static str| {
        let request = front.request(POST, &format!("content-length: 12\r\n{headers}"), None) + r#"{"body":"a"}"#;
        let front = &front;
        async move { front.raw(request.as_bytes()).await }
    };
    for headers in [
        "",
        "content-type: text/plain\r\n",
        "content-type: application/json-patch+json\r\n",
        "content-type: application/json\r\ncontent-encoding: gzip\r\n",
    ] {
        ask(headers).await.assert_problem(415, "not-json");
    }
    assert_eq!(ask("content-type: Application/JSON; charset=utf-8\r\n").await.status, 202);
}

#[tokio::test]
async fn bodies_that_are_too_large() {
    let front = writes().await;
    let text = |bytes: usize| format!(r#"{{"body":"{}"}}"#, "x".repeat(bytes - 11));
    assert_eq!(front.ask(POST, "", Some(&text(65_536))).await.status, 202);
    let assert_too_large = |answer: Answer| {
        answer.assert_problem(413, "too-large");
        assert_eq!(answer.json()["max_bytes"], 65_536);
    };
    assert_too_large(front.ask(POST, "", Some(&text(65_537))).await);
    // Declared only: nothing of it is waited for.
    let headers = "content-type: application/json\r\ncontent-length: 99999999999\r\n";
    assert_too_large(front.ask(POST, headers, None).await);
    // Undeclared: in chunks.
    let headers = "content-type: application/json\r\ntransfer-encoding: chunked\r\n";
    let chunk = format!("1000\r\n{}\r\n", "x".repeat(0x1000));
    let request = front.request(POST, headers, None) + &chunk.repeat(17);
    assert_too_large(front.raw(request.as_bytes()).await);
}

#[tokio::test]
async fn keys_of_idempotency_that_are_none() {
    let front = writes().await;
    let long = format!("idempotency-key: {}\r\n", "x".repeat(256));
    for header in
        ["idempotency-key: \r\n", "idempotency-key: a b\r\n", "idempotency-key: a\r\nidempotency-key: b\r\n", &long]
    {
        front.ask("POST /v1/rooms", header, None).await.assert_problem(400, "bad-header");
    }
}

#[tokio::test]
async fn what_is_no_http_is_answered_without_harm() {
    let front = writes().await;
    for bytes in
        [&b"\x16\x03\x01\x02\x00"[..], b"GET\r\n\r\n", b"GET / HTTP/1.1\r\nbad header\r\n\r\n", b"\0\0\0\0\r\n\r\n"]
    {
        let answer = front.raw(bytes).await;
        assert!([0, 400].contains(&answer.status), "{answer:?}");
    }
    let head = format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "x".repeat(20_000));
    assert_eq!(front.raw(head.as_bytes()).await.status, 431);
    assert_eq!(front.ask("POST /v1/rooms", "", None).await.status, 202);
}

/// A request in which some bytes are others.
fn damaged(request: &str, random: &mut fastrand::Rng) -> Vec<u8> {
    let mut bytes = request.as_bytes().to_vec();
    for _ in 0..random.usize(1..6) {
        let place = random.usize(..bytes.len());
        match random.u8(..4) {
            0 => bytes[place] = random.u8(..),
            1 => bytes.insert(place, random.u8(..)),
            2 => bytes.truncate(place.max(1)),
            _ => drop(bytes.remove(place)),
        }
        bytes.push(b'\n');
    }
    bytes
}

#[tokio::test]
async fn whatever_is_sent_is_answered_with_a_problem_or_not_at_all() {
    let seed = std::env::var("LANNER_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    println!("LANNER_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let [head_within, body_within] = [std::time::Duration::from_millis(50); 2];
    let limits = ServerLimits { head_within, body_within, ..ServerLimits::default() };
    let (front, _) = start_writes_within(ScriptedWrites::default(), limits).await;
    let headers = "idempotency-key: \"k\"\r\nprefer: wait=1\r\n";
    for _ in 0..200 {
        let (line, body) = super::writes::CHANGES[random.usize(..super::writes::CHANGES.len())];
        let bytes = damaged(&front.request(line, headers, body), &mut random);
        let answer = front.raw(&bytes).await;
        match answer.status {
            0 | 202 => {}
            // What is no HTTP is refused below, without a body.
            400 | 431 if answer.header("x-request-id").is_none() => assert_eq!(answer.body, ""),
            status => answer
                .assert_problem(status, answer.json()["type"].as_str().unwrap_or("").trim_start_matches("/problems/")),
        }
        assert_ne!(answer.status, 500, "{:?}", String::from_utf8_lossy(&bytes));
    }
    assert_eq!(front.ask("POST /v1/rooms", "", None).await.status, 202);
}
