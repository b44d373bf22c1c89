//! What messages say.

use super::folder::{CSV, Content, Memory, csv_folder, imported, one_bad_row, refused, run, to_parquet};
use crate::{ImportError, Reason};

/// Messages 1002 is deleted, 1004 has no author, 1005 no body; the text of 1003 has lines, quotes and a blank at each end.
const MESSAGES: &str = "room_id,message_id,deleted,author_id,body\n101,1000,false,10,hello\n102,1001,false,11,\u{1f389}\n\
                        101,1002,true,10,gone\n103,1003,false,13,\" a \"\"b\"\"\n\tc, \"\n101,1004,false,,nobody's\n103,1005,false,99,\n";

fn told(content: &Content) -> Vec<(u64, Option<u64>, &str)> {
    content.bodies.iter().map(|((_, id), (author, body))| (*id, *author, body.as_str())).collect()
}

const EXPECTED: [(u64, Option<u64>, &str); 5] = [
    (1000, Some(10), "hello"),
    (1004, None, "nobody's"),
    (1001, Some(11), "\u{1f389}"),
    (1003, Some(13), " a \"b\"\n\tc, "),
    (1005, Some(99), ""),
];

#[tokio::test]
async fn bodies_come_with_the_messages_and_change_nothing_else() {
    let mut content = imported(&csv_folder(&[("messages", MESSAGES)])).await;
    assert_eq!(told(&content), EXPECTED);
    content.bodies.clear();
    assert_eq!(content, imported(&csv_folder(&[])).await);
}

#[tokio::test]
async fn parquet_tells_the_same() {
    let rows = "room_id,message_id,deleted,author,body\n101,1000,false,10,hello\n102,1001,false,11,\u{1f389}\n\
                101,1002,true,10,gone\n101,1004,false,,nobody's\n103,1005,false,99,\n";
    let dir = csv_folder(&[("messages", rows)]);
    let expected = imported(&dir).await;
    let schema = "required int64 room_id; required int64 message_id; required boolean deleted; optional int64 author; \
                  optional binary body (UTF8);";
    to_parquet(&dir, "messages", schema);
    assert_eq!(imported(&dir).await, expected);
    assert_eq!(expected.bodies.len(), 4);
}

#[tokio::test]
async fn killed_at_any_call_and_run_again_tells_the_same() {
    let dir = csv_folder(&[("messages", MESSAGES)]);
    let expected = imported(&dir).await;
    for calls in 0.. {
        let mut store = Memory { calls_left: Some(calls), ..Memory::default() };
        if run(&dir, &mut store, false).await.is_ok() {
            assert!(calls > 13, "every kind of call has failed once");
            break;
        }
        store.calls_left = None;
        run(&dir, &mut store, false).await.expect("an import");
        assert_eq!(store.visible, expected, "killed at call {calls}");
    }
}

#[tokio::test]
async fn without_bodies_those_that_are_there_stay_until_their_message_is_deleted() {
    let mut store = Memory::default();
    let report = run(&csv_folder(&[("messages", MESSAGES)]), &mut store, false).await.expect("an import");
    assert_eq!(report.bodies, 6);
    let deleted = CSV[4].1.replace("101,1000,false", "101,1000,true");
    let report = run(&csv_folder(&[("messages", &deleted)]), &mut store, false).await.expect("an import");
    assert_eq!((report.bodies, told(&store.visible)), (0, EXPECTED[1..].to_vec()));
    // What was deleted once gets no body again.
    run(&csv_folder(&[("messages", MESSAGES)]), &mut store, false).await.expect("an import");
    assert_eq!(told(&store.visible), EXPECTED[1..]);
}

#[tokio::test]
async fn an_authors_name_beside_the_id_is_ignored() {
    let messages = "room_id,message_id,author,author_id\n101,1000,somebody,10\n";
    let dir = csv_folder(&[("messages", messages)]);
    assert_eq!(told(&imported(&dir).await), [(1000, Some(10), "")]);
}

#[tokio::test]
async fn a_text_that_cannot_be_kept_is_a_bad_row() {
    let long = MESSAGES.replace("hello", &"x".repeat((1 << 20) + 1));
    let content = one_bad_row(&csv_folder(&[("messages", &long)]), "messages.csv", 2, Reason::TooLong).await;
    assert_eq!(told(&content), EXPECTED[1..]);
    let dir = csv_folder(&[]);
    std::fs::write(dir.path().join("messages.csv"), b"room_id,message_id,body\n101,1,ok\n101,2,\xff\n")
        .expect("a file");
    one_bad_row(&dir, "messages.csv", 3, Reason::NotText).await;
    let words = csv_folder(&[("messages", "room_id,message_id,author\n101,1000,somebody\n")]);
    assert!(matches!(refused(&words).await, ImportError::BadRow(bad) if bad.column == "author_id"));
}
