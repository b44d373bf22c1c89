use std::time::Duration;

use chat::{AccountId, MessageId, RoomId};
use jobs::messages::Forbidden;
use jobs::messages::serve_writes::{IdempotencyKey, Write, WriteError};
use serde_json::json;

use crate::testing::{CALLER, ScriptedWrites, start_writes};

const ROOM: RoomId = RoomId::from_bits(5);
const MESSAGE: MessageId = MessageId::from_bits(9);
const MEMBER: AccountId = AccountId::from_bits(8);
/// Every change: its line, its body, and what the job is asked for.
pub(super) const CHANGES: [(&str, Option<&str>); 7] = [
    ("POST /v1/rooms", None),
    ("DELETE /v1/rooms/5", None),
    ("PUT /v1/rooms/5/members/8", None),
    ("DELETE /v1/rooms/5/members/8", None),
    ("POST /v1/rooms/5/messages", Some(r#"{"body":"いい天気"}"#)),
    ("PUT /v1/rooms/5/messages/9", Some(r#"{"body":"雨"}"#)),
    ("DELETE /v1/rooms/5/messages/9", None),
];

#[tokio::test]
async fn every_change_reaches_the_job_as_it_was_meant() {
    let (front, job) = start_writes(ScriptedWrites::default()).await;
    for (line, body) in CHANGES {
        let answer = front.ask(line, "idempotency-key: \"k1\"\r\n", body).await;
        assert_eq!(answer.status, 202, "{line}: {answer:?}");
        assert_eq!(answer.header("cache-control"), Some("no-store"));
    }
    let writes = [
        Write::CreateRoom,
        Write::DeleteRoom { room: ROOM },
        Write::Join { room: ROOM, member: MEMBER },
        Write::Leave { room: ROOM, member: MEMBER },
        Write::Post { room: ROOM, body: "いい天気".to_owned() },
        Write::Edit { room: ROOM, message: MESSAGE, body: "雨".to_owned() },
        Write::Delete { room: ROOM, message: MESSAGE },
    ];
    let key = Some(IdempotencyKey::new("k1").expect("a key"));
    let asked = job.asked.lock().expect("a lock");
    assert_eq!(*asked, writes.map(|write| (CALLER, write, key.clone())));
}

#[tokio::test]
async fn what_was_accepted_is_told_in_strings() {
    let (front, _) = start_writes(ScriptedWrites::default()).await;
    let answer = front.ask(CHANGES[4].0, "", CHANGES[4].1).await;
    let receipt = json!({
        "room_id": "5", "message_id": "99", "event_id": "event-1", "version": "3:1042", "accepted_at": "1970-01-01T00:00:00Z",
    });
    assert_eq!(answer.json(), receipt);
    assert_eq!(answer.header("location"), Some("/v1/rooms/5/messages/99"));
    let answer = front.ask("POST /v1/rooms", "", None).await;
    assert_eq!(answer.header("location"), Some("/v1/rooms/5"));
    assert!(answer.json().get("message_id").is_none());
}

#[tokio::test]
async fn who_waits_is_told_whether_it_can_be_read() {
    for is_readable in [false, true] {
        let (front, _) = start_writes(ScriptedWrites { is_readable, ..ScriptedWrites::default() }).await;
        for (line, body) in CHANGES {
            let done = if line.starts_with("POST") { 201 } else { 200 };
            let answer = front.ask(line, "prefer: wait=2\r\n", body).await;
            assert_eq!(answer.status, if is_readable { done } else { 202 }, "{line}");
            assert_eq!(answer.header("preference-applied"), is_readable.then_some("wait=2"));
            assert_eq!(answer.header("location").is_some(), done == 201);
            assert_eq!(front.ask(line, "", body).await.status, 202, "nobody waits unasked");
        }
    }
}

/// What fails, and the status and name of its problem.
type Failure = (fn() -> WriteError, u16, &'static str);

/// Every way in which a change can fail, and the problem that it is told as.
pub(super) const FAILURES: [Failure; 13] = [
    (|| Forbidden::UnknownAccount.into(), 403, "other-organization"),
    (|| Forbidden::OtherOrganization.into(), 403, "other-organization"),
    (|| Forbidden::NotAMember.into(), 403, "not-a-member"),
    (|| Forbidden::NotAnAdmin.into(), 403, "not-an-admin"),
    (|| WriteError::MembershipsOwnedElsewhere, 409, "memberships-owned-elsewhere"),
    (|| WriteError::UnknownMember(MEMBER), 422, "unknown-member"),
    (|| WriteError::EmptyBody, 422, "empty-text"),
    (|| WriteError::BodyTooLong { bytes: 9, max: 8 }, 413, "too-large"),
    (|| WriteError::KeyReused, 422, "key-reused"),
    (|| WriteError::KeyInProgress, 409, "key-in-progress"),
    (
        || WriteError::NotStored { source: "secret".into(), retry_after: Duration::from_millis(2_500) },
        503,
        "not-stored",
    ),
    (|| WriteError::Unknown { source: "secret".into() }, 504, "outcome-unknown"),
    (|| WriteError::Failed { source: "secret".into() }, 500, "internal"),
];

#[tokio::test]
async fn every_failure_is_a_problem_of_its_own_and_shows_no_cause() {
    for (fails, status, name) in FAILURES {
        let (front, _) = start_writes(ScriptedWrites { fails: Some(fails), ..ScriptedWrites::default() }).await;
        let answer = front.ask(CHANGES[4].0, "prefer: wait=2\r\n", CHANGES[4].1).await;
        answer.assert_problem(status, name);
        assert!(!answer.body.contains("secret"), "{answer:?}");
        match name {
            "not-stored" => {
                assert_eq!(answer.header("retry-after"), Some("3"));
                assert_eq!(answer.json()["retry_after_ms"], 2_500);
            }
            "too-large" => assert_eq!(answer.json()["max_bytes"], 8),
            _ => {}
        }
    }
}
