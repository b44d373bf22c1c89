//! `serve-writes` without its HTTP: who may do what, and that what is accepted is accepted once.

use std::time::Duration;

use chat::event::{Decoded, Event, What, decode};
use chat::{AccountId, MessageId, Position, RoomId};
use jobs::messages::Forbidden;
use jobs::messages::serve_writes::{Accepted, BODY_BYTES_MAX, IdempotencyKey, Write, WriteError, Writes};
use support::Faults;
use support::waiting::AT_MOST;

use crate::message_path::{Chat, MS, OTHER_ROOM, ROOM, admin, caller, settings};

fn post(body: &str) -> Write {
    Write::Post { room: ROOM, body: body.to_owned() }
}

fn key(text: &str) -> Option<IdempotencyKey> {
    Some(IdempotencyKey::new(text).expect("a key"))
}

async fn events(chat: &Chat) -> Vec<Event> {
    let event = |read: worker::log::ReadRecord| match decode(&read.record.key, &read.record.headers, &read.record.value)
    {
        Decoded::Event(event) => event,
        other => panic!("{other:?}"),
    };
    chat.log().await.into_iter().map(event).collect()
}

async fn forbidden(writes: &Writes, who: jobs::messages::Caller, write: Write) -> Forbidden {
    match writes.accept(who, write, None).await {
        Err(WriteError::Forbidden(forbidden)) => forbidden,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_is_accepted_stands_in_the_log_in_the_order_of_acceptance() {
    let chat = Chat::new().await;
    let (writes, _lease) = chat.writes(1, 0).await;
    let mut accepted: Vec<Accepted> = Vec::new();
    for number in 0..20 {
        accepted.push(writes.accept(caller(10), post(&format!("text {number}")), None).await.expect("accepted"));
    }
    let message = accepted[3].message.expect("a message");
    let edit = Write::Edit { room: ROOM, message, body: "other".to_owned() };
    accepted.push(writes.accept(caller(10), edit, None).await.expect("accepted"));
    let deletion = Write::Delete { room: ROOM, message };
    accepted.push(writes.accept(admin(11), deletion, None).await.expect("accepted"));
    assert!(accepted.windows(2).all(|pair| pair[0].version < pair[1].version && pair[0].at <= pair[1].at));
    let ids: Vec<MessageId> = accepted.iter().take(20).filter_map(|accepted| accepted.message).collect();
    assert!(ids.len() == 20 && ids.is_sorted() && ids.windows(2).all(|pair| pair[0] != pair[1]));
    let events = events(&chat).await;
    let told: Vec<_> = accepted.iter().map(|accepted| (&accepted.event, accepted.message, accepted.room)).collect();
    let stand: Vec<_> = events.iter().map(|event| (&event.id, event.message(), event.room)).collect();
    assert_eq!(told, stand);
    assert!(matches!(&events[20].what, What::MessageUpdated { body, .. } if body == "other"));
    assert!(matches!(events[21].what, What::MessageDeleted { as_admin: true, .. }));
}

#[tokio::test]
async fn who_is_not_in_the_room_writes_nothing() {
    let chat = Chat::new().await;
    let (writes, _lease) = chat.writes(2, 0).await;
    let elsewhere = |room| Write::Post { room, body: "text".to_owned() };
    assert_eq!(forbidden(&writes, caller(10), elsewhere(OTHER_ROOM)).await, Forbidden::NotAMember);
    assert_eq!(forbidden(&writes, caller(10), elsewhere(RoomId::from_bits(7))).await, Forbidden::NotAMember);
    assert_eq!(forbidden(&writes, admin(10), Write::DeleteRoom { room: OTHER_ROOM }).await, Forbidden::NotAMember);
    assert_eq!(forbidden(&writes, caller(12), post("text")).await, Forbidden::UnknownAccount);
    assert_eq!(forbidden(&writes, caller(13), post("text")).await, Forbidden::UnknownAccount);
    let other = jobs::messages::Caller { organization: caller(20).organization, ..caller(10) };
    assert_eq!(forbidden(&writes, other, post("text")).await, Forbidden::OtherOrganization);
    assert_eq!(forbidden(&writes, other, Write::CreateRoom).await, Forbidden::OtherOrganization);
    let leave = Write::Leave { room: ROOM, member: AccountId::from_bits(11) };
    assert_eq!(forbidden(&writes, caller(10), leave).await, Forbidden::NotAnAdmin);
    assert_eq!(forbidden(&writes, caller(10), Write::DeleteRoom { room: ROOM }).await, Forbidden::NotAnAdmin);
    for (write, wanted) in [
        (post(""), "EmptyBody"),
        (post(&"x".repeat(BODY_BYTES_MAX + 1)), "BodyTooLong"),
        (Write::Join { room: ROOM, member: AccountId::from_bits(12) }, "UnknownMember"),
    ] {
        let error = writes.accept(caller(10), write, None).await.expect_err("refused");
        assert!(format!("{error:?}").starts_with(wanted), "{error:?}");
    }
    assert!(events(&chat).await.is_empty());
}

#[tokio::test]
async fn joins_and_leaves_that_were_accepted_count_at_once() {
    let chat = Chat::new().await;
    let (writes, _lease) = chat.writes(3, 0).await;
    let made = writes.accept(caller(10), Write::CreateRoom, None).await.expect("accepted");
    let room = made.room;
    let said = Write::Post { room, body: "hello".to_owned() };
    writes.accept(caller(10), said.clone(), None).await.expect("its maker is a member");
    assert_eq!(forbidden(&writes, caller(20), said.clone()).await, Forbidden::NotAMember);
    let join = Write::Join { room, member: AccountId::from_bits(20) };
    writes.accept(caller(10), join, None).await.expect("accepted");
    writes.accept(caller(20), said.clone(), None).await.expect("a member since");
    let leave = Write::Leave { room, member: AccountId::from_bits(20) };
    writes.accept(caller(20), leave, None).await.expect("accepted");
    assert_eq!(forbidden(&writes, caller(20), said.clone()).await, Forbidden::NotAMember);
    writes.accept(admin(10), Write::DeleteRoom { room }, None).await.expect("accepted");
    assert_eq!(forbidden(&writes, caller(10), said).await, Forbidden::NotAMember);
    let kinds: Vec<_> = events(&chat).await.iter().map(Event::kind).collect();
    use chat::event::Kind::{MessageCreated, RoomCreated, RoomDeleted, RoomMemberJoined, RoomMemberLeft};
    let wanted =
        [RoomCreated, RoomMemberJoined, MessageCreated, RoomMemberJoined, MessageCreated, RoomMemberLeft, RoomDeleted];
    assert_eq!(kinds, wanted);
}

#[tokio::test]
async fn the_same_request_under_the_same_key_is_accepted_once() {
    let chat = Chat::new().await;
    let (writes, _lease) = chat.writes(4, 0).await;
    let first = writes.accept(caller(10), post("text"), key("a")).await.expect("accepted");
    let (other, _other_lease) = chat.writes(5, 0).await;
    for service in [&writes, &other] {
        assert_eq!(service.accept(caller(10), post("text"), key("a")).await.expect("known"), first);
        let reused = service.accept(caller(10), post("other"), key("a")).await;
        assert!(matches!(reused, Err(WriteError::KeyReused)), "{reused:?}");
    }
    // Another caller's key is another key.
    let another = writes.accept(caller(11), post("text"), key("a")).await.expect("accepted");
    assert_ne!(another.message, first.message);
    let at_once = (0..8).map(|_| writes.accept(caller(10), post("at once"), key("b")));
    let answers = futures::future::join_all(at_once).await;
    let accepted: Vec<_> = answers.iter().flatten().collect();
    assert!(!accepted.is_empty() && accepted.iter().all(|one| *one == accepted[0]));
    assert!(answers.iter().flat_map(|answer| answer.as_ref().err()).all(|e| matches!(e, WriteError::KeyInProgress)));
    assert_eq!(events(&chat).await.len(), 3);
    // What was refused frees its key.
    let refused = writes.accept(caller(10), Write::Post { room: OTHER_ROOM, body: "x".into() }, key("c")).await;
    assert!(matches!(refused, Err(WriteError::Forbidden(_))));
    writes.accept(caller(10), post("text"), key("c")).await.expect("the key is free");
}

#[tokio::test]
async fn repeated_under_a_key_until_it_is_accepted_a_message_is_there_once_whatever_the_log_does() {
    let chat = Chat::new().await;
    let (writes, _lease) = chat.writes(6, 60).await;
    let (mut ids, mut unknown) = (Vec::new(), 0);
    for number in 0..60 {
        let mut tries = 0;
        let accepted = loop {
            match writes.accept(caller(10), post(&format!("text {number}")), key(&number.to_string())).await {
                Ok(accepted) => break accepted,
                Err(WriteError::Unknown { .. }) => unknown += 1,
                Err(WriteError::NotStored { .. }) => {}
                Err(error) => panic!("{error}"),
            }
            tries += 1;
            assert!(tries < 100, "it is never accepted");
        };
        ids.push(accepted.message.expect("a message"));
    }
    assert!(unknown > 0, "no answer was lost: the test proves nothing");
    let events = events(&chat).await;
    assert!(events.len() > ids.len(), "nothing was appended twice: the test proves nothing");
    let mut distinct: Vec<MessageId> = events.iter().filter_map(Event::message).collect();
    distinct.sort_unstable();
    distinct.dedup();
    ids.sort_unstable();
    assert_eq!(distinct, ids, "a message more than what was accepted, or one less");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_each_call_of_each_port_what_is_asked_for_again_is_accepted_once() {
    let chat = Chat::new().await;
    let (mut ids, mut died) = (Vec::new(), 0);
    for (port, call) in (1..=2).flat_map(|port| (1..=5).map(move |call| (port, call))) {
        let (text, key) = (format!("{port} {call}"), key(&format!("{port}-{call}")));
        let faults = Faults::new(7 + call, 0).dying_at(port, call);
        let asked = async {
            let (writes, _lease) = chat.dying_writes(&faults).await;
            // The same again is the same, and brings the calls of repeated requests.
            for _ in 0..2 {
                writes.accept(caller(10), post(&text), key.clone()).await.expect("accepted");
            }
        };
        tokio::select! {
            () = asked => {}
            () = faults.died() => died += 1,
        }
        let (writes, _lease) = chat.writes(1, 0).await;
        let mut tries = 0;
        let accepted = loop {
            match writes.accept(caller(10), post(&text), key.clone()).await {
                Ok(accepted) => break accepted,
                Err(WriteError::NotStored { .. } | WriteError::Unknown { .. } | WriteError::KeyInProgress) => {}
                Err(error) => panic!("{error}"),
            }
            tries += 1;
            assert!(tries < 100, "it is never accepted");
            tokio::time::sleep(20 * MS).await;
        };
        ids.push(accepted.message.expect("a message"));
    }
    assert!(died >= 5, "it died {died} times: the test proves nothing");
    let mut distinct: Vec<MessageId> = events(&chat).await.iter().filter_map(Event::message).collect();
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(distinct, ids, "a message more than what was accepted, or one less");
}

#[tokio::test]
async fn without_a_lease_nothing_gets_an_id() {
    let chat = Chat::new().await;
    let writes = chat.writes_without_lease(settings());
    let refused = writes.accept(caller(10), post("text"), None).await;
    assert!(matches!(refused, Err(WriteError::NotStored { .. })), "{refused:?}");
    assert!(events(&chat).await.is_empty());
}

#[tokio::test]
async fn where_memberships_are_another_systems_they_are_not_changed_here() {
    let chat = Chat::new().await;
    let settings = jobs::messages::serve_writes::Settings { owns_memberships: false, ..settings() };
    let writes = chat.writes_without_lease(settings);
    let member = AccountId::from_bits(20);
    for write in [
        Write::CreateRoom,
        Write::DeleteRoom { room: ROOM },
        Write::Join { room: ROOM, member },
        Write::Leave { room: ROOM, member },
    ] {
        let refused = writes.accept(admin(10), write, None).await;
        assert!(matches!(refused, Err(WriteError::MembershipsOwnedElsewhere)), "{refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_is_readable_once_the_read_model_has_it() {
    let chat = Chat::new().await;
    let (writes, _lease) = chat.writes(7, 0).await;
    let accepted = writes.accept(caller(10), post("text"), None).await.expect("accepted");
    assert!(!writes.readable(&accepted, 200 * MS).await, "nobody makes it readable");
    let _read_model = chat.read_model();
    assert!(writes.readable(&accepted, AT_MOST).await);
    let later = Accepted { version: Position::from_bits(accepted.version.get() + 1), ..accepted };
    assert!(!writes.readable(&later, Duration::ZERO).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_of_one_room_are_ordered_as_they_were_accepted() {
    let chat = Chat::new().await;
    let (one, _lease) = chat.writes(8, 10).await;
    let (other, _other_lease) = chat.writes(9, 10).await;
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..16 {
        let writes = if writer % 2 == 0 { std::sync::Arc::clone(&one) } else { std::sync::Arc::clone(&other) };
        writers.spawn(async move {
            let mut accepted = Vec::new();
            for number in 0..20 {
                let asked = tokio::time::Instant::now();
                let write = post(&format!("text {number} of {writer}"));
                // What is not known to be accepted has no place that could be compared.
                if let Ok(written) = writes.accept(caller(10), write, None).await {
                    accepted.push((asked, tokio::time::Instant::now(), written.version));
                }
            }
            accepted
        });
    }
    let mut accepted = Vec::new();
    while let Some(written) = writers.join_next().await {
        accepted.extend(written.expect("no panic"));
    }
    assert!(accepted.len() > 200, "only {} were accepted", accepted.len());
    for (_, answered, earlier) in &accepted {
        for (asked, _, later) in &accepted {
            assert!(asked < answered || later > earlier, "{later} was asked for after {earlier} was accepted");
        }
    }
    let mut places: Vec<Position> = accepted.iter().map(|(_, _, version)| *version).collect();
    places.sort_unstable();
    places.dedup();
    assert_eq!(places.len(), accepted.len(), "two have one place");
}
