//! Folders and files that cannot be imported are refused in words that name file and column.

use std::fs;

use super::folder::{csv_folder, refused, to_parquet, write_parquet};

async fn says(dir: &tempfile::TempDir, words: &[&str]) {
    let error = refused(dir).await.to_string();
    for word in words {
        assert!(error.contains(word), "{error:?} does not say {word:?}");
    }
}

#[tokio::test]
async fn a_table_must_stand_in_one_file() {
    let dir = csv_folder(&[]);
    fs::remove_file(dir.path().join("rooms.csv")).expect("removed");
    says(&dir, &["neither rooms.parquet nor rooms.csv"]).await;
    let dir = csv_folder(&[]);
    fs::write(dir.path().join("rooms.parquet"), "").expect("a file");
    says(&dir, &["both rooms.parquet and rooms.csv"]).await;
    let dir = csv_folder(&[]);
    let missing = dir.path().join("nowhere");
    let options = crate::ImportOptions::new(dir.path());
    let mut store = super::folder::Memory::default();
    let error = crate::import(&missing, &options, &mut store, &mut |_| {}).await.expect_err("it should stop");
    assert!(error.to_string().contains("nowhere"), "{error}");
}

#[tokio::test]
async fn a_missing_column_is_named() {
    says(&csv_folder(&[("accounts", "id,org\n10,1\n")]), &["accounts.csv", "org_id (or organization_id)", "id, org"])
        .await;
    says(&csv_folder(&[("messages", "")]), &["messages.csv", "room_id"]).await;
    says(
        &csv_folder(&[("accounts", "id,org_id,organization_id\n10,1,1\n")]),
        &["accounts.csv", "org_id and organization_id"],
    )
    .await;
    let dir = csv_folder(&[]);
    to_parquet(&dir, "messages", "required int64 room; required int64 message_id;");
    says(&dir, &["messages.parquet", "room_id"]).await;
}

#[tokio::test]
async fn a_column_of_the_wrong_type_is_named() {
    for (table, schema, column) in [
        ("rooms", "required binary id (UTF8);", "column id of rooms.parquet is BYTE_ARRAY"),
        ("rooms", "required int64 id (TIMESTAMP_MILLIS);", "column id of rooms.parquet is INT64"),
        ("organizations", "required int64 id; required int64 plan;", "column plan of organizations.parquet"),
        ("messages", "required int64 room_id; required int64 message_id; required int32 deleted;", "column deleted"),
    ] {
        let dir = csv_folder(&[]);
        fs::remove_file(dir.path().join(format!("{table}.csv"))).expect("removed");
        write_parquet(&dir.path().join(format!("{table}.parquet")), schema, &[]);
        says(&dir, &[column]).await;
    }
}

#[tokio::test]
async fn a_broken_parquet_file_is_named_wherever_it_is_broken() {
    let dir = csv_folder(&[]);
    to_parquet(&dir, "messages", "required int64 room_id; required int64 message_id; required boolean deleted;");
    let path = dir.path().join("messages.parquet");
    let whole = fs::read(&path).expect("the file");
    for length in (0..whole.len()).step_by(37) {
        fs::write(&path, &whole[..length]).expect("a file");
        says(&dir, &["messages.parquet"]).await;
    }
    // A byte changed in the pages: refused, or not noticed, but nothing worse.
    for place in (4..whole.len() - 8).step_by(5) {
        let mut changed = whole.clone();
        changed[place] ^= 0x55;
        fs::write(&path, &changed).expect("a file");
        let _ = super::folder::run(&dir, &mut super::folder::Memory::default(), true).await;
    }
    fs::write(&path, "no parquet at all").expect("a file");
    says(&dir, &["messages.parquet", "is it whole"]).await;
}

#[test]
fn a_meta_file_that_disagrees_with_the_store_is_refused_and_a_missing_one_takes_the_stores_epoch() {
    let dir = csv_folder(&[]);
    let epoch = |ms| chat::Epoch(chat::Timestamp::from_millis(ms));
    let open = || crate::source::Folder::open(dir.path(), Some(epoch(5)));
    assert_eq!(open().expect("a folder").epoch, epoch(5));
    fs::write(dir.path().join("meta.json"), "{\"epoch_ms\": 5}").expect("a file");
    assert_eq!(open().expect("a folder").epoch, epoch(5));
    fs::write(dir.path().join("meta.json"), "{\"epoch_ms\": 6}").expect("a file");
    assert!(
        matches!(open(), Err(crate::ImportError::EpochDisagrees { told, fixed, .. }) if told == epoch(6) && fixed == epoch(5))
    );
}

#[tokio::test]
async fn a_meta_file_that_says_no_epoch_is_refused() {
    for text in ["{\"epoch_ms\": \"soon\"}", "{\"epoch_ms\": -1}", "{\"epoch_ms\": 1e30}", "[]", "{", ""] {
        let dir = csv_folder(&[]);
        fs::write(dir.path().join("meta.json"), text).expect("a file");
        says(&dir, &["meta.json"]).await;
    }
}
