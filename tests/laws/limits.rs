//! The laws of `Limits`.

use chat::limit::Standing;
use chat::{LimitRow, Limits, MessageId, OrganizationId, Policy, PutOutcome, RunId, Timestamp, Version};
use support::retry;

use crate::random;

/// An adapter under the laws; what it stands on lives as long as this.
pub(crate) trait Kept: Send + Sync {
    /// The adapter.
    fn port(&self) -> &dyn Limits;
}

macro_rules! laws {
    ($adapter:ident, $make:expr) => {
        mod $adapter {
            use super::*;
            $crate::tests_of!(
                limits,
                $make,
                [
                    a_row_reads_back_as_it_was_put,
                    in_whatever_order_rows_come_the_newest_stays,
                    the_same_row_twice_is_the_same_row_once,
                    what_stood_before_the_run_is_kept,
                    a_release_is_a_row_and_holds_against_late_results,
                    answers_stand_in_the_order_of_the_question,
                    pages_are_ascending_disjoint_and_complete,
                ]
            );
        }
    };
}
pub(crate) use laws;

fn organization(number: u64) -> OrganizationId {
    OrganizationId::from_bits(number)
}

fn run(name: &str) -> RunId {
    RunId::new(name).expect("a run id")
}

fn at(ms: u64) -> Timestamp {
    Timestamp::from_millis(ms)
}

fn version(plan_version: u64, as_of: u64, collected_at: u64) -> Version {
    Version { plan_version, as_of: at(as_of), collected_at: at(collected_at) }
}

fn row(number: u64, version: Version, boundary: u64, name: &str) -> LimitRow {
    LimitRow {
        organization: organization(number),
        policy: Policy::default(),
        version,
        standing: Standing::Limited(MessageId::from_bits(boundary)),
        oldest_visible_message_id: Some(MessageId::from_bits(boundary)),
        visible_messages: 5_000,
        rooms: 17,
        run: run(name),
        previous_first_visible_message_id: None,
        rooms_opened: 3,
        messages_read: 5_001,
        computed_at: version.collected_at,
    }
}

async fn put(store: &dyn Kept, rows: &[LimitRow]) -> Vec<PutOutcome> {
    let outcomes = retry(|| store.port().put(rows)).await;
    assert_eq!(outcomes.len(), rows.len(), "an outcome for each row");
    outcomes
}

async fn get(store: &dyn Kept, number: u64) -> Option<LimitRow> {
    let asked = [organization(number)];
    let mut rows = retry(|| store.port().get(&asked)).await;
    assert_eq!(rows.len(), 1);
    rows.remove(0)
}

/// Every field reads back, in all three standings, at the ends of its range.
pub(crate) async fn a_row_reads_back_as_it_was_put<K: Kept>(make: impl Fn() -> K) {
    let store = make();
    let extreme = LimitRow {
        policy: Policy::new(1, None).expect("a policy"),
        version: Version { plan_version: u64::MAX >> 1, as_of: Timestamp::MAX, collected_at: Timestamp::MAX },
        standing: Standing::Limited(MessageId::MAX),
        oldest_visible_message_id: Some(MessageId::MAX),
        visible_messages: 1_000_000,
        rooms: i32::MAX as u32,
        run: run(&"+".repeat(100)),
        rooms_opened: i32::MAX as u32,
        messages_read: i64::MAX as u64,
        ..row(1, version(0, 0, 0), 0, "x")
    };
    let none = LimitRow {
        standing: Standing::NoCountLimit,
        oldest_visible_message_id: None,
        visible_messages: 0,
        rooms: 0,
        ..row(2, version(0, 0, 0), 0, "daily-2026-11-22T00:00Z")
    };
    let released = none.release(version(1, 1, 1), run("r"), at(2));
    let released = LimitRow { organization: OrganizationId::MAX, ..released };
    let zero = row(0, version(0, 1, 1), 0, "z");
    for row in [extreme, none, released, zero] {
        put(&store, std::slice::from_ref(&row)).await;
        assert_eq!(get(&store, row.organization.get()).await, Some(row));
    }
}

/// The version rule: an older version never replaces a newer, whatever comes first.
pub(crate) async fn in_whatever_order_rows_come_the_newest_stays<K: Kept>(make: impl Fn() -> K) {
    for mut random in random::cases(10) {
        let store = make();
        let mut newest = None;
        for number in 0..12 {
            let version = version(random.u64(0..2), random.u64(0..3), random.u64(0..3));
            let outcome = put(&store, &[row(1, version, number, &format!("run{number}"))]).await.remove(0);
            let stored = matches!(outcome, PutOutcome::Stored { .. });
            assert_eq!(stored, newest.is_none_or(|newest| version >= newest), "{version:?} over {newest:?}");
            newest = newest.max(Some(version));
            assert_eq!(get(&store, 1).await.map(|row| row.version), newest);
        }
    }
}

