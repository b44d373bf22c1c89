//! `serve-reads` without its HTTP: exactly what the directory, the limit and the plan of now show.

use chat::visibility::Visibility;
use chat::{
    LimitRow, Limits, MessageId, Organization, OrganizationId, Plan, Policy, Position, RunId, Standing, Timestamp,
    Version,
};
use jobs::messages::serve_reads::{PageQuery, ReadError, ReadPage, Reads};
use jobs::messages::serve_writes::{Accepted, Write, Writes};
use jobs::messages::{Caller, Forbidden};
use support::waiting::AT_MOST;

use crate::message_path::{Chat, OTHER_ROOM, ROOM, admin, caller};

async fn posted(writes: &Writes, many: usize) -> Vec<Accepted> {
    let mut accepted = Vec::new();
    for number in 0..many {
        let post = Write::Post { room: ROOM, body: format!("text {number}") };
        accepted.push(writes.accept(caller(10), post, None).await.expect("accepted"));
    }
    let last = accepted.last().expect("a message");
    assert!(writes.readable(last, AT_MOST).await);
    accepted
}

fn query() -> PageQuery {
    PageQuery { room: ROOM, before: None, after: None, limit: 100, min_version: None }
}

fn bodies(page: &ReadPage) -> Vec<&str> {
    page.messages.iter().map(|message| message.body.as_str()).collect()
}

async fn limit_to(chat: &Chat, boundary: Standing) {
    let now = Timestamp::now();
    let row = LimitRow {
        organization: OrganizationId::from_bits(1),
        policy: Policy::default(),
        version: Version { plan_version: 0, as_of: now, collected_at: now },
        standing: boundary,
        oldest_visible_message_id: None,
        visible_messages: 3,
        rooms: 1,
        run: RunId::new("run").expect("a run"),
        previous_first_visible_message_id: None,
        rooms_opened: 1,
        messages_read: 3,
        computed_at: now,
    };
    chat.limits.put(&[row]).await.expect("a row");
}

