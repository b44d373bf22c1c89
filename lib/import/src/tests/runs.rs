//! What an import leads to.

use chat::{OrganizationId, Plan, RoomId};

use super::folder::{CSV, Memory, csv_folder, imported, run, to_parquet};
use crate::{ImportOptions, OrganizationRooms, Progress, Stage, Table, import};

fn rooms_of(organization: u64, rooms: &[u64]) -> OrganizationRooms {
    let rooms = rooms.iter().map(|&room| RoomId::from_bits(room)).collect();
    OrganizationRooms { organization: OrganizationId::from_bits(organization), rooms }
}

#[tokio::test]
async fn an_import_loads_every_table() {
    let content = imported(&csv_folder(&[])).await;
    let plans: Vec<_> = content.organizations.iter().map(|row| (row.id.get(), row.plan, row.plan_version)).collect();
    assert_eq!(plans, [(1, Plan::Free, 0), (2, Plan::Paid, 0), (3, Plan::Free, 0)]);
    let accounts: Vec<_> =
        content.accounts.iter().map(|row| (row.id.get(), row.organization.get(), row.active)).collect();
    assert_eq!(accounts, [(10, 1, true), (11, 1, true), (12, 2, true), (13, 3, true), (14, 3, false)]);
    assert_eq!(content.rooms.iter().map(|room| room.get()).collect::<Vec<_>>(), [101, 102, 103, 104]);
    let memberships: Vec<_> = content.memberships.iter().map(|row| (row.account.get(), row.room.get())).collect();
    assert_eq!(memberships, [(10, 101), (10, 103), (11, 101), (11, 102), (12, 103), (13, 103), (14, 104)]);
    let expected = [rooms_of(1, &[101, 102, 103]), rooms_of(2, &[103]), rooms_of(3, &[103])];
    assert_eq!(content.organization_rooms, expected);
    let live: Vec<_> =
        content.live.iter().map(|(room, ids)| (*room, ids.iter().copied().collect::<Vec<_>>())).collect();
    assert_eq!(live, [(101, vec![1000, 1004]), (102, vec![1001]), (103, vec![1003, 1005])]);
    assert_eq!(content.tombstoned[&101].iter().copied().collect::<Vec<_>>(), [1002]);
}

#[tokio::test]
async fn the_order_of_rows_makes_no_difference() {
    let expected = imported(&csv_folder(&[])).await;
    for seed in 0..20 {
        let mut random = seed * 7 + 1;
        let shuffled = CSV.map(|(table, text)| {
            let (header, rows) = text.split_once('\n').expect("a header");
            let mut rows: Vec<&str> = rows.lines().collect();
            for place in (1..rows.len()).rev() {
                random = (random * 1_103_515_245 + 12_345) % (1 << 31);
                rows.swap(place, (random >> 8) % (place + 1));
            }
            (table, format!("{header}\n{}\n", rows.join("\n")))
        });
        let changed: Vec<_> = shuffled.iter().map(|(table, text)| (*table, text.as_str())).collect();
        assert_eq!(imported(&csv_folder(&changed)).await, expected, "seed {seed}");
    }
}

#[tokio::test]
async fn parquet_and_csv_lead_to_the_same() {
    let expected = imported(&csv_folder(&[])).await;
    let dir = csv_folder(&[]);
    to_parquet(&dir, "organizations", "optional int64 id; optional binary plan (UTF8);");
    to_parquet(&dir, "accounts", "required int64 id; required int32 org_id; required boolean active;");
    to_parquet(&dir, "rooms", "optional int64 id (UINT_64);");
    to_parquet(
        &dir,
        "memberships",
        "required int32 room_id (UINT_32); optional int64 account_id; optional boolean left;",
    );
    to_parquet(&dir, "messages", "required int64 room_id; optional int64 message_id; optional boolean deleted;");
    assert_eq!(imported(&dir).await, expected);
}

#[tokio::test]
async fn nothing_where_something_is_optional_means_the_default() {
    let accounts = "id,organization_id,active\n10,1,\n11,1,\n12,2,\n13,3,\n14,3,0\n";
    let expected = imported(&csv_folder(&[])).await;
    let dir = csv_folder(&[("accounts", accounts)]);
    assert_eq!(imported(&dir).await, expected);
    to_parquet(&dir, "accounts", "optional int64 id; optional int64 organization_id; optional int64 unused;");
    let parquet = imported(&dir).await;
    assert!(parquet.accounts.iter().all(|account| account.active), "without the column all are active");
}

#[tokio::test]
async fn twice_is_once() {
    let dir = csv_folder(&[]);
    let mut store = Memory::default();
    run(&dir, &mut store, false).await.expect("an import");
    let once = store.visible.clone();
    let report = run(&dir, &mut store, false).await.expect("an import");
    assert_eq!(store.visible, once);
    assert_eq!(report.resumed_after, None, "the first one was finished");
}

#[tokio::test]
async fn killed_at_any_call_and_run_again_is_once() {
    let dir = csv_folder(&[]);
    let expected = imported(&dir).await;
    let mut resumed = 0;
    for calls in 0.. {
        let mut store = Memory { calls_left: Some(calls), ..Memory::default() };
        if run(&dir, &mut store, false).await.is_ok() {
            assert!(calls > 8, "every kind of call has failed once");
            break;
        }
        if store.unfinished.is_none() {
            assert_eq!(store.visible, Default::default(), "nothing is visible before it is published");
        }
        let before = store.message_rooms;
        store.calls_left = None;
        let report = run(&dir, &mut store, false).await.expect("an import");
        assert_eq!(store.visible, expected, "killed at call {calls}");
        assert_eq!(store.message_rooms, 3, "no room is loaded twice, killed at call {calls}");
        resumed += u32::from(report.resumed_after.is_some() && before > 0);
        assert_eq!((report.live_messages, report.deleted_messages), (5, 1), "the report tells of all messages");
    }
    assert_eq!(resumed, 3);
}

