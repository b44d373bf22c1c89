//! What is promised of DynamoDB beyond the laws of the ports: what reading costs, what a load that fails says, provisioning.

use std::collections::BTreeSet;

use aws::{
    DynamoDbLimits, DynamoDbLiveIds, DynamoDbLoad, DynamoDbMessages, DynamoDbState, MessageRow, fix_epoch, provision,
    store_epoch,
};
use chat::newest::{Room, newest};
use chat::{Epoch, Limits, LiveIds, MessageId, OrganizationId, PageRequest, Policy, RoomId};
use import::{LoadMessages as _, RoomMessages, Source};
use support::waiting::not_run;
use tempfile::TempDir;

use crate::adapters::aws::{Way, dynamodb};

/// Opens tables of the test's own, or says why the test is not run.
macro_rules! dynamodb_or_return {
    ($folder:expr, $way:expr) => {
        match dynamodb($folder.path(), $way).await {
            Ok(db) => db,
            Err(reason) => return not_run("dynamodb", &reason),
        }
    };
}

fn id(millis: u64) -> MessageId {
    MessageId::from_bits(millis << MessageId::MILLIS_SHIFT)
}

fn room(number: u64) -> RoomId {
    RoomId::from_bits(number)
}

fn live(room: RoomId, id: MessageId) -> MessageRow {
    MessageRow::bare(room, id, false)
}

/// Every id that the index has of a room.
async fn ids_of(live_ids: &DynamoDbLiveIds, room: RoomId) -> BTreeSet<MessageId> {
    let (mut found, mut below) = (BTreeSet::new(), MessageId::MAX);
    loop {
        let request = PageRequest { room, below, at_least: MessageId::from_bits(0), limit: 10_000 };
        let pages = live_ids.newest(&[request]).await.expect("a page");
        let (ids, resume_below) = pages.page(0);
        found.extend(ids);
        match resume_below {
            Some(resume_below) => below = resume_below,
            None => return found,
        }
    }
}

/// The price of a limit: half a unit for each 4 KB of 26 bytes for an id that counts, and at most a quarter more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_newest_messages_cost_little_more_than_their_ids() {
    let folder = TempDir::new().expect("a folder");
    let db = dynamodb_or_return!(folder, Way::Straight);
    // As in a chat: a few busy rooms and many quiet ones, 6,800 messages, of which the newest 5,000 count.
    let sizes: Vec<u64> = [1_500, 900, 700, 500, 400, 300].into_iter().chain([50; 50]).collect();
    let mut random = fastrand::Rng::with_seed(crate::random::seed());
    let mut rows = Vec::new();
    for (number, size) in (0..).zip(&sizes) {
        rows.extend((0..*size).map(|_| live(room(number), id(random.u64(1..1_000_000_000)))));
    }
    DynamoDbMessages::new(db.clone()).load(&rows).await.expect("loaded");
    let mut newest_first: Vec<(MessageId, RoomId)> = rows.iter().map(|row| (row.id, row.room)).collect();
    newest_first.sort_unstable_by(|a, b| b.cmp(a));
    let n = 5_000;
    let counted = |room| newest_first[..n].iter().filter(|(_, of)| *of == room).count();
    let least: f64 =
        (0..).zip(&sizes).map(|(number, _)| 0.5 * (counted(room(number)) as f64 * 26.0 / 4_096.0).ceil()).sum();

    let live_ids = DynamoDbLiveIds::new(db.clone());
    let rooms: Vec<Room> =
        (0..).zip(&sizes).map(|(number, _)| Room { id: room(number), below: MessageId::MAX }).collect();
    let policy = Policy::new(u32::try_from(n).expect("small"), None).expect("a policy");
    let epoch = Epoch::default();
    let before = db.usage();
    let found = newest(&live_ids, &rooms, &policy, epoch.0.plus_millis(2_000_000_000), epoch).await.expect("found");
    assert_eq!(found.first_visible_message_id, Some(newest_first[n - 1].0));
    let used = db.usage().read_units - before.read_units;
    assert!((used - found.read_units).abs() < 1e-6, "{used} used, {} said", found.read_units);
    println!("{n} of {} ids in {} rooms: {used} read units, least {least}, {found:?}", rows.len(), rooms.len());
    assert!((0.9 * least..=1.25 * least).contains(&used), "{used} read units, least {least}");
    assert_eq!(db.usage().write_units, before.write_units, "reading writes nothing");
}

/// Written or named, whatever fails in between.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_load_names_what_it_did_not_write() {
    let folder = TempDir::new().expect("a folder");
    let faulty = dynamodb_or_return!(folder, Way::Faulty { percent: 40, tries: 2 });
    let straight = dynamodb(folder.path(), Way::Straight).await.expect("the same tables");
    let (messages, live_ids) = (DynamoDbMessages::new(faulty), DynamoDbLiveIds::new(straight));
    let mut ended_early = 0;
    for number in 0..20 {
        let rows: Vec<MessageRow> = (1..=60).map(|n| live(room(number), id(n))).collect();
        let unwritten: BTreeSet<MessageId> = match messages.load(&rows).await {
            Ok(()) => BTreeSet::new(),
            Err(unwritten) => {
                assert!(unwritten.cause.is_temporary(), "{:?}", unwritten.cause);
                ended_early += 1;
                unwritten.messages.iter().map(|(_, id)| *id).collect()
            }
        };
        let found = ids_of(&live_ids, room(number)).await;
        let lost: Vec<_> = rows.iter().filter(|row| !found.contains(&row.id) && !unwritten.contains(&row.id)).collect();
        assert!(lost.is_empty(), "neither written nor named: {lost:?}");
    }
    assert!(
        (1..20).contains(&ended_early),
        "{ended_early} of 20 loads ended early: the faults are too many or too few"
    );
}