async fn upgrade(chat: &Chat, plan: Plan) {
    let organization = Organization { id: OrganizationId::from_bits(1), plan, plan_version: 1 };
    chat.directory.put_organizations(&[organization]).await.expect("an organization");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_go_from_the_newest_to_the_oldest_without_what_was_deleted() {
    let chat = Chat::new().await;
    let _read_model = chat.read_model();
    let (writes, _lease) = chat.writes(1, 0).await;
    let accepted = posted(&writes, 25).await;
    for deleted in [0, 7, 8, 24] {
        let message = accepted[deleted].message.expect("a message");
        let deletion = writes.accept(admin(11), Write::Delete { room: ROOM, message }, None).await.expect("accepted");
        assert!(writes.readable(&deletion, AT_MOST).await);
    }
    let reads = chat.reads();
    let mut wanted: Vec<String> = (0..25).filter(|n| ![0, 7, 8, 24].contains(n)).map(|n| format!("text {n}")).collect();
    wanted.reverse();
    for limit in [1, 2, 7, 20, 21, 100] {
        let (mut seen, mut before, mut pages) = (Vec::new(), None, 0);
        loop {
            let page = reads.page(caller(20), PageQuery { before, limit, ..query() }).await.expect("a page");
            assert!(page.messages.len() <= limit && !page.hidden_older);
            seen.extend(page.messages.into_iter().map(|message| message.body));
            pages += 1;
            assert!(pages < 50);
            match page.resume_before {
                Some(resume) => before = Some(resume),
                None => break,
            }
        }
        assert_eq!(seen, wanted, "{limit} on a page");
    }
    let after = accepted[20].message;
    let page = reads.page(caller(10), PageQuery { after, ..query() }).await.expect("a page");
    assert_eq!(bodies(&page), ["text 23", "text 22", "text 21"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_limit_hides_from_its_organization_alone_until_the_plan_says_otherwise() {
    let chat = Chat::new().await;
    let _read_model = chat.read_model();
    let (writes, _lease) = chat.writes(2, 0).await;
    let accepted = posted(&writes, 10).await;
    let ids: Vec<MessageId> = accepted.iter().filter_map(|accepted| accepted.message).collect();
    let reads = chat.reads();
    let page = |who: Caller| reads.page(who, query());
    assert_eq!(page(caller(10)).await.expect("a page").messages.len(), 10, "nothing is computed yet");
    limit_to(&chat, Standing::Limited(ids[7])).await;
    let seen = page(caller(10)).await.expect("a page");
    assert_eq!(bodies(&seen), ["text 9", "text 8", "text 7"]);
    assert!(seen.hidden_older && seen.resume_before.is_none());
    let all = page(caller(20)).await.expect("a page");
    assert!(all.messages.len() == 10 && !all.hidden_older, "another organization's plan does not limit");
    let hidden = reads.message(caller(10), ROOM, ids[6], None).await;
    assert!(matches!(hidden, Err(ReadError::Hidden(Visibility::HiddenByCount))), "{hidden:?}");
    assert_eq!(reads.message(caller(10), ROOM, ids[7], None).await.expect("the boundary itself").body, "text 7");
    let limit = reads.view_limit(caller(10), OrganizationId::from_bits(1)).await.expect("a limit");
    assert_eq!((limit.standing, limit.effective_boundary), (Some(Standing::Limited(ids[7])), Some(ids[7])));
    upgrade(&chat, Plan::Paid).await;
    assert_eq!(page(caller(10)).await.expect("a page").messages.len(), 10, "all at once");
    let limit = reads.view_limit(caller(10), OrganizationId::from_bits(1)).await.expect("a limit");
    assert_eq!((limit.plan, limit.policy, limit.effective_boundary), (Plan::Paid, None, None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_seen_is_told_by_its_reason() {
    let chat = Chat::new().await;
    let (writes, _lease) = chat.writes(3, 0).await;
    let reads = chat.reads();
    let post = Write::Post { room: ROOM, body: "text".to_owned() };
    let accepted = writes.accept(caller(10), post, None).await.expect("accepted");
    let (message, version) = (accepted.message.expect("a message"), Some(accepted.version));
    let early = reads.message(caller(10), ROOM, message, version).await;
    assert!(matches!(early, Err(ReadError::Behind { .. })), "{early:?}");
    let early = reads.page(caller(10), PageQuery { min_version: version, ..query() }).await;
    assert!(matches!(early, Err(ReadError::Behind { .. })), "{early:?}");
    let unknown = reads.message(caller(10), ROOM, message, None).await;
    assert!(matches!(unknown, Err(ReadError::NotFound)), "{unknown:?}");
    let _read_model = chat.read_model();
    assert!(writes.readable(&accepted, AT_MOST).await);
    let read = reads.message(caller(10), ROOM, message, version).await.expect("a message");
    assert_eq!((read.body.as_str(), read.edited_at, read.author), ("text", None, Some(caller(10).account)));
    assert!(read.posted_at <= accepted.at && read.posted_at.plus_millis(100) >= accepted.at);
    let edit = Write::Edit { room: ROOM, message, body: "other".to_owned() };
    let edited = writes.accept(caller(10), edit, None).await.expect("accepted");
    assert!(writes.readable(&edited, AT_MOST).await);
    let read = reads.message(caller(10), ROOM, message, Some(edited.version)).await.expect("a message");
    assert_eq!((read.body.as_str(), read.edited_at), ("other", Some(edited.at)));
    for (who, room, wanted) in [
        (caller(10), OTHER_ROOM, Forbidden::NotAMember),
        (caller(12), ROOM, Forbidden::UnknownAccount),
        (Caller { organization: OrganizationId::from_bits(2), ..caller(10) }, ROOM, Forbidden::OtherOrganization),
    ] {
        let one = reads.message(who, room, message, None).await;
        assert!(matches!(one, Err(ReadError::Forbidden(forbidden)) if forbidden == wanted), "{one:?}");
        let page = reads.page(who, PageQuery { room, ..query() }).await;
        assert!(matches!(page, Err(ReadError::Forbidden(forbidden)) if forbidden == wanted), "{page:?}");
    }
    let other = reads.view_limit(caller(10), OrganizationId::from_bits(2)).await;
    assert!(matches!(other, Err(ReadError::Forbidden(Forbidden::OtherOrganization))), "{other:?}");
    let deletion = writes.accept(caller(10), Write::Delete { room: ROOM, message }, None).await.expect("accepted");
    assert!(writes.readable(&deletion, AT_MOST).await);
    let deleted = reads.message(caller(10), ROOM, message, Some(deletion.version)).await;
    assert!(matches!(deleted, Err(ReadError::Deleted)), "{deleted:?}");
    let far = Some(Position::from_bits(u64::MAX));
    let behind = reads.page(caller(10), PageQuery { min_version: far, ..query() }).await;
    assert!(matches!(behind, Err(ReadError::Behind { .. })), "{behind:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_are_answered_while_nobody_writes_and_nobody_builds() {
    let chat = Chat::new().await;
    let reads: Reads = {
        let _read_model = chat.read_model();
        let (writes, lease) = chat.writes(4, 0).await;
        posted(&writes, 5).await;
        drop(lease);
        chat.reads()
    };
    assert_eq!(reads.page(caller(11), query()).await.expect("a page").messages.len(), 5);
}
