//! The laws of [`worker::State`].

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use worker::state::{KEY_BYTES_MAX, VALUE_BYTES_MAX, Write};
use worker::{Expected, Record, RecordVersion, State, StateError};

use crate::random;
use crate::suite::{Adapter, laws};

laws! {
    state;
    every:
        a_record_reads_back_as_it_was_written,
        what_is_written_is_there_for_every_process,
        deleting_what_is_not_there_is_done,
        a_listing_is_ascending_complete_and_of_its_prefix_alone,
        an_expired_record_is_not_there,
        no_write_of_several_writers_is_lost,
        keys_and_values_have_a_form;
    exact:
        a_write_over_something_else_conflicts_and_changes_nothing,
        a_version_never_returns,
        what_has_expired_conflicts_like_what_was_deleted;
}

type Subject = Adapter<Arc<dyn State>>;

/// Calls of one flaky adapter in a row that may fail.
const TRIES: usize = 1_000;
/// A life that a test waits for.
const SHORT: Duration = Duration::from_millis(50);

/// Repeats a call while its failure is temporary.
async fn sure<T>(call: impl AsyncFn() -> Result<T, StateError>) -> Result<T, StateError> {
    for _ in 0..TRIES {
        match call().await {
            Err(e) if e.is_temporary() => {}
            answer => return answer,
        }
    }
    panic!("{TRIES} failures in a row");
}

fn write<'a>(key: &'a str, value: &'a [u8]) -> Write<'a> {
    Write { key, value, expected: Expected::Anything, lives_for: None }
}

async fn put(store: &dyn State, write: Write<'_>) -> RecordVersion {
    sure(async || store.put(write).await).await.expect("written")
}

async fn get(store: &dyn State, key: &str) -> Option<Record> {
    sure(async || store.get(key).await).await.expect("read")
}

async fn keys(store: &dyn State, prefix: &str) -> Vec<String> {
    let records = sure(async || store.list(prefix, None, 1_000).await).await.expect("listed");
    records.into_iter().map(|record| record.key).collect()
}

fn conflicts<T: std::fmt::Debug>(answer: Result<T, StateError>) {
    assert!(matches!(answer, Err(StateError::Conflict { .. })), "{answer:?}");
}

async fn a_record_reads_back_as_it_was_written(adapter: &Subject) {
    let (_folder, store) = adapter.fresh().await;
    let longest = format!("f/{}", "x".repeat(KEY_BYTES_MAX - 2));
    let every_byte: Vec<u8> = (0..=255).collect();
    let largest = vec![0; VALUE_BYTES_MAX];
    for (key, value) in [
        ("lease/0", &b"me"[..]),
        ("empty/x", &[]),
        (&*longest, &every_byte),
        ("部屋/メッセージ ½ 'quoted' \"/\\", &largest),
        ("a/b/c", b"the family is a"),
    ] {
        assert_eq!(get(&*store, key).await, None);
        let version = put(&*store, write(key, value)).await;
        let record = get(&*store, key).await.expect("a record");
        assert!(record == Record { key: key.to_owned(), value: value.to_vec(), version, expires_at: None }, "{key}");
        let again = put(&*store, write(key, b"again")).await;
        assert_ne!(again, version);
        assert_eq!(get(&*store, key).await.map(|record| record.value), Some(b"again".to_vec()));
    }
    let before = SystemTime::now();
    put(&*store, Write { lives_for: Some(Duration::from_secs(60)), ..write("lease/1", b"") }).await;
    let expires_at = get(&*store, "lease/1").await.and_then(|record| record.expires_at).expect("an instant");
    let lives_for = expires_at.duration_since(before).expect("later");
    assert!((Duration::from_secs(59)..Duration::from_secs(90)).contains(&lives_for), "{lives_for:?}");
}

async fn what_is_written_is_there_for_every_process(adapter: &Subject) {
    let (folder, first) = adapter.fresh().await;
    let second = adapter.open(&folder).await;
    put(&*first, write("a/1", b"first")).await;
    assert_eq!(get(&*second, "a/1").await.map(|record| record.value), Some(b"first".to_vec()));
    sure(async || second.delete("a/1", None).await).await.expect("deleted");
    assert_eq!(get(&*first, "a/1").await, None);
    put(&*second, write("a/2", b"second")).await;
    drop((first, second));
    let again = adapter.open(&folder).await;
    assert_eq!(keys(&*again, "a/").await, ["a/2"]);
}

