//! Imports of a small folder into a data directory.

use std::fs;

use chat::{
    AccountId, Directory, MembershipChange, Memberships, MessageId, OrganizationId, PageRequest, Plan, Position,
    RoomChange, RoomId,
};
use import::{ImportError, ImportOptions, ImportReport, import};
use tempfile::TempDir;

use super::*;
use crate::Access;

fn folder(plan: &str, messages: &str) -> TempDir {
    let dir = TempDir::new().expect("a folder");
    for (name, text) in [
        ("organizations.csv", format!("id,plan\n1,{plan}\n2,free\n")),
        ("accounts.csv", "id,org_id,active\n10,1,1\n20,2,1\n21,2,0\n".to_owned()),
        ("rooms.csv", "id\n100\n101\n9223372036854775807\n".to_owned()),
        ("memberships.csv", "room_id,account_id\n9223372036854775807,10\n100,10\n100,20\n101,21\n".to_owned()),
        ("messages.csv", format!("room_id,message_id,deleted\n{messages}")),
        ("meta.json", "{\"epoch_ms\": 1577836800000}".to_owned()),
    ] {
        fs::write(dir.path().join(name), text).expect("a file");
    }
    dir
}

async fn run(store: &TempDir, folder: &TempDir) -> Result<ImportReport, ImportError> {
    let dir = DataDir::open(store.path(), Access::Exclusive, "import").await.expect("a data directory");
    let map_size = MapSize::new(16 << 20).expect("a size");
    let mut load = EmbeddedLoad::open(&dir, map_size).await.expect("a load");
    import(folder.path(), &ImportOptions::new(store.path()), &mut load, &mut |_| {}).await
}

/// Plan and version of organization 1, rooms of both, live ids of rooms 100 and 101, and whether an import is unfinished.
async fn content(store: &TempDir) -> (Plan, u64, Vec<Vec<u64>>, Vec<u64>, bool) {
    let dir = DataDir::open(store.path(), Access::Read, "test").await.expect("a data directory");
    let directory = SqliteDirectory::open(&dir).await.expect("a directory");
    let ids = [1, 2].map(OrganizationId::from_bits);
    let organization = directory.organizations(&ids).await.expect("organizations")[0].clone().expect("it is known");
    let rooms = directory.rooms_of(&ids).await.expect("rooms");
    let rooms = rooms.iter().map(|rooms| rooms.iter().map(|room| room.get()).collect()).collect();
    let epoch = dir.epoch().expect("it reads").expect("it is fixed");
    let index = PackedIndex::open(&dir.live_ids(), MapSize::new(16 << 20).expect("a size"), epoch).expect("an index");
    let page = |room| PageRequest {
        room: RoomId::from_bits(room),
        below: MessageId::MAX,
        at_least: MessageId::from_bits(0),
        limit: 10,
    };
    let pages = index.pages(&[page(100), page(101)]).expect("pages");
    let live = pages.ids().iter().map(|id| id.get()).collect();
    let unfinished = directory.unfinished_import().await.expect("it reads");
    (organization.plan, organization.plan_version, rooms, live, unfinished)
}

#[tokio::test]
async fn an_import_can_be_read_and_twice_is_once() {
    let (store, folder) = (TempDir::new().expect("a folder"), folder("free", "100,7,0\n101,5,0\n100,6,1\n100,3,0\n"));
    let expected = (Plan::Free, 0, vec![vec![100, i64::MAX as u64], vec![100]], vec![7, 3, 5], false);
    for _ in 0..2 {
        run(&store, &folder).await.expect("an import");
        assert_eq!(content(&store).await, expected);
    }
}

/// Applies a change of room 100, and answers whether the members of a room are indexed.
async fn change(store: &TempDir, position: u64, what: RoomChange) -> bool {
    let dir = DataDir::open(store.path(), Access::Write, "test").await.expect("a data directory");
    let directory = SqliteDirectory::open(&dir).await.expect("a directory");
    let position = Position::from_bits(position);
    directory.apply(&[MembershipChange { room: RoomId::from_bits(100), position, what }]).await.expect("changed");
    indexed(&directory).await
}

async fn indexed(directory: &SqliteDirectory) -> bool {
    let sql = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'memberships_by_room')";
    sqlx::query_scalar(sql).fetch_one(directory.reader()).await.expect("it reads")
}

#[tokio::test]
async fn an_import_forgets_the_changes_before_it_and_their_positions() {
    let (store, folder) = (TempDir::new().expect("a folder"), folder("free", ""));
    let imported = vec![vec![100, i64::MAX as u64], vec![100]];
    run(&store, &folder).await.expect("an import");
    assert!(!change(&store, 5, RoomChange::Joined(AccountId::from_bits(21))).await, "joins need no index");
    assert!(change(&store, 6, RoomChange::Deleted).await);
    assert_eq!(content(&store).await.2, [vec![i64::MAX as u64], vec![]]);
    run(&store, &folder).await.expect("an import");
    assert_eq!(content(&store).await.2, imported);
    {
        let dir = DataDir::open(store.path(), Access::Read, "test").await.expect("a data directory");
        assert!(!indexed(&SqliteDirectory::open(&dir).await.expect("a directory")).await, "an import fills no index");
    }
    change(&store, 4, RoomChange::Left(AccountId::from_bits(20))).await;
    assert_eq!(content(&store).await.2, [imported[0].clone(), vec![]], "newer than the import");
}

