use super::*;

const SHORT: Duration = Duration::from_millis(60);

fn temporary() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

async fn open(path: &Path, access: Access) -> Result<DataDir, OpenError> {
    DataDir::open_within(path, access, "test", SHORT).await
}

#[tokio::test]
async fn a_reader_of_nothing_is_told_what_to_run() {
    let folder = temporary();
    for path in [folder.path().join("missing"), folder.path().to_owned()] {
        let error = open(&path, Access::Read).await.expect_err("nothing to read");
        assert!(matches!(error, OpenError::Missing { .. }), "{error:?}");
        assert!(error.to_string().contains("lanner import"), "{error}");
    }
    assert!(!folder.path().join("missing").exists(), "a reader made the directory");
}

#[tokio::test]
async fn a_file_is_not_a_data_directory_and_foreign_files_do_no_harm() {
    let folder = temporary();
    let file = folder.path().join("notes.txt");
    fs::write(&file, "mine").expect("a file");
    assert!(matches!(open(&file, Access::Write).await, Err(OpenError::NotADirectory { .. })));
    open(folder.path(), Access::Write).await.expect("foreign content is fine");
    assert_eq!(fs::read(&file).expect("still there"), b"mine");
}

#[tokio::test]
async fn a_newer_format_is_refused_and_left_as_it_is() {
    let folder = temporary();
    fs::write(store_path(folder.path()), r#"{"format":2,"shards":7}"#).expect("a store");
    for access in [Access::Read, Access::Write, Access::Exclusive] {
        let error = open(folder.path(), access).await.expect_err("too new");
        assert!(error.to_string().contains("(format 2, this one reads 1)"), "{error}");
    }
    assert_eq!(fs::read_dir(folder.path()).expect("listing").count(), 1, "something was made");
}

#[tokio::test]
async fn a_store_that_does_not_read_is_corrupt() {
    let folder = temporary();
    for text in ["", "{", r#"{"format":"one"}"#] {
        fs::write(store_path(folder.path()), text).expect("a store");
        let error = open(folder.path(), Access::Write).await.expect_err(text);
        assert!(matches!(error, OpenError::Corrupt { .. }), "{error:?}");
    }
    fs::write(store_path(folder.path()), r#"{"format":1,"epoch_ms":"soon"}"#).expect("a store");
    let dir = open(folder.path(), Access::Write).await.expect("open");
    assert!(matches!(dir.epoch(), Err(OpenError::Corrupt { .. })));
}

#[tokio::test]
async fn the_epoch_is_fixed_once_and_another_one_is_refused() {
    let folder = temporary();
    let dir = open(folder.path(), Access::Write).await.expect("open");
    assert_eq!(dir.epoch().expect("epoch"), None);
    let reader = open(folder.path(), Access::Read).await.expect("open");
    assert!(matches!(reader.fix_epoch(Epoch::default()).await, Err(OpenError::ReadOnly { .. })));
    dir.fix_epoch(Epoch::default()).await.expect("first");
    dir.fix_epoch(Epoch::default()).await.expect("the same again");
    reader.fix_epoch(Epoch::default()).await.expect("a reader may confirm");
    assert_eq!(reader.epoch().expect("epoch"), Some(Epoch::default()));
    let other = Epoch(Timestamp::from_millis(1));
    assert!(matches!(dir.fix_epoch(other).await, Err(OpenError::EpochDisagrees { .. })));
    assert_eq!(
        fs::read_to_string(store_path(folder.path())).expect("store").trim(),
        r#"{"format":1,"epoch_ms":"1704067200000"}"#
    );
}

#[tokio::test]
async fn writers_stand_beside_each_other_and_an_import_excludes_them() {
    let folder = temporary();
    let one = DataDir::open(folder.path(), Access::Write, "run").await.expect("first writer");
    let two = DataDir::open(folder.path(), Access::Write, "rerun").await.expect("second writer");
    let held = open(folder.path(), Access::Exclusive).await.expect_err("writers are there");
    assert!(held.is_temporary());
    let OpenError::Held { holders, .. } = &held else { panic!("{held:?}") };
    let mut names: Vec<_> = holders.iter().map(|holder| (holder.pid, holder.command.as_str())).collect();
    names.sort_unstable();
    assert_eq!(names, [(std::process::id(), "rerun"), (std::process::id(), "run")]);
    assert!(held.to_string().contains("run (process "), "{held}");
    drop((one, two));

    let import = DataDir::open(folder.path(), Access::Exclusive, "import").await.expect("nobody is left");
    for access in [Access::Write, Access::Exclusive] {
        let held = open(folder.path(), access).await.expect_err("the import is there");
        let OpenError::Held { holders, .. } = &held else { panic!("{held:?}") };
        assert_eq!(holders.iter().map(|holder| holder.command.as_str()).collect::<Vec<_>>(), ["import"]);
    }
    open(folder.path(), Access::Read).await.expect("readers never wait");
    drop(import);
    open(folder.path(), Access::Write).await.expect("nobody is left");
}

#[tokio::test]
async fn a_writer_waits_until_the_other_is_done() {
    let folder = temporary();
    let import = open(folder.path(), Access::Exclusive).await.expect("import");
    let waiting = DataDir::open(folder.path(), Access::Write, "run");
    let release = async {
        sleep_ms(30).await;
        drop(import);
    };
    let (opened, ()) = tokio::join!(waiting, release);
    opened.expect("it waited");
}

#[tokio::test]
async fn a_clone_keeps_the_hold() {
    let folder = temporary();
    let dir = open(folder.path(), Access::Write).await.expect("open");
    let clone = dir.clone();
    drop(dir);
    assert!(matches!(open(folder.path(), Access::Exclusive).await, Err(OpenError::Held { .. })));
    drop(clone);
    open(folder.path(), Access::Exclusive).await.expect("nobody is left");
}

#[tokio::test]
async fn the_file_of_a_dead_writer_is_no_holder_and_is_removed() {
    let folder = temporary();
    drop(open(folder.path(), Access::Write).await.expect("made"));
    let stale = folder.path().join(lock::WRITERS).join("4000000.json");
    fs::write(&stale, r#"{"pid":4000000,"command":"run","since":"2026-11-22T00:00:00Z"}"#).expect("a stale file");
    let import = open(folder.path(), Access::Exclusive).await.expect("a dead writer holds nothing");
    assert!(!stale.exists(), "the stale file stays");
    fs::write(&stale, "").expect("a stale file");
    let held = open(folder.path(), Access::Write).await.expect_err("held");
    let OpenError::Held { holders, .. } = &held else { panic!("{held:?}") };
    assert_eq!(holders.iter().map(|holder| holder.pid).collect::<Vec<_>>(), [std::process::id()]);
    drop(import);
    let left: Vec<_> = fs::read_dir(folder.path().join(lock::WRITERS)).expect("listing").flatten().collect();
    assert_eq!(left.len(), 1, "the import's own file stays: {left:?}");
}

async fn sleep_ms(ms: u64) {
    tokio::time::sleep(Duration::from_millis(ms)).await;
}