async fn a_write_over_something_else_conflicts_and_changes_nothing(adapter: &Subject) {
    let (_folder, store) = adapter.fresh().await;
    let over = |expected, value| Write { expected, ..write("a/1", value) };
    conflicts(store.put(over(Expected::Version(RecordVersion::random()), b"over nothing")).await);
    assert_eq!(get(&*store, "a/1").await, None);
    let first = store.put(over(Expected::Nothing, b"1")).await.expect("over nothing");
    conflicts(store.put(over(Expected::Nothing, b"over something")).await);
    let second = store.put(over(Expected::Version(first), b"2")).await.expect("over the first");
    conflicts(store.put(over(Expected::Version(first), b"over the second")).await);
    conflicts(store.delete("a/1", Some(first)).await);
    let record = get(&*store, "a/1").await.expect("a record");
    assert_eq!((record.value, record.version), (b"2".to_vec(), second));
    store.delete("a/1", Some(second)).await.expect("deleted");
    assert_eq!(get(&*store, "a/1").await, None);
}

async fn a_version_never_returns(adapter: &Subject) {
    let (_folder, store) = adapter.fresh().await;
    let first = put(&*store, write("a/1", b"the same")).await;
    store.delete("a/1", None).await.expect("deleted");
    put(&*store, write("a/1", b"the same")).await;
    conflicts(store.put(Write { expected: Expected::Version(first), ..write("a/1", b"late") }).await);
    conflicts(store.delete("a/1", Some(first)).await);
    assert_eq!(get(&*store, "a/1").await.map(|record| record.value), Some(b"the same".to_vec()));
}

async fn deleting_what_is_not_there_is_done(adapter: &Subject) {
    let (_folder, store) = adapter.fresh().await;
    sure(async || store.delete("a/1", None).await).await.expect("nothing to do");
    let version = put(&*store, write("a/1", b"")).await;
    for _ in 0..2 {
        sure(async || store.delete("a/1", Some(version)).await).await.expect("deleted");
    }
    assert_eq!(get(&*store, "a/1").await, None);
}

async fn an_expired_record_is_not_there(adapter: &Subject) {
    let (_folder, store) = adapter.fresh().await;
    for number in 0..20 {
        let lives_for = (number % 2 == 0).then_some(SHORT);
        put(&*store, Write { lives_for, ..write(&format!("a/{number:02}"), b"") }).await;
    }
    tokio::time::sleep(2 * SHORT).await;
    assert_eq!(get(&*store, "a/00").await, None);
    let odd: Vec<String> = (0..20).filter(|n| n % 2 == 1).map(|n| format!("a/{n:02}")).collect();
    assert_eq!(keys(&*store, "a/").await, odd);
    // What has expired takes no place in a page.
    let page = sure(async || store.list("a/", None, 3).await).await.expect("listed");
    assert_eq!(page.into_iter().map(|record| record.key).collect::<Vec<_>>(), odd[..3]);
    // And it makes place.
    let made = sure(async || store.put(Write { expected: Expected::Nothing, ..write("a/02", b"new") }).await).await;
    // After an answer that was lost the repetition meets what the first has made.
    assert!(matches!(made, Ok(_) | Err(StateError::Conflict { .. })), "{made:?}");
    assert_eq!(
        get(&*store, "a/02").await.map(|record| (record.value, record.expires_at)),
        Some((b"new".to_vec(), None))
    );
}

async fn what_has_expired_conflicts_like_what_was_deleted(adapter: &Subject) {
    let (_folder, store) = adapter.fresh().await;
    let version = put(&*store, Write { lives_for: Some(SHORT), ..write("a/1", b"") }).await;
    tokio::time::sleep(2 * SHORT).await;
    conflicts(store.put(Write { expected: Expected::Version(version), ..write("a/1", b"late") }).await);
    store.delete("a/1", Some(RecordVersion::random())).await.expect("nothing to do");
    assert_eq!(get(&*store, "a/1").await, None);
}

