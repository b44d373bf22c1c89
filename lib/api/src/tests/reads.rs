use std::num::NonZeroU32;
use std::time::Duration;

use chat::visibility::Visibility;
use chat::{AccountId, MessageId, OrganizationId, Plan, Policy, Position, RoomId, Standing, Timestamp};
use jobs::messages::Forbidden;
use jobs::messages::serve_reads::{PageQuery, ReadError, ReadMessage, ReadPage, ViewLimit};
use serde_json::json;

use crate::testing::{ScriptedReads, start_reads};

/// Every question.
pub(super) const QUESTIONS: [&str; 3] =
    ["GET /v1/rooms/5/messages", "GET /v1/rooms/5/messages/9", "GET /v1/organizations/42/view-limit"];

fn message() -> ReadMessage {
    ReadMessage {
        id: MessageId::MAX,
        author: Some(AccountId::from_bits(7)),
        body: "雨".to_owned(),
        posted_at: Timestamp::from_millis(1_000),
        edited_at: None,
    }
}

fn page() -> Result<ReadPage, ReadError> {
    let without_author = ReadMessage { author: None, edited_at: Some(Timestamp::from_millis(2_000)), ..message() };
    let messages = vec![message(), without_author];
    Ok(ReadPage { messages, resume_before: Some(MessageId::from_bits(3)), hidden_older: true })
}

fn view_limit() -> Result<ViewLimit, ReadError> {
    Ok(ViewLimit {
        organization: OrganizationId::from_bits(42),
        plan: Plan::Free,
        policy: Some(Policy { max_messages: NonZeroU32::MIN, max_age_ms: Some(5) }),
        standing: Some(Standing::Limited(MessageId::from_bits(8))),
        as_of: Some(Timestamp::from_millis(0)),
        visible_messages: Some(1),
        effective_boundary: Some(MessageId::from_bits(9)),
    })
}

/// A job that answers all that can be answered.
pub(super) fn full() -> ScriptedReads {
    ScriptedReads { page, message: || Ok(message()), view_limit, ..ScriptedReads::default() }
}

#[tokio::test]
async fn a_page_is_asked_for_and_told_in_strings() {
    let (front, job) = start_reads(full()).await;
    let answer = front.ask("GET /v1/rooms/5/messages?before=9&after=1&limit=2&min_version=3:7", "", None).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let [first, second] = [
        json!({ "id": "9223372036854775807", "author_id": "7", "body": "雨", "posted_at": "1970-01-01T00:00:01Z" }),
        json!({ "id": "9223372036854775807", "body": "雨", "posted_at": "1970-01-01T00:00:01Z",
                "edited_at": "1970-01-01T00:00:02Z" }),
    ];
    let next = "/v1/rooms/5/messages?before=3&after=1&limit=2";
    assert_eq!(answer.json(), json!({ "messages": [first, second], "next": next, "hidden_older": true }));
    front.ask("GET /v1/rooms/5/messages", "", None).await;
    let room = RoomId::from_bits(5);
    let asked = PageQuery {
        room,
        before: Some(MessageId::from_bits(9)),
        after: Some(MessageId::from_bits(1)),
        limit: 2,
        min_version: Some(Position::new(3, 7).expect("a position")),
    };
    let bare = PageQuery { room, before: None, after: None, limit: 50, min_version: None };
    assert_eq!(*job.asked.lock().expect("a lock"), [asked, bare]);
}

#[tokio::test]
async fn an_empty_page_has_no_next() {
    let (front, _) = start_reads(ScriptedReads::default()).await;
    let answer = front.ask(QUESTIONS[0], "", None).await;
    assert_eq!(answer.json(), json!({ "messages": [], "hidden_older": false }));
}

#[tokio::test]
async fn a_message_is_told() {
    let (front, _) = start_reads(full()).await;
    let answer = front.ask(QUESTIONS[1], "", None).await;
    assert_eq!((answer.status, &answer.json()["id"]), (200, &json!("9223372036854775807")));
}

#[tokio::test]
async fn a_limit_is_told_with_what_was_computed() {
    let (front, _) = start_reads(full()).await;
    let told = json!({
        "organization_id": "42", "plan": "free", "policy": { "max_messages": 1, "max_age_ms": 5 }, "state": "limited",
        "first_visible_message_id": "8", "as_of": "1970-01-01T00:00:00Z", "visible_messages": 1, "effective_boundary": "9",
    });
    assert_eq!(front.ask(QUESTIONS[2], "", None).await.json(), told);

    let view_limit = || {
        Ok(ViewLimit {
            organization: OrganizationId::from_bits(42),
            plan: Plan::Paid,
            policy: None,
            standing: None,
            as_of: None,
            visible_messages: None,
            effective_boundary: None,
        })
    };
    let (front, _) = start_reads(ScriptedReads { view_limit, ..ScriptedReads::default() }).await;
    let told = json!({ "organization_id": "42", "plan": "paid", "state": "not_computed" });
    assert_eq!(front.ask(QUESTIONS[2], "", None).await.json(), told);
}

/// What fails, and the status and name of its problem.
type Failure = (fn() -> ReadError, u16, &'static str);

/// Every way in which reading can fail, and the problem that it is told as.
pub(super) const FAILURES: [Failure; 9] = [
    (|| Forbidden::NotAMember.into(), 403, "not-a-member"),
    (|| Forbidden::OtherOrganization.into(), 403, "other-organization"),
    (|| ReadError::NotFound, 404, "not-found"),
    (|| ReadError::Deleted, 410, "deleted"),
    (|| ReadError::Hidden(Visibility::HiddenByAge), 403, "view-limit"),
    (|| ReadError::Hidden(Visibility::HiddenByCount), 403, "view-limit"),
    (|| ReadError::Behind { version: Position::new(3, 7).ok(), retry_after: Duration::from_secs(1) }, 412, "behind"),
    (|| ReadError::Unavailable { source: "secret".into(), retry_after: Duration::from_secs(1) }, 503, "unavailable"),
    (|| ReadError::Failed { source: "secret".into() }, 500, "internal"),
];

/// A job that fails so, whatever it is asked for.
pub(super) fn failing(index: usize) -> ScriptedReads {
    ScriptedReads { fails: Some(FAILURES[index].0), ..ScriptedReads::default() }
}

#[tokio::test]
async fn every_failure_is_a_problem_of_its_own_and_shows_no_cause() {
    let mut rules = Vec::new();
    for (index, (_, status, name)) in FAILURES.into_iter().enumerate() {
        let (front, _) = start_reads(failing(index)).await;
        let answer = front.ask(QUESTIONS[1], "", None).await;
        answer.assert_problem(status, name);
        assert!(!answer.body.contains("secret"), "{answer:?}");
        rules.extend(answer.json().get("rule").cloned());
        if name == "behind" {
            assert_eq!((answer.header("retry-after"), &answer.json()["version"]), (Some("1"), &json!("3:7")));
        }
    }
    assert_eq!(rules, ["age", "count"]);
}
