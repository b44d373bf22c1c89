//! The laws of `Limits`.

use std::sync::Arc;

use chat::limit::Standing;
use chat::{LimitRow, Limits, MessageId, OrganizationId, Policy, PutOutcome, RunId, Timestamp, Version};
use support::retry;

use crate::random;
use crate::suite::{Adapter, laws};

type Subject = Adapter<Arc<dyn Limits>>;

laws! {
    limits;
    every:
        a_listing_is_complete_while_other_rows_change,
        of_puts_at_once_the_newest_row_stays,
        a_row_reads_back_as_it_was_put,
        in_whatever_order_rows_come_the_newest_stays,
        the_same_row_twice_is_the_same_row_once,
        what_stood_before_the_run_is_kept,
        a_release_is_a_row_and_holds_against_late_results,
        answers_stand_in_the_order_of_the_question,
        pages_are_ascending_disjoint_and_complete;
}

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

async fn put(store: &dyn Limits, rows: &[LimitRow]) -> Vec<PutOutcome> {
    let outcomes = retry(|| store.put(rows)).await;
    assert_eq!(outcomes.len(), rows.len(), "an outcome for each row");
    outcomes
}

async fn get(store: &dyn Limits, number: u64) -> Option<LimitRow> {
    let asked = [organization(number)];
    let mut rows = retry(|| store.get(&asked)).await;
    assert_eq!(rows.len(), 1);
    rows.remove(0)
}

/// Every field reads back, in all three standings, at the ends of its range.
async fn a_row_reads_back_as_it_was_put(adapter: &Subject) {
    let (_folder, store) = adapter.fresh().await;
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
        put(&*store, std::slice::from_ref(&row)).await;
        assert_eq!(get(&*store, row.organization.get()).await, Some(row));
    }
}

/// The version rule: an older version never replaces a newer, whatever comes first.
async fn in_whatever_order_rows_come_the_newest_stays(adapter: &Subject) {
    for mut random in random::cases(10) {
        let (_folder, store) = adapter.fresh().await;
        let mut newest = None;
        for number in 0..12 {
            let version = version(random.u64(0..2), random.u64(0..3), random.u64(0..3));
            let outcome = put(&*store, &[row(1, version, number, &format!("run{number}"))]).await.remove(0);
            let stored = matches!(outcome, PutOutcome::Stored { .. });
            assert_eq!(stored, newest.is_none_or(|newest| version >= newest), "{version:?} over {newest:?}");
            newest = newest.max(Some(version));
            assert_eq!(get(&*store, 1).await.map(|row| row.version), newest);
        }
    }
}

/// Putting again changes nothing and is not refused.
async fn the_same_row_twice_is_the_same_row_once(adapter: &Subject) {
    let (_folder, store) = adapter.fresh().await;
    let (first, second) = (row(1, version(0, 1, 1), 40, "a"), row(1, version(0, 2, 2), 50, "b"));
    put(&*store, &[first]).await;
    put(&*store, std::slice::from_ref(&second)).await;
    let once = get(&*store, 1).await;
    let outcome = put(&*store, &[second]).await.remove(0);
    assert_eq!(outcome, PutOutcome::Stored { previous: once.clone() });
    assert_eq!(get(&*store, 1).await, once);
}

/// The boundary before the run is carried along, and kept when the same run writes again.
async fn what_stood_before_the_run_is_kept(adapter: &Subject) {
    let (_folder, store) = adapter.fresh().await;
    put(&*store, &[row(1, version(0, 1, 1), 40, "a")]).await;
    put(&*store, &[row(1, version(0, 2, 2), 50, "b"), row(1, version(0, 2, 3), 60, "b")]).await;
    let stored = get(&*store, 1).await.expect("a row");
    assert_eq!(stored.first_visible_message_id(), Some(MessageId::from_bits(60)));
    assert_eq!(stored.previous_first_visible_message_id, Some(MessageId::from_bits(40)));
}

/// A release replaces the row without deleting it; a result from before the upgrade does not limit again.
async fn a_release_is_a_row_and_holds_against_late_results(adapter: &Subject) {
    let (_folder, store) = adapter.fresh().await;
    let limited = row(1, version(0, 5, 5), 40, "a");
    let released = limited.release(version(1, 5, 6), run("a"), at(6));
    put(&*store, &[limited, released]).await;
    assert_eq!(put(&*store, &[row(1, version(0, 9, 9), 70, "b")]).await, [PutOutcome::Released]);
    assert_eq!(get(&*store, 1).await.map(|row| row.standing), Some(Standing::Released));
    let again = put(&*store, &[row(1, version(2, 9, 9), 80, "c")]).await.remove(0);
    assert!(matches!(again, PutOutcome::Stored { previous: Some(_) }), "{again:?}");
}