/// Putting again changes nothing and is not refused.
pub(crate) async fn the_same_row_twice_is_the_same_row_once<K: Kept>(make: impl Fn() -> K) {
    let store = make();
    let (first, second) = (row(1, version(0, 1, 1), 40, "a"), row(1, version(0, 2, 2), 50, "b"));
    put(&store, &[first]).await;
    put(&store, std::slice::from_ref(&second)).await;
    let once = get(&store, 1).await;
    let outcome = put(&store, &[second]).await.remove(0);
    assert_eq!(outcome, PutOutcome::Stored { previous: once.clone() });
    assert_eq!(get(&store, 1).await, once);
}

/// The boundary before the run is carried along, and kept when the same run writes again.
pub(crate) async fn what_stood_before_the_run_is_kept<K: Kept>(make: impl Fn() -> K) {
    let store = make();
    put(&store, &[row(1, version(0, 1, 1), 40, "a")]).await;
    put(&store, &[row(1, version(0, 2, 2), 50, "b"), row(1, version(0, 2, 3), 60, "b")]).await;
    let stored = get(&store, 1).await.expect("a row");
    assert_eq!(stored.first_visible_message_id(), Some(MessageId::from_bits(60)));
    assert_eq!(stored.previous_first_visible_message_id, Some(MessageId::from_bits(40)));
}

/// A release replaces the row without deleting it; a result from before the upgrade does not limit again.
pub(crate) async fn a_release_is_a_row_and_holds_against_late_results<K: Kept>(make: impl Fn() -> K) {
    let store = make();
    let limited = row(1, version(0, 5, 5), 40, "a");
    let released = limited.release(version(1, 5, 6), run("a"), at(6));
    put(&store, &[limited, released]).await;
    assert_eq!(put(&store, &[row(1, version(0, 9, 9), 70, "b")]).await, [PutOutcome::Released]);
    assert_eq!(get(&store, 1).await.map(|row| row.standing), Some(Standing::Released));
    let again = put(&store, &[row(1, version(2, 9, 9), 80, "c")]).await.remove(0);
    assert!(matches!(again, PutOutcome::Stored { previous: Some(_) }), "{again:?}");
}

/// Outcomes and rows answer in the order of the question; nothing stands where nothing was computed.
pub(crate) async fn answers_stand_in_the_order_of_the_question<K: Kept>(make: impl Fn() -> K) {
    let store = make();
    put(&store, &[row(2, version(0, 5, 5), 20, "a")]).await;
    let (older, newer) = (version(0, 4, 4), version(0, 6, 6));
    let outcomes = put(&store, &[row(9, newer, 90, "b"), row(2, older, 21, "b"), row(1, newer, 10, "b")]).await;
    assert!(matches!(outcomes[..], [PutOutcome::Stored { .. }, PutOutcome::Superseded, PutOutcome::Stored { .. }]));
    let asked = [1, 7, 9, 2, 9].map(organization);
    let rows = retry(|| store.port().get(&asked)).await;
    let boundaries: Vec<Option<u64>> =
        rows.iter().map(|row| row.as_ref().and_then(LimitRow::first_visible_message_id).map(MessageId::get)).collect();
    assert_eq!(boundaries, [Some(10), None, Some(90), Some(20), Some(90)]);
    assert!(retry(|| store.port().get(&[])).await.is_empty());
}

/// Following the pages yields every row once, ascending, whatever the size of the page.
pub(crate) async fn pages_are_ascending_disjoint_and_complete<K: Kept>(make: impl Fn() -> K) {
    for mut random in random::cases(3) {
        let store = make();
        let mut numbers: Vec<u64> = (0..random.u64(0..60)).map(|_| random.u64(0..=OrganizationId::MAX.get())).collect();
        numbers.extend([0, OrganizationId::MAX.get()]);
        let rows: Vec<LimitRow> = numbers.iter().map(|number| row(*number, version(0, 1, 1), 1, "a")).collect();
        put(&store, &rows).await;
        numbers.sort_unstable();
        numbers.dedup();
        for limit in [1, 7, 1_000] {
            let (mut found, mut after) = (Vec::new(), None);
            // One page more than there are rows: a listing that does not advance fails below.
            for _ in 0..=numbers.len() {
                let page = retry(|| store.port().page(after, limit)).await;
                assert!(page.len() <= limit);
                found.extend(page.iter().map(|row| row.organization.get()));
                after = page.last().map(|row| row.organization).or(after);
                if page.len() < limit {
                    break;
                }
            }
            assert_eq!(found, numbers, "in pages of {limit}");
        }
    }
}