/// Of what stands twice in a load the tombstone counts; a later load does not bring a deleted message back.
#[tokio::test]
async fn a_load_keeps_tombstones() {
    let folder = TempDir::new().expect("a folder");
    let db = dynamodb_or_return!(folder, Way::Straight);
    let (messages, live_ids) = (DynamoDbMessages::new(db.clone()), DynamoDbLiveIds::new(db));
    let dead = |n| MessageRow::bare(room(1), id(n), true);
    let said = MessageRow {
        author: Some("7".parse().expect("an id")),
        organization: Some(OrganizationId::from_bits(8)),
        body: Some("こんにちは".to_owned()),
        position: Some(9),
        ..live(room(1), id(1))
    };
    messages.load(&[dead(2), live(room(1), id(2)), live(room(1), id(3)), dead(3), said]).await.expect("loaded");
    messages.load(&[live(room(1), id(2)), live(room(1), id(4))]).await.expect("loaded");
    assert_eq!(ids_of(&live_ids, room(1)).await, BTreeSet::from([id(1), id(4)]));
}

/// What was durable before the last request is not given again, to the same source alone and only where that is wanted.
#[tokio::test]
async fn a_load_goes_on_behind_the_last_durable_room() {
    let folder = TempDir::new().expect("a folder");
    let db = dynamodb_or_return!(folder, Way::Straight);
    let source = |fingerprint| Source { epoch: Epoch::default(), fingerprint };
    let messages = |number| RoomMessages { room: room(number), live: vec![id(number)], tombstoned: vec![] };
    let mut killed = DynamoDbLoad::new(&db);
    assert_eq!(killed.begin(&source(1), true).await.expect("begun"), None);
    for number in 1..=3 {
        killed.messages(&[messages(number)]).await.expect("messages");
    }
    drop(killed);
    for (fingerprint, resume, after) in [(1, true, Some(room(2))), (1, false, None), (2, true, None)] {
        let begun = DynamoDbLoad::new(&db).begin(&source(fingerprint), resume).await;
        assert_eq!(begun.expect("begun"), after, "source {fingerprint}, resume {resume}");
    }
    let mut again = DynamoDbLoad::new(&db);
    again.begin(&source(1), true).await.expect("begun");
    again.messages(&[messages(3)]).await.expect("messages");
    again.finish().await.expect("finished");
    assert_eq!(DynamoDbLoad::new(&db).begin(&source(1), true).await.expect("begun"), None);
    let live_ids = DynamoDbLiveIds::new(db);
    for number in 1..=3 {
        assert_eq!(ids_of(&live_ids, room(number)).await, BTreeSet::from([id(number)]));
    }
}

/// Whoever is first fixes the epoch; everybody else agrees or is refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_epoch_is_fixed_once() {
    let folder = TempDir::new().expect("a folder");
    let db = dynamodb_or_return!(folder, Way::Straight);
    let state = DynamoDbState::new(db);
    assert_eq!(store_epoch(&state).await.expect("read"), None);
    let asked: Vec<Epoch> = (0..8).map(|day| Epoch(Epoch::default().0.plus_millis(day % 2 * 86_400_000))).collect();
    let fixing: Vec<_> = asked.iter().map(|epoch| fix_epoch(&state, *epoch)).collect();
    let answers = futures::future::join_all(fixing).await;
    let fixed = store_epoch(&state).await.expect("read").expect("it is fixed");
    for (asked, answer) in asked.into_iter().zip(answers) {
        match answer {
            Ok(()) => assert_eq!(asked, fixed),
            Err(e) => {
                assert_ne!(asked, fixed, "{e:?}");
                assert_eq!(e.class(), "refused");
                assert!(e.to_string().contains(&fixed.0.to_string()), "{e}");
            }
        }
    }
}

#[tokio::test]
async fn provisioning_again_changes_nothing() {
    let folder = TempDir::new().expect("a folder");
    let db = dynamodb_or_return!(folder, Way::Straight);
    let again = provision::create_tables(&db).await.expect("provisioned");
    assert_eq!(again.len(), 3);
    assert!(again.iter().all(|table| !table.created), "{again:?}");
}

/// What fails every time ends with the last try, says how it failed, and every try is counted.
#[tokio::test]
async fn tries_are_bounded_and_counted() {
    let folder = TempDir::new().expect("a folder");
    let db = dynamodb_or_return!(folder, Way::Faulty { percent: 100, tries: 4 });
    let asked = [OrganizationId::from_bits(1)];
    let failed = DynamoDbLimits::new(db.clone()).get(&asked).await.expect_err("every request fails");
    assert!(failed.is_temporary(), "{failed:?}");
    let usage = db.usage();
    assert_eq!((usage.requests, usage.retries), (4, 3), "{usage:?}");
}

/// A table that is not there is told apart from one that cannot be reached.
#[tokio::test]
async fn a_missing_table_is_refused_by_name() {
    let folder = TempDir::new().expect("a folder");
    let db = dynamodb_or_return!(folder, Way::Unprovisioned);
    let refused = DynamoDbLimits::new(db).get(&[OrganizationId::from_bits(1)]).await.expect_err("no table");
    assert_eq!(refused.class(), "refused");
    assert!(refused.to_string().contains("view_limits does not exist"), "{refused}");
}