/// Outcomes and rows answer in the order of the question; nothing stands where nothing was computed.
async fn answers_stand_in_the_order_of_the_question(adapter: &Subject) {
    let (_folder, store) = adapter.fresh().await;
    put(&*store, &[row(2, version(0, 5, 5), 20, "a")]).await;
    let (older, newer) = (version(0, 4, 4), version(0, 6, 6));
    let outcomes = put(&*store, &[row(9, newer, 90, "b"), row(2, older, 21, "b"), row(1, newer, 10, "b")]).await;
    assert!(matches!(outcomes[..], [PutOutcome::Stored { .. }, PutOutcome::Superseded, PutOutcome::Stored { .. }]));
    let asked = [1, 7, 9, 2, 9].map(organization);
    let rows = retry(|| store.get(&asked)).await;
    let boundaries: Vec<Option<u64>> =
        rows.iter().map(|row| row.as_ref().and_then(LimitRow::first_visible_message_id).map(MessageId::get)).collect();
    assert_eq!(boundaries, [Some(10), None, Some(90), Some(20), Some(90)]);
    assert!(retry(|| store.get(&[])).await.is_empty());
}

/// Following the pages yields every row once, ascending, whatever the size of the page.
async fn pages_are_ascending_disjoint_and_complete(adapter: &Subject) {
    for mut random in random::cases(3) {
        let (_folder, store) = adapter.fresh().await;
        let mut numbers: Vec<u64> = (0..random.u64(0..60)).map(|_| random.u64(0..=OrganizationId::MAX.get())).collect();
        numbers.extend([0, OrganizationId::MAX.get()]);
        let rows: Vec<LimitRow> = numbers.iter().map(|number| row(*number, version(0, 1, 1), 1, "a")).collect();
        put(&*store, &rows).await;
        numbers.sort_unstable();
        numbers.dedup();
        for limit in [1, 7, 1_000] {
            let (mut found, mut after) = (Vec::new(), None);
            // One page more than there are rows: a listing that does not advance fails below.
            for _ in 0..=numbers.len() {
                let page = retry(|| store.page(after, limit)).await;
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

/// Rows that are there throughout are listed once, ascending and as they are, whatever comes and changes between the pages.
async fn a_listing_is_complete_while_other_rows_change(adapter: &Subject) {
    let (_folder, store) = adapter.fresh().await;
    let there: Vec<LimitRow> = (0..60).step_by(2).map(|number| row(number, version(0, 1, 1), number, "a")).collect();
    put(&*store, &there).await;
    let (mut listed, mut after) = (Vec::new(), None);
    for page_number in 0..60 {
        let page = retry(|| store.page(after, 4)).await;
        listed.extend_from_slice(&page);
        if page.len() < 4 {
            break;
        }
        after = page.last().map(|row| row.organization);
        // Odd ones come, before and behind the page, and are written again.
        let odd = (page_number * 7 % 30) * 2 + 1;
        put(&*store, &[row(odd, version(0, 1, page_number), 1, "b"), row(60 - odd, version(0, 2, 2), 1, "b")]).await;
    }
    assert!(listed.is_sorted_by(|a, b| a.organization < b.organization), "ascending, none twice");
    listed.retain(|row| row.organization.get() % 2 == 0);
    assert_eq!(listed, there);
}

/// The version rule holds also between writers at the same time: the newest row stays, and is stored by its writer.
async fn of_puts_at_once_the_newest_row_stays(adapter: &Subject) {
    let (_folder, store) = adapter.fresh().await;
    for number in 0..10 {
        let puts = (1..=8).map(|as_of| {
            let store = store.clone();
            tokio::spawn(async move { put(&*store, &[row(number, version(0, as_of, 1), as_of, "a")]).await })
        });
        let mut outcomes = Vec::new();
        for outcome in puts.collect::<Vec<_>>() {
            outcomes.extend(outcome.await.expect("put"));
        }
        assert!(matches!(outcomes[7], PutOutcome::Stored { .. }), "{outcomes:?}");
        assert_eq!(get(&*store, number).await.map(|row| row.version), Some(version(0, 8, 1)));
    }
}