async fn a_listing_is_ascending_complete_and_of_its_prefix_alone(adapter: &Subject) {
    for mut random in random::cases(2) {
        let (_folder, store) = adapter.fresh().await;
        let mut all = BTreeSet::from(["b".repeat(3) + "/", "a/zz".to_owned(), "a/é".to_owned(), "a0/x".to_owned()]);
        all.retain(|key| !key.ends_with('/'));
        for _ in 0..40 {
            let name: String =
                (0..random.usize(1..4)).map(|_| random.choice(['a', 'b', '/', '0', 'é', '~']).expect("one")).collect();
            all.insert(format!("{}/{name}", random.choice(["a", "aa", "b"]).expect("one")));
        }
        for key in &all {
            put(&*store, write(key, key.as_bytes())).await;
        }
        for prefix in ["a/", "aa/", "b/", "c/", "a/a", "a/zz", "a/~", "b/a/"] {
            let expected: Vec<&String> = all.iter().filter(|key| key.starts_with(prefix)).collect();
            for limit in [1, 3, 1_000] {
                let (mut listed, mut after) = (Vec::new(), None::<String>);
                // One page more than there are records: a listing that does not advance fails below.
                for _ in 0..=expected.len() {
                    let page = sure(async || store.list(prefix, after.as_deref(), limit).await).await.expect("listed");
                    assert!(page.len() <= limit);
                    assert!(page.iter().all(|record| record.key.as_bytes() == record.value));
                    let ended = page.len() < limit;
                    listed.extend(page.into_iter().map(|record| record.key));
                    after = listed.last().cloned();
                    if ended {
                        break;
                    }
                }
                assert!(listed.iter().eq(expected.iter().copied()), "{prefix} in pages of {limit}: {listed:?}");
            }
            let after_all = sure(async || store.list(prefix, Some("z/z"), 10).await).await.expect("listed");
            assert!(after_all.is_empty());
            let before_all = sure(async || store.list(prefix, Some("A/"), 1_000).await).await.expect("listed");
            assert_eq!(before_all.len(), expected.len());
        }
    }
}

/// Each of several writers adds its name to one record by what it read: after all of them every name is there.
async fn no_write_of_several_writers_is_lost(adapter: &Subject) {
    let (folder, first) = adapter.fresh().await;
    let second = adapter.open(&folder).await;
    let writers = (0..8_u8).map(|name| {
        let store = if name % 2 == 0 { first.clone() } else { second.clone() };
        tokio::spawn(async move {
            for _ in 0..TRIES {
                let Ok(record) = store.get("a/names").await else { continue };
                let (mut names, expected) = match record {
                    Some(record) => (record.value, Expected::Version(record.version)),
                    None => (Vec::new(), Expected::Nothing),
                };
                // Perhaps the answer to the last write was lost.
                if names.contains(&name) {
                    return;
                }
                names.push(name);
                let answer = store.put(Write { expected, ..write("a/names", &names) }).await;
                assert!(
                    answer.as_ref().is_err_and(|e| e.is_temporary() || matches!(e, StateError::Conflict { .. }))
                        || answer.is_ok(),
                    "{answer:?}"
                );
            }
            panic!("writer {name} was never first");
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.expect("a writer");
    }
    let mut names = get(&*first, "a/names").await.expect("a record").value;
    names.sort_unstable();
    assert_eq!(names, (0..8).collect::<Vec<u8>>());
}

async fn keys_and_values_have_a_form(adapter: &Subject) {
    let (_folder, store) = adapter.fresh().await;
    let long = format!("a/{}", "x".repeat(KEY_BYTES_MAX - 1));
    for key in ["", "a", "a/", "/a", "a/\n", &*long] {
        let answer = sure(async || store.put(write(key, b"")).await).await;
        assert!(matches!(answer, Err(StateError::Refused { .. })), "{key:?}: {answer:?}");
        assert!(matches!(sure(async || store.get(key).await).await, Err(StateError::Refused { .. })), "{key:?}");
        assert!(
            matches!(sure(async || store.delete(key, None).await).await, Err(StateError::Refused { .. })),
            "{key:?}"
        );
    }
    for prefix in ["", "a", "/", &*long] {
        let answer = sure(async || store.list(prefix, None, 1).await).await;
        assert!(matches!(answer, Err(StateError::Refused { .. })), "{prefix:?}: {answer:?}");
    }
    let large = vec![0; VALUE_BYTES_MAX + 1];
    assert!(matches!(sure(async || store.put(write("a/1", &large)).await).await, Err(StateError::Refused { .. })));
    assert_eq!(get(&*store, "a/1").await, None);
}
