use super::*;

const NOTES: Schema =
    Schema { what: "the notes", migrations: &[(1, "notes", "CREATE TABLE notes (text TEXT) STRICT;")] };
const NEWER: Schema = Schema {
    what: "the notes",
    migrations: &[NOTES.migrations[0], (2, "when", "ALTER TABLE notes ADD COLUMN at INTEGER;")],
};

async fn dir(folder: &tempfile::TempDir, access: Access) -> DataDir {
    DataDir::open(folder.path(), access, "test").await.expect("a data directory")
}

fn file(dir: &DataDir) -> PathBuf {
    dir.path().join("notes.sqlite")
}

#[tokio::test]
async fn a_newer_database_is_refused_and_an_older_one_is_brought_up_to_date() {
    let folder = tempfile::tempdir().expect("a folder");
    let writer = dir(&folder, Access::Write).await;
    let reader = dir(&folder, Access::Read).await;
    let missing = Database::open(&reader, file(&reader), &NOTES).await.expect_err("no file");
    assert!(missing.to_string().contains("does not exist yet"), "{missing}");

    Database::open(&writer, file(&writer), &NOTES).await.expect("made");
    Database::open(&reader, file(&reader), &NOTES).await.expect("the same version");
    let older = Database::open(&reader, file(&reader), &NEWER).await.expect_err("not migrated");
    assert!(older.to_string().contains("older version"), "{older}");

    Database::open(&writer, file(&writer), &NEWER).await.expect("migrated");
    for dir in [&writer, &reader] {
        let newer = Database::open(dir, file(dir), &NOTES).await.expect_err("too new");
        assert!(newer.to_string().contains("migration 2, this one knows 1"), "{newer}");
        assert_eq!(newer.class(), "refused");
    }
}

#[tokio::test]
async fn a_reader_refuses_to_write() {
    let folder = tempfile::tempdir().expect("a folder");
    let writer = dir(&folder, Access::Write).await;
    Database::open(&writer, file(&writer), &NOTES).await.expect("made");
    let reader = dir(&folder, Access::Read).await;
    let database = Database::open(&reader, file(&reader), &NOTES).await.expect("open");
    assert!(matches!(database.begin().await, Err(PortError::Refused { .. })));
    let forced = sqlx::query("INSERT INTO notes VALUES ('x')").execute(database.reader()).await.expect_err("read-only");
    assert!(matches!(database.error(forced), PortError::Refused { .. }));
}

#[tokio::test]
async fn a_file_that_is_no_database_is_corrupt() {
    let folder = tempfile::tempdir().expect("a folder");
    let writer = dir(&folder, Access::Write).await;
    std::fs::write(file(&writer), "not a database, and long enough to be noticed".repeat(100)).expect("a file");
    let error = Database::open(&writer, file(&writer), &NOTES).await.expect_err("not a database");
    assert!(matches!(error, PortError::Corrupt { .. }), "{error:?}");
}

#[tokio::test]
async fn a_full_disk_is_temporary_and_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let writer = dir(&folder, Access::Write).await;
    let database = Database::open(&writer, file(&writer), &NOTES).await.expect("made");
    let pool = database.writer().expect("a writer");
    // SQLite's own bound answers as a full disk does.
    sqlx::query("PRAGMA max_page_count = 16").execute(pool).await.expect("a bound");
    let insert = sqlx::query("INSERT INTO notes SELECT hex(randomblob(100000))").execute(pool);
    let error = database.error(insert.await.expect_err("no room"));
    assert!(error.is_temporary() && error.to_string().contains("disk is full"), "{error}");
}

#[tokio::test]
async fn several_processes_may_open_a_new_database_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut opens = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let path = folder.path().to_owned();
        opens.spawn(async move {
            let dir = DataDir::open(&path, Access::Write, "test").await.expect("a data directory");
            Database::open(&dir, file(&dir), &NEWER).await.map(|_| ())
        });
    }
    for opened in opens.join_all().await {
        opened.expect("opened");
    }
}