#[tokio::test]
async fn plan_versions_never_fall() {
    let store = TempDir::new().expect("a folder");
    for (plan, expected) in [("free", 0), ("paid", 1), ("paid", 1), ("free", 2)] {
        run(&store, &folder(plan, "")).await.expect("an import");
        assert_eq!(content(&store).await.1, expected);
    }
}

#[tokio::test]
async fn an_import_that_stops_leaves_everything_as_it_was() {
    let store = TempDir::new().expect("a folder");
    run(&store, &folder("free", "100,7,0\n")).await.expect("an import");
    let before = content(&store).await;
    let stopped = run(&store, &folder("paid", "100,8,0\n999,9,0\n")).await;
    assert!(matches!(stopped, Err(ImportError::BadRow(_))), "{stopped:?}");
    assert_eq!(content(&store).await, before);
}

#[tokio::test]
async fn a_load_dropped_before_it_is_published_leaves_everything_as_it_was() {
    let store = TempDir::new().expect("a folder");
    run(&store, &folder("free", "100,7,0\n")).await.expect("an import");
    let before = content(&store).await;
    let dir = DataDir::open(store.path(), Access::Exclusive, "import").await.expect("a data directory");
    let mut load = EmbeddedLoad::open(&dir, MapSize::new(16 << 20).expect("a size")).await.expect("a load");
    let epoch = dir.epoch().expect("it reads").expect("it is fixed");
    load.begin(&Source { epoch, fingerprint: 1 }).await.expect("begun");
    load.rooms(&[RoomId::from_bits(5)]).await.expect("rooms");
    drop(load);
    assert_eq!(content(&store).await, before);
}

#[tokio::test]
async fn a_load_killed_after_it_was_published_is_unfinished_until_it_is_run_again() {
    let (store, folder) = (TempDir::new().expect("a folder"), folder("free", "100,7,0\n101,5,0\n"));
    let dir = DataDir::open(store.path(), Access::Exclusive, "import").await.expect("a data directory");
    let mut load = EmbeddedLoad::open(&dir, MapSize::new(16 << 20).expect("a size")).await.expect("a load");
    let epoch = chat::Epoch(chat::Timestamp::from_millis(1_577_836_800_000));
    load.begin(&Source { epoch, fingerprint: 1 }).await.expect("begun");
    load.publish().await.expect("published");
    assert!(load.directory.unfinished_import().await.expect("it reads"));
    assert!(load.rooms(&[]).await.is_err() || load.publish().await.is_err(), "calls out of order are refused");
    drop((load, dir));
    run(&store, &folder).await.expect("an import");
    assert_eq!(content(&store).await, (Plan::Free, 0, vec![vec![100, i64::MAX as u64], vec![100]], vec![7, 5], false));
}

#[tokio::test]
async fn another_epoch_than_the_stores_is_refused_before_anything_changes() {
    let store = TempDir::new().expect("a folder");
    run(&store, &folder("free", "100,7,0\n")).await.expect("an import");
    let before = content(&store).await;
    let other = folder("paid", "100,8,0\n");
    fs::write(other.path().join("meta.json"), "{\"epoch_ms\": 5}").expect("a file");
    assert!(matches!(run(&store, &other).await, Err(ImportError::Load { .. })));
    assert_eq!(content(&store).await, before);
}

/// A folder whose messages tell what they say.
fn telling(messages: &str) -> TempDir {
    let dir = folder("free", "");
    let text = format!("room_id,message_id,deleted,author_id,body\n{messages}");
    fs::write(dir.path().join("messages.csv"), text).expect("a file");
    dir
}

/// What room 100 says, newest first: id, author and body, or nothing of a deleted message.
async fn said(store: &TempDir) -> Vec<(u64, Option<(Option<u64>, String)>)> {
    let dir = DataDir::open(store.path(), Access::Read, "test").await.expect("a data directory");
    let messages = LmdbMessages::open(&dir.messages(), MapSize::new(16 << 20).expect("a size")).expect("messages");
    let request = chat::MessagePageRequest { room: RoomId::from_bits(100), below: MessageId::MAX, limit: 100 };
    let page = chat::Messages::page(&messages, &request).await.expect("a page");
    let content = |content: Content| (content.author.map(|author| author.get()), content.body);
    page.messages.into_iter().map(|message| (message.id.get(), message.content.map(content))).collect()
}

#[tokio::test]
async fn bodies_are_kept_of_live_messages_alone() {
    let store = TempDir::new().expect("a folder");
    let text = "100,7,0,10,newest\n101,5,0,10,elsewhere\n100,6,1,10,deleted\n100,3,0,,\"two\nlines\"\n";
    let some = |author, body: &str| Some((author, body.to_owned()));
    let expected = vec![(7, some(Some(10), "newest")), (6, None), (3, some(None, "two\nlines"))];
    for _ in 0..2 {
        run(&store, &telling(text)).await.expect("an import");
        assert_eq!(said(&store).await, expected);
    }
    // An import by ids alone keeps what is said, and takes it from what it deletes, for ever.
    run(&store, &folder("free", "100,7,1\n100,8,0\n")).await.expect("an import");
    let expected = vec![(7, None), (6, None), (3, some(None, "two\nlines"))];
    assert_eq!(said(&store).await, expected);
    run(&store, &telling(text)).await.expect("an import");
    assert_eq!(said(&store).await, expected);
}

#[tokio::test]
async fn an_import_without_bodies_makes_no_store_for_them() {
    let store = TempDir::new().expect("a folder");
    run(&store, &folder("free", "100,7,0\n")).await.expect("an import");
    assert!(!store.path().join("messages").exists());
}
