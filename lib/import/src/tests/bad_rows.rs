//! Bad rows stop the import with the store as it was, or are left out and named.

use super::folder::{Memory, csv_folder, one_bad_row, run, to_parquet};
use crate::{Reason, Table};

#[tokio::test]
async fn a_value_that_does_not_parse_is_named_with_its_line() {
    for (table, text, line, reason) in [
        ("rooms", "id\n101\n102\n-5\n103\n104\n", 4, Reason::NotANumber),
        ("rooms", "id\n101\n102\n\"9223372036854775808\"\n103\n104\n", 4, Reason::NotANumber),
        ("rooms", "id,name\n101,a\n102,\"two\nlines\"\n,c\n103,d\n104,e\n", 5, Reason::Missing),
        ("rooms", "id,name\n101,a\n102,b\n103,c,c\n103,c\n104,d\n", 4, Reason::FieldCount),
        ("organizations", "id,plan\n1,free\n2,paid\n3,free\n4,gold\n", 5, Reason::UnknownPlan),
        ("organizations", "id,plan\n1,free\n2,paid\n3,free\n4,\n", 5, Reason::Missing),
        ("organizations", "id,plan,plan_version\n1,free,1\n2,paid,2\n3,free,x\n3,free,3\n", 4, Reason::NotANumber),
        ("messages", "room_id,message_id,deleted\n101,1,no\n101,2,0\n", 2, Reason::NotAFlag),
    ] {
        one_bad_row(&csv_folder(&[(table, text)]), &format!("{table}.csv"), line, reason).await;
    }
}

#[tokio::test]
async fn a_bad_value_in_parquet_is_named_with_its_row() {
    let dir = csv_folder(&[("rooms", "id\n101\n102\n-5\n103\n104\n")]);
    to_parquet(&dir, "rooms", "optional int64 id;");
    one_bad_row(&dir, "rooms.parquet", 3, Reason::NotANumber).await;
    let dir = csv_folder(&[("rooms", "id,name\n101,1\n102,1\n103,1\n104,1\n,1\n")]);
    to_parquet(&dir, "rooms", "optional int64 id; optional int64 name;");
    one_bad_row(&dir, "rooms.parquet", 5, Reason::Missing).await;
    let dir = csv_folder(&[("organizations", "id,plan\n1,free\n2,paid\n3,free\n4,gold\n")]);
    to_parquet(&dir, "organizations", "required int64 id; required binary plan (UTF8);");
    one_bad_row(&dir, "organizations.parquet", 4, Reason::UnknownPlan).await;
}

#[tokio::test]
async fn a_reference_to_nothing_is_bad() {
    let accounts = "id,org_id\n10,1\n11,1\n12,2\n13,3\n14,3\n15,4\n";
    one_bad_row(&csv_folder(&[("accounts", accounts)]), "accounts.csv", 7, Reason::UnknownOrganization).await;
    let memberships = "room_id,account_id\n101,10\n101,99\n102,10\n";
    one_bad_row(&csv_folder(&[("memberships", memberships)]), "memberships.csv", 3, Reason::UnknownAccount).await;
    let memberships = "room_id,account_id\n101,10\n102,10\n999,10\n";
    one_bad_row(&csv_folder(&[("memberships", memberships)]), "memberships.csv", 4, Reason::UnknownRoom).await;
    let messages = "room_id,message_id\n101,1\n999,2\n102,3\n";
    let content = one_bad_row(&csv_folder(&[("messages", messages)]), "messages.csv", 3, Reason::UnknownRoom).await;
    assert_eq!(content.live.keys().copied().collect::<Vec<_>>(), [101, 102]);
}

#[tokio::test]
async fn rows_that_contradict_each_other_are_bad_and_the_kept_one_does_not_depend_on_their_order() {
    for (table, text, line) in [
        ("organizations", "id,plan\n1,free\n2,paid\n3,free\n3,paid\n", 5),
        ("organizations", "id,plan\n1,free\n2,paid\n3,paid\n3,free\n", 4),
        ("accounts", "id,org_id\n10,1\n11,1\n12,2\n13,3\n14,3\n14,2\n", 6),
        ("accounts", "id,org_id,active\n10,1,1\n11,1,1\n12,2,1\n13,3,1\n14,3,1\n14,3,0\n", 6),
        ("messages", "room_id,message_id,deleted\n101,1,0\n101,1,1\n", 2),
        ("messages", "room_id,message_id,deleted\n101,1,1\n101,1,0\n", 3),
    ] {
        let content =
            one_bad_row(&csv_folder(&[(table, text)]), &format!("{table}.csv"), line, Reason::Contradiction).await;
        if table == "messages" {
            assert!(content.live[&101].is_empty(), "a deletion beats a message");
            assert!(content.tombstoned[&101].contains(&1));
        }
    }
}

#[tokio::test]
async fn a_message_in_two_rooms_is_bad() {
    for (messages, line) in [
        ("room_id,message_id\n101,1\n102,5\n103,6\n103,5\n", 5),
        ("room_id,message_id\n103,5\n102,5\n101,1\n", 2),
        ("room_id,message_id,deleted\n102,5,1\n103,5,0\n", 3),
    ] {
        let dir = csv_folder(&[("messages", messages)]);
        let content = one_bad_row(&dir, "messages.csv", line, Reason::TwoRooms).await;
        assert!(!content.live.get(&103).is_some_and(|ids| ids.contains(&5)), "the smaller room keeps it");
    }
}

#[tokio::test]
async fn what_refers_to_a_row_left_out_is_left_out_too() {
    let dir = csv_folder(&[("organizations", "id,plan\n1,free\n2,gold\n3,free\n")]);
    let mut store = Memory::default();
    let report = run(&dir, &mut store, true).await.expect("an import");
    let left_out = |table| &report.tables[&table].left_out.counts;
    assert_eq!(left_out(Table::Organizations)[&Reason::UnknownPlan], 1);
    assert_eq!(left_out(Table::Accounts)[&Reason::UnknownOrganization], 1);
    assert_eq!(left_out(Table::Memberships)[&Reason::UnknownAccount], 2);
    assert!(store.visible.memberships.iter().all(|membership| membership.account.get() != 12));
}

#[tokio::test]
async fn a_hundred_rows_are_named_and_all_are_counted() {
    let mut messages = String::from("room_id,message_id\n101,1\n");
    for id in 0..150 {
        messages.push_str(&format!("999,{}\nx,1\n", 1_000 + id));
    }
    let report = run(&csv_folder(&[("messages", &messages)]), &mut Memory::default(), true).await.expect("an import");
    let left_out = &report.tables[&Table::Messages].left_out;
    assert_eq!((left_out.counts[&Reason::UnknownRoom], left_out.counts[&Reason::NotANumber]), (150, 150));
    let named = |reason| left_out.rows.iter().filter(|row| row.reason == reason).count();
    assert_eq!((named(Reason::UnknownRoom), named(Reason::NotANumber)), (100, 100));
    assert_eq!(report.tables[&Table::Messages].loaded, 1);
}