#[tokio::test]
async fn a_load_of_other_files_is_not_resumed() {
    let dir = csv_folder(&[]);
    let mut store = Memory { calls_left: Some(9), ..Memory::default() };
    run(&dir, &mut store, false).await.expect_err("it is killed");
    assert!(store.unfinished.as_ref().is_some_and(|(_, reached)| reached.is_some()), "{:?}", store.unfinished);
    store.calls_left = None;
    let other = csv_folder(&[("messages", "room_id,message_id\n101,7\n")]);
    let report = run(&other, &mut store, false).await.expect("an import");
    assert_eq!(report.resumed_after, None);
    assert!(store.visible.live[&101].contains(&7));
}

#[tokio::test]
async fn repeated_rows_are_counted_and_harmless() {
    let expected = imported(&csv_folder(&[])).await;
    let repeated = CSV.map(|(table, text)| {
        let (_, rows) = text.split_once('\n').expect("a header");
        (table, format!("{text}{rows}"))
    });
    let changed: Vec<_> = repeated.iter().map(|(table, text)| (*table, text.as_str())).collect();
    let mut store = Memory::default();
    let report = run(&csv_folder(&changed), &mut store, false).await.expect("an import");
    assert_eq!(store.visible, expected);
    let duplicates: Vec<_> = Table::ALL.iter().map(|table| report.tables[table].duplicates).collect();
    assert_eq!(duplicates, [3, 5, 4, 8, 6]);
}

#[tokio::test]
async fn who_left_and_came_back_is_a_member() {
    let memberships = "room_id,account_id,active\n101,10,0\n101,10,1\n102,10,0\n";
    let content = imported(&csv_folder(&[("memberships", memberships)])).await;
    let memberships: Vec<_> = content.memberships.iter().map(|row| (row.account.get(), row.room.get())).collect();
    assert_eq!(memberships, [(10, 101)]);
}

#[tokio::test]
async fn the_report_tells_what_was_done_and_what_was_not_looked_at() {
    let dir = csv_folder(&[("rooms", "id,name\n101,a\n102,b\n103,c\n104,d\n")]);
    std::fs::write(dir.path().join("notes.txt"), "x").expect("a file");
    std::fs::write(dir.path().join("meta.json"), "{\"epoch_ms\": 1577836800000}").expect("a file");
    let scratch = tempfile::TempDir::new().expect("a folder");
    let mut told: Vec<Progress> = Vec::new();
    let options = crate::ImportOptions::new(scratch.path());
    let report = import(dir.path(), &options, &mut Memory::default(), &mut |progress| told.push(progress)).await;
    let report = report.expect("an import");
    assert_eq!(report.ignored_files, ["notes.txt"]);
    assert_eq!(report.tables[&Table::Rooms].ignored_columns, ["name"]);
    assert_eq!(report.epoch.0.to_string(), "2020-01-01T00:00:00Z");
    assert_eq!((report.tables[&Table::Memberships].rows, report.tables[&Table::Memberships].loaded), (8, 7));
    assert_eq!((report.ended_memberships, report.organization_rooms), (1, 5));
    let ids = report.message_ids.expect("there are messages");
    assert_eq!((ids.0.get(), ids.1.get()), (1000, 1005));
    let last = told.iter().rev().find(|progress| progress.stage == Stage::Messages).expect("it was told");
    assert_eq!((last.done, last.total), (6, Some(6)));
    serde_json::to_string(&report).expect("it is written as JSON");
    assert_eq!(std::fs::read_dir(scratch.path()).expect("a folder").count(), 0, "no temporary file is left");
}

#[tokio::test]
async fn messages_before_or_after_those_wanted_are_as_if_they_were_not_there() {
    let instant = |ms| Some(chat::Epoch::default().0.plus_millis(ms));
    let at = |ms: u64, counter: u64| ms << chat::MessageId::MILLIS_SHIFT | counter;
    let rows = |ids: &[(u64, u64)]| {
        let rows = ids.iter().map(|(room, id)| format!("{room},{id},false,10,text\n"));
        format!("room_id,message_id,deleted,author,body\n{}", rows.collect::<String>())
    };
    let newer = [(101, at(3, 0)), (102, at(4, 1))];
    let all = rows(&[newer[0], (101, at(2, 4_000_000)), newer[1], (103, at(0, 2)), (103, at(0, 1)), (103, at(5, 0))]);
    let dir = csv_folder(&[("messages", &all)]);
    let options =
        ImportOptions { messages_since: instant(3), messages_before: instant(5), ..ImportOptions::new(dir.path()) };
    let mut store = Memory::default();
    let report = import(dir.path(), &options, &mut store, &mut |_| {}).await.expect("an import");
    assert_eq!((report.unwanted_messages, report.live_messages, report.bodies), (4, 2, 2));
    assert_eq!(report.tables[&Table::Messages].loaded, 2);
    assert_eq!(store.quiet_rooms, [(103, at(0, 2))], "its head is told, but nothing newer than what is wanted");
    assert_eq!(store.visible, imported(&csv_folder(&[("messages", &rows(&newer))])).await);
}
